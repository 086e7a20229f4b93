/* Users' own codelets. SPDX-License-Identifier: Apache-2.0 */
#include <pare/task.h>
#include <stdlib.h>
#include <string.h>

#include "sched/multi.h"

struct pare_task {
  pare_context *context; /* held */
  pare__job_id id;       /* 0 with one device */
  size_t nwritten;
  pare_tensor *written[PARE_TASK_MOST_TENSORS]; /* handles of its own */
};

/* The task's parameters, in one block: what follows are file, entry and options, each with its zero. */
typedef struct parameters {
  pare_task_number number[PARE_TASK_MOST_NUMBERS];
  size_t nnumbers, ntensors, items_per_step, group_items;
  char text[];
} parameters;

/* ---- running a piece ---- */

static void push_number(pare__args *args, const pare_task_number *number) {
  if (number->dtype == PARE_I32) pare__arg_int(args, number->value.i32);
  if (number->dtype == PARE_I64) pare__arg_long(args, number->value.i64);
  if (number->dtype == PARE_F32) pare__arg_float(args, number->value.f32);
  if (number->dtype == PARE_F64) pare__arg_double(args, number->value.f64);
}

static pare_status run(const pare__piece *piece) {
  const parameters *given = piece->params;
  const char *file = given->text, *entry = file + strlen(file) + 1, *build = entry + strlen(entry) + 1;
  pare__args args = {0};
  for (size_t i = 0; i < given->ntensors; i++) {
    const pare__binding *binding = &piece->binding[i];
    int64_t strides[8] = {0};
    for (int d = 0; d < PARE__MIN(binding->shape.rank, 8); d++) strides[d] = binding->shape.stride[d];
    pare__arg_mem(&args, binding->mem);
    pare__arg_long(&args, binding->offset);
    pare__arg_long8(&args, strides);
  }
  for (size_t i = 0; i < given->nnumbers; i++) push_number(&args, &given->number[i]);
  pare__arg_long(&args, piece->begin);
  pare__arg_long(&args, piece->end);
  const size_t items = (size_t)(piece->end - piece->begin) * given->items_per_step, group = given->group_items;
  const size_t global = group > 0 ? (items + group - 1) / group * group : items;
  pare__program *program;
  pare__kernel *kernel;
  PARE__TRY(pare__program_get(piece->device, file, build, &program));
  PARE__TRY(pare__kernel_get(program, entry, &kernel));
  return pare__launch(piece->device, kernel, 1, &global, group > 0 ? &group : NULL, &args);
}

static const pare__codelet codelet = {"task", run};

/* ---- checking what is asked ---- */

static bool is_number(pare_dtype dtype) {
  return dtype == PARE_I32 || dtype == PARE_I64 || dtype == PARE_F32 || dtype == PARE_F64;
}

static pare_status check_counts(const char *function, const pare_task_options *options) {
  if (!options->file) return pare__fail_null(function, "file");
  if (!options->entry) return pare__fail_null(function, "entry");
  if (options->ntensors > PARE_TASK_MOST_TENSORS || options->nnumbers > PARE_TASK_MOST_NUMBERS)
    return pare__fail(PARE_ERR_LIMIT, "%s: %zu tensors and %zu numbers; at most %d and %d", function, options->ntensors,
                      options->nnumbers, PARE_TASK_MOST_TENSORS, PARE_TASK_MOST_NUMBERS);
  if ((options->ntensors > 0 && !options->tensor) || (options->nnumbers > 0 && !options->number))
    return pare__fail_null(function, "tensor or number");
  if (options->nafter > 0 && !options->after) return pare__fail_null(function, "after");
  if (options->n < 1 || options->grain < 0)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: n = %lld, grain = %lld; n must be 1 or more, grain 0 or more", function,
                      (long long)options->n, (long long)options->grain);
  if (options->priority < INT16_MIN || options->priority > INT16_MAX)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: priority %d; it is %d to %d", function, options->priority, INT16_MIN,
                      INT16_MAX);
  for (size_t i = 0; i < options->nnumbers; i++)
    if (!is_number(options->number[i].dtype))
      return pare__fail(PARE_ERR_TYPE, "%s: number %zu has dtype %d; i32, i64, f32 and f64 are possible", function, i,
                        (int)options->number[i].dtype);
  return PARE_OK;
}

static pare_status check_tensor(const char *function, size_t i, const pare_task_tensor *given, int64_t n) {
  const pare_tensor *tensor = given->tensor;
  if (!tensor) return PARE_OK;
  if (given->axis == PARE_TASK_WHOLE) {
    if (given->access == PARE_ACCESS_READ || n == 1) return PARE_OK;
    return pare__fail(PARE_ERR_ARGUMENT, "%s: tensor %zu is written as a whole by each of %lld steps; slice it",
                      function, i, (long long)n);
  }
  if (given->axis < 0 || given->axis >= tensor->shape.rank)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: tensor %zu of rank %d has no axis %d", function, i, tensor->shape.rank,
                      given->axis);
  const int64_t length = tensor->shape.dim[given->axis], per_step = given->per_step ? given->per_step : 1;
  int64_t last;
  /* the last step may be shorter, but no step may be empty and no element without one */
  if (per_step < 0 || !pare__i64_mul(n - 1, per_step, &last) || last >= length || length - last > per_step)
    return pare__fail(PARE_ERR_ARGUMENT,
                      "%s: tensor %zu has %lld elements along axis %d; %lld steps of %lld do not cover just these",
                      function, i, (long long)length, given->axis, (long long)n, (long long)per_step);
  return PARE_OK;
}

