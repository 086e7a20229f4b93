/* Tasks kept to be submitted later. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "sched/sched.h"

typedef struct recorded {
  pare__task task;
  pare_tensor tensor[PARE__MAX_ACCESSES]; /* handles of operations are often on their stack: these are ours */
} recorded;

struct pare__recording {
  bool deferring; /* before it began */
  size_t count, capacity;
  recorded **item;
};

static _Thread_local pare__recording *active;

bool pare__recording_active(void) { return active != NULL; }

pare_status pare__recording_begin(pare__recording **out) {
  *out = NULL;
  if (active) return pare__fail(PARE_ERR_ARGUMENT, "this thread records work already");
  pare__recording *recording = calloc(1, sizeof *recording);
  if (!recording) return pare__fail_memory("a recording", sizeof *recording);
  recording->deferring = pare__tensors_defer(true);
  *out = active = recording;
  return PARE_OK;
}

void pare__recording_end(pare__recording *recording) {
  active = NULL;
  pare__tensors_defer(recording->deferring);
}

static void recorded_free(recorded *item) {
  for (unsigned i = 0; i < item->task.naccesses; i++)
    if (item->task.access[i].tensor) pare__storage_release(item->tensor[i].storage);
  free((void *)item->task.params);
  free(item);
}

pare_status pare__recording_add(const pare__task *task) {
  pare__recording *recording = active;
  PARE__TRY(pare__array_grow((void **)&recording->item, &recording->capacity, recording->count, sizeof(recorded *)));
  recorded *item = malloc(sizeof *item);
  void *params = malloc(PARE__MAX(task->params_bytes, (size_t)1));
  if (!item || !params) {
    free(item);
    free(params);
    return pare__fail_memory("a recorded task", sizeof *item + task->params_bytes);
  }
  if (task->params_bytes > 0) memcpy(params, task->params, task->params_bytes);
  item->task = *task;
  item->task.params = params;
  for (unsigned i = 0; i < task->naccesses; i++) {
    if (!task->access[i].tensor) continue;
    item->tensor[i] = *task->access[i].tensor;
    item->task.access[i].tensor = &item->tensor[i];
    pare__storage_retain(item->tensor[i].storage);
  }
  recording->item[recording->count++] = item;
  return PARE_OK;
}

size_t pare__recording_tasks(const pare__recording *recording) { return recording->count; }

const pare__task *pare__recording_task(const pare__recording *recording, size_t index) {
  return &recording->item[index]->task;
}

void pare__recording_close(pare__recording *recording) {
  if (!recording) return;
  if (recording == active) pare__recording_end(recording);
  for (size_t i = 0; i < recording->count; i++) recorded_free(recording->item[i]);
  free(recording->item);
  free(recording);
}
