/* Operators that move elements by index. SPDX-License-Identifier: Apache-2.0 */
#include <pare/index.h>
#include <pare/move.h>
#include <string.h>

#include "graph/operator_tables.h"

/* ---- Concat ---- */

static pare_status concat_shape(const pare__call *call, int axis, int64_t *dim) {
  const pare__shape *first = &call->input[0]->shape;
  memcpy(dim, first->dim, (size_t)first->rank * sizeof *dim);
  for (unsigned i = 1; i < call->ninputs; i++) {
    const pare__slot *slot = call->input[i];
    bool fits = slot && slot->shape.rank == first->rank && slot->dtype == call->input[0]->dtype;
    for (int d = 0; fits && d < first->rank; d++) fits = d == axis || slot->shape.dim[d] == first->dim[d];
    if (fits && pare__i64_add(dim[axis], slot->shape.dim[axis], &dim[axis])) continue;
    char have[PARE__SHAPE_TEXT], other[PARE__SHAPE_TEXT];
    return pare__call_fail(call, PARE_ERR_SHAPE, "input %u, %s%s, cannot be joined to %s%s along axis %d", i,
                           slot ? pare_dtype_name(slot->dtype) : "left out",
                           slot ? pare__shape_text(slot->shape.rank, slot->shape.dim, other, sizeof other) : "",
                           pare_dtype_name(call->input[0]->dtype),
                           pare__shape_text(first->rank, first->dim, have, sizeof have), axis);
  }
  return PARE_OK;
}

static pare_status concat_axis(const pare__call *call, int *axis) {
  const int64_t given = pare__call_get_int(call, "axis", 1);
  return pare__call_axis(call, given, call->input[0]->shape.rank, axis);
}

static pare_status concat(pare__call *call) {
  enum { FEW = 64 };
  int axis;
  int64_t dim[PARE_MAX_RANK], begin = 0;
  pare_tensor *out, *few[FEW];
  PARE__TRY(pare__call_check(call, 1, UINT16_MAX));
  PARE__TRY(concat_axis(call, &axis));
  PARE__TRY(concat_shape(call, axis, dim));
  PARE__TRY(pare__call_output(call, 0, call->input[0]->dtype, call->input[0]->shape.rank, dim, &out));
  for (unsigned i = 0; i < call->ninputs; i += FEW) { /* in batches, each into its part of the output */
    const unsigned count = PARE__MIN(call->ninputs - i, (unsigned)FEW);
    int64_t length = 0;
    for (unsigned k = 0; k < count; k++) {
      PARE__TRY(pare__call_tensor(call, i + k, &few[k]));
      length += few[k]->shape.dim[axis];
    }
    if (length == 0) continue;
    pare_tensor *part;
    PARE__TRY(pare_tensor_slice(out, axis, begin, length, 1, &part));
    PARE__TRY(pare__call_keep(call, part));
    PARE__TRY(pare_concat(count, few, axis, part));
    begin += length;
  }
  return PARE_OK;
}

static pare_status concat_on_host(pare__call *call) {
  int axis;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare__call_check(call, 1, UINT16_MAX));
  PARE__TRY(concat_axis(call, &axis));
  PARE__TRY(concat_shape(call, axis, dim));
  pare__content *out;
  PARE__TRY(pare__content_create(call->input[0]->dtype, call->input[0]->shape.rank, dim, NULL, &out));
  const size_t element = pare_dtype_bytes(out->dtype);
  int64_t begin = 0;
  for (unsigned i = 0; i < call->ninputs; i++) {
    const pare__content *part = call->input[i]->content;
    pare__shape place = out->shape;
    place.dim[axis] = part->shape.dim[axis];
    if (part->count > 0) pare__host_scatter(&place, begin * out->shape.stride[axis], element, part->data, out->owned);
    begin += part->shape.dim[axis];
  }
  return pare__call_give_content(call, 0, out);
}

/* ---- Gather ---- */

static pare_status gather_shape(const pare__call *call, int *axis, int *rank, int64_t *dim) {
  const pare__shape *data = &call->input[0]->shape, *indices = &call->input[1]->shape;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", 0), data->rank, axis));
  *rank = data->rank - 1 + indices->rank;
  if (*rank > PARE_MAX_RANK)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "the result would have rank %d; %d at most are possible", *rank,
                           PARE_MAX_RANK);
  int k = 0;
  for (int d = 0; d < *axis; d++) dim[k++] = data->dim[d];
  for (int d = 0; d < indices->rank; d++) dim[k++] = indices->dim[d];
  for (int d = *axis + 1; d < data->rank; d++) dim[k++] = data->dim[d];
  return PARE_OK;
}

