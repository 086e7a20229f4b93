/* GPTQ: the factor of the inverse Hessian, and rows. SPDX-License-Identifier: Apache-2.0 */
#include "compress/gptq.h"

#include <math.h>
#include <stdlib.h>

#include "compress/lapack.h"

#define MOST_OF 16 /* M of N:M */
#define ROWS 16    /* that go through together: a row of U is read once for all of them */

/* ---- the factor ---- */

/* A = L L^T, and L becomes its inverse, in place: the lower triangle by rows is LAPACK's upper one by columns.
 * false: not positive definite, or NaN, which not every LAPACK tells from a number. */
static bool factorise(const pare__lapack *lapack, double *a, int64_t columns) {
  const lapack_int n = (lapack_int)columns, stride = PARE__MAX(n, 1);
  if (lapack->dpotrf(LAPACK_COL_MAJOR, 'U', n, a, stride) != 0) return false;
  for (int64_t i = 0; i < columns; i++)
    if (!(a[i * columns + i] > 0)) return false;
  return true;
}

static bool invert(const pare__lapack *lapack, double *a, int64_t columns) {
  const lapack_int n = (lapack_int)columns, stride = PARE__MAX(n, 1);
  return lapack->dtrtri(LAPACK_COL_MAJOR, 'U', 'N', n, a, stride) == 0;
}

/* D H^-1: row i solves H t = D_i, by the factor of H in reversed order. */
static pare_status solve_drift(const pare__lapack *lapack, const double *factor, const float *drift, pare__gptq *gptq) {
  const int64_t n = gptq->columns;
  const lapack_int stride = PARE__MAX((lapack_int)n, 1);
  const size_t count = (size_t)(n * n);
  double *rows = malloc(count * sizeof *rows + 1);
  gptq->pull = malloc(count * sizeof *gptq->pull + 1);
  pare_status status = rows && gptq->pull ? PARE_OK : pare__fail_memory("a Hessian", count * sizeof *rows);
  if (status == PARE_OK) {
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++) rows[i * n + j] = drift[i * n + gptq->order[n - 1 - j]];
    lapack->dpotrs(LAPACK_COL_MAJOR, 'U', (lapack_int)n, (lapack_int)n, factor, stride, rows, stride);
    for (int64_t i = 0; i < n; i++)
      for (int64_t j = 0; j < n; j++) gptq->pull[i * n + gptq->order[n - 1 - j]] = (float)rows[i * n + j];
  }
  free(rows);
  return status;
}

struct rank {
  float diagonal;
  int64_t column;
};

static int by_diagonal(const void *a, const void *b) {
  const struct rank *x = a, *y = b;
  if (x->diagonal != y->diagonal) return x->diagonal > y->diagonal ? -1 : 1;
  return (x->column > y->column) - (x->column < y->column);
}

/* Neighbours that N:M chooses from stay together: they go by the sum of their diagonals. */
static pare_status sort_columns(int64_t n, const float *hessian, const pare__gptq_options *options, int64_t *order) {
  const int64_t together = PARE__MAX(options->of, 1U);
  struct rank *ranks = calloc((size_t)n + 1, sizeof *ranks);
  if (!ranks) return pare__fail_memory("the order of columns", (size_t)n * sizeof *ranks);
  for (int64_t i = 0; i < n; i++) ranks[i].column = i;
  for (int64_t i = 0; i < n; i++) {
    const int64_t first = i / together * together;
    for (int64_t j = first; j < PARE__MIN(first + together, n); j++) ranks[i].diagonal += hessian[j * n + j];
  }
  if (options->by_activation) qsort(ranks, (size_t)n, sizeof *ranks, by_diagonal);
  for (int64_t i = 0; i < n; i++) order[i] = ranks[i].column;
  free(ranks);
  return PARE_OK;
}

