/* Products of quantised matrices. SPDX-License-Identifier: Apache-2.0
 *
 * All integer products become sum over k of (A - a_zero) B' with B' int8, corrected for what B' leaves out:
 *   sum (A - a) (B - b) = sum (A - a) B' - b' sum (A - a),   B' = B - o, b' = b - o, o = 128 for unsigned B, else 0. */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/quantise.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/quantised.h"
#include "graph/run.h"

/* ---- steps ---- */

static pare_status combine(pare__call *call, pare_binary_operation operation, pare_tensor *a, pare_tensor *b,
                           pare_tensor **out) {
  pare__shape shape;
  PARE__TRY(pare__shape_broadcast(&a->shape, &b->shape, &shape));
  PARE__TRY(pare__call_scratch(call, a->dtype, shape.rank, shape.dim, out));
  return pare_binary(operation, a, b, *out);
}

pare_status pare__call_to_signed(pare__call *call, pare_tensor *bytes, pare_tensor **out) {
  static const uint8_t top = 128;
  *out = bytes;
  if (bytes->dtype == PARE_I8) return PARE_OK;
  pare_tensor *bit, *turned;
  PARE__TRY(pare__call_constant(call, PARE_U8, 0, NULL, &top, &bit));
  PARE__TRY(combine(call, PARE_BINARY_bitwise_xor, bytes, bit, &turned));
  PARE__TRY(pare__tensor_handle(turned, out));
  (*out)->dtype = PARE_I8;
  return pare__call_keep(call, *out);
}

bool pare__call_known_to_be(const pare__call *call, unsigned i, double number) {
  if (!pare__call_has(call, i)) return number == 0;
  const pare__content *content = call->input[i]->content;
  if (!content) return false;
  for (size_t k = 0; k < content->count; k++)
    if (pare__content_number(content, k) != number) return false;
  return true;
}

/* b' as i32 that broadcasts to the product; NULL: 0. */
static pare_status zero_of_b(pare__call *call, unsigned i, pare_dtype b, pare_tensor **out) {
  static const int32_t shift = -128;
  *out = NULL;
  if (pare__call_known_to_be(call, i, b == PARE_I8 ? 0 : 128)) return PARE_OK;
  if (!pare__call_has(call, i)) return pare__call_constant(call, PARE_I32, 0, NULL, &shift, out);
  pare_tensor *zero, *wide;
  PARE__TRY(pare__call_tensor(call, i, &zero));
  PARE__TRY(pare__call_cast(call, zero, PARE_I32, &wide));
  if (pare__shape_elements(&wide->shape) == 1) PARE__TRY(pare__call_reshaped(call, wide, 0, NULL, &wide));
  *out = wide;
  if (b == PARE_I8) return PARE_OK;
  PARE__TRY(pare__call_scratch(call, PARE_I32, wide->shape.rank, wide->shape.dim, out));
  return pare_unary_with(PARE_UNARY_affine, 1, shift, wide, *out);
}

/* Sums of bytes along one of the last two axes, which stays as 1. */
static pare_status sums_along(pare__call *call, pare_tensor *bytes, int axis, pare_tensor **out) {
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, bytes->shape.dim, sizeof dim);
  dim[axis] = 1;
  pare_tensor *sums;
  PARE__TRY(pare__call_scratch(call, PARE_I64, bytes->shape.rank, dim, &sums));
  PARE__TRY(pare_reduce(bytes, PARE_REDUCTION_SUM, &axis, 1, true, sums));
  return pare__call_cast(call, sums, PARE_I32, out);
}

/* ---- integer products ---- */

typedef struct integer_product {
  pare_tensor *a, *a_zero; /* [B M K] bytes; zero NULL, one element, or [… M 1] i32 */
  pare_tensor *b, *b_zero; /* [B K N] i8; b', see above */
  bool many_zeros;         /* a_zero has more than one element */
  const pare_weights *packed;
  pare_tensor *out; /* [B M N] i32 */
} integer_product;

static pare_status matrix_of(pare__call *call, pare_tensor *stack, int64_t i, pare_tensor **out) {
  pare_tensor *one;
  PARE__TRY(pare_tensor_slice(stack, 0, i, 1, 1, &one));
  PARE__TRY(pare__call_keep(call, one));
  PARE__TRY(pare_tensor_reshape(one, 2, &stack->shape.dim[1], out));
  return pare__call_keep(call, *out);
}

