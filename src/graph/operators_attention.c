/* Attention as ONNX and ONNX Runtime have it, and what transformers put around it. SPDX-License-Identifier: Apache-2.0
 */
#include <float.h>
#include <math.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/attention.h"
#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/quantised.h"

/* Output i: the past (input `past`, may be left out) and *now after it, which becomes the result. */
static pare_status extend(pare__call *call, unsigned past, unsigned i, pare_tensor **now) {
  pare_tensor *before, *all;
  PARE__TRY(pare__call_tensor(call, past, &before));
  if (!before && !pare__call_wants(call, i)) return PARE_OK;
  if (before && (before->shape.rank != 4 || (*now)->shape.rank != 4))
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u has rank %d; it must be 4", past, before->shape.rank);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, (*now)->shape.dim, sizeof dim);
  if (before) dim[2] += before->shape.dim[2];
  PARE__TRY(pare__call_output(call, i, (*now)->dtype, (*now)->shape.rank, dim, &all));
  if (before)
    PARE__TRY(pare_concat(2, (pare_tensor *const[]){before, *now}, 2, all));
  else
    PARE__TRY(pare_copy(*now, all));
  *now = all;
  return PARE_OK;
}

/* Output 0, as [batch, queries, heads * value_size] or with heads apart; *out is a view [batch, heads, queries,
 * value_size]. */
static pare_status attention_output(const pare__attention *a, bool joined, pare_tensor **out) {
  const int64_t apart[4] = {a->batch, a->heads, a->queries, a->value_size};
  const int64_t together[3] = {a->batch, a->queries, a->heads * a->value_size};
  if (!joined) return pare__call_output(a->call, 0, a->dtype, 4, apart, out);
  PARE__TRY(pare__call_output(a->call, 0, a->dtype, 3, together, out));
  return pare__heads_of(a->call, *out, a->heads, out);
}

/* ---- ai.onnx Attention ---- */

static pare_status give_scores(const pare__attention *a, bool now) {
  if (!now || !pare__call_wants(a->call, 3)) return PARE_OK;
  pare_tensor *out;
  PARE__TRY(pare__call_output(a->call, 3, a->dtype, 4, a->scores->shape.dim, &out));
  return pare_cast(a->scores, out);
}

/* Queries come after the keys of the past; with a cache kept outside they are the last of its valid ones. */
static pare_status causal_offset(const pare__attention *a, pare_tensor *length, pare_tensor **offset) {
  const bool has_past = pare__call_has(a->call, 4);
  if (!length || has_past)
    return pare__call_scalar(a->call, PARE_I64, has_past ? (double)a->call->input[4]->shape.dim[2] : 0, offset);
  const int64_t dim[4] = {a->batch, 1, 1, 1};
  pare_tensor *queries;
  PARE__TRY(pare__call_cast(a->call, length, PARE_I64, &length));
  PARE__TRY(pare__call_reshaped(a->call, length, 4, dim, &length));
  PARE__TRY(pare__call_scalar(a->call, PARE_I64, (double)a->queries, &queries));
  PARE__TRY(pare__call_scratch(a->call, PARE_I64, 4, dim, offset));
  return pare_binary(PARE_BINARY_sub, length, queries, *offset);
}

/* The keys that masks leave; scores of others become minus infinity. */
static pare_status mask_keys(pare__attention *a) {
  pare__call *call = a->call;
  const bool causal = pare__call_get_int(call, "is_causal", 0) != 0;
  const int64_t left = pare__call_get_int(call, "left_window_size", -1);
  const int64_t right = causal ? 0 : pare__call_get_int(call, "right_window_size", -1);
  pare_tensor *mask, *length, *offset;
  PARE__TRY(pare__call_tensor(call, 3, &mask));
  PARE__TRY(pare__call_tensor(call, 6, &length));
  if (mask) PARE__TRY(pare__attention_mask(a, mask, (double)-INFINITY));
  if (left >= 0 || right >= 0) {
    PARE__TRY(causal_offset(a, length, &offset));
    PARE__TRY(pare__attention_window(a, offset, left, right, (double)-INFINITY));
  }
  if (length) PARE__TRY(pare__attention_lengths(a, length, (double)-INFINITY));
  /* of causal attention alone, every query sees the first key */
  return mask || length || left >= 0 || (right >= 0 && !causal) ? pare__attention_nobody(a) : PARE_OK;
}

