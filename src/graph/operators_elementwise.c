/* Elementwise operators. SPDX-License-Identifier: Apache-2.0
 *
 * Each is written once, for the device and for the host: a slot stands for the tensor or for the content of a value.
 * What is not one operation of the elementwise family is composed of a few. */
#include <limits.h>
#include <math.h>
#include <pare/elementwise.h>
#include <pare/move.h>
#include <pare/random.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "graph/host.h"
#include "graph/operator_tables.h"
#include "graph/run.h"

/* One call, on the device or on the host. */
typedef struct work {
  pare__call *call;
  bool on_host;
  size_t ntemporaries, capacity;
  pare__content **temporary; /* what the host computed on the way */
} work;
typedef pare_status (*work_function)(work *w);

static pare_status work_run(pare__call *call, bool on_host, work_function function) {
  work w = {.call = call, .on_host = on_host};
  const pare_status status = function(&w);
  for (size_t i = 0; i < w.ntemporaries; i++) pare__content_release(w.temporary[i]);
  free(w.temporary);
  return status;
}

/* name_run and name_host: the function on the device and on the host. */
#define TWICE(name)                                                                       \
  static pare_status name##_run(pare__call *call) { return work_run(call, false, name); } \
  static pare_status name##_host(pare__call *call) { return work_run(call, true, name); }

static const double nothing[2] = {0, 0};

static pare_status input(work *w, unsigned i, pare__slot *out) {
  *out = *w->call->input[i];
  if (w->on_host) return PARE_OK;
  return pare__call_tensor(w->call, i, &out->tensor);
}

/* A number that is part of the operator, as a scalar. */
static pare_status number(work *w, pare_dtype dtype, double value, pare__slot *out) {
  uint64_t element = 0;
  pare__store(dtype, &element, 0, value);
  *out = (pare__slot){.dtype = dtype};
  if (!w->on_host) return pare__call_constant(w->call, dtype, 0, NULL, &element, &out->tensor);
  PARE__TRY(pare__array_grow((void **)&w->temporary, &w->capacity, w->ntemporaries, sizeof(pare__content *)));
  PARE__TRY(pare__content_create(dtype, 0, NULL, &element, &out->content));
  w->temporary[w->ntemporaries++] = out->content;
  return PARE_OK;
}

static pare_status apply_host(work *w, int mode, const double *p, const pare__slot *in, pare_dtype to, int output,
                              pare__slot *out) {
  const pare__content *inputs[3] = {0};
  for (int t = 0; t < pare__elementwise_get(mode)->arity; t++) inputs[t] = in[t].content;
  PARE__TRY(pare__array_grow((void **)&w->temporary, &w->capacity, w->ntemporaries, sizeof(pare__content *)));
  pare__content *content;
  PARE__TRY(pare__host_elementwise(mode, p, inputs, to, &content));
  *out = (pare__slot){.dtype = content->dtype, .shape = content->shape, .content = content};
  if (output >= 0) return pare__call_give_content(w->call, (unsigned)output, content);
  w->temporary[w->ntemporaries++] = content;
  return PARE_OK;
}

static pare_status apply_device(work *w, int mode, const double *p, const pare__slot *in, pare_dtype to, int output,
                                pare__slot *out) {
  const pare__elementwise *operation = pare__elementwise_get(mode);
  const int arity = operation->arity;
  pare__shape shape = in[0].shape;
  for (int t = 1; t < arity; t++) {
    pare__shape both;
    PARE__TRY(pare__shape_broadcast(&shape, &in[t].shape, &both));
    shape = both;
  }
  const pare_dtype dtype = operation->result == PARE__SAME      ? in[arity - 1].dtype
                           : operation->result == PARE__TO_BOOL ? PARE_BOOL
                                                                : to;
  pare_tensor *result;
  if (output >= 0)
    PARE__TRY(pare__call_output(w->call, (unsigned)output, dtype, shape.rank, shape.dim, &result));
  else
    PARE__TRY(pare__call_scratch(w->call, dtype, shape.rank, shape.dim, &result));
  pare_status status;
  if (mode == PARE__CAST)
    status = pare_cast(in[0].tensor, result);
  else if (arity == 1)
    status = pare_unary_with((pare_unary_operation)(mode - PARE__UNARY), p[0], p[1], in[0].tensor, result);
  else if (arity == 2)
    status = pare_binary((pare_binary_operation)(mode - PARE__BINARY), in[0].tensor, in[1].tensor, result);
  else
    status =
        pare_ternary((pare_ternary_operation)(mode - PARE__TERNARY), in[0].tensor, in[1].tensor, in[2].tensor, result);
  *out = (pare__slot){.dtype = dtype, .shape = shape, .tensor = result}; /* which may be one of in */
  return status;
}

