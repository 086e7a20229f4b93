/* ONNX models: opening, finding, editing. SPDX-License-Identifier: Apache-2.0 */
#include "format/onnx.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "format/mapping.h"
#include "format/onnx_schema.h"

/* ---- opening ---- */

/* A new struct of the layout in its source. */
static pare_status new_object(pare__onnx_source *source, const pare__onnx_layout *layout, void **out) {
  return pare__arena_allocate(pare__onnx_source_arena(source), layout->nbytes, out);
}

static pare_status parse_new(const char *path, const pare__mapping *memory, const char *name,
                             const pare__onnx_layout *layout, pare__onnx_source **source, void **out) {
  *out = NULL;
  PARE__TRY(pare__onnx_source_open(path, memory, name, source));
  pare_status status = new_object(*source, layout, out);
  if (status == PARE_OK) status = pare__onnx_parse(*source, layout, *out);
  if (status == PARE_OK) return PARE_OK;
  pare__onnx_source_close(*source);
  *source = NULL;
  *out = NULL;
  return status;
}

static pare_status open_model(const char *path, const pare__mapping *memory, const char *name, pare__onnx_model **out) {
  pare__onnx_source *source;
  void *object;
  *out = NULL;
  PARE__TRY(parse_new(path, memory, name, &pare__onnx_model_layout, &source, &object));
  pare__onnx_model *model = object;
  model->source = source;
  if (!model->graph) {
    pare_status status =
        pare__fail(PARE_ERR_FORMAT, "%s holds no graph: it is no ONNX model", pare__onnx_source_path(source));
    pare__onnx_close(model);
    return status;
  }
  *out = model;
  return PARE_OK;
}

pare_status pare__onnx_open(const char *path, pare__onnx_model **out) { return open_model(path, NULL, NULL, out); }

pare_status pare__onnx_open_memory(const void *data, size_t nbytes, const char *name, pare__onnx_model **out) {
  pare__mapping memory = {data, nbytes, false};
  return open_model(NULL, &memory, name, out);
}

void pare__onnx_close(pare__onnx_model *model) {
  if (model) pare__onnx_source_close(model->source);
}

pare_status pare__onnx_tensor_open(const char *path, pare__onnx_source **source, pare__onnx_tensor **out) {
  void *object = NULL;
  pare_status status = parse_new(path, NULL, NULL, &pare__onnx_tensor_layout, source, &object);
  *out = object;
  return status;
}

pare_status pare__onnx_tensor_open_memory(const void *data, size_t nbytes, const char *name, pare__onnx_source **source,
                                          pare__onnx_tensor **out) {
  pare__mapping memory = {data, nbytes, false};
  void *object = NULL;
  pare_status status = parse_new(NULL, &memory, name, &pare__onnx_tensor_layout, source, &object);
  *out = object;
  return status;
}

/* ---- finding ---- */

const char *pare__onnx_domain(const char *domain) { return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain; }

int64_t pare__onnx_opset_version(const pare__onnx_opsets *opsets, const char *domain) {
  for (size_t i = 0; i < opsets->count; i++)
    if (strcmp(pare__onnx_domain(opsets->items[i].domain), pare__onnx_domain(domain)) == 0)
      return opsets->items[i].version;
  return 0;
}

const pare__onnx_attribute *pare__onnx_attribute_find(const pare__onnx_node *node, const char *name) {
  for (size_t i = 0; i < node->attribute.count; i++) {
    const pare__onnx_attribute *attribute = &node->attribute.items[i];
    if (attribute->name && strcmp(attribute->name, name) == 0) return attribute;
  }
  return NULL;
}

const char *pare__onnx_tensor_label(const pare__onnx_tensor *tensor, char *buffer, size_t capacity) {
  if (tensor->name && *tensor->name)
    snprintf(buffer, capacity, "tensor '%.100s'", tensor->name);
  else
    snprintf(buffer, capacity, "the tensor without name at byte %zu", tensor->message.offset);
  return buffer;
}

/* ---- editing ---- */

pare_status pare__onnx_create(pare__onnx_model **out) {
  pare__onnx_source *source;
  void *model, *graph;
  *out = NULL;
  PARE__TRY(pare__onnx_source_open(NULL, NULL, "", &source));
  pare__onnx_source_arena(source)->limit_bytes = 0;
  pare_status status = new_object(source, &pare__onnx_model_layout, &model);
  if (status == PARE_OK) status = pare__onnx_allocate(source, sizeof(pare__onnx_graph), &graph);
  if (status != PARE_OK) {
    pare__onnx_source_close(source);
    return status;
  }
  *out = model;
  (*out)->source = source;
  (*out)->graph = graph;
  return PARE_OK;
}

pare_status pare__onnx_allocate(pare__onnx_source *source, size_t nbytes, void **out) {
  return pare__arena_allocate(pare__onnx_source_arena(source), nbytes, out);
}

pare_status pare__onnx_text(pare__onnx_source *source, const char *text, const char **out) {
  return pare__arena_text(pare__onnx_source_arena(source), text, strlen(text), out);
}

pare_status pare__onnx_bytes_text(pare__onnx_source *source, pare__onnx_bytes bytes, const char **out) {
  *out = NULL;
  if (bytes.nbytes > 0 && memchr(bytes.data, '\0', bytes.nbytes))
    return pare__fail(PARE_ERR_FORMAT, "%s: text that holds a NUL", pare__onnx_source_path(source));
  return pare__arena_text(pare__onnx_source_arena(source), bytes.data, bytes.nbytes, out);
}

pare_status pare__onnx_append(pare__onnx_source *source, void **items, size_t *count, size_t *capacity,
                              size_t item_bytes, void **item) {
  *item = NULL;
  if (*count >= *capacity) {
    size_t more = *count < 4 ? 4 : 2 * *count, nbytes;
    void *larger;
    if (!pare__size_mul(more, item_bytes, &nbytes)) return pare__fail_memory("a list", SIZE_MAX);
    PARE__TRY(pare__onnx_allocate(source, nbytes, &larger));
    if (*count > 0) memcpy(larger, *items, *count * item_bytes);
    *items = larger;
    *capacity = more;
  }
  *item = (char *)*items + (*count)++ * item_bytes;
  memset(*item, 0, item_bytes);
  return PARE_OK;
}
