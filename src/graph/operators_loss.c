/* Losses over classes. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/index.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <string.h>

#include "graph/compose.h"
#include "graph/operator_tables.h"

/* x [N, C, d…], target [N, d…]. */
static pare_status check_target(const pare__call *call) {
  const pare__shape *x = &call->input[0]->shape, *target = &call->input[1]->shape;
  bool fits = x->rank >= 2 && target->rank == x->rank - 1 && x->dim[0] == target->dim[0];
  for (int d = 2; fits && d < x->rank; d++) fits = x->dim[d] == target->dim[d - 1];
  char have[PARE__SHAPE_TEXT], other[PARE__SHAPE_TEXT];
  if (!fits)
    return pare__call_fail(call, PARE_ERR_SHAPE, "a target %s does not fit scores %s, which have classes along axis 1",
                           pare__shape_text(target->rank, target->dim, have, sizeof have),
                           pare__shape_text(x->rank, x->dim, other, sizeof other));
  const pare_dtype dtype = call->input[1]->dtype;
  if (dtype != PARE_I32 && dtype != PARE_I64)
    return pare__call_fail(call, PARE_ERR_TYPE, "its target is %s; i32 or i64 is needed", pare_dtype_name(dtype));
  if (pare__call_has(call, 2) && (call->input[2]->shape.rank != 1 || call->input[2]->shape.dim[0] != x->dim[1]))
    return pare__call_fail(call, PARE_ERR_SHAPE, "its weights are not one for each of %lld classes",
                           (long long)x->dim[1]);
  return PARE_OK;
}

/* Where the target is ignore_index, *ignored is true and *target is 0 instead. *ignored NULL: nothing is ignored. */
static pare_status leave_out(pare__call *call, pare_tensor **target, pare_tensor **ignored) {
  *ignored = NULL;
  if (!pare__call_attribute(call, "ignore_index")) return PARE_OK;
  const pare__shape *shape = &(*target)->shape;
  const int64_t value = pare__call_get_int(call, "ignore_index", 0);
  const int32_t narrow = (int32_t)value;
  const bool is_i32 = (*target)->dtype == PARE_I32;
  if (is_i32 && narrow != value) return PARE_OK; /* no target can be it */
  pare_tensor *index, *zero, *kept;
  PARE__TRY(pare__call_constant(call, (*target)->dtype, 0, NULL, is_i32 ? (const void *)&narrow : &value, &index));
  PARE__TRY(pare__call_scalar(call, (*target)->dtype, 0, &zero));
  PARE__TRY(pare__call_scratch(call, PARE_BOOL, shape->rank, shape->dim, ignored));
  PARE__TRY(pare__call_scratch(call, (*target)->dtype, shape->rank, shape->dim, &kept));
  PARE__TRY(pare_binary(PARE_BINARY_equal, *target, index, *ignored));
  PARE__TRY(pare_ternary(PARE_TERNARY_where, *ignored, zero, *target, kept));
  *target = kept;
  return PARE_OK;
}

/* *weight = the weight of each target's class, 0 where it is ignored; NULL: all are 1. */
static pare_status target_weight(pare__call *call, pare_tensor *target, pare_tensor *ignored, pare_dtype dtype,
                                 pare_tensor **weight) {
  pare_tensor *by_class, *zero, *one;
  *weight = NULL;
  PARE__TRY(pare__call_tensor(call, 2, &by_class));
  if (!by_class && !ignored) return PARE_OK;
  PARE__TRY(pare__call_scratch(call, dtype, target->shape.rank, target->shape.dim, weight));
  PARE__TRY(pare__call_scalar(call, dtype, 0, &zero));
  if (!by_class) {
    PARE__TRY(pare__call_scalar(call, dtype, 1, &one));
    return pare_ternary(PARE_TERNARY_where, ignored, zero, one, *weight);
  }
  PARE__TRY(pare__call_cast(call, by_class, dtype, &by_class));
  PARE__TRY(pare_gather(by_class, target, 0, *weight));
  return ignored ? pare_ternary(PARE_TERNARY_where, ignored, zero, *weight, *weight) : PARE_OK;
}

