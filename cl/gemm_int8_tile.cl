/* Product of dynamically quantised activations with int8 weights, for GPUs. SPDX-License-Identifier: Apache-2.0
 *
 * The operation of gemm_int8.cl, with square tiles in local memory as gemm_tile.cl has them: an int holds four steps of
 * k. A work-group of 8 x 8 items makes 32 x 32 elements, an item 4 x 4 of them. -DDOT: the dot product of
 * cl_khr_integer_dot_product. */
#include "dtype.cl"

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
#define VW 1
#define RANGE_OF T4
#include "range.cl"

static int dot_quad(int a, int b) {
#if DOT
  return dot(as_uchar4(a), as_char4(b));
#else
  const uchar4 x = as_uchar4(a);
  const char4 y = as_char4(b);
  return x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
#endif
}

static int quantise(__global const STORE(T0) *a, long at, float scale, int zero) {
#if A_IS_FLOAT
  return clamp(as_int(clamp(LOAD(T0, a, at) / scale, -512.0f, 512.0f) + 12582912.0f) - 0x4b400000 + zero, 0, 255);
#else
  return LOAD(T0, a, at) + A_SHIFT;
#endif
}

__attribute__((reqd_work_group_size(GROUP, GROUP, 1))) __kernel void
gemm_int8_tile(int m, int n, int k, __global const STORE(T0) *a, long a_offset, long a_row, __global const int *b,
               long b_offset, __global const int *column_sum, long column_sum_offset, __global const float *b_scale,
               long b_scale_offset, __global const STORE(T4) *a_scale, long a_scale_offset,
               __global const STORE(T5) *a_zero, long a_zero_offset, __global const float *bias, long bias_offset,
               __global STORE(T7) *c, long c_offset, long c_row, int activation, float low, float high,
               long range_count, int panel) {
  __local int a_tile[TILE_QUADS][TILE + 1], b_tile[TILE_QUADS][TILE + 1];
  __local float2 part[GROUP * GROUP];
  const int x = get_local_id(0), y = get_local_id(1), item = y * GROUP + x;
  const int i0 = get_group_id(1) * TILE, j0 = get_group_id(0) * TILE, quads = (k + 3) / 4;
  const float2 range = range_of_group(a_scale + a_scale_offset, range_count, item, GROUP * GROUP, part);
  const bool given = range_count == 0;
  const float scale = !given ? range_scale(range) : a_scale ? LOAD(T4, a_scale, a_scale_offset) : 1.0f;
  const int zero = !given ? range_zero(range, scale) : (a_zero ? LOAD(T5, a_zero, a_zero_offset) : 0) + A_SHIFT;
  int sum[WORK][WORK];
  UNROLL for (int r = 0; r < WORK; r++)
    UNROLL for (int s = 0; s < WORK; s++) sum[r][s] = 0;
  for (int q0 = 0; q0 < quads; q0 += TILE_QUADS) {
    for (int t = item; t < TILE * TILE_QUADS; t += GROUP * GROUP) {
      const int l = t % TILE_QUADS, r = t / TILE_QUADS, at = 4 * (q0 + l);
      int word = 0;
      if (i0 + r < m)
        for (int byte = 0; byte < 4; byte++)
          if (at + byte < k) word |= quantise(a, a_offset + (i0 + r) * a_row + at + byte, scale, zero) << (8 * byte);
      a_tile[l][r] = word;
    }
    for (int t = item; t < TILE * TILE_QUADS; t += GROUP * GROUP) {
      const int l = t / TILE, s = t % TILE, j = j0 + s;
      const long at = ((long)(j / panel) * quads + q0 + l) * panel + j % panel;
      b_tile[l][s] = j < n && q0 + l < quads ? b[b_offset + at] : 0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int l = 0; l < TILE_QUADS; l++)
      UNROLL for (int r = 0; r < WORK; r++) {
        const int factor = a_tile[l][r * GROUP + y];
        UNROLL for (int s = 0; s < WORK; s++) sum[r][s] += dot_quad(factor, b_tile[l][s * GROUP + x]);
      }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  int result[WORK * WORK];
  UNROLL for (int r = 0; r < WORK; r++)
    UNROLL for (int s = 0; s < WORK; s++) result[r * WORK + s] = sum[r][s];
  for (int t = 0; t < WORK * WORK; t++) {
    const int i = i0 + t / WORK * GROUP + y, j = j0 + t % WORK * GROUP + x;
    if (i >= m || j >= n) continue;
    const int exact = result[t] - zero * column_sum[column_sum_offset + j];
#if C_IS_I32
    SAVE(T7, c, c_offset + i * c_row + j, exact);
#else
    const float value = fma((float)exact, b_scale[b_scale_offset + j] * scale, bias ? bias[bias_offset + j] : 0.0f);
    SAVE(T7, c, c_offset + i * c_row + j, activate(activation, value, low, high));
#endif
  }
}
