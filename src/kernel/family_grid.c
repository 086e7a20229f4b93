/* The family of quantisation grids: ranges, codes and back. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_grid.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/reference.h"

int64_t pare__grid_parts(const pare__problem *p) { return pare__div_up(p->dim[CODING_LENGTH], p->dim[CODING_PART]); }

static int step_of(const pare__problem *p) { return p->mode & CODING_STEP; }
static bool for_gpu(const pare__run *run) { return run->variant->shaped == PARE__FOR_GPU; }

static pare_status launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim, parts = pare__grid_parts(run->piece), groups = dim[CODING_ROWS] * parts;
  if (groups == 0) return PARE_OK;
  const int mode = run->whole->mode, step = step_of(run->whole);
  const int64_t part = PARE__MIN(dim[CODING_PART], dim[CODING_LENGTH]), work = 16384; /* elements of an item, about */
  const bool cut = (step == CODING_QUANTISE || step == CODING_DEQUANTISE) && part > work;
  const int64_t chunk = cut ? work : part, count = for_gpu(run) ? 1 : PARE__MAX(1, work / part);
  char options[200];
  snprintf(options, sizeof options, "-DSTEP=%d -DBITS=%d -DSYMMETRIC=%d -DFULL_RANGE=%d -DSIGNED=%d -DPACKED=%d %s",
           step, (int)dim[CODING_BITS], mode & CODING_SYMMETRIC ? 1 : 0, mode & CODING_FULL_RANGE ? 1 : 0,
           mode & CODING_SIGNED ? 1 : 0, mode & CODING_PACKED ? 1 : 0, for_gpu(run) ? "" : "-DGROUP=1");
  const int64_t alignment = 16, out = run->operand[CODING_BUFFER_OUT].offset;
  const bool aligned =
      part % (2 * alignment) == 0 && out % alignment == 0 && (parts == 1 || dim[CODING_LENGTH] % (2 * alignment) == 0);
  pare__args args = {0};
  pare__arg_long(&args, groups);
  pare__arg_long(&args, dim[CODING_LENGTH]);
  pare__arg_int(&args, (int32_t)parts);
  pare__arg_int(&args, (int32_t)part);
  for (int i = 0; i < CODING_NBUFFERS; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  pare__arg_int(&args, (int32_t)count);
  pare__arg_int(&args, (int32_t)chunk);
  pare__arg_int(&args, aligned);
  const size_t local = for_gpu(run) ? (size_t)pare__tuned(run, "GROUP") : 1;
  const size_t global = (size_t)(pare__div_up(groups, count) * pare__div_up(part, chunk)) * local;
  return pare__run_kernel(run, "grid_step", options, 1, &global, &local, &args);
}

/* Packed: two codes of 4 bits a byte, none of which is shared by two groups. */
static bool fits(const pare__problem *whole) {
  const int64_t length = whole->dim[CODING_LENGTH], part = PARE__MIN(whole->dim[CODING_PART], length);
  const bool split_bytes = (part < length && part % 2 != 0) || (whole->dim[CODING_ROWS] > 1 && length % 2 != 0);
  if (whole->mode & CODING_PACKED && (whole->dim[CODING_BITS] != 4 || split_bytes)) return false;
  return part <= INT32_MAX;
}

static bool accepts_items(const pare_device_info *info, const pare__problem *whole) {
  (void)info;
  return fits(whole);
}

static bool accepts_groups(const pare_device_info *info, const pare__problem *whole) {
  const int64_t most = info->can.max_loop_steps, least_group = 32;
  const int64_t part = PARE__MIN(whole->dim[CODING_PART], whole->dim[CODING_LENGTH]);
  return fits(whole) && (most == 0 || 2 * part / least_group + 1024 < most);
}

static const int widths[] = {16, 8, 4, 0}, sizes[] = {32, 64, 128, 0};
static const pare__param item_params[] = {{"WIDTH", widths}, {NULL, NULL}};
static const pare__param group_params[] = {{"GROUP", sizes}, {NULL, NULL}};
static const pare__variant variants[] = {
    {.name = "item",
     .file = "grid.cl",
     .needs = PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = item_params,
     .accepts = accepts_items},
    {.name = "group", .file = "grid.cl", .shaped = PARE__FOR_GPU, .params = group_params, .accepts = accepts_groups},
    {.name = NULL},
};

/* ---- problems ---- */

