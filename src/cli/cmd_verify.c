/* pare verify: do models give the outputs that are stored beside them? SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/feed.h"

#define MOST_DEPTH 16 /* of folders in folders */

enum { RTOL, ATOL, LAYERS, AGAINST, ALLOW, AT_ONCE, WITHOUT, LOOP_LIMIT, FAILURES, JSON };
static const cli_option options[] = {
    [RTOL] = {"rtol", "NUMBER", "relative tolerance of floats (1e-3)", 0},
    [ATOL] = {"atol", "NUMBER", "absolute tolerance of floats (1e-5)", 0},
    [LAYERS] = {"layers", NULL, "find the first node whose output differs from the reference (--against)", 0},
    [AGAINST] = {"against", "SPEC|FILE", "for --layers: another device, or an .npz file with values by name", 0},
    [ALLOW] = {"allow-unsupported", NULL, "operators and types that pare lacks do not count as failures", 0},
    [AT_ONCE] = CLI_OPTION_AT_ONCE,
    [WITHOUT] = CLI_OPTION_WITHOUT,
    [LOOP_LIMIT] = CLI_OPTION_LOOP_LIMIT,
    [FAILURES] = {"failures", NULL, "show only what did not pass", 0},
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

typedef struct verify_run {
  const cli_arguments *arguments;
  pare_verify_options options;
  bool allow_unsupported, only_failures;
  const char *against;     /* NULL: the stored outputs */
  pare_context *reference; /* the other device; NULL: a file */
  pare_layers *values;     /* of the file */
  json_t *json;            /* NULL: for people */
  size_t count[PARE_CASE_ERROR + 1], ncases, done;
  char **cases;
  size_t capacity;
} verify_run;

/* ---- finding cases ---- */

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static cli_exit add_case(verify_run *verify, const char *folder) {
  if (verify->ncases == verify->capacity) {
    const size_t capacity = verify->capacity ? verify->capacity * 2 : 64;
    char **more = realloc(verify->cases, capacity * sizeof *more);
    if (!more) return cli_error(CLI_DEVICE, "out of memory");
    verify->cases = more;
    verify->capacity = capacity;
  }
  verify->cases[verify->ncases] = strdup(folder);
  if (!verify->cases[verify->ncases]) return cli_error(CLI_DEVICE, "out of memory");
  verify->ncases++;
  return CLI_OK;
}

static bool is_folder(const char *path) {
  struct stat found;
  return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

/* The cases in a tree of folders, a case itself included. */
static cli_exit find_cases(verify_run *verify, const char *folder, unsigned depth) {
  if (pare_verify_is_case(folder)) return add_case(verify, folder);
  if (depth == MOST_DEPTH) return CLI_OK;
  DIR *listing = opendir(folder);
  if (!listing) return cli_error(CLI_INPUT, "cannot read the folder %s: %s", folder, strerror(errno));
  cli_exit code = CLI_OK;
  for (struct dirent *entry; code == CLI_OK && (entry = readdir(listing));) {
    if (entry->d_name[0] == '.') continue;
    char *path = NULL;
    if (asprintf(&path, "%s/%s", folder, entry->d_name) < 0) {
      code = cli_error(CLI_DEVICE, "out of memory");
      break;
    }
    if (is_folder(path)) code = find_cases(verify, path, depth + 1);
    free(path);
  }
  closedir(listing);
  return code;
}

/* An operand: a case, a tree of them, or the model of a case, which goes by its folder if it is a model.onnx. */
static cli_exit find_operand(verify_run *verify, const char *operand) {
  static const char model[] = "/model.onnx";
  const size_t length = strlen(operand), tail = sizeof model - 1, before = verify->ncases;
  const bool is_model = length > 5 && strcmp(operand + length - 5, ".onnx") == 0;
  cli_exit code;
  if (is_folder(operand)) {
    code = find_cases(verify, operand, 0);
  } else if (strcmp(operand, model + 1) == 0) {
    code = add_case(verify, ".");
  } else if (length > tail && strcmp(operand + length - tail, model) == 0) {
    char *folder = strndup(operand, length - tail);
    code = folder ? add_case(verify, folder) : cli_error(CLI_DEVICE, "out of memory");
    free(folder);
  } else if (is_model) {
    code = add_case(verify, operand);
  } else {
    return cli_error(CLI_INPUT, "%s is no folder and no .onnx file: give a case, or a tree of cases", operand);
  }
  if (code == CLI_OK && verify->ncases == before)
    code = cli_error(CLI_INPUT,
                     "there is no case in %s: a case is a folder with test_data_set_0 and model.onnx, or another .onnx "
                     "file",
                     operand);
  return code;
}

/* ---- running them ---- */

static bool counts_as_failure(const verify_run *verify, pare_case_status status) {
  return status != PARE_CASE_PASS && !(status == PARE_CASE_UNSUPPORTED && verify->allow_unsupported);
}

static void report(verify_run *verify, const char *device, const char *folder, const pare_verify_result *result) {
  static const cli_style style[] = {CLI_GOOD, CLI_BAD, CLI_WARN, CLI_BAD};
  const char *slash = strrchr(folder, '/'), *name = slash && slash[1] ? slash + 1 : folder;
  verify->count[result->status]++;
  if (verify->json) {
    json_array_append_new(verify->json,
                          json_pack("{s:o, s:s, s:o, s:o, s:o}", "case", cli_json_text(name), "status",
                                    pare_case_status_name(result->status), "reason", cli_json_text(result->reason),
                                    "path", cli_json_text(folder), "device", cli_json_text(device)));
    return;
  }
  if (verify->only_failures && !counts_as_failure(verify, result->status)) return;
  cli_progress_clear();
  cli_print(style[result->status], "%-12s", pare_case_status_name(result->status));
  printf("%s%s%s\n", name, *result->reason ? ": " : "", result->reason);
}

/* ---- layer by layer ---- */

static pare_status verify_layers(const verify_run *verify, pare_context *context, const char *folder,
                                 pare_verify_result *result) {
  if (verify->values) return pare_verify_layers(context, folder, verify->values, &verify->options, result);
  pare_layers *values = NULL;
  const pare_status recorded = pare_layers_record(verify->reference, folder, &verify->options, &values);
  if (recorded != PARE_OK) {
    *result =
        (pare_verify_result){.status = recorded == PARE_ERR_UNSUPPORTED ? PARE_CASE_UNSUPPORTED : PARE_CASE_ERROR};
    snprintf(result->reason, sizeof result->reason, "the reference: %s", pare_message());
    return PARE_OK;
  }
  const pare_status status = pare_verify_layers(context, folder, values, &verify->options, result);
  pare_layers_close(values);
  return status;
}

static cli_exit open_reference(verify_run *verify) {
  const bool layers = cli_value(verify->arguments, &options[LAYERS]) != NULL;
  verify->against = cli_value(verify->arguments, &options[AGAINST]);
  if (layers != (verify->against != NULL))
    return cli_error(CLI_USAGE, "--layers and --against go together: say which device, or file of values, is right");
  if (!layers) return CLI_OK;
  struct stat found;
  if (stat(verify->against, &found) != 0) return cli_context_open(verify->against, NULL, &verify->reference);
  const pare_status status = pare_layers_open(verify->against, &verify->values);
  return status == PARE_OK ? CLI_OK : cli_fail(status);
}

static cli_exit verify_device(pare_context *context, void *user) {
  verify_run *verify = user;
  for (size_t i = 0; i < verify->ncases; i++) {
    pare_verify_result result;
    cli_progress((double)i / (double)verify->ncases, "%s", verify->cases[i]);
    const pare_status status = verify->against ? verify_layers(verify, context, verify->cases[i], &result)
                                               : pare_verify_case(context, verify->cases[i], &verify->options, &result);
    if (status != PARE_OK) return cli_fail(status);
    if (cli_interrupted()) return cli_error(CLI_INTERRUPTED, "interrupted at %s", verify->cases[i]);
    report(verify, pare_context_device(context)->name, verify->cases[i], &result);
  }
  cli_progress_clear();
  if (!verify->json)
    printf("%s: %zu passed, %zu failed, %zu unsupported, %zu errors\n", pare_context_device(context)->name,
           verify->count[PARE_CASE_PASS], verify->count[PARE_CASE_FAIL], verify->count[PARE_CASE_UNSUPPORTED],
           verify->count[PARE_CASE_ERROR]);
  bool failed = false;
  for (int i = 0; i <= PARE_CASE_ERROR; i++) {
    failed = failed || (verify->count[i] > 0 && counts_as_failure(verify, (pare_case_status)i));
    verify->count[i] = 0;
  }
  return failed ? CLI_FAILED : CLI_OK;
}

static cli_exit parse_tolerance(const cli_arguments *arguments, const cli_option *option, double *out) {
  const char *text = cli_value(arguments, option);
  char *end = NULL;
  if (!text) return CLI_OK;
  *out = strtod(text, &end);
  if (!*text || *end || !(*out >= 0)) return cli_error(CLI_USAGE, "--%s: '%s' is no tolerance", option->name, text);
  return CLI_OK;
}

static cli_exit run(const cli_arguments *arguments) {
  verify_run verify = {.arguments = arguments,
                       .options = PARE_VERIFY_OPTIONS_INIT,
                       .allow_unsupported = cli_value(arguments, &options[ALLOW]) != NULL,
                       .only_failures = cli_value(arguments, &options[FAILURES]) != NULL};
  const bool json = cli_value(arguments, &options[JSON]) != NULL;
  verify.options.model.no_plan = cli_value(arguments, &options[AT_ONCE]) != NULL;
  verify.options.model.without = cli_value(arguments, &options[WITHOUT]);
  cli_exit code = cli_model_limits(cli_value(arguments, &options[LOOP_LIMIT]), &verify.options.model);
  if (code == CLI_OK) code = parse_tolerance(arguments, &options[RTOL], &verify.options.relative);
  if (code == CLI_OK) code = parse_tolerance(arguments, &options[ATOL], &verify.options.absolute);
  if (code == CLI_OK && arguments->noperands == 0)
    code = cli_error(CLI_USAGE, "verify: which cases? See 'pare verify --help'");
  for (size_t i = 0; i < arguments->noperands && code == CLI_OK; i++)
    code = find_operand(&verify, arguments->operands[i]);
  if (code == CLI_OK) qsort(verify.cases, verify.ncases, sizeof *verify.cases, by_name);
  if (code == CLI_OK && json && !(verify.json = json_array())) code = cli_error(CLI_DEVICE, "out of memory for JSON");
  if (code == CLI_OK) code = open_reference(&verify);
  if (code == CLI_OK) {
    code = cli_each_device(arguments->device, NULL, verify_device, &verify);
    if (json) code = cli_json_print_results(verify.json, code);
  }
  for (size_t i = 0; i < verify.ncases; i++) free(verify.cases[i]);
  free(verify.cases);
  pare_layers_close(verify.values);
  pare_context_close(verify.reference);
  return code;
}

const cli_command cli_cmd_verify = {
    .name = "verify",
    .summary = "check models against stored inputs and outputs",
    .usage = "[-d SPEC] [--rtol N] [--atol N] [--layers --against SPEC|FILE] [--allow-unsupported] [--loop-limit N] "
             "[--json] FOLDER|MODEL...",
    .about = "Runs cases in the layout of the ONNX backend tests: a folder with model.onnx (or one other "
             ".onnx file, as collections of models have it) and test_data_set_0, test_data_set_1, ..., each with "
             "input_0.pb, ... and output_0.pb, .... A folder may be a case or a tree of them. Floats may differ from "
             "the stored outputs by atol + rtol times their size; integers, shapes "
             "and dtypes must be equal. With --layers every node's outputs are compared with those of another device, "
             "or of an .npz file, and the "
             "first node whose output differs is named. The exit code is 1 if a case does anything but pass.",
    .options = options,
    .max_operands = SIZE_MAX,
    .uses_device = true,
    .run = run,
};
