/* How much memory a run at once takes: lives of its storages, node by node. SPDX-License-Identifier: Apache-2.0 */
#include "graph/estimate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A storage is there after a node has run. */
typedef struct seen_at {
  pare__storage *storage; /* retained: another one must not be taken for it */
  size_t step;
} seen_at;

typedef struct pare__estimate {
  pare__recording *recording;
  size_t step, ntasks; /* nodes run so far, and what they have recorded */
  seen_at *seen;
  size_t nseen, seen_capacity;
  pare_model_unplanned *node;
  size_t count, capacity;
  size_t nunknown; /* nodes that nothing bounds */
  size_t ncounted; /* nodes of which only how many elements they make is bounded */
} pare__estimate;

/* ---- lives ---- */

static pare_status see(pare__estimate *all, pare__storage *storage) {
  PARE__TRY(pare__array_grow((void **)&all->seen, &all->seen_capacity, all->nseen, sizeof *all->seen));
  pare__storage_retain(storage);
  all->seen[all->nseen++] = (seen_at){storage, all->step};
  return PARE_OK;
}

pare_status pare__estimate_note(pare__run_state *state, const pare__slot *slot) {
  return slot->tensor ? see(state->estimate, slot->tensor->storage) : PARE_OK;
}

/* What the node that has just run has used, scratch as well. */
static pare_status see_tasks(pare__estimate *all) {
  for (; all->ntasks < pare__recording_tasks(all->recording); all->ntasks++) {
    const pare__task *task = pare__recording_task(all->recording, all->ntasks);
    for (unsigned k = 0; k < task->naccesses; k++)
      if (task->access[k].tensor) PARE__TRY(see(all, task->access[k].tensor->storage));
  }
  return PARE_OK;
}

static int by_storage(const void *a, const void *b) {
  const seen_at *x = a, *y = b;
  if (x->storage != y->storage) return x->storage < y->storage ? -1 : 1;
  return x->step < y->step ? -1 : x->step > y->step;
}

/* The most bytes that live after any node. *largest: of one storage. */
static pare_status most_alive(pare__estimate *all, const pare_tensor *const *inputs, unsigned ninputs, uint64_t *most,
                              uint64_t *largest) {
  int64_t *change = calloc(all->step + 2, sizeof *change);
  if (!change) return pare__fail_memory("an estimate", (all->step + 2) * sizeof *change);
  if (all->nseen > 0) qsort(all->seen, all->nseen, sizeof *all->seen, by_storage);
  *most = *largest = 0;
  for (size_t i = 0, end; i < all->nseen; i = end) {
    const pare__storage *storage = all->seen[i].storage;
    bool counts = pare__storage_deferred(storage);
    for (end = i; end < all->nseen && all->seen[end].storage == storage;) end++;
    for (unsigned k = 0; k < ninputs; k++) counts = counts && !(inputs[k] && inputs[k]->storage == storage);
    if (!counts) continue;
    const size_t nbytes = pare__storage_bytes(storage);
    change[all->seen[i].step] += (int64_t)nbytes;
    change[all->seen[end - 1].step + 1] -= (int64_t)nbytes;
    *largest = PARE__MAX(*largest, nbytes);
  }
  int64_t alive = 0;
  for (size_t step = 0; step <= all->step; step++) {
    alive += change[step];
    *most = PARE__MAX(*most, (uint64_t)alive);
  }
  free(change);
  return PARE_OK;
}

/* ---- nodes ---- */

static pare_status list(pare__estimate *all, const pare__call *call, bool bounded, bool follows) {
  const pare__node *node = call->node;
  for (size_t i = 0; i < all->count; i++) /* a loop's body comes more than once */
    if (all->node[i].node == node->name && all->node[i].op_type == node->op_type && *node->name) return PARE_OK;
  PARE__TRY(pare__array_grow((void **)&all->node, &all->capacity, all->count, sizeof *all->node));
  pare_model_unplanned *row = &all->node[all->count++];
  *row = (pare_model_unplanned){
      .node = node->name, .op_type = node->op_type, .domain = node->domain, .bounded = bounded, .follows = follows};
  for (unsigned i = 0; i < call->noutputs && bounded && !*row->output; i++) {
    char shape[PARE__SHAPE_TEXT];
    const pare__slot *slot = call->output[i];
    if (slot && !pare__slot_empty(slot))
      snprintf(row->output, sizeof row->output, "%s%.*s", pare_dtype_name(slot->dtype), 56,
               pare__shape_text(slot->shape.rank, slot->shape.dim, shape, sizeof shape));
  }
  return PARE_OK;
}

/* Numbers that the host computes from a bound are none that shapes may depend on. */
pare_status pare__estimate_forget(const pare__call *call, pare__slot *slot) {
  if (!slot->content) return PARE_OK;
  if (!slot->tensor)
    PARE__TRY(pare_tensor_create(call->context, slot->dtype, slot->shape.rank, slot->shape.dim, &slot->tensor));
  pare__content_release(slot->content);
  slot->content = NULL;
  return PARE_OK;
}

