/* Groups of devices: a model is divided among them one way and inside of each another, with the bits of one device.
 * SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <pare/elementwise.h>
#include <pare/model.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault/fault.h"
#include "graph/parallel.h"
#include "onnx_builder.h"
/* what follows has a variable with the name of those functions' arguments */
#include "fixture.h"

#define STALL_SECONDS 2.0 /* longer than a loaded machine delays a call */

enum { WATCHDOG_SECONDS = 300, SKIPPED = 77, IN = 24, OUT = 5, ROWS = 100, THREADS = 4, NDEVICES = 4, TABLE = 50 };

static char folder[] = "/tmp/pare-test-groups-XXXXXX";
static char two_and_two[40], two_and_one[40]; /* selectors */
static const fault_control *fault;
static pare_context *several;
static float *values;        /* of the input */
static atomic_uint told;     /* how often the loss of a device or group was */
static char message[4][300]; /* and how */

static void say_state(int number) {
  (void)number;
  for (size_t i = 0; several && i <= pare__context_groups(several); i++) {
    pare_context *in = i < pare__context_groups(several) ? pare__context_group(several, i) : several;
    pare__crew *crew = NULL;
    char *state = NULL;
    if (i < pare__context_groups(several))
      crew = pare__crew_of_if_open(in);
    else
      (void)pare__crew_of_groups(in, &crew);
    if (crew && pare__crew_state(crew, &state) == PARE_OK) (void)!write(STDERR_FILENO, state, strlen(state));
  }
  _exit(EXIT_FAILURE);
}

static void say_lost(void *user, const char *text) {
  (void)user;
  const unsigned before = atomic_fetch_add(&told, 1);
  if (before < PARE__COUNT(message)) snprintf(message[before], sizeof message[before], "%s", text);
}

static char *path_of(const char *name) {
  static char path[200];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* y = softmax(relu(x w)), each sample by itself. */
static void write_model(void) {
  pare__onnx_model *model = model_new(17);
  float *w = random_floats(IN * OUT, 7);
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, IN});
  model_constant(model, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){IN, OUT}, w);
  model_node(model, "MatMul", "x w", "h");
  model_node(model, "Relu", "h", "r");
  pare__onnx_node *node = model_node(model, "Softmax", "r", "y");
  node_int(model, node, "axis", 1);
  model_output(model, "y");
  model_write(model, path_of("rows.onnx"));
  free(w);
}

/* A batch that the file declares, as exporters write it. */
static void write_fixed(void) {
  pare__onnx_model *model = model_new(17);
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, IN});
  model_node(model, "Relu", "x", "y");
  model_output(model, "y");
  model->graph->output.items[0].type = model->graph->input.items[0].type;
  model_write(model, path_of("fixed.onnx"));
}

/* y = table[x], row by row. */
static void write_gather(void) {
  pare__onnx_model *model = model_new(17);
  float *table = random_floats(TABLE * OUT, 9);
  model_input(model, "x", PARE__ONNX_INT64, 1, (const int64_t[]){-1});
  model_constant(model, "table", PARE__ONNX_FLOAT, 2, (const int64_t[]){TABLE, OUT}, table);
  model_node(model, "Gather", "table x", "y");
  model_output(model, "y");
  model_write(model, path_of("gather.onnx"));
  free(table);
}

static pare_status try_open(const char *selector, const pare_schedule_options *schedule, pare_context **out) {
  const pare_context_options options = {.device = selector, .schedule = schedule};
  atomic_store(&told, 0);
  return pare_context_open(&options, out);
}

static pare_context *open_as(const char *selector, pare_parallel outer, pare_parallel inside) {
  pare_context *opened;
  OK(try_open(selector, &(pare_schedule_options){.parallel = outer, .inside = inside, .lost = say_lost}, &opened));
  return opened;
}

