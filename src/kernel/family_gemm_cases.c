/* Problems, reference and figures of matrix products. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/family_gemm.h"
#include "kernel/reference.h"

/* ---- problems ---- */

/* Row-major strides of a matrix, or of its transpose, behind two batch dimensions; returns the elements of one batch.
 */
static int64_t set_strides(int64_t *stride, int64_t rows, int64_t cols, bool transposed, int64_t padding) {
  const int64_t pitch = (transposed ? rows : cols) + padding, elements = pitch * (transposed ? cols : rows);
  stride[3] = transposed ? 1 : pitch;
  stride[4] = transposed ? pitch : 1;
  return elements;
}

void pare__gemm_problem(const pare_device_info *info, const pare__gemm_case *from, pare__problem *out) {
  int64_t *dim = out->dim;
  dim[GEMM_M] = from->m;
  dim[GEMM_N] = from->n;
  dim[GEMM_K] = from->k;
  dim[GEMM_BATCH0] = 1;
  dim[GEMM_BATCH1] = PARE__MAX(from->batch0, 1);
  dim[GEMM_BATCH2] = PARE__MAX(from->batch1, 1);
  int64_t a = set_strides(dim + GEMM_A_BATCH0, from->m, from->k, from->a_transposed, from->padding);
  int64_t b = set_strides(dim + GEMM_B_BATCH0, from->k, from->n, from->b_transposed, from->padding);
  int64_t c = set_strides(dim + GEMM_C_BATCH0, from->m, from->n, false, from->padding);
  if (from->packed) {
    dim[GEMM_PANEL] = dim[GEMM_B_ROW] = pare__gemm_panel(info);
    dim[GEMM_B_COL] = 1;
    dim[GEMM_B_PANEL] = from->k * dim[GEMM_PANEL];
    b = pare__div_up(from->n, dim[GEMM_PANEL]) * dim[GEMM_B_PANEL];
  }
  dim[GEMM_A_BATCH2] = a;
  dim[GEMM_A_BATCH1] = a * dim[GEMM_BATCH2];
  dim[GEMM_B_BATCH2] = b;
  dim[GEMM_B_BATCH1] = from->broadcast_b ? 0 : b * dim[GEMM_BATCH2];
  dim[GEMM_C_BATCH2] = c;
  dim[GEMM_C_BATCH1] = c * dim[GEMM_BATCH2];
  dim[GEMM_BIAS] = from->bias != 0;
  dim[GEMM_BIAS_COL] = from->bias == 1;
  dim[GEMM_BIAS_ROW] = from->bias == 2;
  dim[GEMM_ACTIVATION] = from->activation;
  dim[GEMM_SUMMAND] = from->beta == 1; /* as a residual comes; other factors are of C */
  out->real[GEMM_ALPHA] = from->alpha;
  out->real[GEMM_BETA] = from->beta;
  out->real[GEMM_LOW] = -0.5;
  out->real[GEMM_HIGH] = 0.75;
  out->dtype[GEMM_BUFFER_A] = from->a;
  out->dtype[GEMM_BUFFER_B] = from->b;
  out->dtype[GEMM_BUFFER_BIAS] = out->dtype[GEMM_BUFFER_C] = out->dtype[GEMM_BUFFER_SUMMAND] = from->c;
  out->mode = pare__gemm_mode(out);
}

#define F32 PARE_F32, PARE_F32, PARE_F32

/* Tiny, and together through every path: edges of tiles, several blocks of k, small tiles, each epilogue; for each
 * mode. */
