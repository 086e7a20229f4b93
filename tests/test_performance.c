/* Performance models: what is learned, and what is kept on disk. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    OK(pare__performance_observe(performance, 0, device, n, (a + b * n) * disturbed, false, &learned));
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

/* Where as many may take another time, long pieces that lay where work is cheap make no line that falls. */
START_TEST(uneven_work_is_a_proportion) {
  pare__performance *performance = one_line(1, NULL);
  pare__learned learned;
  performance->a[0] = 1; /* of an older file */
  for (int i = 0; i < 16; i++) OK(pare__performance_observe(performance, 0, 0, 1000 - 60 * i, 1e-3, true, &learned));
  ck_assert_double_eq(performance->a[0], 0);
  ck_assert_msg(performance->b[0] > 1e-6 && performance->b[0] < 1e-5, "b is %g", performance->b[0]);
  ck_assert_double_eq(pare__performance_launch(performance, 0, 0, true), 100e-6);
  pare__performance_close(performance);
}
END_TEST

/* n units took so long; how often the line was wrong. */
static size_t took(pare__performance *performance, size_t device, double n, double seconds) {
  pare__learned learned;
  OK(pare__performance_observe(performance, 0, device, n, seconds, false, &learned));
  return learned == PARE__LEARNED_WRONG;
}

/* Faster is as wrong as slower; once is enough; what is off by less is fitted without anybody's plans changing. */
START_TEST(a_line_is_wrong_from_a_quarter_on) {
  static const struct {
    double factor;
    bool wrong;
  } then[] = {{4, true}, {1.4, true}, {1 / 1.4, true}, {0.25, true}, {1.15, false}, {1 / 1.15, false}};
  for (size_t i = 0; i < PARE__COUNT(then); i++) {
    pare__performance *performance = one_line(1, NULL);
    const double a = 1e-4 * then[i].factor, b = 1e-6 * then[i].factor;
    size_t nwrong = 0;
    observe(performance, 0, 32, 1e-4, 1e-6, 5);
    for (int k = 0; k < 32; k++) nwrong += took(performance, 0, 1000 + 200 * k, a + b * (1000 + 200 * k));
    ck_assert_msg(nwrong == performance->relearned && (nwrong > 0) == then[i].wrong && nwrong <= 2,
                  "%g times as slow: wrong %zu times", then[i].factor, nwrong);
    const double predicted = pare__performance_seconds(performance, 0, 0, 5000);
    ck_assert_msg(fabs(predicted / (a + b * 5000) - 1) < 0.02, "%g times as slow: predicted %g", then[i].factor,
                  predicted);
    pare__performance_close(performance);
  }
}
END_TEST

/* The first may be disturbed: that is over with the third. */
START_TEST(three_samples_are_enough_for_a_guess) {
  pare__performance *performance = one_line(1, NULL);
  took(performance, 0, 1000, 1);
  ck_assert_double_eq_tol(pare__performance_seconds(performance, 0, 0, 1000), 1, 1e-9);
  took(performance, 0, 1000, 0.1);
  took(performance, 0, 1000, 0.1);
  ck_assert_double_eq_tol(pare__performance_seconds(performance, 0, 0, 1000), 0.1, 1e-9);
  pare__performance_close(performance);
}
END_TEST

/* Sizes that are nearly equal say nothing of the slope, however their times differ. */
START_TEST(noise_is_no_slope) {
  for (uint64_t seed = 1; seed <= 100; seed++) {
    uint64_t random = seed;
    pare__performance *performance = one_line(1, NULL);
    for (int i = 0; i < 16; i++)
      took(performance, 0, 1000 + 50 * pare__random_unit(&random), 1e-3 * (1 + 0.1 * pare__random_unit(&random)));
    const double predicted = pare__performance_seconds(performance, 0, 0, 10000);
    ck_assert_msg(predicted > 0.9e-2 && predicted < 1.15e-2, "seed %d: predicted %g", (int)seed, predicted);
    pare__performance_close(performance);
  }
}
END_TEST

