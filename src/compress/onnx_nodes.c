/* The nodes around compressed weights. SPDX-License-Identifier: Apache-2.0
 *
 * A weight that is stored in another form keeps its name where it can: a DequantizeLinear (or a Cast) whose output has
 * the old name serves every node that reads it, in whatever way. Nodes that do better with the stored form are
 * replaced: gathers take codes and scales, so that a table is never expanded; products become MatMulInteger or
 * MatMulNBits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compress/division.h"
#include "compress/onnx_build.h"

/* What was made of an activation, for the next product that reads it. */
struct activation {
  const char *name;
  const float *smooth;              /* NULL: as it is */
  const char *codes, *scale, *zero; /* of DynamicQuantizeLinear; NULL: not made */
  const char *smoothed;             /* name * smooth */
};

struct rewriter {
  pare__onnx_builder *build;
  const pare__onnx_checkpoint *checkpoint;
  const pare__treatment *treatments;
  pare__onnx_packing *const *packings;
  struct activation *activations;
  size_t nactivations, capacity;
};

static const char microsoft[] = "com.microsoft";

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *text_at(const pare__onnx_texts *texts, size_t i) {
  return i < texts->count && texts->items[i] ? texts->items[i] : "";
}

/* ---- activations ---- */

static pare_status find_activation(struct rewriter *rewriter, const char *name, const float *smooth,
                                   struct activation **out) {
  for (size_t i = 0; i < rewriter->nactivations; i++) {
    *out = &rewriter->activations[i];
    if (strcmp((*out)->name, name) == 0 && (*out)->smooth == smooth) return PARE_OK;
  }
  PARE__TRY(pare__array_grow((void **)&rewriter->activations, &rewriter->capacity, rewriter->nactivations,
                             sizeof *rewriter->activations));
  *out = &rewriter->activations[rewriter->nactivations++];
  **out = (struct activation){.name = name, .smooth = smooth};
  return PARE_OK;
}

/* The input of a product, multiplied by the treatment's factors if it has some and what makes it does not do so. */
static pare_status smoothed(struct rewriter *rewriter, const pare__onnx_use *use, const char *name, const char **out) {
  const pare__treatment *treatment = &rewriter->treatments[use->weight];
  struct activation *activation;
  *out = name;
  if (!treatment->smooth || pare__division_holds(treatment->division, rewriter->treatments)) return PARE_OK;
  PARE__TRY(find_activation(rewriter, name, treatment->smooth, &activation));
  if (!activation->smoothed) {
    const int64_t inputs = pare__weight_inputs(&rewriter->checkpoint->base.weights[use->weight]);
    const char *factors;
    pare__onnx_node *node;
    PARE__TRY(pare__onnx_constant_add(rewriter->build, rewriter->checkpoint->model->graph, name, "_smooth",
                                      PARE__ONNX_FLOAT, 1, &inputs, treatment->smooth, &factors));
    PARE__TRY(pare__onnx_value_add(rewriter->build, "", "Mul", name, "_smoothed", LIST(name, factors), &node,
                                   &activation->smoothed));
  }
  *out = activation->smoothed;
  return PARE_OK;
}

static pare_status quantised(struct rewriter *rewriter, const char *name, struct activation *out) {
  struct activation *activation;
  pare__onnx_builder *build = rewriter->build;
  PARE__TRY(find_activation(rewriter, name, NULL, &activation));
  if (!activation->codes) {
    pare__onnx_node *node;
    PARE__TRY(pare__onnx_fresh(build, name, "_quantized", &activation->codes));
    PARE__TRY(pare__onnx_fresh(build, name, "_scale", &activation->scale));
    PARE__TRY(pare__onnx_fresh(build, name, "_zero_point", &activation->zero));
    const char *node_name;
    PARE__TRY(pare__onnx_fresh(build, name, "_DynamicQuantizeLinear", &node_name));
    PARE__TRY(pare__onnx_node_add(build, "", "DynamicQuantizeLinear", node_name, LIST(name),
                                  LIST(activation->codes, activation->scale, activation->zero), &node));
  }
  *out = *activation;
  return PARE_OK;
}

/* ---- products ---- */

