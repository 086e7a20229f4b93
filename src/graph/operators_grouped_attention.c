/* com.microsoft GroupQueryAttention and SparseAttention: attention with caches of keys and values, as language models
 * export it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Queries are more heads than keys and values (Ainslie et al. 2023). The caches end with the new keys, or are as long
 * as they will ever be and the new keys are written behind those that count; how many count, each element of the batch
 * says. Caches may hold integers of 8 or 4 bits, or floats of 8: the new keys are quantised like those before, and
 * attention sees what the cache then holds. */
#include <float.h>
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/attention.h"
#include "graph/compose.h"
#include "graph/operator_tables.h"

/* Inputs */
enum { QUERY, KEY, VALUE, PAST_KEY, PAST_VALUE, LAST_INDEX, TOTAL, COSINES, SINES, POSITIONS, BIAS, SINK };
enum { KEY_SCALE = SINK + 1, VALUE_SCALE, QUERY_NORM, KEY_NORM, NINPUTS };
/* Those of SparseAttention that stand elsewhere */
enum { BLOCK_ROWS = PAST_VALUE + 1, BLOCK_COLUMNS, SPARSE_TOTAL, SPARSE_LENGTH, SPARSE_COSINES, SPARSE_SINES };
enum { NSPARSE_INPUTS = SPARSE_SINES + 1 };

typedef struct grouped {
  pare__attention a;
  unsigned length, cosines, positions; /* inputs; sines come after cosines; no positions: UINT32_MAX */
  int64_t beyond;                      /* how much the length is below the number of keys that count */
  int64_t heads, kv_heads, total;      /* total: keys, those of the past included */
  pare_tensor *first;                  /* i64 [batch, 1]: the position of the first query */
} grouped;

static pare_status check_plain(const pare__call *call) {
  if (pare__call_get_int(call, "sliding_window_cache", 0) != 0)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED,
                           "its cache holds a window (sliding_window_cache); only caches of all keys are possible");
  if (pare__call_wants(call, 3))
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its scores are wanted (output 3); they are not given");
  if (pare__call_get_int(call, "causal", 1) == 0 && pare__call_get_int(call, "local_window_size", -1) > 0)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "local_window_size without causal attention");
  return PARE_OK;
}

/* Queries, keys and values with their heads apart; all three may be packed into the first. */
static pare_status take_heads(grouped *g) {
  pare__call *call = g->a.call;
  pare_tensor **part[3] = {&g->a.query, &g->a.key, &g->a.value};
  const int64_t heads[3] = {g->heads, g->kv_heads, g->kv_heads};
  for (unsigned i = 0; i < 3; i++) PARE__TRY(pare__call_tensor(call, i, part[i]));
  const pare__shape *shape = &g->a.query->shape;
  const int64_t all = g->heads + 2 * g->kv_heads;
  const bool packed = !g->a.key && !g->a.value;
  if (g->heads < 1 || g->kv_heads < 1 || shape->rank != 3 || (!packed && (!g->a.key || !g->a.value)) ||
      (packed && shape->dim[2] % all != 0))
    return pare__call_fail(call, PARE_ERR_SHAPE, "queries of rank %d for %lld heads of %lld keys", shape->rank,
                           (long long)g->heads, (long long)g->kv_heads);
  const int64_t size = packed ? shape->dim[2] / all : 0;
  pare_tensor *whole = g->a.query;
  for (int64_t i = 0, from = 0; i < 3; from += heads[i++] * size) {
    if (packed) PARE__TRY(pare__call_slice(call, whole, 2, from, heads[i] * size, 1, part[i]));
    PARE__TRY(pare__heads_of(call, *part[i], heads[i], part[i]));
  }
  return PARE_OK;
}

