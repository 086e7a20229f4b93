/* Operators of com.microsoft on integers, and with weights or caches of few bits: against formulas in double precision,
 * or what they give for the floats that the integers stand for. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"

static char folder[] = "/tmp/pare-test-microsoft-integers-XXXXXX";

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static void scalar_float(one_node *one, const char *name, float value) {
  model_constant(one->onnx, name, PARE__ONNX_FLOAT, 0, NULL, &value);
}

static void scalar_byte(one_node *one, const char *name, bool is_signed, int value) {
  const uint8_t byte = (uint8_t)value;
  model_constant(one->onnx, name, is_signed ? PARE__ONNX_INT8 : PARE__ONNX_UINT8, 0, NULL, &byte);
}

/* Bytes all over their range. */
static uint8_t *bytes_of(int64_t count, uint32_t seed) {
  float *values = random_floats(count, seed);
  uint8_t *bytes = malloc((size_t)count);
  for (int64_t i = 0; i < count; i++) bytes[i] = (uint8_t)((int)floorf(values[i] * 128) + 128);
  free(values);
  return bytes;
}

static double value_of(uint8_t byte, bool is_signed) { return is_signed ? (double)(int8_t)byte : (double)byte; }

START_TEST(integer_products_become_floats) {
  enum { M = 3, K = 20, N = 5 };
  uint8_t *a = bytes_of(M * K, 1), *b = bytes_of(K * N, 2);
  float *bias = random_floats(N, 3);
  const float scales[N] = {0.01F, 0.02F, 0.005F, 0.03F, 0.007F};
  const int8_t zeros[N] = {0, 3, -7, 1, 100};
  const bool wide = _i; /* a scale and a zero point for each column */
  one_node one = one_node_contributed("MatMulIntegerToFloat", "a b s t p q c", "y");
  one_node_input(&one, "a", PARE__ONNX_UINT8, 2, (const int64_t[]){M, K}, a);
  model_constant(one.onnx, "b", PARE__ONNX_INT8, 2, (const int64_t[]){K, N}, b);
  scalar_float(&one, "s", 0.05F);
  model_constant(one.onnx, "t", PARE__ONNX_FLOAT, 1, (const int64_t[]){wide ? N : 1}, scales);
  scalar_byte(&one, "p", false, 117);
  model_constant(one.onnx, "q", PARE__ONNX_INT8, 1, (const int64_t[]){wide ? N : 1}, zeros);
  one_node_input(&one, "c", PARE__ONNX_FLOAT, 1, (const int64_t[]){N}, bias);
  double expected[M * N];
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      const int column = wide ? n : 0;
      double sum = 0;
      for (int k = 0; k < K; k++) sum += (a[m * K + k] - 117.0) * (value_of(b[k * N + n], true) - zeros[column]);
      expected[m * N + n] = sum * 0.05 * (double)scales[column] + (double)bias[n];
    }
  one_node_expect(folder, &one, "y", M * N, expected);
  free(a);
  free(b);
  free(bias);
}
END_TEST

static double product(double a, double b) { return a * b; }
static double leaky_of(double a, double unused) { return (void)unused, a < 0 ? 0.125 * a : a; }
static double sigmoid_of(double a, double unused) { return (void)unused, sigmoid(a); }

static const struct {
  const char *op_type;
  bool two, is_signed;
  double (*formula)(double a, double b);
  float y_scale;
  int y_zero;
} linear[] = {{"QLinearMul", true, false, product, 0.06F, 130},
              {"QLinearMul", true, true, product, 0.04F, -3},
              {"QLinearLeakyRelu", false, false, leaky_of, 0.03F, 9},
              {"QLinearLeakyRelu", false, true, leaky_of, 0.02F, 0},
              {"QLinearSigmoid", false, false, sigmoid_of, 1 / 256.0F, 0},
              {"QLinearSigmoid", false, true, sigmoid_of, 1 / 256.0F, -128}};

