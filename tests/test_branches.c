/* Branches of one run: operations that do not need each other, each whole on a device, beside each other.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/fault.h"
#include "graph/parallel.h"
#include "graph/plan.h"
#include "onnx_builder.h"
#include "sched/order.h"
#include "tensor/context.h"
#include "tensor/memory.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

enum { WIDTH = 96, ROWS = 40, LAYERS = 4, TOWERS = 3, MOST_RUNS = 60 };

static char folder[] = "/tmp/pare-test-branches-XXXXXX";
static const fault_control *fault;
static float *values, *expected, *found;

static const char *path_of(const char *name) { return path_in(folder, name); }

/* So many chains of layers of one value, and the sum of their ends, times relu of that value: the last operation that
 * reads it, which would work in place if it need not wait for the others to have read it. */
static void write_towers(const char *name, int towers) {
  pare__onnx_model *model = model_new(17);
  float *w = random_floats((int64_t)WIDTH * WIDTH, 7);
  char from[20], to[20], sum[20] = "", inputs[48];
  for (int64_t i = 0; i < (int64_t)WIDTH * WIDTH; i++) w[i] *= 0.1F;
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  model_layer(model, "x", "stem", WIDTH, w);
  for (int t = 0; t < towers; t++) {
    snprintf(from, sizeof from, "stem");
    for (int i = 0; i < LAYERS; i++) {
      snprintf(to, sizeof to, "t%d_%d", t, i);
      model_layer(model, from, to, WIDTH, w);
      memcpy(from, to, sizeof from);
    }
    if (t == 0) {
      memcpy(sum, to, sizeof sum);
      continue;
    }
    snprintf(inputs, sizeof inputs, "%s %s", sum, to);
    snprintf(sum, sizeof sum, "s%d", t);
    model_node(model, "Add", inputs, sum);
  }
  model_node(model, "Relu", "stem", "last");
  snprintf(inputs, sizeof inputs, "%s last", sum);
  model_node(model, "Mul", inputs, "y");
  model_output(model, "y");
  model_write(model, path_of(name));
  free(w);
}

static pare_model *open_with(pare_parallel parallel, const char *policy, const char *name) {
  const pare_schedule_options schedule = {.parallel = parallel, .policy = policy};
  pare_model *model;
  OK(try_several(&schedule, 0));
  OK(pare_model_open(several, path_of(name), NULL, &model));
  return model;
}

static void close_all(pare_model *model) {
  pare_model_close(model);
  close_several();
}

static void run_into(pare_model *model, float *out) { run_rows(several, model, ROWS, WIDTH, values, out); }

static void check_bits(pare_model *model) {
  memset(found, 0, ROWS * WIDTH * sizeof *found);
  run_into(model, found);
  ck_assert_mem_eq(expected, found, ROWS * WIDTH * sizeof *found);
}

static void expect(const char *name) {
  pare_model *model = open_with(PARE_PARALLEL_OFF, NULL, name);
  run_into(model, expected);
  close_all(model);
}

/* Runs until it is known how long a run takes, and how it is spread over its operations: those that built something
 * are not measured. */
static void run_until_predicted(pare_model *model, pare_model_division *out) {
  *out = (pare_model_division){0};
  for (int run = 0; run < MOST_RUNS && !strstr(out->why, "columns "); run++) {
    check_bits(model);
    OK(pare_model_divided(model, out));
  }
  ck_assert_msg(strstr(out->why, "columns "), "%s", out->why);
}

/* As if they had been measured, and took so long. */
static void set_branches(pare_model *model, double seconds) {
  ck_assert_uint_gt(model->team->nspreads, 0);
  pare__tried *branches = &model->team->spread[0]->branches;
  branches->any = true;
  for (int k = 0; k < 2 * PARE__TIMINGS; k++) pare__tried_add(branches, seconds);
}

static bool by_branches(pare_model *model) {
  pare_model_division division;
  OK(pare_model_divided(model, &division));
  ck_assert_int_eq(division.parallel, PARE_PARALLEL_TASK);
  return strstr(division.why, "beside each other") != NULL;
}

START_TEST(branches_are_predicted_where_there_are_some) {
  static const char *const names[] = {"towers.onnx", "chain.onnx"};
  for (size_t i = 0; i < 2; i++) {
    pare_model_division division;
    expect(names[i]);
    pare_model *model = open_with(PARE_PARALLEL_TASK, NULL, names[i]);
    run_until_predicted(model, &division);
    ck_assert_msg((strstr(division.why, "branches ") != NULL) == (i == 0), "%s: %s", names[i], division.why);
    close_all(model);
  }
}
END_TEST