/* An operation of the family on slots, broadcast. output: the operator's output that it gives; -1: what lies between.
 * to: the dtype that casts go to. */
static pare_status apply(work *w, int mode, const double *p, const pare__slot *in, pare_dtype to, int output,
                         pare__slot *out) {
  pare__slot ignored = {0};
  return (w->on_host ? apply_host : apply_device)(w, mode, p, in, to, output, out ? out : &ignored);
}

static pare_status cast_to(work *w, const pare__slot *in, pare_dtype to, pare__slot *out) {
  *out = *in;
  return in->dtype == to ? PARE_OK : apply(w, PARE__CAST, nothing, in, to, -1, out);
}

/* ---- one input ---- */

/* The attributes that are p and q, where their defaults are the operation's own. */
static const struct {
  const char *p, *q;
} parameters[PARE_NUNARY] = {[PARE_UNARY_leaky_relu] = {"alpha", NULL},
                             [PARE_UNARY_elu] = {"alpha", NULL},
                             [PARE_UNARY_selu] = {"alpha", "gamma"},
                             [PARE_UNARY_celu] = {"alpha", NULL},
                             [PARE_UNARY_thresholded_relu] = {"alpha", NULL},
                             [PARE_UNARY_hard_sigmoid] = {"alpha", "beta"},
                             [PARE_UNARY_swish] = {"alpha", NULL},
                             [PARE_UNARY_shrink] = {"lambd", "bias"}};

static pare_status unary(work *w) {
  const int operation = w->call->node->op->detail;
  PARE__TRY(pare__call_check(w->call, 1, 1));
  const double *defaults = pare__elementwise_defaults(PARE__UNARY + operation);
  double p[2] = {defaults[0], defaults[1]};
  if (parameters[operation].p) p[0] = pare__call_get_float(w->call, parameters[operation].p, p[0]);
  if (parameters[operation].q) p[1] = pare__call_get_float(w->call, parameters[operation].q, p[1]);
  pare__slot in;
  PARE__TRY(input(w, 0, &in));
  return apply(w, PARE__UNARY + operation, p, &in, 0, 0, NULL);
}
TWICE(unary)

static pare_status is_infinite(work *w) {
  PARE__TRY(pare__call_check(w->call, 1, 1));
  const double p[2] = {(double)(pare__call_get_int(w->call, "detect_negative", 1) != 0),
                       (double)(pare__call_get_int(w->call, "detect_positive", 1) != 0)};
  pare__slot in;
  PARE__TRY(input(w, 0, &in));
  return apply(w, PARE__UNARY + PARE_UNARY_isinf, p, &in, 0, 0, NULL);
}
TWICE(is_infinite)

/* Gelu and its relatives with a bias: of x + bias. detail: the unary operation. */
static pare_status gelu(work *w) {
  PARE__TRY(pare__call_check(w->call, 1, 2));
  int mode = PARE__UNARY + w->call->node->op->detail;
  const double alpha[2] = {pare__call_get_float(w->call, "alpha", 1.702), 0}; /* of QuickGelu */
  if (pare__call_text_is(w->call, "approximate", "none", "tanh")) mode = PARE__UNARY + PARE_UNARY_gelu_tanh;
  pare__slot in[2], sum;
  PARE__TRY(input(w, 0, &in[0]));
  if (!pare__call_has(w->call, 1)) return apply(w, mode, alpha, in, 0, 0, NULL);
  PARE__TRY(input(w, 1, &in[1]));
  PARE__TRY(apply(w, PARE__BINARY + PARE_BINARY_add, nothing, in, 0, -1, &sum));
  return apply(w, mode, alpha, &sum, 0, 0, NULL);
}
TWICE(gelu)

