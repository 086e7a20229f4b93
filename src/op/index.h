/* What gather and scatter share: layout, aliasing, the codelet. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_INDEX_H
#define PARE_OP_INDEX_H

#include "kernel/family_index.h"
#include "op/op.h"

#define PARE__INDEX_DTYPES (PARE__DTYPE(PARE_I32) | PARE__DTYPE(PARE_I64))

/* data [outer][length][inner] and values [outer][rows][inner] meet by tuples of indices; see kernel/family_index.h. */
typedef struct pare__index_call {
  const char *function;
  int64_t outer, length, rows, inner;
  int tuple;
  bool each;   /* an index an element: index is [outer][rows][inner], else [outer][rows][tuple] */
  bool shared; /* every outer uses the same index [1][rows][tuple] */
  int64_t axis_length[PARE_MAX_RANK], axis_step[PARE_MAX_RANK];
  bool scatter;
  int mode;
} pare__index_call;

/* The length of dimensions [from, to) together. */
int64_t pare__index_product(const pare_tensor *tensor, int from, int to);
/* Fills tuple, axes and length for indices along `count` axes of data from `first`. */
void pare__index_axes(pare__index_call *call, const pare_tensor *data, int first, int count);
/* *out = a handle to close: contiguous, and not in the memory of `target`, which is written before all is read. */
pare_status pare__index_input(pare_tensor *tensor, const pare_tensor *target, pare_tensor **out);
/* *out = a view of data, cut along all axes but `axis` to the length of indices. PARE_ERR_SHAPE if indices is longer,
 * or of another rank. */
pare_status pare__index_narrow(const char *function, pare_tensor *data, const pare_tensor *indices, int axis,
                               pare_tensor **out);
/* All three contiguous. */
pare_status pare__index_submit(const pare__index_call *call, pare_tensor *data, pare_tensor *index,
                               pare_tensor *values);

#endif
