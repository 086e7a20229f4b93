/* Operations on tensors on several devices: the same bits as on one, whatever the policy, the split and the copies.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "operations.h"
#include "sched/crew_state.h"
#include "sched/multi.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"
#include "workload.h"

static const char *const policies[] = {"dmda", "hguided", "heft", "static", "priority", "round-robin"};

/* _i = a policy, then the same with copies. */
START_TEST(bits_are_those_of_one_device) {
  float *want[OPERATIONS];
  for (operation k = 0; k < OPERATIONS; k++) want[k] = result_of(context, k);
  pare_context *in = open_several(policies[_i / 2]);
  pare__multi_apart(in, _i % 2);
  for (int pieces = 2; pieces <= 7; pieces += 5) {
    pare__context_split(in, pieces);
    for (operation k = 0; k < OPERATIONS; k++) expect_bits(in, k, want[k]);
  }
  pare_schedule_stats stats;
  OK(pare_context_stats(in, &stats));
  ck_assert_uint_ge(stats.ndevices, 2);
  ck_assert_uint_ge(stats.pieces, stats.jobs);
  pare_schedule_stats_close(&stats);
  close_several();
  for (operation k = 0; k < OPERATIONS; k++) free(want[k]);
}
END_TEST

static const pare__policy_class *policy_of(const char *environment, const char *option) {
  pare__crew *crew;
  unsetenv("PARE_POLICY");
  if (environment) setenv("PARE_POLICY", environment, 1);
  OK(pare__crew_of(open_several(option), &crew));
  const pare__policy_class *isa = crew->policy->isa;
  close_several();
  unsetenv("PARE_POLICY");
  return isa;
}

/* The option goes before the environment, and that before the default. */
START_TEST(a_policy_is_chosen_by_option_or_environment) {
  char *kept = getenv("PARE_POLICY") ? pare__strdup(getenv("PARE_POLICY")) : NULL;
  pare__crew *crew;
  ck_assert_ptr_eq(policy_of(NULL, NULL), pare__policies[0]);
  ck_assert_ptr_eq(policy_of("", NULL), pare__policies[0]);
  ck_assert_ptr_eq(policy_of("round-robin", NULL), &pare__policy_round_robin);
  ck_assert_ptr_eq(policy_of("round-robin", "static"), &pare__policy_static);
  setenv("PARE_POLICY", "luck", 1);
  ck_assert_int_eq(pare__crew_of(open_several(NULL), &crew), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "luck"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "dmda"));
  close_several();
  unsetenv("PARE_POLICY");
  if (kept) setenv("PARE_POLICY", kept, 1);
  free(kept);
}
END_TEST

static pare_status dawdle(const pare__piece *piece) {
  for (int64_t i = piece->begin; i < piece->end; i++) usleep(300);
  return PARE_OK;
}

/* However few bytes there are: a few hundred here, so that the first run is on one device. */
START_TEST(what_takes_long_is_divided_after_its_first_runs) {
  static const pare__codelet codelet = {"dawdle", dawdle};
  pare_context *in = open_several(NULL);
  operands o = operands_in(in);
  const pare__task task = {
      .codelet = &codelet, .context = in, .n = ROWS, .naccesses = 1, .access = {{o.column, PARE__WRITE, 0, 1}}};
  pare_schedule_stats stats;
  for (int i = 0; i < 3; i++) {
    OK(pare__submit(&task));
    OK(pare_context_wait(in));
  }
  OK(pare_context_stats(in, &stats));
  ck_assert_uint_eq(stats.jobs, 3);
  ck_assert_uint_gt(stats.pieces, stats.jobs);
  for (size_t m = 0; m < stats.ndevices; m++) ck_assert_uint_gt(stats.device[m].pieces, 0);
  pare_schedule_stats_close(&stats);
  operands_close(&o);
  close_several();
}
END_TEST

/* ---- many at once ---- */

static void *work_in_thread(void *out) {
  *(float **)out = result_of(several, CHAIN);
  return NULL;
}

START_TEST(ten_threads) {
  enum { THREADS = 10 };
  float *want = result_of(context, CHAIN), *got[THREADS];
  pthread_t thread[THREADS];
  pare__context_split(open_several(NULL), 3);
  for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, work_in_thread, &got[i]), 0);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(thread[i], NULL);
    ck_assert_mem_eq(want, got[i], MOST_VALUES * sizeof *want);
    free(got[i]);
  }
  close_several();
  free(want);
}
END_TEST

START_TEST(closed_with_work_under_way) {
  pare_context *in = open_several(NULL);
  operands o = operands_in(in);
  do_chain(&o);
  operands_close(&o); /* what is under way keeps what it needs */
  close_several();
}
END_TEST

static atomic_bool stands_still;

static pare_status stand_still(const pare__piece *piece) {
  (void)piece;
  while (atomic_load(&stands_still)) usleep(1000);
  return PARE_OK;
}

static void go_on(void *unused) {
  (void)unused;
  atomic_store(&stands_still, false);
}

/* On devices that stand still: whoever submits has to wait, after so many tasks or so many bytes that only they use. */
START_TEST(unfinished_work_is_bounded) {
  static const pare__codelet still = {"still", stand_still};
  (void)open_several(NULL);
  atomic_store(&stands_still, true);
  workload_is_paced(several, &still, _i == 1, go_on, NULL);
  close_several();
}
END_TEST

int main(void) {
  if (!can_be_halved()) return 77;
  TCase *tests = tcase_create("multi");
  tcase_add_checked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, bits_are_those_of_one_device, 0, 2 * (int)PARE__COUNT(policies));
  tcase_add_test(tests, a_policy_is_chosen_by_option_or_environment);
  tcase_add_test(tests, what_takes_long_is_divided_after_its_first_runs);
  tcase_add_loop_test(tests, unfinished_work_is_bounded, 0, 2);
  tcase_add_test(tests, ten_threads);
  tcase_add_test(tests, closed_with_work_under_way);
  return run_tests("multi", tests);
}
