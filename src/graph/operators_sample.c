/* GridSample, AffineGrid, RoiAlign, CropAndResize; channels to space and back; crops around the centre.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/resample.h>
#include <stdlib.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/operators_window.h"

/* ---- GridSample ---- */

static pare_status read_sampling(const pare__call *call, pare_sampling *out) {
  static const struct {
    const char *name;
    pare_sampling sampling;
  } names[] = {{"bilinear", PARE_SAMPLING_LINEAR},
               {"linear", PARE_SAMPLING_LINEAR},
               {"nearest", PARE_SAMPLING_NEAREST},
               {"bicubic", PARE_SAMPLING_CUBIC},
               {"cubic", PARE_SAMPLING_CUBIC}};
  for (unsigned i = 0; i < PARE__COUNT(names); i++)
    if (pare__call_text_is(call, "mode", "linear", names[i].name)) {
      *out = names[i].sampling;
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_FORMAT, "its mode is none of linear, nearest and cubic");
}

static pare_status read_padding(const pare__call *call, pare_sampling_padding *out) {
  static const char *const names[] = {"zeros", "border", "reflection"};
  for (unsigned i = 0; i < PARE__COUNT(names); i++)
    if (pare__call_text_is(call, "padding_mode", "zeros", names[i])) {
      *out = (pare_sampling_padding)i;
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_FORMAT, "its padding_mode is none of zeros, border and reflection");
}

static pare_status grid_sample(pare__call *call) {
  pare_tensor *x, *grid, *y;
  pare_sampling sampling = PARE_SAMPLING_LINEAR;
  pare_sampling_padding padding = PARE_SAMPLING_ZEROS;
  char x_text[PARE__SHAPE_TEXT], grid_text[PARE__SHAPE_TEXT];
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &grid));
  PARE__TRY(read_sampling(call, &sampling));
  PARE__TRY(read_padding(call, &padding));
  if (x->shape.rank < 3 || grid->shape.rank != x->shape.rank)
    return pare__call_fail(call, PARE_ERR_SHAPE, "x has shape %s, the grid %s: their ranks must be equal, 3 or more",
                           pare__shape_text(x->shape.rank, x->shape.dim, x_text, sizeof x_text),
                           pare__shape_text(grid->shape.rank, grid->shape.dim, grid_text, sizeof grid_text));
  int64_t dim[PARE_MAX_RANK] = {x->shape.dim[0], x->shape.dim[1]};
  for (int d = 2; d < x->shape.rank; d++) dim[d] = grid->shape.dim[d - 1];
  PARE__TRY(pare__call_cast(call, grid, x->dtype, &grid));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, dim, &y));
  return pare_grid_sample(x, grid, sampling, padding, pare__call_get_int(call, "align_corners", 0) != 0, y);
}

/* ---- AffineGrid ---- */

/* Coordinates of `length` elements from -1 to 1, along dimension `axis` of `rank`. */
static pare_status coordinates(pare__call *call, int rank, int axis, int64_t length, bool align, pare_dtype dtype,
                               pare_tensor **out) {
  int64_t dim[PARE_MAX_RANK];
  float *values = malloc((size_t)(length + 1) * sizeof *values);
  if (!values) return pare__fail_memory("coordinates", (size_t)length * sizeof *values);
  for (int64_t i = 0; i < length; i++) {
    const double last = (double)(length - 1);
    values[i] =
        (float)(align ? (length > 1 ? 2 * (double)i / last - 1 : -1) : (2 * (double)i + 1) / (double)length - 1);
  }
  for (int d = 0; d < rank; d++) dim[d] = d == axis ? length : 1;
  pare_status status = pare__call_constant(call, PARE_F32, rank, dim, values, out);
  free(values);
  return status == PARE_OK ? pare__call_cast(call, *out, dtype, out) : status;
}

