/* Normalisations. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* x, and scale and bias (inputs 1 and 2, NULL if left out) in x's dtype. */
static pare_status scaled_inputs(pare__call *call, pare_tensor **x, pare_tensor **scale, pare_tensor **bias) {
  PARE__TRY(pare__call_tensor(call, 0, x));
  PARE__TRY(pare__call_tensor(call, 1, scale));
  PARE__TRY(pare__call_tensor(call, 2, bias));
  if (*scale) PARE__TRY(pare__call_cast(call, *scale, (*x)->dtype, scale));
  if (*bias) PARE__TRY(pare__call_cast(call, *bias, (*x)->dtype, bias));
  return PARE_OK;
}

/* Scale and bias may broadcast to the normalised dimensions: spelt out if they do not have their shape. */
static pare_status spelt_out(pare__call *call, const pare_tensor *x, int axis, pare_tensor **scale) {
  if (!*scale) return PARE_OK;
  const int rank = x->shape.rank - axis;
  pare__shape *shape = &(*scale)->shape;
  if (shape->rank == rank && memcmp(shape->dim, x->shape.dim + axis, (size_t)rank * sizeof(int64_t)) == 0)
    return PARE_OK;
  pare_tensor *wide;
  PARE__TRY(pare_tensor_broadcast(*scale, rank, x->shape.dim + axis, &wide));
  PARE__TRY(pare__call_keep(call, wide));
  return pare__contiguous(wide, scale) == PARE_OK ? pare__call_keep(call, *scale)
                                                  : pare__call_fail(call, PARE_ERR_SHAPE, "%s", pare_message());
}

/* A last dimension of 1 that scale and bias make longer, as the formula of sums and products has it. */
static bool is_spread(const pare_tensor *x, int axis, const pare_tensor *scale) {
  return axis >= 0 && axis == x->shape.rank - 1 && x->shape.dim[axis] == 1 && scale && scale->shape.rank == 1 &&
         scale->shape.dim[0] > 1;
}

/* Output 0 = x normalised * scale + bias, as long as they are; RMS norm if `simplified`. */
static pare_status spread_norm(pare__call *call, bool simplified, pare_tensor *x, pare_tensor *scale, pare_tensor *bias,
                               double epsilon, pare_tensor *mean, pare_tensor *deviation) {
  const int rank = x->shape.rank;
  pare_tensor *normal, *out;
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  dim[rank - 1] = scale->shape.dim[0];
  PARE__TRY(pare__call_scratch(call, x->dtype, rank, x->shape.dim, &normal));
  PARE__TRY(simplified ? pare_rms_norm(x, rank - 1, NULL, epsilon, normal)
                       : pare_layer_norm(x, rank - 1, NULL, NULL, epsilon, normal, mean, deviation));
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank, dim, &out));
  PARE__TRY(pare_binary(PARE_BINARY_mul, normal, scale, out));
  return bias ? pare_binary(PARE_BINARY_add, out, bias, out) : PARE_OK;
}

/* detail 1: what a pass makes, which may have no scale. */
static pare_status layer_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, call->node->op->detail ? 1 : 2, 3));
  pare_tensor *x, *scale, *bias, *out, *mean = NULL, *deviation = NULL;
  int axis;
  PARE__TRY(scaled_inputs(call, &x, &scale, &bias));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", -1), x->shape.rank, &axis));
  const double epsilon = pare__call_get_float(call, "epsilon", 1e-5);
  const bool is_wide = is_spread(x, axis, scale);
  if (!is_wide) PARE__TRY(spelt_out(call, x, axis, &scale));
  if (!is_wide) PARE__TRY(spelt_out(call, x, axis, &bias));
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < x->shape.rank; d++) dim[d] = d < axis ? x->shape.dim[d] : 1;
  const pare_dtype statistics = x->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  if (pare__call_wants(call, 1)) PARE__TRY(pare__call_output(call, 1, statistics, x->shape.rank, dim, &mean));
  if (pare__call_wants(call, 2)) PARE__TRY(pare__call_output(call, 2, statistics, x->shape.rank, dim, &deviation));
  if (is_wide) return spread_norm(call, false, x, scale, bias, epsilon, mean, deviation);
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  return pare_layer_norm(x, axis, scale, bias, epsilon, out, mean, deviation);
}

/* The dimension at that place from the end, 1 for the last; 1 where there is none. */
static int64_t dim_from_end(const pare__shape *shape, int place) {
  return place > shape->rank ? 1 : shape->dim[shape->rank - place];
}

