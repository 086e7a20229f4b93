/* Softmax and log-softmax along any axis. SPDX-License-Identifier: Apache-2.0
 *
 * x is seen as [outer][length][inner]. A row is one piece of work, unless rows are so long that one cannot be given to
 * one item (or staged): then their log-sum-exp is a reduction in blocks, and a second pass over the elements takes its
 * two parts. */
#include <pare/elementwise.h>
#include <pare/normalise.h>
#include <string.h>

#include "kernel/family_softmax.h"
#include "op/reduce.h"

#define LONGEST_ROW (1 << 17) /* elements; columns: over all that lie beside each other */

typedef struct softmax_params {
  pare__problem whole;
} softmax_params;

enum { X, MAXIMUM, SUM, Y };

static pare_status run_piece(const pare__piece *piece) {
  const softmax_params *params = piece->params;
  pare__problem problem = params->whole;
  const pare__shape *x = &piece->binding[X].shape, *y = &piece->binding[Y].shape;
  const int64_t dims[] = {x->dim[0], x->dim[1], x->dim[2], x->stride[0], x->stride[1], y->stride[0], y->stride[1]};
  memcpy(problem.dim, dims, sizeof dims);
  problem.dim[PARE__SOFTMAX_FIRST_ROW] = piece->begin;
  pare__operand operand[4];
  for (int i = 0; i < 4; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_softmax, &params->whole, &choice));
  return pare__run_choice(piece->device, &pare__family_softmax, &choice, &params->whole, &problem, operand);
}

static const pare__codelet softmax_codelet = {"softmax", run_piece};

/* What goes beside x: m and s, contiguous [outer][inner], as a pair; or a mask, or nothing. */
typedef struct beside {
  pare_tensor *m, *s, *mask;
  int64_t mask_dim[5]; /* from PARE__SOFTMAX_MASK_OUTER on */
  double least;
} beside;

static pare_status submit(int mode, pare_tensor *x, const beside *other, const pare__reduce_view *view,
                          pare_tensor *out) {
  if (view->outer * view->reduced * view->inner == 0) return PARE_OK;
  const pare__reduce_view stats = {view->outer, 1, view->inner, view->inner, view->inner};
  pare_tensor *const given[4] = {x, other->mask ? other->mask : other->m, other->s, out};
  pare_tensor seen[4];
  softmax_params params;
  memset(&params, 0, sizeof params);
  params.whole.mode = mode | (other->m ? PARE__SOFTMAX_GIVEN : 0) | (other->mask ? PARE__SOFTMAX_MASKED : 0);
  params.whole.real[0] = other->least;
  const int64_t dims[] = {view->outer,          view->reduced,      view->inner,         view->outer_stride,
                          view->reduced_stride, view->outer_stride, view->reduced_stride};
  memcpy(params.whole.dim, dims, sizeof dims);
  memcpy(params.whole.dim + PARE__SOFTMAX_MASK_OUTER, other->mask_dim, sizeof other->mask_dim);
  /* rows that are short enough are split among themselves; long ones along themselves; a few columns along inner */
  const int axis = other->m ? 1 : view->inner > view->outer ? 2 : 0;
  const int64_t length[3] = {view->outer, view->reduced, view->inner};
  pare__task task = {.codelet = &softmax_codelet,
                     .context = x->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = length[axis],
                     .naccesses = 4};
  for (int i = 0; i < 4; i++) {
    if (!given[i]) continue;
    const bool is_beside = i == MAXIMUM || i == SUM;
    params.whole.dtype[i] = given[i]->dtype;
    seen[i] = given[i] == other->mask ? *given[i] : pare__reduce_seen(given[i], is_beside ? &stats : view);
    task.access[i] = (pare__access){&seen[i], i == Y ? PARE__WRITE : PARE__READ, is_beside ? PARE__WHOLE : axis, 1};
  }
  return pare__submit(&task);
}

static pare_status long_rows(int mode, pare_tensor *x, const pare__reduce_view *view, pare_tensor *out) {
  const int64_t dims[2] = {view->outer, view->inner};
  pare_dtype partial = pare__reduce_partial(PARE__REDUCE_LOG_SUM_EXP, x->dtype);
  pare_tensor *m = NULL, *s = NULL;
  pare_status status = pare__tensor_scratch(x->context, partial, 2, dims, "maxima of a softmax", &m);
  if (status == PARE_OK) status = pare__tensor_scratch(x->context, partial, 2, dims, "sums of a softmax", &s);
  if (status == PARE_OK)
    status = pare__reduce_axis(PARE__REDUCE_LOG_SUM_EXP | PARE__REDUCE_FIRST, x, NULL, view, view->reduced, m, s);
  if (status == PARE_OK) status = submit(mode, x, &(beside){.m = m, .s = s}, view, out);
  pare_tensor_close(m);
  pare_tensor_close(s);
  return status;
}

