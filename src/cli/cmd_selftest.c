/* pare selftest: is every kernel right on these devices? SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { FAMILY, AGAIN, JSON };
static const cli_option options[] = {
    [FAMILY] = {"family", "FAMILY", "test only this family of kernels", 0},
    [AGAIN] = {"again", NULL, "test also what was tested before on this device and driver", 0},
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

typedef struct selftest_run {
  const char *family;
  bool again;
  json_t *json; /* NULL: for people */
  cli_table *table;
  const pare_device_info *device;
  size_t ntrusted, ncannot, nfailed;
  double seconds;
} selftest_run;

/* How a verdict is shown; every other one is a failure. */
static cli_style verdict_style(const char *verdict) {
  if (strcmp(verdict, "trusted") == 0) return CLI_GOOD;
  return strcmp(verdict, "cannot") == 0 ? CLI_DIM : CLI_BAD;
}

static void report(const pare_kernel_report *report, void *user) {
  selftest_run *test = user;
  char text[CLI_TEXT];
  cli_style style = verdict_style(report->verdict);
  size_t *count = style == CLI_GOOD ? &test->ntrusted : style == CLI_DIM ? &test->ncannot : &test->nfailed;
  ++*count;
  test->seconds += report->seconds;
  cli_progress(-1, "%zu kernels tested: %s %s %s", test->ntrusted + test->ncannot + test->nfailed, report->family,
               report->variant, report->verdict);
  if (test->json) {
    json_array_append_new(test->json,
                          json_pack("{s:o, s:s, s:s, s:s, s:o, s:f}", "device", cli_json_text(test->device->name),
                                    "family", report->family, "variant", report->variant, "verdict", report->verdict,
                                    "reason", cli_json_text(report->reason), "seconds", report->seconds));
    return;
  }
  cli_table_cell(test->table, CLI_PLAIN, "%s", report->family);
  cli_table_cell(test->table, CLI_PLAIN, "%s", report->variant);
  cli_table_cell(test->table, style, "%s", report->verdict);
  cli_table_cell(test->table, CLI_PLAIN, "%s", report->seconds > 0 ? cli_seconds(report->seconds, text) : "");
  cli_table_cell(test->table, CLI_PLAIN, "%s", report->reason);
}

static cli_exit test_device(pare_context *context, void *user) {
  selftest_run *test = user;
  char text[CLI_TEXT];
  test->device = pare_context_device(context);
  test->ntrusted = test->ncannot = test->nfailed = 0;
  test->seconds = 0;
  if (!test->json) {
    cli_print(CLI_BOLD, "%s", test->device->name);
    printf(" (%s %s)\n", test->device->driver, test->device->driver_version);
    test->table = cli_table_open("family|variant|verdict|>time|reason");
  }
  cli_progress(-1, "testing kernels");
  pare_status status = pare_kernel_selftest(context, test->family, test->again, report, test);
  cli_progress_clear();
  cli_exit code = CLI_OK;
  if (!test->json) {
    code = cli_table_print(test->table);
    test->table = NULL;
    cli_print(test->nfailed ? CLI_BAD : CLI_GOOD, "%zu trusted, %zu failed", test->ntrusted, test->nfailed);
    printf(", %zu that the device cannot run; %s\n\n", test->ncannot, cli_seconds(test->seconds, text));
  }
  if (status == PARE_ERR_KERNEL && test->nfailed > 0) {
    cli_fail(status);
    return CLI_FAILED;
  }
  return status == PARE_OK ? code : cli_fail(status);
}

static cli_exit run(const cli_arguments *arguments) {
  selftest_run test = {.family = cli_value(arguments, &options[FAMILY]),
                       .again = cli_value(arguments, &options[AGAIN]) != NULL};
  bool json = cli_value(arguments, &options[JSON]) != NULL;
  cli_exit code = cli_family_check(test.family);
  if (code != CLI_OK) return code;
  /* Hundreds of programs, most of which nobody needs here: without that PoCL takes twice the time. */
  (void)setenv("PARE_BINARIES", "0", 0);
  if (json && !(test.json = json_array())) return cli_error(CLI_DEVICE, "out of memory for JSON");
  code = cli_each_device(arguments->device, NULL, test_device, &test);
  return json ? cli_json_print_results(test.json, code) : code;
}

const cli_command cli_cmd_selftest = {
    .name = "selftest",
    .summary = "check every kernel on the selected devices",
    .usage = "[-d SPEC] [--family FAMILY] [--again] [--json]",
    .about = "Runs each variant of each kernel on tiny problems and compares it with a double-precision reference. A "
             "variant that is "
             "wrong, crashes, hangs, does not build or is refused by the driver is not used on that device and driver "
             "version; its fallback is. "
             "Results are "
             "kept in the cache. The time is that of all its tests, compiling included where the cache has no program. "
             "The exit code is 1 if a variant that the device should run cannot be trusted.",
    .options = options,
    .uses_device = true,
    .run = run,
};
