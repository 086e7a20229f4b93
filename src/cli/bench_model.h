/* pare bench: models instead of kernels. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_BENCH_MODEL_H
#define PARE_CLI_BENCH_MODEL_H

#include "cli/feed.h"
#include "cli/schedule.h"

typedef struct cli_bench_models {
  size_t count;
  const char *const *paths;
  const char *device;   /* of -d */
  const char *baseline; /* a file of earlier JSON; NULL: none */
  double warmup_seconds, duration_seconds;
  const cli_feed *feed;
  pare_model_options how;
  cli_schedule schedule;
  bool json;
} cli_bench_models;
/* Each model on each selected device. CLI_FAILED: slower than the baseline. */
cli_exit cli_bench_models_run(const cli_bench_models *bench);

#endif
