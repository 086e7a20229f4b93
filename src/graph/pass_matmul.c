/* A product takes in scalars before it, and the scalar, the bias, the activation and the residual that follow it.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/gemm.h>
#include <string.h>

#include "graph/pass.h"

static bool is_product(const pare__node *node) {
  static const char *const ours[] = {"FusedMatMul", "QuantisedMatMul", "SparseMatMul", "MatMulNBits"};
  if (pare__node_is(node, "MatMul") || pare__fused_matmul(node)) return true;
  if (strcmp(node->op_type, "MatMulNBits") == 0 && strcmp(node->domain, "com.microsoft") == 0) return true;
  for (size_t i = 0; i < PARE__COUNT(ours) && strcmp(node->domain, "pare") == 0; i++)
    if (strcmp(node->op_type, ours[i]) == 0) return true;
  return false;
}

/* The product that makes `value` for one reader alone. */
static const pare__node *product_of(const pare__rewrite *rewrite, int32_t value) {
  if (value < 0 || rewrite->producer[value] < 0 || rewrite->uses[value] != 1) return NULL;
  const pare__node *node = &rewrite->graph->node[rewrite->producer[value]];
  return node->op && is_product(node) ? node : NULL;
}

/* Products of quantised weights have their bias elsewhere, and are of floats whatever their factors are. */
static bool is_blocks(const pare__node *node) { return strcmp(node->op_type, "MatMulNBits") == 0; }
static bool is_quantised(const pare__node *node) {
  return strcmp(node->op_type, "QuantisedMatMul") == 0 || strcmp(node->op_type, "SparseMatMul") == 0;
}
static unsigned bias_input(const pare__node *node) { return is_blocks(node) ? 5 : 2; }
static bool has_bias(const pare__node *node) { return pare__node_has(node, bias_input(node)); }
static unsigned residual_input(const pare__node *node) {
  return is_blocks(node) ? 6 : strcmp(node->op_type, "QuantisedMatMul") == 0 ? 7 : is_quantised(node) ? 5 : 3;
}
static bool has_residual(const pare__node *node) {
  return !pare__node_is(node, "Gemm") && pare__node_has(node, residual_input(node));
}
/* Its factors are both integers when they are multiplied. */
static bool is_of_bytes(const pare__node *node) {
  return strcmp(node->op_type, "QuantisedMatMul") == 0 &&
         (pare__node_has(node, 5) || pare__node_int(node, "dynamic", 0));
}

/* The Gemm that makes `value` for one reader alone and is a product with a bias: with its epilogue, a FusedMatMul. */
static const pare__node *gemm_of(const pare__rewrite *rewrite, int32_t value) {
  const pare__node *node = pare__rewrite_only(rewrite, value, "Gemm");
  const bool is_plain = node && (node->ninputs < 3 || node->input[2] < 0 || pare__node_float(node, "beta", 1) == 1);
  return is_plain ? node : NULL;
}

static bool has_activation(const pare__node *node) { return pare__node_int(node, "activation", 0) != 0; }

/* Node i becomes the product `from`, with room for a bias and a residual, that makes node i's output. */
static pare_status take_over(pare__rewrite *rewrite, size_t i, const pare__node *from, pare__node *out) {
  pare__network *network = rewrite->network;
  const char *op_type = is_blocks(from) || is_quantised(from) ? from->op_type : "FusedMatMul";
  const unsigned ninputs = PARE__MAX(PARE__MAX(from->ninputs, bias_input(from) + 1), residual_input(from) + 1);
  PARE__TRY(pare__node_create(network, "pare", op_type, 1, ninputs, 1, out));
  out->name = from->name;
  for (unsigned k = 0; k < from->ninputs; k++) out->input[k] = from->input[k];
  out->output[0] = rewrite->graph->node[i].output[0];
  out->nattributes = from->nattributes;
  out->attribute = from->attribute;
  return PARE_OK;
}

/* Integer products have no epilogue: the type of a factor, or of what they are to take in, must be known to be a
 * float. */
static bool is_float(const pare__rewrite *rewrite, const pare__node *product, int32_t other) {
  if (is_blocks(product) || is_quantised(product)) return true;
  const int32_t values[3] = {product->input[0], product->input[1], other};
  for (unsigned k = 0; k < 3; k++) {
    if (values[k] < 0) continue;
    pare_dtype dtype;
    const int32_t type = rewrite->network->value[values[k]].onnx_dtype;
    if (pare__onnx_dtype_to_pare(type, &dtype)) return pare__dtype_is_float(dtype);
  }
  return false;
}

/* ---- what is taken in ---- */

