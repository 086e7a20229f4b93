/* ONNX models between portable and compact storage, tensor by tensor. SPDX-License-Identifier: Apache-2.0
 *
 * A tensor T of the portable file is, in the compact one, the output T of a node DecodeNM (operators_pare.c) at the
 * head of the graph, whose values lie where T lay and whose indices are behind all other initialisers. All else is the
 * same, so that the way back gives the bytes that the portable file has. */
#include "compress/convert.h"

#include <stdlib.h>
#include <string.h>

#include "compress/onnx_build.h"

#define DOMAIN "pare"
#define DECODE "DecodeNM"

enum { VALUES, INDICES, DENSE };

/* One tensor while the file is written; lives in the arena. */
typedef struct sparse_part {
  pare__onnx_source *source;
  pare__sparse_form form;
  pare__onnx_tensor tensor[3]; /* as the file that is read has them */
  size_t nbytes[3];
  pare__stream stream[3];
} sparse_part;

static pare_status named(const sparse_part *part, int which, pare_status status) {
  return status == PARE_OK ? status
                           : pare__fail(status, "tensor '%.100s': %s", part->tensor[which].name, pare_message());
}

/* Encodes the dense tensor and gives one of the two arrays. */
static pare_status produce(sparse_part *part, int which, pare__stream_put put, void *sink) {
  pare__onnx_data data = {0};
  void *values = malloc(part->nbytes[VALUES] + 1);
  uint8_t *indices = malloc(part->nbytes[INDICES] + 1);
  pare_status status = values && indices ? pare__onnx_tensor_data(part->source, &part->tensor[DENSE], &data)
                                         : pare__fail_memory("sparse weights", part->nbytes[VALUES]);
  if (status == PARE_OK)
    status =
        named(part, DENSE, pare__sparse_encode_axis(&part->form.layout, part->form.inner, data.data, values, indices));
  if (status == PARE_OK) status = put(sink, 0, which == VALUES ? values : indices, part->nbytes[which]);
  pare__onnx_data_close(&data);
  free(values);
  free(indices);
  return status;
}

static pare_status produce_values(void *user, pare__stream_put put, void *sink) {
  return produce(user, VALUES, put, sink);
}

static pare_status produce_indices(void *user, pare__stream_put put, void *sink) {
  return produce(user, INDICES, put, sink);
}

static pare_status produce_dense(void *user, pare__stream_put put, void *sink) {
  sparse_part *part = user;
  pare__onnx_data values = {0}, indices = {0};
  void *dense = malloc(part->nbytes[DENSE] + 1);
  pare_status status = dense ? pare__onnx_tensor_data(part->source, &part->tensor[VALUES], &values)
                             : pare__fail_memory("dense weights", part->nbytes[DENSE]);
  if (status == PARE_OK) status = pare__onnx_tensor_data(part->source, &part->tensor[INDICES], &indices);
  if (status == PARE_OK)
    status = named(part, DENSE,
                   pare__sparse_decode_axis(&part->form.layout, part->form.inner, values.data, indices.data, dense));
  if (status == PARE_OK) status = put(sink, 0, dense, part->nbytes[DENSE]);
  pare__onnx_data_close(&values);
  pare__onnx_data_close(&indices);
  free(dense);
  return status;
}

static pare_status part_open(pare__onnx_model *model, sparse_part **out) {
  void *memory;
  PARE__TRY(pare__onnx_allocate(model->source, sizeof(sparse_part), &memory));
  *out = memory;
  (*out)->source = model->source;
  return PARE_OK;
}

/* Fills in sizes and streams; what is stored keeps the tensor's other fields. */
static pare_status set_sizes(sparse_part *part) {
  PARE__TRY(pare_sparse_sizes(&part->form.layout, &part->nbytes[VALUES], &part->nbytes[INDICES]));
  if (!pare__size_mul((size_t)part->form.layout.rows,
                      (size_t)part->form.layout.inputs * pare_dtype_bytes(part->form.layout.dtype),
                      &part->nbytes[DENSE]))
    return pare__fail(PARE_ERR_FORMAT, "tensor '%.100s' is too large", part->tensor[DENSE].name);
  part->stream[VALUES] = (pare__stream){part->nbytes[VALUES], produce_values, part};
  part->stream[INDICES] = (pare__stream){part->nbytes[INDICES], produce_indices, part};
  part->stream[DENSE] = (pare__stream){part->nbytes[DENSE], produce_dense, part};
  return PARE_OK;
}

