/* What passes make of quantised weights: operators that read them as they are stored.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/quantised.h"
#include "graph/run.h"

/* ---- QuantisedMatMul: A, B, bias, B's scale, B's zero point, A's scale, A's zero point, what is added last ----
 *
 * A float, or integers with a scale and a zero point of one element. B a matrix of bytes. Attributes: transB; axis of
 * its scale and block_size as DequantizeLinear has them (axis of B as it lies); alpha; activation; dynamic: A is
 * quantised on the way. */
enum { A, B, BIAS, B_SCALE, B_ZERO, A_SCALE, A_ZERO, RESIDUAL, NINPUTS };

static void weights_close(void *prepared) { pare_weights_close(prepared); }

static bool is_nibbles(const pare__call *call, unsigned i) {
  const int32_t dtype = call->state->model->network->value[call->node->input[i]].onnx_dtype;
  return dtype == PARE__ONNX_INT4 || dtype == PARE__ONNX_UINT4;
}

static bool is_integer_product(const pare__call *call) {
  return (call->node->ninputs > A_SCALE && call->node->input[A_SCALE] >= 0) || pare__call_get_int(call, "dynamic", 0);
}

static pare_status pack(pare__call *call, pare_weights **out) {
  const bool transposed = pare__call_get_int(call, "transB", 0) != 0;
  pare_tensor *b, *scale, *zero;
  PARE__TRY(pare__call_tensor(call, B, &b));
  PARE__TRY(pare__call_tensor(call, B_SCALE, &scale));
  PARE__TRY(pare__call_tensor(call, B_ZERO, &zero));
  if (is_integer_product(call)) {
    PARE__TRY(pare__call_to_signed(call, b, &b));
    return pare_weights_pack_int8(b, transposed, scale, out);
  }
  const pare_blocks_options options = {.bits = is_nibbles(call, B) ? 4 : 8,
                                       .block = pare__call_get_int(call, "block_size", 0),
                                       .transposed = transposed};
  return pare_weights_pack_blocks(b, scale, zero, &options, out);
}

static pare_status prepare(pare__call *call, pare__node *node) {
  if (!pare__call_has(call, B) || !pare__call_has(call, B_SCALE)) return PARE_OK;
  pare_weights *weights;
  PARE__TRY(pack(call, &weights));
  node->prepared = weights;
  node->prepared_close = weights_close;
  return PARE_OK;
}

static pare_status multiply(pare__call *call, const pare_weights *weights, pare_dtype dtype, int rank,
                            const int64_t *dim) {
  pare_tensor *out, *a, *bias, *scale, *zero;
  PARE__TRY(pare__call_tensor(call, A, &a));
  PARE__TRY(pare__call_tensor(call, BIAS, &bias));
  PARE__TRY(pare__call_tensor(call, A_SCALE, &scale));
  PARE__TRY(pare__call_tensor(call, A_ZERO, &zero));
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.alpha = pare__call_get_float(call, "alpha", 1);
  options.activation = (pare_activation)pare__call_get_int(call, "activation", PARE_ACTIVATION_NONE);
  if (is_integer_product(call)) {
    PARE__TRY(pare__call_output(call, 0, dtype, rank, dim, &out));
    return scale ? pare_gemm_quantized(a, scale, zero, weights, bias, &options, out)
                 : pare_gemm_int8(a, weights, bias, &options, out);
  }
  PARE__TRY(pare__call_product_begin(call, RESIDUAL, dtype, rank, dim, &options, &out));
  PARE__TRY(pare_gemm_packed(a, weights, bias, &options, out));
  return pare__call_product_end(call, RESIDUAL, out);
}