/* Has the product a dimension, whatever the ranks of its factors are? That of two vectors has none. */
static bool has_dimensions(const pare__rewrite *rewrite, const pare__node *product) {
  return is_blocks(product) || is_quantised(product) || pare__value_rank(rewrite, product->input[0]) > 1 ||
         pare__value_rank(rewrite, product->input[1]) > 1;
}

static pare_status take_scalar(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  const bool divides = pare__node_is(node, "Div");
  double scalar;
  for (unsigned k = 0; k < (divides ? 1U : 2U); k++) {
    const pare__node *product = product_of(rewrite, node->input[k]);
    const int32_t other = node->input[1 - k];
    if (!product || has_bias(product) || has_activation(product) || has_residual(product)) continue;
    if (!is_float(rewrite, product, other) || is_of_bytes(product)) continue;
    if (!pare__value_number(rewrite->network, other, &scalar) || (divides && scalar == 0)) continue;
    const int rank = rewrite->network->value[other].rank; /* it could give the product one more dimension */
    if (rank > 1 || (rank == 1 && !has_dimensions(rewrite, product))) continue;
    pare__node fused;
    const double alpha = (double)pare__node_float(product, "alpha", 1) * (divides ? 1 / scalar : scalar);
    PARE__TRY(take_over(rewrite, i, product, &fused));
    PARE__TRY(pare__node_set_float(rewrite->network, &fused, "alpha", (float)alpha));
    *done = true;
    return pare__rewrite_become(rewrite, i, fused);
  }
  return PARE_OK;
}

/* Is it a vector of as many elements as the second factor has columns? */
static bool is_row(const pare__rewrite *rewrite, const pare__node *product, int32_t bias) {
  if (bias < 0) return false;
  const pare__value *row = &rewrite->network->value[bias], *b = &rewrite->network->value[product->input[1]];
  if (is_blocks(product)) return row->rank == 1 && row->dim[0] > 0 && row->dim[0] == pare__node_int(product, "N", 0);
  const bool transposed = pare__node_int(product, "transB", 0) != 0;
  return row->rank == 1 && b->rank >= 2 && row->dim[0] > 0 && row->dim[0] == b->dim[b->rank - (transposed ? 2 : 1)];
}

/* Can the product, which has none, add the vector as its bias? */
static bool fits_bias(const pare__rewrite *rewrite, const pare__node *product, int32_t bias) {
  return !has_bias(product) && !pare__node_is(product, "Gemm") && is_row(rewrite, product, bias);
}

static pare_status take_bias(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  for (unsigned k = 0; k < 2; k++) {
    const pare__node *product = product_of(rewrite, node->input[k]);
    const int32_t bias = node->input[1 - k];
    if (!product || has_bias(product) || has_activation(product) || !is_row(rewrite, product, bias)) continue;
    if (rewrite->producer[bias] > rewrite->producer[node->input[k]]) continue; /* it is made after the product */
    if (!is_float(rewrite, product, bias)) continue;
    pare__node fused;
    PARE__TRY(take_over(rewrite, i, product, &fused));
    fused.input[bias_input(product)] = bias;
    *done = true;
    return pare__rewrite_become(rewrite, i, fused);
  }
  return PARE_OK;
}

static bool is_of(const pare__node *node, const char *domain, const char *op_type) {
  return strcmp(node->op_type, op_type) == 0 && strcmp(node->domain, domain) == 0;
}

static pare_activation activation_of(const pare__node *node) {
  static const struct {
    const char *domain, *op_type;
    pare_activation activation;
  } known[] = {{"", "Relu", PARE_ACTIVATION_RELU},
               {"", "Tanh", PARE_ACTIVATION_TANH},
               {"", "Sigmoid", PARE_ACTIVATION_SIGMOID},
               {"", "Swish", PARE_ACTIVATION_SILU},
               {"", "Gelu", PARE_ACTIVATION_GELU},
               {"com.microsoft", "Gelu", PARE_ACTIVATION_GELU},
               {"com.microsoft", "BiasGelu", PARE_ACTIVATION_GELU},
               {"com.microsoft", "FastGelu", PARE_ACTIVATION_GELU_TANH}};
  for (size_t i = 0; i < PARE__COUNT(known); i++) {
    if (!is_of(node, known[i].domain, known[i].op_type) || pare__node_attribute(node, "alpha")) continue;
    const pare__onnx_attribute *form = pare__node_attribute(node, "approximate");
    const bool with_tanh = form && form->s.nbytes == 4 && memcmp(form->s.data, "tanh", 4) == 0;
    return with_tanh ? PARE_ACTIVATION_GELU_TANH : known[i].activation;
  }
  return PARE_ACTIVATION_NONE;
}

