/* Policies: which device runs which piece of which task. SPDX-License-Identifier: Apache-2.0
 *
 * A policy reads no clock and calls no OpenCL: whoever runs it, live or in simulation, says what time it is, and calls
 *
 *   plan      before the start, if all tasks and what they need are known (HEFT makes use of it)
 *   place     when a task is ready, or a piece of one has to run again
 *   chunk     when a device could take one more piece: PARE__IN_FLIGHT at a time, so that copies overlap with work
 *   complete  when a piece has run
 *   lost      when a device is gone; what was in flight there is placed again by the caller
 *
 * and what place and complete give says which devices to ask (again). A device that was asked and got nothing needs to
 * be asked again only then. Not thread-safe: the caller holds its lock. */
#ifndef PARE_SCHED_POLICY_H
#define PARE_SCHED_POLICY_H

#include "sched/performance.h"

#define PARE__IN_FLIGHT 2
#define PARE__NO_DEVICE SIZE_MAX
#define PARE__EVERY_DEVICE (SIZE_MAX - 1)
#define PARE__MOST_BARRED 64 /* devices that a task can be barred from: the first ones */

/* Names for weights of decisions. */
typedef enum pare__objective {
  PARE__MAKESPAN,    /* be done early */
  PARE__UTILISATION, /* let no device wait: each piece goes where it starts first */
  PARE__ENERGY,      /* the fewest joules, those of waiting devices included */
  PARE__COST,        /* the least price of busy devices */
  PARE__OBJECTIVES
} pare__objective;
const char *pare__objective_name(pare__objective objective);

/* Resource classes, as a set. */
enum { PARE__ON_CPU = 1, PARE__ON_GPU = 2, PARE__ON_ACCELERATOR = 4, PARE__ON_ANY = 7, PARE__RESOURCE_SETS = 8 };

/* A worker as policies see it. Zeros are allowed but for `resource`. */
typedef struct pare__policy_device {
  unsigned resource;       /* one of the classes */
  uint64_t memory_bytes;   /* for the tensors of a piece; 0: no limit */
  double seconds_per_byte; /* of a copy to or from it; 0: its memory is the host's */
  double copy_seconds;     /* what each copy costs besides */
  double busy_watts, idle_watts;
  double price_per_hour; /* while it is busy */
  bool lost;
  bool divides; /* a group of devices: what it gets it divides itself, so that small pieces leave some of it idle */
} pare__policy_device;

/* A task as policies see it. */
typedef struct pare__policy_task {
  uint32_t kernel;   /* of the performance model */
  int16_t priority;  /* higher runs first */
  uint8_t resources; /* where it may run */
  bool uneven;       /* its steps may take unlike times */
  int64_t n, grain;  /* pieces begin at multiples of grain; grain >= n: it is not split */
  double per_step;   /* work in one of n steps, in the units of the performance model */
  double nbytes;     /* of all tensors that it reads and writes */
  double read_bytes; /* of those that it reads */
  uint64_t barred;   /* bit i: not on device i, which has tried and could not */
} pare__policy_task;

/* [begin, end) of a task's split axis. */
typedef struct pare__policy_piece {
  uint32_t task;
  bool moved; /* taken from another device's queue once, as a whole that is not split */
  int64_t begin, end;
  double seconds; /* as predicted for the device that has it; set by the policy */
} pare__policy_piece;

/* A queue by key, the least first, then in the order of arrival. All zero is an empty one. Most entries arrive in their
 * order: as long as all have, it is a sorted array, whose first goes without moving any; then a binary heap, until it
 * is empty again. */
typedef struct pare__policy_entry {
  double key;
  uint64_t order;
  pare__policy_piece piece;
} pare__policy_entry;
typedef struct pare__policy_queue {
  pare__policy_entry *entry; /* those from `first` on */
  size_t first, count, capacity;
  bool heap;
} pare__policy_queue;

/* Edges of a graph that is known beforehand: task i needs what `from` makes, for need[begin[i]] … need[begin[i+1]-1].
 * Without cycles. */
