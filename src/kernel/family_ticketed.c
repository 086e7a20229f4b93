/* Ticketed launches as a family: a chain of steps, each of which needs all of the one before.
 * SPDX-License-Identifier: Apache-2.0 */
#include "kernel/family_ticketed.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ocl/ticketed.h"

#define BLOCK 16 /* elements of a group */
#define SHIFT 17 /* prime to all that could hide a missing wait */

/* Two parts of one source, in turns: what they add differs. */
static const float added[] = {1, 3};
static const char *const part_options[] = {"-DADD=1.0f", "-DADD=3.0f"};

static pare_status describe_steps(const pare__run *run, pare__captured *launch, pare__ticket_step *step,
                                  uint32_t *before) {
  const int64_t n = run->piece->dim[TICKETED_N], steps = run->piece->dim[TICKETED_STEPS];
  for (int64_t i = 0; i < steps; i++) {
    pare__program *program;
    PARE__TRY(pare__program_get(run->device, run->variant->file, part_options[i % 2], &program));
    PARE__TRY(pare__kernel_get(program, "ticketed_step", &launch[i].kernel));
    const bool last_is_y = (steps - 1 - i) % 2 == 0;
    const pare__operand *to = &run->operand[last_is_y ? TICKETED_Y : TICKETED_BETWEEN];
    const pare__operand *from = &run->operand[i == 0 ? TICKETED_X : last_is_y ? TICKETED_BETWEEN : TICKETED_Y];
    pare__args *args = &launch[i].args;
    pare__arg_mem(args, from->mem);
    pare__arg_long(args, from->offset);
    pare__arg_mem(args, to->mem);
    pare__arg_long(args, to->offset);
    pare__arg_long8(args, (const int64_t[8]){n, 0, 0, 0, 0, 0, 0, SHIFT});
    pare__arg_float(args, 1);
    pare__arg_int(args, BLOCK);
    pare__arg_local(args, BLOCK * sizeof(float));
    launch[i].items = launch[i].groups[1] = launch[i].groups[2] = 1;
    launch[i].groups[0] = (size_t)pare__div_up(n, BLOCK);
    before[i] = (uint32_t)(i - 1);
    step[i] = (pare__ticket_step){&launch[i], &before[i], i > 0};
  }
  return PARE_OK;
}

/* Runs it twice: the first must leave everything as the second needs it. */
static pare_status run_twice(const pare__run *run, const pare__ticket_step *step) {
  const size_t steps = (size_t)run->piece->dim[TICKETED_STEPS];
  const cl_mem moving[] = {run->operand[TICKETED_Y].mem, run->operand[TICKETED_BETWEEN].mem};
  pare__ticketed_parts *parts;
  pare__program *program;
  pare__ticketed *ticketed = NULL;
  PARE__TRY(pare__ticketed_parts_open(run->device, step, steps, &parts));
  pare_status status = pare__ticketed_build(parts, &program);
  if (status == PARE_OK)
    status = pare__ticketed_open(parts, program, step, steps, moving, PARE__COUNT(moving), &ticketed);
  for (int i = 0; i < 2 && status == PARE_OK; i++) status = pare__ticketed_run(ticketed, 0, steps, moving);
  pare__ticketed_close(ticketed);
  pare__ticketed_parts_close(parts);
  return status;
}

static pare_status launch(const pare__run *run) {
  const size_t steps = (size_t)run->piece->dim[TICKETED_STEPS];
  if (run->piece->dim[TICKETED_N] == 0 || steps == 0) return PARE_OK;
  pare__captured *launches = calloc(steps, sizeof *launches);
  pare__ticket_step *step = calloc(steps, sizeof *step);
  uint32_t *before = calloc(steps, sizeof *before);
  pare_status status = launches && step && before ? describe_steps(run, launches, step, before)
                                                  : pare__fail_memory("a ticketed launch", steps * sizeof *launches);
  if (status == PARE_OK) status = run_twice(run, step);
  free(launches);
  free(step);
  free(before);
  return status;
}

static const pare__variant variants[] = {
    {.name = "tickets",
     .file = "ticketed_step.cl",
     .needs = PARE__NEEDS_CPU | PARE__NEEDS_LONG_LOOPS, /* waiting takes any number of steps */
     .shaped = PARE__FOR_ANY,                           /* a way of launching, not a shape; GPUs have no need of it */
     .risky = true, /* waits in loops, and makes system calls in inline assembly where it can */
     .whole_only = true},
    {.name = NULL},
};

