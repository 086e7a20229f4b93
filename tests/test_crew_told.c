/* What a crew tells: whose failure it was, what is refused, how long things took, what it is doing.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ocl/ocl.h"
#include "run.h"
#include "sched/crew_state.h"
/* what follows has a variable with the name of those functions' arguments */
#include "crews.h"

enum { MEMBERS = 2 };

static atomic_int calls, lost;

static void count_lost(void *user, size_t member, const char *message) {
  (void)user, (void)member, (void)message;
  atomic_fetch_add(&lost, 1);
}

static void open_crew(size_t nmembers, const pare__policy_class *policy, uint64_t memory_bytes) {
  const pare__crew_options options = {.policy = policy, .lost = count_lost};
  pare__crew_member member[MEMBERS];
  make_members(member, nmembers, memory_bytes);
  atomic_store(&calls, 0);
  atomic_store(&lost, 0);
  open_members(member, nmembers, &options);
}

static pare_status do_nothing(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  atomic_fetch_add(&calls, 1);
  return PARE_OK;
}

/* With the text that is its argument, behind the gate, or at once. */
static pare_status fail_now(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)member, (void)begin, (void)end;
  atomic_fetch_add(&calls, 1);
  return pare__fail(PARE_ERR_SHAPE, "%s", (const char *)argument);
}
static pare_status fail_later(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)wait_at_gate(NULL, member, begin, end);
  return pare__fail(PARE_ERR_SHAPE, "%s", (const char *)argument);
}

static void open_the_gate(void *argument, pare_status status) {
  (void)argument, (void)status;
  open_gate();
}

static pare__job_id submit(const pare__job *job, pare__job_id after) {
  pare__job_id id;
  OK(pare__crew_submit(crew, job, &after, 1, &id));
  return id;
}

/* ---- failures ---- */

static char first_text[] = "the first", second_text[] = "the second";

static void expect_failure(pare__job_id id, const char *text) {
  ck_assert_int_eq(pare__crew_wait(crew, id), PARE_ERR_SHAPE);
  ck_assert_str_eq(pare_message(), text);
}

/* It came too late to hear of it from those that were told. */
START_TEST(a_job_behind_one_that_failed_fails_likewise) {
  const pare__job bad = {.run = fail_now,
                         .done = open_the_gate,
                         .argument = first_text,
                         .n = 1,
                         .member = PARE__NO_DEVICE},
                  good = {.run = do_nothing, .n = 1, .member = PARE__NO_DEVICE};
  open_crew(MEMBERS, NULL, 0);
  const pare__job_id failed = submit(&bad, 0);
  await_open_gate();
  expect_failure(submit(&good, failed), first_text);
  ck_assert_int_eq(atomic_load(&calls), 1);
  expect_failure(failed, first_text);
  OK(pare__crew_wait(crew, submit(&good, failed))); /* it was told, and is forgotten */
  close_crew();
}
END_TEST

/* Of two pieces in flight, and of two needs. */
START_TEST(the_first_failure_counts) {
  const pare__job chunks = {
      .run = do_nothing, .settle = fail_now, .argument = first_text, .n = 1000, .grain = 1, .member = PARE__NO_DEVICE};
  open_crew(1, &pare__policy_hguided, 0);
  expect_failure(submit(&chunks, 0), first_text);
  /* those that were enqueued are waited for, and no more are begun */
  ck_assert_int_le(atomic_load(&calls), 2 * PARE__IN_FLIGHT);
  close_crew();
  open_crew(MEMBERS, NULL, 0);
  const pare__job a = {.run = fail_now, .done = open_the_gate, .argument = first_text, .n = 1, .member = 0},
                  b = {.run = fail_later, .argument = second_text, .n = 1, .member = 1},
                  c = {.run = do_nothing, .n = 1, .member = PARE__NO_DEVICE};
  const pare__job_id needs[] = {submit(&b, 0), submit(&a, 0)};
  pare__job_id id;
  OK(pare__crew_submit(crew, &c, needs, 2, &id));
  expect_failure(id, first_text);
  ck_assert_int_eq(pare__crew_wait_all(crew), PARE_ERR_SHAPE);
  close_crew();
}
END_TEST

/* Another text for each piece: the first that was settled is told. */
static pare_status fail_by_step(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)end;
  return pare__fail(PARE_ERR_SHAPE, "step %d", (int)begin);
}

