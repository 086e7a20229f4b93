/* pare bench: how fast models are. SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_model.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LEAST_RUNS 5 /* however long they take */
#define MOST_CHOOSING_SECONDS 120
#define CHOOSING_PAUSE_US 20000 /* between runs, so that whatever builds has the cores */
#define SLOWER 1.1              /* a median that is so many times the baseline's has failed */

typedef struct bench_state {
  const cli_bench_models *bench;
  json_t *baseline; /* NULL: none */
  json_t *results;
  cli_table *table; /* from the first result on; NULL: JSON */
  bool slower;
} bench_state;

/* ---- the baseline ---- */

static cli_exit read_baseline(const char *path, json_t **out) {
  json_error_t error;
  *out = NULL;
  if (!path) return CLI_OK;
  *out = json_load_file(path, 0, &error);
  if (!*out) return cli_error(CLI_INPUT, "%s, line %d: %s", path, error.line, error.text);
  if (json_is_array(*out)) return CLI_OK;
  json_decref(*out);
  *out = NULL;
  return cli_error(CLI_INPUT, "%s is no array of results, as 'pare bench MODEL --json' prints it", path);
}

/* How many names two paths have in common at their ends: "old/a/m.onnx" and "./a/m.onnx" two. Equal ones have more
 * than any others. */
static size_t common_names(const char *a, const char *b) {
  const char *x = a + strlen(a), *y = b + strlen(b);
  size_t count = 0;
  if (strcmp(a, b) == 0) return SIZE_MAX;
  while (x > a && y > b && x[-1] == y[-1]) {
    x--, y--;
    count += *x == '/';
  }
  return count + ((x == a || x[-1] == '/') && (y == b || y[-1] == '/') && *x != '/');
}

/* Is this row of the baseline another model's of this run, by a path that ends more alike? */
static bool is_of_another(const cli_bench_models *bench, const char *row, size_t common) {
  for (size_t i = 0; i < bench->count; i++)
    if (common_names(bench->paths[i], row) > common) return true;
  return false;
}

/* The row that it has for the same model, device and shapes; NULL: none. The same model is the one whose path ends most
 * alike, with the file's name at least, so that a model is found again from another folder. *rival: another one's name
 * if its path ends as much alike: which is meant cannot be told. */
static const json_t *baseline_row(const bench_state *state, const json_t *result, const char **rival) {
  static const char *const keys[] = {"device", "shapes"};
  const char *name = json_string_value(json_object_get(result, "name"));
  const json_t *found = NULL;
  size_t i, most = 0;
  json_t *row;
  *rival = NULL;
  json_array_foreach(state->baseline, i, row) {
    const char *other = json_string_value(json_object_get(row, "name"));
    bool same = name && other;
    for (size_t k = 0; k < CLI_COUNT(keys); k++)
      same = same && json_equal(json_object_get(row, keys[k]), json_object_get(result, keys[k]));
    const size_t common = same ? common_names(name, other) : 0;
    if (common < most || common == 0 || is_of_another(state->bench, other, common)) continue;
    if (common > most) *rival = NULL;
    if (common == most && strcmp(other, json_string_value(json_object_get(found, "name"))) != 0) *rival = other;
    if (common > most) found = row;
    most = common;
  }
  return found;
}

/* Its median; 0, and a note: there is none. */
static double baseline_ms(const bench_state *state, const json_t *result) {
  const char *rival, *name = json_string_value(json_object_get(result, "name"));
  const json_t *row = baseline_row(state, result, &rival);
  const double median = row && !rival ? json_number_value(json_object_get(row, "median_ms")) : 0;
  if (row && rival)
    cli_note("pare: %s has medians of %s and of %s, and %s may be either: nothing to compare", state->bench->baseline,
             json_string_value(json_object_get(row, "name")), rival, name);
  else if (!(median > 0))
    cli_note("pare: %s has no median of %s on this device with these shapes: nothing to compare",
             state->bench->baseline, name);
  return median;
}

/* ---- one model ---- */

