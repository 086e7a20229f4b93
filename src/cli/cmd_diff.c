/* pare diff: what differs between two models. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <pare/diff.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/feed.h"

enum { INPUT, SHAPE, LAYERS, ROWS, COSINE, JSON };
static const cli_option options[] = {
    [INPUT] = CLI_OPTION_INPUT,
    [SHAPE] = CLI_OPTION_SHAPE,
    [LAYERS] = {"layers", NULL, "run both, and compare what each node computes under the same name, too", 0},
    [ROWS] = {"rows", "N", "show so many rows of a kind, the worst (20; 0: all)", 0},
    [COSINE] = {"cosine", "NUMBER", "exit 1 if an output's cosine is less, or is not known", 0},
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

typedef struct diff_run {
  const cli_arguments *arguments;
  const char *path[2];
  bool runs, layers, json;
  long most_rows;
  double least_cosine; /* NaN: not asked */
  pare_diff *diff;
} diff_run;

static const struct {
  const char *name, *title;
} kinds[] = {[PARE_DIFF_WEIGHT] = {"weight", "tensor|in the second"},
             [PARE_DIFF_VALUE] = {"value", "value|node"},
             [PARE_DIFF_OUTPUT] = {"output", "output|"}};

/* ---- showing ---- */

/* JSON has neither infinity nor NaN: null. */
static json_t *number_json(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static cli_exit print_json(const diff_run *run) {
  json_t *list = json_array();
  for (size_t i = 0; i < pare_diff_count(run->diff); i++) {
    pare_diff_row row;
    if (pare_diff_get(run->diff, i, &row) != PARE_OK) continue;
    json_t *json =
        json_pack("{s:s, s:o, s:o, s:o, s:I}", "kind", kinds[row.kind].name, "name", cli_json_text(row.name), "layer",
                  cli_json_text(row.layer), "form", cli_json_text(row.form), "elements", (json_int_t)row.elements);
    if (row.missing) {
      json_object_set_new(json, "missing", cli_json_text(row.missing));
    } else {
      json_object_set_new(json, "equal", json_boolean(row.distance.max_error == 0));
      json_object_set_new(json, "mse", number_json(row.distance.mse));
      json_object_set_new(json, "sqnr_db", number_json(row.distance.sqnr_db));
      json_object_set_new(json, "cosine", number_json(row.distance.cosine));
      json_object_set_new(json, "max_error", number_json(row.distance.max_error));
    }
    json_array_append_new(list, json);
  }
  return cli_json_print(list);
}

static void print_row(cli_table *table, const pare_diff_row *row) {
  cli_table_cell(table, CLI_PLAIN, "%s", row->name);
  cli_table_cell(table, CLI_DIM, "%s", row->kind == PARE_DIFF_VALUE ? row->layer : row->form);
  if (row->missing) {
    for (unsigned i = 0; i < 4; i++) cli_table_cell(table, CLI_DIM, "-");
    cli_table_cell(table, CLI_WARN, "%s", row->missing);
    return;
  }
  if (isinf(row->distance.sqnr_db) && row->distance.max_error == 0)
    cli_table_cell(table, CLI_GOOD, "equal");
  else
    cli_table_cell(table, isnan(row->distance.sqnr_db) ? CLI_BAD : CLI_PLAIN, "%.1f", row->distance.sqnr_db);
  cli_table_cell(table, CLI_PLAIN, "%.6f", row->distance.cosine);
  cli_table_cell(table, CLI_PLAIN, "%.3g", row->distance.mse);
  cli_table_cell(table, CLI_PLAIN, "%.3g", row->distance.max_error);
  cli_table_cell(table, CLI_PLAIN, "%s", "");
}

static size_t count_rows(const pare_diff *diff, pare_diff_kind kind) {
  size_t count = 0;
  pare_diff_row row;
  for (size_t i = 0; i < pare_diff_count(diff); i++)
    if (pare_diff_get(diff, i, &row) == PARE_OK && row.kind == kind) count++;
  return count;
}

static cli_exit print_kind(const diff_run *run, pare_diff_kind kind, bool first) {
  char titles[160];
  const size_t total = count_rows(run->diff, kind), most = run->most_rows > 0 ? (size_t)run->most_rows : total;
  if (total == 0) return CLI_OK;
  if (!first) putchar('\n');
  snprintf(titles, sizeof titles, "%s|>SQNR, dB|>cosine|>mean squared|>largest|", kinds[kind].title);
  cli_table *table = cli_table_open(titles);
  size_t shown = 0, nmissing = 0; /* of those that are not shown: they come last */
  for (size_t i = 0; i < pare_diff_count(run->diff); i++) {
    pare_diff_row row;
    if (pare_diff_get(run->diff, i, &row) != PARE_OK || row.kind != kind) continue;
    if (shown == most) {
      nmissing += row.missing != NULL;
      continue;
    }
    print_row(table, &row);
    shown++;
  }
  const cli_exit code = cli_table_print(table);
  if (shown + nmissing < total) printf("and %zu more, no worse", total - shown - nmissing);
  if (nmissing > 0) printf("%s%zu that could not be compared", shown + nmissing < total ? ", and " : "and ", nmissing);
  if (shown < total) printf(" (--rows 0 shows all)\n");
  return code;
}

static cli_exit print_all(const diff_run *run) {
  if (run->json) return print_json(run);
  bool first = true;
  cli_exit code = CLI_OK;
  for (size_t kind = 0; kind < CLI_COUNT(kinds) && code == CLI_OK; kind++) {
    code = print_kind(run, (pare_diff_kind)kind, first);
    first = first && count_rows(run->diff, (pare_diff_kind)kind) == 0;
  }
  return code;
}

/* ---- running ---- */

static cli_exit check_graph(const char *path) {
  pare_inspection *inspection;
  pare_model_info info = {0};
  pare_status status = pare_inspect_open(path, &inspection);
  if (status == PARE_OK) status = pare_inspect_model(inspection, &info);
  cli_exit code = CLI_OK;
  if (status != PARE_OK)
    code = cli_fail(status);
  else if (strcmp(info.format, "onnx") != 0)
    code = cli_error(CLI_INPUT, "%s is a file of %s: there is no graph to run", path, info.format);
  pare_inspect_close(inspection);
  return code;
}

static cli_exit run_models(const diff_run *run) {
  pare_context *context = NULL;
  pare_model *model = NULL;
  pare_model_options how = PARE_MODEL_OPTIONS_INIT;
  cli_feed *feed = NULL;
  cli_inputs inputs = {0};
  cli_exit code = check_graph(run->path[0]);
  if (code == CLI_OK) code = check_graph(run->path[1]);
  if (code == CLI_OK) code = cli_feed_open(run->arguments, &options[INPUT], &options[SHAPE], &feed);
  if (code == CLI_OK) code = cli_context_open(run->arguments->device, NULL, &context);
  if (code == CLI_OK) code = cli_feed_names(feed, &how);
  if (code == CLI_OK) code = cli_model_open(context, run->path[0], &how, &model);
  if (code == CLI_OK) code = cli_feed_inputs(feed, context, model, &inputs);
  pare_model_close(model);
  if (code == CLI_OK) {
    cli_inputs_note(&inputs);
    const pare_status status = pare_diff_run(run->diff, context, &how, inputs.tensor, run->layers);
    if (status != PARE_OK) code = cli_fail(status);
  }
  cli_inputs_close(&inputs);
  pare_context_close(context);
  cli_feed_close(feed);
  return code;
}

static cli_exit check_cosine(const diff_run *run) {
  for (size_t i = 0; i < pare_diff_count(run->diff); i++) {
    pare_diff_row row;
    if (pare_diff_get(run->diff, i, &row) != PARE_OK || row.kind != PARE_DIFF_OUTPUT) continue;
    if (!row.missing && row.distance.cosine >= run->least_cosine) continue;
    return cli_error(CLI_FAILED, "output '%s': %s%.6f; at least %g was asked", row.name,
                     row.missing ? "not compared, cosine " : "cosine ", row.missing ? 0 : row.distance.cosine,
                     run->least_cosine);
  }
  return CLI_OK;
}

static cli_exit read_numbers(diff_run *run) {
  const char *rows = cli_value(run->arguments, &options[ROWS]), *cosine = cli_value(run->arguments, &options[COSINE]);
  char *end;
  run->most_rows = 20;
  run->least_cosine = NAN;
  if (rows) {
    run->most_rows = strtol(rows, &end, 10);
    if (end == rows || *end || run->most_rows < 0)
      return cli_error(CLI_USAGE, "--rows: '%s' is no number of rows, such as 20, or 0 for all", rows);
  }
  if (cosine) {
    run->least_cosine = strtod(cosine, &end);
    if (end == cosine || *end || !(run->least_cosine >= -1 && run->least_cosine <= 1))
      return cli_error(CLI_USAGE, "--cosine: '%s' is no number from -1 to 1, such as 0.99", cosine);
  }
  return CLI_OK;
}

static cli_exit run(const cli_arguments *arguments) {
  diff_run run = {.arguments = arguments,
                  .layers = cli_value(arguments, &options[LAYERS]) != NULL,
                  .json = cli_value(arguments, &options[JSON]) != NULL};
  if (arguments->noperands < 2) return cli_error(CLI_USAGE, "say which two models: pare diff FIRST SECOND");
  run.path[0] = arguments->operands[0];
  run.path[1] = arguments->operands[1];
  cli_exit code = read_numbers(&run);
  if (code != CLI_OK) return code;
  run.runs = run.layers || cli_value(arguments, &options[INPUT]) || cli_value(arguments, &options[SHAPE]) ||
             !isnan(run.least_cosine);
  const pare_status status = pare_diff_open(run.path[0], run.path[1], &run.diff);
  if (status != PARE_OK) code = cli_fail(status);
  if (code == CLI_OK && run.runs) code = run_models(&run);
  if (code == CLI_OK) code = print_all(&run);
  if (code == CLI_OK && !isnan(run.least_cosine)) code = check_cosine(&run);
  pare_diff_close(run.diff);
  return code;
}

const cli_command cli_cmd_diff = {
    .name = "diff",
    .summary = "show what differs between two models, worst first",
    .usage = "FIRST SECOND [-i FILE.npz]... [--shape NAME=SHAPE]... [--layers] [--rows N] [--cosine NUMBER] [--json]",
    .about = "Compares the weights of two ONNX models or files of safetensors by name; those that pare compress, "
             "or compressed-tensors, made smaller are held against the others as what they stand for. With inputs (-i, "
             "--shape, --layers or "
             "--cosine) both models are run and their outputs compared as well. SQNR is the signal's distance to the "
             "noise, 10 log10(sum a^2 / sum (a - b)^2).",
    .options = options,
    .max_operands = 2,
    .uses_device = true,
    .run = run,
};
