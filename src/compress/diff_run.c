/* What differs between the values that two models compute. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/model.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "compress/diff.h"
#include "compress/distance.h"
#include "compress/padding.h"
#include "graph/run.h"

/* A value that both main graphs compute. */
typedef struct shared_value {
  const char *name, *layer;
} shared_value;

typedef struct shared_values {
  pare__onnx_model *model[2];
  size_t count, capacity;
  shared_value *value; /* in the order of the first graph */
} shared_values;

/* ---- which values ---- */

static int by_text(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static bool has_name(const char *const *sorted, size_t count, const char *name) {
  return bsearch(&name, sorted, count, sizeof *sorted, by_text) != NULL;
}

/* All that the nodes of a graph compute, sorted; free it. */
static pare_status list_outputs(const pare__onnx_graph *graph, const char ***out, size_t *count) {
  size_t total = 0;
  for (size_t n = 0; n < graph->node.count; n++) total += graph->node.items[n].output.count;
  const char **names = calloc(total + 1, sizeof *names);
  if (!names) return pare__fail_memory("a list of values", total * sizeof *names);
  *count = 0;
  for (size_t n = 0; n < graph->node.count; n++)
    for (size_t i = 0; i < graph->node.items[n].output.count; i++) {
      const char *name = graph->node.items[n].output.items[i];
      if (name && *name) names[(*count)++] = name;
    }
  qsort(names, *count, sizeof *names, by_text);
  *out = names;
  return PARE_OK;
}

static pare_status find_shared(const pare_diff *diff, shared_values *out) {
  const char **names;
  size_t count;
  for (unsigned i = 0; i < 2; i++) PARE__TRY(pare__onnx_open(diff->path[i], &out->model[i]));
  PARE__TRY(list_outputs(out->model[1]->graph, &names, &count));
  const pare__onnx_graph *graph = out->model[0]->graph;
  pare_status status = PARE_OK;
  for (size_t n = 0; n < graph->node.count; n++) {
    const pare__onnx_node *node = &graph->node.items[n];
    if (node->op_type && strcmp(node->op_type, "Constant") == 0) continue;
    for (size_t i = 0; i < node->output.count && status == PARE_OK; i++) {
      const char *name = node->output.items[i];
      if (!name || !*name || !has_name(names, count, name)) continue;
      status = pare__array_grow((void **)&out->value, &out->capacity, out->count, sizeof *out->value);
      if (status == PARE_OK) out->value[out->count++] = (shared_value){name, node->name ? node->name : ""};
    }
  }
  free(names);
  return status;
}

static void close_shared(shared_values *shared) {
  pare__onnx_close(shared->model[0]);
  pare__onnx_close(shared->model[1]);
  free(shared->value);
}

/* ---- one run of both ---- */

typedef struct diff_job {
  pare_diff *diff;
  pare_context *context;
  const pare_model_options *options; /* NULL: the defaults */
  pare_tensor *const *inputs;
  pare__padding padding;
} diff_job;

typedef struct model_pair {
  pare_model *model[2];
  pare_tensor **input[2]; /* in the order of either; those of [1] belong to [0] */
  pare_tensor **output[2];
  size_t noutputs[2];
} model_pair;

static void close_pair(model_pair *pair) {
  for (unsigned m = 0; m < 2; m++) {
    for (size_t i = 0; pair->output[m] && i < pair->noutputs[m]; i++) pare_tensor_close(pair->output[m][i]);
    free(pair->output[m]);
    pare_model_close(pair->model[m]);
  }
  free(pair->input[1]);
}

/* The first model's inputs in the order of the second's. */
static pare_status order_inputs(model_pair *pair, pare_tensor *const *inputs) {
  const size_t count[2] = {pare_model_inputs(pair->model[0]), pare_model_inputs(pair->model[1])};
  pair->input[0] = (pare_tensor **)(uintptr_t)inputs;
  pair->input[1] = calloc(count[1] + 1, sizeof *pair->input[1]);
  if (!pair->input[1]) return pare__fail_memory("inputs", count[1] * sizeof *pair->input[1]);
  for (size_t i = 0; i < count[1]; i++) {
    pare_model_value wanted, found;
    PARE__TRY(pare_model_input(pair->model[1], i, &wanted));
    for (size_t k = 0; k < count[0] && !pair->input[1][i]; k++) {
      PARE__TRY(pare_model_input(pair->model[0], k, &found));
      if (strcmp(found.name, wanted.name) == 0) pair->input[1][i] = inputs[k];
    }
    if (!pair->input[1][i])
      return pare__fail(PARE_ERR_ARGUMENT, "the second model has an input '%.200s', the first one has not",
                        wanted.name);
  }
  return PARE_OK;
}

/* What is given for an input with a default is not dropped because the second model has none of that name. */
static pare_status check_overridden(const model_pair *pair, const pare_model_options *options) {
  for (size_t i = 0; i < pare_model_inputs(pair->model[0]); i++) {
    pare_model_value given;
    bool named = false, taken = false;
    PARE__TRY(pare_model_input(pair->model[0], i, &given));
    for (size_t k = 0; k < options->noverridden && !named; k++)
      named = options->overridden[k] && strcmp(options->overridden[k], given.name) == 0;
    for (size_t k = 0; k < pare_model_inputs(pair->model[1]) && !taken; k++)
      taken = pair->input[1][k] == pair->input[0][i];
    if (named && !taken)
      return pare__fail(PARE_ERR_ARGUMENT, "the first model has an input '%.200s', the second one has not", given.name);
  }
  return PARE_OK;
}

static pare_status open_pair(const diff_job *job, const pare__edits *edits, model_pair *out) {
  pare_model_options options = job->options ? *job->options : (pare_model_options)PARE_MODEL_OPTIONS_INIT;
  options.any_shape = true;
  for (unsigned m = 0; m < 2; m++) {
    PARE__TRY(pare__model_open_edited(job->context, job->diff->path[m], &options, edits, &out->model[m]));
    out->noutputs[m] = pare_model_outputs(out->model[m]);
    out->output[m] = calloc(out->noutputs[m] + 1, sizeof *out->output[m]);
    if (!out->output[m]) return pare__fail_memory("outputs", out->noutputs[m]);
  }
  PARE__TRY(order_inputs(out, job->inputs));
  PARE__TRY(check_overridden(out, &options));
  for (unsigned m = 0; m < 2; m++) PARE__TRY(pare_model_run(out->model[m], out->input[m], NULL, out->output[m]));
  return PARE_OK;
}

/* ---- comparing ---- */

static pare_status read_floats(pare_tensor *tensor, float **out) {
  const size_t nbytes = (size_t)pare_tensor_elements(tensor) * sizeof(float);
  *out = malloc(nbytes + 1);
  if (!*out) return pare__fail_memory("values", nbytes);
  if (pare_tensor_dtype(tensor) == PARE_F32) return pare_tensor_read(tensor, *out, nbytes);
  pare_tensor *cast;
  PARE__TRY(pare_tensor_create(pare_tensor_context(tensor), PARE_F32, pare_tensor_rank(tensor),
                               pare_tensor_shape(tensor), &cast));
  pare_status status = pare_cast(tensor, cast);
  if (status == PARE_OK) status = pare_tensor_read(cast, *out, nbytes);
  pare_tensor_close(cast);
  return status;
}

static void add_values(const pare__padding *padding, pare_tensor *tensor, const float *a, const float *b,
                       pare__distance_sums *sums) {
  const size_t total = (size_t)pare_tensor_elements(tensor), vector = pare__padding_vector(padding, tensor);
  if (vector == 0) pare__distance_add(sums, a, b, total);
  for (size_t i = 0; vector > 0 && i < total; i += vector)
    if (padding->counts[i / vector]) pare__distance_add(sums, a + i, b + i, vector);
}

static pare_status compare_tensors(const diff_job *job, pare_tensor *first, pare_tensor *second, pare_diff_row *row) {
  pare_diff *diff = job->diff;
  const int rank = pare_tensor_rank(first);
  if (!pare__dtype_is_real(pare_tensor_dtype(first)) || !pare__dtype_is_real(pare_tensor_dtype(second))) {
    if (row->kind == PARE_DIFF_VALUE) return PARE_OK; /* shapes, indices, codes */
    row->missing = "it is not of floats";
  } else if (rank != pare_tensor_rank(second) ||
             memcmp(pare_tensor_shape(first), pare_tensor_shape(second), (size_t)rank * sizeof(int64_t)) != 0) {
    row->missing = "the shapes differ";
  }
  if (row->missing) return pare__diff_add(diff, row);
  float *a = NULL, *b = NULL;
  pare__distance_sums sums = {0};
  pare_status status = read_floats(first, &a);
  if (status == PARE_OK) status = read_floats(second, &b);
  if (status == PARE_OK) add_values(&job->padding, first, a, b, &sums);
  free(a);
  free(b);
  PARE__TRY(status);
  row->elements = sums.count;
  row->distance = pare__distance_of(&sums);
  return pare__diff_add(diff, row);
}

static pare_status compare_outputs(diff_job *job) {
  pare_diff *diff = job->diff;
  model_pair pair = {0};
  pare_status status = open_pair(job, NULL, &pair);
  if (status == PARE_OK) status = pare__padding_read(pair.model[0], pair.input[0], &job->padding);
  for (size_t i = 0; i < pair.noutputs[0] && status == PARE_OK; i++) {
    pare_model_value first, second;
    size_t k = 0;
    status = pare_model_output(pair.model[0], i, &first);
    pare_diff_row row = {.kind = PARE_DIFF_OUTPUT, .name = first.name, .layer = "", .form = ""};
    for (; k < pair.noutputs[1] && status == PARE_OK; k++) {
      status = pare_model_output(pair.model[1], k, &second);
      if (status == PARE_OK && strcmp(first.name, second.name) == 0) break;
    }
    if (status != PARE_OK) break;
    if (k == pair.noutputs[1]) row.missing = "the second model does not have it";
    status =
        row.missing ? pare__diff_add(diff, &row) : compare_tensors(job, pair.output[0][i], pair.output[1][k], &row);
  }
  close_pair(&pair);
  return status;
}

/* Values [first, first + count) as outputs of both models; in halves where they do not fit the memory together. */
static pare_status compare_values(const diff_job *job, const shared_values *shared, size_t first, size_t count) {
  if (count == 0) return PARE_OK;
  model_pair pair = {0};
  const char **names = calloc(count, sizeof *names);
  if (!names) return pare__fail_memory("a list of values", count * sizeof *names);
  for (size_t i = 0; i < count; i++) names[i] = shared->value[first + i].name;
  pare_status status = open_pair(job, &(pare__edits){.noutputs = count, .output = names}, &pair);
  const bool halve = status == PARE_ERR_LIMIT && count > 1;
  for (size_t i = 0; i < count && status == PARE_OK; i++) {
    pare_diff_row row = {
        .kind = PARE_DIFF_VALUE, .name = names[i], .layer = shared->value[first + i].layer, .form = ""};
    status = compare_tensors(job, pair.output[0][i], pair.output[1][i], &row);
  }
  close_pair(&pair);
  free(names);
  if (!halve) return status;
  PARE__TRY(compare_values(job, shared, first, count / 2));
  return compare_values(job, shared, first + count / 2, count - count / 2);
}

pare_status pare_diff_run(pare_diff *diff, pare_context *context, const pare_model_options *options,
                          pare_tensor *const *inputs, bool each_value) {
  if (!diff || !context) return pare__fail_null("pare_diff_run", diff ? "context" : "diff");
  if (!inputs) return pare__fail_null("pare_diff_run", "inputs");
  if (!diff->runs) return pare__fail(PARE_ERR_UNSUPPORTED, "%s has no graph: there is nothing to run", diff->path[0]);
  diff_job job = {.diff = diff, .context = context, .options = options, .inputs = inputs};
  pare_status status = compare_outputs(&job);
  if (status == PARE_OK && each_value) {
    shared_values shared = {0};
    status = find_shared(diff, &shared);
    if (status == PARE_OK) status = compare_values(&job, &shared, 0, shared.count);
    close_shared(&shared);
  }
  pare__padding_close(&job.padding);
  if (status == PARE_OK) pare__diff_sort(diff);
  return status;
}
