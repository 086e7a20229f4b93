/* Matrix product for any device: one work-item an element of C, any strides. SPDX-License-Identifier: Apache-2.0
 *
 * C = activation(alpha * A * B + beta * summand + bias), each element one chain of fma over k. The fallback of
 * gemm_wide.cl and gemm_tile.cl, and for double on devices that have it. panel > 0: B is in panels of that many
 * columns, panel[k][column]. */
#include "dtype.cl"
#include "gemm_blocks.cl"

#pragma OPENCL FP_CONTRACT OFF

#define REAL VALUE(T3)
#define MATH_WIDTH 1
#include "gemm_epilogue.cl"

__kernel void gemm_plain(int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0,
                         long a_batch1, long a_row, long a_col, __global const STORE(T1) *b, long b_offset,
                         long b_batch0, long b_batch1, long b_row, long b_col, long b_panel, int panel,
                         __global const STORE(T2) *bias, long bias_offset, long bias_row, long bias_col,
                         __global const STORE(T3) *summand, long summand_offset, __global STORE(T3) *c, long c_offset,
                         long c_batch0, long c_batch1, long c_row, long c_col, REAL alpha, REAL beta, REAL low,
                         REAL high, int activation BLOCKS_PARAMETERS) {
  const int j = get_global_id(0), i = get_global_id(1);
  const long batch0 = get_global_id(2) / batches, batch1 = get_global_id(2) % batches;
  if (i >= m || j >= n) return;
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1 + i * a_row;
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;
#if !B_IS_PACKED
  b += panel ? j / panel * b_panel + j % panel : j * b_col;
#endif
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1 + i * c_row + j * c_col;
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1 + i * c_row + j * c_col;
  REAL sum = 0, base = 0;
#if B_IS_PACKED
  for (int l = 0; l < k; l++) sum = fma((REAL)LOAD(T0, a, l * a_col), BLOCKS_ELEMENT(l, j), sum);
#else
  for (int l = 0; l < k; l++) sum = fma((REAL)LOAD(T0, a, l * a_col), (REAL)LOAD(T1, b, l * b_row), sum);
#endif
  if (bias) base = LOAD(T2, bias, bias_offset + i * bias_row + j * bias_col);
  if (beta != 0) base = fma(beta, (REAL)LOAD(T3, summand, 0), base);
  SAVE(T3, c, 0, activate(activation, fma(alpha, sum, base), low, high));
}
