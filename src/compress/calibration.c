/* Statistics of layers' inputs. SPDX-License-Identifier: Apache-2.0 */
#include "compress/calibration.h"

#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/reduce.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "compress/calibration_data.h"
#include "compress/histogram.h"
#include "compress/layer_input.h"
#include "graph/run.h"

#define MOST_BATCH 32
/* Of device memory, for what is collected in one pass; a quarter of the limit where there is one. */
#define MOST_BYTES ((uint64_t)512 << 20)
/* Elements that the host has at a time while it counts. */
#define COUNTED_AT_ONCE ((int64_t)1 << 20)
/* Of static activations. */
#define ACTIVATION_BITS 8

/* A value that layers read: those that read the same one share its statistics. */
struct tap {
  pare__layer_input input;
  pare__needs needs;
  bool collecting, collected;
  bool counted; /* into distributions */
  size_t depth; /* in sequence */
  pare__statistics statistics;
  pare_tensor *least, *most, *squares; /* f32 [1, inputs] */
};

/* Of a value as the layers get it that divide it by the same factors. */
struct distribution {
  size_t tap;
  const float *smooth; /* [factors]; NULL: 1 */
  int64_t factors;     /* the columns of a convolution are more, and repeat them */
  pare__histogram histogram;
};

struct pare__calibration {
  pare__compression *compression;
  const char *path;
  pare__calibration_data data;
  size_t ntaps, capacity;
  struct tap *taps;
  size_t *tap_of;            /* one a weight; SIZE_MAX: none */
  pare__layer_input *inputs; /* one a weight */
  size_t ndistributions, distributions_capacity;
  struct distribution **distributions; /* while ranges are looked for */
  size_t *depth;                       /* in sequence: one a weight; NULL: it is not */
  bool drifts;                         /* in sequence: the original runs beside */
  size_t nexchanged, exchanged_capacity, names_capacity;
  const char **exchanged; /* constants that data runs through with other elements */
  pare__content **content;
};

/* Lets the statistics go, not what is collected. */
static void drop(struct tap *tap) {
  pare_tensor_close(tap->statistics.hessian);
  pare_tensor_close(tap->statistics.drift);
  pare_tensor_close(tap->least);
  pare_tensor_close(tap->most);
  pare_tensor_close(tap->squares);
  free(tap->statistics.least);
  free(tap->statistics.most);
  free(tap->statistics.squares);
  tap->statistics = (pare__statistics){.inputs = tap->statistics.inputs};
  tap->least = tap->most = tap->squares = NULL;
}

static void drop_distributions(pare__calibration *calibration) {
  for (size_t i = 0; i < calibration->ndistributions; i++) {
    calibration->taps[calibration->distributions[i]->tap].counted = false;
    free(calibration->distributions[i]);
  }
  calibration->ndistributions = 0;
}

pare_status pare__calibration_open(pare__compression *compression, const char *path, pare__calibration **out) {
  const size_t nweights = compression->checkpoint->nweights;
  *out = NULL;
  if (!compression->checkpoint->runs)
    return pare__fail(PARE_ERR_UNSUPPORTED,
                      "%s has no graph that calibration data could run through; take an ONNX model",
                      compression->checkpoint->path);
  pare__calibration *calibration = calloc(1, sizeof *calibration);
  if (!calibration) return pare__fail_memory("a calibration", sizeof *calibration);
  calibration->compression = compression;
  calibration->path = path;
  calibration->tap_of = malloc((nweights + 1) * sizeof *calibration->tap_of);
  calibration->inputs = calloc(nweights + 1, sizeof *calibration->inputs);
  pare_status status = calibration->tap_of && calibration->inputs
                           ? PARE_OK
                           : pare__fail_memory("a calibration", nweights * sizeof *calibration->inputs);
  for (size_t i = 0; i < nweights && status == PARE_OK; i++) calibration->tap_of[i] = SIZE_MAX;
  if (status == PARE_OK)
    pare__layer_inputs_find((const pare__onnx_checkpoint *)compression->checkpoint, calibration->inputs);
  if (status == PARE_OK) status = pare__calibration_data_open(compression->checkpoint->path, path, &calibration->data);
  if (status == PARE_OK) {
    *out = calibration;
    return PARE_OK;
  }
  pare__calibration_close(calibration);
  return status;
}

