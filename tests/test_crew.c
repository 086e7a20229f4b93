/* Laws of crews: every piece once, behind its needs, whatever the policy and whoever is lost.
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crews.h"
#include "ocl/ocl.h"
#include "run.h"
#include "sched/simulate.h"

#define MOST_STEPS 64

static void open_crew(size_t nmembers, const pare__crew_options *options) {
  pare__crew_member member[MOST_MEMBERS];
  make_members(member, nmembers, 0);
  open_members(member, nmembers, options);
}

/* ---- work that counts ---- */

#define MOST_JOBS 200

struct work {
  atomic_int ran[MOST_STEPS], done;
  atomic_int out_of_order;
  const struct work *need[4];
  int nneeds;
  int64_t n;
};
static struct work works[MOST_JOBS];
static atomic_int calls_left[4]; /* of each member until it fails; below 0 at the start: it never does */

static bool is_complete(const struct work *work) {
  for (int64_t i = 0; i < work->n; i++)
    if (atomic_load(&work->ran[i]) == 0) return false;
  return true;
}

static pare_status fail_in_turn(size_t member) {
  if (atomic_load(&calls_left[member]) < 0 || atomic_fetch_sub(&calls_left[member], 1) > 0) return PARE_OK;
  atomic_store(&calls_left[member], 0);
  return pare__fail(PARE_ERR_DEVICE, "pulled out");
}

static pare_status count_steps(void *argument, size_t member, int64_t begin, int64_t end) {
  struct work *work = argument;
  PARE__TRY(fail_in_turn(member));
  for (int i = 0; i < work->nneeds; i++)
    if (!is_complete(work->need[i]) || atomic_load(&work->need[i]->done) != 1) atomic_fetch_add(&work->out_of_order, 1);
  for (int64_t i = begin; i < end; i++) atomic_fetch_add(&work->ran[i], 1);
  return PARE_OK;
}

static pare_status enqueue(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)begin, (void)end;
  return fail_in_turn(member);
}

static void note_done(void *argument, pare_status status) {
  struct work *work = argument;
  ck_assert_msg(status == PARE_OK, "%s", pare_message());
  atomic_fetch_add(&work->done, 1);
}

/* A random graph: every job needs up to four before it. */
static void submit_random(uint64_t *random, size_t njobs) {
  pare__job_id id[MOST_JOBS];
  memset(works, 0, sizeof works);
  for (size_t i = 0; i < njobs; i++) {
    struct work *work = &works[i];
    pare__job_id after[4];
    work->n = 1 + (int64_t)(pare__random_unit(random) * (MOST_STEPS - 1));
    for (; i > 0 && work->nneeds < 4 && pare__random_unit(random) < 0.5; work->nneeds++) {
      const size_t need = (size_t)(pare__random_unit(random) * (double)i);
      work->need[work->nneeds] = &works[need];
      after[work->nneeds] = id[need];
    }
    const bool settles = pare__random_unit(random) < 0.5, pinned = pare__random_unit(random) < 0.1;
    const pare__job job = {.run = settles ? enqueue : count_steps,
                           .settle = settles ? count_steps : NULL,
                           .done = note_done,
                           .argument = work,
                           .kernel = i % 3 ? "rows" : "columns",
                           .n = work->n,
                           .grain = 1 + (int64_t)(pare__random_unit(random) * 4),
                           .priority = (int16_t)(pare__random_unit(random) * 3),
                           .member = pinned ? i % pare__crew_members(crew) : PARE__NO_DEVICE};
    OK(pare__crew_submit(crew, &job, after, (size_t)work->nneeds, &id[i]));
  }
}

static void check_all_ran(size_t njobs, const char *what) {
  for (size_t i = 0; i < njobs; i++) {
    for (int64_t k = 0; k < works[i].n; k++)
      ck_assert_msg(atomic_load(&works[i].ran[k]) == 1, "%s: step %d of job %zu ran %d times", what, (int)k, i,
                    atomic_load(&works[i].ran[k]));
    ck_assert_int_eq(atomic_load(&works[i].done), 1);
    ck_assert_int_eq(atomic_load(&works[i].out_of_order), 0);
  }
}

