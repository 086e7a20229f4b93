/* Laws of the policies, in simulation. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/simulate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "sched/simulate.h"
#include "simulations.h"

static pare_workload *random_work(const char *spec, uint64_t seed) {
  pare_workload *workload;
  OK(pare_workload_random(spec, seed, &workload));
  return workload;
}

static pare_simulation *simulated(const pare_machine *machine, const pare_workload *workload, const char *policy,
                                  const char *objective, pare_simulation_result *result) {
  pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
  pare_simulation *simulation;
  options.policy = policy;
  options.objective = objective;
  options.trace = true;
  OK(pare_simulate(machine, workload, &options, &simulation));
  OK(pare_simulation_result_get(simulation, result));
  return simulation;
}

/* Closes it as well. */
static pare_simulation_result result_of(const pare_machine *machine, const pare_workload *workload, const char *policy,
                                        const char *objective) {
  pare_simulation_result result;
  pare_simulation_close(simulated(machine, workload, policy, objective, &result));
  return result;
}

#define FOUR                                                                                            \
  "{\"machine\": \"four\", \"noise\": 0.1}"                                                             \
  "{\"device\": \"cpu\", \"class\": \"cpu\", \"rates\": {\"*\": 1e9}, \"launch\": 1e-5, \"watts\": 60," \
  " \"idle_watts\": 10, \"price\": 0.2}"                                                                \
  "{\"device\": \"gpu\", \"count\": 2, \"class\": \"gpu\", \"rates\": {\"*\": 4e9}, \"launch\": 2e-5,"  \
  " \"bandwidth\": 1e10, \"latency\": 1e-5, \"watts\": 250, \"idle_watts\": 20, \"price\": 1.1}"        \
  "{\"device\": \"npu\", \"class\": \"accelerator\", \"rates\": {\"*\": 2e9}, \"launch\": 1e-5,"        \
  " \"bandwidth\": 5e9, \"latency\": 1e-5, \"watts\": 20, \"idle_watts\": 2, \"price\": 0.9}"

/* ---- each task once, behind what it needs, where it may run ---- */

static void check_chunks(const pare_machine *machine, const pare_workload *workload,
                         const pare_simulation *simulation) {
  int64_t *ran = calloc(workload->ntasks, sizeof *ran);
  double *first = malloc(workload->ntasks * sizeof *first), *last = calloc(workload->ntasks, sizeof *last), steps = 0;
  double *taken = calloc(2 * machine->ndevices, sizeof *taken); /* each link, until when: to the device, from it */
  pare_simulation_chunk chunk;
  for (size_t i = 0; i < workload->ntasks; i++) first[i] = INFINITY;
  for (size_t i = 0; pare_simulation_chunk_get(simulation, i, &chunk); i++) {
    const pare__policy_task *task = &workload->task[chunk.task];
    ck_assert(chunk.begin >= 0 && chunk.begin < chunk.end && chunk.end <= task->n);
    ck_assert(chunk.begin % task->grain == 0 && (chunk.end == task->n || chunk.end % task->grain == 0));
    ck_assert(machine->device[chunk.device].seen.resource & task->resources);
    ck_assert(chunk.copy_until <= chunk.from && chunk.from < chunk.until);
    ck_assert(chunk.until <= chunk.back_from && chunk.back_from <= chunk.back_until);
    if (chunk.copied_bytes > 0) ck_assert(taken[2 * chunk.device] <= chunk.copy_from);
    if (chunk.back_bytes > 0) ck_assert(taken[2 * chunk.device + 1] <= chunk.back_from);
    if (chunk.copied_bytes > 0) taken[2 * chunk.device] = chunk.copy_until;
    if (chunk.back_bytes > 0) taken[2 * chunk.device + 1] = chunk.back_until;
    ran[chunk.task] += chunk.end - chunk.begin;
    first[chunk.task] = fmin(first[chunk.task], chunk.from);
    last[chunk.task] = fmax(last[chunk.task], chunk.back_until);
    /* No two pieces of a task overlap: their sum is exact, and so are the sums of squares of their ends. */
    steps += (double)chunk.end * (double)chunk.end - (double)chunk.begin * (double)chunk.begin;
  }
  for (size_t i = 0; i < workload->ntasks; i++) {
    ck_assert_int_eq(ran[i], workload->task[i].n);
    steps -= (double)workload->task[i].n * (double)workload->task[i].n;
    for (size_t k = workload->begin[i]; k < workload->begin[i + 1]; k++)
      ck_assert(last[workload->need[k].from] <= first[i]);
  }
  ck_assert_msg(fabs(steps) < 1, "pieces overlap: %g", steps);
  free(ran);
  free(first);
  free(last);
  free(taken);
}

