/* Layout: chains of convolutions have their channels in blocks. SPDX-License-Identifier: Apache-2.0
 *
 * A value [N, C, X…] may lie as [N, ceil(C / b), X…, b] instead, b channels side by side: what convolutions of a CPU
 * device read and write by whole vectors (Georganas et al., "Anatomy of High-Performance Deep Learning Convolutions on
 * SIMD Architectures", 2018). A dense convolution reads either layout and writes either; depthwise ones, pooling,
 * elementwise operators and Concat keep the layout that they see, so the values around them form a class with one
 * layout. A class is blocked where that is predicted to move fewer bytes, the conversions at its borders and the
 * channels that fill its last block included.
 *
 *   x --Conv--> a --Relu--> b --depthwise--> c --Conv--> y          classes: {x} {a b c} {y}
 *
 * Shapes are not known yet: of areas only the ratios count, and they follow from the strides. */
#include <stdlib.h>
#include <string.h>

#include "graph/operator.h"
#include "graph/pass.h"

/* Predicted bytes for one element of four, in units of moving it once: what plain layout costs more than blocked.
 * Medians of what tests/bench/layout_costs.c measured on a CPU of 256-bit vectors, 56x56 to 7x7 pixels; single figures
 * lie between 1.2 and 4.3 for depthwise ones, between 0 and 4 for dense ones. */
#define DEPTHWISE_GAIN 2.0   /* vectors of channels need no copy of rows to local memory */
#define DENSE_READ_GAIN 1.2  /* what a tile reads lies on fewer cache lines */
#define DENSE_WRITE_GAIN 1.4 /* whole vectors, no transposition in registers */
#define CONVERSION_COST 2.0  /* read and written once */

#define MOST_RANK 5 /* batch, channels and the dimensions that blocked kernels go over */

/* What is known of a value. */
typedef struct knowledge {
  int rank; /* 0: nothing */
  int64_t channels;
  double area;    /* of its channels, relative */
  int32_t parent; /* in its class */
  /* of the class, at its root */
  bool plain;  /* it cannot be blocked */
  double gain; /* of blocking it, in bytes */
  /* of the value */
  uint32_t uses; /* by nodes that can take it blocked */
  bool is_made;  /* by a node that can make it blocked */
  int32_t twin;  /* the blocked value; PARE__NO_VALUE: none yet */
} knowledge;

typedef struct layout {
  pare__rewrite rewrite;
  int64_t block;
  knowledge *value;
  size_t nvalues; /* before the pass */
  bool *handled;  /* nodes that can take blocks */
  /* the graph's nodes anew */
  pare__node *node;
  size_t nnodes, capacity;
} layout;

static int32_t root_of(const layout *work, int32_t value) {
  knowledge *all = work->value;
  for (; all[value].parent != value; value = all[value].parent) /* halving the way for whoever asks next */
    all[value].parent = all[all[value].parent].parent;
  return value;
}

static knowledge *class_of(const layout *work, int32_t value) { return &work->value[root_of(work, value)]; }

static void unite(layout *work, int32_t a, int32_t b) {
  const int32_t from = root_of(work, a), to = root_of(work, b);
  if (from == to) return;
  knowledge *gone = &work->value[from], *kept = &work->value[to];
  gone->parent = to;
  kept->plain = kept->plain || gone->plain;
  kept->gain += gone->gain;
}

static bool is_known(const layout *work, int32_t value) { return value >= 0 && work->value[value].rank > 0; }

static double bytes_of(const layout *work, int32_t value, bool blocked) {
  const knowledge *k = &work->value[value];
  return 4 * k->area * (double)(blocked ? pare__round_up(k->channels, work->block) : k->channels);
}

static void learn(layout *work, int32_t value, int rank, int64_t channels, double area) {
  knowledge *k = &work->value[value];
  k->rank = rank;
  k->channels = channels;
  k->area = area;
}

/* ---- nodes that take blocks ---- */

static const pare__content *constant_of(const layout *work, int32_t value) {
  return value >= 0 ? work->rewrite.network->value[value].constant : NULL;
}

