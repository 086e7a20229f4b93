/* Models on several devices: the bits of one, whatever happens to the others. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <pare/elementwise.h>
#include <pare/model.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compress/method.h"
#include "fault/fault.h"
#include "graph/parallel.h"
#include "ocl/device.h"
#include "onnx_builder.h"
#include "watch.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

#define STALL_SECONDS 2.0 /* longer than a loaded machine delays a call */

enum { WATCHDOG_SECONDS = 300, IN = 24, OUT = 5, MOST_ROWS = 100, THREADS = 4, LARGEST = MOST_ROWS * IN };

static char folder[] = "/tmp/pare-test-parallel-XXXXXX";
static const fault_control *fault;
static float *values;     /* of the input */
static unsigned told;     /* how often the loss of a device was */
static char message[300]; /* and how the last time */

static void say_lost(void *user, const char *text) {
  (void)user;
  told++;
  snprintf(message, sizeof message, "%s", text);
}

static char *path_of(const char *name) {
  static char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* y = relu(x w), then softmax over the axis: 1 for each sample by itself, 0 for one over all samples. */
static void write_model(const char *name, int64_t axis) {
  pare__onnx_model *model = model_new(17);
  float *w = random_floats(IN * OUT, 7);
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, IN});
  model_constant(model, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){IN, OUT}, w);
  model_node(model, "MatMul", "x w", "h");
  model_node(model, "Relu", "h", "r");
  pare__onnx_node *node = model_node(model, "Softmax", "r", "y");
  node_int(model, node, "axis", axis);
  model_output(model, "y");
  model_write(model, path_of(name));
  free(w);
}

static pare_context *open_as(const pare_schedule_options *schedule) {
  const pare_context_options options = {.device = halves(), .schedule = schedule};
  pare_context *opened;
  told = 0;
  OK(pare_context_open(&options, &opened));
  return opened;
}

static pare_context *open_with(pare_parallel parallel) {
  return open_as(&(pare_schedule_options){.parallel = parallel, .lost = say_lost});
}

/* The model's output for so many samples; to be freed. */
static pare_status run_model(pare_context *in, pare_model *model, int64_t rows, float **out) {
  pare_tensor *x = NULL, *y = NULL;
  *out = NULL;
  pare_status status =
      pare_tensor_from(in, PARE_F32, 2, (const int64_t[]){rows, IN}, values, (size_t)rows * IN * sizeof(float), &x);
  if (status == PARE_OK) status = pare_model_run(model, &x, NULL, &y);
  if (status == PARE_OK) {
    *out = malloc((size_t)rows * OUT * sizeof(float) + 1);
    status = pare_tensor_read(y, *out, (size_t)rows * OUT * sizeof(float));
  }
  pare_tensor_close(x);
  pare_tensor_close(y);
  return status;
}

static float *on_one_device(const char *name, int64_t rows) {
  pare_context *one = open_with(PARE_PARALLEL_OFF);
  pare_model *model;
  float *y;
  OK(pare_model_open(one, path_of(name), NULL, &model));
  OK(run_model(one, model, rows, &y));
  pare_model_close(model);
  pare_context_close(one);
  return y;
}

static pare_model *open_model(pare_parallel parallel, const char *name) {
  pare_model *model;
  several = open_with(parallel);
  OK(pare_model_open(several, path_of(name), NULL, &model));
  return model;
}

static void close_model(pare_model *model) {
  pare_model_close(model);
  pare_context_close(several);
  several = NULL;
}

