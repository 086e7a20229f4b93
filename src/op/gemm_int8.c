/* Products with int8 weights: packing, dynamic activations, exact integers. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "kernel/family_gemm_int8.h"
#include "op/gemm.h"
#include "op/quantise.h"
#include "tensor/context.h"

#define MOST_K 65000

/* ---- packing ---- */

static pare_status run_pack(const pare__piece *piece) {
  const int64_t panel = *(const int64_t *)piece->params;
  const pare__binding *b = &piece->binding[INT8_PACK_BUFFER_B];
  pare__problem problem;
  memset(&problem, 0, sizeof problem);
  problem.dim[INT8_PACK_K] = b->shape.dim[0];
  problem.dim[INT8_PACK_N] = b->shape.dim[1];
  problem.dim[INT8_PACK_PANEL] = panel;
  problem.dim[INT8_PACK_ROW] = b->shape.stride[0];
  problem.dim[INT8_PACK_COL] = b->shape.stride[1];
  pare__operand operand[INT8_PACK_NBUFFERS];
  for (int i = 0; i < INT8_PACK_NBUFFERS; i++) {
    operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
    problem.dtype[i] = piece->binding[i].dtype;
  }
  return pare__run_family(piece->device, &pare__family_gemm_int8_pack, &problem, operand);
}

static const pare__codelet pack_codelet = {"gemm_int8_pack", run_pack};