static atomic_int told;
static void count_lost(void *user, size_t member, const char *message) {
  (void)user, (void)member;
  ck_assert_ptr_nonnull(strstr(message, "is lost"));
  atomic_fetch_add(&told, 1);
}

START_TEST(every_step_runs_once_whoever_is_lost) {
  const int trials = 6;
  for (size_t p = 0; pare__policies[p]; p++)
    for (int trial = 0; trial < trials; trial++) {
      const size_t nmembers = 1 + (size_t)trial % 4, nlosses = (size_t)trial / 2 < nmembers ? (size_t)trial / 2 : 0;
      uint64_t random = 1000 * p + (uint64_t)trial;
      const pare__crew_options options = {.policy = pare__policies[p], .lost = count_lost};
      atomic_store(&told, 0);
      for (size_t i = 0; i < 4; i++)
        atomic_store(&calls_left[i], i < nlosses ? (int)(pare__random_unit(&random) * 60) : -1);
      open_crew(nmembers, &options);
      submit_random(&random, MOST_JOBS);
      OK(pare__crew_wait_all(crew));
      check_all_ran(MOST_JOBS, pare__policies[p]->name);
      int lost = 0;
      for (size_t i = 0; i < nmembers; i++) lost += pare__crew_is_lost(crew, i);
      close_crew();
      ck_assert_int_eq(atomic_load(&told), lost);
    }
}
END_TEST

/* ---- loss ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static int gate_inside; /* how many wait at it */

static void move_gate(bool open) {
  pthread_mutex_lock(&gate);
  gate_open = open;
  pthread_cond_broadcast(&gate_moved);
  pthread_mutex_unlock(&gate);
}
static void pass_gate(void) {
  pthread_mutex_lock(&gate);
  gate_inside++;
  pthread_cond_broadcast(&gate_moved);
  while (!gate_open) pthread_cond_wait(&gate_moved, &gate);
  gate_inside--;
  pthread_cond_broadcast(&gate_moved);
  pthread_mutex_unlock(&gate);
}
static void await_inside(int count) {
  pthread_mutex_lock(&gate);
  while (gate_inside != count) pthread_cond_wait(&gate_moved, &gate);
  pthread_mutex_unlock(&gate);
}

/* The second member never comes back until the gate opens. */
static pare_status hang_on_second(void *argument, size_t member, int64_t begin, int64_t end) {
  if (member == 1) pass_gate();
  return member == 1 ? PARE_OK : count_steps(argument, member, begin, end);
}

static pare_status hang_on_both(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  pass_gate();
  return PARE_OK;
}

static void reset_works(void) {
  memset(works, 0, sizeof works);
  atomic_store(&told, 0);
  for (size_t i = 0; i < 4; i++) atomic_store(&calls_left[i], -1);
  move_gate(false);
}

START_TEST(a_member_that_hangs_is_given_up) {
  const pare__crew_options options = {.lost = count_lost, .stall_seconds = 0.5};
  reset_works();
  open_crew(2, &options);
  for (int i = 0; i < 20; i++) {
    works[i].n = 8;
    const pare__job job = {.run = hang_on_second,
                           .done = note_done,
                           .argument = &works[i],
                           .kernel = "hangs",
                           .n = 8,
                           .member = i == 0 ? 1 : PARE__NO_DEVICE};
    OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  }
  OK(pare__crew_wait_all(crew));
  check_all_ran(20, "hanging");
  ck_assert(pare__crew_is_lost(crew, 1));
  close_crew(); /* with the thread still in its call */
  ck_assert_int_eq(atomic_load(&told), 1);
  move_gate(true);
  await_inside(0);
}
END_TEST

