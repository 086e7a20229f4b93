/* Operators of com.microsoft for signals, matrices, images, gates and decoders: against formulas in double precision.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "one_node.h"

static char folder[] = "/tmp/pare-test-contributed-XXXXXX";

#define PI 3.14159265358979323846

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* ---- signals ---- */

/* Of one dimension or two, and back, where both sides are compared with the sum. */
START_TEST(real_transforms_are_those_of_fourier) {
  enum { ROWS = 4, LENGTH = 6, HALF = LENGTH / 2 + 1 };
  const bool twice = _i == 1;
  float *x = random_floats(ROWS * LENGTH, 1);
  double y[ROWS * HALF * 2], back[ROWS * LENGTH];
  float spectrum[ROWS * HALF * 2];
  for (int r = 0; r < ROWS; r++)
    for (int k = 0; k < HALF; k++) {
      double sum[2] = {0, 0};
      for (int s = twice ? 0 : r; s < (twice ? ROWS : r + 1); s++)
        for (int n = 0; n < LENGTH; n++) {
          const double angle = -2 * PI * ((double)(n * k) / LENGTH + (twice ? (double)(r * s) / ROWS : 0));
          sum[0] += (double)x[s * LENGTH + n] * cos(angle);
          sum[1] += (double)x[s * LENGTH + n] * sin(angle);
        }
      for (int part = 0; part < 2; part++) {
        y[(r * HALF + k) * 2 + part] = sum[part];
        spectrum[(r * HALF + k) * 2 + part] = (float)sum[part];
      }
    }
  for (int i = 0; i < ROWS * LENGTH; i++) back[i] = (double)x[i];
  one_node one = one_node_contributed("Rfft", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, LENGTH}, x);
  node_int(one.onnx, one.node, "signal_ndim", 1 + twice);
  node_int(one.onnx, one.node, "onesided", 1);
  node_int(one.onnx, one.node, "normalized", 0);
  one_node_expect(folder, &one, "y", ROWS * HALF * 2, y);
  one = one_node_contributed("Irfft", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){ROWS, HALF, 2}, spectrum);
  node_int(one.onnx, one.node, "signal_ndim", 1 + twice);
  one_node_expect(folder, &one, "y", ROWS * LENGTH, back);
  one = one_node_contributed("Rfft", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, LENGTH}, x);
  node_int(one.onnx, one.node, "onesided", 0);
  one_node_refused(folder, &one, PARE_ERR_UNSUPPORTED, "onesided");
  free(x);
}
END_TEST

START_TEST(complex_products_and_those_with_the_conjugate) {
  enum { N = 5 };
  float *a = random_floats(2 * N, 1), *b = random_floats(2, 2);
  double y[2 * N];
  const double sign = _i == 1 ? -1 : 1;
  for (int i = 0; i < N; i++) {
    const double re = (double)a[2 * i], im = (double)a[2 * i + 1], c = (double)b[0], d = sign * (double)b[1];
    y[2 * i] = re * c - im * d;
    y[2 * i + 1] = im * c + re * d;
  }
  one_node one = one_node_contributed(_i == 1 ? "ComplexMulConj" : "ComplexMul", "a b", "y");
  one_node_input(&one, "a", PARE__ONNX_FLOAT, 2, (const int64_t[]){N, 2}, a);
  one_node_input(&one, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){1, 2}, b);
  one_node_expect(folder, &one, "y", 2 * N, y);
  FREE_ALL(a, b);
}
END_TEST

/* ---- matrices ---- */