static pare_status run_attention(pare__attention *a, int64_t mode) {
  PARE__TRY(pare__attention_scores(a));
  PARE__TRY(give_scores(a, mode == 0));
  PARE__TRY(pare__attention_softcap(a));
  PARE__TRY(give_scores(a, mode == 1 && a->softcap > 0));
  PARE__TRY(mask_keys(a));
  PARE__TRY(give_scores(a, mode == 2 || (mode == 1 && !(a->softcap > 0))));
  PARE__TRY(pare__attention_softmax(a));
  if (mode != 3 || !pare__call_wants(a->call, 3)) return PARE_OK;
  PARE__TRY(pare__attention_clear(a, a->scores));
  return give_scores(a, true);
}

/* The operator is a product of queries and keys each times the root of the scale, in their dtype: of small floats that
 * is another scale. */
static double scale_of(const pare__attention *a) {
  uint64_t root = 0;
  pare__store(a->dtype, &root, 0, sqrt(a->scale));
  const double rounded = pare__load(a->dtype, &root, 0);
  return rounded * rounded;
}

static pare_status attention(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 7));
  pare__attention a = {.call = call};
  pare_tensor *out;
  PARE__TRY(pare__call_tensor(call, 0, &a.query));
  PARE__TRY(pare__call_tensor(call, 1, &a.key));
  PARE__TRY(pare__call_tensor(call, 2, &a.value));
  const bool joined = a.query->shape.rank == 3;
  if (joined) {
    const int64_t kv_heads = pare__call_get_int(call, "kv_num_heads", 0);
    PARE__TRY(pare__heads_of(call, a.query, pare__call_get_int(call, "q_num_heads", 0), &a.query));
    PARE__TRY(pare__heads_of(call, a.key, kv_heads, &a.key));
    PARE__TRY(pare__heads_of(call, a.value, kv_heads, &a.value));
  }
  PARE__TRY(extend(call, 4, 1, &a.key));
  PARE__TRY(extend(call, 5, 2, &a.value));
  a.scale = pare__call_get_float(call, "scale", 0);
  a.softcap = pare__call_get_float(call, "softcap", 0);
  const int64_t mode = pare__call_get_int(call, "qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "qk_matmul_output_mode is %lld; it must be 0 to 3",
                           (long long)mode);
  PARE__TRY(pare__attention_begin(&a));
  if (a.scale > 0) a.scale = scale_of(&a);
  PARE__TRY(run_attention(&a, mode));
  PARE__TRY(attention_output(&a, joined, &out));
  return pare__attention_values(&a, out);
}

/* ---- com.microsoft Attention and MultiHeadAttention ---- */

/* Adds `least` to the scores of keys that are not kept: bool [batch, keys] or [batch, queries, keys]. The reference
 * adds it, too: rows without a key keep their order. */
static pare_status padding_of_keys(pare__attention *a, pare_tensor *kept, double least) {
  pare__call *call = a->call;
  const pare__shape *shape = &kept->shape;
  const int64_t dim[4] = {a->batch, 1, shape->rank == 3 ? shape->dim[1] : 1, a->keys};
  const pare_dtype dtype = a->scores->dtype;
  pare_tensor *added, *filter, *none;
  PARE__TRY(pare__call_reshaped(call, kept, 4, dim, &kept));
  PARE__TRY(pare__call_scalar(call, dtype, least, &filter));
  PARE__TRY(pare__call_scalar(call, dtype, 0, &none));
  PARE__TRY(pare__call_scratch(call, dtype, 4, dim, &added));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, kept, none, filter, added));
  return pare_binary(PARE_BINARY_add, a->scores, added, a->scores);
}

