/* Products of quantised activations with int8 weights. The problem is in family_gemm_int8.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_gemm_int8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_gemm.h"
#include "kernel/reference.h"

#define MOST_K 65000 /* 255 * 128 * K stays below 2^31 */

static bool is_raw(const pare__problem *problem) { return problem->dtype[INT8_BUFFER_C] == PARE_I32; }
static bool a_is_float(const pare__problem *problem) { return pare__dtype_is_float(problem->dtype[INT8_BUFFER_A]); }
static int64_t quads(const pare__problem *problem) { return pare__div_up(problem->dim[INT8_K], 4); }

/* ---- launches ---- */

static void push_operands(pare__args *args, const pare__run *run) {
  const int64_t *dim = run->piece->dim;
  const pare__operand *operand = run->operand;
  const bool present[INT8_NBUFFERS] = {
      true, true, true, !is_raw(run->whole), !is_raw(run->whole), dim[INT8_HAS_ZERO] != 0, dim[INT8_HAS_BIAS] != 0,
      true};
  for (int i = INT8_M; i <= INT8_K; i++) pare__arg_int(args, (int32_t)dim[i]);
  for (int i = 0; i < INT8_NBUFFERS; i++) {
    pare__arg_mem(args, present[i] ? operand[i].mem : NULL);
    pare__arg_long(args, operand[i].offset);
    if (i == INT8_BUFFER_A) pare__arg_long(args, dim[INT8_A_ROW]);
  }
  pare__arg_long(args, dim[INT8_C_ROW]);
  pare__arg_int(args, (int32_t)dim[INT8_ACTIVATION]);
  pare__arg_float(args, (float)run->piece->real[INT8_LOW]);
  pare__arg_float(args, (float)run->piece->real[INT8_HIGH]);
  pare__arg_long(args, dim[INT8_RANGE]);
}

static void common_options(const pare__run *run, const char *more, char *text, size_t capacity) {
  snprintf(text, capacity, "-DA_IS_FLOAT=%d -DA_SHIFT=%d -DC_IS_I32=%d %s", a_is_float(run->whole),
           run->whole->dtype[INT8_BUFFER_A] == PARE_I8 ? 128 : 0, is_raw(run->whole), more);
}

static bool accepts_common(const pare__problem *whole) {
  if (is_raw(whole) && a_is_float(whole)) return false;
  if (whole->dtype[INT8_BUFFER_A_SCALE] != PARE_F32 && whole->dim[INT8_RANGE] == 0) return false;
  return whole->dim[INT8_K] <= MOST_K && whole->dim[INT8_M] <= INT32_MAX && whole->dim[INT8_N] <= INT32_MAX;
}

static size_t row_bytes(const pare__problem *whole) {
  return (size_t)quads(whole) * 8;
} /* of packed activations, at most */

static bool cpu_accepts(const pare_device_info *info, const pare__problem *whole) {
  const size_t least_rows = 8;
  return accepts_common(whole) && whole->dim[INT8_PANEL] == pare__gemm_panel(info) &&
         info->local_bytes / 2 >= least_rows * row_bytes(whole);
}

void pare__gemm_int8_cut(const pare_device_info *info, const pare__gemm_int8_shape *shape, int64_t *mc, int64_t *nc) {
  const int64_t m = shape->m, n = shape->n, panel = shape->panel, mr = shape->tile_rows;
  const int64_t cache_bytes = 196608, units = info->compute_units, least_rows = 16;
  const int64_t budget = PARE__MIN(cache_bytes, (int64_t)info->local_bytes / 2) / PARE__MAX(shape->row_bytes, 8);
  const int64_t most_rows = PARE__MAX(budget / mr, 1) * mr;
  const int64_t wanted_bands = PARE__MAX(PARE__MIN(m / least_rows, 4 * units), 1);
  const int64_t bands = PARE__MAX(pare__div_up(m, most_rows), wanted_bands);
  const double least_ops = 4e6, ops = 2.0 * (double)m * (double)n * (double)shape->k;
  const int64_t most_strips = PARE__MAX(n / (4 * panel), 1);
  int64_t strips = 1;
  while (bands * strips < 2 * units && strips < most_strips && ops / (double)(bands * strips) > least_ops) strips++;
  while (strips < most_strips && bands * strips < 2 * units && bands * strips % units != 0) strips++;
  *mc = pare__round_up(pare__div_up(m, bands), mr);
  *nc = pare__round_up(pare__div_up(n, strips), panel);
}

