/* Quantisation grids of weights: ranges, codes, packing. SPDX-License-Identifier: Apache-2.0
 *
 * Kernels know rows with groups along them. A tensor is brought into that form by a view (and a transposing copy where
 * it is not contiguous): one row per tensor, the channel first per channel, the groups' axis last per group. */
#include "op/grid.h"

#include <math.h>
#include <pare/elementwise.h>
#include <stdlib.h>
#include <string.h>

#include "op/prune.h"
#include "op/quantise.h"
#include "op/select.h"

#define BYTES (PARE__DTYPE(PARE_U8) | PARE__DTYPE(PARE_I8))

/* ---- checks ---- */

pare_status pare__grid_check(const char *function, const pare_grid *grid, const pare_tensor *w, int *axis) {
  if (!grid) return pare__fail_null(function, "grid");
  if (grid->bits < 2 || grid->bits > 8)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: a grid of %d bits; 2 to 8 are possible", function, grid->bits);
  if (grid->full_range && !grid->symmetric)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: full_range is about symmetric grids; this one is not", function);
  *axis = 0;
  switch (grid->granularity) {
  case PARE_PER_TENSOR: return PARE_OK;
  case PARE_PER_CHANNEL: return pare__axis(function, grid->axis, w->shape.rank, axis);
  case PARE_PER_GROUP: break;
  default: return pare__fail(PARE_ERR_ARGUMENT, "%s: granularity %d is none", function, (int)grid->granularity);
  }
  if (grid->group_size < 1)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: groups of %lld elements; at least 1 is possible", function,
                      (long long)grid->group_size);
  return pare__axis(function, grid->axis, w->shape.rank, axis);
}

pare_status pare_grid_shape(const pare_grid *grid, int rank, const int64_t *shape, int *out_rank, int64_t *out_shape) {
  const char *function = "pare_grid_shape";
  pare_tensor w = {0};
  int axis;
  if (!out_rank) return pare__fail_null(function, "out_rank");
  if (!out_shape) return pare__fail_null(function, "out_shape");
  if (!shape && rank > 0) return pare__fail_null(function, "shape");
  if (rank < 0 || rank > PARE_MAX_RANK || !pare__shape_set(&w.shape, rank, shape))
    return pare__fail(PARE_ERR_SHAPE, "%s: rank %d, or a dimension, is out of range", function, rank);
  PARE__TRY(pare__grid_check(function, grid, &w, &axis));
  *out_rank = grid->granularity == PARE_PER_TENSOR ? 0 : grid->granularity == PARE_PER_CHANNEL ? 1 : rank;
  if (grid->granularity == PARE_PER_CHANNEL) out_shape[0] = shape[axis];
  for (int d = 0; grid->granularity == PARE_PER_GROUP && d < rank; d++)
    out_shape[d] = d == axis ? pare__div_up(shape[d], grid->group_size) : shape[d];
  return PARE_OK;
}

static pare_status check_parameter(const char *function, const char *name, const pare_grid *grid, const pare_tensor *w,
                                   const pare_tensor *parameter) {
  int rank;
  int64_t shape[PARE_MAX_RANK];
  PARE__TRY(pare_grid_shape(grid, w->shape.rank, w->shape.dim, &rank, shape));
  if (rank == 0 && pare__shape_elements(&parameter->shape) == 1) return PARE_OK;
  return pare__check_shape(function, name, parameter, rank, shape);
}

pare_status pare__grid_check_parameters(const char *function, const pare_grid *grid, const pare_tensor *w,
                                        const pare_tensor *scale, const pare_tensor *zero, pare_dtype codes) {
  PARE__TRY(pare__check_dtype(function, "scale", scale, PARE__SMALL_FLOATS));
  PARE__TRY(check_parameter(function, "scale", grid, w, scale));
  if (!zero && grid->symmetric) return PARE_OK;
  if (!zero)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: zero is NULL; a grid that is not symmetric has zero points", function);
  if (grid->symmetric) return pare__fail(PARE_ERR_ARGUMENT, "%s: a symmetric grid has no zero points", function);
  PARE__TRY(pare__check_dtype(function, "zero", zero, codes == PARE_NDTYPES ? BYTES : PARE__DTYPE(codes)));
  return check_parameter(function, "zero", grid, w, zero);
}

