/* Running the nodes of a graph, one after the other. SPDX-License-Identifier: Apache-2.0 */
#include <pare/move.h>

#include "graph/estimate.h"
#include "tensor/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Contents of more elements than this are not computed with on the host. */
#define MOST_HOST_ELEMENTS 1024
#define MOST_GIVEN 512
#define FEW 16 /* inputs and outputs that need no allocation */

static bool is_interrupted(const pare_model *model) {
  const volatile int *stop = model->options.stop;
  return (stop && __atomic_load_n(stop, __ATOMIC_RELAXED) != 0) ||
         atomic_load_explicit(&model->interrupted, memory_order_relaxed);
}

pare_status pare__model_go_on(const pare_model *model, const char *format, ...) {
  if (!is_interrupted(model)) return PARE_OK;
  char before[256];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(before, sizeof before, format, arguments);
  va_end(arguments);
  return pare__fail(PARE_ERR_ARGUMENT, "interrupted before %s", before);
}

pare_status pare__run_begin(pare_model *model, bool planning, pare__run_state *state) {
  const size_t nvalues = model->network->nvalues;
  *state = (pare__run_state){.model = model, .planning = planning};
  state->slot = calloc(nvalues + 1, sizeof *state->slot);
  if (!state->slot) return pare__fail_memory("a run", nvalues * sizeof *state->slot);
  for (size_t i = 0; i < nvalues; i++) {
    pare__slot *slot = &state->slot[i];
    const pare__content *content = model->network->value[i].constant;
    if (content) {
      slot->content = pare__content_retain(model->network->value[i].constant);
      slot->dtype = content->dtype;
      slot->shape = content->shape;
    } else if (model->constant[i]) { /* folded on the device */
      PARE__TRY(pare__tensor_handle(model->constant[i], &slot->tensor));
      slot->dtype = slot->tensor->dtype;
      slot->shape = slot->tensor->shape;
    }
  }
  return PARE_OK;
}

static void close_kept(pare__run_state *state, size_t from) {
  while (state->nkept > from) pare_tensor_close(state->kept[--state->nkept]);
}

void pare__run_end(pare__run_state *state) {
  close_kept(state, 0);
  free(state->kept);
  if (state->slot)
    for (size_t i = 0; i < state->model->network->nvalues; i++) pare__slot_clear(&state->slot[i]);
  free(state->slot);
  *state = (pare__run_state){0};
}

bool pare__slot_empty(const pare__slot *slot) { return !slot->tensor && !slot->content; }

bool pare__run_on_host(const pare__run_state *state, const pare__node *node) {
  if (!node->op->on_host) return false;
  for (unsigned i = 0; i < node->ninputs; i++) {
    if (node->input[i] < 0) continue;
    const pare__slot *slot = &state->slot[node->input[i]];
    if (pare__slot_empty(slot)) continue;
    if (!slot->content || slot->content->count > MOST_HOST_ELEMENTS) return false;
  }
  return true;
}

/* "f32[2, 3], -, i64[4]", as far as there is room. */
static void list_shapes(const pare__run_state *state, const pare__node *node, char *text, size_t capacity) {
  size_t used = 0;
  *text = '\0';
  for (unsigned i = 0; i < node->ninputs && used < capacity; i++) {
    const pare__slot *slot = node->input[i] >= 0 ? &state->slot[node->input[i]] : NULL;
    char shape[PARE__SHAPE_TEXT] = "-";
    const char *dtype = "";
    if (slot && !pare__slot_empty(slot)) {
      dtype = pare_dtype_name(slot->dtype);
      (void)pare__shape_text(slot->shape.rank, slot->shape.dim, shape, sizeof shape);
    }
    const int n = snprintf(text + used, capacity - used, "%s%s%s", i > 0 ? ", " : "", dtype, shape);
    used += n > 0 ? (size_t)n : 0;
  }
}

