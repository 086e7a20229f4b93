/* Stages of a pipeline: where it is cut, and cut again by what they took. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault/fault.h"
#include "graph/parallel.h"
#include "onnx_builder.h"
#include "sched/simulate.h"
/* what follows has a variable with the name of those functions' arguments */
#include "several.h"

enum { WATCHDOG_SECONDS = 240, MOST_TASKS = 40, MOST_MEMBERS = 4, WIDTH = 384, LAYERS = 12, ROWS = 96 };

static char folder[] = "/tmp/pare-test-stages-XXXXXX";
static const fault_control *fault;

/* ---- cuts by themselves: a team of members that do nothing, whose stages take what the test says ---- */

typedef struct machine {
  pare__team team;
  size_t ntasks;
  double task[MOST_TASKS], slowness[MOST_MEMBERS], noise;
  uint64_t random;
  pare__stages *stages;
} machine;

static void say_nothing(void *user, size_t member, const char *text) {
  (void)user;
  (void)member;
  (void)text;
}

static void machine_open(machine *out, size_t nmembers, size_t ntasks, uint64_t seed) {
  static const double equal[] = {1, 1, 1, 1};
  pare__crew_member member[MOST_MEMBERS];
  const pare__crew_options options = {.lost = say_nothing};
  *out = (machine){.team = {.nmembers = nmembers}, .ntasks = ntasks, .random = seed};
  for (size_t i = 0; i < nmembers; i++)
    member[i] = (pare__crew_member){.name = "m", .key = "m", .seen = {.resource = PARE__ON_CPU}, .weight = 1};
  OK(pare__crew_open(member, nmembers, &options, &out->team.crew));
  for (size_t i = 0; i < ntasks; i++) out->task[i] = 1e-4 * (0.2 + pare__random_unit(&out->random));
  for (size_t i = 0; i < nmembers; i++) out->slowness[i] = exp2(4 * pare__random_unit(&out->random) - 2);
  OK(pare__stages_open(&out->team, "f32[4]", out->task, ntasks, equal, &out->stages));
}

static void machine_close(machine *one) {
  pare__stages_close(one->stages);
  OK(pare__crew_close(one->team.crew));
}

static double stage_seconds(const machine *one, const pare__stages *stages, size_t stage) {
  double sum = 0;
  for (size_t i = stage ? stages->cut[stage - 1] : 0; i < stages->cut[stage]; i++) sum += one->task[i];
  return sum * one->slowness[stages->member[stage]];
}

static double longest_stage(const machine *one, const pare__stages *stages) {
  double most = 0;
  for (size_t s = 0; s < stages->count; s++) most = fmax(most, stage_seconds(one, stages, s));
  return most;
}

/* Parts run through all stages; then the next run asks how it is cut. */
static void run_parts(machine *one) {
  for (size_t s = 0; s < one->stages->count; s++)
    for (unsigned i = 0; i < PARE__TIMINGS; i++)
      pare__stages_note(one->stages, s,
                        stage_seconds(one, one->stages, s) *
                            (1 + one->noise * (2 * pare__random_unit(&one->random) - 1)));
  one->stages = pare__stages_improve(&one->team, one->stages);
  for (size_t s = 0, before = 0; s < one->stages->count; before = one->stages->cut[s++])
    ck_assert(one->stages->cut[s] > before && (s == 0 || one->stages->member[s] > one->stages->member[s - 1]));
  ck_assert_uint_eq(one->stages->cut[one->stages->count - 1], one->ntasks);
}

/* The longest stage of the best of all cuts of tasks `from` … for the members `member` …. */
static double best_cut(const machine *one, size_t from, size_t member) {
  double sum = 0, best = INFINITY;
  const size_t later = one->team.nmembers - member - 1;
  for (size_t end = from + 1; end + later <= one->ntasks; end++) {
    sum += one->task[end - 1] * one->slowness[member];
    if (later == 0 && end < one->ntasks) continue;
    best = fmin(best, fmax(sum, later ? best_cut(one, end, member + 1) : 0));
  }
  return best;
}

