/* Matrix products through the public API: broadcasting, views, epilogues, packed and int8 weights, the law of
 * splitting, errors. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/gemm.h>
#include <pare/quantise.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tensor/context.h"

static void read_floats(pare_tensor *tensor, float *data) {
  OK(pare_tensor_read(tensor, data, (size_t)pare_tensor_elements(tensor) * sizeof *data));
}

/* sum over k of a[i * a_row + k * a_col] * b[k * b_row + j * b_col], and of the magnitudes. */
static double dot(const float *a, int64_t a_step, const float *b, int64_t b_step, int64_t k, double *magnitude) {
  double sum = 0;
  *magnitude = 0;
  for (int64_t l = 0; l < k; l++) {
    sum += (double)a[l * a_step] * b[l * b_step];
    *magnitude += fabs((double)a[l * a_step] * b[l * b_step]);
  }
  return sum;
}

static void check_close(double got, double want, double magnitude, int64_t k) {
  const double tolerance = (double)(k + 8) * 0x1p-24 * (magnitude + fabs(want)) + 1e-6;
  ck_assert_msg(fabs(got - want) <= tolerance, "got %.9g, expected %.9g (tolerance %.2g)", got, want, tolerance);
}

START_TEST(batches_broadcast_as_numpy_does) {
  enum { M = 5, N = 7, K = 11 };
  static const int64_t a_shape[] = {3, 1, M, K}, b_shape[] = {2, K, N}, c_shape[] = {3, 2, M, N};
  float *a = random_floats(3 * M * K, 1), *b = random_floats(2 * K * N, 2), c[3 * 2 * M * N];
  pare_tensor *ta = tensor_of(PARE_F32, 4, a_shape, a), *tb = tensor_of(PARE_F32, 3, b_shape, b), *tc;
  OK(pare_tensor_create(context, PARE_F32, 4, c_shape, &tc));
  OK(pare_gemm(ta, tb, NULL, NULL, tc));
  read_floats(tc, c);
  for (int t = 0; t < 3 * 2 * M * N; t++) {
    const int j = t % N, i = t / N % M, second = t / N / M % 2, first = t / N / M / 2;
    double magnitude;
    const double want = dot(a + (first * M + i) * K, 1, b + second * K * N + j, N, K, &magnitude);
    check_close(c[t], want, magnitude, K);
  }
  pare_tensor_close(ta);
  pare_tensor_close(tb);
  pare_tensor_close(tc);
  free(a);
  free(b);
}
END_TEST

START_TEST(many_uneven_batch_dimensions) {
  enum { M = 2, N = 6, K = 3 };
  static const int64_t a_shape[] = {2, 1, 3, 1, 2, M, K}, b_shape[] = {1, 2, 1, 2, 1, K, N},
                       c_shape[] = {2, 2, 3, 2, 2, M, N};
  float *a = random_floats(12 * M * K, 1), *b = random_floats(4 * K * N, 2), c[48 * M * N];
  pare_tensor *ta = tensor_of(PARE_F32, 7, a_shape, a), *tb = tensor_of(PARE_F32, 7, b_shape, b), *tc;
  OK(pare_tensor_create(context, PARE_F32, 7, c_shape, &tc));
  OK(pare_gemm(ta, tb, NULL, NULL, tc));
  read_floats(tc, c);
  for (int t = 0; t < 48 * M * N; t++) {
    const int j = t % N, i = t / N % M, batch = t / N / M;
    const int e = batch % 2, d = batch / 2 % 2, f = batch / 4 % 3, g = batch / 12 % 2, h = batch / 24;
    double magnitude;
    const double want = dot(a + (((h * 3 + f) * 2 + e) * M + i) * K, 1, b + (g * 2 + d) * K * N + j, N, K, &magnitude);
    check_close(c[t], want, magnitude, K);
  }
  pare_tensor_close(ta);
  pare_tensor_close(tb);
  pare_tensor_close(tc);
  free(a);
  free(b);
}
END_TEST

