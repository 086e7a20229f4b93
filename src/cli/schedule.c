/* Several devices at once on the command line. SPDX-License-Identifier: Apache-2.0 */
#include "cli/schedule.h"

#include <stdio.h>
#include <string.h>

enum { MOST_KERNELS = 12 };                            /* in a table */
enum { WAYS, POLICY, OBJECTIVE, STALL, TRACE, STATS }; /* as CLI_SCHEDULE_ROWS has them */

/* Once each; not silenced by -q: the user has lost a device. */
static void say_lost(void *user, const char *message) {
  (void)user;
  fprintf(stderr, "pare: %s\n", message);
}

/* "data", or "data/columns" for groups of devices and inside of them. */
static pare_status parse_ways(const char *text, pare_schedule_options *options) {
  char outer[40];
  const char *slash = strchr(text, '/');
  if (!slash) return pare_parallel_parse(text, &options->parallel);
  snprintf(outer, sizeof outer, "%.*s", (int)(slash - text < 39 ? slash - text : 39), text);
  const pare_status status = pare_parallel_parse(outer, &options->parallel);
  return status == PARE_OK ? pare_parallel_parse(slash + 1, &options->inside) : status;
}

cli_exit cli_schedule_parse(const cli_arguments *arguments, const cli_option *rows, cli_schedule *out) {
  const char *ways = cli_value(arguments, &rows[WAYS]), *stall = cli_value(arguments, &rows[STALL]);
  *out = (cli_schedule){.options = {.policy = cli_value(arguments, &rows[POLICY]),
                                    .objective = cli_value(arguments, &rows[OBJECTIVE]),
                                    .trace = cli_value(arguments, &rows[TRACE]),
                                    .lost = say_lost},
                        .stats = cli_value(arguments, &rows[STATS]) != NULL};
  pare_schedule_options *options = &out->options;
  out->given = ways || stall || options->policy || options->objective || options->trace;
  if (ways && parse_ways(ways, options) != PARE_OK) return cli_error(CLI_USAGE, "--parallel: %s", pare_message());
  if (!stall || cli_parse_duration(stall, &options->stall_seconds)) return CLI_OK;
  return cli_error(CLI_USAGE, "--stall: '%s' is no time; write for example 30s or 2m", stall);
}

const char *cli_context_devices(pare_context *context, char text[CLI_DEVICES]) {
  pare_schedule_stats stats;
  if (pare_context_stats(context, &stats) != PARE_OK || stats.ndevices < 2)
    snprintf(text, CLI_DEVICES, "%s", pare_context_device(context)->name);
  else
    snprintf(text, CLI_DEVICES, "%zu devices (%s and %zu more)", stats.ndevices, stats.device[0].name,
             stats.ndevices - 1);
  pare_schedule_stats_close(&stats);
  return text;
}

/* ---- counters ---- */

static json_t *device_json(const pare_device_stats *device) {
  json_t *json = json_pack("{s:o, s:b, s:f, s:f, s:f, s:f, s:I, s:I}", "device", cli_json_text(device->name), "lost",
                           device->lost, "busy_s", device->busy_seconds, "copy_s", device->copy_seconds, "idle_s",
                           device->idle_seconds, "wait_s", device->wait_seconds, "pieces", (json_int_t)device->pieces,
                           "copied_bytes", (json_int_t)device->copied_bytes);
  if (device->group > 0) json_object_set_new(json, "group", json_integer(device->group));
  if (device->price > 0) json_object_set_new(json, "price", json_real(device->price));
  if (device->joules < 0) return json;
  json_object_set_new(json, "joules", json_real(device->joules));
  json_object_set_new(json, "joules_estimated", json_boolean(device->joules_estimated));
  return json;
}

static json_t *kernel_json(const pare_schedule_stats *stats, const pare_kernel_stats *kernel) {
  return json_pack("{s:o, s:o, s:f, s:f, s:f, s:I}", "kernel", cli_json_text(kernel->kernel), "device",
                   cli_json_text(stats->device[kernel->device].name), "busy_s", kernel->busy_seconds, "copy_s",
                   kernel->copy_seconds, "wait_s", kernel->wait_seconds, "pieces", (json_int_t)kernel->pieces);
}

static double jobs_a_second(const pare_schedule_stats *stats) {
  return stats->elapsed_seconds > 0 ? (double)stats->jobs / stats->elapsed_seconds : 0;
}

static json_t *stats_json(const pare_schedule_stats *stats) {
  json_t *devices = json_array(), *kernels = json_array();
  for (size_t i = 0; i < stats->ndevices; i++) json_array_append_new(devices, device_json(&stats->device[i]));
  for (size_t i = 0; i < stats->nkernels; i++) json_array_append_new(kernels, kernel_json(stats, &stats->kernel[i]));
  return json_pack("{s:f, s:I, s:f, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o}", "elapsed_s", stats->elapsed_seconds,
                   "jobs", (json_int_t)stats->jobs, "jobs_per_s", jobs_a_second(stats), "pieces",
                   (json_int_t)stats->pieces, "moved", (json_int_t)stats->moved, "relearned",
                   (json_int_t)stats->relearned, "latency_p50_ms", 1e3 * stats->latency_p50, "latency_p95_ms",
                   1e3 * stats->latency_p95, "latency_p99_ms", 1e3 * stats->latency_p99, "devices", devices, "kernels",
                   kernels);
}