/* ---- two inputs ---- */

static pare_status binary(work *w) {
  int operation = w->call->node->op->detail;
  PARE__TRY(pare__call_check(w->call, 2, 2));
  if (operation == PARE_BINARY_mod && pare__call_get_int(w->call, "fmod", 0) != 0) operation = PARE_BINARY_fmod;
  if (operation == PARE_BINARY_shift_left && pare__call_text_is(w->call, "direction", "", "RIGHT"))
    operation = PARE_BINARY_shift_right;
  pare__slot in[2];
  for (unsigned i = 0; i < 2; i++) PARE__TRY(input(w, i, &in[i]));
  return apply(w, PARE__BINARY + operation, nothing, in, 0, 0, NULL);
}
TWICE(binary)

/* a sigmoid(alpha a) b */
static pare_status gated_swish(work *w) {
  PARE__TRY(pare__call_check(w->call, 2, 2));
  const double alpha[2] = {pare__call_get_float(w->call, "alpha", 1), 0};
  pare__slot in[2];
  for (unsigned i = 0; i < 2; i++) PARE__TRY(input(w, i, &in[i]));
  PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_swish, alpha, &in[0], 0, -1, &in[0]));
  return apply(w, PARE__BINARY + PARE_BINARY_mul, nothing, in, 0, 0, NULL);
}
TWICE(gated_swish)

/* The result has the dtype of the base; where base and exponent differ, an integer base and a float exponent meet in
 * the widest float that there is, and others in the base's dtype. */
static pare_status power(work *w) {
  const int mode = PARE__BINARY + PARE_BINARY_pow;
  PARE__TRY(pare__call_check(w->call, 2, 2));
  pare__slot in[2], wide[2], result;
  for (unsigned i = 0; i < 2; i++) PARE__TRY(input(w, i, &in[i]));
  const bool between = !pare__dtype_is_float(in[0].dtype) && pare__dtype_is_float(in[1].dtype);
  const bool f64 = w->on_host || pare_context_device(w->call->context)->can.f64;
  const pare_dtype meet = between ? (f64 ? PARE_F64 : PARE_F32) : in[0].dtype;
  for (unsigned i = 0; i < 2; i++) PARE__TRY(cast_to(w, &in[i], meet, &wide[i]));
  if (meet == in[0].dtype) return apply(w, mode, nothing, wide, 0, 0, NULL);
  PARE__TRY(apply(w, mode, nothing, wide, 0, -1, &result));
  return apply(w, PARE__CAST, nothing, &result, in[0].dtype, 0, NULL);
}
TWICE(power)

/* ---- any number of inputs ---- */

static pare_status fold_host(work *w, int mode, bool mean, const double *reciprocal) {
  const unsigned n = w->call->ninputs;
  pare__slot in[2];
  PARE__TRY(input(w, 0, &in[0]));
  for (unsigned i = 1; i < n; i++) {
    PARE__TRY(input(w, i, &in[1]));
    PARE__TRY(apply(w, mode, nothing, in, 0, i == n - 1 && !mean ? 0 : -1, &in[0]));
  }
  return mean ? apply(w, PARE__UNARY + PARE_UNARY_affine, reciprocal, in, 0, 0, NULL) : PARE_OK;
}