START_TEST(stages_become_as_long_as_each_other_and_rest) {
  double gained = 0;
  enum { SEEDS = 200, ROUNDS = 80 };
  for (uint64_t seed = 1; seed <= SEEDS; seed++) {
    machine one;
    machine_open(&one, 2 + seed % 3, 8 + seed % 17, seed);
    one.noise = 0.03;
    const double first = longest_stage(&one, one.stages), best = best_cut(&one, 0, 0);
    double largest = 0;
    for (size_t i = 0; i < one.ntasks; i++)
      for (size_t m = 0; m < one.team.nmembers; m++) largest = fmax(largest, one.task[i] * one.slowness[m]);
    const pare__stages *before = NULL;
    for (int round = 0; round < ROUNDS; round++) {
      if (round == ROUNDS / 2) before = one.stages;
      run_parts(&one);
    }
    const double last = longest_stage(&one, one.stages);
    ck_assert_msg(before == one.stages, "seed %d: it is still cut again", (int)seed);
    ck_assert_msg(last <= 1.04 * first, "seed %d: the longest was %g, is %g", (int)seed, first, last);
    ck_assert_msg(last <= 1.15 * (best + largest), "seed %d: the longest is %g, could be %g", (int)seed, last, best);
    gained += first / last;
    machine_close(&one);
  }
  ck_assert_msg(gained / SEEDS > 1.3, "stages became shorter by %g", gained / SEEDS);
}
END_TEST

START_TEST(equal_stages_do_not_swing) {
  for (uint64_t seed = 1; seed <= 50; seed++) {
    machine one;
    machine_open(&one, 2 + seed % 3, 24, seed);
    one.noise = 0.08;
    for (size_t i = 0; i < one.ntasks; i++) one.task[i] = 1e-4;
    for (size_t i = 0; i < one.team.nmembers; i++) one.slowness[i] = 1.5;
    pare__stages_close(one.stages);
    OK(pare__stages_open(&one.team, "f32[4]", one.task, one.ntasks, (const double[]){1, 1, 1, 1}, &one.stages));
    const pare__stages *first = one.stages;
    for (int round = 0; round < 100; round++) run_parts(&one);
    ck_assert_msg(one.stages == first, "seed %d: cut %u times", (int)seed, one.stages->ncuts);
    machine_close(&one);
  }
}
END_TEST

START_TEST(a_device_that_is_slowed_later_gets_a_shorter_stage) {
  machine one;
  machine_open(&one, 2, 24, 5);
  for (size_t i = 0; i < one.ntasks; i++) one.task[i] = 1e-4;
  one.slowness[0] = one.slowness[1] = 1;
  pare__stages_close(one.stages);
  OK(pare__stages_open(&one.team, "f32[4]", one.task, one.ntasks, (const double[]){1, 1}, &one.stages));
  for (int round = 0; round < 20; round++) run_parts(&one);
  ck_assert_uint_eq(one.stages->cut[0], 12);
  one.slowness[1] = 3;
  for (int round = 0; round < 20; round++) run_parts(&one);
  ck_assert_uint_eq(one.stages->cut[0], 18);
  machine_close(&one);
}
END_TEST

START_TEST(who_is_lost_has_no_stage) {
  machine one;
  machine_open(&one, 3, 9, 3);
  run_parts(&one);
  pare__crew_lose(one.team.crew, 1, "pulled out");
  run_parts(&one);
  ck_assert_uint_eq(one.stages->count, 2);
  ck_assert(one.stages->member[0] == 0 && one.stages->member[1] == 2);
  machine_close(&one);
}
END_TEST

/* ---- a model on devices of which one is slowed ---- */

