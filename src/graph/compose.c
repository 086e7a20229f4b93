/* Small tensors and views that operators made of other operations begin with. SPDX-License-Identifier: Apache-2.0 */
#include "graph/compose.h"

#include <pare/elementwise.h>
#include <pare/move.h>
#include <stdlib.h>
#include <string.h>

pare_status pare__call_scalar(pare__call *call, pare_dtype dtype, double value, pare_tensor **out) {
  uint64_t element = 0;
  pare__store(dtype, &element, 0, value);
  return pare__call_constant(call, dtype, 0, NULL, &element, out);
}

pare_status pare__call_range(pare__call *call, pare_dtype dtype, int64_t count, int rank, int axis, pare_tensor **out) {
  int64_t dim[PARE_MAX_RANK];
  for (int d = 0; d < rank; d++) dim[d] = d == axis ? count : 1;
  size_t nbytes;
  *out = NULL;
  if (count < 0 || count > INT32_MAX || !pare__size_mul((size_t)count, pare_dtype_bytes(dtype), &nbytes))
    return pare__call_fail(call, PARE_ERR_SHAPE, "a range of %lld elements is not possible", (long long)count);
  void *data = malloc(nbytes + 1);
  if (!data) return pare__fail_memory("a range", nbytes);
  for (int64_t i = 0; i < count; i++) pare__store(dtype, data, (size_t)i, (double)i);
  const pare_status status = pare__call_constant(call, dtype, rank, dim, data, out);
  free(data);
  return status;
}

static pare_status keep_view(pare__call *call, pare_status made, pare_tensor *view, pare_tensor **out) {
  *out = NULL;
  PARE__TRY(made);
  PARE__TRY(pare__call_keep(call, view));
  *out = view;
  return PARE_OK;
}

pare_status pare__call_slice(pare__call *call, pare_tensor *tensor, int axis, int64_t start, int64_t count,
                             int64_t step, pare_tensor **out) {
  pare_tensor *view = NULL;
  const pare_status made = pare_tensor_slice(tensor, axis, start, count, step, &view);
  return keep_view(call, made, view, out);
}

pare_status pare__call_permuted(pare__call *call, pare_tensor *tensor, const int *axes, pare_tensor **out) {
  pare_tensor *view = NULL;
  const pare_status made = pare_tensor_permute(tensor, axes, &view);
  return keep_view(call, made, view, out);
}

/* The axis `from` becomes the axis `to`. */
static pare_status moved_axis(pare__call *call, pare_tensor *tensor, int from, int to, pare_tensor **out) {
  int axes[PARE_MAX_RANK] = {0};
  const int rank = tensor->shape.rank;
  if (rank < 2) return pare__call_fail(call, PARE_ERR_SHAPE, "an input of rank %d has no channels", rank);
  for (int d = 0, next = 0; d < rank; d++) {
    if (next == from) next++;
    axes[d] = d == to ? from : next++;
  }
  return pare__call_permuted(call, tensor, axes, out);
}

/* The summand of a product that its epilogue does not add; NULL: none. */
static pare_tensor *summand_apart(const pare__call *call, unsigned residual, pare_dtype dtype, int rank,
                                  const int64_t *dim) {
  pare_tensor *summand = pare__call_has(call, residual) ? call->input[residual]->tensor : NULL;
  const bool fits = summand && summand->dtype == dtype && summand->shape.rank == rank &&
                    memcmp(summand->shape.dim, dim, (size_t)rank * sizeof *dim) == 0;
  return fits ? NULL : summand;
}

pare_status pare__call_product_begin(pare__call *call, unsigned residual, pare_dtype dtype, int rank,
                                     const int64_t *dim, pare_gemm_options *options, pare_tensor **product) {
  pare_tensor *summand;
  PARE__TRY(pare__call_tensor(call, residual, &summand));
  if (summand_apart(call, residual, dtype, rank, dim)) return pare__call_scratch(call, dtype, rank, dim, product);
  options->beta = summand ? 1 : 0;
  options->summand = summand;
  return pare__call_output(call, 0, dtype, rank, dim, product);
}