START_TEST(vectors_are_rows_and_columns) {
  enum { M = 37, K = 130 };
  static const int64_t matrix[] = {M, K}, vector[] = {K}, result[] = {M};
  float *a = random_floats(M * K, 1), *x = random_floats(K, 2), y[M], s;
  pare_tensor *ta = tensor_of(PARE_F32, 2, matrix, a), *tx = tensor_of(PARE_F32, 1, vector, x), *ty, *ts, *at;
  OK(pare_tensor_create(context, PARE_F32, 1, result, &ty));
  OK(pare_tensor_create(context, PARE_F32, 0, NULL, &ts));
  double magnitude;
  OK(pare_gemm(ta, tx, NULL, NULL, ty));
  read_floats(ty, y);
  for (int i = 0; i < M; i++) {
    const double want = dot(a + i * K, 1, x, 1, K, &magnitude);
    check_close(y[i], want, magnitude, K);
  }
  OK(pare_tensor_permute(ta, (const int[]){1, 0}, &at)); /* row times matrix */
  OK(pare_gemm(tx, at, NULL, NULL, ty));
  read_floats(ty, y);
  for (int i = 0; i < M; i++) {
    const double want = dot(a + i * K, 1, x, 1, K, &magnitude);
    check_close(y[i], want, magnitude, K);
  }
  OK(pare_gemm(tx, tx, NULL, NULL, ts));
  read_floats(ts, &s);
  const double want = dot(x, 1, x, 1, K, &magnitude);
  check_close(s, want, magnitude, K);
  pare_tensor *const all[] = {ta, tx, ty, ts, at};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  free(a);
  free(x);
}
END_TEST

/* Every combination of transposed operands, by option and as views, gives the same bits as contiguous copies. */
START_TEST(transposes_are_views) {
  enum { M = 75, N = 83, K = 600 };
  static const int64_t a_shape[] = {M, K}, at_shape[] = {K, M}, b_shape[] = {K, N}, bt_shape[] = {N, K},
                       c_shape[] = {M, N};
  float *a = random_floats(M * K, 1), *b = random_floats(K * N, 2), *at = malloc(M * K * sizeof *at),
        *bt = malloc(K * N * sizeof *bt);
  for (int i = 0; i < M * K; i++) at[i % K * M + i / K] = a[i];
  for (int i = 0; i < K * N; i++) bt[i % N * K + i / N] = b[i];
  static float first[M * N], other[M * N];
  pare_tensor *operand[2][2] = {{tensor_of(PARE_F32, 2, a_shape, a), tensor_of(PARE_F32, 2, at_shape, at)},
                                {tensor_of(PARE_F32, 2, b_shape, b), tensor_of(PARE_F32, 2, bt_shape, bt)}};
  pare_tensor *c;
  OK(pare_tensor_create(context, PARE_F32, 2, c_shape, &c));
  for (int mask = 0; mask < 4; mask++) {
    pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
    options.transpose_a = mask & 1;
    options.transpose_b = mask >> 1;
    OK(pare_gemm(operand[0][mask & 1], operand[1][mask >> 1], NULL, &options, c));
    read_floats(c, mask ? other : first);
    if (mask) ck_assert_msg(memcmp(first, other, sizeof first) == 0, "transposes %d change bits", mask);
  }
  for (int i = 0; i < 4; i++) pare_tensor_close(operand[i / 2][i % 2]);
  pare_tensor_close(c);
  free(a);
  free(b);
  free(at);
  free(bt);
}
END_TEST

START_TEST(beta_zero_does_not_read_c) {
  enum { M = 20, N = 33, K = 9 };
  static const int64_t a_shape[] = {M, K}, b_shape[] = {K, N}, c_shape[] = {M, N};
  float *a = random_floats(M * K, 1), *b = random_floats(K * N, 2), c[M * N];
  for (int i = 0; i < M * N; i++) c[i] = NAN;
  pare_tensor *ta = tensor_of(PARE_F32, 2, a_shape, a), *tb = tensor_of(PARE_F32, 2, b_shape, b),
              *tc = tensor_of(PARE_F32, 2, c_shape, c);
  OK(pare_gemm(ta, tb, NULL, NULL, tc));
  read_floats(tc, c);
  for (int i = 0; i < M * N; i++) ck_assert(!isnan(c[i]));
  /* twice the product, less what is there */
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.alpha = 2;
  options.beta = -1;
  float after[M * N];
  OK(pare_gemm(ta, tb, NULL, &options, tc));
  read_floats(tc, after);
  for (int i = 0; i < M * N; i++) ck_assert_float_eq_tol(after[i], c[i], 1e-5);
  pare_tensor_close(ta);
  pare_tensor_close(tb);
  pare_tensor_close(tc);
  free(a);
  free(b);
}
END_TEST

