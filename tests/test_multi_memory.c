/* Operations on tensors on several devices that have little memory, or the user's. SPDX-License-Identifier: Apache-2.0
 */
#include <pare/elementwise.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "operations.h"
#include "sched/crew_state.h"
#include "sched/multi.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

/* limit_bytes: of both devices together. */
static pare_context *open_limited(uint64_t limit_bytes) {
  OK(try_several(NULL, limit_bytes));
  return several;
}

START_TEST(little_memory_is_enough_and_less_is_told) {
  float *want = result_of(context, SUM_OF_TWO);
  for (int apart = 0; apart <= 1; apart++) {
    pare_context *in = open_limited(320 << 10); /* x, bias and y are more than half of it */
    pare__multi_apart(in, apart);
    for (int i = 0; i < 3; i++) expect_bits(in, SUM_OF_TWO, want);
    close_several();
    in = open_limited(1200);
    pare_memory_usage usage;
    OK(pare_context_memory(in, &usage));
    ck_assert_uint_eq(usage.limit_bytes, 1200);
    pare__multi_apart(in, apart);
    operands o = operands_in(in);
    float *values = malloc(MOST_VALUES * sizeof *values);
    do_add(&o);
    ck_assert_int_eq(pare_tensor_read(o.y, values, MOST_VALUES * sizeof *values), PARE_ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(pare_message(), "the limit of 600"));
    ck_assert_ptr_nonnull(strstr(pare_message(), "which the parts of a device share"));
    free(values);
    operands_close(&o);
    close_several();
  }
  free(want);
}
END_TEST

/* ---- a device whose memory holds one of two tensors ---- */

enum { ELEMENTS = 1 << 16 };

#define STALL_SECONDS 2.0 /* longer than a loaded machine delays a call */

static void say_nothing(void *user, const char *message) { (void)user, (void)message; }

/* Nobody else does what it cannot. */
static pare__crew *open_small(void) {
  const pare_schedule_options schedule = {.lost = say_nothing};
  pare__crew *crew;
  OK(try_several(&schedule, 2 * (ELEMENTS + ELEMENTS / 2) * sizeof(float)));
  pare__multi_apart(several, true);
  OK(pare__crew_of(several, &crew));
  pare__crew_lose(crew, 1, "it shall not help");
  return crew;
}

static pare_tensor *large_tensor(uint32_t seed) {
  const int64_t n = ELEMENTS;
  float *values = random_floats(n, seed);
  pare_tensor *tensor;
  OK(pare_tensor_from(several, PARE_F32, 1, &n, values, (size_t)n * sizeof *values, &tensor));
  free(values);
  return tensor;
}

/* In one piece of one step, which no half is left of. */
static void submit(const pare__codelet *codelet, pare_tensor *tensor, pare__mode mode) {
  const pare__task task = {
      .codelet = codelet, .context = several, .n = 1, .naccesses = 1, .access = {{tensor, mode, 0, ELEMENTS}}};
  OK(pare__submit(&task));
}

static pare_status do_nothing(const pare__piece *piece) {
  (void)piece;
  return PARE_OK;
}

static atomic_bool submitted;
static cl_event held;
static pare_status hold_work(const pare__piece *piece) {
  while (!atomic_load(&submitted)) usleep(100);
  held = hold_queue(piece->device, pare__device_queue(piece->device));
  return PARE_OK;
}

static void await_second(pare__crew *crew) {
  for (bool there = false; !there; usleep(100)) {
    pare__crew_lock(crew);
    there = crew->member[0].count == 2;
    pare__crew_unlock(crew);
  }
}

/* It is pinned there until somebody waits for it. */
START_TEST(what_is_in_flight_is_waited_for_when_memory_is_short) {
  static const pare__codelet hold = {"hold", hold_work}, nothing = {"nothing", do_nothing};
  pare__crew *crew = open_small();
  pare_tensor *first = large_tensor(1), *second = large_tensor(2);
  atomic_store(&submitted, false);
  submit(&hold, first, PARE__READ);
  submit(&nothing, second, PARE__READ);
  atomic_store(&submitted, true);
  await_second(crew);
  release_queue(held);
  OK(pare_context_wait(several));
  pare_tensor_close(first);
  pare_tensor_close(second);
  close_several();
}
END_TEST

/* What is read and written has a slice of its own, beside no copy that nobody needs now. */
START_TEST(a_slice_takes_the_place_of_an_old_copy) {
  static const pare__codelet nothing = {"nothing", do_nothing};
  (void)open_small();
  pare_tensor *first = large_tensor(1), *second = large_tensor(2);
  float *want = floats_of(second);
  submit(&nothing, first, PARE__READ);
  OK(pare_context_wait(several));
  submit(&nothing, second, PARE__READ_WRITE);
  OK(pare_context_wait(several));
  float *got = floats_of(second);
  ck_assert_mem_eq(want, got, ELEMENTS * sizeof *want);
  free(want);
  free(got);
  pare_tensor_close(first);
  pare_tensor_close(second);
  close_several();
}
END_TEST

/* ---- a device that is given up between the steps of its piece ---- */

enum { STEPS = 4, A_STEP = ELEMENTS / STEPS };
static atomic_bool comes_back;
static _Atomic float written; /* in place of what is there with its sign changed; 0: that */

