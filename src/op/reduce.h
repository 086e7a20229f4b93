/* Passes of reductions, for operations that are built of them. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_REDUCE_H
#define PARE_OP_REDUCE_H

#include "kernel/family_reduce.h"
#include "op/op.h"

/* A tensor seen as [outer][reduced][inner], strides in elements; the inner one is 1. */
typedef struct pare__reduce_view {
  int64_t outer, reduced, inner, outer_stride, reduced_stride;
} pare__reduce_view;

/* A handle on the stack that shows tensor's elements as this view; never closed. */
pare_tensor pare__reduce_seen(const pare_tensor *tensor, const pare__reduce_view *view);

/* Reduces the middle axis of x. mode: a pare__reduction, with PARE__REDUCE_FIRST if x holds elements and not partial
 * results, _FINAL if out gets results. second: the second part of x, or the centres; out and out_second are contiguous
 * [outer][inner] (NULL if absent). count: elements behind a result. As many passes as the block length asks for. */
pare_status pare__reduce_axis(int mode, pare_tensor *x, pare_tensor *second, const pare__reduce_view *view,
                              int64_t count, pare_tensor *out, pare_tensor *out_second);

#endif