START_TEST(a_job_fails_as_its_first_piece_did) {
  const pare__job job = {.run = do_nothing, .settle = fail_by_step, .n = 1000, .grain = 1, .member = PARE__NO_DEVICE};
  open_crew(1, &pare__policy_hguided, 0);
  expect_failure(submit(&job, 0), "step 0");
  close_crew();
}
END_TEST

/* `done` makes the failure known: those that wait for it already run. */
START_TEST(those_behind_a_job_that_tells_run) {
  const pare__job bad = {.run = fail_later, .argument = first_text, .n = 1, .member = 0, .tells = true},
                  good = {.run = do_nothing, .n = 1, .member = PARE__NO_DEVICE};
  open_crew(MEMBERS, NULL, 0);
  const pare__job_id id = submit(&good, submit(&bad, 0));
  open_gate();
  OK(pare__crew_wait(crew, id));
  ck_assert_int_eq(atomic_load(&calls), 1);
  OK(pare__crew_wait_all(crew));
  close_crew();
}
END_TEST

static pare_status fail_on_second(void *argument, size_t member, int64_t begin, int64_t end) {
  if (member == 0) return do_nothing(argument, member, begin, end);
  (void)wait_at_gate(NULL, member, begin, end);
  return pare__fail(PARE_ERR_DEVICE, "gone");
}

/* It was given up while it worked, and then its device failed: what it had runs elsewhere, all the same. */
START_TEST(a_member_given_up_in_a_call_may_fail_in_it) {
  const pare__job job = {.run = fail_on_second, .n = 1, .member = 1};
  open_crew(MEMBERS, NULL, 0);
  const pare__job_id id = submit(&job, 0);
  await_at_gate();
  pare__crew_lose(crew, 1, "unplugged");
  open_gate();
  OK(pare__crew_wait(crew, id));
  ck_assert_int_eq(atomic_load(&calls), 1);
  close_crew();
  ck_assert_int_eq(atomic_load(&lost), 1);
}
END_TEST

/* ---- nonsense ---- */

/* The one that is named is on the circle, and no one that only needs it. */
START_TEST(a_circle_is_named_by_one_of_its_jobs) {
  pare__job job[5];
  static const char *const name[] = {"tail", "another", "one", "two", "three"};
  const size_t begin[] = {0, 1, 2, 3, 4, 5};
  const uint32_t after[] = {1, 2, 3, 4, 2}; /* 0 needs 1 needs 2 needs 3 needs 4 needs 2 */
  for (size_t i = 0; i < PARE__COUNT(job); i++)
    job[i] = (pare__job){.run = do_nothing, .name = name[i], .n = 1, .member = PARE__NO_DEVICE};
  open_crew(MEMBERS, NULL, 0);
  ck_assert_int_eq(pare__crew_submit_graph(crew, job, PARE__COUNT(job), begin, after, NULL), PARE_ERR_ARGUMENT);
  ck_assert_msg(strstr(pare_message(), "'one'") || strstr(pare_message(), "'two'") || strstr(pare_message(), "'three'"),
                "%s", pare_message());
  const uint32_t beyond[] = {1, 2, 3, 4, 5};
  ck_assert_int_eq(pare__crew_submit_graph(crew, job, PARE__COUNT(job), begin, beyond, NULL), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "one needs job 5"));
  OK(pare__crew_wait_all(crew));
  ck_assert_int_eq(atomic_load(&calls), 0);
  close_crew();
}
END_TEST

START_TEST(ids_that_never_were_are_refused) {
  const pare__job good = {.run = do_nothing, .n = 1, .member = PARE__NO_DEVICE};
  pare__job bad = good;
  open_crew(MEMBERS, NULL, 0);
  const pare__job_id first = submit(&good, 0);
  OK(pare__crew_wait_all(crew));
  /* the slot was used once: it is known what came before, and nothing of what will */
  const pare__job_id never[] = {first + (UINT64_C(7) << 32), first + 1000, first & UINT32_MAX};
  for (size_t i = 0; i < PARE__COUNT(never); i++) {
    if (never[i] == 0) continue;
    pare__job_id id = 5;
    ck_assert_int_eq(pare__crew_submit(crew, &good, &never[i], 1, &id), PARE_ERR_ARGUMENT);
    ck_assert_uint_eq(id, 0);
    ck_assert_int_eq(pare__crew_wait(crew, never[i]), PARE_ERR_ARGUMENT);
  }
  OK(pare__crew_wait(crew, first));
  bad.grain = -1;
  ck_assert_int_eq(pare__crew_submit(crew, &bad, NULL, 0, NULL), PARE_ERR_ARGUMENT);
  bad = good;
  bad.run = NULL;
  ck_assert_int_eq(pare__crew_submit(crew, &bad, NULL, 0, NULL), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "nothing to run"));
  close_crew();
}
END_TEST

