/* The executor: pieces, staging of tensors over the largest buffer, failed work. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "sched/sched.h"
#include "workload.h"

enum { ROWS = 37, COLUMNS = 53 };

static uint64_t real_limit;
static unsigned pieces_run;

/* Lowers the largest buffer, so that small tensors are staged. */
static void limit_buffers(uint64_t nbytes) {
  ((pare_device_info *)pare_context_device(context))->max_buffer_bytes = nbytes;
}

static void setup(void) {
  open_context();
  real_limit = pare_context_device(context)->max_buffer_bytes;
}
static void teardown(void) {
  limit_buffers(real_limit);
  close_context();
}

/* ---- a codelet: y = x + row number, on i32 [rows, columns], whose split axis is either dimension. It runs on the host
 * side of its buffers, so that this test needs no kernel. ---- */

typedef struct add_params {
  int axis;
  int fail_at; /* the piece that fails; -1: none */
} add_params;

static pare_status read_all(const pare__piece *piece, unsigned i, int32_t **out) {
  const pare__shape *shape = &piece->binding[i].shape;
  int64_t reach = piece->binding[i].offset + 1;
  for (int d = 0; d < shape->rank; d++) reach += (shape->dim[d] - 1) * shape->stride[d];
  *out = calloc((size_t)reach, sizeof **out);
  cl_int error = clEnqueueReadBuffer(pare__device_queue(piece->device), piece->binding[i].mem, CL_TRUE, 0,
                                     (size_t)reach * sizeof **out, *out, 0, NULL, NULL);
  return error == CL_SUCCESS ? PARE_OK : pare__fail_cl(error, "reading");
}

static pare_status add_run(const pare__piece *piece) {
  const add_params *params = piece->params;
  if ((int)pieces_run++ == params->fail_at) return pare__fail(PARE_ERR_DEVICE, "the device burns");
  const pare__binding *x = &piece->binding[0], *y = &piece->binding[1];
  int32_t *from, *to;
  PARE__TRY(read_all(piece, 0, &from));
  PARE__TRY(read_all(piece, 1, &to));
  int64_t first_row = params->axis == 0 ? piece->begin : 0;
  for (int64_t r = 0; r < x->shape.dim[0]; r++)
    for (int64_t c = 0; c < x->shape.dim[1]; c++)
      to[y->offset + r * y->shape.stride[0] + c * y->shape.stride[1]] =
          from[x->offset + r * x->shape.stride[0] + c * x->shape.stride[1]] + (int32_t)(first_row + r);
  int64_t reach =
      y->offset + 1 + (y->shape.dim[0] - 1) * y->shape.stride[0] + (y->shape.dim[1] - 1) * y->shape.stride[1];
  cl_int error = clEnqueueWriteBuffer(pare__device_queue(piece->device), y->mem, CL_TRUE, 0, (size_t)reach * sizeof *to,
                                      to, 0, NULL, NULL);
  free(from);
  free(to);
  return error == CL_SUCCESS ? PARE_OK : pare__fail_cl(error, "writing");
}

static const pare__codelet add_rows = {"add rows", add_run};

static pare_status submit_add(pare_tensor *x, pare_tensor *y, int axis, int fail_at) {
  add_params params = {axis, fail_at};
  pare__task task = {.codelet = &add_rows,
                     .context = context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = x->shape.dim[axis],
                     .naccesses = 2,
                     .access = {{x, PARE__READ, axis, 0}, {y, PARE__WRITE, axis, 0}}};
  pieces_run = 0;
  return pare__submit(&task);
}

static void make_pair(pare_tensor **x, pare_tensor **y) {
  int64_t shape[] = {ROWS, COLUMNS};
  int32_t data[ROWS * COLUMNS];
  for (int i = 0; i < ROWS * COLUMNS; i++) data[i] = i * 7;
  OK(pare_tensor_from(context, PARE_I32, 2, shape, data, sizeof data, x));
  memset(data, 0, sizeof data);
  OK(pare_tensor_from(context, PARE_I32, 2, shape, data, sizeof data, y));
}

static void expect_sums(pare_tensor *y) {
  int32_t got[ROWS * COLUMNS];
  OK(pare_tensor_read(y, got, sizeof got));
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COLUMNS; c++) ck_assert_int_eq(got[r * COLUMNS + c], (r * COLUMNS + c) * 7 + r);
}

/* _i = axis * 8 + pieces */
START_TEST(pieces_give_the_whole) {
  int axis = _i / 8, pieces = _i % 8;
  pare_tensor *x, *y;
  make_pair(&x, &y);
  pare__context_split(context, pieces);
  OK(submit_add(x, y, axis, -1));
  expect_sums(y);
  ck_assert_uint_eq(pieces_run, pieces > 1 ? (unsigned)pieces : 1);
  pare_tensor_close(x);
  pare_tensor_close(y);
}
END_TEST