void pare__calibration_close(pare__calibration *calibration) {
  if (!calibration) return;
  drop_distributions(calibration);
  free(calibration->distributions);
  pare__calibration_sequence_end(calibration);
  free(calibration->content);
  free(calibration->exchanged);
  pare__calibration_data_close(&calibration->data);
  free(calibration->taps);
  free(calibration->tap_of);
  free(calibration->inputs);
  free(calibration);
}

pare_status pare__calibration_want(pare__calibration *calibration, size_t weight, pare__needs needs,
                                   const char **reason) {
  const pare__layer_input *input = &calibration->inputs[weight];
  size_t t = 0;
  *reason = input->reason;
  if (input->reason) return PARE_OK;
  if (calibration->tap_of[weight] == SIZE_MAX) {
    while (t < calibration->ntaps && !pare__layer_input_same(&calibration->taps[t].input, input)) t++;
    if (t == calibration->ntaps) {
      PARE__TRY(pare__array_grow((void **)&calibration->taps, &calibration->capacity, calibration->ntaps,
                                 sizeof *calibration->taps));
      const pare__weight *described = &calibration->compression->checkpoint->weights[weight];
      calibration->taps[calibration->ntaps++] =
          (struct tap){.input = *input, .statistics.inputs = pare__weight_row_elements(described)};
    }
    calibration->tap_of[weight] = t;
  }
  struct tap *tap = &calibration->taps[calibration->tap_of[weight]];
  if ((tap->needs & needs) != needs) tap->collected = false;
  tap->needs |= needs;
  return PARE_OK;
}

bool pare__calibration_shared(const pare__calibration *calibration, size_t a, size_t b) {
  return calibration->tap_of[a] != SIZE_MAX && calibration->tap_of[a] == calibration->tap_of[b];
}

/* ---- one batch ---- */

static pare_status zeros(pare_context *context, int64_t rows, int64_t columns, pare_tensor **out) {
  const size_t count = (size_t)(rows * columns);
  float *values = calloc(count + 1, sizeof *values);
  if (!values) return pare__fail_memory("statistics", count * sizeof *values);
  const pare_status status =
      pare_tensor_from(context, PARE_F32, 2, (const int64_t[]){rows, columns}, values, count * sizeof *values, out);
  free(values);
  return status;
}

static pare_status read_floats(pare_tensor *range, float **out) {
  const size_t nbytes = (size_t)pare_tensor_elements(range) * sizeof(float);
  *out = malloc(nbytes + 1);
  if (!*out) return pare__fail_memory("statistics", nbytes);
  return pare_tensor_read(range, *out, nbytes);
}

static pare_status join(pare_tensor *vectors, pare_reduction reduction, pare_binary_operation operation,
                        pare_tensor *range) {
  static const int rows = 0;
  pare_tensor *found;
  PARE__TRY(pare_tensor_create(pare_tensor_context(vectors), PARE_F32, 2, pare_tensor_shape(range), &found));
  pare_status status = pare_reduce(vectors, reduction, &rows, 1, true, found);
  if (status == PARE_OK) status = pare_binary(operation, range, found, range);
  pare_tensor_close(found);
  return status;
}

/* Ranges are of all vectors: what is padded is quantised with the rest. Sums run over a batch in f32, and over batches
 * in f32: a relative error of 1e-6 or so, and damping adds a hundredth.
 */
