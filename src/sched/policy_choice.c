/* How policies choose: the device that weighs least, division of a load, stealing. SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>
#include <stdlib.h>

#include "sched/policy.h"

#define SCARCE 4         /* tasks a device in the pool: with fewer, each goes where it ends first */
#define WORTH_MOVING 0.1 /* of the time until the other device is through: less moves nothing, so that none swings */

#define TOGETHER 16 /* devices that are looked at side by side */

/* The copies that a piece needs on each device are those of all that it reads, but for what is there already, and of
 * what it writes, unless that stays there. */
struct copies {
  double nbytes, back_bytes;
  size_t nlocal;
  pare__policy_local local[PARE__MOST_LOCAL];
};

static void find_copies(const pare__policy *policy, const pare__policy_piece *piece, struct copies *out) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const double share = (double)(piece->end - piece->begin) / (double)task->n;
  out->nbytes = task->read_bytes * share;
  out->back_bytes = policy->options.stays ? 0 : (task->nbytes - task->read_bytes) * share;
  out->nlocal = policy->options.local ? policy->options.local(policy->options.user, piece->task, out->local) : 0;
}

static double copy_seconds(const pare__policy_device *device, size_t index, const struct copies *copies) {
  if (!(device->seconds_per_byte > 0)) return 0;
  double nbytes = copies->nbytes;
  for (size_t i = 0; i < copies->nlocal; i++)
    if (copies->local[i].device == index) nbytes -= copies->local[i].nbytes;
  return nbytes > 0 ? device->copy_seconds + nbytes * device->seconds_per_byte : 0;
}

/* Until others may read what it wrote: the next work there does not wait for it. */
static double back_seconds(const pare__policy_device *device, const struct copies *copies) {
  if (!(device->seconds_per_byte > 0) || !(copies->back_bytes > 0)) return 0;
  return device->copy_seconds + copies->back_bytes * device->seconds_per_byte;
}

/* What a second of the device's work weighs besides, for its joules and its price. */
static double busy_weight(const pare__policy *policy, size_t index) {
  const pare__policy_device *device = &policy->device[index];
  return policy->weights.joule * (device->busy_watts - device->idle_watts) +
         policy->weights.price * device->price_per_hour / 3600;
}

double pare__policy_weigh(const pare__policy *policy, size_t device, double start, double seconds, double transfer,
                          double longer) {
  const pare__policy_weights *weights = &policy->weights;
  const double weight = weights->finish * (start + seconds) + weights->start * start + weights->transfer * transfer;
  if (!pare__policy_saves(policy)) return weight;
  return weight + busy_weight(policy, device) * seconds + weights->joule * policy->idle_watts * longer;
}

/* As above, with `in` seconds of copies before it and `back` behind it; all wait longer if it ends later than all that
 * there was. Copies back make its end later and weigh nothing besides: tasks that read the result may run there, too,
 * and then have it already. */
static double weigh(const pare__policy *policy, size_t device, double now, double start, double seconds, double in,
                    double back) {
  return policy->weights.finish * back + pare__policy_weigh(policy, device, start, seconds, in,
                                                            fmax(now + start + seconds + back - policy->horizon, 0));
}

/* A piece as all devices see it. */
struct sought {
  const pare__policy_task *task;
  double now, n, nbytes;
  const double *a, *b; /* n units take a + b n seconds, of each device */
  struct copies copies;
};

/* What it weighs at least on so many devices: copies and energy only add. */
static inline void bound_weights(const pare__policy *policy, const struct sought *piece, size_t first, size_t count,
                                 double out[TOGETHER]) {
  const double *a = piece->a + first, *b = piece->b + first, *free_at = policy->free_at + first;
  const double n = piece->n, now = piece->now, finish = policy->weights.finish, start = policy->weights.start;
  for (size_t i = 0; i < count; i++) {
    const double wait = PARE__MAX(free_at[i] - now, 0.0);
    out[i] = finish * (wait + (a[i] + b[i] * n)) + start * wait;
  }
}

