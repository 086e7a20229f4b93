/* Problems, reference and figures of products with weights in blocks. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_gemm_blocks.h"
#include "kernel/reference.h"

/* ---- problems ---- */

typedef struct blocks_case {
  int64_t m, n, k;
  int bits;
  int64_t block;
  bool round, a_transposed;
  int bias, activation; /* as in pare__gemm_case */
  double alpha, beta;
  pare_dtype a, c, scale, zero;
  bool zeros;
  int shift;
  int64_t padding;
} blocks_case;

#define F32 PARE_F32, PARE_F32, PARE_F32
#define HALF_SCALES PARE_F32, PARE_F32, PARE_F16

/* Of few dtypes: each tuple costs a build on the first use. */
static const blocks_case selftest_cases[] = {
    /* rounded: tails of rows, columns and blocks; zero points and none */
    {19, 37, 75, 4, 32, true, false, 1, 2, 0.5, 0.25, F32, PARE_U8, true, 0, 3},
    {6, 33, 300, 4, 300, true, true, 0, 0, 1, 0, F32, PARE_U8, true, 0, 0},
    {1, 50, 130, 4, 20, true, false, 0, 0, 1, 0, F32, PARE_U8, false, 8, 0},
    /* floats: few rows, and more */
    {1, 37, 75, 4, 32, false, false, 1, 3, 1, 0, F32, PARE_U8, true, 0, 0},
    {3, 50, 70, 8, 16, false, false, 0, 0, 2, 1, F32, PARE_U8, false, 0, 1},
    {13, 37, 530, 4, 32, false, false, 1, 2, 1, 0, F32, PARE_U8, true, 0, 0},
    {71, 70, 75, 8, 75, false, true, 2, 0, 1, 0.5, F32, PARE_U8, true, -128, 2},
    {9, 35, 60, 4, 12, false, false, 0, 0, 1, 0, F32, PARE_U8, true, 0, 0},
};

static const blocks_case test_cases[] = {
    {1, 1, 1, 4, 16, true, false, 0, 0, 1, 0, F32, PARE_U8, true, 0, 0},
    {1, 1, 1, 8, 1, false, false, 0, 0, 1, 0, F32, PARE_I8, false, 0, 0},
    {0, 5, 7, 4, 16, true, false, 0, 0, 1, 0, F32, PARE_U8, true, 0, 0},
    {5, 0, 7, 4, 16, false, false, 0, 0, 1, 0, F32, PARE_U8, true, 0, 0},
    {67, 131, 257, 4, 32, true, false, 1, 3, 1, 0, F32, PARE_U8, true, 0, 2},
    {67, 131, 257, 4, 128, true, false, 1, 0, 1, 0, HALF_SCALES, PARE_U8, true, 0, 0},
    {33, 64, 1031, 4, 256, true, false, 0, 0, -2, 1, F32, PARE_U8, false, 8, 0},
    {4, 130, 517, 4, 20, true, false, 0, 0, 1, 0, F32, PARE_F32, true, 0, 0},
    {65, 97, 300, 4, 16, true, false, 1, 7, 1, 0, PARE_F16, PARE_F16, PARE_F16, PARE_U8, true, 0, 0},
    {17, 97, 300, 4, 64, true, true, 2, 5, 1, 0, PARE_BF16, PARE_BF16, PARE_F32, PARE_U8, false, 8, 3},
    {1, 1031, 1009, 4, 32, true, false, 1, 2, 1, 0, F32, PARE_U8, true, 0, 0},
    {1, 1031, 1009, 4, 32, false, false, 1, 2, 1, 0, F32, PARE_U8, true, 0, 0},
    {4, 257, 1009, 8, 1009, false, false, 0, 0, 1, 0, F32, PARE_I8, false, 0, 0},
    {3, 131, 515, 8, 6, false, false, 0, 0, 1, 0, F32, PARE_F16, true, 0, 0},
    {127, 131, 137, 4, 16, false, true, 1, 1, -1, 2, F32, PARE_U8, true, 0, 3},
    {97, 193, 1100, 4, 256, false, false, 1, 4, 1, 0, HALF_SCALES, PARE_U8, false, 8, 0},
    {61, 131, 1100, 8, 32, false, false, 1, 0, 1, 0, PARE_F16, PARE_F16, PARE_F32, PARE_U8, true, -128, 0},
    {37, 129, 1100, 8, 1100, false, false, 1, 6, 1, 0, PARE_BF16, PARE_BF16, PARE_BF16, PARE_I8, false, 0, 0},
    {45, 67, 130, 4, 10, false, false, 0, 0, 1, 0, F32, PARE_U8, true, 0, 0},
    {128, 384, 384, 4, 32, true, false, 1, 2, 1, 0, F32, PARE_U8, true, 0, 0},
};

