/* Reductions, arg-min and arg-max, softmax. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/move.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <pare/select.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* ---- Reduce* ---- */

/* Which axes go: sorted, each once. false: none, the input passes on unchanged. */
static pare_status reduced_axes(pare__call *call, int *axes, int *count, bool *none) {
  const int rank = call->input[0]->shape.rank;
  PARE__TRY(pare__call_axes(call, "axes", 1, rank, axes, count));
  const bool keep_all = pare__call_get_int(call, "noop_with_empty_axes", 0) != 0;
  *none = *count <= 0 && keep_all;
  if (*count <= 0)
    for (*count = 0; *count < rank; ++*count) axes[*count] = *count;
  return PARE_OK;
}

/* With no axis to reduce, a reduction is still a function of each element: its own over a run of one. */
static pare_status reduce_each(pare__call *call, pare_reduction reduction, pare_tensor *x) {
  pare_tensor *longer, *out, *flat;
  int64_t dim[PARE_MAX_RANK + 1] = {pare_tensor_elements(x), 1};
  PARE__TRY(pare__call_reshaped(call, x, 2, dim, &longer));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  PARE__TRY(pare__call_reshaped(call, out, 1, dim, &flat));
  return pare_reduce(longer, reduction, (const int[]){1}, 1, false, flat);
}

static pare_status reduce(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 2));
  PARE__TRY(pare__call_takes(call, 0));
  const pare_reduction reduction = (pare_reduction)call->node->op->detail;
  const bool keep = pare__call_get_int(call, "keepdims", 1) != 0;
  int axes[PARE_MAX_RANK], count;
  bool none;
  pare_tensor *x, *out;
  PARE__TRY(reduced_axes(call, axes, &count, &none));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  if (none || x->shape.rank == 0) return reduce_each(call, reduction, x);
  int64_t dim[PARE_MAX_RANK];
  const int rank = pare__reduced_shape(&x->shape, axes, count, keep, dim);
  PARE__TRY(pare__call_output(call, 0, x->dtype, rank, dim, &out));
  const bool logarithm = reduction == PARE_REDUCTION_LOG_SUM || reduction == PARE_REDUCTION_LOG_SUM_EXP;
  if (!logarithm || pare__dtype_is_float(x->dtype)) return pare_reduce(x, reduction, axes, count, keep, out);
  pare_tensor *wide, *result;
  PARE__TRY(pare__call_cast(call, x, PARE_F32, &wide));
  PARE__TRY(pare__call_scratch(call, PARE_F32, rank, dim, &result));
  PARE__TRY(pare_reduce(wide, reduction, axes, count, keep, result));
  return pare_cast(result, out);
}

static double combine(pare_reduction reduction, double a, double b) {
  switch (reduction) {
  case PARE_REDUCTION_MIN: return PARE__MIN(a, b);
  case PARE_REDUCTION_MAX: return PARE__MAX(a, b);
  case PARE_REDUCTION_PRODUCT: return a * b;
  default: return a + b;
  }
}

/* All elements of a few known integers: how the number of elements, or the longest side, is computed. */
static pare_status reduce_on_host(pare__call *call) {
  const pare_reduction reduction = (pare_reduction)call->node->op->detail;
  const pare__content *content = call->input[0]->content;
  int axes[PARE_MAX_RANK], count;
  bool none;
  PARE__TRY(reduced_axes(call, axes, &count, &none));
  const bool simple = content->dtype == PARE_I64 && count == content->shape.rank && content->count > 0 && !none;
  if (!simple) return reduce(call);
  double total = (double)pare__content_int(content, 0);
  for (size_t i = 1; i < content->count; i++) total = combine(reduction, total, (double)pare__content_int(content, i));
  if (total < -9007199254740992.0 || total > 9007199254740992.0) return reduce(call); /* 2^53 */
  int64_t dim[PARE_MAX_RANK];
  const bool keep = pare__call_get_int(call, "keepdims", 1) != 0;
  const int rank = pare__reduced_shape(&content->shape, axes, count, keep, dim);
  pare__content *made;
  PARE__TRY(pare__content_create(PARE_I64, rank, dim, (const int64_t[]){(int64_t)total}, &made));
  return pare__call_give_content(call, 0, made);
}

static pare_status arg(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_takes(call, 0));
  pare_tensor *x, *out;
  int axis;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", 0), x->shape.rank, &axis));
  const bool keep = pare__call_get_int(call, "keepdims", 1) != 0;
  const bool last = pare__call_get_int(call, "select_last_index", 0) != 0;
  int64_t dim[PARE_MAX_RANK];
  const int rank = pare__reduced_shape(&x->shape, &axis, 1, keep, dim);
  PARE__TRY(pare__call_output(call, 0, PARE_I64, rank, dim, &out));
  return call->node->op->detail ? pare_arg_max(x, axis, keep, last, out) : pare_arg_min(x, axis, keep, last, out);
}

