/* pare eval: how right and how fast a model is on a data set. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <pare/inspect.h>

#include "cli/feed.h"
#include "cli/schedule.h"
#include "cli/score.h"

#define BATCH 32 /* samples a run, where the model leaves it open */

enum { DATA, LABELS, OUTPUT, BATCH_SIZE, WITHOUT, LOOP_LIMIT, CLI_SCHEDULE_ROWS, JSON };
static const cli_option options[] = {
    [DATA] = {"data", "FILE", "an .npz file with an array for each input, and what is expected", 0},
    [LABELS] = {"labels", "NAME", "the array of true classes (labels, label, targets, target or y)", 0},
    [OUTPUT] = {"output", "NAME", "the output that tells the class (the first)", 'o'},
    [BATCH_SIZE] = {"batch", "COUNT", "samples a run (32)", 0},
    [WITHOUT] = CLI_OPTION_WITHOUT,
    [LOOP_LIMIT] = CLI_OPTION_LOOP_LIMIT,
    CLI_OPTIONS_SCHEDULE,
    [JSON] = CLI_OPTION_JSON,
    CLI_OPTIONS_END,
};

/* Cosines between one output and what is stored of it. */
typedef struct output_check {
  pare_model_value value;
  bool stored;
  pare_array expected;
  double sum, least;
} output_check;

typedef struct eval_run {
  const char *path;
  cli_schedule schedule;
  pare_context *context;
  pare_model *model;
  pare_arrays *data;
  size_t ninputs, noutputs, samples, batch;
  pare_model_value *input;
  pare_array *array; /* of each input */
  output_check *output;
  bool labelled;
  pare_array labels;
  size_t classifier; /* the output that tells the class */
  cli_confusion confusion;
  pthread_mutex_t lock; /* guards what follows while batches are in flight, and what is found of outputs */
  pthread_cond_t turn;
  size_t taken; /* batches whose outputs were looked at */
  cli_times times;
  double seconds; /* of all batches: the sum, or, several at once, until the last was done */
} eval_run;

/* ---- the data ---- */

static cli_exit get_array(eval_run *eval, const char *name, bool *found, pare_array *out) {
  size_t index;
  *found = pare_arrays_find(eval->data, name, &index);
  if (!*found) return CLI_OK;
  const pare_status status = pare_arrays_get(eval->data, index, out);
  return status == PARE_OK ? CLI_OK : cli_fail(status);
}

/* The first dimension of an array counts the samples. */
static cli_exit check_samples(eval_run *eval, const pare_array *array) {
  const int64_t samples = array->rank > 0 ? array->dim[0] : 0;
  char text[CLI_SHAPE];
  if (samples > 0 && (eval->samples == 0 || (size_t)samples == eval->samples)) {
    eval->samples = (size_t)samples;
    return CLI_OK;
  }
  if (samples <= 0)
    return cli_error(CLI_INPUT, "array '%s', %s, holds no samples: its first dimension counts them", array->name,
                     cli_array_text(array, text));
  return cli_error(CLI_INPUT, "array '%s', %s, holds %lld samples; others hold %zu", array->name,
                   cli_array_text(array, text), (long long)samples, eval->samples);
}

static cli_exit find_inputs(eval_run *eval) {
  for (size_t i = 0; i < eval->ninputs; i++) {
    bool found;
    char text[CLI_SHAPE];
    pare_model_input(eval->model, i, &eval->input[i]);
    cli_exit code = get_array(eval, eval->input[i].name, &found, &eval->array[i]);
    if (code == CLI_OK && !found)
      code = cli_error(CLI_INPUT, "--data: the file has no array '%s', which the model takes as %s",
                       eval->input[i].name, cli_value_text(&eval->input[i], text));
    if (code == CLI_OK) code = check_samples(eval, &eval->array[i]);
    if (code != CLI_OK) return code;
  }
  return eval->ninputs > 0 ? CLI_OK : cli_error(CLI_INPUT, "the model has no inputs");
}

