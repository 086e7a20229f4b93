/* One product of two matrices, from nothing to its result in host memory. SPDX-License-Identifier: Apache-2.0
 *
 * Prints the result's sum. bench.py measures this process, in a fresh home folder and again; tests/test_first_result.sh
 * checks what it does with the cache. */
#include <pare.h>
#include <stdio.h>

enum { SIZE = 256 };

static pare_status compute(pare_context *context, float *values) {
  pare_tensor *a = NULL, *b = NULL, *c = NULL;
  const int64_t shape[] = {SIZE, SIZE};
  const size_t nbytes = SIZE * SIZE * sizeof *values;
  for (int i = 0; i < SIZE * SIZE; i++) values[i] = (float)(i % 7);
  pare_status status = pare_tensor_from(context, PARE_F32, 2, shape, values, nbytes, &a);
  if (status == PARE_OK) status = pare_tensor_from(context, PARE_F32, 2, shape, values, nbytes, &b);
  if (status == PARE_OK) status = pare_tensor_create(context, PARE_F32, 2, shape, &c);
  if (status == PARE_OK) status = pare_gemm(a, b, NULL, NULL, c);
  if (status == PARE_OK) status = pare_tensor_read(c, values, nbytes);
  pare_tensor_close(a);
  pare_tensor_close(b);
  pare_tensor_close(c);
  return status;
}

int main(void) {
  static float values[SIZE * SIZE];
  pare_context *context = NULL;
  double sum = 0;
  pare_status status = pare_context_open(NULL, &context);
  if (status == PARE_OK) status = compute(context, values);
  pare_context_close(context);
  if (status != PARE_OK) {
    fprintf(stderr, "first_result: %s\n", pare_message());
    return 4;
  }
  for (int i = 0; i < SIZE * SIZE; i++) sum += values[i];
  printf("%.0f\n", sum);
  return 0;
}