typedef struct pare__policy_graph {
  size_t ntasks;
  const size_t *begin;
  const struct pare__policy_need {
    uint32_t from;
    double nbytes;
  } * need;
} pare__policy_graph;

/* How many bytes that a task reads are already where. */
typedef struct pare__policy_local {
  size_t device;
  double nbytes;
} pare__policy_local;
#define PARE__MOST_LOCAL 8

typedef struct pare__policy_class pare__policy_class;

/* What a decision weighs. The least sum wins; ties go to the device that was named first. */
typedef struct pare__policy_weights {
  double finish, start, transfer; /* each second, from now */
  double joule, price;
} pare__policy_weights;

typedef struct pare__policy_options {
  double ageing_seconds;               /* one more of priority is worth so much waiting; 0: 1 second */
  double chunks;                       /* HGuided's k; 0: 10 */
  const pare__policy_weights *weights; /* copied; NULL: the usual ones for the makespan */
  bool stays; /* results stay where they were made until another device reads them; else they come to the host first */
  /* The caller's: ids index it. It may move between calls. */
  const pare__policy_task *const *tasks;
  /* What of the task's inputs is where; returns how many of `out` it filled. NULL: all is at the host. */
  size_t (*local)(void *user, uint32_t task, pare__policy_local out[PARE__MOST_LOCAL]);
  void *user;
} pare__policy_options;

typedef struct pare__policy {
  const pare__policy_class *isa;
  pare__policy_options options;
  pare__policy_weights weights;
  size_t ndevices;
  pare__policy_device *device;
  pare__performance *performance;               /* the caller's; complete feeds it */
  uint8_t *there;                               /* its resource class; 0 when it is lost */
  double *free_at;                              /* when a device is through with all that it has, as predicted */
  double *backlog;                              /* seconds of that, in its queue and in flight */
  size_t *npieces;                              /* how many these are */
  bool *stale;                                  /* what waits for it was predicted by a line that was wrong */
  size_t *undisturbed;                          /* pieces that it runs before that is predicted again */
  pare__policy_queue *queue;                    /* of each device */
  pare__policy_queue pool[PARE__RESOURCE_SETS]; /* what is not given to a device yet, by where it may run */
  size_t pooled, queued, moves;                 /* pieces in the pool, in queues; taken from another device's queue */
  uint64_t order;
  double horizon; /* the latest of free_at there ever was */
  double idle_watts;
  void *own; /* of the policy */
} pare__policy;

struct pare__policy_class {
  const char *name, *what;
  bool weighs_nothing; /* no weight changes what it does */
  double transfer;     /* what a second of copies weighs besides, against one of the finish */
  pare_status (*plan)(pare__policy *policy, const pare__policy_graph *graph); /* NULL: not needed */
  /* *wake: the device that has it now, PARE__EVERY_DEVICE if any may take it. */
  pare_status (*place)(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake);
  bool (*chunk)(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake);
  pare_status (*lost)(pare__policy *policy, size_t device); /* NULL: nothing of its own */
  void (*cancel)(pare__policy *policy, uint32_t task);      /* NULL: nothing of its own */
  void (*close)(pare__policy *policy);                      /* NULL: nothing of its own */
};

/* Every policy; ends with NULL. The first is the default. */
extern const pare__policy_class *const pare__policies[];
/* Those of the objective, and what the policy thinks of copies. */
pare__policy_weights pare__policy_usual_weights(const pare__policy_class *isa, pare__objective objective);

/* What users say: a policy's name, with weights of its decision behind it in place of the usual ones, as in
 * "dmda:transfer=2,joule=0.1" (NULL: the default), and an objective's (NULL: makespan). PARE_ERR_ARGUMENT lists what
 * there is. */
typedef struct pare__policy_choice {
  const pare__policy_class *isa;
  pare__objective objective;
  pare__policy_weights weights;
} pare__policy_choice;
pare_status pare__policy_read(const char *policy, const char *objective, pare__policy_choice *out);

