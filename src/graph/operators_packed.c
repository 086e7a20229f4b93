/* Operators of com.microsoft on sequences without their padding: RemovePadding, RestorePadding, attention on packed
 * tokens. SPDX-License-Identifier: Apache-2.0
 *
 * Tokens [tokens, size] are those of sequences [batch, length, size] that count, one after the other. token_offset
 * [batch, length] lists their places among all batch * length, then those of the padding. */
#include <float.h>
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/reduce.h>
#include <pare/select.h>

#include "graph/attention.h"
#include "graph/compose.h"
#include "graph/operator_tables.h"

/* ---- tokens and sequences ---- */

/* Where `tokens` of them stand among all, from input i. Its own shape is the sequences': dim. */
static pare_status read_places(pare__call *call, unsigned i, int64_t tokens, int64_t dim[2], pare_tensor **out) {
  pare_tensor *offsets;
  PARE__TRY(pare__call_tensor(call, i, &offsets));
  const int64_t all = offsets ? pare__shape_elements(&offsets->shape) : 0;
  if (!offsets || offsets->shape.rank != 2 || tokens > all)
    return pare__call_fail(call, PARE_ERR_SHAPE, "token_offset, input %u, is no matrix with places of %lld tokens", i,
                           (long long)tokens);
  dim[0] = offsets->shape.dim[0];
  dim[1] = offsets->shape.dim[1];
  PARE__TRY(pare__call_reshaped(call, offsets, 1, &all, &offsets));
  return pare__call_slice(call, offsets, 0, 0, tokens, 1, out);
}

/* rows [batch * length, size] = tokens [n, size] at their places, zeros elsewhere. */
static pare_status spread(pare__call *call, pare_tensor *tokens, pare_tensor *places, pare_tensor *rows) {
  pare_tensor *zero, *nothing;
  PARE__TRY(pare__call_scalar(call, tokens->dtype, 0, &zero));
  PARE__TRY(pare__call_broadcast(call, zero, 2, rows->shape.dim, &nothing));
  PARE__TRY(pare__call_reshaped(call, places, 2, (const int64_t[]){tokens->shape.dim[0], 1}, &places));
  return pare_scatter_nd(nothing, places, tokens, PARE_SCATTER_NONE, rows);
}

pare_status pare__call_unpack_tokens(pare__call *call, pare_tensor *tokens, unsigned i, pare_tensor **out) {
  int64_t dim[3];
  pare_tensor *places, *rows;
  if (tokens->shape.rank != 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "tokens have rank %d; 2 is needed", tokens->shape.rank);
  PARE__TRY(read_places(call, i, tokens->shape.dim[0], dim, &places));
  dim[2] = tokens->shape.dim[1];
  PARE__TRY(pare__call_scratch(call, tokens->dtype, 2, (const int64_t[]){dim[0] * dim[1], dim[2]}, &rows));
  PARE__TRY(spread(call, tokens, places, rows));
  return pare__call_reshaped(call, rows, 3, dim, out);
}