/* All into one output, whose shape every input is stretched to. */
static pare_status fold_device(work *w, int mode, bool mean, const double *reciprocal) {
  pare__call *call = w->call;
  pare__shape shape = call->input[0]->shape;
  for (unsigned i = 1; i < call->ninputs; i++) {
    pare__shape both;
    PARE__TRY(pare__shape_broadcast(&shape, &call->input[i]->shape, &both));
    shape = both;
  }
  pare_tensor *out, *sum = NULL;
  PARE__TRY(pare__call_output(call, 0, call->input[0]->dtype, shape.rank, shape.dim, &out));
  for (unsigned i = 0; i < call->ninputs; i++) {
    pare_tensor *one, *view;
    PARE__TRY(pare__call_tensor(call, i, &one));
    PARE__TRY(pare_tensor_broadcast(one, shape.rank, shape.dim, &view));
    PARE__TRY(pare__call_keep(call, view));
    if (sum) PARE__TRY(pare_binary((pare_binary_operation)(mode - PARE__BINARY), sum, view, out));
    sum = i == 0 ? view : out;
  }
  return mean ? pare_unary_with(PARE_UNARY_affine, reciprocal[0], reciprocal[1], sum, out) : PARE_OK;
}

/* Sum, Max, Min, and Mean as a sum: detail PARE_NBINARY. */
static pare_status variadic(work *w) {
  pare__call *call = w->call;
  PARE__TRY(pare__call_check(call, 1, UINT_MAX));
  for (unsigned i = 0; i < call->ninputs; i++)
    if (!pare__call_has(call, i)) return pare__call_fail(call, PARE_ERR_FORMAT, "input %u is left out", i);
  const bool mean = call->node->op->detail == PARE_NBINARY;
  const double reciprocal[2] = {1.0 / call->ninputs, 0};
  if (call->ninputs == 1) return pare__call_pass(call, 0, 0);
  const int mode = PARE__BINARY + (mean ? PARE_BINARY_add : call->node->op->detail);
  return (w->on_host ? fold_host : fold_device)(w, mode, mean, reciprocal);
}
TWICE(variadic)

/* ---- limits and choices ---- */

/* A limit that the host knows and that a double holds. */
static bool known_limit(const work *w, unsigned i, double otherwise, double *out) {
  *out = otherwise;
  if (!pare__call_has(w->call, i)) return true;
  const pare__slot *slot = w->call->input[i];
  if (!slot->content || slot->content->count != 1) return false;
  if (pare_dtype_bytes(slot->dtype) == 8 && slot->dtype != PARE_F64) return false;
  *out = pare__content_number(slot->content, 0);
  return true;
}

static pare_status check_limit(const work *w, unsigned i) {
  if (!pare__call_has(w->call, i)) return PARE_OK;
  const pare__slot *slot = w->call->input[i];
  char text[PARE__SHAPE_TEXT];
  if (pare__shape_elements(&slot->shape) != 1)
    return pare__call_fail(w->call, PARE_ERR_SHAPE, "limit %u has the shape %s; it must be one number", i,
                           pare__shape_text(slot->shape.rank, slot->shape.dim, text, sizeof text));
  if (slot->dtype != w->call->input[0]->dtype)
    return pare__call_fail(w->call, PARE_ERR_TYPE, "limit %u is %s and the input %s", i, pare_dtype_name(slot->dtype),
                           pare_dtype_name(w->call->input[0]->dtype));
  return PARE_OK;
}

/* min(max(x, low), high): where low is above high, high wins. */
static pare_status clip(work *w) {
  pare__call *call = w->call;
  PARE__TRY(pare__call_check(call, 1, 3));
  pare__slot in[2];
  PARE__TRY(input(w, 0, &in[0]));
  double p[2];
  const bool attributes = call->node->opset < 11;
  for (unsigned i = 1; i < 3; i++) PARE__TRY(check_limit(w, i));
  bool known = attributes || (known_limit(w, 1, -INFINITY, &p[0]) && known_limit(w, 2, INFINITY, &p[1]));
  if (attributes) {
    p[0] = pare__call_get_float(call, "min", -INFINITY);
    p[1] = pare__call_get_float(call, "max", INFINITY);
  }
  if (known) {
    p[0] = fmin(p[0], p[1]);
    return apply(w, PARE__UNARY + PARE_UNARY_clip, p, in, 0, 0, NULL);
  }
  const bool low = pare__call_has(call, 1), high = pare__call_has(call, 2);
  for (unsigned i = 1; i < 3; i++) {
    if (!pare__call_has(call, i)) continue;
    PARE__TRY(input(w, i, &in[1]));
    if (in[1].tensor) PARE__TRY(pare__call_reshaped(call, in[1].tensor, 0, NULL, &in[1].tensor));
    in[1].shape = (pare__shape){0};
    const int mode = PARE__BINARY + (i == 1 ? PARE_BINARY_max : PARE_BINARY_min);
    PARE__TRY(apply(w, mode, nothing, in, 0, i == 1 && high ? -1 : 0, &in[0]));
  }
  return low || high ? PARE_OK : pare__call_pass(call, 0, 0);
}
TWICE(clip)

