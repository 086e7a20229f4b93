/* GPTQ on the host: rows of weights quantised column by column, each error handed on to the columns after it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Frantar et al. 2022, arXiv 2210.17323: H = 2 X X^T + lambda I, H^-1 = U^T U with U upper triangular; of column i
 * e = (w_i - q_i) / U_ii and w_j -= e U_ij for the columns j after it. A pruned element has q_i = 0 (Frantar & Alistarh
 * 2023, 2301.00774). Rows do not depend on each other. */
#ifndef PARE_COMPRESS_GPTQ_H
#define PARE_COMPRESS_GPTQ_H

#include "base/base.h"

typedef struct pare__gptq_options {
  double dampening;   /* lambda, as a fraction of the mean of the Hessian's diagonal */
  bool by_activation; /* columns with a large diagonal first; else as they come */
  int64_t block;      /* columns whose errors are handed on together */
  const float *drift; /* f32 [columns, columns]: D, sum of (y - x) x^T with y the wanted inputs; NULL: none */
  unsigned keep, of;  /* N:M: of each M neighbours the N with the largest w^2 / U_ii^2 stay; of = 0: none is chosen */
} pare__gptq_options;

typedef struct pare__gptq {
  int64_t columns, block;
  unsigned keep, of;
  int64_t *order; /* [columns]: the column that comes i-th */
  float *upper;   /* U, row-major, in that order */
  float *pull;    /* D H^-1, row-major, in the order of the weight; NULL: no drift was given */
} pare__gptq;

/* hessian f32 [columns, columns], symmetric, scaled by any factor. A column without any input has a diagonal of 0: it
 * counts as 1. With N:M the columns, a multiple of M, are taken M at a time, and blocks are made multiples of M.
 * PARE_ERR_ARGUMENT: not positive definite, or NaN. Close it in any case. */
pare_status pare__gptq_open(int64_t columns, const float *hessian, const pare__gptq_options *options, pare__gptq *out);
void pare__gptq_close(pare__gptq *gptq);

/* Codes q of each element, x = scale (q - zero); groups of `group` columns share a scale (row-major [rows, groups]). */
typedef struct pare__gptq_grid {
  int lowest, highest; /* codes */
  int64_t group;       /* columns if one scale a row */
  const float *scale;
  const uint8_t *zero; /* as scale; NULL: 0 */
  bool one_scale;      /* for all rows and groups */
} pare__gptq_grid;

/* w f32 [rows, columns] is overwritten by what the codes stand for; mask (NULL: none) 0: the element is zero; codes
 * [rows, columns], as bytes. With N:M the mask is needed: of what it has the largest stay, and it says so afterwards;
 * they are chosen when the first of their columns comes, from the values that the columns before have left them
 * (Frantar & Alistarh). */
pare_status pare__gptq_rows(const pare__gptq *gptq, const pare__gptq_grid *grid, int64_t rows, float *w, uint8_t *mask,
                            uint8_t *codes);

#endif