static double product_of(const pare__node *node, const char *attribute) {
  const pare__onnx_attribute *list = pare__node_attribute(node, attribute);
  double product = 1;
  for (size_t i = 0; list && i < list->ints.count; i++) product *= (double)list->ints.items[i];
  return product;
}

/* A convolution of constant weights, dense or depthwise. */
static bool handle_convolution(layout *work, const pare__node *node) {
  const pare__content *w = node->ninputs > 1 ? constant_of(work, node->input[1]) : NULL;
  if (!w || w->shape.rank < 3 || w->shape.rank > MOST_RANK || w->shape.dim[0] < 1) return false;
  if (w->dtype != PARE_F32 && w->dtype != PARE_F16 && w->dtype != PARE_BF16) return false;
  const pare__onnx_attribute *group = pare__node_attribute(node, "group");
  const int64_t groups = group ? group->i : 1, outputs = w->shape.dim[0];
  const int32_t x = node->input[0], y = node->output[0], residual = node->ninputs > 3 ? node->input[3] : PARE__NO_VALUE;
  const bool depthwise = groups > 1 && groups == outputs && w->shape.dim[1] == 1;
  const double stride = product_of(node, "strides");
  const double area = is_known(work, x) ? work->value[x].area : 1;
  learn(work, y, w->shape.rank, outputs, stride > 0 ? area / stride : area);
  if ((groups != 1 && !depthwise) || constant_of(work, x)) return false;
  if (!is_known(work, x)) learn(work, x, w->shape.rank, w->shape.dim[1] * groups, area);
  if (work->value[x].rank != w->shape.rank || work->value[x].channels != w->shape.dim[1] * groups) return false;
  if (residual >= 0) {
    const bool fits = is_known(work, residual) && work->value[residual].rank == w->shape.rank &&
                      work->value[residual].channels == outputs && !constant_of(work, residual);
    if (fits)
      unite(work, residual, y);
    else
      class_of(work, y)->plain = true;
  }
  if (depthwise) {
    unite(work, x, y);
    class_of(work, y)->gain += DEPTHWISE_GAIN * (bytes_of(work, x, false) + bytes_of(work, y, false)) / 2;
  } else {
    class_of(work, x)->gain += DENSE_READ_GAIN * bytes_of(work, x, false);
    class_of(work, y)->gain += DENSE_WRITE_GAIN * bytes_of(work, y, false);
  }
  return true;
}

/* A constant operand of an elementwise node beside a value of so many channels: one number, or one for each channel. */
static bool is_scalar(const pare__content *c) { return c->count == 1; }
static bool is_per_channel(const pare__content *c, int rank, int64_t channels) {
  const int place = c->shape.rank - (rank - 1);
  return (int64_t)c->count == channels && place >= 0 && c->shape.dim[place] == channels;
}

/* Element by element: every input has the layout of the output. */
static bool handle_elementwise(layout *work, const pare__node *node) {
  const knowledge *like = NULL;
  const int32_t y = node->output[0];
  double area = 0;
  for (unsigned i = 0; i < node->ninputs; i++) {
    if (node->input[i] < 0 || constant_of(work, node->input[i])) continue;
    if (!is_known(work, node->input[i])) return false;
    const knowledge *k = &work->value[node->input[i]];
    if (like && (like->rank != k->rank || like->channels != k->channels)) return false;
    like = k;
    area = PARE__MAX(area, k->area);
  }
  if (!like) return false;
  for (unsigned i = 0; i < node->ninputs; i++) {
    const pare__content *c = constant_of(work, node->input[i]);
    if (c && (c->shape.rank > like->rank || (!is_scalar(c) && !is_per_channel(c, like->rank, like->channels))))
      return false;
  }
  learn(work, y, like->rank, like->channels, area);
  for (unsigned i = 0; i < node->ninputs; i++)
    if (node->input[i] >= 0 && !constant_of(work, node->input[i])) unite(work, node->input[i], y);
  return true;
}

