/* Operators whose output is the input's elements seen in another shape or order. SPDX-License-Identifier: Apache-2.0
 *
 * Each works out a shape with strides over its input, contiguous or not. On the device that is a view; on the host the
 * elements are gathered, so that shapes can be computed. */
#include <pare/move.h>
#include <string.h>

#include "graph/operator_tables.h"

/* ---- giving a view ---- */

/* How output elements lie over the input's: the strides are the input's own. */
typedef struct seen {
  pare__shape shape;
  int64_t offset; /* from the input's first element */
  bool repeats;   /* some stride is 0: elements appear more than once */
} seen;

static pare_status give_content(pare__call *call, unsigned i, const seen *view) {
  const pare__content *from = call->input[0]->content;
  pare__content *content;
  PARE__TRY(pare__content_create(from->dtype, view->shape.rank, view->shape.dim, NULL, &content));
  if (content->count > 0)
    pare__host_gather(&view->shape, view->offset, pare_dtype_bytes(from->dtype), from->data, content->owned);
  return pare__call_give_content(call, i, content);
}

static pare_status give_view(pare__call *call, unsigned i, const seen *view) {
  pare_tensor *tensor, *handle;
  PARE__TRY(pare__call_tensor(call, 0, &tensor));
  PARE__TRY(pare__tensor_handle(tensor, &handle));
  handle->shape = view->shape;
  handle->offset += view->offset;
  handle->read_only = handle->read_only || view->repeats;
  return pare__call_give(call, i, handle);
}

/* Is this the call for contents only? Then tensors are left alone. */
static bool on_host(const pare__call *call) {
  const pare__content *first = call->input[0]->content;
  for (unsigned i = 1; i < call->ninputs; i++)
    if (call->input[i] && !call->input[i]->content) return false;
  return first && first->count <= 1024;
}

static pare_status give(pare__call *call, unsigned i, const seen *view) {
  return on_host(call) ? give_content(call, i, view) : give_view(call, i, view);
}

/* The strides of the input as it is held: a content is contiguous. */
static pare__shape input_shape(const pare__call *call) {
  const pare__slot *slot = call->input[0];
  if (on_host(call)) return slot->content->shape;
  return slot->tensor ? slot->tensor->shape : slot->content->shape;
}

static pare_status reshaped(pare__call *call, int rank, const int64_t *dim) {
  if (on_host(call)) {
    seen view = {0};
    if (!pare__shape_set(&view.shape, rank, dim))
      return pare__call_fail(call, PARE_ERR_SHAPE, "the new shape is too large");
    return give_content(call, 0, &view);
  }
  pare_tensor *tensor, *compact, *handle;
  PARE__TRY(pare__call_tensor(call, 0, &tensor));
  if (pare_tensor_reshape(tensor, rank, dim, &handle) == PARE_OK) return pare__call_give(call, 0, handle);
  PARE__TRY(pare__contiguous(tensor, &compact));
  const pare_status status = pare_tensor_reshape(compact, rank, dim, &handle);
  pare_tensor_close(compact);
  PARE__TRY(status);
  return pare__call_give(call, 0, handle);
}

/* ---- reshape ---- */

/* Puts the numbers of a shape input into a shape: 0 copies (unless allowed as itself), one -1 is what is left. */
static pare_status resolve_shape(const pare__call *call, const int64_t *asked, size_t count, bool zero_is_zero,
                                 int64_t *dim) {
  const pare__shape *from = &call->input[0]->shape;
  const int64_t elements = pare__shape_elements(from);
  int64_t known = 1;
  int unknown = -1;
  for (size_t d = 0; d < count; d++) {
    dim[d] = asked[d];
    if (asked[d] == 0 && !zero_is_zero) {
      if ((int)d >= from->rank)
        return pare__call_fail(call, PARE_ERR_SHAPE, "the new shape copies dimension %zu of an input of rank %d", d,
                               from->rank);
      dim[d] = from->dim[d];
    }
    if (dim[d] == -1) {
      if (unknown >= 0) return pare__call_fail(call, PARE_ERR_SHAPE, "the new shape has more than one -1");
      unknown = (int)d;
    } else if (dim[d] < 0 || !pare__i64_mul(known, dim[d], &known)) {
      return pare__call_fail(call, PARE_ERR_SHAPE, "the new shape has the dimension %lld", (long long)dim[d]);
    }
  }
  if (unknown >= 0) {
    dim[unknown] = known > 0 ? elements / known : 0;
    known *= dim[unknown];
  }
  if (known == elements) return PARE_OK;
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  return pare__call_fail(call, PARE_ERR_SHAPE, "%s has %lld elements and cannot become %s",
                         pare__shape_text(from->rank, from->dim, have, sizeof have), (long long)elements,
                         pare__shape_text((int)count, asked, want, sizeof want));
}

