/* Small ONNX models made in memory and written to a file. SPDX-License-Identifier: Apache-2.0 */
#include "onnx_builder.h"

#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static const char *kept(pare__onnx_model *model, const char *text) {
  const char *copy;
  OK(pare__onnx_text(model->source, text, &copy));
  return copy;
}

pare__onnx_model *model_new(int64_t opset) {
  pare__onnx_model *model;
  OK(pare__onnx_create(&model));
  model->ir_version = 8;
  pare__onnx_opset *import;
  OK(PARE__ONNX_APPEND(model->source, &model->opset_import, &import));
  import->domain = "";
  import->version = opset;
  model->graph->name = "test";
  return model;
}

static void *zeroed(pare__onnx_model *model, size_t nbytes) {
  void *memory;
  OK(pare__onnx_allocate(model->source, nbytes, &memory));
  return memory;
}

void model_input(pare__onnx_model *model, const char *name, int32_t dtype, int rank, const int64_t *dim) {
  pare__onnx_value *value;
  OK(PARE__ONNX_APPEND(model->source, &model->graph->input, &value));
  value->name = kept(model, name);
  value->type = zeroed(model, sizeof *value->type);
  value->type->which = PARE__ONNX_TYPE_TENSOR;
  value->type->tensor_type = zeroed(model, sizeof *value->type->tensor_type);
  value->type->tensor_type->elem_type = dtype;
  if (rank < 0) return;
  pare__onnx_shape *shape = value->type->tensor_type->shape = zeroed(model, sizeof *shape);
  for (int d = 0; d < rank; d++) {
    pare__onnx_dimension *dimension;
    OK(PARE__ONNX_APPEND(model->source, &shape->dim, &dimension));
    dimension->which = dim[d] >= 0 ? PARE__ONNX_DIM_VALUE : PARE__ONNX_DIM_PARAM;
    dimension->dim_value = dim[d];
    dimension->dim_param = dim[d] >= 0 ? NULL : "n";
  }
}

void model_output(pare__onnx_model *model, const char *name) {
  pare__onnx_value *value;
  OK(PARE__ONNX_APPEND(model->source, &model->graph->output, &value));
  value->name = kept(model, name);
}

void model_constant(pare__onnx_model *model, const char *name, int32_t dtype, int rank, const int64_t *dim,
                    const void *data) {
  pare__onnx_tensor *tensor;
  int64_t count = 1;
  size_t nbytes;
  OK(PARE__ONNX_APPEND(model->source, &model->graph->initializer, &tensor));
  tensor->name = kept(model, name);
  tensor->data_type = dtype;
  for (int d = 0; d < rank; d++) {
    int64_t *item;
    OK(PARE__ONNX_APPEND(model->source, &tensor->dims, &item));
    *item = dim[d];
    count *= dim[d];
  }
  ck_assert(pare__onnx_dtype_size(dtype, count, &nbytes));
  void *copy = zeroed(model, nbytes + 1);
  memcpy(copy, data, nbytes);
  tensor->raw_data = (pare__onnx_bytes){copy, nbytes};
  tensor->message.has |= (uint64_t)1 << 9; /* raw_data, also of no elements */
}

static void names_into(pare__onnx_model *model, const char *names, pare__onnx_texts *list) {
  for (const char *at = names; *at;) {
    const size_t length = strcspn(at, " ");
    char *name = zeroed(model, length + 1);
    memcpy(name, at, length);
    const char **item;
    OK(PARE__ONNX_APPEND(model->source, list, &item));
    *item = strcmp(name, "-") == 0 ? "" : name;
    at += length + (at[length] == ' ');
  }
}

pare__onnx_node *node_in(pare__onnx_model *model, pare__onnx_nodes *list, const char *op_type, const char *inputs,
                         const char *outputs) {
  pare__onnx_node *node;
  OK(PARE__ONNX_APPEND(model->source, list, &node));
  node->op_type = kept(model, op_type);
  names_into(model, inputs, &node->input);
  names_into(model, outputs, &node->output);
  return node;
}

