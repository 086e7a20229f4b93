/* An ONNX model with compressed weights: its initialisers, what feeds the nodes that stay, opsets.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "compress/onnx_build.h"

const char pare__onnx_gone[] = "";

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* ---- initialisers ---- */

static pare_status name_parts(pare__onnx_builder *build, pare__onnx_packing *packing) {
  static const char *const suffixes[] = {[PARE__FORM_HALF] = "_half",
                                         [PARE__FORM_INTEGER] = "_quantized",
                                         [PARE__FORM_PRODUCT] = "_quantized",
                                         [PARE__FORM_BLOCKS] = "_quantized"};
  const char *value = packing->checkpoint->weights[packing->index].value;
  packing->codes_name = value;
  if (packing->parts.form == PARE__FORM_VALUES) return PARE_OK;
  PARE__TRY(pare__onnx_fresh(build, value, suffixes[packing->parts.form], &packing->codes_name));
  if (packing->parts.scales_rank >= 0) PARE__TRY(pare__onnx_fresh(build, value, "_scale", &packing->scales_name));
  if (packing->parts.zeros_rank < 0) return PARE_OK;
  return pare__onnx_fresh(build, value, "_zero_point", &packing->zeros_name);
}

static pare_status set_codes(pare__onnx_builder *build, const pare__onnx_packing *packing, pare__onnx_tensor *tensor) {
  const pare__onnx_parts *parts = &packing->parts;
  return pare__onnx_tensor_set(build, tensor, packing->codes_name, parts->codes_dtype, parts->codes_rank,
                               parts->codes_dim, &packing->codes, (pare__onnx_bytes){0});
}

/* Scales and zero points, behind the codes in the file. */
static pare_status append_grid(pare__onnx_builder *build, const pare__onnx_packing *packing, pare__onnx_graph *graph) {
  const pare__onnx_parts *parts = &packing->parts;
  pare__onnx_tensor *tensor;
  if (parts->scales_rank >= 0) {
    PARE__TRY(PARE__ONNX_APPEND(build->source, &graph->initializer, &tensor));
    PARE__TRY(pare__onnx_tensor_set(build, tensor, packing->scales_name, PARE__ONNX_FLOAT, parts->scales_rank,
                                    parts->scales_dim, &packing->scales, (pare__onnx_bytes){0}));
  }
  if (parts->zeros_rank < 0) return PARE_OK;
  PARE__TRY(PARE__ONNX_APPEND(build->source, &graph->initializer, &tensor));
  return pare__onnx_tensor_set(build, tensor, packing->zeros_name, PARE__ONNX_UINT8, parts->zeros_rank,
                               parts->zeros_dim, &packing->zeros, (pare__onnx_bytes){0});
}

/* The initialisers of a graph, whose first is weight `first`, in their old order. */
static pare_status rebuild_initializers(pare__onnx_builder *build, pare__onnx_packing *const *packings, size_t first,
                                        pare__onnx_graph *graph) {
  const size_t count = graph->initializer.count;
  const pare__onnx_tensor *old = graph->initializer.items;
  graph->initializer.items = NULL;
  graph->initializer.count = graph->initializer.capacity = 0;
  for (size_t i = 0; i < count; i++) {
    const pare__onnx_packing *packing = packings[first + i];
    pare__onnx_tensor *tensor;
    PARE__TRY(PARE__ONNX_APPEND(build->source, &graph->initializer, &tensor));
    *tensor = old[i];
    if (!packing) continue;
    PARE__TRY(set_codes(build, packing, tensor));
    PARE__TRY(append_grid(build, packing, graph));
  }
  return PARE_OK;
}

/* A Constant node keeps new values; in any other form its tensor becomes an initialiser. */
static pare_status move_constant(pare__onnx_builder *build, const pare__onnx_packing *packing) {
  pare__onnx_weight *info = &packing->checkpoint->weights[packing->index];
  if (packing->parts.form == PARE__FORM_VALUES) return set_codes(build, packing, info->tensor);
  pare__onnx_tensor *tensor;
  info->constant->op_type = pare__onnx_gone;
  PARE__TRY(PARE__ONNX_APPEND(build->source, &info->graph->initializer, &tensor));
  *tensor = (pare__onnx_tensor){0};
  PARE__TRY(set_codes(build, packing, tensor));
  return append_grid(build, packing, info->graph);
}