static bool problem(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out) {
  static const int64_t cases[][2] = {{4001, 40}, {333, 25}, {1, 3}, {0, 2}, {100, 1}};
  (void)info;
  const unsigned count = set == PARE__CASES_TEST ? PARE__COUNT(cases) : set == PARE__CASES_SELFTEST ? 2 : 1;
  if (index >= count) return false;
  out->dim[TICKETED_N] = cases[index][0];
  out->dim[TICKETED_STEPS] = cases[index][1];
  for (unsigned i = 0; i < TICKETED_NBUFFERS; i++) out->dtype[i] = PARE_F32;
  return true;
}

static void buffer(const pare__problem *p, unsigned i, pare__buffer_spec *out) {
  *out = (pare__buffer_spec){i == TICKETED_X ? PARE__IN : PARE__OUT, p->dim[TICKETED_N]};
}

static bool reference(const pare__problem *p, void *const *data, double *const *expected, double *const *tolerance) {
  const int64_t n = p->dim[TICKETED_N], steps = p->dim[TICKETED_STEPS];
  const float *x = data[TICKETED_X];
  double sum = 0;
  for (int64_t i = 0; i < steps; i++) sum += added[i % 2];
  for (int64_t i = 0; i < n; i++) {
    expected[TICKETED_Y][i] = x[(i + steps * SHIFT) % n] + sum;
    tolerance[TICKETED_Y][i] = 1e-7 * (double)steps * (1 + sum);
    expected[TICKETED_BETWEEN][i] = 0;
    tolerance[TICKETED_BETWEEN][i] = -1;
  }
  return true;
}

static void work(const pare__problem *p, double *flops, double *bytes) {
  *flops = 2.0 * (double)p->dim[TICKETED_N] * (double)p->dim[TICKETED_STEPS];
  *bytes = 2.0 * sizeof(float) * (double)p->dim[TICKETED_N];
}

static void describe(const pare__problem *p, char *text, size_t capacity) {
  snprintf(text, capacity, "%lld steps of %lld f32", (long long)p->dim[TICKETED_STEPS], (long long)p->dim[TICKETED_N]);
}

static void shape_class(const pare__problem *p, char *text, size_t capacity) {
  (void)p;
  snprintf(text, capacity, "f32");
}

const pare__family pare__family_ticketed = {
    .name = "ticketed",
    .what = "many dependent launches as one",
    .nbuffers = TICKETED_NBUFFERS,
    .variants = variants,
    .problem = problem,
    .buffer = buffer,
    .reference = reference,
    .work = work,
    .describe = describe,
    .shape_class = shape_class,
    .launch = launch,
};

pare_status pare__ticketed_trusted(pare__device *device, bool *trusted, char *reason, size_t capacity) {
  pare__verdict verdict;
  *trusted = false;
  PARE__TRY(pare__selftest(device, &pare__family_ticketed, &variants[0], false, &verdict, reason, capacity));
  *trusted = verdict == PARE__TRUSTED;
  return PARE_OK;
}

/* Nobody may be left to end this process. */
#define LIMIT_SECONDS 300

int pare__ticketed_main(int argc, char **argv) {
  enum { ARG_DEVICE = 2, ARG_PARTS };
  if (argc < ARG_PARTS) return 2;
  pare_device_list *list = NULL;
  pare_device_choice choice;
  size_t count = 0;
  pare__device *device = NULL;
  bool trusted = false;
  char reason[320];
  (void)alarm(LIMIT_SECONDS);
  pare_status status = pare_device_list_open(false, &list);
  if (status == PARE_OK) status = pare_device_list_select(list, argv[ARG_DEVICE], 1, &choice, &count);
  if (status == PARE_OK) status = pare__device_open(list, &choice, 0, &device);
  if (status == PARE_OK) status = pare__ticketed_trusted(device, &trusted, reason, sizeof reason);
  if (status == PARE_OK && trusted)
    status = pare__ticketed_build_named(device, (size_t)(argc - ARG_PARTS), argv + ARG_PARTS);
  pare__device_close(device); /* keeps the binary */
  pare_device_list_close(list);
  return status == PARE_OK ? 0 : 1;
}