static pare_status where(work *w) {
  PARE__TRY(pare__call_check(w->call, 3, 3));
  pare__slot in[3];
  for (unsigned i = 0; i < 3; i++) PARE__TRY(input(w, i, &in[i]));
  return apply(w, PARE__TERNARY + PARE_TERNARY_where, nothing, in, 0, 0, NULL);
}
TWICE(where)

/* ---- casts ---- */

/* What the elementwise operations compute with: f32 for integers and floats of a byte, else the dtype itself. */
static pare_dtype computed_dtype(pare_dtype dtype) {
  return pare__dtype_is_float(dtype) && !pare__dtype_is_tiny(dtype) ? dtype : PARE_F32;
}

/* To 2 or 4 bits, held as a byte: rounded, and the bits above them lost. */
static pare_status cast_to_narrow(work *w, const pare__slot *in, unsigned bits, bool is_signed) {
  const bool real = pare__dtype_is_float(in->dtype);
  const double half = is_signed ? 1 << (bits - 1) : 0; /* ((x + half) & mask) - half */
  pare__slot whole = *in, part[2], sum;
  if (real) PARE__TRY(cast_to(w, in, computed_dtype(in->dtype), &whole));
  if (real) PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_round, nothing, &whole, 0, -1, &whole));
  PARE__TRY(cast_to(w, &whole, PARE_I32, &part[0]));
  if (is_signed)
    PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_affine, (const double[2]){1, half}, &part[0], 0, -1, &part[0]));
  PARE__TRY(number(w, PARE_I32, (1 << bits) - 1, &part[1]));
  PARE__TRY(apply(w, PARE__BINARY + PARE_BINARY_bitwise_and, nothing, part, 0, -1, &sum));
  if (is_signed) PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_affine, (const double[2]){1, -half}, &sum, 0, -1, &sum));
  return apply(w, PARE__CAST, nothing, &sum, is_signed ? PARE_I8 : PARE_U8, 0, NULL);
}

/* To a power of two: the magnitude is multiplied such that the nearest one, ties to the larger, is the one above or
 * below. x - x is 0, and NaN where x is infinite, which saturates no more than NaN does. */
static pare_status cast_to_exponent(work *w, const pare__slot *in, bool saturate) {
  const double factor = pare__call_text_is(w->call, "round_mode", "up", "up")     ? 0x1.7ffffep0
                        : pare__call_text_is(w->call, "round_mode", "up", "down") ? 0.75
                                                                                  : 1;
  pare__slot real, part[2];
  PARE__TRY(cast_to(w, in, PARE_F32, &real));
  PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_abs, nothing, &real, 0, -1, &part[0]));
  if (saturate) {
    pare__slot same[2] = {part[0], part[0]};
    PARE__TRY(apply(w, PARE__BINARY + PARE_BINARY_sub, nothing, same, 0, -1, &part[1]));
    PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_clip, (const double[2]){0, 0x1p127}, &part[0], 0, -1, &part[0]));
    PARE__TRY(apply(w, PARE__BINARY + PARE_BINARY_add, nothing, part, 0, -1, &part[0]));
  }
  PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_affine, (const double[2]){factor, 0}, &part[0], 0, -1, &part[0]));
  return apply(w, PARE__CAST, nothing, part, PARE_F8E8M0, 0, NULL);
}

