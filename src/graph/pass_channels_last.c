/* Convolutions in graphs whose channels are last, as TensorFlow's exporter writes them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each stands between two Transposes, and what follows (bias, norm, activation, padding, mean, sum) has channels last.
 * Such nodes are made to read what the convolution gives: the Transpose to channels last waits behind them, until that
 * of the next convolution undoes it (pass transpose). All other passes then find what they would find in a graph whose
 * channels were first from the beginning. */
#include <stdlib.h>
#include <string.h>

#include "graph/operator.h"
#include "graph/pass.h"

#define MOST_STEPS 16 /* from a value back to the convolution that it comes from */

typedef struct turning {
  pare__rewrite rewrite;
  /* One a value that there was at the beginning: what it is the Transpose of, PARE__NO_VALUE: of nothing that is known;
   * and its rank. */
  int32_t *first;
  int *rank;
  size_t nvalues, nnodes, capacity;
  pare__node *node; /* the new list */
  bool changed;
} turning;

/* Of one input, but for Clip's bounds, which are scalars. */
static bool is_unary(const pare__node *node) { return pare__node_is_elementwise(node) || pare__node_is(node, "Clip"); }

static bool is_binary(const pare__node *node) {
  static const char *const names[] = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu"};
  return pare__node_is_one_of(node, PARE__COUNT(names), names) && node->ninputs == 2;
}

static bool is_reduction(const pare__node *node) {
  static const char *const names[] = {"ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"};
  return pare__node_is_one_of(node, PARE__COUNT(names), names);
}

/* Dimension d of a tensor with channels last is this one with channels first. */
static int first_of(int rank, int d) { return d == 0 ? 0 : d == rank - 1 ? 1 : d + 1; }

/* The rank of what the node turns from channels first to last; 0: it is no such Transpose. */
static int turns_last(const pare__node *node) {
  const pare__onnx_attribute *perm = pare__node_is(node, "Transpose") ? pare__node_attribute(node, "perm") : NULL;
  if (!perm || perm->ints.count < 3 || perm->ints.count > PARE_MAX_RANK) return 0;
  const int rank = (int)perm->ints.count;
  for (int d = 0; d < rank; d++)
    if (perm->ints.items[d] != first_of(rank, d)) return 0;
  return rank;
}

/* Does the value come from an operator whose channels are first? */
static bool has_channels_first(const turning *work, int32_t value) {
  static const char *const names[] = {"Conv",         "ConvTranspose", "BatchNormalization", "MaxPool",
                                      "AveragePool",  "Resize",        "GlobalAveragePool",  "GlobalMaxPool",
                                      "DepthToSpace", "Upsample"};
  for (int step = 0; step < MOST_STEPS && value >= 0; step++) {
    const int32_t place = work->rewrite.producer[value];
    const pare__node *node = place >= 0 ? &work->rewrite.graph->node[place] : NULL;
    if (!node || node->ninputs == 0) return false;
    if (pare__node_is_one_of(node, PARE__COUNT(names), names) || strcmp(node->op_type, "FusedConv") == 0) return true;
    if (!is_unary(node) && !is_binary(node) && !is_reduction(node) && !pare__node_is(node, "Pad") &&
        !pare__node_is(node, "Concat"))
      return false;
    value =
        node->ninputs == 2 && work->rewrite.network->value[node->input[0]].constant ? node->input[1] : node->input[0];
  }
  return false;
}

static bool is_turned(const turning *work, int32_t value) {
  return value >= 0 && (size_t)value < work->nvalues && work->first[value] >= 0;
}

static pare_status append(turning *work, const pare__node *node) {
  PARE__TRY(pare__array_grow((void **)&work->node, &work->capacity, work->nnodes, sizeof *work->node));
  work->node[work->nnodes++] = *node;
  return PARE_OK;
}

/* ---- inputs ---- */

/* A constant that broadcasts to channels last, to channels first; PARE__NO_VALUE: more than one of its dimensions is
 * longer than 1. */
static pare_status turn_constant(turning *work, int32_t value, int rank, int32_t *out) {
  const pare__content *content = work->rewrite.network->value[value].constant;
  *out = PARE__NO_VALUE;
  if (content->shape.rank > rank) return PARE_OK;
  int64_t dim[PARE_MAX_RANK];
  int longer = 0;
  for (int d = 0; d < rank; d++) {
    const int own = d - (rank - content->shape.rank);
    dim[first_of(rank, d)] = own < 0 ? 1 : content->shape.dim[own];
    longer += own >= 0 && content->shape.dim[own] != 1;
  }
  if (longer > 1) return PARE_OK;
  *out = value;
  if (longer == 0) return PARE_OK;
  pare__content *turned;
  PARE__TRY(pare__content_create(content->dtype, rank, dim, content->data, &turned));
  return pare__network_add_constant(work->rewrite.network, turned, out);
}

