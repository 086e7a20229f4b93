/* A model's nodes as work to simulate. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_MODEL_TASKS_H
#define PARE_CLI_MODEL_TASKS_H

#include <pare/simulate.h>

#include "cli/feed.h"

#define CLI_MOST_BATCHES 100000

/* The nodes of `batches` runs of a model as tasks (doc/simulate.md), for the shapes that option `shape` says. */
cli_exit cli_model_tasks(const cli_arguments *arguments, const cli_option *shape, const char *path, size_t batches,
                         pare_workload **out);

#endif
