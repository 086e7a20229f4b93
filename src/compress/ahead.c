/* Rows of weights made ahead by several devices. SPDX-License-Identifier: Apache-2.0
 *
 * A writer asks for one piece of a weight after the other. While it takes one, the devices make those that follow:
 * whole small tensors, rows of large ones. Pieces are the same as on one device, and are noted in the same order, so
 * the file is the same, byte for byte. A writer that asks for something else gets it made on the spot. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/pieces.h"
#include "compress/rows.h"

struct pare__ahead {
  pare__compression *compression;
  pare__pieces *pieces;
  pare__piece_rows next; /* the piece that comes after those in the queue; its nrows are found when it is added */
};

static bool is_made(const pare__compression *compression, size_t index) {
  return compression->treatments[index].storage != PARE__STORE_AS_IS;
}

/* ---- a piece ---- */

static void release_rows(void *made) {
  pare__made_rows *rows = made;
  if (rows) pare__result_close(&rows->result);
  free(rows);
}

static pare_status make_rows(pare__compression *on, const pare__piece_rows *rows, const void *terms, void **out) {
  (void)terms;
  *out = NULL;
  pare__made_rows *made = calloc(1, sizeof *made);
  if (!made) return pare__fail_memory("rows of a weight", sizeof *made);
  const pare_status status = pare__make_rows(on, rows->index, rows->first_row, rows->nrows, made);
  if (status == PARE_OK)
    *out = made;
  else
    free(made);
  return status;
}

/* What is done to a weight, and the magnitude of its rows, decide what an element takes. */
static void name_kernel(const pare__compression *compression, const pare__piece_rows *rows, char *out,
                        size_t capacity) {
  static const char *const observer[] = {
      [PARE__OBSERVE_MINMAX] = "minmax", [PARE__OBSERVE_PERCENTILE] = "percentile", [PARE__OBSERVE_MSE] = "mse"};
  const pare__treatment *treatment = &compression->treatments[rows->index];
  const pare__weight *weight = &compression->checkpoint->weights[rows->index];
  const int64_t columns = pare__weight_row_elements(weight);
  size_t used = (size_t)snprintf(out, capacity, "compress");
  for (unsigned i = 0; i < treatment->nsteps && used < capacity; i++)
    used += (size_t)snprintf(out + used, capacity - used, " %s",
                             compression->recipe->modifiers[treatment->step[i]].method->name);
  if (treatment->grid.bits > 0 && used < capacity)
    used += (size_t)snprintf(out + used, capacity - used, " %u bits %s", treatment->grid.bits,
                             observer[treatment->grid.observer]);
  if (used < capacity) (void)snprintf(out + used, capacity - used, " 2^%d", ilogb((double)columns));
}

static const pare__piece_kind making = {make_rows, release_rows, name_kernel};

/* ---- its life ---- */

pare_status pare__ahead_open(pare__compression *compression, pare__ahead **out) {
  *out = NULL;
  if (!pare__pieces_may(compression)) return PARE_OK;
  pare__ahead *ahead = calloc(1, sizeof *ahead);
  if (!ahead) return pare__fail_memory("work ahead", sizeof *ahead);
  ahead->compression = compression;
  const pare_status status = pare__pieces_open(compression, &making, NULL, 0, &ahead->pieces);
  if (status == PARE_OK)
    *out = ahead;
  else
    free(ahead);
  return status;
}

void pare__ahead_close(pare__ahead *ahead) {
  if (!ahead) return;
  pare__pieces_close(ahead->pieces);
  free(ahead);
}

/* ---- for the writer ---- */

static void step_on(pare__ahead *ahead) {
  const pare__checkpoint *checkpoint = ahead->compression->checkpoint;
  pare__piece_rows *next = &ahead->next;
  while (next->index < checkpoint->nweights &&
         (!is_made(ahead->compression, next->index) ||
          next->first_row >= pare__weight_rows(&checkpoint->weights[next->index]))) {
    next->index++;
    next->first_row = 0;
  }
}

static pare_status fill(pare__ahead *ahead) {
  const pare__checkpoint *checkpoint = ahead->compression->checkpoint;
  pare__piece_rows *next = &ahead->next;
  for (step_on(ahead); !pare__pieces_full(ahead->pieces) && next->index < checkpoint->nweights; step_on(ahead)) {
    const int64_t rows = pare__weight_rows(&checkpoint->weights[next->index]);
    next->nrows = PARE__MIN(pare__most_rows(ahead->compression, next->index), rows - next->first_row);
    PARE__TRY(pare__pieces_add(ahead->pieces, next));
    next->first_row += next->nrows;
  }
  return PARE_OK;
}

static pare_status take_first(pare__ahead *ahead, pare__made_rows *out) {
  void *made;
  const pare_status status = pare__pieces_take(ahead->pieces, &made);
  *out = made ? *(pare__made_rows *)made : (pare__made_rows){0};
  free(made);
  return status;
}

static pare_status produce(void *user, size_t index, int64_t first_row, int64_t nrows, pare__result *out) {
  pare__ahead *ahead = user;
  pare__made_rows made;
  *out = (pare__result){0};
  const pare__piece_rows *first = pare__pieces_first(ahead->pieces);
  if (!first || first->index != index || first->first_row != first_row || first->nrows != nrows) {
    pare__pieces_drop(ahead->pieces);
    ahead->next = (pare__piece_rows){.index = index, .first_row = first_row};
    PARE__TRY(fill(ahead));
    first = pare__pieces_first(ahead->pieces);
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