static const pare__gemm_case selftest_cases[] = {
    /* general: A and B packed on the way */
    {1, 1, 13, 37, 530, true, true, false, 1, 2, 0.5, 0.25, F32, 3, false},
    {2, 1, 70, 40, 9, true, false, false, 2, 1, 1, 0, F32, 0, true},
    /* rows of A in place, B packed on the way */
    {1, 1, 71, 75, 70, false, false, false, 1, 3, 1, 0, F32, 0, false},
    {2, 2, 7, 35, 525, false, true, false, 0, 4, 1, 1, F32, 1, false},
    /* few rows: B in place */
    {2, 1, 9, 75, 530, false, false, false, 1, 5, 2, 0, F32, 0, false},
    {1, 1, 3, 64, 17, false, false, false, 2, 6, 1, 0.5, F32, 5, false},
    {1, 1, 11, 75, 530, true, false, false, 1, 7, 1, 0, F32, 0, false},
    /* packed weights */
    {1, 1, 31, 70, 520, false, false, true, 1, 2, 1, 0, F32, 0, false},
    {2, 1, 5, 16, 1, false, false, true, 0, 0, 1, 1, F32, 2, true},
    {1, 1, 15, 50, 516, true, false, true, 2, 1, 1, 0, F32, 0, false},
    /* no epilogue, as libraries of BLAS take it */
    {1, 3, 23, 31, 29, true, false, false, 0, 0, 0.5, 0.75, F32, 2, false},
    {1, 1, 67, 65, 71, false, true, false, 0, 0, 1, 0, F32, 1, false},
};

