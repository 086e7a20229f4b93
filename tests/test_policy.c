/* What policies share, by itself: where a piece goes, queues, what moves. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"
#include "sched/simulate.h"

/* ---- where a piece goes ---- */

enum { MOST_DEVICES = 6, MOST_TASKS = 200 };

/* Devices and a task as they come, so that each of what decides does so now and then. */
typedef struct situation {
  size_t ndevices, nlocal;
  pare__policy_device device[MOST_DEVICES];
  pare__policy_task task;
  pare__policy_weights weights;
  pare__policy_local local[2];
  pare__performance *performance;
  pare__policy *policy;
} situation;

static double up_to(double most, uint64_t *random) { return most * pare__random_unit(random); }
static bool sometimes(uint64_t *random) { return pare__random_unit(random) < 0.3; }

static size_t tell_local(void *user, uint32_t task, pare__policy_local out[PARE__MOST_LOCAL]) {
  const situation *of = user;
  (void)task;
  memcpy(out, of->local, of->nlocal * sizeof *out);
  return of->nlocal;
}

static void open_situation(situation *of, const pare__policy_task **task, uint64_t *random) {
  size_t kernel;
  *of = (situation){.ndevices = 1 + (size_t)up_to(MOST_DEVICES, random)};
  of->weights = (pare__policy_weights){.finish = sometimes(random) ? 0 : up_to(1, random),
                                       .start = sometimes(random) ? up_to(1, random) : 0,
                                       .transfer = sometimes(random) ? up_to(1, random) : 0,
                                       .joule = sometimes(random) ? up_to(0.02, random) : 0,
                                       .price = sometimes(random) ? up_to(40, random) : 0};
  of->task = (pare__policy_task){.resources = (uint8_t)(1 + (size_t)up_to(PARE__ON_ANY, random)),
                                 .n = 10,
                                 .grain = 1,
                                 .per_step = 0.5,
                                 .read_bytes = up_to(10, random),
                                 .barred = sometimes(random) ? UINT64_C(1) << (size_t)up_to(MOST_DEVICES, random) : 0};
  of->task.nbytes = of->task.read_bytes + up_to(5, random);
  OK(pare__performance_open(of->ndevices, NULL, &of->performance));
  OK(pare__performance_kernel(of->performance, "k", &kernel));
  for (size_t i = 0; i < of->ndevices; i++) {
    of->device[i] = (pare__policy_device){.resource = 1U << (size_t)up_to(3, random),
                                          .memory_bytes = sometimes(random) ? 1 + (uint64_t)up_to(20, random) : 0,
                                          .seconds_per_byte = sometimes(random) ? up_to(0.3, random) : 0,
                                          .copy_seconds = up_to(1, random),
                                          .busy_watts = 100 + up_to(100, random),
                                          .idle_watts = up_to(100, random),
                                          .price_per_hour = up_to(100, random)};
    double a = up_to(1, random), b = up_to(1, random);
    if (i > 0 && sometimes(random)) { /* one like the first */
      of->device[i] = of->device[0];
      a = of->performance->a[0];
      b = of->performance->b[0];
    }
    pare__performance_set(of->performance, kernel, i, a, b);
  }
  for (; of->nlocal < PARE__COUNT(of->local) && sometimes(random); of->nlocal++)
    of->local[of->nlocal] = (pare__policy_local){(size_t)up_to(MOST_DEVICES, random), up_to(5, random)};
  *task = &of->task;
  const pare__policy_options options = {
      .weights = &of->weights, .stays = sometimes(random), .tasks = task, .local = tell_local, .user = of};
  OK(pare__policy_open(&pare__policy_dmda, of->device, of->ndevices, of->performance, &options, &of->policy));
}

