/* The interpolation family: one axis, tables of indices and weights. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>

#include "base/dtype.h"
#include "kernel/family_resample.h"

static const int widths[] = {8, 4, 16, 0}, groups[] = {64, 128, 256, 0};
static const pare__param row_params[] = {{"WIDTH", widths}, {NULL, NULL}};
static const pare__param group_params[] = {{"GROUP", groups}, {NULL, NULL}};

static bool is_f64(const pare__problem *p) { return p->dtype[INTERPOLATE_BUFFER_Y] == PARE_F64; }
static const char *options_of(const pare__problem *p) { return is_f64(p) ? "-DSUM_IS_DOUBLE=1" : ""; }

static void row_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  const int lanes = (int)info->can.vector_bits / (is_f64(whole) ? 64 : 32);
  tuning->value[0] = PARE__MAX(4, PARE__MIN(lanes, 16));
}

static void push_arguments(pare__args *args, const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  for (unsigned i = 0; i < INTERPOLATE_NBUFFERS; i++) {
    pare__arg_mem(args, run->operand[i].mem);
    pare__arg_long(args, run->operand[i].offset);
  }
  pare__arg_long(args, dim[INTERPOLATE_OUTER]);
  pare__arg_int(args, (int32_t)dim[INTERPOLATE_LENGTH]);
  pare__arg_long(args, dim[INTERPOLATE_INNER]);
  pare__arg_int(args, (int32_t)dim[INTERPOLATE_MADE]);
  pare__arg_int(args, (int32_t)dim[INTERPOLATE_TAPS]);
  if (is_f64(run->whole))
    pare__arg_double(args, run->whole->real[0]);
  else
    pare__arg_float(args, (float)run->whole->real[0]);
}

static bool fits(const int64_t *dim) {
  return dim[INTERPOLATE_LENGTH] < INT32_MAX && dim[INTERPOLATE_MADE] < INT32_MAX && dim[INTERPOLATE_TAPS] < INT32_MAX;
}

static bool rows_accepts(const pare_device_info *info, const pare__problem *whole) {
  (void)info;
  return fits(whole->dim);
}

static bool each_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  return fits(whole->dim) && (most == 0 || 2 * whole->dim[INTERPOLATE_TAPS] < most);
}

static pare_status rows_launch(const pare__run *run) {
  const int64_t steps = 16384; /* of one item: enough to pay for it */
  const int64_t *dim = run->piece->dim;
  const int64_t rows = dim[INTERPOLATE_OUTER] * dim[INTERPOLATE_MADE];
  if (rows * dim[INTERPOLATE_INNER] == 0) return PARE_OK;
  const int64_t cost = dim[INTERPOLATE_INNER] * PARE__MAX(dim[INTERPOLATE_TAPS], 1);
  const int64_t rows_per_item = PARE__MAX(1, steps / cost);
  pare__args args = {0};
  push_arguments(&args, run);
  pare__arg_long(&args, rows_per_item);
  const size_t global[1] = {(size_t)pare__div_up(rows, rows_per_item)}, one[1] = {1};
  return pare__run_kernel(run, "interpolate_rows", options_of(run->whole), 1, global, one, &args);
}

static pare_status each_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  const int group = pare__tuned(run, "GROUP");
  pare__args args = {0};
  push_arguments(&args, run);
  const int64_t elements = dim[INTERPOLATE_OUTER] * dim[INTERPOLATE_MADE] * dim[INTERPOLATE_INNER];
  const size_t global[1] = {(size_t)pare__round_up(elements, group)}, local[1] = {(size_t)group};
  return pare__run_kernel(run, "interpolate_each", options_of(run->whole), 1, global, local, &args);
}

static const pare__variant variants[] = {
    {.name = "rows",
     .file = "interpolate.cl",
     .needs = PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = row_params,
     .defaults = row_defaults,
     .accepts = rows_accepts,
     .launch = rows_launch},
    {.name = "each",
     .file = "interpolate.cl",
     .shaped = PARE__FOR_GPU,
     .params = group_params,
     .accepts = each_accepts,
     .launch = each_launch},
    {.name = NULL},
};

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = p->dim, plane = dim[INTERPOLATE_OUTER] * dim[INTERPOLATE_INNER];
  const int64_t table = dim[INTERPOLATE_MADE] * dim[INTERPOLATE_TAPS];
  const int64_t elements[] = {plane * dim[INTERPOLATE_LENGTH], table, table, plane * dim[INTERPOLATE_MADE]};
  out->role = i == INTERPOLATE_BUFFER_Y ? PARE__OUT : PARE__IN;
  out->elements = elements[i];
}

/* Indices of all kinds: inside, outside, past the end. */
static void generate(const pare__problem *p, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  buffer(p, i, &spec);
  uint64_t state = seed * 977 + i;
  for (int64_t k = 0; k < spec.elements; k++) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const uint32_t bits = (uint32_t)(state >> 33);
    if (i == INTERPOLATE_BUFFER_INDICES)
      pare__store(PARE_I32, data, (size_t)k,
                  (double)((int64_t)(bits % (p->dim[INTERPOLATE_LENGTH] + 2)) - (bits % 11 == 0)));
    else
      pare__store(p->dtype[i], data, (size_t)k, (double)bits * 0x1p-30 - 1);
  }
}

