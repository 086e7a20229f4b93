/* Stretches of tasks whose launches can be steps of a ticketed launch, and which step waits for which.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Tasks are ordered by the bytes of buffers that they touch, whether for data or for memory that is used again. */
#include <stdlib.h>
#include <string.h>

#include "sched/order.h"
#include "sched/replay.h"

typedef struct footprint {
  pare__footprint touched;
  size_t first_step, end_step;
} footprint;

/* By buffers, since storages share them. */
static void footprint_of(const pare__task *task, pare__footprint *out) {
  out->count = 0;
  for (unsigned i = 0; i < task->naccesses; i++) {
    pare_tensor *tensor = task->access[i].tensor;
    if (!tensor) continue;
    const int64_t base = (pare__tensor_start(tensor) - tensor->offset) * (int64_t)pare_dtype_bytes(tensor->dtype);
    out->range[out->count++] =
        (pare__touched){pare__buffer_mem(pare__tensor_buffer(tensor)), base,
                        base + (int64_t)pare__storage_bytes(tensor->storage), task->access[i].mode != PARE__READ};
  }
}

static pare_status add_after(pare__stretches *all, size_t step) {
  PARE__TRY(pare__array_grow((void **)&all->after, &all->after_capacity, all->after_count, sizeof *all->after));
  all->after[all->after_count++] = (uint32_t)step;
  return PARE_OK;
}

/* The steps of a task follow each other; the first follows the last ones of the tasks that it waits for. */
static pare_status order_steps(pare__stretches *all, const footprint *tasks, const pare__order *order) {
  for (size_t i = 0; i < order->ntasks; i++) {
    for (size_t step = tasks[i].first_step; step < tasks[i].end_step; step++) {
      const size_t before = all->after_count;
      if (step > tasks[i].first_step) PARE__TRY(add_after(all, step - 1));
      for (size_t k = order->begin[i]; step == tasks[i].first_step && k < order->begin[i + 1]; k++)
        PARE__TRY(add_after(all, tasks[order->need[k]].end_step - 1));
      all->step[step].nafter = all->after_count - before;
    }
  }
  return PARE_OK;
}

/* A task that launches nothing is waited for by none. */
static pare_status order_stretch(pare__stretches *all, const pare__stretch *stretch, const footprint *tasks) {
  const size_t count = stretch->end - stretch->begin;
  pare__order *order = NULL;
  pare__footprint *touched = calloc(count + 1, sizeof *touched);
  if (!touched) return pare__fail_memory("the order of a plan", count * sizeof *touched);
  for (size_t i = 0; i < count; i++)
    if (tasks[stretch->begin + i].first_step < tasks[stretch->begin + i].end_step)
      touched[i] = tasks[stretch->begin + i].touched;
  pare_status status = pare__order_open(touched, count, &order);
  if (status == PARE_OK) status = order_steps(all, tasks + stretch->begin, order);
  pare__order_close(order);
  free(touched);
  return status;
}

static bool written_before(const pare__recording *recording, size_t begin, size_t task, const pare_tensor *tensor) {
  for (size_t i = begin; i < task; i++) {
    const pare__task *other = pare__recording_task(recording, i);
    for (unsigned k = 0; k < other->naccesses; k++)
      if (other->access[k].tensor && other->access[k].mode == PARE__WRITE &&
          other->access[k].tensor->storage == tensor->storage)
        return true;
  }
  return false;
}

static pare_status find_reads(const pare__recording *recording, pare__stretch *stretch) {
  size_t capacity = 0;
  for (size_t i = stretch->begin; i < stretch->end; i++) {
    const pare__task *task = pare__recording_task(recording, i);
    for (unsigned k = 0; k < task->naccesses; k++) {
      pare_tensor *tensor = task->access[k].tensor;
      if (!tensor || task->access[k].mode == PARE__WRITE) continue;
      size_t known = 0;
      while (known < stretch->nreads && stretch->reads[known]->storage != tensor->storage) known++;
      if (known < stretch->nreads || written_before(recording, stretch->begin, i, tensor)) continue;
      PARE__TRY(pare__array_grow((void **)&stretch->reads, &capacity, stretch->nreads, sizeof *stretch->reads));
      stretch->reads[stretch->nreads++] = tensor;
    }
  }
  return PARE_OK;
}

