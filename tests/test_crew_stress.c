/* Crews under stress: random graphs, losses, hangs, failures and pauses. SPDX-License-Identifier: Apache-2.0
 *
 * Laws, whatever happens and when: every job is told once; its needs were told before it began; each step has its
 * effect once, or, if the job failed, at most once; jobs fail only because of a failure that was asked for, or because
 * no device is left. `test_crew_stress SECONDS` goes on for so long, each trial with a seed of its own, and says which.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ocl/ocl.h"
#include "run.h"
#include "sched/crew.h"
#include "sched/simulate.h"

enum { TRIALS = 36, HANG_SECONDS = 120, MOST_JOBS = 120, MOST_STEPS = 400, MOST_NEEDS = 3, MOST_MEMBERS = 5 };

/* What a trial does to its crew; chances are of each call. */
static struct trial {
  uint64_t seed;
  double pause, prepare, fail, lose;
  atomic_long hangs_at, fails_at; /* so many calls from now the device hangs, or fails; below 0: it never does */
  bool may_fail;
} trial;
static pare__crew *crew;

/* ---- the watchdog of the test ---- */

/* Unsafe in a handler, and the process hangs anyway. NOLINTBEGIN(bugprone-signal-handler) */
static void say_state(int number) {
  char *state = NULL;
  (void)number;
  (void)signal(SIGALRM, SIG_DFL);
  alarm(5);
  if (crew && pare__crew_state(crew, &state) == PARE_OK) (void)fputs(state, stderr);
  (void)fprintf(stderr, "test_crew_stress hangs, seed %llu\n", (unsigned long long)trial.seed);
  _exit(EXIT_FAILURE);
}
/* NOLINTEND(bugprone-signal-handler) */

/* ---- devices that hang ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static bool open_gate;
static int inside; /* how many hang, or did in a call that they are still in */
static _Thread_local bool hung;

static void hang(void) {
  pthread_mutex_lock(&gate);
  inside++;
  while (!open_gate) pthread_cond_wait(&moved, &gate);
  pthread_mutex_unlock(&gate);
  hung = true;
}

/* At the end of a call: whoever hung in it is out of it, and looks at nothing of this trial any more. */
static pare_status out_of_call(pare_status status) {
  if (!hung) return status;
  hung = false;
  pthread_mutex_lock(&gate);
  inside--;
  pthread_cond_broadcast(&moved);
  pthread_mutex_unlock(&gate);
  return status;
}

static void let_hang(bool hangs) {
  pthread_mutex_lock(&gate);
  open_gate = !hangs;
  pthread_cond_broadcast(&moved);
  while (!hangs && inside > 0) pthread_cond_wait(&moved, &gate);
  pthread_mutex_unlock(&gate);
}

/* ---- jobs ---- */

struct work {
  atomic_int had[MOST_STEPS], told, broken;
  atomic_int status;
  const struct work *need[MOST_NEEDS];
  int nneeds;
  int64_t n;
};
static struct work works[MOST_JOBS];

static double chance(void) {
  static _Thread_local uint64_t random;
  if (random == 0) random = trial.seed ^ (uintptr_t)&random;
  return pare__random_unit(&random);
}

static void pause_sometimes(void) {
  if (chance() >= trial.pause) return;
  const struct timespec time = {.tv_nsec = (long)(chance() * 100e3)};
  if (chance() < 0.5)
    sched_yield();
  else
    nanosleep(&time, NULL);
}

/* What may happen in any call. */
static pare_status suffer(size_t member) {
  pause_sometimes();
  if (chance() < trial.prepare) pare__prepared();
  if (chance() < trial.lose) pare__crew_lose(crew, (size_t)(chance() * MOST_MEMBERS), "unplugged");
  if (atomic_fetch_sub(&trial.hangs_at, 1) == 0) hang();
  if (atomic_fetch_sub(&trial.fails_at, 1) == 0) return pare__fail(PARE_ERR_DEVICE, "member %zu fell", member);
  if (trial.may_fail && chance() < trial.fail) return pare__fail(PARE_ERR_SHAPE, "it was asked to fail");
  return PARE_OK;
}

