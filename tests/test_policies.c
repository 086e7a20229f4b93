/* What each policy is by its name, in simulation and call by call. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "sched/simulate.h"
#include "simulations.h"

enum { DEVICES = 3 };

/* ---- call by call ---- */

/* A launch on device i takes a seconds, and it does speed[i] steps a second. */
static pare__policy *open_policy(const pare__policy_class *isa, const pare__policy_task *const *tasks,
                                 const double speed[DEVICES], double a) {
  static const pare__policy_device device[DEVICES] = {
      {.resource = PARE__ON_CPU}, {.resource = PARE__ON_GPU}, {.resource = PARE__ON_ACCELERATOR}};
  const pare__policy_options options = {.tasks = tasks};
  pare__performance *performance;
  pare__policy *policy;
  size_t kernel;
  OK(pare__performance_open(DEVICES, NULL, &performance));
  OK(pare__performance_kernel(performance, "k", &kernel));
  for (size_t i = 0; i < DEVICES; i++) pare__performance_set(performance, kernel, i, a, 1 / speed[i]);
  OK(pare__policy_open(isa, device, DEVICES, performance, &options, &policy));
  return policy;
}

static void close_policy(pare__policy *policy) {
  pare__performance *performance = policy->performance;
  pare__policy_close(policy);
  pare__performance_close(performance);
}

static int64_t steps_of(const pare__policy_piece *piece) { return piece->end - piece->begin; }

/* Each in turn, whatever it is worth; in equal pieces, of those that may. */
START_TEST(round_robin_takes_each_in_turn) {
  static const double speed[] = {1, 100, 10000};
  pare__policy_task task = {.resources = PARE__ON_ANY, .n = 1, .grain = 1, .per_step = 1};
  const pare__policy_task *const tasks = &task;
  pare__policy *policy = open_policy(&pare__policy_round_robin, &tasks, speed, 0);
  pare__policy_piece piece;
  size_t wake;
  for (int i = 0; i < 12; i++) {
    OK(pare__policy_place(policy, 0, 0, 1, 0, &wake));
    for (size_t d = 0; d < DEVICES; d++)
      ck_assert_int_eq(pare__policy_chunk(policy, d, 0, &piece, &wake), d == (size_t)i % DEVICES);
  }
  for (int barred = 0; barred <= 1; barred++) {
    const int64_t each = barred ? 15 : 10;
    task =
        (pare__policy_task){.resources = PARE__ON_ANY, .n = 30, .grain = 1, .per_step = 1, .barred = barred ? 2U : 0U};
    OK(pare__policy_place(policy, 0, 0, 30, 0, &wake));
    for (size_t d = 0; d < DEVICES; d++) {
      const bool may = !barred || d != 1;
      ck_assert_int_eq(pare__policy_chunk(policy, d, 0, &piece, &wake), may);
      if (may) ck_assert_int_eq(steps_of(&piece), each);
      ck_assert(!pare__policy_chunk(policy, d, 0, &piece, &wake));
    }
  }
  close_policy(policy);
}
END_TEST

/* R r_i / (k sum r), of the devices that may: a tenth of what is left in proportion to speed, and of what a launch is
 * worth ten at least. */
START_TEST(chunks_of_hguided_are_in_proportion_to_speed_and_shrink) {
  static const double speed[] = {1000, 3000, 6000};
  pare__policy_task task = {.resources = PARE__ON_CPU | PARE__ON_GPU, .n = 100000, .grain = 1, .per_step = 1};
  const pare__policy_task *const tasks = &task;
  pare__policy_piece piece;
  size_t wake;
  for (int launches = 0; launches <= 1; launches++) {
    /* those of the first take as long as 20 steps, so that its chunks have 200 at least */
    pare__policy *policy = open_policy(&pare__policy_hguided, &tasks, speed, launches ? 0.02 : 0);
    int64_t left = task.n, before[DEVICES] = {INT64_MAX, INT64_MAX, INT64_MAX};
    OK(pare__policy_place(policy, 0, 0, task.n, 0, &wake));
    for (size_t turn = 0; left > 2000; turn++) {
      const size_t d = turn % 2;
      const double fair = (double)left * speed[d] / 4000 / 10, least = launches ? 0.2 * speed[d] : 0,
                   want = fair > least ? fair : least;
      ck_assert(pare__policy_chunk(policy, d, 0, &piece, &wake));
      ck_assert_double_le((double)llabs(steps_of(&piece) - (int64_t)want), 1);
      ck_assert_int_le(steps_of(&piece), before[d]);
      before[d] = steps_of(&piece);
      left -= steps_of(&piece);
    }
    ck_assert(!pare__policy_chunk(policy, 2, 0, &piece, &wake));
    close_policy(policy);
  }
}
END_TEST

