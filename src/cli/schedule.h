/* Options of commands that use several devices at once, and what is shown of them. SPDX-License-Identifier: Apache-2.0
 */
#ifndef PARE_CLI_SCHEDULE_H
#define PARE_CLI_SCHEDULE_H

#include "cli/cli.h"

#define CLI_DEVICES 256

/* Rows of a command's table, in this order; the first is what the functions below are given. */
#define CLI_SCHEDULE_ROWS PARALLEL, POLICY, OBJECTIVE, STALL, TRACE, STATS
#define CLI_OPTIONS_SCHEDULE                                                                                         \
  [PARALLEL] = {"parallel", "HOW",                                                                                   \
                "several devices: auto (the default), data, columns, pipeline, task, or off; groups / inside of "    \
                "them: data/columns and the like",                                                                   \
                0},                                                                                                  \
  [POLICY] = {"policy", "NAME", "who runs which piece; wins over PARE_POLICY (pare simulate --help lists them)", 0}, \
  [OBJECTIVE] = {"objective", "NAME", "makespan (the default), utilisation, energy or cost", 0},                     \
  [STALL] = {"stall", "SECONDS", "give a device up that makes no progress for so long", 0},                          \
  [TRACE] = {"trace", "FILE", "write who did what when, for Perfetto and 'pare trace'", 0},                          \
  [STATS] = {"stats", NULL, "say how busy each device was", 0}

/* What the options say. */
typedef struct cli_schedule {
  pare_schedule_options options;
  bool given; /* one of them besides --stats */
  bool stats;
} cli_schedule;
cli_exit cli_schedule_parse(const cli_arguments *arguments, const cli_option *rows, cli_schedule *out);
/* The context's devices by name, for a line of text. */
const char *cli_context_devices(pare_context *context, char text[CLI_DEVICES]);
/* --stats: a table, or a member "stats" of `json`. After the work, before the context is closed. */
cli_exit cli_schedule_show(const cli_schedule *schedule, pare_context *context, json_t *json);
/* How a model's last run was divided: a line, or members of `json`; nothing with one device. */
void cli_division_show(pare_model *model, json_t *json);

/* ---- independent requests (at_once.c) ---- */

/* As many as there are devices with --parallel task; else one. */
size_t cli_requests_at_once(const cli_schedule *schedule, pare_context *context);
/* Does requests 0 … count - 1, begun in this order, `at_once` of them in threads at the same time. The first failure
 * ends it, once what was begun is done. */
cli_exit cli_serve(size_t count, size_t at_once, cli_exit (*work)(void *user, size_t request), void *user);

#endif