START_TEST(a_batch_that_is_split_has_the_bits_of_one_device) {
  static const int64_t rows[] = {1, 8, 15, 16, 17, 37, 64, 100};
  pare_model *model = open_model(PARE_PARALLEL_AUTO, "rows.onnx");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    float *expected = on_one_device("rows.onnx", rows[i]), *found;
    pare_model_division division;
    OK(run_model(several, model, rows[i], &found));
    ck_assert_msg(memcmp(expected, found, (size_t)rows[i] * OUT * sizeof(float)) == 0, "other bits for %d samples",
                  (int)rows[i]);
    OK(pare_model_divided(model, &division));
    ck_assert_int_eq(division.parallel, rows[i] < 16 ? PARE_PARALLEL_TASK : PARE_PARALLEL_DATA);
    ck_assert_int_eq(division.pieces, rows[i] < 16 ? 1 : rows[i] / 8);
    free(expected);
    free(found);
  }
  close_model(model);
}
END_TEST

START_TEST(samples_that_depend_on_each_other_are_not_split) {
  pare_model_division division;
  float *expected = on_one_device("mixed.onnx", 40), *found;
  pare_model *model = open_model(PARE_PARALLEL_AUTO, "mixed.onnx");
  OK(run_model(several, model, 40, &found));
  ck_assert_int_eq(memcmp(expected, found, 40 * OUT * sizeof(float)), 0);
  OK(pare_model_divided(model, &division));
  ck_assert_int_eq(division.parallel, PARE_PARALLEL_TASK);
  ck_assert_ptr_nonnull(strstr(division.why, "neighbours"));
  close_model(model);
  free(found);

  model = open_model(PARE_PARALLEL_DATA, "mixed.onnx");
  ck_assert_int_eq(run_model(several, model, 40, &found), PARE_ERR_UNSUPPORTED);
  ck_assert_ptr_nonnull(strstr(pare_message(), "cannot be parallel by data"));
  close_model(model);
  free(found);
  free(expected);
}
END_TEST

/* Runs by the usual way until all is known that predictions are made of: runs that built something are not measured,
 * and which do is up to the devices. */
static void run_until_predicted(pare_model *model, int64_t rows, const float *expected, pare_parallel usual) {
  pare_model_division division = {0};
  for (int run = 0; run < 50 && !strstr(division.why, "columns "); run++) {
    float *found;
    OK(run_model(several, model, rows, &found));
    ck_assert_int_eq(memcmp(expected, found, (size_t)rows * OUT * sizeof(float)), 0);
    free(found);
    OK(pare_model_divided(model, &division));
    ck_assert_msg(division.parallel == usual, "run %d of %d rows: %s", run, (int)rows, division.why);
  }
  ck_assert_msg(strstr(division.why, "predicted ms:") && strstr(division.why, "columns ") &&
                    strstr(division.why, "task ") && strstr(division.why, "off "),
                "%s", division.why);
}

START_TEST(auto_says_what_it_predicts_and_takes_the_shortest) {
  static const pare_parallel usual[] = {PARE_PARALLEL_TASK, PARE_PARALLEL_DATA};
  for (size_t i = 0; i < 2; i++) {
    const int64_t rows = i ? 64 : 8;
    float *expected = on_one_device("rows.onnx", rows), *found;
    pare_model *model = open_model(PARE_PARALLEL_AUTO, "rows.onnx");
    pare_model_division division;
    run_until_predicted(model, rows, expected, usual[i]);
    ck_assert_uint_gt(model->team->nspreads, 0);
    pare__tried *columns = &model->team->spread[0]->columns; /* as if measured, and very quick */
    columns->any = true;
    for (int k = 0; k < 2 * PARE__TIMINGS; k++) pare__tried_add(columns, 1e-12);
    OK(run_model(several, model, rows, &found));
    ck_assert_int_eq(memcmp(expected, found, (size_t)rows * OUT * sizeof(float)), 0);
    OK(pare_model_divided(model, &division));
    ck_assert_msg(division.parallel == (i ? PARE_PARALLEL_DATA : PARE_PARALLEL_COLUMNS), "%d rows: %s", (int)rows,
                  division.why); /* a batch that can be split is */
    close_model(model);
    free(found);
    free(expected);
  }
}
END_TEST

