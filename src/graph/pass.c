/* The list of passes, and running them. SPDX-License-Identifier: Apache-2.0 */
#include "graph/pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/operator.h"

#define MOST_ROUNDS 20 /* a pass that never comes to rest is a mistake in it, and must not hang */
#define MOST_STEPS 8   /* from node to node, for what is known of a rank */

extern const pare__pass pare__pass_attention;
extern const pare__pass pare__pass_channels_last;
extern const pare__pass pare__pass_convolution;
extern const pare__pass pare__pass_dead;
extern const pare__pass pare__pass_duplicate;
extern const pare__pass pare__pass_gelu;
extern const pare__pass pare__pass_hard_swish;
extern const pare__pass pare__pass_identity;
extern const pare__pass pare__pass_layer_norm;
extern const pare__pass pare__pass_layout;
extern const pare__pass pare__pass_matmul;
extern const pare__pass pare__pass_weights;
extern const pare__pass pare__pass_integer;
extern const pare__pass pare__pass_skip_norm;
extern const pare__pass pare__pass_softmax;
extern const pare__pass pare__pass_transpose;

/* Products take in scalars, biases and residuals before attention and the norms of sums look at what is left; they see
 * who reads a value, so that nodes which patterns have left behind are gone before. */
static const pare__pass *const passes[] = {&pare__pass_weights,
                                           &pare__pass_integer,
                                           &pare__pass_identity,
                                           &pare__pass_duplicate,
                                           &pare__pass_channels_last,
                                           &pare__pass_transpose,
                                           &pare__pass_layer_norm,
                                           &pare__pass_softmax,
                                           &pare__pass_gelu,
                                           &pare__pass_hard_swish,
                                           &pare__pass_dead,
                                           &pare__pass_matmul,
                                           &pare__pass_attention,
                                           &pare__pass_skip_norm,
                                           &pare__pass_convolution,
                                           &pare__pass_dead,
                                           NULL};
/* Once, when the others have come to rest: what they look for is written out no more afterwards. */
static const pare__pass *const last_pass = &pare__pass_layout;

/* ---- rewriting ---- */

/* What one value's entries are before anything is known. */
static void reset(pare__network *network, int32_t value) {
  if (value < 0) return;
  network->rewriting.uses[value] = 0;
  network->rewriting.producer[value] = -1;
  network->rewriting.instead[value] = PARE__NO_VALUE;
}

static void reset_graph(pare__network *network, const pare__graph *graph) {
  for (size_t i = 0; i < graph->nnodes; i++) {
    const pare__node *node = &graph->node[i];
    for (unsigned k = 0; k < node->ninputs; k++) reset(network, node->input[k]);
    for (unsigned k = 0; k < node->noutputs; k++) reset(network, node->output[k]);
    for (unsigned k = 0; k < node->nsubgraphs; k++) reset_graph(network, node->subgraph[k].graph);
  }
  for (unsigned k = 0; k < graph->ninputs; k++) reset(network, graph->input[k]);
  for (unsigned k = 0; k < graph->noutputs; k++) reset(network, graph->output[k]);
}

static void count_uses(const pare__graph *graph, uint32_t *uses) {
  for (size_t i = 0; i < graph->nnodes; i++) {
    const pare__node *node = &graph->node[i];
    for (unsigned k = 0; k < node->ninputs; k++)
      if (node->input[k] >= 0) uses[node->input[k]]++;
    for (unsigned k = 0; k < node->nsubgraphs; k++) count_uses(node->subgraph[k].graph, uses);
  }
  for (unsigned k = 0; k < graph->noutputs; k++)
    if (graph->output[k] >= 0) uses[graph->output[k]]++;
}

pare_status pare__rewrite_begin(pare__network *network, pare__graph *graph, pare__rewrite *out) {
  *out = (pare__rewrite){.network = network, .graph = graph};
  PARE__TRY(pare__rewrite_grow(out));
  reset_graph(network, graph);
  count_uses(graph, out->uses);
  for (size_t i = 0; i < graph->nnodes; i++)
    for (unsigned k = 0; k < graph->node[i].noutputs; k++)
      if (graph->node[i].output[k] >= 0) out->producer[graph->node[i].output[k]] = (int32_t)i;
  return PARE_OK;
}