/* All is three times as fast, and only one size was seen: so is the launch. */
START_TEST(what_was_known_of_a_launch_is_kept_in_proportion) {
  pare__performance *performance = one_line(1, NULL);
  size_t nwrong = 0;
  pare__performance_set(performance, 0, 0, 1e-3, 1e-6);
  for (int i = 0; i < 16; i++) nwrong += took(performance, 0, 4000, (1e-3 + 4e-3) / 3);
  ck_assert_uint_ge(nwrong, 1);
  for (double n = 500; n <= 16000; n *= 2) {
    const double predicted = pare__performance_seconds(performance, 0, 0, n), right = (1e-3 + 1e-6 * n) / 3;
    ck_assert_msg(fabs(predicted / right - 1) < 0.01, "%g units: predicted %g, and they take %g", n, predicted, right);
  }
  /* but a launch is never most of what was seen: else more work would seem to cost nothing */
  pare__performance_set(performance, 0, 0, 1e-3, 1e-9);
  for (int i = 0; i < 16; i++) took(performance, 0, 1000, 0.8e-3 - 1e-5 * i);
  ck_assert(pare__performance_seconds(performance, 0, 0, 1e6) > 0.1);
  pare__performance_close(performance);
}
END_TEST

/* Work that grows faster than its size: the line through it begins below zero, and nothing takes less than nothing. */
START_TEST(nothing_takes_less_than_no_time) {
  pare__performance *performance = one_line(1, NULL);
  for (int i = 1; i <= 32; i++) took(performance, 0, 100.0 * (i % 16 + 1), 1e-8 * 1e4 * (i % 16 + 1) * (i % 16 + 1));
  ck_assert(performance->a[0] >= 0 && performance->b[0] > 0);
  pare__performance_close(performance);
}
END_TEST

/* One device's samples say something of others that nothing is known of, and of no other. */
START_TEST(what_is_known_is_not_guessed_again) {
  static const double weight[] = {1, 3, 3};
  pare__performance *performance = one_line(3, weight);
  pare__performance_set(performance, 0, 1, 1e-3, 7e-6);
  ck_assert(!pare__performance_observed(performance, 0, 1));
  observe(performance, 0, 10, 0, 6e-6, 5);
  ck_assert(performance->a[1] == 1e-3 && performance->b[1] == 7e-6);
  ck_assert_double_eq_tol(performance->b[2], 2e-6, 1e-7);
  ck_assert(pare__performance_observed(performance, 0, 0) && !pare__performance_observed(performance, 0, 2));
  /* what is set again stands for what was observed before */
  pare__performance_set(performance, 0, 0, 0, 1);
  ck_assert(!pare__performance_observed(performance, 0, 0));
  pare__performance_close(performance);
}
END_TEST

/* Of a clock that went back, or of pieces that were not timed. */
START_TEST(times_that_cannot_be_teach_nothing) {
  static const double wrong[][2] = {{0, 1}, {-1, 1}, {NAN, 1}, {INFINITY, 1}, {1, 0}, {1, -1}, {1, NAN}, {1, INFINITY}};
  pare__performance *performance = one_line(1, NULL);
  for (int known = 0; known <= 1; known++) {
    const double a = performance->a[0], b = performance->b[0];
    for (size_t i = 0; i < 10 * PARE__COUNT(wrong); i++)
      took(performance, 0, wrong[i % PARE__COUNT(wrong)][0], wrong[i % PARE__COUNT(wrong)][1]);
    ck_assert(performance->a[0] == a && performance->b[0] == b && performance->relearned == 0);
    ck_assert_int_eq(pare__performance_observed(performance, 0, 0), known);
    observe(performance, 0, 20, 1e-3, 1e-6, 5);
  }
  pare__performance_close(performance);
}
END_TEST

