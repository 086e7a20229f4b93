/* pare compress: a model pruned and quantised by a recipe. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/feed.h"
#include "cli/file.h"
#include "cli/latency.h"
#include "cli/page.h"
#include "cli/schedule.h"
#include "cli/storage.h"

enum {
  RECIPE,
  PRUNE,
  QUANTIZE,
  CALIBRATE,
  IGNORE,
  DRY_RUN,
  SENSITIVITY,
  OPTIMIZE,
  NO_VERIFY,
  REPORT,
  STORAGE,
  CLI_SCHEDULE_ROWS,
  JSON
};
static const cli_option options[] = {
    [RECIPE] = {"recipe", "FILE", "what to do, as YAML or JSON", 0},
    [PRUNE] = {"prune", "2:4|magnitude:0.5|random:0.3|threshold:0.01", "what goes: any N:M, or a part of all weights",
               0},
    [QUANTIZE] = {"quantize", "int8|int4|w8a8|f16", "how the rest is stored", 0},
    [CALIBRATE] = {"calibrate", "FILE", "an .npz file of inputs: int4 and int8 by GPTQ, w8a8 after SmoothQuant", 0},
    [IGNORE] = {"ignore", "PATTERN", "leave these tensors as they are: a name, a glob, re:..., Conv, @head", 0},
    [DRY_RUN] = {"dry-run", NULL, "show what would happen to each tensor, and the size afterwards", 0},
    [SENSITIVITY] = {"sensitivity", NULL, "compress one tensor at a time, and say what each costs; needs no OUT", 0},
    [OPTIMIZE] = {"optimize", "size|speed", "size: compress all; speed: what would be slower stays dense", 0},
    [NO_VERIFY] = {"no-verify", NULL, "do not run the result beside the original before it takes its place", 0},
    [REPORT] = {"report", "FILE", "write what was done, and what it cost: a page if it ends with .html, else JSON", 0},
    [STORAGE] = {"storage", "portable|compact", "compact: pruned weights packed, which only pare runs", 0},
    CLI_OPTIONS_SCHEDULE,
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

/* ---- the recipe ---- */

/* All values of an option in their order. */
static cli_exit each_value(const cli_arguments *arguments, const cli_option *option, pare_recipe *recipe,
                           pare_status (*add)(pare_recipe *recipe, const char *text)) {
  for (size_t i = 0; i < arguments->ngiven; i++) {
    if (arguments->given[i].option != option) continue;
    const pare_status status = add(recipe, arguments->given[i].value);
    if (status != PARE_OK) return cli_fail(status);
  }
  return CLI_OK;
}

/* Pruning comes before quantising, whichever was said first. */
static cli_exit make_recipe(const cli_arguments *arguments, pare_recipe **out) {
  const char *path = cli_value(arguments, &options[RECIPE]);
  const bool forms = cli_value(arguments, &options[PRUNE]) || cli_value(arguments, &options[QUANTIZE]);
  if (path && forms) return cli_error(CLI_USAGE, "--recipe says everything: leave out --prune and --quantize");
  if (!path && !forms) return cli_error(CLI_USAGE, "say what to do: --quantize int8, --prune 2:4, or --recipe FILE");
  const pare_status status = path ? pare_recipe_open(path, out) : pare_recipe_create(out);
  if (status != PARE_OK) return cli_fail(status);
  cli_exit code = each_value(arguments, &options[CALIBRATE], *out, pare_recipe_calibrate);
  if (code == CLI_OK) code = each_value(arguments, &options[PRUNE], *out, pare_recipe_prune);
  if (code == CLI_OK) code = each_value(arguments, &options[QUANTIZE], *out, pare_recipe_quantize);
  if (code == CLI_OK) code = each_value(arguments, &options[IGNORE], *out, pare_recipe_ignore);
  return code;
}

/* ---- the report as JSON ---- */

/* JSON has no infinities: what is none is left out. */
static void set_number(json_t *json, const char *name, double number) {
  if (isfinite(number)) json_object_set_new(json, name, json_real(number));
}

static void set_distance(json_t *json, const pare_distance *distance) {
  set_number(json, "mse", distance->mse);
  set_number(json, "sqnr_db", distance->sqnr_db);
  set_number(json, "cosine", distance->cosine);
  set_number(json, "max_error", distance->max_error);
}

