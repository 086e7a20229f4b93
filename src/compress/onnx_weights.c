/* Finding the weights of an ONNX model and the nodes that read them. SPDX-License-Identifier: Apache-2.0
 *
 * Graphs are walked in order. Names are looked up as ONNX scopes them: a body of If, Loop or Scan sees the values
 * around it. A constant that goes through Identity, or through a Transpose of a matrix, is still that constant. */
#include "compress/onnx_weights.h"

#include <stdlib.h>
#include <string.h>

#include "graph/scope.h"

#define NOT_CONSTANT (-2)
#define MOST_DEPTH 64

/* A constant as a node sees it. */
struct alias {
  size_t weight;
  bool transposed;
};

struct walker {
  pare__onnx_checkpoint *checkpoint;
  struct alias *aliases;
  size_t naliases, capacity;
};

/* ---- weights ---- */

static int64_t attribute_int(const pare__onnx_node *node, const char *name, int64_t otherwise) {
  const pare__onnx_attribute *found = pare__onnx_attribute_find(node, name);
  return found ? found->i : otherwise;
}
static float attribute_float(const pare__onnx_node *node, const char *name, float otherwise) {
  const pare__onnx_attribute *found = pare__onnx_attribute_find(node, name);
  return found ? found->f : otherwise;
}

static pare_status describe(const pare__onnx_tensor *tensor, const char *name, pare__weight *out) {
  *out = (pare__weight){.name = name ? name : "",
                        .layer = "",
                        .dtype_name = pare__onnx_dtype_name(tensor->data_type),
                        .dtype = PARE_NDTYPES,
                        .rank = (int)PARE__MIN(tensor->dims.count, (size_t)INT16_MAX)};
  pare__onnx_dtype_to_pare(tensor->data_type, &out->dtype);
  PARE__TRY(pare__onnx_tensor_elements(tensor, &out->elements));
  size_t nbytes;
  if (pare__onnx_dtype_size(tensor->data_type, out->elements, &nbytes)) out->nbytes = nbytes;
  for (int d = 0; d < out->rank && out->rank <= PARE_MAX_RANK; d++) out->dim[d] = tensor->dims.items[d];
  return PARE_OK;
}

static pare_status add_weight(struct walker *walker, pare__onnx_graph *graph, pare__onnx_tensor *tensor,
                              pare__onnx_node *constant, const char *value, size_t *index) {
  pare__onnx_checkpoint *checkpoint = walker->checkpoint;
  const size_t count = checkpoint->base.nweights;
  PARE__TRY(pare__array_grow((void **)&checkpoint->base.weights, &checkpoint->weights_capacity, count,
                             sizeof *checkpoint->base.weights));
  PARE__TRY(
      pare__array_grow((void **)&checkpoint->weights, &checkpoint->infos_capacity, count, sizeof *checkpoint->weights));
  PARE__TRY(describe(tensor, value, &checkpoint->base.weights[count]));
  checkpoint->weights[count] = (pare__onnx_weight){.tensor = tensor,
                                                   .original = *tensor,
                                                   .graph = graph,
                                                   .constant = constant,
                                                   .value = value ? value : "",
                                                   .plain = true};
  *index = checkpoint->base.nweights++;
  return PARE_OK;
}

static pare_status define(struct walker *walker, pare__scope *scope, const char *name, const struct alias *alias) {
  if (!name || !*name) return PARE_OK;
  if (!alias) return pare__scope_define(scope, name, NOT_CONSTANT);
  PARE__TRY(pare__array_grow((void **)&walker->aliases, &walker->capacity, walker->naliases, sizeof *walker->aliases));
  walker->aliases[walker->naliases] = *alias;
  return pare__scope_define(scope, name, (int32_t)walker->naliases++);
}

/* ---- uses ---- */

static bool is_standard(const pare__onnx_node *node, const char *op_type) {
  return node->op_type && strcmp(node->op_type, op_type) == 0 && !*pare__onnx_domain(node->domain);
}

