/* Several devices at once: how work is divided, and what was seen of it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_SCHEDULE_H
#define PARE_SCHEDULE_H

#include <pare/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/* "auto", "data", "columns", "pipeline", "task", "off"; NULL for anything else. */
PARE_API const char *pare_parallel_name(pare_parallel parallel);
/* PARE_ERR_ARGUMENT lists the names. */
PARE_API pare_status pare_parallel_parse(const char *text, pare_parallel *out);

/* Seconds and counts since the context was opened. */
typedef struct pare_device_stats {
  const char *name; /* lives as long as the context */
  bool lost;
  /* Of elapsed_seconds. Copies overlap with work; idle is neither. */
  double busy_seconds, copy_seconds, idle_seconds;
  double wait_seconds;   /* pieces that were ready waited so long, summed */
  double joules;         /* negative: not known */
  bool joules_estimated; /* from watts that somebody gave, or shared by busy time */
  double price;          /* of its busy time; 0 if no price was given */
  uint64_t pieces, copied_bytes;
  unsigned group; /* which of the selector's parentheses it stands in, from 1; 0: none, or there is no other group */
} pare_device_stats;
/* What one kernel, an operation or a model's runs of one shape, took of one device. */
typedef struct pare_kernel_stats {
  const char *kernel; /* lives as long as the context */
  size_t device;      /* index into pare_schedule_stats.device */
  double busy_seconds, copy_seconds, wait_seconds;
  uint64_t pieces;
} pare_kernel_stats;
typedef struct pare_schedule_stats {
  double elapsed_seconds;
  uint64_t jobs, pieces, moved, relearned;      /* moved: taken from another device's queue */
  double latency_p50, latency_p95, latency_p99; /* of jobs, from ready to done, in seconds */
  size_t ndevices;
  pare_device_stats *device;
  size_t nkernels; /* pairs of a kernel and a device that ran pieces of it, the busiest first */
  pare_kernel_stats *kernel;
} pare_schedule_stats;
PARE_API void pare_schedule_stats_close(pare_schedule_stats *stats); /* NULL is allowed */
/* With one device all counters of devices are 0, and there are none of kernels. Free *out with
 * pare_schedule_stats_close. */
PARE_API pare_status pare_context_stats(pare_context *context, pare_schedule_stats *out);

/* How planned work is enqueued; the bits of results are the same. auto: as launches, and on CPU devices, for plans that
 * run often, stretches of them as one ticketed launch where that is shorter: if it is predicted to be, a program for it
 * is built beside the runs, then a few runs of either kind are timed, which waits for each of these. ticketed: that
 * program is built at once, in the second run, which then takes seconds. */
typedef enum pare_executor { PARE_EXECUTOR_AUTO, PARE_EXECUTOR_LAUNCHES, PARE_EXECUTOR_TICKETED } pare_executor;

/* What a run of a planned model enqueues. */
typedef struct pare_model_launches {
  size_t launches;        /* in all */
  size_t ticketed;        /* of these, each standing for many */
  size_t without_tickets; /* how many there would be with the executor `launches` */
  pare_executor executor; /* what its runs stay with; auto: that is not chosen yet */
  bool choosing;          /* the next runs choose, once what they need is built beside them */
  char why[240];          /* it was chosen, for people */
} pare_model_launches;

#ifdef __cplusplus
}
#endif
#endif
