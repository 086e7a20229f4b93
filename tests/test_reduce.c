/* Reductions through the public API: axes, views, empty and oversize tensors, the law of splitting.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/reduce.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "fixture.h"
#include "tensor/context.h"

/* Sums x [shape] over the axes in `mask` in double precision into out (kept dimensions in order). */
static void sum_over(const float *x, int rank, const int64_t *shape, unsigned mask, double *out, double *magnitude) {
  int64_t n = count_of(rank, shape);
  for (int64_t i = 0; i < n; i++) {
    int64_t rest = i, at = 0, scale = 1;
    for (int d = rank - 1; d >= 0; d--) {
      if (!(mask >> d & 1U)) {
        at += rest % shape[d] * scale;
        scale *= shape[d];
      }
      rest /= shape[d];
    }
    out[at] += x[i];
    magnitude[at] += fabsf(x[i]);
  }
}

START_TEST(any_set_of_axes) {
  static const int64_t shape[5] = {3, 4, 2, 5, 3};
  float *x = random_floats(360, 1), got[360];
  pare_tensor *tensor = tensor_of(PARE_F32, 5, shape, x);
  for (unsigned mask = 1; mask < 32; mask++)
    for (int keep = 0; keep < 2; keep++) {
      int axes[5], naxes = 0, rank = 0;
      int64_t dims[5];
      for (int d = 0; d < 5; d++) {
        if (mask >> d & 1U) axes[naxes++] = d % 2 ? d : d - 5;
        if (!(mask >> d & 1U) || keep) dims[rank++] = mask >> d & 1U ? 1 : shape[d];
      }
      pare_tensor *out;
      OK(pare_tensor_create(context, PARE_F32, rank, dims, &out));
      OK(pare_reduce(tensor, PARE_REDUCTION_SUM, axes, naxes, keep, out));
      double expected[360] = {0}, magnitude[360] = {0};
      sum_over(x, 5, shape, mask, expected, magnitude);
      size_t n = (size_t)count_of(rank, dims);
      OK(pare_tensor_read(out, got, n * sizeof(float)));
      for (size_t i = 0; i < n; i++) ck_assert_double_le(fabs(got[i] - expected[i]), 1e-6 * magnitude[i]);
      pare_tensor_close(out);
    }
  pare_tensor_close(tensor);
  free(x);
}
END_TEST

/* The reduction of a view is that of its compact copy. */
START_TEST(views_need_no_copy_by_the_caller) {
  static const int64_t shape[3] = {6, 7, 40};
  static const int axes_of_view[3] = {2, 0, 1};
  float *x = random_floats(6 * 7 * 40, 1);
  pare_tensor *tensor = tensor_of(PARE_F32, 3, shape, x), *permuted, *sliced, *out;
  OK(pare_tensor_permute(tensor, axes_of_view, &permuted)); /* [40, 6, 7] */
  OK(pare_tensor_slice(permuted, 0, 39, 13, -3, &sliced));  /* [13, 6, 7] */
  for (int axis = 0; axis < 3; axis++) {
    static const int64_t dims[3] = {13, 6, 7};
    int64_t left[2];
    for (int d = 0, k = 0; d < 3; d++)
      if (d != axis) left[k++] = dims[d];
    OK(pare_tensor_create(context, PARE_F32, 2, left, &out));
    OK(pare_reduce(sliced, PARE_REDUCTION_MAX, &axis, 1, false, out));
    float got[91];
    OK(pare_tensor_read(out, got, (size_t)(left[0] * left[1]) * sizeof(float)));
    for (int64_t k = 0; k < left[0] * left[1]; k++) {
      float largest = -2;
      for (int64_t r = 0; r < dims[axis]; r++) {
        int64_t at[3], rest = k;
        for (int d = 2; d >= 0; d--) {
          if (d == axis) continue;
          at[d] = rest % dims[d];
          rest /= dims[d];
        }
        at[axis] = r;
        float v = x[at[1] * 280 + at[2] * 40 + 39 - 3 * at[0]];
        if (v > largest) largest = v;
      }
      ck_assert_float_eq(got[k], largest);
    }
    pare_tensor_close(out);
  }
  pare_tensor_close(sliced);
  pare_tensor_close(permuted);
  pare_tensor_close(tensor);
  free(x);
}
END_TEST

