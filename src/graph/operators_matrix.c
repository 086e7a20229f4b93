/* Matrix products. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/quantised.h"
#include "graph/recurrent.h"

/* ---- weights packed once ---- */

/* Packs input 1 if it is a constant of one matrix (or of as many as there are batches). */
static pare_status pack(pare__call *call, pare__node *node, bool transposed) {
  if (!pare__call_has(call, 1) || call->input[1]->shape.rank < 2) return PARE_OK;
  if (!pare__dtype_is_float(call->input[1]->dtype) || call->input[1]->dtype == PARE_F64) return PARE_OK;
  if (pare__shape_elements(&call->input[1]->shape) == 0) return PARE_OK;
  pare_tensor *b;
  PARE__TRY(pare__call_tensor(call, 1, &b));
  pare_weights *weights;
  PARE__TRY(pare_weights_pack(b, transposed, &weights));
  node->prepared = weights;
  node->prepared_close = pare__weights_release;
  return PARE_OK;
}

/* ---- MatMul ---- */

pare_status pare__call_product_shape(const pare__call *call, const pare__shape *a, const pare__shape *b, int *rank,
                                     int64_t *dim) {
  char have[PARE__SHAPE_TEXT], other[PARE__SHAPE_TEXT];
  pare__shape left = *a, right = *b, batch;
  if (a->rank < 1 || b->rank < 1)
    return pare__call_fail(call, PARE_ERR_SHAPE, "a factor is a scalar: %s times %s",
                           pare__shape_text(a->rank, a->dim, have, sizeof have),
                           pare__shape_text(b->rank, b->dim, other, sizeof other));
  const int64_t inner_a = a->dim[a->rank - 1], inner_b = b->dim[b->rank == 1 ? 0 : b->rank - 2];
  if (inner_a != inner_b)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%s times %s: the inner dimensions %lld and %lld differ",
                           pare__shape_text(a->rank, a->dim, have, sizeof have),
                           pare__shape_text(b->rank, b->dim, other, sizeof other), (long long)inner_a,
                           (long long)inner_b);
  left.rank = PARE__MAX(a->rank - 2, 0);
  right.rank = PARE__MAX(b->rank - 2, 0);
  PARE__TRY(pare__shape_broadcast(&left, &right, &batch));
  *rank = batch.rank;
  memcpy(dim, batch.dim, sizeof batch.dim);
  if (a->rank > 1) dim[(*rank)++] = a->dim[a->rank - 2];
  if (b->rank > 1) dim[(*rank)++] = b->dim[b->rank - 1];
  return PARE_OK;
}

static bool is_integer(const pare__call *call) { return !pare__dtype_is_float(call->input[0]->dtype); }

/* Products of integers go through f64, which is exact below 2^53, where the device has it. */
static pare_status integer_product(pare__call *call, pare_tensor *a, pare_tensor *b, pare_tensor *out) {
  pare_tensor *wide_a, *wide_b, *wide;
  PARE__TRY(pare__call_cast(call, a, PARE_F64, &wide_a));
  PARE__TRY(pare__call_cast(call, b, PARE_F64, &wide_b));
  PARE__TRY(pare__call_scratch(call, PARE_F64, out->shape.rank, out->shape.dim, &wide));
  PARE__TRY(pare_gemm(wide_a, wide_b, NULL, NULL, wide));
  return pare_cast(wide, out);
}

static pare_status matmul(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_takes(call, 1));
  PARE__TRY(pare__call_takes(call, 0));
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &call->input[0]->shape, &call->input[1]->shape, &rank, dim));
  pare_tensor *a, *b, *out;
  PARE__TRY(pare__call_tensor(call, 0, &a));
  PARE__TRY(pare__call_output(call, 0, a->dtype, rank, dim, &out));
  const pare_weights *weights = call->node->prepared;
  if (weights) return pare_gemm_packed(a, weights, NULL, NULL, out);
  PARE__TRY(pare__call_tensor(call, 1, &b));
  return is_integer(call) ? integer_product(call, a, b, out) : pare_gemm(a, b, NULL, NULL, out);
}