static const pare__gemm_case test_cases[] = {
    {1, 1, 1, 1, 1, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 0, 5, 3, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 5, 0, 3, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 5, 70, 0, false, false, false, 1, 1, 1, 0.5, F32, 0, false},
    {1, 1, 127, 131, 137, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 127, 131, 137, true, true, false, 1, 1, -1, 2, F32, 3, false},
    {3, 2, 33, 65, 1031, false, false, false, 2, 2, 1, 0, F32, 0, true},
    {1, 1, 193, 257, 1025, true, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 97, 193, 577, false, true, false, 1, 4, 1, 0, F32, 0, false},
    {5, 1, 8, 8, 8, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {1, 1, 61, 1031, 67, false, false, false, 1, 3, 1, 0, F32, 0, false},
    {1, 1, 64, 384, 384, false, false, true, 1, 2, 1, 0, F32, 0, false},
    {1, 1, 33, 1031, 523, false, false, true, 0, 0, 1, 0, F32, 0, false},
    {2, 1, 47, 53, 1100, false, false, true, 1, 5, 1, 1, F32, 0, false},
    {1, 1, 67, 71, 73, false, false, false, 1, 2, 1, 0, PARE_F16, PARE_F16, PARE_F16, 0, false},
    {1, 1, 67, 71, 1100, false, false, false, 1, 0, 1, 1, PARE_F16, PARE_F16, PARE_F16, 1, false},
    {1, 1, 37, 129, 1100, false, false, true, 1, 1, 1, 0, PARE_BF16, PARE_BF16, PARE_BF16, 0, false},
    {1, 1, 37, 129, 300, false, false, true, 1, 6, 1, 0, PARE_F32, PARE_F16, PARE_F32, 0, false},
    {1, 1, 37, 129, 300, false, true, false, 0, 0, 1, 0, PARE_F32, PARE_BF16, PARE_F16, 0, false},
    {2, 1, 17, 67, 130, false, false, false, 1, 7, 1, 0, PARE_BF16, PARE_F32, PARE_BF16, 0, false},
    {1, 1, 45, 67, 130, true, false, false, 2, 2, 1, 0.5, PARE_F64, PARE_F64, PARE_F64, 0, false},
    {2, 2, 19, 33, 77, false, true, false, 1, 6, 1, 0, PARE_F64, PARE_F64, PARE_F64, 2, false},
    {1, 1, 11, 70, 4099, false, false, false, 0, 0, 1, 0, F32, 0, false},
    {2, 3, 37, 41, 43, true, true, false, 0, 0, -2, 0.5, F32, 3, true},
    {1, 2, 512, 448, 512, false, true, false, 0, 0, 1, 0, F32, 0, true}, /* libraries pad this one */
    {1, 1, 130, 140, 150, true, false, false, 0, 0, 0.5, 0.75, PARE_F64, PARE_F64, PARE_F64, 1, false},
};

static const int64_t square_sizes[] = {512, 1024, 2048, 4096};
static const int64_t layer_rows[] = {32, 64, 128, 256, 512, 1024};
static const int64_t layer_sizes[][2] = {{384, 384}, {384, 1536}, {1536, 384}, {1536, 1536}}; /* K, N */

static bool bench_case(unsigned index, pare__gemm_case *out) {
  *out = (pare__gemm_case){.alpha = 1, .a = PARE_F32, .b = PARE_F32, .c = PARE_F32};
  if (index < PARE__COUNT(square_sizes)) {
    out->m = out->n = out->k = square_sizes[index];
    return true;
  }
  index -= PARE__COUNT(square_sizes);
  if (index >= PARE__COUNT(layer_rows) * PARE__COUNT(layer_sizes)) return false;
  out->packed = true;
  out->m = layer_rows[index / PARE__COUNT(layer_sizes)];
  out->k = layer_sizes[index % PARE__COUNT(layer_sizes)][0];
  out->n = layer_sizes[index % PARE__COUNT(layer_sizes)][1];
  return true;
}

bool pare__gemm_cases(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  pare__gemm_case bench;
  const pare__gemm_case *from = &bench;
  if (set == PARE__CASES_SELFTEST) {
    if (index >= PARE__COUNT(selftest_cases)) return false;
    from = &selftest_cases[index];
  } else if (set == PARE__CASES_TEST) {
    if (index >= PARE__COUNT(test_cases)) return false;
    from = &test_cases[index];
  } else if (!bench_case(index, &bench)) {
    return false;
  }
  pare__gemm_problem(info, from, out);
  return true;
}

/* Elements of a buffer: one past the last that the strides reach. */
static int64_t reach(const int64_t *dim, const int64_t *stride, int64_t rows, int64_t cols) {
  const int64_t size[] = {dim[GEMM_BATCH0], dim[GEMM_BATCH1], dim[GEMM_BATCH2], rows, cols};
  int64_t last = 0;
  for (unsigned i = 0; i < PARE__COUNT(size); i++) {
    if (size[i] == 0) return 0;
    last += (size[i] - 1) * stride[i];
  }
  return last + 1;
}

void pare__gemm_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  const int64_t *dim = problem->dim, m = dim[GEMM_M], n = dim[GEMM_N], k = dim[GEMM_K];
  switch (i) {
  case GEMM_BUFFER_A: *out = (pare__buffer_spec){PARE__IN, reach(dim, dim + GEMM_A_BATCH0, m, k)}; break;
  case GEMM_BUFFER_B:
    *out = (pare__buffer_spec){PARE__IN, reach(dim, dim + GEMM_B_BATCH0, k, n)};
    if (dim[GEMM_PANEL] > 0) { /* whole panels; reach() of their first elements, then the rest of the last one */
      const int64_t panels = pare__div_up(n, dim[GEMM_PANEL]);
      int64_t batches = 0;
      for (int b = 0; b < 3; b++) batches += PARE__MAX(dim[GEMM_BATCH0 + b] - 1, 0) * dim[GEMM_B_BATCH0 + b];
      out->elements = batches + panels * dim[GEMM_B_PANEL];
    }
    break;
  case GEMM_BUFFER_BIAS:
    out->role = dim[GEMM_BIAS] ? PARE__IN : PARE__ABSENT;
    out->elements = m == 0 || n == 0 ? 0 : (m - 1) * dim[GEMM_BIAS_ROW] + (n - 1) * dim[GEMM_BIAS_COL] + 1;
    break;
  case GEMM_BUFFER_SUMMAND:
    *out = (pare__buffer_spec){dim[GEMM_SUMMAND] ? PARE__IN : PARE__ABSENT, reach(dim, dim + GEMM_C_BATCH0, m, n)};
    break;
  default:
    /* what lies between the rows of C must stay */
    *out = (pare__buffer_spec){PARE__INOUT, reach(dim, dim + GEMM_C_BATCH0, m, n)};
  }
}

