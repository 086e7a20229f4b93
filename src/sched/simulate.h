/* Simulated machines and work, as their files say it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_SCHED_SIMULATE_H
#define PARE_SCHED_SIMULATE_H

#include <pare/simulate.h>

#include "base/arena.h"
#include "sched/policy.h"

/* Numbers by kernel. */
typedef struct pare__by_kernel {
  size_t count;
  const char **kernel;
  double *value;
  double other; /* of kernels that are not named; 0: none */
} pare__by_kernel;

typedef struct pare__simulated_device {
  const char *name;
  pare__policy_device seen;      /* what policies know of it */
  const pare__by_kernel *rates;  /* units of work a second */
  const pare__by_kernel *launch; /* seconds that each piece costs besides; NULL: 0 */
  double weight;
} pare__simulated_device;

/* From `at` on the device runs at `speed` of its own; 0: it is lost. */
typedef struct pare__machine_event {
  double at, speed;
  size_t device, order; /* the order of the file */
} pare__machine_event;

struct pare_machine {
  pare__arena arena;
  pare__simulated_device *device;
  size_t ndevices, device_capacity;
  pare__machine_event *event; /* by time */
  size_t nevents, event_capacity;
  double noise;    /* each piece takes up to so much longer */
  bool contention; /* copies of a device go one after the other, each way; else each has a link of its own */
};

struct pare_workload {
  pare__arena arena;
  const char **kernel; /* names, by the tasks' numbers */
  size_t nkernels, kernel_capacity;
  pare__policy_task *task;
  size_t ntasks, task_capacity;
  double *at;        /* when it comes; NULL: all at the start */
  double *host;      /* seconds of the host's own work between all that it needs and it; NULL: none */
  const char **name; /* NULL: their numbers */
  size_t *begin;     /* as in pare__policy_graph */
  struct pare__policy_need *need;
};

/* Of a kernel; 0 if the machine does not say. */
double pare__by_kernel_get(const pare__by_kernel *numbers, const char *kernel);

/* The number of the kernel with this name, which lives as long as the workload. */
pare_status pare__workload_kernel(pare_workload *workload, const char *name, uint32_t *out);
/* PARE_ERR_FORMAT names a cycle. */
pare_status pare__workload_check(const pare_workload *workload, const char *file);

/* Who needs task i: after[first[i]] … after[first[i + 1] - 1]. Both are malloc'ed, also in case of failure. */
pare_status pare__workload_after(const pare_workload *workload, size_t **first, uint32_t **after);
/* Tasks behind all that they need; *count = how many, fewer than all if there is a cycle: then missing[i] > 0 for tasks
 * that are in one or behind it. */
void pare__workload_order(const pare_workload *workload, const size_t *first, const uint32_t *after, uint32_t *order,
                          uint32_t *missing, size_t *count);

/* 64 bits from a counter: splitmix64 (Steele et al. 2014). */
uint64_t pare__random_next(uint64_t *state);
double pare__random_unit(uint64_t *state); /* [0, 1) */

struct pare_simulation {
  const pare_machine *machine;
  const pare_workload *workload;
  pare_simulation_result result;
  pare_simulation_device *device;
  pare_simulation_chunk *chunk;
  size_t nchunks, chunk_capacity;
  bool traced;
};

/* The lower bounds of a result (bounds.c). */
pare_status pare__simulate_bounds(const pare_machine *machine, const pare_workload *workload, const size_t *first,
                                  const uint32_t *after, pare_simulation_result *result);

#endif
