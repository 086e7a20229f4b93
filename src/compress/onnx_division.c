/* Divisions of activations, taken by what makes them: looking back from the layers, and changing the graph.
 * SPDX-License-Identifier: Apache-2.0
 *
 * On the way back the channels are the last axis of a value, or (SPLIT) the heads and the places in a head of an
 * attention: axes of a value of rank 4, in that order. Whatever else reads a value on the way would see it divided, so
 * nothing may, but for what asks for its shape. */
#include <stdlib.h>
#include <string.h>

#include "compress/division.h"
#include "compress/onnx_build.h"
#include "compress/pattern.h"

enum { SPLIT_RANK = 4 };

/* Constants lie among so many inputs of a node. */
#define MOST_CONSTANTS ((size_t)4)

/* Nodes that commute with a positive factor for each channel. */
static const char *const passing[] = {"Relu", "LeakyRelu", "Identity"};

/* Norms that end with a scale, and maybe a bias, for each channel. */
static const struct norm {
  const char *op_type, *domain;
  size_t scale, bias; /* inputs; 0: none */
} norms[] = {
    {"LayerNormalization", "", 1, 2},
    {"RMSNormalization", "", 1, 0},
    {"SimplifiedLayerNormalization", "", 1, 0},
    {"SkipLayerNormalization", "com.microsoft", 2, 3},
    {"SkipSimplifiedLayerNormalization", "com.microsoft", 2, 0},
};

struct search {
  const pare__onnx_checkpoint *checkpoint;
  const pare__treatment *treatments;
  pare__division *division;
  bool may_change;
  bool split;
  int heads, places; /* axes, if split */
  const char *value; /* that is looked at */
  bool done;
};

static const char *text_at(const pare__onnx_texts *texts, size_t i) {
  return i < texts->count && texts->items[i] ? texts->items[i] : "";
}

static bool is_op(const pare__onnx_node *node, const char *op_type, const char *domain) {
  return node->op_type && strcmp(node->op_type, op_type) == 0 && strcmp(pare__onnx_domain(node->domain), domain) == 0;
}

static const char *name_of(const pare__onnx_node *node) {
  return node->name && *node->name ? node->name : text_at(&node->output, 0);
}

bool pare__division_holds(const pare__division *division, const pare__treatment *treatments) {
  if (!division || !division->into || !division->inverse) return false;
  for (size_t i = 0; i < division->nlayers; i++)
    if (treatments[division->layers[i]].division != division) return false;
  return division->linear == SIZE_MAX || treatments[division->linear].takes == division;
}

/* ---- readers ---- */

static bool body_reads(const pare__onnx_node *node, const char *value);

static bool node_reads(const pare__onnx_node *node, const char *value) {
  for (size_t i = 0; i < node->input.count; i++)
    if (strcmp(text_at(&node->input, i), value) == 0) return true;
  return body_reads(node, value);
}

static bool graph_reads(const pare__onnx_graph *graph, const char *value) {
  for (size_t i = 0; i < graph->node.count; i++)
    if (node_reads(&graph->node.items[i], value)) return true;
  for (size_t i = 0; i < graph->output.count; i++)
    if (graph->output.items[i].name && strcmp(graph->output.items[i].name, value) == 0) return true;
  return false;
}

static bool body_reads(const pare__onnx_node *node, const char *value) {
  for (size_t a = 0; a < node->attribute.count; a++) {
    const pare__onnx_attribute *attribute = &node->attribute.items[a];
    if (attribute->g && graph_reads(attribute->g, value)) return true;
    for (size_t g = 0; g < attribute->graphs.count; g++)
      if (graph_reads(&attribute->graphs.items[g], value)) return true;
  }
  return false;
}

static bool asks_for_shape(const pare__onnx_node *node) { return is_op(node, "Shape", "") || is_op(node, "Size", ""); }

static bool is_layer(const struct search *search, const pare__onnx_node *node) {
  const pare__onnx_use *use = pare__onnx_use_of(search->checkpoint, node);
  for (size_t i = 0; use && i < search->division->nlayers; i++)
    if (use->weight == search->division->layers[i]) return use->kind == PARE__USE_LINEAR;
  return false;
}