/* grid[n][p…][i] = sum over k of theta[n][i][k] coordinate_k(p) + theta[n][i][last]; innermost dimension first. */
static pare_status affine_grid(pare__call *call) {
  pare_tensor *theta, *grid, *term, *column, *along;
  int64_t size[PARE_MAX_RANK], dim[PARE_MAX_RANK];
  size_t count;
  char text[PARE__SHAPE_TEXT];
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(pare__call_tensor(call, 0, &theta));
  PARE__TRY(pare__call_ints(call, 1, size, 5, &count));
  const int spatial = (int)count - 2, rank = (int)count;
  const bool align = pare__call_get_int(call, "align_corners", 0) != 0;
  if (count < 4 || theta->shape.rank != 3 || theta->shape.dim[0] != size[0] || theta->shape.dim[1] != spatial ||
      theta->shape.dim[2] != spatial + 1)
    return pare__call_fail(call, PARE_ERR_SHAPE, "theta has shape %s; a size of %zu entries needs [N, %d, %d]",
                           pare__shape_text(theta->shape.rank, theta->shape.dim, text, sizeof text), count, spatial,
                           spatial + 1);
  for (int d = 2; d < rank; d++)
    if (size[d] < 0 || size[d] > INT32_MAX)
      return pare__call_fail(call, PARE_ERR_SHAPE, "its size has the entry %lld", (long long)size[d]);
  dim[0] = size[0];
  memcpy(dim + 1, size + 2, (size_t)spatial * sizeof *dim);
  dim[rank - 1] = spatial;
  PARE__TRY(pare__call_output(call, 0, theta->dtype, rank, dim, &grid));
  if (pare__shape_elements(&grid->shape) == 0) return PARE_OK;
  int64_t column_dim[PARE_MAX_RANK];
  for (int d = 0; d < rank; d++) column_dim[d] = d == 0 ? size[0] : d == rank - 1 ? spatial : 1;
  PARE__TRY(pare__call_scratch(call, theta->dtype, rank, dim, &term));
  for (int k = spatial; k >= 0; k--) {
    PARE__TRY(pare_tensor_slice(theta, 2, k, 1, 1, &column));
    PARE__TRY(pare__call_keep(call, column));
    PARE__TRY(pare__call_reshaped(call, column, rank, column_dim, &column));
    if (k == spatial) {
      PARE__TRY(pare_copy(column, grid));
      continue;
    }
    PARE__TRY(pare__call_broadcast(call, column, rank, dim, &column));
    PARE__TRY(coordinates(call, rank, rank - 2 - k, size[rank - 1 - k], align, theta->dtype, &along));
    PARE__TRY(pare_binary(PARE_BINARY_mul, column, along, term));
    PARE__TRY(pare_binary(PARE_BINARY_add, grid, term, grid));
  }
  return PARE_OK;
}

/* ---- RoiAlign ---- */

static pare_status roi_align(pare__call *call) {
  pare_tensor *x, *rois, *batch, *y;
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &rois));
  PARE__TRY(pare__call_tensor(call, 2, &batch));
  const int64_t height = pare__call_get_int(call, "output_height", 1),
                width = pare__call_get_int(call, "output_width", 1);
  const int64_t ratio = pare__call_get_int(call, "sampling_ratio", 0);
  const char *otherwise = call->node->opset < 16 ? "output_half_pixel" : "half_pixel";
  if (x->shape.rank != 4 || rois->shape.rank != 2 || height < 1 || width < 1 || height > INT32_MAX ||
      width > INT32_MAX || ratio < 0 || ratio > 1024)
    return pare__call_fail(
        call, PARE_ERR_SHAPE,
        "ranks %d and %d, %lld x %lld bins, sampling ratio %lld: x has rank 4, rois 2, bins are positive",
        x->shape.rank, rois->shape.rank, (long long)height, (long long)width, (long long)ratio);
  const pare_roi_options options = {
      .spatial_scale = pare__call_get_float(call, "spatial_scale", 1),
      .sampling_ratio = (int)ratio,
      .half_pixel = pare__call_text_is(call, "coordinate_transformation_mode", otherwise, "half_pixel"),
      .maximum = pare__call_text_is(call, "mode", "avg", "max")};
  const int64_t dim[] = {rois->shape.dim[0], x->shape.dim[1], height, width};
  PARE__TRY(pare__call_output(call, 0, x->dtype, 4, dim, &y));
  return pare_roi_align(x, rois, batch, &options, y);
}

