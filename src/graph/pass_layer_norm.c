/* Layer and RMS normalisation written out, in one node. SPDX-License-Identifier: Apache-2.0
 *
 * d = x - mean(x); d / sqrt(mean(d^2) + epsilon), and the same of x itself, over the last axis, as exporters write it:
 * the square as Pow or Mul, the root as Sqrt or Pow, the quotient as Div, or as Mul by a reciprocal. A product with a
 * vector after it is its scale, and a sum with one its shift. Keras and TensorFlow fold both into x * r + (shift -
 * mean(x) * r), r being the reciprocal of the root times the scale.
 *
 * Ba, Kiros & Hinton, "Layer Normalization" (2016); Zhang & Sennrich, "Root Mean Square Layer Normalization" (2019). */
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

/* value = a * b, in either order? */
static bool is_product(const pare__rewrite *rewrite, int32_t value, int32_t a, int32_t b) {
  const pare__node *node = pare__rewrite_made_by(rewrite, value, "Mul");
  return node && ((node->input[0] == a && node->input[1] == b) || (node->input[0] == b && node->input[1] == a));
}

/* The base of value = base ^ exponent, made by Pow; PARE__NO_VALUE: it is none. */
static int32_t power_of(const pare__rewrite *rewrite, int32_t value, double exponent) {
  const pare__node *power = pare__rewrite_made_by(rewrite, value, "Pow");
  double found;
  const bool is = power && pare__value_number(rewrite->network, power->input[1], &found) && found == exponent;
  return is ? power->input[0] : PARE__NO_VALUE;
}

static int32_t square_of(const pare__rewrite *rewrite, int32_t value) {
  const pare__node *product = pare__rewrite_made_by(rewrite, value, "Mul");
  return product && product->input[0] == product->input[1] ? product->input[0] : power_of(rewrite, value, 2);
}

static int32_t root_of(const pare__rewrite *rewrite, int32_t value) {
  const pare__node *root = pare__rewrite_made_by(rewrite, value, "Sqrt");
  return root ? root->input[0] : power_of(rewrite, value, 0.5);
}

/* What value is the reciprocal of the root of. */
static int32_t inverse_root_of(const pare__rewrite *rewrite, int32_t value) {
  const pare__node *reciprocal = pare__rewrite_made_by(rewrite, value, "Reciprocal");
  const pare__node *quotient = pare__rewrite_made_by(rewrite, value, "Div");
  double one;
  if (reciprocal) return root_of(rewrite, reciprocal->input[0]);
  if (quotient && pare__value_number(rewrite->network, quotient->input[0], &one) && one == 1)
    return root_of(rewrite, quotient->input[1]);
  return power_of(rewrite, value, -0.5);
}

typedef struct norm {
  int32_t x, scale, shift; /* the latter PARE__NO_VALUE: it has none */
  bool centred;            /* layer norm; else RMS norm */
  double epsilon;
} norm;

/* value = mean(d^2) + epsilon of which d? */
static bool is_moment(const pare__rewrite *rewrite, int32_t value, int32_t *d, double *epsilon) {
  const pare__node *sum = pare__rewrite_made_by(rewrite, value, "Add");
  for (unsigned k = 0; sum && k < 2; k++) {
    int32_t square;
    if (!pare__value_number(rewrite->network, sum->input[k], epsilon) || !mean_of(rewrite, sum->input[1 - k], &square))
      continue;
    *d = square_of(rewrite, square);
    return *d >= 0;
  }
  return false;
}

/* d = x - mean(x) of which x? PARE__NO_VALUE: it is no such difference. */
static int32_t centred_of(const pare__rewrite *rewrite, int32_t d) {
  const pare__node *difference = pare__rewrite_made_by(rewrite, d, "Sub");
  int32_t averaged;
  const bool is = difference && mean_of(rewrite, difference->input[1], &averaged) && averaged == difference->input[0];
  return is ? averaged : PARE__NO_VALUE;
}

