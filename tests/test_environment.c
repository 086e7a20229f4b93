/* What surrounds the library is broken: memory, cache folders, kernel files, settings.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Without arguments a sample of the allocations fails; with "all" every single one does. */
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault/system.h"
#include "run.h"
#include "workload.h"

enum { SEED = 3, SAMPLE = 40 };

static bool all_allocations;
static char folder[] = "/tmp/pare-test-environment-XXXXXX";
static char cache[80], other[80];
static unsigned nwarnings;
static char last_warning[512];

static void count_warnings(pare_log_level level, const char *line, void *user) {
  (void)user;
  if (level > PARE_LOG_WARN) return;
  nwarnings++;
  snprintf(last_warning, sizeof last_warning, "%s", line);
}

static pare_status open_and_compute(workload_result *result) {
  pare_context *context;
  pare_status status = pare_context_open(NULL, &context);
  if (status == PARE_OK) status = workload_compute(context, SEED, result);
  pare_context_close(context);
  return status;
}

static void expect_right(const char *when) {
  workload_result result;
  pare_status status = open_and_compute(&result);
  ck_assert_msg(status == PARE_OK, "%s: %s: %s", when, pare_status_name(status), pare_message());
  ck_assert_msg(workload_is_right(SEED, &result), "%s: wrong results", when);
}

static void start(void) {
  setenv("PARE_CACHE", cache, 1);
  unsetenv("PARE_KERNEL_PATH");
  unsetenv("PARE_MEMORY");
  nwarnings = 0;
  pare_log_set(count_warnings, NULL, PARE_LOG_WARN);
}

static void stop(void) {
  system_fill_disk(false);
  system_fail_allocation(0);
  start();
  pare_log_set(NULL, NULL, PARE_LOG_ERROR);
}

/* ---- memory ---- */

static void fail_one_allocation(unsigned long nth) {
  workload_result result;
  system_fail_allocation(nth);
  pare_status status = open_and_compute(&result);
  system_fail_allocation(0);
  /* What serves speed only (the cache, the log) may do without. */
  if (status == PARE_OK) {
    ck_assert_msg(workload_is_right(SEED, &result), "allocation %lu fails: wrong results", nth);
    return;
  }
  ck_assert_msg(status == PARE_ERR_MEMORY && strstr(pare_message(), "out of memory") != NULL,
                "allocation %lu fails: %s: %s", nth, pare_status_name(status), pare_message());
}

START_TEST(every_allocation_that_fails_is_told) {
  expect_right("to fill the cache");
  system_fail_allocation(0);
  expect_right("to count");
  unsigned long count = system_allocations(), step = all_allocations || count < SAMPLE ? 1 : count / SAMPLE;
  for (unsigned long n = 1; n <= count; n += step) fail_one_allocation(n);
  expect_right("afterwards");
}
END_TEST

START_TEST(the_limit_in_the_environment_counts) {
  pare_context *context;
  setenv("PARE_MEMORY", "16KiB", 1);
  ck_assert_int_eq(pare_context_open(NULL, &context), PARE_OK);
  pare_tensor *tensor;
  ck_assert_int_eq(pare_tensor_create(context, PARE_F32, 1, (const int64_t[]){8192}, &tensor), PARE_ERR_LIMIT);
  ck_assert_ptr_null(tensor);
  ck_assert_msg(strstr(pare_message(), "16") != NULL, "the limit is not in \"%s\"", pare_message());
  ck_assert_int_eq(pare_tensor_create(context, PARE_F32, 1, (const int64_t[]){1024}, &tensor), PARE_OK);
  pare_tensor_close(tensor);
  pare_context_close(context);
  setenv("PARE_MEMORY", "plenty", 1);
  ck_assert_int_eq(pare_context_open(NULL, &context), PARE_ERR_ARGUMENT);
  ck_assert_msg(strstr(pare_message(), "plenty") != NULL, "the text is not in \"%s\"", pare_message());
}
END_TEST

/* ---- the cache: a warning, and no cache ---- */

static void expect_a_warning(const char *when) {
  expect_right(when);
  ck_assert_msg(nwarnings > 0, "%s: no warning", when);
}

START_TEST(a_cache_folder_that_cannot_be_made) {
  snprintf(other, sizeof other, "%s/file/below", folder);
  setenv("PARE_CACHE", other, 1);
  expect_a_warning("the cache folder lies below a file");
}
END_TEST