/* ---- whoever is inside of a job ---- */

static pare__crew *outer;

static void wait_for_outer(void *argument, pare_status status) {
  (void)argument, (void)status;
  ck_assert_int_eq(pare__crew_wait_all(outer), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "would never end"));
  ck_assert_int_eq(pare__crew_close(outer), PARE_ERR_ARGUMENT);
  atomic_fetch_add(&calls, 1);
}

/* A job without steps ends within submit: its `done` is inside of both. */
static pare_status submit_to_another(void *argument, size_t member, int64_t begin, int64_t end) {
  const pare__job empty = {.done = wait_for_outer, .member = PARE__NO_DEVICE};
  (void)member, (void)begin, (void)end;
  return pare__crew_submit(argument, &empty, NULL, 0, NULL);
}

START_TEST(who_is_inside_of_two_crews_may_wait_for_neither) {
  const pare__crew_member member = {.name = "other", .key = "other", .seen = {.resource = PARE__ON_CPU}, .weight = 1};
  pare__crew *other;
  open_crew(1, NULL, 0);
  outer = crew;
  OK(pare__crew_open(&member, 1, NULL, &other));
  const pare__job job = {.run = submit_to_another, .argument = other, .n = 1, .member = PARE__NO_DEVICE};
  OK(pare__crew_wait(crew, submit(&job, 0)));
  ck_assert_int_eq(atomic_load(&calls), 1);
  OK(pare__crew_close(other));
  close_crew();
}
END_TEST

/* ---- order ---- */

static int order[4], norder;
static pare_status note_order(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)member, (void)begin, (void)end;
  order[norder++] = *(const int *)argument;
  return PARE_OK;
}

/* For one member alone as for any: who waits for a second is as urgent as one of a priority more that comes then. */
START_TEST(jobs_for_one_member_go_by_priority_and_age) {
  static const int number[] = {0, 1, 2, 3};
  static const int16_t priority[] = {0, -5, 2, 1};
  const pare__job blocker = {.run = wait_at_gate, .n = 1, .member = 0};
  norder = 0;
  open_crew(MEMBERS, NULL, 0);
  (void)submit(&blocker, 0);
  await_at_gate();
  for (int i = 0; i < 4; i++) {
    const pare__job job = {
        .run = note_order, .argument = (void *)&number[i], .n = 1, .priority = priority[i], .member = 0};
    if (i == 3) usleep(1200000);
    (void)submit(&job, 0);
  }
  open_gate();
  OK(pare__crew_wait_all(crew));
  close_crew();
  static const int want[] = {2, 0, 3, 1};
  ck_assert_int_eq(norder, 4);
  for (int i = 0; i < 4; i++) ck_assert_int_eq(order[i], want[i]);
}
END_TEST

/* ---- how long ---- */

static pare_status settle_slowly(void *argument, size_t member, int64_t begin, int64_t end) {
  usleep(10000);
  return do_nothing(argument, member, begin, end);
}

/* Two are in flight, and no second is counted for both. What waits is counted until it begins. */
START_TEST(a_member_is_busy_with_one_piece_at_a_time) {
  const pare__job blocker = {.run = wait_at_gate, .kernel = "gate", .n = 1, .member = 0},
                  job = {.run = do_nothing, .settle = settle_slowly, .kernel = "k", .n = 1, .member = 0};
  pare_schedule_stats stats;
  open_crew(1, NULL, 0);
  (void)submit(&blocker, 0);
  await_at_gate();
  for (int i = 0; i < 10; i++) (void)submit(&job, 0);
  usleep(50000);
  open_gate();
  OK(pare__crew_wait_all(crew));
  OK(pare__crew_stats(crew, &stats));
  const pare_device_stats *device = &stats.device[0];
  ck_assert_double_ge(device->busy_seconds, 0.14);
  ck_assert_double_le(device->busy_seconds, stats.elapsed_seconds);
  /* each of the ten for 50 ms, and then for those before it but one */
  ck_assert_double_ge(device->wait_seconds, 10 * 0.05 + 36 * 0.01);
  ck_assert_uint_eq(device->pieces, 11);
  pare_schedule_stats_close(&stats);
  close_crew();
}
END_TEST

static pare_status prepare(void *argument, size_t member, int64_t begin, int64_t end) {
  usleep(10000);
  pare__prepared();
  return do_nothing(argument, member, begin, end);
}

