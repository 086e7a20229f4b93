/* Pooling, its inverse, and local response normalisation. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/pool.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/operators_window.h"

static void set_options(const pare__window_plan *plan, pare_pool_options *options) {
  *options = (pare_pool_options)PARE_POOL_OPTIONS_INIT;
  memcpy(options->kernel, plan->kernel, sizeof options->kernel);
  memcpy(options->stride, plan->stride, sizeof options->stride);
  memcpy(options->dilation, plan->dilation, sizeof options->dilation);
  memcpy(options->pad, plan->before, sizeof options->pad);
  memcpy(options->pad_after, plan->after, sizeof options->pad_after);
}

/* ---- MaxPool, AveragePool, LpPool; detail: a pare_pooling ---- */

pare_status pare__call_pool_options(pare__call *call, const pare_tensor *x, pare_pool_options *options, int64_t *dim) {
  pare__window_plan plan;
  const bool blocked = pare__call_get_int(call, "blocked", 0) != 0;
  PARE__TRY(pare__call_window(call, x->shape.rank - blocked, NULL, &plan));
  PARE__TRY(
      pare__call_window_sizes(call, &plan, x->shape.dim + 2, pare__call_get_int(call, "ceil_mode", 0) != 0, dim + 2));
  set_options(&plan, options);
  options->blocked = blocked;
  if (blocked) dim[x->shape.rank - 1] = x->shape.dim[x->shape.rank - 1];
  options->p = (double)pare__call_get_int(call, "p", 2);
  options->count_padding = pare__call_get_int(call, "count_include_pad", 0) != 0;
  options->column_major = pare__call_get_int(call, "storage_order", 0) != 0;
  if (options->p < 1) return pare__call_fail(call, PARE_ERR_ARGUMENT, "p is %g; it must be 1 or more", options->p);
  dim[0] = x->shape.dim[0];
  dim[1] = x->shape.dim[1];
  return PARE_OK;
}

static pare_status pool(pare__call *call) {
  const pare_pooling pooling = (pare_pooling)call->node->op->detail;
  pare_tensor *x, *y, *indices = NULL;
  pare_pool_options options;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_pool_options(call, x, &options, dim));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, dim, &y));
  if (pare__call_wants(call, 1)) PARE__TRY(pare__call_output(call, 1, PARE_I64, x->shape.rank, dim, &indices));
  return pare_pool(x, pooling, &options, y, indices);
}

/* com.microsoft NhwcMaxPool: the same with the channels last. */
static pare_status nhwc_max_pool(pare__call *call) {
  pare_tensor *x, *y, *out;
  pare_pool_options options;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_channels_first(call, x, &x));
  PARE__TRY(pare__call_pool_options(call, x, &options, dim));
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, &y));
  PARE__TRY(pare_pool(x, PARE_POOLING_MAX, &options, y, NULL));
  PARE__TRY(pare__call_channels_last(call, y, &y));
  PARE__TRY(pare__call_output(call, 0, y->dtype, y->shape.rank, y->shape.dim, &out));
  return pare_copy(y, out);
}

/* ---- over all of the spatial dimensions; detail: a pare_pooling ---- */

static pare_status global_pool(pare__call *call) {
  const pare_pooling pooling = (pare_pooling)call->node->op->detail;
  pare_tensor *x, *y;
  int64_t dim[PARE_MAX_RANK];
  int axes[PARE_MAX_RANK];
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  if (x->shape.rank < 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input has rank %d; it needs batch and channels", x->shape.rank);
  const int spatial = x->shape.rank - 2 - (pare__call_get_int(call, "blocked", 0) != 0);
  for (int d = 0; d < x->shape.rank; d++) dim[d] = d < 2 || d >= 2 + spatial ? x->shape.dim[d] : 1;
  for (int d = 0; d < spatial; d++) axes[d] = 2 + d;
  if (x->shape.rank == 2) return pare__call_pass(call, 0, 0);
  const int64_t p = pare__call_get_int(call, "p", 2);
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, dim, &y));
  if (pooling != PARE_POOLING_NORM || p == 1 || p == 2) {
    const pare_reduction reduction = pooling == PARE_POOLING_MAX       ? PARE_REDUCTION_MAX
                                     : pooling == PARE_POOLING_AVERAGE ? PARE_REDUCTION_MEAN
                                     : p == 1                          ? PARE_REDUCTION_L1
                                                                       : PARE_REDUCTION_L2;
    return pare_reduce(x, reduction, axes, spatial, true, y);
  }
  int64_t area = 1;
  for (int d = 2; d < x->shape.rank; d++) area *= x->shape.dim[d];
  if (p < 1 || area < 1)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "a norm with p = %lld over %lld elements", (long long)p,
                           (long long)area);
  pare_pool_options options = PARE_POOL_OPTIONS_INIT;
  options.kernel[0] = area;
  options.p = (double)p;
  pare_tensor *line, *result;
  PARE__TRY(pare__call_reshaped(call, x, 3, (const int64_t[]){dim[0], dim[1], area}, &line));
  PARE__TRY(pare__call_reshaped(call, y, 3, (const int64_t[]){dim[0], dim[1], 1}, &result));
  return pare_pool(line, pooling, &options, result, NULL);
}