pare_status pare__rewrite_grow(pare__rewrite *rewrite) {
  pare__network *network = rewrite->network;
  const size_t had = network->rewriting.count, count = network->nvalues;
  if (!network->rewriting.uses || had < count) {
    const size_t room = PARE__MAX(count, had + had / 2) + 1;
    uint32_t *uses = realloc(network->rewriting.uses, room * sizeof *uses);
    if (uses) network->rewriting.uses = uses;
    int32_t *producer = realloc(network->rewriting.producer, room * sizeof *producer);
    if (producer) network->rewriting.producer = producer;
    int32_t *instead = realloc(network->rewriting.instead, room * sizeof *instead);
    if (instead) network->rewriting.instead = instead;
    if (!uses || !producer || !instead) return pare__fail_memory("a pass", room * sizeof *uses);
    network->rewriting.count = room;
    for (size_t i = had; i < room; i++) reset(network, (int32_t)i);
  }
  rewrite->uses = network->rewriting.uses;
  rewrite->producer = network->rewriting.producer;
  return PARE_OK;
}

bool pare__rewrite_alive(const pare__rewrite *rewrite, size_t node) { return rewrite->graph->node[node].op != NULL; }

/* ---- reading other values ---- */

static void rename_ids(const int32_t *instead, int32_t *id, unsigned count) {
  for (unsigned k = 0; k < count; k++)
    while (id[k] >= 0 && instead[id[k]] >= 0) id[k] = instead[id[k]];
}

static void rename_graph(const int32_t *instead, pare__graph *graph) {
  for (size_t i = 0; i < graph->nnodes; i++) {
    pare__node *node = &graph->node[i];
    rename_ids(instead, node->input, node->ninputs);
    for (unsigned k = 0; k < node->nsubgraphs; k++) rename_graph(instead, node->subgraph[k].graph);
  }
  rename_ids(instead, graph->output, graph->noutputs);
}

void pare__rewrite_visit(pare__rewrite *rewrite, size_t node) {
  pare__node *at = &rewrite->graph->node[node];
  if (rewrite->renames) rename_ids(rewrite->network->rewriting.instead, at->input, at->ninputs);
}

void pare__rewrite_replace(pare__rewrite *rewrite, int32_t from, int32_t to) {
  rewrite->uses[to] += rewrite->uses[from];
  rewrite->changed = rewrite->changed || rewrite->uses[from] > 0;
  rewrite->uses[from] = 0;
  rewrite->network->rewriting.instead[from] = to;
  rewrite->renames = true;
}

/* ---- nodes ---- */

void pare__rewrite_end(pare__rewrite *rewrite) {
  size_t kept = 0;
  for (size_t i = 0; i < rewrite->graph->nnodes; i++)
    if (pare__rewrite_alive(rewrite, i)) rewrite->graph->node[kept++] = rewrite->graph->node[i];
  rewrite->graph->nnodes = kept;
  if (rewrite->renames) rename_graph(rewrite->network->rewriting.instead, rewrite->graph);
}

pare_status pare__rewrite_nodes(pare__rewrite *rewrite, const pare__node *node, size_t count) {
  void *list;
  PARE__TRY(pare__onnx_allocate(rewrite->network->onnx->source, count * sizeof *node, &list));
  memcpy(list, node, count * sizeof *node);
  rewrite->graph->node = list;
  rewrite->graph->nnodes = count;
  return PARE_OK;
}

void pare__rewrite_remove(pare__rewrite *rewrite, size_t node) {
  pare__node *gone = &rewrite->graph->node[node];
  for (unsigned k = 0; k < gone->ninputs; k++)
    if (gone->input[k] >= 0) rewrite->uses[gone->input[k]]--;
  for (unsigned k = 0; k < gone->noutputs; k++)
    if (gone->output[k] >= 0 && rewrite->producer[gone->output[k]] == (int32_t)node)
      rewrite->producer[gone->output[k]] = -1;
  gone->op = NULL;
  rewrite->changed = true;
}