typedef struct caller {
  pare_model *model;
  const float *expected;
  bool right;
} caller;

static void *call_often(void *argument) {
  caller *mine = argument;
  mine->right = true;
  for (int64_t i = 0; i < 6 && mine->right; i++) {
    const int64_t rows = 16 + 13 * i;
    float *found;
    mine->right = run_model(several, mine->model, rows, &found) == PARE_OK &&
                  memcmp(mine->expected, found, (size_t)rows * OUT * sizeof(float)) == 0;
    free(found);
  }
  return NULL;
}

START_TEST(threads_share_a_model_on_several_devices) {
  static const pare_parallel ways[] = {PARE_PARALLEL_AUTO, PARE_PARALLEL_TASK, PARE_PARALLEL_PIPELINE};
  float *expected = on_one_device("rows.onnx", MOST_ROWS);
  pare_model *model = open_model(ways[_i], "rows.onnx");
  caller all[THREADS];
  pthread_t thread[THREADS];
  for (unsigned i = 0; i < THREADS; i++) {
    all[i] = (caller){.model = model, .expected = expected};
    ck_assert_int_eq(pthread_create(&thread[i], NULL, call_often, &all[i]), 0);
  }
  for (unsigned i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  for (unsigned i = 0; i < THREADS; i++) ck_assert(all[i].right);
  close_model(model);
  free(expected);
}
END_TEST

/* rows.onnx: softmax for each sample; mixed.onnx: over all, so that the batch is one part. */
START_TEST(a_pipeline_of_stages_has_the_bits_of_one_device) {
  static const int64_t rows[] = {1, 8, 15, 16, 37, 100, 64, 100};
  const char *name = _i ? "mixed.onnx" : "rows.onnx";
  pare_model *model = open_model(PARE_PARALLEL_PIPELINE, name);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    float *expected = on_one_device(name, rows[i]), *found;
    pare_model_division division;
    OK(run_model(several, model, rows[i], &found));
    ck_assert_msg(memcmp(expected, found, (size_t)rows[i] * OUT * sizeof(float)) == 0, "other bits for %d samples",
                  (int)rows[i]);
    OK(pare_model_divided(model, &division));
    ck_assert_int_eq(division.parallel, PARE_PARALLEL_PIPELINE);
    ck_assert_int_eq(division.pieces, rows[i] < 16 || _i ? 1 : rows[i] / 8);
    ck_assert_msg(strstr(division.why, "2 stages"), "%s", division.why);
    free(expected);
    free(found);
  }
  pare_schedule_stats stats;
  OK(pare_context_stats(several, &stats));
  ck_assert(stats.device[0].pieces > 0 && stats.device[1].pieces > 0);
  pare_schedule_stats_close(&stats);
  close_model(model);
}
END_TEST

START_TEST(a_device_that_dies_is_told_once_and_its_work_runs_elsewhere) {
  static const pare_parallel ways[] = {PARE_PARALLEL_AUTO, PARE_PARALLEL_PIPELINE};
  float *expected = on_one_device("rows.onnx", MOST_ROWS), *found;
  for (unsigned long nth = 1; nth < 12; nth += 3) {
    pare_model *model = open_model(ways[_i], "rows.onnx");
    fault->reset();
    fault->inject("clEnqueueNDRangeKernel", nth, 1, 0);
    for (unsigned again = 0; again < 2; again++) {
      OK(run_model(several, model, MOST_ROWS, &found));
      ck_assert_int_eq(memcmp(expected, found, MOST_ROWS * OUT * sizeof(float)), 0);
      free(found);
    }
    ck_assert_uint_eq(fault->failed(NULL), 1);
    fault->reset();
    pare_schedule_stats stats;
    OK(pare_context_stats(several, &stats));
    ck_assert(stats.device[0].lost != stats.device[1].lost);
    pare_schedule_stats_close(&stats);
    close_model(model);
    /* by the time the crew is closed: the work may be done before */
    ck_assert_msg(told == 1, "call %lu failed: told %u times", nth, told);
    ck_assert_ptr_nonnull(strstr(message, "clEnqueueNDRangeKernel"));
  }
  free(expected);
}
END_TEST