/* Inputs 0 … count - 1, each turned or, unless `all`, constant. *done: they could be. */
static pare_status turn_inputs(turning *work, pare__node *node, unsigned count, int rank, bool all, bool *done) {
  *done = false;
  for (unsigned k = 0; k < count; k++) {
    const int32_t value = node->input[k];
    if (is_turned(work, value) && work->rank[value] == rank) {
      node->input[k] = work->first[value];
      continue;
    }
    if (all || value < 0 || !work->rewrite.network->value[value].constant) return PARE_OK;
    PARE__TRY(turn_constant(work, value, rank, &node->input[k]));
    if (node->input[k] < 0) return PARE_OK;
  }
  *done = true;
  return PARE_OK;
}

/* ---- numbers of dimensions ---- */

static pare_status write_list(turning *work, pare__node *node, const char *name, size_t count, const int64_t *list) {
  if (pare__node_attribute(node, name)) return pare__node_set_ints(work->rewrite.network, node, name, count, list);
  pare__content *content;
  PARE__TRY(pare__content_create(PARE_I64, 1, (const int64_t[]){(int64_t)count}, list, &content));
  return pare__network_add_constant(work->rewrite.network, content, &node->input[1]);
}

static pare_status turn_pads(turning *work, pare__node *node, int rank, bool *done) {
  int64_t pads[2 * PARE_MAX_RANK], turned[2 * PARE_MAX_RANK];
  size_t count;
  *done = !pare__node_has(node, 3) &&
          pare__node_list(work->rewrite.network, node, "pads", PARE__COUNT(pads), pads, &count) &&
          count == 2 * (size_t)rank;
  if (!*done) return PARE_OK;
  for (int d = 0; d < rank; d++) {
    turned[first_of(rank, d)] = pads[d];
    turned[rank + first_of(rank, d)] = pads[rank + d];
  }
  return write_list(work, node, "pads", count, turned);
}

/* *keeps: the reduced dimensions stay. Where they go, what is left must be in the order that it had. */
static pare_status turn_axes(turning *work, pare__node *node, int rank, bool *keeps, bool *done) {
  int64_t axes[PARE_MAX_RANK];
  size_t count;
  bool gone[PARE_MAX_RANK] = {false};
  *keeps = pare__node_int(node, "keepdims", 1) != 0;
  *done = pare__node_list(work->rewrite.network, node, "axes", PARE__COUNT(axes), axes, &count);
  for (size_t i = 0; i < count && *done; i++) {
    const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    *done = axis >= 0 && axis < rank;
    if (!*done) return PARE_OK;
    gone[axis] = true;
    axes[i] = first_of(rank, (int)axis);
  }
  for (int d = 0, last = -1; d < rank && *done && !*keeps; d++) {
    if (gone[d]) continue;
    *done = first_of(rank, d) > last;
    last = first_of(rank, d);
  }
  return *done ? write_list(work, node, "axes", count, axes) : PARE_OK;
}

static pare_status turn_axis(turning *work, pare__node *node, int rank, bool *done) {
  int64_t axis = pare__node_int(node, "axis", 0);
  if (axis < 0) axis += rank;
  *done = axis >= 0 && axis < rank;
  return *done ? pare__node_set_int(work->rewrite.network, node, "axis", first_of(rank, (int)axis)) : PARE_OK;
}

/* ---- nodes ---- */

/* The node as it is with channels first. *keeps: so is its result, else that is what it was. */
static pare_status turn(turning *work, pare__node *node, int rank, bool *keeps, bool *done) {
  *keeps = true;
  *done = false;
  if (is_unary(node)) return turn_inputs(work, node, 1, rank, true, done);
  if (is_binary(node)) return turn_inputs(work, node, 2, rank, false, done);
  const bool concat = pare__node_is(node, "Concat"), pad = pare__node_is(node, "Pad");
  if (!concat && !pad && !is_reduction(node)) return PARE_OK;
  PARE__TRY(turn_inputs(work, node, concat ? node->ninputs : 1, rank, true, done));
  if (!*done) return PARE_OK;
  return concat ? turn_axis(work, node, rank, done)
         : pad  ? turn_pads(work, node, rank, done)
                : turn_axes(work, node, rank, keeps, done);
}