/* What node and input make of a constant of this rank. */
static pare__onnx_use classify(const pare__onnx_node *node, size_t input, const struct alias *alias, int rank) {
  pare__onnx_use use = {.node = node, .weight = alias->weight};
  if (input == 1 && rank == 2 && is_standard(node, "MatMul")) {
    use.kind = PARE__USE_LINEAR;
    use.rows_first = alias->transposed;
    use.plain = true;
  } else if (input == 1 && rank == 2 && is_standard(node, "Gemm")) {
    const bool biased = node->input.count > 2 && node->input.items[2] && *node->input.items[2];
    use.kind = PARE__USE_LINEAR;
    use.rows_first = alias->transposed != (attribute_int(node, "transB", 0) != 0);
    use.plain = attribute_int(node, "transA", 0) == 0 && attribute_float(node, "alpha", 1) == 1 &&
                (!biased || attribute_float(node, "beta", 1) == 1);
  } else if (input == 1 && rank >= 3 && rank <= 5 && !alias->transposed &&
             (is_standard(node, "Conv") ||
              (is_standard(node, "ConvTranspose") && attribute_int(node, "group", 1) == 1))) {
    use.kind = PARE__USE_CONV;
    use.rows_first = is_standard(node, "Conv");
  } else if (input == 0 && rank == 2 && !alias->transposed && is_standard(node, "Gather") &&
             attribute_int(node, "axis", 0) == 0) {
    use.kind = PARE__USE_GATHER;
    use.rows_first = true;
  }
  return use;
}

static pare_status add_use(struct walker *walker, const pare__onnx_node *node, size_t input,
                           const struct alias *alias) {
  pare__onnx_checkpoint *checkpoint = walker->checkpoint;
  pare__weight *weight = &checkpoint->base.weights[alias->weight];
  pare__onnx_weight *info = &checkpoint->weights[alias->weight];
  const pare__onnx_use use = classify(node, input, alias, weight->rank);
  PARE__TRY(pare__array_grow((void **)&checkpoint->uses, &checkpoint->uses_capacity, checkpoint->nuses,
                             sizeof *checkpoint->uses));
  checkpoint->uses[checkpoint->nuses++] = use;
  weight->nuses++;
  if (!*weight->layer && node->name) weight->layer = node->name;
  if (use.kind == PARE__USE_OTHER) {
    info->nother++;
    return PARE_OK;
  }
  const int row_axis = use.rows_first ? 0 : 1;
  if (info->nlinear + info->nconv + info->ngather == 0) {
    weight->row_axis = row_axis;
    weight->input_axis = 1 - row_axis;
  } else if (weight->row_axis != row_axis) {
    info->mixed = true;
  }
  info->nlinear += use.kind == PARE__USE_LINEAR;
  info->nconv += use.kind == PARE__USE_CONV;
  info->ngather += use.kind == PARE__USE_GATHER;
  if (use.kind == PARE__USE_LINEAR) info->plain = info->plain && use.plain;
  weight->role = info->ngather ? PARE__WEIGHT_EMBEDDING : info->nlinear ? PARE__WEIGHT_LINEAR : PARE__WEIGHT_CONV;
  return PARE_OK;
}

/* Does the node pass the constant on as it is, or transposed? */
static bool passes_on(const pare__onnx_node *node, int rank, bool *transposes) {
  *transposes = false;
  if (node->output.count != 1 || node->input.count != 1) return false;
  if (is_standard(node, "Identity")) return true;
  *transposes = true;
  if (rank != 2 || !is_standard(node, "Transpose")) return false;
  const pare__onnx_attribute *perm = pare__onnx_attribute_find(node, "perm");
  return !perm || (perm->ints.count == 2 && perm->ints.items[0] == 1 && perm->ints.items[1] == 0);
}

static const pare__onnx_attribute *constant_value(const pare__onnx_node *node) {
  if (!is_standard(node, "Constant") || node->output.count != 1) return NULL;
  const pare__onnx_attribute *value = pare__onnx_attribute_find(node, "value");
  return value && value->t && !value->ref_attr_name ? value : NULL;
}