/* The node is d / sqrt(mean(d^2) + epsilon). */
static bool is_normalised(const pare__rewrite *rewrite, const pare__node *node, norm *out) {
  const bool divides = pare__node_is(node, "Div");
  for (unsigned k = 0; k < (divides ? 1U : 2U); k++) {
    const int32_t other = node->input[1 - k];
    const int32_t moment = divides ? root_of(rewrite, other) : inverse_root_of(rewrite, other);
    int32_t d;
    if (moment < 0 || !is_moment(rewrite, moment, &d, &out->epsilon) || d != node->input[k]) continue;
    const int32_t x = centred_of(rewrite, d);
    out->centred = x >= 0;
    out->x = out->centred ? x : d;
    return true;
  }
  return false;
}

static bool is_vector(const pare__rewrite *rewrite, int32_t value, int64_t length) {
  const pare__value *v = value >= 0 ? &rewrite->network->value[value] : NULL;
  return v && v->constant && v->rank == 1 && v->dim[0] > 1 && (length < 0 || v->dim[0] == length);
}

/* value = -mean(x) * r? */
static bool is_shift_of_mean(const pare__rewrite *rewrite, int32_t value, int32_t mean, int32_t r) {
  const pare__node *negated = pare__rewrite_made_by(rewrite, value, "Neg");
  if (negated) return is_product(rewrite, negated->input[0], mean, r);
  const pare__node *product = pare__rewrite_made_by(rewrite, value, "Mul");
  for (unsigned k = 0; product && k < 2; k++) {
    const pare__node *factor = pare__rewrite_made_by(rewrite, product->input[k], "Neg");
    if (factor && factor->input[0] == mean && product->input[1 - k] == r) return true;
  }
  return false;
}

/* value = shift - mean * r, or -mean * r? */
static bool is_folded_shift(const pare__rewrite *rewrite, int32_t value, int32_t mean, int32_t r, int32_t *shift) {
  const pare__node *difference = pare__rewrite_only(rewrite, value, "Sub");
  const pare__node *sum = pare__rewrite_only(rewrite, value, "Add");
  *shift = PARE__NO_VALUE;
  if (difference && is_product(rewrite, difference->input[1], mean, r)) {
    *shift = difference->input[0];
    return true;
  }
  for (unsigned k = 0; sum && k < 2; k++) {
    *shift = sum->input[k];
    if (is_shift_of_mean(rewrite, sum->input[1 - k], mean, r)) return true;
  }
  *shift = PARE__NO_VALUE;
  return is_shift_of_mean(rewrite, value, mean, r);
}

/* r = scale / sqrt(mean((x - mean(x))^2) + epsilon) of that x? *mean: the value that is its mean. */
static bool is_folded_scale(const pare__rewrite *rewrite, int32_t r, norm *out, int32_t *mean) {
  const pare__node *product = pare__rewrite_made_by(rewrite, r, "Mul");
  for (unsigned k = 0; product && k < 2; k++) {
    const int32_t moment = inverse_root_of(rewrite, product->input[k]);
    int32_t d;
    if (moment < 0 || !is_moment(rewrite, moment, &d, &out->epsilon) || centred_of(rewrite, d) != out->x) continue;
    *mean = pare__rewrite_made_by(rewrite, d, "Sub")->input[1];
    out->scale = product->input[1 - k];
    return is_vector(rewrite, out->scale, -1);
  }
  return false;
}

/* The node is x * r + (shift - mean(x) * r), or x * r - mean(x) * r. */
static bool is_folded(const pare__rewrite *rewrite, const pare__node *node, norm *out) {
  const bool subtracts = pare__node_is(node, "Sub");
  for (unsigned k = 0; k < (subtracts ? 1U : 2U); k++) {
    const pare__node *scaled = pare__rewrite_only(rewrite, node->input[k], "Mul");
    const int32_t rest = node->input[1 - k];
    for (unsigned m = 0; scaled && m < 2; m++) {
      const int32_t r = scaled->input[1 - m];
      int32_t mean;
      out->x = scaled->input[m];
      out->centred = true;
      out->shift = PARE__NO_VALUE;
      if (!is_folded_scale(rewrite, r, out, &mean)) continue;
      if (subtracts ? !is_product(rewrite, rest, mean, r) : !is_folded_shift(rewrite, rest, mean, r, &out->shift))
        continue;
      return out->shift < 0 || is_vector(rewrite, out->shift, rewrite->network->value[out->scale].dim[0]);
    }
  }
  return false;
}

