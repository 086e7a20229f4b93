/* From an ONNX model to a network: names become numbers, local functions are inlined, operators are looked up.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/missing.h"
#include "graph/operator.h"
#include "graph/scope.h"

#define MOST_CALLS 64      /* functions that call each other */
#define MOST_NODES 1000000 /* after inlining, which can multiply them */
#define NEWEST_IR 14       /* that pare has read files of */

/* The function whose body is being read, and the node that calls it. */
typedef struct frame {
  const struct frame *outer;
  const pare__onnx_function *function;
  const pare__onnx_node *caller;
  unsigned depth;
} frame;

typedef struct importer {
  pare__network *network;
  const pare__onnx_opsets *opsets; /* of the model, or of the function that is being read */
  const frame *frame;              /* NULL: none */
  size_t nnodes;
  pare__missing missing;
} importer;

typedef struct node_list {
  size_t count, capacity;
  pare__node *node;
} node_list;

static const char *text(const char *maybe) { return maybe ? maybe : ""; }

/* ---- values ---- */

static void note_shape(pare__value *value, const pare__onnx_shape *shape) {
  value->rank = -1;
  if (!shape || shape->dim.count > PARE_MAX_RANK) return;
  value->rank = (int)shape->dim.count;
  for (int i = 0; i < value->rank; i++) {
    const pare__onnx_dimension *dim = &shape->dim.items[i];
    const bool known = dim->which == PARE__ONNX_DIM_VALUE && dim->dim_value >= 0;
    value->dim[i] = known ? dim->dim_value : -1;
    value->symbol[i] = dim->which == PARE__ONNX_DIM_PARAM && *text(dim->dim_param) ? dim->dim_param : NULL;
  }
}

static void note_type(pare__value *value, const pare__onnx_type *type) {
  if (!type || type->which != PARE__ONNX_TYPE_TENSOR) return;
  value->onnx_dtype = type->tensor_type->elem_type;
  note_shape(value, type->tensor_type->shape);
}

static pare_status define(importer *in, pare__scope *scope, const char *name, int32_t *id) {
  PARE__TRY(pare__network_add_value(in->network, name, id));
  return pare__scope_define(scope, name, *id);
}

static pare_status import_initializer(importer *in, pare__scope *scope, const pare__onnx_tensor *tensor) {
  if (!*text(tensor->name)) return pare__fail(PARE_ERR_FORMAT, "an initialiser has no name");
  int32_t id;
  PARE__TRY(define(in, scope, tensor->name, &id));
  pare__value *value = &in->network->value[id];
  value->onnx_dtype = tensor->data_type;
  PARE__TRY(pare__content_of_tensor(in->network->onnx->source, tensor, &value->constant));
  value->rank = value->constant->shape.rank;
  memcpy(value->dim, value->constant->shape.dim, sizeof value->dim);
  return PARE_OK;
}

static pare_status import_sparse(importer *in, pare__scope *scope, const pare__onnx_sparse_tensor *sparse) {
  if (!sparse->values || !*text(sparse->values->name))
    return pare__fail(PARE_ERR_FORMAT, "a sparse initialiser has no name");
  int32_t id;
  PARE__TRY(define(in, scope, sparse->values->name, &id));
  pare__value *value = &in->network->value[id];
  PARE__TRY(pare__content_of_sparse(in->network->onnx->source, sparse, &value->constant));
  value->onnx_dtype = sparse->values->data_type;
  value->rank = value->constant->shape.rank;
  memcpy(value->dim, value->constant->shape.dim, sizeof value->dim);
  return PARE_OK;
}

/* ---- nodes ---- */

static pare_status import_nodes(importer *in, pare__scope *scope, const pare__onnx_nodes *nodes, node_list *out);
static pare_status import_graph(importer *in, const pare__scope *around, const pare__onnx_graph *from,
                                pare__graph *out);

