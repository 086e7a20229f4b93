/* A child process for what a driver's compiler may not survive. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_CHILD_H
#define PARE_OCL_CHILD_H

#include "base/base.h"

typedef struct pare__child_end {
  bool started;   /* false: the helper program is not there */
  bool timed_out; /* killed after the time limit */
  bool building;  /* that of building: the kernel has not had its turn */
  bool starved;   /* others had the processors, or the system does not say: nothing is known of the kernel */
  double seconds; /* by the clock, of building or running when it was killed */
  double used;    /* seconds of processor time meanwhile */
  int signal;     /* that ended it, or 0 */
  int code;       /* its exit status, if it exited */
} pare__child_end;

/* How long it may take to build a program by the clock, its start included, and how much processor time all else in
 * between may take. A machine that is busy or slow takes long: that says nothing about a kernel, and some drivers
 * compile as they launch. So what runs is killed once it has used run_ms of processor time in no less by the clock;
 * after PARE__CHILD_SLEEPS times as long by the clock, if it asked for less: then it waits for what does not come; and
 * after PARE__CHILD_STARVES times as long in any case. */
typedef struct pare__child_limits {
  unsigned build_ms, run_ms;
} pare__child_limits;
enum { PARE__CHILD_SLEEPS = 4, PARE__CHILD_STARVES = 8 };

/* Runs the helper program pare-trial ($PARE_TRIAL, else that of the build tree if pare runs from one, else the
 * installed one) with `arguments` (ending with NULL, without the program's name), standard input empty, and collects
 * the first 64 KiB of its standard output in *output (malloc'ed, with a terminator; NULL if it could not be started),
 * without the lines of pare__child_tell.
 * Drivers need exec: they do not survive fork. */
pare_status pare__child_run(const char *const *arguments, const pare__child_limits *limits, char **output,
                            pare__child_end *end);

/* In the child: tells the parent that a build begins or has ended; for pare__device_watch_builds. It builds until it
 * says otherwise. */
void pare__child_tell(bool builds);
/* In the child: ends it as soon as its parent reads no more, so that a kernel that hangs is never left alone. */
void pare__child_end_with_parent(void);

/* Starts it for what it leaves on disk; nobody waits. *child 0: it could not be started. */
pare_status pare__child_start(const char *const *arguments, int64_t *child);
/* The same, with `from` as its standard input. */
pare_status pare__child_start_reading(const char *const *arguments, int from, int64_t *child);
/* true, once: it has ended, and is to be forgotten. */
bool pare__child_ended(int64_t child);
/* Ends one that has not. 0 is allowed. */
void pare__child_stop(int64_t child);

#endif
