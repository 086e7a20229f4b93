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

/* ---- what has a namesake in ai.onnx, or nearly ---- */

/* transBatch: the first axis becomes the rows; _i: of a, of b, a constant b. */
START_TEST(products_of_matrices_whose_batch_lies_within) {
  enum { BATCH = 2, M = 3, K = 4, N = 5 };
  const bool of_b = _i > 0;
  float *a = random_floats(BATCH * M * K, 1), *b = random_floats(BATCH * K * N, 2);
  const int64_t a_dim[3] = {of_b ? BATCH : M, of_b ? M : BATCH, K}, b_dim[3] = {of_b ? K : BATCH, of_b ? BATCH : K, N};
  one_node one = one_node_contributed("FusedMatMul", "a b", "y");
  one_node_input(&one, "a", PARE__ONNX_FLOAT, 3, a_dim, a);
  if (_i == 2)
    model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 3, b_dim, b);
  else
    one_node_input(&one, "b", PARE__ONNX_FLOAT, 3, b_dim, b);
  node_int(one.onnx, one.node, of_b ? "transBatchB" : "transBatchA", 1);
  double expected[BATCH * M * N] = {0};
  for (int i = 0; i < BATCH * M * N; i++) {
    const int batch = i / (M * N), m = i / N % M, n = i % N;
    for (int k = 0; k < K; k++)
      expected[i] += (double)a[(of_b ? batch * M + m : m * BATCH + batch) * K + k] *
                     (double)b[(of_b ? k * BATCH + batch : batch * K + k) * N + n];
  }
  one_node_expect(folder, &one, "y", BATCH * M * N, expected);
  FREE_ALL(a, b);
}
END_TEST

START_TEST(distances_between_rows) {
  enum { M = 4, N = 3, D = 5 };
  float *a = random_floats(M * D, 1), *b = random_floats(N * D, 2);
  memcpy(b + D, a, D * sizeof *b); /* a distance of nothing is no NaN */
  one_node one = one_node_contributed("CDist", "a b", "y");
  one_node_input(&one, "a", PARE__ONNX_FLOAT, 2, (const int64_t[]){M, D}, a);
  one_node_input(&one, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){N, D}, b);
  if (_i) one_node_text(&one, "metric", "euclidean");
  double expected[M * N];
  for (int i = 0; i < M * N; i++) {
    double sum = 0;
    for (int d = 0; d < D; d++) sum += pow((double)a[i / N * D + d] - (double)b[i % N * D + d], 2);
    expected[i] = _i ? sqrt(sum) : sum;
  }
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  float *y = floats_of(out);
  for (int i = 0; i < M * N; i++) ck_assert_double_eq_tol((double)y[i], expected[i], _i ? 2e-3 : 2e-6);
  free(y);
  pare_tensor_close(out);
  FREE_ALL(a, b);
}
END_TEST

START_TEST(slices_are_unfolded) {
  enum { ROWS = 2, LENGTH = 7, C = 3, SIZE = 3, STEP = 2, MADE = (LENGTH - SIZE) / STEP + 1 };
  float *x = random_floats(ROWS * LENGTH * C, 1);
  one_node one = one_node_contributed("UnfoldTensor", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){ROWS, LENGTH, C}, x);
  node_int(one.onnx, one.node, "dim", 1);
  node_int(one.onnx, one.node, "size", SIZE);
  node_int(one.onnx, one.node, "step", STEP);
  double expected[ROWS * MADE * C * SIZE];
  for (int i = 0; i < ROWS * MADE * C * SIZE; i++) {
    const int k = i % SIZE, c = i / SIZE % C, slice = i / SIZE / C % MADE, row = i / SIZE / C / MADE;
    expected[i] = (double)x[(row * LENGTH + slice * STEP + k) * C + c];
  }
  one_node_expect(folder, &one, "y", ROWS * MADE * C * SIZE, expected);
  free(x);
}
END_TEST

START_TEST(pads_axes_and_steps_are_inputs) {
  const float x[2] = {1, 2}, value = 7, bounds[2] = {1.5F, 4};
  const int64_t pads[4] = {0, 1, 1, 0};
  const int32_t axis = -1;
  one_node one = one_node_contributed("Pad", "x p v", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){1, 2}, x);
  model_constant(one.onnx, "p", PARE__ONNX_INT64, 2, (const int64_t[]){1, 4}, pads);
  model_constant(one.onnx, "v", PARE__ONNX_FLOAT, 1, (const int64_t[]){1}, &value);
  one_node_expect(folder, &one, "y", 6, (const double[]){7, 1, 2, 7, 7, 7});
  one = one_node_contributed("Range", "a b", "y"); /* in steps of 1 */
  for (int i = 0; i < 2; i++) model_constant(one.onnx, i ? "b" : "a", PARE__ONNX_FLOAT, 0, NULL, &bounds[i]);
  one_node_expect(folder, &one, "y", 3, (const double[]){1.5, 2.5, 3.5});
  one = one_node_contributed("ExpandDims", "x a", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){2}, x);
  model_constant(one.onnx, "a", PARE__ONNX_INT32, 0, NULL, &axis);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  ck_assert_int_eq(pare_tensor_rank(out), 2);
  ck_assert_int_eq(pare_tensor_shape(out)[1], 1);
  pare_tensor_close(out);
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
  tcase_add_test(tests, products_with_their_activation);
  tcase_add_loop_test(tests, group_norms_of_diffusion_models, 0, 8);
  tcase_add_loop_test(tests, group_norms_of_diffusion_models, 12, 14);
  tcase_add_test(tests, a_bias_and_a_skip_are_added);
  tcase_add_loop_test(tests, convolutions_with_their_channels_last, 0, 2);
  tcase_add_test(tests, pooling_with_its_channels_last);
  tcase_add_loop_test(tests, products_of_matrices_whose_batch_lies_within, 0, 3);
  tcase_add_loop_test(tests, distances_between_rows, 0, 2);
  tcase_add_test(tests, slices_are_unfolded);
  tcase_add_test(tests, pads_axes_and_steps_are_inputs);
  return remove_folder(folder, run_tests("operators of com.microsoft", tests));
}
