/* The family of means and maxima in the bins of regions. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "base/dtype.h"
#include "kernel/family_resample.h"

static bool accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t *dim = whole->dim, ratio = dim[ROI_RATIO];
  const double samples = ratio > 0 ? (double)ratio : (double)ROI_MOST_SAMPLES;
  for (int i = 0; i <= ROI_RATIO; i++)
    if (dim[i] > INT32_MAX / 4) return false;
  if (whole->flags & ROI_WHOLE_BINS && info->can.max_loop_steps > 0)
    return (double)(dim[ROI_H] + 1) * (double)dim[ROI_W] < info->can.max_loop_steps;
  return info->can.max_loop_steps == 0 || samples * (samples + 1) < info->can.max_loop_steps;
}

static pare_status launch(const pare__run *run) {
  const pare__problem *p = run->piece;
  const int64_t *dim = p->dim;
  pare__args args = {0};
  for (unsigned i = 0; i < ROI_NBUFFERS; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  for (int i = ROI_N; i <= ROI_RATIO; i++)
    if (i != ROI_COUNT) pare__arg_int(&args, (int32_t)dim[i]);
  pare__arg_int(&args, ROI_MOST_SAMPLES);
  if (p->dtype[0] == PARE_F64)
    pare__arg_double(&args, p->real[0]);
  else
    pare__arg_float(&args, (float)p->real[0]);
  pare__arg_int(&args, (int32_t)p->flags);
  const size_t global[] = {(size_t)(dim[ROI_BINS_Y] * dim[ROI_BINS_X]), (size_t)dim[ROI_C], (size_t)dim[ROI_COUNT]};
  return pare__run_kernel(run, "roi_align", NULL, 3, global, NULL, &args);
}

static const pare__variant variants[] = {
    {.name = "each", .file = "roi_align.cl", .shaped = PARE__FOR_ANY, .accepts = accepts, .launch = launch},
    {.name = NULL},
};

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = p->dim;
  const int64_t elements[] = {dim[ROI_N] * dim[ROI_C] * dim[ROI_H] * dim[ROI_W], 4 * dim[ROI_COUNT], dim[ROI_COUNT],
                              dim[ROI_COUNT] * dim[ROI_C] * dim[ROI_BINS_Y] * dim[ROI_BINS_X], 1};
  out->role = i == ROI_BUFFER_FLAG ? PARE__INOUT : i == ROI_BUFFER_Y ? PARE__OUT : PARE__IN;
  out->elements = elements[i];
}

/* Regions in quarters of an element, so that nothing is rounded to another bin; one index in nine is out of range. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed * 977 + i;
  for (int64_t k = 0; k < spec.elements; k++) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const uint32_t bits = (uint32_t)(state >> 33);
    double value = (double)bits * 0x1p-30 - 1;
    if (i == ROI_BUFFER_BATCH) value = bits % 9 == 0 ? (double)p->dim[ROI_N] : (double)(bits % p->dim[ROI_N]);
    if (i == ROI_BUFFER_ROIS) value = (double)(bits % (4 * p->dim[ROI_W])) / 4 / p->real[0] + (k % 4 > 1 ? 2 : -1);
    if (i == ROI_BUFFER_FLAG) value = 0;
    pare__store(p->dtype[i], data, (size_t)k, value);
  }
}

/* The four weighted neighbours of a place. */
static void sample(const pare__problem *p, const void *x, int64_t plane, double at_y, double at_x, double *term) {
  const int64_t *dim = p->dim;
  const double at[2] = {at_y, at_x};
  int64_t low[2], high[2];
  double weight[2];
  for (int i = 0; i < 4; i++) term[i] = 0;
  for (int d = 0; d < 2; d++) {
    const int64_t length = dim[ROI_H + d];
    if (!(at[d] >= -1 && at[d] <= (double)length)) return;
    const double inside = fmax(at[d], 0);
    low[d] = PARE__MIN((int64_t)inside, length - 1);
    high[d] = PARE__MIN(low[d] + 1, length - 1);
    weight[d] = low[d] == length - 1 ? 0 : inside - (double)low[d];
  }
  for (int i = 0; i < 4; i++) {
    const int64_t row = i / 2 ? high[0] : low[0], column = i % 2 ? high[1] : low[1];
    term[i] = (i / 2 ? weight[0] : 1 - weight[0]) * (i % 2 ? weight[1] : 1 - weight[1]) *
              pare__load(p->dtype[0], x, (size_t)((plane * dim[ROI_H] + row) * dim[ROI_W] + column));
  }
}

