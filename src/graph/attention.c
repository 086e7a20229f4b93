/* Scaled dot-product attention, composed of products and softmax. SPDX-License-Identifier: Apache-2.0 */
#include "graph/attention.h"

#include <math.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"

pare_status pare__heads_of(pare__call *call, pare_tensor *tensor, int64_t heads, pare_tensor **out) {
  const pare__shape *shape = &tensor->shape;
  *out = NULL;
  if (shape->rank != 3 || heads < 1 || shape->dim[2] % heads != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%lld heads do not divide the last dimension of a tensor of rank %d",
                           (long long)heads, shape->rank);
  const int64_t split[4] = {shape->dim[0], shape->dim[1], heads, shape->dim[2] / heads};
  pare_tensor *view;
  PARE__TRY(pare__call_reshaped(call, tensor, 4, split, &view));
  return pare__call_permuted(call, view, (const int[]){0, 2, 1, 3}, out);
}

pare_status pare__attention_begin(pare__attention *a) {
  const pare__shape *q = &a->query->shape, *k = &a->key->shape, *v = &a->value->shape;
  char query[PARE__SHAPE_TEXT], key[PARE__SHAPE_TEXT], value[PARE__SHAPE_TEXT];
  const bool ranks = q->rank == 4 && k->rank == 4 && v->rank == 4;
  if (!ranks || q->dim[0] != k->dim[0] || q->dim[0] != v->dim[0] || k->dim[1] != v->dim[1] || k->dim[1] < 1 ||
      q->dim[1] % k->dim[1] != 0 || q->dim[3] != k->dim[3] || k->dim[2] != v->dim[2])
    return pare__call_fail(a->call, PARE_ERR_SHAPE, "queries %s, keys %s and values %s do not fit each other",
                           pare__shape_text(q->rank, q->dim, query, sizeof query),
                           pare__shape_text(k->rank, k->dim, key, sizeof key),
                           pare__shape_text(v->rank, v->dim, value, sizeof value));
  if (!pare__dtype_is_float(a->query->dtype) || a->key->dtype != a->query->dtype || a->value->dtype != a->query->dtype)
    return pare__call_fail(
        a->call, PARE_ERR_TYPE, "queries are %s, keys %s and values %s; floats of one type are needed",
        pare_dtype_name(a->query->dtype), pare_dtype_name(a->key->dtype), pare_dtype_name(a->value->dtype));
  a->dtype = a->query->dtype;
  a->batch = q->dim[0];
  a->heads = q->dim[1];
  a->kv_heads = k->dim[1];
  a->queries = q->dim[2];
  a->keys = k->dim[2];
  a->size = q->dim[3];
  a->value_size = v->dim[3];
  if (a->scale == 0) a->scale = 1 / sqrt((double)PARE__MAX(a->size, (int64_t)1));
  return PARE_OK;
}

/* [batch, heads, …] as [batch, kv_heads, heads / kv_heads, …], so that keys and values broadcast. */
static pare_status grouped(const pare__attention *a, pare_tensor *tensor, pare_tensor **out) {
  if (a->heads == a->kv_heads) {
    *out = tensor;
    return PARE_OK;
  }
  pare_tensor *view;
  PARE__TRY(pare__tensor_handle(tensor, &view));
  PARE__TRY(pare__call_keep(a->call, view));
  pare__shape *shape = &view->shape;
  const int64_t each = tensor->shape.dim[1] / a->kv_heads;
  memmove(shape->dim + 3, shape->dim + 2, 2 * sizeof *shape->dim);
  memmove(shape->stride + 3, shape->stride + 2, 2 * sizeof *shape->stride);
  shape->dim[1] = a->kv_heads;
  shape->dim[2] = each;
  shape->stride[2] = shape->stride[1];
  shape->stride[1] *= each;
  shape->rank = 5;
  *out = view;
  return PARE_OK;
}

static pare_status product(const pare__attention *a, pare_tensor *left, pare_tensor *right,
                           const pare_gemm_options *options, pare_tensor *out) {
  PARE__TRY(grouped(a, left, &left));
  PARE__TRY(grouped(a, right, &right));
  PARE__TRY(grouped(a, out, &out));
  return pare_gemm(left, right, NULL, options, out);
}