/* ---- on disk ---- */

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
    OK(pare__performance_observe(performance, kernel, 0, 2, 1, false, &learned));
    for (int i = 0; i < PARE__MOST_KEPT_LINES / 2; i++) {
      char name[40];
      snprintf(name, sizeof name, "%d of run %d", i, run);
      OK(pare__performance_kernel(performance, name, &kernel));
      OK(pare__performance_observe(performance, kernel, 0, 1, 1, false, &learned));
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

/* ---- files that others wrote ---- */

static void write_text(const char *path, const char *text) {
  FILE *to = fopen(path, "w");
  ck_assert_ptr_nonnull(to);
  ck_assert(fputs(text, to) >= 0 && fclose(to) == 0);
}

/* Of devices a and b, the second three times as fast as far as one knows. */
static pare__performance *read_models(const char *path) {
  static const char *const key[] = {"a", "b"};
  static const double weight[] = {1, 3};
  pare__performance *performance = one_line(2, weight);
  OK(pare__performance_read(performance, path, key));
  return performance;
}

static void write_models(pare__performance *performance, const char *path) {
  static const char *const key[] = {"a", "b"};
  OK(pare__performance_write(performance, path, key));
  pare__performance_close(performance);
}

#define DEVICES(of_a) "\"devices\": {\"a\": {\"gemm\": " of_a "}}}"
#define LINE "{\"a\": 0.5, \"b\": 0.25}"

/* What cannot be is learned anew, a line or the whole file, and the file is right again when it was written. */
START_TEST(what_cannot_be_a_line_is_learned_anew) {
  static const struct {
    const char *text;
    bool right;
  } file[] = {{"{\"pare-performance\": 1, " DEVICES(LINE), true},
              {"{\"pare-performance\": 2, " DEVICES(LINE), true},
              {"{\"pare-performance\": 2, " DEVICES("{\"a\": 0, \"b\": 0.25}"), true},
              {"{\"pare-performance\": 3, " DEVICES(LINE), false},
              {"{\"pare-performance\": 0, " DEVICES(LINE), false},
              {"{\"pare-performance\": \"2\", " DEVICES(LINE), false},
              {"{" DEVICES(LINE), false},
              {"{\"pare-performance\": 2, " DEVICES(LINE) "}", false},
              {"{\"pare-performance\": 2, \"devices\": {}, " DEVICES(LINE), false},
              {"{\"pare-performance\": 2, \"devices\": [7]}", false},
              {"{\"pare-performance\": 2, \"devices\": {\"a\": 7}}", false},
              {"{\"pare-performance\": 2, \"devices\": {\"a\": {\"gemm\": 7}}}", false},
              {"{\"pare-performance\": 2, " DEVICES("{\"a\": -0.5, \"b\": 0.25}"), false},
              {"{\"pare-performance\": 2, " DEVICES("{\"a\": 0.5, \"b\": 0}"), false},
              {"{\"pare-performance\": 2, " DEVICES("{\"a\": 0.5, \"b\": -1}"), false},
              {"{\"pare-performance\": 2, " DEVICES("{\"a\": \"x\", \"b\": 0.25}"), false},
              {"{\"pare-performance\": 2, " DEVICES("{\"b\": 0.25}"), false},
              {"[]", false},
              {"", false}};
  char path[] = "/tmp/pare-performance.XXXXXX";
  const int descriptor = mkstemp(path);
  ck_assert(descriptor >= 0 && close(descriptor) == 0);
  for (size_t i = 0; i < PARE__COUNT(file); i++) {
    write_text(path, file[i].text);
    pare__performance *performance = read_models(path);
    ck_assert_msg((performance->samples[0] != NULL) == file[i].right, "%s", file[i].text);
    /* what is read of one device says something of the other */
    ck_assert_double_eq_tol(performance->b[1], (file[i].right ? 0.25 : 1.0) / 3, 1e-9);
    pare__performance_set(performance, 0, 0, 0.75, 0.125);
    observe(performance, 0, 1, 0.75, 0.125, 1);
    write_models(performance, path);
    performance = read_models(path);
    ck_assert_msg(performance->a[0] == 0.75 && performance->b[0] == 0.125, "after %s", file[i].text);
    pare__performance_close(performance);
  }
  /* one that goes on and on */
  static char blanks[1 << 20];
  FILE *to = fopen(path, "w");
  ck_assert_ptr_nonnull(to);
  fputs("{\"pare-performance\": 2, " DEVICES(LINE), to);
  memset(blanks, ' ', sizeof blanks);
  for (int i = 0; i < 64; i++) ck_assert_uint_eq(fwrite(blanks, 1, sizeof blanks, to), sizeof blanks);
  ck_assert_int_eq(fclose(to), 0);
  pare__performance *performance = read_models(path);
  ck_assert_ptr_null(performance->samples[0]);
  pare__performance_close(performance);
  remove(path);
}
END_TEST

static json_int_t used_in(const char *path, const char *device, const char *kernel) {
  json_t *all = json_load_file(path, 0, NULL);
  const json_t *line = json_object_get(json_object_get(json_object_get(all, "devices"), device), kernel);
  const json_int_t used = line ? json_integer_value(json_object_get(line, "used")) : -1;
  json_decref(all);
  return used;
}

/* A line that was read, and not observed, is not used; writes are counted, from wherever the file is. */
START_TEST(a_line_is_used_when_it_is_observed) {
  static const struct {
    const char *writes;
    json_int_t next;
  } counted[] = {{"\"writes\": 7, ", 8}, {"", 1}, {"\"writes\": -3, ", 1}, {"\"writes\": 9223372036854775807, ", 1}};
  char path[] = "/tmp/pare-performance.XXXXXX", text[300];
  const int descriptor = mkstemp(path);
  ck_assert(descriptor >= 0 && close(descriptor) == 0);
  for (size_t i = 0; i < PARE__COUNT(counted); i++) {
    (void)snprintf(
        text, sizeof text,
        "{\"pare-performance\": 2, %s\"devices\": {\"a\": {\"gemm\": {\"a\": 0.5, \"b\": 0.25, \"used\": 5}},"
        "\"b\": {\"gemm\": {\"a\": 0.5, \"b\": 0.25, \"used\": 5}}}}",
        counted[i].writes);
    write_text(path, text);
    pare__performance *performance = read_models(path);
    observe(performance, 1, 1, 0.5, 0.25, 1);
    write_models(performance, path);
    ck_assert_int_eq(used_in(path, "a", "gemm"), 5);
    ck_assert_int_eq(used_in(path, "b", "gemm"), counted[i].next);
  }
  remove(path);
}
END_TEST

/* Of a full file exactly as many stay, and a device stays for any of its lines. */
START_TEST(what_was_used_longest_ago_goes) {
  char path[] = "/tmp/pare-performance.XXXXXX", name[40];
  const int descriptor = mkstemp(path);
  FILE *to = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
  ck_assert_ptr_nonnull(to);
  fputs("{\"pare-performance\": 2, \"writes\": 9, \"devices\": {\"a\": {", to);
  for (int i = 0; i < PARE__MOST_KEPT_LINES; i++) /* one that is older than all, some that are newer */
    fprintf(to, "%s\"k%d\": {\"a\": 0.5, \"b\": 0.25, \"used\": %d}", i ? ", " : "", i, i == 500 ? 2 : i < 100 ? 4 : 3);
  fputs("}", to);
  for (int i = 1; i < PARE__MOST_KEPT_DEVICES + 2; i++) /* the last line of each is old */
    fprintf(
        to,
        ", \"d%d\": {\"j\": {\"a\": 0.5, \"b\": 0.25, \"used\": %d}, \"k\": {\"a\": 0.5, \"b\": 0.25, \"used\": 1}}", i,
        i == 20 ? 2 : 3);
  fputs("}}", to);
  ck_assert_int_eq(fclose(to), 0);
  pare__performance *performance = read_models(path);
  observe(performance, 0, 1, 0.5, 0.25, 1); /* "gemm" is new; b is as well, and nothing is known of it */
  write_models(performance, path);
  ck_assert_uint_eq(lines_of(path, "a"), PARE__MOST_KEPT_LINES);
  ck_assert_int_eq(used_in(path, "a", "gemm"), 10);
  ck_assert_int_eq(used_in(path, "a", "k500"), -1);
  for (int i = 0; i < 100; i++) {
    (void)snprintf(name, sizeof name, "k%d", i);
    ck_assert_int_eq(used_in(path, "a", name), 4);
  }
  json_t *all = json_load_file(path, 0, NULL), *devices = json_object_get(all, "devices");
  ck_assert_uint_eq(json_object_size(devices), PARE__MOST_KEPT_DEVICES);
  ck_assert_ptr_null(json_object_get(devices, "d20"));
  ck_assert_ptr_nonnull(json_object_get(devices, "a"));
  json_decref(all);
  remove(path);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("performance");
  tcase_set_timeout(laws, 120);
  tcase_add_test(laws, a_line_is_learned_though_samples_are_disturbed);
  tcase_add_test(laws, a_wrong_line_is_noticed_and_learned_again);
  tcase_add_test(laws, uneven_work_is_a_proportion);
  tcase_add_test(laws, weights_are_the_first_guess);
  tcase_add_test(laws, models_are_kept_on_disk);
  tcase_add_test(laws, models_on_disk_are_bounded_and_what_is_used_stays);
  tcase_add_test(laws, a_line_is_wrong_from_a_quarter_on);
  tcase_add_test(laws, three_samples_are_enough_for_a_guess);
  tcase_add_test(laws, noise_is_no_slope);
  tcase_add_test(laws, what_was_known_of_a_launch_is_kept_in_proportion);
  tcase_add_test(laws, nothing_takes_less_than_no_time);
  tcase_add_test(laws, what_is_known_is_not_guessed_again);
  tcase_add_test(laws, times_that_cannot_be_teach_nothing);
  tcase_add_test(laws, what_cannot_be_a_line_is_learned_anew);
  tcase_add_test(laws, a_line_is_used_when_it_is_observed);
  tcase_add_test(laws, what_was_used_longest_ago_goes);
  return run_tests("performance", laws);
}