static bool handle_pool(layout *work, const pare__node *node) {
  const int32_t x = node->input[0], y = node->output[0];
  if (!is_known(work, x) || node->noutputs > 1 || work->value[x].rank > MOST_RANK) return false;
  const double stride = product_of(node, "strides");
  learn(work, y, work->value[x].rank, work->value[x].channels, work->value[x].area / PARE__MAX(stride, 1));
  unite(work, x, y);
  return true;
}

/* One pixel a channel: nearly nothing, in either layout. */
static bool handle_global_pool(layout *work, const pare__node *node) {
  if (!handle_pool(work, node)) return false;
  work->value[node->output[0]].area = 0;
  return true;
}

/* Along the channels, where no block would hold channels of two inputs. */
static bool handle_concat(layout *work, const pare__node *node) {
  const pare__onnx_attribute *axis = pare__node_attribute(node, "axis");
  const int32_t y = node->output[0];
  int64_t channels = 0;
  double area = 0;
  for (unsigned i = 0; i < node->ninputs; i++) {
    if (!is_known(work, node->input[i]) || work->value[node->input[i]].rank != work->value[node->input[0]].rank)
      return false;
    channels += work->value[node->input[i]].channels;
    area = PARE__MAX(area, work->value[node->input[i]].area);
  }
  if (node->ninputs == 0 || !axis) return false;
  const int rank = work->value[node->input[0]].rank;
  if (axis->i != 1 && axis->i != 1 - rank) return false;
  learn(work, y, rank, channels, area);
  for (unsigned i = 0; i + 1 < node->ninputs; i++)
    if (work->value[node->input[i]].channels % work->block != 0) return false;
  for (unsigned i = 0; i < node->ninputs; i++) unite(work, node->input[i], y);
  return true;
}

/* Nodes that can take blocks: what they do to layouts, and the attribute that tells them. */
static const struct handler {
  const char *op_type, *domain;
  bool (*handle)(layout *work, const pare__node *node);
} handlers[] = {
    {"Conv", "", handle_convolution},
    {"FusedConv", "com.microsoft", handle_convolution},
    {"MaxPool", "", handle_pool},
    {"AveragePool", "", handle_pool},
    {"GlobalAveragePool", "", handle_global_pool},
    {"GlobalMaxPool", "", handle_global_pool},
    {"Concat", "", handle_concat},
    {"Add", "", handle_elementwise},
    {"Sub", "", handle_elementwise},
    {"Mul", "", handle_elementwise},
    {"Div", "", handle_elementwise},
    {"Relu", "", handle_elementwise},
    {"LeakyRelu", "", handle_elementwise},
    {"Clip", "", handle_elementwise},
    {"Sigmoid", "", handle_elementwise},
    {"Tanh", "", handle_elementwise},
    {"HardSigmoid", "", handle_elementwise},
    {"HardSwish", "", handle_elementwise},
    {"Swish", "", handle_elementwise},
    {"Elu", "", handle_elementwise},
    {"Selu", "", handle_elementwise},
    {"Softplus", "", handle_elementwise},
    {"Mish", "", handle_elementwise},
    {"Gelu", "", handle_elementwise},
};

static const struct handler *handler_of(const pare__node *node) {
  for (size_t i = 0; i < PARE__COUNT(handlers); i++)
    if (strcmp(handlers[i].op_type, node->op_type) == 0 && strcmp(handlers[i].domain, node->domain) == 0)
      return &handlers[i];
  return NULL;
}

/* ---- deciding ---- */

/* What is declared of a value, if that says its channels. */
static void learn_declared(layout *work, int32_t id) {
  const pare__value *value = &work->rewrite.network->value[id];
  if (value->constant || value->rank < 3 || value->dim[1] < 1) return;
  double area = 1;
  for (int d = 2; d < value->rank; d++) area *= value->dim[d] > 0 ? (double)value->dim[d] : 1;
  learn(work, id, value->rank, value->dim[1], area);
}