static pare_status walk_graph(struct walker *walker, pare__onnx_graph *graph, const pare__scope *parent,
                              unsigned depth);

static pare_status walk_node(struct walker *walker, pare__onnx_graph *graph, pare__onnx_node *node, pare__scope *scope,
                             unsigned depth) {
  const pare__onnx_attribute *value = constant_value(node);
  struct alias passed;
  bool passes = false;
  if (value && value->t->dims.count > 0) { /* scalars are no weights */
    struct alias made = {0};
    PARE__TRY(add_weight(walker, graph, value->t, node, node->output.items[0], &made.weight));
    return define(walker, scope, node->output.items[0], &made);
  }
  for (size_t i = 0; i < node->input.count; i++) {
    const char *name = node->input.items[i];
    const int32_t found = name && *name ? pare__scope_find(scope, name) : PARE__NO_VALUE;
    if (found < 0 || !walker->aliases) continue;
    bool transposes;
    passed = walker->aliases[found];
    if (passes_on(node, walker->checkpoint->base.weights[passed.weight].rank, &transposes)) {
      passed.transposed = passed.transposed != transposes;
      passes = true;
    } else {
      PARE__TRY(add_use(walker, node, i, &passed));
    }
  }
  for (size_t i = 0; i < node->attribute.count; i++) {
    pare__onnx_attribute *attribute = &node->attribute.items[i];
    if (attribute->g) PARE__TRY(walk_graph(walker, attribute->g, scope, depth + 1));
    for (size_t g = 0; g < attribute->graphs.count; g++)
      PARE__TRY(walk_graph(walker, &attribute->graphs.items[g], scope, depth + 1));
  }
  for (size_t i = 0; i < node->output.count; i++)
    PARE__TRY(define(walker, scope, node->output.items[i], passes ? &passed : NULL));
  return PARE_OK;
}

static pare_status walk_names(struct walker *walker, pare__onnx_graph *graph, pare__scope *scope, unsigned depth) {
  for (size_t i = 0; i < graph->initializer.count; i++) {
    pare__onnx_tensor *tensor = &graph->initializer.items[i];
    struct alias made = {0};
    PARE__TRY(add_weight(walker, graph, tensor, NULL, tensor->name, &made.weight));
    PARE__TRY(define(walker, scope, tensor->name, &made));
  }
  for (size_t i = 0; i < graph->input.count; i++) /* an input may be an initialiser's name again */
    if (graph->input.items[i].name && pare__scope_find(scope, graph->input.items[i].name) == PARE__NO_VALUE)
      PARE__TRY(define(walker, scope, graph->input.items[i].name, NULL));
  for (size_t i = 0; i < graph->node.count; i++)
    PARE__TRY(walk_node(walker, graph, &graph->node.items[i], scope, depth));
  for (size_t i = 0; i < graph->output.count; i++) {
    const char *name = graph->output.items[i].name;
    const int32_t found = name ? pare__scope_find(scope, name) : PARE__NO_VALUE;
    if (found < 0 || !walker->aliases) continue;
    pare__onnx_weight *info = &walker->checkpoint->weights[walker->aliases[found].weight];
    info->is_output = true;
    info->nother++;
  }
  return PARE_OK;
}

static pare_status walk_graph(struct walker *walker, pare__onnx_graph *graph, const pare__scope *parent,
                              unsigned depth) {
  if (depth > MOST_DEPTH) return pare__fail(PARE_ERR_FORMAT, "subgraphs are nested deeper than %d", MOST_DEPTH);
  pare__scope scope = {.parent = parent};
  const pare_status status = walk_names(walker, graph, &scope, depth);
  pare__scope_clear(&scope);
  return status;
}

/* ---- order, heads, refusals ---- */

static int by_node(const void *a, const void *b) {
  const pare__onnx_use *x = a, *y = b;
  if (x->node != y->node) return x->node < y->node ? -1 : 1;
  return (y->kind > x->kind) - (y->kind < x->kind); /* the use that counts comes first */
}

