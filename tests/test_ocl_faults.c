/* Every OpenCL call of floor 1 fails once: an error or a way around it, nothing leaked, and then all works again.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "fault/fault.h"
#include "ocl/cache.h"
#include "ocl/list.h"
#include "run.h"

#define MANY_CALLS 2000

static const fault_control *fault;
static char folder[] = "/tmp/pare-test-XXXXXX";

/* What the workload got, if it got anything. */
typedef struct outcome {
  pare_status status;
  int value;
  bool finished;
} outcome;

static pare_status run_kernel(pare__device *device, pare__buffer *buffer, int *value) {
  pare__program *program;
  pare__kernel *kernel;
  pare__args args = {.count = 0};
  size_t items = 4, local = 2;
  cl_int x[4] = {1, 2, 3, 4};
  PARE__TRY(pare__buffer_write(buffer, 0, sizeof x, x));
  PARE__TRY(pare__program_get(device, "fault.cl", "-DMORE=5", &program));
  PARE__TRY(pare__kernel_get(program, "more", &kernel));
  pare__arg_mem(&args, pare__buffer_mem(buffer));
  PARE__TRY(pare__launch(device, kernel, 1, &items, &local, &args));
  PARE__TRY(pare__device_flush(device));
  PARE__TRY(pare__buffer_sync(buffer));
  PARE__TRY(pare__buffer_read(buffer, 0, sizeof x, x));
  PARE__TRY(pare__device_finish(device));
  *value = x[0] == 6 && x[3] == 9;
  return PARE_OK;
}

/* From nothing to a result and back: on half of the device if it can be divided. */
static outcome workload(void) {
  outcome result = {PARE_OK, 0, false};
  pare_device_list *list = NULL;
  pare__device *device = NULL;
  pare__buffer *buffer = NULL;
  pare_device_choice choice = {.nparts = 1, .compute_units = 1, .weight = 1};
  result.status = pare_device_list_open(false, &list);
  bool there = result.status == PARE_OK && pare_device_list_count(list) > 0;
  if (there && list->info[0].compute_units > 1 && strcmp(list->info[0].driver, "pocl") == 0) choice.nparts = 2;
  if (there) result.status = pare__device_open(list, &choice, 1 << 20, &device);
  if (device) result.status = pare__buffer_create(device, 16, "x", &buffer);
  if (buffer) result.status = run_kernel(device, buffer, &result.value);
  result.finished = buffer && result.status == PARE_OK;
  pare__buffer_release(buffer);
  pare__device_close(device);
  pare_device_list_close(list);
  return result;
}

static void check_nothing_is_left(unsigned long nth, const char *call) {
  for (int kind = 0; kind < FAULT_NKINDS; kind++)
    ck_assert_msg(fault->live((fault_kind)kind) == 0, "call %lu, %s: %lu of %s leaked", nth, call,
                  fault->live((fault_kind)kind), fault->kind_name((fault_kind)kind));
  ck_assert_uint_eq(fault->misused(), 0);
}

/* Fails call number n of all, for n = 1, step + 1, …, until the workload makes fewer. `cold`: with nothing kept on
 * disk. */
static void fail_each(bool cold, unsigned long step) {
  uint64_t removed;
  unsigned long nth;
  for (nth = 1; nth < MANY_CALLS; nth += step) {
    const char *call = "";
    if (cold) ck_assert_int_eq(pare__cache_clear(&removed), PARE_OK);
    pare__fail(PARE_OK, "%s", "");
    fault->reset();
    fault->inject(NULL, nth, 1, 0);
    outcome got = workload();
    unsigned long nfailed = fault->failed(&call);
    fault->reset();
    check_nothing_is_left(nth, call);
    if (nfailed == 0) break;
    if (got.finished)
      ck_assert_msg(got.value, "call %lu, %s: a wrong result", nth, call);
    else
      ck_assert_msg(got.status == PARE_OK || *pare_message(), "call %lu, %s: no message", nth, call);
  }
  ck_assert_uint_gt(nth, 20);
  ck_assert_uint_lt(nth, MANY_CALLS);
  outcome after = workload();
  ck_assert_msg(after.finished && after.value, "%s", pare_message());
}

