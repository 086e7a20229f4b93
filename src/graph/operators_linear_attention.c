/* LinearAttention and CausalConvWithState: what recurrent language models carry from token to token.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A state S [key size, value size] of each head takes the tokens in, one after the other (Katharopoulos et al. 2020;
 * Schlag et al. 2021; Yang et al. 2024): S = exp(g) S + beta k (v - S^T k) with decay and delta rule, or without one or
 * both; the output of a token is scale S^T q. */
#include <math.h>
#include <pare/convolve.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/move.h>
#include <string.h>

#include "graph/attention.h"
#include "graph/compose.h"
#include "graph/operator_tables.h"

/* ---- LinearAttention ---- */

enum { QUERY, KEY, VALUE, PAST, DECAY, BETA };

typedef struct linear {
  pare__call *call;
  pare_dtype dtype; /* that it is computed in */
  bool gated, delta;
  int64_t batch, tokens, heads, kv_heads, size, value_size;
  double scale;
  pare_tensor *query, *key, *value, *decay, *beta; /* [batch, kv_heads, tokens, …]; query: [… tokens, shared, size] */
  pare_tensor *state;                              /* [batch, kv_heads, size, value_size] */
  pare_tensor *read, *outer;                       /* scratch [batch, kv_heads, 1, value_size]; as the state */
} linear;

static pare_status read_rule(pare__call *call, linear *l) {
  static const struct {
    const char *name;
    bool gated, delta;
  } rules[] = {{"linear", false, false}, {"gated", true, false}, {"delta", false, true}, {"gated_delta", true, true}};
  for (unsigned i = 0; i < PARE__COUNT(rules); i++)
    if (pare__call_text_is(call, "update_rule", "gated_delta", rules[i].name)) {
      l->gated = rules[i].gated;
      l->delta = rules[i].delta;
      if ((l->gated && !pare__call_has(call, DECAY)) || (l->delta && !pare__call_has(call, BETA)))
        return pare__call_fail(call, PARE_ERR_FORMAT, "update_rule %s, and its decay or beta is left out",
                               rules[i].name);
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_FORMAT, "update_rule is none of linear, gated, delta and gated_delta");
}

/* Input i, [batch, tokens, heads n], as [batch, heads, tokens, n]; beta may be one for all heads. */
static pare_status take_heads(linear *l, unsigned i, int64_t heads, pare_tensor **out) {
  pare_tensor *tensor;
  PARE__TRY(pare__call_tensor(l->call, i, &tensor));
  const pare__shape *shape = &tensor->shape;
  const int64_t parts = i == BETA && shape->rank == 3 && shape->dim[2] == 1 ? 1 : heads;
  char text[PARE__SHAPE_TEXT];
  if (shape->rank != 3 || shape->dim[0] != l->batch || shape->dim[1] != l->tokens || shape->dim[2] % parts != 0)
    return pare__call_fail(l->call, PARE_ERR_SHAPE, "input %u has shape %s; it must be [%lld, %lld, n times %lld]", i,
                           pare__shape_text(shape->rank, shape->dim, text, sizeof text), (long long)l->batch,
                           (long long)l->tokens, (long long)parts);
  PARE__TRY(pare__call_cast(l->call, tensor, l->dtype, &tensor));
  return pare__heads_of(l->call, tensor, parts, out);
}

static pare_status read_linear(pare__call *call, linear *l) {
  const pare__shape *query = &call->input[QUERY]->shape;
  *l = (linear){.call = call,
                .dtype = call->input[QUERY]->dtype == PARE_F64 ? PARE_F64 : PARE_F32,
                .heads = pare__call_get_int(call, "q_num_heads", 0),
                .kv_heads = pare__call_get_int(call, "kv_num_heads", 0),
                .scale = pare__call_get_float(call, "scale", 0)};
  PARE__TRY(read_rule(call, l));
  if (query->rank != 3 || l->heads < 1 || l->kv_heads < 1 || l->heads % l->kv_heads != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "queries of rank %d for %lld heads of %lld keys", query->rank,
                           (long long)l->heads, (long long)l->kv_heads);
  l->batch = query->dim[0];
  l->tokens = query->dim[1];
  PARE__TRY(take_heads(l, QUERY, l->heads, &l->query));
  PARE__TRY(take_heads(l, KEY, l->kv_heads, &l->key));
  PARE__TRY(take_heads(l, VALUE, l->kv_heads, &l->value));
  if (l->gated) PARE__TRY(take_heads(l, DECAY, l->kv_heads, &l->decay));
  if (l->delta) PARE__TRY(take_heads(l, BETA, l->kv_heads, &l->beta));
  l->size = l->key->shape.dim[3];
  l->value_size = l->value->shape.dim[3];
  const int64_t decays = l->decay ? l->decay->shape.dim[3] : 1, betas = l->beta ? l->beta->shape.dim[3] : 1;
  if (l->query->shape.dim[3] != l->size || (decays != 1 && decays != l->size) || betas != 1)
    return pare__call_fail(call, PARE_ERR_SHAPE, "queries of %lld, keys of %lld, %lld decays and %lld betas a head",
                           (long long)l->query->shape.dim[3], (long long)l->size, (long long)decays, (long long)betas);
  if (l->scale == 0) l->scale = 1 / sqrt((double)PARE__MAX(l->size, (int64_t)1));
  return PARE_OK;
}