/* The norm that makes the value for one reader, and nothing but it. */
static const pare__node *norm_of(const pare__rewrite *rewrite, int32_t value, norm *out) {
  static const char *const names[] = {"RMSNormalization", "LayerNormalization"};
  if (value < 0 || rewrite->producer[value] < 0 || rewrite->uses[value] != 1) return NULL;
  const pare__node *node = &rewrite->graph->node[rewrite->producer[value]];
  const bool known = node->op && (*node->domain == '\0' || strcmp(node->domain, "pare") == 0) && node->noutputs == 1;
  for (int centred = 0; known && centred < 2; centred++) {
    if (strcmp(node->op_type, names[centred]) != 0) continue;
    if (centred && pare__node_int(node, "axis", -1) != -1) return NULL;
    *out = (norm){.x = node->input[0],
                  .scale = pare__node_has(node, 1) ? node->input[1] : PARE__NO_VALUE,
                  .shift = pare__node_has(node, 2) ? node->input[2] : PARE__NO_VALUE,
                  .centred = centred,
                  .epsilon = (double)pare__node_float(node, "epsilon", 1e-5F)};
    return node;
  }
  return NULL;
}

/* The node is a norm times a vector, or a scaled layer norm plus one. */
static bool is_affine(const pare__rewrite *rewrite, const pare__node *node, norm *out) {
  const bool scales = pare__node_is(node, "Mul");
  for (unsigned k = 0; k < 2; k++) {
    const int32_t vector = node->input[1 - k];
    if (!is_vector(rewrite, vector, -1) || !norm_of(rewrite, node->input[k], out)) continue;
    if (scales && out->scale < 0) {
      out->scale = vector;
      return true;
    }
    if (scales || !out->centred || out->shift >= 0) continue;
    out->shift = vector;
    return is_vector(rewrite, out->scale, rewrite->network->value[vector].dim[0]);
  }
  return false;
}

static bool match(const pare__rewrite *rewrite, const pare__node *node, norm *out) {
  const bool is_mul = pare__node_is(node, "Mul"), is_add = pare__node_is(node, "Add");
  *out = (norm){.scale = PARE__NO_VALUE, .shift = PARE__NO_VALUE};
  if ((is_mul || pare__node_is(node, "Div")) && is_normalised(rewrite, node, out)) return true;
  if ((is_add || pare__node_is(node, "Sub")) && is_folded(rewrite, node, out)) return true;
  return (is_mul || is_add) && is_affine(rewrite, node, out);
}

/* Without a scale it is an operator of ours: the standard's must have one. */
static pare_status create(pare__network *network, const norm *from, const pare__node *in_place_of, pare__node *out) {
  const bool plain = from->scale < 0;
  const unsigned ninputs = plain ? 1 : from->shift < 0 ? 2 : 3;
  PARE__TRY(pare__node_create(network, plain ? "pare" : "", from->centred ? "LayerNormalization" : "RMSNormalization",
                              23, ninputs, 1, out));
  PARE__TRY(pare__node_set_float(network, out, "epsilon", (float)from->epsilon));
  const int32_t input[3] = {from->x, from->scale, from->shift};
  memcpy(out->input, input, ninputs * sizeof *input);
  out->name = in_place_of->name;
  out->output[0] = in_place_of->output[0];
  return PARE_OK;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    norm found;
    if (!pare__rewrite_alive(&rewrite, i) || node->ninputs != 2 || node->noutputs < 1 || node->output[0] < 0) continue;
    if (!match(&rewrite, node, &found) || !pare__keeps_rank(&rewrite, node->output[0], found.x, 1)) continue;
    pare__node one;
    status = create(network, &found, node, &one);
    if (status == PARE_OK) status = pare__rewrite_become(&rewrite, i, one);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_layer_norm = {
    "layer-norm", "layer and RMS normalisation written out become one node, with the scale and shift after it", run};
