/* Random fill: the paper's known answers, moments, and the same numbers however the work is split.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/random.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "kernel/family_random.h"
#include "sched/sched.h"

enum { N = 100003 };

static pare_tensor *make(pare_dtype dtype, int64_t n) {
  pare_tensor *t;
  OK(pare_tensor_create(context, dtype, 1, &n, &t));
  return t;
}

/* The vectors that come with the authors' Random123 library for philox4x32-10. */
START_TEST(philox_gives_the_known_answers) {
  static const struct {
    uint32_t counter[4], key[2], answer[4];
  } known[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
               {{~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
               {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                {0xa4093822, 0x299f31d0},
                {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (unsigned i = 0; i < PARE__COUNT(known); i++) {
    uint32_t got[4];
    pare__philox(known[i].counter, known[i].key, got);
    ck_assert_mem_eq(got, known[i].answer, sizeof got);
  }
}
END_TEST

START_TEST(device_words_are_those_of_philox) {
  const uint32_t counter[4] = {1, 0, 7, 0}, key[2] = {0x9abcdef0, 0x12345678};
  uint32_t words[4];
  pare__philox(counter, key, words);
  pare_tensor *t = make(PARE_I32, 8);
  OK(pare_random_integer(0x123456789abcdef0, 7, INT32_MIN, (int64_t)INT32_MAX + 1, t));
  int32_t got[8];
  OK(pare_tensor_read(t, got, sizeof got));
  for (int i = 0; i < 4; i++) ck_assert_int_eq(got[4 + i], (int32_t)(words[i] - 0x80000000U));
  pare_tensor_close(t);
}
END_TEST

START_TEST(moments_are_those_of_the_distribution) {
  pare_tensor *t = make(PARE_F32, N);
  static float x[N];
  for (int normal = 0; normal < 2; normal++) {
    if (normal)
      OK(pare_random_normal(1, 2, 3, 0.5, t));
    else
      OK(pare_random_uniform(1, 2, -1, 3, t));
    OK(pare_tensor_read(t, x, sizeof x));
    double sum = 0, square = 0, mean = normal ? 3 : 1, variance = normal ? 0.25 : 16.0 / 12, lag = 0;
    for (int i = 0; i < N; i++) {
      ck_assert(isfinite(x[i]) && (normal || (x[i] >= -1 && x[i] < 3)));
      sum += x[i];
      square += (x[i] - mean) * (x[i] - mean);
      lag += i ? (x[i] - mean) * (x[i - 1] - mean) : 0;
    }
    ck_assert_double_lt(fabs(sum / N - mean), 5 * sqrt(variance / N));
    ck_assert_double_lt(fabs(square / N / variance - 1), 5 * sqrt(2.0 / N));
    ck_assert_double_lt(fabs(lag / N / variance), 5 / sqrt(N));
  }
  pare_tensor_close(t);
}
END_TEST

START_TEST(bernoulli_meets_its_probability) {
  static const double probability[] = {0, 0.3, 1};
  pare_tensor *t = make(PARE_BOOL, N);
  static uint8_t x[N];
  for (unsigned i = 0; i < PARE__COUNT(probability); i++) {
    OK(pare_random_bernoulli(5, i, probability[i], t));
    OK(pare_tensor_read(t, x, sizeof x));
    double p = probability[i], ones = 0;
    for (int k = 0; k < N; k++) ones += x[k];
    ck_assert_double_le(fabs(ones / N - p), 5 * sqrt(p * (1 - p) / N));
  }
  pare_tensor_close(t);
}
END_TEST

/* ---- the same bits on every device ---- */

/* The steps of cl/random.cl in double, one rounding each. */
static double log_unit(double x) {
  static const double terms[] = {4.7619047619047616e-2, 5.2631578947368418e-2, 5.8823529411764705e-2,
                                 6.6666666666666666e-2, 7.6923076923076927e-2, 9.0909090909090912e-2,
                                 1.1111111111111111e-1, 1.4285714285714285e-1, 2.0e-1,
                                 3.3333333333333333e-1};
  int e;
  double m = frexp(x, &e);
  if (m < 0.70710678118654752) {
    m += m;
    e--;
  }
  const double t = m - 1, d = m + 1;
  double r = fma(-0.239016, d, 0.985061);
  for (int i = 0; i < 4; i++) r = fma(fma(-r, d, 1), r, r);
  double s = t * r;
  s = fma(fma(-s, d, t), r, s);
  const double s2 = s * s, twice = s + s;
  double p = terms[0];
  for (unsigned i = 1; i < PARE__COUNT(terms); i++) p = fma(p, s2, terms[i]);
  const double tail = p * s2;
  p = fma(tail, twice, twice);
  return fma(e, 0x1.62e42feep-1, fma(e, 0x1.a39ef35793c76p-33, p));
}

static double root(double x) {
  uint64_t bits;
  double y;
  memcpy(&bits, &x, sizeof bits);
  bits = 0x5fe6eb50c7b537a9U - (bits >> 1);
  memcpy(&y, &bits, sizeof y);
  for (int i = 0; i < 4; i++) {
    const double half = -0.5 * x, product = half * y;
    y = y * fma(product, y, 1.5);
  }
  const double s = x * y, half = 0.5 * y;
  return fma(fma(-s, s, x), half, s);
}

static void sine_cosine(double t, double *sine, double *cosine) {
  static const double s_terms[] = {2.8114572543455206e-15, -7.6471637318198164e-13, 1.6059043836821613e-10,
                                   -2.5052108385441720e-8, 2.7557319223985893e-6,   -1.9841269841269841e-4,
                                   8.3333333333333333e-3,  -1.6666666666666667e-1};
  static const double c_terms[] = {4.7794773323873853e-14,
                                   -1.1470745597729725e-11,
                                   2.0876756987868099e-9,
                                   -2.7557319223985888e-7,
                                   2.4801587301587302e-5,
                                   -1.3888888888888889e-3,
                                   4.1666666666666667e-2,
                                   -0.5,
                                   1};
  const double t2 = t * t;
  double s = s_terms[0], c = c_terms[0];
  for (unsigned i = 1; i < PARE__COUNT(s_terms); i++) s = fma(s, t2, s_terms[i]);
  for (unsigned i = 1; i < PARE__COUNT(c_terms); i++) c = fma(c, t2, c_terms[i]);
  const double tail = s * t2;
  *sine = fma(tail, t, t);
  *cosine = c;
}

/* Deviates 2 block and 2 block + 1 of seed 9, stream 6: by those steps, and as libm has them. */
static void pair_of(uint64_t block, double pair[2], double near[2]) {
  const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), 6, 0}, key[2] = {9, 0};
  uint32_t w[4];
  pare__philox(counter, key, w);
  const uint64_t a = ((uint64_t)w[1] << 32) | w[0], b = ((uint64_t)w[3] << 32) | w[2];
  const uint64_t quadrant = b >> 62, position = (b >> 9) & 0x1FFFFFFFFFFFFFU;
  const double u = (double)((a >> 11) + 1) * 0x1p-53, t = ((double)position - 4503599627370495.5) * (M_PI_2 * 0x1p-53);
  double s, c;
  sine_cosine(t, &s, &c);
  const double radius = root(-2 * log_unit(u)), r = radius * 0.70710678118654752, difference = c - s, sum = c + s;
  const double x = r * difference, y = r * sum;
  const double turned[4][2] = {{x, y}, {-y, x}, {-x, -y}, {y, -x}};
  memcpy(pair, turned[quadrant], sizeof turned[quadrant]);
  const double exact = sqrt(-2 * log(u)), angle = t + M_PI_4 + (double)quadrant * M_PI_2;
  near[0] = exact * cos(angle);
  near[1] = exact * sin(angle);
}

START_TEST(normals_in_double_have_the_bits_of_their_steps) {
  if (!pare_context_device(context)->can.f64) return;
  static double x[N];
  pare_tensor *t = make(PARE_F64, N);
  OK(pare_random_normal(9, 6, 0, 1, t));
  OK(pare_tensor_read(t, x, sizeof x));
  double sum = 0, square = 0;
  for (int i = 0; i < N; i++) {
    double pair[2], near[2];
    pair_of((uint64_t)i / 2, pair, near);
    ck_assert_msg(x[i] == pair[i % 2], "element %d: %a, its steps give %a", i, x[i], pair[i % 2]);
    ck_assert_msg(fabs(x[i] - near[i % 2]) <= 1e-14, "element %d: %.17g is not near %.17g", i, x[i], near[i % 2]);
    sum += x[i];
    square += x[i] * x[i];
  }
  ck_assert_double_lt(fabs(sum / N), 5 / sqrt(N));
  ck_assert_double_lt(fabs(square / N - 1), 5 * sqrt(2.0 / N));
  pare_tensor_close(t);
}
END_TEST

/* A driver that contracts, or whose fma is none, gives others. */
static const struct {
  pare_dtype dtype;
  bool normal;
  uint64_t bits; /* FNV-1a of what is stored */
} known_bits[] = {{PARE_F32, false, 0xe710aebda6097a87}, {PARE_F32, true, 0xf7067968d1ca67a5},
                  {PARE_F16, true, 0xf049a4350e8f43f4},  {PARE_BF16, true, 0xbf72e1a704857723},
                  {PARE_F64, false, 0xa57ec961a3e0809},  {PARE_F64, true, 0xc7920475c473630}};

START_TEST(bits_are_the_same_on_every_device) {
  const pare_dtype dtype = known_bits[_i].dtype;
  if (dtype == PARE_F64 && !pare_context_device(context)->can.f64) return;
  static uint8_t bytes[N * sizeof(double)];
  const size_t nbytes = N * pare_dtype_bytes(dtype);
  pare_tensor *t = make(dtype, N);
  if (known_bits[_i].normal)
    OK(pare_random_normal(3, 1, 0.25, 3, t));
  else
    OK(pare_random_uniform(3, 1, -1.5, 2.7, t));
  OK(pare_tensor_read(t, bytes, nbytes));
  uint64_t hash = 0xcbf29ce484222325U;
  for (size_t i = 0; i < nbytes; i++) hash = (hash ^ bytes[i]) * 0x100000001b3U;
  ck_assert_msg(hash == known_bits[_i].bits, "%s %s: %#llx, not %#llx", known_bits[_i].normal ? "normal" : "uniform",
                pare_dtype_name(dtype), (unsigned long long)hash, (unsigned long long)known_bits[_i].bits);
  pare_tensor_close(t);
}
END_TEST

/* Every dtype and distribution, cut in pieces: the same bytes. */
START_TEST(pieces_give_the_whole) {
  static const pare_dtype dtypes[] = {PARE_F64, PARE_F32, PARE_F16, PARE_BF16, PARE_I64, PARE_I8};
  enum { LENGTH = 1237 };
  static uint8_t whole[LENGTH * 8], cut[LENGTH * 8];
  for (unsigned d = pare_context_device(context)->can.f64 ? 0 : 1; d < PARE__COUNT(dtypes); d++)
    for (int pieces = 0; pieces <= 3; pieces++) {
      pare_tensor *t = make(dtypes[d], LENGTH);
      pare__context_split(context, pieces);
      if (d < 4)
        OK(pare_random_normal(11, 4, 0, 1, t));
      else
        OK(pare_random_integer(11, 4, -9, 100, t));
      size_t nbytes = LENGTH * pare_dtype_bytes(dtypes[d]);
      OK(pare_tensor_read(t, pieces ? cut : whole, nbytes));
      if (pieces) ck_assert_mem_eq(cut, whole, nbytes);
      pare_tensor_close(t);
    }
}
END_TEST

START_TEST(bad_ranges_are_told) {
  pare_tensor *f = make(PARE_F32, 4), *u = make(PARE_U8, 4);
  ck_assert_int_eq(pare_random_uniform(0, 0, 1, 1, f), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_random_uniform(0, 0, 0, INFINITY, f), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_random_uniform(0, 0, 0, 1, u), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_random_uniform(0, 0, 0, 1, NULL), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_random_normal(0, 0, 0, -1, f), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_random_bernoulli(0, 0, NAN, f), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_random_integer(0, 0, 0, 257, u), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_random_integer(0, 0, 5, 5, u), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_random_integer(0, 0, 0, 5, f), PARE_ERR_TYPE);
  OK(pare_random_integer(0, 0, 0, 256, u));
  pare_tensor_close(f);
  pare_tensor_close(u);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("random");
  tcase_add_checked_fixture(laws, open_context, close_context);
  tcase_add_test(laws, philox_gives_the_known_answers);
  tcase_add_test(laws, device_words_are_those_of_philox);
  tcase_add_test(laws, moments_are_those_of_the_distribution);
  tcase_add_test(laws, bernoulli_meets_its_probability);
  tcase_add_test(laws, normals_in_double_have_the_bits_of_their_steps);
  tcase_add_loop_test(laws, bits_are_the_same_on_every_device, 0, (int)PARE__COUNT(known_bits));
  tcase_add_test(laws, pieces_give_the_whole);
  tcase_add_test(laws, bad_ranges_are_told);
  return run_tests("random", laws);
}
