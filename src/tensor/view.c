/* Views: other shapes over the same storage. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "tensor/context.h"
#include "tensor/storage.h"

/* A copy of the handle that shares the storage. */
static pare_status view_of(const char *function, pare_tensor *tensor, pare_tensor **out) {
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  if (!tensor) return pare__fail_null(function, "tensor");
  PARE__TRY(pare__context_check(function, tensor->context));
  pare_tensor *view = malloc(sizeof *view);
  if (!view) return pare__fail_memory("a view", sizeof *view);
  *view = *tensor;
  pare__context_retain(view->context);
  pare__storage_retain(view->storage);
  *out = view;
  return PARE_OK;
}

pare_status pare__tensor_handle(pare_tensor *tensor, pare_tensor **out) {
  return view_of("pare__tensor_handle", tensor, out);
}

static pare_status drop(pare_tensor **view, pare_status status) {
  pare_tensor_close(*view);
  *view = NULL;
  return status;
}

/* Fills in the one dimension that is -1 and checks the count. */
static pare_status complete_shape(const pare_tensor *tensor, int rank, const int64_t *shape, pare__shape *out) {
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  int64_t dim[PARE_MAX_RANK] = {0}, known = 1, elements = pare__shape_elements(&tensor->shape);
  int unknown = -1;
  bool ok = rank >= 0 && rank <= PARE_MAX_RANK;
  for (int i = 0; ok && i < rank; i++) {
    dim[i] = shape[i];
    if (shape[i] == -1 && unknown < 0)
      unknown = i;
    else
      ok = shape[i] >= 0 && pare__i64_mul(known, shape[i], &known);
  }
  if (ok && unknown >= 0) {
    ok = known > 0 && elements % known == 0;
    if (ok) dim[unknown] = elements / known;
  }
  if (!ok || !pare__shape_set(out, rank, dim) || pare__shape_elements(out) != elements)
    return pare__fail(PARE_ERR_SHAPE, "pare_tensor_reshape: %s (%lld elements) cannot become %s",
                      pare__shape_text(tensor->shape.rank, tensor->shape.dim, have, sizeof have), (long long)elements,
                      rank >= 0 && rank <= PARE_MAX_RANK ? pare__shape_text(rank, shape, want, sizeof want)
                                                         : "a shape of that rank");
  return PARE_OK;
}

/* Gives `to` strides that walk the elements of `from` in the same order; false if no strides can. Groups of old
 * dimensions whose product equals that of a group of new ones are matched from the left; inside a group the old ones
 * must be mergeable. */
static bool restride(const pare__shape *from, pare__shape *to) {
  int64_t old_dim[PARE_MAX_RANK], old_stride[PARE_MAX_RANK];
  int nold = 0;
  for (int i = 0; i < from->rank; i++)
    if (from->dim[i] != 1) {
      old_dim[nold] = from->dim[i];
      old_stride[nold++] = from->stride[i];
    }
  int i = 0, j = 0;
  while (i < nold && j < to->rank) {
    int i_end = i + 1, j_end = j + 1;
    int64_t a = old_dim[i], b = to->dim[j];
    while (a != b) {
      if (b < a) {
        if (j_end == to->rank) return false;
        b *= to->dim[j_end++];
      } else {
        if (i_end == nold) return false;
        a *= old_dim[i_end++];
      }
    }
    for (int k = i; k + 1 < i_end; k++)
      if (old_stride[k] != old_stride[k + 1] * old_dim[k + 1]) return false;
    int64_t stride = old_stride[i_end - 1];
    for (int k = j_end - 1; k >= j; k--) {
      to->stride[k] = stride;
      stride *= to->dim[k];
    }
    i = i_end;
    j = j_end;
  }
  for (; j < to->rank; j++) to->stride[j] = 1; /* dimensions of 1 at the end */
  return true;
}

