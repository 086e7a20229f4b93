/* Listing, probing and dividing devices, on every device there is. SPDX-License-Identifier: Apache-2.0 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/path.h"
#include "ocl/child.h"
#include "ocl/list.h"
#include "ocl/probe.h"
#include "run.h"

static char cache[] = "/tmp/pare-test-XXXXXX";
static pare_device_list *list;

static void setup(void) { OK(pare_device_list_open(true, &list)); }
static void teardown(void) { pare_device_list_close(list); }

START_TEST(every_device_says_what_it_is) {
  unsigned platform = 0, index = 0;
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    const pare_device_info *info = pare_device_list_get(list, i);
    const char *const texts[] = {info->name,   info->vendor,         info->platform,
                                 info->driver, info->driver_version, info->opencl_version};
    for (size_t k = 0; k < PARE__COUNT(texts); k++) ck_assert(texts[k] && *texts[k]);
    ck_assert_ptr_nonnull(info->remark);
    ck_assert(info->compute_units > 0 && info->memory_bytes > 0 && info->max_buffer_bytes > 0 && info->local_bytes > 0);
    ck_assert_uint_le(info->max_buffer_bytes, info->memory_bytes);
    ck_assert_uint_eq(strlen(list->entry[i].key), 32);
    index = i > 0 && info->platform_index == platform ? index + 1 : 0;
    ck_assert_uint_eq(info->device_index, index);
    platform = info->platform_index;
  }
  ck_assert_ptr_null(pare_device_list_get(list, pare_device_list_count(list)));
  ck_assert_ptr_null(pare_device_list_get(NULL, 0));
  ck_assert_uint_eq(pare_device_list_count(NULL), 0);
  ck_assert_int_eq(pare_device_list_open(true, NULL), PARE_ERR_ARGUMENT);
  pare_device_list_close(NULL);
}
END_TEST

START_TEST(capabilities_agree_with_each_other) {
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    const pare_device_capabilities *can = &pare_device_list_get(list, i)->can;
    ck_assert(!can->avx2 || can->inline_assembly);
    ck_assert(!can->avx512 || can->avx2);
    ck_assert(!can->avx512_vnni || can->avx512);
    ck_assert(!can->avx512_bf16 || can->avx512);
    ck_assert(!can->amx_int8 || can->avx512_vnni);
    ck_assert(can->vector_bits == 32 || can->vector_bits == 128 || can->vector_bits == 256 || can->vector_bits == 512);
    ck_assert(can->max_loop_steps == 0 || can->max_loop_steps < PARE__PROBE_STEPS);
    ck_assert(!can->max_loop_steps || *pare_device_list_get(list, i)->remark);
  }
}
END_TEST

/* What a driver does on one device says nothing about its others. */
START_TEST(quirks_may_be_those_of_a_device) {
  const pare__quirks *pipe = pare__quirks_find("rusticl", "llvmpipe (LLVM 15.0.6, 256 bits)");
  const pare__quirks *gpu = pare__quirks_find("rusticl", "AMD Radeon RX 6700 XT");
  ck_assert_str_eq(pipe->driver, gpu->driver);
  ck_assert(pipe->soft_fma && pipe->lane_vectors && !gpu->soft_fma && !gpu->lane_vectors);
  ck_assert(!pare__quirks_find("Clover", "x")->known && !pare__quirks_find("", "x")->known);
}
END_TEST

/* llvmpipe stops the loops of a work-item early and says nothing. */
START_TEST(silent_loops_are_caught) {
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    const pare_device_info *info = pare_device_list_get(list, i);
    if (strstr(info->name, "llvmpipe")) ck_assert(info->can.max_loop_steps == 65535 || !info->usable);
  }
}
END_TEST

START_TEST(a_child_finds_the_same_as_this_process) {
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    pare__device *device;
    pare__probe_result here, child;
    OK(pare__device_open_bare(list, i, &device));
    OK(pare__probe_device(device, list->entry[i].extensions, false, &here));
    OK(pare__probe_device(device, list->entry[i].extensions, true, &child));
    ck_assert_uint_eq(here.passed, child.passed);
    ck_assert_int_eq(here.loop_steps, child.loop_steps);
    ck_assert(here.complete && child.complete);
    pare__device_close(device);
  }
}
END_TEST

START_TEST(without_the_helper_nothing_risky_is_possible) {
  setenv("PARE_TRIAL", "/nonexistent/pare-trial", 1);
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    pare__device *device;
    pare__probe_result result;
    OK(pare__device_open_bare(list, i, &device));
    ck_assert_int_eq(pare__probe_device(device, list->entry[i].extensions, true, &result), PARE_ERR_IO);
    ck_assert(strstr(pare_message(), "pare-trial") && result.passed == 0 && !result.complete);
    pare__device_close(device);
  }
  unsetenv("PARE_TRIAL");
}
END_TEST

