/* Loops of more steps than some drivers take: one that stops them at 65,535 and reports success must not be believed.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/gemm.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

enum { LENGTH = 200000 };

/* Each counts: none is near zero. */
static float *positive_floats(int64_t n, uint32_t seed) {
  float *values = random_floats(n, seed);
  for (int64_t i = 0; i < n; i++) values[i] = fabsf(values[i]) + 0.5F;
  return values;
}

START_TEST(long_sums_are_whole) {
  const int64_t shape[] = {LENGTH};
  float *x = positive_floats(LENGTH, 1);
  x[LENGTH - 1] = 2; /* the largest is the last */
  pare_tensor *in = tensor_of(PARE_F32, 1, shape, x), *out = empty_tensor(PARE_F32, 0, NULL);
  double sum = 0, largest = 0;
  for (int i = 0; i < LENGTH; i++) {
    sum += (double)x[i];
    largest = fmax(largest, (double)x[i]);
  }
  float found;
  OK(pare_reduce(in, PARE_REDUCTION_SUM, NULL, 0, false, out));
  OK(pare_tensor_read(out, &found, sizeof found));
  ck_assert_double_le(fabs((double)found - sum), 1e-5 * sum);
  OK(pare_reduce(in, PARE_REDUCTION_MAX, NULL, 0, false, out));
  OK(pare_tensor_read(out, &found, sizeof found));
  ck_assert_double_eq((double)found, largest);
  pare_tensor_close(in);
  pare_tensor_close(out);
  free(x);
}
END_TEST

START_TEST(long_rows_of_softmax_add_up) {
  const int64_t shape[] = {1, LENGTH};
  float *x = random_floats(LENGTH, 2);
  pare_tensor *in = tensor_of(PARE_F32, 2, shape, x), *out = empty_tensor(PARE_F32, 2, shape);
  OK(pare_softmax(in, 1, out));
  float *found = floats_of(out);
  double sum = 0;
  for (int i = 0; i < LENGTH; i++) sum += exp((double)x[i]);
  for (int i = 0; i < LENGTH; i++) {
    const double expected = exp((double)x[i]) / sum;
    ck_assert_msg(fabs((double)found[i] - expected) <= 1e-5 * expected, "element %d: %g, expected %g", i,
                  (double)found[i], expected);
  }
  pare_tensor_close(in);
  pare_tensor_close(out);
  free(x);
  free(found);
}
END_TEST

/* Sums of few columns are not cut: where they are longer than a loop may be they are refused, and nothing is wrong. */
static const int64_t inner[] = {65000, 70000};

START_TEST(long_products_are_whole_or_refused) {
  enum { M = 2, N = 3 };
  const int64_t K = inner[_i], most = pare_context_device(context)->can.max_loop_steps;
  const int64_t a_shape[] = {M, K}, b_shape[] = {K, N}, c_shape[] = {M, N};
  float *a = positive_floats(M * K, 3), *b = positive_floats(K * N, 4);
  pare_tensor *ta = tensor_of(PARE_F32, 2, a_shape, a), *tb = tensor_of(PARE_F32, 2, b_shape, b);
  pare_tensor *tc = empty_tensor(PARE_F32, 2, c_shape);
  float c[M * N];
  pare_status status = pare_gemm(ta, tb, NULL, NULL, tc);
  if (status == PARE_OK) status = pare_tensor_read(tc, c, sizeof c);
  if (status != PARE_OK)
    ck_assert_msg(most != 0 && K >= most && strstr(pare_message(), "no variant can run on"), "%s", pare_message());
  for (int t = 0; t < M * N && status == PARE_OK; t++) {
    double expected = 0;
    for (int64_t k = 0; k < K; k++) expected += (double)a[t / N * K + k] * (double)b[k * N + t % N];
    ck_assert_msg(fabs((double)c[t] - expected) <= 1e-4 * expected, "element %d: %g, expected %g", t, (double)c[t],
                  expected);
  }
  pare_tensor *const all[] = {ta, tb, tc};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) pare_tensor_close(all[i]);
  free(a);
  free(b);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("long loops");
  tcase_add_checked_fixture(laws, open_context, close_context);
  tcase_add_test(laws, long_sums_are_whole);
  tcase_add_test(laws, long_rows_of_softmax_add_up);
  tcase_add_loop_test(laws, long_products_are_whole_or_refused, 0, (int)(sizeof inner / sizeof *inner));
  return run_tests("long loops", laws);
}