/* The function of what the bytes stand for, as a byte. */
START_TEST(bytes_stand_for_numbers) {
  enum { ROWS = 3, COLUMNS = 17, COUNT = ROWS * COLUMNS };
  const bool two = linear[_i].two, is_signed = linear[_i].is_signed;
  const int32_t type = is_signed ? PARE__ONNX_INT8 : PARE__ONNX_UINT8;
  const int a_zero = is_signed ? -5 : 120, b_zero = is_signed ? 4 : 131;
  uint8_t *a = bytes_of(COUNT, 1), *b = bytes_of(COLUMNS, 2);
  one_node one = one_node_contributed(linear[_i].op_type, two ? "a s p b t q u r" : "a s p u r", "y");
  one_node_input(&one, "a", type, 2, (const int64_t[]){ROWS, COLUMNS}, a);
  scalar_float(&one, "s", 0.03F);
  scalar_byte(&one, "p", is_signed, a_zero);
  if (two) {
    one_node_input(&one, "b", type, 1, (const int64_t[]){COLUMNS}, b); /* broadcast */
    scalar_float(&one, "t", 0.02F);
    scalar_byte(&one, "q", is_signed, b_zero);
  }
  scalar_float(&one, "u", linear[_i].y_scale);
  scalar_byte(&one, "r", is_signed, linear[_i].y_zero);
  if (linear[_i].formula == leaky_of) node_float(one.onnx, one.node, "alpha", 0.125F);
  double expected[COUNT];
  for (int i = 0; i < COUNT; i++) {
    const double x = (double)0.03F * (value_of(a[i], is_signed) - a_zero);
    const double y = (double)0.02F * (value_of(b[i % COLUMNS], is_signed) - b_zero);
    expected[i] = linear[_i].formula(x, y) / (double)linear[_i].y_scale + linear[_i].y_zero;
  }
  one_node_expect_bytes(folder, &one, is_signed, COUNT, expected);
  free(a);
  free(b);
}
END_TEST

/* _i: channels come last. */
START_TEST(means_of_bytes_over_all_pixels) {
  enum { N = 2, C = 5, AREA = 12 };
  uint8_t *x = bytes_of(N * C * AREA, 1);
  one_node one = one_node_contributed("QLinearGlobalAveragePool", "x s p u r", "y");
  one_node_input(&one, "x", PARE__ONNX_UINT8, 4, _i ? (const int64_t[]){N, 3, 4, C} : (const int64_t[]){N, C, 3, 4}, x);
  scalar_float(&one, "s", 0.03F);
  scalar_byte(&one, "p", false, 100);
  scalar_float(&one, "u", 0.01F);
  scalar_byte(&one, "r", false, 90);
  node_int(one.onnx, one.node, "channels_last", _i);
  double expected[N * C];
  for (int n = 0; n < N; n++)
    for (int c = 0; c < C; c++) {
      double sum = 0;
      for (int i = 0; i < AREA; i++) sum += x[_i ? (n * AREA + i) * C + c : (n * C + c) * AREA + i] - 100.0;
      expected[n * C + c] = sum / AREA * (double)0.03F / (double)0.01F + 90;
    }
  one_node_expect_bytes(folder, &one, false, N * C, expected);
  free(x);
}
END_TEST

START_TEST(convolutions_of_integers_with_their_channels_last) {
  enum { H = 4, W = 5, C = 3, O = 2, TAPS = 3 };
  uint8_t *x = bytes_of(H * W * C, 1), *w = bytes_of(O * C * TAPS * TAPS, 2);
  const int32_t bias[O] = {300, -500};
  one_node one = one_node_contributed("QLinearConv", "x s p w t q u z b", "y");
  one_node_input(&one, "x", PARE__ONNX_UINT8, 4, (const int64_t[]){1, H, W, C}, x);
  scalar_float(&one, "s", 0.02F);
  scalar_byte(&one, "p", false, 120);
  model_constant(one.onnx, "w", PARE__ONNX_INT8, 4, (const int64_t[]){O, C, TAPS, TAPS}, w);
  scalar_float(&one, "t", 0.01F);
  scalar_byte(&one, "q", true, 0);
  scalar_float(&one, "u", 0.25F);
  scalar_byte(&one, "z", false, 131);
  model_constant(one.onnx, "b", PARE__ONNX_INT32, 1, (const int64_t[]){O}, bias);
  node_int(one.onnx, one.node, "channels_last", 1);
  node_ints(one.onnx, one.node, "pads", 4, (const int64_t[]){1, 1, 1, 1});
  double expected[H * W * O];
  for (int at = 0; at < H * W * O; at++) {
    const int o = at % O, row = at / O / W, column = at / O % W;
    double sum = bias[o];
    for (int k = 0; k < C * TAPS * TAPS; k++) {
      const int c = k / (TAPS * TAPS), i = row + k / TAPS % TAPS - 1, j = column + k % TAPS - 1;
      if (i >= 0 && i < H && j >= 0 && j < W)
        sum += (x[(i * W + j) * C + c] - 120.0) * value_of(w[o * C * TAPS * TAPS + k], true);
    }
    expected[at] = fmin(fmax(sum * 0.02 * 0.01 / 0.25 + 131, 0), 255);
  }
  one_node_expect_bytes(folder, &one, false, H * W * O, expected);
  free(x);
  free(w);
}
END_TEST

