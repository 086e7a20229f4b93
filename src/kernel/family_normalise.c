/* The normalisation family: layer, RMS, group, instance and batch norm. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_normalise.h"

#include <math.h>
#include <stdio.h>

#include "kernel/family_rows.h"
#include "kernel/reduce_reference.h"

/* Statistics of columns go with a scale and a bias a column. */
static bool is_sound(const pare__problem *whole) {
  return !(whole->mode & PARE__NORMALISE_PER_COLUMN) ||
         (whole->dim[PARE__NORMALISE_SEGMENT] == 1 && whole->dim[PARE__NORMALISE_GROUPS] == 1);
}

static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  if (!is_sound(whole)) return false;
  return info->can.max_loop_steps == 0 || (whole->mode & PARE__NORMALISE_GIVEN) ||
         whole->dim[PARE__NORMALISE_LENGTH] < info->can.max_loop_steps / 4;
}

static bool group_accepts(const pare_device_info *info, const pare__problem *whole) {
  if (!is_sound(whole)) return false;
  return info->can.max_loop_steps == 0 || (whole->mode & PARE__NORMALISE_GIVEN) ||
         whole->dim[PARE__NORMALISE_LENGTH] < info->can.max_loop_steps / 4 * 64;
}

static void push_arguments(pare__args *args, const pare__run *run) {
  pare__row_args(args, run, 8, PARE__NORMALISE_NDIMS);
  pare__arg_float(args, (float)run->whole->real[0]);
  pare__arg_float(args, (float)run->whole->real[1]);
}

static void options_of(const pare__problem *whole, const char *more, char *text, size_t capacity) {
  snprintf(text, capacity, "-DROW=%s -DRMS=%d -DSCALED=%d -DBIASED=%d -DSAVED=%d -DPER_COLUMN=%d -DSKIP=%d %s",
           pare_dtype_name(pare__row_dtype(whole)), whole->mode & PARE__NORMALISE_RMS ? 1 : 0,
           whole->mode & PARE__NORMALISE_SCALED ? 1 : 0, whole->mode & PARE__NORMALISE_BIASED ? 1 : 0,
           whole->mode & PARE__NORMALISE_SAVED ? 1 : 0, whole->mode & PARE__NORMALISE_PER_COLUMN ? 1 : 0,
           (whole->mode & PARE__NORMALISE_SKIP ? 1 : 0) + (whole->mode & PARE__NORMALISE_SUM ? 1 : 0), more);
}