START_TEST(all_lost_fails_what_is_left) {
  const pare__crew_options options = {.lost = count_lost};
  for (size_t p = 0; pare__policies[p]; p++) {
    pare__job_id id = 0;
    pare__crew_options chosen = options;
    chosen.policy = pare__policies[p];
    reset_works();
    atomic_store(&calls_left[0], 3);
    atomic_store(&calls_left[1], 2);
    open_crew(2, &chosen);
    for (int i = 0; i < 50; i++) {
      works[i].n = 6;
      const pare__job job = {
          .run = count_steps, .argument = &works[i], .name = "row", .kernel = "k", .n = 6, .member = PARE__NO_DEVICE};
      OK(pare__crew_submit(crew, &job, &id, 1, &id));
    }
    ck_assert_int_eq(pare__crew_wait(crew, id), PARE_ERR_DEVICE);
    ck_assert_ptr_nonnull(strstr(pare_message(), "pulled out"));
    ck_assert_int_eq(pare__crew_wait(crew, id), PARE_OK); /* it was told */
    ck_assert_int_eq(pare__crew_wait_all(crew), PARE_ERR_DEVICE);
    OK(pare__crew_wait_all(crew));
    close_crew(); /* by then it was told */
    ck_assert_int_eq(atomic_load(&told), 2);
  }
}
END_TEST

static pare_status pass_and_count(void *argument, size_t member, int64_t begin, int64_t end) {
  pass_gate();
  return count_steps(argument, member, begin, end);
}

START_TEST(a_member_given_up_in_a_call_ends_it) {
  const pare__crew_options options = {.lost = count_lost};
  reset_works();
  open_crew(2, &options);
  works[0].n = 4;
  const pare__job job = {
      .run = pass_and_count, .done = note_done, .argument = &works[0], .kernel = "k", .n = 4, .member = 1};
  OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  await_inside(1);
  pare__crew_lose(crew, 1, "unplugged");
  pare__crew_lose(crew, 1, "unplugged again");
  move_gate(true);
  OK(pare__crew_wait_all(crew));
  check_all_ran(1, "given up");
  close_crew();
  ck_assert_int_eq(atomic_load(&told), 1);
}
END_TEST

/* Its kernel is new to those that are left: they are probed. */
START_TEST(a_job_for_a_member_that_is_lost_runs_elsewhere) {
  for (size_t p = 0; pare__policies[p]; p++) {
    const pare__crew_options options = {.policy = pare__policies[p], .lost = count_lost};
    reset_works();
    open_crew(3, &options);
    pare__crew_lose(crew, 0, "unplugged");
    for (int i = 0; i < 3; i++) {
      works[i].n = MOST_STEPS;
      const pare__job job = {
          .run = count_steps, .done = note_done, .argument = &works[i], .kernel = "k", .n = MOST_STEPS, .member = 0};
      OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
    }
    OK(pare__crew_wait_all(crew));
    check_all_ran(3, pare__policies[p]->name);
    close_crew();
    ck_assert_int_eq(atomic_load(&told), 1);
  }
}
END_TEST

/* ---- failure ---- */

static pare_status refuse(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)end;
  return pare__fail(PARE_ERR_SHAPE, "step %d does not fit", (int)begin);
}

static void note_failure(void *argument, pare_status status) {
  if (status == PARE_ERR_SHAPE && strstr(pare_message(), "does not fit")) atomic_fetch_add((atomic_int *)argument, 1);
}

START_TEST(a_failure_reaches_those_that_need_it) {
  for (size_t p = 0; pare__policies[p]; p++) {
    const pare__crew_options options = {.policy = pare__policies[p]};
    atomic_int failed = 0;
    reset_works();
    open_crew(2, &options);
    works[0].n = 4;
    const pare__job bad = {
        .run = refuse, .done = note_failure, .argument = &failed, .n = 64, .member = PARE__NO_DEVICE};
    const pare__job good = {.run = count_steps, .argument = &works[0], .n = 4, .member = PARE__NO_DEVICE};
    const pare__job jobs[] = {bad, good, bad, bad};
    const size_t begin[] = {0, 0, 0, 1, 3};
    const uint32_t after[] = {0, 1, 2};
    pare__job_id id[4];
    OK(pare__crew_submit_graph(crew, jobs, 4, begin, after, id));
    ck_assert_int_eq(pare__crew_wait(crew, id[3]), PARE_ERR_SHAPE);
    ck_assert_ptr_nonnull(strstr(pare_message(), "does not fit"));
    OK(pare__crew_wait(crew, id[1]));
    ck_assert_int_eq(pare__crew_wait_all(crew), PARE_ERR_SHAPE);
    OK(pare__crew_wait_all(crew));
    ck_assert_int_eq(atomic_load(&failed), 3);
    check_all_ran(0, "");
    close_crew();
  }
}
END_TEST