/* Has what the node makes as many elements as its first input, in the same shape, whatever shape that is? */
static bool keeps_count(const pare__call *call) {
  static const char *const names[] = {"Abs",  "Cast",    "Ceil",     "Clip", "Cos",       "Dropout", "Elu",     "Erf",
                                      "Exp",  "Floor",   "Gelu",     "Log",  "HardSwish", "Neg",     "Not",     "Relu",
                                      "Sqrt", "Sigmoid", "Identity", "Sin",  "LeakyRelu", "Swish",   "Softplus"};
  bool named = strcmp(call->node->op_type, "Tanh") == 0;
  for (size_t i = 0; i < PARE__COUNT(names); i++) named = named || strcmp(call->node->op_type, names[i]) == 0;
  for (unsigned i = 1; i < call->ninputs; i++)
    named = named && (!call->input[i] || pare__shape_elements(&call->input[i]->shape) <= 1);
  return named && *call->node->domain == '\0';
}

/* Reshape to a known shape gives counted elements one again. */
static bool gives_shape(const pare__call *call) { return strcmp(call->node->op_type, "Reshape") == 0; }

/* What the call has made: exact, or a bound where an input or the operator says so. */
static pare_status take_outputs(pare__call *call, pare__extent extent) {
  for (unsigned i = 0; i < call->noutputs; i++) {
    pare__slot *slot = call->output[i];
    if (!slot || pare__slot_empty(slot)) continue;
    slot->extent = extent;
    if (extent != PARE__EXACT) PARE__TRY(pare__estimate_forget(call, slot));
    PARE__TRY(pare__estimate_note(call->state, slot));
  }
  return PARE_OK;
}

static void clear_outputs(const pare__call *call, pare__extent extent) {
  for (unsigned i = 0; i < call->noutputs; i++) {
    if (!call->output[i]) continue;
    pare__slot_clear(call->output[i]);
    call->output[i]->extent = extent;
  }
}

bool pare__estimate_declares(const pare__call *call) {
  const pare__network *network = call->state->model->network;
  bool all = call->node->op->placement != PARE__IS_CONTROL; /* what is inside takes memory, too */
  for (unsigned i = 0; i < call->noutputs && all; i++) {
    if (!call->output[i]) continue;
    const pare__value *value = &network->value[call->node->output[i]];
    pare_dtype dtype;
    all = value->rank >= 0 && pare__held_dtype(value->onnx_dtype, &dtype);
    for (int d = 0; d < value->rank; d++) all = all && value->dim[d] >= 0;
  }
  return all;
}

/* Makes the outputs as the file declares their shapes. false: it does not. */
static bool declared(const pare__call *call) {
  bool all = pare__estimate_declares(call);
  for (unsigned i = 0; i < call->noutputs && all; i++) {
    pare__slot *slot = call->output[i];
    if (!slot) continue;
    const pare__value *value = &call->state->model->network->value[call->node->output[i]];
    (void)pare__held_dtype(value->onnx_dtype, &slot->dtype);
    all = pare_tensor_create(call->context, slot->dtype, value->rank, value->dim, &slot->tensor) == PARE_OK;
    if (all) slot->shape = slot->tensor->shape;
  }
  return all;
}

/* Nothing bounds what the node makes. Inside a subgraph that goes for all of the node around it. */
static pare_status leave_out(pare__call *call, bool follows) {
  pare__estimate *all = call->state->estimate;
  clear_outputs(call, PARE__UNKNOWN);
  if (call->state->depth > 0) return pare__call_at_once(call);
  call->state->values_needed = false;
  if (declared(call)) {
    PARE__TRY(take_outputs(call, PARE__BOUND));
    return list(all, call, true, false);
  }
  clear_outputs(call, PARE__UNKNOWN);
  all->nunknown++;
  return list(all, call, false, follows);
}

pare_status pare__estimate_call(pare__call *call) {
  pare__run_state *state = call->state;
  pare__estimate *all = state->estimate;
  bool bound = false, counted = false, unknown = false;
  all->step++;
  for (unsigned i = 0; i < call->node->ninputs; i++) {
    const pare__extent extent = call->node->input[i] < 0 ? PARE__EXACT : state->slot[call->node->input[i]].extent;
    bound = bound || extent == PARE__BOUND || extent == PARE__COUNTED;
    counted = counted || extent == PARE__COUNTED;
    unknown = unknown || extent == PARE__UNKNOWN;
  }
  /* a subgraph may read any value around it */
  const bool control = call->node->op->placement == PARE__IS_CONTROL;
  unknown = unknown || (control && all->nunknown + all->ncounted > 0);
  unknown = unknown || (counted && !keeps_count(call) && !gives_shape(call));
  if (unknown) return leave_out(call, true);
  const bool around = state->bounding; /* of the node whose subgraph this is in */
  state->bounding = state->counting = false;
  const pare_status status = pare__run_call(call);
  const bool bounding = state->bounding;
  state->bounding = around;
  PARE__TRY(see_tasks(all));
  if (status == PARE_OK) {
    const bool counting = state->counting || (counted && !gives_shape(call));
    const bool bounded = bound || bounding || (control && all->count > 0);
    all->ncounted += counting;
    PARE__TRY(take_outputs(call, counting ? PARE__COUNTED : bounded ? PARE__BOUND : PARE__EXACT));
    return bounding ? list(all, call, true, false) : PARE_OK;
  }
  /* shapes that do not fit may be bounds that do not */
  const bool unsettled = state->values_needed || (bound && (status == PARE_ERR_SHAPE || status == PARE_ERR_ARGUMENT));
  return unsettled ? leave_out(call, false) : status;
}