START_TEST(pieces_give_the_same_bits) {
  static const int64_t shapes[][3] = {{1, 300001, 1}, {5, 40000, 1}, {2, 3000, 37}, {64, 9, 70}, {9, 11, 1}};
  static const pare_reduction reductions[] = {PARE_REDUCTION_SUM, PARE_REDUCTION_LOG_SUM_EXP, PARE_REDUCTION_L2};
  const int axis = 1;
  for (size_t s = 0; s < PARE__COUNT(shapes); s++) {
    const int64_t *shape = shapes[s], left[2] = {shape[0], shape[2]};
    size_t nbytes = (size_t)(left[0] * left[1]) * sizeof(int64_t);
    float *x = random_floats(count_of(3, shape), 1);
    char *whole = malloc(nbytes), *pieces = malloc(nbytes);
    pare_tensor *tensor = tensor_of(PARE_F32, 3, shape, x), *out, *index;
    OK(pare_tensor_create(context, PARE_F32, 2, left, &out));
    OK(pare_tensor_create(context, PARE_I64, 2, left, &index));
    for (size_t r = 0; r <= PARE__COUNT(reductions); r++)
      for (int n = 1; n <= 3; n++) {
        bool arg = r == PARE__COUNT(reductions);
        pare__context_split(context, n);
        if (arg)
          OK(pare_arg_max(tensor, axis, false, false, index));
        else
          OK(pare_reduce(tensor, reductions[r], &axis, 1, false, out));
        pare__context_split(context, 0);
        size_t read = arg ? nbytes : nbytes / 2;
        OK(pare_tensor_read(arg ? index : out, n == 1 ? whole : pieces, read));
        ck_assert_msg(n == 1 || memcmp(whole, pieces, read) == 0, "shape %zu, reduction %zu in %d pieces differs", s, r,
                      n);
      }
    pare_tensor_close(index);
    pare_tensor_close(out);
    pare_tensor_close(tensor);
    free(whole);
    free(pieces);
    free(x);
  }
}
END_TEST

START_TEST(empty_reductions_give_the_identity) {
  static const int64_t shape[2] = {3, 0};
  static const struct {
    pare_reduction reduction;
    float value;
  } identity[] = {{PARE_REDUCTION_SUM, 0},         {PARE_REDUCTION_PRODUCT, 1},
                  {PARE_REDUCTION_MAX, -INFINITY}, {PARE_REDUCTION_MIN, INFINITY},
                  {PARE_REDUCTION_MEAN, NAN},      {PARE_REDUCTION_LOG_SUM_EXP, -INFINITY},
                  {PARE_REDUCTION_L2, 0},          {PARE_REDUCTION_LOG_SUM, -INFINITY}};
  const int axis = 1;
  int64_t three = 3;
  pare_tensor *x, *out, *index;
  OK(pare_tensor_create(context, PARE_F32, 2, shape, &x));
  OK(pare_tensor_create(context, PARE_F32, 1, &three, &out));
  OK(pare_tensor_create(context, PARE_I64, 1, &three, &index));
  for (size_t i = 0; i < PARE__COUNT(identity); i++) {
    float got[3];
    OK(pare_reduce(x, identity[i].reduction, &axis, 1, false, out));
    OK(pare_tensor_read(out, got, sizeof got));
    for (int k = 0; k < 3; k++)
      ck_assert_msg(isnan(identity[i].value) ? isnan(got[k]) : got[k] == identity[i].value, "%s of nothing is %g",
                    pare_reduction_name(identity[i].reduction), (double)got[k]);
  }
  ck_assert_int_eq(pare_arg_max(x, 1, false, false, index), PARE_ERR_SHAPE);
  pare_tensor_close(index);
  pare_tensor_close(out);
  pare_tensor_close(x);
}
END_TEST

START_TEST(rank_0_and_rank_8) {
  float value = 3, got[2];
  pare_tensor *x = tensor_of(PARE_F32, 0, NULL, &value), *out;
  OK(pare_tensor_create(context, PARE_F32, 0, NULL, &out));
  OK(pare_reduce(x, PARE_REDUCTION_SUM_SQUARE, NULL, 0, false, out));
  OK(pare_tensor_read(out, got, sizeof(float)));
  ck_assert_float_eq(got[0], 9);
  pare_tensor_close(out);
  pare_tensor_close(x);
  static const int64_t shape[8] = {2, 1, 2, 2, 1, 2, 2, 2}, two = 2;
  static const int axes[7] = {0, 1, 2, 3, 4, 6, 7};
  float *data = random_floats(64, 1);
  x = tensor_of(PARE_F32, 8, shape, data);
  OK(pare_tensor_create(context, PARE_F32, 1, &two, &out));
  OK(pare_reduce(x, PARE_REDUCTION_SUM, axes, 7, false, out));
  OK(pare_tensor_read(out, got, sizeof got));
  double expected[2] = {0};
  for (int i = 0; i < 64; i++) expected[i / 4 % 2] += data[i];
  for (int k = 0; k < 2; k++) ck_assert_double_le(fabs(got[k] - expected[k]), 1e-5);
  pare_tensor_close(out);
  pare_tensor_close(x);
  free(data);
}
END_TEST

