/* What a simulation gave. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "sched/simulate.h"
#include "sched/trace.h"

bool pare_policy_get(size_t index, const char **name, const char **meaning) {
  for (size_t i = 0; i <= index; i++)
    if (!pare__policies[i]) return false;
  if (name) *name = pare__policies[index]->name;
  if (meaning) *meaning = pare__policies[index]->what;
  return true;
}

pare_status pare_simulation_result_get(const pare_simulation *simulation, pare_simulation_result *out) {
  if (!simulation) return pare__fail_null("pare_simulation_result_get", "simulation");
  if (!out) return pare__fail_null("pare_simulation_result_get", "out");
  *out = simulation->result;
  return PARE_OK;
}

pare_status pare_simulation_device_get(const pare_simulation *simulation, size_t index, pare_simulation_device *out) {
  if (!simulation) return pare__fail_null("pare_simulation_device_get", "simulation");
  if (!out) return pare__fail_null("pare_simulation_device_get", "out");
  if (index >= simulation->result.devices)
    return pare__fail(PARE_ERR_ARGUMENT, "there is no device %zu in a simulation of %zu", index,
                      simulation->result.devices);
  *out = simulation->device[index];
  return PARE_OK;
}

bool pare_simulation_chunk_get(const pare_simulation *simulation, size_t index, pare_simulation_chunk *out) {
  if (!simulation || !out || index >= simulation->nchunks) return false;
  *out = simulation->chunk[index];
  return true;
}

void pare_simulation_close(pare_simulation *simulation) {
  if (!simulation) return;
  free(simulation->device);
  free(simulation->chunk);
  free(simulation);
}

/* ---- the trace ---- */

/* Slices are of whole numbers of bytes; no more than readers of JSON hold exactly. */
static size_t whole_bytes(double nbytes) { return (size_t)fmin(nbytes + 0.5, 0x1p53); }

static void write_chunk(pare__trace *trace, const pare_simulation *simulation, const pare_simulation_chunk *chunk) {
  const pare_workload *workload = simulation->workload;
  const pare__policy_task *task = &workload->task[chunk->task];
  char number[24];
  (void)snprintf(number, sizeof number, "%zu", chunk->task);
  const char *name = workload->name ? workload->name[chunk->task] : number;
  const double launch =
      pare__by_kernel_get(simulation->machine->device[chunk->device].launch, workload->kernel[task->kernel]);
  if (chunk->copy_until > chunk->copy_from)
    pare__trace_copy(trace, (unsigned)chunk->device, PARE__TRACE_COPIES, name, whole_bytes(chunk->copied_bytes),
                     chunk->copy_from, chunk->copy_until, chunk->begin, chunk->end);
  pare__trace_work(
      trace, (unsigned)chunk->device, name, workload->kernel[task->kernel], chunk->from, chunk->until,
      &(pare__trace_steps){chunk->begin, chunk->end, task->n, task->grain, task->per_step, chunk->ready, launch});
  if (chunk->back_until > chunk->back_from)
    pare__trace_copy(trace, (unsigned)chunk->device, PARE__TRACE_COPIES_BACK, name, whole_bytes(chunk->back_bytes),
                     chunk->back_from, chunk->back_until, chunk->begin, chunk->end);
}

/* From the last piece of what a task needs to its first. */
static void write_flows(pare__trace *trace, const pare_simulation *simulation, const size_t *first,
                        const size_t *last) {
  const pare_workload *workload = simulation->workload;
  for (size_t i = 0; i < workload->ntasks; i++)
    for (size_t k = workload->begin[i]; k < workload->begin[i + 1]; k++) {
      const pare_simulation_chunk *from = &simulation->chunk[last[workload->need[k].from]],
                                  *to = &simulation->chunk[first[i]];
      pare__trace_flow(trace, (unsigned)from->device, from->until, (unsigned)to->device, to->from);
    }
}

pare_status pare_simulation_trace(const pare_simulation *simulation, const char *path) {
  if (!simulation) return pare__fail_null("pare_simulation_trace", "simulation");
  if (!path) return pare__fail_null("pare_simulation_trace", "path");
  if (!simulation->traced)
    return pare__fail(PARE_ERR_ARGUMENT, "this simulation kept no trace: set options.trace before it runs");
  const size_t ntasks = simulation->workload->ntasks;
  size_t *first = malloc((ntasks + 1) * sizeof *first), *last = malloc((ntasks + 1) * sizeof *last);
  pare__trace *trace = NULL;
  pare_status status = first && last ? PARE_OK : pare__fail_memory("a trace", ntasks * sizeof *first);
  if (status == PARE_OK) status = pare__trace_open(path, &trace);
  if (status != PARE_OK) goto out;
  for (size_t i = 0; i < simulation->result.devices; i++)
    pare__trace_device(trace, (unsigned)i, simulation->device[i].name);
  for (size_t i = 0; i < ntasks; i++) first[i] = SIZE_MAX;
  for (size_t i = 0; i < simulation->nchunks; i++) {
    const pare_simulation_chunk *chunk = &simulation->chunk[i];
    if (first[chunk->task] == SIZE_MAX || chunk->from < simulation->chunk[first[chunk->task]].from)
      first[chunk->task] = i;
    last[chunk->task] = i;
    write_chunk(trace, simulation, chunk);
  }
  write_flows(trace, simulation, first, last);
  for (size_t i = 0; i < simulation->result.devices; i++)
    if (simulation->device[i].lost_at >= 0) pare__trace_mark(trace, (unsigned)i, "lost", simulation->device[i].lost_at);
  status = pare__trace_close(trace);
out:
  free(first);
  free(last);
  return status;
}
