/* Operators on quantised elements against their formulas. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dtype.h"
#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-quantise-XXXXXX";

static void random_bytes(uint8_t *bytes, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)next_random(&seed);
}

/* ---- integer products ---- */

static const struct {
  pare_dtype a, b;
  int64_t batch, m, k, n;
  int a_zeros, b_zeros; /* 0: none, 1: one, 2: one a row of A, one a column of B */
  bool constant;
} products[] = {
    {PARE_U8, PARE_I8, 1, 3, 7, 5, 0, 0, true},   {PARE_U8, PARE_U8, 1, 5, 33, 17, 1, 1, true},
    {PARE_I8, PARE_I8, 1, 4, 20, 9, 1, 2, true},  {PARE_U8, PARE_U8, 1, 6, 19, 8, 2, 2, true},
    {PARE_I8, PARE_U8, 3, 4, 11, 6, 1, 1, false}, {PARE_U8, PARE_I8, 1, 4, 11, 6, 2, 0, false},
};

static int64_t byte_of(pare_dtype dtype, const uint8_t *bytes, int64_t i) {
  return pare__load_integer(dtype, bytes, (size_t)i);
}

START_TEST(integer_products_are_exact) {
  enum { MOST = 1024 };
  const pare_dtype a = products[_i].a, b = products[_i].b;
  const int64_t batch = products[_i].batch, m = products[_i].m, k = products[_i].k, n = products[_i].n;
  const bool constant = products[_i].constant;
  uint8_t a_data[MOST], b_data[MOST], a_zero[MOST], b_zero[MOST];
  random_bytes(a_data, MOST, 1);
  random_bytes(b_data, MOST, 2);
  random_bytes(a_zero, MOST, 3);
  random_bytes(b_zero, MOST, 4);
  const int64_t a_dim[3] = {batch, m, k}, b_dim[3] = {batch, k, n};
  const int skip = batch == 1; /* matrices, not stacks */
  pare__onnx_model *onnx = model_new(17);
  const int32_t a_type = pare__onnx_dtype_from_pare(a), b_type = pare__onnx_dtype_from_pare(b);
  model_input(onnx, "a", a_type, 3 - skip, a_dim + skip);
  if (constant)
    model_constant(onnx, "b", b_type, 2, b_dim + 1, b_data);
  else
    model_input(onnx, "b", b_type, 3 - skip, b_dim + skip);
  if (products[_i].a_zeros) model_constant(onnx, "az", a_type, products[_i].a_zeros - 1, &m, a_zero);
  if (products[_i].b_zeros) model_constant(onnx, "bz", b_type, products[_i].b_zeros - 1, &n, b_zero);
  char names[32];
  snprintf(names, sizeof names, "a b %s %s", products[_i].a_zeros ? "az" : "-", products[_i].b_zeros ? "bz" : "-");
  model_node(onnx, "MatMulInteger", names, "y");
  pare_tensor *in[2] = {tensor_of(a, 3 - skip, a_dim + skip, a_data),
                        constant ? NULL : tensor_of(b, 3 - skip, b_dim + skip, b_data)};
  pare_tensor *out = model_run(folder, onnx, in);
  int32_t found[MOST];
  OK(pare_tensor_read(out, found, (size_t)(batch * m * n) * sizeof *found));
  for (int64_t e = 0; e < batch * m * n; e++) {
    const int64_t s = e / (m * n), i = e / n % m, j = e % n;
    const int64_t za = products[_i].a_zeros ? byte_of(a, a_zero, products[_i].a_zeros == 2 ? i : 0) : 0;
    const int64_t zb = products[_i].b_zeros ? byte_of(b, b_zero, products[_i].b_zeros == 2 ? j : 0) : 0;
    int64_t sum = 0;
    for (int64_t l = 0; l < k; l++)
      sum += (byte_of(a, a_data, (s * m + i) * k + l) - za) * (byte_of(b, b_data, (s * k + l) * n + j) - zb);
    ck_assert_msg(found[e] == sum, "element %lld: %d, expected %lld", (long long)e, found[e], (long long)sum);
  }
  pare_tensor_close(in[0]);
  pare_tensor_close(in[1]);
  pare_tensor_close(out);
}
END_TEST

/* ---- quantising and back ---- */