/* A program was built meanwhile: its time is not that of the work. */
START_TEST(a_piece_in_which_something_was_built_teaches_nothing) {
  const pare__job job = {.run = prepare, .kernel = "k", .n = 1, .member = 0},
                  then = {.run = do_nothing, .kernel = "k", .n = 1, .member = 0};
  pare__crew_line line;
  open_crew(1, NULL, 0);
  for (int i = 0; i < 3; i++) OK(pare__crew_wait(crew, submit(&job, 0)));
  pare__crew_lines(crew, "k", &line);
  ck_assert(!line.known);
  OK(pare__crew_wait(crew, submit(&then, 0)));
  pare__crew_lines(crew, "k", &line);
  ck_assert(line.known);
  close_crew();
}
END_TEST

/* ---- probes ---- */

static atomic_int longest;
static pare_status note_longest(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member;
  if ((int)(end - begin) > atomic_load(&longest)) atomic_store(&longest, (int)(end - begin));
  return PARE_OK;
}

/* Nothing is known of the kernel, and a 64th of the job is more than a device holds. */
START_TEST(a_probe_fits_the_memory) {
  const pare__job job = {.run = note_longest,
                         .kernel = "new",
                         .n = 6400,
                         .grain = 1,
                         .nbytes = 640000,
                         .read_bytes = 320000,
                         .member = PARE__NO_DEVICE};
  open_crew(MEMBERS, NULL, 3000);
  atomic_store(&longest, 0);
  OK(pare__crew_wait(crew, submit(&job, 0)));
  ck_assert_int_le(atomic_load(&longest), 30);
  close_crew();
}
END_TEST

/* Nobody was lost: the message says what it is. */
START_TEST(what_no_device_holds_is_told) {
  const pare__job job = {.run = do_nothing, .name = "wide", .n = 1, .nbytes = 5000, .member = PARE__NO_DEVICE};
  open_crew(MEMBERS, NULL, 3000);
  ck_assert_int_eq(pare__crew_wait(crew, submit(&job, 0)), PARE_ERR_DEVICE);
  ck_assert_str_eq(pare_message(), "no device has the memory for 'wide'");
  ck_assert_int_eq(atomic_load(&calls), 0);
  close_crew();
}
END_TEST

/* ---- what it is doing ---- */

/* What the watchdog of every test here prints. */
START_TEST(the_state_names_who_hangs_in_what) {
  const pare__job blocker = {.run = wait_at_gate, .name = "the blocker", .n = 1, .member = 1},
                  next = {.run = do_nothing, .name = "the next", .n = 3, .member = 1};
  char *state;
  open_crew(MEMBERS, NULL, 0);
  (void)submit(&next, submit(&blocker, 0));
  await_at_gate();
  OK(pare__crew_state(crew, &state));
  static const char *const says[] = {"policy dmda, 2 jobs pending", "1 second: runs since",
                                     "in flight: 'the blocker' [0, 1)",
                                     "'the next' waits: 3 of 3 steps left, 1 needs missing"};
  for (size_t i = 0; i < PARE__COUNT(says); i++)
    ck_assert_msg(strstr(state, says[i]), "'%s' is not in %s", says[i], state);
  free(state);
  open_gate();
  close_crew();
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("told");
  tcase_set_timeout(laws, 0);
  tcase_add_test(laws, a_job_behind_one_that_failed_fails_likewise);
  tcase_add_test(laws, the_first_failure_counts);
  tcase_add_test(laws, a_job_fails_as_its_first_piece_did);
  tcase_add_test(laws, those_behind_a_job_that_tells_run);
  tcase_add_test(laws, a_member_given_up_in_a_call_may_fail_in_it);
  tcase_add_test(laws, a_circle_is_named_by_one_of_its_jobs);
  tcase_add_test(laws, ids_that_never_were_are_refused);
  tcase_add_test(laws, who_is_inside_of_two_crews_may_wait_for_neither);
  tcase_add_test(laws, jobs_for_one_member_go_by_priority_and_age);
  tcase_add_test(laws, a_member_is_busy_with_one_piece_at_a_time);
  tcase_add_test(laws, a_piece_in_which_something_was_built_teaches_nothing);
  tcase_add_test(laws, a_probe_fits_the_memory);
  tcase_add_test(laws, what_no_device_holds_is_told);
  tcase_add_test(laws, the_state_names_who_hangs_in_what);
  return run_tests("crew_told", laws);
}