pare__onnx_node *model_node(pare__onnx_model *model, const char *op_type, const char *inputs, const char *outputs) {
  return node_in(model, &model->graph->node, op_type, inputs, outputs);
}

void model_layer(pare__onnx_model *model, const char *from, const char *to, int64_t width, float *w) {
  char weights[40], inputs[80], product[40];
  snprintf(weights, sizeof weights, "w_%s", to);
  snprintf(inputs, sizeof inputs, "%s %s", from, weights);
  snprintf(product, sizeof product, "p_%s", to);
  w[0] += 1;
  model_constant(model, weights, PARE__ONNX_FLOAT, 2, (const int64_t[]){width, width}, w);
  model_node(model, "MatMul", inputs, product);
  model_node(model, "Tanh", product, to);
}

pare__onnx_attribute *node_attribute(pare__onnx_model *model, pare__onnx_node *node, const char *name, int32_t type) {
  pare__onnx_attribute *attribute;
  OK(PARE__ONNX_APPEND(model->source, &node->attribute, &attribute));
  attribute->name = kept(model, name);
  attribute->type = type;
  return attribute;
}

void node_int(pare__onnx_model *model, pare__onnx_node *node, const char *name, int64_t value) {
  pare__onnx_attribute *attribute = node_attribute(model, node, name, PARE__ONNX_ATTRIBUTE_INT);
  attribute->i = value;
  attribute->message.has |= (uint64_t)1 << 3;
}

void node_float(pare__onnx_model *model, pare__onnx_node *node, const char *name, float value) {
  pare__onnx_attribute *attribute = node_attribute(model, node, name, PARE__ONNX_ATTRIBUTE_FLOAT);
  attribute->f = value;
  attribute->message.has |= (uint64_t)1 << 2;
}

void node_ints(pare__onnx_model *model, pare__onnx_node *node, const char *name, size_t count, const int64_t *values) {
  pare__onnx_attribute *attribute = node_attribute(model, node, name, PARE__ONNX_ATTRIBUTE_INTS);
  for (size_t i = 0; i < count; i++) {
    int64_t *item;
    OK(PARE__ONNX_APPEND(model->source, &attribute->ints, &item));
    *item = values[i];
  }
}

static void name_values(pare__onnx_model *model, pare__onnx_values *list, const char *names) {
  char text[128];
  snprintf(text, sizeof text, "%s", names);
  for (char *rest = NULL, *name = strtok_r(text, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
    pare__onnx_value *value;
    OK(PARE__ONNX_APPEND(model->source, list, &value));
    value->name = kept(model, name);
  }
}

pare__onnx_graph *node_body(pare__onnx_model *model, pare__onnx_node *node, const char *attribute, const char *inputs,
                            const char *outputs) {
  pare__onnx_graph *body = zeroed(model, sizeof *body);
  node_attribute(model, node, attribute, PARE__ONNX_ATTRIBUTE_GRAPH)->g = body;
  body->name = "body";
  name_values(model, &body->input, inputs);
  name_values(model, &body->output, outputs);
  return body;
}

void model_write(pare__onnx_model *model, const char *path) {
  OK(pare__onnx_write(model, path, NULL));
  pare__onnx_close(model);
}

pare_status model_try(const char *folder, pare__onnx_model *model, pare_tensor *const *inputs, pare_tensor **out) {
  char path[128];
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  model_output(model, "y");
  model_write(model, path);
  pare_model *opened = NULL;
  *out = NULL;
  pare_status status = pare_model_open(context, path, NULL, &opened);
  if (status == PARE_OK) status = pare_model_run(opened, inputs, NULL, out);
  pare_model_close(opened);
  return status;
}

pare_tensor *model_run(const char *folder, pare__onnx_model *model, pare_tensor *const *inputs) {
  pare_tensor *out;
  OK(model_try(folder, model, inputs, &out));
  return out;
}
