/* How several strided tensors are walked together, with as few dimensions as can be.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_WALK_H
#define PARE_KERNEL_WALK_H

#include "kernel/kernel.h"

#define PARE__WALK_TENSORS 4

/* Dimensions innermost first: dim[0] is the one that varies fastest. Unused ones are 1, with strides of 0. */
typedef struct pare__walk {
  int rank; /* at least 1 */
  int64_t count;
  int64_t dim[PARE_MAX_RANK];
  int64_t stride[PARE__WALK_TENSORS][PARE_MAX_RANK];
} pare__walk;

/* dim: PARE_MAX_RANK dimensions, outermost first. stride[t]: those of tensor t. Drops dimensions of 1, orders the
 * others by the strides of tensor `leader` (the one that is written, which wants its smallest stride innermost), and
 * merges what all tensors walk without a gap. */
void pare__walk_make(pare__walk *walk, const int64_t *dim, unsigned ntensors, const int64_t *const *stride,
                     unsigned leader);

/* Elements from the first to the last one touched, which a buffer must hold. Strides not negative. */
int64_t pare__span(const int64_t *dim, const int64_t *stride);
/* Elements that differ: dimensions of stride 0 count once. */
int64_t pare__distinct(const int64_t *dim, const int64_t *stride);

#endif