#define SYM CODING_SYMMETRIC
static const struct {
  pare__case_set set;
  int mode;
  int64_t rows, length, part;
  int bits;
  pare_dtype x, scale;
} cases[] = {
    {PARE__CASES_SELFTEST, CODING_ENCODE | SYM | CODING_SIGNED, 3, 100, 32, 8, PARE_F32, PARE_F32},
    {PARE__CASES_SELFTEST, CODING_ENCODE | SYM | CODING_SIGNED, 9, 64, 32, 8, PARE_F32, PARE_F32},
    {PARE__CASES_SELFTEST, CODING_ENCODE, 3, 100, 32, 4, PARE_F32, PARE_F32},
    {PARE__CASES_SELFTEST, CODING_ENCODE | CODING_PACKED, 3, 102, 34, 4, PARE_F32, PARE_F32},
    {PARE__CASES_SELFTEST, CODING_RANGE, 2, 100, 100, 8, PARE_F32, PARE_F32},
    {PARE__CASES_SELFTEST, CODING_FROM_RANGE, 2, 5, 1, 4, PARE_F32, PARE_F32},
    {PARE__CASES_SELFTEST, CODING_QUANTISE, 3, 100, 32, 4, PARE_F32, PARE_F32},
    {PARE__CASES_SELFTEST, CODING_DEQUANTISE, 3, 100, 32, 4, PARE_F32, PARE_F32},
    {PARE__CASES_TEST, CODING_ENCODE | SYM | CODING_SIGNED, 7, 1031, 128, 8, PARE_F16, PARE_F32},
    {PARE__CASES_TEST, CODING_ENCODE | SYM | CODING_SIGNED | CODING_FULL_RANGE, 7, 256, 32, 4, PARE_BF16, PARE_BF16},
    {PARE__CASES_TEST, CODING_ENCODE | SYM, 5, 96, 96, 3, PARE_F32, PARE_F32},
    {PARE__CASES_TEST, CODING_ENCODE | CODING_SIGNED, 5, 77, 20, 2, PARE_F32, PARE_F16},
    {PARE__CASES_TEST, CODING_ENCODE | CODING_PACKED, 9, 128, 32, 4, PARE_F32, PARE_F32},
    {PARE__CASES_TEST, CODING_ENCODE | SYM | CODING_PACKED, 1, 129, 32, 4, PARE_F32, PARE_F32},
    {PARE__CASES_TEST, CODING_ENCODE, 0, 32, 32, 8, PARE_F32, PARE_F32},
    {PARE__CASES_TEST, CODING_RANGE | SYM, 3, 20011, 20011, 8, PARE_F32, PARE_F32},
    {PARE__CASES_TEST, CODING_FROM_RANGE | SYM, 1, 33, 1, 4, PARE_F32, PARE_F32},
    {PARE__CASES_TEST, CODING_QUANTISE | SYM | CODING_SIGNED, 1, 40009, 40009, 8, PARE_F32, PARE_F32},
    {PARE__CASES_TEST, CODING_QUANTISE | CODING_SIGNED, 5, 131, 32, 6, PARE_F16, PARE_F32},
    {PARE__CASES_TEST, CODING_DEQUANTISE | SYM | CODING_SIGNED, 5, 131, 32, 8, PARE_BF16, PARE_F32},
    {PARE__CASES_TEST, CODING_DEQUANTISE, 1, 40009, 40009, 8, PARE_F16, PARE_F16},
    {PARE__CASES_BENCH, CODING_ENCODE | SYM | CODING_SIGNED, 4096, 4096, 32, 8, PARE_F32, PARE_F32},
    {PARE__CASES_BENCH, CODING_ENCODE | CODING_PACKED, 4096, 4096, 32, 4, PARE_F32, PARE_F32},
    {PARE__CASES_BENCH, CODING_DEQUANTISE, 4096, 4096, 32, 8, PARE_F32, PARE_F32},
};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  for (unsigned i = 0; i < PARE__COUNT(cases); i++) {
    if (cases[i].set != set || index-- > 0) continue;
    const int step = cases[i].mode & CODING_STEP;
    const pare_dtype codes = cases[i].mode & CODING_SIGNED ? PARE_I8 : PARE_U8;
    out->mode = cases[i].mode;
    out->dim[CODING_ROWS] = cases[i].rows;
    out->dim[CODING_LENGTH] = cases[i].length;
    out->dim[CODING_PART] = cases[i].part;
    out->dim[CODING_BITS] = cases[i].bits;
    out->dtype[CODING_BUFFER_X] = step == CODING_DEQUANTISE ? codes : cases[i].x;
    out->dtype[CODING_BUFFER_SCALE] = cases[i].scale;
    out->dtype[CODING_BUFFER_ZERO] = codes;
    out->dtype[CODING_BUFFER_OUT] = step == CODING_DEQUANTISE   ? cases[i].x
                                    : step == CODING_FROM_RANGE ? PARE_F32
                                                                : codes;
    return true;
  }
  return false;
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int step = step_of(p);
  const int64_t groups = p->dim[CODING_ROWS] * pare__grid_parts(p),
                elements = p->dim[CODING_ROWS] * p->dim[CODING_LENGTH];
  const bool given = step == CODING_QUANTISE || step == CODING_DEQUANTISE;
  switch (i) {
  case CODING_BUFFER_X: *out = (pare__buffer_spec){PARE__IN, step == CODING_FROM_RANGE ? groups : elements}; break;
  case CODING_BUFFER_SCALE: *out = (pare__buffer_spec){given ? PARE__IN : PARE__OUT, groups}; break;
  case CODING_BUFFER_ZERO:
    *out = (pare__buffer_spec){p->mode & CODING_SYMMETRIC ? PARE__ABSENT : given ? PARE__IN : PARE__OUT, groups};
    break;
  default:
    *out = (pare__buffer_spec){step == CODING_RANGE        ? PARE__ABSENT
                               : step == CODING_FROM_RANGE ? PARE__IN
                                                           : PARE__OUT,
                               step == CODING_FROM_RANGE ? groups
                               : p->mode & CODING_PACKED ? (elements + 1) / 2
                                                         : elements};
  }
}