static pare_status cast_to_tiny(work *w, const pare__slot *in, pare_dtype to) {
  const bool saturate = pare__call_get_int(w->call, "saturate", 1) != 0;
  if (to == PARE_F8E8M0) return cast_to_exponent(w, in, saturate);
  const double largest = pare__tiny_largest(to), ends[2] = {-largest, largest};
  pare__slot real;
  PARE__TRY(cast_to(w, in, computed_dtype(in->dtype), &real));
  if (saturate) PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_clip, ends, &real, 0, -1, &real));
  return apply(w, PARE__CAST, nothing, &real, to, 0, NULL);
}

static pare_status cast_to_type(work *w, int64_t to) {
  pare_dtype dtype;
  bool is_signed;
  pare__slot in;
  PARE__TRY(input(w, 0, &in));
  if (to < 0 || to > INT32_MAX || !pare__held_dtype((int32_t)to, &dtype))
    return pare__call_fail(w->call, PARE_ERR_UNSUPPORTED, "to type %s, which pare does not compute with",
                           pare__onnx_dtype_name((int32_t)to));
  const unsigned bits = pare__narrow_bits((int32_t)to, &is_signed);
  if (bits > 0) return cast_to_narrow(w, &in, bits, is_signed);
  if (dtype == in.dtype) return pare__call_pass(w->call, 0, 0);
  if (pare__dtype_is_tiny(dtype)) return cast_to_tiny(w, &in, dtype);
  return apply(w, PARE__CAST, nothing, &in, dtype, 0, NULL);
}

static pare_status cast(work *w) {
  PARE__TRY(pare__call_check(w->call, 1, 1));
  return cast_to_type(w, pare__call_get_int(w->call, "to", 0));
}
TWICE(cast)

static pare_status cast_like(work *w) {
  PARE__TRY(pare__call_check(w->call, 2, 2));
  const int32_t like = w->call->state->model->network->value[w->call->node->input[1]].onnx_dtype;
  bool is_signed;
  const bool narrow = pare__narrow_bits(like, &is_signed) > 0;
  return cast_to_type(w, narrow ? like : pare__onnx_dtype_from_pare(w->call->input[1]->dtype));
}
TWICE(cast_like)

/* The same bits as another dtype of the same size. */
static pare_status bit_cast(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const int64_t to = pare__call_get_int(call, "to", 0);
  pare_dtype dtype;
  if (to < 0 || to > INT32_MAX || !pare__onnx_dtype_to_pare((int32_t)to, &dtype))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "to type %s, which pare does not compute with",
                           pare__onnx_dtype_name((int32_t)to));
  pare_tensor *tensor, *bits;
  PARE__TRY(pare__call_tensor(call, 0, &tensor));
  if (pare_dtype_bytes(dtype) != pare_dtype_bytes(tensor->dtype))
    return pare__call_fail(call, PARE_ERR_TYPE, "from %s to %s, which differ in size", pare_dtype_name(tensor->dtype),
                           pare_dtype_name(dtype));
  PARE__TRY(pare__tensor_handle(tensor, &bits));
  bits->dtype = dtype;
  return pare__call_give(call, 0, bits);
}

/* ---- dropout ---- */

/* All true, or 1 where the mask has the input's dtype (before opset 10). */
static pare_status full_mask(pare__call *call, const pare__slot *like) {
  if (!pare__call_wants(call, 1)) return PARE_OK;
  const uint8_t one = 1;
  pare_tensor *mask, *truth;
  PARE__TRY(pare__call_constant(call, PARE_BOOL, 0, NULL, &one, &truth));
  const pare_dtype dtype = call->node->opset < 10 ? like->dtype : PARE_BOOL;
  PARE__TRY(pare__call_output(call, 1, dtype, like->shape.rank, like->shape.dim, &mask));
  return pare_cast(truth, mask);
}