START_TEST(any_call_may_fail_once) {
  outcome first = workload();
  ck_assert_msg(first.finished && first.value, "%s", pare_message());
  fail_each(false, 1);
}
END_TEST

/* Compilers are slow: a few of the calls. */
START_TEST(any_call_may_fail_while_everything_is_new) { fail_each(true, 11); }
END_TEST

/* A fault while a device is probed must not be remembered as something that it cannot do. */
START_TEST(a_fault_is_not_kept_as_a_lack) {
  pare_device_list *list, *again;
  uint64_t removed;
  ck_assert_int_eq(pare_device_list_open(true, &list), PARE_OK);
  static const char *const calls[] = {"clEnqueueNDRangeKernel", "clCreateBuffer", "clSetKernelArg",
                                      "clEnqueueReadBuffer"};
  for (size_t k = 0; k < PARE__COUNT(calls); k++) {
    ck_assert_int_eq(pare__cache_clear(&removed), PARE_OK);
    fault->reset();
    fault->inject(calls[k], 1, 0, CL_OUT_OF_RESOURCES);
    ck_assert_int_eq(pare_device_list_open(true, &again), PARE_OK);
    pare_device_list_close(again);
    fault->reset();
    ck_assert_int_eq(pare_device_list_open(true, &again), PARE_OK);
    for (size_t i = 0; i < pare_device_list_count(list); i++) {
      ck_assert(memcmp(&list->info[i].can, &again->info[i].can, sizeof list->info[i].can) == 0);
      ck_assert_int_eq(list->info[i].usable, again->info[i].usable);
    }
    pare_device_list_close(again);
  }
  pare_device_list_close(list);
}
END_TEST

/* In a process of its own, where PoCL lists two devices. */
static int several(void) {
  pare_device_list *list, *others;
  if (pare_device_list_open(false, &list) != PARE_OK) return 1;
  const size_t count = pare_device_list_count(list);
  fault->reset();
  fault->inject("clGetDeviceInfo", 1, 1, CL_OUT_OF_RESOURCES);
  if (pare_device_list_open(false, &others) != PARE_OK) return 2;
  const size_t nothers = pare_device_list_count(others);
  pare_device_list_close(list);
  pare_device_list_close(others);
  return count < 2 || nothers == count - 1 ? 0 : 3;
}

START_TEST(a_device_that_fails_hides_no_other) {
  char command[4200], self[4096];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  ck_assert_int_gt(length, 0);
  self[length] = '\0';
  snprintf(command, sizeof command, "POCL_DEVICES='pthread basic' '%s' several", self);
  ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(int argc, char **argv) {
  (void)argv;
  static const char source[] = "__kernel __attribute__((reqd_work_group_size(2, 1, 1)))\n"
                               "void more(__global int *x) { x[get_global_id(0)] += MORE; }\n";
  const char *why = "";
  char path[100], kernels[300];
  if (!mkdtemp(folder) || !(fault = fault_layer_load(&why))) {
    fprintf(stderr, "%s\n", why);
    return 77; /* the loader takes no layers */
  }
  snprintf(path, sizeof path, "%s/fault.cl", folder);
  snprintf(kernels, sizeof kernels, "%s:%s/cl", folder, PARE_SOURCE_FOLDER);
  setenv("PARE_CACHE", folder, 1);
  unsetenv("PARE_BINARIES");
  setenv("PARE_KERNEL_PATH", kernels, 1);
  if (pare__file_write(path, source, sizeof source - 1) != PARE_OK) return 99;
  if (argc > 1) return remove_folder(folder, several());
  TCase *cases = tcase_create("faults");
  tcase_add_test(cases, a_device_that_fails_hides_no_other);
  tcase_add_test(cases, any_call_may_fail_once);
  tcase_add_test(cases, any_call_may_fail_while_everything_is_new);
  tcase_add_test(cases, a_fault_is_not_kept_as_a_lack);
  return remove_folder(folder, run_tests("faults of floor 1", cases));
}