static pare_dtype wide(const pare__attention *a) { return a->dtype == PARE_F64 ? PARE_F64 : PARE_F32; }

pare_status pare__attention_scores(pare__attention *a) {
  const int64_t dim[4] = {a->batch, a->heads, a->queries, a->keys};
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.transpose_b = true;
  options.alpha = a->scale;
  PARE__TRY(pare__call_scratch(a->call, wide(a), 4, dim, &a->scores));
  return product(a, a->query, a->key, &options, a->scores);
}

pare_status pare__attention_softcap(pare__attention *a) {
  if (!(a->softcap > 0)) return PARE_OK;
  PARE__TRY(pare_unary_with(PARE_UNARY_affine, 1 / a->softcap, 0, a->scores, a->scores));
  PARE__TRY(pare_unary(PARE_UNARY_tanh, a->scores, a->scores));
  return pare_unary_with(PARE_UNARY_affine, a->softcap, 0, a->scores, a->scores);
}

/* Scores stay where `kept` is true, and become `least` elsewhere. */
static pare_status keep_where(const pare__attention *a, pare_tensor *kept, double least) {
  pare_tensor *other;
  PARE__TRY(pare__call_scalar(a->call, wide(a), least, &other));
  return pare_ternary(PARE_TERNARY_where, kept, a->scores, other, a->scores);
}

pare_status pare__attention_mask(pare__attention *a, pare_tensor *mask, double least) {
  const pare__shape *shape = &mask->shape;
  const int last = shape->rank - 1;
  if (last < 0 || shape->rank > 4 || shape->dim[last] > a->keys)
    return pare__call_fail(a->call, PARE_ERR_SHAPE, "a mask of rank %d does not fit %lld keys", shape->rank,
                           (long long)a->keys);
  const bool is_bool = mask->dtype == PARE_BOOL;
  if (!is_bool) PARE__TRY(pare__call_cast(a->call, mask, wide(a), &mask));
  if (shape->dim[last] < a->keys && shape->dim[last] != 1) {
    int64_t dim[PARE_MAX_RANK], after[PARE_MAX_RANK] = {0};
    memcpy(dim, shape->dim, sizeof dim);
    after[last] = a->keys - shape->dim[last];
    dim[last] = a->keys;
    uint64_t beyond = 0; /* false, or minus infinity */
    if (!is_bool) pare__store(wide(a), &beyond, 0, (double)-INFINITY);
    pare_tensor *padded;
    PARE__TRY(pare__call_scratch(a->call, mask->dtype, shape->rank, dim, &padded));
    PARE__TRY(pare_pad(mask, NULL, after, PARE_PAD_CONSTANT, &beyond, padded));
    mask = padded;
  }
  return is_bool ? keep_where(a, mask, least) : pare_binary(PARE_BINARY_add, a->scores, mask, a->scores);
}

/* Keys up to `distance` behind the query's place are kept, or those from `distance` before it on. */
static pare_status keep_side(pare__attention *a, pare_tensor *place, int64_t distance, bool right, double least) {
  const int64_t *dim = place->shape.dim;
  pare_tensor *column, *shift, *bound, *kept;
  PARE__TRY(pare__call_range(a->call, PARE_I64, a->keys, 4, 3, &column));
  PARE__TRY(pare__call_scalar(a->call, PARE_I64, (double)(right ? distance : -distance), &shift));
  PARE__TRY(pare__call_scratch(a->call, PARE_I64, 4, dim, &bound));
  PARE__TRY(pare__call_scratch(a->call, PARE_BOOL, 4, (const int64_t[]){dim[0], 1, a->queries, a->keys}, &kept));
  PARE__TRY(pare_binary(PARE_BINARY_add, place, shift, bound));
  PARE__TRY(pare_binary(right ? PARE_BINARY_less_equal : PARE_BINARY_greater_equal, column, bound, kept));
  return keep_where(a, kept, least);
}

