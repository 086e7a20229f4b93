/* Interpolation, sampling on grids and in regions. SPDX-License-Identifier: Apache-2.0 */
#include <pare/resample.h>
#include <string.h>

#include "kernel/family_resample.h"
#include "op/op.h"

/* ---- interpolate ---- */

enum { ACCESS_X, ACCESS_INDICES, ACCESS_WEIGHTS, ACCESS_Y, NACCESSES };

/* Split along the outer axis, or, if there is only one, along the one that is made. */
static pare_status run_interpolate(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  pare__problem problem = *whole;
  problem.dim[whole->dim[INTERPOLATE_OUTER] > 1 ? INTERPOLATE_OUTER : INTERPOLATE_MADE] = piece->end - piece->begin;
  pare__operand operand[NACCESSES];
  for (int i = 0; i < NACCESSES; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_interpolate, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_interpolate, &choice, whole, &problem, operand);
}

static const pare__codelet interpolate_codelet = {"interpolate", run_interpolate};

/* All contiguous. */
static pare_status submit_interpolate(pare_tensor *x, int axis, pare_tensor *indices, pare_tensor *weights,
                                      double outside, pare_tensor *y) {
  if (pare__shape_elements(&y->shape) == 0) return PARE_OK;
  pare__problem whole;
  memset(&whole, 0, sizeof whole);
  int64_t *dim = whole.dim;
  dim[INTERPOLATE_OUTER] = dim[INTERPOLATE_INNER] = 1;
  for (int d = 0; d < x->shape.rank; d++)
    if (d != axis) dim[d < axis ? INTERPOLATE_OUTER : INTERPOLATE_INNER] *= x->shape.dim[d];
  dim[INTERPOLATE_LENGTH] = x->shape.dim[axis];
  dim[INTERPOLATE_MADE] = y->shape.dim[axis];
  dim[INTERPOLATE_TAPS] = indices->shape.dim[1];
  whole.real[0] = outside;
  pare_tensor from = *x, to = *y;
  pare_tensor *const tensors[NACCESSES] = {x, indices, weights, y};
  for (int i = 0; i < NACCESSES; i++) whole.dtype[i] = tensors[i]->dtype;
  pare__shape_set(&from.shape, 3, (const int64_t[]){dim[0], dim[INTERPOLATE_LENGTH], dim[INTERPOLATE_INNER]});
  pare__shape_set(&to.shape, 3, (const int64_t[]){dim[0], dim[INTERPOLATE_MADE], dim[INTERPOLATE_INNER]});
  const bool outer = dim[INTERPOLATE_OUTER] > 1;
  const pare__task task = {.codelet = &interpolate_codelet,
                           .context = y->context,
                           .params = &whole,
                           .params_bytes = sizeof whole,
                           .n = outer ? dim[INTERPOLATE_OUTER] : dim[INTERPOLATE_MADE],
                           .naccesses = NACCESSES,
                           .access = {[ACCESS_X] = {&from, PARE__READ, outer ? 0 : PARE__WHOLE, 1},
                                      [ACCESS_INDICES] = {indices, PARE__READ, outer ? PARE__WHOLE : 0, 1},
                                      [ACCESS_WEIGHTS] = {weights, PARE__READ, outer ? PARE__WHOLE : 0, 1},
                                      [ACCESS_Y] = {&to, PARE__WRITE, outer ? 0 : 1, 1}}};
  return pare__submit(&task);
}

static pare_status check_interpolate(const char *function, const pare_tensor *x, int axis, const pare_tensor *indices,
                                     const pare_tensor *weights, const pare_tensor *y) {
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__FLOATS));
  PARE__TRY(pare__check_dtype(function, "y", y, x->dtype == PARE_F64 ? PARE__DTYPE(PARE_F64) : PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_dtype(function, "indices", indices, PARE__DTYPE(PARE_I32)));
  PARE__TRY(pare__check_dtype(function, "weights", weights, PARE__DTYPE(x->dtype == PARE_F64 ? PARE_F64 : PARE_F32)));
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  if (y->shape.rank == x->shape.rank) dim[axis] = y->shape.dim[axis];
  PARE__TRY(pare__check_shape(function, "y", y, x->shape.rank, dim));
  PARE__TRY(pare__check_rank(function, "indices", indices, 2, 2));
  const int64_t table[] = {dim[axis], indices->shape.dim[1]};
  PARE__TRY(pare__check_shape(function, "indices", indices, 2, table));
  PARE__TRY(pare__check_shape(function, "weights", weights, 2, table));
  if (x->shape.dim[axis] == 0 && pare__shape_elements(&y->shape) > 0)
    return pare__fail(PARE_ERR_SHAPE, "%s: axis %d of x has no elements to interpolate", function, axis);
  return PARE_OK;
}

