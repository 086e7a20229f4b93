/* Quantising, dequantising, and arithmetic on quantised elements. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/quantise.h>
#include <pare/reduce.h>
#include <stdlib.h>
#include <string.h>

#include "graph/operator_tables.h"
#include "graph/quantised.h"
#include "graph/run.h"

/* ---- parameters ---- */

/* How many bits count of the elements of a value, if they are fewer than the byte that holds each; 0: all. */
static unsigned narrow_bits(const pare__call *call, int32_t id) {
  bool is_signed;
  return id >= 0 ? pare__narrow_bits(call->state->model->network->value[id].onnx_dtype, &is_signed) : 0;
}

/* Repeats each index of an axis `block` times, up to `length`. */
static pare_status repeat_blocks(pare__call *call, pare_tensor *tensor, int axis, int64_t block, int64_t length,
                                 pare_tensor **out) {
  int64_t *index = malloc((size_t)PARE__MAX(length, 1) * sizeof *index), dim[PARE_MAX_RANK];
  if (!index) return pare__fail_memory("indices of blocks", (size_t)length * sizeof *index);
  for (int64_t i = 0; i < length; i++) index[i] = i / block;
  for (int d = 0; d < tensor->shape.rank; d++) dim[d] = d == axis ? length : tensor->shape.dim[d];
  pare_tensor *indices;
  pare_status status = pare__call_constant(call, PARE_I64, 1, &length, index, &indices);
  free(index);
  if (status == PARE_OK) status = pare__call_scratch(call, tensor->dtype, tensor->shape.rank, dim, out);
  return status == PARE_OK ? pare_gather(tensor, indices, axis, *out) : status;
}

/* A view or copy of a scale or zero point that broadcasts to x: one number, one for each index of the axis, or one for
 * each block of the axis. */
static pare_status stretch(pare__call *call, const char *name, pare_tensor *tensor, const pare__shape *x, int64_t axis,
                           int64_t block, pare_tensor **out) {
  const pare__shape *shape = &tensor->shape;
  char text[PARE__SHAPE_TEXT], x_text[PARE__SHAPE_TEXT];
  *out = NULL;
  if (pare__shape_elements(shape) == 1) return pare__call_reshaped(call, tensor, 0, NULL, out);
  int at;
  PARE__TRY(pare__call_axis(call, axis, x->rank, &at));
  bool fits = block > 0 ? shape->rank == x->rank : shape->rank == 1 && shape->dim[0] == x->dim[at];
  for (int d = 0; fits && block > 0 && d < x->rank; d++)
    fits = shape->dim[d] == (d == at ? pare__div_up(x->dim[d], block) : x->dim[d]);
  if (!fits)
    return pare__call_fail(call, PARE_ERR_SHAPE, "the %s of shape %s does not fit %s along axis %d in blocks of %lld",
                           name, pare__shape_text(shape->rank, shape->dim, text, sizeof text),
                           pare__shape_text(x->rank, x->dim, x_text, sizeof x_text), at, (long long)block);
  if (block > 0) return repeat_blocks(call, tensor, at, block, x->dim[at], out);
  int64_t dim[PARE_MAX_RANK] = {shape->dim[0], 1, 1, 1, 1, 1, 1, 1};
  return pare__call_reshaped(call, tensor, x->rank - at, dim, out);
}

/* Scale and zero point as floats that broadcast to x; *zero NULL where there is none. */
static pare_status stretch_both(pare__call *call, const pare__quantisation *q, const pare__shape *x,
                                pare_tensor **scale, pare_tensor **zero) {
  pare_tensor *narrow;
  if (q->broadcasts) {
    PARE__TRY(pare__call_cast(call, q->scale, PARE_F32, scale));
    *zero = NULL;
    return q->zero ? pare__call_cast(call, q->zero, PARE_F32, zero) : PARE_OK;
  }
  PARE__TRY(stretch(call, "scale", q->scale, x, q->axis, q->block, &narrow));
  PARE__TRY(pare__call_cast(call, narrow, PARE_F32, scale));
  *zero = NULL;
  if (!q->zero) return PARE_OK;
  PARE__TRY(stretch(call, "zero point", q->zero, x, q->axis, q->block, &narrow));
  return pare__call_cast(call, narrow, PARE_F32, zero);
}

