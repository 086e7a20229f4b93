/* Operators of pare's own that files have: N:M sparse weights. SPDX-License-Identifier: Apache-2.0
 *
 * A compact file stores a weight as <pare/sparse.h> says and has a node for it:
 *
 *   pare.DecodeNM(values, indices) -> the dense tensor    attributes n, m, axis (of the inputs in the dense tensor),
 *                                                         fill (0: what is not kept)
 *   values   its dtype, its shape with the axis moved to the end and K / m * n long
 *   indices  u8, the same shape but for the end: bytes of a row
 *
 * The pass `weights` puts pare.SparseMatMul in place of products of it, which reads the weight as it is stored. For all
 * else, convolutions above all, it is decoded once, at load. */
#include <pare/gemm.h>
#include <string.h>

#include "format/mapping.h"
#include "graph/compose.h"
#include "graph/operator_tables.h"
#include "graph/quantised.h"
#include "graph/sparse.h"

static void release_pages(const pare__content *content) {
  if (content->file && content->file->mapped) pare__mapping_release(content->data, content->nbytes);
}

bool pare__sparse_weight_layout(const pare__content *values, const pare__content *indices, const pare__node *node,
                                pare_sparse_layout *out) {
  const int64_t keep = pare__sparse_attribute(node, "n"), of = pare__sparse_attribute(node, "m");
  const int rank = values->shape.rank;
  size_t values_bytes, indices_bytes;
  if (rank < 1 || indices->dtype != PARE_U8 || keep < 1 || keep >= of || of > PARE__SPARSE_MOST) return false;
  const int64_t stored = values->shape.dim[rank - 1];
  if (stored % keep != 0 || stored > INT64_MAX / PARE__SPARSE_MOST) return false;
  *out = (pare_sparse_layout){.dtype = values->dtype,
                              .keep = (int)keep,
                              .of = (int)of,
                              .rows = 1,
                              .inputs = stored / keep * of,
                              .fill = (int)pare__sparse_attribute(node, "fill")};
  for (int d = 0; d < rank - 1; d++)
    if (!pare__i64_mul(out->rows, values->shape.dim[d], &out->rows)) return false;
  return pare_sparse_sizes(out, &values_bytes, &indices_bytes) == PARE_OK && values_bytes == values->nbytes &&
         indices_bytes == indices->nbytes;
}

int64_t pare__sparse_attribute(const pare__node *node, const char *name) {
  const pare__onnx_attribute *attribute = pare__node_attribute(node, name);
  return attribute && attribute->i >= INT32_MIN && attribute->i <= INT32_MAX ? attribute->i : 0;
}

static pare_status layout_of(pare__call *call, unsigned values, unsigned indices, const pare__content **content,
                             pare_sparse_layout *out) {
  PARE__TRY(pare__call_content(call, values, &content[0]));
  PARE__TRY(pare__call_content(call, indices, &content[1]));
  if (pare__sparse_weight_layout(content[0], content[1], call->node, out)) return PARE_OK;
  char a[PARE__SHAPE_TEXT], b[PARE__SHAPE_TEXT];
  const pare__shape *v = &content[0]->shape, *i = &content[1]->shape;
  return pare__call_fail(call, PARE_ERR_FORMAT, "values %s and indices %s are no %lld:%lld sparse weights",
                         pare__shape_text(v->rank, v->dim, a, sizeof a), pare__shape_text(i->rank, i->dim, b, sizeof b),
                         (long long)pare__sparse_attribute(call->node, "n"),
                         (long long)pare__sparse_attribute(call->node, "m"));
}

/* ---- DecodeNM ---- */

static pare_status decode(pare__call *call) {
  const pare__content *content[2];
  pare_sparse_layout layout;
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(layout_of(call, 0, 1, content, &layout));
  const int rank = content[0]->shape.rank;
  int axis;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", -1), rank, &axis));
  int64_t dim[PARE_MAX_RANK], inner = 1;
  memcpy(dim, content[0]->shape.dim, sizeof dim);
  for (int d = rank - 1; d > axis; d--) {
    dim[d] = dim[d - 1];
    inner *= dim[d];
  }
  dim[axis] = layout.inputs;
  pare__content *dense;
  PARE__TRY(pare__content_create(layout.dtype, rank, dim, NULL, &dense));
  const pare_status status =
      dense->nbytes == 0 ? PARE_OK
                         : pare__sparse_decode_axis(&layout, inner, content[0]->data, content[1]->data, dense->owned);
  if (status != PARE_OK) {
    pare__content_release(dense);
    return pare__call_fail(call, status, "%s", pare_message());
  }
  release_pages(content[0]);
  release_pages(content[1]);
  return pare__call_give_content(call, 0, dense);
}

