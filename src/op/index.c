/* What gather and scatter share: layout, aliasing, the codelet. SPDX-License-Identifier: Apache-2.0 */
#include "op/index.h"

#include <string.h>

int64_t pare__index_product(const pare_tensor *tensor, int from, int to) {
  int64_t product = 1;
  for (int d = from; d < to; d++) product *= tensor->shape.dim[d];
  return product;
}

void pare__index_axes(pare__index_call *call, const pare_tensor *data, int first, int count) {
  call->tuple = count;
  call->length = pare__index_product(data, first, first + count);
  for (int k = 0; k < count; k++) {
    call->axis_length[k] = data->shape.dim[first + k];
    call->axis_step[k] = pare__index_product(data, first + k + 1, first + count);
  }
}

pare_status pare__index_input(pare_tensor *tensor, const pare_tensor *target, pare_tensor **out) {
  PARE__TRY(pare__contiguous(tensor, out));
  if ((*out)->storage != target->storage) return PARE_OK;
  pare_tensor *copy = NULL, *shared = *out;
  *out = NULL;
  pare_status status = pare__tensor_scratch(tensor->context, tensor->dtype, tensor->shape.rank, tensor->shape.dim,
                                            "a copy of an input that the output overlaps", &copy);
  if (status == PARE_OK) status = pare__copy(shared, copy);
  pare_tensor_close(shared);
  if (status != PARE_OK)
    pare_tensor_close(copy);
  else
    *out = copy;
  return status;
}

static bool fits(const pare_tensor *data, const pare_tensor *indices, int axis) {
  bool fit = data->shape.rank == indices->shape.rank;
  for (int d = 0; fit && d < data->shape.rank; d++) fit = d == axis || indices->shape.dim[d] <= data->shape.dim[d];
  return fit;
}

pare_status pare__index_narrow(const char *function, pare_tensor *data, const pare_tensor *indices, int axis,
                               pare_tensor **out) {
  *out = NULL;
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  if (!fits(data, indices, axis))
    return pare__fail(
        PARE_ERR_SHAPE,
        "%s: indices have shape %s and data %s; they need the same rank, and along axes other than %d indices "
        "can be no longer than data",
        function, pare__shape_text(indices->shape.rank, indices->shape.dim, have, sizeof have),
        pare__shape_text(data->shape.rank, data->shape.dim, want, sizeof want), axis);
  pare_tensor *view = NULL;
  PARE__TRY(pare_tensor_permute(data, (const int[]){0, 1, 2, 3, 4, 5, 6, 7}, &view));
  for (int d = 0; d < data->shape.rank; d++) {
    if (d == axis || indices->shape.dim[d] == view->shape.dim[d]) continue;
    pare_tensor *cut = NULL;
    pare_status status = pare_tensor_slice(view, d, 0, indices->shape.dim[d], 1, &cut);
    pare_tensor_close(view);
    PARE__TRY(status);
    view = cut;
  }
  *out = view;
  return PARE_OK;
}

/* ---- the codelet ---- */

enum { DATA, INDEX, VALUES };

typedef struct index_params {
  pare__problem whole;
  bool scatter, shared, each;
  int axis;
  char message[PARE__INDEX_MESSAGE]; /* of its flag */
} index_params;

static pare_status run_index(const pare__piece *piece) {
  const index_params *params = piece->params;
  const pare__family *family = params->scatter ? &pare__family_scatter : &pare__family_gather;
  const pare__shape *data = &piece->binding[DATA].shape, *index = &piece->binding[INDEX].shape;
  const pare__shape *values = &piece->binding[VALUES].shape;
  pare__problem problem = params->whole;
  int64_t *dim = problem.dim;
  memcpy(dim + PARE__INDEX_OUTER, values->dim, 3 * sizeof *dim);
  memcpy(dim + PARE__INDEX_DATA, data->stride, 3 * sizeof *dim);
  memcpy(dim + PARE__INDEX_VALUES, values->stride, 3 * sizeof *dim);
  dim[PARE__INDEX_INDEX] = params->shared ? 0 : index->stride[0];
  dim[PARE__INDEX_INDEX + 1] = index->stride[1];
  dim[PARE__INDEX_INDEX + 2] = params->each ? index->stride[2] : 0;
  dim[PARE__INDEX_LENGTH] = data->dim[1];
  dim[PARE__INDEX_POSITION] = params->scatter && params->axis == 1 ? piece->begin : 0;
  pare__operand operand[4];
  PARE__TRY(pare__context_flag(piece->context, params->message, &operand[3].mem, &operand[3].offset));
  for (int i = DATA; i <= VALUES; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, family, &params->whole, &choice));
  return pare__run_choice(piece->device, family, &choice, &params->whole, &problem, operand);
}

