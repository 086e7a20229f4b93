/* DeformConv: a convolution whose weights meet x wherever learnt offsets say. SPDX-License-Identifier: Apache-2.0
 *
 * y[n][o][p] = bias[o] + sum over c, k of w[o][c][k] mask[n][k][p] x[n][c](p stride - pad + k dilation +
 * offset[n][k][p]) (Dai et al. 2017; Zhu et al. 2018). Groups of offsets become batches and the places k of a kernel
 * more rows of a grid, so that one sampling fetches all that a product with the weights then adds up. */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/resample.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/operators_window.h"

enum { X, W, OFFSET, BIAS, MASK };

typedef struct deform {
  pare__call *call;
  pare__window_plan window;
  int rank;                                        /* spatial dimensions */
  int64_t batch, channels, outputs, groups, apart; /* apart: groups of offsets */
  int64_t places, area, y[PARE_CONVOLUTION_RANK];  /* of a kernel; of y */
  int64_t steps[PARE_CONVOLUTION_RANK];            /* of the kernel's places along each dimension */
  pare_dtype dtype;                                /* that it is computed in */
  pare_tensor *x, *w, *offset, *bias, *mask;
} deform;

static pare_status check_shape(const deform *d, const char *name, const pare_tensor *tensor, int64_t channels) {
  char text[PARE__SHAPE_TEXT], wanted[PARE__SHAPE_TEXT];
  int64_t dim[PARE_MAX_RANK] = {d->batch, channels};
  memcpy(dim + 2, d->y, (size_t)d->rank * sizeof *dim);
  const pare__shape *shape = &tensor->shape;
  if (shape->rank == d->rank + 2 && memcmp(shape->dim, dim, (size_t)shape->rank * sizeof *dim) == 0) return PARE_OK;
  return pare__call_fail(d->call, PARE_ERR_SHAPE, "the %s has shape %s; it must be %s", name,
                         pare__shape_text(shape->rank, shape->dim, text, sizeof text),
                         pare__shape_text(d->rank + 2, dim, wanted, sizeof wanted));
}

static pare_status read_deform(pare__call *call, deform *d) {
  pare_tensor **input[] = {&d->x, &d->w, &d->offset, &d->bias, &d->mask};
  PARE__TRY(pare__call_check(call, 3, 5));
  for (unsigned i = 0; i < PARE__COUNT(input); i++) PARE__TRY(pare__call_tensor(call, i, input[i]));
  const pare__shape *x = &d->x->shape, *w = &d->w->shape;
  d->call = call;
  d->groups = pare__call_get_int(call, "group", 1);
  d->apart = pare__call_get_int(call, "offset_group", 1);
  if (x->rank < 3 || w->rank != x->rank || d->groups < 1 || d->apart < 1 || x->dim[1] % d->groups != 0 ||
      x->dim[1] % d->apart != 0 || w->dim[0] % d->groups != 0 || w->dim[1] != x->dim[1] / d->groups)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "x and w of ranks %d and %d do not fit %lld groups and %lld of offsets", x->rank, w->rank,
                           (long long)d->groups, (long long)d->apart);
  if (x->rank > 5)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED,
                           "x has rank %d; batch, channels and 1 to 3 spatial dimensions "
                           "are possible",
                           x->rank);
  PARE__TRY(pare__call_window(call, x->rank, w->dim + 2, &d->window));
  PARE__TRY(pare__call_window_sizes(call, &d->window, x->dim + 2, false, d->y));
  d->rank = d->window.rank;
  d->batch = x->dim[0];
  d->channels = x->dim[1];
  d->outputs = w->dim[0];
  d->places = d->area = 1;
  for (int i = 0; i < d->rank; i++) {
    d->steps[i] = d->window.kernel[i];
    if (!pare__i64_mul(d->places, d->steps[i], &d->places) || !pare__i64_mul(d->area, d->y[i], &d->area) ||
        d->places > INT32_MAX || d->area > INT32_MAX)
      return pare__call_fail(call, PARE_ERR_LIMIT, "kernels or outputs of over %d elements", INT32_MAX);
  }
  PARE__TRY(check_shape(d, "offset", d->offset, d->apart * d->places * d->rank));
  if (d->mask) PARE__TRY(check_shape(d, "mask", d->mask, d->apart * d->places));
  if (d->bias && (d->bias->shape.rank != 1 || d->bias->shape.dim[0] != d->outputs))
    return pare__call_fail(call, PARE_ERR_SHAPE, "the bias has rank %d; %lld elements are needed", d->bias->shape.rank,
                           (long long)d->outputs);
  d->dtype = d->x->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  for (unsigned i = 0; i < PARE__COUNT(input); i++)
    if (*input[i]) PARE__TRY(pare__call_cast(call, *input[i], d->dtype, input[i]));
  return PARE_OK;
}

/* Where along dimension i, in GridSample's coordinates, places and outputs lie without an offset: [places, 1…, y[i],
 * 1…]. */
static pare_status regular_places(const deform *d, int i, pare_tensor **out) {
  int64_t dim[PARE_MAX_RANK] = {d->places}, inner = 1;
  for (int k = 0; k < d->rank; k++) dim[1 + k] = k == i ? d->y[i] : 1;
  for (int k = i + 1; k < d->rank; k++) inner *= d->steps[k];
  const double length = (double)d->x->shape.dim[2 + i];
  const size_t size = pare_dtype_bytes(d->dtype), count = (size_t)(d->places * d->y[i]);
  void *values = malloc(count * size + 1);
  if (!values) return pare__fail_memory("places of a kernel", count * size);
  for (size_t e = 0; e < count; e++) {
    const int64_t step = (int64_t)e / d->y[i] / inner % d->steps[i], at = (int64_t)e % d->y[i];
    const int64_t place = at * d->window.stride[i] - d->window.before[i] + step * d->window.dilation[i];
    pare__store(d->dtype, values, e, (2 * (double)place + 1) / length - 1);
  }
  const pare_status status = pare__call_constant(d->call, d->dtype, 1 + d->rank, dim, values, out);
  free(values);
  return status;
}