/* x times its inverse is the identity; the second of the matrices begins with zeros, so that rows must be swapped. */
START_TEST(inverses_undo_their_matrices) {
  enum { COUNT = 3, N = 7 };
  float *x = random_floats(COUNT * N * N, 1);
  for (int i = 0; i < 3; i++) x[N * N + i * N] = 0;
  one_node one = one_node_contributed("Inverse", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){COUNT, N, N}, x);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  ck_assert_int_eq(pare_tensor_elements(out), COUNT * N * N);
  float *y = floats_of(out);
  for (int m = 0; m < COUNT; m++)
    for (int i = 0; i < N * N; i++) {
      double sum = 0;
      for (int k = 0; k < N; k++) sum += (double)x[m * N * N + i / N * N + k] * (double)y[m * N * N + k * N + i % N];
      ck_assert_double_eq_tol(sum, i / N == i % N, 2e-4);
    }
  pare_tensor_close(out);
  FREE_ALL(x, y);
}
END_TEST

START_TEST(products_and_sums_of_small_integers) {
  enum { M = 3, K = 4, N = 2 };
  const int16_t a[M * K] = {30000, -32768, 5, 7, -1, 2, -3, 4, 100, 200, -300, 400};
  const int16_t b[K * N] = {30000, -7, -32768, 11, 13, -17, 19, 23};
  const uint8_t u[M * K] = {0, 255, 7, 128, 9, 10, 200, 100, 1, 2, 3, 4}, u_zero = 130;
  const int8_t s[K] = {-128, 127, 5, -6}, s_zero = -7;
  int64_t product[M * N], scaled[M * K], sums[K] = {0};
  for (int i = 0; i < M * N; i++) {
    product[i] = 0;
    for (int k = 0; k < K; k++) product[i] += (int64_t)a[i / N * K + k] * b[k * N + i % N];
    product[i] = (int32_t)(uint32_t)product[i];
  }
  for (int i = 0; i < M * K; i++) {
    scaled[i] = ((int64_t)u[i] - u_zero) * (s[i % K] - s_zero);
    sums[i % K] += (int8_t)(u[i] ^ 128);
  }
  one_node one = one_node_contributed("MatMulInteger16", "a b", "y");
  one_node_input(&one, "a", PARE__ONNX_INT16, 2, (const int64_t[]){M, K}, a);
  one_node_input(&one, "b", PARE__ONNX_INT16, 2, (const int64_t[]){K, N}, b);
  one_node_expect_integers(folder, &one, "y", M * N, product);
  one = one_node_contributed("MulInteger", "a x b z", "y");
  one_node_input(&one, "a", PARE__ONNX_UINT8, 2, (const int64_t[]){M, K}, u);
  one_node_input(&one, "x", PARE__ONNX_UINT8, 0, NULL, &u_zero);
  one_node_input(&one, "b", PARE__ONNX_INT8, 1, (const int64_t[]){K}, s);
  one_node_input(&one, "z", PARE__ONNX_INT8, 0, NULL, &s_zero);
  one_node_expect_integers(folder, &one, "y", M * K, scaled);
  int8_t turned[M * K];
  for (int i = 0; i < M * K; i++) turned[i] = (int8_t)(u[i] ^ 128);
  one = one_node_contributed("ReduceSumInteger", "a", "y");
  one_node_input(&one, "a", PARE__ONNX_INT8, 2, (const int64_t[]){M, K}, turned);
  node_ints(one.onnx, one.node, "axes", 1, (const int64_t[]){0});
  node_int(one.onnx, one.node, "keepdims", 0);
  one_node_expect_integers(folder, &one, "y", K, sums);
  one = one_node_contributed("MatMulInteger16", "a b", "y");
  one_node_input(&one, "a", PARE__ONNX_UINT8, 2, (const int64_t[]){M, K}, u);
  one_node_input(&one, "b", PARE__ONNX_INT16, 2, (const int64_t[]){K, N}, b);
  one_node_refused(folder, &one, PARE_ERR_TYPE, "input 0 is u8");
}
END_TEST

