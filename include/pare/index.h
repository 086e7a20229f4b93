/* Moving elements by index: gather, scatter, pad, tile. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_INDEX_H
#define PARE_INDEX_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For all functions here: any dtype, any strides; out has the dtype of data and may share memory with the inputs.
 * Indices are i32 or i64; negative ones count from the end of their axis. The values of indices are seen on the device
 * only: one out of range gives a zero (gather) or an update left out (scatter), and the next read, sync or wait returns
 * PARE_ERR_ARGUMENT naming the operation. PARE_ERR_SHAPE if shapes do not fit, naming both; PARE_ERR_TYPE;
 * PARE_ERR_ARGUMENT for an axis out of range. */

/* out[i…][j…][k…] = data[i…][indices[j…]][k…], indices along `axis`; out's shape is data's with that axis replaced by
 * the shape of indices (a scalar removes it). ONNX Gather, numpy.take. */
PARE_API pare_status pare_gather(pare_tensor *data, pare_tensor *indices, int axis, pare_tensor *out);

/* out[i][j][k] = data[i][indices[i][j][k]][k] (axis 1 of rank 3). indices has data's rank and out's shape; it is no
 * longer than data along the other axes. ONNX GatherElements, numpy.take_along_axis. */
PARE_API pare_status pare_gather_elements(pare_tensor *data, pare_tensor *indices, int axis, pare_tensor *out);

/* out[b…][j…][k…] = data[b…][indices[b…][j…][0]]…[indices[b…][j…][n-1]][k…]: the last axis of indices, of length n,
 * holds tuples that count along the n axes of data after the first batch_dims. ONNX GatherND. */
PARE_API pare_status pare_gather_nd(pare_tensor *data, pare_tensor *indices, int batch_dims, pare_tensor *out);

/* What an update u does to an element x; the result is rounded to the dtype (integers wrap) after each update. For
 * bool, add and max are or, multiply and min are and. A NaN makes NaN. */
typedef enum pare_scatter_reduction {
  PARE_SCATTER_NONE, /* u */
  PARE_SCATTER_ADD,  /* x + u */
  PARE_SCATTER_MUL,  /* x u */
  PARE_SCATTER_MIN,
  PARE_SCATTER_MAX
} pare_scatter_reduction;

/* out = data; then out[i][indices[i][j][k]][k] = reduction(that, updates[i][j][k]) (axis 1 of rank 3). out has data's
 * shape; indices and updates share a shape of data's rank, no longer than data along the other axes. Updates of one
 * element are applied in row-major order of updates: of duplicates the last wins, and sums have the same bits every
 * time. ONNX ScatterElements. */
PARE_API pare_status pare_scatter_elements(pare_tensor *data, pare_tensor *indices, pare_tensor *updates, int axis,
                                           pare_scatter_reduction reduction, pare_tensor *out);

/* out = data; then out[indices[j…][0]]…[indices[j…][n-1]][k…] = reduction(that, updates[j…][k…]), in row-major order of
 * updates. updates has the shape of indices but its last axis (of length n), then that of data but its first n. ONNX
 * ScatterND. */
PARE_API pare_status pare_scatter_nd(pare_tensor *data, pare_tensor *indices, pare_tensor *updates,
                                     pare_scatter_reduction reduction, pare_tensor *out);

/* What a pad shows next to a b c d. */
typedef enum pare_pad_mode {
  PARE_PAD_CONSTANT, /* v v | a b c d | v v */
  PARE_PAD_REFLECT,  /* c b | a b c d | c b; a pad longer than the axis reflects again */
  PARE_PAD_EDGE,     /* a a | a b c d | d d */
  PARE_PAD_WRAP      /* c d | a b c d | a b */
} pare_pad_mode;

/* out[i] = data[i - before] along every axis; before and after: a number for each axis of data (NULL: zeros). Negative
 * ones crop; cropping comes first, and what is left is padded. value: one element of data's dtype, which
 * PARE_PAD_CONSTANT shows (NULL: zero); it is copied. PARE_ERR_SHAPE if a crop takes more than there is, or if an axis
 * of length 0 is padded other than by a constant. ONNX Pad, numpy.pad. */
PARE_API pare_status pare_pad(pare_tensor *data, const int64_t *before, const int64_t *after, pare_pad_mode mode,
                              const void *value, pare_tensor *out);

/* out = data repeated repeats[d] times along axis d (a number for each axis of data, 0 or more). ONNX Tile, numpy.tile.
 */
PARE_API pare_status pare_tile(pare_tensor *data, const int64_t *repeats, pare_tensor *out);

#ifdef __cplusplus
}
#endif
#endif
