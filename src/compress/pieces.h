/* Rows of weights that several devices work on beside each other, handed over in order.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_PIECES_H
#define PARE_COMPRESS_PIECES_H

#include "compress/method.h"

typedef struct pare__piece_rows {
  size_t index; /* of the weight */
  int64_t first_row, nrows;
} pare__piece_rows;

/* What is done with a piece. */
typedef struct pare__piece_kind {
  /* On a device, on its thread; `on` works there. terms: as pare__pieces_open says. *out is the caller's. */
  pare_status (*make)(pare__compression *on, const pare__piece_rows *rows, const void *terms, void **out);
  void (*release)(void *made); /* NULL is allowed */
  /* Of the performance models: what decides how long an element takes. */
  void (*name)(const pare__compression *compression, const pare__piece_rows *rows, char *out, size_t capacity);
} pare__piece_kind;

/* A queue of pieces: all that are in it are under way, or made. A device that is lost costs its pieces only, and each
 * is handed over once. One that hangs is given up, and its piece made elsewhere: should it come back, all that its call
 * touches is still there. */
typedef struct pare__pieces pare__pieces;

/* Can all devices of the context do it? Not if a method takes weights one after the other. */
bool pare__pieces_may(const pare__compression *compression);
/* terms: what `make` has to know besides, copied. */
pare_status pare__pieces_open(pare__compression *compression, const pare__piece_kind *kind, const void *terms,
                              size_t terms_bytes, pare__pieces **out);
void pare__pieces_close(pare__pieces *pieces); /* NULL is allowed */
bool pare__pieces_full(const pare__pieces *pieces);
/* The first in the queue; NULL if there is none. */
const pare__piece_rows *pare__pieces_first(const pare__pieces *pieces);
/* One more, which must fit. */
pare_status pare__pieces_add(pare__pieces *pieces, const pare__piece_rows *rows);
/* Waits for the first. *made is NULL if that failed. */
pare_status pare__pieces_take(pare__pieces *pieces, void **made);
/* Takes what is in the queue, and lets go of it. */
void pare__pieces_drop(pare__pieces *pieces);

#endif
