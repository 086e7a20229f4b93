/* quantize: every weight to the nearest code of its grid. SPDX-License-Identifier: Apache-2.0 */
#include <pare/grid.h>

#include "compress/quantize.h"

pare_grid pare__grid_of(const pare__grid *grid) {
  return (pare_grid){.bits = (int)grid->bits,
                     .symmetric = grid->symmetric,
                     .granularity = grid->strategy == PARE__PER_TENSOR    ? PARE_PER_TENSOR
                                    : grid->strategy == PARE__PER_CHANNEL ? PARE_PER_CHANNEL
                                                                          : PARE_PER_GROUP,
                     .axis = grid->strategy == PARE__PER_GROUP ? 1 : 0,
                     .group_size = grid->group};
}

pare_fit_options pare__fit_of(const pare__grid *grid) {
  static const pare_range ranges[] = {[PARE__OBSERVE_MINMAX] = PARE_RANGE_MIN_MAX,
                                      [PARE__OBSERVE_PERCENTILE] = PARE_RANGE_PERCENTILE,
                                      [PARE__OBSERVE_MSE] = PARE_RANGE_SQUARED_ERROR};
  return (pare_fit_options){.range = ranges[grid->observer], .percentile = grid->percentile / 100};
}

pare_status pare__result_create(const pare__work *work, pare__result *out) {
  const pare__grid *grid = &work->treatment->grid;
  const pare_grid wanted = pare__grid_of(grid);
  const int64_t *shape = pare_tensor_shape(work->w);
  int64_t dim[PARE_MAX_RANK];
  int rank;
  pare_context *context = pare_tensor_context(work->w);
  *out = (pare__result){.first_row = work->first_row, .nrows = work->nrows};
  PARE__TRY(pare_grid_shape(&wanted, 2, shape, &rank, dim));
  pare_status status = pare_tensor_create(context, grid->symmetric ? PARE_I8 : PARE_U8, 2, shape, &out->codes);
  if (status == PARE_OK) status = pare_tensor_create(context, PARE_F32, rank, dim, &out->scales);
  if (status == PARE_OK && !grid->symmetric) status = pare_tensor_create(context, PARE_U8, rank, dim, &out->zeros);
  if (status != PARE_OK) pare__result_close(out);
  return status;
}

/* Bounds that were found before are those of a tensor that has just these two elements. */
pare_status pare__quantize_fit(pare__work *work) {
  const pare_grid wanted = pare__grid_of(&work->treatment->grid);
  const pare_fit_options fit = pare__fit_of(&work->treatment->grid), reach = PARE_FIT_OPTIONS_INIT;
  const int64_t two = 2;
  pare_tensor *bounds;
  if (!work->treatment->bounded)
    return pare_grid_fit(&wanted, &fit, work->w, NULL, work->result.scales, work->result.zeros);
  PARE__TRY(pare_tensor_from(pare_tensor_context(work->w), PARE_F32, 1, &two, work->treatment->bounds,
                             sizeof work->treatment->bounds, &bounds));
  const pare_status status = pare_grid_fit(&wanted, &reach, bounds, NULL, work->result.scales, work->result.zeros);
  pare_tensor_close(bounds);
  return status;
}

pare_status pare__quantize_nearest(pare__work *work) {
  const pare__grid *grid = &work->treatment->grid;
  if (work->treatment->storage != PARE__STORE_INTEGER) return PARE_OK; /* halves are rounded where they are stored */
  const pare_grid wanted = pare__grid_of(grid);
  const pare_fit_options fit = pare__fit_of(grid);
  pare__result *result = &work->result;
  PARE__TRY(pare__result_create(work, result));
  if (!work->treatment->bounded)
    return pare_grid_encode(&wanted, &fit, work->w, NULL, result->scales, result->zeros, result->codes);
  PARE__TRY(pare__quantize_fit(work));
  return pare_grid_quantize(&wanted, work->w, result->scales, result->zeros, result->codes);
}

static pare_status apply(pare__compression *compression, size_t step, pare__work *work) {
  (void)compression;
  (void)step;
  return pare__quantize_nearest(work);
}

static const pare__quantize_options defaults = PARE__QUANTIZE_DEFAULTS;
static const pare__field fields[] = {PARE__QUANTIZE_FIELDS};

const pare__method pare__method_quantize = {
    .name = "quantize",
    .fields = fields,
    .nfields = PARE__COUNT(fields),
    .options_bytes = sizeof(pare__quantize_options),
    .defaults = &defaults,
    .default_targets = pare__quantize_targets,
    .check = pare__quantize_check,
    .plan = pare__quantize_plan,
    .prepare = pare__quantize_prepare,
    .apply = apply,
};
