/* A piece of a task on one of several devices: bound, run, and written back. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "sched/multi.h"

/* A slice of its own, compact: of what is read and written, and of what is too large for the device as a whole. */
typedef struct stage {
  pare__buffer *buffer;
  void *host;
  size_t nbytes;
  pare__shape shape; /* in the home */
  int64_t start;
  bool shared; /* the buffer lies over `host` */
} stage;

struct pare__part {
  pare__work *work; /* held */
  size_t member;
  int64_t begin, end;
  cl_event marker;        /* behind its work */
  pare__transfers copies; /* what comes before it, and goes back behind it */
  bool finished;
  pare_status status;
  unsigned pinned; /* bit i: access i */
  stage stage[PARE__MAX_ACCESSES];
  pare__binding binding[PARE__MAX_ACCESSES];
  pare__part *next;   /* of the work */
  pare__part *flying; /* of the member */
};

static pare_context *context_of(const pare__part *part) {
  return pare__context_member(part->work->multi->context, part->member);
}
static pare__device *device_of(const pare__part *part) { return pare__context_device(context_of(part)); }

static bool is_written(const pare__work_access *access) { return access->mode != PARE__READ; }
static bool is_read(const pare__work_access *access) { return access->mode != PARE__WRITE; }

static void slice_of(const pare__work_access *access, int64_t begin, int64_t end, pare__shape *shape, int64_t *start) {
  *shape = access->shape;
  *start = access->start + pare__slice(shape, access->axis, access->per_step, begin, end);
}

/* ---- binding ---- */

static pare_status stage_in(pare__part *part, unsigned i) {
  const pare__work_access *access = &part->work->access[i];
  const size_t element = pare_dtype_bytes(access->dtype);
  stage *at = &part->stage[i];
  slice_of(access, part->begin, part->end, &at->shape, &at->start);
  at->nbytes = (size_t)pare__shape_elements(&at->shape) * element;
  at->shared = pare__memory_shared(part->work->multi->context, part->member);
  if (posix_memalign(&at->host, 64, PARE__MAX(at->nbytes, (size_t)64)) != 0) {
    at->host = NULL;
    return pare__fail_memory("staging", at->nbytes);
  }
  pare_context *whole = part->work->multi->context;
  pare_status status;
  do
    status = at->shared ? pare__buffer_wrap(device_of(part), at->host, at->nbytes, "staging", &at->buffer)
                        : pare__buffer_create(device_of(part), at->nbytes, "staging", &at->buffer);
  while (status == PARE_ERR_LIMIT && pare__memory_evict(whole, part->member));
  PARE__TRY(status);
  if (is_read(access) && at->nbytes > 0) {
    pare__host_gather(&at->shape, at->start, element, access->memory->home, at->host);
    if (!at->shared) PARE__TRY(pare__buffer_send(at->buffer, 0, at->nbytes, at->host, &part->copies));
  }
  part->binding[i].mem = pare__buffer_mem(at->buffer);
  pare__shape_set(&part->binding[i].shape, at->shape.rank, at->shape.dim);
  return PARE_OK;
}

static bool is_staged(const pare__part *part, const pare__work_access *access) {
  /* who is given up and comes back would write over what lies there by then */
  if (is_written(access) && pare__crew_gives_up(part->work->multi->crew)) return true;
  if (access->rewritten || access->memory->nbytes > pare__device_info(device_of(part))->max_buffer_bytes) return true;
  /* what lies between its elements belongs to others */
  return is_written(access) && !pare__memory_shared(part->work->multi->context, part->member) &&
         !pare__shape_dense(&part->binding[access - part->work->access].shape);
}

