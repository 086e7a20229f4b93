/* Models as the public interface has them. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/estimate.h"
#include "graph/parallel.h"
#include "graph/pass.h"
#include "graph/run.h"
#include "op/convolve.h"

static void close_prepared(pare__graph *graph) {
  for (size_t i = 0; i < graph->nnodes; i++) {
    pare__node *node = &graph->node[i];
    if (node->prepared && node->prepared_close) node->prepared_close(node->prepared);
    node->prepared = NULL;
    for (unsigned k = 0; k < node->nsubgraphs; k++) close_prepared(node->subgraph[k].graph);
  }
}

/* Room for constants on the device for every value: passes add some. */
static pare_status grow_constants(pare_model *model, size_t *had) {
  const size_t count = model->network->nvalues;
  pare_tensor **more = realloc(model->constant, (count + 1) * sizeof(pare_tensor *));
  if (!more) return pare__fail_memory("a model", count * sizeof(pare_tensor *));
  memset(more + *had, 0, (count - *had) * sizeof(pare_tensor *));
  model->constant = more;
  *had = count;
  return PARE_OK;
}

static pare_status load_network(pare_model *model, const char *path) {
  pare__onnx_model *onnx;
  PARE__TRY(pare__onnx_open(path, &onnx));
  pare__onnx_override(onnx, model->options.noverridden, model->options.overridden);
  return pare__network_open(onnx, &model->network);
}

/* Constants on the device that are read as they are; several values may be one. */
static uint64_t bytes_of_constants(const pare_model *model) {
  uint64_t nbytes = 0;
  for (size_t i = 0; i < model->network->nvalues; i++)
    if (model->constant[i]) nbytes += pare__storage_bytes(model->constant[i]->storage);
  return nbytes;
}

static pare_status read_and_prepare(pare_model *model, const char *path, const pare__edits *edits) {
  PARE__TRY(load_network(model, path));
  model->network->channel_block = pare__convolution_prefers_blocks(model->context);
  if (edits) PARE__TRY(pare__network_edit(model->network, edits));
  size_t had = 0;
  PARE__TRY(grow_constants(model, &had));
  PARE__TRY(pare__model_fold(model, true));
  PARE__TRY(pare__passes_run(model->network, model->without));
  PARE__TRY(grow_constants(model, &had));
  PARE__TRY(pare__model_fold(model, false));
  PARE__TRY(pare__network_settle(model->network));
  return pare__model_prepare(model);
}

static pare_status load(pare_model *model, const char *path, const pare__edits *edits) {
  pare__device *device = pare__context_device(model->context);
  uint64_t in_use, peak, limit;
  const uint64_t before = pare__device_watch(device);
  PARE__TRY(read_and_prepare(model, path, edits));
  pare__device_memory(device, &in_use, &peak, &limit);
  model->load_bytes = pare__device_watched(device) - PARE__MIN(before, pare__device_watched(device));
  model->loaded_bytes = in_use - PARE__MIN(before, in_use); /* another thread may have closed something */
  model->constant_bytes = bytes_of_constants(model);
  return PARE_OK;
}

/* The nodes as the file has them, and nothing made ready. */
static pare_status load_bare(pare_model *model, const char *path, const pare__edits *edits) {
  (void)edits;
  PARE__TRY(load_network(model, path));
  size_t had = 0;
  PARE__TRY(grow_constants(model, &had));
  return pare__network_settle(model->network);
}

/* A copy of the names of overridden inputs in the model's options: replicas are opened later, too. */
static pare_status keep_names(pare_model *model) {
  const size_t count = model->options.noverridden;
  const char *const *given = model->options.overridden;
  model->options.overridden = NULL;
  model->options.noverridden = 0;
  if (count > 0 && !given) return pare__fail_null("pare_model_open", "overridden");
  model->overridden = calloc(count + 1, sizeof *model->overridden);
  if (!model->overridden) return pare__fail_memory("a model", count * sizeof *model->overridden);
  for (size_t i = 0; i < count; i++) {
    model->overridden[i] = pare__strdup(given[i] ? given[i] : "");
    if (!model->overridden[i]) return pare__fail_memory("a model", 0);
  }
  model->options.noverridden = count;
  model->options.overridden = (const char *const *)model->overridden;
  return PARE_OK;
}