static pare_status check_classes(const char *function, pare_context *context, const pare_task_options *options) {
  static const unsigned of[] = {[PARE_DEVICE_CPU] = PARE_CLASS_CPU,
                                [PARE_DEVICE_GPU] = PARE_CLASS_GPU,
                                [PARE_DEVICE_ACCELERATOR] = PARE_CLASS_ACCELERATOR};
  if (options->classes == 0) return PARE_OK;
  for (size_t m = 0; m < pare__context_members(context); m++) {
    const pare_device_type type = pare_context_device(pare__context_member(context, m))->type;
    if ((size_t)type < PARE__COUNT(of) && (of[type] & options->classes)) return PARE_OK;
  }
  return pare__fail(PARE_ERR_ARGUMENT, "%s: '%s' may run on devices of class set %#x only, and none is selected",
                    function, options->name ? options->name : options->entry, options->classes);
}

/* ---- submitting ---- */

static pare_status pack(const pare_task_options *options, parameters **out, size_t *nbytes) {
  const char *build = options->build ? options->build : "";
  char *path = realpath(options->file, NULL);
  if (!path) return pare__fail(PARE_ERR_KERNEL, "pare_task_submit: there is no kernel file %s", options->file);
  const size_t file = strlen(path) + 1, entry = strlen(options->entry) + 1, last = strlen(build) + 1;
  *nbytes = sizeof **out + file + entry + last;
  *out = calloc(1, *nbytes);
  if (*out) {
    (*out)->nnumbers = options->nnumbers;
    (*out)->ntensors = options->ntensors;
    (*out)->items_per_step = PARE__MAX(options->items_per_step, (size_t)1);
    (*out)->group_items = options->group_items;
    if (options->nnumbers > 0) memcpy((*out)->number, options->number, options->nnumbers * sizeof *options->number);
    memcpy((*out)->text, path, file);
    memcpy((*out)->text + file, options->entry, entry);
    memcpy((*out)->text + file + entry, build, last);
  }
  free(path);
  return *out ? PARE_OK : pare__fail_memory("a task", *nbytes);
}

static pare_status handle_make(pare_context *context, const pare_task_options *options, pare_task **out) {
  pare_task *task = *out = calloc(1, sizeof *task);
  if (!task) return pare__fail_memory("a task", sizeof *task);
  task->context = context;
  pare__context_retain(context);
  pare_status status = PARE_OK;
  for (size_t i = 0; i < options->ntensors && status == PARE_OK; i++) {
    const pare_task_tensor *given = &options->tensor[i];
    if (!given->tensor || given->access == PARE_ACCESS_READ) continue;
    status = pare__tensor_handle(given->tensor, &task->written[task->nwritten]);
    task->nwritten += status == PARE_OK;
  }
  return status;
}

pare_status pare_task_submit(pare_context *context, const pare_task_options *options, pare_task **out) {
  const char *function = "pare_task_submit";
  static const pare__mode modes[] = {PARE__READ, PARE__WRITE, PARE__READ_WRITE};
  if (out) *out = NULL;
  PARE__TRY(pare__context_check(function, context));
  if (!options) return pare__fail_null(function, "options");
  PARE__TRY(check_counts(function, options));
  PARE__TRY(check_classes(function, context, options));
  pare__job_id id = 0, after[16];
  if (options->nafter > PARE__COUNT(after))
    return pare__fail(PARE_ERR_LIMIT, "%s: it is after %zu tasks; at most %zu can be named", function, options->nafter,
                      PARE__COUNT(after));
  pare__task task = {.codelet = &codelet,
                     .name = options->name ? options->name : options->entry,
                     .context = context,
                     .n = options->n,
                     .grain = options->grain,
                     .naccesses = (unsigned)options->ntensors,
                     .uneven = !options->even,
                     .priority = (int16_t)options->priority,
                     .resources = (uint8_t)options->classes,
                     .after = after,
                     .nafter = options->nafter,
                     .id = &id};
  for (size_t i = 0; i < options->nafter; i++) {
    if (!options->after[i]) return pare__fail_null(function, "after");
    after[i] = options->after[i]->id;
  }
  for (size_t i = 0; i < options->ntensors; i++) {
    const pare_task_tensor *given = &options->tensor[i];
    if ((unsigned)given->access >= PARE__COUNT(modes))
      return pare__fail(PARE_ERR_ARGUMENT, "%s: tensor %zu has access %d", function, i, (int)given->access);
    PARE__TRY(check_tensor(function, i, given, options->n));
    task.access[i] = (pare__access){given->tensor, modes[given->access], given->axis, given->per_step};
  }
  parameters *params = NULL;
  pare_task *handle = NULL;
  pare_status status = pack(options, &params, &task.params_bytes);
  task.params = params;
  if (status == PARE_OK && out) status = handle_make(context, options, &handle);
  if (status == PARE_OK) status = pare__submit(&task);
  free(params);
  if (status != PARE_OK || !out) {
    pare_task_close(handle);
    return status;
  }
  handle->id = id;
  *out = handle;
  return PARE_OK;
}

pare_status pare_task_wait(pare_task *task) {
  if (!task) return pare__fail_null("pare_task_wait", "task");
  PARE__TRY(pare__context_check("pare_task_wait", task->context));
  pare__crew *crew = pare__crew_of_if_open(task->context);
  if (crew)
    PARE__TRY(pare__crew_wait(crew, task->id));
  else
    PARE__TRY(pare__device_finish(pare__context_device(task->context)));
  for (size_t i = 0; i < task->nwritten; i++) PARE__TRY(pare__tensor_poisoned(task->written[i]));
  return PARE_OK;
}

void pare_task_close(pare_task *task) {
  if (!task) return;
  for (size_t i = 0; i < task->nwritten; i++) pare_tensor_close(task->written[i]);
  pare__context_release(task->context);
  free(task);
}
