/* Operators of com.microsoft, and AffineGrid, that no suite has cases of: against formulas in double precision.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"

static char folder[] = "/tmp/pare-test-microsoft-XXXXXX";

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double gelu(double x) { return x / 2 * (1 + erf(x / sqrt(2))); }
static double gelu_tanh(double x) {
  return x / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}
static double quick_gelu(double x) { return x * sigmoid(1.5 * x); }

/* ---- floats ---- */

static const struct {
  const char *op_type;
  bool biased;
  double (*formula)(double x);
} gelus[] = {{"Gelu", false, gelu},         {"BiasGelu", true, gelu},         {"FastGelu", false, gelu_tanh},
             {"FastGelu", true, gelu_tanh}, {"QuickGelu", false, quick_gelu}, {"BiasSplitGelu", true, NULL}};

START_TEST(gelu_and_its_relatives) {
  enum { ROWS = 3, COLUMNS = 10 };
  double expected[ROWS * COLUMNS];
  float *x = random_floats(ROWS * COLUMNS, 1), *bias = random_floats(COLUMNS, 2);
  const bool split = !gelus[_i].formula;
  one_node one = one_node_contributed(gelus[_i].op_type, gelus[_i].biased ? "x b" : "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, ROWS, COLUMNS}, x);
  if (gelus[_i].biased) one_node_input(&one, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){COLUMNS}, bias);
  if (gelus[_i].formula == quick_gelu) node_float(one.onnx, one.node, "alpha", 1.5F);
  const int made = split ? COLUMNS / 2 : COLUMNS;
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < made; j++) {
      const double value = (double)x[i * COLUMNS + j] + (gelus[_i].biased ? (double)bias[j] : 0);
      expected[i * made + j] =
          !split ? gelus[_i].formula(value) : value * gelu((double)x[i * COLUMNS + made + j] + (double)bias[made + j]);
    }
  one_node_expect(folder, &one, "y", (int64_t)ROWS * made, expected);
  FREE_ALL(x, bias);
}
END_TEST

static double leaky(double x) { return x < 0 ? 0.25 * x : x; }
static double hard_sigmoid(double x) { return fmin(fmax(0.3 * x + 0.4, 0), 1); }
static double clip(double x) { return fmin(fmax(x, -0.5), 0.75); }
static double relu(double x) { return fmax(x, 0); }

static const struct {
  const char *name;
  double (*formula)(double x);
  size_t count;
  float params[2];
} activations[] = {{"Relu", relu, 0, {0}},
                   {"Sigmoid", sigmoid, 0, {0}},
                   {"Tanh", tanh, 0, {0}},
                   {"LeakyRelu", leaky, 1, {0.25F}},
                   {"HardSigmoid", hard_sigmoid, 2, {0.3F, 0.4F}},
                   {"Clip", clip, 2, {-0.5F, 0.75F}}};

/* y = activation(x * w + bias + z) */
START_TEST(convolutions_with_their_activation) {
  enum { C = 3, O = 4, LENGTH = 9, TAPS = 3 };
  float *x = random_floats(C * LENGTH, 1), *w = random_floats(O * C * TAPS, 2), *bias = random_floats(O, 3),
        *z = random_floats(O * LENGTH, 4);
  one_node one = one_node_contributed("FusedConv", "x w b z", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, C, LENGTH}, x);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 3, (const int64_t[]){O, C, TAPS}, w);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){O}, bias);
  one_node_input(&one, "z", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, O, LENGTH}, z);
  node_ints(one.onnx, one.node, "pads", 2, (const int64_t[]){1, 1});
  one_node_text(&one, "activation", activations[_i].name);
  if (activations[_i].count) one_node_floats(&one, "activation_params", activations[_i].count, activations[_i].params);
  double expected[O * LENGTH];
  for (int o = 0; o < O; o++)
    for (int i = 0; i < LENGTH; i++) {
      double sum = (double)bias[o] + (double)z[o * LENGTH + i];
      for (int c = 0; c < C; c++)
        for (int k = 0; k < TAPS; k++)
          if (i + k - 1 >= 0 && i + k - 1 < LENGTH)
            sum += (double)x[c * LENGTH + i + k - 1] * (double)w[(o * C + c) * TAPS + k];
      expected[o * LENGTH + i] = activations[_i].formula(sum);
    }
  one_node_expect(folder, &one, "y", O * LENGTH, expected);
  FREE_ALL(x, w, bias, z);
}
END_TEST

