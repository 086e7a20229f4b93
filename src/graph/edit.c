/* Models with other outputs and other constants than their files have. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/graph.h"

static bool is_named(const pare__network *network, int32_t id, const char *name) {
  return id >= 0 && network->value[id].name && strcmp(network->value[id].name, name) == 0;
}

/* A value of the main graph: an input, or an output of one of its nodes. */
static int32_t find_value(const pare__network *network, const char *name) {
  const pare__graph *graph = &network->graph;
  for (unsigned i = 0; i < graph->ninputs; i++)
    if (is_named(network, graph->input[i], name)) return graph->input[i];
  for (size_t n = 0; n < graph->nnodes; n++)
    for (unsigned i = 0; i < graph->node[n].noutputs; i++)
      if (is_named(network, graph->node[n].output[i], name)) return graph->node[n].output[i];
  return PARE__NO_VALUE;
}

static pare_status set_outputs(pare__network *network, const pare__edits *edits) {
  void *ids;
  PARE__TRY(pare__onnx_allocate(network->onnx->source, edits->noutputs * sizeof(int32_t), &ids));
  int32_t *output = ids;
  for (size_t i = 0; i < edits->noutputs; i++) {
    output[i] = find_value(network, edits->output[i]);
    if (output[i] < 0) return pare__fail(PARE_ERR_ARGUMENT, "the graph has no value '%s'", edits->output[i]);
  }
  network->graph.output = output;
  network->graph.noutputs = (unsigned)edits->noutputs;
  return PARE_OK;
}

/* ---- inputs with a default ---- */

static bool is_overridden(const pare__onnx_graph *graph, const char *name, size_t count, const char *const *names) {
  bool is_input = false, is_named = false;
  for (size_t i = 0; i < count && name && !is_named; i++) is_named = strcmp(names[i], name) == 0;
  for (size_t i = 0; i < graph->input.count && is_named && !is_input; i++)
    is_input = graph->input.items[i].name && strcmp(graph->input.items[i].name, name) == 0;
  return is_input;
}

void pare__onnx_override(pare__onnx_model *onnx, size_t count, const char *const *names) {
  pare__onnx_graph *graph = onnx->graph;
  size_t kept = 0;
  if (!graph) return;
  for (size_t i = 0; i < graph->initializer.count; i++)
    if (!is_overridden(graph, graph->initializer.items[i].name, count, names))
      graph->initializer.items[kept++] = graph->initializer.items[i];
  graph->initializer.count = kept;
  kept = 0;
  for (size_t i = 0; i < graph->sparse_initializer.count; i++) {
    const pare__onnx_sparse_tensor *sparse = &graph->sparse_initializer.items[i];
    if (!is_overridden(graph, sparse->values ? sparse->values->name : NULL, count, names))
      graph->sparse_initializer.items[kept++] = *sparse;
  }
  graph->sparse_initializer.count = kept;
}

/* ---- other outputs, other constants ---- */

/* The Constant node that makes the value goes: the value is known without it. */
static void remove_constant(pare__graph *graph, int32_t id) {
  for (size_t n = 0; n < graph->nnodes; n++) {
    if (graph->node[n].noutputs != 1 || graph->node[n].output[0] != id) continue;
    memmove(&graph->node[n], &graph->node[n + 1], (graph->nnodes - n - 1) * sizeof *graph->node);
    graph->nnodes--;
    return;
  }
}

static bool is_constant_node(const pare__node *node) {
  return node->ninputs == 0 && strcmp(node->op_type, "Constant") == 0 && node->noutputs == 1;
}

static int32_t find_constant(const pare__network *network, const char *name) {
  const pare__graph *graph = &network->graph;
  for (size_t n = 0; n < graph->nnodes; n++)
    if (is_constant_node(&graph->node[n]) && is_named(network, graph->node[n].output[0], name))
      return graph->node[n].output[0];
  for (size_t i = 0; i < network->nvalues; i++)
    if (network->value[i].constant && is_named(network, (int32_t)i, name)) return (int32_t)i;
  return PARE__NO_VALUE;
}

static pare_status set_constant(pare__network *network, const char *name, pare__content *content) {
  const int32_t id = find_constant(network, name);
  if (id < 0) return pare__fail(PARE_ERR_ARGUMENT, "the graph has no constant '%s'", name);
  pare__value *value = &network->value[id];
  if (value->constant && value->constant->dtype != content->dtype)
    return pare__fail(PARE_ERR_TYPE, "constant '%s' is %s; its replacement %s", name,
                      pare_dtype_name(value->constant->dtype), pare_dtype_name(content->dtype));
  if (value->constant && !pare__shape_equal(&value->constant->shape, &content->shape))
    return pare__fail(PARE_ERR_SHAPE, "constant '%s' and its replacement differ in shape", name);
  remove_constant(&network->graph, id);
  pare__content_release(value->constant);
  value->constant = pare__content_retain(content);
  value->onnx_dtype = pare__onnx_dtype_from_pare(content->dtype);
  value->rank = content->shape.rank;
  memcpy(value->dim, content->shape.dim, sizeof value->dim);
  return PARE_OK;
}

pare_status pare__network_edit(pare__network *network, const pare__edits *edits) {
  if (edits->noutputs > 0) PARE__TRY(set_outputs(network, edits));
  for (size_t i = 0; i < edits->nconstants; i++)
    PARE__TRY(set_constant(network, edits->constant[i], edits->content[i]));
  return PARE_OK;
}
