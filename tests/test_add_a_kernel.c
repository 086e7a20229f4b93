/* The example of doc/add-a-kernel.md, compiled as it stands there, is right. SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

extern const pare__family pare__family_axpy;

static pare_device_list *list;
static pare__device *device;

static void setup(void) {
  pare_device_choice choice;
  size_t count;
  ck_assert_msg(pare_device_list_open(false, &list) == PARE_OK, "%s", pare_message());
  ck_assert_msg(pare_device_list_select(list, NULL, 1, &choice, &count) == PARE_OK, "%s", pare_message());
  ck_assert_msg(pare__device_open(list, &choice, 0, &device) == PARE_OK, "%s", pare_message());
}

static void teardown(void) {
  pare__device_close(device);
  pare_device_list_close(list);
}

START_TEST(rows_of_the_example_are_trusted) {
  for (const pare__variant *variant = pare__family_axpy.variants; variant->name; variant++) {
    pare__verdict verdict;
    char reason[400];
    pare_status status = pare__selftest(device, &pare__family_axpy, variant, true, &verdict, reason, sizeof reason);
    ck_assert_msg(status == PARE_OK, "%s", pare_message());
    ck_assert_msg(verdict == PARE__TRUSTED || verdict == PARE__CANNOT, "%s: %s: %s", variant->name,
                  pare__verdict_name(verdict), reason);
  }
}
END_TEST

START_TEST(problems_of_the_example_are_right) {
  for (const pare__variant *variant = pare__family_axpy.variants; variant->name; variant++) {
    pare__problem problem;
    pare__verdict verdict;
    char why[400];
    ck_assert_int_eq(pare__selftest(device, &pare__family_axpy, variant, false, &verdict, why, sizeof why), PARE_OK);
    if (verdict == PARE__CANNOT) continue; /* too large a group for this device */
    for (unsigned i = 0; memset(&problem, 0, sizeof problem),
                  pare__family_axpy.problem(PARE__CASES_TEST, pare__device_info(device), i, &problem);
         i++) {
      pare__tuning tuning;
      char reason[400] = "";
      double worst = 0;
      pare__variant_defaults(pare__device_info(device), variant, &problem, &tuning);
      pare_status status =
          pare__check(device, &pare__family_axpy, variant, &tuning, &problem, i, &worst, reason, sizeof reason);
      ck_assert_msg(status == PARE_OK, "%s", pare_message());
      ck_assert_msg(worst <= 1, "%s, problem %u: %s", variant->name, i, reason);
    }
  }
}
END_TEST

int main(void) {
  setenv("PARE_KERNEL_PATH", PARE_TEST_KERNELS, 1);
  Suite *suite = suite_create("add-a-kernel");
  TCase *laws = tcase_create("laws");
  tcase_set_timeout(laws, 120);
  tcase_add_checked_fixture(laws, setup, teardown);
  tcase_add_test(laws, rows_of_the_example_are_trusted);
  tcase_add_test(laws, problems_of_the_example_are_right);
  suite_add_tcase(suite, laws);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_ENV);
  int nfailed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return nfailed != 0;
}