static json_t *tensor_json(const pare_report_tensor *tensor) {
  json_t *json = json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:f, s:I, s:I}", "name", cli_json_text(tensor->name), "role",
                           tensor->role, "dtype", tensor->dtype_name, "shape", cli_dims_json(tensor->rank, tensor->dim),
                           "treatment", cli_json_text(tensor->treatment), "reason", cli_json_text(tensor->reason),
                           "bits", tensor->bits, "bytes_before", (json_int_t)tensor->bytes_before, "bytes_after",
                           (json_int_t)tensor->bytes_after);
  if (tensor->tried_alone) {
    json_t *alone = json_object();
    set_distance(alone, &tensor->outputs_alone);
    json_object_set_new(json, "sensitivity", alone);
  }
  if (!tensor->changed) return json;
  set_number(json, "kept", tensor->kept);
  set_distance(json, &tensor->distance);
  return json;
}

static json_t *report_json(const pare_report *report, const pare_report_summary *summary) {
  json_t *tensors = json_array(), *outputs = json_array();
  for (size_t i = 0; i < summary->ntensors; i++) {
    pare_report_tensor tensor;
    if (pare_report_tensor_get(report, i, &tensor) == PARE_OK) json_array_append_new(tensors, tensor_json(&tensor));
  }
  for (size_t i = 0; i < summary->noutputs; i++) {
    pare_report_output output;
    if (pare_report_output_get(report, i, &output) != PARE_OK) continue;
    json_t *json = json_pack("{s:o}", "name", cli_json_text(output.name));
    set_distance(json, &output.distance);
    json_array_append_new(outputs, json);
  }
  json_t *json = json_pack("{s:o, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:f, s:o, s:o, s:o}", "input",
                           cli_json_text(summary->input), "output", cli_json_text(summary->output), "dry_run",
                           summary->planned_only, "input_bytes", (json_int_t)summary->input_bytes, "output_bytes",
                           (json_int_t)summary->output_bytes, "portable_bytes", (json_int_t)summary->portable_bytes,
                           "weight_bytes_before", (json_int_t)summary->weight_bytes_before, "weight_bytes_after",
                           (json_int_t)summary->weight_bytes_after, "verified", summary->verified, "verified_on",
                           !summary->verified           ? ""
                           : summary->calibrated_inputs ? "calibration"
                                                        : "random",
                           "seconds", summary->seconds, "recipe", json_loads(summary->recipe, 0, NULL), "tensors",
                           tensors, "outputs", outputs);
  return json;
}

static cli_exit write_json(const char *path, const pare_report *report, const pare_report_summary *summary) {
  json_t *json = report_json(report, summary);
  char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
  json_decref(json);
  if (!text) return cli_error(CLI_DEVICE, "out of memory for JSON");
  const cli_exit code = cli_file_write(path, text, strlen(text));
  free(text);
  return code;
}

static bool ends_with(const char *text, const char *ending) {
  const size_t length = strlen(text), tail = strlen(ending);
  return length >= tail && strcmp(text + length - tail, ending) == 0;
}

/* A page also tells how fast the new model is, if the old one is still there. */
static cli_exit write_report(const cli_arguments *arguments, const char *path, const pare_report *report,
                             const pare_report_summary *summary) {
  char shapes[CLI_SHAPE];
  cli_page_latency latency = {0};
  if (!ends_with(path, ".html")) return write_json(path, report, summary);
  cli_exit code = CLI_OK;
  if (summary->verified && strcmp(summary->input, summary->output) != 0)
    code = cli_latency_measure(arguments->device, summary->input, summary->output, shapes, sizeof shapes, &latency);
  return code == CLI_OK ? cli_page_write(path, report, &latency) : code;
}

/* ---- the report for people ---- */

static const char *decibels(double value, char text[CLI_TEXT]) {
  if (isinf(value))
    snprintf(text, CLI_TEXT, "exact");
  else
    snprintf(text, CLI_TEXT, "%.1f dB", value);
  return text;
}

static void tensor_row(cli_table *table, const pare_report_tensor *tensor, bool planned_only) {
  char text[CLI_TEXT], shape[CLI_SHAPE];
  cli_table_cell(table, CLI_PLAIN, "%s", tensor->name);
  cli_table_cell(table, CLI_PLAIN, "%s", tensor->role);
  cli_table_cell(table, CLI_PLAIN, "%s", cli_shape_text((size_t)tensor->rank, tensor->dim, shape));
  cli_table_cell(table, *tensor->treatment ? CLI_PLAIN : CLI_DIM, "%s",
                 *tensor->treatment ? tensor->treatment : "stays");
  cli_table_cell(table, CLI_PLAIN, "%s", cli_bytes(tensor->bytes_before, text));
  cli_table_cell(table, CLI_PLAIN, "%s", cli_bytes(tensor->bytes_after, text));
  if (!planned_only) {
    cli_table_cell(table, CLI_PLAIN, "%s", tensor->changed ? decibels(tensor->distance.sqnr_db, text) : "");
    snprintf(text, sizeof text, "%.1f%%", 100 * tensor->kept);
    cli_table_cell(table, CLI_PLAIN, "%s", tensor->changed && tensor->kept < 1 ? text : "");
  }
  cli_table_cell(table, CLI_WARN, "%s", tensor->reason);
}