/* device: copied. performance: one row a device, the same order; kept by the caller. */
pare_status pare__policy_open(const pare__policy_class *isa, const pare__policy_device *device, size_t ndevices,
                              pare__performance *performance, const pare__policy_options *options, pare__policy **out);
void pare__policy_close(pare__policy *policy); /* NULL is allowed */

pare_status pare__policy_plan(pare__policy *policy, const pare__policy_graph *graph);
/* The whole range of a ready task, or what is left of one. PARE_ERR_DEVICE: no device that may run it, or that has the
 * memory for its smallest piece, is left. To bar a device, set its bit and place what it gave back; a piece of the task
 * that it gets all the same, from its own queue, is placed again, too. */
pare_status pare__policy_place(pare__policy *policy, uint32_t task, int64_t begin, int64_t end, double now,
                               size_t *wake);
/* false: nothing for it now. If *wake names a device then, that one has got what this one should not take: ask it, and
 * this one again. true: ask whom *wake names as well. */
bool pare__policy_chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake);
/* The piece ran for `seconds`, copies not counted. *wake: whom to ask besides `device`. */
pare_status pare__policy_complete(pare__policy *policy, size_t device, const pare__policy_piece *piece, double now,
                                  double seconds, size_t *wake);
/* Places what waits in the device's queue elsewhere. Ask every device afterwards. What can be placed nowhere any more
 * is in pool[0] then, for the caller to take, and the first failure comes back. */
pare_status pare__policy_lost(pare__policy *policy, size_t device, double now);
/* A task of the plan will not be placed: what it needs failed. Ask every device afterwards. */
void pare__policy_cancel(pare__policy *policy, uint32_t task);
/* Takes the task's pieces within [begin, end) out of all queues. */
void pare__policy_drop(pare__policy *policy, uint32_t task, int64_t begin, int64_t end);

/* ---- for policies ---- */

static inline const pare__policy_task *pare__policy_task_of(const pare__policy *policy, uint32_t task) {
  return *policy->options.tasks + task;
}
static inline bool pare__policy_barred(const pare__policy_task *task, size_t device) {
  return device < PARE__MOST_BARRED && (task->barred >> device & 1);
}
static inline bool pare__policy_splits(const pare__policy_task *task, int64_t begin, int64_t end) {
  return end - begin > PARE__MAX(task->grain, 1);
}
/* As predicted, copies not counted. */
double pare__policy_seconds(const pare__policy *policy, size_t device, const pare__policy_piece *piece);
/* May the device run it, is it there and not barred, and does it have the memory for a smallest piece? */
bool pare__policy_may(const pare__policy *policy, size_t device, const pare__policy_task *task);
/* The most steps that the device's memory holds; at least 1. */
int64_t pare__policy_most_steps(const pare__policy *policy, size_t device, const pare__policy_task *task);
/* The device where the piece weighs least; PARE__NO_DEVICE if it can run nowhere in one piece. */
size_t pare__policy_best(const pare__policy *policy, const pare__policy_piece *piece, double now);
/* Do joules or prices weigh? */
static inline bool pare__policy_saves(const pare__policy *policy) {
  return policy->weights.joule > 0 || policy->weights.price > 0;
}
/* Does an early end weigh more than an early start, and nothing else? */
static inline bool pare__policy_hurries(const pare__policy *policy) {
  return policy->weights.finish > policy->weights.start && !pare__policy_saves(policy);
}
/* What a piece weighs on a device, where it starts so many seconds from now, is preceded by copies of `transfer`
 * seconds, and keeps all devices waiting for `longer` seconds more. */
double pare__policy_weigh(const pare__policy *policy, size_t device, double start, double seconds, double transfer,
                          double longer);
/* Is the device among those that a task that may be split is divided among? Each that makes the whole weigh less, as
 * it ends earlier, than its own joules and price add: all, where these do not weigh. */
