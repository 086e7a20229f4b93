/* What no schedule can beat: lower bounds of a simulation's results. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "sched/simulate.h"

/* The best that the devices of a set of classes can do for a kernel. */
struct best {
  double rate, rates;   /* the highest; all together */
  double launch;        /* the least */
  double joules, price; /* a unit, the least */
};

struct bounds {
  const pare_machine *machine;
  const pare_workload *workload;
  struct best *best; /* [set][kernel] */
};

static struct best *best_of(const struct bounds *bounds, unsigned set, size_t kernel) {
  return &bounds->best[set * bounds->workload->nkernels + kernel];
}

static void find_best(struct bounds *bounds) {
  for (unsigned set = 1; set < PARE__RESOURCE_SETS; set++) {
    for (size_t kernel = 0; kernel < bounds->workload->nkernels; kernel++) {
      struct best *best = best_of(bounds, set, kernel);
      best->joules = best->price = best->launch = INFINITY;
      for (size_t i = 0; i < bounds->machine->ndevices; i++) {
        const pare__simulated_device *device = &bounds->machine->device[i];
        if (!(device->seen.resource & set)) continue;
        const double rate = pare__by_kernel_get(device->rates, bounds->workload->kernel[kernel]);
        best->rate = fmax(best->rate, rate);
        best->rates += rate;
        best->joules = fmin(best->joules, (device->seen.busy_watts - device->seen.idle_watts) / rate);
        best->price = fmin(best->price, device->seen.price_per_hour / 3600 / rate);
        best->launch = fmin(best->launch, pare__by_kernel_get(device->launch, bounds->workload->kernel[kernel]));
      }
    }
  }
}

/* All work that only this set may do, in seconds of the fastest device of each kernel, by how many such devices the
 * set amounts to: each counts as its best share of the highest rate. */
static double work_bound(const struct bounds *bounds, unsigned set) {
  double seconds = 0, devices = 0;
  for (size_t i = 0; i < bounds->workload->ntasks; i++) {
    const pare__policy_task *task = &bounds->workload->task[i];
    if (task->resources & ~set) continue;
    seconds += (double)task->n * task->per_step / best_of(bounds, set, task->kernel)->rate;
  }
  for (size_t i = 0; i < bounds->machine->ndevices; i++) {
    const pare__simulated_device *device = &bounds->machine->device[i];
    double share = 0;
    if (!(device->seen.resource & set)) continue;
    for (size_t kernel = 0; kernel < bounds->workload->nkernels; kernel++)
      share = fmax(share, pare__by_kernel_get(device->rates, bounds->workload->kernel[kernel]) /
                              best_of(bounds, set, kernel)->rate);
    devices += share;
  }
  return devices > 0 && isfinite(seconds) ? seconds / devices : 0;
}

/* The longest chain, each task at the best that its devices can do, from when it comes and the host is through. */
static double path_bound(const struct bounds *bounds, const size_t *first, const uint32_t *after, const uint32_t *order,
                         double *start) {
  const pare_workload *workload = bounds->workload;
  double latest = 0;
  for (size_t i = 0; i < workload->ntasks; i++) start[i] = workload->at ? workload->at[i] : 0;
  for (size_t i = 0; i < workload->ntasks; i++) {
    const pare__policy_task *task = &workload->task[order[i]];
    const struct best *best = best_of(bounds, task->resources, task->kernel);
    const double rate = task->grain < task->n ? best->rates : best->rate,
                 host = workload->host ? workload->host[order[i]] : 0,
                 end = start[order[i]] + host + best->launch + (double)task->n * task->per_step / rate;
    for (size_t k = first[order[i]]; k < first[order[i] + 1]; k++) start[after[k]] = fmax(start[after[k]], end);
    latest = fmax(latest, end);
  }
  return latest;
}

static void thrift_bounds(const struct bounds *bounds, pare_simulation_result *result) {
  result->joules_bound = result->price_bound = 0;
  for (size_t i = 0; i < bounds->workload->ntasks; i++) {
    const pare__policy_task *task = &bounds->workload->task[i];
    const struct best *best = best_of(bounds, task->resources, task->kernel);
    result->joules_bound += (double)task->n * task->per_step * best->joules;
    result->price_bound += (double)task->n * task->per_step * best->price;
  }
  for (size_t i = 0; i < bounds->machine->ndevices; i++) {
    size_t k = 0;
    while (k < bounds->machine->nevents &&
           !(bounds->machine->event[k].device == i && !(bounds->machine->event[k].speed > 0)))
      k++;
    if (k == bounds->machine->nevents) /* one that is lost waits no longer */
      result->joules_bound += bounds->machine->device[i].seen.idle_watts * fmax(result->path_bound, result->work_bound);
  }
}

pare_status pare__simulate_bounds(const pare_machine *machine, const pare_workload *workload, const size_t *first,
                                  const uint32_t *after, pare_simulation_result *result) {
  struct bounds bounds = {machine, workload, calloc(PARE__RESOURCE_SETS * workload->nkernels + 1, sizeof(struct best))};
  uint32_t *order = malloc((workload->ntasks + 1) * sizeof *order),
           *missing = malloc((workload->ntasks + 1) * sizeof *missing);
  double *start = malloc((workload->ntasks + 1) * sizeof *start);
  pare_status status = PARE_OK;
  size_t count;
  if (!bounds.best || !order || !missing || !start) {
    status = pare__fail_memory("lower bounds", workload->ntasks * sizeof *start);
    goto out;
  }
  find_best(&bounds);
  pare__workload_order(workload, first, after, order, missing, &count);
  result->path_bound = path_bound(&bounds, first, after, order, start);
  result->work_bound = 0;
  for (unsigned set = 1; set < PARE__RESOURCE_SETS; set++)
    result->work_bound = fmax(result->work_bound, work_bound(&bounds, set));
  thrift_bounds(&bounds, result);
out:
  free(bounds.best);
  free(order);
  free(missing);
  free(start);
  return status;
}
