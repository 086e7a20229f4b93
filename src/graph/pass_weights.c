/* Weights stay as small as they are stored: products and Gather read integers and halves themselves.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   DequantizeLinear(integers) -> MatMul, Gemm    becomes QuantisedMatMul, whose kernels expand a block at a time
 *   Cast(halves) -> MatMul, Gemm                  the product reads the halves
 *   DecodeNM(N:M sparse), and DequantizeLinear of it, -> MatMul, Gemm    becomes SparseMatMul
 *   either -> Gather                              becomes GatherDequantised: only rows that are asked for are expanded
 *
 * A Transpose between weights and product is a flag. Where A is DequantizeLinear of bytes with one scale, and B has a
 * scale a column and no zero point, the product is one of integers. */
#include <string.h>

#include "graph/pass.h"
#include "graph/sparse.h"

/* Constant integers with what makes floats of them; or halves, without a scale. */
typedef struct source {
  int32_t data, scale, zero;
  int64_t axis, block;
  bool transposed; /* a matrix is read the other way round */
} source;

static const pare__content *constant(const pare__rewrite *rewrite, int32_t value) {
  return value >= 0 ? rewrite->network->value[value].constant : NULL;
}

static bool is_dequantise(const pare__node *node) {
  return strcmp(node->op_type, "DequantizeLinear") == 0 &&
         (*node->domain == '\0' || strcmp(node->domain, "com.microsoft") == 0);
}

static const pare__node *maker(const pare__rewrite *rewrite, int32_t value) {
  if (value < 0 || rewrite->producer[value] < 0) return NULL;
  const pare__node *node = &rewrite->graph->node[rewrite->producer[value]];
  return node->op ? node : NULL;
}

static bool is_swap(const pare__node *node) {
  const pare__onnx_attribute *perm = pare__node_attribute(node, "perm");
  return pare__node_is(node, "Transpose") &&
         (!perm || (perm->ints.count == 2 && perm->ints.items[0] == 1 && perm->ints.items[1] == 0));
}

static bool is_byte(pare_dtype dtype) { return dtype == PARE_I8 || dtype == PARE_U8; }
static bool is_half(pare_dtype dtype) { return dtype == PARE_F16 || dtype == PARE_BF16; }

static bool reads_integers(const pare__rewrite *rewrite, const pare__node *node, source *out) {
  const pare__content *data = constant(rewrite, node->input[0]), *scale;
  if (!is_dequantise(node) || !data || !is_byte(data->dtype) || !pare__node_has(node, 1)) return false;
  scale = constant(rewrite, node->input[1]);
  if (!scale || (scale->dtype != PARE_F32 && !is_half(scale->dtype))) return false;
  *out = (source){node->input[0],
                  node->input[1],
                  pare__node_has(node, 2) ? node->input[2] : PARE__NO_VALUE,
                  pare__node_int(node, "axis", 1),
                  pare__node_int(node, "block_size", 0),
                  false};
  if (out->axis < 0) out->axis += data->shape.rank;
  /* another type of result than the scale's */
  return pare__node_int(node, "output_dtype", 0) == 0 && (out->zero < 0 || constant(rewrite, out->zero));
}

static bool reads_halves(const pare__rewrite *rewrite, const pare__node *node, source *out) {
  const pare__content *data = constant(rewrite, node->input[0]);
  if (!pare__node_is(node, "Cast") || !data || !is_half(data->dtype)) return false;
  *out = (source){node->input[0], PARE__NO_VALUE, PARE__NO_VALUE, 0, 0, false};
  return pare__node_int(node, "to", 0) == PARE__ONNX_FLOAT;
}

/* What a value is made of. */
static bool find_source(const pare__rewrite *rewrite, int32_t value, source *out) {
  const pare__node *node = maker(rewrite, value);
  const bool swapped = node && node->ninputs == 1 && is_swap(node);
  if (swapped) node = maker(rewrite, node->input[0]);
  if (!node || node->ninputs < 1 || (!reads_integers(rewrite, node, out) && !reads_halves(rewrite, node, out)))
    return false;
  out->transposed = swapped;
  return !swapped || constant(rewrite, out->data)->shape.rank == 2;
}

/* ---- products ---- */