/* GemmFastGelu: gelu(x w + b) by tanh; SparseToDenseMatMul: alpha times the product. */
START_TEST(products_under_other_names) {
  enum { M = 3, K = 5, N = 4 };
  const bool gelu = _i == 0;
  float *x = random_floats(M * K, 1), *w = random_floats(K * N, 2), *b = random_floats(N, 3);
  double y[M * N];
  one_node one = one_node_contributed(gelu ? "GemmFastGelu" : "SparseToDenseMatMul", gelu ? "x w b" : "x w", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){M, K}, x);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){K, N}, w);
  if (gelu) model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){N}, b);
  if (!gelu) node_float(one.onnx, one.node, "alpha", 1.5F);
  for (int i = 0; i < M * N; i++) {
    double sum = gelu ? (double)b[i % N] : 0;
    for (int k = 0; k < K; k++) sum += (double)x[i / N * K + k] * (double)w[k * N + i % N];
    y[i] = gelu ? sum / 2 * (1 + tanh(sqrt(2 / PI) * (sum + 0.044715 * sum * sum * sum))) : 1.5 * sum;
  }
  one_node_expect(folder, &one, "y", M * N, y);
  FREE_ALL(x, w, b);
}
END_TEST

/* ---- images ---- */

static double pixel(const float *x, int c, int i, int k) { return (double)x[(c * 5 + i) * 7 + k]; }

/* Boxes that reach outside, one that is turned around, and crops of one row, which lies in the middle. */
START_TEST(crops_have_their_corners_at_those_of_the_box) {
  enum { IMAGES = 2, C = 2, H = 5, W = 7, BOXES = 4 };
  const bool nearest = _i % 2;
  const int32_t size[2] = {_i / 2 ? 1 : 3, 4}, batch[BOXES] = {1, 0, 1, 0};
  const int CH = size[0], CW = size[1];
  const float boxes[BOXES * 4] = {0.1F, 0.2F, 0.85F, 0.9F, 0, 0, 1, 1, -0.3F, 0.1F, 0.6F, 1.2F, 0.9F, 0.8F, 0.15F, 0};
  float *x = random_floats(IMAGES * C * H * W, 1);
  double y[BOXES * C * 3 * 4];
  for (int i = 0; i < BOXES * C * CH * CW; i++) {
    const int box = i / (C * CH * CW), c = i / (CH * CW) % C, at[2] = {i / CW % CH, i % CW}, length[2] = {H, W};
    double p[2];
    int low[2], high[2];
    bool inside = true;
    for (int d = 0; d < 2; d++) {
      const double a = (double)boxes[box * 4 + d], b = (double)boxes[box * 4 + 2 + d];
      p[d] = (size[d] > 1 ? a + at[d] * (b - a) / (size[d] - 1) : (a + b) / 2) * (length[d] - 1);
      if (fabs(p[d] - (length[d] - 1)) < 1e-6) p[d] = length[d] - 1;
      inside = inside && p[d] >= 0 && p[d] <= length[d] - 1;
      low[d] = (int)floor(p[d]);
      high[d] = (int)ceil(p[d]);
    }
    const float *image = x + batch[box] * C * H * W;
    if (!inside) {
      y[i] = 2.5;
    } else if (nearest) {
      y[i] = pixel(image, c, (int)round(p[0]), (int)round(p[1]));
    } else {
      const double fy = p[0] - low[0], fx = p[1] - low[1];
      y[i] = (1 - fy) * ((1 - fx) * pixel(image, c, low[0], low[1]) + fx * pixel(image, c, low[0], high[1])) +
             fy * ((1 - fx) * pixel(image, c, high[0], low[1]) + fx * pixel(image, c, high[0], high[1]));
    }
  }
  one_node one = one_node_contributed("CropAndResize", "x r b s", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){IMAGES, C, H, W}, x);
  one_node_input(&one, "r", PARE__ONNX_FLOAT, 2, (const int64_t[]){BOXES, 4}, boxes);
  one_node_input(&one, "b", PARE__ONNX_INT32, 1, (const int64_t[]){BOXES}, batch);
  model_constant(one.onnx, "s", PARE__ONNX_INT32, 1, (const int64_t[]){2}, size);
  node_float(one.onnx, one.node, "extrapolation_value", 2.5F);
  one_node_text(&one, "mode", nearest ? "nearest" : "bilinear");
  one_node_expect(folder, &one, "y", BOXES * C * CH * CW, y);
  free(x);
}
END_TEST