static pare_status reduce(struct tap *tap, pare_tensor *all, pare_tensor *counted, pare_tensor *change) {
  const pare_gemm_options options = {.alpha = 1, .beta = 1, .transpose_a = true};
  if (tap->needs & PARE__NEEDS_HESSIAN) PARE__TRY(pare_gemm(counted, counted, NULL, &options, tap->statistics.hessian));
  if (change) PARE__TRY(pare_gemm(change, counted, NULL, &options, tap->statistics.drift));
  if (!(tap->needs & PARE__NEEDS_RANGES)) return PARE_OK;
  PARE__TRY(join(all, PARE_REDUCTION_MIN, PARE_BINARY_min, tap->least));
  PARE__TRY(join(all, PARE_REDUCTION_MAX, PARE_BINARY_max, tap->most));
  return join(counted, PARE_REDUCTION_SUM_SQUARE, PARE_BINARY_add, tap->squares);
}

struct batch {
  int64_t first, count;
  pare_tensor *mask; /* f32 [vectors, 1]; NULL: none */
  uint64_t counted;  /* vectors that the mask leaves */
};

/* Rows first … first + count - 1 of the vectors, those that the mask leaves. */
static pare_status count_rows(struct distribution *distribution, pare_tensor *vectors, const float *mask, int64_t first,
                              int64_t count, float *values) {
  const int64_t inputs = pare_tensor_shape(vectors)[1];
  pare_tensor *rows;
  PARE__TRY(pare_tensor_slice(vectors, 0, first, count, 1, &rows));
  const pare_status status = pare_tensor_read(rows, values, (size_t)(count * inputs) * sizeof *values);
  for (int64_t r = 0; r < count && status == PARE_OK; r++) {
    float *row = values + r * inputs;
    if (mask && mask[first + r] == 0) continue;
    for (int64_t i = 0; i < inputs && distribution->smooth; i++)
      row[i] *= distribution->smooth[i % distribution->factors];
    pare__histogram_add(&distribution->histogram, row, (size_t)inputs);
  }
  pare_tensor_close(rows);
  return status;
}

static pare_status count_vectors(struct distribution *distribution, pare_tensor *vectors, const float *mask) {
  const int64_t rows = pare_tensor_shape(vectors)[0], inputs = PARE__MAX(pare_tensor_shape(vectors)[1], 1);
  const int64_t most = PARE__MAX(1, COUNTED_AT_ONCE / inputs);
  float *values = malloc((size_t)(most * inputs) * sizeof *values);
  pare_status status = values ? PARE_OK : pare__fail_memory("values", (size_t)(most * inputs) * sizeof *values);
  for (int64_t first = 0; first < rows && status == PARE_OK; first += most)
    status = count_rows(distribution, vectors, mask, first, PARE__MIN(most, rows - first), values);
  free(values);
  return status;
}

/* Into every distribution of the tap. `mask` NULL: all vectors count. */
static pare_status count_all(const pare__calibration *calibration, size_t tap, pare_tensor *vectors,
                             pare_tensor *mask) {
  float *kept = NULL;
  if (!calibration->taps[tap].counted) return PARE_OK;
  pare_status status = mask ? read_floats(mask, &kept) : PARE_OK;
  for (size_t i = 0; i < calibration->ndistributions && status == PARE_OK; i++)
    if (calibration->distributions[i]->tap == tap) status = count_vectors(calibration->distributions[i], vectors, kept);
  free(kept);
  return status;
}

static pare_status vectors_of(const struct tap *tap, pare_tensor *value, pare_tensor **out) {
  pare_context *context = pare_tensor_context(value);
  pare_tensor *floats = NULL;
  pare_status status = PARE_OK;
  *out = NULL;
  if (pare_tensor_dtype(value) != PARE_F32) {
    status = pare_tensor_create(context, PARE_F32, pare_tensor_rank(value), pare_tensor_shape(value), &floats);
    if (status == PARE_OK) status = pare_cast(value, floats);
  }
  if (status == PARE_OK) status = pare__layer_input_vectors(&tap->input, floats ? floats : value, out);
  if (status == PARE_OK && pare_tensor_shape(*out)[1] != tap->statistics.inputs)
    status = pare__fail(PARE_ERR_SHAPE, "value '%s' gives vectors of %lld elements; its layer takes %lld",
                        tap->input.value, (long long)pare_tensor_shape(*out)[1], (long long)tap->statistics.inputs);
  pare_tensor_close(floats);
  return status;
}