/* The launches of a task, or false if one of them cannot be a step. */
static bool task_launches(const pare__capture *capture, pare__device *device, size_t task, size_t *next,
                          size_t *count) {
  bool fits = true;
  *count = 0;
  for (; *next < capture->count && capture->launch[*next].mark == task; (*next)++, (*count)++)
    fits = fits && pare__ticketed_takes(device, &capture->launch[*next]);
  return fits;
}

/* Ends the stretch that began at a task; one step alone is better off as it is. */
static pare_status end_stretch(pare__stretches *all, const pare__recording *recording, const footprint *tasks,
                               size_t begin, size_t end, size_t first_step, size_t *capacity) {
  if (all->nsteps - first_step < 2) {
    all->nsteps = first_step;
    return PARE_OK;
  }
  PARE__TRY(pare__array_grow((void **)&all->stretch, capacity, all->count, sizeof *all->stretch));
  pare__stretch *stretch = &all->stretch[all->count++];
  *stretch = (pare__stretch){.begin = begin, .end = end, .first_step = first_step, .end_step = all->nsteps};
  PARE__TRY(find_reads(recording, stretch));
  return order_stretch(all, stretch, tasks);
}

static pare_status find(pare__stretches *all, const pare__recording *recording, pare__device *device,
                        footprint *tasks) {
  const size_t count = pare__recording_tasks(recording);
  size_t next = 0, begin = 0, first_step = 0, capacity = 0;
  for (size_t i = 0; i < count; i++) {
    const size_t first_launch = next;
    size_t launches;
    footprint_of(pare__recording_task(recording, i), &tasks[i].touched);
    if (!task_launches(&all->capture, device, i, &next, &launches)) {
      PARE__TRY(end_stretch(all, recording, tasks, begin, i, first_step, &capacity));
      begin = i + 1;
      first_step = all->nsteps;
      continue;
    }
    tasks[i].first_step = all->nsteps;
    for (size_t k = 0; k < launches; k++)
      all->step[all->nsteps++] = (pare__ticket_step){.launch = &all->capture.launch[first_launch + k]};
    tasks[i].end_step = all->nsteps;
  }
  return end_stretch(all, recording, tasks, begin, count, first_step, &capacity);
}

pare_status pare__stretches_find(const pare__recording *recording, pare__capture *capture, pare__device *device,
                                 pare__stretches *out) {
  *out = (pare__stretches){.capture = *capture};
  *capture = (pare__capture){.device = capture->device};
  const size_t count = pare__recording_tasks(recording);
  footprint *tasks = calloc(count + 1, sizeof *tasks);
  out->step = calloc(out->capture.count + 1, sizeof *out->step);
  pare_status status = tasks && out->step ? PARE_OK : pare__fail_memory("the order of a plan", count * sizeof *tasks);
  if (status == PARE_OK && out->capture.incomplete)
    status = pare__fail_memory("the launches of a plan", out->capture.count * sizeof *out->capture.launch);
  if (status == PARE_OK) status = find(out, recording, device, tasks);
  size_t at = 0; /* the array grows, and moves, no more */
  for (size_t i = 0; i < out->nsteps && status == PARE_OK; i++) {
    if (out->step[i].nafter > 0) out->step[i].after = out->after + at; /* there may be none at all */
    at += out->step[i].nafter;
  }
  free(tasks);
  if (status != PARE_OK) pare__stretches_close(out);
  return status;
}

void pare__stretches_close(pare__stretches *stretches) {
  for (size_t i = 0; i < stretches->count; i++) free(stretches->stretch[i].reads);
  free(stretches->stretch);
  free(stretches->step);
  free(stretches->after);
  pare__capture_free(&stretches->capture);
  *stretches = (pare__stretches){.count = 0};
}
