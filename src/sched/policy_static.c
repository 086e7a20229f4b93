/* Static: the performance model decides once, when a task is ready. SPDX-License-Identifier: Apache-2.0 */
#include "sched/policy.h"

static bool chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  (void)now;
  (void)wake;
  return pare__policy_take(policy, device, out);
}

const pare__policy_class pare__policy_static = {
    .name = "static", .what = "divided once, by predicted time", .place = pare__policy_place_best, .chunk = chunk};
