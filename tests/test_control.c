/* If, Loop, Scan and functions: that they end, that they can be interrupted, and that many of them load in time.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/model.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "onnx_builder.h"
#include "sched/replay.h"

static char folder[] = "/tmp/pare-test-control-XXXXXX";
static char path[128];

static pare_model *opened(pare__onnx_model *onnx, const pare_model_options *options) {
  model_write(onnx, path);
  pare_model *model;
  OK(pare_model_open(context, path, options, &model));
  return model;
}

static pare_tensor *one_number(float number) { return tensor_of(PARE_F32, 1, (const int64_t[]){1}, &number); }

/* ---- loops ---- */

typedef enum body_kind { NO_NODES, ADDS, STACKS } body_kind;

/* A loop that never ends by itself; trips 0: it names no number of iterations. */
static pare__onnx_model *endless(body_kind kind, int64_t trips) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){1});
  model_constant(onnx, "go", PARE__ONNX_BOOL, 0, NULL, "\1");
  if (trips) model_constant(onnx, "trips", PARE__ONNX_INT64, 0, NULL, &trips);
  pare__onnx_node *loop = model_node(onnx, "Loop", trips ? "trips go x" : "- go x", kind == STACKS ? "y s" : "y");
  pare__onnx_graph *body = node_body(onnx, loop, "body", "i c v",
                                     kind == ADDS     ? "c w"
                                     : kind == STACKS ? "c v i"
                                                      : "c v");
  if (kind == ADDS) node_in(onnx, &body->node, "Add", "v v", "w");
  model_output(onnx, "y");
  if (kind == STACKS) model_output(onnx, "s");
  return onnx;
}

START_TEST(a_loop_without_end_meets_its_limit) {
  const pare_model_options options[] = {{.loop_limit = 100}, {0}, {.loop_limit = 50}, {0}};
  const body_kind kinds[] = {ADDS, NO_NODES, STACKS, STACKS};
  static const char *const limits[] = {"100 iterations", "100000 iterations", "50 iterations", "100000 iterations"};
  for (size_t i = 0; i < PARE__COUNT(kinds); i++) {
    pare_model *model = opened(endless(kinds[i], i == 3 ? INT64_MAX : 0), &options[i]);
    pare_tensor *out[2] = {NULL, NULL}, *x = one_number(1);
    ck_assert_int_eq(pare_model_run(model, &x, NULL, out), PARE_ERR_LIMIT);
    ck_assert_msg(strstr(pare_message(), limits[i]) != NULL, "%s", pare_message());
    pare_tensor_close(x);
    pare_model_close(model);
  }
}
END_TEST

START_TEST(a_loop_that_says_how_often_may_run_so_often) {
  enum { TRIPS = 150000 };
  pare_model *model = opened(endless(STACKS, TRIPS), NULL);
  pare_tensor *out[2], *x = one_number(3);
  OK(pare_model_run(model, &x, NULL, out));
  int64_t *numbers = calloc(TRIPS, sizeof *numbers);
  ck_assert_int_eq(pare_tensor_elements(out[1]), TRIPS);
  OK(pare_tensor_read(out[1], numbers, TRIPS * sizeof *numbers));
  for (int64_t i = 0; i < TRIPS; i++) ck_assert_int_eq(numbers[i], i);
  free(numbers);
  for (int i = 0; i < 2; i++) pare_tensor_close(out[i]);
  pare_tensor_close(x);
  pare_model_close(model);
}
END_TEST

/* The process's peak, which is the device's as well where it computes in the host's memory. */
START_TEST(a_long_loop_takes_no_more_memory_than_a_short_one) {
  enum { TRIPS = 600, ELEMENTS = 1 << 18 };
  const int64_t trips = TRIPS;
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){-1});
  model_constant(onnx, "trips", PARE__ONNX_INT64, 0, NULL, &trips);
  model_constant(onnx, "one", PARE__ONNX_FLOAT, 0, NULL, &(float){1});
  pare__onnx_node *loop = model_node(onnx, "Loop", "trips - x", "y");
  pare__onnx_graph *body = node_body(onnx, loop, "body", "i c v", "c w");
  node_in(onnx, &body->node, "Add", "v one", "w");
  model_output(onnx, "y");
  pare_model *model = opened(onnx, NULL);
  struct rusage before, after;
  pare_tensor *out, *x = empty_tensor(PARE_F32, 1, (const int64_t[]){ELEMENTS});
  float *zeros = calloc(ELEMENTS, sizeof *zeros);
  OK(pare_tensor_write(x, zeros, ELEMENTS * sizeof *zeros));
  free(zeros);
  ck_assert_int_eq(getrusage(RUSAGE_SELF, &before), 0);
  OK(pare_model_run(model, &x, NULL, &out));
  float *y = floats_of(out);
  for (int i = 0; i < ELEMENTS; i++) ck_assert_float_eq(y[i], TRIPS);
  free(y);
  ck_assert_int_eq(getrusage(RUSAGE_SELF, &after), 0);
  ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss, 256 << 10); /* of the 600 MiB of all iterations */
  pare_tensor_close(out);
  pare_tensor_close(x);
  pare_model_close(model);
}
END_TEST

