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

void pare__result_close(pare__result *result) {
  pare_tensor_close(result->values);
  pare_tensor_close(result->codes);
  pare_tensor_close(result->scales);
  pare_tensor_close(result->zeros);
  *result = (pare__result){0};
}