/* The bits of C = alpha A B + beta D + bias are those of a C that held D before, whichever kernel it is: A of many
 * rows, few and one; D by itself, as a view, as C, with C as a view; packed weights; pieces. */
START_TEST(a_summand_is_what_c_held_before) {
  static const int64_t shapes[][4] = {{2, 70, 90, 600}, {3, 2, 75, 40}, {1, 1, 130, 520}};
  const int64_t *s = shapes[_i], m = s[0] * s[1], count = m * s[2];
  const int64_t a_shape[] = {s[0], s[1], s[3]}, b_shape[] = {s[3], s[2]}, c_shape[] = {s[0], s[1], s[2]},
                wide[] = {s[0], s[1], 2 * s[2]}, turned[] = {s[2], s[1], s[0]};
  float *a = random_floats(m * s[3], 1), *b = random_floats(s[3] * s[2], 2), *d = random_floats(count, 3);
  const size_t nbytes = (size_t)count * sizeof(float);
  float *want = malloc(nbytes), *got = malloc(nbytes), *turned_d = malloc(nbytes);
  for (int64_t i = 0; i < count; i++) turned_d[(i % s[2] * s[1] + i / s[2] % s[1]) * s[0] + i / s[2] / s[1]] = d[i];
  pare_tensor *ta = tensor_of(PARE_F32, 3, a_shape, a), *tb = tensor_of(PARE_F32, 2, b_shape, b),
              *bias = tensor_of(PARE_F32, 1, &s[2], b), *td = tensor_of(PARE_F32, 3, c_shape, d),
              *td_turned = tensor_of(PARE_F32, 3, turned, turned_d), *tc, *big, *gaps, *view;
  OK(pare_tensor_create(context, PARE_F32, 3, c_shape, &tc));
  OK(pare_tensor_create(context, PARE_F32, 3, wide, &big));
  OK(pare_tensor_slice(big, 2, 3, s[2], 1, &gaps));
  OK(pare_tensor_permute(td_turned, (const int[]){2, 1, 0}, &view));
  pare_weights *weights;
  OK(pare_weights_pack(tb, false, &weights));
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT, held;
  options.beta = 0.5;
  options.activation = PARE_ACTIVATION_RELU;
  held = options;
  for (int packed = 0; packed < 2; packed++) {
    pare_tensor *before = tensor_of(PARE_F32, 3, c_shape, d);
    OK(packed ? pare_gemm_packed(ta, weights, bias, &held, before) : pare_gemm(ta, tb, bias, &held, before));
    read_floats(before, want);
    pare_tensor_close(before);
    for (int form = 0; form < 5; form++) {
      pare_tensor *same = tensor_of(PARE_F32, 3, c_shape, d), *c = form == 2 ? same : form == 3 ? gaps : tc;
      options.summand = form == 1 ? view : form == 2 ? same : td;
      pare__context_split(context, form == 4 ? 2 : 1);
      OK(packed ? pare_gemm_packed(ta, weights, bias, &options, c) : pare_gemm(ta, tb, bias, &options, c));
      read_floats(c, got);
      ck_assert_msg(memcmp(want, got, nbytes) == 0, "packed %d, form %d: other bits", packed, form);
      pare_tensor_close(same);
    }
    read_floats(td, got);
    ck_assert_mem_eq(d, got, nbytes);
  }
  pare__context_split(context, 1);
  options.summand = ta; /* another shape */
  ck_assert_int_eq(pare_gemm(ta, tb, NULL, &options, tc), PARE_ERR_SHAPE);
  pare_weights_close(weights);
  pare_tensor *const all[] = {ta, tb, bias, td, td_turned, tc, big, gaps, view};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  float *const data[] = {a, b, d, want, got, turned_d};
  for (unsigned i = 0; i < sizeof data / sizeof *data; i++) free(data[i]);
}
END_TEST