START_TEST(nonsense_is_refused) {
  const pare__job good = {.run = count_steps, .argument = &works[0], .name = "good", .n = 1, .member = PARE__NO_DEVICE};
  const pare__job ring[] = {good, good, good, good};
  const size_t begin[] = {0, 0, 2, 3, 4};
  const uint32_t after[] = {0, 3, 1, 2};
  pare__job wrong = good;
  pare__job_id id;
  reset_works();
  works[0].n = 1;
  open_crew(2, NULL);
  ck_assert_int_eq(pare__crew_submit_graph(crew, ring, 4, begin, after, NULL), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "needs itself"));
  wrong.resources = PARE__ON_GPU;
  ck_assert_int_eq(pare__crew_submit(crew, &wrong, NULL, 0, NULL), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "gpu"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "cpu"));
  wrong = good;
  wrong.member = 2;
  ck_assert_int_eq(pare__crew_submit(crew, &wrong, NULL, 0, NULL), PARE_ERR_ARGUMENT);
  wrong = good;
  wrong.n = -1;
  ck_assert_int_eq(pare__crew_submit(crew, &wrong, NULL, 0, NULL), PARE_ERR_ARGUMENT);
  id = (pare__job_id)7 << 32 | 5;
  ck_assert_int_eq(pare__crew_submit(crew, &good, &id, 1, NULL), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare__crew_wait(crew, id), PARE_ERR_ARGUMENT);
  OK(pare__crew_wait_all(crew));
  ck_assert_int_eq(atomic_load(&works[0].ran[0]), 0);
  close_crew();
}
END_TEST

/* ---- callbacks and threads ---- */

static atomic_int submitted;

static pare_status do_nothing(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)member, (void)begin, (void)end;
  return PARE_OK;
}

static void submit_more(void *argument, pare_status status) {
  ck_assert_int_eq(status, PARE_OK);
  ck_assert_int_eq(pare__crew_wait_all(crew), PARE_ERR_ARGUMENT);
  ck_assert_int_eq(pare__crew_close(crew), PARE_ERR_ARGUMENT);
  if (atomic_fetch_add(&submitted, 1) >= 100) return;
  const pare__job job = {.run = do_nothing,
                         .done = submit_more,
                         .argument = argument,
                         .n = atomic_load(&submitted) % 2, /* without steps it is done within submit */
                         .member = PARE__NO_DEVICE};
  OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
}

START_TEST(callbacks_may_submit_and_not_wait) {
  const pare__job job = {.run = do_nothing, .done = submit_more, .n = 1, .member = PARE__NO_DEVICE};
  atomic_store(&submitted, 0);
  open_crew(2, NULL);
  OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  OK(pare__crew_wait_all(crew));
  close_crew();
  ck_assert_int_eq(atomic_load(&submitted), 101);
}
END_TEST

static void *submit_chain(void *argument) {
  struct work *work = argument;
  pare__job_id id = 0;
  for (int i = 0; i < 20; i++) {
    work[i].n = 5;
    if (i > 0) work[i].need[work[i].nneeds++] = &work[i - 1];
    const pare__job job = {.run = count_steps,
                           .done = note_done,
                           .argument = &work[i],
                           .kernel = i % 2 ? "even" : "odd",
                           .n = 5,
                           .member = PARE__NO_DEVICE};
    OK(pare__crew_submit(crew, &job, &id, 1, &id));
  }
  OK(pare__crew_wait(crew, id));
  return NULL;
}

