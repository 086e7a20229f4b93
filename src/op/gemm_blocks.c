/* Weights quantised in blocks: packing. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "kernel/family_gemm_blocks.h"
#include "op/gemm.h"
#include "tensor/context.h"

pare_status pare__weights_create(pare_context *context, pare__weights_kind kind, int64_t k, int64_t n,
                                 pare_weights **out) {
  *out = NULL;
  pare_weights *weights = calloc(1, sizeof *weights);
  if (!weights) return pare__fail_memory("packed weights", sizeof *weights);
  *weights = (pare_weights){.context = context, .kind = kind, .dtype = PARE_I8, .rank = 2, .shape = {k, n}};
  weights->panel = pare__gemm_panel(pare__device_info(pare__context_device(context)));
  pare__context_retain(context);
  weights->block = calloc(1, sizeof *weights->block);
  if (!weights->block) {
    pare_weights_close(weights);
    return pare__fail_memory("packed weights", sizeof *weights->block);
  }
  weights->nblocks = 1;
  weights->block[0].n = n;
  *out = weights;
  return PARE_OK;
}

/* from as [1][blocks][N], of any strides; a handle to close. */
static pare_status parameters_view(pare_tensor *from, bool transposed, int64_t blocks, int64_t n, pare_tensor **out) {
  const int64_t shape[3] = {1, blocks, n}, turned[3] = {1, n, blocks};
  const bool one = pare__shape_elements(&from->shape) == 1 && blocks * n != 1;
  pare_tensor *compact = NULL, *flat = NULL;
  pare_status status = pare__contiguous(from, &compact);
  if (status == PARE_OK)
    status = pare_tensor_reshape(compact, 3, one ? (const int64_t[]){1, 1, 1} : transposed ? turned : shape, &flat);
  if (status == PARE_OK && one)
    status = pare_tensor_broadcast(flat, 3, shape, out);
  else if (status == PARE_OK)
    status = pare_tensor_permute(flat, transposed ? (const int[]){0, 2, 1} : (const int[]){0, 1, 2}, out);
  pare_tensor_close(compact);
  pare_tensor_close(flat);
  return status;
}

pare_status pare__weights_parameters(const char *function, const char *name, pare_tensor *from, bool transposed,
                                     const pare_weights *weights, pare_tensor **out) {
  const int64_t k = weights->shape[0], n = weights->shape[1], panel = weights->panel;
  const int64_t blocks = pare__div_up(k, weights->blocks.size), elements = pare__shape_elements(&from->shape);
  const int64_t dim[4] = {1, pare__div_up(n, panel), PARE__MAX(blocks, 1), panel};
  char text[PARE__SHAPE_TEXT];
  if (elements != 1 && elements != dim[2] * n)
    return pare__fail(PARE_ERR_SHAPE, "%s: %s is %s; it must have one element or %lld x %lld", function, name,
                      pare__shape_text(from->shape.rank, from->shape.dim, text, sizeof text), (long long)dim[2],
                      (long long)n);
  pare_tensor *view = NULL;
  pare_status status = parameters_view(from, transposed, dim[2], n, &view);
  if (status == PARE_OK) status = pare__tensor_scratch(from->context, from->dtype, 4, dim, "scales of weights", out);
  if (status == PARE_OK) status = pare__pack_panels(view, *out, panel);
  pare_tensor_close(view);
  return status;
}

/* ---- packing ---- */

typedef struct pack_params {
  int64_t k, panel, block, bits, to_bits, flip, row, col;
} pack_params;

enum { ACCESS_B, ACCESS_PANELS };