/* Tensors that methods look at, one a line; all others in one. */
static cli_exit print_tensors(const pare_report *report, const pare_report_summary *summary) {
  cli_table *table = cli_table_open(summary->planned_only ? "tensor|role|shape|becomes|>from|>to|remark"
                                                          : "tensor|role|shape|became|>from|>to|>SQNR|>kept|remark");
  size_t nothers = 0;
  uint64_t bytes = 0;
  char text[CLI_TEXT];
  for (size_t i = 0; i < summary->ntensors; i++) {
    pare_report_tensor tensor;
    if (pare_report_tensor_get(report, i, &tensor) != PARE_OK) continue;
    if (*tensor.role) {
      tensor_row(table, &tensor, summary->planned_only);
    } else {
      nothers++;
      bytes += tensor.bytes_after;
    }
  }
  const cli_exit code = cli_table_print(table);
  if (nothers > 0) printf("%zu other tensors stay, %s\n", nothers, cli_bytes(bytes, text));
  return code;
}

static int most_sensitive_first(const void *left, const void *right) {
  const pare_report_tensor *a = left, *b = right;
  return (a->outputs_alone.sqnr_db > b->outputs_alone.sqnr_db) - (a->outputs_alone.sqnr_db < b->outputs_alone.sqnr_db);
}

static cli_exit print_sensitivity(const pare_report *report, const pare_report_summary *summary) {
  char text[CLI_TEXT];
  size_t count = 0;
  if (summary->nsensitive == 0) return CLI_OK;
  pare_report_tensor *tensors = calloc(summary->ntensors + 1, sizeof *tensors);
  if (!tensors) return cli_error(CLI_DEVICE, "out of memory");
  for (size_t i = 0; i < summary->ntensors; i++)
    if (pare_report_tensor_get(report, i, &tensors[count]) == PARE_OK && tensors[count].tried_alone) count++;
  qsort(tensors, count, sizeof *tensors, most_sensitive_first);
  printf("the model's outputs with one tensor compressed, worst first (%s inputs):\n",
         summary->calibrated_inputs ? "calibration" : "random");
  cli_table *table = cli_table_open("tensor|becomes|>SQNR|>cosine|>largest error");
  for (size_t i = 0; i < count; i++) {
    const pare_distance *distance = &tensors[i].outputs_alone;
    cli_table_cell(table, CLI_PLAIN, "%s", tensors[i].name);
    cli_table_cell(table, CLI_PLAIN, "%s", tensors[i].treatment);
    cli_table_cell(table, CLI_PLAIN, "%s", decibels(distance->sqnr_db, text));
    cli_table_cell(table, CLI_PLAIN, "%.5f", distance->cosine);
    cli_table_cell(table, CLI_PLAIN, "%s", cli_figure(distance->max_error, text));
  }
  free(tensors);
  return cli_table_print(table);
}

static void print_outputs(const pare_report *report, const pare_report_summary *summary) {
  for (size_t i = 0; i < summary->noutputs; i++) {
    pare_report_output output;
    char text[2][CLI_TEXT];
    if (pare_report_output_get(report, i, &output) != PARE_OK) continue;
    printf("output %s: cosine %.5f to the original, %s, largest error %s (%s inputs)\n", output.name,
           output.distance.cosine, decibels(output.distance.sqnr_db, text[0]),
           cli_figure(output.distance.max_error, text[1]), summary->calibrated_inputs ? "calibration" : "random");
  }
}

static cli_exit print_report(const pare_report *report, const pare_report_summary *summary) {
  char text[3][CLI_TEXT];
  cli_exit code = print_tensors(report, summary);
  if (code == CLI_OK) code = print_sensitivity(report, summary);
  print_outputs(report, summary);
  const double ratio = summary->input_bytes > 0 ? (double)summary->output_bytes / (double)summary->input_bytes : 1;
  if (summary->planned_only)
    printf("%s: %s would become about %s (%.1f%%)\n", summary->input, cli_bytes(summary->input_bytes, text[0]),
           cli_bytes(summary->output_bytes, text[1]), 100 * ratio);
  else
    printf("%s: %s instead of %s (%.1f%%), %s in %s\n", summary->output, cli_bytes(summary->output_bytes, text[1]),
           cli_bytes(summary->input_bytes, text[0]), 100 * ratio, summary->verified ? "verified" : "not verified",
           cli_seconds(summary->seconds, text[2]));
  if (summary->portable_bytes > 0)
    printf("compact; portable it would be %s (pare convert)\n", cli_bytes(summary->portable_bytes, text[0]));
  return code;
}

