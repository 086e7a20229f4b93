/* The bytes of a compressed weight while an ONNX file is written. SPDX-License-Identifier: Apache-2.0
 *
 * Codes come first in the file, scales and zero points behind them. When the codes are asked for, the weight goes
 * through the methods, as many rows at a time as fit; its scales and zero points are kept until they are asked for.
 * Rows that lie along the first axis are written as they come. Others lie across the file, a run of bytes for each
 * index of the axes before theirs: as many of them as fit a block are put together in host memory, so that runs are
 * long, and no weight is in memory whole. */
#include <pare/elementwise.h>
#include <pare/grid.h>
#include <pare/move.h>
#include <stdlib.h>
#include <string.h>

#include "compress/onnx_weights.h"

#define BLOCK_BYTES ((size_t)16 << 20)

/* Where rows of the stored tensor go. */
struct target {
  pare__onnx_packing *packing;
  pare__stream_put put;
  void *sink;
  size_t outer, row;             /* runs of the tensor, and bytes of a row in one of them */
  int64_t block_rows, first_row; /* of a block, and where the one at hand begins */
  uint8_t *block;                /* [outer][block_rows][row]; NULL: rows are put as they come */
};

/* ---- from the device ---- */

/* The elements on the host; free *data. */
static pare_status read_all(pare_tensor *tensor, void **data, size_t *nbytes) {
  *nbytes = (size_t)pare_tensor_elements(tensor) * pare_dtype_bytes(pare_tensor_dtype(tensor));
  *data = malloc(*nbytes + 1);
  if (!*data) return pare__fail_memory("the rows of a weight", *nbytes);
  const pare_status status = pare_tensor_read(tensor, *data, *nbytes);
  if (status == PARE_OK) return PARE_OK;
  free(*data);
  *data = NULL;
  return status;
}

/* A view of [nrows, columns] in canonical order as the file orders its axes. */
static pare_status file_order(const pare__onnx_packing *packing, pare_tensor *rows, pare_tensor **out) {
  const pare__weight *weight = &packing->checkpoint->base.weights[packing->index];
  int axes[PARE_MAX_RANK], back[PARE_MAX_RANK];
  int64_t dim[PARE_MAX_RANK];
  pare_tensor *shaped;
  if (packing->parts.form == PARE__FORM_PRODUCT) return pare_tensor_permute(rows, (const int[]){1, 0}, out);
  pare__weight_axes(weight, axes);
  for (int d = 0; d < weight->rank; d++) {
    dim[d] = d == 0 ? pare_tensor_shape(rows)[0] : weight->dim[axes[d]];
    back[axes[d]] = d;
  }
  PARE__TRY(pare_tensor_reshape(rows, weight->rank, dim, &shaped));
  const pare_status status = pare_tensor_permute(shaped, back, out);
  pare_tensor_close(shaped);
  return status;
}

static pare_status converted(pare_tensor *values, int32_t onnx_dtype, pare_tensor **out) {
  pare_dtype dtype = PARE_F32;
  pare__onnx_dtype_to_pare(onnx_dtype, &dtype);
  PARE__TRY(
      pare_tensor_create(pare_tensor_context(values), dtype, pare_tensor_rank(values), pare_tensor_shape(values), out));
  const pare_status status = pare_cast(values, *out);
  if (status == PARE_OK) return PARE_OK;
  pare_tensor_close(*out);
  *out = NULL;
  return status;
}

static pare_status packed_rows(pare_tensor *codes, int bits, int64_t row_bytes, pare_tensor **out) {
  const int64_t dim[2] = {pare_tensor_shape(codes)[0], row_bytes};
  PARE__TRY(pare_tensor_create(pare_tensor_context(codes), PARE_U8, 2, dim, out));
  const pare_status status = pare_codes_pack(codes, bits, *out);
  if (status == PARE_OK) return PARE_OK;
  pare_tensor_close(*out);
  *out = NULL;
  return status;
}

