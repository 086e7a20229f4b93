/* HEFT: the plans of its paper and of the algorithm written plainly, kept. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "sched/policy_heft.h"
#include "sched/simulate.h"
#include "simulations.h"

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

/* ---- the same algorithm, written plainly ---- */

enum { MOST_TASKS = 40, MOST_DEVICES = 5 };

/* A graph on unlike devices, of which a task may run on some. */
typedef struct problem {
  pare_workload *workload;
  size_t ndevices;
  pare__policy_device device[MOST_DEVICES];
  pare__performance *performance;
  pare__policy_weights weights;
  bool stays; /* results, where they were made; else they come to the host before others read them */
} problem;

/* Work, copies, and what comes from the host take about as long; joules and prices weigh about as much, if they do. */
static void open_problem(problem *out, uint64_t seed) {
  static const pare__policy_weights weights[] = {{.finish = 1},
                                                 {.finish = 1, .transfer = 2},
                                                 {.finish = 1, .start = 0.5, .joule = 1e-2},
                                                 {.finish = 1, .transfer = 1, .price = 20}};
  uint64_t random = seed;
  *out = (problem){.ndevices = 2 + seed % (MOST_DEVICES - 1),
                   .weights = weights[seed % PARE__COUNT(weights)],
                   .stays = seed % 3 == 0};
  OK(pare_workload_random("tasks=40,edges=2,window=15,kernels=4,bytes=200000,spread=0.9", seed, &out->workload));
  for (size_t i = 0; i < out->workload->ntasks; i++) {
    pare__policy_task *task = &out->workload->task[i];
    const double more = i % 3 ? 0 : 1e6 * pare__random_unit(&random);
    task->read_bytes += more;
    task->nbytes += more;
    if (i % 4 == 0) task->resources = i % 8 ? PARE__ON_CPU : PARE__ON_GPU | PARE__ON_ACCELERATOR;
  }
  for (size_t i = 0; i < out->ndevices; i++)
    out->device[i] = (pare__policy_device){.resource = i % 2 ? PARE__ON_CPU : PARE__ON_GPU,
                                           .seconds_per_byte = 1e-6 * pare__random_unit(&random),
                                           .copy_seconds = 0.2 * pare__random_unit(&random),
                                           .busy_watts = 50 + 100 * pare__random_unit(&random),
                                           .idle_watts = 50 * pare__random_unit(&random),
                                           .price_per_hour = 100 * pare__random_unit(&random)};
  OK(pare__performance_open(out->ndevices, NULL, &out->performance));
  for (size_t k = 0; k < out->workload->nkernels; k++) {
    size_t kernel;
    OK(pare__performance_kernel(out->performance, out->workload->kernel[k], &kernel));
    for (size_t i = 0; i < out->ndevices; i++)
      pare__performance_set(out->performance, kernel, i, 1e-3, (0.2 + pare__random_unit(&random)) * 1e-6);
  }
}

static void close_problem(problem *of) {
  pare__performance_close(of->performance);
  pare_workload_close(of->workload);
}

typedef struct plain_plan {
  double start[MOST_TASKS], end[MOST_TASKS], there[MOST_TASKS]; /* there: when others may read what it made */
  double until, weight;
  size_t on[MOST_TASKS];
  bool placed[MOST_TASKS];
} plain_plan;

static bool may_run(const problem *of, size_t task, size_t device) {
  return of->workload->task[task].resources & of->device[device].resource;
}

static double work_seconds(const problem *of, size_t task, size_t device) {
  const pare__policy_task *known = &of->workload->task[task];
  return pare__performance_seconds(of->performance, known->kernel, device, (double)known->n);
}

static double one_way(const pare__policy_device *device, double nbytes) {
  return nbytes > 0 ? device->copy_seconds + nbytes * device->seconds_per_byte : 0;
}

/* Until its results are at the host. */
static double back_seconds(const problem *of, size_t task, size_t device) {
  const pare__policy_task *known = &of->workload->task[task];
  return of->stays ? 0 : one_way(&of->device[device], known->nbytes - known->read_bytes);
}