static pare_status quantised_matmul(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, NINPUTS));
  pare__shape b_shape = call->input[B]->shape;
  if (pare__call_get_int(call, "transB", 0)) {
    const int64_t rows = b_shape.dim[0];
    b_shape.dim[0] = b_shape.dim[1];
    b_shape.dim[1] = rows;
  }
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &call->input[A]->shape, &b_shape, &rank, dim));
  const pare_dtype dtype =
      pare__dtype_is_float(call->input[A]->dtype) ? call->input[A]->dtype : call->input[B_SCALE]->dtype;
  if (call->node->prepared) return multiply(call, call->node->prepared, dtype, rank, dim);
  pare_weights *weights;
  PARE__TRY(pack(call, &weights));
  const pare_status status = multiply(call, weights, dtype, rank, dim);
  pare_weights_close(weights);
  return status;
}

/* ---- GatherDequantised: data, indices, scale, zero point ----
 *
 * Rows of a table of integers or halves, as floats: DequantizeLinear or Cast, then Gather. Attributes: axis of Gather;
 * quantised_axis and block_size of DequantizeLinear; to: the dtype of the result. Without a scale it is a cast. */

/* Numbers of which there is one for each index of the gathered axis go through Gather as the data does. */
static pare_status gather_parameters(pare__call *call, pare_tensor *from, int axis, int quantised, bool blocked,
                                     int more, pare_tensor **out) {
  *out = from;
  if (!from || pare__shape_elements(&from->shape) == 1 || (!blocked && axis != quantised)) return PARE_OK;
  pare_tensor *rows;
  PARE__TRY(pare__call_gather(call, from, 1, axis, &rows));
  *out = rows;
  if (blocked) return PARE_OK;
  int64_t dim[PARE_MAX_RANK];
  const int rank = rows->shape.rank;
  if (rank + more > PARE_MAX_RANK) return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "rank %d", rank + more);
  memcpy(dim, rows->shape.dim, sizeof dim);
  for (int d = rank; d < rank + more; d++) dim[d] = 1;
  return pare__call_reshaped(call, rows, rank + more, dim, out);
}

static pare_status gather_dequantised(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 4));
  pare_tensor *data, *rows, *out;
  pare__quantisation q = {.block = pare__call_get_int(call, "block_size", 0)};
  PARE__TRY(pare__call_tensor(call, 0, &data));
  PARE__TRY(pare__call_tensor(call, 2, &q.scale));
  PARE__TRY(pare__call_tensor(call, 3, &q.zero));
  const int rank = data->shape.rank;
  int axis, quantised;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", 0), rank, &axis));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "quantised_axis", 0), rank, &quantised));
  PARE__TRY(pare__call_gather(call, data, 1, axis, &rows));
  pare_dtype to;
  if (!pare__onnx_dtype_to_pare((int32_t)pare__call_get_int(call, "to", PARE__ONNX_FLOAT), &to))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "to a type that pare does not compute with");
  PARE__TRY(pare__call_output(call, 0, to, rows->shape.rank, rows->shape.dim, &out));
  if (!q.scale) return pare_cast(rows, out);
  const int more = rank - 1 - axis; /* dimensions behind the gathered one */
  const bool blocked = q.block > 0, by_row = !blocked && axis == quantised;
  PARE__TRY(gather_parameters(call, q.scale, axis, quantised, blocked, more, &q.scale));
  PARE__TRY(gather_parameters(call, q.zero, axis, quantised, blocked, more, &q.zero));
  q.axis = quantised < axis ? quantised : rows->shape.rank - rank + quantised;
  q.broadcasts = by_row;
  return pare__call_dequantise(call, rows, &q, out);
}

const pare__operator pare__operators_compressed[] = {
    {"pare", "GatherDequantised", 1, 0, PARE__ON_DEVICE, gather_dequantised, .types = "u8, i8, 4 bits, f16, bf16"},
    {"pare", "QuantisedMatMul", 1, 0, PARE__ON_DEVICE, quantised_matmul, NULL, prepare,
     .types = "small floats, u8, i8 with u8, i8, 4 bits"},
    {0},
};
