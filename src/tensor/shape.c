/* Shapes and strides. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "tensor/tensor.h"

bool pare__shape_set(pare__shape *shape, int rank, const int64_t *dim) {
  memset(shape, 0, sizeof *shape);
  if (rank < 0 || rank > PARE_MAX_RANK) return false;
  shape->rank = rank;
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; i--) {
    if (dim[i] < 0) return false;
    shape->dim[i] = dim[i];
    shape->stride[i] = stride;
    /* a zero dimension must not hide an overflow of the others: their strides are used in arithmetic all the same */
    if (!pare__i64_mul(stride, PARE__MAX(dim[i], 1), &stride)) return false;
  }
  return stride <= INT64_MAX / 16;
}

int64_t pare__shape_elements(const pare__shape *shape) {
  int64_t n = 1;
  for (int i = 0; i < shape->rank; i++) n *= shape->dim[i];
  return n;
}

bool pare__shape_contiguous(const pare__shape *shape) {
  int64_t stride = 1;
  for (int i = shape->rank - 1; i >= 0; i--) {
    if (shape->dim[i] == 0) return true;
    if (shape->dim[i] != 1 && shape->stride[i] != stride) return false;
    stride *= shape->dim[i];
  }
  return true;
}

bool pare__shape_equal(const pare__shape *a, const pare__shape *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i]) return false;
  return true;
}

const char *pare__shape_text(int rank, const int64_t *dim, char *text, size_t capacity) {
  size_t used = (size_t)snprintf(text, capacity, "[");
  for (int i = 0; i < rank && used < capacity; i++)
    used += (size_t)snprintf(text + used, capacity - used, "%s%lld", i ? ", " : "", (long long)dim[i]);
  if (used < capacity) snprintf(text + used, capacity - used, "]");
  return text;
}

pare_status pare__shape_broadcast(const pare__shape *a, const pare__shape *b, pare__shape *out) {
  int rank = PARE__MAX(a->rank, b->rank);
  int64_t dim[PARE_MAX_RANK] = {0};
  for (int i = 0; i < rank; i++) {
    int ia = i - (rank - a->rank), ib = i - (rank - b->rank);
    int64_t da = ia < 0 ? 1 : a->dim[ia], db = ib < 0 ? 1 : b->dim[ib];
    if (da != db && da != 1 && db != 1) {
      char ta[PARE__SHAPE_TEXT], tb[PARE__SHAPE_TEXT];
      return pare__fail(PARE_ERR_SHAPE, "shapes %s and %s do not broadcast: %lld meets %lld in dimension %d",
                        pare__shape_text(a->rank, a->dim, ta, sizeof ta),
                        pare__shape_text(b->rank, b->dim, tb, sizeof tb), (long long)da, (long long)db, i);
    }
    dim[i] = da == 1 ? db : da;
  }
  if (!pare__shape_set(out, rank, dim)) return pare__fail(PARE_ERR_SHAPE, "the broadcast shape has too many elements");
  return PARE_OK;
}

pare_status pare__axis(const char *function, int axis, int rank, int *out) {
  if (axis < -rank || axis >= rank)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: axis %d is out of range for a tensor of rank %d (-%d to %d)", function,
                      axis, rank, rank, rank - 1);
  *out = axis < 0 ? axis + rank : axis;
  return PARE_OK;
}