static cli_exit find_labels(eval_run *eval, const char *name) {
  static const char *const usual[] = {"labels", "label", "targets", "target", "y"};
  cli_exit code = CLI_OK;
  if (name) {
    code = get_array(eval, name, &eval->labelled, &eval->labels);
    if (code == CLI_OK && !eval->labelled) return cli_error(CLI_USAGE, "--labels: the file has no array '%s'", name);
  }
  for (size_t i = 0; !name && i < CLI_COUNT(usual) && !eval->labelled && code == CLI_OK; i++)
    code = get_array(eval, usual[i], &eval->labelled, &eval->labels);
  if (code != CLI_OK || !eval->labelled) return code;
  const pare_dtype dtype = eval->labels.dtype;
  if (dtype == PARE_NDTYPES || dtype == PARE_F32 || dtype == PARE_F16 || dtype == PARE_BF16 || dtype == PARE_F64)
    return cli_error(CLI_INPUT, "the labels '%s' are %s; they must be integers", eval->labels.name,
                     eval->labels.dtype_name);
  code = check_samples(eval, &eval->labels);
  if (code == CLI_OK && eval->labels.nbytes / pare_dtype_bytes(dtype) != eval->samples)
    code = cli_error(CLI_INPUT, "the labels '%s' are %zu for %zu samples", eval->labels.name,
                     eval->labels.nbytes / pare_dtype_bytes(dtype), eval->samples);
  return code;
}

static cli_exit find_outputs(eval_run *eval, const char *classifier) {
  bool known = classifier == NULL;
  for (size_t i = 0; i < eval->noutputs; i++) {
    output_check *output = &eval->output[i];
    pare_model_output(eval->model, i, &output->value);
    output->least = INFINITY;
    if (classifier && strcmp(output->value.name, classifier) == 0) {
      eval->classifier = i;
      known = true;
    }
    cli_exit code = get_array(eval, output->value.name, &output->stored, &output->expected);
    if (code == CLI_OK && output->stored) code = check_samples(eval, &output->expected);
    if (code != CLI_OK) return code;
  }
  return known ? CLI_OK : cli_error(CLI_USAGE, "--output: the model has no output '%s'", classifier);
}

static cli_exit choose_batch(eval_run *eval, const char *text) {
  char *end;
  const long long wanted = text ? strtoll(text, &end, 10) : BATCH;
  if (text && (!*text || *end || wanted < 1 || wanted > INT32_MAX))
    return cli_error(CLI_USAGE, "--batch: '%s' is no number of samples", text);
  eval->batch = (size_t)wanted;
  for (size_t i = 0; i < eval->ninputs; i++) {
    const int64_t fixed = eval->input[i].rank > 0 ? eval->input[i].dim[0] : -1;
    if (fixed < 1) continue;
    if (text && fixed != wanted)
      return cli_error(CLI_USAGE, "--batch %s: the model fixes %lld samples a run", text, (long long)fixed);
    eval->batch = (size_t)fixed;
  }
  if (eval->batch > eval->samples && eval->input[0].dim[0] < 1) eval->batch = eval->samples;
  return CLI_OK;
}

/* ---- running ---- */

/* Samples `first` and the next `count` of an array; where the model fixes the number, zeros fill it up. */
static cli_exit make_input(const eval_run *eval, size_t input, size_t first, size_t count, pare_tensor **out) {
  const pare_array *all = &eval->array[input];
  const size_t sample_bytes = all->nbytes / eval->samples;
  const bool fixed = eval->input[input].rank > 0 && eval->input[input].dim[0] > 0;
  const size_t rows = fixed ? eval->batch : count;
  pare_array part = *all;
  char *filled = NULL;
  part.dim[0] = (int64_t)rows;
  part.nbytes = rows * sample_bytes;
  if (all->data) part.data = (const char *)all->data + first * sample_bytes;
  if (rows > count && all->data) {
    filled = calloc(rows, sample_bytes ? sample_bytes : 1);
    if (!filled) return cli_error(CLI_DEVICE, "out of memory");
    memcpy(filled, part.data, count * sample_bytes);
    part.data = filled;
  }
  const cli_exit code = cli_input_create(eval->context, &eval->input[input], &part, out);
  free(filled);
  return code;
}