/* Whatever its shape becomes, it has the elements of the input. */
static pare_status flattened(pare__call *call) {
  const int64_t count = pare__shape_elements(&call->input[0]->shape);
  return reshaped(call, 1, &count);
}

static pare_status reshape(pare__call *call) {
  PARE__TRY(pare__call_check(call, call->node->opset < 5 ? 1 : 2, 2));
  int64_t asked[PARE_MAX_RANK], dim[PARE_MAX_RANK];
  size_t count;
  const bool by_attribute = call->node->opset < 5, counted = call->input[0]->extent == PARE__COUNTED;
  if (!by_attribute && !call->input[1]->content && pare__call_counting(call)) return flattened(call);
  if (by_attribute)
    PARE__TRY(pare__call_get_ints(call, "shape", asked, PARE_MAX_RANK, &count));
  else
    PARE__TRY(pare__call_ints(call, 1, asked, PARE_MAX_RANK, &count));
  for (size_t d = 0; counted && d < count; d++)
    if (asked[d] == 0 && pare__call_counting(call)) return flattened(call); /* copies a dimension */
  PARE__TRY(resolve_shape(call, asked, count, pare__call_get_int(call, "allowzero", 0) != 0, dim));
  return reshaped(call, (int)count, dim);
}

static pare_status flatten(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const pare__shape *from = &call->input[0]->shape;
  const int64_t axis = pare__call_get_int(call, "axis", 1);
  if (axis < -from->rank || axis > from->rank)
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "axis %lld is outside a shape of rank %d", (long long)axis,
                           from->rank);
  int64_t dim[2] = {1, 1};
  for (int d = 0; d < from->rank; d++) dim[d >= (axis < 0 ? axis + from->rank : axis)] *= from->dim[d];
  return reshaped(call, 2, dim);
}

static pare_status squeeze(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 2));
  const pare__shape from = input_shape(call);
  int axes[PARE_MAX_RANK], count;
  PARE__TRY(pare__call_axes(call, "axes", 1, from.rank, axes, &count));
  unsigned gone = 0;
  for (int d = 0; d < from.rank && count < 0; d++) gone |= (from.dim[d] == 1 ? 1U : 0U) << d;
  for (int i = 0; i < count; i++) {
    gone |= 1U << axes[i];
    if (from.dim[axes[i]] != 1)
      return pare__call_fail(call, PARE_ERR_SHAPE, "axis %d has the length %lld and cannot be squeezed out", axes[i],
                             (long long)from.dim[axes[i]]);
  }
  seen view = {0};
  for (int d = 0; d < from.rank; d++) {
    if (gone >> d & 1U) continue;
    view.shape.dim[view.shape.rank] = from.dim[d];
    view.shape.stride[view.shape.rank++] = from.stride[d];
  }
  return give(call, 0, &view);
}

static pare_status unsqueeze(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 2));
  const pare__shape from = input_shape(call);
  int64_t given[PARE_MAX_RANK];
  size_t count;
  if (pare__call_has(call, 1))
    PARE__TRY(pare__call_ints(call, 1, given, PARE_MAX_RANK, &count));
  else
    PARE__TRY(pare__call_get_ints(call, "axes", given, PARE_MAX_RANK, &count));
  const int rank = from.rank + (int)count;
  if (rank > PARE_MAX_RANK)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "the result would have rank %d; %d at most are possible", rank,
                           PARE_MAX_RANK);
  unsigned added = 0;
  for (size_t i = 0; i < count; i++) {
    int axis;
    PARE__TRY(pare__call_axis(call, given[i], rank, &axis));
    if (added >> axis & 1U) return pare__call_fail(call, PARE_ERR_ARGUMENT, "axis %d is given twice", axis);
    added |= 1U << axis;
  }
  seen view = {.shape = {.rank = rank}};
  for (int d = 0, k = 0; d < rank; d++) {
    const bool is_new = added >> d & 1U;
    view.shape.dim[d] = is_new ? 1 : from.dim[k];
    view.shape.stride[d] = is_new ? 1 : from.stride[k];
    k += !is_new;
  }
  return give(call, 0, &view);
}

/* ---- order ---- */