/* detail: TorchEmbedding, whose inputs 2 and 3 say what training does. */
static pare_status gather(pare__call *call) {
  int axis, rank;
  int64_t dim[PARE_MAX_RANK];
  pare_tensor *data, *indices, *out;
  PARE__TRY(pare__call_check(call, 2, call->node->op->detail ? 4 : 2));
  PARE__TRY(gather_shape(call, &axis, &rank, dim));
  PARE__TRY(pare__call_tensor(call, 0, &data));
  PARE__TRY(pare__call_tensor(call, 1, &indices));
  PARE__TRY(pare__call_output(call, 0, data->dtype, rank, dim, &out));
  return pare_gather(data, indices, axis, out);
}

static pare_status gather_on_host(pare__call *call) {
  int axis, rank;
  int64_t dim[PARE_MAX_RANK];
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(gather_shape(call, &axis, &rank, dim));
  const pare__content *data = call->input[0]->content, *indices = call->input[1]->content;
  const int64_t length = data->shape.dim[axis];
  const size_t element = pare_dtype_bytes(data->dtype), inner = (size_t)data->shape.stride[axis] * element;
  const size_t outer = length > 0 ? data->nbytes / ((size_t)length * PARE__MAX(inner, (size_t)1)) : 0;
  pare__content *out;
  PARE__TRY(pare__content_create(data->dtype, rank, dim, NULL, &out));
  char *to = out->owned;
  for (size_t i = 0; i < outer && out->count > 0; i++)
    for (size_t k = 0; k < indices->count; k++, to += inner) {
      int64_t index = pare__content_int(indices, k);
      index += index < 0 ? length : 0;
      if (index < 0 || index >= length) {
        pare__content_release(out);
        return pare__call_fail(call, PARE_ERR_ARGUMENT, "index %lld is outside axis %d of length %lld",
                               (long long)pare__content_int(indices, k), axis, (long long)length);
      }
      memcpy(to, (const char *)data->data + ((size_t)index + i * (size_t)length) * inner, inner);
    }
  return pare__call_give_content(call, 0, out);
}

static pare_status gather_elements(pare__call *call) {
  pare_tensor *data, *indices, *out;
  int axis;
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_tensor(call, 0, &data));
  PARE__TRY(pare__call_tensor(call, 1, &indices));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", 0), data->shape.rank, &axis));
  PARE__TRY(pare__call_output(call, 0, data->dtype, indices->shape.rank, indices->shape.dim, &out));
  return pare_gather_elements(data, indices, axis, out);
}

static pare_status gather_nd(pare__call *call) {
  pare_tensor *data, *indices, *out;
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_tensor(call, 0, &data));
  PARE__TRY(pare__call_tensor(call, 1, &indices));
  const int64_t batch = pare__call_get_int(call, "batch_dims", 0);
  const int rank = indices->shape.rank;
  const int64_t length = rank > 0 ? indices->shape.dim[rank - 1] : 0;
  if (rank < 1 || batch < 0 || batch >= rank || length < 1 || length > data->shape.rank - batch)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "tuples of %lld indices after %lld batch dimensions do not fit data of "
                           "rank %d",
                           (long long)length, (long long)batch, data->shape.rank);
  const int tail = data->shape.rank - (int)(batch + length);
  if (rank - 1 + tail > PARE_MAX_RANK)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "the result would have rank %d", rank - 1 + tail);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, indices->shape.dim, (size_t)(rank - 1) * sizeof *dim);
  memcpy(dim + rank - 1, data->shape.dim + batch + length, (size_t)tail * sizeof *dim);
  PARE__TRY(pare__call_output(call, 0, data->dtype, rank - 1 + tail, dim, &out));
  return pare_gather_nd(data, indices, (int)batch, out);
}

/* ---- Scatter ---- */

static pare_status scatter_reduction(const pare__call *call, pare_scatter_reduction *out) {
  static const char *const name[] = {"none", "add", "mul", "min", "max"};
  for (size_t i = 0; i < PARE__COUNT(name); i++)
    if (pare__call_text_is(call, "reduction", "none", name[i])) {
      *out = (pare_scatter_reduction)i;
      return PARE_OK;
    }
  return pare__call_fail(call, PARE_ERR_FORMAT, "its reduction is none of none, add, mul, min, max");
}

