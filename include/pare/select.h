/* Exact selection: the k-th largest element, the k largest. SPDX-License-Identifier: Apache-2.0
 *
 * Order: NaN is larger than everything, also in magnitude; -0 equals +0. Of equal elements the one with the lower index
 * comes first. */
#ifndef PARE_SELECT_H
#define PARE_SELECT_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_select_options {
  bool by_magnitude; /* order of |x|; floats only */
  bool smallest;     /* the k-th smallest */
} pare_select_options;
#define PARE_SELECT_OPTIONS_INIT \
  { false, false }

/* threshold (a scalar of x's dtype) = the k-th largest of all elements of x, 1 <= k <= their number (|x| if
 * by_magnitude). counts (i64 [2]) = {elements that are beyond the threshold, elements equal to it that belong to the k:
 * k minus the former}: keeping all of the first and the first of the second by index keeps exactly k. Exact for every
 * input: 3 passes over x (6 for f64 and i64); from 2^21 elements on one pass, and those only if a sample of x misled.
 * options NULL: the defaults. PARE_ERR_ARGUMENT (k), PARE_ERR_SHAPE, PARE_ERR_TYPE. */
PARE_API pare_status pare_select_kth(pare_tensor *x, int64_t k, const pare_select_options *options,
                                     pare_tensor *threshold, pare_tensor *counts);

/* values (x's dtype) and indices (i64) of the k largest (or smallest) elements along `axis`, the best first; both have
 * x's shape with k along the axis. As ONNX TopK, sorted. k = 0 is allowed. A row of n elements costs about n operations
 * for k up to 512, and n log k for more; axes other than the last one are moved there and back. */
PARE_API pare_status pare_top_k(pare_tensor *x, int64_t k, int axis, bool smallest, pare_tensor *values,
                                pare_tensor *indices);

#ifdef __cplusplus
}
#endif
#endif
