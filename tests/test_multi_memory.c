/* Operations on tensors on several devices that have little memory, or the user's. SPDX-License-Identifier: Apache-2.0
 */
#include <pare/elementwise.h>
#include <stdlib.h>
#include <string.h>

#include "operations.h"
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
  tcase_add_loop_test(tests, larger_than_a_buffer, SUM_OF_TWO, IN_PLACE + 1);
  tcase_add_test(tests, wrapped_memory_is_its_owners);
  return run_tests("multi_memory", tests);
}
