/* Queues of pieces: a binary heap by key, then by arrival. SPDX-License-Identifier: Apache-2.0 */
#include "sched/policy.h"

static bool before(const pare__policy_entry *a, const pare__policy_entry *b) {
  return a->key < b->key || (!(b->key < a->key) && a->order < b->order);
}

pare_status pare__policy_push(pare__policy_queue *queue, double key, uint64_t order, const pare__policy_piece *piece) {
  void *items = queue->entry;
  pare_status status = pare__array_grow(&items, &queue->capacity, queue->count, sizeof *queue->entry);
  queue->entry = items;
  if (status != PARE_OK) return status;
  const pare__policy_entry entry = {key, order, *piece};
  size_t at = queue->count++;
  while (at > 0 && before(&entry, &queue->entry[(at - 1) / 2])) {
    queue->entry[at] = queue->entry[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  queue->entry[at] = entry;
  return PARE_OK;
}

bool pare__policy_pop(pare__policy_queue *queue, pare__policy_entry *out) {
  if (queue->count == 0) return false;
  *out = queue->entry[0];
  const pare__policy_entry last = queue->entry[--queue->count];
  size_t at = 0, child;
  while ((child = 2 * at + 1) < queue->count) {
    if (child + 1 < queue->count && before(&queue->entry[child + 1], &queue->entry[child])) child++;
    if (!before(&queue->entry[child], &last)) break;
    queue->entry[at] = queue->entry[child];
    at = child;
  }
  queue->entry[at] = last;
  return true;
}