/* Runs for so long, and until it is chosen how the runs are enqueued: what is measured are runs of one kind, and no
 * process that builds beside them. */
static cli_exit warm_up(const bench_state *state, pare_context *context, pare_model *model, const cli_inputs *inputs) {
  const double begun = cli_now(), least = state->bench->warmup_seconds;
  pare_model_launches launches = {0};
  bool said = false;
  while (cli_now() - begun < least || (launches.choosing && cli_now() - begun < least + MOST_CHOOSING_SECONDS)) {
    double seconds;
    const cli_exit code = cli_run_once(context, model, inputs, NULL, &seconds);
    if (code != CLI_OK) return code;
    launches = cli_launches(model);
    if (!launches.choosing || cli_now() - begun < least) continue;
    if (!said) cli_note("pare: warming up until the faster executor is found; it may need a program, built once");
    said = true;
    usleep(CHOOSING_PAUSE_US);
  }
  return CLI_OK;
}

static cli_exit measure(const bench_state *state, pare_context *context, pare_model *model, const cli_inputs *inputs,
                        cli_times *times) {
  const cli_bench_models *bench = state->bench;
  double seconds;
  const cli_exit warm = warm_up(state, context, model, inputs);
  if (warm != CLI_OK) return warm;
  while (times->count < LEAST_RUNS || times->total < bench->duration_seconds) {
    cli_exit code = cli_run_once(context, model, inputs, NULL, &seconds);
    if (code == CLI_OK) code = cli_times_add(times, seconds);
    if (code != CLI_OK) return code;
    cli_progress(times->total / bench->duration_seconds, "%zu runs", times->count);
  }
  return CLI_OK;
}

static json_t *result_json(const char *path, pare_context *context, pare_model *model, const cli_inputs *inputs,
                           cli_times *times) {
  pare_memory_usage memory = {0};
  char devices[CLI_DEVICES];
  pare_context_memory(context, &memory);
  json_t *json = json_pack(
      "{s:o, s:o, s:o, s:I, s:f, s:f, s:f, s:f, s:f, s:I}", "name", cli_json_text(path), "device",
      cli_json_text(cli_context_devices(context, devices)), "shapes", cli_inputs_shapes(inputs, model), "runs",
      (json_int_t)times->count, "median_ms", 1e3 * cli_times_percentile(times, 0.5), "p90_ms",
      1e3 * cli_times_percentile(times, 0.9), "p95_ms", 1e3 * cli_times_percentile(times, 0.95), "p99_ms",
      1e3 * cli_times_percentile(times, 0.99), "per_second", times->total > 0 ? (double)times->count / times->total : 0,
      "peak_bytes", (json_int_t)memory.peak_bytes);
  if (json) {
    const pare_model_launches launches = cli_launches(model);
    cli_json_set(json, "executor", json_string(cli_executor_name(launches.executor)));
    cli_json_set(json, "executor_reason", cli_json_text(launches.why));
    cli_division_show(model, json);
  }
  return json;
}

static void figure_cell(cli_table *table, const json_t *result, const char *key) {
  char text[CLI_TEXT];
  cli_table_cell(table, CLI_PLAIN, "%s", cli_figure(json_number_value(json_object_get(result, key)), text));
}

static void result_row(bench_state *state, const json_t *result, double before_ms) {
  char text[CLI_TEXT];
  if (!state->table)
    state->table =
        cli_table_open(state->baseline ? "model|device|>median ms|>p90|>p95|>p99|>per second|>peak memory|>to baseline"
                                       : "model|device|>median ms|>p90|>p95|>p99|>per second|>peak memory");
  cli_table_cell(state->table, CLI_PLAIN, "%s", json_string_value(json_object_get(result, "name")));
  cli_table_cell(state->table, CLI_PLAIN, "%s", json_string_value(json_object_get(result, "device")));
  figure_cell(state->table, result, "median_ms");
  figure_cell(state->table, result, "p90_ms");
  figure_cell(state->table, result, "p95_ms");
  figure_cell(state->table, result, "p99_ms");
  figure_cell(state->table, result, "per_second");
  cli_table_cell(state->table, CLI_PLAIN, "%s",
                 cli_bytes((uint64_t)json_integer_value(json_object_get(result, "peak_bytes")), text));
  if (!state->baseline) return;
  const double ratio = json_number_value(json_object_get(result, "median_ms")) / before_ms;
  if (before_ms > 0)
    cli_table_cell(state->table, ratio > SLOWER ? CLI_BAD : ratio < 1 / SLOWER ? CLI_GOOD : CLI_PLAIN, "%.2fx", ratio);
  else
    cli_table_cell(state->table, CLI_DIM, "new");
}