/* ---- SparseMatMul: A, values [N, K / m * n], bias, scale, indices, what is added last ----
 *
 * Attributes: n, m; transB is 1; alpha; activation. */
enum { A, VALUES, BIAS, SCALE, INDICES, RESIDUAL, NINPUTS };

static void weights_close(void *prepared) { pare_weights_close(prepared); }

static pare_status pack(pare__call *call, pare_weights **out) {
  const pare__content *content[2];
  pare_sparse_layout layout;
  pare_tensor *scale;
  PARE__TRY(layout_of(call, VALUES, INDICES, content, &layout));
  PARE__TRY(pare__call_tensor(call, SCALE, &scale));
  const pare_status status =
      pare_weights_pack_sparse(call->context, &layout, content[0]->data, content[1]->data, scale, out);
  if (status != PARE_OK) return pare__call_fail(call, status, "%s", pare_message());
  release_pages(content[0]);
  release_pages(content[1]);
  return PARE_OK;
}

static pare_status prepare(pare__call *call, pare__node *node) {
  const bool scaled = node->ninputs > SCALE && node->input[SCALE] >= 0;
  if (!pare__call_has(call, VALUES) || !pare__call_has(call, INDICES)) return PARE_OK;
  if (scaled && !pare__call_has(call, SCALE)) return PARE_OK;
  pare_weights *weights;
  PARE__TRY(pack(call, &weights));
  node->prepared = weights;
  node->prepared_close = weights_close;
  return PARE_OK;
}

static pare_status multiply(pare__call *call, const pare_weights *weights, int rank, const int64_t *dim) {
  pare_tensor *out, *a, *bias;
  PARE__TRY(pare__call_tensor(call, A, &a));
  PARE__TRY(pare__call_tensor(call, BIAS, &bias));
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  options.alpha = pare__call_get_float(call, "alpha", 1);
  options.activation = (pare_activation)pare__call_get_int(call, "activation", PARE_ACTIVATION_NONE);
  options.clip_low = pare__call_get_float(call, "clip_low", 0);
  options.clip_high = pare__call_get_float(call, "clip_high", 0);
  PARE__TRY(pare__call_product_begin(call, RESIDUAL, a->dtype, rank, dim, &options, &out));
  PARE__TRY(pare_gemm_packed(a, weights, bias, &options, out));
  return pare__call_product_end(call, RESIDUAL, out);
}

static pare_status sparse_matmul(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, NINPUTS));
  const pare__shape *stored = &call->input[VALUES]->shape;
  const int64_t keep = pare__sparse_attribute(call->node, "n"), of = pare__sparse_attribute(call->node, "m");
  if (stored->rank != 2 || keep < 1 || keep >= of || of > PARE__SPARSE_MOST ||
      stored->dim[1] > INT64_MAX / PARE__SPARSE_MOST)
    return pare__call_fail(call, PARE_ERR_FORMAT, "values of rank %d are no %lld:%lld sparse matrix", stored->rank,
                           (long long)keep, (long long)of);
  pare__shape b = *stored;
  b.dim[0] = stored->dim[1] / keep * of;
  b.dim[1] = stored->dim[0];
  int rank;
  int64_t dim[PARE_MAX_RANK + 2];
  PARE__TRY(pare__call_product_shape(call, &call->input[A]->shape, &b, &rank, dim));
  if (call->node->prepared) return multiply(call, call->node->prepared, rank, dim);
  pare_weights *weights;
  PARE__TRY(pack(call, &weights));
  const pare_status status = multiply(call, weights, rank, dim);
  pare_weights_close(weights);
  return status;
}

const pare__operator pare__operators_pare[] = {
    {"pare", "DecodeNM", 1, 0, PARE__ON_HOST, decode, .types = "f32, f16, bf16, i8, u8"},
    {"pare", "SparseMatMul", 1, 0, PARE__ON_DEVICE, sparse_matmul, NULL, prepare, .types = "small floats"},
    {0},
};