static const int64_t bench_sizes[][3] = {{1, 4096, 4096},  {32, 384, 384},    {128, 384, 1536},
                                         {128, 1536, 384}, {128, 4096, 4096}, {1024, 384, 1536}}; /* M, N, K */
static const struct {
  int bits;
  bool round;
  pare_dtype zero;
} bench_kinds[] = {{4, true, PARE_U8}, {4, false, PARE_U8}, {8, false, PARE_I8}};

static bool bench_case(unsigned index, blocks_case *out) {
  if (index >= PARE__COUNT(bench_sizes) * PARE__COUNT(bench_kinds)) return false;
  const int64_t *size = bench_sizes[index / PARE__COUNT(bench_kinds)];
  const unsigned kind = index % PARE__COUNT(bench_kinds);
  const bool nibbles = bench_kinds[kind].bits == 4;
  *out = (blocks_case){.m = size[0],
                       .n = size[1],
                       .k = size[2],
                       .bits = bench_kinds[kind].bits,
                       .block = nibbles ? 32 : size[2],
                       .round = bench_kinds[kind].round,
                       .alpha = 1,
                       .a = PARE_F32,
                       .c = PARE_F32,
                       .scale = PARE_F32,
                       .zero = bench_kinds[kind].zero,
                       .zeros = nibbles};
  return true;
}

bool pare__blocks_cases(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  blocks_case bench;
  const blocks_case *from = &bench;
  if (set == PARE__CASES_SELFTEST && index < PARE__COUNT(selftest_cases))
    from = &selftest_cases[index];
  else if (set == PARE__CASES_TEST && index < PARE__COUNT(test_cases))
    from = &test_cases[index];
  else if (set != PARE__CASES_BENCH || !bench_case(index, &bench))
    return false;
  const pare__gemm_case dense = {.batch0 = 1,
                                 .batch1 = 1,
                                 .m = from->m,
                                 .n = from->n,
                                 .k = from->k,
                                 .a_transposed = from->a_transposed,
                                 .packed = true,
                                 .bias = from->bias,
                                 .activation = from->activation,
                                 .alpha = from->alpha,
                                 .beta = from->beta,
                                 .a = from->a,
                                 .b = PARE_I32,
                                 .c = from->c,
                                 .padding = from->padding};
  pare__gemm_problem(info, &dense, out);
  int64_t *dim = out->dim;
  dim[GEMM_BITS] = from->bits;
  dim[GEMM_BLOCK] = from->block;
  dim[GEMM_ZEROS] = from->zeros;
  dim[GEMM_SHIFT] = from->shift;
  dim[GEMM_ROUND] = from->round;
  dim[GEMM_B_PANEL] = pare__blocks_words(from->k, from->block, from->bits) * dim[GEMM_PANEL];
  dim[GEMM_B_BATCH1] = dim[GEMM_B_BATCH2] = 0;
  out->dtype[BLOCKS_BUFFER_SCALE] = from->scale;
  out->dtype[BLOCKS_BUFFER_ZERO] = from->zero;
  return true;
}

void pare__blocks_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim;
  if (i < GEMM_NBUFFERS) {
    pare__gemm_buffer(problem, i, out);
    return;
  }
  const int64_t padded = pare__round_up(dim[GEMM_N], dim[GEMM_PANEL]);
  *out = (pare__buffer_spec){PARE__IN, pare__div_up(dim[GEMM_K], dim[GEMM_BLOCK]) * padded};
  if (i == BLOCKS_BUFFER_ZERO && !dim[GEMM_ZEROS]) out->role = PARE__ABSENT;
}