/* A line of a window ends at the first 0 of the mask; a window without a line has the lowest number. */
START_TEST(masked_pools_stop_at_the_mask) {
  enum { C = 2, H = 4, W = 6, OH = 3, OW = 6 };
  float *x = random_floats(C * H * W, 1);
  int32_t mask[H * W];
  double y[C * OH * OW];
  for (int i = 0; i < H * W; i++) mask[i] = (i / W < 2 || i % W < 3) && i != 8;
  for (int i = 0; i < C * OH * OW; i++) {
    const int c = i / (OH * OW), top = i / OW % OH * 2 - 1, left = i % OW - 1;
    y[i] = -(double)3.402823466e38F;
    for (int h = top < 0 ? 0 : top; h < top + 2 && h < H; h++)
      for (int w = left < 0 ? 0 : left; w < left + 3 && w < W && mask[h * W + w]; w++)
        y[i] = fmax(y[i], (double)x[(c * H + h) * W + w]);
  }
  one_node one = one_node_contributed("MaxpoolWithMask", "x m", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, C, H, W}, x);
  one_node_input(&one, "m", PARE__ONNX_INT32, 4, (const int64_t[]){1, 1, H, W}, mask);
  node_ints(one.onnx, one.node, "kernel_shape", 2, (const int64_t[]){2, 3});
  node_ints(one.onnx, one.node, "strides", 2, (const int64_t[]){2, 1});
  node_ints(one.onnx, one.node, "pads", 4, (const int64_t[]){1, 1, 1, 1});
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  ck_assert_int_eq(pare_tensor_elements(out), C * OH * OW);
  float *found = floats_of(out);
  bool some_empty = false;
  for (int i = 0; i < C * OH * OW; i++) {
    ck_assert_msg((double)found[i] == y[i], "element %d: %g, expected %g", i, (double)found[i], y[i]);
    some_empty = some_empty || y[i] < -1e38;
  }
  ck_assert(some_empty);
  pare_tensor_close(out);
  FREE_ALL(x, found);
}
END_TEST

/* y [2][O][7], from every x and tap to where they lead, less the pads before. */
START_TEST(pads_of_transposed_convolutions_may_be_an_input) {
  enum { C = 2, O = 3, LENGTH = 4, TAPS = 3, STRIDE = 2, Y = (LENGTH - 1) * STRIDE + TAPS - 3 };
  const int64_t pads[2] = {1, 2};
  float *x = random_floats(C * LENGTH, 1), *w = random_floats(C * O * TAPS, 2), *b = random_floats(O, 3);
  double y[O * Y];
  for (int o = 0; o < O; o++)
    for (int i = 0; i < Y; i++) {
      y[o * Y + i] = (double)b[o];
      for (int c = 0; c < C; c++)
        for (int k = 0; k < LENGTH * TAPS; k++)
          if (k / TAPS * STRIDE + k % TAPS - 1 == i)
            y[o * Y + i] += (double)x[c * LENGTH + k / TAPS] * (double)w[(c * O + o) * TAPS + k % TAPS];
    }
  one_node one = one_node_contributed("ConvTransposeWithDynamicPads", "x w p b", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, C, LENGTH}, x);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 3, (const int64_t[]){C, O, TAPS}, w);
  one_node_input(&one, "p", PARE__ONNX_INT64, 1, (const int64_t[]){2}, pads);
  one_node_input(&one, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){O}, b);
  node_ints(one.onnx, one.node, "strides", 1, (const int64_t[]){STRIDE});
  one_node_expect(folder, &one, "y", O * Y, y);
  FREE_ALL(x, w, b);
}
END_TEST