/* The number of keys that count less the queries: where the first of them stands. */
static pare_status find_first(grouped *g) {
  pare__call *call = g->a.call;
  const int64_t *query = g->a.query->shape.dim, dim[2] = {query[0], 1};
  pare_tensor *last, *shift, *zero;
  PARE__TRY(pare__call_tensor(call, g->length, &last));
  if (pare__shape_elements(&last->shape) != query[0])
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld lengths for a batch of %lld",
                           (long long)pare__shape_elements(&last->shape), (long long)query[0]);
  PARE__TRY(pare__call_cast(call, last, PARE_I64, &last));
  PARE__TRY(pare__call_reshaped(call, last, 2, dim, &last));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)(g->beyond - query[2]), &shift));
  PARE__TRY(pare__call_scalar(call, PARE_I64, 0, &zero));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, dim, &g->first));
  PARE__TRY(pare_binary(PARE_BINARY_add, last, shift, g->first));
  return pare_binary(PARE_BINARY_max, g->first, zero, g->first); /* a prompt that is padded */
}

/* *heads = *heads / the root of the mean of their squares, if there are weights for it. */
static pare_status normalise(const grouped *g, unsigned i, pare_tensor **heads) {
  pare__call *call = g->a.call;
  pare_tensor *weights, *out;
  PARE__TRY(pare__call_tensor(call, i, &weights));
  if (!weights) return PARE_OK;
  PARE__TRY(pare__call_scratch(call, (*heads)->dtype, 4, (*heads)->shape.dim, &out));
  PARE__TRY(pare_rms_norm(*heads, 3, weights, pare__call_get_float(call, "qk_norm_epsilon", 1e-6), out));
  *heads = out;
  return PARE_OK;
}

static pare_status turn(const grouped *g, pare_tensor **heads) {
  pare__call *call = g->a.call;
  pare_tensor *cosines, *sines, *range, *positions, *x, *turned, *out;
  PARE__TRY(pare__call_tensor(call, g->cosines, &cosines));
  PARE__TRY(pare__call_tensor(call, g->cosines + 1, &sines));
  const int64_t *dim = (*heads)->shape.dim, places[2] = {dim[0], dim[2]};
  if (!cosines || !sines || cosines->shape.rank != 2 || 2 * cosines->shape.dim[1] > dim[3])
    return pare__call_fail(call, PARE_ERR_SHAPE, "do_rotary without caches of cosines and sines that fit heads of %lld",
                           (long long)dim[3]);
  PARE__TRY(pare__call_tensor(call, g->positions, &positions));
  if (!positions) {
    PARE__TRY(pare__call_range(call, PARE_I64, dim[2], 2, 1, &range));
    PARE__TRY(pare__call_scratch(call, PARE_I64, 2, places, &positions));
    PARE__TRY(pare_binary(PARE_BINARY_add, g->first, range, positions));
  }
  PARE__TRY(pare__call_scratch(call, (*heads)->dtype, 4, dim, &turned));
  PARE__TRY(pare__call_permuted(call, *heads, (const int[]){0, 2, 1, 3}, &x));
  PARE__TRY(pare__call_permuted(call, turned, (const int[]){0, 2, 1, 3}, &out));
  PARE__TRY(pare__rotate(call, x, cosines, sines, positions, pare__call_get_int(call, "rotary_interleaved", 0) != 0,
                         cosines->shape.dim[1], out));
  *heads = turned;
  return PARE_OK;
}

/* ---- caches of small numbers ---- */

/* How a cache holds its elements. */
typedef struct storing {
  pare_dtype dtype, floats; /* in the cache; of queries and new keys */
  bool halves;              /* two elements a byte, the first in its low bits, 8 added to each */
  double low, high;         /* of the integers */
  pare_tensor *scale;       /* f32 [1, heads or 1, 1, size or 1]; NULL: elements are stored as they are */
} storing;