static pare_status begin_state(linear *l) {
  const int64_t dim[4] = {l->batch, l->kv_heads, l->size, l->value_size}, row[4] = {dim[0], dim[1], 1, dim[3]};
  pare_tensor *past, *zero;
  char text[PARE__SHAPE_TEXT];
  PARE__TRY(pare__call_scratch(l->call, l->dtype, 4, dim, &l->state));
  PARE__TRY(pare__call_scratch(l->call, l->dtype, 4, dim, &l->outer));
  PARE__TRY(pare__call_scratch(l->call, l->dtype, 4, row, &l->read));
  PARE__TRY(pare__call_tensor(l->call, PAST, &past));
  if (!past) {
    PARE__TRY(pare__call_scalar(l->call, l->dtype, 0, &zero));
    return pare_copy(zero, l->state);
  }
  if (past->shape.rank != 4 || memcmp(past->shape.dim, dim, sizeof dim) != 0)
    return pare__call_fail(l->call, PARE_ERR_SHAPE, "past_state has shape %s; it must be [%lld, %lld, %lld, %lld]",
                           pare__shape_text(past->shape.rank, past->shape.dim, text, sizeof text), (long long)dim[0],
                           (long long)dim[1], (long long)dim[2], (long long)dim[3]);
  return pare_cast(past, l->state);
}

/* Token t of a tensor [batch, heads, tokens, n], as a row [batch, heads, 1, n] or a column [batch, heads, n, 1]. */
static pare_status token(const linear *l, pare_tensor *tensor, int64_t t, bool column, pare_tensor **out) {
  PARE__TRY(pare__call_slice(l->call, tensor, 2, t, 1, 1, out));
  return column ? pare__call_permuted(l->call, *out, (const int[]){0, 1, 3, 2}, out) : PARE_OK;
}

/* Takes token t in; out [batch, kv_heads, shared, value_size]. */
static pare_status step(const linear *l, int64_t t, pare_tensor *out) {
  pare_tensor *query, *row, *column, *value, *part;
  if (l->gated) {
    PARE__TRY(token(l, l->decay, t, true, &part));
    PARE__TRY(pare_binary(PARE_BINARY_mul, l->state, part, l->state));
  }
  PARE__TRY(token(l, l->key, t, false, &row));
  PARE__TRY(token(l, l->key, t, true, &column));
  PARE__TRY(token(l, l->value, t, false, &value));
  if (l->delta) {
    PARE__TRY(pare_gemm(row, l->state, NULL, NULL, l->read));
    PARE__TRY(pare_binary(PARE_BINARY_sub, value, l->read, l->read));
    PARE__TRY(token(l, l->beta, t, false, &part));
    PARE__TRY(pare_binary(PARE_BINARY_mul, l->read, part, l->read));
    value = l->read;
  }
  const pare_gemm_options scaled = {.alpha = l->scale};
  PARE__TRY(pare_binary(PARE_BINARY_mul, column, value, l->outer));
  PARE__TRY(pare_binary(PARE_BINARY_add, l->state, l->outer, l->state));
  PARE__TRY(pare__call_at(l->call, l->query, 3, t, &query));
  return pare_gemm(query, l->state, NULL, &scaled, out);
}

/* What com.microsoft has beyond ai.onnx. */
static pare_status check_plain(const pare__call *call) {
  static const struct {
    const char *name;
    int64_t plain;
  } attribute[] = {{"state_window", 0}, {"channels_last", 0}, {"ndim", 1}};
  for (size_t i = 0; i < PARE__COUNT(attribute); i++) {
    const int64_t value = pare__call_get_int(call, attribute[i].name, attribute[i].plain);
    if (value != attribute[i].plain)
      return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "%s is %lld; only %lld is possible", attribute[i].name,
                             (long long)value, (long long)attribute[i].plain);
  }
  return PARE_OK;
}

static pare_status linear_attention(pare__call *call) {
  linear l;
  pare_tensor *all, *out, *to, *decay;
  PARE__TRY(pare__call_check(call, 3, 6));
  PARE__TRY(check_plain(call));
  PARE__TRY(read_linear(call, &l));
  PARE__TRY(begin_state(&l));
  const int64_t shared = l.heads / l.kv_heads;
  const int64_t result[3] = {l.batch, l.tokens, l.heads * l.value_size};
  const int64_t apart[5] = {l.batch, l.kv_heads, shared, l.tokens, l.size};
  const int64_t parts[5] = {l.batch, l.tokens, l.kv_heads, shared, l.value_size};
  PARE__TRY(pare__call_reshaped(call, l.query, 5, apart, &l.query));
  PARE__TRY(pare__call_scratch(call, l.dtype, 5, parts, &all));
  if (l.gated) {
    PARE__TRY(pare__call_scratch(call, l.dtype, 4, l.decay->shape.dim, &decay));
    PARE__TRY(pare_unary(PARE_UNARY_exp, l.decay, decay));
    l.decay = decay;
  }
  for (int64_t t = 0; t < l.tokens; t++) {
    PARE__TRY(pare__call_at(call, all, 1, t, &to));
    PARE__TRY(step(&l, t, to));
  }
  PARE__TRY(pare__call_reshaped(call, all, 3, result, &all));
  PARE__TRY(pare__call_output(call, 0, call->input[QUERY]->dtype, 3, result, &out));
  PARE__TRY(pare_cast(all, out));
  if (!pare__call_wants(call, 1)) return PARE_OK;
  const pare_dtype kept = call->input[pare__call_has(call, PAST) ? PAST : QUERY]->dtype;
  PARE__TRY(pare__call_output(call, 1, kept, 4, l.state->shape.dim, &out));
  return pare_cast(l.state, out);
}