static int64_t samples_along(double bin, int64_t ratio) {
  return ratio > 0 ? ratio : PARE__MAX(0, PARE__MIN((int64_t)ceil(bin), ROI_MOST_SAMPLES));
}

static double largest_in_bin(const pare__problem *p, void *const *data, int64_t r, int64_t plane, const int64_t *bin) {
  const int64_t *dim = p->dim;
  int64_t from[2], to[2];
  for (int d = 0; d < 2; d++) {
    const double bins = (double)dim[ROI_BINS_Y + d], length = (double)dim[ROI_H + d];
    const double first = pare__load(p->dtype[1], data[ROI_BUFFER_ROIS], (size_t)(4 * r + 1 - d)) * p->real[0];
    const double last = pare__load(p->dtype[1], data[ROI_BUFFER_ROIS], (size_t)(4 * r + 3 - d)) * p->real[0];
    const double start = round(first), size = fmax(round(last) - start + 1, 1) / bins;
    from[d] = (int64_t)fmin(fmax(floor((double)bin[d] * size) + start, 0), length);
    to[d] = (int64_t)fmin(fmax(ceil((double)(bin[d] + 1) * size) + start, 0), length);
  }
  double largest = from[0] < to[0] && from[1] < to[1] ? -INFINITY : 0;
  for (int64_t row = from[0]; row < to[0]; row++)
    for (int64_t column = from[1]; column < to[1]; column++)
      largest = fmax(largest, pare__load(p->dtype[0], data[ROI_BUFFER_X],
                                         (size_t)((plane * dim[ROI_H] + row) * dim[ROI_W] + column)));
  return largest;
}

