/* How long a kernel had a processor, and did not wait for one. SPDX-License-Identifier: Apache-2.0
 *
 * Devices of a test bed share the machine's cores: a kernel that waits until another device's leaves the core is not a
 * kernel that works. Where one thread of the driver runs all kernels of a queue (a part of one core), that thread's
 * processor time says how long a kernel worked. Which thread it is shows by itself: the only one that was busy. */
#ifndef FAULT_PROCESSOR_H
#define FAULT_PROCESSOR_H

#include <time.h>

enum { PROCESSOR_THREADS = 64 };

typedef struct processor_watch {
  double start;
  unsigned count; /* of threads that are watched: the queue's, or all that the process has */
  int thread[PROCESSOR_THREADS];
  double used[PROCESSOR_THREADS]; /* seconds of a processor until the start */
} processor_watch;

/* Seconds; below 0 if there is no such clock. */
double processor_clock(clockid_t clock);
/* Before a kernel of the queue with this number is launched. */
void processor_begin(unsigned long queue, processor_watch *watch);
/* After its end, always: the seconds that it worked, and those since the beginning. The same where the thread is not
 * known. */
double processor_end(unsigned long queue, const processor_watch *watch, double *elapsed);

#endif
