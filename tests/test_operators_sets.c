/* Einsum, recurrent cells, attention, running sums, ranges: against formulas in double precision, where the
 * ONNX suite's cases do not reach. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"

static char folder[] = "/tmp/pare-test-sets-XXXXXX";

enum { MOST_RANK = 6 };

/* ---- Einsum ---- */

static const struct {
  const char *equation, *result; /* the letters of the result, spelt out */
  int count;
  const char *term[3]; /* letters, and the length of each axis: a = 2, b = 3, c = 4, … */
} products[] = {
    {"ab,bc->ac", "ac", 2, {"ab", "bc"}},
    {"ab, cb", "ac", 2, {"ab", "cb"}},
    {"abc,cd,bd->ad", "ad", 3, {"abc", "cd", "bd"}},
    {"aab->ab", "ab", 1, {"aab"}},
    {"abb,b->a", "a", 2, {"abb", "b"}},
    {"abc->", "", 1, {"abc"}},
    {"a,b,c->cba", "cba", 3, {"a", "b", "c"}},
    {"abc,abc->b", "b", 2, {"abc", "abc"}},
    {"dabc,ebca->edcab", "edcab", 2, {"dabc", "ebca"}},
    {"ba", "ab", 1, {"ba"}},
    {"...ab,...bc->...ac", "dac", 2, {"dab", "dbc"}},
    {"...b->b...", "bda", 1, {"dab"}},
};

static int64_t length_of(char letter) { return letter - 'a' + 2; }

/* The element of a term where each letter has this index. */
static size_t element_at(const char *letters, const int64_t *index) {
  size_t at = 0;
  for (; *letters; letters++) at = at * (size_t)length_of(*letters) + (size_t)index[*letters - 'a'];
  return at;
}

START_TEST(einsum_multiplies_and_sums_by_letters) {
  enum { LETTERS = 5, MOST = 1024 };
  one_node one = one_node_begin(17, "Einsum",
                                products[_i].count == 1   ? "a"
                                : products[_i].count == 2 ? "a b"
                                                          : "a b c",
                                "y");
  one_node_text(&one, "equation", products[_i].equation);
  float *data[3] = {NULL, NULL, NULL};
  bool used[LETTERS] = {false};
  for (int t = 0; t < products[_i].count; t++) {
    const char *term = products[_i].term[t], name[2] = {(char)('a' + t), 0};
    int64_t dim[MOST_RANK];
    for (int d = 0; term[d]; d++) {
      dim[d] = length_of(term[d]);
      used[term[d] - 'a'] = true;
    }
    const int rank = (int)strlen(term);
    data[t] = random_floats(count_of(rank, dim), 7u + (uint32_t)t);
    one_node_input(&one, name, PARE__ONNX_FLOAT, rank, dim, data[t]);
  }
  double expected[MOST] = {0};
  int64_t total = 1, all = 1, index[LETTERS];
  for (const char *at = products[_i].result; *at; at++) total *= length_of(*at);
  for (int l = 0; l < LETTERS; l++) all *= used[l] ? length_of((char)('a' + l)) : 1;
  for (int64_t i = 0; i < all; i++) {
    int64_t rest = i;
    for (int l = 0; l < LETTERS; l++) {
      const int64_t length = used[l] ? length_of((char)('a' + l)) : 1;
      index[l] = rest % length;
      rest /= length;
    }
    double value = 1;
    for (int t = 0; t < products[_i].count; t++) value *= (double)data[t][element_at(products[_i].term[t], index)];
    expected[element_at(products[_i].result, index)] += value;
  }
  one_node_expect(folder, &one, "y", total, expected);
  for (int t = 0; t < 3; t++) free(data[t]);
}
END_TEST

START_TEST(einsum_of_integers_is_exact) {
  const int64_t a[6] = {1, INT64_C(1) << 60, 3, -4, 5, 6}, b[6] = {7, -8, 3, 2, 1, 9};
  one_node one = one_node_begin(17, "Einsum", "a b", "y");
  one_node_text(&one, "equation", "ij,jk->ki");
  one_node_input(&one, "a", PARE__ONNX_INT64, 2, (const int64_t[]){2, 3}, a);
  one_node_input(&one, "b", PARE__ONNX_INT64, 2, (const int64_t[]){3, 2}, b);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  int64_t found[4];
  OK(pare_tensor_read(out, found, sizeof found));
  const int64_t big = (int64_t)(3 * (UINT64_C(1) << 60));
  ck_assert(found[0] == 7 + big + 3 && found[1] == -28 + 15 + 6);
  ck_assert(found[2] == -8 + big - (INT64_C(1) << 60) + 27 && found[3] == 32 + 10 + 54);
  pare_tensor_close(out);
}
END_TEST

