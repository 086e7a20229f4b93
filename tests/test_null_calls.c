/* Every public function with nothing but NULL and 0: an error that names the function, never a crash.
 * SPDX-License-Identifier: Apache-2.0
 *
 * tests/tools/make-null-calls writes the rows from the public headers, so that no function is forgotten. */
#include <pare.h>
#include <pare/opencl.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* What means something without arguments. */
static bool takes_nothing(const char *function) {
  static const char *const exceptions[] = {"pare_cache_clear"};
  for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
    if (strcmp(function, exceptions[i]) == 0) return true;
  return false;
}

static void expect_told(const char *function, pare_status status) {
  if (takes_nothing(function)) return;
  ck_assert_msg(status == PARE_ERR_ARGUMENT, "%s: %s", function, pare_status_name(status));
  ck_assert_msg(strstr(pare_message(), function) != NULL, "%s is not named: \"%s\"", function, pare_message());
}

START_TEST(null_is_told) {
#define STATUS_CALL(name, call) expect_told(#name, call);
#define OTHER_CALL(name, call)
#include "tests/null_calls.h"
#undef STATUS_CALL
#undef OTHER_CALL
}
END_TEST

START_TEST(null_is_harmless) {
#define STATUS_CALL(name, call)
#define OTHER_CALL(name, call) (void)call;
#include "tests/null_calls.h"
}
END_TEST

int main(void) {
  TCase *cases = tcase_create("null calls");
  tcase_add_test(cases, null_is_told);
  tcase_add_test(cases, null_is_harmless);
  return run_tests("null calls", cases);
}