pare_status pare_interpolate(pare_tensor *x, int axis, pare_tensor *indices, pare_tensor *weights, double outside,
                             pare_tensor *y) {
  static const char function[] = "pare_interpolate";
  PARE__TRY(pare__check_call(function, y, PARE__NAMED(x), PARE__NAMED(indices), PARE__NAMED(weights)));
  PARE__TRY(pare__axis(function, axis, x->shape.rank, &axis));
  PARE__TRY(check_interpolate(function, x, axis, indices, weights, y));
  pare_tensor *input = NULL, *table = NULL, *factors = NULL, *result = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__contiguous(indices, &table);
  if (status == PARE_OK) status = pare__contiguous(weights, &factors);
  if (status == PARE_OK) status = pare__result_begin(y, &result);
  if (status == PARE_OK) status = submit_interpolate(input, axis, table, factors, outside, result);
  status = pare__result_end(status, y, result);
  pare_tensor_close(input);
  pare_tensor_close(table);
  pare_tensor_close(factors);
  return status;
}

/* ---- grid_sample ---- */

static pare_status run_grid(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  pare__problem problem = *whole;
  problem.dim[GRID_N] = piece->end - piece->begin;
  pare__operand operand[GRID_NBUFFERS];
  for (int i = 0; i < GRID_NBUFFERS; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_grid_sample, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_grid_sample, &choice, whole, &problem, operand);
}

static const pare__codelet grid_codelet = {"grid_sample", run_grid};

static pare_status submit_grid(pare_tensor *x, pare_tensor *grid, int mode, unsigned flags, pare_tensor *y) {
  if (pare__shape_elements(&y->shape) == 0) return PARE_OK;
  pare__problem whole;
  memset(&whole, 0, sizeof whole);
  const int rank = x->shape.rank - 2;
  whole.mode = mode;
  whole.flags = flags;
  whole.dim[GRID_N] = x->shape.dim[0];
  whole.dim[GRID_C] = x->shape.dim[1];
  whole.dim[GRID_RANK] = rank;
  for (int d = 0; d < 3; d++) {
    const int from = d - (3 - rank);
    whole.dim[GRID_X + d] = from < 0 ? 1 : x->shape.dim[2 + from];
    whole.dim[GRID_Y + d] = from < 0 ? 1 : y->shape.dim[2 + from];
  }
  for (int i = 0; i < GRID_NBUFFERS; i++) whole.dtype[i] = x->dtype;
  const pare__task task = {.codelet = &grid_codelet,
                           .context = y->context,
                           .params = &whole,
                           .params_bytes = sizeof whole,
                           .n = x->shape.dim[0],
                           .naccesses = GRID_NBUFFERS,
                           .access = {[GRID_BUFFER_X] = {x, PARE__READ, 0, 1},
                                      [GRID_BUFFER_GRID] = {grid, PARE__READ, 0, 1},
                                      [GRID_BUFFER_Y] = {y, PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

static pare_status check_grid(const char *function, const pare_tensor *x, const pare_tensor *grid,
                              const pare_tensor *y) {
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__FLOATS));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "grid", grid));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "y", y));
  PARE__TRY(pare__check_rank(function, "x", x, 3, 5));
  const int rank = x->shape.rank;
  int64_t dim[PARE_MAX_RANK] = {x->shape.dim[0]};
  for (int d = 2; d < rank; d++) dim[d - 1] = grid->shape.rank == rank ? grid->shape.dim[d - 1] : 1;
  dim[rank - 1] = rank - 2;
  PARE__TRY(pare__check_shape(function, "grid", grid, rank, dim));
  memmove(dim + 2, dim + 1, (size_t)(rank - 2) * sizeof *dim);
  dim[1] = x->shape.dim[1];
  PARE__TRY(pare__check_shape(function, "y", y, rank, dim));
  int64_t area = 1;
  for (int d = 2; d < rank; d++) area *= x->shape.dim[d];
  if (area == 0 && pare__shape_elements(&y->shape) > 0)
    return pare__fail(PARE_ERR_SHAPE, "%s: x has no elements to sample", function);
  return PARE_OK;
}

pare_status pare_grid_sample(pare_tensor *x, pare_tensor *grid, pare_sampling sampling, pare_sampling_padding padding,
                             bool align_corners, pare_tensor *y) {
  static const char function[] = "pare_grid_sample";
  PARE__TRY(pare__check_call(function, y, PARE__NAMED(x), PARE__NAMED(grid)));
  if ((unsigned)sampling > PARE_SAMPLING_CUBIC || (unsigned)padding > PARE_SAMPLING_REFLECTION)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: there is no sampling %d, or no padding %d", function, (int)sampling,
                      (int)padding);
  PARE__TRY(check_grid(function, x, grid, y));
  pare_tensor *input = NULL, *places = NULL, *result = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__contiguous(grid, &places);
  if (status == PARE_OK) status = pare__result_begin(y, &result);
  if (status == PARE_OK)
    status =
        submit_grid(input, places, (int)sampling + 4 * (int)padding, align_corners ? GRID_ALIGN_CORNERS : 0, result);
  status = pare__result_end(status, y, result);
  pare_tensor_close(input);
  pare_tensor_close(places);
  return status;
}

/* ---- roi_align ---- */

typedef struct roi_params {
  pare__problem whole;
  char message[PARE__INDEX_MESSAGE]; /* of its flag */
} roi_params;

