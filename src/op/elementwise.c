/* Elementwise operations and casts. SPDX-License-Identifier: Apache-2.0 */
#include "op/elementwise.h"

#include <math.h>
#include <pare/elementwise.h>
#include <stdio.h>
#include <string.h>

/* ---- submitting ---- */

/* Strides of a tensor along the dimensions of an output of `rank`, right-aligned in PARE_MAX_RANK; 0 where it is
 * stretched. */
static void align_strides(const pare__shape *shape, int64_t *stride) {
  int missing = PARE_MAX_RANK - shape->rank;
  for (int i = 0; i < PARE_MAX_RANK; i++)
    stride[i] = i < missing || shape->dim[i - missing] == 1 ? 0 : shape->stride[i - missing];
}

static void align_dims(const pare__shape *shape, int64_t *dim) {
  int missing = PARE_MAX_RANK - shape->rank;
  for (int i = 0; i < PARE_MAX_RANK; i++) dim[i] = i < missing ? 1 : shape->dim[i - missing];
}

static pare_status run(const pare__piece *piece) {
  enum { OUT = PARE__ELEMENTWISE_OUT };
  const pare__problem *whole = piece->params;
  pare__problem part = *whole;
  pare__operand operand[PARE__MAX_BUFFERS];
  memset(operand, 0, sizeof operand);
  align_dims(&piece->binding[OUT].shape, part.dim);
  for (int t = 0; t <= OUT; t++) {
    operand[t] = (pare__operand){piece->binding[t].mem, piece->binding[t].offset};
    if (piece->binding[t].mem) align_strides(&piece->binding[t].shape, pare__elementwise_strides(&part, t));
  }
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_elementwise, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_elementwise, &choice, whole, &part, operand);
}

/* The dimension of out along which work is cut: the longest, so that every piece of a staged tensor can be as small as
 * it must. */
static int split_axis(const pare__shape *out) {
  int axis = 0;
  for (int i = 1; i < out->rank; i++)
    if (out->dim[i] > out->dim[axis]) axis = i;
  return axis;
}

static pare_status submit(int mode, const double *p, pare_tensor *const *inputs, pare_tensor *out) {
  static const pare__codelet codelet = {"elementwise", run};
  const pare__elementwise *operation = pare__elementwise_get(mode);
  pare__problem whole;
  memset(&whole, 0, sizeof whole);
  whole.mode = mode;
  whole.real[0] = p[0];
  whole.real[1] = p[1];
  whole.dtype[PARE__ELEMENTWISE_OUT] = out->dtype;
  align_dims(&out->shape, whole.dim);
  align_strides(&out->shape, pare__elementwise_strides(&whole, PARE__ELEMENTWISE_OUT));
  int axis = split_axis(&out->shape);
  pare__task task = {.codelet = &codelet, .context = out->context, .params = &whole, .params_bytes = sizeof whole};
  task.n = pare__shape_elements(&out->shape) == 0 ? 0 : out->shape.rank > 0 ? out->shape.dim[axis] : 1;
  task.naccesses = PARE__ELEMENTWISE_OUT + 1;
  task.in_place = (1U << operation->arity) - 1;
  for (int t = 0; t < operation->arity; t++) {
    const pare__shape *shape = &inputs[t]->shape;
    int own = axis - (out->shape.rank - shape->rank);
    bool sliced = own >= 0 && shape->rank > 0 && shape->dim[own] != 1;
    task.access[t] = (pare__access){inputs[t], PARE__READ, sliced ? own : PARE__WHOLE, 1};
    whole.dtype[t] = inputs[t]->dtype;
    align_strides(shape, pare__elementwise_strides(&whole, t));
  }
  task.access[PARE__ELEMENTWISE_OUT] = (pare__access){out, PARE__WRITE, out->shape.rank > 0 ? axis : PARE__WHOLE, 1};
  return pare__submit(&task);
}

pare_status pare__elementwise_submit(int mode, const double *p, pare_tensor *const *inputs, pare_tensor *out) {
  int arity = pare__elementwise_get(mode)->arity;
  bool shuffled = false;
  for (int t = 0; t < arity; t++) shuffled = shuffled || pare__overlap_shuffled(inputs[t], out);
  if (!shuffled) return submit(mode, p, inputs, out);
  /* an input lies under the output in another order: what is still needed must not be overwritten */
  pare_tensor *scratch = NULL;
  PARE__TRY(
      pare__tensor_scratch(out->context, out->dtype, out->shape.rank, out->shape.dim, "elementwise scratch", &scratch));
  pare_status status = submit(mode, p, inputs, scratch);
  if (status == PARE_OK) status = pare__copy(scratch, out);
  pare_tensor_close(scratch);
  return status;
}

/* ---- the public functions ---- */

/* Does the shape broadcast to out's? */
static pare_status check_broadcast(const char *function, const char *name, const pare_tensor *input,
                                   const pare_tensor *out) {
  const pare__shape *from = &input->shape, *to = &out->shape;
  bool fits = from->rank <= to->rank;
  for (int i = 0; fits && i < from->rank; i++)
    fits = from->dim[i] == 1 || from->dim[i] == to->dim[i + to->rank - from->rank];
  if (fits) return PARE_OK;
  char have[PARE__SHAPE_TEXT], want[PARE__SHAPE_TEXT];
  return pare__fail(PARE_ERR_SHAPE, "%s: %s of shape %s does not broadcast to out of shape %s", function, name,
                    pare__shape_text(from->rank, from->dim, have, sizeof have),
                    pare__shape_text(to->rank, to->dim, want, sizeof want));
}

