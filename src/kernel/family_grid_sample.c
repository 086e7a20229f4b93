/* The family of sampling at the places that a grid names. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/operation.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_resample.h"

static int64_t product3(const int64_t *dim) { return dim[0] * dim[1] * dim[2]; }

static bool accepts(const pare_device_info *info, const pare__problem *whole) {
  (void)info;
  for (int d = 0; d < 6; d++)
    if (whole->dim[GRID_X + d] > INT32_MAX / 4) return false;
  return true;
}

static pare_status launch(const pare__run *run) {
  const pare__problem *p = run->piece;
  const int64_t *dim = p->dim;
  char options[60];
  snprintf(options, sizeof options, "-DSAMPLING=%d -DPADDING=%d", run->whole->mode % 4, run->whole->mode / 4);
  pare__args args = {0};
  for (unsigned i = 0; i < GRID_NBUFFERS; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  int64_t triples[8] = {0};
  memcpy(triples, dim + GRID_X, 6 * sizeof *triples);
  pare__arg_int(&args, (int32_t)dim[GRID_C]);
  pare__arg_int(&args, (int32_t)dim[GRID_RANK]);
  pare__arg_long8(&args, triples);
  pare__arg_int(&args, (int32_t)p->flags);
  const size_t global[] = {(size_t)product3(dim + GRID_Y), (size_t)(dim[GRID_N] * dim[GRID_C])};
  return pare__run_kernel(run, "grid_sample", options, 2, global, NULL, &args);
}

static const pare__variant variants[] = {
    {.name = "each", .file = "grid_sample.cl", .shaped = PARE__FOR_ANY, .accepts = accepts, .launch = launch},
    {.name = NULL},
};

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = p->dim;
  const int64_t elements[] = {dim[GRID_N] * dim[GRID_C] * product3(dim + GRID_X),
                              dim[GRID_N] * product3(dim + GRID_Y) * dim[GRID_RANK],
                              dim[GRID_N] * dim[GRID_C] * product3(dim + GRID_Y)};
  out->role = i == GRID_BUFFER_Y ? PARE__OUT : PARE__IN;
  out->elements = elements[i];
}

/* Places inside and far outside, none where a rounding could choose another element. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed * 977 + i;
  for (int64_t k = 0; k < spec.elements; k++) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    double value = (double)(state >> 40) * 0x1p-23 - 1;
    if (i == GRID_BUFFER_GRID) {
      const int64_t length = p->dim[GRID_X + 2 - k % p->dim[GRID_RANK]];
      const double place = floor(value * 1.5 * (double)length) + 0.25;
      value = p->flags & GRID_ALIGN_CORNERS ? (length > 1 ? place * 2 / (double)(length - 1) - 1 : place)
                                            : (place * 2 + 1) / (double)length - 1;
    }
    pare__store(p->dtype[i], data, (size_t)k, value);
  }
}

/* ---- the reference ---- */

static double reflected(double at, int64_t length, bool align) {
  const double low = align ? 0 : -0.5, high = align ? (double)(length - 1) : (double)length - 0.5;
  if (high <= low) return 0;
  while (at < low || at > high) at = at < low ? 2 * low - at : 2 * high - at;
  return at;
}

static double cubic(double x) {
  const double a = -0.75;
  x = fabs(x);
  return x <= 1 ? (a + 2) * x * x * x - (a + 3) * x * x + 1 : x < 2 ? a * (x * x * x - 5 * x * x + 8 * x - 4) : 0;
}

