/* What transformers put around attention: positions, embeddings, caches. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/attention.h"
#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/quantised.h"

/* ---- RotaryEmbedding ---- */

/* Rotates pairs of elements by the angle of their position (Su et al. 2021). */
typedef struct rotary {
  pare__call *call;
  pare_tensor *x, *out;       /* views [batch, length, heads, size] */
  pare_tensor *cosine, *sine; /* [batch or 1, length, 1, half] */
  int64_t half;               /* pairs that are rotated */
  bool interleaved;           /* pairs are neighbours, else one of each half */
} rotary;

static pare_status rotate(rotary *r) {
  pare__call *call = r->call;
  const int64_t size = r->x->shape.dim[3];
  int64_t dim[4];
  memcpy(dim, r->x->shape.dim, sizeof dim);
  dim[3] = r->half;
  const int64_t second = r->interleaved ? 1 : r->half, step = r->interleaved ? 2 : 1;
  pare_tensor *x[2], *out[2], *left, *right;
  for (int i = 0; i < 2; i++) {
    PARE__TRY(pare__call_slice(call, r->x, 3, i * second, r->half, step, &x[i]));
    PARE__TRY(pare__call_slice(call, r->out, 3, i * second, r->half, step, &out[i]));
  }
  PARE__TRY(pare__call_scratch(call, r->x->dtype, 4, dim, &left));
  PARE__TRY(pare__call_scratch(call, r->x->dtype, 4, dim, &right));
  PARE__TRY(pare_binary(PARE_BINARY_mul, r->cosine, x[0], left));
  PARE__TRY(pare_binary(PARE_BINARY_mul, r->sine, x[1], right));
  PARE__TRY(pare_binary(PARE_BINARY_sub, left, right, out[0]));
  PARE__TRY(pare_binary(PARE_BINARY_mul, r->sine, x[0], left));
  PARE__TRY(pare_binary(PARE_BINARY_mul, r->cosine, x[1], right));
  PARE__TRY(pare_binary(PARE_BINARY_add, left, right, out[1]));
  if (2 * r->half == size) return PARE_OK;
  PARE__TRY(pare__call_slice(call, r->x, 3, 2 * r->half, size - 2 * r->half, 1, &left));
  PARE__TRY(pare__call_slice(call, r->out, 3, 2 * r->half, size - 2 * r->half, 1, &right));
  return pare_copy(left, right);
}

/* The rows of a cache at the positions; [batch, length] of them, or one where the first stands (com.microsoft).
 * positions NULL: the cache has a row for each element already. */
static pare_status cached_rows(const rotary *r, pare_tensor *cache, pare_tensor *positions, pare_tensor **out) {
  pare__call *call = r->call;
  const int64_t length = r->x->shape.dim[1],
                columns = cache->shape.rank > 0 ? cache->shape.dim[cache->shape.rank - 1] : 0;
  if (cache->shape.rank != (positions ? 2 : 3) || columns != r->half)
    return pare__call_fail(call, PARE_ERR_SHAPE, "a cache of rank %d with %lld columns does not fit %lld pairs",
                           cache->shape.rank, (long long)columns, (long long)r->half);
  if (positions) {
    if (positions->shape.rank == 1) {
      pare_tensor *range, *sum;
      PARE__TRY(pare__call_cast(call, positions, PARE_I64, &positions));
      PARE__TRY(pare__call_range(call, PARE_I64, length, 2, 1, &range));
      PARE__TRY(pare__call_scratch(call, PARE_I64, 2, (const int64_t[]){1, length}, &sum));
      PARE__TRY(pare_binary(PARE_BINARY_add, range, positions, sum));
      positions = sum;
    }
    const int64_t dim[3] = {positions->shape.dim[0], positions->shape.dim[1], columns};
    pare_tensor *rows;
    PARE__TRY(pare__call_scratch(call, cache->dtype, 3, dim, &rows));
    PARE__TRY(pare_gather(cache, positions, 0, rows));
    cache = rows;
  }
  const int64_t dim[4] = {cache->shape.dim[0], cache->shape.dim[1], 1, columns};
  PARE__TRY(pare__call_reshaped(call, cache, 4, dim, out));
  return pare__call_cast(call, *out, r->x->dtype, out);
}