static pare_status bind(pare__part *part, unsigned i) {
  const pare__work_access *access = &part->work->access[i];
  pare__binding *binding = &part->binding[i];
  memset(binding, 0, sizeof *binding);
  if (!access->memory) return PARE_OK;
  binding->dtype = access->dtype;
  slice_of(access, part->begin, part->end, &binding->shape, &binding->offset);
  pare__buffer *buffer = NULL;
  pare_status status = PARE_ERR_LIMIT;
  if (!is_staged(part, access)) status = pare__memory_pin(access->memory, part->member, &buffer);
  if (status == PARE_ERR_LIMIT) {
    binding->offset = 0;
    return stage_in(part, i);
  }
  PARE__TRY(status);
  part->pinned |= 1U << i;
  binding->mem = pare__buffer_mem(buffer);
  if (!is_read(access) || pare__memory_shared(part->work->multi->context, part->member)) return PARE_OK;
  return pare__memory_fetch(access->memory, part->member,
                            pare__shape_range(&binding->shape, binding->offset, pare_dtype_bytes(access->dtype)),
                            &part->copies);
}

/* ---- enqueueing ---- */

/* What it wrote on a device that has memory of its own comes back behind the work. */
static pare_status enqueue_back(pare__part *part, unsigned i) {
  const pare__work_access *access = &part->work->access[i];
  stage *at = &part->stage[i];
  if (at->buffer && at->shared) return PARE_OK;
  if (at->buffer) return pare__buffer_bring(at->buffer, 0, at->nbytes, at->host, part->marker, &part->copies);
  if (pare__memory_shared(part->work->multi->context, part->member)) return PARE_OK;
  const pare__binding *binding = &part->binding[i];
  const pare__range range = pare__shape_range(&binding->shape, binding->offset, pare_dtype_bytes(access->dtype));
  return pare__buffer_bring(access->memory->copy[part->member].buffer, range.low, range.high - range.low,
                            access->memory->home + range.low, part->marker, &part->copies);
}

static pare_status enqueue(pare__part *part) {
  pare__work *work = part->work;
  pare__device *device = device_of(part);
  for (unsigned i = 0; i < work->naccesses; i++) PARE__TRY(bind(part, i));
  const pare__piece piece = {context_of(part), device, part->begin, part->end, work->n, work->params, part->binding};
  PARE__TRY(pare__transfers_before(device, &part->copies));
  pare__events_keep(device);
  const pare_status status = work->codelet->run(&piece);
  if (status != PARE_OK) (void)pare__events_last(device, NULL);
  PARE__TRY(status);
  PARE__TRY(pare__events_last(device, &part->marker));
  PARE__TRY(pare__device_flush(device));
  for (unsigned i = 0; i < work->naccesses; i++)
    if (work->access[i].memory && is_written(&work->access[i])) PARE__TRY(enqueue_back(part, i));
  return pare__transfers_flush(device);
}

/* ---- settling ---- */

/* The home has what was computed in it, or copied to it. */
static void note_written(const pare__part *part, unsigned i) {
  const pare__work_access *access = &part->work->access[i];
  const pare__binding *binding = &part->binding[i];
  const bool shared = pare__memory_shared(part->work->multi->context, part->member);
  pare__memory_written(access->memory, shared ? PARE__NO_MEMBER : part->member,
                       pare__shape_range(&binding->shape, binding->offset, pare_dtype_bytes(access->dtype)));
}

static pare_status wait_for(pare__part *part) {
  const cl_int code = clWaitForEvents(1, &part->marker);
  if (code == CL_SUCCESS && pare__transfers_wait(device_of(part), &part->copies) == PARE_OK) return PARE_OK;
  if (code != CL_SUCCESS)
    (void)pare__fail_cl(code, "clWaitForEvents(%s) on %s", part->work->name, pare__device_info(device_of(part))->name);
  char *message = pare__strdup(pare_message());
  /* what else it was given shall not write when others have done it */
  (void)pare__device_finish(device_of(part));
  /* whatever it was: the device did not do its work */
  const pare_status status = pare__fail_text(PARE_ERR_DEVICE, message ? message : "a device failed");
  free(message);
  return status;
}