/* Pieces go to each in turn: by speed, who is late on a busy machine may get little, or nothing. */
static pare_context *open_in_turn(pare_parallel outer, pare_parallel inside, const char *trace) {
  pare_context *opened;
  const pare_schedule_options schedule = {.parallel = outer, .inside = inside, .trace = trace, .policy = "round-robin"};
  OK(try_open(two_and_two, &schedule, &opened));
  return opened;
}

/* The model's output for so many samples; to be freed. */
static pare_status run_model(pare_context *in, pare_model *model, int64_t rows, float **out) {
  pare_tensor *x = NULL, *y = NULL;
  *out = NULL;
  pare_status status =
      pare_tensor_from(in, PARE_F32, 2, (const int64_t[]){rows, IN}, values, (size_t)rows * IN * sizeof(float), &x);
  if (status == PARE_OK) status = pare_model_run(model, &x, NULL, &y);
  if (status == PARE_OK) {
    const size_t nbytes = (size_t)pare_tensor_elements(y) * sizeof(float);
    *out = malloc(nbytes + 1);
    status = pare_tensor_read(y, *out, nbytes);
  }
  pare_tensor_close(x);
  pare_tensor_close(y);
  return status;
}

/* Kept for all tests. */
static const float *on_one_device(const char *name, int64_t rows) {
  static float *known[ROWS + 1];
  const bool usual = strcmp(name, "rows.onnx") == 0;
  if (usual && known[rows]) return known[rows];
  pare_context *one = open_as(two_and_two, PARE_PARALLEL_OFF, PARE_PARALLEL_AUTO);
  pare_model *model;
  float *y;
  OK(pare_model_open(one, path_of(name), NULL, &model));
  OK(run_model(one, model, rows, &y));
  pare_model_close(model);
  pare_context_close(one);
  if (usual) known[rows] = y;
  return y;
}

static pare_model *open_model(const char *selector, pare_parallel outer, pare_parallel inside, const char *name) {
  pare_model *model;
  several = open_as(selector, outer, inside);
  OK(pare_model_open(several, path_of(name), NULL, &model));
  return model;
}

static pare_model *open_model_in_turn(pare_parallel outer, pare_parallel inside, const char *name) {
  pare_model *model;
  several = open_in_turn(outer, inside, NULL);
  OK(pare_model_open(several, path_of(name), NULL, &model));
  return model;
}

static void close_model(pare_model *model) {
  pare_model_close(model);
  pare_context_close(several);
  several = NULL;
}

static void expect_bits(pare_model *model, int64_t rows, const float *expected) {
  float *found;
  OK(run_model(several, model, rows, &found));
  ck_assert_msg(memcmp(expected, found, (size_t)rows * OUT * sizeof(float)) == 0, "other bits for %d samples",
                (int)rows);
  free(found);
}

/* ---- the bits ---- */

static const struct mix {
  pare_parallel outer, inside;
  const char *says; /* of the inside, for 100 samples */
} mixes[] = {
    {PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS, "inside of group 1 by columns: "},
    {PARE_PARALLEL_DATA, PARE_PARALLEL_DATA, "inside of group 1 by data: "},
    {PARE_PARALLEL_PIPELINE, PARE_PARALLEL_AUTO, "inside of group 1 by columns: "},
    {PARE_PARALLEL_DATA, PARE_PARALLEL_PIPELINE, "inside of group 1 by pipeline: "},
    {PARE_PARALLEL_TASK, PARE_PARALLEL_DATA, " by data: "},
    {PARE_PARALLEL_TASK, PARE_PARALLEL_COLUMNS, " by columns: "},
    {PARE_PARALLEL_DATA, PARE_PARALLEL_TASK, "inside of group 1 by task: "},
    {PARE_PARALLEL_AUTO, PARE_PARALLEL_AUTO, "inside of group 1 by "},
};
enum { FEW = 4, ODD = 2 };