pare_status pare__grid_check_importance(const char *function, pare_tensor *importance, pare_tensor *w,
                                        pare_tensor **out) {
  *out = NULL;
  if (!importance) return PARE_OK;
  PARE__TRY(pare__check_dtype(function, "importance", importance, PARE__DTYPE(PARE_F32)));
  return pare_tensor_broadcast(importance, w->shape.rank, w->shape.dim, out);
}

/* ---- rows ---- */

typedef struct rows {
  int64_t rows, length, part;
} rows;

/* The rows of a tensor of w's rank: a view with the same elements in their order. */
static pare_status view_rows(const pare_grid *grid, int axis, pare_tensor *tensor, pare_tensor **out) {
  if (grid->granularity == PARE_PER_GROUP) return pare__axis_last(tensor, axis, out);
  int axes[PARE_MAX_RANK];
  for (int d = 0; d < tensor->shape.rank; d++) axes[d] = d;
  for (int d = axis; grid->granularity == PARE_PER_CHANNEL && d > 0; d--) axes[d] = axes[d - 1];
  if (grid->granularity == PARE_PER_CHANNEL) axes[0] = axis;
  return pare_tensor_permute(tensor, axes, out);
}

/* Scale or zero in the order of the rows. */
static pare_status view_parameters(const pare_grid *grid, int axis, pare_tensor *parameter, pare_tensor **out) {
  if (grid->granularity == PARE_PER_GROUP) return pare__axis_last(parameter, axis, out);
  return pare_tensor_reshape(parameter, 1, (const int64_t[]){pare__shape_elements(&parameter->shape)}, out);
}

static rows rows_of(const pare_grid *grid, int axis, const pare_tensor *w) {
  const int64_t elements = pare__shape_elements(&w->shape);
  rows r = {1, elements, PARE__MAX(elements, 1)};
  if (grid->granularity == PARE_PER_TENSOR || elements == 0) return r;
  if (grid->granularity == PARE_PER_CHANNEL) {
    r.rows = w->shape.dim[axis];
    r.length = r.part = elements / r.rows;
    return r;
  }
  r.length = w->shape.dim[axis];
  r.rows = elements / r.length;
  r.part = PARE__MIN(grid->group_size, r.length);
  return r;
}

static int mode_of(const pare_grid *grid, int step, pare_dtype codes) {
  return step | (grid->symmetric ? CODING_SYMMETRIC : 0) | (grid->full_range ? CODING_FULL_RANGE : 0) |
         (codes == PARE_I8 ? CODING_SIGNED : 0);
}

typedef struct grid_params {
  pare__problem whole;
  const pare__family *family;
} grid_params;

static pare_status run_grid(const pare__piece *piece) {
  const grid_params *params = piece->params;
  const pare__binding *bound = piece->binding;
  pare__problem part = params->whole;
  part.dim[CODING_ROWS] = bound[CODING_BUFFER_SCALE].shape.dim[0];
  pare__operand operand[CODING_NBUFFERS];
  for (int i = 0; i < CODING_NBUFFERS; i++) operand[i] = (pare__operand){bound[i].mem, bound[i].offset};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, params->family, &params->whole, &choice));
  return pare__run_choice(piece->device, params->family, &choice, &params->whole, &part, operand);
}

static const pare__codelet grid_codelet = {"grid", run_grid};

/* One step over rows. Tensors in the order of the family's buffers, contiguous, NULL where absent; of each, `columns`
 * elements belong to a row (0: one row for all). */
