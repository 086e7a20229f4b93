/* Looking at files of tensors, and at the values of tensors. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <math.h>
#include <pare/arrays.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"
#include "graph/inspect.h"

/* ---- safetensors ---- */

bool pare__inspect_is_safetensors(const char *path) {
  uint8_t head[16];
  FILE *file = fopen(path, "rb");
  const size_t nread = file ? fread(head, 1, sizeof head, file) : 0;
  if (file) fclose(file);
  return pare__safetensors_looks_like(head, nread);
}

/* What a tensor of codes stands for, in words. */
static pare_status tell_matrix(pare_inspection *inspection, const pare__safetensors_tensor *tensor, const char **out) {
  const pare__quantised *matrix = pare__quantised_of_codes(&inspection->quantised, tensor);
  *out = "";
  if (!matrix) return PARE_OK;
  char *text = *matrix->why ? pare__format("%s: %s", matrix->name, matrix->why)
                            : pare__format("%s: %s [%" PRId64 ", %" PRId64 "]", matrix->form, matrix->name,
                                           matrix->rows, matrix->columns);
  if (!text) return pare__fail_memory("a text", strlen(matrix->name));
  const pare_status status = pare__arena_text(&inspection->texts, text, strlen(text), out);
  free(text);
  return status;
}

pare_status pare__inspect_safetensors(pare_inspection *inspection, const char *path) {
  PARE__TRY(pare__safetensors_open(path, &inspection->safetensors));
  PARE__TRY(pare__quantised_open(path, &inspection->safetensors, &inspection->quantised));
  const pare__safetensors *file = &inspection->safetensors;
  inspection->info = (pare_model_info){.format = "safetensors",
                                       .producer_name = "",
                                       .producer_version = "",
                                       .domain = "",
                                       .graph_name = "",
                                       .description = "",
                                       .nmetadata = file->ntexts};
  for (size_t i = 0; i < file->ntensors; i++) {
    const pare__safetensors_tensor *tensor = &file->tensor[i];
    const char *quantised;
    PARE__TRY(tell_matrix(inspection, tensor, &quantised));
    PARE__TRY(pare__inspect_add(inspection,
                                &(pare_tensor_info){.name = tensor->name,
                                                    .dtype_name = pare__safetensors_dtype_name(tensor->dtype),
                                                    .rank = tensor->rank,
                                                    .dim = tensor->dim,
                                                    .file = "",
                                                    .quantised = quantised},
                                tensor->nbytes));
  }
  return PARE_OK;
}

/* ---- values ---- */

/* The elements of a tensor, flat; *content holds them if they had to be found. */
static pare_status elements_of(const pare_inspection *inspection, size_t index, pare__content **content,
                               pare_array *out) {
  const pare_tensor_info *info = &inspection->tensor[index];
  *content = NULL;
  *out = (pare_array){.name = info->name, .rank = 1, .dim = {(int64_t)info->elements}};
  if (!inspection->onnx) {
    const pare__safetensors_tensor *tensor = &inspection->safetensors.tensor[index];
    if (!pare__safetensors_dtype_to_pare(tensor->dtype, &out->dtype))
      return pare__fail(PARE_ERR_UNSUPPORTED, "tensor '%.200s': pare has no numbers of dtype %s", info->name,
                        info->dtype_name);
    out->data = tensor->data;
    out->nbytes = tensor->nbytes;
    return PARE_OK;
  }
  if (info->sparse) return pare__fail(PARE_ERR_UNSUPPORTED, "tensor '%.200s' is sparse", info->name);
  PARE__TRY(pare__content_of_tensor(inspection->onnx->source, inspection->source[index], content));
  out->dtype = (*content)->dtype;
  out->data = (*content)->data;
  out->nbytes = (*content)->nbytes;
  return PARE_OK;
}

/* Mean and spread of values that come in pieces (Welford 1962). */
typedef struct moments {
  double mean, squares;
  uint64_t finite;
} moments;

static void count_values(const pare_array *array, moments *sums, pare_histogram *out) {
  const size_t count = array->nbytes / pare_dtype_bytes(array->dtype);
  out->values += count;
  for (size_t i = 0; i < count; i++) {
    const double value = pare_array_number(array, i);
    if (isnan(value)) out->nans++;
    if (isinf(value)) out->infinities++;
    if (!isfinite(value)) continue;
    if (value == 0) out->zeros++;
    if (sums->finite == 0 || value < out->minimum) out->minimum = value;
    if (sums->finite == 0 || value > out->maximum) out->maximum = value;
    const double step = value - sums->mean;
    sums->finite++;
    sums->mean += step / (double)sums->finite;
    sums->squares += step * (value - sums->mean);
  }
  out->mean = sums->mean;
  out->deviation = sums->finite > 0 ? sqrt(sums->squares / (double)sums->finite) : 0;
}

static void fill_bins(const pare_array *array, pare_histogram *out) {
  const size_t count = array->nbytes / pare_dtype_bytes(array->dtype);
  const double width = out->maximum - out->minimum, scale = width > 0 ? PARE_HISTOGRAM_BINS / width : 0;
  for (size_t i = 0; i < count; i++) {
    const double value = pare_array_number(array, i);
    if (!isfinite(value)) continue;
    const double place = (value - out->minimum) * scale;
    out->bin[place < PARE_HISTOGRAM_BINS ? (size_t)place : PARE_HISTOGRAM_BINS - 1]++;
  }
}

/* A row at a time: what codes stand for may be many times as large as they are. */
static pare_status spread_of_matrix(const pare__quantised *matrix, pare_histogram *out) {
  if (*matrix->why) return pare__fail(PARE_ERR_UNSUPPORTED, "tensor '%.200s': %s", matrix->codes->name, matrix->why);
  moments sums = {0};
  pare_array row = {.name = matrix->name, .dtype = PARE_F32, .rank = 1, .dim = {matrix->columns}};
  if (!pare__size_mul((size_t)matrix->columns, sizeof(float), &row.nbytes))
    return pare__fail_memory("a row of a weight", SIZE_MAX);
  float *values = malloc(row.nbytes);
  if (!values) return pare__fail_memory("a row of a weight", row.nbytes);
  row.data = values;
  for (unsigned pass = 0; pass < 2; pass++)
    for (int64_t r = 0; r < matrix->rows; r++) {
      pare__quantised_row(matrix, r, values);
      if (pass == 0)
        count_values(&row, &sums, out);
      else
        fill_bins(&row, out);
    }
  free(values);
  return PARE_OK;
}

pare_status pare_inspect_histogram(const pare_inspection *inspection, size_t index, pare_histogram *out) {
  if (!out) return pare__fail_null("pare_inspect_histogram", "out");
  *out = (pare_histogram){0};
  if (!inspection) return pare__fail_null("pare_inspect_histogram", "inspection");
  if (index >= inspection->info.ntensors)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_inspect_histogram: there is no number %zu; the file has %zu tensors",
                      index, inspection->info.ntensors);
  const pare__quantised *matrix =
      inspection->onnx ? NULL
                       : pare__quantised_of_codes(&inspection->quantised, &inspection->safetensors.tensor[index]);
  if (matrix) return spread_of_matrix(matrix, out);
  pare_array array;
  pare__content *content;
  moments sums = {0};
  PARE__TRY(elements_of(inspection, index, &content, &array));
  array.dim[0] = (int64_t)(array.nbytes / pare_dtype_bytes(array.dtype));
  count_values(&array, &sums, out);
  fill_bins(&array, out);
  pare__content_release(content);
  return PARE_OK;
}
