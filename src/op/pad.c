/* Pad and tile: views are cropped, neighbouring axes merged, one kernel for both.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/index.h>
#include <string.h>

#include "kernel/family_index.h"
#include "kernel/family_pad.h"
#include "op/index.h"

enum { DATA, OUT };

typedef struct pad_params {
  pare__problem whole;
  int axis;        /* that is split */
  bool data_whole; /* data is not sliced along it */
} pad_params;

/* The shapes of a problem, right-aligned. */
static void fill_shapes(pare__problem *problem, const pare__shape *data, const pare__shape *out) {
  for (int d = 0; d < PARE_MAX_RANK; d++) {
    int k = d - (PARE_MAX_RANK - out->rank);
    problem->dim[PARE__PAD_OUT + d] = k < 0 ? 1 : out->dim[k];
    problem->dim[PARE__PAD_DATA + d] = k < 0 ? 1 : data->dim[k];
    problem->dim[PARE__PAD_DATA_STRIDE + d] = k < 0 ? 0 : data->stride[k];
    problem->dim[PARE__PAD_OUT_STRIDE + d] = k < 0 ? 0 : out->stride[k];
  }
}

static pare_status run_pad(const pare__piece *piece) {
  const pad_params *params = piece->params;
  pare__problem problem = params->whole;
  const pare__binding *data = &piece->binding[DATA], *out = &piece->binding[OUT];
  fill_shapes(&problem, &data->shape, &out->shape);
  if (params->data_whole)
    problem.dim[PARE__PAD_BEFORE + PARE_MAX_RANK - out->shape.rank + params->axis] -= piece->begin;
  const pare__operand operand[2] = {{data->mem, data->offset}, {out->mem, out->offset}};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_pad, &params->whole, &choice));
  return pare__run_choice(piece->device, &pare__family_pad, &choice, &params->whole, &problem, operand);
}

static const pare__codelet pad_codelet = {"pad", run_pad};

typedef struct padding {
  int rank;
  int64_t before[PARE_MAX_RANK], data[PARE_MAX_RANK], out[PARE_MAX_RANK];
} padding;

/* Neighbouring axes become one where the inner one is not padded, and the outer one is not either or in a way that
 * repeats whole rows. */
static padding merge_axes(const pare_tensor *data, const pare_tensor *out, const int64_t *before, pare__padding mode) {
  padding merged = {.rank = 0};
  bool outer_free = mode == PARE__PAD_CONSTANT || mode == PARE__PAD_WRAP;
  for (int d = 0; d < data->shape.rank; d++) {
    int64_t length = data->shape.dim[d], whole = out->shape.dim[d];
    int last = merged.rank - 1;
    bool plain = length == whole && before[d] == 0;
    if (last >= 0 && plain && (outer_free || (merged.before[last] == 0 && merged.data[last] == merged.out[last]))) {
      merged.before[last] *= length;
      merged.data[last] *= length;
      merged.out[last] *= length;
    } else {
      merged.before[merged.rank] = before[d];
      merged.data[merged.rank] = length;
      merged.out[merged.rank++] = whole;
    }
  }
  if (merged.rank == 0) merged = (padding){1, {0}, {1}, {1}};
  return merged;
}

/* Both contiguous; before is not negative. */
static pare_status submit_pad(pare_tensor *data, const int64_t *before, pare__padding mode, int64_t bits,
                              pare_tensor *out) {
  padding merged = merge_axes(data, out, before, mode);
  pare_tensor from = *data, to = *out;
  if (!pare__shape_set(&from.shape, merged.rank, merged.data) || !pare__shape_set(&to.shape, merged.rank, merged.out))
    return pare__fail(PARE_ERR_SHAPE, "pare_pad: too many elements");
  pad_params params;
  memset(&params, 0, sizeof params);
  for (int d = 1; d < merged.rank; d++)
    if (merged.out[d] > merged.out[params.axis]) params.axis = d;
  params.data_whole = merged.before[params.axis] != 0 || merged.data[params.axis] != merged.out[params.axis];
  pare__problem *whole = &params.whole;
  whole->mode = (int)mode;
  whole->dtype[DATA] = whole->dtype[OUT] = pare__bits_dtype(data->dtype);
  memcpy(&whole->real[0], &bits, sizeof bits);
  fill_shapes(whole, &from.shape, &to.shape);
  memcpy(whole->dim + PARE__PAD_BEFORE + PARE_MAX_RANK - merged.rank, merged.before,
         (size_t)merged.rank * sizeof merged.before[0]);
  pare__task task = {.codelet = &pad_codelet,
                     .context = out->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = merged.out[params.axis],
                     .naccesses = 2,
                     .access = {{&from, PARE__READ, params.data_whole ? PARE__WHOLE : params.axis, 1},
                                {&to, PARE__WRITE, params.axis, 1}}};
  if (pare__shape_elements(&to.shape) == 0) return PARE_OK;
  return pare__submit(&task);
}