/* Memory runs out on one device, or its kernels do not build: no bit is another, and no device is lost. */
START_TEST(what_one_device_has_no_memory_for_others_do) {
  static const pare_parallel ways[] = {PARE_PARALLEL_AUTO, PARE_PARALLEL_PIPELINE, PARE_PARALLEL_COLUMNS};
  enum { NO_MEMORY = -4 };
  float *expected = on_one_device("rows.onnx", MOST_ROWS), *found;
  for (unsigned long nth = 1; nth < 20; nth += 6) {
    pare_model *model = open_model(ways[_i], "rows.onnx");
    fault->reset();
    fault->inject("clCreateBuffer", nth, 1, NO_MEMORY);
    for (unsigned again = 0; again < 2; again++) {
      OK(run_model(several, model, MOST_ROWS, &found));
      ck_assert_int_eq(memcmp(expected, found, MOST_ROWS * OUT * sizeof(float)), 0);
      free(found);
    }
    ck_assert(fault->failed(NULL) == 1 || nth > 1); /* one that computes in place needs few buffers */
    fault->reset();
    close_model(model);
    ck_assert_uint_eq(told, 0);
  }
  free(expected);
}
END_TEST

START_TEST(without_any_device_left_a_run_fails_and_a_new_context_works) {
  float *expected = on_one_device("rows.onnx", MOST_ROWS), *found;
  pare_model *model = open_model(PARE_PARALLEL_AUTO, "rows.onnx");
  fault->reset();
  fault->inject("clEnqueueNDRangeKernel", 1, 0, 0);
  ck_assert_int_eq(run_model(several, model, MOST_ROWS, &found), PARE_ERR_DEVICE);
  free(found);
  fault->reset();
  ck_assert_int_eq(run_model(several, model, MOST_ROWS, &found), PARE_ERR_DEVICE);
  free(found);
  close_model(model);
  ck_assert_uint_eq(told, 2);
  model = open_model(PARE_PARALLEL_AUTO, "rows.onnx");
  OK(run_model(several, model, MOST_ROWS, &found));
  ck_assert_int_eq(memcmp(expected, found, MOST_ROWS * OUT * sizeof(float)), 0);
  close_model(model);
  free(found);
  free(expected);
}
END_TEST

/* In a call of its driver, whichever: the run ends elsewhere, the context closes, and who comes back harms nothing. */
START_TEST(a_driver_that_hangs_is_given_up) {
  static const struct {
    pare_parallel parallel;
    const char *call;
    unsigned long nth;
  } rows[] = {{PARE_PARALLEL_DATA, "clEnqueueNDRangeKernel", 3},
              {PARE_PARALLEL_PIPELINE, "clEnqueueNDRangeKernel", 4},
              {PARE_PARALLEL_COLUMNS, "clEnqueueNDRangeKernel", 2},
              {PARE_PARALLEL_COLUMNS, "clWaitForEvents", 2}};
  float *expected = on_one_device("rows.onnx", MOST_ROWS), *found;
  pare_model *model;
  bool too_slow = false;
  for (int run = 0; run < 2; run++) { /* the first builds what there is to build, with patience */
    several = open_as(&(pare_schedule_options){
        .parallel = rows[_i].parallel, .lost = say_lost, .stall_seconds = run ? STALL_SECONDS : 0});
    OK(pare_model_open(several, path_of("rows.onnx"), NULL, &model));
    pare_status status = run_model(several, model, MOST_ROWS, &found);
    free(found);
    if (run > 0) fault->hang(rows[_i].call, rows[_i].nth, -1);
    if (status == PARE_OK)
      status = run_model(several, model, MOST_ROWS, &found);
    else
      found = NULL;
    /* a machine that is busy otherwise may delay both for so long */
    too_slow = run > 0 && status == PARE_ERR_DEVICE && told == 2;
    ck_assert_msg(status == PARE_OK || too_slow, "%s", pare_message());
    ck_assert(too_slow || memcmp(expected, found, MOST_ROWS * OUT * sizeof(float)) == 0);
    free(found);
    if (run == 0) close_model(model);
  }
  const unsigned hung = fault->hanging();
  close_model(model);
  ck_assert(too_slow || (hung == 1 && told == 1));
  fault->let_go();
  fault->reset();
  free(expected);
}
END_TEST