static pare_status restore_padding(pare__call *call) {
  int64_t dim[3];
  pare_tensor *tokens, *places, *out;
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(pare__call_tensor(call, 0, &tokens));
  if (tokens->shape.rank != 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input has rank %d; 2 is needed", tokens->shape.rank);
  PARE__TRY(read_places(call, 1, tokens->shape.dim[0], dim, &places));
  dim[2] = tokens->shape.dim[1];
  PARE__TRY(pare__call_output(call, 0, tokens->dtype, 3, dim, &out));
  PARE__TRY(pare__call_reshaped(call, out, 2, (const int64_t[]){dim[0] * dim[1], dim[2]}, &out));
  return spread(call, tokens, places, out);
}

/* How many tokens count, which the host must know: the result is that long. */
static pare_status count_tokens(pare__call *call, int64_t batch, int64_t length, int64_t *total) {
  const pare__content *counts;
  *total = batch * length;
  if (!call->input[1]->content && pare__call_bounding(call)) return PARE_OK;
  PARE__TRY(pare__call_content(call, 1, &counts));
  *total = 0;
  for (size_t i = 0; i < counts->count; i++) {
    const int64_t count = pare__content_int(counts, i);
    if (count < 0 || count > length)
      return pare__call_fail(call, PARE_ERR_ARGUMENT, "sequence %zu has %lld tokens; 0 to %lld are possible", i,
                             (long long)count, (long long)length);
    *total += count;
  }
  return PARE_OK;
}

/* Output 2: 0, and the tokens of the sequences up to each; output 3: the most of one. */
static pare_status give_lengths(pare__call *call, pare_tensor *counts) {
  const int64_t batch = counts->shape.dim[0], sums_dim = batch + 1, one = 1;
  const int axis = 0;
  pare_tensor *sums, *zero, *first, *rest, *scanned, *most;
  PARE__TRY(pare__call_output(call, 2, PARE_I32, 1, &sums_dim, &sums));
  PARE__TRY(pare__call_output(call, 3, PARE_I32, 1, &one, &most));
  PARE__TRY(pare__call_scalar(call, PARE_I32, 0, &zero));
  PARE__TRY(pare__call_slice(call, sums, 0, 0, 1, 1, &first));
  PARE__TRY(pare_copy(zero, first));
  if (batch == 0) return pare_copy(zero, most);
  PARE__TRY(pare__call_slice(call, sums, 0, 1, batch, 1, &rest));
  PARE__TRY(pare__call_scan(call, PARE_BINARY_add, 0, counts, &scanned));
  PARE__TRY(pare_copy(scanned, rest));
  return pare_reduce(counts, PARE_REDUCTION_MAX, &axis, 1, true, most);
}

static pare_status remove_padding(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_takes(call, 0));
  pare_tensor *x, *counts, *column, *range, *padding, *order, *sorted, *offsets, *out;
  int64_t total;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &counts));
  const int64_t *dim = x->shape.dim;
  if (x->shape.rank != 3 || counts->shape.rank != 1 || counts->shape.dim[0] != dim[0])
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "ranks %d and %d: sequences have rank 3, and there is a count for each", x->shape.rank,
                           counts->shape.rank);
  PARE__TRY(count_tokens(call, dim[0], dim[1], &total));
  const int64_t all = dim[0] * dim[1], rows[2] = {all, dim[2]}, packed[2] = {total, dim[2]};
  PARE__TRY(pare__call_output(call, 0, x->dtype, 2, packed, &out));
  PARE__TRY(pare__call_output(call, 1, PARE_I32, 2, dim, &offsets));
  PARE__TRY(pare__call_cast(call, counts, PARE_I32, &counts));
  PARE__TRY(give_lengths(call, counts));
  if (all == 0) return PARE_OK;
  PARE__TRY(pare__call_reshaped(call, counts, 2, (const int64_t[]){dim[0], 1}, &column));
  PARE__TRY(pare__call_range(call, PARE_I32, dim[1], 2, 1, &range));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, dim, &padding));
  PARE__TRY(pare_binary(PARE_BINARY_greater_equal, range, column, padding));
  PARE__TRY(pare__call_cast(call, padding, PARE_U8, &padding));
  PARE__TRY(pare__call_reshaped(call, padding, 1, &all, &padding));
  PARE__TRY(pare__call_scratch(call, PARE_U8, 1, &all, &sorted));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 1, &all, &order));
  PARE__TRY(pare_top_k(padding, all, 0, true, sorted, order)); /* of equal ones the first comes first */
  PARE__TRY(pare__call_reshaped(call, offsets, 1, &all, &offsets));
  PARE__TRY(pare_cast(order, offsets));
  PARE__TRY(pare__call_slice(call, order, 0, 0, total, 1, &order));
  PARE__TRY(pare__call_reshaped(call, x, 2, rows, &x));
  return pare_gather(x, order, 0, out);
}