/* ---- softmax ---- */

enum { SOFTMAX, LOG_SOFTMAX, HARDMAX };

/* 1 at the first largest element along the axis, else 0. */
static pare_status hardmax(pare__call *call, pare_tensor *x, int axis, pare_tensor *out) {
  int64_t dim[PARE_MAX_RANK];
  const int rank = pare__reduced_shape(&x->shape, &axis, 1, true, dim);
  pare_tensor *where, *ramp, *equal;
  PARE__TRY(pare__call_scratch(call, PARE_I64, rank, dim, &where));
  PARE__TRY(pare_arg_max(x, axis, true, false, where));
  for (int d = 0; d < rank; d++) dim[d] = d == axis ? x->shape.dim[d] : 1;
  pare__content *indices;
  PARE__TRY(pare__content_create(PARE_I64, rank, dim, NULL, &indices));
  for (size_t i = 0; i < indices->count; i++) ((int64_t *)indices->owned)[i] = (int64_t)i;
  const pare_status status = pare__call_constant(call, PARE_I64, rank, dim, indices->data, &ramp);
  pare__content_release(indices);
  PARE__TRY(status);
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, rank, x->shape.dim, &equal));
  PARE__TRY(pare_binary(PARE_BINARY_equal, where, ramp, equal));
  return pare_cast(equal, out);
}

/* Before opset 13, all dimensions from `axis` (1 unless given) on are one. */
static pare_status softmax(pare__call *call) {
  PARE__TRY(pare__call_check(call, 1, 1));
  PARE__TRY(pare__call_takes(call, 0));
  const bool flat = call->node->opset < 13;
  pare_tensor *x, *out;
  int axis;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", flat ? 1 : -1), PARE__MAX(x->shape.rank, 1), &axis));
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  int64_t dim[2] = {1, 1};
  for (int d = 0; d < x->shape.rank; d++) dim[d >= axis] *= x->shape.dim[d];
  if (flat || x->shape.rank == 0) {
    PARE__TRY(pare__call_reshaped(call, x, 2, dim, &x));
    PARE__TRY(pare__call_reshaped(call, out, 2, dim, &out));
    axis = 1;
  }
  switch (call->node->op->detail) {
  case SOFTMAX: return pare_softmax(x, axis, out);
  case LOG_SOFTMAX: return pare_log_softmax(x, axis, out);
  default: return hardmax(call, x, axis, out);
  }
}

/* com.microsoft BiasSoftmax: softmax(x + bias) over the dimensions from axis on. The bias has rows of as many elements;
 * each is for as many rows of x that follow one another (is_inner_broadcast), or they are taken in turns. */
static pare_status bias_softmax(pare__call *call) {
  PARE__TRY(pare__call_check(call, 2, 2));
  pare_tensor *x, *bias, *sum, *out;
  int axis;
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_tensor(call, 1, &bias));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", 1), x->shape.rank, &axis));
  int64_t rows = 1, columns = 1;
  for (int d = 0; d < x->shape.rank; d++) *(d < axis ? &rows : &columns) *= x->shape.dim[d];
  const int64_t elements = pare__shape_elements(&bias->shape), given = columns > 0 ? elements / columns : 0;
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, x->shape.dim, &out));
  if (rows == 0 || columns == 0) return PARE_OK;
  if (given < 1 || given * columns != elements || rows % given != 0)
    return pare__call_fail(call, PARE_ERR_SHAPE, "a bias of %lld elements does not fit %lld rows of %lld",
                           (long long)elements, (long long)rows, (long long)columns);
  const bool inner = pare__call_get_int(call, "is_inner_broadcast", 0) != 0;
  const int64_t each = rows / given, split[3] = {inner ? given : each, inner ? each : given, columns};
  const int64_t bias_dim[3] = {inner ? given : 1, inner ? 1 : given, columns};
  PARE__TRY(pare__call_reshaped(call, x, 3, split, &x));
  PARE__TRY(pare__call_reshaped(call, bias, 3, bias_dim, &bias));
  PARE__TRY(pare__call_reshaped(call, out, 3, split, &out));
  PARE__TRY(pare__call_scratch(call, x->dtype, 3, split, &sum));
  PARE__TRY(pare_binary(PARE_BINARY_add, x, bias, sum));
  return pare_softmax(sum, 2, out);
}

/* ---- com.microsoft IsAllFinite ---- */