/* ---- MaxRoiPool ---- */

/* rois [R, 5]: the index in the batch, then the corners. */
static pare_status max_roi_pool(pare__call *call) {
  pare_tensor *x, *rois, *batch, *corners, *y;
  int64_t bins[2];
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &rois));
  PARE__TRY(pare__call_per_dimension(call, "pooled_shape", 2, 0, bins));
  if (x->shape.rank != 4 || rois->shape.rank != 2 || rois->shape.dim[1] != 5 || bins[0] < 1 || bins[1] < 1 ||
      bins[0] > INT32_MAX || bins[1] > INT32_MAX)
    return pare__call_fail(call, PARE_ERR_SHAPE, "ranks %d and %d, %lld x %lld bins: x has rank 4, rois are [n, 5]",
                           x->shape.rank, rois->shape.rank, (long long)bins[0], (long long)bins[1]);
  const pare_roi_options options = {.spatial_scale = pare__call_get_float(call, "spatial_scale", 1),
                                    .whole_bins = true};
  const int64_t count = rois->shape.dim[0], dim[] = {count, x->shape.dim[1], bins[0], bins[1]};
  PARE__TRY(pare__call_at(call, rois, 1, 0, &batch));
  PARE__TRY(pare__call_cast(call, batch, PARE_I64, &batch));
  PARE__TRY(pare__call_slice(call, rois, 1, 1, 4, 1, &corners));
  PARE__TRY(pare__call_output(call, 0, x->dtype, 4, dim, &y));
  return pare_roi_align(x, corners, batch, &options, y);
}

/* ---- com.microsoft CropAndResize ---- */

/* Where the elements of the crops lie in the images, along one dimension. */
typedef struct crop_axis {
  pare_tensor *inside;   /* bool: the place is in the image */
  pare_tensor *first;    /* i64: the element at the place or before it */
  pare_tensor *last;     /* i64: the one at the place or behind it; the nearest one if that is asked for */
  pare_tensor *fraction; /* how far the place lies from the first to the last; with a last dimension of 1 */
} crop_axis;

typedef struct crops {
  pare__call *call;
  pare_dtype dtype; /* of the arithmetic */
  bool nearest;
  int64_t count, size[2];  /* size: of a crop */
  pare_tensor *x;          /* [N, C, H, W] */
  pare_tensor *boxes;      /* [count, 4]: y1, x1, y2, x2 as parts of an image */
  pare_tensor *first_line; /* i64 [count, 1, 1]: of the N H lines */
  crop_axis axis[2];       /* [count, size[0], 1] and [count, 1, size[1]] */
} crops;

/* Corners are aligned: the first and the last element of a crop lie at the edges of its box, a single one in the
 * middle.
 */
