/* Elementwise operations through the public API: laws of broadcasting, splitting, views, types.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "fixture.h"
#include "tensor/context.h"

/* A tensor of floats that differ, exact in every float dtype. */
static pare_tensor *counting(int rank, const int64_t *shape, float first, float **values) {
  int64_t n = count_of(rank, shape);
  *values = malloc(((size_t)n + 1) * sizeof(float));
  for (int64_t i = 0; i < n; i++) (*values)[i] = first + (float)(i % 251);
  pare_tensor *tensor;
  OK(pare_tensor_from(context, PARE_F32, rank, shape, *values, (size_t)n * sizeof(float), &tensor));
  return tensor;
}

/* Position in a tensor of shape `from` of element `index` of shape `to`, as numpy broadcasts. */
static int64_t stretched(int rank, const int64_t *to, int from_rank, const int64_t *from, int64_t index) {
  int64_t at = 0, step = 1;
  for (int i = rank - 1; i >= 0; i--) {
    int64_t position = index % to[i];
    index /= to[i];
    int k = i - (rank - from_rank);
    if (k < 0) continue;
    if (from[k] != 1) at += position * step;
    step *= from[k];
  }
  return at;
}

typedef struct shapes {
  int rank, a_rank, b_rank;
  int64_t out[PARE_MAX_RANK], a[PARE_MAX_RANK], b[PARE_MAX_RANK];
} shapes;

static const shapes broadcasts[] = {
    {0, 0, 0, {0}, {0}, {0}},
    {1, 1, 0, {1000}, {1000}, {0}},
    {2, 2, 1, {37, 53}, {37, 53}, {53}},
    {2, 2, 2, {37, 53}, {37, 1}, {1, 53}},
    {3, 1, 3, {5, 6, 7}, {1}, {5, 6, 7}},
    {4, 4, 3, {2, 3, 4, 5}, {2, 1, 4, 1}, {3, 1, 5}},
    {2, 2, 2, {3, 0}, {3, 1}, {1, 0}},
    {8, 8, 8, {2, 1, 3, 2, 2, 1, 3, 2}, {2, 1, 1, 2, 1, 1, 3, 1}, {1, 1, 3, 1, 2, 1, 1, 2}},
    {8, 1, 8, {1, 2, 1, 2, 1, 2, 1, 300}, {300}, {1, 2, 1, 2, 1, 2, 1, 1}},
};

START_TEST(broadcasts_as_numpy_does) {
  const shapes *s = &broadcasts[_i];
  float *a_values, *b_values;
  pare_tensor *a = counting(s->a_rank, s->a, 1, &a_values), *b = counting(s->b_rank, s->b, 1000, &b_values);
  pare_tensor *out = empty_tensor(PARE_F32, s->rank, s->out);
  for (int pieces = 0; pieces <= 3; pieces++) { /* the law of splitting: any cut gives the same */
    pare__context_split(context, pieces);
    OK(pare_binary(PARE_BINARY_sub, a, b, out));
    float *values = floats_of(out);
    for (int64_t i = 0; i < count_of(s->rank, s->out); i++)
      ck_assert_float_eq(values[i], a_values[stretched(s->rank, s->out, s->a_rank, s->a, i)] -
                                        b_values[stretched(s->rank, s->out, s->b_rank, s->b, i)]);
    free(values);
  }
  pare__context_split(context, 0);
  pare_tensor_close(a);
  pare_tensor_close(b);
  pare_tensor_close(out);
  free(a_values);
  free(b_values);
}
END_TEST

START_TEST(pieces_give_the_same_bits) {
  static const pare_unary_operation operations[] = {PARE_UNARY_exp, PARE_UNARY_gelu, PARE_UNARY_tanh, PARE_UNARY_sin,
                                                    PARE_UNARY_log};
  const int64_t shape[] = {7, 143};
  float *values;
  pare_tensor *a = counting(2, shape, -3.25f, &values), *out = empty_tensor(PARE_F32, 2, shape);
  OK(pare_unary(operations[_i], a, out));
  float *once = floats_of(out);
  for (int pieces = 2; pieces <= 5; pieces++) {
    pare__context_split(context, pieces);
    OK(pare_unary(operations[_i], a, out));
    float *cut = floats_of(out);
    ck_assert_mem_eq(once, cut, sizeof(float) * 7 * 143);
    free(cut);
  }
  pare__context_split(context, 0);
  pare_tensor_close(a);
  pare_tensor_close(out);
  free(once);
  free(values);
}
END_TEST

