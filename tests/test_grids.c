/* Grids on PoCL: one that grows while the kernel runs on other devices, groups that the caller leaves open.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "ocl/ocl.h"
#include "run.h"

enum { DEVICES = 4, ROUNDS = 6, GROUP = 16, STEPS = 3000000, SKIPPED = 77 };

static char folder[] = "/tmp/pare-test-grids-XXXXXX";
static pare_device_choice choice[DEVICES];

/* One device's launch of a round: larger than that of the device before, and begun a little later. */
typedef struct side {
  int number, round;
  size_t ngroups;
  pare__device *device;
  pare_status status;
  char message[300];
  bool right;
} side;

static uint32_t expected(uint32_t x) {
  for (int i = 0; i < STEPS; i++) x = x * 1664525u + 1013904223u;
  return x;
}

static pare_status launch(side *one, uint32_t *out) {
  char options[40];
  pare__program *program;
  pare__kernel *kernel;
  pare__buffer *buffer;
  pare__args args = {.count = 0};
  const size_t items = one->ngroups * GROUP, group = GROUP;
  snprintf(options, sizeof options, "-DSTEPS=%d -DROUND=%d", STEPS, one->round);
  PARE__TRY(pare__program_get(one->device, "steps.cl", options, &program));
  PARE__TRY(pare__kernel_get(program, "steps", &kernel));
  PARE__TRY(pare__buffer_create(one->device, items * sizeof *out, "steps", &buffer));
  pare__arg_mem(&args, pare__buffer_mem(buffer));
  usleep((useconds_t)(3000 * one->number));
  pare_status status = pare__launch(one->device, kernel, 1, &items, &group, &args);
  if (status == PARE_OK) status = pare__buffer_read(buffer, 0, items * sizeof *out, out);
  pare__buffer_release(buffer);
  return status;
}

static void *run_side(void *argument) {
  side *one = argument;
  uint32_t *out = calloc(one->ngroups * GROUP, sizeof *out);
  one->status = launch(one, out);
  snprintf(one->message, sizeof one->message, "%.290s", pare_message());
  one->right = out[0] == expected(0) && out[one->ngroups * GROUP - 1] == expected((uint32_t)one->ngroups * GROUP - 1);
  free(out);
  return NULL;
}

/* Drivers end the process where they lose count. */
START_TEST(grids_may_grow_on_one_device_while_others_run_the_kernel) {
  pare_device_list *list;
  pare__device *device[DEVICES];
  OK(pare_device_list_open(false, &list));
  for (int i = 0; i < DEVICES; i++) OK(pare__device_open(list, &choice[i], 0, &device[i]));
  for (int round = 0; round < ROUNDS; round++) {
    side sides[DEVICES];
    pthread_t thread[DEVICES];
    for (int i = 0; i < DEVICES; i++) {
      const size_t ngroups = round % 2 == 0 ? (size_t)i + 1 : (size_t)(2 * round + i);
      sides[i] = (side){.number = i, .round = round / 2, .ngroups = ngroups, .device = device[i]};
      ck_assert_int_eq(pthread_create(&thread[i], NULL, run_side, &sides[i]), 0);
    }
    for (int i = 0; i < DEVICES; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < DEVICES; i++) {
      ck_assert_msg(sides[i].status == PARE_OK, "%s", sides[i].message);
      ck_assert(sides[i].right);
    }
  }
  for (int i = 0; i < DEVICES; i++) pare__device_close(device[i]);
  pare_device_list_close(list);
}
END_TEST

/* A kernel is compiled for each size, so they are few: all that divides up to 64, and a power of two where that will
 * do.
 */
START_TEST(a_group_that_is_left_open_divides_the_grid) {
  static const struct {
    size_t items;
    uint32_t group;
  } rows[] = {{1, 1}, {2, 2}, {7, 7}, {8, 8}, {24, 8}, {36, 36}, {64, 64}, {97, 1}, {100, 50}, {4096, 64}, {4099, 1}};
  pare_device_list *list;
  pare__device *device;
  pare__program *program;
  pare__kernel *kernel;
  pare__buffer *buffer;
  uint32_t out[2 * 4099];
  OK(pare_device_list_open(false, &list));
  OK(pare__device_open(list, &choice[0], 0, &device));
  OK(pare__buffer_create(device, sizeof out, "groups", &buffer));
  OK(pare__program_get(device, "steps.cl", "-DSTEPS=0", &program));
  OK(pare__kernel_get(program, "groups", &kernel));
  for (size_t i = 0; i < PARE__COUNT(rows); i++) {
    pare__args args = {.count = 0};
    memset(out, 0, sizeof out);
    OK(pare__buffer_write(buffer, 0, sizeof out, out));
    pare__arg_mem(&args, pare__buffer_mem(buffer));
    OK(pare__launch(device, kernel, 1, &rows[i].items, NULL, &args));
    OK(pare__buffer_read(buffer, 0, sizeof out, out));
    for (size_t k = 0; k < sizeof out / sizeof *out / 2; k++) {
      ck_assert_uint_eq(out[2 * k], k < rows[i].items ? k + 1 : 0);
      ck_assert_uint_eq(out[2 * k + 1], k < rows[i].items ? rows[i].group : 0);
    }
  }
  pare__buffer_release(buffer);
  pare__device_close(device);
  pare_device_list_close(list);
}
END_TEST

static void write_kernel(void) {
  FILE *file = fopen(path_in(folder, "steps.cl"), "w");
  ck_assert_ptr_nonnull(file);
  fputs("__kernel void steps(__global uint *out) {\n"
        "  uint x = get_global_id(0);\n"
        "  for (int i = 0; i < STEPS; i++) x = x * 1664525u + 1013904223u;\n"
        "  out[get_global_id(0)] = x;\n"
        "}\n"
        "__kernel void groups(__global uint *out) {\n"
        "  out[2 * get_global_id(0)] += get_global_id(0) + 1;\n"
        "  out[2 * get_global_id(0) + 1] = get_local_size(0);\n"
        "}\n",
        file);
  fclose(file);
  char path[sizeof folder + sizeof PARE_SOURCE_FOLDER + 8];
  snprintf(path, sizeof path, "%s:%s/cl", folder, PARE_SOURCE_FOLDER);
  setenv("PARE_KERNEL_PATH", path, 1);
}

static bool choose_devices(void) {
  pare_device_list *list;
  size_t count = 0;
  if (pare_device_list_open(false, &list) != PARE_OK) return false;
  if (pare_device_list_select(list, "pocl/1+1+1+1", DEVICES, choice, &count) != PARE_OK) count = 0;
  pare_device_list_close(list);
  return count == DEVICES;
}

int main(void) {
  setenv("POCL_MAX_PTHREAD_COUNT", "4", 1); /* as many parts, whatever the machine has */
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  if (!choose_devices()) {
    printf("test_grids: there is no device of PoCL\n");
    return remove_folder(folder, SKIPPED);
  }
  TCase *tests = tcase_create("grids");
  tcase_set_timeout(tests, 120);
  tcase_add_unchecked_fixture(tests, write_kernel, NULL);
  tcase_add_test(tests, grids_may_grow_on_one_device_while_others_run_the_kernel);
  tcase_add_test(tests, a_group_that_is_left_open_divides_the_grid);
  return remove_folder(folder, run_tests("grids", tests));
}
