/* Reductions: one pass a group of axes, more where the axis is long. SPDX-License-Identifier: Apache-2.0
 *
 * Dimensions of x are merged into runs that are reduced or kept. One pass reduces the last reduced run, which leaves a
 * smaller tensor; passes go on until none is left. A run longer than a block becomes a row of partial results first, so
 * that one long sum uses the whole device, can be staged in pieces, and always adds in the same order. */
#include "op/reduce.h"

#include <pare/reduce.h>
#include <string.h>

typedef struct reduce_params {
  pare__problem whole;
} reduce_params;

/* ---- one pass ---- */

enum { X, SECOND, Y, Y_SECOND };

static pare_status run_pass(const pare__piece *piece) {
  const reduce_params *params = piece->params;
  pare__problem problem = params->whole;
  const pare__binding *x = &piece->binding[X];
  const pare__binding *y = piece->binding[Y].mem ? &piece->binding[Y] : &piece->binding[Y_SECOND];
  int64_t block = problem.dim[PARE__REDUCE_BLOCK];
  bool split_blocks = y->shape.dim[1] != PARE__MAX(1, pare__div_up(problem.dim[PARE__REDUCE_REDUCED], block));
  problem.dim[PARE__REDUCE_OUTER] = x->shape.dim[0];
  problem.dim[PARE__REDUCE_REDUCED] = x->shape.dim[1];
  problem.dim[PARE__REDUCE_INNER] = x->shape.dim[2];
  problem.dim[PARE__REDUCE_X_OUTER] = x->shape.stride[0];
  problem.dim[PARE__REDUCE_X_REDUCED] = x->shape.stride[1];
  problem.dim[PARE__REDUCE_Y_OUTER] = y->shape.stride[0];
  problem.dim[PARE__REDUCE_Y_BLOCK] = y->shape.stride[1];
  problem.dim[PARE__REDUCE_POSITION] = split_blocks ? piece->begin * block : 0;
  pare__operand operand[4];
  for (int i = 0; i < 4; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_reduce, &params->whole, &choice));
  return pare__run_choice(piece->device, &pare__family_reduce, &choice, &params->whole, &problem, operand);
}

static const pare__codelet reduce_codelet = {"reduce", run_pass};

pare_tensor pare__reduce_seen(const pare_tensor *tensor, const pare__reduce_view *view) {
  pare_tensor seen = *tensor;
  seen.shape = (pare__shape){.rank = 3,
                             .dim = {view->outer, view->reduced, view->inner},
                             .stride = {view->outer_stride, view->reduced_stride, 1}};
  return seen;
}

/* The longest of outer, blocks and inner is the split axis: pieces stay small enough to be staged. */
static int split_axis(const int64_t *length) {
  int axis = 0;
  for (int i = 1; i < 3; i++)
    if (length[i] > length[axis]) axis = i;
  return axis;
}

/* [outer][reduced][inner] to contiguous [outer][blocks][inner]. */
static pare_status submit_pass(int mode, pare_tensor *x, pare_tensor *second, const pare__reduce_view *view,
                               int64_t count, pare_tensor *out, pare_tensor *out_second) {
  int64_t block = pare__reduce_block(view->reduced, view->inner);
  int64_t blocks = PARE__MAX(1, pare__div_up(view->reduced, block));
  pare__reduce_view y_view = {view->outer, blocks, view->inner, blocks * view->inner, view->inner};
  bool spread = (mode & PARE__REDUCE_OPERATION) == PARE__REDUCE_SPREAD && (mode & PARE__REDUCE_FIRST);
  pare__reduce_view second_view =
      spread ? (pare__reduce_view){view->outer, 1, view->inner, view->inner, view->inner} : *view;
  const int64_t length[3] = {view->outer, blocks, view->inner};
  int axis = split_axis(length);
  if (spread && axis == 2) axis = view->outer > 1 ? 0 : 1; /* centres are read as contiguous rows */
  pare_tensor seen[4] = {pare__reduce_seen(x, view)};
  pare_tensor *const given[4] = {x, second, out, out_second};
  reduce_params params;
  memset(&params, 0, sizeof params);
  pare__problem *whole = &params.whole;
  whole->mode = mode;
  const int64_t dims[] = {view->outer,          view->reduced,       view->inner,           block, view->outer_stride,
                          view->reduced_stride, y_view.outer_stride, y_view.reduced_stride, 0,     count};
  memcpy(whole->dim, dims, sizeof dims);
  pare__task task = {.codelet = &reduce_codelet,
                     .context = x->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = length[axis],
                     .naccesses = 4};
  for (int i = 0; i < 4; i++) {
    if (!given[i]) continue;
    whole->dtype[i] = given[i]->dtype;
    seen[i] = pare__reduce_seen(given[i], i == 0 ? view : i == 1 ? &second_view : &y_view);
    task.access[i] = (pare__access){&seen[i], i < 2 ? PARE__READ : PARE__WRITE, axis, i < 2 && axis == 1 ? block : 1};
    if (i == 1 && spread && axis == 1) task.access[i].axis = PARE__WHOLE;
  }
  if (view->outer == 0 || view->inner == 0) return PARE_OK;
  return pare__submit(&task);
}