/* What the piece weighs on the device, spelled out; infinity: it may not run there. */
static double weight_of(const situation *of, size_t at, const pare__policy_piece *piece, double now, const bool *lost) {
  const pare__policy_device *device = &of->device[at];
  const pare__policy_weights *weights = &of->weights;
  const double steps = (double)(piece->end - piece->begin), share = steps / (double)of->task.n;
  if (lost[at] || !(device->resource & of->task.resources) || (of->task.barred >> at & 1)) return INFINITY;
  if (device->memory_bytes > 0 && of->task.nbytes * share > (double)device->memory_bytes) return INFINITY;
  double bytes = of->task.read_bytes * share, idle_watts = 0;
  for (size_t i = 0; i < of->nlocal; i++) bytes -= of->local[i].device == at ? of->local[i].nbytes : 0;
  for (size_t i = 0; i < of->ndevices; i++) idle_watts += lost[i] ? 0 : of->device[i].idle_watts;
  const double written = (of->task.nbytes - of->task.read_bytes) * share;
  const double copies = device->seconds_per_byte > 0 && bytes > 0
                            ? device->copy_seconds + bytes * device->seconds_per_byte
                            : 0,
               back = device->seconds_per_byte > 0 && written > 0 && !of->policy->options.stays
                          ? device->copy_seconds + written * device->seconds_per_byte
                          : 0,
               start = fmax(fmax(of->policy->free_at[at] - now, 0), copies), /* they overlap with the work before */
      seconds = of->performance->a[at] + of->performance->b[at] * steps * of->task.per_step,
               longer = fmax(now + start + seconds + back - of->policy->horizon, 0);
  return weights->finish * (start + seconds + back) + weights->start * start + weights->transfer * copies +
         weights->joule * ((device->busy_watts - device->idle_watts) * seconds + idle_watts * longer) +
         weights->price * device->price_per_hour / 3600 * seconds;
}

START_TEST(a_piece_goes_where_its_weight_is_least) {
  size_t nplaced = 0;
  for (uint64_t seed = 1; seed <= 20000; seed++) {
    uint64_t random = seed;
    situation of;
    const pare__policy_task *task;
    bool lost[MOST_DEVICES] = {false};
    open_situation(&of, &task, &random);
    const pare__policy_piece piece = {.begin = 2, .end = 3 + (int64_t)up_to(8, &random)};
    const double now = 1;
    for (size_t i = 0; i < of.ndevices; i++) of.policy->free_at[i] = sometimes(&random) ? up_to(5, &random) : 0;
    of.policy->horizon = up_to(8, &random);
    if (of.ndevices > 1 && sometimes(&random)) {
      lost[0] = true;
      OK(pare__policy_lost(of.policy, 0, now));
    }
    size_t want = PARE__NO_DEVICE;
    for (size_t i = 0; i < of.ndevices; i++) {
      const double weight = weight_of(&of, i, &piece, now, lost);
      if (weight < INFINITY && (want == PARE__NO_DEVICE || weight < weight_of(&of, want, &piece, now, lost))) want = i;
    }
    const size_t got = pare__policy_best(of.policy, &piece, now);
    if (got != want && got != PARE__NO_DEVICE && want != PARE__NO_DEVICE) { /* sums are rounded differently */
      const double difference = weight_of(&of, got, &piece, now, lost) - weight_of(&of, want, &piece, now, lost);
      ck_assert_msg(difference > 0 && difference < 1e-12, "seed %d: device %zu, which weighs %g more than %zu",
                    (int)seed, got, difference, want);
    } else {
      ck_assert_msg(got == want, "seed %d: device %zu, not %zu", (int)seed, got, want);
    }
    nplaced += got != PARE__NO_DEVICE;
    pare__policy_close(of.policy);
    pare__performance_close(of.performance);
  }
  ck_assert_uint_gt(nplaced, 10000);
}
END_TEST