/* Sums the losses, or takes their mean by weight, into output 0. */
static pare_status reduce_losses(pare__call *call, pare_tensor *loss, pare_tensor *weight, bool mean, pare_dtype to) {
  pare_tensor *sum, *total, *out;
  PARE__TRY(pare__call_scratch(call, loss->dtype, 0, NULL, &sum));
  PARE__TRY(pare__call_output(call, 0, to, 0, NULL, &out));
  PARE__TRY(pare_reduce(loss, mean && !weight ? PARE_REDUCTION_MEAN : PARE_REDUCTION_SUM, NULL, 0, false, sum));
  if (mean && weight) {
    PARE__TRY(pare__call_scratch(call, loss->dtype, 0, NULL, &total));
    PARE__TRY(pare_reduce(weight, PARE_REDUCTION_SUM, NULL, 0, false, total));
    PARE__TRY(pare_binary(PARE_BINARY_div, sum, total, sum));
  }
  return pare_cast(sum, out);
}

/* Output 0: -weight[target] x[target], of logarithms of probabilities x. */
static pare_status likelihood_loss(pare__call *call, pare_tensor *x) {
  pare_tensor *target, *ignored, *index, *picked, *weight, *out;
  PARE__TRY(pare__call_tensor(call, 1, &target));
  PARE__TRY(leave_out(call, &target, &ignored));
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, x->shape.dim, sizeof dim);
  dim[1] = 1;
  PARE__TRY(pare__call_reshaped(call, target, x->shape.rank, dim, &index));
  PARE__TRY(pare__call_scratch(call, x->dtype, x->shape.rank, dim, &picked));
  PARE__TRY(pare_gather_elements(x, index, 1, picked));
  PARE__TRY(pare__call_reshaped(call, picked, target->shape.rank, target->shape.dim, &picked));
  const pare_dtype wide = x->dtype == PARE_F64 ? PARE_F64 : PARE_F32;
  PARE__TRY(pare__call_cast(call, picked, wide, &picked));
  PARE__TRY(target_weight(call, target, ignored, wide, &weight));
  PARE__TRY(pare_unary(PARE_UNARY_neg, picked, picked));
  if (weight) PARE__TRY(pare_binary(PARE_BINARY_mul, picked, weight, picked));
  if (ignored) { /* also where an ignored element's score is infinite */
    pare_tensor *zero;
    PARE__TRY(pare__call_scalar(call, wide, 0, &zero));
    PARE__TRY(pare_ternary(PARE_TERNARY_where, ignored, zero, picked, picked));
  }
  const bool mean = pare__call_text_is(call, "reduction", "mean", "mean");
  if (mean || pare__call_text_is(call, "reduction", "mean", "sum"))
    return reduce_losses(call, picked, weight, mean, x->dtype);
  if (!pare__call_text_is(call, "reduction", "mean", "none"))
    return pare__call_fail(call, PARE_ERR_FORMAT, "its reduction is none of none, sum, mean");
  PARE__TRY(pare__call_output(call, 0, x->dtype, target->shape.rank, target->shape.dim, &out));
  return pare_cast(picked, out);
}

static pare_status negative_log_likelihood(pare__call *call) {
  pare_tensor *x;
  PARE__TRY(pare__call_check(call, 2, 3));
  PARE__TRY(pare__call_takes(call, 0));
  PARE__TRY(check_target(call));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  return likelihood_loss(call, x);
}

static pare_status softmax_cross_entropy(pare__call *call) {
  pare_tensor *x, *logarithm;
  PARE__TRY(pare__call_check(call, 2, 3));
  PARE__TRY(check_target(call));
  PARE__TRY(pare__call_tensor(call, 0, &x));
  PARE__TRY(pare__call_output(call, 1, x->dtype, x->shape.rank, x->shape.dim, &logarithm));
  PARE__TRY(pare_log_softmax(x, 1, logarithm));
  return likelihood_loss(call, logarithm);
}

const pare__operator pare__operators_loss[] = {
    {"", "NegativeLogLikelihoodLoss", 12, 0, PARE__ON_DEVICE, negative_log_likelihood, NULL, .types = "floats"},
    {"", "SoftmaxCrossEntropyLoss", 12, 0, PARE__ON_DEVICE, softmax_cross_entropy, NULL, .types = "floats"},
    {0},
};
