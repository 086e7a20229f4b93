/* Which tasks must be done before which. SPDX-License-Identifier: Apache-2.0 */
#include "sched/order.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/memory.h"

/* One range of one task; those of one place are beside each other, in the order of their tasks. */
typedef struct seen {
  const pare__touched *range;
  uint32_t task;
} seen;

static int by_place(const void *a, const void *b) {
  const seen *x = a, *y = b;
  const uintptr_t here = (uintptr_t)x->range->where, there = (uintptr_t)y->range->where;
  if (here != there) return here < there ? -1 : 1;
  return (x->task > y->task) - (x->task < y->task);
}

static bool meet(const pare__touched *a, const pare__touched *b) {
  return (a->written || b->written) && a->begin < b->end && b->begin < a->end;
}

typedef struct uses {
  size_t count;
  seen *all;
  size_t *at; /* of range k of task i: at[i * PARE__MAX_ACCESSES + k] is where it is in `all` */
} uses;

static void uses_close(uses *u) {
  free(u->all);
  free(u->at);
}

static pare_status uses_open(const pare__footprint *task, size_t ntasks, uses *out) {
  size_t total = 0;
  for (size_t i = 0; i < ntasks; i++) total += task[i].count;
  *out = (uses){.all = malloc((total + 1) * sizeof *out->all),
                .at = malloc((ntasks * PARE__MAX_ACCESSES + 1) * sizeof *out->at)};
  if (!out->all || !out->at) return pare__fail_memory("the order of tasks", (total + 1) * sizeof *out->all);
  for (size_t i = 0; i < ntasks; i++)
    for (unsigned k = 0; k < task[i].count; k++) out->all[out->count++] = (seen){&task[i].range[k], (uint32_t)i};
  qsort(out->all, out->count, sizeof *out->all, by_place);
  for (size_t j = 0; j < out->count; j++) {
    const seen *use = &out->all[j];
    const size_t k = (size_t)(use->range - task[use->task].range);
    out->at[use->task * PARE__MAX_ACCESSES + k] = j;
  }
  return PARE_OK;
}

/* A bit for each earlier task that touches the same bytes. */
static void find_met(const uses *u, size_t task, unsigned nranges, uint64_t *met) {
  for (unsigned k = 0; k < nranges; k++) {
    const size_t mine = u->at[task * PARE__MAX_ACCESSES + k];
    for (size_t j = mine; j-- > 0 && u->all[j].range->where == u->all[mine].range->where;)
      if (u->all[j].task != task && meet(u->all[j].range, u->all[mine].range))
        met[u->all[j].task / 64] |= UINT64_C(1) << u->all[j].task % 64;
  }
}

/* Of those that it met, the ones that no other of them waits for. */
static pare_status add_needs(pare__order *order, size_t task, const uint64_t *met) {
  uint64_t *before = order->before + task * order->words;
  for (size_t other = task; other-- > 0;) {
    const uint64_t bit = UINT64_C(1) << other % 64;
    if (!(met[other / 64] & bit) || before[other / 64] & bit) continue;
    PARE__TRY(
        pare__array_grow((void **)&order->need, &order->need_capacity, order->begin[task + 1], sizeof *order->need));
    order->need[order->begin[task + 1]++] = (uint32_t)other;
    for (size_t w = 0; w < order->words; w++) before[w] |= order->before[other * order->words + w];
    before[other / 64] |= bit;
  }
  return PARE_OK;
}

static pare_status find_needs(pare__order *order, const pare__footprint *task) {
  uses u;
  uint64_t *met = malloc((order->words + 1) * sizeof *met);
  pare_status status = uses_open(task, order->ntasks, &u);
  if (status == PARE_OK && !met) status = pare__fail_memory("the order of tasks", order->words * sizeof *met);
  for (size_t i = 0; i < order->ntasks && status == PARE_OK; i++) {
    memset(met, 0, (order->words + 1) * sizeof *met);
    find_met(&u, i, task[i].count, met);
    order->begin[i + 1] = order->begin[i];
    status = add_needs(order, i, met);
  }
  free(met);
  uses_close(&u);
  return status;
}

pare_status pare__order_open(const pare__footprint *task, size_t ntasks, pare__order **out) {
  pare__order *order = *out = calloc(1, sizeof *order);
  if (!order) return pare__fail_memory("the order of tasks", sizeof *order);
  order->ntasks = ntasks;
  order->words = (ntasks + 63) / 64;
  order->begin = calloc(ntasks + 1, sizeof *order->begin);
  order->before = calloc(ntasks + 1, order->words * sizeof *order->before + 1);
  const pare_status status =
      order->begin && order->before ? find_needs(order, task) : pare__fail_memory("the order of tasks", ntasks);
  if (status == PARE_OK) return PARE_OK;
  pare__order_close(order);
  *out = NULL;
  return status;
}

void pare__order_close(pare__order *order) {
  if (!order) return;
  free(order->begin);
  free(order->need);
  free(order->before);
  free(order);
}

bool pare__order_before(const pare__order *order, size_t earlier, size_t task) {
  return order->before[task * order->words + earlier / 64] >> earlier % 64 & 1;
}

static void footprint_of(const pare__task *task, pare__footprint *out) {
  out->count = 0;
  for (unsigned i = 0; i < task->naccesses; i++) {
    const pare_tensor *tensor = task->access[i].tensor;
    if (!tensor) continue;
    const pare__range range = pare__shape_range(&tensor->shape, tensor->offset, pare_dtype_bytes(tensor->dtype));
    out->range[out->count++] =
        (pare__touched){tensor->storage, (int64_t)range.low, (int64_t)range.high, task->access[i].mode != PARE__READ};
  }
}

pare_status pare__recording_order(const pare__recording *recording, pare__order **out) {
  const size_t ntasks = pare__recording_tasks(recording);
  pare__footprint *task = calloc(ntasks + 1, sizeof *task);
  *out = NULL;
  if (!task) return pare__fail_memory("the order of tasks", ntasks * sizeof *task);
  for (size_t i = 0; i < ntasks; i++) footprint_of(pare__recording_task(recording, i), &task[i]);
  const pare_status status = pare__order_open(task, ntasks, out);
  free(task);
  return status;
}