/* The class of a row: where it is greatest; one number is a class itself, or a probability. */
static size_t class_of(const pare_array *array, size_t row, size_t columns) {
  const bool is_float =
      array->dtype == PARE_F32 || array->dtype == PARE_F16 || array->dtype == PARE_BF16 || array->dtype == PARE_F64;
  const double first = pare_array_number(array, row * columns);
  if (columns == 1) return is_float ? first > 0.5 : first > 0 ? (size_t)first : 0;
  size_t best = 0;
  double most = first;
  for (size_t i = 1; i < columns; i++) {
    const double x = pare_array_number(array, row * columns + i);
    if (x > most || isnan(most)) {
      most = x;
      best = i;
    }
  }
  return best;
}

static cli_exit take_classes(eval_run *eval, const pare_array *array, size_t first, size_t count) {
  const size_t elements = array->nbytes / pare_dtype_bytes(array->dtype);
  const size_t rows = array->rank > 0 ? (size_t)array->dim[0] : 1, columns = rows ? elements / rows : 0;
  char text[CLI_SHAPE];
  if (array->rank < 1 || rows < count || columns < 1 || columns > CLI_MOST_CLASSES)
    return cli_error(CLI_INPUT, "output '%s', %s, holds no classes for %zu samples", array->name,
                     cli_array_text(array, text), count);
  for (size_t i = 0; i < count; i++) {
    const double truth = pare_array_number(&eval->labels, first + i);
    const size_t predicted = class_of(array, i, columns);
    if (!(truth >= 0 && truth < CLI_MOST_CLASSES) || predicted >= CLI_MOST_CLASSES)
      return cli_error(CLI_INPUT, "label %zu is %g, and the model says %zu: classes are 0 to %d", first + i, truth,
                       predicted, CLI_MOST_CLASSES - 1);
    const cli_exit code = cli_confusion_add(&eval->confusion, (size_t)truth, predicted);
    if (code != CLI_OK) return code;
  }
  return CLI_OK;
}

static double cosine(const pare_array *a, size_t from_a, const pare_array *b, size_t from_b, size_t count) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < count; i++) {
    const double x = pare_array_number(a, from_a + i), y = pare_array_number(b, from_b + i);
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa > 0 && bb > 0 ? dot / sqrt(aa * bb) : aa == bb;
}

static cli_exit take_cosines(const eval_run *eval, output_check *output, const pare_array *array, size_t first,
                             size_t count) {
  const pare_array *expected = &output->expected;
  const size_t width =
      expected->dtype == PARE_NDTYPES ? 0 : expected->nbytes / pare_dtype_bytes(expected->dtype) / eval->samples;
  bool fits = array->rank > 0 && array->rank == expected->rank && width > 0 && (size_t)array->dim[0] >= count;
  for (int i = 1; fits && i < array->rank; i++) fits = array->dim[i] == expected->dim[i];
  char found[CLI_SHAPE], stored[CLI_SHAPE];
  if (!fits)
    return cli_error(CLI_INPUT, "output '%s' is %s; the stored array is %s", array->name, cli_array_text(array, found),
                     cli_array_text(expected, stored));
  for (size_t i = 0; i < count; i++) {
    const double x = cosine(array, i * width, expected, (first + i) * width, width);
    output->sum += x;
    output->least = fmin(output->least, x);
  }
  return CLI_OK;
}

