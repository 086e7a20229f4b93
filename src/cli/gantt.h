/* A trace drawn as a Gantt chart. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_GANTT_H
#define PARE_CLI_GANTT_H

#include "cli/cli.h"

typedef struct cli_slice {
  const char *name, *kind; /* of the task; its kernel, or "copy" */
  size_t device;
  bool is_copy, is_back; /* is_back: a copy from the device */
  double from, until;    /* microseconds */
  int64_t begin, end;    /* of the task's steps; 0, 0: not said */
  int64_t n, grain;      /* all of these steps, and of which multiples pieces begin; 0: not said */
  double work;           /* of each step, in units of its kernel; not said: 1 */
  double ready;          /* microseconds: when all that the task needs was there; not said: when it began */
  double launch;         /* microseconds that policies reckoned it cost besides its work; below 0: not said */
  bool says_ready;
  double nbytes; /* of a copy; 0: not said */
} cli_slice;

typedef struct cli_gantt {
  size_t ndevices, nslices, nkinds;
  char **device;    /* names */
  cli_slice *slice; /* by device, then time */
  char **kind;      /* of slices that are no copies, the most time first */
  double from, until;
} cli_gantt;

/* Writes an SVG without anything from elsewhere, light and dark. CLI_INPUT if that fails. */
cli_exit cli_gantt_write(const cli_gantt *gantt, const char *title, const char *path);

#endif