/* When all that it reads is there; *copies: how long that takes if one copy follows the other. */
static double arrives(const problem *of, const plain_plan *plan, size_t task, size_t device, double *copies) {
  const pare_workload *work = of->workload;
  double from_host = work->task[task].read_bytes, last;
  for (size_t i = work->begin[task]; i < work->begin[task + 1]; i++) from_host -= work->need[i].nbytes;
  *copies = last = from_host > 0 ? one_way(&of->device[device], from_host) : 0;
  for (size_t i = work->begin[task]; i < work->begin[task + 1]; i++) {
    const size_t from = work->need[i].from, there = plan->on[from];
    const double nbytes = work->need[i].nbytes, first = of->stays ? one_way(&of->device[there], nbytes) : 0,
                 copy = there == device ? 0 : first + one_way(&of->device[device], nbytes);
    *copies += copy;
    last = fmax(last, plan->there[from] + copy);
  }
  return last;
}

static bool is_free(const problem *of, const plain_plan *plan, size_t device, double from, double until) {
  for (size_t i = 0; i < of->workload->ntasks; i++)
    if (plan->placed[i] && plan->on[i] == device && from < plan->end[i] && until > plan->start[i]) return false;
  return true;
}

/* The earliest start: when it could begin, or when another ends; without gaps only behind all others. */
static double earliest(const problem *of, const plain_plan *plan, size_t device, double ready, double seconds,
                       bool insert) {
  double best = is_free(of, plan, device, ready, insert ? ready + seconds : INFINITY) ? ready : INFINITY;
  for (size_t i = 0; i < of->workload->ntasks; i++)
    if (plan->placed[i] && plan->on[i] == device && plan->end[i] >= ready && plan->end[i] < best &&
        is_free(of, plan, device, plan->end[i], insert ? plan->end[i] + seconds : INFINITY))
      best = plan->end[i];
  return best;
}

static void place_plainly(const problem *of, plain_plan *plan, size_t task, bool insert) {
  double least = INFINITY, idle_watts = 0, finish = 0;
  for (size_t i = 0; i < of->ndevices; i++) idle_watts += of->device[i].idle_watts;
  for (size_t i = 0; i < of->ndevices; i++) {
    const pare__policy_device *device = &of->device[i];
    double copies;
    if (!may_run(of, task, i)) continue;
    const double seconds = work_seconds(of, task, i), ready = arrives(of, plan, task, i, &copies),
                 start = earliest(of, plan, i, ready, seconds, insert), end = start + seconds,
                 back = back_seconds(of, task, i), there = end + back,
                 joules =
                     seconds * (device->busy_watts - device->idle_watts) + fmax(there - plan->until, 0) * idle_watts,
                 weight = of->weights.finish * there + of->weights.start * start +
                          of->weights.transfer * (copies + back) + of->weights.joule * joules +
                          of->weights.price * seconds * device->price_per_hour / 3600;
    if (weight >= least) continue;
    least = weight;
    finish = of->weights.finish * there;
    plan->on[task] = i;
    plan->start[task] = start;
    plan->end[task] = end;
    plan->there[task] = there;
  }
  ck_assert(least < INFINITY);
  plan->placed[task] = true;
  plan->weight += least - finish;
  plan->until = fmax(plan->until, plan->there[task]);
}

/* rank(i) = mean w_i + max over those that need it (mean c_ij + rank(j)); w_i has the copy to the host. */
static void rank_plainly(const problem *of, double rank[MOST_TASKS]) {
  const pare_workload *work = of->workload;
  for (size_t i = 0; i < work->ntasks; i++) rank[i] = 0;
  for (size_t i = work->ntasks; i-- > 0;) { /* who needs a task comes behind it in these graphs */
    double seconds = 0, count = 0;
    for (size_t d = 0; d < of->ndevices; d++) {
      if (!may_run(of, i, d)) continue;
      seconds += work_seconds(of, i, d) + back_seconds(of, i, d);
      count++;
    }
    rank[i] += seconds / count;
    for (size_t k = work->begin[i]; k < work->begin[i + 1]; k++) {
      double copies = 0;
      for (size_t d = 0; d < of->ndevices; d++)
        copies += (of->stays ? 2 : 1) * one_way(&of->device[d], work->need[k].nbytes) / (double)of->ndevices;
      rank[work->need[k].from] = fmax(rank[work->need[k].from], copies + rank[i]);
    }
  }
}