/* sum (A - a) B' of every matrix of the stack; a is one number or none. */
static pare_status raw_products(pare__call *call, const integer_product *p) {
  pare_tensor *zero = p->many_zeros ? NULL : p->a_zero;
  if (p->packed) return pare_gemm_integer(p->a, zero, p->packed, p->out);
  for (int64_t i = 0; i < p->out->shape.dim[0]; i++) {
    pare_tensor *a, *b, *out;
    pare_weights *weights;
    PARE__TRY(matrix_of(call, p->a, i, &a));
    PARE__TRY(matrix_of(call, p->b, i, &b));
    PARE__TRY(matrix_of(call, p->out, i, &out));
    PARE__TRY(pare_weights_pack_int8(b, false, NULL, &weights));
    const pare_status status = pare_gemm_integer(a, zero, weights, out);
    pare_weights_close(weights);
    PARE__TRY(status);
  }
  return PARE_OK;
}

/* out -= b' sum over k of A - a, where a is one number or none. */
static pare_status correct_for_b(pare__call *call, const integer_product *p) {
  const double k = (double)p->a->shape.dim[2];
  pare_tensor *sums, *product;
  PARE__TRY(sums_along(call, p->a, 2, &sums));
  if (p->a_zero && !p->many_zeros) {
    pare_tensor *zero, *all;
    PARE__TRY(pare__call_reshaped(call, p->a_zero, 0, NULL, &zero));
    PARE__TRY(pare__call_cast(call, zero, PARE_I32, &zero));
    PARE__TRY(pare__call_scratch(call, PARE_I32, 0, NULL, &all));
    PARE__TRY(pare_unary_with(PARE_UNARY_affine, k, 0, zero, all));
    PARE__TRY(combine(call, PARE_BINARY_sub, sums, all, &sums));
  }
  PARE__TRY(combine(call, PARE_BINARY_mul, sums, p->b_zero, &product));
  return pare_binary(PARE_BINARY_sub, p->out, product, p->out);
}

/* out -= a sum over k of B' - b', where a has a number a row. */
static pare_status correct_for_a(pare__call *call, const integer_product *p) {
  const double k = (double)p->a->shape.dim[2];
  pare_tensor *sums, *product;
  PARE__TRY(sums_along(call, p->b, 1, &sums));
  if (p->b_zero) {
    pare_tensor *all;
    PARE__TRY(pare__call_scratch(call, PARE_I32, p->b_zero->shape.rank, p->b_zero->shape.dim, &all));
    PARE__TRY(pare_unary_with(PARE_UNARY_affine, k, 0, p->b_zero, all));
    PARE__TRY(combine(call, PARE_BINARY_sub, sums, all, &sums));
  }
  PARE__TRY(combine(call, PARE_BINARY_mul, p->a_zero, sums, &product));
  return pare_binary(PARE_BINARY_sub, p->out, product, p->out);
}

/* A stack of matrices [B R C] of a tensor whose batch dimensions are stretched. */
static pare_status stacked(pare__call *call, pare_tensor *tensor, const int64_t *batch, int nbatch, bool is_row,
                           pare_tensor **out) {
  const pare__shape *shape = &tensor->shape;
  int64_t dim[PARE_MAX_RANK + 2], count = 1;
  const int64_t rows = shape->rank > 1 ? shape->dim[shape->rank - 2] : is_row ? 1 : shape->dim[0];
  const int64_t columns = shape->rank > 1 ? shape->dim[shape->rank - 1] : is_row ? shape->dim[0] : 1;
  if (shape->rank > 1 && nbatch > 0 && nbatch <= PARE_MAX_RANK - 2) {
    memcpy(dim, batch, (size_t)nbatch * sizeof *dim);
    dim[nbatch] = rows;
    dim[nbatch + 1] = columns;
    PARE__TRY(pare_tensor_broadcast(tensor, nbatch + 2, dim, &tensor));
    PARE__TRY(pare__call_keep(call, tensor));
    for (int d = 0; d < nbatch; d++) count *= batch[d];
  }
  return pare__call_reshaped(call, tensor, 3, (const int64_t[]){count, rows, columns}, out);
}

