/* N:M sparse weights on the host. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_TENSOR_SPARSE_H
#define PARE_TENSOR_SPARSE_H

#include <pare/sparse.h>

#include "base/base.h"

#define PARE__SPARSE_MOST 16 /* elements of a group */

int pare__sparse_index_bits(int of);
/* Bytes of the indices of one row. */
int64_t pare__sparse_index_bytes(const pare_sparse_layout *layout);
/* The places of group `group` of a row, whose indices begin at `indices`. Do they ascend, below `of`? */
bool pare__sparse_places(const pare_sparse_layout *layout, const uint8_t *indices, int64_t group, uint8_t *places);
/* pare_sparse_encode and _decode of a tensor [outer][inputs][inner] whose rows are (outer, inner): the inputs may be
 * any axis. Without the checks of pare_sparse_sizes. */
pare_status pare__sparse_encode_axis(const pare_sparse_layout *layout, int64_t inner, const void *dense, void *values,
                                     uint8_t *indices);
pare_status pare__sparse_decode_axis(const pare_sparse_layout *layout, int64_t inner, const void *values,
                                     const uint8_t *indices, void *dense);

#endif