/* All at once: columns of packed bytes need not begin with a byte that a slice could name. */
static pare_status run_pack(const pare__piece *piece) {
  const pack_params *params = piece->params;
  const pare__binding *b = &piece->binding[ACCESS_B], *panels = &piece->binding[ACCESS_PANELS];
  pare__problem problem;
  memset(&problem, 0, sizeof problem);
  int64_t *dim = problem.dim;
  dim[BLOCKS_PACK_K] = params->k;
  dim[BLOCKS_PACK_N] = b->shape.dim[0];
  dim[BLOCKS_PACK_PANEL] = params->panel;
  dim[BLOCKS_PACK_BLOCK] = params->block;
  dim[BLOCKS_PACK_BITS] = params->bits;
  dim[BLOCKS_PACK_FLIP] = params->flip;
  dim[BLOCKS_PACK_ROW] = params->row;
  dim[BLOCKS_PACK_COL] = params->col;
  dim[BLOCKS_PACK_TO_BITS] = params->to_bits;
  problem.dtype[BLOCKS_PACK_BUFFER_B] = PARE_U8;
  problem.dtype[BLOCKS_PACK_BUFFER_PANELS] = panels->dtype;
  const pare__operand operand[] = {{b->mem, b->offset}, {panels->mem, panels->offset}};
  return pare__run_family(piece->device, &pare__family_gemm_blocks_pack, &problem, operand);
}

static const pare__codelet pack_codelet = {"gemm_blocks_pack", run_pack};

