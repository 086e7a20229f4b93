/* What policies share: opening, the calls of whoever runs them, the pool. SPDX-License-Identifier: Apache-2.0 */
#include "sched/policy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOOKS_A_PIECE 8 /* at pieces that wait, for each that has run, when they are predicted again */

/* ---- opening ---- */

pare_status pare__policy_open(const pare__policy_class *isa, const pare__policy_device *device, size_t ndevices,
                              pare__performance *performance, const pare__policy_options *options, pare__policy **out) {
  *out = NULL;
  pare__policy *made = calloc(1, sizeof *made);
  if (!made) return pare__fail_memory("a policy", sizeof *made);
  made->isa = isa;
  made->options = *options;
  made->weights = options->weights ? *options->weights : pare__policy_usual_weights(isa, PARE__MAKESPAN);
  if (!(made->options.ageing_seconds > 0)) made->options.ageing_seconds = 1;
  if (!(made->options.chunks > 0)) made->options.chunks = 10;
  made->ndevices = ndevices;
  made->performance = performance;
  made->device = calloc(ndevices + 1, sizeof *made->device);
  made->there = calloc(ndevices + 1, sizeof *made->there);
  made->free_at = calloc(ndevices + 1, sizeof *made->free_at);
  made->backlog = calloc(ndevices + 1, sizeof *made->backlog);
  made->npieces = calloc(ndevices + 1, sizeof *made->npieces);
  made->stale = calloc(ndevices + 1, sizeof *made->stale);
  made->undisturbed = calloc(ndevices + 1, sizeof *made->undisturbed);
  made->queue = calloc(ndevices + 1, sizeof *made->queue);
  if (!made->device || !made->there || !made->free_at || !made->backlog || !made->npieces || !made->stale ||
      !made->undisturbed || !made->queue) {
    pare__policy_close(made);
    return pare__fail_memory("a policy", ndevices * sizeof *made->queue);
  }
  for (size_t i = 0; i < ndevices; i++) {
    made->device[i] = device[i];
    made->there[i] = device[i].lost ? 0 : (uint8_t)device[i].resource;
    made->idle_watts += device[i].idle_watts;
  }
  *out = made;
  return PARE_OK;
}

void pare__policy_close(pare__policy *policy) {
  if (!policy) return;
  if (policy->isa->close) policy->isa->close(policy);
  for (size_t i = 0; policy->queue && i < policy->ndevices; i++) pare__policy_queue_close(&policy->queue[i]);
  for (size_t i = 0; i < PARE__COUNT(policy->pool); i++) pare__policy_queue_close(&policy->pool[i]);
  free(policy->queue);
  free(policy->undisturbed);
  free(policy->stale);
  free(policy->npieces);
  free(policy->backlog);
  free(policy->free_at);
  free(policy->there);
  free(policy->device);
  free(policy);
}

/* ---- what a decision stands on ---- */

double pare__policy_seconds(const pare__policy *policy, size_t device, const pare__policy_piece *piece) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  return pare__performance_seconds(policy->performance, task->kernel, device,
                                   (double)(piece->end - piece->begin) * task->per_step);
}

int64_t pare__policy_most_steps(const pare__policy *policy, size_t device, const pare__policy_task *task) {
  const double memory = (double)policy->device[device].memory_bytes, step = task->nbytes / (double)task->n;
  if (!(memory > 0) || memory >= task->nbytes) return task->n;
  return pare__i64_clamp((int64_t)(memory / step), 1, task->n);
}

#define MOST_PIECES 65536 /* that a device's memory may cut a task into */

bool pare__policy_may(const pare__policy *policy, size_t device, const pare__policy_task *task) {
  const pare__policy_device *at = &policy->device[device];
  if (at->lost || !(at->resource & task->resources) || pare__policy_barred(task, device)) return false;
  const double least = task->nbytes / (double)task->n * (double)PARE__MIN(PARE__MAX(task->grain, 1), task->n);
  const double memory = (double)at->memory_bytes;
  return at->memory_bytes == 0 || (least <= memory && task->nbytes <= MOST_PIECES * memory);
}

