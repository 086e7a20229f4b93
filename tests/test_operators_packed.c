/* Operators of com.microsoft on packed tokens, on blocks of keys and on positions: against formulas in double
 * precision. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"

static char folder[] = "/tmp/pare-test-packed-XXXXXX";

/* ---- packing ---- */

enum { BATCH = 3, LENGTH = 4, TOKENS = 7, HEADS = 2, SIZE = 3, WIDE = HEADS * SIZE };
static const int32_t counts[BATCH] = {1, 2, 4}, sums[BATCH + 1] = {0, 1, 3, 7};
static const int32_t places[BATCH * LENGTH] = {0, 4, 5, 8, 9, 10, 11, 1, 2, 3, 6, 7};
static const int64_t places_dim[2] = {BATCH, LENGTH};

/* _i: tokens, places, sums, the most of one; 4: of no token at all. */
START_TEST(padding_is_removed) {
  static const char *const outputs[] = {"y", "t", "s", "m", "y"};
  static const int32_t none[BATCH] = {0};
  float *x = random_floats(BATCH * LENGTH * WIDE, 1);
  one_node one = one_node_contributed("RemovePadding", "x n", "y t s m");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){BATCH, LENGTH, WIDE}, x);
  one_node_input(&one, "n", PARE__ONNX_INT32, 1, (const int64_t[]){BATCH}, _i == 4 ? none : counts);
  if (_i % 4 == 0) {
    double y[TOKENS * WIDE];
    for (int i = 0; i < TOKENS * WIDE; i++) y[i] = (double)x[places[i / WIDE] * WIDE + i % WIDE];
    one_node_expect(folder, &one, outputs[_i], _i == 4 ? 0 : TOKENS * WIDE, y);
  } else {
    int64_t expected[BATCH * LENGTH] = {4};
    const int count = _i == 1 ? BATCH * LENGTH : _i == 2 ? BATCH + 1 : 1;
    for (int i = 0; i < count && _i < 3; i++) expected[i] = _i == 1 ? places[i] : sums[i];
    one_node_expect_integers(folder, &one, outputs[_i], count, expected);
  }
  free(x);
}
END_TEST

START_TEST(sequences_with_too_many_tokens_are_refused) {
  const int32_t many[BATCH] = {1, LENGTH + 1, 0};
  float *x = random_floats(BATCH * LENGTH * WIDE, 1);
  one_node one = one_node_contributed("RemovePadding", "x n", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){BATCH, LENGTH, WIDE}, x);
  one_node_input(&one, "n", PARE__ONNX_INT32, 1, (const int64_t[]){BATCH}, many);
  one_node_refused(folder, &one, PARE_ERR_ARGUMENT, "sequence 1 has 5 tokens; 0 to 4 are possible");
  free(x);
}
END_TEST

START_TEST(padding_is_restored_as_zeros) {
  float *x = random_floats(TOKENS * WIDE, 1);
  double y[BATCH * LENGTH * WIDE] = {0};
  for (int i = 0; i < TOKENS * WIDE; i++) y[places[i / WIDE] * WIDE + i % WIDE] = (double)x[i];
  one_node one = one_node_contributed("RestorePadding", "x t", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){TOKENS, WIDE}, x);
  one_node_input(&one, "t", PARE__ONNX_INT32, 2, places_dim, places);
  one_node_expect(folder, &one, "y", BATCH * LENGTH * WIDE, y);
  free(x);
}
END_TEST

/* ---- attention ---- */

/* y [TOKENS, WIDE]: every token attends to those of its own sequence; part [3][TOKENS * WIDE]. */
static void attend(double *const *part, double scale, const float *bias, double *y) {
  for (int token = 0; token < TOKENS; token++)
    for (int h = 0; h < HEADS; h++) {
      int b = 0;
      while (sums[b + 1] <= token) b++;
      double weight[LENGTH], sum = 0;
      for (int k = sums[b]; k < sums[b + 1]; k++) {
        const int at = k - sums[b], row = token - sums[b];
        weight[at] = bias ? (double)bias[((b * HEADS + h) * LENGTH + row) * LENGTH + at] : 0;
        for (int e = h * SIZE; e < (h + 1) * SIZE; e++)
          weight[at] += scale * part[0][token * WIDE + e] * part[1][k * WIDE + e];
        sum += weight[at] = exp(weight[at]);
      }
      for (int e = h * SIZE; e < (h + 1) * SIZE; e++) {
        y[token * WIDE + e] = 0;
        for (int k = sums[b]; k < sums[b + 1]; k++)
          y[token * WIDE + e] += weight[k - sums[b]] / sum * part[2][k * WIDE + e];
      }
    }
}