START_TEST(views_are_read_and_written_in_place) {
  const int64_t shape[] = {6, 10};
  float *values;
  pare_tensor *base = counting(2, shape, 0, &values), *turned, *backwards, *every_other, *out_view;
  OK(pare_tensor_permute(base, (const int[]){1, 0}, &turned));
  OK(pare_tensor_slice(turned, 0, 9, 10, -1, &backwards));
  pare_tensor *wide = empty_tensor(PARE_F32, 2, (const int64_t[]){10, 12});
  float sevens[120];
  for (int i = 0; i < 120; i++) sevens[i] = 7;
  OK(pare_tensor_write(wide, sevens, sizeof sevens));
  OK(pare_tensor_slice(wide, 1, 1, 6, 2, &out_view));
  OK(pare_unary(PARE_UNARY_neg, backwards, out_view));
  float *got = floats_of(wide);
  for (int i = 0; i < 10; i++)
    for (int j = 0; j < 12; j++)
      ck_assert(j % 2 == 1 ? got[i * 12 + j] == -values[j / 2 * 10 + 9 - i] : got[i * 12 + j] == 7);
  free(got);
  OK(pare_tensor_slice(base, 1, 0, 5, 2, &every_other));
  OK(pare_binary(PARE_BINARY_mul, every_other, every_other, every_other));
  got = floats_of(base);
  for (int i = 0; i < 60; i++) ck_assert_float_eq(got[i], i % 2 == 0 ? values[i] * values[i] : values[i]);
  free(got);
  pare_tensor *const all[] = {base, turned, backwards, every_other, out_view, wide};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  free(values);
}
END_TEST

START_TEST(an_overlapping_input_is_read_before_it_is_overwritten) {
  const int64_t shape[] = {33, 33};
  float *values;
  pare_tensor *base = counting(2, shape, 0, &values), *turned;
  OK(pare_tensor_permute(base, (const int[]){1, 0}, &turned));
  OK(pare_binary(PARE_BINARY_add, turned, base, base));
  float *got = floats_of(base);
  for (int i = 0; i < 33; i++)
    for (int j = 0; j < 33; j++) ck_assert_float_eq(got[i * 33 + j], values[i * 33 + j] + values[j * 33 + i]);
  free(got);
  free(values);
  pare_tensor_close(turned);
  pare_tensor_close(base);
}
END_TEST

START_TEST(integers_of_64_bits_are_exact) {
  const int64_t a_values[] = {INT64_MAX, INT64_MIN, 9007199254740993, -9007199254740993, 4611686018427387905, 7};
  const int64_t b_values[] = {1, -1, 3, 2, 2, 0};
  int64_t got[6];
  const int64_t shape[] = {6};
  pare_tensor *a, *b, *out = empty_tensor(PARE_I64, 1, shape);
  OK(pare_tensor_from(context, PARE_I64, 1, shape, a_values, sizeof a_values, &a));
  OK(pare_tensor_from(context, PARE_I64, 1, shape, b_values, sizeof b_values, &b));
  OK(pare_binary(PARE_BINARY_add, a, b, out));
  OK(pare_tensor_read(out, got, sizeof got));
  for (int i = 0; i < 6; i++) ck_assert_int_eq(got[i], (int64_t)((uint64_t)a_values[i] + (uint64_t)b_values[i]));
  OK(pare_binary(PARE_BINARY_div, a, b, out));
  OK(pare_tensor_read(out, got, sizeof got));
  const int64_t quotients[] = {INT64_MAX, INT64_MIN, 3002399751580331, -4503599627370496, 2305843009213693952, 0};
  for (int i = 0; i < 6; i++) ck_assert_int_eq(got[i], quotients[i]);
  OK(pare_binary(PARE_BINARY_mod, a, b, out));
  OK(pare_tensor_read(out, got, sizeof got));
  const int64_t rests[] = {0, 0, 0, 1, 1, 0};
  for (int i = 0; i < 6; i++) ck_assert_int_eq(got[i], rests[i]);
  pare_tensor_close(a);
  pare_tensor_close(b);
  pare_tensor_close(out);
}
END_TEST