static pare_status submit_grid(const pare__family *family, int mode, int bits, const rows *r,
                               pare_tensor *const tensor[CODING_NBUFFERS], const int64_t columns[CODING_NBUFFERS]) {
  if (r->rows * r->length == 0) return PARE_OK;
  grid_params params = {.whole = {.mode = mode}, .family = family};
  const int step = mode & CODING_STEP;
  const int64_t dims[] = {r->rows, r->length, r->part, bits};
  memcpy(params.whole.dim, dims, sizeof dims);
  if (family == &pare__family_grid_fit && tensor[CODING_BUFFER_IMPORTANCE]) {
    params.whole.dim[CODING_IMPORTANCE] = 1;
    params.whole.dim[CODING_IMPORTANCE_STRIDE] = columns[CODING_BUFFER_IMPORTANCE];
  }
  const bool given = step == CODING_QUANTISE || step == CODING_DEQUANTISE,
             in_last = step == CODING_FROM_RANGE || family == &pare__family_grid_fit;
  pare__task task = {
      .codelet = &grid_codelet, .context = tensor[0]->context, .n = r->rows, .naccesses = CODING_NBUFFERS};
  pare_tensor seen[CODING_NBUFFERS];
  for (int i = 0; i < CODING_NBUFFERS; i++) {
    params.whole.dtype[i] = tensor[i]                                         ? tensor[i]->dtype
                            : i == CODING_BUFFER_ZERO && mode & CODING_SIGNED ? PARE_I8
                            : i == CODING_BUFFER_ZERO                         ? PARE_U8
                                                                              : PARE_F32;
    if (!tensor[i]) continue;
    const int64_t dim[] = {columns[i] ? r->rows : 1, columns[i] ? columns[i] : r->length};
    seen[i] = *tensor[i];
    pare__shape_set(&seen[i].shape, 2, dim);
    const bool parameter = i == CODING_BUFFER_SCALE || i == CODING_BUFFER_ZERO;
    const bool written = parameter ? !given : i == CODING_BUFFER_OUT && !in_last;
    task.access[i] = (pare__access){&seen[i], written ? PARE__WRITE : PARE__READ, columns[i] ? 0 : PARE__WHOLE, 1};
  }
  task.params = &params;
  task.params_bytes = sizeof params;
  return pare__submit(&task);
}

/* ---- fits; x, scale and zero are contiguous, in the order of the rows ---- */

static int64_t parts_of(const rows *r) { return pare__div_up(r->length, r->part); }

/* Scale and zero from what low and high hold of each group. */
static pare_status from_range(const pare_grid *grid, const rows *r, pare_tensor *low, pare_tensor *high,
                              pare_tensor *scale, pare_tensor *zero) {
  const rows groups = {r->rows * parts_of(r), 1, 1};
  const int64_t columns[] = {1, 1, 1, 1};
  return submit_grid(&pare__family_grid, mode_of(grid, CODING_FROM_RANGE, zero ? zero->dtype : PARE_U8), grid->bits,
                     &groups, (pare_tensor *[]){low, scale, zero, high}, columns);
}

static pare_status fit_min_max(const pare_grid *grid, const rows *r, pare_tensor *x, pare_tensor *scale,
                               pare_tensor *zero) {
  const int64_t short_group = 65536, parts = parts_of(r), columns[] = {r->length, parts, parts, 0};
  if (r->rows * parts > 1 || r->length <= short_group)
    return submit_grid(&pare__family_grid, mode_of(grid, CODING_RANGE, zero ? zero->dtype : PARE_U8), grid->bits, r,
                       (pare_tensor *[]){x, scale, zero, NULL}, columns);
  /* one long group: in chunks */
  pare_tensor *chunks = NULL, *range = NULL;
  pare_status status = pare__range_submit(x, &chunks);
  if (status == PARE_OK) status = pare__range_submit(chunks, &range);
  if (status == PARE_OK) {
    pare_tensor low = pare__flat(range), high = low;
    const int64_t one = 1;
    pare__shape_set(&low.shape, 1, &one);
    high.shape = low.shape;
    high.offset++;
    status = from_range(grid, r, &low, &high, scale, zero);
  }
  pare_tensor_close(chunks);
  pare_tensor_close(range);
  return status;
}

/* The k-th largest (smallest, or largest magnitude) value of each group, f32. */
static pare_status select_values(const rows *r, pare_tensor *x, int mode, double percentile, pare_tensor *values) {
  const int64_t short_group = 1 << 20, last = r->length - (parts_of(r) - 1) * r->part, two = 2;
  const int64_t k = 1 + (int64_t)((1 - percentile) * (double)r->part),
                k_last = 1 + (int64_t)((1 - percentile) * (double)last);
  if (r->rows * parts_of(r) > 1 || r->length <= short_group) {
    pare_tensor seen = *x;
    pare__shape_set(&seen.shape, 2, (const int64_t[]){r->rows, r->length});
    return pare__row_select(&seen, mode | PRUNE_VALUES, r->part, k, k_last, values);
  }
  const pare_select_options options = {mode & PRUNE_MAGNITUDE, mode & PRUNE_SMALLEST};
  pare_tensor *threshold = NULL, *counts = NULL, *scalar = NULL;
  pare_status status = pare__tensor_scratch(x->context, x->dtype, 0, NULL, "percentile", &threshold);
  if (status == PARE_OK) status = pare__tensor_scratch(x->context, PARE_I64, 1, &two, "counts", &counts);
  if (status == PARE_OK) status = pare_select_kth(x, k, &options, threshold, counts);
  if (status == PARE_OK) status = pare_tensor_reshape(values, 0, NULL, &scalar);
  if (status == PARE_OK) status = pare_cast(threshold, scalar);
  pare_tensor_close(threshold);
  pare_tensor_close(counts);
  pare_tensor_close(scalar);
  return status;
}