static pare_status copy_list(importer *in, const void *items, size_t nbytes, void **out) {
  PARE__TRY(pare__onnx_allocate(in->network->onnx->source, PARE__MAX(nbytes, (size_t)1), out));
  if (nbytes > 0) memcpy(*out, items, nbytes);
  return PARE_OK;
}

/* In a function, the attribute of the caller or the function's default that `reference` stands for; NULL: neither. */
static const pare__onnx_attribute *referred(const frame *at, const char *reference) {
  for (; at; at = at->outer) {
    const pare__onnx_attribute *given = pare__onnx_attribute_find(at->caller, reference);
    if (given && *text(given->ref_attr_name)) { /* the caller is in a function itself */
      reference = given->ref_attr_name;
      continue;
    }
    if (given) return given;
    for (size_t i = 0; i < at->function->attribute_proto.count; i++)
      if (strcmp(text(at->function->attribute_proto.items[i].name), reference) == 0)
        return &at->function->attribute_proto.items[i];
    return NULL;
  }
  return NULL;
}

/* Attributes that passes leave for kernels: a file that has them would be computed as nobody wrote it. */
static bool is_internal(const char *op_type, const char *attribute) {
  static const struct {
    const char *op_type, *attribute; /* op_type NULL: of any operator */
  } internal[] = {{NULL, "blocked"},          {NULL, "x_blocked"},          {NULL, "y_blocked"},
                  {NULL, "activation_scale"}, {NULL, "activation_shift"},   {"MatMul", "alpha"},
                  {"MatMul", "transA"},       {"MatMul", "transB"},         {"MatMul", "activation"},
                  {"MatMulNBits", "alpha"},   {"MatMulNBits", "activation"}};
  for (size_t i = 0; i < PARE__COUNT(internal); i++)
    if (strcmp(attribute, internal[i].attribute) == 0 &&
        (!internal[i].op_type || strcmp(op_type, internal[i].op_type) == 0))
      return true;
  return false;
}

static pare_status import_attributes(importer *in, const pare__onnx_node *from, pare__node *node) {
  void *list;
  PARE__TRY(copy_list(in, from->attribute.items, from->attribute.count * sizeof *node->attribute, &list));
  node->attribute = list;
  for (size_t i = 0; i < from->attribute.count; i++) {
    pare__onnx_attribute attribute = from->attribute.items[i];
    if (!attribute.name) return pare__fail(PARE_ERR_FORMAT, "an attribute has no name");
    if (is_internal(node->op_type, attribute.name))
      return pare__fail(PARE_ERR_FORMAT, "its attribute '%s' is none that ONNX has", attribute.name);
    if (*text(attribute.ref_attr_name)) {
      const pare__onnx_attribute *value = referred(in->frame, attribute.ref_attr_name);
      if (!value) continue;
      const char *name = attribute.name;
      attribute = *value;
      attribute.name = name;
    }
    node->attribute[node->nattributes++] = attribute;
  }
  return PARE_OK;
}

static pare_status import_subgraphs(importer *in, pare__scope *scope, pare__node *node) {
  unsigned count = 0;
  for (size_t i = 0; i < node->nattributes; i++) count += node->attribute[i].g != NULL;
  if (count == 0) return PARE_OK;
  void *list;
  PARE__TRY(pare__onnx_allocate(in->network->onnx->source, count * sizeof *node->subgraph, &list));
  node->subgraph = list;
  for (size_t i = 0; i < node->nattributes; i++) {
    if (!node->attribute[i].g) continue;
    void *graph;
    PARE__TRY(pare__onnx_allocate(in->network->onnx->source, sizeof(pare__graph), &graph));
    node->subgraph[node->nsubgraphs++] = (pare__subgraph){node->attribute[i].name, graph};
    PARE__TRY(import_graph(in, scope, node->attribute[i].g, graph));
  }
  return PARE_OK;
}