/* com.microsoft SkipLayerNormalization and SkipSimplifiedLayerNormalization (detail 1: without shift): layer norm of
 * input + skip + bias; output 3 is that sum. */
static pare_status skip_layer_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 5));
  pare_tensor *x, *skip, *scale, *shift = NULL, *bias, *sum = NULL, *out;
  const bool simplified = call->node->op->detail != 0;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &skip));
  PARE__TRY(pare__call_tensor(call, 2, &scale));
  if (!simplified) PARE__TRY(pare__call_tensor(call, 3, &shift));
  PARE__TRY(pare__call_tensor(call, simplified ? 3 : 4, &bias));
  const pare__shape *wide = x->shape.rank >= skip->shape.rank ? &x->shape : &skip->shape;
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < wide->rank; d++) { /* either may be broadcast to the other */
    const int64_t a = dim_from_end(&x->shape, wide->rank - d), b = dim_from_end(&skip->shape, wide->rank - d);
    dim[d] = a == 1 ? b : a;
  }
  PARE__TRY(pare__call_broadcast(call, x, wide->rank, dim, &x));
  PARE__TRY(pare__call_broadcast(call, skip, wide->rank, dim, &skip));
  if (bias) {
    pare_tensor *biased;
    PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, &biased));
    PARE__TRY(pare_binary(PARE_BINARY_add, x, bias, biased));
    x = biased;
  }
  const double epsilon = pare__call_get_float(call, "epsilon", 1e-12);
  const int axis = x->shape.rank - 1;
  PARE__TRY(pare__call_cast(call, scale, x->dtype, &scale)); /* as other norms take them */
  if (shift) PARE__TRY(pare__call_cast(call, shift, x->dtype, &shift));
  if (pare__call_wants(call, 3)) PARE__TRY(pare__call_output(call, 3, x->dtype, x->shape.rank, dim, &sum));
  if (is_spread(x, axis, scale)) {
    if (!sum) PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, &sum));
    PARE__TRY(pare_binary(PARE_BINARY_add, x, skip, sum));
    return spread_norm(call, simplified, sum, scale, shift, epsilon, NULL, NULL);
  }
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, dim, &out));
  return simplified ? pare_skip_rms_norm(x, skip, axis, scale, epsilon, out, sum)
                    : pare_skip_layer_norm(x, skip, axis, scale, shift, epsilon, out, sum);
}

static pare_status rms_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, call->node->op->detail ? 1 : 2, 2));
  pare_tensor *x, *scale, *unused, *out;
  int axis;
  PARE__TRY(scaled_inputs(call, &x, &scale, &unused));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", -1), x->shape.rank, &axis));
  const double epsilon = pare__call_get_float(call, "epsilon", 1e-5);
  if (is_spread(x, axis, scale)) return spread_norm(call, true, x, scale, NULL, epsilon, NULL, NULL);
  PARE__TRY(spelt_out(call, x, axis, &scale));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  return pare_rms_norm(x, axis, scale, epsilon, out);
}

/* ---- batch norm ---- */

static pare_status one_per_channel(const pare__call *call, const pare_tensor *x, unsigned first, unsigned last) {
  if (x->shape.rank < 1) return pare__call_fail(call, PARE_ERR_SHAPE, "its input is a scalar");
  const int64_t channels = x->shape.rank > 1 ? x->shape.dim[1] : 1;
  for (unsigned i = first; i <= last; i++)
    if (pare__shape_elements(&call->input[i]->shape) != channels)
      return pare__call_fail(call, PARE_ERR_SHAPE, "input %u has %lld elements; the data has %lld channels", i,
                             (long long)pare__shape_elements(&call->input[i]->shape), (long long)channels);
  return PARE_OK;
}

/* Statistics of every channel over all else: mean, and the mean of squared differences from it. */
static pare_status channel_statistics(pare__call *call, pare_tensor *x, pare_tensor **mean, pare_tensor **variance) {
  int axes[PARE_MAX_RANK], count = 0;
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < x->shape.rank; d++) {
    dim[d] = d == 1 ? x->shape.dim[d] : 1;
    if (d != 1) axes[count++] = d;
  }
  pare_tensor *difference;
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, mean));
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, variance));
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, x->shape.dim, &difference));
  PARE__TRY(pare_reduce(x, PARE_REDUCTION_MEAN, axes, count, true, *mean));
  PARE__TRY(pare_binary(PARE_BINARY_sub, x, *mean, difference));
  PARE__TRY(pare_unary(PARE_UNARY_square, difference, difference));
  PARE__TRY(pare_reduce(difference, PARE_REDUCTION_MEAN, axes, count, true, *variance));
  PARE__TRY(pare__call_reshaped(call, *mean, 1, &x->shape.dim[1], mean));
  return pare__call_reshaped(call, *variance, 1, &x->shape.dim[1], variance);
}