static void add_places(one_node *one) {
  one_node_input(one, "t", PARE__ONNX_INT32, 2, places_dim, places);
  one_node_input(one, "s", PARE__ONNX_INT32, 1, (const int64_t[]){BATCH + 1}, sums);
}

/* Of tokens and weights of queries, keys and values; _i: with a bias of the scores and a scale. */
START_TEST(packed_attention_keeps_to_its_sequences) {
  enum { IN = 5 };
  float *x = random_floats(TOKENS * IN, 1), *w = random_floats(IN * 3 * WIDE, 2), *b = random_floats(3 * WIDE, 3),
        *added = random_floats(BATCH * HEADS * LENGTH * LENGTH, 4);
  double part[3][TOKENS * WIDE], y[TOKENS * WIDE];
  for (int p = 0; p < 3; p++)
    for (int i = 0; i < TOKENS * WIDE; i++) {
      part[p][i] = (double)b[p * WIDE + i % WIDE];
      for (int k = 0; k < IN; k++)
        part[p][i] += (double)x[i / WIDE * IN + k] * (double)w[(k * 3 + p) * WIDE + i % WIDE];
    }
  attend((double *const[]){part[0], part[1], part[2]}, _i ? 0.25 : 1 / sqrt(SIZE), _i ? added : NULL, y);
  one_node one = one_node_contributed("PackedAttention", _i ? "x w b t s a" : "x w b t s", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){TOKENS, IN}, x);
  add_places(&one);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){IN, 3 * WIDE}, w);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){3 * WIDE}, b);
  if (_i) one_node_input(&one, "a", PARE__ONNX_FLOAT, 4, (const int64_t[]){BATCH, HEADS, LENGTH, LENGTH}, added);
  if (_i) node_float(one.onnx, one.node, "scale", 0.25F);
  node_int(one.onnx, one.node, "num_heads", HEADS);
  one_node_expect(folder, &one, "y", TOKENS * WIDE, y);
  FREE_ALL(x, w, b, added);
}
END_TEST

/* Of queries, keys and values apart with a bias (_i 0), of all in one input, and that with a bias. */
START_TEST(packed_multi_head_attention_keeps_to_its_sequences) {
  const bool joined = _i > 0, biased = _i != 1;
  float *x[3], *b = random_floats(3 * WIDE, 4), all[3 * TOKENS * WIDE];
  double part[3][TOKENS * WIDE], y[TOKENS * WIDE];
  for (uint32_t p = 0; p < 3; p++) {
    x[p] = random_floats(TOKENS * WIDE, 1 + p);
    for (uint32_t i = 0; i < TOKENS * WIDE; i++) {
      part[p][i] = (double)x[p][i] + (biased ? (double)b[p * WIDE + i % WIDE] : 0);
      all[(i / SIZE * 3 + p) * SIZE + i % SIZE] = x[p][i];
    }
  }
  attend((double *const[]){part[0], part[1], part[2]}, 1 / sqrt(SIZE), NULL, y);
  one_node one = one_node_contributed("PackedMultiHeadAttention",
                                      !joined  ? "q k v b t s"
                                      : biased ? "q - - b t s"
                                               : "q - - - t s",
                                      "y");
  if (joined) one_node_input(&one, "q", PARE__ONNX_FLOAT, 4, (const int64_t[]){TOKENS, HEADS, 3, SIZE}, all);
  for (int p = 0; p < 3 && !joined; p++)
    one_node_input(&one, p == 0 ? "q" : p == 1 ? "k" : "v", PARE__ONNX_FLOAT, 2, (const int64_t[]){TOKENS, WIDE}, x[p]);
  if (biased) model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){3 * WIDE}, b);
  add_places(&one);
  node_int(one.onnx, one.node, "num_heads", HEADS);
  one_node_expect(folder, &one, "y", TOKENS * WIDE, y);
  FREE_ALL(x[0], x[1], x[2], b);
}
END_TEST

/* ---- SparseAttention ---- */