START_TEST(ten_threads_submit) {
  pthread_t thread[10];
  reset_works();
  open_crew(3, NULL);
  for (int i = 0; i < 10; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, submit_chain, &works[20 * i]), 0);
  for (int i = 0; i < 10; i++) pthread_join(thread[i], NULL);
  close_crew();
  check_all_ran(200, "ten threads");
}
END_TEST

START_TEST(closing_lets_everything_end) {
  uint64_t random = 3;
  reset_works();
  open_crew(2, NULL);
  submit_random(&random, MOST_JOBS);
  close_crew();
  check_all_ran(MOST_JOBS, "closing");
}
END_TEST

/* ---- order ---- */

static int order[8], norder;
static pare_status note_order(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)member, (void)begin, (void)end;
  order[norder++] = *(const int *)argument;
  return PARE_OK;
}

START_TEST(the_urgent_go_first) {
  static const int number[] = {0, 1, 2, 3};
  static const int16_t priority[] = {-1000, 500, 0, 1000};
  const pare__crew_options options = {.policy = &pare__policy_priority};
  const pare__job blocker = {.run = hang_on_both, .n = 1, .member = PARE__NO_DEVICE};
  reset_works();
  norder = 0;
  open_crew(1, &options);
  OK(pare__crew_submit(crew, &blocker, NULL, 0, NULL));
  await_inside(1);
  for (int i = 0; i < 4; i++) {
    const pare__job job = {
        .run = note_order, .argument = (void *)&number[i], .n = 1, .priority = priority[i], .member = PARE__NO_DEVICE};
    OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  }
  move_gate(true);
  OK(pare__crew_wait_all(crew));
  close_crew();
  ck_assert_int_eq(norder, 4);
  ck_assert_int_eq(order[0], 3);
  ck_assert_int_eq(order[1], 1);
  ck_assert_int_eq(order[2], 2);
  ck_assert_int_eq(order[3], 0);
}
END_TEST

/* ---- two in flight ---- */

static char steps[64];
static pare_status note_run(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)member, (void)begin, (void)end;
  strncat(steps, argument, sizeof steps - strlen(steps) - 1);
  return PARE_OK;
}
static pare_status note_settled(void *argument, size_t member, int64_t begin, int64_t end) {
  strncat(steps, "-", sizeof steps - strlen(steps) - 1);
  return note_run(argument, member, begin, end);
}

START_TEST(the_next_is_enqueued_before_the_first_is_waited_for) {
  static char name[][2] = {"a", "b", "c"};
  const pare__job blocker = {.run = hang_on_both, .n = 1, .member = PARE__NO_DEVICE};
  reset_works();
  steps[0] = '\0';
  open_crew(1, NULL);
  OK(pare__crew_submit(crew, &blocker, NULL, 0, NULL));
  await_inside(1);
  for (int i = 0; i < 3; i++) {
    const pare__job job = {
        .run = note_run, .settle = note_settled, .argument = name[i], .n = 1, .member = PARE__NO_DEVICE};
    OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  }
  move_gate(true);
  OK(pare__crew_wait_all(crew));
  close_crew();
  ck_assert_str_eq(steps, "ab-ac-b-c");
}
END_TEST

/* ---- what was seen ---- */

static pare_status work_a_while(void *argument, size_t member, int64_t begin, int64_t end) {
  const double from = pare__crew_now();
  (void)argument;
  while (pare__crew_now() < from + 2e-6 * (double)(end - begin)) continue;
  pare__crew_copied(crew, member, PARE__COPIED_IN, 100, from, from + 1e-6);
  return PARE_OK;
}