/* INFINITY: it cannot run there in one piece. */
static double weigh_at(const pare__policy *policy, const struct sought *piece, size_t i) {
  const pare__policy_device *device = &policy->device[i];
  if (!(policy->there[i] & piece->task->resources) || pare__policy_barred(piece->task, i)) return INFINITY;
  if (device->memory_bytes > 0 && piece->nbytes > (double)device->memory_bytes) return INFINITY;
  const double wait = PARE__MAX(policy->free_at[i] - piece->now, 0), in = copy_seconds(device, i, &piece->copies);
  return weigh(policy, i, piece->now, PARE__MAX(wait, in), piece->a[i] + piece->b[i] * piece->n, in,
               back_seconds(device, &piece->copies));
}

size_t pare__policy_best(const pare__policy *policy, const pare__policy_piece *piece, double now) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const double steps = (double)(piece->end - piece->begin);
  const size_t row = pare__performance_at(policy->performance, task->kernel, 0);
  struct sought sought = {.task = task,
                          .now = now,
                          .n = steps * task->per_step,
                          .nbytes = task->nbytes * (steps / (double)task->n),
                          .a = policy->performance->a + row,
                          .b = policy->performance->b + row};
  size_t best = PARE__NO_DEVICE;
  double least = INFINITY, bound[TOGETHER];
  find_copies(policy, piece, &sought.copies);
  for (size_t first = 0; first < policy->ndevices; first += TOGETHER) {
    const size_t count = PARE__MIN(TOGETHER, policy->ndevices - first);
    if (count == TOGETHER) /* a number that compilers know: they make vectors of it */
      bound_weights(policy, &sought, first, TOGETHER, bound);
    else
      bound_weights(policy, &sought, first, count, bound);
    for (size_t i = 0; i < count; i++) {
      if (bound[i] >= least) continue; /* most devices are out before they are looked up */
      const double weight = weigh_at(policy, &sought, first + i);
      if (weight >= least) continue;
      least = weight;
      best = first + i;
    }
  }
  return best;
}

/* What the device's joules and price for a unit of work weigh. */
static double unit_weight(const pare__policy *policy, size_t device, const pare__policy_task *task) {
  return busy_weight(policy, device) *
         policy->performance->b[pare__performance_at(policy->performance, task->kernel, device)];
}

/* The most that a unit of work may weigh on a device that takes part. Divided among some devices so that all end
 * together, it weighs (f + sum w_i) / sum r_i: f for a second until the end, w_i for one of a device's work, r_i its
 * units a second. One with w_i / r_i above that quotient makes it larger, so that it goes, until all that are left lie
 * below it. */
static double dearest(const pare__policy *policy, const pare__policy_task *task) {
  double most = INFINITY;
  if (!pare__policy_saves(policy)) return most;
  const double waiting = policy->weights.finish + policy->weights.joule * policy->idle_watts;
  size_t count = SIZE_MAX, before;
  do {
    double weight = waiting, rate = 0;
    before = count;
    count = 0;
    for (size_t i = 0; i < policy->ndevices; i++) {
      if (!pare__policy_may(policy, i, task) || unit_weight(policy, i, task) > most) continue;
      weight += busy_weight(policy, i);
      rate += 1 / policy->performance->b[pare__performance_at(policy->performance, task->kernel, i)];
      count++;
    }
    if (count == 0) break;
    most = weight / rate + 0.001 * fabs(weight / rate); /* equal ones stay, however they are rounded */
  } while (count < before);
  return most;
}

bool pare__policy_is_thrifty(const pare__policy *policy, size_t device, const pare__policy_task *task) {
  return !pare__policy_saves(policy) || unit_weight(policy, device, task) <= dearest(policy, task);
}

double pare__policy_speed(const pare__policy *policy, const pare__policy_task *task) {
  double sum = 0;
  for (size_t i = 0; i < policy->ndevices; i++) {
    if (!pare__policy_may(policy, i, task)) continue;
    sum += 1 / policy->performance->b[pare__performance_at(policy->performance, task->kernel, i)];
  }
  return sum / task->per_step;
}