/* Taps of one dimension; returns how many. */
static int taps_at(const pare__problem *p, double coordinate, int64_t length, int64_t *index, double *weight) {
  const bool align = p->flags & GRID_ALIGN_CORNERS;
  const int sampling = p->mode % 4, padding = p->mode / 4;
  const double last = (double)(length - 1);
  double at = align ? (coordinate + 1) / 2 * last : ((coordinate + 1) * (double)length - 1) / 2;
  if (sampling != PARE_SAMPLING_CUBIC) {
    if (padding == PARE_SAMPLING_REFLECTION) at = reflected(at, length, align);
    if (padding != PARE_SAMPLING_ZEROS) at = at < 0 ? 0 : at > last ? last : at;
  }
  const int count = sampling == PARE_SAMPLING_LINEAR ? 2 : sampling == PARE_SAMPLING_NEAREST ? 1 : 4;
  const int64_t first = sampling == PARE_SAMPLING_NEAREST ? (int64_t)nearbyint(at) : (int64_t)floor(at) - count / 2 + 1;
  for (int t = 0; t < count; t++) {
    double i = (double)(first + t);
    weight[t] = sampling == PARE_SAMPLING_LINEAR    ? 1 - fabs(at - i)
                : sampling == PARE_SAMPLING_NEAREST ? 1
                                                    : cubic(at - i);
    if (sampling == PARE_SAMPLING_CUBIC && padding == PARE_SAMPLING_REFLECTION) i = reflected(i, length, align);
    if (sampling == PARE_SAMPLING_CUBIC && padding != PARE_SAMPLING_ZEROS) i = i < 0 ? 0 : i > last ? last : i;
    index[t] = i < 0 || i > last ? -1 : (int64_t)i;
  }
  return count;
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t *dim = p->dim, area = product3(dim + GRID_Y);
  const pare_dtype dtype = p->dtype[0];
  const double epsilon = pare__dtype_epsilon(dtype == PARE_F64 ? PARE_F64 : PARE_F32);
  for (int64_t e = 0; e < dim[GRID_N] * dim[GRID_C] * area; e++) {
    const int64_t plane = e / area, place = (plane / dim[GRID_C] * area + e % area) * dim[GRID_RANK];
    int64_t index[3][4] = {{0}};
    double weight[3][4] = {{1}, {1}, {1}}, sum = 0;
    int count[3] = {1, 1, 1};
    for (int64_t d = 0; d < dim[GRID_RANK]; d++)
      count[2 - d] = taps_at(p, pare__load(p->dtype[1], data[GRID_BUFFER_GRID], (size_t)(place + d)),
                             dim[GRID_X + 2 - d], index[2 - d], weight[2 - d]);
    for (int t = 0; t < count[0] * count[1] * count[2]; t++) {
      const int at[3] = {t / count[2] / count[1], t / count[2] % count[1], t % count[2]};
      const int64_t i[3] = {index[0][at[0]], index[1][at[1]], index[2][at[2]]};
      if (i[0] < 0 || i[1] < 0 || i[2] < 0) continue;
      const int64_t from = ((plane * dim[GRID_X] + i[0]) * dim[GRID_X + 1] + i[1]) * dim[GRID_X + 2] + i[2];
      sum += weight[0][at[0]] * weight[1][at[1]] * weight[2][at[2]] * pare__load(dtype, data[0], (size_t)from);
    }
    expected[GRID_BUFFER_Y][e] = sum;
    /* values are within 1; weights move with the roundings of the place, up to 100 elements away */
    const double place_error = 400 * epsilon * (double)(count[0] * count[1] * count[2]);
    tolerance[GRID_BUFFER_Y][e] =
        place_error + pare__dtype_epsilon(dtype) * fabs(sum) + (dtype == PARE_F16 ? 0x1p-25 : 0);
  }
  return true;
}

/* ---- figures and problems ---- */

static void work(const pare__problem *p, double *flops, double *bytes) {
  pare__buffer_spec spec;
  *bytes = 0;
  for (unsigned i = 0; i < GRID_NBUFFERS; i++) {
    buffer(p, i, &spec);
    *bytes += (double)spec.elements * (double)pare_dtype_bytes(p->dtype[i]);
  }
  *flops = 8.0 * (double)spec.elements;
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  static const char *const samplings[] = {"linear", "nearest", "cubic"}, *const paddings[] = {"zeros", "border",
                                                                                              "reflection"};
  const int64_t *dim = p->dim;
  snprintf(text, capacity, "%s %s %lldx%lld [%lldx%lldx%lld]->[%lldx%lldx%lld] %s%s", samplings[p->mode % 4],
           paddings[p->mode / 4], (long long)dim[GRID_N], (long long)dim[GRID_C], (long long)dim[GRID_X],
           (long long)dim[GRID_X + 1], (long long)dim[GRID_X + 2], (long long)dim[GRID_Y], (long long)dim[GRID_Y + 1],
           (long long)dim[GRID_Y + 2], pare_dtype_name(p->dtype[0]), p->flags & GRID_ALIGN_CORNERS ? " aligned" : "");
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", pare_dtype_name(p->dtype[0]));
}

typedef struct instance {
  int64_t n, c, rank, x[3], y[3];
  pare_dtype dtype;
} instance;
static const instance selftests[] = {{2, 3, 2, {1, 5, 7}, {1, 3, 9}, PARE_F32}};
static const instance tests[] = {{1, 2, 1, {1, 1, 13}, {1, 1, 70}, PARE_F32},
                                 {2, 1, 3, {3, 4, 5}, {2, 5, 7}, PARE_F32},
                                 {1, 3, 2, {1, 1, 4}, {1, 9, 8}, PARE_F32},
                                 {2, 3, 2, {1, 5, 7}, {1, 3, 9}, PARE_F64}};
static const instance benches[] = {{1, 64, 2, {1, 56, 56}, {1, 112, 112}, PARE_F32}};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  const struct {
    const instance *instance;
    unsigned count, nmodes;
  } sets[] = {[PARE__CASES_SELFTEST] = {selftests, PARE__COUNT(selftests), 9},
              [PARE__CASES_TEST] = {tests, PARE__COUNT(tests), 9},
              [PARE__CASES_BENCH] = {benches, PARE__COUNT(benches), 1}};
  const unsigned mode = index / 2 % sets[set].nmodes, which = index / 2 / sets[set].nmodes;
  if (which >= sets[set].count) return false;
  const instance *chosen = &sets[set].instance[which];
  out->mode = (int)(mode % 3 + 4 * (mode / 3));
  out->flags = index % 2 ? GRID_ALIGN_CORNERS : 0;
  out->dim[GRID_N] = chosen->n;
  out->dim[GRID_C] = chosen->c;
  out->dim[GRID_RANK] = chosen->rank;
  memcpy(out->dim + GRID_X, chosen->x, sizeof chosen->x);
  memcpy(out->dim + GRID_Y, chosen->y, sizeof chosen->y);
  for (unsigned i = 0; i < GRID_NBUFFERS; i++) out->dtype[i] = chosen->dtype;
  return true;
}

const pare__family pare__family_grid_sample = {
    .name = "grid_sample",
    .what = "samples at the places that a grid names",
    .nbuffers = GRID_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
