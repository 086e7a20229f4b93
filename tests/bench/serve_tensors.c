/* Benchmark servers: the tensors of a run, and products of two of them. SPDX-License-Identifier: Apache-2.0 */
#include "serve_tensors.h"

#include <stdlib.h>

#include "serve.h"

pare_context *context;
pare_tensor *tensors[MAX_TENSORS];
unsigned ntensors;

const char *add_tensor(int rank, const int64_t *shape) {
  size_t count = 1;
  for (int i = 0; i < rank; i++) count *= (size_t)shape[i];
  float *values = bench_floats(count);
  if (values == NULL) return "out of memory";
  pare_status status =
      pare_tensor_from(context, PARE_F32, rank, shape, values, count * sizeof *values, &tensors[ntensors]);
  free(values);
  CHECK(status);
  ntensors++;
  return NULL;
}

void close_tensors(void) {
  while (ntensors > 0) pare_tensor_close(tensors[--ntensors]);
}

const char *open_gemm(const long *arguments) {
  const int64_t m = arguments[0], n = arguments[1], k = arguments[2];
  const char *problem = add_tensor(2, (const int64_t[]){m, k});
  if (problem == NULL) problem = add_tensor(2, (const int64_t[]){k, n});
  if (problem == NULL) problem = add_tensor(2, (const int64_t[]){m, n});
  return problem;
}

const char *run_gemm(unsigned repeats) {
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_gemm(tensors[0], tensors[1], NULL, NULL, tensors[2]));
  CHECK(pare_context_wait(context));
  return NULL;
}