pare__node *pare__rewrite_made_by(const pare__rewrite *rewrite, int32_t value, const char *op_type) {
  if (value < 0 || (size_t)value >= rewrite->network->nvalues || rewrite->producer[value] < 0) return NULL;
  pare__node *node = &rewrite->graph->node[rewrite->producer[value]];
  return node->op && pare__node_is(node, op_type) ? node : NULL;
}

pare__node *pare__rewrite_only(const pare__rewrite *rewrite, int32_t value, const char *op_type) {
  pare__node *node = pare__rewrite_made_by(rewrite, value, op_type);
  return node && rewrite->uses[value] == 1 ? node : NULL;
}

void pare__rewrite_move_input(pare__rewrite *rewrite, size_t node, unsigned k, int32_t value) {
  int32_t *input = &rewrite->graph->node[node].input[k];
  rewrite->uses[*input]--;
  rewrite->uses[value]++;
  *input = value;
  rewrite->changed = true;
}

pare_status pare__rewrite_become(pare__rewrite *rewrite, size_t node, pare__node replacement) {
  pare__node *old = &rewrite->graph->node[node];
  replacement.op = pare__operator_find(replacement.domain, replacement.op_type, replacement.opset);
  if (!replacement.op)
    return pare__fail(PARE_ERR_UNSUPPORTED, "a pass made a node %s of domain '%s', which pare lacks",
                      replacement.op_type, replacement.domain);
  for (unsigned k = 0; k < replacement.ninputs; k++)
    if (replacement.input[k] >= 0) rewrite->uses[replacement.input[k]]++;
  for (unsigned k = 0; k < old->ninputs; k++)
    if (old->input[k] >= 0) rewrite->uses[old->input[k]]--;
  *old = replacement;
  for (unsigned k = 0; k < old->noutputs; k++)
    if (old->output[k] >= 0) rewrite->producer[old->output[k]] = (int32_t)node;
  rewrite->changed = true;
  return PARE_OK;
}

bool pare__node_is(const pare__node *node, const char *op_type) {
  return strcmp(node->op_type, op_type) == 0 && *node->domain == '\0';
}

int64_t pare__node_int(const pare__node *node, const char *name, int64_t otherwise) {
  const pare__onnx_attribute *attribute = pare__node_attribute(node, name);
  return attribute ? attribute->i : otherwise;
}

float pare__node_float(const pare__node *node, const char *name, float otherwise) {
  const pare__onnx_attribute *attribute = pare__node_attribute(node, name);
  return attribute ? attribute->f : otherwise;
}

bool pare__node_has(const pare__node *node, unsigned i) { return i < node->ninputs && node->input[i] >= 0; }

bool pare__value_is_all(const pare__network *network, int32_t value, double number) {
  if (value < 0) return number == 0;
  const pare__content *content = network->value[value].constant;
  if (!content) return false;
  for (size_t i = 0; i < content->count; i++)
    if (pare__content_number(content, i) != number) return false;
  return true;
}

bool pare__value_number(const pare__network *network, int32_t value, double *out) {
  if (value < 0) return false;
  const pare__content *content = network->value[value].constant;
  if (!content || content->count != 1) return false;
  *out = pare__content_number(content, 0);
  return true;
}

/* ---- what nodes say ---- */

bool pare__node_list(const pare__network *network, const pare__node *node, const char *name, size_t most, int64_t *out,
                     size_t *count) {
  const pare__onnx_attribute *attribute = pare__node_attribute(node, name);
  const pare__content *content = attribute || !pare__node_has(node, 1) ? NULL : network->value[node->input[1]].constant;
  *count = attribute ? attribute->ints.count : content ? content->count : 0;
  if (*count == 0 || *count > most || (content && pare__dtype_is_float(content->dtype))) return false;
  for (size_t i = 0; i < *count; i++) out[i] = attribute ? attribute->ints.items[i] : pare__content_int(content, i);
  return true;
}

bool pare__reduces_axis(const pare__network *network, const pare__node *node, int64_t *axis) {
  size_t count;
  return pare__node_list(network, node, "axes", 1, axis, &count) && pare__node_int(node, "keepdims", 1) == 1;
}

bool pare__is_output(const pare__graph *graph, int32_t value) {
  for (unsigned k = 0; k < graph->noutputs; k++)
    if (graph->output[k] == value) return true;
  return false;
}

