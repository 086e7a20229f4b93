/* Normalises the rows of a matrix, then reduces them. SPDX-License-Identifier: Apache-2.0
 *
 *   cc normalise.c $(pkg-config --cflags --libs pare) -lm -o normalise && ./normalise */
#include <math.h>
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 6, COLUMNS = 1000 };

int main(void) {
  const int64_t shape[] = {ROWS, COLUMNS}, row_shape[] = {ROWS};
  float *values = malloc(sizeof(float) * ROWS * COLUMNS);
  float means[ROWS], squares[ROWS];
  int64_t largest[ROWS];
  pare_context *context = NULL;
  pare_tensor *x = NULL, *mean = NULL, *square = NULL, *arg = NULL;
  int result = EXIT_FAILURE;
  if (!values) goto out;
  for (int row = 0; row < ROWS; row++)
    for (int i = 0; i < COLUMNS; i++)
      values[row * COLUMNS + i] = 100 * (float)row + sinf((float)i * (float)(row + 1)) + (i == 10 * row ? 5 : 0);

  if (pare_context_open(NULL, &context) != PARE_OK) goto out;
  if (pare_tensor_from(context, PARE_F32, 2, shape, values, sizeof(float) * ROWS * COLUMNS, &x) != PARE_OK) goto out;
  if (pare_tensor_create(context, PARE_F32, 1, row_shape, &mean) != PARE_OK) goto out;
  if (pare_tensor_create(context, PARE_F32, 1, row_shape, &square) != PARE_OK) goto out;
  if (pare_tensor_create(context, PARE_I64, 1, row_shape, &arg) != PARE_OK) goto out;

  /* In place, over the last dimension, without scale and bias. Nothing here waits but the reads at the end. */
  const int last = -1;
  if (pare_layer_norm(x, last, NULL, NULL, 1e-5, x, NULL, NULL) != PARE_OK) goto out;
  if (pare_reduce(x, PARE_REDUCTION_MEAN, &last, 1, false, mean) != PARE_OK) goto out;
  if (pare_reduce(x, PARE_REDUCTION_SUM_SQUARE, &last, 1, false, square) != PARE_OK) goto out;
  if (pare_arg_max(x, last, false, false, arg) != PARE_OK) goto out;
  if (pare_tensor_read(mean, means, sizeof means) != PARE_OK) goto out;
  if (pare_tensor_read(square, squares, sizeof squares) != PARE_OK) goto out;
  if (pare_tensor_read(arg, largest, sizeof largest) != PARE_OK) goto out;

  result = EXIT_SUCCESS;
  for (int row = 0; row < ROWS; row++) {
    double variance = (double)squares[row] / COLUMNS;
    printf("row %d: mean %+.4f, variance %.4f, largest at %d\n", row, (double)means[row], variance, (int)largest[row]);
    if (fabsf(means[row]) > 1e-4F || fabs(variance - 1) > 1e-3 || largest[row] != 10 * row) result = EXIT_FAILURE;
  }
out:
  if (result != EXIT_SUCCESS) fprintf(stderr, "normalise: %s\n", pare_message());
  pare_tensor_close(x);
  pare_tensor_close(mean);
  pare_tensor_close(square);
  pare_tensor_close(arg);
  pare_context_close(context);
  free(values);
  return result;
}