pare_status pare__reduce_axis(int mode, pare_tensor *x, pare_tensor *second, const pare__reduce_view *view,
                              int64_t count, pare_tensor *out, pare_tensor *out_second) {
  int64_t blocks = pare__div_up(view->reduced, pare__reduce_block(view->reduced, view->inner));
  if (blocks <= 1) return submit_pass(mode, x, second, view, count, out, out_second);
  const int64_t dims[3] = {view->outer, blocks, view->inner};
  pare_dtype partial = pare__reduce_partial(mode, x->dtype);
  bool index = (mode & PARE__REDUCE_OPERATION) == PARE__REDUCE_ARG_MIN ||
               (mode & PARE__REDUCE_OPERATION) == PARE__REDUCE_ARG_MAX;
  pare_tensor *part = NULL, *part_second = NULL;
  pare_status status = pare__tensor_scratch(x->context, partial, 3, dims, "partial results of a reduction", &part);
  if (status == PARE_OK && pare__reduce_is_pair(mode))
    status = pare__tensor_scratch(x->context, index ? PARE_I64 : partial, 3, dims, "partial results of a reduction",
                                  &part_second);
  if (status == PARE_OK) status = submit_pass(mode & ~PARE__REDUCE_FINAL, x, second, view, count, part, part_second);
  pare__reduce_view rest = {view->outer, blocks, view->inner, blocks * view->inner, view->inner};
  if (status == PARE_OK)
    status = pare__reduce_axis(mode & ~PARE__REDUCE_FIRST, part, part_second, &rest, count, out, out_second);
  pare_tensor_close(part);
  pare_tensor_close(part_second);
  return status;
}

/* ---- any set of axes ---- */

typedef struct dim_run {
  int64_t length, stride;
  bool reduced;
} dim_run;

typedef struct runs {
  int count;
  dim_run run[PARE_MAX_RANK];
} runs;

/* Merges neighbouring dimensions that are both reduced or both kept and lie behind each other. */
static runs merge_dims(const pare__shape *shape, const bool *reduced) {
  runs r = {0};
  for (int d = 0; d < shape->rank; d++) {
    if (shape->dim[d] == 1) continue;
    dim_run *last = r.count ? &r.run[r.count - 1] : NULL;
    if (last && last->reduced == reduced[d] && last->stride == shape->dim[d] * shape->stride[d]) {
      last->length *= shape->dim[d];
      last->stride = shape->stride[d];
    } else {
      r.run[r.count++] = (dim_run){shape->dim[d], shape->stride[d], reduced[d]};
    }
  }
  return r;
}

/* One pass over x where it lies, if its runs are [kept] reduced [kept] with the last one dense; also a reduced run
 * after a dense kept one. */
static bool direct_view(const runs *r, pare__reduce_view *view) {
  const dim_run *run = r->run;
  int n = r->count;
  *view = (pare__reduce_view){1, 1, 1, 0, 1};
  if (n == 0) return true;
  if (n == 2 && !run[0].reduced && run[1].reduced && run[0].stride == 1 && run[1].stride != 1) {
    *view = (pare__reduce_view){1, run[1].length, run[0].length, 0, run[1].stride};
    return true;
  }
  int at = 0;
  if (!run[0].reduced) {
    view->outer = run[0].length;
    view->outer_stride = run[0].stride;
    at = 1;
  }
  if (at < n && run[at].reduced) {
    view->reduced = run[at].length;
    view->reduced_stride = run[at].stride;
    at++;
  }
  if (at < n && !run[at].reduced) {
    view->inner = run[at].length;
    if (run[at].stride != 1) return false;
    at++;
  } else if (view->reduced_stride != 1) {
    return false;
  }
  if (view->reduced_stride < 0 || view->outer_stride < 0) return false;
  return at == n;
}

/* Removes the last reduced run of a contiguous tensor; false if there is none. */
static bool last_reduced(runs *r, pare__reduce_view *view) {
  int at = r->count - 1;
  while (at >= 0 && !r->run[at].reduced) at--;
  if (at < 0) return false;
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < at; i++) outer *= r->run[i].length;
  for (int i = at + 1; i < r->count; i++) inner *= r->run[i].length;
  int64_t length = r->run[at].length;
  *view = (pare__reduce_view){outer, length, inner, length * inner, inner};
  for (int i = at; i + 1 < r->count; i++) r->run[i] = r->run[i + 1];
  r->count--;
  return true;
}

