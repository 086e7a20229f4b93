/* The family of grids with the least squared error. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/dtype.h"
#include "kernel/family_grid.h"
#include "kernel/reference.h"

#define MOST_HELD 128 /* floats of an item */

static pare_status launch(const pare__run *run, int group, const char *group_option) {
  const int64_t *dim = run->piece->dim, parts = pare__grid_parts(run->piece), groups = dim[CODING_ROWS] * parts;
  if (groups == 0) return PARE_OK;
  const int mode = run->whole->mode;
  char options[160];
  snprintf(options, sizeof options, "-DBITS=%d -DSYMMETRIC=%d -DFULL_RANGE=%d -DSIGNED=%d -DEXACT=%d -DWEIGHTED=%d %s",
           (int)dim[CODING_BITS], mode & CODING_SYMMETRIC ? 1 : 0, mode & CODING_FULL_RANGE ? 1 : 0,
           mode & CODING_SIGNED ? 1 : 0, mode & CODING_EXACT ? 1 : 0, dim[CODING_IMPORTANCE] ? 1 : 0, group_option);
  pare__args args = {0};
  pare__arg_long(&args, dim[CODING_LENGTH]);
  pare__arg_int(&args, (int32_t)parts);
  pare__arg_int(&args, (int32_t)PARE__MIN(dim[CODING_PART], dim[CODING_LENGTH]));
  for (int i = 0; i < CODING_NBUFFERS; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  pare__arg_long(&args, dim[CODING_IMPORTANCE_STRIDE]);
  const size_t local = (size_t)group, global = (size_t)groups * local;
  return pare__run_kernel(run, "grid_fit", options, 1, &global, &local, &args);
}

/* A small group is held by its item: programs are few, as the size is a power of two. */
static pare_status launch_items(const pare__run *run) {
  const int64_t n = PARE__MIN(run->whole->dim[CODING_PART], run->whole->dim[CODING_LENGTH]);
  int held = 32;
  char option[32];
  while (held < n && held <= MOST_HELD) held *= 2;
  snprintf(option, sizeof option, held <= MOST_HELD ? "-DGROUP=1 -DHELD=%d" : "-DGROUP=1", held);
  return launch(run, 1, option);
}

static pare_status launch_groups(const pare__run *run) { return launch(run, pare__tuned(run, "GROUP"), ""); }

static bool accepts_items(const pare_device_info *info, const pare__problem *whole) {
  (void)info;
  return PARE__MIN(whole->dim[CODING_PART], whole->dim[CODING_LENGTH]) <= INT32_MAX;
}

/* The range, candidates, rounds and two errors: loops over all elements of a group. */
static bool accepts_groups(const pare_device_info *info, const pare__problem *whole) {
  const int64_t most = info->can.max_loop_steps, n = PARE__MIN(whole->dim[CODING_PART], whole->dim[CODING_LENGTH]);
  const int64_t rounds = whole->mode & CODING_EXACT ? (n << (whole->dim[CODING_BITS] - 1)) / 64 + 1 : 1;
  return n <= INT32_MAX && (most == 0 || (rounds + 8) * (n + 4) + 256 < most);
}

static const pare__param item_params[] = {{"WIDTH", (const int[]){8, 16, 4, 0}}, {NULL, NULL}};
static const pare__param group_params[] = {{"GROUP", (const int[]){64, 128, 0}}, {NULL, NULL}};
static const pare__variant variants[] = {
    {.name = "item",
     .file = "grid_fit.cl",
     .needs = PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = item_params,
     .accepts = accepts_items,
     .launch = launch_items},
    {.name = "group",
     .file = "grid_fit.cl",
     .shaped = PARE__FOR_GPU,
     .params = group_params,
     .accepts = accepts_groups,
     .launch = launch_groups},
    {.name = NULL},
};

#define SYM CODING_SYMMETRIC
static const struct {
  pare__case_set set;
  int mode;
  int64_t rows, length, part;
  int bits;
  int importance; /* 0: none, 1: one row for all, 2: one each */
  pare_dtype x;
} cases[] = {
    {PARE__CASES_SELFTEST, SYM | CODING_SIGNED | CODING_EXACT, 2, 40, 32, 3, 1, PARE_F32},
    {PARE__CASES_SELFTEST, 0, 2, 70, 32, 4, 0, PARE_F32},
    {PARE__CASES_TEST, SYM | CODING_SIGNED | CODING_EXACT | CODING_FULL_RANGE, 5, 67, 16, 4, 0, PARE_F32},
    {PARE__CASES_TEST, SYM | CODING_EXACT, 3, 64, 32, 2, 2, PARE_F16},
    {PARE__CASES_TEST, SYM | CODING_SIGNED, 3, 257, 257, 8, 1, PARE_BF16},
    {PARE__CASES_TEST, CODING_SIGNED, 3, 131, 32, 4, 2, PARE_F32},
    {PARE__CASES_TEST, 0, 0, 32, 32, 4, 0, PARE_F32},
    {PARE__CASES_BENCH, SYM | CODING_SIGNED | CODING_EXACT, 1024, 1024, 32, 4, 0, PARE_F32},
    {PARE__CASES_BENCH, 0, 1024, 1024, 32, 4, 0, PARE_F32},
};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  for (unsigned i = 0; i < PARE__COUNT(cases); i++) {
    if (cases[i].set != set || index-- > 0) continue;
    out->mode = cases[i].mode;
    out->dim[CODING_ROWS] = cases[i].rows;
    out->dim[CODING_LENGTH] = cases[i].length;
    out->dim[CODING_PART] = cases[i].part;
    out->dim[CODING_BITS] = cases[i].bits;
    out->dim[CODING_IMPORTANCE] = cases[i].importance > 0;
    out->dim[CODING_IMPORTANCE_STRIDE] = cases[i].importance == 2 ? cases[i].length : 0;
    out->dtype[CODING_BUFFER_X] = cases[i].x;
    out->dtype[CODING_BUFFER_SCALE] = PARE_F32;
    out->dtype[CODING_BUFFER_ZERO] = cases[i].mode & CODING_SIGNED ? PARE_I8 : PARE_U8;
    out->dtype[CODING_BUFFER_IMPORTANCE] = PARE_F32;
    return true;
  }
  return false;
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t rows = p->dim[CODING_ROWS], length = p->dim[CODING_LENGTH], groups = rows * pare__grid_parts(p);
  switch (i) {
  case CODING_BUFFER_X: *out = (pare__buffer_spec){PARE__IN, rows * length}; break;
  case CODING_BUFFER_SCALE: *out = (pare__buffer_spec){PARE__OUT, groups}; break;
  case CODING_BUFFER_ZERO:
    *out = (pare__buffer_spec){p->mode & CODING_SYMMETRIC ? PARE__ABSENT : PARE__OUT, groups};
    break;
  default:
    *out = (pare__buffer_spec){p->dim[CODING_IMPORTANCE] ? PARE__IN : PARE__ABSENT,
                               p->dim[CODING_IMPORTANCE_STRIDE] ? rows * length : length};
  }
}

