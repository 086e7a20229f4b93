/* Moving elements: copies, permutes, concat, split, expand. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_MOVE_H
#define PARE_MOVE_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bits move unchanged; every dtype, any strides on either side, views without a copy being the way where one will do
 * (pare_tensor_permute, _slice, _broadcast). `out` may overlap an input. Every call: PARE_ERR_SHAPE if shapes do not
 * fit, PARE_ERR_TYPE if dtypes differ (pare_cast converts), PARE_ERR_ARGUMENT for an axis out of range, NULL, or an
 * output that is a broadcast view. */

/* out[i…] = a[i…]; a broadcasts to out's shape (ONNX Expand). */
PARE_API pare_status pare_copy(pare_tensor *a, pare_tensor *out);

/* Dimension d of out is dimension axes[d] of a; axes is a permutation of 0 … rank-1 (ONNX Transpose). */
PARE_API pare_status pare_permute(pare_tensor *a, const int *axes, pare_tensor *out);

/* The inputs one after the other along `axis` (negative counts from the last), their other dimensions equal (ONNX
 * Concat). */
PARE_API pare_status pare_concat(size_t count, pare_tensor *const *inputs, int axis, pare_tensor *out);

/* The inverse: outs[0], outs[1], … are consecutive parts of a along `axis` and together all of it (ONNX Split). */
PARE_API pare_status pare_split(pare_tensor *a, int axis, size_t count, pare_tensor *const *outs);

#ifdef __cplusplus
}
#endif
#endif