static pare_status cpu_run(const pare__run *run, int product) {
  const int64_t *dim = run->piece->dim, m = dim[INT8_M], n = dim[INT8_N], panel = dim[INT8_PANEL];
  if (m == 0 || n == 0) return PARE_OK;
  const size_t bytes = PARE__MAX(row_bytes(run->whole), (size_t)8);
  const pare__gemm_int8_shape shape = {m, n, dim[INT8_K], panel, pare__tuned(run, "MR"), (int64_t)bytes};
  int64_t mc, nc;
  pare__gemm_int8_cut(pare__device_info(run->device), &shape, &mc, &nc);
  pare__args args = {0};
  push_operands(&args, run);
  pare__arg_int(&args, (int32_t)mc);
  pare__arg_int(&args, (int32_t)nc);
  pare__arg_local(&args, (size_t)mc * bytes);
  char more[80], options[160];
  snprintf(more, sizeof more, "-DVW=%d -DNV=2 -DPRODUCT=%d", (int)(panel / 2), product);
  common_options(run, more, options, sizeof options);
  const size_t global[] = {(size_t)pare__div_up(n, nc), (size_t)pare__div_up(m, mc)};
  return pare__run_kernel(run, "gemm_int8", options, 2, global, NULL, &args);
}

static pare_status wide_launch(const pare__run *run) { return cpu_run(run, 0); }
static pare_status madd_launch(const pare__run *run) { return cpu_run(run, 1); }
static pare_status vnni_launch(const pare__run *run) { return cpu_run(run, 2); }
static pare_status amx_launch(const pare__run *run) { return cpu_run(run, 3); }

/* Where a tile has nothing to do, VNNI is as good. */
static bool amx_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t tile_rows = 32, tile_depth = 64;
  return cpu_accepts(info, whole) && whole->dim[INT8_K] >= tile_depth &&
         (int64_t)info->local_bytes / 2 >= tile_rows * (int64_t)row_bytes(whole);
}

static bool tile_accepts(const pare_device_info *info, const pare__problem *whole) {
  const int64_t steps_per_quad = 12;
  const uint32_t most = info->can.max_loop_steps;
  const int64_t steps = quads(whole) * steps_per_quad + whole->dim[INT8_RANGE] / 64 + 64;
  return accepts_common(whole) && (most == 0 || steps < most);
}

static pare_status tile_run(const pare__run *run, const char *more) {
  const int64_t *dim = run->piece->dim, tile = 32, group = 8;
  if (dim[INT8_M] == 0 || dim[INT8_N] == 0) return PARE_OK;
  pare__args args = {0};
  push_operands(&args, run);
  pare__arg_int(&args, (int32_t)dim[INT8_PANEL]);
  char options[160];
  common_options(run, more, options, sizeof options);
  const size_t local[] = {(size_t)group, (size_t)group};
  const size_t global[] = {(size_t)(pare__div_up(dim[INT8_N], tile) * group),
                           (size_t)(pare__div_up(dim[INT8_M], tile) * group)};
  return pare__run_kernel(run, "gemm_int8_tile", options, 2, global, local, &args);
}

static pare_status tile_launch(const pare__run *run) { return tile_run(run, "-DDOT=0"); }
static pare_status tile_dot_launch(const pare__run *run) { return tile_run(run, "-DDOT=1"); }

/* Rows of a tile: 4 by 16 leaves registers of 256 bits for the halves of B; 512-bit devices have twice as many. */
static const pare__param rows_params[] = {{"MR", (const int[]){4, 2, 6, 0}}, {NULL, NULL}};
static const pare__param rows512_params[] = {{"MR", (const int[]){8, 4, 6, 0}}, {NULL, NULL}};

const pare__param pare__gemm_amx_params[] = {{"MR", (const int[]){32, 16, 0}},
                                             {NULL, NULL}}; /* two tiles of AMX, one */

