/* Operations on tensors on several devices: the same bits as on one, whatever the policy, the split and the copies.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/gemm.h>
#include <pare/index.h>
#include <pare/normalise.h>
#include <pare/reduce.h>
#include <pare/schedule.h>
#include <pare/task.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault/fault.h"
#include "sched/crew_state.h"
#include "sched/multi.h"
#include "watch.h"
/* what follows has a variable with the name of those functions' arguments */
#include "fixture.h"
#include "workload.h"

enum { WATCHDOG_SECONDS = 300, ROWS = 203, COLUMNS = 157, MOST_VALUES = ROWS * COLUMNS };

static const char *const policies[] = {"dmda", "hguided", "heft", "static", "priority", "round-robin"};
static pare_context *several;

/* One device, and the same cut in two. */
static void setup(void) {
  watch_context(&several, WATCHDOG_SECONDS);
  open_context();
}

static void teardown(void) {
  close_context();
  unwatch();
}

static uint64_t limit_bytes;

static pare_status try_open(const char *policy, void (*lost)(void *, const char *)) {
  char selector[64];
  const char *given = getenv("PARE_DEVICE");
  (void)snprintf(selector, sizeof selector, "%.40s/1+1", given ? given : "cpu");
  pare_schedule_options schedule = PARE_SCHEDULE_OPTIONS_INIT;
  schedule.policy = policy;
  schedule.lost = lost;
  pare_context_options options = PARE_CONTEXT_OPTIONS_INIT;
  options.device = selector;
  options.memory_limit_bytes = limit_bytes;
  options.schedule = &schedule;
  return pare_context_open(&options, &several);
}

static pare_context *open_telling(const char *policy, void (*lost)(void *, const char *)) {
  OK(try_open(policy, lost));
  return several;
}

static pare_context *open_several(const char *policy) { return open_telling(policy, NULL); }

static void close_several(void) {
  pare_context_close(several);
  several = NULL;
}

/* ---- operations, as rows of a table: each computes y [ROWS, COLUMNS] or less of x and w ---- */

typedef struct operands {
  pare_context *in;
  pare_tensor *x, *square, *w, *bias, *index, *y, *column;
} operands;

static pare_tensor *make(pare_context *in, pare_dtype dtype, int64_t rows, int64_t columns, uint32_t seed) {
  const int64_t shape[] = {rows, columns};
  pare_tensor *tensor;
  if (dtype == PARE_I64) {
    int64_t *values = calloc((size_t)(rows * columns), sizeof *values);
    for (int64_t i = 0; i < rows * columns; i++) values[i] = (i * 7919 + seed) % ROWS;
    OK(pare_tensor_from(in, dtype, 1, shape, values, (size_t)(rows * columns) * sizeof *values, &tensor));
    free(values);
    return tensor;
  }
  float *values = random_floats(rows * columns, seed);
  OK(pare_tensor_from(in, dtype, 2, shape, values, (size_t)(rows * columns) * sizeof *values, &tensor));
  free(values);
  return tensor;
}

static operands operands_in(pare_context *in) {
  return (operands){.in = in,
                    .x = make(in, PARE_F32, ROWS, COLUMNS, 1),
                    .square = make(in, PARE_F32, COLUMNS, COLUMNS, 2),
                    .w = make(in, PARE_F32, ROWS, COLUMNS, 3),
                    .bias = make(in, PARE_F32, 1, COLUMNS, 4),
                    .index = make(in, PARE_I64, ROWS, 1, 5),
                    .y = make(in, PARE_F32, ROWS, COLUMNS, 6),
                    .column = make(in, PARE_F32, ROWS, 1, 7)};
}

static void operands_close(operands *o) {
  pare_tensor *const all[] = {o->x, o->square, o->w, o->bias, o->index, o->y, o->column};
  for (size_t i = 0; i < PARE__COUNT(all); i++) pare_tensor_close(all[i]);
}

