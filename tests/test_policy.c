/* Policies and performance models by themselves: what moves, what models learn. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "sched/simulate.h"

/* ---- hysteresis ---- */

/* Two devices, the first with a queue of two pieces of a second each; the second would take so long for one. */
static pare__policy *queued(double seconds) {
  static const pare__policy_task task = {.resources = PARE__ON_CPU, .n = 1, .grain = 1, .per_step = 1};
  static const pare__policy_task *const tasks = &task;
  const pare__policy_device device[] = {{.resource = PARE__ON_CPU}, {.resource = PARE__ON_CPU}};
  const pare__policy_options options = {.tasks = &tasks};
  const pare__policy_piece piece = {.end = 1};
  pare__performance *performance;
  pare__policy *policy;
  size_t kernel;
  OK(pare__performance_open(2, NULL, &performance));
  OK(pare__performance_kernel(performance, "k", &kernel));
  pare__performance_set(performance, kernel, 0, 0, 1);
  pare__performance_set(performance, kernel, 1, 0, seconds);
  OK(pare__policy_open(&pare__policy_dmda, device, 2, performance, &options, &policy));
  for (int i = 0; i < 2; i++) OK(pare__policy_give(policy, 0, &piece, 0));
  return policy;
}

static void close_queued(pare__policy *policy) {
  pare__performance *performance = policy->performance;
  pare__policy_close(policy);
  pare__performance_close(performance);
}

/* The queue is through after two seconds: at 1.8 a tenth of that is won. */
START_TEST(a_piece_moves_for_a_tenth_of_the_time_and_once) {
  pare__policy_piece piece;
  pare__policy *policy = queued(1.81);
  ck_assert(!pare__policy_steal(policy, 1, 0, &piece));
  close_queued(policy);
  policy = queued(1.79);
  ck_assert(pare__policy_steal(policy, 1, 0, &piece));
  ck_assert_uint_eq(policy->moves, 1);
  ck_assert_uint_eq(policy->queue[0].count, 1);
  /* it waits there, and the first has nothing any more: it would be through long before, and stays where it is */
  OK(pare__policy_give(policy, 1, &piece, 0));
  ck_assert(pare__policy_take(policy, 0, &piece));
  pare__policy_uncount(policy, 0, piece.seconds);
  policy->free_at[0] = 0;
  ck_assert(!pare__policy_steal(policy, 0, 0, &piece));
  ck_assert_uint_eq(policy->moves, 1);
  close_queued(policy);
}
END_TEST

/* Its pieces take three seconds, not one: so will the two that wait, and others may want them now. */
START_TEST(what_waits_is_predicted_again_when_a_line_was_wrong) {
  pare__policy *policy = queued(10);
  size_t wake = PARE__NO_DEVICE;
  ck_assert_double_eq(policy->backlog[0], 2);
  for (int i = 0; i < 8 && wake == PARE__NO_DEVICE; i++) {
    pare__policy_piece piece = {.end = 1};
    pare__policy_count(policy, 0, &piece, 0);
    OK(pare__policy_complete(policy, 0, &piece, 0, 3, &wake));
  }
  ck_assert_uint_eq(wake, PARE__EVERY_DEVICE);
  ck_assert_double_eq_tol(policy->backlog[0], 6, 1e-9);
  ck_assert_double_eq_tol(policy->free_at[0], 6, 1e-9);
  close_queued(policy);
}
END_TEST

/* ---- performance models ---- */

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
  TCase *cases = tcase_create("policy");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, models_on_disk_are_bounded_and_what_is_used_stays);
  tcase_add_test(cases, a_piece_moves_for_a_tenth_of_the_time_and_once);
  tcase_add_test(cases, what_waits_is_predicted_again_when_a_line_was_wrong);
  tcase_add_test(cases, a_line_is_learned_though_samples_are_disturbed);
  tcase_add_test(cases, a_wrong_line_is_noticed_and_learned_again);
  tcase_add_test(cases, weights_are_the_first_guess);
  tcase_add_test(cases, models_are_kept_on_disk);
  return run_tests("policy", cases);
}