const pare__onnx_use *pare__onnx_use_of(const pare__onnx_checkpoint *checkpoint, const pare__onnx_node *node) {
  size_t low = 0, high = checkpoint->nuses;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (checkpoint->uses[middle].node < node)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == checkpoint->nuses) return NULL;
  const pare__onnx_use *use = &checkpoint->uses[low];
  return use->node == node && use->kind != PARE__USE_OTHER ? use : NULL;
}

static pare_status need(pare__scope *needed, const char *name) {
  if (!name || !*name || pare__scope_find(needed, name) != PARE__NO_VALUE) return PARE_OK;
  return pare__scope_define(needed, name, 0);
}

static pare_status need_inputs(pare__scope *needed, const pare__onnx_node *node) {
  for (size_t i = 0; i < node->input.count; i++) PARE__TRY(need(needed, node->input.items[i]));
  for (size_t i = 0; i < node->attribute.count; i++) {
    const pare__onnx_graph *body = node->attribute.items[i].g;
    for (size_t n = 0; body && n < body->node.count; n++) PARE__TRY(need_inputs(needed, &body->node.items[n]));
  }
  return PARE_OK;
}

/* Backwards from an output to the first Linear. */
static pare_status find_head(pare__onnx_checkpoint *checkpoint, const char *output) {
  const pare__onnx_graph *graph = checkpoint->model->graph;
  pare__scope needed = {0};
  pare_status status = need(&needed, output);
  for (size_t n = graph->node.count; n-- > 0 && status == PARE_OK;) {
    const pare__onnx_node *node = &graph->node.items[n];
    bool wanted = false;
    for (size_t i = 0; i < node->output.count && !wanted; i++)
      wanted = node->output.items[i] && *node->output.items[i] &&
               pare__scope_find(&needed, node->output.items[i]) != PARE__NO_VALUE;
    if (!wanted) continue;
    const pare__onnx_use *use = pare__onnx_use_of(checkpoint, node);
    if (use && use->kind == PARE__USE_LINEAR) {
      checkpoint->base.weights[use->weight].head = true;
      break;
    }
    status = need_inputs(&needed, node);
  }
  pare__scope_clear(&needed);
  return status;
}

/* What no method may touch though a node uses it as a weight. */
static void refuse(pare__weight *weight, const pare__onnx_weight *info) {
  if (weight->role == PARE__WEIGHT_OTHER) return;
  if (weight->dtype != PARE_F32 && weight->dtype != PARE_F16 && weight->dtype != PARE_BF16) {
    weight->role = PARE__WEIGHT_OTHER; /* quantised already, or never a float */
    return;
  }
  if (weight->role == PARE__WEIGHT_EMBEDDING && pare__weight_inputs(weight) == 1) {
    weight->role = PARE__WEIGHT_OTHER; /* a number a row, such as the scales of a quantised table */
    return;
  }
  if (weight->elements == 0) weight->refusal = "it has no elements";
  if (info->mixed) weight->refusal = "nodes use it in two orientations";
  if (info->is_output) weight->refusal = "it is an output of the model";
}

pare_status pare__onnx_weights_find(pare__onnx_checkpoint *checkpoint) {
  struct walker walker = {.checkpoint = checkpoint};
  pare_status status = walk_graph(&walker, checkpoint->model->graph, NULL, 0);
  free(walker.aliases);
  PARE__TRY(status);
  if (checkpoint->nuses > 0) qsort(checkpoint->uses, checkpoint->nuses, sizeof *checkpoint->uses, by_node);
  for (size_t i = 0; i < checkpoint->base.nweights; i++) refuse(&checkpoint->base.weights[i], &checkpoint->weights[i]);
  const pare__onnx_graph *graph = checkpoint->model->graph;
  for (size_t i = 0; i < graph->output.count && i < 64; i++)
    PARE__TRY(find_head(checkpoint, graph->output.items[i].name));
  return PARE_OK;
}
