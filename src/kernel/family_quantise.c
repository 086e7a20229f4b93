/* The range, scale and zero point of activations; quantising and dequantising. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_quantise.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/reference.h"

#define GPU_ITEMS 64

/* ---- launches ---- */

static bool for_gpu(const pare__run *run) { return run->variant->shaped == PARE__FOR_GPU; }

/* Items of a group and lanes of an item, as options of the build. */
static void shape_options(const pare__run *run, const char *more, char *text, size_t capacity) {
  const unsigned lanes = PARE__MAX(pare__device_info(run->device)->can.vector_bits, 128U) / 32;
  snprintf(text, capacity, "-DITEMS=%d -DVW=%u %s", for_gpu(run) ? GPU_ITEMS : 1, for_gpu(run) ? 1 : lanes, more);
}

static void push(pare__args *args, const pare__operand *operand, bool present) {
  pare__arg_mem(args, present ? operand->mem : NULL);
  pare__arg_long(args, operand->offset);
}

static pare_status range_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  pare__args args = {0};
  pare__arg_long(&args, dim[RANGE_COUNT]);
  push(&args, &run->operand[RANGE_BUFFER_X], true);
  push(&args, &run->operand[RANGE_BUFFER_OUT], true);
  pare__arg_long(&args, dim[RANGE_CHUNK]);
  char options[80];
  shape_options(run, "", options, sizeof options);
  const size_t local = for_gpu(run) ? GPU_ITEMS : 1;
  const size_t global = (size_t)pare__div_up(dim[RANGE_COUNT], dim[RANGE_CHUNK]) * local;
  return pare__run_kernel(run, "quantise_range", options, 1, &global, &local, &args);
}

static pare_status affine_launch(const pare__run *run) {
  pare__args args = {0};
  pare__arg_long(&args, run->piece->dim[RANGE_COUNT]);
  for (int i = 0; i < AFFINE_NBUFFERS; i++) push(&args, &run->operand[i], true);
  char options[80];
  shape_options(run, "", options, sizeof options);
  const size_t group = for_gpu(run) ? GPU_ITEMS : 1;
  return pare__run_kernel(run, "quantise_affine", options, 1, &group, &group, &args);
}

static pare_status quantise_launch(const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  const int64_t axis = run->whole->dim[QUANTISE_AXIS], inner = run->whole->dim[QUANTISE_INNER];
  /* scales go by column where the axis is the last, else each row has one */
  const bool by_column = inner == 1 && axis != 1;
  int64_t rows = dim[QUANTISE_OUTER] * (by_column ? 1 : dim[QUANTISE_AXIS]),
          columns = by_column ? dim[QUANTISE_AXIS] : inner;
  if (!by_column && axis == 1) { /* one scale for all */
    const int64_t flat = rows * columns;
    if (flat <= INT32_MAX) {
      columns = flat;
      rows = flat > 0;
    }
  }
  if (rows == 0 || columns == 0) return PARE_OK;
  const int64_t chunk = PARE__MIN(columns, for_gpu(run) ? 1024 : 32768), height = PARE__MAX(32768 / chunk, 1);
  pare__args args = {0};
  pare__arg_int(&args, (int32_t)rows);
  pare__arg_int(&args, (int32_t)columns);
  pare__arg_int(&args, (int32_t)dim[QUANTISE_AXIS]);
  pare__arg_int(&args, by_column);
  for (int i = 0; i < QUANTISE_NBUFFERS; i++)
    push(&args, &run->operand[i], i != QUANTISE_BUFFER_ZERO || dim[QUANTISE_HAS_ZERO]);
  pare__arg_int(&args, (int32_t)chunk);
  pare__arg_int(&args, (int32_t)(for_gpu(run) ? 1 : height));
  const bool is_signed = run->whole->dtype[QUANTISE_BUFFER_OUT] == PARE_I8;
  char more[80], options[160];
  snprintf(more, sizeof more, "-DQUANTISE=%d -DLEAST=%d -DGREATEST=%d", run->whole->mode == QUANTISE,
           is_signed ? -128 : 0, is_signed ? 127 : 255);
  shape_options(run, more, options, sizeof options);
  const size_t local[] = {for_gpu(run) ? GPU_ITEMS : 1, 1};
  const size_t global[] = {(size_t)pare__div_up(columns, chunk) * local[0],
                           (size_t)pare__div_up(rows, for_gpu(run) ? 1 : height)};
  return pare__run_kernel(run, "quantise_elements", options, 2, global, local, &args);
}