/* What a device that was given up had begun is done by another, and its results may be overwritten by then. */
START_TEST(who_comes_back_late_overwrites_nothing) {
  enum { N = 1 << 20 };
  float *one = random_floats(N, 3), *other = random_floats(N, 4), *found = malloc(N * sizeof(float));
  ck_assert_ptr_nonnull(found);
  for (int run = 0; run < 2; run++) { /* the first builds what there is to build, with patience */
    pare_tensor *x, *y;
    several = open_as(&(pare_schedule_options){.stall_seconds = run ? STALL_SECONDS : 0, .lost = say_lost});
    OK(pare_tensor_from(several, PARE_F32, 1, (const int64_t[]){N}, one, N * sizeof(float), &x));
    OK(pare_tensor_create(several, PARE_F32, 1, (const int64_t[]){N}, &y));
    if (run) fault->hang("clEnqueueNDRangeKernel", 2, -1);
    OK(pare_unary(PARE_UNARY_neg, x, y));
    const pare_status status = pare_tensor_read(y, found, N * sizeof(float));
    if (run == 0 || told == 1) {
      OK(status);
      for (size_t i = 0; i < N; i++) ck_assert_float_eq(found[i], -one[i]);
      OK(pare_tensor_write(y, other, N * sizeof(float)));
    }
    fault->let_go();
    pare__crew *crew;
    OK(pare__crew_of(several, &crew));
    for (int turn = 0; turn < 1000 && (pare__crew_hangs(crew, 0) || pare__crew_hangs(crew, 1)); turn++) usleep(10000);
    ck_assert(!pare__crew_hangs(crew, 0) && !pare__crew_hangs(crew, 1));
    if (run == 0 || told == 1) {
      OK(pare_tensor_read(y, found, N * sizeof(float)));
      ck_assert_int_eq(memcmp(found, other, N * sizeof(float)), 0);
    }
    pare_tensor_close(x);
    pare_tensor_close(y);
    pare_context_close(several);
    several = NULL;
    fault->reset();
  }
  free(one);
  free(other);
  free(found);
}
END_TEST

static sem_t hanging, let_go, back;

static pare_status hang_on_second(void *argument, size_t member, int64_t begin, int64_t end) {
  (void)argument, (void)begin, (void)end;
  if (member != 1) return PARE_OK;
  sem_post(&hanging);
  sem_wait(&let_go);
  sem_post(&back);
  return PARE_OK;
}

static void *run_once(void *argument) {
  float *found;
  OK(run_model(several, argument, MOST_ROWS, &found));
  free(found);
  sem_post(&back);
  return NULL;
}

