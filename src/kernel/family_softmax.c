/* The softmax family: softmax and log-softmax along one axis. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_softmax.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernel/family_rows.h"
#include "kernel/reduce_reference.h"

#define KEPT_ELEMENTS 8192  /* exponentials of a row that wait in local memory */
#define ITEM_ELEMENTS 32768 /* of the rows that one item takes */

/* Rows of a mask are found in 32 bits. */
static bool mask_accepts(const pare__problem *whole) {
  const int64_t *dim = whole->dim, most = UINT32_MAX;
  return !(whole->mode & PARE__SOFTMAX_MASKED) ||
         (dim[PARE__SOFTMAX_OUTER] <= most && dim[PARE__SOFTMAX_MIDDLE_ROWS] <= most &&
          dim[PARE__SOFTMAX_INNER_ROWS] <= most);
}

static bool item_accepts(const pare_device_info *info, const pare__problem *whole) {
  int64_t each = whole->dim[PARE__SOFTMAX_INNER] == 1
                     ? 3
                     : 64; /* passes over a row; over the vectors and single columns of a strip */
  if (!mask_accepts(whole)) return false;
  return info->can.max_loop_steps == 0 || whole->mode & PARE__SOFTMAX_GIVEN ||
         whole->dim[PARE__SOFTMAX_LENGTH] < info->can.max_loop_steps / each;
}

static bool group_accepts(const pare_device_info *info, const pare__problem *whole) {
  int64_t lanes = 64 / PARE__MIN(whole->dim[PARE__SOFTMAX_INNER], 32);
  if (!mask_accepts(whole)) return false;
  return info->can.max_loop_steps == 0 || whole->mode & PARE__SOFTMAX_GIVEN ||
         whole->dim[PARE__SOFTMAX_LENGTH] < info->can.max_loop_steps / 4 * lanes;
}

static void options_of(const pare__problem *whole, const char *more, char *text, size_t capacity) {
  const int mask = !(whole->mode & PARE__SOFTMAX_MASKED) ? 0 : whole->dtype[1] == PARE_BOOL ? 2 : 1;
  snprintf(text, capacity, "-DROW=%s -DLOGARITHM=%d -DMASK=%d %s", pare_dtype_name(pare__row_dtype(whole)),
           whole->mode & PARE__SOFTMAX_LOG, mask, more);
}

static void push_arguments(pare__args *args, const pare__run *run) {
  pare__row_args(args, run, 4, PARE__SOFTMAX_NDIMS);
  pare__arg_float(args, (float)run->whole->real[0]);
}