bool pare__policy_is_thrifty(const pare__policy *policy, size_t device, const pare__policy_task *task);
/* One more piece in the queue of a device. */
pare_status pare__policy_give(pare__policy *policy, size_t device, const pare__policy_piece *piece, double now);
/* One more in the pool. */
pare_status pare__policy_pool(pare__policy *policy, const pare__policy_piece *piece, double now);
/* The entry of the pool that is the device's next; NULL if there is none for it. */
pare__policy_entry *pare__policy_pool_head(pare__policy *policy, size_t device, pare__policy_queue **queue);
/* Takes the head of the pool. When little is left there, it goes where it ends first, which may be another device. */
bool pare__policy_pull(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake);
/* Of the head of the pool, which may be split, the device's chunk in proportion to its speed (HGuided). false: another
 * device ends it earlier, or it is not for this one. */
bool pare__policy_cut(pare__policy *policy, size_t device, double now, pare__policy_entry *head,
                      pare__policy_queue *pool, pare__policy_piece *out, size_t *wake);
/* Counts a piece that goes to the device right now, without its queue. */
void pare__policy_count(pare__policy *policy, size_t device, pare__policy_piece *piece, double now);
/* One that it had is done, or another's. */
void pare__policy_uncount(pare__policy *policy, size_t device, double seconds);
/* The first in the device's queue. */
bool pare__policy_take(pare__policy *policy, size_t device, pare__policy_piece *out);
/* Moves a piece of the device that will be through last to this one's queue, if it would be through earlier here, by a
 * tenth of it at least, and weighs no more; of one that may be split as much as lets both end together. */
bool pare__policy_steal(pare__policy *policy, size_t device, double now);
/* A piece in the device's queue, or its first, is so long now. */
void pare__policy_shorten(pare__policy *policy, size_t device, pare__policy_piece *piece, int64_t begin, int64_t steps);
/* Steps a second of all devices that may run the task, launches not counted. */
double pare__policy_speed(const pare__policy *policy, const pare__policy_task *task);
/* Cuts the piece so that all devices that take part end together (divisible load: Bharadwaj et al. 1996), and gives
 * each its part. n_i = r_i (T - a_i), T = (W + sum a_i r_i) / sum r_i, without those that get less than a grain. */
pare_status pare__policy_divide(pare__policy *policy, const pare__policy_piece *piece, double now);
/* Places unsplit pieces by pare__policy_best, divides the others; *wake as place has it. */
pare_status pare__policy_place_best(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake);

/* Whose turn it is to be looked at, which is idle and by what its line says would not get the piece: of a piece that is
 * not split, if the end is all that weighs. PARE__NO_DEVICE: nobody's. *looks: NULL before the first call. */
typedef struct pare__looks pare__looks;
size_t pare__policy_look(const pare__policy *policy, pare__looks **looks, const pare__policy_piece *piece);
/* The device has a piece now. looks: may be NULL. */
void pare__policy_ran(const pare__policy *policy, pare__looks *looks, size_t device, const pare__policy_piece *piece);
void pare__looks_close(pare__looks *looks); /* NULL is allowed */

pare_status pare__policy_push(pare__policy_queue *queue, double key, uint64_t order, const pare__policy_piece *piece);
bool pare__policy_pop(pare__policy_queue *queue, pare__policy_entry *out);
/* The first; NULL if it is empty. */
static inline pare__policy_entry *pare__policy_head(const pare__policy_queue *queue) {
  return queue->count > 0 ? queue->entry + queue->first : NULL;
}
/* Takes out one of the last. There must be one. */
pare__policy_piece pare__policy_pop_last(pare__policy_queue *queue);
/* Takes out all pieces of a task within [begin, end); returns how many. */
size_t pare__policy_remove(pare__policy_queue *queue, uint32_t task, int64_t begin, int64_t end);
void pare__policy_queue_close(pare__policy_queue *queue);

extern const pare__policy_class pare__policy_dmda, pare__policy_hguided, pare__policy_heft, pare__policy_static,
    pare__policy_priority, pare__policy_round_robin;

#endif
