/* Matrix product for CPU devices, as wide as their vectors. SPDX-License-Identifier: Apache-2.0
 *
 * C = activation(alpha * A * B + beta * summand + bias). One work-item a work-group computes a block of C:
 *
 *         nc columns, panels of VW * NV    for each block of kc steps of k:
 *          +----+----+----+                  B block -> panels in local memory (or B in place)
 *   MR rows|tile|    |    |  mc rows         for each MR rows: A rows -> local memory (or in place)
 *          +----+----+----+                    for each panel: tile (gemm_wide_tile.cl), then C
 *          |    |    |    |
 *
 * The panels of a block of B stay in the second level cache, the rows of A in the first (Goto & van de Geijn 2008,
 * without packing A when its rows are f32 and contiguous). An element of C is a chain of fma over each block of kc, the
 * blocks added in order: its bits depend on kc alone, never on the blocking of rows and columns.
 *
 * -D VW lanes of a vector, NV vectors across a tile, MR and MR_SMALL rows of a tile: 8 2 6 4 for 16 registers of 256
 * bits, 16 2 8 4 for 32 of 512. -D A_IN_PLACE: A is f32 and its rows are contiguous. -D B_IN_PLACE: B is in panels, or
 * its rows are contiguous and used directly. -D PREFETCH: the compiler has clang's builtin. -D C_IS_F32: sums of
 * earlier blocks of k wait in C, else in local memory.
 */
#include "dtype.cl"
#include "gemm_blocks.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef VW
#define VW 8
#endif
#ifndef NV
#define NV 2
#endif
#ifndef MR
#define MR 6
#endif
#ifndef MR_SMALL
#define MR_SMALL 4
#endif
#define PANEL (VW * NV)
#define STEPS 8
#define UNROLL _Pragma("unroll")
#define LANES JOIN(float, VW)

/* Asks memory for what lies at p and is needed soon, to be read or (write = 1) written. */
#if PREFETCH
#define ASK_FOR(p, write) __builtin_prefetch((const void *)(ulong)(p), write)
#else
#define ASK_FOR(p, write) (void)0
#endif

#define REAL LANES
#define MATH_WIDTH VW
#include "gemm_epilogue.cl"

#if A_IN_PLACE
#define A_SPACE __global
#else
#define A_SPACE __local
#endif
#if B_IN_PLACE
#define B_SPACE __global
#define B_TYPE T1
#else
#define B_SPACE __local
#define B_TYPE f32
#endif

#define ROWS MR
#define TILE_NAME tile_full
#include "gemm_wide_tile.cl"
#undef ROWS
#undef TILE_NAME
#define ROWS MR_SMALL
#define TILE_NAME tile_small
#include "gemm_wide_tile.cl"

#include "gemm_wide_row.cl"

#if NM_M
#include "gemm_nm_panel.cl"
#elif B_BITS
#include "gemm_blocks_panel.cl"
#elif !B_IN_PLACE
/* Columns [0, columns) of kc rows of B into panels of PANEL columns; what is missing of the last panel is zero. */
static void pack_b(__global const STORE(T1) *b, long b_row, long b_col, int columns, int kc, __local float *panels) {
  const int steps = 8;         /* rows at a time, so that B is read along its rows */
  const int ahead = 2 * steps; /* rows; a processor sees no pattern in pieces of so many */
  for (int k0 = 0; k0 < kc; k0 += steps)
    for (int j = 0; j < columns; j += PANEL) {
      __local float *panel = panels + j * kc;
      const int k1 = min(k0 + steps, kc);
      if (b_col == 1 && j + PANEL <= columns) {
        for (int k = k0; k < k1; k++) {
          ASK_FOR(b + (k + ahead) * b_row + j, 0);
          UNROLL for (int v = 0; v < NV; v++)
              SAVEV(f32, VW, panel, k * PANEL + v * VW, LOADV(T1, VW, b, k * b_row + j + v * VW));
        }
      } else {
        for (int l = 0; l < PANEL; l++)
          for (int k = k0; k < k1; k++)
            panel[k * PANEL + l] = j + l < columns ? LOAD(T1, b, k * b_row + (j + l) * b_col) : 0.0f;
      }
    }
}
#endif

#if !A_IN_PLACE
/* Rows of A, kc steps of each, as f32. */
static void pack_a(__global const STORE(T0) *a, long a_row, long a_col, int rows, int kc, __local float *packed) {
  if (a_col == 1) {
    for (int r = 0; r < rows; r++) {
      int k = 0;
      for (; k + VW <= kc; k += VW) SAVEV(f32, VW, packed, r * kc + k, LOADV(T0, VW, a, r * a_row + k));
      for (; k < kc; k++) packed[r * kc + k] = LOAD(T0, a, r * a_row + k);
    }
  } else {
    for (int k = 0; k < kc; k++)
      for (int r = 0; r < rows; r++) packed[r * kc + k] = LOAD(T0, a, r * a_row + k * a_col);
  }
}
#endif

