/* Operators that make their output from shapes and few numbers. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/move.h>
#include <string.h>

#include "graph/operator_tables.h"

static pare_status shape(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const pare__shape *from = &call->input[0]->shape;
  int64_t start = pare__call_get_int(call, "start", 0), end = pare__call_get_int(call, "end", from->rank);
  start = pare__i64_clamp(start < 0 ? start + from->rank : start, 0, from->rank);
  end = pare__i64_clamp(end < 0 ? end + from->rank : end, 0, from->rank);
  const int64_t count = end > start ? end - start : 0;
  pare__content *content;
  PARE__TRY(pare__content_create(PARE_I64, 1, &count, from->dim + start, &content));
  return pare__call_give_content(call, 0, content);
}

static pare_status size(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const int64_t elements = pare__shape_elements(&call->input[0]->shape);
  pare__content *content;
  PARE__TRY(pare__content_create(PARE_I64, 0, NULL, &elements, &content));
  return pare__call_give_content(call, 0, content);
}

/* A tensor of one value everywhere: a scalar seen with strides of 0. */
static pare_status give_filled(pare__call *call, pare_dtype dtype, int rank, const int64_t *dim, const void *value) {
  pare_tensor *scalar, *filled;
  PARE__TRY(pare__call_constant(call, dtype, 0, NULL, value, &scalar));
  PARE__TRY(pare_tensor_broadcast(scalar, rank, dim, &filled));
  return pare__call_give(call, 0, filled);
}

static pare_status constant_of_shape(pare__call *call) {
  enum { MOST_ON_HOST = 1024 };
  PARE__TRY(pare__call_check(call, 1, 1));
  int64_t dim[PARE_MAX_RANK];
  size_t rank;
  PARE__TRY(pare__call_ints(call, 0, dim, PARE_MAX_RANK, &rank));
  pare__shape made;
  if (!pare__shape_set(&made, (int)rank, dim))
    return pare__call_fail(call, PARE_ERR_SHAPE, "the shape asked for has a negative dimension or is too large");
  pare__content *value = NULL, *content;
  PARE__TRY(pare__call_get_content(call, "value", &value));
  if (value && value->count != 1) {
    pare__content_release(value);
    return pare__call_fail(call, PARE_ERR_SHAPE, "its value must be one element");
  }
  static const float zero = 0;
  const pare_dtype dtype = value ? value->dtype : PARE_F32;
  const void *data = value ? value->data : &zero;
  const int64_t elements = pare__shape_elements(&made);
  pare_status status;
  if (elements > MOST_ON_HOST) {
    status = give_filled(call, dtype, (int)rank, dim, data);
  } else {
    status = pare__content_create(dtype, (int)rank, dim, NULL, &content);
    if (status == PARE_OK) {
      for (int64_t i = 0; i < elements; i++)
        memcpy((char *)content->owned + (size_t)i * pare_dtype_bytes(dtype), data, pare_dtype_bytes(dtype));
      status = pare__call_give_content(call, 0, content);
    }
  }
  pare__content_release(value);
  return status;
}

/* start, start + delta, … before limit. The elements are few numbers of the host's: a ramp is no tensor work. */
static pare_status range(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 3));
  const pare_dtype dtype = call->input[0]->dtype;
  double start, limit, delta;
  PARE__TRY(pare__call_number(call, 0, &start));
  PARE__TRY(pare__call_number(call, 1, &limit));
  PARE__TRY(pare__call_number(call, 2, &delta));
  const double steps = ceil((limit - start) / delta);
  if (!(delta != 0) || !(steps < 1e9))
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "from %g to %g in steps of %g never ends", start, limit, delta);
  const int64_t count = steps > 0 ? (int64_t)steps : 0;
  pare__content *content;
  PARE__TRY(pare__content_create(dtype, 1, &count, NULL, &content));
  int64_t first = 0, step = 0;
  if (dtype == PARE_I64) {
    const pare__content *input;
    PARE__TRY(pare__call_content(call, 0, &input));
    first = pare__content_int(input, 0);
    PARE__TRY(pare__call_content(call, 2, &input));
    step = pare__content_int(input, 0);
  }
  for (int64_t i = 0; i < count; i++) {
    if (dtype == PARE_I64)
      ((int64_t *)content->owned)[i] = first + i * step;
    else if (dtype == PARE_F32) /* as the operator's definition rounds it */
      ((float *)content->owned)[i] = (float)start + (float)i * (float)delta;
    else
      pare__store(dtype, content->owned, (size_t)i, start + (double)i * delta);
  }
  return pare__call_give_content(call, 0, content);
}

static pare_status eye_like(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const pare__shape *from = &call->input[0]->shape;
  if (from->rank != 2) return pare__call_fail(call, PARE_ERR_SHAPE, "its input has rank %d; it must be 2", from->rank);
  const int64_t diagonal = pare__call_get_int(call, "k", 0), rows = from->dim[0], columns = from->dim[1];
  pare_dtype dtype = call->input[0]->dtype;
  const int64_t named = pare__call_get_int(call, "dtype", 0);
  if (named != 0 && !pare__onnx_dtype_to_pare((int32_t)named, &dtype))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "pare has no type %s", pare__onnx_dtype_name((int32_t)named));
  /* column index equal to row index + k, cast */
  pare__content *indices[2] = {NULL, NULL};
  pare_tensor *row, *column, *equal, *out;
  PARE__TRY(pare__content_create(PARE_I64, 2, (const int64_t[]){rows, 1}, NULL, &indices[0]));
  pare_status status = pare__content_create(PARE_I64, 2, (const int64_t[]){1, columns}, NULL, &indices[1]);
  if (status == PARE_OK) {
    for (int64_t i = 0; i < rows; i++) ((int64_t *)indices[0]->owned)[i] = i;
    for (int64_t i = 0; i < columns; i++)
      if (!pare__i64_add(i, -diagonal, &((int64_t *)indices[1]->owned)[i])) ((int64_t *)indices[1]->owned)[i] = -1;
    status = pare__call_constant(call, PARE_I64, 2, indices[0]->shape.dim, indices[0]->data, &row);
  }
  if (status == PARE_OK)
    status = pare__call_constant(call, PARE_I64, 2, indices[1]->shape.dim, indices[1]->data, &column);
  pare__content_release(indices[0]);
  pare__content_release(indices[1]);
  PARE__TRY(status);
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, from->dim, &equal));
  PARE__TRY(pare_binary(PARE_BINARY_equal, row, column, equal));
  PARE__TRY(pare__call_output(call, 0, dtype, 2, from->dim, &out));
  return pare_cast(equal, out);
}

const pare__operator pare__operators_shape[] = {
    {"", "Shape", 1, 0, PARE__ON_HOST, shape, NULL, .types = "any"},
    {"", "Size", 1, 0, PARE__ON_HOST, size, NULL, .types = "any"},
    {"", "ConstantOfShape", 9, 0, PARE__ON_HOST, constant_of_shape, NULL, .types = "any"},
    {"", "Range", 11, 0, PARE__ON_HOST, range, NULL, .types = "numbers"},
    {"", "EyeLike", 9, 0, PARE__ON_DEVICE, eye_like, NULL, .types = "numbers, bool"},
    {0},
};
