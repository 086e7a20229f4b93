/* Benchmark server: how fast this machine's memory is from C, all cores. SPDX-License-Identifier: Apache-2.0
 *
 * copy: out[i] = in[i] with non-temporal stores, 8 bytes an element; read: a sum in several accumulators, 4 bytes an
 * element. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define BLOCK 32 /* floats that a step of the loops below takes */

static size_t count;
static float *in, *out;

#if defined(__x86_64__)
static void copy_blocks(size_t begin, size_t end) {
  for (size_t i = begin * BLOCK; i < end * BLOCK; i += 4) _mm_stream_ps(out + i, _mm_load_ps(in + i));
  _mm_sfence();
}
#else
static void copy_blocks(size_t begin, size_t end) {
  memcpy(out + begin * BLOCK, in + begin * BLOCK, (end - begin) * BLOCK * sizeof(float));
}
#endif

typedef float lanes __attribute__((vector_size(32)));

static void read_blocks(size_t begin, size_t end) {
  lanes sums[BLOCK / 8] = {{0}};
  float sum = 0;
  for (size_t i = begin * BLOCK; i < end * BLOCK; i += BLOCK)
    for (size_t j = 0; j < BLOCK / 8; j++) sums[j] += *(const lanes *)(in + i + 8 * j);
  for (size_t j = 0; j < BLOCK / 8; j++)
    for (size_t lane = 0; lane < 8; lane++) sum += sums[j][lane];
  volatile float kept = sum;
  (void)kept;
}

static const char *open_memory(const long *arguments) {
  count = (size_t)arguments[0] / BLOCK * BLOCK;
  in = bench_floats(count);
  out = bench_floats(count);
  return in == NULL || out == NULL ? "out of memory" : NULL;
}

static const char *run_copy(unsigned repeats) {
  const char *problem = NULL;
  for (unsigned i = 0; i < repeats && problem == NULL; i++) problem = bench_on_all_cores(count / BLOCK, copy_blocks);
  return problem;
}

static const char *run_read(unsigned repeats) {
  const char *problem = NULL;
  for (unsigned i = 0; i < repeats && problem == NULL; i++) problem = bench_on_all_cores(count / BLOCK, read_blocks);
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