typedef pare_status (*loader)(pare_model *model, const char *path, const pare__edits *edits);

static pare_status open_by(loader how, pare_context *context, const char *path, const pare_model_options *options,
                           const pare__edits *edits, pare_model **out) {
  if (!out) return pare__fail_null("pare_model_open", "out");
  *out = NULL;
  if (!path) return pare__fail_null("pare_model_open", "path");
  PARE__TRY(pare__context_check("pare_model_open", context));
  pare_model *model = calloc(1, sizeof *model);
  if (!model) return pare__fail_memory("a model", sizeof *model);
  pthread_mutex_init(&model->lock, NULL);
  atomic_init(&model->interrupted, false);
  model->context = context;
  pare__context_retain(context);
  pare_status status = PARE_OK;
  if (options) {
    model->options = *options;
    model->without = options->without ? pare__strdup(options->without) : NULL;
    if (options->without && !model->without) status = pare__fail_memory("a model", strlen(options->without));
    if (status == PARE_OK) status = keep_names(model);
  }
  if (status == PARE_OK) status = how(model, path, edits);
  if (status != PARE_OK) {
    pare_model_close(model);
    return status;
  }
  *out = model;
  return PARE_OK;
}

/* On several devices. */
static pare_status load_team(pare_model *model, const char *path, const pare__edits *edits) {
  PARE__TRY(load_bare(model, path, edits));
  return pare__team_open(model->context, path, &model->options, &model->team);
}

pare_status pare_model_open(pare_context *context, const char *path, const pare_model_options *options,
                            pare_model **out) {
  /* by columns there is one copy of it, whose operations are divided */
  const bool replicas = context && pare__context_members(context) > 1 &&
                        pare__context_schedule(context)->parallel != PARE_PARALLEL_COLUMNS;
  return open_by(replicas ? load_team : load, context, path, options, NULL, out);
}

pare_status pare__model_open_edited(pare_context *context, const char *path, const pare_model_options *options,
                                    const pare__edits *edits, pare_model **out) {
  return open_by(load, context, path, options, edits, out);
}

pare_status pare__model_open_bare(pare_context *context, const char *path, pare_model **out) {
  return open_by(load_bare, context, path, NULL, NULL, out);
}

void pare_model_close(pare_model *model) {
  if (!model || pare__forked()) return; /* its lock, threads and recordings are another process's */
  pthread_mutex_lock(&model->lock);
  pare__team_close(model->team);
  pare__plans_close(model);
  if (model->network) {
    close_prepared(&model->network->graph);
    for (size_t i = 0; i < model->network->nvalues && model->constant; i++) pare_tensor_close(model->constant[i]);
  }
  free(model->constant);
  pare__network_close(model->network);
  free(model->without);
  for (size_t i = 0; model->overridden && model->overridden[i]; i++) free(model->overridden[i]);
  free(model->overridden);
  pthread_mutex_unlock(&model->lock);
  pthread_mutex_destroy(&model->lock);
  pare__context_release(model->context);
  free(model);
}

/* ---- what it takes and gives ---- */

size_t pare_model_inputs(const pare_model *model) { return model ? model->network->graph.ninputs : 0; }
size_t pare_model_outputs(const pare_model *model) { return model ? model->network->graph.noutputs : 0; }

static pare_status describe(const char *function, const pare_model *model, const int32_t *ids, size_t count,
                            size_t index, pare_model_value *out) {
  if (!out) return pare__fail_null(function, "out");
  *out = (pare_model_value){0};
  if (!model) return pare__fail_null(function, "model");
  if (index >= count)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: there is no number %zu; the model has %zu", function, index, count);
  const pare__value *value = &model->network->value[ids[index]];
  *out = (pare_model_value){.name = value->name,
                            .dtype = PARE_NDTYPES,
                            .dtype_name = pare__onnx_dtype_name(value->onnx_dtype),
                            .rank = value->rank};
  if (!pare__held_dtype(value->onnx_dtype, &out->dtype)) out->dtype = PARE_NDTYPES;
  for (int i = 0; i < value->rank; i++) {
    out->dim[i] = value->dim[i];
    out->symbol[i] = value->symbol[i];
  }
  return PARE_OK;
}