/* Zero points are of the range of the values, and scales about as small as real ones. */
void pare__blocks_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  pare__blocks_buffer(problem, i, &spec);
  uint64_t state = seed * 77 + i;
  const pare_dtype dtype = problem->dtype[i];
  for (int64_t t = 0; t < spec.elements; t++) {
    if (i == GEMM_BUFFER_B) {
      ((int32_t *)data)[t] = (int32_t)(uint32_t)(pare__reference_random(&state) >> 32);
      continue;
    }
    const double x = pare__reference_uniform(&state);
    const double zero = problem->dim[GEMM_BITS] == 4 ? 8 + 7 * x : dtype == PARE_U8 ? 128 + 100 * x : 20 * x;
    pare__store(dtype, data, (size_t)t,
                i == BLOCKS_BUFFER_ZERO    ? (pare__dtype_is_float(dtype) ? zero : floor(zero))
                : i == BLOCKS_BUFFER_SCALE ? 0.02 + 0.01 * x
                                           : x);
  }
}

/* ---- the reference ---- */

typedef struct weights {
  const pare__problem *problem;
  const int32_t *words;
  const void *scale, *zero;
} weights;

/* Value (l, j) of B less its zero point, and the scale. *magnitude: of the value and of the zero point together. */
static double weight(const weights *w, int64_t l, int64_t j, double *scale, double *magnitude) {
  const int64_t *dim = w->problem->dim, panel = dim[GEMM_PANEL], block = dim[GEMM_BLOCK];
  const int64_t steps = 32 / dim[GEMM_BITS], blocks = pare__div_up(dim[GEMM_K], block),
                words = pare__div_up(block, steps);
  const int64_t g = l / block, r = l % block, u = r % steps;
  const uint32_t word = (uint32_t)w->words[j / panel * dim[GEMM_B_PANEL] + (g * words + r / steps) * panel + j % panel];
  const int64_t value =
      dim[GEMM_BITS] == 8 ? (int8_t)(word >> (8 * u)) : (int64_t)(word >> (u < 4 ? 8 * u : 8 * u - 28) & 15);
  const size_t at = (size_t)((j / panel * blocks + g) * panel + j % panel);
  const double zero =
      (w->zero ? pare__load(w->problem->dtype[BLOCKS_BUFFER_ZERO], w->zero, at) : 0) + (double)dim[GEMM_SHIFT];
  *scale = pare__load(w->problem->dtype[BLOCKS_BUFFER_SCALE], w->scale, at);
  *magnitude = (fabs((double)value) + fabs(zero)) * fabs(*scale);
  return (double)value - zero;
}

/* A row of A as it is multiplied; doubt[l]: by how much rounding may have gone the other way. */
static void round_row(const pare__problem *problem, double *a, double *doubt) {
  const int64_t k = problem->dim[GEMM_K], block = problem->dim[GEMM_BLOCK];
  for (int64_t begin = 0; begin < k; begin += block) {
    const int64_t end = PARE__MIN(begin + block, k);
    double most = 0;
    for (int64_t l = begin; l < end; l++) most = PARE__MAX(most, fabs(a[l]));
    const double scale = most / 127;
    for (int64_t l = begin; l < end && most > 0; l++) {
      const double q = a[l] / scale;
      doubt[l] = fabs(fabs(q - floor(q)) - 0.5) < 1e-4 ? scale : 0;
      a[l] = rint(q) * scale;
    }
  }
}

typedef struct element {
  double value, tolerance;
} element;

static element product(const weights *w, const double *a, const double *doubt, int64_t j, double bias, double summand) {
  const pare__problem *problem = w->problem;
  const int64_t *dim = problem->dim;
  double sum = 0, magnitude = 0, doubtful = 0;
  for (int64_t l = 0; l < dim[GEMM_K]; l++) {
    double scale, size;
    const double b = weight(w, l, j, &scale, &size) * scale;
    sum += a[l] * b;
    magnitude += fabs(a[l]) * size;
    doubtful += doubt[l] * fabs(b);
  }
  const double alpha = problem->real[GEMM_ALPHA], beta = problem->real[GEMM_BETA];
  const double epsilon = pare__dtype_epsilon(PARE_F32);
  const double x = alpha * sum + bias + (beta != 0 ? beta * summand : 0);
  double error = fabs(alpha) * (doubtful + (double)(dim[GEMM_K] + 8) * epsilon * magnitude);
  error += 4 * epsilon * (fabs(bias) + fabs(beta * summand));
  const double value =
      pare__reference_activation(dim[GEMM_ACTIVATION], x, problem->real[GEMM_LOW], problem->real[GEMM_HIGH]);
  if (dim[GEMM_ACTIVATION] != 0) error = 1.2 * error + 1e-6 * (1 + fabs(x));
  const pare_dtype dtype = problem->dtype[GEMM_BUFFER_C];
  return (element){value, error + pare__dtype_epsilon(dtype) * fabs(value) + (dtype == PARE_F16 ? 0x1p-25 : 0)};
}

