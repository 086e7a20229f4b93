/* pare simulate: policies on simulated devices. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <pare/simulate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/model_tasks.h"

#define MOST_ROWS 24 /* devices in the table for people; JSON has all */

enum { MACHINE, TASKS, MODEL, SHAPE, BATCHES, RANDOM, POLICY, OBJECTIVE, SEED, COLD, AGEING, TRACE, STATS, JSON };
static const cli_option options[] = {
    [MACHINE] = {"machine", "FILE", "the devices", 0},
    [TASKS] = {"tasks", "FILE", "the work", 0},
    [MODEL] = {"model", "MODEL", "the work of an ONNX model's nodes; needs a device to plan for, and runs nothing", 0},
    [SHAPE] = CLI_OPTION_SHAPE,
    [BATCHES] = {"batches", "N", "with --model: so many runs of it, which need nothing of each other (1)", 0},
    [RANDOM] = {"random", "KEY=VALUE,...", "work at random: tasks=1000,edges=2,bytes=1e6,...", 0},
    [POLICY] =
        {"policy", "NAME",
         "dmda, hguided, heft, static, priority or round-robin (dmda); dmda:transfer=2,joule=0.1 sets weights of its "
         "decisions; all compares them",
         0},
    [OBJECTIVE] = {"objective", "NAME", "makespan, utilisation, energy or cost (makespan)", 0},
    [SEED] = {"seed", "N", "of random work, and of the machine's noise (1)", 0},
    [COLD] = {"cold", NULL, "policies know no rates, only weights, and learn", 0},
    [AGEING] = {"ageing", "TIME", "one more of priority is worth so much waiting (1s)", 0},
    [TRACE] = {"trace", "FILE", "write what ran when, for Perfetto and pare trace", 0},
    [STATS] = {"stats", NULL, "show each device, too", 0},
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

typedef struct simulate_run {
  const cli_arguments *arguments;
  pare_simulate_options options;
  pare_machine *machine;
  pare_workload *workload;
  bool all, stats;
  json_t *json; /* NULL: for people */
  cli_table *table;
} simulate_run;

/* ---- showing ---- */

static json_t *devices_json(const pare_simulation *simulation, size_t count) {
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++) {
    pare_simulation_device device;
    if (pare_simulation_device_get(simulation, i, &device) != PARE_OK) continue;
    json_array_append_new(list, json_pack("{s:o, s:I, s:f, s:f, s:o, s:f, s:f}", "device", cli_json_text(device.name),
                                          "chunks", (json_int_t)device.chunks, "busy_seconds", device.busy,
                                          "copy_seconds", device.copying, "lost_at",
                                          device.lost_at >= 0 ? json_real(device.lost_at) : json_null(), "joules",
                                          device.joules, "price", device.price));
  }
  return list;
}

static json_t *result_json(const pare_simulation *simulation, const pare_simulation_result *result, bool stats) {
  json_t *json =
      json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "policy", result->policy, "objective",
                result->objective, "tasks", (json_int_t)result->tasks, "chunks", (json_int_t)result->chunks, "moves",
                (json_int_t)result->moves, "devices", (json_int_t)result->devices, "lost", (json_int_t)result->lost,
                "makespan_seconds", result->makespan, "path_bound_seconds", result->path_bound, "work_bound_seconds",
                result->work_bound, "utilisation", result->utilisation);
  json_t *more =
      json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I}", "wait_mean_seconds", result->wait_mean,
                "wait_p95_seconds", result->wait_p95, "wait_p99_seconds", result->wait_p99, "joules", result->joules,
                "joules_bound", result->joules_bound, "price", result->price, "price_bound", result->price_bound,
                "relearned", (json_int_t)result->relearned, "bytes_a_task", (json_int_t)result->bytes_a_task);
  json_object_update(json, more);
  json_decref(more);
  if (stats) json_object_set_new(json, "device", devices_json(simulation, result->devices));
  return json;
}

static void print_ratio(double value, double bound, const char *unit) {
  if (bound > 0) printf(" (%.3f of the bound, %.4g%s)", value / bound, bound, unit);
  putchar('\n');
}

