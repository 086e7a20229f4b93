/* Softmax and log-softmax written out, in one node. SPDX-License-Identifier: Apache-2.0
 *
 * e = exp(x - max x), or exp(x); e / sum e, also as a product with the reciprocal. x - log(sum(exp(x))) and
 * log(softmax(x)). All over one axis. */
#include <string.h>

#include "graph/pass.h"

/* value = reduction of which operand, over which axis? */
static bool reduced(const pare__rewrite *rewrite, int32_t value, const char *op_type, int32_t *of, int64_t *axis) {
  const pare__node *node = pare__rewrite_made_by(rewrite, value, op_type);
  if (!node || !pare__reduces_axis(rewrite->network, node, axis)) return false;
  *of = node->input[0];
  return true;
}

/* x of value = x - max(x) over that axis; the value itself if it is none. */
static int32_t before_shift(const pare__rewrite *rewrite, int32_t value, int64_t axis) {
  const pare__node *shift = pare__rewrite_made_by(rewrite, value, "Sub");
  int32_t of;
  int64_t over;
  if (!shift || !reduced(rewrite, shift->input[1], "ReduceMax", &of, &over)) return value;
  return over == axis && of == shift->input[0] ? of : value;
}

/* The sum that the node divides by, by Div or by Mul with a Reciprocal; *e what is divided. */
static int32_t divisor(const pare__rewrite *rewrite, const pare__node *node, int32_t *e) {
  if (node->ninputs != 2) return PARE__NO_VALUE;
  if (pare__node_is(node, "Div")) {
    *e = node->input[0];
    return node->input[1];
  }
  for (unsigned k = 0; pare__node_is(node, "Mul") && k < 2; k++) {
    const pare__node *reciprocal = pare__rewrite_made_by(rewrite, node->input[k], "Reciprocal");
    *e = node->input[1 - k];
    if (reciprocal) return reciprocal->input[0];
  }
  return PARE__NO_VALUE;
}

static bool is_softmax(const pare__rewrite *rewrite, const pare__node *node, int32_t *x, int64_t *axis) {
  int32_t e = PARE__NO_VALUE, summed;
  const int32_t sum = divisor(rewrite, node, &e);
  if (sum < 0 || !reduced(rewrite, sum, "ReduceSum", &summed, axis) || summed != e) return false;
  const pare__node *exponential = pare__rewrite_made_by(rewrite, e, "Exp");
  if (!exponential) return false;
  *x = before_shift(rewrite, exponential->input[0], *axis);
  return true;
}

static bool is_log_softmax(const pare__rewrite *rewrite, const pare__node *node, int32_t *x, int64_t *axis) {
  if (pare__node_is(node, "Log")) {
    const pare__node *softmax = pare__rewrite_only(rewrite, node->input[0], "Softmax");
    if (!softmax || (softmax->opset < 13 && !pare__node_attribute(softmax, "axis"))) return false;
    *x = softmax->input[0];
    *axis = pare__node_int(softmax, "axis", -1);
    return softmax->opset >= 13;
  }
  if (!pare__node_is(node, "Sub")) return false;
  int32_t of, summed;
  if (reduced(rewrite, node->input[1], "ReduceLogSumExp", &of, axis) && of == node->input[0]) {
    *x = of;
    return true;
  }
  const pare__node *logarithm = pare__rewrite_made_by(rewrite, node->input[1], "Log");
  if (!logarithm || !reduced(rewrite, logarithm->input[0], "ReduceSum", &summed, axis)) return false;
  const pare__node *exponential = pare__rewrite_made_by(rewrite, summed, "Exp");
  if (!exponential || exponential->input[0] != node->input[0]) return false;
  *x = before_shift(rewrite, node->input[0], *axis);
  return true;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    int32_t x;
    int64_t axis;
    if (!pare__rewrite_alive(&rewrite, i) || node->noutputs < 1 || node->output[0] < 0) continue;
    const char *op_type = is_softmax(&rewrite, node, &x, &axis)       ? "Softmax"
                          : is_log_softmax(&rewrite, node, &x, &axis) ? "LogSoftmax"
                                                                      : NULL;
    if (!op_type) continue;
    pare__node one;
    status = pare__node_create(network, "", op_type, 13, 1, 1, &one);
    if (status == PARE_OK) status = pare__node_set_int(network, &one, "axis", axis);
    if (status != PARE_OK) break;
    one.name = node->name;
    one.input[0] = x;
    one.output[0] = node->output[0];
    status = pare__rewrite_become(&rewrite, i, one);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_softmax = {"softmax", "softmax and log-softmax written out become one node", run};
