/* How long a run would take in each way to be parallel, predicted. SPDX-License-Identifier: Apache-2.0
 *
 * What whole runs, or samples, take on each device is what the crew's models say. How that is spread over a run follows
 * from the operations and bytes of its recorded tasks: sliced tensors stream, what every step reads again comes from a
 * cache. So it is known which stages a pipeline would have, which part of a run columns could divide, and what could
 * run beside each other. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/parallel.h"
#include "graph/plan.h"

enum { MOST_SPREADS = 64 };
/* Only the proportion of these matters: bytes a second that a core streams, and that a product takes from its cache. */
static const double stream_speed = 15e9, reuse_speed = 200e9;
/* A task that waits for those before, on all devices or another one: its launches, and a wait. */
static const double column_seconds = 100e-6;
/* A piece of a task shall have at least so much to do, or it is not divided. */
static const double least_column_bytes = 1 << 20;

/* ---- how a run is spread over its tasks ---- */

static void add_task(pare__spread *spread, const pare__task *task) {
  double sliced = 0, whole = 0;
  for (unsigned i = 0; i < task->naccesses; i++) {
    const pare_tensor *tensor = task->access[i].tensor;
    if (!tensor) continue;
    const double nbytes = (double)pare_tensor_elements(tensor) * (double)pare_dtype_bytes(tensor->dtype);
    if (task->access[i].axis == PARE__WHOLE)
      whole += nbytes;
    else
      sliced += nbytes;
  }
  const double n = (double)PARE__MAX(task->n, (int64_t)1);
  spread->divides[spread->ntasks] =
      task->n >= 2 * PARE__MAX(task->grain, (int64_t)1) && sliced + n * whole >= least_column_bytes;
  spread->part[spread->ntasks++] = sliced / stream_speed + n * whole / reuse_speed;
}

static pare_status spread_open(const pare__recording *recording, const char *key, pare__spread **out) {
  const size_t ntasks = pare__recording_tasks(recording);
  pare__spread *spread = *out = calloc(1, sizeof *spread);
  double sum = 0;
  if (spread) {
    spread->key = pare__strdup(key);
    spread->part = calloc(ntasks + 1, sizeof *spread->part);
    spread->divides = calloc(ntasks + 1, sizeof *spread->divides);
  }
  if (!spread || !spread->key || !spread->part || !spread->divides) {
    pare__spread_close(spread);
    *out = NULL;
    return pare__fail_memory("a prediction", ntasks * sizeof *spread->part);
  }
  for (size_t i = 0; i < ntasks; i++) add_task(spread, pare__recording_task(recording, i));
  for (size_t i = 0; i < ntasks; i++) sum += spread->part[i];
  for (size_t i = 0; i < ntasks && sum > 0; i++) spread->part[i] /= sum;
  if (ntasks > PARE__MOST_ORDERED || pare__recording_order(recording, &spread->order) == PARE_OK) return PARE_OK;
  pare__spread_close(spread);
  *out = NULL;
  return PARE_ERR_MEMORY;
}

void pare__spread_close(pare__spread *spread) {
  if (!spread) return;
  free(spread->key);
  free(spread->part);
  free(spread->divides);
  pare__order_close(spread->order);
  free(spread);
}

static pare__spread *find_spread(const pare__team *team, const char *key) {
  for (size_t i = 0; i < team->nspreads; i++)
    if (strcmp(team->spread[i]->key, key) == 0) return team->spread[i];
  return NULL;
}

/* Of the plan that a replica used last, unless it is in use; NULL: not known yet. */
static pare__spread *make_spread(const pare__team *team, const char *key) {
  pare__spread *made = NULL;
  for (size_t i = 0; i < team->nmembers && !made; i++) {
    pare_model *replica = team->replica[i];
    if (!replica || pthread_mutex_trylock(&replica->lock) != 0) continue;
    const pare__plan *plan = replica->plans;
    if (plan && !plan->at_once && plan->recording) (void)spread_open(plan->recording, key, &made);
    pthread_mutex_unlock(&replica->lock);
  }
  return made;
}

pare__spread *pare__spread_of(pare__team *team, const char *key) {
  pthread_mutex_lock(&team->lock);
  pare__spread *found = find_spread(team, key);
  const bool full = team->nspreads == MOST_SPREADS;
  pthread_mutex_unlock(&team->lock);
  if (found || full) return found;
  pare__spread *made = make_spread(team, key);
  if (!made) return NULL;
  pthread_mutex_lock(&team->lock);
  found = find_spread(team, key);
  if (!found && pare__array_grow((void **)&team->spread, &team->spreads_capacity, team->nspreads,
                                 sizeof *team->spread) == PARE_OK) {
    found = team->spread[team->nspreads++] = made;
    made = NULL;
  }
  pthread_mutex_unlock(&team->lock);
  pare__spread_close(made);
  return found;
}