/* Which inputs are the zero points; a_zero 0: none. */
typedef struct zero_inputs {
  unsigned a_zero, b_zero;
} zero_inputs;

/* Input b as packed int8 weights, once, at load; scale: the input that is its scale, 0: none. */
static pare_status pack_operand(pare__call *call, pare__node *node, unsigned b, unsigned scale) {
  const bool transposed = pare__call_get_int(call, "transB", 0) != 0;
  if (!pare__call_has(call, b) || call->input[b]->shape.rank != 2 || call->input[b]->shape.dim[transposed] > 65000)
    return PARE_OK;
  if (call->input[b]->dtype != PARE_I8 && call->input[b]->dtype != PARE_U8) return PARE_OK;
  if (pare__shape_elements(&call->input[b]->shape) == 0) return PARE_OK;
  const bool scaled = scale > 0 && pare__call_has(call, scale) && call->input[scale]->dtype == PARE_F32;
  pare_tensor *bytes, *steps = NULL;
  pare_weights *weights;
  PARE__TRY(pare__call_tensor(call, b, &bytes));
  PARE__TRY(pare__call_to_signed(call, bytes, &bytes));
  if (scaled) PARE__TRY(pare__call_tensor(call, scale, &steps));
  PARE__TRY(pare_weights_pack_int8(bytes, transposed, steps, &weights));
  node->prepared = weights;
  node->prepared_close = pare__weights_release;
  return PARE_OK;
}

static pare_status zero_of_a(pare__call *call, unsigned i, integer_product *p) {
  if (pare__call_known_to_be(call, i, 0)) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, i, &p->a_zero));
  const pare__shape *shape = &p->a_zero->shape;
  p->many_zeros = pare__shape_elements(shape) != 1;
  if (!p->many_zeros) return PARE_OK;
  PARE__TRY(pare__call_cast(call, p->a_zero, PARE_I32, &p->a_zero));
  if (shape->rank != 1) return PARE_OK;
  return pare__call_reshaped(call, p->a_zero, 2, (const int64_t[]){p->a_zero->shape.dim[0], 1}, &p->a_zero);
}

/* The product of inputs as i32: `result` has the shape of the product. a: an input's tensor, or what stands for it. */
static pare_status integer_product_of(pare__call *call, pare_tensor *a, pare_tensor *a_zero_known, pare_tensor *b,
                                      const zero_inputs *inputs, pare_tensor *result) {
  integer_product p = {.packed = call->node->prepared, .a_zero = a_zero_known};
  const int nbatch = PARE__MAX(0, result->shape.rank - (a->shape.rank > 1) - (b->shape.rank > 1));
  PARE__TRY(stacked(call, a, result->shape.dim, nbatch, true, &p.a));
  if (!a_zero_known && inputs->a_zero) PARE__TRY(zero_of_a(call, inputs->a_zero, &p));
  PARE__TRY(zero_of_b(call, inputs->b_zero, b->dtype, &p.b_zero));
  if (!p.packed || p.many_zeros) {
    PARE__TRY(pare__call_to_signed(call, b, &b));
    PARE__TRY(stacked(call, b, result->shape.dim, nbatch, false, &p.b));
  }
  const int64_t n = p.packed ? b->shape.dim[1] : p.b->shape.dim[2];
  const int64_t dim[3] = {p.a->shape.dim[0], p.a->shape.dim[1], n};
  PARE__TRY(pare_tensor_reshape(result, 3, dim, &p.out));
  PARE__TRY(pare__call_keep(call, p.out));
  PARE__TRY(raw_products(call, &p));
  if (p.b_zero) PARE__TRY(correct_for_b(call, &p));
  return p.many_zeros ? correct_for_a(call, &p) : PARE_OK;
}

static pare_status check_bytes(const pare__call *call, unsigned i) {
  const pare_dtype dtype = call->input[i]->dtype;
  if (dtype == PARE_U8 || dtype == PARE_I8) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_TYPE, "input %u is %s; it must be u8 or i8", i, pare_dtype_name(dtype));
}

static const zero_inputs matmul_integer_inputs = {2, 3};

