/* The user's own function, called by a thread of a group of devices that has lost one, uses the context: what it asks
 * for is done or refused, by others, and nothing waits for itself. SPDX-License-Identifier: Apache-2.0 */
#include <pare/elementwise.h>
#include <pare/model.h>
#include <pare/schedule.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault/fault.h"
#include "onnx_builder.h"
/* what follows has a variable with the name of those functions' arguments */
#include "fixture.h"

enum { WATCHDOG_SECONDS = 300, SKIPPED = 77, IN = 24, OUT = 5, ROWS = 100, MOST_RUNS = 40 };

static char folder[] = "/tmp/pare-test-run-inside-XXXXXX";
static char two[20], two_and_two[40]; /* selectors */
static const fault_control *fault;
static pare_context *several;
static pare_model *model;
static float *values; /* of the input */
static float expected[ROWS * OUT];

/* What the callback found: of all calls, which may be at once. */
static struct {
  pthread_mutex_t lock;
  unsigned calls, right;
  char message[300]; /* of one that was not right */
} found = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pare_status run_model(float *out) {
  pare_tensor *x = NULL, *y = NULL;
  pare_status status =
      pare_tensor_from(several, PARE_F32, 2, (const int64_t[]){ROWS, IN}, values, ROWS * IN * sizeof(float), &x);
  if (status == PARE_OK) status = pare_model_run(model, &x, NULL, &y);
  if (status == PARE_OK && out) status = pare_tensor_read(y, out, (size_t)ROWS * OUT * sizeof *out);
  pare_tensor_close(x);
  pare_tensor_close(y);
  return status;
}

static bool all_die; /* then there may be no device any more */
static bool is_refused(pare_status status) {
  return (all_die && status == PARE_ERR_DEVICE) ||
         (status == PARE_ERR_ARGUMENT && strstr(pare_message(), "would never end"));
}

/* Divided by columns, operations are submitted: others may have done all of them when the result is asked for. */
static bool is_right(pare_status status, const float *y) {
  return status == PARE_OK ? memcmp(expected, y, sizeof expected) == 0 : is_refused(status);
}

static void use_the_context(void *user, const char *message) {
  float y[ROWS * OUT];
  char text[sizeof found.message];
  (void)user;
  (void)message;
  const pare_status ran = run_model(y);
  bool right = is_right(ran, y);
  snprintf(text, sizeof text, "running: %s, %.250s", pare_status_name(ran), pare_message());
  if (right) {
    const pare_status waited = pare_context_wait(several);
    right = is_refused(waited);
    snprintf(text, sizeof text, "waiting: %s, %.250s", pare_status_name(waited), pare_message());
  }
  pthread_mutex_lock(&found.lock);
  found.calls++;
  found.right += right;
  if (!right) memcpy(found.message, text, sizeof text);
  pthread_mutex_unlock(&found.lock);
}

static void write_model(void) {
  pare__onnx_model *onnx = model_new(17);
  float *w = random_floats(IN * OUT, 7);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, IN});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){IN, OUT}, w);
  model_node(onnx, "MatMul", "x w", "h");
  model_node(onnx, "Relu", "h", "y");
  model_output(onnx, "y");
  model_write(onnx, path_in(folder, "rows.onnx"));
  free(w);
}

static void open_model(const char *selector, pare_parallel outer, pare_parallel inside) {
  const pare_schedule_options schedule = {
      .parallel = outer, .inside = inside, .lost = use_the_context, .policy = "round-robin"};
  const pare_context_options options = {.device = selector, .schedule = &schedule};
  OK(pare_context_open(&options, &several));
  OK(pare_model_open(several, path_in(folder, "rows.onnx"), NULL, &model));
  found.calls = found.right = 0;
  all_die = false;
  fault->reset();
}

/* Runs may end before somebody was told that others ended them. */
static void wait_for_calls(unsigned count) {
  for (bool enough = false; !enough;) {
    pthread_mutex_lock(&found.lock);
    enough = found.calls >= count;
    pthread_mutex_unlock(&found.lock);
    if (!enough) usleep(1000);
  }
}

static void close_model(void) {
  pare_model_close(model);
  pare_context_close(several);
  model = NULL;
  several = NULL;
}