/* The grid [batch * apart, places, y…, rank], whose last axis begins with the innermost dimension. */
static pare_status make_grid(const deform *d, pare_tensor **out) {
  int64_t dim[PARE_MAX_RANK] = {d->batch * d->apart, d->places, d->rank}, grid[PARE_MAX_RANK];
  memcpy(dim + 3, d->y, (size_t)d->rank * sizeof *dim);
  memcpy(grid, dim, sizeof grid);
  memcpy(grid + 2, d->y, (size_t)d->rank * sizeof *dim);
  grid[2 + d->rank] = d->rank;
  pare_tensor *offsets;
  PARE__TRY(pare__call_reshaped(d->call, d->offset, 3 + d->rank, dim, &offsets));
  PARE__TRY(pare__call_scratch(d->call, d->dtype, 3 + d->rank, grid, out));
  for (int i = 0; i < d->rank; i++) {
    pare_tensor *moved, *scaled, *regular, *to;
    PARE__TRY(pare__call_at(d->call, offsets, 2, i, &moved));
    PARE__TRY(pare__call_scratch(d->call, d->dtype, 2 + d->rank, grid, &scaled));
    PARE__TRY(pare_unary_with(PARE_UNARY_affine, 2 / (double)d->x->shape.dim[2 + i], 0, moved, scaled));
    PARE__TRY(regular_places(d, i, &regular));
    PARE__TRY(pare__call_at(d->call, *out, 2 + d->rank, d->rank - 1 - i, &to));
    PARE__TRY(pare_binary(PARE_BINARY_add, scaled, regular, to));
  }
  return PARE_OK;
}

/* What each output sees of x: [batch, groups, channels / groups * places, area]. */
static pare_status sample(const deform *d, pare_tensor **out) {
  const int64_t each = d->channels / d->apart;
  int64_t from[PARE_MAX_RANK] = {d->batch * d->apart, each}, at[PARE_MAX_RANK] = {from[0]}, to[PARE_MAX_RANK];
  memcpy(from + 2, d->x->shape.dim + 2, (size_t)d->rank * sizeof *from);
  memcpy(at + 1, d->y, (size_t)d->rank * sizeof *at);
  at[1] *= d->places; /* the places of a kernel are more of y's outermost dimension */
  at[1 + d->rank] = d->rank;
  memcpy(to + 2, at + 1, (size_t)d->rank * sizeof *to);
  to[0] = from[0];
  to[1] = each;
  pare_tensor *x, *grid, *columns;
  PARE__TRY(make_grid(d, &grid));
  PARE__TRY(pare__call_reshaped(d->call, grid, 2 + d->rank, at, &grid));
  PARE__TRY(pare__call_reshaped(d->call, d->x, 2 + d->rank, from, &x));
  PARE__TRY(pare__call_scratch(d->call, d->dtype, 2 + d->rank, to, &columns));
  PARE__TRY(pare_grid_sample(x, grid, PARE_SAMPLING_LINEAR, PARE_SAMPLING_ZEROS, false, columns));
  if (d->mask) {
    const int64_t apart[3] = {from[0], each, d->places * d->area}, one[3] = {from[0], 1, apart[2]};
    pare_tensor *mask, *all;
    PARE__TRY(pare__call_reshaped(d->call, d->mask, 3, one, &mask));
    PARE__TRY(pare__call_reshaped(d->call, columns, 3, apart, &all));
    PARE__TRY(pare_binary(PARE_BINARY_mul, all, mask, all));
  }
  const int64_t dim[4] = {d->batch, d->groups, d->channels / d->groups * d->places, d->area};
  return pare__call_reshaped(d->call, columns, 4, dim, out);
}

static pare_status deform_convolution(pare__call *call) {
  deform d = {0};
  PARE__TRY(read_deform(call, &d));
  int64_t dim[PARE_MAX_RANK] = {d.batch, d.outputs};
  memcpy(dim + 2, d.y, (size_t)d.rank * sizeof *dim);
  pare_tensor *columns, *w, *sum, *y;
  const int64_t depth = d.channels / d.groups * d.places, each = d.outputs / d.groups;
  PARE__TRY(pare__call_output(call, 0, call->input[X]->dtype, 2 + d.rank, dim, &y));
  if (pare__shape_elements(&y->shape) == 0) return PARE_OK;
  if (pare__shape_elements(&d.x->shape) == 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "x has no elements to sample");
  PARE__TRY(sample(&d, &columns));
  PARE__TRY(pare__call_reshaped(call, d.w, 4, (const int64_t[]){1, d.groups, each, depth}, &w));
  PARE__TRY(pare__call_scratch(call, d.dtype, 4, (const int64_t[]){d.batch, d.groups, each, d.area}, &sum));
  PARE__TRY(pare_gemm(w, columns, NULL, NULL, sum));
  PARE__TRY(pare__call_reshaped(call, sum, 2 + d.rank, dim, &sum));
  if (d.bias) {
    int64_t column[PARE_MAX_RANK] = {1, d.outputs, 1, 1, 1};
    PARE__TRY(pare__call_reshaped(call, d.bias, 2 + d.rank, column, &d.bias));
    PARE__TRY(pare_binary(PARE_BINARY_add, sum, d.bias, sum));
  }
  return pare_cast(sum, y);
}

const pare__operator pare__operators_deform[] = {
    {"", "DeformConv", 19, 0, PARE__ON_DEVICE, deform_convolution, .types = "floats"},
    {0},
};