/* Does the layout of the scales fit the kernels? One, one for each column of the product, or blocks along K. */
static bool fits_product(const pare__rewrite *rewrite, const source *from, bool transposed) {
  const pare__shape *b = &constant(rewrite, from->data)->shape;
  const pare__content *scale = constant(rewrite, from->scale), *zero = constant(rewrite, from->zero);
  if (b->rank != 2 || b->dim[0] == 0 || b->dim[1] == 0) return false;
  const int k_axis = transposed ? 1 : 0;
  const size_t blocks = from->block > 0 ? (size_t)pare__div_up(b->dim[k_axis], from->block) : 1;
  if (scale->count != 1 &&
      (scale->count != blocks * (size_t)b->dim[!k_axis] || from->axis != (from->block > 0 ? k_axis : !k_axis)))
    return false;
  return !zero || zero->count == scale->count;
}

/* The integer product that this one can be: node A's DequantizeLinear, or NULL. */
static const pare__node *integer_factor(const pare__rewrite *rewrite, int32_t a, const source *b, bool transposed) {
  const int64_t most_k = 65000; /* sums stay below 2^31 */
  const pare__content *data = constant(rewrite, b->data), *scale = constant(rewrite, b->scale);
  const int32_t type = rewrite->network->value[b->data].onnx_dtype;
  const pare__node *node = maker(rewrite, a);
  if (!node || !is_dequantise(node) || pare__node_int(node, "block_size", 0) || pare__node_int(node, "output_dtype", 0))
    return NULL;
  bool is_signed;
  if (pare__narrow_bits(type, &is_signed) > 0 || b->block > 0 || scale->dtype != PARE_F32 ||
      data->shape.dim[transposed] > most_k ||
      !pare__value_is_all(rewrite->network, b->zero, data->dtype == PARE_U8 ? 128 : 0))
    return NULL;
  const pare__content *step = constant(rewrite, node->input[1]);
  const pare__content *zero = constant(rewrite, pare__node_has(node, 2) ? node->input[2] : PARE__NO_VALUE);
  const bool known =
      step && step->count == 1 && step->dtype == PARE_F32 && (!pare__node_has(node, 2) || (zero && zero->count == 1));
  pare_dtype dtype;
  const int32_t x = rewrite->network->value[node->input[0]].onnx_dtype;
  const bool bytes = zero ? is_byte(zero->dtype) : pare__onnx_dtype_to_pare(x, &dtype) && is_byte(dtype);
  return known && bytes && !constant(rewrite, node->input[0]) ? node : NULL;
}

/* Products whose first factor is as it is. */
static bool is_plain_product(const pare__node *node) {
  const bool fused = strcmp(node->op_type, "FusedMatMul") == 0;
  if (pare__node_has(node, 3))
    return false; /* a residual, which was taken in where weights were not what they are now */
  if (pare__node_is(node, "MatMul")) return true;
  if (!fused && !pare__node_is(node, "Gemm")) return false;
  return !pare__node_int(node, "transA", 0) && !pare__node_int(node, "transBatchA", 0) &&
         !pare__node_int(node, "transBatchB", 0);
}

static pare_status become_quantised(pare__rewrite *rewrite, size_t i, const source *from, bool transposed) {
  const pare__node *node = &rewrite->graph->node[i], *a = integer_factor(rewrite, node->input[0], from, transposed);
  pare__node product;
  const float alpha = pare__node_float(node, "alpha", 1);
  if (alpha != 1) a = NULL; /* integer products have none */
  PARE__TRY(pare__node_create(rewrite->network, "pare", "QuantisedMatMul", 1, 7, 1, &product));
  product.name = node->name;
  const int32_t inputs[] = {a ? a->input[0] : node->input[0],
                            from->data,
                            pare__node_has(node, 2) ? node->input[2] : PARE__NO_VALUE,
                            from->scale,
                            from->zero,
                            a ? a->input[1] : PARE__NO_VALUE,
                            a && pare__node_has(a, 2) ? a->input[2] : PARE__NO_VALUE};
  memcpy(product.input, inputs, sizeof inputs);
  product.output[0] = node->output[0];
  PARE__TRY(pare__node_set_int(rewrite->network, &product, "transB", transposed));
  PARE__TRY(pare__node_set_int(rewrite->network, &product, "block_size", from->block));
  PARE__TRY(pare__node_set_int(rewrite->network, &product, "activation", pare__node_int(node, "activation", 0)));
  PARE__TRY(pare__node_set_float(rewrite->network, &product, "alpha", alpha));
  return pare__rewrite_become(rewrite, i, product);
}

