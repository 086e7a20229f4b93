/* Triangles, running sums, one-hot rows, determinants and inverses. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/move.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* ---- Trilu ---- */

/* Keeps x[…][i][j] where j - i >= k (upper) or <= k. */
static pare_status trilu(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 2));
  pare_tensor *x, *k, *row, *column, *difference, *kept, *zero, *out;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &k));
  const int rank = x->shape.rank;
  if (rank < 2) return pare__call_fail(call, PARE_ERR_SHAPE, "its input has rank %d; it must be 2 at least", rank);
  if (k && (k->dtype != PARE_I64 || pare__shape_elements(&k->shape) != 1))
    return pare__call_fail(call, PARE_ERR_TYPE, "k must be one element of i64");
  const int64_t *dim = x->shape.dim + rank - 2;
  const bool upper = pare__call_get_int(call, "upper", 1) != 0;
  if (k)
    PARE__TRY(pare__call_reshaped(call, k, 0, NULL, &k));
  else
    PARE__TRY(pare__call_scalar(call, PARE_I64, 0, &k));
  PARE__TRY(pare__call_range(call, PARE_I64, dim[0], 2, 0, &row));
  PARE__TRY(pare__call_range(call, PARE_I64, dim[1], 2, 1, &column));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 2, dim, &difference));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 2, dim, &kept));
  PARE__TRY(pare_binary(PARE_BINARY_sub, column, row, difference));
  PARE__TRY(pare_binary(upper ? PARE_BINARY_greater_equal : PARE_BINARY_less_equal, difference, k, kept));
  PARE__TRY(pare__call_scalar(call, x->dtype, 0, &zero));
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank, x->shape.dim, &out));
  return pare_ternary(PARE_TERNARY_where, kept, x, zero, out);
}

/* ---- CumSum, CumProd ---- */

static pare_status cumulative(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  const pare_binary_operation operation = (pare_binary_operation)call->node->op->detail;
  pare_tensor *x, *wide, *out, *first, *rest, *identity;
  int64_t given;
  int axis;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_int(call, 1, &given));
  PARE__TRY(pare__call_axis(call, given, x->shape.rank, &axis));
  const bool exclusive = pare__call_get_int(call, "exclusive", 0) != 0;
  const int64_t length = x->shape.dim[axis];
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  if (pare__shape_elements(&x->shape) == 0) return PARE_OK;
  const bool small = x->dtype == PARE_F16 || x->dtype == PARE_BF16;
  PARE__TRY(pare__call_cast(call, x, small ? PARE_F32 : x->dtype, &wide));
  if (pare__call_get_int(call, "reverse", 0) != 0) {
    PARE__TRY(pare__call_slice(call, wide, axis, length - 1, length, -1, &wide));
    PARE__TRY(pare__call_slice(call, out, axis, length - 1, length, -1, &out));
  }
  if (!exclusive) {
    PARE__TRY(pare__call_scan(call, operation, axis, wide, &wide));
    return pare_cast(wide, out);
  }
  PARE__TRY(pare__call_slice(call, wide, axis, 0, length - 1, 1, &wide));
  if (length > 1) PARE__TRY(pare__call_scan(call, operation, axis, wide, &wide));
  PARE__TRY(pare__call_scalar(call, x->dtype, operation == PARE_BINARY_mul, &identity));
  PARE__TRY(pare__call_slice(call, out, axis, 0, 1, 1, &first));
  PARE__TRY(pare__call_slice(call, out, axis, 1, length - 1, 1, &rest));
  PARE__TRY(pare_copy(identity, first));
  return pare_cast(wide, rest);
}

/* ---- OneHot ---- */