/* ---- PackedAttention, PackedMultiHeadAttention ---- */

typedef struct packed {
  pare__attention a;
  int64_t heads;
  unsigned offsets, sums, bias; /* inputs: token_offset, cumulative_sequence_length, what is added to scores */
  pare_tensor *part[3];         /* queries, keys and values of tokens [tokens, heads * size] */
} packed;

/* *out [batch] = the tokens of each sequence. */
static pare_status lengths_of(const packed *p, pare_tensor **out) {
  pare__call *call = p->a.call;
  pare_tensor *sums, *from, *to;
  PARE__TRY(pare__call_tensor(call, p->sums, &sums));
  if (!sums || sums->shape.rank != 1 || sums->shape.dim[0] != p->a.batch + 1)
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u does not have %lld sums of lengths", p->sums,
                           (long long)p->a.batch + 1);
  PARE__TRY(pare__call_slice(call, sums, 0, 0, p->a.batch, 1, &from));
  PARE__TRY(pare__call_slice(call, sums, 0, 1, p->a.batch, 1, &to));
  PARE__TRY(pare__call_scratch(call, sums->dtype, 1, &p->a.batch, out));
  return pare_binary(PARE_BINARY_sub, to, from, *out);
}

/* Output 0 [tokens, heads * value_size]. */
static pare_status attend_packed(packed *p) {
  pare__attention *a = &p->a;
  pare__call *call = a->call;
  pare_tensor **part[3] = {&a->query, &a->key, &a->value}, *bias, *lengths, *sequences, *heads, *places, *out;
  const int64_t tokens = p->part[0]->shape.dim[0];
  int64_t dim[2];
  for (int i = 0; i < 3; i++) {
    PARE__TRY(pare__call_unpack_tokens(call, p->part[i], p->offsets, part[i]));
    PARE__TRY(pare__heads_of(call, *part[i], p->heads, part[i]));
  }
  a->scale = pare__call_get_float(call, "scale", 0);
  PARE__TRY(pare__attention_begin(a));
  PARE__TRY(pare__attention_scores(a));
  PARE__TRY(pare__call_tensor(call, p->bias, &bias));
  if (bias) PARE__TRY(pare__attention_mask(a, bias, 0));
  PARE__TRY(lengths_of(p, &lengths));
  PARE__TRY(pare__attention_lengths(a, lengths, -(double)FLT_MAX));
  PARE__TRY(pare__attention_softmax(a));
  const int64_t size = a->heads * a->value_size, joined[3] = {a->batch, a->queries, size};
  PARE__TRY(pare__call_scratch(call, a->dtype, 3, joined, &sequences));
  PARE__TRY(pare__heads_of(call, sequences, a->heads, &heads));
  PARE__TRY(pare__attention_values(a, heads));
  PARE__TRY(read_places(call, p->offsets, tokens, dim, &places));
  PARE__TRY(pare__call_output(call, 0, a->dtype, 2, (const int64_t[]){tokens, size}, &out));
  PARE__TRY(pare__call_reshaped(call, sequences, 2, (const int64_t[]){dim[0] * dim[1], size}, &sequences));
  return pare_gather(sequences, places, 0, out);
}

/* The columns of query, key and value of weights that have so many; qkv_hidden_sizes. */
static pare_status read_sizes(const pare__call *call, int64_t columns, int64_t size[3]) {
  size_t count;
  PARE__TRY(pare__call_get_ints(call, "qkv_hidden_sizes", size, 3, &count));
  if (count != 3) size[0] = size[1] = size[2] = columns / 3;
  const bool fits = size[0] >= 1 && size[1] == size[0] && size[2] >= 1 && size[0] <= columns / 2 &&
                    size[2] == columns - size[0] - size[1];
  if (fits) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "%lld columns of weights are not those of query, key and value",
                         (long long)columns);
}

