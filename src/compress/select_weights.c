/* Exact selection among all elements of weights. SPDX-License-Identifier: Apache-2.0
 *
 * One device feeds the selection with some rows after the other. Of several each looks at some of them: what it found
 * goes to the host and is added in the order of the rows. These are integers, keys and elements, so the threshold is
 * the same, and a piece whose device is lost is looked at elsewhere and added once. */
#include "compress/select_weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/pieces.h"
#include "op/prune.h"

/* ---- rows, one piece after the other ---- */

typedef struct walk {
  const pare__compression *compression;
  size_t step, end;
  pare__piece_rows next;
} walk;

static bool walk_on(walk *on, pare__piece_rows *out) {
  for (; on->next.index < on->end; on->next = (pare__piece_rows){.index = on->next.index + 1}) {
    if (!pare__treats(&on->compression->treatments[on->next.index], on->step)) continue;
    const int64_t rows = pare__weight_rows(&on->compression->checkpoint->weights[on->next.index]);
    if (on->next.first_row >= rows) continue;
    *out = on->next;
    out->nrows = PARE__MIN(pare__most_rows(on->compression, on->next.index), rows - on->next.first_row);
    on->next.first_row += out->nrows;
    return true;
  }
  return false;
}

static int64_t columns_of(const pare__compression *compression, size_t index) {
  return pare__weight_row_elements(&compression->checkpoint->weights[index]);
}

static pare_status load(pare__compression *compression, size_t step, const pare__piece_rows *rows, pare_tensor **out) {
  return pare__load_before(compression, rows->index, step, rows->first_row, rows->nrows, out);
}

/* The bits of a weight's mask. */
static pare_status bits_of(pare__compression *compression, size_t index, uint8_t **bits) {
  void *memory;
  if (bits[index]) return PARE_OK;
  const size_t nbytes = (size_t)(compression->checkpoint->weights[index].elements / 8 + 1);
  PARE__TRY(pare__arena_allocate(&compression->arena, nbytes, &memory));
  bits[index] = memory;
  return PARE_OK;
}

static void set_bit(uint8_t *bits, int64_t at) { bits[at / 8] |= (uint8_t)(1U << (at % 8)); }

/* ---- on one device ---- */

static pare_status feed_all(pare__compression *compression, walk on, pare_selection *selection) {
  pare__piece_rows rows;
  while (walk_on(&on, &rows)) {
    pare_tensor *w;
    PARE__TRY(load(compression, on.step, &rows, &w));
    const pare_status status = pare_selection_feed(selection, w);
    pare_tensor_close(w);
    PARE__TRY(status);
  }
  return PARE_OK;
}

static pare_status take_mask(pare__compression *compression, const pare__piece_rows *rows, pare_tensor *w,
                             pare_selection *selection, uint8_t *bits) {
  const int64_t count = pare_tensor_elements(w), first = rows->first_row * columns_of(compression, rows->index);
  uint8_t *bytes = malloc((size_t)count + 1);
  pare_tensor *mask = NULL;
  pare_status status = bytes ? PARE_OK : pare__fail_memory("a mask", (size_t)count);
  if (status == PARE_OK) status = pare_tensor_create(compression->context, PARE_BOOL, 2, pare_tensor_shape(w), &mask);
  if (status == PARE_OK) status = pare_selection_mask(selection, w, mask);
  if (status == PARE_OK) status = pare_tensor_read(mask, bytes, (size_t)count);
  for (int64_t i = 0; i < count && status == PARE_OK; i++)
    if (bytes[i]) set_bit(bits, first + i);
  pare_tensor_close(mask);
  free(bytes);
  return status;
}

static pare_status take_masks(pare__compression *compression, walk on, pare_selection *selection, uint8_t **bits) {
  pare__piece_rows rows;
  while (walk_on(&on, &rows)) {
    pare_tensor *w;
    PARE__TRY(bits_of(compression, rows.index, bits));
    PARE__TRY(load(compression, on.step, &rows, &w));
    const pare_status status = take_mask(compression, &rows, w, selection, bits[rows.index]);
    pare_tensor_close(w);
    PARE__TRY(status);
  }
  return PARE_OK;
}

/* ---- on several ---- */

typedef struct look_terms {
  pare__selection_terms selection;
  size_t step, begin;
} look_terms;

static void name_as(const char *what, const pare__compression *compression, const pare__piece_rows *rows, char *out,
                    size_t capacity) {
  (void)snprintf(out, capacity, "compress %s 2^%d", what, ilogb((double)columns_of(compression, rows->index)));
}
static void name_count(const pare__compression *compression, const pare__piece_rows *rows, char *out, size_t capacity) {
  name_as("count", compression, rows, out, capacity);
}
static void name_mark(const pare__compression *compression, const pare__piece_rows *rows, char *out, size_t capacity) {
  name_as("mark", compression, rows, out, capacity);
}

/* Elements of the selection before the piece. */
static int64_t elements_before(const pare__compression *compression, const look_terms *terms,
                               const pare__piece_rows *rows) {
  int64_t sum = rows->first_row * columns_of(compression, rows->index);
  for (size_t i = terms->begin; i < rows->index; i++)
    if (pare__treats(&compression->treatments[i], terms->step)) sum += compression->checkpoint->weights[i].elements;
  return sum;
}

