/* pare bench: how fast kernels and models are. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/bench_model.h"

enum { KERNEL, ALL_VARIANTS, INPUT, SHAPE, WARMUP, DURATION, BASELINE, EXECUTOR, LOOP_LIMIT, CLI_SCHEDULE_ROWS, JSON };
static const cli_option options[] = {
    [KERNEL] = {"kernel", "FAMILY|all", "the family of kernels to time", 0},
    [ALL_VARIANTS] = {"all-variants", NULL, "time every variant that the device can run, not only the chosen", 0},
    [INPUT] = CLI_OPTION_INPUT,
    [SHAPE] = CLI_OPTION_SHAPE,
    [WARMUP] = {"warmup", "TIME", "run a model so long before measuring (200ms)", 0},
    [DURATION] = {"duration", "TIME", "measure a model so long (3s)", 0},
    [BASELINE] = {"baseline", "FILE", "compare models with the JSON of an earlier run; fail if one is 10 % slower", 0},
    [EXECUTOR] = CLI_OPTION_EXECUTOR,
    [LOOP_LIMIT] = CLI_OPTION_LOOP_LIMIT,
    CLI_OPTIONS_SCHEDULE,
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

typedef struct bench_run {
  const char *family; /* NULL: all */
  bool all_variants;
  json_t *json; /* NULL: for people */
  cli_table *table;
  char table_family[64];
  const pare_device_info *device;
  size_t ntimed;
  cli_exit code;
} bench_run;

/* A table a family, printed when the family is done: a long run shows what it has. */
static void end_table(bench_run *bench) {
  if (!bench->table) return;
  cli_progress_clear();
  cli_exit code = cli_table_print(bench->table);
  bench->table = NULL;
  putchar('\n');
  fflush(stdout);
  if (code != CLI_OK) bench->code = code;
}

static void begin_table(bench_run *bench, const char *family) {
  char columns[sizeof bench->table_family + 64];
  snprintf(bench->table_family, sizeof bench->table_family, "%s", family);
  snprintf(columns, sizeof columns, "%s|variant|>ms|>GFLOP/s|>GB/s", bench->table_family);
  bench->table = cli_table_open(columns);
}

static void figure_row(bench_run *bench, const pare_kernel_figure *figure) {
  char ms[CLI_TEXT], gflops[CLI_TEXT], gbytes[CLI_TEXT];
  bool marked = bench->all_variants && figure->chosen;
  cli_style style = marked ? CLI_BOLD : CLI_PLAIN;
  double seconds = figure->seconds > 0 ? figure->seconds : 1e-9;
  if (bench->table && strcmp(bench->table_family, figure->family) != 0) end_table(bench);
  if (!bench->table) begin_table(bench, figure->family);
  cli_table_cell(bench->table, style, "%s", figure->problem);
  cli_table_cell(bench->table, style, marked ? "%s *" : "%s", figure->variant);
  cli_table_cell(bench->table, style, "%s", cli_figure(1e3 * figure->seconds, ms));
  cli_table_cell(bench->table, style, "%s",
                 figure->flops > 0 ? cli_figure(1e-9 * figure->flops / seconds, gflops) : "");
  cli_table_cell(bench->table, style, "%s",
                 figure->bytes > 0 ? cli_figure(1e-9 * figure->bytes / seconds, gbytes) : "");
}

static void figure_json(bench_run *bench, const pare_kernel_figure *figure) {
  double seconds = figure->seconds > 0 ? figure->seconds : 1e-9;
  json_array_append_new(bench->json,
                        json_pack("{s:o, s:o, s:s, s:s, s:s, s:b, s:f, s:f, s:f, s:f, s:f}", "device",
                                  cli_json_text(bench->device->name), "driver", cli_json_text(bench->device->driver),
                                  "kernel", figure->family, "problem", figure->problem, "variant", figure->variant,
                                  "chosen", figure->chosen, "ms", 1e3 * figure->seconds, "flops", figure->flops,
                                  "bytes", figure->bytes, "gflops", 1e-9 * figure->flops / seconds, "gbytes_per_s",
                                  1e-9 * figure->bytes / seconds));
}

static void take_figure(const pare_kernel_figure *figure, void *user) {
  bench_run *bench = user;
  bench->ntimed++;
  if (bench->json)
    figure_json(bench, figure);
  else
    figure_row(bench, figure);
  cli_progress(-1, "%zu timed: %s %s %s", bench->ntimed, figure->family, figure->problem, figure->variant);
}

