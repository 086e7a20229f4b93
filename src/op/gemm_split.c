/* Along which axis a product is split: by batch, heads, rows or columns. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "op/gemm.h"

enum { COLUMNS = 64 }; /* of a step, where B is not packed: kernels take so many at least */

static void drop_axis(pare__shape *shape, int axis) {
  const size_t behind = (size_t)(shape->rank - axis - 1);
  memmove(shape->dim + axis, shape->dim + axis + 1, behind * sizeof *shape->dim);
  memmove(shape->stride + axis, shape->stride + axis + 1, behind * sizeof *shape->stride);
  shape->rank--;
}

/* Whether the operand steps evenly through C's dimensions d and d + 1, or through neither. */
static bool goes_on(const pare__shape *operand, const pare__shape *c, int d) {
  const int64_t *dim = operand->dim + d, *stride = operand->stride + d;
  if (c->dim[d] == 1 || c->dim[d + 1] == 1 || (dim[0] == 1 && dim[1] == 1)) return true;
  return dim[0] == c->dim[d] && dim[1] == c->dim[d + 1] && stride[0] == stride[1] * dim[1];
}

static void join_axes(pare__shape *shape, int d) {
  if (shape->dim[d + 1] != 1) shape->stride[d] = shape->stride[d + 1];
  shape->dim[d] *= shape->dim[d + 1];
  drop_axis(shape, d + 1);
}

/* C's dimensions d and d + 1 become one if all operands allow it; d + 1 may be its rows, of which B knows nothing. */
static void join_if_even(pare__product_split *split, int d) {
  const pare__shape *c = &split->c.shape;
  const bool into_rows = d + 1 == c->rank - 2;
  pare__shape *const operand[] = {&split->a.shape, &split->summand.shape, &split->c.shape};
  for (size_t i = 0; i < PARE__COUNT(operand); i++)
    if (!goes_on(operand[i], c, d)) return;
  if (into_rows && c->dim[d] != 1 && (split->b.shape.dim[d] != 1 || split->bias_rows || c->dim[d + 1] == 1)) return;
  if (!into_rows && !goes_on(&split->b.shape, c, d)) return;
  if (into_rows)
    drop_axis(&split->b.shape, d);
  else
    join_axes(&split->b.shape, d);
  join_axes(&split->a.shape, d);
  join_axes(&split->summand.shape, d);
  join_axes(&split->c.shape, d);
}

static double bytes_of(const pare_tensor *tensor) {
  return (double)pare__shape_elements(&tensor->shape) * (double)pare_dtype_bytes(tensor->dtype);
}

/* Bytes for one of so many like devices: of what is sliced its share, and a quarter of a piece, which rounding to whole
 * pieces costs on average; all of what is not. */
static double bytes_each(const pare__product_split *split, int axis, int64_t steps, size_t ndevices) {
  const pare_tensor *const operand[] = {&split->a, &split->b, &split->c};
  const double share = PARE__MIN(1 / (double)ndevices + 0.25 / (double)steps, 1);
  const int rows = split->c.shape.rank - 2;
  double sum = 0;
  for (int i = 0; i < 3; i++) {
    const bool sliced = axis == rows  ? operand[i] != &split->b && operand[i]->shape.dim[axis] != 1
                        : axis > rows ? operand[i] != &split->a
                                      : operand[i]->shape.dim[axis] != 1;
    sum += bytes_of(operand[i]) * (sliced ? share : 1);
  }
  return sum;
}

bool pare__divides_columns(const pare_context *context, int64_t rows) {
  return rows <= GEMV_MOST_ROWS && pare__context_members(context) > 1;
}

/* Few large pieces leave devices idle; many that need all of B, such as groups of the heads that share a key or rows of
 * one head, read it as often. The first of equal ones, whose pieces lie together. */
void pare__product_split_of(const pare__product *product, size_t ndevices, pare__product_split *out) {
  *out = (pare__product_split){.a = *product->a, .b = *product->b, .c = *product->c};
  out->summand = product->summand ? *product->summand : *product->c;
  out->bias_rows = product->bias && product->bias->shape.dim[0] != 1;
  for (int d = out->c.shape.rank - 3; d >= 0; d--) join_if_even(out, d);
  const int rows = out->c.shape.rank - 2;
  const bool columns = pare__divides_columns(product->c->context, out->c.shape.dim[rows]);
  double least = 0;
  out->axis = rows;
  out->steps = out->c.shape.dim[rows];
  out->per_step = 1;
  for (int axis = 0; axis <= rows + columns; axis++) {
    const int64_t per_step = axis > rows ? product->panel > 0 ? product->panel : COLUMNS : 1;
    const int64_t steps = pare__div_up(out->c.shape.dim[axis], per_step);
    if (steps <= 1) continue;
    const double nbytes = bytes_each(out, axis, steps, ndevices);
    if (least > 0 && nbytes >= least) continue;
    least = nbytes;
    out->axis = axis;
    out->steps = steps;
    out->per_step = per_step;
  }
}