START_TEST(a_child_that_dies_proves_nothing_possible) {
  setenv("PARE_TRIAL", "/bin/false", 1);
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    pare__device *device;
    pare__probe_result result;
    OK(pare__device_open_bare(list, i, &device));
    OK(pare__probe_device(device, list->entry[i].extensions, true, &result));
    ck_assert(result.passed == 0 && result.complete);
    pare__device_close(device);
  }
  unsetenv("PARE_TRIAL");
}
END_TEST

START_TEST(what_was_found_is_kept) {
  pare_device_list *again;
  char folder[200];
  uint64_t removed;
  snprintf(folder, sizeof folder, "%s/empty", cache);
  setenv("PARE_CACHE", folder, 1);
  double begin = pare__seconds();
  OK(pare_device_list_open(true, &again));
  double cold = pare__seconds() - begin;
  pare_device_list_close(again);
  begin = pare__seconds();
  OK(pare_device_list_open(true, &again));
  double warm = pare__seconds() - begin;
  ck_assert_msg(warm < cold / 2, "%g s the first time, %g s the second", cold, warm);
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    const pare_device_info *info = pare_device_list_get(list, i), *other = pare_device_list_get(again, i);
    ck_assert(memcmp(&info->can, &other->can, sizeof info->can) == 0);
    ck_assert_int_eq(info->usable, other->usable);
    ck_assert_str_eq(info->remark, other->remark);
  }
  pare_device_list_close(again);
  OK(pare__cache_clear(&removed));
  setenv("PARE_CACHE", cache, 1);
}
END_TEST

START_TEST(without_the_kernel_file_devices_are_still_listed) {
  pare_device_list *other;
  uint64_t removed;
  OK(pare__cache_clear(&removed));
  setenv("PARE_KERNEL_PATH", "/nonexistent", 1);
  OK(pare_device_list_open(true, &other));
  ck_assert_uint_eq(pare_device_list_count(other), pare_device_list_count(list));
  for (size_t i = 0; i < pare_device_list_count(other); i++) {
    const pare_device_choice whole = {.index = i, .nparts = 1, .compute_units = 1, .weight = 1};
    pare__device *device = (pare__device *)&whole;
    ck_assert(strstr(pare_device_list_get(other, i)->remark, "probe.cl") != NULL);
    ck_assert_int_eq(pare__device_open(other, &whole, 0, &device), PARE_ERR_KERNEL);
    ck_assert_ptr_null(device);
    ck_assert(strstr(pare_message(), "/nonexistent") != NULL);
  }
  pare_device_list_close(other);
  unsetenv("PARE_KERNEL_PATH");
}
END_TEST

static unsigned units_of(const pare__device *device) {
  cl_uint units = 0;
  ck_assert_int_eq(clGetDeviceInfo(pare__device_id(device), CL_DEVICE_MAX_COMPUTE_UNITS, sizeof units, &units, NULL),
                   CL_SUCCESS);
  return units;
}

START_TEST(parts_have_the_units_that_were_asked) {
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    cl_uint most = 0;
    clGetDeviceInfo(list->entry[i].id, CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sizeof most, &most, NULL);
    unsigned units = pare_device_list_get(list, i)->compute_units;
    if (most < 2 || units < 2) continue; /* the driver does not divide it */
    pare_device_choice choice[8];
    pare__device *device[8];
    size_t count;
    char spec[64];
    snprintf(spec, sizeof spec, "%zu/%u+1", i, units - 1);
    OK(pare_device_list_select(list, spec, PARE__COUNT(choice), choice, &count));
    ck_assert_uint_eq(count, 2);
    for (size_t k = 0; k < count; k++) {
      OK(pare__device_open(list, &choice[k], 0, &device[k]));
      ck_assert_uint_eq(units_of(device[k]), k ? 1 : units - 1);
      ck_assert_uint_eq(pare__device_info(device[k])->compute_units, units_of(device[k]));
      ck_assert_str_eq(pare__device_key(device[k]), list->entry[i].key); /* they share what is kept */
    }
    for (size_t k = 0; k < count; k++) pare__device_close(device[k]);
  }
}
END_TEST

START_TEST(a_device_opens_again_and_again) {
  for (size_t i = 0; i < pare_device_list_count(list); i++) {
    const pare_device_choice whole = {.index = i, .nparts = 1, .compute_units = 1, .weight = 1};
    for (int k = 0; k < 3; k++) {
      pare__device *device;
      OK(pare__device_open(list, &whole, 0, &device));
      OK(pare__device_finish(device));
      OK(pare__device_flush(device));
      pare__device_close(device);
    }
  }
  const pare_device_choice none = {.index = 1000, .nparts = 1, .compute_units = 1, .weight = 1};
  pare__device *device;
  ck_assert_int_eq(pare__device_open(list, &none, 0, &device), PARE_ERR_ARGUMENT);
  pare__device_close(NULL);
}
END_TEST