/* Every device has some of the operations, and the shorter way is taken: also back again. */
START_TEST(branches_of_a_run_go_to_all_devices) {
  static const char *const policies[] = {"round-robin", "dmda", "heft", "hguided"};
  pare_model_division division;
  pare_model_launches launches;
  pare_schedule_stats stats;
  expect("towers.onnx");
  pare_model *model = open_with(PARE_PARALLEL_TASK, policies[_i], "towers.onnx");
  run_until_predicted(model, &division);
  pare__context_split(several, 4); /* what is divided is in so many pieces */
  OK(pare_context_stats(several, &stats));
  const uint64_t jobs = stats.jobs, pieces = stats.pieces;
  pare_schedule_stats_close(&stats);
  for (int run = 0; run < 6; run++) {
    set_branches(model, 1e-9);
    check_bits(model);
    ck_assert(by_branches(model));
  }
  OK(pare_model_count_launches(model, &launches));
  ck_assert(!launches.choosing && launches.executor == PARE_EXECUTOR_LAUNCHES); /* nothing is to be waited for */
  OK(pare_context_wait(several));
  OK(pare_context_stats(several, &stats));
  ck_assert_uint_ge(stats.jobs - jobs, 6 * LAYERS * TOWERS);   /* an operation is a job */
  ck_assert_uint_eq(stats.pieces - pieces, stats.jobs - jobs); /* and each goes whole to one device */
  if (_i == 0) ck_assert(stats.device[0].pieces > 2 * LAYERS && stats.device[1].pieces > 2 * LAYERS);
  pare_schedule_stats_close(&stats);
  set_branches(model, 1e3);
  check_bits(model);
  ck_assert(!by_branches(model));
  close_all(model);
}
END_TEST

/* What made them long may have been something else: after some runs they are measured again, if they are predicted to
 * be shorter. */
START_TEST(branches_that_were_long_are_tried_again) {
  enum { MOST = 200 };
  pare_model_division division;
  int run = 0;
  expect("towers.onnx");
  pare_model *model = open_with(PARE_PARALLEL_TASK, NULL, "towers.onnx");
  run_until_predicted(model, &division);
  set_branches(model, 1e3);
  check_bits(model);
  ck_assert(!by_branches(model));
  pare__spread *spread = model->team->spread[0];
  while (run < MOST && spread->branches.settled) {
    check_bits(model);
    run++;
  }
  ck_assert_msg(run > 10 && run < MOST, "%d runs", run);
  ck_assert_uint_eq(spread->branches.timings.count, 0);
  close_all(model);
}
END_TEST

START_TEST(auto_takes_branches_if_they_are_shortest) {
  pare_model_division division;
  expect("towers.onnx");
  pare_model *model = open_with(PARE_PARALLEL_AUTO, NULL, "mixed.onnx");
  for (int run = 0; run < MOST_RUNS && (run == 0 || !strstr(division.why, "columns ")); run++) {
    run_into(model, found);
    OK(pare_model_divided(model, &division));
  }
  set_branches(model, 1e-9);
  run_into(model, found);
  ck_assert(by_branches(model));
  close_all(model);
}
END_TEST

START_TEST(a_device_lost_among_branches_changes_no_bit) {
  pare_model_division division;
  expect("towers.onnx");
  for (unsigned long nth = 1; nth < 24; nth += 5) {
    pare_schedule_stats stats;
    pare_model *model = open_with(PARE_PARALLEL_TASK, "round-robin", "towers.onnx");
    run_until_predicted(model, &division);
    set_branches(model, 1e-9);
    check_bits(model);
    fault->reset();
    fault->inject("clEnqueueNDRangeKernel", nth, 1, -36);
    for (int run = 0; run < 3; run++) {
      set_branches(model, 1e-9);
      check_bits(model);
    }
    ck_assert_uint_eq(fault->failed(NULL), 1);
    fault->reset();
    OK(pare_context_stats(several, &stats));
    ck_assert(stats.device[0].lost != stats.device[1].lost);
    pare_schedule_stats_close(&stats);
    close_all(model);
  }
}
END_TEST

/* The copy of the model that branches need cannot be opened: runs go whole to devices, and say so. */
START_TEST(without_memory_for_the_copy_runs_go_whole_to_devices) {
  pare_model_division division;
  expect("towers.onnx");
  pare_model *model = open_with(PARE_PARALLEL_TASK, "round-robin", "towers.onnx");
  run_until_predicted(model, &division);
  atomic_store(&model->team->no_together, true);
  set_branches(model, 1e-9);
  check_bits(model);
  ck_assert(!by_branches(model));
  close_all(model);
}
END_TEST

/* ---- memory that is used again makes none wait ---- */

