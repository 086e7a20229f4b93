/* Priorities with ageing: one pool, whose first task goes to the next free device. SPDX-License-Identifier: Apache-2.0
 *
 * Waiting raises a task: one of priority p goes before one of priority p + 1 that came ageing_seconds later. So none
 * waits for ever. Nothing is split. */
#include "sched/policy.h"

static pare_status place(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  size_t roomy = 0;
  /* A task that no device can hold in one piece is cut by its memory. */
  while (roomy < policy->ndevices && !(pare__policy_may(policy, roomy, task) &&
                                       pare__policy_most_steps(policy, roomy, task) >= piece->end - piece->begin))
    roomy++;
  *wake = policy->pool[task->resources].count <= policy->ndevices ? PARE__EVERY_DEVICE : PARE__NO_DEVICE;
  return roomy < policy->ndevices ? pare__policy_pool(policy, piece, now) : pare__policy_divide(policy, piece, now);
}

static bool chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  return pare__policy_take(policy, device, out) || pare__policy_pull(policy, device, now, out, wake);
}

const pare__policy_class pare__policy_priority = {
    .name = "priority", .what = "the most urgent first, nothing starves", .place = place, .chunk = chunk};