static const struct {
  const char *equation, *message;
  pare_status status;
} equations[] = {
    {"ab,bc->ad", "names it", PARE_ERR_FORMAT},
    {"ab,bc->aa", "repeats", PARE_ERR_FORMAT},
    {"ab", "fewer terms", PARE_ERR_FORMAT},
    {"ab,bc,cd->ad", "cannot be read", PARE_ERR_FORMAT},
    {"abc,bc->a", "axes", PARE_ERR_SHAPE},
    {"aa,bc->a", "equates", PARE_ERR_SHAPE},
    {"ab,ac->bc", "equates", PARE_ERR_SHAPE},
    {"a?,bc->ab", "axes", PARE_ERR_SHAPE},
    {"ab,bc->a...b...", "cannot be read", PARE_ERR_FORMAT},
};

START_TEST(equations_that_do_not_fit_are_refused) {
  const float data[12] = {0};
  one_node one = one_node_begin(17, "Einsum", "a b", "y");
  one_node_text(&one, "equation", equations[_i].equation);
  one_node_input(&one, "a", PARE__ONNX_FLOAT, 2, (const int64_t[]){2, 3}, data);
  one_node_input(&one, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){3, 4}, data);
  one_node_refused(folder, &one, equations[_i].status, equations[_i].message);
}
END_TEST

/* ---- recurrent cells ---- */

enum { STEPS = 4, BATCH = 3, INPUTS = 5, HIDDEN = 6, MOST_GATES = 4 };

static const struct {
  const char *op_type;
  int gates, directions;
  bool reverse, lengths, initial, bias, peepholes, linear, coupled, batch_first;
  float clip;
} cells[] = {
    {"RNN", 1, 1, false, true, true, true, false, false, false, false, 0},
    {"RNN", 1, 2, false, false, true, false, false, false, false, true, 0.3f},
    {"GRU", 3, 1, true, true, true, true, false, false, false, false, 0},
    {"GRU", 3, 1, false, false, true, true, false, true, false, false, 0},
    {"GRU", 3, 2, false, true, false, true, false, true, false, true, 0.4f},
    {"LSTM", 4, 1, true, true, true, true, true, false, false, false, 0},
    {"LSTM", 4, 2, false, true, true, true, true, false, true, true, 0.5f},
    {"LSTM", 4, 2, false, false, false, false, false, false, false, false, 0},
};
static const int64_t lengths_of[BATCH] = {4, 1, 3};

typedef struct cell_data {
  float *x, *w, *r, *b, *h, *c, *p;
} cell_data;