/* The last node of a product: `value` plus the bias of a Gemm, if there is one, under the old node's output name. */
static pare_status finish(struct rewriter *rewriter, const pare__onnx_node *old, const char *op_type,
                          const char *const *inputs) {
  const char *output = text_at(&old->output, 0);
  const bool is_gemm = strcmp(old->op_type, "Gemm") == 0;
  const char *bias = is_gemm ? text_at(&old->input, 2) : "", *value = output, *name = old->name ? old->name : output;
  pare__onnx_builder *build = rewriter->build;
  pare__onnx_node *node;
  if (*bias) PARE__TRY(pare__onnx_fresh(build, output, "_product", &value));
  const char *product_name;
  PARE__TRY(pare__onnx_fresh(build, name, "_scaled", &product_name));
  PARE__TRY(pare__onnx_node_add(build, "", op_type, product_name, inputs, LIST(value), &node));
  if (!*bias) return PARE_OK;
  PARE__TRY(pare__onnx_fresh(build, name, "_bias", &product_name));
  return pare__onnx_node_add(build, "", "Add", product_name, LIST(value, bias), LIST(output), &node);
}

static pare_status rewrite_integer(struct rewriter *rewriter, const pare__onnx_use *use, const pare__onnx_node *old) {
  const pare__onnx_packing *packing = rewriter->packings[use->weight];
  pare__onnx_builder *build = rewriter->build;
  const char *output = text_at(&old->output, 0), *input, *sums, *real, *scale;
  struct activation a;
  pare__onnx_node *node;
  PARE__TRY(smoothed(rewriter, use, text_at(&old->input, 0), &input));
  PARE__TRY(quantised(rewriter, input, &a));
  PARE__TRY(pare__onnx_fresh(build, output, "_integer", &sums));
  PARE__TRY(pare__onnx_node_add(build, "", "MatMulInteger", old->name,
                                LIST(a.codes, packing->codes_name, a.zero, packing->zeros_name), LIST(sums), &node));
  PARE__TRY(pare__onnx_value_add(build, "", "Cast", output, "_float", LIST(sums), &node, &real));
  PARE__TRY(pare__onnx_set_int(build, node, "to", PARE__ONNX_FLOAT));
  PARE__TRY(
      pare__onnx_value_add(build, "", "Mul", output, "_scale", LIST(a.scale, packing->scales_name), &node, &scale));
  return finish(rewriter, old, "Mul", LIST(real, scale));
}

static pare_status rewrite_blocks(struct rewriter *rewriter, const pare__onnx_use *use, const pare__onnx_node *old) {
  const pare__onnx_packing *packing = rewriter->packings[use->weight];
  const pare__weight *weight = &rewriter->checkpoint->base.weights[use->weight];
  const pare__grid *grid = &rewriter->treatments[use->weight].grid;
  pare__onnx_builder *build = rewriter->build;
  const char *output = text_at(&old->output, 0), *input, *value = output;
  const char *bias = strcmp(old->op_type, "Gemm") == 0 ? text_at(&old->input, 2) : "", *name;
  pare__onnx_node *node;
  PARE__TRY(smoothed(rewriter, use, text_at(&old->input, 0), &input));
  if (*bias) PARE__TRY(pare__onnx_fresh(build, output, "_product", &value));
  PARE__TRY(pare__onnx_node_add(build, microsoft, "MatMulNBits", old->name,
                                LIST(input, packing->codes_name, packing->scales_name, packing->zeros_name),
                                LIST(value), &node));
  PARE__TRY(pare__onnx_set_int(build, node, "K", pare__weight_inputs(weight)));
  PARE__TRY(pare__onnx_set_int(build, node, "N", pare__weight_rows(weight)));
  PARE__TRY(pare__onnx_set_int(build, node, "bits", grid->bits));
  PARE__TRY(pare__onnx_set_int(build, node, "block_size", grid->group));
  if (grid->activations != PARE__ACTIVATIONS_FLOAT) /* 4: may compute with int8 activations */
    PARE__TRY(pare__onnx_set_int(build, node, "accuracy_level", 4));
  if (!*bias) return PARE_OK;
  PARE__TRY(pare__onnx_fresh(build, output, "_bias", &name));
  return pare__onnx_node_add(build, "", "Add", name, LIST(value, bias), LIST(output), &node);
}

/* ---- gathers ---- */

pare_status pare__onnx_expand(pare__onnx_builder *build, const pare__onnx_packing *packing, const char *codes,
                              const char *scales, const char *zeros, const char *output) {
  const int32_t dtype = pare__onnx_dtype_from_pare(packing->checkpoint->base.weights[packing->index].dtype);
  pare__onnx_node *node;
  const char *real, *name, *product = output;
  PARE__TRY(pare__onnx_value_add(build, "", "Cast", output, "_codes", LIST(codes), &node, &real));
  PARE__TRY(pare__onnx_set_int(build, node, "to", PARE__ONNX_FLOAT));
  if (zeros) {
    const char *zero;
    PARE__TRY(pare__onnx_value_add(build, "", "Cast", output, "_zeros", LIST(zeros), &node, &zero));
    PARE__TRY(pare__onnx_set_int(build, node, "to", PARE__ONNX_FLOAT));
    PARE__TRY(pare__onnx_value_add(build, "", "Sub", output, "_centred", LIST(real, zero), &node, &real));
  }
  if (dtype != PARE__ONNX_FLOAT) PARE__TRY(pare__onnx_fresh(build, output, "_product", &product));
  PARE__TRY(pare__onnx_fresh(build, output, "_dequantize", &name));
  PARE__TRY(pare__onnx_node_add(build, "", "Mul", name, LIST(real, scales), LIST(product), &node));
  if (dtype == PARE__ONNX_FLOAT) return PARE_OK;
  PARE__TRY(pare__onnx_fresh(build, output, "_cast", &name));
  return pare__onnx_cast_add(build, product, dtype, name, output);
}