/* What the original has more. */
static pare_status change_of(const struct tap *tap, pare_tensor *vectors, pare_tensor *original, pare_tensor **out) {
  pare_tensor *originals;
  pare_status status = vectors_of(tap, original, &originals);
  if (status == PARE_OK)
    status = pare_tensor_create(pare_tensor_context(vectors), PARE_F32, 2, pare_tensor_shape(vectors), out);
  if (status == PARE_OK) status = pare_binary(PARE_BINARY_sub, originals, vectors, *out);
  pare_tensor_close(originals);
  return status;
}

/* original NULL: no drift is asked for. */
static pare_status take(const pare__calibration *calibration, const struct batch *batch, size_t index,
                        pare_tensor *value, pare_tensor *original) {
  struct tap *tap = &calibration->taps[index];
  pare_tensor *vectors = NULL, *masked = NULL, *change = NULL;
  pare_status status = vectors_of(tap, value, &vectors);
  if (status == PARE_OK && original) status = change_of(tap, vectors, original, &change);
  static const int64_t none[2];
  const int64_t *dim = vectors ? pare_tensor_shape(vectors) : none;
  const bool masks =
      status == PARE_OK && batch->mask && !tap->input.convolution && dim[0] == pare_tensor_shape(batch->mask)[0];
  if (masks) status = pare_tensor_create(pare_tensor_context(value), PARE_F32, 2, dim, &masked);
  if (status == PARE_OK && masks) status = pare_binary(PARE_BINARY_mul, vectors, batch->mask, masked);
  if (status == PARE_OK) status = reduce(tap, vectors, masks ? masked : vectors, change);
  if (status == PARE_OK) status = count_all(calibration, index, vectors, masks ? batch->mask : NULL);
  if (status == PARE_OK) tap->statistics.nrows += masks ? batch->counted : (uint64_t)dim[0];
  pare_tensor_close(masked);
  pare_tensor_close(change);
  pare_tensor_close(vectors);
  return status;
}

/* What runs: the model as it becomes, and in sequence the original beside it. */
struct pair {
  pare_model *model, *original; /* NULL: none */
  pare_tensor **inputs, **outputs, **originals;
};

static void close_all(size_t count, pare_tensor **tensors) {
  for (size_t i = 0; i < count; i++) {
    pare_tensor_close(tensors[i]);
    tensors[i] = NULL;
  }
}

static pare_status run_batch(pare__calibration *calibration, struct pair *pair, struct batch *batch) {
  const pare__calibration_data *data = &calibration->data;
  pare_context *context = calibration->compression->all;
  pare_status status = pare__calibration_data_batch(data, context, batch->first, batch->count, pair->inputs);
  if (status == PARE_OK && data->mask)
    status = pare__calibration_data_mask(data, context, batch->first, batch->count, &batch->mask, &batch->counted);
  if (status == PARE_OK) status = pare_model_run(pair->model, pair->inputs, NULL, pair->outputs);
  if (status == PARE_OK && pair->original) status = pare_model_run(pair->original, pair->inputs, NULL, pair->originals);
  size_t next = 0;
  for (size_t t = 0; t < calibration->ntaps && status == PARE_OK; t++) {
    if (!calibration->taps[t].collecting) continue;
    const bool drifts = calibration->taps[t].needs & PARE__NEEDS_DRIFT;
    status = take(calibration, batch, t, pair->outputs[next], drifts ? pair->originals[next] : NULL);
    next++;
  }
  if (status == PARE_OK) status = pare_context_wait(context);
  close_all(data->ninputs, pair->inputs);
  close_all(pare_model_outputs(pair->model), pair->outputs);
  close_all(pare_model_outputs(pair->model), pair->originals);
  pare_tensor_close(batch->mask);
  return pare__calibration_data_blame(data, batch->first, batch->count, status);
}

