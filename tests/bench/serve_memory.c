/* Benchmark server: how fast this machine's memory is from C, all cores. SPDX-License-Identifier: Apache-2.0
 *
 * copy: out[i] = in[i] with non-temporal stores, 8 bytes an element; read: a sum in several accumulators, 4 bytes an
 * element. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define MAX_THREADS 256
#define BLOCK 32 /* floats that a step of the loops below takes */

static size_t count;
static float *in, *out;

typedef struct range {
  size_t begin, end;
  float sum;
} range;
typedef void *(*thread_body)(void *range);

#if defined(__x86_64__)
static void *copy_range(void *argument) {
  range *part = argument;
  for (size_t i = part->begin; i < part->end; i += 4) _mm_stream_ps(out + i, _mm_load_ps(in + i));
  _mm_sfence();
  return NULL;
}
#else
static void *copy_range(void *argument) {
  range *part = argument;
  memcpy(out + part->begin, in + part->begin, (part->end - part->begin) * sizeof(float));
  return NULL;
}
#endif

typedef float lanes __attribute__((vector_size(32)));

static void *read_range(void *argument) {
  range *part = argument;
  lanes sums[BLOCK / 8] = {{0}};
  for (size_t i = part->begin; i < part->end; i += BLOCK)
    for (size_t j = 0; j < BLOCK / 8; j++) sums[j] += *(const lanes *)(in + i + 8 * j);
  for (size_t j = 0; j < BLOCK / 8; j++)
    for (size_t lane = 0; lane < 8; lane++) part->sum += sums[j][lane];
  return NULL;
}

static const char *on_all_cores(thread_body body) {
  pthread_t threads[MAX_THREADS];
  range ranges[MAX_THREADS] = {{0, 0, 0}};
  unsigned ncores = bench_cores() < MAX_THREADS ? bench_cores() : MAX_THREADS, nthreads = 0;
  size_t nblocks = count / BLOCK;
  for (; nthreads < ncores; nthreads++) {
    pthread_attr_t attributes;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(nthreads, &set);
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    ranges[nthreads].begin = nblocks * nthreads / ncores * BLOCK;
    ranges[nthreads].end = nblocks * (nthreads + 1) / ncores * BLOCK;
    int code = pthread_create(&threads[nthreads], &attributes, body, &ranges[nthreads]);
    pthread_attr_destroy(&attributes);
    if (code != 0) break;
  }
  volatile float sum = 0;
  for (unsigned i = 0; i < nthreads; i++) {
    pthread_join(threads[i], NULL);
    sum += ranges[i].sum;
  }
  return nthreads == ncores ? NULL : "cannot create a thread on each core";
}

static const char *open_memory(const long *arguments) {
  count = (size_t)arguments[0] / BLOCK * BLOCK;
  in = bench_floats(count);
  out = bench_floats(count);
  return in == NULL || out == NULL ? "out of memory" : NULL;
}

static const char *run_copy(unsigned repeats) {
  const char *problem = NULL;
  for (unsigned i = 0; i < repeats && problem == NULL; i++) problem = on_all_cores(copy_range);
  return problem;
}

static const char *run_read(unsigned repeats) {
  const char *problem = NULL;
  for (unsigned i = 0; i < repeats && problem == NULL; i++) problem = on_all_cores(read_range);
  return problem;
}

static void close_memory(void) {
  free(in);
  free(out);
  in = out = NULL;
}

int main(void) {
  static const bench_work works[] = {{"copy", 1, open_memory, run_copy, close_memory},
                                     {"read", 1, open_memory, run_read, close_memory},
                                     {NULL, 0, NULL, NULL, NULL}};
  return bench_serve(works, false);
}