static pare_status gather(struct rewriter *rewriter, const char *table, const char *indices, const char *base,
                          const char *suffix, const char **out) {
  pare__onnx_node *node;
  PARE__TRY(pare__onnx_value_add(rewriter->build, "", "Gather", base, suffix, LIST(table, indices), &node, out));
  return pare__onnx_set_int(rewriter->build, node, "axis", 0);
}

static pare_status gather_integer(struct rewriter *rewriter, const pare__onnx_packing *packing,
                                  const pare__onnx_node *old) {
  const char *output = text_at(&old->output, 0), *indices = text_at(&old->input, 1);
  const char *codes, *scales = packing->scales_name, *zeros = packing->zeros_name;
  PARE__TRY(gather(rewriter, packing->codes_name, indices, output, "_rows", &codes));
  if (packing->parts.scales_rank > 0) PARE__TRY(gather(rewriter, scales, indices, output, "_row_scales", &scales));
  if (packing->parts.zeros_rank > 0) PARE__TRY(gather(rewriter, zeros, indices, output, "_row_zeros", &zeros));
  return pare__onnx_expand(rewriter->build, packing, codes, scales, zeros, output);
}

static pare_status gather_blocks(struct rewriter *rewriter, const pare__onnx_packing *packing,
                                 const pare__onnx_node *old) {
  const pare__grid *grid = &rewriter->treatments[packing->index].grid;
  pare__onnx_builder *build = rewriter->build;
  const char *output = text_at(&old->output, 0), *table = packing->codes_name;
  pare__onnx_node *node;
  if (packing->parts.codes_rank == 3) { /* tied to a product, which wants rows of blocks */
    const int64_t count = 2,
                  flat[2] = {packing->parts.codes_dim[0], packing->parts.codes_dim[1] * packing->parts.codes_dim[2]};
    const char *shape;
    PARE__TRY(pare__onnx_constant_add(build, rewriter->checkpoint->model->graph, table, "_shape", PARE__ONNX_INT64, 1,
                                      &count, flat, &shape));
    PARE__TRY(pare__onnx_value_add(build, "", "Reshape", output, "_table", LIST(table, shape), &node, &table));
  }
  PARE__TRY(pare__onnx_node_add(build, microsoft, "GatherBlockQuantized", old->name,
                                LIST(table, text_at(&old->input, 1), packing->scales_name, packing->zeros_name),
                                LIST(output), &node));
  PARE__TRY(pare__onnx_set_int(build, node, "gather_axis", 0));
  PARE__TRY(pare__onnx_set_int(build, node, "quantize_axis", 1));
  PARE__TRY(pare__onnx_set_int(build, node, "block_size", grid->group));
  return pare__onnx_set_int(build, node, "bits", grid->bits);
}

static pare_status rewrite_gather(struct rewriter *rewriter, const pare__onnx_use *use, const pare__onnx_node *old) {
  const pare__onnx_packing *packing = rewriter->packings[use->weight];
  const char *output = text_at(&old->output, 0), *rows;
  if (packing->parts.form == PARE__FORM_BLOCKS) return gather_blocks(rewriter, packing, old);
  if (packing->parts.form == PARE__FORM_INTEGER) return gather_integer(rewriter, packing, old);
  PARE__TRY(gather(rewriter, packing->codes_name, text_at(&old->input, 1), output, "_rows", &rows));
  const int32_t dtype = pare__onnx_dtype_from_pare(rewriter->checkpoint->base.weights[use->weight].dtype);
  return pare__onnx_cast_add(rewriter->build, rows, dtype, old->name, output);
}

/* ---- static activations ---- */