START_TEST(every_task_runs_exactly_once) {
  static const char *const losses[] = {
      "", "{\"event\": \"lost\", \"device\": \"gpu.0\", \"at\": %g}",
      "{\"event\": \"lost\", \"device\": \"gpu.0\", \"at\": %g}{\"event\": \"lost\", \"device\": \"npu\", \"at\": %g}",
      ("{\"event\": \"speed\", \"device\": \"gpu.1\", \"at\": %g, \"speed\": 0.2}"
       "{\"event\": \"lost\", \"device\": \"cpu\", \"at\": %g}")};
  const char *policy;
  for (size_t p = 0; pare_policy_get(p, &policy, NULL); p++)
    for (uint64_t seed = 1; seed <= 48; seed++) {
      char text[1600] = FOUR, events[300], spec[160];
      const double at = 2e-4 * (double)(seed * seed);
      snprintf(spec, sizeof spec, "tasks=%d,edges=%d,split=%g,bytes=%g,work=30000,priorities=3,window=20,rate=%d",
               60 + (int)seed, (int)seed % 4, (double)(seed % 3) / 2, (double)(seed % 2) * 1e4,
               seed % 5 == 0 ? 10000 : 0);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
      snprintf(events, sizeof events, losses[seed % 4], at, at * 1.5);
#pragma GCC diagnostic pop
      strncat(text, events, sizeof text - strlen(text) - 1);
      pare_machine *machine = machine_of(text);
      pare_workload *workload = random_work(spec, seed);
      for (size_t i = 0; i < workload->ntasks; i++) /* some may run in one place only, or in two */
        if (i % 7 == 0) workload->task[i].resources = i % 14 ? PARE__ON_GPU : PARE__ON_GPU | PARE__ON_CPU;
      pare_simulation_result result;
      pare_simulation *simulation = simulated(machine, workload, policy, NULL, &result);
      check_chunks(machine, workload, simulation);
      ck_assert(result.makespan >= result.path_bound * (1 - 1e-9));
      ck_assert(result.makespan >= result.work_bound * (1 - 1e-9));
      pare_simulation_close(simulation);
      pare_workload_close(workload);
      pare_machine_close(machine);
    }
}
END_TEST

