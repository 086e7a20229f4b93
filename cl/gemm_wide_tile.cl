/* The micro-kernel of gemm_wide.cl, included once for each number of ROWS and place of A.
 * SPDX-License-Identifier: Apache-2.0
 *
 *            B: kc x PANEL, NV vectors a step            sums[ROWS][PANEL] = A[ROWS][kc] * B[kc][PANEL]
 *   A: ROWS rows, one broadcast each a step              (as one chain of fma over k an element)
 *
 * Not inlined: alone, its ROWS * NV sums stay in registers (PoCL's compiler spills them when it is part of a larger
 * function). */
static __attribute__((noinline)) void TILE_NAME(A_SPACE const float *a, long a_row, int rows,
                                                B_SPACE const STORE(B_TYPE) *b, long b_row, int kc, float *sums) {
  A_SPACE const float *row[ROWS];
  LANES sum[ROWS][NV];
  UNROLL for (int r = 0; r < ROWS; r++) {
    row[r] = a + min(r, rows - 1) * a_row;
    UNROLL for (int v = 0; v < NV; v++) sum[r][v] = (LANES)(0.0f);
  }
  for (int k = 0; k < kc; k++, b += b_row) {
    LANES column[NV];
    UNROLL for (int v = 0; v < NV; v++) column[v] = LOADV(B_TYPE, VW, b, v * VW);
    UNROLL for (int r = 0; r < ROWS; r++) {
      LANES factor = (LANES)(row[r][k]);
      UNROLL for (int v = 0; v < NV; v++) sum[r][v] = fma(factor, column[v], sum[r][v]);
    }
  }
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int v = 0; v < NV; v++) SAVEV(f32, VW, sums, r * PANEL + v * VW, sum[r][v]);
}