/* C as a view with gaps, C that is an input, and K = 0. */
START_TEST(results_in_views_and_in_place) {
  enum { N = 40 };
  static const int64_t square[] = {N, N}, wide[] = {N, 2 * N}, empty_a[] = {N, 0}, empty_b[] = {0, N};
  float *a = random_floats(N * N, 1), *b = random_floats(N * N, 2), want[N * N], got[N * N];
  pare_tensor *ta = tensor_of(PARE_F32, 2, square, a), *tb = tensor_of(PARE_F32, 2, square, b), *tc, *big,
              *every_second;
  OK(pare_tensor_create(context, PARE_F32, 2, square, &tc));
  OK(pare_tensor_create(context, PARE_F32, 2, wide, &big));
  OK(pare_gemm(ta, tb, NULL, NULL, tc));
  read_floats(tc, want);
  OK(pare_tensor_slice(big, 1, 1, N, 2, &every_second));
  OK(pare_gemm(ta, tb, NULL, NULL, every_second));
  read_floats(every_second, got);
  ck_assert_mem_eq(want, got, sizeof want);
  OK(pare_gemm(ta, tb, NULL, NULL, ta));
  read_floats(ta, got);
  ck_assert_mem_eq(want, got, sizeof want);
  pare_tensor *ea, *eb, *bias;
  OK(pare_tensor_create(context, PARE_F32, 2, empty_a, &ea));
  OK(pare_tensor_create(context, PARE_F32, 2, empty_b, &eb));
  bias = tensor_of(PARE_F32, 1, square, b);
  OK(pare_gemm(ea, eb, bias, NULL, tc));
  read_floats(tc, got);
  for (int i = 0; i < N * N; i++) ck_assert_float_eq(got[i], b[i % N]);
  pare_tensor *const all[] = {ta, tb, tc, big, every_second, ea, eb, bias};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  free(a);
  free(b);
}
END_TEST

/* Shapes of the law of splitting: batches, M, N, K. Weights of the last are packed on the device, smaller ones on the
 * host. */
static const int64_t split_shapes[][4] = {{1, 150, 90, 700}, {1, 40, 200, 300}, {5, 9, 70, 40},
                                          {1, 1, 300, 200},  {1, 301, 1, 200},  {1, 20, 230, 600}};

/* [0, n) run as two or three pieces gives the bits of one run, with weights packed before as without; packed or not,
 * another kernel may serve. */
START_TEST(pieces_and_packed_weights_give_the_same_bits) {
  const int64_t *s = split_shapes[_i];
  const int64_t a_shape[] = {s[0], s[1], s[3]}, b_shape[] = {s[3], s[2]}, c_shape[] = {s[0], s[1], s[2]},
                bias_shape[] = {s[1], 1};
  float *a = random_floats(count_of(3, a_shape), 1), *b = random_floats(count_of(2, b_shape), 2),
        *r = random_floats(s[1], 3);
  const size_t nbytes = (size_t)count_of(3, c_shape) * sizeof(float);
  float *want = malloc(nbytes), *got = malloc(nbytes);
  pare_tensor *ta = tensor_of(PARE_F32, 3, a_shape, a), *tb = tensor_of(PARE_F32, 2, b_shape, b);
  pare_tensor *bias = tensor_of(PARE_F32, 2, bias_shape, r), *tc;
  OK(pare_tensor_create(context, PARE_F32, 3, c_shape, &tc));
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.activation = PARE_ACTIVATION_GELU;
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare__context_split(context, pieces);
    OK(pare_gemm(ta, tb, bias, &options, tc));
    read_floats(tc, pieces == 1 ? want : got);
    if (pieces > 1) ck_assert_mem_eq(want, got, nbytes);
  }
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare_weights *weights;
    pare__context_split(context, pieces);
    OK(pare_weights_pack(tb, false, &weights));
    ck_assert_uint_ge(pare_weights_bytes(weights), (uint64_t)count_of(2, b_shape) * sizeof(float));
    OK(pare_gemm_packed(ta, weights, bias, &options, tc));
    read_floats(tc, got);
    if (pieces > 1) ck_assert_mem_eq(want, got, nbytes);
    for (size_t i = 0; i < nbytes / sizeof *got; i++) ck_assert_float_eq_tol(got[i], want[i], 1e-4);
    memcpy(want, got, nbytes);
    pare_weights_close(weights);
  }
  pare__context_split(context, 1);
  pare_tensor *const all[] = {ta, tb, tc, bias};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  free(a);
  free(b);
  free(r);
  free(want);
  free(got);
}
END_TEST