static pare_status fit_percentile(const pare_grid *grid, const rows *r, pare_tensor *x, double percentile,
                                  pare_tensor *scale, pare_tensor *zero) {
  const int64_t groups = r->rows * parts_of(r);
  pare_tensor *low = NULL, *high = NULL;
  pare_status status = pare__tensor_scratch(x->context, PARE_F32, 1, &groups, "percentiles", &high);
  if (status == PARE_OK) status = select_values(r, x, grid->symmetric ? PRUNE_MAGNITUDE : 0, percentile, high);
  if (status == PARE_OK && !grid->symmetric)
    status = pare__tensor_scratch(x->context, PARE_F32, 1, &groups, "percentiles", &low);
  if (status == PARE_OK && !grid->symmetric) status = select_values(r, x, PRUNE_SMALLEST, percentile, low);
  /* a low end above zero counts as zero */
  if (status == PARE_OK) status = from_range(grid, r, low ? low : high, high, scale, zero);
  pare_tensor_close(low);
  pare_tensor_close(high);
  return status;
}

static pare_status fit_squared_error(const pare_grid *grid, const rows *r, pare_tensor *x, pare_tensor *importance,
                                     int64_t importance_columns, pare_tensor *scale, pare_tensor *zero) {
  const int64_t most_pieces = 1024, parts = parts_of(r), columns[] = {r->length, parts, parts, importance_columns};
  const bool exact = grid->symmetric && r->part << (grid->bits - 1) <= most_pieces;
  return submit_grid(&pare__family_grid_fit,
                     mode_of(grid, 0, zero ? zero->dtype : PARE_U8) | (exact ? CODING_EXACT : 0), grid->bits, r,
                     (pare_tensor *[]){x, scale, zero, importance}, columns);
}

/* *out = importance in rows; *columns = 0 if all rows have the same. */
static pare_status importance_rows(const pare_grid *grid, int axis, const rows *r, pare_tensor *importance,
                                   pare_tensor **out, int64_t *columns) {
  *out = NULL;
  *columns = r->length;
  if (!importance) return PARE_OK;
  pare_tensor *view = NULL;
  PARE__TRY(view_rows(grid, axis, importance, &view));
  const int rank = view->shape.rank;
  const int row_axes = grid->granularity == PARE_PER_TENSOR ? 0 : grid->granularity == PARE_PER_CHANNEL ? 1 : rank - 1;
  bool same = r->rows > 1;
  for (int d = 0; d < row_axes; d++) same = same && (view->shape.stride[d] == 0 || view->shape.dim[d] == 1);
  for (int d = 0; same && d < row_axes; d++) view->shape.dim[d] = 1;
  if (same) *columns = 0;
  pare_status status = pare__contiguous(view, out);
  pare_tensor_close(view);
  return status;
}

typedef struct fit_call {
  const char *function;
  const pare_grid *grid;
  const pare_fit_options *options;
  int axis;
  rows rows;
  pare_tensor *importance; /* broadcast to w, or NULL */
  /* in the order of the rows, contiguous; results are begun */
  pare_tensor *x, *scale, *zero;
  pare_tensor *scale_view, *zero_view;
} fit_call;

