/* Projection: the closest tensor of a set. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_PROJECT_H
#define PARE_PROJECT_H

#include <pare/grid.h>
#include <pare/prune.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pare_sparsity {
  PARE_SPARSITY_NONE,
  PARE_SPARSITY_K,     /* at most k elements are not zero */
  PARE_SPARSITY_K_ROW, /* at most k of each row along axis */
  PARE_SPARSITY_N_OF_M /* at most n of each m neighbours along axis */
} pare_sparsity;

/* The set: sparse tensors, tensors on a grid, or those that are both. */
typedef struct pare_set {
  pare_sparsity sparsity;
  int axis;
  int64_t k;
  int n, m;
  const pare_grid *grid;       /* NULL: any values */
  const pare_fit_options *fit; /* how scale and zero are found; NULL: scale and zero are given */
} pare_set;
#define PARE_SET_INIT \
  { PARE_SPARSITY_NONE, -1, 0, 0, 0, NULL, NULL }

/* out = the element of the set with the least sum over i of importance_i (w_i - out_i)^2; mask (bool, w's shape; NULL:
 * not wanted) = what is kept of it. importance as pare_grid_fit has it; NULL: 1. scale and zero: NULL without a grid;
 * read if set->fit is NULL, else written. w and out f32, f16 or bf16, of one shape and dtype; out is not w.
 *
 * Exact, up to the rounding of f32 products of importance:
 * - sparse sets: what is kept is what would cost most, importance_i w_i^2;
 * - a given grid: each element to its nearest;
 * - a sparse set and a given grid: kept is what gains most, importance_i (w_i^2 - (w_i - nearest_i)^2), as zero is on
 *   every grid and rows, groups and elements do not depend on each other;
 * - a fitted grid alone, where pare_grid_fit is exact.
 * A search: a sparse set and a fitted grid. It alternates, three times: what is kept for the grid, the grid for what is
 * kept; the first mask is that of w without a grid. */
PARE_API pare_status pare_project(const pare_set *set, pare_tensor *w, pare_tensor *importance, pare_tensor *out,
                                  pare_tensor *mask, pare_tensor *scale, pare_tensor *zero);

#ifdef __cplusplus
}
#endif
#endif