START_TEST(drivers_errors_have_names) {
  ck_assert_str_eq(pare__cl_name(CL_OUT_OF_RESOURCES), "CL_OUT_OF_RESOURCES");
  ck_assert_str_eq(pare__cl_name(CL_SUCCESS), "CL_SUCCESS");
  ck_assert_str_eq(pare__cl_name(-12345), "CL_UNKNOWN");
  ck_assert_int_eq(pare__fail_cl(-12345, "clMagic(%d)", 7), PARE_ERR_DEVICE);
  ck_assert_str_eq(pare_message(), "clMagic(7): CL_UNKNOWN (-12345)");
  ck_assert_int_eq(pare__fail_cl(CL_MEM_OBJECT_ALLOCATION_FAILURE, "x"), PARE_ERR_LIMIT);
}
END_TEST

/* Runs this program with `mode` in an environment that changes what the loader finds. */
static int run_child(const char *mode, const char *name, const char *value) {
  char *argv[] = {(char *)"test_devices", (char *)mode, NULL};
  const char *before = getenv(name);
  char *kept = before ? pare__strdup(before) : NULL;
  pid_t process;
  int status = -1;
  setenv(name, value, 1);
  ck_assert_int_eq(posix_spawn(&process, "/proc/self/exe", NULL, NULL, argv, environ), 0);
  if (kept)
    setenv(name, kept, 1);
  else
    unsetenv(name);
  free(kept);
  ck_assert_int_eq(waitpid(process, &status, 0), process);
  return status;
}

/* In the child: nothing is there, which is no error of the list and one of the selector. */
static int nothing_is_there(void) {
  size_t count = 1;
  pare_device_choice choice;
  if (pare_device_list_open(true, &list) != PARE_OK || pare_device_list_count(list) != 0) return 1;
  if (pare_device_list_select(list, NULL, 1, &choice, &count) != PARE_ERR_SELECTOR || count != 0) return 2;
  if (!strstr(pare_message(), "no OpenCL device")) return 3;
  pare_device_list_close(list);
  return 0;
}

/* In the child: the same driver lists two devices; parts of the environment decide which is first. */
static int several_are_there(void) {
  pare_device_choice choice[8];
  size_t count = 0;
  if (pare_device_list_open(true, &list) != PARE_OK) return 1;
  if (pare_device_list_select(list, "pocl", PARE__COUNT(choice), choice, &count) != PARE_OK || count != 2) return 2;
  for (size_t i = 0; i < count; i++) {
    pare__device *device;
    if (pare__device_open(list, &choice[i], 0, &device) != PARE_OK) return 3;
    pare__device_close(device);
  }
  pare_device_list_close(list);
  return 0;
}

START_TEST(a_machine_without_drivers_is_no_error) {
  size_t count = 0;
  pare_device_choice choice;
  if (pare_device_list_select(list, "oclgrind", 1, &choice, &count) == PARE_OK) return; /* comes without the loader */
  ck_assert_int_eq(run_child("nothing", "OCL_ICD_VENDORS", "/nonexistent/"), 0);
}
END_TEST

START_TEST(one_driver_may_list_several_devices) {
  size_t count = 0;
  pare_device_choice choice;
  if (pare_device_list_select(list, "pocl", 1, &choice, &count) != PARE_OK) return;
  ck_assert_int_eq(run_child("several", "POCL_DEVICES", "pthread basic"), 0);
}
END_TEST

int main(int argc, char **argv) {
  if (!mkdtemp(cache)) return 99;
  setenv("PARE_CACHE", cache, 1);
  unsetenv("PARE_KERNEL_PATH");
  unsetenv("PARE_DEVICE");
  if (argc > 1) return remove_folder(cache, strcmp(argv[1], "nothing") == 0 ? nothing_is_there() : several_are_there());
  TCase *cases = tcase_create("devices");
  tcase_add_checked_fixture(cases, setup, teardown);
  tcase_add_test(cases, every_device_says_what_it_is);
  tcase_add_test(cases, capabilities_agree_with_each_other);
  tcase_add_test(cases, quirks_may_be_those_of_a_device);
  tcase_add_test(cases, silent_loops_are_caught);
  tcase_add_test(cases, a_child_finds_the_same_as_this_process);
  tcase_add_test(cases, without_the_helper_nothing_risky_is_possible);
  tcase_add_test(cases, a_child_that_dies_proves_nothing_possible);
  tcase_add_test(cases, what_was_found_is_kept);
  tcase_add_test(cases, without_the_kernel_file_devices_are_still_listed);
  tcase_add_test(cases, parts_have_the_units_that_were_asked);
  tcase_add_test(cases, a_device_opens_again_and_again);
  tcase_add_test(cases, drivers_errors_have_names);
  tcase_add_test(cases, a_machine_without_drivers_is_no_error);
  tcase_add_test(cases, one_driver_may_list_several_devices);
  return remove_folder(cache, run_tests("devices", cases));
}