static pare_status check_fit(fit_call *call, pare_tensor *w, pare_tensor *importance, pare_tensor *scale,
                             pare_tensor *zero, pare_dtype codes) {
  static const pare_fit_options defaults = PARE_FIT_OPTIONS_INIT;
  if (!call->options) call->options = &defaults;
  PARE__TRY(pare__grid_check(call->function, call->grid, w, &call->axis));
  PARE__TRY(pare__check_dtype(call->function, "w", w, PARE__SMALL_FLOATS));
  PARE__TRY(pare__grid_check_parameters(call->function, call->grid, w, scale, zero, codes));
  if ((unsigned)call->options->range > PARE_RANGE_SQUARED_ERROR)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: range %d is none", call->function, (int)call->options->range);
  if (call->options->range == PARE_RANGE_PERCENTILE &&
      !(call->options->percentile > 0.5 && call->options->percentile <= 1))
    return pare__fail(PARE_ERR_ARGUMENT, "%s: the percentile %g is not in (0.5, 1]", call->function,
                      call->options->percentile);
  call->rows = rows_of(call->grid, call->axis, w);
  return pare__grid_check_importance(call->function, importance, w, &call->importance);
}

static pare_status begin_fit(fit_call *call, pare_tensor *w, pare_tensor *scale, pare_tensor *zero) {
  pare_tensor *view = NULL;
  PARE__TRY(view_rows(call->grid, call->axis, w, &view));
  pare_status status = pare__contiguous(view, &call->x);
  pare_tensor_close(view);
  if (status == PARE_OK) status = view_parameters(call->grid, call->axis, scale, &call->scale_view);
  if (status == PARE_OK) status = pare__result_begin(call->scale_view, &call->scale);
  if (status == PARE_OK && zero) status = view_parameters(call->grid, call->axis, zero, &call->zero_view);
  if (status == PARE_OK && zero) status = pare__result_begin(call->zero_view, &call->zero);
  return status;
}

/* Ranges of no elements are those of zeros. */
static pare_status fit_nothing(fit_call *call) {
  const int64_t count = pare_tensor_elements(call->scale);
  const rows each = {count, 1, 1};
  if (count == 0) return PARE_OK;
  float *zeros = calloc((size_t)count, sizeof *zeros);
  if (!zeros) return pare__fail_memory("ranges", (size_t)count * sizeof *zeros);
  pare_tensor *range = NULL;
  pare_status status = pare_tensor_from(pare_tensor_context(call->scale), PARE_F32, 1, &count, zeros,
                                        (size_t)count * sizeof *zeros, &range);
  if (status == PARE_OK) status = from_range(call->grid, &each, range, range, call->scale, call->zero);
  pare_tensor_close(range);
  free(zeros);
  return status;
}

static pare_status run_fit(fit_call *call) {
  if (call->rows.rows * call->rows.length == 0) return fit_nothing(call);
  if (call->options->range == PARE_RANGE_MIN_MAX)
    return fit_min_max(call->grid, &call->rows, call->x, call->scale, call->zero);
  if (call->options->range == PARE_RANGE_PERCENTILE)
    return fit_percentile(call->grid, &call->rows, call->x, call->options->percentile, call->scale, call->zero);
  pare_tensor *importance;
  int64_t columns;
  pare_status status = importance_rows(call->grid, call->axis, &call->rows, call->importance, &importance, &columns);
  if (status == PARE_OK)
    status = fit_squared_error(call->grid, &call->rows, call->x, importance, columns, call->scale, call->zero);
  pare_tensor_close(importance);
  return status;
}

static pare_status end_fit(fit_call *call, pare_status status) {
  if (call->scale_view) status = pare__result_end(status, call->scale_view, call->scale);
  if (call->zero_view) status = pare__result_end(status, call->zero_view, call->zero);
  pare_tensor *const held[] = {call->importance, call->x, call->scale_view, call->zero_view};
  for (size_t i = 0; i < PARE__COUNT(held); i++) pare_tensor_close(held[i]);
  return status;
}

pare_status pare_grid_fit(const pare_grid *grid, const pare_fit_options *options, pare_tensor *w,
                          pare_tensor *importance, pare_tensor *scale, pare_tensor *zero) {
  fit_call call = {.function = "pare_grid_fit", .grid = grid, .options = options};
  PARE__TRY(pare__check_call(call.function, scale, PARE__NAMED(w), PARE__OPTIONAL(importance)));
  if (zero) PARE__TRY(pare__check_output(call.function, "zero", zero, w));
  pare_status status = check_fit(&call, w, importance, scale, zero, PARE_NDTYPES);
  if (status == PARE_OK) status = begin_fit(&call, w, scale, zero);
  if (status == PARE_OK) status = run_fit(&call);
  return end_fit(&call, status);
}

