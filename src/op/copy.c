/* Copies between any strides: transposes where two axes change places, else element by element.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "kernel/elementwise.h"
#include "kernel/family_transpose.h"
#include "kernel/walk.h"
#include "op/op.h"

/* Only bits move: every dtype of a size travels as one integer type, so that there are few programs. */
static pare_dtype carrier(pare_dtype dtype) {
  switch (pare_dtype_bytes(dtype)) {
  case 1: return PARE_U8;
  case 2: return PARE_I16;
  case 4: return PARE_I32;
  default: return PARE_I64;
  }
}

/* Shape and strides of a binding, right-aligned to PARE_MAX_RANK dimensions. */
static void align_right(const pare__shape *shape, int64_t *dim, int64_t *stride) {
  int missing = PARE_MAX_RANK - shape->rank;
  for (int i = 0; i < PARE_MAX_RANK; i++) {
    dim[i] = i < missing ? 1 : shape->dim[i - missing];
    stride[i] = i < missing ? 0 : shape->stride[i - missing];
  }
}

/* Is this copy a transpose worth its own kernel? */
static bool as_transpose(const pare__walk *walk, pare_dtype dtype, pare__problem *problem) {
  const int64_t least = 8; /* elements along either axis */
  int column = 1;
  if (walk->rank < 2 || walk->stride[1][0] != 1 || walk->stride[0][0] == 1 || walk->dim[0] < least) return false;
  while (column < walk->rank && walk->stride[0][column] != 1) column++;
  if (column == walk->rank || walk->rank > 4 || walk->dim[column] < least) return false;
  memset(problem, 0, sizeof *problem);
  problem->dtype[0] = problem->dtype[1] = dtype;
  int64_t *dim = problem->dim;
  dim[TRANSPOSE_ROWS] = walk->dim[0];
  dim[TRANSPOSE_COLUMNS] = walk->dim[column];
  dim[TRANSPOSE_X_ROW] = walk->stride[0][0];
  dim[TRANSPOSE_Y_COLUMN] = walk->stride[1][column];
  dim[TRANSPOSE_BATCH0] = dim[TRANSPOSE_BATCH1] = 1;
  for (int d = 1, batch = 1; d < walk->rank; d++) {
    if (d == column) continue;
    dim[TRANSPOSE_BATCH0 + batch] = walk->dim[d];
    dim[TRANSPOSE_X_BATCH0 + batch] = walk->stride[0][d];
    dim[TRANSPOSE_Y_BATCH0 + batch] = walk->stride[1][d];
    batch--;
  }
  return true;
}

static pare_status copy_run(const pare__piece *piece) {
  const pare__binding *x = &piece->binding[0], *y = &piece->binding[1];
  int64_t dim[PARE_MAX_RANK], x_stride[PARE_MAX_RANK], y_stride[PARE_MAX_RANK];
  align_right(&x->shape, dim, x_stride);
  align_right(&y->shape, dim, y_stride);
  const int64_t *strides[] = {x_stride, y_stride};
  pare__walk walk;
  pare__walk_make(&walk, dim, 2, strides, 1);
  if (walk.count == 0) return PARE_OK;
  pare_dtype dtype = carrier(x->dtype);
  pare__problem problem;
  if (as_transpose(&walk, dtype, &problem)) {
    const pare__operand operand[] = {{x->mem, x->offset}, {y->mem, y->offset}};
    return pare__run_family(piece->device, &pare__family_transpose, &problem, operand);
  }
  memset(&problem, 0, sizeof problem);
  problem.mode = PARE__CAST;
  problem.dtype[0] = problem.dtype[PARE__ELEMENTWISE_OUT] = dtype;
  memcpy(problem.dim, dim, sizeof dim);
  memcpy(pare__elementwise_strides(&problem, 0), x_stride, sizeof x_stride);
  memcpy(pare__elementwise_strides(&problem, PARE__ELEMENTWISE_OUT), y_stride, sizeof y_stride);
  const pare__operand operand[PARE__ELEMENTWISE_OUT + 1] = {
      [0] = {x->mem, x->offset}, [PARE__ELEMENTWISE_OUT] = {y->mem, y->offset}};
  return pare__run_family(piece->device, &pare__family_elementwise, &problem, operand);
}

static const pare__codelet copy_codelet = {"copy", copy_run};

pare_status pare__copy(pare_tensor *from, pare_tensor *to) {
  int axis = 0;
  for (int d = 1; d < to->shape.rank; d++)
    if (to->shape.dim[d] > to->shape.dim[axis]) axis = d;
  bool scalar = to->shape.rank == 0;
  pare__task task = {.codelet = &copy_codelet,
                     .context = to->context,
                     .n = scalar ? 1 : to->shape.dim[axis],
                     .naccesses = 2,
                     .access = {{from, PARE__READ, scalar ? PARE__WHOLE : axis, 1},
                                {to, PARE__WRITE, scalar ? PARE__WHOLE : axis, 1}}};
  return pare__submit(&task);
}

pare_status pare__contiguous(pare_tensor *tensor, pare_tensor **out) {
  *out = NULL;
  if (pare__shape_contiguous(&tensor->shape))
    return pare_tensor_reshape(tensor, tensor->shape.rank, tensor->shape.dim, out);
  pare_tensor *copy;
  PARE__TRY(pare__tensor_scratch(tensor->context, tensor->dtype, tensor->shape.rank, tensor->shape.dim,
                                 "a compact copy of a strided tensor", &copy));
  pare_status status = pare__copy(tensor, copy);
  if (status != PARE_OK) {
    pare_tensor_close(copy);
    return status;
  }
  *out = copy;
  return PARE_OK;
}