/* ---- to compact ---- */

/* Is it a graph's input, whose default may be replaced, or its output? */
static bool is_border(const pare__onnx_graph *graph, const char *name) {
  for (size_t i = 0; i < graph->input.count; i++)
    if (graph->input.items[i].name && strcmp(graph->input.items[i].name, name) == 0) return true;
  for (size_t i = 0; i < graph->output.count; i++)
    if (graph->output.items[i].name && strcmp(graph->output.items[i].name, name) == 0) return true;
  return false;
}

static bool is_decode(const pare__onnx_node *node) {
  return node->op_type && strcmp(node->op_type, DECODE) == 0 && strcmp(pare__onnx_domain(node->domain), DOMAIN) == 0;
}

/* Is it what a DecodeNM of the file reads? Then it is compact already. */
static bool is_stored(const pare__onnx_graph *graph, const char *name) {
  for (size_t i = 0; i < graph->node.count; i++) {
    const pare__onnx_node *node = &graph->node.items[i];
    for (size_t k = 0; is_decode(node) && k < node->input.count; k++)
      if (strcmp(node->input.items[k], name) == 0) return true;
  }
  return false;
}

/* The form of an initialiser; *found false: it stays. Typed fields stay as well: the way back could not tell. */
static pare_status find_form(pare__onnx_model *model, const pare__onnx_tensor *tensor, bool *found,
                             pare__sparse_form *form) {
  pare__onnx_data data;
  pare_dtype dtype;
  *found = false;
  const bool raw = tensor->raw_data.nbytes > 0 || tensor->data_location == PARE__ONNX_LOCATION_EXTERNAL;
  if (!raw || !tensor->name || tensor->dims.count < 2 || tensor->dims.count > PARE_MAX_RANK ||
      !pare__onnx_dtype_to_pare(tensor->data_type, &dtype) || is_border(model->graph, tensor->name) ||
      is_stored(model->graph, tensor->name))
    return PARE_OK;
  PARE__TRY(pare__onnx_tensor_data(model->source, tensor, &data));
  *found = pare__sparse_form_find(dtype, (int)tensor->dims.count, tensor->dims.items, data.data, form);
  pare__onnx_data_close(&data);
  return PARE_OK;
}

static pare_status store_part(pare__onnx_builder *build, pare__onnx_model *model, size_t i,
                              const pare__sparse_form *form) {
  pare__onnx_graph *graph = model->graph;
  sparse_part *part;
  pare__onnx_tensor *tensor;
  pare__onnx_node *node;
  const char *values, *indices;
  int64_t dim[PARE_MAX_RANK], stored[PARE_MAX_RANK];
  const pare__onnx_tensor dense = graph->initializer.items[i];
  const int rank = (int)dense.dims.count;
  PARE__TRY(part_open(model, &part));
  part->form = *form;
  part->tensor[DENSE] = dense;
  PARE__TRY(set_sizes(part));
  PARE__TRY(pare__onnx_fresh(build, dense.name, "_values", &values));
  PARE__TRY(pare__onnx_fresh(build, dense.name, "_indices", &indices));
  for (int d = 0, to = 0; d < rank; d++)
    if (d != form->axis) dim[to++] = dense.dims.items[d];
  memcpy(stored, dim, sizeof stored);
  dim[rank - 1] = form->layout.inputs / form->layout.of * form->layout.keep;
  stored[rank - 1] = pare__sparse_index_bytes(&form->layout);
  PARE__TRY(pare__onnx_tensor_set(build, &graph->initializer.items[i], values, dense.data_type, rank, dim,
                                  &part->stream[VALUES], (pare__onnx_bytes){0}));
  PARE__TRY(PARE__ONNX_APPEND(model->source, &graph->initializer, &tensor));
  PARE__TRY(pare__onnx_tensor_set(build, tensor, indices, PARE__ONNX_UINT8, rank, stored, &part->stream[INDICES],
                                  (pare__onnx_bytes){0}));
  PARE__TRY(pare__onnx_node_add(build, DOMAIN, DECODE, dense.name, (const char *const[]){values, indices, NULL},
                                (const char *const[]){dense.name, NULL}, &node));
  PARE__TRY(pare__onnx_set_int(build, node, "n", form->layout.keep));
  PARE__TRY(pare__onnx_set_int(build, node, "m", form->layout.of));
  PARE__TRY(pare__onnx_set_int(build, node, "axis", form->axis));
  return form->layout.fill ? pare__onnx_set_int(build, node, "fill", form->layout.fill) : PARE_OK;
}

