/* Integer products with the scales after them, as quantisers of dynamic activations write them, in one node.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   DynamicQuantizeLinear(x) -> q, s, z         QuantisedMatMul(q, W, -, w, -, s, z), or where no other node
 *   MatMulInteger(q, W, z, -) -> Cast ->        reads q, QuantisedMatMul(x, W, -, w) that quantises on the way
 *   Mul(s * w), in any order and association
 *
 * com.microsoft's MatMulIntegerToFloat and DynamicQuantizeMatMul say the same in one node; as ours they take in an
 * activation. A q that several products read is made once. */
#include <string.h>

#include "graph/pass.h"

enum { MOST_K = 65000 /* sums stay below 2^31 */ };

typedef struct product {
  int32_t a, a_scale, a_zero, b, b_scale, bias; /* a_scale NO_VALUE: a is a float */
} product;

static const pare__content *constant(const pare__rewrite *rewrite, int32_t value) {
  return value >= 0 ? rewrite->network->value[value].constant : NULL;
}

static const pare__node *dynamic_quantiser(const pare__rewrite *rewrite, int32_t value, unsigned output) {
  const pare__node *node = value >= 0 ? pare__rewrite_made_by(rewrite, value, "DynamicQuantizeLinear") : NULL;
  return node && node->noutputs > output && node->output[output] == value ? node : NULL;
}

/* Weights that the kernels take: a constant matrix of bytes whose zero point is the middle, with a scale of one element
 * or one for each column. */
static bool weights_fit(const pare__rewrite *rewrite, int32_t b, int32_t b_scale, int32_t b_zero) {
  const pare__content *data = constant(rewrite, b), *scale = constant(rewrite, b_scale);
  if (!data || (data->dtype != PARE_I8 && data->dtype != PARE_U8) || data->shape.rank != 2 || data->count == 0)
    return false;
  if (data->shape.dim[0] > MOST_K || !scale || scale->dtype != PARE_F32) return false;
  if (scale->count != 1 && scale->count != (size_t)data->shape.dim[1]) return false;
  return pare__value_is_all(rewrite->network, b_zero, data->dtype == PARE_U8 ? 128 : 0);
}

static int32_t input_of(const pare__node *node, unsigned i) {
  return pare__node_has(node, i) ? node->input[i] : PARE__NO_VALUE;
}

/* A's scale and zero point are one number each: they are made by DynamicQuantizeLinear, or constants. */
static bool is_one_scale(const pare__rewrite *rewrite, int32_t scale, int32_t zero) {
  const pare__content *step = constant(rewrite, scale), *middle = constant(rewrite, zero);
  const bool known =
      step && step->count == 1 && step->dtype == PARE_F32 && (zero < 0 || (middle && middle->count == 1));
  return known || (dynamic_quantiser(rewrite, scale, 1) && dynamic_quantiser(rewrite, zero, 2));
}

static bool is_microsoft(const pare__node *node, const char *op_type) {
  return strcmp(node->op_type, op_type) == 0 && strcmp(node->domain, "com.microsoft") == 0;
}

static bool bias_fits(const pare__rewrite *rewrite, int32_t bias) {
  const pare__content *row = constant(rewrite, bias);
  return bias < 0 || (row && row->shape.rank == 1 && row->dtype == PARE_F32);
}

static bool one_node(const pare__rewrite *rewrite, const pare__node *node, product *out) {
  if (is_microsoft(node, "MatMulIntegerToFloat")) {
    *out = (product){input_of(node, 0), input_of(node, 2), input_of(node, 4),
                     input_of(node, 1), input_of(node, 3), input_of(node, 6)};
    return is_one_scale(rewrite, out->a_scale, out->a_zero) &&
           weights_fit(rewrite, out->b, out->b_scale, input_of(node, 5)) && bias_fits(rewrite, out->bias);
  }
  if (!is_microsoft(node, "DynamicQuantizeMatMul")) return false;
  *out = (product){input_of(node, 0), PARE__NO_VALUE,    PARE__NO_VALUE,
                   input_of(node, 1), input_of(node, 2), input_of(node, 4)};
  return weights_fit(rewrite, out->b, out->b_scale, input_of(node, 3)) && bias_fits(rewrite, out->bias);
}

/* The integer product behind a Cast to f32, of which this is the only reader. */
static const pare__node *cast_product(const pare__rewrite *rewrite, int32_t value) {
  const pare__node *cast = pare__rewrite_only(rewrite, value, "Cast");
  if (!cast || pare__node_int(cast, "to", 0) != PARE__ONNX_FLOAT) return NULL;
  return pare__rewrite_only(rewrite, cast->input[0], "MatMulInteger");
}