static pare_status softmax(const char *function, int mode, pare_tensor *x, int axis, pare_tensor *out) {
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x)));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__FLOATS));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "out", out));
  PARE__TRY(pare__check_shape(function, "out", out, x->shape.rank, x->shape.dim));
  PARE__TRY(pare__axis(function, axis, x->shape.rank, &axis));
  int64_t outer = 1, inner = 1, length = x->shape.dim[axis];
  for (int d = 0; d < x->shape.rank; d++) {
    if (d < axis) outer *= x->shape.dim[d];
    if (d > axis) inner *= x->shape.dim[d];
  }
  pare__reduce_view view = {outer, length, inner, length * inner, inner};
  pare_tensor *input = NULL, *result = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__result_begin(out, &result);
  if (status == PARE_OK)
    status = length > LONGEST_ROW / PARE__MAX(1, PARE__MIN(inner, 64))
                 ? long_rows(mode, input, &view, result)
                 : submit(mode, input, &(beside){0}, &view, result);
  status = pare__result_end(status, out, result);
  pare_tensor_close(input);
  return status;
}

pare_status pare_softmax(pare_tensor *x, int axis, pare_tensor *out) {
  return softmax("pare_softmax", 0, x, axis, out);
}

pare_status pare_log_softmax(pare_tensor *x, int axis, pare_tensor *out) {
  return softmax("pare_log_softmax", PARE__SOFTMAX_LOG, x, axis, out);
}

/* ---- with a mask ---- */

/* The strides by which the rows of a mask [1s, …, length], broadcast to x, follow those of x, of which three may stay;
 * false if more would. */
static bool mask_strides(const pare__shape *mask, int64_t dim[5]) {
  struct {
    int64_t size, stride;
  } axis[3] = {{1, 0}, {1, 0}, {1, 0}};
  int count = 0;
  for (int d = 0; d < mask->rank - 1; d++) {
    if (mask->dim[d] == 1) continue;
    const bool goes_on = count > 0 && axis[count - 1].stride == mask->stride[d] * mask->dim[d];
    if (!goes_on && count == 3) return false;
    if (!goes_on) axis[count++].size = 1;
    axis[count - 1].size *= mask->dim[d];
    axis[count - 1].stride = mask->stride[d];
  }
  const int shift = 3 - count; /* the last ones are inner */
  for (int i = 0; i < 3; i++) dim[i] = i < shift ? 0 : axis[i - shift].stride;
  dim[3] = shift > 1 ? 1 : axis[1 - shift].size;
  dim[4] = shift > 2 ? 1 : axis[2 - shift].size;
  return true;
}

/* x where mask, and least elsewhere; or x + mask. */
static pare_status apply_mask(pare_tensor *x, pare_tensor *mask, double least, pare_tensor *out) {
  if (mask->dtype != PARE_BOOL) return pare_binary(PARE_BINARY_add, x, mask, out);
  pare_tensor *other = NULL;
  uint64_t value = 0;
  pare__store(x->dtype, &value, 0, least);
  PARE__TRY(pare_tensor_from(x->context, x->dtype, 0, NULL, &value, pare_dtype_bytes(x->dtype), &other));
  const pare_status status = pare_ternary(PARE_TERNARY_where, mask, x, other, out);
  pare_tensor_close(other);
  return status;
}

pare_status pare_masked_softmax(pare_tensor *x, pare_tensor *mask, double least, pare_tensor *out) {
  static const char function[] = "pare_masked_softmax";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(x), PARE__NAMED(mask)));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__FLOATS));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "out", out));
  PARE__TRY(pare__check_rank(function, "x", x, 1, PARE_MAX_RANK));
  if (mask->dtype != PARE_BOOL) PARE__TRY(pare__check_same_dtype(function, "x", x, "mask", mask));
  PARE__TRY(pare__check_shape(function, "out", out, x->shape.rank, x->shape.dim));
  pare_tensor *wide = NULL, *input = NULL, *result = NULL;
  PARE__TRY(pare_tensor_broadcast(mask, x->shape.rank, x->shape.dim, &wide));
  const int last = x->shape.rank - 1;
  const int64_t length = x->shape.dim[last], rows = length > 0 ? pare__shape_elements(&x->shape) / length : 0;
  const pare__reduce_view view = {rows, length, 1, length, 1};
  beside other = {.mask = wide, .least = least};
  const bool in_order = length <= 1 || wide->shape.stride[last] == 1;
  const bool fused = length <= LONGEST_ROW && in_order && mask_strides(&wide->shape, other.mask_dim);
  pare_status status = fused ? pare__contiguous(x, &input) : PARE_OK;
  if (status == PARE_OK) status = pare__result_begin(out, &result);
  if (status == PARE_OK && fused) status = submit(0, input, &other, &view, result);
  if (status == PARE_OK && !fused) status = apply_mask(x, wide, least, result);
  if (status == PARE_OK && !fused) status = pare_softmax(result, last, result);
  status = pare__result_end(status, out, result);
  pare_tensor_close(input);
  pare_tensor_close(wide);
  return status;
}
