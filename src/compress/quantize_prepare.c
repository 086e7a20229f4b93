/* What quantising methods find before the first row: bounds of weights in pieces, ranges of activations.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/reduce.h>
#include <stdlib.h>

#include "compress/calibration.h"
#include "compress/histogram.h"
#include "compress/quantize.h"
#include "compress/select_weights.h"

typedef pare_status (*visit_rows)(pare_tensor *w, void *user);

/* Every row of a weight, some at a time, as the step gets it. */
static pare_status visit(pare__compression *compression, size_t index, size_t step, visit_rows take, void *user) {
  const int64_t rows = pare__weight_rows(&compression->checkpoint->weights[index]);
  const int64_t most = pare__most_rows(compression, index);
  for (int64_t row = 0; row < rows; row += most) {
    pare_tensor *w;
    PARE__TRY(pare__load_before(compression, index, step, row, PARE__MIN(most, rows - row), &w));
    const pare_status status = take(w, user);
    pare_tensor_close(w);
    PARE__TRY(status);
  }
  return PARE_OK;
}

/* ---- by minimum and maximum ---- */

static pare_status extreme(pare_tensor *w, pare_reduction reduction, float *out) {
  static const int both[] = {0, 1};
  pare_tensor *found;
  PARE__TRY(pare_tensor_create(pare_tensor_context(w), PARE_F32, 0, NULL, &found));
  pare_status status = pare_reduce(w, reduction, both, 2, false, found);
  if (status == PARE_OK) status = pare_tensor_read(found, out, sizeof *out);
  pare_tensor_close(found);
  return status;
}

static pare_status widen(pare_tensor *w, void *user) {
  float *bounds = user, low, high;
  PARE__TRY(extreme(w, PARE_REDUCTION_MIN, &low));
  PARE__TRY(extreme(w, PARE_REDUCTION_MAX, &high));
  bounds[0] = PARE__MIN(bounds[0], low);
  bounds[1] = PARE__MAX(bounds[1], high);
  return PARE_OK;
}

/* ---- by percentile, exactly ---- */

/* The k-th largest of all of the weight. */
static pare_status select_kth(pare__compression *compression, size_t index, size_t step, int64_t k, bool by_magnitude,
                              float *out) {
  pare_selection *selection;
  double threshold = 0;
  const int64_t total = compression->checkpoint->weights[index].elements;
  PARE__TRY(pare_selection_open(compression->context, total, k, by_magnitude, &selection));
  pare_status status = pare__select_weights(compression, step, index, index + 1, selection);
  if (status == PARE_OK) status = pare_selection_threshold(selection, &threshold, NULL, NULL);
  pare_selection_close(selection);
  *out = (float)threshold;
  return status;
}

static pare_status find_percentile(pare__compression *compression, size_t index, size_t step, float bounds[2]) {
  const pare__grid *grid = &compression->treatments[index].grid;
  const int64_t total = compression->checkpoint->weights[index].elements;
  const int64_t k = 1 + (int64_t)((1 - pare__fit_of(grid).percentile) * (double)total);
  bounds[0] = 0;
  PARE__TRY(select_kth(compression, index, step, k, grid->symmetric, &bounds[1]));
  return grid->symmetric ? PARE_OK : select_kth(compression, index, step, total + 1 - k, false, &bounds[0]);
}

/* ---- by squared error ---- */

static pare_status count_values(pare_tensor *w, void *user) {
  const size_t count = (size_t)pare_tensor_elements(w);
  float *values = malloc(count * sizeof *values + 1);
  if (!values) return pare__fail_memory("rows of a weight", count * sizeof *values);
  const pare_status status = pare_tensor_read(w, values, count * sizeof *values);
  if (status == PARE_OK) pare__histogram_add(user, values, count);
  free(values);
  return status;
}

static pare_status find_least_error(pare__compression *compression, size_t index, size_t step, float bounds[2]) {
  const pare__grid *grid = &compression->treatments[index].grid;
  pare__histogram *histogram = calloc(1, sizeof *histogram);
  if (!histogram) return pare__fail_memory("a histogram", sizeof *histogram);
  histogram->low = bounds[0];
  histogram->high = bounds[1];
  const pare_status status = visit(compression, index, step, count_values, histogram);
  if (status == PARE_OK) pare__histogram_least_error(histogram, grid->bits, grid->symmetric, bounds);
  free(histogram);
  return status;
}

/* ---- all ---- */

static pare_status find_bounds(pare__compression *compression, size_t index, size_t step) {
  pare__treatment *treatment = &compression->treatments[index];
  float *bounds = treatment->bounds;
  bounds[0] = bounds[1] = 0;
  if (treatment->grid.observer == PARE__OBSERVE_PERCENTILE)
    PARE__TRY(find_percentile(compression, index, step, bounds));
  else
    PARE__TRY(visit(compression, index, step, widen, bounds));
  if (treatment->grid.observer == PARE__OBSERVE_MSE) PARE__TRY(find_least_error(compression, index, step, bounds));
  treatment->bounded = true;
  return PARE_OK;
}

pare_status pare__quantize_prepare(pare__compression *compression, size_t step) {
  for (size_t i = 0; i < compression->checkpoint->nweights; i++) {
    const pare__treatment *treatment = &compression->treatments[i];
    if (pare__treats(treatment, step) && treatment->storage == PARE__STORE_INTEGER &&
        treatment->grid.strategy == PARE__PER_TENSOR && pare__in_pieces(compression, i))
      PARE__TRY(find_bounds(compression, i, step));
  }
  return pare__calibration_ranges(compression, step);
}