static pare_status add_opset(pare__onnx_model *model) {
  pare__onnx_opset *opset;
  if (pare__onnx_opset_version(&model->opset_import, DOMAIN) > 0) return PARE_OK;
  PARE__TRY(PARE__ONNX_APPEND(model->source, &model->opset_import, &opset));
  opset->domain = DOMAIN;
  opset->version = 1;
  return PARE_OK;
}

pare_status pare__compact(pare__onnx_model *model, size_t *count) {
  pare__onnx_graph *graph = model->graph;
  const size_t ninitialisers = graph->initializer.count;
  pare__onnx_nodes nodes = {0};
  pare__onnx_builder build;
  pare_status status = pare__onnx_builder_open(model, &build);
  build.nodes = &nodes;
  *count = 0;
  for (size_t i = 0; i < ninitialisers && status == PARE_OK; i++) {
    pare__sparse_form form;
    bool found;
    status = find_form(model, &graph->initializer.items[i], &found, &form);
    if (status != PARE_OK || !found) continue;
    status = store_part(&build, model, i, &form);
    ++*count;
  }
  for (size_t i = 0; i < graph->node.count && status == PARE_OK && *count > 0; i++) {
    pare__onnx_node *node;
    status = PARE__ONNX_APPEND(model->source, &nodes, &node);
    if (status == PARE_OK) *node = graph->node.items[i];
  }
  if (status == PARE_OK && *count > 0) {
    graph->node.items = nodes.items;
    graph->node.count = nodes.count;
    graph->node.capacity = nodes.capacity;
    status = add_opset(model);
  }
  pare__onnx_builder_close(&build);
  return status;
}

/* ---- to portable ---- */

static pare__onnx_tensor *find_tensor(pare__onnx_graph *graph, const char *name) {
  for (size_t i = 0; i < graph->initializer.count; i++)
    if (graph->initializer.items[i].name && strcmp(graph->initializer.items[i].name, name) == 0)
      return &graph->initializer.items[i];
  return NULL;
}

static int64_t attribute(const pare__onnx_node *node, const char *name, int64_t otherwise) {
  const pare__onnx_attribute *found = pare__onnx_attribute_find(node, name);
  return found ? found->i : otherwise;
}

/* What a node says of its tensors; dim: of the dense one. */
static pare_status read_form(const pare__onnx_node *node, const pare__onnx_tensor *values,
                             const pare__onnx_tensor *indices, pare__sparse_form *form, int64_t *dim) {
  const char *name = node->output.items[0];
  const int rank = (int)values->dims.count;
  const int64_t keep = attribute(node, "n", 0), of = attribute(node, "m", 0), given = attribute(node, "axis", -1),
                axis = given < 0 && given >= -rank ? given + rank : given, fill = attribute(node, "fill", 0);
  pare_dtype dtype;
  if (!pare__onnx_dtype_to_pare(values->data_type, &dtype) || indices->data_type != PARE__ONNX_UINT8 || rank < 1 ||
      rank > PARE_MAX_RANK || axis < 0 || axis >= rank || keep < 1 || keep >= of || of > PARE__SPARSE_MOST ||
      fill < -128 || fill > 255)
    return pare__fail(PARE_ERR_FORMAT, "tensor '%.100s': a DecodeNM of %lld:%lld along axis %lld that cannot be", name,
                      (long long)keep, (long long)of, (long long)axis);
  const int64_t stored = values->dims.items[rank - 1];
  *form = (pare__sparse_form){.axis = (int)axis, .inner = 1};
  form->layout = (pare_sparse_layout){.dtype = dtype, .keep = (int)keep, .of = (int)of, .rows = 1, .fill = (int)fill};
  bool fits = stored >= 0 && stored % keep == 0 && stored < INT64_MAX / PARE__SPARSE_MOST;
  form->layout.inputs = fits ? stored / keep * of : 0;
  for (int d = 0, from = 0; d < rank; d++) {
    dim[d] = d == axis ? form->layout.inputs : values->dims.items[from++];
    fits = fits && dim[d] >= 0 && (d == axis || pare__i64_mul(form->layout.rows, dim[d], &form->layout.rows));
    if (d > axis) fits = fits && pare__i64_mul(form->inner, dim[d], &form->inner);
  }
  return fits ? PARE_OK
              : pare__fail(PARE_ERR_FORMAT, "tensor '%.100s': its values are no groups of %lld", name, (long long)keep);
}

