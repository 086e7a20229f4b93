/* The pooling family: extremes, means and norms of windows. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_pool.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"

static int64_t product3(const int64_t *dim) { return dim[0] * dim[1] * dim[2]; }
static bool is_f64(const pare__problem *p) { return p->dtype[POOL_BUFFER_X] == PARE_F64; }

static int64_t lanes_of(const pare_device_info *info, const pare__problem *p) {
  return PARE__MAX(2, PARE__MIN(info->can.vector_bits, 512) / (is_f64(p) ? 64 : 32));
}

static void push_arguments(pare__args *args, const pare__run *run) {
  const pare__problem *p = run->piece;
  const int64_t *dim = p->dim;
  int64_t offsets[8] = {0};
  for (int i = 0; i < POOL_NBUFFERS; i++) {
    const bool absent = i == POOL_BUFFER_INDICES && !(p->flags & POOL_HAS_INDICES);
    pare__arg_mem(args, absent ? NULL : run->operand[i].mem);
    offsets[i] = run->operand[i].offset;
  }
  pare__arg_long8(args, offsets);
  pare__arg_long(args, dim[POOL_PLANES]);
  pare__arg_long(args, dim[POOL_FIRST]);
  pare__arg_int(args, (int32_t)dim[POOL_LANES]);
  for (int i = POOL_X; i <= POOL_AFTER; i += 6) {
    int64_t triples[8] = {0};
    memcpy(triples, dim + i, (i == POOL_AFTER ? 3 : 6) * sizeof *triples);
    pare__arg_long8(args, triples);
  }
  pare__arg_int(args, (int32_t)p->flags);
  if (is_f64(p))
    pare__arg_double(args, p->real[0]);
  else
    pare__arg_float(args, (float)p->real[0]);
}

static void options_of(const pare__problem *whole, int64_t width, char *text, size_t capacity) {
  const pare_dtype dtype = whole->dtype[POOL_BUFFER_X];
  const bool integer = !pare__dtype_is_float(dtype);
  snprintf(text, capacity, "-DMODE=%d -DSUM_IS_INT=%d -DLOWEST_STORED=%d -DSUM_IS_DOUBLE=%d -DEACH=%d -DWIDTH=%d",
           whole->mode, integer, dtype == PARE_I8 ? -128 : 0, is_f64(whole), width == 0, PARE__MAX(1, (int)width));
}

static bool fits(const pare__problem *p) {
  for (int i = POOL_LANES; i < POOL_NDIMS; i++)
    if (p->dim[i] > INT32_MAX / 8 || p->dim[i] < -INT32_MAX / 8) return false;
  for (int d = 0; d < 3; d++)
    if (p->dim[POOL_Y + d] * p->dim[POOL_STRIDE + d] + p->dim[POOL_K + d] * p->dim[POOL_DILATION + d] > INT32_MAX / 8)
      return false;
  return true;
}

static bool is_empty(const pare__problem *p) {
  return p->dim[POOL_PLANES] * p->dim[POOL_LANES] * product3(p->dim + POOL_Y) == 0;
}

/* ---- each ---- */

static bool each_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t *dim = whole->dim;
  const double steps = 2.0 * (double)dim[POOL_K] * (double)dim[POOL_K + 1] * (double)(dim[POOL_K + 2] + 1) +
                       (double)(dim[POOL_K] + dim[POOL_K + 1] + dim[POOL_K + 2]);
  return fits(whole) && (info->can.max_loop_steps == 0 || steps < info->can.max_loop_steps);
}

static pare_status each_launch(const pare__run *run) {
  if (is_empty(run->piece)) return PARE_OK;
  char options[200];
  options_of(run->whole, 0, options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  const size_t global[] = {(size_t)(product3(run->piece->dim + POOL_Y) * run->piece->dim[POOL_LANES]),
                           (size_t)run->piece->dim[POOL_PLANES]};
  return pare__run_kernel(run, "pool_each", options, 2, global, NULL, &args);
}

/* ---- rows and lanes ---- */

enum { BAND_BYTES = 24576 };

static bool flat(const int64_t *dim) {
  return dim[POOL_X] == 1 && dim[POOL_Y] == 1 && dim[POOL_K] == 1 && dim[POOL_PAD] == 0;
}

static int64_t phase_width(const int64_t *dim, int64_t width) {
  return pare__round_up(dim[POOL_Y + 2], width) +
         (dim[POOL_K + 2] - 1) * dim[POOL_DILATION + 2] / dim[POOL_STRIDE + 2] + 1;
}

static int64_t rows_seen(const int64_t *dim, int64_t band) {
  return (band - 1) * dim[POOL_STRIDE + 1] + (dim[POOL_K + 1] - 1) * dim[POOL_DILATION + 1] + 1;
}

static int64_t line_bytes(const pare__problem *p, int64_t width) {
  return phase_width(p->dim, width) * p->dim[POOL_STRIDE + 2] * (is_f64(p) ? 8 : 4);
}

static bool cpu_accepts(const pare__problem *whole) {
  return fits(whole) && flat(whole->dim) && !(whole->flags & POOL_HAS_INDICES);
}

static bool rows_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t width = lanes_of(info, whole);
  return cpu_accepts(whole) && whole->dim[POOL_LANES] == 1 &&
         (double)rows_seen(whole->dim, 1) * (double)line_bytes(whole, width) <= (double)info->local_bytes / 2;
}