static pare_status take_activation(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  const pare_activation activation = activation_of(node);
  const pare__node *product = activation ? product_of(rewrite, node->input[0]) : NULL;
  if (activation && !product) product = gemm_of(rewrite, node->input[0]);
  const bool of_floats = activation != PARE_ACTIVATION_RELU;                      /* the others have no integers */
  const int32_t bias = pare__node_has(node, 1) ? node->input[1] : PARE__NO_VALUE; /* of BiasGelu and FastGelu */
  if (product && bias >= 0 && !fits_bias(rewrite, product, bias)) return PARE_OK;
  if (!product || has_activation(product) || has_residual(product) ||
      !(of_floats || is_float(rewrite, product, PARE__NO_VALUE)))
    return PARE_OK;
  pare__node fused;
  PARE__TRY(take_over(rewrite, i, product, &fused));
  PARE__TRY(pare__node_set_int(rewrite->network, &fused, "activation", activation));
  if (bias >= 0) fused.input[bias_input(product)] = bias;
  *done = true;
  return pare__rewrite_become(rewrite, i, fused);
}

/* The same behind a Reshape, which an activation passes through: GPT-2's layers are products of flattened rows. */
static pare_status take_activation_behind(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  const pare_activation activation = node->ninputs == 1 ? activation_of(node) : PARE_ACTIVATION_NONE;
  const pare__node *view = activation ? pare__rewrite_only(rewrite, node->input[0], "Reshape") : NULL;
  const pare__node *product = view ? product_of(rewrite, view->input[0]) : NULL;
  if (view && !product) product = gemm_of(rewrite, view->input[0]);
  if (!product || has_activation(product) || has_residual(product)) return PARE_OK;
  if (activation == PARE_ACTIVATION_RELU && !is_float(rewrite, product, PARE__NO_VALUE)) return PARE_OK;
  const size_t place = (size_t)rewrite->producer[view->input[0]];
  pare__node fused, reshape;
  PARE__TRY(take_over(rewrite, place, product, &fused));
  PARE__TRY(pare__node_set_int(rewrite->network, &fused, "activation", activation));
  PARE__TRY(pare__node_create(rewrite->network, "", "Reshape", view->opset, view->ninputs, 1, &reshape));
  memcpy(reshape.input, view->input, view->ninputs * sizeof *view->input);
  reshape.name = view->name;
  reshape.nattributes = view->nattributes;
  reshape.attribute = view->attribute;
  reshape.output[0] = node->output[0];
  PARE__TRY(pare__rewrite_become(rewrite, place, fused));
  *done = true;
  return pare__rewrite_become(rewrite, i, reshape);
}

/* Is what node i makes read by nobody but a norm that adds its summands itself? */
static bool goes_to_norm(const pare__rewrite *rewrite, size_t i) {
  const int32_t value = rewrite->graph->node[i].output[0];
  for (size_t k = i + 1; rewrite->uses[value] == 1 && k < rewrite->graph->nnodes; k++) {
    const pare__node *node = &rewrite->graph->node[k];
    for (unsigned m = 0; pare__rewrite_alive(rewrite, k) && m < node->ninputs; m++)
      if (node->input[m] == value) return m == 0 && pare__norm_takes_sums(rewrite, node);
  }
  return false;
}

/* Something that is computed and added to a product with weights: what is added to one of two computed factors is the
 * mask of an attention. The operator sees if it broadcasts. Where both are products, the later one takes the other in.
 */
static pare_status take_residual(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i], *product = NULL;
  int32_t residual = PARE__NO_VALUE;
  for (unsigned k = 0; k < 2; k++) {
    const pare__node *one = product_of(rewrite, node->input[k]);
    if (!one) one = gemm_of(rewrite, node->input[k]);
    if (!one || !rewrite->network->value[one->input[1]].constant) continue;
    if (has_activation(one) || has_residual(one) || is_of_bytes(one) || (product && one < product)) continue;
    product = one;
    residual = node->input[1 - k];
  }
  if (!product || rewrite->network->value[residual].constant || !is_float(rewrite, product, residual)) return PARE_OK;
  if (goes_to_norm(rewrite, i)) return PARE_OK;
  pare__node fused;
  PARE__TRY(take_over(rewrite, i, product, &fused));
  fused.input[residual_input(&fused)] = residual;
  *done = true;
  return pare__rewrite_become(rewrite, i, fused);
}

/* value = x times a scalar, for one reader alone? */
static bool is_scaled(const pare__rewrite *rewrite, int32_t value, int32_t *x, int32_t *scalar, double *factor) {
  const pare__node *product = pare__rewrite_only(rewrite, value, "Mul");
  const pare__node *quotient = pare__rewrite_only(rewrite, value, "Div");
  const pare__node *node = product ? product : quotient;
  for (unsigned k = product ? 0 : 1; node && node->ninputs == 2 && k < 2; k++) {
    if (!pare__value_number(rewrite->network, node->input[k], factor) || (quotient && *factor == 0)) continue;
    if (rewrite->network->value[node->input[k]].rank > 1) continue;
    *x = node->input[1 - k];
    *scalar = node->input[k];
    if (quotient) *factor = 1 / *factor;
    return true;
  }
  return false;
}

