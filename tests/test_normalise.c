/* Softmax and normalisation through the public API: laws, views, pieces, long rows.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/elementwise.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "fixture.h"
#include "tensor/context.h"

static pare_tensor *like(pare_tensor *x) {
  pare_tensor *out;
  OK(pare_tensor_create(context, PARE_F32, pare_tensor_rank(x), pare_tensor_shape(x), &out));
  return out;
}

/* exp(log-softmax) = softmax, rows add up to 1, and a shift of the row changes nothing. */
START_TEST(softmax_along_any_axis) {
  static const int64_t shape[3] = {5, 67, 33};
  float *x = random_floats(count_of(3, shape), 1), *shifted = random_floats(count_of(3, shape), 1);
  for (int64_t i = 0; i < count_of(3, shape); i++) shifted[i] += 1024;
  pare_tensor *a = tensor_of(PARE_F32, 3, shape, x), *b = tensor_of(PARE_F32, 3, shape, shifted), *y = like(a),
              *l = like(a), *z = like(a);
  for (int axis = -1; axis < 2; axis++) {
    OK(pare_softmax(a, axis, y));
    OK(pare_log_softmax(a, axis, l));
    OK(pare_softmax(b, axis, z));
    float *p = floats_of(y), *q = floats_of(l), *r = floats_of(z);
    int d = axis < 0 ? 2 : axis;
    int64_t stride = d == 2 ? 1 : d == 1 ? 33 : 67 * 33;
    for (int64_t i = 0; i < count_of(3, shape); i++) {
      ck_assert_double_le(fabs(exp((double)q[i]) - p[i]), 2e-6);
      ck_assert_double_le(fabs(r[i] - p[i]), 2e-4);
      if (i / stride % shape[d] != 0) continue;
      double sum = 0;
      for (int64_t k = 0; k < shape[d]; k++) sum += p[i + k * stride];
      ck_assert_double_le(fabs(sum - 1), 1e-5);
    }
    free(p);
    free(q);
    free(r);
  }
  OK(pare_softmax(a, 1, a)); /* in place */
  OK(pare_softmax(b, 1, z));
  pare_tensor_close(z);
  pare_tensor_close(l);
  pare_tensor_close(y);
  pare_tensor_close(b);
  pare_tensor_close(a);
  free(shifted);
  free(x);
}
END_TEST

START_TEST(long_rows_go_in_blocks) {
  static const int64_t shape[2] = {2, 300007};
  float *x = random_floats(count_of(2, shape), 3);
  x[300007 + 5] = NAN;
  pare_tensor *a = tensor_of(PARE_F32, 2, shape, x), *y = like(a);
  OK(pare_softmax(a, 1, y));
  float *p = floats_of(y);
  double sum = 0;
  for (int64_t i = 0; i < shape[1]; i++) sum += p[i];
  ck_assert_double_le(fabs(sum - 1), 1e-4);
  ck_assert(isnan(p[300007]) && isnan(p[600013]));
  free(p);
  x[300007 + 5] = 0;
  for (int64_t i = 0; i < shape[1]; i++) x[i] += 1000;
  pare_tensor_close(a);
  a = tensor_of(PARE_F32, 2, shape, x);
  OK(pare_layer_norm(a, 1, NULL, NULL, 0, y, NULL, NULL));
  p = floats_of(y);
  for (int row = 0; row < 2; row++) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < shape[1]; i++) {
      mean += p[row * shape[1] + i];
      square += (double)p[row * shape[1] + i] * p[row * shape[1] + i];
    }
    ck_assert_double_le(fabs(mean / (double)shape[1]), 1e-3);
    ck_assert_double_le(fabs(square / (double)shape[1] - 1), 1e-3);
  }
  free(p);
  pare_tensor_close(y);
  pare_tensor_close(a);
  free(x);
}
END_TEST