/* _i: the axis that the mean is over stays. */
START_TEST(means_of_bytes_over_axes) {
  enum { ROWS = 4, COLUMNS = 6 };
  uint8_t *x = bytes_of(ROWS * COLUMNS, 1);
  one_node one = one_node_contributed("QLinearReduceMean", "x s p t q", "y");
  one_node_input(&one, "x", PARE__ONNX_UINT8, 2, (const int64_t[]){ROWS, COLUMNS}, x);
  scalar_float(&one, "s", 0.02F);
  scalar_byte(&one, "p", false, 120);
  scalar_float(&one, "t", 0.01F);
  scalar_byte(&one, "q", false, 128);
  node_ints(one.onnx, one.node, "axes", 1, (const int64_t[]){-1});
  node_int(one.onnx, one.node, "keepdims", _i);
  double expected[ROWS];
  for (int i = 0; i < ROWS; i++) {
    expected[i] = 0;
    for (int j = 0; j < COLUMNS; j++) expected[i] += (x[i * COLUMNS + j] - 120.0) / COLUMNS;
    expected[i] = fmin(fmax(expected[i] * 0.02 / 0.01 + 128, 0), 255);
  }
  one_node_expect_bytes(folder, &one, false, ROWS, expected);
  free(x);
}
END_TEST

/* ---- caches of attention ---- */

enum { HEADS = 4, KV_HEADS = 2, SIZE = 6, PAST = 5, NEW = 2, KEYS = PAST + NEW };
enum { CACHED = KV_HEADS * PAST * SIZE, FRESH = NEW * KV_HEADS * SIZE };

static void add_attention(one_node *one, const float *query, const float *const fresh[2], int32_t type, int64_t size,
                          const void *const past[2]) {
  static const int32_t last = KEYS - 1, total = KEYS;
  static const char *const now_name[2] = {"k", "v"}, *const past_name[2] = {"K", "V"};
  const int64_t cache[4] = {1, KV_HEADS, PAST, size};
  one_node_input(one, "q", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, NEW, HEADS * SIZE}, query);
  for (int i = 0; i < 2; i++)
    one_node_input(one, now_name[i], PARE__ONNX_FLOAT, 3, (const int64_t[]){1, NEW, KV_HEADS * SIZE}, fresh[i]);
  for (int i = 0; i < 2; i++) one_node_input(one, past_name[i], type, 4, cache, past[i]);
  one_node_input(one, "l", PARE__ONNX_INT32, 1, (const int64_t[]){1}, &last);
  model_constant(one->onnx, "n", PARE__ONNX_INT32, 0, NULL, &total);
  node_int(one->onnx, one->node, "num_heads", HEADS);
  node_int(one->onnx, one->node, "kv_num_heads", KV_HEADS);
}

/* Whole numbers from `low` on, as bytes or in pairs, and the floats that they stand for. */
static uint8_t *make_cache(bool halves, const float *scale, uint32_t seed, float *floats) {
  uint8_t *bytes = bytes_of(CACHED, seed), *cache = calloc(CACHED, 1);
  for (int i = 0; i < CACHED; i++) {
    const int number = halves ? bytes[i] % 16 - 8 : (int8_t)bytes[i];
    floats[i] = (float)number * scale[i / (PAST * SIZE) * SIZE + i % SIZE];
    if (halves)
      cache[i / 2] = (uint8_t)(cache[i / 2] | (number + 8) << 4 * (i % 2));
    else
      cache[i] = (uint8_t)number;
  }
  free(bytes);
  return cache;
}