/* ---- codes and back ---- */

/* step: QUANTISE (from w to q) or DEQUANTISE (from q to x). One scale of all is repeated for each index of the first
 * axis, so that there are rows to share out. */
static pare_status convert(const pare_grid *grid, int axis, int step, pare_tensor *from, pare_tensor *scale,
                           pare_tensor *zero, pare_tensor *to) {
  rows r = rows_of(grid, axis, from);
  pare_tensor *view[4] = {NULL}, *input = NULL, *steps = NULL, *origin = NULL, *result = NULL;
  pare_status status = view_rows(grid, axis, from, &view[0]);
  if (status == PARE_OK) status = view_parameters(grid, axis, scale, &view[1]);
  if (status == PARE_OK && zero) status = view_parameters(grid, axis, zero, &view[2]);
  if (status == PARE_OK) status = view_rows(grid, axis, to, &view[3]);
  if (status == PARE_OK && grid->granularity == PARE_PER_TENSOR && from->shape.rank > 0 && r.length > 0) {
    const int64_t count = from->shape.dim[0];
    r = (rows){count, r.length / count, r.length / count};
    for (int i = 1; status == PARE_OK && i <= 2; i++) {
      pare_tensor *one = view[i];
      if (!one) continue;
      status = pare_tensor_broadcast(one, 1, &count, &view[i]);
      if (status == PARE_OK)
        pare_tensor_close(one);
      else
        view[i] = one;
    }
  }
  if (status == PARE_OK) status = pare__contiguous(view[0], &input);
  if (status == PARE_OK) status = pare__contiguous(view[1], &steps);
  if (status == PARE_OK && zero) status = pare__contiguous(view[2], &origin);
  if (status == PARE_OK) status = pare__result_begin(view[3], &result);
  const int64_t parts = r.length ? parts_of(&r) : 0, columns[] = {r.length, parts, parts, r.length};
  const pare_dtype codes = step == CODING_QUANTISE ? to->dtype : from->dtype;
  if (status == PARE_OK)
    status = submit_grid(&pare__family_grid, mode_of(grid, step, codes), grid->bits, &r,
                         (pare_tensor *[]){input, steps, origin, result}, columns);
  if (view[3]) status = pare__result_end(status, view[3], result);
  pare_tensor *const held[] = {view[0], view[1], view[2], view[3], input, steps, origin};
  for (size_t i = 0; i < PARE__COUNT(held); i++) pare_tensor_close(held[i]);
  return status;
}

