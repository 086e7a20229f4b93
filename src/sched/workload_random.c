/* Work at random, and the check that a graph has no cycle. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sched/simulate.h"

uint64_t pare__random_next(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

double pare__random_unit(uint64_t *state) { return (double)(pare__random_next(state) >> 11) * 0x1p-53; }

/* ---- cycles ---- */

/* Follows needs that were never met until a task comes again. */
static uint32_t unmet_need(const pare_workload *workload, const uint32_t *missing, uint32_t task) {
  size_t i = workload->begin[task];
  while (missing[workload->need[i].from] == 0) i++;
  return workload->need[i].from;
}

static pare_status name_cycle(const pare_workload *workload, const char *file, const uint32_t *missing, uint32_t *seen,
                              uint32_t task) {
  char text[300] = "";
  size_t used = 0;
  bool whole = true;
  memset(seen, 0, workload->ntasks * sizeof *seen);
  for (; !seen[task]; task = unmet_need(workload, missing, task)) seen[task] = 1;
  const uint32_t start = task; /* the first that comes again is in the circle */
  do {
    whole = used + 60 < sizeof text;
    if (whole) used += (size_t)snprintf(text + used, sizeof text - used, "%.40s needs ", workload->name[task]);
    task = unmet_need(workload, missing, task);
  } while (task != start);
  return pare__fail(PARE_ERR_FORMAT, "%s: tasks need each other in a circle: %s%s%.40s", file, text,
                    whole ? "" : "... ", workload->name[start]);
}

pare_status pare__workload_after(const pare_workload *workload, size_t **first, uint32_t **after) {
  const size_t ntasks = workload->ntasks, nneeds = workload->begin[ntasks];
  *first = calloc(ntasks + 2, sizeof **first);
  *after = malloc((nneeds + 1) * sizeof **after);
  if (!*first || !*after) return pare__fail_memory("a graph of tasks", nneeds * sizeof **after);
  /* Counted two places on, summed, and moved by one while it is filled. */
  for (size_t i = 0; i < nneeds; i++) (*first)[workload->need[i].from + 2]++;
  for (size_t i = 2; i <= ntasks + 1; i++) (*first)[i] += (*first)[i - 1];
  for (size_t i = 0; i < ntasks; i++)
    for (size_t k = workload->begin[i]; k < workload->begin[i + 1]; k++)
      (*after)[(*first)[workload->need[k].from + 1]++] = (uint32_t)i;
  return PARE_OK;
}

void pare__workload_order(const pare_workload *workload, const size_t *first, const uint32_t *after, uint32_t *order,
                          uint32_t *missing, size_t *count) {
  *count = 0;
  for (size_t i = 0; i < workload->ntasks; i++) {
    missing[i] = (uint32_t)(workload->begin[i + 1] - workload->begin[i]);
    if (missing[i] == 0) order[(*count)++] = (uint32_t)i;
  }
  for (size_t at = 0; at < *count; at++)
    for (size_t k = first[order[at]]; k < first[order[at] + 1]; k++)
      if (--missing[after[k]] == 0) order[(*count)++] = after[k];
}

pare_status pare__workload_check(const pare_workload *workload, const char *file) {
  const size_t ntasks = workload->ntasks;
  size_t *first = NULL, count;
  uint32_t *after = NULL, *missing = malloc((ntasks + 1) * sizeof *missing),
           *order = malloc((ntasks + 1) * sizeof *order);
  pare_status status = pare__workload_after(workload, &first, &after);
  if (status == PARE_OK && (!missing || !order)) status = pare__fail_memory("a graph of tasks", ntasks * 8);
  if (status == PARE_OK) {
    pare__workload_order(workload, first, after, order, missing, &count);
    for (size_t i = 0; count < ntasks && i < ntasks && status == PARE_OK; i++)
      if (missing[i] > 0) status = name_cycle(workload, file, missing, order, (uint32_t)i);
  }
  free(first);
  free(after);
  free(missing);
  free(order);
  return status;
}

/* ---- at random ---- */

typedef struct random_spec {
  double tasks, work, spread, kernels, edges, window, bytes, priorities, split, rate;
} random_spec;

static const struct {
  const char *key;
  size_t offset;
  double low, high, otherwise;
} keys[] = {
    {"tasks", offsetof(random_spec, tasks), 1, 1e8, 1000},
    {"work", offsetof(random_spec, work), 1, 1e15, 1e6},
    {"spread", offsetof(random_spec, spread), 0, 1, 0.5},
    {"kernels", offsetof(random_spec, kernels), 1, 1000, 1},
    {"edges", offsetof(random_spec, edges), 0, 100, 0},
    {"window", offsetof(random_spec, window), 1, 1e6, 100},
    {"bytes", offsetof(random_spec, bytes), 0, 1e15, 0},
    {"priorities", offsetof(random_spec, priorities), 1, 1000, 1},
    {"split", offsetof(random_spec, split), 0, 1, 0},
    {"rate", offsetof(random_spec, rate), 0, 1e12, 0},
};

static double *field_of(random_spec *spec, size_t offset) { return (double *)(void *)((char *)spec + offset); }