/* ---- moving ---- */

bool pare__policy_pull(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  pare__policy_queue *pool = NULL;
  pare__policy_entry *head = pare__policy_pool_head(policy, device, &pool), gone;
  if (!head) return pare__policy_steal(policy, device, now) && pare__policy_take(policy, device, out);
  pare__policy_piece piece = head->piece;
  const pare__policy_task *task = pare__policy_task_of(policy, piece.task);
  size_t best = device;
  if (!pare__policy_may(policy, device, task) || pare__policy_saves(policy) ||
      (pare__policy_hurries(policy) && policy->pooled < SCARCE * policy->ndevices) ||
      pare__policy_most_steps(policy, device, task) < piece.end - piece.begin)
    best = pare__policy_best(policy, &piece, now);
  if (best == PARE__NO_DEVICE) return false;
  if (best != device) {
    /* Out of memory: it stays where it is, and the device takes it. */
    if (pare__policy_give(policy, best, &piece, now) == PARE_OK) *wake = best;
  } else {
    pare__policy_count(policy, device, &piece, now);
    *out = piece;
  }
  if (best != device && *wake != best) return false;
  pare__policy_pop(pool, &gone);
  policy->pooled--;
  return best == device;
}

static size_t last_to_end(const pare__policy *policy, size_t device) {
  size_t victim = PARE__NO_DEVICE;
  for (size_t i = 0; i < policy->ndevices; i++)
    if (i != device && policy->queue[i].count > 0 &&
        (victim == PARE__NO_DEVICE || policy->free_at[i] > policy->free_at[victim]))
      victim = i;
  return victim;
}

/* How many of a piece's steps the device takes, which begins `start` seconds from now, so that it and the victim, which
 * has `until`, are through together; all of a piece that is not split. 0: it is not worth a launch. */
static int64_t steps_to_move(const pare__policy *policy, size_t device, size_t victim, const pare__policy_piece *piece,
                             double start, double until) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const int64_t all = piece->end - piece->begin, grain = PARE__MAX(task->grain, 1);
  if (!pare__policy_splits(task, piece->begin, piece->end)) return all;
  const size_t row = pare__performance_at(policy->performance, task->kernel, 0);
  const double *a = policy->performance->a + row, *b = policy->performance->b + row;
  const double steps = (until - start - a[device]) / ((b[device] + b[victim]) * task->per_step);
  if (!(steps > 0)) return 0;
  const int64_t left = pare__round_up(all - (int64_t)fmin(steps, (double)all), grain);
  return PARE__MAX(all - left, 0);
}

void pare__policy_shorten(pare__policy *policy, size_t device, pare__policy_piece *piece, int64_t begin,
                          int64_t steps) {
  const double before = piece->seconds;
  piece->begin = begin;
  piece->end = begin + steps;
  piece->seconds = pare__policy_seconds(policy, device, piece);
  policy->backlog[device] = fmax(policy->backlog[device] + piece->seconds - before, 0);
  policy->free_at[device] += piece->seconds - before;
}

/* What an idle device may take of the piece that another would come to last. */
struct move {
  size_t from, to;
  pare__policy_piece piece; /* what is taken: all of it, or its end */
  int64_t rest;             /* steps that stay */
  double until, idle;       /* when both are through with what they have, in seconds from now */
};

static pare__policy_piece *last_piece(const pare__policy *policy, size_t device) {
  const pare__policy_queue *queue = &policy->queue[device];
  return &queue->entry[queue->first + queue->count - 1].piece;
}

/* Whose, and how much of it. */
static bool find_move(const pare__policy *policy, size_t device, double now, struct move *out) {
  const size_t victim = policy->queued > 0 ? last_to_end(policy, device) : PARE__NO_DEVICE;
  if (victim == PARE__NO_DEVICE) return false;
  *out = (struct move){.from = victim,
                       .to = device,
                       .piece = *last_piece(policy, victim),
                       .until = fmax(policy->free_at[victim], now + policy->backlog[victim]) - now,
                       .idle = fmax(policy->free_at[device] - now, 0)};
  if (out->piece.moved) return false;
  const int64_t steps = steps_to_move(policy, device, victim, &out->piece, out->idle, out->until);
  out->rest = out->piece.end - out->piece.begin - steps;
  out->piece.begin += out->rest;
  /* parts shrink: they cannot swing for ever */
  out->piece.moved =
      !pare__policy_splits(pare__policy_task_of(policy, out->piece.task), out->piece.begin, out->piece.end);
  return steps > 0;
}