static pare_status read_storing(pare__call *call, unsigned past, unsigned scale, const char *attribute,
                                const pare_tensor *now, storing *out) {
  const int64_t bits = pare__call_get_int(call, "kv_cache_bit_width", 8), *dim = now->shape.dim;
  pare_tensor *before;
  *out = (storing){.dtype = now->dtype, .floats = now->dtype};
  PARE__TRY(pare__call_tensor(call, past, &before));
  if (pare__call_text_is(call, attribute, "NONE", "NONE")) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, scale, &out->scale));
  if (!before || !out->scale || out->scale->dtype != PARE_F32)
    return pare__call_fail(call, PARE_ERR_FORMAT,
                           "%s is not NONE: inputs %u, a cache, and %u, its scale of f32, are "
                           "needed",
                           attribute, past, scale);
  out->dtype = before->dtype;
  out->halves = before->dtype == PARE_U8 && bits == 4;
  if (!out->halves && before->dtype != PARE_I8 && before->dtype != PARE_F8E4M3FN)
    return pare__call_fail(call, PARE_ERR_TYPE,
                           "a cache of %s with %lld bits; i8, u8 with 4 bits and f8e4m3fn are "
                           "possible",
                           pare_dtype_name(before->dtype), (long long)bits);
  out->low = out->halves ? -8 : -128;
  out->high = out->halves ? 7 : 127;
  const int64_t count = pare__shape_elements(&out->scale->shape), channels[4] = {1, dim[1], 1, dim[3]};
  if (count != 1 && count != dim[1] * dim[3])
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld scales for %lld heads of %lld elements", (long long)count,
                           (long long)dim[1], (long long)dim[3]);
  return pare__call_reshaped(call, out->scale, 4, count == 1 ? (const int64_t[]){1, 1, 1, 1} : channels, &out->scale);
}

/* Pairs of integers [..., size] as bytes [..., size / 2]. */
static pare_status join_halves(pare__call *call, pare_tensor *numbers, pare_tensor **out) {
  int64_t dim[4];
  pare_tensor *low, *high, *sum;
  memcpy(dim, numbers->shape.dim, sizeof dim);
  if (dim[3] % 2 != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "heads of %lld elements, two a byte", (long long)dim[3]);
  dim[3] /= 2;
  PARE__TRY(pare__call_slice(call, numbers, 3, 0, dim[3], 2, &low));
  PARE__TRY(pare__call_slice(call, numbers, 3, 1, dim[3], 2, &high));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 4, dim, &sum));
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, 16, 16 * 8 + 8, high, sum));
  PARE__TRY(pare_binary(PARE_BINARY_add, low, sum, sum));
  return pare__call_cast(call, sum, PARE_U8, out);
}

/* The reverse, as f32. */
static pare_status split_halves(pare__call *call, pare_tensor *bytes, pare_tensor **out) {
  static const pare_binary_operation operation[2] = {PARE_BINARY_bitwise_and, PARE_BINARY_shift_right};
  static const double operand[2] = {15, 4};
  int64_t dim[4];
  pare_tensor *half, *number, *place, *constant;
  memcpy(dim, bytes->shape.dim, sizeof dim);
  PARE__TRY(pare__call_scratch(call, PARE_U8, 4, dim, &half));
  dim[3] *= 2;
  PARE__TRY(pare__call_scratch(call, PARE_F32, 4, dim, out));
  for (int i = 0; i < 2; i++) {
    PARE__TRY(pare__call_scalar(call, PARE_U8, operand[i], &constant));
    PARE__TRY(pare_binary(operation[i], bytes, constant, half));
    PARE__TRY(pare__call_cast(call, half, PARE_F32, &number));
    PARE__TRY(pare__call_slice(call, *out, 3, i, bytes->shape.dim[3], 2, &place));
    PARE__TRY(pare_unary_with(PARE_UNARY_affine, 1, -8, number, place));
  }
  return PARE_OK;
}

static pare_status store(pare__call *call, const storing *how, pare_tensor **now) {
  if (!how->scale) return PARE_OK;
  pare_tensor *wide, *numbers;
  PARE__TRY(pare__call_cast(call, *now, PARE_F32, &wide));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 4, wide->shape.dim, &numbers));
  PARE__TRY(pare_binary(PARE_BINARY_div, wide, how->scale, numbers));
  if (how->dtype != PARE_F8E4M3FN) {
    PARE__TRY(pare_unary(PARE_UNARY_round, numbers, numbers));
    PARE__TRY(pare_unary_with(PARE_UNARY_clip, how->low, how->high, numbers, numbers));
  }
  return how->halves ? join_halves(call, numbers, now) : pare__call_cast(call, numbers, how->dtype, now);
}