static pare_status find_places(const crops *c, int d, pare_tensor **out) {
  pare__call *call = c->call;
  const int64_t size = c->size[d], length = c->x->shape.dim[2 + d], edge[3] = {c->count, 1, 1};
  const double reach = (double)(length - 1);
  int64_t dim[3] = {c->count, 1, 1};
  pare_tensor *from, *to, *extent, *range;
  dim[1 + d] = size;
  PARE__TRY(pare__call_slice(call, c->boxes, 1, d, 1, 1, &from));
  PARE__TRY(pare__call_slice(call, c->boxes, 1, d + 2, 1, 1, &to));
  PARE__TRY(pare__call_reshaped(call, from, 3, edge, &from));
  PARE__TRY(pare__call_reshaped(call, to, 3, edge, &to));
  PARE__TRY(pare__call_scratch(call, c->dtype, 3, edge, &extent));
  PARE__TRY(pare__call_scratch(call, c->dtype, 3, dim, out));
  if (size == 1) {
    PARE__TRY(pare_binary(PARE_BINARY_add, from, to, extent));
    return pare_unary_with(PARE_UNARY_affine, reach / 2, 0, extent, *out);
  }
  PARE__TRY(pare_binary(PARE_BINARY_sub, to, from, extent));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, reach / (double)(size - 1), 0, extent, extent));
  PARE__TRY(pare__call_range(call, c->dtype, size, 3, 1 + d, &range));
  PARE__TRY(pare_binary(PARE_BINARY_mul, extent, range, *out));
  PARE__TRY(pare__call_scratch(call, c->dtype, 3, edge, &extent));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, reach, 0, from, extent));
  return pare_binary(PARE_BINARY_add, *out, extent, *out);
}

/* *whole = floor(place), *fraction = the rest, as tensors of the arithmetic. */
static pare_status split_place(const crops *c, pare_tensor *place, pare_tensor **whole, pare_tensor **fraction) {
  PARE__TRY(pare__call_scratch(c->call, c->dtype, 3, place->shape.dim, whole));
  PARE__TRY(pare__call_scratch(c->call, c->dtype, 3, place->shape.dim, fraction));
  PARE__TRY(pare_unary(PARE_UNARY_floor, place, *whole));
  return pare_binary(PARE_BINARY_sub, place, *whole, *fraction);
}

static pare_status read_axis(crops *c, int d) {
  pare__call *call = c->call;
  crop_axis *axis = &c->axis[d];
  pare_tensor *place, *least, *most, *half, *low, *next;
  PARE__TRY(find_places(c, d, &place));
  const int64_t *dim = place->shape.dim, with_channels[4] = {dim[0], dim[1], dim[2], 1};
  PARE__TRY(pare__call_scalar(call, c->dtype, 0, &least));
  PARE__TRY(pare__call_scalar(call, c->dtype, (double)(c->x->shape.dim[2 + d] - 1), &most));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, dim, &axis->inside));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, dim, &next));
  PARE__TRY(pare_binary(PARE_BINARY_greater_equal, place, least, next));
  PARE__TRY(pare_binary(PARE_BINARY_less_equal, place, most, axis->inside));
  PARE__TRY(pare_binary(PARE_BINARY_and, next, axis->inside, axis->inside));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, axis->inside, place, least, place));
  PARE__TRY(split_place(c, place, &low, &axis->fraction));
  PARE__TRY(pare__call_cast(call, low, PARE_I64, &axis->first));
  /* The element after it: from the middle on, the nearest one; always, where both are blended. */
  PARE__TRY(pare__call_scalar(call, c->dtype, 0.5, &half));
  PARE__TRY(c->nearest ? pare_binary(PARE_BINARY_greater_equal, axis->fraction, half, next)
                       : pare_binary(PARE_BINARY_greater, axis->fraction, least, next));
  PARE__TRY(pare__call_cast(call, next, PARE_I64, &next));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 3, dim, &axis->last));
  PARE__TRY(pare_binary(PARE_BINARY_add, axis->first, next, axis->last));
  return pare__call_reshaped(call, axis->fraction, 4, with_channels, &axis->fraction);
}