/* ---- all batches ---- */

static pare_status begin_tap(pare_context *context, struct tap *tap) {
  const int64_t inputs = tap->statistics.inputs;
  tap->statistics.nrows = 0;
  if (tap->needs & PARE__NEEDS_HESSIAN) PARE__TRY(zeros(context, inputs, inputs, &tap->statistics.hessian));
  if (tap->needs & PARE__NEEDS_DRIFT) PARE__TRY(zeros(context, inputs, inputs, &tap->statistics.drift));
  if (!(tap->needs & PARE__NEEDS_RANGES)) return PARE_OK;
  PARE__TRY(zeros(context, 1, inputs, &tap->least));
  PARE__TRY(zeros(context, 1, inputs, &tap->most));
  return zeros(context, 1, inputs, &tap->squares);
}

static pare_status end_tap(const pare__calibration *calibration, struct tap *tap) {
  if (tap->needs & PARE__NEEDS_RANGES) {
    PARE__TRY(read_floats(tap->least, &tap->statistics.least));
    PARE__TRY(read_floats(tap->most, &tap->statistics.most));
    PARE__TRY(read_floats(tap->squares, &tap->statistics.squares));
    for (int64_t i = 0; i < tap->statistics.inputs; i++)
      if (!(tap->statistics.least[i] >= -3.4e38F && tap->statistics.most[i] <= 3.4e38F))
        return pare__fail(PARE_ERR_FORMAT, "calibration data %s makes value '%s' of the model NaN or infinite",
                          calibration->path, tap->input.value);
  }
  tap->collected = true;
  return PARE_OK;
}

/* Runs all samples, `batch` at a time. */
static pare_status run_all(pare__calibration *calibration, pare_model *model, pare_model *original, int64_t batch) {
  pare__compression *compression = calibration->compression;
  const int64_t total = calibration->data.nsamples;
  const size_t noutputs = pare_model_outputs(model);
  struct pair pair = {.model = model, .original = original};
  pair.inputs = calloc(calibration->data.ninputs + 1, sizeof(pare_tensor *));
  pair.outputs = calloc(noutputs + 1, sizeof(pare_tensor *));
  pair.originals = calloc(noutputs + 1, sizeof(pare_tensor *));
  pare_status status = pair.inputs && pair.outputs && pair.originals
                           ? PARE_OK
                           : pare__fail_memory("a batch", noutputs * sizeof(pare_tensor *));
  for (size_t t = 0; t < calibration->ntaps && status == PARE_OK; t++)
    if (calibration->taps[t].collecting) status = begin_tap(compression->all, &calibration->taps[t]);
  for (size_t i = 0; i < calibration->ndistributions; i++)
    memset(calibration->distributions[i]->histogram.count, 0, sizeof calibration->distributions[i]->histogram.count);
  for (int64_t first = 0; first < total && status == PARE_OK; first += batch) {
    char what[64];
    snprintf(what, sizeof what, "calibrating: sample %lld of %lld", (long long)first, (long long)total);
    pare__compression_advance(compression, 0, what);
    struct batch now = {.first = first, .count = PARE__MIN(batch, total - first)};
    status = run_batch(calibration, &pair, &now);
  }
  for (size_t t = 0; t < calibration->ntaps && status == PARE_OK; t++)
    if (calibration->taps[t].collecting) status = end_tap(calibration, &calibration->taps[t]);
  free(pair.originals);
  free(pair.outputs);
  free(pair.inputs);
  return status;
}

static uint64_t tap_bytes(const struct tap *tap) {
  const uint64_t inputs = (uint64_t)tap->statistics.inputs;
  const uint64_t hessian = tap->needs & PARE__NEEDS_HESSIAN ? inputs * inputs : 2 * inputs;
  return (hessian + (tap->needs & PARE__NEEDS_DRIFT ? inputs * inputs : 0)) * sizeof(float);
}