static void do_product(operands *o) {
  pare_gemm_options options = PARE_GEMM_OPTIONS_INIT;
  OK(pare_gemm(o->x, o->square, o->bias, &options, o->y));
}
static void do_add(operands *o) { OK(pare_binary(PARE_BINARY_add, o->x, o->bias, o->y)); }
static void do_in_place(operands *o) {
  OK(pare_unary(PARE_UNARY_tanh, o->y, o->y));
  OK(pare_binary(PARE_BINARY_mul, o->y, o->x, o->y));
}
static void do_columns(operands *o) {
  pare_tensor *from, *to;
  OK(pare_tensor_slice(o->x, 1, 1, COLUMNS / 2, 2, &from));
  OK(pare_tensor_slice(o->y, 1, COLUMNS / 2, COLUMNS / 2, 1, &to));
  OK(pare_unary(PARE_UNARY_exp, from, to));
  pare_tensor_close(from);
  pare_tensor_close(to);
}
static void do_sum(operands *o) {
  const int axis = 1;
  OK(pare_reduce(o->x, PARE_REDUCTION_SUM, &axis, 1, true, o->column));
  OK(pare_binary(PARE_BINARY_add, o->w, o->column, o->y));
}
static void do_softmax(operands *o) { OK(pare_softmax(o->x, 1, o->y)); }
static void do_gather(operands *o) { OK(pare_gather(o->x, o->index, 0, o->y)); }
static void do_chain(operands *o) {
  for (int i = 0; i < 6; i++) {
    do_product(o);
    OK(pare_unary(PARE_UNARY_tanh, o->y, o->x));
    do_softmax(o);
    OK(pare_binary(PARE_BINARY_add, o->y, o->w, o->x));
  }
  OK(pare_binary(PARE_BINARY_sub, o->x, o->bias, o->y));
}

static void (*const operations[])(operands *) = {do_product, do_add,     do_in_place, do_columns,
                                                 do_sum,     do_softmax, do_gather,   do_chain};

static float *result_of(pare_context *in, size_t operation) {
  operands o = operands_in(in);
  operations[operation](&o);
  float *values = floats_of(o.y);
  operands_close(&o);
  return values;
}

static void expect_bits(pare_context *in, size_t operation, const float *want) {
  float *got = result_of(in, operation);
  ck_assert_mem_eq(want, got, MOST_VALUES * sizeof *want);
  free(got);
}

/* _i = a policy, then the same with copies. */
START_TEST(bits_are_those_of_one_device) {
  float *want[PARE__COUNT(operations)];
  for (size_t k = 0; k < PARE__COUNT(operations); k++) want[k] = result_of(context, k);
  pare_context *in = open_several(policies[_i / 2]);
  pare__multi_apart(in, _i % 2);
  for (int pieces = 2; pieces <= 7; pieces += 5) {
    pare__context_split(in, pieces);
    for (size_t k = 0; k < PARE__COUNT(operations); k++) expect_bits(in, k, want[k]);
  }
  pare_schedule_stats stats;
  OK(pare_context_stats(in, &stats));
  ck_assert_uint_ge(stats.ndevices, 2);
  ck_assert_uint_ge(stats.pieces, stats.jobs);
  pare_schedule_stats_close(&stats);
  close_several();
  for (size_t k = 0; k < PARE__COUNT(operations); k++) free(want[k]);
}
END_TEST

static const pare__policy_class *policy_of(const char *environment, const char *option) {
  pare__crew *crew;
  unsetenv("PARE_POLICY");
  if (environment) setenv("PARE_POLICY", environment, 1);
  OK(pare__crew_of(open_several(option), &crew));
  const pare__policy_class *isa = crew->policy->isa;
  close_several();
  unsetenv("PARE_POLICY");
  return isa;
}

/* The option goes before the environment, and that before the default. */
START_TEST(a_policy_is_chosen_by_option_or_environment) {
  char *kept = getenv("PARE_POLICY") ? pare__strdup(getenv("PARE_POLICY")) : NULL;
  pare__crew *crew;
  ck_assert_ptr_eq(policy_of(NULL, NULL), pare__policies[0]);
  ck_assert_ptr_eq(policy_of("", NULL), pare__policies[0]);
  ck_assert_ptr_eq(policy_of("round-robin", NULL), &pare__policy_round_robin);
  ck_assert_ptr_eq(policy_of("round-robin", "static"), &pare__policy_static);
  setenv("PARE_POLICY", "luck", 1);
  ck_assert_int_eq(pare__crew_of(open_several(NULL), &crew), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "luck"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "dmda"));
  close_several();
  unsetenv("PARE_POLICY");
  if (kept) setenv("PARE_POLICY", kept, 1);
  free(kept);
}
END_TEST

/* ---- work of users ---- */