START_TEST(every_mix_of_ways_has_the_bits_of_one_device) {
  static const int64_t rows[] = {1, 37, 100};
  const struct mix *mix = &mixes[_i];
  for (int odd = 0; odd < (_i < ODD ? 2 : 1); odd++) { /* the other group: one device */
    pare_model *model = open_model(odd ? two_and_one : two_and_two, mix->outer, mix->inside, "rows.onnx");
    for (size_t i = 0; i < PARE__COUNT(rows); i++) {
      const float *expected = on_one_device("rows.onnx", rows[i]);
      for (int again = 0; again < 2; again++) expect_bits(model, rows[i], expected);
    }
    close_model(model);
    ck_assert_uint_eq(atomic_load(&told), 0);
  }
}
END_TEST

START_TEST(both_ways_are_told) {
  const struct mix *mix = &mixes[_i];
  pare_model_division division;
  pare_model *model = open_model_in_turn(mix->outer, mix->inside, "rows.onnx");
  for (int again = 0; again < 2; again++) expect_bits(model, ROWS, on_one_device("rows.onnx", ROWS));
  OK(pare_model_divided(model, &division));
  if (mix->outer != PARE_PARALLEL_AUTO) ck_assert_int_eq(division.parallel, mix->outer);
  ck_assert_msg(strstr(division.why, mix->says), "%s", division.why);
  close_model(model);
}
END_TEST

/* The tasks of the group of one are known, and those of a group that is divided by whole runs are not. */
START_TEST(auto_thinks_of_a_pipeline_only_where_groups_have_stages) {
  static const pare_parallel inside[] = {PARE_PARALLEL_AUTO, PARE_PARALLEL_COLUMNS};
  const float *expected = on_one_device("rows.onnx", 8);
  pare_model *model = open_model(two_and_one, PARE_PARALLEL_AUTO, inside[_i], "rows.onnx");
  pare_model_division division;
  for (int again = 0; again < 30; again++) {
    expect_bits(model, 8, expected);
    OK(pare_model_divided(model, &division));
    char *within = strstr(division.why, "; inside");
    if (within) *within = '\0';
    if (inside[_i] == PARE_PARALLEL_AUTO) ck_assert_msg(!strstr(division.why, "pipeline"), "%s", division.why);
    ck_assert_msg(!strstr(division.why, "columns "), "%s", division.why);
  }
  ck_assert_msg(inside[_i] == PARE_PARALLEL_AUTO || strstr(division.why, "pipeline "), "%s", division.why);
  close_model(model);
}
END_TEST

START_TEST(a_declared_batch_is_divided_inside_of_groups_too) {
  pare_model_division division;
  const float *expected = on_one_device("fixed.onnx", ROWS);
  float *found;
  pare_model *model = open_model_in_turn(PARE_PARALLEL_DATA, PARE_PARALLEL_DATA, "fixed.onnx");
  OK(run_model(several, model, ROWS, &found));
  ck_assert_int_eq(memcmp(expected, found, ROWS * IN * sizeof(float)), 0);
  OK(pare_model_divided(model, &division));
  ck_assert_msg(strstr(division.why, "inside of group 1 by data: "), "%s", division.why);
  close_model(model);
  free((float *)expected);
  free(found);
}
END_TEST

typedef struct shared {
  const float *expected;
  pare_model *model;
} shared;

static void *run_often(void *argument) {
  const shared *all = argument;
  for (int again = 0; again < 5; again++) expect_bits(all->model, ROWS, all->expected);
  return NULL;
}

START_TEST(threads_share_a_model_on_groups) {
  const float *expected = on_one_device("rows.onnx", ROWS);
  pare_model *model = open_model(two_and_two, mixes[_i].outer, mixes[_i].inside, "rows.onnx");
  shared all = {expected, model};
  pthread_t thread[THREADS];
  for (size_t i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, run_often, &all), 0);
  for (size_t i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
  close_model(model);
}
END_TEST

START_TEST(what_is_asked_of_one_device_is_answered_by_one_of_a_group) {
  pare_model *model = open_model(two_and_two, PARE_PARALLEL_DATA, PARE_PARALLEL_DATA, "rows.onnx");
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
  ck_assert_int_eq(pare_model_run(model, &x, NULL, &y), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "interrupted"));
  pare_tensor_close(x);
  close_model(model);
}
END_TEST