/* Root may write in any folder but those of the kernel. */
START_TEST(a_read_only_cache_folder) {
  snprintf(other, sizeof other, "%s/read-only", folder);
  ck_assert_int_eq(mkdir(other, 0555), 0);
  setenv("PARE_CACHE", geteuid() != 0 ? other : "/proc/self", 1);
  expect_a_warning("the cache folder is read-only");
  ck_assert_int_eq(chmod(other, 0755), 0);
}
END_TEST

START_TEST(a_full_disk) {
  snprintf(other, sizeof other, "%s/full", folder);
  setenv("PARE_CACHE", other, 1);
  system_fill_disk(true);
  expect_a_warning("the disk is full");
  system_fill_disk(false);
  uint64_t nremoved;
  ck_assert_int_eq(pare_cache_clear(&nremoved), PARE_OK);
  ck_assert_msg(nremoved == 0, "%lu entries were kept on a full disk", (unsigned long)nremoved);
}
END_TEST

/* ---- kernel files ---- */

static void expect_kernel_error(const char *when, pare_status expected, const char *words) {
  workload_result result;
  setenv("PARE_CACHE", other, 1);
  pare_status status = open_and_compute(&result);
  ck_assert_msg(status == expected, "%s: %s: %s", when, pare_status_name(status), pare_message());
  ck_assert_msg(strstr(pare_message(), words) != NULL, "%s: no \"%s\" in \"%s\"", when, words, pare_message());
}

START_TEST(a_kernel_folder_without_kernels) {
  snprintf(other, sizeof other, "%s/no-kernels", folder);
  ck_assert_int_eq(mkdir(other, 0755), 0);
  setenv("PARE_KERNEL_PATH", other, 1);
  expect_kernel_error("an empty folder", PARE_ERR_KERNEL, other);
}
END_TEST

/* Every kernel file is `text`; NULL: a folder, which nobody can read as a file. The kernel that devices are probed with
 * stays if `probe`. */
static void make_kernels(const char *text, bool probe) {
  char command[900];
  snprintf(other, sizeof other, "%s/%s", folder, text != NULL ? "broken-kernels" : "unreadable-kernels");
  ck_assert_int_eq(mkdir(other, 0755), 0);
  snprintf(command, sizeof command,
           "cd '%s' && for file in '%s'/cl/*.cl; do name=${file##*/};"
           "case $name in probe.cl) if %s; then cp \"$file\" .; continue; fi;; esac; %s \"$name\"; done",
           other, PARE_SOURCE_FOLDER, probe ? "true" : "false", text != NULL ? "echo \"$TEXT\" >" : "mkdir");
  setenv("TEXT", text != NULL ? text : "", 1);
  ck_assert_int_eq(system(command), 0);
  setenv("PARE_KERNEL_PATH", other, 1);
}

START_TEST(kernels_that_do_not_build) {
  make_kernels("kernel void broken(global float *out) { out[0] = nonsense; }", true);
  expect_kernel_error("nonsense in every file", PARE_ERR_KERNEL, "nonsense");
}
END_TEST

START_TEST(kernels_that_cannot_be_read) {
  make_kernels(NULL, false);
  expect_kernel_error("a folder in the place of every file", PARE_ERR_IO, "not a regular file");
}
END_TEST

static TCase *make_tests(void) {
  TCase *cases = tcase_create("broken surroundings");
  tcase_add_checked_fixture(cases, start, stop);
  tcase_add_test(cases, every_allocation_that_fails_is_told);
  tcase_add_test(cases, the_limit_in_the_environment_counts);
  tcase_add_test(cases, a_cache_folder_that_cannot_be_made);
  tcase_add_test(cases, a_read_only_cache_folder);
  tcase_add_test(cases, a_full_disk);
  tcase_add_test(cases, a_kernel_folder_without_kernels);
  tcase_add_test(cases, kernels_that_do_not_build);
  tcase_add_test(cases, kernels_that_cannot_be_read);
  return cases;
}

int main(int argc, char **argv) {
  char command[120];
  all_allocations = argc > 1 && strcmp(argv[1], "all") == 0;
  if (mkdtemp(folder) == NULL) return EXIT_FAILURE;
  snprintf(cache, sizeof cache, "%s/cache", folder);
  snprintf(command, sizeof command, "touch %s/file", folder);
  if (system(command) != 0) return EXIT_FAILURE;
  setenv("PARE_DEVICE", "cpu", 0);
  unsetenv("PARE_BINARIES");
  return remove_folder(folder, run_tests("environment", make_tests()));
}
