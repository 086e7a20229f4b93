/* Reads handwritten digits: an ONNX model, its inputs from an .npz file. SPDX-License-Identifier: Apache-2.0
 *
 *   cc classify.c $(pkg-config --cflags --libs pare) -o classify && ./classify digits.onnx digits_test.npz
 *
 * Without arguments: the classifier under tests/data/digits of pare's source tree ($srcdir, or here). */
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 10 };

/* A tensor of the array with this name; NULL, with a message, if that fails. */
static pare_tensor *load(pare_context *context, pare_arrays *file, const char *name) {
  size_t index;
  pare_array array;
  pare_tensor *tensor = NULL;
  if (!pare_arrays_find(file, name, &index)) {
    fprintf(stderr, "classify: the file has no array '%s'\n", name);
    return NULL;
  }
  if (pare_arrays_get(file, index, &array) != PARE_OK ||
      pare_tensor_from(context, array.dtype, array.rank, array.dim, array.data, array.nbytes, &tensor) != PARE_OK)
    fprintf(stderr, "classify: %s\n", pare_message());
  return tensor;
}

/* How many rows of scores are largest at the label. */
static size_t count_right(const float *scores, const pare_array *labels, size_t rows) {
  size_t right = 0;
  for (size_t row = 0; row < rows; row++) {
    int best = 0;
    for (int c = 1; c < CLASSES; c++)
      if (scores[row * CLASSES + (size_t)c] > scores[row * CLASSES + (size_t)best]) best = c;
    right += best == (int)pare_array_number(labels, row);
  }
  return right;
}

int main(int argc, char **argv) {
  char model_path[4096], data_path[4096];
  const char *tree = getenv("srcdir");
  snprintf(model_path, sizeof model_path, "%s/tests/data/digits/digits.onnx", tree ? tree : ".");
  snprintf(data_path, sizeof data_path, "%s/tests/data/digits/digits_test.npz", tree ? tree : ".");
  pare_context *context = NULL;
  pare_model *model = NULL;
  pare_arrays *data = NULL;
  pare_tensor *image = NULL, *logits = NULL;
  float *scores = NULL;
  int result = EXIT_FAILURE;

  if (pare_context_open(NULL, &context) != PARE_OK) goto out;
  if (pare_model_open(context, argc > 1 ? argv[1] : model_path, NULL, &model) != PARE_OK) goto out;
  if (pare_arrays_open(argc > 2 ? argv[2] : data_path, &data) != PARE_OK) goto out;
  pare_model_value input;
  if (pare_model_input(model, 0, &input) != PARE_OK) goto out;
  image = load(context, data, input.name);
  if (!image) goto out;

  /* The first run plans the model for this batch; later ones of the same shape only submit the work. */
  if (pare_model_run(model, &image, NULL, &logits) != PARE_OK) goto out;
  const size_t nbytes = (size_t)pare_tensor_elements(logits) * sizeof *scores;
  scores = malloc(nbytes);
  if (!scores || pare_tensor_read(logits, scores, nbytes) != PARE_OK) goto out;

  size_t index;
  pare_array labels;
  if (!pare_arrays_find(data, "labels", &index) || pare_arrays_get(data, index, &labels) != PARE_OK) goto out;
  const size_t rows = (size_t)pare_tensor_shape(logits)[0], right = count_right(scores, &labels, rows);
  printf("%zu of %zu digits read right on %s\n", right, rows, pare_context_device(context)->name);
  if (right * 100 >= rows * 95) result = EXIT_SUCCESS;

out:
  if (result != EXIT_SUCCESS) fprintf(stderr, "classify: %s\n", pare_message());
  free(scores);
  pare_tensor_close(image);
  pare_tensor_close(logits);
  pare_arrays_close(data);
  pare_model_close(model);
  pare_context_close(context);
  return result;
}
