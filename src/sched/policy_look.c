/* Looks at devices that models keep from work. SPDX-License-Identifier: Apache-2.0
 *
 * A device that seems slow at a kernel gets none of its tasks that are not split, so that nothing would ever show that
 * it is not, or not any more. Therefore one that waits gets such a task now and then all the same: when the kernel has
 * run so long since the device last ran it that what this one may take longer is a small part of that. */
#include <math.h>
#include <stdlib.h>

#include "sched/policy.h"

#define COST 0.02          /* of the kernel's seconds since the last look may go to one */
#define DOUBTFUL_COST 0.25 /* while few samples are all that is known */
#define PAUSE 8            /* pieces at least, from one search for such a device to the next */
#define SEARCHED 4 /* devices for each of these pieces, at most: one of hundreds takes longer than a placement */

struct pare__looks {
  size_t nkernels;
  double *ran;  /* of each kernel, seconds on all devices */
  double *next; /* of each kernel, what `ran` is at the next search */
  double *at;   /* of each line, what `ran` was when the device had the kernel last */
};

void pare__looks_close(pare__looks *looks) {
  if (!looks) return;
  free(looks->ran);
  free(looks->next);
  free(looks->at);
  free(looks);
}

static pare_status grow(double **array, size_t before, size_t count) {
  double *more = realloc(*array, (count + 1) * sizeof *more);
  if (!more) return pare__fail_memory("looks at devices", count * sizeof *more);
  for (size_t i = before; i < count; i++) more[i] = 0;
  *array = more;
  return PARE_OK;
}

static pare_status know_kernels(const pare__policy *policy, pare__looks **out) {
  const size_t nkernels = policy->performance->nkernels, ndevices = policy->ndevices;
  pare__looks *looks = *out;
  if (!looks) looks = *out = calloc(1, sizeof *looks);
  if (!looks) return pare__fail_memory("looks at devices", sizeof *looks);
  if (looks->nkernels >= nkernels) return PARE_OK;
  PARE__TRY(grow(&looks->ran, looks->nkernels, nkernels));
  PARE__TRY(grow(&looks->next, looks->nkernels, nkernels));
  PARE__TRY(grow(&looks->at, looks->nkernels * ndevices, nkernels * ndevices));
  looks->nkernels = nkernels;
  return PARE_OK;
}

/* What `ran` must be for a look at the device, where the piece takes so many seconds. */
static double due_at(const pare__policy *policy, const pare__looks *looks, size_t device, uint32_t kernel,
                     double seconds) {
  const double may_cost = pare__performance_doubtful(policy->performance, kernel, device) ? DOUBTFUL_COST : COST;
  return looks->at[pare__performance_at(policy->performance, kernel, device)] + seconds / may_cost;
}

static size_t find_due(const pare__policy *policy, pare__looks *looks, const pare__policy_piece *piece) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const double ran = looks->ran[task->kernel];
  double least = INFINITY, shortest = INFINITY;
  size_t found = PARE__NO_DEVICE;
  for (size_t i = 0; i < policy->ndevices; i++) {
    if (!pare__policy_may(policy, i, task)) continue;
    const double seconds = pare__policy_seconds(policy, i, piece),
                 due = due_at(policy, looks, i, task->kernel, seconds);
    shortest = fmin(shortest, seconds);
    if (found == PARE__NO_DEVICE && policy->npieces[i] == 0 && due <= ran &&
        pare__policy_most_steps(policy, i, task) >= piece->end - piece->begin)
      found = i;
    else
      least = fmin(least, due);
  }
  looks->next[task->kernel] = fmax(least, ran + fmax(PAUSE, (double)policy->ndevices / SEARCHED) * shortest);
  return found;
}

size_t pare__policy_look(const pare__policy *policy, pare__looks **looks, const pare__policy_piece *piece) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  if (policy->ndevices < 2 || !pare__policy_hurries(policy) || pare__policy_splits(task, piece->begin, piece->end) ||
      know_kernels(policy, looks) != PARE_OK || (*looks)->ran[task->kernel] < (*looks)->next[task->kernel])
    return PARE__NO_DEVICE;
  return find_due(policy, *looks, piece);
}

void pare__policy_ran(const pare__policy *policy, pare__looks *looks, size_t device, const pare__policy_piece *piece) {
  const uint32_t kernel = pare__policy_task_of(policy, piece->task)->kernel;
  if (!looks || kernel >= looks->nkernels) return;
  looks->ran[kernel] += piece->seconds;
  looks->at[pare__performance_at(policy->performance, kernel, device)] = looks->ran[kernel];
}