static double clipped(double x, double clip) { return clip > 0 ? fmin(fmax(x, -clip), clip) : x; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* One step of direction d for one sequence, by the formulas of the operators' definitions. */
static void reference_step(int which, int d, const cell_data *data, const float *x, double *h, double *c) {
  const int gates = cells[which].gates, rows = gates * HIDDEN;
  double from_x[MOST_GATES * HIDDEN], from_h[MOST_GATES * HIDDEN], next[HIDDEN], z[HIDDEN], reset[HIDDEN];
  const double clip = (double)cells[which].clip;
  for (int g = 0; g < rows; g++) {
    from_x[g] = data->b ? (double)data->b[d * 2 * rows + g] : 0;
    from_h[g] = data->b ? (double)data->b[d * 2 * rows + rows + g] : 0;
    for (int i = 0; i < INPUTS; i++) from_x[g] += (double)data->w[(d * rows + g) * INPUTS + i] * (double)x[i];
    for (int i = 0; i < HIDDEN; i++) from_h[g] += (double)data->r[(d * rows + g) * HIDDEN + i] * h[i];
  }
  for (int k = 0; k < HIDDEN; k++) {
    double gate[MOST_GATES];
    for (int g = 0; g < gates; g++) gate[g] = from_x[g * HIDDEN + k] + from_h[g * HIDDEN + k];
    if (gates == 1) next[k] = tanh(clipped(gate[0], clip));
    if (gates == 3) {
      z[k] = sigmoid(clipped(gate[0], clip));
      reset[k] = sigmoid(clipped(gate[1], clip));
    }
    if (gates != 4) continue;
    const float *p = data->p ? data->p + d * 3 * HIDDEN + k : NULL;
    const double in = sigmoid(clipped(gate[0] + (p ? (double)p[0] * c[k] : 0), clip));
    const double forget = sigmoid(clipped(gate[2] + (p ? (double)p[2 * HIDDEN] * c[k] : 0), clip));
    c[k] = (cells[which].coupled ? 1 - in : forget) * c[k] + in * tanh(clipped(gate[3], clip));
    next[k] = sigmoid(clipped(gate[1] + (p ? (double)p[HIDDEN] * c[k] : 0), clip)) * tanh(c[k]);
  }
  for (int k = 0; k < HIDDEN && gates == 3; k++) {
    double inner = from_h[2 * HIDDEN + k] * reset[k];
    if (!cells[which].linear) {
      inner = data->b ? (double)data->b[d * 2 * rows + rows + 2 * HIDDEN + k] : 0;
      for (int i = 0; i < HIDDEN; i++)
        inner += (double)data->r[(d * rows + 2 * HIDDEN + k) * HIDDEN + i] * reset[i] * h[i];
    }
    next[k] = (1 - z[k]) * tanh(clipped(from_x[2 * HIDDEN + k] + inner, clip)) + z[k] * h[k];
  }
  memcpy(h, next, sizeof next);
}

/* Y in the layout of the call. */
static void reference_cell(int which, const cell_data *data, double *y) {
  const int directions = cells[which].directions;
  const bool first = cells[which].batch_first;
  memset(y, 0, sizeof(double) * STEPS * 2 * BATCH * HIDDEN);
  for (int d = 0; d < directions; d++)
    for (int b = 0; b < BATCH; b++) {
      double h[HIDDEN], c[HIDDEN];
      const int state = (first ? b * directions + d : d * BATCH + b) * HIDDEN;
      for (int k = 0; k < HIDDEN; k++) {
        h[k] = data->h ? (double)data->h[state + k] : 0;
        c[k] = data->c ? (double)data->c[state + k] : 0;
      }
      const int steps = cells[which].lengths ? (int)lengths_of[b] : STEPS;
      for (int i = 0; i < steps; i++) {
        const int t = cells[which].reverse || d == 1 ? steps - 1 - i : i;
        reference_step(which, d, data, data->x + (first ? b * STEPS + t : t * BATCH + b) * INPUTS, h, c);
        double *to = y + (first ? (b * STEPS + t) * directions + d : (t * directions + d) * BATCH + b) * HIDDEN;
        memcpy(to, h, sizeof h);
      }
    }
}

/* weights: are they constants? */
static void check_cell(int which, bool weights) {
  const int gates = cells[which].gates, directions = cells[which].directions, rows = gates * HIDDEN;
  const bool lstm = gates == 4, first = cells[which].batch_first;
  const int64_t w_dim[3] = {directions, rows, INPUTS}, r_dim[3] = {directions, rows, HIDDEN};
  const int64_t x_dim[3] = {first ? BATCH : STEPS, first ? STEPS : BATCH, INPUTS};
  const int64_t state[3] = {first ? BATCH : directions, first ? directions : BATCH, HIDDEN};
  const bool has_c = lstm && cells[which].initial;
  char names[64];
  snprintf(names, sizeof names, "x w r %s %s %s%s%s", cells[which].bias ? "b" : "-", cells[which].lengths ? "l" : "-",
           cells[which].initial ? "h" : "-", lstm ? (has_c ? " c" : " -") : "", cells[which].peepholes ? " p" : "");
  one_node one = one_node_begin(17, cells[which].op_type, names, "y");
  cell_data data = {.x = random_floats(STEPS * BATCH * INPUTS, 1),
                    .w = random_floats(directions * rows * INPUTS, 2),
                    .r = random_floats(directions * rows * HIDDEN, 3)};
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, x_dim, data.x);
  if (weights) {
    model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 3, w_dim, data.w);
    model_constant(one.onnx, "r", PARE__ONNX_FLOAT, 3, r_dim, data.r);
  } else {
    one_node_input(&one, "w", PARE__ONNX_FLOAT, 3, w_dim, data.w);
    one_node_input(&one, "r", PARE__ONNX_FLOAT, 3, r_dim, data.r);
  }
  if (cells[which].bias) {
    data.b = random_floats(directions * 2 * rows, 4);
    one_node_input(&one, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){directions, 2 * rows}, data.b);
  }
  if (cells[which].lengths) {
    int32_t lengths[BATCH];
    for (int b = 0; b < BATCH; b++) lengths[b] = (int32_t)lengths_of[b];
    one_node_input(&one, "l", PARE__ONNX_INT32, 1, (const int64_t[]){BATCH}, lengths);
  }
  if (cells[which].initial) {
    data.h = random_floats(directions * BATCH * HIDDEN, 5);
    one_node_input(&one, "h", PARE__ONNX_FLOAT, 3, state, data.h);
  }
  if (has_c) {
    data.c = random_floats(directions * BATCH * HIDDEN, 6);
    one_node_input(&one, "c", PARE__ONNX_FLOAT, 3, state, data.c);
  }
  if (cells[which].peepholes) {
    data.p = random_floats(directions * 3 * HIDDEN, 7);
    one_node_input(&one, "p", PARE__ONNX_FLOAT, 2, (const int64_t[]){directions, 3 * HIDDEN}, data.p);
  }
  node_int(one.onnx, one.node, "hidden_size", HIDDEN);
  if (first) node_int(one.onnx, one.node, "layout", 1);
  if (cells[which].linear) node_int(one.onnx, one.node, "linear_before_reset", 1);
  if (cells[which].coupled) node_int(one.onnx, one.node, "input_forget", 1);
  if (cells[which].clip > 0) node_float(one.onnx, one.node, "clip", cells[which].clip);
  if (directions == 2 || cells[which].reverse)
    one_node_text(&one, "direction", directions == 2 ? "bidirectional" : "reverse");
  double y[STEPS * 2 * BATCH * HIDDEN];
  reference_cell(which, &data, y);
  one_node_expect(folder, &one, "y", (int64_t)STEPS * directions * BATCH * HIDDEN, y);
  FREE_ALL(data.x, data.w, data.r, data.b, data.h, data.c, data.p);
}