static plain_plan plan_plainly(const problem *of, bool insert) {
  plain_plan plan = {.until = 0};
  double rank[MOST_TASKS];
  rank_plainly(of, rank);
  for (size_t count = 0; count < of->workload->ntasks; count++) {
    size_t next = SIZE_MAX;
    for (size_t i = 0; i < of->workload->ntasks; i++)
      if (!plan.placed[i] && (next == SIZE_MAX || rank[i] > rank[next])) next = i;
    place_plainly(of, &plan, next, insert);
  }
  plan.weight += of->weights.finish * plan.until;
  return plan;
}

/* As the policy plans it. */
static double makespan_of(const problem *of) {
  const pare__policy_task *tasks = of->workload->task;
  const pare__policy_options options = {.tasks = &tasks, .weights = &of->weights, .stays = of->stays};
  const pare__policy_graph graph = {of->workload->ntasks, of->workload->begin, of->workload->need};
  pare__policy *policy;
  OK(pare__policy_open(&pare__policy_heft, of->device, of->ndevices, of->performance, &options, &policy));
  OK(pare__policy_plan(policy, &graph));
  const double makespan = pare__heft_makespan(policy);
  pare__policy_close(policy);
  return makespan;
}

/* With what comes from the host, devices that may not run all, and copies, joules and prices that weigh. */
START_TEST(plans_are_those_of_the_plain_algorithm) {
  size_t nfilled = 0;
  for (uint64_t seed = 1; seed <= 400; seed++) {
    problem of;
    open_problem(&of, seed);
    const plain_plan into_gaps = plan_plainly(&of, true), behind = plan_plainly(&of, false);
    const double want = behind.weight < into_gaps.weight ? behind.until : into_gaps.until, got = makespan_of(&of);
    ck_assert_msg(fabs(got - want) <= 1e-9 * want, "seed %d: the plan takes %.12g s, written plainly %.12g", (int)seed,
                  got, want);
    nfilled += into_gaps.weight < behind.weight;
    close_problem(&of);
  }
  ck_assert_uint_gt(nfilled, 100);
}
END_TEST

/* ---- in simulation ---- */

/* Of tasks on a machine of a CPU and a GPU, each of which does `rate` units of work a second. */
static double makespan_at(double rate, const char *tasks) {
  char text[300];
  snprintf(text, sizeof text,
           "{\"machine\": \"two\", \"contention\": false}"
           "{\"device\": \"cpu\", \"class\": \"cpu\", \"rates\": {\"*\": %.17g}}"
           "{\"device\": \"gpu\", \"class\": \"gpu\", \"rates\": {\"*\": %.17g}}",
           rate, rate);
  pare_machine *machine = machine_of(text);
  pare_workload *workload = work_of(tasks);
  pare_simulation *simulation;
  pare_simulation_result result;
  pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
  options.policy = "heft";
  OK(pare_simulate(machine, workload, &options, &simulation));
  OK(pare_simulation_result_get(simulation, &result));
  pare_simulation_close(simulation);
  pare_workload_close(workload);
  pare_machine_close(machine);
  return result.makespan;
}

static double simulated_makespan(const char *tasks) { return makespan_at(1, tasks); }

/* first until 3, then third when the GPU is through at 4: between them is a second. */
START_TEST(a_gap_that_fits_exactly_is_filled) {
  ck_assert_double_eq(simulated_makespan("{\"task\": \"long\", \"class\": \"gpu\", \"n\": 4}"
                                         "{\"task\": \"first\", \"class\": \"cpu\", \"n\": 3}"
                                         "{\"task\": \"third\", \"class\": \"cpu\", \"n\": 2, \"needs\": [\"long\"]}"
                                         "{\"task\": \"second\", \"class\": \"cpu\", \"n\": 1}"),
                      6);
}
END_TEST

