/* Calls submit and return: none waits for what was submitted before. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/index.h>
#include <pare/normalise.h>
#include <pare/prune.h>
#include <pare/select.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fixture.h"
#include "op/recurrent.h"
#include "tensor/context.h"

enum { ROWS = 32, COLUMNS = 32, COUNT = ROWS * COLUMNS };
static const int64_t shape[] = {ROWS, COLUMNS}, two = 2;
static pare_tensor *x, *out, *mask, *index_of_rows;

static pare_status find_kth(void) {
  pare_tensor *threshold = empty_tensor(PARE_F32, 0, NULL), *counts = empty_tensor(PARE_I64, 1, &two);
  const pare_status status = pare_select_kth(x, COUNT / 2, NULL, threshold, counts);
  pare_tensor_close(threshold);
  pare_tensor_close(counts);
  return status;
}

/* Columns of the mask are not in order: then it is applied by itself. */
static pare_status mask_softmax(void) {
  pare_tensor *turned;
  OK(pare_tensor_permute(mask, (const int[]){1, 0}, &turned));
  const pare_status status = pare_masked_softmax(x, turned, -INFINITY, out);
  pare_tensor_close(turned);
  return status;
}

static pare_status compare(void) { return pare_mask_threshold(x, true, 0.5, mask); }
static pare_status clear(void) { return pare_mask_apply(x, mask, out); }
static pare_status gather(void) { return pare_gather_elements(x, index_of_rows, 1, out); }

static pare_status pack_sequence(void) {
  pare_tensor *packed;
  const pare_status status = pare__sequence_pack(x, 1, &packed);
  pare_tensor_close(packed);
  return status;
}

static pare_status make(void) {
  float *values = random_floats(COUNT, 2);
  pare_tensor *made;
  const pare_status status = pare_tensor_from(context, PARE_F32, 2, shape, values, COUNT * sizeof *values, &made);
  free(values);
  pare_tensor_close(made);
  return status;
}

static const struct {
  const char *name;
  pare_status (*call)(void);
} calls[] = {{"pare_select_kth", find_kth},    {"pare_masked_softmax", mask_softmax},
             {"pare_mask_threshold", compare}, {"pare_mask_apply", clear},
             {"pare_gather_elements", gather}, {"pare__sequence_pack", pack_sequence},
             {"pare_tensor_from", make}};
enum { CALLS = sizeof calls / sizeof calls[0] };

static void make_tensors(void) {
  float *values = random_floats(COUNT, 1);
  int64_t indices[COUNT] = {0};
  unsigned char set[COUNT];
  for (int i = 0; i < COUNT; i++) set[i] = i % 3 != 0;
  x = tensor_of(PARE_F32, 2, shape, values);
  out = empty_tensor(PARE_F32, 2, shape);
  mask = tensor_of(PARE_BOOL, 2, shape, set);
  index_of_rows = tensor_of(PARE_I64, 2, shape, indices);
  free(values);
}

static void close_tensors(void) {
  pare_tensor_close(x);
  pare_tensor_close(out);
  pare_tensor_close(mask);
  pare_tensor_close(index_of_rows);
}

/* The queue waits for an event that nobody but this test sets: a call that waits for the queue waits for ever, and the
 * alarm ends the test. No clock decides. */
START_TEST(a_call_returns_while_the_queue_waits) {
  open_context();
  make_tensors();
  OK(calls[_i].call()); /* kernels are built, tested and chosen */
  OK(pare_context_wait(context));
  close_tensors();
  close_context();

  open_context(); /* what a context makes at first use is made behind the queue, too */
  make_tensors();
  pare__device *on = pare__context_device(context);
  cl_int code = CL_SUCCESS, state = CL_SUCCESS;
  cl_event gate = clCreateUserEvent(pare__device_context(on), &code), behind = NULL;
  ck_assert_int_eq(code, CL_SUCCESS);
  ck_assert_int_eq(clEnqueueBarrierWithWaitList(pare__device_queue(on), 1, &gate, &behind), CL_SUCCESS);
  printf("%s\n", calls[_i].name);
  fflush(stdout);
  (void)alarm(300);
  OK(calls[_i].call());
  (void)alarm(0);
  ck_assert_int_eq(clGetEventInfo(behind, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL), CL_SUCCESS);
  ck_assert_int_gt(state, CL_COMPLETE);
  ck_assert_int_eq(clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
  OK(pare_context_wait(context));
  clReleaseEvent(behind);
  clReleaseEvent(gate);
  close_tensors();
  close_context();
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("submit");
  tcase_set_timeout(laws, 600);
  tcase_add_loop_test(laws, a_call_returns_while_the_queue_waits, 0, CALLS);
  return run_tests("submit", laws);
}