bool pare__blocks_reference(const pare__problem *problem, void *const *data, double *const *expected,
                            double *const *tolerance) {
  const int64_t *dim = problem->dim, m = dim[GEMM_M], n = dim[GEMM_N], k = dim[GEMM_K];
  const pare_dtype *dtype = problem->dtype;
  const weights w = {problem, data[GEMM_BUFFER_B], data[BLOCKS_BUFFER_SCALE],
                     dim[GEMM_ZEROS] ? data[BLOCKS_BUFFER_ZERO] : NULL};
  pare__buffer_spec spec;
  pare__blocks_buffer(problem, GEMM_BUFFER_C, &spec);
  for (int64_t t = 0; t < spec.elements; t++)
    expected[GEMM_BUFFER_C][t] = pare__load(dtype[GEMM_BUFFER_C], data[GEMM_BUFFER_C], (size_t)t);
  if (spec.elements == 0) return true;
  double *a = calloc((size_t)k + 1, sizeof *a), *doubt = calloc((size_t)k + 1, sizeof *doubt);
  for (int64_t i = 0; i < m && a && doubt; i++) {
    for (int64_t l = 0; l < k; l++) {
      a[l] = pare__load(dtype[GEMM_BUFFER_A], data[GEMM_BUFFER_A], (size_t)(i * dim[GEMM_A_ROW] + l * dim[GEMM_A_COL]));
      doubt[l] = 0;
    }
    if (dim[GEMM_ROUND]) round_row(problem, a, doubt);
    for (int64_t j = 0; j < n; j++) {
      const int64_t c = i * dim[GEMM_C_ROW] + j * dim[GEMM_C_COL];
      const size_t at = (size_t)(i * dim[GEMM_BIAS_ROW] + j * dim[GEMM_BIAS_COL]);
      const double bias = dim[GEMM_BIAS] ? pare__load(dtype[GEMM_BUFFER_BIAS], data[GEMM_BUFFER_BIAS], at) : 0;
      const double summand = dim[GEMM_SUMMAND]
                                 ? pare__load(dtype[GEMM_BUFFER_SUMMAND], data[GEMM_BUFFER_SUMMAND], (size_t)c)
                                 : expected[GEMM_BUFFER_C][c];
      const element e = product(&w, a, doubt, j, bias, summand);
      expected[GEMM_BUFFER_C][c] = e.value;
      tolerance[GEMM_BUFFER_C][c] = e.tolerance;
    }
  }
  const bool fine = a && doubt;
  free(a);
  free(doubt);
  return fine;
}

/* ---- figures ---- */

void pare__blocks_work(const pare__problem *problem, double *flops, double *bytes) {
  pare__gemm_work(problem, flops, bytes);
  for (unsigned i = GEMM_NBUFFERS; i < BLOCKS_NBUFFERS; i++) {
    pare__buffer_spec spec;
    pare__blocks_buffer(problem, i, &spec);
    if (spec.role != PARE__ABSENT) *bytes += (double)spec.elements * (double)pare_dtype_bytes(problem->dtype[i]);
  }
}

static const char *activations(const pare__problem *problem) { return problem->dim[GEMM_ROUND] ? "rounded " : ""; }

void pare__blocks_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lldx%lldx%lld %s%s x %lld bits in blocks of %lld", (long long)dim[GEMM_M],
           (long long)dim[GEMM_N], (long long)dim[GEMM_K], activations(problem),
           pare_dtype_name(problem->dtype[GEMM_BUFFER_A]), (long long)dim[GEMM_BITS], (long long)dim[GEMM_BLOCK]);
}

static void class_of(const pare__problem *problem, int64_t m, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%s%s x %lld bits %s", activations(problem), pare_dtype_name(problem->dtype[GEMM_BUFFER_A]),
           (long long)dim[GEMM_BITS],
           m <= GEMV_MOST_ROWS ? "one row"
           : m <= 64           ? "few rows"
                               : "rows");
}

void pare__blocks_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  class_of(problem, problem->dim[GEMM_M], text, capacity);
}

void pare__blocks_deciding_class(const pare__problem *problem, char *text, size_t capacity) {
  class_of(problem, pare__gemm_deciding_rows(problem), text, capacity);
}