/* What a trace must have for a viewer: slices that do not overlap on a row, arrows in pairs. */
static void check_trace(const char *path, size_t nslices) {
  json_error_t error;
  json_t *trace = json_load_file(path, 0, &error), *event;
  size_t i, found = 0, begun = 0, ended = 0;
  double until[2][3] = {{0}};
  ck_assert_msg(trace != NULL, "%s", error.text);
  json_array_foreach(json_object_get(trace, "traceEvents"), i, event) {
    const char *kind = json_string_value(json_object_get(event, "ph"));
    ck_assert_ptr_nonnull(kind);
    begun += *kind == 's';
    ended += *kind == 'f';
    if (*kind != 'X') continue;
    const json_int_t process = json_integer_value(json_object_get(event, "pid")), device = process / 10 - 1,
                     row = json_integer_value(json_object_get(event, "tid")) - process; /* no two have one number */
    ck_assert_int_eq(process % 10, 0);
    const double from = json_number_value(json_object_get(event, "ts")),
                 seconds = json_number_value(json_object_get(event, "dur"));
    ck_assert(device >= 0 && device < 2 && row >= 0 && row < 3);
    ck_assert(seconds >= 0 && from >= until[device][row] - 0.002);
    until[device][row] = from + seconds;
    found += row == 0;
  }
  ck_assert_uint_eq(found, nslices);
  ck_assert_uint_eq(begun, ended);
  json_decref(trace);
}

START_TEST(counters_add_up_and_the_trace_tells_the_same) {
  char path[] = "/tmp/test_crew.XXXXXX", models[] = "/tmp/test_crew.XXXXXX";
  const int file = mkstemp(path), other = mkstemp(models);
  ck_assert(file >= 0 && other >= 0 && close(file) == 0 && close(other) == 0 && unlink(models) == 0);
  const pare__crew_options options = {.trace = path, .performance = models};
  pare_schedule_stats stats;
  open_crew(2, &options);
  pare__job_id id = 0, needs[2] = {0};
  for (int i = 0; i < 40; i++) {
    const pare__job job = {.run = work_a_while,
                           .name = "while",
                           .kernel = "while",
                           .n = 64,
                           .grain = 1,
                           .member = i % 3 ? PARE__NO_DEVICE : (size_t)i % 2};
    OK(pare__crew_submit(crew, &job, needs, 2, &id));
    needs[i % 2] = id;
  }
  OK(pare__crew_wait_all(crew));
  OK(pare__crew_stats(crew, &stats));
  ck_assert_uint_eq(stats.jobs, 40);
  ck_assert_uint_eq(stats.ndevices, 2);
  ck_assert_uint_eq(stats.pieces, stats.device[0].pieces + stats.device[1].pieces);
  ck_assert(stats.latency_p50 > 0 && stats.latency_p50 <= stats.latency_p95 && stats.latency_p95 <= stats.latency_p99);
  for (size_t i = 0; i < 2; i++) {
    const pare_device_stats *device = &stats.device[i];
    ck_assert_uint_eq(device->copied_bytes, 100 * device->pieces);
    ck_assert(device->busy_seconds > 0 && device->wait_seconds >= 0);
    ck_assert(device->busy_seconds + device->copy_seconds + device->idle_seconds <= stats.elapsed_seconds * 1.001);
  }
  ck_assert_uint_eq(stats.nkernels, 2); /* one kernel on two devices */
  for (size_t i = 0; i < 2; i++) {
    const pare_device_stats *device = &stats.device[stats.kernel[i].device];
    ck_assert_str_eq(stats.kernel[i].kernel, "while");
    ck_assert_uint_eq(stats.kernel[i].pieces, device->pieces);
    ck_assert_double_eq_tol(stats.kernel[i].busy_seconds, device->busy_seconds, 1e-9);
    ck_assert_double_eq_tol(stats.kernel[i].copy_seconds, device->copy_seconds, 1e-9);
    ck_assert_double_eq_tol(stats.kernel[i].wait_seconds, device->wait_seconds, 1e-9);
  }
  ck_assert_uint_ne(stats.kernel[0].device, stats.kernel[1].device);
  ck_assert(stats.kernel[0].busy_seconds >= stats.kernel[1].busy_seconds);
  const size_t npieces = (size_t)stats.pieces;
  pare_schedule_stats_close(&stats);
  close_crew();
  check_trace(path, npieces);
  ck_assert(access(models, R_OK) == 0);
  unlink(path);
  unlink(models);
}
END_TEST