static bool lanes_accepts(const pare_device_info *info, const pare__problem *whole) {
  return cpu_accepts(whole) && whole->dim[POOL_LANES] == lanes_of(info, whole) && whole->mode != POOL_NORM;
}

static pare_status cpu_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim, rows = dim[POOL_Y + 1];
  if (is_empty(run->piece)) return PARE_OK;
  const pare_device_info *info = pare__device_info(run->device);
  const int64_t width = lanes_of(info, run->whole), units = info->compute_units;
  const bool lanes = dim[POOL_LANES] > 1;
  const int64_t line = lanes ? 4 : line_bytes(run->piece, width);
  int64_t band = pare__div_up(rows, pare__div_up(8 * units, dim[POOL_PLANES]));
  while (!lanes && band > 1 && rows_seen(dim, band) * line > BAND_BYTES) band = (band + 1) / 2;
  char options[200];
  options_of(run->whole, width, options, sizeof options);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_int(&args, (int32_t)band);
  pare__arg_int(&args, lanes ? 0 : (int32_t)phase_width(dim, width));
  pare__arg_local(&args, lanes ? 8 : (size_t)(rows_seen(dim, band) * line));
  const size_t global[] = {(size_t)pare__div_up(rows, band), (size_t)dim[POOL_PLANES]}, one[] = {1, 1};
  return pare__run_kernel(run, lanes ? "pool_lanes" : "pool_rows", options, 2, global, one, &args);
}

static const pare__variant variants[] = {
    {.name = "rows",
     .file = "pool.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .accepts = rows_accepts,
     .launch = cpu_launch},
    {.name = "lanes",
     .file = "pool.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .accepts = lanes_accepts,
     .launch = cpu_launch},
    {.name = "each", .file = "pool.cl", .shaped = PARE__FOR_ANY, .accepts = each_accepts, .launch = each_launch},
    {.name = NULL},
};

/* ---- reference and figures ---- */

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = p->dim;
  out->role = i == POOL_BUFFER_X                                           ? PARE__IN
              : i == POOL_BUFFER_INDICES && !(p->flags & POOL_HAS_INDICES) ? PARE__ABSENT
                                                                           : PARE__OUT;
  out->elements = dim[POOL_PLANES] * dim[POOL_LANES] * product3(dim + (i == POOL_BUFFER_X ? POOL_X : POOL_Y));
}

typedef struct window {
  double sum, magnitude, extreme;
  int64_t best, inside, counted;
} window;

/* Everything that a window could be asked for, at pixel `at` of a plane whose lane begins at element `x0`. */
static window look(const pare__problem *p, const void *x, int64_t x0, const int64_t *at) {
  const int64_t *dim = p->dim;
  window w = {0, 0, -INFINITY, -1, 0, 0};
  for (int64_t k = 0; k < product3(dim + POOL_K); k++) {
    const int64_t tap[3] = {k / dim[POOL_K + 2] / dim[POOL_K + 1], k / dim[POOL_K + 2] % dim[POOL_K + 1],
                            k % dim[POOL_K + 2]};
    int64_t i[3];
    bool inside = true, counted = true;
    for (int d = 0; d < 3; d++) {
      i[d] = at[d] * dim[POOL_STRIDE + d] - dim[POOL_PAD + d] + tap[d] * dim[POOL_DILATION + d];
      inside = inside && i[d] >= 0 && i[d] < dim[POOL_X + d];
      counted = counted && i[d] >= -dim[POOL_PAD + d] && i[d] < dim[POOL_X + d] + dim[POOL_AFTER + d];
    }
    w.counted += counted;
    if (!inside) continue;
    const int64_t element = (i[0] * dim[POOL_X + 1] + i[1]) * dim[POOL_X + 2] + i[2];
    const double value = pare__load(p->dtype[POOL_BUFFER_X], x, (size_t)(x0 + element * dim[POOL_LANES]));
    const double term = p->mode == POOL_NORM ? pow(fabs(value), p->real[0]) : value;
    if (w.best < 0 || value > w.extreme) {
      w.extreme = value;
      w.best = p->flags & POOL_COLUMN_MAJOR ? i[0] + dim[POOL_X] * (i[1] + dim[POOL_X + 1] * i[2]) : element;
    }
    w.sum += term;
    w.magnitude += fabs(term);
    w.inside++;
  }
  return w;
}

