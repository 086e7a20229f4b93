/* Stretches of tasks whose launches can be steps of a ticketed launch, and which step waits for which.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Two tasks depend on each other if they touch overlapping bytes of a buffer and one writes: that holds for data and
 * for memory that is used again. The launches of one task run in their order. */
#include <stdlib.h>
#include <string.h>

#include "sched/replay.h"

/* Bytes of a buffer that a task touches. */
typedef struct range {
  cl_mem mem;
  int64_t begin, end;
  bool written;
} range;

typedef struct footprint {
  unsigned count;
  range range[PARE__MAX_ACCESSES];
  size_t first_step, end_step;
} footprint;

static void footprint_of(const pare__task *task, footprint *out) {
  out->count = 0;
  for (unsigned i = 0; i < task->naccesses; i++) {
    const pare__access *access = &task->access[i];
    if (!access->tensor) continue;
    const pare_tensor *tensor = access->tensor;
    const int64_t base = (pare__tensor_start(tensor) - tensor->offset) * (int64_t)pare_dtype_bytes(tensor->dtype);
    out->range[out->count++] =
        (range){pare__buffer_mem(pare__tensor_buffer(access->tensor)), base,
                base + (int64_t)pare__storage_bytes(tensor->storage), access->mode != PARE__READ};
  }
}

static bool depend(const footprint *a, const footprint *b) {
  for (unsigned i = 0; i < a->count; i++)
    for (unsigned k = 0; k < b->count; k++) {
      const range *x = &a->range[i], *y = &b->range[k];
      if (x->mem == y->mem && (x->written || y->written) && x->begin < y->end && y->begin < x->end) return true;
    }
  return false;
}

static pare_status add_after(pare__stretches *all, size_t step) {
  PARE__TRY(pare__array_grow((void **)&all->after, &all->after_capacity, all->after_count, sizeof *all->after));
  all->after[all->after_count++] = (uint32_t)step;
  return PARE_OK;
}

/* Which tasks each one needs, by way of others too: a bit a task of the stretch. */
typedef struct needs {
  size_t words; /* a task */
  uint64_t *bits;
} needs;

static bool is_needed(const needs *n, size_t task, size_t other) {
  return n->bits[task * n->words + other / 64] >> other % 64 & 1;
}

/* The tasks that `task` must wait for: those it depends on that no other of them waits for. */
static pare_status wait_for_tasks(pare__stretches *all, const footprint *tasks, size_t task, needs *n) {
  for (size_t other = task; other-- > 0;) {
    if (tasks[other].first_step == tasks[other].end_step || is_needed(n, task, other) ||
        !depend(&tasks[task], &tasks[other]))
      continue;
    PARE__TRY(add_after(all, tasks[other].end_step - 1));
    for (size_t w = 0; w < n->words; w++) n->bits[task * n->words + w] |= n->bits[other * n->words + w];
    n->bits[task * n->words + other / 64] |= (uint64_t)1 << other % 64;
  }
  return PARE_OK;
}

/* Where in `after` the dependencies of a step begin is kept as a number until the array has stopped moving. */
static pare_status order(pare__stretches *all, const pare__stretch *stretch, const footprint *tasks) {
  const size_t count = stretch->end - stretch->begin;
  needs n = {.words = (count + 63) / 64};
  n.bits = calloc(count * n.words + 1, sizeof *n.bits);
  if (!n.bits) return pare__fail_memory("the order of a plan", count * n.words * sizeof *n.bits);
  pare_status status = PARE_OK;
  for (size_t i = 0; i < count && status == PARE_OK; i++) {
    const footprint *task = &tasks[stretch->begin + i];
    for (size_t step = task->first_step; step < task->end_step && status == PARE_OK; step++) {
      const size_t before = all->after_count;
      status = step > task->first_step ? add_after(all, step - 1) : wait_for_tasks(all, tasks + stretch->begin, i, &n);
      all->step[step].nafter = all->after_count - before;
    }
  }
  free(n.bits);
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
  return order(all, stretch, tasks);
}

static pare_status find(pare__stretches *all, const pare__recording *recording, pare__device *device,
                        footprint *tasks) {
  const size_t count = pare__recording_tasks(recording);
  size_t next = 0, begin = 0, first_step = 0, capacity = 0;
  for (size_t i = 0; i < count; i++) {
    const size_t first_launch = next;
    size_t launches;
    footprint_of(pare__recording_task(recording, i), &tasks[i]);
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
  size_t at = 0;
  for (size_t i = 0; i < out->nsteps && status == PARE_OK; i++) {
    out->step[i].after = out->after + at;
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