enum { BLOCK = 16, BLOCKS = 4, ROOM = BLOCK * BLOCKS, KV = 2, Q_HEADS = 4, LAYOUTS = 2 };
static const int32_t layout[LAYOUTS][BLOCKS][BLOCKS] = {{{1, 0, 0, 0}, {1, 1, 0, 0}, {0, 1, 1, 0}, {0, 1, 1, 1}},
                                                        {{1, 0, 0, 0}, {1, 1, 0, 0}, {1, 1, 1, 0}, {1, 0, 1, 1}}};
static const int32_t block_rows[LAYOUTS * (BLOCKS + 1)] = {0, 1, 3, 5, 8, 0, 1, 3, 6, 9};
static const int32_t block_columns[LAYOUTS * 9] = {0, 0, 1, 1, 2, 1, 2, 3, -1, 0, 0, 1, 0, 1, 2, 0, 2, 3};

/* Rotates pairs of halves by the row of the caches. */
static void rotate(double *x, const float *cosine, const float *sine) {
  for (int e = 0; e < 2; e++) {
    const double a = x[e], b = x[e + 2], c = (double)cosine[e], s = (double)sine[e];
    x[e] = a * c - b * s;
    x[e + 2] = b * c + a * s;
  }
}

/* _i 0: a prompt that fills most of the room; 1: the next token, of sequences of unlike lengths, rotated; 2: two of
 * them, all in one input. */
START_TEST(sparse_attention_sees_the_blocks_of_its_layout) {
  enum { N = 2, D = 4, MOST = 60 };
  const int new_keys = _i == 0 ? MOST : _i, total = _i == 0 ? MOST : 50, all_heads = Q_HEADS + 2 * KV;
  const bool rotated = _i == 1, joined = _i == 2;
  const int32_t length[N] = {total, _i == 0 ? total : 37}, whole = total;
  float *x = random_floats((int64_t)N * new_keys * all_heads * D, 1), *past[2],
        *cosine = random_floats(ROOM * D / 2, 4), *sine = random_floats(ROOM * D / 2, 5);
  double *y = calloc((size_t)(N * new_keys * Q_HEADS * D), sizeof *y), *present[2];
  for (int p = 0; p < 2; p++) {
    past[p] = random_floats(N * KV * ROOM * D, 2 + (uint32_t)p);
    present[p] = calloc(N * KV * ROOM * D, sizeof(double));
    for (int i = 0; i < N * KV * ROOM * D; i++) present[p][i] = (double)past[p][i];
  }
  for (int b = 0; b < N; b++)
    for (int i = 0; i < new_keys; i++)
      for (int p = 0; p < 2; p++)
        for (int h = 0; h < KV; h++) {
          double *to = present[p] + ((b * KV + h) * ROOM + length[b] - new_keys + i) * D;
          for (int e = 0; e < D; e++)
            to[e] = (double)x[((b * new_keys + i) * all_heads + Q_HEADS + p * KV + h) * D + e];
          if (rotated && p == 0)
            rotate(to, cosine + (length[b] - new_keys + i) * D / 2, sine + (length[b] - new_keys + i) * D / 2);
        }
  for (int row = 0; row < N * new_keys * Q_HEADS; row++) {
    const int b = row / Q_HEADS / new_keys, h = row % Q_HEADS, at = length[b] - new_keys + row / Q_HEADS % new_keys;
    double q[D], weight[ROOM], sum = 0;
    const double *k = present[0] + (b * KV + h / 2) * ROOM * D, *v = present[1] + (b * KV + h / 2) * ROOM * D;
    for (int e = 0; e < D; e++) q[e] = (double)x[(row / Q_HEADS * all_heads + h) * D + e];
    if (rotated) rotate(q, cosine + at * D / 2, sine + at * D / 2);
    for (int i = 0; i <= at; i++) {
      weight[i] = 0;
      for (int e = 0; e < D; e++) weight[i] += q[e] * k[i * D + e] / sqrt(D);
      weight[i] = layout[h % LAYOUTS][at / BLOCK][i / BLOCK] ? exp(weight[i]) : 0;
      sum += weight[i];
    }
    for (int i = 0; i <= at; i++)
      for (int e = 0; e < D; e++) y[row * D + e] += weight[i] / sum * v[i * D + e];
  }
  one_node one = one_node_contributed("SparseAttention",
                                      joined    ? "q - - K V r c n l"
                                      : rotated ? "q k v K V r c n l cos sin"
                                                : "q k v K V r c n l",
                                      "y k2 v2");
  const int heads[3] = {Q_HEADS, KV, KV};
  static const char *const names[3] = {"q", "k", "v"};
  for (int p = 0, first = 0; p < 3 && !joined; first += heads[p++]) {
    const int64_t dim[3] = {N, new_keys, heads[p] * D};
    float *part = calloc((size_t)(N * new_keys * heads[p] * D), sizeof *part);
    for (int i = 0; i < N * new_keys * heads[p] * D; i++)
      part[i] = x[(i / (heads[p] * D) * all_heads + first) * D + i % (heads[p] * D)];
    one_node_input(&one, names[p], PARE__ONNX_FLOAT, 3, dim, part);
    free(part);
  }
  if (joined) one_node_input(&one, "q", PARE__ONNX_FLOAT, 3, (const int64_t[]){N, new_keys, all_heads * D}, x);
  const int64_t past_dim[4] = {N, KV, ROOM, D}, cache[2] = {ROOM, D / 2};
  one_node_input(&one, "K", PARE__ONNX_FLOAT, 4, past_dim, past[0]);
  one_node_input(&one, "V", PARE__ONNX_FLOAT, 4, past_dim, past[1]);
  model_constant(one.onnx, "r", PARE__ONNX_INT32, 2, (const int64_t[]){LAYOUTS, BLOCKS + 1}, block_rows);
  one_node_input(&one, "c", PARE__ONNX_INT32, 2, (const int64_t[]){LAYOUTS, 9}, block_columns);
  model_constant(one.onnx, "n", PARE__ONNX_INT32, 1, (const int64_t[]){1}, &whole);
  one_node_input(&one, "l", PARE__ONNX_INT32, 1, (const int64_t[]){N}, length);
  if (rotated) model_constant(one.onnx, "cos", PARE__ONNX_FLOAT, 2, cache, cosine);
  if (rotated) model_constant(one.onnx, "sin", PARE__ONNX_FLOAT, 2, cache, sine);
  node_int(one.onnx, one.node, "num_heads", Q_HEADS);
  node_int(one.onnx, one.node, "kv_num_heads", KV);
  node_int(one.onnx, one.node, "sparse_block_size", BLOCK);
  if (rotated) node_int(one.onnx, one.node, "do_rotary", 1);
  one_node_expect(folder, &one, "y", (int64_t)N * new_keys * Q_HEADS * D, y);
  FREE_ALL(x, past[0], past[1], cosine, sine);
  free(present[0]);
  free(present[1]);
  free(y);
}
END_TEST

