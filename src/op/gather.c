/* Gather along an axis, element by element, and by tuples. SPDX-License-Identifier: Apache-2.0 */
#include <pare/index.h>
#include <string.h>

#include "op/index.h"

static pare_status check_gather(const char *function, pare_tensor *data, pare_tensor *indices, pare_tensor *out) {
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(data), PARE__NAMED(indices)));
  PARE__TRY(pare__check_dtype(function, "indices", indices, PARE__INDEX_DTYPES));
  PARE__TRY(pare__check_same_dtype(function, "data", data, "out", out));
  return pare__check_rank(function, "data", data, 1, PARE_MAX_RANK);
}

static pare_status run_gather(const pare__index_call *call, pare_tensor *data, pare_tensor *indices, pare_tensor *out) {
  pare_tensor *from = NULL, *index = NULL, *result = NULL;
  pare_status status = pare__index_input(data, out, &from);
  if (status == PARE_OK) status = pare__index_input(indices, out, &index);
  if (status == PARE_OK) status = pare__result_begin(out, &result);
  if (status == PARE_OK) status = pare__index_submit(call, from, index, result);
  status = pare__result_end(status, out, result);
  pare_tensor_close(index);
  pare_tensor_close(from);
  return status;
}

/* Appends dimensions [from, to); PARE_ERR_SHAPE over PARE_MAX_RANK. */
static pare_status append(const char *function, const pare_tensor *data, const pare_tensor *indices,
                          const pare_tensor *tensor, int from, int to, int *rank, int64_t *dim) {
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  for (int d = from; d < to; d++) {
    if (*rank == PARE_MAX_RANK)
      return pare__fail(PARE_ERR_SHAPE, "%s: data of shape %s and indices of shape %s give more than %d dimensions",
                        function, pare__shape_text(data->shape.rank, data->shape.dim, have, sizeof have),
                        pare__shape_text(indices->shape.rank, indices->shape.dim, want, sizeof want), PARE_MAX_RANK);
    dim[(*rank)++] = tensor->shape.dim[d];
  }
  return PARE_OK;
}

pare_status pare_gather(pare_tensor *data, pare_tensor *indices, int axis, pare_tensor *out) {
  const char *function = "pare_gather";
  PARE__TRY(check_gather(function, data, indices, out));
  int data_rank = data->shape.rank, rank = 0;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare__axis(function, axis, data_rank, &axis));
  PARE__TRY(append(function, data, indices, data, 0, axis, &rank, dim));
  PARE__TRY(append(function, data, indices, indices, 0, indices->shape.rank, &rank, dim));
  PARE__TRY(append(function, data, indices, data, axis + 1, data_rank, &rank, dim));
  PARE__TRY(pare__check_shape(function, "out", out, rank, dim));
  pare__index_call call = {.function = function, .shared = true};
  call.outer = pare__index_product(data, 0, axis);
  call.inner = pare__index_product(data, axis + 1, data_rank);
  call.rows = pare_tensor_elements(indices);
  pare__index_axes(&call, data, axis, 1);
  return run_gather(&call, data, indices, out);
}

pare_status pare_gather_elements(pare_tensor *data, pare_tensor *indices, int axis, pare_tensor *out) {
  const char *function = "pare_gather_elements";
  PARE__TRY(check_gather(function, data, indices, out));
  int rank = data->shape.rank;
  PARE__TRY(pare__axis(function, axis, rank, &axis));
  pare_tensor *narrow = NULL;
  PARE__TRY(pare__index_narrow(function, data, indices, axis, &narrow));
  pare_status status = pare__check_shape(function, "out", out, rank, indices->shape.dim);
  pare__index_call call = {.function = function, .each = true};
  call.outer = pare__index_product(indices, 0, axis);
  call.rows = indices->shape.dim[axis];
  call.inner = pare__index_product(indices, axis + 1, rank);
  pare__index_axes(&call, data, axis, 1);
  if (status == PARE_OK) status = run_gather(&call, narrow, indices, out);
  pare_tensor_close(narrow);
  return status;
}

pare_status pare_gather_nd(pare_tensor *data, pare_tensor *indices, int batch_dims, pare_tensor *out) {
  const char *function = "pare_gather_nd";
  PARE__TRY(check_gather(function, data, indices, out));
  PARE__TRY(pare__check_rank(function, "indices", indices, 1, PARE_MAX_RANK));
  int data_rank = data->shape.rank, index_rank = indices->shape.rank;
  if (batch_dims < 0 || batch_dims >= PARE__MIN(data_rank, index_rank))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: batch_dims is %d; data of rank %d and indices of rank %d allow 0 to %d",
                      function, batch_dims, data_rank, index_rank, PARE__MIN(data_rank, index_rank) - 1);
  int64_t tuple = indices->shape.dim[index_rank - 1];
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  if (tuple < 1 || tuple > data_rank - batch_dims ||
      memcmp(indices->shape.dim, data->shape.dim, (size_t)batch_dims * sizeof data->shape.dim[0]) != 0)
    return pare__fail(
        PARE_ERR_SHAPE,
        "%s: indices have shape %s and data %s; the first %d dimensions must be equal, and the last one of "
        "indices counts along 1 to %d axes",
        function, pare__shape_text(index_rank, indices->shape.dim, have, sizeof have),
        pare__shape_text(data_rank, data->shape.dim, want, sizeof want), batch_dims, data_rank - batch_dims);
  int rank = 0;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(append(function, data, indices, indices, 0, index_rank - 1, &rank, dim));
  PARE__TRY(append(function, data, indices, data, batch_dims + (int)tuple, data_rank, &rank, dim));
  PARE__TRY(pare__check_shape(function, "out", out, rank, dim));
  pare__index_call call = {.function = function};
  call.outer = pare__index_product(data, 0, batch_dims);
  call.rows = pare__index_product(indices, batch_dims, index_rank - 1);
  call.inner = pare__index_product(data, batch_dims + (int)tuple, data_rank);
  pare__index_axes(&call, data, batch_dims, (int)tuple);
  return run_gather(&call, data, indices, out);
}