static void reference_element(const pare__problem *p, void *const *data, int64_t e, double *value, double *error) {
  const int64_t *dim = p->dim, r = e / dim[INTERPOLATE_INNER], i = e % dim[INTERPOLATE_INNER];
  const int64_t o = r / dim[INTERPOLATE_MADE], m = r % dim[INTERPOLATE_MADE];
  const pare_dtype dtype = p->dtype[INTERPOLATE_BUFFER_Y];
  double sum = 0, magnitude = 0;
  bool outside = false;
  for (int64_t t = 0; t < dim[INTERPOLATE_TAPS]; t++) {
    const size_t at = (size_t)(m * dim[INTERPOLATE_TAPS] + t);
    const int64_t index = (int64_t)pare__load(PARE_I32, data[INTERPOLATE_BUFFER_INDICES], at);
    outside = outside || index < 0;
    if (outside) break;
    const int64_t row = o * dim[INTERPOLATE_LENGTH] + PARE__MIN(index, dim[INTERPOLATE_LENGTH] - 1);
    const double term = pare__load(p->dtype[INTERPOLATE_BUFFER_WEIGHTS], data[INTERPOLATE_BUFFER_WEIGHTS], at) *
                        pare__load(p->dtype[0], data[0], (size_t)(row * dim[INTERPOLATE_INNER] + i));
    sum += term;
    magnitude += fabs(term);
  }
  *value = outside ? p->real[0] : sum;
  *error = (double)(dim[INTERPOLATE_TAPS] + 1) * pare__dtype_epsilon(is_f64(p) ? PARE_F64 : PARE_F32) * magnitude +
           pare__dtype_epsilon(dtype) * fabs(*value) + (dtype == PARE_F16 ? 0x1p-25 : 0);
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  pare__buffer_spec spec;
  buffer(p, INTERPOLATE_BUFFER_Y, &spec);
  for (int64_t e = 0; e < spec.elements; e++)
    reference_element(p, data, e, &expected[INTERPOLATE_BUFFER_Y][e], &tolerance[INTERPOLATE_BUFFER_Y][e]);
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  const int64_t *dim = p->dim;
  const double plane = (double)dim[INTERPOLATE_OUTER] * (double)dim[INTERPOLATE_INNER];
  *flops = 2 * plane * (double)dim[INTERPOLATE_MADE] * (double)dim[INTERPOLATE_TAPS];
  *bytes = plane * (double)(dim[INTERPOLATE_MADE] + dim[INTERPOLATE_LENGTH]) * (double)pare_dtype_bytes(p->dtype[0]);
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  const int64_t *dim = p->dim;
  snprintf(text, capacity, "%lldx%lld->%lldx%lld %lld taps %s->%s", (long long)dim[INTERPOLATE_OUTER],
           (long long)dim[INTERPOLATE_LENGTH], (long long)dim[INTERPOLATE_MADE], (long long)dim[INTERPOLATE_INNER],
           (long long)dim[INTERPOLATE_TAPS], pare_dtype_name(p->dtype[0]),
           pare_dtype_name(p->dtype[INTERPOLATE_BUFFER_Y]));
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%s%s", pare_dtype_name(p->dtype[0]),
           p->dim[INTERPOLATE_INNER] < 8 ? " short rows" : " rows");
}

typedef struct instance {
  int64_t dim[5];
  pare_dtype x, y;
} instance;
static const instance selftests[] = {{{3, 7, 1, 11, 2}, PARE_F32, PARE_F32}, {{2, 5, 19, 9, 4}, PARE_F32, PARE_F32}};
static const instance tests[] = {{{3, 7, 37, 11, 2}, PARE_F32, PARE_F32},  {{301, 9, 1, 31, 4}, PARE_F32, PARE_F32},
                                 {{2, 5, 19, 9, 7}, PARE_F16, PARE_F32},   {{2, 5, 19, 9, 2}, PARE_F32, PARE_BF16},
                                 {{2, 5, 19, 9, 2}, PARE_F64, PARE_F64},   {{0, 5, 2, 3, 2}, PARE_F32, PARE_F32},
                                 {{1, 1, 40009, 2, 1}, PARE_F32, PARE_F32}};
static const instance benches[] = {{{64, 56, 56, 112, 2}, PARE_F32, PARE_F32},
                                   {{7168, 56, 1, 112, 2}, PARE_F32, PARE_F32}};

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
  for (int i = 0; i < 5; i++) out->dim[i] = chosen->dim[i];
  out->real[0] = 42;
  out->dtype[INTERPOLATE_BUFFER_X] = chosen->x;
  out->dtype[INTERPOLATE_BUFFER_INDICES] = PARE_I32;
  out->dtype[INTERPOLATE_BUFFER_WEIGHTS] = chosen->y == PARE_F64 ? PARE_F64 : PARE_F32;
  out->dtype[INTERPOLATE_BUFFER_Y] = chosen->y;
  return true;
}

const pare__family pare__family_interpolate = {
    .name = "interpolate",
    .what = "interpolation along an axis with tables of indices and weights",
    .nbuffers = INTERPOLATE_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .generate = generate,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
};