/* x / root of the mean of its squares, with a sum before it or not; _i: that there is a bias; 2: the sum is asked for.
 */
START_TEST(norms_without_a_mean) {
  enum { ROWS = 3, D = 12 };
  const float epsilon = 1e-5F;
  float *x = random_floats(ROWS * D, 1), *skip = random_floats(ROWS * D, 2), *scale = random_floats(D, 3),
        *bias = random_floats(D, 4);
  const bool plain = _i == 3;
  one_node one = one_node_contributed(plain ? "SimplifiedLayerNormalization" : "SkipSimplifiedLayerNormalization",
                                      plain     ? "x g"
                                      : _i == 0 ? "x s g"
                                                : "x s g b",
                                      plain ? "y" : "y - - t");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, ROWS, D}, x);
  if (!plain) one_node_input(&one, "s", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, ROWS, D}, skip);
  model_constant(one.onnx, "g", PARE__ONNX_FLOAT, 1, (const int64_t[]){D}, scale);
  if (!plain && _i > 0) model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){D}, bias);
  node_float(one.onnx, one.node, "epsilon", epsilon);
  double expected[ROWS * D], sums[ROWS * D];
  for (int r = 0; r < ROWS; r++) {
    double squares = 0;
    for (int d = 0; d < D; d++) {
      double *sum = &sums[r * D + d];
      *sum = (double)x[r * D + d];
      if (!plain) *sum += (double)skip[r * D + d] + (_i > 0 ? (double)bias[d] : 0);
      squares += *sum * *sum;
    }
    for (int d = 0; d < D; d++)
      expected[r * D + d] = sums[r * D + d] / sqrt(squares / D + (double)epsilon) * (double)scale[d];
  }
  one_node_expect(folder, &one, _i == 2 ? "t" : "y", ROWS * D, _i == 2 ? sums : expected);
  FREE_ALL(x, skip, scale, bias);
}
END_TEST

/* x at (row, column), bilinearly, zeros around it. */
static double sample(const float *x, int rows, int columns, double row, double column) {
  double sum = 0;
  for (int i = (int)floor(row); i <= (int)floor(row) + 1; i++)
    for (int j = (int)floor(column); j <= (int)floor(column) + 1; j++)
      if (i >= 0 && i < rows && j >= 0 && j < columns)
        sum += (1 - fabs(row - i)) * (1 - fabs(column - j)) * (double)x[i * columns + j];
  return sum;
}

START_TEST(grids_say_where_to_sample) {
  enum { C = 2, ROWS = 4, COLUMNS = 5, MADE = 6 };
  float *x = random_floats(C * ROWS * COLUMNS, 1), *grid = random_floats(MADE * 2, 2);
  one_node one = one_node_contributed("GridSample", "x g", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, C, ROWS, COLUMNS}, x);
  one_node_input(&one, "g", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, 2, MADE / 2, 2}, grid);
  one_node_text(&one, "mode", "bilinear");
  node_int(one.onnx, one.node, "align_corners", _i);
  double expected[C * MADE];
  for (int c = 0; c < C; c++)
    for (int i = 0; i < MADE; i++) {
      const double across = (double)grid[2 * i], down = (double)grid[2 * i + 1];
      const double column = _i ? (across + 1) / 2 * (COLUMNS - 1) : ((across + 1) * COLUMNS - 1) / 2;
      const double row = _i ? (down + 1) / 2 * (ROWS - 1) : ((down + 1) * ROWS - 1) / 2;
      expected[c * MADE + i] = sample(x + c * ROWS * COLUMNS, ROWS, COLUMNS, row, column);
    }
  one_node_expect(folder, &one, "y", C * MADE, expected);
  FREE_ALL(x, grid);
}
END_TEST

