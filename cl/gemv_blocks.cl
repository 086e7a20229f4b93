/* Product of a few rows with a matrix quantised in blocks, for CPU devices: its values become floats in registers.
 * SPDX-License-Identifier: Apache-2.0
 *
 * C = activation(alpha * A * B + beta * summand + bias) for A of ROWS rows, B as gemm_blocks.cl says. Within a block
 * sum a (q - zero) = sum a q - zero sum a, then the scale. One work-item a work-group: it copies the rows of A to local
 * memory, each step times the power of two that its place in a word makes of q, so that a mask gives a factor without a
 * shift; then it makes its columns a panel at a time. Bits do not depend on nc. */
#include "dtype.cl"
#include "gemm_blocks.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef VW
#define VW 8
#endif
#ifndef NV
#define NV 2
#endif
#ifndef ROWS
#define ROWS 1
#endif
#define PANEL (VW * NV)
#define UNROLL _Pragma("unroll")
#define LANES JOIN(float, VW)
#define INTS JOIN(int, VW)

#define REAL LANES
#define MATH_WIDTH VW
#include "gemm_epilogue.cl"
#include "gemm_wide_row.cl"

/* Step u of a word as PLACE(u) times its value. */
#if B_BITS == 4
#define BIT(u) ((u) < 4 ? 8 * (u) : 8 * (u)-28)
#define PLACED(word, u) ((u) == 7 ? ((word) >> 28) & 15 : (word) & (15 << (BIT(u) & 31)))
#define PLACE(u) ((u) == 7 ? 1.0f : 1.0f / (float)(1u << BIT(u)))
#else
#define PLACED(word, u) ((u) == 3 ? (word) & (int)0xff000000 : ((word) << (24 - 8 * (u))) & (int)0xff000000)
#define PLACE(u) 0x1p-24f
#endif

static void place_row(__global const STORE(T0) *a, long a_col, int k, int block, int words, int blocks,
                      __local float *placed, __local float *sums) {
  for (int g = 0; g < blocks; g++) {
    float sum = 0.0f;
    for (int l = 0; l < words * BLOCKS_STEPS; l++) {
      const int at = g * block + l;
      const float x = l < block && at < k ? LOAD(T0, a, at * a_col) : 0.0f;
      sum += x;
      placed[g * words * BLOCKS_STEPS + l] = x * PLACE(l % BLOCKS_STEPS);
    }
    sums[g] = sum;
  }
}

/* sums[ROWS][PANEL] of one panel. */
static __attribute__((noinline)) void panel_sums(__local const float *a, int a_row, __local const float *a_sum,
                                                 __global const int *b, int blocks, int words,
                                                 __global const STORE(T5) *scale, __global const STORE(T6) *zero,
                                                 float zero_shift, float *sums) {
  LANES total[ROWS][NV];
  UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < NV; v++) total[r][v] = (LANES)(0.0f);
  for (int g = 0; g < blocks; g++) {
    LANES part[ROWS][NV][2];
    UNROLL for (int r = 0; r < ROWS; r++)
      UNROLL for (int v = 0; v < NV; v++) part[r][v][0] = part[r][v][1] = (LANES)(0.0f);
    for (int w = 0; w < words; w++, b += PANEL, a += BLOCKS_STEPS)
      UNROLL for (int v = 0; v < NV; v++) {
        const INTS word = JOIN(vload, VW)(v, b);
        UNROLL for (int u = 0; u < BLOCKS_STEPS; u++) {
          const LANES q = CONVERTV(i32, f32, VW, PLACED(word, u));
          UNROLL for (int r = 0; r < ROWS; r++) part[r][v][u % 2] =
              fma((LANES)(a[r * a_row + u]), q, part[r][v][u % 2]);
        }
      }
    UNROLL for (int v = 0; v < NV; v++) {
      const LANES factor = LOADV(T5, VW, scale, g * PANEL + v * VW);
      LANES middle = (LANES)(zero_shift);
      if (zero) middle += CONVERTV(T6, f32, VW, LOADV(T6, VW, zero, g * PANEL + v * VW));
      UNROLL for (int r = 0; r < ROWS; r++) {
        const LANES x = fma(-middle, (LANES)(a_sum[r * blocks + g]), part[r][v][0] + part[r][v][1]);
        total[r][v] = fma(x, factor, total[r][v]);
      }
    }
  }
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int v = 0; v < NV; v++) SAVEV(f32, VW, sums, r * PANEL + v * VW, total[r][v]);
}

/* Group (x, y): columns x * nc … of batch y. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
gemv_blocks(int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0, long a_batch1,
            long a_row, long a_col, __global const STORE(T1) *b, long b_offset, long b_batch0, long b_batch1,
            long b_row, long b_col, long b_panel, __global const STORE(T2) *bias, long bias_offset, long bias_row,
            long bias_col, __global const STORE(T3) *summand, long summand_offset, __global STORE(T3) *c, long c_offset,
            long c_batch0, long c_batch1, long c_row, float alpha, float beta, float low, float high, int activation,
            int nc, __local float *placed BLOCKS_PARAMETERS) {
  const long batch0 = get_global_id(1) / batches, batch1 = get_global_id(1) % batches;
  const int j0 = get_global_id(0) * nc, j1 = min(n, j0 + nc);
  const int blocks = (k + block - 1) / block, words = (block + BLOCKS_STEPS - 1) / BLOCKS_STEPS;
  const int placed_row = blocks * words * BLOCKS_STEPS;
  const epilogue e = {alpha, beta, low, high, activation, 1, 1, bias_row, bias_col};
  __local float *a_sum = placed + ROWS * placed_row;
  float sums[ROWS * PANEL];
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1;
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1;
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1;
  for (int r = 0; r < ROWS; r++)
    place_row(a + r * a_row, a_col, k, block, words, blocks, placed + r * placed_row, a_sum + r * blocks);
  for (int j = j0; j < j1; j += PANEL) {
    const long panel = j / PANEL, parameters = panel * blocks * PANEL;
    panel_sums(placed, placed_row, a_sum, b + panel * b_panel, blocks, words, scale + scale_offset + parameters,
               zero ? zero + zero_offset + parameters : 0, zero_shift, sums);
    for (int r = 0; r < ROWS; r++)
      finish_row(&e, sums + r * PANEL, 0, min(j1 - j, PANEL), summand + r * c_row + j, c + r * c_row + j,
                 bias ? bias + bias_offset + r * bias_row + j * bias_col : 0, 0);
  }
}