/* The node that makes the value for one reader alone and shows the same elements otherwise; NULL: none does. */
static pare__node *view_of(const pare__rewrite *rewrite, int32_t value) {
  static const char *const names[] = {"Transpose", "Reshape", "Unsqueeze", "Squeeze"};
  pare__node *found = NULL;
  for (size_t i = 0; i < PARE__COUNT(names) && !found; i++) found = pare__rewrite_only(rewrite, value, names[i]);
  return found;
}

/* Scalars that the factors of product i are multiplied by become a part of it, also those behind views. */
static pare_status take_factors(pare__rewrite *rewrite, size_t i, bool *done) {
  for (unsigned k = 0; k < 2; k++) {
    const pare__node *product = &rewrite->graph->node[i];
    pare__node *first = NULL;
    int32_t from = product->input[k], x, scalar;
    double factor;
    for (pare__node *view = view_of(rewrite, from); view; view = view_of(rewrite, from)) {
      first = view;
      from = view->input[0];
    }
    if (!is_scaled(rewrite, from, &x, &scalar, &factor)) continue;
    if (!is_float(rewrite, product, scalar)) continue;
    pare__node fused;
    const double alpha = (double)pare__node_float(product, "alpha", 1) * factor;
    PARE__TRY(take_over(rewrite, i, product, &fused));
    PARE__TRY(pare__node_set_float(rewrite->network, &fused, "alpha", (float)alpha));
    if (first) {
      rewrite->uses[from]--;
      rewrite->uses[x]++;
      first->input[0] = x;
    } else {
      fused.input[k] = x;
    }
    *done = true;
    PARE__TRY(pare__rewrite_become(rewrite, i, fused));
  }
  return PARE_OK;
}

/* com.microsoft SkipLayerNormalization adds a bias to its summands: the product that makes one of them does so on the
 * way. */
static pare_status take_bias_of_norm(pare__rewrite *rewrite, size_t i) {
  enum { BIAS = 4 };
  pare__node *node = &rewrite->graph->node[i];
  for (unsigned k = 0; k < 2 && pare__node_has(node, BIAS); k++) {
    const pare__node *product = product_of(rewrite, node->input[k]);
    const int32_t bias = node->input[BIAS];
    if (!product || has_activation(product) || !rewrite->network->value[bias].constant) continue;
    if (!fits_bias(rewrite, product, bias) || !is_float(rewrite, product, bias)) continue;
    const size_t place = (size_t)rewrite->producer[node->input[k]];
    pare__node fused;
    PARE__TRY(take_over(rewrite, place, product, &fused));
    fused.input[bias_input(product)] = bias;
    PARE__TRY(pare__rewrite_become(rewrite, place, fused));
    rewrite->uses[bias]--;
    node->input[BIAS] = PARE__NO_VALUE;
  }
  return PARE_OK;
}

static pare_status fuse(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  *done = false;
  if (node->noutputs < 1 || node->output[0] < 0 || node->ninputs < 1) return PARE_OK;
  if (is_product(node)) return take_factors(rewrite, i, done);
  if (is_of(node, "com.microsoft", "SkipLayerNormalization")) return take_bias_of_norm(rewrite, i);
  if (node->ninputs == 2 && (pare__node_is(node, "Mul") || pare__node_is(node, "Div")))
    return take_scalar(rewrite, i, done);
  if (node->ninputs == 2 && pare__node_is(node, "Add")) {
    PARE__TRY(take_bias(rewrite, i, done));
    return *done ? PARE_OK : take_residual(rewrite, i, done);
  }
  PARE__TRY(take_activation(rewrite, i, done));
  return *done ? PARE_OK : take_activation_behind(rewrite, i, done);
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    if (!pare__rewrite_alive(&rewrite, i)) continue;
    const pare__node *node = &graph->node[i];
    int32_t inputs[2] = {PARE__NO_VALUE, PARE__NO_VALUE};
    for (unsigned k = 0; k < 2 && k < node->ninputs; k++) inputs[k] = node->input[k];
    bool done;
    status = fuse(&rewrite, i, &done);
    /* the product that was taken over has no reader left */
    for (unsigned k = 0; k < 2 && done && status == PARE_OK; k++)
      if (inputs[k] >= 0 && rewrite.uses[inputs[k]] == 0 && rewrite.producer[inputs[k]] >= 0)
        pare__rewrite_remove(&rewrite, (size_t)rewrite.producer[inputs[k]]);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_matmul = {
    "matmul", "products take in scalars before them, and the scalar, bias, activation and residual after them", run};
