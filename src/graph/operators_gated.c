/* Gates and norms of com.microsoft around recurrences and their branches: each one name for a chain that exporters
 * write out. All but sums are computed in f32. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

static pare_dtype wide(const pare_tensor *x) { return x->dtype == PARE_F64 ? PARE_F64 : PARE_F32; }

/* Input i in the type of the arithmetic, in scratch if it changes. */
static pare_status wide_input(pare__call *call, unsigned i, pare_tensor **out) {
  PARE__TRY(pare__call_tensor(call, i, out));
  return *out ? pare__call_cast(call, *out, wide(*out), out) : PARE_OK;
}

static pare_status check_same_shape(const pare__call *call, unsigned i, unsigned k) {
  const pare__shape *a = &call->input[i]->shape, *b = &call->input[k]->shape;
  char have[PARE__SHAPE_TEXT], other[PARE__SHAPE_TEXT];
  if (a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) == 0) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "inputs %u and %u are %s and %s; they must be alike", i, k,
                         pare__shape_text(a->rank, a->dim, have, sizeof have),
                         pare__shape_text(b->rank, b->dim, other, sizeof other));
}

/* ---- GatedAdd ---- */

/* x + y gate, the gate [..., 1]; the product is rounded first. */
static pare_status gated_add(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(check_same_shape(call, 0, 1));
  pare_tensor *in[3], *product, *out;
  for (unsigned i = 0; i < 3; i++) PARE__TRY(pare__call_tensor(call, i, &in[i]));
  const pare__shape *shape = &in[0]->shape;
  PARE__TRY(pare__call_scratch(call, in[0]->dtype, shape->rank, shape->dim, &product));
  PARE__TRY(pare_binary(PARE_BINARY_mul, in[1], in[2], product));
  PARE__TRY(pare__call_output(call, 0, in[0]->dtype, shape->rank, shape->dim, &out));
  return pare_binary(PARE_BINARY_add, in[0], product, out);
}

/* ---- GatedRMSNorm, BranchwiseRMSNorm ---- */

/* *out (of the arithmetic, x's shape) = every run of `count` elements of x over the root of its mean square. */
static pare_status norm_of_runs(pare__call *call, pare_tensor *x, int64_t count, double epsilon, pare_tensor **out) {
  const pare__shape *shape = &x->shape;
  const int64_t elements = pare__shape_elements(shape), dim[2] = {count > 0 ? elements / count : 0, count};
  char have[PARE__SHAPE_TEXT];
  if (shape->rank < 1 || count < 1 || shape->dim[shape->rank - 1] % count != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "the last dimension of %s is not made of runs of %lld",
                           pare__shape_text(shape->rank, shape->dim, have, sizeof have), (long long)count);
  pare_tensor *rows;
  PARE__TRY(pare__call_scratch(call, wide(x), shape->rank, shape->dim, out));
  if (elements == 0) return PARE_OK;
  PARE__TRY(pare_cast(x, *out));
  PARE__TRY(pare__call_reshaped(call, *out, 2, dim, &rows));
  return pare_rms_norm(rows, 1, NULL, epsilon, rows);
}

/* x = x times a scale that is as long as several of its rows, all of which have `count` elements. */
static pare_status scale_rows(pare__call *call, pare_tensor *x, pare_tensor *scale, int64_t count) {
  const int64_t elements = pare__shape_elements(&x->shape), all = pare__shape_elements(&scale->shape);
  if (all != count)
    return pare__call_fail(call, PARE_ERR_SHAPE, "a scale of %lld elements; %lld are needed", (long long)all,
                           (long long)count);
  if (elements == 0) return PARE_OK;
  PARE__TRY(pare__call_reshaped(call, x, 2, (const int64_t[]){elements / count, count}, &x));
  PARE__TRY(pare__call_reshaped(call, scale, 2, (const int64_t[]){1, count}, &scale));
  return pare_binary(PARE_BINARY_mul, x, scale, x);
}

/* x / root of its mean square * scale * silu(gate), or sigmoid(gate) */
static pare_status gated_rms_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(check_same_shape(call, 0, 2));
  const bool sigmoid = pare__call_text_is(call, "activation", "silu", "sigmoid");
  if (!sigmoid && !pare__call_text_is(call, "activation", "silu", "silu") &&
      !pare__call_text_is(call, "activation", "silu", "swish"))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its activation is none of silu, swish, sigmoid");
  pare_tensor *x, *scale, *gate, *normal, *factor, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(wide_input(call, 1, &scale));
  PARE__TRY(wide_input(call, 2, &gate));
  const pare__shape *shape = &x->shape;
  const int64_t count = pare__shape_elements(&scale->shape);
  PARE__TRY(norm_of_runs(call, x, count, pare__call_get_float(call, "epsilon", 1e-5), &normal));
  PARE__TRY(scale_rows(call, normal, scale, count));
  PARE__TRY(pare__call_scratch(call, normal->dtype, shape->rank, shape->dim, &factor));
  PARE__TRY(sigmoid ? pare_unary(PARE_UNARY_sigmoid, gate, factor)
                    : pare_unary_with(PARE_UNARY_swish, 1, 0, gate, factor));
  PARE__TRY(pare_binary(PARE_BINARY_mul, normal, factor, normal));
  PARE__TRY(pare__call_output(call, 0, x->dtype, shape->rank, shape->dim, &out));
  return pare_cast(normal, out);
}

/* Branches [..., C, H], or [..., C * H] with their number as an attribute, each over the root of its mean square; the
 * scale has an element for each of a branch, or for each of all. */