static const pare__variant variants[] = {
    {.name = "amx",
     .file = "gemm_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AMX_INT8 | PARE__NEEDS_INLINE_ASSEMBLY,
     .vector_bits = 512,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = pare__gemm_amx_params,
     .neutral = 1, /* MR */
     .accepts = amx_accepts,
     .launch = amx_launch},
    {.name = "vnni",
     .file = "gemm_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AVX512_VNNI | PARE__NEEDS_INLINE_ASSEMBLY,
     .vector_bits = 512,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = rows512_params,
     .neutral = 1, /* MR */
     .accepts = cpu_accepts,
     .launch = vnni_launch},
    {.name = "madd512",
     .file = "gemm_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AVX512 | PARE__NEEDS_VECTOR_EXTENSIONS,
     .vector_bits = 512,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = rows512_params,
     .neutral = 1, /* MR */
     .accepts = cpu_accepts,
     .launch = madd_launch},
    {.name = "madd",
     .file = "gemm_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS | PARE__NEEDS_AVX2 | PARE__NEEDS_VECTOR_EXTENSIONS,
     .vector_bits = 256,
     .shaped = PARE__FOR_CPU,
     .risky = true,
     .params = rows_params,
     .neutral = 1, /* MR */
     .accepts = cpu_accepts,
     .launch = madd_launch},
    {.name = "wide",
     .file = "gemm_int8.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS,
     .shaped = PARE__FOR_CPU,
     .params = rows_params,
     .neutral = 1, /* MR */
     .accepts = cpu_accepts,
     .launch = wide_launch},
    {.name = "tile-dot",
     .file = "gemm_int8_tile.cl",
     .needs = PARE__NEEDS_INTEGER_DOT,
     .shaped = PARE__FOR_GPU,
     .risky = true,
     .accepts = tile_accepts,
     .launch = tile_dot_launch},
    {.name = "tile",
     .file = "gemm_int8_tile.cl",
     .shaped = PARE__FOR_GPU,
     .accepts = tile_accepts,
     .launch = tile_launch},
    {.name = NULL},
};

/* ---- problems ---- */

typedef struct int8_case {
  int64_t m, n, k;
  pare_dtype a, zero, c;
  bool has_zero, has_bias;
  int activation;
  int64_t padding, range;
} int8_case;

static const int8_case selftest_cases[] = {
    {13, 37, 75, PARE_F32, PARE_U8, PARE_F32, true, true, 2, 0, 0},
    {5, 16, 8, PARE_F32, PARE_U8, PARE_F32, true, false, 0, 3, 0},
    {6, 19, 30, PARE_F32, PARE_U8, PARE_F32, false, false, 0, 0, 301},
    {9, 50, 33, PARE_U8, PARE_U8, PARE_I32, true, false, 0, 1, 0},
    {6, 33, 16, PARE_I8, PARE_I8, PARE_I32, false, false, 0, 0, 0},
    {7, 35, 21, PARE_U8, PARE_U8, PARE_F32, true, true, 1, 0, 0},
};
static const int8_case test_cases[] = {
    {1, 1, 1, PARE_F32, PARE_U8, PARE_F32, true, false, 0, 0, 0},
    {0, 5, 7, PARE_F32, PARE_U8, PARE_F32, true, false, 0, 0, 0},
    {3, 5, 0, PARE_F32, PARE_U8, PARE_F32, true, true, 1, 0, 0},
    {67, 131, 257, PARE_F32, PARE_U8, PARE_F32, true, true, 3, 2, 0},
    {67, 131, 257, PARE_F16, PARE_U8, PARE_F16, true, true, 7, 0, 0},
    {67, 131, 130, PARE_BF16, PARE_U8, PARE_BF16, true, false, 0, 0, 0},
    {65, 257, 1031, PARE_U8, PARE_U8, PARE_I32, true, false, 0, 0, 0},
    {65, 257, 1031, PARE_I8, PARE_I8, PARE_I32, true, false, 0, 5, 0},
    {33, 64, 64, PARE_I8, PARE_I8, PARE_F32, true, true, 0, 0, 0},
    {128, 384, 384, PARE_F32, PARE_U8, PARE_F32, true, true, 2, 0, 0},
    {67, 131, 130, PARE_F32, PARE_U8, PARE_F32, false, true, 0, 0, 8710},
    {33, 64, 64, PARE_F32, PARE_U8, PARE_F32, false, false, 1, 0, 2},
    {33, 64, 64, PARE_F16, PARE_U8, PARE_F16, false, false, 0, 0, 2113},
    {33, 64, 64, PARE_BF16, PARE_U8, PARE_BF16, false, false, 0, 0, 6},
};
static const int64_t bench_rows[] = {32, 64, 128, 256, 512, 1024};
static const int64_t bench_sizes[][2] = {{384, 384}, {384, 1536}, {1536, 384}, {1536, 1536}}; /* K, N */

