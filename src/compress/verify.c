/* Running an export beside the model that it was made of. SPDX-License-Identifier: Apache-2.0 */
#include "compress/verify.h"

#include <math.h>
#include <pare/model.h>
#include <pare/random.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "compress/calibration_data.h"
#include "compress/padding.h"

#define SEED 5
#define MOST_SAMPLES 8 /* of calibration inputs */

struct run {
  pare_context *context;
  pare_model *model;
  size_t ninputs, noutputs;
  pare_tensor **inputs, **outputs;
};

static void close_tensors(size_t count, pare_tensor **tensors) {
  for (size_t i = 0; tensors && i < count; i++) {
    pare_tensor_close(tensors[i]);
    tensors[i] = NULL;
  }
}

static void close_run(struct run *run) {
  close_tensors(run->ninputs, run->inputs);
  close_tensors(run->noutputs, run->outputs);
  free(run->inputs);
  free(run->outputs);
  pare_model_close(run->model);
}

/* ---- inputs ---- */

/* What the dimensions are that a model leaves open: the batch is dimension 0, or with first_open the first that is. */
struct sizes {
  int64_t batch, size;
  bool first_open;
};

static pare_status random_input(struct run *run, size_t index, const struct sizes *sizes) {
  pare_model_value value;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare_model_input(run->model, index, &value));
  if (value.rank < 0 || value.dtype == PARE_NDTYPES)
    return pare__fail(PARE_ERR_UNSUPPORTED, "input '%.100s' has no known %s", value.name,
                      value.rank < 0 ? "rank" : "dtype");
  for (int d = 0, nopen = 0; d < value.rank; d++) {
    const bool is_batch = sizes->first_open ? nopen == 0 : d == 0;
    dim[d] = value.dim[d] >= 0 ? value.dim[d] : is_batch ? sizes->batch : sizes->size;
    nopen += value.dim[d] < 0;
  }
  PARE__TRY(pare_tensor_create(run->context, value.dtype, value.rank, dim, &run->inputs[index]));
  if (pare__dtype_is_float(value.dtype)) return pare_random_normal(SEED, index, 0, 1, run->inputs[index]);
  return pare_random_bernoulli(SEED, index, 0.5, run->inputs[index]); /* 0 and 1 are in every table */
}

static pare_status run_once(struct run *run) {
  close_tensors(run->noutputs, run->outputs);
  PARE__TRY(pare_model_run(run->model, run->inputs, NULL, run->outputs));
  return pare_context_wait(run->context);
}

/* Random inputs in sizes that the model takes: those that it leaves open are tried out. */
static pare_status try_sizes(struct run *run) {
  static const struct sizes trials[] = {{2, 8, false},   {1, 32, false}, {1, 64, false}, {1, 224, false}, {1, 1, false},
                                        {1, 512, false}, {1, 32, true},  {1, 224, true}, {1, 512, true}};
  pare_status status = PARE_OK;
  for (size_t s = 0; s < PARE__COUNT(trials); s++) {
    status = PARE_OK;
    close_tensors(run->ninputs, run->inputs);
    for (size_t i = 0; i < run->ninputs && status == PARE_OK; i++) status = random_input(run, i, &trials[s]);
    if (status == PARE_OK) status = run_once(run);
    if (status != PARE_ERR_SHAPE && status != PARE_ERR_ARGUMENT) return status;
  }
  return pare__fail(status,
                    "the original runs on none of the random inputs that were tried, so nothing can be verified: give "
                    "inputs that it takes (calibration), or do without (--no-verify, skip_verify); the last said: %s",
                    pare_message());
}

/* What models are run on: calibration inputs, or random ones if there are none. */
struct given {
  pare__calibration_data data;
  pare_model_options options; /* to open both models with: what the data have in place of defaults */
};

static pare_status open_given(const char *path, const char *calibration, struct given *out) {
  *out = (struct given){.options = PARE_MODEL_OPTIONS_INIT};
  if (!calibration) return PARE_OK;
  PARE__TRY(pare__calibration_data_open(path, calibration, &out->data));
  out->options = pare__calibration_data_options(&out->data);
  return PARE_OK;
}

static pare_status run_old(struct run *run, const struct given *given) {
  const pare__calibration_data *data = &given->data;
  if (!data->arrays) return try_sizes(run);
  const int64_t count = data->batch > 0 ? data->batch : PARE__MIN(data->nsamples, MOST_SAMPLES);
  PARE__TRY(pare__calibration_data_batch(data, run->context, 0, count, run->inputs));
  return pare__calibration_data_blame(data, 0, count, run_once(run));
}