static pare_status matmul_integer(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 4));
  for (unsigned i = 0; i < 2; i++) PARE__TRY(check_bytes(call, i));
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &call->input[0]->shape, &call->input[1]->shape, &rank, dim));
  pare_tensor *a, *b, *out;
  PARE__TRY(pare__call_tensor(call, 0, &a));
  PARE__TRY(pare__call_tensor(call, 1, &b));
  PARE__TRY(pare__call_output(call, 0, PARE_I32, rank, dim, &out));
  return integer_product_of(call, a, NULL, b, &matmul_integer_inputs, out);
}

static pare_status prepare_1(pare__call *call, pare__node *node) { return pack_operand(call, node, 1, 0); }
static pare_status prepare_3(pare__call *call, pare__node *node) { return pack_operand(call, node, 3, 0); }
static pare_status prepare_scaled(pare__call *call, pare__node *node) { return pack_operand(call, node, 1, 2); }

/* ---- products that become floats ---- */

/* out = sums * a_scale * b_scale (+ bias); scales of one element, of a row (a), of a column (b). */
static pare_status scaled(pare__call *call, pare_tensor *sums, pare_tensor *a_scale, pare_tensor *b_scale,
                          pare_tensor *bias, pare_tensor *out) {
  pare_tensor *scale[2] = {a_scale, b_scale};
  for (int i = 0; i < 2; i++) {
    PARE__TRY(pare__call_cast(call, scale[i], PARE_F32, &scale[i]));
    const int64_t count = pare__shape_elements(&scale[i]->shape);
    if (count == 1) PARE__TRY(pare__call_reshaped(call, scale[i], 0, NULL, &scale[i]));
    if (i == 0 && count != 1 && scale[i]->shape.rank == 1)
      PARE__TRY(pare__call_reshaped(call, scale[i], 2, (const int64_t[]){count, 1}, &scale[i]));
  }
  PARE__TRY(combine(call, PARE_BINARY_mul, scale[0], scale[1], &scale[0]));
  PARE__TRY(pare_cast(sums, out));
  PARE__TRY(pare_binary(PARE_BINARY_mul, out, scale[0], out));
  return bias ? pare_binary(PARE_BINARY_add, out, bias, out) : PARE_OK;
}

/* a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero */
static pare_status qlinear_matmul(pare__call *call) {
  static const zero_inputs inputs = {2, 5};
  PARE__TRY(pare__call_check(call, 8, 8));
  PARE__TRY(check_bytes(call, 0));
  PARE__TRY(check_bytes(call, 3));
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &call->input[0]->shape, &call->input[3]->shape, &rank, dim));
  pare_tensor *in[8], *sums, *real, *out;
  for (unsigned i = 0; i < 8; i++) PARE__TRY(pare__call_tensor(call, i, &in[i]));
  PARE__TRY(pare__call_scratch(call, PARE_I32, rank, dim, &sums));
  PARE__TRY(integer_product_of(call, in[0], NULL, in[3], &inputs, sums));
  PARE__TRY(pare__call_scratch(call, PARE_F32, rank, dim, &real));
  PARE__TRY(scaled(call, sums, in[1], in[4], NULL, real));
  PARE__TRY(pare__call_output(call, 0, in[7]->dtype, rank, dim, &out));
  const pare__quantisation q = {.scale = in[6], .zero = in[7], .axis = 0};
  return pare__call_quantise(call, real, &q, out);
}

/* A, B, a_scale, b_scale, a_zero, b_zero, bias */
static pare_status matmul_integer_to_float(pare__call *call) {
  static const zero_inputs inputs = {4, 5};
  PARE__TRY(pare__call_check(call, 4, 7));
  for (unsigned i = 0; i < 2; i++) PARE__TRY(check_bytes(call, i));
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &call->input[0]->shape, &call->input[1]->shape, &rank, dim));
  pare_tensor *in[7], *sums, *out;
  for (unsigned i = 0; i < 7; i++) PARE__TRY(pare__call_tensor(call, i, &in[i]));
  PARE__TRY(pare__call_scratch(call, PARE_I32, rank, dim, &sums));
  PARE__TRY(integer_product_of(call, in[0], NULL, in[1], &inputs, sums));
  PARE__TRY(pare__call_output(call, 0, PARE_F32, rank, dim, &out));
  return scaled(call, sums, in[2], in[3], in[6], out);
}

