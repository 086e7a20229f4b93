/* Problems, reference and figures of products with N:M sparse weights. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_gemm_nm.h"
#include "kernel/reference.h"

/* ---- problems ---- */

typedef struct nm_case {
  int64_t m, n, groups;
  int keep, of;
  pare_dtype values;
  bool scaled;
  bool a_transposed;
  int bias, activation; /* as in pare__gemm_case */
  double alpha, beta;
  pare_dtype a;
  int64_t padding;
} nm_case;

/* Of few kinds: each pair of N and M, and each dtype, costs a build on the first use. */
static const nm_case selftest_cases[] = {
    {1, 37, 19, 2, 4, PARE_F32, false, false, 1, 3, 1, 0.5, PARE_F32, 0},
    {3, 50, 35, 2, 4, PARE_F32, false, false, 0, 0, 2, 1, PARE_F32, 1},
    {13, 37, 150, 2, 4, PARE_F32, false, false, 1, 2, 1, 0, PARE_F32, 3},
    {71, 35, 9, 2, 4, PARE_F32, false, true, 2, 0, 1, 0.5, PARE_F32, 0},
    {1, 50, 130, 2, 4, PARE_I8, true, false, 0, 0, 1, 0, PARE_F32, 0},
    {9, 70, 33, 2, 4, PARE_I8, true, false, 1, 0, -1, 0, PARE_F32, 0},
    {2, 35, 7, 3, 7, PARE_F32, true, true, 0, 0, 1, 0, PARE_F32, 0},
    {1, 18, 5, 9, 16, PARE_F32, false, false, 0, 0, 1, 0, PARE_F32, 0},
};

static const nm_case test_cases[] = {
    {1, 1, 1, 1, 2, PARE_F32, false, false, 0, 0, 1, 0, PARE_F32, 0},
    {0, 5, 3, 2, 4, PARE_F32, false, false, 0, 0, 1, 0, PARE_F32, 0},
    {5, 0, 3, 2, 4, PARE_F32, false, false, 0, 0, 1, 0, PARE_F32, 0},
    {3, 7, 0, 2, 4, PARE_F32, true, false, 1, 1, 1, 0, PARE_F32, 0},
    {1, 131, 257, 2, 4, PARE_F32, false, false, 1, 2, 1, 0, PARE_F32, 0},
    {4, 130, 129, 2, 4, PARE_F16, false, false, 0, 0, 1, 0, PARE_F16, 0},
    {2, 97, 75, 2, 4, PARE_BF16, false, false, 1, 7, 1, 1, PARE_BF16, 2},
    {67, 131, 257, 2, 4, PARE_F32, false, false, 1, 3, 1, 0, PARE_F32, 2},
    {65, 97, 300, 2, 4, PARE_I8, true, true, 1, 2, 1, 0, PARE_F32, 0},
    {17, 97, 75, 2, 4, PARE_F16, false, false, 2, 5, 1, 0, PARE_F32, 3},
    {1, 1031, 250, 2, 4, PARE_I8, true, false, 1, 2, 1, 0, PARE_F32, 0},
    {3, 45, 70, 1, 3, PARE_F32, false, false, 0, 0, 1, 0, PARE_F32, 0},
    {1, 50, 66, 4, 8, PARE_F32, false, true, 0, 0, 1, 0, PARE_F32, 0},
    {33, 50, 130, 5, 8, PARE_I8, true, false, 0, 0, 1, 0, PARE_F32, 0},
    {2, 33, 41, 1, 5, PARE_F32, true, false, 1, 0, 1, 0, PARE_F32, 0},
    {1, 64, 33, 15, 16, PARE_F32, false, false, 0, 0, 1, 0, PARE_F32, 0},
    {9, 40, 70, 8, 16, PARE_F32, false, false, 1, 0, 1, 0, PARE_F32, 0},
    {37, 35, 90, 4, 11, PARE_F32, false, false, 0, 0, 1, 0, PARE_F32, 0},
};

static const int64_t bench_sizes[][3] = {
    {1, 4096, 4096}, {128, 4096, 4096}, {1, 1536, 384}, {128, 384, 1536}, {128, 1536, 384}}; /* M, N, K */
static const pare_dtype bench_values[] = {PARE_F32, PARE_I8};