/* B is [K][N], of any strides. */
static pare_status pack(pare_tensor *b, pare_weights *weights) {
  const int64_t k = weights->shape[0], n = weights->shape[1], panel = weights->panel, npanels = pare__div_up(n, panel);
  pare_tensor **panels = &weights->block[0].panels;
  PARE__TRY(pare__tensor_scratch(b->context, PARE_I32, 3, (const int64_t[]){npanels, pare__div_up(k, 4), panel},
                                 "packed weights", panels));
  PARE__TRY(pare__tensor_scratch(b->context, PARE_I32, 2, (const int64_t[]){npanels, panel}, "sums of weights",
                                 &weights->sums));
  const pare__task task = {
      .codelet = &pack_codelet,
      .context = b->context,
      .params = &panel,
      .params_bytes = sizeof panel,
      .n = npanels,
      .naccesses = INT8_PACK_NBUFFERS,
      .access = {{b, PARE__READ, 1, panel}, {*panels, PARE__WRITE, 0, 1}, {weights->sums, PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

pare_status pare_weights_pack_int8(pare_tensor *b, bool transposed, pare_tensor *scale, pare_weights **out) {
  static const char function[] = "pare_weights_pack_int8";
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  if (!b) return pare__fail_null(function, "b");
  PARE__TRY(pare__context_check(function, b->context));
  PARE__TRY(pare__check_dtype(function, "b", b, PARE__DTYPE(PARE_I8)));
  PARE__TRY(pare__check_rank(function, "b", b, 2, 2));
  if (scale && scale->context != b->context)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: b and scale belong to different contexts", function);
  const int64_t k = b->shape.dim[transposed], n = b->shape.dim[!transposed];
  if (k > MOST_K)
    return pare__fail(PARE_ERR_UNSUPPORTED,
                      "%s: K is %lld; sums of 8-bit products are exact in 32 bits up to K = %d only", function,
                      (long long)k, MOST_K);
  pare_weights *weights;
  PARE__TRY(pare__weights_create(b->context, PARE__WEIGHTS_INT8, k, n, &weights));
  weights->blocks = (pare__blocks){.bits = 8, .size = PARE__MAX(k, 1)};
  pare_tensor *view = NULL;
  pare_status status = PARE_OK;
  if (scale) {
    status = pare__check_dtype(function, "scale", scale, PARE__DTYPE(PARE_F32));
    if (status == PARE_OK)
      status = pare__weights_parameters(function, "scale", scale, false, weights, &weights->blocks.scale);
  }
  if (status == PARE_OK) status = pare_tensor_permute(b, transposed ? (const int[]){1, 0} : (const int[]){0, 1}, &view);
  if (status == PARE_OK) status = pack(view, weights);
  pare_tensor_close(view);
  if (status != PARE_OK) {
    pare_weights_close(weights);
    return status;
  }
  *out = weights;
  return PARE_OK;
}

/* ---- products ---- */

typedef struct int8_params {
  pare__problem whole;
} int8_params;

static pare_status run_product(const pare__piece *piece) {
  const int8_params *params = piece->params;
  pare__problem problem = params->whole;
  const pare__shape *c = &piece->binding[INT8_BUFFER_C].shape;
  problem.dim[INT8_M] = c->dim[0];
  problem.dim[INT8_N] = c->dim[1];
  problem.dim[INT8_C_ROW] = c->dim[0] > 1 ? c->stride[0] : c->dim[1];
  pare__operand operand[INT8_NBUFFERS];
  for (int i = 0; i < INT8_NBUFFERS; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_gemm_int8, &params->whole, &choice));
  return pare__run_choice(piece->device, &pare__family_gemm_int8, &choice, &params->whole, &problem, operand);
}

static const pare__codelet product_codelet = {"gemm_int8", run_product};

typedef struct int8_product {
  pare_tensor *a, *a_scale, *a_zero, *bias,
      *c;       /* a and c contiguous [… K] and [… N]; scale and zero of one element, or NULL */
  bool dynamic; /* a_scale holds values whose range gives scale and zero; NULL: there are none */
  const pare_weights *weights;
  pare_gemm_options options;
} int8_product;

static pare_status submit_product(const int8_product *p) {
  const pare_weights *weights = p->weights;
  const int64_t k = weights->shape[0], n = weights->shape[1];
  int64_t m = 1;
  for (int i = 0; i < p->c->shape.rank - 1; i++) m *= p->c->shape.dim[i];
  int8_params params;
  memset(&params, 0, sizeof params);
  int64_t *dim = params.whole.dim;
  dim[INT8_M] = m;
  dim[INT8_N] = dim[INT8_C_ROW] = n;
  dim[INT8_K] = dim[INT8_A_ROW] = k;
  dim[INT8_PANEL] = weights->panel;
  dim[INT8_ACTIVATION] = p->options.activation;
  dim[INT8_HAS_ZERO] = p->a_zero != NULL;
  dim[INT8_HAS_BIAS] = p->bias != NULL;
  if (p->dynamic && p->a_scale) dim[INT8_RANGE] = pare__shape_elements(&p->a_scale->shape);
  params.whole.real[INT8_LOW] = p->options.clip_low;
  params.whole.real[INT8_HIGH] = p->options.clip_high;
  const pare_dtype zero = p->a->dtype == PARE_I8 ? PARE_I8 : PARE_U8;
  const pare_dtype scale = p->a_scale ? p->a_scale->dtype : PARE_F32;
  const pare_dtype dtype[] = {p->a->dtype, PARE_I32, PARE_I32, PARE_F32, scale, zero, PARE_F32, p->c->dtype};
  memcpy(params.whole.dtype, dtype, sizeof dtype);
  pare_tensor *a = NULL, *c = NULL;
  pare_status status = pare_tensor_reshape(p->a, 2, (const int64_t[]){m, k}, &a);
  if (status == PARE_OK) status = pare_tensor_reshape(p->c, 2, (const int64_t[]){m, n}, &c);
  const bool scaled = p->c->dtype != PARE_I32, by_columns = pare__divides_columns(p->c->context, m);
  const int row = by_columns ? PARE__WHOLE : 0, panel = by_columns ? 0 : PARE__WHOLE;
  const int64_t columns = by_columns ? weights->panel : 0, steps = by_columns ? pare__div_up(n, weights->panel) : m;
  const pare__task task = {.codelet = &product_codelet,
                           .context = p->c->context,
                           .params = &params,
                           .params_bytes = sizeof params,
                           .n = n == 0 ? 0 : steps,
                           .naccesses = INT8_NBUFFERS,
                           .access = {[INT8_BUFFER_A] = {a, PARE__READ, row, 1},
                                      [INT8_BUFFER_B] = {weights->block[0].panels, PARE__READ, panel, 1},
                                      [INT8_BUFFER_SUMS] = {weights->sums, PARE__READ, panel, 1},
                                      [INT8_BUFFER_B_SCALE] = {scaled ? weights->blocks.scale : NULL, PARE__READ,
                                                               by_columns ? 1 : PARE__WHOLE, 1},
                                      [INT8_BUFFER_A_SCALE] = {p->a_scale, PARE__READ, PARE__WHOLE, 0},
                                      [INT8_BUFFER_A_ZERO] = {p->a_zero, PARE__READ, PARE__WHOLE, 0},
                                      [INT8_BUFFER_BIAS] = {p->bias, PARE__READ, panel, columns},
                                      [INT8_BUFFER_C] = {c, PARE__WRITE, by_columns, columns}}};
  if (status == PARE_OK) status = pare__submit(&task);
  pare_tensor_close(a);
  pare_tensor_close(c);
  return status;
}

/* A [… K], C [… N], the weights in C's context and of int8. */
static pare_status check_product(const char *function, const pare_tensor *a, const pare_weights *weights,
                                 const pare_tensor *c) {
  if (weights->context != c->context)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the weights belong to another context", function);
  if (weights->kind != PARE__WEIGHTS_INT8)
    return pare__fail(PARE_ERR_TYPE, "%s: the weights are not int8; pack int8 weights with pare_weights_pack_int8",
                      function);
  PARE__TRY(pare__check_rank(function, "a", a, 1, PARE_MAX_RANK));
  int64_t want[PARE_MAX_RANK];
  const int rank = a->shape.rank;
  memcpy(want, a->shape.dim, (size_t)rank * sizeof *want);
  want[rank - 1] = weights->shape[1];
  char text[PARE__SHAPE_TEXT];
  if (a->shape.dim[rank - 1] != weights->shape[0])
    return pare__fail(PARE_ERR_SHAPE, "%s: a is %s and the weights are [%lld, %lld]: K differs", function,
                      pare__shape_text(rank, a->shape.dim, text, sizeof text), (long long)weights->shape[0],
                      (long long)weights->shape[1]);
  return pare__check_shape(function, "c", c, rank, want);
}

/* What a's scale and zero point are found from: the ranges of its parts or, where another launch would take longer than
 * each group's finding their range, its values themselves. */
static pare_status range_source(pare_tensor *a, pare_tensor **out) {
  const int64_t few = 65536, count = pare__shape_elements(&a->shape);
  if (count == 0) return PARE_OK;
  return count <= few && pare__tensor_on_device(a) ? pare__contiguous(a, out) : pare__range_submit(a, out);
}

/* From operands of any strides to contiguous ones and back. */
static pare_status run_contiguous(int8_product *p, pare_tensor *a, pare_tensor *bias, pare_tensor *c) {
  pare_tensor *range = NULL;
  p->dynamic = pare__dtype_is_float(a->dtype);
  pare_status status = pare__contiguous(a, &p->a);
  if (status == PARE_OK && bias) status = pare__contiguous(bias, &p->bias);
  if (status == PARE_OK && p->dynamic) status = range_source(p->a, &range);
  if (p->dynamic) p->a_scale = range;
  if (status == PARE_OK) status = pare__result_begin(c, &p->c);
  if (status == PARE_OK) status = submit_product(p);
  status = pare__result_end(status, c, p->c);
  pare_tensor_close(p->a);
  pare_tensor_close(p->bias);
  pare_tensor_close(range);
  return status;
}

/* What products with a float result ask of their arguments but A's own. */
static pare_status check_scaled(const char *function, const pare_tensor *a, const pare_weights *weights,
                                const pare_tensor *bias, const pare_gemm_options *options, const pare_tensor *c) {
  PARE__TRY(pare__check_dtype(function, "c", c, PARE__SMALL_FLOATS));
  PARE__TRY(check_product(function, a, weights, c));
  if (!weights->blocks.scale)
    return pare__fail(PARE_ERR_ARGUMENT,
                      "%s: the weights were packed without a scale; they serve pare_gemm_integer only", function);
  if (bias) {
    PARE__TRY(pare__check_dtype(function, "bias", bias, PARE__DTYPE(PARE_F32)));
    PARE__TRY(pare__check_shape(function, "bias", bias, 1, &weights->shape[1]));
  }
  if ((unsigned)options->activation >= PARE_NACTIVATIONS)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: activation %d; they are 0 to %d", function, (int)options->activation,
                      (int)PARE_NACTIVATIONS - 1);
  return PARE_OK;
}

/* zero (NULL: none) has A's dtype and one element. */
static pare_status check_zero(const char *function, const pare_tensor *zero, const pare_tensor *a) {
  if (!zero) return PARE_OK;
  PARE__TRY(pare__check_same_dtype(function, "zero", zero, "a", a));
  if (pare__shape_elements(&zero->shape) == 1) return PARE_OK;
  return pare__fail(PARE_ERR_SHAPE, "%s: zero must have one element", function);
}

pare_status pare_gemm_int8(pare_tensor *a, const pare_weights *weights, pare_tensor *bias,
                           const pare_gemm_options *options, pare_tensor *c) {
  static const char function[] = "pare_gemm_int8";
  const pare_gemm_options plain = PARE_GEMM_OPTIONS_INIT;
  if (!weights) return pare__fail_null(function, "weights");
  if (weights->kind == PARE__WEIGHTS_BLOCKS || weights->kind == PARE__WEIGHTS_SPARSE)
    return pare__gemm_packed(function, a, weights, true, bias, options, c);
  PARE__TRY(pare__check_call(function, c, PARE__NAMED(a), PARE__OPTIONAL(bias)));
  PARE__TRY(pare__check_dtype(function, "a", a, PARE__SMALL_FLOATS));
  int8_product product = {.weights = weights, .options = options ? *options : plain};
  PARE__TRY(check_scaled(function, a, weights, bias, &product.options, c));
  return run_contiguous(&product, a, bias, c);
}

pare_status pare_gemm_quantized(pare_tensor *a, pare_tensor *a_scale, pare_tensor *zero, const pare_weights *weights,
                                pare_tensor *bias, const pare_gemm_options *options, pare_tensor *c) {
  static const char function[] = "pare_gemm_quantized";
  const pare_gemm_options plain = PARE_GEMM_OPTIONS_INIT;
  if (!weights) return pare__fail_null(function, "weights");
  PARE__TRY(
      pare__check_call(function, c, PARE__NAMED(a), PARE__NAMED(a_scale), PARE__OPTIONAL(zero), PARE__OPTIONAL(bias)));
  PARE__TRY(pare__check_dtype(function, "a", a, PARE__DTYPE(PARE_U8) | PARE__DTYPE(PARE_I8)));
  PARE__TRY(pare__check_dtype(function, "a_scale", a_scale, PARE__DTYPE(PARE_F32)));
  if (pare__shape_elements(&a_scale->shape) != 1)
    return pare__fail(PARE_ERR_SHAPE, "%s: a_scale must have one element", function);
  PARE__TRY(check_zero(function, zero, a));
  int8_product product = {
      .a_scale = a_scale, .a_zero = zero, .weights = weights, .options = options ? *options : plain};
  PARE__TRY(check_scaled(function, a, weights, bias, &product.options, c));
  return run_contiguous(&product, a, bias, c);
}

pare_status pare_gemm_integer(pare_tensor *a, pare_tensor *zero, const pare_weights *weights, pare_tensor *c) {
  static const char function[] = "pare_gemm_integer";
  if (!weights) return pare__fail_null(function, "weights");
  PARE__TRY(pare__check_call(function, c, PARE__NAMED(a), PARE__OPTIONAL(zero)));
  PARE__TRY(pare__check_dtype(function, "a", a, PARE__DTYPE(PARE_U8) | PARE__DTYPE(PARE_I8)));
  PARE__TRY(pare__check_dtype(function, "c", c, PARE__DTYPE(PARE_I32)));
  PARE__TRY(check_product(function, a, weights, c));
  PARE__TRY(check_zero(function, zero, a));
  int8_product product = {.weights = weights, .a_zero = zero};
  return run_contiguous(&product, a, NULL, c);
}
