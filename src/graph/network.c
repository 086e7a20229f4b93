/* A network: its values, nodes, attributes, and who uses what. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "graph/graph.h"

void pare__network_close(pare__network *network) {
  if (!network) return;
  for (size_t i = 0; i < network->nvalues; i++) pare__content_release(network->value[i].constant);
  free(network->value);
  free(network->rewriting.uses);
  free(network->rewriting.producer);
  free(network->rewriting.instead);
  pare__onnx_close(network->onnx);
  free(network);
}

pare_status pare__network_add_value(pare__network *network, const char *name, int32_t *out) {
  if (network->nvalues >= INT32_MAX) return pare__fail(PARE_ERR_LIMIT, "a model has too many values");
  PARE__TRY(
      pare__array_grow((void **)&network->value, &network->values_capacity, network->nvalues, sizeof *network->value));
  pare__value *value = &network->value[network->nvalues];
  *value = (pare__value){.name = name, .rank = -1};
  *out = (int32_t)network->nvalues++;
  return PARE_OK;
}

pare_status pare__network_add_constant(pare__network *network, pare__content *content, int32_t *out) {
  const pare_status status = pare__network_add_value(network, "", out);
  if (status != PARE_OK) {
    pare__content_release(content);
    return status;
  }
  pare__value *value = &network->value[*out];
  value->constant = content;
  value->onnx_dtype = pare__onnx_dtype_from_pare(content->dtype);
  value->rank = content->shape.rank;
  memcpy(value->dim, content->shape.dim, sizeof value->dim);
  return PARE_OK;
}

static pare_status allocate_ids(pare__network *network, unsigned count, int32_t **out) {
  void *ids;
  PARE__TRY(pare__onnx_allocate(network->onnx->source, PARE__MAX(count, 1U) * sizeof **out, &ids));
  *out = ids;
  for (unsigned i = 0; i < count; i++) (*out)[i] = PARE__NO_VALUE;
  return PARE_OK;
}

pare_status pare__node_create(pare__network *network, const char *domain, const char *op_type, int64_t opset,
                              unsigned ninputs, unsigned noutputs, pare__node *out) {
  *out = (pare__node){
      .name = "", .op_type = op_type, .domain = domain, .opset = opset, .ninputs = ninputs, .noutputs = noutputs};
  PARE__TRY(allocate_ids(network, ninputs, &out->input));
  return allocate_ids(network, noutputs, &out->output);
}

/* ---- attributes ---- */

const pare__onnx_attribute *pare__node_attribute(const pare__node *node, const char *name) {
  for (size_t i = 0; i < node->nattributes; i++)
    if (strcmp(node->attribute[i].name, name) == 0) return &node->attribute[i];
  return NULL;
}

/* The attribute to set: the one of that name, or one more. The list may be the file's own: it is copied. */
static pare_status attribute_to_set(pare__network *network, pare__node *node, const char *name, int32_t type,
                                    pare__onnx_attribute **out) {
  void *list;
  PARE__TRY(pare__onnx_allocate(network->onnx->source, (node->nattributes + 1) * sizeof **out, &list));
  if (node->nattributes > 0) memcpy(list, node->attribute, node->nattributes * sizeof **out);
  node->attribute = list;
  size_t i = 0;
  while (i < node->nattributes && strcmp(node->attribute[i].name, name) != 0) i++;
  if (i == node->nattributes) node->nattributes++;
  *out = &node->attribute[i];
  **out = (pare__onnx_attribute){.type = type};
  return pare__onnx_text(network->onnx->source, name, &(*out)->name);
}

pare_status pare__node_set_int(pare__network *network, pare__node *node, const char *name, int64_t value) {
  pare__onnx_attribute *attribute;
  PARE__TRY(attribute_to_set(network, node, name, PARE__ONNX_ATTRIBUTE_INT, &attribute));
  attribute->i = value;
  return PARE_OK;
}

pare_status pare__node_set_float(pare__network *network, pare__node *node, const char *name, float value) {
  pare__onnx_attribute *attribute;
  PARE__TRY(attribute_to_set(network, node, name, PARE__ONNX_ATTRIBUTE_FLOAT, &attribute));
  attribute->f = value;
  return PARE_OK;
}

pare_status pare__node_set_ints(pare__network *network, pare__node *node, const char *name, size_t count,
                                const int64_t *values) {
  pare__onnx_attribute *attribute;
  PARE__TRY(attribute_to_set(network, node, name, PARE__ONNX_ATTRIBUTE_INTS, &attribute));
  for (size_t i = 0; i < count; i++) {
    int64_t *item;
    PARE__TRY(PARE__ONNX_APPEND(network->onnx->source, &attribute->ints, &item));
    *item = values[i];
  }
  return PARE_OK;
}

