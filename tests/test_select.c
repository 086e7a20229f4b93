/* Selection through the public API, against sorting on the host. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/select.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "fixture.h"
#include "tensor/context.h"

/* NaN is larger than everything. */
static int descending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  if (isnan(x) || isnan(y)) return isnan(y) - isnan(x);
  return (x < y) - (x > y);
}

/* Values with ties, infinities, NaN, denormals and both zeros, as stored in `dtype`. */
static void fill(pare_dtype dtype, int64_t n, void *data) {
  static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40, -1e-40, -0.0, 0.0, 2.5};
  uint64_t state = 7;
  for (int64_t i = 0; i < n; i++) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    bool special = state >> 60 == 0 && pare__dtype_is_float(dtype);
    double value = special ? specials[state >> 50 & 7] : (double)(int64_t)(state >> 20) / 0x1p43 * 120 - 60;
    pare__store(dtype, data, (size_t)i, state >> 40 & 1 ? value : round(value));
  }
}

static void check_kth(pare_dtype dtype, int64_t n, int64_t k, bool by_magnitude, bool smallest) {
  void *data = malloc((size_t)n * sizeof(double));
  double *order = malloc((size_t)n * sizeof *order);
  fill(dtype, n, data);
  for (int64_t i = 0; i < n; i++)
    order[i] = by_magnitude ? fabs(pare__load(dtype, data, (size_t)i)) : pare__load(dtype, data, (size_t)i);
  qsort(order, (size_t)n, sizeof *order, descending);
  double expected = order[smallest ? n - k : k - 1];
  int64_t beyond = 0, equal = 0, two = 2, got[2], bits = 0;
  for (int64_t i = 0; i < n; i++) {
    int way = descending(&order[i], &expected);
    beyond += smallest ? way > 0 : way < 0;
    equal += way == 0;
  }
  pare_select_options options = {by_magnitude, smallest};
  pare_tensor *x, *threshold, *counts;
  OK(pare_tensor_from(context, dtype, 1, &n, data, (size_t)n * pare_dtype_bytes(dtype), &x));
  OK(pare_tensor_create(context, dtype, 0, NULL, &threshold));
  OK(pare_tensor_create(context, PARE_I64, 1, &two, &counts));
  OK(pare_select_kth(x, k, &options, threshold, counts));
  OK(pare_tensor_read(threshold, &bits, pare_dtype_bytes(dtype)));
  OK(pare_tensor_read(counts, got, sizeof got));
  double value = pare__load(dtype, &bits, 0);
  ck_assert_msg(value == expected || (isnan(value) && isnan(expected)), "%s, k = %lld of %lld: got %g, expected %g",
                pare_dtype_name(dtype), (long long)k, (long long)n, value, expected);
  ck_assert_int_eq(got[0], beyond);
  ck_assert_int_eq(got[1], k - beyond);
  ck_assert_int_le(got[1], equal);
  pare_tensor_close(counts);
  pare_tensor_close(threshold);
  pare_tensor_close(x);
  free(order);
  free(data);
}

START_TEST(the_kth_is_that_of_a_sort) {
  static const pare_dtype dtypes[] = {PARE_F32, PARE_F16, PARE_BF16, PARE_I8, PARE_I64, PARE_U32, PARE_U64};
  static const int64_t n = 10007, ks[] = {1, 2, 300, 5003, 10006, 10007};
  for (size_t d = 0; d < PARE__COUNT(dtypes); d++)
    for (size_t i = 0; i < PARE__COUNT(ks); i++) {
      check_kth(dtypes[d], n, ks[i], false, false);
      check_kth(dtypes[d], n, ks[i], false, true);
      if (pare__dtype_is_float(dtypes[d])) check_kth(dtypes[d], n, ks[i], true, i % 2);
    }
  check_kth(PARE_F32, 1, 1, false, false);
  check_kth(PARE_F32, 200003, 100000, true, false);
}
END_TEST

/* Element i of a long tensor: in random order with NaN, of a few values, in order (all between two bounds lie in few
 * blocks), and periodic (a sample at even distances sees one value). */
static float long_value(int kind, int64_t i) {
  uint64_t bits = (uint64_t)i * 0x9E3779B97F4A7C15U;
  bits = (bits ^ (bits >> 32)) * 0xBF58476D1CE4E5B9U;
  switch (kind) {
  case 0: return bits % 1000 == 0 ? NAN : (float)(int64_t)bits * 0x1p-60F;
  case 1: return (float)(bits >> 62);
  case 2: return (float)i;
  default: return (float)(i % 256);
  }
}