pare_status pare_grid_quantize(const pare_grid *grid, pare_tensor *w, pare_tensor *scale, pare_tensor *zero,
                               pare_tensor *q) {
  const char *function = "pare_grid_quantize";
  int axis;
  PARE__TRY(pare__check_call(function, q, PARE__NAMED(w), PARE__NAMED(scale), PARE__OPTIONAL(zero)));
  PARE__TRY(pare__grid_check(function, grid, w, &axis));
  PARE__TRY(pare__check_dtype(function, "w", w, PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_dtype(function, "q", q, BYTES));
  PARE__TRY(pare__check_shape(function, "q", q, w->shape.rank, w->shape.dim));
  PARE__TRY(pare__grid_check_parameters(function, grid, w, scale, zero, q->dtype));
  return convert(grid, axis, CODING_QUANTISE, w, scale, zero, q);
}

pare_status pare_grid_dequantize(const pare_grid *grid, pare_tensor *q, pare_tensor *scale, pare_tensor *zero,
                                 pare_tensor *x) {
  const char *function = "pare_grid_dequantize";
  int axis;
  PARE__TRY(pare__check_call(function, x, PARE__NAMED(q), PARE__NAMED(scale), PARE__OPTIONAL(zero)));
  PARE__TRY(pare__grid_check(function, grid, q, &axis));
  PARE__TRY(pare__check_dtype(function, "x", x, PARE__SMALL_FLOATS));
  PARE__TRY(pare__check_dtype(function, "q", q, BYTES));
  PARE__TRY(pare__check_shape(function, "x", x, q->shape.rank, q->shape.dim));
  PARE__TRY(pare__grid_check_parameters(function, grid, q, scale, zero, q->dtype));
  return convert(grid, axis, CODING_DEQUANTISE, q, scale, zero, x);
}

/* ---- fit and codes ---- */

/* Ranges and codes in one pass: groups of min-max along rows of w, q in w's layout or two codes of 4 bits a byte. */
static bool in_one_pass(const fit_call *call, const pare_tensor *w, const pare_tensor *q, bool packed) {
  const int64_t long_part = 1 << 20;
  const rows *r = &call->rows;
  if (call->options->range != PARE_RANGE_MIN_MAX || r->part > long_part || !pare__shape_contiguous(&q->shape))
    return false;
  const bool by_group = call->grid->granularity == PARE_PER_GROUP;
  const bool in_order = call->grid->granularity == PARE_PER_TENSOR || call->axis == (by_group ? w->shape.rank - 1 : 0);
  if (!packed) return in_order;
  return in_order && call->grid->granularity == PARE_PER_GROUP && call->grid->bits == 4 && r->part % 2 == 0 &&
         r->length % 2 == 0 && q->shape.dim[q->shape.rank - 1] == r->length / 2;
}

static pare_status encode_rows(fit_call *call, pare_tensor *q, bool packed) {
  const rows *r = &call->rows;
  if (r->rows * r->length == 0) return fit_nothing(call);
  const int64_t parts = parts_of(r), columns[] = {r->length, parts, parts, packed ? r->length / 2 : r->length};
  return submit_grid(&pare__family_grid, mode_of(call->grid, CODING_ENCODE, q->dtype) | (packed ? CODING_PACKED : 0),
                     call->grid->bits, r, (pare_tensor *[]){call->x, call->scale, call->zero, q}, columns);
}

static pare_status check_packed(const char *function, const pare_grid *grid, const pare_tensor *w, const pare_tensor *q,
                                bool *packed) {
  const int rank = w->shape.rank;
  PARE__TRY(pare__check_dtype(function, "q", q, BYTES));
  *packed = rank > 0 && q->dtype == PARE_U8 && grid->bits < 8 && q->shape.rank == rank &&
            q->shape.dim[rank - 1] != w->shape.dim[rank - 1];
  if (!*packed) return pare__check_shape(function, "q", q, rank, w->shape.dim);
  int64_t dim[PARE_MAX_RANK];
  memcpy(dim, w->shape.dim, sizeof dim);
  const int64_t least = pare__div_up(dim[rank - 1] * grid->bits, 8);
  dim[rank - 1] = PARE__MAX(q->shape.dim[rank - 1], least);
  return pare__check_shape(function, "q", q, rank, dim);
}

pare_status pare_grid_encode(const pare_grid *grid, const pare_fit_options *options, pare_tensor *w,
                             pare_tensor *importance, pare_tensor *scale, pare_tensor *zero, pare_tensor *q) {
  fit_call call = {.function = "pare_grid_encode", .grid = grid, .options = options};
  bool packed;
  PARE__TRY(pare__check_call(call.function, q, PARE__NAMED(w), PARE__NAMED(scale), PARE__OPTIONAL(importance)));
  PARE__TRY(pare__check_output(call.function, "scale", scale, w));
  if (zero) PARE__TRY(pare__check_output(call.function, "zero", zero, w));
  PARE__TRY(pare__grid_check(call.function, grid, w, &call.axis));
  PARE__TRY(check_packed(call.function, grid, w, q, &packed));
  pare_tensor *codes = NULL;
  pare_status status = check_fit(&call, w, importance, scale, zero, q->dtype);
  if (status == PARE_OK) status = begin_fit(&call, w, scale, zero);
  const bool one_pass = status == PARE_OK && in_one_pass(&call, w, q, packed);
  if (one_pass) status = encode_rows(&call, q, packed);
  if (status == PARE_OK && !one_pass) status = run_fit(&call);
  status = end_fit(&call, status);
  if (status != PARE_OK || one_pass) return status;
  if (!packed) return convert(grid, call.axis, CODING_QUANTISE, w, scale, zero, q);
  status = pare__tensor_scratch(w->context, q->dtype, w->shape.rank, w->shape.dim, "codes", &codes);
  if (status == PARE_OK) status = convert(grid, call.axis, CODING_QUANTISE, w, scale, zero, codes);
  if (status == PARE_OK) status = pare_codes_pack(codes, grid->bits, q);
  pare_tensor_close(codes);
  return status;
}

/* ---- packed codes ---- */

static pare_status run_pack(const pare__piece *piece) {
  const pare__problem *whole = piece->params;
  const pare__binding *bound = piece->binding;
  pare__problem part = *whole;
  part.dim[CODES_ROWS] = bound[CODES_BUFFER_CODES].shape.dim[0];
  const pare__operand operand[] = {{bound[0].mem, bound[0].offset}, {bound[1].mem, bound[1].offset}};
  pare__choice choice;
  PARE__TRY(pare__choose(piece->device, &pare__family_codes_pack, whole, &choice));
  return pare__run_choice(piece->device, &pare__family_codes_pack, &choice, whole, &part, operand);
}

static const pare__codelet pack_codelet = {"codes", run_pack};

static pare_status submit_pack(int mode, int bits, pare_tensor *codes, pare_tensor *packed) {
  const int64_t length = codes->shape.dim[codes->shape.rank - 1], wide = packed->shape.dim[packed->shape.rank - 1];
  const int64_t elements = pare__shape_elements(&packed->shape);
  if (elements == 0) return PARE_OK;
  const int64_t count = elements / wide;
  pare_tensor q = *codes, p = *packed;
  pare__shape_set(&q.shape, 2, (const int64_t[]){count, length});
  pare__shape_set(&p.shape, 2, (const int64_t[]){count, wide});
  pare__problem whole = {.mode = mode, .dtype = {q.dtype, p.dtype}};
  const int64_t dims[] = {count, length, wide, bits};
  memcpy(whole.dim, dims, sizeof dims);
  const bool back = mode == CODES_BACK;
  const pare__task task = {
      .codelet = &pack_codelet,
      .context = codes->context,
      .params = &whole,
      .params_bytes = sizeof whole,
      .n = count,
      .naccesses = CODES_NBUFFERS,
      .access = {{&q, back ? PARE__WRITE : PARE__READ, 0, 1}, {&p, back ? PARE__READ : PARE__WRITE, 0, 1}}};
  return pare__submit(&task);
}

static pare_status pack_call(const char *function, int mode, pare_tensor *q, int bits, pare_tensor *packed) {
  if (bits < 2 || bits > 8)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: codes of %d bits; 2 to 8 are possible", function, bits);
  PARE__TRY(pare__check_dtype(function, "q", q, BYTES));
  PARE__TRY(pare__check_dtype(function, "packed", packed, PARE__DTYPE(PARE_U8) | PARE__DTYPE(PARE_I32)));
  PARE__TRY(pare__check_rank(function, "q", q, 1, PARE_MAX_RANK));
  int64_t dim[PARE_MAX_RANK];
  const int last = q->shape.rank - 1;
  memcpy(dim, q->shape.dim, sizeof dim);
  dim[last] = packed->dtype == PARE_I32 ? pare__div_up(dim[last], 32 / bits) : pare__div_up(dim[last] * bits, 8);
  if (packed->shape.rank == q->shape.rank) dim[last] = PARE__MAX(dim[last], packed->shape.dim[last]);
  PARE__TRY(pare__check_shape(function, "packed", packed, q->shape.rank, dim));
  pare_tensor *from = mode == CODES_FORTH ? q : packed, *to = mode == CODES_FORTH ? packed : q, *input = NULL,
              *result = NULL;
  pare_status status = pare__contiguous(from, &input);
  if (status == PARE_OK) status = pare__result_begin(to, &result);
  if (status == PARE_OK)
    status = submit_pack(mode, bits, mode == CODES_FORTH ? input : result, mode == CODES_FORTH ? result : input);
  status = pare__result_end(status, to, result);
  pare_tensor_close(input);
  return status;
}

pare_status pare_codes_pack(pare_tensor *q, int bits, pare_tensor *packed) {
  const char *function = "pare_codes_pack";
  PARE__TRY(pare__check_call(function, packed, PARE__NAMED(q)));
  return pack_call(function, CODES_FORTH, q, bits, packed);
}

pare_status pare_codes_unpack(pare_tensor *packed, int bits, pare_tensor *q) {
  const char *function = "pare_codes_unpack";
  PARE__TRY(pare__check_call(function, q, PARE__NAMED(packed)));
  return pack_call(function, CODES_BACK, q, bits, packed);
}
