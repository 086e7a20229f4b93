/* Product of a few rows with an N:M sparse matrix, for CPU devices: as fast as its values can be read.
 * SPDX-License-Identifier: Apache-2.0
 *
 * C = activation(alpha * A * B + beta * summand + bias) for A of ROWS rows, B as gemm_nm.cl says. One work-item a
 * work-group: it copies the rows of A to local memory, a group of NM_M steps at every NM_WIDTH floats; then it makes
 * its columns a panel at a time. Each value of B is multiplied with the element of A's group that its place names:
 *
 *   group of A   a0 a1 a2 a3         columns of B: lanes      -D PERMUTE: one instruction of AVX2 picks for all lanes;
 *   places        2  0  0  3 …       picks a2 a0 a0 a3 …      else lanes are loaded one by one
 *
 * An element of C is CHAINS chains of fma, added, then scaled: its bits depend on CHAINS, not on nc or ROWS. */
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
#ifndef CHAINS
#define CHAINS 2
#endif
#define PANEL (VW * NV)
#define NM_WIDTH (NM_M <= 4 ? 4 : NM_M <= 8 ? 8 : 16)
#define UNROLL _Pragma("unroll")
#define LANES JOIN(float, VW)
#define INTS JOIN(int, VW)

#define REAL LANES
#define MATH_WIDTH VW
#include "gemm_epilogue.cl"
#include "gemm_wide_row.cl"

#if PERMUTE
/* Of the places that follow in `word` only those bits count that pick among the lanes of a vector. */
static LANES pick(__local const float *group, INTS word) {
#if NM_WIDTH == 4
  const float4 a = vload4(0, group);
  return __builtin_ia32_vpermilvarps256((float8)(a, a), word);
#elif NM_WIDTH == 8
  return __builtin_ia32_permvarsf256(vload8(0, group), word);
#else
  const LANES low = __builtin_ia32_permvarsf256(vload8(0, group), word);
  const LANES high = __builtin_ia32_permvarsf256(vload8(1, group), word);
  return select(low, high, word << 28);
#endif
}
#else
static LANES pick(__local const float *group, INTS word) {
  int place[VW];
  float lane[VW];
  JOIN(vstore, VW)(word & NM_MASK, 0, place);
  UNROLL for (int l = 0; l < VW; l++) lane[l] = group[place[l]];
  return LOADV(f32, VW, lane, 0);
}
#endif

static void group_row(__global const STORE(T0) *a, long a_col, int k, int groups, __local float *grouped) {
  for (int g = 0; g < groups; g++)
    for (int u = 0; u < NM_WIDTH; u++) {
      const int l = g * NM_M + u;
      grouped[g * NM_WIDTH + u] = u < NM_M && l < k ? LOAD(T0, a, l * a_col) : 0.0f;
    }
}

/* sums[ROWS][PANEL] of one panel. */
static __attribute__((noinline)) void panel_sums(__local const float *a, int a_row, __global const STORE(T1) *b,
                                                 __global const int *places, int units, __global const STORE(T5) *scale,
                                                 float *sums) {
  LANES total[ROWS][NV][CHAINS];
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int v = 0; v < NV; v++)
      UNROLL for (int i = 0; i < CHAINS; i++) total[r][v][i] = (LANES)(0.0f);
  for (int unit = 0; unit < units; unit++) {
    INTS word[NM_UNIT_WORDS][NV];
    UNROLL for (int w = 0; w < NM_UNIT_WORDS; w++)
      UNROLL for (int v = 0; v < NV; v++) word[w][v] = JOIN(vload, VW)(v, places + w * PANEL);
    UNROLL for (int p = 0; p < NM_UNIT_GROUPS * NM_N; p++)
      UNROLL for (int v = 0; v < NV; v++) {
        const LANES value = NM_VALUES(b + p * PANEL + v * VW);
        const INTS place = word[p / NM_WORD][v] >> (p % NM_WORD * NM_BITS);
        UNROLL for (int r = 0; r < ROWS; r++) total[r][v][p % CHAINS] =
            fma(pick(a + r * a_row + p / NM_N * NM_WIDTH, place), value, total[r][v][p % CHAINS]);
      }
    a += NM_UNIT_GROUPS * NM_WIDTH;
    b += NM_UNIT_GROUPS * NM_N * PANEL;
    places += NM_UNIT_WORDS * PANEL;
  }
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int v = 0; v < NV; v++) {
      LANES sum = total[r][v][0];
      if (CHAINS == 2) sum += total[r][v][CHAINS - 1];
      if (scale) sum *= LOADV(T5, VW, scale, v * VW);
      SAVEV(f32, VW, sums, r * PANEL + v * VW, sum);
    }
}

/* Group (x, y): columns x * nc … of batch y. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
gemv_nm(int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0, long a_batch1,
        long a_row, long a_col, __global const STORE(T1) *b, long b_offset, long b_batch0, long b_batch1, long b_row,
        long b_col, long b_panel, __global const STORE(T2) *bias, long bias_offset, long bias_row, long bias_col,
        __global const STORE(T3) *summand, long summand_offset, __global STORE(T3) *c, long c_offset, long c_batch0,
        long c_batch1, long c_row, float alpha, float beta, float low, float high, int activation, int nc,
        __local float *grouped BLOCKS_PARAMETERS) {
  const long batch0 = get_global_id(1) / batches, batch1 = get_global_id(1) % batches;
  const int j0 = get_global_id(0) * nc, j1 = min(n, j0 + nc);
  const int units = NM_UNITS(k), groups = units * NM_UNIT_GROUPS, row = groups * NM_WIDTH;
  const epilogue e = {alpha, beta, low, high, activation, 1, 1, bias_row, bias_col};
  __global const int *places = zero + zero_offset;
  float sums[ROWS * PANEL];
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1;
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1;
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1;
  for (int r = 0; r < ROWS; r++) group_row(a + r * a_row, a_col, k, groups, grouped + r * row);
  for (int j = j0; j < j1; j += PANEL) {
    const long panel = j / PANEL;
    panel_sums(grouped, row, b + panel * b_panel, places + panel * units * NM_UNIT_WORDS * PANEL, units,
               scale ? scale + scale_offset + j : 0, sums);
    for (int r = 0; r < ROWS; r++)
      finish_row(&e, sums + r * PANEL, 0, min(j1 - j, PANEL), summand + r * c_row + j, c + r * c_row + j,
                 bias ? bias + bias_offset + r * bias_row + j * bias_col : 0, 0);
  }
}