static bool bench_case(unsigned index, nm_case *out) {
  if (index >= PARE__COUNT(bench_sizes) * PARE__COUNT(bench_values)) return false;
  const int64_t *size = bench_sizes[index / PARE__COUNT(bench_values)];
  const pare_dtype values = bench_values[index % PARE__COUNT(bench_values)];
  *out = (nm_case){.m = size[0],
                   .n = size[1],
                   .groups = size[2] / 4,
                   .keep = 2,
                   .of = 4,
                   .values = values,
                   .scaled = values == PARE_I8,
                   .alpha = 1,
                   .a = PARE_F32};
  return true;
}

bool pare__nm_cases(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  nm_case bench;
  const nm_case *from = &bench;
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
                                 .k = from->groups * from->of,
                                 .a_transposed = from->a_transposed,
                                 .packed = true,
                                 .bias = from->bias,
                                 .activation = from->activation,
                                 .alpha = from->alpha,
                                 .beta = from->beta,
                                 .a = from->a,
                                 .b = from->values,
                                 .c = from->a,
                                 .padding = from->padding};
  pare__gemm_problem(info, &dense, out);
  int64_t *dim = out->dim;
  dim[GEMM_KEEP] = from->keep;
  dim[GEMM_OF] = from->of;
  dim[GEMM_ZEROS] = 1;
  dim[GEMM_BLOCK] = from->scaled;
  const pare__nm_units units = pare__nm_units_of(dense.k, from->keep, from->of);
  dim[GEMM_B_PANEL] = units.count * units.groups * from->keep * dim[GEMM_PANEL];
  dim[GEMM_B_BATCH1] = dim[GEMM_B_BATCH2] = 0;
  out->dtype[NM_BUFFER_SCALE] = PARE_F32;
  out->dtype[NM_BUFFER_PLACES] = PARE_I32;
  return true;
}

void pare__nm_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim;
  const int64_t columns = pare__round_up(dim[GEMM_N], dim[GEMM_PANEL]);
  if (i < GEMM_NBUFFERS) {
    pare__gemm_buffer(problem, i, out);
  } else if (i == NM_BUFFER_SCALE) {
    *out = (pare__buffer_spec){dim[GEMM_BLOCK] ? PARE__IN : PARE__ABSENT, columns};
  } else {
    const pare__nm_units units = pare__nm_units_of(dim[GEMM_K], dim[GEMM_KEEP], dim[GEMM_OF]);
    *out = (pare__buffer_spec){PARE__IN, columns * units.count * units.words};
  }
}

/* Where the word with the place of value p of a unit of a column lies. */
static int64_t word_at(const pare__problem *problem, const pare__nm_units *units, int64_t column, int64_t unit,
                       int64_t p) {
  const int64_t panel = problem->dim[GEMM_PANEL];
  const int64_t word = (column / panel * units->count + unit) * units->words + p / units->word;
  return word * panel + column % panel;
}

/* Places ascend in each group, whichever they are. */
static void generate_places(const pare__problem *problem, uint64_t *state, int32_t *words) {
  const int64_t *dim = problem->dim, keep = dim[GEMM_KEEP], of = dim[GEMM_OF];
  const pare__nm_units units = pare__nm_units_of(dim[GEMM_K], keep, of);
  for (int64_t column = 0; column < pare__round_up(dim[GEMM_N], dim[GEMM_PANEL]); column++)
    for (int64_t g = 0; g < units.count * units.groups; g++) {
      const int64_t unit = g / units.groups;
      int64_t s = 0;
      for (int64_t u = 0; u < of; u++) {
        const uint64_t left = (uint64_t)(keep - s), choices = (uint64_t)(of - u);
        if ((pare__reference_random(state) >> 32) % choices >= left) continue;
        const int64_t p = g % units.groups * keep + s++;
        words[word_at(problem, &units, column, unit, p)] |= (int32_t)((uint32_t)u << (p % units.word * units.bits));
      }
    }
}

void pare__nm_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data) {
  pare__buffer_spec spec;
  pare__nm_buffer(problem, i, &spec);
  uint64_t state = seed * 91 + i;
  if (i == NM_BUFFER_PLACES) {
    memset(data, 0, (size_t)spec.elements * sizeof(int32_t));
    generate_places(problem, &state, data);
    return;
  }
  for (int64_t t = 0; t < spec.elements; t++) {
    const double x = pare__reference_uniform(&state);
    const double value = i == NM_BUFFER_SCALE ? 0.02 + 0.01 * x : problem->dtype[i] == PARE_I8 ? floor(127 * x) : x;
    pare__store(problem->dtype[i], data, (size_t)t, value);
  }
}

