/* Which way a run on several devices takes. SPDX-License-Identifier: Apache-2.0
 *
 * A run is as long as its longest piece. Split, each device has about the part that its speed is of the sum of all;
 * whole, it waits for one. So a batch that may be split is, as long as nothing else is known to be shorter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/parallel.h"

enum { MOST_PROOFS = 64 };
/* Another way than the usual must be so much shorter: predictions are not exact. */
static const double worth_changing = 0.9;

/* ---- may the batch be split? ---- */

/* The samples that all inputs count in their first dimension; 0: there is no such thing. */
static int64_t batch_of(const pare__divided *divided) {
  int64_t batch = 0;
  for (unsigned i = 0; i < divided->ninputs; i++) {
    const pare__shape *shape = &divided->input[i].shape;
    if (shape->rank < 1 || (i > 0 && shape->dim[0] != batch)) return 0;
    batch = shape->dim[0];
  }
  return batch;
}

/* On every member, beside each other: so each has run samples of the shape before its pieces are timed. */
static pare_status submit_proofs(pare__divided *divided) {
  pare__team *team = divided->team;
  pare_status status = PARE_OK;
  char *kernel = pare__format("%s proof %s", team->name, divided->key);
  pare__job_id *id = calloc(team->nmembers, sizeof *id);
  if (!kernel || !id) status = pare__fail_memory("a proof", team->nmembers * sizeof *id);
  for (size_t i = 0; i < team->nmembers && status == PARE_OK; i++) {
    pare__job job = pare__divided_job(divided, kernel, 1, i);
    job.run = pare__divided_prove;
    job.settle = NULL;
    status = pare__crew_submit(team->crew, &job, NULL, 0, &id[i]);
  }
  for (size_t i = 0; i < team->nmembers && id; i++) {
    const pare_status waited = pare__crew_wait(team->crew, id[i]);
    if (status == PARE_OK) status = waited;
  }
  free(id);
  free(kernel);
  return status;
}

static const pare__proof *find_proof(const pare__team *team, const char *key) {
  for (size_t i = 0; i < team->nproofs; i++)
    if (strcmp(team->proof[i]->key, key) == 0) return team->proof[i];
  return NULL;
}

/* Kept as long as the model; of two threads that prove the same, one's is kept. */
static pare_status prove(pare__divided *divided, const pare__proof **out) {
  pare__team *team = divided->team;
  pthread_mutex_lock(&team->lock);
  *out = find_proof(team, divided->key);
  const bool full = team->nproofs == MOST_PROOFS;
  pthread_mutex_unlock(&team->lock);
  static const pare__proof no_more = {.why = "samples of too many shapes were seen"};
  if (!*out && full) *out = &no_more;
  if (*out) return PARE_OK;
  divided->split = divided->equal = true;
  PARE__TRY(submit_proofs(divided));
  pare__proof *proof = calloc(1, sizeof *proof);
  if (!proof) return pare__fail_memory("a proof", sizeof *proof);
  proof->key = pare__strdup(divided->key);
  pthread_mutex_lock(&divided->lock);
  proof->splits = divided->equal;
  snprintf(proof->why, sizeof proof->why, "%s", divided->why);
  pthread_mutex_unlock(&divided->lock);
  pthread_mutex_lock(&team->lock);
  pare_status status = proof->key ? PARE_OK : pare__fail_memory("a proof", 1);
  *out = status == PARE_OK ? find_proof(team, proof->key) : NULL;
  if (status == PARE_OK && !*out)
    status = pare__array_grow((void **)&team->proof, &team->proofs_capacity, team->nproofs, sizeof *team->proof);
  if (status == PARE_OK && !*out) {
    *out = team->proof[team->nproofs++] = proof;
    proof = NULL;
  }
  pthread_mutex_unlock(&team->lock);
  if (proof) free(proof->key);
  free(proof);
  return status;
}

static size_t members_left(const pare__team *team) {
  size_t left = 0;
  for (size_t i = 0; i < team->nmembers; i++) left += !pare__crew_is_lost(team->crew, i);
  return left;
}

/* What the file says of its outputs: one whose first dimension is another number than the inputs' cannot count the
 * samples. */