static void describe(pare__network *network, int32_t last, int rank, int32_t first) {
  const pare__value *from = &network->value[last];
  pare__value *to = &network->value[first];
  to->onnx_dtype = from->onnx_dtype;
  to->rank = rank;
  for (int d = 0; d < rank; d++) {
    to->dim[first_of(rank, d)] = from->rank == rank ? from->dim[d] : -1;
    to->symbol[first_of(rank, d)] = from->rank == rank ? from->symbol[d] : NULL;
  }
}

/* From `first` to what the node made. */
static pare_status append_transpose(turning *work, const pare__node *made, int32_t first, int rank) {
  pare__network *network = work->rewrite.network;
  pare__node transpose;
  int64_t perm[PARE_MAX_RANK];
  for (int d = 0; d < rank; d++) perm[d] = first_of(rank, d);
  PARE__TRY(pare__node_create(network, "", "Transpose", made->opset, 1, 1, &transpose));
  PARE__TRY(pare__node_set_ints(network, &transpose, "perm", (size_t)rank, perm));
  transpose.op = pare__operator_find("", "Transpose", made->opset);
  transpose.name = made->name;
  transpose.input[0] = first;
  transpose.output[0] = made->output[0];
  return append(work, &transpose);
}

static pare_status rewrite_node(turning *work, const pare__node *old) {
  int rank = 0;
  for (unsigned k = 0; k < old->ninputs && rank == 0; k++)
    if (is_turned(work, old->input[k])) rank = work->rank[old->input[k]];
  if (rank == 0 || old->noutputs != 1 || old->output[0] < 0 || old->nsubgraphs > 0) return append(work, old);
  pare__network *network = work->rewrite.network;
  pare__node node;
  bool keeps, done;
  PARE__TRY(pare__node_create(network, old->domain, old->op_type, old->opset, old->ninputs, 1, &node));
  node.op = old->op;
  node.name = old->name;
  node.nattributes = old->nattributes;
  node.attribute = old->attribute;
  memcpy(node.input, old->input, old->ninputs * sizeof *node.input);
  node.output[0] = old->output[0];
  PARE__TRY(turn(work, &node, rank, &keeps, &done));
  if (!done) return append(work, old);
  work->changed = true;
  if (!keeps) return append(work, &node);
  PARE__TRY(pare__network_add_value(network, network->value[old->output[0]].name, &node.output[0]));
  describe(network, old->output[0], rank, node.output[0]);
  work->first[old->output[0]] = node.output[0];
  work->rank[old->output[0]] = rank;
  PARE__TRY(append(work, &node));
  return append_transpose(work, old, node.output[0], rank);
}

static pare_status rewrite_graph(turning *work) {
  pare__graph *graph = work->rewrite.graph;
  for (size_t i = 0; i < graph->nnodes; i++) {
    const pare__node *node = &graph->node[i];
    const int rank = turns_last(node);
    if (rank > 0 && node->input[0] >= 0 && node->output[0] >= 0 && has_channels_first(work, node->input[0])) {
      work->first[node->output[0]] = node->input[0];
      work->rank[node->output[0]] = rank;
    }
    PARE__TRY(rewrite_node(work, node));
  }
  return work->changed ? pare__rewrite_nodes(&work->rewrite, work->node, work->nnodes) : PARE_OK;
}

static bool turns(const pare__graph *graph) {
  for (size_t i = 0; i < graph->nnodes; i++)
    if (turns_last(&graph->node[i])) return true;
  return false;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  if (!turns(graph)) return PARE_OK;
  turning work = {.nvalues = network->nvalues};
  PARE__TRY(pare__rewrite_begin(network, graph, &work.rewrite));
  work.first = malloc((work.nvalues + 1) * sizeof *work.first);
  work.rank = calloc(work.nvalues + 1, sizeof *work.rank);
  for (size_t i = 0; work.first && i < work.nvalues; i++) work.first[i] = PARE__NO_VALUE;
  const pare_status status =
      work.first && work.rank ? rewrite_graph(&work) : pare__fail_memory("a pass", work.nvalues * sizeof *work.first);
  *changed = *changed || work.changed;
  free(work.first);
  free(work.rank);
  free(work.node);
  pare__rewrite_end(&work.rewrite);
  return status;
}

const pare__pass pare__pass_channels_last = {"channels-last", "transposes to channels last wait until others undo them",
                                             run};