/* int8: the fused product is quantising, the exact product and scaling, one after the other, and that of activations
 * quantised before; in any number of pieces.
 * Of few activations the product finds the range itself, of many that of the ranges of their parts. */
START_TEST(int8_products_are_exact) {
  enum { FEW = 33, MANY = 900, N = 50, K = 77 };
  const int M = _i == 0 ? FEW : MANY;
  const int64_t a_shape[] = {M, K}, b_shape[] = {K, N}, c_shape[] = {M, N}, n_shape[] = {N};
  static float c[MANY * N], whole[MANY * N], quantised_first[MANY * N];
  float *a = random_floats(M * K, 1), *scale = random_floats(N, 3);
  static int8_t b[K * N];
  for (int i = 0; i < K * N; i++) b[i] = (int8_t)(i * 37 % 251 - 125);
  pare_tensor *ta = tensor_of(PARE_F32, 2, a_shape, a), *tb = tensor_of(PARE_I8, 2, b_shape, b);
  pare_tensor *ts = tensor_of(PARE_F32, 1, n_shape, scale), *tc, *q, *q_scale, *q_zero, *sums;
  OK(pare_tensor_create(context, PARE_F32, 2, c_shape, &tc));
  OK(pare_tensor_create(context, PARE_U8, 2, a_shape, &q));
  OK(pare_tensor_create(context, PARE_F32, 0, NULL, &q_scale));
  OK(pare_tensor_create(context, PARE_U8, 0, NULL, &q_zero));
  OK(pare_tensor_create(context, PARE_I32, 2, c_shape, &sums));
  pare_weights *weights;
  OK(pare_weights_pack_int8(tb, false, ts, &weights));
  OK(pare_dynamic_quantize(ta, q, q_scale, q_zero));
  static uint8_t quantised[MANY * K];
  uint8_t zero;
  float step;
  static int32_t exact[MANY * N];
  OK(pare_tensor_read(q, quantised, (size_t)M * K));
  OK(pare_tensor_read(q_zero, &zero, 1));
  read_floats(q_scale, &step);
  for (int i = 0; i < M * K; i++)
    ck_assert_float_le(fabsf(step * (float)(quantised[i] - zero) - a[i]), step * 0.5F + 1e-6F);
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare__context_split(context, pieces);
    pare_weights_close(weights); /* packed in pieces, too */
    OK(pare_weights_pack_int8(tb, false, ts, &weights));
    OK(pare_gemm_integer(q, q_zero, weights, sums));
    OK(pare_tensor_read(sums, exact, (size_t)M * N * sizeof *exact));
    OK(pare_gemm_int8(ta, weights, NULL, NULL, tc));
    read_floats(tc, c);
    if (pieces == 1) memcpy(whole, c, (size_t)M * N * sizeof *c);
    ck_assert_mem_eq(whole, c, (size_t)M * N * sizeof *c);
    OK(pare_gemm_quantized(q, q_scale, q_zero, weights, NULL, NULL, tc));
    read_floats(tc, quantised_first);
    ck_assert_mem_eq(whole, quantised_first, (size_t)M * N * sizeof *whole);
    for (int t = 0; t < M * N; t++) {
      int32_t want = 0;
      for (int k = 0; k < K; k++) want += (quantised[t / N * K + k] - zero) * b[k * N + t % N];
      ck_assert_int_eq(exact[t], want);
      ck_assert_float_eq_tol(c[t], (float)want * step * scale[t % N], 1e-5F * (1 + fabsf(c[t])));
    }
  }
  pare__context_split(context, 1);
  /* the same weights with activations as they are */
  OK(pare_gemm_packed(ta, weights, NULL, NULL, tc));
  read_floats(tc, c);
  for (int t = 0; t < M * N; t++) {
    double want = 0, magnitude = 0;
    for (int k = 0; k < K; k++) {
      const double product = (double)a[t / N * K + k] * b[k * N + t % N] * scale[t % N];
      want += product;
      magnitude += fabs(product);
    }
    check_close(c[t], want, magnitude, K);
  }
  pare_weights_close(weights);
  /* without a scale they are integers only */
  OK(pare_weights_pack_int8(tb, false, NULL, &weights));
  ck_assert_int_eq(pare_gemm_packed(ta, weights, NULL, NULL, tc), PARE_ERR_ARGUMENT);
  pare_weights_close(weights);
  pare_tensor *const all[] = {ta, tb, ts, tc, q, q_scale, q_zero, sums};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  free(a);
  free(scale);
}
END_TEST