static bool is_product(const pare__node *node) {
  return pare__node_is(node, "MatMul") ||
         (strcmp(node->op_type, "FusedMatMul") == 0 && strcmp(node->domain, "pare") == 0) || pare__fused_matmul(node);
}

bool pare__fused_matmul(const pare__node *node) {
  return strcmp(node->op_type, "FusedMatMul") == 0 && strcmp(node->domain, "com.microsoft") == 0 &&
         !pare__node_int(node, "transBatchA", 0) && !pare__node_int(node, "transBatchB", 0);
}

bool pare__plain_product(const pare__node *node, pare__product_node *out) {
  if (!is_product(node) || pare__node_has(node, 2) || pare__node_has(node, 3)) return false;
  *out = (pare__product_node){(double)pare__node_float(node, "alpha", 1), pare__node_int(node, "transB", 0) != 0};
  return pare__node_int(node, "activation", 0) == 0 && pare__node_int(node, "transA", 0) == 0;
}

/* What is known of a rank: it is at least so much, and no more if that is exact. */
typedef struct rank_bound {
  int least;
  bool exact;
} rank_bound;

static rank_bound rank_within(const pare__rewrite *rewrite, int32_t value, int steps);

bool pare__node_is_one_of(const pare__node *node, size_t count, const char *const *op_types) {
  for (size_t i = 0; i < count; i++)
    if (pare__node_is(node, op_types[i])) return true;
  return false;
}

bool pare__node_is_elementwise(const pare__node *node) {
  static const char *const names[] = {
      "Relu", "Sigmoid", "Tanh", "Gelu",     "HardSwish", "HardSigmoid", "Erf",   "Sqrt", "Exp",  "LeakyRelu", "Abs",
      "Neg",  "Cast",    "Elu",  "Softplus", "Identity",  "Reciprocal",  "Floor", "Ceil", "Mish", "Selu",      "Swish"};
  return node->op && node->ninputs == 1 && pare__node_is_one_of(node, PARE__COUNT(names), names);
}

static rank_bound rank_of_broadcast(const pare__rewrite *rewrite, const pare__node *node, unsigned ninputs, int steps) {
  rank_bound most = {0, true};
  for (unsigned k = 0; k < ninputs; k++) {
    const rank_bound rank = rank_within(rewrite, node->input[k], steps);
    most = (rank_bound){PARE__MAX(most.least, rank.least), most.exact && rank.exact};
  }
  return most;
}

/* A vector as a factor has a dimension more than it leaves. */
static rank_bound rank_of_product(const pare__rewrite *rewrite, const pare__node *node, int steps) {
  const rank_bound a = rank_within(rewrite, node->input[0], steps), b = rank_within(rewrite, node->input[1], steps);
  const int most = PARE__MAX(a.least, b.least);
  if (a.least < 2 || b.least < 2) return (rank_bound){PARE__MAX(most - 1, 0), false};
  return (rank_bound){most, a.exact && b.exact};
}

/* Through at most so many nodes. */
static rank_bound rank_within(const pare__rewrite *rewrite, int32_t value, int steps) {
  static const char *const as_first[] = {"Relu",
                                         "LeakyRelu",
                                         "Sigmoid",
                                         "Tanh",
                                         "Erf",
                                         "Clip",
                                         "Softmax",
                                         "Cast",
                                         "Sqrt",
                                         "Neg",
                                         "Dropout",
                                         "Identity",
                                         "MaxPool",
                                         "AveragePool",
                                         "BatchNormalization",
                                         "Concat",
                                         "Pad",
                                         "Gelu",
                                         "GlobalAveragePool",
                                         "LayerNormalization"};
  static const char *const as_weights[] = {"Conv", "ConvTranspose"};
  static const char *const broadcasting[] = {"Add", "Sub", "Mul", "Div", "Where", "Pow"};
  const rank_bound unknown = {0, false};
  if (value < 0 || steps == 0) return unknown;
  const pare__network *network = rewrite->network;
  if (network->value[value].rank >= 0) return (rank_bound){network->value[value].rank, true};
  const pare__node *node = rewrite->producer[value] >= 0 ? &rewrite->graph->node[rewrite->producer[value]] : NULL;
  if (!node || !node->op || node->ninputs < 1) return unknown;
  const pare__onnx_attribute *perm = pare__node_attribute(node, "perm");
  if (pare__node_is(node, "Transpose") && perm) return (rank_bound){(int)perm->ints.count, true};
  if (pare__node_is(node, "Gemm")) return (rank_bound){2, true};
  if (pare__node_is(node, "Reshape") && node->ninputs > 1 && node->input[1] >= 0) {
    const pare__value *shape = &network->value[node->input[1]];
    return shape->rank == 1 && shape->dim[0] > 0 ? (rank_bound){(int)shape->dim[0], true} : unknown;
  }
  if (is_product(node)) return node->ninputs > 1 ? rank_of_product(rewrite, node, steps - 1) : unknown;
  if (pare__node_is_one_of(node, PARE__COUNT(as_first), as_first))
    return rank_within(rewrite, node->input[0], steps - 1);
  if (pare__node_is_one_of(node, PARE__COUNT(as_weights), as_weights) && node->ninputs > 1)
    return rank_within(rewrite, node->input[1], steps - 1);
  if (pare__node_is_one_of(node, PARE__COUNT(broadcasting), broadcasting))
    return rank_of_broadcast(rewrite, node, node->ninputs, steps - 1);
  return unknown;
}