/* ---- positions ---- */

/* The bucket by its definition: both sides have half of them; the near half of these have one distance each, and the
 * last, a logarithm, reaches to max_distance. */
static int bucket(int behind, int buckets, int most, bool both) {
  const int side = both ? buckets / 2 : buckets, near = side / 2, distance = abs(behind);
  const int first = both && behind > 0 ? side : 0;
  if (distance < near) return first + distance;
  const double far = near + floor(log((double)distance / near) / log((double)most / near) * (side - near) + 1e-9);
  return first + (far > side - 1 ? side - 1 : (int)far);
}

START_TEST(relative_positions_have_buckets) {
  enum { KINDS = 8, KEYS = 11, MOST = 10 };
  const bool both = _i % 2;
  const int64_t keys = KEYS, other = KEYS - 1;
  float *table = random_floats(HEADS * KINDS, 1);
  double y[HEADS * KEYS * KEYS];
  for (int i = 0; i < HEADS * KEYS * KEYS; i++)
    y[i] = (double)table[i / (KEYS * KEYS) * KINDS + bucket(i % KEYS - i / KEYS % KEYS, KINDS, MOST, both)];
  one_node one = one_node_contributed("RelativePositionBias", "t q k", "y");
  one_node_input(&one, "t", PARE__ONNX_FLOAT, 2, (const int64_t[]){KINDS, HEADS}, table);
  one_node_input(&one, "q", PARE__ONNX_INT64, 1, (const int64_t[]){1}, &keys);
  one_node_input(&one, "k", PARE__ONNX_INT64, 1, (const int64_t[]){1}, _i == 2 ? &other : &keys);
  node_int(one.onnx, one.node, "is_bidirectional", both);
  node_int(one.onnx, one.node, "max_distance", MOST);
  if (_i == 2)
    one_node_refused(folder, &one, PARE_ERR_SHAPE, "11 queries and 10 keys");
  else
    one_node_expect(folder, &one, "y", HEADS * KEYS * KEYS, y);
  free(table);
}
END_TEST

