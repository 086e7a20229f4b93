/* What something took the last times. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_SCHED_TIMINGS_H
#define PARE_SCHED_TIMINGS_H

#include <stdbool.h>
#include <stddef.h>

#define PARE__TIMINGS 5
/* {0}: none yet. */
typedef struct pare__timings {
  size_t count; /* of all that were added */
  double seconds[PARE__TIMINGS];
} pare__timings;
/* The one that was added longest ago goes. */
void pare__timings_add(pare__timings *timings, double seconds);
bool pare__timings_full(const pare__timings *timings);
/* Of those that are there: one that something else disturbed does not count. 0 if there are none. */
double pare__timings_median(const pare__timings *timings);

#endif