/* y = relu(x * w + b + z), channels last */
START_TEST(convolutions_with_channels_last_and_a_summand) {
  enum { C = 3, O = 2, LENGTH = 6, TAPS = 3 };
  float *x = random_floats(LENGTH * C, 1), *w = random_floats(O * C * TAPS, 2), *b = random_floats(O, 3),
        *z = random_floats(LENGTH * O, 4);
  double y[LENGTH * O];
  for (int i = 0; i < LENGTH * O; i++) {
    y[i] = (double)b[i % O] + (double)z[i];
    for (int k = 0; k < TAPS * C; k++) {
      const int from = i / O + k / C - 1;
      if (from >= 0 && from < LENGTH)
        y[i] += (double)x[from * C + k % C] * (double)w[(i % O * C + k % C) * TAPS + k / C];
    }
    y[i] = fmax(y[i], 0);
  }
  one_node one = one_node_contributed("NhwcFusedConv", "x w b z", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, LENGTH, C}, x);
  model_constant(one.onnx, "w", PARE__ONNX_FLOAT, 3, (const int64_t[]){O, C, TAPS}, w);
  one_node_input(&one, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){O}, b);
  one_node_input(&one, "z", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, LENGTH, O}, z);
  node_ints(one.onnx, one.node, "pads", 2, (const int64_t[]){1, 1});
  one_node_text(&one, "activation", "Relu");
  one_node_expect(folder, &one, "y", LENGTH * O, y);
  FREE_ALL(x, w, b, z);
}
END_TEST

/* ---- gates and norms ---- */

/* Runs of 4 of each row of 8: _i 0 GatedRMSNorm with silu, 1 with sigmoid, 2 BranchwiseRMSNorm with a scale for all, 3
 * with one for each of a branch, 4 with branches as a dimension and no scale. */
START_TEST(norms_of_runs) {
  enum { ROWS = 3, RUN = 4, WIDE = 2 * RUN };
  const float epsilon = 1e-2F;
  const bool gated = _i < 2;
  const int scales = _i == 2 ? WIDE : RUN;
  float *x = random_floats(ROWS * WIDE, 1), *scale = random_floats(WIDE, 2), *gate = random_floats(ROWS * WIDE, 3);
  double y[ROWS * WIDE];
  for (int i = 0; i < ROWS * WIDE; i++) {
    double squares = 0;
    for (int k = 0; k < RUN; k++) squares += pow((double)x[i / RUN * RUN + k], 2);
    y[i] = (double)x[i] / sqrt(squares / RUN + (double)epsilon) * (_i == 4 ? 1 : (double)scale[i % scales]);
    if (gated) y[i] *= sigmoid((double)gate[i]) * (_i == 0 ? (double)gate[i] : 1);
  }
  one_node one = one_node_contributed(gated ? "GatedRMSNorm" : "BranchwiseRMSNorm",
                                      gated     ? "x s g"
                                      : _i == 4 ? "x"
                                                : "x s",
                                      "y");
  if (_i == 4)
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){ROWS, 2, RUN}, x);
  else
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, WIDE}, x);
  if (_i != 4) model_constant(one.onnx, "s", PARE__ONNX_FLOAT, 1, (const int64_t[]){scales}, scale);
  if (gated) one_node_input(&one, "g", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, WIDE}, gate);
  if (_i == 1) one_node_text(&one, "activation", "sigmoid");
  if (_i == 2 || _i == 3) node_int(one.onnx, one.node, "num_branches", 2);
  node_float(one.onnx, one.node, "epsilon", epsilon);
  one_node_expect(folder, &one, "y", ROWS * WIDE, y);
  FREE_ALL(x, scale, gate);
}
END_TEST

