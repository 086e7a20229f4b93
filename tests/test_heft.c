/* HEFT: the plans of its paper and of the algorithm written plainly, kept. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "sched/policy_heft.h"
#include "sched/simulate.h"

/* ---- as published ---- */

/* The example of Topcuoglu, Hariri & Wu 2002 (figure 2, table 1): what each task takes on three processors, and edges
 * with what their data take between any two. */
static const double heft_seconds[10][3] = {{14, 16, 9}, {13, 19, 18}, {11, 13, 19}, {13, 8, 17},  {12, 13, 10},
                                           {13, 16, 9}, {7, 15, 11},  {5, 11, 14},  {18, 12, 20}, {21, 7, 16}};
static const struct {
  int from, to;
  double seconds;
} heft_edges[] = {{1, 2, 18}, {1, 3, 12}, {1, 4, 9},  {1, 5, 11}, {1, 6, 14},  {3, 7, 23},  {2, 8, 19}, {4, 8, 27},
                  {6, 8, 15}, {2, 9, 16}, {4, 9, 23}, {5, 9, 13}, {7, 10, 17}, {8, 10, 11}, {9, 10, 13}};

/* Text of the example as files; a byte takes half a second to the host and half a second from it. */
static void heft_files(char *machine, char *tasks, size_t capacity) {
  size_t used = (size_t)snprintf(machine, capacity, "{\"machine\": \"three\", \"contention\": false}\n");
  for (int d = 0; d < 3; d++) {
    used +=
        (size_t)snprintf(machine + used, capacity - used, "{\"device\": \"p%d\", \"bandwidth\": 2, \"rates\": {", d);
    for (int i = 0; i < 10; i++)
      used += (size_t)snprintf(machine + used, capacity - used, "%s\"t%d\": %.17g", i ? ", " : "", i + 1,
                               1 / heft_seconds[i][d]);
    used += (size_t)snprintf(machine + used, capacity - used, "}}\n");
  }
  used = 0;
  for (int i = 1; i <= 10; i++) {
    used +=
        (size_t)snprintf(tasks + used, capacity - used, "{\"task\": \"%d\", \"kernel\": \"t%d\", \"needs\": {", i, i);
    bool first = true;
    for (size_t e = 0; e < PARE__COUNT(heft_edges); e++) {
      if (heft_edges[e].to != i) continue;
      used += (size_t)snprintf(tasks + used, capacity - used, "%s\"%d\": %g", first ? "" : ", ", heft_edges[e].from,
                               heft_edges[e].seconds);
      first = false;
    }
    used += (size_t)snprintf(tasks + used, capacity - used, "}}\n");
  }
}

START_TEST(heft_plans_80_for_the_example_of_the_paper) {
  static char machine_text[4000], tasks[4000];
  pare_machine *machine;
  pare_workload *workload;
  pare_simulation *simulation;
  pare_simulation_result result;
  pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
  heft_files(machine_text, tasks, sizeof tasks);
  OK(pare_machine_parse(machine_text, strlen(machine_text), "three", &machine));
  OK(pare_workload_parse(tasks, strlen(tasks), "ten", &workload));
  options.policy = "heft";
  OK(pare_simulate(machine, workload, &options, &simulation));
  OK(pare_simulation_result_get(simulation, &result));
  ck_assert_msg(fabs(result.makespan - 80) < 1e-9, "the simulated makespan is %g", result.makespan);
  pare_simulation_close(simulation);
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

/* The plan's makespan of a random graph on `ndevices` unlike devices. */
static double planned(const pare_workload *workload, size_t ndevices, uint64_t seed, bool only_append) {
  pare__policy_device device[8];
  pare__performance *performance;
  pare__policy *policy;
  const pare__policy_task *tasks = workload->task;
  const pare__policy_options options = {.tasks = &tasks};
  const pare__policy_graph graph = {workload->ntasks, workload->begin, workload->need};
  OK(pare__performance_open(ndevices, NULL, &performance));
  for (size_t i = 0; i < ndevices; i++)
    device[i] = (pare__policy_device){
        .resource = PARE__ON_GPU, .seconds_per_byte = 1e-6 * pare__random_unit(&seed), .copy_seconds = 1e-3};
  for (size_t k = 0; k < workload->nkernels; k++) {
    size_t kernel;
    OK(pare__performance_kernel(performance, workload->kernel[k], &kernel));
    for (size_t i = 0; i < ndevices; i++)
      pare__performance_set(performance, kernel, i, 1e-3, (0.2 + pare__random_unit(&seed)) * 1e-6);
  }
  OK(pare__policy_open(&pare__policy_heft, device, ndevices, performance, &options, &policy));
  OK(pare__heft_plan(policy, &graph, only_append));
  const double makespan = pare__heft_makespan(policy);
  pare__policy_close(policy);
  pare__performance_close(performance);
  return makespan;
}

START_TEST(heft_is_never_worse_than_without_insertion) {
  size_t nbetter = 0;
  for (uint64_t seed = 1; seed <= 1000; seed++) {
    pare_workload *workload;
    OK(pare_workload_random("tasks=60,edges=2,window=15,kernels=4,bytes=200000,spread=0.9", seed, &workload));
    const double with = planned(workload, 2 + seed % 4, seed, false),
                 without = planned(workload, 2 + seed % 4, seed, true);
    ck_assert_msg(with <= without, "seed %d: %g with insertion, %g without", (int)seed, with, without);
    nbetter += with < without;
    pare_workload_close(workload);
  }
  ck_assert_msg(nbetter > 300, "insertion is better in %zu of 1000 graphs only", nbetter);
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("heft");
  tcase_set_timeout(laws, 120);
  tcase_add_test(laws, heft_plans_80_for_the_example_of_the_paper);
  tcase_add_test(laws, heft_is_never_worse_than_without_insertion);
  return run_tests("heft", laws);
}
