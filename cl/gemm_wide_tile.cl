/* The micro-kernel of gemm_wide.cl, included once for each number of ROWS and place of A.
 * SPDX-License-Identifier: Apache-2.0
 *
 *            B: kc x PANEL, NV vectors a step            sums[ROWS][PANEL] = A[ROWS][kc] * B[kc][PANEL]
 *   A: ROWS rows, one broadcast each a step              (as one chain of fma over k an element)
 *
 * Not inlined: alone, its ROWS * NV sums stay in registers (PoCL's compiler spills them when it is part of a larger
 * function). STEPS of k are written out, so that counting them takes no part in the time. */
#define TILE_STEP(k)                                                                     \
  do {                                                                                   \
    LANES column[NV];                                                                    \
    UNROLL for (int v = 0; v < NV; v++) column[v] = LOADV(B_TYPE, VW, b, v * VW);        \
    UNROLL for (int r = 0; r < ROWS; r++) {                                              \
      const LANES factor = (LANES)(row[r][k]);                                           \
      UNROLL for (int v = 0; v < NV; v++) sum[r][v] = fma(factor, column[v], sum[r][v]); \
    }                                                                                    \
  } while (0)
static __attribute__((noinline)) void TILE_NAME(A_SPACE const float *a, long a_row, int rows,
                                                B_SPACE const STORE(B_TYPE) *b, long b_row, int kc, float *sums) {
  A_SPACE const float *row[ROWS];
  LANES sum[ROWS][NV];
  UNROLL for (int r = 0; r < ROWS; r++) {
    row[r] = r == 0 ? a : row[r - 1] + (r < rows ? a_row : 0);
    UNROLL for (int v = 0; v < NV; v++) sum[r][v] = (LANES)(0.0f);
  }
  int k = 0;
  for (; k + STEPS <= kc; k += STEPS) UNROLL for (int s = 0; s < STEPS; s++, b += b_row) TILE_STEP(k + s);
  for (; k < kc; k++, b += b_row) TILE_STEP(k);
  UNROLL for (int r = 0; r < ROWS; r++) UNROLL for (int v = 0; v < NV; v++)
      SAVEV(f32, VW, sums, r * PANEL + v * VW, sum[r][v]);
}
#undef TILE_STEP