START_TEST(recurrent_cells_follow_their_formulas) {
  check_cell(_i, false);
  check_cell(_i, true);
}
END_TEST

/* ---- attention ---- */

START_TEST(attention_with_shared_heads_mask_past_and_softcap) {
  enum { B = 2, Q = 3, PAST = 2, HEADS = 4, KV = 2, SIZE = 5, KEYS = PAST + Q };
  const double cap = 1.5;
  const int64_t q_dim[3] = {B, Q, HEADS * SIZE}, kv_dim[3] = {B, Q, KV * SIZE}, past_dim[4] = {B, KV, PAST, SIZE};
  float *q = random_floats(B * Q * HEADS * SIZE, 1), *k = random_floats(B * Q * KV * SIZE, 2);
  float *v = random_floats(B * Q * KV * SIZE, 3), *mask = random_floats(Q * KEYS, 4);
  float *past_k = random_floats(B * KV * PAST * SIZE, 5), *past_v = random_floats(B * KV * PAST * SIZE, 6);
  one_node one = one_node_begin(23, "Attention", "q k v m pk pv", "y");
  one_node_input(&one, "q", PARE__ONNX_FLOAT, 3, q_dim, q);
  one_node_input(&one, "k", PARE__ONNX_FLOAT, 3, kv_dim, k);
  one_node_input(&one, "v", PARE__ONNX_FLOAT, 3, kv_dim, v);
  one_node_input(&one, "m", PARE__ONNX_FLOAT, 2, (const int64_t[]){Q, KEYS}, mask);
  one_node_input(&one, "pk", PARE__ONNX_FLOAT, 4, past_dim, past_k);
  one_node_input(&one, "pv", PARE__ONNX_FLOAT, 4, past_dim, past_v);
  node_int(one.onnx, one.node, "q_num_heads", HEADS);
  node_int(one.onnx, one.node, "kv_num_heads", KV);
  node_int(one.onnx, one.node, "is_causal", 1);
  node_float(one.onnx, one.node, "softcap", (float)cap);
  double y[B * Q * HEADS * SIZE];
  for (int b = 0; b < B; b++)
    for (int h = 0; h < HEADS; h++)
      for (int i = 0; i < Q; i++) {
        const int shared = h / (HEADS / KV);
        double score[KEYS], sum = 0;
        for (int j = 0; j < KEYS; j++) {
          score[j] = 0;
          for (int s = 0; s < SIZE; s++) {
            const float key = j < PAST ? past_k[((b * KV + shared) * PAST + j) * SIZE + s]
                                       : k[(b * Q + j - PAST) * KV * SIZE + shared * SIZE + s];
            score[j] += (double)q[(b * Q + i) * HEADS * SIZE + h * SIZE + s] * (double)key;
          }
          score[j] = cap * tanh(score[j] / sqrt(SIZE) / cap) + (double)mask[i * KEYS + j];
          score[j] = j <= i + PAST ? exp(score[j]) : 0;
          sum += score[j];
        }
        for (int s = 0; s < SIZE; s++) {
          double value = 0;
          for (int j = 0; j < KEYS; j++)
            value += score[j] / sum *
                     (double)(j < PAST ? past_v[((b * KV + shared) * PAST + j) * SIZE + s]
                                       : v[(b * Q + j - PAST) * KV * SIZE + shared * SIZE + s]);
          y[(b * Q + i) * HEADS * SIZE + h * SIZE + s] = value;
        }
      }
  one_node_expect(folder, &one, "y", B * Q * HEADS * SIZE, y);
  FREE_ALL(q, k, v, mask, past_k, past_v);
}
END_TEST