/* A kernel of a device of a group raises it, and whoever waits for the whole context is told. */
START_TEST(an_index_out_of_range_is_told_to_who_waits) {
  static const pare_parallel inside[] = {PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS};
  int64_t index[ROWS] = {0};
  pare_model *model = open_model(two_and_two, PARE_PARALLEL_DATA, inside[_i], "gather.onnx");
  for (int bad = 0; bad < 3; bad++) { /* the last time there is none any more */
    pare_tensor *x, *y;
    index[ROWS - 1] = bad == 1 ? TABLE + 7 : 3;
    OK(pare_tensor_from(several, PARE_I64, 1, (const int64_t[]){ROWS}, index, sizeof index, &x));
    const pare_status ran = pare_model_run(model, &x, NULL, &y);
    const pare_status status = ran == PARE_OK ? pare_context_wait(several) : ran;
    ck_assert_msg(status == (bad == 1 ? PARE_ERR_ARGUMENT : PARE_OK), "run %d: %s", bad, pare_message());
    pare_tensor_close(x);
    pare_tensor_close(y);
  }
  close_model(model);
}
END_TEST

/* ---- losses ---- */

static size_t count_lost(void) {
  pare_schedule_stats stats;
  size_t lost = 0;
  OK(pare_context_stats(several, &stats));
  ck_assert_uint_eq(stats.ndevices, NDEVICES);
  for (size_t i = 0; i < stats.ndevices; i++) lost += stats.device[i].lost;
  pare_schedule_stats_close(&stats);
  return lost;
}

START_TEST(a_device_that_dies_is_told_once_and_its_group_goes_on) {
  const float *expected = on_one_device("rows.onnx", ROWS);
  for (unsigned long nth = 1; nth < 30; nth += 17) {
    pare_model *model = open_model(two_and_two, mixes[_i].outer, mixes[_i].inside, "rows.onnx");
    fault->reset();
    fault->inject("clEnqueueNDRangeKernel", nth, 1, 0);
    for (int again = 0; again < 20 && fault->failed(NULL) == 0; again++) expect_bits(model, ROWS, expected);
    expect_bits(model, ROWS, expected);
    ck_assert_uint_eq(fault->failed(NULL), 1);
    fault->reset();
    ck_assert_uint_eq(count_lost(), 1);
    close_model(model);
    ck_assert_msg(atomic_load(&told) == 1, "call %lu failed: told %u times: %s / %s", nth, atomic_load(&told),
                  message[0], message[1]);
    ck_assert_ptr_nonnull(strstr(message[0], "clEnqueueNDRangeKernel"));
    ck_assert_ptr_nonnull(strstr(message[0], "its work runs elsewhere"));
  }
}
END_TEST

static void lose(size_t group, size_t member) {
  pare__crew *crew;
  OK(pare__crew_of(pare__context_group(several, group), &crew));
  pare__crew_lose(crew, member, "the test says so");
}

START_TEST(a_group_without_devices_is_lost_and_the_other_does_its_work) {
  const float *expected = on_one_device("rows.onnx", ROWS);
  float *found;
  pare_model *model = open_model(two_and_two, mixes[_i].outer, mixes[_i].inside, "rows.onnx");
  expect_bits(model, ROWS, expected);
  lose(0, 0);
  expect_bits(model, ROWS, expected);
  ck_assert_uint_eq(atomic_load(&told), 1);
  lose(0, 1);
  ck_assert_uint_eq(atomic_load(&told), 3);
  ck_assert_ptr_nonnull(strstr(message[1], "no device of group 1 is left"));
  ck_assert_ptr_nonnull(strstr(message[2], "group 1 ("));
  ck_assert_ptr_nonnull(strstr(message[2], "its work runs elsewhere"));
  for (int again = 0; again < 3; again++) expect_bits(model, ROWS, expected);
  ck_assert_uint_eq(count_lost(), 2);
  lose(1, 1);
  expect_bits(model, ROWS, expected);
  lose(1, 0);
  ck_assert_uint_eq(atomic_load(&told), 6);
  ck_assert_int_eq(run_model(several, model, ROWS, &found), PARE_ERR_DEVICE);
  ck_assert_int_eq(run_model(several, model, ROWS, &found), PARE_ERR_DEVICE);
  ck_assert_uint_eq(count_lost(), NDEVICES);
  ck_assert_uint_eq(atomic_load(&told), 6);
  close_model(model);
  model = open_model(two_and_two, mixes[_i].outer, mixes[_i].inside, "rows.onnx");
  expect_bits(model, ROWS, expected);
  close_model(model);
}
END_TEST