static const char *kernel_file(void) {
  static char path[600];
  const char *folder = getenv("srcdir");
  (void)snprintf(path, sizeof path, "%.500s/doc/examples/task.cl", folder ? folder : "..");
  return path;
}

static size_t nnumbers = 2; /* as many as the kernel has parameters for */
static pare_status scale_rows(pare_context *in, pare_tensor *from, pare_tensor *to, const char *entry, unsigned classes,
                              pare_task *const *after, pare_task **out) {
  const pare_task_tensor tensors[] = {{from, PARE_ACCESS_READ, 0, 1}, {to, PARE_ACCESS_WRITE, 0, 1}};
  const pare_task_number numbers[] = {{PARE_I32, {.i32 = COLUMNS}}, {PARE_F32, {.f32 = 1e-6F}}};
  pare_task_options options = PARE_TASK_OPTIONS_INIT;
  options.file = kernel_file();
  options.entry = entry;
  options.tensor = tensors;
  options.ntensors = 2;
  options.number = numbers;
  options.nnumbers = nnumbers;
  options.n = ROWS;
  options.grain = 8;
  options.group_items = 4;
  options.classes = classes;
  options.after = after;
  options.nafter = after ? 1 : 0;
  return pare_task_submit(in, &options, out);
}

static float *tasks_in(pare_context *in) {
  operands o = operands_in(in);
  pare_task *first, *second;
  OK(scale_rows(in, o.x, o.y, "scale_rows", PARE_CLASS_CPU, NULL, &first));
  OK(scale_rows(in, o.y, o.y, "scale_rows", 0, &first, &second));
  OK(pare_task_wait(second));
  pare_task_close(first);
  pare_task_close(second);
  float *values = floats_of(o.y);
  operands_close(&o);
  return values;
}

START_TEST(own_kernels_are_divided) {
  pare_context *in = open_several(NULL);
  pare__context_split(in, 5);
  float *want = tasks_in(context), *got = tasks_in(in);
  ck_assert_mem_eq(want, got, MOST_VALUES * sizeof *want);
  free(want);
  free(got);
  close_several();
}
END_TEST

static pare_status dawdle(const pare__piece *piece) {
  for (int64_t i = piece->begin; i < piece->end; i++) usleep(300);
  return PARE_OK;
}

/* However few bytes there are: a few hundred here, so that the first run is on one device. */
START_TEST(what_takes_long_is_divided_after_its_first_runs) {
  static const pare__codelet codelet = {"dawdle", dawdle};
  pare_context *in = open_several(NULL);
  operands o = operands_in(in);
  const pare__task task = {
      .codelet = &codelet, .context = in, .n = ROWS, .naccesses = 1, .access = {{o.column, PARE__WRITE, 0, 1}}};
  pare_schedule_stats stats;
  for (int i = 0; i < 3; i++) {
    OK(pare__submit(&task));
    OK(pare_context_wait(in));
  }
  OK(pare_context_stats(in, &stats));
  ck_assert_uint_eq(stats.jobs, 3);
  ck_assert_uint_gt(stats.pieces, stats.jobs);
  for (size_t m = 0; m < stats.ndevices; m++) ck_assert_uint_gt(stats.device[m].pieces, 0);
  pare_schedule_stats_close(&stats);
  operands_close(&o);
  close_several();
}
END_TEST