/* com.microsoft MatMulInteger16: of 16 bits each; sums wrap modulo 2^32. */
static pare_status matmul_integer16(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  pare_tensor *a, *b, *wide, *out;
  PARE__TRY(pare__call_tensor(call, 0, &a));
  PARE__TRY(pare__call_tensor(call, 1, &b));
  const pare_tensor *const sides[2] = {a, b};
  for (int i = 0; i < 2; i++)
    if (sides[i]->dtype != PARE_I16 && sides[i]->dtype != PARE_U16)
      return pare__call_fail(call, PARE_ERR_TYPE, "input %d is %s; it must be i16 or u16", i,
                             pare_dtype_name(sides[i]->dtype));
  PARE__TRY(pare__call_product_shape(call, &a->shape, &b->shape, &rank, dim));
  PARE__TRY(pare__call_scratch(call, PARE_I64, rank, dim, &wide));
  PARE__TRY(integer_product(call, a, b, wide));
  const bool is_signed = a->dtype == PARE_I16 || b->dtype == PARE_I16;
  PARE__TRY(pare__call_output(call, 0, is_signed ? PARE_I32 : PARE_U32, rank, dim, &out));
  return pare_cast(wide, out);
}

static pare_status matmul_prepare(pare__call *call, pare__node *node) { return pack(call, node, false); }

/* ---- com.microsoft FusedMatMul, and what passes make: a product with its epilogue ---- */

/* transBatchA and transBatchB: the first axis goes to the rows, and the others move up. */
static pare_status move_batch(pare__call *call, pare_tensor **tensor) {
  int axes[PARE_MAX_RANK];
  const int rank = (*tensor)->shape.rank;
  if (rank < 3) return PARE_OK;
  for (int d = 0; d < rank; d++) axes[d] = d < rank - 2 ? d + 1 : d == rank - 2 ? 0 : d;
  return pare__call_permuted(call, *tensor, axes, tensor);
}

/* Attributes transA, transB (of the last two axes), alpha, activation; input 2: a bias; input 3: what is added last. */
static pare_status fused_matmul(pare__call *call) {
  const unsigned residual = 3;
  PARE__TRY(pare__call_check(call, 2, 4));
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.transpose_a = pare__call_get_int(call, "transA", 0) != 0;
  options.transpose_b = pare__call_get_int(call, "transB", 0) != 0;
  options.alpha = pare__call_get_float(call, "alpha", 1);
  options.activation = (pare_activation)pare__call_get_int(call, "activation", PARE_ACTIVATION_NONE);
  options.clip_low = pare__call_get_float(call, "clip_low", 0);
  options.clip_high = pare__call_get_float(call, "clip_high", 0);
  pare_tensor *a, *b = NULL, *bias, *out;
  PARE__TRY(pare__call_tensor(call, 0, &a));
  if (!call->node->prepared) PARE__TRY(pare__call_tensor(call, 1, &b));
  if (pare__call_get_int(call, "transBatchA", 0)) PARE__TRY(move_batch(call, &a));
  if (b && pare__call_get_int(call, "transBatchB", 0)) PARE__TRY(move_batch(call, &b));
  pare__shape a_shape = a->shape, b_shape = b ? b->shape : call->input[1]->shape;
  const bool swap[2] = {options.transpose_a && a_shape.rank > 1, options.transpose_b && b_shape.rank > 1};
  pare__shape *shapes[2] = {&a_shape, &b_shape};
  for (int i = 0; i < 2; i++) {
    int64_t *dim = shapes[i]->dim;
    const int last = shapes[i]->rank - 1;
    if (!swap[i]) continue;
    const int64_t kept = dim[last];
    dim[last] = dim[last - 1];
    dim[last - 1] = kept;
  }
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &a_shape, &b_shape, &rank, dim));
  PARE__TRY(pare__call_tensor(call, 2, &bias));
  PARE__TRY(pare__call_product_begin(call, residual, a->dtype, rank, dim, &options, &out));
  const pare_weights *weights = call->node->prepared;
  PARE__TRY(weights ? pare_gemm_packed(a, weights, bias, &options, out) : pare_gemm(a, b, bias, &options, out));
  return pare__call_product_end(call, residual, out);
}