/* b: [N][values of a column] of any strides, in bytes; split by panels. */
static pare_status submit_pack(pare_tensor *b, const pack_params *params, pare_tensor *panels) {
  const pare__task task = {
      .codelet = &pack_codelet,
      .context = b->context,
      .params = params,
      .params_bytes = sizeof *params,
      .n = pare__shape_elements(&panels->shape) == 0 ? 0 : panels->shape.dim[0],
      .naccesses = 2,
      .access = {[ACCESS_B] = {b, PARE__READ, 0, params->panel}, [ACCESS_PANELS] = {panels, PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

typedef struct blocked {
  const pare_blocks_options *options;
  int64_t k, n, block, blocks;
} blocked;

static pare_status read_shape(const char *function, const pare_tensor *b, blocked *w) {
  const pare_blocks_options *options = w->options;
  char text[PARE__SHAPE_TEXT];
  const int64_t limit = INT32_MAX - 4096;
  if ((options->bits != 2 && options->bits != 4 && options->bits != 8) || options->block < 0 || options->k < 0)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: values of %d bits in blocks of %lld; 2, 4 and 8 bits are possible",
                      function, options->bits, (long long)options->block);
  const int64_t first = b->shape.dim[0], elements = pare__shape_elements(&b->shape);
  w->n = options->packed || options->transposed ? first : b->shape.dim[b->shape.rank - 1];
  w->k = options->packed ? options->k : options->transposed ? b->shape.dim[b->shape.rank - 1] : first;
  w->block = options->block == 0 || options->block >= w->k ? PARE__MAX(w->k, 1) : options->block;
  w->blocks = pare__div_up(w->k, w->block);
  if (w->k > limit || w->n > limit)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s: K %lld and N %lld; up to %lld are possible", function, (long long)w->k,
                      (long long)w->n, (long long)limit);
  if (!options->packed)
    return b->shape.rank == 2 ? PARE_OK
                              : pare__fail(PARE_ERR_SHAPE, "%s: b has rank %d; it must be 2", function, b->shape.rank);
  /* a row of packed values is as long as its blocks are, the only one too */
  const int64_t stored = options->block == 0 ? w->block : options->block;
  if (stored * options->bits % 8 == 0 && elements == w->n * (w->blocks * stored * options->bits / 8)) return PARE_OK;
  return pare__fail(PARE_ERR_SHAPE, "%s: b is %s; %lld rows of %lld blocks of %lld values of %d bits are needed",
                    function, pare__shape_text(b->shape.rank, b->shape.dim, text, sizeof text), (long long)w->n,
                    (long long)w->blocks, (long long)stored, options->bits);
}

/* b as [N][bytes of a column]. */
static pare_status columns_view(pare_tensor *b, const blocked *w, pare_tensor **out) {
  if (!w->options->packed)
    return pare_tensor_permute(b, w->options->transposed ? (const int[]){0, 1} : (const int[]){1, 0}, out);
  pare_tensor *compact = NULL;
  PARE__TRY(pare__contiguous(b, &compact));
  const int64_t dim[2] = {w->n, w->n == 0 ? 0 : pare__shape_elements(&b->shape) / w->n};
  const pare_status status = pare_tensor_reshape(compact, 2, dim, out);
  pare_tensor_close(compact);
  return status;
}

static pare_status pack_values(pare_tensor *b, const blocked *w, pare_weights *weights) {
  const bool is_signed = b->dtype == PARE_I8, packed = w->options->packed;
  const int64_t panel = weights->panel, to_bits = weights->blocks.bits, npanels = pare__div_up(w->n, panel);
  const int64_t dim[3] = {npanels, pare__blocks_words(w->k, w->block, to_bits), panel};
  pare_tensor *columns = NULL;
  pare_status status = columns_view(b, w, &columns);
  if (status == PARE_OK)
    status = pare__tensor_scratch(b->context, PARE_I32, 3, dim, "packed weights", &weights->block[0].panels);
  if (status == PARE_OK) {
    const int64_t values = packed ? 8 / w->options->bits : 1; /* a byte */
    const pack_params params = {.k = w->k,
                                .panel = panel,
                                .block = w->block,
                                .bits = packed ? w->options->bits : 8,
                                .to_bits = to_bits,
                                .flip = to_bits == 4 ? (is_signed ? 8 : 0)
                                        : is_signed  ? 0
                                                     : 128,
                                .row = packed ? 1 : columns->shape.stride[1],
                                .col = columns->shape.stride[0] * values};
    status = submit_pack(columns, &params, weights->block[0].panels);
  }
  pare_tensor_close(columns);
  return status;
}

pare_status pare_weights_pack_blocks(pare_tensor *b, pare_tensor *scale, pare_tensor *zero,
                                     const pare_blocks_options *options, pare_weights **out) {
  static const char function[] = "pare_weights_pack_blocks";
  const uint32_t bytes = PARE__DTYPE(PARE_U8) | PARE__DTYPE(PARE_I8);
  const pare_blocks_options plain = PARE_BLOCKS_OPTIONS_INIT;
  blocked w = {.options = options ? options : &plain};
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  if (!b) return pare__fail_null(function, "b");
  if (!scale) return pare__fail_null(function, "scale");
  PARE__TRY(pare__context_check(function, b->context));
  if (scale->context != b->context || (zero && zero->context != b->context))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: b, scale and zero belong to different contexts", function);
  PARE__TRY(pare__check_dtype(function, "b", b, w.options->packed ? PARE__DTYPE(PARE_U8) : bytes));
  PARE__TRY(pare__check_dtype(function, "scale", scale, PARE__SMALL_FLOATS));
  if (zero) PARE__TRY(pare__check_dtype(function, "zero", zero, bytes | PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_rank(function, "b", b, 1, PARE_MAX_RANK));
  PARE__TRY(read_shape(function, b, &w));
  pare_weights *weights;
  PARE__TRY(pare__weights_create(b->context, PARE__WEIGHTS_BLOCKS, w.k, w.n, &weights));
  const bool turned = w.options->transposed || w.options->packed, is_signed = b->dtype == PARE_I8;
  weights->blocks = (pare__blocks){.bits = w.options->bits <= 4 ? 4 : 8, .size = w.block};
  weights->blocks.shift = weights->blocks.bits == 4 ? (is_signed ? 8 : 0) : is_signed ? 0 : -128;
  if (!zero) weights->blocks.shift += w.options->zero;
  pare_status status = pare__weights_parameters(function, "scale", scale, turned, weights, &weights->blocks.scale);
  if (status == PARE_OK && zero)
    status = pare__weights_parameters(function, "zero", zero, turned, weights, &weights->blocks.zero);
  if (status == PARE_OK) status = pack_values(b, &w, weights);
  if (status != PARE_OK) {
    pare_weights_close(weights);
    return status;
  }
  *out = weights;
  return PARE_OK;
}