/* ---- AffineGrid ---- */

/* _i: bit 0 align_corners, bit 1 three dimensions instead of two. */
START_TEST(affine_grids_are_products_with_coordinates) {
  enum { N = 2, MOST = 2 * 3 * 4 * 5 * 3 };
  const bool align = _i % 2;
  const int rank = _i / 2 ? 3 : 2;
  const int64_t size[] = {N, 1, 3, 4, 5};
  float *theta = random_floats((int64_t)N * rank * (rank + 1), 5);
  one_node one = one_node_begin(20, "AffineGrid", "t s", "y");
  one_node_input(&one, "t", PARE__ONNX_FLOAT, 3, (const int64_t[]){N, rank, rank + 1}, theta);
  model_constant(one.onnx, "s", PARE__ONNX_INT64, 1, (const int64_t[]){rank + 2}, size);
  node_int(one.onnx, one.node, "align_corners", align);
  double expected[MOST];
  int64_t area = 1, count = 0;
  for (int d = 0; d < rank; d++) area *= size[2 + d];
  for (int64_t n = 0; n < N; n++)
    for (int64_t p = 0; p < area; p++) {
      double place[4] = {0, 0, 0, 0}; /* the innermost dimension first, then 1 */
      int64_t rest = p;
      for (int d = 0; d < rank; d++) {
        const int64_t length = size[1 + rank - d], at = rest % length;
        rest /= length;
        place[d] = align ? 2 * (double)at / (double)(length - 1) - 1 : (2 * (double)at + 1) / (double)length - 1;
      }
      place[rank] = 1;
      for (int i = 0; i < rank; i++) {
        double sum = 0;
        for (int k = 0; k <= rank; k++) sum += place[k] * (double)theta[(n * rank + i) * (rank + 1) + k];
        expected[count++] = sum;
      }
    }
  one_node_expect(folder, &one, "y", count, expected);
  free(theta);
}
END_TEST

/* ---- integers ---- */

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

START_TEST(products_with_their_activation) {
  enum { M = 3, K = 7, COLUMNS = 5 };
  float *a = random_floats(M * K, 1), *b = random_floats(COLUMNS * K, 2), *c = random_floats(COLUMNS, 3);
  one_node one = one_node_contributed("FusedGemm", "a b c", "y");
  one_node_input(&one, "a", PARE__ONNX_FLOAT, 2, (const int64_t[]){M, K}, a);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){COLUMNS, K}, b);
  model_constant(one.onnx, "c", PARE__ONNX_FLOAT, 1, (const int64_t[]){COLUMNS}, c);
  node_int(one.onnx, one.node, "transB", 1);
  node_float(one.onnx, one.node, "beta", 2);
  one_node_text(&one, "activation", "LeakyRelu");
  node_float(one.onnx, one.node, "activation_alpha", 0.25F);
  double expected[M * COLUMNS];
  for (int i = 0; i < M * COLUMNS; i++) {
    double sum = 2 * (double)c[i % COLUMNS];
    for (int k = 0; k < K; k++) sum += (double)a[i / COLUMNS * K + k] * (double)b[i % COLUMNS * K + k];
    expected[i] = leaky(sum);
  }
  one_node_expect(folder, &one, "y", M * COLUMNS, expected);
  FREE_ALL(a, b, c);
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

/* ---- channels last, and what diffusion models have ---- */

/* _i: 1: channels first; 2: SiLU after it; 4: SkipGroupNorm, whose skip is [N, C] and which has a bias; 8: its sum is
 * looked at. */