/* The most of it that fits, and nothing that would be cut into more than 65536 pieces. */
START_TEST(steps_are_as_many_as_the_memory_holds) {
  static const pare__policy_device device = {.resource = PARE__ON_CPU, .memory_bytes = 1000};
  pare__policy_task task = {.resources = PARE__ON_CPU, .n = 1000000, .grain = 1, .per_step = 1};
  const pare__policy_task *const tasks = &task;
  const pare__policy_options options = {.tasks = &tasks};
  pare__performance *performance;
  pare__policy *policy;
  OK(pare__performance_open(1, NULL, &performance));
  OK(pare__policy_open(&pare__policy_static, &device, 1, performance, &options, &policy));
  for (double step = 0.7; step <= 1000; step *= 1.3) {
    task.n = (int64_t)(65536 * 1000 / step);
    task.nbytes = step * (double)task.n;
    const double most = (double)pare__policy_most_steps(policy, 0, &task);
    ck_assert_msg(most * step <= 1000 && (most + 1) * step > 1000, "%g of %g bytes", most, step);
    ck_assert(pare__policy_may(policy, 0, &task));
    task.n = (int64_t)(65537 * 1000 / step) + 1;
    task.nbytes = step * (double)task.n;
    ck_assert(!pare__policy_may(policy, 0, &task));
  }
  task = (pare__policy_task){.resources = PARE__ON_CPU, .n = 10, .grain = 1, .nbytes = 1000};
  ck_assert_int_eq(pare__policy_most_steps(policy, 0, &task), 10);
  ck_assert(pare__policy_may(policy, 0, &task));
  task.grain = 6; /* less does not run */
  task.nbytes = 1700;
  ck_assert(!pare__policy_may(policy, 0, &task));
  pare__policy_close(policy);
  pare__performance_close(performance);
}
END_TEST

/* ---- queues ---- */

static pare__policy_task many[MOST_TASKS];

/* Three devices, one of each class, and tasks of all. */
static pare__policy *open_many(uint64_t *random) {
  static const pare__policy_device device[] = {
      {.resource = PARE__ON_CPU}, {.resource = PARE__ON_GPU}, {.resource = PARE__ON_ACCELERATOR}};
  static const pare__policy_task *const tasks = many;
  const pare__policy_options options = {.tasks = &tasks}; /* a step of priority is a second */
  pare__performance *performance;
  pare__policy *policy;
  size_t kernel;
  for (size_t i = 0; i < MOST_TASKS; i++)
    many[i] = (pare__policy_task){.resources = (uint8_t)(1 + (size_t)up_to(PARE__ON_ANY, random)),
                                  .priority = (int16_t)(up_to(5, random) - 2),
                                  .n = 3,
                                  .grain = 1,
                                  .per_step = 0.1};
  OK(pare__performance_open(3, NULL, &performance));
  OK(pare__performance_kernel(performance, "k", &kernel));
  OK(pare__policy_open(&pare__policy_priority, device, 3, performance, &options, &policy));
  return policy;
}

static double comes_at(uint32_t task) { return (double)(task / 4) * 0.5; } /* some at once, and keys that are equal */

/* Whether task a goes before b: it has waited longer, or is as much more urgent; then whoever came first. */
static bool goes_before(uint32_t a, uint32_t b) {
  const double x = comes_at(a) - many[a].priority, y = comes_at(b) - many[b].priority;
  return x < y || (x == y && a < b);
}

/* The devices empty the pool in turn, and each takes the first that it may have of all that is left. */
START_TEST(each_takes_the_oldest_and_most_urgent_of_its_class) {
  for (uint64_t seed = 1; seed <= 50; seed++) {
    uint64_t random = seed;
    pare__policy *policy = open_many(&random);
    pare__performance *performance = policy->performance;
    bool gone[MOST_TASKS] = {false};
    for (uint32_t i = 0; i < MOST_TASKS; i++) {
      const pare__policy_piece piece = {.task = i, .end = 3};
      OK(pare__policy_pool(policy, &piece, comes_at(i)));
    }
    for (size_t turn = 0; turn < 3 * MOST_TASKS; turn++) {
      const size_t device = turn % 3;
      pare__policy_queue *pool = NULL;
      pare__policy_entry taken, *head = pare__policy_pool_head(policy, device, &pool);
      uint32_t want = MOST_TASKS;
      for (uint32_t i = 0; i < MOST_TASKS; i++)
        if (!gone[i] && many[i].resources & policy->device[device].resource &&
            (want == MOST_TASKS || goes_before(i, want)))
          want = i;
      ck_assert_uint_eq(head ? head->piece.task : MOST_TASKS, want);
      if (!head) continue;
      ck_assert(pare__policy_pop(pool, &taken));
      gone[taken.piece.task] = true;
    }
    pare__policy_close(policy);
    pare__performance_close(performance);
  }
}
END_TEST