/* The first group is zero; importance is not negative. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed * 7 + i;
  for (int64_t e = 0; e < spec.elements; e++) {
    const double value = pare__reference_uniform(&state);
    pare__store(p->dtype[i], data, (size_t)e,
                i == CODING_BUFFER_IMPORTANCE ? fabs(value)
                : e < p->dim[CODING_PART]     ? 0
                                              : value * fabs(value));
  }
}

/* ---- reference: the same candidates, in doubles ---- */

typedef struct group {
  const double *x, *d;
  int64_t n;
} group;

typedef struct candidate {
  double scale, zero, gain;
} candidate;

/* The gain of the codes of a scale, and the scale that is best for them. */
static candidate try_scale(const pare__problem *p, const group *g, double scale, double zero) {
  double a = 0, b = 0;
  for (int64_t i = 0; i < g->n; i++) {
    const double q = pare__grid_reference_steps(p, g->x[i], scale, zero);
    a += g->d[i] * g->x[i] * q;
    b += g->d[i] * q * q;
  }
  return a > 0 && b > 0 ? (candidate){a / b, zero, a * a / b} : (candidate){scale, zero, 0};
}

static candidate best_of(const pare__problem *p, const group *g, double low, double high, double *second) {
  const int half = 1 << (p->dim[CODING_BITS] - 1), searched = 64;
  const int64_t count = p->mode & CODING_EXACT ? g->n * half : searched;
  double widest_zero, zero;
  const double widest = pare__grid_reference_scale(p, low, high, &widest_zero);
  candidate best = {widest, rint(widest_zero), 0};
  *second = 0;
  for (int64_t c = 0; c < count; c++) {
    double scale;
    zero = widest_zero;
    if (p->mode & CODING_EXACT)
      scale = fabs(g->x[c / half]) / ((double)(c % half) + 0.5) * (1 - 0x1p-22);
    else if (p->mode & CODING_SYMMETRIC)
      scale = widest * (1 - (double)c * 0.8 / (searched - 1));
    else
      scale = pare__grid_reference_scale(p, low * (1 - 0.06 * (double)(c & 7)), high * (1 - 0.06 * (double)(c >> 3)),
                                         &zero);
    if (scale == 0) continue;
    const candidate tried = try_scale(p, g, scale, rint(zero));
    const bool other = fabs(tried.scale - best.scale) > 1e-5 * best.scale || tried.zero != best.zero;
    if (tried.gain > best.gain) {
      if (other) *second = best.gain;
      best = tried;
    } else if (other) {
      *second = fmax(*second, tried.gain);
    }
  }
  return best;
}

