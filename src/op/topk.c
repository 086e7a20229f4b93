/* The k largest elements along an axis, in order. SPDX-License-Identifier: Apache-2.0
 *
 * Rows are made contiguous. A small k: blocks of a row are scanned for their k best, then what they kept, until one
 * block is left. A large k: short blocks are sorted whole, and pairs of them merged, until one is left. */
#include <pare/select.h>
#include <string.h>

#include "kernel/family_select.h"
#include "op/op.h"

typedef struct topk_params {
  pare__problem whole;
} topk_params;

enum { X, X_INDEX, Y, Y_INDEX, NOPERANDS };

static pare_status run_topk(const pare__piece *piece) {
  const topk_params *params = piece->params;
  const pare__problem *whole = &params->whole;
  pare__problem problem = *whole;
  const pare__shape *x = &piece->binding[X].shape, *y = &piece->binding[Y].shape;
  problem.dim[PARE__TOPK_OUTER] = x->dim[0];
  problem.dim[PARE__TOPK_LENGTH] = x->dim[1];
  problem.dim[PARE__TOPK_X_OUTER] = x->stride[0];
  problem.dim[PARE__TOPK_Y_OUTER] = y->stride[0];
  if (x->dim[1] != whole->dim[PARE__TOPK_LENGTH])
    problem.dim[PARE__TOPK_POSITION] = piece->begin * whole->dim[PARE__TOPK_BLOCK];
  pare__operand operand[NOPERANDS];
  for (int i = 0; i < NOPERANDS; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_topk, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_topk, &choice, whole, &problem, operand);
}

static const pare__codelet topk_codelet = {"topk", run_topk};

/* Rows of elements; index NULL: an element's position is its index. run: elements of a run that is in order; 0: none
 * is. */
typedef struct candidates {
  pare_tensor *x, *index;
  int64_t outer, length, run;
} candidates;

static int64_t length_after(const candidates *from, int64_t block, int64_t kept) {
  int64_t blocks = pare__div_up(from->length, block);
  return (blocks - 1) * kept + PARE__MIN(kept, from->length - (blocks - 1) * block);
}

/* The kept elements of each block, all tensors contiguous. */
static pare_status submit_topk(int mode, const candidates *from, int64_t block, int64_t kept, pare_tensor *values,
                               pare_tensor *indices) {
  int64_t blocks = pare__div_up(from->length, block), left = length_after(from, block, kept);
  const int64_t dims[] = {from->outer, from->length, block, kept, from->run, from->length, left, 0};
  int axis = blocks > from->outer ? 1 : 0;
  pare_tensor *const given[NOPERANDS] = {from->x, from->index, values, indices};
  pare_tensor seen[NOPERANDS];
  topk_params params;
  memset(&params, 0, sizeof params);
  memcpy(params.whole.dim, dims, sizeof dims);
  params.whole.mode = mode | (from->index ? 0 : PARE__TOPK_FIRST) | (from->run ? PARE__TOPK_MERGE : 0);
  params.whole.dtype[X_INDEX] = PARE_I64;
  pare__task task = {.codelet = &topk_codelet,
                     .context = from->x->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = axis == 1 ? blocks : from->outer,
                     .naccesses = NOPERANDS};
  for (int i = 0; i < NOPERANDS; i++) {
    if (!given[i]) continue;
    const int64_t shape[2] = {from->outer, i < Y ? from->length : left};
    params.whole.dtype[i] = given[i]->dtype;
    seen[i] = *given[i];
    pare__shape_set(&seen[i].shape, 2, shape);
    task.access[i] = (pare__access){&seen[i], i < Y ? PARE__READ : PARE__WRITE, axis,
                                    axis == 0 ? 1
                                    : i < Y   ? block
                                              : kept};
  }
  return pare__submit(&task);
}

/* One pass into scratch memory, which takes the place of `from`. */
static pare_status reduce_candidates(int mode, candidates *from, int64_t block, int64_t kept, bool is_owned) {
  candidates to = {NULL, NULL, from->outer, length_after(from, block, kept), 0};
  const int64_t dims[2] = {to.outer, to.length};
  pare_context *context = from->x->context;
  pare_status status = pare__tensor_scratch(context, from->x->dtype, 2, dims, "candidates of a top-k", &to.x);
  if (status == PARE_OK) status = pare__tensor_scratch(context, PARE_I64, 2, dims, "indices of a top-k", &to.index);
  if (status == PARE_OK) status = submit_topk(mode, from, block, kept, to.x, to.index);
  if (is_owned) pare_tensor_close(from->x);
  pare_tensor_close(from->index);
  *from = to;
  return status;
}

