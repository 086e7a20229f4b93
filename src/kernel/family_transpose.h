/* Transpose: the problem. y[b][c][r] = x[b][r][c] over two batch dimensions. SPDX-License-Identifier: Apache-2.0
 *
 * Buffers: 0 = x, 1 = y, both of an integer dtype of the element's size. Strides in elements; those along c in x and
 * along r in y are 1. */
#ifndef PARE_KERNEL_FAMILY_TRANSPOSE_H
#define PARE_KERNEL_FAMILY_TRANSPOSE_H

#include "kernel/kernel.h"

enum {
  TRANSPOSE_ROWS,
  TRANSPOSE_COLUMNS,
  TRANSPOSE_BATCH0,
  TRANSPOSE_BATCH1,
  TRANSPOSE_X_BATCH0,
  TRANSPOSE_X_BATCH1,
  TRANSPOSE_X_ROW,
  TRANSPOSE_Y_BATCH0,
  TRANSPOSE_Y_BATCH1,
  TRANSPOSE_Y_COLUMN
};

extern const pare__family pare__family_transpose;

#endif
