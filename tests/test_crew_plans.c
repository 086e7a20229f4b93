/* Graphs of jobs under a policy that plans: no plan holds anything up. SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <string.h>

#include "crews.h"
#include "run.h"

enum { MOST_JOBS = 40, MEMBERS = 3 };

static atomic_int ran[MOST_JOBS], out_of_order, nrefused, longest; /* longest: steps of a piece */
static pare_status refusal[MEMBERS];                               /* of each member; PARE_OK: it does all */

/* The first member is a GPU; the others are CPUs. */
static void open_crew(uint64_t memory_bytes) {
  const pare__crew_options options = {.policy = &pare__policy_heft};
  pare__crew_member member[MEMBERS];
  make_members(member, MEMBERS, memory_bytes);
  member[0].seen.resource = PARE__ON_GPU;
  memset(ran, 0, sizeof ran);
  memset(refusal, 0, sizeof refusal);
  atomic_store(&out_of_order, 0);
  atomic_store(&nrefused, 0);
  open_members(member, MEMBERS, &options);
}

/* Those before it in the graph have run: job i needs i - 1 and i - 3. */
static pare_status count_steps(void *argument, size_t member, int64_t begin, int64_t end) {
  const size_t index = (size_t)((atomic_int *)argument - ran);
  if (refusal[member] != PARE_OK) {
    atomic_fetch_add(&nrefused, 1);
    return pare__fail(refusal[member], "not on member %zu", member);
  }
  if ((index > 0 && atomic_load(&ran[index - 1]) == 0) || (index > 2 && atomic_load(&ran[index - 3]) == 0))
    atomic_fetch_add(&out_of_order, 1);
  atomic_fetch_add(&ran[index], (int)(end - begin));
  if (end - begin > atomic_load(&longest)) atomic_store(&longest, (int)(end - begin));
  return PARE_OK;
}

static pare_status count_step(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)member;
  atomic_fetch_add((atomic_int *)argument, (int)(end - begin));
  return PARE_OK;
}

static pare_status refuse(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  return pare__fail(PARE_ERR_SHAPE, "it does not fit");
}

/* All jobs of a graph; some are for a class, and if pinned for a member: then the plan's order is soon given up. */
static void make_graph(pare__job *job, size_t *begin, uint32_t *after, int64_t n, bool pinned) {
  size_t count = 0;
  for (size_t i = 0; i < MOST_JOBS; i++) {
    job[i] = (pare__job){.run = count_steps,
                         .argument = &ran[i],
                         .kernel = i % 2 ? "odd" : "even",
                         .n = n,
                         .grain = 1,
                         .nbytes = 100 * (double)n,
                         .read_bytes = 50 * (double)n,
                         .resources = i % 5 == 0 ? PARE__ON_CPU : 0,
                         .member = pinned && i % 7 == 3 ? i % MEMBERS : PARE__NO_DEVICE};
    begin[i] = count;
    if (i > 0) after[count++] = (uint32_t)i - 1;
    if (i > 2) after[count++] = (uint32_t)i - 3;
  }
  begin[MOST_JOBS] = count;
}

static void check_all_ran(int times) {
  for (size_t i = 0; i < MOST_JOBS; i++) ck_assert_int_eq(atomic_exchange(&ran[i], 0), times);
  ck_assert_int_eq(atomic_load(&out_of_order), 0);
}

static pare__job jobs[MOST_JOBS];
static size_t begins[MOST_JOBS + 1];
static uint32_t afters[2 * MOST_JOBS];

/* Slots of a plan's jobs are used again by jobs that no plan knows, and by graphs that come while others run. */
START_TEST(jobs_that_come_later_are_not_in_the_plan) {
  open_crew(0);
  make_graph(jobs, begins, afters, 1, false);
  for (int round = 0; round < 20; round++) {
    OK(pare__crew_submit_graph(crew, jobs, MOST_JOBS, begins, afters, NULL));
    OK(pare__crew_wait_all(crew));
    check_all_ran(1);
    pare__job_id id[MOST_JOBS];
    for (size_t i = 0; i < MOST_JOBS; i++) {
      const pare__job_id needs[] = {i > 0 ? id[i - 1] : 0, i > 2 ? id[i - 3] : 0};
      OK(pare__crew_submit(crew, &jobs[i], needs, 2, &id[i]));
    }
    OK(pare__crew_wait_all(crew));
    check_all_ran(1);
  }
  /* the second and the third come while the first runs */
  pare__job_id before = 0;
  const pare__job last = jobs[0];
  for (int k = 0; k < 3; k++) OK(pare__crew_submit_graph(crew, jobs, MOST_JOBS, begins, afters, NULL));
  OK(pare__crew_submit(crew, &last, &before, 1, NULL));
  OK(pare__crew_wait_all(crew));
  for (size_t i = 0; i < MOST_JOBS; i++) ck_assert_int_eq(atomic_load(&ran[i]), i == 0 ? 4 : 3);
  close_crew();
}
END_TEST

