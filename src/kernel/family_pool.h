/* The problems of pooling, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * x is [planes][X][lanes] and y [planes][Y][lanes], contiguous; X, Y and the window have three dimensions (those not
 * needed are 1). Buffers: x, y, indices (i64, optional). real[0]: p of the norm. */
#ifndef PARE_KERNEL_FAMILY_POOL_H
#define PARE_KERNEL_FAMILY_POOL_H

#include "kernel/kernel.h"

/* problem.mode; cl/pool.cl knows the numbers. */
enum { POOL_MAX, POOL_AVERAGE, POOL_NORM, POOL_NMODES };
/* problem.flags */
enum { POOL_COUNT_PADDING = 1, POOL_COLUMN_MAJOR = 2, POOL_HAS_INDICES = 4 };

enum {
  POOL_PLANES,
  POOL_FIRST, /* number of the first plane in the whole: indices count through it */
  POOL_LANES,
  POOL_X,
  POOL_Y = POOL_X + 3,
  POOL_K = POOL_Y + 3,
  POOL_STRIDE = POOL_K + 3,
  POOL_DILATION = POOL_STRIDE + 3,
  POOL_PAD = POOL_DILATION + 3,
  POOL_AFTER = POOL_PAD + 3,
  POOL_NDIMS = POOL_AFTER + 3
};
enum { POOL_BUFFER_X, POOL_BUFFER_Y, POOL_BUFFER_INDICES, POOL_NBUFFERS };

extern const pare__family pare__family_pool;

#endif
