/* TfIdfVectorizer: how often n-grams of integers occur. SPDX-License-Identifier: Apache-2.0
 *
 * Of every length n and every distance between neighbours (max_skip_count and one at most): a window of rows is
 * compared with all n-grams of that length at once, and the matches are added. */
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/reduce.h>
#include <stdlib.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* The attributes; lists belong to the node. */
typedef struct vocabulary {
  const pare__onnx_attribute *pool, *starts, *index, *weights; /* weights NULL: all are 1 */
  int64_t shortest, longest, most_skipped, ngrams, columns;
} vocabulary;

/* Where the n-grams of length n begin in the pool. */
static int64_t start_of(const vocabulary *v, int64_t n) {
  return n <= (int64_t)v->starts->ints.count ? v->starts->ints.items[n - 1] : (int64_t)v->pool->ints.count;
}

/* Do the parts of the pool lie one after the other, each of whole n-grams, as many as there are indices? */
static bool fits(vocabulary *v) {
  v->ngrams = 0;
  if (start_of(v, 1) != 0) return false;
  for (int64_t n = 1; n <= (int64_t)v->starts->ints.count; n++) {
    const int64_t length = start_of(v, n + 1) - start_of(v, n);
    if (length < 0 || length % n != 0 || start_of(v, n + 1) > (int64_t)v->pool->ints.count) return false;
    v->ngrams += length / n;
  }
  return v->ngrams == (int64_t)v->index->ints.count;
}

static pare_status read_vocabulary(const pare__call *call, vocabulary *v) {
  enum { MOST_COLUMNS = 1 << 24 };
  *v = (vocabulary){.pool = pare__node_attribute(call->node, "pool_int64s"),
                    .starts = pare__node_attribute(call->node, "ngram_counts"),
                    .index = pare__node_attribute(call->node, "ngram_indexes"),
                    .weights = pare__node_attribute(call->node, "weights"),
                    .shortest = pare__call_get_int(call, "min_gram_length", 1),
                    .longest = pare__call_get_int(call, "max_gram_length", 1),
                    .most_skipped = pare__call_get_int(call, "max_skip_count", 0)};
  if (!v->pool) return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "it has no pool_int64s; strings are not supported");
  if (!v->starts || !v->index || !fits(v))
    return pare__call_fail(call, PARE_ERR_FORMAT, "ngram_counts and ngram_indexes do not fit its pool of %zu integers",
                           v->pool->ints.count);
  if (v->shortest < 1 || v->longest < v->shortest || v->most_skipped < 0)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "n-grams of %lld to %lld integers, skipping %lld, are impossible",
                           (long long)v->shortest, (long long)v->longest, (long long)v->most_skipped);
  for (size_t i = 0; i < v->index->ints.count; i++) {
    const int64_t column = v->index->ints.items[i];
    if (column < 0 || column >= MOST_COLUMNS)
      return pare__call_fail(call, PARE_ERR_ARGUMENT, "ngram_indexes[%zu] is %lld; 0 to %d is possible", i,
                             (long long)column, MOST_COLUMNS - 1);
    v->columns = PARE__MAX(v->columns, column + 1);
  }
  if (v->weights && (int64_t)v->weights->floats.count != v->columns)
    return pare__call_fail(call, PARE_ERR_FORMAT, "it has %zu weights for %lld columns", v->weights->floats.count,
                           (long long)v->columns);
  return PARE_OK;
}

/* *out (i64 [1][1][count]) = integer k of each n-gram of length n. */
static pare_status integers_of(pare__call *call, const vocabulary *v, int64_t n, int64_t count, int64_t k,
                               pare_tensor **out) {
  int64_t *data = malloc((size_t)count * sizeof *data);
  if (!data) return pare__fail_memory("n-grams", (size_t)count * sizeof *data);
  for (int64_t i = 0; i < count; i++) data[i] = v->pool->ints.items[start_of(v, n) + i * n + k];
  const pare_status status = pare__call_constant(call, PARE_I64, 3, (const int64_t[]){1, 1, count}, data, out);
  free(data);
  return status;
}

/* counts [rows][count] += matches of the n-grams of length n in x [rows][length][1], neighbours so far apart. */
static pare_status add_matches(pare__call *call, const vocabulary *v, int64_t n, int64_t apart, pare_tensor *x,
                               pare_tensor *counts) {
  const int64_t count = counts->shape.dim[1], places = x->shape.dim[1] - (n - 1) * apart;
  const int64_t dim[3] = {x->shape.dim[0], places, count}, sum_dim[2] = {dim[0], count};
  const int places_axis = 1;
  pare_tensor *window, *integers, *match, *all, *numbers, *sum;
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, dim, &all));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, dim, &match));
  for (int64_t k = 0; k < n; k++) {
    PARE__TRY(pare__call_slice(call, x, 1, k * apart, places, 1, &window));
    PARE__TRY(integers_of(call, v, n, count, k, &integers));
    PARE__TRY(pare_binary(PARE_BINARY_equal, window, integers, k ? match : all));
    if (k) PARE__TRY(pare_binary(PARE_BINARY_and, all, match, all));
  }
  PARE__TRY(pare__call_cast(call, all, PARE_F32, &numbers));
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, sum_dim, &sum));
  PARE__TRY(pare_reduce(numbers, PARE_REDUCTION_SUM, &places_axis, 1, false, sum));
  return pare_binary(PARE_BINARY_add, counts, sum, counts);
}