static void print_result(const pare_simulation_result *result) {
  char text[CLI_TEXT], more[CLI_TEXT];
  const double bound = result->path_bound > result->work_bound ? result->path_bound : result->work_bound;
  cli_print(CLI_BOLD, "%s", result->policy);
  printf(" for %s: %zu tasks in %zu pieces on %zu devices\n", result->objective, result->tasks, result->chunks,
         result->devices);
  printf("makespan     %s", cli_seconds(result->makespan, text));
  if (bound > 0)
    printf(", %.3f of the lower bound %s (%s)", result->makespan / bound, cli_seconds(bound, more),
           result->path_bound > result->work_bound ? "longest chain" : "all work by all rates");
  printf("\nutilisation  %.1f%%\n", 100 * result->utilisation);
  printf("waiting      mean %s", cli_seconds(result->wait_mean, text));
  printf(", 95%% within %s", cli_seconds(result->wait_p95, text));
  printf(", 99%% within %s\n", cli_seconds(result->wait_p99, text));
  if (result->joules > 0) {
    printf("energy       %.4g J", result->joules);
    print_ratio(result->joules, result->joules_bound, " J");
  }
  if (result->price > 0) {
    printf("cost         %.4g", result->price);
    print_ratio(result->price, result->price_bound, "");
  }
  if (result->lost > 0) printf("lost         %zu devices\n", result->lost);
  if (result->moves > 0) printf("moved        %zu tasks from one device's queue to another's\n", result->moves);
}

static cli_exit print_devices(const pare_simulation *simulation, const pare_simulation_result *result) {
  cli_table *table = cli_table_open("device|>pieces|>busy|>copies|>energy|>cost|");
  char text[CLI_TEXT];
  for (size_t i = 0; i < result->devices && i < MOST_ROWS; i++) {
    pare_simulation_device device;
    if (pare_simulation_device_get(simulation, i, &device) != PARE_OK) continue;
    cli_table_cell(table, CLI_PLAIN, "%s", device.name);
    cli_table_cell(table, CLI_PLAIN, "%zu", device.chunks);
    cli_table_cell(table, CLI_PLAIN, "%.1f%%", result->makespan > 0 ? 100 * device.busy / result->makespan : 0);
    cli_table_cell(table, CLI_PLAIN, "%.1f%%", result->makespan > 0 ? 100 * device.copying / result->makespan : 0);
    cli_table_cell(table, CLI_PLAIN, "%.4g J", device.joules);
    cli_table_cell(table, CLI_PLAIN, "%.4g", device.price);
    if (device.lost_at >= 0)
      cli_table_cell(table, CLI_BAD, "lost at %s", cli_seconds(device.lost_at, text));
    else
      cli_table_cell(table, CLI_PLAIN, "%s", "");
  }
  putchar('\n');
  const cli_exit code = cli_table_print(table);
  if (result->devices > MOST_ROWS) printf("and %zu more (--json has all)\n", result->devices - MOST_ROWS);
  return code;
}

static void add_row(cli_table *table, const pare_simulation_result *result) {
  char text[CLI_TEXT];
  const double bound = result->path_bound > result->work_bound ? result->path_bound : result->work_bound;
  cli_table_cell(table, CLI_BOLD, "%s", result->policy);
  cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(result->makespan, text));
  cli_table_cell(table, CLI_PLAIN, "%.3f", bound > 0 ? result->makespan / bound : 1);
  cli_table_cell(table, CLI_PLAIN, "%.1f%%", 100 * result->utilisation);
  cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(result->wait_mean, text));
  cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(result->wait_p99, text));
  cli_table_cell(table, CLI_PLAIN, "%.4g J", result->joules);
  cli_table_cell(table, CLI_PLAIN, "%.4g", result->price);
}

/* ---- running ---- */

static cli_exit run_policy(simulate_run *run, const char *policy) {
  pare_simulation *simulation = NULL;
  pare_simulation_result result = {0};
  const char *trace = cli_value(run->arguments, &options[TRACE]);
  run->options.policy = policy;
  pare_status status = pare_simulate(run->machine, run->workload, &run->options, &simulation);
  if (status == PARE_OK) status = pare_simulation_result_get(simulation, &result);
  if (status == PARE_OK && trace) status = pare_simulation_trace(simulation, trace);
  cli_exit code = status == PARE_OK ? CLI_OK : cli_fail(status);
  if (code == CLI_OK && run->json) {
    json_array_append_new(run->json, result_json(simulation, &result, run->stats));
  } else if (code == CLI_OK && run->table) {
    add_row(run->table, &result);
  } else if (code == CLI_OK) {
    print_result(&result);
    if (run->stats) code = print_devices(simulation, &result);
  }
  pare_simulation_close(simulation);
  return code;
}

static cli_exit run_all(simulate_run *run) {
  const char *name;
  cli_exit code = CLI_OK;
  if (!run->json) run->table = cli_table_open("policy|>makespan|>to bound|>utilisation|>mean wait|>99%|>energy|>cost");
  for (size_t i = 0; code == CLI_OK && pare_policy_get(i, &name, NULL); i++) code = run_policy(run, name);
  if (!run->table) return code;
  const cli_exit printed = cli_table_print(run->table);
  return code == CLI_OK ? printed : code;
}