static void expect_as(one_node *one, one_node *plain, int64_t count) {
  pare_tensor *out;
  OK(one_node_run(folder, plain, "y", false, &out));
  ck_assert_int_eq(pare_tensor_elements(out), count);
  float *values = floats_of(out);
  double *expected = malloc((size_t)count * sizeof *expected);
  for (int64_t i = 0; i < count; i++) expected[i] = (double)values[i];
  pare_tensor_close(out);
  one_node_expect(folder, one, "y", count, expected);
  free(expected);
  free(values);
}

/* A cache of integers gives what one of the floats does that they stand for; new keys are such floats, too. _i: bit 0
 * 4 bits instead of 8, bit 1 no causal attention. */
START_TEST(caches_of_integers_stand_for_floats) {
  const bool halves = _i % 2, causal = _i / 2 == 0;
  float scale[KV_HEADS * SIZE], floats[2][CACHED], fresh[2][FRESH], *query = random_floats(NEW * HEADS * SIZE, 1);
  for (int i = 0; i < KV_HEADS * SIZE; i++) scale[i] = 0.0625F * (float)(1 + i % 3);
  for (int p = 0; p < 2; p++)
    for (int i = 0; i < FRESH; i++) fresh[p][i] = (float)((i * 7 + p) % 16 - 8) * scale[i % (KV_HEADS * SIZE)];
  uint8_t *cache[2];
  for (uint32_t p = 0; p < 2; p++) cache[p] = make_cache(halves, scale, 3 + p, floats[p]);
  one_node plain = one_node_contributed("GroupQueryAttention", "q k v K V l n", "y k2 v2");
  add_attention(&plain, query, (const float *const[]){fresh[0], fresh[1]}, PARE__ONNX_FLOAT, SIZE,
                (const void *const[]){floats[0], floats[1]});
  node_int(plain.onnx, plain.node, "causal", causal);
  one_node one = one_node_contributed("GroupQueryAttention", "q k v K V l n - - - - - s s", "y k2 v2");
  add_attention(&one, query, (const float *const[]){fresh[0], fresh[1]}, halves ? PARE__ONNX_UINT8 : PARE__ONNX_INT8,
                halves ? SIZE / 2 : SIZE, (const void *const[]){cache[0], cache[1]});
  model_constant(one.onnx, "s", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, KV_HEADS, 1, SIZE}, scale);
  node_int(one.onnx, one.node, "causal", causal);
  node_int(one.onnx, one.node, "kv_cache_bit_width", halves ? 4 : 8);
  one_node_text(&one, "k_quant_type", "PER_CHANNEL");
  one_node_text(&one, "v_quant_type", "PER_CHANNEL");
  expect_as(&one, &plain, NEW * HEADS * SIZE);
  free(cache[0]);
  free(cache[1]);
  free(query);
}
END_TEST

START_TEST(caches_that_are_not_possible_are_refused) {
  float *query = random_floats(NEW * HEADS * SIZE, 1), *cache = random_floats(CACHED, 2);
  one_node one = one_node_contributed("GroupQueryAttention", "q k v K V l n", "y k2 v2");
  add_attention(&one, query, (const float *const[]){query, query}, PARE__ONNX_FLOAT, SIZE,
                (const void *const[]){cache, cache});
  node_int(one.onnx, one.node, "sliding_window_cache", 1);
  one_node_refused(folder, &one, PARE_ERR_UNSUPPORTED, "sliding_window_cache");
  one = one_node_contributed("GroupQueryAttention", "q k v K V l n", "y k2 v2");
  add_attention(&one, query, (const float *const[]){query, query}, PARE__ONNX_FLOAT, SIZE,
                (const void *const[]){cache, cache});
  one_node_text(&one, "k_quant_type", "PER_TENSOR");
  one_node_refused(folder, &one, PARE_ERR_FORMAT, "k_quant_type");
  FREE_ALL(query, cache);
}
END_TEST

/* ---- what is composed of others ---- */

/* Bytes that stand for numbers, and those. */
static uint8_t *quantised(int64_t count, uint32_t seed, double scale, int zero, float *floats) {
  uint8_t *bytes = bytes_of(count, seed);
  for (int64_t i = 0; i < count; i++) floats[i] = (float)(scale * (bytes[i] - zero));
  return bytes;
}

