/* Positions of tokens: RelativePositionBias and GatedRelativePositionBias, and embeddings that rotate by more than one
 * position or by given angles. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/reduce.h>
#include <stdlib.h>
#include <string.h>

#include "graph/attention.h"
#include "graph/compose.h"
#include "graph/operator_tables.h"

/* ---- RelativePositionBias ---- */

/* The bucket of a key so far behind its query (Raffel et al. 2020): near ones have one each, of the others each is a
 * step of the logarithm. In f32, as models are trained, so that borders fall where they did. */
static int64_t bucket_of(int64_t behind, int64_t buckets, int64_t max_distance, bool bidirectional) {
  const int64_t side = bidirectional ? buckets / 2 : buckets, exact = side / 2;
  const int64_t first = bidirectional && behind > 0 ? side : 0, distance = behind < 0 ? -behind : behind;
  if (distance < exact) return first + distance;
  const float part = logf((float)distance / (float)exact) / logf((float)max_distance / (float)exact);
  const float step = part * (float)(side - exact);
  const int64_t far = step < (float)side ? exact + (int64_t)step : side; /* of infinity there is no integer */
  return first + PARE__MIN(far, side - 1);
}

/* *out (i64 [2 length - 1]) = the buckets of keys from length - 1 before their query to as many behind it. */
static pare_status list_buckets(pare__call *call, int64_t length, int64_t buckets, pare_tensor **out) {
  const int64_t max_distance = pare__call_get_int(call, "max_distance", 0), count = 2 * length - 1;
  const bool bidirectional = pare__call_get_int(call, "is_bidirectional", 0) != 0;
  const int64_t exact = (bidirectional ? buckets / 2 : buckets) / 2;
  *out = NULL;
  if (exact < 1 || max_distance <= exact)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "max_distance %lld does not fit %lld buckets",
                           (long long)max_distance, (long long)buckets);
  int64_t *data = malloc((size_t)count * sizeof *data);
  if (!data) return pare__fail_memory("buckets", (size_t)count * sizeof *data);
  for (int64_t i = 0; i < count; i++) data[i] = bucket_of(i - (length - 1), buckets, max_distance, bidirectional);
  const pare_status status = pare__call_constant(call, PARE_I64, 1, &count, data, out);
  free(data);
  return status;
}

/* The table is [buckets, heads] by its shape, and its elements lie column after column. */
static pare_status relative_position_bias(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_takes(call, 0));
  pare_tensor *table, *buckets, *rows, *query, *key, *place, *by_distance, *out;
  int64_t length, keys;
  PARE__TRY(pare__call_tensor(call, 0, &table));
  PARE__TRY(pare__call_int(call, 1, &length));
  PARE__TRY(pare__call_int(call, 2, &keys));
  if (table->shape.rank != 2 || length < 1 || length > INT32_MAX / 2 || keys != length)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "a table of rank %d, %lld queries and %lld keys; rank 2 and as many of both are needed",
                           table->shape.rank, (long long)length, (long long)keys);
  const int64_t heads = table->shape.dim[1], columns[2] = {heads, table->shape.dim[0]};
  const int64_t distances[2] = {heads, 2 * length - 1}, dim[4] = {1, heads, length, length};
  PARE__TRY(list_buckets(call, length, columns[1], &buckets));
  PARE__TRY(pare__call_reshaped(call, table, 2, columns, &rows));
  PARE__TRY(pare__call_scratch(call, table->dtype, 2, distances, &by_distance));
  PARE__TRY(pare_gather(rows, buckets, 1, by_distance));
  PARE__TRY(pare__call_range(call, PARE_I64, length, 2, 0, &query));
  PARE__TRY(pare__call_range(call, PARE_I64, length, 2, 1, &key));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)(length - 1), &place));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, (const int64_t[]){1, length}, &buckets));
  PARE__TRY(pare_binary(PARE_BINARY_add, key, place, buckets));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, dim + 2, &place));
  PARE__TRY(pare_binary(PARE_BINARY_sub, buckets, query, place));
  PARE__TRY(pare__call_output(call, 0, table->dtype, 4, dim, &out));
  PARE__TRY(pare__call_reshaped(call, out, 3, dim + 1, &out));
  return pare_gather(by_distance, place, 1, out);
}

