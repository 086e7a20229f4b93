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

/* Every dtype and distribution, cut in pieces: the same bytes. */
START_TEST(pieces_give_the_whole) {
  static const pare_dtype dtypes[] = {PARE_F32, PARE_F16, PARE_BF16, PARE_I64, PARE_I8};
  enum { LENGTH = 1237 };
  static uint8_t whole[LENGTH * 8], cut[LENGTH * 8];
  for (unsigned d = 0; d < PARE__COUNT(dtypes); d++)
    for (int pieces = 0; pieces <= 3; pieces++) {
      pare_tensor *t = make(dtypes[d], LENGTH);
      pare__context_split(context, pieces);
      if (d < 3)
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
  tcase_add_test(laws, pieces_give_the_whole);
  tcase_add_test(laws, bad_ranges_are_told);
  return run_tests("random", laws);
}
