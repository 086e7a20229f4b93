/* Every OpenCL call of a real piece of work fails once: an error that names it, nothing leaked, everything still
 * usable. SPDX-License-Identifier: Apache-2.0
 *
 * Without arguments every call fails once where kernels are in the cache, and where they are not the first two and the
 * last of every name; with "all" every single one does there as well. "all 1/2" and "all 2/2" are halves of that.
 * PARE_TEST_FAULTS=n takes one call of n. */
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "fault/fault.h"
#include "run.h"
#include "workload.h"

enum { SEED = 7, CL_RESOURCES = -5, MAX_NAMES = 200 };

static const fault_control *fault;
static bool all_calls;
static unsigned long share = 1, nshares = 1; /* this process's calls: share, share + nshares, … */
static char distrusted[300];                 /* the last line of the log that says so */
static char cache_folder[] = "/tmp/pare-test-faults-XXXXXX";

static void expect_nothing_live(const char *when) {
  for (int kind = 0; kind < FAULT_NKINDS; kind++)
    ck_assert_msg(fault->live((fault_kind)kind) == 0, "%s: %lu references to a %s are left", when,
                  fault->live((fault_kind)kind), fault->kind_name((fault_kind)kind));
  ck_assert_msg(fault->misused() == 0, "%s: an object was used after its release", when);
}

/* The message says which call failed. */
static void expect_clear_error(const char *when, pare_status status, const char *call) {
  ck_assert_msg(strstr(pare_message(), call) != NULL, "%s: %s does not name the call: \"%s\"", when,
                pare_status_name(status), pare_message());
}

static void expect_right(const char *when, pare_context *context) {
  workload_result result;
  pare_status status = workload_compute(context, SEED, &result);
  ck_assert_msg(status == PARE_OK, "%s: %s: %s", when, pare_status_name(status), pare_message());
  ck_assert_msg(workload_is_right(SEED, &result), "%s: wrong results", when);
}

/* Opens a context, computes, closes, while the nth call of this name (NULL: of all) fails. False if there was no nth
 * call. A fault that pare can do without (a release, a cached binary that is built anew) may go unnoticed, but never
 * change a result. */
static bool run_with_fault(const char *call, unsigned long nth, int code) {
  char when[160];
  const char *failed_call;
  workload_result result;
  pare_context *context = NULL;
  fault->reset();
  fault->inject(call, nth, 1, code);
  pare_status status = pare_context_open(NULL, &context);
  bool failed = fault->failed(&failed_call) != 0;
  snprintf(when, sizeof when, "call %lu of %s (%s) fails with %d, open", nth, call != NULL ? call : "all", failed_call,
           code);
  if (status != PARE_OK) {
    ck_assert_msg(failed && context == NULL, "%s: %s", when, pare_message());
    expect_clear_error(when, status, failed_call);
  } else {
    status = workload_compute(context, SEED, &result);
    bool failed_before = failed;
    failed = fault->failed(&failed_call) != 0;
    snprintf(when, sizeof when, "call %lu of %s (%s) fails with %d, compute", nth, call != NULL ? call : "all",
             failed_call, code);
    ck_assert_msg(status == PARE_OK || (failed && !failed_before), "%s: %s", when, pare_message());
    if (status != PARE_OK) {
      expect_clear_error(when, status, failed_call);
      expect_right(when, context);
    } else {
      ck_assert_msg(workload_is_right(SEED, &result), "%s: wrong results", when);
    }
  }
  pare_context_close(context);
  failed = fault->failed(NULL) != 0;
  fault->reset();
  expect_nothing_live(when);
  return failed;
}

static void run_clean(void) {
  pare_context *context;
  fault->reset();
  OK(pare_context_open(NULL, &context));
  expect_right("without faults", context);
  pare_context_close(context);
  expect_nothing_live("without faults");
}

/* Every call, or one of `step`. */
static void fail_calls(int code, unsigned long step) {
  unsigned long n = share;
  run_clean();
  while (run_with_fault(NULL, n, code)) n += nshares * step;
  run_clean();
}

static void fail_every_call(int code) { fail_calls(code, 1); }

START_TEST(every_call_out_of_resources) { fail_every_call(CL_RESOURCES); }
END_TEST

START_TEST(every_call_failing_in_its_own_way) { fail_every_call(0); }
END_TEST

static void fail_calls_of_a_model(workload_model kind, pare_executor executor, unsigned long step) {
  char path[sizeof cache_folder + 16];
  snprintf(path, sizeof path, "%s/model.onnx", cache_folder);
  ck_assert(workload_write_model(path, kind, SEED));
  workload_use_model(path, executor);
  fail_calls(CL_RESOURCES, step);
  workload_use_model(NULL, PARE_EXECUTOR_AUTO);
}

START_TEST(every_call_of_a_model_out_of_resources) {
  fail_calls_of_a_model(WORKLOAD_LAYERS, PARE_EXECUTOR_LAUNCHES, 1);
}
END_TEST