/* The bias of an integer product is a row; that of Gemm must not be scaled. */
static bool bias_fits(const pare__rewrite *rewrite, const pare__node *node) {
  if (!pare__node_has(node, 2)) return true;
  const pare__value *bias = &rewrite->network->value[node->input[2]];
  return pare__node_float(node, "beta", 1) == 1 && bias->rank == 1 && bias->dim[0] > 1;
}

/* ---- products of N:M sparse weights ---- */

/* Is the constant one number, or one for each of `count` rows? */
static bool is_scale(const pare__content *scale, int64_t count) {
  return scale && (scale->dtype == PARE_F32 || is_half(scale->dtype)) &&
         (scale->count == 1 || scale->count == (size_t)count);
}

/* The DecodeNM whose matrix, perhaps dequantised by *scale, is the second factor with its inputs along axis *axis;
 * NULL: it is none. */
static const pare__node *find_sparse(const pare__rewrite *rewrite, int32_t value, int64_t *axis, int32_t *scale) {
  const pare__node *node = maker(rewrite, value), *dequantise = NULL;
  pare_sparse_layout layout;
  const bool swapped = node && node->ninputs == 1 && is_swap(node);
  if (swapped) node = maker(rewrite, node->input[0]);
  if (node && is_dequantise(node) && node->ninputs >= 2) {
    dequantise = node;
    node = maker(rewrite, node->input[0]);
  }
  if (!node || strcmp(node->op_type, "DecodeNM") != 0 || node->ninputs != 2) return NULL;
  const pare__content *values = constant(rewrite, node->input[0]), *indices = constant(rewrite, node->input[1]);
  if (!values || !indices || values->shape.rank != 2 || values->count == 0 ||
      !pare__sparse_weight_layout(values, indices, node, &layout) || layout.fill != 0)
    return NULL;
  *axis = pare__node_int(node, "axis", -1);
  if (*axis < 0) *axis += 2;
  *scale = dequantise ? dequantise->input[1] : PARE__NO_VALUE;
  if (layout.dtype == PARE_U8 || (layout.dtype == PARE_I8) != (dequantise != NULL)) return NULL;
  if (dequantise) {
    int64_t along = pare__node_int(dequantise, "axis", 1);
    if (along < 0) along += 2;
    if (!is_scale(constant(rewrite, *scale), layout.rows) || pare__node_int(dequantise, "block_size", 0) ||
        pare__node_int(dequantise, "output_dtype", 0) ||
        (constant(rewrite, *scale)->count != 1 && along != 1 - *axis) ||
        (pare__node_has(dequantise, 2) && !pare__value_is_all(rewrite->network, dequantise->input[2], 0)))
      return NULL;
  }
  if (swapped) *axis = 1 - *axis;
  return node;
}

static pare_status become_sparse(pare__rewrite *rewrite, size_t i, const pare__node *decode, int32_t scale) {
  static const char *const kept[] = {"n", "m"};
  const pare__node *node = &rewrite->graph->node[i];
  pare__node product;
  PARE__TRY(pare__node_create(rewrite->network, "pare", "SparseMatMul", 1, 5, 1, &product));
  product.name = node->name;
  const int32_t inputs[] = {node->input[0], decode->input[0], pare__node_has(node, 2) ? node->input[2] : PARE__NO_VALUE,
                            scale, decode->input[1]};
  memcpy(product.input, inputs, sizeof inputs);
  product.output[0] = node->output[0];
  for (unsigned k = 0; k < PARE__COUNT(kept); k++)
    PARE__TRY(pare__node_set_int(rewrite->network, &product, kept[k], pare__node_int(decode, kept[k], 0)));
  PARE__TRY(pare__node_set_int(rewrite->network, &product, "transB", 1));
  PARE__TRY(pare__node_set_int(rewrite->network, &product, "activation", pare__node_int(node, "activation", 0)));
  PARE__TRY(pare__node_set_float(rewrite->network, &product, "clip_low", pare__node_float(node, "clip_low", 0)));
  PARE__TRY(pare__node_set_float(rewrite->network, &product, "clip_high", pare__node_float(node, "clip_high", 0)));
  PARE__TRY(pare__node_set_float(rewrite->network, &product, "alpha", pare__node_float(node, "alpha", 1)));
  return pare__rewrite_become(rewrite, i, product);
}