static pare_status restore(pare__call *call, const storing *how, pare_tensor **all) {
  if (!how->scale) return PARE_OK;
  pare_tensor *numbers, *wide;
  PARE__TRY(how->halves ? split_halves(call, *all, &numbers) : pare__call_cast(call, *all, PARE_F32, &numbers));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 4, numbers->shape.dim, &wide));
  PARE__TRY(pare_binary(PARE_BINARY_mul, numbers, how->scale, wide));
  return pare__call_cast(call, wide, how->floats, all);
}

/* Output i: the past with *now written where it belongs, which becomes the result. */
static pare_status extend(const grouped *g, unsigned past, unsigned i, unsigned scale, const char *attribute,
                          pare_tensor **now) {
  pare__call *call = g->a.call;
  storing how;
  PARE__TRY(read_storing(call, past, scale, attribute, *now, &how));
  PARE__TRY(store(call, &how, now));
  pare_tensor *before, *base, *zero, *range, *place, *index, *all;
  PARE__TRY(pare__call_tensor(call, past, &before));
  int64_t dim[4], after[4] = {0};
  memcpy(dim, (*now)->shape.dim, sizeof dim);
  if (before && (before->shape.rank != 4 || before->shape.dim[1] != dim[1] || before->shape.dim[3] != dim[3]))
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u of rank %d does not fit %lld heads of %lld elements", past,
                           before->shape.rank, (long long)dim[1], (long long)dim[3]);
  const int64_t had = before ? before->shape.dim[2] : 0;
  dim[2] = PARE__MAX(had, g->total);
  PARE__TRY(pare__call_output(call, i, (*now)->dtype, 4, dim, &all));
  PARE__TRY(pare__call_scratch(call, (*now)->dtype, 4, dim, &base));
  after[2] = dim[2] - had;
  PARE__TRY(pare__call_scalar(call, (*now)->dtype, 0, &zero));
  PARE__TRY(had > 0 ? pare_pad(before, NULL, after, PARE_PAD_CONSTANT, NULL, base) : pare_copy(zero, base));
  const int64_t *fresh = (*now)->shape.dim, places[4] = {dim[0], 1, fresh[2], 1};
  PARE__TRY(pare__call_range(call, PARE_I64, fresh[2], 4, 2, &range));
  PARE__TRY(pare__call_reshaped(call, g->first, 4, (const int64_t[]){dim[0], 1, 1, 1}, &place));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 4, places, &index));
  PARE__TRY(pare_binary(PARE_BINARY_add, place, range, index));
  PARE__TRY(pare__call_broadcast(call, index, 4, fresh, &index));
  PARE__TRY(pare_scatter_elements(base, index, *now, 2, PARE_SCATTER_NONE, all));
  *now = all;
  return restore(call, &how, now);
}

/* Of the cache, what counts. */
static pare_status hide_rest(grouped *g) {
  pare__call *call = g->a.call;
  pare_tensor *last, *one, *length;
  PARE__TRY(pare__call_tensor(call, LAST_INDEX, &last));
  PARE__TRY(pare__call_cast(call, last, PARE_I64, &last));
  PARE__TRY(pare__call_scalar(call, PARE_I64, 1, &one));
  PARE__TRY(pare__call_scratch(call, PARE_I64, last->shape.rank, last->shape.dim, &length));
  PARE__TRY(pare_binary(PARE_BINARY_add, last, one, length));
  return pare__attention_lengths(&g->a, length, -(double)FLT_MAX);
}

/* A window as wide as the last local_window_size keys, -1: all; what is added to the scores; softmax, with a sink or
 * without. */
