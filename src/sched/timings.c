/* What something took the last times. SPDX-License-Identifier: Apache-2.0 */
#include "sched/timings.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

void pare__timings_add(pare__timings *timings, double seconds) {
  timings->seconds[timings->count++ % PARE__TIMINGS] = seconds;
}

bool pare__timings_full(const pare__timings *timings) { return timings->count >= PARE__TIMINGS; }

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double pare__timings_median(const pare__timings *timings) {
  double sorted[PARE__TIMINGS];
  const size_t count = PARE__MIN(timings->count, (size_t)PARE__TIMINGS);
  memcpy(sorted, timings->seconds, sizeof sorted);
  qsort(sorted, count, sizeof *sorted, by_value);
  return count > 0 ? sorted[count / 2] : 0;
}
