/* What is done once, at load: constants computed, weights packed. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "graph/pass.h"
#include "graph/run.h"

/* A result larger than this, and larger than what it is made of, is computed in every run instead: nobody wants a mask
 * of a gigabyte kept for a model of a megabyte. */
#define MOST_GROWN_BYTES ((size_t)1 << 20)

static bool is_constant(const pare_model *model, int32_t id) {
  return model->network->value[id].constant || model->constant[id];
}

/* Constant nodes are read, not computed, whatever is left out. */
static bool foldable(const pare_model *model, const pare__node *node) {
  if (pare__folding_left_out(model->without)) return pare__node_is(node, "Constant");
  if (node->nsubgraphs > 0 || node->op->placement == PARE__IS_CONTROL || pare__operator_draws(node->op)) return false;
  for (unsigned i = 0; i < node->ninputs; i++)
    if (node->input[i] >= 0 && !is_constant(model, node->input[i])) return false;
  return true;
}

/* ---- weights that stay as small as they are ---- */

/* Below this an expanded constant is no matter. */
#define LEAST_KEPT_ELEMENTS 4096

/* Marks the values of which a reader has kernels that take them quantised, or in half precision, as they lie: the
 * passes put those in place of what reads them. */
static void mark_weights(const pare__graph *graph, bool *marked) {
  static const struct {
    const char *op_type;
    unsigned input;
  } readers[] = {{"MatMul", 1}, {"Gemm", 1},      {"FusedMatMul", 1},
                 {"Gather", 0}, {"Transpose", 0}, {"DequantizeLinear", 0}};
  for (size_t i = 0; i < graph->nnodes; i++) {
    const pare__node *node = &graph->node[i];
    for (unsigned r = 0; r < PARE__COUNT(readers); r++)
      if (readers[r].input < node->ninputs && strcmp(node->op_type, readers[r].op_type) == 0 &&
          node->input[readers[r].input] >= 0)
        marked[node->input[readers[r].input]] = true;
    for (unsigned k = 0; k < node->nsubgraphs; k++) mark_weights(node->subgraph[k].graph, marked);
  }
}

static bool decodes(const pare__node *node) { return strcmp(node->op_type, "DecodeNM") == 0; }

/* Would computing the node now expand weights that a kernel takes as they are? */
static bool expands_weights(const pare_model *model, const pare__node *node, const bool *marked) {
  const bool expands =
      strcmp(node->op_type, "DequantizeLinear") == 0 || strcmp(node->op_type, "Cast") == 0 || decodes(node);
  if (!marked || !expands || node->ninputs < 1 || node->noutputs < 1 || node->output[0] < 0 || node->input[0] < 0)
    return false;
  const pare__content *content = model->network->value[node->input[0]].constant;
  if (!content || content->count < LEAST_KEPT_ELEMENTS || !marked[node->output[0]]) return false;
  if (decodes(node) && content->dtype == PARE_U8) return false; /* no product takes those as they are stored */
  return *node->op_type == 'D' /* DequantizeLinear, DecodeNM */ || content->dtype == PARE_F16 ||
         content->dtype == PARE_BF16;
}

/* ---- folding ---- */

static size_t slot_bytes(const pare__slot *slot) {
  return (size_t)pare__shape_elements(&slot->shape) * pare_dtype_bytes(slot->dtype);
}

/* Keeps the outputs of a folded node as constants. */
static bool keep_results(pare__run_state *state, const pare__node *node) {
  size_t in = 0, out = 0;
  for (unsigned i = 0; i < node->ninputs; i++)
    if (node->input[i] >= 0) in += slot_bytes(&state->slot[node->input[i]]);
  for (unsigned i = 0; i < node->noutputs; i++)
    if (node->output[i] >= 0) out += slot_bytes(&state->slot[node->output[i]]);
  const bool given = node->ninputs == 0 || decodes(node); /* Constant: a view of the file; stored weights */
  if (!given && out > MOST_GROWN_BYTES && out > in) return false;
  for (unsigned i = 0; i < node->noutputs; i++) {
    const int32_t id = node->output[i];
    if (id < 0) continue;
    pare__slot *slot = &state->slot[id];
    pare__value *value = &state->model->network->value[id];
    if (!slot->content && !slot->tensor) continue;
    value->onnx_dtype = pare__onnx_dtype_from_pare(slot->dtype);
    value->rank = slot->shape.rank;
    memcpy(value->dim, slot->shape.dim, sizeof value->dim);
    memset(value->symbol, 0, sizeof value->symbol);
    if (slot->content)
      value->constant = pare__content_retain(slot->content);
    else if (pare__tensor_handle(slot->tensor, &state->model->constant[id]) != PARE_OK)
      return false;
  }
  return true;
}