static cli_exit show(const cli_arguments *arguments, const pare_report *report, json_t *stats) {
  const char *path = cli_value(arguments, &options[REPORT]);
  pare_report_summary summary;
  const pare_status status = pare_report_get(report, &summary);
  if (status != PARE_OK) return cli_fail(status);
  cli_progress_clear();
  cli_exit code = path ? write_report(arguments, path, report, &summary) : CLI_OK;
  if (code == CLI_OK && cli_value(arguments, &options[JSON])) {
    json_t *json = report_json(report, &summary);
    if (json && stats) json_object_update(json, stats);
    code = cli_json_print(json);
  } else if (code == CLI_OK)
    code = print_report(report, &summary);
  return code;
}

/* ---- the command ---- */

static void progress(double fraction, const char *what, void *user) {
  (void)user;
  cli_progress(fraction, "%s", what);
}

static cli_exit compress(const cli_arguments *arguments, const pare_recipe *recipe, pare_report **report,
                         json_t **stats) {
  const char *in = arguments->operands[0], *out = arguments->noperands > 1 ? arguments->operands[1] : NULL;
  const char *optimize = cli_value(arguments, &options[OPTIMIZE]);
  if (optimize && strcmp(optimize, "size") != 0 && strcmp(optimize, "speed") != 0)
    return cli_error(CLI_USAGE, "--optimize '%s' is neither size nor speed", optimize);
  pare_compress_options how = {.skip_verify = cli_value(arguments, &options[NO_VERIFY]) != NULL,
                               .sensitivity = cli_value(arguments, &options[SENSITIVITY]) != NULL,
                               .optimize_speed = optimize && strcmp(optimize, "speed") == 0,
                               .progress = progress};
  pare_context *context = NULL;
  if (!cli_storage(cli_value(arguments, &options[STORAGE]), &how.storage))
    return cli_error(CLI_USAGE, "--storage: say portable or compact");
  if (cli_value(arguments, &options[DRY_RUN])) {
    const pare_status status = pare_compress_plan(in, recipe, &how, report);
    return status == PARE_OK ? CLI_OK : cli_fail(status);
  }
  if (!out && !how.sensitivity)
    return cli_error(CLI_USAGE, "say where to write: pare compress IN OUT (IN itself is allowed)");
  cli_schedule schedule;
  cli_exit code = cli_schedule_parse(arguments, &options[PARALLEL], &schedule);
  if (code == CLI_OK) code = cli_context_open(arguments->device, &schedule.options, &context);
  if (code != CLI_OK) return code;
  const pare_status status = pare_compress(context, in, out, recipe, &how, report);
  code = status == PARE_OK ? CLI_OK : cli_fail(status);
  if (code == CLI_OK && schedule.stats) {
    *stats = json_object();
    cli_progress_clear();
    code = cli_schedule_show(&schedule, context, cli_value(arguments, &options[JSON]) ? *stats : NULL);
  }
  pare_context_close(context);
  return code;
}

static cli_exit run(const cli_arguments *arguments) {
  pare_recipe *recipe = NULL;
  pare_report *report = NULL;
  if (arguments->noperands == 0)
    return cli_error(CLI_USAGE, "say which model to compress: pare compress IN OUT --quantize int8");
  cli_exit code = make_recipe(arguments, &recipe);
  json_t *stats = NULL; /* --stats --json */
  if (code == CLI_OK) code = compress(arguments, recipe, &report, &stats);
  if (code == CLI_OK) code = show(arguments, report, stats);
  json_decref(stats);
  pare_report_close(report);
  pare_recipe_close(recipe);
  return code;
}

const cli_command cli_cmd_compress = {
    .name = "compress",
    .summary = "prune and quantise a model",
    .usage = "IN OUT [--prune FORM] [--quantize FORM] [--recipe FILE] [--calibrate FILE] [--ignore PATTERN]... "
             "[--storage portable|compact] [--dry-run] [--sensitivity] [--optimize GOAL] [--report FILE] [--no-verify] "
             "[--parallel HOW] [--policy NAME] [--objective NAME] [--stall TIME] [--trace FILE] [--stats] [-d SPEC] "
             "[--json]",
    .about =
        "Writes a smaller model that computes nearly the same, in the same format: ONNX that other runtimes run, too. "
        "int8: weights only, a scale for each output channel; int4: groups of 32 with zero points; w8a8: int8 weights "
        "and inputs; f16: half the bytes. Pruning to 2:4 keeps the two largest of each four inputs; "
        "magnitude:0.5 prunes the smaller half of all weights. Both compose, and pruning comes first. The new model is "
        "run beside the old one before it takes its place, which may be the old one's. With several devices each makes "
        "some of the tensors; the file is the same, byte for byte.",
    .options = options,
    .max_operands = 2,
    .uses_device = true,
    .run = run,
};