static void look_at_nodes(layout *work) {
  const pare__graph *graph = work->rewrite.graph;
  for (unsigned k = 0; k < graph->ninputs; k++)
    if (graph->input[k] >= 0) learn_declared(work, graph->input[k]);
  for (size_t i = 0; i < graph->nnodes; i++) {
    const pare__node *node = &graph->node[i];
    const struct handler *handler = handler_of(node);
    work->handled[i] = handler && node->noutputs >= 1 && node->ninputs >= 1 && node->input[0] >= 0 &&
                       node->output[0] >= 0 && handler->handle(work, node);
    if (!work->handled[i]) continue;
    work->value[node->output[0]].is_made = true;
    for (unsigned k = 0; k < node->ninputs; k++)
      if (node->input[k] >= 0) work->value[node->input[k]].uses++;
  }
}

/* Conversions at the borders of the classes, and channels that fill their last blocks. */
static void count_costs(layout *work) {
  for (int32_t v = 0; v < (int32_t)work->nvalues; v++) {
    knowledge *k = &work->value[v];
    if (!is_known(work, v) || constant_of(work, v) || (!k->is_made && k->uses == 0)) continue;
    const double filled = bytes_of(work, v, true);
    const bool is_read_plain = work->rewrite.uses[v] > k->uses;
    double cost = (filled - bytes_of(work, v, false)) * (k->uses + k->is_made);
    if (!k->is_made) cost += CONVERSION_COST * filled;
    if (is_read_plain) cost += CONVERSION_COST * filled;
    class_of(work, v)->gain -= cost;
  }
}

static bool is_blocked(const layout *work, int32_t value) {
  if (value < 0 || (size_t)value >= work->nvalues || !is_known(work, value) || constant_of(work, value)) return false;
  const knowledge *k = class_of(work, value);
  return !k->plain && k->gain > 0;
}

/* ---- rewriting ---- */

static pare_status append(layout *work, const pare__node *node) {
  PARE__TRY(pare__array_grow((void **)&work->node, &work->capacity, work->nnodes, sizeof *work->node));
  work->node[work->nnodes++] = *node;
  return PARE_OK;
}

static pare_status make_twin(layout *work, int32_t value) {
  int32_t twin;
  PARE__TRY(pare__network_add_value(work->rewrite.network, work->rewrite.network->value[value].name, &twin));
  work->value[value].twin = twin;
  return PARE_OK;
}

/* A node of domain pare from one value to another. */
static pare_status append_conversion(layout *work, const char *op_type, int32_t from, int32_t to, int64_t channels) {
  pare__network *network = work->rewrite.network;
  pare__node node;
  PARE__TRY(pare__node_create(network, "pare", op_type, 1, 1, 1, &node));
  PARE__TRY(pare__node_set_int(network, &node, "channels", channels));
  node.op = pare__operator_find("pare", op_type, 1);
  node.name = network->value[to].name;
  node.input[0] = from;
  node.output[0] = to;
  return append(work, &node);
}

/* Numbers for each channel, in the order of blocks: [blocks, 1…, block]. */
static pare_status block_constant(layout *work, int32_t value, int rank, int32_t *out) {
  const pare__content *content = constant_of(work, value);
  const int64_t blocks = pare__div_up((int64_t)content->count, work->block);
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < rank; d++) dim[d] = d == 0 ? blocks : d == rank - 1 ? work->block : 1;
  pare__content *filled;
  PARE__TRY(pare__content_create(content->dtype, rank, dim, NULL, &filled));
  memcpy(filled->owned, content->data, content->nbytes);
  return pare__network_add_constant(work->rewrite.network, filled, out);
}

/* Input k of a node whose output is blocked, blocked. */
static pare_status block_input(layout *work, const pare__node *old, pare__node *node, unsigned k, bool dense) {
  const int32_t value = old->input[k];
  const pare__content *constant = constant_of(work, value);
  if (constant && !dense && !is_scalar(constant))
    return block_constant(work, value, work->value[old->output[0]].rank, &node->input[k]);
  if (!is_blocked(work, value)) return PARE_OK;
  if (work->value[value].twin < 0) {
    PARE__TRY(make_twin(work, value));
    PARE__TRY(append_conversion(work, "ChannelsBlock", value, work->value[value].twin, work->value[value].channels));
  }
  node->input[k] = work->value[value].twin;
  return PARE_OK;
}