/* The message gets the node before it, and what the node was given behind it if that may be why: once, where a node has
 * failed in a subgraph of another. An index out of range that the device has found may be an earlier node's. */
static pare_status at_node(const pare__run_state *state, const pare__node *node, pare_status status) {
  static const char begin[] = "node '";
  if (node->nsubgraphs == 0 && strncmp(pare_message(), begin, strlen(begin)) == 0) return status;
  char *why = pare__strdup(pare_message()), given[MOST_GIVEN] = "";
  const bool shapes = (status == PARE_ERR_SHAPE || status == PARE_ERR_TYPE || status == PARE_ERR_ARGUMENT) && why &&
                      strncmp(why, begin, strlen(begin)) != 0 && !is_interrupted(state->model);
  if (shapes) list_shapes(state, node, given, sizeof given);
  pare__fail(status, "%s%s' (%s): %s%s%s", begin, node->name, node->op_type, why ? why : "",
             *given ? "; its inputs: " : "", given);
  free(why);
  return status;
}

pare_status pare__run_call(pare__call *call) {
  const size_t kept = call->state->nkept;
  const bool on_host = pare__run_on_host(call->state, call->node);
  const pare_status status = on_host ? call->node->op->on_host(call) : call->node->op->run(call);
  close_kept(call->state, kept);
  return status;
}

/* A node, for what the device finds later. */
typedef struct node_origin {
  pare__origin origin;
  const pare__run_state *state;
  const pare__node *node;
} node_origin;

static void describe_node(const pare__origin *origin, const char *message, char *text, size_t capacity) {
  const node_origin *at = (const node_origin *)origin;
  char given[MOST_GIVEN];
  list_shapes(at->state, at->node, given, sizeof given);
  snprintf(text, capacity, "node '%.100s' (%s): %s; its inputs: %s", at->node->name, at->node->op_type, message, given);
}

static pare_status call_operator(pare__run_state *state, const pare__node *node, pare__slot **input,
                                 pare__slot **output) {
  for (unsigned i = 0; i < node->ninputs; i++) {
    input[i] = NULL;
    if (node->input[i] < 0) continue;
    pare__slot *slot = &state->slot[node->input[i]];
    if (!pare__slot_empty(slot)) input[i] = slot;
  }
  for (unsigned i = 0; i < node->noutputs; i++) output[i] = node->output[i] >= 0 ? &state->slot[node->output[i]] : NULL;
  pare__call call = {.state = state,
                     .node = node,
                     .context = state->model->context,
                     .ninputs = node->ninputs,
                     .noutputs = node->noutputs,
                     .input = input,
                     .output = output};
  const node_origin here = {{describe_node}, state, node};
  const pare__origin *around = pare__origin_set(&here.origin);
  const pare_status status = state->estimate ? pare__estimate_call(&call) : pare__run_call(&call);
  pare__origin_set(around);
  return status;
}

pare_status pare__run_node(pare__run_state *state, const pare__node *node) {
  pare__slot *few[2][FEW], **many = NULL, **input = few[0], **output = few[1];
  if (node->ninputs > FEW || node->noutputs > FEW) {
    many = calloc((size_t)node->ninputs + node->noutputs, sizeof *many);
    if (!many) return pare__fail_memory("a node's inputs", ((size_t)node->ninputs + node->noutputs) * sizeof *many);
    input = many;
    output = many + node->ninputs;
  }
  const double begun = state->observe ? pare__seconds() : 0;
  pare_status status = call_operator(state, node, input, output);
  free(many);
  if (status != PARE_OK) return at_node(state, node, status);
  return state->observe ? state->observe(state->user, state, node, state->depth, begun) : PARE_OK;
}