static pare_status top_k(int mode, pare_tensor *x, int64_t outer, int64_t length, int64_t k, pare_tensor *values,
                         pare_tensor *indices) {
  const int64_t scanned = 8192;
  bool merge = k > PARE__TOPK_SORTED / 2 && length > PARE__TOPK_SORTED;
  int64_t block = merge ? PARE__TOPK_SORTED : scanned;
  candidates from = {x, NULL, outer, length, 0};
  pare_status status = PARE_OK;
  while (status == PARE_OK && from.length > block) {
    int64_t kept = PARE__MIN(k, block);
    status = reduce_candidates(mode, &from, block, kept, from.x != x);
    if (!merge) continue;
    from.run = kept;
    block = 2 * kept;
  }
  if (status == PARE_OK) status = submit_topk(mode, &from, PARE__MAX(from.length, 2 * from.run), k, values, indices);
  if (from.x != x) pare_tensor_close(from.x);
  pare_tensor_close(from.index);
  return status;
}

/* *out = a view with `axis` last. */
static pare_status axis_last(pare_tensor *tensor, int axis, pare_tensor **out) {
  int axes[PARE_MAX_RANK], rank = tensor->shape.rank;
  for (int d = 0; d < rank; d++) axes[d] = d < axis ? d : d + 1;
  axes[rank - 1] = axis;
  return pare_tensor_permute(tensor, axes, out);
}

/* out = its values, from a result that has `axis` last. */
static pare_status put_back(pare_status status, pare_tensor *view, pare_tensor *result) {
  return view ? pare__result_end(status, view, result) : status;
}

static pare_status run_into(int mode, pare_tensor *x, int64_t k, int axis, pare_tensor *values, pare_tensor *indices) {
  pare_tensor *moved = NULL, *input = NULL, *value_view = NULL, *index_view = NULL, *value = NULL, *index = NULL;
  int64_t length = x->shape.dim[axis], outer = pare__shape_elements(&x->shape) / length;
  pare_status status = axis_last(x, axis, &moved);
  if (status == PARE_OK) status = axis_last(values, axis, &value_view);
  if (status == PARE_OK) status = axis_last(indices, axis, &index_view);
  if (status == PARE_OK) status = pare__contiguous(moved, &input);
  if (status == PARE_OK) status = pare__result_begin(value_view, &value);
  if (status == PARE_OK) status = pare__result_begin(index_view, &index);
  if (status == PARE_OK) status = top_k(mode, input, outer, length, k, value, index);
  status = put_back(status, value_view, value);
  status = put_back(status, index_view, index);
  pare_tensor_close(input);
  pare_tensor_close(moved);
  pare_tensor_close(value_view);
  pare_tensor_close(index_view);
  return status;
}

pare_status pare_top_k(pare_tensor *x, int64_t k, int axis, bool smallest, pare_tensor *values, pare_tensor *indices) {
  const char *function = "pare_top_k";
  PARE__TRY(pare__check_call(function, values, PARE__NAMED(x)));
  PARE__TRY(pare__check_output(function, "indices", indices, x));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__ANY_DTYPE));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "values", values));
  PARE__TRY(pare__check_dtype(function, "indices", indices, PARE__DTYPE(PARE_I64)));
  PARE__TRY(pare__axis(function, axis, x->shape.rank, &axis));
  int64_t dim[PARE_MAX_RANK], length = x->shape.dim[axis];
  if (k < 0 || k > length)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: k is %lld; axis %d has %lld elements", function, (long long)k, axis,
                      (long long)length);
  for (int d = 0; d < x->shape.rank; d++) dim[d] = d == axis ? k : x->shape.dim[d];
  PARE__TRY(pare__check_shape(function, "values", values, x->shape.rank, dim));
  PARE__TRY(pare__check_shape(function, "indices", indices, x->shape.rank, dim));
  if (pare__shape_elements(&values->shape) == 0) return PARE_OK;
  return run_into(smallest ? PARE__TOPK_SMALLEST : 0, x, k, axis, values, indices);
}
