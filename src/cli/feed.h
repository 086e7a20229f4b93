/* Models on the command line: their inputs, outputs and times. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_FEED_H
#define PARE_CLI_FEED_H

#include "cli/cli.h"

#define CLI_OPTION_INPUT \
  { "input", "FILE", "NAME=FILE.npy or NAME=FILE.pb: an input; FILE.npz: every input that it names", 'i' }
#define CLI_OPTION_SHAPE \
  { "shape", "NAME=SHAPE", "the shape of a random input, such as x=1x3x224x224, or a symbolic size, batch=8", 0 }
#define CLI_OPTION_WITHOUT \
  { "without", "PASSES", "leave out these passes (names separated by commas; all)", 0 }
#define CLI_OPTION_AT_ONCE \
  { "at-once", NULL, "run every node as it comes, without a plan", 0 }

#define CLI_OPTION_LOOP_LIMIT \
  { "loop-limit", "COUNT", "most iterations of one Loop or Scan (100000, or up to 1000000 if the model says so)", 0 }
#define CLI_OPTION_EXECUTOR \
  { "executor", "HOW", "auto, launches, or ticketed: many launches as one (CPU devices); the same bits either way", 0 }

/* ---- inputs (feed.c) ---- */

/* What -i and --shape say. */
typedef struct cli_feed cli_feed;
/* Opens the files. `shape` NULL: the command has no such option. */
cli_exit cli_feed_open(const cli_arguments *arguments, const cli_option *input, const cli_option *shape,
                       cli_feed **out);
void cli_feed_close(cli_feed *feed); /* NULL is allowed */
/* All that the files name, and --shape, for a model's overridden inputs; valid as long as the feed. */
cli_exit cli_feed_names(cli_feed *feed, pare_model_options *options);

/* Adds the names of all arrays of a file; *names is to be freed. */
cli_exit cli_names_add(const char ***names, size_t *count, const pare_arrays *arrays);

/* The inputs of a model on the device. */
typedef struct cli_inputs {
  size_t count;
  pare_tensor **tensor;
  bool random; /* no file gives them: they are made up */
} cli_inputs;
/* Without any file all inputs are random: floats normal, integers 0 or 1, from a fixed seed. Otherwise each must be
 * given. Close it in any case. */
cli_exit cli_feed_inputs(const cli_feed *feed, pare_context *context, const pare_model *model, cli_inputs *out);
void cli_inputs_close(cli_inputs *inputs);
/* A tensor of an array for this input; dtype and shape are checked. */
cli_exit cli_input_create(pare_context *context, const pare_model_value *declared, const pare_array *array,
                          pare_tensor **out);
/* *status = pare_inspect_work for the shapes that --shape says; sizes that nobody knows are 1. */
cli_exit cli_feed_work(const cli_feed *feed, pare_context *context, pare_inspection *inspection, pare_status *status);
/* {"x": [1, 3, 224, 224], ...} */
json_t *cli_inputs_shapes(const cli_inputs *inputs, const pare_model *model);
/* Says on stderr that inputs are random, if they are. */
void cli_inputs_note(const cli_inputs *inputs);

/* ---- outputs (outputs.c) ---- */

#define CLI_SHAPE 256
/* "f32[batch, 3, 224, 224]" */
const char *cli_value_text(const pare_model_value *value, char text[CLI_SHAPE]);
const char *cli_array_text(const pare_array *array, char text[CLI_SHAPE]);
/* As it is written on the command line: "1x3x224x224"; "" for a scalar. */
const char *cli_shape_text(size_t rank, const int64_t *dim, char text[CLI_SHAPE]);
json_t *cli_dims_json(int rank, const int64_t *dim);

/* A tensor's elements on the host: free data with cli_array_free. */
cli_exit cli_array_read(pare_tensor *tensor, const char *name, pare_array *out);
void cli_array_free(pare_array *array);

typedef struct cli_statistics {
  size_t count, nan;
  double least, most, mean; /* of what is not NaN; NaN if nothing is */
} cli_statistics;
cli_statistics cli_array_statistics(const pare_array *array);

/* Closes the tensors, which may be NULL, and leaves NULL. */
void cli_tensors_close(size_t count, pare_tensor **tensors);

/* ---- times (times.c) ---- */

typedef struct cli_times {
  size_t count, capacity;
  double *seconds;
  double total;
  bool sorted;
} cli_times;
double cli_now(void); /* seconds of a clock that only moves forward */
cli_exit cli_times_add(cli_times *times, double seconds);
/* The nearest rank: p = 0.5 is the median. 0 if there are none. */
double cli_times_percentile(cli_times *times, double p);
void cli_times_free(cli_times *times);
/* Runs the model and waits for it. Its outputs go into `outputs`; NULL: they are dropped. */
cli_exit cli_run_once(pare_context *context, pare_model *model, const cli_inputs *inputs, pare_tensor **outputs,
                      double *seconds);

/* ---- contexts and models (device.c) ---- */

/* All devices that `spec` selects; schedule NULL: the first of them alone. */
cli_exit cli_context_open(const char *spec, const pare_schedule_options *schedule, pare_context **out);
/* An operator that pare lacks is bad input here, not the device's fault. */
cli_exit cli_model_open(pare_context *context, const char *path, const pare_model_options *options, pare_model **out);
/* --loop-limit (text NULL: not given), and SIGINT stops what is under way. */
cli_exit cli_model_limits(const char *text, pare_model_options *options);
/* What --executor says; text NULL: auto. */
cli_exit cli_executor(const char *text, pare_executor *out);
const char *cli_executor_name(pare_executor executor);
/* How the last planned run was enqueued; zeros: there was none. */
pare_model_launches cli_launches(pare_model *model);

#endif