/* The reason: a node of the graph between two pieces of text. */
static pare_status refuse(struct search *search, const char *before, const pare__onnx_node *node, const char *after) {
  const char *op_type = node && node->op_type ? node->op_type : "";
  char *text = node ? pare__format("%s%.40s '%.100s'%s", before, op_type, name_of(node), after)
                    : pare__format("%s'%.100s'%s", before, search->value, after);
  search->done = true;
  if (!text) return pare__fail_memory("a reason", 128);
  const pare_status status = pare__onnx_text(search->checkpoint->model->source, text, &search->division->reason);
  free(text);
  return status;
}

/* Only node `next` (SIZE_MAX: only the layers) may read the value. */
static pare_status check_readers(struct search *search, size_t next) {
  const pare__onnx_graph *graph = search->checkpoint->model->graph;
  for (size_t i = 0; i < graph->output.count; i++)
    if (graph->output.items[i].name && strcmp(graph->output.items[i].name, search->value) == 0)
      return refuse(search, "", NULL, " is an output of the model");
  for (size_t i = 0; i < graph->node.count; i++) {
    const pare__onnx_node *node = &graph->node.items[i];
    if (i == next || asks_for_shape(node) || !node_reads(node, search->value)) continue;
    if (next == SIZE_MAX && is_layer(search, node) && !body_reads(node, search->value) &&
        strcmp(text_at(&node->input, 1), search->value) != 0 && strcmp(text_at(&node->input, 2), search->value) != 0)
      continue;
    return refuse(search, "", node, " reads the same value");
  }
  return PARE_OK;
}

static size_t maker_of(const struct search *search) {
  const pare__onnx_nodes *nodes = &search->checkpoint->model->graph->node;
  for (size_t i = 0; i < nodes->count; i++)
    for (size_t k = 0; k < nodes->items[i].output.count; k++)
      if (strcmp(text_at(&nodes->items[i].output, k), search->value) == 0) return k == 0 ? i : SIZE_MAX;
  return SIZE_MAX;
}

/* ---- constants ---- */

/* The constant of the main graph that is called so; SIZE_MAX: none. */
static size_t constant_of(const pare__onnx_checkpoint *checkpoint, const char *name) {
  for (size_t i = 0; *name && i < checkpoint->base.nweights; i++)
    if (checkpoint->weights[i].graph == checkpoint->model->graph && strcmp(checkpoint->weights[i].value, name) == 0)
      return i;
  return SIZE_MAX;
}

/* A float for each channel along the last axis? */
static bool is_vector(const struct search *search, const char *name) {
  const size_t found = constant_of(search->checkpoint, name);
  if (found == SIZE_MAX) return false;
  const pare__weight *weight = &search->checkpoint->base.weights[found];
  return weight->dtype == PARE_F32 && weight->elements == search->division->channels && weight->rank >= 1 &&
         weight->rank <= PARE_MAX_RANK && weight->dim[weight->rank - 1] == search->division->channels;
}

/* The last two numbers of a shape, as far as they are constant; 0: not known. */
static pare_status last_two(const struct search *search, const char *name, int64_t out[2]) {
  const pare__onnx_checkpoint *checkpoint = search->checkpoint;
  const size_t found = constant_of(checkpoint, name);
  out[0] = out[1] = 0;
  if (found != SIZE_MAX) {
    pare__onnx_data data = {0};
    int64_t number;
    if (checkpoint->base.weights[found].dtype != PARE_I64) return PARE_OK;
    PARE__TRY(pare__onnx_tensor_data(checkpoint->model->source, &checkpoint->weights[found].original, &data));
    for (int64_t i = 0; i < PARE__MIN(data.count, 2); i++) {
      memcpy(&number, (const char *)data.data + (size_t)(data.count - 1 - i) * sizeof number, sizeof number);
      out[1 - i] = number;
    }
    pare__onnx_data_close(&data);
    return PARE_OK;
  }
  const pare__onnx_nodes *nodes = &checkpoint->model->graph->node;
  for (size_t n = 0; n < nodes->count; n++) {
    const pare__onnx_node *node = &nodes->items[n];
    if (!is_op(node, "Concat", "") || strcmp(text_at(&node->output, 0), name) != 0) continue;
    for (size_t i = 0; i < 2 && i < node->input.count; i++) {
      const size_t part = constant_of(checkpoint, text_at(&node->input, node->input.count - 1 - i));
      int64_t numbers[2] = {0, 0};
      if (part == SIZE_MAX || checkpoint->base.weights[part].elements != 1) break;
      PARE__TRY(last_two(search, checkpoint->weights[part].value, numbers));
      out[1 - i] = numbers[1];
    }
    break;
  }
  return PARE_OK;
}

/* ---- one step back ---- */

