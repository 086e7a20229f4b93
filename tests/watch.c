/* A watchdog: a test that hangs says what the scheduler does, and ends. SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pare__crew *const *watched_crew;
static pare_context *const *watched_context;

static void say(const char *text) { (void)!write(STDERR_FILENO, text, strlen(text)); }

/* Unsafe in a handler, and the process hangs anyway. NOLINTBEGIN(bugprone-signal-handler) */
static void say_state(int number) {
  char *state = NULL;
  (void)number;
  (void)signal(SIGALRM, SIG_DFL); /* the crew's lock may be what hangs */
  alarm(5);
  say("a test hangs\n");
  pare__crew *crew = watched_crew ? *watched_crew : NULL;
  if (!crew && watched_context && *watched_context) crew = pare__crew_of_if_open(*watched_context);
  if (crew && pare__crew_state(crew, &state) == PARE_OK) say(state);
  _exit(EXIT_FAILURE);
}
/* NOLINTEND(bugprone-signal-handler) */

static void watch(pare__crew *const *crew, pare_context *const *context, unsigned seconds) {
  watched_crew = crew;
  watched_context = context;
  (void)signal(SIGALRM, say_state);
  alarm(seconds);
}

void watch_crew(pare__crew *const *crew, unsigned seconds) { watch(crew, NULL, seconds); }
void watch_context(pare_context *const *context, unsigned seconds) { watch(NULL, context, seconds); }

void unwatch(void) { alarm(0); }
