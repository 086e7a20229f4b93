/* Benchmark server: how fast ggml quantises, all cores. SPDX-License-Identifier: Apache-2.0
 *
 * quantise_q8, quantise_q4: n floats to q8_0 and q4_0 by what libggml-cpu has for this processor. BENCH_GGML is the
 * path of that library; it is loaded at run time, and of its interface no more is used than stands here. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#include "serve.h"

#define BLOCK 32            /* floats that share a scale */
#define MOST_BLOCK_BYTES 34 /* of q8_0 */
enum { GGML_Q4_0 = 2, GGML_Q8_0 = 8 };

/* How the library's table of a type begins. */
typedef struct type_traits {
  void (*from_float)(const float *in, void *out, int64_t n);
} type_traits;
typedef const type_traits *(*get_traits)(int type);

static size_t count, block_bytes;
static float *in;
static char *out;
static const type_traits *traits;

static const char *open_library(get_traits *found) {
  const char *path = getenv("BENCH_GGML");
  void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!path) return "BENCH_GGML does not name libggml-cpu";
  if (!library) return "libggml-cpu cannot be loaded";
  void (*initialise)(void);
  *(void **)&initialise = dlsym(library, "ggml_cpu_init");
  *(void **)found = dlsym(library, "ggml_get_type_traits_cpu");
  if (!initialise || !*found) return "libggml-cpu lacks ggml_get_type_traits_cpu";
  initialise();
  return NULL;
}

static const char *open_type(const long *arguments, int type, size_t bytes) {
  static get_traits find;
  const char *problem = find ? NULL : open_library(&find);
  if (problem) return problem;
  traits = find(type);
  block_bytes = bytes;
  count = (size_t)arguments[0] / BLOCK * BLOCK;
  in = bench_floats(count);
  out = malloc(count / BLOCK * MOST_BLOCK_BYTES + 1);
  return in && out ? NULL : "out of memory";
}

static const char *open_q8(const long *arguments) { return open_type(arguments, GGML_Q8_0, 34); }
static const char *open_q4(const long *arguments) { return open_type(arguments, GGML_Q4_0, 18); }

static void quantise(size_t begin, size_t end) {
  traits->from_float(in + begin * BLOCK, out + begin * block_bytes, (int64_t)((end - begin) * BLOCK));
}

static const char *run_quantise(unsigned repeats) {
  const char *problem = NULL;
  for (unsigned i = 0; i < repeats && !problem; i++) problem = bench_on_all_cores(count / BLOCK, quantise);
  return problem;
}

static void close_quantise(void) {
  free(in);
  free(out);
  in = NULL;
  out = NULL;
}

int main(void) {
  static const bench_work works[] = {{"quantise_q8", 1, open_q8, run_quantise, close_quantise},
                                     {"quantise_q4", 1, open_q4, run_quantise, close_quantise},
                                     {NULL, 0, NULL, NULL, NULL}};
  return bench_serve(works, false);
}
