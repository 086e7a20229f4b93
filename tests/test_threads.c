/* Several threads in one context, and several contexts at once. SPDX-License-Identifier: Apache-2.0 */
#include <pare.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "workload.h"

enum { THREADS = 4, ROUNDS = 6, OPENINGS = 3, SHARED = 1000, SEED = 5 };

static char folder[] = "/tmp/pare-test-threads-XXXXXX";
static pare_model *shared_model;

/* What a thread is given, and the first thing that went wrong in it: libcheck's assertions belong to the main thread.
 */
typedef struct job {
  pare_tensor *tensor;
  unsigned number;
  pthread_barrier_t *start;
  char problem[300];
} job;

static void *compute_in_one_context(void *argument) {
  job *my = argument;
  pthread_barrier_wait(my->start);
  for (unsigned round = 0; round < ROUNDS && my->problem[0] == 0; round++) {
    workload_result result;
    unsigned seed = my->number * 100 + round;
    if (workload_compute(context, seed, &result) != PARE_OK)
      snprintf(my->problem, sizeof my->problem, "%.250s", pare_message());
    else if (!workload_is_right(seed, &result))
      snprintf(my->problem, sizeof my->problem, "wrong results in round %u", round);
  }
  return NULL;
}

static void *compute_in_own_contexts(void *argument) {
  job *my = argument;
  pthread_barrier_wait(my->start);
  for (unsigned round = 0; round < OPENINGS && my->problem[0] == 0; round++) {
    workload_result result;
    pare_context *own;
    pare_status status = pare_context_open(NULL, &own);
    if (status == PARE_OK) status = workload_compute(own, my->number, &result);
    if (status != PARE_OK)
      snprintf(my->problem, sizeof my->problem, "%.250s", pare_message());
    else if (!workload_is_right(my->number, &result))
      snprintf(my->problem, sizeof my->problem, "wrong results");
    pare_context_close(own);
  }
  return NULL;
}

/* All threads run one model, each with as many rows as no other has. */
static void *run_one_model(void *argument) {
  job *my = argument;
  pthread_barrier_wait(my->start);
  for (unsigned round = 0; round < ROUNDS && my->problem[0] == 0; round++) {
    workload_result result;
    const int rows = WORKLOAD_ROWS - (int)my->number;
    if (workload_run(context, shared_model, SEED, rows, &result) != PARE_OK)
      snprintf(my->problem, sizeof my->problem, "%.250s", pare_message());
    else if (!workload_rows_are_right(SEED, rows, &result))
      snprintf(my->problem, sizeof my->problem, "wrong results in round %u", round);
  }
  return NULL;
}

/* Each thread reads the shared tensor through a view of its own. */
static void *read_shared_tensor(void *argument) {
  job *my = argument;
  pthread_barrier_wait(my->start);
  for (unsigned round = 0; round < ROUNDS && my->problem[0] == 0; round++) {
    int32_t values[SHARED / THREADS];
    int64_t begin = my->number * (SHARED / THREADS);
    pare_tensor *view;
    pare_status status = pare_tensor_slice(my->tensor, 0, begin, SHARED / THREADS, 1, &view);
    if (status == PARE_OK) status = pare_tensor_read(view, values, sizeof values);
    pare_tensor_close(view);
    if (status != PARE_OK) snprintf(my->problem, sizeof my->problem, "%.250s", pare_message());
    for (int i = 0; status == PARE_OK && i < SHARED / THREADS; i++)
      if (values[i] != begin + i) snprintf(my->problem, sizeof my->problem, "element %d is %d", i, values[i]);
  }
  return NULL;
}

static void *fail_alone(void *argument) {
  job *my = argument;
  pare_tensor *none;
  pthread_barrier_wait(my->start);
  if (strcmp(pare_message(), "") != 0) snprintf(my->problem, sizeof my->problem, "a message before any failure");
  /* thread 0 never fails: its message stays empty */
  for (unsigned round = 0; round < ROUNDS * 100 && my->number > 0; round++)
    pare_tensor_create(context, PARE_F32, (int)(PARE_MAX_RANK + my->number), NULL, &none);
  char rank[16];
  snprintf(rank, sizeof rank, "%u", (unsigned)PARE_MAX_RANK + my->number);
  if (my->number > 0 ? strstr(pare_message(), rank) == NULL : pare_message()[0] != 0)
    snprintf(my->problem, sizeof my->problem, "another thread's message: %.200s", pare_message());
  return NULL;
}

static void run_threads(void *(*body)(void *), pare_tensor *tensor) {
  pthread_t threads[THREADS];
  job jobs[THREADS];
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, THREADS);
  for (unsigned i = 0; i < THREADS; i++) {
    jobs[i] = (job){.tensor = tensor, .number = i, .start = &start};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, body, &jobs[i]), 0);
  }
  for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&start);
  for (unsigned i = 0; i < THREADS; i++) ck_assert_msg(jobs[i].problem[0] == 0, "thread %u: %s", i, jobs[i].problem);
}

START_TEST(threads_share_one_context) {
  run_threads(compute_in_one_context, NULL);
  ck_assert_int_eq(pare_context_wait(context), PARE_OK);
}
END_TEST

START_TEST(threads_have_contexts_of_their_own) { run_threads(compute_in_own_contexts, NULL); }
END_TEST

/* Planned, and run at once: a convolution, quantised weights, If and Loop. */
START_TEST(threads_run_one_model) {
  const char *path = path_in(folder, "model.onnx");
  ck_assert(workload_write_model(path, _i ? WORKLOAD_AT_ONCE : WORKLOAD_LAYERS, SEED));
  OK(pare_model_open(context, path, NULL, &shared_model));
  run_threads(run_one_model, NULL);
  pare_model_close(shared_model);
}
END_TEST

START_TEST(threads_read_one_tensor) {
  int32_t values[SHARED];
  pare_tensor *tensor;
  for (int i = 0; i < SHARED; i++) values[i] = i;
  ck_assert_int_eq(pare_tensor_from(context, PARE_I32, 1, (const int64_t[]){SHARED}, values, sizeof values, &tensor),
                   PARE_OK);
  run_threads(read_shared_tensor, tensor);
  pare_tensor_close(tensor);
}
END_TEST

START_TEST(messages_belong_to_their_thread) { run_threads(fail_alone, NULL); }
END_TEST

int main(void) {
  setenv("PARE_DEVICE", "cpu", 0);
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *cases = tcase_create("threads");
  tcase_add_checked_fixture(cases, open_context, close_context);
  tcase_add_test(cases, threads_share_one_context);
  tcase_add_test(cases, threads_have_contexts_of_their_own);
  tcase_add_loop_test(cases, threads_run_one_model, 0, 2);
  tcase_add_test(cases, threads_read_one_tensor);
  tcase_add_test(cases, messages_belong_to_their_thread);
  return remove_folder(folder, run_tests("threads", cases));
}
