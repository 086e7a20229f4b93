/* A watchdog: a test that hangs says what the scheduler does, and ends. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_WATCH_H
#define TESTS_WATCH_H

#include "sched/crew.h"

/* After so many seconds without unwatch() the state of the crew, or of the context's, is on stderr, and the process
 * fails. What they point to is looked at then; NULL there: nothing is said. */
void watch_crew(pare__crew *const *crew, unsigned seconds);
void watch_context(pare_context *const *context, unsigned seconds);
void unwatch(void);

#endif
