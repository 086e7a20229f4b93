/* Which executor is shorter: predicted from what plain launches take, then found by timing both.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "sched/replay.h"

/* What a dependent launch costs beyond its work, at least: PoCL 8 to 26 us, Intel's runtime 3 to 4; and a ticket, at
 * most. */
#define LAUNCH_SECONDS 4e-6
#define TICKET_SECONDS 1.3e-6
/* A program is built for no less than this part of a run: where the work of each launch is large, what tickets save is
 * lost in how they share the caches. */
#define LEAST_GAIN 0.005

bool pare__tickets_predicted(const pare__stretches *stretches, double launches_seconds, char *why, size_t capacity) {
  double saved = 0;
  for (size_t i = 0; i < stretches->count; i++) {
    const pare__stretch *stretch = &stretches->stretch[i];
    saved += (double)(stretch->end_step - stretch->first_step - 1) * (LAUNCH_SECONDS - TICKET_SECONDS);
  }
  const bool worth_it = saved > LEAST_GAIN * launches_seconds;
  snprintf(why, capacity, "predicted: tickets save about %.3g of %.3g ms%s", 1e3 * saved, 1e3 * launches_seconds,
           worth_it ? "" : ", too little");
  return worth_it;
}

bool pare__tickets_shorter(const pare__timings *launches, const pare__timings *tickets, char *why, size_t capacity) {
  const double plain = pare__timings_median(launches), ticketed = pare__timings_median(tickets);
  snprintf(why, capacity, "timed: %.3g ms as launches, %.3g ms with tickets", 1e3 * plain, 1e3 * ticketed);
  return ticketed < plain;
}