/* By the bytes of memory that recorded tasks touch once it is given to them. */
static pare__order *order_by_memory(const pare__recording *recording) {
  const size_t ntasks = pare__recording_tasks(recording);
  pare__footprint *task = calloc(ntasks + 1, sizeof *task);
  pare__order *order;
  ck_assert_ptr_nonnull(task);
  for (size_t i = 0; i < ntasks; i++) {
    const pare__task *from = pare__recording_task(recording, i);
    for (unsigned k = 0; k < from->naccesses; k++) {
      const pare_tensor *tensor = from->access[k].tensor;
      const pare__memory *memory = tensor ? pare__tensor_memory(tensor) : NULL;
      if (!memory) continue; /* absent; or an input or output, whose memory is the caller's */
      const pare__range range =
          pare__shape_range(&tensor->shape, pare__tensor_start(tensor), pare_dtype_bytes(tensor->dtype));
      task[i].range[task[i].count++] =
          (pare__touched){memory, (int64_t)range.low, (int64_t)range.high, from->access[k].mode != PARE__READ};
    }
  }
  OK(pare__order_open(task, ntasks, &order));
  free(task);
  return order;
}

START_TEST(operations_wait_for_values_alone_not_for_memory) {
  static const char *const names[] = {"towers.onnx", "chain.onnx", "mixed.onnx"};
  pare__order *by_values, *by_memory;
  pare_model *model = open_with(PARE_PARALLEL_COLUMNS, NULL, names[_i]);
  run_into(model, found);
  OK(pare_context_wait(several));
  ck_assert_ptr_nonnull(model->plans);
  const pare__recording *recording = model->plans->recording;
  size_t live = 0, taken = 0;
  for (size_t i = 0; i < model->plans->nstorages; i++) live += model->plans->life[i].nbytes;
  for (size_t i = 0; i < model->plans->narenas; i++) taken += model->plans->arena_bytes[i];
  ck_assert_uint_lt(taken, live); /* memory is used again all the same */
  OK(pare__recording_order(recording, &by_values));
  by_memory = order_by_memory(recording);
  for (size_t i = 0; i < by_values->ntasks; i++)
    for (size_t k = 0; k < i; k++)
      ck_assert_msg(!pare__order_before(by_memory, k, i) || pare__order_before(by_values, k, i),
                    "%s: task %zu waits for %zu, which has nothing for it", names[_i], i, k);
  pare__order_close(by_values);
  pare__order_close(by_memory);
  close_all(model);
}
END_TEST

/* Nothing could run beside anything else. */
static void write_chain(void) {
  pare__onnx_model *model = model_new(17);
  float *w = random_floats((int64_t)WIDTH * WIDTH, 5);
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  model_layer(model, "x", "a", WIDTH, w);
  model_layer(model, "a", "b", WIDTH, w);
  model_layer(model, "b", "c", WIDTH, w);
  model_layer(model, "c", "d", WIDTH, w);
  model_node(model, "Add", "d a", "y");
  model_output(model, "y");
  model_write(model, path_of("chain.onnx"));
  free(w);
}

/* Softmax over the samples: a batch is not split, so that auto looks at what else there is. */
static void write_mixed(void) {
  pare__onnx_model *model = model_new(17);
  float *w = random_floats((int64_t)WIDTH * WIDTH, 9);
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  model_layer(model, "x", "a", WIDTH, w);
  model_layer(model, "a", "b", WIDTH, w);
  model_layer(model, "x", "c", WIDTH, w);
  model_layer(model, "c", "d", WIDTH, w);
  model_node(model, "Add", "b d", "sum");
  pare__onnx_node *node = model_node(model, "Softmax", "sum", "y");
  node_int(model, node, "axis", 0);
  model_output(model, "y");
  model_write(model, path_of("mixed.onnx"));
  free(w);
}

static void setup(void) {
  values = random_floats((int64_t)ROWS * WIDTH, 3);
  expected = calloc((size_t)ROWS * WIDTH, sizeof *expected);
  found = calloc((size_t)ROWS * WIDTH, sizeof *found);
  ck_assert(expected && found);
  write_towers("towers.onnx", TOWERS);
  write_chain();
  write_mixed();
}

int main(void) {
  const char *why = NULL;
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  fault = fault_layer_load(&why);
  if (!fault) {
    fprintf(stderr, "test_branches: %s\n", why);
    return EXIT_FAILURE;
  }
  TCase *tests = tcase_create("branches");
  tcase_add_unchecked_fixture(tests, setup, NULL);
  tcase_add_test(tests, branches_are_predicted_where_there_are_some);
  tcase_add_loop_test(tests, branches_of_a_run_go_to_all_devices, 0, 4);
  tcase_add_test(tests, branches_that_were_long_are_tried_again);
  tcase_add_test(tests, auto_takes_branches_if_they_are_shortest);
  tcase_add_test(tests, a_device_lost_among_branches_changes_no_bit);
  tcase_add_test(tests, without_memory_for_the_copy_runs_go_whole_to_devices);
  tcase_add_loop_test(tests, operations_wait_for_values_alone_not_for_memory, 0, 3);
  const int status = run_tests("branches", tests);
  free(values);
  free(expected);
  free(found);
  return remove_folder(folder, status);
}
