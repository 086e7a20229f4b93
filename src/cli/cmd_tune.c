/* pare tune: searches for the fastest kernels of the selected devices. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define DEFAULT_BUDGET "60s"

enum { FAMILY, BUDGET };
static const cli_option options[] = {
    [FAMILY] = {"family", "FAMILY", "tune only this family of kernels", 0},
    [BUDGET] = {"budget", "TIME", "stop after this time, a device: 30s, 5m, 1h (default " DEFAULT_BUDGET ")", 0},
    CLI_OPTIONS_END,
};

typedef struct tune_run {
  const char *family;
  double budget_seconds;
  size_t nclasses, ntimed;
  char last_class[256];
} tune_run;

static void progress(const char *family, const char *shape_class, const char *variant, double fraction, void *user) {
  tune_run *tuning = user;
  char name[sizeof tuning->last_class];
  tuning->ntimed++;
  snprintf(name, sizeof name, "%s %s", family, shape_class);
  if (strcmp(name, tuning->last_class) != 0) {
    tuning->nclasses++;
    memcpy(tuning->last_class, name, sizeof name);
  }
  cli_progress(fraction, "%s, %s: %s", family, shape_class, variant);
}

static cli_exit tune_device(pare_context *context, void *user) {
  tune_run *tuning = user;
  pare_cache_info cache;
  const pare_device_info *device = pare_context_device(context);
  tuning->nclasses = tuning->ntimed = 0;
  tuning->last_class[0] = 0;
  pare_status status = pare_kernel_tune(context, tuning->family, tuning->budget_seconds, progress, tuning);
  cli_progress_clear();
  if (status != PARE_OK) return cli_fail(status);
  cli_print(CLI_BOLD, "%s", device->name);
  printf(" (%s %s)\n", device->driver, device->driver_version);
  printf("%zu candidates timed for %zu shape classes\n", tuning->ntimed, tuning->nclasses);
  if (pare_cache_get(&cache) == PARE_OK) printf("The best are kept in %s and used from now on.\n", cache.folder);
  return CLI_OK;
}

static cli_exit run(const cli_arguments *arguments) {
  tune_run tuning = {.family = cli_value(arguments, &options[FAMILY])};
  const char *budget = cli_value(arguments, &options[BUDGET]);
  if (!cli_parse_duration(budget ? budget : DEFAULT_BUDGET, &tuning.budget_seconds))
    return cli_error(CLI_USAGE, "--budget '%s' is no time; write 30s, 5m or 1h", budget);
  cli_exit code = cli_family_check(tuning.family);
  return code == CLI_OK ? cli_each_device(arguments->device, NULL, tune_device, &tuning) : code;
}

const cli_command cli_cmd_tune = {
    .name = "tune",
    .summary = "search for the fastest kernels of the selected devices",
    .usage = "[-d SPEC] [--family FAMILY] [--budget TIME]",
    .about = "Times the variants and parameters of each kernel and keeps the best for each device and class of shapes "
             "in the cache; "
             "later runs use them. Nobody needs it: the built-in choices are good. Results of operations may change in "
             "their last "
             "bits after tuning, and only then.",
    .options = options,
    .uses_device = true,
    .run = run,
};