static pare_status rewrite_sparse(pare__rewrite *rewrite, size_t i, bool *done) {
  const pare__node *node = &rewrite->graph->node[i];
  int64_t axis;
  int32_t scale;
  const pare__node *decode = find_sparse(rewrite, node->input[1], &axis, &scale);
  const bool transposed = pare__node_int(node, "transB", 0) != 0;
  *done = decode && axis == (transposed ? 1 : 0) && bias_fits(rewrite, node);
  return *done ? become_sparse(rewrite, i, decode, scale) : PARE_OK;
}

static pare_status rewrite_product(pare__rewrite *rewrite, size_t i) {
  const pare__node *node = &rewrite->graph->node[i];
  source from;
  bool done = false;
  if (is_plain_product(node) && pare__node_has(node, 1)) PARE__TRY(rewrite_sparse(rewrite, i, &done));
  if (done) return PARE_OK;
  if (!is_plain_product(node) || !pare__node_has(node, 1) || !find_source(rewrite, node->input[1], &from))
    return PARE_OK;
  const bool transposed = from.transposed != (pare__node_int(node, "transB", 0) != 0);
  if (from.scale >= 0)
    return fits_product(rewrite, &from, transposed) && bias_fits(rewrite, node)
               ? become_quantised(rewrite, i, &from, transposed)
               : PARE_OK;
  if (!from.transposed) {
    pare__rewrite_move_input(rewrite, i, 1, from.data);
    return PARE_OK;
  }
  if (!pare__node_is(node, "MatMul")) return PARE_OK;
  pare__node product;
  PARE__TRY(pare__node_create(rewrite->network, "pare", "FusedMatMul", 1, 2, 1, &product));
  product.name = node->name;
  product.input[0] = node->input[0];
  product.input[1] = from.data;
  product.output[0] = node->output[0];
  PARE__TRY(pare__node_set_int(rewrite->network, &product, "transB", 1));
  return pare__rewrite_become(rewrite, i, product);
}

/* ---- Gather ---- */

static pare_status rewrite_gather(pare__rewrite *rewrite, size_t i) {
  const pare__node *node = &rewrite->graph->node[i];
  source from;
  if (!pare__node_is(node, "Gather") || !find_source(rewrite, node->input[0], &from) || from.transposed) return PARE_OK;
  const int rank = constant(rewrite, from.data)->shape.rank;
  int64_t axis = pare__node_int(node, "axis", 0);
  if (axis < 0) axis += rank;
  if (rank < 1 || axis < 0 || axis >= rank || (from.block > 0 && from.axis == axis)) return PARE_OK;
  const pare__content *scale = constant(rewrite, from.scale), *zero = constant(rewrite, from.zero);
  if (zero && zero->count != scale->count) return PARE_OK;
  pare__node rows;
  PARE__TRY(pare__node_create(rewrite->network, "pare", "GatherDequantised", 1, 4, 1, &rows));
  rows.name = node->name;
  const int32_t inputs[] = {from.data, node->input[1], from.scale, from.zero};
  memcpy(rows.input, inputs, sizeof inputs);
  rows.output[0] = node->output[0];
  const int64_t to = scale ? pare__onnx_dtype_from_pare(scale->dtype) : PARE__ONNX_FLOAT;
  PARE__TRY(pare__node_set_int(rewrite->network, &rows, "axis", axis));
  PARE__TRY(pare__node_set_int(rewrite->network, &rows, "quantised_axis", PARE__MIN(from.axis, rank - 1)));
  PARE__TRY(pare__node_set_int(rewrite->network, &rows, "block_size", from.block));
  PARE__TRY(pare__node_set_int(rewrite->network, &rows, "to", to));
  return pare__rewrite_become(rewrite, i, rows);
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    const pare__node *node = &graph->node[i];
    if (!pare__rewrite_alive(&rewrite, i) || node->ninputs < 2 || node->noutputs < 1 || node->output[0] < 0) continue;
    status = rewrite_product(&rewrite, i);
    if (status == PARE_OK) status = rewrite_gather(&rewrite, i);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_weights = {"weights", "weights of integers and halves are read as they are stored", run};
