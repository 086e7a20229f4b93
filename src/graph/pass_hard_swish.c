/* Swish and hard swish written out, in one node: x sigmoid(alpha x); x min(max(x + 3, 0), 6) / 6, and the same without
 * x, hard sigmoid. SPDX-License-Identifier: Apache-2.0
 *
 * Howard et al., "Searching for MobileNetV3" (2019). */
#include <string.h>

#include "graph/pass.h"

/* value = min(max(x + 3, 0), 6) for one reader alone? */
static bool is_gate(const pare__rewrite *rewrite, int32_t value, int32_t *x) {
  const pare__node *clip = pare__rewrite_only(rewrite, value, "Clip");
  double low = -1, high = -1;
  if (!clip) return false;
  const pare__onnx_attribute *least = pare__node_attribute(clip, "min"), *most = pare__node_attribute(clip, "max");
  if (least) low = (double)least->f;
  if (most) high = (double)most->f;
  if (clip->ninputs > 1) (void)pare__value_number(rewrite->network, clip->input[1], &low);
  if (clip->ninputs > 2) (void)pare__value_number(rewrite->network, clip->input[2], &high);
  return low == 0 && high == 6 && pare__sum_with(rewrite, clip->input[0], 3, x);
}

/* x sigmoid(alpha x), the gate for one reader alone? */
static bool is_swish(const pare__rewrite *rewrite, const pare__node *node, int32_t *x, double *alpha) {
  for (unsigned k = 0; pare__node_is(node, "Mul") && node->ninputs == 2 && k < 2; k++) {
    const pare__node *gate = pare__rewrite_only(rewrite, node->input[k], "Sigmoid");
    *x = node->input[1 - k];
    const pare__node *scaled = gate ? pare__rewrite_only(rewrite, gate->input[0], "Mul") : NULL;
    *alpha = 1;
    if (gate && gate->input[0] == *x) return true;
    for (unsigned i = 0; scaled && scaled->ninputs == 2 && i < 2; i++)
      if (scaled->input[i] == *x && pare__value_number(rewrite->network, scaled->input[1 - i], alpha)) return true;
  }
  return false;
}

/* x hardsigmoid(x) with the slope of hard swish, the gate for one reader alone? So it is where the quotient by 6 was
 * found before the product. */
static bool is_gated(const pare__rewrite *rewrite, const pare__node *node, int32_t *x) {
  for (unsigned k = 0; pare__node_is(node, "Mul") && node->ninputs == 2 && k < 2; k++) {
    const pare__node *gate = pare__rewrite_only(rewrite, node->input[k], "HardSigmoid");
    *x = node->input[1 - k];
    if (!gate || gate->input[0] != *x) continue;
    const pare__onnx_attribute *alpha = pare__node_attribute(gate, "alpha"), *beta = pare__node_attribute(gate, "beta");
    if (alpha && pare__near((double)alpha->f, 1.0 / 6) && (!beta || beta->f == 0.5F)) return true;
  }
  return false;
}

/* The operator that the product is; NULL: neither. */
static const char *recognise(const pare__rewrite *rewrite, const pare__node *node, int32_t *x) {
  pare__factors p;
  if (is_gated(rewrite, node, x)) return "HardSwish";
  const int32_t value = node->output[0];
  pare__factors_open(rewrite, value, true, &p);
  if (!pare__factors_near(&p, 1.0 / 6)) return NULL;
  if (p.count == 1) return is_gate(rewrite, p.factor[0], x) ? "HardSigmoid" : NULL;
  for (unsigned i = 0; p.count == 2 && i < 2; i++)
    if (is_gate(rewrite, p.factor[i], x) && p.factor[1 - i] == *x) return "HardSwish";
  return NULL;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    if (!pare__rewrite_alive(&rewrite, i) || node->noutputs < 1 || node->output[0] < 0) continue;
    if (!pare__node_is(node, "Mul") && !pare__node_is(node, "Div")) continue;
    int32_t x;
    double alpha = 1;
    const char *op_type = is_swish(&rewrite, node, &x, &alpha) ? "Swish" : recognise(&rewrite, node, &x);
    if (!op_type || !pare__keeps_rank(&rewrite, node->output[0], x, 0)) continue;
    pare__node one;
    status = pare__node_create(network, "", op_type, 24, 1, 1, &one);
    if (status == PARE_OK && strcmp(op_type, "HardSigmoid") == 0)
      status = pare__node_set_float(network, &one, "alpha", 1.0F / 6);
    if (status == PARE_OK && alpha != 1) status = pare__node_set_float(network, &one, "alpha", (float)alpha);
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

const pare__pass pare__pass_hard_swish = {"hard-swish",
                                          "swish, hard swish and hard sigmoid written out become one node", run};