/* ---- MaxUnpool ---- */

static pare_status unpool_sizes(const pare__call *call, const pare_tensor *x, int64_t *dim) {
  pare__window_plan plan;
  PARE__TRY(pare__call_window(call, x->shape.rank, NULL, &plan));
  dim[0] = x->shape.dim[0];
  dim[1] = x->shape.dim[1];
  for (int d = 0; d < plan.rank; d++) {
    int64_t reach;
    if (!pare__i64_mul(x->shape.dim[2 + d] - 1, plan.stride[d], &reach) || reach > INT32_MAX)
      return pare__call_fail(call, PARE_ERR_SHAPE, "dimension %d would be too long", d);
    dim[2 + d] = reach + plan.kernel[d] - plan.before[d] - plan.after[d];
    if (dim[2 + d] < 0)
      return pare__call_fail(call, PARE_ERR_SHAPE, "dimension %d would be %lld long", d, (long long)dim[2 + d]);
  }
  return PARE_OK;
}

static pare_status max_unpool(pare__call *call) {
  static const double zero;
  pare_tensor *x, *indices, *flat_x, *flat_indices, *nothing, *zeros, *filled, *y;
  int64_t dim[PARE_MAX_RANK] = {0}, wanted[PARE_MAX_RANK] = {0}, after[PARE_MAX_RANK];
  size_t nwanted = 0;
  PARE__TRY(pare__call_check(call, 2, 3));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &indices));
  PARE__TRY(unpool_sizes(call, x, dim));
  const int rank = x->shape.rank;
  if (pare__call_has(call, 2)) PARE__TRY(pare__call_ints(call, 2, wanted, PARE_MAX_RANK, &nwanted));
  if (nwanted != 0 && nwanted != (size_t)rank)
    return pare__call_fail(call, PARE_ERR_SHAPE, "output_shape has %zu entries; it needs %d", nwanted, rank);
  pare__shape whole;
  if (indices->dtype != PARE_I64 || indices->shape.rank != rank ||
      memcmp(indices->shape.dim, x->shape.dim, (size_t)rank * sizeof *dim) != 0 || !pare__shape_set(&whole, rank, dim))
    return pare__call_fail(call, PARE_ERR_SHAPE, "its indices must be i64 and have the shape of its input");
  const int64_t count = pare__shape_elements(&x->shape), total = pare__shape_elements(&whole);
  PARE__TRY(pare__call_reshaped(call, x, 1, &count, &flat_x));
  PARE__TRY(pare__call_reshaped(call, indices, 1, &count, &flat_indices));
  PARE__TRY(pare__call_constant(call, x->dtype, 0, NULL, &zero, &nothing));
  PARE__TRY(pare__call_scratch(call, x->dtype, 1, &total, &zeros));
  PARE__TRY(pare_copy(nothing, zeros));
  if (nwanted == 0)
    PARE__TRY(pare__call_output(call, 0, x->dtype, rank, dim, &y));
  else
    PARE__TRY(pare__call_scratch(call, x->dtype, rank, dim, &y));
  PARE__TRY(pare__call_reshaped(call, y, 1, &total, &filled));
  PARE__TRY(pare_scatter_elements(zeros, flat_indices, flat_x, 0, PARE_SCATTER_NONE, filled));
  if (nwanted == 0) return PARE_OK;
  /* Indices count through the shape that follows from the window; a larger one is asked for around it. */
  pare_tensor *padded;
  for (int d = 0; d < rank; d++) after[d] = wanted[d] - dim[d];
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank, wanted, &padded));
  return pare_pad(y, NULL, after, PARE_PAD_CONSTANT, 0, padded);
}