/* _i: of sequences, or of packed tokens, of which the padding has zeros. */
START_TEST(gates_of_relative_positions) {
  enum { D = 4, ROWS = BATCH * LENGTH };
  float *tokens = random_floats(ROWS * WIDE, 1), *b = random_floats(WIDE, 2),
        *positions = random_floats(HEADS * LENGTH * LENGTH, 3), *w = random_floats(SIZE * D, 4),
        *wb = random_floats(D, 5), *eco = random_floats(HEADS, 6), rows[ROWS * WIDE] = {0};
  double y[ROWS * HEADS * LENGTH];
  for (int i = 0; i < (_i ? TOKENS : ROWS) * WIDE; i++)
    rows[(_i ? places[i / WIDE] : i / WIDE) * WIDE + i % WIDE] = tokens[i];
  for (int i = 0; i < BATCH * HEADS * LENGTH; i++) {
    const int seq = i / (HEADS * LENGTH), h = i / LENGTH % HEADS, row = i % LENGTH;
    double gate[2] = {0, 0};
    for (int d = 0; d < D; d++) {
      double sum = (double)wb[d];
      for (int e = 0; e < SIZE; e++) {
        const int at = h * SIZE + e;
        sum += ((double)rows[(seq * LENGTH + row) * WIDE + at] + (double)b[at]) * (double)w[e * D + d];
      }
      gate[d / (D / 2)] += sum;
    }
    for (int k = 0; k < 2; k++) gate[k] = 1 / (1 + exp(-gate[k]));
    for (int k = 0; k < LENGTH; k++)
      y[i * LENGTH + k] =
          (gate[0] * (gate[1] * (double)eco[h] - 1) + 2) * (double)positions[(h * LENGTH + row) * LENGTH + k];
  }
  one_node one = one_node_contributed("GatedRelativePositionBias", _i ? "x b p w d e t" : "x b p w d e", "y");
  if (_i) {
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){TOKENS, WIDE}, tokens);
    one_node_input(&one, "t", PARE__ONNX_INT32, 2, places_dim, places);
  } else {
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){BATCH, LENGTH, WIDE}, tokens);
  }
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDE}, b);
  one_node_input(&one, "p", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, HEADS, LENGTH, LENGTH}, positions);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){SIZE, D}, w);
  model_constant(one.onnx, "d", PARE__ONNX_FLOAT, 1, (const int64_t[]){D}, wb);
  model_constant(one.onnx, "e", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, HEADS, 1, 1}, eco);
  node_int(one.onnx, one.node, "num_heads", HEADS);
  one_node_expect(folder, &one, "y", ROWS * HEADS * LENGTH, y);
  FREE_ALL(tokens, b, positions, w, wb, eco);
}
END_TEST

/* _i: sections one after the other or in turns (bit 0); heads apart, of which some elements stay, with neighbours as
 * pairs (bit 1). */