static void take(struct search *search, size_t node, unsigned divided, unsigned multiplied) {
  pare__division *division = search->division;
  division->steps[division->nsteps++] = (pare__division_step){node, divided, multiplied};
}

static pare_status finish(struct search *search, const pare__onnx_node *node) {
  search->done = true;
  search->division->into = name_of(node);
  return PARE_OK;
}

static pare_status cannot(struct search *search, const pare__onnx_node *node) {
  return refuse(search, "what makes them cannot take it: ", node, "");
}

static pare_status try_linear(struct search *search, size_t index, const pare__onnx_use *use) {
  const pare__onnx_checkpoint *checkpoint = search->checkpoint;
  const pare__onnx_node *node = &checkpoint->model->graph->node.items[index];
  const pare__weight *weight = &checkpoint->base.weights[use->weight];
  const pare__treatment *treatment = &search->treatments[use->weight];
  const char *bias = is_op(node, "Gemm", "") ? text_at(&node->input, 2) : "";
  if (use->kind != PARE__USE_LINEAR || !use->plain || weight->nuses != 1 || weight->dtype != PARE_F32 ||
      weight->refusal || weight->role != PARE__WEIGHT_LINEAR || treatment->takes ||
      pare__weight_rows(weight) != search->division->channels || (*bias && !is_vector(search, bias)))
    return cannot(search, node);
  if (treatment->pruned) return refuse(search, "what makes them is pruned: ", node, "");
  if (treatment->storage == PARE__STORE_AS_IS && !search->may_change)
    return refuse(search, "what makes them is to stay as it is: ", node, "");
  take(search, index, *bias ? 1U << 2 : 0, 0);
  search->division->linear = use->weight;
  return finish(search, node);
}

static pare_status try_norm(struct search *search, size_t index, const struct norm *norm) {
  const pare__onnx_node *node = &search->checkpoint->model->graph->node.items[index];
  const char *bias = norm->bias ? text_at(&node->input, norm->bias) : "";
  if (!is_vector(search, text_at(&node->input, norm->scale)) || (*bias && !is_vector(search, bias)))
    return cannot(search, node);
  take(search, index, 1U << norm->scale | (*bias ? 1U << norm->bias : 0), 0);
  return finish(search, node);
}

/* A sum or a product with a constant for each channel. */
static pare_status try_constant(struct search *search, size_t index) {
  const pare__onnx_node *node = &search->checkpoint->model->graph->node.items[index];
  const bool sum = is_op(node, "Add", "") || is_op(node, "Sub", ""), quotient = is_op(node, "Div", "");
  for (unsigned i = 0; i < 2; i++) {
    if (!is_vector(search, text_at(&node->input, i)) || (quotient && i == 0)) continue;
    take(search, index, quotient ? 0 : 1U << i, quotient ? 1U << i : 0);
    if (!sum) return finish(search, node);
    search->value = text_at(&node->input, 1 - i);
    return PARE_OK;
  }
  return cannot(search, node);
}

/* Is the node that makes a value a Transpose as attentions have it? */
static bool is_turned(const struct search *search, const char *value) {
  const pare__onnx_nodes *nodes = &search->checkpoint->model->graph->node;
  for (size_t n = 0; n < nodes->count; n++) {
    if (!is_op(&nodes->items[n], "Transpose", "") || strcmp(text_at(&nodes->items[n].output, 0), value) != 0) continue;
    const pare__onnx_attribute *perm = pare__onnx_attribute_find(&nodes->items[n], "perm");
    return perm && perm->ints.count == SPLIT_RANK;
  }
  return false;
}

/* Heads put side by side, or taken apart; else the last axis stays what it is. */
static pare_status try_reshape(struct search *search, size_t index) {
  const pare__onnx_checkpoint *checkpoint = search->checkpoint;
  const pare__onnx_node *node = &checkpoint->model->graph->node.items[index];
  int64_t last[2];
  PARE__TRY(last_two(search, text_at(&node->input, 1), last));
  if (search->split) {
    if (search->heads != 2 || search->places != 3 || last[0] < 1 || last[1] < 1 || last[0] > INT32_MAX ||
        last[1] > INT32_MAX || last[0] * last[1] != search->division->channels)
      return cannot(search, node);
  } else if (last[1] != search->division->channels && last[1] != -1) {
    return cannot(search, node);
  }
  take(search, index, 0, 0);
  search->split = !search->split && is_turned(search, text_at(&node->input, 0));
  search->heads = 2;
  search->places = 3;
  search->value = text_at(&node->input, 0);
  return PARE_OK;
}