/* The nodes of a body are not counted again in that of the loop: all together took no longer than the call. */
START_TEST(a_profile_counts_every_second_once) {
  enum { TRIPS = 50, ELEMENTS = 1 << 16 };
  const int64_t trips = TRIPS;
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){-1});
  model_constant(onnx, "trips", PARE__ONNX_INT64, 0, NULL, &trips);
  pare__onnx_node *loop = model_node(onnx, "Loop", "trips - x", "y");
  pare__onnx_graph *body = node_body(onnx, loop, "body", "i c v", "c w");
  node_in(onnx, &body->node, "Tanh", "v", "w");
  model_output(onnx, "y");
  pare_model *model = opened(onnx, NULL);
  pare_tensor *out, *x = empty_tensor(PARE_F32, 1, (const int64_t[]){ELEMENTS});
  float *data = random_floats(ELEMENTS, 1);
  OK(pare_tensor_write(x, data, ELEMENTS * sizeof *data));
  free(data);
  pare_model_step *steps;
  size_t count;
  double total = 0;
  const double begun = pare__seconds();
  OK(pare_model_profile(model, &x, &out, &steps, &count));
  const double taken = pare__seconds() - begun;
  ck_assert_uint_eq(count, TRIPS + 1);
  for (size_t i = 0; i < count; i++) {
    ck_assert_double_ge(steps[i].seconds, 0);
    total += steps[i].seconds;
  }
  ck_assert_double_le(total, taken);
  pare_model_steps_free(steps);
  pare_tensor_close(out);
  pare_tensor_close(x);
  pare_model_close(model);
}
END_TEST

/* ---- interruption ---- */

static void is_interrupted(pare_model *model, pare_tensor *x) {
  pare_tensor *out = NULL;
  ck_assert_int_eq(pare_model_run(model, &x, NULL, &out), PARE_ERR_ARGUMENT);
  ck_assert_ptr_null(out);
  ck_assert_msg(strstr(pare_message(), "interrupted") != NULL, "%s", pare_message());
}

START_TEST(interrupted_models_run_neither_planned_nor_at_once) {
  static int stop;
  for (int at_once = 0; at_once < 2; at_once++) {
    pare__onnx_model *onnx = model_new(17);
    model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){1});
    model_node(onnx, "Add", "x x", "y");
    model_output(onnx, "y");
    pare_model *model = opened(onnx, &(pare_model_options){.no_plan = at_once, .stop = &stop});
    pare_tensor *out = NULL, *x = one_number(2);
    for (int time = 0; time < 3; time++) { /* with a plan from the second time on */
      OK(pare_model_run(model, &x, NULL, &out));
      float *y = floats_of(out);
      ck_assert_float_eq(*y, 4);
      free(y);
      pare_tensor_close(out);
      pare_model_interrupt(model, true);
      is_interrupted(model, x);
      pare_model_interrupt(model, false);
      stop = 1;
      is_interrupted(model, x);
      stop = 0;
    }
    pare_tensor_close(x);
    pare_model_close(model);
  }
}
END_TEST

static void *interrupt_soon(void *user) {
  usleep(20000);
  pare_model_interrupt(user, true);
  return NULL;
}

START_TEST(a_loop_without_end_can_be_interrupted_from_another_thread) {
  const pare_model_options options = {.loop_limit = UINT64_MAX};
  for (int kind = NO_NODES; kind <= ADDS; kind++) {
    pare_model *model = opened(endless((body_kind)kind, 0), &options);
    pare_tensor *x = one_number(0);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, interrupt_soon, model), 0);
    is_interrupted(model, x);
    pthread_join(thread, NULL);
    OK(pare_context_wait(context));
    pare_tensor_close(x);
    pare_model_close(model);
  }
}
END_TEST

/* Goes on as often as it says. */
static pare_status go_on_for(void *user) {
  int *left = user;
  return (*left)-- > 0 ? PARE_OK : pare__fail(PARE_ERR_ARGUMENT, "interrupted");
}