static int least_code(const pare__problem *p) {
  return p->mode & CODING_SIGNED ? -(1 << (p->dim[CODING_BITS] - 1)) : 0;
}

/* A group of zeros among values, NaN and infinity; codes and zero points that exist. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  const pare_dtype dtype = p->dtype[i];
  const int step = step_of(p);
  uint64_t state = seed * 7 + i;
  for (int64_t e = 0; e < spec.elements; e++) {
    const uint64_t bits = pare__reference_random(&state);
    double value = pare__reference_uniform(&state);
    if (!pare__dtype_is_float(dtype))
      value = least_code(p) + (double)(bits % (UINT64_C(1) << p->dim[CODING_BITS]));
    else if (i == CODING_BUFFER_SCALE)
      value = 0.01 + 0.02 * fabs(value);
    else if (step == CODING_FROM_RANGE)
      value = e % 4 == 0 ? 0 : i == CODING_BUFFER_X ? -fabs(value) : fabs(value);
    else if (e < p->dim[CODING_PART])
      value = 0;
    else if (bits % 97 == 0)
      value = NAN;
    pare__store(dtype, data, (size_t)e, value);
  }
}

/* ---- reference ---- */

double pare__grid_reference_scale(const pare__problem *p, double low, double high, double *zero) {
  const int bits = (int)p->dim[CODING_BITS];
  const double levels = (1 << bits) - 1, steps = p->mode & CODING_FULL_RANGE ? levels / 2 : (1 << (bits - 1)) - 1;
  float scale = (float)(p->mode & CODING_SYMMETRIC ? fmax(-low, high) / steps : (high - low) / levels);
  if (low == 0 && high == 0) scale = 1;
  pare__store(p->dtype[CODING_BUFFER_SCALE], &scale, 0, scale);
  const double stored = pare__load(p->dtype[CODING_BUFFER_SCALE], &scale, 0);
  *zero = p->mode & CODING_SYMMETRIC ? 1 << (bits - 1) : -low / stored;
  return stored;
}

double pare__grid_reference_steps(const pare__problem *p, double x, double scale, double zero) {
  const int bits = (int)p->dim[CODING_BITS];
  const double greatest = (1 << bits) - 1 - zero;
  double least = -zero;
  if (p->mode & CODING_SYMMETRIC && !(p->mode & CODING_FULL_RANGE)) least++;
  const double steps = rint(x / scale);
  return isnan(x) ? 0 : fmin(fmax(steps, least), greatest);
}

static bool near_tie(double quotient) { return fabs(fabs(quotient - floor(quotient)) - 0.5) < 2e-3; }