/* Group norm with one channel a group is instance norm; layer norm of the same runs is group norm without scale. */
START_TEST(norms_agree_with_each_other) {
  static const int64_t shape[4] = {3, 6, 5, 7}, rows[2] = {18, 35}, channels = 6, flat[2] = {18, 6};
  float *x = random_floats(count_of(4, shape), 5), *s = random_floats(6, 6), *b = random_floats(6, 7);
  pare_tensor *a = tensor_of(PARE_F32, 4, shape, x), *scale = tensor_of(PARE_F32, 1, &channels, s),
              *bias = tensor_of(PARE_F32, 1, &channels, b);
  pare_tensor *group = like(a), *instance = like(a), *layer, *seen, *mean, *inverse;
  static const int64_t one[2] = {18, 1};
  OK(pare_group_norm(a, 6, scale, bias, 1e-5, group));
  OK(pare_instance_norm(a, scale, bias, 1e-5, instance));
  OK(pare_tensor_reshape(a, 2, rows, &seen));
  layer = like(seen);
  OK(pare_tensor_create(context, PARE_F32, 2, one, &mean));
  OK(pare_tensor_create(context, PARE_F32, 2, one, &inverse));
  OK(pare_layer_norm(seen, -1, NULL, NULL, 1e-5, layer, mean, inverse));
  float *g = floats_of(group), *i = floats_of(instance), *l = floats_of(layer), *m = floats_of(mean),
        *v = floats_of(inverse);
  for (int64_t k = 0; k < count_of(4, shape); k++) {
    int64_t c = k / 35 % 6, row = k / 35;
    ck_assert_float_eq(g[k], i[k]);
    ck_assert_double_le(fabs(g[k] - (l[k] * s[c] + b[c])), 1e-5);
    ck_assert_double_le(fabs(l[k] - (x[k] - m[row]) * v[row]), 1e-5);
  }
  /* batch norm with ready-made statistics, channels first and channels last */
  pare_tensor *batch = like(a), *view, *wide = tensor_of(PARE_F32, 2, flat, x), *columns = like(wide);
  float *variance = random_floats(6, 8);
  for (int c = 0; c < 6; c++) variance[c] += 2;
  pare_tensor *var = tensor_of(PARE_F32, 1, &channels, variance);
  OK(pare_batch_norm(a, scale, bias, bias, var, 1e-3, batch));
  OK(pare_batch_norm(wide, NULL, NULL, bias, var, 1e-3, columns));
  float *p = floats_of(batch), *q = floats_of(columns);
  for (int64_t k = 0; k < count_of(4, shape); k++) {
    int64_t c = k / 35 % 6, d = k % 6;
    ck_assert_double_le(fabs(p[k] - ((x[k] - b[c]) / sqrt(variance[c] + 1e-3) * s[c] + b[c])), 1e-5);
    if (k < 108) ck_assert_double_le(fabs(q[k] - (x[k] - b[d]) / sqrt(variance[d] + 1e-3)), 1e-5);
  }
  static const int transposed[4] = {0, 1, 3, 2};
  OK(pare_tensor_permute(a, transposed, &view));
  pare_tensor *of_view = like(view);
  OK(pare_instance_norm(view, scale, bias, 1e-5, of_view));
  float *w = floats_of(of_view);
  for (int64_t k = 0; k < count_of(4, shape); k++)
    ck_assert_double_le(fabs(w[k / 35 * 35 + k % 7 * 5 + k / 7 % 5] - i[k]), 1e-5);
  ck_assert_int_eq(pare_group_norm(a, 4, scale, bias, 1e-5, group), PARE_ERR_SHAPE);
  ck_assert_int_eq(pare_layer_norm(a, 4, NULL, NULL, 1e-5, group, NULL, NULL), PARE_ERR_ARGUMENT);
  pare_tensor *const all[] = {a,       scale, bias, group, instance, layer, seen,   mean,
                              inverse, batch, view, wide,  columns,  var,   of_view};
  for (size_t k = 0; k < PARE__COUNT(all); k++) pare_tensor_close(all[k]);
  float *const data[] = {x, s, b, g, i, l, m, v, variance, p, q, w};
  for (size_t k = 0; k < PARE__COUNT(data); k++) free(data[k]);
}
END_TEST

/* A mask of floats is added, one of bool picks x or `least`; it broadcasts along any axis, also where its rows cannot
 * be told by three strides. */
