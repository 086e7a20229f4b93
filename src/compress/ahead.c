/* Rows of weights made ahead by several devices. SPDX-License-Identifier: Apache-2.0
 *
 * A writer asks for one piece of a weight after the other. While it takes one, the devices make those that follow:
 * whole small tensors, rows of large ones. Pieces are the same as on one device, and are noted in the same order, so
 * the file is the same, byte for byte. A writer that asks for something else gets it made on the spot. A device that
 * hangs is given up, and its piece made elsewhere: should it come back, all that its call touches is still there. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/rows.h"
#include "sched/crew.h"
#include "tensor/context.h"

/* Pieces that are on their way at most: two a device, and what is being written. */
#define AHEAD_A_DEVICE 2

typedef struct piece {
  pare__ahead *ahead;
  size_t index;
  int64_t first_row, nrows;
  pare__job_id job;
  atomic_uint references; /* the ring's, and one of each run */
  bool has;               /* the rest: under the lock of `ahead` */
  bool taken;             /* what comes later comes too late */
  pare__made_rows made;
} piece;

struct pare__ahead {
  atomic_uint references; /* the writer's, and one of each piece */
  pthread_mutex_t lock;
  pare__compression *compression;
  pare__crew *crew;
  size_t npieces, first, count; /* a ring */
  pare__compression *on;        /* of each member: the same work in its context */
  piece **pieces;
  size_t next_index; /* of the piece that comes after those in the ring */
  int64_t next_row;
};

static bool is_made(const pare__compression *compression, size_t index) {
  return compression->treatments[index].storage != PARE__STORE_AS_IS;
}

static void release_ahead(pare__ahead *ahead) {
  if (atomic_fetch_sub(&ahead->references, 1) != 1) return;
  pare__compression_release(ahead->compression);
  pthread_mutex_destroy(&ahead->lock);
  free(ahead->on);
  free(ahead->pieces);
  free(ahead);
}

static void release_piece(piece *mine) {
  if (atomic_fetch_sub(&mine->references, 1) != 1) return;
  pare__result_close(&mine->made.result);
  release_ahead(mine->ahead);
  free(mine);
}

pare_status pare__ahead_open(pare_context *context, pare__compression *compression, pare__ahead **out) {
  *out = NULL;
  const size_t nmembers = pare__context_members(context);
  if (nmembers < 2 || compression->calibration) return PARE_OK;
  pare__ahead *ahead = calloc(1, sizeof *ahead);
  if (!ahead) return pare__fail_memory("work ahead", sizeof *ahead);
  pare__compression_retain(compression);
  atomic_init(&ahead->references, 1);
  pthread_mutex_init(&ahead->lock, NULL);
  ahead->compression = compression;
  ahead->npieces = AHEAD_A_DEVICE * nmembers + 1;
  ahead->on = calloc(nmembers, sizeof *ahead->on);
  ahead->pieces = calloc(ahead->npieces, sizeof(piece *));
  pare_status status =
      ahead->on && ahead->pieces ? PARE_OK : pare__fail_memory("work ahead", ahead->npieces * sizeof(piece *));
  if (status == PARE_OK) status = pare__crew_of(context, &ahead->crew);
  if (status != PARE_OK) {
    release_ahead(ahead);
    return status;
  }
  for (size_t i = 0; i < nmembers; i++) {
    ahead->on[i] = *compression;
    ahead->on[i].context = pare__context_member(context, i);
  }
  *out = ahead;
  return PARE_OK;
}

/* ---- on a device ---- */

/* Hands it over, unless it was made elsewhere meanwhile: a piece whose device was lost under it runs again. */
static void keep(piece *mine, pare__made_rows *made) {
  pthread_mutex_lock(&mine->ahead->lock);
  const bool late = mine->has || mine->taken;
  if (!late) mine->made = *made;
  mine->has = true;
  pthread_mutex_unlock(&mine->ahead->lock);
  if (late) pare__result_close(&made->result);
}

/* Waits after a failure, too: what that left on the device would else fail the member's next piece. */
static pare_status all_ended(pare_context *context, pare_status status) {
  char *why = status == PARE_OK ? NULL : pare__strdup(pare_message());
  const pare_status ended = pare_context_wait(context);
  if (status == PARE_OK) return ended;
  if (why) status = pare__fail_text(status, why);
  free(why);
  return status;
}

static pare_status make_piece(void *argument, size_t member, int64_t begin, int64_t end) {
  piece *mine = argument;
  pare__compression *on = &mine->ahead->on[member];
  pare__made_rows made;
  (void)begin;
  (void)end;
  atomic_fetch_add(&mine->references, 1);
  pare_status status = pare__make_rows(on, mine->index, mine->first_row, mine->nrows, &made);
  const bool complete = status == PARE_OK;
  status = all_ended(on->context, status);
  if (status == PARE_OK)
    keep(mine, &made);
  else if (complete)
    pare__result_close(&made.result);
  release_piece(mine);
  return status;
}

/* ---- the ring ---- */

static void step_on(pare__ahead *ahead) {
  const pare__compression *compression = ahead->compression;
  const size_t count = compression->checkpoint->nweights;
  while (ahead->next_index < count &&
         (!is_made(compression, ahead->next_index) ||
          ahead->next_row >= pare__weight_rows(&compression->checkpoint->weights[ahead->next_index]))) {
    ahead->next_index++;
    ahead->next_row = 0;
  }
}

