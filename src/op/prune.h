/* Masks, as other operations make them. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_PRUNE_H
#define PARE_OP_PRUNE_H

#include <pare/prune.h>

#include "kernel/family_prune.h"
#include "op/op.h"

/* mask = larger than the threshold (one element), or one of the first `quota` (i64, one element; NULL: all) that equal
 * it; left (i64, one element; NULL without a quota) = what is left of the quota. scores and mask are contiguous. */
pare_status pare__mask_keep(pare_tensor *scores, bool by_magnitude, pare_tensor *threshold, pare_tensor *quota,
                            pare_tensor *left, pare_tensor *mask);

/* *out (i64, one dimension) = the indices of what is set in a contiguous mask, in row-major order. Blocking: how many
 * there are is known only then. */
pare_status pare__mask_list(pare_tensor *mask, pare_tensor **out);

/* Row selection: x is contiguous, its rows along the last axis, in parts. PRUNE_VALUES in mode: out f32 [rows][parts],
 * else a mask. */
pare_status pare__row_select(pare_tensor *x, int mode, int64_t part, int64_t k, int64_t k_last, pare_tensor *out);

/* A handle on the stack, never closed: all elements of a contiguous tensor in one dimension. */
pare_tensor pare__flat(const pare_tensor *tensor);
/* *out = a view of tensor whose last axis is `axis`; close it. */
pare_status pare__axis_last(pare_tensor *tensor, int axis, pare_tensor **out);

#endif