pare_status pare__rotate(pare__call *call, pare_tensor *x, pare_tensor *cosines, pare_tensor *sines,
                         pare_tensor *positions, bool interleaved, int64_t pairs, pare_tensor *out) {
  rotary r = {.call = call, .x = x, .out = out, .half = pairs, .interleaved = interleaved};
  PARE__TRY(cached_rows(&r, cosines, positions, &r.cosine));
  PARE__TRY(cached_rows(&r, sines, positions, &r.sine));
  return rotate(&r);
}

static pare_status rotary_embedding(pare__call *call) {
  const bool microsoft = call->node->op->detail != 0;
  const unsigned cosine = microsoft ? 2 : 1, positions = microsoft ? 1 : 3;
  PARE__TRY(pare__call_check(call, 3, 4));
  pare_tensor *x, *out, *cosines, *sines, *at;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, cosine, &cosines));
  PARE__TRY(pare__call_tensor(call, cosine + 1, &sines));
  PARE__TRY(pare__call_tensor(call, positions, &at));
  if (!cosines || !sines || cosines->shape.rank < 2 || (at && at->shape.rank != 1 && at->shape.rank != 2))
    return pare__call_fail(call, PARE_ERR_SHAPE, "its caches have no rows, or its positions are no matrix");
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  if (x->shape.rank == 3) {
    int64_t heads = pare__call_get_int(call, "num_heads", 0);
    const int64_t size = 2 * cosines->shape.dim[cosines->shape.rank - 1];
    if (heads == 0 && microsoft && size > 0) heads = x->shape.dim[2] / size;
    PARE__TRY(pare__heads_of(call, x, heads, &x));
    PARE__TRY(pare__heads_of(call, out, heads, &out));
  }
  if (x->shape.rank != 4)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input has rank %d; 3 or 4 are possible", x->shape.rank);
  PARE__TRY(pare__call_permuted(call, x, (const int[]){0, 2, 1, 3}, &x));
  PARE__TRY(pare__call_permuted(call, out, (const int[]){0, 2, 1, 3}, &out));
  const int64_t given = pare__call_get_int(call, "rotary_embedding_dim", 0), rotated = given ? given : x->shape.dim[3];
  if (rotated < 0 || rotated % 2 != 0 || rotated > x->shape.dim[3])
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "%lld of %lld elements cannot be rotated in pairs",
                           (long long)rotated, (long long)x->shape.dim[3]);
  return pare__rotate(call, x, cosines, sines, at, pare__call_get_int(call, "interleaved", 0) != 0, rotated / 2, out);
}

/* ---- EmbedLayerNormalization, QEmbedLayerNormalization ---- */

/* The quantised one's tables, scale and bias, inputs 2 to 6, are integers, with a scale each, inputs 8 to 12, and a
 * zero point, 13 to 17. *tensor = what its integers stand for. */
static pare_status restore(pare__call *call, unsigned i, pare_tensor **tensor) {
  pare__quantisation q = {.axis = 0};
  pare_tensor *integers = *tensor;
  if (!call->node->op->detail || !integers) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, i + 6, &q.scale));
  PARE__TRY(pare__call_tensor(call, i + 11, &q.zero));
  if (!q.scale || (integers->dtype != PARE_U8 && integers->dtype != PARE_I8))
    return pare__call_fail(call, PARE_ERR_TYPE, "input %u is no u8 or i8 with a scale, input %u", i, i + 6);
  PARE__TRY(pare__call_scratch(call, q.scale->dtype, integers->shape.rank, integers->shape.dim, tensor));
  return pare__call_dequantise(call, integers, &q, *tensor);
}

/* *rows [batch, length, size] = table i at index */
static pare_status embed(pare__call *call, unsigned i, pare_tensor *index, int64_t size, pare_tensor **rows) {
  pare_tensor *table;
  PARE__TRY(pare__call_tensor(call, i, &table));
  if (!table || table->shape.rank != 2 || table->shape.dim[1] != size || index->shape.rank != 2)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "table %u does not have %lld columns, or what it is read at is no matrix", i,
                           (long long)size);
  const int64_t dim[3] = {index->shape.dim[0], index->shape.dim[1], size};
  PARE__TRY(pare__call_scratch(call, table->dtype, 3, dim, rows));
  PARE__TRY(pare_gather(table, index, 0, *rows));
  return restore(call, i, rows);
}