START_TEST(integers_bools_and_ties) {
  static const int8_t bytes[6] = {100, 100, -128, 7, 7, 100};
  static const uint8_t bools[6] = {1, 1, 0, 1, 1, 1};
  static const int64_t shape[2] = {2, 3}, two = 2;
  const int axis = 1;
  pare_tensor *x = tensor_of(PARE_I8, 2, shape, bytes), *b = tensor_of(PARE_BOOL, 2, shape, bools), *wide, *narrow,
              *flag;
  OK(pare_tensor_create(context, PARE_I64, 1, &two, &wide));
  OK(pare_tensor_create(context, PARE_I8, 1, &two, &narrow));
  OK(pare_tensor_create(context, PARE_BOOL, 1, &two, &flag));
  int64_t w[2];
  int8_t n[2];
  uint8_t f[2];
  OK(pare_reduce(x, PARE_REDUCTION_L1, &axis, 1, false, wide));
  OK(pare_tensor_read(wide, w, sizeof w));
  ck_assert(w[0] == 328 && w[1] == 114);
  OK(pare_reduce(x, PARE_REDUCTION_SUM, &axis, 1, false, narrow)); /* modulo 256 */
  OK(pare_tensor_read(narrow, n, sizeof n));
  ck_assert(n[0] == 72 && n[1] == 114);
  OK(pare_reduce(b, PARE_REDUCTION_ALL, &axis, 1, false, flag));
  OK(pare_tensor_read(flag, f, sizeof f));
  ck_assert(f[0] == 0 && f[1] == 1);
  OK(pare_arg_max(x, -1, false, false, wide));
  OK(pare_tensor_read(wide, w, sizeof w));
  ck_assert(w[0] == 0 && w[1] == 2);
  OK(pare_arg_max(x, -1, false, true, wide));
  OK(pare_tensor_read(wide, w, sizeof w));
  ck_assert(w[0] == 1 && w[1] == 2);
  ck_assert_int_eq(pare_reduce(b, PARE_REDUCTION_SUM, &axis, 1, false, flag), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_reduce(x, PARE_REDUCTION_LOG_SUM, &axis, 1, false, narrow), PARE_ERR_TYPE);
  ck_assert_int_eq(pare_reduce(x, PARE_REDUCTION_SUM, &axis, 1, true, narrow), PARE_ERR_SHAPE);
  const int out_of_range = 2, twice[2] = {1, -1};
  ck_assert_int_eq(pare_reduce(x, PARE_REDUCTION_SUM, &out_of_range, 1, false, narrow), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare_reduce(x, PARE_REDUCTION_SUM, twice, 2, false, narrow), PARE_ERR_ARGUMENT);
  pare_tensor_close(flag);
  pare_tensor_close(narrow);
  pare_tensor_close(wide);
  pare_tensor_close(b);
  pare_tensor_close(x);
}
END_TEST

/* Larger than the device's largest buffer: staged in pieces (POCL_MEMORY_LIMIT=1 makes that 256 MiB). */
START_TEST(a_tensor_larger_than_the_largest_buffer) {
  uint64_t largest = pare_context_device(context)->max_buffer_bytes;
  if (largest > (uint64_t)300 << 20) return;
  int64_t n = (int64_t)(largest / sizeof(float)) + 1000003;
  float *data = malloc((size_t)n * sizeof *data);
  for (int64_t i = 0; i < n; i++) data[i] = 0.5F;
  data[n - 7] = 2;
  pare_tensor *x = tensor_of(PARE_F32, 1, &n, data), *out, *index;
  free(data);
  OK(pare_tensor_create(context, PARE_F32, 0, NULL, &out));
  OK(pare_tensor_create(context, PARE_I64, 0, NULL, &index));
  float sum;
  int64_t at;
  OK(pare_reduce(x, PARE_REDUCTION_SUM, NULL, 0, false, out));
  OK(pare_tensor_read(out, &sum, sizeof sum));
  ck_assert_double_le(fabs(sum - ((double)n * 0.5 + 1.5)), 1e-5 * (double)n);
  OK(pare_arg_max(x, 0, false, false, index));
  OK(pare_tensor_read(index, &at, sizeof at));
  ck_assert_int_eq(at, n - 7);
  pare_tensor_close(index);
  pare_tensor_close(out);
  pare_tensor_close(x);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("reduce");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, any_set_of_axes);
  tcase_add_test(tests, views_need_no_copy_by_the_caller);
  tcase_add_test(tests, pieces_give_the_same_bits);
  tcase_add_test(tests, empty_reductions_give_the_identity);
  tcase_add_test(tests, rank_0_and_rank_8);
  tcase_add_test(tests, integers_bools_and_ties);
  tcase_add_test(tests, a_tensor_larger_than_the_largest_buffer);
  return run_tests("reduce", tests);
}