/* The stored tensor's rows of one result, in the order of the file. */
static pare_status stored_rows(const pare__onnx_packing *packing, const pare__result *result, pare_tensor **out) {
  const pare__onnx_parts *parts = &packing->parts;
  pare_tensor *ready = NULL, *view = NULL;
  *out = NULL;
  if (parts->form == PARE__FORM_BLOCKS)
    return packed_rows(result->codes, (int)packing->treatment->grid.bits,
                       (int64_t)(parts->codes_bytes / (size_t)parts->codes_dim[0]), out);
  pare_tensor *from = result->codes;
  if (!from) {
    PARE__TRY(converted(result->values, parts->codes_dtype, &ready));
    from = ready;
  }
  pare_status status = file_order(packing, from, &view);
  if (status == PARE_OK)
    status = pare_tensor_create(pare_tensor_context(from), pare_tensor_dtype(view), pare_tensor_rank(view),
                                pare_tensor_shape(view), out);
  if (status == PARE_OK) status = pare_copy(view, *out);
  if (status != PARE_OK) {
    pare_tensor_close(*out);
    *out = NULL;
  }
  pare_tensor_close(view);
  pare_tensor_close(ready);
  return status;
}

/* ---- scales and zero points ---- */

static pare_status keep(pare_tensor *tensor, uint8_t **data, size_t *used, size_t capacity) {
  void *found;
  size_t nbytes;
  PARE__TRY(read_all(tensor, &found, &nbytes));
  if (!*data) *data = malloc(capacity + 1);
  pare_status status = *data ? PARE_OK : pare__fail_memory("the scales of a weight", capacity);
  if (status == PARE_OK && nbytes <= capacity - *used) {
    memcpy(*data + *used, found, nbytes);
    *used += nbytes;
  } else if (status == PARE_OK) {
    status = pare__fail(PARE_ERR_ARGUMENT, "%zu bytes of scales more than the %zu that were planned", nbytes,
                        capacity - *used);
  }
  free(found);
  return status;
}

static pare_status keep_scales(pare__onnx_packing *packing, const pare__result *result) {
  const pare__onnx_parts *parts = &packing->parts;
  if (parts->scales_rank < 0) return PARE_OK;
  /* One scale for all: every range of rows has the same. */
  if (packing->treatment->grid.strategy == PARE__PER_TENSOR) packing->scales_used = packing->zeros_used = 0;
  PARE__TRY(keep(result->scales, &packing->scales_data, &packing->scales_used, parts->scales_bytes));
  if (parts->zeros_rank < 0) return PARE_OK;
  if (parts->form != PARE__FORM_BLOCKS)
    return keep(result->zeros, &packing->zeros_data, &packing->zeros_used, parts->zeros_bytes);
  pare_tensor *packed;
  PARE__TRY(packed_rows(result->zeros, (int)packing->treatment->grid.bits, parts->zeros_dim[1], &packed));
  const pare_status status = keep(packed, &packing->zeros_data, &packing->zeros_used, parts->zeros_bytes);
  pare_tensor_close(packed);
  return status;
}

/* ---- streams ---- */

/* The block that is full, or the last one, of `nrows` rows. */
static pare_status put_block(struct target *target, int64_t nrows) {
  const pare__onnx_packing *packing = target->packing;
  const int64_t rows = pare__weight_rows(&packing->checkpoint->base.weights[packing->index]);
  const size_t run = (size_t)nrows * target->row, stride = (size_t)rows * target->row,
               first = (size_t)target->first_row * target->row;
  if (nrows == rows) return target->put(target->sink, 0, target->block, packing->parts.codes_bytes);
  for (size_t i = 0; i < target->outer; i++)
    PARE__TRY(target->put(target->sink, i * stride + first,
                          target->block + i * (size_t)target->block_rows * target->row, run));
  target->first_row += nrows;
  return PARE_OK;
}

/* Rows first_row … come to their place in the block, `outer` runs of them; after its last row it is put. */
static pare_status place(struct target *target, int64_t first_row, int64_t nrows, const uint8_t *data) {
  const pare__onnx_packing *packing = target->packing;
  const int64_t rows = pare__weight_rows(&packing->checkpoint->base.weights[packing->index]);
  const size_t run = (size_t)nrows * target->row, stride = (size_t)target->block_rows * target->row;
  uint8_t *to = target->block + (size_t)(first_row - target->first_row) * target->row;
  for (size_t i = 0; i < target->outer; i++) memcpy(to + i * stride, data + i * run, run);
  const int64_t end = first_row + nrows;
  if (end < rows && end < target->first_row + target->block_rows) return PARE_OK;
  return put_block(target, end - target->first_row);
}