/* One task after the other, none of which is split, each where the policy puts it; what they take is another matter
 * than what is predicted. Returns how many the device had; *end: when the last was done. */
static int run_chain(pare__policy *policy, int ntasks, size_t device, const double seconds[DEVICES], double *end) {
  int count = 0;
  for (int i = 0; i < ntasks; i++) {
    pare__policy_piece piece;
    size_t at, wake;
    OK(pare__policy_place(policy, 0, 0, 1, *end, &at));
    ck_assert_uint_lt(at, DEVICES);
    ck_assert(pare__policy_chunk(policy, at, *end, &piece, &wake));
    *end += seconds[at];
    OK(pare__policy_complete(policy, at, &piece, *end, seconds[at], &wake));
    count += at == device;
  }
  return count;
}

/* No sample of a device that gets nothing would ever show that it is the fastest, as it has become. */
START_TEST(a_device_that_seems_slow_is_looked_at_again) {
  static const double speed[] = {100, 10, 1}, seconds[] = {0.01, 0.001, 1};
  pare__policy_task task = {.resources = PARE__ON_ANY, .n = 1, .grain = 1, .per_step = 1};
  const pare__policy_task *const tasks = &task;
  double end = 0;
  pare__policy *policy = open_policy(&pare__policy_dmda, &tasks, speed, 0);
  (void)run_chain(policy, 3000, 1, seconds, &end);
  ck_assert_int_ge(run_chain(policy, 1000, 1, seconds, &end), 990);
  close_policy(policy);
}
END_TEST

/* What looks cost: a fiftieth for each device that is slow, and what the first ones take. */
START_TEST(looks_at_slow_devices_cost_little) {
  enum { MANY = 20000 };
  static const double speed[] = {100, 5, 1}, seconds[] = {0.01, 0.2, 1};
  pare__policy_task task = {.resources = PARE__ON_ANY, .n = 1, .grain = 1, .per_step = 1};
  const pare__policy_task *const tasks = &task;
  double end = 0;
  pare__policy *policy = open_policy(&pare__policy_dmda, &tasks, speed, 0);
  const int looks = run_chain(policy, MANY, 2, seconds, &end);
  ck_assert_msg(looks > 0, "nobody looked");
  ck_assert_double_le(end, 1.045 * MANY * seconds[0]);
  /* where joules count, a second of one that is slow is not worth it */
  policy->weights = (pare__policy_weights){.finish = 1, .joule = 1};
  ck_assert_int_eq(run_chain(policy, MANY, 2, seconds, &end), 0);
  close_policy(policy);
}
END_TEST

/* ---- work whose steps take unlike times ---- */

enum { UNEVEN_STEPS = 65536, UNEVEN_GRAIN = 64 };

/* Of the first steps: the last one takes sixteen times as long as the first. */
static double uneven_work(int64_t steps) {
  const double part = (double)steps / UNEVEN_STEPS;
  return part + 15.0 / 4 * part * part * part * part;
}

/* One after the other, as it was given them. */
typedef struct pieces_of {
  pare__policy_piece piece[PARE__IN_FLIGHT];
  size_t count;
  double began;
} pieces_of;

static double ends_at(const pieces_of *at, double speed, double launch) {
  const pare__policy_piece *piece = &at->piece[0];
  if (at->count == 0) return INFINITY;
  return at->began + launch + (uneven_work(piece->end) - uneven_work(piece->begin)) / uneven_work(UNEVEN_STEPS) / speed;
}

static void take_all(pare__policy *policy, pieces_of *at, double now) {
  size_t wake;
  for (size_t d = 0; d < DEVICES; d++)
    while (at[d].count < PARE__IN_FLIGHT && pare__policy_chunk(policy, d, now, &at[d].piece[at[d].count], &wake))
      if (at[d].count++ == 0) at[d].began = now;
}

/* When all of the task is done, which began at `now`: of all of it a device does speed a second. */
static double run_uneven(pare__policy *policy, const double *speed, double launch, double now) {
  pieces_of at[DEVICES] = {{.count = 0}};
  int64_t left = UNEVEN_STEPS;
  size_t wake;
  OK(pare__policy_place(policy, 0, 0, UNEVEN_STEPS, now, &wake));
  while (left > 0) {
    size_t first = 0;
    take_all(policy, at, now);
    for (size_t d = 1; d < DEVICES; d++)
      if (ends_at(&at[d], speed[d], launch) < ends_at(&at[first], speed[first], launch)) first = d;
    const pare__policy_piece piece = at[first].piece[0];
    const double end = ends_at(&at[first], speed[first], launch);
    ck_assert_uint_gt(at[first].count, 0);
    OK(pare__policy_complete(policy, first, &piece, end, end - at[first].began, &wake));
    left -= steps_of(&piece);
    at[first].piece[0] = at[first].piece[1];
    at[first].count--;
    at[first].began = now = end;
  }
  return now;
}

