/* Trust: rows that are wrong, crash, hang or do not build are quarantined and the next row is used, visibly.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The child processes of this test are the test itself: PARE_TRIAL names its own binary. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dtype.h"
#include "base/path.h"
#include "fixture.h"
#include "kernel/state.h"
#include "kernel/trial.h"
#include "ocl/child.h"
#include "ocl/device.h"

#define TRIAL_SECONDS "6"

/* ---- a family: y[i] = 2 x[i], dim[0] elements ---- */

static bool doubled_problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  (void)set;
  (void)info;
  static const int64_t sizes[] = {1, 7, 64};
  if (index >= PARE__COUNT(sizes)) return false;
  out->dim[0] = sizes[index];
  return true;
}

static void doubled_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out) {
  *out = (pare__buffer_spec){i == 0 ? PARE__IN : PARE__OUT, problem->dim[0]};
}

static bool doubled_reference(const pare__problem *problem, void *const *data, double *const *expected,
                              double *const *tolerance) {
  (void)tolerance; /* all zero: exact */
  for (int64_t i = 0; i < problem->dim[0]; i++) expected[1][i] = 2 * pare__load(problem->dtype[0], data[0], (size_t)i);
  return true;
}

static void doubled_work(const pare__problem *problem, double *flops, double *bytes) {
  *flops = (double)problem->dim[0];
  *bytes = 8.0 * (double)problem->dim[0];
}

static void doubled_describe(const pare__problem *problem, char *text, size_t capacity) {
  snprintf(text, capacity, "%lld", (long long)problem->dim[0]);
}

static pare_status launch(const pare__run *run, const char *options) {
  pare__args args = {0};
  pare__arg_long(&args, run->piece->dim[0]);
  for (unsigned i = 0; i < 2; i++) {
    pare__arg_mem(&args, run->operand[i].mem);
    pare__arg_long(&args, run->operand[i].offset);
  }
  size_t global = (size_t)pare__round_up(run->piece->dim[0], 16), local = 16;
  return pare__run_kernel(run, "doubled", options, 1, &global, &local, &args);
}

static pare_status launch_right(const pare__run *run) { return launch(run, NULL); }
static pare_status launch_wrong(const pare__run *run) { return launch(run, "-DWRONG"); }
static pare_status launch_crash(const pare__run *run) { return launch(run, "-DCRASH"); }
static pare_status launch_hang(const pare__run *run) { return launch(run, "-DHANG"); }
static pare_status launch_exit(const pare__run *run) {
  (void)run;
  _exit(0); /* as a compiler may */
}
static pare_status launch_refused(const pare__run *run) {
  (void)run;
  return pare__fail(PARE_ERR_DEVICE, "no launch today");
}
static pare_status launch_too_large(const pare__run *run) {
  (void)run;
  return pare__fail(PARE_ERR_UNSUPPORTED, "too large a group");
}
static pare_status launch_no_build(const pare__run *run) { return launch(run, "-DNO_BUILD"); }
/* As a driver that waits for its device. */
static pare_status launch_sleep(const pare__run *run) {
  PARE__TRY(launch(run, NULL));
  for (;;) pause();
}

/* ---- a machine whose processors others have ---- */

/* In a child: one processor, the same for all. */
static void stay_on_one_processor(void) {
  cpu_set_t all, one;
  int first = 0;
  if (sched_getaffinity(0, sizeof all, &all) != 0) _exit(EXIT_FAILURE);
  while (!CPU_ISSET(first, &all)) first++;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) _exit(EXIT_FAILURE);
}

static void spin(void) {
  for (volatile unsigned turns = 0;; turns++) {}
}

/* In a child: asks for a processor that its rivals have. */
static void starve(void) {
  stay_on_one_processor();
  if (nice(10) == -1) _exit(EXIT_FAILURE);
  spin();
}

enum { RIVALS = 4 };
static int64_t rivals[RIVALS];

static void start_rivals(void) {
  for (int i = 0; i < RIVALS; i++) OK(pare__child_start((const char *const[]){"child", "rival", NULL}, &rivals[i]));
}

static void stop_rivals(void) {
  for (int i = 0; i < RIVALS; i++) pare__child_stop(rivals[i]);
}

#define BUSY_MACHINE "PARE_TEST_BUSY_MACHINE"
static pare_status launch_where_it_may_starve(const pare__run *run) {
  PARE__TRY(launch(run, NULL));
  if (getenv(BUSY_MACHINE)) starve();
  return PARE_OK;
}

