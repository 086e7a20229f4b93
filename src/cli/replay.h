/* A trace as a machine and tasks, so that what ran can be simulated. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_REPLAY_H
#define PARE_CLI_REPLAY_H

#include "cli/gantt.h"

/* Files for pare simulate (doc/simulate.md): the devices with the rates that they showed, and the tasks, each after the
 * last one that had ended before it began. */
cli_exit cli_replay_machine(const cli_gantt *gantt, const char *path);
cli_exit cli_replay_tasks(const cli_gantt *gantt, const char *path);

#endif
