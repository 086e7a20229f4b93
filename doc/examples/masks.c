/* Prunes by scores of one's own, keeps the mask in a file, and applies it again after the weights have changed.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   cc masks.c $(pkg-config --cflags --libs pare) -lm -o masks && ./masks */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* mkstemps */
#endif
#include <math.h>
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OUTPUTS = 8, INPUTS = 64, COUNT = OUTPUTS * INPUTS };

/* |w| times the norm of what the input has: Wanda (arXiv 2306.11695). Any numbers are scores. */
static void score(const float *w, float *scores) {
  for (int i = 0; i < COUNT; i++) scores[i] = fabsf(w[i]) * (1 + (float)(i % INPUTS % 5));
}

/* The mask as a file of numpy's: one byte an element. */
static pare_status keep(pare_tensor *mask, const char *path) {
  unsigned char bytes[COUNT];
  const pare_array array = {.name = "layer.mask",
                            .dtype = PARE_BOOL,
                            .dtype_name = "bool",
                            .rank = 2,
                            .dim = {OUTPUTS, INPUTS},
                            .data = bytes,
                            .nbytes = sizeof bytes};
  const pare_status status = pare_tensor_read(mask, bytes, sizeof bytes);
  return status == PARE_OK ? pare_arrays_write(path, 1, &array, true) : status;
}

static pare_status load(pare_context *context, const char *path, pare_tensor **mask) {
  pare_arrays *file = NULL;
  pare_array array;
  pare_status status = pare_arrays_open(path, &file);
  if (status == PARE_OK) status = pare_arrays_get(file, 0, &array);
  if (status == PARE_OK)
    status = pare_tensor_from(context, PARE_BOOL, array.rank, array.dim, array.data, array.nbytes, mask);
  pare_arrays_close(file);
  return status;
}

int main(void) {
  static float w[COUNT], scores[COUNT], before[COUNT], after[COUNT];
  const int64_t shape[] = {OUTPUTS, INPUTS};
  char path[] = "masks-XXXXXX.npz";
  pare_context *context = NULL;
  pare_tensor *weights = NULL, *score_tensor = NULL, *mask = NULL, *kept = NULL, *step = NULL;
  int result = EXIT_FAILURE, file = mkstemps(path, 4), nzeros = 0, nmoved = 0;
  if (file < 0) return result;
  close(file);
  for (int i = 0; i < COUNT; i++) w[i] = sinf((float)(i * i) * 0.37F);
  score(w, scores);

  if (pare_context_open(NULL, &context) != PARE_OK) goto out;
  if (pare_tensor_from(context, PARE_F32, 2, shape, w, sizeof w, &weights) != PARE_OK) goto out;
  if (pare_tensor_from(context, PARE_F32, 2, shape, scores, sizeof scores, &score_tensor) != PARE_OK) goto out;
  if (pare_tensor_create(context, PARE_BOOL, 2, shape, &mask) != PARE_OK) goto out;

  /* 2 of 4 neighbours along the inputs: those with the best scores. */
  if (pare_mask_n_of_m(score_tensor, false, 1, 2, 4, mask) != PARE_OK) goto out;
  if (pare_mask_apply(weights, mask, weights) != PARE_OK) goto out;
  if (pare_tensor_read(weights, before, sizeof before) != PARE_OK) goto out;
  if (keep(mask, path) != PARE_OK) goto out;

  /* A step of training changes all weights; the mask from the file makes them as sparse as they were. */
  if (load(context, path, &kept) != PARE_OK) goto out;
  if (pare_tensor_create(context, PARE_F32, 2, shape, &step) != PARE_OK) goto out;
  if (pare_random_normal(1, 0, 0, 0.01, step) != PARE_OK) goto out;
  if (pare_binary(PARE_BINARY_add, weights, step, weights) != PARE_OK) goto out;
  if (pare_mask_apply(weights, kept, weights) != PARE_OK) goto out;
  if (pare_tensor_read(weights, after, sizeof after) != PARE_OK) goto out;

  result = EXIT_SUCCESS;
  for (int i = 0; i < COUNT; i++) {
    nzeros += after[i] == 0;
    nmoved += before[i] != 0 && after[i] != before[i];
    if (before[i] == 0 && after[i] != 0) result = EXIT_FAILURE;
  }
  printf("%d of %d weights are zero, %d have moved\n", nzeros, COUNT, nmoved);
  if (nzeros != COUNT / 2 || nmoved < COUNT / 2 - COUNT / 20) result = EXIT_FAILURE;
out:
  if (result != EXIT_SUCCESS) fprintf(stderr, "masks: %s\n", pare_message());
  unlink(path);
  pare_tensor_close(weights);
  pare_tensor_close(score_tensor);
  pare_tensor_close(mask);
  pare_tensor_close(kept);
  pare_tensor_close(step);
  pare_context_close(context);
  return result;
}