static pare_status fold_graph(pare__run_state *state, pare__graph *graph, const bool *marked) {
  size_t kept = 0;
  for (size_t i = 0; i < graph->nnodes; i++) {
    pare__node *node = &graph->node[i];
    bool folded = false;
    if (foldable(state->model, node) && !expands_weights(state->model, node, marked)) {
      PARE__TRY(pare__model_go_on(state->model, "node '%s' (%s) was computed", node->name, node->op_type));
      PARE__TRY(pare__run_node(state, node));
      folded = keep_results(state, node);
      if (!folded)
        for (unsigned k = 0; k < node->noutputs; k++)
          if (node->output[k] >= 0) pare__slot_clear(&state->slot[node->output[k]]);
    }
    for (unsigned k = 0; k < node->nsubgraphs && !folded; k++)
      PARE__TRY(fold_graph(state, node->subgraph[k].graph, marked));
    if (!folded) graph->node[kept++] = *node;
  }
  graph->nnodes = kept;
  return PARE_OK;
}

pare_status pare__model_fold(pare_model *model, bool keep_weights) {
  bool *marked = NULL;
  if (keep_weights) {
    marked = calloc(model->network->nvalues + 1, sizeof *marked);
    if (!marked) return pare__fail_memory("folding", model->network->nvalues);
    mark_weights(&model->network->graph, marked);
  }
  pare__run_state state;
  pare_status status = pare__run_begin(model, false, &state);
  if (status == PARE_OK) status = fold_graph(&state, &model->network->graph, marked);
  if (state.slot) pare__run_end(&state);
  free(marked);
  return status;
}

/* ---- preparing ---- */

/* What was uploaded to be packed is uploaded again if a node still reads it as it is: both at once would be twice the
 * memory. */
static void forget_upload(pare__run_state *state, int32_t id) {
  if (!state->model->network->value[id].constant) return;
  pare_tensor_close(state->slot[id].tensor);
  pare_tensor_close(state->model->constant[id]);
  state->slot[id].tensor = state->model->constant[id] = NULL;
}

static pare_status prepare_node(pare__run_state *state, pare__node *node) {
  pare__slot **input = calloc(node->ninputs + 1U, sizeof *input);
  if (!input) return pare__fail_memory("a node's inputs", node->ninputs * sizeof *input);
  for (unsigned i = 0; i < node->ninputs; i++)
    if (node->input[i] >= 0 && is_constant(state->model, node->input[i])) input[i] = &state->slot[node->input[i]];
  pare__call call = {
      .state = state, .node = node, .context = state->model->context, .ninputs = node->ninputs, .input = input};
  const size_t kept = state->nkept;
  const pare_status status = node->op->prepare(&call, node);
  while (state->nkept > kept) pare_tensor_close(state->kept[--state->nkept]);
  for (unsigned i = 0; i < node->ninputs; i++)
    if (input[i]) forget_upload(state, node->input[i]);
  free(input);
  return status;
}

static pare_status prepare_graph(pare__run_state *state, pare__graph *graph) {
  for (size_t i = 0; i < graph->nnodes; i++) {
    pare__node *node = &graph->node[i];
    PARE__TRY(pare__model_go_on(state->model, "node '%s' (%s) was made ready", node->name, node->op_type));
    if (node->op->prepare && !node->prepared) PARE__TRY(prepare_node(state, node));
    for (unsigned k = 0; k < node->nsubgraphs; k++) PARE__TRY(prepare_graph(state, node->subgraph[k].graph));
  }
  return PARE_OK;
}

pare_status pare__model_prepare(pare_model *model) {
  pare__run_state state;
  pare_status status = pare__run_begin(model, false, &state);
  if (status == PARE_OK) status = prepare_graph(&state, &model->network->graph);
  if (state.slot) pare__run_end(&state);
  return status;
}