/* a, b, c; those that the operation does not take are NULL. */
enum { MAX_INPUTS = 3 };

static pare_status check_out_shape(const char *function, pare_tensor *const *inputs, const pare_tensor *out) {
  pare__shape shape = inputs[0]->shape;
  for (int t = 1; t < MAX_INPUTS && inputs[t]; t++) {
    pare__shape both = {0};
    PARE__TRY(pare__shape_broadcast(&shape, &inputs[t]->shape, &both));
    shape = both;
  }
  return pare__check_shape(function, "out", out, shape.rank, shape.dim);
}

static pare_status check_dtypes(const char *function, int mode, pare_tensor *const *inputs, const pare_tensor *out) {
  static const char *const names[MAX_INPUTS] = {"a", "b", "c"};
  const pare__elementwise *operation = pare__elementwise_get(mode);
  int first = mode == PARE__TERNARY + PARE_TERNARY_where ? 1 : 0;
  if (first == 1) PARE__TRY(pare__check_dtype(function, "a", inputs[0], PARE__DTYPE(PARE_BOOL)));
  PARE__TRY(pare__check_dtype(function, names[first], inputs[first], operation->dtypes));
  for (int t = first + 1; t < MAX_INPUTS && inputs[t]; t++)
    PARE__TRY(pare__check_same_dtype(function, names[first], inputs[first], names[t], inputs[t]));
  if (operation->result == PARE__SAME) return pare__check_same_dtype(function, names[first], inputs[first], "out", out);
  return pare__check_dtype(function, "out", out, PARE__DTYPE(PARE_BOOL));
}

static pare_status call(const char *kind, int mode, const double *p, pare_tensor *const *inputs, pare_tensor *out) {
  const pare__elementwise *operation = pare__elementwise_get(mode);
  char function[64];
  snprintf(function, sizeof function, "pare_%s(%s)", kind, operation->name);
  const pare__named named[] = {{"a", inputs[0], false}, {"b", inputs[1], false}, {"c", inputs[2], false}};
  PARE__TRY(pare__check_tensors(function, out, named, (size_t)operation->arity));
  PARE__TRY(check_dtypes(function, mode, inputs, out));
  PARE__TRY(check_out_shape(function, inputs, out));
  return pare__elementwise_submit(mode, p, inputs, out);
}

static pare_status no_operation(const char *function, int operation, int count) {
  return pare__fail(PARE_ERR_ARGUMENT, "%s: there is no operation %d; they are 0 to %d", function, operation,
                    count - 1);
}

pare_status pare_unary(pare_unary_operation operation, pare_tensor *a, pare_tensor *out) {
  if ((unsigned)operation >= PARE_NUNARY) return no_operation("pare_unary", (int)operation, PARE_NUNARY);
  int mode = PARE__UNARY + (int)operation;
  return call("unary", mode, pare__elementwise_defaults(mode), (pare_tensor *[]){a, NULL, NULL}, out);
}

pare_status pare_unary_with(pare_unary_operation operation, double p, double q, pare_tensor *a, pare_tensor *out) {
  if ((unsigned)operation >= PARE_NUNARY) return no_operation("pare_unary_with", (int)operation, PARE_NUNARY);
  return call("unary_with", PARE__UNARY + (int)operation, (double[]){p, q}, (pare_tensor *[]){a, NULL, NULL}, out);
}

pare_status pare_binary(pare_binary_operation operation, pare_tensor *a, pare_tensor *b, pare_tensor *out) {
  if ((unsigned)operation >= PARE_NBINARY) return no_operation("pare_binary", (int)operation, PARE_NBINARY);
  return call("binary", PARE__BINARY + (int)operation, (double[]){0, 0}, (pare_tensor *[]){a, b, NULL}, out);
}

pare_status pare_ternary(pare_ternary_operation operation, pare_tensor *a, pare_tensor *b, pare_tensor *c,
                         pare_tensor *out) {
  if ((unsigned)operation >= PARE_NTERNARY) return no_operation("pare_ternary", (int)operation, PARE_NTERNARY);
  return call("ternary", PARE__TERNARY + (int)operation, (double[]){0, 0}, (pare_tensor *[]){a, b, c}, out);
}

pare_status pare_cast(pare_tensor *a, pare_tensor *out) {
  PARE__TRY(pare__check_call("pare_cast", out, PARE__NAMED(a)));
  PARE__TRY(pare__check_dtype("pare_cast", "a", a, PARE__ANY_DTYPE | PARE__TINY_FLOATS));
  PARE__TRY(pare__check_dtype("pare_cast", "out", out, PARE__ANY_DTYPE | PARE__TINY_FLOATS));
  PARE__TRY(check_broadcast("pare_cast", "a", a, out));
  return pare__elementwise_submit(PARE__CAST, (double[]){0, 0}, &a, out);
}

static const char *name_of(int mode, int operation, int count) {
  return operation >= 0 && operation < count ? pare__elementwise_get(mode + operation)->name : NULL;
}
const char *pare_unary_name(pare_unary_operation operation) {
  return name_of(PARE__UNARY, (int)operation, PARE_NUNARY);
}
const char *pare_binary_name(pare_binary_operation operation) {
  return name_of(PARE__BINARY, (int)operation, PARE_NBINARY);
}
const char *pare_ternary_name(pare_ternary_operation operation) {
  return name_of(PARE__TERNARY, (int)operation, PARE_NTERNARY);
}
