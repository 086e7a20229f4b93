/* Transposes that undo or follow each other, also around elementwise nodes. SPDX-License-Identifier: Apache-2.0
 *
 * Transpose after Transpose is one, or none. Between two of them an operator on single elements may stand: it reads
 * what the first one reads then. A product needs no help: its operands are views of any strides. */
#include <string.h>

#include "graph/pass.h"

/* The permutation of a Transpose that writes it down. */
static bool permutation(const pare__node *node, int64_t *out, size_t *rank) {
  const pare__onnx_attribute *perm = node ? pare__node_attribute(node, "perm") : NULL;
  if (!perm || perm->ints.count == 0 || perm->ints.count > PARE_MAX_RANK) return false;
  *rank = perm->ints.count;
  uint32_t seen = 0;
  for (size_t d = 0; d < *rank; d++) {
    out[d] = perm->ints.items[d];
    if (out[d] < 0 || out[d] >= (int64_t)*rank) return false;
    seen |= 1U << out[d];
  }
  return seen == (1U << *rank) - 1;
}

static bool is_identity(const int64_t *perm, size_t rank) {
  for (size_t d = 0; d < rank; d++)
    if (perm[d] != (int64_t)d) return false;
  return true;
}

/* Transpose i reads `from` by this permutation instead of what it reads. */
static pare_status read_through(pare__rewrite *rewrite, size_t i, int32_t from, const int64_t *perm, size_t rank) {
  const pare__node *old = &rewrite->graph->node[i];
  if (is_identity(perm, rank) && !pare__is_output(rewrite->graph, old->output[0])) {
    pare__rewrite_replace(rewrite, old->output[0], from);
    pare__rewrite_remove(rewrite, i);
    return PARE_OK;
  }
  pare__node transpose;
  PARE__TRY(pare__node_create(rewrite->network, "", "Transpose", old->opset, 1, 1, &transpose));
  PARE__TRY(pare__node_set_ints(rewrite->network, &transpose, "perm", rank, perm));
  transpose.name = old->name;
  transpose.input[0] = from;
  transpose.output[0] = old->output[0];
  return pare__rewrite_become(rewrite, i, transpose);
}

/* The shape that was declared for a value is another one now; its rank stays. */
static void forget_shape(pare__value *value) {
  for (int d = 0; d < value->rank; d++) {
    value->dim[d] = -1;
    value->symbol[d] = NULL;
  }
}

/* A Transpose that nobody reads any more: what it reads has one reader less. */
static void drop_unread(pare__rewrite *rewrite, int32_t value) {
  if (rewrite->uses[value] == 0) pare__rewrite_remove(rewrite, (size_t)rewrite->producer[value]);
}

static pare_status simplify(pare__rewrite *rewrite, size_t i) {
  int64_t second[PARE_MAX_RANK], first[PARE_MAX_RANK], both[PARE_MAX_RANK];
  size_t rank, other;
  const pare__node *node = &rewrite->graph->node[i];
  if (!permutation(node, second, &rank) || node->output[0] < 0) return PARE_OK;
  const int32_t read = node->input[0];
  if (read < 0) return PARE_OK;
  if (is_identity(second, rank) && !pare__is_output(rewrite->graph, node->output[0]))
    return read_through(rewrite, i, read, second, rank);
  if (rewrite->producer[read] < 0) return PARE_OK;
  pare__node *between = &rewrite->graph->node[rewrite->producer[read]];
  const bool through = pare__node_is_elementwise(between) && rewrite->uses[read] == 1;
  const int32_t value = through ? between->input[0] : read;
  const pare__node *before = pare__rewrite_made_by(rewrite, value, "Transpose");
  if (!permutation(before, first, &other) || other != rank || before->input[0] < 0) return PARE_OK;
  for (size_t d = 0; d < rank; d++) both[d] = first[second[d]];
  if (!through) {
    PARE__TRY(read_through(rewrite, i, before->input[0], both, rank));
    drop_unread(rewrite, read);
    return PARE_OK;
  }
  if (!is_identity(both, rank)) return PARE_OK; /* it would only move */
  const int32_t source = before->input[0];
  rewrite->uses[value]--;
  rewrite->uses[source]++;
  between->input[0] = source;
  forget_shape(&rewrite->network->value[read]);
  drop_unread(rewrite, value);
  return read_through(rewrite, i, read, both, rank);
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  pare__rewrite rewrite;
  PARE__TRY(pare__rewrite_begin(network, graph, &rewrite));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < graph->nnodes && status == PARE_OK; i++) {
    pare__rewrite_visit(&rewrite, i);
    if (pare__rewrite_alive(&rewrite, i) && pare__node_is(&graph->node[i], "Transpose")) status = simplify(&rewrite, i);
  }
  *changed = *changed || rewrite.changed;
  pare__rewrite_end(&rewrite);
  return status;
}

const pare__pass pare__pass_transpose = {"transpose", "transposes that undo or follow each other", run};