int pare__value_rank(const pare__rewrite *rewrite, int32_t value) {
  const rank_bound rank = rank_within(rewrite, value, MOST_STEPS);
  return rank.exact ? rank.least : -1;
}

static bool constants_within(const pare__rewrite *rewrite, int32_t value, int32_t x, int rank, int steps) {
  if (value < 0 || value == x) return true;
  const pare__content *content = rewrite->network->value[value].constant;
  if (content) return content->shape.rank <= rank;
  const pare__node *node = rewrite->producer[value] >= 0 ? &rewrite->graph->node[rewrite->producer[value]] : NULL;
  if (!node || steps == 0) return false;
  const unsigned count = pare__node_is(node, "ReduceMean") ? 1 : node->ninputs; /* axes are no elements */
  for (unsigned i = 0; i < count; i++)
    if (!constants_within(rewrite, node->input[i], x, rank, steps - 1)) return false;
  return true;
}

bool pare__keeps_rank(const pare__rewrite *rewrite, int32_t value, int32_t x, int known) {
  return constants_within(rewrite, value, x, PARE__MAX(known, rank_within(rewrite, x, MOST_STEPS).least), 12);
}

/* ---- products and sums ---- */

bool pare__near(double a, double b) { return fabs(a - b) <= 1e-4 * fabs(b); }

/* A quotient of integers is no product: it is rounded. */
static bool is_float_number(const pare__network *network, int32_t value, double *out) {
  return pare__value_number(network, value, out) && pare__dtype_is_float(network->value[value].constant->dtype);
}

bool pare__factors_near(const pare__factors *factors, double number) {
  return fabs(factors->constant - number) <= factors->tolerance * fabs(number);
}

/* Models of halves have their constants in halves, too. */
static void take_number(const pare__rewrite *rewrite, int32_t value, double factor, pare__factors *out) {
  const pare_dtype dtype = rewrite->network->value[value].constant->dtype;
  out->constant *= factor;
  if (pare__dtype_is_float(dtype)) out->tolerance = PARE__MAX(out->tolerance, 2 * pare__dtype_epsilon(dtype));
}

static void open_factor(const pare__rewrite *rewrite, int32_t value, bool root, pare__factors *out) {
  double constant;
  if (pare__value_number(rewrite->network, value, &constant)) {
    take_number(rewrite, value, constant, out);
    return;
  }
  const bool may_open = value >= 0 && (root || rewrite->uses[value] == 1) && out->count + 2 <= PARE__COUNT(out->factor);
  const pare__node *product = may_open ? pare__rewrite_made_by(rewrite, value, "Mul") : NULL;
  const pare__node *quotient = may_open ? pare__rewrite_made_by(rewrite, value, "Div") : NULL;
  if (product && product->ninputs == 2) {
    open_factor(rewrite, product->input[0], false, out);
    open_factor(rewrite, product->input[1], false, out);
  } else if (quotient && quotient->ninputs == 2 && is_float_number(rewrite->network, quotient->input[1], &constant) &&
             constant != 0) {
    take_number(rewrite, quotient->input[1], 1 / constant, out);
    open_factor(rewrite, quotient->input[0], false, out);
  } else if (out->count < PARE__COUNT(out->factor)) {
    out->factor[out->count++] = value;
  } else {
    out->constant = NAN; /* too many: near nothing */
  }
}