static pare_status place_parts(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                               pare__onnx_packing *const *packings) {
  for (size_t i = 0; i < checkpoint->base.nweights; i++)
    if (packings[i]) PARE__TRY(name_parts(build, packings[i]));
  for (size_t i = 0; i < checkpoint->base.nweights; i++) {
    const pare__onnx_weight *info = &checkpoint->weights[i];
    if (!info->constant && info->tensor == info->graph->initializer.items)
      PARE__TRY(rebuild_initializers(build, packings, i, info->graph));
  }
  for (size_t i = 0; i < checkpoint->base.nweights; i++)
    if (packings[i] && checkpoint->weights[i].constant) PARE__TRY(move_constant(build, packings[i]));
  return PARE_OK;
}

/* ---- what is still read ---- */

static pare_status read_name(pare__scope *read, const char *name) {
  if (!name || !*name || pare__scope_find(read, name) != PARE__NO_VALUE) return PARE_OK;
  return pare__scope_define(read, name, 0);
}

static pare_status names_read(pare__scope *read, const pare__onnx_graph *graph) {
  for (size_t i = 0; i < graph->node.count; i++) {
    const pare__onnx_node *node = &graph->node.items[i];
    for (size_t k = 0; k < node->input.count; k++) PARE__TRY(read_name(read, node->input.items[k]));
    for (size_t a = 0; a < node->attribute.count; a++) {
      const pare__onnx_attribute *attribute = &node->attribute.items[a];
      if (attribute->g) PARE__TRY(names_read(read, attribute->g));
      for (size_t g = 0; g < attribute->graphs.count; g++) PARE__TRY(names_read(read, &attribute->graphs.items[g]));
    }
  }
  for (size_t i = 0; i < graph->output.count; i++) PARE__TRY(read_name(read, graph->output.items[i].name));
  return PARE_OK;
}

static bool passes_on(const pare__onnx_node *node) {
  return node->op_type && (strcmp(node->op_type, "Identity") == 0 || strcmp(node->op_type, "Transpose") == 0) &&
         !*pare__onnx_domain(node->domain) && node->output.count == 1 && node->input.count == 1;
}

/* Takes nodes out that only pass on a weight that nobody reads through them any more. `lost` holds values that are not
 * to be had but through a node that feeds (below). */
static bool drop_passes(pare__onnx_graph *graph, const pare__scope *read, pare__scope *lost, pare_status *status) {
  size_t kept = 0;
  for (size_t i = 0; i < graph->node.count && *status == PARE_OK; i++) {
    const pare__onnx_node *node = &graph->node.items[i];
    const bool dead = passes_on(node) && node->input.items[0] && node->output.items[0] &&
                      pare__scope_find(lost, node->input.items[0]) != PARE__NO_VALUE &&
                      pare__scope_find(read, node->output.items[0]) == PARE__NO_VALUE;
    if (!dead) graph->node.items[kept++] = *node;
  }
  const bool dropped = kept < graph->node.count;
  graph->node.count = kept;
  return dropped;
}

/* Names that nodes read, after dropping what only passes on lost values. */
static pare_status settle_reads(const pare__onnx_checkpoint *checkpoint, pare__onnx_packing *const *packings,
                                pare__scope *read) {
  pare__scope lost = {0};
  pare_status status = PARE_OK;
  for (size_t i = 0; i < checkpoint->base.nweights && status == PARE_OK; i++)
    if (packings[i] && packings[i]->parts.form != PARE__FORM_VALUES)
      status = read_name(&lost, checkpoint->weights[i].value);
  for (bool again = true; again && status == PARE_OK;) {
    pare__scope_clear(read);
    status = names_read(read, checkpoint->model->graph);
    if (status != PARE_OK) break;
    again = drop_passes(checkpoint->model->graph, read, &lost, &status);
    for (size_t i = 0; i < checkpoint->base.nweights; i++) /* those of bodies that hold weights themselves */
      if (packings[i] && checkpoint->weights[i].graph != checkpoint->model->graph)
        again |= drop_passes(checkpoint->weights[i].graph, read, &lost, &status);
  }
  pare__scope_clear(&lost);
  return status;
}

