/* How long a run of two models takes, the one beside the other. SPDX-License-Identifier: Apache-2.0 */
#include "cli/latency.h"

#include <stdio.h>

#include "cli/feed.h"

enum { WARM_UP = 3, RUNS = 21 };
#define MOST_SECONDS 5.0

typedef struct candidate {
  pare_model *model;
  cli_inputs inputs;
  cli_times times;
} candidate;

static void close_candidate(candidate *one) {
  cli_inputs_close(&one->inputs);
  pare_model_close(one->model);
  cli_times_free(&one->times);
}

/* false: it cannot be run on inputs that are made up. */
static bool open_candidate(pare_context *context, const cli_feed *feed, const char *path, candidate *out) {
  double seconds;
  if (pare_model_open(context, path, NULL, &out->model) != PARE_OK) return false;
  if (cli_feed_inputs(feed, context, out->model, &out->inputs) != CLI_OK) return false;
  for (unsigned i = 0; i < WARM_UP; i++)
    if (cli_run_once(context, out->model, &out->inputs, NULL, &seconds) != CLI_OK) return false;
  return true;
}

static cli_exit take_turns(pare_context *context, candidate *both) {
  const double begun = cli_now();
  for (unsigned i = 0; i < RUNS && (i < 3 || cli_now() - begun < MOST_SECONDS); i++)
    for (unsigned m = 0; m < 2; m++) {
      double seconds;
      cli_exit code = cli_run_once(context, both[m].model, &both[m].inputs, NULL, &seconds);
      if (code == CLI_OK) code = cli_times_add(&both[m].times, seconds);
      if (code != CLI_OK) return code;
    }
  return CLI_OK;
}

static void describe(const candidate *one, char *text, size_t capacity) {
  size_t used = 0;
  *text = '\0';
  for (size_t i = 0; i < one->inputs.count && used < capacity; i++) {
    pare_model_value value;
    char shape[CLI_SHAPE];
    if (pare_model_input(one->model, i, &value) != PARE_OK) continue;
    value.rank = pare_tensor_rank(one->inputs.tensor[i]);
    for (int d = 0; d < value.rank; d++) value.dim[d] = pare_tensor_shape(one->inputs.tensor[i])[d];
    used += (size_t)snprintf(text + used, capacity - used, "%s%s %s", i ? ", " : "", value.name,
                             cli_value_text(&value, shape));
  }
}

cli_exit cli_latency_measure(const char *device, const char *before, const char *after, char *shapes, size_t capacity,
                             cli_page_latency *out) {
  candidate both[2] = {{0}, {0}};
  pare_context *context = NULL;
  cli_feed *feed = NULL;
  const cli_arguments none = {0};
  *out = (cli_page_latency){.shapes = shapes};
  *shapes = '\0';
  cli_exit code = cli_feed_open(&none, NULL, NULL, &feed);
  if (code == CLI_OK) code = cli_context_open(device, NULL, &context);
  if (code == CLI_OK && open_candidate(context, feed, before, &both[0]) &&
      open_candidate(context, feed, after, &both[1])) {
    code = take_turns(context, both);
    out->before = cli_times_percentile(&both[0].times, 0.5);
    out->after = cli_times_percentile(&both[1].times, 0.5);
    describe(&both[0], shapes, capacity);
  }
  close_candidate(&both[0]);
  close_candidate(&both[1]);
  pare_context_close(context);
  cli_feed_close(feed);
  return code;
}