/* Whoever runs at once asks only those devices for what went wrong that it had pieces on. */
START_TEST(a_run_waits_for_no_device_that_had_nothing_of_it) {
  pare_model *model;
  pthread_t thread;
  cl_mem flags;
  int64_t offset;
  cl_int code;
  several = open_as(&(pare_schedule_options){.parallel = PARE_PARALLEL_TASK, .policy = "round-robin"});
  OK(pare_model_open(several, path_of("rows.onnx"), NULL, &model));
  pare_context *other = pare__team_context(model->team, 1);
  pare__device *blocked = pare__context_device(other);
  OK(pare__context_flag(other, "nothing is wrong", &flags, &offset)); /* what it would ask for */
  cl_event gate = clCreateUserEvent(blocked->context, &code);
  ck_assert_int_eq(code, CL_SUCCESS);
  ck_assert_int_eq(clEnqueueBarrierWithWaitList(pare__device_queue(blocked), 1, &gate, NULL), CL_SUCCESS);
  sem_init(&back, 0, 0);
  ck_assert_int_eq(pthread_create(&thread, NULL, run_once, model), 0);
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 60;
  const int late = sem_timedwait(&back, &until);
  ck_assert_int_eq(clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
  pthread_join(thread, NULL);
  clReleaseEvent(gate);
  close_model(model);
  ck_assert_msg(late == 0, "a run on the first device waits for the second");
}
END_TEST

START_TEST(a_context_closes_while_a_device_hangs) {
  pare__crew *crew;
  pare__job_id id;
  const pare__job job = {.run = hang_on_second, .name = "hangs", .kernel = "hangs", .n = 1, .member = 1};
  sem_init(&hanging, 0, 0);
  sem_init(&let_go, 0, 0);
  sem_init(&back, 0, 0);
  several = open_as(&(pare_schedule_options){.stall_seconds = 0.5, .lost = say_lost});
  OK(pare__crew_of(several, &crew));
  OK(pare__crew_submit(crew, &job, NULL, 0, &id));
  sem_wait(&hanging);
  OK(pare__crew_wait(crew, id)); /* on the first */
  ck_assert(pare__crew_hangs(crew, 1) && !pare__crew_hangs(crew, 0));
  pare_context *closed = several;
  several = NULL;
  pare_context_close(closed);
  ck_assert_uint_eq(told, 1);
  ck_assert(pare__context_is_left_open(closed));
  sem_post(&let_go);
  sem_wait(&back);
}
END_TEST

/* A method that changes nothing; on the second device it hangs in its first piece. */
static atomic_bool has_hung;
static const pare_context *second;

static pare_status plan_to_hang(const pare__modifier *modifier, const pare__weight *weight, pare__treatment *treatment,
                                bool *takes) {
  (void)modifier, (void)weight;
  treatment->storage = PARE__STORE_VALUES;
  *takes = true;
  return PARE_OK;
}

static pare_status apply_or_hang(pare__compression *compression, size_t step, pare__work *work) {
  (void)step, (void)work;
  if (compression->context != second || atomic_exchange(&has_hung, true)) return PARE_OK;
  sem_wait(&let_go);
  return PARE_OK;
}

static void finish_hanging(pare__compression *compression, size_t step) {
  (void)compression, (void)step;
  sem_post(&back);
}

static const char *const linear[] = {"Linear", NULL};
static const pare__method method_that_hangs = {.name = "hangs",
                                               .options_bytes = 1,
                                               .default_targets = linear,
                                               .plan = plan_to_hang,
                                               .apply = apply_or_hang,
                                               .finish = finish_hanging};

/* Its piece is made by the other, and what it works for lives until it comes back. On a machine so loaded that the
 * other seems to hang as well, or that the second gets no piece, there is less to see. */
START_TEST(a_device_that_hangs_while_it_compresses_keeps_what_it_works_for) {
  const pare_compress_options how = {.skip_verify = true};
  char in[200], out[200], name[8], from[8] = "x", to[8], inputs[20];
  pare__onnx_model *model = model_new(17);
  pare__modifier *modifier;
  pare_recipe *recipe;
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, 16});
  for (int i = 0; i < 8; i++) {
    snprintf(name, sizeof name, "w%d", i);
    snprintf(to, sizeof to, "h%d", i);
    snprintf(inputs, sizeof inputs, "%s %s", from, name);
    model_constant(model, name, PARE__ONNX_FLOAT, 2, (const int64_t[]){16, 16}, values);
    model_node(model, "MatMul", inputs, to);
    memcpy(from, to, sizeof to);
  }
  model_output(model, from);
  snprintf(in, sizeof in, "%s", path_of("chain.onnx"));
  snprintf(out, sizeof out, "%s", path_of("chained.onnx"));
  model_write(model, in);
  sem_init(&let_go, 0, 0);
  sem_init(&back, 0, 0);
  several =
      open_as(&(pare_schedule_options){.policy = "round-robin", .stall_seconds = STALL_SECONDS, .lost = say_lost});
  OK(pare_recipe_create(&recipe));
  OK(pare__recipe_append(recipe, &method_that_hangs, &modifier));
  second = pare__context_member(several, 1);
  const pare_status status = pare_compress(several, in, out, recipe, &how, NULL);
  pare_recipe_close(recipe);
  ck_assert_msg(status == PARE_OK || (status == PARE_ERR_DEVICE && told == 2), "%s", pare_message());
  const bool hung = atomic_load(&has_hung);
  if (hung && told == 1) ck_assert_int_ne(sem_trywait(&back), 0);
  sem_post(&let_go);
  if (hung) sem_wait(&back);
  pare_context_close(several);
  several = NULL;
}
END_TEST