static pare_status weigh(grouped *g) {
  pare__call *call = g->a.call;
  const int64_t window = pare__call_get_int(call, "local_window_size", -1);
  pare_tensor *offset, *bias, *sink;
  PARE__TRY(pare__call_tensor(call, BIAS, &bias));
  PARE__TRY(pare__call_tensor(call, SINK, &sink));
  PARE__TRY(pare__call_reshaped(call, g->first, 4, (const int64_t[]){g->a.batch, 1, 1, 1}, &offset));
  if (bias) PARE__TRY(pare__attention_mask(&g->a, bias, 0));
  if (pare__call_get_int(call, "causal", 1) != 0)
    PARE__TRY(pare__attention_window(&g->a, offset, window < 1 ? -1 : window - 1, 0, -(double)FLT_MAX));
  else
    PARE__TRY(hide_rest(g));
  if (!sink && pare__call_get_int(call, "smooth_softmax", 0) > 0)
    PARE__TRY(pare__call_scalar(call, PARE_F32, 0, &sink));
  return sink ? pare__attention_softmax_with(&g->a, sink) : pare__attention_softmax(&g->a);
}

/* Turns queries and keys, puts keys and values into their caches, and scores all of them. */
static pare_status score_keys(grouped *g) {
  pare__call *call = g->a.call;
  if (pare__call_get_int(call, "do_rotary", 0) != 0) {
    PARE__TRY(turn(g, &g->a.query));
    PARE__TRY(turn(g, &g->a.key));
  }
  if (g->total < g->a.key->shape.dim[2])
    return pare__call_fail(call, PARE_ERR_SHAPE, "total_sequence_length is %lld, and there are %lld new keys",
                           (long long)g->total, (long long)g->a.key->shape.dim[2]);
  PARE__TRY(extend(g, PAST_KEY, 1, KEY_SCALE, "k_quant_type", &g->a.key));
  PARE__TRY(extend(g, PAST_VALUE, 2, VALUE_SCALE, "v_quant_type", &g->a.value));
  PARE__TRY(pare__attention_begin(&g->a));
  return pare__attention_scores(&g->a);
}

/* Output 0 [batch, queries, heads * size] */
static pare_status give_values(grouped *g) {
  const pare__attention *a = &g->a;
  const int64_t dim[3] = {a->batch, a->queries, a->heads * a->value_size};
  pare_tensor *out;
  PARE__TRY(pare__call_output(a->call, 0, a->dtype, 3, dim, &out));
  PARE__TRY(pare__heads_of(a->call, out, a->heads, &out));
  return pare__attention_values(&g->a, out);
}

static pare_status group_query_attention(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, NINPUTS));
  PARE__TRY(check_plain(call));
  if (!pare__call_has(call, LAST_INDEX) || !pare__call_has(call, TOTAL))
    return pare__call_fail(call, PARE_ERR_FORMAT, "seqlens_k or total_sequence_length is left out");
  grouped g = {.a = {.call = call,
                     .scale = pare__call_get_float(call, "scale", 0),
                     .softcap = pare__call_get_float(call, "softcap", 0)},
               .length = LAST_INDEX,
               .cosines = COSINES,
               .positions = POSITIONS,
               .beyond = 1,
               .heads = pare__call_get_int(call, "num_heads", 0),
               .kv_heads = pare__call_get_int(call, "kv_num_heads", 0)};
  PARE__TRY(pare__call_int(call, TOTAL, &g.total));
  PARE__TRY(take_heads(&g));
  PARE__TRY(find_first(&g));
  PARE__TRY(normalise(&g, QUERY_NORM, &g.a.query));
  PARE__TRY(normalise(&g, KEY_NORM, &g.a.key));
  PARE__TRY(score_keys(&g));
  PARE__TRY(pare__attention_softcap(&g.a));
  PARE__TRY(weigh(&g));
  return give_values(&g);
}

/* ---- SparseAttention ---- */