static const struct {
  int32_t type;
  int axis; /* -1: one scale */
  int64_t block;
} quantisations[] = {{PARE__ONNX_UINT8, -1, 0}, {PARE__ONNX_INT8, 0, 0}, {PARE__ONNX_UINT16, 1, 0},
                     {PARE__ONNX_INT16, -1, 0}, {PARE__ONNX_INT8, 1, 3}, {PARE__ONNX_INT4, 1, 4},
                     {PARE__ONNX_UINT4, 0, 0},  {PARE__ONNX_UINT8, 0, 5}};

static const struct {
  int32_t type;
  double least, most;
} ranges[] = {{PARE__ONNX_UINT8, 0, 255},        {PARE__ONNX_INT8, -128, 127}, {PARE__ONNX_UINT16, 0, 65535},
              {PARE__ONNX_INT16, -32768, 32767}, {PARE__ONNX_INT4, -8, 7},     {PARE__ONNX_UINT4, 0, 15}};

/* Within half a step of what was quantised, or at the end of the range. */
START_TEST(quantised_values_come_back_within_half_a_step) {
  const int64_t dim[2] = {5, 10}, block = quantisations[_i].block;
  const int axis = quantisations[_i].axis;
  const int32_t type = quantisations[_i].type;
  double least = 0, most = 0;
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
    if (ranges[i].type == type) least = ranges[i].least, most = ranges[i].most;
  int64_t scale_dim[2] = {dim[0], dim[1]};
  if (block) scale_dim[axis] = (dim[axis] + block - 1) / block;
  const int64_t *shape = block ? scale_dim : &dim[axis < 0 ? 0 : axis];
  const int rank = block ? 2 : axis < 0 ? 0 : 1;
  float scale[50];
  uint8_t zero[100];
  uint32_t seed = 7;
  const bool wide = type == PARE__ONNX_UINT16 || type == PARE__ONNX_INT16;
  const bool nibbles = type == PARE__ONNX_INT4 || type == PARE__ONNX_UINT4;
  for (int i = 0; i < 50; i++) scale[i] = (float)(next_random(&seed) % 100 + 20) * 4.0f / (float)(most - least) / 50;
  memset(zero, 0, sizeof zero);
  for (int i = 0; i < 50; i++) zero[wide ? 2 * i : i] = nibbles ? 0x21 : (uint8_t)(i % 4);
  pare__onnx_model *onnx = model_new(21);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, dim);
  model_constant(onnx, "s", PARE__ONNX_FLOAT, rank, shape, scale);
  model_constant(onnx, "z", type, rank, shape, zero);
  pare__onnx_node *there = model_node(onnx, "QuantizeLinear", "x s z", "q");
  pare__onnx_node *back = model_node(onnx, "DequantizeLinear", "q s z", "y");
  pare__onnx_node *const nodes[2] = {there, back};
  for (int i = 0; i < 2; i++) {
    if (axis >= 0) node_int(onnx, nodes[i], "axis", axis);
    if (block) node_int(onnx, nodes[i], "block_size", block);
  }
  float *data = random_floats(50, 5);
  pare_tensor *x = tensor_of(PARE_F32, 2, dim, data), *out = model_run(folder, onnx, &x);
  float *found = floats_of(out);
  for (int64_t e = 0; e < 50; e++) {
    const int64_t at[2] = {e / 10, e % 10};
    const int64_t g = block      ? at[0] / (axis == 0 ? block : 1) * scale_dim[1] + at[1] / (axis == 1 ? block : 1)
                      : axis < 0 ? 0
                                 : at[axis];
    const double z = nibbles ? (g % 2 ? 2 : 1) : (double)(g % 4), s = (double)scale[g];
    const double low = (least - z) * s, high = (most - z) * s;
    const double want = (double)data[e] < low ? low : (double)data[e] > high ? high : (double)data[e];
    ck_assert_msg(fabs((double)found[e] - want) <= s * 0.5001, "element %lld: %g, expected %g within %g / 2",
                  (long long)e, (double)found[e], want, s);
  }
  free(data);
  free(found);
  pare_tensor_close(x);
  pare_tensor_close(out);
}
END_TEST

/* ---- floats of a byte ---- */

