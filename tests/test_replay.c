/* Replays: which executor stays, by a clock that the test sets. SPDX-License-Identifier: Apache-2.0 */
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "graph/plan.h"
#include "kernel/family_ticketed.h"
#include "onnx_builder.h"

enum { NODES = 12, ROWS = 4, WIDTH = 16, MOST_RUNS = 100 };
static char folder[] = "/tmp/pare-test-replay-XXXXXX";

/* ---- what follows from times ---- */

START_TEST(one_run_that_was_disturbed_decides_nothing) {
  pare__timings launches = {0}, tickets = {0};
  char why[PARE__REASON];
  for (int i = 0; i < PARE__TIMINGS; i++) {
    ck_assert(!pare__timings_full(&launches));
    pare__timings_add(&launches, i == _i ? 1e-9 : 2e-3);
    pare__timings_add(&tickets, i == _i ? 10 : 1e-3);
  }
  ck_assert(pare__timings_full(&launches));
  ck_assert(pare__tickets_shorter(&launches, &tickets, why, sizeof why));
  ck_assert_str_eq(why, "timed: 2 ms as launches, 1 ms with tickets");
  ck_assert(!pare__tickets_shorter(&tickets, &launches, why, sizeof why));
  ck_assert(!pare__tickets_shorter(&launches, &launches, why, sizeof why));
}
END_TEST

START_TEST(no_program_is_built_for_launches_whose_work_is_large) {
  pare__stretch stretch[2] = {{.first_step = 0, .end_step = 60}, {.first_step = 60, .end_step = 100}};
  const pare__stretches stretches = {.count = 2, .stretch = stretch, .nsteps = 100};
  char why[PARE__REASON];
  ck_assert(pare__tickets_predicted(&stretches, 5e-3, why, sizeof why));
  ck_assert(!pare__tickets_predicted(&stretches, 0.5, why, sizeof why));
  ck_assert_ptr_nonnull(strstr(why, "500 ms, too little"));
}
END_TEST

/* ---- runs ---- */

static pare_model *open_chain(pare_executor executor) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "v0", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, WIDTH});
  for (int i = 0; i < NODES; i++) {
    char from[16], to[16];
    snprintf(from, sizeof from, "v%d", i);
    snprintf(to, sizeof to, "v%d", i + 1);
    model_node(onnx, "Softmax", from, to);
  }
  char last[16];
  snprintf(last, sizeof last, "v%d", NODES);
  model_output(onnx, last);
  model_write(onnx, path_in(folder, "chain.onnx"));
  pare_model *model;
  OK(pare_model_open(context, path_in(folder, "chain.onnx"), &(pare_model_options){.executor = executor}, &model));
  return model;
}

static struct {
  double now, launches_seconds, tickets_seconds;
  bool ends;
  unsigned asked; /* since the last reading: once a task, or once a ticketed launch of many */
  bool disturbed; /* the run that is timed builds something, and its time is the other executor's */
} fake;

static double fake_seconds(void) {
  if (fake.ends) fake.now += (fake.asked == NODES) != fake.disturbed ? fake.launches_seconds : fake.tickets_seconds;
  fake.ends = !fake.ends;
  fake.asked = 0;
  return fake.now;
}

static pare_status ask(void *unused) {
  (void)unused;
  fake.asked++;
  if (fake.disturbed) pare__prepared();
  return PARE_OK;
}

/* Runs until an executor is chosen, always with the same results. most_disturbed: three runs of four are. */
static void run_until_chosen(double launches_seconds, double tickets_seconds, bool most_disturbed,
                             pare_model_launches *out) {
  float *data = random_floats((int64_t)ROWS * WIDTH, 7), *first = NULL;
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){ROWS, WIDTH}, data), *y;
  pare_model *built = open_chain(PARE_EXECUTOR_TICKETED), *model = open_chain(PARE_EXECUTOR_AUTO);
  for (int run = 0; run < 3; run++) { /* then the program is there */
    OK(pare_model_run(built, &x, NULL, &y));
    pare_tensor_close(y);
  }
  memset(&fake, 0, sizeof fake);
  fake.launches_seconds = launches_seconds;
  fake.tickets_seconds = tickets_seconds;
  *out = (pare_model_launches){.choosing = true};
  for (int run = 0; run < MOST_RUNS && out->choosing; run++) {
    fake.disturbed = most_disturbed && run % 4 != 0;
    OK(pare_model_run(model, &x, NULL, &y));
    float *found = floats_of(y);
    if (first) ck_assert_mem_eq(found, first, (size_t)ROWS * WIDTH * sizeof *found);
    if (first)
      free(found);
    else
      first = found;
    pare_tensor_close(y);
    if (run == 0) { /* the plan is there: from now on with this clock */
      pare__replay_close(model->plans->replay);
      OK(pare__replay_open(context, model->plans->recording, PARE_EXECUTOR_AUTO,
                           (pare__replay_gate){ask, NULL, fake_seconds}, &model->plans->replay));
    }
    OK(pare_model_count_launches(model, out));
  }
  free(first);
  free(data);
  pare_tensor_close(x);
  pare_model_close(model);
  pare_model_close(built);
}

START_TEST(the_executor_that_was_shorter_stays) {
  static const struct {
    double launches_seconds, tickets_seconds;
    pare_executor stays;
    const char *why;
  } cases[] = {{3e-4, 2e-4, PARE_EXECUTOR_TICKETED, "timed: 0.3 ms as launches, 0.2 ms with tickets"},
               {2e-4, 3e-4, PARE_EXECUTOR_LAUNCHES, "timed: 0.2 ms as launches, 0.3 ms with tickets"},
               {2e-4, 2e-4, PARE_EXECUTOR_LAUNCHES, "timed: "},
               {2, 1, PARE_EXECUTOR_LAUNCHES, "predicted: "}};
  bool trusted;
  char reason[320];
  OK(pare__ticketed_trusted(pare__context_device(context), &trusted, reason, sizeof reason));
  if (!trusted) return;
  pare_model_launches launches;
  run_until_chosen(cases[_i / 2].launches_seconds, cases[_i / 2].tickets_seconds, _i % 2, &launches);
  ck_assert(!launches.choosing);
  ck_assert_int_eq(launches.executor, cases[_i / 2].stays);
  ck_assert_msg(strncmp(launches.why, cases[_i / 2].why, strlen(cases[_i / 2].why)) == 0, "%s", launches.why);
  ck_assert_uint_eq(launches.without_tickets, NODES);
  ck_assert_uint_eq(launches.launches, launches.executor == PARE_EXECUTOR_TICKETED ? 1 : NODES);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *laws = tcase_create("replay");
  tcase_add_checked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, one_run_that_was_disturbed_decides_nothing, 0, PARE__TIMINGS);
  tcase_add_test(laws, no_program_is_built_for_launches_whose_work_is_large);
  tcase_add_loop_test(laws, the_executor_that_was_shorter_stays, 0, 8);
  return remove_folder(folder, run_tests("replay", laws));
}