START_TEST(masks_broadcast_and_give_what_the_steps_give) {
  static const int64_t shape[5] = {2, 3, 2, 4, 19};
  static const int64_t masks[][5] = {{2, 1, 1, 1, 19}, {1, 1, 1, 4, 19}, {1, 1, 1, 1, 1},
                                     {2, 3, 2, 4, 19}, {1, 3, 1, 4, 19}, {2, 1, 2, 1, 19}};
  float *x = random_floats(count_of(5, shape), 21), *m = random_floats(count_of(5, shape), 22), low = -5;
  uint8_t kept[2 * 3 * 2 * 4 * 19];
  for (size_t i = 0; i < sizeof kept; i++) kept[i] = m[i] > -0.3F;
  pare_tensor *a = tensor_of(PARE_F32, 5, shape, x), *y = like(a), *step = like(a),
              *least = tensor_of(PARE_F32, 0, NULL, &low);
  for (size_t i = 0; i < 2 * PARE__COUNT(masks); i++) {
    const bool of_bool = i % 2;
    pare_tensor *mask = of_bool ? tensor_of(PARE_BOOL, 5, masks[i / 2], kept) : tensor_of(PARE_F32, 5, masks[i / 2], m);
    OK(pare_masked_softmax(a, mask, (double)low, y));
    OK(of_bool ? pare_ternary(PARE_TERNARY_where, mask, a, least, step) : pare_binary(PARE_BINARY_add, a, mask, step));
    OK(pare_softmax(step, -1, step));
    float *p = floats_of(y), *q = floats_of(step);
    for (int64_t k = 0; k < count_of(5, shape); k++) ck_assert_float_eq_tol(p[k], q[k], 1e-6);
    free(p);
    free(q);
    pare_tensor_close(mask);
  }
  static const int64_t wide[2] = {3, 19};
  pare_tensor *other = tensor_of(PARE_F32, 2, wide, m);
  ck_assert_int_eq(pare_masked_softmax(a, other, 0, y), PARE_ERR_SHAPE);
  pare_tensor *const all[] = {a, y, step, least, other};
  for (size_t k = 0; k < PARE__COUNT(all); k++) pare_tensor_close(all[k]);
  free(x);
  free(m);
}
END_TEST

START_TEST(norms_of_a_sum_are_those_of_its_steps) {
  static const int64_t shapes[][2] = {{37, 130}, {2, 140001}};
  for (size_t i = 0; i < 2 * PARE__COUNT(shapes); i++) {
    const int64_t *shape = shapes[i / 2];
    const bool rms = i % 2;
    float *x = random_floats(count_of(2, shape), 31), *s = random_floats(count_of(2, shape), 32);
    pare_tensor *a = tensor_of(PARE_F32, 2, shape, x), *skip = tensor_of(PARE_F32, 2, shape, s), *y = like(a),
                *sum = like(a), *step = like(a), *alone = like(a), *scale = tensor_of(PARE_F32, 1, shape + 1, s);
    OK(pare_binary(PARE_BINARY_add, a, skip, step));
    OK(rms ? pare_skip_rms_norm(a, skip, 1, scale, 1e-5, y, sum)
           : pare_skip_layer_norm(a, skip, 1, scale, scale, 1e-5, y, sum));
    OK(rms ? pare_skip_rms_norm(a, skip, 1, scale, 1e-5, alone, NULL)
           : pare_skip_layer_norm(a, skip, 1, scale, scale, 1e-5, alone, NULL));
    float *t = floats_of(step), *u = floats_of(sum);
    ck_assert_mem_eq(t, u, (size_t)count_of(2, shape) * sizeof(float));
    OK(rms ? pare_rms_norm(step, 1, scale, 1e-5, step)
           : pare_layer_norm(step, 1, scale, scale, 1e-5, step, NULL, NULL));
    float *p = floats_of(y), *q = floats_of(step), *r = floats_of(alone);
    ck_assert_mem_eq(p, q, (size_t)count_of(2, shape) * sizeof(float));
    ck_assert_mem_eq(p, r, (size_t)count_of(2, shape) * sizeof(float));
    pare_tensor *const all[] = {a, skip, y, sum, step, alone, scale};
    for (size_t k = 0; k < PARE__COUNT(all); k++) pare_tensor_close(all[k]);
    float *const data[] = {x, s, p, q, r, t, u};
    for (size_t k = 0; k < PARE__COUNT(data); k++) free(data[k]);
  }
}
END_TEST

START_TEST(pieces_give_the_same_bits) {
  static const int64_t shapes[][2] = {{37, 129}, {3, 140001}};
  for (size_t s = 0; s < PARE__COUNT(shapes); s++)
    for (int which = 0; which < 6; which++) {
      float *x = random_floats(count_of(2, shapes[s]), 9), *first = NULL;
      pare_tensor *a = tensor_of(PARE_F32, 2, shapes[s], x), *y = like(a);
      for (int n = 1; n <= 3; n++) {
        pare__context_split(context, n);
        OK(which == 0   ? pare_softmax(a, 1, y)
           : which == 1 ? pare_softmax(a, 0, y)
           : which == 2 ? pare_layer_norm(a, 1, NULL, NULL, 1e-5, y, NULL, NULL)
           : which == 3 ? pare_masked_softmax(a, a, 0, y)
           : which == 4 ? pare_skip_layer_norm(a, a, 1, NULL, NULL, 1e-5, y, NULL)
                        : pare_instance_norm(a, NULL, NULL, 1e-5, y));
        pare__context_split(context, 0);
        float *got = floats_of(y);
        if (n == 1)
          first = got;
        else {
          ck_assert_msg(memcmp(first, got, (size_t)count_of(2, shapes[s]) * sizeof(float)) == 0,
                        "operation %d in %d pieces differs", which, n);
          free(got);
        }
      }
      free(first);
      free(x);
      pare_tensor_close(y);
      pare_tensor_close(a);
    }
}
END_TEST