/* Does the kernel of floor 5 take it? One scale, or one for each index of an axis, of bytes. */
static bool is_plain(const pare__quantisation *q, const pare_tensor *integers, const pare_tensor *floats) {
  const bool bytes = integers->dtype == PARE_U8 || integers->dtype == PARE_I8;
  if (q->block > 0 || q->broadcasts || q->narrow || !bytes || floats->dtype == PARE_F64) return false;
  if (q->zero && (q->zero->dtype != integers->dtype ||
                  pare__shape_elements(&q->zero->shape) != pare__shape_elements(&q->scale->shape)))
    return false;
  return pare__shape_elements(&q->scale->shape) == 1 || (q->scale->shape.rank == 1 && integers->shape.rank > 0);
}

/* ---- values ---- */

pare_status pare__call_quantise(pare__call *call, pare_tensor *x, const pare__quantisation *q, pare_tensor *out) {
  if (is_plain(q, out, x)) {
    pare_tensor *scale;
    PARE__TRY(pare__call_cast(call, q->scale, PARE_F32, &scale));
    return pare_quantize(x, scale, q->zero, (int)q->axis, out);
  }
  pare_tensor *scale, *zero, *real, *steps;
  PARE__TRY(stretch_both(call, q, &x->shape, &scale, &zero));
  PARE__TRY(pare__call_cast(call, x, PARE_F32, &real));
  PARE__TRY(pare__call_scratch(call, PARE_F32, x->shape.rank, x->shape.dim, &steps));
  PARE__TRY(pare_binary(PARE_BINARY_div, real, scale, steps));
  if (pare__dtype_is_tiny(out->dtype)) {
    const double largest = pare__tiny_largest(out->dtype);
    if (!q->overflows) PARE__TRY(pare_unary_with(PARE_UNARY_clip, -largest, largest, steps, steps));
    return pare_cast(steps, out);
  }
  PARE__TRY(pare_unary(PARE_UNARY_round, steps, steps));
  if (zero) PARE__TRY(pare_binary(PARE_BINARY_add, steps, zero, steps));
  const double half = ldexp(1, (int)q->narrow - 1);
  if (q->narrow)
    PARE__TRY(pare_unary_with(PARE_UNARY_clip, out->dtype == PARE_I8 ? -half : 0,
                              out->dtype == PARE_I8 ? half - 1 : 2 * half - 1, steps, steps));
  return pare_cast(steps, out); /* which saturates */
}

pare_status pare__call_dequantise(pare__call *call, pare_tensor *integers, const pare__quantisation *q,
                                  pare_tensor *out) {
  if (is_plain(q, integers, out)) {
    pare_tensor *scale;
    PARE__TRY(pare__call_cast(call, q->scale, PARE_F32, &scale));
    return pare_dequantize(integers, scale, q->zero, (int)q->axis, out);
  }
  pare_tensor *scale, *zero, *steps;
  PARE__TRY(stretch_both(call, q, &integers->shape, &scale, &zero));
  PARE__TRY(pare__call_scratch(call, PARE_F32, integers->shape.rank, integers->shape.dim, &steps));
  PARE__TRY(pare_cast(integers, steps));
  if (zero) PARE__TRY(pare_binary(PARE_BINARY_sub, steps, zero, steps));
  if (out->dtype == PARE_F32) return pare_binary(PARE_BINARY_mul, steps, scale, out);
  PARE__TRY(pare_binary(PARE_BINARY_mul, steps, scale, steps));
  return pare_cast(steps, out);
}

/* ---- QuantizeLinear, DequantizeLinear ---- */