/* com.microsoft Attention: projection, bias, padding mask; the filter value hides all but the first keys. */
START_TEST(attention_of_onnx_runtime_projects_and_masks) {
  enum { B = 2, S = 4, IN = 6, HEADS = 2, SIZE = 3, D = HEADS * SIZE };
  const int32_t mask[B * S] = {1, 1, 1, 1, 1, 1, 0, 0};
  float *x = random_floats(B * S * IN, 1), *w = random_floats(IN * 3 * D, 2), *bias = random_floats(3 * D, 3);
  one_node one = one_node_begin(17, "Attention", "x w b m", "y");
  one.node->domain = "com.microsoft";
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){B, S, IN}, x);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){IN, 3 * D}, w);
  one_node_input(&one, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){3 * D}, bias);
  one_node_input(&one, "m", PARE__ONNX_INT32, 2, (const int64_t[]){B, S}, mask);
  node_int(one.onnx, one.node, "num_heads", HEADS);
  double all[B * S * 3 * D], y[B * S * D];
  for (int row = 0; row < B * S; row++)
    for (int c = 0; c < 3 * D; c++) {
      all[row * 3 * D + c] = (double)bias[c];
      for (int i = 0; i < IN; i++) all[row * 3 * D + c] += (double)x[row * IN + i] * (double)w[i * 3 * D + c];
    }
  for (int b = 0; b < B; b++)
    for (int h = 0; h < HEADS; h++)
      for (int i = 0; i < S; i++) {
        double score[S], sum = 0;
        for (int j = 0; j < S; j++) {
          score[j] = 0;
          for (int s = 0; s < SIZE; s++)
            score[j] += all[(b * S + i) * 3 * D + h * SIZE + s] * all[(b * S + j) * 3 * D + D + h * SIZE + s];
          score[j] = mask[b * S + j] ? exp(score[j] / sqrt(SIZE)) : 0;
          sum += score[j];
        }
        for (int s = 0; s < SIZE; s++) {
          double value = 0;
          for (int j = 0; j < S; j++) value += score[j] / sum * all[(b * S + j) * 3 * D + 2 * D + h * SIZE + s];
          y[(b * S + i) * D + h * SIZE + s] = value;
        }
      }
  one_node_expect(folder, &one, "y", B * S * D, y);
  free(x);
  free(w);
  free(bias);
}
END_TEST

/* com.microsoft MultiHeadAttention without masks: the same as ai.onnx's on queries, keys and values with their bias. */
START_TEST(attention_with_a_bias_of_three_parts) {
  enum { B = 2, Q = 3, K = 4, HEADS = 2, SIZE = 4, D = HEADS * SIZE };
  float *q = random_floats(B * Q * D, 1), *k = random_floats(B * K * D, 2), *v = random_floats(B * K * D, 3);
  float *bias = random_floats(3 * D, 4), *added = random_floats(HEADS * Q * K, 5);
  one_node one = one_node_begin(17, "MultiHeadAttention", "q k v b - a", "y");
  one.node->domain = "com.microsoft";
  one_node_input(&one, "q", PARE__ONNX_FLOAT, 3, (const int64_t[]){B, Q, D}, q);
  one_node_input(&one, "k", PARE__ONNX_FLOAT, 3, (const int64_t[]){B, K, D}, k);
  one_node_input(&one, "v", PARE__ONNX_FLOAT, 3, (const int64_t[]){B, K, D}, v);
  one_node_input(&one, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){3 * D}, bias);
  one_node_input(&one, "a", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, HEADS, Q, K}, added);
  node_int(one.onnx, one.node, "num_heads", HEADS);
  double y[B * Q * D];
  for (int at = 0; at < B * Q * D; at += SIZE) {
    const int b = at / (Q * D), i = at / D % Q, h = at % D / SIZE;
    double score[K], sum = 0;
    for (int j = 0; j < K; j++) {
      score[j] = 0;
      for (int s = h * SIZE; s < (h + 1) * SIZE; s++)
        score[j] +=
            ((double)q[(b * Q + i) * D + s] + (double)bias[s]) * ((double)k[(b * K + j) * D + s] + (double)bias[D + s]);
      score[j] = exp(score[j] / sqrt(SIZE) + (double)added[(h * Q + i) * K + j]);
      sum += score[j];
    }
    for (int s = 0; s < SIZE; s++) {
      y[at + s] = (double)bias[2 * D + h * SIZE + s];
      for (int j = 0; j < K; j++) y[at + s] += score[j] / sum * (double)v[(b * K + j) * D + h * SIZE + s];
    }
  }
  one_node_expect(folder, &one, "y", B * Q * D, y);
  FREE_ALL(q, k, v, bias, added);
}
END_TEST

