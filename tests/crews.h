/* Fixtures: a crew of members that do nothing of themselves. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_CREWS_H
#define TESTS_CREWS_H

#include "sched/crew.h"

enum { MOST_MEMBERS = 4 };

/* CPUs that are alike, and have so much memory (0: no limit): "first", "second", and so on. */
void make_members(pare__crew_member *out, size_t nmembers, uint64_t memory_bytes);

/* Under a watchdog (watch.h) while it is open; NULL: it is not. */
extern pare__crew *crew;
void open_members(const pare__crew_member *member, size_t nmembers, const pare__crew_options *options);
void close_crew(void);

/* A job that holds up the member that runs it until the gate is opened; opening a crew closes the gate. */
pare_status wait_at_gate(void *argument, size_t member, int64_t begin, int64_t end);
void await_at_gate(void); /* until somebody is there */
void await_open_gate(void);
void open_gate(void);

#endif