/* out[…][j][…] = values[j == indices[…]], negative indices from the end; values are {off, on}. */
static pare_status one_hot(pare__call *call) {
  PARE__TRY(pare__call_check(call, 3, 3));
  pare_tensor *indices, *values, *on, *off, *depth, *zero, *negative, *from_end, *place, *hot, *out;
  double given;
  int axis;
  PARE__TRY(pare__call_tensor(call, 0, &indices));
  PARE__TRY(pare__call_number(call, 1, &given));
  PARE__TRY(pare__call_tensor(call, 2, &values));
  const int rank = indices->shape.rank + 1;
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", -1), rank, &axis));
  if (!(given >= 0 && given < 0x1p53))
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "its depth is %g; it must not be negative", given);
  if (values->shape.rank != 1 || values->shape.dim[0] != 2 || rank > PARE_MAX_RANK)
    return pare__call_fail(call, PARE_ERR_SHAPE,
                           "values of rank %d with %lld elements; indices of rank %d: two values "
                           "and a result of rank %d at most are possible",
                           values->shape.rank, (long long)pare__shape_elements(&values->shape), rank - 1,
                           PARE_MAX_RANK);
  int64_t dim[PARE_MAX_RANK], spread[PARE_MAX_RANK];
  for (int d = 0, k = 0; d < rank; d++) {
    spread[d] = d == axis ? 1 : indices->shape.dim[k++];
    dim[d] = d == axis ? (int64_t)given : spread[d];
  }
  PARE__TRY(pare__call_cast(call, indices, PARE_I64, &indices));
  PARE__TRY(pare__call_reshaped(call, indices, rank, spread, &indices));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)(int64_t)given, &depth));
  PARE__TRY(pare__call_scalar(call, PARE_I64, 0, &zero));
  PARE__TRY(pare__call_range(call, PARE_I64, (int64_t)given, rank, axis, &place));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, rank, spread, &negative));
  PARE__TRY(pare__call_scratch(call, PARE_I64, rank, spread, &from_end));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, rank, dim, &hot));
  PARE__TRY(pare_binary(PARE_BINARY_less, indices, zero, negative));
  PARE__TRY(pare_binary(PARE_BINARY_add, indices, depth, from_end));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, negative, from_end, indices, from_end));
  PARE__TRY(pare_binary(PARE_BINARY_equal, from_end, place, hot));
  PARE__TRY(pare__call_at(call, values, 0, 0, &off));
  PARE__TRY(pare__call_at(call, values, 0, 1, &on));
  PARE__TRY(pare__call_output(call, 0, values->dtype, rank, dim, &out));
  return pare_ternary(PARE_TERNARY_where, hot, on, off, out);
}

/* ---- Det, Inverse: by elimination with partial pivots, all matrices at once ---- */

typedef struct elimination {
  pare__call *call;
  pare_dtype dtype;
  int64_t count, size, columns;
  pare_tensor *matrix;             /* [count, size, columns], changed on the way */
  pare_tensor *work;               /* the same shape */
  pare_tensor *product;            /* [count, 1, 1]; NULL: not asked for */
  pare_tensor *zero, *one, *minus; /* scalars */
} elimination;

/* *out = the rows of `all` from `row` on, of the columns from `column` on. */
static pare_status from_step(const elimination *e, pare_tensor *all, int64_t row, int64_t column, pare_tensor **out) {
  PARE__TRY(pare__call_slice(e->call, all, 1, row, e->size - row, 1, out));
  return pare__call_slice(e->call, *out, 2, column, e->columns - column, 1, out);
}

/* Swaps row `step` of every matrix with the one of the largest pivot; the product changes its sign where they differ.
 */
static pare_status swap_pivot(elimination *e, int64_t step) {
  pare__call *call = e->call;
  const int64_t rest = e->size - step, column[3] = {e->count, rest, 1}, one[3] = {e->count, 1, 1};
  const int64_t part[3] = {e->count, rest, e->columns - step};
  pare_tensor *below, *magnitude, *pivot, *row, *first, *is_pivot, *is_first, *index, *swapped, *sign, *none;
  PARE__TRY(from_step(e, e->matrix, step, step, &below));
  PARE__TRY(from_step(e, e->work, step, step, &swapped));
  PARE__TRY(pare__call_slice(call, below, 2, 0, 1, 1, &row));
  PARE__TRY(pare__call_scratch(call, e->dtype, 3, column, &magnitude));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 3, one, &pivot));
  PARE__TRY(pare_unary(PARE_UNARY_abs, row, magnitude));
  PARE__TRY(pare_arg_max(magnitude, 1, true, false, pivot));
  PARE__TRY(pare__call_range(call, PARE_I64, rest, 3, 1, &row));
  PARE__TRY(pare__call_scalar(call, PARE_I64, 0, &first));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, column, &is_pivot));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, (const int64_t[]){1, rest, 1}, &is_first));
  PARE__TRY(pare__call_scratch(call, PARE_I64, 3, column, &index));
  PARE__TRY(pare_binary(PARE_BINARY_equal, row, pivot, is_pivot));
  PARE__TRY(pare_binary(PARE_BINARY_equal, row, first, is_first));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, is_pivot, first, row, index));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, is_first, pivot, index, index));
  PARE__TRY(pare__call_broadcast(call, index, 3, part, &index));
  PARE__TRY(pare_gather_elements(below, index, 1, swapped));
  PARE__TRY(pare_copy(swapped, below));
  if (!e->product) return PARE_OK;
  PARE__TRY(pare__call_scratch(call, e->dtype, 3, one, &sign));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, one, &none));
  PARE__TRY(pare_binary(PARE_BINARY_equal, pivot, first, none));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, none, e->one, e->minus, sign));
  return pare_binary(PARE_BINARY_mul, e->product, sign, e->product);
}

