/* What every test program shares. SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>

int run_tests(const char *name, TCase *tests) {
  Suite *suite = suite_create(name);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_ENV);
  int nfailed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return nfailed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

bool every_combination(void) { return getenv("PARE_TEST_ALL") != NULL; }

int remove_folder(const char *folder, int status) {
  char command[300];
  int length = snprintf(command, sizeof command, "rm -rf '%s'", folder);
  return length > 0 && (size_t)length < sizeof command && system(command) == 0 ? status : EXIT_FAILURE;
}

uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525U + 1013904223U;
  return *state >> 8;
}

const char *path_in(const char *folder, const char *name) {
  static char paths[8][160];
  static unsigned next;
  char *path = paths[next++ % 8];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}
