/* Operations on tensors in a context with several devices. SPDX-License-Identifier: Apache-2.0
 *
 * A task becomes a job of the context's crew. What it needs follows from the bytes that it and those before it touch,
 * in the order of submission. A piece binds its tensors on its device, runs the codelet, and is written back to the
 * home of what it wrote when it is settled; until then the home is as it was, so that a piece that is lost can run
 * again elsewhere (but for tensors that are only written, which may hold anything until they are). */
#ifndef PARE_SCHED_MULTI_H
#define PARE_SCHED_MULTI_H

#include "sched/crew.h"
#include "sched/sched.h"
#include "tensor/memory.h"

/* For the executor: the context has several members. As pare__submit. */
pare_status pare__multi_submit(const pare__task *task);
/* Does the context have several members, under a policy that plans work which it sees whole? Then a recording is
 * submitted so. undivided: each of its tasks goes to one device. */
bool pare__multi_plans(pare_context *context);
pare_status pare__multi_submit_all(const pare__recording *recording, bool undivided);
/* What pare__submit says of a task's arguments (executor.c). */
pare_status pare__task_check(const pare__task *task);
/* For tests, before any work: members that could compute in the host's memory get copies like others. */
void pare__multi_apart(pare_context *context, bool apart);

/* ---- between the two files of it ---- */

/* An access of a submitted task; `start` in place of what a later bind may change. */
typedef struct pare__work_access {
  pare__memory *memory; /* held; NULL if absent */
  pare_dtype dtype;
  pare__shape shape;
  int64_t start; /* element */
  pare__mode mode;
  int axis;
  int64_t per_step;
  pare__range range;
  bool rewritten; /* its elements are read and written: they stay as they are until the piece has run, all of it */
} pare__work_access;

typedef struct pare__multi pare__multi;
typedef struct pare__part pare__part;
typedef struct pare__work {
  atomic_int references; /* the crew's, and one a part */
  pare__multi *multi;
  const pare__codelet *codelet;
  void *params;
  int64_t n, grain;
  bool flags; /* as the task says */
  unsigned naccesses;
  pare__work_access access[PARE__MAX_ACCESSES];
  char name[48], kernel[112];
  pare__job_id id;      /* guarded by the order lock, as are these */
  uint64_t seen;        /* the submission that found it last */
  pthread_mutex_t lock; /* guards what follows */
  int64_t left;         /* steps that are not settled */
  pare_status failed;
  bool inherited; /* it failed because an input could not be computed, which was told already */
  char *message;
  pare__part *parts; /* enqueued, not settled */
} pare__work;

struct pare__multi {
  pare_context *context;
  pare__crew *crew;
  pthread_mutex_t order; /* submissions are one after the other; it guards these */
  uint64_t submissions;
  /* The last jobs, in two halves, and what the residency's closed bytes were when the second began. */
  pare__job_id older[PARE__PACE_TASKS / 2], newer[PARE__PACE_TASKS / 2];
  size_t nolder, nnewer;
  uint64_t closed_bytes;
  pthread_mutex_t lock; /* guards what follows */
  pare__part *orphans;  /* left behind on lost members, which may still write */
  pare__part **flying;  /* of each member, in order; its thread's alone */
};

/* Of a job whose argument is a pare__work. */
pare_status pare__work_run(void *argument, size_t member, int64_t begin, int64_t end);
pare_status pare__work_settle(void *argument, size_t member, int64_t begin, int64_t end);
/* Parts that will never be settled. */
void pare__work_abandon(pare__work *work);
void pare__work_release(pare__work *work);
/* Steps are done, or will never be: the last of them says so to what was written. */
void pare__work_count(pare__work *work, int64_t steps);
/* Keeps this thread's message. */
void pare__work_fail(pare__work *work, pare_status status, bool inherited);
void pare__orphans_close(pare__multi *multi);

#endif
