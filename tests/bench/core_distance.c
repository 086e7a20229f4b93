/* Prints how far the first two cores are from each other. SPDX-License-Identifier: Apache-2.0
 *
 * Two pinned threads pass a cache line to and fro. Prints the nanoseconds of a round trip; 0 where there is one core
 * only. Virtual machines move between neighbouring and distant cores while they run, which changes what synchronisation
 * costs. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#include "serve.h"

enum { TRIPS = 50000 };

static _Alignas(64) atomic_int line;

static bool pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

static void *answer(void *unused) {
  (void)unused;
  pin(1);
  for (int i = 0; i < TRIPS; i++) {
    while (atomic_load(&line) != 2 * i + 1) {}
    atomic_store(&line, 2 * i + 2);
  }
  return NULL;
}

int main(void) {
  pthread_t other;
  if (bench_cores() < 2) {
    puts("0");
    return 0;
  }
  if (pthread_create(&other, NULL, answer, NULL) != 0 || !pin(0)) return 1;
  double start = 0;
  for (int i = 0; i < TRIPS; i++) {
    if (i == TRIPS / 10) start = bench_seconds(); /* the other thread has started */
    atomic_store(&line, 2 * i + 1);
    while (atomic_load(&line) != 2 * i + 2) {}
  }
  printf("%.0f\n", (bench_seconds() - start) / (TRIPS - TRIPS / 10) * 1e9);
  pthread_join(other, NULL);
  return 0;
}