static pare_status run_into(pare_tensor *data, const int64_t *before, pare__padding mode, int64_t bits,
                            pare_tensor *out) {
  pare_tensor *from = NULL, *result = NULL;
  pare_status status = pare__index_input(data, out, &from);
  if (status == PARE_OK) status = pare__result_begin(out, &result);
  if (status == PARE_OK) status = submit_pad(from, before, mode, bits, result);
  status = pare__result_end(status, out, result);
  pare_tensor_close(from);
  return status;
}

/* *out = a view of data without what negative pads take; pads[0] and pads[1] become what is left to add. */
static pare_status crop(pare_tensor *data, const int64_t *before, const int64_t *after, int64_t pads[2][PARE_MAX_RANK],
                        pare_tensor **out) {
  char have[PARE__SHAPE_TEXT];
  *out = NULL;
  pare_tensor *view = NULL;
  PARE__TRY(pare_tensor_permute(data, (const int[]){0, 1, 2, 3, 4, 5, 6, 7}, &view));
  pare_status status = PARE_OK;
  for (int d = 0; status == PARE_OK && d < data->shape.rank; d++) {
    int64_t first = before && before[d] < 0 ? before[d] : 0, last = after && after[d] < 0 ? after[d] : 0;
    int64_t length = data->shape.dim[d];
    pads[0][d] = before && before[d] > 0 ? before[d] : 0;
    pads[1][d] = after && after[d] > 0 ? after[d] : 0;
    if (first == 0 && last == 0) continue;
    pare_tensor *cut = NULL;
    if (first < -length || last < -length - first)
      status = pare__fail(PARE_ERR_SHAPE,
                          "pare_pad: data has shape %s; axis %d cannot lose %lld elements before and %lld after",
                          pare__shape_text(data->shape.rank, data->shape.dim, have, sizeof have), d, -(long long)first,
                          -(long long)last);
    else
      status = pare_tensor_slice(view, d, -first, length + first + last, 1, &cut);
    pare_tensor_close(view);
    view = cut;
  }
  *out = view;
  return status;
}

/* Does out fit, and is there something to repeat? */
static pare_status check_pads(const pare_tensor *view, int64_t pads[2][PARE_MAX_RANK], pare_pad_mode mode,
                              const pare_tensor *out) {
  int64_t dim[PARE_MAX_RANK] = {0};
  for (int d = 0; d < view->shape.rank; d++) {
    int64_t length = view->shape.dim[d];
    if (!pare__i64_add(length, pads[0][d], &dim[d]) || !pare__i64_add(dim[d], pads[1][d], &dim[d]))
      return pare__fail(PARE_ERR_SHAPE, "pare_pad: axis %d would be longer than 2^63", d);
    if (mode != PARE_PAD_CONSTANT && length == 0 && dim[d] > 0)
      return pare__fail(PARE_ERR_SHAPE, "pare_pad: axis %d has no elements to pad with; only the constant mode can", d);
  }
  return pare__check_shape("pare_pad", "out", out, view->shape.rank, dim);
}

pare_status pare_pad(pare_tensor *data, const int64_t *before, const int64_t *after, pare_pad_mode mode,
                     const void *value, pare_tensor *out) {
  PARE__TRY(pare__check_call("pare_pad", out, PARE__NAMED(data)));
  PARE__TRY(pare__check_same_dtype("pare_pad", "data", data, "out", out));
  if ((unsigned)mode >= PARE__NPADDINGS)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_pad: there is no mode %d", (int)mode);
  int64_t pads[2][PARE_MAX_RANK] = {{0}}, bits = 0;
  if (value) memcpy(&bits, value, pare_dtype_bytes(data->dtype));
  pare_tensor *view = NULL;
  pare_status status = crop(data, before, after, pads, &view);
  if (status == PARE_OK) status = check_pads(view, pads, mode, out);
  if (status == PARE_OK) status = run_into(view, pads[0], (pare__padding)mode, bits, out);
  pare_tensor_close(view);
  return status;
}

pare_status pare_tile(pare_tensor *data, const int64_t *repeats, pare_tensor *out) {
  PARE__TRY(pare__check_call("pare_tile", out, PARE__NAMED(data)));
  PARE__TRY(pare__check_same_dtype("pare_tile", "data", data, "out", out));
  if (!repeats && data->shape.rank > 0) return pare__fail_null("pare_tile", "repeats");
  static const int64_t none[PARE_MAX_RANK];
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < data->shape.rank; d++) {
    if (repeats[d] < 0)
      return pare__fail(PARE_ERR_ARGUMENT, "pare_tile: axis %d cannot be repeated %lld times", d,
                        (long long)repeats[d]);
    if (!pare__i64_mul(data->shape.dim[d], repeats[d], &dim[d]))
      return pare__fail(PARE_ERR_SHAPE, "pare_tile: axis %d would be longer than 2^63", d);
  }
  PARE__TRY(pare__check_shape("pare_tile", "out", out, data->shape.rank, dim));
  return run_into(data, none, PARE__PAD_WRAP, 0, out);
}