static bool outputs_count(const pare__divided *divided) {
  const pare_model *first = pare__team_first(divided->team);
  pare_model_value value;
  int64_t samples = divided->batch; /* a group has a part of those that are declared */
  if (first && pare_model_input(first, 0, &value) == PARE_OK && value.rank > 0 && value.dim[0] >= 0)
    samples = value.dim[0];
  for (unsigned i = 0; first && i < divided->noutputs; i++) {
    if (pare_model_output(first, i, &value) != PARE_OK) return false;
    if (value.rank == 0 || (value.rank > 0 && value.dim[0] >= 0 && value.dim[0] != samples)) return false;
  }
  return true;
}

/* May the batch be split, and if not, why? */
static pare_status may_split(pare__divided *divided, bool *may, char why[320]) {
  *may = false;
  if (divided->batch == 0) {
    snprintf(why, 320, "the first dimensions of the inputs do not count samples");
  } else if (!outputs_count(divided)) {
    snprintf(why, 320, "the first dimensions of the outputs do not count the samples");
  } else if (divided->batch < 2 * PARE__LEAST_ROWS) {
    snprintf(why, 320, "a batch of %lld is not split: pieces are of %d samples at least", (long long)divided->batch,
             PARE__LEAST_ROWS);
    return PARE_OK;
  } else {
    const pare__proof *proof;
    PARE__TRY(prove(divided, &proof));
    *may = proof->splits;
    snprintf(why, 320, "%s", proof->why);
  }
  if (*may || divided->team->parallel != PARE_PARALLEL_DATA) return PARE_OK;
  return pare__fail(PARE_ERR_UNSUPPORTED, "%s cannot be parallel by data: %s; use task, auto or off",
                    divided->team->path, why);
}

/* ---- what is shortest ---- */

static void keep_division(pare__team *team, const pare_model_division *now) {
  pthread_mutex_lock(&team->lock);
  const bool news = team->division.parallel != now->parallel || team->division.pieces != now->pieces;
  team->division = *now;
  pthread_mutex_unlock(&team->lock);
  if (news) pare__log(PARE_LOG_INFO, "%s: parallel by %s: %s", team->name, pare_parallel_name(now->parallel), now->why);
}

static pare_status decide_stages(pare__divided *divided, pare_model_division *out) {
  char *key = pare__divided_run_key(divided);
  if (!key) return pare__fail_memory("a run", 1);
  const pare_status status = pare__pipeline_decide(divided, key, out->why);
  out->parallel = PARE_PARALLEL_PIPELINE;
  out->pieces = (int64_t)divided->nmicrobatches;
  free(key);
  return status;
}

static void decide_pieces(pare__divided *divided, pare_parallel way) {
  divided->together = way == PARE_PARALLEL_COLUMNS || divided->by_branches;
  divided->split = divided->split && way != PARE_PARALLEL_TASK && way != PARE_PARALLEL_COLUMNS;
  divided->units = divided->split ? divided->batch / PARE__LEAST_ROWS : 1;
}

/* So many seconds, or less, of the copy whose operations all devices work on, are they worth it? */
static bool takes(const pare__divided *divided, pare__tried *tried, double seconds, double usual, double least) {
  return divided->spread && pare__together_tried_or_worth_it(divided, tried, seconds, usual) && seconds < least;
}

/* The usual way, or the shortest of the others: with auto any, with task branches. */
static void take_shortest(pare__divided *divided, const pare__forecast *forecast, pare_parallel *way) {
  static const pare_parallel others[] = {PARE_PARALLEL_TASK, PARE_PARALLEL_PIPELINE, PARE_PARALLEL_COLUMNS};
  pare__spread *spread = divided->spread;
  const bool any = divided->team->parallel == PARE_PARALLEL_AUTO;
  const double usual = forecast->seconds[*way];
  double least = worth_changing * usual;
  for (size_t i = 0; i < PARE__COUNT(others) && any; i++) {
    const double seconds = forecast->seconds[others[i]];
    const bool together = others[i] == PARE_PARALLEL_COLUMNS;
    if (together ? !takes(divided, spread ? &spread->columns : NULL, seconds, usual, least) : !(seconds < least))
      continue;
    least = seconds;
    *way = others[i];
  }
  divided->by_branches = takes(divided, spread ? &spread->branches : NULL, forecast->branches, usual, least);
  if (divided->by_branches) *way = PARE_PARALLEL_TASK;
}