static double result_of(const pare__problem *p, const window *w, double *error) {
  const pare_dtype dtype = p->dtype[POOL_BUFFER_Y];
  const double epsilon = pare__dtype_epsilon(is_f64(p) ? PARE_F64 : PARE_F32);
  const double count = (double)PARE__MAX(1, p->flags & POOL_COUNT_PADDING ? w->counted : w->inside);
  double value = w->extreme;
  *error = 0;
  if (p->mode == POOL_MAX) {
    if (w->best < 0 && !pare__dtype_is_float(dtype)) value = dtype == PARE_I8 ? -128 : 0;
    return value;
  }
  if (p->mode == POOL_AVERAGE) {
    value = w->sum / count;
    *error = ((double)w->inside + 4) * epsilon * w->magnitude / count;
  } else {
    value = pow(w->sum, 1 / p->real[0]);
    *error = ((double)w->inside + 40) * epsilon * value;
  }
  *error += pare__dtype_epsilon(dtype) * fabs(value) + (dtype == PARE_F16 ? 0x1p-25 : 0);
  return value;
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim, lanes = dim[POOL_LANES], *area = dim + POOL_Y;
  for (int64_t e = 0; e < dim[POOL_PLANES] * product3(area) * lanes; e++) {
    const int64_t pixel = e / lanes % product3(area), plane = e / lanes / product3(area);
    const int64_t at[3] = {pixel / area[2] / area[1], pixel / area[2] % area[1], pixel % area[2]};
    const window w = look(p, data[POOL_BUFFER_X], plane * product3(dim + POOL_X) * lanes + e % lanes, at);
    expected[POOL_BUFFER_Y][e] = result_of(p, &w, &tolerance[POOL_BUFFER_Y][e]);
    if (p->flags & POOL_HAS_INDICES)
      expected[POOL_BUFFER_INDICES][e] =
          (double)((dim[POOL_FIRST] + plane) * product3(dim + POOL_X) + PARE__MAX(w.best, 0));
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  const int64_t *dim = p->dim;
  const double outputs = (double)(dim[POOL_PLANES] * dim[POOL_LANES] * product3(dim + POOL_Y));
  *flops = outputs * (double)product3(dim + POOL_K);
  *bytes = (outputs + (double)(dim[POOL_PLANES] * dim[POOL_LANES] * product3(dim + POOL_X))) *
           (double)pare_dtype_bytes(p->dtype[0]);
}

static const char *const modes[POOL_NMODES] = {"max", "average", "norm"};

static void describe(const pare__problem *p, char *text, size_t capacity) {
  const int64_t *dim = p->dim;
  snprintf(text, capacity, "%s %lldx[%lldx%lldx%lld]x%lld k%lldx%lldx%lld s%lldx%lldx%lld %s%s", modes[p->mode],
           (long long)dim[POOL_PLANES], (long long)dim[POOL_X], (long long)dim[POOL_X + 1], (long long)dim[POOL_X + 2],
           (long long)dim[POOL_LANES], (long long)dim[POOL_K], (long long)dim[POOL_K + 1], (long long)dim[POOL_K + 2],
           (long long)dim[POOL_STRIDE], (long long)dim[POOL_STRIDE + 1], (long long)dim[POOL_STRIDE + 2],
           pare_dtype_name(p->dtype[0]), p->flags & POOL_HAS_INDICES ? " with indices" : "");
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s%s", modes[p->mode], pare_dtype_name(p->dtype[0]),
           p->dim[POOL_LANES] > 1 ? " lanes" : "");
}

/* ---- problems ---- */

typedef struct instance {
  int mode;
  unsigned flags;
  int64_t planes, blocked, x[3], k[3], stride[3], dilation[3], pad[3], after[3];
  double p;
  pare_dtype dtype;
} instance;

