/* Pruning on tensors: masks from scores, masks on weights. SPDX-License-Identifier: Apache-2.0 */
#include "op/prune.h"

#include <math.h>
#include <pare/elementwise.h>
#include <pare/grid.h>
#include <pare/random.h>
#include <stdlib.h>
#include <string.h>

#include "op/reduce.h"

static const uint32_t only_bool = PARE__DTYPE(PARE_BOOL), only_i64 = PARE__DTYPE(PARE_I64);

pare_tensor pare__flat(const pare_tensor *tensor) {
  const int64_t elements = pare__shape_elements(&tensor->shape);
  pare_tensor flat = *tensor;
  pare__shape_set(&flat.shape, 1, &elements);
  return flat;
}

pare_status pare__axis_last(pare_tensor *tensor, int axis, pare_tensor **out) {
  int axes[PARE_MAX_RANK], naxes = 0;
  for (int d = 0; d < tensor->shape.rank; d++)
    if (d != axis) axes[naxes++] = d;
  axes[naxes] = axis;
  return pare_tensor_permute(tensor, axes, out);
}

/* ---- blocks ---- */

static pare_status run_mask(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  const pare__binding *bound = piece->binding;
  pare__problem part = *whole;
  part.dim[MASK_LENGTH] = bound[MASK_BUFFER_X].shape.dim[0];
  pare__operand operand[MASK_NBUFFERS];
  for (int i = 0; i < MASK_NBUFFERS; i++) operand[i] = (pare__operand){bound[i].mem, bound[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_mask, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_mask, &choice, whole, &part, operand);
}

static const pare__codelet mask_codelet = {"mask", run_mask};

static int64_t block_of(int64_t elements) {
  const int64_t shortest = 65536, most_blocks = 16384;
  return PARE__MAX(shortest, pare__round_up(pare__div_up(elements, most_blocks), shortest));
}

/* One step in blocks of x; tensors in the order of the family's buffers, NULL where absent. */
static pare_status submit_mask(int mode, pare_tensor *const tensor[MASK_NBUFFERS]) {
  const int64_t length = tensor[0]->shape.dim[0], block = block_of(length);
  const int step = mode & PRUNE_STEP;
  const bool undivided = step == MASK_SHARE || step == MASK_LIST;
  pare__problem whole = {.mode = mode};
  whole.dim[MASK_LENGTH] = length;
  whole.dim[MASK_BLOCK] = block;
  for (int i = 0; i < MASK_NBUFFERS; i++) whole.dtype[i] = tensor[i] ? tensor[i]->dtype : PARE_F32;
  pare__task task = {.codelet = &mask_codelet,
                     .context = tensor[0]->context,
                     .params = &whole,
                     .params_bytes = sizeof whole,
                     .n = undivided ? 1 : pare__div_up(length, block),
                     .naccesses = MASK_NBUFFERS};
  for (int i = 0; i < MASK_NBUFFERS; i++) {
    const bool whole_of_it = undivided || i == MASK_BUFFER_THRESHOLD;
    const bool written = i == MASK_BUFFER_OUT || (i == MASK_BUFFER_FIGURES && step != MASK_KEEP);
    task.access[i] = (pare__access){tensor[i], written ? PARE__WRITE : PARE__READ, whole_of_it ? PARE__WHOLE : 0,
                                    i == MASK_BUFFER_FIGURES ? 1 : block};
  }
  return pare__submit(&task);
}

static pare_status new_figures(const pare_tensor *x, pare_tensor **out) {
  const int64_t elements = pare__shape_elements(&x->shape), blocks = pare__div_up(elements, block_of(elements));
  return pare__tensor_scratch(x->context, PARE_I32, 1, &blocks, "figures of blocks", out);
}

pare_status pare__mask_keep(pare_tensor *scores, bool by_magnitude, pare_tensor *threshold, pare_tensor *quota,
                            pare_tensor *left, pare_tensor *mask) {
  const int order = by_magnitude ? PRUNE_MAGNITUDE : 0;
  pare_tensor x = pare__flat(scores), y = pare__flat(mask), *ties = NULL, *share = NULL;
  pare_status status = PARE_OK;
  if (quota) {
    status = new_figures(&x, &ties);
    if (status == PARE_OK) status = new_figures(&x, &share);
    if (status == PARE_OK) status = submit_mask(MASK_TIES | order, (pare_tensor *[]){&x, threshold, ties, NULL});
    if (status == PARE_OK) status = submit_mask(MASK_SHARE, (pare_tensor *[]){ties, quota, share, left});
  }
  if (status == PARE_OK) status = submit_mask(MASK_KEEP | order, (pare_tensor *[]){&x, threshold, share, &y});
  pare_tensor_close(ties);
  pare_tensor_close(share);
  return status;
}

/* starts (i64, to close) = how many elements are set before each block; *count: in all. */
static pare_status count_before_blocks(pare_tensor *x, int64_t *count, pare_tensor **starts) {
  pare_tensor *figures = NULL;
  PARE__TRY(new_figures(x, &figures));
  const int64_t blocks = figures->shape.dim[0];
  const size_t nbytes = (size_t)blocks * sizeof(int64_t);
  int64_t *before = malloc(nbytes + 1);
  int32_t *set = malloc(nbytes + 1);
  pare_status status = before && set ? PARE_OK : pare__fail_memory("figures of blocks", nbytes);
  if (status == PARE_OK) status = submit_mask(MASK_COUNT, (pare_tensor *[]){x, NULL, figures, NULL});
  if (status == PARE_OK) status = pare_tensor_read(figures, set, (size_t)blocks * sizeof *set);
  *count = 0;
  for (int64_t b = 0; b < blocks && status == PARE_OK; b++) {
    before[b] = *count;
    *count += set[b];
  }
  if (status == PARE_OK) status = pare_tensor_from(x->context, PARE_I64, 1, &blocks, before, nbytes, starts);
  free(before);
  free(set);
  pare_tensor_close(figures);
  return status;
}

pare_status pare__mask_list(pare_tensor *mask, pare_tensor **out) {
  pare_tensor x = pare__flat(mask), *starts = NULL;
  int64_t count = 0;
  *out = NULL;
  pare_status status = x.shape.dim[0] > 0 ? count_before_blocks(&x, &count, &starts) : PARE_OK;
  if (status == PARE_OK) status = pare_tensor_create(mask->context, PARE_I64, 1, &count, out);
  if (status == PARE_OK && count > 0) status = submit_mask(MASK_LIST, (pare_tensor *[]){&x, starts, NULL, *out});
  pare_tensor_close(starts);
  if (status == PARE_OK) return PARE_OK;
  pare_tensor_close(*out);
  *out = NULL;
  return status;
}

/* ---- rows ---- */

static pare_status run_rows(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  const pare__binding *bound = piece->binding;
  pare__problem part = *whole;
  part.dim[ROW_SELECT_ROWS] = bound[ROW_SELECT_BUFFER_X].shape.dim[0];
  const pare__operand operand[] = {{bound[0].mem, bound[0].offset}, {bound[1].mem, bound[1].offset}};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_row_select, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_row_select, &choice, whole, &part, operand);
}

