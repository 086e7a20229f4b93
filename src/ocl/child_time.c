/* What time a child process has had. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/child_time.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

/* POSIX has a clock for each process; Linux keeps the wait for a processor by threads. */
double pare__child_used(int64_t child) {
  clockid_t clock;
  struct timespec time;
  if (clock_getcpuclockid((pid_t)child, &clock) != 0 || clock_gettime(clock, &time) != 0) return 0;
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The wait of one thread: the second number of its schedstat, in nanoseconds. */
static bool add_wait(int64_t child, const char *thread, double *seconds) {
  char path[80], text[80], *rest = text, *end = text;
  const int length = snprintf(path, sizeof path, "/proc/%lld/task/%s/schedstat", (long long)child, thread);
  FILE *file = length > 0 && (size_t)length < sizeof path ? fopen(path, "re") : NULL;
  if (!file) return false;
  const bool read = fgets(text, sizeof text, file) != NULL;
  (void)fclose(file);
  if (!read) return false;
  (void)strtoull(text, &rest, 10); /* how long it ran */
  const unsigned long long waited = strtoull(rest, &end, 10);
  if (rest == text || end == rest) return false;
  *seconds += 1e-9 * (double)waited;
  return true;
}

double pare__child_waited(int64_t child) {
  char path[40];
  snprintf(path, sizeof path, "/proc/%lld/task", (long long)child);
  DIR *threads = opendir(path);
  double seconds = 0;
  bool told = false;
  if (!threads) return -1;
  for (const struct dirent *entry; (entry = readdir(threads));)
    if (entry->d_name[0] != '.') told = add_wait(child, entry->d_name, &seconds) || told; /* one may end meanwhile */
  closedir(threads);
  return told ? seconds : -1;
}