static const struct {
  bool microsoft, joined, interleaved;
  int64_t rotated; /* 0: all */
} rotations[] = {{false, true, false, 0}, {false, false, true, 4}, {true, true, true, 0}, {true, false, false, 0}};

START_TEST(rotary_embeddings_rotate_pairs_by_position) {
  enum { B = 2, S = 3, HEADS = 2, SIZE = 6, ROWS = 8 };
  const bool joined = rotations[_i].joined, interleaved = rotations[_i].interleaved;
  const int64_t rotated = rotations[_i].rotated ? rotations[_i].rotated : SIZE, half = rotated / 2;
  const int64_t together[3] = {B, S, HEADS * SIZE}, apart[4] = {B, HEADS, S, SIZE}, cache[2] = {ROWS, half};
  const int64_t positions[B * S] = {0, 3, 7, 1, 1, 5};
  float *x = random_floats(B * S * HEADS * SIZE, 1), *c = random_floats(ROWS * half, 2),
        *s = random_floats(ROWS * half, 3);
  one_node one = one_node_begin(23, "RotaryEmbedding", rotations[_i].microsoft ? "x p c s" : "x c s p", "y");
  if (rotations[_i].microsoft) one.node->domain = "com.microsoft";
  one_node_input(&one, "x", PARE__ONNX_FLOAT, joined ? 3 : 4, joined ? together : apart, x);
  one_node_input(&one, "c", PARE__ONNX_FLOAT, 2, cache, c);
  one_node_input(&one, "s", PARE__ONNX_FLOAT, 2, cache, s);
  one_node_input(&one, "p", PARE__ONNX_INT64, 2, (const int64_t[]){B, S}, positions);
  node_int(one.onnx, one.node, "interleaved", interleaved);
  if (joined) node_int(one.onnx, one.node, "num_heads", HEADS);
  if (rotations[_i].rotated) node_int(one.onnx, one.node, "rotary_embedding_dim", rotated);
  double y[B * S * HEADS * SIZE];
  for (int row = 0; row < B * S * HEADS; row++) {
    const int b = row / (S * HEADS), t = joined ? row / HEADS % S : row % S;
    const int64_t at = positions[b * S + t] * half;
    for (int e = 0; e < SIZE; e++) y[row * SIZE + e] = (double)x[row * SIZE + e];
    for (int64_t k = 0; k < half; k++) {
      const int64_t first = interleaved ? 2 * k : k, second = interleaved ? 2 * k + 1 : k + half;
      const double u = (double)x[row * SIZE + first], v = (double)x[row * SIZE + second];
      y[row * SIZE + first] = (double)c[at + k] * u - (double)s[at + k] * v;
      y[row * SIZE + second] = (double)s[at + k] * u + (double)c[at + k] * v;
    }
  }
  one_node_expect(folder, &one, "y", B * S * HEADS * SIZE, y);
  free(x);
  free(c);
  free(s);
}
END_TEST

START_TEST(a_cache_is_written_in_a_circle) {
  enum { B = 2, HEADS = 2, LENGTH = 4, NEW = 3, SIZE = 2 };
  const int64_t first[B] = {2, 0};
  float *past = random_floats(B * HEADS * LENGTH * SIZE, 1), *update = random_floats(B * HEADS * NEW * SIZE, 2);
  one_node one = one_node_begin(24, "TensorScatter", "x u i", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){B, HEADS, LENGTH, SIZE}, past);
  one_node_input(&one, "u", PARE__ONNX_FLOAT, 4, (const int64_t[]){B, HEADS, NEW, SIZE}, update);
  one_node_input(&one, "i", PARE__ONNX_INT64, 1, (const int64_t[]){B}, first);
  one_node_text(&one, "mode", "circular");
  double y[B * HEADS * LENGTH * SIZE];
  for (int i = 0; i < B * HEADS * LENGTH * SIZE; i++) y[i] = (double)past[i];
  for (int row = 0; row < B * HEADS; row++)
    for (int t = 0; t < NEW; t++)
      for (int e = 0; e < SIZE; e++)
        y[(row * LENGTH + (int)(first[row / HEADS] + t) % LENGTH) * SIZE + e] =
            (double)update[(row * NEW + t) * SIZE + e];
  one_node_expect(folder, &one, "y", B * HEADS * LENGTH * SIZE, y);
  free(past);
  free(update);
}
END_TEST