/* ---- what a device with a limit of loop steps can do ---- */

static bool range_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  return most == 0 || whole->dim[RANGE_CHUNK] / GPU_ITEMS < most / 2;
}

static bool affine_accepts(const pare_device_info *info, const pare__problem *whole) {
  const uint32_t most = info->can.max_loop_steps;
  return most == 0 || whole->dim[RANGE_COUNT] / GPU_ITEMS < most / 2;
}

#define VARIANTS(source, accepts_group)                                                                         \
  {                                                                                                             \
    {.name = "stream", .file = source, .needs = PARE__NEEDS_LONG_LOOPS, .shaped = PARE__FOR_CPU},               \
        {.name = "group", .file = source, .shaped = PARE__FOR_GPU, .accepts = (accepts_group)}, {.name = NULL}, \
  }
static const pare__variant range_variants[] = VARIANTS("quantise_range.cl", range_accepts);
static const pare__variant affine_variants[] = VARIANTS("quantise_range.cl", affine_accepts);
static const pare__variant quantise_variants[] = VARIANTS("quantise.cl", NULL);

/* ---- range and affine ---- */

static const struct {
  pare__case_set set;
  int64_t count, chunk;
  pare_dtype dtype;
} range_cases[] = {
    {PARE__CASES_SELFTEST, 1000, 300, PARE_F32}, {PARE__CASES_SELFTEST, 3, 16, PARE_F32},
    {PARE__CASES_TEST, 0, 16, PARE_F32},         {PARE__CASES_TEST, 100003, 4096, PARE_F32},
    {PARE__CASES_TEST, 1, 1, PARE_F32},          {PARE__CASES_TEST, 10007, 1000, PARE_F16},
    {PARE__CASES_TEST, 10007, 1000, PARE_BF16},  {PARE__CASES_BENCH, 1024 * 1536, 65536, PARE_F32},
};

static bool next_range_case(pare__case_set set, unsigned index, pare__problem *out) {
  for (unsigned i = 0; i < PARE__COUNT(range_cases); i++) {
    if (range_cases[i].set != set || index-- > 0) continue;
    out->dim[RANGE_COUNT] = range_cases[i].count;
    out->dim[RANGE_CHUNK] = range_cases[i].chunk;
    out->dtype[RANGE_BUFFER_X] = range_cases[i].dtype;
    return true;
  }
  return false;
}

static bool range_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  out->dtype[RANGE_BUFFER_OUT] = PARE_F32;
  return next_range_case(set, index, out);
}

static bool affine_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  out->dtype[AFFINE_BUFFER_SCALE] = PARE_F32;
  out->dtype[AFFINE_BUFFER_ZERO] = PARE_U8;
  return next_range_case(set, index, out);
}

static void range_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t count = problem->dim[RANGE_COUNT];
  *out = i == RANGE_BUFFER_X ? (pare__buffer_spec){PARE__IN, count}
                             : (pare__buffer_spec){PARE__OUT, 2 * pare__div_up(count, problem->dim[RANGE_CHUNK])};
}

static void affine_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  *out = i == AFFINE_BUFFER_X ? (pare__buffer_spec){PARE__IN, problem->dim[RANGE_COUNT]}
                              : (pare__buffer_spec){PARE__OUT, 1};
}

