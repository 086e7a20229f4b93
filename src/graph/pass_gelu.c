/* GELU as exporters write it out, in one node. SPDX-License-Identifier: Apache-2.0
 *
 * x (1 + erf(x / sqrt 2)) / 2, and x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2: products whose factors stand in
 * any order and association (Hendrycks & Gimpel 2016). */
#include "graph/pass.h"

/* Is value = x * scale? */
static bool is_scaled(const pare__rewrite *rewrite, int32_t value, double scale, int32_t x) {
  pare__factors p;
  pare__factors_open(rewrite, value, false, &p);
  return pare__factors_near(&p, scale) && p.count == 1 && p.factor[0] == x;
}

/* Is value = 0.044715 x^3? */
static bool is_cube(const pare__rewrite *rewrite, int32_t value, int32_t x) {
  pare__factors p;
  pare__factors_open(rewrite, value, false, &p);
  if (!pare__factors_near(&p, 0.044715)) return false;
  if (p.count == 3) return p.factor[0] == x && p.factor[1] == x && p.factor[2] == x;
  const pare__node *power = p.count == 1 ? pare__rewrite_only(rewrite, p.factor[0], "Pow") : NULL;
  double exponent;
  return power && power->input[0] == x && pare__value_number(rewrite->network, power->input[1], &exponent) &&
         exponent == 3;
}

static bool is_tanh_argument(const pare__rewrite *rewrite, int32_t value, int32_t x) {
  pare__factors p;
  pare__factors_open(rewrite, value, false, &p);
  if (!pare__factors_near(&p, 0.7978845608) || p.count != 1) return false;
  const pare__node *sum = pare__rewrite_only(rewrite, p.factor[0], "Add");
  return sum && ((sum->input[0] == x && is_cube(rewrite, sum->input[1], x)) ||
                 (sum->input[1] == x && is_cube(rewrite, sum->input[0], x)));
}

/* Is the factor 1 + erf(x / sqrt 2), or its kin with tanh? */
static bool is_gate(const pare__rewrite *rewrite, int32_t factor, int32_t x, bool *with_tanh) {
  int32_t inner;
  if (!pare__sum_with(rewrite, factor, 1, &inner)) return false;
  const pare__node *erf = pare__rewrite_only(rewrite, inner, "Erf");
  const pare__node *tanh_node = pare__rewrite_only(rewrite, inner, "Tanh");
  *with_tanh = tanh_node != NULL;
  if (erf) return is_scaled(rewrite, erf->input[0], 0.70710678118, x);
  return tanh_node && is_tanh_argument(rewrite, tanh_node->input[0], x);
}

static bool is_gelu(const pare__rewrite *rewrite, int32_t value, int32_t *x, bool *with_tanh) {
  pare__factors p;
  pare__factors_open(rewrite, value, true, &p);
  if (!pare__factors_near(&p, 0.5) || p.count != 2) return false;
  for (unsigned i = 0; i < 2; i++) {
    *x = p.factor[i];
    if (is_gate(rewrite, p.factor[1 - i], *x, with_tanh)) return true;
  }
  return false;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    int32_t x;
    bool with_tanh;
    if (!pare__rewrite_alive(&rewrite, i) || node->noutputs < 1 || node->output[0] < 0) continue;
    if (!pare__node_is(node, "Mul") && !pare__node_is(node, "Div")) continue;
    if (!is_gelu(&rewrite, node->output[0], &x, &with_tanh)) continue;
    if (!pare__keeps_rank(&rewrite, node->output[0], x, 0)) continue;
    pare__node gelu;
    status = pare__node_create(network, "", "Gelu", 20, 1, 1, &gelu);
    if (status == PARE_OK && with_tanh) status = pare__node_set_text(network, &gelu, "approximate", "tanh");
    if (status != PARE_OK) break;
    gelu.name = node->name;
    gelu.input[0] = x;
    gelu.output[0] = node->output[0];
    status = pare__rewrite_become(&rewrite, i, gelu);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_gelu = {"gelu", "GELU written out with erf or tanh becomes one node", run};