static pare_status scatter(pare__call *call) {
  pare_tensor *data, *indices, *updates, *out;
  pare_scatter_reduction reduction = PARE_SCATTER_NONE;
  PARE__TRY(pare__call_check(call, 3, 3));
  PARE__TRY(pare__call_tensor(call, 0, &data));
  PARE__TRY(pare__call_tensor(call, 1, &indices));
  PARE__TRY(pare__call_tensor(call, 2, &updates));
  PARE__TRY(scatter_reduction(call, &reduction));
  PARE__TRY(pare__call_output(call, 0, data->dtype, data->shape.rank, data->shape.dim, &out));
  if (call->node->op->detail) return pare_scatter_nd(data, indices, updates, reduction, out);
  int axis;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", 0), data->shape.rank, &axis));
  return pare_scatter_elements(data, indices, updates, axis, reduction, out);
}

/* ---- Tile ---- */

static pare_status tile(pare__call *call) {
  pare_tensor *data, *out;
  int64_t repeats[PARE_MAX_RANK], dim[PARE_MAX_RANK];
  size_t count;
  PARE__TRY(pare__call_check(call, 2, 2));
  PARE__TRY(pare__call_tensor(call, 0, &data));
  PARE__TRY(pare__call_ints(call, 1, repeats, PARE_MAX_RANK, &count));
  if ((int)count != data->shape.rank)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%zu repeats for an input of rank %d", count, data->shape.rank);
  for (size_t d = 0; d < count; d++)
    if (repeats[d] < 0 || !pare__i64_mul(data->shape.dim[d], repeats[d], &dim[d]))
      return pare__call_fail(call, PARE_ERR_SHAPE, "axis %zu of length %lld cannot be repeated %lld times", d,
                             (long long)data->shape.dim[d], (long long)repeats[d]);
  PARE__TRY(pare__call_output(call, 0, data->dtype, data->shape.rank, dim, &out));
  return pare_tile(data, repeats, out);
}

/* ---- Pad ---- */

/* Are widths and constant inputs? From opset 11 on, and those of com.microsoft. */
static bool pads_are_inputs(const pare__call *call) { return call->node->op->detail || call->node->opset >= 11; }

/* before and after of every axis: an attribute until opset 10, then input 1, for the axes of input 3. */
static pare_status pad_widths(pare__call *call, int rank, int64_t *before, int64_t *after) {
  int64_t given[2 * PARE_MAX_RANK];
  size_t count;
  int axes[PARE_MAX_RANK], naxes;
  if (!pads_are_inputs(call))
    PARE__TRY(pare__call_get_ints(call, "pads", given, 2 * PARE_MAX_RANK, &count));
  else
    PARE__TRY(pare__call_ints(call, 1, given, 2 * PARE_MAX_RANK, &count));
  PARE__TRY(pare__call_axes(call, "axes", 3, rank, axes, &naxes));
  if (naxes < 0)
    for (naxes = 0; naxes < rank; naxes++) axes[naxes] = naxes;
  if (count != 2 * (size_t)naxes)
    return pare__call_fail(call, PARE_ERR_SHAPE, "%zu widths for %d axes; two an axis are needed", count, naxes);
  memset(before, 0, PARE_MAX_RANK * sizeof *before);
  memset(after, 0, PARE_MAX_RANK * sizeof *after);
  for (int i = 0; i < naxes; i++) {
    before[axes[i]] = given[i];
    after[axes[i]] = given[naxes + i];
  }
  return PARE_OK;
}

static pare_status pad_value(pare__call *call, pare_dtype dtype, void *value) {
  memset(value, 0, 8);
  if (!pads_are_inputs(call)) {
    pare__store(dtype, value, 0, pare__call_get_float(call, "value", 0));
    return PARE_OK;
  }
  if (!pare__call_has(call, 2) || pare__shape_elements(&call->input[2]->shape) == 0) return PARE_OK;
  const pare__content *content;
  PARE__TRY(pare__call_content(call, 2, &content));
  if (content->count != 1 || content->dtype != dtype)
    return pare__call_fail(call, PARE_ERR_TYPE, "its constant is %zu elements of %s; one of %s is needed",
                           content->count, pare_dtype_name(content->dtype), pare_dtype_name(dtype));
  memcpy(value, content->data, pare_dtype_bytes(dtype));
  return PARE_OK;
}