/* ---- the reference: that of dense products ---- */

/* B as it would lie without a pruned weight left out, to be freed; NULL: out of memory. */
static double *expand(const pare__problem *problem, void *const *data) {
  const int64_t *dim = problem->dim, panel = dim[GEMM_PANEL], k = dim[GEMM_K], keep = dim[GEMM_KEEP];
  const int64_t columns = pare__round_up(dim[GEMM_N], panel);
  const pare__nm_units units = pare__nm_units_of(k, keep, dim[GEMM_OF]);
  double *dense = calloc((size_t)(columns * k) + 1, sizeof *dense);
  for (int64_t column = 0; dense && column < columns; column++)
    for (int64_t t = 0; t < k / dim[GEMM_OF] * keep; t++) {
      const int64_t g = t / keep, p = t - g / units.groups * units.groups * keep;
      const int32_t *words = data[NM_BUFFER_PLACES];
      const uint32_t word = (uint32_t)words[word_at(problem, &units, column, g / units.groups, p)];
      const int64_t l = g * dim[GEMM_OF] + (word >> (p % units.word * units.bits) & ((1U << units.bits) - 1));
      const size_t at = (size_t)(column / panel * dim[GEMM_B_PANEL] + t * panel + column % panel);
      const double scale = dim[GEMM_BLOCK] ? pare__load(PARE_F32, data[NM_BUFFER_SCALE], (size_t)column) : 1;
      dense[column / panel * k * panel + l * panel + column % panel] =
          scale * pare__load(problem->dtype[GEMM_BUFFER_B], data[GEMM_BUFFER_B], at);
    }
  return dense;
}

bool pare__nm_reference(const pare__problem *problem, void *const *data, double *const *expected,
                        double *const *tolerance) {
  pare__problem dense = *problem;
  void *operands[BLOCKS_NBUFFERS];
  memcpy(operands, data, sizeof operands);
  double *b = expand(problem, data);
  operands[GEMM_BUFFER_B] = b;
  dense.dtype[GEMM_BUFFER_B] = PARE_F64;
  dense.dim[GEMM_B_PANEL] = dense.dim[GEMM_K] * dense.dim[GEMM_PANEL];
  const bool fine = b && pare__gemm_reference(&dense, operands, expected, tolerance);
  free(b);
  return fine;
}

/* ---- figures ---- */

/* Operations that the dense product would have: figures compare. */
void pare__nm_work(const pare__problem *problem, double *flops, double *bytes) {
  pare__gemm_work(problem, flops, bytes);
  for (unsigned i = GEMM_NBUFFERS; i < BLOCKS_NBUFFERS; i++) {
    pare__buffer_spec spec;
    pare__nm_buffer(problem, i, &spec);
    if (spec.role != PARE__ABSENT) *bytes += (double)spec.elements * (double)pare_dtype_bytes(problem->dtype[i]);
  }
}

void pare__nm_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%lldx%lldx%lld %s x %lld:%lld %s", (long long)dim[GEMM_M], (long long)dim[GEMM_N],
           (long long)dim[GEMM_K], pare_dtype_name(problem->dtype[GEMM_BUFFER_A]), (long long)dim[GEMM_KEEP],
           (long long)dim[GEMM_OF], pare_dtype_name(problem->dtype[GEMM_BUFFER_B]));
}

static void class_of(const pare__problem *problem, int64_t m, char *text, size_t capacity) {
  const int64_t *dim = problem->dim;
  snprintf(text, capacity, "%s x %lld:%lld %s %s", pare_dtype_name(problem->dtype[GEMM_BUFFER_A]),
           (long long)dim[GEMM_KEEP], (long long)dim[GEMM_OF], pare_dtype_name(problem->dtype[GEMM_BUFFER_B]),
           m <= GEMV_MOST_ROWS ? "one row"
           : m <= 64           ? "few rows"
                               : "rows");
}

void pare__nm_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  class_of(problem, problem->dim[GEMM_M], text, capacity);
}

void pare__nm_deciding_class(const pare__problem *problem, char *text, size_t capacity) {
  class_of(problem, pare__gemm_deciding_rows(problem), text, capacity);
}
