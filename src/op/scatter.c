/* Scatter: data copied, then updated by index, in order. SPDX-License-Identifier: Apache-2.0 */
#include <pare/index.h>

#include "op/index.h"

static pare_status check_scatter(const char *function, pare_tensor *data, pare_tensor *indices, pare_tensor *updates,
                                 pare_scatter_reduction reduction, pare_tensor *out) {
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(data), PARE__NAMED(indices), PARE__NAMED(updates)));
  if ((unsigned)reduction >= PARE__NSCATTERS)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: there is no reduction %d", function, (int)reduction);
  PARE__TRY(pare__check_dtype(function, "indices", indices, PARE__INDEX_DTYPES));
  PARE__TRY(pare__check_dtype(function, "data", data, PARE__ANY_DTYPE));
  PARE__TRY(pare__check_same_dtype(function, "data", data, "updates", updates));
  PARE__TRY(pare__check_same_dtype(function, "data", data, "out", out));
  PARE__TRY(pare__check_rank(function, "data", data, 1, PARE_MAX_RANK));
  return pare__check_shape(function, "out", out, data->shape.rank, data->shape.dim);
}

/* out = data, whatever memory they share. */
static pare_status copy_data(pare_tensor *data, pare_tensor *out) {
  bool shuffled = pare__overlap_shuffled(data, out);
  if (data->storage == out->storage && data->offset == out->offset && !shuffled) return PARE_OK;
  if (!shuffled) return pare__copy(data, out);
  pare_tensor *apart = NULL;
  PARE__TRY(pare__index_input(data, out, &apart));
  pare_status status = pare__copy(apart, out);
  pare_tensor_close(apart);
  return status;
}

/* Updates `view`, which holds the data: out, or the part of it that indices can reach. */
static pare_status update_view(const pare__index_call *call, pare_tensor *index, pare_tensor *values,
                               pare_tensor *view) {
  pare_tensor *result = NULL;
  PARE__TRY(pare__result_begin(view, &result));
  pare_status status = result->storage == view->storage ? PARE_OK : pare__copy(view, result);
  if (status == PARE_OK) status = pare__index_submit(call, result, index, values);
  return pare__result_end(status, view, result);
}

static pare_status run_scatter(const pare__index_call *call, pare_tensor *data, pare_tensor *indices,
                               pare_tensor *updates, pare_tensor *view, pare_tensor *out) {
  pare_tensor *index = NULL, *values = NULL;
  pare_status status = pare__index_input(indices, out, &index);
  if (status == PARE_OK) status = pare__index_input(updates, out, &values);
  if (status == PARE_OK) status = copy_data(data, out);
  if (status == PARE_OK) status = update_view(call, index, values, view);
  pare_tensor_close(values);
  pare_tensor_close(index);
  return status;
}

pare_status pare_scatter_elements(pare_tensor *data, pare_tensor *indices, pare_tensor *updates, int axis,
                                  pare_scatter_reduction reduction, pare_tensor *out) {
  const char *function = "pare_scatter_elements";
  PARE__TRY(check_scatter(function, data, indices, updates, reduction, out));
  int rank = data->shape.rank;
  PARE__TRY(pare__axis(function, axis, rank, &axis));
  PARE__TRY(pare__check_shape(function, "updates", updates, indices->shape.rank, indices->shape.dim));
  pare_tensor *view = NULL;
  PARE__TRY(pare__index_narrow(function, out, indices, axis, &view));
  pare__index_call call = {.function = function, .each = true, .scatter = true, .mode = (int)reduction};
  call.outer = pare__index_product(indices, 0, axis);
  call.rows = indices->shape.dim[axis];
  call.inner = pare__index_product(indices, axis + 1, rank);
  pare__index_axes(&call, data, axis, 1);
  pare_status status = run_scatter(&call, data, indices, updates, view, out);
  pare_tensor_close(view);
  return status;
}

pare_status pare_scatter_nd(pare_tensor *data, pare_tensor *indices, pare_tensor *updates,
                            pare_scatter_reduction reduction, pare_tensor *out) {
  const char *function = "pare_scatter_nd";
  PARE__TRY(check_scatter(function, data, indices, updates, reduction, out));
  PARE__TRY(pare__check_rank(function, "indices", indices, 1, PARE_MAX_RANK));
  int data_rank = data->shape.rank, index_rank = indices->shape.rank;
  int64_t tuple = indices->shape.dim[index_rank - 1];
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  if (tuple < 1 || tuple > data_rank || index_rank - 1 + data_rank - tuple > PARE_MAX_RANK)
    return pare__fail(
        PARE_ERR_SHAPE,
        "%s: indices have shape %s and data %s; the last dimension of indices counts along 1 to %d axes, and "
        "updates can have %d dimensions at most",
        function, pare__shape_text(index_rank, indices->shape.dim, have, sizeof have),
        pare__shape_text(data_rank, data->shape.dim, want, sizeof want), data_rank, PARE_MAX_RANK);
  int rank = 0;
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < index_rank - 1; d++) dim[rank++] = indices->shape.dim[d];
  for (int d = (int)tuple; d < data_rank; d++) dim[rank++] = data->shape.dim[d];
  PARE__TRY(pare__check_shape(function, "updates", updates, rank, dim));
  pare__index_call call = {.function = function, .outer = 1, .scatter = true, .mode = (int)reduction};
  call.rows = pare__index_product(indices, 0, index_rank - 1);
  call.inner = pare__index_product(data, (int)tuple, data_rank);
  pare__index_axes(&call, data, 0, (int)tuple);
  return run_scatter(&call, data, indices, updates, out, out);
}