static void find_range(const pare__problem *problem, const void *x, int64_t begin, int64_t end, double *least,
                       double *greatest) {
  *least = *greatest = 0;
  for (int64_t i = begin; i < end; i++) {
    const double v = pare__load(problem->dtype[RANGE_BUFFER_X], x, (size_t)i);
    if (v < *least) *least = v;
    if (v > *greatest) *greatest = v;
  }
}

static bool range_reference(const pare__problem *problem, void *const *data, double *const *expected,
                            double *const *tolerance) {
  const int64_t count = problem->dim[RANGE_COUNT], chunk = problem->dim[RANGE_CHUNK];
  for (int64_t g = 0; g * chunk < count; g++) {
    double *to = expected[RANGE_BUFFER_OUT] + 2 * g;
    find_range(problem, data[RANGE_BUFFER_X], g * chunk, PARE__MIN((g + 1) * chunk, count), &to[0], &to[1]);
    tolerance[RANGE_BUFFER_OUT][2 * g] = tolerance[RANGE_BUFFER_OUT][2 * g + 1] = 0;
  }
  return true;
}

static bool affine_reference(const pare__problem *problem, void *const *data, double *const *expected,
                             double *const *tolerance) {
  double least, greatest;
  find_range(problem, data[AFFINE_BUFFER_X], 0, problem->dim[RANGE_COUNT], &least, &greatest);
  const double scale = greatest > least ? (greatest - least) / 255 : 1, zero = -least / scale;
  expected[AFFINE_BUFFER_SCALE][0] = scale;
  tolerance[AFFINE_BUFFER_SCALE][0] = 4 * pare__dtype_epsilon(PARE_F32) * scale;
  expected[AFFINE_BUFFER_ZERO][0] = rint(zero);
  tolerance[AFFINE_BUFFER_ZERO][0] =
      fabs(fabs(zero - floor(zero)) - 0.5) < 1e-3 ? 1 : 0; /* near a tie either side will do */
  return true;
}

static void range_work(const pare__problem *problem, double *flops, double *bytes) {
  *flops = 0;
  *bytes = (double)problem->dim[RANGE_COUNT] * (double)pare_dtype_bytes(problem->dtype[RANGE_BUFFER_X]);
}

static void range_describe(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%lld %s", (long long)problem->dim[RANGE_COUNT],
           pare_dtype_name(problem->dtype[RANGE_BUFFER_X]));
}

static void range_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", pare_dtype_name(problem->dtype[RANGE_BUFFER_X]));
}

/* ---- quantise and dequantise ---- */

static const struct {
  pare__case_set set;
  int mode;
  int64_t outer, axis, inner;
  bool has_zero;
  pare_dtype x, zero, out;
} quantise_cases[] = {
    {PARE__CASES_SELFTEST, QUANTISE, 1, 1, 99, true, PARE_F32, PARE_U8, PARE_U8},
    {PARE__CASES_SELFTEST, QUANTISE, 3, 5, 19, true, PARE_F32, PARE_U8, PARE_U8},
    {PARE__CASES_SELFTEST, QUANTISE, 4, 37, 1, false, PARE_F32, PARE_U8, PARE_U8},
    {PARE__CASES_SELFTEST, DEQUANTISE, 1, 1, 99, true, PARE_U8, PARE_U8, PARE_F32},
    {PARE__CASES_SELFTEST, DEQUANTISE, 3, 5, 19, false, PARE_U8, PARE_U8, PARE_F32},
    {PARE__CASES_SELFTEST, DEQUANTISE, 4, 37, 1, true, PARE_U8, PARE_U8, PARE_F32},
    {PARE__CASES_TEST, QUANTISE, 1, 1, 100003, true, PARE_F32, PARE_I8, PARE_I8},
    {PARE__CASES_TEST, QUANTISE, 7, 131, 1, true, PARE_F16, PARE_U8, PARE_U8},
    {PARE__CASES_TEST, QUANTISE, 2, 11, 67, false, PARE_BF16, PARE_I8, PARE_I8},
    {PARE__CASES_TEST, QUANTISE, 0, 3, 5, true, PARE_F32, PARE_U8, PARE_U8},
    {PARE__CASES_TEST, DEQUANTISE, 1, 1, 100003, true, PARE_I8, PARE_I8, PARE_F32},
    {PARE__CASES_TEST, DEQUANTISE, 7, 131, 1, true, PARE_U8, PARE_U8, PARE_F16},
    {PARE__CASES_TEST, DEQUANTISE, 2, 11, 67, false, PARE_I32, PARE_I32, PARE_F32},
    {PARE__CASES_TEST, DEQUANTISE, 2, 11, 67, true, PARE_I8, PARE_I8, PARE_BF16},
    {PARE__CASES_BENCH, QUANTISE, 1, 1, 1 << 24, true, PARE_F32, PARE_U8, PARE_U8},
    {PARE__CASES_BENCH, QUANTISE, 4096, 4096, 1, true, PARE_F32, PARE_I8, PARE_I8},
    {PARE__CASES_BENCH, DEQUANTISE, 1, 4096, 4096, false, PARE_I8, PARE_I8, PARE_F32},
};

