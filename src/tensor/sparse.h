/* N:M sparse weights on the host: groups of any layout in memory. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_TENSOR_SPARSE_H
#define PARE_TENSOR_SPARSE_H

#include <pare/sparse.h>

#include "base/base.h"

#define PARE__SPARSE_MOST 16 /* elements of a group */

/* How a dense matrix lies: elements from one row, and from one input, to the next. */
typedef struct pare__sparse_dense {
  int64_t row, col;
} pare__sparse_dense;

int pare__sparse_index_bits(int of);
/* Bytes of the indices of one row. */
int64_t pare__sparse_index_bytes(const pare_sparse_layout *layout);
/* The places of group `group` of a row, whose indices begin at `indices`. Do they ascend, below `of`? */
bool pare__sparse_places(const pare_sparse_layout *layout, const uint8_t *indices, int64_t group, uint8_t *places);
/* pare_sparse_encode and _decode of the groups [first, first + count) of every row. dense begins with the first of
 * them; values and indices with those of the matrix. */
pare_status pare__sparse_encode(const pare_sparse_layout *layout, const void *dense, const pare__sparse_dense *strides,
                                int64_t first, int64_t count, void *values, uint8_t *indices);
pare_status pare__sparse_decode(const pare_sparse_layout *layout, const void *values, const uint8_t *indices,
                                int64_t first, int64_t count, void *dense, const pare__sparse_dense *strides);

#endif
