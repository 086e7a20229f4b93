/* The library's version is that of the package. SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pare.h>
#include <stdlib.h>

START_TEST(version_is_that_of_the_package) { ck_assert_str_eq(pare_version(), PACKAGE_VERSION); }
END_TEST

int main(void) {
  Suite *suite = suite_create("version");
  TCase *cases = tcase_create("version");
  tcase_add_test(cases, version_is_that_of_the_package);
  suite_add_tcase(suite, cases);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int nfailed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return nfailed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
