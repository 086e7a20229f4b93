/* Laws of what tasks wait for besides devices, in simulation: copies of their results, and the host.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/simulate.h>
#include <stdio.h>
#include <string.h>

#include "run.h"
#include "sched/simulate.h"
#include "simulations.h"

static pare_simulation_result result_of(const char *machine_text, const char *work_text, const char *policy) {
  pare_machine *machine = machine_of(machine_text);
  pare_workload *workload = work_of(work_text);
  pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
  pare_simulation *simulation;
  pare_simulation_result result;
  options.policy = policy;
  OK(pare_simulate(machine, workload, &options, &simulation));
  OK(pare_simulation_result_get(simulation, &result));
  pare_simulation_close(simulation);
  pare_workload_close(workload);
  pare_machine_close(machine);
  return result;
}

/* ---- copies of results to the host ---- */

#define NEAR_AND_FAR                              \
  "{\"device\": \"near\", \"rates\": {\"*\": 1}}" \
  "{\"device\": \"far\", \"rates\": {\"*\": 4}, \"bandwidth\": 1}"

/* The faster device needs 25 seconds and then 90 to give back what it made; the other one 100 in all. */
START_TEST(a_task_goes_where_its_result_is_first) {
  static const char task[] = "{\"task\": \"t\", \"work\": 100, \"writes\": 90}";
  const pare_simulation_result result = result_of(NEAR_AND_FAR, task, "dmda");
  ck_assert_double_eq_tol(result.makespan, 100, 1e-9);
  /* where results stay, nothing is copied */
  const pare_simulation_result stays =
      result_of("{\"machine\": \"m\", \"contention\": false}" NEAR_AND_FAR, task, "dmda");
  ck_assert_double_eq_tol(stays.makespan, 25, 1e-9);
}
END_TEST

/* What the far one makes in a second takes two to give back, so that it is worth two of the near one and not four. */
START_TEST(a_part_is_as_large_as_the_link_back_lets_through) {
  static const char task[] =
      "{\"task\": \"t\", \"n\": 3000, \"work\": 1, \"split\": true, \"writes\": 1500}"; /* a byte for two steps */
  const pare_simulation_result result = result_of(NEAR_AND_FAR, task, "dmda");
  ck_assert_msg(result.makespan < 1.05 * 1000, "%g s", result.makespan);
  /* whole, its part works for 500 s before it goes back in 1000 */
  ck_assert_double_eq_tol(result_of(NEAR_AND_FAR, task, "static").makespan, 1500, 1e-9);
}
END_TEST

/* The far one is idle first, and would be through with one of the tasks of the other earlier, but not have its result
 * there. */
START_TEST(nothing_moves_to_where_its_result_is_late) {
  static const char tasks[] = "{\"task\": \"a\", \"work\": 100, \"writes\": 300}"
                              "{\"task\": \"b\", \"work\": 100, \"writes\": 300}"
                              "{\"task\": \"c\", \"work\": 100, \"writes\": 300}";
  const pare_simulation_result result = result_of(NEAR_AND_FAR, tasks, "dmda");
  ck_assert_double_eq_tol(result.makespan, 300, 1e-9);
  ck_assert_uint_eq(result.moves, 0);
}
END_TEST

/* ---- the host's own work ---- */

#define TWO "{\"device\": \"d\", \"count\": 2, \"rates\": {\"*\": 1}}"

START_TEST(the_host_works_between_what_a_task_needs_and_the_task) {
  const char *policy;
  for (size_t i = 0; pare_policy_get(i, &policy, NULL); i++) {
    const pare_simulation_result chain = result_of(
        TWO, "{\"task\": \"a\", \"work\": 3, \"host\": 2}{\"task\": \"b\", \"needs\": [\"a\"], \"host\": 5}", policy);
    ck_assert_msg(fabs(chain.makespan - 11) < 1e-9, "%s: %g s", policy, chain.makespan);
    ck_assert_double_eq_tol(chain.path_bound, 11, 1e-9);
    ck_assert_double_eq_tol(chain.wait_mean, 0, 1e-9); /* no device was waited for */
    const pare_simulation_result later =
        result_of(TWO, "{\"task\": \"a\", \"at\": 1, \"host\": 2}{\"task\": \"b\", \"work\": 4}", policy);
    ck_assert_msg(fabs(later.makespan - 4) < 1e-9, "%s: %g s", policy, later.makespan);
    /* devices do other work meanwhile */
    const pare_simulation_result beside =
        result_of(TWO,
                  "{\"task\": \"a\"}{\"task\": \"b\", \"needs\": [\"a\"], \"host\": 6}"
                  "{\"task\": \"c\", \"work\": 7}{\"task\": \"d\", \"work\": 6, \"needs\": [\"a\"]}",
                  policy);
    ck_assert_msg(fabs(beside.makespan - 8) < 1e-9, "%s: %g s", policy, beside.makespan);
  }
}
END_TEST

START_TEST(the_host_cannot_give_time_back) {
  static const char *const tasks[] = {"{\"task\": \"a\", \"host\": -1}", "{\"task\": \"a\", \"host\": \"much\"}"};
  for (size_t i = 0; i < PARE__COUNT(tasks); i++) {
    pare_workload *workload;
    ck_assert_int_eq(pare_workload_parse(tasks[i], strlen(tasks[i]), "tasks", &workload), PARE_ERR_FORMAT);
    ck_assert_msg(strstr(pare_message(), "tasks:1:15: 'host' must be a number") != NULL, "%s", pare_message());
  }
}
END_TEST

int main(void) {
  TCase *cases = tcase_create("waits");
  tcase_add_test(cases, a_task_goes_where_its_result_is_first);
  tcase_add_test(cases, a_part_is_as_large_as_the_link_back_lets_through);
  tcase_add_test(cases, nothing_moves_to_where_its_result_is_late);
  tcase_add_test(cases, the_host_works_between_what_a_task_needs_and_the_task);
  tcase_add_test(cases, the_host_cannot_give_time_back);
  return run_tests("simulate_waits", cases);
}