/* Numbers whose top bit is set: signed arithmetic would take them for negative. */
START_TEST(unsigned_integers_are_not_negative) {
  const uint64_t a64[] = {UINT64_MAX, UINT64_C(1) << 63, 7, 0}, b64[] = {3, UINT64_MAX, 0, 1};
  const int64_t shape[] = {4};
  const pare_dtype dtypes[] = {PARE_U16, PARE_U64, PARE_U32};
  for (size_t d = 0; d < (every_combination() ? 3 : 2); d++) { /* the narrowest, and one as wide as signed sums */
    pare_dtype dtype = dtypes[d];
    size_t nbytes = pare_dtype_bytes(dtype);
    int bits = (int)nbytes * 8;
    uint64_t a[4], b[4];
    char a_data[32], b_data[32], got[32];
    for (size_t i = 0; i < 4; i++) {
      a[i] = i == 1 ? UINT64_C(1) << (bits - 1) : a64[i] & UINT64_MAX >> (64 - bits);
      b[i] = b64[i] & UINT64_MAX >> (64 - bits);
      pare__store_integer(dtype, a_data, i, (int64_t)a[i]);
      pare__store_integer(dtype, b_data, i, (int64_t)b[i]);
    }
    pare_tensor *ta, *tb, *out = empty_tensor(dtype, 1, shape), *truth = empty_tensor(PARE_BOOL, 1, shape),
                          *real = empty_tensor(PARE_F32, 1, shape);
    OK(pare_tensor_from(context, dtype, 1, shape, a_data, 4 * nbytes, &ta));
    OK(pare_tensor_from(context, dtype, 1, shape, b_data, 4 * nbytes, &tb));
    OK(pare_binary(PARE_BINARY_div, ta, tb, out));
    OK(pare_tensor_read(out, got, 4 * nbytes));
    for (size_t i = 0; i < 4; i++)
      ck_assert_uint_eq((uint64_t)pare__load_integer(dtype, got, i), b[i] == 0 ? 0 : a[i] / b[i]);
    OK(pare_binary(PARE_BINARY_max, ta, tb, out));
    OK(pare_tensor_read(out, got, 4 * nbytes));
    for (size_t i = 0; i < 4; i++)
      ck_assert_uint_eq((uint64_t)pare__load_integer(dtype, got, i), a[i] > b[i] ? a[i] : b[i]);
    OK(pare_binary(PARE_BINARY_less, ta, tb, truth));
    OK(pare_tensor_read(truth, got, 4));
    for (size_t i = 0; i < 4; i++) ck_assert_int_eq(got[i], a[i] < b[i]);
    OK(pare_cast(ta, real));
    OK(pare_tensor_read(real, got, 16));
    for (size_t i = 0; i < 4; i++) ck_assert_float_eq(((float *)(void *)got)[i], (float)a[i]);
    OK(pare_cast(real, out)); /* back: 2^16 and 2^32 saturate */
    OK(pare_tensor_read(out, got, 4 * nbytes));
    for (size_t i = 0; i < 4; i++) ck_assert_uint_eq((uint64_t)pare__load_integer(dtype, got, i), a[i]);
    pare_tensor *const all[] = {ta, tb, out, truth, real};
    for (size_t i = 0; i < 5; i++) pare_tensor_close(all[i]);
  }
}
END_TEST