static pare_status read_spec(const char *text, random_spec *out) {
  for (size_t i = 0; i < PARE__COUNT(keys); i++) *field_of(out, keys[i].offset) = keys[i].otherwise;
  while (*text) {
    const size_t length = strcspn(text, "=,");
    size_t i = 0;
    char *end = NULL;
    while (i < PARE__COUNT(keys) && !(strlen(keys[i].key) == length && strncmp(keys[i].key, text, length) == 0)) i++;
    if (i == PARE__COUNT(keys) || text[length] != '=')
      return pare__fail(PARE_ERR_ARGUMENT,
                        "random tasks: '%.*s' is no KEY=VALUE; keys are tasks, work, spread, kernels, edges, window, "
                        "bytes, priorities, split and rate",
                        (int)PARE__MIN(length, 40), text);
    const double value = strtod(text + length + 1, &end);
    if (end == text + length + 1 || (*end && *end != ',') || !(value >= keys[i].low && value <= keys[i].high))
      return pare__fail(PARE_ERR_ARGUMENT, "random tasks: %s must be a number from %g to %g", keys[i].key, keys[i].low,
                        keys[i].high);
    *field_of(out, keys[i].offset) = value;
    text = *end ? end + 1 : end;
  }
  return PARE_OK;
}

/* Mean `mean`, from mean (1 - spread) to mean (1 + spread). */
static double spread_around(double mean, double spread, uint64_t *state) {
  return mean * (1 + spread * (2 * pare__random_unit(state) - 1));
}

static void make_task(pare_workload *workload, size_t index, const random_spec *spec, uint64_t *state) {
  pare__policy_task *task = &workload->task[index];
  *task = (pare__policy_task){.resources = PARE__ON_ANY, .per_step = 1};
  task->kernel = (uint32_t)(pare__random_unit(state) * floor(spec->kernels));
  const int64_t n = (int64_t)spread_around(spec->work, spec->spread, state);
  task->n = PARE__MAX(n, 1);
  task->priority = (int16_t)(pare__random_unit(state) * floor(spec->priorities));
  task->grain = pare__random_unit(state) < spec->split ? 1 : task->n;
  task->nbytes = spec->bytes > 0 ? spread_around(spec->bytes, spec->spread, state) : 0; /* what it writes, first */
}

static pare_status make_needs(pare_workload *workload, const random_spec *spec, uint64_t *state) {
  size_t count = 0, capacity = 0;
  for (size_t i = 0; i < workload->ntasks; i++) {
    workload->begin[i] = count;
    const size_t reach = PARE__MIN(i, (size_t)spec->window);
    size_t wanted = (size_t)(2 * spec->edges * pare__random_unit(state) + 0.5);
    wanted = PARE__MIN(wanted, reach);
    /* Without repeats: from equal parts of the window one each. */
    for (size_t k = 0; k < wanted; k++) {
      void *items = workload->need;
      const pare_status status = pare__array_grow(&items, &capacity, count, sizeof *workload->need);
      workload->need = items;
      if (status != PARE_OK) return status;
      const size_t low = k * reach / wanted, high = (k + 1) * reach / wanted;
      const size_t back = 1 + low + (size_t)(pare__random_unit(state) * (double)(high - low));
      workload->need[count++] = (struct pare__policy_need){(uint32_t)(i - back), workload->task[i - back].nbytes};
    }
  }
  workload->begin[workload->ntasks] = count;
  for (size_t i = 0; i < workload->ntasks; i++)
    for (size_t k = workload->begin[i]; workload->need && k < workload->begin[i + 1]; k++)
      workload->task[i].read_bytes += workload->need[k].nbytes;
  for (size_t i = 0; i < workload->ntasks; i++) workload->task[i].nbytes += workload->task[i].read_bytes;
  return PARE_OK;
}

static pare_status make_workload(pare_workload *workload, const random_spec *spec, uint64_t state) {
  const size_t ntasks = (size_t)spec->tasks;
  uint32_t number;
  workload->task = malloc(ntasks * sizeof *workload->task);
  workload->begin = malloc((ntasks + 1) * sizeof *workload->begin);
  if (spec->rate > 0) workload->at = malloc(ntasks * sizeof *workload->at);
  if (!workload->task || !workload->begin || (spec->rate > 0 && !workload->at))
    return pare__fail_memory("random tasks", ntasks * sizeof *workload->task);
  for (int i = 0; i < (int)spec->kernels; i++) {
    char name[24];
    snprintf(name, sizeof name, "k%d", i);
    PARE__TRY(pare__workload_kernel(workload, name, &number));
  }
  double now = 0;
  for (size_t i = 0; i < ntasks; i++) {
    make_task(workload, i, spec, &state);
    if (!workload->at) continue;
    now -= log(1 - pare__random_unit(&state)) / spec->rate;
    workload->at[i] = now;
  }
  workload->ntasks = ntasks;
  return make_needs(workload, spec, &state);
}

pare_status pare_workload_random(const char *spec, uint64_t seed, pare_workload **out) {
  random_spec read;
  if (!out) return pare__fail_null("pare_workload_random", "out");
  *out = NULL;
  if (!spec) return pare__fail_null("pare_workload_random", "spec");
  PARE__TRY(read_spec(spec, &read));
  pare_workload *made = calloc(1, sizeof *made);
  if (!made) return pare__fail_memory("random tasks", sizeof *made);
  const pare_status status = make_workload(made, &read, seed);
  if (status == PARE_OK)
    *out = made;
  else
    pare_workload_close(made);
  return status;
}
