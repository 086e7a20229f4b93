/* What a bed of several devices reaches without a scheduler. SPDX-License-Identifier: Apache-2.0
 *
 *   serve_by_hand FILE.cl     serves as serve.h says
 *
 * Each device gets one piece (serve_shared.h), and a thread that runs it. Who took longer than the others gets less the
 * next time: after some runs all end together, as far as the bed lets them. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "serve.h"
#include "serve_shared.h"

enum { GRAIN = 64 };

typedef struct part {
  unsigned member;
  int64_t begin, end;
  double seconds;
  const char *problem;
} part;

static double share[MOST_DEVICES]; /* of the rows; their sum is 1 */
static unsigned nlearned;          /* runs */

static const char *open_even(const char *(*open)(const long *), const long *arguments) {
  for (unsigned m = 0; m < shared_members; m++) share[m] = 1.0 / shared_members;
  nlearned = 0;
  return open(arguments);
}
static const char *open_gemm(const long *arguments) { return open_even(shared_open_gemm, arguments); }
static const char *open_rows(const long *arguments) { return open_even(shared_open_rows, arguments); }

static void cut(part *parts) {
  double until = 0;
  for (unsigned m = 0; m < shared_members; m++) {
    until += share[m];
    const int64_t end = llround(until * (double)shared_rows() / GRAIN) * GRAIN;
    parts[m] = (part){.member = m,
                      .begin = m > 0 ? parts[m - 1].end : 0,
                      .end = m + 1 < shared_members && end < shared_rows() ? end : shared_rows()};
  }
}

/* A part of the way to equal times: one run may have been disturbed. */
static void learn(const part *parts) {
  const double way = nlearned++ < 8 ? 0.5 : 0.1;
  double sum = 0;
  for (unsigned m = 0; m < shared_members; m++) {
    share[m] = fmax(share[m], 0.01) / pow(fmax(parts[m].seconds, 1e-6), way);
    sum += share[m];
  }
  for (unsigned m = 0; m < shared_members; m++) share[m] /= sum;
}

static void *run_part(void *argument) {
  part *own = argument;
  const double begin = bench_seconds();
  own->problem = shared_run(own->member, own->begin, own->end);
  own->seconds = bench_seconds() - begin;
  return NULL;
}

static const char *run_once(void) {
  part parts[MOST_DEVICES];
  pthread_t thread[MOST_DEVICES];
  const char *problem = NULL;
  unsigned started = 1;
  cut(parts);
  while (started < shared_members && pthread_create(&thread[started], NULL, run_part, &parts[started]) == 0) started++;
  run_part(&parts[0]);
  for (unsigned m = 1; m < started; m++) pthread_join(thread[m], NULL);
  for (unsigned m = 0; m < started && problem == NULL; m++) problem = parts[m].problem;
  if (started < shared_members) return "cannot create a thread a device";
  learn(parts);
  return problem;
}

static const char *run(unsigned repeats) {
  const char *problem = NULL;
  for (unsigned i = 0; i < repeats && problem == NULL; i++) problem = run_once();
  return problem;
}

int main(int argc, char **argv) {
  static const bench_work works[] = {{"gemm", 3, open_gemm, run, shared_close_work},
                                     {"rows", 3, open_rows, run, shared_close_work},
                                     {NULL, 0, NULL, NULL, NULL}};
  if (argc != 2) return EXIT_FAILURE;
  const char *problem = shared_open(argv[1]);
  if (problem == NULL && bench_serve(works, false) != 0) problem = "serving";
  if (problem != NULL) fprintf(stderr, "serve_by_hand: %s\n", problem);
  shared_close();
  return problem == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
}