static pare_status launch_items(const pare__run *run) {
  int64_t rows = run->piece->dim[PARE__NORMALISE_ROWS], length = run->piece->dim[PARE__NORMALISE_LENGTH];
  const size_t one[3] = {1, 1, 1};
  char options[140];
  options_of(run->whole, "", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  bool stream = pare__row_streams(run, run->whole->dim[PARE__NORMALISE_ROWS] * run->whole->dim[PARE__NORMALISE_LENGTH]);
  if (run->whole->mode & PARE__NORMALISE_GIVEN) {
    const int64_t per_item = 4096;
    pare__arg_int(&args, (int32_t)per_item);
    pare__arg_int(&args, stream);
    const size_t global[2] = {(size_t)pare__div_up(length, per_item), (size_t)rows};
    return pare__run_kernel(run, "normalise_given", options, 2, global, one, &args);
  }
  int64_t rows_per_item = pare__row_count(run, rows, length, 8192);
  pare__arg_int(&args, (int32_t)rows_per_item);
  pare__arg_int(&args, stream);
  const size_t global[1] = {(size_t)pare__div_up(rows, rows_per_item)};
  return pare__run_kernel(run, "normalise_rows", options, 1, global, one, &args);
}

static pare_status launch_groups(const pare__run *run) {
  int64_t rows = run->piece->dim[PARE__NORMALISE_ROWS], length = run->piece->dim[PARE__NORMALISE_LENGTH];
  int group = pare__tuned(run, "GROUP"), lanes = 1;
  char options[140];
  options_of(run->whole, "-DWIDTH=1", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  if (run->whole->mode & PARE__NORMALISE_GIVEN) {
    const size_t global[2] = {(size_t)pare__round_up(length, group), (size_t)rows}, local[2] = {(size_t)group, 1};
    return pare__run_kernel(run, "normalise_given_group", options, 2, global, local, &args);
  }
  while (lanes < group && lanes < run->whole->dim[PARE__NORMALISE_LENGTH]) lanes *= 2;
  pare__arg_int(&args, lanes);
  const size_t global[1] = {(size_t)(pare__div_up(rows, group / lanes) * group)}, local[1] = {(size_t)group};
  return pare__run_kernel(run, "normalise_group", options, 1, global, local, &args);
}

static const pare__variant variants[] = {
    {.name = "item",
     .file = "normalise.cl",
     .shaped = PARE__FOR_CPU,
     .params = pare__row_item_params,
     .defaults = pare__row_item_defaults,
     .accepts = item_accepts,
     .launch = launch_items},
    {.name = "group",
     .file = "normalise.cl",
     .shaped = PARE__FOR_GPU,
     .params = pare__row_group_params,
     .accepts = group_accepts,
     .launch = launch_groups},
    {.name = NULL},
};

/* ---- problems ---- */

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = p->dim;
  int64_t scales = dim[PARE__NORMALISE_GROUPS] * dim[PARE__NORMALISE_ROW_LENGTH] / dim[PARE__NORMALISE_SEGMENT];
  bool given = p->mode & PARE__NORMALISE_GIVEN, saved = p->mode & PARE__NORMALISE_SAVED;
  int64_t stats = !given                                 ? dim[PARE__NORMALISE_ROWS]
                  : p->mode & PARE__NORMALISE_PER_COLUMN ? dim[PARE__NORMALISE_ROW_LENGTH]
                                                         : dim[PARE__NORMALISE_PERIOD];
  const bool skip = p->mode & PARE__NORMALISE_SKIP, sum = p->mode & PARE__NORMALISE_SUM;
  const int64_t all = dim[PARE__NORMALISE_ROWS] * dim[PARE__NORMALISE_X_STRIDE];
  const bool present[8] = {true,
                           p->mode & PARE__NORMALISE_SCALED,
                           p->mode & PARE__NORMALISE_BIASED,
                           true,
                           (given && !(p->mode & PARE__NORMALISE_RMS)) || saved,
                           given || saved,
                           skip,
                           sum};
  const int64_t elements[8] = {all,   scales, scales, dim[PARE__NORMALISE_ROWS] * dim[PARE__NORMALISE_Y_STRIDE],
                               stats, stats,  all,    all};
  const bool result = i == 3 || i == 7 || ((i == 4 || i == 5) && saved);
  out->role = !present[i] ? PARE__ABSENT : result ? PARE__OUT : PARE__IN;
  out->elements = elements[i];
}

/* Some rows have a mean that is large against their deviation, and some a special value. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40};
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed * 6 + i;
  int64_t stride = p->dim[PARE__NORMALISE_X_STRIDE];
  for (int64_t k = 0; k < spec.elements; k++) {
    double u = pare__reference_uniform(&state);
    double offset = i == 0 && stride > 0 && k / stride % 4 == 2 ? 8 : 0;
    pare__store(p->dtype[i], data, (size_t)k, i == 5 ? 1.5 + u : u + offset);
  }
  for (int64_t r = 5; i == 0 && stride > 0 && r < p->dim[PARE__NORMALISE_ROWS]; r += 5) {
    uint64_t bits = pare__reference_random(&state);
    pare__store(p->dtype[0], data, (size_t)(r * stride + (int64_t)(bits % (uint64_t)stride)),
                specials[(bits >> 40) % PARE__COUNT(specials)]);
  }
}

typedef struct row_result {
  double mean, inverse;
} row_result;

/* What is normalised: x, or its sum with skip, which is rounded to their dtype. */
static double element(const pare__problem *p, void *const *data, size_t at) {
  const double x = pare__load(p->dtype[0], data[0], at);
  if (!(p->mode & PARE__NORMALISE_SKIP)) return x;
  uint64_t rounded = 0;
  pare__store(p->dtype[0], &rounded, 0, x + pare__load(p->dtype[6], data[6], at));
  return pare__load(p->dtype[0], &rounded, 0);
}

static row_result statistics(const pare__problem *p, void *const *data, int64_t row, int64_t column) {
  int64_t n = p->dim[PARE__NORMALISE_LENGTH];
  bool rms = p->mode & PARE__NORMALISE_RMS;
  if (p->mode & PARE__NORMALISE_GIVEN) {
    size_t at = (size_t)(p->mode & PARE__NORMALISE_PER_COLUMN ? column : row % p->dim[PARE__NORMALISE_PERIOD]);
    double variance = pare__load(p->dtype[5], data[5], at) * (float)p->real[1];
    return (row_result){rms ? 0 : pare__load(p->dtype[4], data[4], at), 1 / sqrt(variance + (float)p->real[0])};
  }
  double mean = 0, variance = 0;
  size_t first = (size_t)(row * p->dim[PARE__NORMALISE_X_STRIDE]);
  for (int64_t c = 0; !rms && c < n; c++) mean += element(p, data, first + (size_t)c) / (double)n;
  for (int64_t c = 0; c < n; c++) {
    double d = element(p, data, first + (size_t)c) - mean;
    variance += d * d / (double)n;
  }
  return (row_result){mean, 1 / sqrt(variance + (float)p->real[0])};
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim;
  int64_t n = dim[PARE__NORMALISE_LENGTH];
  double eps = pare__dtype_epsilon(pare__row_dtype(p));
  for (int64_t row = 0; row < dim[PARE__NORMALISE_ROWS]; row++) {
    row_result s = {0, 0};
    for (int64_t c = 0; c < n; c++) {
      if (c == 0 || (p->mode & PARE__NORMALISE_PER_COLUMN)) s = statistics(p, data, row, c);
      size_t number = (size_t)((row % dim[PARE__NORMALISE_GROUPS] * dim[PARE__NORMALISE_ROW_LENGTH] + c) /
                               dim[PARE__NORMALISE_SEGMENT]);
      const size_t from = (size_t)(row * dim[PARE__NORMALISE_X_STRIDE] + c);
      const double x = element(p, data, from);
      if (p->mode & PARE__NORMALISE_SUM) {
        expected[7][from] = x;
        tolerance[7][from] = pare__reference_rounding(p->dtype[0], x);
      }
      double scale = p->mode & PARE__NORMALISE_SCALED ? pare__load(p->dtype[1], data[1], number) : 1;
      double bias = p->mode & PARE__NORMALISE_BIASED ? pare__load(p->dtype[2], data[2], number) : 0;
      double normal = (x - s.mean) * s.inverse, result = normal * scale + bias;
      size_t at = (size_t)(row * dim[PARE__NORMALISE_Y_STRIDE] + c);
      expected[3][at] = pare__reference_overflow(p->dtype[3], result);
      /* the deviation's relative error, and the mean's, which is seen through the deviation */
      double relative = eps * ((double)n / 8 + 64);
      double error = fabs(scale) * (relative * (fabs(normal) + 1) + 8 * eps * (fabs(x) + fabs(s.mean)) * s.inverse) +
                     4 * eps * fabs(bias);
      tolerance[3][at] = isfinite(result) ? error + pare__reference_rounding(p->dtype[3], result) : 0;
    }
    for (int64_t c = n; (p->mode & PARE__NORMALISE_SUM) && c < dim[PARE__NORMALISE_X_STRIDE]; c++)
      tolerance[7][row * dim[PARE__NORMALISE_X_STRIDE] + c] = -1; /* between the rows anything may lie */
    if (!(p->mode & PARE__NORMALISE_SAVED)) continue;
    if (n == 0) s = (row_result){NAN, NAN};
    bool finite = isfinite(s.mean) && isfinite(s.inverse);
    expected[4][row] = s.mean;
    tolerance[4][row] = finite ? eps * ((double)n / 8 + 64) * (fabs(s.mean) + 1) : -1;
    expected[5][row] = s.inverse;
    tolerance[5][row] = finite ? eps * ((double)n / 8 + 64) * s.inverse : -1;
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  double n = (double)p->dim[PARE__NORMALISE_ROWS] * (double)p->dim[PARE__NORMALISE_LENGTH];
  *flops = 8 * n;
  const int more = (p->mode & PARE__NORMALISE_SKIP ? 1 : 0) + (p->mode & PARE__NORMALISE_SUM ? 1 : 0);
  *bytes = n * (double)((size_t)(1 + more) * pare_dtype_bytes(p->dtype[0]) + pare_dtype_bytes(p->dtype[3]));
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s%s%s%s%s%s%s %lldx%lld/%lld %s", p->mode & PARE__NORMALISE_RMS ? "rms" : "mean",
           p->mode & PARE__NORMALISE_SCALED ? " scaled" : "", p->mode & PARE__NORMALISE_BIASED ? " biased" : "",
           p->mode & PARE__NORMALISE_SAVED ? " saved" : "", p->mode & PARE__NORMALISE_GIVEN ? " given" : "",
           p->mode & PARE__NORMALISE_PER_COLUMN ? " per column" : "", p->mode & PARE__NORMALISE_SKIP ? " skip" : "",
           p->mode & PARE__NORMALISE_SUM ? " sum" : "", (long long)p->dim[PARE__NORMALISE_ROWS],
           (long long)p->dim[PARE__NORMALISE_LENGTH], (long long)p->dim[PARE__NORMALISE_SEGMENT],
           pare_dtype_name(p->dtype[0]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s", pare_dtype_name(p->dtype[0]), p->mode & PARE__NORMALISE_GIVEN ? " given" : "");
}

typedef struct shape {
  int64_t rows, length, segment, groups, gap;
} shape;
static const shape selftest_shapes[] = {{7, 83, 1, 1, 3}, {6, 21, 7, 3, 0}, {11, 2, 1, 1, 0}};
static const shape test_shapes[] = {{0, 4, 1, 1, 0},     {1, 1, 1, 1, 0},     {200, 3, 1, 1, 0},
                                    {13, 1009, 1, 1, 5}, {32, 768, 1, 1, 0},  {12, 260, 130, 4, 0},
                                    {9, 35, 5, 3, 1},    {2, 10007, 1, 1, 0}, {6, 50, 50, 3, 0}};
static const shape bench_shapes[] = {{4096, 1024, 1, 1, 0}, {65536, 64, 1, 1, 0}, {64, 65536, 1, 1, 0}};
enum { BOTH = PARE__NORMALISE_SCALED | PARE__NORMALISE_BIASED };
static const int modes[] = {BOTH,
                            PARE__NORMALISE_RMS | PARE__NORMALISE_SCALED,
                            BOTH | PARE__NORMALISE_GIVEN,
                            BOTH | PARE__NORMALISE_SKIP,
                            PARE__NORMALISE_RMS | PARE__NORMALISE_SCALED | PARE__NORMALISE_SKIP | PARE__NORMALISE_SUM,
                            0,
                            BOTH | PARE__NORMALISE_SAVED,
                            BOTH | PARE__NORMALISE_GIVEN | PARE__NORMALISE_PER_COLUMN,
                            PARE__NORMALISE_RMS | PARE__NORMALISE_GIVEN};

static void make_problem(int mode, pare_dtype dtype, const shape *s, pare__problem *out) {
  bool plain = mode & PARE__NORMALISE_PER_COLUMN;
  const int64_t dims[] = {
      s->rows, s->length, s->length + s->gap,       s->length, plain ? 1 : s->segment, plain ? 1 : s->groups, 0,
      0,       s->length, PARE__MAX(1, s->rows / 2)};
  for (unsigned i = 0; i < PARE__COUNT(dims); i++) out->dim[i] = dims[i];
  out->mode = mode;
  out->real[0] = 1e-5;
  out->real[1] = 0.5;
  for (unsigned i = 0; i < 8; i++) out->dtype[i] = dtype;
  out->dtype[4] = out->dtype[5] = pare__row_dtype(out);
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  bool test = set == PARE__CASES_TEST, bench = set == PARE__CASES_BENCH;
  const shape *shapes = test ? test_shapes : bench ? bench_shapes : selftest_shapes;
  unsigned nshapes = test ? PARE__COUNT(test_shapes) : bench ? PARE__COUNT(bench_shapes) : PARE__COUNT(selftest_shapes);
  unsigned nmodes = test ? PARE__COUNT(modes) : bench ? 2 : 5;
  pare__row_case found;
  if (!pare__row_case_at(set, info, index, nshapes, nmodes, &found)) return false;
  make_problem(modes[found.mode], found.dtype, &shapes[found.shape], out);
  return true;
}

const pare__family pare__family_normalise = {
    .name = "normalise",
    .what = "layer, RMS, group, instance and batch norm",
    .nbuffers = 8,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