/* ---- feeding the nodes that stay ---- */

static pare_status feed(pare__onnx_builder *build, const pare__onnx_packing *packing) {
  const pare__onnx_checkpoint *checkpoint = packing->checkpoint;
  const pare__weight *weight = &checkpoint->base.weights[packing->index];
  const char *value = checkpoint->weights[packing->index].value, *name, *output = value;
  const int32_t dtype = pare__onnx_dtype_from_pare(weight->dtype);
  pare__onnx_node *node;
  if (packing->parts.form == PARE__FORM_HALF) {
    PARE__TRY(pare__onnx_fresh(build, value, "_Cast", &name));
    return pare__onnx_cast_add(build, packing->codes_name, dtype, name, value);
  }
  if (packing->parts.scales_rank == 2)
    return pare__onnx_expand(build, packing, packing->codes_name, packing->scales_name, packing->zeros_name, value);
  /* Before opset 13 the standard operator knows no axis; ONNX Runtime's own always did. */
  const char *domain = checkpoint->opset >= 13 ? "" : "com.microsoft";
  PARE__TRY(pare__onnx_fresh(build, value, "_DequantizeLinear", &name));
  if (dtype != PARE__ONNX_FLOAT) PARE__TRY(pare__onnx_fresh(build, value, "_float", &output));
  PARE__TRY(pare__onnx_node_add(build, domain, "DequantizeLinear", name,
                                LIST(packing->codes_name, packing->scales_name, packing->zeros_name), LIST(output),
                                &node));
  if (packing->parts.scales_rank == 1) PARE__TRY(pare__onnx_set_int(build, node, "axis", weight->row_axis));
  if (dtype == PARE__ONNX_FLOAT) return PARE_OK;
  PARE__TRY(pare__onnx_fresh(build, value, "_Cast", &name));
  return pare__onnx_cast_add(build, output, dtype, name, value);
}

/* Nodes that make the old values of a graph's weights, as far as anything reads those. */
static pare_status feed_weights(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                                pare__onnx_packing *const *packings, const pare__scope *read,
                                const pare__onnx_graph *graph) {
  for (size_t i = 0; i < checkpoint->base.nweights; i++) {
    if (!packings[i] || checkpoint->weights[i].graph != graph) continue;
    const pare__onnx_form form = packings[i]->parts.form;
    if ((form == PARE__FORM_HALF || form == PARE__FORM_INTEGER) &&
        pare__scope_find(read, checkpoint->weights[i].value) != PARE__NO_VALUE)
      PARE__TRY(feed(build, packings[i]));
  }
  return PARE_OK;
}

/* The same, put before all other nodes of the graph. */
static pare_status feed_all(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                            pare__onnx_packing *const *packings, const pare__scope *read, pare__onnx_graph *graph) {
  pare__onnx_nodes made = {0};
  build->nodes = &made;
  const pare_status status = feed_weights(build, checkpoint, packings, read, graph);
  build->nodes = NULL;
  PARE__TRY(status);
  if (made.count == 0) return PARE_OK;
  for (size_t i = 0; i < graph->node.count; i++) {
    pare__onnx_node *node;
    PARE__TRY(PARE__ONNX_APPEND(build->source, &made, &node));
    *node = graph->node.items[i];
  }
  graph->node = made;
  return PARE_OK;
}