/* Largest buffers of a few rows: the tensors live on the host and every piece goes through a staging buffer. */
START_TEST(staged_tensors_give_the_same) {
  int axis = _i % 2, which = _i / 2; /* which: both staged, x only, y only */
  pare_tensor *x, *y, *spare_x, *spare_y;
  make_pair(&spare_x, &spare_y);
  limit_buffers(5 * COLUMNS * sizeof(int32_t));
  make_pair(&x, &y);
  ck_assert(!pare__tensor_on_device(x));
  if (which == 1) {
    pare_tensor_close(y);
    y = spare_y;
    spare_y = NULL;
  } else if (which == 2) {
    pare_tensor_close(x);
    x = spare_x;
    spare_x = NULL;
  }
  OK(submit_add(x, y, axis, -1));
  expect_sums(y);
  ck_assert_uint_gt(pieces_run, 1);
  pare_tensor_close(x);
  pare_tensor_close(y);
  pare_tensor_close(spare_x);
  pare_tensor_close(spare_y);
}
END_TEST

/* 20 to 100 KB each: over the largest buffer, as whole operands and as results. */
START_TEST(large_operands_of_operations_give_the_same) {
  static const int64_t a_shape[] = {300, 64}, b_shape[] = {64, 80}, c_shape[] = {300, 80};
  const uint64_t limits[] = {real_limit, 24000};
  float *a = random_floats(300 * 64, 1), *b = random_floats(64 * 80, 2), *product = NULL, *sum = NULL;
  for (int i = 0; i < 2; i++) {
    limit_buffers(limits[i]);
    pare_tensor *ta = tensor_of(PARE_F32, 2, a_shape, a), *tb = tensor_of(PARE_F32, 2, b_shape, b);
    pare_tensor *tc = empty_tensor(PARE_F32, 2, c_shape), *td = empty_tensor(PARE_F32, 2, c_shape);
    ck_assert(pare__tensor_on_device(ta) == (i == 0) && pare__tensor_on_device(tc) == (i == 0));
    OK(pare_gemm(ta, tb, NULL, NULL, tc));
    OK(pare_binary(PARE_BINARY_add, tc, tc, td));
    float *got = floats_of(tc), *twice = floats_of(td);
    if (i == 1) {
      for (int k = 0; k < 300 * 80; k++) ck_assert_float_eq_tol(got[k], product[k], 1e-4); /* or another kernel */
      for (int k = 0; k < 300 * 80; k++) ck_assert_float_eq(twice[k], 2 * got[k]);
    }
    free(product);
    free(sum);
    product = got;
    sum = twice;
    pare_tensor *const all[] = {ta, tb, tc, td};
    for (size_t k = 0; k < PARE__COUNT(all); k++) pare_tensor_close(all[k]);
  }
  free(product);
  free(sum);
  free(a);
  free(b);
}
END_TEST

START_TEST(staged_view_is_packed) {
  limit_buffers(400);
  pare_tensor *x, *y, *xt, *yt;
  make_pair(&x, &y);
  int axes[] = {1, 0};
  OK(pare_tensor_permute(x, axes, &xt));
  OK(pare_tensor_permute(y, axes, &yt));
  OK(submit_add(xt, yt, 0, -1));
  int32_t got[ROWS * COLUMNS];
  OK(pare_tensor_read(y, got, sizeof got));
  for (int r = 0; r < ROWS; r++)
    for (int c = 0; c < COLUMNS; c++) ck_assert_int_eq(got[r * COLUMNS + c], (r * COLUMNS + c) * 7 + c);
  pare_tensor_close(xt);
  pare_tensor_close(yt);
  pare_tensor_close(x);
  pare_tensor_close(y);
}
END_TEST

START_TEST(too_large_a_slice_is_told) {
  limit_buffers(COLUMNS * sizeof(int32_t) - 1);
  pare_tensor *x, *y;
  make_pair(&x, &y);
  OK(submit_add(x, y, 0, -1));
  int32_t got[ROWS * COLUMNS];
  ck_assert_int_eq(pare_tensor_read(y, got, sizeof got), PARE_ERR_LIMIT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "add rows"));
  ck_assert_int_eq(pare_context_wait(context), PARE_ERR_LIMIT);
  OK(pare_context_wait(context));
  pare_tensor_close(x);
  pare_tensor_close(y);
}
END_TEST