void pare__factors_open(const pare__rewrite *rewrite, int32_t value, bool root, pare__factors *out) {
  *out = (pare__factors){.constant = 1, .tolerance = 1e-4};
  open_factor(rewrite, value, root, out);
}

bool pare__sum_with(const pare__rewrite *rewrite, int32_t value, double constant, int32_t *other) {
  const pare__node *node = pare__rewrite_only(rewrite, value, "Add");
  double found;
  for (unsigned i = 0; node && node->ninputs == 2 && i < 2; i++)
    if (pare__value_number(rewrite->network, node->input[i], &found) && pare__near(found, constant)) {
      *other = node->input[1 - i];
      return true;
    }
  return false;
}

/* ---- running ---- */

/* Is the name of `length` characters in the comma-separated list? */
static bool listed(const char *list, const char *name, size_t length) {
  for (const char *at = list; at && *at;) {
    const size_t here = strcspn(at, ",");
    if ((here == length && strncmp(at, name, length) == 0) || (here == 3 && strncmp(at, "all", 3) == 0)) return true;
    at += here + (at[here] == ',');
  }
  return false;
}

bool pare__pass_left_out(const char *without, const char *name) { return listed(without, name, strlen(name)); }

bool pare__folding_left_out(const char *without) {
  for (const char *at = without; at && *at; at += strcspn(at, ","), at += *at == ',')
    if (strcspn(at, ",") == strlen(PARE__PASS_FOLD) && strncmp(at, PARE__PASS_FOLD, strlen(PARE__PASS_FOLD)) == 0)
      return true;
  return false;
}

static pare_status check_names(const char *without) {
  char known[512] = "all, " PARE__PASS_FOLD;
  for (size_t i = 0; passes[i]; i++) {
    if (passes[i] == &pare__pass_dead && passes[i + 1]) continue; /* it comes again */
    strncat(known, ", ", sizeof known - strlen(known) - 1);
    strncat(known, passes[i]->name, sizeof known - strlen(known) - 1);
  }
  strncat(known, ", ", sizeof known - strlen(known) - 1);
  strncat(known, last_pass->name, sizeof known - strlen(known) - 1);
  for (const char *at = without; at && *at;) {
    const size_t length = strcspn(at, ",");
    bool found = (length == 3 && strncmp(at, "all", 3) == 0) || listed(PARE__PASS_FOLD, at, length) ||
                 (strlen(last_pass->name) == length && strncmp(at, last_pass->name, length) == 0);
    for (size_t i = 0; passes[i] && !found; i++)
      found = strlen(passes[i]->name) == length && strncmp(at, passes[i]->name, length) == 0;
    if (!found)
      return pare__fail(PARE_ERR_ARGUMENT, "there is no pass '%.*s' to leave out; there are: %s", (int)length, at,
                        known);
    at += length + (at[length] == ',');
  }
  return PARE_OK;
}

static pare_status run_on(const pare__pass *pass, pare__network *network, pare__graph *graph, bool *changed) {
  for (size_t i = 0; i < graph->nnodes; i++)
    for (unsigned k = 0; k < graph->node[i].nsubgraphs; k++)
      PARE__TRY(run_on(pass, network, graph->node[i].subgraph[k].graph, changed));
  return pass->run(network, graph, changed);
}

pare_status pare__passes_run(pare__network *network, const char *without) {
  PARE__TRY(check_names(without));
  bool changed = true;
  for (int round = 0; changed && round < MOST_ROUNDS; round++) {
    changed = false;
    for (size_t i = 0; passes[i]; i++) {
      if (pare__pass_left_out(without, passes[i]->name)) continue;
      PARE__TRY(run_on(passes[i], network, &network->graph, &changed));
    }
  }
  if (pare__pass_left_out(without, last_pass->name)) return PARE_OK;
  return run_on(last_pass, network, &network->graph, &changed);
}