/* Do the arrays hold what the form needs? */
static pare_status check_sizes(sparse_part *part) {
  for (int which = VALUES; which <= INDICES; which++) {
    pare__onnx_data data;
    PARE__TRY(pare__onnx_tensor_data(part->source, &part->tensor[which], &data));
    const size_t have = data.nbytes;
    pare__onnx_data_close(&data);
    if (have != part->nbytes[which])
      return pare__fail(PARE_ERR_FORMAT, "tensor '%.100s': its %s have %zu bytes, not the %zu of %d:%d",
                        part->tensor[DENSE].name, which == VALUES ? "values" : "indices", have, part->nbytes[which],
                        part->form.layout.keep, part->form.layout.of);
  }
  return PARE_OK;
}

static pare_status expand_part(pare__onnx_builder *build, pare__onnx_model *model, const pare__onnx_node *node) {
  sparse_part *part;
  int64_t dim[PARE_MAX_RANK];
  if (node->input.count != 2 || node->output.count != 1)
    return pare__fail(PARE_ERR_FORMAT, "a DecodeNM has two inputs and one output, not %zu and %zu", node->input.count,
                      node->output.count);
  const char *name = node->output.items[0];
  pare__onnx_tensor *values = find_tensor(model->graph, node->input.items[0]),
                    *indices = find_tensor(model->graph, node->input.items[1]);
  if (!values || !indices || values == indices || values->stream || indices->stream)
    return pare__fail(PARE_ERR_FORMAT, "tensor '%.100s': its values '%.100s' and indices '%.100s' are no initialisers",
                      name, node->input.items[0], node->input.items[1]);
  PARE__TRY(part_open(model, &part));
  part->tensor[VALUES] = *values;
  part->tensor[INDICES] = *indices;
  part->tensor[DENSE].name = name;
  PARE__TRY(read_form(node, values, indices, &part->form, dim));
  PARE__TRY(named(part, DENSE, set_sizes(part)));
  PARE__TRY(check_sizes(part));
  PARE__TRY(pare__onnx_tensor_set(build, values, name, values->data_type, (int)values->dims.count, dim,
                                  &part->stream[DENSE], (pare__onnx_bytes){0}));
  indices->name = pare__onnx_gone;
  return PARE_OK;
}

/* Without the indices, the nodes and the opset that are gone. */
static void remove_gone(pare__onnx_model *model) {
  pare__onnx_graph *graph = model->graph;
  size_t kept = 0;
  bool used = false;
  for (size_t i = 0; i < graph->initializer.count; i++)
    if (graph->initializer.items[i].name != pare__onnx_gone)
      graph->initializer.items[kept++] = graph->initializer.items[i];
  graph->initializer.count = kept;
  kept = 0;
  for (size_t i = 0; i < graph->node.count; i++) {
    if (is_decode(&graph->node.items[i])) continue;
    used = used || strcmp(pare__onnx_domain(graph->node.items[i].domain), DOMAIN) == 0;
    graph->node.items[kept++] = graph->node.items[i];
  }
  graph->node.count = kept;
  kept = 0;
  for (size_t i = 0; i < model->opset_import.count; i++)
    if (used || strcmp(pare__onnx_domain(model->opset_import.items[i].domain), DOMAIN) != 0)
      model->opset_import.items[kept++] = model->opset_import.items[i];
  model->opset_import.count = kept;
}

pare_status pare__expand(pare__onnx_model *model, size_t *count) {
  pare__onnx_builder build;
  pare_status status = pare__onnx_builder_open(model, &build);
  *count = 0;
  for (size_t i = 0; i < model->graph->node.count && status == PARE_OK; i++) {
    if (!is_decode(&model->graph->node.items[i])) continue;
    status = expand_part(&build, model, &model->graph->node.items[i]);
    ++*count;
  }
  if (status == PARE_OK && *count > 0) remove_gone(model);
  pare__onnx_builder_close(&build);
  return status;
}