/* The number of a name that a node reads. */
static pare_status look_up(const pare__scope *scope, const char *name, int32_t *out) {
  *out = PARE__NO_VALUE;
  if (!*text(name)) return PARE_OK;
  *out = pare__scope_find(scope, name);
  if (*out >= 0) return PARE_OK;
  return pare__fail(PARE_ERR_FORMAT,
                    "it reads '%s', which is no input, no initialiser and no output of a node before it (missing, in "
                    "a cycle, or the nodes are not in order)",
                    name);
}

static pare_status import_operator(importer *in, pare__scope *scope, const pare__onnx_node *from, node_list *out) {
  const char *domain = pare__onnx_domain(from->domain);
  const int64_t opset = PARE__MAX(pare__onnx_opset_version(in->opsets, domain), 1);
  if (from->input.count > UINT16_MAX || from->output.count > UINT16_MAX)
    return pare__fail(PARE_ERR_FORMAT, "it has %zu inputs and %zu outputs", from->input.count, from->output.count);
  pare__node node;
  PARE__TRY(pare__node_create(in->network, domain, from->op_type, opset, (unsigned)from->input.count,
                              (unsigned)from->output.count, &node));
  node.name = text(from->name);
  for (unsigned i = 0; i < node.ninputs; i++) PARE__TRY(look_up(scope, from->input.items[i], &node.input[i]));
  PARE__TRY(import_attributes(in, from, &node));
  node.op = pare__operator_find(domain, from->op_type, opset);
  if (node.op && !pare__operator_in_files(node.op)) node.op = NULL;
  if (!node.op) PARE__TRY(pare__missing_note(&in->missing, from, opset));
  PARE__TRY(import_subgraphs(in, scope, &node));
  for (unsigned i = 0; i < node.noutputs; i++)
    if (*text(from->output.items[i])) PARE__TRY(define(in, scope, from->output.items[i], &node.output[i]));
  PARE__TRY(pare__array_grow((void **)&out->node, &out->capacity, out->count, sizeof *out->node));
  out->node[out->count++] = node;
  return PARE_OK;
}

static const pare__onnx_function *find_function(const importer *in, const pare__onnx_node *node) {
  const pare__onnx_model *onnx = in->network->onnx;
  for (size_t i = 0; i < onnx->functions.count; i++) {
    const pare__onnx_function *function = &onnx->functions.items[i];
    if (strcmp(text(function->name), node->op_type) == 0 &&
        strcmp(text(function->overload), text(node->overload)) == 0 &&
        strcmp(pare__onnx_domain(function->domain), pare__onnx_domain(node->domain)) == 0)
      return function;
  }
  return NULL;
}

/* The body of a local function in place of the node that calls it. */
static pare_status inline_function(importer *in, pare__scope *scope, const pare__onnx_node *caller,
                                   const pare__onnx_function *function, node_list *out) {
  const frame here = {in->frame, function, caller, in->frame ? in->frame->depth + 1 : 1};
  if (here.depth > MOST_CALLS)
    return pare__fail(PARE_ERR_FORMAT, "functions call each other more than %d deep; '%s' calls itself", MOST_CALLS,
                      text(function->name));
  pare__scope body = {0};
  const frame *outer = in->frame;
  const pare__onnx_opsets *opsets = in->opsets;
  pare_status status = PARE_OK;
  for (size_t i = 0; i < function->input.count && status == PARE_OK; i++) {
    int32_t id = PARE__NO_VALUE;
    if (i < caller->input.count) status = look_up(scope, caller->input.items[i], &id);
    if (status == PARE_OK && id >= 0) status = pare__scope_define(&body, function->input.items[i], id);
    if (status == PARE_OK && id < 0) { /* left out: a value that nothing makes, as its readers expect */
      status = define(in, &body, function->input.items[i], &id);
    }
  }
  in->frame = &here;
  if (function->opset_import.count > 0) in->opsets = &function->opset_import;
  if (status == PARE_OK) status = import_nodes(in, &body, &function->node, out);
  in->frame = outer;
  in->opsets = opsets;
  for (size_t i = 0; i < caller->output.count && status == PARE_OK; i++) {
    if (!*text(caller->output.items[i])) continue;
    const int32_t id = i < function->output.count ? pare__scope_find(&body, function->output.items[i]) : PARE__NO_VALUE;
    status = id >= 0
                 ? pare__scope_define(scope, caller->output.items[i], id)
                 : pare__fail(PARE_ERR_FORMAT, "function '%s' does not make its output %zu", text(function->name), i);
  }
  pare__scope_clear(&body);
  return status;
}

