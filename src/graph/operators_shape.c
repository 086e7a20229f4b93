/* Operators that make their output from shapes and few numbers. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/move.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

#define MOST_ON_HOST 1024 /* elements: what is longer is made on the device, where the memory limit counts it */

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

/* A number in the dtype that a range is computed in: i64, f32 or f64. */
typedef union range_number {
  uint64_t i64; /* what overflows wraps, as on the device */
  float f32;
  double f64;
} range_number;

/* first + index * step for `count` indices, on the device: the index is that of a row of many and a place in it, so
 * that the host makes few numbers. Floats of 16 bits are rounded once, from f32. */
static pare_status long_range(pare__call *call, pare_dtype dtype, int64_t count, pare_dtype working, range_number first,
                              range_number step) {
  const int64_t width = 32768, rows = pare__div_up(count, width), dim[2] = {rows, width}, all = rows * width;
  pare_tensor *row, *first_of_row, *column, *scalar, *index, *out, *made;
  PARE__TRY(pare__call_range(call, PARE_I64, rows, 2, 0, &row));
  PARE__TRY(pare__call_range(call, PARE_I64, width, 2, 1, &column));
  PARE__TRY(pare__call_constant(call, PARE_I64, 0, NULL, &width, &scalar));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, row->shape.dim, &first_of_row));
  PARE__TRY(pare_binary(PARE_BINARY_mul, row, scalar, first_of_row));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, dim, &index));
  PARE__TRY(pare_binary(PARE_BINARY_add, first_of_row, column, index));
  PARE__TRY(pare__call_reshaped(call, index, 1, &all, &index));
  PARE__TRY(pare__call_slice(call, index, 0, 0, count, 1, &index));
  PARE__TRY(pare__call_output(call, 0, dtype, 1, &count, &out));
  made = out;
  if (working != dtype) PARE__TRY(pare__call_scratch(call, working, 1, &count, &made));
  PARE__TRY(pare_cast(index, made));
  PARE__TRY(pare__call_constant(call, working, 0, NULL, &step, &scalar));
  PARE__TRY(pare_binary(PARE_BINARY_mul, made, scalar, made));
  PARE__TRY(pare__call_constant(call, working, 0, NULL, &first, &scalar));
  PARE__TRY(pare_binary(PARE_BINARY_add, made, scalar, made));
  return working == dtype ? PARE_OK : pare_cast(made, out);
}

/* The few elements of a short one, which shapes are often made of, are the host's. */
static pare_status short_range(pare__call *call, pare_dtype dtype, int64_t count, pare_dtype working,
                               range_number first, range_number step) {
  pare__content *content;
  PARE__TRY(pare__content_create(dtype, 1, &count, NULL, &content));
  for (int64_t i = 0; i < count; i++) {
    if (working == PARE_I64)
      pare__store_integer(dtype, content->owned, (size_t)i, (int64_t)(first.i64 + (uint64_t)i * step.i64));
    else if (working == PARE_F32) /* as the operator's definition rounds it */
      pare__store(dtype, content->owned, (size_t)i, (double)(first.f32 + (float)i * step.f32));
    else
      pare__store(dtype, content->owned, (size_t)i, first.f64 + (double)i * step.f64);
  }
  return pare__call_give_content(call, 0, content);
}

/* Input i as a number, and in the dtype that is computed in. */
static pare_status range_input(pare__call *call, unsigned i, pare_dtype working, double *number, range_number *out) {
  const pare__content *input;
  PARE__TRY(pare__call_number(call, i, number));
  PARE__TRY(pare__call_content(call, i, &input));
  if (working == PARE_I64)
    out->i64 = (uint64_t)pare__content_int(input, 0);
  else
    pare__store(working, out, 0, *number);
  return PARE_OK;
}

/* How many steps there are before the limit: exact, where a double is not. The caller has seen that they are few, and
 * that they are not 0. */
static int64_t integer_steps(int64_t first, int64_t limit, int64_t step) {
  const bool up = step > 0;
  if (step == 0 || (up ? first >= limit : first <= limit)) return 0;
  const uint64_t way = up ? (uint64_t)limit - (uint64_t)first : (uint64_t)first - (uint64_t)limit;
  const uint64_t each = up ? (uint64_t)step : 0 - (uint64_t)step;
  return (int64_t)((way - 1) / each + 1);
}

/* start, start + delta, … before limit. */
static pare_status range(pare__call *call) {
  const bool microsoft = call->node->op->detail != 0; /* its step may be left out */
  PARE__TRY(pare__call_check(call, microsoft ? 2 : 3, 3));
  PARE__TRY(pare__call_takes(call, 0));
  const pare_dtype dtype = call->input[0]->dtype;
  const pare_dtype working = !pare__dtype_is_float(dtype) ? PARE_I64 : dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  double start, limit, delta;
  range_number first, last, step;
  PARE__TRY(range_input(call, 0, working, &start, &first));
  PARE__TRY(range_input(call, 1, working, &limit, &last));
  if (pare__call_has(call, 2)) {
    PARE__TRY(range_input(call, 2, working, &delta, &step));
  } else {
    delta = 1;
    pare__store(working, &step, 0, delta);
  }
  const double steps = ceil((limit - start) / delta);
  if (!(delta != 0) || !(steps < 1e9))
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "from %g to %g in steps of %g never ends", start, limit, delta);
  int64_t count = steps > 0 ? (int64_t)steps : 0;
  if (working == PARE_I64) count = integer_steps((int64_t)first.i64, (int64_t)last.i64, (int64_t)step.i64);
  return (count > MOST_ON_HOST ? long_range : short_range)(call, dtype, count, working, first, step);
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
  PARE__TRY(pare__call_takes_dtype(call, "its output", dtype));
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
    {"", "Range", 11, 0, PARE__ON_DEVICE, range, NULL, .types = "numbers"},
    {"com.microsoft", "Range", 1, 0, PARE__ON_DEVICE, range, NULL, .detail = 1, .types = "numbers"},
    {"", "EyeLike", 9, 0, PARE__ON_DEVICE, eye_like, NULL, .types = "numbers, bool"},
    {0},
};
