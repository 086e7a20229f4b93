/* HGuided: chunks in proportion to each device's speed that shrink towards the end. SPDX-License-Identifier: Apache-2.0
 *
 * chunk = max(m_i, R r_i / (k sum r)): R is what is left, r_i the device's speed as learned up to now, m_i what makes a
 * launch worth its cost, but no more than half of R r_i / sum r (Pérez et al. 2016, after guided self-scheduling,
 * Polychronopoulos & Kuck 1987). Two chunks are in flight a device, so that none waits for the next. Tasks that are not
 * split come from the pool while there are many; the last of them go where they end first. */
#include <math.h>

#include "sched/policy.h"

#define FEW 8       /* tasks that wait for one device; then they wait in the pool */
#define LAUNCHES 10 /* m_i runs for so many times what its launch costs */

static pare_status place(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const bool splits = task->grain < task->n;
  const bool saves = pare__policy_saves(policy);
  const size_t pooled = policy->pool[task->resources].count;
  if (!splits && (saves || pooled == 0)) {
    const size_t device = pare__policy_best(policy, piece, now);
    if (device != PARE__NO_DEVICE && (saves || policy->queue[device].count < FEW)) {
      *wake = device;
      return pare__policy_give(policy, device, piece, now);
    }
  }
  /* A device that found nothing to its taste looks again when there is something at all, and when there is plenty. */
  *wake = splits || pooled == 0 || pooled + 1 == policy->ndevices ? PARE__EVERY_DEVICE : PARE__NO_DEVICE;
  return pare__policy_pool(policy, piece, now);
}

/* Will a device that is busy now be through with this piece earlier? It asks again by itself. */
static bool another_is_earlier(const pare__policy *policy, size_t device, const pare__policy_piece *piece, double now) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const double own = fmax(policy->free_at[device], now) + pare__policy_seconds(policy, device, piece);
  for (size_t i = 0; i < policy->ndevices; i++)
    if (i != device && policy->backlog[i] > 0 && pare__policy_may(policy, i, task) &&
        fmax(policy->free_at[i], now) + pare__policy_seconds(policy, i, piece) < own)
      return true;
  return false;
}

bool pare__policy_cut(pare__policy *policy, size_t device, double now, pare__policy_entry *head,
                      pare__policy_queue *pool, pare__policy_piece *out, size_t *wake) {
  const pare__policy_task *task = pare__policy_task_of(policy, head->piece.task);
  if (!pare__policy_may(policy, device, task) || !pare__policy_is_thrifty(policy, device, task)) return false;
  const size_t at = pare__performance_at(policy->performance, task->kernel, device);
  const double speed = 1 / (policy->performance->b[at] * task->per_step),
               left = (double)(head->piece.end - head->piece.begin),
               own = left * speed / pare__policy_speed(policy, task), fair = own / policy->options.chunks,
               launches =
                   LAUNCHES * pare__performance_launch(policy->performance, task->kernel, device, task->uneven) * speed,
               least = fmin(launches, own / 2);
  const int64_t grain = PARE__MAX(task->grain, 1), most = pare__policy_most_steps(policy, device, task) / grain * grain;
  int64_t steps = pare__round_up((int64_t)fmin(fmax(fmax(fair, least), 1), left), grain);
  steps = PARE__MIN(PARE__MIN(steps, PARE__MAX(most, grain)), head->piece.end - head->piece.begin);
  *out = head->piece;
  out->end = out->begin + steps;
  if (pare__policy_hurries(policy) && policy->pooled == 1 && own < (double)(2 * steps) &&
      another_is_earlier(policy, device, out, now))
    return false;
  head->piece.begin = out->end;
  if (head->piece.begin == head->piece.end) {
    pare__policy_entry gone;
    pare__policy_pop(pool, &gone);
    policy->pooled--;
    if (policy->pooled > 0) *wake = PARE__EVERY_DEVICE; /* some may not have been able to take this one */
  }
  pare__policy_count(policy, device, out, now);
  return true;
}

static bool chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  pare__policy_queue *pool = NULL;
  if (pare__policy_take(policy, device, out)) return true;
  pare__policy_entry *head = pare__policy_pool_head(policy, device, &pool);
  if (!head) return pare__policy_steal(policy, device, now) && pare__policy_take(policy, device, out);
  const pare__policy_task *task = pare__policy_task_of(policy, head->piece.task);
  if (task->grain < task->n) return pare__policy_cut(policy, device, now, head, pool, out, wake);
  return pare__policy_pull(policy, device, now, out, wake);
}

const pare__policy_class pare__policy_hguided = {.name = "hguided",
                                                 .what = "shrinking chunks in proportion to speed, two in flight",
                                                 .place = place,
                                                 .chunk = chunk};
