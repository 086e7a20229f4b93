/* Performance models: what is learned, and what is kept on disk. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "sched/simulate.h"

/* ---- lines ---- */

static pare__performance *one_line(size_t ndevices, const double *weight) {
  pare__performance *performance;
  size_t kernel;
  OK(pare__performance_open(ndevices, weight, &performance));
  OK(pare__performance_kernel(performance, "gemm", &kernel));
  return performance;
}

static size_t observe(pare__performance *performance, size_t device, size_t count, double a, double b, uint64_t seed) {
  size_t nwrong = 0;
  for (size_t i = 0; i < count; i++) {
    const double n = 1000 + 9000 * pare__random_unit(&seed), disturbed = i % 7 == 3 ? 5 : 1;
    pare__learned learned;
    OK(pare__performance_observe(performance, 0, device, n, (a + b * n) * disturbed, &learned));
    nwrong += learned == PARE__LEARNED_WRONG;
  }
  return nwrong;
}

START_TEST(a_line_is_learned_though_samples_are_disturbed) {
  pare__performance *performance = one_line(1, NULL);
  observe(performance, 0, 40, 2e-3, 1e-6, 5);
  ck_assert_msg(fabs(performance->a[0] - 2e-3) < 1e-4, "a is %g", performance->a[0]);
  ck_assert_msg(fabs(performance->b[0] - 1e-6) < 5e-8, "b is %g", performance->b[0]);
  ck_assert_uint_eq(performance->relearned, 0);
  pare__performance_close(performance);
}
END_TEST

START_TEST(a_wrong_line_is_noticed_and_learned_again) {
  pare__performance *performance = one_line(1, NULL);
  observe(performance, 0, 30, 1e-4, 1e-6, 5);
  ck_assert_uint_ge(observe(performance, 0, 8, 3e-4, 3e-6, 6), 1);
  observe(performance, 0, 24, 3e-4, 3e-6, 7);
  const double predicted = pare__performance_seconds(performance, 0, 0, 5000);
  ck_assert_msg(fabs(predicted / (3e-4 + 3e-6 * 5000) - 1) < 0.05, "predicted %g", predicted);
  pare__performance_close(performance);
}
END_TEST

START_TEST(weights_are_the_first_guess) {
  const double weight[] = {1, 3};
  pare__performance *performance = one_line(2, weight);
  ck_assert(fabs(performance->b[0] / performance->b[1] - 3) < 1e-12);
  observe(performance, 0, 10, 0, 6e-6, 5);
  ck_assert_msg(fabs(performance->b[1] / 2e-6 - 1) < 0.05, "guessed %g of a device that is thrice as fast",
                performance->b[1]);
  pare__performance_close(performance);
}
END_TEST

START_TEST(models_are_kept_on_disk) {
  static const char *const key[] = {"a, driver 1", "b, driver 2"}, *const other[] = {"c, driver 3", "b, driver 2"};
  char path[] = "/tmp/pare-performance.XXXXXX";
  const int file = mkstemp(path);
  ck_assert_int_ge(file, 0);
  pare__performance *first = one_line(2, NULL), *second = one_line(2, NULL);
  observe(first, 1, 20, 1e-3, 2e-6, 5);
  /* Empty, so malformed: ignored and written anew. */
  OK(pare__performance_read(first, path, key));
  OK(pare__performance_write(first, path, key));
  OK(pare__performance_read(second, path, other));
  ck_assert(second->a[1] == first->a[1] && second->b[1] == first->b[1]);
  OK(pare__performance_write(second, path, other));
  pare__performance_close(second);
  second = one_line(2, NULL);
  OK(pare__performance_read(second, path, key));
  ck_assert(second->b[1] == first->b[1]);
  pare__performance_close(first);
  pare__performance_close(second);
  FILE *broken = fopen(path, "w");
  ck_assert_ptr_nonnull(broken);
  fputs("{\"pare-performance\": 1, \"devices\": {\"a, driver 1\": {\"gemm\": {\"a\": -1, \"b\": \"x\"}}}}", broken);
  fclose(broken);
  second = one_line(2, NULL);
  OK(pare__performance_read(second, path, key));
  ck_assert_ptr_null(second->samples[0]);
  pare__performance_close(second);
  remove(path);
}
END_TEST

/* How many lines a device has in a file of models. */
static size_t lines_of(const char *path, const char *key) {
  json_t *all = json_load_file(path, 0, NULL);
  const size_t count = json_object_size(json_object_get(json_object_get(all, "devices"), key));
  json_decref(all);
  return count;
}

/* A file that an earlier version wrote is read; over the bounds what was used longest ago goes. */
START_TEST(models_on_disk_are_bounded_and_what_is_used_stays) {
  enum { RUNS = 5 };
  char path[] = "/tmp/pare-performance.XXXXXX", key[24] = "a";
  const char *const keys[] = {key};
  const int descriptor = mkstemp(path);
  FILE *old = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
  pare__learned learned;
  ck_assert_ptr_nonnull(old);
  fputs("{\"pare-performance\": 1, \"devices\": {\"a\": {\"old\": {\"a\": 0.5, \"b\": 0.25}}}}", old);
  fclose(old);
  for (int run = 0; run < RUNS; run++) {
    pare__performance *performance;
    size_t kernel;
    OK(pare__performance_open(1, NULL, &performance));
    OK(pare__performance_read(performance, path, keys));
    OK(pare__performance_kernel(performance, "old", &kernel));
    ck_assert_double_eq(performance->b[kernel], 0.25);
    ck_assert_double_eq(performance->a[kernel], 0.5);
    OK(pare__performance_observe(performance, kernel, 0, 2, 1, &learned));
    for (int i = 0; i < PARE__MOST_KEPT_LINES / 2; i++) {
      char name[40];
      snprintf(name, sizeof name, "%d of run %d", i, run);
      OK(pare__performance_kernel(performance, name, &kernel));
      OK(pare__performance_observe(performance, kernel, 0, 1, 1, &learned));
    }
    OK(pare__performance_write(performance, path, keys));
    pare__performance_close(performance);
    ck_assert_uint_le(lines_of(path, "a"), PARE__MOST_KEPT_LINES);
  }
  for (int i = 0; i < 2 * PARE__MOST_KEPT_DEVICES; i++) {
    pare__performance *performance = one_line(1, NULL);
    snprintf(key, sizeof key, "device %d", i);
    observe(performance, 0, 1, 0, 1e-6, 5);
    OK(pare__performance_write(performance, path, keys));
    pare__performance_close(performance);
  }
  json_t *all = json_load_file(path, 0, NULL), *devices = json_object_get(all, "devices");
  ck_assert_uint_eq(json_object_size(devices), PARE__MOST_KEPT_DEVICES);
  ck_assert_ptr_nonnull(json_object_get(devices, key));
  ck_assert_ptr_null(json_object_get(devices, "device 0"));
  json_decref(all);
  remove(path);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("performance");
  tcase_set_timeout(laws, 120);
  tcase_add_test(laws, a_line_is_learned_though_samples_are_disturbed);
  tcase_add_test(laws, a_wrong_line_is_noticed_and_learned_again);
  tcase_add_test(laws, weights_are_the_first_guess);
  tcase_add_test(laws, models_are_kept_on_disk);
  tcase_add_test(laws, models_on_disk_are_bounded_and_what_is_used_stays);
  return run_tests("performance", laws);
}
