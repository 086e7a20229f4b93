/* Nodes that compute what another one has computed: common subexpressions. SPDX-License-Identifier: Apache-2.0
 *
 * Exporters write the same shape arithmetic, mask or constant again for every layer. Constants of few elements are
 * compared by what they hold. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "graph/operator.h"
#include "graph/pass.h"

#define MOST_CONSTANT_BYTES 4096 /* compared by content */

/* ---- values ---- */

static bool same_constant(const pare__content *a, const pare__content *b) {
  return a == b || (a && b && a->dtype == b->dtype && a->shape.rank == b->shape.rank && a->nbytes == b->nbytes &&
                    a->nbytes <= MOST_CONSTANT_BYTES &&
                    memcmp(a->shape.dim, b->shape.dim, (size_t)a->shape.rank * sizeof *a->shape.dim) == 0 &&
                    memcmp(a->data, b->data, a->nbytes) == 0);
}

static bool same_value(const pare__network *network, int32_t a, int32_t b) {
  if (a == b) return true;
  if (a < 0 || b < 0) return false;
  const pare__content *left = network->value[a].constant, *right = network->value[b].constant;
  return left && right && same_constant(left, right);
}

static uint64_t value_hash(const pare__network *network, int32_t id) {
  const pare__content *content = id >= 0 ? network->value[id].constant : NULL;
  if (content && content->nbytes <= MOST_CONSTANT_BYTES) return pare__hash64(content->data, content->nbytes);
  return (uint64_t)(int64_t)id;
}

/* ---- nodes ---- */

/* 0 and -0 differ, and NaN is like nothing. */
static bool same_floats(size_t count, const float *a, const float *b) {
  for (size_t i = 0; i < count; i++)
    if (a[i] != b[i] || signbit(a[i]) != signbit(b[i])) return false;
  return true;
}

static bool same_attribute(const pare__onnx_attribute *a, const pare__onnx_attribute *b) {
  if (strcmp(a->name, b->name) != 0 || a->type != b->type) return false;
  switch (a->type) {
  case PARE__ONNX_ATTRIBUTE_FLOAT: return same_floats(1, &a->f, &b->f);
  case PARE__ONNX_ATTRIBUTE_INT: return a->i == b->i;
  case PARE__ONNX_ATTRIBUTE_STRING:
    return a->s.nbytes == b->s.nbytes && (a->s.nbytes == 0 || memcmp(a->s.data, b->s.data, a->s.nbytes) == 0);
  case PARE__ONNX_ATTRIBUTE_FLOATS:
    return a->floats.count == b->floats.count && same_floats(a->floats.count, a->floats.items, b->floats.items);
  case PARE__ONNX_ATTRIBUTE_INTS:
    return a->ints.count == b->ints.count &&
           (a->ints.count == 0 || memcmp(a->ints.items, b->ints.items, a->ints.count * sizeof *a->ints.items) == 0);
  default: /* tensors and graphs: whoever writes them twice means it */ return false;
  }
}

static bool same_node(const pare__network *network, const pare__node *a, const pare__node *b) {
  if (pare__operator_draws(a->op) || a->op != b->op || a->opset != b->opset || a->ninputs != b->ninputs ||
      a->noutputs != b->noutputs || a->nattributes != b->nattributes)
    return false;
  for (unsigned k = 0; k < a->ninputs; k++)
    if (!same_value(network, a->input[k], b->input[k])) return false;
  for (unsigned k = 0; k < a->noutputs; k++)
    if ((a->output[k] < 0) != (b->output[k] < 0)) return false;
  for (size_t k = 0; k < a->nattributes; k++)
    if (!same_attribute(&a->attribute[k], &b->attribute[k])) return false;
  return true;
}

static uint64_t node_hash(const pare__network *network, const pare__node *node) {
  uint64_t hash = pare__hash64(&node->op, sizeof(const pare__operator *));
  for (unsigned k = 0; k < node->ninputs; k++) {
    const uint64_t both[2] = {hash, value_hash(network, node->input[k])};
    hash = pare__hash64(both, sizeof both);
  }
  return hash;
}

/* Is the result of a node that of its inputs alone? */
static bool is_pure(const pare__node *node) {
  return node->nsubgraphs == 0 && node->noutputs > 0 && !pare__node_is(node, "Dropout");
}

static void merge(pare__rewrite *rewrite, size_t i, const pare__node *first) {
  const pare__node *node = &rewrite->graph->node[i];
  for (unsigned k = 0; k < node->noutputs; k++) /* an output keeps its own name */
    if (node->output[k] >= 0 && pare__is_output(rewrite->graph, node->output[k])) return;
  for (unsigned k = 0; k < node->noutputs; k++)
    if (node->output[k] >= 0) pare__rewrite_replace(rewrite, node->output[k], first->output[k]);
  pare__rewrite_remove(rewrite, i);
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  size_t capacity = 16;
  while (capacity < 2 * graph->nnodes) capacity *= 2;
  size_t *table = calloc(capacity, sizeof *table); /* 1 + node; 0: empty */
  if (!table) return pare__fail_memory("a pass", capacity * sizeof *table);
  pare__rewrite rewrite;
  const pare_status status = pare__rewrite_begin(network, graph, &rewrite);
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    pare__rewrite_visit(&rewrite, i);
    const pare__node *node = &graph->node[i];
    if (!is_pure(node)) continue;
    size_t at = (size_t)node_hash(network, node) & (capacity - 1);
    while (table[at] && !same_node(network, &graph->node[table[at] - 1], node)) at = (at + 1) & (capacity - 1);
    if (table[at])
      merge(&rewrite, i, &graph->node[table[at] - 1]);
    else
      table[at] = i + 1;
  }
  free(table);
  if (status != PARE_OK) return status;
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return PARE_OK;
}

const pare__pass pare__pass_duplicate = {"duplicate", "nodes that compute what another one has computed", run};
