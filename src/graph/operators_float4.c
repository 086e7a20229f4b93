/* Products with weights of 4-bit floats. SPDX-License-Identifier: Apache-2.0
 *
 * com.microsoft MatMulBnb4: the weights of the bitsandbytes library (Dettmers et al., "QLoRA", 2023), a number of 4
 * bits an element, which stands for one of 16 values, times the largest magnitude of its block. They are expanded once,
 * at load. */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <stdlib.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

enum { FP4, NF4 };
static const double value_of[2][16] = {
    {0, 0.00520833333, 0.66666667, 1, 0.33333333, 0.5, 0.16666667, 0.25, -0.0, -0.00520833333, -0.66666667, -1,
     -0.33333333, -0.5, -0.16666667, -0.25},
    {-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
     -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
     0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1}};

/* The two values that each byte stands for, the upper four bits first: [256][2]. */
static pare_status value_pairs(pare__call *call, int kind, pare_dtype dtype, pare_tensor **out) {
  uint64_t data[256] = {0}; /* two elements of up to 32 bits in each */
  for (size_t i = 0; i < 256; i++) {
    pare__store(dtype, data, 2 * i, value_of[kind][i >> 4]);
    pare__store(dtype, data, 2 * i + 1, value_of[kind][i & 15]);
  }
  return pare__call_constant(call, dtype, 2, (const int64_t[]){256, 2}, data, out);
}

/* `count` values from `first` on, where a block begins, times the magnitudes of their blocks; the last may be shorter.
 */
static pare_status scale_blocks(pare__call *call, pare_tensor *values, pare_tensor *largest, int64_t block,
                                int64_t first, int64_t count) {
  if (count == 0) return PARE_OK;
  const int64_t each = PARE__MIN(block, count), dim[2] = {count / each, each}, one[2] = {count / each, 1};
  pare_tensor *part, *scale;
  PARE__TRY(pare__call_slice(call, values, 0, first, count, 1, &part));
  PARE__TRY(pare__call_reshaped(call, part, 2, dim, &part));
  PARE__TRY(pare__call_slice(call, largest, 0, first / block, dim[0], 1, &scale));
  PARE__TRY(pare__call_reshaped(call, scale, 2, one, &scale));
  return pare_binary(PARE_BINARY_mul, part, scale, part);
}

/* *out = the weights [N, K], in the dtype of their magnitudes. */
static pare_status expand(pare__call *call, pare_tensor **out) {
  const int64_t rows = pare__call_get_int(call, "N", 0), columns = pare__call_get_int(call, "K", 0);
  const int64_t block = pare__call_get_int(call, "block_size", 0), kind = pare__call_get_int(call, "quant_type", 0);
  int64_t count;
  pare_tensor *bytes, *largest, *table, *values;
  PARE__TRY(pare__call_tensor(call, 1, &bytes));
  PARE__TRY(pare__call_tensor(call, 2, &largest));
  if (rows < 1 || columns < 1 || block < 1 || (kind != FP4 && kind != NF4) || !pare__i64_mul(rows, columns, &count))
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "N = %lld, K = %lld, block_size = %lld, quant_type = %lld",
                           (long long)rows, (long long)columns, (long long)block, (long long)kind);
  const int64_t nbytes = pare__div_up(count, 2), nblocks = pare__div_up(count, block), tail = count % block;
  const bool is_float = pare__dtype_is_float(largest->dtype) && largest->dtype != PARE_F64;
  if (bytes->dtype != PARE_U8 || !is_float || pare__shape_elements(&bytes->shape) != nbytes ||
      pare__shape_elements(&largest->shape) != nblocks)
    return pare__call_fail(
        call, PARE_ERR_SHAPE,
        "%lld x %lld weights in blocks of %lld are %lld bytes (u8) and %lld magnitudes (f32, f16, bf16)",
        (long long)rows, (long long)columns, (long long)block, (long long)nbytes, (long long)nblocks);
  PARE__TRY(value_pairs(call, (int)kind, largest->dtype, &table));
  PARE__TRY(pare__call_reshaped(call, bytes, 1, &nbytes, &bytes));
  PARE__TRY(pare__call_reshaped(call, largest, 1, &nblocks, &largest));
  PARE__TRY(pare__call_cast(call, bytes, PARE_I32, &bytes));
  PARE__TRY(pare__call_scratch(call, largest->dtype, 2, (const int64_t[]){nbytes, 2}, &values));
  PARE__TRY(pare_gather(table, bytes, 0, values));
  PARE__TRY(pare__call_reshaped(call, values, 1, (const int64_t[]){2 * nbytes}, &values));
  PARE__TRY(scale_blocks(call, values, largest, block, 0, count - tail));
  PARE__TRY(scale_blocks(call, values, largest, block, count - tail, tail));
  PARE__TRY(pare__call_slice(call, values, 0, 0, count, 1, &values));
  return pare__call_reshaped(call, values, 2, (const int64_t[]){rows, columns}, out);
}

static pare_status matmul_bnb4(pare__call *call) {
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  pare_tensor *a, *b, *out;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_tensor(call, 0, &a));
  const int64_t columns = pare__call_get_int(call, "K", 0);
  if (pare__call_get_int(call, "transB", 1) == 0) return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "transB = 0");
  if (a->shape.rank < 1 || a->shape.dim[a->shape.rank - 1] != columns)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its last dimension must be K = %lld", (long long)columns);
  for (int d = 0; d < a->shape.rank; d++) dim[d] = a->shape.dim[d];
  dim[a->shape.rank - 1] = pare__call_get_int(call, "N", 0);
  PARE__TRY(pare__call_output(call, 0, a->dtype, a->shape.rank, dim, &out));
  options.transpose_b = true;
  if (call->node->prepared) return pare_gemm_packed(a, call->node->prepared, NULL, &options, out);
  PARE__TRY(expand(call, &b));
  return pare_gemm(a, b, NULL, &options, out);
}

static pare_status prepare_bnb4(pare__call *call, pare__node *node) {
  if (!pare__call_has(call, 1) || !pare__call_has(call, 2)) return PARE_OK;
  pare_tensor *b;
  pare_weights *weights;
  PARE__TRY(expand(call, &b));
  PARE__TRY(pare_weights_pack(b, true, &weights));
  node->prepared = weights;
  node->prepared_close = pare__weights_release;
  return PARE_OK;
}

const pare__operator pare__operators_float4[] = {
    {"com.microsoft", "MatMulBnb4", 1, 0, PARE__ON_DEVICE, matmul_bnb4, NULL, prepare_bnb4,
     .types = "small floats with FP4 or NF4 weights"},
    {0},
};