/* bool [batch, keys]: from bounds[batch + b] on, before bounds[b]. */
static pare_status keys_between(pare__attention *a, pare_tensor *bounds, pare_tensor **out) {
  pare__call *call = a->call;
  const int64_t each[2] = {a->batch, 1}, dim[2] = {a->batch, a->keys};
  pare_tensor *bound[2], *range, *begun;
  PARE__TRY(pare__call_cast(call, bounds, PARE_I64, &bounds));
  for (int i = 0; i < 2; i++) {
    PARE__TRY(pare__call_slice(call, bounds, 0, i * a->batch, a->batch, 1, &bound[i]));
    PARE__TRY(pare__call_reshaped(call, bound[i], 2, each, &bound[i]));
  }
  PARE__TRY(pare__call_range(call, PARE_I64, a->keys, 2, 1, &range));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, dim, &begun));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, dim, out));
  PARE__TRY(pare_binary(PARE_BINARY_greater_equal, range, bound[1], begun));
  PARE__TRY(pare_binary(PARE_BINARY_less, range, bound[0], *out));
  return pare_binary(PARE_BINARY_and, begun, *out, *out);
}

/* The padding mask of ONNX Runtime: [batch] lengths; [2 batch] ends and beginnings; or 1 for keys that count and 0 for
 * others, of [batch, keys] or [batch, queries, keys]. */
static pare_status padding_mask(pare__attention *a, unsigned i) {
  pare__call *call = a->call;
  if (!pare__call_has(call, i)) return PARE_OK;
  const double least = pare__call_get_float(call, "mask_filter_value", -10000);
  pare_tensor *mask, *kept, *zero;
  PARE__TRY(pare__call_tensor(call, i, &mask));
  const pare__shape *shape = &mask->shape;
  if (shape->rank == 1 && shape->dim[0] == a->batch) return pare__attention_lengths(a, mask, least);
  if (shape->rank == 1 && shape->dim[0] == 2 * a->batch) { /* where the keys that count end, then where they begin */
    PARE__TRY(keys_between(a, mask, &mask));
    return padding_of_keys(a, mask, least);
  }
  if (shape->rank < 2 || shape->rank > 3 || shape->dim[0] != a->batch || shape->dim[shape->rank - 1] != a->keys)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED,
                           "a padding mask of rank %d is none of [batch], [2 batch], [batch, keys], "
                           "[batch, queries, keys]",
                           shape->rank);
  PARE__TRY(pare__call_scalar(call, mask->dtype, 0, &zero));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, shape->rank, shape->dim, &kept));
  PARE__TRY(pare_binary(PARE_BINARY_not_equal, mask, zero, kept));
  return padding_of_keys(a, kept, least);
}

/* Scores with the masks of ONNX Runtime; bias: input that is added to them; past: keys before the queries. */
static pare_status run_runtime_attention(pare__attention *a, unsigned mask, unsigned bias, int64_t past) {
  pare__call *call = a->call;
  pare_tensor *added, *offset, *out;
  PARE__TRY(pare__attention_begin(a));
  PARE__TRY(pare__attention_scores(a));
  PARE__TRY(pare__call_tensor(call, bias, &added));
  if (added) PARE__TRY(pare__attention_mask(a, added, 0));
  PARE__TRY(padding_mask(a, mask));
  if (pare__call_get_int(call, "unidirectional", 0) != 0) {
    PARE__TRY(pare__call_scalar(call, PARE_I64, (double)past, &offset));
    PARE__TRY(pare__attention_window(a, offset, -1, 0, -(double)FLT_MAX));
  }
  PARE__TRY(pare__attention_softmax(a));
  PARE__TRY(attention_output(a, true, &out));
  return pare__attention_values(a, out);
}

/* part = part + bias[first …]; in scratch, for the part may be an input. */
static pare_status add_bias(pare__call *call, pare_tensor *bias, int64_t first, pare_tensor **part) {
  if (!bias) return PARE_OK;
  const pare__shape *shape = &(*part)->shape;
  pare_tensor *sum;
  PARE__TRY(pare__call_slice(call, bias, 0, first, shape->dim[shape->rank - 1], 1, &bias));
  PARE__TRY(pare__call_scratch(call, (*part)->dtype, shape->rank, shape->dim, &sum));
  PARE__TRY(pare_binary(PARE_BINARY_add, *part, bias, sum));
  *part = sum;
  return PARE_OK;
}