static pare_status import_node(importer *in, pare__scope *scope, const pare__onnx_node *node, node_list *out) {
  if (!*text(node->op_type)) return pare__fail(PARE_ERR_FORMAT, "it names no operator");
  if (++in->nnodes > MOST_NODES)
    return pare__fail(PARE_ERR_LIMIT, "the model has more than %d nodes once its functions are inlined", MOST_NODES);
  const pare__onnx_function *function = find_function(in, node);
  return function ? inline_function(in, scope, node, function, out) : import_operator(in, scope, node, out);
}

static pare_status import_nodes(importer *in, pare__scope *scope, const pare__onnx_nodes *nodes, node_list *out) {
  for (size_t i = 0; i < nodes->count; i++) {
    const pare__onnx_node *node = &nodes->items[i];
    const pare_status status = import_node(in, scope, node, out);
    if (status == PARE_OK) continue;
    char *why = pare__strdup(pare_message());
    pare__fail(status, "node %zu '%s' (%s): %s", i, text(node->name), text(node->op_type), why ? why : "");
    free(why);
    return status;
  }
  return PARE_OK;
}

/* ---- graphs ---- */

static pare_status import_inputs(importer *in, pare__scope *scope, const pare__onnx_graph *from, pare__graph *out) {
  void *ids;
  PARE__TRY(pare__onnx_allocate(in->network->onnx->source, (from->input.count + 1) * sizeof *out->input, &ids));
  out->input = ids;
  for (size_t i = 0; i < from->input.count; i++) {
    const pare__onnx_value *input = &from->input.items[i];
    if (!*text(input->name)) return pare__fail(PARE_ERR_FORMAT, "input %zu has no name", i);
    const pare__scope own = {.count = scope->count, .capacity = scope->capacity, .entry = scope->entry};
    if (pare__scope_find(&own, input->name) >= 0) continue; /* an initialiser: a constant here (pare__onnx_override) */
    int32_t id;
    PARE__TRY(define(in, scope, input->name, &id));
    note_type(&in->network->value[id], input->type);
    const bool other = input->type && input->type->which != PARE__ONNX_TYPE_TENSOR && input->type->which != 0;
    if (other)
      return pare__fail(PARE_ERR_UNSUPPORTED, "input '%s' is a sequence, map or optional; pare takes tensors",
                        input->name);
    out->input[out->ninputs++] = id;
  }
  return PARE_OK;
}

/* The value of that name, and its number; NULL: there is none. */
static pare__value *find_value(const importer *in, const pare__scope *scope, const char *name, int32_t *id) {
  *id = pare__scope_find(scope, name);
  return *id >= 0 && (size_t)*id < in->network->nvalues ? &in->network->value[*id] : NULL;
}

static pare_status import_outputs(importer *in, pare__scope *scope, const pare__onnx_graph *from, pare__graph *out) {
  void *ids;
  PARE__TRY(pare__onnx_allocate(in->network->onnx->source, (from->output.count + 1) * sizeof *out->output, &ids));
  out->output = ids;
  for (size_t i = 0; i < from->output.count; i++) {
    const pare__onnx_value *output = &from->output.items[i];
    int32_t id;
    pare__value *value = find_value(in, scope, text(output->name), &id);
    if (!value) return pare__fail(PARE_ERR_FORMAT, "output %zu, '%s', is made by no node", i, text(output->name));
    if (value->rank < 0 || value->onnx_dtype == 0) note_type(value, output->type);
    out->output[out->noutputs++] = id;
  }
  return PARE_OK;
}