pare_status pare_tensor_reshape(pare_tensor *tensor, int rank, const int64_t *shape, pare_tensor **out) {
  PARE__TRY(view_of("pare_tensor_reshape", tensor, out));
  if (!shape && rank > 0) return drop(out, pare__fail_null("pare_tensor_reshape", "shape"));
  pare__shape target;
  pare_status status = complete_shape(tensor, rank, shape, &target);
  if (status != PARE_OK) return drop(out, status);
  if (pare__shape_elements(&target) > 0 && !pare__shape_contiguous(&tensor->shape) &&
      !restride(&tensor->shape, &target)) {
    char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
    return drop(out,
                pare__fail(PARE_ERR_SHAPE,
                           "pare_tensor_reshape: the strides of this view of shape %s do not allow %s without a copy; "
                           "copy it first",
                           pare__shape_text(tensor->shape.rank, tensor->shape.dim, have, sizeof have),
                           pare__shape_text(target.rank, target.dim, want, sizeof want)));
  }
  (*out)->shape = target;
  return PARE_OK;
}

pare_status pare_tensor_permute(pare_tensor *tensor, const int *axes, pare_tensor **out) {
  PARE__TRY(view_of("pare_tensor_permute", tensor, out));
  int rank = tensor->shape.rank;
  if (!axes && rank > 0) return drop(out, pare__fail_null("pare_tensor_permute", "axes"));
  unsigned seen = 0;
  for (int i = 0; i < rank; i++) {
    int axis;
    pare_status status = pare__axis("pare_tensor_permute", axes[i], rank, &axis);
    if (status == PARE_OK && (seen >> axis & 1U))
      status = pare__fail(PARE_ERR_ARGUMENT, "pare_tensor_permute: axis %d appears twice", axis);
    if (status != PARE_OK) return drop(out, status);
    seen |= 1U << axis;
    (*out)->shape.dim[i] = tensor->shape.dim[axis];
    (*out)->shape.stride[i] = tensor->shape.stride[axis];
  }
  return PARE_OK;
}

pare_status pare_tensor_slice(pare_tensor *tensor, int axis, int64_t start, int64_t count, int64_t step,
                              pare_tensor **out) {
  PARE__TRY(view_of("pare_tensor_slice", tensor, out));
  pare_status status = pare__axis("pare_tensor_slice", axis, tensor->shape.rank, &axis);
  if (status != PARE_OK) return drop(out, status);
  int64_t length = tensor->shape.dim[axis], reach = 0, last = start;
  bool ok = count >= 0 && step != 0 && (count == 0 || (start >= 0 && start < length));
  if (ok && count > 0)
    ok = pare__i64_mul(count - 1, step, &reach) && pare__i64_add(start, reach, &last) && last >= 0 && last < length;
  if (!ok)
    return drop(
        out, pare__fail(PARE_ERR_ARGUMENT,
                        "pare_tensor_slice: %lld elements from %lld in steps of %lld do not lie in axis %d of length "
                        "%lld",
                        (long long)count, (long long)start, (long long)step, axis, (long long)length));
  (*out)->shape.dim[axis] = count;
  if (count > 0) (*out)->offset += start * tensor->shape.stride[axis];
  if (count > 1) (*out)->shape.stride[axis] *= step;
  return PARE_OK;
}

pare_status pare_tensor_broadcast(pare_tensor *tensor, int rank, const int64_t *shape, pare_tensor **out) {
  PARE__TRY(view_of("pare_tensor_broadcast", tensor, out));
  if (!shape && rank > 0) return drop(out, pare__fail_null("pare_tensor_broadcast", "shape"));
  pare__shape target;
  const pare__shape *from = &tensor->shape;
  bool ok = rank >= from->rank && pare__shape_set(&target, rank, shape);
  for (int i = 0; ok && i < rank; i++) {
    int k = i - (rank - from->rank);
    if (k >= 0 && from->dim[k] == target.dim[i]) {
      target.stride[i] = from->stride[k];
    } else {
      ok = k < 0 || from->dim[k] == 1;
      target.stride[i] = 0;
    }
  }
  if (!ok) {
    char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
    return drop(out, pare__fail(PARE_ERR_SHAPE, "pare_tensor_broadcast: %s does not broadcast to %s",
                                pare__shape_text(from->rank, from->dim, have, sizeof have),
                                rank >= 0 && rank <= PARE_MAX_RANK ? pare__shape_text(rank, shape, want, sizeof want)
                                                                   : "a shape of that rank"));
  }
  (*out)->shape = target;
  (*out)->read_only = true;
  return PARE_OK;
}
