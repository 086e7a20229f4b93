/* Programs of ticketed launches: kept on disk, unless nobody wants that. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "kernel/kernel.h"

static char folder[] = "/tmp/pare-test-XXXXXX";
static int nbuilt;

static void count_built(pare_log_level level, const char *line, void *user) {
  (void)level, (void)user;
  nbuilt += strncmp(line, "built ticketed.cl", strlen("built ticketed.cl")) == 0;
}

/* Runs a ticketed launch on a device that knows nothing but what is on disk; how many programs that built. */
static int builds(void) {
  const pare__family *family = pare__family_find("ticketed");
  const int before = nbuilt;
  pare__problem problem = {.mode = 0};
  pare__tuning tuning = {{0}};
  double worst = 0;
  char reason[400];
  open_device();
  ck_assert(family->problem(PARE__CASES_SELFTEST, pare__device_info(device), 0, &problem));
  if (pare__variant_possible(pare__device_info(device), family, family->variants, &problem, reason, sizeof reason)) {
    OK(pare__check(device, family, family->variants, &tuning, &problem, 1, &worst, reason, sizeof reason));
    ck_assert_msg(worst <= 1, "%s", reason);
  }
  close_device();
  return nbuilt - before;
}

START_TEST(a_ticketed_program_is_not_kept_if_nobody_wants_it) {
  open_device();
  const bool pocl = strcmp(pare__device_info(device)->driver, "pocl") == 0; /* only PoCL has a cache of its own */
  close_device();
  pare_log_set(count_built, NULL, PARE_LOG_INFO);
  ck_assert_int_eq(setenv("PARE_BINARIES", "0", 1), 0);
  const int first = builds();
  ck_assert_int_eq(builds(), pocl ? first : 0);
  ck_assert_int_eq(unsetenv("PARE_BINARIES"), 0);
  ck_assert_int_eq(builds(), pocl ? first : 0);
  ck_assert_int_eq(builds(), 0);
  pare_log_set(NULL, NULL, PARE_LOG_ERROR);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return 99;
  setenv("PARE_CACHE", folder, 1);
  unsetenv("PARE_BINARIES");
  TCase *laws = tcase_create("ticketed");
  tcase_add_test(laws, a_ticketed_program_is_not_kept_if_nobody_wants_it);
  return remove_folder(folder, run_tests("ticketed", laws));
}
