/* pare run: a model's outputs for these inputs. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/feed.h"
#include "cli/schedule.h"

enum { INPUT, OUTPUT, SHAPE, REPEAT, PROFILE, WITHOUT, AT_ONCE, EXECUTOR, LOOP_LIMIT, CLI_SCHEDULE_ROWS, JSON };
static const cli_option options[] = {
    [INPUT] = CLI_OPTION_INPUT,
    [OUTPUT] = {"output", "FILE", "write every output to this .npz file", 'o'},
    [SHAPE] = CLI_OPTION_SHAPE,
    [REPEAT] = {"repeat", "COUNT", "run so many times; says the first and the median time", 0},
    [PROFILE] = {"profile", NULL, "time every node, waiting after each", 0},
    [WITHOUT] = CLI_OPTION_WITHOUT,
    [AT_ONCE] = CLI_OPTION_AT_ONCE,
    [EXECUTOR] = CLI_OPTION_EXECUTOR,
    [LOOP_LIMIT] = CLI_OPTION_LOOP_LIMIT,
    CLI_OPTIONS_SCHEDULE,
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

typedef struct model_run {
  const char *path, *output_path; /* output_path NULL: none */
  bool profile;
  size_t repeat;
  json_t *json; /* NULL: for people */
  cli_schedule schedule;
  pare_context *context;
  pare_model *model;
  cli_inputs inputs;
  size_t noutputs;
  pare_tensor **output;
  double open_seconds, first_seconds;
  size_t at_once;       /* of the runs after the first */
  double again_seconds; /* that all of these took */
  pthread_mutex_t lock; /* guards their times */
  cli_times times;
} model_run;

/* ---- running ---- */

static cli_exit run_first(model_run *run) {
  return cli_run_once(run->context, run->model, &run->inputs, run->output, &run->first_seconds);
}

/* The outputs are the first's again. */
static cli_exit run_again(void *user, size_t request) {
  model_run *run = user;
  double seconds;
  (void)request;
  cli_exit code = cli_run_once(run->context, run->model, &run->inputs, NULL, &seconds);
  if (code != CLI_OK) return code;
  pthread_mutex_lock(&run->lock);
  code = cli_times_add(&run->times, seconds);
  pthread_mutex_unlock(&run->lock);
  return code;
}

static cli_exit run_repeatedly(model_run *run) {
  const cli_exit code = run_first(run);
  if (code != CLI_OK || run->repeat == 1) return code;
  run->at_once = cli_requests_at_once(&run->schedule, run->context);
  pthread_mutex_init(&run->lock, NULL);
  const double begun = cli_now();
  const cli_exit served = cli_serve(run->repeat - 1, run->at_once, run_again, run);
  run->again_seconds = cli_now() - begun;
  pthread_mutex_destroy(&run->lock);
  return served;
}

static void print_times(model_run *run) {
  char text[3][CLI_TEXT];
  printf("%s: opened in %s, first run in %s", run->path, cli_seconds(run->open_seconds, text[0]),
         cli_seconds(run->first_seconds, text[1]));
  if (run->times.count > 0)
    printf(", then %zu in a median of %s", run->times.count,
           cli_seconds(cli_times_percentile(&run->times, 0.5), text[2]));
  if (run->at_once > 1) printf(", %zu at once, in %s", run->at_once, cli_seconds(run->again_seconds, text[2]));
  const pare_model_launches count = cli_launches(run->model);
  if (count.launches > 0) printf(", %zu launch%s", count.launches, count.launches == 1 ? "" : "es");
  if (count.ticketed > 0) printf(" (%zu ticketed; %zu without)", count.ticketed, count.without_tickets);
  if (count.why[0]) printf(" (%s)", count.why);
  char devices[CLI_DEVICES];
  printf(" on %s\n", cli_context_devices(run->context, devices));
}