/* ---- the reference ---- */

typedef struct element {
  double value, tolerance;
} element;

/* One element of C. Errors: k roundings of the sum, those of the epilogue, of the activation's polynomials, of the
 * stored dtype. */
static element reference_element(const pare__problem *problem, const double *a, const double *b, double bias,
                                 double summand) {
  const int64_t *dim = problem->dim, b_step = dim[GEMM_B_ROW];
  const pare_dtype dtype = problem->dtype[GEMM_BUFFER_C];
  const bool f64 = dtype == PARE_F64;
  double sum = 0, magnitude = 0;
  for (int64_t l = 0; l < dim[GEMM_K]; l++) {
    const double product = a[l * dim[GEMM_A_COL]] * b[l * b_step];
    sum += product;
    magnitude += fabs(product);
  }
  const double alpha = problem->real[GEMM_ALPHA], beta = problem->real[GEMM_BETA];
  const double epsilon = pare__dtype_epsilon(f64 ? PARE_F64 : PARE_F32);
  double x = alpha * sum + bias, error = (double)(dim[GEMM_K] + 4) * epsilon * fabs(alpha) * magnitude;
  if (beta != 0) x += beta * summand;
  error += 4 * epsilon * (fabs(bias) + fabs(beta * summand));
  const double value =
      pare__reference_activation(dim[GEMM_ACTIVATION], x, problem->real[GEMM_LOW], problem->real[GEMM_HIGH]);
  if (dim[GEMM_ACTIVATION] != 0) error = 1.2 * error + (f64 ? 1e-14 : 1e-6) * (1 + fabs(x));
  error += pare__dtype_epsilon(dtype) * fabs(value) + (dtype == PARE_F16 ? 0x1p-25 : 0);
  return (element){value, error};
}

bool pare__gemm_reference(const pare__problem *problem, void *const *data, double *const *expected,
                          double *const *tolerance) {
  const int64_t *dim = problem->dim, panel = dim[GEMM_PANEL];
  pare__buffer_spec spec[GEMM_NBUFFERS];
  double *value[GEMM_NBUFFERS] = {0};
  bool fine = true;
  for (unsigned i = 0; i < GEMM_NBUFFERS; i++) {
    pare__gemm_buffer(problem, i, &spec[i]);
    if (spec[i].role == PARE__ABSENT) continue;
    value[i] = pare__reference_doubles(problem->dtype[i], data[i], data[i] ? spec[i].elements : 0);
    fine = fine && value[i];
  }
  if (!fine) goto out;
  const int64_t batches = dim[GEMM_BATCH0] * dim[GEMM_BATCH1] * dim[GEMM_BATCH2];
  memcpy(expected[GEMM_BUFFER_C], value[GEMM_BUFFER_C], (size_t)spec[GEMM_BUFFER_C].elements * sizeof(double));
  for (int64_t t = 0; spec[GEMM_BUFFER_C].elements > 0 && t < batches * dim[GEMM_M] * dim[GEMM_N]; t++) {
    const int64_t j = t % dim[GEMM_N], i = t / dim[GEMM_N] % dim[GEMM_M], batch = t / dim[GEMM_N] / dim[GEMM_M];
    const int64_t index[] = {batch / dim[GEMM_BATCH2] / dim[GEMM_BATCH1], batch / dim[GEMM_BATCH2] % dim[GEMM_BATCH1],
                             batch % dim[GEMM_BATCH2]};
    int64_t a = i * dim[GEMM_A_ROW], c = i * dim[GEMM_C_ROW] + j * dim[GEMM_C_COL];
    int64_t b = panel ? j / panel * dim[GEMM_B_PANEL] + j % panel : j * dim[GEMM_B_COL];
    for (int d = 0; d < 3; d++) {
      a += index[d] * dim[GEMM_A_BATCH0 + d];
      b += index[d] * dim[GEMM_B_BATCH0 + d];
      c += index[d] * dim[GEMM_C_BATCH0 + d];
    }
    const double bias = dim[GEMM_BIAS] ? value[GEMM_BUFFER_BIAS][i * dim[GEMM_BIAS_ROW] + j * dim[GEMM_BIAS_COL]] : 0;
    const double summand = value[dim[GEMM_SUMMAND] ? GEMM_BUFFER_SUMMAND : GEMM_BUFFER_C][c];
    const element e = reference_element(problem, value[GEMM_BUFFER_A] + a, value[GEMM_BUFFER_B] + b, bias, summand);
    expected[GEMM_BUFFER_C][c] = e.value;
    tolerance[GEMM_BUFFER_C][c] = e.tolerance;
  }
out:
  for (unsigned i = 0; i < GEMM_NBUFFERS; i++) free(value[i]);
  return fine;
}