static double bin_value(const pare__problem *p, void *const *data, int64_t r, int64_t c, int64_t bin_y, int64_t bin_x) {
  const int64_t *dim = p->dim;
  const int64_t n = (int64_t)pare__load(PARE_I64, data[ROI_BUFFER_BATCH], (size_t)r);
  const bool half = p->flags & ROI_HALF_PIXEL;
  if (n < 0 || n >= dim[ROI_N]) return 0;
  if (p->flags & ROI_WHOLE_BINS) return largest_in_bin(p, data, r, n * dim[ROI_C] + c, (const int64_t[]){bin_y, bin_x});
  double corner[4];
  for (int i = 0; i < 4; i++)
    corner[i] = pare__load(p->dtype[1], data[ROI_BUFFER_ROIS], (size_t)(4 * r + i)) * p->real[0] - (half ? 0.5 : 0);
  double size[2] = {corner[3] - corner[1], corner[2] - corner[0]};
  for (int d = 0; d < 2 && !half; d++) size[d] = fmax(size[d], 1);
  const double bin[2] = {size[0] / (double)dim[ROI_BINS_Y], size[1] / (double)dim[ROI_BINS_X]};
  const int64_t rows = samples_along(bin[0], dim[ROI_RATIO]), columns = samples_along(bin[1], dim[ROI_RATIO]);
  double sum = 0, largest = 0;
  for (int64_t i = 0; i < rows * columns; i++) {
    const int64_t row = i / columns, column = i % columns;
    double term[4];
    sample(p, data[0], n * dim[ROI_C] + c, corner[1] + bin[0] * ((double)bin_y + ((double)row + 0.5) / (double)rows),
           corner[0] + bin[1] * ((double)bin_x + ((double)column + 0.5) / (double)columns), term);
    for (int t = 0; t < 4; t++) {
      sum += term[t];
      if (term[t] > largest || (i == 0 && t == 0)) largest = term[t];
    }
  }
  return p->flags & ROI_MAXIMUM ? largest : sum / (double)PARE__MAX(rows * columns, 1);
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim, bins = dim[ROI_BINS_Y] * dim[ROI_BINS_X];
  const double epsilon = pare__dtype_epsilon(p->dtype[0] == PARE_F64 ? PARE_F64 : PARE_F32);
  expected[ROI_BUFFER_FLAG][0] = 0;
  for (int64_t r = 0; r < dim[ROI_COUNT]; r++) {
    const double n = pare__load(PARE_I64, data[ROI_BUFFER_BATCH], (size_t)r);
    if (n < 0 || n >= (double)dim[ROI_N]) expected[ROI_BUFFER_FLAG][0] = 1;
  }
  for (int64_t e = 0; e < dim[ROI_COUNT] * dim[ROI_C] * bins; e++) {
    const int64_t bin = e % bins, plane = e / bins;
    const double value =
        bin_value(p, data, plane / dim[ROI_C], plane % dim[ROI_C], bin / dim[ROI_BINS_X], bin % dim[ROI_BINS_X]);
    expected[ROI_BUFFER_Y][e] = value;
    /* values are within 1; weights move with the roundings of places of up to 100 */
    tolerance[ROI_BUFFER_Y][e] = 1000 * epsilon + pare__dtype_epsilon(p->dtype[0]) * fabs(value);
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  pare__buffer_spec x, y;
  buffer(p, ROI_BUFFER_X, &x);
  buffer(p, ROI_BUFFER_Y, &y);
  *flops = 32.0 * (double)y.elements;
  *bytes = ((double)x.elements + (double)y.elements) * (double)pare_dtype_bytes(p->dtype[0]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  const int64_t *dim = p->dim;
  snprintf(text, capacity, "%s %lld of %lldx%lldx%lldx%lld to %lldx%lld ratio %lld %s%s",
           p->flags & ROI_WHOLE_BINS ? "maxima of elements"
           : p->flags & ROI_MAXIMUM  ? "maxima"
                                     : "means",
           (long long)dim[ROI_COUNT], (long long)dim[ROI_N], (long long)dim[ROI_C], (long long)dim[ROI_H],
           (long long)dim[ROI_W], (long long)dim[ROI_BINS_Y], (long long)dim[ROI_BINS_X], (long long)dim[ROI_RATIO],
           pare_dtype_name(p->dtype[0]), p->flags & ROI_HALF_PIXEL ? " half pixel" : "");
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", pare_dtype_name(p->dtype[0]));
}

typedef struct instance {
  int64_t dim[8];
  unsigned flags;
  pare_dtype dtype;
} instance;
static const instance selftests[] = {{{2, 3, 9, 11, 12, 3, 2, 0}, ROI_HALF_PIXEL, PARE_F32},
                                     {{2, 3, 9, 11, 12, 2, 3, 2}, ROI_MAXIMUM, PARE_F32}};
static const instance tests[] = {{{3, 5, 17, 13, 31, 7, 5, 0}, 0, PARE_F32},
                                 {{1, 1, 1, 1, 3, 1, 1, 3}, ROI_HALF_PIXEL, PARE_F32},
                                 {{2, 3, 9, 11, 0, 2, 3, 2}, 0, PARE_F32},
                                 {{2, 3, 9, 11, 12, 3, 2, 0}, ROI_HALF_PIXEL | ROI_MAXIMUM, PARE_F64},
                                 {{2, 3, 9, 11, 12, 3, 2, 1}, 0, PARE_F16},
                                 {{2, 3, 9, 11, 12, 3, 2, 0}, ROI_WHOLE_BINS, PARE_F32},
                                 {{1, 2, 5, 8, 9, 2, 4, 0}, ROI_WHOLE_BINS, PARE_F16}};
static const instance benches[] = {{{1, 256, 50, 50, 100, 7, 7, 2}, 0, PARE_F32}};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  const struct {
    const instance *instance;
    unsigned count;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftests, PARE__COUNT(selftests)},
              [PARE__CASES_TEST] = {tests, PARE__COUNT(tests)},
              [PARE__CASES_BENCH] = {benches, PARE__COUNT(benches)}};
  if (index >= sets[set].count) return false;
  const instance *chosen = &sets[set].instance[index];
  for (int i = 0; i < 8; i++) out->dim[i] = chosen->dim[i];
  out->flags = chosen->flags;
  out->real[0] = 0.5;
  for (unsigned i = 0; i < ROI_NBUFFERS; i++) out->dtype[i] = chosen->dtype;
  out->dtype[ROI_BUFFER_BATCH] = PARE_I64;
  out->dtype[ROI_BUFFER_FLAG] = PARE_I32;
  return true;
}

const pare__family pare__family_roi_align = {
    .name = "roi_align",
    .what = "means and maxima of bilinear samples in the bins of regions",
    .nbuffers = ROI_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