/* Output 1: keys and values [2, batch, heads, length, size] after those of the past, of which there are `before`. */
static pare_status extend_both(pare__call *call, pare_tensor *past, int64_t before, pare__attention *a) {
  if (!past && !pare__call_wants(call, 1)) return PARE_OK;
  const int64_t *now = a->key->shape.dim, dim[5] = {2, now[0], now[1], now[2] + before, now[3]};
  pare_tensor *present, *place, *old, **part[2] = {&a->key, &a->value};
  if (past && past->shape.rank != 5)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its past has rank %d; it must be 5", past->shape.rank);
  PARE__TRY(pare__call_output(call, 1, a->key->dtype, 5, dim, &present));
  for (int i = 0; i < 2; i++) {
    PARE__TRY(pare__call_at(call, present, 0, i, &place));
    if (past) {
      PARE__TRY(pare__call_at(call, past, 0, i, &old));
      PARE__TRY(pare_concat(2, (pare_tensor *const[]){old, *part[i]}, 2, place));
    } else {
      PARE__TRY(pare_copy(*part[i], place));
    }
    *part[i] = place;
  }
  return PARE_OK;
}

/* Input, weights [in, q + k + v] and bias; which inputs are the mask, the past [2, batch, heads, …] and a bias of
 * scores. */
typedef struct projected {
  pare_tensor *x, *weights, *bias;
  unsigned mask, past, added;
} projected;

static pare_status attend_projected(pare__call *call, const projected *in) {
  pare__attention a = {.call = call, .scale = pare__call_get_float(call, "scale", 0)};
  pare_tensor *x = in->x, *weights = in->weights, *bias = in->bias, *all, *past;
  PARE__TRY(pare__call_tensor(call, in->past, &past));
  const int64_t heads = pare__call_get_int(call, "num_heads", 0);
  if (x->shape.rank != 3 || weights->shape.rank != 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input and weights have ranks %d and %d; 3 and 2 are needed",
                           x->shape.rank, weights->shape.rank);
  if (pare__call_get_int(call, "do_rotary", 0) != 0 || pare__call_get_int(call, "past_present_share_buffer", 0) != 0)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED,
                           "do_rotary, or a past that shares its memory (past_present_share_buffer)");
  int64_t size[3], total = weights->shape.dim[1];
  size_t count;
  PARE__TRY(pare__call_get_ints(call, "qkv_hidden_sizes", size, 3, &count));
  if (count != 3) size[0] = size[1] = size[2] = total / 3;
  if (size[0] < 1 || size[1] < 1 || size[2] < 1 || size[0] > total || size[1] > total - size[0] ||
      size[0] + size[1] + size[2] != total)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld columns of weights are not those of query, key and value",
                           (long long)total);
  const int64_t dim[3] = {x->shape.dim[0], x->shape.dim[1], total};
  PARE__TRY(pare__call_scratch(call, x->dtype, 3, dim, &all));
  const pare_weights *packed = call->node->prepared;
  PARE__TRY(packed ? pare_gemm_packed(x, packed, bias, NULL, all) : pare_gemm(x, weights, bias, NULL, all));
  pare_tensor **part[3] = {&a.query, &a.key, &a.value};
  int64_t first = 0;
  for (int i = 0; i < 3; first += size[i++]) {
    PARE__TRY(pare__call_slice(call, all, 2, first, size[i], 1, part[i]));
    PARE__TRY(pare__heads_of(call, *part[i], heads, part[i]));
  }
  const int64_t before = past && past->shape.rank == 5 ? past->shape.dim[3] : 0;
  PARE__TRY(extend_both(call, past, before, &a));
  return run_runtime_attention(&a, in->mask, in->added, before);
}

static pare_status runtime_attention(pare__call *call) {
  projected in = {.mask = 3, .past = 4, .added = 5};
  PARE__TRY(pare__call_check(call, 2, 6));
  PARE__TRY(pare__call_tensor(call, 0, &in.x));
  PARE__TRY(pare__call_tensor(call, 1, &in.weights));
  PARE__TRY(pare__call_tensor(call, 2, &in.bias));
  return attend_projected(call, &in);
}

