/* Scaled dot-product attention written out, in one node. SPDX-License-Identifier: Apache-2.0
 *
 * softmax(scale Q K^T + mask) V (Vaswani et al. 2017). Exporters scale queries, keys, both or the scores, by Mul or Div
 * (the products have taken that in), transpose keys themselves or not, add a mask of floats, or pick by one of bool:
 * Where(mask, scores, -inf), or Where(mask, -inf, scores). Newer torch exporters guard what attends to nothing, whose
 * weights are NaN: Where(IsNaN(weights), 0, weights). */
#include <string.h>

#include "graph/pass.h"

typedef struct pattern {
  const pare__node *scores, *values; /* the products */
  pare__product_node first;
  int32_t mask;  /* PARE__NO_VALUE: none */
  bool inverted; /* the mask is true where nobody attends */
  bool guarded;  /* weights that are NaN are 0 */
  double least;
} pattern;

/* The product that makes the value for one reader, of two factors that are computed. */
static const pare__node *product_of(const pare__rewrite *rewrite, int32_t value, pare__product_node *out) {
  if (value < 0 || rewrite->producer[value] < 0 || rewrite->uses[value] != 1) return NULL;
  const pare__node *node = &rewrite->graph->node[rewrite->producer[value]];
  if (!node->op || !pare__plain_product(node, out)) return NULL;
  const pare__value *b = &rewrite->network->value[node->input[1]];
  return b->constant ? NULL : node; /* constant factors are packed at load */
}

/* How many axes a Transpose that reads the value, which node i makes, gives an order; -1: none does. */
static int rank_of_reader(const pare__rewrite *rewrite, size_t i, int32_t value) {
  for (size_t k = i + 1; k < rewrite->graph->nnodes; k++) {
    const pare__node *node = &rewrite->graph->node[k];
    if (!pare__rewrite_alive(rewrite, k) || node->ninputs != 1 || node->input[0] != value) continue;
    const pare__onnx_attribute *perm = pare__node_attribute(node, "perm");
    return perm && pare__node_is(node, "Transpose") ? (int)perm->ints.count : -1;
  }
  return -1;
}

/* Is the last axis of the weights that node i multiplies with the values? Those have the rank of the product. */
static bool over_last_axis(const pare__rewrite *rewrite, const pare__node *softmax, size_t i) {
  const int64_t axis = pare__node_int(softmax, "axis", softmax->opset < 13 ? 1 : -1);
  if (axis < 0) return axis == -1;
  const int rank = pare__value_rank(rewrite, softmax->input[0]);
  return axis == (rank >= 0 ? rank : rank_of_reader(rewrite, i, rewrite->graph->node[i].output[0])) - 1;
}

/* Scores, as they go into softmax: a product, with a mask or without. */
static bool is_masked(const pare__rewrite *rewrite, int32_t value, pattern *out) {
  out->mask = PARE__NO_VALUE;
  out->scores = product_of(rewrite, value, &out->first);
  if (out->scores) return true;
  const pare__node *sum = pare__rewrite_only(rewrite, value, "Add");
  for (unsigned k = 0; sum && sum->ninputs == 2 && k < 2; k++) {
    out->mask = sum->input[1 - k];
    out->scores = product_of(rewrite, sum->input[k], &out->first);
    if (out->scores) return true;
  }
  const pare__node *choice = pare__rewrite_only(rewrite, value, "Where");
  for (unsigned k = 1; choice && choice->ninputs == 3 && k < 3; k++) {
    out->mask = choice->input[0];
    out->inverted = k == 2;
    out->scores = product_of(rewrite, choice->input[k], &out->first);
    if (out->scores && pare__value_number(rewrite->network, choice->input[3 - k], &out->least)) return true;
  }
  return false;
}

/* The softmax that gives the weights, guarded or not; NULL: none does, or others read it. */
static const pare__node *softmax_of(const pare__rewrite *rewrite, int32_t weights, bool *guarded) {
  const pare__node *choice = pare__rewrite_only(rewrite, weights, "Where");
  *guarded = choice && choice->ninputs == 3;
  if (!*guarded) return pare__rewrite_only(rewrite, weights, "Softmax");
  const pare__node *test = pare__rewrite_only(rewrite, choice->input[0], "IsNaN");
  const int32_t guards = choice->input[2];
  double zero;
  if (!test || test->input[0] != guards || rewrite->uses[guards] != 2) return NULL;
  if (!pare__value_number(rewrite->network, choice->input[1], &zero) || zero != 0) return NULL;
  if (rewrite->network->value[choice->input[1]].rank > 1) return NULL; /* it could give the weights another rank */
  return pare__rewrite_made_by(rewrite, guards, "Softmax");
}

/* Is node i the product with the values? */
static bool match(const pare__rewrite *rewrite, size_t i, pattern *out) {
  const pare__node *node = &rewrite->graph->node[i];
  *out = (pattern){.values = node};
  pare__product_node second;
  if (node->output[0] < 0 || !pare__plain_product(node, &second) || second.alpha != 1 || second.transpose_b)
    return false;
  if (rewrite->network->value[node->input[1]].constant) return false;
  const pare__node *softmax = softmax_of(rewrite, node->input[0], &out->guarded);
  return softmax && over_last_axis(rewrite, softmax, i) && is_masked(rewrite, softmax->input[0], out);
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    pattern found;
    if (!pare__rewrite_alive(&rewrite, i) || !match(&rewrite, i, &found)) continue;
    pare__node node;
    status = pare__node_create(network, "pare", "Attention", 1, 4, 1, &node);
    if (status == PARE_OK) status = pare__node_set_float(network, &node, "scale", (float)found.first.alpha);
    if (status == PARE_OK) status = pare__node_set_float(network, &node, "least", (float)found.least);
    if (status == PARE_OK) status = pare__node_set_int(network, &node, "inverted", found.inverted);
    if (status == PARE_OK) status = pare__node_set_int(network, &node, "guarded", found.guarded);
    if (status == PARE_OK) status = pare__node_set_int(network, &node, "transposed", !found.first.transpose_b);
    if (status != PARE_OK) break;
    node.name = found.scores->name;
    node.input[0] = found.scores->input[0];
    node.input[1] = found.scores->input[1];
    node.input[2] = found.values->input[1];
    node.input[3] = found.mask;
    node.output[0] = found.values->output[0];
    status = pare__rewrite_become(&rewrite, i, node);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_attention = {"attention", "products around a softmax become one node of attention", run};
