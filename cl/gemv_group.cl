/* Product of a few rows with a matrix, for GPUs: a work-group adds up together. SPDX-License-Identifier: Apache-2.0
 *
 * C = activation(alpha * A * B + beta * summand + bias) for A of ROWS rows. A group of GROUP_X columns times GROUP_Y
 * slices of k; item (x, y) takes steps y, y + GROUP_Y, … of column x, then the slices are added in a tree in local
 * memory. Where the rows of B are contiguous (or B is in panels) GROUP_X neighbours read neighbouring columns; where
 * its columns are, GROUP_X is 1 and neighbours read along k. Bits depend on GROUP_X and GROUP_Y, which the whole
 * problem decides. */
#include "dtype.cl"
#include "gemm_blocks.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef GROUP_X
#define GROUP_X 32
#endif
#ifndef GROUP_Y
#define GROUP_Y 8
#endif
#ifndef ROWS
#define ROWS 1
#endif

#define REAL VALUE(T3)
#define MATH_WIDTH 1
#include "gemm_epilogue.cl"

__attribute__((reqd_work_group_size(GROUP_X, GROUP_Y, 1))) __kernel void
gemv_group(int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0, long a_batch1,
           long a_row, long a_col, __global const STORE(T1) *b, long b_offset, long b_batch0, long b_batch1, long b_row,
           long b_col, long b_panel, int panel, __global const STORE(T2) *bias, long bias_offset, long bias_row,
           long bias_col, __global const STORE(T3) *summand, long summand_offset, __global STORE(T3) *c, long c_offset,
           long c_batch0, long c_batch1, long c_row, long c_col, REAL alpha, REAL beta, REAL low, REAL high,
           int activation BLOCKS_PARAMETERS) {
  __local REAL part[ROWS][GROUP_Y][GROUP_X];
  const int x = get_local_id(0), y = get_local_id(1), j = get_group_id(0) * GROUP_X + x;
  const long batch0 = get_group_id(2) / batches, batch1 = get_group_id(2) % batches;
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1;
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;
#if !B_IS_PACKED
  b += panel ? j / panel * b_panel + j % panel : j * b_col;
#endif
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1 + j * c_col;
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1 + j * c_col;
  REAL sum[ROWS];
  for (int r = 0; r < ROWS; r++) sum[r] = 0;
  if (j < n)
#if B_IS_PACKED
    for (int t = y, l; t < STORED_STEPS; t += GROUP_Y) {
      const REAL factor = STORED_ELEMENT(t, j, &l);
#else
    for (int l = y; l < k; l += GROUP_Y) {
      const REAL factor = LOAD(T1, b, l * b_row);
#endif
      for (int r = 0; r < ROWS; r++) sum[r] = fma((REAL)LOAD(T0, a, r * a_row + l * a_col), factor, sum[r]);
    }
  for (int r = 0; r < ROWS; r++) part[r][y][x] = sum[r];
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int half_group = GROUP_Y / 2; half_group > 0; half_group /= 2) {
    if (y < half_group)
      for (int r = 0; r < ROWS; r++) part[r][y][x] += part[r][y + half_group][x];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (y != 0 || j >= n) return;
  for (int r = 0; r < ROWS; r++) {
    REAL base = 0;
    if (bias) base = LOAD(T2, bias, bias_offset + r * bias_row + j * bias_col);
    if (beta != 0) base = fma(beta, (REAL)LOAD(T3, summand, r * c_row), base);
    SAVE(T3, c, r * c_row, activate(activation, fma(alpha, part[r][0][x], base), low, high));
  }
}
