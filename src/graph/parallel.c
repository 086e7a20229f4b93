/* A model on several devices: its replicas, and how a run is divided. SPDX-License-Identifier: Apache-2.0 */
#include "graph/parallel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
  if (atomic_load(&team->ran_together)) { /* replicas choose nothing while they do not run */
    (void)pare_model_count_launches(team->together, out);
    return;
  }
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

char *pare__divided_key(const pare__divided *divided, bool whole) {
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

char *pare__divided_run_key(const pare__divided *divided) {
  return divided->split ? pare__strdup(divided->key) : pare__divided_key(divided, true);
}

pare__job pare__divided_job(pare__divided *divided, const char *kernel, int64_t units, size_t member) {
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
  const pare__job job = pare__divided_job(divided, kernel, divided->units, PARE__NO_DEVICE);
  pare__job_id id = 0;
  pare_status status = pare__crew_submit(team->crew, &job, NULL, 0, &id);
  if (status == PARE_OK) status = pare__crew_wait(team->crew, id);
  free(kernel);
  return status;
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
  divided->key = pare__divided_key(divided, false);
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
  PARE__TRY(pare__divided_decide(divided));
  char *key = pare__divided_run_key(divided);
  if (!key) return pare__fail_memory("a run", 1);
  pare_status status;
  if (divided->together)
    status = pare__together_run(divided, inputs, outputs);
  else
    status = divided->stages ? pare__pipeline_run(divided) : submit_run(divided, key);
  free(key);
  if (status != PARE_OK && divided->together && atomic_load(&divided->team->no_together))
    return run_divided(divided, inputs, outputs); /* it could not be opened: the next best way */
  if (status == PARE_OK) {
    atomic_store(&divided->team->ran_together, divided->together);
    collect_flags(divided);
  }
  return status == PARE_OK && !divided->together ? make_outputs(divided, outputs) : status;
}

pare_status pare__team_run(pare__team *team, unsigned ninputs, pare_tensor *const *inputs, unsigned noutputs,
                           const bool *wanted, pare_tensor **outputs) {
  pare__divided *divided;
  PARE__TRY(pare__context_may_wait("pare_model_run", team->context));
  atomic_fetch_add(&team->running, 1);
  pare_status status = divided_open(team, ninputs, inputs, noutputs, wanted, &divided);
  if (status == PARE_OK) status = run_divided(divided, inputs, outputs);
  pare__divided_release(divided);
  atomic_fetch_sub(&team->running, 1);
  return status;
}