static pare_status put_rows(struct target *target, int64_t first_row, int64_t nrows) {
  pare__onnx_packing *packing = target->packing;
  pare__result result = {0};
  pare_tensor *stored = NULL;
  void *data = NULL;
  size_t nbytes = 0;
  PARE__TRY(packing->producer->rows(packing->producer->user, packing->index, first_row, nrows, &result));
  pare_status status = stored_rows(packing, &result, &stored);
  if (status == PARE_OK) status = read_all(stored, &data, &nbytes);
  if (status == PARE_OK) status = keep_scales(packing, &result);
  if (status == PARE_OK && target->block)
    status = place(target, first_row, nrows, data);
  else if (status == PARE_OK) /* those before were as long */
    status = target->put(target->sink, nbytes / (size_t)nrows * (size_t)first_row, data, nbytes);
  free(data);
  pare_tensor_close(stored);
  pare__result_close(&result);
  return status;
}

/* A block for rows that lie across the file and come `most` at a time: of whole such pieces. */
static pare_status open_block(struct target *target, int64_t rows, int64_t most) {
  const pare__onnx_packing *packing = target->packing;
  const pare__weight *weight = &packing->checkpoint->base.weights[packing->index];
  const bool is_product = packing->parts.form == PARE__FORM_PRODUCT;
  const int row_axis = is_product ? 1 : weight->row_axis;
  if (packing->parts.form == PARE__FORM_BLOCKS || row_axis == 0 || most >= rows) return PARE_OK;
  const size_t row = packing->parts.codes_bytes / (size_t)rows, piece = row * (size_t)most;
  target->outer = 1;
  for (int d = 0; d < row_axis; d++) target->outer *= (size_t)packing->parts.codes_dim[d];
  target->row = row / target->outer;
  target->block_rows = PARE__MIN(rows, most * (int64_t)PARE__MAX(BLOCK_BYTES / piece, 1));
  target->block = malloc(row * (size_t)target->block_rows);
  return target->block ? PARE_OK : pare__fail_memory("rows of a weight", row * (size_t)target->block_rows);
}

static pare_status produce_codes(void *user, pare__stream_put put, void *sink) {
  pare__onnx_packing *packing = user;
  const int64_t rows = pare__weight_rows(&packing->checkpoint->base.weights[packing->index]);
  const int64_t most = packing->producer->most_rows(packing->producer->user, packing->index);
  struct target target = {.packing = packing, .put = put, .sink = sink};
  pare_status status = open_block(&target, rows, most);
  for (int64_t row = 0; row < rows && status == PARE_OK; row += most)
    status = put_rows(&target, row, PARE__MIN(most, rows - row));
  free(target.block);
  return status;
}

/* What was kept, once. */
static pare_status put_kept(uint8_t **data, size_t nbytes, pare__stream_put put, void *sink) {
  if (!*data) return pare__fail(PARE_ERR_ARGUMENT, "scales are asked for before their codes");
  const pare_status status = put(sink, 0, *data, nbytes);
  free(*data);
  *data = NULL;
  return status;
}
static pare_status produce_scales(void *user, pare__stream_put put, void *sink) {
  pare__onnx_packing *packing = user;
  return put_kept(&packing->scales_data, packing->parts.scales_bytes, put, sink);
}
static pare_status produce_zeros(void *user, pare__stream_put put, void *sink) {
  pare__onnx_packing *packing = user;
  return put_kept(&packing->zeros_data, packing->parts.zeros_bytes, put, sink);
}

pare_status pare__onnx_packing_open(pare__onnx_checkpoint *checkpoint, size_t weight, const pare__treatment *treatment,
                                    const pare__producer *producer, pare__onnx_packing **out) {
  pare__onnx_packing *packing = calloc(1, sizeof *packing);
  *out = NULL;
  if (!packing) return pare__fail_memory("a weight's parts", sizeof *packing);
  *packing =
      (pare__onnx_packing){.checkpoint = checkpoint, .index = weight, .treatment = treatment, .producer = producer};
  const pare_status status = pare__onnx_parts_of(checkpoint, weight, treatment, &packing->parts);
  if (status != PARE_OK) {
    free(packing);
    return status;
  }
  packing->codes = (pare__stream){packing->parts.codes_bytes, produce_codes, packing};
  packing->scales = (pare__stream){packing->parts.scales_bytes, produce_scales, packing};
  packing->zeros = (pare__stream){packing->parts.zeros_bytes, produce_zeros, packing};
  *out = packing;
  return PARE_OK;
}

void pare__onnx_packing_close(pare__onnx_packing *packing) {
  if (!packing) return;
  free(packing->scales_data);
  free(packing->zeros_data);
  free(packing);
}
