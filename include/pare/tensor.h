/* Tensors: dtype, shape, strides, and where their current copy lives. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_TENSOR_H
#define PARE_TENSOR_H

#include <pare/context.h>
#include <pare/dtype.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_tensor pare_tensor;

/* A new tensor, row-major, its elements undefined until written. rank 0 is a scalar; a dimension may be 0.
 * PARE_ERR_SHAPE: rank over PARE_MAX_RANK, a negative dimension, a size that overflows.
 * PARE_ERR_LIMIT: over the memory limit. A tensor over the device's largest buffer stays on the host and is staged in
 * pieces. */
PARE_API pare_status pare_tensor_create(pare_context *context, pare_dtype dtype, int rank, const int64_t *shape,
                                        pare_tensor **out);

/* As create, then filled from `data` (row-major, contiguous, nbytes must be exact). The data is copied before
 * returning. */
PARE_API pare_status pare_tensor_from(pare_context *context, pare_dtype dtype, int rank, const int64_t *shape,
                                      const void *data, size_t nbytes, pare_tensor **out);

/* A tensor over the caller's memory (row-major), without a copy where the device shares memory with the host. The
 * memory must outlive the tensor, and the caller may touch it only between pare_tensor_sync and the next operation that
 * uses the tensor. */
PARE_API pare_status pare_tensor_wrap(pare_context *context, pare_dtype dtype, int rank, const int64_t *shape,
                                      void *data, size_t nbytes, pare_tensor **out);
/* Waits and makes the wrapped memory hold the current values. */
PARE_API pare_status pare_tensor_sync(pare_tensor *tensor);

/* Releases this handle; the storage goes with its last handle, after pending work. NULL is allowed. */
PARE_API void pare_tensor_close(pare_tensor *tensor);

/* Waits for the work that writes the tensor and copies its elements, row-major and contiguous, to data.
 * PARE_ERR_SHAPE if nbytes is not exact. An error of the work that should have written the tensor comes back here. */
PARE_API pare_status pare_tensor_read(pare_tensor *tensor, void *data, size_t nbytes);
/* Overwrites all elements from row-major contiguous data, which may be reused on return. */
PARE_API pare_status pare_tensor_write(pare_tensor *tensor, const void *data, size_t nbytes);

PARE_API pare_context *pare_tensor_context(const pare_tensor *tensor);
PARE_API pare_dtype pare_tensor_dtype(const pare_tensor *tensor);
PARE_API int pare_tensor_rank(const pare_tensor *tensor);
PARE_API const int64_t *pare_tensor_shape(const pare_tensor *tensor);   /* rank entries */
PARE_API const int64_t *pare_tensor_strides(const pare_tensor *tensor); /* in elements; 0 along a broadcast dimension */
PARE_API int64_t pare_tensor_elements(const pare_tensor *tensor);

/* Views share the storage: writing one shows in the others. */
/* Same elements, new shape; one dimension may be -1. PARE_ERR_SHAPE if the count differs or the strides do not allow a
 * view. */
PARE_API pare_status pare_tensor_reshape(pare_tensor *tensor, int rank, const int64_t *shape, pare_tensor **out);
/* out[i0]…[ik] with dimension d of out = dimension axes[d] of tensor; axes is a permutation. */
PARE_API pare_status pare_tensor_permute(pare_tensor *tensor, const int *axes, pare_tensor **out);
/* Elements start, start+step, … (count of them) of one axis; step may be negative. */
PARE_API pare_status pare_tensor_slice(pare_tensor *tensor, int axis, int64_t start, int64_t count, int64_t step,
                                       pare_tensor **out);
/* Right-aligned broadcast as ONNX and numpy do it; a view with stride 0. Not writable. */
PARE_API pare_status pare_tensor_broadcast(pare_tensor *tensor, int rank, const int64_t *shape, pare_tensor **out);

#ifdef __cplusplus
}
#endif
#endif
