/* Copies, permutes, concat and split: views of one side, then a strided copy. SPDX-License-Identifier: Apache-2.0 */
#include <pare/move.h>
#include <stdio.h>
#include <string.h>

#include "op/op.h"

/* Copies between tensors of one shape and dtype that may overlap in memory. */
static pare_status copy_safely(pare_tensor *from, pare_tensor *to) {
  if (!pare__overlap_shuffled(from, to)) return pare__copy(from, to);
  pare_tensor *scratch = NULL;
  PARE__TRY(pare__tensor_scratch(to->context, to->dtype, to->shape.rank, to->shape.dim,
                                 "a copy of an overlapping tensor", &scratch));
  pare_status status = pare__copy(from, scratch);
  if (status == PARE_OK) status = pare__copy(scratch, to);
  pare_tensor_close(scratch);
  return status;
}

pare_status pare_copy(pare_tensor *a, pare_tensor *out) {
  const char *function = "pare_copy";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(a)));
  PARE__TRY(pare__check_same_dtype(function, "a", a, "out", out));
  pare_tensor *view = NULL;
  PARE__TRY(pare_tensor_broadcast(a, out->shape.rank, out->shape.dim, &view));
  pare_status status = copy_safely(view, out);
  pare_tensor_close(view);
  return status;
}

pare_status pare_permute(pare_tensor *a, const int *axes, pare_tensor *out) {
  const char *function = "pare_permute";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(a)));
  if (!axes && a->shape.rank > 0) return pare__fail_null(function, "axes");
  PARE__TRY(pare__check_same_dtype(function, "a", a, "out", out));
  pare_tensor *view = NULL;
  PARE__TRY(pare_tensor_permute(a, axes, &view));
  pare_status status = pare__check_shape(function, "out", out, view->shape.rank, view->shape.dim);
  if (status == PARE_OK) status = copy_safely(view, out);
  pare_tensor_close(view);
  return status;
}

/* The parts fit the whole: dtypes, all dimensions but `axis`, and the sum along it. */
static pare_status check_parts(const char *function, const char *part_name, const char *whole_name, size_t count,
                               pare_tensor *const *parts, const pare_tensor *whole, int axis) {
  int64_t total = 0;
  for (size_t i = 0; i < count; i++) {
    char name[40];
    snprintf(name, sizeof name, "%s[%zu]", part_name, i);
    PARE__TRY(pare__check_same_dtype(function, name, parts[i], whole_name, whole));
    int64_t dim[PARE_MAX_RANK] = {0};
    memcpy(dim, whole->shape.dim, (size_t)whole->shape.rank * sizeof *dim);
    if (parts[i]->shape.rank == whole->shape.rank) dim[axis] = parts[i]->shape.dim[axis];
    PARE__TRY(pare__check_shape(function, name, parts[i], whole->shape.rank, dim));
    total += dim[axis];
  }
  if (total == whole->shape.dim[axis]) return PARE_OK;
  return pare__fail(PARE_ERR_SHAPE, "%s: the %zu parts have %lld along axis %d together, and %s has %lld", function,
                    count, (long long)total, axis, whole_name, (long long)whole->shape.dim[axis]);
}

/* Copies every part to or from its place along `axis` of the whole. */
static pare_status move_parts(size_t count, pare_tensor *const *parts, pare_tensor *whole, int axis, bool into_whole) {
  int64_t begin = 0;
  for (size_t i = 0; i < count; i++) {
    int64_t length = parts[i]->shape.dim[axis];
    if (length == 0) continue;
    pare_tensor *place = NULL;
    PARE__TRY(pare_tensor_slice(whole, axis, begin, length, 1, &place));
    pare_status status = into_whole ? pare__copy(parts[i], place) : pare__copy(place, parts[i]);
    pare_tensor_close(place);
    PARE__TRY(status);
    begin += length;
  }
  return PARE_OK;
}

static bool any_overlap(size_t count, pare_tensor *const *parts, const pare_tensor *whole) {
  for (size_t i = 0; i < count; i++)
    if (pare__overlap_shuffled(parts[i], whole)) return true;
  return false;
}

pare_status pare_concat(size_t count, pare_tensor *const *inputs, int axis, pare_tensor *out) {
  const char *function = "pare_concat";
  if (!inputs && count > 0) return pare__fail_null(function, "inputs");
  if (count == 0) return pare__fail(PARE_ERR_ARGUMENT, "%s: there are no inputs", function);
  for (size_t i = 0; i < count; i++) {
    char name[40];
    snprintf(name, sizeof name, "inputs[%zu]", i);
    PARE__TRY(pare__check_tensors(function, out, &(pare__named){name, inputs[i], false}, 1));
  }
  PARE__TRY(pare__axis(function, axis, out->shape.rank, &axis));
  PARE__TRY(check_parts(function, "inputs", "out", count, inputs, out, axis));
  if (!any_overlap(count, inputs, out)) return move_parts(count, inputs, out, axis, true);
  pare_tensor *scratch = NULL;
  PARE__TRY(
      pare__tensor_scratch(out->context, out->dtype, out->shape.rank, out->shape.dim, "concat scratch", &scratch));
  pare_status status = move_parts(count, inputs, scratch, axis, true);
  if (status == PARE_OK) status = pare__copy(scratch, out);
  pare_tensor_close(scratch);
  return status;
}

pare_status pare_split(pare_tensor *a, int axis, size_t count, pare_tensor *const *outs) {
  const char *function = "pare_split";
  if (!a) return pare__fail_null(function, "a");
  PARE__TRY(pare__context_check(function, a->context));
  if (!outs && count > 0) return pare__fail_null(function, "outs");
  PARE__TRY(pare__axis(function, axis, a->shape.rank, &axis));
  for (size_t i = 0; i < count; i++) {
    char name[40];
    snprintf(name, sizeof name, "outs[%zu]", i);
    PARE__TRY(pare__check_output(function, name, outs[i], a));
  }
  PARE__TRY(check_parts(function, "outs", "a", count, outs, a, axis));
  if (!any_overlap(count, outs, a)) return move_parts(count, outs, a, axis, false);
  pare_tensor *scratch = NULL;
  PARE__TRY(pare__tensor_scratch(a->context, a->dtype, a->shape.rank, a->shape.dim, "split scratch", &scratch));
  pare_status status = pare__copy(a, scratch);
  if (status == PARE_OK) status = move_parts(count, outs, scratch, axis, false);
  pare_tensor_close(scratch);
  return status;
}
