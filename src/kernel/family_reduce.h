/* The problems of the reduction family, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * x is [outer][reduced][inner] and becomes [outer][blocks][inner], blocks = reduced / block rounded up. A first pass
 * takes elements, a last pass gives results; between them are partial results: for log-sum-exp two tensors (maximum m,
 * sum exp(x - m)), for arg-min and arg-max two (value, index), for the others one. Buffers: 0 = x, 1 = its second part
 * (or the centres [outer][inner] of PARE__REDUCE_SPREAD), 2 = y, 3 = its second part; the result of arg-min and arg-max
 * is in 3. */
#ifndef PARE_KERNEL_FAMILY_REDUCE_H
#define PARE_KERNEL_FAMILY_REDUCE_H

#include "kernel/kernel.h"

typedef enum pare__reduction {
  PARE__REDUCE_SUM,
  PARE__REDUCE_MEAN,
  PARE__REDUCE_MIN,
  PARE__REDUCE_MAX,
  PARE__REDUCE_PRODUCT,
  PARE__REDUCE_L1,
  PARE__REDUCE_L2,
  PARE__REDUCE_SUM_SQUARE,
  PARE__REDUCE_LOG_SUM,
  PARE__REDUCE_LOG_SUM_EXP,
  PARE__REDUCE_ARG_MIN,
  PARE__REDUCE_ARG_MAX,
  PARE__REDUCE_SPREAD, /* sum of (x - centre)^2 */
  PARE__NREDUCTIONS
} pare__reduction;

/* problem.mode is a reduction and these. */
enum {
  PARE__REDUCE_OPERATION = 15,
  PARE__REDUCE_FIRST = 16,     /* x holds elements */
  PARE__REDUCE_FINAL = 32,     /* y gets results */
  PARE__REDUCE_LAST_INDEX = 64 /* arg: of equal elements the last one, not the first */
};

/* problem.dim; strides in elements, the inner one is 1. */
enum {
  PARE__REDUCE_OUTER,
  PARE__REDUCE_REDUCED,
  PARE__REDUCE_INNER,
  PARE__REDUCE_BLOCK,
  PARE__REDUCE_X_OUTER,   /* strides of x */
  PARE__REDUCE_X_REDUCED, /* 1 if inner is 1 */
  PARE__REDUCE_Y_OUTER,   /* strides of y */
  PARE__REDUCE_Y_BLOCK,
  PARE__REDUCE_POSITION, /* index of the first element of x along the reduced axis of the whole */
  PARE__REDUCE_COUNT     /* elements behind a result, for the mean */
};

extern const pare__family pare__family_reduce;

/* The dtype of partial results: f32 for f32, f16 and bf16, f64; integers 64 bits where they add up or multiply, else 32
 * or, if they have those, 64; u32 and u64 unsigned, others signed. */
pare_dtype pare__reduce_partial(int mode, pare_dtype dtype);
/* Does a partial result have a second part? */
bool pare__reduce_is_pair(int mode);
/* The length of a block for an operation of this whole shape: fixed, so that bits never depend on pieces or devices. */
int64_t pare__reduce_block(int64_t reduced, int64_t inner);

#endif
