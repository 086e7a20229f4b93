/* A model on several devices: its replicas, and how a run is divided. SPDX-License-Identifier: Apache-2.0 */
#include "graph/parallel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROOFS = 64 };
/* Another way than the usual must be so much shorter: predictions are not exact. */
static const double worth_changing = 0.9;

pare_context *pare__team_context(const pare__team *team, size_t member) {
  return team->of_groups ? pare__context_group(team->context, member) : pare__context_member(team->context, member);
}

double pare__team_weight(const pare__team *team, size_t member) {
  double weight = 0;
  if (!team->of_groups) return pare__context_weight(team->context, member);
  for (size_t i = pare__context_group_begin(team->context, member);
       i < pare__context_group_begin(team->context, member + 1); i++)
    weight += pare__context_weight(team->context, i);
  return weight;
}

uint64_t pare__team_preparations(const pare__team *team, size_t member) {
  if (!team->of_groups) return 0;
  pare__crew *crew = pare__crew_of_if_open(pare__team_context(team, member));
  return crew ? pare__crew_preparations(crew) : 0;
}

void pare__team_prepared(const pare__team *team, size_t member, uint64_t before) {
  if (pare__team_preparations(team, member) != before) pare__prepared();
}

/* ---- replicas ---- */

typedef struct opening {
  pare__team *team;
  size_t member;
  pthread_t thread;
  bool started;
  pare_status status;
  char *message; /* of a failure */
} opening;

static void *open_replica(void *argument) {
  opening *one = argument;
  pare__team *team = one->team;
  one->status =
      pare_model_open(pare__team_context(team, one->member), team->path, &team->options, &team->replica[one->member]);
  if (one->status != PARE_OK) one->message = pare__strdup(pare_message());
  return NULL;
}

static pare_status judge(pare__team *team, const opening *all) {
  const opening *worst = NULL;
  bool any = false;
  for (size_t i = 0; i < team->nmembers; i++) {
    any = any || all[i].status == PARE_OK;
    if (all[i].status != PARE_OK && (!worst || (pare__of_device(worst->status) && !pare__of_device(all[i].status))))
      worst = &all[i];
  }
  if (!worst) return PARE_OK;
  if (!any || !pare__of_device(worst->status))
    return pare__fail_text(worst->status, worst->message ? worst->message : pare_status_meaning(worst->status));
  for (size_t i = 0; i < team->nmembers; i++)
    if (all[i].status != PARE_OK)
      pare__crew_lose(team->crew, i, all[i].message ? all[i].message : pare_status_meaning(all[i].status));
  return PARE_OK;
}

/* Beside each other: each reads the file's pages once, and builds its kernels. */
static pare_status open_replicas(pare__team *team) {
  opening *all = calloc(team->nmembers, sizeof *all);
  if (!all) return pare__fail_memory("replicas of a model", team->nmembers * sizeof *all);
  for (size_t i = 0; i < team->nmembers; i++) {
    all[i].team = team;
    all[i].member = i;
    if (pare__crew_is_lost(team->crew, i)) {
      all[i].status = PARE_ERR_DEVICE;
      continue;
    }
    if (i > 0) all[i].started = pthread_create(&all[i].thread, NULL, open_replica, &all[i]) == 0;
    if (i > 0 && !all[i].started) open_replica(&all[i]);
  }
  if (!pare__crew_is_lost(team->crew, 0)) open_replica(&all[0]);
  for (size_t i = 1; i < team->nmembers; i++)
    if (all[i].started) pthread_join(all[i].thread, NULL);
  const pare_status status = judge(team, all);
  for (size_t i = 0; i < team->nmembers; i++) free(all[i].message);
  free(all);
  return status;
}

pare_status pare__team_open(pare_context *context, const char *path, const pare_model_options *options,
                            pare__team **out) {
  *out = NULL;
  pare__team *team = calloc(1, sizeof *team);
  if (!team) return pare__fail_memory("a model", sizeof *team);
  pthread_mutex_init(&team->lock, NULL);
  pthread_mutex_init(&team->together_lock, NULL);
  team->context = context;
  team->parallel = pare__context_schedule(context)->parallel;
  team->of_groups = pare__context_groups(context) > 0;
  team->nmembers = team->of_groups ? pare__context_groups(context) : pare__context_members(context);
  team->no_together = team->of_groups; /* it is for all devices: groups divide operations inside */
  if (options) team->options = *options;
  team->options.any_shape = true; /* inputs are checked before; pieces are smaller than what is declared */
  team->path = pare__strdup(path);
  team->replica = calloc(team->nmembers, sizeof(pare_model *));
  team->division.parallel = PARE_PARALLEL_OFF;
  pare_status status = team->path && team->replica ? PARE_OK : pare__fail_memory("a model", strlen(path));
  if (status == PARE_OK && options && options->without) {
    team->options.without = team->without = pare__strdup(options->without);
    if (!team->without) status = pare__fail_memory("a model", strlen(options->without));
  }
  if (status == PARE_OK) {
    const char *slash = strrchr(team->path, '/');
    team->name = slash ? slash + 1 : team->path;
    status = pare__crew_of_groups(context, &team->crew);
  }
  if (status == PARE_OK) status = open_replicas(team);
  if (status != PARE_OK) {
    pare__team_close(team);
    return status;
  }
  *out = team;
  return PARE_OK;
}