/* Is no element of any input infinite (isinf_only), NaN (isnan_only), or either? */
static pare_status is_all_finite(pare__call *call) {
  static const pare_unary_operation tests[2] = {PARE_UNARY_isinf, PARE_UNARY_isnan};
  const bool only[2] = {pare__call_get_int(call, "isinf_only", 0) != 0, pare__call_get_int(call, "isnan_only", 0) != 0};
  pare_tensor *x, *flags, *any, *found, *out;
  PARE__TRY(pare__call_check(call, 1, UINT32_MAX));
  if (only[0] && only[1])
    return pare__call_fail(call, PARE_ERR_ARGUMENT, "isinf_only and isnan_only exclude each other");
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 0, NULL, &found));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, 0, NULL, &any));
  PARE__TRY(pare__call_scalar(call, PARE_BOOL, 0, &x));
  PARE__TRY(pare_copy(x, found));
  for (unsigned i = 0; i < call->ninputs; i++) {
    PARE__TRY(pare__call_tensor(call, i, &x));
    const int64_t count = x ? pare__shape_elements(&x->shape) : 0;
    if (count == 0) continue;
    PARE__TRY(pare__call_scratch(call, PARE_BOOL, 1, &count, &flags));
    PARE__TRY(pare__call_reshaped(call, x, 1, &count, &x));
    for (int k = 0; k < 2; k++) {
      if (only[!k]) continue;
      PARE__TRY(pare_unary(tests[k], x, flags));
      PARE__TRY(pare_reduce(flags, PARE_REDUCTION_ANY, NULL, 0, false, any));
      PARE__TRY(pare_binary(PARE_BINARY_or, found, any, found));
    }
  }
  PARE__TRY(pare__call_output(call, 0, PARE_BOOL, 0, NULL, &out));
  return pare_unary(PARE_UNARY_not, found, out);
}

/* ---- the k largest ---- */

static pare_status top_k(pare__call *call) {
  PARE__TRY(pare__call_check(call, call->node->opset < 10 ? 1 : 2, 2));
  PARE__TRY(pare__call_takes(call, 0));
  pare_tensor *x, *values, *indices;
  int axis;
  int64_t k = pare__call_get_int(call, "k", 0), dim[PARE_MAX_RANK];
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_axis(call, pare__call_get_int(call, "axis", -1), x->shape.rank, &axis));
  if (call->node->opset >= 10 && !call->input[1]->content && pare__call_bounding(call))
    k = x->shape.dim[axis];
  else if (call->node->opset >= 10)
    PARE__TRY(pare__call_int(call, 1, &k));
  if (k < 0 || k > x->shape.dim[axis])
    return pare__call_fail(call, PARE_ERR_SHAPE, "k is %lld, and axis %d has the length %lld", (long long)k, axis,
                           (long long)x->shape.dim[axis]);
  memcpy(dim, x->shape.dim, sizeof dim);
  dim[axis] = k;
  PARE__TRY(pare__call_output(call, 0, x->dtype, x->shape.rank, dim, &values));
  PARE__TRY(pare__call_output(call, 1, PARE_I64, x->shape.rank, dim, &indices));
  return pare_top_k(x, k, axis, pare__call_get_int(call, "largest", 1) == 0, values, indices);
}

#define REDUCE_OF(op, reduction, on_host, dtypes) \
  { "", op, 1, 0, PARE__ON_DEVICE, reduce, on_host, .detail = PARE_REDUCTION_##reduction, .types = dtypes }
#define REDUCE(op, reduction, on_host) REDUCE_OF(op, reduction, on_host, "numbers")
#define SOFTMAX_ROW(op, which) \
  { "", op, 1, 0, PARE__ON_DEVICE, softmax, NULL, .detail = which, .types = "floats" }
const pare__operator pare__operators_reduce[] = {
    REDUCE("ReduceSum", SUM, reduce_on_host),
    REDUCE("ReduceMean", MEAN, NULL),
    REDUCE_OF("ReduceMin", MIN, reduce_on_host, "numbers, bool"),
    REDUCE_OF("ReduceMax", MAX, reduce_on_host, "numbers, bool"),
    REDUCE("ReduceProd", PRODUCT, reduce_on_host),
    REDUCE("ReduceL1", L1, NULL),
    REDUCE("ReduceL2", L2, NULL),
    REDUCE("ReduceSumSquare", SUM_SQUARE, NULL),
    REDUCE("ReduceLogSum", LOG_SUM, NULL),
    REDUCE("ReduceLogSumExp", LOG_SUM_EXP, NULL),
    {"", "ArgMin", 1, 0, PARE__ON_DEVICE, arg, NULL, .detail = 0, .types = "numbers"},
    {"", "ArgMax", 1, 0, PARE__ON_DEVICE, arg, NULL, .detail = 1, .types = "numbers"},
    SOFTMAX_ROW("Softmax", SOFTMAX),
    SOFTMAX_ROW("LogSoftmax", LOG_SOFTMAX),
    SOFTMAX_ROW("Hardmax", HARDMAX),
    {"com.microsoft", "BiasSoftmax", 1, 0, PARE__ON_DEVICE, bias_softmax, NULL, .types = "floats"},
    {"com.microsoft", "IsAllFinite", 1, 0, PARE__ON_DEVICE, is_all_finite, NULL, .types = "floats"},
    {"", "TopK", 1, 0, PARE__ON_DEVICE, top_k, NULL, .types = "numbers"},
    {0},
};
