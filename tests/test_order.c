/* Which tasks must be done before which: against the plain definition. SPDX-License-Identifier: Apache-2.0 */
#include "sched/order.h"

#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { MOST = 150, PLACES = 6, SEEDS = 40 };

static const char place[PLACES];

static void make_random(pare__footprint *task, size_t count, uint32_t *state) {
  for (size_t i = 0; i < count; i++) {
    task[i].count = next_random(state) % 4;
    for (unsigned k = 0; k < task[i].count; k++) {
      const int64_t begin = next_random(state) % 40;
      task[i].range[k] = (pare__touched){&place[next_random(state) % PLACES], begin,
                                         begin + (int64_t)(next_random(state) % 8), next_random(state) % 3 == 0};
    }
  }
}

static bool touch(const pare__footprint *a, const pare__footprint *b) {
  for (unsigned i = 0; i < a->count; i++)
    for (unsigned k = 0; k < b->count; k++) {
      const pare__touched *x = &a->range[i], *y = &b->range[k];
      if (x->where == y->where && (x->written || y->written) && x->begin < y->end && y->begin < x->end) return true;
    }
  return false;
}

START_TEST(a_task_comes_after_all_that_it_needs_by_way_of_others_too) {
  static pare__footprint task[MOST];
  static bool before[MOST][MOST]; /* [of][which] */
  uint32_t state = (uint32_t)_i * 7919U + 1;
  const size_t count = _i == 0 ? 0 : 1 + next_random(&state) % MOST;
  pare__order *order;
  make_random(task, count, &state);
  memset(before, 0, sizeof before);
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < i; k++) {
      if (!touch(&task[k], &task[i])) continue;
      before[i][k] = true;
      for (size_t j = 0; j < k; j++) before[i][j] = before[i][j] || before[k][j];
    }
  OK(pare__order_open(task, count, &order));
  ck_assert_uint_eq(order->ntasks, count);
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < count; k++)
      ck_assert_msg(pare__order_before(order, k, i) == before[i][k], "task %zu, and %zu", i, k);
  pare__order_close(order);
}
END_TEST

/* What a task waits for is enough, and nothing of it goes without saying. */
START_TEST(a_task_waits_for_no_more_than_it_must) {
  static pare__footprint task[MOST];
  static bool reached[MOST][MOST];
  uint32_t state = (uint32_t)_i * 104729U + 3;
  const size_t count = 1 + next_random(&state) % MOST;
  pare__order *order;
  make_random(task, count, &state);
  OK(pare__order_open(task, count, &order));
  memset(reached, 0, sizeof reached);
  for (size_t i = 0; i < count; i++) {
    for (size_t k = order->begin[i]; k < order->begin[i + 1]; k++) {
      const size_t need = order->need[k];
      ck_assert_msg(!reached[i][need], "task %zu waits for %zu, which another waits for", i, need);
      reached[i][need] = true;
      for (size_t j = 0; j < need; j++) reached[i][j] = reached[i][j] || reached[need][j];
    }
    for (size_t k = 0; k < i; k++)
      ck_assert_msg(reached[i][k] == pare__order_before(order, k, i), "task %zu, and %zu", i, k);
  }
  pare__order_close(order);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("order");
  tcase_add_loop_test(tests, a_task_comes_after_all_that_it_needs_by_way_of_others_too, 0, SEEDS);
  tcase_add_loop_test(tests, a_task_waits_for_no_more_than_it_must, 0, SEEDS);
  return run_tests("order", tests);
}