/* The tap and those after it that are still needed, as many as fit. */
static size_t choose_taps(pare__calibration *calibration, size_t wanted) {
  pare_memory_usage memory = {0};
  size_t count = 0;
  pare_context_memory(calibration->compression->context, &memory);
  const uint64_t most = memory.limit_bytes > 0 ? PARE__MIN(memory.limit_bytes / 4, MOST_BYTES) : MOST_BYTES;
  uint64_t used = 0;
  for (size_t t = 0; t < calibration->ntaps; t++) {
    struct tap *tap = &calibration->taps[t];
    if (t != wanted && (t < wanted || used + tap_bytes(tap) > most)) continue;
    if (tap->depth != calibration->taps[wanted].depth) continue;
    tap->collecting = true;
    used += tap_bytes(tap);
    count++;
  }
  return count;
}

static pare_status collect(pare__calibration *calibration, size_t wanted) {
  pare__compression *compression = calibration->compression;
  for (size_t t = 0; t < calibration->ntaps; t++) {
    drop(&calibration->taps[t]);
    calibration->taps[t].collecting = calibration->taps[t].collected = false;
  }
  const size_t count = choose_taps(calibration, wanted);
  const char **names = calloc(count + 1, sizeof *names);
  if (!names) return pare__fail_memory("a calibration", count * sizeof *names);
  size_t next = 0;
  for (size_t t = 0; t < calibration->ntaps; t++)
    if (calibration->taps[t].collecting) names[next++] = calibration->taps[t].input.value;
  pare__edits edits = {.noutputs = count, .output = names};
  const pare_model_options options = pare__calibration_data_options(&calibration->data);
  pare_model *model = NULL, *original = NULL;
  pare_status status = PARE_OK;
  if (calibration->drifts)
    status = pare__model_open_edited(compression->all, compression->checkpoint->path, &options, &edits, &original);
  edits.nconstants = calibration->nexchanged;
  edits.constant = calibration->exchanged;
  edits.content = calibration->content;
  if (status == PARE_OK)
    status = pare__model_open_edited(compression->all, compression->checkpoint->path, &options, &edits, &model);
  free(names);
  int64_t batch = calibration->data.batch > 0 ? calibration->data.batch : MOST_BATCH;
  if (status == PARE_OK) status = run_all(calibration, model, original, batch);
  while (status == PARE_ERR_LIMIT && model && calibration->data.batch == 0 && batch > 1) {
    batch /= 2;
    for (size_t t = 0; t < calibration->ntaps; t++)
      if (calibration->taps[t].collecting) drop(&calibration->taps[t]);
    status = run_all(calibration, model, original, batch);
  }
  pare_model_close(model);
  pare_model_close(original);
  return status;
}

pare_status pare__calibration_statistics(pare__calibration *calibration, size_t weight, pare__needs needs,
                                         const pare__statistics **out) {
  const size_t t = calibration->tap_of[weight];
  *out = NULL;
  if (t == SIZE_MAX || (calibration->taps[t].needs & needs) != needs)
    return pare__fail(PARE_ERR_ARGUMENT, "the inputs of '%s' were not announced to calibration",
                      calibration->compression->checkpoint->weights[weight].name);
  if (!calibration->taps[t].collected) PARE__TRY(collect(calibration, t));
  *out = &calibration->taps[t].statistics;
  return PARE_OK;
}

/* ---- in sequence ---- */

pare_status pare__calibration_sequence_begin(pare__calibration *calibration, const bool *changed, bool drift,
                                             const size_t **depth) {
  const pare__checkpoint *checkpoint = calibration->compression->checkpoint;
  const size_t nweights = checkpoint->nweights;
  calibration->depth = calloc(nweights + 1, sizeof *calibration->depth);
  if (!calibration->depth) return pare__fail_memory("a calibration", nweights * sizeof *calibration->depth);
  PARE__TRY(
      pare__layer_depths((const pare__onnx_checkpoint *)checkpoint, calibration->inputs, changed, calibration->depth));
  for (size_t i = 0; i < nweights; i++) {
    if (calibration->tap_of[i] == SIZE_MAX) continue;
    struct tap *tap = &calibration->taps[calibration->tap_of[i]];
    tap->depth = calibration->depth[i];
    tap->collected = false;
    if (drift && tap->needs & PARE__NEEDS_HESSIAN) tap->needs |= PARE__NEEDS_DRIFT;
  }
  calibration->drifts = drift;
  *depth = calibration->depth;
  return PARE_OK;
}