pare_status pare_model_input(const pare_model *model, size_t index, pare_model_value *out) {
  return describe("pare_model_input", model, model ? model->network->graph.input : NULL, pare_model_inputs(model),
                  index, out);
}

pare_status pare_model_output(const pare_model *model, size_t index, pare_model_value *out) {
  return describe("pare_model_output", model, model ? model->network->graph.output : NULL, pare_model_outputs(model),
                  index, out);
}

/* ---- running ---- */

static pare_status check_input(const pare_model *model, size_t i, const pare_tensor *tensor) {
  pare_model_value declared;
  PARE__TRY(pare_model_input(model, i, &declared));
  if (!tensor) return pare__fail(PARE_ERR_ARGUMENT, "input '%s' (number %zu) is missing", declared.name, i);
  if (tensor->context != model->context)
    return pare__fail(PARE_ERR_ARGUMENT, "input '%s' belongs to another context", declared.name);
  if (declared.dtype != PARE_NDTYPES && tensor->dtype != declared.dtype)
    return pare__fail(PARE_ERR_TYPE, "input '%s' is %s; the model takes %s", declared.name,
                      pare_dtype_name(tensor->dtype), declared.dtype_name);
  if (model->options.any_shape) return PARE_OK;
  bool fits = declared.rank < 0 || declared.rank == tensor->shape.rank;
  char expected[PARE__SHAPE_TEXT] = "[", found[PARE__SHAPE_TEXT];
  size_t used = 1;
  for (int d = 0; d < declared.rank; d++) {
    if (fits && declared.dim[d] >= 0 && declared.dim[d] != tensor->shape.dim[d]) fits = false;
    const int n = declared.dim[d] >= 0 ? snprintf(expected + used, sizeof expected - used, "%s%lld", d ? ", " : "",
                                                  (long long)declared.dim[d])
                                       : snprintf(expected + used, sizeof expected - used, "%s%s", d ? ", " : "",
                                                  declared.symbol[d] ? declared.symbol[d] : "any");
    used = PARE__MIN(used + (size_t)PARE__MAX(n, 0), sizeof expected - 2);
  }
  snprintf(expected + used, sizeof expected - used, "]");
  if (fits) return PARE_OK;
  return pare__fail(PARE_ERR_SHAPE, "input '%s' has the shape %s; the model takes %s", declared.name,
                    pare__shape_text(tensor->shape.rank, tensor->shape.dim, found, sizeof found), expected);
}

static pare_status check_run(const char *function, const pare_model *model, pare_tensor *const *inputs) {
  if (!model) return pare__fail_null(function, "model");
  PARE__TRY(pare__context_check(function, model->context));
  if (!inputs && model->network->graph.ninputs > 0) return pare__fail_null(function, "inputs");
  for (size_t i = 0; i < model->network->graph.ninputs; i++) PARE__TRY(check_input(model, i, inputs[i]));
  return PARE_OK;
}

static pare_status set_inputs(pare__run_state *state, pare_tensor *const *inputs) {
  const pare__graph *graph = &state->model->network->graph;
  for (unsigned i = 0; i < graph->ninputs; i++) {
    pare__slot *slot = &state->slot[graph->input[i]];
    PARE__TRY(pare__tensor_handle(inputs[i], &slot->tensor));
    slot->dtype = inputs[i]->dtype;
    slot->shape = inputs[i]->shape;
  }
  return PARE_OK;
}