static pare_status change(const pare__piece *piece) {
  static float values[2][ELEMENTS]; /* of each member */
  const bool hangs = piece->context == pare__context_member(several, 0);
  float *own = values[!hangs];
  const cl_command_queue queue = pare__device_queue(piece->device);
  const size_t count = (size_t)(piece->end - piece->begin) * A_STEP;
  const pare__binding *at = piece->binding;
  cl_int code = clEnqueueReadBuffer(queue, at->mem, CL_TRUE, (size_t)at->offset * sizeof *own, count * sizeof *own, own,
                                    0, NULL, NULL);
  const float value = written;
  for (size_t i = 0; i < count; i++) own[i] = value > 0 ? value : -own[i];
  while (hangs && piece->begin > 0 && !atomic_load(&comes_back)) usleep(1000);
  if (code == CL_SUCCESS)
    code = clEnqueueWriteBuffer(queue, at->mem, CL_TRUE, (size_t)at->offset * sizeof *own, count * sizeof *own, own, 0,
                                NULL, NULL);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "changing a piece");
}

/* What it did comes too late, and so does not count, although it had given back what was ready. _i = in place, or not,
 * where each step is put back before the next one. */
START_TEST(who_is_given_up_between_steps_writes_nothing_any_more) {
  static const pare__codelet codelet = {"change", change};
  const pare_schedule_options schedule = {.policy = "round-robin", .lost = say_nothing, .stall_seconds = STALL_SECONDS};
  pare__crew *crew;
  OK(try_several(&schedule, 2 * (A_STEP + A_STEP / 2) * sizeof(float))); /* step by step, however it is divided */
  pare__multi_apart(several, true);
  OK(pare__crew_of(several, &crew));
  pare_tensor *tensor = large_tensor(3);
  float *want = floats_of(tensor);
  const pare__task task = {.codelet = &codelet,
                           .context = several,
                           .n = STEPS,
                           .naccesses = 1,
                           .access = {{tensor, _i ? PARE__WRITE : PARE__READ_WRITE, 0, A_STEP}}};
  atomic_store(&comes_back, false);
  for (int turn = 1; turn <= 2; turn++) {
    written = _i ? (float)turn : 0;
    OK(pare__submit(&task));
    OK(pare_context_wait(several));
    ck_assert(pare__crew_is_lost(crew, 0) && !pare__crew_is_lost(crew, 1));
  }
  for (size_t i = 0; i < ELEMENTS && _i; i++) want[i] = 2;
  atomic_store(&comes_back, true);
  while (pare__crew_hangs(crew, 0)) usleep(1000);
  float *got = floats_of(tensor);
  ck_assert_mem_eq(want, got, ELEMENTS * sizeof *want);
  free(want);
  free(got);
  pare_tensor_close(tensor);
  close_several();
}
END_TEST

/* Tensors over the largest buffer come to the devices in slices. _i = operation */
START_TEST(larger_than_a_buffer) {
  float *want = result_of(context, (operation)_i);
  pare_context *in = open_several(NULL);
  for (int apart = 0; apart <= 1; apart++) {
    uint64_t real[16] = {0};
    pare__multi_apart(in, apart);
    expect_bits(in, (operation)_i, want); /* kernels are built and trusted */
    for (size_t m = 0; m < pare__context_members(in); m++) {
      pare_device_info *info = (pare_device_info *)pare_context_device(pare__context_member(in, m));
      real[m] = info->max_buffer_bytes;
      info->max_buffer_bytes = (uint64_t)24 << 10;
    }
    expect_bits(in, (operation)_i, want);
    for (size_t m = 0; m < pare__context_members(in); m++)
      ((pare_device_info *)pare_context_device(pare__context_member(in, m)))->max_buffer_bytes = real[m];
  }
  close_several();
  free(want);
}
END_TEST

/* A user's memory: theirs after a sync, and after the last handle is closed. */
START_TEST(wrapped_memory_is_its_owners) {
  const int64_t shape[] = {ROWS, COLUMNS};
  float *memory = random_floats(MOST_VALUES, 8), first = memory[5];
  pare_context *in = open_several(NULL);
  pare_tensor *tensor;
  for (int apart = 0; apart <= 1; apart++) {
    pare__multi_apart(in, apart);
    memory[5] = first;
    OK(pare_tensor_wrap(in, PARE_F32, 2, shape, memory, MOST_VALUES * sizeof *memory, &tensor));
    OK(pare_unary(PARE_UNARY_neg, tensor, tensor));
    OK(pare_tensor_sync(tensor));
    ck_assert_float_eq(memory[5], -first);
    memory[5] = 3;
    OK(pare_unary(PARE_UNARY_neg, tensor, tensor));
    pare_tensor_close(tensor);
    ck_assert_float_eq(memory[5], -3);
  }
  close_several();
  free(memory);
}
END_TEST

int main(void) {
  if (!can_be_halved()) return 77;
  TCase *tests = tcase_create("multi_memory");
  tcase_add_checked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, little_memory_is_enough_and_less_is_told);
  tcase_add_test(tests, what_is_in_flight_is_waited_for_when_memory_is_short);
  tcase_add_test(tests, a_slice_takes_the_place_of_an_old_copy);
  tcase_add_loop_test(tests, who_is_given_up_between_steps_writes_nothing_any_more, 0, 2);
  tcase_add_loop_test(tests, larger_than_a_buffer, SUM_OF_TWO, IN_PLACE + 1);
  tcase_add_test(tests, wrapped_memory_is_its_owners);
  return run_tests("multi_memory", tests);
}