static void release_found(void *found) {
  if (found) pare__selection_found_release(found);
  free(found);
}

static pare_status count_rows(pare__compression *on, const pare__piece_rows *rows, const void *user, void **out) {
  const look_terms *terms = user;
  pare_tensor *w;
  *out = NULL;
  pare__selection_found *found = calloc(1, sizeof *found);
  if (!found) return pare__fail_memory("counts of a selection", sizeof *found);
  pare_status status = load(on, terms->step, rows, &w);
  if (status == PARE_OK) {
    status = pare__selection_look(&terms->selection, w, elements_before(on, terms, rows), found);
    pare_tensor_close(w);
  }
  if (status == PARE_OK)
    *out = found;
  else
    release_found(found);
  return status;
}

static pare_status mark_rows(pare__compression *on, const pare__piece_rows *rows, const void *user, void **out) {
  const look_terms *terms = user;
  pare_tensor *w;
  *out = NULL;
  PARE__TRY(load(on, terms->step, rows, &w));
  const size_t nbytes = (size_t)pare_tensor_elements(w) + 1;
  uint8_t *marks = malloc(nbytes);
  pare_status status = marks ? PARE_OK : pare__fail_memory("marks of a selection", nbytes);
  if (status == PARE_OK) status = pare__selection_mark(&terms->selection, w, marks);
  pare_tensor_close(w);
  if (status == PARE_OK)
    *out = marks;
  else
    free(marks);
  return status;
}

static const pare__piece_kind counting = {count_rows, release_found, name_count},
                              marking = {mark_rows, free, name_mark};

/* What is done with what was found, in the order of the rows, on the caller's thread. */
typedef struct taking {
  pare_selection *selection;
  uint8_t **bits;
  int64_t left; /* of those equal to the threshold: how many may still be kept */
} taking;
typedef pare_status (*take_found)(pare__compression *compression, const pare__piece_rows *rows, const void *found,
                                  taking *user);

static pare_status add_counts(pare__compression *compression, const pare__piece_rows *rows, const void *found,
                              taking *user) {
  (void)compression;
  (void)rows;
  return pare__selection_add(user->selection, found);
}

static pare_status add_marks(pare__compression *compression, const pare__piece_rows *rows, const void *found,
                             taking *user) {
  const uint8_t *marks = found;
  const int64_t columns = columns_of(compression, rows->index), first = rows->first_row * columns;
  PARE__TRY(bits_of(compression, rows->index, user->bits));
  for (int64_t i = 0; i < rows->nrows * columns; i++)
    if (marks[i] == 2 || (marks[i] == 1 && user->left-- > 0)) set_bit(user->bits[rows->index], first + i);
  return PARE_OK;
}

static pare_status fill(pare__pieces *pieces, walk *on) {
  pare__piece_rows rows;
  while (!pare__pieces_full(pieces) && walk_on(on, &rows)) PARE__TRY(pare__pieces_add(pieces, &rows));
  return PARE_OK;
}

static pare_status take_all(pare__compression *compression, walk on, const pare__piece_kind *kind,
                            const look_terms *terms, take_found take, taking *user) {
  pare__pieces *pieces;
  PARE__TRY(pare__pieces_open(compression, kind, terms, sizeof *terms, &pieces));
  pare_status status = fill(pieces, &on);
  while (status == PARE_OK && pare__pieces_first(pieces)) {
    const pare__piece_rows rows = *pare__pieces_first(pieces);
    void *found;
    status = pare__pieces_take(pieces, &found);
    if (status == PARE_OK) status = fill(pieces, &on);
    if (status == PARE_OK) status = take(compression, &rows, found, user);
    kind->release(found);
  }
  pare__pieces_close(pieces);
  return status;
}

/* ---- all passes ---- */

static pare_status one_pass(pare__compression *compression, walk on, size_t begin, pare_selection *selection) {
  look_terms terms = {.step = on.step, .begin = begin};
  taking user = {.selection = selection};
  if (!pare__pieces_may(compression)) return feed_all(compression, on, selection);
  PARE__TRY(pare__selection_terms_of(selection, &terms.selection));
  return take_all(compression, on, &counting, &terms, add_counts, &user);
}

pare_status pare__select_weights(pare__compression *compression, size_t step, size_t begin, size_t end,
                                 pare_selection *selection) {
  const walk on = {compression, step, end, {.index = begin}};
  pare_status status = PARE_OK;
  for (bool done = false; !done && status == PARE_OK;) {
    status = one_pass(compression, on, begin, selection);
    if (status == PARE_OK) status = pare_selection_step(selection, &done);
  }
  return status;
}

pare_status pare__select_masks(pare__compression *compression, size_t step, size_t begin, size_t end,
                               pare_selection *selection, uint8_t **bits) {
  const walk on = {compression, step, end, {.index = begin}};
  look_terms terms = {.step = step, .begin = begin};
  taking user = {.bits = bits};
  if (!pare__pieces_may(compression)) return take_masks(compression, on, selection, bits);
  PARE__TRY(pare_selection_threshold(selection, NULL, NULL, &user.left));
  PARE__TRY(pare__selection_terms_of(selection, &terms.selection));
  return take_all(compression, on, &marking, &terms, add_marks, &user);
}
