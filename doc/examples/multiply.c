/* Multiplies two matrices on the first selected device. SPDX-License-Identifier: Apache-2.0
 *
 *   cc multiply.c $(pkg-config --cflags --libs pare) -o multiply && ./multiply */
#include <math.h>
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>

enum { M = 64, K = 300, N = 50 };

int main(void) {
  const int64_t a_shape[] = {M, K}, b_shape[] = {K, N}, c_shape[] = {M, N};
  float *a = malloc(sizeof(float) * M * K), *b = malloc(sizeof(float) * K * N), *c = malloc(sizeof(float) * M * N);
  pare_context *context = NULL;
  pare_tensor *ta = NULL, *tb = NULL, *tc = NULL;
  int result = EXIT_FAILURE;
  if (!a || !b || !c) goto out;
  for (int i = 0; i < M * K; i++) a[i] = (float)(i % 7 - 3);
  for (int i = 0; i < K * N; i++) b[i] = (float)(i % 5 - 2);

  /* NULL: the devices that PARE_DEVICE names, else all GPUs, else the CPU. */
  if (pare_context_open(NULL, &context) != PARE_OK) goto out;
  if (pare_tensor_from(context, PARE_F32, 2, a_shape, a, sizeof(float) * M * K, &ta) != PARE_OK) goto out;
  if (pare_tensor_from(context, PARE_F32, 2, b_shape, b, sizeof(float) * K * N, &tb) != PARE_OK) goto out;
  if (pare_tensor_create(context, PARE_F32, 2, c_shape, &tc) != PARE_OK) goto out;

  /* Submits and returns; the read waits. */
  if (pare_gemm(ta, tb, NULL, NULL, tc) != PARE_OK) goto out;
  if (pare_tensor_read(tc, c, sizeof(float) * M * N) != PARE_OK) goto out;

  double worst = 0;
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      double sum = 0;
      for (int k = 0; k < K; k++) sum += (double)a[m * K + k] * (double)b[k * N + n];
      worst = fmax(worst, fabs(sum - (double)c[m * N + n]));
    }
  printf("%dx%dx%d on %s: worst error %g\n", M, N, K, pare_context_device(context)->name, worst);
  if (worst == 0) result = EXIT_SUCCESS; /* small integers: exact */
out:
  if (result != EXIT_SUCCESS) fprintf(stderr, "multiply: %s\n", pare_message());
  pare_tensor_close(ta);
  pare_tensor_close(tb);
  pare_tensor_close(tc);
  pare_context_close(context);
  free(a);
  free(b);
  free(c);
  return result;
}