START_TEST(a_plan_stops_between_its_steps) {
  enum { STEPS = 6 };
  float number = 0;
  pare_tensor *value[STEPS + 1];
  for (int i = 0; i <= STEPS; i++) value[i] = one_number(0);
  pare__recording *recording;
  OK(pare__recording_begin(&recording));
  for (int i = 0; i < STEPS; i++) OK(pare_unary_with(PARE_UNARY_affine, 1, 1, value[i], value[i + 1]));
  pare__recording_end(recording);
  ck_assert_uint_eq(pare__recording_tasks(recording), STEPS);
  int left = 2;
  pare__replay *replay;
  OK(pare__replay_open(context, recording, PARE_EXECUTOR_LAUNCHES, (pare__replay_gate){go_on_for, &left, pare__seconds},
                       &replay));
  ck_assert_int_eq(pare__replay_submit(replay, false), PARE_ERR_ARGUMENT);
  for (int i = 0; i <= STEPS; i++) {
    OK(pare_tensor_read(value[i], &number, sizeof number));
    ck_assert_float_eq(number, i <= 2 ? i : 0);
  }
  left = STEPS;
  OK(pare__replay_submit(replay, false));
  OK(pare_tensor_read(value[STEPS], &number, sizeof number));
  ck_assert_float_eq(number, STEPS);
  pare__replay_close(replay);
  pare__recording_close(recording);
  for (int i = 0; i <= STEPS; i++) pare_tensor_close(value[i]);
}
END_TEST

/* ---- Scan ---- */

/* so = s + x, and every so. */
static pare__onnx_node *sums(pare__onnx_model *onnx, const char *inputs) {
  pare__onnx_node *scan = model_node(onnx, "Scan", inputs, "last all");
  node_int(onnx, scan, "num_scan_inputs", 1);
  pare__onnx_graph *body = node_body(onnx, scan, "body", "s x", "so o");
  node_in(onnx, &body->node, "Add", "s x", "so");
  node_in(onnx, &body->node, "Identity", "so", "o");
  return scan;
}

START_TEST(a_scan_is_as_long_as_its_axis_up_to_a_limit) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, -1});
  model_input(onnx, "s", PARE__ONNX_FLOAT, 1, (const int64_t[]){-1});
  sums(onnx, "s x");
  model_output(onnx, "last");
  pare_model *model = opened(onnx, NULL);
  pare_tensor *in[2] = {empty_tensor(PARE_F32, 2, (const int64_t[]){INT64_C(1) << 40, 0}),
                        empty_tensor(PARE_F32, 1, (const int64_t[]){0})};
  pare_tensor *out = NULL;
  ck_assert_int_eq(pare_model_run(model, in, NULL, &out), PARE_ERR_LIMIT);
  for (int i = 0; i < 2; i++) pare_tensor_close(in[i]);
  enum { STEPS = 1100 }; /* more than are planned */
  float ones[STEPS];
  for (int i = 0; i < STEPS; i++) ones[i] = 1;
  in[0] = tensor_of(PARE_F32, 2, (const int64_t[]){STEPS, 1}, ones);
  in[1] = one_number(0);
  OK(pare_model_run(model, in, NULL, &out));
  float *sum = floats_of(out);
  ck_assert_float_eq(*sum, STEPS);
  free(sum);
  pare_tensor_close(out);
  for (int i = 0; i < 2; i++) pare_tensor_close(in[i]);
  pare_model_close(model);
}
END_TEST

/* Opset 8: batches, sequences that end early, and a direction. */
START_TEST(scan_of_opset_8_has_batches_lengths_and_directions) {
  static const float data[2][3] = {{1, 2, 4}, {10, 20, 40}}, begin[2] = {0, 100};
  static const float last[4][2] = {{7, 170}, {7, 170}, {7, 130}, {7, 130}};
  static const float all[4][2][3] = {{{1, 3, 7}, {110, 130, 170}},
                                     {{4, 6, 7}, {140, 160, 170}},
                                     {{1, 3, 7}, {110, 130, 0}},
                                     {{4, 6, 7}, {120, 130, 0}}};
  const bool backward = _i % 2, early = _i / 2;
  pare__onnx_model *onnx = model_new(8);
  model_input(onnx, "s", PARE__ONNX_FLOAT, 2, (const int64_t[]){2, 1});
  model_input(onnx, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){2, 3, 1});
  if (early) model_constant(onnx, "lengths", PARE__ONNX_INT64, 1, (const int64_t[]){2}, (const int64_t[]){3, 2});
  pare__onnx_node *scan = sums(onnx, early ? "lengths s x" : "- s x");
  if (backward) node_ints(onnx, scan, "directions", 1, (const int64_t[]){1});
  model_output(onnx, "last");
  model_output(onnx, "all");
  pare_model *model = opened(onnx, NULL);
  pare_tensor *in[2] = {tensor_of(PARE_F32, 2, (const int64_t[]){2, 1}, begin),
                        tensor_of(PARE_F32, 3, (const int64_t[]){2, 3, 1}, data)};
  pare_tensor *out[2];
  for (int time = 0; time < 2; time++) {
    OK(pare_model_run(model, in, NULL, out));
    ck_assert_int_eq(pare_tensor_elements(out[0]), 2);
    ck_assert_int_eq(pare_tensor_elements(out[1]), 6);
    float *states = floats_of(out[0]), *steps = floats_of(out[1]);
    ck_assert_mem_eq(states, last[_i], sizeof last[_i]);
    ck_assert_mem_eq(steps, all[_i], sizeof all[_i]);
    free(states);
    free(steps);
    for (int i = 0; i < 2; i++) pare_tensor_close(out[i]);
  }
  for (int i = 0; i < 2; i++) pare_tensor_close(in[i]);
  pare_model_close(model);
}
END_TEST