static pare_status import_body(importer *in, pare__scope *scope, const pare__onnx_graph *from, pare__graph *out) {
  for (size_t i = 0; i < from->initializer.count; i++)
    PARE__TRY(import_initializer(in, scope, &from->initializer.items[i]));
  for (size_t i = 0; i < from->sparse_initializer.count; i++)
    PARE__TRY(import_sparse(in, scope, &from->sparse_initializer.items[i]));
  PARE__TRY(import_inputs(in, scope, from, out));
  node_list nodes = {0};
  pare_status status = import_nodes(in, scope, &from->node, &nodes);
  void *list = NULL;
  if (status == PARE_OK) status = copy_list(in, nodes.node, nodes.count * sizeof *nodes.node, &list);
  free(nodes.node);
  PARE__TRY(status);
  out->node = list;
  out->nnodes = nodes.count;
  PARE__TRY(import_outputs(in, scope, from, out));
  for (size_t i = 0; i < from->value_info.count; i++) {
    int32_t id;
    pare__value *value = find_value(in, scope, text(from->value_info.items[i].name), &id);
    if (value && value->rank < 0) note_type(value, from->value_info.items[i].type);
  }
  return PARE_OK;
}

static pare_status import_graph(importer *in, const pare__scope *around, const pare__onnx_graph *from,
                                pare__graph *out) {
  *out = (pare__graph){.name = text(from->name)};
  pare__scope scope = {.parent = around};
  const pare_status status = import_body(in, &scope, from, out);
  pare__scope_clear(&scope);
  return status;
}

/* What is newer than the tables is run as what it was: mostly right, and said. */
static void note_versions(const pare__onnx_model *onnx) {
  const char *path = pare__onnx_source_path(onnx->source);
  if (onnx->ir_version > NEWEST_IR)
    pare__log(PARE_LOG_WARN, "%s has IR version %" PRId64 "; pare knows those up to %d", path, onnx->ir_version,
              NEWEST_IR);
  for (size_t i = 0; i < onnx->opset_import.count; i++) {
    const char *domain = pare__onnx_domain(onnx->opset_import.items[i].domain);
    const int64_t version = onnx->opset_import.items[i].version, newest = pare__operator_newest(domain);
    if (*domain == '\0' && version > newest)
      pare__log(PARE_LOG_WARN,
                "%s imports opset %" PRId64 " of ai.onnx; pare knows those up to %" PRId64
                ", and takes later operators for what they were then",
                path, version, newest);
  }
}

pare_status pare__network_open(pare__onnx_model *onnx, pare__network **out) {
  *out = NULL;
  pare__network *network = calloc(1, sizeof *network);
  if (!network) {
    pare__onnx_close(onnx);
    return pare__fail_memory("a model", sizeof *network);
  }
  network->onnx = onnx;
  note_versions(onnx);
  importer in = {.network = network, .opsets = &onnx->opset_import};
  pare_status status = import_graph(&in, NULL, onnx->graph, &network->graph);
  if (status == PARE_OK && in.missing.nnodes > 0) {
    status = pare__missing_fail(&in.missing, pare__onnx_source_path(onnx->source));
  } else if (status != PARE_OK) {
    char *why = pare__strdup(pare_message());
    pare__fail(status, "%s: %s", pare__onnx_source_path(onnx->source), why ? why : "");
    free(why);
  }
  pare__missing_clear(&in.missing);
  if (status == PARE_OK) status = pare__network_settle(network);
  if (status != PARE_OK) {
    pare__network_close(network);
    return status;
  }
  *out = network;
  return PARE_OK;
}