static pare_status have_effect(struct work *work, size_t member, int64_t begin, int64_t end) {
  PARE__TRY(suffer(member));
  for (int i = 0; i < work->nneeds; i++)
    if (atomic_load(&work->need[i]->told) != 1) atomic_fetch_add(&work->broken, 1);
  if (!pare__crew_claim(crew, member)) return PARE_OK;
  pause_sometimes();
  for (int64_t i = begin; i < end; i++) atomic_fetch_add(&work->had[i], 1);
  return PARE_OK;
}

static pare_status run_all(void *argument, size_t member, int64_t begin, int64_t end) {
  return out_of_call(have_effect(argument, member, begin, end));
}

static pare_status only_enqueue(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)begin, (void)end;
  return out_of_call(suffer(member));
}

static void tell(void *argument, pare_status status) {
  struct work *work = argument;
  pause_sometimes();
  atomic_store(&work->status, status);
  atomic_fetch_add(&work->told, 1);
}

/* ---- random graphs ---- */

static pare__job random_job(uint64_t *random, size_t index, char name[16], size_t nmembers) {
  struct work *work = &works[index];
  const double kind = pare__random_unit(random);
  const bool settles = pare__random_unit(random) < 0.5;
  work->n = kind < 0.05 ? 0 : kind < 0.4 ? 1 : 1 + (int64_t)(pare__random_unit(random) * (MOST_STEPS - 1));
  snprintf(name, 16, "kernel %d", (int)(pare__random_unit(random) * 12)); /* many are new: probes */
  return (pare__job){.run = settles ? only_enqueue : run_all,
                     .settle = settles ? run_all : NULL,
                     .done = tell,
                     .argument = work,
                     .kernel = name,
                     .n = work->n,
                     .grain = 1 + (int64_t)(pare__random_unit(random) * 6),
                     .priority = (int16_t)(pare__random_unit(random) * 3),
                     .member = pare__random_unit(random) < 0.2 ? (size_t)(pare__random_unit(random) * (double)nmembers)
                                                               : PARE__NO_DEVICE};
}

static void random_needs(uint64_t *random, size_t index, uint32_t needs[MOST_NEEDS]) {
  struct work *work = &works[index];
  for (; index > 0 && work->nneeds < MOST_NEEDS && pare__random_unit(random) < 0.5; work->nneeds++) {
    needs[work->nneeds] = (uint32_t)(pare__random_unit(random) * (double)index);
    work->need[work->nneeds] = &works[needs[work->nneeds]];
  }
}

static void submit(uint64_t *random, size_t njobs, size_t nmembers) {
  static char name[MOST_JOBS][16];
  pare__job job[MOST_JOBS];
  pare__job_id id[MOST_JOBS];
  size_t begin[MOST_JOBS + 1] = {0};
  uint32_t after[MOST_JOBS * MOST_NEEDS + MOST_NEEDS];
  memset(works, 0, sizeof works);
  for (size_t i = 0; i < njobs; i++) {
    job[i] = random_job(random, i, name[i], nmembers);
    random_needs(random, i, after + begin[i]);
    begin[i + 1] = begin[i] + (size_t)works[i].nneeds;
  }
  if (pare__random_unit(random) < 0.4) {
    OK(pare__crew_submit_graph(crew, job, njobs, begin, after, id));
    return;
  }
  for (size_t i = 0; i < njobs; i++) {
    pare__job_id needs[MOST_NEEDS];
    for (size_t k = begin[i]; k < begin[i + 1]; k++) needs[k - begin[i]] = id[after[k]];
    OK(pare__crew_submit(crew, &job[i], needs, begin[i + 1] - begin[i], &id[i]));
    if (chance() < 0.02) (void)pare__crew_wait(crew, id[(size_t)(chance() * (double)i)]);
  }
}

/* Whether so many members at least are still there. */
static bool any_left(size_t nmembers) {
  for (size_t i = 0; i < nmembers; i++)
    if (!pare__crew_is_lost(crew, i)) return true;
  return false;
}