START_TEST(wrong_tasks_are_told) {
  pare_context *both[] = {context, open_several(NULL)};
  for (size_t i = 0; i < PARE__COUNT(both); i++) {
    operands o = operands_in(both[i]);
    pare_task *task;
    ck_assert_int_eq(scale_rows(both[i], o.x, o.y, "scale_rows", PARE_CLASS_GPU, NULL, &task), PARE_ERR_ARGUMENT);
    ck_assert_ptr_null(task);
    ck_assert_int_eq(scale_rows(both[i], o.square, o.y, "scale_rows", 0, NULL, &task), PARE_ERR_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(pare_message(), "do not cover"));
    OK(scale_rows(both[i], o.x, o.y, "no_such_kernel", 0, NULL, &task));
    ck_assert_int_eq(pare_task_wait(task), PARE_ERR_KERNEL);
    ck_assert_ptr_nonnull(strstr(pare_message(), "no_such_kernel"));
    ck_assert_int_eq(pare_context_wait(both[i]), PARE_ERR_KERNEL);
    pare_task_close(task);
    /* over what failed before: this failure is told, and it is no device's */
    nnumbers = 0;
    OK(scale_rows(both[i], o.x, o.y, "scale_rows", 0, NULL, &task));
    nnumbers = 2;
    ck_assert_int_eq(pare_task_wait(task), PARE_ERR_KERNEL);
    ck_assert_ptr_nonnull(strstr(pare_message(), "clSetKernelArg(scale_rows"));
    ck_assert_int_eq(pare_context_wait(both[i]), PARE_ERR_KERNEL);
    pare_task_close(task);
    OK(pare_unary(PARE_UNARY_tanh, o.x, o.y)); /* what is written anew is healed */
    free(floats_of(o.y));
    OK(scale_rows(both[i], o.x, o.y, "scale_rows", 0, NULL, &task));
    OK(pare_task_wait(task));
    pare_task_close(task);
    OK(pare_context_wait(both[i]));
    operands_close(&o);
  }
  close_several();
}
END_TEST

/* Of no rows: tasks are refused, operations have nothing to do. */
START_TEST(a_split_of_no_rows_is_told_or_done) {
  const int64_t none[] = {0, COLUMNS}, square[] = {COLUMNS, COLUMNS};
  pare_context *in = open_several(NULL);
  pare__context_split(in, 4);
  pare_tensor *x, *w, *y;
  OK(pare_tensor_create(in, PARE_F32, 2, none, &x));
  OK(pare_tensor_create(in, PARE_F32, 2, none, &y));
  OK(pare_tensor_create(in, PARE_F32, 2, square, &w));
  const pare_task_tensor tensors[] = {{x, PARE_ACCESS_READ, 0, 1}, {y, PARE_ACCESS_WRITE, 0, 1}};
  pare_task_options options = PARE_TASK_OPTIONS_INIT;
  options.file = kernel_file();
  options.entry = "scale_rows";
  options.tensor = tensors;
  options.ntensors = 2;
  options.n = 0;
  ck_assert_int_eq(pare_task_submit(in, &options, NULL), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "n must be 1 or more"));
  OK(pare_unary(PARE_UNARY_tanh, x, y));
  OK(pare_softmax(x, 1, y));
  OK(pare_gemm(x, w, NULL, NULL, y));
  OK(pare_context_wait(in));
  OK(pare_tensor_read(y, NULL, 0));
  pare_tensor_close(x);
  pare_tensor_close(w);
  pare_tensor_close(y);
  close_several();
}
END_TEST

/* ---- failures ---- */

/* A codelet that devices from that one on refuse. */
static size_t refuses_from;
static pare_status refuse(const pare__piece *piece) {
  for (size_t m = refuses_from; m < pare__context_members(several); m++)
    if (piece->context == pare__context_member(several, m))
      return pare__fail(PARE_ERR_LIMIT, "member %zu does not like it", m);
  return PARE_OK;
}

START_TEST(what_a_device_refuses_others_do) {
  static const pare__codelet codelet = {"refused", refuse};
  pare_context *in = open_several("round-robin");
  operands o = operands_in(in);
  pare__task task = {
      .codelet = &codelet, .context = in, .n = ROWS, .naccesses = 1, .access = {{o.y, PARE__WRITE, 0, 1}}};
  pare__context_split(in, 7);
  refuses_from = 1;
  for (int i = 0; i < 20; i++) {
    OK(pare__submit(&task));
    OK(pare_context_wait(in));
  }
  refuses_from = 0;
  float *values = malloc(MOST_VALUES * sizeof *values);
  OK(pare__submit(&task));
  OK(pare_unary(PARE_UNARY_tanh, o.square, o.square)); /* what does not need it is done */
  OK(pare_binary(PARE_BINARY_add, o.y, o.w, o.x));     /* what needs it fails likewise */
  ck_assert_int_eq(pare_context_wait(in), PARE_ERR_LIMIT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "does not like it"));
  ck_assert_int_eq(pare_tensor_read(o.y, values, MOST_VALUES * sizeof *values), PARE_ERR_LIMIT);
  ck_assert_int_eq(pare_tensor_read(o.x, values, MOST_VALUES * sizeof *values), PARE_ERR_LIMIT);
  OK(pare_unary(PARE_UNARY_tanh, o.w, o.y)); /* what is written anew is healed */
  OK(pare_tensor_read(o.y, values, MOST_VALUES * sizeof *values));
  OK(pare_context_wait(in));
  free(values);
  operands_close(&o);
  close_several();
}
END_TEST

