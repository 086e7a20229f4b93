/* Where values that live one after the other share memory. SPDX-License-Identifier: Apache-2.0
 *
 * The largest first, each at the lowest place of the first arena where it meets none that lives at the same time: the
 * greedy-by-size rule of Pisarchyk & Lee, "Efficient memory management for deep neural net inference" (2020). */
#include <stdlib.h>
#include <string.h>

#include "graph/run.h"

#define ALIGNMENT 256 /* every device's vectors and lines */

typedef struct placed {
  size_t offset, end; /* in the arena */
  const pare__life *life;
} placed;

typedef struct packing {
  pare__life **order; /* by size */
  placed *meets;      /* room for all: those that the current one meets in time, by offset */
  size_t largest;
  size_t words; /* of a life's bits; 0: there are none */
  size_t narenas, *sizes;
} packing;

static int by_size(const void *a, const void *b) {
  const pare__life *x = *(pare__life *const *)a, *y = *(pare__life *const *)b;
  if (x->nbytes != y->nbytes) return x->nbytes < y->nbytes ? 1 : -1;
  return x < y ? -1 : x > y;
}

static int by_offset(const void *a, const void *b) {
  const placed *x = a, *y = b;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static size_t rounded(size_t nbytes) { return (PARE__MAX(nbytes, (size_t)1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static bool ends_before(const pare__life *life, const pare__life *other, size_t words) {
  if (life->last >= other->first) return false;
  for (size_t w = 0; w < words; w++)
    if (life->used_by[w] & ~other->begins_after[w]) return false;
  return true;
}

static bool live_together(const pare__life *a, const pare__life *b, size_t words) {
  return !ends_before(a, b, words) && !ends_before(b, a, words);
}

/* The lowest offset in an arena for order[index], whose predecessors are placed. */
static size_t lowest_offset(packing *work, size_t index, size_t arena) {
  const pare__life *life = work->order[index];
  size_t nmeets = 0;
  for (size_t i = 0; i < index; i++) {
    const pare__life *other = work->order[i];
    if (other->arena == arena && live_together(life, other, work->words))
      work->meets[nmeets++] = (placed){other->offset, other->offset + rounded(other->nbytes), other};
  }
  qsort(work->meets, nmeets, sizeof *work->meets, by_offset);
  size_t offset = 0;
  for (size_t i = 0; i < nmeets; i++) {
    if (offset + rounded(life->nbytes) <= work->meets[i].offset) break;
    offset = PARE__MAX(offset, work->meets[i].end);
  }
  return offset;
}

static pare_status place(packing *work, size_t index) {
  pare__life *life = work->order[index];
  const size_t nbytes = rounded(life->nbytes);
  if (nbytes > work->largest)
    return pare__fail(PARE_ERR_LIMIT, "a value of %zu bytes is larger than the device's largest buffer, %zu bytes",
                      life->nbytes, work->largest);
  for (size_t arena = 0;; arena++) {
    if (arena == work->narenas) {
      size_t *more = realloc(work->sizes, (work->narenas + 1) * sizeof *more);
      if (!more) return pare__fail_memory("a memory plan", (work->narenas + 1) * sizeof *more);
      work->sizes = more;
      work->sizes[work->narenas++] = 0;
    }
    const size_t offset = lowest_offset(work, index, arena);
    if (offset + nbytes > work->largest) continue;
    life->arena = arena;
    life->offset = offset;
    work->sizes[arena] = PARE__MAX(work->sizes[arena], offset + nbytes);
    return PARE_OK;
  }
}

pare_status pare__memory_plan(pare__life *life, size_t count, size_t largest, const pare__order *order, size_t **sizes,
                              size_t *narenas) {
  packing work = {.order = malloc((count + 1) * sizeof *work.order),
                  .meets = malloc((count + 1) * sizeof *work.meets),
                  .largest = largest / ALIGNMENT * ALIGNMENT,
                  .words = order ? order->words : 0};
  pare_status status = PARE_OK;
  if (!work.order || !work.meets) status = pare__fail_memory("a memory plan", count * sizeof *work.meets);
  if (status == PARE_OK) {
    size_t owners = 0;
    for (size_t i = 0; i < count; i++)
      if (life[i].lies_on == 0) work.order[owners++] = &life[i];
    qsort(work.order, owners, sizeof *work.order, by_size);
    for (size_t i = 0; i < owners && status == PARE_OK; i++) status = place(&work, i);
  }
  for (size_t i = 0; i < count && status == PARE_OK; i++) {
    if (life[i].lies_on == 0) continue;
    life[i].arena = life[life[i].lies_on - 1].arena;
    life[i].offset = life[life[i].lies_on - 1].offset;
  }
  free(work.order);
  free(work.meets);
  if (status != PARE_OK) {
    free(work.sizes);
    work.sizes = NULL;
    work.narenas = 0;
  }
  *sizes = work.sizes;
  *narenas = work.narenas;
  return status;
}