static json_t *times_json(model_run *run) {
  json_t *json = json_pack("{s:f, s:f, s:I}", "open_ms", 1e3 * run->open_seconds, "first_ms", 1e3 * run->first_seconds,
                           "runs", (json_int_t)run->repeat);
  if (run->times.count > 0)
    json_object_set_new(json, "median_ms", json_real(1e3 * cli_times_percentile(&run->times, 0.5)));
  if (run->at_once > 1) {
    json_object_set_new(json, "at_once", json_integer((json_int_t)run->at_once));
    json_object_set_new(json, "again_ms", json_real(1e3 * run->again_seconds));
  }
  const pare_model_launches count = cli_launches(run->model);
  if (count.launches > 0) {
    json_object_set_new(json, "launches", json_integer((json_int_t)count.launches));
    json_object_set_new(json, "ticketed_launches", json_integer((json_int_t)count.ticketed));
    json_object_set_new(json, "executor", json_string(cli_executor_name(count.executor)));
    json_object_set_new(json, "executor_reason", cli_json_text(count.why));
  }
  return json;
}

/* ---- the profile ---- */

static int by_time(const void *a, const void *b) {
  const pare_model_step *x = a, *y = b;
  return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static json_t *steps_json(const pare_model_step *steps, size_t count) {
  json_t *json = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(json, json_pack("{s:o, s:o, s:o, s:s, s:f, s:o}", "node", cli_json_text(steps[i].node), "op",
                                          cli_json_text(steps[i].op_type), "domain", cli_json_text(steps[i].domain),
                                          "placement", steps[i].placement, "ms", 1e3 * steps[i].seconds, "output",
                                          cli_json_text(steps[i].output)));
  return json;
}

/* A line a placement: how many nodes, how long, which part of all. */
static void print_placements(const pare_model_step *steps, size_t count, double total) {
  static const char *const placements[] = {"device", "host", "view", "control"};
  char text[CLI_TEXT];
  for (size_t p = 0; p < CLI_COUNT(placements); p++) {
    size_t n = 0;
    double seconds = 0;
    for (size_t i = 0; i < count; i++) {
      if (strcmp(steps[i].placement, placements[p]) != 0) continue;
      n++;
      seconds += steps[i].seconds;
    }
    if (n > 0)
      printf("%-8s %zu nodes, %s, %.1f%%\n", placements[p], n, cli_seconds(seconds, text),
             total > 0 ? 100 * seconds / total : 0);
  }
  printf("%-8s %zu nodes, %s\n", "total", count, cli_seconds(total, text));
}

static cli_exit print_steps(pare_model_step *steps, size_t count) {
  double total = 0;
  cli_table *table = cli_table_open("op|node|placement|>ms|>share|output");
  qsort(steps, count, sizeof *steps, by_time);
  for (size_t i = 0; i < count; i++) total += steps[i].seconds;
  for (size_t i = 0; i < count; i++) {
    const cli_style style = strcmp(steps[i].placement, "host") == 0 ? CLI_WARN : CLI_PLAIN;
    char ms[CLI_TEXT];
    cli_table_cell(table, CLI_PLAIN, "%s%s%s", steps[i].domain, *steps[i].domain ? "." : "", steps[i].op_type);
    cli_table_cell(table, CLI_PLAIN, "%s", steps[i].node);
    cli_table_cell(table, style, "%s", steps[i].placement);
    cli_table_cell(table, CLI_PLAIN, "%s", cli_figure(1e3 * steps[i].seconds, ms));
    cli_table_cell(table, CLI_PLAIN, "%.1f%%", total > 0 ? 100 * steps[i].seconds / total : 0);
    cli_table_cell(table, CLI_PLAIN, "%s", steps[i].output);
  }
  const cli_exit code = cli_table_print(table);
  print_placements(steps, count, total);
  putchar('\n');
  return code;
}

/* A second time, so that no node pays for building its kernels. */
static cli_exit profile(model_run *run) {
  pare_model_step *steps = NULL;
  size_t count = 0;
  for (int pass = 0; pass < 2; pass++) {
    cli_tensors_close(run->noutputs, run->output);
    pare_model_steps_free(steps);
    const pare_status status = pare_model_profile(run->model, run->inputs.tensor, run->output, &steps, &count);
    if (status != PARE_OK) return cli_run_fail(status);
  }
  cli_exit code = CLI_OK;
  if (run->json)
    json_object_set_new(run->json, "profile", steps_json(steps, count));
  else
    code = print_steps(steps, count);
  pare_model_steps_free(steps);
  return code;
}

/* ---- outputs ---- */

static void output_json(json_t *list, const pare_array *array, const cli_statistics *found) {
  json_t *json = json_pack("{s:o, s:s, s:o, s:I}", "name", cli_json_text(array->name), "dtype", array->dtype_name,
                           "shape", cli_dims_json(array->rank, array->dim), "nan", (json_int_t)found->nan);
  /* JSON has no infinities: what is none is left out. */
  if (isfinite(found->least)) json_object_set_new(json, "min", json_real(found->least));
  if (isfinite(found->most)) json_object_set_new(json, "max", json_real(found->most));
  if (isfinite(found->mean)) json_object_set_new(json, "mean", json_real(found->mean));
  json_array_append_new(list, json);
}

/* Empty where there is no number. */
static void number_cell(cli_table *table, double number) {
  char text[CLI_TEXT] = "";
  if (!isnan(number)) snprintf(text, sizeof text, "%.6g", number);
  cli_table_cell(table, CLI_PLAIN, "%s", text);
}

static void output_row(cli_table *table, const pare_array *array, const cli_statistics *found) {
  char shape[CLI_SHAPE];
  cli_table_cell(table, CLI_PLAIN, "%s", array->name);
  cli_table_cell(table, CLI_PLAIN, "%s", cli_array_text(array, shape));
  number_cell(table, found->least);
  number_cell(table, found->most);
  number_cell(table, found->mean);
  cli_table_cell(table, found->nan > 0 ? CLI_BAD : CLI_PLAIN, "%zu", found->nan);
}

static cli_exit report_outputs(model_run *run, const pare_array *arrays) {
  cli_table *table = run->json ? NULL : cli_table_open("output|shape|>min|>max|>mean|>NaN");
  json_t *list = run->json ? json_array() : NULL;
  for (size_t i = 0; i < run->noutputs; i++) {
    const cli_statistics found = cli_array_statistics(&arrays[i]);
    if (run->json)
      output_json(list, &arrays[i], &found);
    else
      output_row(table, &arrays[i], &found);
  }
  if (!run->json) return cli_table_print(table);
  json_object_set_new(run->json, "outputs", list);
  return CLI_OK;
}

static cli_exit take_outputs(model_run *run) {
  pare_array *arrays = calloc(run->noutputs + 1, sizeof *arrays);
  cli_exit code = arrays ? CLI_OK : cli_error(CLI_DEVICE, "out of memory");
  for (size_t i = 0; i < run->noutputs && code == CLI_OK; i++) {
    pare_model_value value;
    const pare_status status = pare_model_output(run->model, i, &value);
    code = status == PARE_OK ? cli_array_read(run->output[i], value.name, &arrays[i]) : cli_fail(status);
  }
  if (code == CLI_OK && run->output_path) {
    const pare_status status = pare_arrays_write(run->output_path, run->noutputs, arrays, false);
    if (status != PARE_OK) code = cli_fail(status);
  }
  if (code == CLI_OK && (run->json || !run->output_path)) code = report_outputs(run, arrays);
  for (size_t i = 0; arrays && i < run->noutputs; i++) cli_array_free(&arrays[i]);
  free(arrays);
  return code;
}

/* ---- the command ---- */

static cli_exit run_model(model_run *run, const cli_feed *feed, const pare_model_options *how) {
  const double begun = cli_now();
  cli_exit code = cli_model_open(run->context, run->path, how, &run->model);
  run->open_seconds = cli_now() - begun;
  if (code != CLI_OK) return code;
  run->noutputs = pare_model_outputs(run->model);
  run->output = calloc(run->noutputs + 1, sizeof(pare_tensor *));
  if (!run->output) return cli_error(CLI_DEVICE, "out of memory");
  code = cli_feed_inputs(feed, run->context, run->model, &run->inputs);
  if (code != CLI_OK) return code;
  cli_inputs_note(&run->inputs);
  code = run_repeatedly(run);
  if (code == CLI_OK && run->json) {
    json_object_set_new(run->json, "model", cli_json_text(run->path));
    json_object_set_new(run->json, "device", cli_json_text(pare_context_device(run->context)->name));
    json_object_set_new(run->json, "random_inputs", json_boolean(run->inputs.random));
    json_object_set_new(run->json, "shapes", cli_inputs_shapes(&run->inputs, run->model));
    json_object_update_new(run->json, times_json(run));
    cli_division_show(run->model, run->json);
  } else if (code == CLI_OK && (run->repeat > 1 || run->profile)) {
    print_times(run);
  }
  if (code == CLI_OK && !run->json && (run->schedule.given || run->schedule.stats)) cli_division_show(run->model, NULL);
  if (code == CLI_OK) code = cli_schedule_show(&run->schedule, run->context, run->json);
  if (code == CLI_OK && run->profile) code = profile(run);
  return code == CLI_OK ? take_outputs(run) : code;
}

static cli_exit parse_repeat(const char *text, size_t *out) {
  char *end;
  *out = 1;
  if (!text) return CLI_OK;
  const long long count = strtoll(text, &end, 10);
  if (!*text || *end || count < 1 || count > 1000000000)
    return cli_error(CLI_USAGE, "--repeat: '%s' is no number of runs", text);
  *out = (size_t)count;
  return CLI_OK;
}

static cli_exit run(const cli_arguments *arguments) {
  model_run run = {.output_path = cli_value(arguments, &options[OUTPUT]),
                   .profile = cli_value(arguments, &options[PROFILE]) != NULL};
  pare_model_options how = {.without = cli_value(arguments, &options[WITHOUT]),
                            .no_plan = cli_value(arguments, &options[AT_ONCE]) != NULL};
  const bool json = cli_value(arguments, &options[JSON]) != NULL;
  cli_feed *feed = NULL;
  if (arguments->noperands == 0) return cli_error(CLI_USAGE, "say which model to run: pare run MODEL.onnx");
  run.path = arguments->operands[0];
  cli_exit code = parse_repeat(cli_value(arguments, &options[REPEAT]), &run.repeat);
  if (code == CLI_OK) code = cli_executor(cli_value(arguments, &options[EXECUTOR]), &how.executor);
  if (code == CLI_OK) code = cli_model_limits(cli_value(arguments, &options[LOOP_LIMIT]), &how);
  if (code == CLI_OK) code = cli_feed_open(arguments, &options[INPUT], &options[SHAPE], &feed);
  if (code == CLI_OK) code = cli_feed_names(feed, &how);
  if (code == CLI_OK) code = cli_schedule_parse(arguments, &options[PARALLEL], &run.schedule);
  if (code == CLI_OK) code = cli_context_open(arguments->device, &run.schedule.options, &run.context);
  if (code == CLI_OK && json && !(run.json = json_object())) code = cli_error(CLI_DEVICE, "out of memory for JSON");
  if (code == CLI_OK) code = run_model(&run, feed, &how);
  if (code == CLI_OK && json)
    code = cli_json_print(run.json);
  else
    json_decref(run.json);
  cli_tensors_close(run.noutputs, run.output);
  free(run.output);
  cli_times_free(&run.times);
  cli_inputs_close(&run.inputs);
  pare_model_close(run.model);
  pare_context_close(run.context);
  cli_feed_close(feed);
  return code;
}

const cli_command cli_cmd_run = {
    .name = "run",
    .summary = "run a model on inputs from files, or on random ones",
    .usage = "MODEL [-i NAME=FILE]... [-i FILE.npz]... [-o OUT.npz] [--shape NAME=SHAPE]... [--repeat COUNT] "
             "[--profile] [--loop-limit COUNT] [--parallel HOW] [--policy NAME] [--objective NAME] [--stall TIME] "
             "[--trace FILE] [--stats] "
             "[-d SPEC] [--json]",
    .about =
        "Runs an ONNX model on the selected devices: with several, the batch is split, or else runs are spread. Inputs "
        "come from .npy, .npz and .pb files; an .npz "
        "gives every input that it names and may hold more. Without -i the inputs are random, in the shapes that "
        "the model declares; sizes that it leaves open are 1 unless --shape says otherwise. Without -o the outputs "
        "are summarised. bfloat16 is kept as raw two-byte values, 4-bit integers one a "
        "byte, float8 and float4 as codes of a byte.",
    .options = options,
    .max_operands = 1,
    .uses_device = true,
    .run = run,
};
