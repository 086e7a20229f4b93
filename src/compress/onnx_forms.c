/* Which form a weight takes in an ONNX file, so that ONNX Runtime reads and runs it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What a recipe asks is weakened step by step until a form holds it, and the reason is kept for the report. */
#include <string.h>

#include "compress/onnx_weights.h"

/* ---- what is possible ---- */

/* com.microsoft's operators on blocks: sizes that ONNX Runtime takes, f32 around them. */
static const char *refuse_blocks(const pare__weight *weight, const pare__onnx_weight *info, const pare__grid *grid) {
  if (info->nconv > 0) return "ONNX Runtime has convolutions of 8 bits only";
  if (weight->dtype != PARE_F32) return "blocks are for float32 models only";
  if (info->nother > 0 || !info->plain) return "a node that is no plain product or lookup uses it, too";
  if (grid->bits != 4 && grid->bits != 8) return "ONNX Runtime has blocks of 4 and 8 bits only";
  if (grid->group < 16 || grid->group > 256 || (grid->group & (grid->group - 1)) != 0)
    return "ONNX Runtime has blocks of 16, 32, 64, 128 and 256 only";
  if (info->ngather > 0 && grid->bits == 4 && pare__weight_inputs(weight) % 2 != 0) return "its rows are odd";
  if (info->ngather > 0 && info->nlinear > 0 && pare__weight_inputs(weight) % grid->group != 0)
    return "it is tied, and its rows are no whole blocks";
  return NULL;
}

static const char *refuse_product(const pare__onnx_checkpoint *checkpoint, const pare__weight *weight,
                                  const pare__onnx_weight *info) {
  if (info->nconv > 0) return "convolutions have no dynamic activations: its weights alone are quantised";
  if (weight->dtype != PARE_F32) return "integer products are for float32 models only: its weights alone are quantised";
  if (info->nother + info->ngather > 0 || !info->plain)
    return "a node that is no plain product uses it, too: its weights alone are quantised";
  if (checkpoint->opset < 11) return "the model's opset is before 11: its weights alone are quantised";
  return NULL;
}

static pare__onnx_form form_of(const pare__treatment *treatment) {
  switch (treatment->storage) {
  case PARE__STORE_AS_IS: return PARE__FORM_KEPT;
  case PARE__STORE_VALUES: return PARE__FORM_VALUES;
  case PARE__STORE_F16:
  case PARE__STORE_BF16: return PARE__FORM_HALF;
  case PARE__STORE_INTEGER: break;
  }
  if (treatment->grid.strategy == PARE__PER_GROUP) return PARE__FORM_BLOCKS;
  return treatment->grid.activations == PARE__ACTIVATIONS_DYNAMIC ? PARE__FORM_PRODUCT : PARE__FORM_INTEGER;
}

/* ---- settling ---- */

static void settle_blocks(const pare__weight *weight, const pare__onnx_weight *info, pare__treatment *treatment) {
  pare__grid *grid = &treatment->grid;
  if (grid->strategy != PARE__PER_GROUP && grid->bits == 8) return;
  if (grid->strategy != PARE__PER_GROUP) {
    grid->strategy = PARE__PER_GROUP;
    grid->group = 32;
    treatment->reason = "ONNX Runtime has fewer than 8 bits in blocks only: blocks of 32";
  }
  const char *why = refuse_blocks(weight, info, grid);
  if (!why) return;
  treatment->reason = why;
  *grid = (pare__grid){.bits = 8,
                       .strategy = PARE__PER_CHANNEL,
                       .symmetric = true,
                       .observer = grid->observer,
                       .percentile = grid->percentile,
                       .activations = grid->activations};
}

static void settle_one(const pare__onnx_checkpoint *checkpoint, size_t i, pare__treatment *treatment) {
  const pare__weight *weight = &checkpoint->base.weights[i];
  const pare__onnx_weight *info = &checkpoint->weights[i];
  if (treatment->storage == PARE__STORE_BF16 && checkpoint->opset < 13) {
    treatment->storage = PARE__STORE_F16;
    treatment->reason = "the model's opset is before 13, which brought bfloat16: float16 instead";
  }
  if (treatment->storage != PARE__STORE_INTEGER) return;
  settle_blocks(weight, info, treatment);
  pare__grid *grid = &treatment->grid;
  if (grid->strategy == PARE__PER_GROUP || grid->activations == PARE__ACTIVATIONS_FLOAT) return;
  const char *why = grid->activations == PARE__ACTIVATIONS_DYNAMIC ? refuse_product(checkpoint, weight, info) : NULL;
  if (!why) return;
  grid->activations = PARE__ACTIVATIONS_FLOAT;
  treatment->reason = why;
}

/* ---- parts ---- */