/* Output 1: how much of the mask counts, each batch. */
static pare_status count_mask(pare__call *call, int64_t batch) {
  pare_tensor *mask, *counts, *zero;
  if (!pare__call_wants(call, 1)) return PARE_OK;
  PARE__TRY(pare__call_tensor(call, 7, &mask));
  PARE__TRY(pare__call_output(call, 1, PARE_I32, 1, &batch, &counts));
  PARE__TRY(pare__call_scalar(call, PARE_I32, 0, &zero));
  if (!mask) return pare_copy(zero, counts);
  PARE__TRY(pare__call_cast(call, mask, PARE_I32, &mask));
  return pare_reduce(mask, PARE_REDUCTION_SUM, (const int[]){1}, 1, false, counts);
}

/* Ids [batch, length], segments, tables of words, positions and segments, scale, bias, mask, positions. */
static pare_status embed_layer_norm(pare__call *call) {
  const bool quantised = call->node->op->detail != 0;
  pare_tensor *ids, *segments, *words, *scale, *bias, *positions = NULL, *rows[3] = {NULL}, *out, *sum;
  PARE__TRY(pare__call_check(call, 4, quantised ? 18 : 9));
  PARE__TRY(pare__call_tensor(call, 0, &ids));
  PARE__TRY(pare__call_tensor(call, 1, &segments));
  PARE__TRY(pare__call_tensor(call, 2, &words));
  PARE__TRY(pare__call_tensor(call, 5, &scale));
  PARE__TRY(pare__call_tensor(call, 6, &bias));
  if (!quantised) PARE__TRY(pare__call_tensor(call, 8, &positions));
  if (ids->shape.rank != 2 || words->shape.rank != 2 || !scale || !bias)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its ids or words are no matrix, or scale or bias are missing");
  const int64_t batch = ids->shape.dim[0], length = ids->shape.dim[1], size = words->shape.dim[1];
  if (!positions) {
    PARE__TRY(pare__call_range(call, PARE_I64, length, 2, 1, &positions));
  } else if (positions->shape.rank != 2 || positions->shape.dim[1] != length) {
    return pare__call_fail(call, PARE_ERR_SHAPE, "its positions do not fit %lld ids", (long long)length);
  }
  PARE__TRY(restore(call, 5, &scale));
  PARE__TRY(restore(call, 6, &bias));
  PARE__TRY(embed(call, 2, ids, size, &rows[0]));
  PARE__TRY(embed(call, 3, positions, size, &rows[1]));
  if (segments) PARE__TRY(embed(call, 4, segments, size, &rows[2]));
  PARE__TRY(pare__call_output(call, 2, rows[0]->dtype, 3, (const int64_t[]){batch, length, size}, &sum));
  PARE__TRY(pare_binary(PARE_BINARY_add, rows[0], rows[1], sum));
  if (segments) PARE__TRY(pare_binary(PARE_BINARY_add, sum, rows[2], sum));
  PARE__TRY(count_mask(call, batch));
  PARE__TRY(pare__call_output(call, 0, sum->dtype, 3, (const int64_t[]){batch, length, size}, &out));
  return pare_layer_norm(sum, 2, scale, bias, pare__call_get_float(call, "epsilon", 1e-12), out, NULL, NULL);
}

/* ---- BiasSplitGelu ---- */

/* left gelu(right) of the halves of x + bias. */
static pare_status bias_split_gelu(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  pare_tensor *x, *bias, *sum, *half[2], *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &bias));
  const int last = x->shape.rank - 1;
  if (last < 0 || x->shape.dim[last] % 2 != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its last dimension cannot be halved");
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  PARE__TRY(pare__call_scratch(call, x->dtype, last + 1, dim, &sum));
  PARE__TRY(pare_binary(PARE_BINARY_add, x, bias, sum));
  dim[last] /= 2;
  for (int i = 0; i < 2; i++) PARE__TRY(pare__call_slice(call, sum, last, i * dim[last], dim[last], 1, &half[i]));
  PARE__TRY(pare__call_output(call, 0, x->dtype, last + 1, dim, &out));
  PARE__TRY(pare_unary(PARE_UNARY_gelu, half[1], out));
  return pare_binary(PARE_BINARY_mul, half[0], out, out);
}

