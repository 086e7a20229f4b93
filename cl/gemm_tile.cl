/* Matrix product for GPUs: square tiles in local memory, a block of C in the registers of each work-item.
 * SPDX-License-Identifier: Apache-2.0
 *
 *                 TILE_N                     A work-group of (TILE_N / WORK_N) x (TILE_M / WORK_M) items computes
 * TILE_M x TILE_N of C.
 *           +---------------+                For each TILE_K of k: its items load the tile of A and the tile of B
 * together, neighbours TILE_M | x   x   x   x | item (0, 0)    reading neighbours in memory whatever the strides;
 * barrier; then each item multiplies | x   x   x   x | computes       WORK_M rows by WORK_N columns, spaced by the size
 * of the group so that neighbours store
 *           +---------------+ the x          neighbours and read local memory without bank conflicts (Volkov & Demmel
 * 2008).
 *
 * An element of C is one chain of fma over k, whatever the tiles. panel > 0: B is in panels of that many columns,
 * panel[k][column]. -D B_BITS: B is quantised in blocks, see gemm_blocks.cl. */
#include "dtype.cl"
#include "gemm_blocks.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef TILE_M
#define TILE_M 64
#endif
#ifndef TILE_N
#define TILE_N 64
#endif
#ifndef TILE_K
#define TILE_K 16
#endif
#ifndef WORK_M
#define WORK_M 4
#endif
#ifndef WORK_N
#define WORK_N 4
#endif
#define GROUP_X (TILE_N / WORK_N)
#define GROUP_Y (TILE_M / WORK_M)
#define ITEMS (GROUP_X * GROUP_Y)
#define UNROLL _Pragma("unroll")

#define REAL VALUE(T3)
#define MATH_WIDTH 1
#include "gemm_epilogue.cl"

__attribute__((reqd_work_group_size(GROUP_X, GROUP_Y, 1))) __kernel void
gemm_tile(int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0, long a_batch1,
          long a_row, long a_col, __global const STORE(T1) *b, long b_offset, long b_batch0, long b_batch1, long b_row,
          long b_col, long b_panel, int panel, __global const STORE(T2) *bias, long bias_offset, long bias_row,
          long bias_col, __global const STORE(T3) *summand, long summand_offset, __global STORE(T3) *c, long c_offset,
          long c_batch0, long c_batch1, long c_row, long c_col, REAL alpha, REAL beta, REAL low, REAL high,
          int activation BLOCKS_PARAMETERS) {
  /* one more column: neighbours along k then fall into different banks */
  __local REAL a_tile[TILE_K][TILE_M + 1];
  __local REAL b_tile[TILE_K][TILE_N + 1];
  const int x = get_local_id(0), y = get_local_id(1), item = y * GROUP_X + x;
  const int i0 = get_group_id(1) * TILE_M, j0 = get_group_id(0) * TILE_N;
  const long batch0 = get_group_id(2) / batches, batch1 = get_group_id(2) % batches;
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1;
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1;
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1;

  REAL sum[WORK_M][WORK_N];
  UNROLL for (int r = 0; r < WORK_M; r++)
    UNROLL for (int s = 0; s < WORK_N; s++) sum[r][s] = 0;

  for (int k0 = 0; k0 < k; k0 += TILE_K) {
    UNROLL for (int t = 0; t < TILE_M * TILE_K; t += ITEMS) {
      const int at = t + item, l = a_col == 1 ? at % TILE_K : at / TILE_M, r = a_col == 1 ? at / TILE_K : at % TILE_M;
      a_tile[l][r] = i0 + r < m && k0 + l < k ? LOAD(T0, a, (i0 + r) * a_row + (k0 + l) * a_col) : (REAL)0;
    }
    UNROLL for (int t = 0; t < TILE_N * TILE_K; t += ITEMS) {
      const bool along_n = b_row != 1 || panel != 0;
      const int at = t + item, l = along_n ? at / TILE_N : at % TILE_K, s = along_n ? at % TILE_N : at / TILE_K,
                j = j0 + s;
#if B_IS_PACKED
      b_tile[l][s] = j < n && k0 + l < k ? BLOCKS_ELEMENT(k0 + l, j) : (REAL)0;
#else
      const long column = panel ? j / panel * b_panel + j % panel : j * b_col;
      b_tile[l][s] = j < n && k0 + l < k ? LOAD(T1, b, column + (k0 + l) * b_row) : (REAL)0;
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int l = 0; l < TILE_K; l++) {
      REAL column[WORK_N];
      UNROLL for (int s = 0; s < WORK_N; s++) column[s] = b_tile[l][s * GROUP_X + x];
      UNROLL for (int r = 0; r < WORK_M; r++) {
        const REAL factor = a_tile[l][r * GROUP_Y + y];
        UNROLL for (int s = 0; s < WORK_N; s++) sum[r][s] = fma(factor, column[s], sum[r][s]);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  /* A copy that may be indexed by variables: one epilogue in a loop, not one for each sum. */
  REAL result[WORK_M * WORK_N];
  UNROLL for (int r = 0; r < WORK_M; r++)
    UNROLL for (int s = 0; s < WORK_N; s++) result[r * WORK_N + s] = sum[r][s];
  for (int t = 0; t < WORK_M * WORK_N; t++) {
    const int i = i0 + t / WORK_N * GROUP_Y + y, j = j0 + t % WORK_N * GROUP_X + x;
    if (i >= m || j >= n) continue;
    REAL base = 0;
    if (bias) base = LOAD(T2, bias, bias_offset + i * bias_row + j * bias_col);
    if (beta != 0) base = fma(beta, (REAL)LOAD(T3, summand, i * c_row + j * c_col), base);
    SAVE(T3, c, i * c_row + j * c_col, activate(activation, fma(alpha, result[t], base), low, high));
  }
}
