/* Homes in host memory and copies on devices. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tensor/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES ((size_t)4096)
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/* ---- ranges ---- */

pare_status pare__ranges_add(pare__ranges *ranges, pare__range added) {
  if (added.low >= added.high) return PARE_OK;
  size_t first = 0;
  while (first < ranges->count && ranges->range[first].high < added.low) first++;
  size_t last = first;
  for (; last < ranges->count && ranges->range[last].low <= added.high; last++) {
    added.low = PARE__MIN(added.low, ranges->range[last].low);
    added.high = PARE__MAX(added.high, ranges->range[last].high);
  }
  if (first == last)
    PARE__TRY(pare__array_grow((void **)&ranges->range, &ranges->capacity, ranges->count, sizeof added));
  memmove(ranges->range + first + 1, ranges->range + last, (ranges->count - last) * sizeof added);
  ranges->range[first] = added;
  ranges->count += 1 + first - last;
  return PARE_OK;
}

void pare__ranges_subtract(pare__ranges *ranges, pare__range gone) {
  for (size_t i = 0; i < ranges->count; i++) {
    pare__range *at = &ranges->range[i];
    if (!pare__range_meets(*at, gone)) continue;
    const pare__range behind = {gone.high, at->high};
    at->high = PARE__MAX(at->low, gone.low);
    if (behind.low < behind.high) (void)pare__ranges_add(ranges, behind);
  }
  size_t kept = 0;
  for (size_t i = 0; i < ranges->count; i++)
    if (ranges->range[i].low < ranges->range[i].high) ranges->range[kept++] = ranges->range[i];
  ranges->count = kept;
}

bool pare__ranges_missing(const pare__ranges *ranges, pare__range wanted, pare__range *out) {
  for (size_t i = 0; i < ranges->count && wanted.low < wanted.high; i++) {
    const pare__range at = ranges->range[i];
    if (at.high <= wanted.low) continue;
    if (at.low > wanted.low) {
      wanted.high = PARE__MIN(wanted.high, at.low);
      break;
    }
    wanted.low = at.high;
  }
  *out = wanted;
  return wanted.low < wanted.high;
}

/* ---- the home ---- */

static pare_status home_create(pare__memory *memory, const char *what) {
  const bool huge = memory->nbytes >= 4 * HUGE_PAGE_BYTES;
  void *home = NULL;
  if (posix_memalign(&home, huge ? HUGE_PAGE_BYTES : PAGE_BYTES, PARE__MAX(memory->nbytes, (size_t)1)) != 0)
    return pare__fail_memory(what, memory->nbytes);
#ifdef MADV_HUGEPAGE
  if (huge) (void)madvise(home, memory->nbytes, MADV_HUGEPAGE); /* advice: without it, plain pages */
#endif
  memory->home = home;
  memory->owned = true;
  return PARE_OK;
}

pare_status pare__memory_create(pare_context *context, size_t nbytes, void *wrap, const char *what,
                                pare__memory **out) {
  *out = NULL;
  const size_t size = sizeof **out + pare__context_members(context) * sizeof(pare__memory_copy);
  pare__memory *memory = calloc(1, size);
  if (!memory) return pare__fail_memory(what, size);
  atomic_init(&memory->references, 1);
  memory->nbytes = nbytes;
  memory->home = wrap;
  if (!wrap) {
    const pare_status status = home_create(memory, what);
    if (status != PARE_OK) {
      free(memory);
      return status;
    }
  }
  memory->context = context;
  pare__context_retain(context);
  pare__residency *residency = pare__context_residency(context);
  pthread_mutex_lock(&residency->lock);
  memory->next = residency->memories;
  if (memory->next) memory->next->previous = memory;
  residency->memories = memory;
  pthread_mutex_unlock(&residency->lock);
  *out = memory;
  return PARE_OK;
}

void pare__memory_retain(pare__memory *memory) {
  atomic_fetch_add_explicit(&memory->references, 1, memory_order_relaxed);
}