static cli_exit bench_device(pare_context *context, void *user) {
  bench_run *bench = user;
  bench->device = pare_context_device(context);
  bench->code = CLI_OK;
  if (!bench->json) {
    cli_print(CLI_BOLD, "%s", bench->device->name);
    printf(" (%s %s)\n", bench->device->driver, bench->device->driver_version);
  }
  cli_progress(-1, "timing");
  pare_status status = pare_kernel_bench(context, bench->family, bench->all_variants, take_figure, bench);
  end_table(bench);
  cli_progress_clear();
  return status == PARE_OK ? bench->code : cli_fail(status);
}

static cli_exit run_kernels(const cli_arguments *arguments) {
  bench_run bench = {.family = cli_value(arguments, &options[KERNEL]),
                     .all_variants = cli_value(arguments, &options[ALL_VARIANTS])};
  bool json = cli_value(arguments, &options[JSON]) != NULL;
  if (strcmp(bench.family, "all") == 0) bench.family = NULL;
  cli_exit code = cli_family_check(bench.family);
  if (code != CLI_OK) return code;
  if (json && !(bench.json = json_array())) return cli_error(CLI_DEVICE, "out of memory for JSON");
  code = cli_each_device(arguments->device, NULL, bench_device, &bench);
  if (!json && bench.all_variants && bench.ntimed) printf("* the variant that pare uses for the problem\n");
  return json ? cli_json_print_results(bench.json, code) : code;
}

static cli_exit parse_time(const cli_arguments *arguments, const cli_option *option, double *seconds) {
  const char *text = cli_value(arguments, option);
  if (!text || cli_parse_duration(text, seconds)) return CLI_OK;
  return cli_error(CLI_USAGE, "--%s: '%s' is no time; write for example 200ms or 3s", option->name, text);
}

static cli_exit run_models(const cli_arguments *arguments) {
  cli_feed *feed = NULL;
  cli_bench_models bench = {.count = arguments->noperands,
                            .paths = arguments->operands,
                            .device = arguments->device,
                            .baseline = cli_value(arguments, &options[BASELINE]),
                            .warmup_seconds = 0.2,
                            .duration_seconds = 3,
                            .json = cli_value(arguments, &options[JSON]) != NULL};
  cli_exit code = parse_time(arguments, &options[WARMUP], &bench.warmup_seconds);
  if (code == CLI_OK) code = parse_time(arguments, &options[DURATION], &bench.duration_seconds);
  if (code == CLI_OK) code = cli_executor(cli_value(arguments, &options[EXECUTOR]), &bench.how.executor);
  if (code == CLI_OK) code = cli_model_limits(cli_value(arguments, &options[LOOP_LIMIT]), &bench.how);
  if (code == CLI_OK) code = cli_feed_open(arguments, &options[INPUT], &options[SHAPE], &feed);
  if (code == CLI_OK) code = cli_feed_names(feed, &bench.how);
  if (code == CLI_OK) code = cli_schedule_parse(arguments, &options[PARALLEL], &bench.schedule);
  bench.feed = feed;
  if (code == CLI_OK) code = cli_bench_models_run(&bench);
  cli_feed_close(feed);
  return code;
}

static cli_exit run(const cli_arguments *arguments) {
  const bool kernels = cli_value(arguments, &options[KERNEL]) != NULL;
  if (kernels && arguments->noperands > 0)
    return cli_error(CLI_USAGE, "'pare bench' times kernels or models: leave --kernel or '%s' out",
                     arguments->operands[0]);
  if (kernels) return run_kernels(arguments);
  if (arguments->noperands > 0) return run_models(arguments);
  return cli_error(CLI_USAGE, "say what to time: pare bench MODEL.onnx, pare bench --kernel FAMILY, or --kernel all");
}

const cli_command cli_cmd_bench = {
    .name = "bench",
    .summary = "time models, or the kernels, on the selected devices",
    .usage = "MODEL... [-i FILE]... [--shape NAME=SHAPE]... [--warmup TIME] [--duration TIME] [--baseline FILE] "
             "[--executor HOW] [--loop-limit COUNT] [--parallel HOW] [--policy NAME] [--objective NAME] [--stall TIME] "
             "[--trace FILE] [--stats] "
             "[-d SPEC] [--json]\n       pare bench --kernel FAMILY|all [-d SPEC] [--all-variants] "
             "[--json]",
    .about = "With models: the median time of a run and its percentiles, runs a second, and the peak of device memory, "
             "after warming up. Outputs stay on the device. Several devices are timed one after the other, or, with "
             "--parallel, together. With --kernel: the benchmark problems of a family of "
             "kernels: the median of several runs after warming up, as milliseconds, billions of floating-point "
             "operations a second, and billions of bytes that the operation must move at least, a second.",
    .options = options,
    .max_operands = SIZE_MAX,
    .uses_device = true,
    .run = run,
};