/* QAttention: input and weights are integers with a scale (inputs 3 and 4) and a zero point (6 and 7), the weights' for
 * each column or for all. */
static pare_status quantised_attention(pare__call *call) {
  projected in = {.mask = 5, .past = 8, .added = 9};
  pare_tensor **made[2] = {&in.x, &in.weights};
  PARE__TRY(pare__call_check(call, 5, 9));
  PARE__TRY(pare__call_tensor(call, 2, &in.bias));
  for (unsigned i = 0; i < 2; i++) {
    pare__quantisation q = {.axis = 1};
    pare_tensor *integers;
    PARE__TRY(pare__call_tensor(call, i, &integers));
    PARE__TRY(pare__call_tensor(call, 3 + i, &q.scale));
    PARE__TRY(pare__call_tensor(call, 6 + i, &q.zero));
    if (!integers || !q.scale || (integers->dtype != PARE_U8 && integers->dtype != PARE_I8))
      return pare__call_fail(call, PARE_ERR_TYPE, "input %u is no u8 or i8 with a scale, input %u", i, 3 + i);
    PARE__TRY(pare__call_scratch(call, q.scale->dtype, integers->shape.rank, integers->shape.dim, made[i]));
    PARE__TRY(pare__call_dequantise(call, integers, &q, *made[i]));
  }
  return attend_projected(call, &in);
}

static pare_status runtime_attention_prepare(pare__call *call, pare__node *node) {
  if (!pare__call_has(call, 1) || call->input[1]->shape.rank != 2) return PARE_OK;
  const pare_dtype dtype = call->input[1]->dtype;
  if (!pare__dtype_is_float(dtype) || dtype == PARE_F64 || pare__shape_elements(&call->input[1]->shape) == 0)
    return PARE_OK;
  pare_tensor *weights;
  pare_weights *packed;
  PARE__TRY(pare__call_tensor(call, 1, &weights));
  PARE__TRY(pare_weights_pack(weights, false, &packed));
  node->prepared = packed;
  node->prepared_close = pare__weights_release;
  return PARE_OK;
}

/* Query, key and value one after the other in the query's last dimension. */
static pare_status take_thirds(pare__call *call, pare_tensor **const *part) {
  pare_tensor *all = *part[0];
  const int64_t size = all->shape.rank == 3 ? all->shape.dim[2] / 3 : 0;
  if (size < 1 || all->shape.dim[2] != 3 * size)
    return pare__call_fail(call, PARE_ERR_SHAPE, "a query of rank %d holds no key and value, and they are left out",
                           all->shape.rank);
  for (int i = 0; i < 3; i++) PARE__TRY(pare__call_slice(call, all, 2, i * size, size, 1, part[i]));
  return PARE_OK;
}

/* Output i: the past, of which `before` keys count, with *now behind those; it has room for more. The result is what
 * counts then. */
static pare_status extend_in_place(pare__call *call, unsigned past, unsigned i, int64_t before, pare_tensor **now) {
  pare_tensor *room, *all, *place;
  PARE__TRY(pare__call_tensor(call, past, &room));
  const int64_t fresh = (*now)->shape.dim[2], *dim = room ? room->shape.dim : NULL;
  if (!room || room->shape.rank != 4 || before < 0 || before > dim[2] - fresh)
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u has no room for %lld keys after %lld", past,
                           (long long)fresh, (long long)before);
  PARE__TRY(pare__call_output(call, i, (*now)->dtype, 4, dim, &all));
  PARE__TRY(pare_copy(room, all));
  PARE__TRY(pare__call_slice(call, all, 2, before, fresh, 1, &place));
  PARE__TRY(pare_copy(*now, place));
  return pare__call_slice(call, all, 2, 0, before + fresh, 1, now);
}

/* Keys and values after those of inputs `past` and past + 1; input `length` tells how many of them count, or is left
 * out: all do, and the results are longer. *before = how many there were. */