void pare__memory_release(pare__memory *memory) {
  if (!memory || atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) != 1) return;
  pare_context *context = memory->context;
  pare__residency *residency = pare__context_residency(context);
  const bool forked = pare__forked(); /* then a thread that is not here may hold the lock, and nobody evicts */
  if (!forked) {
    pthread_mutex_lock(&residency->lock);
    if (memory->previous) memory->previous->next = memory->next;
    if (memory->next) memory->next->previous = memory->previous;
    if (residency->memories == memory) residency->memories = memory->next;
  }
  for (size_t m = 0; m < pare__context_members(context); m++) {
    pare__buffer_release(memory->copy[m].buffer);
    free(memory->copy[m].valid.range);
  }
  if (!forked) pthread_mutex_unlock(&residency->lock);
  for (size_t i = 0; i < memory->npoisons; i++) free(memory->poison[i].message);
  free(memory->poison);
  free(memory->use);
  if (memory->owned) free(memory->home);
  free(memory);
  pare__context_release(context);
}

/* ---- copies ---- */

static pare__device *device_of(pare_context *context, size_t member) {
  return pare__context_device(pare__context_member(context, member));
}

bool pare__memory_shared(pare_context *context, size_t member) {
  return !atomic_load_explicit(&pare__context_residency(context)->apart, memory_order_relaxed) &&
         pare__device_in_place(device_of(context, member));
}

bool pare__memory_evict(pare_context *context, size_t member) {
  pare__residency *residency = pare__context_residency(context);
  pare__memory_copy *oldest = NULL;
  pare__buffer *gone = NULL;
  pthread_mutex_lock(&residency->lock);
  for (pare__memory *memory = residency->memories; memory; memory = memory->next) {
    pare__memory_copy *copy = &memory->copy[member];
    if (copy->buffer && copy->pins == 0 && (!oldest || copy->used < oldest->used)) oldest = copy;
  }
  if (oldest) {
    gone = oldest->buffer;
    oldest->buffer = NULL;
    oldest->valid.count = 0;
  }
  pthread_mutex_unlock(&residency->lock);
  pare__buffer_release(gone);
  return gone != NULL;
}

static pare_status copy_create(pare__memory *memory, size_t member, pare__buffer **out) {
  pare__device *device = device_of(memory->context, member);
  if (pare__memory_shared(memory->context, member) && memory->nbytes > 0)
    return pare__buffer_wrap(device, memory->home, memory->nbytes, "a tensor", out);
  return pare__buffer_create(device, memory->nbytes, "a copy of a tensor", out);
}

pare_status pare__memory_pin(pare__memory *memory, size_t member, pare__buffer **out) {
  pare__residency *residency = pare__context_residency(memory->context);
  pare__memory_copy *copy = &memory->copy[member];
  pthread_mutex_lock(&residency->lock);
  pare__buffer *buffer = copy->buffer;
  copy->pins++; /* before the lock is given up: nobody may take it for old */
  copy->used = ++residency->count;
  pthread_mutex_unlock(&residency->lock);
  pare_status status = PARE_OK;
  if (!buffer) {
    do status = copy_create(memory, member, &buffer);
    while (status == PARE_ERR_LIMIT && pare__memory_evict(memory->context, member));
    pthread_mutex_lock(&residency->lock);
    copy->buffer = buffer;
    if (status != PARE_OK) copy->pins--;
    pthread_mutex_unlock(&residency->lock);
  }
  *out = buffer;
  return status;
}

void pare__memory_unpin(pare__memory *memory, size_t member) {
  pare__residency *residency = pare__context_residency(memory->context);
  pthread_mutex_lock(&residency->lock);
  memory->copy[member].pins--;
  pthread_mutex_unlock(&residency->lock);
}

pare_status pare__memory_fetch(pare__memory *memory, size_t member, pare__range range, pare__transfers *list) {
  pare__residency *residency = pare__context_residency(memory->context);
  pare__memory_copy *copy = &memory->copy[member];
  for (;;) {
    pare__range missing;
    pthread_mutex_lock(&residency->lock);
    const bool any = pare__ranges_missing(&copy->valid, range, &missing);
    /* Said before it is done: all work that this thread enqueues there from now on waits for it. Nothing that is under
     * way touches these bytes: who reads or writes them comes before whoever made them wrong here. */
    const pare_status status = any ? pare__ranges_add(&copy->valid, missing) : PARE_OK;
    pthread_mutex_unlock(&residency->lock);
    PARE__TRY(status);
    if (!any) return PARE_OK;
    const pare_status copied =
        pare__buffer_send(copy->buffer, missing.low, missing.high - missing.low, memory->home + missing.low, list);
    if (copied == PARE_OK) continue;
    pthread_mutex_lock(&residency->lock);
    pare__ranges_subtract(&copy->valid, missing);
    pthread_mutex_unlock(&residency->lock);
    return copied;
  }
}

