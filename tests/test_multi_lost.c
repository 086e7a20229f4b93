/* Devices that fail under operations on tensors: no bit changes, and who is told may call.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/fault.h"
#include "operations.h"
#include "sched/multi.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

static pare_context *open_telling(void (*lost)(void *, const char *)) {
  pare_schedule_options schedule = PARE_SCHEDULE_OPTIONS_INIT;
  schedule.lost = lost;
  OK(try_several(&schedule, 0));
  return several;
}

/* A codelet that devices from that one on refuse. */
static size_t refuses_from;
static pare_status refuse(const pare__piece *piece) {
  for (size_t m = refuses_from; m < pare__context_members(several); m++)
    if (piece->context == pare__context_member(several, m))
      return pare__fail(PARE_ERR_LIMIT, "member %zu does not like it", m);
  return PARE_OK;
}

START_TEST(what_a_device_refuses_others_do) {
  static const pare__codelet codelet = {"refused", refuse};
  pare_context *in = open_several("round-robin");
  operands o = operands_in(in);
  pare__task task = {
      .codelet = &codelet, .context = in, .n = ROWS, .naccesses = 1, .access = {{o.y, PARE__WRITE, 0, 1}}};
  pare__context_split(in, 7);
  refuses_from = 1;
  for (int i = 0; i < 20; i++) {
    OK(pare__submit(&task));
    OK(pare_context_wait(in));
  }
  refuses_from = 0;
  float *values = malloc(MOST_VALUES * sizeof *values);
  OK(pare__submit(&task));
  OK(pare_unary(PARE_UNARY_tanh, o.square, o.square)); /* what does not need it is done */
  OK(pare_binary(PARE_BINARY_add, o.y, o.w, o.x));     /* what needs it fails likewise */
  ck_assert_int_eq(pare_context_wait(in), PARE_ERR_LIMIT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "does not like it"));
  ck_assert_int_eq(pare_tensor_read(o.y, values, MOST_VALUES * sizeof *values), PARE_ERR_LIMIT);
  ck_assert_int_eq(pare_tensor_read(o.x, values, MOST_VALUES * sizeof *values), PARE_ERR_LIMIT);
  OK(pare_unary(PARE_UNARY_tanh, o.w, o.y)); /* what is written anew is healed */
  OK(pare_tensor_read(o.y, values, MOST_VALUES * sizeof *values));
  OK(pare_context_wait(in));
  free(values);
  operands_close(&o);
  close_several();
}
END_TEST

static atomic_uint nlost; /* counted on the devices' threads */
static void count_lost(void *user, const char *message) {
  (void)user;
  ck_assert_ptr_nonnull(message);
  nlost++;
}

static const fault_control *faults;
enum { NOT_AVAILABLE = -2 };

/* The call fails once, in the middle of work in pieces; apart: with copies. */
static void fail_once(const char *call, unsigned long nth, bool apart) {
  float *want = result_of(context, CHAIN);
  nlost = 0;
  pare_context *in = open_telling(count_lost);
  pare__multi_apart(in, apart);
  pare__context_split(in, 4);
  expect_bits(in, CHAIN, want); /* kernels are built and trusted */
  faults->reset();
  faults->inject(call, nth, 1, NOT_AVAILABLE);
  expect_bits(in, CHAIN, want);
  faults->reset();
  expect_bits(in, CHAIN, want);
  ck_assert_uint_eq(nlost, 1);
  close_several();
  free(want);
}

/* _i = the launch that fails, and copies or not. */
START_TEST(a_lost_device_changes_no_bit) {
  if (!faults) return;
  fail_once(_i % 4 < 2 ? "clEnqueueNDRangeKernel" : "clFlush", 1 + (unsigned long)_i * 3, _i % 2);
}
END_TEST

/* _i = what fails of what comes with copies. */
START_TEST(a_failing_copy_changes_no_bit) {
  static const char *const calls[] = {"clEnqueueWriteBuffer", "clEnqueueReadBuffer", "clEnqueueBarrierWithWaitList"};
  if (!faults) return;
  fail_once(calls[_i % 3], 1 + (unsigned long)_i / 3, true);
}
END_TEST

/* In place, and the device fails behind the work: what it was computed from is still there for the others. _i = the
 * call that fails, with a buffer that holds a part of a piece only, or all. */