static pare_status launch_items(const pare__run *run) {
  const int64_t *dim = run->piece->dim, *whole = run->whole->dim;
  int64_t outer = dim[PARE__SOFTMAX_OUTER], length = dim[PARE__SOFTMAX_LENGTH], inner = dim[PARE__SOFTMAX_INNER];
  const pare_device_info *info = pare__device_info(run->device);
  const size_t one[3] = {1, 1, 1};
  char options[100];
  options_of(run->whole, "", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  if (run->whole->mode & PARE__SOFTMAX_GIVEN) {
    int64_t per_item = PARE__MAX(1, 4096 / inner);
    pare__arg_int(&args, (int32_t)per_item);
    const size_t global[2] = {(size_t)pare__div_up(length, per_item), (size_t)outer};
    return pare__run_kernel(run, "softmax_given", options, 2, global, one, &args);
  }
  if (whole[PARE__SOFTMAX_INNER] == 1) {
    int64_t rows = pare__row_count(run, outer, length, ITEM_ELEMENTS);
    int64_t local_bytes = KEPT_ELEMENTS * (int64_t)pare_dtype_bytes(pare__row_dtype(run->whole));
    bool keep =
        !(run->whole->mode & PARE__SOFTMAX_LOG) && length <= KEPT_ELEMENTS && (int64_t)info->local_bytes >= local_bytes;
    const char *more = !keep ? "" : info->can.inline_assembly ? "-DKEEP=1 -DPREFETCH=1" : "-DKEEP=1"; /* no SPIR-V */
    options_of(run->whole, more, options, sizeof options);
    pare__arg_int(&args, (int32_t)rows);
    pare__arg_int(&args, pare__row_streams(run, whole[PARE__SOFTMAX_OUTER] * length));
    pare__arg_local(&args,
                    keep ? (size_t)pare__round_up(length + 1, 16) * pare_dtype_bytes(pare__row_dtype(run->whole)) : 16);
    const size_t global[1] = {(size_t)pare__div_up(outer, rows)};
    return pare__run_kernel(run, "softmax_rows", options, 1, global, one, &args);
  }
  const size_t global[2] = {(size_t)pare__div_up(inner, (int64_t)pare__tuned(run, "WIDTH") * 4), (size_t)outer};
  return pare__run_kernel(run, "softmax_columns", options, 2, global, one, &args);
}

static int power_of_two(int64_t at_least, int at_most) {
  int power = 1;
  while (power < at_least && power < at_most) power *= 2;
  return power;
}

static pare_status launch_groups(const pare__run *run) {
  const int64_t *dim = run->piece->dim, *whole = run->whole->dim;
  int group = pare__tuned(run, "GROUP");
  char options[100];
  options_of(run->whole, "-DWIDTH=1", options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  if (run->whole->mode & PARE__SOFTMAX_GIVEN) {
    int64_t elements = dim[PARE__SOFTMAX_LENGTH] * dim[PARE__SOFTMAX_INNER];
    const size_t global[2] = {(size_t)pare__round_up(elements, group), (size_t)dim[PARE__SOFTMAX_OUTER]},
                 local[2] = {(size_t)group, 1};
    return pare__run_kernel(run, "softmax_given_group", options, 2, global, local, &args);
  }
  /* whole, not piece: the tree's shape decides the order of additions */
  int columns = power_of_two(whole[PARE__SOFTMAX_INNER], 32);
  int lanes = power_of_two(whole[PARE__SOFTMAX_LENGTH], group / columns), rows = group / (columns * lanes);
  pare__arg_int(&args, columns);
  pare__arg_int(&args, lanes);
  int64_t tiles = pare__div_up(dim[PARE__SOFTMAX_INNER], columns);
  const size_t global[1] = {(size_t)(pare__div_up(dim[PARE__SOFTMAX_OUTER], rows) * tiles * group)},
               local[1] = {(size_t)group};
  return pare__run_kernel(run, "softmax_group", options, 1, global, local, &args);
}

static const pare__variant variants[] = {
    {.name = "item",
     .file = "softmax.cl",
     .shaped = PARE__FOR_CPU,
     .params = pare__row_item_params,
     .defaults = pare__row_item_defaults,
     .accepts = item_accepts,
     .launch = launch_items},
    {.name = "group",
     .file = "softmax.cl",
     .shaped = PARE__FOR_GPU,
     .params = pare__row_group_params,
     .accepts = group_accepts,
     .launch = launch_groups},
    {.name = NULL},
};

/* ---- problems ---- */

/* Where the mask's row for a row of x begins. */
static int64_t mask_row(const pare__problem *p, int64_t row) {
  const int64_t *dim = p->dim, middle = dim[PARE__SOFTMAX_MIDDLE_ROWS], inner = dim[PARE__SOFTMAX_INNER_ROWS];
  return row / (middle * inner) * dim[PARE__SOFTMAX_MASK_OUTER] +
         row / inner % middle * dim[PARE__SOFTMAX_MASK_MIDDLE] + row % inner * dim[PARE__SOFTMAX_MASK_INNER];
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  static const pare__role role[4] = {PARE__IN, PARE__IN, PARE__IN, PARE__OUT};
  const bool stats = i == 1 || i == 2, masked = (p->mode & PARE__SOFTMAX_MASKED) && i == 1;
  out->role = stats && !masked && !(p->mode & PARE__SOFTMAX_GIVEN) ? PARE__ABSENT : role[i];
  out->elements =
      p->dim[PARE__SOFTMAX_OUTER] *
      (stats ? p->dim[PARE__SOFTMAX_INNER] : p->dim[i == 0 ? PARE__SOFTMAX_X_OUTER : PARE__SOFTMAX_Y_OUTER]);
  if (!masked) return;
  out->elements = 0; /* as far as the row that lies furthest, which with a broadcast need not be the last */
  for (int64_t row = 0; row < p->dim[PARE__SOFTMAX_OUTER]; row++)
    out->elements = PARE__MAX(out->elements, mask_row(p, row) + p->dim[PARE__SOFTMAX_LENGTH]);
}

static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  static const double specials[] = {-INFINITY, INFINITY, NAN, 1e-40};
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed * 4 + i;
  const bool masks = i == 1 && (p->mode & PARE__SOFTMAX_MASKED);
  for (int64_t k = 0; k < spec.elements; k++) {
    double u = pare__reference_uniform(&state);
    if (masks) {
      pare__store(p->dtype[i], data, (size_t)k, p->dtype[i] == PARE_BOOL ? u > -0.5 : u < -0.7 ? -INFINITY : u);
      continue;
    }
    pare__store(p->dtype[i], data, (size_t)k, i == 0 ? 10 * u : i == 1 ? 10 + u : 2 + u);
  }
  int64_t rows = p->dim[PARE__SOFTMAX_OUTER], length = p->dim[PARE__SOFTMAX_LENGTH],
          stride = p->dim[PARE__SOFTMAX_X_OUTER];
  for (int64_t r = 0; i == 0 && r < rows; r++) {
    uint64_t bits = pare__reference_random(&state);
    if (bits % 3 != 0 || length == 0) continue;
    size_t at = (size_t)(r * stride + (int64_t)((bits >> 8) % (uint64_t)length) * p->dim[PARE__SOFTMAX_X_AXIS]);
    pare__store(p->dtype[0], data, at, specials[(bits >> 40) % PARE__COUNT(specials)]);
    for (int64_t k = 0; r == 4 && p->dim[PARE__SOFTMAX_INNER] == 1 && k < length; k++)
      pare__store(p->dtype[0], data, (size_t)(r * stride + k), -INFINITY);
  }
}

/* Element r of the row that begins at x, as the mask leaves it; k is the row's number. */
static double element(const pare__problem *p, void *const *data, size_t x, int64_t k, int64_t r) {
  const double v = pare__load(p->dtype[0], data[0], x + (size_t)(r * p->dim[PARE__SOFTMAX_X_AXIS]));
  if (!(p->mode & PARE__SOFTMAX_MASKED)) return v;
  const double mask = pare__load(p->dtype[1], data[1], (size_t)(mask_row(p, k) + r));
  return p->dtype[1] == PARE_BOOL ? (mask != 0 ? v : (float)p->real[0]) : v + mask;
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim;
  int64_t length = dim[PARE__SOFTMAX_LENGTH], inner = dim[PARE__SOFTMAX_INNER];
  double eps = pare__dtype_epsilon(pare__row_dtype(p));
  for (int64_t k = 0; k < dim[PARE__SOFTMAX_OUTER] * inner; k++) {
    size_t x = (size_t)(k / inner * dim[PARE__SOFTMAX_X_OUTER] + k % inner),
           y = (size_t)(k / inner * dim[PARE__SOFTMAX_Y_OUTER] + k % inner);
    double m = -INFINITY, s = 0;
    for (int64_t r = 0; r < length; r++) {
      double v = element(p, data, x, k, r);
      m = v > m || isnan(v) ? v : m;
    }
    for (int64_t r = 0; r < length; r++) s += exp(element(p, data, x, k, r) - m);
    if (p->mode & PARE__SOFTMAX_GIVEN) {
      m = pare__load(p->dtype[1], data[1], (size_t)k);
      s = pare__load(p->dtype[2], data[2], (size_t)k);
    }
    /* the rounding of x - m, the sum and the exponential */
    double relative = eps * ((double)length / (inner == 1 ? 4 : 1) + 48);
    for (int64_t r = 0; r < length; r++) {
      double v = element(p, data, x, k, r) - m;
      size_t at = y + (size_t)(r * dim[PARE__SOFTMAX_Y_AXIS]);
      double result = p->mode & PARE__SOFTMAX_LOG ? v - log(s) : exp(v) / s;
      expected[3][at] = pare__reference_overflow(p->dtype[3], result);
      double error =
          p->mode & PARE__SOFTMAX_LOG ? relative + 4 * eps * fabs(v) : (relative + 4 * eps * fabs(v)) * result + 2e-38;
      if (v == INFINITY) { /* x over its maximum: given sums never come with that */
        tolerance[3][at] = -1;
        continue;
      }
      tolerance[3][at] = isfinite(result) ? error + pare__reference_rounding(p->dtype[3], result) : 0;
    }
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  double n =
      (double)p->dim[PARE__SOFTMAX_OUTER] * (double)p->dim[PARE__SOFTMAX_LENGTH] * (double)p->dim[PARE__SOFTMAX_INNER];
  *flops = 12 * n;
  *bytes = n * (double)(pare_dtype_bytes(p->dtype[0]) + pare_dtype_bytes(p->dtype[3]));
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%ssoftmax%s%s %lldx%lldx%lld %s", p->mode & PARE__SOFTMAX_LOG ? "log-" : "",
           p->mode & PARE__SOFTMAX_GIVEN ? " given sums" : "",
           !(p->mode & PARE__SOFTMAX_MASKED) ? ""
           : p->dtype[1] == PARE_BOOL        ? " where a mask is true"
                                             : " plus a mask",
           (long long)p->dim[PARE__SOFTMAX_OUTER], (long long)p->dim[PARE__SOFTMAX_LENGTH],
           (long long)p->dim[PARE__SOFTMAX_INNER], pare_dtype_name(p->dtype[0]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", pare_dtype_name(p->dtype[0]), p->dim[PARE__SOFTMAX_INNER] > 1 ? "columns" : "rows");
}

typedef struct shape {
  int64_t outer, length, inner, gap;
} shape;
static const shape selftest_shapes[] = {{9, 37, 1, 0}, {7, 3, 1, 5}, {3, 5, 71, 1}};
static const shape test_shapes[] = {{0, 5, 1, 0},     {3, 0, 1, 0},     {1, 1, 1, 0},    {13, 1, 1, 0},
                                    {600, 7, 1, 0},   {32, 1024, 1, 0}, {5, 1009, 1, 3}, {2, 9001, 1, 0},
                                    {2, 131, 257, 2}, {1, 2, 8, 0}};
static const shape bench_shapes[] = {{4096, 1024, 1, 0}, {65536, 64, 1, 0}, {64, 65536, 1, 0}, {16, 512, 512, 0}};

enum { LOG = PARE__SOFTMAX_LOG, GIVEN = PARE__SOFTMAX_GIVEN, MASKED = PARE__SOFTMAX_MASKED };
static const struct kind {
  int mode;
  bool of_bool; /* the mask */
} kinds[] = {{0, false},     {LOG, false},         {GIVEN, false},       {MASKED, false},
             {MASKED, true}, {LOG | GIVEN, false}, {LOG | MASKED, false}};

/* A mask broadcasts along the middle of three dimensions of rows. */
static void make_problem(const struct kind *kind, pare_dtype dtype, const shape *s, pare__problem *out) {
  const bool masked = kind->mode & MASKED;
  const int64_t inner = masked ? 1 : s->inner, axis = inner == 1 ? 1 : inner + s->gap, mask = s->length + 1;
  const int64_t dims[] = {
      s->outer, s->length, inner, s->length * axis + s->gap, axis, s->length * inner, inner, 3 * mask, 0, mask,
      2,        3,         0};
  for (unsigned i = 0; i < PARE__COUNT(dims); i++) out->dim[i] = dims[i];
  out->mode = kind->mode;
  out->real[0] = -3;
  out->dtype[0] = out->dtype[3] = dtype;
  out->dtype[1] = out->dtype[2] = pare__row_dtype(out);
  if (masked) out->dtype[1] = kind->of_bool ? PARE_BOOL : dtype;
}

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  const struct {
    const shape *shapes;
    unsigned nshapes, nkinds;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftest_shapes, PARE__COUNT(selftest_shapes), 5},
              [PARE__CASES_TEST] = {test_shapes, PARE__COUNT(test_shapes), PARE__COUNT(kinds)},
              [PARE__CASES_BENCH] = {bench_shapes, PARE__COUNT(bench_shapes), 1}};
  pare__row_case found;
  if (!pare__row_case_at(set, info, index, sets[set].nshapes, sets[set].nkinds, &found)) return false;
  make_problem(&kinds[found.mode], found.dtype, &sets[set].shapes[found.shape], out);
  return true;
}

const pare__family pare__family_softmax = {
    .name = "softmax",
    .what = "softmax and log-softmax along one axis",
    .nbuffers = 4,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