/* Only the device is given up, not its group, which waits for it all the time. */
START_TEST(a_driver_that_hangs_is_given_up_inside_of_its_group) {
  static const struct {
    pare_parallel outer, inside;
    unsigned long nth;
  } rows[] = {{PARE_PARALLEL_DATA, PARE_PARALLEL_DATA, 3},
              {PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS, 4},
              {PARE_PARALLEL_PIPELINE, PARE_PARALLEL_COLUMNS, 4}};
  const float *expected = on_one_device("rows.onnx", ROWS);
  float *found = NULL;
  pare_model *model;
  bool too_slow = false;
  for (int run = 0; run < 2; run++) { /* the first builds what there is to build, with patience */
    OK(try_open(two_and_two,
                &(pare_schedule_options){.parallel = rows[_i].outer,
                                         .inside = rows[_i].inside,
                                         .lost = say_lost,
                                         .stall_seconds = run ? STALL_SECONDS : 0},
                &several));
    OK(pare_model_open(several, path_of("rows.onnx"), NULL, &model));
    pare_status status = run_model(several, model, ROWS, &found);
    free(found);
    found = NULL;
    if (run > 0) fault->hang("clEnqueueNDRangeKernel", rows[_i].nth, -1);
    if (status == PARE_OK) status = run_model(several, model, ROWS, &found);
    /* a machine that is busy otherwise may delay others for so long, too */
    too_slow = run > 0 && atomic_load(&told) > 1;
    ck_assert_msg(status == PARE_OK || too_slow, "%s", pare_message());
    ck_assert(too_slow || memcmp(expected, found, ROWS * OUT * sizeof(float)) == 0);
    free(found);
    if (run == 0) close_model(model);
  }
  const unsigned hung = fault->hanging(), ntold = atomic_load(&told);
  unsigned ngroups = 0;
  for (size_t i = 0; i < PARE__COUNT(message) && i < ntold; i++) ngroups += strncmp(message[i], "group ", 6) == 0;
  ck_assert_msg(ngroups == 0 || ntold - ngroups >= 2, "a group with devices is given up: %s", message[0]);
  close_model(model);
  ck_assert(too_slow || (hung == 1 && atomic_load(&told) == 1));
  fault->let_go();
  fault->reset();
}
END_TEST

/* ---- what is shown ---- */

/* Each of the devices has a row of its own with slices, and its group in its name. */
static void check_trace(const char *path, const pare_schedule_stats *stats) {
  json_error_t error;
  json_t *trace = json_load_file(path, 0, &error), *event;
  size_t i, slices[NDEVICES] = {0}, names = 0;
  ck_assert_msg(trace != NULL, "%s", error.text);
  json_array_foreach(json_object_get(trace, "traceEvents"), i, event) {
    const char *kind = json_string_value(json_object_get(event, "ph"));
    const json_int_t process = json_integer_value(json_object_get(event, "pid")), row = process / 10 - 1;
    ck_assert_int_lt(row, NDEVICES);
    if (strcmp(kind, "X") == 0 && json_integer_value(json_object_get(event, "tid")) == process) slices[row]++;
    if (strcmp(kind, "M") != 0 || strcmp(json_string_value(json_object_get(event, "name")), "process_name") != 0)
      continue;
    const char *name = json_string_value(json_object_get(json_object_get(event, "args"), "name"));
    char expected[300];
    snprintf(expected, sizeof expected, "group %u, %s", stats->device[row].group, stats->device[row].name);
    ck_assert_str_eq(name, expected);
    names++;
  }
  ck_assert_uint_eq(names, NDEVICES);
  for (i = 0; i < NDEVICES; i++) ck_assert_uint_eq(slices[i], stats->device[i].pieces);
  json_decref(trace);
}

