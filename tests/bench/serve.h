/* A benchmark server: one side of a comparison in a process of its own. SPDX-License-Identifier: Apache-2.0
 *
 * It reads lines "WORK SECONDS ARGUMENT…" from standard input and answers each with one line: "MEDIAN BEST RUNS"
 * (seconds a run, number of timed runs), or "none REASON" if it cannot do the work. The same line again times the same
 * data again, so that a driver can interleave several servers in slices. */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <stdbool.h>
#include <stddef.h>

#define BENCH_MAX_ARGUMENTS 6

typedef struct bench_work {
  const char *name; /* NULL ends the table */
  unsigned narguments;
  /* Makes the data. Returns NULL, or why it cannot. */
  const char *(*open)(const long *arguments);
  /* Does the work `repeats` times; all of it is done on return. NULL, or what failed. */
  const char *(*run)(unsigned repeats);
  void (*close)(void);
} bench_work;

/* Serves until the end of standard input; returns the exit status of main. `pin` true: after the first run all threads
 * of the process are pinned, one a core in turn, the main thread to the first (for peers that cannot do it themselves).
 */
int bench_serve(const bench_work *works, bool pin);

/* Splits [0, n) evenly over a thread on each core. NULL, or what failed. */
const char *bench_on_all_cores(size_t n, void (*body)(size_t begin, size_t end));

double bench_seconds(void);
unsigned bench_cores(void);
/* Memory on huge pages, filled with uniform values in [-0.5, 0.5]; NULL if there is none. Free with free(). */
float *bench_floats(size_t count);

#endif