/* ---- a run ---- */

static pare_status set_inputs(pare__run_state *state, pare_tensor *const *inputs, pare_tensor **stand_in) {
  const pare__graph *graph = &state->model->network->graph;
  for (unsigned i = 0; i < graph->ninputs; i++) {
    const pare__shape *shape = &inputs[i]->shape;
    pare__slot *slot = &state->slot[graph->input[i]];
    PARE__TRY(pare_tensor_create(state->model->context, inputs[i]->dtype, shape->rank, shape->dim, &stand_in[i]));
    PARE__TRY(pare__tensor_handle(stand_in[i], &slot->tensor));
    slot->dtype = slot->tensor->dtype;
    slot->shape = slot->tensor->shape;
  }
  return PARE_OK;
}

static pare_status take_results(pare__run_state *state, pare_tensor **known, unsigned ninputs, uint64_t *output_bytes) {
  pare__estimate *all = state->estimate;
  const pare__graph *graph = &state->model->network->graph;
  all->step++;
  for (unsigned i = 0; i < graph->noutputs; i++) {
    const pare__slot *slot = &state->slot[graph->output[i]];
    if (slot->extent == PARE__UNKNOWN) continue;
    if (!slot->tensor && slot->content) {
      *output_bytes += slot->content->nbytes;
      continue;
    }
    pare_tensor **out = &known[ninputs + i];
    PARE__TRY(pare__estimate_note(state, slot));
    PARE__TRY(pare__run_output(state, graph->output[i], known, ninputs + i, out));
    PARE__TRY(see(all, (*out)->storage));
    *output_bytes += pare__storage_bytes((*out)->storage);
  }
  return see_tasks(all);
}

static pare_status record(pare_model *model, pare__estimate *all, pare_tensor *const *inputs, pare_tensor **known,
                          uint64_t *output_bytes) {
  const pare__graph *graph = &model->network->graph;
  pare__run_state state = {0};
  PARE__TRY(pare__recording_begin(&all->recording));
  pare_status status = pare__run_begin(model, true, &state);
  state.estimate = all;
  if (status == PARE_OK) status = set_inputs(&state, inputs, known);
  if (status == PARE_OK) status = pare__run_graph(&state, graph);
  if (status == PARE_OK) status = take_results(&state, known, graph->ninputs, output_bytes);
  if (state.slot) pare__run_end(&state);
  pare__recording_end(all->recording);
  return status;
}

pare_status pare__estimate_run(pare_model *model, pare_tensor *const *inputs, pare_model_memory *out,
                               pare_model_unplanned **nodes, size_t *count) {
  const pare__graph *graph = &model->network->graph;
  const size_t nknown = (size_t)graph->ninputs + graph->noutputs;
  pare__estimate all = {0};
  uint64_t alive = 0, largest = 0;
  *nodes = NULL;
  *count = 0;
  *out = (pare_model_memory){0};
  pare_tensor **known = calloc(nknown + 1, sizeof(pare_tensor *));
  if (!known) return pare__fail_memory("an estimate", nknown * sizeof(pare_tensor *));
  pare_status status = record(model, &all, inputs, known, &out->output_bytes);
  if (status == PARE_OK) status = most_alive(&all, (const pare_tensor *const *)known, graph->ninputs, &alive, &largest);
  for (size_t i = 0; i < nknown; i++) pare_tensor_close(known[i]);
  free(known);
  pare__recording_close(all.recording);
  for (size_t i = 0; i < all.nseen; i++) pare__storage_release(all.seen[i].storage);
  free(all.seen);
  if (status != PARE_OK) {
    free(all.node);
    return status;
  }
  out->activation_bytes = alive - PARE__MIN(alive, out->output_bytes);
  /* what is larger than the largest buffer lives on the host, and is staged in pieces */
  out->bounded =
      all.nunknown == 0 && largest <= pare__device_info(pare__context_device(model->context))->max_buffer_bytes;
  *nodes = all.node;
  *count = all.count;
  return PARE_OK;
}
