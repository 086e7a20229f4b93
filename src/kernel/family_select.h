/* The problems of the families of selection, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * select: the k-th key by its digits (cl/select.cl). Histogram: 0 = x, 1 = state (i64 [5]), 2 = counts (i32
 * [blocks][2048]); listed: 3 = lists ([blocks][room] of keys), 4 = tallies (i32 [blocks][5]). Bracket: 0 = x, 1 =
 * bounds (x's dtype [2]), 2 = lists, 3 = tallies. Decide: 0 = totals of the tallies (i64 [5]), 1 = state, 2 = next
 * state, 3 = bounds. Narrow: 0 = totals (i64 [2048]), 1 = state, 2 = next state, 3 = threshold and 4 = counts (i64 [2])
 * at the final pass; dtype[3] is x's where x is absent. topk: the largest elements of blocks of rows, in order
 * (cl/topk.cl). 0 = x, 1 = indices (not at the first pass), 2 = y, 3 = indices. A block that is merged is two runs that
 * are in order. */
#ifndef PARE_KERNEL_FAMILY_SELECT_H
#define PARE_KERNEL_FAMILY_SELECT_H

#include "kernel/kernel.h"

#define PARE__SELECT_BINS 2048
#define PARE__SELECT_STATE 5
#define PARE__SELECT_TALLIES 5

/* problem.mode */
enum {
  PARE__SELECT_MAGNITUDE = 1,
  PARE__SELECT_SMALLEST = 2,
  PARE__SELECT_NARROW = 4,
  PARE__SELECT_FINAL = 8,
  PARE__SELECT_BRACKET = 16,
  PARE__SELECT_DECIDE = 32,
  PARE__SELECT_LISTED = 64 /* a histogram may be that of lists */
};
enum { PARE__TOPK_FIRST = 1, PARE__TOPK_SMALLEST = 2, PARE__TOPK_MERGE = 4 };
/* problem.dim of select */
enum {
  PARE__SELECT_LENGTH,
  PARE__SELECT_BLOCK,
  PARE__SELECT_SHIFT,
  PARE__SELECT_BITS,
  PARE__SELECT_ROOM, /* keys that the list of a block holds */
  PARE__SELECT_OPEN  /* 1: the high bound is the largest key there is, 2: the low bound the smallest */
};
/* problem.dim of topk; rows are contiguous, the strides between them in elements */
enum {
  PARE__TOPK_OUTER,
  PARE__TOPK_LENGTH,
  PARE__TOPK_BLOCK,
  PARE__TOPK_KEPT,
  PARE__TOPK_RUN, /* of a merge; a block is two of them */
  PARE__TOPK_X_OUTER,
  PARE__TOPK_Y_OUTER,
  PARE__TOPK_POSITION
};
/* What a scan sorts at a time: it keeps at most half of that of a longer block. */
#define PARE__TOPK_SORTED 1024
extern const pare__family pare__family_select;
extern const pare__family pare__family_topk;

/* The key of an element as the kernels have it; for references. */
uint64_t pare__select_key(pare_dtype dtype, const void *data, size_t index, bool magnitude, bool smallest);
/* Bits of a key of this dtype: 32 or 64. */
int pare__select_key_bits(pare_dtype dtype);

#endif
