/* How long runs of a model take. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "cli/feed.h"

double cli_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

cli_exit cli_times_add(cli_times *times, double seconds) {
  if (times->count == times->capacity) {
    const size_t capacity = times->capacity ? 2 * times->capacity : 256;
    double *more = reallocarray(times->seconds, capacity, sizeof *more);
    if (!more) return cli_error(CLI_DEVICE, "out of memory");
    times->seconds = more;
    times->capacity = capacity;
  }
  times->seconds[times->count++] = seconds;
  times->total += seconds;
  times->sorted = false;
  return CLI_OK;
}

static int by_size(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double cli_times_percentile(cli_times *times, double p) {
  if (times->count == 0) return 0;
  if (!times->sorted) qsort(times->seconds, times->count, sizeof *times->seconds, by_size);
  times->sorted = true;
  const double rank = ceil(p * (double)times->count);
  return times->seconds[rank < 1 ? 0 : (size_t)rank - 1];
}

void cli_times_free(cli_times *times) {
  free(times->seconds);
  *times = (cli_times){0};
}

cli_exit cli_run_once(pare_context *context, pare_model *model, const cli_inputs *inputs, pare_tensor **outputs,
                      double *seconds) {
  const size_t count = pare_model_outputs(model);
  pare_tensor **own = outputs ? NULL : calloc(count + 1, sizeof(pare_tensor *));
  if (!outputs && !own) return cli_error(CLI_DEVICE, "out of memory");
  const double begun = cli_now();
  pare_status status = pare_model_run(model, inputs->tensor, NULL, outputs ? outputs : own);
  if (status == PARE_OK) status = pare_context_wait(context);
  *seconds = cli_now() - begun;
  const cli_exit code = status == PARE_OK ? CLI_OK : cli_run_fail(status);
  cli_tensors_close(count, own);
  free(own);
  return code;
}