/* The runs of a trace, without the first so many, in which each of two devices had a quarter of the steps that each run
 * has. */
static unsigned balanced_runs(const char *path, json_int_t steps, unsigned first) {
  json_error_t error;
  json_t *trace = json_load_file(path, 0, &error), *event;
  ck_assert_msg(trace != NULL, "%s", error.text);
  json_int_t had[2] = {0};
  unsigned balanced = 0, run = 0;
  size_t i;
  json_array_foreach(json_object_get(trace, "traceEvents"), i, event) {
    const char *kind = json_string_value(json_object_get(event, "cat"));
    const json_t *args = json_object_get(event, "args");
    if (!kind || !strstr(kind, "samples")) continue;
    const json_int_t member = json_integer_value(json_object_get(event, "pid")) / 10 - 1;
    ck_assert(member >= 0 && member < 2);
    had[member] +=
        json_integer_value(json_object_get(args, "end")) - json_integer_value(json_object_get(args, "begin"));
    if (had[0] + had[1] < steps) continue;
    balanced += run++ >= first && 4 * had[0] >= steps && 4 * had[1] >= steps;
    had[0] = had[1] = 0;
  }
  json_decref(trace);
  return balanced;
}

/* Of what is learned in the first runs the others live. */
static unsigned balanced_runs_of_digits(void) {
  enum { RUNS = 20, LEARNING = 10, ROWS = 360 };
  const char *top = getenv("srcdir");
  char path[300], trace[300];
  pare_model *model;
  pare_model_value value;
  int64_t shape[PARE_MAX_RANK] = {ROWS}, count = ROWS;
  pare_tensor *x, *y;
  snprintf(path, sizeof path, "%s/tests/data/digits/digits.onnx", top ? top : ".");
  snprintf(trace, sizeof trace, "%s", path_of("trace.json"));
  several = open_as(&(pare_schedule_options){.parallel = PARE_PARALLEL_DATA, .trace = trace});
  OK(pare_model_open(several, path, NULL, &model));
  OK(pare_model_input(model, 0, &value));
  for (int d = 1; d < value.rank; d++) count *= shape[d] = value.dim[d];
  float *data = random_floats(count, 5);
  OK(pare_tensor_from(several, PARE_F32, value.rank, shape, data, (size_t)count * sizeof *data, &x));
  for (unsigned i = 0; i < RUNS; i++) {
    OK(pare_model_run(model, &x, NULL, &y));
    pare_tensor_close(y);
  }
  pare_tensor_close(x);
  free(data);
  close_model(model);
  return balanced_runs(trace, ROWS / PARE__LEAST_ROWS, LEARNING);
}