static const pare__codelet rows_codelet = {"row selection", run_rows};

pare_status pare__row_select(pare_tensor *x, int mode, int64_t part, int64_t k, int64_t k_last, pare_tensor *out) {
  const int64_t length = x->shape.dim[x->shape.rank - 1], elements = pare__shape_elements(&x->shape);
  if (elements == 0) return PARE_OK;
  const int64_t rows = elements / length, dim[] = {rows, length};
  const int64_t out_dim[] = {rows, mode & PRUNE_VALUES ? pare__div_up(length, part) : length};
  pare_tensor from = *x, to = *out;
  pare__shape_set(&from.shape, 2, dim);
  pare__shape_set(&to.shape, 2, out_dim);
  pare__problem whole = {.mode = mode, .dtype = {x->dtype, out->dtype}};
  const int64_t dims[] = {rows, length, part, k, k_last};
  memcpy(whole.dim, dims, sizeof dims);
  const pare__task task = {.codelet = &rows_codelet,
                           .context = x->context,
                           .params = &whole,
                           .params_bytes = sizeof whole,
                           .n = rows,
                           .naccesses = ROW_SELECT_NBUFFERS,
                           .access = {{&from, PARE__READ, 0, 1}, {&to, PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

/* ---- N:M ---- */

static pare_status run_n_of_m(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  const pare__binding *bound = piece->binding;
  pare__problem part = *whole;
  part.dim[N_OF_M_SETS] = bound[N_OF_M_BUFFER_X].shape.dim[0];
  const pare__operand operand[] = {{bound[0].mem, bound[0].offset}, {bound[1].mem, bound[1].offset}};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_n_of_m, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_n_of_m, &choice, whole, &part, operand);
}

static const pare__codelet n_of_m_codelet = {"N:M", run_n_of_m};

/* x and out are contiguous; the axis is known to be a multiple of m. */
static pare_status submit_n_of_m(pare_tensor *x, int mode, int axis, int n, int m, pare_tensor *out) {
  int64_t inner = 1;
  for (int d = axis + 1; d < x->shape.rank; d++) inner *= x->shape.dim[d];
  const int64_t elements = pare__shape_elements(&x->shape);
  if (elements == 0) return PARE_OK;
  const int64_t sets = elements / inner / m, dim[] = {sets, m, inner};
  pare_tensor from = *x, to = *out;
  pare__shape_set(&from.shape, 3, dim);
  pare__shape_set(&to.shape, 3, dim);
  pare__problem whole = {.mode = mode, .dtype = {x->dtype, out->dtype}};
  const int64_t dims[] = {sets, m, inner, n};
  memcpy(whole.dim, dims, sizeof dims);
  const pare__task task = {.codelet = &n_of_m_codelet,
                           .context = x->context,
                           .params = &whole,
                           .params_bytes = sizeof whole,
                           .n = sets,
                           .grain = PARE__MAX(1, 4096 / (m * inner)),
                           .naccesses = N_OF_M_NBUFFERS,
                           .access = {{&from, PARE__READ, 0, 1}, {&to, PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

/* ---- the public functions ---- */

static pare_status check_scores(const char *function, pare_tensor *scores, pare_tensor *mask) {
  PARE__TRY(pare__check_call(function, mask, PARE__NAMED(scores)));
  PARE__TRY(pare__check_dtype(function, "scores", scores, PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_dtype(function, "mask", mask, only_bool));
  return pare__check_shape(function, "mask", mask, scores->shape.rank, scores->shape.dim);
}

pare_status pare_mask_threshold(pare_tensor *scores, bool by_magnitude, double threshold, pare_tensor *mask) {
  const char *function = "pare_mask_threshold";
  PARE__TRY(check_scores(function, scores, mask));
  if (isnan(threshold)) return pare__fail(PARE_ERR_ARGUMENT, "%s: the threshold is NaN", function);
  /* every magnitude reaches a negative threshold */
  const float limit = by_magnitude && threshold < 0 ? 0 : (float)threshold;
  pare_tensor *input = NULL, *bound = NULL, *result = NULL;
  pare_status status = pare__contiguous(scores, &input);
  if (status == PARE_OK) status = pare_tensor_from(scores->context, PARE_F32, 0, NULL, &limit, sizeof limit, &bound);
  if (status == PARE_OK) status = pare__result_begin(mask, &result);
  if (status == PARE_OK) status = pare__mask_keep(input, by_magnitude, bound, NULL, NULL, result);
  status = pare__result_end(status, mask, result);
  pare_tensor_close(input);
  pare_tensor_close(bound);
  return status;
}

/* 0 < k. */
static pare_status keep_largest(pare_tensor *scores, bool by_magnitude, int64_t k, pare_tensor *mask) {
  const int64_t two = 2;
  const pare_select_options options = {by_magnitude, false};
  pare_tensor *threshold = NULL, *counts = NULL, *quota = NULL, *left = NULL;
  pare_context *context = scores->context;
  pare_status status = pare__tensor_scratch(context, scores->dtype, 0, NULL, "threshold", &threshold);
  if (status == PARE_OK) status = pare__tensor_scratch(context, PARE_I64, 1, &two, "counts", &counts);
  if (status == PARE_OK) status = pare__tensor_scratch(context, PARE_I64, 0, NULL, "rest of ties", &left);
  if (status == PARE_OK) status = pare_select_kth(scores, k, &options, threshold, counts);
  if (status == PARE_OK) status = pare_tensor_slice(counts, 0, 1, 1, 1, &quota);
  if (status == PARE_OK) status = pare__mask_keep(scores, by_magnitude, threshold, quota, left, mask);
  pare_tensor_close(threshold);
  pare_tensor_close(counts);
  pare_tensor_close(quota);
  pare_tensor_close(left);
  return status;
}

static pare_status check_k(const char *function, int64_t k, int64_t most, const char *of_what) {
  if (k >= 0 && k <= most) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s: k is %lld; %s has %lld elements", function, (long long)k, of_what,
                    (long long)most);
}

pare_status pare_mask_largest(pare_tensor *scores, bool by_magnitude, int64_t k, pare_tensor *mask) {
  const char *function = "pare_mask_largest";
  PARE__TRY(check_scores(function, scores, mask));
  PARE__TRY(check_k(function, k, pare__shape_elements(&scores->shape), "scores"));
  if (k == 0) return pare_random_bernoulli(0, 0, 0, mask);
  pare_tensor *input = NULL, *result = NULL;
  pare_status status = pare__contiguous(scores, &input);
  if (status == PARE_OK) status = pare__result_begin(mask, &result);
  if (status == PARE_OK) status = keep_largest(input, by_magnitude, k, result);
  status = pare__result_end(status, mask, result);
  pare_tensor_close(input);
  return status;
}

pare_status pare_mask_largest_rows(pare_tensor *scores, bool by_magnitude, int axis, int64_t k, pare_tensor *mask) {
  const char *function = "pare_mask_largest_rows";
  PARE__TRY(check_scores(function, scores, mask));
  PARE__TRY(pare__axis(function, axis, scores->shape.rank, &axis));
  const int64_t length = scores->shape.dim[axis];
  PARE__TRY(check_k(function, k, length, "a row"));
  pare_tensor *from = NULL, *to = NULL, *input = NULL, *result = NULL;
  pare_status status = pare__axis_last(scores, axis, &from);
  if (status == PARE_OK) status = pare__axis_last(mask, axis, &to);
  if (status == PARE_OK) status = pare__contiguous(from, &input);
  if (status == PARE_OK) status = pare__result_begin(to, &result);
  if (status == PARE_OK)
    status = pare__row_select(input, by_magnitude ? PRUNE_MAGNITUDE : 0, PARE__MAX(length, 1), k, k, result);
  status = pare__result_end(status, to, result);
  pare_tensor_close(from);
  pare_tensor_close(to);
  pare_tensor_close(input);
  return status;
}

static pare_status n_of_m(const char *function, pare_tensor *x, int mode, int axis, int n, int m, pare_tensor *out) {
  PARE__TRY(pare__axis(function, axis, x->shape.rank, &axis));
  if (n <= 0 || m <= n || m > 16)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: %d:%d; 0 < n < m <= 16 is possible", function, n, m);
  if (x->shape.dim[axis] % m != 0) {
    char text[PARE__SHAPE_TEXT];
    return pare__fail(PARE_ERR_SHAPE, "%s: axis %d of %s is not a multiple of %d long", function, axis,
                      pare__shape_text(x->shape.rank, x->shape.dim, text, sizeof text), m);
  }
  pare_tensor *input = NULL, *result = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = pare__result_begin(out, &result);
  if (status == PARE_OK) status = submit_n_of_m(input, mode, axis, n, m, result);
  status = pare__result_end(status, out, result);
  pare_tensor_close(input);
  return status;
}

pare_status pare_mask_n_of_m(pare_tensor *scores, bool by_magnitude, int axis, int n, int m, pare_tensor *mask) {
  const char *function = "pare_mask_n_of_m";
  PARE__TRY(check_scores(function, scores, mask));
  return n_of_m(function, scores, by_magnitude ? PRUNE_MAGNITUDE : 0, axis, n, m, mask);
}

pare_status pare_prune_n_of_m(pare_tensor *w, int axis, int n, int m, pare_tensor *out) {
  const char *function = "pare_prune_n_of_m";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(w)));
  PARE__TRY(pare__check_dtype(function, "w", w, PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_same_dtype(function, "w", w, "out", out));
  PARE__TRY(pare__check_shape(function, "out", out, w->shape.rank, w->shape.dim));
  return n_of_m(function, w, PRUNE_MAGNITUDE | PRUNE_VALUES, axis, n, m, out);
}

/* The same bits as an unsigned integer. */
static pare_tensor as_bits(const pare_tensor *tensor) {
  pare_tensor bits = *tensor;
  switch (pare_dtype_bytes(tensor->dtype)) {
  case 1: bits.dtype = PARE_U8; break;
  case 2: bits.dtype = PARE_U16; break;
  case 4: bits.dtype = PARE_U32; break;
  default: bits.dtype = PARE_U64;
  }
  return bits;
}

pare_status pare_mask_apply(pare_tensor *w, pare_tensor *mask, pare_tensor *out) {
  const char *function = "pare_mask_apply";
  PARE__TRY(pare__check_call(function, out, PARE__NAMED(w), PARE__NAMED(mask)));
  PARE__TRY(pare__check_same_dtype(function, "w", w, "out", out));
  PARE__TRY(pare__check_dtype(function, "mask", mask, only_bool));
  PARE__TRY(pare__check_shape(function, "mask", mask, w->shape.rank, w->shape.dim));
  PARE__TRY(pare__check_shape(function, "out", out, w->shape.rank, w->shape.dim));
  const uint64_t nothing = 0;
  pare_tensor from = as_bits(w), to = as_bits(out), *zero = NULL;
  PARE__TRY(pare_tensor_from(w->context, from.dtype, 0, NULL, &nothing, pare_dtype_bytes(from.dtype), &zero));
  pare_status status = pare_ternary(PARE_TERNARY_where, mask, &from, zero, &to);
  pare_tensor_close(zero);
  return status;
}

pare_status pare_mask_count(pare_tensor *mask, pare_tensor *count) {
  const char *function = "pare_mask_count";
  PARE__TRY(pare__check_call(function, count, PARE__NAMED(mask)));
  PARE__TRY(pare__check_dtype(function, "mask", mask, only_bool));
  PARE__TRY(pare__check_dtype(function, "count", count, only_i64));
  if (pare__shape_elements(&count->shape) != 1)
    return pare__fail(PARE_ERR_SHAPE, "%s: count has %lld elements; it must have one", function,
                      (long long)pare__shape_elements(&count->shape));
  pare_tensor *input = NULL, *figures = NULL;
  pare_status status = pare__contiguous(mask, &input);
  if (status == PARE_OK) status = new_figures(input, &figures);
  if (status == PARE_OK) {
    pare_tensor x = pare__flat(input), total = pare__flat(count);
    const pare__reduce_view view = {1, figures->shape.dim[0], 1, figures->shape.dim[0], 1};
    status = submit_mask(MASK_COUNT, (pare_tensor *[]){&x, NULL, figures, NULL});
    if (status == PARE_OK)
      status = pare__reduce_axis(PARE__REDUCE_SUM | PARE__REDUCE_FIRST | PARE__REDUCE_FINAL, figures, NULL, &view,
                                 view.reduced, &total, NULL);
  }
  pare_tensor_close(input);
  pare_tensor_close(figures);
  return status;
}

pare_status pare_first_nonfinite(pare_tensor *x, int64_t *index) {
  const char *function = "pare_first_nonfinite";
  if (!x) return pare__fail_null(function, "x");
  if (!index) return pare__fail_null(function, "index");
  *index = -1;
  PARE__TRY(pare__context_check(function, x->context));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__SMALL_FLOATS));
  pare_tensor *input = NULL, *figures = NULL;
  int32_t *first = NULL;
  pare_status status = pare__contiguous(x, &input);
  if (status == PARE_OK) status = new_figures(input, &figures);
  if (status != PARE_OK) goto out;
  const int64_t blocks = figures->shape.dim[0], elements = pare__shape_elements(&input->shape);
  const size_t nbytes = (size_t)blocks * sizeof *first;
  pare_tensor flat = pare__flat(input);
  status = submit_mask(MASK_NONFINITE | PRUNE_MAGNITUDE, (pare_tensor *[]){&flat, NULL, figures, NULL});
  if (status != PARE_OK || blocks == 0) goto out;
  first = malloc(nbytes);
  status = first ? pare_tensor_read(figures, first, nbytes) : pare__fail_memory("figures of blocks", nbytes);
  for (int64_t b = 0; status == PARE_OK && b < blocks && *index < 0; b++)
    if (first[b] >= 0) *index = b * block_of(elements) + first[b];
out:
  free(first);
  pare_tensor_close(input);
  pare_tensor_close(figures);
  return status;
}
