/* Tensors of a file by name. SPDX-License-Identifier: Apache-2.0 */
#include "compress/stored_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"

/* ---- the file ---- */

static int by_name(const void *a, const void *b) {
  return strcmp(((const pare__named_tensor *)a)->name, ((const pare__named_tensor *)b)->name);
}

static pare_status add_tensor(pare__stored_file *file, pare__named_tensor tensor) {
  PARE__TRY(pare__array_grow((void **)&file->tensor, &file->capacity, file->count, sizeof *file->tensor));
  file->tensor[file->count++] = tensor;
  return PARE_OK;
}

static pare_status list_onnx(pare__stored_file *file) {
  const pare__onnx_graph *graph = file->onnx->graph;
  for (size_t i = 0; i < graph->initializer.count; i++)
    if (graph->initializer.items[i].name)
      PARE__TRY(add_tensor(
          file, (pare__named_tensor){.name = graph->initializer.items[i].name, .onnx = &graph->initializer.items[i]}));
  for (size_t i = 0; i < graph->node.count; i++) {
    const pare__onnx_node *node = &graph->node.items[i];
    const pare__onnx_attribute *value = pare__onnx_attribute_find(node, "value");
    if (!node->op_type || strcmp(node->op_type, "Constant") != 0 || !value || !value->t || node->output.count != 1)
      continue;
    if (node->output.items[0])
      PARE__TRY(add_tensor(file, (pare__named_tensor){.name = node->output.items[0], .onnx = value->t}));
  }
  return PARE_OK;
}

static pare_status open_file(const char *path, pare__stored_file *file) {
  uint8_t head[16];
  FILE *stream = fopen(path, "rb");
  const size_t nread = stream ? fread(head, 1, sizeof head, stream) : 0;
  if (stream) fclose(stream);
  if (!pare__safetensors_looks_like(head, nread)) {
    PARE__TRY(pare__onnx_open(path, &file->onnx));
    PARE__TRY(list_onnx(file));
  } else {
    PARE__TRY(pare__safetensors_open(path, &file->safetensors));
    PARE__TRY(pare__quantised_open(path, &file->safetensors, &file->quantised));
    for (size_t i = 0; i < file->safetensors.ntensors; i++)
      PARE__TRY(add_tensor(file, (pare__named_tensor){.name = file->safetensors.tensor[i].name,
                                                      .tensor = &file->safetensors.tensor[i]}));
  }
  if (file->count > 0) qsort(file->tensor, file->count, sizeof *file->tensor, by_name);
  return PARE_OK;
}

pare_status pare__stored_open(const char *path, pare__stored_file **out) {
  *out = NULL;
  pare__stored_file *file = calloc(1, sizeof *file);
  if (!file) return pare__fail_memory("a file", sizeof *file);
  const pare_status status = open_file(path, file);
  if (status != PARE_OK) {
    pare__stored_close(file);
    return status;
  }
  *out = file;
  return PARE_OK;
}

void pare__stored_close(pare__stored_file *file) {
  if (!file) return;
  free(file->tensor);
  pare__quantised_close(&file->quantised);
  pare__safetensors_close(&file->safetensors);
  pare__onnx_close(file->onnx);
  free(file);
}

const pare__named_tensor *pare__stored_named(const pare__stored_file *file, const char *name, const char *suffix) {
  char *text = pare__format("%s%s", name, suffix);
  if (!text) return NULL;
  const pare__named_tensor key = {.name = text};
  const pare__named_tensor *found =
      file->count > 0 ? bsearch(&key, file->tensor, file->count, sizeof key, by_name) : NULL;
  free(text);
  return found;
}

bool pare__stored_compressed(const pare__stored_file *file) {
  static const char *const suffixes[] = {"_quantized", "_half"};
  if (file->quantised.count > 0) return true;
  for (size_t i = 0; i < file->count; i++) {
    const char *name = file->tensor[i].name;
    for (size_t k = 0; k < PARE__COUNT(suffixes); k++) {
      const size_t length = strlen(name), tail = strlen(suffixes[k]);
      if (length > tail && strcmp(name + length - tail, suffixes[k]) == 0) return true;
    }
  }
  return false;
}

bool pare__stored_weight(const pare__stored_file *file, const pare__weight *tensor, pare__weight *out) {
  const pare__named_tensor *named = file->quantised.count > 0 ? pare__stored_named(file, tensor->name, "") : NULL;
  *out = *tensor;
  if (!named) return true;
  if (pare__quantised_has_part(&file->quantised, named->tensor)) return false;
  const pare__quantised *matrix = pare__quantised_of_codes(&file->quantised, named->tensor);
  if (!matrix) return true;
  *out = (pare__weight){.name = matrix->name, .layer = matrix->layer, .dtype = PARE_NDTYPES, .nuses = 1};
  if (*matrix->why) return true;
  out->rank = 2;
  out->dim[0] = matrix->rows;
  out->dim[1] = matrix->columns;
  out->elements = matrix->rows * matrix->columns;
  out->role = PARE__WEIGHT_LINEAR;
  out->input_axis = 1;
  return true;
}

/* ---- elements ---- */

void pare__elements_let_go(pare__elements *elements) {
  pare__content_release(elements->content);
  elements->content = NULL;
}

/* *why: set if they cannot be had as numbers. */
pare_status pare__elements_get(const pare__stored_file *file, const pare__named_tensor *named, pare__elements *out,
                               const char **why) {
  *out = (pare__elements){0};
  if (named->tensor) {
    const pare__safetensors_tensor *tensor = named->tensor;
    out->dtype_name = pare__safetensors_dtype_name(tensor->dtype);
    if (tensor->rank > PARE_MAX_RANK || !pare__safetensors_dtype_to_pare(tensor->dtype, &out->dtype)) {
      *why = "pare has no such dtype or rank";
      return PARE_OK;
    }
    out->rank = (int)tensor->rank;
    for (size_t d = 0; d < tensor->rank; d++) out->dim[d] = tensor->dim[d];
    out->count = tensor->count;
    out->data = tensor->data;
    return PARE_OK;
  }
  pare_dtype dtype;
  out->dtype_name = pare__onnx_dtype_name(named->onnx->data_type);
  if (named->onnx->dims.count > PARE_MAX_RANK || !pare__onnx_dtype_to_pare(named->onnx->data_type, &dtype)) {
    *why = "pare has no such dtype or rank";
    return PARE_OK;
  }
  PARE__TRY(pare__content_of_tensor(file->onnx->source, named->onnx, &out->content));
  out->dtype = out->content->dtype;
  out->rank = out->content->shape.rank;
  memcpy(out->dim, out->content->shape.dim, sizeof out->dim);
  out->count = (int64_t)out->content->count;
  out->data = out->content->data;
  return PARE_OK;
}

double pare__elements_number(const pare__elements *elements, int64_t index) {
  return pare__load_unaligned(elements->dtype, elements->data, (size_t)index);
}