/* Tokens [tokens, in], weights [in, q + k + v], bias, token_offset, sums of lengths, what is added to scores. */
static pare_status packed_attention(pare__call *call) {
  packed p = {
      .a = {.call = call}, .heads = pare__call_get_int(call, "num_heads", 0), .offsets = 3, .sums = 4, .bias = 5};
  pare_tensor *x, *weights, *bias, *all;
  int64_t size[3], first = 0;
  PARE__TRY(pare__call_check(call, 5, 6));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &weights));
  PARE__TRY(pare__call_tensor(call, 2, &bias));
  if (x->shape.rank != 2 || weights->shape.rank != 2)
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input and weights have ranks %d and %d; both must be 2",
                           x->shape.rank, weights->shape.rank);
  const int64_t columns = weights->shape.dim[1];
  PARE__TRY(read_sizes(call, columns, size));
  PARE__TRY(pare__call_scratch(call, x->dtype, 2, (const int64_t[]){x->shape.dim[0], columns}, &all));
  PARE__TRY(pare_gemm(x, weights, bias, NULL, all));
  for (int i = 0; i < 3; first += size[i++]) PARE__TRY(pare__call_slice(call, all, 1, first, size[i], 1, &p.part[i]));
  return attend_packed(&p);
}

/* Keys and values may be packed into the queries [tokens, heads, 3, size]. */
static pare_status take_tokens(packed *p) {
  pare__call *call = p->a.call;
  for (unsigned i = 0; i < 3; i++) PARE__TRY(pare__call_tensor(call, i, &p->part[i]));
  const pare__shape shape = p->part[0]->shape;
  const int64_t joined[2] = {shape.dim[0], shape.rank == 4 ? shape.dim[1] * shape.dim[3] : 0};
  pare_tensor *all = p->part[0];
  if (!p->part[1] && !p->part[2] && shape.rank == 4 && shape.dim[2] == 3) {
    for (int i = 0; i < 3; i++) {
      PARE__TRY(pare__call_at(call, all, 2, i, &p->part[i]));
      PARE__TRY(pare__call_reshaped(call, p->part[i], 2, joined, &p->part[i]));
    }
    return PARE_OK;
  }
  for (int i = 0; i < 3; i++)
    if (!p->part[i] || p->part[i]->shape.rank != 2 || p->part[i]->shape.dim[0] != shape.dim[0])
      return pare__call_fail(call, PARE_ERR_SHAPE,
                             "input %d does not fit queries of rank %d: three of [tokens, size], or one of [tokens, "
                             "heads, 3, size], are possible",
                             i, shape.rank);
  return PARE_OK;
}

static pare_status packed_multi_head_attention(pare__call *call) {
  packed p = {
      .a = {.call = call}, .heads = pare__call_get_int(call, "num_heads", 0), .offsets = 4, .sums = 5, .bias = 6};
  pare_tensor *bias, *some, *sum;
  int64_t first = 0;
  PARE__TRY(pare__call_check(call, 1, 7));
  PARE__TRY(take_tokens(&p));
  PARE__TRY(pare__call_tensor(call, 3, &bias));
  for (int i = 0; bias && i < 3; i++) {
    const int64_t *dim = p.part[i]->shape.dim;
    PARE__TRY(pare__call_slice(call, bias, 0, first, dim[1], 1, &some));
    PARE__TRY(pare__call_scratch(call, p.part[i]->dtype, 2, dim, &sum));
    PARE__TRY(pare_binary(PARE_BINARY_add, p.part[i], some, sum));
    p.part[i] = sum;
    first += dim[1];
  }
  return attend_packed(&p);
}

#define ROW(op, function) \
  { "com.microsoft", op, 1, 0, PARE__ON_DEVICE, function, NULL, .types = "floats" }
const pare__operator pare__operators_packed[] = {
    ROW("RemovePadding", remove_padding),
    ROW("RestorePadding", restore_padding),
    ROW("PackedAttention", packed_attention),
    ROW("PackedMultiHeadAttention", packed_multi_head_attention),
    {0},
};