/* ---- GatedRelativePositionBias ---- */

/* Queries [batch, length, heads * size] with their bias, each head apart: [batch, heads, length, size]. They may be
 * packed tokens, whose places are input 6. */
static pare_status biased_queries(pare__call *call, pare_tensor **out) {
  pare_tensor *query, *bias, *sum;
  PARE__TRY(pare__call_tensor(call, 0, &query));
  PARE__TRY(pare__call_tensor(call, 1, &bias));
  if (pare__call_has(call, 6)) PARE__TRY(pare__call_unpack_tokens(call, query, 6, &query));
  if (query->shape.rank != 3)
    return pare__call_fail(call, PARE_ERR_SHAPE, "queries of rank %d; 3 is needed, or 2 of tokens with their offsets",
                           query->shape.rank);
  PARE__TRY(pare__call_scratch(call, query->dtype, 3, query->shape.dim, &sum));
  PARE__TRY(pare_binary(PARE_BINARY_add, query, bias, sum));
  return pare__heads_of(call, sum, pare__call_get_int(call, "num_heads", 0), out);
}

/* gate = u (r eco - 1) + 2 [batch, heads, length, 1]; u and r: the sigmoids of the sums of both halves of q w + b. */
static pare_status find_gate(pare__call *call, pare_tensor *query, pare_tensor **out) {
  const int64_t *dim = query->shape.dim;
  const int last = 4;
  pare_tensor *weights, *bias, *eco, *product, *gates, *half[2], *one, *two;
  PARE__TRY(pare__call_tensor(call, 3, &weights));
  PARE__TRY(pare__call_tensor(call, 4, &bias));
  PARE__TRY(pare__call_tensor(call, 5, &eco));
  if (weights->shape.rank != 2 || weights->shape.dim[0] != dim[3] || weights->shape.dim[1] % 2 != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "weights of rank %d do not have %lld rows and an even number of columns",
                           weights->shape.rank, (long long)dim[3]);
  const int64_t columns = weights->shape.dim[1];
  PARE__TRY(pare__call_scratch(call, query->dtype, 4, (const int64_t[]){dim[0], dim[1], dim[2], columns}, &product));
  PARE__TRY(pare_gemm(query, weights, bias, NULL, product));
  PARE__TRY(pare__call_reshaped(call, product, 5, (const int64_t[]){dim[0], dim[1], dim[2], 2, columns / 2}, &product));
  PARE__TRY(pare__call_scratch(call, query->dtype, 4, (const int64_t[]){dim[0], dim[1], dim[2], 2}, &gates));
  PARE__TRY(pare_reduce(product, PARE_REDUCTION_SUM, &last, 1, false, gates));
  PARE__TRY(pare_unary(PARE_UNARY_sigmoid, gates, gates));
  for (int i = 0; i < 2; i++) PARE__TRY(pare__call_slice(call, gates, 3, i, 1, 1, &half[i]));
  PARE__TRY(pare__call_scratch(call, query->dtype, 4, (const int64_t[]){dim[0], dim[1], dim[2], 1}, out));
  PARE__TRY(pare__call_scalar(call, query->dtype, 1, &one));
  PARE__TRY(pare__call_scalar(call, query->dtype, 2, &two));
  PARE__TRY(pare_binary(PARE_BINARY_mul, half[1], eco, *out));
  PARE__TRY(pare_binary(PARE_BINARY_sub, *out, one, *out));
  PARE__TRY(pare_binary(PARE_BINARY_mul, *out, half[0], *out));
  return pare_binary(PARE_BINARY_add, *out, two, *out);
}

/* The relative positions' bias times a gate for each query (Chi et al. 2022). */
static pare_status gated_relative_position_bias(pare__call *call) {
  PARE__TRY(pare__call_check(call, 6, 7));
  pare_tensor *query, *positions, *gate, *out;
  PARE__TRY(biased_queries(call, &query));
  PARE__TRY(find_gate(call, query, &gate));
  PARE__TRY(pare__call_tensor(call, 2, &positions));
  const int64_t *dim = query->shape.dim, all[4] = {dim[0], dim[1], dim[2], dim[2]};
  PARE__TRY(pare__call_output(call, 0, query->dtype, 4, all, &out));
  return pare_binary(PARE_BINARY_mul, gate, positions, out);
}