/* To f8e4m3fn, moved, and back: to the nearest of its numbers; what is too large saturates or becomes NaN. */
START_TEST(floats_of_a_byte_are_cast_and_moved) {
  enum { ROWS = 2, COLUMNS = 5 };
  static const float data[ROWS * COLUMNS] = {0.3f, -1.06f, 448, 500, -1e9f, 0.001f, 17.01f, -0.0f, 464, 1e-9f};
  static const float expected[ROWS * COLUMNS] = {0.3125f, -1, 448, 448, -448, 0x1p-9f, 18, 0, 448, 0};
  const bool saturates = _i == 0;
  const int64_t dim[2] = {ROWS, COLUMNS};
  pare__onnx_model *onnx = model_new(19);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, dim);
  pare__onnx_node *node = model_node(onnx, "Cast", "x", "narrow");
  node_int(onnx, node, "to", PARE__ONNX_FLOAT8E4M3FN);
  node_int(onnx, node, "saturate", saturates);
  model_node(onnx, "Transpose", "narrow", "turned");
  node_int(onnx, model_node(onnx, "Cast", "turned", "y"), "to", PARE__ONNX_FLOAT);
  pare_tensor *x = tensor_of(PARE_F32, 2, dim, data), *out = model_run(folder, onnx, &x);
  float *found = floats_of(out);
  for (int e = 0; e < ROWS * COLUMNS; e++) {
    const float got = found[e % COLUMNS * ROWS + e / COLUMNS];
    if (!saturates && fabsf(data[e]) > 464)
      ck_assert(isnan(got));
    else
      ck_assert_msg(got == expected[e], "%g became %g", (double)data[e], (double)got);
  }
  free(found);
  pare_tensor_close(x);
  pare_tensor_close(out);
}
END_TEST

/* ---- weights in blocks ---- */

static const struct {
  int64_t k, n, bits, size;
  bool zeros, constant, ordered; /* ordered: g_idx names each index's block */
} blocked[] = {{32, 5, 4, 16, false, true, false}, {40, 7, 4, 16, true, true, false},
               {40, 3, 8, 32, false, true, false}, {24, 4, 2, 16, true, true, false},
               {40, 7, 4, 16, true, false, false}, {40, 7, 4, 16, true, true, true},
               {24, 4, 2, 16, false, false, true}};

START_TEST(weights_in_blocks_multiply_like_what_they_stand_for) {
  const int64_t k = blocked[_i].k, n = blocked[_i].n, bits = blocked[_i].bits, size = blocked[_i].size;
  const int64_t blocks = (k + size - 1) / size, row = size * bits / 8, zero_row = (blocks * bits + 7) / 8;
  uint8_t b[1024], zeros[64];
  random_bytes(b, sizeof b, 11);
  random_bytes(zeros, sizeof zeros, 12);
  float *scale = random_floats(n * blocks, 13), *a = random_floats(3 * k, 14), *bias = random_floats(n, 15);
  pare__onnx_model *onnx = model_new(17);
  const int64_t a_dim[2] = {3, k}, b_dim[3] = {n, blocks, row}, s_dim[2] = {n, blocks}, z_dim[2] = {n, zero_row};
  model_input(onnx, "a", PARE__ONNX_FLOAT, 2, a_dim);
  if (blocked[_i].constant)
    model_constant(onnx, "b", PARE__ONNX_UINT8, 3, b_dim, b);
  else
    model_input(onnx, "b", PARE__ONNX_UINT8, 3, b_dim);
  model_constant(onnx, "s", PARE__ONNX_FLOAT, 2, s_dim, scale);
  if (blocked[_i].zeros) model_constant(onnx, "z", PARE__ONNX_UINT8, 2, z_dim, zeros);
  model_constant(onnx, "bias", PARE__ONNX_FLOAT, 1, &n, bias);
  int32_t group[64];
  for (int64_t l = 0; l < k; l++) group[l] = (int32_t)(blocked[_i].ordered ? (l * 7 + 3) % blocks : l / size);
  if (blocked[_i].ordered) model_constant(onnx, "g", PARE__ONNX_INT32, 1, &k, group);
  char names[32];
  snprintf(names, sizeof names, "a b s %s %s bias", blocked[_i].zeros ? "z" : "-", blocked[_i].ordered ? "g" : "-");
  pare__onnx_node *node = model_node(onnx, "MatMulNBits", names, "y");
  node->domain = "com.microsoft";
  pare__onnx_opset *opset;
  OK(PARE__ONNX_APPEND(onnx->source, &onnx->opset_import, &opset));
  *opset = (pare__onnx_opset){.domain = "com.microsoft", .version = 1};
  node_int(onnx, node, "K", k);
  node_int(onnx, node, "N", n);
  node_int(onnx, node, "bits", bits);
  node_int(onnx, node, "block_size", size);
  pare_tensor *in[2] = {tensor_of(PARE_F32, 2, a_dim, a),
                        blocked[_i].constant ? NULL : tensor_of(PARE_U8, 3, b_dim, b)};
  pare_tensor *out = model_run(folder, onnx, in);
  float *found = floats_of(out);
  const int64_t in_byte = 8 / bits, mask = (1 << bits) - 1;
  for (int64_t e = 0; e < 3 * n; e++) {
    const int64_t i = e / n, j = e % n;
    double sum = (double)bias[j], size_of_sum = fabs(sum);
    for (int64_t l = 0; l < k; l++) {
      const int64_t block = l / size, at = l % size;
      const int64_t q = b[(j * blocks + block) * row + at / in_byte] >> (at % in_byte * bits) & mask;
      const int64_t g = group[l], packed = zeros[j * zero_row + g / in_byte] >> (g % in_byte * bits) & mask;
      const int64_t z = blocked[_i].zeros ? packed : (mask + 1) / 2;
      const double term = (double)a[i * k + l] * (double)(q - z) * (double)scale[j * blocks + g];
      sum += term;
      size_of_sum += fabs(term);
    }
    ck_assert_msg(fabs((double)found[e] - sum) <= 1e-6 * size_of_sum + 1e-6, "element %lld: %g, expected %g",
                  (long long)e, (double)found[e], sum);
  }
  float *const lists[] = {scale, a, bias, found};
  for (size_t i = 0; i < 4; i++) free(lists[i]);
  pare_tensor_close(in[0]);
  pare_tensor_close(in[1]);
  pare_tensor_close(out);
}
END_TEST