static unsigned nlost;
static void count_lost(void *user, const char *message) {
  (void)user;
  ck_assert_ptr_nonnull(message);
  nlost++;
}

static const fault_control *faults;
enum { CHAIN = PARE__COUNT(operations) - 1, NOT_AVAILABLE = -2 };

/* _i = the launch that fails, and copies or not. */
START_TEST(a_lost_device_changes_no_bit) {
  if (!faults) return;
  float *want = result_of(context, CHAIN);
  nlost = 0;
  pare_context *in = open_telling(NULL, count_lost);
  pare__multi_apart(in, _i % 2);
  pare__context_split(in, 4);
  expect_bits(in, CHAIN, want); /* kernels are built and trusted */
  faults->reset();
  faults->inject(_i % 4 < 2 ? "clEnqueueNDRangeKernel" : "clEnqueueMarkerWithWaitList", 1 + (unsigned long)_i * 3, 1,
                 NOT_AVAILABLE);
  expect_bits(in, CHAIN, want);
  faults->reset();
  expect_bits(in, CHAIN, want);
  ck_assert_uint_eq(nlost, 1);
  close_several();
  free(want);
}
END_TEST

/* _i = what fails of what comes with copies. */
START_TEST(a_failing_copy_changes_no_bit) {
  static const char *const calls[] = {"clEnqueueWriteBuffer", "clEnqueueReadBuffer", "clEnqueueBarrierWithWaitList"};
  if (!faults) return;
  float *want = result_of(context, CHAIN);
  nlost = 0;
  pare_context *in = open_telling(NULL, count_lost);
  pare__multi_apart(in, true);
  pare__context_split(in, 4);
  expect_bits(in, CHAIN, want); /* kernels are built and trusted */
  faults->reset();
  faults->inject(calls[_i % 3], 1 + (unsigned long)_i / 3, 1, NOT_AVAILABLE);
  expect_bits(in, CHAIN, want);
  faults->reset();
  expect_bits(in, CHAIN, want);
  ck_assert_uint_eq(nlost, 1);
  close_several();
  free(want);
}
END_TEST

/* In place, and the device fails behind the work: what it was computed from is still there for the others. _i = the
 * call that fails, with a buffer that holds a part of a piece only, or all. */
START_TEST(a_device_lost_behind_work_in_place_changes_no_bit) {
  enum { IN_PLACE = 2 };
  if (!faults) return;
  float *want = result_of(context, IN_PLACE);
  nlost = 0;
  pare_context *in = open_telling(NULL, count_lost);
  pare__context_split(in, 4);
  expect_bits(in, IN_PLACE, want); /* kernels are built and trusted */
  for (size_t m = 0; _i % 2 && m < pare__context_members(in); m++)
    ((pare_device_info *)pare_context_device(pare__context_member(in, m)))->max_buffer_bytes = (uint64_t)24 << 10;
  faults->reset();
  faults->inject("clEnqueueMarkerWithWaitList", 1 + (unsigned long)_i / 2, 1, NOT_AVAILABLE);
  expect_bits(in, IN_PLACE, want);
  faults->reset();
  ck_assert(nlost == 1 || (nlost == 0 && _i >= 2)); /* who has how many pieces is the policy's */
  free(want);
  close_several();
}
END_TEST

/* Whoever is told of a loss may look and submit; waiting there, and closing, would never end. */
static operands at_hand;
static int told_errors;

static void note_error(pare_log_level level, const char *line, void *user) {
  (void)user;
  told_errors += level == PARE_LOG_ERROR && strstr(line, "pare_context_close from inside of a job or callback");
}

static void call_back(void *user, const char *message) {
  pare_schedule_stats stats;
  float values[ROWS];
  count_lost(user, message);
  OK(pare_context_stats(several, &stats));
  pare_schedule_stats_close(&stats);
  OK(pare_unary(PARE_UNARY_tanh, at_hand.square, at_hand.square));
  ck_assert_int_eq(pare_context_wait(several), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "would never end"));
  ck_assert_int_eq(pare_tensor_read(at_hand.column, values, ROWS * sizeof *values), PARE_ERR_ARGUMENT);
  pare_context_close(several);
}

