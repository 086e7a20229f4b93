/* Operators of com.microsoft on quantised elements: QLinearAdd and relatives, computed through floats, and sums and
 * products of integers.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <pare/pool.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/operators_window.h"
#include "graph/quantised.h"

/* Inputs i, i + 1 and i + 2: integers, scale, zero point. */
static pare_status dequantised_input(pare__call *call, unsigned i, pare_tensor **out) {
  pare_tensor *integers;
  pare__quantisation q = {.axis = 0};
  PARE__TRY(pare__call_tensor(call, i, &integers));
  PARE__TRY(pare__call_tensor(call, i + 1, &q.scale));
  PARE__TRY(pare__call_tensor(call, i + 2, &q.zero));
  PARE__TRY(pare__call_scratch(call, PARE_F32, integers->shape.rank, integers->shape.dim, out));
  return pare__call_dequantise(call, integers, &q, *out);
}

/* Output 0 by the scale and zero point that are inputs i and i + 1. */
static pare_status quantised_output(pare__call *call, unsigned i, pare_tensor *real) {
  pare__quantisation q = {.axis = 0};
  PARE__TRY(pare__call_tensor(call, i, &q.scale));
  PARE__TRY(pare__call_tensor(call, i + 1, &q.zero));
  pare_tensor *out;
  const pare_dtype dtype = q.zero ? q.zero->dtype : call->input[i == 0 ? 2 : 0]->dtype;
  PARE__TRY(pare__call_output(call, 0, dtype, real->shape.rank, real->shape.dim, &out));
  return pare__call_quantise(call, real, &q, out);
}

static pare_status check_given(pare__call *call, unsigned count, const unsigned *given) {
  for (unsigned i = 0; i < count; i++)
    if (!pare__call_has(call, given[i]))
      return pare__call_fail(call, PARE_ERR_FORMAT, "input %u is left out", given[i]);
  return pare__call_check(call, 1, UINT32_MAX);
}

/* detail: a pare_binary_operation */
static pare_status linear_binary(pare__call *call) {
  PARE__TRY(check_given(call, 5, (const unsigned[]){0, 1, 3, 4, 6}));
  pare_tensor *a, *b, *result;
  PARE__TRY(dequantised_input(call, 0, &a));
  PARE__TRY(dequantised_input(call, 3, &b));
  pare__shape shape;
  PARE__TRY(pare__shape_broadcast(&a->shape, &b->shape, &shape));
  PARE__TRY(pare__call_scratch(call, PARE_F32, shape.rank, shape.dim, &result));
  PARE__TRY(pare_binary((pare_binary_operation)call->node->op->detail, a, b, result));
  return quantised_output(call, 6, result);
}

/* detail: a pare_unary_operation */
static pare_status linear_unary(pare__call *call) {
  PARE__TRY(check_given(call, 3, (const unsigned[]){0, 1, 3}));
  pare_tensor *x;
  PARE__TRY(dequantised_input(call, 0, &x));
  const double alpha = pare__call_get_float(call, "alpha", 0.01);
  PARE__TRY(pare_unary_with((pare_unary_operation)call->node->op->detail, alpha, 0, x, x));
  return quantised_output(call, 3, x);
}

/* y_scale, y_zero, then integers, scale and zero point of each input. */
static pare_status linear_concat(pare__call *call) {
  enum { MOST = 64 };
  PARE__TRY(pare__call_check(call, 5, UINT32_MAX));
  const unsigned count = (call->ninputs - 2) / 3;
  if (count < 1 || count > MOST || call->ninputs != 2 + 3 * count)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "%u inputs; 2 and 3 for each of up to %d tensors are possible",
                           call->ninputs, MOST);
  pare_tensor *part[MOST] = {NULL}, *whole;
  for (unsigned i = 0; i < count; i++) {
    PARE__TRY(check_given(call, 2, (const unsigned[]){2 + 3 * i, 3 + 3 * i}));
    PARE__TRY(dequantised_input(call, 2 + 3 * i, &part[i]));
  }
  const pare__shape *first = &part[0]->shape;
  int axis;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", 1), first->rank, &axis));
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, first->dim, sizeof dim);
  for (unsigned i = 1; i < count; i++)
    if (axis < part[i]->shape.rank && !pare__i64_add(dim[axis], part[i]->shape.dim[axis], &dim[axis]))
      return pare__call_fail(call, PARE_ERR_SHAPE, "axis %d of the result is too long", axis);
  PARE__TRY(pare__call_scratch(call, PARE_F32, first->rank, dim, &whole));
  PARE__TRY(pare_concat(count, part, axis, whole));
  return quantised_output(call, 0, whole);
}