START_TEST(counters_and_the_trace_tell_of_every_device) {
  char path[200];
  pare_model *model;
  const float *expected = on_one_device("rows.onnx", ROWS);
  snprintf(path, sizeof path, "%s", path_of("trace.json"));
  several = open_in_turn(mixes[_i].outer, mixes[_i].inside, path);
  OK(pare_model_open(several, path_of("rows.onnx"), NULL, &model));
  for (int again = 0; again < 10; again++) expect_bits(model, ROWS, expected);
  pare_schedule_stats stats;
  double busy = 0;
  uint64_t pieces = 0, of_kernels = 0;
  OK(pare_context_stats(several, &stats));
  ck_assert_uint_eq(stats.ndevices, NDEVICES);
  for (size_t i = 0; i < NDEVICES; i++) {
    const pare_device_stats *one = &stats.device[i];
    ck_assert_uint_eq(one->group, i / 2 + 1);
    ck_assert_msg(one->pieces > 0 && one->busy_seconds > 0, "device %zu did nothing", i);
    ck_assert_double_le(one->busy_seconds + one->idle_seconds, stats.elapsed_seconds * 1.001);
    busy += one->busy_seconds;
    pieces += one->pieces;
  }
  ck_assert_uint_eq(pieces, stats.pieces);
  for (size_t i = 0; i < stats.nkernels; i++) {
    ck_assert_uint_lt(stats.kernel[i].device, NDEVICES);
    busy -= stats.kernel[i].busy_seconds;
    of_kernels += stats.kernel[i].pieces;
  }
  ck_assert_uint_eq(of_kernels, pieces);
  ck_assert_double_eq_tol(busy, 0, 1e-6);
  ck_assert_uint_ge(stats.jobs, 10);
  ck_assert(stats.latency_p50 > 0);
  pare_model_close(model);
  pare_context *closing = several;
  several = NULL;
  char *names[NDEVICES];
  for (size_t i = 0; i < NDEVICES; i++) stats.device[i].name = names[i] = pare__strdup(stats.device[i].name);
  pare_context_close(closing);
  check_trace(path, &stats);
  for (size_t i = 0; i < NDEVICES; i++) free(names[i]);
  pare_schedule_stats_close(&stats);
}
END_TEST

/* What groups take is known in the next context: by the devices together, and the way inside. */
START_TEST(speeds_of_groups_are_kept) {
  static const pare_parallel inside[] = {PARE_PARALLEL_DATA, PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS};
  const float *expected = on_one_device("rows.onnx", ROWS);
  char name[40], path[200], kernel[80];
  snprintf(name, sizeof name, "kept-%ld.onnx", (long)getpid()); /* the file has lines of other runs of this test */
  snprintf(path, sizeof path, "%s", path_of(name));
  snprintf(kernel, sizeof kernel, "%s samples f32[%d]", name, IN);
  ck_assert_int_eq(symlink("rows.onnx", path), 0);
  for (size_t i = 0; i < PARE__COUNT(inside); i++) {
    pare_model *model = open_model(two_and_two, PARE_PARALLEL_DATA, inside[i], name);
    pare__crew *crew;
    pare__crew_line line[2];
    OK(pare__crew_of_groups(several, &crew));
    ck_assert_uint_eq(pare__crew_members(crew), 2);
    pare__crew_lines(crew, kernel, line);
    ck_assert_int_eq(line[0].known, i == 1);
    for (int again = 0; again < 30; again++) expect_bits(model, ROWS, expected);
    pare__crew_lines(crew, kernel, line);
    ck_assert(line[0].known && line[1].known);
    close_model(model);
  }
}
END_TEST

