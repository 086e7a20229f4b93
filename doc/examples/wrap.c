/* Works on the caller's own memory, without a copy where device and host share memory.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   cc wrap.c $(pkg-config --cflags --libs pare) -o wrap && ./wrap */
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 4, COLUMNS = 1024 };

int main(void) {
  const int64_t shape[] = {ROWS, COLUMNS}, row_shape[] = {COLUMNS};
  size_t nbytes = sizeof(float) * ROWS * COLUMNS;
  float *image = aligned_alloc(4096, nbytes); /* drivers share whole pages */
  float offsets[COLUMNS];
  pare_context *context = NULL;
  pare_tensor *pixels = NULL, *row = NULL;
  int result = EXIT_FAILURE;
  if (!image) goto out;
  for (int i = 0; i < ROWS * COLUMNS; i++) image[i] = (float)i;
  for (int i = 0; i < COLUMNS; i++) offsets[i] = (float)-i;

  if (pare_context_open(NULL, &context) != PARE_OK) goto out;
  if (pare_tensor_wrap(context, PARE_F32, 2, shape, image, nbytes, &pixels) != PARE_OK) goto out;
  if (pare_tensor_from(context, PARE_F32, 1, row_shape, offsets, sizeof offsets, &row) != PARE_OK) goto out;

  /* The row broadcasts over the rows of the image; the result goes where the image was. */
  if (pare_binary(PARE_BINARY_add, pixels, row, pixels) != PARE_OK) goto out;
  if (pare_tensor_sync(pixels) != PARE_OK) goto out; /* from here on the memory is ours until the next operation */

  result = EXIT_SUCCESS;
  for (int i = 0; i < ROWS * COLUMNS; i++)
    if (image[i] != (float)(i / COLUMNS * COLUMNS)) result = EXIT_FAILURE;
  printf("rows begin with %g %g %g %g; %s\n", (double)image[0], (double)image[COLUMNS], (double)image[2 * COLUMNS],
         (double)image[3 * COLUMNS],
         pare_context_device(context)->can.unified_memory ? "no copy was made" : "the device has its own memory");
out:
  if (result != EXIT_SUCCESS) fprintf(stderr, "wrap: %s\n", pare_message());
  pare_tensor_close(pixels); /* before the memory goes */
  pare_tensor_close(row);
  pare_context_close(context);
  free(image);
  return result;
}
