/* dmda, after StarPU (Augonnet et al. 2011): each task goes where finish + copies + energy weigh least.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A task that may be split is divided as the models say, and each device takes its part from the front, in chunks that
 * shrink (guided self-scheduling, Polychronopoulos & Kuck 1987). A device that has nothing left takes from the one that
 * will be through last: a whole piece, or so much of the end of its part that both are through together. So a part
 * stays where it was the last time, with its data, as long as the models are right, and moves as far as they are wrong.
 * Where steps may take unlike times no model says how long a part takes: all devices take chunks from one front, so
 * that what they learn of their speeds is learned of the same steps (HGuided). */
#include <math.h>

#include "sched/policy.h"

#define FEW 2          /* grains for each device */
#define LAUNCHING 0.01 /* of the time that the task takes may go to one launch of each of k chunks */

/* Into how many chunks what is left is cut, the first of which is taken. */
static double chunks_of(const pare__policy *policy, size_t device, const pare__policy_task *task) {
  /* Of so few grains none is worth moving, and pieces of one grain are the least efficient. */
  const bool few = task->n <= FEW * (int64_t)policy->ndevices * PARE__MAX(task->grain, (int64_t)1);
  if (policy->device[device].divides || few) return 1;
  const double seconds = (double)task->n / pare__policy_speed(policy, task);
  const double launch = pare__performance_launch(policy->performance, task->kernel, device, false);
  return fmax(fmin(LAUNCHING * seconds / launch, policy->options.chunks), 1);
}

/* The first chunk of the device's first piece. */
static bool take(pare__policy *policy, size_t device, double now, pare__policy_piece *out) {
  pare__policy_entry *head = pare__policy_head(&policy->queue[device]);
  if (!head) return false;
  const pare__policy_task *task = pare__policy_task_of(policy, head->piece.task);
  const int64_t left = head->piece.end - head->piece.begin;
  int64_t steps = left;
  if (pare__policy_splits(task, head->piece.begin, head->piece.end))
    steps = pare__round_up((int64_t)ceil((double)left / chunks_of(policy, device, task)), PARE__MAX(task->grain, 1));
  if (steps >= left) return pare__policy_take(policy, device, out);
  *out = head->piece;
  out->end = out->begin + steps;
  pare__policy_shorten(policy, device, &head->piece, out->end, left - steps);
  pare__policy_count(policy, device, out, now);
  return true;
}

/* Of what is cut as it goes, if that is older or more urgent than the device's own. */
static bool cut(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  pare__policy_queue *pool = NULL;
  pare__policy_entry *common = pare__policy_pool_head(policy, device, &pool);
  const pare__policy_entry *own = pare__policy_head(&policy->queue[device]);
  return common && (!own || common->key < own->key) && pare__policy_cut(policy, device, now, common, pool, out, wake);
}

static bool chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  if (cut(policy, device, now, out, wake)) return true;
  if (!take(policy, device, now, out) && (!pare__policy_steal(policy, device, now) || !take(policy, device, now, out)))
    return false;
  pare__policy_ran(policy, policy->own, device, out);
  return true;
}

static pare_status place(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  if (task->uneven && pare__policy_splits(task, piece->begin, piece->end)) {
    *wake = PARE__EVERY_DEVICE;
    return pare__policy_pool(policy, piece, now);
  }
  pare__looks *looks = policy->own;
  const size_t device = pare__policy_look(policy, &looks, piece);
  policy->own = looks;
  if (device == PARE__NO_DEVICE) return pare__policy_place_best(policy, piece, now, wake);
  *wake = device;
  return pare__policy_give(policy, device, piece, now);
}

static void close_looks(pare__policy *policy) { pare__looks_close(policy->own); }

const pare__policy_class pare__policy_dmda = {.name = "dmda",
                                              .what = "the device where finish, copies and energy weigh least",
                                              .transfer = 1,
                                              .place = place,
                                              .chunk = chunk,
                                              .close = close_looks};