/* _i: GatedAdd, ScaledSiLU, LinearAttentionGate's decay and beta, BiasDropout */
START_TEST(gates_of_elements) {
  enum { ROWS = 3, WIDE = 4 };
  static const char *const ops[] = {"GatedAdd", "ScaledSiLU", "LinearAttentionGate", "LinearAttentionGate",
                                    "BiasDropout"};
  static const char *const inputs[] = {"x y g", "x", "x b s y", "x b s y", "x b y"};
  float *x = random_floats(ROWS * WIDE, 1), *y = random_floats(ROWS * WIDE, 2), *b = random_floats(WIDE, 3),
        *s = random_floats(WIDE, 4), *g = random_floats(ROWS, 5);
  double expected[ROWS * WIDE];
  for (int i = 0; i < ROWS * WIDE; i++) {
    const double in = (double)x[i], other = (double)y[i], bias = (double)b[i % WIDE];
    expected[i] = _i == 0   ? in + other * (double)g[i / WIDE]
                  : _i == 1 ? 1.5 * in * sigmoid(1.5 * in)
                  : _i == 2 ? (double)s[i % WIDE] * log1p(exp(in + bias))
                  : _i == 3 ? sigmoid(other)
                            : in + bias + other;
  }
  one_node one = one_node_contributed(ops[_i], inputs[_i], _i == 3 ? "d y2" : "y2");
  const int64_t dim[3] = {1, ROWS, WIDE}, one_each[3] = {1, ROWS, 1}, wide = WIDE;
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, dim, x);
  if (_i != 1) one_node_input(&one, "y", PARE__ONNX_FLOAT, 3, dim, y);
  if (_i == 0) one_node_input(&one, "g", PARE__ONNX_FLOAT, 3, one_each, g);
  if (_i == 1) node_float(one.onnx, one.node, "alpha", 1.5F);
  if (_i > 1) model_constant(one.onnx, "b", PARE__ONNX_FLOAT, 1, &wide, b);
  if (_i == 2 || _i == 3) model_constant(one.onnx, "s", PARE__ONNX_FLOAT, 1, &wide, s);
  one_node_expect(folder, &one, "y2", ROWS * WIDE, expected);
  FREE_ALL(x, y, b, s, g);
}
END_TEST

/* The bias is for every row of x that follows in its group (_i 1), or its rows are taken in turns. */
START_TEST(softmax_of_sums_with_a_bias) {
  enum { OUTER = 2, INNER = 3, WIDE = 5 };
  const bool inner = _i == 1;
  const int given = inner ? OUTER : INNER;
  float *x = random_floats(OUTER * INNER * WIDE, 1), *bias = random_floats(INNER * WIDE, 2);
  double y[OUTER * INNER * WIDE];
  for (int row = 0; row < OUTER * INNER; row++) {
    double sum = 0;
    for (int k = 0; k < WIDE; k++) {
      const int from = inner ? row / INNER : row % INNER;
      sum += y[row * WIDE + k] = exp((double)x[row * WIDE + k] + (double)bias[from * WIDE + k]);
    }
    for (int k = 0; k < WIDE; k++) y[row * WIDE + k] /= sum;
  }
  one_node one = one_node_contributed("BiasSoftmax", "x b", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){OUTER, INNER, WIDE}, x);
  one_node_input(&one, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){given, WIDE}, bias);
  node_int(one.onnx, one.node, "axis", 2);
  node_int(one.onnx, one.node, "is_inner_broadcast", inner);
  one_node_expect(folder, &one, "y", OUTER * INNER * WIDE, y);
  FREE_ALL(x, bias);
}
END_TEST