/* ---- CausalConvWithState ---- */

/* The past, or zeros, and x after it: [batch, channels, before + length]. */
static pare_status extend(pare__call *call, pare_tensor *x, int64_t before, pare_tensor **out) {
  const int64_t *dim = x->shape.dim, past_dim[3] = {dim[0], dim[1], before}, all[3] = {dim[0], dim[1], before + dim[2]};
  pare_tensor *past;
  PARE__TRY(pare__call_tensor(call, 3, &past));
  PARE__TRY(pare__call_scratch(call, x->dtype, 3, all, out));
  if (!past) return pare_pad(x, (const int64_t[]){0, 0, before}, NULL, PARE_PAD_CONSTANT, NULL, *out);
  char text[PARE__SHAPE_TEXT];
  if (past->shape.rank != 3 || memcmp(past->shape.dim, past_dim, sizeof past_dim) != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "past_state has shape %s; it must be [%lld, %lld, %lld]",
                           pare__shape_text(past->shape.rank, past->shape.dim, text, sizeof text), (long long)dim[0],
                           (long long)dim[1], (long long)before);
  return pare_concat(2, (pare_tensor *const[]){past, x}, 2, *out);
}

static pare_status causal_convolution(pare__call *call) {
  pare_tensor *x, *w, *bias, *all, *y, *present;
  PARE__TRY(pare__call_check(call, 2, 4));
  PARE__TRY(check_plain(call));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &w));
  PARE__TRY(pare__call_tensor(call, 2, &bias));
  const bool none = pare__call_text_is(call, "activation", "none", "none");
  if (!none && !pare__call_text_is(call, "activation", "none", "silu") &&
      !pare__call_text_is(call, "activation", "none", "swish"))
    return pare__call_fail(call, PARE_ERR_FORMAT, "activation is none of silu, swish and none");
  if (x->shape.rank != 3 || w->shape.rank != 3 || w->shape.dim[0] != x->shape.dim[1] || w->shape.dim[1] != 1 ||
      w->shape.dim[2] < 1 || w->shape.dim[2] > INT32_MAX)
    return pare__call_fail(call, PARE_ERR_SHAPE, "x and weights of ranks %d and %d are not [N, C, L] and [C, 1, k]",
                           x->shape.rank, w->shape.rank);
  const int64_t dilation = pare__call_get_int(call, "dilation", 1), length = x->shape.dim[2];
  if (dilation < 1 || dilation > INT32_MAX)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "its dilation is %lld", (long long)dilation);
  const int64_t before = (w->shape.dim[2] - 1) * dilation;
  PARE__TRY(extend(call, x, before, &all));
  PARE__TRY(pare__call_output(call, 0, x->dtype, 3, x->shape.dim, &y));
  pare_convolution_options options = PARE_CONVOLUTION_OPTIONS_INIT;
  options.groups = x->shape.dim[1];
  options.dilation[0] = dilation;
  options.activation = none ? PARE_ACTIVATION_NONE : PARE_ACTIVATION_SILU;
  if (pare__shape_elements(&y->shape) > 0) {
    pare_convolution_weights *packed = NULL;
    pare_status status = pare_convolution_weights_pack(w, &options, &packed);
    if (status == PARE_OK) status = pare_convolve(all, packed, bias, NULL, &options, y);
    pare_convolution_weights_close(packed);
    PARE__TRY(status);
  }
  if (!pare__call_wants(call, 1)) return PARE_OK;
  const int64_t kept[3] = {x->shape.dim[0], x->shape.dim[1], before};
  PARE__TRY(pare__call_output(call, 1, x->dtype, 3, kept, &present));
  PARE__TRY(pare__call_slice(call, all, 2, length, before, 1, &all));
  return pare_copy(all, present);
}

const pare__operator pare__operators_linear_attention[] = {
    {"", "CausalConvWithState", 27, 0, PARE__ON_DEVICE, causal_convolution, .types = "floats"},
    {"", "LinearAttention", 27, 0, PARE__ON_DEVICE, linear_attention, .types = "floats"},
    {"com.microsoft", "CausalConvWithState", 1, 0, PARE__ON_DEVICE, causal_convolution, .types = "floats"},
    {"com.microsoft", "LinearAttention", 1, 0, PARE__ON_DEVICE, linear_attention, .types = "floats"},
    {0},
};
