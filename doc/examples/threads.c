/* Two threads share a context. SPDX-License-Identifier: Apache-2.0
 *
 *   cc threads.c $(pkg-config --cflags --libs pare) -pthread -o threads && ./threads */
#include <pare.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 96, ROUNDS = 20 };

typedef struct chain_job {
  pare_context *context;
  float factor;
  float corner; /* result */
  pare_status status;
  char message[512]; /* pare_message() belongs to the thread that failed */
} chain_job;

/* corner = (factor I)^ROUNDS [0][0]: a chain of dependent products, submitted without waiting. */
static pare_status chain(chain_job *job) {
  const int64_t shape[] = {SIZE, SIZE};
  static const size_t nbytes = sizeof(float) * SIZE * SIZE;
  pare_tensor *factor = NULL, *product[2] = {NULL, NULL};
  float *matrix = calloc(SIZE * SIZE, sizeof(float));
  pare_status status = matrix ? PARE_OK : PARE_ERR_MEMORY;
  for (int i = 0; matrix && i < SIZE; i++) matrix[i * SIZE + i] = job->factor;
  if (status == PARE_OK) status = pare_tensor_from(job->context, PARE_F32, 2, shape, matrix, nbytes, &factor);
  for (int i = 0; i < 2 && status == PARE_OK; i++)
    status = pare_tensor_from(job->context, PARE_F32, 2, shape, matrix, nbytes, &product[i]);
  for (int i = 1; i < ROUNDS && status == PARE_OK; i++)
    status = pare_gemm(product[(i - 1) % 2], factor, NULL, NULL, product[i % 2]);
  if (status == PARE_OK) status = pare_tensor_read(product[(ROUNDS - 1) % 2], matrix, nbytes);
  if (status == PARE_OK) job->corner = matrix[0];
  pare_tensor_close(factor);
  pare_tensor_close(product[0]);
  pare_tensor_close(product[1]);
  free(matrix);
  return status;
}

static void *work(void *user) {
  chain_job *job = user;
  job->status = chain(job);
  if (job->status != PARE_OK) snprintf(job->message, sizeof job->message, "%s", pare_message());
  return NULL;
}

int main(void) {
  pare_context *context = NULL;
  if (pare_context_open(NULL, &context) != PARE_OK) {
    fprintf(stderr, "threads: %s\n", pare_message());
    return EXIT_FAILURE;
  }
  chain_job jobs[] = {{.context = context, .factor = 1}, {.context = context, .factor = 2}};
  const float expected[] = {1, 1 << ROUNDS};
  pthread_t threads[2];
  int nthreads = 0, result = EXIT_SUCCESS;
  while (nthreads < 2 && pthread_create(&threads[nthreads], NULL, work, &jobs[nthreads]) == 0) nthreads++;
  for (int i = 0; i < nthreads; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 2; i++) {
    printf("thread %d: %.0f\n", i, (double)jobs[i].corner);
    if (jobs[i].status == PARE_OK && jobs[i].corner == expected[i]) continue;
    fprintf(stderr, "threads: %s\n", jobs[i].message);
    result = EXIT_FAILURE;
  }
  pare_context_close(context);
  return result;
}