/* ---- small files that become large graphs ---- */

/* The bound is of processor time, tens of times what it takes, and far less than what walking the whole graph for each
 * node took. */
static void opens_within(pare__onnx_model *onnx, double seconds) {
  const clock_t begun = clock();
  pare_model *model = opened(onnx, NULL);
  const double taken = (double)(clock() - begun) / CLOCKS_PER_SEC;
  pare_model_close(model);
  ck_assert_msg(taken < seconds, "it took %.1f s", taken);
}

/* Functions that each call the one before twice: 2^depth nodes of a kilobyte. */
START_TEST(functions_that_call_functions_load_in_time) {
  enum { DEPTH = 17 };
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){1});
  char name[DEPTH + 1][8];
  for (int i = 0; i <= DEPTH; i++) {
    pare__onnx_function *function;
    const char **value;
    snprintf(name[i], sizeof name[i], "F%d", i);
    OK(PARE__ONNX_APPEND(onnx->source, &onnx->functions, &function));
    OK(pare__onnx_text(onnx->source, name[i], &function->name));
    function->domain = "here";
    OK(PARE__ONNX_APPEND(onnx->source, &function->input, &value));
    *value = "a";
    OK(PARE__ONNX_APPEND(onnx->source, &function->output, &value));
    *value = "b";
    if (i == 0) {
      node_in(onnx, &function->node, "Identity", "a", "b");
    } else {
      node_in(onnx, &function->node, name[i - 1], "a", "t")->domain = "here";
      node_in(onnx, &function->node, name[i - 1], "t", "b")->domain = "here";
    }
  }
  model_node(onnx, name[DEPTH], "x", "z")->domain = "here";
  model_node(onnx, "Relu", "z", "y");
  model_output(onnx, "y");
  opens_within(onnx, 20);
}
END_TEST

START_TEST(many_small_subgraphs_load_in_time) {
  enum { COUNT = 6000 };
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "v0", PARE__ONNX_FLOAT, 1, (const int64_t[]){1});
  model_input(onnx, "c", PARE__ONNX_BOOL, 0, NULL);
  for (int i = 0; i < COUNT; i++) {
    char from[16], to[16], made[2][16];
    snprintf(from, sizeof from, "v%d", i);
    snprintf(to, sizeof to, "v%d", i + 1);
    pare__onnx_node *choice = model_node(onnx, "If", "c", to);
    for (int k = 0; k < 2; k++) {
      snprintf(made[k], sizeof made[k], "%c%d", "te"[k], i);
      pare__onnx_graph *branch = node_body(onnx, choice, k ? "else_branch" : "then_branch", "", made[k]);
      node_in(onnx, &branch->node, k ? "Abs" : "Relu", from, made[k]);
    }
    if (i + 1 == COUNT) model_output(onnx, to);
  }
  opens_within(onnx, 20);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  TCase *tests = tcase_create("control");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, a_loop_without_end_meets_its_limit);
  tcase_add_test(tests, a_loop_that_says_how_often_may_run_so_often);
  tcase_add_test(tests, a_long_loop_takes_no_more_memory_than_a_short_one);
  tcase_add_test(tests, a_profile_counts_every_second_once);
  tcase_add_test(tests, interrupted_models_run_neither_planned_nor_at_once);
  tcase_add_test(tests, a_loop_without_end_can_be_interrupted_from_another_thread);
  tcase_add_test(tests, a_plan_stops_between_its_steps);
  tcase_add_test(tests, a_scan_is_as_long_as_its_axis_up_to_a_limit);
  tcase_add_loop_test(tests, scan_of_opset_8_has_batches_lengths_and_directions, 0, 4);
  tcase_add_test(tests, functions_that_call_functions_load_in_time);
  tcase_add_test(tests, many_small_subgraphs_load_in_time);
  return remove_folder(folder, run_tests("control", tests));
}