/* *out [count, size[0], size[1], C] = the rows [N H W, C] at these places. */
static pare_status take_places(const crops *c, pare_tensor *rows, pare_tensor *y, pare_tensor *x, pare_tensor **out) {
  pare__call *call = c->call;
  const int64_t dim[4] = {c->count, c->size[0], c->size[1], rows->shape.dim[1]};
  pare_tensor *line, *index, *width;
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)c->x->shape.dim[3], &width));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 3, y->shape.dim, &line));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 3, dim, &index));
  PARE__TRY(pare_binary(PARE_BINARY_add, c->first_line, y, line));
  PARE__TRY(pare_binary(PARE_BINARY_mul, line, width, line));
  PARE__TRY(pare_binary(PARE_BINARY_add, line, x, index));
  PARE__TRY(pare__call_scratch(call, c->dtype, 4, dim, out));
  return pare_gather(rows, index, 0, *out);
}

/* from = from + (to - from) fraction */
static pare_status blend(pare_tensor *from, pare_tensor *to, pare_tensor *fraction) {
  PARE__TRY(pare_binary(PARE_BINARY_sub, to, from, to));
  PARE__TRY(pare_binary(PARE_BINARY_mul, to, fraction, to));
  return pare_binary(PARE_BINARY_add, from, to, from);
}

/* *out [count, size[0], size[1], C] */
static pare_status sample_places(const crops *c, pare_tensor **out) {
  pare__call *call = c->call;
  const int64_t *image = c->x->shape.dim;
  const crop_axis *y = &c->axis[0], *x = &c->axis[1];
  pare_tensor *rows, *corner[2][2];
  PARE__TRY(pare__call_permuted(call, c->x, (const int[]){0, 2, 3, 1}, &rows));
  PARE__TRY(pare__call_reshaped(call, rows, 2, (const int64_t[]){image[0] * image[2] * image[3], image[1]}, &rows));
  PARE__TRY(pare__call_cast(call, rows, c->dtype, &rows));
  if (c->nearest) return take_places(c, rows, y->last, x->last, out);
  for (int i = 0; i < 2; i++) {
    for (int k = 0; k < 2; k++)
      PARE__TRY(take_places(c, rows, i ? y->last : y->first, k ? x->last : x->first, &corner[i][k]));
    PARE__TRY(blend(corner[i][0], corner[i][1], x->fraction));
  }
  *out = corner[0][0];
  return blend(corner[0][0], corner[1][0], y->fraction);
}

/* Which line of all images each box's image begins with; one of an image that there is not is beyond all of them. */
static pare_status find_lines(crops *c) {
  pare__call *call = c->call;
  const int64_t dim[3] = {c->count, 1, 1};
  pare_tensor *batch, *zero, *none, *height, *missing;
  PARE__TRY(pare__call_tensor(call, 2, &batch));
  PARE__TRY(pare__call_cast(call, batch, PARE_I64, &batch));
  PARE__TRY(pare__call_reshaped(call, batch, 3, dim, &batch));
  PARE__TRY(pare__call_scalar(call, PARE_I64, 0, &zero));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)c->x->shape.dim[0], &none));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)c->x->shape.dim[2], &height));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, dim, &missing));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 3, dim, &c->first_line));
  PARE__TRY(pare_binary(PARE_BINARY_less, batch, zero, missing));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, missing, none, batch, c->first_line));
  return pare_binary(PARE_BINARY_mul, c->first_line, height, c->first_line);
}

static pare_status read_crops(crops *c) {
  pare__call *call = c->call;
  size_t count;
  PARE__TRY(pare__call_check(call, 4, 4));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(pare__call_tensor(call, 0, &c->x));
  PARE__TRY(pare__call_tensor(call, 1, &c->boxes));
  PARE__TRY(pare__call_ints(call, 3, c->size, 2, &count));
  const pare__shape *x = &c->x->shape, *boxes = &c->boxes->shape, *batch = &call->input[2]->shape;
  if (x->rank != 4 || boxes->rank != 2 || boxes->dim[1] != 4 || pare__shape_elements(batch) != boxes->dim[0] ||
      count != 2 || c->size[0] < 1 || c->size[1] < 1 || c->size[0] > INT32_MAX || c->size[1] > INT32_MAX)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "ranks %d and %d, %lld indices, %zu sizes: x has rank 4, boxes are [n, 4] with n indices of "
                           "images, and a crop has a height and a width",
                           x->rank, boxes->rank, (long long)pare__shape_elements(batch), count);
  c->nearest = pare__call_text_is(call, "mode", "bilinear", "nearest");
  if (!c->nearest && !pare__call_text_is(call, "mode", "bilinear", "bilinear"))
    return pare__call_fail(call, PARE_ERR_FORMAT, "its mode is neither bilinear nor nearest");
  c->dtype = c->x->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  c->count = boxes->dim[0];
  return pare__call_cast(call, c->boxes, c->dtype, &c->boxes);
}