/* ---- LRN ---- */

/* y = x (bias + alpha / size * the sum of x^2 over `size` channels around)^-beta */
static pare_status local_response(pare__call *call) {
  pare_tensor *x, *wide, *squares, *means, *power, *y;
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  const int64_t size = pare__call_get_int(call, "size", 0);
  if (x->shape.rank < 2 || size < 1 || size > INT32_MAX / 16)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "rank %d, size %lld: it needs channels, and a size of 1 or more",
                           x->shape.rank, (long long)size);
  const double alpha = pare__call_get_float(call, "alpha", 1e-4), beta = pare__call_get_float(call, "beta", 0.75);
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &y));
  if (pare__shape_elements(&x->shape) == 0) return PARE_OK;
  const pare_dtype dtype = x->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  int64_t planes[] = {x->shape.dim[0], 1, x->shape.dim[1], 1};
  for (int d = 2; d < x->shape.rank; d++) planes[3] *= x->shape.dim[d];
  pare_pool_options options = PARE_POOL_OPTIONS_INIT;
  options.kernel[0] = size;
  options.kernel[1] = 1;
  options.pad[0] = (size - 1) / 2;
  options.pad_after[0] = size / 2;
  options.count_padding = true;
  PARE__TRY(pare__call_cast(call, x, dtype, &wide));
  PARE__TRY(pare__call_reshaped(call, wide, 4, planes, &wide));
  PARE__TRY(pare__call_scratch(call, dtype, 4, planes, &squares));
  PARE__TRY(pare__call_scratch(call, dtype, 4, planes, &means));
  PARE__TRY(pare_unary(PARE_UNARY_square, wide, squares));
  PARE__TRY(pare_pool(squares, PARE_POOLING_AVERAGE, &options, means, NULL));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, alpha, pare__call_get_float(call, "bias", 1), means, means));
  const float single = (float)-beta;
  PARE__TRY(pare__call_constant(call, PARE_F32, 0, NULL, &single, &power));
  PARE__TRY(pare__call_cast(call, power, dtype, &power));
  PARE__TRY(pare_binary(PARE_BINARY_pow, means, power, means));
  PARE__TRY(pare_binary(PARE_BINARY_mul, wide, means, squares));
  PARE__TRY(pare__call_reshaped(call, squares, x->shape.rank, x->shape.dim, &squares));
  return pare_cast(squares, y);
}

const pare__operator pare__operators_pool[] = {
    {"", "MaxPool", 1, 0, PARE__ON_DEVICE, pool, NULL, NULL, PARE_POOLING_MAX, "floats, u8, i8"},
    {"com.microsoft", "NhwcMaxPool", 1, 0, PARE__ON_DEVICE, nhwc_max_pool, .types = "floats, u8, i8"},
    {"", "AveragePool", 1, 0, PARE__ON_DEVICE, pool, NULL, NULL, PARE_POOLING_AVERAGE, "floats"},
    {"", "LpPool", 2, 0, PARE__ON_DEVICE, pool, NULL, NULL, PARE_POOLING_NORM, "floats"},
    {"", "GlobalMaxPool", 1, 0, PARE__ON_DEVICE, global_pool, NULL, NULL, PARE_POOLING_MAX, "floats"},
    {"", "GlobalAveragePool", 1, 0, PARE__ON_DEVICE, global_pool, NULL, NULL, PARE_POOLING_AVERAGE, "floats"},
    {"", "GlobalLpPool", 2, 0, PARE__ON_DEVICE, global_pool, NULL, NULL, PARE_POOLING_NORM, "floats"},
    {"", "MaxUnpool", 9, 0, PARE__ON_DEVICE, max_unpool, .types = "numbers, bool"},
    {"", "LRN", 1, 0, PARE__ON_DEVICE, local_response, .types = "floats"},
    {0},
};