static void take_result(bench_state *state, json_t *result) {
  const double before_ms = state->baseline ? baseline_ms(state, result) : 0;
  if (state->baseline && !(before_ms > 0)) json_object_set_new(result, "baseline_ms", json_null());
  if (before_ms > 0) {
    json_object_set_new(result, "baseline_ms", json_real(before_ms));
    if (json_number_value(json_object_get(result, "median_ms")) > SLOWER * before_ms) state->slower = true;
  }
  if (!state->bench->json) result_row(state, result, before_ms);
  json_array_append_new(state->results, result);
}

/* Each model has a context of its own, so that the peak of memory is its own, too. */
static cli_exit bench_model(bench_state *state, pare_context *context, const char *path) {
  pare_model *model = NULL;
  cli_inputs inputs = {0};
  cli_times times = {0};
  cli_exit code = cli_model_open(context, path, &state->bench->how, &model);
  if (code == CLI_OK) code = cli_feed_inputs(state->bench->feed, context, model, &inputs);
  if (code == CLI_OK) code = measure(state, context, model, &inputs, &times);
  cli_progress_clear();
  if (code == CLI_OK) {
    json_t *result = result_json(path, context, model, &inputs, &times);
    if (result && state->bench->json) code = cli_schedule_show(&state->bench->schedule, context, result);
    if (result)
      take_result(state, result);
    else
      code = cli_error(CLI_DEVICE, "out of memory for JSON");
  }
  if (code == CLI_OK && !state->bench->json) {
    if (state->bench->schedule.given || state->bench->schedule.stats) cli_division_show(model, NULL);
    code = cli_schedule_show(&state->bench->schedule, context, NULL);
  }
  cli_times_free(&times);
  cli_inputs_close(&inputs);
  pare_model_close(model);
  return code;
}

typedef struct bench_one {
  bench_state *state;
  const char *path;
} bench_one;

static cli_exit bench_on_device(pare_context *context, void *user) {
  const bench_one *one = user;
  return bench_model(one->state, context, one->path);
}

/* All devices in one context, as a schedule was asked for. */
static cli_exit bench_on_all(const cli_bench_models *bench, bench_one *one) {
  pare_context *context;
  cli_exit code = cli_context_open(bench->device, &bench->schedule.options, &context);
  if (code == CLI_OK) code = bench_on_device(context, one);
  pare_context_close(context);
  return code;
}

cli_exit cli_bench_models_run(const cli_bench_models *bench) {
  bench_state state = {.bench = bench, .results = json_array()};
  if (!state.results) return cli_error(CLI_DEVICE, "out of memory for JSON");
  cli_exit code = read_baseline(bench->baseline, &state.baseline);
  for (size_t i = 0; i < bench->count && code == CLI_OK; i++) {
    bench_one one = {&state, bench->paths[i]};
    if (bench->schedule.given)
      code = bench_on_all(bench, &one);
    else
      code = cli_each_device(bench->device, &bench->schedule.options, bench_on_device, &one);
  }
  if (state.table) {
    const cli_exit printed = cli_table_print(state.table);
    if (code == CLI_OK) code = printed;
  }
  if (code == CLI_OK && state.slower) code = cli_error(CLI_FAILED, "slower than %s", bench->baseline);
  json_decref(state.baseline);
  if (bench->json) return cli_json_print_results(state.results, code);
  json_decref(state.results);
  return code;
}