static pare_status open_piece(pare__ahead *ahead, piece **out) {
  const int64_t most = pare__most_rows(ahead->compression, ahead->next_index),
                rows = pare__weight_rows(&ahead->compression->checkpoint->weights[ahead->next_index]);
  *out = calloc(1, sizeof **out);
  if (!*out) return pare__fail_memory("work ahead", sizeof **out);
  atomic_init(&(*out)->references, 1);
  atomic_fetch_add(&ahead->references, 1);
  (*out)->ahead = ahead;
  (*out)->index = ahead->next_index;
  (*out)->first_row = ahead->next_row;
  (*out)->nrows = PARE__MIN(most, rows - ahead->next_row);
  return PARE_OK;
}

/* Of the performance models: what is done to a weight, and the magnitude of its rows, decide what an element takes. */
static void name_kernel(const pare__compression *compression, size_t index, int64_t columns, char *out,
                        size_t capacity) {
  static const char *const observer[] = {
      [PARE__OBSERVE_MINMAX] = "minmax", [PARE__OBSERVE_PERCENTILE] = "percentile", [PARE__OBSERVE_MSE] = "mse"};
  const pare__treatment *treatment = &compression->treatments[index];
  size_t used = (size_t)snprintf(out, capacity, "compress");
  for (unsigned i = 0; i < treatment->nsteps && used < capacity; i++)
    used += (size_t)snprintf(out + used, capacity - used, " %s",
                             compression->recipe->modifiers[treatment->step[i]].method->name);
  if (treatment->grid.bits > 0 && used < capacity)
    used += (size_t)snprintf(out + used, capacity - used, " %u bits %s", treatment->grid.bits,
                             observer[treatment->grid.observer]);
  if (used < capacity) (void)snprintf(out + used, capacity - used, " 2^%d", ilogb((double)columns));
}

static pare_status submit(piece *next) {
  const pare__compression *compression = next->ahead->compression;
  const pare__weight *weight = &compression->checkpoint->weights[next->index];
  const int64_t columns = weight->elements / pare__weight_rows(weight);
  const double elements = (double)next->nrows * (double)columns;
  char kernel[160];
  name_kernel(compression, next->index, columns, kernel, sizeof kernel);
  const pare__job job = {.run = make_piece,
                         .argument = next,
                         .name = weight->name,
                         .kernel = kernel,
                         .n = 1,
                         .grain = 1,
                         .per_step = elements,
                         .nbytes = 16 * elements,
                         .read_bytes = 4 * elements,
                         .member = PARE__NO_DEVICE};
  return pare__crew_submit(next->ahead->crew, &job, NULL, 0, &next->job);
}

static pare_status fill(pare__ahead *ahead) {
  const size_t nweights = ahead->compression->checkpoint->nweights;
  for (step_on(ahead); ahead->count < ahead->npieces && ahead->next_index < nweights; step_on(ahead)) {
    piece *next;
    PARE__TRY(open_piece(ahead, &next));
    const pare_status status = submit(next);
    if (status != PARE_OK) {
      release_piece(next);
      return status;
    }
    ahead->pieces[(ahead->first + ahead->count) % ahead->npieces] = next;
    ahead->count++;
    ahead->next_row += next->nrows;
  }
  return PARE_OK;
}

static pare_status take_first(pare__ahead *ahead, pare__made_rows *out) {
  piece *mine = ahead->pieces[ahead->first];
  const pare_status status = pare__crew_wait(ahead->crew, mine->job);
  pthread_mutex_lock(&ahead->lock);
  *out = mine->made;
  mine->made = (pare__made_rows){0};
  mine->taken = true;
  pthread_mutex_unlock(&ahead->lock);
  release_piece(mine);
  ahead->first = (ahead->first + 1) % ahead->npieces;
  ahead->count--;
  return status;
}

static void drop_all(pare__ahead *ahead) {
  while (ahead->count > 0) {
    pare__made_rows made;
    (void)take_first(ahead, &made);
    pare__result_close(&made.result);
  }
}

void pare__ahead_close(pare__ahead *ahead) {
  if (!ahead) return;
  drop_all(ahead);
  release_ahead(ahead);
}

/* ---- for the writer ---- */

static pare_status produce(void *user, size_t index, int64_t first_row, int64_t nrows, pare__result *out) {
  pare__ahead *ahead = user;
  pare__made_rows made;
  *out = (pare__result){0};
  const piece *first = ahead->count > 0 ? ahead->pieces[ahead->first] : NULL;
  if (!first || first->index != index || first->first_row != first_row || first->nrows != nrows) {
    drop_all(ahead);
    ahead->next_index = index;
    ahead->next_row = first_row;
    PARE__TRY(fill(ahead));
    first = ahead->count > 0 ? ahead->pieces[ahead->first] : NULL;
  }
  if (!first || first->nrows != nrows)
    PARE__TRY(pare__make_rows(ahead->compression, index, first_row, nrows, &made));
  else
    PARE__TRY(take_first(ahead, &made));
  pare__take_rows(ahead->compression, &made, out);
  const pare_status status = fill(ahead);
  if (status != PARE_OK) pare__result_close(out);
  return status;
}

static int64_t most_rows(void *user, size_t index) {
  const pare__ahead *ahead = user;
  return pare__most_rows(ahead->compression, index);
}

pare__producer pare__ahead_producer(pare__ahead *ahead) { return (pare__producer){produce, most_rows, ahead}; }