START_TEST(callbacks_may_call_and_not_wait) {
  if (!faults) return;
  float *want = result_of(context, CHAIN);
  nlost = 0;
  told_errors = 0;
  pare_context *in = open_telling(NULL, call_back);
  pare__context_split(in, 4);
  expect_bits(in, CHAIN, want); /* kernels are built and trusted */
  at_hand = operands_in(in);
  OK(pare_context_wait(in));
  pare_log_set(note_error, NULL, PARE_LOG_ERROR);
  faults->reset();
  faults->inject("clEnqueueNDRangeKernel", 5, 1, NOT_AVAILABLE);
  do_sum(&at_hand); /* what its column waits for */
  expect_bits(in, CHAIN, want);
  faults->reset();
  pare_log_set(NULL, NULL, PARE_LOG_ERROR);
  ck_assert_uint_eq(nlost, 1);
  ck_assert_int_eq(told_errors, 1);
  operands_close(&at_hand);
  close_several();
  free(want);
}
END_TEST

START_TEST(all_lost_is_an_error) {
  if (!faults) return;
  nlost = 0;
  pare_context *in = open_telling(NULL, count_lost);
  pare__context_split(in, 4);
  operands o = operands_in(in);
  float *values = malloc(MOST_VALUES * sizeof *values);
  faults->reset();
  faults->inject("clEnqueueNDRangeKernel", 1, 0, NOT_AVAILABLE);
  do_chain(&o);
  ck_assert_int_eq(pare_tensor_read(o.y, values, MOST_VALUES * sizeof *values), PARE_ERR_DEVICE);
  ck_assert_uint_eq(nlost, pare__context_members(in));
  faults->reset();
  operands_close(&o);
  close_several();
  free(values);
  values = result_of(context, CHAIN);
  in = open_several(NULL);
  expect_bits(in, CHAIN, values);
  close_several();
  free(values);
}
END_TEST

/* ---- many at once, and little memory ---- */

static void *work_in_thread(void *out) {
  *(float **)out = result_of(several, CHAIN);
  return NULL;
}

START_TEST(ten_threads) {
  enum { THREADS = 10 };
  float *want = result_of(context, CHAIN), *got[THREADS];
  pthread_t thread[THREADS];
  pare__context_split(open_several(NULL), 3);
  for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, work_in_thread, &got[i]), 0);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(thread[i], NULL);
    ck_assert_mem_eq(want, got[i], MOST_VALUES * sizeof *want);
    free(got[i]);
  }
  close_several();
  free(want);
}
END_TEST

START_TEST(closed_with_work_under_way) {
  pare_context *in = open_several(NULL);
  operands o = operands_in(in);
  do_chain(&o);
  operands_close(&o); /* what is under way keeps what it needs */
  close_several();
}
END_TEST

START_TEST(little_memory_is_enough_and_less_is_told) {
  float *want = result_of(context, 1);
  for (int apart = 0; apart <= 1; apart++) {
    limit_bytes = (size_t)320 << 10; /* of both parts together: x, bias and y are more than half of it */
    pare_context *in = open_several(NULL);
    pare__multi_apart(in, apart);
    for (int i = 0; i < 3; i++) expect_bits(in, 1, want);
    close_several();
    limit_bytes = 1200;
    in = open_several(NULL);
    pare_memory_usage usage;
    OK(pare_context_memory(in, &usage));
    ck_assert_uint_eq(usage.limit_bytes, limit_bytes);
    pare__multi_apart(in, apart);
    operands o = operands_in(in);
    float *values = malloc(MOST_VALUES * sizeof *values);
    do_add(&o);
    ck_assert_int_eq(pare_tensor_read(o.y, values, MOST_VALUES * sizeof *values), PARE_ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(pare_message(), "the limit of 600"));
    ck_assert_ptr_nonnull(strstr(pare_message(), "which the parts of a device share"));
    free(values);
    operands_close(&o);
    close_several();
  }
  limit_bytes = 0;
  free(want);
}
END_TEST