static pare_status extend_past(pare__attention *a, unsigned past, unsigned length, int64_t *before) {
  pare__call *call = a->call;
  *before = pare__call_has(call, past) ? call->input[past]->shape.dim[2] : 0;
  if (!pare__call_has(call, length)) {
    PARE__TRY(extend(call, past, 1, &a->key));
    return extend(call, past + 1, 2, &a->value);
  }
  PARE__TRY(pare__call_int(call, length, before));
  PARE__TRY(extend_in_place(call, past, 1, *before, &a->key));
  return extend_in_place(call, past + 1, 2, *before, &a->value);
}

/* Query, key and value; key and value may be packed into the query [batch, length, heads, 3, size] or the key
 * [batch, length, heads, 2, size]; those of another sequence may come with their heads apart. */
static pare_status take_heads(pare__attention *a, int64_t heads, unsigned bias_input) {
  pare__call *call = a->call;
  pare_tensor *bias, **part[3] = {&a->query, &a->key, &a->value};
  PARE__TRY(pare__call_tensor(call, bias_input, &bias));
  for (unsigned i = 0; i < 3; i++) PARE__TRY(pare__call_tensor(call, i, part[i]));
  if (call->node->op->detail && !a->key && !a->value) PARE__TRY(take_thirds(call, part));
  for (int i = 0; i < 2; i++) { /* query, then key: does it hold those after it? */
    pare_tensor *packed = *part[i];
    if (!packed || packed->shape.rank != 5) continue;
    if (packed->shape.dim[3] != 3 - i || bias)
      return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "input %d packs %lld parts%s; %d without a bias are possible",
                             i, (long long)packed->shape.dim[3], bias ? " and there is a bias" : "", 3 - i);
    for (int k = i; k < 3; k++) {
      PARE__TRY(pare__call_at(call, packed, 3, k - i, part[k]));
      PARE__TRY(pare__call_permuted(call, *part[k], (const int[]){0, 2, 1, 3}, part[k]));
    }
  }
  int64_t first = 0;
  for (int i = 0; i < 3; i++) {
    if (!*part[i]) return pare__call_fail(call, PARE_ERR_FORMAT, "input %d is left out", i);
    if ((*part[i])->shape.rank != 3) continue;
    const int64_t size = (*part[i])->shape.dim[2];
    PARE__TRY(add_bias(call, bias, first, part[i]));
    first += size;
    PARE__TRY(pare__heads_of(call, *part[i], heads, part[i]));
  }
  return PARE_OK;
}

static pare_status multi_head_attention(pare__call *call) {
  const bool masked = call->node->op->detail != 0; /* DecoderMaskedMultiHeadAttention, whose bias is the last input */
  const unsigned bias = masked ? 10 : 3, mask = masked ? 3 : 4, added = mask + 1, past = added + 1, length = past + 2;
  int64_t before = 0;
  PARE__TRY(pare__call_check(call, 1, masked ? 11 : 10));
  if (pare__call_wants(call, 3) || pare__call_has(call, 9))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED,
                           "its scores are wanted (output 3), or its past is that of "
                           "several beams (cache_indirection)");
  pare__attention a = {.call = call, .scale = pare__call_get_float(call, "scale", 0)};
  PARE__TRY(take_heads(&a, pare__call_get_int(call, "num_heads", 0), bias));
  PARE__TRY(extend_past(&a, past, length, &before));
  return run_runtime_attention(&a, mask, added, before);
}

/* ---- what the attention pass makes ---- */

/* The shape that two broadcast to, aligned at the right; what does not fit is told by who uses it. */
static void broadcast_shape(const pare__shape *a, const pare__shape *b, int *rank, int64_t *dim) {
  *rank = PARE__MAX(a->rank, b->rank);
  for (int d = 0; d < *rank; d++) {
    const int in_a = d - (*rank - a->rank), in_b = d - (*rank - b->rank);
    const int64_t left = in_a < 0 ? 1 : a->dim[in_a];
    dim[d] = left == 1 && in_b >= 0 ? b->dim[in_b] : left;
  }
}

