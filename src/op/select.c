/* Selection: the k-th element by digits of keys. SPDX-License-Identifier: Apache-2.0 */
#include <pare/select.h>
#include <string.h>

#include "kernel/family_select.h"
#include "op/reduce.h"

#define MAX_ACCESSES 5

typedef struct select_params {
  pare__problem whole;
} select_params;

static pare_status run_family(const pare__piece *piece, const pare__family *family, const pare__problem *whole,
                              const pare__problem *problem) {
  pare__operand operand[MAX_ACCESSES];
  for (unsigned i = 0; i < family->nbuffers; i++)
    operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, family, whole, &choice));
  return pare__run_choice(piece->device, family, &choice, whole, problem, operand);
}

/* ---- the k-th element ---- */

static pare_status run_select(const pare__piece *piece) {
  const select_params *params = piece->params;
  pare__problem problem = params->whole;
  if (!(problem.mode & PARE__SELECT_NARROW)) problem.dim[PARE__SELECT_LENGTH] = piece->binding[0].shape.dim[0];
  return run_family(piece, &pare__family_select, &params->whole, &problem);
}

static const pare__codelet select_codelet = {"select", run_select};

static pare_status submit_select(const pare__problem *whole, pare_tensor *const *tensor, unsigned ntensors, int64_t n) {
  select_params params = {*whole};
  bool narrow = whole->mode & PARE__SELECT_NARROW;
  pare__task task = {.codelet = &select_codelet,
                     .context = tensor[0]->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = n,
                     .naccesses = MAX_ACCESSES};
  for (unsigned i = 0; i < ntensors; i++) {
    params.whole.dtype[i] = tensor[i]->dtype;
    bool sliced = !narrow && i != 1;
    task.access[i] = (pare__access){tensor[i], i < 2 ? PARE__READ : PARE__WRITE, sliced ? 0 : PARE__WHOLE,
                                    i == 0 ? whole->dim[PARE__SELECT_BLOCK] : 1};
  }
  return pare__submit(&task);
}

typedef struct selection {
  pare_tensor *x; /* contiguous, one dimension */
  pare_tensor *state, *threshold, *counts;
  int mode;
} selection;

/* One digit: histogram of the blocks, their sum, the digit; the new state replaces the old one. */
static pare_status select_digit(selection *s, int shift, int bits) {
  const int64_t block = 65536, length = s->x->shape.dim[0], blocks = pare__div_up(length, block),
                bins = PARE__SELECT_BINS, four = 4;
  const int64_t dims[2] = {blocks, bins};
  pare_tensor *histogram = NULL, *totals = NULL, *next = NULL;
  pare_context *context = s->x->context;
  pare__problem problem;
  memset(&problem, 0, sizeof problem);
  problem.dim[PARE__SELECT_LENGTH] = length;
  problem.dim[PARE__SELECT_BLOCK] = block;
  problem.dim[PARE__SELECT_SHIFT] = shift;
  problem.dim[PARE__SELECT_BITS] = bits;
  problem.mode = s->mode;
  pare_status status = pare__tensor_scratch(context, PARE_I32, 2, dims, "histograms of a selection", &histogram);
  if (status == PARE_OK)
    status = pare__tensor_scratch(context, PARE_I64, 1, &bins, "histogram of a selection", &totals);
  if (status == PARE_OK) status = pare__tensor_scratch(context, PARE_I64, 1, &four, "state of a selection", &next);
  if (status == PARE_OK) status = submit_select(&problem, (pare_tensor *[]){s->x, s->state, histogram}, 3, blocks);
  pare__reduce_view view = {1, blocks, bins, 0, bins};
  if (status == PARE_OK)
    status = pare__reduce_axis(PARE__REDUCE_SUM | PARE__REDUCE_FIRST | PARE__REDUCE_FINAL, histogram, NULL, &view,
                               blocks, totals, NULL);
  problem.mode = s->mode | PARE__SELECT_NARROW | (shift == 0 ? PARE__SELECT_FINAL : 0);
  problem.dtype[3] = s->x->dtype;
  if (status == PARE_OK)
    status = submit_select(&problem, (pare_tensor *[]){totals, s->state, next, s->threshold, s->counts},
                           shift == 0 ? 5 : 3, 1);
  pare_tensor_close(s->state);
  s->state = next;
  pare_tensor_close(histogram);
  pare_tensor_close(totals);
  return status;
}

static pare_status select_kth(pare_tensor *x, int64_t k, int mode, pare_tensor *threshold, pare_tensor *counts) {
  const int64_t start[4] = {0, k, 0, 0}, four = 4, elements = pare__shape_elements(&x->shape);
  pare_tensor flat = *x;
  pare__shape_set(&flat.shape, 1, &elements);
  selection s = {&flat, NULL, threshold, counts, mode};
  pare_status status = pare_tensor_from(x->context, PARE_I64, 1, &four, start, sizeof start, &s.state);
  int shift = pare__select_key_bits(x->dtype);
  while (status == PARE_OK && shift > 0) {
    int bits = PARE__MIN(shift, 11);
    shift -= bits;
    status = select_digit(&s, shift, bits);
  }
  pare_tensor_close(s.state);
  return status;
}

pare_status pare_select_kth(pare_tensor *x, int64_t k, const pare_select_options *options, pare_tensor *threshold,
                            pare_tensor *counts) {
  const char *function = "pare_select_kth";
  static const pare_select_options defaults = PARE_SELECT_OPTIONS_INIT;
  static const int64_t two = 2;
  if (!options) options = &defaults;
  PARE__TRY(pare__check_call(function, threshold, PARE__NAMED(x)));
  PARE__TRY(pare__check_output(function, "counts", counts, x));
  PARE__TRY(pare__check_dtype(function, "x", x, options->by_magnitude ? PARE__FLOATS : PARE__ANY_DTYPE));
  PARE__TRY(pare__check_same_dtype(function, "x", x, "threshold", threshold));
  PARE__TRY(pare__check_shape(function, "threshold", threshold, 0, NULL));
  PARE__TRY(pare__check_dtype(function, "counts", counts, PARE__DTYPE(PARE_I64)));
  PARE__TRY(pare__check_shape(function, "counts", counts, 1, &two));
  int64_t elements = pare__shape_elements(&x->shape);
  if (k < 1 || k > elements)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: k is %lld; x has %lld elements", function, (long long)k,
                      (long long)elements);
  int mode = (options->by_magnitude ? PARE__SELECT_MAGNITUDE : 0) | (options->smallest ? PARE__SELECT_SMALLEST : 0);
  pare_tensor *input = NULL, *result = NULL, *kept = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__result_begin(threshold, &result);
  if (status == PARE_OK) status = pare__result_begin(counts, &kept);
  if (status == PARE_OK) status = select_kth(input, k, mode, result, kept);
  status = pare__result_end(status, threshold, result);
  status = pare__result_end(status, counts, kept);
  pare_tensor_close(input);
  return status;
}