/* Tensors over the largest buffer come to the devices in slices. _i = operation */
START_TEST(larger_than_a_buffer) {
  float *want = result_of(context, (size_t)_i);
  pare_context *in = open_several(NULL);
  for (int apart = 0; apart <= 1; apart++) {
    uint64_t real[16] = {0};
    pare__multi_apart(in, apart);
    expect_bits(in, (size_t)_i, want); /* kernels are built and trusted */
    for (size_t m = 0; m < pare__context_members(in); m++) {
      pare_device_info *info = (pare_device_info *)pare_context_device(pare__context_member(in, m));
      real[m] = info->max_buffer_bytes;
      info->max_buffer_bytes = (uint64_t)24 << 10;
    }
    expect_bits(in, (size_t)_i, want);
    for (size_t m = 0; m < pare__context_members(in); m++)
      ((pare_device_info *)pare_context_device(pare__context_member(in, m)))->max_buffer_bytes = real[m];
  }
  close_several();
  free(want);
}
END_TEST

/* ---- unfinished work is bounded ---- */

static atomic_bool stands_still;

static pare_status stand_still(const pare__piece *piece) {
  (void)piece;
  while (atomic_load(&stands_still)) usleep(1000);
  return PARE_OK;
}

static void let_go(void *unused) {
  (void)unused;
  atomic_store(&stands_still, false);
}

/* On devices that stand still: whoever submits has to wait, after so many tasks or so many bytes that only they use. */
START_TEST(unfinished_work_is_bounded) {
  static const pare__codelet still = {"still", stand_still};
  (void)open_several(NULL);
  atomic_store(&stands_still, true);
  workload_is_paced(several, &still, _i == 1, let_go, NULL);
  close_several();
}
END_TEST

/* A user's memory: theirs after a sync, and after the last handle is closed. */
START_TEST(wrapped_memory_is_its_owners) {
  const int64_t shape[] = {ROWS, COLUMNS};
  float *memory = random_floats(MOST_VALUES, 8), first = memory[5];
  pare_context *in = open_several(NULL);
  pare_tensor *tensor;
  for (int apart = 0; apart <= 1; apart++) {
    pare__multi_apart(in, apart);
    memory[5] = first;
    OK(pare_tensor_wrap(in, PARE_F32, 2, shape, memory, MOST_VALUES * sizeof *memory, &tensor));
    OK(pare_unary(PARE_UNARY_neg, tensor, tensor));
    OK(pare_tensor_sync(tensor));
    ck_assert_float_eq(memory[5], -first);
    memory[5] = 3;
    OK(pare_unary(PARE_UNARY_neg, tensor, tensor));
    pare_tensor_close(tensor);
    ck_assert_float_eq(memory[5], -3);
  }
  close_several();
  free(memory);
}
END_TEST

int main(void) {
  const char *why;
  faults = fault_layer_load(&why);
  if (!faults) fprintf(stderr, "without failures of devices: %s\n", why);
  if (try_open(NULL, NULL) != PARE_OK) {
    fprintf(stderr, "skipped: %s\n", pare_message());
    return 77;
  }
  close_several();
  TCase *tests = tcase_create("multi");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_add_loop_test(tests, bits_are_those_of_one_device, 0, 2 * (int)PARE__COUNT(policies));
  tcase_add_test(tests, a_policy_is_chosen_by_option_or_environment);
  tcase_add_test(tests, own_kernels_are_divided);
  tcase_add_test(tests, what_takes_long_is_divided_after_its_first_runs);
  tcase_add_test(tests, wrong_tasks_are_told);
  tcase_add_test(tests, a_split_of_no_rows_is_told_or_done);
  tcase_add_test(tests, what_a_device_refuses_others_do);
  tcase_add_loop_test(tests, a_lost_device_changes_no_bit, 0, 8);
  tcase_add_loop_test(tests, a_failing_copy_changes_no_bit, 0, 9);
  tcase_add_loop_test(tests, a_device_lost_behind_work_in_place_changes_no_bit, 0, 6);
  tcase_add_test(tests, callbacks_may_call_and_not_wait);
  tcase_add_test(tests, all_lost_is_an_error);
  tcase_add_loop_test(tests, larger_than_a_buffer, 1, 3);
  tcase_add_test(tests, wrapped_memory_is_its_owners);
  tcase_add_loop_test(tests, unfinished_work_is_bounded, 0, 2);
  tcase_add_test(tests, ten_threads);
  tcase_add_test(tests, closed_with_work_under_way);
  tcase_add_test(tests, little_memory_is_enough_and_less_is_told);
  return run_tests("multi", tests);
}
