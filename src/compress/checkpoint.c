/* Checkpoints of every format, and the canonical order. SPDX-License-Identifier: Apache-2.0 */
#include "compress/checkpoint.h"

#include <stdlib.h>
#include <string.h>

#include "compress/onnx_weights.h"
#include "format/mapping.h"

const pare__checkpoint_format *const pare__checkpoint_formats[] = {
    &pare__safetensors_checkpoint_format,
    &pare__onnx_checkpoint_format,
    NULL,
};

pare_status pare__checkpoint_open(const char *path, pare__checkpoint **out) {
  pare__mapping file = {0};
  const pare__checkpoint_format *format = NULL;
  *out = NULL;
  PARE__TRY(pare__mapping_open(path, &file));
  for (size_t i = 0; pare__checkpoint_formats[i] && !format; i++)
    if (pare__checkpoint_formats[i]->recognise(path, file.data, file.nbytes)) format = pare__checkpoint_formats[i];
  pare__mapping_close(&file);
  if (!format) return pare__fail(PARE_ERR_FORMAT, "%s is no model that pare compresses", path);
  char *copy = pare__strdup(path);
  if (!copy) return pare__fail_memory("a path", strlen(path));
  const pare_status status = format->open(path, out);
  if (status != PARE_OK) {
    free(copy);
    return status;
  }
  (*out)->format = format;
  (*out)->path = copy;
  return PARE_OK;
}

void pare__checkpoint_close(pare__checkpoint *checkpoint) {
  if (!checkpoint) return;
  free(checkpoint->path);
  checkpoint->format->close(checkpoint);
}

void pare__weight_axes(const pare__weight *weight, int axes[PARE_MAX_RANK]) {
  int next = 0;
  axes[next++] = weight->row_axis;
  for (int d = 0; d < weight->rank; d++)
    if (d != weight->row_axis && d != weight->input_axis) axes[next++] = d;
  if (next < weight->rank) axes[next] = weight->input_axis;
}

pare_status pare__weight_columns(const pare__weight *weight, int64_t columns, int64_t *row_step, int64_t **column_at) {
  int64_t step[PARE_MAX_RANK] = {0}, steps = 1;
  int axes[PARE_MAX_RANK] = {0};
  for (int d = weight->rank - 1; d >= 0; d--) {
    step[d] = steps;
    steps *= weight->dim[d];
  }
  pare__weight_axes(weight, axes);
  *row_step = step[axes[0]];
  *column_at = malloc((size_t)(columns + 1) * sizeof **column_at);
  if (!*column_at) return pare__fail_memory("the columns of a weight", (size_t)columns * sizeof **column_at);
  for (int64_t c = 0; c < columns; c++) {
    int64_t rest = c, at = 0;
    for (int i = weight->rank - 1; i > 0; i--) {
      at += rest % weight->dim[axes[i]] * step[axes[i]];
      rest /= weight->dim[axes[i]];
    }
    (*column_at)[c] = at;
  }
  return PARE_OK;
}

void pare__result_close(pare__result *result) {
  pare_tensor_close(result->values);
  pare_tensor_close(result->codes);
  pare_tensor_close(result->scales);
  pare_tensor_close(result->zeros);
  *result = (pare__result){0};
}
