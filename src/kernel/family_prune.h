/* Pruning as problems: three families. SPDX-License-Identifier: Apache-2.0
 *
 * n_of_m: x [SETS][M][INNER] -> a mask (bool), or x's values where they are kept (PRUNE_VALUES; out has x's dtype).
 * mask: blocks of BLOCK elements of x [LENGTH]. TIES, COUNT, NONFINITE: x and (TIES, KEEP) threshold [1] to figures i32
 * [blocks]; KEEP: the figures are shares (optional) and the result is a mask. SHARE: ties i32 [LENGTH] and quota i64
 * [1] to shares i32 [LENGTH] and what is left of the quota i64 [1]. LIST: a mask and where the list of each block
 * begins, i64 [blocks], to the indices i64 of what is set. row_select: x [ROWS][LENGTH] in parts of PART elements, the
 * last one shorter -> the K-th largest of each part, f32 [ROWS][parts], or the mask of its K largest (PRUNE_VALUES not
 * set); K_LAST for the last part of a row. */
#ifndef PARE_KERNEL_FAMILY_PRUNE_H
#define PARE_KERNEL_FAMILY_PRUNE_H

#include "kernel/kernel.h"

/* problem.mode of all three; the lowest bits of mask's are the step */
enum { PRUNE_STEP = 7, PRUNE_MAGNITUDE = 8, PRUNE_SMALLEST = 16, PRUNE_VALUES = 32 };
enum { MASK_TIES, MASK_SHARE, MASK_KEEP, MASK_COUNT, MASK_NONFINITE, MASK_LIST };

enum { N_OF_M_SETS, N_OF_M_M, N_OF_M_INNER, N_OF_M_N };
enum { N_OF_M_BUFFER_X, N_OF_M_BUFFER_OUT, N_OF_M_NBUFFERS };
enum { MASK_LENGTH, MASK_BLOCK, MASK_SHARED };
enum { MASK_BUFFER_X, MASK_BUFFER_THRESHOLD, MASK_BUFFER_FIGURES, MASK_BUFFER_OUT, MASK_NBUFFERS };
enum { ROW_SELECT_ROWS, ROW_SELECT_LENGTH, ROW_SELECT_PART, ROW_SELECT_K, ROW_SELECT_K_LAST };
enum { ROW_SELECT_BUFFER_X, ROW_SELECT_BUFFER_OUT, ROW_SELECT_NBUFFERS };

extern const pare__family pare__family_n_of_m, pare__family_mask, pare__family_row_select;

#endif
