/* The executor without policy: runs each task at once on the context's device, cut in pieces only where a tensor is
 * staged. SPDX-License-Identifier: Apache-2.0
 *
 * Submission order is the order of the in-order queue, so dependencies hold without being tracked. A tensor that is
 * larger than the device's largest buffer lives on the host: each piece gets its slice through a staging buffer. */
#include <stdlib.h>
#include <string.h>

#include "sched/multi.h"

/* Staging buffers of one task are kept to this, whatever the device offers: larger ones gain nothing. */
#define STAGING_BYTES ((int64_t)256 << 20)

typedef struct staging {
  pare__buffer *buffer;
  void *packed; /* host side of a slice that is not contiguous there */
} staging;

typedef struct execution {
  const pare__task *task;
  pare__worker *worker;
  staging staging[PARE__MAX_ACCESSES];
  pare__binding binding[PARE__MAX_ACCESSES];
} execution;

static bool is_staged(const pare__access *access) { return access->tensor && !pare__tensor_on_device(access->tensor); }

static bool is_written(const pare__access *access) { return access->mode != PARE__READ; }

int64_t pare__slice(pare__shape *shape, int axis, int64_t per_step, int64_t begin, int64_t end) {
  if (axis == PARE__WHOLE) return 0;
  if (per_step == 0) per_step = 1;
  const int64_t length = shape->dim[axis];
  const int64_t first = PARE__MIN(begin * per_step, length), last = PARE__MIN(end * per_step, length);
  shape->dim[axis] = last - first;
  return first * shape->stride[axis];
}

/* The shape and first element of what the piece [begin, end) sees of an access. */
static void slice_of(const pare__access *access, int64_t begin, int64_t end, pare__shape *shape, int64_t *offset) {
  *shape = access->tensor->shape;
  *offset = pare__tensor_start(access->tensor) + pare__slice(shape, access->axis, access->per_step, begin, end);
}

static size_t shape_bytes(const pare__shape *shape, pare_dtype dtype) {
  return (size_t)pare__shape_elements(shape) * pare_dtype_bytes(dtype);
}

/* How many steps of the split axis a piece may have so that its staged slices fit. */
static pare_status piece_length(const pare__task *task, const pare_device_info *info, int64_t *length) {
  int64_t limit = PARE__MIN(STAGING_BYTES, (int64_t)info->max_buffer_bytes);
  int64_t grain = task->grain > 0 ? task->grain : 1, steps = task->n;
  for (unsigned i = 0; i < task->naccesses; i++) {
    const pare__access *access = &task->access[i];
    if (!is_staged(access)) continue;
    pare__shape shape;
    int64_t offset;
    slice_of(access, 0, PARE__MIN(grain, task->n), &shape, &offset);
    int64_t nbytes = (int64_t)shape_bytes(&shape, access->tensor->dtype);
    if (nbytes > (int64_t)info->max_buffer_bytes)
      return pare__fail(
          PARE_ERR_LIMIT,
          "%s: a tensor of %lld bytes is needed in pieces of at least %lld bytes, and the largest buffer of %s "
          "has %llu",
          task->codelet->name, (long long)shape_bytes(&access->tensor->shape, access->tensor->dtype), (long long)nbytes,
          info->name, (unsigned long long)info->max_buffer_bytes);
    int64_t grains = nbytes > 0 ? PARE__MAX(limit / nbytes, 1) : steps;
    if (grains < pare__div_up(steps, grain)) steps = grains * grain;
  }
  *length = PARE__MAX(steps, 1);
  return PARE_OK;
}

static pare_status stage_in(execution *run, unsigned i, int64_t begin, int64_t end) {
  const pare__access *access = &run->task->access[i];
  pare_tensor *tensor = access->tensor;
  pare__binding *binding = &run->binding[i];
  pare__shape slice;
  int64_t offset;
  slice_of(access, begin, end, &slice, &offset);
  size_t nbytes = shape_bytes(&slice, tensor->dtype), element = pare_dtype_bytes(tensor->dtype);
  staging *stage = &run->staging[i];
  if (!stage->buffer) /* the first piece is the longest */
    PARE__TRY(pare__buffer_create(run->worker->device, nbytes, "staging", &stage->buffer));
  bool contiguous = pare__shape_contiguous(&slice);
  if (!contiguous && !stage->packed) {
    stage->packed = malloc(nbytes);
    if (!stage->packed) return pare__fail_memory("staging", nbytes);
  }
  if (access->mode != PARE__WRITE && nbytes > 0) {
    char *host = pare__tensor_host(tensor);
    void *from = host + offset * (int64_t)element;
    if (!contiguous) {
      pare__host_gather(&slice, offset, element, host, stage->packed);
      from = stage->packed;
    }
    PARE__TRY(run->worker->isa->copy(run->worker, stage->buffer, from, nbytes, true));
  }
  binding->mem = pare__buffer_mem(stage->buffer);
  binding->offset = 0;
  pare__shape_set(&binding->shape, slice.rank, slice.dim);
  return PARE_OK;
}