/* Does the kernel of floor 5 that quantises A on the way do it? B' is B, and its scale was packed with it. */
static bool is_one_kernel(const pare__call *call) {
  const pare_dtype b = call->input[1]->dtype;
  const pare__slot *bias = pare__call_has(call, 4) ? call->input[4] : NULL;
  return pare__call_has(call, 2) && call->input[2]->content &&
         pare__call_known_to_be(call, 3, b == PARE_I8 ? 0 : 128) &&
         (!bias || (bias->dtype == PARE_F32 && bias->shape.rank == 1));
}

/* A float, B, b_scale, b_zero, bias */
static pare_status dynamic_quantise_matmul(pare__call *call) {
  static const zero_inputs inputs = {0, 3};
  PARE__TRY(pare__call_check(call, 3, 5));
  PARE__TRY(check_bytes(call, 1));
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  const pare__shape *shape = &call->input[0]->shape;
  PARE__TRY(pare__call_product_shape(call, shape, &call->input[1]->shape, &rank, dim));
  pare_tensor *a, *b, *b_scale, *bias, *bytes, *scale, *zero, *sums, *out;
  PARE__TRY(pare__call_tensor(call, 0, &a));
  PARE__TRY(pare__call_tensor(call, 4, &bias));
  if (call->node->prepared && is_one_kernel(call)) {
    PARE__TRY(pare__call_output(call, 0, a->dtype, rank, dim, &out));
    return pare_gemm_int8(a, call->node->prepared, bias, NULL, out);
  }
  PARE__TRY(pare__call_tensor(call, 1, &b));
  PARE__TRY(pare__call_tensor(call, 2, &b_scale));
  PARE__TRY(pare__call_scratch(call, PARE_U8, shape->rank, shape->dim, &bytes));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 0, NULL, &scale));
  PARE__TRY(pare__call_scratch(call, PARE_U8, 0, NULL, &zero));
  PARE__TRY(pare_dynamic_quantize(a, bytes, scale, zero));
  PARE__TRY(pare__call_scratch(call, PARE_I32, rank, dim, &sums));
  PARE__TRY(integer_product_of(call, bytes, zero, b, &inputs, sums));
  PARE__TRY(pare__call_output(call, 0, a->dtype, rank, dim, &out));
  return scaled(call, sums, scale, b_scale, bias, out);
}

/* A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero: of integers; a float without y_scale. C is i32. */
static pare_status qgemm(pare__call *call) {
  static const zero_inputs inputs = {2, 5};
  PARE__TRY(pare__call_check(call, 6, 9));
  PARE__TRY(check_bytes(call, 0));
  PARE__TRY(check_bytes(call, 3));
  pare_tensor *in[9];
  for (unsigned i = 0; i < 9; i++) PARE__TRY(pare__call_tensor(call, i, &in[i]));
  if (in[0]->shape.rank != 2 || in[3]->shape.rank != 2 || pare__call_get_float(call, "alpha", 1) != 1)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "factors of ranks %d and %d, alpha %g; 2, 2 and 1 are possible",
                           in[0]->shape.rank, in[3]->shape.rank, pare__call_get_float(call, "alpha", 1));
  const int swap[2] = {1, 0};
  if (pare__call_get_int(call, "transA", 0)) {
    PARE__TRY(pare_tensor_permute(in[0], swap, &in[0]));
    PARE__TRY(pare__call_keep(call, in[0]));
  }
  if (pare__call_get_int(call, "transB", 0)) {
    PARE__TRY(pare_tensor_permute(in[3], swap, &in[3]));
    PARE__TRY(pare__call_keep(call, in[3]));
  }
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &in[0]->shape, &in[3]->shape, &rank, dim));
  pare_tensor *sums, *real, *out;
  PARE__TRY(pare__call_scratch(call, PARE_I32, rank, dim, &sums));
  PARE__TRY(integer_product_of(call, in[0], NULL, in[3], &inputs, sums));
  if (in[6]) PARE__TRY(pare_binary(PARE_BINARY_add, sums, in[6], sums));
  if (!in[7]) {
    PARE__TRY(pare__call_output(call, 0, PARE_F32, rank, dim, &out));
    return scaled(call, sums, in[1], in[4], NULL, out);
  }
  PARE__TRY(pare__call_scratch(call, PARE_F32, rank, dim, &real));
  PARE__TRY(scaled(call, sums, in[1], in[4], NULL, real));
  PARE__TRY(pare__call_output(call, 0, in[8] ? in[8]->dtype : in[0]->dtype, rank, dim, &out));
  const pare__quantisation q = {.scale = in[7], .zero = in[8], .axis = 0};
  return pare__call_quantise(call, real, &q, out);
}