void pare__team_close(pare__team *team) {
  if (!team) return;
  if (pare__crew_of_hangs(team->context)) {
    static _Atomic(pare__team *) left; /* who hangs may come back to it */
    pare__log(PARE_LOG_WARN, "%s stays open: a device hangs", team->path ? team->path : "a model");
    team->left_before = atomic_exchange(&left, team);
    return;
  }
  for (size_t i = 0; team->replica && i < team->nmembers; i++) pare_model_close(team->replica[i]);
  for (size_t i = 0; i < team->nproofs; i++) {
    free(team->proof[i]->key);
    free(team->proof[i]);
  }
  for (size_t i = 0; i < team->nstages; i++) pare__stages_close(team->stages[i]);
  for (size_t i = 0; i < team->nspreads; i++) pare__spread_close(team->spread[i]);
  pare_model_close(team->together);
  pthread_mutex_destroy(&team->together_lock);
  pthread_mutex_destroy(&team->lock);
  free(team->spread);
  free(team->stages);
  free(team->proof);
  free(team->replica);
  free(team->without);
  free(team->path);
  free(team);
}

pare_model *pare__team_first(const pare__team *team) {
  for (size_t i = 0; i < team->nmembers; i++) {
    pare_model *replica = pare__crew_is_lost(team->crew, i) ? NULL : team->replica[i];
    if (replica && replica->team) replica = pare__team_first(replica->team);
    if (replica) return replica;
  }
  return NULL;
}

void pare__team_interrupt(pare__team *team, bool interrupted) {
  for (size_t i = 0; i < team->nmembers; i++) pare_model_interrupt(team->replica[i], interrupted);
  pthread_mutex_lock(&team->together_lock);
  pare_model_interrupt(team->together, interrupted);
  pthread_mutex_unlock(&team->together_lock);
}

void pare__team_launches(pare__team *team, pare_model_launches *out) {
  for (size_t i = team->nmembers; i-- > 0;) {
    const bool choosing = out->choosing;
    if (!team->replica[i] || pare__crew_is_lost(team->crew, i)) continue;
    (void)pare_model_count_launches(team->replica[i], out); /* zeros then */
    out->choosing = out->choosing || choosing;
  }
}

/* What the first group with several devices did last. */
static void say_inside(const pare__team *team, pare_model_division *out) {
  for (size_t i = 0; i < team->nmembers; i++) {
    pare_model_division inside;
    if (!team->replica[i] || pare__crew_is_lost(team->crew, i) ||
        pare__context_members(pare__team_context(team, i)) == 1 ||
        pare_model_divided(team->replica[i], &inside) != PARE_OK || inside.parallel == PARE_PARALLEL_OFF)
      continue;
    const size_t used = strlen(out->why);
    snprintf(out->why + used, sizeof out->why - used, "; inside of group %u by %s: %s",
             pare__context_group_number(team->context, i), pare_parallel_name(inside.parallel), inside.why);
    return;
  }
}

void pare__team_division(pare__team *team, pare_model_division *out) {
  pthread_mutex_lock(&team->lock);
  *out = team->division;
  pthread_mutex_unlock(&team->lock);
  if (team->of_groups && out->parallel != PARE_PARALLEL_OFF) say_inside(team, out);
}

/* ---- between tensors and host memory ---- */

static pare_status array_of(pare_tensor *tensor, pare__host_array *out) {
  const size_t nbytes = (size_t)pare_tensor_elements(tensor) * pare_dtype_bytes(tensor->dtype);
  out->dtype = tensor->dtype;
  if (!pare__shape_set(&out->shape, tensor->shape.rank, tensor->shape.dim))
    return pare__fail(PARE_ERR_SHAPE, "an input is too large");
  out->data = malloc(PARE__MAX(nbytes, (size_t)1));
  if (!out->data) return pare__fail_memory("an input", nbytes);
  return pare_tensor_read(tensor, out->data, nbytes);
}

