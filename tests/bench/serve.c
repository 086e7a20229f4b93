/* A benchmark server: one side of a comparison in a process of its own. SPDX-License-Identifier: Apache-2.0 */
#include "serve.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_RUNS 4096
#define RUN_SECONDS 0.005 /* short work is repeated until one run takes as long */
#define MAX_REPEATS 4096
#define HUGE_PAGE ((size_t)2 << 20)

double bench_seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

unsigned bench_cores(void) {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

float *bench_floats(size_t count) {
  size_t nbytes = (count * sizeof(float) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
  float *values = aligned_alloc(HUGE_PAGE, nbytes);
  if (values == NULL) return NULL;
  madvise(values, nbytes, MADV_HUGEPAGE);
  uint32_t state = 12345;
  for (size_t i = 0; i < count; i++) {
    state = state * 1664525u + 1013904223u;
    values[i] = (float)(state >> 8) / 16777216.0f - 0.5f;
  }
  return values;
}

/* ---- all cores ---- */

#define MAX_THREADS 256

typedef struct share {
  size_t begin, end;
  void (*body)(size_t begin, size_t end);
} share;

static void *run_share(void *argument) {
  const share *part = argument;
  part->body(part->begin, part->end);
  return NULL;
}

const char *bench_on_all_cores(size_t n, void (*body)(size_t begin, size_t end)) {
  pthread_t threads[MAX_THREADS];
  share shares[MAX_THREADS];
  const unsigned ncores = bench_cores() < MAX_THREADS ? bench_cores() : MAX_THREADS;
  unsigned nthreads = 0;
  for (; nthreads < ncores; nthreads++) {
    pthread_attr_t attributes;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(nthreads, &set);
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    shares[nthreads] = (share){n * nthreads / ncores, n * (nthreads + 1) / ncores, body};
    int code = pthread_create(&threads[nthreads], &attributes, run_share, &shares[nthreads]);
    pthread_attr_destroy(&attributes);
    if (code != 0) break;
  }
  for (unsigned i = 0; i < nthreads; i++) pthread_join(threads[i], NULL);
  return nthreads == ncores ? NULL : "cannot create a thread on each core";
}

static void pin_threads(void) {
  DIR *tasks = opendir("/proc/self/task");
  if (tasks == NULL) return;
  unsigned core = 0, ncores = bench_cores();
  for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core++ % ncores, &set);
    sched_setaffinity(atoi(entry->d_name), sizeof set, &set);
  }
  closedir(tasks);
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* How often to repeat the work so that one run is long enough to time. */
static const char *calibrate(const bench_work *work, unsigned *repeats) {
  *repeats = 1;
  for (;;) {
    double start = bench_seconds();
    const char *problem = work->run(*repeats);
    double seconds = bench_seconds() - start;
    if (problem != NULL || seconds >= RUN_SECONDS || *repeats >= MAX_REPEATS) return problem;
    *repeats = seconds * 8 < RUN_SECONDS ? *repeats * 4 : *repeats * 2;
  }
}

static const char *time_runs(const bench_work *work, unsigned repeats, double seconds) {
  static double times[MAX_RUNS];
  unsigned nruns = 0;
  double start = bench_seconds(), before = start;
  do {
    const char *problem = work->run(repeats);
    if (problem != NULL) return problem;
    double after = bench_seconds();
    times[nruns++] = (after - before) / repeats;
    before = after;
  } while (nruns < MAX_RUNS && before - start < seconds);
  qsort(times, nruns, sizeof times[0], compare);
  printf("%.9g %.9g %u\n", times[nruns / 2], times[0], nruns);
  return NULL;
}

static const bench_work *find_work(const bench_work *works, const char *name) {
  for (; works->name != NULL; works++)
    if (strcmp(works->name, name) == 0) return works;
  return NULL;
}

/* Opens the work of a request and warms it up. */
static const char *open_work(const bench_work *work, const long *arguments, bool pin, unsigned *repeats) {
  static bool pinned;
  const char *problem = work->open(arguments);
  if (problem == NULL) problem = work->run(1);
  if (problem == NULL && pin && !pinned) {
    pin_threads();
    pinned = true;
  }
  return problem == NULL ? calibrate(work, repeats) : problem;
}

int bench_serve(const bench_work *works, bool pin) {
  char line[256], name[64], last[256] = "";
  const bench_work *current = NULL;
  unsigned repeats = 1;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin) != NULL) {
    long arguments[BENCH_MAX_ARGUMENTS] = {0};
    double seconds;
    int nread = sscanf(line, "%63s %lf %ld %ld %ld %ld %ld %ld", name, &seconds, &arguments[0], &arguments[1],
                       &arguments[2], &arguments[3], &arguments[4], &arguments[5]);
    const bench_work *work = nread >= 2 ? find_work(works, name) : NULL;
    const char *problem = NULL;
    if (work == NULL || (unsigned)(nread - 2) != work->narguments) {
      puts("none no such work");
      continue;
    }
    if (current == NULL || strcmp(line, last) != 0) {
      if (current != NULL) current->close();
      current = work;
      strcpy(last, line);
      problem = open_work(work, arguments, pin, &repeats);
    }
    if (problem == NULL) problem = time_runs(work, repeats, seconds);
    if (problem != NULL) {
      printf("none %s\n", problem);
      current->close();
      current = NULL;
    }
  }
  if (current != NULL) current->close();
  return 0;
}
