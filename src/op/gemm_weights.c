/* Weights packed once for many products. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "kernel/family_gemm_pack.h"
#include "op/gemm.h"
#include "tensor/context.h"

enum { ACCESS_B, ACCESS_PANELS };

typedef struct pack_params {
  int64_t panel;
} pack_params;

/* B is [batch][K][N], the panels [batch][panels][K][panel]; split along the batch, or along the panels of the only one.
 */
static pare_status run_pack(const pare__piece *piece) {
  const pack_params *params = piece->params;
  const pare__binding *b = &piece->binding[ACCESS_B], *panels = &piece->binding[ACCESS_PANELS];
  pare__problem problem;
  memset(&problem, 0, sizeof problem);
  int64_t *dim = problem.dim;
  dim[PACK_BATCH] = b->shape.dim[0];
  dim[PACK_K] = b->shape.dim[1];
  dim[PACK_N] = b->shape.dim[2];
  dim[PACK_PANEL] = params->panel;
  dim[PACK_B_BATCH] = b->shape.stride[0];
  dim[PACK_B_ROW] = b->shape.stride[1];
  dim[PACK_B_COL] = b->shape.stride[2];
  problem.dtype[PACK_BUFFER_B] = b->dtype;
  problem.dtype[PACK_BUFFER_PANELS] = panels->dtype;
  const pare__operand operand[] = {{b->mem, b->offset}, {panels->mem, panels->offset}};
  return pare__run_family(piece->device, &pare__family_gemm_pack, &problem, operand);
}

static const pare__codelet pack_codelet = {"gemm_pack", run_pack};

static pare_status pack_panels_on_host(pare_tensor *b, pare_tensor *panels, int64_t panel, bool *done) {
  const int64_t dim[] = {b->shape.dim[0], b->shape.dim[2], 1, b->shape.dim[1]}; /* one "channel" */
  pare_tensor *turned = NULL, *view = NULL;
  pare_status status = pare_tensor_permute(b, (const int[]){0, 2, 1}, &turned);
  if (status == PARE_OK) status = pare_tensor_reshape(turned, 4, dim, &view);
  if (status == PARE_OK) status = pare__pack_on_host(view, panel, 1, panels, done);
  pare_tensor_close(view);
  pare_tensor_close(turned);
  return status;
}

pare_status pare__pack_panels(pare_tensor *b, pare_tensor *panels, int64_t panel) {
  bool done = false;
  if (b->dtype == panels->dtype) PARE__TRY(pack_panels_on_host(b, panels, panel, &done));
  if (done) return PARE_OK;
  const bool by_batch = b->shape.dim[0] > 1;
  const pack_params params = {panel};
  const pare__task task = {.codelet = &pack_codelet,
                           .context = b->context,
                           .params = &params,
                           .params_bytes = sizeof params,
                           .n = pare__shape_elements(&panels->shape) == 0 ? 0 : panels->shape.dim[by_batch ? 0 : 1],
                           .naccesses = 2,
                           .access = {[ACCESS_B] = {b, PARE__READ, by_batch ? 0 : 2, by_batch ? 1 : panel},
                                      [ACCESS_PANELS] = {panels, PARE__WRITE, by_batch ? 0 : 1, 1}}};
  return pare__submit(&task);
}

/* Columns [begin, begin + n) of B, which has all batch dimensions merged into its first; their panels get B's own batch
 * dimensions. */
static pare_status pack_block(pare_tensor *b, const pare_weights *weights, pare__weights_block *block) {
  const int batches = weights->rank - 2;
  const int64_t npanels = pare__div_up(block->n, weights->panel), k = b->shape.dim[1];
  const int64_t flat[] = {b->shape.dim[0], npanels, k, weights->panel};
  int64_t shape[PARE_MAX_RANK + 1];
  memcpy(shape, weights->shape, (size_t)batches * sizeof *shape);
  memcpy(shape + batches, flat + 1, 3 * sizeof *shape);
  pare_tensor *columns = NULL, *panels = NULL;
  pare_status status = pare__product_slice(b, 2, block->begin, block->n, &columns);
  if (status == PARE_OK) status = pare__tensor_scratch(b->context, b->dtype, 4, flat, "packed weights", &panels);
  if (status == PARE_OK) status = pare__pack_panels(columns, panels, weights->panel);
  if (status == PARE_OK) status = pare_tensor_reshape(panels, batches + 3, shape, &block->panels);
  pare_tensor_close(columns);
  pare_tensor_close(panels);
  return status;
}

