/* Looking at files of tensors, and at the values of tensors. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <stdio.h>
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

pare_status pare__inspect_safetensors(pare_inspection *inspection, const char *path) {
  PARE__TRY(pare__safetensors_open(path, &inspection->safetensors));
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
    PARE__TRY(pare__inspect_add(inspection,
                                &(pare_tensor_info){.name = tensor->name,
                                                    .dtype_name = pare__safetensors_dtype_name(tensor->dtype),
                                                    .rank = tensor->rank,
                                                    .dim = tensor->dim,
                                                    .file = ""},
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

static void count_values(const pare_array *array, size_t count, pare_histogram *out) {
  double mean = 0, squares = 0;
  uint64_t finite = 0;
  for (size_t i = 0; i < count; i++) {
    const double value = pare_array_number(array, i);
    if (isnan(value)) out->nans++;
    if (isinf(value)) out->infinities++;
    if (!isfinite(value)) continue;
    if (value == 0) out->zeros++;
    if (finite == 0 || value < out->minimum) out->minimum = value;
    if (finite == 0 || value > out->maximum) out->maximum = value;
    /* Welford 1962 */
    const double step = value - mean;
    finite++;
    mean += step / (double)finite;
    squares += step * (value - mean);
  }
  out->mean = mean;
  out->deviation = finite > 0 ? sqrt(squares / (double)finite) : 0;
}

static void fill_bins(const pare_array *array, size_t count, pare_histogram *out) {
  const double width = out->maximum - out->minimum, scale = width > 0 ? PARE_HISTOGRAM_BINS / width : 0;
  for (size_t i = 0; i < count; i++) {
    const double value = pare_array_number(array, i);
    if (!isfinite(value)) continue;
    const double place = (value - out->minimum) * scale;
    out->bin[place < PARE_HISTOGRAM_BINS ? (size_t)place : PARE_HISTOGRAM_BINS - 1]++;
  }
}

pare_status pare_inspect_histogram(const pare_inspection *inspection, size_t index, pare_histogram *out) {
  if (!out) return pare__fail_null("pare_inspect_histogram", "out");
  *out = (pare_histogram){0};
  if (!inspection) return pare__fail_null("pare_inspect_histogram", "inspection");
  if (index >= inspection->info.ntensors)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_inspect_histogram: there is no number %zu; the file has %zu tensors",
                      index, inspection->info.ntensors);
  pare_array array;
  pare__content *content;
  PARE__TRY(elements_of(inspection, index, &content, &array));
  const size_t count = array.nbytes / pare_dtype_bytes(array.dtype);
  array.dim[0] = (int64_t)count;
  out->values = count;
  count_values(&array, count, out);
  fill_bins(&array, count, out);
  pare__content_release(content);
  return PARE_OK;
}