/* ---- com.microsoft ---- */

static pare__onnx_node *contributed(pare__onnx_model *onnx, const char *op, const char *inputs) {
  pare__onnx_node *node = model_node(onnx, op, inputs, "y");
  node->domain = "com.microsoft";
  pare__onnx_opset *opset;
  OK(PARE__ONNX_APPEND(onnx->source, &onnx->opset_import, &opset));
  *opset = (pare__onnx_opset){.domain = "com.microsoft", .version = 1};
  return node;
}

/* The activations lose half a step of their range each. */
START_TEST(a_dynamically_quantised_product_is_near_the_product) {
  enum { M = 3, K = 24, N = 10 };
  const int64_t a_dim[2] = {M, K}, b_dim[2] = {K, N}, n = N;
  const bool constant = _i & 1, is_signed = _i & 2;
  uint8_t b[K * N];
  random_bytes(b, sizeof b, 21);
  const uint8_t zero[N] = {128, 128, 128, 128, 128, 128, 128, 128, 128, 128};
  float *a = random_floats(M * K, 22), *scale = random_floats(N, 23), *bias = random_floats(N, 24);
  for (int j = 0; j < N; j++) scale[j] = fabsf(scale[j]) / 100 + 0.001f;
  const int32_t type = is_signed ? PARE__ONNX_INT8 : PARE__ONNX_UINT8;
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "a", PARE__ONNX_FLOAT, 2, a_dim);
  if (constant)
    model_constant(onnx, "b", type, 2, b_dim, b);
  else
    model_input(onnx, "b", type, 2, b_dim);
  model_constant(onnx, "s", PARE__ONNX_FLOAT, 1, &n, scale);
  if (!is_signed) model_constant(onnx, "z", type, 1, &n, zero);
  model_constant(onnx, "bias", PARE__ONNX_FLOAT, 1, &n, bias);
  contributed(onnx, "DynamicQuantizeMatMul", is_signed ? "a b s - bias" : "a b s z bias");
  pare_tensor *in[2] = {tensor_of(PARE_F32, 2, a_dim, a),
                        constant ? NULL : tensor_of(is_signed ? PARE_I8 : PARE_U8, 2, b_dim, b)};
  pare_tensor *out = model_run(folder, onnx, in);
  float *found = floats_of(out);
  for (int e = 0; e < M * N; e++) {
    const int i = e / N, j = e % N;
    double sum = (double)bias[j], lost = 0;
    for (int l = 0; l < K; l++) {
      const double weight = (double)(is_signed ? (int8_t)b[l * N + j] : b[l * N + j] - 128) * (double)scale[j];
      sum += (double)a[i * K + l] * weight;
      lost += fabs(weight) * 2 / 255 * 0.51; /* the activations lie in [-1, 1) */
    }
    ck_assert_msg(fabs((double)found[e] - sum) <= lost, "element %d: %g, expected %g within %g", e, (double)found[e],
                  sum, lost);
  }
  float *const lists[] = {a, scale, bias, found};
  for (size_t i = 0; i < 4; i++) free(lists[i]);
  pare_tensor_close(in[0]);
  pare_tensor_close(in[1]);
  pare_tensor_close(out);
}
END_TEST