/* A convolution, quantised weights, If and Loop, run at once: every call with "all", else one of many. */
START_TEST(calls_of_a_model_that_is_run_at_once_out_of_resources) {
  fail_calls_of_a_model(WORKLOAD_AT_ONCE, PARE_EXECUTOR_LAUNCHES, all_calls ? 1 : 37);
}
END_TEST

START_TEST(every_call_of_a_ticketed_model_out_of_resources) {
  pare_context *context;
  ck_assert_int_eq(pare_context_open(NULL, &context), PARE_OK);
  const bool cpu = pare_context_device(context)->type == PARE_DEVICE_CPU;
  pare_context_close(context);
  if (cpu) fail_calls_of_a_model(WORKLOAD_LAYERS, PARE_EXECUTOR_TICKETED, 1);
}
END_TEST

static void note_distrust(pare_log_level level, const char *line, void *user) {
  (void)level;
  if (strstr(line, " is not used on ") != NULL) snprintf(user, sizeof distrusted, "%s", line);
}

/* A fault that passes must leave no trace on disk: the next run trusts every kernel. False if there was no such call.
 */
static bool run_cold_with_fault(const char *call, unsigned long nth) {
  ck_assert_int_eq(pare_cache_clear(NULL), PARE_OK);
  if (!run_with_fault(call, nth, CL_RESOURCES)) return false;
  distrusted[0] = 0;
  pare_log_set(note_distrust, distrusted, PARE_LOG_WARN);
  run_clean();
  pare_log_set(NULL, NULL, PARE_LOG_ERROR);
  ck_assert_msg(distrusted[0] == 0, "after a fault at call %lu of %s: %s", nth, call != NULL ? call : "all",
                distrusted);
  return true;
}

START_TEST(every_call_with_a_cold_cache) {
  if (all_calls) {
    for (unsigned long n = share; run_cold_with_fault(NULL, n);) n += nshares;
    return;
  }
  unsigned long made[MAX_NAMES];
  unsigned nnames = 0;
  ck_assert_int_eq(pare_cache_clear(NULL), PARE_OK);
  run_clean();
  for (; nnames < MAX_NAMES && fault->call_name(nnames) != NULL; nnames++)
    made[nnames] = fault->calls(fault->call_name(nnames));
  for (unsigned i = 0; i < nnames; i++) {
    if (made[i] >= 1) run_cold_with_fault(fault->call_name(i), 1);
    if (made[i] >= 2) run_cold_with_fault(fault->call_name(i), 2);
    if (made[i] >= 3) run_cold_with_fault(fault->call_name(i), made[i]);
  }
}
END_TEST

/* From some call on, everything fails: the device is lost. */
START_TEST(a_lost_device_is_an_error_and_nothing_more) {
  static const char *const calls[] = {"clEnqueueNDRangeKernel", "clEnqueueReadBuffer", "clFinish", "clCreateBuffer",
                                      NULL};
  run_clean();
  for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    workload_result result;
    pare_context *context = NULL;
    fault->reset();
    pare_status status = pare_context_open(NULL, &context);
    ck_assert_msg(status == PARE_OK, "%s", pare_message());
    fault->reset();
    fault->inject(calls[i], 1, 0, CL_RESOURCES);
    status = workload_compute(context, SEED, &result);
    const char *failed_call;
    if (fault->failed(&failed_call) != 0) {
      ck_assert_int_ne(status, PARE_OK);
      expect_clear_error("a lost device", status, failed_call);
    }
    pare_context_close(context);
    fault->reset();
    expect_nothing_live(calls[i] != NULL ? calls[i] : "a lost device");
  }
  run_clean();
}
END_TEST

int main(int argc, char **argv) {
  const char *why;
  all_calls = argc > 1 && strcmp(argv[1], "all") == 0;
  const char *one_of = getenv("PARE_TEST_FAULTS");
  if (one_of && !all_calls) nshares = PARE__MAX(1UL, strtoul(one_of, NULL, 10));
  if (argc > 2 && (sscanf(argv[2], "%lu/%lu", &share, &nshares) != 2 || share < 1 || share > nshares)) {
    fprintf(stderr, "usage: test_faults [all [K/N]]\n");
    return EXIT_FAILURE;
  }
  if (mkdtemp(cache_folder) == NULL || setenv("PARE_CACHE", cache_folder, 1) != 0) return EXIT_FAILURE;
  unsetenv("PARE_BINARIES");
  setenv("PARE_DEVICE", "cpu", 0);
  fault = fault_layer_load(&why);
  if (fault == NULL) {
    fprintf(stderr, "test_faults: %s\n", why);
    return EXIT_FAILURE;
  }
  TCase *cases = tcase_create("driver calls");
  tcase_add_test(cases, every_call_out_of_resources);
  tcase_add_test(cases, every_call_failing_in_its_own_way);
  tcase_add_test(cases, every_call_of_a_model_out_of_resources);
  tcase_add_test(cases, calls_of_a_model_that_is_run_at_once_out_of_resources);
  tcase_add_test(cases, every_call_of_a_ticketed_model_out_of_resources);
  tcase_add_test(cases, every_call_with_a_cold_cache);
  tcase_add_test(cases, a_lost_device_is_an_error_and_nothing_more);
  return remove_folder(cache_folder, run_tests("faults", cases));
}