START_TEST(a_device_lost_behind_work_in_place_changes_no_bit) {
  if (!faults) return;
  float *want = result_of(context, IN_PLACE);
  nlost = 0;
  pare_context *in = open_telling(count_lost);
  pare__context_split(in, 4);
  expect_bits(in, IN_PLACE, want); /* kernels are built and trusted */
  for (size_t m = 0; _i % 2 && m < pare__context_members(in); m++)
    ((pare_device_info *)pare_context_device(pare__context_member(in, m)))->max_buffer_bytes = (uint64_t)24 << 10;
  faults->reset();
  faults->inject("clFlush", 1 + (unsigned long)_i / 2, 1, NOT_AVAILABLE);
  expect_bits(in, IN_PLACE, want);
  faults->reset();
  ck_assert(nlost == 1 || (nlost == 0 && _i >= 2)); /* who has how many pieces is the policy's */
  free(want);
  close_several();
}
END_TEST

/* Whoever is told of a loss may look and submit; waiting there, and closing, would never end. */
static operands at_hand;
static int told_errors;

static void note_error(pare_log_level level, const char *line, void *user) {
  (void)user;
  told_errors += level == PARE_LOG_ERROR && strstr(line, "pare_context_close from inside of a job or callback");
}

static void call_back(void *user, const char *message) {
  pare_schedule_stats stats;
  float values[ROWS];
  count_lost(user, message);
  OK(pare_context_stats(several, &stats));
  pare_schedule_stats_close(&stats);
  ck_assert_int_eq(pare_context_wait(several), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "would never end"));
  pare_status status = PARE_OK;
  for (int i = 0; i < 1000 && status == PARE_OK; i++) { /* the others may be so fast that nothing is to be waited for */
    OK(pare_unary(PARE_UNARY_tanh, at_hand.column, at_hand.column));
    status = pare_tensor_read(at_hand.column, values, ROWS * sizeof *values);
  }
  ck_assert_int_eq(status, PARE_ERR_ARGUMENT);
  pare_context_close(several);
}

START_TEST(callbacks_may_call_and_not_wait) {
  if (!faults) return;
  float *want = result_of(context, CHAIN);
  nlost = 0;
  told_errors = 0;
  pare_context *in = open_telling(call_back);
  pare__context_split(in, 4);
  expect_bits(in, CHAIN, want); /* kernels are built and trusted */
  at_hand = operands_in(in);
  OK(pare_context_wait(in));
  pare_log_set(note_error, NULL, PARE_LOG_ERROR);
  faults->reset();
  faults->inject("clEnqueueNDRangeKernel", 5, 1, NOT_AVAILABLE);
  do_sum(&at_hand);
  expect_bits(in, CHAIN, want);
  faults->reset();
  pare_log_set(NULL, NULL, PARE_LOG_ERROR);
  ck_assert_uint_eq(nlost, 1);
  ck_assert_int_eq(told_errors, 1);
  operands_close(&at_hand);
  close_several();
  free(want);
}
END_TEST

START_TEST(all_lost_is_an_error) {
  if (!faults) return;
  nlost = 0;
  pare_context *in = open_telling(count_lost);
  pare__context_split(in, 4);
  operands o = operands_in(in);
  float *values = malloc(MOST_VALUES * sizeof *values);
  faults->reset();
  faults->inject("clEnqueueNDRangeKernel", 1, 0, NOT_AVAILABLE);
  do_chain(&o);
  ck_assert_int_eq(pare_tensor_read(o.y, values, MOST_VALUES * sizeof *values), PARE_ERR_DEVICE);
  ck_assert_uint_eq(nlost, pare__context_members(in));
  faults->reset();
  operands_close(&o);
  close_several();
  free(values);
  values = result_of(context, CHAIN);
  in = open_several(NULL);
  expect_bits(in, CHAIN, values);
  close_several();
  free(values);
}
END_TEST

int main(void) {
  const char *why;
  faults = fault_layer_load(&why);
  if (!faults) fprintf(stderr, "without failures of devices: %s\n", why);
  if (!can_be_halved()) return 77;
  TCase *tests = tcase_create("multi_lost");
  tcase_add_checked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, what_a_device_refuses_others_do);
  tcase_add_loop_test(tests, a_lost_device_changes_no_bit, 0, 8);
  tcase_add_loop_test(tests, a_failing_copy_changes_no_bit, 0, 9);
  tcase_add_loop_test(tests, a_device_lost_behind_work_in_place_changes_no_bit, 0, 6);
  tcase_add_test(tests, callbacks_may_call_and_not_wait);
  tcase_add_test(tests, all_lost_is_an_error);
  return run_tests("multi_lost", tests);
}