/* _i: nothing; NaN; an infinity; each with what else is asked for, in the second tensor. */
START_TEST(one_element_is_enough_not_to_be_finite) {
  const float all[3] = {1, NAN, -INFINITY}, x[4] = {1, 2, 3, 4}, y[2] = {5, all[_i]};
  for (int only = 0; only < 3; only++) {
    one_node one = one_node_contributed("IsAllFinite", "x y", "z");
    one_node_input(&one, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){4}, x);
    one_node_input(&one, "y", PARE__ONNX_FLOAT, 2, (const int64_t[]){1, 2}, y);
    if (only == 1) node_int(one.onnx, one.node, "isnan_only", 1);
    if (only == 2) node_int(one.onnx, one.node, "isinf_only", 1);
    pare_tensor *out;
    uint8_t found = 2;
    OK(one_node_run(folder, &one, "z", false, &out));
    OK(pare_tensor_read(out, &found, 1));
    ck_assert_int_eq(found, _i == 0 || (only != 0 && only != _i));
    pare_tensor_close(out);
  }
}
END_TEST

/* ---- decoders ---- */

/* Of n tokens; n = 1 blocks every token that there was, and more tokens than there are block none. */
START_TEST(ngrams_are_not_repeated) {
  enum { BATCH = 2, LENGTH = 7, WORDS = 6 };
  const int64_t ids[BATCH * LENGTH] = {1, 2, 3, 1, 2, 5, 1, 4, 4, 4, 4, 4, 4, 4}, n = _i == 3 ? 9 : 1 + _i;
  float *scores = random_floats(BATCH * WORDS, 1);
  bool blocked[BATCH * WORDS] = {false};
  for (int b = 0; b < BATCH; b++)
    for (int64_t i = 0; i + n <= LENGTH; i++)
      if (memcmp(ids + b * LENGTH + i, ids + (b + 1) * LENGTH - n + 1, (size_t)(n - 1) * sizeof *ids) == 0)
        blocked[b * WORDS + ids[b * LENGTH + i + n - 1]] = true;
  one_node one = one_node_contributed("NGramRepeatBlock", "i s", "y");
  one_node_input(&one, "i", PARE__ONNX_INT64, 2, (const int64_t[]){BATCH, LENGTH}, ids);
  one_node_input(&one, "s", PARE__ONNX_FLOAT, 2, (const int64_t[]){BATCH, WORDS}, scores);
  node_int(one.onnx, one.node, "ngram_size", n);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  float *found = floats_of(out);
  for (int i = 0; i < BATCH * WORDS; i++) ck_assert(found[i] == (blocked[i] ? -INFINITY : scores[i]));
  pare_tensor_close(out);
  FREE_ALL(scores, found);
}
END_TEST

/* The path's cost is that of the cheapest, by all paths; it begins and ends at the corners, in single steps. */
START_TEST(time_is_warped_along_the_cheapest_path) {
  enum { ROWS = 5, COLUMNS = 7 };
  float *x = random_floats(ROWS * COLUMNS, 1);
  double best[ROWS * COLUMNS], cost = 0;
  for (int i = 0; i < ROWS * COLUMNS; i++) {
    const int r = i / COLUMNS, c = i % COLUMNS;
    double before = i == 0 ? 0 : INFINITY;
    if (r) before = fmin(before, best[i - COLUMNS]);
    if (c) before = fmin(before, best[i - 1]);
    if (r && c) before = fmin(before, best[i - COLUMNS - 1]);
    best[i] = before + (double)x[i];
  }
  one_node one = one_node_contributed("DynamicTimeWarping", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, ROWS, COLUMNS}, x);
  pare_tensor *out;
  int32_t path[2 * (ROWS + COLUMNS)];
  OK(one_node_run(folder, &one, "y", false, &out));
  const int64_t n = pare_tensor_elements(out) / 2;
  ck_assert_int_lt(n, ROWS + COLUMNS);
  OK(pare_tensor_read(out, path, (size_t)n * 8));
  ck_assert(path[0] == 0 && path[n] == 0 && path[n - 1] == ROWS - 1 && path[2 * n - 1] == COLUMNS - 1);
  for (int64_t i = 0; i < n; i++) {
    cost += (double)x[path[i] * COLUMNS + path[n + i]];
    if (i == 0) continue;
    const int down = path[i] - path[i - 1], across = path[n + i] - path[n + i - 1];
    ck_assert((down == 0 || down == 1) && (across == 0 || across == 1) && down + across > 0);
  }
  ck_assert_double_eq_tol(cost, best[ROWS * COLUMNS - 1], 1e-4);
  pare_tensor_close(out);
  free(x);
}
END_TEST

