/* Layer normalisation written out, in one node. SPDX-License-Identifier: Apache-2.0
 *
 * d = x - mean(x); d / sqrt(mean(d^2) + epsilon) * scale + bias over the last axis, as exporters before opset 17 and
 * TensorFlow's write it: the square as Pow or Mul, the root as Sqrt, the scale on either side. */
#include <string.h>

#include "graph/pass.h"

/* mean over the last axis of which value? */
static bool mean_of(const pare__rewrite *rewrite, int32_t value, int32_t *x) {
  const pare__node *node = pare__rewrite_made_by(rewrite, value, "ReduceMean");
  int64_t axis;
  if (!node || !pare__reduces_axis(rewrite->network, node, &axis)) return false;
  if (axis != -1 && axis != pare__value_rank(rewrite, node->input[0]) - 1) return false;
  *x = node->input[0];
  return true;
}

static bool is_square(const pare__rewrite *rewrite, int32_t value, int32_t of) {
  double exponent;
  const pare__node *power = pare__rewrite_made_by(rewrite, value, "Pow");
  if (power)
    return power->input[0] == of && pare__value_number(rewrite->network, power->input[1], &exponent) && exponent == 2;
  const pare__node *product = pare__rewrite_made_by(rewrite, value, "Mul");
  return product && product->input[0] == of && product->input[1] == of;
}

/* value = sqrt(mean(difference^2) + epsilon)? */
static bool is_deviation(const pare__rewrite *rewrite, int32_t value, int32_t difference, double *epsilon) {
  const pare__node *root = pare__rewrite_made_by(rewrite, value, "Sqrt");
  const pare__node *sum = root ? pare__rewrite_made_by(rewrite, root->input[0], "Add") : NULL;
  for (unsigned k = 0; sum && k < 2; k++) {
    int32_t square;
    if (pare__value_number(rewrite->network, sum->input[k], epsilon) && mean_of(rewrite, sum->input[1 - k], &square))
      return is_square(rewrite, square, difference);
  }
  return false;
}

/* value = (x - mean(x)) / deviation? */
static bool is_normalised(const pare__rewrite *rewrite, int32_t value, int32_t *x, double *epsilon) {
  const pare__node *quotient = pare__rewrite_only(rewrite, value, "Div");
  const pare__node *difference = quotient ? pare__rewrite_made_by(rewrite, quotient->input[0], "Sub") : NULL;
  int32_t averaged;
  if (!difference || !mean_of(rewrite, difference->input[1], &averaged) || averaged != difference->input[0])
    return false;
  *x = averaged;
  return is_deviation(rewrite, quotient->input[1], quotient->input[0], epsilon);
}

static bool is_vector(const pare__rewrite *rewrite, int32_t value, int64_t length) {
  const pare__value *v = value >= 0 ? &rewrite->network->value[value] : NULL;
  return v && v->constant && v->rank == 1 && v->dim[0] > 1 && (length < 0 || v->dim[0] == length);
}

/* Add(Mul(normalised, scale), bias) at node i. */
static bool match(const pare__rewrite *rewrite, const pare__node *node, int32_t input[3], double *epsilon) {
  for (unsigned k = 0; k < 2; k++) {
    const pare__node *scaled = pare__rewrite_only(rewrite, node->input[k], "Mul");
    if (!scaled || !is_vector(rewrite, node->input[1 - k], -1)) continue;
    input[2] = node->input[1 - k];
    for (unsigned m = 0; m < 2; m++) {
      input[1] = scaled->input[1 - m];
      if (is_vector(rewrite, input[1], rewrite->network->value[input[2]].dim[0]) &&
          is_normalised(rewrite, scaled->input[m], &input[0], epsilon))
        return true;
    }
  }
  return false;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    int32_t input[3];
    double epsilon;
    if (!pare__rewrite_alive(&rewrite, i) || !pare__node_is(node, "Add") || node->ninputs != 2 || node->output[0] < 0)
      continue;
    if (!match(&rewrite, node, input, &epsilon) || !pare__keeps_rank(&rewrite, node->output[0], input[0], 1)) continue;
    pare__node norm;
    status = pare__node_create(network, "", "LayerNormalization", 17, 3, 1, &norm);
    if (status == PARE_OK) status = pare__node_set_float(network, &norm, "epsilon", (float)epsilon);
    if (status != PARE_OK) break;
    norm.name = node->name;
    memcpy(norm.input, input, sizeof input);
    norm.output[0] = node->output[0];
    status = pare__rewrite_become(&rewrite, i, norm);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_layer_norm = {"layer-norm", "layer normalisation written out becomes one node", run};
