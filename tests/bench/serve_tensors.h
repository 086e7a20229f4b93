/* Benchmark servers: the tensors of a run, and products of two of them. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_BENCH_SERVE_TENSORS_H
#define TESTS_BENCH_SERVE_TENSORS_H

#include <pare.h>

/* In functions that give NULL, or what is wrong. */
#define CHECK(call)                               \
  do {                                            \
    if ((call) != PARE_OK) return pare_message(); \
  } while (0)

enum { MAX_TENSORS = 6 };

extern pare_context *context;             /* opened by the server */
extern pare_tensor *tensors[MAX_TENSORS]; /* closed by close_tensors */
extern unsigned ntensors;

/* One more, of uniform values. */
const char *add_tensor(int rank, const int64_t *shape);
void close_tensors(void);

/* a b and the product: m n k. */
const char *open_gemm(const long *arguments);
const char *run_gemm(unsigned repeats);

#endif