START_TEST(embeddings_are_added_and_normalised) {
  enum { B = 2, S = 3, WORDS = 5, D = 4 };
  const int32_t ids[B * S] = {0, 4, 2, 3, 3, 1}, segments[B * S] = {0, 0, 1, 0, 1, 1};
  float *words = random_floats(WORDS * D, 1), *places = random_floats(S * D, 2), *kinds = random_floats(2 * D, 3);
  float *scale = random_floats(D, 4), *shift = random_floats(D, 5);
  one_node one = one_node_begin(17, "EmbedLayerNormalization", "i s w p k g b", "y m");
  one.node->domain = "com.microsoft";
  one_node_input(&one, "i", PARE__ONNX_INT32, 2, (const int64_t[]){B, S}, ids);
  one_node_input(&one, "s", PARE__ONNX_INT32, 2, (const int64_t[]){B, S}, segments);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WORDS, D}, words);
  model_constant(one.onnx, "p", PARE__ONNX_FLOAT, 2, (const int64_t[]){S, D}, places);
  model_constant(one.onnx, "k", PARE__ONNX_FLOAT, 2, (const int64_t[]){2, D}, kinds);
  model_constant(one.onnx, "g", PARE__ONNX_FLOAT, 1, (const int64_t[]){D}, scale);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){D}, shift);
  double y[B * S * D];
  for (int row = 0; row < B * S; row++) {
    double sum[D], mean = 0, variance = 0;
    for (int e = 0; e < D; e++) {
      sum[e] = (double)words[ids[row] * D + e] + (double)places[row % S * D + e] + (double)kinds[segments[row] * D + e];
      mean += sum[e] / D;
    }
    for (int e = 0; e < D; e++) variance += (sum[e] - mean) * (sum[e] - mean) / D;
    for (int e = 0; e < D; e++)
      y[row * D + e] = (sum[e] - mean) / sqrt(variance + 1e-12) * (double)scale[e] + (double)shift[e];
  }
  one_node_expect(folder, &one, "y", B * S * D, y);
  FREE_ALL(words, places, kinds, scale, shift);
}
END_TEST

/* ---- running sums ---- */

START_TEST(running_sums_keep_infinities_where_they_are) {
  const float x[7] = {1, 2, -1, INFINITY, 3, NAN, 4};
  const int64_t dim[1] = {7};
  const int32_t axis = 0;
  one_node one = one_node_begin(17, "CumSum", "x a", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 1, dim, x);
  model_constant(one.onnx, "a", PARE__ONNX_INT32, 0, NULL, &axis);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", true, &out));
  float *found = floats_of(out);
  ck_assert(found[0] == 1 && found[1] == 3 && found[2] == 2);
  ck_assert(isinf(found[3]) && isinf(found[4]) && isnan(found[5]) && isnan(found[6]));
  free(found);
  pare_tensor_close(out);
}
END_TEST

/* ---- refusals ---- */

START_TEST(what_does_not_fit_is_refused_with_its_shapes) {
  const float data[64] = {0};
  const int64_t target[2] = {0, 0};
  one_node one = one_node_begin(17, "NegativeLogLikelihoodLoss", "x t", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){3, 4}, data);
  one_node_input(&one, "t", PARE__ONNX_INT64, 1, (const int64_t[]){2}, target);
  one_node_refused(folder, &one, PARE_ERR_SHAPE, "[2]");

  one = one_node_begin(17, "LSTM", "x w r", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, 1, 2}, data);
  one_node_input(&one, "w", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, 8, 3}, data);
  one_node_input(&one, "r", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, 8, 2}, data);
  one_node_refused(folder, &one, PARE_ERR_SHAPE, "[1, 8, 3]");

  one = one_node_begin(23, "Attention", "x x x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, 2, 6}, data);
  one_node_refused(folder, &one, PARE_ERR_SHAPE, "heads");

  one = one_node_begin(17, "Trilu", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){4}, data);
  one_node_refused(folder, &one, PARE_ERR_SHAPE, "rank 1");

  one = one_node_begin(17, "ReverseSequence", "x t", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){3, 4}, data);
  one_node_input(&one, "t", PARE__ONNX_INT64, 1, (const int64_t[]){2}, target);
  one_node_refused(folder, &one, PARE_ERR_SHAPE, "2 lengths");
}
END_TEST