void pare__calibration_sequence_end(pare__calibration *calibration) {
  for (size_t i = 0; i < calibration->nexchanged; i++) pare__content_release(calibration->content[i]);
  calibration->nexchanged = 0;
  free(calibration->depth);
  calibration->depth = NULL;
  calibration->drifts = false;
  for (size_t t = 0; t < calibration->ntaps; t++) {
    struct tap *tap = &calibration->taps[t];
    drop(tap);
    tap->collected = false;
    tap->depth = 0;
    tap->needs &= ~(unsigned)PARE__NEEDS_DRIFT;
  }
}

/* Elements of a canonical weight in the order of the file. */
static pare_status as_in_file(const pare__weight *weight, const float *canonical, pare__content *out) {
  const int64_t rows = pare__weight_rows(weight), columns = pare__weight_row_elements(weight);
  int64_t row_step, *column_at;
  const pare_status status = pare__weight_columns(weight, columns, &row_step, &column_at);
  for (int64_t r = 0; r < rows && status == PARE_OK; r++)
    for (int64_t c = 0; c < columns; c++)
      pare__store(weight->dtype, out->owned, (size_t)(r * row_step + column_at[c]), canonical[r * columns + c]);
  free(column_at);
  return status;
}

pare_status pare__calibration_exchange(pare__calibration *calibration, size_t index, const float *canonical) {
  const pare__onnx_checkpoint *checkpoint = (const pare__onnx_checkpoint *)calibration->compression->checkpoint;
  const pare__weight *weight = &checkpoint->base.weights[index];
  if (checkpoint->weights[index].graph != checkpoint->model->graph) return PARE_OK;
  PARE__TRY(pare__array_grow((void **)&calibration->exchanged, &calibration->names_capacity, calibration->nexchanged,
                             sizeof *calibration->exchanged));
  PARE__TRY(pare__array_grow((void **)&calibration->content, &calibration->exchanged_capacity, calibration->nexchanged,
                             sizeof *calibration->content));
  pare__content *content;
  PARE__TRY(pare__content_create(weight->dtype, weight->rank, weight->dim, NULL, &content));
  const pare_status status = as_in_file(weight, canonical, content);
  if (status != PARE_OK) {
    pare__content_release(content);
    return status;
  }
  calibration->exchanged[calibration->nexchanged] = checkpoint->weights[index].value;
  calibration->content[calibration->nexchanged++] = content;
  return PARE_OK;
}

/* ---- static activations ---- */

static bool is_static(const pare__compression *compression, size_t step, size_t weight) {
  const pare__treatment *treatment = &compression->treatments[weight];
  return pare__treats(treatment, step) && treatment->storage == PARE__STORE_INTEGER &&
         treatment->grid.activations == PARE__ACTIVATIONS_STATIC;
}

static pare_status set_range(pare__compression *compression, size_t weight) {
  pare__treatment *treatment = &compression->treatments[weight];
  const int64_t inputs = pare__weight_inputs(&compression->checkpoint->weights[weight]);
  const pare__statistics *statistics;
  PARE__TRY(pare__calibration_statistics(compression->calibration, weight, PARE__NEEDS_RANGES, &statistics));
  for (int64_t i = 0; i < statistics->inputs; i++) {
    const float smooth = treatment->smooth ? treatment->smooth[i % inputs] : 1;
    treatment->range[0] = PARE__MIN(treatment->range[0], statistics->least[i] * smooth);
    treatment->range[1] = PARE__MAX(treatment->range[1], statistics->most[i] * smooth);
  }
  return PARE_OK;
}