/* ---- predictions ---- */

/* All devices end together (as pare__policy_divide); one that begins later than that does not take part. */
static double by_data(const pare__crew_line *line, size_t count, double units) {
  double end = INFINITY, before;
  do {
    double rates = 0, late = 0;
    before = end;
    for (size_t i = 0; i < count; i++) {
      if (line[i].lost || line[i].a >= before) continue;
      const double rate = 1 / fmax(line[i].b, 1e-12);
      rates += rate;
      late += rate * line[i].a;
    }
    end = (units + late) / rates;
  } while (end < before);
  return end;
}

/* So many runs, each where it ends first. */
static double by_task(const double *seconds, double *until, size_t count, int nruns) {
  double makespan = 0;
  memset(until, 0, count * sizeof *until);
  for (int run = 0; run < nruns; run++) {
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
      if (until[i] + seconds[i] < until[best] + seconds[best]) best = i;
    until[best] += seconds[best];
    makespan = fmax(makespan, until[best]);
  }
  return makespan;
}

/* What every operation divided by the devices' speeds would take. */
static double by_columns(const pare__spread *spread, const double *seconds, size_t count, double alone) {
  double speeds = 0, rest = 0;
  for (size_t i = 0; i < count; i++) speeds += 1 / seconds[i];
  for (size_t i = 0; i < spread->ntasks; i++)
    rest += spread->part[i] * (spread->divides[i] ? fmin(1 / speeds, alone) : alone);
  return rest + column_seconds * (double)spread->ntasks;
}

/* The device where work that may begin when it is `ready`, a part of a run, ends first. */
static size_t ends_first(double part, double ready, const double *seconds, const double *until, size_t count) {
  size_t best = PARE__NO_DEVICE;
  double least = INFINITY;
  for (size_t m = 0; m < count; m++) {
    const double end = isinf(seconds[m]) ? INFINITY : fmax(until[m], ready) + part * seconds[m];
    if (!(end < least)) continue;
    least = end;
    best = m;
  }
  return best;
}

/* Every operation whole, on the device where it ends first. NaN: nothing could run beside anything else. */
static double by_branches(const pare__spread *spread, const double *seconds, double *until, size_t count) {
  const pare__order *order = spread->order;
  double *end = order ? malloc((spread->ntasks + 1) * sizeof *end) : NULL;
  double makespan = 0, chain = 0;
  memset(until, 0, count * sizeof *until);
  for (size_t i = 0; end && i < spread->ntasks; i++) {
    double ready = 0;
    for (size_t k = order->begin[i]; k < order->begin[i + 1]; k++) ready = fmax(ready, end[order->need[k]]);
    const size_t best = ends_first(spread->part[i], ready, seconds, until, count);
    if (best == PARE__NO_DEVICE) break; /* all are lost */
    const double takes = spread->part[i] * seconds[best] + column_seconds;
    chain += takes;
    end[i] = until[best] = fmax(until[best], ready) + takes;
    makespan = fmax(makespan, end[i]);
  }
  const bool any = end && makespan < chain;
  free(end);
  return any ? makespan : NAN;
}

/* The longest stage is what parts follow each other by; each stage of each has its launch. */
static double by_pipeline(const pare__divided *divided, const pare__crew_line *line) {
  const pare__team *team = divided->team;
  const pare__spread *spread = divided->spread;
  double longest = 0, all = 0;
  const size_t most = team->nmembers + 1;
  pare__stages stages = {.cut = calloc(most, sizeof *stages.cut),
                         .member = calloc(most, sizeof *stages.member),
                         .seconds = calloc(most, sizeof *stages.seconds)};
  double *weight = calloc(most, sizeof *weight);
  const bool there = stages.cut && stages.member && stages.seconds && weight;
  for (size_t i = 0; there && i < team->nmembers && stages.count < spread->ntasks; i++) {
    if (line[i].lost) continue;
    stages.member[stages.count] = i;
    weight[stages.count++] = pare__stages_speed(team, i, line);
  }
  if (there && stages.count > 0) pare__stages_cut(&stages, spread->part, spread->ntasks, weight);
  const int64_t rows = pare__pipeline_rows(divided, PARE__MAX(stages.count, (size_t)1));
  const double parts = divided->split ? (double)PARE__MAX(divided->batch / rows, (int64_t)1) : 1;
  for (size_t s = 0; there && s < stages.count; s++) {
    const pare__crew_line *on = &line[stages.member[s]];
    const double stage = stages.seconds[s] * on->b * (double)divided->units / parts + on->a;
    longest = fmax(longest, stage);
    all += stage;
  }
  free(stages.cut);
  free(stages.member);
  free(stages.seconds);
  free(weight);
  return all > 0 ? all + longest * (parts - 1) : NAN;
}