/* Inputs 1 and 2 are the scale and the zero point. */
static pare_status read_quantisation(pare__call *call, pare__quantisation *out) {
  PARE__TRY(pare__call_check(call, 2, 3));
  *out = (pare__quantisation){.axis = pare__call_get_int(call, "axis", 1),
                              .block = pare__call_get_int(call, "block_size", 0)};
  PARE__TRY(pare__call_tensor(call, 1, &out->scale));
  PARE__TRY(pare__call_tensor(call, 2, &out->zero));
  if (!pare__dtype_is_float(out->scale->dtype))
    return pare__call_fail(call, PARE_ERR_TYPE, "the scale is %s; it must be a float",
                           pare_dtype_name(out->scale->dtype));
  if (out->block < 0 || out->block > INT32_MAX)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "blocks of %lld elements", (long long)out->block);
  return PARE_OK;
}

/* The dtype that an attribute names; `otherwise` where it is not given. */
static pare_status dtype_attribute(const pare__call *call, const char *name, pare_dtype otherwise, int64_t *number,
                                   pare_dtype *out) {
  *out = otherwise;
  *number = pare__call_get_int(call, name, 0);
  if (*number == 0) return PARE_OK;
  if (*number > 0 && *number < INT32_MAX && pare__held_dtype((int32_t)*number, out)) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "to type %s, which pare does not compute with",
                         pare__onnx_dtype_name((int32_t)*number));
}

static pare_status quantise_linear(pare__call *call) {
  pare__quantisation q;
  PARE__TRY(read_quantisation(call, &q));
  pare_tensor *x, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  int64_t number;
  pare_dtype dtype;
  bool is_signed;
  PARE__TRY(dtype_attribute(call, "output_dtype", q.zero ? q.zero->dtype : PARE_U8, &number, &dtype));
  q.narrow = pare__narrow_bits((int32_t)number, &is_signed);
  if (q.narrow == 0) q.narrow = narrow_bits(call, call->ninputs > 2 ? call->node->input[2] : PARE__NO_VALUE);
  if (q.narrow == 0) q.narrow = narrow_bits(call, call->node->output[0]);
  q.overflows = pare__call_get_int(call, "saturate", 1) == 0;
  if (pare__dtype_is_float(dtype) && !pare__dtype_is_tiny(dtype))
    return pare__call_fail(call, PARE_ERR_TYPE, "to %s; it quantises to integers and floats of a byte",
                           pare_dtype_name(dtype));
  PARE__TRY(pare__call_output(call, 0, dtype, x->shape.rank, x->shape.dim, &out));
  return pare__call_quantise(call, x, &q, out);
}

static pare_status dequantise_linear(pare__call *call) {
  pare__quantisation q;
  PARE__TRY(read_quantisation(call, &q));
  pare_tensor *x, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  int64_t number;
  pare_dtype dtype;
  PARE__TRY(dtype_attribute(call, "output_dtype", q.scale->dtype, &number, &dtype));
  PARE__TRY(pare__call_output(call, 0, dtype, x->shape.rank, x->shape.dim, &out));
  return pare__call_dequantise(call, x, &q, out);
}

static pare_status dynamic_quantise(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  pare_tensor *x, *q, *scale, *zero;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_output(call, 0, PARE_U8, x->shape.rank, x->shape.dim, &q));
  PARE__TRY(pare__call_output(call, 1, PARE_F32, 0, NULL, &scale));
  PARE__TRY(pare__call_output(call, 2, PARE_U8, 0, NULL, &zero));
  return pare_dynamic_quantize(x, q, scale, zero);
}

/* ---- com.microsoft GatherBlockQuantized ---- */