START_TEST(group_norms_of_diffusion_models) {
  enum { N = 2, C = 6, PIXELS = 6, GROUPS = 3, EACH = C / GROUPS, COUNT = N * C * PIXELS };
  const bool first = _i & 1, gated = _i & 2, skips = _i & 4, looks = _i & 8;
  const float epsilon = 1e-3F;
  float *x = random_floats(COUNT, 1), *scale = random_floats(C, 2), *shift = random_floats(C, 3),
        *skip = random_floats(N * C, 4), *bias = random_floats(C, 5);
  const int64_t last_dim[4] = {N, 2, 3, C}, first_dim[4] = {N, C, 2, 3};
  one_node one =
      one_node_contributed(skips ? "SkipGroupNorm" : "GroupNorm", skips ? "x g b s c" : "x g b", skips ? "y t" : "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 4, first ? first_dim : last_dim, x);
  model_constant(one.onnx, "g", PARE__ONNX_FLOAT, 1, (const int64_t[]){C}, scale);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){C}, shift);
  if (skips) one_node_input(&one, "s", PARE__ONNX_FLOAT, 2, (const int64_t[]){N, C}, skip);
  if (skips) model_constant(one.onnx, "c", PARE__ONNX_FLOAT, 1, (const int64_t[]){C}, bias);
  node_int(one.onnx, one.node, "groups", GROUPS);
  node_int(one.onnx, one.node, "activation", gated);
  node_float(one.onnx, one.node, "epsilon", epsilon);
  if (first) node_int(one.onnx, one.node, "channels_last", 0);
  double sum[COUNT], expected[COUNT];
#define AT(n, c, p) (first ? ((n)*C + (c)) * PIXELS + (p) : ((n)*PIXELS + (p)) * C + (c))
  for (int n = 0; n < N; n++)
    for (int g = 0; g < GROUPS; g++) {
      double mean = 0, variance = 0;
      for (int i = 0; i < EACH * PIXELS; i++) {
        const int c = g * EACH + i / PIXELS, at = AT(n, c, i % PIXELS);
        sum[at] = (double)x[at] + (skips ? (double)skip[n * C + c] + (double)bias[c] : 0);
        mean += sum[at] / (EACH * PIXELS);
      }
      for (int i = 0; i < EACH * PIXELS; i++)
        variance += pow(sum[AT(n, g * EACH + i / PIXELS, i % PIXELS)] - mean, 2) / (EACH * PIXELS);
      for (int i = 0; i < EACH * PIXELS; i++) {
        const int c = g * EACH + i / PIXELS, at = AT(n, c, i % PIXELS);
        const double y = (sum[at] - mean) / sqrt(variance + (double)epsilon) * (double)scale[c] + (double)shift[c];
        expected[at] = gated ? y * sigmoid(y) : y;
      }
    }
#undef AT
  one_node_expect(folder, &one, looks ? "t" : "y", COUNT, looks ? sum : expected);
  FREE_ALL(x, scale, shift, skip, bias);
}
END_TEST

START_TEST(a_bias_and_a_skip_are_added) {
  enum { ROWS = 4, C = 5 };
  float *x = random_floats(ROWS * C, 1), *bias = random_floats(C, 2), *skip = random_floats(ROWS * C, 3);
  one_node one = one_node_contributed("BiasAdd", "x b s", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){2, 2, C}, x);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){C}, bias);
  one_node_input(&one, "s", PARE__ONNX_FLOAT, 3, (const int64_t[]){2, 2, C}, skip);
  double expected[ROWS * C];
  for (int i = 0; i < ROWS * C; i++) expected[i] = (double)x[i] + (double)bias[i % C] + (double)skip[i];
  one_node_expect(folder, &one, "y", ROWS * C, expected);
  FREE_ALL(x, bias, skip);
}
END_TEST

