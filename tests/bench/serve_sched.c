/* Benchmark server: work on all devices together, or on the first alone. SPDX-License-Identifier: Apache-2.0
 *
 *   serve_sched FILE.cl auto|off                                    serves as serve.h says
 *   serve_sched FILE.cl auto lose|slow MEMBER ROWS STEPS ROUNDS     rows of equal cost, disturbed half-way: prints
 *                                                                   "UNDISTURBED MOMENT DISTURBED" in seconds a round
 *
 * To slow a device the fault layer has to be in OPENCL_LAYERS and PARE_FAULT_DUTY set. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../fault/fault.h"
#include "sched/crew.h"
#include "serve.h"
#include "serve_tensors.h"

enum { MOST_DEVICES = 8, UNDISTURBED = 3 };

static const char *kernel_file;
static long rows, steps, spread;

/* ---- a user's kernel: rows steps spread ---- */

static const char *open_rows(const long *arguments) {
  rows = arguments[0], steps = arguments[1], spread = arguments[2];
  const char *problem = add_tensor(1, &(const int64_t){rows});
  return problem != NULL ? problem : add_tensor(1, &(const int64_t){rows});
}

static const char *run_rows(unsigned repeats) {
  const pare_task_tensor bound[] = {{tensors[0], PARE_ACCESS_READ, 0, 1}, {tensors[1], PARE_ACCESS_WRITE, 0, 1}};
  const pare_task_number numbers[] = {{PARE_I32, {.i32 = (int32_t)rows}},
                                      {PARE_I32, {.i32 = 0}},
                                      {PARE_I32, {.i32 = (int32_t)steps}},
                                      {PARE_F32, {.f32 = (float)spread}}};
  pare_task_options options = PARE_TASK_OPTIONS_INIT;
  options.file = kernel_file;
  options.entry = "irregular";
  options.tensor = bound;
  options.ntensors = 2;
  options.number = numbers;
  options.nnumbers = 4;
  options.n = rows;
  options.grain = 64;
  options.group_items = 64;
  for (unsigned i = 0; i < repeats; i++) CHECK(pare_task_submit(context, &options, NULL));
  CHECK(pare_context_wait(context));
  return NULL;
}

/* ---- a device lost, or slowed to a third ---- */

typedef struct disturbance {
  bool lose;
  size_t member;
  double wait, moment; /* seconds; moment: when it happened, on the clock of bench_seconds */
  const char *problem;
} disturbance;

static double duties[MOST_DEVICES];

static unsigned read_duties(void) {
  const char *text = getenv("PARE_FAULT_DUTY");
  unsigned count = 0;
  for (char *end; text != NULL && *text != 0 && count < MOST_DEVICES; text = *end == ',' ? end + 1 : end) {
    duties[count] = strtod(text, &end);
    if (end == text) break;
    count++;
  }
  return count;
}

static const char *set_duty(size_t member, double factor) {
  const char *path = getenv("OPENCL_LAYERS");
  void *layer = path != NULL ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
  if (layer == NULL) return "the fault layer is not loaded (OPENCL_LAYERS)";
  const fault_control *(*control)(void) = (const fault_control *(*)(void))dlsym(layer, "fault_layer_control");
  const unsigned count = read_duties();
  if (control == NULL || member >= count) return "no duty of that device in PARE_FAULT_DUTY";
  duties[member] *= factor;
  control()->duty(duties, count);
  return NULL;
}

static void *disturb(void *argument) {
  disturbance *what = argument;
  const time_t whole = (time_t)what->wait;
  const struct timespec pause = {.tv_sec = whole, .tv_nsec = (long)((what->wait - (double)whole) * 1e9)};
  pare__crew *crew;
  nanosleep(&pause, NULL);
  what->moment = bench_seconds();
  if (!what->lose)
    what->problem = set_duty(what->member, 1.0 / 3);
  else if (pare__crew_of(context, &crew) == PARE_OK)
    pare__crew_lose(crew, what->member, "taken away by the benchmark");
  else
    what->problem = "no crew";
  return NULL;
}

/* One disturbed run after some that are not, which teach the crew and say when half of the work is done. */
static const char *time_disturbed(disturbance *what) {
  double undisturbed = 0;
  for (int i = 0; i < UNDISTURBED; i++) {
    const double begin = bench_seconds();
    const char *problem = run_rows(1);
    if (problem != NULL) return problem;
    undisturbed = bench_seconds() - begin;
  }
  pthread_t thread;
  what->wait = undisturbed / 2;
  const double begin = bench_seconds();
  if (pthread_create(&thread, NULL, disturb, what) != 0) return "cannot create a thread";
  const char *problem = run_rows(1);
  const double taken = bench_seconds() - begin;
  pthread_join(thread, NULL);
  if (problem == NULL) problem = what->problem;
  if (problem == NULL) printf("%.6f %.6f %.6f\n", undisturbed, what->moment - begin, taken);
  return problem;
}

static pare_status open_context(bool alone) {
  pare_schedule_options schedule = PARE_SCHEDULE_OPTIONS_INIT;
  pare_context_options options = PARE_CONTEXT_OPTIONS_INIT;
  if (alone) schedule.parallel = PARE_PARALLEL_OFF;
  options.schedule = &schedule;
  return pare_context_open(&options, &context);
}

/* Each round has a context of its own: its queues have the duties of the first, since their number is the same. */
static const char *disturbed_round(char **argument) {
  disturbance what = {.lose = strcmp(argument[0], "lose") == 0, .member = strtoul(argument[1], NULL, 10)};
  if (open_context(false) != PARE_OK) return pare_message();
  const char *problem = open_rows((const long[]){atol(argument[2]), atol(argument[3]), 1});
  if (problem == NULL) problem = time_disturbed(&what);
  if (problem == NULL && !what.lose) problem = set_duty(what.member, 1);
  close_tensors();
  pare_context_close(context);
  return problem;
}

int main(int argc, char **argv) {
  static const bench_work works[] = {{"gemm", 3, open_gemm, run_gemm, close_tensors},
                                     {"rows", 3, open_rows, run_rows, close_tensors},
                                     {NULL, 0, NULL, NULL, NULL}};
  if (argc != 3 && argc != 8) return EXIT_FAILURE;
  kernel_file = argv[1];
  const char *problem = NULL;
  if (argc == 8) {
    for (long i = 0; i < atol(argv[7]) && problem == NULL; i++) problem = disturbed_round(argv + 3);
    if (problem != NULL) fprintf(stderr, "serve_sched: %s\n", problem);
    return problem == NULL ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  if (open_context(strcmp(argv[2], "off") == 0) != PARE_OK) {
    fprintf(stderr, "serve_sched: %s\n", pare_message());
    return EXIT_FAILURE;
  }
  const int status = bench_serve(works, false);
  pare_context_close(context);
  return status;
}