/* Subtracts multiples of row `step` from those below it, and multiplies the product by the pivot. */
static pare_status eliminate(elimination *e, int64_t step) {
  pare__call *call = e->call;
  const int64_t rest = e->size - step - 1, one[3] = {e->count, 1, 1};
  pare_tensor *row, *pivot, *right, *left, *below, *singular, *factor, *part;
  PARE__TRY(pare__call_slice(call, e->matrix, 1, step, 1, 1, &row));
  PARE__TRY(pare__call_slice(call, row, 2, step, 1, 1, &pivot));
  PARE__TRY(pare_binary(PARE_BINARY_mul, e->product, pivot, e->product));
  if (rest == 0) return PARE_OK;
  PARE__TRY(pare__call_slice(call, row, 2, step + 1, rest, 1, &right));
  PARE__TRY(from_step(e, e->matrix, step + 1, step, &below));
  PARE__TRY(pare__call_slice(call, below, 2, 0, 1, 1, &left));
  PARE__TRY(from_step(e, e->matrix, step + 1, step + 1, &below));
  PARE__TRY(from_step(e, e->work, step + 1, step + 1, &part));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, one, &singular));
  PARE__TRY(pare__call_scratch(call, e->dtype, 3, (const int64_t[]){e->count, rest, 1}, &factor));
  PARE__TRY(pare_binary(PARE_BINARY_equal, pivot, e->zero, singular));
  PARE__TRY(pare_binary(PARE_BINARY_div, left, pivot, factor));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, singular, e->zero, factor, factor));
  PARE__TRY(pare_binary(PARE_BINARY_mul, factor, right, part));
  return pare_binary(PARE_BINARY_sub, below, part, below);
}

/* Input 0 as a stack of square matrices, and the scalars. */
static pare_status begin_elimination(elimination *e, pare_tensor **x) {
  pare__call *call = e->call;
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(pare__call_tensor(call, 0, x));
  const pare__shape *shape = &(*x)->shape;
  const int rank = shape->rank;
  if (rank < 2 || shape->dim[rank - 1] != shape->dim[rank - 2])
    return pare__call_fail(call, PARE_ERR_SHAPE, "its input is no stack of square matrices");
  e->dtype = (*x)->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  e->size = e->columns = shape->dim[rank - 1];
  e->count = 1;
  for (int d = 0; d < rank - 2; d++) e->count *= shape->dim[d];
  PARE__TRY(pare__call_scalar(call, e->dtype, 0, &e->zero));
  PARE__TRY(pare__call_scalar(call, e->dtype, 1, &e->one));
  return pare__call_scalar(call, e->dtype, -1, &e->minus);
}

static pare_status det(pare__call *call) {
  elimination e = {.call = call};
  pare_tensor *x, *out;
  PARE__TRY(begin_elimination(&e, &x));
  const int rank = x->shape.rank;
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank - 2, x->shape.dim, &out));
  PARE__TRY(pare__call_scratch(call, e.dtype, rank, x->shape.dim, &e.matrix));
  PARE__TRY(pare_cast(x, e.matrix));
  PARE__TRY(pare__call_reshaped(call, e.matrix, 3, (const int64_t[]){e.count, e.size, e.size}, &e.matrix));
  PARE__TRY(pare__call_scratch(call, e.dtype, 3, e.matrix->shape.dim, &e.work));
  PARE__TRY(pare__call_scratch(call, e.dtype, 3, (const int64_t[]){e.count, 1, 1}, &e.product));
  PARE__TRY(pare_copy(e.one, e.product));
  for (int64_t step = 0; step < e.size && e.count > 0; step++) {
    PARE__TRY(swap_pivot(&e, step));
    PARE__TRY(eliminate(&e, step));
  }
  PARE__TRY(pare__call_reshaped(call, e.product, rank - 2, x->shape.dim, &e.product));
  return pare_cast(e.product, out);
}

/* Divides row `step` by its pivot, and subtracts multiples of it from all others, so that column `step` is that of the
 * identity. */