START_TEST(attention_to_integers_is_attention_to_what_they_stand_for) {
  enum { B = 2, S = 3, IN = 6, D = 4 };
  float x[B * S * IN], w[IN * 3 * D], *bias = random_floats(3 * D, 3);
  uint8_t *x_bytes = quantised(B * S * IN, 1, 0.0625, 120, x), *w_bytes = quantised(IN * 3 * D, 2, 0.03125, 130, w);
  one_node plain = one_node_contributed("Attention", "x w b", "y");
  one_node_input(&plain, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){B, S, IN}, x);
  model_constant(plain.onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){IN, 3 * D}, w);
  model_constant(plain.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){3 * D}, bias);
  node_int(plain.onnx, plain.node, "num_heads", 2);
  one_node one = one_node_contributed("QAttention", "x w b s t - p q", "y");
  one_node_input(&one, "x", PARE__ONNX_UINT8, 3, (const int64_t[]){B, S, IN}, x_bytes);
  model_constant(one.onnx, "w", PARE__ONNX_UINT8, 2, (const int64_t[]){IN, 3 * D}, w_bytes);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){3 * D}, bias);
  scalar_float(&one, "s", 0.0625F);
  scalar_float(&one, "t", 0.03125F);
  scalar_byte(&one, "p", false, 120);
  scalar_byte(&one, "q", false, 130);
  node_int(one.onnx, one.node, "num_heads", 2);
  expect_as(&one, &plain, B * S * D);
  free(x_bytes);
  free(w_bytes);
  free(bias);
}
END_TEST

/* Tables of words, positions and segments, scale and bias of 8 bits. */
START_TEST(embeddings_of_integers_are_those_of_what_they_stand_for) {
  enum { B = 2, S = 3, WORDS = 7, D = 8, TABLES = 5 };
  static const char *const name[TABLES] = {"w", "p", "g", "a", "b"}, *const scale[TABLES] = {"1", "2", "3", "4", "5"},
                           *const zero[TABLES] = {"6", "7", "8", "9", "0"};
  static const int64_t rows[TABLES] = {WORDS, S, 2, D, D};
  const int32_t ids[B * S] = {0, 6, 3, 2, 2, 5}, segments[B * S] = {0, 0, 1, 1, 0, 1};
  const int64_t place[2] = {B, S};
  one_node plain = one_node_contributed("EmbedLayerNormalization", "i s w p g a b", "y m");
  one_node one = one_node_contributed("QEmbedLayerNormalization", "i s w p g a b - 1 2 3 4 5 6 7 8 9 0", "y m");
  one_node *const both[2] = {&plain, &one};
  for (int i = 0; i < 2; i++) {
    one_node_input(both[i], "i", PARE__ONNX_INT32, 2, place, ids);
    one_node_input(both[i], "s", PARE__ONNX_INT32, 2, place, segments);
  }
  for (uint32_t t = 0; t < TABLES; t++) {
    const int rank = t < 3 ? 2 : 1;
    const int64_t dim[2] = {rows[t], D}, count = t < 3 ? rows[t] * D : D;
    float floats[WORDS * D];
    uint8_t *bytes = quantised(count, t + 1, 0.03125 * (1 + t), 100 + (int)t, floats);
    model_constant(plain.onnx, name[t], PARE__ONNX_FLOAT, rank, dim, floats);
    model_constant(one.onnx, name[t], PARE__ONNX_UINT8, rank, dim, bytes);
    scalar_float(&one, scale[t], 0.03125F * (float)(1 + t));
    scalar_byte(&one, zero[t], false, 100 + (int)t);
    free(bytes);
  }
  expect_as(&one, &plain, B * S * D);
}
END_TEST

/* ---- weights of 4-bit floats ---- */

/* The values that bitsandbytes gives four bits, by their numbers. */
static const double fp4[16] = {0,   0.005208333,  2.0 / 3,  1,  1.0 / 3,  0.5,  1.0 / 6,  0.25,
                               -0., -0.005208333, -2.0 / 3, -1, -1.0 / 3, -0.5, -1.0 / 6, -0.25};
static const double nf4[16] = {
    -1,         -0.69619280, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.0910500, 0,
    0.07958030, 0.16093020,  0.24611230,  0.33791524,  0.44070983,  0.56261700,  0.72295684, 1};

