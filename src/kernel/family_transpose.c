/* Transpose: variants, launch, reference. The problem is in family_transpose.h. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_transpose.h"

#include <stdio.h>

#include "base/dtype.h"

/* ---- problems ---- */

/* Row-major x [batch0][batch1][rows][columns + gap] into y [batch0][batch1][columns][rows + gap]. */
static void set_problem(pare__problem *out, pare_dtype dtype, const int64_t *shape, int64_t gap) {
  int64_t x_row = shape[3] + gap, y_column = shape[2] + gap;
  const int64_t dim[] = {shape[2],
                         shape[3],
                         shape[0],
                         shape[1],
                         shape[1] * shape[2] * x_row,
                         shape[2] * x_row,
                         x_row,
                         shape[1] * shape[3] * y_column,
                         shape[3] * y_column,
                         y_column};
  for (unsigned i = 0; i < PARE__COUNT(dim); i++) out->dim[i] = dim[i];
  out->dtype[0] = out->dtype[1] = dtype;
}

static bool transpose_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  static const pare_dtype dtypes[] = {PARE_I32, PARE_I16, PARE_U8, PARE_I64};
  static const int64_t tiny[][4] = {{2, 3, 17, 41}}, bench[][4] = {{1, 1, 4096, 4096}, {8, 12, 128, 64}};
  static const int64_t test[][4] = {{1, 1, 1, 1}, {1, 1, 7, 13},  {2, 3, 16, 8},  {1, 2, 67, 131}, {0, 1, 8, 8},
                                    {1, 1, 0, 5}, {3, 1, 129, 5}, {1, 1, 5, 257}, {1, 1, 512, 320}};
  if (set == PARE__CASES_BENCH) {
    if (index >= PARE__COUNT(bench)) return false;
    set_problem(out, PARE_I32, bench[index], 0);
    return true;
  }
  unsigned shapes = set == PARE__CASES_SELFTEST ? PARE__COUNT(tiny) : PARE__COUNT(test);
  if (index >= shapes * PARE__COUNT(dtypes)) return false;
  set_problem(out, dtypes[index / shapes], set == PARE__CASES_SELFTEST ? tiny[index % shapes] : test[index % shapes],
              index % 3);
  return true;
}

static int64_t span(const pare__problem *problem, bool of_y) {
  const int64_t *dim = problem->dim, *stride = dim + (of_y ? TRANSPOSE_Y_BATCH0 : TRANSPOSE_X_BATCH0);
  int64_t lines = dim[of_y ? TRANSPOSE_COLUMNS : TRANSPOSE_ROWS],
          length = dim[of_y ? TRANSPOSE_ROWS : TRANSPOSE_COLUMNS];
  if (dim[TRANSPOSE_BATCH0] * dim[TRANSPOSE_BATCH1] * lines * length == 0) return 0;
  return (dim[TRANSPOSE_BATCH0] - 1) * stride[0] + (dim[TRANSPOSE_BATCH1] - 1) * stride[1] + (lines - 1) * stride[2] +
         length;
}

static void transpose_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  *out = (pare__buffer_spec){i == 0 ? PARE__IN : PARE__OUT, span(problem, i == 1)};
}

static bool transpose_reference(const pare__problem *problem, void *const *data, double *const *expected,
                                double *const *tolerance) {
  const int64_t *dim = problem->dim;
  for (int64_t i = 0; i < span(problem, true); i++) tolerance[1][i] = -1; /* between the lines anything may lie */
  for (int64_t b0 = 0; b0 < dim[TRANSPOSE_BATCH0]; b0++)
    for (int64_t b1 = 0; b1 < dim[TRANSPOSE_BATCH1]; b1++)
      for (int64_t r = 0; r < dim[TRANSPOSE_ROWS]; r++)
        for (int64_t c = 0; c < dim[TRANSPOSE_COLUMNS]; c++) {
          int64_t from = b0 * dim[TRANSPOSE_X_BATCH0] + b1 * dim[TRANSPOSE_X_BATCH1] + r * dim[TRANSPOSE_X_ROW] + c;
          int64_t to = b0 * dim[TRANSPOSE_Y_BATCH0] + b1 * dim[TRANSPOSE_Y_BATCH1] + c * dim[TRANSPOSE_Y_COLUMN] + r;
          expected[1][to] = pare__load(problem->dtype[0], data[0], (size_t)from);
          tolerance[1][to] = 0;
        }
  return true;
}

static double elements(const pare__problem *problem) {
  double n = 1;
  for (int i = TRANSPOSE_ROWS; i <= TRANSPOSE_BATCH1; i++) n *= (double)problem->dim[i];
  return n;
}

static void transpose_work(const pare__problem *problem, double *flops, double *bytes) {
  *flops = 0;
  *bytes = 2 * elements(problem) * (double)pare_dtype_bytes(problem->dtype[0]);
}