/* x, its scale and zero point, y's: the mean over all but batch and channels. */
static pare_status linear_global_pool(pare__call *call) {
  PARE__TRY(check_given(call, 3, (const unsigned[]){0, 1, 3}));
  const int rank = call->input[0]->shape.rank;
  const bool channels_last = pare__call_get_int(call, "channels_last", 0) != 0;
  int axes[PARE_MAX_RANK], naxes = 0;
  int64_t dim[PARE_MAX_RANK];
  if (rank < 3)
    return pare__call_fail(call, PARE_ERR_SHAPE, "x has rank %d; batch, channels and more are needed", rank);
  memcpy(dim, call->input[0]->shape.dim, sizeof dim);
  for (int d = channels_last ? 1 : 2; d < (channels_last ? rank - 1 : rank); d++) {
    axes[naxes++] = d;
    dim[d] = 1;
  }
  pare_tensor *x, *mean;
  PARE__TRY(dequantised_input(call, 0, &x));
  PARE__TRY(pare__call_scratch(call, PARE_F32, rank, dim, &mean));
  PARE__TRY(pare_reduce(x, PARE_REDUCTION_MEAN, axes, naxes, true, mean));
  return quantised_output(call, 3, mean);
}

/* The mean over the axes of an attribute; x, its scale and zero point, y's. */
static pare_status linear_mean(pare__call *call) {
  PARE__TRY(check_given(call, 3, (const unsigned[]){0, 1, 3}));
  const pare__shape *shape = &call->input[0]->shape;
  const bool keep = pare__call_get_int(call, "keepdims", 1) != 0;
  int axes[PARE_MAX_RANK], naxes;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare__call_axes(call, "axes", UINT32_MAX, shape->rank, axes, &naxes));
  if (naxes <= 0)
    for (naxes = 0; naxes < shape->rank; naxes++) axes[naxes] = naxes;
  const int rank = pare__reduced_shape(shape, axes, naxes, keep, dim);
  pare_tensor *x, *mean;
  PARE__TRY(dequantised_input(call, 0, &x));
  PARE__TRY(pare__call_scratch(call, PARE_F32, rank, dim, &mean));
  PARE__TRY(pare_reduce(x, PARE_REDUCTION_MEAN, axes, naxes, keep, mean));
  return quantised_output(call, 3, mean);
}

/* x, its scale and zero point, y's. */
static pare_status linear_average_pool(pare__call *call) {
  PARE__TRY(check_given(call, 3, (const unsigned[]){0, 1, 3}));
  const bool channels_last = pare__call_get_int(call, "channels_last", 0) != 0;
  const int rank = call->input[0]->shape.rank;
  pare_pool_options options;
  int64_t dim[PARE_MAX_RANK];
  int to_first[PARE_MAX_RANK] = {0, rank - 1}, to_last[PARE_MAX_RANK] = {0};
  if (rank < 3)
    return pare__call_fail(call, PARE_ERR_SHAPE, "x has rank %d; batch, channels and more are needed", rank);
  for (int d = 2; d < rank; d++) to_first[d] = d - 1;
  for (int d = 1; d < rank; d++) to_last[d] = d < rank - 1 ? d + 1 : 1;
  pare_tensor *x, *y;
  PARE__TRY(dequantised_input(call, 0, &x));
  if (channels_last) PARE__TRY(pare__call_permuted(call, x, to_first, &x));
  PARE__TRY(pare__call_pool_options(call, x, &options, dim));
  PARE__TRY(pare__call_scratch(call, PARE_F32, rank, dim, &y));
  PARE__TRY(pare_pool(x, PARE_POOLING_AVERAGE, &options, y, NULL));
  if (channels_last) PARE__TRY(pare__call_permuted(call, y, to_last, &y));
  return quantised_output(call, 3, y);
}

/* x, its scale and zero point, y's. As Softmax of the attribute `opset`: before 13 all dimensions from `axis` on are
 * one. */
static pare_status linear_softmax(pare__call *call) {
  PARE__TRY(check_given(call, 3, (const unsigned[]){0, 1, 3}));
  const bool flat = pare__call_get_int(call, "opset", 13) < 13;
  pare_tensor *x, *rows;
  int axis;
  PARE__TRY(dequantised_input(call, 0, &x));
  const pare__shape *shape = &x->shape;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", -1), PARE__MAX(shape->rank, 1), &axis));
  int64_t dim[2] = {1, 1};
  for (int d = 0; d < shape->rank; d++) dim[d >= axis] *= shape->dim[d];
  rows = x;
  if (flat || shape->rank == 0) {
    PARE__TRY(pare__call_reshaped(call, x, 2, dim, &rows));
    axis = 1;
  }
  PARE__TRY(pare_softmax(rows, axis, rows));
  return quantised_output(call, 3, x);
}

/* A condition; x, its scale and zero point; y, likewise; the result's scale and zero point. */
static pare_status linear_where(pare__call *call) {
  PARE__TRY(check_given(call, 6, (const unsigned[]){0, 1, 2, 4, 5, 7}));
  pare_tensor *condition, *x, *y, *result;
  pare__shape values, shape;
  PARE__TRY(pare__call_tensor(call, 0, &condition));
  PARE__TRY(dequantised_input(call, 1, &x));
  PARE__TRY(dequantised_input(call, 4, &y));
  PARE__TRY(pare__shape_broadcast(&x->shape, &y->shape, &values));
  PARE__TRY(pare__shape_broadcast(&condition->shape, &values, &shape));
  PARE__TRY(pare__call_scratch(call, PARE_F32, shape.rank, shape.dim, &result));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, condition, x, y, result));
  return quantised_output(call, 7, result);
}

