/* Softmax and log-softmax along any axis. SPDX-License-Identifier: Apache-2.0
 *
 * x is seen as [outer][length][inner]. A row is one piece of work, unless rows are so long that one cannot be given to
 * one item (or staged): then their log-sum-exp is a reduction in blocks, and a second pass over the elements takes its
 * two parts. */
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
  pare__operand operand[4];
  for (int i = 0; i < 4; i++) operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_softmax, &params->whole, &choice));
  return pare__run_choice(piece->device, &pare__family_softmax, &choice, &params->whole, &problem, operand);
}

static const pare__codelet softmax_codelet = {"softmax", run_piece};

/* m and s, contiguous [outer][inner], or NULL. */
static pare_status submit(int mode, pare_tensor *x, pare_tensor *m, pare_tensor *s, const pare__reduce_view *view,
                          pare_tensor *out) {
  if (view->outer * view->reduced * view->inner == 0) return PARE_OK;
  pare__reduce_view stats = {view->outer, 1, view->inner, view->inner, view->inner};
  pare_tensor *const given[4] = {x, m, s, out};
  pare_tensor seen[4];
  softmax_params params;
  memset(&params, 0, sizeof params);
  params.whole.mode = mode | (m ? PARE__SOFTMAX_GIVEN : 0);
  const int64_t dims[] = {view->outer,          view->reduced,      view->inner,         view->outer_stride,
                          view->reduced_stride, view->outer_stride, view->reduced_stride};
  memcpy(params.whole.dim, dims, sizeof dims);
  /* rows that are short enough are split among themselves; long ones along themselves; a few columns along inner */
  int axis = m ? 1 : view->inner > view->outer ? 2 : 0;
  const int64_t length[3] = {view->outer, view->reduced, view->inner};
  pare__task task = {.codelet = &softmax_codelet,
                     .context = x->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = length[axis],
                     .naccesses = 4};
  for (int i = 0; i < 4; i++) {
    if (!given[i]) continue;
    bool is_stats = i == MAXIMUM || i == SUM;
    params.whole.dtype[i] = given[i]->dtype;
    seen[i] = pare__reduce_seen(given[i], is_stats ? &stats : view);
    task.access[i] = (pare__access){&seen[i], i == Y ? PARE__WRITE : PARE__READ, is_stats ? PARE__WHOLE : axis, 1};
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
  if (status == PARE_OK) status = submit(mode, x, m, s, view, out);
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
    status = length > LONGEST_ROW / PARE__MAX(1, PARE__MIN(inner, 64)) ? long_rows(mode, input, &view, result)
                                                                       : submit(mode, input, NULL, NULL, &view, result);
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