static pare_status crop_and_resize(pare__call *call) {
  crops c = {.call = call};
  pare_tensor *inside, *outside, *samples, *out;
  PARE__TRY(read_crops(&c));
  const int64_t dim[4] = {c.count, c.x->shape.dim[1], c.size[0], c.size[1]}, places[4] = {dim[0], dim[2], dim[3], 1};
  PARE__TRY(pare__call_output(call, 0, c.x->dtype, 4, dim, &out));
  if (pare__shape_elements(&out->shape) == 0) return PARE_OK;
  PARE__TRY(find_lines(&c));
  for (int d = 0; d < 2; d++) PARE__TRY(read_axis(&c, d));
  PARE__TRY(sample_places(&c, &samples));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, places, &inside));
  PARE__TRY(pare_binary(PARE_BINARY_and, c.axis[0].inside, c.axis[1].inside, inside));
  PARE__TRY(pare__call_reshaped(call, inside, 4, places, &inside));
  PARE__TRY(pare__call_scalar(call, c.dtype, pare__call_get_float(call, "extrapolation_value", 0), &outside));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, inside, samples, outside, samples));
  PARE__TRY(pare__call_permuted(call, samples, (const int[]){0, 3, 1, 2}, &samples));
  return pare_cast(samples, out);
}

/* ---- DepthToSpace, SpaceToDepth ---- */

/* Splits and permutes the six dimensions that both are about: x as `split`, its axes in this order, then as y. */
static pare_status rearrange(pare__call *call, pare_tensor *x, const int64_t *split, const int *axes,
                             const int64_t *dim) {
  pare_tensor *parts, *turned, *y, *to;
  int64_t order[6];
  PARE__TRY(pare__call_reshaped(call, x, 6, split, &parts));
  PARE__TRY(pare_tensor_permute(parts, axes, &turned));
  PARE__TRY(pare__call_keep(call, turned));
  for (int d = 0; d < 6; d++) order[d] = turned->shape.dim[d];
  PARE__TRY(pare__call_output(call, 0, x->dtype, 4, dim, &y));
  PARE__TRY(pare__call_reshaped(call, y, 6, order, &to));
  return pare_copy(turned, to);
}

static pare_status read_block(pare__call *call, pare_tensor **x, int64_t *block) {
  char text[PARE__SHAPE_TEXT];
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, x));
  *block = pare__call_get_int(call, "blocksize", 0);
  const int64_t *dim = (*x)->shape.dim;
  const bool deep = call->node->op->detail == 0;
  const bool fits = (*x)->shape.rank == 4 && *block >= 1 && *block <= 32768 &&
                    (deep ? dim[1] % (*block * *block) == 0 : dim[2] % *block == 0 && dim[3] % *block == 0);
  if (fits) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "its input has shape %s, which blocks of %lld do not divide",
                         pare__shape_text((*x)->shape.rank, dim, text, sizeof text), (long long)*block);
}