static void transpose_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lldx%lldx%lldx%lld of %zu bytes", (long long)dim[TRANSPOSE_BATCH0],
           (long long)dim[TRANSPOSE_BATCH1], (long long)dim[TRANSPOSE_ROWS], (long long)dim[TRANSPOSE_COLUMNS],
           pare_dtype_bytes(problem->dtype[0]));
}

static void transpose_class(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%zu bytes %s", pare_dtype_bytes(problem->dtype[0]),
           elements(problem) < 1 << 20 ? "small" : "large");
}

/* ---- launches ---- */

static bool transpose_accepts(const pare_device_info *info, const pare__problem *whole) {
  (void)info;
  return whole->dim[TRANSPOSE_ROWS] <= INT32_MAX - 512 && whole->dim[TRANSPOSE_COLUMNS] <= INT32_MAX - 512 &&
         whole->dim[TRANSPOSE_BATCH1] <= INT32_MAX;
}

static void push_arguments(pare__args *args, const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  pare__arg_int(args, (int32_t)dim[TRANSPOSE_ROWS]);
  pare__arg_int(args, (int32_t)dim[TRANSPOSE_COLUMNS]);
  pare__arg_int(args, (int32_t)dim[TRANSPOSE_BATCH1]);
  for (unsigned i = 0; i < 2; i++) {
    pare__arg_mem(args, run->operand[i].mem);
    pare__arg_long(args, run->operand[i].offset);
    for (int k = 0; k < 3; k++) pare__arg_long(args, dim[(i ? TRANSPOSE_Y_BATCH0 : TRANSPOSE_X_BATCH0) + k]);
  }
}

/* A group takes tile_rows by tile_columns elements. */
static pare_status launch(const pare__run *run, const char *entry, const char *options, int64_t tile_rows,
                          int64_t tile_columns, const size_t *local) {
  const int64_t *dim = run->piece->dim;
  if (elements(run->piece) == 0) return PARE_OK;
  pare__args args = {0};
  push_arguments(&args, run);
  const size_t global[] = {(size_t)pare__div_up(dim[TRANSPOSE_COLUMNS], tile_columns) * local[0],
                           (size_t)pare__div_up(dim[TRANSPOSE_ROWS], tile_rows) * local[1],
                           (size_t)(dim[TRANSPOSE_BATCH0] * dim[TRANSPOSE_BATCH1])};
  return pare__run_kernel(run, entry, options, 3, global, local, &args);
}

static pare_status blocks_launch(const pare__run *run) {
  const double cached_bytes = 4 << 20; /* what is larger leaves the cache before anybody reads it */
  const bool stream = elements(run->whole) * (double)pare_dtype_bytes(run->whole->dtype[0]) > cached_bytes;
  const pare_device_info *info = pare__device_info(run->device);
  const bool prefetch = info->can.inline_assembly; /* compiled for this very processor: SPIR-V has no such thing */
  static const size_t local[] = {1, 1, 1};
  const int64_t block = pare__tuned(run, "BLOCK"), stretch = 2; /* as in the kernel */
  char options[40];
  snprintf(options, sizeof options, "-DSTREAM=%d -DPREFETCH=%d", stream ? 2 : 1, prefetch);
  return launch(run, "blocks", options, block, block * stretch, local);
}

static pare_status tiles_launch(const pare__run *run) {
  static const size_t local[] = {32, 8, 1};
  return launch(run, "tiles", "-DSHAPED_FOR_GPU=1", 32, 32, local);
}

/* Large blocks read far along each row; small matrices are cut finer, so that there is work for all. */
static void block_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  (void)info;
  tuning->value[0] = elements(whole) >= 1 << 20 ? 128 : 64;
}

static const pare__param block_params[] = {{"BLOCK", (const int[]){64, 32, 128, 0}}, {NULL, NULL}};

static const pare__variant variants[] = {
    {.name = "blocks",
     .file = "transpose.cl",
     .shaped = PARE__FOR_CPU,
     .params = block_params,
     .defaults = block_defaults,
     .accepts = transpose_accepts,
     .launch = blocks_launch},
    {.name = "tiles",
     .file = "transpose.cl",
     .shaped = PARE__FOR_GPU,
     .accepts = transpose_accepts,
     .launch = tiles_launch},
    {.name = NULL},
};

const pare__family pare__family_transpose = {
    .name = "transpose",
    .what = "exchange of the two axes that are contiguous in input and output",
    .nbuffers = 2,
    .variants = variants,
    .problem = transpose_problem,
    .buffer = transpose_buffer,
    .reference = transpose_reference,
    .work = transpose_work,
    .describe = transpose_describe,
    .shape_class = transpose_class,
};
