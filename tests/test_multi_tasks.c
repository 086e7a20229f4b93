/* Tasks of users, with a kernel of their own, on several devices. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/normalise.h>
#include <pare/task.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "operations.h"
#include "tensor/context.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

static const char *kernel_file(void) {
  static char path[600];
  const char *folder = getenv("srcdir");
  (void)snprintf(path, sizeof path, "%.500s/doc/examples/task.cl", folder ? folder : "..");
  return path;
}

static size_t nnumbers = 2; /* as many as the kernel has parameters for */
static pare_status scale_rows(pare_context *in, pare_tensor *from, pare_tensor *to, const char *entry, unsigned classes,
                              pare_task *const *after, pare_task **out) {
  const pare_task_tensor tensors[] = {{from, PARE_ACCESS_READ, 0, 1}, {to, PARE_ACCESS_WRITE, 0, 1}};
  const pare_task_number numbers[] = {{PARE_I32, {.i32 = COLUMNS}}, {PARE_F32, {.f32 = 1e-6F}}};
  pare_task_options options = PARE_TASK_OPTIONS_INIT;
  options.file = kernel_file();
  options.entry = entry;
  options.tensor = tensors;
  options.ntensors = 2;
  options.number = numbers;
  options.nnumbers = nnumbers;
  options.n = ROWS;
  options.grain = 8;
  options.group_items = 4;
  options.classes = classes;
  options.after = after;
  options.nafter = after ? 1 : 0;
  return pare_task_submit(in, &options, out);
}

static float *tasks_in(pare_context *in) {
  operands o = operands_in(in);
  pare_task *first, *second;
  OK(scale_rows(in, o.x, o.y, "scale_rows", PARE_CLASS_CPU, NULL, &first));
  OK(scale_rows(in, o.y, o.y, "scale_rows", 0, &first, &second));
  OK(pare_task_wait(second));
  pare_task_close(first);
  pare_task_close(second);
  float *values = floats_of(o.y);
  operands_close(&o);
  return values;
}

START_TEST(own_kernels_are_divided) {
  pare_context *in = open_several(NULL);
  pare__context_split(in, 5);
  float *want = tasks_in(context), *got = tasks_in(in);
  ck_assert_mem_eq(want, got, MOST_VALUES * sizeof *want);
  free(want);
  free(got);
  close_several();
}
END_TEST

START_TEST(wrong_tasks_are_told) {
  pare_context *both[] = {context, open_several(NULL)};
  for (size_t i = 0; i < PARE__COUNT(both); i++) {
    operands o = operands_in(both[i]);
    pare_task *task;
    ck_assert_int_eq(scale_rows(both[i], o.x, o.y, "scale_rows", PARE_CLASS_GPU, NULL, &task), PARE_ERR_ARGUMENT);
    ck_assert_ptr_null(task);
    ck_assert_int_eq(scale_rows(both[i], o.square, o.y, "scale_rows", 0, NULL, &task), PARE_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(pare_message(), "do not cover"));
    OK(scale_rows(both[i], o.x, o.y, "no_such_kernel", 0, NULL, &task));
    ck_assert_int_eq(pare_task_wait(task), PARE_ERR_KERNEL);
    ck_assert_ptr_nonnull(strstr(pare_message(), "no_such_kernel"));
    ck_assert_int_eq(pare_context_wait(both[i]), PARE_ERR_KERNEL);
    pare_task_close(task);
    /* over what failed before: this failure is told, and it is no device's */
    nnumbers = 0;
    OK(scale_rows(both[i], o.x, o.y, "scale_rows", 0, NULL, &task));
    nnumbers = 2;
    ck_assert_int_eq(pare_task_wait(task), PARE_ERR_KERNEL);
    ck_assert_ptr_nonnull(strstr(pare_message(), "clSetKernelArg(scale_rows"));
    ck_assert_int_eq(pare_context_wait(both[i]), PARE_ERR_KERNEL);
    pare_task_close(task);
    OK(pare_unary(PARE_UNARY_tanh, o.x, o.y)); /* what is written anew is healed */
    free(floats_of(o.y));
    OK(scale_rows(both[i], o.x, o.y, "scale_rows", 0, NULL, &task));
    OK(pare_task_wait(task));
    pare_task_close(task);
    OK(pare_context_wait(both[i]));
    operands_close(&o);
  }
  close_several();
}
END_TEST

/* Of no rows: tasks are refused, operations have nothing to do. */
START_TEST(a_split_of_no_rows_is_told_or_done) {
  const int64_t none[] = {0, COLUMNS}, square[] = {COLUMNS, COLUMNS};
  pare_context *in = open_several(NULL);
  pare__context_split(in, 4);
  pare_tensor *x, *w, *y;
  OK(pare_tensor_create(in, PARE_F32, 2, none, &x));
  OK(pare_tensor_create(in, PARE_F32, 2, none, &y));
  OK(pare_tensor_create(in, PARE_F32, 2, square, &w));
  const pare_task_tensor tensors[] = {{x, PARE_ACCESS_READ, 0, 1}, {y, PARE_ACCESS_WRITE, 0, 1}};
  pare_task_options options = PARE_TASK_OPTIONS_INIT;
  options.file = kernel_file();
  options.entry = "scale_rows";
  options.tensor = tensors;
  options.ntensors = 2;
  options.n = 0;
  ck_assert_int_eq(pare_task_submit(in, &options, NULL), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "n must be 1 or more"));
  OK(pare_unary(PARE_UNARY_tanh, x, y));
  OK(pare_softmax(x, 1, y));
  OK(pare_gemm(x, w, NULL, NULL, y));
  OK(pare_context_wait(in));
  OK(pare_tensor_read(y, NULL, 0));
  pare_tensor_close(x);
  pare_tensor_close(w);
  pare_tensor_close(y);
  close_several();
}
END_TEST

int main(void) {
  if (!can_be_halved()) return 77;
  TCase *tests = tcase_create("multi_tasks");
  tcase_add_checked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, own_kernels_are_divided);
  tcase_add_test(tests, wrong_tasks_are_told);
  tcase_add_test(tests, a_split_of_no_rows_is_told_or_done);
  return run_tests("multi_tasks", tests);
}
