/* What differs between two models. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/diff.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "compress/diff.h"
#include "compress/distance.h"
#include "compress/stored.h"

/* ---- rows ---- */

pare_status pare__diff_add(pare_diff *diff, const pare_diff_row *row) {
  PARE__TRY(pare__array_grow((void **)&diff->row, &diff->capacity, diff->nrows, sizeof *diff->row));
  pare_diff_row *added = &diff->row[diff->nrows++];
  *added = *row;
  const char **texts[] = {&added->name, &added->layer, &added->form, &added->missing};
  for (size_t i = 0; i < PARE__COUNT(texts); i++)
    if (*texts[i]) PARE__TRY(pare__arena_text(&diff->arena, *texts[i], strlen(*texts[i]), texts[i]));
  return PARE_OK;
}

static int compare(double a, double b) { return (a > b) - (a < b); }

/* By kind; what was not compared last, else the worst first, a distance that is not a number before all. */
static int worst_first(const void *left, const void *right) {
  const pare_diff_row *a = left, *b = right;
  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  if (!a->missing != !b->missing) return a->missing ? 1 : -1;
  const bool lost = isnan(a->distance.sqnr_db), other_lost = isnan(b->distance.sqnr_db);
  if (lost != other_lost) return lost ? -1 : 1;
  const int order = lost ? 0 : compare(a->distance.sqnr_db, b->distance.sqnr_db);
  return order ? order : strcmp(a->name, b->name);
}

void pare__diff_sort(pare_diff *diff) {
  if (diff->nrows > 0) qsort(diff->row, diff->nrows, sizeof *diff->row, worst_first);
}

/* ---- weights ---- */

/* `guide` says how the weight lies in the file whose weights are not compressed. */
static pare_status compare_rows(const pare__stored *guide, const pare__stored *other, bool guide_is_first,
                                pare_diff_row *row) {
  const size_t columns = (size_t)guide->columns;
  float *a = malloc((columns + 1) * sizeof *a), *b = malloc((columns + 1) * sizeof *b);
  pare__distance_sums sums = {0};
  pare_status status = a && b ? PARE_OK : pare__fail_memory("a row of a weight", columns * sizeof *a);
  for (int64_t r = 0; r < guide->rows && status == PARE_OK; r++) {
    pare__stored_row(guide, r, a);
    pare__stored_row(other, r, b);
    pare__distance_add(&sums, guide_is_first ? a : b, guide_is_first ? b : a, columns);
  }
  free(a);
  free(b);
  row->elements = sums.count;
  row->distance = pare__distance_of(&sums);
  return status;
}

static pare_status compare_weight(pare_diff *diff, pare__stored_file *guide_file, pare__stored_file *other_file,
                                  const pare__weight *weight, bool guide_is_first) {
  pare_diff_row row = {.kind = PARE_DIFF_WEIGHT, .name = weight->name, .layer = weight->layer, .form = ""};
  pare__stored guide, other = {0};
  PARE__TRY(pare__stored_find(guide_file, weight, &guide));
  pare_status status = pare__stored_find(other_file, weight, &other);
  if (status == PARE_OK) {
    row.form = guide_is_first ? other.form : guide.form;
    row.missing = guide.missing ? guide.missing : other.missing;
    if (!row.missing) status = compare_rows(&guide, &other, guide_is_first, &row);
  }
  if (status == PARE_OK) status = pare__diff_add(diff, &row);
  pare__stored_release(&other);
  pare__stored_release(&guide);
  return status;
}

static pare_status compare_files(pare_diff *diff, pare__stored_file *const file[2]) {
  /* The guide is the file whose tensors are as a framework wrote them. */
  const unsigned guide = pare__stored_compressed(file[0]) && !pare__stored_compressed(file[1]);
  pare__checkpoint *checkpoint;
  PARE__TRY(pare__checkpoint_open(diff->path[guide], &checkpoint));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < checkpoint->nweights && status == PARE_OK; i++) {
    pare__weight weight;
    if (pare__stored_weight(file[guide], &checkpoint->weights[i], &weight))
      status = compare_weight(diff, file[guide], file[!guide], &weight, guide == 0);
  }
  diff->runs = checkpoint->runs;
  pare__checkpoint_close(checkpoint);
  return status;
}

static pare_status open_diff(pare_diff *diff, const char *const *path) {
  pare__stored_file *file[2] = {NULL, NULL};
  pare_status status = PARE_OK;
  for (unsigned i = 0; i < 2 && status == PARE_OK; i++) {
    status = pare__arena_text(&diff->arena, path[i], strlen(path[i]), &diff->path[i]);
    if (status == PARE_OK) status = pare__stored_open(path[i], &file[i]);
  }
  if (status == PARE_OK) status = compare_files(diff, file);
  pare__stored_close(file[0]);
  pare__stored_close(file[1]);
  if (status == PARE_OK) pare__diff_sort(diff);
  return status;
}

/* ---- the public interface ---- */

pare_status pare_diff_open(const char *first, const char *second, pare_diff **out) {
  if (!out) return pare__fail_null("pare_diff_open", "out");
  *out = NULL;
  if (!first || !second) return pare__fail_null("pare_diff_open", first ? "second" : "first");
  pare_diff *diff = calloc(1, sizeof *diff);
  if (!diff) return pare__fail_memory("a comparison", sizeof *diff);
  const pare_status status = open_diff(diff, (const char *const[]){first, second});
  if (status != PARE_OK) {
    pare_diff_close(diff);
    return status;
  }
  *out = diff;
  return PARE_OK;
}

size_t pare_diff_count(const pare_diff *diff) { return diff ? diff->nrows : 0; }

pare_status pare_diff_get(const pare_diff *diff, size_t index, pare_diff_row *out) {
  if (!diff || !out) return pare__fail_null("pare_diff_get", diff ? "out" : "diff");
  if (index >= diff->nrows)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_diff_get: there is no row %zu; there are %zu", index, diff->nrows);
  *out = diff->row[index];
  return PARE_OK;
}

void pare_diff_close(pare_diff *diff) {
  if (!diff) return;
  free(diff->row);
  pare__arena_clear(&diff->arena);
  free(diff);
}