/* As few blocks as the device's largest buffer allows, each of whole panels. */
static pare_status make_blocks(pare_weights *weights, const pare_device_info *info) {
  const int64_t n = weights->shape[weights->rank - 1], panel = weights->panel;
  int64_t panel_bytes = panel * (int64_t)pare_dtype_bytes(weights->dtype);
  for (int i = 0; i < weights->rank - 1; i++) panel_bytes *= PARE__MAX(weights->shape[i], 1);
  const int64_t most_panels = PARE__MAX((int64_t)info->max_buffer_bytes / panel_bytes, 1),
                columns = most_panels * panel;
  weights->nblocks = (size_t)PARE__MAX(pare__div_up(n, columns), 1);
  weights->block = calloc(weights->nblocks, sizeof *weights->block);
  if (!weights->block) return pare__fail_memory("packed weights", weights->nblocks * sizeof *weights->block);
  for (size_t i = 0; i < weights->nblocks; i++) {
    weights->block[i].begin = (int64_t)i * columns;
    weights->block[i].n = PARE__MIN(columns, n - weights->block[i].begin);
  }
  return PARE_OK;
}

/* B as [batch][K][N]; *out is a handle to close. */
static pare_status merge_batch(pare_tensor *b, bool transposed, pare_tensor **out) {
  const int rank = b->shape.rank;
  const int64_t rows = b->shape.dim[rank - 2], cols = b->shape.dim[rank - 1];
  int64_t batch = 1;
  for (int i = 0; i < rank - 2; i++) batch *= b->shape.dim[i];
  pare_tensor *flat = NULL, *compact = NULL;
  pare_status status = pare_tensor_reshape(b, 3, (const int64_t[]){batch, rows, cols}, &flat);
  if (status == PARE_ERR_SHAPE) { /* batch strides that do not merge */
    status = pare__contiguous(b, &compact);
    if (status == PARE_OK) status = pare_tensor_reshape(compact, 3, (const int64_t[]){batch, rows, cols}, &flat);
  }
  if (status == PARE_OK && transposed)
    status = pare_tensor_permute(flat, (const int[]){0, 2, 1}, out);
  else if (status == PARE_OK)
    status = pare_tensor_reshape(flat, 3, flat->shape.dim, out);
  pare_tensor_close(flat);
  pare_tensor_close(compact);
  return status;
}

pare_status pare_weights_pack(pare_tensor *b, bool transposed, pare_weights **out) {
  static const char function[] = "pare_weights_pack";
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  if (!b) return pare__fail_null(function, "b");
  PARE__TRY(pare__context_check(function, b->context));
  PARE__TRY(pare__check_dtype(function, "b", b, PARE__FLOATS));
  PARE__TRY(pare__check_rank(function, "b", b, 2, PARE_MAX_RANK - 1));
  pare_weights *weights = calloc(1, sizeof *weights);
  if (!weights) return pare__fail_memory("packed weights", sizeof *weights);
  const pare_device_info *info = pare__device_info(pare__context_device(b->context));
  const int rank = b->shape.rank;
  weights->context = b->context;
  pare__context_retain(b->context);
  weights->dtype = b->dtype;
  weights->rank = rank;
  memcpy(weights->shape, b->shape.dim, (size_t)rank * sizeof *weights->shape);
  if (transposed) {
    weights->shape[rank - 2] = b->shape.dim[rank - 1];
    weights->shape[rank - 1] = b->shape.dim[rank - 2];
  }
  weights->panel = pare__gemm_panel(info);
  pare_tensor *merged = NULL;
  pare_status status = make_blocks(weights, info);
  if (status == PARE_OK) status = merge_batch(b, transposed, &merged);
  for (size_t i = 0; status == PARE_OK && i < weights->nblocks; i++)
    status = pack_block(merged, weights, &weights->block[i]);
  pare_tensor_close(merged);
  if (status != PARE_OK) {
    pare_weights_close(weights);
    return status;
  }
  *out = weights;
  return PARE_OK;
}

void pare_weights_close(pare_weights *weights) {
  if (!weights) return;
  for (size_t i = 0; weights->block && i < weights->nblocks; i++) pare_tensor_close(weights->block[i].panels);
  pare_tensor_close(weights->sums);
  pare_tensor_close(weights->blocks.scale);
  pare_tensor_close(weights->blocks.zero);
  free(weights->block);
  pare__context_release(weights->context);
  free(weights);
}