static pare_status stage_out(execution *run, unsigned i, int64_t begin, int64_t end) {
  const pare__access *access = &run->task->access[i];
  pare__shape slice;
  int64_t offset;
  slice_of(access, begin, end, &slice, &offset);
  size_t nbytes = shape_bytes(&slice, access->tensor->dtype), element = pare_dtype_bytes(access->tensor->dtype);
  if (nbytes == 0) return PARE_OK;
  char *host = pare__tensor_host(access->tensor);
  staging *stage = &run->staging[i];
  void *to = stage->packed ? stage->packed : host + offset * (int64_t)element;
  PARE__TRY(run->worker->isa->copy(run->worker, stage->buffer, to, nbytes, false));
  if (stage->packed) pare__host_scatter(&slice, offset, element, stage->packed, host);
  return PARE_OK;
}

static pare_status bind(execution *run, unsigned i, int64_t begin, int64_t end) {
  const pare__access *access = &run->task->access[i];
  pare__binding *binding = &run->binding[i];
  memset(binding, 0, sizeof *binding);
  if (!access->tensor) return PARE_OK;
  binding->dtype = access->tensor->dtype;
  if (is_staged(access)) return stage_in(run, i, begin, end);
  slice_of(access, begin, end, &binding->shape, &binding->offset);
  binding->mem = pare__buffer_mem(pare__tensor_buffer(access->tensor));
  return PARE_OK;
}

static pare_status run_piece(execution *run, int64_t begin, int64_t end) {
  const pare__task *task = run->task;
  for (unsigned i = 0; i < task->naccesses; i++) PARE__TRY(bind(run, i, begin, end));
  pare__piece piece = {task->context, run->worker->device, begin, end, task->n, task->params, run->binding};
  PARE__TRY(run->worker->isa->submit(run->worker, task->codelet, &piece));
  for (unsigned i = 0; i < task->naccesses; i++)
    if (is_staged(&task->access[i]) && is_written(&task->access[i])) PARE__TRY(stage_out(run, i, begin, end));
  return PARE_OK;
}

static pare_status run_pieces(execution *run, int pieces) {
  const pare__task *task = run->task;
  int64_t length = 1;
  PARE__TRY(piece_length(task, run->worker->isa->info(run->worker), &length));
  if (pieces > 1) {
    int64_t grain = task->grain > 0 ? task->grain : 1;
    length = PARE__MIN(length, pare__round_up(pare__div_up(task->n, pieces), grain));
  }
  for (int64_t begin = 0; begin < task->n; begin += length)
    PARE__TRY(run_piece(run, begin, PARE__MIN(begin + length, task->n)));
  return PARE_OK;
}

static pare_status execute(const pare__task *task, pare__worker *worker) {
  execution run = {.task = task, .worker = worker};
  pare_status status = run_pieces(&run, pare__context_pieces(task->context));
  for (unsigned i = 0; i < task->naccesses; i++) {
    pare__buffer_release(run.staging[i].buffer);
    free(run.staging[i].packed);
  }
  return status;
}

/* An input that could not be computed makes outputs that cannot be either. */
static pare_status inputs_status(const pare__task *task) {
  for (unsigned i = 0; i < task->naccesses; i++)
    if (task->access[i].tensor && task->access[i].mode != PARE__WRITE)
      PARE__TRY(pare__tensor_poisoned(task->access[i].tensor));
  return PARE_OK;
}

pare_status pare__task_check(const pare__task *task) {
  PARE__TRY(pare__context_check(task->codelet->name, task->context));
  for (unsigned i = 0; i < task->naccesses; i++) {
    const pare__access *access = &task->access[i];
    if (!access->tensor) continue;
    if (access->tensor->context != task->context)
      return pare__fail(PARE_ERR_ARGUMENT, "%s: tensor %u belongs to another context", task->codelet->name, i);
    if (is_written(access) && access->tensor->read_only)
      return pare__fail(PARE_ERR_ARGUMENT, "%s: a broadcast view cannot be written", task->codelet->name);
  }
  return PARE_OK;
}

pare_status pare__submit(const pare__task *task) {
  PARE__TRY(pare__task_check(task));
  if (task->n <= 0) return PARE_OK;
  if (pare__recording_active()) return pare__recording_add(task);
  if (pare__context_members(task->context) > 1) return pare__multi_submit(task);
  pare_status status = inputs_status(task);
  if (status == PARE_OK) {
    for (unsigned i = 0; i < task->naccesses; i++)
      if (task->access[i].tensor && task->access[i].mode == PARE__WRITE) pare__tensor_heal(task->access[i].tensor);
    pare__worker worker = pare__opencl_worker(pare__context_device(task->context));
    status = execute(task, &worker);
    if (status == PARE_OK) status = pare__device_pace(worker.device);
    if (status != PARE_OK) pare__context_record(task->context, status);
  }
  if (status == PARE_OK) return PARE_OK;
  for (unsigned i = 0; i < task->naccesses; i++)
    if (task->access[i].tensor && is_written(&task->access[i])) pare__tensor_poison(task->access[i].tensor, status);
  return PARE_OK;
}