static pare_status transpose(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  const pare__shape from = input_shape(call);
  int64_t order[PARE_MAX_RANK];
  size_t count;
  PARE__TRY(pare__call_get_ints(call, "perm", order, PARE_MAX_RANK, &count));
  if (!pare__call_attribute(call, "perm"))
    for (count = 0; (int)count < from.rank; count++) order[count] = from.rank - 1 - (int64_t)count;
  if ((int)count != from.rank)
    return pare__call_fail(call, PARE_ERR_SHAPE, "perm has %zu axes, the input %d", count, from.rank);
  seen view = {.shape = {.rank = from.rank}};
  unsigned used = 0;
  for (int d = 0; d < from.rank; d++) {
    int axis;
    PARE__TRY(pare__call_axis(call, order[d], from.rank, &axis));
    if (used >> axis & 1U) return pare__call_fail(call, PARE_ERR_ARGUMENT, "perm names axis %d twice", axis);
    used |= 1U << axis;
    view.shape.dim[d] = from.dim[axis];
    view.shape.stride[d] = from.stride[axis];
  }
  return give(call, 0, &view);
}

/* ---- parts ---- */

typedef struct slice_arguments {
  size_t count;
  int64_t start[PARE_MAX_RANK], end[PARE_MAX_RANK], axis[PARE_MAX_RANK], step[PARE_MAX_RANK];
} slice_arguments;

static pare_status slice_inputs(pare__call *call, slice_arguments *out) {
  size_t counts[4];
  PARE__TRY(pare__call_ints(call, 1, out->start, PARE_MAX_RANK, &counts[0]));
  PARE__TRY(pare__call_ints(call, 2, out->end, PARE_MAX_RANK, &counts[1]));
  counts[2] = counts[3] = out->count = counts[0];
  for (size_t i = 0; i < out->count; i++) {
    out->axis[i] = (int64_t)i;
    out->step[i] = 1;
  }
  if (pare__call_has(call, 3)) PARE__TRY(pare__call_ints(call, 3, out->axis, PARE_MAX_RANK, &counts[2]));
  if (pare__call_has(call, 4)) PARE__TRY(pare__call_ints(call, 4, out->step, PARE_MAX_RANK, &counts[3]));
  for (int i = 1; i < 4; i++)
    if (counts[i] != out->count)
      return pare__call_fail(call, PARE_ERR_SHAPE, "starts, ends, axes and steps differ in length: %zu, %zu, %zu, %zu",
                             counts[0], counts[1], counts[2], counts[3]);
  return PARE_OK;
}

static pare_status slice_attributes(pare__call *call, slice_arguments *out) {
  size_t nends, naxes;
  PARE__TRY(pare__call_get_ints(call, "starts", out->start, PARE_MAX_RANK, &out->count));
  PARE__TRY(pare__call_get_ints(call, "ends", out->end, PARE_MAX_RANK, &nends));
  PARE__TRY(pare__call_get_ints(call, "axes", out->axis, PARE_MAX_RANK, &naxes));
  if (!pare__call_attribute(call, "axes"))
    for (naxes = 0; naxes < out->count; naxes++) out->axis[naxes] = (int64_t)naxes;
  for (size_t i = 0; i < out->count; i++) out->step[i] = 1;
  if (nends == out->count && naxes == out->count) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "starts, ends and axes differ in length: %zu, %zu, %zu", out->count,
                         nends, naxes);
}

/* Takes the elements start, start + step, … before end of one axis, as Python does. */
static void take(seen *view, int axis, int64_t start, int64_t end, int64_t step) {
  const int64_t length = view->shape.dim[axis], last = step > 0 ? length : length - 1, first = step > 0 ? 0 : -1;
  start = pare__i64_clamp(start < 0 ? start + length : start, step > 0 ? 0 : -1, last);
  /* an end far below 0 means "past the first element" when counting down */
  end = pare__i64_clamp(end < -length ? first : end < 0 ? end + length : end, first, last + (step > 0 ? 0 : 1));
  int64_t count = 0;
  if (step > 0 && end > start) count = (end - start - 1) / step + 1;
  if (step < 0 && start > end) count = (start - end - 1) / (step == INT64_MIN ? INT64_MAX : -step) + 1;
  if (count > 0) view->offset += start * view->shape.stride[axis];
  view->shape.dim[axis] = count;
  view->shape.stride[axis] *= count > 1 ? step : 1;
}

static pare_status slice(pare__call *call) {
  PARE__TRY(pare__call_check(call, call->node->opset < 10 ? 1 : 3, 5));
  slice_arguments arguments;
  PARE__TRY(call->node->opset < 10 ? slice_attributes(call, &arguments) : slice_inputs(call, &arguments));
  seen view = {.shape = input_shape(call)};
  unsigned used = 0;
  for (size_t i = 0; i < arguments.count; i++) {
    int axis;
    PARE__TRY(pare__call_axis(call, arguments.axis[i], view.shape.rank, &axis));
    if (used >> axis & 1U) return pare__call_fail(call, PARE_ERR_ARGUMENT, "axis %d is given twice", axis);
    used |= 1U << axis;
    if (arguments.step[i] == 0) return pare__call_fail(call, PARE_ERR_ARGUMENT, "a step is 0");
    take(&view, axis, arguments.start[i], arguments.end[i], arguments.step[i]);
  }
  return give(call, 0, &view);
}

