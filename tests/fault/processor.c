/* How long a kernel had a processor. SPDX-License-Identifier: Apache-2.0 */
#include "processor.h"

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { QUEUES = 64, VOTES = 3, MOST_TRIES = 60 };
#define LONG_ENOUGH 200e-6 /* a shorter kernel does not tell who ran it */

/* The thread of each queue: found when so many kernels in a row showed the same one. Until then, or until too many
 * showed none, no other watched kernel runs beside one of the queue. */
static pthread_rwlock_t running = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
  int thread;
  unsigned votes, tries;
} found[QUEUES];

double processor_clock(clockid_t clock) {
  struct timespec time;
  return clock_gettime(clock, &time) == 0 ? (double)time.tv_sec + 1e-9 * (double)time.tv_nsec : -1;
}

/* The processor time of a thread of this process, as Linux numbers its clock; below 0 if there is no such thread. */
static double used_by(int thread) { return processor_clock((clockid_t)(~(unsigned)thread << 3 | 6)); }

static void watch_all(processor_watch *watch) {
  DIR *folder = opendir("/proc/self/task");
  for (struct dirent *entry; folder && (entry = readdir(folder)) && watch->count < PROCESSOR_THREADS;) {
    const int thread = atoi(entry->d_name);
    if (thread > 0) watch->thread[watch->count++] = thread;
  }
  if (folder) closedir(folder);
}

void processor_begin(unsigned long queue, processor_watch *watch) {
  bool alone = false;
  watch->count = 0;
  pthread_mutex_lock(&lock);
  if (queue < QUEUES && found[queue].votes >= VOTES)
    watch->thread[watch->count++] = found[queue].thread;
  else
    alone = queue < QUEUES && found[queue].tries++ < MOST_TRIES;
  pthread_mutex_unlock(&lock);
  if (alone)
    pthread_rwlock_wrlock(&running);
  else
    pthread_rwlock_rdlock(&running);
  if (alone) watch_all(watch);
  for (unsigned i = 0; i < watch->count; i++) watch->used[i] = used_by(watch->thread[i]);
  watch->start = processor_clock(CLOCK_MONOTONIC);
}

static void vote(unsigned long queue, int thread) {
  pthread_mutex_lock(&lock);
  if (thread != found[queue].thread) found[queue].votes = 0;
  if (thread == 0) found[queue].tries = 0;
  if (thread != 0) {
    found[queue].thread = thread;
    found[queue].votes++;
  }
  pthread_mutex_unlock(&lock);
}

double processor_end(unsigned long queue, const processor_watch *watch, double *elapsed) {
  double all = 0, most = 0;
  int busiest = 0;
  *elapsed = processor_clock(CLOCK_MONOTONIC) - watch->start;
  pthread_rwlock_unlock(&running);
  for (unsigned i = 0; i < watch->count; i++) {
    const double used = used_by(watch->thread[i]) - watch->used[i];
    all += used;
    if (used <= most) continue;
    most = used;
    busiest = watch->thread[i];
  }
  if (queue >= QUEUES || *elapsed < LONG_ENOUGH) return watch->count == 1 ? most : *elapsed;
  if (watch->count == 1) {
    if (most >= 0.01 * *elapsed) return most;
    vote(queue, 0); /* it went to another thread */
  } else if (most > 0.3 * *elapsed && all - most < 0.2 * most) {
    vote(queue, busiest);
  }
  return *elapsed;
}