START_TEST(a_quantised_gemm_is_exact_before_it_is_scaled) {
  enum { M = 3, K = 9, N = 4 };
  const int64_t a_dim[2] = {M, K}, b_dim[2] = {N, K}, n = N;
  uint8_t a[M * K], b[N * K];
  random_bytes(a, sizeof a, 31);
  random_bytes(b, sizeof b, 32);
  const float a_scale = 0.5f, b_scale = 0.25f;
  const uint8_t a_zero = 100, b_zero = 7;
  const int32_t c[N] = {1, -2, 300, 4};
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "a", PARE__ONNX_UINT8, 2, a_dim);
  model_constant(onnx, "as", PARE__ONNX_FLOAT, 0, NULL, &a_scale);
  model_constant(onnx, "az", PARE__ONNX_UINT8, 0, NULL, &a_zero);
  model_constant(onnx, "b", PARE__ONNX_UINT8, 2, b_dim, b);
  model_constant(onnx, "bs", PARE__ONNX_FLOAT, 0, NULL, &b_scale);
  model_constant(onnx, "bz", PARE__ONNX_UINT8, 0, NULL, &b_zero);
  model_constant(onnx, "c", PARE__ONNX_INT32, 1, &n, c);
  node_int(onnx, contributed(onnx, "QGemm", "a as az b bs bz c"), "transB", 1);
  pare_tensor *in = tensor_of(PARE_U8, 2, a_dim, a), *out = model_run(folder, onnx, &in);
  float *found = floats_of(out);
  for (int e = 0; e < M * N; e++) {
    int sum = c[e % N];
    for (int l = 0; l < K; l++) sum += (a[e / N * K + l] - a_zero) * (b[e % N * K + l] - b_zero);
    ck_assert_float_eq(found[e], (float)sum * 0.125f);
  }
  free(found);
  pare_tensor_close(in);
  pare_tensor_close(out);
}
END_TEST

START_TEST(quantised_sums_and_stacks_are_those_of_the_values) {
  const int64_t dim[2] = {2, 3}, wide[2] = {2, 6};
  const uint8_t a[6] = {0, 50, 100, 150, 200, 255}, b[6] = {255, 3, 128, 77, 9, 100};
  const float scale[3] = {0.1f, 0.2f, 0.5f};
  const uint8_t zero[3] = {128, 20, 100};
  for (int stack = 0; stack < 2; stack++) {
    pare__onnx_model *onnx = model_new(17);
    model_input(onnx, "a", PARE__ONNX_UINT8, 2, dim);
    model_input(onnx, "b", PARE__ONNX_UINT8, 2, dim);
    static const char *const scales[3] = {"as", "bs", "ys"}, *const zeros[3] = {"az", "bz", "yz"};
    for (int i = 0; i < 3; i++) {
      model_constant(onnx, scales[i], PARE__ONNX_FLOAT, 0, NULL, &scale[i]);
      model_constant(onnx, zeros[i], PARE__ONNX_UINT8, 0, NULL, &zero[i]);
    }
    pare__onnx_node *node = contributed(onnx, stack ? "QLinearConcat" : "QLinearAdd",
                                        stack ? "ys yz a as az b bs bz" : "a as az b bs bz ys yz");
    if (stack) node_int(onnx, node, "axis", 1);
    pare_tensor *in[2] = {tensor_of(PARE_U8, 2, dim, a), tensor_of(PARE_U8, 2, dim, b)},
                *out = model_run(folder, onnx, in);
    uint8_t found[12];
    ck_assert_int_eq(pare_tensor_elements(out), stack ? wide[0] * wide[1] : 6);
    OK(pare_tensor_read(out, found, stack ? 12 : 6));
    for (int e = 0; e < (stack ? 12 : 6); e++) {
      const int row = e / 6, column = e % 6, from = stack ? row * 3 + column % 3 : e;
      const double x = (a[from] - 128) * (double)scale[0], y = (b[from] - 20) * (double)scale[1];
      double want = (stack ? (column < 3 ? x : y) : x + y) / (double)scale[2] + 100;
      want = want < 0 ? 0 : want > 255 ? 255 : want;
      ck_assert_msg(fabs(found[e] - want) <= 0.501, "element %d: %d, expected %g", e, found[e], want);
    }
    for (int i = 0; i < 2; i++) pare_tensor_close(in[i]);
    pare_tensor_close(out);
  }
}
END_TEST