static bool any_reduced(const runs *r) {
  for (int i = 0; i < r->count; i++)
    if (r->run[i].reduced) return true;
  return false;
}

/* Several runs: a pass each, from the last, over contiguous tensors that shrink. */
static pare_status reduce_runs(int mode, pare_tensor *x, runs *r, int64_t count, pare_tensor *out) {
  pare_tensor *from = x, *from_second = NULL;
  pare_dtype partial = pare__reduce_partial(mode, x->dtype);
  pare_status status = PARE_OK;
  pare__reduce_view view;
  while (status == PARE_OK && last_reduced(r, &view)) {
    bool final = !any_reduced(r);
    pare_tensor *to = out, *to_second = NULL;
    const int64_t dims[2] = {view.outer, view.inner};
    if (!final) {
      to = NULL;
      status = pare__tensor_scratch(x->context, partial, 2, dims, "partial results of a reduction", &to);
      if (status == PARE_OK && pare__reduce_is_pair(mode))
        status = pare__tensor_scratch(x->context, partial, 2, dims, "partial results of a reduction", &to_second);
    }
    int pass = mode | (from == x ? PARE__REDUCE_FIRST : 0) | (final ? PARE__REDUCE_FINAL : 0);
    if (status == PARE_OK) status = pare__reduce_axis(pass, from, from_second, &view, count, to, to_second);
    if (from != x) pare_tensor_close(from);
    pare_tensor_close(from_second);
    from = to;
    from_second = to_second;
  }
  if (from != x && from != out) pare_tensor_close(from);
  pare_tensor_close(from_second);
  return status;
}

static pare_status reduce_any(int mode, pare_tensor *x, const bool *reduced, pare_tensor *out,
                              pare_tensor *out_second) {
  runs r = merge_dims(&x->shape, reduced);
  int64_t count = 1;
  for (int d = 0; d < x->shape.rank; d++)
    if (reduced[d]) count *= x->shape.dim[d];
  pare__reduce_view view;
  int whole = mode | PARE__REDUCE_FIRST | PARE__REDUCE_FINAL;
  if (pare__shape_elements(&x->shape) > 0 && direct_view(&r, &view))
    return pare__reduce_axis(whole, x, NULL, &view, count, out, out_second);
  pare_tensor *dense = NULL;
  PARE__TRY(pare__contiguous(x, &dense));
  r = merge_dims(&dense->shape, reduced);
  pare_status status;
  if (pare__shape_elements(&x->shape) > 0 && direct_view(&r, &view))
    status = pare__reduce_axis(whole, dense, NULL, &view, count, out, out_second);
  else
    status = reduce_runs(mode, dense, &r, count, out);
  pare_tensor_close(dense);
  return status;
}

/* ---- the public functions ---- */

static const struct {
  const char *name;
  pare__reduction kernel;
  uint32_t dtypes;
} table[PARE_NREDUCTIONS] = {
    [PARE_REDUCTION_SUM] = {"sum", PARE__REDUCE_SUM, PARE__NUMBERS},
    [PARE_REDUCTION_MEAN] = {"mean", PARE__REDUCE_MEAN, PARE__NUMBERS},
    [PARE_REDUCTION_MIN] = {"min", PARE__REDUCE_MIN, PARE__ANY_DTYPE},
    [PARE_REDUCTION_MAX] = {"max", PARE__REDUCE_MAX, PARE__ANY_DTYPE},
    [PARE_REDUCTION_PRODUCT] = {"product", PARE__REDUCE_PRODUCT, PARE__NUMBERS},
    [PARE_REDUCTION_L1] = {"l1", PARE__REDUCE_L1, PARE__NUMBERS},
    [PARE_REDUCTION_L2] = {"l2", PARE__REDUCE_L2, PARE__NUMBERS},
    [PARE_REDUCTION_SUM_SQUARE] = {"sum-square", PARE__REDUCE_SUM_SQUARE, PARE__NUMBERS},
    [PARE_REDUCTION_LOG_SUM] = {"log-sum", PARE__REDUCE_LOG_SUM, PARE__FLOATS},
    [PARE_REDUCTION_LOG_SUM_EXP] = {"log-sum-exp", PARE__REDUCE_LOG_SUM_EXP, PARE__FLOATS},
    [PARE_REDUCTION_ALL] = {"all", PARE__REDUCE_MIN, PARE__DTYPE(PARE_BOOL)},
    [PARE_REDUCTION_ANY] = {"any", PARE__REDUCE_MAX, PARE__DTYPE(PARE_BOOL)},
};

const char *pare_reduction_name(pare_reduction reduction) {
  return (unsigned)reduction < PARE_NREDUCTIONS ? table[reduction].name : NULL;
}

