/* What every test program shares. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_RUN_H
#define TESTS_RUN_H

#include <check.h>
#include <pare/status.h>
#include <stdbool.h>
#include <stdint.h>

/* At each check that holds, Check notes where a test stands, for the parent of its process: here there is none, and it
 * would be a write to a file for each element that a loop looks at. */
#define _mark_point(file, line) ((void)0)

#define OK(call) ck_assert_msg((call) == PARE_OK, "%s", pare_message())

/* Runs the tests in this process: OpenCL drivers do not survive a fork. What main returns. */
int run_tests(const char *name, TCase *tests);

/* Is PARE_TEST_ALL set? Then a test takes every combination of what it varies; else, where each costs the build of a
 * kernel, so many that each value occurs. */
bool every_combination(void);

/* 24 bits that depend on the state alone, which moves on. */
uint32_t next_random(uint32_t *state);

/* "folder/name" in static memory, a few at a time. */
const char *path_in(const char *folder, const char *name);

/* Removes a folder with all that is in it; returns `status`, or EXIT_FAILURE if that failed. */
int remove_folder(const char *folder, int status);

#endif