/* ---- MatMulNBits ---- */

pare_status pare__call_unpack(pare__call *call, pare_tensor *bytes, int64_t bits, pare_tensor **out) {
  const int rank = bytes->shape.rank;
  const uint8_t mask = (uint8_t)((1U << bits) - 1);
  *out = bytes;
  if (bits == 8) return PARE_OK;
  if ((bits != 2 && bits != 4) || rank < 1 || rank >= PARE_MAX_RANK)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "elements of %lld bits in a tensor of rank %d", (long long)bits,
                           rank);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, bytes->shape.dim, sizeof dim);
  dim[rank] = 8 / bits;
  pare_tensor *parts, *low;
  PARE__TRY(pare__call_scratch(call, PARE_U8, rank + 1, dim, &parts));
  PARE__TRY(pare__call_constant(call, PARE_U8, 0, NULL, &mask, &low));
  for (int64_t i = 0; i < dim[rank]; i++) {
    pare_tensor *part, *shift, *turned;
    const uint8_t by = (uint8_t)(i * bits);
    PARE__TRY(pare_tensor_slice(parts, rank, i, 1, 1, &part));
    PARE__TRY(pare__call_keep(call, part));
    PARE__TRY(pare_tensor_reshape(part, rank, dim, &turned));
    PARE__TRY(pare__call_keep(call, turned));
    PARE__TRY(pare__call_constant(call, PARE_U8, 0, NULL, &by, &shift));
    PARE__TRY(pare_binary(PARE_BINARY_shift_right, bytes, shift, turned));
    PARE__TRY(pare_binary(PARE_BINARY_bitwise_and, turned, low, turned));
  }
  dim[rank - 1] *= dim[rank];
  return pare__call_reshaped(call, parts, rank, dim, out);
}

/* Zero points [N, blocks] of input 3: floats, or packed like B in rows of whole bytes. */
static pare_status zero_points(pare__call *call, int64_t n, int64_t blocks, int64_t bits, pare_tensor **out) {
  *out = NULL;
  pare_tensor *packed;
  PARE__TRY(pare__call_tensor(call, 3, &packed));
  const int64_t row = packed->dtype == PARE_U8 ? pare__div_up(blocks * bits, 8) : blocks;
  if (pare__shape_elements(&packed->shape) != n * row)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld zero points' bytes; %lld x %lld are needed",
                           (long long)pare__shape_elements(&packed->shape), (long long)n, (long long)row);
  PARE__TRY(pare__call_reshaped(call, packed, 2, (const int64_t[]){n, row}, out));
  if (packed->dtype == PARE_U8) PARE__TRY(pare__call_unpack(call, *out, bits, out));
  PARE__TRY(pare_tensor_slice(*out, 1, 0, blocks, 1, out));
  return pare__call_keep(call, *out);
}

typedef struct blocked_weights {
  int64_t k, n, bits, size, blocks;
} blocked_weights;

static pare_status read_blocks(const pare__call *call, blocked_weights *w) {
  const int64_t most = 1 << 30; /* no product below overflows */
  *w = (blocked_weights){.k = pare__call_get_int(call, "K", 0),
                         .n = pare__call_get_int(call, "N", 0),
                         .bits = pare__call_get_int(call, "bits", 4),
                         .size = pare__call_get_int(call, "block_size", 0)};
  if (w->k <= 0 || w->n <= 0 || w->size <= 0 || w->k > most || w->n > most || w->size > most ||
      (w->bits != 2 && w->bits != 4 && w->bits != 8) || w->size * w->bits % 8 != 0)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "K %lld, N %lld, %lld bits in blocks of %lld", (long long)w->k,
                           (long long)w->n, (long long)w->bits, (long long)w->size);
  w->blocks = pare__div_up(w->k, w->size);
  return PARE_OK;
}