static pare_status branchwise_rms_norm(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 2));
  PARE__TRY(pare__call_takes(call, 0));
  pare_tensor *x, *scale, *normal, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(wide_input(call, 1, &scale));
  const pare__shape *shape = &x->shape;
  const int64_t branches = pare__call_get_int(call, "num_branches", 0);
  const int64_t last = shape->rank > 0 ? shape->dim[shape->rank - 1] : 0;
  if (branches < 0 || (branches > 0 && last % branches != 0) || shape->rank < (branches > 0 ? 1 : 2))
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld branches do not divide a last dimension of %lld, of rank %d",
                           (long long)branches, (long long)last, shape->rank);
  const int64_t size = branches > 0 ? last / branches : last,
                all = branches > 0 ? last : last * shape->dim[shape->rank - 2];
  PARE__TRY(norm_of_runs(call, x, size, pare__call_get_float(call, "epsilon", 1e-5), &normal));
  if (scale) {
    PARE__TRY(pare__call_cast(call, scale, normal->dtype, &scale));
    PARE__TRY(scale_rows(call, normal, scale, pare__shape_elements(&scale->shape) == size ? size : all));
  }
  PARE__TRY(pare__call_output(call, 0, x->dtype, shape->rank, shape->dim, &out));
  return pare_cast(normal, out);
}

/* ---- LinearAttentionGate ---- */

/* decay = decay_scale softplus(a + dt_bias), and beta = sigmoid(b) */
static pare_status linear_attention_gate(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 4));
  PARE__TRY(pare__call_takes(call, 0));
  pare_tensor *in[3], *b, *decay, *out;
  for (unsigned i = 0; i < 3; i++) {
    PARE__TRY(wide_input(call, i, &in[i]));
    PARE__TRY(pare__call_cast(call, in[i], in[0]->dtype, &in[i]));
  }
  const pare__shape shape = call->input[0]->shape;
  PARE__TRY(pare__call_scratch(call, in[0]->dtype, shape.rank, shape.dim, &decay));
  PARE__TRY(pare_binary(PARE_BINARY_add, in[0], in[1], decay));
  PARE__TRY(pare_unary(PARE_UNARY_softplus, decay, decay));
  PARE__TRY(pare_binary(PARE_BINARY_mul, decay, in[2], decay));
  PARE__TRY(pare__call_output(call, 0, call->input[0]->dtype, shape.rank, shape.dim, &out));
  PARE__TRY(pare_cast(decay, out));
  if (!pare__call_wants(call, 1)) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, 3, &b));
  if (!b)
    return pare__call_fail(call, PARE_ERR_FORMAT, "output 1 is wanted, and input 3, of which it is made, left out");
  PARE__TRY(pare__call_output(call, 1, b->dtype, b->shape.rank, b->shape.dim, &out));
  return pare_unary(PARE_UNARY_sigmoid, b, out);
}

/* ---- ScaledSiLU ---- */

/* z sigmoid(z), z = scale x; each rounded to x's type. */
static pare_status scaled_silu(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 2));
  pare_tensor *x, *scale, *scaled, *z, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(wide_input(call, 1, &scale));
  const pare__shape *shape = &x->shape;
  if (!scale) PARE__TRY(pare__call_scalar(call, wide(x), pare__call_get_float(call, "alpha", 1), &scale));
  if (pare__shape_elements(&scale->shape) != 1)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its scale has %lld elements; it must be one",
                           (long long)pare__shape_elements(&scale->shape));
  PARE__TRY(pare__call_reshaped(call, scale, 0, NULL, &scale));
  PARE__TRY(pare__call_cast(call, scale, wide(x), &scale));
  PARE__TRY(pare__call_cast(call, x, wide(x), &z));
  PARE__TRY(pare__call_scratch(call, wide(x), shape->rank, shape->dim, &scaled));
  PARE__TRY(pare_binary(PARE_BINARY_mul, z, scale, scaled));
  PARE__TRY(pare__call_cast(call, scaled, x->dtype, &z));
  PARE__TRY(pare__call_output(call, 0, x->dtype, shape->rank, shape->dim, &out));
  PARE__TRY(pare_unary(PARE_UNARY_sigmoid, z, out));
  return pare_binary(PARE_BINARY_mul, z, out, out);
}

/* ---- BiasDropout ---- */

/* x + bias + residual: what is left of it without training. */
static pare_status bias_dropout(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 5));
  PARE__TRY(pare__call_takes(call, 0));
  pare_tensor *x, *bias, *residual, *truth, *out;
  double training = 0;
  if (pare__call_has(call, 4)) PARE__TRY(pare__call_number(call, 4, &training));
  if (training != 0) return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its training_mode is set");
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &bias));
  PARE__TRY(pare__call_tensor(call, 2, &residual));
  const pare__shape *shape = &x->shape;
  PARE__TRY(pare__call_output(call, 0, x->dtype, shape->rank, shape->dim, &out));
  PARE__TRY(pare_binary(PARE_BINARY_add, x, bias, out));
  if (residual) PARE__TRY(pare_binary(PARE_BINARY_add, out, residual, out));
  if (!pare__call_wants(call, 1)) return PARE_OK;
  PARE__TRY(pare__call_scalar(call, PARE_BOOL, 1, &truth));
  PARE__TRY(pare__call_output(call, 1, PARE_BOOL, shape->rank, shape->dim, &out));
  return pare_copy(truth, out);
}

#define ROW(op, function) \
  { "com.microsoft", op, 1, 0, PARE__ON_DEVICE, function, NULL, .types = "floats" }
const pare__operator pare__operators_gated[] = {
    ROW("GatedAdd", gated_add),
    ROW("GatedRMSNorm", gated_rms_norm),
    ROW("BranchwiseRMSNorm", branchwise_rms_norm),
    ROW("LinearAttentionGate", linear_attention_gate),
    ROW("ScaledSiLU", scaled_silu),
    ROW("BiasDropout", bias_dropout),
    {0},
};