START_TEST(failed_work_surfaces_at_read_and_wait_and_spreads) {
  pare_tensor *x, *y, *z, *unused;
  make_pair(&x, &y);
  make_pair(&unused, &z);
  pare__context_split(context, 3);
  OK(submit_add(x, y, 0, 1));
  OK(submit_add(y, z, 0, -1)); /* its input failed: it does not run */
  ck_assert_uint_eq(pieces_run, 0);
  int32_t got[ROWS * COLUMNS];
  ck_assert_int_eq(pare_tensor_read(z, got, sizeof got), PARE_ERR_DEVICE);
  ck_assert_str_eq(pare_message(), "the device burns");
  ck_assert_int_eq(pare_context_wait(context), PARE_ERR_DEVICE);
  OK(pare_context_wait(context));
  OK(submit_add(x, y, 0, -1)); /* still usable, and overwriting heals */
  expect_sums(y);
  pare_tensor_close(x);
  pare_tensor_close(y);
  pare_tensor_close(z);
  pare_tensor_close(unused);
}
END_TEST

START_TEST(foreign_and_read_only_tensors_are_refused) {
  pare_context *other;
  OK(pare_context_open(NULL, &other));
  int64_t shape[] = {ROWS, COLUMNS}, row[] = {1, COLUMNS};
  pare_tensor *x, *y, *foreign, *narrow, *wide;
  make_pair(&x, &y);
  OK(pare_tensor_create(other, PARE_I32, 2, shape, &foreign));
  ck_assert_int_eq(submit_add(x, foreign, 0, -1), PARE_ERR_ARGUMENT);
  OK(pare_tensor_create(context, PARE_I32, 2, row, &narrow));
  OK(pare_tensor_broadcast(narrow, 2, shape, &wide));
  ck_assert_int_eq(submit_add(x, wide, 0, -1), PARE_ERR_ARGUMENT);
  pare_context_close(other);
  ck_assert_int_eq(submit_add(foreign, y, 0, -1), PARE_ERR_ARGUMENT);
  pare_tensor_close(foreign);
  pare_tensor_close(narrow);
  pare_tensor_close(wide);
  pare_tensor_close(x);
  pare_tensor_close(y);
}
END_TEST

START_TEST(a_flag_that_a_kernel_raised_is_told_once) {
  cl_mem flags;
  int64_t offset;
  int32_t one = 1;
  OK(pare__context_flag(context, "gather", &flags, &offset));
  OK(pare_context_wait(context));
  OK(pare__context_flag(context, "scatter", &flags, &offset));
  ck_assert_int_eq(clEnqueueWriteBuffer(pare__device_queue(pare__context_device(context)), flags, CL_TRUE,
                                        (size_t)offset * sizeof one, sizeof one, &one, 0, NULL, NULL),
                   CL_SUCCESS);
  ck_assert_int_eq(pare_context_wait(context), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "scatter"));
  OK(pare_context_wait(context));
}
END_TEST

/* ---- unfinished work is bounded ---- */

static pare_status fill_run(const pare__piece *piece) {
  const int32_t one = 1;
  const cl_int error = clEnqueueFillBuffer(pare__device_queue(piece->device), piece->binding[0].mem, &one, sizeof one,
                                           (size_t)piece->binding[0].offset * sizeof one, sizeof one, 0, NULL, NULL);
  return error == CL_SUCCESS ? PARE_OK : pare__fail_cl(error, "filling");
}

static void open_gate(void *gate) {
  ck_assert_int_eq(clSetUserEventStatus(*(cl_event *)gate, CL_COMPLETE), CL_SUCCESS);
}

/* On a queue that stands still: whoever submits has to wait, after so many tasks or so many bytes that only they use.
 */
START_TEST(unfinished_work_is_bounded) {
  static const pare__codelet fill = {"fill", fill_run};
  pare__device *first = pare__context_device(context);
  cl_int error;
  cl_event gate = clCreateUserEvent(pare__device_context(first), &error);
  ck_assert_int_eq(error, CL_SUCCESS);
  ck_assert_int_eq(clEnqueueBarrierWithWaitList(pare__device_queue(first), 1, &gate, NULL), CL_SUCCESS);
  workload_is_paced(context, &fill, _i == 1, open_gate, &gate);
  clReleaseEvent(gate);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("executor");
  tcase_add_checked_fixture(laws, setup, teardown);
  tcase_add_loop_test(laws, pieces_give_the_whole, 0, 16);
  tcase_add_loop_test(laws, staged_tensors_give_the_same, 0, 6);
  tcase_add_test(laws, large_operands_of_operations_give_the_same);
  tcase_add_test(laws, staged_view_is_packed);
  tcase_add_test(laws, too_large_a_slice_is_told);
  tcase_add_test(laws, failed_work_surfaces_at_read_and_wait_and_spreads);
  tcase_add_test(laws, foreign_and_read_only_tensors_are_refused);
  tcase_add_test(laws, a_flag_that_a_kernel_raised_is_told_once);
  tcase_add_loop_test(laws, unfinished_work_is_bounded, 0, 2);
  return run_tests("executor", laws);
}