/* Does it suit the device, by its class, its price and its memory? */
static bool suits(const pare__policy *policy, const struct move *move) {
  const pare__policy_task *task = pare__policy_task_of(policy, move->piece.task);
  return pare__policy_may(policy, move->to, task) && pare__policy_is_thrifty(policy, move->to, task) &&
         pare__policy_most_steps(policy, move->to, task) >= move->piece.end - move->piece.begin;
}

/* The seconds that it would have taken where it was. */
static double spared_by(const pare__policy *policy, const struct move *move) {
  return move->rest == 0 ? move->piece.seconds : pare__policy_seconds(policy, move->from, &move->piece);
}

/* Is it through so much earlier that it is worth it, and at no greater weight? */
static bool pays(const pare__policy *policy, const struct move *move, double now) {
  struct copies copies;
  find_copies(policy, &move->piece, &copies);
  const double seconds = pare__policy_seconds(policy, move->to, &move->piece), spared = spared_by(policy, move),
               here = copy_seconds(&policy->device[move->to], move->to, &copies),
               there = copy_seconds(&policy->device[move->from], move->from, &copies),
               back = back_seconds(&policy->device[move->to], &copies),
               spared_back = back_seconds(&policy->device[move->from], &copies), start = fmax(move->idle, here),
               latest = move->until + spared_back - fmax(WORTH_MOVING * move->until, 2 * WORTH_MOVING * spared);
  return start + seconds + back <= latest &&
         weigh(policy, move->to, now, start, seconds, here, back) <=
             weigh(policy, move->from, now, move->until - spared, spared, there, spared_back);
}

static bool carry_out(pare__policy *policy, const struct move *move, double now) {
  const double spared = spared_by(policy, move);
  pare__policy_piece *last = last_piece(policy, move->from);
  if (pare__policy_give(policy, move->to, &move->piece, now) != PARE_OK) return false; /* no memory: it stays */
  if (move->rest > 0) {
    pare__policy_shorten(policy, move->from, last, last->begin, move->rest);
  } else {
    (void)pare__policy_pop_last(&policy->queue[move->from]);
    policy->queued--;
    pare__policy_uncount(policy, move->from, spared);
    policy->free_at[move->from] -= spared;
  }
  policy->moves++;
  return true;
}

bool pare__policy_steal(pare__policy *policy, size_t device, double now) {
  struct move move;
  return find_move(policy, device, now, &move) && suits(policy, &move) && pays(policy, &move, now) &&
         carry_out(policy, &move, now);
}

/* ---- dividing ---- */

typedef struct share {
  double rate, late, steps; /* steps a second; seconds until its first step; what it gets */
  size_t device;
  bool full; /* what its memory holds, and no more */
} share;

/* Shares of `steps` so that all end together; returns how many devices take part. */
static size_t balance(share *shares, size_t count, double steps, double grain, const double *most) {
  for (bool again = true; again;) {
    double left = steps, sum = 0, late = 0;
    again = false;
    for (size_t i = 0; i < count; i++) {
      if (shares[i].full)
        left -= shares[i].steps;
      else
        sum += shares[i].rate, late += shares[i].late * shares[i].rate;
    }
    const double end = sum > 0 ? (left + late) / sum : 0;
    size_t worst = count;
    for (size_t i = 0; i < count; i++) {
      share *one = &shares[i];
      if (one->full) continue;
      one->steps = one->rate * (end - one->late);
      if (one->steps > most[one->device]) {
        one->steps = most[one->device];
        one->full = again = true;
      } else if (one->steps < grain / 2 && (worst == count || one->steps < shares[worst].steps)) {
        worst = i;
      }
    }
    if (!again && worst < count && count > 1) {
      shares[worst] = shares[--count];
      again = true;
    }
  }
  return count;
}