/* The usual way, unless another is predicted to be shorter. text: what is predicted. */
static pare_status choose_way(pare__divided *divided, pare_parallel *way, char *text, size_t capacity) {
  pare__team *team = divided->team;
  pare__forecast forecast;
  char *key = pare__divided_run_key(divided), *kernel = key ? pare__divided_kernel(divided, key) : NULL;
  pare_status status = kernel ? PARE_OK : pare__fail_memory("a run", 1);
  if (status == PARE_OK) {
    divided->spread = pare__spread_of(team, key);
    divided->spread_units = divided->units;
    status = pare__forecast_make(divided, kernel, PARE__MAX(atomic_load(&team->running), 1), &forecast);
  }
  free(key);
  free(kernel);
  PARE__TRY(status);
  take_shortest(divided, &forecast, way);
  pare__forecast_say(&forecast, text, capacity);
  return PARE_OK;
}

/* why: why it is not split, if it is not. */
static void say_division(const pare__divided *divided, const char *why, pare_model_division *out) {
  const size_t left = members_left(divided->team);
  const char *members = divided->team->of_groups ? "groups of devices" : "devices";
  out->pieces = 1;
  if (divided->by_branches) {
    out->parallel = PARE_PARALLEL_TASK;
    out->pieces = (int64_t)left;
    snprintf(out->why, sizeof out->why,
             "operations that do not need each other run beside each other, each whole on one of %zu devices", left);
  } else if (divided->together) {
    out->parallel = PARE_PARALLEL_COLUMNS;
    out->pieces = (int64_t)left;
    snprintf(out->why, sizeof out->why, "each operation is divided among %zu devices", left);
  } else if (divided->split) {
    out->parallel = PARE_PARALLEL_DATA;
    out->pieces = divided->units;
    snprintf(out->why, sizeof out->why, "a batch of %lld in up to %lld pieces, on all of %zu %s at once",
             (long long)divided->batch, (long long)divided->units, left, members);
  } else {
    out->parallel = PARE_PARALLEL_TASK;
    snprintf(out->why, sizeof out->why, "%.140s; each run goes whole to one of %zu %s", why, left, members);
  }
}

pare_status pare__divided_decide(pare__divided *divided) {
  pare__team *team = divided->team;
  pare_model_division division = {.parallel = PARE_PARALLEL_TASK, .pieces = 1};
  char why[320] = "it was asked for", predicted[120] = "";
  bool split = false;
  divided->batch = batch_of(divided);
  if (team->parallel != PARE_PARALLEL_TASK) PARE__TRY(may_split(divided, &split, why));
  divided->split = split;
  const pare_parallel usual = team->parallel == PARE_PARALLEL_PIPELINE ? team->parallel
                              : split                                  ? PARE_PARALLEL_DATA
                                                                       : PARE_PARALLEL_TASK;
  pare_parallel way = usual;
  decide_pieces(divided, way);
  if (team->parallel == PARE_PARALLEL_AUTO || team->parallel == PARE_PARALLEL_TASK)
    PARE__TRY(choose_way(divided, &way, predicted, sizeof predicted));
  if (way == PARE_PARALLEL_PIPELINE) {
    const pare_status status = decide_stages(divided, &division);
    if (status != PARE_OK && (status != PARE_ERR_UNSUPPORTED || way == usual)) return status;
    if (status != PARE_OK) way = usual;
  }
  if (way == PARE_PARALLEL_TASK && usual != way)
    snprintf(why, sizeof why, "%d runs are in flight", atomic_load(&team->running));
  decide_pieces(divided, way);
  if (way != PARE_PARALLEL_PIPELINE) say_division(divided, why, &division);
  const size_t used = strlen(division.why);
  snprintf(division.why + used, sizeof division.why - used, "%s", predicted);
  keep_division(team, &division);
  return PARE_OK;
}