/* *out (i64 [layouts, entries]) = which row of blocks each entry belongs to; those after the last row's, the row after
 * it. rows [layouts, blocks + 1] tells where each begins. */
static pare_status rows_of_entries(pare__call *call, pare_tensor *rows, int64_t entries, pare_tensor **out) {
  const int64_t layouts = rows->shape.dim[0], blocks = rows->shape.dim[1] - 1, all[3] = {layouts, blocks, entries};
  const int axis = 1;
  pare_tensor *ends, *entry, *begun, *counted;
  PARE__TRY(pare__call_slice(call, rows, 1, 1, blocks, 1, &ends));
  PARE__TRY(pare__call_reshaped(call, ends, 3, (const int64_t[]){layouts, blocks, 1}, &ends));
  PARE__TRY(pare__call_range(call, PARE_I32, entries, 3, 2, &entry));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, all, &begun));
  PARE__TRY(pare_binary(PARE_BINARY_greater_equal, entry, ends, begun));
  PARE__TRY(pare__call_cast(call, begun, PARE_U8, &counted));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, (const int64_t[]){layouts, entries}, out));
  return pare_reduce(counted, PARE_REDUCTION_SUM, &axis, 1, false, *out);
}

/* *out (bool [layouts, blocks + 1, blocks + 1]) = which blocks of keys each block of queries attends to. What fills the
 * lists up behind their ends is written to the last row or column, which nobody reads. */
static pare_status spread_blocks(pare__call *call, pare_tensor **out) {
  pare_tensor *rows, *columns, *row, *column, *none, *is_none, *last, *side, *no, *nothing, *yes, *marks;
  PARE__TRY(pare__call_tensor(call, BLOCK_ROWS, &rows));
  PARE__TRY(pare__call_tensor(call, BLOCK_COLUMNS, &columns));
  if (rows->shape.rank != 2 || columns->shape.rank != 2 || rows->shape.dim[0] != columns->shape.dim[0] ||
      rows->shape.dim[1] < 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "block_row_indices and block_col_indices are not of as many layouts");
  const int64_t layouts = rows->shape.dim[0], blocks = rows->shape.dim[1], *list = columns->shape.dim;
  const int64_t flat[2] = {layouts, blocks * blocks}, dim[3] = {layouts, blocks, blocks};
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, flat, out));
  PARE__TRY(pare__call_scalar(call, PARE_BOOL, 0, &no));
  PARE__TRY(pare__call_broadcast(call, no, 2, flat, &nothing));
  PARE__TRY(pare__call_cast(call, rows, PARE_I32, &rows));
  PARE__TRY(pare__call_cast(call, columns, PARE_I64, &columns));
  PARE__TRY(rows_of_entries(call, rows, list[1], &row));
  PARE__TRY(pare__call_scalar(call, PARE_I64, 0, &none));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)(blocks - 1), &last));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)blocks, &side));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, list, &is_none));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, list, &column));
  PARE__TRY(pare_binary(PARE_BINARY_less, columns, none, is_none));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, is_none, last, columns, column));
  PARE__TRY(pare_binary(PARE_BINARY_mul, row, side, row));
  PARE__TRY(pare_binary(PARE_BINARY_add, row, column, column));
  PARE__TRY(pare__call_scalar(call, PARE_BOOL, 1, &yes));
  PARE__TRY(pare__call_broadcast(call, yes, 2, list, &marks));
  PARE__TRY(pare_scatter_elements(nothing, column, marks, 1, PARE_SCATTER_NONE, *out));
  return pare__call_reshaped(call, *out, 3, dim, out);
}

/* *out [count] = i / each, or i % each where `cyclic`, for i from 0. */
static pare_status in_groups(pare__call *call, int64_t count, int64_t each, bool cyclic, pare_tensor **out) {
  pare_tensor *range, *divisor;
  PARE__TRY(pare__call_range(call, PARE_I64, count, 1, 0, &range));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)each, &divisor));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 1, &count, out));
  return pare_binary(cyclic ? PARE_BINARY_mod : PARE_BINARY_div, range, divisor, *out);
}

