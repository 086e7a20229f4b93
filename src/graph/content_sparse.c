/* Sparse tensors of a file, which pare computes with as dense ones. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "graph/graph.h"

/* Where element `i` of the values goes in the dense tensor; -1: outside. */
static int64_t sparse_place(const pare__content *indices, size_t i, const pare__shape *dense) {
  if (indices->shape.rank == 1) return pare__content_int(indices, i);
  int64_t at = 0;
  for (int d = 0; d < dense->rank; d++) {
    const int64_t index = pare__content_int(indices, i * (size_t)dense->rank + (size_t)d);
    if (index < 0 || index >= dense->dim[d]) return -1;
    at += index * dense->stride[d];
  }
  return at;
}

static pare_status densify(const pare__content *values, const pare__content *indices, pare__content *dense) {
  const size_t element = pare_dtype_bytes(values->dtype);
  const bool flat = indices->shape.rank == 1 && indices->count == values->count;
  const bool rows = indices->shape.rank == 2 && indices->shape.dim[1] == dense->shape.rank &&
                    indices->shape.dim[0] == (int64_t)values->count;
  if (indices->dtype != PARE_I64 || !(flat || rows) || values->dtype != dense->dtype)
    return pare__fail(PARE_ERR_FORMAT, "a sparse tensor's indices do not fit its values");
  for (size_t i = 0; i < values->count; i++) {
    const int64_t at = sparse_place(indices, i, &dense->shape);
    if (at < 0 || at >= (int64_t)dense->count)
      return pare__fail(PARE_ERR_FORMAT, "a sparse tensor's index %zu is outside its shape", i);
    memcpy((char *)dense->owned + (size_t)at * element, (const char *)values->data + i * element, element);
  }
  return PARE_OK;
}

pare_status pare__content_of_sparse(pare__onnx_source *source, const pare__onnx_sparse_tensor *sparse,
                                    pare__content **out) {
  *out = NULL;
  if (!sparse->values || !sparse->indices)
    return pare__fail(PARE_ERR_FORMAT, "a sparse tensor lacks its values or indices");
  if (sparse->dims.count > PARE_MAX_RANK)
    return pare__fail(PARE_ERR_UNSUPPORTED, "a sparse tensor has %zu dimensions; pare has up to %d", sparse->dims.count,
                      PARE_MAX_RANK);
  pare__content *values = NULL, *indices = NULL, *dense = NULL;
  pare_status status = pare__content_of_tensor(source, sparse->values, &values);
  if (status == PARE_OK) status = pare__content_of_tensor(source, sparse->indices, &indices);
  if (status == PARE_OK)
    status = pare__content_create(values->dtype, (int)sparse->dims.count, sparse->dims.items, NULL, &dense);
  if (status == PARE_OK) status = densify(values, indices, dense);
  pare__content_release(values);
  pare__content_release(indices);
  if (status == PARE_OK)
    *out = dense;
  else
    pare__content_release(dense);
  return status;
}