/* ---- the pool ---- */

pare_status pare__policy_pool(pare__policy *policy, const pare__policy_piece *piece, double now) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  /* All age alike, so their order never changes: a step of priority is worth so many seconds of waiting. */
  const double key = now - task->priority * policy->options.ageing_seconds;
  PARE__TRY(pare__policy_push(&policy->pool[task->resources], key, policy->order++, piece));
  policy->pooled++;
  return PARE_OK;
}

pare__policy_entry *pare__policy_pool_head(pare__policy *policy, size_t device, pare__policy_queue **queue) {
  pare__policy_entry *best = NULL;
  if (policy->pooled == 0) return NULL;
  for (unsigned set = 1; set < PARE__RESOURCE_SETS; set++) {
    pare__policy_queue *pool = &policy->pool[set];
    pare__policy_entry *head = pare__policy_head(pool);
    if (!(set & policy->device[device].resource) || !head) continue;
    if (best && (best->key < head->key || (!(head->key < best->key) && best->order < head->order))) continue;
    best = head;
    *queue = pool;
  }
  return best;
}

/* ---- queues of devices ---- */

void pare__policy_count(pare__policy *policy, size_t device, pare__policy_piece *piece, double now) {
  piece->seconds = pare__policy_seconds(policy, device, piece);
  policy->backlog[device] += piece->seconds;
  policy->npieces[device]++;
  policy->free_at[device] = fmax(policy->free_at[device], now) + piece->seconds;
  policy->horizon = fmax(policy->horizon, policy->free_at[device]);
}

void pare__policy_uncount(pare__policy *policy, size_t device, double seconds) {
  /* Sums of rounded numbers leave a rest: a device without pieces has nothing to do, exactly. */
  const bool last = policy->npieces[device] <= 1;
  policy->npieces[device] = last ? 0 : policy->npieces[device] - 1;
  policy->backlog[device] = last ? 0 : fmax(policy->backlog[device] - seconds, 0);
}

pare_status pare__policy_give(pare__policy *policy, size_t device, const pare__policy_piece *piece, double now) {
  pare__policy_piece given = *piece;
  pare__policy_count(policy, device, &given, now);
  const double key = now - pare__policy_task_of(policy, piece->task)->priority * policy->options.ageing_seconds;
  PARE__TRY(pare__policy_push(&policy->queue[device], key, policy->order++, &given));
  policy->queued++;
  return PARE_OK;
}

bool pare__policy_take(pare__policy *policy, size_t device, pare__policy_piece *out) {
  pare__policy_entry entry;
  if (!pare__policy_pop(&policy->queue[device], &entry)) return false;
  policy->queued--;
  *out = entry.piece;
  return true;
}

/* ---- the calls of whoever runs it ---- */

pare_status pare__policy_plan(pare__policy *policy, const pare__policy_graph *graph) {
  return policy->isa->plan ? policy->isa->plan(policy, graph) : PARE_OK;
}

pare_status pare__policy_place(pare__policy *policy, uint32_t task, int64_t begin, int64_t end, double now,
                               size_t *wake) {
  const pare__policy_piece piece = {.task = task, .begin = begin, .end = end};
  const pare__policy_task *known = pare__policy_task_of(policy, task);
  size_t device = 0;
  *wake = PARE__NO_DEVICE;
  while (device < policy->ndevices && !pare__policy_may(policy, device, known)) device++;
  if (device == policy->ndevices)
    return pare__fail(PARE_ERR_DEVICE, "no device is left that may run task %u and has the memory for it", task);
  return policy->isa->place(policy, &piece, now, wake);
}

bool pare__policy_chunk(pare__policy *policy, size_t device, double now, pare__policy_piece *out, size_t *wake) {
  *wake = PARE__NO_DEVICE;
  return !policy->device[device].lost && policy->isa->chunk(policy, device, now, out, wake);
}

/* A line was wrong: what waits for the device takes another time than was thought. All of it is looked at, so not more
 * often than every so many pieces that the device runs, or lines that are wrong again and again, as those of pieces so
 * short that noise is most of their time, would make each piece cost what a long queue is long. */