/* Scores of keys in blocks that a query's block does not attend to become the lowest. Heads take the layouts in turns.
 */
static pare_status mask_blocks(grouped *g) {
  pare__attention *a = &g->a;
  pare__call *call = a->call;
  const int64_t size = pare__call_get_int(call, "sparse_block_size", 0);
  pare_tensor *blocks, *layout, *some, *range, *place, *divisor, *row, *column, *kept;
  PARE__TRY(spread_blocks(call, &blocks));
  const int64_t layouts = blocks->shape.dim[0], side = blocks->shape.dim[1];
  if (size < 1 || layouts < 1 || a->heads % layouts != 0 || (side - 1) * size < g->total)
    return pare__call_fail(
        call, PARE_ERR_SHAPE, "%lld layouts of %lld blocks of %lld do not fit %lld heads and %lld keys",
        (long long)layouts, (long long)side - 1, (long long)size, (long long)a->heads, (long long)g->total);
  PARE__TRY(in_groups(call, a->heads, layouts, true, &layout));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, (const int64_t[]){a->heads, side, side}, &some));
  PARE__TRY(pare_gather(blocks, layout, 0, some));
  PARE__TRY(pare__call_range(call, PARE_I64, a->queries, 2, 1, &range));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)size, &divisor));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, (const int64_t[]){a->batch, a->queries}, &place));
  PARE__TRY(pare_binary(PARE_BINARY_add, g->first, range, place));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, place->shape.dim, &row));
  PARE__TRY(pare_binary(PARE_BINARY_div, place, divisor, row));
  PARE__TRY(in_groups(call, g->total, size, false, &column));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 4, (const int64_t[]){a->heads, a->batch, a->queries, side}, &blocks));
  PARE__TRY(pare_gather(some, row, 1, blocks));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 4, (const int64_t[]){a->heads, a->batch, a->queries, g->total}, &kept));
  PARE__TRY(pare_gather(blocks, column, 3, kept));
  PARE__TRY(pare__call_permuted(call, kept, (const int[]){1, 0, 2, 3}, &kept));
  return pare__attention_mask(a, kept, -(double)FLT_MAX);
}

static pare_status sparse_attention(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, NSPARSE_INPUTS));
  for (unsigned i = PAST_KEY; i <= SPARSE_LENGTH; i++)
    if (!pare__call_has(call, i)) return pare__call_fail(call, PARE_ERR_FORMAT, "input %u is left out", i);
  grouped g = {.a = {.call = call, .scale = pare__call_get_float(call, "scale", 0)},
               .length = SPARSE_LENGTH,
               .cosines = SPARSE_COSINES,
               .positions = UINT32_MAX,
               .heads = pare__call_get_int(call, "num_heads", 0),
               .kv_heads = pare__call_get_int(call, "kv_num_heads", 0)};
  pare_tensor *offset;
  PARE__TRY(pare__call_int(call, SPARSE_TOTAL, &g.total));
  PARE__TRY(take_heads(&g));
  PARE__TRY(find_first(&g));
  PARE__TRY(score_keys(&g));
  /* The caches are longer than what counts of them. */
  PARE__TRY(mask_blocks(&g));
  PARE__TRY(pare__call_reshaped(call, g.first, 4, (const int64_t[]){g.a.batch, 1, 1, 1}, &offset));
  PARE__TRY(pare__attention_window(&g.a, offset, -1, 0, -(double)FLT_MAX));
  PARE__TRY(pare__attention_softmax(&g.a));
  return give_values(&g);
}

const pare__operator pare__operators_grouped_attention[] = {
    {"com.microsoft", "GroupQueryAttention", 1, 0, PARE__ON_DEVICE, group_query_attention, NULL,
     .types = "floats, caches also of 8 and 4 bits"},
    {"com.microsoft", "SparseAttention", 1, 0, PARE__ON_DEVICE, sparse_attention, NULL, .types = "floats"},
    {0},
};