/* Two windows of 2 x 2, two rows' softmax, and what a condition chooses: the values' own, within half a step. */
START_TEST(quantised_pools_softmax_and_choices_are_those_of_the_values) {
  static const struct {
    const char *op, *inputs;
  } ops[] = {{"QLinearAveragePool", "x xs xz ys yz"},
             {"QLinearSoftmax", "x xs xz ys yz"},
             {"QLinearWhere", "c x xs xz w ws wz ys yz"}};
  const int64_t dim[4] = {1, 1, 2, 4}, kernel[2] = {2, 2};
  const uint8_t x[8] = {0, 50, 100, 150, 200, 255, 3, 77}, w = 200, zero[3] = {128, 7, 100};
  const bool choice[4] = {true, false, false, true};
  const float scale[3] = {0.02f, 0.01f, _i == 1 ? 1.0f / 256 : 0.02f};
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_UINT8, 4, dim);
  static const char *const scales[3] = {"xs", "ws", "ys"}, *const zeros[3] = {"xz", "wz", "yz"};
  for (int i = 0; i < 3; i++) {
    model_constant(onnx, scales[i], PARE__ONNX_FLOAT, 0, NULL, &scale[i]);
    model_constant(onnx, zeros[i], PARE__ONNX_UINT8, 0, NULL, &zero[i]);
  }
  model_constant(onnx, "c", PARE__ONNX_BOOL, 1, &dim[3], choice);
  model_constant(onnx, "w", PARE__ONNX_UINT8, 0, NULL, &w);
  pare__onnx_node *node = contributed(onnx, ops[_i].op, ops[_i].inputs);
  if (_i == 0) {
    node_ints(onnx, node, "kernel_shape", 2, kernel);
    node_ints(onnx, node, "strides", 2, kernel);
  }
  double value[8], want[8], sum[2] = {0};
  for (int e = 0; e < 8; e++) value[e] = (x[e] - 128) * (double)scale[0];
  for (int e = 0; e < 8; e++) sum[e / 4] += exp(value[e]);
  for (int e = 0; e < 8; e++) {
    const int at = e % 2 * 2;
    const double mean = (value[at] + value[at + 1] + value[at + 4] + value[at + 5]) / 4;
    const double chosen = choice[e % 4] ? value[e] : (w - 7) * (double)scale[1];
    want[e] = _i == 0 ? mean : _i == 1 ? exp(value[e]) / sum[e / 4] : chosen;
  }
  const int count = _i == 0 ? 2 : 8;
  pare_tensor *in = tensor_of(PARE_U8, 4, dim, x), *out = model_run(folder, onnx, &in);
  uint8_t found[8];
  ck_assert_int_eq(pare_tensor_elements(out), count);
  OK(pare_tensor_read(out, found, (size_t)count));
  for (int e = 0; e < count; e++) {
    const double exact = fmin(fmax(want[e] / (double)scale[2] + 100, 0), 255);
    ck_assert_msg(fabs(found[e] - exact) <= 0.501, "%s, element %d: %d, expected %g", ops[_i].op, e, found[e], exact);
  }
  pare_tensor_close(in);
  pare_tensor_close(out);
}
END_TEST

START_TEST(gathered_rows_of_blocks_are_those_of_the_weights) {
  enum { ROWS = 4, BYTES = 16, BLOCKS = 2, PICKED = 3 };
  const int64_t dim[2] = {ROWS, BYTES}, scales[2] = {ROWS, BLOCKS}, picked = PICKED;
  const int64_t index[PICKED] = {2, 0, 3};
  uint8_t data[ROWS * BYTES];
  random_bytes(data, sizeof data, 41);
  float *scale = random_floats(ROWS * BLOCKS, 42);
  pare__onnx_model *onnx = model_new(17);
  model_constant(onnx, "d", PARE__ONNX_UINT8, 2, dim, data);
  model_input(onnx, "i", PARE__ONNX_INT64, 1, &picked);
  model_constant(onnx, "s", PARE__ONNX_FLOAT, 2, scales, scale);
  node_int(onnx, contributed(onnx, "GatherBlockQuantized", "d i s"), "block_size", 16);
  pare_tensor *in = tensor_of(PARE_I64, 1, &picked, index), *out = model_run(folder, onnx, &in);
  ck_assert_int_eq(pare_tensor_elements(out), PICKED * BYTES * 2);
  float *found = floats_of(out);
  for (int e = 0; e < PICKED * BYTES * 2; e++) {
    const int64_t row = index[e / (BYTES * 2)], at = e % (BYTES * 2);
    const int q = data[row * BYTES + at / 2] >> (at % 2 * 4) & 15;
    ck_assert_float_eq(found[e], (float)(q - 8) * scale[row * BLOCKS + at / 16]);
  }
  free(scale);
  free(found);
  pare_tensor_close(in);
  pare_tensor_close(out);
}
END_TEST

