/* Selection: the k-th element by digits of keys, of a long tensor between two bounds from a sample.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/select.h>
#include <string.h>

#include "op/reduce.h"
#include "op/select.h"

#define MAX_ACCESSES 5

typedef struct select_params {
  pare__problem whole;
} select_params;

/* ---- how much ---- */

int64_t pare__select_sample_size(int64_t n) {
  const int64_t least = INT64_C(1) << 16, most = INT64_C(1) << 20;
  int64_t size = least;
  while (size < most && size < n / 256) size *= 2;
  return size;
}

/* 5 standard deviations of the rank, and then some. */
pare__select_ranks pare__select_ranks_of(int64_t k, int64_t n, int64_t sampled) {
  const double share = (double)k / (double)n, count = (double)sampled;
  const int64_t rank = (int64_t)(share * count), margin = (int64_t)(5 * sqrt(count * share * (1 - share))) + 16;
  const int64_t high = rank - margin, low = rank + margin;
  return (pare__select_ranks){PARE__MAX(high, 1), PARE__MIN(low, sampled),
                              (high < 1 ? 1 : 0) | (low > sampled ? 2 : 0)};
}

int64_t pare__select_block(int64_t n) {
  const int64_t shortest = 65536, longest = 4 * shortest;
  return PARE__MAX(shortest, PARE__MIN(longest, n / 512 / shortest * shortest));
}

/* Four times as many as lie between the bounds on average. */
int64_t pare__select_room(int64_t block, int64_t sampled) {
  return PARE__MAX(64, (int64_t)(20 * (double)block / sqrt((double)sampled)));
}

/* ---- one step ---- */

static pare_status run_select(const pare__piece *piece) {
  const select_params *params = piece->params;
  pare__problem problem = params->whole;
  if (!(problem.mode & (PARE__SELECT_NARROW | PARE__SELECT_DECIDE)))
    problem.dim[PARE__SELECT_LENGTH] = piece->binding[0].shape.dim[0];
  pare__operand operand[MAX_ACCESSES];
  for (unsigned i = 0; i < MAX_ACCESSES; i++)
    operand[i] = (pare__operand){piece->binding[i].mem, piece->binding[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_select, &params->whole, &choice));
  return pare__run_choice(piece->device, &pare__family_select, &choice, &params->whole, &problem, operand);
}

static const pare__codelet select_codelet = {"select", run_select};

pare_status pare__select_submit(const pare__problem *whole, pare_tensor *const *tensor, unsigned ntensors,
                                unsigned written, int64_t blocks) {
  select_params params = {*whole};
  bool in_blocks = !(whole->mode & (PARE__SELECT_NARROW | PARE__SELECT_DECIDE));
  pare__task task = {.codelet = &select_codelet,
                     .context = tensor[0]->context,
                     .params = &params,
                     .params_bytes = sizeof params,
                     .n = in_blocks ? blocks : 1,
                     .naccesses = MAX_ACCESSES};
  for (unsigned i = 0; i < ntensors; i++) {
    params.whole.dtype[i] = tensor[i]->dtype;
    task.access[i] = (pare__access){tensor[i], written >> i & 1U ? PARE__WRITE : PARE__READ,
                                    in_blocks && i != 1 ? 0 : PARE__WHOLE, i == 0 ? whole->dim[PARE__SELECT_BLOCK] : 1};
  }
  return pare__submit(&task);
}

typedef struct selection {
  pare_tensor *x; /* contiguous, one dimension */
  pare_tensor *state, *threshold, *counts;
  int mode;
  int64_t length, block, blocks, room, sampled;
  pare_tensor *lists, *tallies; /* what a bracket left, or NULL */
} selection;

static pare__problem problem_of(const selection *s, int step) {
  pare__problem problem;
  memset(&problem, 0, sizeof problem);
  problem.mode = s->mode | step;
  problem.dim[PARE__SELECT_LENGTH] = s->length;
  problem.dim[PARE__SELECT_BLOCK] = s->block;
  problem.dim[PARE__SELECT_ROOM] = s->room;
  problem.dtype[3] = s->x->dtype;
  return problem;
}

