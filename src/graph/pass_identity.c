/* Identity and Dropout nodes, and Cast to the type that is there: their readers read their input.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/pass.h"

enum { MOST_STEPS = 8 };

static bool is_model_input(const pare__rewrite *rewrite, int32_t value) {
  const pare__graph *graph = &rewrite->network->graph;
  bool is = false;
  for (unsigned k = 0; k < graph->ninputs && !is; k++) is = graph->input[k] == value;
  return is;
}

/* The type of a value as far as a few nodes tell it; 0: they do not. Products with weights have the type of these. */
static int32_t type_of(const pare__rewrite *rewrite, int32_t value, int steps) {
  static const char *const keeps[] = {"Add",    "Sub",       "Mul",     "Div",       "MatMul", "FusedMatMul",
                                      "Gemm",   "Reshape",   "Squeeze", "Unsqueeze", "Gather", "Slice",
                                      "Concat", "Transpose", "Sqrt",    "Neg",       "Relu",   "Sigmoid",
                                      "Tanh",   "Softmax",   "Gelu",    "Swish",     "Sin",    "Cos"};
  static const char *const norms[] = {"LayerNormalization", "RMSNormalization", "SkipLayerNormalization",
                                      "SkipSimplifiedLayerNormalization"};
  if (value < 0 || steps == 0) return 0;
  const pare__value *known = &rewrite->network->value[value];
  const pare__node *node = rewrite->producer[value] >= 0 ? &rewrite->graph->node[rewrite->producer[value]] : NULL;
  /* what the file says of a value between nodes need not be true */
  if (known->constant || (!node && is_model_input(rewrite, value))) return known->onnx_dtype;
  if (!node || !node->op || node->ninputs < 1 || node->output[0] != value) return 0;
  if (pare__node_is(node, "Cast")) return (int32_t)pare__node_int(node, "to", 0);
  for (size_t i = 0; i < PARE__COUNT(norms); i++)
    if (strcmp(node->op_type, norms[i]) == 0) return type_of(rewrite, node->input[0], steps - 1);
  bool kept = false;
  for (size_t i = 0; i < PARE__COUNT(keeps); i++) kept = kept || strcmp(node->op_type, keeps[i]) == 0;
  const bool by_first = node->ninputs < 2 || strcmp(node->op_type, "Gather") == 0 ||
                        strcmp(node->op_type, "Slice") == 0 || strcmp(node->op_type, "Reshape") == 0 ||
                        strstr(node->op_type, "queeze");
  if (!kept) return 0;
  const int32_t other = by_first ? 0 : type_of(rewrite, node->input[1], 1); /* most often a constant */
  return other ? other : type_of(rewrite, node->input[0], steps - 1);
}

static bool passes_on(const pare__rewrite *rewrite, const pare__node *node) {
  if (node->ninputs < 1 || node->input[0] < 0 || node->noutputs < 1 || node->output[0] < 0) return false;
  if (pare__node_is(node, "Identity")) return true;
  const int64_t to = pare__node_is(node, "Cast") ? pare__node_int(node, "to", 0) : 0;
  if (to != 0 && to == type_of(rewrite, node->input[0], MOST_STEPS)) return true;
  /* without its mask, and unless it may be training */
  const bool masked = node->noutputs > 1 && node->output[1] >= 0 && rewrite->uses[node->output[1]] > 0;
  const bool training = node->ninputs > 2 && node->input[2] >= 0;
  return pare__node_is(node, "Dropout") && !masked && !training;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  for (size_t i = 0; i < graph->nnodes; i++) {
    pare__rewrite_visit(&rewrite, i);
    const pare__node *node = &graph->node[i];
    /* an output keeps its own name */
    if (!passes_on(&rewrite, node) || pare__is_output(graph, node->output[0])) continue;
    pare__rewrite_replace(&rewrite, node->output[0], node->input[0]);
    pare__rewrite_remove(&rewrite, i);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return PARE_OK;
}

const pare__pass pare__pass_identity = {"identity", "nodes that pass their input on unchanged", run};