static void note_unbuilt(pare_log_level level, const char *line, void *user) {
  (void)level;
  if (strstr(line, "not built") != NULL) snprintf(user, 512, "%s", line);
}

/* A variant that does not compile for some dtype is passed over with a warning: here it is a failure. */
START_TEST(every_float_compiles) {
  static const pare_dtype dtypes[] = {PARE_F32, PARE_F16, PARE_BF16, PARE_F64};
  static const int64_t shapes[][2] = {{37, 129}, {2, 140001}};
  char unbuilt[512] = "";
  pare_log_set(note_unbuilt, unbuilt, PARE_LOG_WARN);
  for (size_t i = 0; i < 2 * PARE__COUNT(dtypes); i++) {
    const pare_dtype dtype = dtypes[i / 2];
    const int64_t *shape = shapes[i % 2];
    if (dtype == PARE_F64 && !pare__device_info(pare__context_device(context))->can.f64) continue;
    float *data = random_floats(count_of(2, shape), 5);
    pare_tensor *floats = tensor_of(PARE_F32, 2, shape, data), *x, *y, *row, *truth;
    OK(pare_tensor_create(context, dtype, 2, shape, &x));
    OK(pare_tensor_create(context, dtype, 2, shape, &y));
    OK(pare_tensor_create(context, dtype, 1, shape + 1, &row));
    OK(pare_tensor_create(context, PARE_BOOL, 2, shape, &truth));
    OK(pare_cast(floats, x));
    OK(pare_cast(floats, truth));
    OK(pare_reduce(x, PARE_REDUCTION_MEAN, (const int[]){0}, 1, false, row));
    for (int axis = 0; axis < 2; axis++) {
      OK(pare_softmax(x, axis, y));
      OK(pare_log_softmax(x, axis, y));
    }
    OK(pare_masked_softmax(x, x, 0, y));
    OK(pare_masked_softmax(x, truth, -1, y));
    OK(pare_layer_norm(x, 1, row, row, 1e-5, y, NULL, NULL));
    OK(pare_skip_layer_norm(x, x, 1, row, NULL, 1e-5, y, NULL));
    OK(pare_rms_norm(x, 1, row, 1e-5, y));
    OK(pare_instance_norm(x, NULL, NULL, 1e-5, y));
    OK(pare_context_wait(context));
    ck_assert_msg(!*unbuilt, "%s", unbuilt);
    pare_tensor *const all[] = {truth, row, y, x, floats};
    for (size_t k = 0; k < PARE__COUNT(all); k++) pare_tensor_close(all[k]);
    free(data);
  }
  pare_log_set(NULL, NULL, PARE_LOG_ERROR);
}
END_TEST

START_TEST(empty_and_scalar_rows) {
  static const int64_t shapes[][2] = {{0, 4}, {4, 0}, {3, 1}};
  for (size_t s = 0; s < PARE__COUNT(shapes); s++) {
    pare_tensor *x, *y;
    float zero[3] = {0, 1, 2};
    OK(pare_tensor_from(context, PARE_F32, 2, shapes[s], zero, (size_t)count_of(2, shapes[s]) * sizeof(float), &x));
    y = like(x);
    OK(pare_softmax(x, 1, y));
    OK(pare_layer_norm(x, 1, NULL, NULL, 1e-5, y, NULL, NULL));
    OK(pare_rms_norm(x, 1, NULL, 1e-5, y));
    OK(pare_instance_norm(x, NULL, NULL, 1e-5, y));
    pare_tensor_close(x);
    pare_tensor_close(y);
  }
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("normalise");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, softmax_along_any_axis);
  tcase_add_test(tests, long_rows_go_in_blocks);
  tcase_add_test(tests, norms_agree_with_each_other);
  tcase_add_test(tests, masks_broadcast_and_give_what_the_steps_give);
  tcase_add_test(tests, norms_of_a_sum_are_those_of_its_steps);
  tcase_add_test(tests, pieces_give_the_same_bits);
  tcase_add_test(tests, every_float_compiles);
  tcase_add_test(tests, empty_and_scalar_rows);
  return run_tests("normalise", tests);
}