static cli_exit take_outputs(eval_run *eval, pare_tensor **outputs, size_t first, size_t count) {
  cli_exit code = CLI_OK;
  for (size_t i = 0; i < eval->noutputs && code == CLI_OK; i++) {
    const bool classifies = eval->labelled && i == eval->classifier;
    if (!classifies && !eval->output[i].stored) continue;
    pare_array array;
    code = cli_array_read(outputs[i], eval->output[i].value.name, &array);
    if (code != CLI_OK) break;
    if (classifies) code = take_classes(eval, &array, first, count);
    if (code == CLI_OK && eval->output[i].stored) code = take_cosines(eval, &eval->output[i], &array, first, count);
    cli_array_free(&array);
  }
  return code;
}

/* Outputs are taken in the order of the batches, whichever is done first: sums are the same each time. */
static cli_exit take_in_turn(eval_run *eval, pare_tensor **outputs, size_t batch, double seconds, cli_exit code) {
  const size_t first = batch * eval->batch, left = eval->samples - first;
  pthread_mutex_lock(&eval->lock);
  while (eval->taken != batch) pthread_cond_wait(&eval->turn, &eval->lock);
  if (code == CLI_OK) code = cli_times_add(&eval->times, seconds);
  if (code == CLI_OK) code = take_outputs(eval, outputs, first, left < eval->batch ? left : eval->batch);
  cli_progress((double)first / (double)eval->samples, "%zu of %zu samples", first, eval->samples);
  eval->taken++;
  pthread_cond_broadcast(&eval->turn);
  pthread_mutex_unlock(&eval->lock);
  return code;
}

static cli_exit run_batch(eval_run *eval, size_t batch, bool counts) {
  const size_t first = batch * eval->batch, left = eval->samples - first;
  cli_inputs inputs = {.count = eval->ninputs, .tensor = calloc(eval->ninputs, sizeof(pare_tensor *))};
  pare_tensor **outputs = calloc(eval->noutputs + 1, sizeof(pare_tensor *));
  cli_exit code = inputs.tensor && outputs ? CLI_OK : cli_error(CLI_DEVICE, "out of memory");
  for (size_t i = 0; i < eval->ninputs && code == CLI_OK; i++)
    code = make_input(eval, i, first, left < eval->batch ? left : eval->batch, &inputs.tensor[i]);
  double seconds = 0;
  if (code == CLI_OK) code = cli_run_once(eval->context, eval->model, &inputs, outputs, &seconds);
  if (counts) code = take_in_turn(eval, outputs, batch, seconds, code);
  cli_tensors_close(eval->noutputs, outputs);
  free(outputs);
  cli_inputs_close(&inputs);
  return code;
}

static cli_exit serve_batch(void *user, size_t batch) { return run_batch(user, batch, true); }

static cli_exit run_all(eval_run *eval) {
  cli_exit code = run_batch(eval, 0, false); /* warm */
  if (code != CLI_OK) return code;
  const size_t at_once = cli_requests_at_once(&eval->schedule, eval->context);
  pthread_mutex_init(&eval->lock, NULL);
  pthread_cond_init(&eval->turn, NULL);
  const double begun = cli_now();
  code = cli_serve((eval->samples + eval->batch - 1) / eval->batch, at_once, serve_batch, eval);
  eval->seconds = at_once > 1 ? cli_now() - begun : eval->times.total;
  pthread_cond_destroy(&eval->turn);
  pthread_mutex_destroy(&eval->lock);
  cli_progress_clear();
  return code;
}

/* ---- what came out ---- */