/* The shape that is left. */
static void reduced_shape(const pare__shape *x, const bool *reduced, bool keep_dims, int *rank, int64_t *dim) {
  *rank = 0;
  for (int d = 0; d < x->rank; d++)
    if (!reduced[d])
      dim[(*rank)++] = x->dim[d];
    else if (keep_dims)
      dim[(*rank)++] = 1;
}

static pare_status run_into(const char *function, int mode, pare_tensor *x, const bool *reduced, bool keep_dims,
                            pare_tensor *out, bool index) {
  int rank;
  int64_t dim[PARE_MAX_RANK];
  reduced_shape(&x->shape, reduced, keep_dims, &rank, dim);
  PARE__TRY(pare__check_shape(function, "out", out, rank, dim));
  pare_tensor *result = NULL;
  pare_status status = pare__result_begin(out, &result);
  if (status == PARE_OK) status = reduce_any(mode, x, reduced, index ? NULL : result, index ? result : NULL);
  return pare__result_end(status, out, result);
}

static pare_status check_out_dtype(pare_tensor *x, pare_reduction reduction, pare_tensor *out) {
  bool sums = reduction != PARE_REDUCTION_MIN && reduction != PARE_REDUCTION_MAX;
  if (out->dtype == x->dtype) return PARE_OK;
  if (sums && out->dtype == PARE_I64 && (PARE__INTEGERS >> x->dtype & 1U)) return PARE_OK;
  return pare__fail(PARE_ERR_TYPE, "pare_reduce: the %s of %s goes to %s%s, and out is %s", table[reduction].name,
                    pare_dtype_name(x->dtype), pare_dtype_name(x->dtype),
                    sums && (PARE__INTEGERS >> x->dtype & 1U) ? " or i64" : "", pare_dtype_name(out->dtype));
}

pare_status pare_reduce(pare_tensor *x, pare_reduction reduction, const int *axes, int naxes, bool keep_dims,
                        pare_tensor *out) {
  PARE__TRY(pare__check_call("pare_reduce", out, PARE__NAMED(x)));
  if ((unsigned)reduction >= PARE_NREDUCTIONS)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_reduce: there is no reduction %d", (int)reduction);
  if (naxes < 0 || (naxes > 0 && !axes))
    return pare__fail(PARE_ERR_ARGUMENT, "pare_reduce: %d axes at %s", naxes, axes ? "an address" : "NULL");
  PARE__TRY(pare__check_dtype("pare_reduce", "x", x, table[reduction].dtypes));
  PARE__TRY(check_out_dtype(x, reduction, out));
  bool reduced[PARE_MAX_RANK] = {false};
  for (int i = 0; i < naxes; i++) {
    int axis;
    PARE__TRY(pare__axis("pare_reduce", axes[i], x->shape.rank, &axis));
    if (reduced[axis]) return pare__fail(PARE_ERR_ARGUMENT, "pare_reduce: axis %d is given twice", axes[i]);
    reduced[axis] = true;
  }
  for (int d = 0; naxes == 0 && d < x->shape.rank; d++) reduced[d] = true;
  if (reduction == PARE_REDUCTION_MEAN && !pare__dtype_is_float(x->dtype) && pare__shape_elements(&x->shape) == 0 &&
      pare__shape_elements(&out->shape) > 0)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_reduce: the mean of no integers is undefined");
  return run_into("pare_reduce", (int)table[reduction].kernel, x, reduced, keep_dims, out, false);
}

static pare_status arg_reduce(const char *function, int mode, pare_tensor *x, int axis, bool keep_dims, bool last_index,
                              pare_tensor *out) {
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x)));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__ANY_DTYPE));
  PARE__TRY(pare__check_dtype(function, "out", out, PARE__DTYPE(PARE_I64)));
  PARE__TRY(pare__axis(function, axis, x->shape.rank, &axis));
  if (x->shape.dim[axis] == 0 && pare__shape_elements(&out->shape) > 0)
    return pare__fail(PARE_ERR_SHAPE, "%s: axis %d has no elements to choose from", function, axis);
  bool reduced[PARE_MAX_RANK] = {false};
  reduced[axis] = true;
  return run_into(function, mode | (last_index ? PARE__REDUCE_LAST_INDEX : 0), x, reduced, keep_dims, out, true);
}

pare_status pare_arg_min(pare_tensor *x, int axis, bool keep_dims, bool last_index, pare_tensor *out) {
  return arg_reduce("pare_arg_min", PARE__REDUCE_ARG_MIN, x, axis, keep_dims, last_index, out);
}

pare_status pare_arg_max(pare_tensor *x, int axis, bool keep_dims, bool last_index, pare_tensor *out) {
  return arg_reduce("pare_arg_max", PARE__REDUCE_ARG_MAX, x, axis, keep_dims, last_index, out);
}