static void check_long(const float *data, int64_t n, int64_t k, bool by_magnitude, bool smallest) {
  static const int64_t two = 2;
  pare_select_options options = {by_magnitude, smallest};
  pare_tensor *x, *threshold, *counts;
  OK(pare_tensor_from(context, PARE_F32, 1, &n, data, (size_t)n * sizeof *data, &x));
  OK(pare_tensor_create(context, PARE_F32, 0, NULL, &threshold));
  OK(pare_tensor_create(context, PARE_I64, 1, &two, &counts));
  for (int pieces = 1; pieces <= 3; pieces++) {
    float got;
    int64_t counted[2], beyond = 0, equal = 0;
    pare__context_split(context, pieces);
    OK(pare_select_kth(x, k, &options, threshold, counts));
    pare__context_split(context, 1);
    OK(pare_tensor_read(threshold, &got, sizeof got));
    OK(pare_tensor_read(counts, counted, sizeof counted));
    for (int64_t i = 0; i < n; i++) {
      double value = by_magnitude ? fabs((double)data[i]) : data[i], limit = got;
      int way = smallest ? -descending(&value, &limit) : descending(&value, &limit);
      beyond += way < 0;
      equal += way == 0;
    }
    ck_assert_msg(counted[0] == beyond && counted[1] == k - beyond && counted[1] >= 1 && counted[1] <= equal,
                  "k = %lld, %d pieces: %g with %lld and %lld; there are %lld beyond it and %lld equal", (long long)k,
                  pieces, (double)got, (long long)counted[0], (long long)counted[1], (long long)beyond,
                  (long long)equal);
  }
  pare_tensor_close(counts);
  pare_tensor_close(threshold);
  pare_tensor_close(x);
}

/* Over 2^21 elements: by a bracket from a sample. */
START_TEST(the_kth_of_a_long_tensor) {
  const int64_t n = (INT64_C(1) << 21) + 70001, ks[] = {1, n / 3, n - 4};
  float *data = malloc((size_t)n * sizeof *data);
  for (int kind = 0; kind < 4; kind++) {
    for (int64_t i = 0; i < n; i++) data[i] = long_value(kind, i);
    for (size_t i = 0; i < PARE__COUNT(ks); i++) check_long(data, n, ks[i], (kind + i) % 2, i == 1);
  }
  free(data);
}
END_TEST

/* A short one: several blocks, by digits alone. */
START_TEST(pieces_give_the_same_kth) {
  const int64_t n = 300007;
  float *data = malloc((size_t)n * sizeof *data);
  for (int64_t i = 0; i < n; i++) data[i] = long_value(0, i);
  check_long(data, n, n / 2, true, false);
  check_long(data, n, 17, false, true);
  free(data);
}
END_TEST

START_TEST(the_k_largest_are_sorted_and_stable) {
  static const int64_t lengths[] = {1, 9, 1000, 5000, 20000, 9001}, ks[] = {1, 7, 64, 600, 30, 9001};
  for (size_t s = 0; s < PARE__COUNT(lengths); s++)
    for (int smallest = 0; smallest < 2; smallest++)
      for (int inner = 1; inner <= 3; inner += 2) {
        int64_t k = PARE__MIN(ks[s], lengths[s]), shape[3] = {2, lengths[s], inner}, kept[3] = {2, k, inner};
        size_t n = (size_t)(2 * lengths[s] * inner), m = (size_t)(2 * k * inner);
        float *x = malloc(n * sizeof *x), *v = malloc(m * sizeof *v);
        int64_t *index = malloc(m * sizeof *index);
        fill(PARE_F32, (int64_t)n, x);
        pare_tensor *tensor, *values, *indices;
        OK(pare_tensor_from(context, PARE_F32, 3, shape, x, n * sizeof *x, &tensor));
        OK(pare_tensor_create(context, PARE_F32, 3, kept, &values));
        OK(pare_tensor_create(context, PARE_I64, 3, kept, &indices));
        for (int pieces = 1; pieces <= 3; pieces++) {
          pare__context_split(context, pieces);
          OK(pare_top_k(tensor, k, 1, smallest, values, indices));
          pare__context_split(context, 0);
          OK(pare_tensor_read(values, v, m * sizeof *v));
          OK(pare_tensor_read(indices, index, m * sizeof *index));
          for (int64_t row = 0; row < 2 * inner; row++) {
            const float *line = x + row / inner * lengths[s] * inner + row % inner;
            int64_t out = row / inner * k * inner + row % inner;
            int64_t inside = 0; /* elements that a full sort puts no later than the last one kept */
            for (int64_t j = 0; j < k; j++) {
              int64_t at = index[out + j * inner];
              ck_assert(at >= 0 && at < lengths[s]);
              ck_assert_int_eq(memcmp(&line[at * inner], &v[out + j * inner], sizeof(float)), 0);
              if (j == 0) continue;
              double before = v[out + (j - 1) * inner], here = v[out + j * inner];
              int way = smallest ? -descending(&before, &here) : descending(&before, &here);
              ck_assert(way < 0 || (way == 0 && index[out + (j - 1) * inner] < at));
            }
            double last = v[out + (k - 1) * inner];
            for (int64_t i = 0; i < lengths[s]; i++) {
              double value = line[i * inner];
              int way = smallest ? -descending(&value, &last) : descending(&value, &last);
              inside += way < 0 || (way == 0 && i <= index[out + (k - 1) * inner]);
            }
            ck_assert_int_eq(inside, k);
          }
        }
        pare_tensor_close(indices);
        pare_tensor_close(values);
        pare_tensor_close(tensor);
        free(index);
        free(v);
        free(x);
      }
}
END_TEST