static bool quantise_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)info;
  for (unsigned i = 0; i < PARE__COUNT(quantise_cases); i++) {
    if (quantise_cases[i].set != set || index-- > 0) continue;
    out->mode = quantise_cases[i].mode;
    out->dim[QUANTISE_OUTER] = quantise_cases[i].outer;
    out->dim[QUANTISE_AXIS] = quantise_cases[i].axis;
    out->dim[QUANTISE_INNER] = quantise_cases[i].inner;
    out->dim[QUANTISE_HAS_ZERO] = quantise_cases[i].has_zero;
    out->dtype[QUANTISE_BUFFER_X] = quantise_cases[i].x;
    out->dtype[QUANTISE_BUFFER_SCALE] = PARE_F32;
    out->dtype[QUANTISE_BUFFER_ZERO] = quantise_cases[i].zero;
    out->dtype[QUANTISE_BUFFER_OUT] = quantise_cases[i].out;
    return true;
  }
  return false;
}

static void quantise_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim, elements = dim[QUANTISE_OUTER] * dim[QUANTISE_AXIS] * dim[QUANTISE_INNER];
  switch (i) {
  case QUANTISE_BUFFER_X: *out = (pare__buffer_spec){PARE__IN, elements}; break;
  case QUANTISE_BUFFER_SCALE: *out = (pare__buffer_spec){PARE__IN, dim[QUANTISE_AXIS]}; break;
  case QUANTISE_BUFFER_ZERO:
    *out = (pare__buffer_spec){dim[QUANTISE_HAS_ZERO] ? PARE__IN : PARE__ABSENT, dim[QUANTISE_AXIS]};
    break;
  default: *out = (pare__buffer_spec){PARE__OUT, elements};
  }
}

/* Values in [-1, 1], integers of any size, scales that saturate some of them. */
static void quantise_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  quantise_buffer(problem, i, &spec);
  uint64_t state = seed * 31 + i;
  const pare_dtype dtype = problem->dtype[i];
  for (int64_t t = 0; t < spec.elements; t++) {
    double value = pare__reference_uniform(&state);
    const double unit = (value + 1) / 2;
    if (i == QUANTISE_BUFFER_SCALE) value = 0.004 + 0.004 * unit;
    if (dtype == PARE_I8 || dtype == PARE_U8) value = floor(256 * unit) - (dtype == PARE_I8 ? 128 : 0);
    if (dtype == PARE_I32) value = floor(2000 * unit) - 1000;
    pare__store(dtype, data, (size_t)t, value);
  }
}