static pare_status fused_matmul_prepare(pare__call *call, pare__node *node) {
  if (pare__call_get_int(call, "transBatchB", 0)) return PARE_OK;
  return pack(call, node, pare__call_get_int(call, "transB", 0) != 0);
}

/* ---- com.microsoft GemmFastGelu ---- */

/* gelu(x w + bias) by tanh */
static pare_status gemm_fast_gelu(pare__call *call) {
  PARE__TRY(fused_matmul(call));
  pare_tensor *out = call->output[0]->tensor;
  return pare_unary(PARE_UNARY_gelu_tanh, out, out);
}

/* ---- com.microsoft CDist ---- */

/* Distances of the rows of a [M, D] from those of b [N, D]: |a|^2 + |b|^2 - 2 a b, and its root. */
static pare_status distances(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  const bool squared = pare__call_text_is(call, "metric", "sqeuclidean", "sqeuclidean");
  pare_tensor *side[2], *sum[2], *product, *out;
  for (unsigned i = 0; i < 2; i++) PARE__TRY(pare__call_tensor(call, i, &side[i]));
  if (side[0]->shape.rank != 2 || side[1]->shape.rank != 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its inputs have ranks %d and %d; 2 and 2 are needed",
                           side[0]->shape.rank, side[1]->shape.rank);
  if (!squared && !pare__call_text_is(call, "metric", "sqeuclidean", "euclidean"))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its metric is neither euclidean nor sqeuclidean");
  const int64_t dim[2] = {side[0]->shape.dim[0], side[1]->shape.dim[0]};
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.transpose_b = true;
  options.alpha = -2;
  PARE__TRY(pare__call_scratch(call, side[0]->dtype, 2, dim, &product));
  PARE__TRY(pare_gemm(side[0], side[1], NULL, &options, product));
  for (int i = 0; i < 2; i++) {
    const int64_t each[2] = {i == 0 ? dim[0] : 1, i == 0 ? 1 : dim[1]};
    PARE__TRY(pare__call_scratch(call, side[i]->dtype, 1, &dim[i], &sum[i]));
    PARE__TRY(pare_reduce(side[i], PARE_REDUCTION_SUM_SQUARE, (const int[]){1}, 1, false, sum[i]));
    PARE__TRY(pare__call_reshaped(call, sum[i], 2, each, &sum[i]));
    PARE__TRY(pare_binary(PARE_BINARY_add, product, sum[i], product));
  }
  PARE__TRY(pare__call_output(call, 0, side[0]->dtype, 2, dim, &out));
  PARE__TRY(pare_unary(PARE_UNARY_relu, product, out)); /* what is left of nearly nothing may be below it */
  return squared ? PARE_OK : pare_unary(PARE_UNARY_sqrt, out, out);
}

/* ---- Gemm ---- */

