/* Scaled dot-product attention, composed of products and softmax. SPDX-License-Identifier: Apache-2.0
 *
 * out = softmax(softcap(scale Q K^T) + mask) V (Vaswani et al. 2017), softcap(x) = c tanh(x / c). Scores are f32, f64
 * for f64. */
#ifndef PARE_GRAPH_ATTENTION_H
#define PARE_GRAPH_ATTENTION_H

#include "graph/operator.h"

typedef struct pare__attention {
  pare__call *call;
  pare_dtype dtype;               /* of query, key and value */
  int64_t batch, heads, kv_heads; /* heads is a multiple of kv_heads: queries share keys and values */
  int64_t queries, keys, size, value_size;
  double scale, softcap; /* softcap 0: none */
  pare_tensor *query;    /* [batch, heads, queries, size], a view of any strides, as all three */
  pare_tensor *key;      /* [batch, kv_heads, keys, size] */
  pare_tensor *value;    /* [batch, kv_heads, keys, value_size] */
  pare_tensor *scores;   /* [batch, heads, queries, keys] */
  pare_tensor *nobody;   /* bool [batch, heads, queries, 1]: attends to no key; NULL: all do to some */
} pare__attention;

/* Reads the shapes of query, key and value, and checks that they fit. */
pare_status pare__attention_begin(pare__attention *attention);
/* scores = scale Q K^T */
pare_status pare__attention_scores(pare__attention *attention);
/* scores = softcap(scores) */
pare_status pare__attention_softcap(pare__attention *attention);
/* Adds a mask of floats, or makes `least` of the scores where a mask of bool is false; it broadcasts to the scores.
 * Its last dimension may be shorter than the keys: nobody attends to those beyond. */
pare_status pare__attention_mask(pare__attention *attention, pare_tensor *mask, double least);
/* Query i attends to keys from i + offset - left to i + offset + right, either of which -1 takes away: left -1 and
 * right 0 are causal attention. offset: an i64 tensor that broadcasts to [batch, 1, 1, 1]. */
pare_status pare__attention_window(pare__attention *attention, pare_tensor *offset, int64_t left, int64_t right,
                                   double least);
/* Nobody attends to keys from length[b] on; length: integers [batch]. */
pare_status pare__attention_lengths(pare__attention *attention, pare_tensor *length, double least);
/* From here on queries whose scores are all minus infinity get zeros, and not the NaN that softmax makes of them. */
pare_status pare__attention_nobody(pare__attention *attention);
/* Zeros in the rows [batch, heads, queries, n] of such queries. */
pare_status pare__attention_clear(pare__attention *attention, pare_tensor *rows);
/* scores = softmax(scores) */
pare_status pare__attention_softmax(pare__attention *attention);
/* The same with one more key, a sink that has this score (one, or [heads]) and no value. */
pare_status pare__attention_softmax_with(pare__attention *attention, pare_tensor *sink);
/* out [batch, heads, queries, value_size], a view of any strides, = scores V */
pare_status pare__attention_values(pare__attention *attention, pare_tensor *out);

/* out = x with pairs of elements rotated by the rows that the caches [rows, pairs] have for the positions (Su et al.
 * 2021); x and out are views [batch, length, heads, size]. Positions: integers [batch, length], or [1], where the first
 * stands; NULL: the caches are [batch, length, pairs]. Elements behind the pairs stay. */
pare_status pare__rotate(pare__call *call, pare_tensor *x, pare_tensor *cosines, pare_tensor *sines,
                         pare_tensor *positions, bool interleaved, int64_t pairs, pare_tensor *out);

/* [batch, length, heads * size] as [batch, heads, length, size]: a view. */
pare_status pare__heads_of(pare__call *call, pare_tensor *tensor, int64_t heads, pare_tensor **out);

/* Tokens [tokens, size] as [batch, length, size], zeros where there is none; input i has their places (token_offset).
 */
pare_status pare__call_unpack_tokens(pare__call *call, pare_tensor *tokens, unsigned i, pare_tensor **out);

#endif
