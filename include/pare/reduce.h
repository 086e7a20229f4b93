/* Reductions over any axes. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_REDUCE_H
#define PARE_REDUCE_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Over the n elements x_i that share an output element. */
typedef enum pare_reduction {
  PARE_REDUCTION_SUM,  /* sum x_i */
  PARE_REDUCTION_MEAN, /* sum x_i / n; integers: rounded towards zero */
  PARE_REDUCTION_MIN,
  PARE_REDUCTION_MAX,
  PARE_REDUCTION_PRODUCT,
  PARE_REDUCTION_L1,          /* sum |x_i| */
  PARE_REDUCTION_L2,          /* sqrt(sum x_i^2); integers: rounded down */
  PARE_REDUCTION_SUM_SQUARE,  /* sum x_i^2 */
  PARE_REDUCTION_LOG_SUM,     /* log(sum x_i); floats only */
  PARE_REDUCTION_LOG_SUM_EXP, /* log(sum exp(x_i)), without overflow; floats only */
  PARE_REDUCTION_ALL,         /* every x_i is true; bool only */
  PARE_REDUCTION_ANY,         /* some x_i is true; bool only */
  PARE_NREDUCTIONS
} pare_reduction;

/* "sum"; NULL past the last. */
PARE_API const char *pare_reduction_name(pare_reduction reduction);

/* out = reduction of x over `axes` (naxes of them, negative ones count from the end; naxes 0: all axes). out has x's
 * shape with each reduced dimension 1 (keep_dims) or left out. Its dtype is x's; sums, products, norms of integers may
 * also go to i64, where they are exact modulo 2^64, and else wrap. bool takes min, max, all and any only. Floats are
 * added in f32 (f64 for f64), in blocks of a length that depends on the shape alone; with eps = 2^-24 (2^-53) the error
 * of a sum is at most c eps sum |x_i|, c = min(n, 32768) / 16 + 96 per block (min(n, 1024) + 16 where the reduced axes
 * are not the last). NaN in: NaN out, also for min and max. n = 0 gives the identity (0, 1, -infinity or the lowest
 * value for max, ...), NaN for the mean of floats. PARE_ERR_ARGUMENT: an axis out of range or twice, a mean of no
 * integers. PARE_ERR_SHAPE, PARE_ERR_TYPE. Semantics of ONNX Reduce*. */
PARE_API pare_status pare_reduce(pare_tensor *x, pare_reduction reduction, const int *axes, int naxes, bool keep_dims,
                                 pare_tensor *out);

/* out (i64) = index along `axis` of the smallest or largest element; of equal ones the first, or the last if
 * last_index. NaN counts as smaller and larger than everything, as in numpy: the first (last) NaN is found. An axis of
 * length 0 is PARE_ERR_SHAPE unless out is empty. */
PARE_API pare_status pare_arg_min(pare_tensor *x, int axis, bool keep_dims, bool last_index, pare_tensor *out);
PARE_API pare_status pare_arg_max(pare_tensor *x, int axis, bool keep_dims, bool last_index, pare_tensor *out);

#ifdef __cplusplus
}
#endif
#endif