/* Whatever was thought of the devices before: the first run teaches. */
START_TEST(uneven_steps_end_together) {
  static const pare__policy_class *const isa[] = {&pare__policy_dmda, &pare__policy_hguided};
  static const double speed[] = {5, 2.5, 1}, guess[] = {3e5, 3e5, 3e5};
  const double ideal = 1 / (5 + 2.5 + 1);
  for (size_t i = 0; i < PARE__COUNT(isa); i++) {
    pare__policy_task task = {
        .resources = PARE__ON_ANY, .uneven = true, .n = UNEVEN_STEPS, .grain = UNEVEN_GRAIN, .per_step = 1};
    const pare__policy_task *const tasks = &task;
    pare__policy *policy = open_policy(isa[i], &tasks, guess, 0);
    double now = 0;
    for (int run = 0; run < 6; run++) {
      const double end = run_uneven(policy, speed, 30e-6, now), part = ideal / (end - now);
      ck_assert_msg(part > (run == 0 ? 0.9 : 0.97), "%s, run %d: %.3f of the ideal", isa[i]->name, run, part);
      now = end;
    }
    close_policy(policy);
  }
}
END_TEST

/* All that are alike take part, or none, however their sums are rounded. */
START_TEST(equal_devices_are_equally_thrifty) {
  uint64_t random = 1;
  for (int i = 0; i < 2000; i++) {
    const double rate = 1e9 * pare__random_unit(&random), speed[] = {rate, rate, rate};
    pare__policy_task task = {.resources = PARE__ON_ANY, .n = 10, .grain = 1, .per_step = 1};
    const pare__policy_task *const tasks = &task;
    pare__policy *policy = open_policy(&pare__policy_hguided, &tasks, speed, 0);
    policy->weights = (pare__policy_weights){.joule = pare__random_unit(&random)};
    for (size_t d = 0; d < DEVICES; d++) policy->device[d].busy_watts = 0.7;
    for (size_t d = 0; d < DEVICES; d++) ck_assert(pare__policy_is_thrifty(policy, d, &task));
    close_policy(policy);
  }
}
END_TEST

/* ---- in simulation ---- */

/* Closes what it opens but the simulation. */
static pare_simulation *simulate(const char *machine_text, const char *tasks, const char *policy, const char *objective,
                                 pare_simulation_result *result) {
  pare_machine *machine = machine_of(machine_text);
  pare_workload *workload = work_of(tasks);
  pare_simulation *simulation;
  pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
  options.policy = policy;
  options.objective = objective;
  options.trace = true;
  OK(pare_simulate(machine, workload, &options, &simulation));
  OK(pare_simulation_result_get(simulation, result));
  pare_workload_close(workload);
  pare_machine_close(machine);
  return simulation;
}

/* So many tasks like this one, where %d is the number. */
static const char *many(const char *rest, int count) {
  static char text[4000];
  size_t used = 0;
  for (int i = 0; i < count; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "{\"task\": \"t%d\"%s}", i, rest);
  return text;
}

static size_t pieces_on(const pare_simulation *simulation, size_t device) {
  pare_simulation_chunk chunk;
  size_t count = 0;
  for (size_t i = 0; pare_simulation_chunk_get(simulation, i, &chunk); i++) count += chunk.device == device;
  return count;
}

#define FAST_AND_SLOW "{\"device\": \"fast\", \"rates\": {\"*\": 100}}{\"device\": \"slow\", \"rates\": {\"*\": 1}}"

/* Who waits for the end leaves the last tasks to who ends them first; who wants nobody idle does not. */
START_TEST(the_last_tasks_go_where_they_end_first) {
  static const char *const pooling[] = {"priority", "hguided", "dmda"};
  for (size_t p = 0; p < PARE__COUNT(pooling); p++) {
    pare_simulation_result result;
    const char *tasks = many(", \"n\": 100", 5);
    pare_simulation_close(simulate(FAST_AND_SLOW, tasks, pooling[p], NULL, &result));
    ck_assert_msg(result.makespan < 5.01, "%s: %g s", pooling[p], result.makespan);
    pare_simulation *simulation = simulate(FAST_AND_SLOW, tasks, pooling[p], "utilisation", &result);
    ck_assert_msg(pieces_on(simulation, 1) > 0, "%s", pooling[p]);
    pare_simulation_close(simulation);
  }
}
END_TEST