/* alpha A B + beta C, C broadcast. */
static pare_status gemm(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 3));
  PARE__TRY(pare__call_takes(call, 1));
  PARE__TRY(pare__call_takes(call, 0));
  const pare__shape *a_shape = &call->input[0]->shape, *b_shape = &call->input[1]->shape;
  if (a_shape->rank != 2 || b_shape->rank != 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its factors have ranks %d and %d; both must be 2", a_shape->rank,
                           b_shape->rank);
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.transpose_a = pare__call_get_int(call, "transA", 0) != 0;
  options.transpose_b = pare__call_get_int(call, "transB", 0) != 0;
  options.alpha = pare__call_get_float(call, "alpha", 1);
  const double beta = pare__call_get_float(call, "beta", 1);
  const int64_t dim[2] = {a_shape->dim[options.transpose_a], b_shape->dim[!options.transpose_b]};
  pare_tensor *a, *b, *c, *out;
  PARE__TRY(pare__call_tensor(call, 0, &a));
  PARE__TRY(pare__call_tensor(call, 2, &c));
  if (beta == 0) c = NULL;
  const bool integers = is_integer(call);
  const pare_dtype dtype = integers ? PARE_F64 : a->dtype;
  if (c) {
    PARE__TRY(pare__call_cast(call, c, dtype, &c));
    if (beta != 1) {
      pare_tensor *scaled;
      PARE__TRY(pare__call_scratch(call, dtype, c->shape.rank, c->shape.dim, &scaled));
      PARE__TRY(pare_unary_with(PARE_UNARY_affine, beta, 0, c, scaled));
      c = scaled;
    }
  }
  PARE__TRY(pare__call_output(call, 0, a->dtype, 2, dim, &out));
  const pare_weights *weights = call->node->prepared;
  if (weights) return pare_gemm_packed(a, weights, c, &options, out);
  PARE__TRY(pare__call_tensor(call, 1, &b));
  if (!integers) return pare_gemm(a, b, c, &options, out);
  pare_tensor *wide;
  PARE__TRY(pare__call_cast(call, a, dtype, &a));
  PARE__TRY(pare__call_cast(call, b, dtype, &b));
  PARE__TRY(pare__call_scratch(call, dtype, 2, dim, &wide));
  PARE__TRY(pare_gemm(a, b, c, &options, wide));
  return pare_cast(wide, out);
}

static pare_status gemm_prepare(pare__call *call, pare__node *node) {
  return pack(call, node, pare__call_get_int(call, "transB", 0) != 0);
}

/* com.microsoft FusedGemm: its activation follows. */
static pare_status fused_gemm(pare__call *call) {
  const pare__onnx_attribute *name = pare__node_attribute(call->node, "activation");
  pare__gate_function function;
  if (!name || name->s.nbytes == 0) return gemm(call);
  if (!pare__gate_function_named(name->s.data, name->s.nbytes, &function) || function.scaled)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "pare does not have its activation '%.*s'", (int)name->s.nbytes,
                           (const char *)name->s.data);
  PARE__TRY(gemm(call));
  pare_tensor *out = call->output[0]->tensor;
  return pare_unary_with(function.operation, pare__call_get_float(call, "activation_alpha", (float)function.p),
                         pare__call_get_float(call, "activation_beta", (float)function.q), out, out);
}

const pare__operator pare__operators_matrix[] = {
    {"", "MatMul", 1, 0, PARE__ON_DEVICE, matmul, NULL, matmul_prepare, .types = "floats, i32, i64, u32, u64"},
    {"", "Gemm", 7, 0, PARE__ON_DEVICE, gemm, NULL, gemm_prepare, .types = "floats, i32, i64, u32, u64"},
    {"com.microsoft", "FusedMatMul", 1, 0, PARE__ON_DEVICE, fused_matmul, NULL, fused_matmul_prepare,
     .types = "floats"},
    {"com.microsoft", "TransposeMatMul", 1, 0, PARE__ON_DEVICE, fused_matmul, NULL, fused_matmul_prepare,
     .types = "floats"},
    {"com.microsoft", "SparseToDenseMatMul", 1, 0, PARE__ON_DEVICE, fused_matmul, NULL, fused_matmul_prepare,
     .types = "floats"},
    {"com.microsoft", "GemmFastGelu", 1, 0, PARE__ON_DEVICE, gemm_fast_gelu, NULL, matmul_prepare, .types = "floats"},
    {"com.microsoft", "MatMulInteger16", 1, 0, PARE__ON_DEVICE, matmul_integer16, NULL, .types = "i16, u16"},
    {"com.microsoft", "FusedGemm", 1, 0, PARE__ON_DEVICE, fused_gemm, NULL, gemm_prepare, .types = "floats"},
    {"com.microsoft", "CDist", 1, 0, PARE__ON_DEVICE, distances, NULL, .types = "floats"},
    {"pare", "FusedMatMul", 1, 0, PARE__ON_DEVICE, fused_matmul, NULL, fused_matmul_prepare, .types = "floats"},
    {0},
};
