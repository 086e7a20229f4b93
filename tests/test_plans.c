/* Models under a policy that plans: all operations of a run are known before the first begins.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault/fault.h"
#include "graph/run.h"
#include "onnx_builder.h"
#include "sched/crew_state.h"
#include "sched/policy_heft.h"
#include "tensor/context.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

enum { WIDTH = 512, MANY = 48, CHAIN = 6, RUNS = 4 };

static char folder[] = "/tmp/pare-test-plans-XXXXXX";
static const fault_control *fault;
static float *values, *expected[2]; /* of one row; of MANY, whose kernels add in another order */

static const char *path_of(const char *name) { return path_in(folder, name); }

/* y = f(a) + g(a) + h(x), where a is a chain of layers of x. One row is run undivided. While one device is at the chain
 * the other has nothing to do but h, which is needed last: so it is put into the gap before g. */
static void write_model(void) {
  pare__onnx_model *model = model_new(17);
  float *w = random_floats((int64_t)WIDTH * WIDTH, 7);
  char from[20] = "x", to[20];
  for (int64_t i = 0; i < (int64_t)WIDTH * WIDTH; i++) w[i] *= 0.05F;
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  model_layer(model, "x", "h", WIDTH, w);
  for (int i = 0; i < CHAIN; i++) {
    snprintf(to, sizeof to, "a%d", i);
    model_layer(model, from, to, WIDTH, w);
    memcpy(from, to, sizeof from);
  }
  model_layer(model, from, "f", WIDTH, w);
  model_layer(model, from, "g", WIDTH, w);
  model_node(model, "Add", "f g", "fg");
  model_node(model, "Add", "fg h", "y");
  model_output(model, "y");
  model_write(model, path_of("gap.onnx"));
  free(w);
}

static void open_with(pare_parallel parallel, const char *policy) {
  OK(try_several(&(pare_schedule_options){.parallel = parallel, .policy = policy}, 0));
}

static void run_model(pare_model *model, int64_t rows, float *out) {
  const size_t nbytes = (size_t)rows * WIDTH * sizeof(float);
  pare_tensor *x, *y = NULL;
  OK(pare_tensor_from(several, PARE_F32, 2, (const int64_t[]){rows, WIDTH}, values, nbytes, &x));
  OK(rows > 1 || model->team ? pare_model_run(model, &x, NULL, &y) : pare__model_run_undivided(model, &x, NULL, &y));
  OK(pare_tensor_read(y, out, nbytes));
  OK(pare_context_wait(several));
  pare_tensor_close(x);
  pare_tensor_close(y);
}

static void check_rows(pare_model *model, int64_t rows) {
  static float found[MANY * WIDTH];
  run_model(model, rows, found);
  ck_assert_mem_eq(expected[rows > 1], found, (size_t)rows * WIDTH * sizeof *found);
}

static void check_bits(pare_model *model) { check_rows(model, 1); }

static pare__crew *crew_of(void) {
  pare__crew *crew;
  OK(pare__crew_of(several, &crew));
  return crew;
}

static uint64_t pieces_of(size_t member) {
  pare_schedule_stats stats;
  OK(pare_context_stats(several, &stats));
  const uint64_t pieces = stats.device[member].pieces;
  pare_schedule_stats_close(&stats);
  return pieces;
}

/* What is known of the kernels of a run, and not of those that only opening a model runs: the member is so many times
 * as slow as the other. */
static void make_look(pare__crew *crew, size_t member, double times) {
  pare__performance *lines = crew->performance;
  for (size_t k = 0; k < lines->nkernels; k++) {
    const size_t other = pare__performance_at(lines, k, !member);
    const bool seen = pare__performance_observed(lines, k, 0) || pare__performance_observed(lines, k, 1);
    if (seen && strncmp(lines->kernel[k], "gemm_pack", 9) != 0)
      pare__performance_set(lines, k, member, lines->a[other] * times, lines->b[other] * times);
  }
}

START_TEST(a_run_is_planned_whole_and_gaps_are_used) {
  open_with(PARE_PARALLEL_COLUMNS, "heft");
  pare_model *model;
  OK(pare_model_open(several, path_of("gap.onnx"), NULL, &model));
  OK(pare_context_wait(several)); /* plans are made when nothing else is under way */
  for (int run = 0; run < RUNS; run++) {
    if (run > 0) make_look(crew_of(), 1, 1);
    const uint64_t before[] = {pieces_of(0), pieces_of(1)};
    check_bits(model);
    const pare__policy *policy = crew_of()->policy; /* nothing runs now */
    ck_assert_msg(pare__heft_makespan(policy) > 0, "run %d: nothing was planned", run);
    ck_assert_msg(run == 0 || pare__heft_inserted(policy) > 0, "run %d: nothing is in a gap", run);
    for (size_t i = 0; i < 2; i++)
      ck_assert_msg(run == 0 || pieces_of(i) > before[i], "run %d: device %zu did nothing", run, i);
  }
  pare_model_close(model);
  close_several();
}
END_TEST