/* Does the observer look at more than least and most? */
static bool is_counted(const pare__compression *compression, size_t step, size_t weight) {
  return is_static(compression, step, weight) && compression->treatments[weight].grid.observer != PARE__OBSERVE_MINMAX;
}

/* That of what the weight is multiplied with; NULL: there is none. */
static struct distribution *find_distribution(const pare__calibration *calibration, size_t weight) {
  const float *smooth = calibration->compression->treatments[weight].smooth;
  for (size_t i = 0; i < calibration->ndistributions; i++) {
    struct distribution *one = calibration->distributions[i];
    if (one->tap == calibration->tap_of[weight] && one->smooth == smooth) return one;
  }
  return NULL;
}

/* The value will be counted between the ends that are known of it. */
static pare_status add_distribution(pare__calibration *calibration, size_t weight) {
  const pare__treatment *treatment = &calibration->compression->treatments[weight];
  const size_t tap = calibration->tap_of[weight];
  if (find_distribution(calibration, weight)) return PARE_OK;
  PARE__TRY(pare__array_grow((void **)&calibration->distributions, &calibration->distributions_capacity,
                             calibration->ndistributions, sizeof(struct distribution *)));
  struct distribution *added = calloc(1, sizeof *added);
  if (!added) return pare__fail_memory("a histogram", sizeof *added);
  added->tap = tap;
  added->smooth = treatment->smooth;
  added->factors = pare__weight_inputs(&calibration->compression->checkpoint->weights[weight]);
  added->histogram.low = treatment->range[0];
  added->histogram.high = treatment->range[1];
  calibration->distributions[calibration->ndistributions++] = added;
  calibration->taps[tap].counted = true;
  calibration->taps[tap].collected = false;
  return PARE_OK;
}

/* Runs the data through the model once more, unless an earlier weight's distribution came with this one's. */
static pare_status narrow_range(pare__compression *compression, size_t weight) {
  pare__treatment *treatment = &compression->treatments[weight];
  const pare__statistics *statistics;
  PARE__TRY(pare__calibration_statistics(compression->calibration, weight, PARE__NEEDS_RANGES, &statistics));
  const pare__histogram *histogram = &find_distribution(compression->calibration, weight)->histogram;
  if (treatment->grid.observer == PARE__OBSERVE_PERCENTILE)
    pare__histogram_percentile(histogram, treatment->grid.percentile / 100, treatment->range);
  else
    pare__histogram_least_error(histogram, ACTIVATION_BITS, false, treatment->range);
  return PARE_OK;
}

static pare_status count_ranges(pare__compression *compression, size_t step) {
  const size_t nweights = compression->checkpoint->nweights;
  for (size_t i = 0; i < nweights; i++)
    if (is_counted(compression, step, i)) PARE__TRY(add_distribution(compression->calibration, i));
  for (size_t i = 0; i < nweights; i++)
    if (is_counted(compression, step, i)) PARE__TRY(narrow_range(compression, i));
  return PARE_OK;
}

pare_status pare__calibration_ranges(pare__compression *compression, size_t step) {
  const size_t nweights = compression->checkpoint->nweights;
  for (size_t i = 0; i < nweights; i++) {
    const char *name = compression->checkpoint->weights[i].name, *reason = NULL;
    if (!is_static(compression, step, i)) continue;
    PARE__TRY(pare__calibration_want(compression->calibration, i, PARE__NEEDS_RANGES, &reason));
    if (reason)
      return pare__fail(PARE_ERR_UNSUPPORTED, "no static activations for '%.100s': %s; ignore it, or make them dynamic",
                        name, reason);
  }
  for (size_t i = 0; i < nweights; i++)
    if (is_static(compression, step, i)) PARE__TRY(set_range(compression, i));
  if (!compression->calibration) return PARE_OK;
  const pare_status status = count_ranges(compression, step);
  drop_distributions(compression->calibration);
  return status;
}
