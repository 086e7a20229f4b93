/* Benchmark servers: pieces of one work on several devices. SPDX-License-Identifier: Apache-2.0
 *
 * Each device has all tensors of its own, and a piece is pare's operation on views of some rows of them: so the kernels
 * are the ones that serve_sched runs, nothing is copied, and what differs is who decides. */
#ifndef TESTS_BENCH_SERVE_SHARED_H
#define TESTS_BENCH_SERVE_SHARED_H

#include <stdint.h>

enum { MOST_DEVICES = 8 };

extern unsigned shared_members;

/* Opens `context`. What failed, or NULL, as all functions here. */
const char *shared_open(const char *kernel_file);
void shared_close(void);
/* For bench_work: a product of m n k; a user's kernel over rows steps spread. */
const char *shared_open_gemm(const long *arguments);
const char *shared_open_rows(const long *arguments);
void shared_close_work(void);
int64_t shared_rows(void);
/* Runs rows [begin, end) on the device and waits for it; one thread a device. */
const char *shared_run(unsigned member, int64_t begin, int64_t end);

#endif
