/* Where values that live at different times share memory. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "graph/run.h"
#include "run.h"

START_TEST(values_that_live_together_never_overlap_in_memory) {
  enum { COUNT = 200 };
  uint32_t state = (uint32_t)_i * 7919U + 1;
  pare__life life[COUNT];
  const size_t largest = 1 << 20;
  size_t total = 0, *sizes, narenas;
  for (size_t i = 0; i < COUNT; i++) {
    life[i] = (pare__life){.nbytes = next_random(&state) % (largest / 4), .first = next_random(&state) % 100};
    life[i].last = life[i].first + next_random(&state) % 20;
    total += life[i].nbytes + 256;
  }
  OK(pare__memory_plan(life, COUNT, largest, NULL, &sizes, &narenas));
  size_t taken = 0;
  for (size_t i = 0; i < narenas; i++) {
    ck_assert_uint_le(sizes[i], largest);
    taken += sizes[i];
  }
  ck_assert_uint_lt(taken, total);
  for (size_t i = 0; i < COUNT; i++) {
    ck_assert_uint_lt(life[i].arena, narenas);
    ck_assert_uint_eq(life[i].offset % 256, 0);
    ck_assert_uint_le(life[i].offset + life[i].nbytes, sizes[life[i].arena]);
    for (size_t k = 0; k < i; k++) {
      if (life[i].arena != life[k].arena || life[i].last < life[k].first || life[k].last < life[i].first) continue;
      const bool apart =
          life[i].offset + life[i].nbytes <= life[k].offset || life[k].offset + life[k].nbytes <= life[i].offset;
      ck_assert_msg(apart, "lives %zu and %zu overlap", i, k);
    }
  }
  free(sizes);
}
END_TEST

/* Of tasks that may run beside each other: where two lives share memory, all tasks that use the one must be done before
 * any that uses the other begins. */
START_TEST(values_of_tasks_beside_each_other_never_overlap_in_memory) {
  enum { TASKS = 90, VALUES = 120 };
  static pare__footprint task[TASKS];
  static uint64_t bits[VALUES][2][2];
  static char place[TASKS]; /* one that each task writes, and later ones read */
  pare__life life[VALUES];
  uint32_t state = (uint32_t)_i * 7919U + 5;
  pare__order *order;
  size_t *sizes, narenas, nshared = 0;
  memset(bits, 0, sizeof bits);
  for (size_t i = 0; i < TASKS; i++) {
    task[i] = (pare__footprint){.count = 1, .range = {{&place[i], 0, 1, true}}};
    for (unsigned k = next_random(&state) % 3; k > 0 && i > 0; k--)
      task[i].range[task[i].count++] =
          (pare__touched){&place[i - 1 - next_random(&state) % PARE__MIN(i, 6)], 0, 1, false};
  }
  OK(pare__order_open(task, TASKS, &order));
  for (size_t v = 0; v < VALUES; v++) {
    life[v] = (pare__life){.nbytes = 1 + next_random(&state) % 5000,
                           .first = next_random(&state) % TASKS,
                           .used_by = bits[v][0],
                           .begins_after = bits[v][1]};
    life[v].last = life[v].first;
    memset(bits[v][1], 0xff, sizeof bits[v][1]);
    for (size_t i = life[v].first; i < TASKS; i++) {
      if (i > life[v].first && next_random(&state) % 30 != 0) continue;
      bits[v][0][i / 64] |= UINT64_C(1) << i % 64;
      for (size_t w = 0; w < order->words; w++) bits[v][1][w] &= order->before[i * order->words + w];
      life[v].last = i;
    }
  }
  OK(pare__memory_plan(life, VALUES, 1 << 20, order, &sizes, &narenas));
  for (size_t a = 0; a < VALUES; a++)
    for (size_t b = 0; b < a; b++) {
      bool a_first = true, b_first = true;
      if (life[a].arena != life[b].arena || life[a].offset + life[a].nbytes <= life[b].offset ||
          life[b].offset + life[b].nbytes <= life[a].offset)
        continue;
      nshared++;
      for (size_t i = 0; i < TASKS; i++)
        for (size_t k = 0; k < TASKS; k++) {
          if (!(bits[a][0][i / 64] >> i % 64 & 1) || !(bits[b][0][k / 64] >> k % 64 & 1)) continue;
          a_first = a_first && pare__order_before(order, i, k);
          b_first = b_first && pare__order_before(order, k, i);
        }
      ck_assert_msg(a_first || b_first, "values %zu and %zu share memory, and may be in use at once", a, b);
    }
  ck_assert_uint_gt(nshared, 0);
  free(sizes);
  pare__order_close(order);
}
END_TEST

START_TEST(a_value_larger_than_the_largest_buffer_is_no_plan) {
  pare__life life = {.nbytes = 4096, .first = 0, .last = 1};
  size_t *sizes, narenas;
  ck_assert_int_eq(pare__memory_plan(&life, 1, 1024, NULL, &sizes, &narenas), PARE_ERR_LIMIT);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("lives");
  tcase_add_loop_test(tests, values_that_live_together_never_overlap_in_memory, 0, 20);
  tcase_add_loop_test(tests, values_of_tasks_beside_each_other_never_overlap_in_memory, 0, 20);
  tcase_add_test(tests, a_value_larger_than_the_largest_buffer_is_no_plan);
  return run_tests("lives", tests);
}