START_TEST(three_positions_rotate_a_token) {
  enum { SEQUENCES = 2, TOKEN = 3, ROWS = 16, PAIRS = 8, MOST_SIZE = 20 };
  const bool turns = _i % 2, apart = _i / 2;
  const int size = apart ? MOST_SIZE : 2 * PAIRS;
  static const int64_t sections[2][3] = {{2, 3, 3}, {3, 3, 2}};
  int64_t positions[3 * SEQUENCES * TOKEN];
  for (int i = 0; i < 3 * SEQUENCES * TOKEN; i++) positions[i] = i * 7 % ROWS;
  float *x = random_floats(SEQUENCES * TOKEN * HEADS * MOST_SIZE, 1), *cosine = random_floats(ROWS * PAIRS, 2),
        *sine = random_floats(ROWS * PAIRS, 3);
  double y[SEQUENCES * TOKEN * HEADS * MOST_SIZE];
  const int count = SEQUENCES * TOKEN * HEADS * size;
  for (int i = 0; i < count; i++) y[i] = (double)x[i];
  for (int row = 0; row < SEQUENCES * TOKEN * HEADS; row++) {
    const int token = apart ? row / (HEADS * TOKEN) * TOKEN + row % TOKEN : row / HEADS;
    for (int p = 0; p < PAIRS; p++) {
      const int64_t *section = sections[turns];
      int k = turns ? p % 3 : p < section[0] ? 0 : p < section[0] + section[1] ? 1 : 2;
      if (turns && p >= 3 * section[k]) k = 0;
      const int64_t at = positions[k * SEQUENCES * TOKEN + token] * PAIRS + p;
      const int first = row * size + (apart ? 2 * p : p), second = first + (apart ? 1 : PAIRS);
      const double a = (double)x[first], b = (double)x[second];
      y[first] = a * (double)cosine[at] - b * (double)sine[at];
      y[second] = b * (double)cosine[at] + a * (double)sine[at];
    }
  }
  one_node one = one_node_contributed("MRotaryEmbedding", "x p c s", "y");
  if (apart)
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){SEQUENCES, HEADS, TOKEN, size}, x);
  else
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){SEQUENCES, TOKEN, (int64_t)HEADS * size}, x);
  one_node_input(&one, "p", PARE__ONNX_INT64, 3, (const int64_t[]){3, SEQUENCES, TOKEN}, positions);
  model_constant(one.onnx, "c", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, PAIRS}, cosine);
  model_constant(one.onnx, "s", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, PAIRS}, sine);
  node_ints(one.onnx, one.node, "mrope_section", 3, sections[turns]);
  node_int(one.onnx, one.node, "mrope_layout", turns);
  node_int(one.onnx, one.node, "num_heads", HEADS);
  if (apart) node_int(one.onnx, one.node, "interleaved", 1);
  if (apart) node_int(one.onnx, one.node, "rotary_embedding_dim", 2 * PAIRS);
  one_node_expect(folder, &one, "y", count, y);
  FREE_ALL(x, cosine, sine);
}
END_TEST

/* Both outputs; angles are given. */
START_TEST(given_angles_rotate_queries_and_keys) {
  enum { COUNT = BATCH * HEADS * LENGTH * SIZE };
  float *angle = random_floats(BATCH * LENGTH * SIZE, 1), *x[4];
  double y[COUNT];
  one_node one = one_node_contributed("GemmaRotaryEmbedding", "a q r k s", "y z");
  one_node_input(&one, "a", PARE__ONNX_FLOAT, 3, (const int64_t[]){BATCH, LENGTH, SIZE}, angle);
  static const char *const names[4] = {"q", "r", "k", "s"};
  for (uint32_t i = 0; i < 4; i++) {
    x[i] = random_floats(COUNT, 2 + i);
    one_node_input(&one, names[i], PARE__ONNX_FLOAT, 4, (const int64_t[]){BATCH, HEADS, LENGTH, SIZE}, x[i]);
  }
  for (int i = 0; i < COUNT; i++) {
    const double at = (double)angle[i / (HEADS * LENGTH * SIZE) * LENGTH * SIZE + i % (LENGTH * SIZE)];
    y[i] = (double)x[2 * _i][i] * cos(at) + (double)x[2 * _i + 1][i] * sin(at);
  }
  one_node_expect(folder, &one, _i ? "z" : "y", COUNT, y);
  FREE_ALL(angle, x[0], x[1], x[2], x[3]);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("packed tokens");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, padding_is_removed, 0, 5);
  tcase_add_test(tests, sequences_with_too_many_tokens_are_refused);
  tcase_add_test(tests, padding_is_restored_as_zeros);
  tcase_add_loop_test(tests, packed_attention_keeps_to_its_sequences, 0, 2);
  tcase_add_loop_test(tests, packed_multi_head_attention_keeps_to_its_sequences, 0, 3);
  tcase_add_loop_test(tests, sparse_attention_sees_the_blocks_of_its_layout, 0, 3);
  tcase_add_loop_test(tests, relative_positions_have_buckets, 0, 3);
  tcase_add_loop_test(tests, gates_of_relative_positions, 0, 2);
  tcase_add_loop_test(tests, three_positions_rotate_a_token, 0, 4);
  tcase_add_loop_test(tests, given_angles_rotate_queries_and_keys, 0, 2);
  return remove_folder(folder, run_tests("packed tokens", tests));
}