/* ---- the context ---- */

START_TEST(operations_on_tensors_are_for_all_devices) {
  enum { N = 1 << 20 };
  float *one = random_floats(N, 3), *found = malloc(N * sizeof(float));
  pare_tensor *x, *y;
  ck_assert_ptr_nonnull(found);
  several = open_in_turn(PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS, NULL);
  OK(pare_tensor_from(several, PARE_F32, 1, (const int64_t[]){N}, one, N * sizeof(float), &x));
  OK(pare_tensor_create(several, PARE_F32, 1, (const int64_t[]){N}, &y));
  for (int again = 0; again < 5; again++) OK(pare_unary(PARE_UNARY_neg, x, y));
  OK(pare_tensor_read(y, found, N * sizeof(float)));
  for (size_t i = 0; i < N; i++) ck_assert(found[i] == -one[i]);
  pare_tensor_close(x);
  pare_tensor_close(y);
  pare_schedule_stats stats;
  OK(pare_context_stats(several, &stats));
  ck_assert_uint_eq(stats.ndevices, NDEVICES);
  for (size_t i = 0; i < NDEVICES; i++) ck_assert_msg(stats.device[i].pieces > 0, "device %zu did nothing", i);
  ck_assert_uint_ge(stats.jobs, 5);
  pare_schedule_stats_close(&stats);
  pare_context_close(several);
  several = NULL;
  free(one);
  free(found);
}
END_TEST

/* Several crews have found it. */
START_TEST(a_device_is_told_once_whoever_loses_it) {
  pare__crew *all;
  pare_model *model = open_model(two_and_two, PARE_PARALLEL_DATA, PARE_PARALLEL_DATA, "rows.onnx");
  OK(pare__crew_of(several, &all));
  ck_assert_uint_eq(pare__crew_members(all), NDEVICES);
  lose(1, 0);
  pare__crew_lose(all, 2, "the test says so");
  ck_assert_uint_eq(atomic_load(&told), 1);
  pare__crew_lose(all, 3, "the test says so");
  ck_assert_uint_eq(atomic_load(&told), 2);
  ck_assert_uint_eq(count_lost(), 2);
  close_model(model);
}
END_TEST

/* A device's limit is its parts' together, in whichever group. */
START_TEST(limits_of_memory_are_those_of_devices) {
  enum { LIMIT = 64 << 20 };
  const pare_context_options options = {.device = two_and_two, .memory_limit_bytes = LIMIT};
  pare_memory_usage usage;
  OK(pare_context_open(&options, &several));
  OK(pare_context_memory(several, &usage));
  ck_assert_uint_eq(usage.limit_bytes, 2 * (uint64_t)LIMIT);
  pare_context_close(several);
  const pare_context_options tiny = {.device = two_and_two, .memory_limit_bytes = 64};
  pare_model *model;
  float *found;
  OK(pare_context_open(&tiny, &several));
  pare_status status = pare_model_open(several, path_of("rows.onnx"), NULL, &model);
  if (status == PARE_OK) status = run_model(several, model, ROWS, &found);
  ck_assert_msg(status == PARE_ERR_LIMIT, "%d: %s", (int)status, pare_message());
  close_model(model);
}
END_TEST

START_TEST(ways_that_do_not_go_together_are_refused) {
  static const struct {
    const char *selector;
    pare_parallel outer, inside;
    const char *says;
  } rows[] = {
      {two_and_two, PARE_PARALLEL_DATA, PARE_PARALLEL_OFF, "any way is allowed but off"},
      {two_and_two, PARE_PARALLEL_COLUMNS, PARE_PARALLEL_DATA, "columns is for all devices"},
      {two_and_two, PARE_PARALLEL_OFF, PARE_PARALLEL_DATA, "off is for all devices"},
      {two_and_two, PARE_PARALLEL_PIPELINE, PARE_PARALLEL_DATA, "divided by columns"},
      {"0", PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS, "write them in parentheses"},
      {"0/1+1", PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS, "write them in parentheses"},
      {"(0/1+1)", PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS, "write them in parentheses"},
  };
  for (size_t i = 0; i < PARE__COUNT(rows); i++) {
    pare_context *opened = NULL;
    const pare_schedule_options schedule = {.parallel = rows[i].outer, .inside = rows[i].inside};
    ck_assert_int_eq(try_open(rows[i].selector, &schedule, &opened), PARE_ERR_ARGUMENT);
    ck_assert_msg(!opened && strstr(pare_message(), rows[i].says), "%zu: %s", i, pare_message());
  }
}
END_TEST