/* Kinds in the order of their first elements, which they are numbered by, and how many there are of each. */
START_TEST(kinds_are_in_the_order_of_their_first_elements) {
  static const float x[] = {2, 1, 1, 3, 4, 3};
  static const int64_t kinds[] = {0, 1, 1, 2, 3, 2}, counts[] = {1, 2, 2, 1};
  static const double values[] = {2, 1, 3, 4};
  static const char *const outputs[] = {"y", "k", "c"};
  one_node one = one_node_contributed("Unique", "x", "y k c");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){6}, x);
  if (_i == 0)
    one_node_expect(folder, &one, outputs[_i], 4, values);
  else
    one_node_expect_integers(folder, &one, outputs[_i], _i == 1 ? 6 : 4, _i == 1 ? kinds : counts);
}
END_TEST

/* _i: rows of a table, whose other inputs are of training; tuples of indices. */
START_TEST(gathers_under_other_names) {
  enum { ROWS = 4, WIDE = 3 };
  const int64_t index[2] = {2, 1}, padding = 1;
  float *x = random_floats(ROWS * WIDE, 1);
  double y[2 * WIDE];
  for (int i = 0; i < 2 * WIDE; i++) y[i] = (double)x[_i == 0 ? index[i / WIDE] * WIDE + i % WIDE : 2 * WIDE + 1];
  one_node one = one_node_contributed(_i == 0 ? "TorchEmbedding" : "GatherND", _i == 0 ? "x i p" : "x i", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, WIDE}, x);
  one_node_input(&one, "i", PARE__ONNX_INT64, 1, (const int64_t[]){2}, index);
  if (_i == 0) one_node_input(&one, "p", PARE__ONNX_INT64, 0, NULL, &padding);
  one_node_expect(folder, &one, "y", _i == 0 ? 2 * WIDE : 1, y);
  free(x);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("contributed operators");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, real_transforms_are_those_of_fourier, 0, 2);
  tcase_add_loop_test(tests, complex_products_and_those_with_the_conjugate, 0, 2);
  tcase_add_test(tests, inverses_undo_their_matrices);
  tcase_add_test(tests, products_and_sums_of_small_integers);
  tcase_add_loop_test(tests, products_under_other_names, 0, 2);
  tcase_add_loop_test(tests, crops_have_their_corners_at_those_of_the_box, 0, 4);
  tcase_add_test(tests, masked_pools_stop_at_the_mask);
  tcase_add_test(tests, pads_of_transposed_convolutions_may_be_an_input);
  tcase_add_test(tests, convolutions_with_channels_last_and_a_summand);
  tcase_add_loop_test(tests, norms_of_runs, 0, 5);
  tcase_add_loop_test(tests, gates_of_elements, 0, 5);
  tcase_add_loop_test(tests, softmax_of_sums_with_a_bias, 0, 2);
  tcase_add_loop_test(tests, one_element_is_enough_not_to_be_finite, 0, 3);
  tcase_add_loop_test(tests, ngrams_are_not_repeated, 0, 4);
  tcase_add_test(tests, time_is_warped_along_the_cheapest_path);
  tcase_add_loop_test(tests, kinds_are_in_the_order_of_their_first_elements, 0, 3);
  tcase_add_loop_test(tests, gathers_under_other_names, 0, 2);
  return remove_folder(folder, run_tests("contributed operators", tests));
}