START_TEST(the_same_seed_gives_the_same_bits) {
  const char *policy;
  pare_machine *machine = machine_of(FOUR "{\"event\": \"lost\", \"device\": \"gpu.0\", \"at\": 0.01}");
  pare_workload *workload = random_work("tasks=500,edges=2,bytes=1e5,split=0.2", 3);
  for (size_t p = 0; pare_policy_get(p, &policy, NULL); p++) {
    pare_simulation_result a, b;
    pare_simulation_chunk x, y;
    pare_simulation *first = simulated(machine, workload, policy, NULL, &a),
                    *second = simulated(machine, workload, policy, NULL, &b);
    ck_assert_int_eq(memcmp(&a, &b, sizeof a), 0);
    for (size_t i = 0; pare_simulation_chunk_get(first, i, &x); i++) {
      ck_assert(pare_simulation_chunk_get(second, i, &y));
      ck_assert_int_eq(memcmp(&x, &y, sizeof x), 0);
    }
    pare_simulation_close(first);
    pare_simulation_close(second);
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

/* ---- copies ---- */

/* What pieces of one device take, by a sum apart: a link each way, and the next one comes when one is at the host. */
START_TEST(copies_go_both_ways_at_once) {
  static const char *const policies[] = {"dmda", "hguided", "static", "priority", "round-robin"};
  pare_machine *machine = machine_of("{\"device\": \"d\", \"rates\": {\"*\": 1e9}, \"launch\": 1e-4,"
                                     " \"bandwidth\": 1e9, \"latency\": 2e-4}");
  char text[20000];
  size_t used = 0;
  uint64_t random = 5;
  for (int i = 0; i < 60; i++)
    used += (size_t)snprintf(
        text + used, sizeof text - used,
        "{\"task\": \"%d\", \"n\": 1000, \"work\": %g, \"split\": %s, \"grain\": 100, \"reads\": %g, "
        "\"writes\": %g}\n",
        i, 1 + floor(4000 * pare__random_unit(&random)), i % 3 ? "false" : "true",
        i % 4 ? floor(4e6 * pare__random_unit(&random)) : 0, i % 5 ? floor(4e6 * pare__random_unit(&random)) : 0);
  pare_workload *workload = work_of(text);
  for (size_t p = 0; p < PARE__COUNT(policies); p++) {
    pare_simulation_result result;
    pare_simulation_chunk chunk;
    pare_simulation *simulation = simulated(machine, workload, policies[p], NULL, &result);
    double sent = 0, worked = 0, back = 0, asked[PARE__IN_FLIGHT] = {0};
    for (size_t i = 0; pare_simulation_chunk_get(simulation, i, &chunk); i++) {
      const pare__policy_task *task = &workload->task[chunk.task];
      const double steps = (double)(chunk.end - chunk.begin), share = steps / (double)task->n,
                   in = share * task->read_bytes, out = share * (task->nbytes - task->read_bytes),
                   begun = asked[i % PARE__IN_FLIGHT];
      if (in > 0) sent = fmax(sent, begun) + 2e-4 + in / 1e9;
      worked = fmax(fmax(worked, begun), in > 0 ? sent : 0) + 1e-4 + steps * task->per_step / 1e9;
      back = fmax(back, worked) + (out > 0 ? 2e-4 + out / 1e9 : 0);
      asked[i % PARE__IN_FLIGHT] = back;
      ck_assert_msg(fabs(chunk.until - worked) < 1e-9 && fabs(chunk.back_until - back) < 1e-9,
                    "%s: piece %zu ends at %g and is back at %g, not %g and %g", policies[p], i, chunk.until,
                    chunk.back_until, worked, back);
    }
    ck_assert_double_eq_tol(result.makespan, back, 1e-9);
    pare_simulation_close(simulation);
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

#define APART_OF_THE_HOST                                                                          \
  "{\"device\": \"cpu\", \"class\": \"cpu\", \"rates\": {\"*\": 2.5e8}}"                           \
  "{\"device\": \"gpu\", \"class\": \"gpu\", \"rates\": {\"*\": 1e9}, \"bandwidth\": 1e9}"         \
  "{\"device\": \"npu\", \"class\": \"accelerator\", \"rates\": {\"*\": 1e9}, \"bandwidth\": 5e8," \
  " \"latency\": 0.5}"

START_TEST(what_another_device_made_comes_by_way_of_the_host) {
  const char *work = "{\"task\": \"a\", \"class\": \"gpu\", \"n\": 1, \"work\": 1e9, \"writes\": 1e9}"
                     "{\"task\": \"b\", \"class\": \"accelerator\", \"n\": 1, \"work\": 1e9, \"needs\": [\"a\"]}"
                     "{\"task\": \"c\", \"class\": \"gpu\", \"n\": 1, \"work\": 3e9, \"needs\": [\"a\"]}";
  const char *policy;
  pare_machine *machine = machine_of(APART_OF_THE_HOST),
               *direct = machine_of("{\"machine\": \"m\", \"contention\": false}" APART_OF_THE_HOST);
  pare_workload *workload = work_of(work);
  for (size_t p = 0; pare_policy_get(p, &policy, NULL); p++) {
    /* a works for 1 s and comes back in 1; b gets it in 2.5 and works for 1; c has it and works for 3. */
    ck_assert_double_eq_tol(result_of(machine, workload, policy, NULL).makespan, 1 + 1 + 2.5 + 1, 1e-9);
    /* Without contention it stays where it is; b's copy takes both links. */
    ck_assert_double_eq_tol(result_of(direct, workload, policy, NULL).makespan, 1 + (1 + 2.5) + 1, 1e-9);
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
  pare_machine_close(direct);
}
END_TEST

START_TEST(a_plan_knows_when_results_are_at_the_host) {
  pare_machine *machine = machine_of(APART_OF_THE_HOST);
  pare_workload *workload =
      work_of("{\"task\": \"a\", \"work\": 1e9, \"writes\": 2e9}{\"task\": \"b\", \"work\": 1e9, \"needs\": [\"a\"]}");
  /* On the GPU a takes 1 s, 2 to come back, and b 1; on the CPU, whose memory is the host's, each takes 4. */
  ck_assert_double_eq_tol(result_of(machine, workload, "heft", NULL).makespan, 4, 1e-9);
  pare_workload_close(workload);
  workload =
      work_of("{\"task\": \"a\", \"work\": 1e9, \"writes\": 4e9}{\"task\": \"b\", \"work\": 1e7, \"needs\": [\"a\"]}");
  /* Now a is back after 1 + 4 s, and the CPU is through with both after 4.04. */
  ck_assert_double_eq_tol(result_of(machine, workload, "heft", NULL).makespan, 4.04, 1e-9);
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

START_TEST(what_is_not_at_the_host_is_lost_with_the_device) {
  static const struct {
    const char *event;
    double makespan, busy; /* of the GPU */
  } laws[] = {{"", 2, 1},
              {"{\"event\": \"lost\", \"device\": \"gpu\", \"at\": 1.5}", 1.5 + 4, 1},
              {"{\"event\": \"lost\", \"device\": \"gpu\", \"at\": 0.5}", 0.5 + 4, 0.5},
              {"{\"event\": \"speed\", \"device\": \"gpu\", \"at\": 1.5, \"speed\": 0.1}", 2, 1},
              {"{\"event\": \"speed\", \"device\": \"gpu\", \"at\": 0.5, \"speed\": 0.5}", 2.5, 1.5}};
  pare_workload *workload = work_of("{\"task\": \"a\", \"work\": 1e9, \"writes\": 1e9, \"class\": \"any\"}");
  for (size_t i = 0; i < PARE__COUNT(laws); i++) {
    char text[600];
    pare_simulation_result result;
    pare_simulation_device gpu;
    snprintf(text, sizeof text, "%s%s",
             "{\"device\": \"gpu\", \"rates\": {\"*\": 1e9}, \"bandwidth\": 1e9}"
             "{\"device\": \"cpu\", \"class\": \"cpu\", \"rates\": {\"*\": 2.5e8}}",
             laws[i].event);
    pare_machine *machine = machine_of(text);
    pare_simulation *simulation = simulated(machine, workload, "dmda", NULL, &result);
    OK(pare_simulation_device_get(simulation, 0, &gpu));
    ck_assert_msg(fabs(result.makespan - laws[i].makespan) < 1e-9 && fabs(gpu.busy - laws[i].busy) < 1e-9,
                  "%s: %g s, of which the GPU works %g", laws[i].event, result.makespan, gpu.busy);
    pare_simulation_close(simulation);
    pare_machine_close(machine);
  }
  pare_workload_close(workload);
}
END_TEST

/* ---- objectives ---- */

START_TEST(each_objective_is_met) {
  pare_machine *machine = machine_of(FOUR);
  for (uint64_t seed = 1; seed <= 20; seed++) {
    pare_workload *workload = random_work("tasks=300", seed);
    const pare_simulation_result makespan = result_of(machine, workload, "dmda", "makespan"),
                                 utilisation = result_of(machine, workload, "dmda", "utilisation"),
                                 energy = result_of(machine, workload, "dmda", "energy"),
                                 cost = result_of(machine, workload, "dmda", "cost");
    ck_assert(makespan.makespan < 1.3 * fmax(makespan.path_bound, makespan.work_bound));
    ck_assert(makespan.makespan <= energy.makespan && makespan.makespan <= cost.makespan);
    ck_assert_msg(utilisation.utilisation >= makespan.utilisation - 0.02, "%g, for the makespan %g",
                  utilisation.utilisation, makespan.utilisation);
    ck_assert_msg(energy.joules <= makespan.joules * 1.001, "%g J, for the makespan %g", energy.joules,
                  makespan.joules);
    /* Where waiting costs nothing the bound is reached, but for launches and noise. */
    ck_assert_msg(cost.price <= cost.price_bound * 1.2, "%g, bound %g", cost.price, cost.price_bound);
    ck_assert(cost.price <= makespan.price);
    pare_workload_close(workload);
  }
  pare_machine_close(machine);
}
END_TEST

static double copy_seconds(const pare_machine *machine, const pare_workload *workload, const char *policy) {
  pare_simulation_result result;
  pare_simulation *simulation = simulated(machine, workload, policy, NULL, &result);
  double sum = 0;
  for (size_t i = 0; i < result.devices; i++) {
    pare_simulation_device device;
    OK(pare_simulation_device_get(simulation, i, &device));
    sum += device.copying;
  }
  pare_simulation_close(simulation);
  return sum;
}

START_TEST(a_decision_weighs_what_the_user_says) {
  pare_machine *machine = machine_of(FOUR);
  double usual = 0, dear = 0;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    pare_workload *workload = random_work("tasks=400,edges=1,window=20,bytes=2e6", seed);
    const pare_simulation_result plain = result_of(machine, workload, "dmda", NULL),
                                 same = result_of(machine, workload, "dmda:finish=1,transfer=1", NULL),
                                 thrifty = result_of(machine, workload, "dmda:joule=1", NULL),
                                 planned = result_of(machine, workload, "heft", NULL),
                                 frugal = result_of(machine, workload, "heft:joule=1", NULL);
    ck_assert_double_eq(plain.makespan, same.makespan);
    ck_assert_msg(thrifty.joules < 0.97 * plain.joules, "%g J, %g when joules weigh", plain.joules, thrifty.joules);
    ck_assert_msg(frugal.joules < 0.95 * planned.joules, "a plan of %g J, %g when joules weigh", planned.joules,
                  frugal.joules);
    ck_assert(plain.makespan <= thrifty.makespan);
    usual += copy_seconds(machine, workload, "dmda");
    dear += copy_seconds(machine, workload, "dmda:transfer=100");
    pare_workload_close(workload);
  }
  ck_assert_msg(dear < 0.95 * usual, "%g s of copies, %g when they weigh a hundred times", usual, dear);
  pare_machine_close(machine);
}
END_TEST

/* An objective is a name for weights: who spells them out gets the same pieces at the same times. */
START_TEST(an_objective_is_a_name_for_weights) {
  static const struct {
    const char *objective;
    double finish;
    const char *weights;
  } named[] = {{"utilisation", 1e-6, "start=1"}, {"energy", 1e-6, "joule=1"}, {"cost", 1e-9, "price=1"}};
  pare_machine *machine = machine_of(FOUR);
  pare_workload *workload = random_work("tasks=200,edges=1,window=20,bytes=1e6,split=0.5", 7);
  for (size_t p = 0; pare__policies[p]; p++)
    for (size_t i = 0; i < PARE__COUNT(named) && !pare__policies[p]->weighs_nothing; i++) {
      char spelled[120];
      pare_simulation_result a, b;
      pare_simulation_chunk x, y;
      snprintf(spelled, sizeof spelled, "%s:finish=%.9f,transfer=%.9f,%s", pare__policies[p]->name, named[i].finish,
               named[i].finish * pare__policies[p]->transfer, named[i].weights);
      pare_simulation *by_name = simulated(machine, workload, pare__policies[p]->name, named[i].objective, &a),
                      *by_weights = simulated(machine, workload, spelled, NULL, &b);
      ck_assert_msg(a.chunks == b.chunks && a.makespan == b.makespan, "%s, %s: %zu pieces in %g s, spelled %zu in %g",
                    spelled, named[i].objective, a.chunks, a.makespan, b.chunks, b.makespan);
      for (size_t k = 0; pare_simulation_chunk_get(by_name, k, &x); k++) {
        ck_assert(pare_simulation_chunk_get(by_weights, k, &y));
        ck_assert_int_eq(memcmp(&x, &y, sizeof x), 0);
      }
      pare_simulation_close(by_name);
      pare_simulation_close(by_weights);
    }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

#define APART                                                                                           \
  "{\"device\": \"old\", \"rates\": {\"*\": 3e9}, \"watts\": 300, \"idle_watts\": 30, \"price\": 0.2}"  \
  "{\"device\": \"fast\", \"rates\": {\"*\": 8e9}, \"watts\": 250, \"idle_watts\": 20, \"price\": 2}"   \
  "{\"device\": \"frugal\", \"rates\": {\"*\": 1e9}, \"watts\": 10, \"idle_watts\": 1, \"price\": 0.5}" \
  "{\"device\": \"small\", \"rates\": {\"*\": 2e9}, \"watts\": 40, \"idle_watts\": 5, \"price\": 0.3}"

/* What a load weighs at least: divided among some of the devices, whichever, so that all of them end together. */
static double least_weight(double work, double joule, double price) {
  static const double rate[] = {3e9, 8e9, 1e9, 2e9}, watts[] = {270, 230, 9, 35}, dear[] = {0.2, 2, 0.5, 0.3};
  double least = INFINITY;
  for (unsigned set = 1; set < 16; set++) {
    double rates = 0, second = 1 + joule * (30 + 20 + 1 + 5);
    for (unsigned i = 0; i < 4; i++) {
      if (!(set >> i & 1)) continue;
      rates += rate[i];
      second += joule * watts[i] + price * dear[i] / 3600;
    }
    least = fmin(least, work / rates * second);
  }
  return least;
}

START_TEST(a_load_is_divided_among_those_that_make_it_weigh_least) {
  static const char *const dividing[] = {"dmda", "static", "hguided"};
  static const double joules[] = {0, 1e-4, 1e-3, 1e-2, 0.1, 1, 100}, prices[] = {0, 100, 1000, 1e4, 1e6};
  const double work = 4e10;
  pare_machine *machine = machine_of(APART);
  pare_workload *workload = work_of("{\"task\": \"a\", \"n\": 100000, \"work\": 4e5, \"split\": true}");
  for (size_t p = 0; p < PARE__COUNT(dividing); p++)
    for (size_t j = 0; j < PARE__COUNT(joules); j++)
      for (size_t k = 0; k < PARE__COUNT(prices); k++) {
        char policy[120];
        snprintf(policy, sizeof policy, "%s:joule=%.4f,price=%.0f", dividing[p], joules[j], prices[k]);
        const pare_simulation_result result = result_of(machine, workload, policy, NULL);
        const double weight = result.makespan + joules[j] * result.joules + prices[k] * result.price,
                     least = least_weight(work, joules[j], prices[k]);
        ck_assert_msg(weight >= 0.999 * least && weight <= 1.02 * least, "%s weighs %g, the least is %g", policy,
                      weight, least);
      }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

START_TEST(wrong_policies_and_weights_are_refused) {
  static const struct {
    const char *policy, *objective, *says;
  } wrong[] = {
      {"fastest", NULL, "no policy 'fastest'; there are dmda, hguided, heft, static, priority, round-robin"},
      {"", NULL, "no policy ''"},
      {"dmd:transfer=1", NULL, "no policy 'dmd'"},
      {"dmda:", NULL, "'' is no weight"},
      {"dmda:watts=1", NULL, "'watts=1' is no weight"},
      {"dmda:transfer", NULL, "'transfer' is no weight"},
      {"dmda:transfer=", NULL, "'transfer=' is no weight"},
      {"dmda:transfer=-1", NULL, "'transfer=-1' is no weight"},
      {"dmda:transfer=inf", NULL, "'transfer=inf' is no weight"},
      {"dmda:transfer=1e999", NULL, "'transfer=1e999' is no weight"},
      {"dmda:transfer=1;joule=1", NULL, "is no weight"},
      {"dmda:transfer=1,", NULL, "'' is no weight"},
      {"round-robin:joule=1", NULL, "round-robin weighs nothing, so that it takes no weights; dmda does"},
      {"round-robin:joules=1", NULL, "'joules=1' is no weight"},
      {NULL, "speed", "no objective 'speed'; there are makespan, utilisation, energy, cost"},
  };
  pare_machine *machine = machine_of(FOUR);
  pare_workload *workload = random_work("tasks=3", 1);
  for (size_t i = 0; i < PARE__COUNT(wrong); i++) {
    pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
    pare_simulation *simulation;
    options.policy = wrong[i].policy;
    options.objective = wrong[i].objective;
    ck_assert_int_eq(pare_simulate(machine, workload, &options, &simulation), PARE_ERR_ARGUMENT);
    ck_assert_msg(strstr(pare_message(), wrong[i].says), "%s", pare_message());
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

/* ---- speed, slow devices, loss ---- */

#define UNEQUAL                                                       \
  "{\"device\": \"fast\", \"rates\": {\"*\": 3e9}, \"launch\": 1e-5}" \
  "{\"device\": \"slow\", \"rates\": {\"*\": 1e9}, \"launch\": 1e-5}"

START_TEST(two_devices_give_the_sum_of_their_speeds) {
  pare_machine *machine = machine_of(UNEQUAL);
  pare_workload *workload =
      work_of("{\"task\": \"one\", \"n\": 1000000, \"work\": 1000, \"split\": true, \"grain\": 16}");
  static const char *const policies[] = {"hguided", "static", "dmda"};
  for (size_t i = 0; i < PARE__COUNT(policies); i++) {
    const pare_simulation_result result = result_of(machine, workload, policies[i], NULL);
    ck_assert_msg(result.work_bound / result.makespan > 0.97, "%s: %g of the ideal", policies[i],
                  result.work_bound / result.makespan);
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

START_TEST(work_moves_away_from_a_slowed_device) {
  /* A third of its speed half-way: the ideal is 0.5 s at 4e9 and the rest at 2e9. */
  pare_machine *machine =
      machine_of(UNEQUAL "{\"event\": \"speed\", \"device\": \"fast\", \"at\": 0.5, \"speed\": 0.333333}");
  pare_workload *whole = work_of("{\"task\": \"one\", \"n\": 1000000, \"work\": 4000, \"split\": true}"),
                *many = random_work("tasks=1000,work=4e6", 1);
  double total = 0;
  for (size_t i = 0; i < many->ntasks; i++) total += (double)many->task[i].n;
  const double one = 0.5 + (4e9 - 2e9) / 2e9, ideal[] = {one, one, 0.5 + (total - 2e9) / 2e9};
  const double found[] = {result_of(machine, whole, "hguided", NULL).makespan,
                          result_of(machine, whole, "dmda", NULL).makespan,
                          result_of(machine, many, "dmda", NULL).makespan};
  for (size_t i = 0; i < 3; i++) ck_assert_msg(ideal[i] / found[i] > 0.93, "%g of the new ideal", ideal[i] / found[i]);
  ck_assert_uint_gt(result_of(machine, many, "dmda", NULL).moves, 0);
  pare_workload_close(whole);
  pare_workload_close(many);
  pare_machine_close(machine);
}
END_TEST

START_TEST(nothing_swings_when_times_are_noisy) {
  pare_machine *machine = machine_of("{\"machine\": \"noisy\", \"noise\": 0.2}" UNEQUAL);
  pare_workload *workload = random_work("tasks=2000,work=1e6", 1);
  const pare_simulation_result result = result_of(machine, workload, "dmda", NULL);
  ck_assert_uint_eq(result.relearned, 0);
  ck_assert_msg(result.moves <= 40, "%zu of 2000 tasks were moved", result.moves);
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

START_TEST(a_lost_device_costs_its_share_only) {
  pare_machine *machine = machine_of("{\"device\": \"d\", \"count\": 4, \"rates\": {\"*\": 1e9}, \"launch\": 1e-5}"
                                     "{\"event\": \"lost\", \"device\": \"d.2\", \"at\": 0.5}");
  pare_workload *workload = work_of("{\"task\": \"one\", \"n\": 1000000, \"work\": 4000, \"split\": true}");
  static const char *const policies[] = {"hguided", "dmda"};
  const double ideal = 0.5 + 2e9 / 3e9;
  for (size_t i = 0; i < PARE__COUNT(policies); i++) {
    const pare_simulation_result result = result_of(machine, workload, policies[i], NULL);
    ck_assert_msg(ideal / result.makespan > 0.95, "%s: %g of the ideal after the loss", policies[i],
                  ideal / result.makespan);
    ck_assert_uint_eq(result.lost, 1);
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

START_TEST(all_devices_lost_is_an_error) {
  const char *policy;
  pare_machine *machine = machine_of(UNEQUAL "{\"event\": \"lost\", \"device\": \"fast\", \"at\": 0.001}"
                                             "{\"event\": \"lost\", \"device\": \"slow\", \"at\": 0.002}");
  pare_workload *workload = random_work("tasks=100,edges=1", 1);
  for (size_t p = 0; pare_policy_get(p, &policy, NULL); p++) {
    pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
    pare_simulation *simulation;
    options.policy = policy;
    ck_assert_int_eq(pare_simulate(machine, workload, &options, &simulation), PARE_ERR_DEVICE);
    ck_assert_ptr_null(simulation);
    ck_assert_msg(strstr(pare_message(), "no device is left") != NULL, "%s", pare_message());
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

START_TEST(rates_are_learned_from_weights) {
  pare_machine *machine = machine_of("{\"device\": \"fast\", \"rates\": {\"*\": 3e9}, \"weight\": 1}"
                                     "{\"device\": \"slow\", \"rates\": {\"*\": 1e9}, \"weight\": 1}");
  pare_workload *workload = random_work("tasks=2000", 1);
  pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
  pare_simulation *simulation;
  pare_simulation_result result;
  options.cold = true;
  OK(pare_simulate(machine, workload, &options, &simulation));
  OK(pare_simulation_result_get(simulation, &result));
  ck_assert_msg(result.makespan < 1.1 * result.work_bound, "%g of the bound", result.makespan / result.work_bound);
  pare_simulation_close(simulation);
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

START_TEST(percentiles_are_of_the_nearest_rank) {
  pare_machine *machine = machine_of("{\"device\": \"only\", \"rates\": {\"*\": 1}}");
  char text[4000];
  size_t used = 0;
  for (int i = 0; i < 40; i++) {
    used += (size_t)snprintf(text + used, sizeof text - used, "{\"task\": \"%d\"}\n", i);
    /* task k waits for k seconds */
    pare_workload *workload = work_of(text);
    const pare_simulation_result result = result_of(machine, workload, "dmda", NULL);
    ck_assert_double_eq_tol(result.wait_mean, 0.5 * i, 1e-6);
    ck_assert_double_eq_tol(result.wait_p95, ceil(0.95 * (i + 1)) - 1, 1e-6);
    ck_assert_double_eq_tol(result.wait_p99, i, 1e-6);
    pare_workload_close(workload);
  }
  pare_machine_close(machine);
}
END_TEST

START_TEST(nothing_starves) {
  /* One device, urgent tasks that would fill it for ever, and one that is not urgent. */
  static char text[60000];
  size_t used = (size_t)snprintf(text, sizeof text, "{\"task\": \"patient\", \"n\": 10000000, \"at\": 0.105}\n");
  for (int i = 0; i < 400; i++)
    used += (size_t)snprintf(text + used, sizeof text - used,
                             "{\"task\": \"u%d\", \"n\": 20000000, \"priority\": 5, \"at\": %g}\n", i, i * 0.01);
  pare_machine *machine = machine_of("{\"device\": \"only\", \"rates\": {\"*\": 1e9}}");
  pare_workload *workload = work_of(text);
  static const char *const policies[] = {"priority", "dmda", "hguided"};
  for (size_t p = 0; p < PARE__COUNT(policies); p++) {
    pare_simulate_options options = PARE_SIMULATE_OPTIONS_INIT;
    pare_simulation *simulation;
    pare_simulation_chunk chunk;
    options.policy = policies[p];
    options.ageing_seconds = 0.1; /* 5 of priority are worth half a second */
    options.trace = true;
    OK(pare_simulate(machine, workload, &options, &simulation));
    for (size_t i = 0; pare_simulation_chunk_get(simulation, i, &chunk) && chunk.task != 0; i++) {}
    ck_assert_uint_eq(chunk.task, 0);
    ck_assert_msg(chunk.from < 1.5, "%s: it starts after %g s", policies[p], chunk.from);
    ck_assert(chunk.from > 0.5 || p == 2); /* hguided gives tasks to queues, and there they stay */
    pare_simulation_close(simulation);
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

START_TEST(pieces_fit_the_memory) {
  pare_machine *machine =
      machine_of("{\"device\": \"small\", \"rates\": {\"*\": 4e9}, \"memory\": 1000000, \"bandwidth\": 1e10}"
                 "{\"device\": \"large\", \"rates\": {\"*\": 1e9}, \"memory\": 100000000, \"bandwidth\": 1e10}");
  pare_workload *workload =
      work_of("{\"task\": \"wide\", \"n\": 1000, \"work\": 1e6, \"split\": true, \"reads\": 3e7, \"writes\": 1e7}"
              "{\"task\": \"whole\", \"n\": 1000, \"reads\": 5e7, \"needs\": [\"wide\"]}");
  const char *policy;
  for (size_t p = 0; pare_policy_get(p, &policy, NULL); p++) {
    pare_simulation_result result;
    pare_simulation_chunk chunk;
    pare_simulation *simulation = simulated(machine, workload, policy, NULL, &result);
    for (size_t i = 0; pare_simulation_chunk_get(simulation, i, &chunk); i++)
      ck_assert_msg(chunk.device == 1 || (chunk.task == 0 && chunk.end - chunk.begin <= 25), "%s: %d steps", policy,
                    (int)(chunk.end - chunk.begin));
    check_chunks(machine, workload, simulation);
    pare_simulation_close(simulation);
  }
  pare_workload_close(workload);
  pare_machine_close(machine);
}
END_TEST

int main(void) {
  TCase *cases = tcase_create("simulate");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, every_task_runs_exactly_once);
  tcase_add_test(cases, the_same_seed_gives_the_same_bits);
  tcase_add_test(cases, copies_go_both_ways_at_once);
  tcase_add_test(cases, what_another_device_made_comes_by_way_of_the_host);
  tcase_add_test(cases, a_plan_knows_when_results_are_at_the_host);
  tcase_add_test(cases, what_is_not_at_the_host_is_lost_with_the_device);
  tcase_add_test(cases, each_objective_is_met);
  tcase_add_test(cases, a_decision_weighs_what_the_user_says);
  tcase_add_test(cases, an_objective_is_a_name_for_weights);
  tcase_add_test(cases, a_load_is_divided_among_those_that_make_it_weigh_least);
  tcase_add_test(cases, wrong_policies_and_weights_are_refused);
  tcase_add_test(cases, two_devices_give_the_sum_of_their_speeds);
  tcase_add_test(cases, work_moves_away_from_a_slowed_device);
  tcase_add_test(cases, nothing_swings_when_times_are_noisy);
  tcase_add_test(cases, a_lost_device_costs_its_share_only);
  tcase_add_test(cases, all_devices_lost_is_an_error);
  tcase_add_test(cases, rates_are_learned_from_weights);
  tcase_add_test(cases, percentiles_are_of_the_nearest_rank);
  tcase_add_test(cases, nothing_starves);
  tcase_add_test(cases, pieces_fit_the_memory);
  return run_tests("simulate", cases);
}