/* ---- figures ---- */

void pare__gemm_work(const pare__problem *problem, double *flops, double *bytes) {
  const int64_t *dim = problem->dim;
  const double m = (double)dim[GEMM_M], n = (double)dim[GEMM_N], k = (double)dim[GEMM_K];
  const double batches = (double)dim[GEMM_BATCH0] * (double)dim[GEMM_BATCH1] * (double)dim[GEMM_BATCH2];
  *flops = 2 * m * n * k * batches;
  *bytes = 0;
  for (unsigned i = 0; i < GEMM_NBUFFERS; i++) {
    pare__buffer_spec spec;
    pare__gemm_buffer(problem, i, &spec);
    if (spec.role == PARE__ABSENT) continue;
    const bool twice = i == GEMM_BUFFER_C && problem->real[GEMM_BETA] != 0 && !dim[GEMM_SUMMAND];
    *bytes += (double)spec.elements * (double)pare_dtype_bytes(problem->dtype[i]) * (twice ? 2 : 1);
  }
}

static void describe_dtypes(const pare__problem *problem, char *text, size_t capacity) {
  const char *a = pare_dtype_name(problem->dtype[GEMM_BUFFER_A]), *b = pare_dtype_name(problem->dtype[GEMM_BUFFER_B]);
  const char *c = pare_dtype_name(problem->dtype[GEMM_BUFFER_C]);
  if (strcmp(a, b) == 0 && strcmp(a, c) == 0)
    snprintf(text, capacity, "%s", a);
  else
    snprintf(text, capacity, "%sx%s->%s", a, b, c);
}

void pare__gemm_describe(const pare__problem *problem, char *text, size_t capacity) {
  const int64_t *dim = problem->dim, batches = dim[GEMM_BATCH0] * dim[GEMM_BATCH1] * dim[GEMM_BATCH2];
  char dtypes[40], batch[32] = "";
  describe_dtypes(problem, dtypes, sizeof dtypes);
  if (batches != 1) snprintf(batch, sizeof batch, "%lld*", (long long)batches);
  snprintf(text, capacity, "%s%lldx%lldx%lld %s%s%s%s", batch, (long long)dim[GEMM_M], (long long)dim[GEMM_N],
           (long long)dim[GEMM_K], dtypes, dim[GEMM_PANEL] > 0 ? " packed" : "",
           dim[GEMM_A_COL] != 1 ? " A transposed" : "", dim[GEMM_B_COL] != 1 ? " B transposed" : "");
}

static void class_of(const pare__problem *problem, int64_t rows, char *text, size_t capacity) {
  char dtypes[40];
  describe_dtypes(problem, dtypes, sizeof dtypes);
  snprintf(text, capacity, "%s %s%s", dtypes,
           rows <= 64    ? "few rows"
           : rows <= 512 ? "rows"
                         : "many rows",
           problem->dim[GEMM_PANEL] > 0 ? " packed" : "");
}

void pare__gemm_shape_class(const pare__problem *problem, char *text, size_t capacity) {
  class_of(problem, problem->dim[GEMM_M], text, capacity);
}

void pare__gemm_deciding_class(const pare__problem *problem, char *text, size_t capacity) {
  class_of(problem, pare__gemm_deciding_rows(problem), text, capacity);
}
