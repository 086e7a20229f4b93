/* Tensors larger than the device's largest buffer. SPDX-License-Identifier: Apache-2.0
 *
 * PoCL is told to have 1 GiB, of which it gives a quarter to a buffer. Skipped (77) where the device gives more than 1
 * GiB. */
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>

#include "fixture.h"

static int64_t most; /* floats that one buffer holds */

/* A tensor whose element i is value(i): small integers, so that sums of products are exact. */
static pare_tensor *make_tensor(int rank, const int64_t *shape, float (*value)(int64_t)) {
  int64_t count = 1;
  for (int i = 0; i < rank; i++) count *= shape[i];
  float *values = malloc((size_t)count * sizeof *values);
  ck_assert_ptr_nonnull(values);
  for (int64_t i = 0; i < count; i++) values[i] = value(i);
  pare_tensor *tensor;
  OK(pare_tensor_from(context, PARE_F32, rank, shape, values, (size_t)count * sizeof *values, &tensor));
  free(values);
  return tensor;
}

static float left_value(int64_t i) { return (float)(i % 5 - 2); }
static float right_value(int64_t i) { return (float)(i % 7 - 3); }

/* C = A B, checked at rows and columns spread over it. */
static void check_product(int64_t m, int64_t n, int64_t k) {
  pare_tensor *a = make_tensor(2, (const int64_t[]){m, k}, left_value);
  pare_tensor *b = make_tensor(2, (const int64_t[]){k, n}, right_value);
  pare_tensor *c = empty_tensor(PARE_F32, 2, (const int64_t[]){m, n});
  OK(pare_gemm(a, b, NULL, NULL, c));
  pare_tensor_close(a);
  pare_tensor_close(b);
  float *values = floats_of(c);
  pare_tensor_close(c);
  const int64_t step = m * n / 5000 + 1;
  for (int64_t i = 0; i < m * n; i += step) {
    double expected = 0;
    for (int64_t l = 0; l < k; l++) expected += (double)left_value(i / n * k + l) * right_value(l * n + i % n);
    ck_assert_msg(values[i] == expected, "element %lld is %g, not %g", (long long)i, (double)values[i], expected);
  }
  free(values);
}

START_TEST(product_of_a_tall_matrix) { check_product(most / 512 + 1001, 7, 512); }
END_TEST

START_TEST(product_with_a_wide_matrix) { check_product(5, most / 256 + 1001, 256); }
END_TEST

START_TEST(product_that_is_large) { check_product(most / 4096 + 101, 4096, 3); }
END_TEST

START_TEST(elementwise) {
  const int64_t count = most + 12345, shape[] = {count};
  pare_tensor *a = make_tensor(1, shape, left_value), *b = make_tensor(1, shape, right_value);
  OK(pare_binary(PARE_BINARY_mul, a, b, a));
  pare_tensor_close(b);
  float *values = floats_of(a);
  pare_tensor_close(a);
  for (int64_t i = 0; i < count; i++)
    if (values[i] != left_value(i) * right_value(i))
      ck_abort_msg("element %lld is %g", (long long)i, (double)values[i]);
  free(values);
}
END_TEST

/* 1 in the last element, -1 at every multiple of 1000, else 0. */
static float peak_value(int64_t i) { return i == most + 4321 ? 1.0f : i % 1000 == 0 ? -1.0f : 0.0f; }

START_TEST(reductions) {
  const int64_t count = most + 4322;
  pare_tensor *x = make_tensor(1, (const int64_t[]){count}, peak_value);
  pare_tensor *out = empty_tensor(PARE_F32, 0, NULL), *index = empty_tensor(PARE_I64, 0, NULL);
  float value;
  int64_t position;
  OK(pare_reduce(x, PARE_REDUCTION_SUM, NULL, 0, false, out));
  OK(pare_tensor_read(out, &value, sizeof value));
  ck_assert_float_eq(value, (float)(1 - (count + 999) / 1000));
  OK(pare_reduce(x, PARE_REDUCTION_MAX, NULL, 0, false, out));
  OK(pare_tensor_read(out, &value, sizeof value));
  ck_assert_float_eq(value, 1.0f);
  OK(pare_arg_max(x, 0, false, false, index));
  OK(pare_tensor_read(index, &position, sizeof position));
  ck_assert_int_eq(position, count - 1);
  pare_tensor_close(x);
  pare_tensor_close(out);
  pare_tensor_close(index);
}
END_TEST