static pare_status try_split(struct search *search, size_t index) {
  const pare__onnx_node *node = &search->checkpoint->model->graph->node.items[index];
  if (is_op(node, "Reshape", "")) return try_reshape(search, index);
  if (is_op(node, "Transpose", "")) {
    const pare__onnx_attribute *perm = pare__onnx_attribute_find(node, "perm");
    if (!perm || perm->ints.count != SPLIT_RANK) return cannot(search, node);
    for (size_t d = 0; d < SPLIT_RANK; d++)
      if (perm->ints.items[d] < 0 || perm->ints.items[d] >= SPLIT_RANK) return cannot(search, node);
    search->heads = (int)perm->ints.items[search->heads];
    search->places = (int)perm->ints.items[search->places];
    search->value = text_at(&node->input, 0);
  } else if (is_op(node, "MatMul", "") && search->heads < 2 && search->places == 3 &&
             !pare__onnx_use_of(search->checkpoint, node) &&
             strcmp(text_at(&node->input, 0), text_at(&node->input, 1)) != 0) {
    search->value = text_at(&node->input, 1); /* weights of the attention times values */
  } else {
    return cannot(search, node);
  }
  take(search, index, 0, 0);
  return PARE_OK;
}

static pare_status step_back(struct search *search, size_t index) {
  const pare__onnx_node *node = &search->checkpoint->model->graph->node.items[index];
  if (search->division->nsteps == PARE__DIVISION_MOST_STEPS) return cannot(search, node);
  if (search->split) return try_split(search, index);
  const pare__onnx_use *use = pare__onnx_use_of(search->checkpoint, node);
  if (use) return try_linear(search, index, use);
  for (size_t i = 0; i < PARE__COUNT(norms); i++)
    if (is_op(node, norms[i].op_type, norms[i].domain)) return try_norm(search, index, &norms[i]);
  if (is_op(node, "Reshape", "")) return try_reshape(search, index);
  if (is_op(node, "Add", "") || is_op(node, "Sub", "") || is_op(node, "Mul", "") || is_op(node, "Div", ""))
    return try_constant(search, index);
  for (size_t i = 0; i < PARE__COUNT(passing); i++) {
    if (!is_op(node, passing[i], "")) continue;
    take(search, index, 0, 0);
    search->value = text_at(&node->input, 0);
    return PARE_OK;
  }
  return cannot(search, node);
}

pare_status pare__division_find(pare__checkpoint *checkpoint, const pare__treatment *treatments, const char *value,
                                size_t nlayers, const size_t *layers, bool may_change, pare__division **out) {
  pare__onnx_checkpoint *onnx = (pare__onnx_checkpoint *)checkpoint;
  void *memory;
  *out = NULL;
  PARE__TRY(pare__onnx_allocate(onnx->model->source, sizeof **out, &memory));
  pare__division *division = memory;
  PARE__TRY(pare__onnx_allocate(onnx->model->source, nlayers * sizeof *layers, &memory));
  *division = (pare__division){.value = value,
                               .reader = checkpoint->weights[layers[0]].layer,
                               .nlayers = nlayers,
                               .layers = memcpy(memory, layers, nlayers * sizeof *layers),
                               .channels = pare__weight_inputs(&checkpoint->weights[layers[0]]),
                               .linear = SIZE_MAX};
  struct search search = {
      .checkpoint = onnx, .treatments = treatments, .division = division, .may_change = may_change, .value = value};
  for (size_t next = SIZE_MAX; !search.done;) {
    PARE__TRY(check_readers(&search, next));
    if (search.done) break;
    next = maker_of(&search);
    if (next == SIZE_MAX)
      PARE__TRY(refuse(&search, "no node makes ", NULL, ""));
    else
      PARE__TRY(step_back(&search, next));
  }
  *out = division;
  return PARE_OK;
}

pare_status pare__division_meets(const pare__division *division, const pare__checkpoint *checkpoint,
                                 pare__pattern *pattern, bool *out) {
  const pare__onnx_checkpoint *onnx = (const pare__onnx_checkpoint *)checkpoint;
  *out = false;
  for (size_t s = 0; s < division->nsteps && !*out; s++) {
    const pare__onnx_node *node = &onnx->model->graph->node.items[division->steps[s].node];
    PARE__TRY(pare__pattern_fits_name(pattern, node->name ? node->name : "", out));
    for (size_t i = 0; i < node->input.count && !*out; i++)
      if (constant_of(onnx, text_at(&node->input, i)) != SIZE_MAX)
        PARE__TRY(pare__pattern_fits_name(pattern, text_at(&node->input, i), out));
  }
  return PARE_OK;
}