/* x / (1 - ratio) where the mask is set, else 0. */
static pare_status drop(work *w, const pare__slot *x, double ratio) {
  pare__call *call = w->call;
  const double scale[2] = {ratio < 1 ? 1 / (1 - ratio) : 0, 0};
  pare__slot in[3] = {{.dtype = PARE_BOOL, .shape = x->shape}};
  PARE__TRY(pare__call_output(call, 1, PARE_BOOL, x->shape.rank, x->shape.dim, &in[0].tensor));
  const uint64_t seed = (uint64_t)pare__call_get_int(call, "seed", 0);
  PARE__TRY(pare_random_bernoulli(seed, 0, 1 - ratio, in[0].tensor));
  PARE__TRY(apply(w, PARE__UNARY + PARE_UNARY_affine, scale, x, 0, -1, &in[1]));
  PARE__TRY(number(w, x->dtype, 0, &in[2]));
  return apply(w, PARE__TERNARY + PARE_TERNARY_where, nothing, in, 0, 0, NULL);
}

static pare_status dropout(work *w) {
  pare__call *call = w->call;
  PARE__TRY(pare__call_check(call, 1, 3));
  pare__slot in;
  PARE__TRY(input(w, 0, &in));
  double ratio = 0.5, training = 0;
  if (pare__call_has(call, 2)) PARE__TRY(pare__call_number(call, 2, &training));
  if (training != 0 && pare__call_has(call, 1)) PARE__TRY(pare__call_number(call, 1, &ratio));
  if (training != 0 && !(ratio >= 0 && ratio < 1))
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "the ratio %g is not in [0, 1)", ratio);
  if (training != 0 && ratio != 0) return drop(w, &in, ratio);
  PARE__TRY(full_mask(call, &in));
  return pare__call_pass(call, 0, 0);
}
static pare_status dropout_run(pare__call *call) { return work_run(call, false, dropout); }

/* ---- the table ---- */