/* Attributes are copied when they are set, lists of values here. */
static pare_status copy_ids(layout *work, int32_t **list, unsigned count) {
  void *ids;
  PARE__TRY(pare__onnx_allocate(work->rewrite.network->onnx->source, PARE__MAX(count, 1U) * sizeof **list, &ids));
  if (count > 0) memcpy(ids, *list, count * sizeof **list);
  *list = ids;
  return PARE_OK;
}

static pare_status rewrite_node(layout *work, const pare__node *old) {
  pare__network *network = work->rewrite.network;
  pare__node node = *old;
  const int32_t y = old->output[0];
  const bool is_convolution = handler_of(old)->handle == handle_convolution;
  PARE__TRY(copy_ids(work, &node.input, node.ninputs));
  PARE__TRY(copy_ids(work, &node.output, node.noutputs));
  for (unsigned k = 0; k < old->ninputs; k++)
    if (is_blocked(work, y) || k == 0) PARE__TRY(block_input(work, old, &node, k, is_convolution));
  if (is_convolution && is_blocked(work, old->input[0])) PARE__TRY(pare__node_set_int(network, &node, "x_blocked", 1));
  if (is_blocked(work, y)) {
    const char *const name = handler_of(old)->handle == handle_concat ? "axis"
                             : is_convolution                         ? "y_blocked"
                                                                      : "blocked";
    PARE__TRY(pare__node_set_int(network, &node, name, 1));
    PARE__TRY(make_twin(work, y));
    node.output[0] = work->value[y].twin;
  }
  PARE__TRY(append(work, &node));
  if (is_blocked(work, y) && work->rewrite.uses[y] > work->value[y].uses)
    return append_conversion(work, "ChannelsUnblock", work->value[y].twin, y, work->value[y].channels);
  return PARE_OK;
}

static pare_status rewrite_graph(layout *work) {
  pare__graph *graph = work->rewrite.graph;
  bool any = false;
  for (size_t i = 0; i < graph->nnodes; i++) {
    const pare__node *node = &graph->node[i];
    const bool touched = work->handled[i] && (is_blocked(work, node->input[0]) || is_blocked(work, node->output[0]));
    any = any || touched;
    PARE__TRY(touched ? rewrite_node(work, node) : append(work, node));
  }
  return any ? pare__rewrite_nodes(&work->rewrite, work->node, work->nnodes) : PARE_OK;
}

static pare_status assign(layout *work) {
  const size_t count = work->rewrite.network->nvalues;
  work->nvalues = count;
  work->value = calloc(count + 1, sizeof *work->value);
  work->handled = calloc(work->rewrite.graph->nnodes + 1, sizeof *work->handled);
  if (!work->value || !work->handled) return pare__fail_memory("a pass", count * sizeof *work->value);
  for (size_t i = 0; i < count; i++) {
    work->value[i].parent = (int32_t)i;
    work->value[i].twin = PARE__NO_VALUE;
  }
  look_at_nodes(work);
  count_costs(work);
  return rewrite_graph(work);
}

/* Nothing else gains by blocks. */
static bool convolves(const pare__graph *graph) {
  for (size_t i = 0; i < graph->nnodes; i++) {
    const struct handler *handler = handler_of(&graph->node[i]);
    if (handler && handler->handle == handle_convolution) return true;
  }
  return false;
}

static pare_status run(pare__network *network, pare__graph *graph, bool *changed) {
  (void)changed; /* it runs once, after the others */
  if (network->channel_block <= 1 || !convolves(graph)) return PARE_OK;
  layout work = {.block = network->channel_block};
  PARE__TRY(pare__rewrite_begin(network, graph, &work.rewrite));
  const pare_status status = assign(&work);
  free(work.value);
  free(work.handled);
  free(work.node);
  pare__rewrite_end(&work.rewrite);
  return status;
}

const pare__pass pare__pass_layout = {"layout", "chains of convolutions have their channels in blocks", run};