/* Nothing of this is exact: other processes slow one device for a while, and runs of a millisecond may all lie in such
 * a while. A wrong model would keep it idle for good: it stays with the next contexts, too. */
START_TEST(equal_halves_share_the_samples_evenly) {
  enum { ROUNDS = 20 };
  unsigned balanced = 0;
  for (int round = 0; round < ROUNDS && balanced == 0; round++) balanced = balanced_runs_of_digits();
  ck_assert_uint_ge(balanced, 1);
}
END_TEST

START_TEST(what_is_asked_of_one_device_is_answered_by_the_first) {
  pare_model *model = open_model(PARE_PARALLEL_AUTO, "rows.onnx");
  pare_tensor *x, *y = NULL;
  pare_model_step *steps;
  pare_model_memory memory;
  pare_model_launches launches;
  size_t count;
  OK(pare_tensor_from(several, PARE_F32, 2, (const int64_t[]){20, IN}, values, 20 * IN * sizeof(float), &x));
  OK(pare_model_plan(model, &x, &memory));
  ck_assert(memory.exact && memory.output_bytes == 20 * OUT * sizeof(float));
  OK(pare_model_profile(model, &x, &y, &steps, &count));
  ck_assert_uint_ge(count, 2);
  ck_assert(y && pare_tensor_context(y) == several);
  pare_model_steps_free(steps);
  OK(pare_model_count_launches(model, &launches));
  pare_model_interrupt(model, true);
  pare_tensor_close(y);
  pare_model_interrupt(model, false);
  ck_assert_int_eq(pare_model_run(model, &(pare_tensor *){NULL}, NULL, &y), PARE_ERR_ARGUMENT);
  pare_tensor_close(x);
  close_model(model);
}
END_TEST

static void setup(void) {
  values = random_floats(LARGEST, 3);
  write_model("rows.onnx", 1);
  write_model("mixed.onnx", 0);
}

int main(void) {
  const char *why = NULL;
  watch_context(&several, WATCHDOG_SECONDS);
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  fault = fault_layer_load(&why);
  if (!fault) {
    fprintf(stderr, "test_parallel: %s\n", why);
    return EXIT_FAILURE;
  }
  TCase *tests = tcase_create("parallel");
  tcase_add_unchecked_fixture(tests, setup, NULL);
  tcase_add_test(tests, a_batch_that_is_split_has_the_bits_of_one_device);
  tcase_add_test(tests, samples_that_depend_on_each_other_are_not_split);
  tcase_add_test(tests, auto_says_what_it_predicts_and_takes_the_shortest);
  tcase_add_loop_test(tests, threads_share_a_model_on_several_devices, 0, 3);
  tcase_add_loop_test(tests, a_pipeline_of_stages_has_the_bits_of_one_device, 0, 2);
  tcase_add_loop_test(tests, a_device_that_dies_is_told_once_and_its_work_runs_elsewhere, 0, 2);
  tcase_add_loop_test(tests, what_one_device_has_no_memory_for_others_do, 0, 3);
  tcase_add_test(tests, without_any_device_left_a_run_fails_and_a_new_context_works);
  tcase_add_loop_test(tests, a_driver_that_hangs_is_given_up, 0, 4);
  tcase_add_test(tests, who_comes_back_late_overwrites_nothing);
  tcase_add_test(tests, a_run_waits_for_no_device_that_had_nothing_of_it);
  tcase_add_test(tests, a_context_closes_while_a_device_hangs);
  tcase_add_test(tests, a_device_that_hangs_while_it_compresses_keeps_what_it_works_for);
  tcase_add_test(tests, equal_halves_share_the_samples_evenly);
  tcase_add_test(tests, what_is_asked_of_one_device_is_answered_by_the_first);
  const int status = run_tests("parallel", tests);
  free(values);
  return remove_folder(folder, status);
}