/* Wrong where its default for large problems is used. */
static const pare__param shaped_params[] = {{"LARGE", (const int[]){1, 2, 0}}, {NULL, NULL}};
static void shaped_defaults(const pare_device_info *info, const pare__problem *whole, pare__tuning *tuning) {
  (void)info;
  tuning->value[0] = whole->dim[0] == 64 ? 2 : 1;
}
static pare_status launch_shaped(const pare__run *run) {
  return launch(run, pare__tuned(run, "LARGE") == 2 ? "-DWRONG" : NULL);
}

#define ROW(row_name, is_risky, launcher) \
  { .name = row_name, .file = "doubled.cl", .shaped = PARE__FOR_ANY, .risky = is_risky, .launch = launcher }
static const pare__variant doubled_variants[] = {
    ROW("wrong", false, launch_wrong),
    ROW("crashing", true, launch_crash),
    ROW("hanging", true, launch_hang),
    ROW("exiting", true, launch_exit),
    ROW("refused", false, launch_refused),
    ROW("refused-in-child", true, launch_refused),
    ROW("too-large", false, launch_too_large),
    ROW("unbuildable", false, launch_no_build),
    ROW("right", false, launch_right),
    ROW("right-in-child", true, launch_right),
    ROW("sleeping", true, launch_sleep),
    ROW("starving", true, launch_where_it_may_starve),
    ROW("crashing-on-an-unknown-driver", false, launch_crash),
    {.name = "wrong-when-large",
     .file = "doubled.cl",
     .shaped = PARE__FOR_ANY,
     .params = shaped_params,
     .defaults = shaped_defaults,
     .launch = launch_shaped},
    {.name = "missing", .file = "no-such-file.cl", .shaped = PARE__FOR_ANY, .launch = launch_right},
    {.name = NULL}};
static const pare__family doubled = {.name = "doubled",
                                     .what = "y = 2 x",
                                     .nbuffers = 2,
                                     .variants = doubled_variants,
                                     .problem = doubled_problem,
                                     .buffer = doubled_buffer,
                                     .reference = doubled_reference,
                                     .work = doubled_work,
                                     .describe = doubled_describe};
static const pare__family *const families[] = {&doubled, NULL};

static const pare__variant *row(const char *name) {
  for (const pare__variant *variant = doubled_variants; variant->name; variant++)
    if (strcmp(variant->name, name) == 0) return variant;
  ck_abort_msg("no row %s", name);
  return NULL;
}

/* ---- fixtures ---- */

static char log_text[8192];

static void keep_log(pare_log_level level, const char *line, void *user) {
  (void)level;
  (void)user;
  size_t used = strlen(log_text);
  snprintf(log_text + used, sizeof log_text - used, "%s\n", line);
}

static void setup(void) {
  log_text[0] = '\0';
  pare_log_set(keep_log, NULL, PARE_LOG_WARN);
  open_device();
}

static void teardown(void) {
  close_device();
  pare_log_set(NULL, NULL, PARE_LOG_ERROR);
}

static pare__verdict verdict_of(const char *name, bool again, char *reason, size_t capacity) {
  pare__verdict verdict;
  OK(pare__selftest(device, &doubled, row(name), again, &verdict, reason, capacity));
  return verdict;
}

/* ---- laws ---- */

static const struct {
  const char *row;
  pare__verdict verdict;
  const char *says;
} expected_verdicts[] = {{"wrong", PARE__WRONG, "expected"},
                         {"starving", PARE__TRUSTED, ""},
                         {"crashing", PARE__CRASHED, "signal"},
                         {"hanging", PARE__HUNG, "no result"},
                         {"exiting", PARE__CRASHED, "status 0 and no verdict"},
                         {"refused", PARE__REFUSED, "no launch today"},
                         {"refused-in-child", PARE__REFUSED, "no launch today"},
                         {"too-large", PARE__CANNOT, "too large a group"},
                         {"unbuildable", PARE__NOT_BUILT, "doubled.cl"},
                         {"right", PARE__TRUSTED, ""},
                         {"right-in-child", PARE__TRUSTED, ""},
                         {"wrong-when-large", PARE__WRONG, "expected"},
                         {"missing", PARE__NOT_BUILT, "no-such-file.cl"}};

START_TEST(each_fault_gets_its_verdict) {
  char reason[400];
  pare__verdict verdict = verdict_of(expected_verdicts[_i].row, true, reason, sizeof reason);
  ck_assert_msg(verdict == expected_verdicts[_i].verdict, "%s: %s: %s", expected_verdicts[_i].row,
                pare__verdict_name(verdict), reason);
  ck_assert_msg(strstr(reason, expected_verdicts[_i].says) != NULL, "%s: '%s' does not say '%s'",
                expected_verdicts[_i].row, reason, expected_verdicts[_i].says);
}
END_TEST