/* ---- two devices, of two parts each ---- */

static bool choose_devices(void) {
  pare_device_list *list;
  pare_device_choice choice[8];
  size_t count = 0, found = 0, index[2];
  OK(pare_device_list_open(false, &list));
  if (pare_device_list_select(list, NULL, PARE__COUNT(choice), choice, &count) != PARE_OK) count = 0;
  for (size_t i = 0; i < count && i < PARE__COUNT(choice) && found < 2; i++)
    if (choice[i].compute_units >= 2) index[found++] = choice[i].index;
  if (found == 2) {
    snprintf(two_and_two, sizeof two_and_two, "(%zu/1+1),(%zu/1+1)", index[0], index[1]);
    snprintf(two_and_one, sizeof two_and_one, "(%zu/1+1),%zu", index[0], index[1]);
  }
  pare_device_list_close(list);
  return found == 2;
}

static void setup(void) {
  values = random_floats(ROWS * IN, 3);
  write_model();
  write_fixed();
  write_gather();
}

int main(void) {
  const char *why = NULL;
  signal(SIGALRM, say_state);
  alarm(WATCHDOG_SECONDS);
  setenv("POCL_DEVICES", "pthread pthread", 1); /* PoCL shows its device twice */
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  fault = fault_layer_load(&why);
  if (!fault) {
    fprintf(stderr, "test_groups: %s\n", why);
    return EXIT_FAILURE;
  }
  if (!choose_devices()) {
    printf("test_groups: there are no two devices of two compute units each\n");
    return remove_folder(folder, SKIPPED);
  }
  TCase *tests = tcase_create("groups");
  const int nmixes = (int)PARE__COUNT(mixes);
  tcase_add_unchecked_fixture(tests, setup, NULL);
  tcase_add_loop_test(tests, every_mix_of_ways_has_the_bits_of_one_device, 0, nmixes);
  tcase_add_loop_test(tests, both_ways_are_told, 0, nmixes);
  tcase_add_loop_test(tests, auto_thinks_of_a_pipeline_only_where_groups_have_stages, 0, 2);
  tcase_add_test(tests, a_declared_batch_is_divided_inside_of_groups_too);
  tcase_add_loop_test(tests, threads_share_a_model_on_groups, 0, FEW);
  tcase_add_test(tests, what_is_asked_of_one_device_is_answered_by_one_of_a_group);
  tcase_add_loop_test(tests, an_index_out_of_range_is_told_to_who_waits, 0, 2);
  tcase_add_loop_test(tests, a_device_that_dies_is_told_once_and_its_group_goes_on, 0, FEW);
  tcase_add_loop_test(tests, a_group_without_devices_is_lost_and_the_other_does_its_work, 0, 3);
  tcase_add_loop_test(tests, a_driver_that_hangs_is_given_up_inside_of_its_group, 0, 3);
  tcase_add_loop_test(tests, counters_and_the_trace_tell_of_every_device, 0, 2);
  tcase_add_test(tests, speeds_of_groups_are_kept);
  tcase_add_test(tests, operations_on_tensors_are_for_all_devices);
  tcase_add_test(tests, a_device_is_told_once_whoever_loses_it);
  tcase_add_test(tests, limits_of_memory_are_those_of_devices);
  tcase_add_test(tests, ways_that_do_not_go_together_are_refused);
  const int status = run_tests("groups", tests);
  free(values);
  return remove_folder(folder, status);
}