/* As from samples that were disturbed. Without a look at it now and then, no plan would ever use it again. */
START_TEST(a_device_that_looked_slow_once_gets_work_again) {
  enum { SLOW = 1000, WINDOW = 20, MOST_WINDOWS = 20 };
  open_with(PARE_PARALLEL_COLUMNS, "heft");
  pare_model *model;
  OK(pare_model_open(several, path_of("gap.onnx"), NULL, &model));
  for (int run = 0; run < RUNS; run++) check_bits(model);
  make_look(crew_of(), 1, SLOW);
  uint64_t before = pieces_of(1), pieces = 0;
  check_bits(model);
  ck_assert_msg(pieces_of(1) - before <= 1, "it does not look slow");
  for (int window = 0; pieces < WINDOW && window < MOST_WINDOWS; window++) {
    before = pieces_of(1);
    for (int run = 0; run < WINDOW; run++) check_bits(model);
    pieces = pieces_of(1) - before;
  }
  ck_assert_msg(pieces >= WINDOW, "%d pieces in the last %d runs", (int)pieces, WINDOW);
  pare_model_close(model);
  close_several();
}
END_TEST

/* For all devices at once, so that a chain keeps none of them waiting. */
START_TEST(operations_of_many_rows_are_planned_divided) {
  open_with(PARE_PARALLEL_COLUMNS, "heft");
  pare_model *model;
  pare_schedule_stats stats;
  OK(pare_model_open(several, path_of("gap.onnx"), NULL, &model));
  OK(pare_context_wait(several));
  pare__context_split(several, 8);
  for (int run = 0; run < 2 * RUNS; run++) {
    check_rows(model, MANY);
    ck_assert_msg(pare__heft_makespan(crew_of()->policy) > 0, "run %d: nothing was planned", run);
  }
  OK(pare_context_stats(several, &stats));
  ck_assert_uint_gt(stats.pieces, stats.jobs);
  for (size_t i = 0; i < 2; i++) ck_assert_uint_ge(stats.device[i].pieces, CHAIN);
  pare_schedule_stats_close(&stats);
  pare_model_close(model);
  close_several();
}
END_TEST

START_TEST(a_device_lost_within_a_plan_changes_no_bit) {
  for (unsigned long nth = 1; nth < 18; nth += 4) {
    open_with(PARE_PARALLEL_COLUMNS, "heft");
    pare_model *model;
    OK(pare_model_open(several, path_of("gap.onnx"), NULL, &model));
    check_bits(model);
    fault->reset();
    fault->inject("clEnqueueNDRangeKernel", nth, 1, -36);
    for (int run = 0; run < RUNS; run++) check_bits(model);
    fault->reset();
    pare_schedule_stats stats;
    OK(pare_context_stats(several, &stats));
    ck_assert(stats.device[0].lost != stats.device[1].lost);
    pare_schedule_stats_close(&stats);
    pare_model_close(model);
    close_several();
  }
}
END_TEST

static void setup(void) {
  values = random_floats((int64_t)MANY * WIDTH, 3);
  write_model();
  open_with(PARE_PARALLEL_OFF, NULL);
  pare_model *model;
  OK(pare_model_open(several, path_of("gap.onnx"), NULL, &model));
  for (int i = 0; i < 2; i++) {
    const int64_t rows = i ? MANY : 1;
    expected[i] = malloc((size_t)rows * WIDTH * sizeof(float));
    ck_assert_ptr_nonnull(expected[i]);
    run_model(model, rows, expected[i]);
  }
  pare_model_close(model);
  close_several();
}

int main(void) {
  const char *why = NULL;
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  fault = fault_layer_load(&why);
  if (!fault) {
    fprintf(stderr, "test_plans: %s\n", why);
    return EXIT_FAILURE;
  }
  TCase *tests = tcase_create("plans");
  tcase_add_unchecked_fixture(tests, setup, NULL);
  tcase_add_test(tests, a_run_is_planned_whole_and_gaps_are_used);
  tcase_add_test(tests, a_device_that_looked_slow_once_gets_work_again);
  tcase_add_test(tests, operations_of_many_rows_are_planned_divided);
  tcase_add_test(tests, a_device_lost_within_a_plan_changes_no_bit);
  const int status = run_tests("plans", tests);
  free(values);
  free(expected[0]);
  free(expected[1]);
  return remove_folder(folder, status);
}