static pare_status open_run(pare_context *context, const char *path, const struct given *given, struct run *out) {
  *out = (struct run){.context = context};
  PARE__TRY(pare_model_open(context, path, &given->options, &out->model));
  out->ninputs = pare_model_inputs(out->model);
  out->noutputs = pare_model_outputs(out->model);
  out->inputs = calloc(out->ninputs + 1, sizeof(pare_tensor *));
  out->outputs = calloc(out->noutputs + 1, sizeof(pare_tensor *));
  return out->inputs && out->outputs ? PARE_OK : pare__fail_memory("a run", 64);
}

/* ---- outputs ---- */

/* All elements on the host; free them. */
static pare_status read_output(pare_tensor *tensor, void **data) {
  const size_t nbytes = (size_t)pare_tensor_elements(tensor) * pare_dtype_bytes(pare_tensor_dtype(tensor));
  *data = malloc(nbytes + 1);
  if (!*data) return pare__fail_memory("an output", nbytes);
  return pare_tensor_read(tensor, *data, nbytes);
}

static bool same_shape(pare_tensor *a, pare_tensor *b) {
  return pare_tensor_dtype(a) == pare_tensor_dtype(b) && pare_tensor_rank(a) == pare_tensor_rank(b) &&
         memcmp(pare_tensor_shape(a), pare_tensor_shape(b), (size_t)pare_tensor_rank(a) * sizeof(int64_t)) == 0;
}

static pare_status compare(pare_tensor *before, pare_tensor *after, const pare__padding *padding, const char *output,
                           const char *name, pare__distance_sums *out) {
  const size_t vector = pare__padding_vector(padding, before);
  void *a = NULL, *b = NULL;
  size_t broken = 0;
  *out = (pare__distance_sums){0};
  if (!same_shape(before, after))
    return pare__fail(PARE_ERR_FORMAT,
                      "verifying %s: output '%.100s' has another shape or dtype than before; nothing "
                      "was put in its place",
                      name, output);
  pare_status status = read_output(before, &a);
  if (status == PARE_OK) status = read_output(after, &b);
  const pare_dtype dtype = pare_tensor_dtype(before);
  for (int64_t i = 0; status == PARE_OK && i < pare_tensor_elements(before); i++) {
    const double x = pare__load(dtype, a, (size_t)i), y = pare__load(dtype, b, (size_t)i);
    if (!isfinite(x)) continue;
    broken += !isfinite(y);
    if (!isfinite(y) || (vector > 0 && !padding->counts[(size_t)i / vector])) continue;
    const pare__distance_sums one = {1, x * x, y * y, x * y, (x - y) * (x - y), fabs(x - y)};
    pare__distance_join(out, &one);
  }
  free(a);
  free(b);
  if (status == PARE_OK && broken > 0)
    return pare__fail(PARE_ERR_FORMAT,
                      "verifying %s: output '%.100s' has %zu NaN or infinities that the original's "
                      "has not; nothing was put in its place",
                      name, output, broken);
  return status;
}

/* ---- references ---- */

struct pare__reference {
  struct run run; /* its model is closed: the weights of both are never in memory together */
  struct given given;
  pare__padding padding;
};

pare_status pare__reference_open(pare_context *context, const char *path, const char *calibration,
                                 pare__reference **out) {
  pare__reference *reference = calloc(1, sizeof *reference);
  *out = NULL;
  if (!reference) return pare__fail_memory("a run", sizeof *reference);
  pare_status status = open_given(path, calibration, &reference->given);
  if (status == PARE_OK) status = open_run(context, path, &reference->given, &reference->run);
  if (status == PARE_OK) status = run_old(&reference->run, &reference->given);
  if (status == PARE_OK) status = pare__padding_read(reference->run.model, reference->run.inputs, &reference->padding);
  if (status != PARE_OK) {
    pare__reference_close(reference);
    return status;
  }
  pare_model_close(reference->run.model);
  reference->run.model = NULL;
  *out = reference;
  return PARE_OK;
}

void pare__reference_close(pare__reference *reference) {
  if (!reference) return;
  close_run(&reference->run);
  pare__padding_close(&reference->padding);
  pare__calibration_data_close(&reference->given.data);
  free(reference);
}

