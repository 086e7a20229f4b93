/* Quantisation through the public API: round trips, axes, the law of splitting, errors.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/quantise.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tensor/context.h"

enum { ROWS = 37, COLUMNS = 53, COUNT = ROWS * COLUMNS };
static const int64_t shape[] = {ROWS, COLUMNS};

static float values[COUNT];

static void setup(void) {
  open_context();
  float *random = random_floats(COUNT, 1);
  for (int i = 0; i < COUNT; i++) values[i] = random[i] + 0.25F;
  free(random);
}

/* |dequantise(quantise(x)) - x| <= scale / 2, for every axis, and the same bits in one, two and three pieces. */
START_TEST(round_trip_is_within_half_a_step) {
  const int axis = _i - 1; /* -1: one scale for all */
  const int64_t n = axis < 0 ? 1 : shape[axis];
  float scale[COLUMNS], back[COUNT];
  int8_t zero[COLUMNS], first[COUNT], q[COUNT];
  for (int i = 0; i < n; i++) {
    scale[i] = 0.012F + 0.0001F * (float)i;
    zero[i] = (int8_t)(i % 5 - 2);
  }
  pare_tensor *x = tensor_of(PARE_F32, 2, shape, values);
  pare_tensor *s = tensor_of(PARE_F32, 1, &n, scale);
  pare_tensor *z = tensor_of(PARE_I8, 1, &n, zero);
  pare_tensor *tq = empty_tensor(PARE_I8, 2, shape), *tx = empty_tensor(PARE_F32, 2, shape);
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare__context_split(context, pieces);
    OK(pare_quantize(x, s, z, axis, tq));
    OK(pare_dequantize(tq, s, z, axis, tx));
    OK(pare_tensor_read(tq, pieces == 1 ? first : q, sizeof q));
    if (pieces > 1) ck_assert_mem_eq(first, q, sizeof q);
    OK(pare_tensor_read(tx, back, sizeof back));
    for (int i = 0; i < COUNT; i++) {
      const float step = scale[axis < 0 ? 0 : axis == 0 ? i / COLUMNS : i % COLUMNS];
      ck_assert_float_le(fabsf(back[i] - values[i]), 0.5001F * step);
    }
  }
  pare__context_split(context, 1);
  pare_tensor *const all[] = {x, s, z, tq, tx};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
}
END_TEST

START_TEST(ties_round_to_even_and_the_rest_saturates) {
  static const float x[] = {0.5F, 1.5F, 2.5F, -0.5F, -1.5F, 300.0F, -300.0F, 0.0F, 126.5F, 127.5F};
  static const int8_t want[] = {0, 2, 2, 0, -2, 127, -128, 0, 126, 127};
  static const float one = 1.0F;
  const int64_t n = 10;
  int8_t got[10];
  pare_tensor *tx = tensor_of(PARE_F32, 1, &n, x), *s = tensor_of(PARE_F32, 0, NULL, &one);
  pare_tensor *q = empty_tensor(PARE_I8, 1, &n);
  OK(pare_quantize(tx, s, NULL, 0, q));
  OK(pare_tensor_read(q, got, sizeof got));
  ck_assert_mem_eq(got, want, sizeof want);
  pare_tensor_close(tx);
  pare_tensor_close(s);
  pare_tensor_close(q);
}
END_TEST

/* Zero is always exact, the extremes reach 0 and 255; many values go through partial ranges, few do not. */
START_TEST(dynamic_quantisation_covers_the_range) {
  const int64_t n = _i == 0 ? 1000 : 200001;
  float *x = calloc((size_t)n, sizeof *x);
  for (int64_t i = 0; i < n; i++) x[i] = values[i % COUNT];
  x[n / 2] = -3.0F;
  x[n - 1] = 2.0F;
  uint8_t *got = malloc((size_t)n), zero;
  float scale;
  pare_tensor *tx = tensor_of(PARE_F32, 1, &n, x), *q = empty_tensor(PARE_U8, 1, &n);
  pare_tensor *s = empty_tensor(PARE_F32, 0, NULL), *z = empty_tensor(PARE_U8, 0, NULL);
  for (int pieces = 1; pieces <= 3; pieces++) {
    pare__context_split(context, pieces);
    OK(pare_dynamic_quantize(tx, q, s, z));
    OK(pare_tensor_read(q, got, (size_t)n));
    OK(pare_tensor_read(s, &scale, sizeof scale));
    OK(pare_tensor_read(z, &zero, 1));
    ck_assert_float_eq_tol(scale, 5.0F / 255.0F, 1e-8F);
    ck_assert_uint_eq(zero, 153);
    ck_assert_uint_eq(got[n / 2], 0);
    ck_assert_uint_eq(got[n - 1], 255);
    for (int64_t i = 0; i < n; i++) ck_assert_float_le(fabsf(scale * (float)(got[i] - zero) - x[i]), 0.5001F * scale);
  }
  pare__context_split(context, 1);
  pare_tensor *const all[] = {tx, q, s, z};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  free(x);
  free(got);
}
END_TEST

START_TEST(errors_name_what_was_found) {
  static const int64_t three = 3;
  pare_tensor *x = tensor_of(PARE_F32, 2, shape, values), *q = empty_tensor(PARE_U8, 2, shape);
  pare_tensor *s = empty_tensor(PARE_F32, 1, &three), *z = empty_tensor(PARE_I8, 1, &three);
  pare_tensor *one = empty_tensor(PARE_F32, 0, NULL);
  ck_assert_int_eq(pare_quantize(x, s, NULL, 0, q), PARE_ERR_SHAPE);
  ck_assert_ptr_nonnull(strstr(pare_message(), "scale"));
  ck_assert_int_eq(pare_quantize(x, s, NULL, 2, q), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_quantize(x, one, z, 0, q), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_quantize(q, one, NULL, 0, q), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_dequantize(x, one, NULL, 0, x), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_dynamic_quantize(x, q, s, z), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_quantize(NULL, one, NULL, 0, q), PARE_ERR_ARGUMENT);
  pare_tensor *const all[] = {x, q, s, z, one};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("laws");
  tcase_add_unchecked_fixture(laws, setup, close_context);
  tcase_add_loop_test(laws, round_trip_is_within_half_a_step, 0, 3);
  tcase_add_test(laws, ties_round_to_even_and_the_rest_saturates);
  tcase_add_loop_test(laws, dynamic_quantisation_covers_the_range, 0, 2);
  tcase_add_test(laws, errors_name_what_was_found);
  return run_tests("quantise", laws);
}