START_TEST(selection) {
  const int64_t count = most + 4322, two = 2, few = 3;
  pare_tensor *x = make_tensor(1, (const int64_t[]){count}, peak_value);
  pare_tensor *threshold = empty_tensor(PARE_F32, 0, NULL), *counts = empty_tensor(PARE_I64, 1, &two);
  pare_tensor *values = empty_tensor(PARE_F32, 1, &few), *indices = empty_tensor(PARE_I64, 1, &few);
  const pare_select_options by_magnitude = {true, false};
  float value;
  int64_t counted[2], at[3];
  /* the magnitudes are 1 at the peak and at every multiple of 1000, else 0 */
  OK(pare_select_kth(x, 100, &by_magnitude, threshold, counts));
  OK(pare_tensor_read(threshold, &value, sizeof value));
  OK(pare_tensor_read(counts, counted, sizeof counted));
  ck_assert(value == 1.0f && counted[0] == 0 && counted[1] == 100);
  OK(pare_select_kth(x, count / 2, NULL, threshold, counts));
  OK(pare_tensor_read(threshold, &value, sizeof value));
  OK(pare_tensor_read(counts, counted, sizeof counted));
  ck_assert(value == 0.0f && counted[0] == 1 && counted[1] == count / 2 - 1);
  OK(pare_top_k(x, few, 0, true, values, indices));
  OK(pare_tensor_read(indices, at, sizeof at));
  ck_assert(at[0] == 0 && at[1] == 1000 && at[2] == 2000);
  OK(pare_top_k(x, few, 0, false, values, indices));
  OK(pare_tensor_read(indices, at, sizeof at));
  ck_assert(at[0] == count - 1 && at[1] == 1 && at[2] == 2);
  pare_tensor_close(x);
  pare_tensor_close(threshold);
  pare_tensor_close(counts);
  pare_tensor_close(values);
  pare_tensor_close(indices);
}
END_TEST

START_TEST(reductions_over_either_axis) {
  const int64_t columns = 1000, rows = most / columns + 11;
  pare_tensor *x = make_tensor(2, (const int64_t[]){rows, columns}, right_value);
  pare_tensor *per_row = empty_tensor(PARE_F32, 1, &rows), *per_column = empty_tensor(PARE_F32, 1, &columns);
  OK(pare_reduce(x, PARE_REDUCTION_MAX, (const int[]){1}, 1, false, per_row));
  OK(pare_reduce(x, PARE_REDUCTION_SUM, (const int[]){0}, 1, false, per_column));
  pare_tensor_close(x);
  float *largest = floats_of(per_row), *sums = floats_of(per_column);
  for (int64_t row = 0; row < rows; row++) ck_assert_float_eq(largest[row], 3.0f);
  for (int64_t column = 0; column < columns; column += 99) {
    double expected = 0;
    for (int64_t row = 0; row < rows; row++) expected += right_value(row * columns + column);
    ck_assert_float_eq_tol(sums[column], (float)expected, 1.0f);
  }
  free(largest);
  free(sums);
  pare_tensor_close(per_row);
  pare_tensor_close(per_column);
}
END_TEST

int main(void) {
  setenv("POCL_MEMORY_LIMIT", "1", 1);
  setenv("PARE_DEVICE", "cpu", 0);
  if (pare_context_open(NULL, &context) != PARE_OK) {
    fprintf(stderr, "test_large: %s\n", pare_message());
    return EXIT_FAILURE;
  }
  uint64_t largest_bytes = pare_context_device(context)->max_buffer_bytes;
  if (largest_bytes > (uint64_t)1 << 30) {
    printf("skipped: a buffer of this device holds %llu bytes\n", (unsigned long long)largest_bytes);
    pare_context_close(context);
    return 77;
  }
  most = (int64_t)(largest_bytes / sizeof(float));
  TCase *cases = tcase_create("larger than a buffer");
  tcase_add_test(cases, product_of_a_tall_matrix);
  tcase_add_test(cases, product_with_a_wide_matrix);
  tcase_add_test(cases, product_that_is_large);
  tcase_add_test(cases, elementwise);
  tcase_add_test(cases, reductions);
  tcase_add_test(cases, selection);
  tcase_add_test(cases, reductions_over_either_axis);
  int status = run_tests("large tensors", cases);
  pare_context_close(context);
  return status;
}
