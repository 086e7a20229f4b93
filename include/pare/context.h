/* A context: the selected devices, their programs, their memory. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CONTEXT_H
#define PARE_CONTEXT_H

#include <pare/device.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_context pare_context;

/* How a context with several devices, or a model in one, is parallel. */
typedef enum pare_parallel {
  PARE_PARALLEL_AUTO,     /* what is predicted to end first; off with one device */
  PARE_PARALLEL_DATA,     /* the batch is split */
  PARE_PARALLEL_COLUMNS,  /* each operation is split: rows or columns of its result, heads */
  PARE_PARALLEL_PIPELINE, /* layers on different devices, several batches in flight */
  PARE_PARALLEL_TASK,     /* independent branches and requests on different devices */
  PARE_PARALLEL_OFF       /* everything on the first device */
} pare_parallel;

/* How models are divided among groups of devices, which the selector puts into parentheses, and inside of each:
 * "parallel" is for the groups (a device outside of parentheses is one by itself), "inside" for the devices of each
 * group: auto, or another way than off. A pipeline of groups has columns inside; by columns alone all devices divide
 * each operation, and there is nothing inside. */
typedef struct pare_schedule_options {
  pare_parallel parallel;
  /* By name, with weights of its decisions behind it if wanted, "dmda:transfer=2,joule=0.1" (pare-simulate(1)); NULL:
   * PARE_POLICY, else the default. */
  const char *policy;
  const char *objective; /* "makespan", "utilisation", "energy", "cost"; NULL: makespan */
  const char *trace;     /* file in Chrome's format, written when the context closes; NULL: none */
  /* A device without progress for so long is given up; 0: never. It may come back: results are first written apart
   * then, which costs a copy of them. */
  double stall_seconds;
  /* Told once for each device that is lost, by a thread that works for the context: what waits for other work (runs of
   * models, reads, pare_context_wait, pare_compress) fails with PARE_ERR_ARGUMENT there. NULL: a warning in the log. */
  void (*lost)(void *user, const char *message);
  void *user;
  /* What the devices draw, one "BUSY" or "BUSY:IDLE" in watts for each in the order of selection, with commas between:
   * "120:10,65:5". What is said counts, and is called an estimate; NULL: PARE_WATTS, else what the
   * processor's own counters (RAPL) say where they can be read. */
  const char *watts;
  const char *prices;   /* for an hour in which a device is busy, likewise: "0.50,0.12"; NULL: PARE_PRICES */
  pare_parallel inside; /* of groups; only auto where there are none */
} pare_schedule_options;
#define PARE_SCHEDULE_OPTIONS_INIT \
  { PARE_PARALLEL_AUTO, 0, 0, 0, 0, 0, 0, 0, 0, PARE_PARALLEL_AUTO }

typedef struct pare_context_options {
  const char *device; /* selector; NULL = PARE_DEVICE, else the default */
  /* Of device memory that pare takes; 0 = PARE_MEMORY ("512MiB"), else no limit of ours. It holds for each device as a
   * whole: selected parts of one have shares of it, by their compute units. With several devices, tensors have a home
   * in the host's memory that is not counted. */
  uint64_t memory_limit_bytes;
  const pare_schedule_options *schedule; /* NULL: the defaults */
} pare_context_options;
#define PARE_CONTEXT_OPTIONS_INIT \
  { 0, 0, 0 }

/* Opens the selected devices; with several, work is divided among them (<pare/schedule.h>). Thread-safe: any thread may
 * use the context.
 * After fork(2) the child must not use it: calls there fail with PARE_ERR_ARGUMENT, as does opening another one, since
 * drivers do not survive a fork. What is open there may be closed, which frees host memory only; a process that is
 * started with exec may do everything.
 * PARE_ERR_SELECTOR, PARE_ERR_DEVICE, PARE_ERR_ARGUMENT (PARE_MEMORY malformed, ways that do not go together). On
 * failure *out = NULL. */
PARE_API pare_status pare_context_open(const pare_context_options *options, pare_context **out);

/* Waits for pending work and closes. NULL is allowed. Tensors that outlive it may only be closed. From inside of a
 * callback it would wait for itself: the context stays open then, with an error in the log, and is to be closed
 * elsewhere. */
PARE_API void pare_context_close(pare_context *context);

/* Waits until all submitted work is done; returns the first error of work that failed since the last wait. */
PARE_API pare_status pare_context_wait(pare_context *context);

/* The first of its devices; NULL if context is NULL. */
PARE_API const pare_device_info *pare_context_device(const pare_context *context);

typedef struct pare_memory_usage {
  uint64_t in_use_bytes, peak_bytes, limit_bytes; /* limit 0: none of ours */
} pare_memory_usage;
/* Device memory that pare holds in this context. */
PARE_API pare_status pare_context_memory(const pare_context *context, pare_memory_usage *out);

#ifdef __cplusplus
}
#endif
#endif