pare_status pare__team_copy(pare_context *to, size_t count, pare_tensor *const *from, pare_tensor **out) {
  for (size_t i = 0; i < count; i++) {
    pare__host_array array = {0};
    if (!from[i]) continue;
    pare_status status = array_of(from[i], &array);
    const size_t nbytes = (size_t)pare_tensor_elements(from[i]) * pare_dtype_bytes(from[i]->dtype);
    if (status == PARE_OK)
      status = pare_tensor_from(to, array.dtype, array.shape.rank, array.shape.dim, array.data, nbytes, &out[i]);
    free(array.data);
    PARE__TRY(status);
  }
  return PARE_OK;
}

static pare_status make_outputs(const pare__divided *divided, pare_tensor **outputs) {
  for (unsigned i = 0; i < divided->noutputs; i++) {
    const pare__host_array *array = &divided->output[i];
    if (!array->data) continue;
    const size_t nbytes = (size_t)pare__shape_elements(&array->shape) * pare_dtype_bytes(array->dtype);
    PARE__TRY(pare_tensor_from(divided->team->context, array->dtype, array->shape.rank, array->shape.dim, array->data,
                               nbytes, &outputs[i]));
  }
  return PARE_OK;
}

/* ---- how a run is divided ---- */

/* "f32[*,3,224,224] i64[*,8]": dtypes and shapes of one sample; whole: of all. malloc'ed. */
static char *key_of(const pare__divided *divided, bool whole) {
  char text[PARE__SHAPE_TEXT];
  char *key = pare__strdup("");
  for (unsigned i = 0; i < divided->ninputs && key; i++) {
    const pare__host_array *array = &divided->input[i];
    const int from = whole || array->shape.rank == 0 ? 0 : 1;
    char *longer = pare__format("%s%s%s%s", key, i ? " " : "", pare_dtype_name(array->dtype),
                                pare__shape_text(array->shape.rank - from, array->shape.dim + from, text, sizeof text));
    free(key);
    key = longer;
  }
  return key;
}

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

/* Of the run, or of what it asks of a member for itself. */
static pare__job describe(pare__divided *divided, const char *kernel, int64_t units, size_t member) {
  double nbytes = 0;
  for (unsigned i = 0; i < divided->ninputs; i++)
    nbytes += (double)pare__shape_elements(&divided->input[i].shape) * pare_dtype_bytes(divided->input[i].dtype);
  return (pare__job){.run = pare__divided_run,
                     .settle = pare__divided_settle,
                     .argument = divided,
                     .name = divided->team->name,
                     .kernel = kernel,
                     .n = units,
                     .grain = 1,
                     .nbytes = nbytes,
                     .read_bytes = nbytes,
                     .member = member};
}

char *pare__divided_kernel(const pare__divided *divided, const char *key) {
  return pare__format("%s %s %s", divided->team->name, divided->split ? "samples" : "whole", key);
}

static pare_status submit_run(pare__divided *divided, const char *key) {
  pare__team *team = divided->team;
  char *kernel = pare__divided_kernel(divided, key);
  if (!kernel) return pare__fail_memory("a run", strlen(key));
  const pare__job job = describe(divided, kernel, divided->units, PARE__NO_DEVICE);
  pare__job_id id = 0;
  pare_status status = pare__crew_submit(team->crew, &job, NULL, 0, &id);
  if (status == PARE_OK) status = pare__crew_wait(team->crew, id);
  free(kernel);
  return status;
}

