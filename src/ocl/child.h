/* A child process for what a driver's compiler may not survive. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_CHILD_H
#define PARE_OCL_CHILD_H

#include "base/base.h"

typedef struct pare__child_end {
  bool started;   /* false: the helper program is not there */
  bool timed_out; /* killed after the time limit */
  int signal;     /* that ended it, or 0 */
  int code;       /* its exit status, if it exited */
} pare__child_end;

/* Runs the helper program pare-trial ($PARE_TRIAL, else that of the build tree if pare runs from one, else the
 * installed one) with `arguments` (ending with NULL, without the program's name), standard input empty, and collects
 * the first 64 KiB of its standard output in *output (malloc'ed, with a terminator; NULL if it could not be started).
 * Drivers need exec: they do not survive fork. */
pare_status pare__child_run(const char *const *arguments, unsigned timeout_ms, char **output, pare__child_end *end);

/* Starts it for what it leaves on disk; nobody waits. *child 0: it could not be started. */
pare_status pare__child_start(const char *const *arguments, int64_t *child);
/* true, once: it has ended, and is to be forgotten. */
bool pare__child_ended(int64_t child);
/* Ends one that has not. 0 is allowed. */
void pare__child_stop(int64_t child);

#endif