static pare_status pad(pare__call *call) {
  static const char *const name[] = {"constant", "reflect", "edge", "wrap"};
  pare_tensor *data, *out;
  int64_t before[PARE_MAX_RANK], after[PARE_MAX_RANK], dim[PARE_MAX_RANK];
  uint64_t value;
  PARE__TRY(pare__call_check(call, 1, 4));
  PARE__TRY(pare__call_tensor(call, 0, &data));
  PARE__TRY(pad_widths(call, data->shape.rank, before, after));
  PARE__TRY(pad_value(call, data->dtype, &value));
  size_t mode = 0;
  while (mode < PARE__COUNT(name) && !pare__call_text_is(call, "mode", "constant", name[mode])) mode++;
  if (mode == PARE__COUNT(name))
    return pare__call_fail(call, PARE_ERR_FORMAT, "its mode is none of constant, reflect, edge, wrap");
  for (int d = 0; d < data->shape.rank; d++)
    if (!pare__i64_add(data->shape.dim[d], before[d], &dim[d]) || !pare__i64_add(dim[d], after[d], &dim[d]) ||
        dim[d] < 0)
      return pare__call_fail(call, PARE_ERR_SHAPE, "axis %d of length %lld cannot be padded by %lld and %lld", d,
                             (long long)data->shape.dim[d], (long long)before[d], (long long)after[d]);
  PARE__TRY(pare__call_output(call, 0, data->dtype, data->shape.rank, dim, &out));
  return pare_pad(data, before, after, (pare_pad_mode)mode, &value, out);
}

/* ---- com.microsoft UnfoldTensor ---- */

/* Slices of `size` along an axis, a step from each to the next: the axis counts them, and a last one is appended. */
static pare_status unfold(pare__call *call) {
  const int64_t size = pare__call_get_int(call, "size", 0), step = pare__call_get_int(call, "step", 1);
  pare_tensor *x, *view, *out;
  int axis;
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  pare__shape shape = x->shape;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "dim", -1), shape.rank, &axis));
  if (shape.rank == PARE_MAX_RANK || size < 1 || step < 1 || size > shape.dim[axis])
    return pare__call_fail(call, PARE_ERR_SHAPE, "slices of %lld in steps of %lld of an axis of %lld, of rank %d",
                           (long long)size, (long long)step, (long long)shape.dim[axis], shape.rank);
  shape.dim[shape.rank] = size;
  shape.stride[shape.rank++] = shape.stride[axis];
  shape.dim[axis] = (shape.dim[axis] - size) / step + 1;
  shape.stride[axis] *= PARE__MIN(step, x->shape.dim[axis]); /* one slice has no next one */
  PARE__TRY(pare__tensor_handle(x, &view));
  PARE__TRY(pare__call_keep(call, view));
  view->shape = shape;
  view->read_only = true;
  PARE__TRY(pare__call_output(call, 0, x->dtype, shape.rank, shape.dim, &out));
  return pare_copy(view, out);
}

#define ROW(op, since, function, on_host) \
  { "", op, since, 0, PARE__ON_DEVICE, function, on_host, .types = "any" }
const pare__operator pare__operators_index[] = {
    ROW("Concat", 1, concat, concat_on_host),
    ROW("Gather", 1, gather, gather_on_host),
    ROW("GatherElements", 11, gather_elements, NULL),
    ROW("GatherND", 11, gather_nd, NULL),
    {"", "Scatter", 9, 0, PARE__ON_DEVICE, scatter, NULL, .types = "numbers, bool"},
    {"", "ScatterElements", 11, 0, PARE__ON_DEVICE, scatter, NULL, .types = "numbers, bool"},
    {"", "ScatterND", 11, 0, PARE__ON_DEVICE, scatter, NULL, .detail = 1, .types = "numbers, bool"},
    {"com.microsoft", "GatherND", 1, 0, PARE__ON_DEVICE, gather_nd, NULL, .types = "any"},
    {"com.microsoft", "TorchEmbedding", 1, 0, PARE__ON_DEVICE, gather, NULL, .detail = 1, .types = "any"},
    ROW("Tile", 6, tile, NULL),
    ROW("Pad", 2, pad, NULL),
    {"com.microsoft", "Pad", 1, 0, PARE__ON_DEVICE, pad, NULL, .detail = 1, .types = "any"},
    {"com.microsoft", "UnfoldTensor", 1, 0, PARE__ON_DEVICE, unfold, NULL, .types = "any"},
    {0},
};