#define UNARY(name, since, operation, accepted) \
  { "", name, since, 0, PARE__ON_DEVICE, unary_run, unary_host, .detail = PARE_UNARY_##operation, .types = accepted }
#define BINARY(name, since, operation, accepted) \
  { "", name, since, 0, PARE__ON_DEVICE, binary_run, binary_host, .detail = PARE_BINARY_##operation, .types = accepted }
#define GELU(domain, name, since, operation) \
  { domain, name, since, 0, PARE__ON_DEVICE, gelu_run, gelu_host, .detail = PARE_UNARY_##operation, .types = "floats" }
#define VARIADIC(name, operation, accepted) \
  { "", name, 6, 0, PARE__ON_DEVICE, variadic_run, variadic_host, .detail = operation, .types = accepted }

const pare__operator pare__operators_elementwise[] = {
    UNARY("Abs", 6, abs, "numbers"),
    UNARY("Acos", 7, acos, "floats"),
    UNARY("Acosh", 9, acosh, "floats"),
    BINARY("Add", 7, add, "numbers"),
    BINARY("And", 7, and, "bool"),
    UNARY("Asin", 7, asin, "floats"),
    UNARY("Asinh", 9, asinh, "floats"),
    UNARY("Atan", 7, atan, "floats"),
    UNARY("Atanh", 9, atanh, "floats"),
    {"", "BitCast", 26, 0, PARE__ON_DEVICE, bit_cast, NULL, .types = "any"},
    BINARY("BitShift", 11, shift_left, "integers"),
    BINARY("BitwiseAnd", 18, bitwise_and, "integers"),
    UNARY("BitwiseNot", 18, bitwise_not, "integers"),
    BINARY("BitwiseOr", 18, bitwise_or, "integers"),
    BINARY("BitwiseXor", 18, bitwise_xor, "integers"),
    {"", "Cast", 6, 0, PARE__ON_DEVICE, cast_run, cast_host, .types = "any"},
    {"", "CastLike", 15, 0, PARE__ON_DEVICE, cast_like_run, cast_like_host, .types = "any"},
    UNARY("Ceil", 6, ceil, "floats"),
    UNARY("Celu", 12, celu, "floats"),
    {"", "Clip", 6, 0, PARE__ON_DEVICE, clip_run, clip_host, .types = "numbers"},
    UNARY("Cos", 7, cos, "floats"),
    UNARY("Cosh", 9, cosh, "floats"),
    BINARY("Div", 7, div, "numbers"),
    {"", "Dropout", 7, 0, PARE__ON_DEVICE, dropout_run, NULL, .types = "any"},
    UNARY("Elu", 6, elu, "floats"),
    BINARY("Equal", 7, equal, "numbers, bool"),
    UNARY("Erf", 9, erf, "floats"),
    UNARY("Exp", 6, exp, "floats"),
    UNARY("Floor", 6, floor, "floats"),
    GELU("", "Gelu", 20, gelu),
    BINARY("Greater", 7, greater, "numbers"),
    BINARY("GreaterOrEqual", 12, greater_equal, "numbers"),
    UNARY("HardSigmoid", 6, hard_sigmoid, "floats"),
    UNARY("HardSwish", 14, hard_swish, "floats"),
    {"", "IsInf", 10, 0, PARE__ON_DEVICE, is_infinite_run, is_infinite_host, .types = "floats"},
    UNARY("IsNaN", 9, isnan, "floats"),
    UNARY("LeakyRelu", 6, leaky_relu, "floats"),
    BINARY("Less", 7, less, "numbers"),
    BINARY("LessOrEqual", 12, less_equal, "numbers"),
    UNARY("Log", 6, log, "floats"),
    VARIADIC("Max", PARE_BINARY_max, "numbers"),
    VARIADIC("Mean", PARE_NBINARY, "numbers"),
    VARIADIC("Min", PARE_BINARY_min, "numbers"),
    UNARY("Mish", 18, mish, "floats"),
    BINARY("Mod", 10, mod, "numbers"),
    BINARY("Mul", 7, mul, "numbers"),
    UNARY("Neg", 6, neg, "numbers"),
    UNARY("Not", 1, not, "bool"),
    BINARY("Or", 7, or, "bool"),
    BINARY("PRelu", 7, prelu, "numbers"),
    {"", "Pow", 7, 0, PARE__ON_DEVICE, power_run, power_host, .types = "numbers"},
    UNARY("Reciprocal", 6, reciprocal, "floats"),
    UNARY("Relu", 6, relu, "numbers"),
    UNARY("Round", 11, round, "floats"),
    UNARY("Selu", 6, selu, "floats"),
    UNARY("Shrink", 9, shrink, "floats"),
    UNARY("Sigmoid", 6, sigmoid, "floats"),
    UNARY("Sign", 9, sign, "numbers"),
    UNARY("Sin", 7, sin, "floats"),
    UNARY("Sinh", 9, sinh, "floats"),
    UNARY("Softplus", 1, softplus, "floats"),
    UNARY("Softsign", 1, softsign, "floats"),
    UNARY("Sqrt", 6, sqrt, "floats"),
    BINARY("Sub", 7, sub, "numbers"),
    VARIADIC("Sum", PARE_BINARY_add, "numbers"),
    {"", "SwiGLU", 28, 0, PARE__ON_DEVICE, gated_swish_run, gated_swish_host, .types = "floats"},
    UNARY("Swish", 24, swish, "floats"),
    UNARY("Tan", 7, tan, "floats"),
    UNARY("Tanh", 6, tanh, "floats"),
    UNARY("ThresholdedRelu", 1, thresholded_relu, "floats"),
    {"", "Where", 9, 0, PARE__ON_DEVICE, where_run, where_host, .types = "numbers, bool"},
    BINARY("Xor", 7, xor, "bool"),
    GELU("com.microsoft", "BiasGelu", 1, gelu),
    GELU("com.microsoft", "FastGelu", 1, gelu_tanh),
    GELU("com.microsoft", "Gelu", 1, gelu),
    GELU("com.microsoft", "QuickGelu", 1, swish),
    {0},
};