/* _i: the weights are an input of the model. */
START_TEST(convolutions_with_their_channels_last) {
  enum { H = 4, W = 5, C = 3, O = 2, TAPS = 3 };
  float *x = random_floats(H * W * C, 1), *w = random_floats(O * C * TAPS * TAPS, 2), *bias = random_floats(O, 3);
  one_node one = one_node_contributed("NhwcConv", "x w b", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, H, W, C}, x);
  if (_i)
    one_node_input(&one, "w", PARE__ONNX_FLOAT, 4, (const int64_t[]){O, C, TAPS, TAPS}, w);
  else
    model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 4, (const int64_t[]){O, C, TAPS, TAPS}, w);
  model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){O}, bias);
  node_ints(one.onnx, one.node, "pads", 4, (const int64_t[]){1, 1, 1, 1});
  double expected[H * W * O];
  for (int at = 0; at < H * W * O; at++) {
    const int o = at % O, row = at / O / W, column = at / O % W;
    expected[at] = (double)bias[o];
    for (int k = 0; k < C * TAPS * TAPS; k++) {
      const int c = k / (TAPS * TAPS), i = row + k / TAPS % TAPS - 1, j = column + k % TAPS - 1;
      if (i >= 0 && i < H && j >= 0 && j < W)
        expected[at] += (double)x[(i * W + j) * C + c] * (double)w[o * C * TAPS * TAPS + k];
    }
  }
  one_node_expect(folder, &one, "y", H * W * O, expected);
  FREE_ALL(x, w, bias);
}
END_TEST

START_TEST(pooling_with_its_channels_last) {
  enum { H = 4, W = 6, C = 3, WINDOW = 2 };
  uint8_t x[H * W * C];
  double expected[H * W * C / (WINDOW * WINDOW)] = {0};
  for (int i = 0; i < H * W * C; i++) {
    x[i] = (uint8_t)(i * 89);
    double *most = &expected[((i / C / W / WINDOW) * (W / WINDOW) + i / C % W / WINDOW) * C + i % C];
    *most = fmax(*most, x[i]);
  }
  one_node one = one_node_contributed("NhwcMaxPool", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_UINT8, 4, (const int64_t[]){1, H, W, C}, x);
  node_ints(one.onnx, one.node, "kernel_shape", 2, (const int64_t[]){WINDOW, WINDOW});
  node_ints(one.onnx, one.node, "strides", 2, (const int64_t[]){WINDOW, WINDOW});
  one_node_expect_bytes(folder, &one, false, H * W * C / (WINDOW * WINDOW), expected);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("operators of com.microsoft");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, gelu_and_its_relatives, 0, (int)(sizeof gelus / sizeof *gelus));
  tcase_add_loop_test(tests, convolutions_with_their_activation, 0, (int)(sizeof activations / sizeof *activations));
  tcase_add_loop_test(tests, norms_without_a_mean, 0, 4);
  tcase_add_loop_test(tests, grids_say_where_to_sample, 0, 2);
  tcase_add_loop_test(tests, affine_grids_are_products_with_coordinates, 0, 4);
  tcase_add_loop_test(tests, integer_products_become_floats, 0, 2);
  tcase_add_loop_test(tests, bytes_stand_for_numbers, 0, (int)(sizeof linear / sizeof *linear));
  tcase_add_loop_test(tests, means_of_bytes_over_all_pixels, 0, 2);
  tcase_add_loop_test(tests, caches_of_integers_stand_for_floats, 0, 4);
  tcase_add_test(tests, caches_that_are_not_possible_are_refused);
  tcase_add_test(tests, attention_to_integers_is_attention_to_what_they_stand_for);
  tcase_add_test(tests, products_with_their_activation);
  tcase_add_test(tests, embeddings_of_integers_are_those_of_what_they_stand_for);
  tcase_add_loop_test(tests, products_with_weights_of_four_bit_floats, 0, 4);
  tcase_add_test(tests, weights_of_four_bit_floats_must_fit_their_sizes);
  tcase_add_loop_test(tests, group_norms_of_diffusion_models, 0, 8);
  tcase_add_loop_test(tests, group_norms_of_diffusion_models, 12, 14);
  tcase_add_test(tests, a_bias_and_a_skip_are_added);
  tcase_add_loop_test(tests, convolutions_with_their_channels_last, 0, 2);
  tcase_add_test(tests, pooling_with_its_channels_last);
  return remove_folder(folder, run_tests("operators of com.microsoft", tests));
}