/* _i = some are for a member alone. What a device of the plan cannot, others do, and who waited for their turn behind
 * it go on. */
START_TEST(what_a_device_of_the_plan_refuses_runs_elsewhere) {
  static const pare_status statuses[] = {PARE_ERR_LIMIT, PARE_ERR_KERNEL, PARE_ERR_DEVICE};
  for (size_t s = 0; s < PARE__COUNT(statuses); s++)
    for (size_t member = 0; member < MEMBERS; member++) {
      open_crew(0);
      make_graph(jobs, begins, afters, 1, _i == 1);
      refusal[member] = statuses[s];
      OK(pare__crew_submit_graph(crew, jobs, MOST_JOBS, begins, afters, NULL));
      OK(pare__crew_wait_all(crew));
      check_all_ran(1);
      ck_assert_int_eq(pare__crew_is_lost(crew, member), statuses[s] == PARE_ERR_DEVICE && atomic_load(&nrefused) > 0);
      close_crew();
    }
}
END_TEST

/* Two chains that need nothing of each other: odd jobs and even ones. */
static void make_chains(pare__job *job, size_t *begin, uint32_t *after) {
  make_graph(job, begin, after, 1, false);
  for (size_t i = 0; i < MOST_JOBS; i++) {
    job[i].run = count_step;
    if (i % 9 == 4) job[i].n = 0;
    begin[i] = i < 2 ? 0 : i - 2;
    if (i >= 2) after[i - 2] = (uint32_t)i - 2;
  }
  begin[MOST_JOBS] = MOST_JOBS - 2;
}

static void check_chains(size_t failed) {
  for (size_t i = 0; i < MOST_JOBS; i++) {
    const bool fails = i >= failed && (i - failed) % 2 == 0;
    ck_assert_int_eq(atomic_exchange(&ran[i], 0), fails ? 0 : (int)jobs[i].n);
  }
}

/* Those that need a failed job will not come, nor will those without steps: others behind them in the plan do not wait.
 * Failures that nobody was told of stay where they are while the next graph is planned. */
START_TEST(a_failed_need_holds_no_plan_up) {
  for (size_t failing = 0; failing < MOST_JOBS; failing += 3) {
    pare__job_id id[MOST_JOBS];
    open_crew(0);
    make_chains(jobs, begins, afters);
    if (jobs[failing].n == 0) jobs[failing].n = 1;
    jobs[failing].run = refuse;
    OK(pare__crew_submit_graph(crew, jobs, MOST_JOBS, begins, afters, id));
    for (size_t i = MOST_JOBS - 2; i < MOST_JOBS; i++)
      ck_assert_int_eq(pare__crew_wait(crew, id[i]), (i - failing) % 2 ? PARE_OK : PARE_ERR_SHAPE);
    check_chains(failing);
    jobs[failing].run = count_step;
    OK(pare__crew_submit_graph(crew, jobs, MOST_JOBS, begins, afters, NULL));
    ck_assert_int_eq(pare__crew_wait_all(crew), failing < MOST_JOBS - 2 ? PARE_ERR_SHAPE : PARE_OK);
    ck_assert(failing >= MOST_JOBS - 2 || strstr(pare_message(), "it does not fit"));
    check_chains(MOST_JOBS);
    close_crew();
  }
}
END_TEST

/* What no device holds whole has no place in the plan: it is divided when it is ready. */
START_TEST(what_no_device_holds_is_divided) {
  open_crew(300);
  atomic_store(&longest, 0);
  make_graph(jobs, begins, afters, 9, false);
  OK(pare__crew_submit_graph(crew, jobs, MOST_JOBS, begins, afters, NULL));
  OK(pare__crew_wait_all(crew));
  check_all_ran(9);
  ck_assert_int_le(atomic_load(&longest), 3);
  close_crew();
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("plans");
  tcase_set_timeout(laws, 0);
  tcase_add_test(laws, jobs_that_come_later_are_not_in_the_plan);
  tcase_add_loop_test(laws, what_a_device_of_the_plan_refuses_runs_elsewhere, 0, 2);
  tcase_add_test(laws, a_failed_need_holds_no_plan_up);
  tcase_add_test(laws, what_no_device_holds_is_divided);
  return run_tests("crew_plans", laws);
}