pare_status pare__call_product_end(pare__call *call, unsigned residual, pare_tensor *product) {
  pare_tensor *summand = summand_apart(call, residual, product->dtype, product->shape.rank, product->shape.dim);
  if (!summand) return PARE_OK;
  pare__shape shape;
  pare_tensor *out;
  PARE__TRY(pare__shape_broadcast(&product->shape, &summand->shape, &shape));
  PARE__TRY(pare__call_output(call, 0, product->dtype, shape.rank, shape.dim, &out));
  return pare_binary(PARE_BINARY_add, product, summand, out);
}

pare_status pare__call_channels_first(pare__call *call, pare_tensor *tensor, pare_tensor **out) {
  return moved_axis(call, tensor, tensor->shape.rank - 1, 1, out);
}

pare_status pare__call_channels_last(pare__call *call, pare_tensor *tensor, pare_tensor **out) {
  return moved_axis(call, tensor, 1, tensor->shape.rank - 1, out);
}

pare_status pare__call_broadcast(pare__call *call, pare_tensor *tensor, int rank, const int64_t *dim,
                                 pare_tensor **out) {
  pare_tensor *view = NULL;
  const pare_status made = pare_tensor_broadcast(tensor, rank, dim, &view);
  return keep_view(call, made, view, out);
}

pare_status pare__call_at(pare__call *call, pare_tensor *tensor, int axis, int64_t index, pare_tensor **out) {
  PARE__TRY(pare__call_slice(call, tensor, axis, index, 1, 1, out));
  pare__shape *shape = &(*out)->shape; /* the handle is this call's own: the axis of length 1 is taken out of it */
  const size_t after = (size_t)(shape->rank - 1 - axis) * sizeof(int64_t);
  memmove(shape->dim + axis, shape->dim + axis + 1, after);
  memmove(shape->stride + axis, shape->stride + axis + 1, after);
  shape->rank--;
  return PARE_OK;
}

/* to[i] = from[i] op from[i - step], and from[i] before the step. */
static pare_status scan_step(pare__call *call, pare_binary_operation operation, int axis, int64_t step,
                             pare_tensor *from, pare_tensor *to) {
  pare_tensor *left, *right, *target;
  const int64_t length = from->shape.dim[axis];
  PARE__TRY(pare__call_slice(call, from, axis, 0, step, 1, &left));
  PARE__TRY(pare__call_slice(call, to, axis, 0, step, 1, &target));
  PARE__TRY(pare_copy(left, target));
  PARE__TRY(pare__call_slice(call, from, axis, 0, length - step, 1, &left));
  PARE__TRY(pare__call_slice(call, from, axis, step, length - step, 1, &right));
  PARE__TRY(pare__call_slice(call, to, axis, step, length - step, 1, &target));
  return pare_binary(operation, left, right, target);
}

pare_status pare__call_scan(pare__call *call, pare_binary_operation operation, int axis, pare_tensor *x,
                            pare_tensor **out) {
  pare_tensor *scratch[2] = {NULL, NULL};
  const int64_t length = x->shape.dim[axis];
  int turn = 0;
  for (int64_t step = 1; step < length; step *= 2, turn = !turn) {
    if (!scratch[turn]) PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, x->shape.dim, &scratch[turn]));
    PARE__TRY(scan_step(call, operation, axis, step, x, scratch[turn]));
    x = scratch[turn];
  }
  *out = x;
  return PARE_OK;
}

int pare__reduced_shape(const pare__shape *from, const int *axes, int count, bool keep, int64_t *dim) {
  unsigned gone = 0;
  for (int i = 0; i < count; i++) gone |= 1U << axes[i];
  int rank = 0;
  for (int d = 0; d < from->rank; d++) {
    if (!(gone >> d & 1U))
      dim[rank++] = from->dim[d];
    else if (keep)
      dim[rank++] = 1;
  }
  return rank;
}