/* ---- TensorScatter ---- */

/* The past with the update written along an axis, from an index for each element of the first axis on. */
static pare_status tensor_scatter(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 3));
  pare_tensor *past, *update, *first, *place, *index, *out;
  int axis;
  PARE__TRY(pare__call_tensor(call, 0, &past));
  PARE__TRY(pare__call_tensor(call, 1, &update));
  PARE__TRY(pare__call_tensor(call, 2, &first));
  const int rank = past->shape.rank;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", -2), rank, &axis));
  const bool circular = pare__call_text_is(call, "mode", "linear", "circular");
  bool fits =
      update->shape.rank == rank && axis > 0 && (circular || pare__call_text_is(call, "mode", "linear", "linear"));
  for (int d = 0; fits && d < rank; d++)
    fits = d == axis ? update->shape.dim[d] <= past->shape.dim[d] : update->shape.dim[d] == past->shape.dim[d];
  if (fits && first) fits = first->shape.rank == 1 && first->shape.dim[0] == past->shape.dim[0];
  char have[PARE__SHAPE_TEXT], other[PARE__SHAPE_TEXT];
  if (!fits)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "an update %s does not fit %s along axis %d, or its mode or indices do not",
                           pare__shape_text(update->shape.rank, update->shape.dim, have, sizeof have),
                           pare__shape_text(rank, past->shape.dim, other, sizeof other), axis);
  PARE__TRY(pare__call_range(call, PARE_I64, update->shape.dim[axis], rank, axis, &place));
  if (first) {
    int64_t dim[PARE_MAX_RANK];
    for (int d = 0; d < rank; d++) dim[d] = d == 0 ? past->shape.dim[0] : 1;
    PARE__TRY(pare__call_cast(call, first, PARE_I64, &first));
    PARE__TRY(pare__call_reshaped(call, first, rank, dim, &first));
    dim[axis] = update->shape.dim[axis];
    PARE__TRY(pare__call_scratch(call, PARE_I64, rank, dim, &index));
    PARE__TRY(pare_binary(PARE_BINARY_add, first, place, index));
    place = index;
  }
  if (circular && first) {
    pare_tensor *length;
    PARE__TRY(pare__call_scalar(call, PARE_I64, (double)past->shape.dim[axis], &length));
    PARE__TRY(pare_binary(PARE_BINARY_mod, place, length, place));
  }
  PARE__TRY(pare__call_broadcast(call, place, rank, update->shape.dim, &index));
  PARE__TRY(pare__call_output(call, 0, past->dtype, rank, past->shape.dim, &out));
  return pare_scatter_elements(past, index, update, axis, PARE_SCATTER_NONE, out);
}

const pare__operator pare__operators_transformer[] = {
    {"", "RotaryEmbedding", 23, 0, PARE__ON_DEVICE, rotary_embedding, NULL, .types = "floats"},
    {"com.microsoft", "RotaryEmbedding", 1, 0, PARE__ON_DEVICE, rotary_embedding, NULL, .detail = 1, .types = "floats"},
    {"com.microsoft", "EmbedLayerNormalization", 1, 0, PARE__ON_DEVICE, embed_layer_norm, NULL, .types = "floats"},
    {"com.microsoft", "QEmbedLayerNormalization", 1, 0, PARE__ON_DEVICE, embed_layer_norm, NULL, .detail = 1,
     .types = "u8, i8"},
    {"com.microsoft", "BiasSplitGelu", 1, 0, PARE__ON_DEVICE, bias_split_gelu, NULL, .types = "floats"},
    {"", "TensorScatter", 24, 0, PARE__ON_DEVICE, tensor_scatter, NULL, .types = "numbers, bool"},
    {0},
};
