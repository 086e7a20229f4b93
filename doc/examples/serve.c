/* Threads share one model: batches of any size, outputs kept on the device, a profile at the end.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   cc serve.c $(pkg-config --cflags --libs pare) -pthread -o serve && ./serve digits.onnx
 *
 * Without an argument: the classifier under tests/data/digits of pare's source tree ($srcdir, or here). */
#include <pare.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3, REQUESTS = 8, PIXELS = 64 };

typedef struct client {
  pare_context *context;
  pare_model *model;
  int number;
  pare_status status;
  char message[512]; /* pare_message() belongs to the thread that failed */
} client;

/* A batch of empty images. */
static pare_status make_batch(pare_context *context, int64_t rows, pare_tensor **out) {
  const int64_t shape[] = {rows, 1, 8, 8};
  const size_t nbytes = (size_t)rows * PIXELS * sizeof(float);
  float *pixels = calloc((size_t)rows * PIXELS, sizeof(float));
  const pare_status status =
      pixels ? pare_tensor_from(context, PARE_F32, 4, shape, pixels, nbytes, out) : PARE_ERR_MEMORY;
  free(pixels);
  return status;
}

/* Every request is a batch of another size; the class of each image is worked out on the device too. */
static pare_status request(client *self, int64_t rows) {
  pare_tensor *images = NULL, *scores = NULL, *classes = NULL;
  int64_t *found = calloc((size_t)rows, sizeof *found);
  pare_status status = found ? make_batch(self->context, rows, &images) : PARE_ERR_MEMORY;
  if (status == PARE_OK) status = pare_model_run(self->model, &images, NULL, &scores);
  if (status == PARE_OK) status = pare_tensor_create(self->context, PARE_I64, 1, &rows, &classes);
  if (status == PARE_OK) status = pare_arg_max(scores, 1, false, false, classes);
  if (status == PARE_OK) status = pare_tensor_read(classes, found, (size_t)rows * sizeof *found); /* waits here */
  for (int64_t i = 1; status == PARE_OK && i < rows; i++)
    if (found[i] != found[0]) status = PARE_ERR_KERNEL; /* equal images, equal classes */
  pare_tensor_close(images);
  pare_tensor_close(scores);
  pare_tensor_close(classes);
  free(found);
  return status;
}

static void *work(void *user) {
  client *self = user;
  for (int i = 0; i < REQUESTS && self->status == PARE_OK; i++)
    self->status = request(self, 1 + (self->number + i) % 4);
  if (self->status != PARE_OK) snprintf(self->message, sizeof self->message, "%s", pare_message());
  return NULL;
}

static pare_status show_profile(pare_context *context, pare_model *model) {
  pare_tensor *images = NULL, *scores = NULL;
  pare_model_step *steps = NULL;
  size_t nsteps = 0;
  pare_status status = make_batch(context, 4, &images);
  if (status == PARE_OK) status = pare_model_profile(model, &images, &scores, &steps, &nsteps);
  for (size_t i = 0; i < nsteps; i++)
    printf("%8.1f us  %-12s %-8s %s\n", steps[i].seconds * 1e6, steps[i].op_type, steps[i].placement, steps[i].output);
  pare_model_steps_free(steps);
  pare_tensor_close(images);
  pare_tensor_close(scores);
  return status;
}

int main(int argc, char **argv) {
  char path[4096];
  const char *tree = getenv("srcdir");
  snprintf(path, sizeof path, "%s/tests/data/digits/digits.onnx", tree ? tree : ".");
  pare_context *context = NULL;
  pare_model *model = NULL;
  pare_status status = pare_context_open(NULL, &context);
  if (status == PARE_OK) status = pare_model_open(context, argc > 1 ? argv[1] : path, NULL, &model);
  client clients[THREADS];
  pthread_t threads[THREADS];
  int nthreads = 0;
  for (int i = 0; i < THREADS && status == PARE_OK; i++) {
    clients[i] = (client){.context = context, .model = model, .number = i};
    if (pthread_create(&threads[i], NULL, work, &clients[i]) != 0) break;
    nthreads++;
  }
  for (int i = 0; i < nthreads; i++) {
    pthread_join(threads[i], NULL);
    if (clients[i].status != PARE_OK) fprintf(stderr, "serve: thread %d: %s\n", i, clients[i].message);
    if (status == PARE_OK) status = clients[i].status;
  }
  if (status == PARE_OK) {
    printf("%d threads had %d requests answered each on %s\n", nthreads, REQUESTS, pare_context_device(context)->name);
    status = show_profile(context, model);
  }
  if (status != PARE_OK) fprintf(stderr, "serve: %s\n", pare_message());
  pare_model_close(model);
  pare_context_close(context);
  return status == PARE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