static uint64_t process_peak_bytes(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

/* External files included. */
static uint64_t file_bytes(const char *path) {
  pare_inspection *inspection;
  pare_model_info info;
  if (pare_inspect_open(path, &inspection) != PARE_OK) return 0;
  const pare_status status = pare_inspect_model(inspection, &info);
  pare_inspect_close(inspection);
  return status == PARE_OK ? info.file_bytes : 0;
}

static double samples_per_second(const eval_run *eval) {
  return eval->seconds > 0 ? (double)eval->samples / eval->seconds : 0;
}

static cli_exit print_json(eval_run *eval, const pare_memory_usage *memory) {
  json_t *json =
      json_pack("{s:o, s:o, s:I, s:I, s:f, s:f, s:f, s:I, s:I, s:I}", "model", cli_json_text(eval->path), "device",
                cli_json_text(pare_context_device(eval->context)->name), "samples", (json_int_t)eval->samples, "batch",
                (json_int_t)eval->batch, "median_ms", 1e3 * cli_times_percentile(&eval->times, 0.5), "p95_ms",
                1e3 * cli_times_percentile(&eval->times, 0.95), "per_second", samples_per_second(eval), "file_bytes",
                (json_int_t)file_bytes(eval->path), "peak_bytes", (json_int_t)memory->peak_bytes, "process_peak_bytes",
                (json_int_t)process_peak_bytes());
  if (json && eval->labelled) {
    const cli_total_score score = cli_confusion_total(&eval->confusion);
    json_object_update_new(json, json_pack("{s:f, s:f, s:f, s:f, s:o, s:o}", "accuracy", score.accuracy, "precision",
                                           score.precision, "recall", score.recall, "f1", score.f1, "classes",
                                           cli_classes_json(&eval->confusion), "confusion",
                                           cli_confusion_json(&eval->confusion)));
  }
  json_t *cosines = json_object();
  for (size_t i = 0; i < eval->noutputs; i++)
    if (eval->output[i].stored)
      json_object_set_new(
          cosines, eval->output[i].value.name,
          json_pack("{s:f, s:f}", "mean", eval->output[i].sum / (double)eval->samples, "least", eval->output[i].least));
  if (json_object_size(cosines) > 0)
    json_object_set_new(json, "cosine", cosines);
  else
    json_decref(cosines);
  cli_division_show(eval->model, json);
  const cli_exit code = cli_schedule_show(&eval->schedule, eval->context, json);
  if (code == CLI_OK) return cli_json_print(json);
  json_decref(json);
  return code;
}

static cli_exit print_text(eval_run *eval, const pare_memory_usage *memory) {
  char text[3][CLI_TEXT];
  cli_exit code = CLI_OK;
  cli_print(CLI_BOLD, "%s", eval->path);
  char devices[CLI_DEVICES];
  printf(" on %s: %zu samples, %zu a run\n", cli_context_devices(eval->context, devices), eval->samples, eval->batch);
  if (eval->labelled) {
    const cli_total_score score = cli_confusion_total(&eval->confusion);
    code = cli_confusion_print(&eval->confusion);
    printf("\n%-11s%.4f (%llu of %llu)\n", "accuracy", score.accuracy, (unsigned long long)score.right,
           (unsigned long long)score.samples);
    printf("%-11sprecision %.4f, recall %.4f, F1 %.4f\n", "means", score.precision, score.recall, score.f1);
  }
  for (size_t i = 0; i < eval->noutputs; i++)
    if (eval->output[i].stored)
      printf("%-11s%s: mean %.8f, least %.8f\n", "cosine", eval->output[i].value.name,
             eval->output[i].sum / (double)eval->samples, eval->output[i].least);
  printf("%-11smedian %s a run, 95%% within %s\n", "latency",
         cli_seconds(cli_times_percentile(&eval->times, 0.5), text[0]),
         cli_seconds(cli_times_percentile(&eval->times, 0.95), text[1]));
  printf("%-11s%s samples a second\n", "throughput", cli_figure(samples_per_second(eval), text[0]));
  printf("%-11s%s in its files; peak on the device %s, of the process %s\n", "memory",
         cli_bytes(file_bytes(eval->path), text[0]), cli_bytes(memory->peak_bytes, text[1]),
         cli_bytes(process_peak_bytes(), text[2]));
  if (eval->schedule.given || eval->schedule.stats) cli_division_show(eval->model, NULL);
  const cli_exit shown = cli_schedule_show(&eval->schedule, eval->context, NULL);
  return code == CLI_OK ? shown : code;
}

/* ---- the command ---- */

static cli_exit evaluate(eval_run *eval, const cli_arguments *arguments) {
  eval->ninputs = pare_model_inputs(eval->model);
  eval->noutputs = pare_model_outputs(eval->model);
  eval->input = calloc(eval->ninputs + 1, sizeof *eval->input);
  eval->array = calloc(eval->ninputs + 1, sizeof *eval->array);
  eval->output = calloc(eval->noutputs + 1, sizeof *eval->output);
  if (!eval->input || !eval->array || !eval->output) return cli_error(CLI_DEVICE, "out of memory");
  cli_exit code = find_inputs(eval);
  if (code == CLI_OK) code = find_labels(eval, cli_value(arguments, &options[LABELS]));
  if (code == CLI_OK) code = find_outputs(eval, cli_value(arguments, &options[OUTPUT]));
  if (code == CLI_OK) code = choose_batch(eval, cli_value(arguments, &options[BATCH_SIZE]));
  if (code == CLI_OK) code = run_all(eval);
  if (code != CLI_OK) return code;
  pare_memory_usage memory = {0};
  pare_context_memory(eval->context, &memory);
  return cli_value(arguments, &options[JSON]) ? print_json(eval, &memory) : print_text(eval, &memory);
}

/* What the data have an array for is an input, not the default that the file has for it. */
static cli_exit open_model(eval_run *eval, pare_model_options *how) {
  const char **names = NULL;
  cli_exit code = cli_names_add(&names, &how->noverridden, eval->data);
  how->overridden = names;
  if (code == CLI_OK) code = cli_model_open(eval->context, eval->path, how, &eval->model);
  free(names);
  return code;
}

static cli_exit run(const cli_arguments *arguments) {
  eval_run eval = {0};
  const char *data = cli_value(arguments, &options[DATA]);
  pare_model_options how = {.without = cli_value(arguments, &options[WITHOUT])};
  if (arguments->noperands == 0 || !data)
    return cli_error(CLI_USAGE, "say which model and which data: pare eval MODEL.onnx --data FILE.npz");
  eval.path = arguments->operands[0];
  const pare_status status = pare_arrays_open(data, &eval.data);
  cli_exit code =
      status == PARE_OK ? cli_schedule_parse(arguments, &options[PARALLEL], &eval.schedule) : cli_fail(status);
  if (code == CLI_OK) code = cli_model_limits(cli_value(arguments, &options[LOOP_LIMIT]), &how);
  if (code == CLI_OK) code = cli_context_open(arguments->device, &eval.schedule.options, &eval.context);
  if (code == CLI_OK) code = open_model(&eval, &how);
  if (code == CLI_OK) code = evaluate(&eval, arguments);
  cli_confusion_free(&eval.confusion);
  cli_times_free(&eval.times);
  free(eval.input);
  free(eval.array);
  free(eval.output);
  pare_model_close(eval.model);
  pare_context_close(eval.context);
  pare_arrays_close(eval.data);
  return code;
}

const cli_command cli_cmd_eval = {
    .name = "eval",
    .summary = "measure how right and how fast a model is on a data set",
    .usage = "MODEL --data FILE.npz [--labels NAME] [--output NAME] [--batch COUNT] [--loop-limit COUNT] [--parallel "
             "HOW] [--policy NAME] "
             "[--objective NAME] [--stall TIME] [--trace FILE] [--stats] [-d SPEC] [--json]",
    .about = "Runs a model over all samples of an .npz file that holds an array for each input; the first dimension "
             "counts the samples. With labels: accuracy, precision, recall, F1 and the confusion matrix. Arrays that "
             "are called as outputs are compared by cosine. Also latency, throughput and memory.",
    .options = options,
    .max_operands = 1,
    .uses_device = true,
    .run = run,
};
