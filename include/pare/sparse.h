/* N:M sparse weights as they are stored. SPDX-License-Identifier: Apache-2.0
 *
 * A matrix [rows][inputs], rows being output channels, of which each group of `of` neighbours along a row keeps `keep`
 * elements; all others are `fill`. It is stored as two arrays:
 *
 *   values   [rows][inputs / of][keep], of the matrix' dtype: what is kept, in the order of the inputs
 *   indices  of each value: its place in the group, 0 … of - 1, in b = ceil(log2 of) bits; a row's indices follow one
 *            another from the low bit of its first byte on, and each row begins with a byte of its own:
 *            ceil(inputs / of * keep * b / 8) bytes, unused bits 0
 *
 * The indices of a group ascend. A group with fewer elements other than `fill` keeps its first ones that are `fill` as
 * well, so that there is one way to store a matrix. 2:4 takes two bits an index: with values of 8 bits 5 bits a weight,
 * of 16 bits 9, of 32 bits 17. Decoding gives the matrix bit for bit, -0 and NaN too. */
#ifndef PARE_SPARSE_H
#define PARE_SPARSE_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_sparse_layout {
  pare_dtype dtype; /* f32, f16, bf16, i8 or u8 */
  int keep, of;     /* 0 < keep < of <= 16 */
  int64_t rows, inputs;
  int fill; /* of i8 and u8: what is not kept; floats: 0 */
} pare_sparse_layout;

/* Bytes of both arrays. PARE_ERR_ARGUMENT for other keep, of and fill, PARE_ERR_TYPE for other dtypes, PARE_ERR_SHAPE
 * unless inputs is a multiple of `of`; PARE_ERR_LIMIT if a size overflows. */
PARE_API pare_status pare_sparse_sizes(const pare_sparse_layout *layout, size_t *values_bytes, size_t *indices_bytes);
/* dense: [rows][inputs], any alignment; so are values. PARE_ERR_ARGUMENT: a group holds more than `keep`. */
PARE_API pare_status pare_sparse_encode(const pare_sparse_layout *layout, const void *dense, void *values,
                                        uint8_t *indices);
/* The way back. PARE_ERR_FORMAT names the row and group whose indices do not ascend or reach past it. */
PARE_API pare_status pare_sparse_decode(const pare_sparse_layout *layout, const void *values, const uint8_t *indices,
                                        void *dense);

#ifdef __cplusplus
}
#endif
#endif