START_TEST(bad_arguments_say_so) {
  static const int64_t shape[2] = {3, 4}, two = 2;
  float data[12] = {0};
  pare_tensor *x, *threshold, *counts;
  OK(pare_tensor_from(context, PARE_F32, 2, shape, data, sizeof data, &x));
  OK(pare_tensor_create(context, PARE_F32, 0, NULL, &threshold));
  OK(pare_tensor_create(context, PARE_I64, 1, &two, &counts));
  ck_assert_int_eq(pare_select_kth(x, 0, NULL, threshold, counts), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_select_kth(x, 13, NULL, threshold, counts), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_select_kth(x, 1, NULL, counts, counts), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_select_kth(NULL, 1, NULL, threshold, counts), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_top_k(x, 5, 1, false, x, counts), PARE_ERR_ARGUMENT);
  pare_tensor_close(counts);
  pare_tensor_close(threshold);
  pare_tensor_close(x);
}
END_TEST

/* Larger than the device's largest buffer: staged in pieces (POCL_MEMORY_LIMIT=1 makes that 256 MiB). */
START_TEST(a_tensor_larger_than_the_largest_buffer) {
  uint64_t largest = pare_context_device(context)->max_buffer_bytes;
  if (largest > (uint64_t)300 << 20) return;
  int64_t n = (int64_t)(largest / sizeof(float)) + 70001, two = 2, counted[2], one = 1, at;
  float *data = malloc((size_t)n * sizeof *data), got;
  for (int64_t i = 0; i < n; i++) data[i] = (float)(i % 1000);
  data[n - 3] = -5000;
  pare_select_options by_magnitude = {true, false};
  pare_tensor *x, *threshold, *counts, *values, *indices;
  OK(pare_tensor_from(context, PARE_F32, 1, &n, data, (size_t)n * sizeof *data, &x));
  free(data);
  OK(pare_tensor_create(context, PARE_F32, 0, NULL, &threshold));
  OK(pare_tensor_create(context, PARE_I64, 1, &two, &counts));
  OK(pare_select_kth(x, 1000, &by_magnitude, threshold, counts));
  OK(pare_tensor_read(threshold, &got, sizeof got));
  OK(pare_tensor_read(counts, counted, sizeof counted));
  ck_assert_float_eq(got, 999);
  ck_assert(counted[0] == 1 && counted[1] == 999);
  OK(pare_tensor_create(context, PARE_F32, 1, &one, &values));
  OK(pare_tensor_create(context, PARE_I64, 1, &one, &indices));
  OK(pare_top_k(x, 1, 0, true, values, indices));
  OK(pare_tensor_read(indices, &at, sizeof at));
  ck_assert_int_eq(at, n - 3);
  pare_tensor_close(indices);
  pare_tensor_close(values);
  pare_tensor_close(counts);
  pare_tensor_close(threshold);
  pare_tensor_close(x);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("select");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, the_kth_is_that_of_a_sort);
  tcase_add_test(tests, the_kth_of_a_long_tensor);
  tcase_add_test(tests, pieces_give_the_same_kth);
  tcase_add_test(tests, the_k_largest_are_sorted_and_stable);
  tcase_add_test(tests, bad_arguments_say_so);
  tcase_add_test(tests, a_tensor_larger_than_the_largest_buffer);
  return run_tests("select", tests);
}