#define LINEAR(name, function, operation) \
  { "com.microsoft", name, 1, 0, PARE__ON_DEVICE, function, .detail = operation, .types = "u8, i8, u16, i16" }
/* ---- integers that stay integers ---- */

/* Input i less its zero point, input i + 1, as i32. */
static pare_status centred_input(pare__call *call, unsigned i, pare_tensor **out) {
  pare_tensor *integers, *zero, *wide;
  PARE__TRY(pare__call_tensor(call, i, &integers));
  PARE__TRY(pare__call_tensor(call, i + 1, &zero));
  if (integers->dtype != PARE_U8 && integers->dtype != PARE_I8)
    return pare__call_fail(call, PARE_ERR_TYPE, "input %u is %s; it must be u8 or i8", i,
                           pare_dtype_name(integers->dtype));
  PARE__TRY(pare__call_cast(call, integers, PARE_I32, &wide));
  *out = wide;
  if (!zero) return PARE_OK;
  if (zero->dtype != integers->dtype || pare__shape_elements(&zero->shape) != 1)
    return pare__call_fail(
        call, PARE_ERR_SHAPE, "the zero point of input %u has %lld elements of %s; it must be one of %s", i,
        (long long)pare__shape_elements(&zero->shape), pare_dtype_name(zero->dtype), pare_dtype_name(integers->dtype));
  PARE__TRY(pare__call_cast(call, zero, PARE_I32, &zero));
  PARE__TRY(pare__call_reshaped(call, zero, 0, NULL, &zero));
  PARE__TRY(pare__call_scratch(call, PARE_I32, wide->shape.rank, wide->shape.dim, out));
  return pare_binary(PARE_BINARY_sub, wide, zero, *out);
}

/* (a - a_zero) (b - b_zero) */
static pare_status mul_integer(pare__call *call) {
  PARE__TRY(check_given(call, 2, (const unsigned[]){0, 2}));
  pare_tensor *a, *b, *out;
  pare__shape shape;
  PARE__TRY(centred_input(call, 0, &a));
  PARE__TRY(centred_input(call, 2, &b));
  PARE__TRY(pare__shape_broadcast(&a->shape, &b->shape, &shape));
  PARE__TRY(pare__call_output(call, 0, PARE_I32, shape.rank, shape.dim, &out));
  return pare_binary(PARE_BINARY_mul, a, b, out);
}

/* Sums of bytes along axes, which are an attribute: i32, of unsigned ones u32. */
static pare_status reduce_sum_integer(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  pare_tensor *x, *sums, *out;
  int axes[PARE_MAX_RANK], count;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare__call_tensor(call, 0, &x));
  if (x->dtype != PARE_U8 && x->dtype != PARE_I8)
    return pare__call_fail(call, PARE_ERR_TYPE, "its input is %s; it must be u8 or i8", pare_dtype_name(x->dtype));
  PARE__TRY(pare__call_axes(call, "axes", UINT32_MAX, x->shape.rank, axes, &count));
  if (count <= 0)
    for (count = 0; count < x->shape.rank; count++) axes[count] = count;
  const bool keep = pare__call_get_int(call, "keepdims", 1) != 0;
  const int rank = pare__reduced_shape(&x->shape, axes, count, keep, dim);
  PARE__TRY(pare__call_scratch(call, PARE_I64, rank, dim, &sums));
  PARE__TRY(pare_reduce(x, PARE_REDUCTION_SUM, axes, count, keep, sums));
  PARE__TRY(pare__call_output(call, 0, x->dtype == PARE_U8 ? PARE_U32 : PARE_I32, rank, dim, &out));
  return pare_cast(sums, out);
}

const pare__operator pare__operators_quantised_linear[] = {
    LINEAR("QLinearAdd", linear_binary, PARE_BINARY_add),
    LINEAR("QLinearAveragePool", linear_average_pool, 0),
    LINEAR("QLinearConcat", linear_concat, 0),
    LINEAR("QLinearGlobalAveragePool", linear_global_pool, 0),
    LINEAR("QLinearLeakyRelu", linear_unary, PARE_UNARY_leaky_relu),
    LINEAR("QLinearMul", linear_binary, PARE_BINARY_mul),
    LINEAR("QLinearReduceMean", linear_mean, 0),
    LINEAR("QLinearSigmoid", linear_unary, PARE_UNARY_sigmoid),
    LINEAR("QLinearSoftmax", linear_softmax, 0),
    LINEAR("QLinearWhere", linear_where, 0),
    {"com.microsoft", "MulInteger", 1, 0, PARE__ON_DEVICE, mul_integer, NULL, .types = "u8, i8"},
    {"com.microsoft", "ReduceSumInteger", 1, 0, PARE__ON_DEVICE, reduce_sum_integer, NULL, .types = "u8, i8"},
    {0},
};