static const pare__codelet gather_codelet = {"gather", run_index}, scatter_codelet = {"scatter", run_index};

/* A handle on the stack that shows a contiguous tensor as [d0][d1][d2]; never closed. */
static pare_tensor seen_as(const pare_tensor *tensor, int64_t d0, int64_t d1, int64_t d2) {
  pare_tensor seen = *tensor;
  seen.shape = (pare__shape){.rank = 3, .dim = {d0, d1, d2}, .stride = {d1 * d2, d2, 1}};
  return seen;
}

static void whole_problem(const pare__index_call *call, const pare_tensor *seen, pare__problem *whole) {
  const int64_t shape[] = {call->outer, call->rows, call->inner, call->tuple};
  memcpy(whole->dim, shape, sizeof shape);
  for (int d = 0; d < 3; d++) {
    whole->dim[PARE__INDEX_DATA + d] = seen[DATA].shape.stride[d];
    whole->dim[PARE__INDEX_INDEX + d] = seen[INDEX].shape.stride[d];
    whole->dim[PARE__INDEX_VALUES + d] = seen[VALUES].shape.stride[d];
  }
  if (!call->each) whole->dim[PARE__INDEX_INDEX + 2] = 0;
  whole->dim[PARE__INDEX_LENGTH] = call->length;
  memcpy(whole->dim + PARE__INDEX_AXIS_LENGTH, call->axis_length, sizeof call->axis_length);
  memcpy(whole->dim + PARE__INDEX_AXIS_STEP, call->axis_step, sizeof call->axis_step);
  whole->mode = call->mode;
  pare_dtype dtype = seen[DATA].dtype;
  whole->dtype[DATA] = whole->dtype[VALUES] = call->mode == PARE__SCATTER_NONE ? pare__bits_dtype(dtype) : dtype;
  whole->dtype[INDEX] = seen[INDEX].dtype;
  whole->dtype[3] = PARE_I32;
}

pare_status pare__index_submit(const pare__index_call *call, pare_tensor *data, pare_tensor *index,
                               pare_tensor *values) {
  if (call->outer == 0 || call->rows == 0 || call->inner == 0) return PARE_OK;
  pare_tensor seen[3] = {
      seen_as(data, call->outer, call->length, call->inner),
      seen_as(index, call->shared ? 1 : call->outer, call->rows, call->each ? call->inner : call->tuple),
      seen_as(values, call->outer, call->rows, call->inner)};
  /* the longest axis of what is written is split: pieces stay small enough to be staged */
  const int64_t *length = seen[call->scatter ? DATA : VALUES].shape.dim;
  int axis = 0;
  for (int d = 1; d < 3; d++)
    if (length[d] > length[axis]) axis = d;
  index_params params;
  memset(&params, 0, sizeof params);
  params.scatter = call->scatter;
  params.shared = call->shared;
  params.each = call->each;
  params.axis = axis;
  whole_problem(call, seen, &params.whole);
  pare__index_message(call->function, params.message);
  bool along_rows = axis == 1;
  int data_axis = along_rows && !call->scatter ? PARE__WHOLE : axis;
  int values_axis = along_rows && call->scatter ? PARE__WHOLE : axis;
  int index_axis =
      call->each || (along_rows && !call->scatter) || (axis == 0 && !call->shared) ? values_axis : PARE__WHOLE;
  pare__task task = {.codelet = call->scatter ? &scatter_codelet : &gather_codelet,
                     .context = data->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = length[axis],
                     .naccesses = 3,
                     .flags = true,
                     .access = {{&seen[DATA], call->scatter ? PARE__READ_WRITE : PARE__READ, data_axis, 1},
                                {&seen[INDEX], PARE__READ, index_axis, 1},
                                {&seen[VALUES], call->scatter ? PARE__READ : PARE__WRITE, values_axis, 1}}};
  return pare__submit(&task);
}