static void check_laws(size_t njobs, bool some_left) {
  for (size_t i = 0; i < njobs; i++) {
    const struct work *work = &works[i];
    const int status = atomic_load(&work->status);
    ck_assert_msg(atomic_load(&work->told) == 1, "seed %llu: job %zu was told %d times", (unsigned long long)trial.seed,
                  i, atomic_load(&work->told));
    ck_assert_int_eq(atomic_load(&work->broken), 0);
    ck_assert_msg(status == PARE_OK || (status == PARE_ERR_SHAPE && trial.may_fail) ||
                      (status == PARE_ERR_DEVICE && !some_left),
                  "seed %llu: job %zu ended with %d", (unsigned long long)trial.seed, i, status);
    for (int64_t k = 0; k < work->n; k++) {
      const int had = atomic_load(&work->had[k]);
      ck_assert_msg(had == 1 || (had == 0 && status != PARE_OK),
                    "seed %llu: step %d of job %zu had its effect %d times", (unsigned long long)trial.seed, (int)k, i,
                    had);
    }
  }
}

static void say_nothing(void *user, size_t member, const char *message) { (void)user, (void)member, (void)message; }

static void one_trial(uint64_t seed) {
  static const char *const name[MOST_MEMBERS] = {"first", "second", "third", "fourth", "fifth"};
  pare__crew_member member[MOST_MEMBERS];
  uint64_t random = seed;
  size_t npolicies = 0;
  while (pare__policies[npolicies]) npolicies++;
  const size_t nmembers = 1 + (size_t)(pare__random_unit(&random) * MOST_MEMBERS), njobs = MOST_JOBS;
  const pare__crew_options options = {.policy = pare__policies[seed % npolicies],
                                      .lost = say_nothing,
                                      .stall_seconds = pare__random_unit(&random) < 0.3 ? 0.04 : 0};
  trial.seed = seed;
  trial.pause = pare__random_unit(&random) < 0.5 ? 0.3 * pare__random_unit(&random) : 0;
  trial.prepare = 0.1 * pare__random_unit(&random);
  trial.lose = pare__random_unit(&random) < 0.3 ? 0.004 : 0;
  trial.may_fail = pare__random_unit(&random) < 0.3;
  trial.fail = 0.01;
  atomic_store(&trial.hangs_at, options.stall_seconds > 0 ? (long)(pare__random_unit(&random) * 300) : -1);
  atomic_store(&trial.fails_at, pare__random_unit(&random) < 0.5 ? (long)(pare__random_unit(&random) * 300) : -1);
  for (size_t i = 0; i < nmembers; i++)
    member[i] = (pare__crew_member){.name = name[i], .key = name[i], .seen = {.resource = PARE__ON_CPU}, .weight = 1};
  let_hang(true);
  alarm(HANG_SECONDS);
  OK(pare__crew_open(member, nmembers, &options, &crew));
  submit(&random, njobs, nmembers);
  if (chance() < 0.3) pare__crew_lose(crew, (size_t)(chance() * (double)nmembers), "unplugged by hand");
  (void)pare__crew_wait_all(crew);
  const bool some_left = any_left(nmembers);
  check_laws(njobs, some_left);
  pare__crew *closing = crew;
  if (chance() < 0.5) let_hang(false); /* it comes back before, or after */
  OK(pare__crew_close(closing));
  let_hang(false);
  check_laws(njobs, some_left); /* who came back touched nothing */
  crew = NULL;
  alarm(0);
}

static uint64_t first_seed;
static double for_seconds;

START_TEST(laws_hold_under_stress) {
  const double until = pare__seconds() + for_seconds;
  uint64_t seed = first_seed;
  (void)signal(SIGALRM, say_state);
  for (int i = 0; i < TRIALS || pare__seconds() < until; i++) one_trial(seed++);
  if (for_seconds > 0) printf("%llu trials\n", (unsigned long long)(seed - first_seed));
}
END_TEST

static TCase *laws(void) {
  TCase *tests = tcase_create("laws");
  tcase_set_timeout(tests, 0);
  tcase_add_test(tests, laws_hold_under_stress);
  return tests;
}

int main(int argc, char **argv) {
  for_seconds = argc > 1 ? strtod(argv[1], NULL) : 0;
  first_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  return run_tests("crew stress", laws());
}