static void make_problem(const pare_device_info *info, const instance *from, pare__problem *out) {
  int64_t *dim = out->dim;
  out->mode = from->mode;
  out->flags = from->flags;
  out->real[0] = from->p;
  out->dtype[POOL_BUFFER_X] = out->dtype[POOL_BUFFER_Y] = from->dtype;
  out->dtype[POOL_BUFFER_INDICES] = PARE_I64;
  dim[POOL_PLANES] = from->planes;
  dim[POOL_LANES] = from->blocked ? lanes_of(info, out) : 1;
  for (int d = 0; d < 3; d++) {
    dim[POOL_X + d] = from->x[d];
    dim[POOL_K + d] = from->k[d];
    dim[POOL_STRIDE + d] = from->stride[d];
    dim[POOL_DILATION + d] = from->dilation[d];
    dim[POOL_PAD + d] = from->pad[d];
    dim[POOL_AFTER + d] = from->after[d];
    const int64_t room = from->x[d] + from->pad[d] + from->after[d] - (from->k[d] - 1) * from->dilation[d] - 1;
    dim[POOL_Y + d] = room < 0 ? 0 : room / from->stride[d] + 1;
  }
}

#define ONES \
  { 1, 1, 1 }
#define NONE \
  { 0, 0, 0 }
static const instance selftests[] = {
    {0, 0, 3, 0, {1, 9, 21}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F32},
    {0, 6, 3, 0, {3, 5, 7}, {2, 3, 3}, {1, 2, 1}, {1, 1, 2}, {0, 1, 1}, {1, 0, 1}, 2, PARE_F32},
    {0, 0, 3, 1, {1, 7, 9}, {1, 3, 2}, {1, 2, 1}, ONES, {0, 1, 1}, {0, 1, 0}, 2, PARE_F32},
    {1, 0, 3, 0, {1, 9, 21}, {1, 3, 3}, {1, 1, 1}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F32},
    {1, 1, 2, 0, {1, 5, 19}, {1, 2, 4}, {1, 2, 3}, ONES, {0, 1, 2}, {0, 1, 2}, 2, PARE_F32},
    {1, 0, 3, 1, {1, 7, 9}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F32},
    {2, 0, 3, 0, {1, 9, 21}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F32},
    {2, 0, 3, 0, {1, 5, 9}, {1, 3, 3}, {1, 2, 1}, ONES, NONE, NONE, 3, PARE_F32},
};
static const instance tests[] = {
    {0, 0, 2, 0, {1, 1, 301}, {1, 1, 5}, {1, 1, 3}, {1, 1, 2}, {0, 0, 4}, {0, 0, 3}, 2, PARE_F32},
    {0, 4, 5, 0, {1, 31, 17}, {1, 2, 2}, {1, 2, 2}, ONES, NONE, NONE, 2, PARE_F32},
    {0, 0, 0, 0, {1, 3, 3}, {1, 2, 2}, ONES, ONES, NONE, NONE, 2, PARE_F32},
    {0, 0, 2, 0, {1, 1, 1}, {1, 3, 3}, {1, 1, 1}, ONES, {0, 2, 2}, {0, 2, 2}, 2, PARE_F32},
    {0, 0, 2, 0, {1, 13, 11}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_I8},
    {0, 4, 2, 0, {1, 13, 11}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_U8},
    {0, 0, 2, 0, {1, 13, 11}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F16},
    {1, 0, 2, 0, {1, 13, 11}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_BF16},
    {1, 1, 2, 0, {4, 5, 6}, {2, 2, 3}, {2, 1, 1}, ONES, {1, 0, 1}, {0, 1, 1}, 2, PARE_F64},
    {1, 1, 2, 0, {1, 70, 71}, {1, 7, 5}, {1, 3, 4}, {1, 2, 1}, {0, 3, 2}, {0, 5, 6}, 2, PARE_F32},
    {1, 0, 2, 1, {1, 13, 11}, {1, 3, 3}, {1, 1, 2}, {1, 2, 1}, {0, 2, 1}, {0, 2, 1}, 2, PARE_F32},
    {2, 0, 2, 0, {2, 9, 8}, {2, 3, 3}, ONES, ONES, NONE, NONE, 1, PARE_F32},
    {2, 0, 2, 0, {1, 9, 8}, {1, 3, 3}, {1, 2, 1}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F64},
};
static const instance benches[] = {
    {0, 0, 64, 0, {1, 112, 112}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F32},
    {0, 0, 8, 1, {1, 112, 112}, {1, 3, 3}, {1, 2, 2}, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F32},
    {1, 0, 192, 0, {1, 35, 35}, {1, 3, 3}, ONES, ONES, {0, 1, 1}, {0, 1, 1}, 2, PARE_F32},
};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  const struct {
    const instance *instance;
    unsigned count;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftests, PARE__COUNT(selftests)},
              [PARE__CASES_TEST] = {tests, PARE__COUNT(tests)},
              [PARE__CASES_BENCH] = {benches, PARE__COUNT(benches)}};
  if (index >= sets[set].count) return false;
  make_problem(info, &sets[set].instance[index], out);
  return true;
}

const pare__family pare__family_pool = {
    .name = "pool",
    .what = "maximum, mean and norm of windows",
    .nbuffers = POOL_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