static bool bytes_of(int32_t dtype, int rank, const int64_t *dim, size_t *out) {
  int64_t count = 1;
  for (int d = 0; d < rank; d++)
    if (!pare__i64_mul(count, dim[d], &count)) return false;
  return pare__onnx_dtype_size(dtype, count, out);
}

static pare_status measure(pare__onnx_parts *parts, const pare__weight *weight) {
  if (bytes_of(parts->codes_dtype, parts->codes_rank, parts->codes_dim, &parts->codes_bytes) &&
      (parts->scales_rank < 0 ||
       bytes_of(PARE__ONNX_FLOAT, parts->scales_rank, parts->scales_dim, &parts->scales_bytes)) &&
      (parts->zeros_rank < 0 || bytes_of(PARE__ONNX_UINT8, parts->zeros_rank, parts->zeros_dim, &parts->zeros_bytes)))
    return PARE_OK;
  return pare__fail(PARE_ERR_FORMAT, "tensor '%.100s' is too large", weight->name);
}

/* Rows of whole blocks, packed low bits first. */
static void block_parts(const pare__onnx_weight *info, const pare__weight *weight, const pare__grid *grid,
                        pare__onnx_parts *out) {
  const int64_t rows = pare__weight_rows(weight), inputs = pare__weight_inputs(weight);
  const int64_t bits = grid->bits;
  out->groups = pare__div_up(inputs, grid->group);
  out->codes_dtype = PARE__ONNX_UINT8;
  out->codes_dim[0] = rows;
  if (info->nlinear > 0) {
    out->codes_rank = 3;
    out->codes_dim[1] = out->groups;
    out->codes_dim[2] = grid->group * bits / 8;
  } else {
    out->codes_rank = 2;
    out->codes_dim[1] = inputs * bits / 8;
  }
  out->scales_rank = 2;
  out->scales_dim[0] = rows;
  out->scales_dim[1] = out->groups;
  if (grid->symmetric) return;
  out->zeros_rank = 2;
  out->zeros_dim[0] = rows;
  out->zeros_dim[1] = pare__div_up(out->groups * bits, 8);
}

pare_status pare__onnx_parts_of(const pare__onnx_checkpoint *checkpoint, size_t index, const pare__treatment *treatment,
                                pare__onnx_parts *out) {
  const pare__weight *weight = &checkpoint->base.weights[index];
  const pare__grid *grid = &treatment->grid;
  *out = (pare__onnx_parts){.form = form_of(treatment),
                            .codes_dtype = checkpoint->weights[index].original.data_type,
                            .codes_rank = weight->rank,
                            .scales_rank = -1,
                            .zeros_rank = -1,
                            .groups = 1};
  memcpy(out->codes_dim, weight->dim, sizeof out->codes_dim);
  switch (out->form) {
  case PARE__FORM_KEPT:
  case PARE__FORM_VALUES: break;
  case PARE__FORM_HALF:
    out->codes_dtype = treatment->storage == PARE__STORE_F16 ? PARE__ONNX_FLOAT16 : PARE__ONNX_BFLOAT16;
    break;
  case PARE__FORM_BLOCKS: block_parts(&checkpoint->weights[index], weight, grid, out); break;
  case PARE__FORM_PRODUCT:
    out->codes_dim[0] = pare__weight_inputs(weight);
    out->codes_dim[1] = pare__weight_rows(weight);
    __attribute__((fallthrough));
  case PARE__FORM_INTEGER:
    out->codes_dtype = grid->symmetric ? PARE__ONNX_INT8 : PARE__ONNX_UINT8;
    out->scales_rank = grid->strategy == PARE__PER_TENSOR ? 0 : checkpoint->weights[index].ngather > 0 ? 2 : 1;
    out->scales_dim[0] = pare__weight_rows(weight);
    out->scales_dim[1] = 1; /* gathered rows meet their scales by broadcasting */
    if (grid->symmetric) break;
    out->zeros_rank = out->scales_rank;
    memcpy(out->zeros_dim, out->scales_dim, sizeof out->zeros_dim);
    break;
  }
  if (out->form == PARE__FORM_KEPT) return PARE_OK;
  return measure(out, weight);
}

pare_status pare__onnx_settle(pare__checkpoint *base, pare__treatment *treatments) {
  const pare__onnx_checkpoint *checkpoint = (const pare__onnx_checkpoint *)base;
  for (size_t i = 0; i < base->nweights; i++) {
    pare__treatment *treatment = &treatments[i];
    settle_one(checkpoint, i, treatment);
    if (treatment->storage == PARE__STORE_AS_IS) {
      treatment->stored_bytes = base->weights[i].nbytes;
      continue;
    }
    pare__onnx_parts parts;
    PARE__TRY(pare__onnx_parts_of(checkpoint, i, treatment, &parts));
    treatment->stored_bytes = parts.codes_bytes + parts.scales_bytes + parts.zeros_bytes;
  }
  return PARE_OK;
}
