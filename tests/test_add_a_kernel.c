/* The example of doc/add-a-kernel.md, compiled as it stands there, is right. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "kernel/kernel.h"

extern const pare__family pare__family_axpy;

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
  setenv("PARE_KERNEL_PATH", PARE_BUILD_FOLDER "/tests/add-a-kernel:" PARE_SOURCE_FOLDER "/cl", 1);
  TCase *laws = tcase_create("laws");
  tcase_add_checked_fixture(laws, open_device, close_device);
  tcase_add_test(laws, rows_of_the_example_are_trusted);
  tcase_add_test(laws, problems_of_the_example_are_right);
  return run_tests("add-a-kernel", laws);
}