/* On every member, beside each other: so each has run samples of the shape before its pieces are timed. */
static pare_status submit_proofs(pare__divided *divided) {
  pare__team *team = divided->team;
  pare_status status = PARE_OK;
  char *kernel = pare__format("%s proof %s", team->name, divided->key);
  pare__job_id *id = calloc(team->nmembers, sizeof *id);
  if (!kernel || !id) status = pare__fail_memory("a proof", team->nmembers * sizeof *id);
  for (size_t i = 0; i < team->nmembers && status == PARE_OK; i++) {
    pare__job job = describe(divided, kernel, 1, i);
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

static void keep_division(pare__team *team, const pare_model_division *now) {
  pthread_mutex_lock(&team->lock);
  const bool news = team->division.parallel != now->parallel || team->division.pieces != now->pieces;
  team->division = *now;
  pthread_mutex_unlock(&team->lock);
  if (news) pare__log(PARE_LOG_INFO, "%s: parallel by %s: %s", team->name, pare_parallel_name(now->parallel), now->why);
}

/* Of samples, or of the whole run; malloc'ed. */
static char *key_of_run(const pare__divided *divided) {
  return divided->split ? pare__strdup(divided->key) : key_of(divided, true);
}

static pare_status decide_stages(pare__divided *divided, pare_model_division *out) {
  char *key = key_of_run(divided);
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

/* Of ways that were not asked for. */
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
  char *key = key_of_run(divided), *kernel = key ? pare__divided_kernel(divided, key) : NULL;
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

/* A run is as long as its longest piece. Split, each device has about the part that its speed is of the sum of all;
 * whole, it waits for one. So a batch that may be split is, as long as nothing else is known to be shorter. */
static pare_status decide(pare__divided *divided) {
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

/* ---- running ---- */

static pare_status divided_open(pare__team *team, unsigned ninputs, pare_tensor *const *inputs, unsigned noutputs,
                                const bool *wanted, pare__divided **out) {
  pare__divided *divided = *out = calloc(1, sizeof *divided);
  if (!divided) return pare__fail_memory("a run", sizeof *divided);
  atomic_init(&divided->references, 1);
  pthread_mutex_init(&divided->lock, NULL);
  divided->team = team;
  divided->ninputs = ninputs;
  divided->noutputs = noutputs;
  divided->input = calloc(ninputs + 1U, sizeof *divided->input);
  divided->output = calloc(noutputs + 1U, sizeof *divided->output);
  divided->wanted = wanted ? calloc(noutputs + 1U, sizeof *wanted) : NULL;
  divided->ran = calloc(team->nmembers, sizeof *divided->ran);
  if (!divided->input || !divided->output || !divided->ran || (wanted && !divided->wanted))
    return pare__fail_memory("a run", sizeof *divided->input);
  for (unsigned i = 0; i < noutputs && wanted; i++) divided->wanted[i] = wanted[i];
  for (unsigned i = 0; i < ninputs; i++) {
    pare__host_array *array = &divided->input[i];
    PARE__TRY(array_of(inputs[i], array));
    const int64_t rows = array->shape.rank > 0 ? array->shape.dim[0] : 0;
    if (rows > 0)
      array->row_bytes = (size_t)(pare__shape_elements(&array->shape) / rows) * pare_dtype_bytes(array->dtype);
  }
  divided->key = key_of(divided, false);
  return divided->key ? PARE_OK : pare__fail_memory("a run", 1);
}

/* What kernels have raised in the meantime, such as an index out of range, comes back at the next wait. Others that run
 * at once on members where this run had nothing are not waited for. */
static void collect_flags(const pare__divided *divided) {
  pare__team *team = divided->team;
  const bool everywhere = divided->stages || divided->together;
  size_t number;
  for (size_t i = 0; i < team->nmembers; i++) {
    if (!everywhere && !divided->ran[i]) continue;
    if (!team->replica[i] || pare__crew_is_lost(team->crew, i)) continue;
    const pare_status status = pare__context_flags_check(pare__team_context(team, i));
    if (status == PARE_OK) continue;
    if (pare__context_whole(team->context, &number))
      pare__context_raise_flag(team->context, status); /* the team that this one is a member of asks for it */
    else
      pare__context_record(team->context, status);
  }
}

static pare_status run_divided(pare__divided *divided, pare_tensor *const *inputs, pare_tensor **outputs) {
  PARE__TRY(decide(divided));
  char *key = key_of_run(divided);
  if (!key) return pare__fail_memory("a run", 1);
  pare_status status;
  if (divided->together)
    status = pare__together_run(divided, inputs, outputs);
  else
    status = divided->stages ? pare__pipeline_run(divided) : submit_run(divided, key);
  free(key);
  if (status != PARE_OK && divided->together && atomic_load(&divided->team->no_together))
    return run_divided(divided, inputs, outputs); /* it could not be opened: the next best way */
  if (status == PARE_OK) collect_flags(divided);
  return status == PARE_OK && !divided->together ? make_outputs(divided, outputs) : status;
}

pare_status pare__team_run(pare__team *team, unsigned ninputs, pare_tensor *const *inputs, unsigned noutputs,
                           const bool *wanted, pare_tensor **outputs) {
  pare__divided *divided;
  atomic_fetch_add(&team->running, 1);
  pare_status status = divided_open(team, ninputs, inputs, noutputs, wanted, &divided);
  if (status == PARE_OK) status = run_divided(divided, inputs, outputs);
  pare__divided_release(divided);
  atomic_fetch_sub(&team->running, 1);
  return status;
}