/* Every node as it comes. */
static pare_status run_at_once(pare_model *model, pare_tensor *const *inputs, pare__observe observe, void *user,
                               pare_tensor **outputs) {
  const pare__graph *graph = &model->network->graph;
  const size_t most = (size_t)graph->ninputs + graph->noutputs;
  pare_tensor **avoid = calloc(most + 1, sizeof(pare_tensor *));
  if (!avoid) return pare__fail_memory("a run", most * sizeof(pare_tensor *));
  pare__run_state state;
  pare_status status = pare__run_begin(model, false, &state);
  state.observe = observe;
  state.user = user;
  if (status == PARE_OK) status = set_inputs(&state, inputs);
  if (status == PARE_OK) status = pare__run_graph(&state, graph);
  for (unsigned i = 0; i < graph->ninputs; i++) avoid[i] = inputs[i];
  for (unsigned i = 0; i < graph->noutputs && status == PARE_OK; i++) {
    status = pare__run_output(&state, graph->output[i], avoid, graph->ninputs + i, &outputs[i]);
    avoid[graph->ninputs + i] = outputs[i];
  }
  if (state.slot) pare__run_end(&state);
  free(avoid);
  return status;
}

static void close_outputs(const pare_model *model, const bool *wanted, pare_status status, pare_tensor **outputs) {
  for (unsigned i = 0; i < model->network->graph.noutputs; i++) {
    if (status == PARE_OK && (!wanted || wanted[i])) continue;
    pare_tensor_close(outputs[i]);
    outputs[i] = NULL;
  }
}

static bool all_on_device(const pare_model *model, pare_tensor *const *inputs) {
  for (unsigned i = 0; i < model->network->graph.ninputs; i++)
    if (!pare__tensor_on_device(inputs[i])) return false;
  return true;
}

static pare_status run_here(pare_model *model, bool undivided, pare_tensor *const *inputs, const bool *wanted,
                            pare_tensor **outputs) {
  pthread_mutex_lock(&model->lock);
  pare__plan *plan = NULL;
  pare_status status = pare__model_go_on(model, "the run began");
  if (status == PARE_OK && all_on_device(model, inputs)) status = pare__plan_find(model, inputs, &plan);
  if (status == PARE_OK)
    status = plan ? pare__plan_run(plan, model, undivided, inputs, outputs)
                  : run_at_once(model, inputs, NULL, NULL, outputs);
  close_outputs(model, wanted, status, outputs);
  pthread_mutex_unlock(&model->lock);
  return status;
}

pare_status pare_model_run(pare_model *model, pare_tensor *const *inputs, const bool *wanted, pare_tensor **outputs) {
  if (!outputs) return pare__fail_null("pare_model_run", "outputs");
  for (size_t i = 0; i < pare_model_outputs(model); i++) outputs[i] = NULL;
  PARE__TRY(check_run("pare_model_run", model, inputs));
  if (model->team) {
    const pare__graph *graph = &model->network->graph;
    const pare_status ran = pare__team_run(model->team, graph->ninputs, inputs, graph->noutputs, wanted, outputs);
    close_outputs(model, wanted, ran, outputs);
    return ran;
  }
  return run_here(model, false, inputs, wanted, outputs);
}

pare_status pare__model_run_undivided(pare_model *model, pare_tensor *const *inputs, const bool *wanted,
                                      pare_tensor **outputs) {
  for (size_t i = 0; i < pare_model_outputs(model); i++) outputs[i] = NULL;
  PARE__TRY(check_run("pare_model_run", model, inputs));
  return run_here(model, true, inputs, wanted, outputs);
}

void pare_model_interrupt(pare_model *model, bool interrupted) {
  if (!model) return;
  atomic_store(&model->interrupted, interrupted);
  if (model->team) pare__team_interrupt(model->team, interrupted);
}

/* ---- what is asked of one device, where there are several ---- */

static pare_status first_of(const pare_model *model, pare_model **out) {
  *out = pare__team_first(model->team);
  return *out ? PARE_OK : pare__fail(PARE_ERR_DEVICE, "all devices of the context are lost");
}

/* Its outputs go where the model's belong. */
static pare_status on_first(pare_model *model, pare_tensor *const *inputs, pare_tensor **outputs,
                            pare_status (*call)(pare_model *first, pare_tensor *const *inputs, pare_tensor **outputs,
                                                void *user),
                            void *user) {
  const size_t ninputs = pare_model_inputs(model), noutputs = pare_model_outputs(model);
  pare_tensor **moved = calloc(ninputs + noutputs + 1, sizeof(pare_tensor *));
  pare_model *first = NULL;
  if (!moved) return pare__fail_memory("a run", ninputs * sizeof(pare_tensor *));
  pare_status status = first_of(model, &first);
  if (status == PARE_OK) status = pare__team_copy(first->context, ninputs, inputs, moved);
  if (status == PARE_OK) status = call(first, moved, moved + ninputs, user);
  if (status == PARE_OK && outputs) status = pare__team_copy(model->context, noutputs, moved + ninputs, outputs);
  for (size_t i = 0; i < ninputs + noutputs; i++) pare_tensor_close(moved[i]);
  free(moved);
  return status;
}