static pare_status run_new(const struct run *before, struct run *after) {
  memcpy(after->inputs, before->inputs, before->ninputs * sizeof(pare_tensor *));
  const pare_status status = run_once(after);
  memset(after->inputs, 0, after->ninputs * sizeof(pare_tensor *));
  return status;
}

pare_status pare__reference_compare(pare__reference *reference, const char *path, const char *name,
                                    pare__output_distance each, void *user) {
  const struct run *before = &reference->run;
  struct run after;
  pare_status status = open_run(before->context, path, &reference->given, &after);
  if (status == PARE_OK && (after.ninputs != before->ninputs || after.noutputs != before->noutputs))
    status = pare__fail(PARE_ERR_FORMAT, "verifying %s: it has other inputs or outputs than the original", name);
  if (status == PARE_OK) status = run_new(before, &after);
  for (size_t i = 0; i < after.noutputs && status == PARE_OK; i++) {
    pare_model_value value;
    pare__distance_sums sums;
    status = pare_model_output(after.model, i, &value);
    if (status == PARE_OK)
      status = compare(before->outputs[i], after.outputs[i], &reference->padding, value.name, name, &sums);
    if (status == PARE_OK) each(user, value.name, &sums);
  }
  close_run(&after);
  return status;
}

struct noting {
  pare_report *report;
  pare_status status;
};

static void note_output(void *user, const char *output, const pare__distance_sums *sums) {
  struct noting *noting = user;
  if (noting->status == PARE_OK) noting->status = pare__report_output(noting->report, output, sums);
}

pare_status pare__verify(pare_context *context, const char *old_path, const char *new_path, const char *name,
                         const char *calibration, pare_report *report) {
  struct noting noting = {report, PARE_OK};
  pare__reference *reference;
  PARE__TRY(pare__reference_open(context, old_path, calibration, &reference));
  pare_status status = pare__reference_compare(reference, new_path, name, note_output, &noting);
  if (status == PARE_OK) status = noting.status;
  pare__reference_close(reference);
  report->summary.verified = status == PARE_OK;
  report->summary.calibrated_inputs = calibration != NULL;
  return status;
}

/* ---- speed ---- */

struct timed {
  struct run run;
  pare_model_step *steps; /* of the first turn, with the least seconds of all */
  size_t nsteps;
};

static pare_status time_turn(struct timed *timed) {
  pare_model_step *steps = NULL;
  size_t nsteps = 0;
  close_tensors(timed->run.noutputs, timed->run.outputs);
  PARE__TRY(pare_model_profile(timed->run.model, timed->run.inputs, timed->run.outputs, &steps, &nsteps));
  if (!timed->steps) {
    timed->steps = steps;
    timed->nsteps = nsteps;
    return PARE_OK;
  }
  for (size_t i = 0; i < nsteps && nsteps == timed->nsteps; i++)
    timed->steps[i].seconds = PARE__MIN(timed->steps[i].seconds, steps[i].seconds);
  pare_model_steps_free(steps);
  return PARE_OK;
}

pare_status pare__compare_speed(pare_context *context, const char *old_path, const char *new_path,
                                const char *calibration, int turns, pare__speeds each, void *user) {
  struct timed before = {0}, after = {0};
  struct given given;
  pare_status status = open_given(old_path, calibration, &given);
  if (status == PARE_OK) status = open_run(context, old_path, &given, &before.run);
  if (status == PARE_OK) status = run_old(&before.run, &given);
  if (status == PARE_OK) status = open_run(context, new_path, &given, &after.run);
  if (status == PARE_OK && after.run.ninputs != before.run.ninputs)
    status = pare__fail(PARE_ERR_FORMAT, "%s has other inputs than %s", new_path, old_path);
  if (status == PARE_OK) status = run_new(&before.run, &after.run);
  if (status == PARE_OK) memcpy(after.run.inputs, before.run.inputs, before.run.ninputs * sizeof(pare_tensor *));
  for (int turn = 0; turn < turns && status == PARE_OK; turn++) {
    status = time_turn(&before);
    if (status == PARE_OK) status = time_turn(&after);
  }
  if (after.run.inputs) memset(after.run.inputs, 0, after.run.ninputs * sizeof(pare_tensor *));
  if (status == PARE_OK) each(user, before.steps, before.nsteps, after.steps, after.nsteps);
  pare_model_steps_free(after.steps);
  pare_model_steps_free(before.steps);
  close_run(&after.run);
  close_run(&before.run);
  pare__calibration_data_close(&given.data);
  return status;
}