/* How many of the rows left go into the next tile, and whether that is a small one. */
static int tile_rows(int left, bool *small) {
  const int tail = left % MR;
  *small = left <= MR_SMALL || (left < 2 * MR && tail != 0 && left <= 2 * MR_SMALL);
  return min(left, *small ? MR_SMALL : MR);
}

#if C_IS_F32
/* A whole tile that has neither bias nor activation: what finish_row does, without its questions. */
static void finish_plain(float alpha, int add, const float *sums, __global float *c, long c_row) {
  UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) {
    const LANES base = add ? LOADV(f32, VW, c, r * c_row + v * VW) : (LANES)(0.0f);
    SAVEV(f32, VW, c, r * c_row + v * VW, fma((LANES)(alpha), LOADV(f32, VW, sums, r * PANEL + v * VW), base));
  }
}
#endif

/* Group (x, y, z): columns x * nc … of rows y * mc … of batch z. b_panel: elements from one panel of
 * packed B to the next, 0 if it is not packed. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
gemm_wide(int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0, long a_batch1,
          long a_row, long a_col, __global const STORE(T1) *b, long b_offset, long b_batch0, long b_batch1, long b_row,
          long b_col, long b_panel, __global const STORE(T2) *bias, long bias_offset, long bias_row, long bias_col,
          __global const STORE(T3) *summand, long summand_offset, __global STORE(T3) *c, long c_offset, long c_batch0,
          long c_batch1, long c_row, float alpha, float beta, float low, float high, int activation, int mc, int nc,
          int kc_most, __local float *a_local, __local float *b_local, __local float *partial BLOCKS_PARAMETERS) {
  const long batch0 = get_global_id(2) / batches, batch1 = get_global_id(2) % batches;
  const int j0 = get_global_id(0) * nc, j1 = min(n, j0 + nc), i0 = get_global_id(1) * mc, i1 = min(m, i0 + mc);
  epilogue e = {alpha, beta, low, high, activation, 1, 1, bias_row, bias_col};
  float sums[MR * PANEL];
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1;
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1;
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1;
  for (int k0 = 0; k0 < k || k0 == 0; k0 += kc_most) {
    const int kc = min(kc_most, k - k0);
    e.first = k0 == 0;
    e.last = k0 + kc >= k;
#if C_IS_F32
    const bool plain = !(e.first && (bias || beta != 0.0f)) && !(e.last && activation);
#endif
#if B_IS_PACKED
    unpack_b(b + j0 / PANEL * b_panel, b_panel, scale ? scale + scale_offset : 0, zero ? zero + zero_offset : 0,
             zero_shift, block, j0 / PANEL, j1 - j0, k, k0, kc, b_local);
#elif !B_IN_PLACE
    pack_b(b + k0 * b_row + j0 * b_col, b_row, b_col, j1 - j0, kc, b_local);
#endif
    bool small;
    for (int i = i0, rows; i < i1; i += rows) {
      rows = tile_rows(i1 - i, &small);
#if A_IN_PLACE
      __global const float *a_tile = a + i * a_row + k0;
      const long a_tile_row = a_row;
#else
      pack_a(a + i * a_row + k0 * a_col, a_row, a_col, rows, kc, a_local);
      __local const float *a_tile = a_local;
      const long a_tile_row = kc;
#endif
      for (int j = j0; j < j1; j += PANEL) {
#if B_IN_PLACE
        /* Used directly, the last panel of B would reach past its rows: it is moved left, and its first columns are not
         * stored. */
        const int left = b_panel ? 0 : max(j + PANEL - n, 0);
        __global const STORE(T1) *b_tile = b + k0 * b_row + (b_panel ? j / PANEL * b_panel : j - left);
        const long b_tile_row = b_row;
#else
        const int left = 0;
        __local const float *b_tile = b_local + (j - j0) * kc;
        const long b_tile_row = PANEL;
#endif
        for (int r = 0; r < rows; r++) ASK_FOR(c + (i + r) * c_row + j - left, 1);
        if (small)
          tile_small(a_tile, a_tile_row, rows, b_tile, b_tile_row, kc, sums);
        else
          tile_full(a_tile, a_tile_row, rows, b_tile, b_tile_row, kc, sums);
        const int to = min(j1 - j, PANEL) + left;
#if C_IS_F32
        if (plain && rows == MR && to - left == PANEL) {
          finish_plain(alpha, !e.first, sums, c + i * c_row + j, c_row);
          continue;
        }
#endif
        for (int r = 0; r < rows; r++)
          finish_row(&e, sums + r * PANEL, left, to, summand + (i + r) * c_row + j - left,
                     c + (i + r) * c_row + j - left,
                     bias ? bias + bias_offset + (i + r) * bias_row + (j - left) * bias_col : 0,
                     partial + ((i + r - i0) * nc + j - j0));
      }
    }
  }
}