/* The second member makes a program in its first call, which is slow for that. */
static pare_status prepare_first(void *argument, size_t member, int64_t begin, int64_t end) {
  atomic_int *calls = argument;
  if (atomic_fetch_add(&calls[member], 1) == 0 && member == 1) {
    const double from = pare__crew_now();
    while (pare__crew_now() < from + 0.05) continue;
    pare__prepared();
  }
  return work_a_while(NULL, member, begin, end);
}

START_TEST(a_probe_in_which_a_program_was_built_is_made_again) {
  atomic_int calls[2] = {0};
  open_crew(2, NULL);
  const pare__job job = {
      .run = prepare_first, .argument = calls, .kernel = "k", .n = 6400, .grain = 1, .member = PARE__NO_DEVICE};
  OK(pare__crew_submit(crew, &job, NULL, 0, NULL));
  OK(pare__crew_wait_all(crew));
  close_crew();
  ck_assert_int_ge(atomic_load(&calls[1]), 2);
}
END_TEST

START_TEST(ways_to_be_parallel_have_names) {
  pare_parallel parsed;
  for (int i = PARE_PARALLEL_AUTO; i <= PARE_PARALLEL_OFF; i++) {
    OK(pare_parallel_parse(pare_parallel_name((pare_parallel)i), &parsed));
    ck_assert_int_eq((int)parsed, i);
  }
  ck_assert_int_eq(pare_parallel_parse("sideways", &parsed), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "pipeline"));
}
END_TEST

START_TEST(watts_and_prices_are_one_for_each_device) {
  static const char *const wrong[] = {"1", "1,2,3", "1,", "1;2", "-1,2", "1:,2", "nan,1", "1,2 "};
  pare_schedule_options options = PARE_SCHEDULE_OPTIONS_INIT;
  pare__crew_member member[2] = {{.name = "a"}, {.name = "b"}};
  options.watts = "120:10,65.5";
  options.prices = "0.5,0";
  OK(pare__schedule_power(&options, member, 2));
  ck_assert(member[0].seen.busy_watts == 120 && member[0].seen.idle_watts == 10);
  ck_assert(member[1].seen.busy_watts == 65.5 && member[1].seen.idle_watts == 0);
  ck_assert(member[0].seen.price_per_hour == 0.5 && member[1].seen.price_per_hour == 0);
  for (size_t i = 0; i < PARE__COUNT(wrong); i++) {
    options.watts = wrong[i];
    ck_assert_msg(pare__schedule_power(&options, member, 2) == PARE_ERR_ARGUMENT, "'%s' is taken", wrong[i]);
    ck_assert_ptr_nonnull(strstr(pare_message(), wrong[i]));
  }
}
END_TEST

static TCase *laws(void) {
  TCase *tests = tcase_create("laws");
  tcase_set_timeout(tests, 0);
  tcase_add_test(tests, every_step_runs_once_whoever_is_lost);
  tcase_add_test(tests, a_member_that_hangs_is_given_up);
  tcase_add_test(tests, all_lost_fails_what_is_left);
  tcase_add_test(tests, a_member_given_up_in_a_call_ends_it);
  tcase_add_test(tests, a_job_for_a_member_that_is_lost_runs_elsewhere);
  tcase_add_test(tests, a_failure_reaches_those_that_need_it);
  tcase_add_test(tests, nonsense_is_refused);
  tcase_add_test(tests, callbacks_may_submit_and_not_wait);
  tcase_add_test(tests, ten_threads_submit);
  tcase_add_test(tests, closing_lets_everything_end);
  tcase_add_test(tests, the_urgent_go_first);
  tcase_add_test(tests, the_next_is_enqueued_before_the_first_is_waited_for);
  tcase_add_test(tests, counters_add_up_and_the_trace_tells_the_same);
  tcase_add_test(tests, a_probe_in_which_a_program_was_built_is_made_again);
  tcase_add_test(tests, ways_to_be_parallel_have_names);
  tcase_add_test(tests, watts_and_prices_are_one_for_each_device);
  return tests;
}

int main(void) { return run_tests("crew", laws()); }
