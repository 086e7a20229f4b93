/* Product of activations rounded to 8 bits with weights of 4 bits in blocks, for GPUs.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The operation of gemm_blocks_int8.cl. A work-group of 8 x 8 items makes 32 x 32 elements, an item 4 x 4 of them. For
 * each block of k: two items a row find its largest magnitude; then, 32 steps at a time, A is rounded and B unpacked
 * into tiles of local memory, ints of four steps each. -DDOT: the dot product of cl_khr_integer_dot_product. */
#include "dtype.cl"
#include "gemm_blocks.cl"

#if DOT
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
#endif
#pragma OPENCL FP_CONTRACT OFF

#define TILE 32
#define TILE_QUADS 8
#define GROUP 8
#define WORK (TILE / GROUP)
#define UNROLL _Pragma("unroll")

#define REAL float
#define MATH_WIDTH 1
#include "gemm_epilogue.cl"

static int dot_quad(int a, int b) {
#if DOT
  return dot(as_char4(a), as_uchar4(b));
#else
  const char4 x = as_char4(a);
  const uchar4 y = as_uchar4(b);
  return x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
#endif
}

__attribute__((reqd_work_group_size(GROUP, GROUP, 1))) __kernel void
gemm_blocks_tile(int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0,
                 long a_batch1, long a_row, long a_col, __global const STORE(T1) *b, long b_offset, long b_batch0,
                 long b_batch1, long b_row, long b_col, long b_panel, int panel, __global const STORE(T2) *bias,
                 long bias_offset, long bias_row, long bias_col, __global const STORE(T3) *summand, long summand_offset,
                 __global STORE(T3) *c, long c_offset, long c_batch0, long c_batch1, long c_row, long c_col,
                 float alpha, float beta, float low, float high, int activation BLOCKS_PARAMETERS) {
  __local int a_tile[TILE_QUADS][TILE + 1], b_tile[TILE_QUADS][TILE + 1];
  __local float half_most[TILE][2];
  const int x = get_local_id(0), y = get_local_id(1), item = y * GROUP + x;
  const int i0 = get_group_id(1) * TILE, j0 = get_group_id(0) * TILE;
  const int blocks = (k + block - 1) / block, words = (block + BLOCKS_STEPS - 1) / BLOCKS_STEPS;
  const long batch0 = get_group_id(2) / batches, batch1 = get_group_id(2) % batches;
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1;
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1;
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1;
  float total[WORK][WORK];
  UNROLL for (int r = 0; r < WORK; r++)
    UNROLL for (int s = 0; s < WORK; s++) total[r][s] = 0.0f;
  for (int g = 0; g < blocks; g++) {
    const int begin = g * block, count = min(block, k - begin);
    float most = 0.0f;
    if (i0 + item / 2 < m)
      for (int l = item % 2; l < count; l += 2) {
        const float value = fabs(LOAD(T0, a, (i0 + item / 2) * a_row + (begin + l) * a_col));
        most = value > most ? value : most;
      }
    half_most[item / 2][item % 2] = most;
    barrier(CLK_LOCAL_MEM_FENCE);
    int sum[WORK][WORK], a_sum[WORK];
    UNROLL for (int r = 0; r < WORK; r++) {
      a_sum[r] = 0;
      UNROLL for (int s = 0; s < WORK; s++) sum[r][s] = 0;
    }
    for (int q0 = 0; q0 < 2 * words; q0 += TILE_QUADS) {
      for (int t = item; t < TILE * TILE_QUADS; t += GROUP * GROUP) {
        const int l = t % TILE_QUADS, r = t / TILE_QUADS, at = 4 * (q0 + l);
        const float largest = half_most[r][0] > half_most[r][1] ? half_most[r][0] : half_most[r][1];
        const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
        int quad = 0;
        if (i0 + r < m)
          for (int byte = 0; byte < 4; byte++)
            if (at + byte < count) {
              const float value = LOAD(T0, a, (i0 + r) * a_row + (begin + at + byte) * a_col);
              quad |= ((as_int(fma(value, inverse, 12582912.0f)) - 0x4b400000) & 255) << (8 * byte);
            }
        a_tile[l][r] = quad;
      }
      for (int t = item; t < TILE * TILE_QUADS; t += GROUP * GROUP) {
        const int l = t / TILE, s = t % TILE, j = j0 + s, word = (q0 + l) / 2;
        const long at = j / panel * b_panel + (long)(g * words + word) * panel + j % panel;
        b_tile[l][s] = j < n && word < words ? (b[at] >> (4 * (l & 1))) & 0x0f0f0f0f : 0;
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int l = 0; l < TILE_QUADS; l++)
        UNROLL for (int r = 0; r < WORK; r++) {
          const int factor = a_tile[l][r * GROUP + y];
          a_sum[r] += dot_quad(factor, 0x01010101);
          UNROLL for (int s = 0; s < WORK; s++) sum[r][s] += dot_quad(factor, b_tile[l][s * GROUP + x]);
        }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
    UNROLL for (int r = 0; r < WORK; r++) {
      const int row = r * GROUP + y;
      const float a_scale =
          (half_most[row][0] > half_most[row][1] ? half_most[row][0] : half_most[row][1]) * (1.0f / 127.0f);
      UNROLL for (int s = 0; s < WORK; s++) {
        const int j = min(j0 + s * GROUP + x, n - 1);
        const long at = ((long)(j / panel) * blocks + g) * panel + j % panel;
        const float middle = (zero ? (float)LOAD(T6, zero, zero_offset + at) : 0.0f) + zero_shift;
        const float exact = fma(-middle, (float)a_sum[r], (float)sum[r][s]);
        total[r][s] = fma(exact, LOAD(T5, scale, scale_offset + at) * a_scale, total[r][s]);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  float result[WORK * WORK];
  UNROLL for (int r = 0; r < WORK; r++)
    UNROLL for (int s = 0; s < WORK; s++) result[r * WORK + s] = total[r][s];
  for (int t = 0; t < WORK * WORK; t++) {
    const int i = i0 + t / WORK * GROUP + y, j = j0 + t % WORK * GROUP + x;
    if (i >= m || j >= n) continue;
    float base = 0.0f;
    if (bias) base = LOAD(T2, bias, bias_offset + i * bias_row + j * bias_col);
    if (beta != 0.0f) base = fma(beta, LOAD(T3, summand, i * c_row + j * c_col), base);
    SAVE(T3, c, i * c_row + j * c_col, activate(activation, fma(alpha, result[t], base), low, high));
  }
}