static pare_status check_blocks(const pare__call *call, const blocked_weights *w, const pare_tensor *b,
                                const pare_tensor *scale) {
  const int64_t row = w->size * w->bits / 8;
  if (b->dtype == PARE_U8 && pare__shape_elements(&b->shape) == w->n * w->blocks * row &&
      pare__shape_elements(&scale->shape) == w->n * w->blocks)
    return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "B of %lld %s and %lld scales do not fit %lld x %lld blocks of %lld",
                         (long long)pare__shape_elements(&b->shape), pare_dtype_name(b->dtype),
                         (long long)pare__shape_elements(&scale->shape), (long long)w->n, (long long)w->blocks,
                         (long long)w->size);
}

/* B in the layout of the kernels, in as many bits as it has. */
static pare_status pack_blocks(pare__call *call, const blocked_weights *w, pare_weights **out) {
  pare_tensor *b, *scale, *zero = NULL;
  PARE__TRY(pare__call_tensor(call, 1, &b));
  PARE__TRY(pare__call_tensor(call, 2, &scale));
  PARE__TRY(check_blocks(call, w, b, scale));
  if (pare__call_has(call, 3)) PARE__TRY(zero_points(call, w->n, w->blocks, w->bits, &zero));
  const pare_blocks_options options = {
      .bits = (int)w->bits, .block = w->size, .packed = true, .k = w->k, .zero = 1 << (w->bits - 1)};
  return pare_weights_pack_blocks(b, scale, zero, &options, out);
}

static pare_status prepare_blocks(pare__call *call, pare__node *node) {
  blocked_weights w;
  PARE__TRY(read_blocks(call, &w));
  const bool zeros = node->ninputs > 3 && node->input[3] >= 0;
  if (!pare__call_has(call, 1) || !pare__call_has(call, 2) || (zeros && !pare__call_has(call, 3))) return PARE_OK;
  if (node->ninputs > 4 && node->input[4] >= 0) return PARE_OK;
  pare_weights *weights;
  PARE__TRY(pack_blocks(call, &w, &weights));
  node->prepared = weights;
  node->prepared_close = pare__weights_release;
  return PARE_OK;
}

/* A scale or zero point [N, blocks] for each index of K: of the block that input 4 names for it. */
static pare_status of_each_index(pare__call *call, const blocked_weights *w, pare_tensor *blocks, pare_tensor **out) {
  PARE__TRY(pare__call_reshaped(call, blocks, 2, (const int64_t[]){w->n, w->blocks}, &blocks));
  PARE__TRY(pare__call_gather(call, blocks, 4, 1, out));
  if ((*out)->shape.rank != 2 || (*out)->shape.dim[1] < w->k)
    return pare__call_fail(call, PARE_ERR_SHAPE, "g_idx needs a block's number for each of %lld indices",
                           (long long)w->k);
  PARE__TRY(pare_tensor_slice(*out, 1, 0, w->k, 1, out));
  return pare__call_keep(call, *out);
}

/* The weights as floats [N, K], where g_idx says which block's scale and zero point each index of K has: GPTQ's order
 * of activations. Kernels take blocks of neighbours only. */
static pare_status expand_blocks(pare__call *call, const blocked_weights *w, pare_tensor **out) {
  pare_tensor *b, *scale, *zero;
  PARE__TRY(pare__call_tensor(call, 1, &b));
  PARE__TRY(pare__call_tensor(call, 2, &scale));
  PARE__TRY(check_blocks(call, w, b, scale));
  PARE__TRY(pare__call_reshaped(call, b, 2, (const int64_t[]){w->n, w->blocks * w->size * w->bits / 8}, &b));
  PARE__TRY(pare__call_unpack(call, b, w->bits, &b));
  PARE__TRY(pare_tensor_slice(b, 1, 0, w->k, 1, &b));
  PARE__TRY(pare__call_keep(call, b));
  PARE__TRY(of_each_index(call, w, scale, &scale));
  if (pare__call_has(call, 3)) {
    PARE__TRY(zero_points(call, w->n, w->blocks, w->bits, &zero));
    PARE__TRY(of_each_index(call, w, zero, &zero));
  } else {
    const uint8_t middle = (uint8_t)(1U << (w->bits - 1));
    PARE__TRY(pare__call_constant(call, PARE_U8, 0, NULL, &middle, &zero));
  }
  const pare__quantisation q = {.scale = scale, .zero = zero, .broadcasts = true};
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, (const int64_t[]){w->n, w->k}, out));
  return pare__call_dequantise(call, b, &q, *out);
}