/* out i = momentum * input + (1 - momentum) * current */
static pare_status running_statistic(pare__call *call, unsigned i, unsigned input, pare_tensor *current,
                                     double momentum) {
  if (!pare__call_wants(call, i)) return PARE_OK;
  pare_tensor *before, *part, *out;
  PARE__TRY(pare__call_tensor(call, input, &before));
  PARE__TRY(pare__call_cast(call, current, before->dtype, &current));
  PARE__TRY(pare__call_scratch(call, before->dtype, 1, before->shape.dim, &part));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, 1 - momentum, 0, current, part));
  PARE__TRY(pare__call_output(call, i, before->dtype, 1, before->shape.dim, &out));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, momentum, 0, before, out));
  return pare_binary(PARE_BINARY_add, out, part, out);
}

static pare_status batch_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, 5, 5));
  pare_tensor *x, *scale, *bias, *mean, *variance, *out;
  PARE__TRY(scaled_inputs(call, &x, &scale, &bias));
  PARE__TRY(one_per_channel(call, x, 1, 4));
  if (call->node->opset < 9 && pare__call_get_int(call, "spatial", 1) == 0)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "spatial=0");
  const double epsilon = pare__call_get_float(call, "epsilon", 1e-5);
  if (pare__call_get_int(call, "training_mode", 0) != 0) {
    const double momentum = pare__call_get_float(call, "momentum", 0.9);
    if (x->shape.rank < 2) return pare__call_fail(call, PARE_ERR_SHAPE, "training needs a batch of channels");
    PARE__TRY(channel_statistics(call, x, &mean, &variance));
    PARE__TRY(running_statistic(call, 1, 3, mean, momentum));
    PARE__TRY(running_statistic(call, 2, 4, variance, momentum));
  } else {
    PARE__TRY(pare__call_tensor(call, 3, &mean));
    PARE__TRY(pare__call_tensor(call, 4, &variance));
    PARE__TRY(pare__call_cast(call, mean, x->dtype, &mean));
    PARE__TRY(pare__call_cast(call, variance, x->dtype, &variance));
  }
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  if (x->shape.rank > 1) return pare_batch_norm(x, scale, bias, mean, variance, epsilon, out);
  const int64_t dim[2] = {x->shape.dim[0], 1};
  PARE__TRY(pare__call_reshaped(call, x, 2, dim, &x));
  PARE__TRY(pare__call_reshaped(call, out, 2, dim, &out));
  return pare_batch_norm(x, scale, bias, mean, variance, epsilon, out);
}

static pare_status instance_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 3));
  pare_tensor *x, *scale, *bias, *out;
  PARE__TRY(scaled_inputs(call, &x, &scale, &bias));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  return pare_instance_norm(x, scale, bias, pare__call_get_float(call, "epsilon", 1e-5), out);
}

/* Until opset 20, scale and bias have an element a group; later one a channel. */
static pare_status per_channel(pare__call *call, pare_tensor *x, int64_t groups, pare_tensor **scale) {
  if (!*scale || call->node->opset >= 21 || (*scale)->shape.rank != 1 || (*scale)->shape.dim[0] != groups)
    return PARE_OK;
  const int64_t each = x->shape.dim[1] / groups;
  pare_tensor *column, *wide;
  PARE__TRY(pare__call_reshaped(call, *scale, 2, (const int64_t[]){groups, 1}, &column));
  PARE__TRY(pare_tensor_broadcast(column, 2, (const int64_t[]){groups, each}, &wide));
  PARE__TRY(pare__call_keep(call, wide));
  return pare__call_reshaped(call, wide, 1, (const int64_t[]){groups * each}, scale);
}