/* The Hessian in reversed order of columns: then L^-1, reversed again, is U. */
static void load_reversed(const pare__gptq *gptq, const float *hessian, double dampening, double *out) {
  const int64_t n = gptq->columns;
  double mean = 0;
  for (int64_t i = 0; i < n; i++) mean += hessian[i * n + i] / (double)n;
  const double lambda = dampening * mean;
  for (int64_t i = 0; i < n; i++) {
    const int64_t from = gptq->order[n - 1 - i];
    for (int64_t j = 0; j <= i; j++) out[i * n + j] = hessian[from * n + gptq->order[n - 1 - j]];
    if (out[i * n + i] == 0) out[i * n + i] = 1;
    out[i * n + i] += lambda;
  }
}

pare_status pare__gptq_open(int64_t columns, const float *hessian, const pare__gptq_options *options, pare__gptq *out) {
  const pare__lapack *lapack;
  size_t count, nbytes;
  const int64_t together = PARE__MAX(options->of, 1U), block = PARE__MAX(options->block, 1);
  *out = (pare__gptq){.columns = columns,
                      .block = (block + together - 1) / together * together,
                      .keep = options->keep,
                      .of = options->of};
  /* What passes fits an int too: LAPACK counts in those. */
  if (!pare__size_mul((size_t)columns, (size_t)columns, &count) || !pare__size_mul(count, sizeof(double), &nbytes))
    return pare__fail(PARE_ERR_LIMIT, "a Hessian of %lld columns is too large", (long long)columns);
  PARE__TRY(pare__lapack_get(&lapack));
  double *work = malloc(nbytes + 1);
  out->order = calloc((size_t)columns + 1, sizeof *out->order);
  out->upper = calloc(count + 1, sizeof *out->upper);
  pare_status status = work && out->order && out->upper ? PARE_OK : pare__fail_memory("a Hessian", nbytes);
  if (status == PARE_OK) status = sort_columns(columns, hessian, options, out->order);
  if (status == PARE_OK) {
    load_reversed(out, hessian, options->dampening, work);
    if (!factorise(lapack, work, columns))
      status = pare__fail(PARE_ERR_ARGUMENT, "the Hessian is not positive definite: raise dampening_frac (it is %g)",
                          options->dampening);
  }
  if (status == PARE_OK && options->drift) status = solve_drift(lapack, work, options->drift, out);
  if (status == PARE_OK && !invert(lapack, work, columns))
    status = pare__fail(PARE_ERR_ARGUMENT, "the Hessian is singular");
  for (int64_t i = 0; i < columns && status == PARE_OK; i++)
    for (int64_t j = i; j < columns; j++)
      out->upper[i * columns + j] = (float)work[(columns - 1 - i) * columns + columns - 1 - j];
  free(work);
  return status;
}

void pare__gptq_close(pare__gptq *gptq) {
  free(gptq->order);
  free(gptq->upper);
  free(gptq->pull);
  *gptq = (pare__gptq){0};
}

/* ---- rows ---- */

/* Some rows in the order of columns. */
struct strip {
  const pare__gptq *gptq;
  const pare__gptq_grid *grid;
  int64_t first, rows; /* of all */
  float *w;            /* [ROWS, columns] */
  float *error;        /* [ROWS, block] */
};

/* The code of a value, and the number that it stands for. */
static uint8_t encode(const struct strip *strip, int64_t row, int64_t column, float value, float *number) {
  const pare__gptq_grid *grid = strip->grid;
  const int64_t groups = (strip->gptq->columns + grid->group - 1) / grid->group;
  const int64_t at = grid->one_scale ? 0 : row * groups + column / grid->group;
  const float scale = grid->scale[at];
  const int zero = grid->zero ? grid->zero[at] : 0;
  const float wanted = nearbyintf(value / scale) + (float)zero;
  const int code = !(wanted > (float)grid->lowest) ? grid->lowest
                   : wanted > (float)grid->highest ? grid->highest
                                                   : (int)wanted;
  *number = scale * (float)(code - zero);
  return (uint8_t)code;
}

static uint8_t zero_code(const struct strip *strip, int64_t row, int64_t column) {
  float number;
  return encode(strip, row, column, 0, &number);
}

/* Of `of` columns from the i-th on: the mask keeps the `keep` of each row that would cost most to lose, ties by place.
 */