/* The input of a layer through QuantizeLinear and DequantizeLinear, by the range that calibration found. */
static pare_status through_codes(struct rewriter *rewriter, const pare__onnx_use *use, const char *name,
                                 const char **out) {
  const float *range = rewriter->treatments[use->weight].range;
  const float low = fminf(range[0], 0), high = fmaxf(range[1], 0);
  const float scale = high > low ? (high - low) / 255 : 1;
  const uint8_t zero = (uint8_t)fminf(255, fmaxf(0, rintf(-low / scale)));
  pare__onnx_graph *main_graph = rewriter->checkpoint->model->graph;
  pare__onnx_builder *build = rewriter->build;
  const char *scale_name, *zero_name, *codes;
  pare__onnx_node *node;
  PARE__TRY(pare__onnx_constant_add(build, main_graph, name, "_scale", PARE__ONNX_FLOAT, 0, NULL, &scale, &scale_name));
  PARE__TRY(
      pare__onnx_constant_add(build, main_graph, name, "_zero_point", PARE__ONNX_UINT8, 0, NULL, &zero, &zero_name));
  PARE__TRY(pare__onnx_value_add(build, "", "QuantizeLinear", name, "_quantized", LIST(name, scale_name, zero_name),
                                 &node, &codes));
  return pare__onnx_value_add(build, "", "DequantizeLinear", name, "_dequantized", LIST(codes, scale_name, zero_name),
                              &node, out);
}

/* The node itself, its first input changed as the treatment says. */
static pare_status keep_node(struct rewriter *rewriter, const pare__onnx_use *use, const pare__onnx_node *old) {
  const char *name = text_at(&old->input, 0), *input = name;
  pare__onnx_node *copy;
  if (use && use->kind == PARE__USE_LINEAR) PARE__TRY(smoothed(rewriter, use, name, &input));
  if (use && use->kind != PARE__USE_GATHER && rewriter->packings[use->weight] &&
      rewriter->treatments[use->weight].grid.activations == PARE__ACTIVATIONS_STATIC)
    PARE__TRY(through_codes(rewriter, use, input, &input));
  PARE__TRY(PARE__ONNX_APPEND(rewriter->build->source, rewriter->build->nodes, &copy));
  *copy = *old;
  if (input == name) return PARE_OK;
  void *inputs;
  PARE__TRY(pare__onnx_allocate(rewriter->build->source, old->input.count * sizeof(char *), &inputs));
  memcpy(inputs, old->input.items, old->input.count * sizeof(char *));
  copy->input.items = inputs;
  copy->input.items[0] = input;
  copy->input.capacity = old->input.count;
  return PARE_OK;
}

/* ---- graphs ---- */

static pare_status rewrite_nodes(struct rewriter *rewriter, pare__onnx_graph *graph);

static pare_status rewrite_node(struct rewriter *rewriter, const pare__onnx_node *old) {
  const pare__onnx_use *use = pare__onnx_use_of(rewriter->checkpoint, old);
  for (size_t i = 0; i < old->attribute.count; i++) {
    pare__onnx_attribute *attribute = &old->attribute.items[i];
    if (attribute->g) PARE__TRY(rewrite_nodes(rewriter, attribute->g));
    for (size_t g = 0; g < attribute->graphs.count; g++)
      PARE__TRY(rewrite_nodes(rewriter, &attribute->graphs.items[g]));
  }
  const pare__onnx_packing *packing = use ? rewriter->packings[use->weight] : NULL;
  const pare__onnx_form form = packing ? packing->parts.form : PARE__FORM_KEPT;
  if (form > PARE__FORM_VALUES && use->kind == PARE__USE_GATHER) return rewrite_gather(rewriter, use, old);
  if (form == PARE__FORM_PRODUCT) return rewrite_integer(rewriter, use, old);
  if (form == PARE__FORM_BLOCKS) return rewrite_blocks(rewriter, use, old);
  return keep_node(rewriter, use, old);
}

static pare_status rewrite_nodes(struct rewriter *rewriter, pare__onnx_graph *graph) {
  const pare__onnx_nodes old = graph->node;
  pare__onnx_nodes made = {0}, *const outer = rewriter->build->nodes;
  const size_t nactivations = rewriter->nactivations;
  pare_status status = PARE_OK;
  for (size_t i = 0; i < old.count && status == PARE_OK; i++) {
    rewriter->build->nodes = &made;
    if (old.items[i].op_type != pare__onnx_gone) status = rewrite_node(rewriter, &old.items[i]);
  }
  rewriter->build->nodes = outer;
  rewriter->nactivations = nactivations; /* what a body makes is not seen outside */
  graph->node = made;
  return status;
}

pare_status pare__onnx_nodes_rewrite(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                                     const pare__treatment *treatments, pare__onnx_packing *const *packings) {
  struct rewriter rewriter = {.build = build, .checkpoint = checkpoint, .treatments = treatments, .packings = packings};
  const pare_status status = rewrite_nodes(&rewriter, checkpoint->model->graph);
  free(rewriter.activations);
  return status;
}