static pare_status group_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 3));
  pare_tensor *x, *scale, *bias, *out;
  PARE__TRY(scaled_inputs(call, &x, &scale, &bias));
  const int64_t groups = pare__call_get_int(call, "num_groups", 0);
  if (x->shape.rank < 2 || groups < 1 || x->shape.dim[1] % groups != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld groups do not divide the channels of an input of rank %d",
                           (long long)groups, x->shape.rank);
  PARE__TRY(per_channel(call, x, groups, &scale));
  PARE__TRY(per_channel(call, x, groups, &bias));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  return pare_group_norm(x, groups, scale, bias, pare__call_get_float(call, "epsilon", 1e-5), out);
}

/* ---- by a norm, by mean and variance ---- */

/* x / ||x||_p along the axis; 0 where the norm is. */
static pare_status lp_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_takes(call, 0));
  pare_tensor *x, *norm, *is_zero, *zero, *out;
  int axis;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", -1), x->shape.rank, &axis));
  const int64_t p = pare__call_get_int(call, "p", 2);
  if (p != 1 && p != 2) return pare__call_fail(call, PARE_ERR_ARGUMENT, "p is %lld; it must be 1 or 2", (long long)p);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  dim[axis] = 1;
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, &norm));
  PARE__TRY(pare_reduce(x, p == 1 ? PARE_REDUCTION_L1 : PARE_REDUCTION_L2, &axis, 1, true, norm));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  PARE__TRY(pare_binary(PARE_BINARY_div, x, norm, out));
  PARE__TRY(pare__call_constant(call, x->dtype, 0, NULL, (const double[]){0}, &zero));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, x->shape.rank, dim, &is_zero));
  PARE__TRY(pare_binary(PARE_BINARY_equal, norm, zero, is_zero));
  return pare_ternary(PARE_TERNARY_where, is_zero, zero, out, out);
}

/* (x - mean) / (deviation + 1e-9) over the axes. */
static pare_status mean_variance(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  int64_t given[PARE_MAX_RANK] = {0, 2, 3};
  size_t count = 3;
  if (pare__call_attribute(call, "axes")) PARE__TRY(pare__call_get_ints(call, "axes", given, PARE_MAX_RANK, &count));
  pare_tensor *x, *mean, *deviation, *out, *square;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  int axes[PARE_MAX_RANK];
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  for (size_t i = 0; i < count; i++) {
    PARE__TRY(pare__call_axis(call, given[i], x->shape.rank, &axes[i]));
    dim[axes[i]] = 1;
  }
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, &mean));
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, &deviation));
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, x->shape.dim, &square));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  PARE__TRY(pare_reduce(x, PARE_REDUCTION_MEAN, axes, (int)count, true, mean));
  PARE__TRY(pare_binary(PARE_BINARY_sub, x, mean, out));
  PARE__TRY(pare_unary(PARE_UNARY_square, out, square));
  PARE__TRY(pare_reduce(square, PARE_REDUCTION_MEAN, axes, (int)count, true, deviation));
  PARE__TRY(pare_unary(PARE_UNARY_sqrt, deviation, deviation));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, 1, 1e-9, deviation, deviation));
  return pare_binary(PARE_BINARY_div, out, deviation, out);
}

#define ROW(domain, op, since, function) \
  { domain, op, since, 0, PARE__ON_DEVICE, function, NULL, .types = "floats" }
const pare__operator pare__operators_normalise[] = {
    ROW("", "LayerNormalization", 1, layer_norm),
    ROW("", "RMSNormalization", 23, rms_norm),
    {"pare", "LayerNormalization", 1, 0, PARE__ON_DEVICE, layer_norm, NULL, .detail = 1, .types = "floats"},
    {"pare", "RMSNormalization", 1, 0, PARE__ON_DEVICE, rms_norm, NULL, .detail = 1, .types = "floats"},
    ROW("", "SimplifiedLayerNormalization", 1, rms_norm),
    ROW("com.microsoft", "SimplifiedLayerNormalization", 1, rms_norm),
    ROW("com.microsoft", "SkipLayerNormalization", 1, skip_layer_norm),
    {"com.microsoft", "SkipSimplifiedLayerNormalization", 1, 0, PARE__ON_DEVICE, skip_layer_norm, NULL, .detail = 1,
     .types = "floats"},
    ROW("", "BatchNormalization", 7, batch_norm),
    ROW("", "InstanceNormalization", 1, instance_norm),
    ROW("", "GroupNormalization", 18, group_norm),
    ROW("", "LpNormalization", 1, lp_norm),
    ROW("", "MeanVarianceNormalization", 9, mean_variance),
    {0},
};