static const struct {
  const char *selector;
  pare_parallel outer, inside;
  unsigned losses; /* of devices, and of groups that have none left */
} mixes[] = {{two, PARE_PARALLEL_DATA, PARE_PARALLEL_AUTO, 2},
             {two, PARE_PARALLEL_COLUMNS, PARE_PARALLEL_AUTO, 2},
             {two_and_two, PARE_PARALLEL_DATA, PARE_PARALLEL_COLUMNS, 6},
             {two_and_two, PARE_PARALLEL_DATA, PARE_PARALLEL_DATA, 6},
             {two_and_two, PARE_PARALLEL_PIPELINE, PARE_PARALLEL_AUTO, 6},
             {two_and_two, PARE_PARALLEL_TASK, PARE_PARALLEL_DATA, 6}};

/* A device dies, and who is told of it runs the same model. */
START_TEST(a_run_from_inside_is_done_or_refused_and_the_others_end) {
  float y[ROWS * OUT];
  open_model(mixes[_i].selector, mixes[_i].outer, mixes[_i].inside);
  OK(run_model(expected));
  fault->reset();
  fault->inject("clEnqueueNDRangeKernel", 1, 1, 0);
  for (int run = 0; run < MOST_RUNS && fault->failed(NULL) == 0; run++) OK(run_model(y));
  ck_assert_msg(fault->failed(NULL) == 1, "%lu launches", fault->calls("clEnqueueNDRangeKernel"));
  fault->reset();
  for (int again = 0; again < 2; again++) {
    ck_assert_int_eq(memcmp(expected, y, sizeof y), 0);
    OK(run_model(y));
  }
  OK(pare_context_wait(several));
  wait_for_calls(1);
  close_model();
  ck_assert_uint_eq(found.calls, 1);
  ck_assert_msg(found.right == 1, "%s", found.message);
}
END_TEST

/* All of them die, and each time somebody asks. */
START_TEST(runs_from_inside_do_not_keep_the_last_error_from_the_caller) {
  float y[ROWS * OUT];
  open_model(mixes[_i].selector, mixes[_i].outer, mixes[_i].inside);
  OK(run_model(expected));
  all_die = true;
  fault->reset();
  fault->inject("clEnqueueNDRangeKernel", 1, 0, 0);
  ck_assert_int_eq(run_model(y), PARE_ERR_DEVICE);
  fault->reset();
  wait_for_calls(mixes[_i].losses); /* the others, which still use the model */
  close_model();
  ck_assert_uint_eq(found.calls, mixes[_i].losses);
  ck_assert_msg(found.right == found.calls, "%s", found.message);
}
END_TEST

static bool choose_devices(void) {
  pare_device_list *list;
  pare_device_choice choice[8];
  size_t count = 0, nfound = 0, index[2];
  OK(pare_device_list_open(false, &list));
  if (pare_device_list_select(list, NULL, PARE__COUNT(choice), choice, &count) != PARE_OK) count = 0;
  for (size_t i = 0; i < count && i < PARE__COUNT(choice) && nfound < 2; i++)
    if (choice[i].compute_units >= 2) index[nfound++] = choice[i].index;
  if (nfound > 0) snprintf(two, sizeof two, "%zu/1+1", index[0]);
  if (nfound == 2) snprintf(two_and_two, sizeof two_and_two, "(%zu/1+1),(%zu/1+1)", index[0], index[1]);
  pare_device_list_close(list);
  return nfound == 2;
}

static void setup(void) {
  values = random_floats(ROWS * IN, 3);
  write_model();
}

int main(void) {
  const char *why = NULL;
  alarm(WATCHDOG_SECONDS);
  setenv("POCL_DEVICES", "pthread pthread", 1); /* PoCL shows its device twice */
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  fault = fault_layer_load(&why);
  if (!fault) {
    fprintf(stderr, "test_run_inside: %s\n", why);
    return EXIT_FAILURE;
  }
  if (!choose_devices()) {
    printf("test_run_inside: there are no two devices of two compute units each\n");
    return remove_folder(folder, SKIPPED);
  }
  TCase *tests = tcase_create("inside");
  tcase_set_timeout(tests, 60);
  tcase_add_unchecked_fixture(tests, setup, NULL);
  tcase_add_loop_test(tests, a_run_from_inside_is_done_or_refused_and_the_others_end, 0, (int)PARE__COUNT(mixes));
  tcase_add_loop_test(tests, runs_from_inside_do_not_keep_the_last_error_from_the_caller, 0, (int)PARE__COUNT(mixes));
  const int status = run_tests("run_inside", tests);
  free(values);
  return remove_folder(folder, status);
}