pare_status pare__attention_window(pare__attention *a, pare_tensor *offset, int64_t left, int64_t right, double least) {
  pare_tensor *row, *place;
  const int64_t each = offset->shape.rank == 4 ? offset->shape.dim[0] : 1;
  PARE__TRY(pare__call_range(a->call, PARE_I64, a->queries, 4, 2, &row));
  PARE__TRY(pare__call_scratch(a->call, PARE_I64, 4, (const int64_t[]){each, 1, a->queries, 1}, &place));
  PARE__TRY(pare_binary(PARE_BINARY_add, row, offset, place));
  if (right >= 0) PARE__TRY(keep_side(a, place, PARE__MIN(right, INT32_MAX), true, least));
  return left < 0 ? PARE_OK : keep_side(a, place, PARE__MIN(left, INT32_MAX), false, least);
}

pare_status pare__attention_lengths(pare__attention *a, pare_tensor *length, double least) {
  pare_tensor *column, *kept;
  if (pare__shape_elements(&length->shape) != a->batch)
    return pare__call_fail(a->call, PARE_ERR_SHAPE, "%lld lengths for a batch of %lld",
                           (long long)pare__shape_elements(&length->shape), (long long)a->batch);
  PARE__TRY(pare__call_cast(a->call, length, PARE_I64, &length));
  PARE__TRY(pare__call_reshaped(a->call, length, 4, (const int64_t[]){a->batch, 1, 1, 1}, &length));
  PARE__TRY(pare__call_range(a->call, PARE_I64, a->keys, 4, 3, &column));
  PARE__TRY(pare__call_scratch(a->call, PARE_BOOL, 4, (const int64_t[]){a->batch, 1, 1, a->keys}, &kept));
  PARE__TRY(pare_binary(PARE_BINARY_less, column, length, kept));
  return keep_where(a, kept, least);
}

pare_status pare__attention_softmax(pare__attention *a) { return pare_softmax(a->scores, 3, a->scores); }

pare_status pare__attention_softmax_with(pare__attention *a, pare_tensor *sink) {
  const int64_t dim[4] = {a->batch, a->heads, a->queries, a->keys + 1}, one[4] = {dim[0], dim[1], dim[2], 1};
  pare_tensor *all;
  if (sink->shape.rank == 1) {
    if (sink->shape.dim[0] != a->heads)
      return pare__call_fail(a->call, PARE_ERR_SHAPE, "%lld scores of sinks for %lld heads",
                             (long long)sink->shape.dim[0], (long long)a->heads);
    PARE__TRY(pare__call_reshaped(a->call, sink, 4, (const int64_t[]){1, a->heads, 1, 1}, &sink));
  }
  PARE__TRY(pare__call_cast(a->call, sink, wide(a), &sink));
  PARE__TRY(pare__call_broadcast(a->call, sink, 4, one, &sink));
  PARE__TRY(pare__call_scratch(a->call, wide(a), 4, dim, &all));
  PARE__TRY(pare_concat(2, (pare_tensor *const[]){a->scores, sink}, 3, all));
  PARE__TRY(pare_softmax(all, 3, all));
  return pare__call_slice(a->call, all, 3, 0, a->keys, 1, &a->scores);
}

pare_status pare__attention_nobody(pare__attention *a) {
  const int64_t dim[4] = {a->batch, a->heads, a->queries, 1};
  pare_tensor *largest;
  PARE__TRY(pare__call_scratch(a->call, wide(a), 4, dim, &largest));
  PARE__TRY(pare__call_scratch(a->call, PARE_BOOL, 4, dim, &a->nobody));
  PARE__TRY(pare_reduce(a->scores, PARE_REDUCTION_MAX, (const int[]){3}, 1, true, largest));
  return pare_unary_with(PARE_UNARY_isinf, 1, 0, largest, a->nobody); /* of minus infinity */
}

pare_status pare__attention_clear(pare__attention *a, pare_tensor *rows) {
  pare_tensor *zero;
  if (!a->nobody) return PARE_OK;
  PARE__TRY(pare__call_scalar(a->call, rows->dtype, 0, &zero));
  return pare_ternary(PARE_TERNARY_where, a->nobody, zero, rows, rows);
}

pare_status pare__attention_values(pare__attention *a, pare_tensor *out) {
  PARE__TRY(product(a, a->scores, a->value, NULL, out));
  return pare__attention_clear(a, out);
}