/* *out (f32 [rows][n-grams + 1]) = how often each n-gram occurs in each row of x [rows][length]; the last column is 0.
 */
static pare_status count_ngrams(pare__call *call, const vocabulary *v, pare_tensor *x, pare_tensor **out) {
  const int64_t length = x->shape.dim[1], dim[2] = {x->shape.dim[0], v->ngrams + 1};
  pare_tensor *zero, *points, *counts;
  PARE__TRY(pare__call_scratch(call, PARE_F32, 2, dim, out));
  PARE__TRY(pare__call_scalar(call, PARE_F32, 0, &zero));
  PARE__TRY(pare_cast(zero, *out));
  PARE__TRY(pare__call_reshaped(call, x, 3, (const int64_t[]){dim[0], length, 1}, &points));
  for (int64_t n = 1, first = 0; n <= (int64_t)v->starts->ints.count; n++) {
    const int64_t count = (start_of(v, n + 1) - start_of(v, n)) / n;
    const int64_t most_apart = n == 1 ? 1 : PARE__MIN(v->most_skipped, length) + 1; /* one integer has no neighbours */
    first += count;
    if (count == 0 || n < v->shortest || n > v->longest) continue;
    PARE__TRY(pare__call_slice(call, *out, 1, first - count, count, 1, &counts));
    for (int64_t apart = 1; apart <= most_apart && (n - 1) * apart < length; apart++)
      PARE__TRY(add_matches(call, v, n, apart, points, counts));
  }
  return PARE_OK;
}

/* *out = the n-gram that each column counts; for columns without one what is past the last. */
static pare_status order_columns(pare__call *call, const vocabulary *v, pare_tensor **out) {
  int64_t *ngram = malloc(((size_t)v->columns + 1) * sizeof *ngram);
  if (!ngram) return pare__fail_memory("columns", (size_t)v->columns * sizeof *ngram);
  pare_status status = PARE_OK;
  for (int64_t c = 0; c < v->columns; c++) ngram[c] = v->ngrams;
  for (int64_t i = 0; i < v->ngrams && status == PARE_OK; i++) {
    int64_t *at = &ngram[v->index->ints.items[i]];
    if (*at != v->ngrams)
      status = pare__call_fail(call, PARE_ERR_UNSUPPORTED, "two of its n-grams have the index %lld",
                               (long long)v->index->ints.items[i]);
    *at = i;
  }
  if (status == PARE_OK) status = pare__call_constant(call, PARE_I64, 1, &v->columns, ngram, out);
  free(ngram);
  return status;
}

/* out = counts, or whether there are any, times weights. */
static pare_status weigh(pare__call *call, const vocabulary *v, pare_tensor *out) {
  pare_tensor *weights;
  if (pare__call_text_is(call, "mode", "", "IDF"))
    PARE__TRY(pare_unary_with(PARE_UNARY_clip, 0, 1, out, out));
  else if (pare__call_text_is(call, "mode", "", "TF"))
    return PARE_OK;
  else if (!pare__call_text_is(call, "mode", "", "TFIDF"))
    return pare__call_fail(call, PARE_ERR_FORMAT, "its mode is none of TF, IDF, TFIDF");
  if (!v->weights) return PARE_OK;
  PARE__TRY(pare__call_constant(call, PARE_F32, 1, &v->columns, v->weights->floats.items, &weights));
  return pare_binary(PARE_BINARY_mul, out, weights, out);
}

static pare_status vectorize(pare__call *call) {
  vocabulary v;
  pare_tensor *x, *wide, *rows, *counts, *columns, *out, *flat;
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(read_vocabulary(call, &v));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  const int rank = x->shape.rank;
  if (rank < 1 || rank > 2) {
    char have[PARE__SHAPE_TEXT];
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input is %s; rank 1 or 2 is possible",
                           pare__shape_text(rank, x->shape.dim, have, sizeof have));
  }
  const int64_t dim[2] = {rank == 2 ? x->shape.dim[0] : 1, x->shape.dim[rank - 1]};
  const int64_t out_dim[2] = {dim[0], v.columns};
  PARE__TRY(pare__call_cast(call, x, PARE_I64, &wide));
  PARE__TRY(pare__call_reshaped(call, wide, 2, dim, &rows));
  PARE__TRY(count_ngrams(call, &v, rows, &counts));
  PARE__TRY(order_columns(call, &v, &columns));
  PARE__TRY(pare__call_output(call, 0, PARE_F32, rank, out_dim + 2 - rank, &out));
  PARE__TRY(pare__call_reshaped(call, out, 2, out_dim, &flat));
  PARE__TRY(pare_gather(counts, columns, 1, flat));
  return weigh(call, &v, flat);
}

const pare__operator pare__operators_grams[] = {
    {"", "TfIdfVectorizer", 9, 0, PARE__ON_DEVICE, vectorize, NULL, .types = "i32, i64"},
    {0},
};