/* Of counters, of predictions, and in the order of what stays. */
START_TEST(what_is_dropped_leaves_no_trace) {
  enum { TASKS = 60, PARTS = 3, DROPPED = 7 };
  for (uint64_t seed = 1; seed <= 50; seed++) {
    uint64_t random = seed;
    pare__policy *policy = open_many(&random);
    pare__performance *performance = policy->performance;
    pare__policy_piece piece;
    double before = -INFINITY;
    int64_t came_before = -1, nfound = 0;
    for (int64_t i = 0; i < PARTS * TASKS; i++) {
      const pare__policy_piece part = {.task = (uint32_t)(i % TASKS), .begin = i / TASKS, .end = i / TASKS + 1};
      OK(pare__policy_give(policy, 0, &part, comes_at(part.task)));
      OK(pare__policy_pool(policy, &part, comes_at(part.task)));
    }
    pare__policy_drop(policy, DROPPED, 0, PARTS - 1);
    ck_assert_uint_eq(policy->queued, PARTS * TASKS - 2);
    ck_assert_uint_eq(policy->pooled, PARTS * TASKS - 2);
    ck_assert_uint_eq(policy->npieces[0], PARTS * TASKS - 2);
    while (pare__policy_take(policy, 0, &piece)) {
      const double key = comes_at(piece.task) - many[piece.task].priority;
      const int64_t came = piece.begin * TASKS + piece.task;
      ck_assert(key > before || (key >= before && came > came_before));
      ck_assert(piece.task != DROPPED || piece.begin == PARTS - 1);
      before = key;
      came_before = came;
      nfound++;
      pare__policy_uncount(policy, 0, piece.seconds);
    }
    ck_assert_int_eq(nfound, PARTS * TASKS - 2);
    ck_assert_uint_eq(policy->queued, 0);
    /* however the seconds of pieces are rounded when they are summed */
    ck_assert_double_eq(policy->backlog[0], 0);
    pare__policy_close(policy);
    pare__performance_close(performance);
  }
}
END_TEST

/* ---- hysteresis ---- */

/* Two devices that take a second and so many for a step. */
static pare__policy *open_pair(const pare__policy_task *task, double seconds) {
  static const pare__policy_task *tasks;
  const pare__policy_device device[] = {{.resource = PARE__ON_CPU}, {.resource = PARE__ON_CPU}};
  const pare__policy_options options = {.tasks = &tasks};
  pare__performance *performance;
  pare__policy *policy;
  size_t kernel;
  OK(pare__performance_open(2, NULL, &performance));
  OK(pare__performance_kernel(performance, "k", &kernel));
  pare__performance_set(performance, kernel, 0, 0, 1);
  pare__performance_set(performance, kernel, 1, 0, seconds);
  tasks = task;
  OK(pare__policy_open(&pare__policy_dmda, device, 2, performance, &options, &policy));
  return policy;
}

/* The first with a queue of two pieces of a step. */
static pare__policy *queued(double seconds) {
  static const pare__policy_task task = {.resources = PARE__ON_CPU, .n = 1, .grain = 1, .per_step = 1};
  const pare__policy_piece piece = {.end = 1};
  pare__policy *policy = open_pair(&task, seconds);
  for (int i = 0; i < 2; i++) OK(pare__policy_give(policy, 0, &piece, 0));
  return policy;
}

static void close_queued(pare__policy *policy) {
  pare__performance *performance = policy->performance;
  pare__policy_close(policy);
  pare__performance_close(performance);
}