pare_status pare__call_gather(pare__call *call, pare_tensor *data, unsigned i, int axis, pare_tensor **out) {
  pare_tensor *indices;
  PARE__TRY(pare__call_tensor(call, i, &indices));
  int64_t dim[2 * PARE_MAX_RANK];
  int rank = 0;
  for (int d = 0; d < axis; d++) dim[rank++] = data->shape.dim[d];
  for (int d = 0; d < indices->shape.rank; d++) dim[rank++] = indices->shape.dim[d];
  for (int d = axis + 1; d < data->shape.rank; d++) dim[rank++] = data->shape.dim[d];
  if (rank > PARE_MAX_RANK)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "a result of rank %d; %d are possible", rank, PARE_MAX_RANK);
  PARE__TRY(pare__call_scratch(call, data->dtype, rank, dim, out));
  return pare_gather(data, indices, axis, *out);
}

static pare_status gather_block_quantised(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 4));
  pare_tensor *data, *out;
  pare__quantisation q = {.block = pare__call_get_int(call, "block_size", 128)};
  PARE__TRY(pare__call_tensor(call, 0, &data));
  PARE__TRY(pare__call_tensor(call, 2, &q.scale));
  PARE__TRY(pare__call_tensor(call, 3, &q.zero));
  const int rank = data->shape.rank;
  const int64_t bits = pare__call_get_int(call, "bits", 4);
  const bool packed = data->dtype == PARE_U8 && narrow_bits(call, call->node->input[0]) == 0;
  int gathered, quantised;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "gather_axis", 0), rank, &gathered));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "quantize_axis", 1), rank, &quantised));
  if (gathered == quantised)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "gather_axis and quantize_axis are both %d", gathered);
  if (q.block <= 0 || q.block > INT32_MAX || (packed && quantised != rank - 1))
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "blocks of %lld elements along axis %d of %d", (long long)q.block,
                           quantised, rank);
  PARE__TRY(pare__call_gather(call, data, 1, gathered, &data));
  PARE__TRY(pare__call_gather(call, q.scale, 1, gathered, &q.scale));
  if (q.zero) PARE__TRY(pare__call_gather(call, q.zero, 1, gathered, &q.zero));
  q.axis = quantised < gathered ? quantised : data->shape.rank - rank + quantised;
  if (packed) {
    PARE__TRY(pare__call_unpack(call, data, bits, &data));
    if (q.zero) PARE__TRY(pare__call_unpack(call, q.zero, bits, &q.zero));
    const int last = q.scale->shape.rank - 1; /* a row of zero points ends in padding */
    if (q.zero && q.zero->shape.dim[last] > q.scale->shape.dim[last]) {
      PARE__TRY(pare_tensor_slice(q.zero, last, 0, q.scale->shape.dim[last], 1, &q.zero));
      PARE__TRY(pare__call_keep(call, q.zero));
    }
    const uint8_t middle = (uint8_t)(1 << (bits - 1));
    if (!q.zero) PARE__TRY(pare__call_constant(call, PARE_U8, 0, NULL, &middle, &q.zero));
  }
  PARE__TRY(pare__call_output(call, 0, q.scale->dtype, data->shape.rank, data->shape.dim, &out));
  return pare__call_dequantise(call, data, &q, out);
}

/* ---- the table ---- */

const pare__operator pare__operators_quantise[] = {
    {"", "DequantizeLinear", 10, 0, PARE__ON_DEVICE, dequantise_linear,
     .types = "u8, i8, u16, i16, i32, 2 and 4 bits, f8"},
    {"", "DynamicQuantizeLinear", 11, 0, PARE__ON_DEVICE, dynamic_quantise, .types = "f32"},
    {"", "QuantizeLinear", 10, 0, PARE__ON_DEVICE, quantise_linear, .types = "f32, f16, bf16, i32"},
    {"com.microsoft", "DequantizeLinear", 1, 0, PARE__ON_DEVICE, dequantise_linear,
     .types = "u8, i8, u16, i16, i32, 2 and 4 bits, f8"},
    {"com.microsoft", "GatherBlockQuantized", 1, 0, PARE__ON_DEVICE, gather_block_quantised, .types = "u8, 4 bits"},
    {"com.microsoft", "QuantizeLinear", 1, 0, PARE__ON_DEVICE, quantise_linear, .types = "f32, f16, bf16, i32"},
    {0},
};