static bool int8_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  int8_case bench = {.a = PARE_F32, .zero = PARE_U8, .c = PARE_F32, .has_zero = true};
  const int8_case *from = &bench;
  if (set == PARE__CASES_SELFTEST && index < PARE__COUNT(selftest_cases)) {
    from = &selftest_cases[index];
  } else if (set == PARE__CASES_TEST && index < PARE__COUNT(test_cases)) {
    from = &test_cases[index];
  } else if (set == PARE__CASES_BENCH && index < PARE__COUNT(bench_rows) * PARE__COUNT(bench_sizes)) {
    bench.m = bench_rows[index / PARE__COUNT(bench_sizes)];
    bench.k = bench_sizes[index % PARE__COUNT(bench_sizes)][0];
    bench.n = bench_sizes[index % PARE__COUNT(bench_sizes)][1];
  } else {
    return false;
  }
  int64_t *dim = out->dim;
  dim[INT8_M] = from->m;
  dim[INT8_N] = from->n;
  dim[INT8_K] = from->k;
  dim[INT8_A_ROW] = from->k + from->padding;
  dim[INT8_C_ROW] = from->n + from->padding;
  dim[INT8_PANEL] = pare__gemm_panel(info);
  dim[INT8_ACTIVATION] = from->activation;
  dim[INT8_HAS_ZERO] = from->has_zero;
  dim[INT8_HAS_BIAS] = from->has_bias;
  dim[INT8_RANGE] = from->range;
  out->real[INT8_LOW] = -0.5;
  out->real[INT8_HIGH] = 0.75;
  const pare_dtype scale = from->range > 6 ? from->a : PARE_F32; /* of ranges of parts, or of A */
  const pare_dtype dtype[] = {from->a, PARE_I32, PARE_I32, PARE_F32, scale, from->zero, PARE_F32, from->c};
  memcpy(out->dtype, dtype, sizeof dtype);
  out->mode = 0;
  return true;
}

static void int8_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim, m = dim[INT8_M], n = dim[INT8_N];
  const int64_t padded = pare__round_up(n, dim[INT8_PANEL]);
  const bool raw = is_raw(problem);
  switch (i) {
  case INT8_BUFFER_A: *out = (pare__buffer_spec){PARE__IN, m == 0 ? 0 : (m - 1) * dim[INT8_A_ROW] + dim[INT8_K]}; break;
  case INT8_BUFFER_B: *out = (pare__buffer_spec){PARE__IN, padded * quads(problem)}; break;
  case INT8_BUFFER_SUMS: *out = (pare__buffer_spec){PARE__IN, padded}; break;
  case INT8_BUFFER_B_SCALE: *out = (pare__buffer_spec){raw ? PARE__ABSENT : PARE__IN, n}; break;
  case INT8_BUFFER_A_SCALE:
    *out = (pare__buffer_spec){raw ? PARE__ABSENT : PARE__IN, PARE__MAX(dim[INT8_RANGE], 1)};
    break;
  case INT8_BUFFER_A_ZERO: *out = (pare__buffer_spec){dim[INT8_HAS_ZERO] ? PARE__IN : PARE__ABSENT, 1}; break;
  case INT8_BUFFER_BIAS: *out = (pare__buffer_spec){dim[INT8_HAS_BIAS] ? PARE__IN : PARE__ABSENT, n}; break;
  default: *out = (pare__buffer_spec){PARE__INOUT, m == 0 || n == 0 ? 0 : (m - 1) * dim[INT8_C_ROW] + n};
  }
}

static int8_t packed_element(const pare__problem *problem, const int32_t *panels, int64_t k, int64_t j) {
  const int64_t panel = problem->dim[INT8_PANEL];
  const uint32_t word = (uint32_t)panels[(j / panel * quads(problem) + k / 4) * panel + j % panel];
  return (int8_t)(word >> (8 * (k % 4)));
}

/* The sums must be those of the panels, what lies past K zero, the scale of A small. Panels come first: their seed
 * makes both. */