/* A, B, scales, zero_points, g_idx, bias, and what is added last. Of accuracy level 4 A is rounded to 8 bits, where the
 * weights are of 4. */
static pare_status matmul_blocks(pare__call *call) {
  const int64_t rounded_level = 4;
  const unsigned residual = 6;
  PARE__TRY(pare__call_check(call, 3, 7));
  blocked_weights w;
  PARE__TRY(read_blocks(call, &w));
  pare_tensor *a, *bias, *out;
  PARE__TRY(pare__call_tensor(call, 0, &a));
  PARE__TRY(pare__call_tensor(call, 5, &bias));
  const int rank = a->shape.rank;
  char text[PARE__SHAPE_TEXT];
  if (rank < 1 || a->shape.dim[rank - 1] != w.k)
    return pare__call_fail(call, PARE_ERR_SHAPE, "A has the shape %s; its last dimension must be K, %lld",
                           pare__shape_text(rank, a->shape.dim, text, sizeof text), (long long)w.k);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, a->shape.dim, sizeof dim);
  dim[rank - 1] = w.n;
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  PARE__TRY(pare__call_product_begin(call, residual, a->dtype, rank, dim, &options, &out));
  options.alpha = pare__call_get_float(call, "alpha", 1);
  options.activation = (pare_activation)pare__call_get_int(call, "activation", PARE_ACTIVATION_NONE);
  if (pare__call_has(call, 4)) {
    pare_tensor *b;
    PARE__TRY(expand_blocks(call, &w, &b));
    options.transpose_b = true;
    PARE__TRY(pare_gemm(a, b, bias, &options, out));
    return pare__call_product_end(call, residual, out);
  }
  const bool rounded = pare__call_get_int(call, "accuracy_level", 0) == rounded_level;
  const pare_weights *weights = call->node->prepared;
  pare_weights *packed = NULL;
  if (!weights) PARE__TRY(pack_blocks(call, &w, &packed));
  if (packed) weights = packed;
  const pare_status status =
      rounded ? pare_gemm_int8(a, weights, bias, &options, out) : pare_gemm_packed(a, weights, bias, &options, out);
  pare_weights_close(packed);
  return status == PARE_OK ? pare__call_product_end(call, residual, out) : status;
}

/* ---- the table ---- */

const pare__operator pare__operators_quantised_matrix[] = {
    {"", "MatMulInteger", 10, 0, PARE__ON_DEVICE, matmul_integer, NULL, prepare_1, .types = "u8, i8"},
    {"", "QLinearMatMul", 10, 0, PARE__ON_DEVICE, qlinear_matmul, NULL, prepare_3, .types = "u8, i8"},
    {"com.microsoft", "DynamicQuantizeMatMul", 1, 0, PARE__ON_DEVICE, dynamic_quantise_matmul, NULL, prepare_scaled,
     .types = "f32 with u8, i8"},
    {"com.microsoft", "MatMulIntegerToFloat", 1, 0, PARE__ON_DEVICE, matmul_integer_to_float, NULL, prepare_1,
     .types = "u8, i8"},
    {"com.microsoft", "MatMulNBits", 1, 0, PARE__ON_DEVICE, matmul_blocks, NULL, prepare_blocks,
     .types = "small floats with 2, 4 and 8 bits"},
    {"pare", "MatMulNBits", 1, 0, PARE__ON_DEVICE, matmul_blocks, NULL, prepare_blocks,
     .types = "small floats with 2, 4 and 8 bits"},
    {"com.microsoft", "QGemm", 1, 0, PARE__ON_DEVICE, qgemm, NULL, prepare_3, .types = "u8, i8"},
    {0},
};