START_TEST(verdicts_are_kept_on_disk) {
  char reason[400];
  verdict_of("hanging", true, reason, sizeof reason);
  teardown();
  setup(); /* a new device knows nothing but what is on disk */
  double start = pare__seconds();
  ck_assert_int_eq(verdict_of("hanging", false, reason, sizeof reason), PARE__HUNG);
  ck_assert_msg(pare__seconds() - start < 1.0, "the hanging row ran again: %.1f s", pare__seconds() - start);
}
END_TEST

/* A kernel that waits and asks for no processor hangs, although it uses none. */
START_TEST(a_row_that_sleeps_hangs) {
  char reason[400];
  setenv("PARE_TRIAL_SECONDS", "2", 1);
  const pare__verdict verdict = verdict_of("sleeping", true, reason, sizeof reason);
  setenv("PARE_TRIAL_SECONDS", TRIAL_SECONDS, 1);
  ck_assert_msg(verdict == PARE__HUNG && strstr(reason, "no result"), "%s: %s", pare__verdict_name(verdict), reason);
}
END_TEST

START_TEST(what_a_busy_machine_did_not_run_is_not_kept) {
  char reason[400];
  setenv("PARE_TRIAL_SECONDS", "2", 1);
  setenv(BUSY_MACHINE, "1", 1);
  start_rivals();
  const pare__verdict verdict = verdict_of("starving", true, reason, sizeof reason);
  stop_rivals();
  unsetenv(BUSY_MACHINE);
  setenv("PARE_TRIAL_SECONDS", TRIAL_SECONDS, 1);
  ck_assert_msg(verdict == PARE__SLOW_RUN && strstr(reason, "busy machine"), "%s: %s", pare__verdict_name(verdict),
                reason);
  teardown();
  setup();
  ck_assert_int_eq(verdict_of("starving", false, reason, sizeof reason), PARE__TRUSTED);
}
END_TEST

START_TEST(what_the_driver_refused_is_not_kept) {
  char reason[400];
  ck_assert_int_eq(verdict_of("refused", true, reason, sizeof reason), PARE__REFUSED);
  teardown();
  setup();
  log_text[0] = '\0';
  verdict_of("refused", false, reason, sizeof reason);
  ck_assert_msg(strstr(log_text, "doubled/refused is not used") != NULL, "it was not tried again: %s", log_text);
}
END_TEST

/* Rows of the quirk table may say that a driver is not known, whatever its name. */
START_TEST(all_is_tried_in_a_child_on_a_driver_that_is_not_known) {
  char reason[400];
  pare__quirks strange = *device->quirks;
  strange.known = false;
  device->quirks = &strange;
  const pare__verdict verdict = verdict_of("crashing-on-an-unknown-driver", true, reason, sizeof reason);
  ck_assert_msg(verdict == PARE__CRASHED, "%s: %s", pare__verdict_name(verdict), reason);
  close_device();
  open_device(); /* with its own quirks: the row of another test's stack is none */
}
END_TEST

START_TEST(without_the_program_for_child_processes_nothing_risky_is_trusted) {
  char reason[400];
  char *self = pare__strdup(getenv("PARE_TRIAL"));
  setenv("PARE_TRIAL", "/no/such/program", 1);
  const pare__verdict verdict = verdict_of("right-in-child", true, reason, sizeof reason);
  setenv("PARE_TRIAL", self, 1);
  free(self);
  ck_assert_msg(verdict == PARE__UNTESTED, "%s: %s", pare__verdict_name(verdict), reason);
}
END_TEST

/* ---- the time limits of a child process ---- */

static int child(const char *what) {
  if (strcmp(what, "rival") == 0) {
    stay_on_one_processor();
    spin();
  }
  if (strcmp(what, "builds") == 0) pause();
  pare__child_tell(false);
  if (strcmp(what, "sleeps") == 0) pause();
  if (strcmp(what, "spins") == 0) spin();
  if (strcmp(what, "starves") == 0) starve();
  if (strcmp(what, "is slow") == 0) usleep(1000000);
  printf("done\n");
  return fflush(stdout);
}