/* Opens a product of values into factors; constants are kept as values. */
static bool open_factors(const pare__rewrite *rewrite, int32_t value, bool root, int32_t *factor, unsigned most,
                         unsigned *count) {
  const pare__node *mul = pare__rewrite_made_by(rewrite, value, "Mul");
  if (mul && mul->ninputs == 2 && (root || rewrite->uses[value] == 1))
    return open_factors(rewrite, mul->input[0], false, factor, most, count) &&
           open_factors(rewrite, mul->input[1], false, factor, most, count);
  if (*count == most) return false;
  factor[(*count)++] = value;
  return true;
}

/* Mul of a cast integer product, the scale of A and the scale of B, however they are associated. A scale of both that
 * several products read is not opened, but one of a dynamic quantiser and a constant is. */
static bool written_out(const pare__rewrite *rewrite, const pare__node *node, product *out) {
  int32_t factor[3];
  unsigned count = 0;
  const pare__node *integers = NULL;
  if (!pare__node_is(node, "Mul") || !open_factors(rewrite, node->output[0], true, factor, 3, &count) || count != 3)
    return false;
  *out = (product){.a_scale = PARE__NO_VALUE, .b_scale = PARE__NO_VALUE, .bias = PARE__NO_VALUE};
  for (unsigned i = 0; i < 3; i++) {
    const pare__node *found = cast_product(rewrite, factor[i]);
    if (found)
      integers = found;
    else if (constant(rewrite, factor[i]))
      out->b_scale = factor[i];
    else
      out->a_scale = factor[i];
  }
  if (!integers || !dynamic_quantiser(rewrite, out->a_scale, 1)) return false;
  out->a = input_of(integers, 0);
  out->b = input_of(integers, 1);
  out->a_zero = input_of(integers, 2);
  return is_one_scale(rewrite, out->a_scale, out->a_zero) &&
         weights_fit(rewrite, out->b, out->b_scale, input_of(integers, 3));
}

static pare_status make(pare__rewrite *rewrite, size_t i, const product *from) {
  const pare__node *node = &rewrite->graph->node[i];
  pare__node fused;
  PARE__TRY(pare__node_create(rewrite->network, "pare", "QuantisedMatMul", 1, 7, 1, &fused));
  const int32_t inputs[] = {from->a, from->b, from->bias, from->b_scale, PARE__NO_VALUE, from->a_scale, from->a_zero};
  memcpy(fused.input, inputs, sizeof inputs);
  fused.name = node->name;
  fused.output[0] = node->output[0];
  if (from->a_scale < 0) PARE__TRY(pare__node_set_int(rewrite->network, &fused, "dynamic", 1));
  return pare__rewrite_become(rewrite, i, fused);
}

/* A product that alone reads what DynamicQuantizeLinear makes quantises on the way. */
static pare_status quantise_inside(pare__rewrite *rewrite, size_t i) {
  const pare__node *node = &rewrite->graph->node[i];
  if (strcmp(node->op_type, "QuantisedMatMul") != 0 || !pare__node_has(node, 5)) return PARE_OK;
  const pare__node *quantiser = dynamic_quantiser(rewrite, node->input[0], 0);
  if (!quantiser || quantiser->noutputs != 3 || node->input[5] != quantiser->output[1] ||
      input_of(node, 6) != quantiser->output[2])
    return PARE_OK;
  for (unsigned k = 0; k < 3; k++)
    if (rewrite->uses[quantiser->output[k]] != 1) return PARE_OK;
  pare__node fused;
  PARE__TRY(pare__node_create(rewrite->network, "pare", "QuantisedMatMul", 1, 7, 1, &fused));
  memcpy(fused.input, node->input, node->ninputs * sizeof *fused.input);
  fused.input[0] = quantiser->input[0];
  fused.input[5] = fused.input[6] = PARE__NO_VALUE;
  fused.name = node->name;
  fused.output[0] = node->output[0];
  PARE__TRY(pare__node_set_int(rewrite->network, &fused, "dynamic", 1));
  PARE__TRY(pare__node_set_int(rewrite->network, &fused, "activation", pare__node_int(node, "activation", 0)));
  return pare__rewrite_become(rewrite, i, fused);
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    product from;
    if (!pare__rewrite_alive(&rewrite, i) || node->noutputs < 1 || node->output[0] < 0) continue;
    status = one_node(&rewrite, node, &from) || written_out(&rewrite, node, &from) ? make(&rewrite, i, &from)
                                                                                   : quantise_inside(&rewrite, i);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_integer = {"integer", "integer products with the scales after them become one node", run};