START_TEST(nan_infinity_and_denormals_follow_ieee) {
  const float a_values[] = {NAN, 1, INFINITY, -INFINITY, 1e-40f, -0.0f, NAN, 0};
  const float b_values[] = {1, NAN, -INFINITY, INFINITY, 1e-40f, 0.0f, NAN, -1};
  const int64_t shape[] = {8};
  float got[8];
  pare_tensor *a, *b, *out = empty_tensor(PARE_F32, 1, shape);
  OK(pare_tensor_from(context, PARE_F32, 1, shape, a_values, sizeof a_values, &a));
  OK(pare_tensor_from(context, PARE_F32, 1, shape, b_values, sizeof b_values, &b));
  OK(pare_binary(PARE_BINARY_max, a, b, out));
  OK(pare_tensor_read(out, got, sizeof got));
  ck_assert(isnan(got[0]) && isnan(got[1]) && isnan(got[6]) && got[2] == INFINITY && got[3] == INFINITY && got[7] == 0);
  OK(pare_binary(PARE_BINARY_add, a, b, out));
  OK(pare_tensor_read(out, got, sizeof got));
  ck_assert(isnan(got[0]) && isnan(got[2]) && isnan(got[3]) && got[5] == 0 && !signbit(got[5]));
  ck_assert_float_eq(got[4], 1e-40f + 1e-40f);
  OK(pare_unary(PARE_UNARY_relu, a, out));
  OK(pare_tensor_read(out, got, sizeof got));
  ck_assert(isnan(got[0]) && got[2] == INFINITY && got[3] == 0 && got[4] == 1e-40f);
  pare_tensor_close(a);
  pare_tensor_close(b);
  pare_tensor_close(out);
}
END_TEST

/* Elements are moved as they are: one dtype of each size will do. */
static bool moves_like_another(pare_dtype dtype) {
  static const pare_dtype one_of_each[] = {PARE_BOOL, PARE_BF16, PARE_F32, PARE_I64};
  for (size_t i = 0; i < sizeof one_of_each / sizeof *one_of_each; i++)
    if (dtype == one_of_each[i]) return false;
  return true;
}

START_TEST(where_takes_every_dtype) {
  const int64_t shape[] = {3, 5};
  const uint8_t condition[] = {1, 0, 1, 1, 0};
  pare_dtype dtype = (pare_dtype)_i;
  if (!every_combination() && moves_like_another(dtype)) return;
  if (dtype == PARE_F64 && !pare_context_device(context)->can.f64) return;
  unsigned char b_values[15 * 8], c_values[15 * 8], got[15 * 8];
  size_t element = pare_dtype_bytes(dtype);
  for (int i = 0; i < 15; i++) {
    pare__store(dtype, b_values, (size_t)i, dtype == PARE_BOOL ? i & 1 : i);
    pare__store(dtype, c_values, (size_t)i, dtype == PARE_BOOL ? ~i & 1 : 100 + i);
  }
  pare_tensor *a, *b, *c, *out = empty_tensor(dtype, 2, shape);
  OK(pare_tensor_from(context, PARE_BOOL, 1, (const int64_t[]){5}, condition, sizeof condition, &a));
  OK(pare_tensor_from(context, dtype, 2, shape, b_values, 15 * element, &b));
  OK(pare_tensor_from(context, dtype, 2, shape, c_values, 15 * element, &c));
  OK(pare_ternary(PARE_TERNARY_where, a, b, c, out));
  OK(pare_tensor_read(out, got, 15 * element));
  for (size_t i = 0; i < 15; i++)
    ck_assert_double_eq(pare__load(dtype, got, i), pare__load(dtype, condition[i % 5] ? b_values : c_values, i));
  pare_tensor *const all[] = {a, b, c, out};
  for (size_t i = 0; i < 4; i++) pare_tensor_close(all[i]);
}
END_TEST

START_TEST(casts_round_and_saturate) {
  const float values[] = {300, -300, 2.9f, -2.9f, NAN, INFINITY, -INFINITY, 0.5f};
  const int8_t want[] = {127, -128, 2, -2, 0, 127, -128, 0};
  const uint8_t truth[] = {1, 1, 1, 1, 1, 1, 1, 1};
  const int64_t shape[] = {8};
  int8_t got[8];
  pare_tensor *a, *narrow = empty_tensor(PARE_I8, 1, shape), *flags = empty_tensor(PARE_BOOL, 1, shape);
  OK(pare_tensor_from(context, PARE_F32, 1, shape, values, sizeof values, &a));
  OK(pare_cast(a, narrow));
  OK(pare_tensor_read(narrow, got, sizeof got));
  ck_assert_mem_eq(got, want, sizeof want);
  OK(pare_cast(a, flags));
  OK(pare_tensor_read(flags, got, sizeof got));
  ck_assert_mem_eq(got, truth, sizeof truth);
  pare_tensor_close(a);
  pare_tensor_close(narrow);
  pare_tensor_close(flags);
}
END_TEST