/* The queue is through after two seconds: at 1.8 a tenth of that is won. */
START_TEST(a_piece_moves_for_a_tenth_of_the_time_and_once) {
  pare__policy_piece piece;
  pare__policy *policy = queued(1.81);
  ck_assert(!pare__policy_steal(policy, 1, 0));
  close_queued(policy);
  policy = queued(1.79);
  ck_assert(pare__policy_steal(policy, 1, 0));
  ck_assert_uint_eq(policy->moves, 1);
  ck_assert_uint_eq(policy->queue[0].count, 1);
  /* it waits there, and the first has nothing any more: it would be through long before, and stays where it is */
  ck_assert_uint_eq(policy->queue[1].count, 1);
  ck_assert(pare__policy_take(policy, 0, &piece));
  pare__policy_uncount(policy, 0, piece.seconds);
  policy->free_at[0] = 0;
  ck_assert(!pare__policy_steal(policy, 0, 0));
  ck_assert_uint_eq(policy->moves, 1);
  close_queued(policy);
}
END_TEST

/* ---- tasks that are divided ---- */

static const pare__policy_task divided = {
    .resources = PARE__ON_CPU, .n = 900, .grain = 10, .per_step = 1, .nbytes = 900};

/* The first has all 900 steps and takes a second for one, the second two: with 600 and 300 both need 600 seconds. */
START_TEST(an_idle_device_takes_so_much_of_a_part_that_both_end_together) {
  const pare__policy_piece all = {.end = 900};
  pare__policy *policy = open_pair(&divided, 2);
  OK(pare__policy_give(policy, 0, &all, 0));
  ck_assert(pare__policy_steal(policy, 1, 0));
  const pare__policy_piece *stays = &pare__policy_head(&policy->queue[0])->piece,
                           *goes = &pare__policy_head(&policy->queue[1])->piece;
  ck_assert_int_eq(stays->begin, 0);
  ck_assert_int_eq(stays->end, 600);
  ck_assert_int_eq(goes->begin, 600);
  ck_assert_int_eq(goes->end, 900);
  for (size_t i = 0; i < 2; i++) {
    ck_assert_double_eq(policy->backlog[i], 600);
    ck_assert_double_eq(policy->free_at[i], 600);
    ck_assert_uint_eq(policy->npieces[i], 1);
  }
  ck_assert(!pare__policy_steal(policy, 1, 0)); /* nothing is won any more */
  close_queued(policy);
}
END_TEST

/* Takes all chunks of a device that had all 900 steps; how many they were. */
static size_t chunks_of_all(pare__policy *policy, int64_t *first) {
  const pare__policy_piece all = {.end = 900};
  pare__policy_piece piece;
  size_t count = 0, wake;
  int64_t at = 0, before = INT64_MAX;
  OK(pare__policy_give(policy, 0, &all, 0));
  while (pare__policy_chunk(policy, 0, 0, &piece, &wake)) {
    const int64_t steps = piece.end - piece.begin;
    ck_assert_int_eq(piece.begin, at);
    ck_assert_int_le(steps, before);
    if (piece.end < 900) ck_assert_int_eq(steps % 10, 0);
    if (at == 0) *first = steps;
    at = piece.end;
    before = steps;
    count++;
  }
  ck_assert_int_eq(at, 900);
  ck_assert_uint_eq(policy->npieces[0], count);
  ck_assert_double_eq_tol(policy->backlog[0], 900 + (double)count * policy->performance->a[0], 1e-6);
  return count;
}

/* In chunks that shrink, the first a tenth, where launches cost little; whole, where one costs a tenth of all. A group
 * gets all at once, and divides it itself. */
START_TEST(a_part_is_taken_in_chunks_that_are_worth_their_launches) {
  const pare__policy_task *task = &divided;
  int64_t first;
  pare__policy *policy = open_pair(task, 2);
  ck_assert_uint_gt(chunks_of_all(policy, &first), 10);
  ck_assert_int_eq(first, 90);
  close_queued(policy);
  policy = open_pair(task, 2);
  policy->performance->a[0] = 90;
  ck_assert_uint_eq(chunks_of_all(policy, &first), 1);
  close_queued(policy);
  policy = open_pair(task, 2);
  policy->device[0].divides = true;
  ck_assert_uint_eq(chunks_of_all(policy, &first), 1);
  close_queued(policy);
}
END_TEST