/* _i: NF4, and that the weights are inputs of the model. The last block is shorter than the others. */
START_TEST(products_with_weights_of_four_bit_floats) {
  enum { ROWS = 3, N = 5, K = 14, BLOCK = 16, COUNT = N * K, BLOCKS = (COUNT + BLOCK - 1) / BLOCK };
  const double *value = _i % 2 ? nf4 : fp4;
  float *x = random_floats(ROWS * K, 1), *largest = random_floats(BLOCKS, 2), *order = random_floats(COUNT, 3);
  uint8_t bytes[COUNT / 2], number[COUNT];
  for (int i = 0; i < COUNT; i++) number[i] = (uint8_t)((order[i] + 1) * 8);
  for (int i = 0; i < COUNT / 2; i++) bytes[i] = (uint8_t)(number[2 * i] << 4 | number[2 * i + 1]);
  one_node one = one_node_contributed("MatMulBnb4", "x w m", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, K}, x);
  if (_i < 2) {
    model_constant(one.onnx, "w", PARE__ONNX_UINT8, 1, (const int64_t[]){COUNT / 2}, bytes);
    model_constant(one.onnx, "m", PARE__ONNX_FLOAT, 1, (const int64_t[]){BLOCKS}, largest);
  } else {
    one_node_input(&one, "w", PARE__ONNX_UINT8, 1, (const int64_t[]){COUNT / 2}, bytes);
    one_node_input(&one, "m", PARE__ONNX_FLOAT, 1, (const int64_t[]){BLOCKS}, largest);
  }
  node_int(one.onnx, one.node, "N", N);
  node_int(one.onnx, one.node, "K", K);
  node_int(one.onnx, one.node, "block_size", BLOCK);
  node_int(one.onnx, one.node, "quant_type", _i % 2);
  double expected[ROWS * N];
  for (int r = 0; r < ROWS; r++)
    for (int n = 0; n < N; n++) {
      double sum = 0;
      for (int k = 0; k < K; k++)
        sum += (double)x[r * K + k] * value[number[n * K + k]] * (double)largest[(n * K + k) / BLOCK];
      expected[r * N + n] = sum;
    }
  one_node_expect(folder, &one, "y", ROWS * N, expected);
  FREE_ALL(x, largest, order);
}
END_TEST

START_TEST(weights_of_four_bit_floats_must_fit_their_sizes) {
  static const uint8_t bytes[6] = {0};
  static const float ones[2] = {1, 1};
  for (int i = 0; i < 2; i++) { /* a byte too few, a magnitude too few */
    one_node one = one_node_contributed("MatMulBnb4", "x w m", "y");
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){1, 4}, (const float[]){1, 2, 3, 4});
    model_constant(one.onnx, "w", PARE__ONNX_UINT8, 1, (const int64_t[]){i == 0 ? 5 : 6}, bytes);
    model_constant(one.onnx, "m", PARE__ONNX_FLOAT, 1, (const int64_t[]){i == 0 ? 2 : 1}, ones);
    node_int(one.onnx, one.node, "N", 3);
    node_int(one.onnx, one.node, "K", 4);
    node_int(one.onnx, one.node, "block_size", 8);
    node_int(one.onnx, one.node, "quant_type", 1);
    one_node_refused(folder, &one, PARE_ERR_SHAPE, "are 6 bytes (u8) and 2 magnitudes");
  }
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("operators of com.microsoft on integers");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, integer_products_become_floats, 0, 2);
  tcase_add_loop_test(tests, bytes_stand_for_numbers, 0, (int)(sizeof linear / sizeof *linear));
  tcase_add_loop_test(tests, means_of_bytes_over_all_pixels, 0, 2);
  tcase_add_test(tests, convolutions_of_integers_with_their_channels_last);
  tcase_add_loop_test(tests, means_of_bytes_over_axes, 0, 2);
  tcase_add_loop_test(tests, caches_of_integers_stand_for_floats, 0, 4);
  tcase_add_test(tests, caches_that_are_not_possible_are_refused);
  tcase_add_test(tests, attention_to_integers_is_attention_to_what_they_stand_for);
  tcase_add_test(tests, embeddings_of_integers_are_those_of_what_they_stand_for);
  tcase_add_loop_test(tests, products_with_weights_of_four_bit_floats, 0, 4);
  tcase_add_test(tests, weights_of_four_bit_floats_must_fit_their_sizes);
  return remove_folder(folder, run_tests("operators of com.microsoft on integers", tests));
}
