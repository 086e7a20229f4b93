/* Queues of pieces: a sorted array, or a binary heap, by key, then by arrival. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "sched/policy.h"

static bool before(const pare__policy_entry *a, const pare__policy_entry *b) {
  return a->key < b->key || (!(b->key < a->key) && a->order < b->order);
}

static int by_order(const void *a, const void *b) { return before(a, b) ? -1 : before(b, a); }

/* Room for one more behind the last. When it is full, the room before the first is used again, if it is half of all. */
static pare_status make_room(pare__policy_queue *queue) {
  if (queue->first + queue->count < queue->capacity) return PARE_OK;
  if (queue->first > 0 && queue->first >= queue->count) {
    memcpy(queue->entry, queue->entry + queue->first, queue->count * sizeof *queue->entry);
    queue->first = 0;
    return PARE_OK;
  }
  void *items = queue->entry;
  const pare_status status =
      pare__array_grow(&items, &queue->capacity, queue->first + queue->count, sizeof *queue->entry);
  queue->entry = items;
  return status;
}

pare_status pare__policy_push(pare__policy_queue *queue, double key, uint64_t order, const pare__policy_piece *piece) {
  PARE__TRY(make_room(queue));
  const pare__policy_entry added = {key, order, *piece};
  pare__policy_entry *entry = queue->entry + queue->first;
  size_t at = queue->count++;
  /* what is in order is a heap as well */
  if (at > 0 && !queue->heap) queue->heap = before(&added, &entry[at - 1]);
  while (queue->heap && at > 0 && before(&added, &entry[(at - 1) / 2])) {
    entry[at] = entry[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  entry[at] = added;
  return PARE_OK;
}

static void pop_heap(pare__policy_queue *queue) {
  pare__policy_entry *entry = queue->entry + queue->first;
  const pare__policy_entry last = entry[queue->count];
  size_t at = 0, child;
  while ((child = 2 * at + 1) < queue->count) {
    if (child + 1 < queue->count && before(&entry[child + 1], &entry[child])) child++;
    if (!before(&entry[child], &last)) break;
    entry[at] = entry[child];
    at = child;
  }
  entry[at] = last;
}

static void note_empty(pare__policy_queue *queue) {
  if (queue->count > 0) return;
  queue->first = 0;
  queue->heap = false;
}

bool pare__policy_pop(pare__policy_queue *queue, pare__policy_entry *out) {
  if (queue->count == 0) return false;
  *out = queue->entry[queue->first];
  queue->count--;
  if (queue->heap)
    pop_heap(queue);
  else
    queue->first++;
  note_empty(queue);
  return true;
}

pare__policy_piece pare__policy_pop_last(pare__policy_queue *queue) {
  const pare__policy_piece piece = queue->entry[queue->first + --queue->count].piece;
  note_empty(queue);
  return piece;
}

size_t pare__policy_remove(pare__policy_queue *queue, uint32_t task, int64_t begin, int64_t end) {
  if (queue->count == 0) return 0;
  pare__policy_entry *entry = queue->entry + queue->first;
  const size_t count = queue->count;
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    const pare__policy_piece *piece = &entry[i].piece;
    if (piece->task != task || piece->begin < begin || piece->end > end) entry[kept++] = entry[i];
  }
  if (kept == count) return 0;
  if (queue->heap) qsort(entry, kept, sizeof *entry, by_order);
  queue->heap = false;
  queue->count = kept;
  note_empty(queue);
  return count - kept;
}

void pare__policy_queue_close(pare__policy_queue *queue) {
  free(queue->entry);
  *queue = (pare__policy_queue){0};
}