static pare_status scratch(const selection *s, pare_dtype dtype, int64_t rows, int64_t columns, pare_tensor **out) {
  const int64_t dims[2] = {rows, columns};
  return pare__tensor_scratch(s->x->context, dtype, rows == 1 ? 1 : 2, rows == 1 ? dims + 1 : dims,
                              "figures of a selection", out);
}

pare_status pare__select_add_blocks(pare_tensor *counts, int64_t blocks, int64_t columns, pare_tensor *totals) {
  pare__reduce_view view = {1, blocks, columns, 0, columns};
  return pare__reduce_axis(PARE__REDUCE_SUM | PARE__REDUCE_FIRST | PARE__REDUCE_FINAL, counts, NULL, &view, blocks,
                           totals, NULL);
}

/* One digit: histogram of the blocks, their sum, the digit; the new state replaces the old one. */
static pare_status select_digit(selection *s, int shift, int bits) {
  pare_tensor *histogram = NULL, *totals = NULL, *next = NULL;
  pare__problem problem = problem_of(s, s->lists ? PARE__SELECT_LISTED : 0);
  problem.dtype[3] = PARE_F32; /* absent unless there are lists */
  problem.dim[PARE__SELECT_SHIFT] = shift;
  problem.dim[PARE__SELECT_BITS] = bits;
  pare_status status = scratch(s, PARE_I32, s->blocks, PARE__SELECT_BINS, &histogram);
  if (status == PARE_OK) status = scratch(s, PARE_I64, 1, PARE__SELECT_BINS, &totals);
  if (status == PARE_OK) status = scratch(s, PARE_I64, 1, PARE__SELECT_STATE, &next);
  pare_tensor *const looked_at[5] = {s->x, s->state, histogram, s->lists, s->tallies};
  if (status == PARE_OK) status = pare__select_submit(&problem, looked_at, s->lists ? 5 : 3, 1U << 2, s->blocks);
  if (status == PARE_OK) status = pare__select_add_blocks(histogram, s->blocks, PARE__SELECT_BINS, totals);
  bool final = shift == 0;
  problem = problem_of(s, PARE__SELECT_NARROW | (final ? PARE__SELECT_FINAL : 0));
  problem.dim[PARE__SELECT_BITS] = bits;
  pare_tensor *const narrowed[5] = {totals, s->state, next, s->threshold, s->counts};
  if (status == PARE_OK) status = pare__select_submit(&problem, narrowed, final ? 5 : 3, 7U << 2, 1);
  pare_tensor_close(s->state);
  s->state = next;
  pare_tensor_close(histogram);
  pare_tensor_close(totals);
  return status;
}

static pare_status select_digits(selection *s) {
  pare_status status = PARE_OK;
  int shift = pare__select_key_bits(s->x->dtype);
  while (status == PARE_OK && shift > 0) {
    int bits = PARE__MIN(shift, 11);
    shift -= bits;
    status = select_digit(s, shift, bits);
  }
  return status;
}

/* x: contiguous, of any shape; flat: a handle on the stack that shows it as one dimension. */
static pare_status begin_selection(pare_tensor *x, int64_t k, int mode, pare_tensor *flat, selection *out) {
  const int64_t start[PARE__SELECT_STATE] = {0, k}, size = PARE__SELECT_STATE;
  int64_t elements = pare__shape_elements(&x->shape);
  *flat = *x;
  pare__shape_set(&flat->shape, 1, &elements);
  *out = (selection){.x = flat, .mode = mode, .length = elements};
  out->block = pare__select_block(elements);
  out->blocks = pare__div_up(elements, out->block);
  out->sampled = pare__select_sample_size(elements);
  out->room = pare__select_room(out->block, out->sampled);
  return pare_tensor_from(x->context, PARE_I64, 1, &size, start, sizeof start, &out->state);
}

/* ---- a bracket from a sample ---- */

/* Runs of neighbours at even distances: few cache lines, and the same elements every time. */
static pare_status take_sample(const selection *s, pare_tensor **out) {
  const int64_t places = s->sampled / PARE__SELECT_SAMPLE_RUN, stride = s->length / places, dims[2] = {places, stride};
  pare_tensor *head = NULL, *rows = NULL, *runs = NULL;
  pare_status status = pare_tensor_slice(s->x, 0, 0, places * stride, 1, &head);
  if (status == PARE_OK) status = pare_tensor_reshape(head, 2, dims, &rows);
  if (status == PARE_OK) status = pare_tensor_slice(rows, 1, stride / 2, PARE__SELECT_SAMPLE_RUN, 1, &runs);
  if (status == PARE_OK) status = pare__contiguous(runs, out);
  pare_tensor_close(runs);
  pare_tensor_close(rows);
  pare_tensor_close(head);
  return status;
}

