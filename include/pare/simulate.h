/* Scheduling simulated: which device would run what, and when. SPDX-License-Identifier: Apache-2.0
 *
 * The policies are those that run real devices; machine and work are files (doc/simulate.md), and no device is needed.
 * The same machine, work, options and seed give the same result, bit for bit. */
#ifndef PARE_SIMULATE_H
#define PARE_SIMULATE_H

#include <pare/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Devices with their rates, memory, links, power and prices, and what happens to them. */
typedef struct pare_machine pare_machine;
/* PARE_ERR_IO; PARE_ERR_FORMAT: "FILE:LINE:COLUMN: what is wrong". */
PARE_API pare_status pare_machine_open(const char *path, pare_machine **out);
/* Text in memory; `name` stands for the file in messages. */
PARE_API pare_status pare_machine_parse(const char *text, size_t nbytes, const char *name, pare_machine **out);
PARE_API size_t pare_machine_devices(const pare_machine *machine);
PARE_API void pare_machine_close(pare_machine *machine); /* NULL is allowed */

/* Tasks, what they need of each other, and when they come. */
typedef struct pare_workload pare_workload;
/* As for machines. A cycle is an error that names its tasks. */
PARE_API pare_status pare_workload_open(const char *path, pare_workload **out);
PARE_API pare_status pare_workload_parse(const char *text, size_t nbytes, const char *name, pare_workload **out);
/* Tasks at random, from "KEY=VALUE,...": tasks (1000), work (mean units a task, 1e6), spread (of the work: 0 for equal
 * tasks, up to 1), kernels (1; named k0, k1, …), edges (mean needs a task, 0), window (how far back they reach, 100),
 * bytes (mean of each result, 0), priorities (1), split (share of tasks that may be split, 0), rate (arrivals a second,
 * 0: all at the start). PARE_ERR_ARGUMENT. */
PARE_API pare_status pare_workload_random(const char *spec, uint64_t seed, pare_workload **out);
PARE_API size_t pare_workload_tasks(const pare_workload *workload);
PARE_API void pare_workload_close(pare_workload *workload); /* NULL is allowed */

/* Names and meanings of the policies, from index 0 on, the default first; false if there are not so many. */
PARE_API bool pare_policy_get(size_t index, const char **name, const char **meaning);

typedef struct pare_simulate_options {
  const char *policy;    /* by name, and weights as in pare_schedule_options; NULL: the default */
  const char *objective; /* "makespan" (NULL), "utilisation", "energy", "cost" */
  uint64_t seed;         /* of the machine's noise */
  bool cold;             /* policies know the weights of devices only, and learn the rest */
  bool trace;            /* keep what pare_simulation_trace writes */
  double ageing_seconds; /* one more of priority is worth so much waiting; 0: 1 second */
} pare_simulate_options;
#define PARE_SIMULATE_OPTIONS_INIT \
  { 0, 0, 1, false, false, 0 }

typedef struct pare_simulation pare_simulation;
/* PARE_ERR_ARGUMENT: a policy or objective that is none; PARE_ERR_FORMAT: a task that no device may run, or a kernel
 * without a rate; PARE_ERR_DEVICE: all devices that could run what is left are lost. options NULL: the defaults. */
PARE_API pare_status pare_simulate(const pare_machine *machine, const pare_workload *workload,
                                   const pare_simulate_options *options, pare_simulation **out);
PARE_API void pare_simulation_close(pare_simulation *simulation); /* NULL is allowed */

typedef struct pare_simulation_result {
  const char *policy, *objective;
  size_t tasks, chunks, moves, devices, lost; /* moves: pieces that went from one device's queue to another */
  double makespan;                            /* seconds */
  double path_bound, work_bound; /* no schedule is shorter: the longest chain at the best rates; work by all rates */
  double utilisation;            /* busy time of the time that devices were there */
  double wait_mean, wait_p95, wait_p99; /* from when a task is ready to its first start, seconds */
  double joules, price, joules_bound, price_bound;
  size_t relearned;    /* lines of the performance models that turned out wrong */
  size_t bytes_a_task; /* of memory, for all that is kept of a task until it is done */
} pare_simulation_result;
PARE_API pare_status pare_simulation_result_get(const pare_simulation *simulation, pare_simulation_result *out);

typedef struct pare_simulation_device {
  const char *name;
  size_t chunks;
  double busy, copying, lost_at; /* seconds; lost_at below 0: it was not */
  double joules, price;
} pare_simulation_device;
PARE_API pare_status pare_simulation_device_get(const pare_simulation *simulation, size_t index,
                                                pare_simulation_device *out);

/* A piece that ran, in the order of their ends; only with options.trace. [begin, end) of the task's steps. All that the
 * task needs was there at `ready`; what the piece reads is copied to the device from copy_from to copy_until, it works
 * from `from` to `until`, and what it wrote is copied back from back_from to back_until, when it is done. */
typedef struct pare_simulation_chunk {
  size_t task, device;
  int64_t begin, end;
  double ready, copy_from, copy_until, from, until, back_from, back_until; /* seconds */
  double copied_bytes, back_bytes;
} pare_simulation_chunk;
PARE_API bool pare_simulation_chunk_get(const pare_simulation *simulation, size_t index, pare_simulation_chunk *out);
/* The Chrome trace format, which Perfetto (ui.perfetto.dev) shows and pare trace draws. PARE_ERR_ARGUMENT without
 * options.trace; PARE_ERR_IO. The machine and the work must be open. */
PARE_API pare_status pare_simulation_trace(const pare_simulation *simulation, const char *path);

#ifdef __cplusplus
}
#endif
#endif