static bool quantise_reference(const pare__problem *problem, void *const *data, double *const *expected,
                               double *const *tolerance) {
  const int64_t *dim = problem->dim;
  pare__buffer_spec spec;
  quantise_buffer(problem, QUANTISE_BUFFER_OUT, &spec);
  const pare_dtype out = problem->dtype[QUANTISE_BUFFER_OUT];
  for (int64_t t = 0; t < spec.elements; t++) {
    const int64_t axis = t / dim[QUANTISE_INNER] % dim[QUANTISE_AXIS];
    const double x = pare__load(problem->dtype[QUANTISE_BUFFER_X], data[QUANTISE_BUFFER_X], (size_t)t);
    const float scale = ((const float *)data[QUANTISE_BUFFER_SCALE])[axis];
    double zero = 0, *value = &expected[QUANTISE_BUFFER_OUT][t], *error = &tolerance[QUANTISE_BUFFER_OUT][t];
    if (dim[QUANTISE_HAS_ZERO])
      zero = pare__load(problem->dtype[QUANTISE_BUFFER_ZERO], data[QUANTISE_BUFFER_ZERO], (size_t)axis);
    if (problem->mode == DEQUANTISE) {
      *value = (x - zero) * scale;
      *error = (2 * pare__dtype_epsilon(PARE_F32) + pare__dtype_epsilon(out)) * fabs(*value) +
               (out == PARE_F16 ? 0x1p-25 : 0);
      continue;
    }
    const float quotient = (float)x / scale;
    const double least = out == PARE_I8 ? -128 : 0, q = rint((double)quotient) + zero;
    *value = q < least ? least : q > least + 255 ? least + 255 : q;
    *error =
        fabs(fabs((double)quotient - floor((double)quotient)) - 0.5) < 1e-4 ? 1 : 0; /* a tie, for another division */
  }
  return true;
}

static void quantise_work(const pare__problem *problem, double *flops, double *bytes) {
  pare__buffer_spec spec;
  quantise_buffer(problem, QUANTISE_BUFFER_OUT, &spec);
  *flops = 0;
  *bytes = (double)spec.elements * (double)(pare_dtype_bytes(problem->dtype[QUANTISE_BUFFER_X]) +
                                            pare_dtype_bytes(problem->dtype[QUANTISE_BUFFER_OUT]));
}

static void quantise_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lldx%lldx%lld %s->%s", (long long)dim[QUANTISE_OUTER], (long long)dim[QUANTISE_AXIS],
           (long long)dim[QUANTISE_INNER], pare_dtype_name(problem->dtype[QUANTISE_BUFFER_X]),
           pare_dtype_name(problem->dtype[QUANTISE_BUFFER_OUT]));
}

static void quantise_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%s", problem->mode == QUANTISE ? "quantise" : "dequantise");
}

const pare__family pare__family_range = {
    .name = "range",
    .what = "least and greatest value of chunks of activations",
    .nbuffers = RANGE_NBUFFERS,
    .variants = range_variants,
    .problem = range_problem,
    .buffer = range_buffer,
    .reference = range_reference,
    .work = range_work,
    .describe = range_describe,
    .shape_class = range_shape_class,
    .launch = range_launch,
};

const pare__family pare__family_affine = {
    .name = "affine",
    .what = "scale and zero point of activations",
    .nbuffers = AFFINE_NBUFFERS,
    .variants = affine_variants,
    .problem = affine_problem,
    .buffer = affine_buffer,
    .reference = affine_reference,
    .work = range_work,
    .describe = range_describe,
    .shape_class = range_shape_class,
    .launch = affine_launch,
};

const pare__family pare__family_quantise = {
    .name = "quantise",
    .what = "floats to scaled integers and back",
    .nbuffers = QUANTISE_NBUFFERS,
    .variants = quantise_variants,
    .problem = quantise_problem,
    .buffer = quantise_buffer,
    .generate = quantise_generate,
    .reference = quantise_reference,
    .work = quantise_work,
    .describe = quantise_describe,
    .shape_class = quantise_shape_class,
    .launch = quantise_launch,
};
