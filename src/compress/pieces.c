/* A queue of pieces of weights, on a crew. SPDX-License-Identifier: Apache-2.0 */
#include "compress/pieces.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "sched/crew.h"
#include "tensor/context.h"

/* Pieces that are on their way at most, a device: so many, and so many of the largest. They are taken in order, so that
 * there must be more than devices work on: else those that are through wait for the slowest. */
#define PIECES_A_DEVICE 16
#define LARGEST_A_DEVICE 4

typedef struct piece {
  pare__pieces *pieces;
  pare__piece_rows rows;
  pare__job_id job;
  atomic_uint references; /* the queue's, and one of each run */
  bool has;               /* the rest: under the lock of `pieces` */
  bool taken;             /* what comes later comes too late */
  void *made;
} piece;

struct pare__pieces {
  atomic_uint references; /* the owner's, and one of each piece */
  pthread_mutex_t lock;
  const pare__piece_kind *kind;
  void *terms;
  pare__compression *compression;
  pare__crew *crew;
  size_t nmembers;
  size_t npieces, first, count; /* a ring */
  int64_t elements;             /* of those that are in it */
  pare__compression *on;        /* of each member: the same work in its context */
  piece **piece;
};

static void release_pieces(pare__pieces *pieces) {
  if (atomic_fetch_sub(&pieces->references, 1) != 1) return;
  pare__compression_release(pieces->compression);
  pthread_mutex_destroy(&pieces->lock);
  free(pieces->terms);
  free(pieces->on);
  free(pieces->piece);
  free(pieces);
}

static void release_piece(piece *mine) {
  if (atomic_fetch_sub(&mine->references, 1) != 1) return;
  mine->pieces->kind->release(mine->made);
  release_pieces(mine->pieces);
  free(mine);
}

bool pare__pieces_may(const pare__compression *compression) {
  if (!compression->all || pare__context_members(compression->all) < 2) return false;
  for (size_t i = 0; i < compression->recipe->nmodifiers; i++)
    if (compression->recipe->modifiers[i].method->in_turn) return false;
  return true;
}

pare_status pare__pieces_open(pare__compression *compression, const pare__piece_kind *kind, const void *terms,
                              size_t terms_bytes, pare__pieces **out) {
  *out = NULL;
  const size_t nmembers = pare__context_members(compression->all);
  pare__pieces *pieces = calloc(1, sizeof *pieces);
  if (!pieces) return pare__fail_memory("pieces of weights", sizeof *pieces);
  pare__compression_retain(compression);
  atomic_init(&pieces->references, 1);
  pthread_mutex_init(&pieces->lock, NULL);
  pieces->compression = compression;
  pieces->kind = kind;
  pieces->nmembers = nmembers;
  pieces->npieces = PIECES_A_DEVICE * nmembers;
  pieces->on = calloc(nmembers, sizeof *pieces->on);
  pieces->piece = calloc(pieces->npieces, sizeof(piece *));
  pieces->terms = malloc(terms_bytes + 1);
  pare_status status = PARE_OK;
  if (!pieces->on || !pieces->piece || !pieces->terms)
    status = pare__fail_memory("pieces of weights", pieces->npieces * sizeof(piece *) + terms_bytes);
  if (status == PARE_OK) status = pare__crew_of(compression->all, &pieces->crew);
  if (status != PARE_OK) {
    release_pieces(pieces);
    return status;
  }
  if (terms_bytes > 0) memcpy(pieces->terms, terms, terms_bytes);
  for (size_t i = 0; i < nmembers; i++) {
    pieces->on[i] = *compression;
    pieces->on[i].context = pare__context_member(compression->all, i);
  }
  *out = pieces;
  return PARE_OK;
}

/* ---- on a device ---- */

/* Hands it over, unless it was made elsewhere meanwhile: a piece whose device was lost under it runs again. */
static void keep(piece *mine, void *made) {
  pthread_mutex_lock(&mine->pieces->lock);
  const bool late = mine->has || mine->taken;
  if (!late) mine->made = made;
  mine->has = true;
  pthread_mutex_unlock(&mine->pieces->lock);
  if (late) mine->pieces->kind->release(made);
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
  pare__pieces *pieces = mine->pieces;
  pare__compression *on = &pieces->on[member];
  void *made = NULL;
  (void)begin;
  (void)end;
  atomic_fetch_add(&mine->references, 1);
  pare_status status = pieces->kind->make(on, &mine->rows, pieces->terms, &made);
  status = all_ended(on->context, status);
  if (status == PARE_OK)
    keep(mine, made);
  else
    pieces->kind->release(made);
  release_piece(mine);
  return status;
}

/* ---- the queue ---- */

static int64_t elements_of(const pare__pieces *pieces, const pare__piece_rows *rows) {
  return rows->nrows * pare__weight_row_elements(&pieces->compression->checkpoint->weights[rows->index]);
}

bool pare__pieces_full(const pare__pieces *pieces) {
  const int64_t most = LARGEST_A_DEVICE * (int64_t)pieces->nmembers * PARE__PIECE_ELEMENTS;
  return pieces->count == pieces->npieces || pieces->elements >= most;
}

const pare__piece_rows *pare__pieces_first(const pare__pieces *pieces) {
  return pieces->count > 0 ? &pieces->piece[pieces->first]->rows : NULL;
}

static pare_status submit(piece *next) {
  const pare__compression *compression = next->pieces->compression;
  const pare__weight *weight = &compression->checkpoint->weights[next->rows.index];
  const double elements = (double)elements_of(next->pieces, &next->rows);
  char kernel[160];
  next->pieces->kind->name(compression, &next->rows, kernel, sizeof kernel);
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
  return pare__crew_submit(next->pieces->crew, &job, NULL, 0, &next->job);
}

pare_status pare__pieces_add(pare__pieces *pieces, const pare__piece_rows *rows) {
  piece *next = calloc(1, sizeof *next);
  if (!next) return pare__fail_memory("a piece of a weight", sizeof *next);
  atomic_init(&next->references, 1);
  atomic_fetch_add(&pieces->references, 1);
  next->pieces = pieces;
  next->rows = *rows;
  const pare_status status = submit(next);
  if (status != PARE_OK) {
    release_piece(next);
    return status;
  }
  pieces->piece[(pieces->first + pieces->count) % pieces->npieces] = next;
  pieces->count++;
  pieces->elements += elements_of(pieces, rows);
  return PARE_OK;
}

pare_status pare__pieces_take(pare__pieces *pieces, void **made) {
  piece *mine = pieces->piece[pieces->first];
  const pare_status status = pare__crew_wait(pieces->crew, mine->job);
  pthread_mutex_lock(&pieces->lock);
  *made = mine->made;
  mine->made = NULL;
  mine->taken = true;
  pthread_mutex_unlock(&pieces->lock);
  pieces->elements -= elements_of(pieces, &mine->rows);
  release_piece(mine);
  pieces->first = (pieces->first + 1) % pieces->npieces;
  pieces->count--;
  return status;
}

void pare__pieces_drop(pare__pieces *pieces) {
  while (pieces->count > 0) {
    void *made;
    (void)pare__pieces_take(pieces, &made);
    pieces->kind->release(made);
  }
}

void pare__pieces_close(pare__pieces *pieces) {
  if (!pieces) return;
  pare__pieces_drop(pieces);
  release_pieces(pieces);
}