static size_t find_shares(const pare__policy *policy, const pare__policy_piece *piece, double now, share *shares,
                          double *most) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const double step_back = policy->options.stays ? 0 : (task->nbytes - task->read_bytes) / (double)task->n,
               step_bytes = fmax(task->read_bytes / (double)task->n, step_back), /* both ways at the same time */
      most_weight = dearest(policy, task);
  size_t count = 0;
  for (size_t i = 0; i < policy->ndevices; i++) {
    const pare__policy_device *device = &policy->device[i];
    if (!pare__policy_may(policy, i, task) || unit_weight(policy, i, task) > most_weight) continue;
    const size_t at = pare__performance_at(policy->performance, task->kernel, i);
    const double step = fmax(policy->performance->b[at] * task->per_step, 1e-18),
                 copy = step_bytes * device->seconds_per_byte;
    most[i] = (double)pare__policy_most_steps(policy, i, task);
    shares[count++] = (share){.device = i,
                              .rate = 1 / fmax(step, copy), /* copies overlap with work */
                              .late = fmax(policy->free_at[i] - now, 0) + policy->performance->a[at] +
                                      (copy > 0 ? device->copy_seconds : 0)};
  }
  return count;
}

/* Gives [begin, end) in pieces that the device's memory holds. */
static pare_status give_pieces(pare__policy *policy, size_t device, uint32_t id, int64_t begin, int64_t end,
                               double now) {
  const pare__policy_task *task = pare__policy_task_of(policy, id);
  const int64_t grain = PARE__MAX(task->grain, 1);
  int64_t most = pare__policy_most_steps(policy, device, task);
  if (most > grain) most -= most % grain;
  for (int64_t at = begin; at < end; at += most) {
    const pare__policy_piece part = {.task = id, .begin = at, .end = PARE__MIN(at + most, end)};
    PARE__TRY(pare__policy_give(policy, device, &part, now));
  }
  return PARE_OK;
}

pare_status pare__policy_divide(pare__policy *policy, const pare__policy_piece *piece, double now) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const int64_t grain = PARE__MAX(task->grain, 1);
  pare_status status = PARE_OK;
  share *shares = malloc((policy->ndevices + 1) * sizeof *shares);
  double *most = malloc((policy->ndevices + 1) * sizeof *most), sum = 0;
  if (!shares || !most) {
    status = pare__fail_memory("shares of devices", policy->ndevices * sizeof *shares);
    goto out;
  }
  const size_t found = find_shares(policy, piece, now, shares, most);
  const size_t count = balance(shares, found, (double)(piece->end - piece->begin), (double)grain, most);
  for (size_t i = 0; i < count; i++) sum += shares[i].steps;
  int64_t at = piece->begin;
  double until = 0;
  for (size_t i = 0; i < count && at < piece->end && status == PARE_OK; i++) {
    until += shares[i].steps;
    const double exact = until / sum * (double)(piece->end - piece->begin);
    int64_t end = i + 1 == count ? piece->end : piece->begin + (int64_t)(exact / (double)grain + 0.5) * grain;
    end = pare__i64_clamp(end, at, piece->end);
    if (end > at) status = give_pieces(policy, shares[i].device, piece->task, at, end, now);
    at = end;
  }
out:
  free(most);
  free(shares);
  return status;
}

pare_status pare__policy_place_best(pare__policy *policy, const pare__policy_piece *piece, double now, size_t *wake) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  const size_t best =
      pare__policy_splits(task, piece->begin, piece->end) ? PARE__NO_DEVICE : pare__policy_best(policy, piece, now);
  *wake = best == PARE__NO_DEVICE ? PARE__EVERY_DEVICE : best;
  if (best == PARE__NO_DEVICE) return pare__policy_divide(policy, piece, now);
  return pare__policy_give(policy, best, piece, now);
}
