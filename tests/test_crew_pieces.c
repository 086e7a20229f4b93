/* How small the pieces of a job are: as long as a launch is worth, by what was learned. No clock decides: the lines of
 * the models are given. SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <string.h>

#include "run.h"
#include "sched/crew_state.h"
/* what follows has a variable with the name of those functions' arguments */
#include "crews.h"

enum { STEPS = 64, MEMBERS = 2 };

static atomic_int ran[STEPS];

static void open_crew(const pare__policy_class *policy, uint64_t memory_bytes) {
  const pare__crew_options options = {.policy = policy};
  pare__crew_member member[MEMBERS];
  make_members(member, MEMBERS, memory_bytes);
  open_members(member, MEMBERS, &options);
}

/* What everybody is to believe of a kernel: n steps take a + b n seconds on each member. */
static void know(const char *name, double a, double b) {
  size_t kernel;
  pare__crew_lock(crew);
  OK(pare__performance_kernel(crew->performance, name, &kernel));
  for (size_t i = 0; i < MEMBERS; i++) pare__performance_set(crew->performance, kernel, i, a, b);
  pare__crew_unlock(crew);
}

static pare_status count_steps(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member;
  for (int64_t i = begin; i < end; i++) atomic_fetch_add(&ran[i], 1);
  return PARE_OK;
}

/* Of a job of so many steps; it runs, each step once. */
static uint64_t pieces_of(const char *kernel, int64_t n, int64_t least) {
  const pare__job job = {.run = count_steps,
                         .kernel = kernel,
                         .n = n,
                         .grain = 1,
                         .least = least,
                         .nbytes = 100 * (double)n,
                         .read_bytes = 50 * (double)n,
                         .member = PARE__NO_DEVICE};
  pare_schedule_stats before, after;
  memset(ran, 0, sizeof ran);
  OK(pare__crew_stats(crew, &before));
  OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  OK(pare__crew_wait_all(crew));
  OK(pare__crew_stats(crew, &after));
  const uint64_t pieces = after.pieces - before.pieces;
  pare_schedule_stats_close(&before);
  pare_schedule_stats_close(&after);
  for (int64_t i = 0; i < n; i++) ck_assert_int_eq(atomic_load(&ran[i]), 1);
  return pieces;
}

/* Under every policy that splits. */
START_TEST(pieces_are_worth_a_launch_by_what_was_learned) {
  for (size_t p = 0; pare__policies[p]; p++) {
    if (pare__policies[p] == &pare__policy_priority) continue;
    open_crew(pare__policies[p], 0);
    /* few bytes, so it is not split at first; many, so it is */
    ck_assert_uint_eq(pieces_of("never seen", STEPS, STEPS), 1);
    ck_assert_uint_gt(pieces_of("never seen either", STEPS, 1), 1);
    know("slow", 0, 1e-3);
    ck_assert_uint_gt(pieces_of("slow", STEPS, STEPS), 1);
    know("quick", 0, 1e-9);
    ck_assert_uint_eq(pieces_of("quick", STEPS, 1), 1);
    /* 0.64 ms are several times worth a usual launch, and not one that takes 60 microseconds */
    know("launched at once", 0, 1e-5);
    ck_assert_uint_gt(pieces_of("launched at once", STEPS, STEPS), 1);
    know("launched slowly", 6e-5, 1e-5);
    ck_assert_uint_eq(pieces_of("launched slowly", STEPS, 1), 1);
    /* where some steps take longer than others, a line may have any start: no launch takes a second. HGuided's chunks
     * have a bound of their own. */
    know("irregular", 1, 1e-3);
    if (pare__policies[p] != &pare__policy_hguided) ck_assert_uint_gt(pieces_of("irregular", STEPS, STEPS), 1);
    close_crew();
  }
}
END_TEST

/* A task is not cut now and whole then because the second sample was a little slower than the first. */
START_TEST(the_least_piece_changes_when_it_is_far_off_only) {
  static const struct {
    double worth; /* steps that are */
    bool split;
  } then[] = {{30, true}, {40, true}, {59, true}, {61, false}, {40, false}, {31, false}, {30, true}, {16, true}};
  open_crew(NULL, 0);
  for (size_t i = 0; i < PARE__COUNT(then); i++) {
    know("k", 0, 1e-4 / then[i].worth);
    ck_assert_msg((pieces_of("k", STEPS, 1) > 1) == then[i].split, "change %zu", i);
  }
  close_crew();
}
END_TEST

/* What is so quick that it would stay whole is cut all the same where no device holds all of it. */
START_TEST(memory_cuts_what_is_quick) {
  for (size_t p = 0; pare__policies[p]; p++) {
    open_crew(pare__policies[p], (uint64_t)100 * STEPS / 3);
    know("quick", 0, 1e-9);
    ck_assert_uint_ge(pieces_of("quick", STEPS, STEPS), 3);
    close_crew();
  }
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("pieces");
  tcase_set_timeout(tests, 0);
  tcase_add_test(tests, pieces_are_worth_a_launch_by_what_was_learned);
  tcase_add_test(tests, the_least_piece_changes_when_it_is_far_off_only);
  tcase_add_test(tests, memory_cuts_what_is_quick);
  return run_tests("crew_pieces", tests);
}