static void release_device(pare__part *part) {
  for (unsigned i = 0; i < part->work->naccesses; i++) {
    if (part->pinned >> i & 1U) pare__memory_unpin(part->work->access[i].memory, part->member);
    pare__buffer_release(part->stage[i].buffer);
    part->stage[i].buffer = NULL;
  }
  part->pinned = 0;
  if (part->marker) clReleaseEvent(part->marker);
  part->marker = NULL;
  pare__transfers_release(&part->copies);
}

static void check_flags(const pare__part *part) {
  const pare_status status = pare__context_flags_check(context_of(part));
  if (status == PARE_ERR_ARGUMENT) pare__context_raise_flag(part->work->multi->context, status);
}

/* Waits; afterwards the part holds nothing of the device, and what was staged is still to be put back. */
static pare_status finish(pare__part *part) {
  if (part->finished) return part->status;
  const pare__work *work = part->work;
  part->status = wait_for(part);
  for (unsigned i = 0; i < work->naccesses && part->status == PARE_OK; i++)
    if (work->access[i].memory && is_written(&work->access[i]) && !part->stage[i].host) note_written(part, i);
  if (work->flags && part->status == PARE_OK) check_flags(part);
  release_device(part);
  part->finished = true;
  return part->status;
}

/* What was staged goes to its home: once, and by a member that nobody has given up. */
static void put_back(const pare__part *part) {
  const pare__work *work = part->work;
  const double from = pare__crew_now();
  size_t nbytes = 0;
  for (unsigned i = 0; i < work->naccesses; i++) {
    const pare__work_access *access = &work->access[i];
    const stage *at = &part->stage[i];
    const size_t element = pare_dtype_bytes(access->dtype);
    if (!at->host || !is_written(access)) continue;
    if (at->nbytes > 0) pare__host_scatter(&at->shape, at->start, element, at->host, access->memory->home);
    pare__memory_written(access->memory, PARE__NO_MEMBER, pare__shape_range(&at->shape, at->start, element));
    nbytes += at->nbytes;
  }
  if (nbytes > 0)
    pare__crew_copied(work->multi->crew, part->member, PARE__COPIED_AT_HOST, nbytes, from, pare__crew_now());
}

/* Within a call of the crew's for this piece. */
static void tell_copies(const pare__part *part) {
  for (size_t i = 0; i < part->copies.count; i++) {
    const pare__transfer *at = &part->copies.item[i];
    pare__crew_copied(part->work->multi->crew, part->member,
                      at->way == PARE__TO_DEVICE ? PARE__COPIED_IN : PARE__COPIED_BACK, at->nbytes, at->from,
                      at->until);
  }
}

/* All that the member has in flight, so that nothing is pinned there any more. */
static void finish_flying(pare__multi *multi, size_t member) {
  for (pare__part *part = multi->flying[member]; part; part = part->flying) (void)finish(part);
}

static void part_close(pare__part *part) {
  pare__work *work = part->work;
  release_device(part);
  pare__transfers_close(&part->copies);
  for (unsigned i = 0; i < work->naccesses; i++) free(part->stage[i].host);
  free(part);
  pare__work_release(work);
}

/* ---- the crew's functions ---- */

static pare_status part_open(pare__work *work, size_t member, int64_t begin, int64_t end, pare__part **out) {
  pare__part *part = *out = calloc(1, sizeof *part);
  if (!part) return pare__fail_memory("a piece", sizeof *part);
  part->work = work;
  part->member = member;
  part->begin = begin;
  part->end = end;
  atomic_fetch_add(&work->references, 1);
  pare_status status = enqueue(part);
  if (status == PARE_OK) return PARE_OK;
  /* what was enqueued may still use what is given back here */
  char *message = pare__strdup(pare_message());
  if (pare__device_finish(device_of(part)) != PARE_OK ||
      pare__transfers_wait(device_of(part), &part->copies) != PARE_OK)
    status = PARE_ERR_DEVICE;
  part_close(part);
  *out = NULL;
  status = pare__fail_text(status, message ? message : pare_status_meaning(status));
  free(message);
  return status;
}