pare_status pare__select_bound(pare_tensor *sample, int64_t rank, int mode, pare_tensor *bounds, int64_t at) {
  pare_tensor flat, bound = *bounds, *counts = NULL;
  const int64_t two = 2;
  selection s;
  bound.offset += at;
  pare__shape_set(&bound.shape, 0, NULL);
  pare_status status = begin_selection(sample, rank, mode, &flat, &s);
  if (status == PARE_OK) status = pare__tensor_scratch(sample->context, PARE_I64, 1, &two, "counts", &counts);
  s.threshold = &bound;
  s.counts = counts;
  if (status == PARE_OK) status = select_digits(&s);
  pare_tensor_close(s.state);
  pare_tensor_close(counts);
  return status;
}

/* bounds = two elements with the k-th between them, almost surely. *open: see the family. */
static pare_status bound_sample(const selection *s, int64_t k, pare_tensor *bounds, int64_t *open) {
  const pare__select_ranks ranks = pare__select_ranks_of(k, s->length, s->sampled);
  pare_tensor *sample = NULL;
  *open = ranks.open;
  pare_status status = take_sample(s, &sample);
  if (status == PARE_OK) status = pare__select_bound(sample, ranks.high, s->mode, bounds, 0);
  if (status == PARE_OK) status = pare__select_bound(sample, ranks.low, s->mode, bounds, 1);
  pare_tensor_close(sample);
  return status;
}

/* Counts and lists, then decides where digits are looked for. */
static pare_status select_bracket(selection *s, int64_t k) {
  pare_dtype key = pare__select_key_bits(s->x->dtype) == 64 ? PARE_I64 : PARE_I32;
  pare_tensor *bounds = NULL, *totals = NULL, *next = NULL;
  int64_t open = 0;
  pare_status status = scratch(s, s->x->dtype, 1, 2, &bounds);
  if (status == PARE_OK) status = scratch(s, key, s->blocks, s->room, &s->lists);
  if (status == PARE_OK) status = scratch(s, PARE_I32, s->blocks, PARE__SELECT_TALLIES, &s->tallies);
  if (status == PARE_OK) status = scratch(s, PARE_I64, 1, PARE__SELECT_TALLIES, &totals);
  if (status == PARE_OK) status = scratch(s, PARE_I64, 1, PARE__SELECT_STATE, &next);
  if (status == PARE_OK) status = bound_sample(s, k, bounds, &open);
  pare__problem problem = problem_of(s, PARE__SELECT_BRACKET);
  problem.dim[PARE__SELECT_OPEN] = open;
  pare_tensor *const counted[4] = {s->x, bounds, s->lists, s->tallies};
  if (status == PARE_OK) status = pare__select_submit(&problem, counted, 4, 3U << 2, s->blocks);
  if (status == PARE_OK) status = pare__select_add_blocks(s->tallies, s->blocks, PARE__SELECT_TALLIES, totals);
  problem.mode = s->mode | PARE__SELECT_DECIDE;
  pare_tensor *const decided[4] = {totals, s->state, next, bounds};
  if (status == PARE_OK) status = pare__select_submit(&problem, decided, 4, 1U << 2, 1);
  pare_tensor_close(s->state);
  s->state = next;
  pare_tensor_close(totals);
  pare_tensor_close(bounds);
  return status;
}

static pare_status select_kth(pare_tensor *x, int64_t k, int mode, pare_tensor *threshold, pare_tensor *counts) {
  pare_tensor flat;
  selection s;
  pare_status status = begin_selection(x, k, mode, &flat, &s);
  s.threshold = threshold;
  s.counts = counts;
  if (status == PARE_OK && s.length >= PARE__SELECT_WORTH_A_SAMPLE) status = select_bracket(&s, k);
  if (status == PARE_OK) status = select_digits(&s);
  pare_tensor_close(s.state);
  pare_tensor_close(s.lists);
  pare_tensor_close(s.tallies);
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
