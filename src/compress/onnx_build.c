/* Building nodes and tensors of an ONNX graph. SPDX-License-Identifier: Apache-2.0 */
#include "compress/onnx_build.h"

#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static pare_status take_name(pare__onnx_builder *builder, const char *name) {
  if (!name || !*name || pare__scope_find(&builder->names, name) != PARE__NO_VALUE) return PARE_OK;
  return pare__scope_define(&builder->names, name, 0);
}

static pare_status take_graph(pare__onnx_builder *builder, const pare__onnx_graph *graph) {
  for (size_t i = 0; i < graph->initializer.count; i++) PARE__TRY(take_name(builder, graph->initializer.items[i].name));
  for (size_t i = 0; i < graph->input.count; i++) PARE__TRY(take_name(builder, graph->input.items[i].name));
  for (size_t i = 0; i < graph->node.count; i++) {
    const pare__onnx_node *node = &graph->node.items[i];
    PARE__TRY(take_name(builder, node->name));
    for (size_t o = 0; o < node->output.count; o++) PARE__TRY(take_name(builder, node->output.items[o]));
    for (size_t a = 0; a < node->attribute.count; a++) {
      const pare__onnx_attribute *attribute = &node->attribute.items[a];
      if (attribute->g) PARE__TRY(take_graph(builder, attribute->g));
      for (size_t g = 0; g < attribute->graphs.count; g++) PARE__TRY(take_graph(builder, &attribute->graphs.items[g]));
    }
  }
  return PARE_OK;
}

pare_status pare__onnx_builder_open(pare__onnx_model *model, pare__onnx_builder *out) {
  *out = (pare__onnx_builder){.source = model->source};
  return take_graph(out, model->graph);
}

void pare__onnx_builder_close(pare__onnx_builder *builder) { pare__scope_clear(&builder->names); }

pare_status pare__onnx_fresh(pare__onnx_builder *builder, const char *base, const char *suffix, const char **out) {
  char *name = pare__format("%s%s", base, suffix);
  for (unsigned i = 2; name && pare__scope_find(&builder->names, name) != PARE__NO_VALUE; i++) {
    free(name);
    name = pare__format("%s%s_%u", base, suffix, i);
  }
  if (!name) return pare__fail_memory("a name", strlen(base) + strlen(suffix));
  pare_status status = pare__onnx_text(builder->source, name, out);
  free(name);
  return status == PARE_OK ? take_name(builder, *out) : status;
}

/* ---- nodes ---- */

static pare_status set_texts(pare__onnx_builder *builder, pare__onnx_texts *texts, const char *const *items) {
  for (size_t i = 0; items[i]; i++) {
    const char **item;
    PARE__TRY(PARE__ONNX_APPEND(builder->source, texts, &item));
    *item = items[i];
  }
  return PARE_OK;
}

pare_status pare__onnx_node_add(pare__onnx_builder *builder, const char *domain, const char *op_type, const char *name,
                                const char *const *inputs, const char *const *outputs, pare__onnx_node **out) {
  PARE__TRY(PARE__ONNX_APPEND(builder->source, builder->nodes, out));
  (*out)->op_type = op_type;
  (*out)->name = name;
  if (*domain) (*out)->domain = domain;
  builder->uses_microsoft = builder->uses_microsoft || *domain;
  PARE__TRY(set_texts(builder, &(*out)->input, inputs));
  return set_texts(builder, &(*out)->output, outputs);
}

pare_status pare__onnx_value_add(pare__onnx_builder *builder, const char *domain, const char *op_type, const char *base,
                                 const char *suffix, const char *const *inputs, pare__onnx_node **node,
                                 const char **out) {
  PARE__TRY(pare__onnx_fresh(builder, base, suffix, out));
  return pare__onnx_node_add(builder, domain, op_type, *out, inputs, (const char *const[]){*out, NULL}, node);
}

pare_status pare__onnx_set_int(pare__onnx_builder *builder, pare__onnx_node *node, const char *name, int64_t value) {
  pare__onnx_attribute *attribute;
  PARE__TRY(PARE__ONNX_APPEND(builder->source, &node->attribute, &attribute));
  attribute->name = name;
  attribute->type = PARE__ONNX_ATTRIBUTE_INT;
  attribute->i = value;
  attribute->message.has = UINT64_C(1) << 3; /* also a 0 is written */
  return PARE_OK;
}

pare_status pare__onnx_cast_add(pare__onnx_builder *builder, const char *from, int32_t dtype, const char *name,
                                const char *output) {
  pare__onnx_node *node;
  PARE__TRY(pare__onnx_node_add(builder, "", "Cast", name, (const char *const[]){from, NULL},
                                (const char *const[]){output, NULL}, &node));
  return pare__onnx_set_int(builder, node, "to", dtype);
}

/* ---- tensors ---- */

pare_status pare__onnx_tensor_set(pare__onnx_builder *builder, pare__onnx_tensor *tensor, const char *name,
                                  int32_t dtype, int rank, const int64_t *dim, const pare__stream *stream,
                                  pare__onnx_bytes bytes) {
  const pare__onnx_tensor old = *tensor;
  *tensor = (pare__onnx_tensor){.name = name,
                                .doc_string = old.doc_string,
                                .metadata_props = old.metadata_props,
                                .data_type = dtype,
                                .raw_data = bytes,
                                .stream = stream};
  tensor->message.unknown = old.message.unknown;
  for (int d = 0; d < rank; d++) {
    int64_t *item;
    PARE__TRY(PARE__ONNX_APPEND(builder->source, &tensor->dims, &item));
    *item = dim[d];
  }
  return PARE_OK;
}

pare_status pare__onnx_constant_add(pare__onnx_builder *builder, pare__onnx_graph *graph, const char *base,
                                    const char *suffix, int32_t dtype, int rank, const int64_t *dim, const void *data,
                                    const char **name) {
  int64_t count = 1;
  size_t nbytes;
  for (int d = 0; d < rank; d++)
    if (!pare__i64_mul(count, dim[d], &count)) count = -1;
  if (!pare__onnx_dtype_size(dtype, count, &nbytes))
    return pare__fail(PARE_ERR_FORMAT, "a constant beside '%.100s' is too large", base);
  void *copy;
  pare__onnx_tensor *tensor;
  PARE__TRY(pare__onnx_fresh(builder, base, suffix, name));
  PARE__TRY(pare__onnx_allocate(builder->source, nbytes, &copy));
  if (nbytes > 0) memcpy(copy, data, nbytes);
  PARE__TRY(PARE__ONNX_APPEND(builder->source, &graph->initializer, &tensor));
  return pare__onnx_tensor_set(builder, tensor, *name, dtype, rank, dim, NULL, (pare__onnx_bytes){copy, nbytes});
}