/* Of a unit; 0: not often enough to tell. */
static double measured(const pare__tried *tried) { return tried->settled ? pare__timings_median(&tried->timings) : 0; }

static void predict(const pare__divided *divided, const pare__crew_line *line, double *seconds, double *until,
                    int nruns, pare__forecast *out) {
  pare__team *team = divided->team;
  const size_t count = team->nmembers;
  const pare__spread *spread = divided->spread;
  double alone = INFINITY;
  for (size_t i = 0; i < count; i++) {
    seconds[i] = line[i].lost ? INFINITY : line[i].a + line[i].b * (double)divided->units;
    alone = fmin(alone, seconds[i]);
  }
  out->seconds[PARE_PARALLEL_OFF] = alone * nruns;
  out->seconds[PARE_PARALLEL_TASK] = by_task(seconds, until, count, nruns);
  if (divided->split) out->seconds[PARE_PARALLEL_DATA] = by_data(line, count, (double)divided->units) * nruns;
  if (!spread || spread->ntasks == 0) return;
  /* A group that is a team has no recorded tasks for stages; and columns of all devices are another model. */
  if (!team->of_groups || pare__context_schedule(team->context)->inside == PARE_PARALLEL_COLUMNS)
    out->seconds[PARE_PARALLEL_PIPELINE] = by_pipeline(divided, line) * nruns;
  if (team->of_groups) return;
  pthread_mutex_lock(&team->lock);
  const double columns = measured(&spread->columns) * (double)divided->units,
               branches = measured(&spread->branches) * (double)divided->units;
  pthread_mutex_unlock(&team->lock);
  out->seconds[PARE_PARALLEL_COLUMNS] = (columns > 0 ? columns : by_columns(spread, seconds, count, alone)) * nruns;
  out->branches = (branches > 0 ? branches : by_branches(spread, seconds, until, count)) * nruns;
}

pare_status pare__forecast_make(const pare__divided *divided, const char *kernel, int nruns, pare__forecast *out) {
  pare__team *team = divided->team;
  pare_status status = PARE_OK;
  *out = (pare__forecast){.known = false, .branches = NAN};
  for (int i = 0; i <= PARE_PARALLEL_OFF; i++) out->seconds[i] = NAN;
  pare__crew_line *line = calloc(team->nmembers + 1, sizeof *line);
  double *seconds = calloc(2 * team->nmembers + 1, sizeof *seconds);
  if (!line || !seconds) status = pare__fail_memory("a prediction", team->nmembers * sizeof *line);
  if (status == PARE_OK) pare__crew_lines(team->crew, kernel, line);
  for (size_t i = 0; status == PARE_OK && i < team->nmembers; i++)
    out->known = out->known || (line[i].known && !line[i].lost);
  if (out->known) predict(divided, line, seconds, seconds + team->nmembers, nruns, out);
  free(line);
  free(seconds);
  return status;
}

void pare__forecast_say(const pare__forecast *forecast, char *text, size_t capacity) {
  static const pare_parallel shown[] = {PARE_PARALLEL_DATA, PARE_PARALLEL_PIPELINE, PARE_PARALLEL_COLUMNS,
                                        PARE_PARALLEL_TASK, PARE_PARALLEL_OFF};
  size_t used = 0;
  if (!forecast->known) {
    snprintf(text, capacity, "; its speed is not known yet");
    return;
  }
  for (size_t i = 0; i < PARE__COUNT(shown) && used < capacity; i++) {
    const double seconds = forecast->seconds[shown[i]];
    if (isnan(seconds)) continue;
    const int n = snprintf(text + used, capacity - used, "%s %s %.3g",
                           used ? "," : "; predicted ms:", pare_parallel_name(shown[i]), 1e3 * seconds);
    used += (size_t)PARE__MAX(n, 0);
  }
  if (used < capacity && !isnan(forecast->branches))
    snprintf(text + used, capacity - used, ", branches %.3g", 1e3 * forecast->branches);
}