/* Tensors of one storage count once. */
static uint64_t bytes_of_inputs(const pare_model *model, pare_tensor *const *inputs) {
  uint64_t nbytes = 0;
  for (unsigned i = 0; i < model->network->graph.ninputs; i++) {
    bool counted = false;
    for (unsigned k = 0; k < i; k++) counted = counted || inputs[k]->storage == inputs[i]->storage;
    if (!counted) nbytes += pare__storage_bytes(inputs[i]->storage);
  }
  return nbytes;
}

static pare_status foretell(pare_model *model, pare_tensor *const *inputs, pare_model_memory *out,
                            pare_model_unplanned **nodes, size_t *count) {
  pare__plan *plan = NULL;
  if (all_on_device(model, inputs)) PARE__TRY(pare__plan_find(model, inputs, &plan));
  if (plan)
    pare__plan_memory(plan, out);
  else
    PARE__TRY(pare__estimate_run(model, inputs, out, nodes, count));
  const uint64_t constants = bytes_of_constants(model); /* some are uploaded when they are first read */
  out->weight_bytes =
      PARE__MAX(out->weight_bytes, model->loaded_bytes + constants - PARE__MIN(constants, model->constant_bytes));
  out->input_bytes = bytes_of_inputs(model, inputs);
  out->load_bytes = model->load_bytes;
  out->peak_bytes =
      PARE__MAX(out->load_bytes, out->weight_bytes + out->input_bytes + out->activation_bytes + out->output_bytes);
  return PARE_OK;
}

typedef struct forecast {
  pare_model_memory memory;
  pare_model_unplanned *node;
  size_t count;
} forecast;

static pare_status foretell_first(pare_model *first, pare_tensor *const *inputs, pare_tensor **outputs, void *user) {
  forecast *out = user;
  (void)outputs;
  pthread_mutex_lock(&first->lock);
  const pare_status status = foretell(first, inputs, &out->memory, &out->node, &out->count);
  pthread_mutex_unlock(&first->lock);
  return status;
}

static pare_status foretell_any(const char *function, pare_model *model, pare_tensor *const *inputs, forecast *out) {
  *out = (forecast){0};
  PARE__TRY(check_run(function, model, inputs));
  return model->team ? on_first(model, inputs, NULL, foretell_first, out) : foretell_first(model, inputs, NULL, out);
}

pare_status pare_model_plan(pare_model *model, pare_tensor *const *inputs, pare_model_memory *out) {
  if (!out) return pare__fail_null("pare_model_plan", "out");
  forecast all;
  const pare_status status = foretell_any("pare_model_plan", model, inputs, &all);
  *out = all.memory;
  free(all.node);
  return status;
}

pare_status pare_model_unplanned_nodes(pare_model *model, pare_tensor *const *inputs, pare_model_memory *memory,
                                       pare_model_unplanned **nodes, size_t *count) {
  if (!nodes || !count) return pare__fail_null("pare_model_unplanned_nodes", "an output");
  forecast all;
  const pare_status status = foretell_any("pare_model_unplanned_nodes", model, inputs, &all);
  if (memory) *memory = all.memory;
  *nodes = all.node;
  *count = all.count;
  return status;
}

void pare_model_unplanned_free(pare_model_unplanned *nodes) { free(nodes); }

pare_status pare_model_count_launches(pare_model *model, pare_model_launches *out) {
  if (!out) return pare__fail_null("pare_model_count_launches", "out");
  *out = (pare_model_launches){0};
  if (!model) return pare__fail_null("pare_model_count_launches", "model");
  if (model->team) {
    pare__team_launches(model->team, out);
    return PARE_OK;
  }
  pthread_mutex_lock(&model->lock);
  pare__plan_launches(model->plans, out);
  pthread_mutex_unlock(&model->lock);
  return PARE_OK;
}