/* ---- LSTM ---- */

enum { CELL_STEPS = 5, CELL_INPUTS = 7, CELL_HIDDEN = 6, CELL_COLUMNS = 4 * CELL_HIDDEN };
static const struct {
  bool is_signed, by_column;
  double tolerance; /* with int8 weights the activations are rounded as well */
} cells[] = {{true, false, 0.02}, {true, true, 0.02}, {false, false, 1e-6}, {false, true, 1e-6}};

/* Weights [2, depth, columns] of bytes as constants NAME, NAMEs and NAMEz of one model, and what they stand for, in the
 * order of ONNX's LSTM, as constant NAME of another. */
static void add_cell_weights(int which, const char *name, int64_t depth, pare__onnx_model *quantised,
                             pare__onnx_model *plain) {
  const bool is_signed = cells[which].is_signed, by_column = cells[which].by_column;
  const int64_t columns = CELL_COLUMNS, part[2] = {2, columns};
  const int32_t type = is_signed ? PARE__ONNX_INT8 : PARE__ONNX_UINT8;
  const int rank = by_column ? 2 : 1;
  uint8_t bytes[2 * CELL_INPUTS * CELL_COLUMNS], zero[2 * CELL_COLUMNS];
  float scale[2 * CELL_COLUMNS], floats[2 * CELL_INPUTS * CELL_COLUMNS];
  char scale_name[8], zero_name[8];
  random_bytes(bytes, sizeof bytes, 41 + (uint32_t)depth);
  random_bytes(zero, sizeof zero, 43);
  if (is_signed) memset(zero, 0, sizeof zero);
  for (int i = 0; i < 2 * CELL_COLUMNS; i++) scale[i] = 0.002f + 0.0001f * (float)(i % 5);
  for (int64_t d = 0; d < 2; d++)
    for (int64_t k = 0; k < depth; k++)
      for (int64_t j = 0; j < columns; j++) {
        const uint8_t byte = bytes[(d * depth + k) * columns + j];
        const int64_t of = by_column ? d * columns + j : d;
        const int value = is_signed ? (int8_t)byte : byte - zero[of];
        floats[(d * columns + j) * depth + k] = (float)value * scale[of];
      }
  snprintf(scale_name, sizeof scale_name, "%ss", name);
  snprintf(zero_name, sizeof zero_name, "%sz", name);
  model_constant(quantised, name, type, 3, (const int64_t[]){2, depth, columns}, bytes);
  model_constant(quantised, scale_name, PARE__ONNX_FLOAT, rank, part, scale);
  model_constant(quantised, zero_name, type, rank, part, zero);
  model_constant(plain, name, PARE__ONNX_FLOAT, 3, (const int64_t[]){2, columns, depth}, floats);
}

START_TEST(a_dynamically_quantised_lstm_is_near_the_lstm) {
  const int64_t x_dim[3] = {CELL_STEPS, 2, CELL_INPUTS}, bias_dim[2] = {2, 2 * CELL_COLUMNS};
  float *x = random_floats(CELL_STEPS * 2 * CELL_INPUTS, 45), *bias = random_floats(4 * CELL_COLUMNS, 46);
  pare__onnx_model *models[2] = {model_new(17), model_new(17)};
  for (int i = 0; i < 2; i++) {
    model_input(models[i], "x", PARE__ONNX_FLOAT, 3, x_dim);
    model_constant(models[i], "bias", PARE__ONNX_FLOAT, 2, bias_dim, bias);
  }
  add_cell_weights(_i, "w", CELL_INPUTS, models[0], models[1]);
  add_cell_weights(_i, "r", CELL_HIDDEN, models[0], models[1]);
  pare__onnx_node *nodes[2] = {
      contributed(models[0], "DynamicQuantizeLSTM", "x w r bias - - - - ws wz rs rz"),
      model_node(models[1], "LSTM", "x w r bias", "y"),
  };
  pare_tensor *in = tensor_of(PARE_F32, 3, x_dim, x), *out[2];
  float *found[2];
  for (int i = 0; i < 2; i++) {
    pare__onnx_attribute *direction = node_attribute(models[i], nodes[i], "direction", PARE__ONNX_ATTRIBUTE_STRING);
    direction->s = (pare__onnx_bytes){"bidirectional", strlen("bidirectional")};
    out[i] = model_run(folder, models[i], &in);
    found[i] = floats_of(out[i]);
  }
  ck_assert_int_eq(pare_tensor_elements(out[0]), CELL_STEPS * 2 * 2 * CELL_HIDDEN);
  ck_assert_int_eq(pare_tensor_elements(out[1]), CELL_STEPS * 2 * 2 * CELL_HIDDEN);
  for (int e = 0; e < CELL_STEPS * 2 * 2 * CELL_HIDDEN; e++)
    ck_assert_msg(fabs((double)found[0][e] - (double)found[1][e]) <= cells[_i].tolerance, "element %d: %g, expected %g",
                  e, (double)found[0][e], (double)found[1][e]);
  for (int i = 0; i < 2; i++) {
    free(found[i]);
    pare_tensor_close(out[i]);
  }
  free(x);
  free(bias);
  pare_tensor_close(in);
}
END_TEST