/* As fast as the other, and idle all the time: its joules are not worth it. */
START_TEST(who_is_dear_stays_idle) {
  static const char *const saving[] = {"priority", "hguided", "dmda", "static", "heft"};
  for (size_t p = 0; p < PARE__COUNT(saving); p++) {
    pare_simulation_result result;
    pare_simulation *simulation = simulate("{\"device\": \"dear\", \"rates\": {\"*\": 100}, \"watts\": 1000}"
                                           "{\"device\": \"frugal\", \"rates\": {\"*\": 100}, \"watts\": 10}",
                                           many(", \"n\": 100", 40), saving[p], "energy", &result);
    ck_assert_msg(pieces_on(simulation, 0) == 0, "%s", saving[p]);
    ck_assert_double_eq_tol(result.joules, 400, 1e-6);
    pare_simulation_close(simulation);
  }
}
END_TEST

/* Which device does it is the same for joules and prices: then it is done as early as can be. */
START_TEST(among_equals_the_earliest_is_taken) {
  static const char *const objectives[] = {"energy", "cost"};
  static const char *const weighing[] = {"priority", "hguided", "dmda", "static", "heft"};
  for (size_t p = 0; p < PARE__COUNT(weighing); p++)
    for (size_t i = 0; i < PARE__COUNT(objectives); i++) {
      pare_simulation_result result;
      pare_simulation_close(
          simulate("{\"device\": \"d\", \"count\": 7, \"rates\": {\"*\": 3}, \"watts\": 0.7, \"price\": 0.3}",
                   many(", \"n\": 100", 21), weighing[p], objectives[i], &result));
      ck_assert_msg(result.makespan < 3.01 * 100 / 3, "%s, %s: %g s", weighing[p], objectives[i], result.makespan);
      pare_simulation_close(
          simulate("{\"device\": \"d\", \"count\": 7, \"rates\": {\"*\": 3}, \"watts\": 0.7, \"price\": 0.3}",
                   "{\"task\": \"one\", \"n\": 21000, \"split\": true}", weighing[p], objectives[i], &result));
      if (strcmp(weighing[p], "priority") != 0 && strcmp(weighing[p], "heft") != 0)
        ck_assert_msg(result.makespan < 1.1 * 1000, "%s, %s, divided: %g s", weighing[p], objectives[i],
                      result.makespan);
    }
}
END_TEST

/* A piece that cannot be smaller goes to a busy device that ends it before an idle one would. */
START_TEST(a_slow_device_takes_no_last_piece) {
  pare_simulation_result result;
  pare_simulation_close(simulate(FAST_AND_SLOW, "{\"task\": \"one\", \"n\": 200, \"grain\": 50, \"split\": true}",
                                 "hguided", NULL, &result));
  ck_assert_msg(result.makespan < 2.01, "%g s", result.makespan);
}
END_TEST

/* Of many that may be split, when one device holds none of them whole. */
START_TEST(who_has_little_memory_gets_no_more_than_it_holds) {
  const char *policy;
  for (size_t p = 0; pare_policy_get(p, &policy, NULL); p++) {
    pare_simulation_result result;
    pare_simulation_chunk chunk;
    pare_simulation *simulation =
        simulate("{\"device\": \"small\", \"rates\": {\"*\": 400}, \"memory\": 1000}"
                 "{\"device\": \"large\", \"rates\": {\"*\": 100}, \"memory\": 100000}",
                 many(", \"n\": 100, \"split\": true, \"reads\": 4000", 30), policy, NULL, &result);
    for (size_t i = 0; pare_simulation_chunk_get(simulation, i, &chunk); i++)
      ck_assert_msg(chunk.device == 1 || chunk.end - chunk.begin <= 25, "%s: %d steps", policy,
                    (int)(chunk.end - chunk.begin));
    pare_simulation_close(simulation);
  }
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("policies");
  tcase_set_timeout(laws, 120);
  tcase_add_test(laws, round_robin_takes_each_in_turn);
  tcase_add_test(laws, chunks_of_hguided_are_in_proportion_to_speed_and_shrink);
  tcase_add_test(laws, the_last_tasks_go_where_they_end_first);
  tcase_add_test(laws, who_is_dear_stays_idle);
  tcase_add_test(laws, among_equals_the_earliest_is_taken);
  tcase_add_test(laws, a_device_that_seems_slow_is_looked_at_again);
  tcase_add_test(laws, looks_at_slow_devices_cost_little);
  tcase_add_test(laws, equal_devices_are_equally_thrifty);
  tcase_add_test(laws, uneven_steps_end_together);
  tcase_add_test(laws, a_slow_device_takes_no_last_piece);
  tcase_add_test(laws, who_has_little_memory_gets_no_more_than_it_holds);
  return run_tests("policies", laws);
}
