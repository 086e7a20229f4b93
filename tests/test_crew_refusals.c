/* What one device of a crew cannot, others do; what none can fails as it did first. SPDX-License-Identifier: Apache-2.0
 */
#include <stdatomic.h>
#include <string.h>

#include "crews.h"
#include "run.h"

enum { STEPS = 64, MEMBERS = 3 };

static atomic_int ran[STEPS], refused[MEMBERS], told, did, logged;
static pare_status refusal[MEMBERS]; /* of each member; PARE_OK: it does it */

static void count_lost(void *user, size_t member, const char *message) {
  (void)user, (void)member, (void)message;
  atomic_fetch_add(&told, 1);
}

static void open_crew(const pare__policy_class *policy) {
  const pare__crew_options options = {.policy = policy, .lost = count_lost};
  pare__crew_member member[MEMBERS];
  make_members(member, MEMBERS, 0);
  memset(ran, 0, sizeof ran);
  memset(refused, 0, sizeof refused);
  memset(refusal, 0, sizeof refusal);
  atomic_store(&told, 0);
  atomic_store(&did, 0);
  atomic_store(&logged, 0);
  open_members(member, MEMBERS, &options);
}

static void close_with(int lost) {
  close_crew();
  ck_assert_int_eq(atomic_load(&told), lost);
}

static pare_status do_nothing(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  return PARE_OK;
}

static pare_status do_or_refuse(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument;
  if (refusal[member] == PARE_OK) {
    atomic_fetch_add(&did, 1);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&ran[i], 1);
    return PARE_OK;
  }
  atomic_fetch_add(&refused[member], 1);
  return pare__fail(refusal[member], "not on member %zu", member);
}

static pare__job job_of(const char *kernel, size_t member, bool settles) {
  return (pare__job){.run = settles ? do_nothing : do_or_refuse,
                     .settle = settles ? do_or_refuse : NULL,
                     .kernel = kernel,
                     .n = STEPS,
                     .member = member};
}

/* Every third job is for the second member; some need the one before. */
static void run_jobs(int njobs, const char *kernel, bool settles) {
  pare__job_id id = 0;
  for (int i = 0; i < njobs; i++) {
    const pare__job job = job_of(kernel, i % 3 ? PARE__NO_DEVICE : 1, settles);
    OK(pare__crew_submit(crew, &job, &id, i % 5 == 0, &id));
  }
  OK(pare__crew_wait_all(crew));
  for (int k = 0; k < STEPS; k++) ck_assert_int_eq(atomic_exchange(&ran[k], 0), njobs);
}

static void count_logged(pare_log_level level, const char *line, void *user) {
  (void)user;
  if (level <= PARE_LOG_WARN && strstr(line, "second cannot run 'k'")) atomic_fetch_add(&logged, 1);
}

/* _i = by run or by settle. */
START_TEST(what_one_device_cannot_others_do) {
  static const pare_status statuses[] = {PARE_ERR_LIMIT, PARE_ERR_MEMORY, PARE_ERR_KERNEL};
  for (size_t p = 0; pare__policies[p]; p++)
    for (size_t s = 0; s < PARE__COUNT(statuses); s++) {
      pare_schedule_stats stats;
      open_crew(pare__policies[p]);
      pare_log_set(count_logged, NULL, PARE_LOG_WARN);
      refusal[1] = statuses[s];
      run_jobs(60, "k", _i == 1);
      pare_log_set(NULL, NULL, PARE_LOG_ERROR);
      ck_assert(!pare__crew_is_lost(crew, 1));
      ck_assert_int_eq(atomic_load(&logged), 1);
      /* what does not build is not tried again but where it was in flight already; all else by every job for it */
      if (statuses[s] == PARE_ERR_KERNEL)
        ck_assert_int_le(atomic_load(&refused[1]), PARE__IN_FLIGHT);
      else
        ck_assert_int_ge(atomic_load(&refused[1]), 20);
      OK(pare__crew_stats(crew, &stats));
      ck_assert_uint_eq(stats.pieces, (uint64_t)atomic_load(&did));
      pare_schedule_stats_close(&stats);
      refusal[1] = PARE_OK;
      run_jobs(20, "another", _i == 1);
      close_with(0);
    }
}
END_TEST

START_TEST(what_no_device_can_fails_as_it_did_first) {
  const pare__job job = job_of("k", 1, false);
  for (size_t p = 0; pare__policies[p]; p++) {
    pare__job_id id;
    open_crew(pare__policies[p]);
    refusal[0] = refusal[2] = PARE_ERR_KERNEL;
    refusal[1] = PARE_ERR_LIMIT;
    OK(pare__crew_submit(crew, &job, NULL, 0, &id));
    ck_assert_int_eq(pare__crew_wait(crew, id), PARE_ERR_LIMIT);
    ck_assert_str_eq(pare_message(), "not on member 1");
    /* the next job is tried again everywhere */
    refusal[0] = refusal[2] = PARE_OK;
    run_jobs(3, "k", false);
    refusal[0] = refusal[2] = PARE_ERR_KERNEL;
    refusal[1] = PARE_OK;
    run_jobs(10, "k", false);
    /* those that are left cannot */
    refusal[0] = PARE_ERR_MEMORY;
    pare__crew_lose(crew, 1, "unplugged");
    pare__crew_lose(crew, 2, "unplugged");
    OK(pare__crew_submit(crew, &job, NULL, 0, &id));
    ck_assert_int_eq(pare__crew_wait(crew, id), PARE_ERR_MEMORY);
    ck_assert_str_eq(pare_message(), "not on member 0");
    close_with(2);
  }
}
END_TEST

static void note_failure(void *argument, pare_status status) { *(pare_status *)argument = status; }

START_TEST(a_job_that_tells_of_its_failure_stops_nobody) {
  pare_status found = PARE_OK;
  pare__job_id id;
  pare__job bad = job_of("k", PARE__NO_DEVICE, false);
  const pare__job good = bad;
  bad.tells = true;
  bad.done = note_failure;
  bad.argument = &found;
  open_crew(NULL);
  for (size_t i = 0; i < MEMBERS; i++) refusal[i] = PARE_ERR_LIMIT;
  OK(pare__crew_submit(crew, &bad, NULL, 0, &id));
  OK(pare__crew_wait(crew, id));
  ck_assert_int_eq(found, PARE_ERR_LIMIT);
  memset(refusal, 0, sizeof refusal);
  OK(pare__crew_submit(crew, &good, &id, 1, NULL));
  OK(pare__crew_wait_all(crew));
  for (int k = 0; k < STEPS; k++) ck_assert_int_eq(atomic_load(&ran[k]), 1);
  close_with(0);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("laws");
  tcase_set_timeout(laws, 0);
  tcase_add_loop_test(laws, what_one_device_cannot_others_do, 0, 2);
  tcase_add_test(laws, what_no_device_can_fails_as_it_did_first);
  tcase_add_test(laws, a_job_that_tells_of_its_failure_stops_nobody);
  return run_tests("crew_refusals", laws);
}