/* The first keeps both devices until 50, the chain behind it as well; what is whole is on one of them. */
START_TEST(what_may_be_split_is_planned_for_all_devices) {
  ck_assert_double_eq_tol(
      simulated_makespan("{\"task\": \"first\", \"n\": 100, \"split\": true}"
                         "{\"task\": \"second\", \"n\": 100, \"split\": true, \"needs\": [\"first\"]}"
                         "{\"task\": \"whole\", \"n\": 7, \"needs\": [\"second\"]}"),
      107, 1e-6);
}
END_TEST

/* One device is free just when the other has done all by itself, however that is rounded. */
START_TEST(who_comes_just_at_the_end_has_no_share_or_a_small_one) {
  char tasks[300];
  for (int sevenths = 1; sevenths <= 100; sevenths++) {
    for (int n = 1; n <= 9; n++) {
      const double free = sevenths / 7.0, end = free + n;
      snprintf(tasks, sizeof tasks,
               "{\"task\": \"before\", \"class\": \"cpu\", \"work\": %.17g}"
               "{\"task\": \"beside\", \"class\": \"gpu\", \"work\": %.17g}"
               "{\"task\": \"shared\", \"n\": %d, \"split\": true, \"needs\": [\"before\"]}",
               free, end, n);
      ck_assert_double_eq_tol(makespan_at(0.7, tasks), end / 0.7, 1e-9);
    }
  }
}
END_TEST

/* Its rank is that of the task that needs it, and it goes first all the same. */
START_TEST(what_takes_no_time_comes_before_those_that_need_it) {
  ck_assert_double_eq_tol(
      simulated_makespan("{\"task\": \"nothing\", \"class\": \"cpu\", \"work\": 1e-12}"
                         "{\"task\": \"all\", \"class\": \"cpu\", \"n\": 100000000, \"needs\": [\"nothing\"]}"),
      1e8, 1e-3);
}
END_TEST

/* Nothing disturbs the devices: each keeps the plan's order, so that all ends when the plan says, or before. */
START_TEST(a_plan_that_is_kept_ends_when_it_says) {
  for (uint64_t seed = 1; seed <= 200; seed++) {
    problem of;
    pare_simulation *simulation;
    pare_simulation_result result;
    pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
    open_problem(&of, 4 * seed); /* only the end weighs */
    of.stays = true;
    pare__by_kernel rates[MOST_DEVICES] = {{0}};
    pare__simulated_device devices[MOST_DEVICES];
    for (size_t i = 0; i < of.ndevices; i++) {
      rates[i].other = 1 / (1e-6 * (1 + (double)i));
      devices[i] = (pare__simulated_device){.name = "device", .seen = of.device[i], .rates = &rates[i], .weight = 1};
      for (size_t k = 0; k < of.workload->nkernels; k++)
        pare__performance_set(of.performance, k, i, 0, 1e-6 * (1 + (double)i));
    }
    const pare_machine machine = {.device = devices, .ndevices = of.ndevices};
    options.policy = "heft";
    OK(pare_simulate(&machine, of.workload, &options, &simulation));
    OK(pare_simulation_result_get(simulation, &result));
    const double planned = makespan_of(&of);
    ck_assert_msg(result.makespan <= planned * (1 + 1e-9), "seed %d: %.12g s, planned %.12g", (int)seed,
                  result.makespan, planned);
    pare_simulation_close(simulation);
    close_problem(&of);
  }
}
END_TEST

int main(void) {
  TCase *laws = tcase_create("heft");
  tcase_set_timeout(laws, 120);
  tcase_add_test(laws, heft_plans_80_for_the_example_of_the_paper);
  tcase_add_test(laws, heft_is_never_worse_than_without_insertion);
  tcase_add_test(laws, plans_are_those_of_the_plain_algorithm);
  tcase_add_test(laws, a_gap_that_fits_exactly_is_filled);
  tcase_add_test(laws, what_may_be_split_is_planned_for_all_devices);
  tcase_add_test(laws, who_comes_just_at_the_end_has_no_share_or_a_small_one);
  tcase_add_test(laws, what_takes_no_time_comes_before_those_that_need_it);
  tcase_add_test(laws, a_plan_that_is_kept_ends_when_it_says);
  return run_tests("heft", laws);
}