/* How long each part of a Split is. */
static pare_status split_lengths(pare__call *call, int64_t length, int64_t *part) {
  const unsigned nparts = call->noutputs;
  size_t count = 0;
  if (pare__call_has(call, 1))
    PARE__TRY(pare__call_ints(call, 1, part, nparts, &count));
  else if (pare__call_attribute(call, "split"))
    PARE__TRY(pare__call_get_ints(call, "split", part, nparts, &count));
  if (count == 0) { /* equal parts, the last perhaps shorter */
    const int64_t each = pare__div_up(length, (int64_t)nparts);
    for (unsigned i = 0; i < nparts; i++) part[i] = pare__i64_clamp(length - (int64_t)i * each, 0, each);
    return PARE_OK;
  }
  if (count != nparts) return pare__call_fail(call, PARE_ERR_SHAPE, "it has %zu lengths for %u outputs", count, nparts);
  int64_t total = 0;
  bool fits = true;
  for (unsigned i = 0; i < nparts && fits; i++) {
    if (part[i] < 0)
      return pare__call_fail(call, PARE_ERR_SHAPE, "the length of output %u is %lld", i, (long long)part[i]);
    fits = pare__i64_add(total, part[i], &total);
  }
  if (fits && total == length) return PARE_OK;
  return pare__call_fail(call, PARE_ERR_SHAPE, "its %u lengths add up to %s%lld; the axis that they split is %lld long",
                         nparts, fits ? "" : "more than ", (long long)total, (long long)length);
}

static pare_status split(pare__call *call) {
  enum { MOST_PARTS = 1024 };
  PARE__TRY(pare__call_check(call, 1, 2));
  const pare__shape from = input_shape(call);
  int64_t part[MOST_PARTS] = {0}, begin = 0;
  int axis;
  if (call->noutputs > MOST_PARTS)
    return pare__call_fail(call, PARE_ERR_UNSUPPORTED, "it has %u outputs; %d at most are possible", call->noutputs,
                           MOST_PARTS);
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", 0), from.rank, &axis));
  PARE__TRY(split_lengths(call, from.dim[axis], part));
  for (unsigned i = 0; i < call->noutputs; i++) {
    seen view = {.shape = from, .offset = part[i] > 0 ? begin * from.stride[axis] : 0};
    view.shape.dim[axis] = part[i];
    begin += part[i];
    if (pare__call_wants(call, i)) PARE__TRY(give(call, i, &view));
  }
  return PARE_OK;
}

/* ---- repetition ---- */

static pare_status expand(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  int64_t asked[PARE_MAX_RANK];
  size_t count;
  PARE__TRY(pare__call_ints(call, 1, asked, PARE_MAX_RANK, &count));
  const pare__shape from = input_shape(call);
  pare__shape to, whole;
  if (!pare__shape_set(&to, (int)count, asked))
    return pare__call_fail(call, PARE_ERR_SHAPE, "the new shape has a negative dimension or is too large");
  PARE__TRY(pare__shape_broadcast(&from, &to, &whole));
  seen view = {.shape = whole};
  for (int d = 0; d < whole.rank; d++) {
    const int k = d - (whole.rank - from.rank);
    const bool stretched = k < 0 || (from.dim[k] == 1 && whole.dim[d] != 1);
    view.shape.stride[d] = stretched ? 0 : from.stride[k];
    view.repeats = view.repeats || (stretched && whole.dim[d] > 1);
  }
  return give(call, 0, &view);
}

#define VIEW(op, since, function) \
  { "", op, since, 0, PARE__IS_VIEW, function, function, .types = "any" }
const pare__operator pare__operators_view[] = {
    VIEW("Reshape", 1, reshape),
    VIEW("Flatten", 1, flatten),
    VIEW("Squeeze", 1, squeeze),
    VIEW("Unsqueeze", 1, unsqueeze),
    VIEW("Transpose", 1, transpose),
    VIEW("Slice", 1, slice),
    VIEW("Split", 1, split),
    VIEW("Expand", 8, expand),
    {"com.microsoft", "ExpandDims", 1, 0, PARE__IS_VIEW, unsqueeze, unsqueeze, .types = "any"},
    {0},
};