static uint64_t tensor_bytes(const pare_tensor *tensor) {
  return tensor ? (uint64_t)pare__shape_elements(&tensor->shape) * pare_dtype_bytes(tensor->dtype) : 0;
}

uint64_t pare_weights_bytes(const pare_weights *weights) {
  if (!weights) return 0;
  uint64_t nbytes =
      tensor_bytes(weights->sums) + tensor_bytes(weights->blocks.scale) + tensor_bytes(weights->blocks.zero);
  for (size_t i = 0; i < weights->nblocks; i++) nbytes += tensor_bytes(weights->block[i].panels);
  return nbytes;
}

/* The columns of one block. */
static pare_status run_block(const pare__product *product, const pare_weights *weights,
                             const pare__weights_block *block) {
  const int rank = product->c->shape.rank, missing = rank - weights->rank;
  int64_t shape[PARE_MAX_RANK];
  for (int i = 0; i < missing; i++) shape[i] = 1;
  memcpy(shape + missing, block->panels->shape.dim, (size_t)block->panels->shape.rank * sizeof *shape);
  pare__product part = {
      .a = product->a, .panel = weights->panel, .n = block->n, .blocks = product->blocks, .options = product->options};
  pare_status status = pare_tensor_reshape(block->panels, rank + 1, shape, &part.b);
  if (status == PARE_OK) status = pare__product_slice(product->bias, 1, block->begin, block->n, &part.bias);
  if (status == PARE_OK) status = pare_tensor_slice(product->c, rank - 1, block->begin, block->n, 1, &part.c);
  if (status == PARE_OK && product->summand)
    status = pare_tensor_slice(product->summand, rank - 1, block->begin, block->n, 1, &part.summand);
  if (status == PARE_OK) status = pare__product_run(&part);
  pare_tensor_close(part.b);
  pare_tensor_close(part.bias);
  pare_tensor_close(part.summand);
  pare_tensor_close(part.c);
  return status;
}

/* Rounding A is possible where the weights are of 4 bits and a kernel of the device does it. */
static bool can_round(const pare_weights *weights) {
  return weights->kind == PARE__WEIGHTS_BLOCKS && weights->blocks.bits == 4;
}

pare_status pare__gemm_packed(const char *function, pare_tensor *a, const pare_weights *weights, bool round,
                              pare_tensor *bias, const pare_gemm_options *options, pare_tensor *c) {
  const pare_gemm_options plain = PARE_GEMM_OPTIONS_INIT;
  if (!options) options = &plain;
  if (!weights) return pare__fail_null(function, "weights");
  PARE__TRY(pare__check_call(function, c, PARE__NAMED(a), PARE__OPTIONAL(bias)));
  if (weights->context != c->context)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the weights belong to another context", function);
  const bool quantised = weights->kind != PARE__WEIGHTS_FLOATS;
  if (quantised && !weights->blocks.scale && weights->kind != PARE__WEIGHTS_SPARSE)
    return pare__fail(PARE_ERR_ARGUMENT,
                      "%s: the weights were packed without a scale; they serve pare_gemm_integer only", function);
  if (quantised)
    PARE__TRY(pare__check_dtype(function, "c", c, PARE__SMALL_FLOATS));
  else if ((weights->dtype == PARE_F64) != (c->dtype == PARE_F64))
    return pare__fail(PARE_ERR_TYPE, "%s: f64 does not mix with other dtypes; the weights are %s, c is %s: cast one",
                      function, pare_dtype_name(weights->dtype), pare_dtype_name(c->dtype));
  PARE__TRY(pare__check_rank(function, "a", a, 1, PARE_MAX_RANK - 1));
  pare__product product;
  PARE__TRY(
      pare__product_open(function, a, options->transpose_a, weights->rank, weights->shape, bias, options, c, &product));
  product.blocks = weights->blocks;
  product.blocks.round = round && can_round(weights);
  pare_status status = PARE_OK;
  for (size_t i = 0; status == PARE_OK && i < weights->nblocks; i++)
    status = run_block(&product, weights, &weights->block[i]);
  pare__product_close(&product);
  return status;
}

pare_status pare_gemm_packed(pare_tensor *a, const pare_weights *weights, pare_tensor *bias,
                             const pare_gemm_options *options, pare_tensor *c) {
  return pare__gemm_packed("pare_gemm_packed", a, weights, false, bias, options, c);
}