/* ---- MRotaryEmbedding ---- */

/* Tokens of images and films have three positions, of time, height and width; each has a section of the pairs. */
typedef struct sections {
  pare__call *call;
  int64_t length[3];
  bool interleaved; /* h, w and t in turns, the rest t; else one section after the other */
  int64_t pairs;
} sections;

static pare_status read_sections(sections *s) {
  pare__call *call = s->call;
  const int64_t layout = pare__call_get_int(call, "mrope_layout", 0);
  size_t count;
  PARE__TRY(pare__call_get_ints(call, "mrope_section", s->length, 3, &count));
  s->interleaved = layout == 1;
  bool fits = count == 3 && (layout == 0 || layout == 1);
  int64_t sum = 0;
  for (size_t i = 0; i < 3 && fits; i++) {
    fits = s->length[i] >= 0 && s->length[i] <= s->pairs;
    sum += s->length[i];
  }
  for (int i = 1; i < 3 && fits && s->interleaved; i++)
    fits = s->length[i] == 0 || i + 3 * (s->length[i] - 1) < s->pairs;
  if (fits && sum == s->pairs) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_ARGUMENT, "mrope_section or mrope_layout %lld do not fit %lld pairs",
                         (long long)layout, (long long)s->pairs);
}

/* Columns first, first + step, … of the cache at position k of every token. */
static pare_status take_section(const sections *s, pare_tensor *cache, int k, int64_t first, int64_t count,
                                int64_t step, pare_tensor *out) {
  pare__call *call = s->call;
  pare_tensor *positions, *from, *to;
  if (count == 0) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, 1, &positions));
  PARE__TRY(pare__call_at(call, positions, 0, k, &positions));
  PARE__TRY(pare__call_slice(call, cache, 1, first, count, step, &from));
  PARE__TRY(pare__call_slice(call, out, 2, first, count, step, &to));
  return pare_gather(from, positions, 0, to);
}

/* *out [batch, length, pairs] = what the cache, input i, has for each token. */
static pare_status join_sections(const sections *s, unsigned i, pare_tensor **out) {
  pare__call *call = s->call;
  const int64_t *positions = call->input[1]->shape.dim, dim[3] = {positions[1], positions[2], s->pairs};
  pare_tensor *cache;
  PARE__TRY(pare__call_tensor(call, i, &cache));
  if (cache->shape.rank != 2 || cache->shape.dim[1] != s->pairs)
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u, a cache of rank %d, does not have %lld columns", i,
                           cache->shape.rank, (long long)s->pairs);
  PARE__TRY(pare__call_scratch(call, cache->dtype, 3, dim, out));
  if (!s->interleaved) {
    for (int64_t k = 0, first = 0; k < 3; first += s->length[k++])
      PARE__TRY(take_section(s, cache, (int)k, first, s->length[k], 1, *out));
    return PARE_OK;
  }
  PARE__TRY(take_section(s, cache, 0, 0, s->pairs, 1, *out));
  for (int k = 1; k < 3; k++) PARE__TRY(take_section(s, cache, k, k, s->length[k], 3, *out));
  return PARE_OK;
}

/* x [batch, length, heads * size] or [batch, heads, length, size] as [batch, length, heads, size]. */
static pare_status turn_view(pare__call *call, int64_t heads, pare_tensor **x) {
  if ((*x)->shape.rank == 3) PARE__TRY(pare__heads_of(call, *x, heads, x));
  return pare__call_permuted(call, *x, (const int[]){0, 2, 1, 3}, x);
}