/* ---- changing the graph ---- */

/* Everything in the main graph that reads or makes a value calls it so from now on. */
static void rename_value(pare__onnx_graph *graph, const char *old, const char *name) {
  for (size_t n = 0; n < graph->node.count; n++) {
    pare__onnx_node *node = &graph->node.items[n];
    for (size_t i = 0; i < node->input.count; i++)
      if (strcmp(text_at(&node->input, i), old) == 0) node->input.items[i] = name;
    for (size_t i = 0; i < node->output.count; i++)
      if (strcmp(text_at(&node->output, i), old) == 0) node->output.items[i] = name;
  }
  for (size_t i = 0; i < graph->value_info.count; i++)
    if (graph->value_info.items[i].name && strcmp(graph->value_info.items[i].name, old) == 0)
      graph->value_info.items[i].name = name;
}

static pare_status scaled(const pare__onnx_checkpoint *checkpoint, size_t constant, const float *inverse, bool divided,
                          float *out) {
  pare__onnx_data data = {0};
  PARE__TRY(pare__onnx_tensor_data(checkpoint->model->source, &checkpoint->weights[constant].original, &data));
  memcpy(out, data.data, data.nbytes);
  for (int64_t i = 0; i < data.count; i++) out[i] = divided ? out[i] * inverse[i] : out[i] / inverse[i];
  pare__onnx_data_close(&data);
  return PARE_OK;
}

/* The tensor itself changes if nothing else reads it. */
static pare_status scale_input(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                               const pare__division *division, pare__onnx_node *node, size_t input, bool divided) {
  pare__onnx_graph *graph = checkpoint->model->graph;
  const size_t constant = constant_of(checkpoint, node->input.items[input]);
  const pare__weight *weight = &checkpoint->base.weights[constant];
  const pare__onnx_weight *info = &checkpoint->weights[constant];
  const size_t nbytes = (size_t)weight->elements * sizeof(float);
  void *values;
  PARE__TRY(pare__onnx_allocate(build->source, nbytes, &values));
  PARE__TRY(scaled(checkpoint, constant, division->inverse, divided, values));
  const bool alone = weight->nuses == 1 && !info->is_output;
  for (size_t i = 0; alone && i < graph->initializer.count; i++) {
    pare__onnx_tensor *tensor = &graph->initializer.items[i];
    if (tensor->name && strcmp(tensor->name, info->value) == 0)
      return pare__onnx_tensor_set(build, tensor, tensor->name, PARE__ONNX_FLOAT, weight->rank, weight->dim, NULL,
                                   (pare__onnx_bytes){values, nbytes});
  }
  if (alone && info->constant)
    return pare__onnx_tensor_set(build, info->tensor, info->tensor->name, PARE__ONNX_FLOAT, weight->rank, weight->dim,
                                 NULL, (pare__onnx_bytes){values, nbytes});
  return pare__onnx_constant_add(build, graph, info->value, "_smoothed", PARE__ONNX_FLOAT, weight->rank, weight->dim,
                                 values, &node->input.items[input]);
}

static pare_status divide(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                          const pare__division *division) {
  pare__onnx_graph *graph = checkpoint->model->graph;
  for (size_t s = 0; s < division->nsteps; s++) {
    const pare__division_step *step = &division->steps[s];
    pare__onnx_node *node = &graph->node.items[step->node];
    const char *name;
    for (size_t i = 0; i < PARE__MIN(node->input.count, MOST_CONSTANTS); i++)
      if ((step->divided | step->multiplied) >> i & 1)
        PARE__TRY(scale_input(build, checkpoint, division, node, i, step->divided >> i & 1));
    PARE__TRY(pare__onnx_fresh(build, node->output.items[0], "_smoothed", &name));
    rename_value(graph, node->output.items[0], name);
  }
  return PARE_OK;
}

pare_status pare__onnx_divisions_make(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                                      const pare__treatment *treatments) {
  for (size_t i = 0; i < checkpoint->base.nweights; i++) {
    const pare__division *division = treatments[i].division;
    if (division && division->layers[0] == i && pare__division_holds(division, treatments))
      PARE__TRY(divide(build, checkpoint, division));
  }
  return PARE_OK;
}