START_TEST(errors_name_what_was_found) {
  static const int64_t a_shape[] = {3, 4}, b_shape[] = {5, 6}, c_shape[] = {3, 6};
  pare_tensor *a, *b, *c, *integers, *bias;
  OK(pare_tensor_create(context, PARE_F32, 2, a_shape, &a));
  OK(pare_tensor_create(context, PARE_F32, 2, b_shape, &b));
  OK(pare_tensor_create(context, PARE_F32, 2, c_shape, &c));
  OK(pare_tensor_create(context, PARE_I32, 2, a_shape, &integers));
  OK(pare_tensor_create(context, PARE_F32, 1, b_shape, &bias));
  ck_assert_int_eq(pare_gemm(a, b, NULL, NULL, c), PARE_ERR_SHAPE);
  ck_assert_ptr_nonnull(strstr(pare_message(), "[3, 4]"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "[5, 6]"));
  ck_assert_int_eq(pare_gemm(a, a, NULL, NULL, c), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_gemm(integers, b, NULL, NULL, c), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_gemm(NULL, b, NULL, NULL, c), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_gemm(a, b, NULL, NULL, NULL), PARE_ERR_ARGUMENT);
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.transpose_a = true; /* [4 3] [3 6] needs [4 6] */
  ck_assert_int_eq(pare_gemm(a, c, NULL, &options, c), PARE_ERR_SHAPE);
  options.activation = (pare_activation)99;
  ck_assert_int_eq(pare_gemm(a, c, NULL, &options, c), PARE_ERR_ARGUMENT);
  pare_weights *weights;
  ck_assert_int_eq(pare_weights_pack(bias, false, &weights), PARE_ERR_SHAPE);
  ck_assert_ptr_null(weights);
  pare_tensor *const all[] = {a, b, c, integers, bias};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("laws");
  tcase_add_unchecked_fixture(laws, open_context, close_context);
  tcase_add_test(laws, batches_broadcast_as_numpy_does);
  tcase_add_test(laws, many_uneven_batch_dimensions);
  tcase_add_test(laws, vectors_are_rows_and_columns);
  tcase_add_test(laws, transposes_are_views);
  tcase_add_test(laws, beta_zero_does_not_read_c);
  tcase_add_loop_test(laws, a_summand_is_what_c_held_before, 0, 3);
  tcase_add_test(laws, results_in_views_and_in_place);
  tcase_add_loop_test(laws, pieces_and_packed_weights_give_the_same_bits, 0,
                      sizeof split_shapes / sizeof *split_shapes);
  tcase_add_loop_test(laws, int8_products_are_exact, 0, 2);
  tcase_add_test(laws, errors_name_what_was_found);
  return run_tests("gemm", laws);
}