/* ---- ranges, parts ---- */

/* Long ones are made on the device: to the bit what the host makes of few elements, and what the definition says. */
START_TEST(long_ranges_are_first_plus_index_times_step) {
  enum { MANY = 70001 };
  const bool is_float = _i > 1;
  const int64_t integers[] = {-5, -5 + 3 * (int64_t)MANY - 2, 3}, big[] = {INT64_MAX - MANY, INT64_MAX, 1};
  const float floats[] = {0.1F, 0.1F + 0.25F * (float)MANY, 0.25F};
  const int32_t type = is_float ? PARE__ONNX_FLOAT : PARE__ONNX_INT64;
  static const char *const name[] = {"a", "b", "c"};
  one_node one = one_node_begin(17, "Range", "a b c", "y");
  for (int i = 0; i < 3; i++)
    model_constant(one.onnx, name[i], type, 0, NULL,
                   is_float  ? (const void *)&floats[i]
                   : _i == 0 ? (const void *)&integers[i]
                             : (const void *)&big[i]);
  pare_tensor *y;
  OK(one_node_run(folder, &one, "y", _i % 2 == 1, &y));
  ck_assert_int_eq(pare_tensor_elements(y), MANY);
  uint64_t *found = malloc(MANY * sizeof *found);
  OK(pare_tensor_read(y, found, MANY * (is_float ? sizeof(float) : sizeof(int64_t))));
  for (int i = 0; i < MANY; i++) {
    if (is_float)
      ck_assert_msg(((float *)found)[i] == floats[0] + (float)i * floats[2], "element %d: %g", i,
                    (double)((float *)found)[i]);
    else
      ck_assert_int_eq((int64_t)found[i], (_i ? big[0] : integers[0]) + i * (_i ? big[2] : integers[2]));
  }
  free(found);
  pare_tensor_close(y);
}
END_TEST

START_TEST(lengths_that_do_not_split_the_axis_are_named) {
  static const struct {
    int64_t length[2];
    size_t count;
    const char *text;
  } wrong[] = {{{2, 3}, 2, "add up to 5; the axis that they split is 6 long"},
               {{-1, 7}, 2, "the length of output 0 is -1"},
               {{6}, 1, "1 lengths for 2 outputs"}};
  const float x[6] = {0};
  for (size_t i = 0; i < PARE__COUNT(wrong); i++) {
    one_node one = one_node_begin(17, "Split", "x l", "y z");
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){6}, x);
    model_constant(one.onnx, "l", PARE__ONNX_INT64, 1, (const int64_t[]){(int64_t)wrong[i].count}, wrong[i].length);
    one_node_refused(folder, &one, PARE_ERR_SHAPE, wrong[i].text);
  }
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("operators of sets");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, einsum_multiplies_and_sums_by_letters, 0, (int)(sizeof products / sizeof *products));
  tcase_add_test(tests, einsum_of_integers_is_exact);
  tcase_add_loop_test(tests, equations_that_do_not_fit_are_refused, 0, (int)(sizeof equations / sizeof *equations));
  tcase_add_loop_test(tests, recurrent_cells_follow_their_formulas, 0, (int)(sizeof cells / sizeof *cells));
  tcase_add_test(tests, attention_with_shared_heads_mask_past_and_softcap);
  tcase_add_test(tests, attention_of_onnx_runtime_projects_and_masks);
  tcase_add_test(tests, attention_with_a_bias_of_three_parts);
  tcase_add_loop_test(tests, rotary_embeddings_rotate_pairs_by_position, 0,
                      (int)(sizeof rotations / sizeof *rotations));
  tcase_add_test(tests, a_cache_is_written_in_a_circle);
  tcase_add_test(tests, embeddings_are_added_and_normalised);
  tcase_add_test(tests, running_sums_keep_infinities_where_they_are);
  tcase_add_test(tests, what_does_not_fit_is_refused_with_its_shapes);
  tcase_add_loop_test(tests, long_ranges_are_first_plus_index_times_step, 0, 4);
  tcase_add_test(tests, lengths_that_do_not_split_the_axis_are_named);
  return remove_folder(folder, run_tests("operators of sets", tests));
}