pare_status pare__node_set_floats(pare__network *network, pare__node *node, const char *name, size_t count,
                                  const double *values) {
  pare__onnx_attribute *attribute;
  PARE__TRY(attribute_to_set(network, node, name, PARE__ONNX_ATTRIBUTE_FLOATS, &attribute));
  for (size_t i = 0; i < count; i++) {
    float *item;
    PARE__TRY(PARE__ONNX_APPEND(network->onnx->source, &attribute->floats, &item));
    *item = (float)values[i];
  }
  return PARE_OK;
}

pare_status pare__node_set_text(pare__network *network, pare__node *node, const char *name, const char *value) {
  pare__onnx_attribute *attribute;
  const char *text;
  PARE__TRY(attribute_to_set(network, node, name, PARE__ONNX_ATTRIBUTE_STRING, &attribute));
  PARE__TRY(pare__onnx_text(network->onnx->source, value, &text));
  attribute->s = (pare__onnx_bytes){text, strlen(text)};
  return PARE_OK;
}

/* ---- when values die ---- */

/* While a graph is settled: the last node of it that reads each value, plus 1; 0: none. `kept`: outputs. */
typedef struct settling {
  pare__network *network;
  uint32_t *last;
  bool *kept;
} settling;

static void mark_reads(const pare__node *node, uint32_t position, uint32_t *last) {
  for (unsigned k = 0; k < node->ninputs; k++)
    if (node->input[k] >= 0) last[node->input[k]] = position;
  for (unsigned k = 0; k < node->nsubgraphs; k++) {
    const pare__graph *graph = node->subgraph[k].graph;
    for (size_t i = 0; i < graph->nnodes; i++) mark_reads(&graph->node[i], position, last);
    for (unsigned o = 0; o < graph->noutputs; o++)
      if (graph->output[o] >= 0) last[graph->output[o]] = position;
  }
}

/* The values that a graph makes itself: its inputs and its nodes' outputs. The rest belongs to graphs around it. */
static pare_status fill_dead(settling *work, pare__graph *graph, uint32_t *next, bool count_only) {
  for (unsigned k = 0; k < graph->ninputs; k++) {
    const int32_t id = graph->input[k];
    if (id < 0 || work->kept[id] || graph->nnodes == 0) continue;
    const uint32_t position = work->last[id] ? work->last[id] - 1 : 0;
    if (count_only)
      graph->dead_from[position + 1]++;
    else
      graph->dead[next[position]++] = id;
  }
  for (size_t i = 0; i < graph->nnodes; i++)
    for (unsigned k = 0; k < graph->node[i].noutputs; k++) {
      const int32_t id = graph->node[i].output[k];
      if (id < 0 || work->kept[id]) continue;
      const uint32_t position = work->last[id] ? work->last[id] - 1 : (uint32_t)i;
      if (count_only)
        graph->dead_from[position + 1]++;
      else
        graph->dead[next[position]++] = id;
    }
  return PARE_OK;
}

static pare_status settle(settling *work, pare__graph *graph) {
  for (size_t i = 0; i < graph->nnodes; i++)
    for (unsigned k = 0; k < graph->node[i].nsubgraphs; k++) PARE__TRY(settle(work, graph->node[i].subgraph[k].graph));
  for (size_t i = 0; i < graph->nnodes; i++) mark_reads(&graph->node[i], (uint32_t)i + 1, work->last);
  for (unsigned k = 0; k < graph->noutputs; k++)
    if (graph->output[k] >= 0) work->kept[graph->output[k]] = true;
  void *memory;
  PARE__TRY(pare__onnx_allocate(work->network->onnx->source, (graph->nnodes + 2) * sizeof *graph->dead_from, &memory));
  graph->dead_from = memory;
  fill_dead(work, graph, NULL, true);
  for (size_t i = 0; i < graph->nnodes; i++) graph->dead_from[i + 1] += graph->dead_from[i];
  const size_t total = graph->dead_from[graph->nnodes];
  PARE__TRY(pare__onnx_allocate(work->network->onnx->source, (total + 1) * sizeof *graph->dead, &memory));
  graph->dead = memory;
  uint32_t *next = malloc((graph->nnodes + 1) * sizeof *next);
  if (!next) return pare__fail_memory("the lives of values", (graph->nnodes + 1) * sizeof *next);
  memcpy(next, graph->dead_from, (graph->nnodes + 1) * sizeof *next);
  fill_dead(work, graph, next, false);
  free(next);
  /* for the next graph; all values at once would cost a model of many small graphs too much */
  for (size_t i = 0; i < graph->nnodes; i++) mark_reads(&graph->node[i], 0, work->last);
  return PARE_OK;
}

pare_status pare__network_settle(pare__network *network) {
  settling work = {network, calloc(network->nvalues + 1, sizeof *work.last),
                   calloc(network->nvalues + 1, sizeof *work.kept)};
  pare_status status = work.last && work.kept
                           ? settle(&work, &network->graph)
                           : pare__fail_memory("the lives of values", network->nvalues * sizeof *work.last);
  free(work.last);
  free(work.kept);
  return status;
}
