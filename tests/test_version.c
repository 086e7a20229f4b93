/* The library's version is that of the package. SPDX-License-Identifier: Apache-2.0 */
#include <pare.h>
#include <stdlib.h>

#include "run.h"

START_TEST(version_is_that_of_the_package) { ck_assert_str_eq(pare_version(), PACKAGE_VERSION); }
END_TEST

int main(void) {
  TCase *cases = tcase_create("version");
  tcase_add_test(cases, version_is_that_of_the_package);
  return run_tests("version", cases);
}
