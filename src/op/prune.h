/* Masks, as other operations make them. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_PRUNE_H
#define PARE_OP_PRUNE_H

#include <pare/prune.h>

#include "kernel/family_prune.h"
#include "kernel/family_select.h"
#include "op/op.h"

/* mask = larger than the threshold (one element), or one of the first `quota` (i64, one element; NULL: all) that equal
 * it; left (i64, one element; NULL without a quota) = what is left of the quota. scores and mask are contiguous. */
pare_status pare__mask_keep(pare_tensor *scores, bool by_magnitude, pare_tensor *threshold, pare_tensor *quota,
                            pare_tensor *left, pare_tensor *mask);

/* ---- a selection whose tensors lie on several devices ----
 *
 * What a pass begins with is known to the host (the terms). Each tensor is looked at by itself, on its own device and
 * any thread, and what was found there is added in the order of feeding: integers, lists of keys and elements of a
 * sample, so that all is exact and the same whoever looks. */
typedef struct pare__selection_terms {
  int phase;
  bool by_magnitude;
  int64_t total, k, places, sampled, open;
  int shift;
  int64_t state[PARE__SELECT_STATE];
  float bounds[2], limit; /* limit: the threshold, once it is known */
} pare__selection_terms;

/* Of one tensor; zeros are nothing. Release it. */
typedef struct pare__selection_found {
  int64_t elements;
  float *sample;
  int64_t sampled;
  int64_t *totals; /* of a digit's bins, or the tallies */
  int64_t ntotals;
  int32_t *lists, *tallies; /* [blocks][room], [blocks][PARE__SELECT_TALLIES] */
  int64_t blocks, room;
} pare__selection_found;

/* Of the pass that begins. Blocking. */
pare_status pare__selection_terms_of(const pare_selection *selection, pare__selection_terms *out);
/* What pare_selection_feed would count: `first` elements of all come before these. Blocking. */
pare_status pare__selection_look(const pare__selection_terms *terms, pare_tensor *scores, int64_t first,
                                 pare__selection_found *out);
void pare__selection_found_release(pare__selection_found *found);
/* In place of feeding the tensor, in its turn. */
pare_status pare__selection_add(pare_selection *selection, const pare__selection_found *found);
/* Once done: marks (a byte an element) = 2 beyond the threshold, 1 equal to it, else 0. Blocking. */
pare_status pare__selection_mark(const pare__selection_terms *terms, pare_tensor *scores, uint8_t *marks);

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