START_TEST(bad_input_gets_a_clear_error) {
  pare_tensor *a = empty_tensor(PARE_F32, 2, (const int64_t[]){3, 4}),
              *b = empty_tensor(PARE_F32, 1, (const int64_t[]){3});
  pare_tensor *i = empty_tensor(PARE_I32, 2, (const int64_t[]){3, 4}),
              *small = empty_tensor(PARE_F32, 1, (const int64_t[]){4}), *view;
  OK(pare_tensor_broadcast(small, 2, (const int64_t[]){3, 4}, &view));
  ck_assert_int_eq(pare_binary(PARE_BINARY_add, a, b, a), PARE_ERR_SHAPE);
  ck_assert_ptr_nonnull(strstr(pare_message(), "[3, 4]"));
  ck_assert_int_eq(pare_binary(PARE_BINARY_add, a, i, a), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_unary(PARE_UNARY_exp, i, i), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_binary(PARE_BINARY_less, a, a, a), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_unary(PARE_UNARY_exp, a, small), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_unary(PARE_UNARY_exp, a, view), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_unary(PARE_UNARY_exp, NULL, a), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_unary(PARE_UNARY_exp, a, NULL), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_unary((pare_unary_operation)-1, a, a), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_binary(PARE_NBINARY, a, a, a), PARE_ERR_ARGUMENT);
  ck_assert_ptr_null(pare_unary_name(PARE_NUNARY));
  ck_assert_str_eq(pare_unary_name(PARE_UNARY_gelu_tanh), "gelu_tanh");
  pare_tensor *const all[] = {a, b, i, small, view};
  for (size_t k = 0; k < sizeof all / sizeof *all; k++) pare_tensor_close(all[k]);
}
END_TEST

/* A thousand steps that depend on each other: each must see the one before. */
START_TEST(a_chain_keeps_its_order) {
  const int64_t shape[] = {1024};
  float *values;
  pare_tensor *x = counting(1, shape, 0, &values), *y = empty_tensor(PARE_F32, 1, shape), *one;
  OK(pare_tensor_from(context, PARE_F32, 0, NULL, &(float){1}, sizeof(float), &one));
  for (int i = 0; i < 500; i++) {
    OK(pare_binary(PARE_BINARY_add, x, one, y));
    OK(pare_binary(PARE_BINARY_add, y, one, x));
  }
  float *got = floats_of(x);
  for (int i = 0; i < 1024; i++) ck_assert_float_eq(got[i], values[i] + 1000);
  free(got);
  free(values);
  pare_tensor_close(x);
  pare_tensor_close(y);
  pare_tensor_close(one);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("elementwise");
  tcase_add_checked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, broadcasts_as_numpy_does, 0, (int)(sizeof broadcasts / sizeof *broadcasts));
  tcase_add_loop_test(laws, pieces_give_the_same_bits, 0, 5);
  tcase_add_test(laws, views_are_read_and_written_in_place);
  tcase_add_test(laws, an_overlapping_input_is_read_before_it_is_overwritten);
  tcase_add_test(laws, integers_of_64_bits_are_exact);
  tcase_add_test(laws, unsigned_integers_are_not_negative);
  tcase_add_test(laws, nan_infinity_and_denormals_follow_ieee);
  tcase_add_loop_test(laws, where_takes_every_dtype, 0, PARE__FIRST_TINY);
  tcase_add_test(laws, casts_round_and_saturate);
  tcase_add_test(laws, bad_input_gets_a_clear_error);
  tcase_add_test(laws, a_chain_keeps_its_order);
  return run_tests("elementwise", laws);
}
