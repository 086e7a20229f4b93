/* Benchmark server: OpenBLAS. SPDX-License-Identifier: Apache-2.0 */
#include <cblas.h>
#include <stdlib.h>

#include "serve.h"

static long m, n, k;
static float *a, *b, *c;

static const char *open_gemm(const long *arguments) {
  m = arguments[0];
  n = arguments[1];
  k = arguments[2];
  a = bench_floats((size_t)(m * k));
  b = bench_floats((size_t)(k * n));
  c = bench_floats((size_t)(m * n));
  return a == NULL || b == NULL || c == NULL ? "out of memory" : NULL;
}

static const char *run_gemm(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++)
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f, a, (blasint)k, b,
                (blasint)n, 0.0f, c, (blasint)n);
  return NULL;
}

static void close_gemm(void) {
  free(a);
  free(b);
  free(c);
  a = b = c = NULL;
}

int main(void) {
  static const bench_work works[] = {{"gemm", 3, open_gemm, run_gemm, close_gemm}, {NULL, 0, NULL, NULL, NULL}};
  return bench_serve(works, true);
}