static bool reference_group(const pare__problem *p, const group *g, int64_t at, double *const *expected,
                            double *const *tolerance) {
  double low = 0, high = 0, second;
  for (int64_t i = 0; i < g->n; i++) {
    low = fmin(low, g->x[i]);
    high = fmax(high, g->x[i]);
  }
  candidate best = best_of(p, g, low, high, &second);
  for (int round = 0; round < 4; round++) best = try_scale(p, g, best.scale, best.zero);
  const int least = p->mode & CODING_SIGNED ? -(1 << (p->dim[CODING_BITS] - 1)) : 0;
  /* of two that are as good either will do; a search is tested for being no worse than the range, by the operation */
  const bool certain = p->mode & CODING_EXACT && (best.gain == 0 || second < best.gain * (1 - 1e-4));
  expected[CODING_BUFFER_SCALE][at] = best.scale;
  tolerance[CODING_BUFFER_SCALE][at] =
      certain ? (1e-4 + pare__dtype_epsilon(p->dtype[CODING_BUFFER_SCALE])) * best.scale : -1;
  if (p->mode & CODING_SYMMETRIC) return true;
  expected[CODING_BUFFER_ZERO][at] = least + best.zero;
  tolerance[CODING_BUFFER_ZERO][at] = -1;
  return true;
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t length = p->dim[CODING_LENGTH], part = p->dim[CODING_PART], parts = pare__grid_parts(p);
  double *x = calloc((size_t)part * 2, sizeof *x);
  if (!x) return false;
  for (int64_t at = 0; at < p->dim[CODING_ROWS] * parts; at++) {
    const int64_t row = at / parts, begin = at % parts * part;
    const group g = {x, x + part, PARE__MIN(part, length - begin)};
    for (int64_t i = 0; i < g.n; i++) {
      x[i] = pare__load(p->dtype[0], data[0], (size_t)(row * length + begin + i));
      x[part + i] =
          p->dim[CODING_IMPORTANCE]
              ? ((const float *)data[CODING_BUFFER_IMPORTANCE])[row * p->dim[CODING_IMPORTANCE_STRIDE] + begin + i]
              : 1;
    }
    reference_group(p, &g, at, expected, tolerance);
  }
  free(x);
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  const double elements = (double)(p->dim[CODING_ROWS] * p->dim[CODING_LENGTH]);
  const double half = (double)(1 << (p->dim[CODING_BITS] - 1));
  *flops = elements * (p->mode & CODING_EXACT ? (double)p->dim[CODING_PART] * half : 64) * 8;
  *bytes = elements * (double)pare_dtype_bytes(p->dtype[0]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s %lld bits %lldx%lld in %lld %s", p->mode & CODING_EXACT ? "exact" : "search",
           p->mode & CODING_SYMMETRIC ? " symmetric" : "", (long long)p->dim[CODING_BITS],
           (long long)p->dim[CODING_ROWS], (long long)p->dim[CODING_LENGTH], (long long)p->dim[CODING_PART],
           pare_dtype_name(p->dtype[0]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", p->mode & CODING_EXACT ? "exact" : "search");
}

const pare__family pare__family_grid_fit = {
    .name = "grid_fit",
    .what = "scales and zero points of groups with the least squared error",
    .nbuffers = CODING_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
