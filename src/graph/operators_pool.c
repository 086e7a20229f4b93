/* Pooling, its inverse, and local response normalisation. SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
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
  PARE__TRY(pare__call_takes(call, 0));
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

/* ---- com.microsoft MaxpoolWithMask ---- */

/* Windows over x and a mask, both padded so that every window is whole: the largest element of each line of a window
 * along the last dimension that comes before the first 0 of the mask; the lowest number where there is none. */
typedef struct masked_pool {
  pare__call *call;
  pare__window_plan plan;
  pare_tensor *x, *mask; /* mask: bool, broadcasts to x */
  pare_tensor *alive;    /* of the line: no 0 yet; the mask's batch and channels, and the shape of y */
  pare_tensor *candidate, *lowest, *y;
} masked_pool;

static pare_status take_tap(const masked_pool *p, const int64_t *tap, pare_tensor *from, pare_tensor **out) {
  *out = from;
  for (int d = 0; d < p->plan.rank; d++)
    PARE__TRY(pare__call_slice(p->call, *out, 2 + d, tap[d], p->y->shape.dim[2 + d], p->plan.stride[d], out));
  return PARE_OK;
}

/* The line of taps whose first one is given. */
static pare_status pool_line(const masked_pool *p, int64_t *tap) {
  const int last = p->plan.rank - 1;
  pare_tensor *x, *mask;
  for (tap[last] = 0; tap[last] < p->plan.kernel[last]; tap[last]++) {
    PARE__TRY(take_tap(p, tap, p->x, &x));
    PARE__TRY(take_tap(p, tap, p->mask, &mask));
    PARE__TRY(tap[last] == 0 ? pare_copy(mask, p->alive) : pare_binary(PARE_BINARY_and, mask, p->alive, p->alive));
    PARE__TRY(pare_ternary(PARE_TERNARY_where, p->alive, x, p->lowest, p->candidate));
    PARE__TRY(pare_binary(PARE_BINARY_max, p->y, p->candidate, p->y));
  }
  return PARE_OK;
}

/* x with the lowest number around it, the mask with 1. */
static pare_status pad_windows(masked_pool *p, double lowest) {
  int64_t before[PARE_MAX_RANK] = {0}, after[PARE_MAX_RANK] = {0}, dim[PARE_MAX_RANK], mask_dim[PARE_MAX_RANK];
  const int rank = p->x->shape.rank;
  uint64_t least = 0;
  const uint8_t truth = 1;
  pare_tensor *x, *mask;
  memcpy(dim, p->x->shape.dim, sizeof dim);
  memcpy(mask_dim, p->mask->shape.dim, sizeof mask_dim);
  for (int d = 2; d < rank; d++) {
    const int64_t reach = (p->y->shape.dim[d] - 1) * p->plan.stride[d - 2] + p->plan.kernel[d - 2];
    before[d] = p->plan.before[d - 2];
    after[d] = PARE__MAX(reach - before[d] - dim[d], 0);
    mask_dim[d] = dim[d] += before[d] + after[d];
  }
  pare__store(p->x->dtype, &least, 0, lowest);
  PARE__TRY(pare__call_scratch(p->call, p->x->dtype, rank, dim, &x));
  PARE__TRY(pare__call_scratch(p->call, PARE_BOOL, rank, mask_dim, &mask));
  PARE__TRY(pare_pad(p->x, before, after, PARE_PAD_CONSTANT, &least, x));
  PARE__TRY(pare_pad(p->mask, before, after, PARE_PAD_CONSTANT, &truth, mask));
  p->x = x;
  p->mask = mask;
  return PARE_OK;
}

static pare_status read_masked_pool(masked_pool *p) {
  pare__call *call = p->call;
  int64_t dim[PARE_MAX_RANK];
  char have[PARE__SHAPE_TEXT], other[PARE__SHAPE_TEXT];
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(pare__call_tensor(call, 0, &p->x));
  PARE__TRY(pare__call_tensor(call, 1, &p->mask));
  const pare__shape *x = &p->x->shape, *mask = &p->mask->shape;
  PARE__TRY(pare__call_window(call, x->rank, NULL, &p->plan));
  bool fits = mask->rank == x->rank;
  for (int d = 0; d < x->rank && fits; d++) fits = mask->dim[d] == x->dim[d] || (d < 2 && mask->dim[d] == 1);
  if (!fits)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its mask %s does not fit its input %s",
                           pare__shape_text(mask->rank, mask->dim, have, sizeof have),
                           pare__shape_text(x->rank, x->dim, other, sizeof other));
  memcpy(dim, x->dim, sizeof dim);
  PARE__TRY(pare__call_window_sizes(call, &p->plan, x->dim + 2, false, dim + 2));
  PARE__TRY(pare__call_output(call, 0, p->x->dtype, x->rank, dim, &p->y));
  PARE__TRY(pare__call_scratch(call, p->x->dtype, x->rank, dim, &p->candidate));
  memcpy(dim, mask->dim, 2 * sizeof *dim);
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, x->rank, dim, &p->alive));
  return pare__call_cast(call, p->mask, PARE_BOOL, &p->mask);
}

static pare_status masked_max_pool(pare__call *call) {
  masked_pool p = {.call = call};
  int64_t tap[PARE_CONVOLUTION_RANK] = {0}, lines = 1;
  PARE__TRY(read_masked_pool(&p));
  const double lowest = p.x->dtype == PARE_F64 ? -DBL_MAX : p.x->dtype == PARE_F16 ? -65504 : -(double)FLT_MAX;
  PARE__TRY(pare__call_scalar(call, p.x->dtype, lowest, &p.lowest));
  PARE__TRY(pare_copy(p.lowest, p.y));
  PARE__TRY(pad_windows(&p, lowest));
  const int last = p.plan.rank - 1;
  for (int d = 0; d < last; d++) lines *= p.plan.kernel[d];
  for (int64_t line = 0; line < lines; line++) {
    int64_t rest = line;
    for (int d = last - 1; d >= 0; d--) {
      tap[d] = rest % p.plan.kernel[d];
      rest /= p.plan.kernel[d];
    }
    PARE__TRY(pool_line(&p, tap));
  }
  return PARE_OK;
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
  PARE__TRY(pare__call_takes(call, 0));
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
    {"com.microsoft", "MaxpoolWithMask", 1, 0, PARE__ON_DEVICE, masked_max_pool, .types = "f32, f16, f64"},
    {"", "AveragePool", 1, 0, PARE__ON_DEVICE, pool, NULL, NULL, PARE_POOLING_AVERAGE, "floats"},
    {"", "LpPool", 2, 0, PARE__ON_DEVICE, pool, NULL, NULL, PARE_POOLING_NORM, "floats"},
    {"", "GlobalMaxPool", 1, 0, PARE__ON_DEVICE, global_pool, NULL, NULL, PARE_POOLING_MAX, "floats"},
    {"", "GlobalAveragePool", 1, 0, PARE__ON_DEVICE, global_pool, NULL, NULL, PARE_POOLING_AVERAGE, "floats"},
    {"", "GlobalLpPool", 2, 0, PARE__ON_DEVICE, global_pool, NULL, NULL, PARE_POOLING_NORM, "floats"},
    {"", "MaxUnpool", 9, 0, PARE__ON_DEVICE, max_unpool, .types = "numbers, bool"},
    {"", "LRN", 1, 0, PARE__ON_DEVICE, local_response, .types = "floats"},
    {0},
};
