/* Who is given up because nothing moves, and who is not. SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crews.h"
#include "run.h"

#define STALL_SECONDS 0.6
enum { MEMBERS = 2 };

static atomic_int told, ran;
static atomic_bool goes_on; /* who hangs comes back */

static void count_lost(void *user, size_t member, const char *message) {
  (void)user, (void)member;
  ck_assert_msg(strstr(message, "no progress for") != NULL, "%s", message);
  atomic_fetch_add(&told, 1);
}

/* Of two members, or of two groups of devices. */
static void open_crew(bool groups) {
  const pare__crew_options options = {.lost = count_lost, .stall_seconds = STALL_SECONDS};
  pare__crew_member member[MEMBERS];
  make_members(member, MEMBERS, 0);
  for (size_t i = 0; i < MEMBERS; i++) member[i].is_group = groups;
  atomic_store(&told, 0);
  atomic_store(&ran, 0);
  atomic_store(&goes_on, false);
  open_members(member, MEMBERS, &options);
}

static void let_all_end(void) {
  atomic_store(&goes_on, true);
  close_crew();
}

static void pause_for(double seconds) {
  struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
  while (nanosleep(&left, &left) != 0) continue;
}

typedef pare_status step(void *argument, size_t member, int64_t begin, int64_t end);

/* So many jobs for the first member, which others get if it is lost. */
static void run_jobs(step *run, int count) {
  const pare__job job = {.run = run, .n = 1, .member = 0};
  for (int i = 0; i < count; i++) OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  OK(pare__crew_wait_all(crew));
}

static pare_status take_a_tenth(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  pause_for(STALL_SECONDS / 10);
  atomic_fetch_add(&ran, 1);
  return PARE_OK;
}

static pare_status take_a_third(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  pause_for(STALL_SECONDS / 3);
  atomic_fetch_add(&ran, 1);
  return PARE_OK;
}

static pare_status take_too_long(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  pause_for(2 * STALL_SECONDS);
  atomic_fetch_add(&ran, 1);
  return PARE_OK;
}

/* The first never comes back while the test goes on. */
static void hang(size_t member) {
  while (member == 0 && !atomic_load(&goes_on)) pause_for(0.01);
}

/* ---- who moves ---- */

/* Each call counts from its own beginning. */
START_TEST(whoever_makes_short_calls_makes_progress) {
  open_crew(false);
  run_jobs(take_a_tenth, 20);
  run_jobs(take_a_third, 3);
  ck_assert_int_eq(atomic_load(&told), 0);
  ck_assert_int_eq(atomic_load(&ran), 23);
  let_all_end();
}
END_TEST

/* A process that was stopped, as by a debugger or a batch system, has not stalled: nothing could move. */
START_TEST(a_process_that_was_stopped_has_not_stalled) {
  open_crew(false);
  const pare__job job = {.run = take_a_third, .n = 1, .member = 0};
  OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  const pid_t parent = getpid(), child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    const struct timespec stopped = {.tv_sec = 2};
    const bool stops = kill(parent, SIGSTOP) == 0;
    (void)nanosleep(&stopped, NULL);
    _exit(stops && kill(parent, SIGCONT) == 0 ? 0 : 1);
  }
  int status;
  OK(pare__crew_wait_all(crew));
  while (waitpid(child, &status, 0) != child) continue;
  ck_assert_int_eq(status, 0);
  ck_assert_int_eq(atomic_load(&told), 0);
  let_all_end();
}
END_TEST

/* Its devices have a crew of their own, which watches them. */
START_TEST(a_group_of_devices_is_not_given_up_as_a_whole) {
  open_crew(true);
  run_jobs(take_too_long, 1);
  ck_assert_int_eq(atomic_load(&told), 0);
  ck_assert_int_eq(atomic_load(&ran), 1);
  let_all_end();
}
END_TEST

/* ---- who claims ---- */

/* Takes as long as it takes: nobody else may do it as well. */
static pare_status claim_and_take_long(void *argument, size_t member, int64_t begin, int64_t end) {
  ck_assert(pare__crew_claim(crew, member));
  return take_too_long(argument, member, begin, end);
}

static pare_status only_hang(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)begin, (void)end;
  hang(member);
  if (member != 0) atomic_fetch_add(&ran, 1);
  return PARE_OK;
}

/* Hangs behind what had to happen once. */
static pare_status claim_and_hang(void *argument, size_t member, int64_t begin, int64_t end) {
  if (pare__crew_claim(crew, member)) pare__crew_unclaim(crew, member);
  return only_hang(argument, member, begin, end);
}

START_TEST(who_has_claimed_is_not_given_up_in_that_call) {
  open_crew(false);
  run_jobs(claim_and_take_long, 1);
  ck_assert_int_eq(atomic_load(&told), 0);
  ck_assert_int_eq(atomic_load(&ran), 1);
  run_jobs(only_hang, 1);
  ck_assert_int_eq(atomic_load(&ran), 2);
  let_all_end(); /* by then it was told */
  ck_assert_int_eq(atomic_load(&told), 1);
}
END_TEST

START_TEST(who_gives_a_claim_back_can_be_given_up) {
  open_crew(false);
  run_jobs(claim_and_hang, 1);
  ck_assert_int_eq(atomic_load(&ran), 1);
  let_all_end();
  ck_assert_int_eq(atomic_load(&told), 1);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("watch");
  tcase_set_timeout(laws, 0);
  tcase_add_test(laws, whoever_makes_short_calls_makes_progress);
  tcase_add_test(laws, a_process_that_was_stopped_has_not_stalled);
  tcase_add_test(laws, a_group_of_devices_is_not_given_up_as_a_whole);
  tcase_add_test(laws, who_has_claimed_is_not_given_up_in_that_call);
  tcase_add_test(laws, who_gives_a_claim_back_can_be_given_up);
  return run_tests("crew_watch", laws);
}