static char *path_of(const char *name) {
  static char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* relu(… relu(x w0) w1 …) */
static void write_model(void) {
  pare__onnx_model *model = model_new(17);
  float *w = random_floats((int64_t)WIDTH * WIDTH, 7);
  model_input(model, "x0", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  for (int i = 0; i < LAYERS; i++) {
    char weights[20], in[20], middle[20], out[20], inputs[60];
    snprintf(weights, sizeof weights, "w%d", i);
    snprintf(in, sizeof in, "x%d", i);
    snprintf(middle, sizeof middle, "h%d", i);
    snprintf(out, sizeof out, "x%d", i + 1);
    snprintf(inputs, sizeof inputs, "%s %s", in, weights);
    model_constant(model, weights, PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, w);
    model_node(model, "MatMul", inputs, middle);
    model_node(model, "Relu", middle, out);
    if (i == LAYERS - 1) model_output(model, out);
  }
  model_write(model, path_of("layers.onnx"));
  free(w);
}

static pare_context *open_with(pare_parallel parallel) {
  const pare_schedule_options schedule = {.parallel = parallel};
  const pare_context_options options = {.device = halves(), .schedule = &schedule};
  pare_context *opened;
  OK(pare_context_open(&options, &opened));
  return opened;
}

START_TEST(the_stage_of_a_slow_device_becomes_shorter_and_no_bit_another) {
  enum { MOST_RUNS = 60 };
  static float expected[ROWS * WIDTH], found[ROWS * WIDTH];
  float *values = random_floats((int64_t)ROWS * WIDTH, 3);
  pare_model *model;
  pare_context *opened = open_with(PARE_PARALLEL_OFF);
  OK(pare_model_open(opened, path_of("layers.onnx"), NULL, &model));
  run_rows(opened, model, ROWS, WIDTH, values, expected);
  pare_model_close(model);
  pare_context_close(opened);
  opened = open_with(PARE_PARALLEL_PIPELINE);
  OK(pare_model_open(opened, path_of("layers.onnx"), NULL, &model));
  pare_model_division division;
  run_rows(opened, model, ROWS, WIDTH, values, found); /* timed while both are equal */
  ck_assert_int_eq(memcmp(expected, found, sizeof found), 0);
  fault->duty((const double[]){1, 0.15}, 2);
  const pare__stages *stages = NULL;
  size_t least = LAYERS;
  for (int run = 0; run < MOST_RUNS && (least > LAYERS / 3 || stages->ncuts == 0); run++) {
    run_rows(opened, model, ROWS, WIDTH, values, found);
    ck_assert_int_eq(memcmp(expected, found, sizeof found), 0);
    stages = model->team->stages[0]; /* nothing runs now */
    ck_assert_uint_eq(stages->count, 2);
    least = PARE__MIN(stages->cut[0], stages->ntasks - stages->cut[0]);
  }
  fault->reset();
  OK(pare_model_divided(model, &division));
  ck_assert_msg(least <= LAYERS / 3, "%s", division.why);
  ck_assert_msg(strstr(division.why, "cut again"), "%s", division.why);
  pare_model_close(model);
  pare_context_close(opened);
  free(values);
}
END_TEST

int main(void) {
  const char *why = NULL;
  alarm(WATCHDOG_SECONDS);
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  fault = fault_layer_load(&why);
  if (!fault) {
    fprintf(stderr, "test_stages: %s\n", why);
    return EXIT_FAILURE;
  }
  write_model();
  TCase *tests = tcase_create("stages");
  tcase_add_test(tests, stages_become_as_long_as_each_other_and_rest);
  tcase_add_test(tests, equal_stages_do_not_swing);
  tcase_add_test(tests, a_device_that_is_slowed_later_gets_a_shorter_stage);
  tcase_add_test(tests, who_is_lost_has_no_stage);
  tcase_add_test(tests, the_stage_of_a_slow_device_becomes_shorter_and_no_bit_another);
  const int status = run_tests("stages", tests);
  return remove_folder(folder, status);
}