static pare_status reduce_column(elimination *e, int64_t step) {
  pare__call *call = e->call;
  const int64_t right_columns = e->columns - step - 1, column[3] = {e->count, e->size, 1};
  pare_tensor *row, *pivot, *right, *left, *all, *factor, *part, *place, *here, *at;
  PARE__TRY(pare__call_slice(call, e->matrix, 1, step, 1, 1, &row));
  PARE__TRY(pare__call_slice(call, row, 2, step, 1, 1, &pivot));
  PARE__TRY(pare__call_slice(call, row, 2, step + 1, right_columns, 1, &right));
  PARE__TRY(pare_binary(PARE_BINARY_div, right, pivot, right));
  PARE__TRY(pare__call_range(call, PARE_I64, e->size, 3, 1, &place));
  PARE__TRY(pare__call_scalar(call, PARE_I64, (double)step, &at));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, (const int64_t[]){1, e->size, 1}, &here));
  PARE__TRY(pare_binary(PARE_BINARY_equal, place, at, here));
  PARE__TRY(pare__call_slice(call, e->matrix, 2, step, 1, 1, &left));
  PARE__TRY(pare__call_scratch(call, e->dtype, 3, column, &factor));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, here, e->zero, left, factor));
  PARE__TRY(from_step(e, e->matrix, 0, step + 1, &all));
  PARE__TRY(from_step(e, e->work, 0, step + 1, &part));
  PARE__TRY(pare_binary(PARE_BINARY_mul, factor, right, part));
  return pare_binary(PARE_BINARY_sub, all, part, all);
}

/* com.microsoft Inverse: [x | 1] becomes [1 | the inverse] (Gauss & Jordan). Of singular matrices no element is finite
 * that depends on the missing pivot. */
static pare_status inverse(pare__call *call) {
  elimination e = {.call = call};
  pare_tensor *x, *out, *half, *row, *column, *identity;
  PARE__TRY(begin_elimination(&e, &x));
  const int rank = x->shape.rank;
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank, x->shape.dim, &out));
  if (pare__shape_elements(&x->shape) == 0) return PARE_OK;
  const int64_t square[3] = {e.count, e.size, e.size};
  e.columns = 2 * e.size;
  PARE__TRY(pare__call_scratch(call, e.dtype, 3, (const int64_t[]){e.count, e.size, e.columns}, &e.matrix));
  PARE__TRY(pare__call_scratch(call, e.dtype, 3, e.matrix->shape.dim, &e.work));
  PARE__TRY(pare__call_slice(call, e.matrix, 2, 0, e.size, 1, &half));
  PARE__TRY(pare__call_reshaped(call, x, 3, square, &x));
  PARE__TRY(pare_cast(x, half));
  PARE__TRY(pare__call_range(call, PARE_I64, e.size, 3, 1, &row));
  PARE__TRY(pare__call_range(call, PARE_I64, e.size, 3, 2, &column));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 3, (const int64_t[]){1, e.size, e.size}, &identity));
  PARE__TRY(pare_binary(PARE_BINARY_equal, row, column, identity));
  PARE__TRY(pare__call_slice(call, e.matrix, 2, e.size, e.size, 1, &half));
  PARE__TRY(pare_cast(identity, half));
  for (int64_t step = 0; step < e.size; step++) {
    PARE__TRY(swap_pivot(&e, step));
    PARE__TRY(reduce_column(&e, step));
  }
  PARE__TRY(pare__call_reshaped(call, out, 3, square, &out));
  return pare_cast(half, out);
}

const pare__operator pare__operators_triangle[] = {
    {"", "Trilu", 14, 0, PARE__ON_DEVICE, trilu, NULL, .types = "numbers, bool"},
    {"com.microsoft", "Trilu", 1, 0, PARE__ON_DEVICE, trilu, NULL, .types = "numbers, bool"},
    {"", "CumSum", 11, 0, PARE__ON_DEVICE, cumulative, NULL, .detail = PARE_BINARY_add, .types = "numbers"},
    {"", "CumProd", 26, 0, PARE__ON_DEVICE, cumulative, NULL, .detail = PARE_BINARY_mul, .types = "numbers"},
    {"", "OneHot", 9, 0, PARE__ON_DEVICE, one_hot, NULL, .types = "numbers, bool"},
    {"", "Det", 11, 0, PARE__ON_DEVICE, det, NULL, .types = "floats"},
    {"com.microsoft", "Inverse", 1, 0, PARE__ON_DEVICE, inverse, NULL, .types = "floats"},
    {0},
};