void pare__memory_written(pare__memory *memory, size_t member, pare__range range) {
  pare__residency *residency = pare__context_residency(memory->context);
  pthread_mutex_lock(&residency->lock);
  for (size_t m = 0; m < pare__context_members(memory->context); m++)
    if (m != member)
      pare__ranges_subtract(&memory->copy[m].valid, range);
    else
      (void)pare__ranges_add(&memory->copy[m].valid, range); /* if that is not known, it is copied again */
  pthread_mutex_unlock(&residency->lock);
}

size_t pare__memory_there(pare__memory *memory, size_t member, pare__range range) {
  pare__residency *residency = pare__context_residency(memory->context);
  size_t nbytes = 0;
  pthread_mutex_lock(&residency->lock);
  const pare__ranges *valid = &memory->copy[member].valid;
  for (size_t i = 0; i < valid->count; i++)
    if (pare__range_meets(valid->range[i], range))
      nbytes += PARE__MIN(valid->range[i].high, range.high) - PARE__MAX(valid->range[i].low, range.low);
  pthread_mutex_unlock(&residency->lock);
  return nbytes;
}

/* ---- poison ---- */

void pare__memory_poison(pare__memory *memory, pare__range range, pare_status status) {
  pare__residency *residency = pare__context_residency(memory->context);
  pthread_mutex_lock(&residency->lock);
  if (pare__array_grow((void **)&memory->poison, &memory->poison_capacity, memory->npoisons, sizeof(pare__poison)) ==
      PARE_OK)
    memory->poison[memory->npoisons++] = (pare__poison){range, status, pare__strdup(pare_message())};
  pthread_mutex_unlock(&residency->lock);
}

pare_status pare__memory_poisoned(pare__memory *memory, pare__range range) {
  pare__residency *residency = pare__context_residency(memory->context);
  pare_status status = PARE_OK;
  pthread_mutex_lock(&residency->lock);
  for (size_t i = 0; i < memory->npoisons && status == PARE_OK; i++) {
    const pare__poison *poison = &memory->poison[i];
    if (!pare__range_meets(poison->range, range)) continue;
    status = pare__fail_text(poison->status, poison->message ? poison->message : pare_status_meaning(poison->status));
  }
  pthread_mutex_unlock(&residency->lock);
  return status;
}

void pare__memory_heal(pare__memory *memory, pare__range range) {
  pare__residency *residency = pare__context_residency(memory->context);
  size_t kept = 0;
  pthread_mutex_lock(&residency->lock);
  for (size_t i = 0; i < memory->npoisons; i++) {
    pare__poison poison = memory->poison[i];
    const bool from_low = range.low <= poison.range.low, to_high = poison.range.high <= range.high;
    if (pare__range_meets(poison.range, range)) {
      if (from_low && to_high) {
        free(poison.message);
        continue;
      }
      /* healed in the middle only: what is left must be written as a whole */
      if (from_low) poison.range.low = range.high;
      if (to_high) poison.range.high = range.low;
    }
    memory->poison[kept++] = poison;
  }
  memory->npoisons = kept;
  pthread_mutex_unlock(&residency->lock);
}

/* ---- as tensors have it ---- */

pare__range pare__shape_range(const pare__shape *shape, int64_t start, size_t element_bytes) {
  int64_t low = start, high = start + 1;
  for (int i = 0; i < shape->rank; i++) {
    if (shape->dim[i] == 0) return (pare__range){(size_t)start * element_bytes, (size_t)start * element_bytes};
    const int64_t reach = (shape->dim[i] - 1) * shape->stride[i];
    low += PARE__MIN(reach, 0);
    high += PARE__MAX(reach, 0);
  }
  return (pare__range){(size_t)low * element_bytes, (size_t)high * element_bytes};
}

bool pare__shape_dense(const pare__shape *shape) {
  const pare__range range = pare__shape_range(shape, INT64_C(1) << 40, 1);
  return pare__shape_elements(shape) == (int64_t)(range.high - range.low);
}