pare_status pare__run_graph(pare__run_state *state, const pare__graph *graph) {
  if (state->depth > PARE__MOST_DEPTH)
    return pare__fail(PARE_ERR_LIMIT, "graphs lie more than %d deep in each other", PARE__MOST_DEPTH);
  for (size_t i = 0; i < graph->nnodes; i++) {
    PARE__TRY(pare__model_go_on(state->model, "node '%s' (%s)", graph->node[i].name, graph->node[i].op_type));
    PARE__TRY(pare__run_node(state, &graph->node[i]));
    for (uint32_t k = graph->dead_from[i]; k < graph->dead_from[i + 1]; k++) {
      pare__slot *dead = &state->slot[graph->dead[k]];
      if (state->estimate) PARE__TRY(pare__estimate_note(state, dead));
      pare__slot_clear(dead);
    }
  }
  return PARE_OK;
}

/* An input without memory. */
static pare_status set_input(pare__run_state *state, int32_t id, const pare__shape *shape) {
  const pare__value *input = &state->model->network->value[id];
  pare__slot *slot = &state->slot[id];
  if (!pare__held_dtype(input->onnx_dtype, &slot->dtype))
    return pare__fail(PARE_ERR_UNSUPPORTED, "input '%s' has no type that pare has", input->name);
  PARE__TRY(pare_tensor_create(state->model->context, slot->dtype, shape->rank, shape->dim, &slot->tensor));
  slot->shape = slot->tensor->shape;
  return PARE_OK;
}

pare_status pare__model_shapes(pare_model *bare, const pare__shape *inputs, pare__observe observe, void *user,
                               bool *values_needed) {
  const pare__graph *graph = &bare->network->graph;
  pare__recording *recording;
  pare__run_state state = {0};
  *values_needed = false;
  PARE__TRY(pare__recording_begin(&recording));
  pare_status status = pare__run_begin(bare, true, &state);
  state.shapes_only = true;
  state.observe = observe;
  state.user = user;
  for (unsigned i = 0; i < graph->ninputs && status == PARE_OK; i++)
    status = set_input(&state, graph->input[i], &inputs[i]);
  if (status == PARE_OK) status = pare__run_graph(&state, graph);
  *values_needed = state.values_needed;
  if (state.values_needed) status = PARE_OK;
  if (state.slot) pare__run_end(&state);
  pare__recording_end(recording);
  pare__recording_close(recording);
  return status;
}

pare_status pare__run_output(pare__run_state *state, int32_t id, pare_tensor *const *avoid, size_t navoid,
                             pare_tensor **out) {
  *out = NULL;
  const pare__slot *slot = &state->slot[id];
  const char *name = state->model->network->value[id].name;
  if (pare__slot_empty(slot))
    return pare__fail(PARE_ERR_FORMAT, "output '%s' was left out by the node that makes it", name);
  if (!slot->tensor)
    return pare_tensor_from(state->model->context, slot->content->dtype, slot->content->shape.rank,
                            slot->content->shape.dim, slot->content->data, slot->content->nbytes, out);
  /* elements that a plan was given once are not those that it makes in every run */
  const bool given = state->planning && !pare__storage_deferred(slot->tensor->storage);
  bool shared = given || state->model->network->value[id].constant || state->model->constant[id];
  for (size_t i = 0; i < navoid && !shared; i++) shared = avoid[i] && avoid[i]->storage == slot->tensor->storage;
  for (size_t i = 0; i < state->model->network->nvalues && !shared; i++)
    shared = state->model->constant[i] && state->model->constant[i]->storage == slot->tensor->storage;
  const size_t nbytes = (size_t)pare__shape_elements(&slot->shape) * pare_dtype_bytes(slot->dtype);
  const bool whole = pare__shape_contiguous(&slot->tensor->shape) && slot->tensor->offset == 0 &&
                     pare__storage_bytes(slot->tensor->storage) == nbytes;
  if (!shared && whole) return pare__tensor_handle(slot->tensor, out);
  PARE__TRY(pare_tensor_create(state->model->context, slot->dtype, slot->shape.rank, slot->shape.dim, out));
  const pare_status status = pare_copy(slot->tensor, *out);
  if (status != PARE_OK) {
    pare_tensor_close(*out);
    *out = NULL;
  }
  return status;
}
