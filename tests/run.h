/* What every test program shares. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_RUN_H
#define TESTS_RUN_H

#include <check.h>
#include <pare/status.h>

#define OK(call) ck_assert_msg((call) == PARE_OK, "%s", pare_message())

/* Runs the tests in this process: OpenCL drivers do not survive a fork. What main returns. */
int run_tests(const char *name, TCase *tests);

/* Removes a folder with all that is in it; returns `status`, or EXIT_FAILURE if that failed. */
int remove_folder(const char *folder, int status);

#endif