pare_status pare_model_divided(pare_model *model, pare_model_division *out) {
  if (!out) return pare__fail_null("pare_model_divided", "out");
  *out = (pare_model_division){.parallel = PARE_PARALLEL_OFF, .pieces = 1, .why = "there is one device"};
  if (!model) return pare__fail_null("pare_model_divided", "model");
  if (model->team)
    pare__team_division(model->team, out);
  else if (pare__context_members(model->context) > 1)
    *out = (pare_model_division){.parallel = PARE_PARALLEL_COLUMNS,
                                 .pieces = (int64_t)pare__context_members(model->context),
                                 .why = "each operation is divided: rows or columns of its result"};
  return PARE_OK;
}

/* ---- profiling ---- */

typedef struct profile {
  size_t count, capacity;
  pare_model_step *step;
  double nested[PARE__MOST_DEPTH + 3]; /* seconds of the nodes seen at each depth, since the last one above it */
} profile;

static pare_status observe_step(void *user, pare__run_state *state, const pare__node *node, unsigned depth,
                                double begun) {
  profile *all = user;
  PARE__TRY(pare_context_wait(state->model->context));
  const double seconds = pare__seconds() - begun, nested = all->nested[depth + 1];
  all->nested[depth + 1] = 0;
  all->nested[depth] += seconds;
  PARE__TRY(pare__array_grow((void **)&all->step, &all->capacity, all->count, sizeof *all->step));
  pare_model_step *step = &all->step[all->count++];
  *step = (pare_model_step){.node = node->name,
                            .op_type = node->op_type,
                            .domain = node->domain,
                            .placement = pare__placement_name(node->op->placement),
                            .seconds = PARE__MAX(seconds - nested, 0)};
  if (pare__run_on_host(state, node)) step->placement = "host";
  for (unsigned i = 0; i < node->noutputs; i++) {
    if (node->output[i] < 0) continue;
    const pare__slot *slot = &state->slot[node->output[i]];
    char text[PARE__SHAPE_TEXT];
    snprintf(step->output, sizeof step->output, "%s%.*s", pare_dtype_name(slot->dtype), 56,
             pare__shape_text(slot->shape.rank, slot->shape.dim, text, sizeof text));
    break;
  }
  return PARE_OK;
}

typedef struct observation {
  const char *function;
  pare__observe observe;
  void *user;
} observation;

static pare_status observe_first(pare_model *first, pare_tensor *const *inputs, pare_tensor **outputs, void *user) {
  const observation *what = user;
  return pare__model_observe(what->function, first, inputs, what->observe, what->user, outputs);
}

pare_status pare__model_observe(const char *function, pare_model *model, pare_tensor *const *inputs,
                                pare__observe observe, void *user, pare_tensor **outputs) {
  for (size_t i = 0; i < pare_model_outputs(model); i++) outputs[i] = NULL;
  PARE__TRY(check_run(function, model, inputs));
  if (model->team) return on_first(model, inputs, outputs, observe_first, &(observation){function, observe, user});
  pthread_mutex_lock(&model->lock);
  const pare_status status = run_at_once(model, inputs, observe, user, outputs);
  close_outputs(model, NULL, status, outputs);
  pthread_mutex_unlock(&model->lock);
  return status;
}

pare_status pare_model_profile(pare_model *model, pare_tensor *const *inputs, pare_tensor **outputs,
                               pare_model_step **steps, size_t *nsteps) {
  if (!outputs || !steps || !nsteps) return pare__fail_null("pare_model_profile", "an output");
  *steps = NULL;
  *nsteps = 0;
  profile all = {0};
  const pare_status status = pare__model_observe("pare_model_profile", model, inputs, observe_step, &all, outputs);
  if (status != PARE_OK) {
    free(all.step);
    return status;
  }
  *steps = all.step;
  *nsteps = all.count;
  return PARE_OK;
}

void pare_model_steps_free(pare_model_step *steps) { free(steps); }