static bool predict_again(pare__policy *policy, size_t device) {
  pare__policy_queue *queue = &policy->queue[device];
  if (policy->undisturbed[device] > 0) policy->undisturbed[device]--;
  if (!policy->stale[device] || policy->undisturbed[device] > 0) return false;
  policy->stale[device] = false;
  policy->undisturbed[device] = queue->count / LOOKS_A_PIECE;
  for (size_t i = 0; i < queue->count; i++) {
    pare__policy_piece *piece = &queue->entry[queue->first + i].piece;
    const double seconds = pare__policy_seconds(policy, device, piece);
    policy->backlog[device] += seconds - piece->seconds;
    piece->seconds = seconds;
  }
  return true;
}

pare_status pare__policy_complete(pare__policy *policy, size_t device, const pare__policy_piece *piece, double now,
                                  double seconds, size_t *wake) {
  const pare__policy_task *task = pare__policy_task_of(policy, piece->task);
  pare__learned learned;
  *wake = PARE__NO_DEVICE;
  PARE__TRY(pare__performance_observe(policy->performance, task->kernel, device,
                                      (double)(piece->end - piece->begin) * task->per_step, seconds, task->uneven,
                                      &learned));
  pare__policy_uncount(policy, device, piece->seconds);
  if (learned == PARE__LEARNED_WRONG) policy->stale[device] = true;
  if (predict_again(policy, device)) *wake = PARE__EVERY_DEVICE;
  /* Others may be the thrifty ones now. */
  if (learned == PARE__LEARNED_MORE && pare__policy_saves(policy)) *wake = PARE__EVERY_DEVICE;
  policy->free_at[device] = now + policy->backlog[device];
  return PARE_OK;
}

/* For the device that is gone. The first failure is kept in *status. */
static void place_again(pare__policy *policy, const pare__policy_piece *piece, double now, pare_status *status) {
  size_t wake;
  const pare_status placed = pare__policy_place(policy, piece->task, piece->begin, piece->end, now, &wake);
  if (placed == PARE_OK) return;
  if (*status == PARE_OK) *status = placed;
  (void)pare__policy_push(&policy->pool[0], now, policy->order++, piece);
}

/* Where a pooled piece may run, and whether in one piece, was decided with the device that is gone. */
static void place_pool_again(pare__policy *policy, double now, pare_status *status) {
  for (size_t set = 1; set < PARE__RESOURCE_SETS; set++) {
    pare__policy_queue old = policy->pool[set];
    pare__policy_entry entry;
    policy->pool[set] = (pare__policy_queue){0};
    policy->pooled -= old.count;
    while (pare__policy_pop(&old, &entry)) place_again(policy, &entry.piece, now, status);
    pare__policy_queue_close(&old);
  }
}

pare_status pare__policy_lost(pare__policy *policy, size_t device, double now) {
  pare__policy_piece piece;
  pare_status status = PARE_OK;
  policy->device[device].lost = true;
  policy->there[device] = 0;
  policy->idle_watts -= policy->device[device].idle_watts;
  policy->backlog[device] = 0;
  policy->npieces[device] = 0;
  if (policy->isa->lost) status = policy->isa->lost(policy, device);
  while (pare__policy_take(policy, device, &piece)) place_again(policy, &piece, now, &status);
  place_pool_again(policy, now, &status);
  return status;
}

void pare__policy_cancel(pare__policy *policy, uint32_t task) {
  if (policy->isa->cancel) policy->isa->cancel(policy, task);
}

void pare__policy_drop(pare__policy *policy, uint32_t task, int64_t begin, int64_t end) {
  for (size_t i = 0; i < policy->ndevices; i++) {
    size_t removed = pare__policy_remove(&policy->queue[i], task, begin, end);
    policy->queued -= removed;
    for (; removed > 0; removed--) pare__policy_uncount(policy, i, 0);
  }
  for (size_t set = 1; set < PARE__RESOURCE_SETS; set++)
    policy->pooled -= pare__policy_remove(&policy->pool[set], task, begin, end);
}
