/* Round robin: each device in turn, however fast it is. The plain reference. SPDX-License-Identifier: Apache-2.0
 *
 * A task that may be split goes as equal pieces, one a device. */
#include "sched/policy.h"

/* The next device, in turn, that may run the task. */
static size_t next_device(pare__policy *policy, const pare__policy_task *task) {
  size_t turn = (size_t)(uintptr_t)policy->own;
  if (turn >= policy->ndevices) turn = 0;
  while (!pare__policy_may(policy, turn, task))
    if (++turn == policy->ndevices) turn = 0;
  policy->own = (void *)(uintptr_t)(turn + 1);
  return turn;
}

static pare_status place(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const int64_t grain = PARE__MAX(task->grain, 1);
  int64_t count = 0, begin = piece->begin;
  for (size_t i = 0; i < policy->ndevices; i++) count += pare__policy_may(policy, i, task);
  const int64_t each = pare__round_up(pare__div_up(piece->end - piece->begin, count), grain);
  while (begin < piece->end) {
    const size_t device = next_device(policy, task);
    const int64_t most = PARE__MAX(pare__policy_most_steps(policy, device, task) / grain * grain, grain),
                  end = PARE__MIN(begin + PARE__MIN(each, most), piece->end);
    const pare__policy_piece part = {.task = piece->task, .begin = begin, .end = end};
    PARE__TRY(pare__policy_give(policy, device, &part, now));
    begin = end;
  }
  *wake = PARE__EVERY_DEVICE;
  return PARE_OK;
}

static bool chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  (void)now;
  (void)wake;
  return pare__policy_take(policy, device, out);
}

const pare__policy_class pare__policy_round_robin = {
    .name = "round-robin", .what = "each device in turn", .weighs_nothing = true, .place = place, .chunk = chunk};