static void part_fly(pare__part *part) {
  pare__work *work = part->work;
  pare__part **last = &work->multi->flying[part->member];
  while (*last) last = &(*last)->flying;
  *last = part;
  pthread_mutex_lock(&work->lock);
  part->next = work->parts;
  work->parts = part;
  pthread_mutex_unlock(&work->lock);
}

static bool rewrites(const pare__work *work) {
  for (unsigned i = 0; i < work->naccesses; i++)
    if (work->access[i].rewritten) return true;
  return false;
}

static void put_back_all(pare__part *parts, size_t member) {
  pare__crew *crew = parts ? parts->work->multi->crew : NULL;
  if (!parts || !pare__crew_claim(crew, member)) return;
  for (const pare__part *part = parts; part; part = part->next) put_back(part);
  pare__crew_unclaim(crew, member);
}

static void parts_close(pare__part *parts) {
  while (parts) {
    pare__part *next = parts->next;
    part_close(parts);
    parts = next;
  }
}

/* Too much for the device at once: in smaller pieces, each waited for. Nothing is written over what it was computed
 * from before all have run, since all of them run again elsewhere if the device fails. */
static pare_status run_in_turn(pare__work *work, size_t member, int64_t begin, int64_t end) {
  const int64_t grain = PARE__MAX(work->grain, 1);
  int64_t length = pare__round_up(pare__div_up(end - begin, 2), grain);
  pare__part *parts = NULL;
  pare_status status = PARE_OK;
  while (begin < end && status == PARE_OK) {
    const int64_t until = PARE__MIN(begin + length, end);
    pare__part *part;
    status = part_open(work, member, begin, until, &part);
    if (status == PARE_ERR_LIMIT && length > grain) {
      length = pare__round_up(pare__div_up(length, 2), grain);
      status = PARE_OK;
      continue;
    }
    if (!part) break;
    status = finish(part);
    if (status == PARE_OK) tell_copies(part);
    part->next = parts;
    parts = part;
    begin = until;
    if (status != PARE_OK || (rewrites(work) && begin < end)) continue;
    put_back_all(parts, member);
    parts_close(parts);
    parts = NULL;
  }
  parts_close(parts);
  return status;
}

static pare_status inputs_status(const pare__work *work) {
  for (unsigned i = 0; i < work->naccesses; i++)
    if (work->access[i].memory && is_read(&work->access[i]))
      PARE__TRY(pare__memory_poisoned(work->access[i].memory, work->access[i].range));
  return PARE_OK;
}

/* What may be the device's fault is the crew's to mend; all else is told by what could not be written, unless others do
 * it now. */
static pare_status tell(pare__work *work, size_t member, pare_status status) {
  if (status == PARE_OK || pare__of_device(status)) return status;
  if (pare__crew_claim(work->multi->crew, member)) pare__work_fail(work, status, false);
  return PARE_OK;
}

static bool has_failed(pare__work *work) {
  pthread_mutex_lock(&work->lock);
  const bool failed = work->failed != PARE_OK;
  pthread_mutex_unlock(&work->lock);
  return failed;
}