static cli_exit read_options(simulate_run *run) {
  const cli_arguments *arguments = run->arguments;
  const char *seed = cli_value(arguments, &options[SEED]), *ageing = cli_value(arguments, &options[AGEING]),
             *policy = cli_value(arguments, &options[POLICY]);
  char *end;
  run->options = (pare_simulate_options)PARE_SIMULATE_OPTIONS_INIT;
  run->options.objective = cli_value(arguments, &options[OBJECTIVE]);
  run->options.cold = cli_value(arguments, &options[COLD]) != NULL;
  run->options.trace = cli_value(arguments, &options[TRACE]) != NULL;
  run->options.policy = policy;
  run->stats = cli_value(arguments, &options[STATS]) != NULL;
  run->all = policy && strcmp(policy, "all") == 0;
  if (run->all && run->options.trace) return cli_error(CLI_USAGE, "--trace is of one policy, not of all");
  if (seed) {
    errno = 0;
    run->options.seed = strtoull(seed, &end, 10);
    if (end == seed || *end || *seed == '-' || errno) return cli_error(CLI_USAGE, "--seed: '%s' is no number", seed);
  }
  if (ageing && !cli_parse_duration(ageing, &run->options.ageing_seconds))
    return cli_error(CLI_USAGE, "--ageing: '%s' is no time, such as 500ms", ageing);
  if (!cli_value(arguments, &options[MACHINE]))
    return cli_error(CLI_USAGE, "say which devices: --machine FILE (man pare-simulate has an example)");
  const bool model = cli_value(arguments, &options[MODEL]) != NULL;
  if ((cli_value(arguments, &options[TASKS]) != NULL) + model + (cli_value(arguments, &options[RANDOM]) != NULL) != 1)
    return cli_error(CLI_USAGE, "say which work: either --tasks FILE or --random tasks=1000 or --model MODEL");
  if (!model && (cli_value(arguments, &options[SHAPE]) || cli_value(arguments, &options[BATCHES])))
    return cli_error(CLI_USAGE, "--shape and --batches are of --model");
  return CLI_OK;
}

static cli_exit open_work(simulate_run *run) {
  const cli_arguments *arguments = run->arguments;
  const char *tasks = cli_value(arguments, &options[TASKS]), *model = cli_value(arguments, &options[MODEL]),
             *count = cli_value(arguments, &options[BATCHES]);
  if (model) {
    char *end = NULL;
    const long batches = count ? strtol(count, &end, 10) : 1;
    if (count && (end == count || *end || batches < 1 || batches > CLI_MOST_BATCHES))
      return cli_error(CLI_USAGE, "--batches: '%s' is no number from 1 to %d", count, CLI_MOST_BATCHES);
    return cli_model_tasks(arguments, &options[SHAPE], model, (size_t)batches, &run->workload);
  }
  const pare_status status =
      tasks ? pare_workload_open(tasks, &run->workload)
            : pare_workload_random(cli_value(arguments, &options[RANDOM]), run->options.seed, &run->workload);
  return status == PARE_OK ? CLI_OK : cli_fail(status);
}

static cli_exit run(const cli_arguments *arguments) {
  simulate_run run = {.arguments = arguments};
  cli_exit code = read_options(&run);
  if (code != CLI_OK) return code;
  const pare_status status = pare_machine_open(cli_value(arguments, &options[MACHINE]), &run.machine);
  code = status == PARE_OK ? open_work(&run) : cli_fail(status);
  if (code == CLI_OK && cli_value(arguments, &options[JSON])) run.json = json_array();
  if (code == CLI_OK) code = run.all ? run_all(&run) : run_policy(&run, run.options.policy);
  if (run.json) code = cli_json_print_results(run.json, code);
  pare_workload_close(run.workload);
  pare_machine_close(run.machine);
  return code;
}

const cli_command cli_cmd_simulate = {
    .name = "simulate",
    .summary = "simulate how policies spread work over devices",
    .usage = "--machine FILE (--tasks FILE | --model MODEL [--shape NAME=SHAPE]... [--batches N] | --random "
             "KEY=VALUE,...) [--policy NAME] [--objective NAME] [--seed N] "
             "[--cold] [--ageing TIME] [--trace FILE] [--stats] [--json]",
    .about =
        "Runs the scheduler's policies on devices that a file describes, and shows makespan, utilisation, waiting, "
        "energy and cost against lower bounds. The same files and seed give the same result, bit for bit. No "
        "device is used, but by --model, to know shapes.",
    .options = options,
    .max_operands = 0,
    .uses_device = true,
    .run = run,
};