static pare_status m_rotary_embedding(pare__call *call) {
  PARE__TRY(pare__call_check(call, 4, 4));
  PARE__TRY(pare__call_takes(call, 0));
  sections s = {.call = call};
  pare_tensor *x, *cosine, *sine, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  const pare__shape *shape = &x->shape, *positions = &call->input[1]->shape, *cache = &call->input[2]->shape;
  const int64_t rotated = pare__call_get_int(call, "rotary_embedding_dim", 0);
  if ((shape->rank != 3 && shape->rank != 4) || positions->rank != 3 || positions->dim[0] != 3 || cache->rank != 2 ||
      positions->dim[1] != shape->dim[0] || positions->dim[2] != shape->dim[shape->rank - 2])
    return pare__call_fail(
        call, PARE_ERR_SHAPE,
        "ranks %d, %d and %d: [batch, length, hidden] or [batch, heads, length, size], positions [3, "
        "batch, length] and caches [rows, pairs] are needed",
        shape->rank, positions->rank, cache->rank);
  if (pare__call_get_float(call, "scale", 1) != 1)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "its scale is not 1");
  s.pairs = cache->dim[1];
  int64_t heads = pare__call_get_int(call, "num_heads", 0);
  if (heads == 0 && s.pairs > 0) heads = shape->dim[shape->rank - 1] / (2 * s.pairs);
  PARE__TRY(pare__call_output(call, 0, x->dtype, shape->rank, shape->dim, &out));
  PARE__TRY(turn_view(call, heads, &x));
  PARE__TRY(turn_view(call, heads, &out));
  if (2 * s.pairs > x->shape.dim[3] || 2 * s.pairs != (rotated ? rotated : x->shape.dim[3]))
    return pare__call_fail(call, PARE_ERR_SHAPE, "caches of %lld pairs do not fit heads of %lld elements, %lld rotated",
                           (long long)s.pairs, (long long)x->shape.dim[3], (long long)rotated);
  PARE__TRY(read_sections(&s));
  PARE__TRY(join_sections(&s, 2, &cosine));
  PARE__TRY(join_sections(&s, 3, &sine));
  return pare__rotate(call, x, cosine, sine, NULL, pare__call_get_int(call, "interleaved", 0) != 0, s.pairs, out);
}

/* ---- GemmaRotaryEmbedding ---- */

/* q cos(angle) + q' sin(angle), q' the rotated q, and the same of k. */
static pare_status gemma_rotary_embedding(pare__call *call) {
  static const pare_unary_operation functions[2] = {PARE_UNARY_cos, PARE_UNARY_sin};
  PARE__TRY(pare__call_check(call, 5, 5));
  pare_tensor *angle, *factor[2], *x, *term, *out;
  PARE__TRY(pare__call_tensor(call, 0, &angle));
  const pare__shape *shape = &angle->shape;
  if (shape->rank != 3)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its angles have rank %d; 3 is needed", shape->rank);
  const int64_t apart[4] = {shape->dim[0], 1, shape->dim[1], shape->dim[2]};
  for (int i = 0; i < 2; i++) {
    PARE__TRY(pare__call_scratch(call, angle->dtype, 3, shape->dim, &factor[i]));
    PARE__TRY(pare_unary(functions[i], angle, factor[i]));
    PARE__TRY(pare__call_cast(call, factor[i], call->input[1]->dtype, &factor[i]));
    PARE__TRY(pare__call_reshaped(call, factor[i], 4, apart, &factor[i]));
  }
  for (unsigned i = 0; i < 2; i++) {
    PARE__TRY(pare__call_tensor(call, 1 + 2 * i, &x));
    PARE__TRY(pare__call_output(call, i, x->dtype, x->shape.rank, x->shape.dim, &out));
    PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, x->shape.dim, &term));
    PARE__TRY(pare_binary(PARE_BINARY_mul, x, factor[0], out));
    PARE__TRY(pare__call_tensor(call, 2 + 2 * i, &x));
    PARE__TRY(pare_binary(PARE_BINARY_mul, x, factor[1], term));
    PARE__TRY(pare_binary(PARE_BINARY_add, out, term, out));
  }
  return PARE_OK;
}

#define ROW(op, function) \
  { "com.microsoft", op, 1, 0, PARE__ON_DEVICE, function, NULL, .types = "floats" }
const pare__operator pare__operators_position[] = {
    ROW("RelativePositionBias", relative_position_bias),
    ROW("GatedRelativePositionBias", gated_relative_position_bias),
    ROW("MRotaryEmbedding", m_rotary_embedding),
    ROW("GemmaRotaryEmbedding", gemma_rotary_embedding),
    {0},
};