static pare_status depth_to_space(pare__call *call) {
  pare_tensor *x;
  int64_t b;
  PARE__TRY(read_block(call, &x, &b));
  const int64_t *dim = x->shape.dim, c = dim[1] / (b * b);
  const int64_t to[] = {dim[0], c, dim[2] * b, dim[3] * b};
  if (pare__call_text_is(call, "mode", "DCR", "CRD"))
    return rearrange(call, x, (const int64_t[]){dim[0], c, b, b, dim[2], dim[3]}, (const int[]){0, 1, 4, 2, 5, 3}, to);
  return rearrange(call, x, (const int64_t[]){dim[0], b, b, c, dim[2], dim[3]}, (const int[]){0, 3, 4, 1, 5, 2}, to);
}

static pare_status space_to_depth(pare__call *call) {
  pare_tensor *x;
  int64_t b;
  PARE__TRY(read_block(call, &x, &b));
  const int64_t *dim = x->shape.dim, to[] = {dim[0], dim[1] * b * b, dim[2] / b, dim[3] / b};
  const int64_t split[] = {dim[0], dim[1], dim[2] / b, b, dim[3] / b, b};
  const bool columns = pare__call_text_is(call, "mode", "DCR", "CRD");
  return rearrange(call, x, split, columns ? (const int[]){0, 1, 3, 5, 2, 4} : (const int[]){0, 3, 5, 1, 2, 4}, to);
}

/* ---- CenterCropPad ---- */

static pare_status center_crop_pad(pare__call *call) {
  pare_tensor *x, *y;
  int64_t wanted[PARE_MAX_RANK], given[PARE_MAX_RANK], dim[PARE_MAX_RANK];
  int64_t before[PARE_MAX_RANK] = {0}, after[PARE_MAX_RANK] = {0};
  size_t count, ngiven;
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_ints(call, 1, wanted, PARE_MAX_RANK, &count));
  PARE__TRY(pare__call_get_ints(call, "axes", given, PARE_MAX_RANK, &ngiven));
  if (count != (ngiven ? ngiven : (size_t)x->shape.rank))
    return pare__call_fail(call, PARE_ERR_SHAPE, "its shape has %zu entries; it needs %zu", count,
                           ngiven ? ngiven : (size_t)x->shape.rank);
  memcpy(dim, x->shape.dim, sizeof dim);
  for (size_t i = 0; i < count; i++) {
    int d = (int)i;
    if (ngiven) PARE__TRY(pare__call_axis(call, given[i], x->shape.rank, &d));
    const int64_t more = wanted[i] - x->shape.dim[d];
    if (wanted[i] < 0 || wanted[i] > INT64_MAX / 4)
      return pare__call_fail(call, PARE_ERR_SHAPE, "axis %d cannot be %lld long", d, (long long)wanted[i]);
    dim[d] = wanted[i];
    before[d] = more < 0 ? -(-more / 2) : more / 2;
    after[d] = more - before[d];
  }
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, dim, &y));
  return pare_pad(x, before, after, PARE_PAD_CONSTANT, 0, y);
}

const pare__operator pare__operators_sample[] = {
    {"", "GridSample", 16, 0, PARE__ON_DEVICE, grid_sample, .types = "floats"},
    {"com.microsoft", "GridSample", 1, 0, PARE__ON_DEVICE, grid_sample, .types = "floats"},
    {"", "AffineGrid", 20, 0, PARE__ON_DEVICE, affine_grid, .types = "floats"},
    {"", "RoiAlign", 10, 0, PARE__ON_DEVICE, roi_align, .types = "floats"},
    {"", "MaxRoiPool", 1, 0, PARE__ON_DEVICE, max_roi_pool, .types = "floats"},
    {"com.microsoft", "CropAndResize", 1, 0, PARE__ON_DEVICE, crop_and_resize, .types = "floats"},
    {"", "DepthToSpace", 1, 0, PARE__ON_DEVICE, depth_to_space, .detail = 0, .types = "any"},
    {"", "SpaceToDepth", 1, 0, PARE__ON_DEVICE, space_to_depth, .detail = 1, .types = "any"},
    {"", "CenterCropPad", 18, 0, PARE__ON_DEVICE, center_crop_pad, .types = "any"},
    {0},
};