static void int8_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  int8_buffer(problem, i, &spec);
  uint64_t state = seed * 77 + (i == INT8_BUFFER_SUMS ? INT8_BUFFER_B : i);
  const int64_t tail = problem->dim[INT8_K] % 4, panel = problem->dim[INT8_PANEL];
  const uint32_t last_mask = tail ? (1U << (8 * tail)) - 1 : UINT32_MAX;
  if (i == INT8_BUFFER_SUMS) memset(data, 0, (size_t)spec.elements * sizeof(int32_t));
  const int64_t words = pare__round_up(problem->dim[INT8_N], panel) * quads(problem);
  for (int64_t t = 0; t < (i == INT8_BUFFER_SUMS ? words : spec.elements); t++) {
    uint32_t bits = (uint32_t)(pare__reference_random(&state) >> 32);
    if (i == INT8_BUFFER_B || i == INT8_BUFFER_SUMS) {
      const int64_t quad = t / panel % quads(problem), column = t / panel / quads(problem) * panel + t % panel;
      if (quad == quads(problem) - 1) bits &= last_mask;
      if (i == INT8_BUFFER_B)
        ((int32_t *)data)[t] = (int32_t)bits;
      else
        for (int byte = 0; byte < 4; byte++) ((int32_t *)data)[column] += (int8_t)(bits >> (8 * byte));
    } else if (i == INT8_BUFFER_A_SCALE && problem->dim[INT8_RANGE] == 0) {
      pare__store(PARE_F32, data, (size_t)t, 0.0078f);
    } else if (pare__dtype_is_float(problem->dtype[i])) {
      pare__store(problem->dtype[i], data, (size_t)t, (double)bits / 2147483648.0 - 1);
    } else {
      const double low = problem->dtype[i] == PARE_I8 ? -128 : 0;
      pare__store(problem->dtype[i], data, (size_t)t, low + (double)(bits >> 24));
    }
  }
}

static double reference_activation(int64_t activation, double x, const double *clip) {
  switch (activation) {
  case 1: return x < 0 ? 0 : x;
  case 2: return 0.5 * x * (1 + erf(x * 0.70710678118654752));
  case 3: return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
  case 4: return x / (1 + exp(-x));
  case 5: return 1 / (1 + exp(-x));
  case 6: return tanh(x);
  case 7: return x < clip[INT8_LOW] ? clip[INT8_LOW] : x > clip[INT8_HIGH] ? clip[INT8_HIGH] : x;
  default: return x;
  }
}

/* The scale and zero point of A, given or of a range. */
static void reference_affine(const pare__problem *problem, void *const *data, float *scale, double *zero) {
  const int64_t *dim = problem->dim;
  *zero = dim[INT8_HAS_ZERO] ? pare__load(problem->dtype[INT8_BUFFER_A_ZERO], data[INT8_BUFFER_A_ZERO], 0) : 0;
  *scale = is_raw(problem) ? 1 : (float)pare__load(problem->dtype[INT8_BUFFER_A_SCALE], data[INT8_BUFFER_A_SCALE], 0);
  if (dim[INT8_RANGE] == 0) return;
  float least = 0, greatest = 0;
  for (int64_t i = 0; i < dim[INT8_RANGE]; i++) {
    const float v = (float)pare__load(problem->dtype[INT8_BUFFER_A_SCALE], data[INT8_BUFFER_A_SCALE], (size_t)i);
    least = fminf(least, v);
    greatest = fmaxf(greatest, v);
  }
  *scale = greatest > least ? (greatest - least) / 255 : 1;
  *zero = fmin(fmax(rint((double)(-least / *scale)), 0), 255);
}

/* The integer that A[at] is multiplied as, less the zero point. *doubt: a tie that another division may round to the
 * other side. */
static double activation_integer(const pare__problem *problem, void *const *data, int64_t at, float scale, double zero,
                                 bool *doubt) {
  const double a = pare__load(problem->dtype[INT8_BUFFER_A], data[INT8_BUFFER_A], (size_t)at);
  *doubt = false;
  if (!a_is_float(problem)) return a - zero;
  const float quotient = (float)a / scale;
  *doubt = fabs(fabs((double)quotient - floor((double)quotient)) - 0.5) < 1e-4;
  const double q = rint((double)quotient) + zero;
  return (q < 0 ? 0 : q > 255 ? 255 : q) - zero;
}