static pare_status run_roi(const pare__piece *piece) {
  const roi_params *params = piece->params;
  const pare__problem *whole = &params->whole;
  pare__problem problem = *whole;
  problem.dim[ROI_COUNT] = piece->end - piece->begin;
  pare__operand operand[ROI_NBUFFERS];
  for (int i = 0; i < ROI_BUFFER_FLAG; i++)
    operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__operand *flag = &operand[ROI_BUFFER_FLAG]; /* set by an index out of range */
  PARE__TRY(pare__context_flag(piece->context, params->message, &flag->mem, &flag->offset));
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_roi_align, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_roi_align, &choice, whole, &problem, operand);
}

static const pare__codelet roi_codelet = {"roi_align", run_roi};

static pare_status submit_roi(pare_tensor *x, pare_tensor *rois, pare_tensor *batch, const pare_roi_options *options,
                              pare_tensor *y) {
  if (pare__shape_elements(&y->shape) == 0) return PARE_OK;
  roi_params params;
  pare__problem *whole = &params.whole;
  memset(&params, 0, sizeof params);
  pare__index_message("pare_roi_align", params.message);
  for (int d = 0; d < 4; d++) whole->dim[ROI_N + d] = x->shape.dim[d];
  whole->dim[ROI_COUNT] = y->shape.dim[0];
  whole->dim[ROI_BINS_Y] = y->shape.dim[2];
  whole->dim[ROI_BINS_X] = y->shape.dim[3];
  whole->dim[ROI_RATIO] = options->sampling_ratio;
  whole->real[0] = options->spatial_scale;
  whole->flags = (options->half_pixel ? ROI_HALF_PIXEL : 0) | (options->maximum ? ROI_MAXIMUM : 0) |
                 (options->whole_bins ? ROI_WHOLE_BINS : 0);
  for (int i = 0; i < ROI_NBUFFERS; i++) whole->dtype[i] = x->dtype;
  whole->dtype[ROI_BUFFER_BATCH] = PARE_I64;
  whole->dtype[ROI_BUFFER_FLAG] = PARE_I32;
  const pare__task task = {.codelet = &roi_codelet,
                           .context = y->context,
                           .params = &params,
                           .params_bytes = sizeof params,
                           .n = y->shape.dim[0],
                           .naccesses = ROI_BUFFER_FLAG,
                           .flags = true,
                           .access = {[ROI_BUFFER_X] = {x, PARE__READ, PARE__WHOLE, 1},
                                      [ROI_BUFFER_ROIS] = {rois, PARE__READ, 0, 1},
                                      [ROI_BUFFER_BATCH] = {batch, PARE__READ, 0, 1},
                                      [ROI_BUFFER_Y] = {y, PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

static pare_status check_roi(const char *function, const pare_tensor *x, const pare_tensor *rois,
                             const pare_tensor *batch, const pare_roi_options *options, const pare_tensor *y) {
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__FLOATS));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "rois", rois));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "y", y));
  PARE__TRY(pare__check_dtype(function, "batch_indices", batch, PARE__DTYPE(PARE_I64)));
  PARE__TRY(pare__check_rank(function, "x", x, 4, 4));
  PARE__TRY(pare__check_rank(function, "y", y, 4, 4));
  const int64_t count = y->shape.dim[0];
  PARE__TRY(pare__check_shape(function, "rois", rois, 2, (const int64_t[]){count, 4}));
  PARE__TRY(pare__check_shape(function, "batch_indices", batch, 1, &count));
  PARE__TRY(pare__check_shape(function, "y", y, 4,
                              (const int64_t[]){count, x->shape.dim[1], y->shape.dim[2], y->shape.dim[3]}));
  if (x->shape.dim[2] * x->shape.dim[3] == 0 && pare__shape_elements(&y->shape) > 0)
    return pare__fail(PARE_ERR_SHAPE, "%s: x has no elements to sample", function);
  if (options->sampling_ratio < 0 || options->sampling_ratio > ROI_MOST_SAMPLES)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: sampling_ratio %d; it is 0 to %d", function, options->sampling_ratio,
                      ROI_MOST_SAMPLES);
  return PARE_OK;
}

pare_status pare_roi_align(pare_tensor *x, pare_tensor *rois, pare_tensor *batch_indices,
                           const pare_roi_options *options, pare_tensor *y) {
  static const char function[] = "pare_roi_align";
  if (!options) return pare__fail_null(function, "options");
  PARE__TRY(pare__check_call(function, y, PARE__NAMED(x), PARE__NAMED(rois), PARE__NAMED(batch_indices)));
  PARE__TRY(check_roi(function, x, rois, batch_indices, options, y));
  pare_tensor *input = NULL, *regions = NULL, *batch = NULL, *result = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__contiguous(rois, &regions);
  if (status == PARE_OK) status = pare__contiguous(batch_indices, &batch);
  if (status == PARE_OK) status = pare__result_begin(y, &result);
  if (status == PARE_OK) status = submit_roi(input, regions, batch, options, result);
  status = pare__result_end(status, y, result);
  pare_tensor_close(input);
  pare_tensor_close(regions);
  pare_tensor_close(batch);
  return status;
}