/* Scale and zero of group g, written where the step makes them. */
static double reference_scale(const pare__problem *p, void *const *data, int64_t g, int64_t begin, int64_t n,
                              double *const *expected, double *const *tolerance, double *zero) {
  const int step = step_of(p);
  double low = 0, high = 0;
  if (step == CODING_QUANTISE || step == CODING_DEQUANTISE) {
    *zero = 1 << (p->dim[CODING_BITS] - 1);
    if (!(p->mode & CODING_SYMMETRIC))
      *zero = pare__load(p->dtype[CODING_BUFFER_ZERO], data[CODING_BUFFER_ZERO], (size_t)g) - least_code(p);
    return pare__load(p->dtype[CODING_BUFFER_SCALE], data[CODING_BUFFER_SCALE], (size_t)g);
  }
  if (step == CODING_FROM_RANGE) {
    low = ((const float *)data[CODING_BUFFER_X])[g];
    high = ((const float *)data[CODING_BUFFER_OUT])[g];
  }
  for (int64_t i = begin; step != CODING_FROM_RANGE && i < begin + n; i++) {
    const double v = pare__load(p->dtype[CODING_BUFFER_X], data[CODING_BUFFER_X], (size_t)i);
    if (v < low) low = v;
    if (v > high) high = v;
  }
  const double scale = pare__grid_reference_scale(p, low, high, zero), exact = *zero;
  expected[CODING_BUFFER_SCALE][g] = scale;
  tolerance[CODING_BUFFER_SCALE][g] = 4 * (pare__dtype_epsilon(p->dtype[CODING_BUFFER_SCALE]) + FLT_EPSILON) * scale;
  *zero = rint(exact);
  if (p->mode & CODING_SYMMETRIC) return scale;
  expected[CODING_BUFFER_ZERO][g] = least_code(p) + *zero;
  tolerance[CODING_BUFFER_ZERO][g] = near_tie(exact) ? 1 : 0;
  return scale;
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t length = p->dim[CODING_LENGTH], part = p->dim[CODING_PART], parts = pare__grid_parts(p);
  const int step = step_of(p);
  double *out = expected[CODING_BUFFER_OUT], *allowed = tolerance[CODING_BUFFER_OUT];
  for (int64_t g = 0; g < p->dim[CODING_ROWS] * parts; g++) {
    const int64_t begin = g / parts * length + g % parts * part, n = PARE__MIN(part, length - g % parts * part);
    double zero;
    const double scale = reference_scale(p, data, g, begin, n, expected, tolerance, &zero);
    /* a zero point at a tie, or a scale that is rounded much, may move all codes */
    const bool loose =
        step == CODING_ENCODE && ((!(p->mode & CODING_SYMMETRIC) && tolerance[CODING_BUFFER_ZERO][g] > 0) ||
                                  p->dtype[CODING_BUFFER_SCALE] != PARE_F32);
    for (int64_t i = begin; step != CODING_RANGE && step != CODING_FROM_RANGE && i < begin + n; i++) {
      const double x = pare__load(p->dtype[CODING_BUFFER_X], data[CODING_BUFFER_X], (size_t)i);
      if (step == CODING_DEQUANTISE) {
        const pare_dtype dtype = p->dtype[CODING_BUFFER_OUT];
        out[i] = scale * (x - least_code(p) - zero);
        allowed[i] = (2 * FLT_EPSILON + pare__dtype_epsilon(dtype)) * fabs(out[i]) + (dtype == PARE_F16 ? 0x1p-25 : 0);
        continue;
      }
      const double steps = pare__grid_reference_steps(p, x, scale, zero);
      const bool tie = loose || near_tie(x / scale);
      if (!(p->mode & CODING_PACKED)) {
        out[i] = least_code(p) + zero + steps;
        allowed[i] = tie ? 1 : 0;
        continue;
      }
      const int64_t byte = i / 2;
      out[byte] += (zero + steps) * (i % 2 ? 16 : 1);
      if (tie) allowed[byte] = -1;
    }
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  const double elements = (double)(p->dim[CODING_ROWS] * p->dim[CODING_LENGTH]);
  *flops = 0;
  *bytes =
      elements * (double)(pare_dtype_bytes(p->dtype[CODING_BUFFER_X]) + pare_dtype_bytes(p->dtype[CODING_BUFFER_OUT]));
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  static const char *const names[] = {"encode", "range", "from range", "quantise", "dequantise"};
  snprintf(text, capacity, "%s%s%s %lld bits %lldx%lld in %lld %s->%s", names[step_of(p)],
           p->mode & CODING_SYMMETRIC ? " symmetric" : "", p->mode & CODING_PACKED ? " packed" : "",
           (long long)p->dim[CODING_BITS], (long long)p->dim[CODING_ROWS], (long long)p->dim[CODING_LENGTH],
           (long long)p->dim[CODING_PART], pare_dtype_name(p->dtype[0]), pare_dtype_name(p->dtype[CODING_BUFFER_OUT]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %d bits", step_of(p) == CODING_DEQUANTISE ? "dequantise" : "quantise",
           p->mode & CODING_PACKED ? 4 : 8);
}

const pare__family pare__family_grid = {
    .name = "grid",
    .what = "scales, zero points and codes of groups of weights, and back",
    .nbuffers = CODING_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
    .launch = launch,
};