/* Where steps may take unlike times both take from one front, the older of it and their own queues first. */
START_TEST(an_uneven_task_is_nobodys_part) {
  pare__policy_task task[] = {divided, divided};
  task[0].uneven = true;
  pare__policy *policy = open_pair(task, 2);
  pare__policy_piece piece;
  size_t wake;
  int64_t at = 0;
  OK(pare__policy_place(policy, 0, 0, 900, 0, &wake));
  ck_assert_uint_eq(wake, PARE__EVERY_DEVICE);
  ck_assert_uint_eq(policy->queued, 0);
  OK(pare__policy_place(policy, 1, 0, 900, 1, &wake));
  for (size_t i = 0; i < 10; i++) {
    ck_assert(pare__policy_chunk(policy, i % 2, 1, &piece, &wake));
    ck_assert_uint_eq(piece.task, 0);
    ck_assert_int_eq(piece.begin, at);
    at = piece.end;
  }
  pare__policy_drop(policy, 0, 0, 900);
  ck_assert(pare__policy_chunk(policy, 0, 1, &piece, &wake));
  ck_assert_uint_eq(piece.task, 1);
  close_queued(policy);
}
END_TEST

/* So many pieces of a step run on the first device, and take so long each, until others are told that a line was
 * wrong. */
static int run_until_told(pare__policy *policy, double seconds) {
  size_t wake = PARE__NO_DEVICE;
  int count = 0;
  while (wake == PARE__NO_DEVICE && count < 1000) {
    pare__policy_piece piece = {.end = 1};
    pare__policy_count(policy, 0, &piece, 0);
    OK(pare__policy_complete(policy, 0, &piece, 0, seconds, &wake));
    count++;
  }
  ck_assert_uint_eq(wake, PARE__EVERY_DEVICE);
  return count;
}

/* Its pieces take three seconds, not one: so will the two that wait, and others may want them now. */
START_TEST(what_waits_is_predicted_again_when_a_line_was_wrong) {
  pare__policy *policy = queued(10);
  ck_assert_double_eq(policy->backlog[0], 2);
  ck_assert_int_le(run_until_told(policy, 3), 8);
  ck_assert_double_eq_tol(policy->backlog[0], 6, 1e-9);
  ck_assert_double_eq_tol(policy->free_at[0], 6, 1e-9);
  close_queued(policy);
}
END_TEST

/* When one line is wrong after the other: not before an eighth as many pieces have run as were looked at. */
START_TEST(a_long_queue_is_looked_at_now_and_then) {
  enum { WAITING = 800 };
  pare__policy *policy = queued(10);
  const pare__policy_piece piece = {.end = 1};
  while (policy->queue[0].count < WAITING) OK(pare__policy_give(policy, 0, &piece, 0));
  double seconds = 3;
  ck_assert_int_le(run_until_told(policy, seconds), 8);
  for (int i = 0; i < 3; i++) {
    ck_assert_double_eq_tol(policy->backlog[0], WAITING * seconds, 1e-6);
    seconds *= 3;
    ck_assert_int_eq(run_until_told(policy, seconds), WAITING / 8);
  }
  close_queued(policy);
}
END_TEST

int main(void) {
  TCase *cases = tcase_create("policy");
  tcase_set_timeout(cases, 120);
  tcase_add_test(cases, a_piece_goes_where_its_weight_is_least);
  tcase_add_test(cases, steps_are_as_many_as_the_memory_holds);
  tcase_add_test(cases, each_takes_the_oldest_and_most_urgent_of_its_class);
  tcase_add_test(cases, what_is_dropped_leaves_no_trace);
  tcase_add_test(cases, a_piece_moves_for_a_tenth_of_the_time_and_once);
  tcase_add_test(cases, an_idle_device_takes_so_much_of_a_part_that_both_end_together);
  tcase_add_test(cases, a_part_is_taken_in_chunks_that_are_worth_their_launches);
  tcase_add_test(cases, an_uneven_task_is_nobodys_part);
  tcase_add_test(cases, what_waits_is_predicted_again_when_a_line_was_wrong);
  tcase_add_test(cases, a_long_queue_is_looked_at_now_and_then);
  return run_tests("policy", cases);
}