/* "12.3 ms (48%)" of what has passed. */
static void share_cell(cli_table *table, double seconds, double elapsed) {
  char text[CLI_TEXT];
  cli_table_cell(table, CLI_PLAIN, "%s (%.0f%%)", cli_seconds(seconds, text),
                 elapsed > 0 ? 100 * seconds / elapsed : 0);
}

static void device_row(cli_table *table, const pare_schedule_stats *stats, size_t index) {
  const pare_device_stats *device = &stats->device[index];
  const double elapsed = stats->elapsed_seconds;
  char text[CLI_TEXT];
  cli_table_cell(table, CLI_PLAIN, "%zu", index + 1);
  snprintf(text, sizeof text, "group %u, ", device->group);
  cli_table_cell(table, device->lost ? CLI_BAD : CLI_PLAIN, "%s%s%s", device->group > 0 ? text : "", device->name,
                 device->lost ? ", lost" : "");
  share_cell(table, device->busy_seconds, elapsed);
  share_cell(table, device->copy_seconds, elapsed);
  share_cell(table, device->idle_seconds, elapsed);
  cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(device->wait_seconds, text));
  cli_table_cell(table, CLI_PLAIN, "%llu", (unsigned long long)device->pieces);
  if (device->joules < 0)
    cli_table_cell(table, CLI_DIM, "not known");
  else
    cli_table_cell(table, CLI_PLAIN, "%s J%s", cli_figure(device->joules, text),
                   device->joules_estimated ? " (estimate)" : "");
}

/* The busiest; --json has all. */
static cli_exit kernel_table(const pare_schedule_stats *stats) {
  char text[3][CLI_TEXT];
  if (stats->nkernels == 0) return CLI_OK;
  cli_table *table = cli_table_open("kernel|>device|>busy|>copies|>wait|>pieces");
  for (size_t i = 0; i < stats->nkernels && i < MOST_KERNELS; i++) {
    const pare_kernel_stats *kernel = &stats->kernel[i];
    cli_table_cell(table, CLI_PLAIN, "%s", kernel->kernel);
    cli_table_cell(table, CLI_PLAIN, "%zu", kernel->device + 1);
    cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(kernel->busy_seconds, text[0]));
    cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(kernel->copy_seconds, text[1]));
    cli_table_cell(table, CLI_PLAIN, "%s", cli_seconds(kernel->wait_seconds, text[2]));
    cli_table_cell(table, CLI_PLAIN, "%llu", (unsigned long long)kernel->pieces);
  }
  const cli_exit code = cli_table_print(table);
  if (stats->nkernels > MOST_KERNELS) printf("and %zu more: --json lists all\n", stats->nkernels - MOST_KERNELS);
  return code;
}

static cli_exit stats_table(const pare_schedule_stats *stats) {
  char text[4][CLI_TEXT];
  cli_table *table = cli_table_open(">|device|>busy|>copies|>idle|>wait|>pieces|>energy");
  for (size_t i = 0; i < stats->ndevices; i++) device_row(table, stats, i);
  cli_exit code = cli_table_print(table);
  if (code == CLI_OK) code = kernel_table(stats);
  printf("%llu jobs in %llu pieces (%llu moved) in %s, %s a second; a job takes %s, 99%% within %s\n",
         (unsigned long long)stats->jobs, (unsigned long long)stats->pieces, (unsigned long long)stats->moved,
         cli_seconds(stats->elapsed_seconds, text[0]), cli_figure(jobs_a_second(stats), text[3]),
         cli_seconds(stats->latency_p50, text[1]), cli_seconds(stats->latency_p99, text[2]));
  double price = 0;
  for (size_t i = 0; i < stats->ndevices; i++) price += stats->device[i].price;
  if (price > 0) printf("busy time costs %.3g\n", price);
  return code;
}

cli_exit cli_schedule_show(const cli_schedule *schedule, pare_context *context, json_t *json) {
  pare_schedule_stats stats;
  if (!schedule->stats) return CLI_OK;
  const pare_status status = pare_context_stats(context, &stats);
  if (status != PARE_OK) return cli_fail(status);
  cli_exit code = CLI_OK;
  if (json)
    json_object_set_new(json, "stats", stats_json(&stats));
  else if (stats.ndevices > 1)
    code = stats_table(&stats);
  else
    printf("--stats: there is one device, and nothing to divide\n");
  pare_schedule_stats_close(&stats);
  return code;
}

void cli_division_show(pare_model *model, json_t *json) {
  pare_model_division division;
  if (pare_model_divided(model, &division) != PARE_OK) return;
  if (json) {
    json_object_set_new(json, "parallel", json_string(pare_parallel_name(division.parallel)));
    json_object_set_new(json, "parallel_why", cli_json_text(division.why));
  } else if (division.parallel != PARE_PARALLEL_OFF) {
    printf("parallel by %s: %s\n", pare_parallel_name(division.parallel), division.why);
  }
}
