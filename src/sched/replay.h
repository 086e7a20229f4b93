/* Replays: how a recording that is submitted often is run. SPDX-License-Identifier: Apache-2.0
 *
 * The second submission is watched: what each task launches becomes a step of a ticketed launch (ocl/ticketed.h) if it
 * can. Stretches of such tasks then run as one launch each, all other tasks as ever. Whether that is shorter is
 * predicted from what launches take; the program is built beside the runs, in a child process; before it is used, its
 * results are compared with those of plain launches, bit for bit; and then some runs of either kind are timed, and the
 * shorter one stays. */
#ifndef PARE_SCHED_REPLAY_H
#define PARE_SCHED_REPLAY_H

#include <pare/schedule.h>

#include "ocl/ticketed.h"
#include "sched/sched.h"
#include "sched/timings.h"

typedef struct pare__replay pare__replay;
typedef struct pare__replay_gate {
  /* Asked before each task, or ticketed launch of many: anything but PARE_OK ends the submission there. */
  pare_status (*go_on)(void *user);
  void *user;
  double (*seconds)(void); /* the clock by which executors are timed */
} pare__replay_gate;
/* The recording stays open as long as the replay. */
pare_status pare__replay_open(pare_context *context, const pare__recording *recording, pare_executor executor,
                              pare__replay_gate gate, pare__replay **out);
/* Submits all tasks; undivided: with several devices, each goes to one of them. Every deferred storage must be bound.
 * PARE_ERR_UNSUPPORTED: executor ticketed on a device that cannot, with the reason. */
pare_status pare__replay_submit(pare__replay *replay, bool undivided);
void pare__replay_count(const pare__replay *replay, pare_model_launches *out);
void pare__replay_close(pare__replay *replay); /* NULL is allowed */

/* ---- for replay.c: what follows from how long runs take (replay_choice.c) ---- */

#define PARE__REASON 240
typedef struct pare__stretches pare__stretches;
/* Would tickets be enough shorter than so many seconds of plain launches to build a program for them? */
bool pare__tickets_predicted(const pare__stretches *stretches, double launches_seconds, char *why, size_t capacity);
/* Were they? */
bool pare__tickets_shorter(const pare__timings *launches, const pare__timings *tickets, char *why, size_t capacity);

/* ---- for replay.c: what was watched, in stretches (replay_steps.c) ---- */

/* Tasks [begin, end) as the steps [first_step, end_step) of one launch. */
typedef struct pare__stretch {
  size_t begin, end, first_step, end_step;
  size_t nreads;
  pare_tensor **reads; /* what it reads and does not write before */
} pare__stretch;

struct pare__stretches {
  pare__capture capture;
  size_t count;
  pare__stretch *stretch;
  size_t nsteps;
  pare__ticket_step *step;
  uint32_t *after; /* of all steps */
  size_t after_count, after_capacity;
};

/* Takes the capture over. */
pare_status pare__stretches_find(const pare__recording *recording, pare__capture *capture, pare__device *device,
                                 pare__stretches *out);
void pare__stretches_close(pare__stretches *stretches);

#endif