/* *scores = softmax of what the mask leaves of it; the mask may have dimensions that the scores lack. */
static pare_status masked_softmax(pare__call *call, pare_tensor *mask, pare_tensor **scores) {
  if (!mask) return pare_softmax(*scores, -1, *scores);
  int rank;
  int64_t dim[PARE_MAX_RANK];
  if (mask->dtype == PARE_BOOL && pare__call_get_int(call, "inverted", 0) != 0) {
    pare_tensor *kept;
    PARE__TRY(pare__call_scratch(call, PARE_BOOL, mask->shape.rank, mask->shape.dim, &kept));
    PARE__TRY(pare_unary(PARE_UNARY_not, mask, kept));
    mask = kept;
  }
  pare_tensor *out = *scores, *wide;
  broadcast_shape(&(*scores)->shape, &mask->shape, &rank, dim);
  PARE__TRY(pare__call_broadcast(call, *scores, rank, dim, &wide));
  if (pare__shape_elements(&wide->shape) != pare__shape_elements(&(*scores)->shape) || rank != (*scores)->shape.rank)
    PARE__TRY(pare__call_scratch(call, (*scores)->dtype, rank, dim, &out));
  *scores = out;
  return pare_masked_softmax(wide, mask, pare__call_get_float(call, "least", 0), out);
}

/* NaN becomes 0, as after a softmax of nothing but -infinity. */
static pare_status guard(pare__call *call, pare_tensor *weights) {
  pare_tensor *is_nan, *zero;
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, weights->shape.rank, weights->shape.dim, &is_nan));
  PARE__TRY(pare_unary(PARE_UNARY_isnan, weights, is_nan));
  PARE__TRY(pare__call_scalar(call, weights->dtype, 0, &zero));
  return pare_ternary(PARE_TERNARY_where, is_nan, zero, weights, weights);
}

/* Queries [..., L, D], keys [..., D, S] (transposed) or [..., S, D], values [..., S, E], a mask that broadcasts to
 * [..., L, S]: added, or of bool. */
static pare_status plain_attention(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 4));
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.alpha = pare__call_get_float(call, "scale", 1);
  pare_tensor *query, *key, *value, *mask, *scores, *out;
  PARE__TRY(pare__call_tensor(call, 0, &query));
  PARE__TRY(pare__call_tensor(call, 1, &key));
  PARE__TRY(pare__call_tensor(call, 2, &value));
  PARE__TRY(pare__call_tensor(call, 3, &mask));
  if (pare__call_get_int(call, "transposed", 1) == 0 && key->shape.rank > 1) {
    int axes[PARE_MAX_RANK];
    for (int d = 0; d < key->shape.rank; d++) axes[d] = d;
    axes[key->shape.rank - 2]++;
    axes[key->shape.rank - 1]--;
    PARE__TRY(pare__call_permuted(call, key, axes, &key));
  }
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &query->shape, &key->shape, &rank, dim));
  PARE__TRY(pare__call_scratch(call, query->dtype, rank, dim, &scores));
  PARE__TRY(pare_gemm(query, key, NULL, &options, scores));
  PARE__TRY(masked_softmax(call, mask, &scores));
  if (pare__call_get_int(call, "guarded", 0) != 0) PARE__TRY(guard(call, scores));
  PARE__TRY(pare__call_product_shape(call, &scores->shape, &value->shape, &rank, dim));
  PARE__TRY(pare__call_output(call, 0, query->dtype, rank, dim, &out));
  return pare_gemm(scores, value, NULL, NULL, out);
}

#define MICROSOFT(op, function, prepare) \
  { "com.microsoft", op, 1, 0, PARE__ON_DEVICE, function, NULL, prepare, .types = "floats" }
const pare__operator pare__operators_attention[] = {
    {"", "Attention", 23, 0, PARE__ON_DEVICE, attention, NULL, .types = "floats"},
    MICROSOFT("Attention", runtime_attention, runtime_attention_prepare),
    {"com.microsoft", "QAttention", 1, 0, PARE__ON_DEVICE, quantised_attention, NULL, .types = "u8, i8"},
    MICROSOFT("MultiHeadAttention", multi_head_attention, NULL),
    {"com.microsoft", "DecoderMaskedMultiHeadAttention", 1, 0, PARE__ON_DEVICE, multi_head_attention, NULL, .detail = 1,
     .types = "floats"},
    {"pare", "Attention", 1, 0, PARE__ON_DEVICE, plain_attention, NULL, .types = "floats"},
    {0},
};