/* Building has time by the clock; what runs has processor time, and by the clock more than that. */
static const struct {
  const char *what;
  pare__child_limits limits;
  bool timed_out, building, starved;
  const char *says;
} child_cases[] = {
    {"builds", {300, 60000}, true, true, false, ""},          {"sleeps", {60000, 500}, true, false, false, ""},
    {"spins", {60000, 500}, true, false, false, ""},          {"starves", {60000, 500}, true, false, true, ""},
    {"is slow", {60000, 500}, false, false, false, "done\n"}, {"ends", {60000, 60000}, false, false, false, "done\n"}};

START_TEST(a_child_ends_by_what_it_did_with_its_time) {
  const char *const arguments[] = {"child", child_cases[_i].what, NULL};
  const bool starves = child_cases[_i].starved;
  char *output;
  pare__child_end end;
  if (starves) start_rivals();
  const pare_status status = pare__child_run(arguments, &child_cases[_i].limits, &output, &end);
  if (starves) stop_rivals();
  OK(status);
  ck_assert(end.started);
  ck_assert_int_eq(end.timed_out, child_cases[_i].timed_out);
  ck_assert_int_eq(end.building, child_cases[_i].building);
  ck_assert_msg(end.starved == starves, "%s: killed after %g s, %g s of them on a processor", child_cases[_i].what,
                end.seconds, end.used);
  ck_assert_str_eq(output, child_cases[_i].says);
  free(output);
}
END_TEST

START_TEST(choice_falls_back_visibly) {
  pare__problem problem = {.dim = {64}};
  pare__choice choice;
  log_text[0] = '\0';
  OK(pare__choose(device, &doubled, &problem, &choice));
  ck_assert_str_eq(choice.variant->name, "right");
  ck_assert_msg(strstr(log_text, "doubled/wrong is not used") != NULL, "the log says: %s", log_text);
}
END_TEST

START_TEST(nothing_left_names_every_reason) {
  static const pare__variant bad_rows[] = {
      ROW("wrong", false, launch_wrong), ROW("unbuildable", false, launch_no_build), {.name = NULL}};
  pare__family bad = doubled;
  bad.variants = bad_rows;
  pare__problem problem = {.dim = {64}};
  pare__choice choice;
  ck_assert_int_eq(pare__choose(device, &bad, &problem, &choice), PARE_ERR_KERNEL);
  ck_assert_ptr_nonnull(strstr(pare_message(), "wrong: wrong"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "unbuildable: not built"));
}
END_TEST

/* Sanitizers catch signals and exit: the child of a sanitized build must die by its signal like any other. */
static void leave_signals_alone(const char *variable) {
  char options[1024];
  const char *have = getenv(variable);
  snprintf(options, sizeof options, "%s%shandle_segv=0:handle_sigbus=0:handle_sigill=0", have ? have : "",
           have ? ":" : "");
  setenv(variable, options, 1);
}

int main(int argc, char **argv) {
  if (argc == 3) _exit(child(argv[2]));
  if (argc > 1) _exit(pare__trial_main(argc, argv, families)); /* as pare-trial does */
  leave_signals_alone("ASAN_OPTIONS");
  leave_signals_alone("TSAN_OPTIONS");
  char self[4096];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length <= 0) return 1;
  self[length] = '\0';
  setenv("PARE_TRIAL", self, 1);
  setenv("PARE_TRIAL_SECONDS", TRIAL_SECONDS, 1);
  setenv("PARE_KERNEL_PATH", PARE_SOURCE_FOLDER "/tests/kernels:" PARE_SOURCE_FOLDER "/cl", 1);

  TCase *laws = tcase_create("trust");
  tcase_add_checked_fixture(laws, setup, teardown);
  tcase_add_loop_test(laws, each_fault_gets_its_verdict, 0, (int)PARE__COUNT(expected_verdicts));
  tcase_add_test(laws, verdicts_are_kept_on_disk);
  tcase_add_test(laws, a_row_that_sleeps_hangs);
  tcase_add_test(laws, what_a_busy_machine_did_not_run_is_not_kept);
  tcase_add_test(laws, what_the_driver_refused_is_not_kept);
  tcase_add_test(laws, all_is_tried_in_a_child_on_a_driver_that_is_not_known);
  tcase_add_test(laws, without_the_program_for_child_processes_nothing_risky_is_trusted);
  tcase_add_loop_test(laws, a_child_ends_by_what_it_did_with_its_time, 0, (int)PARE__COUNT(child_cases));
  tcase_add_test(laws, choice_falls_back_visibly);
  tcase_add_test(laws, nothing_left_names_every_reason);
  return run_tests("trust", laws);
}