/* ---- what does not fit ---- */

START_TEST(scales_and_products_that_do_not_fit_are_refused) {
  const int64_t dim[2] = {2, 3}, four = 4;
  const float scale[4] = {1, 1, 1, 1};
  const uint8_t bytes[8] = {0};
  float data[6] = {0};
  pare_tensor *x = tensor_of(PARE_F32, 2, dim, data), *q = tensor_of(PARE_U8, 2, dim, bytes), *out;
  pare__onnx_model *onnx = model_new(21);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, dim);
  model_constant(onnx, "s", PARE__ONNX_FLOAT, 1, &four, scale);
  model_node(onnx, "QuantizeLinear", "x s", "y");
  ck_assert_int_eq(model_try(folder, onnx, &x, &out), PARE_ERR_SHAPE);

  onnx = model_new(21);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, dim);
  model_constant(onnx, "s", PARE__ONNX_FLOAT, 2, (const int64_t[]){2, 2}, scale);
  node_int(onnx, model_node(onnx, "QuantizeLinear", "x s", "y"), "block_size", INT64_MAX);
  ck_assert_int_eq(model_try(folder, onnx, &x, &out), PARE_ERR_ARGUMENT);

  onnx = model_new(21);
  model_input(onnx, "a", PARE__ONNX_UINT8, 2, dim);
  model_constant(onnx, "b", PARE__ONNX_INT8, 2, (const int64_t[]){4, 2}, bytes);
  model_node(onnx, "MatMulInteger", "a b", "y");
  ck_assert_int_eq(model_try(folder, onnx, &q, &out), PARE_ERR_SHAPE);
  ck_assert_ptr_nonnull(strstr(pare_message(), "[2, 3]"));

  onnx = model_new(21);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, dim);
  model_node(onnx, "MatMulInteger", "x x", "y");
  ck_assert_int_eq(model_try(folder, onnx, &x, &out), PARE_ERR_TYPE);
  pare_tensor_close(x);
  pare_tensor_close(q);
}
END_TEST

#define COUNT(list) (int)(sizeof list / sizeof *list)

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("quantised operators");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, integer_products_are_exact, 0, COUNT(products));
  tcase_add_loop_test(tests, quantised_values_come_back_within_half_a_step, 0, COUNT(quantisations));
  tcase_add_loop_test(tests, weights_in_blocks_multiply_like_what_they_stand_for, 0, COUNT(blocked));
  tcase_add_loop_test(tests, a_dynamically_quantised_product_is_near_the_product, 0, 4);
  tcase_add_loop_test(tests, floats_of_a_byte_are_cast_and_moved, 0, 2);
  tcase_add_test(tests, a_quantised_gemm_is_exact_before_it_is_scaled);
  tcase_add_test(tests, quantised_sums_and_stacks_are_those_of_the_values);
  tcase_add_loop_test(tests, quantised_pools_softmax_and_choices_are_those_of_the_values, 0, 3);
  tcase_add_test(tests, gathered_rows_of_blocks_are_those_of_the_weights);
  tcase_add_loop_test(tests, a_dynamically_quantised_lstm_is_near_the_lstm, 0, COUNT(cells));
  tcase_add_test(tests, scales_and_products_that_do_not_fit_are_refused);
  return remove_folder(folder, run_tests("operators_quantise", tests));
}