static pare_status run_piece(pare__work *work, size_t member, int64_t begin, int64_t end) {
  if (has_failed(work)) return PARE_OK;
  pare_status status = inputs_status(work);
  if (status != PARE_OK) {
    pare__work_fail(work, status, true);
    return PARE_OK;
  }
  pare__part *part;
  const double from = pare__seconds();
  status = part_open(work, member, begin, end, &part);
  if (status == PARE_ERR_LIMIT && work->multi->flying[member]) {
    finish_flying(work->multi, member);
    status = part_open(work, member, begin, end, &part);
  }
  const bool done =
      part && pare__event_done(part->marker, pare__seconds() - from) && !pare__transfers_pending(&part->copies);
  if (part && pare__crew_claim(work->multi->crew, member)) {
    part_fly(part);
    if (done) pare__crew_finished(work->multi->crew, member);
  } else if (part) { /* it came back too late */
    (void)finish(part);
    part_close(part);
  } else if (status == PARE_ERR_LIMIT && end - begin > PARE__MAX(work->grain, 1)) {
    status = run_in_turn(work, member, begin, end);
  }
  return tell(work, member, status);
}

pare_status pare__work_run(void *argument, size_t member, int64_t begin, int64_t end) {
  pare__work *work = argument;
  atomic_fetch_add(&work->references, 1); /* a call that hangs may come back when the work is done */
  const pare_status status = run_piece(work, member, begin, end);
  pare__work_release(work);
  return status;
}

/* Takes the piece from the work's list; NULL if it was done at once, or not at all. */
static pare__part *part_take(pare__work *work, size_t member, int64_t begin) {
  pthread_mutex_lock(&work->lock);
  pare__part **link = &work->parts;
  while (*link && ((*link)->member != member || (*link)->begin != begin)) link = &(*link)->next;
  pare__part *part = *link;
  if (part) *link = part->next;
  pthread_mutex_unlock(&work->lock);
  return part;
}

static pare__part *part_find(pare__work *work, size_t member, int64_t begin) {
  pthread_mutex_lock(&work->lock);
  pare__part *part = work->parts;
  while (part && (part->member != member || part->begin != begin)) part = part->next;
  pthread_mutex_unlock(&work->lock);
  return part;
}

static void part_land(pare__part *part) {
  pare__part **link = &part->work->multi->flying[part->member];
  while (*link && *link != part) link = &(*link)->flying;
  if (*link) *link = part->flying;
}

pare_status pare__work_settle(void *argument, size_t member, int64_t begin, int64_t end) {
  pare__work *work = argument;
  atomic_fetch_add(&work->references, 1);
  pare__part *part = part_find(work, member, begin);
  pare_status status = part ? finish(part) : PARE_OK;
  const bool mine = pare__crew_claim(work->multi->crew, member);
  if (part && mine) {
    if (status == PARE_OK) {
      tell_copies(part);
      put_back(part);
    }
    part_land(part);
    if (part_take(work, member, begin)) part_close(part);
  }
  status = tell(work, member, status);
  if (status == PARE_OK && mine) pare__work_count(work, end - begin);
  pare__work_release(work);
  return status;
}

/* ---- those that are left behind ---- */

void pare__work_abandon(pare__work *work) {
  pare__multi *multi = work->multi;
  pthread_mutex_lock(&work->lock);
  pare__part *parts = work->parts;
  work->parts = NULL;
  pthread_mutex_unlock(&work->lock);
  pthread_mutex_lock(&multi->lock);
  while (parts) {
    pare__part *part = parts;
    parts = part->next;
    part->next = multi->orphans;
    multi->orphans = part;
  }
  pthread_mutex_unlock(&multi->lock);
}

/* Its device hangs and may write yet, or its thread may come back: what they can touch is never given back. */
static bool may_wake(const pare__part *part) {
  cl_int state = CL_COMPLETE;
  if (pare__crew_hangs(part->work->multi->crew, part->member)) return true;
  if (part->finished) return false;
  (void)clGetEventInfo(part->marker, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
  return state > CL_COMPLETE || pare__transfers_pending(&part->copies);
}

void pare__orphans_close(pare__multi *multi) {
  pare__part **link = &multi->orphans;
  while (*link) {
    pare__part *part = *link;
    if (may_wake(part)) {
      link = &part->next;
    } else {
      *link = part->next;
      part_close(part);
    }
  }
}