/* The same for each body. Its weights need not lie together: those of a body in it come between. */
static pare_status feed_bodies(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                               pare__onnx_packing *const *packings, const pare__scope *read) {
  const size_t count = checkpoint->base.nweights;
  bool *fed = calloc(count + 1, sizeof *fed);
  pare_status status = fed ? PARE_OK : pare__fail_memory("the bodies of a model", count);
  for (size_t i = 0; i < count && status == PARE_OK; i++) {
    pare__onnx_graph *graph = checkpoint->weights[i].graph;
    if (fed[i] || graph == checkpoint->model->graph) continue;
    for (size_t k = i; k < count; k++) fed[k] = fed[k] || checkpoint->weights[k].graph == graph;
    status = feed_all(build, checkpoint, packings, read, graph);
  }
  free(fed);
  return status;
}

/* ---- around the graph ---- */

/* A weight that was an input with a default, or had its shape declared, has neither now. */
static void forget_values(pare__onnx_values *values, const pare__scope *stored) {
  size_t kept = 0;
  for (size_t i = 0; i < values->count; i++)
    if (!values->items[i].name || pare__scope_find(stored, values->items[i].name) == PARE__NO_VALUE)
      values->items[kept++] = values->items[i];
  values->count = kept;
}

static pare_status forget_weights(const pare__onnx_checkpoint *checkpoint, pare__onnx_packing *const *packings,
                                  const pare__scope *read) {
  pare__scope stored = {0}, unread = {0};
  pare_status status = PARE_OK;
  for (size_t i = 0; i < checkpoint->base.nweights && status == PARE_OK; i++) {
    const char *value = checkpoint->weights[i].value;
    if (!packings[i] || packings[i]->parts.form == PARE__FORM_VALUES) continue;
    status = read_name(&stored, value);
    if (status == PARE_OK && pare__scope_find(read, value) == PARE__NO_VALUE) status = read_name(&unread, value);
  }
  if (status == PARE_OK) {
    forget_values(&checkpoint->model->graph->input, &stored);
    forget_values(&checkpoint->model->graph->value_info, &unread);
  }
  pare__scope_clear(&stored);
  pare__scope_clear(&unread);
  return status;
}

static pare_status import_microsoft(pare__onnx_model *model) {
  if (pare__onnx_opset_version(&model->opset_import, "com.microsoft") > 0) return PARE_OK;
  pare__onnx_opset *opset;
  PARE__TRY(PARE__ONNX_APPEND(model->source, &model->opset_import, &opset));
  opset->domain = "com.microsoft";
  opset->version = 1;
  return PARE_OK;
}

pare_status pare__onnx_rewrite(pare__onnx_checkpoint *checkpoint, const pare__treatment *treatments,
                               pare__onnx_packing *const *packings) {
  pare__onnx_builder build;
  pare__scope read = {0};
  pare__onnx_model *model = checkpoint->model;
  pare_status status = pare__onnx_builder_open(model, &build);
  if (status == PARE_OK) status = place_parts(&build, checkpoint, packings);
  if (status == PARE_OK) status = pare__onnx_divisions_make(&build, checkpoint, treatments);
  if (status == PARE_OK) status = pare__onnx_nodes_rewrite(&build, checkpoint, treatments, packings);
  if (status == PARE_OK) status = settle_reads(checkpoint, packings, &read);
  if (status == PARE_OK) status = feed_all(&build, checkpoint, packings, &read, model->graph);
  if (status == PARE_OK) status = feed_bodies(&build, checkpoint, packings, &read);
  if (status == PARE_OK) status = forget_weights(checkpoint, packings, &read);
  for (size_t i = 0; i < checkpoint->base.nweights && status == PARE_OK; i++)
    build.uses_microsoft |= packings[i] && packings[i]->parts.form == PARE__FORM_INTEGER && checkpoint->opset < 13;
  if (status == PARE_OK && build.uses_microsoft) status = import_microsoft(model);
  /* Before IR 4 every initialiser had to be an input as well. */
  if (model->ir_version < 4) model->ir_version = 4;
  pare__scope_clear(&read);
  pare__onnx_builder_close(&build);
  return status;
}