static void choose_kept(const struct strip *strip, int64_t i, uint8_t *mask) {
  const pare__gptq *gptq = strip->gptq;
  const int64_t n = gptq->columns;
  float score[MOST_OF];
  for (int64_t r = 0; r < strip->rows; r++) {
    uint8_t *row = mask + (strip->first + r) * n;
    for (unsigned j = 0; j < gptq->of; j++) {
      const float lost = strip->w[r * n + i + j] / gptq->upper[(i + j) * n + i + j];
      score[j] = row[gptq->order[i + j]] ? lost * lost : -1;
    }
    for (unsigned j = 0; j < gptq->of; j++) {
      unsigned before = 0;
      for (unsigned k = 0; k < gptq->of; k++) before += score[k] > score[j] || (score[k] == score[j] && k < j);
      row[gptq->order[i + j]] = score[j] >= 0 && before < gptq->keep;
    }
  }
}

/* Column i of the order: codes, errors, and the rest of its block. */
static void quantise_column(const struct strip *strip, int64_t i, int64_t block_first, int64_t block_end, uint8_t *mask,
                            uint8_t *codes) {
  const int64_t n = strip->gptq->columns, column = strip->gptq->order[i];
  const float *upper = strip->gptq->upper + i * n, diagonal = upper[i];
  if (strip->gptq->of > 0 && i % strip->gptq->of == 0) choose_kept(strip, i, mask);
  for (int64_t r = 0; r < strip->rows; r++) {
    const int64_t row = strip->first + r;
    float *w = strip->w + r * n, number = 0;
    if (mask && !mask[row * n + column])
      codes[row * n + column] = zero_code(strip, row, column);
    else
      codes[row * n + column] = encode(strip, row, column, w[i], &number);
    const float error = (w[i] - number) / diagonal;
    strip->error[r * strip->gptq->block + i - block_first] = error;
    w[i] = number;
    for (int64_t j = i + 1; j < block_end; j++) w[j] -= error * upper[j];
  }
}

/* The columns after a block get the errors of all of it. */
static void hand_on(const struct strip *strip, int64_t block_first, int64_t block_end) {
  const int64_t n = strip->gptq->columns;
  for (int64_t i = block_first; i < block_end; i++) {
    const float *restrict upper = strip->gptq->upper + i * n;
    for (int64_t r = 0; r < strip->rows; r++) {
      const float error = strip->error[r * strip->gptq->block + i - block_first];
      float *restrict w = strip->w + r * n;
      if (error == 0) continue;
      for (int64_t j = block_end; j < n; j++) w[j] -= error * upper[j];
    }
  }
}

pare_status pare__gptq_rows(const pare__gptq *gptq, const pare__gptq_grid *grid, int64_t rows, float *w, uint8_t *mask,
                            uint8_t *codes) {
  const int64_t n = gptq->columns;
  struct strip strip = {.gptq = gptq, .grid = grid};
  strip.w = calloc((size_t)(ROWS * n) + 1, sizeof(float));
  strip.error = malloc((size_t)(ROWS * gptq->block) * sizeof(float));
  pare_status status =
      strip.w && strip.error ? PARE_OK : pare__fail_memory("rows of a weight", (size_t)(ROWS * n) * sizeof(float));
  for (strip.first = 0; strip.first < rows && status == PARE_OK; strip.first += ROWS) {
    strip.rows = PARE__MIN(ROWS, rows - strip.first);
    float *from = w + strip.first * n;
    for (int64_t r = 0; r < strip.rows; r++)
      for (int64_t i = 0; i < n; i++) strip.w[r * n + i] = from[r * n + gptq->order[i]];
    for (int64_t first = 0; first < n; first += gptq->block) {
      const int64_t end = PARE__MIN(first + gptq->block, n);
      for (int64_t i = first; i < end; i++) quantise_column(&strip, i, first, end, mask, codes);
      hand_on(&strip, first, end);
    }
    for (int64_t r = 0; r < strip.rows; r++)
      for (int64_t i = 0; i < n; i++) from[r * n + gptq->order[i]] = strip.w[r * n + i];
  }
  free(strip.error);
  free(strip.w);
  return status;
}