static void reference_element(const pare__problem *problem, void *const *data, int64_t i, int64_t j, float a_scale,
                              double zero, double *value, double *tolerance) {
  const int64_t *dim = problem->dim;
  double sum = 0, doubtful = 0;
  for (int64_t k = 0; k < dim[INT8_K]; k++) {
    bool doubt;
    const double a = activation_integer(problem, data, i * dim[INT8_A_ROW] + k, a_scale, zero, &doubt);
    const double b = packed_element(problem, data[INT8_BUFFER_B], k, j);
    sum += a * b;
    if (doubt) doubtful += fabs(b);
  }
  *value = sum;
  *tolerance = 0;
  if (is_raw(problem)) return;
  const double scale = (double)a_scale, b_scale = ((const float *)data[INT8_BUFFER_B_SCALE])[j];
  const double bias = dim[INT8_HAS_BIAS] ? ((const float *)data[INT8_BUFFER_BIAS])[j] : 0,
               x = sum * scale * b_scale + bias;
  *value = reference_activation(dim[INT8_ACTIVATION], x, problem->real);
  const pare_dtype dtype = problem->dtype[INT8_BUFFER_C];
  *tolerance = 1.2 * (doubtful * fabs(scale * b_scale) +
                      (dim[INT8_RANGE] ? 8 : 4) * pare__dtype_epsilon(PARE_F32) * (fabs(x) + 2 * fabs(bias))) +
               pare__dtype_epsilon(dtype) * fabs(*value) + (dim[INT8_ACTIVATION] ? 1e-6 * (1 + fabs(x)) : 0) +
               (dtype == PARE_F16 ? 0x1p-25 : 0);
}

static bool int8_reference(const pare__problem *problem, void *const *data, double *const *expected,
                           double *const *tolerance) {
  const int64_t *dim = problem->dim;
  pare__buffer_spec spec;
  int8_buffer(problem, INT8_BUFFER_C, &spec);
  for (int64_t t = 0; t < spec.elements; t++)
    expected[INT8_BUFFER_C][t] = pare__load(problem->dtype[INT8_BUFFER_C], data[INT8_BUFFER_C], (size_t)t);
  float scale;
  double zero;
  reference_affine(problem, data, &scale, &zero);
  for (int64_t t = 0; t < dim[INT8_M] * dim[INT8_N]; t++) {
    const int64_t i = t / dim[INT8_N], j = t % dim[INT8_N], at = i * dim[INT8_C_ROW] + j;
    reference_element(problem, data, i, j, scale, zero, &expected[INT8_BUFFER_C][at], &tolerance[INT8_BUFFER_C][at]);
  }
  return true;
}

static void int8_work(const pare__problem *problem, double *flops, double *bytes) {
  const int64_t *dim = problem->dim;
  *flops = 2.0 * (double)dim[INT8_M] * (double)dim[INT8_N] * (double)dim[INT8_K];
  *bytes = 0;
  for (unsigned i = 0; i < INT8_NBUFFERS; i++) {
    pare__buffer_spec spec;
    int8_buffer(problem, i, &spec);
    if (spec.role != PARE__ABSENT) *bytes += (double)spec.elements * (double)pare_dtype_bytes(problem->dtype[i]);
  }
}

static void int8_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lldx%lldx%lld %sxi8->%s", (long long)dim[INT8_M], (long long)dim[INT8_N],
           (long long)dim[INT8_K], pare_dtype_name(problem->dtype[INT8_BUFFER_A]),
           pare_dtype_name(problem->dtype[INT8_BUFFER_C]));
}

static void int8_class_of(const pare__problem *problem, bool few, char *text, size_t capacity) {
  snprintf(text, capacity, "%s %s", pare_dtype_name(problem->dtype[INT8_BUFFER_A]), few ? "few rows" : "rows");
}

static void int8_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  int8_class_of(problem, problem->dim[INT8_M] <= 64, text, capacity);
}

static void int8_deciding_class(const pare__problem *problem, char *text, size_t capacity) {
  int8_class_of(problem, false, text, capacity);
}

const pare__family pare__family_gemm_int8 = {
    .name = "gemm_int8",
    .what = "product of dynamically quantised activations with int8 weights",
    .nbuffers = INT8_NBUFFERS,
    .variants = variants,
    .problem = int8_problem,
    .buffer = int8_buffer,
    .generate = int8_generate,
    .reference = int8_reference,
    .work = int8_work,
    .describe = int8_describe,
    .shape_class = int8_shape_class,
    .deciding_class = int8_deciding_class,
};
