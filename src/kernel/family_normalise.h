/* The problems of the normalisation family, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * Rows of [rows][length]; what is normalised, and which scale and bias an element has, stands at the head of
 * cl/normalise.cl. Buffers: 0 = x, 1 = scale, 2 = bias, 3 = y, 4 = mean, 5 = inverse deviation [rows] (results with
 * _SAVED; with _GIVEN inputs: the mean and the variance, the latter as a sum of squares times real[1], of period rows
 * or of row_length columns), 6 = skip (with _SKIP: x + skip is normalised), 7 = that sum, a result with _SUM; both with
 * x's stride. real[0] = epsilon. */
#ifndef PARE_KERNEL_FAMILY_NORMALISE_H
#define PARE_KERNEL_FAMILY_NORMALISE_H

#include "kernel/kernel.h"

/* problem.mode */
enum {
  PARE__NORMALISE_RMS = 1, /* no mean */
  PARE__NORMALISE_SCALED = 2,
  PARE__NORMALISE_BIASED = 4,
  PARE__NORMALISE_SAVED = 8,
  PARE__NORMALISE_GIVEN = 16,
  PARE__NORMALISE_PER_COLUMN = 32, /* only with _GIVEN */
  PARE__NORMALISE_SKIP = 64,       /* never with _GIVEN */
  PARE__NORMALISE_SUM = 128        /* only with _SKIP */
};
/* problem.dim; strides in elements */
enum {
  PARE__NORMALISE_ROWS,
  PARE__NORMALISE_LENGTH,
  PARE__NORMALISE_X_STRIDE,
  PARE__NORMALISE_Y_STRIDE,
  PARE__NORMALISE_SEGMENT,   /* elements that share a scale and bias */
  PARE__NORMALISE_GROUPS,    /* rows after which scale and bias repeat */
  PARE__NORMALISE_FIRST_ROW, /* of this piece in the whole */
  PARE__NORMALISE_FIRST_COLUMN,
  PARE__NORMALISE_ROW_LENGTH, /* of the whole */
  PARE__NORMALISE_PERIOD,     /* rows after which given statistics repeat */
  PARE__NORMALISE_NDIMS
};
extern const pare__family pare__family_normalise;

#endif
