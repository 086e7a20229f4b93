/* dmda, after StarPU (Augonnet et al. 2011): each task goes where finish + copies + energy weigh least; a device that
 * has nothing takes from the one that will be through last. SPDX-License-Identifier: Apache-2.0 */
#include "sched/policy.h"

static bool chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  (void)wake;
  return pare__policy_take(policy, device, out) || pare__policy_steal(policy, device, now, out);
}

const pare__policy_class pare__policy_dmda = {.name = "dmda",
                                              .what = "the device where finish, copies and energy weigh least",
                                              .transfer = 1,
                                              .place = pare__policy_place_best,
                                              .chunk = chunk};
