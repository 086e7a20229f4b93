/* Blocks of B as floats in panels: what gemm_wide.cl multiplies with. SPDX-License-Identifier: Apache-2.0
 *
 * Blocks are whole words, or there is one block; k0 is the first step of a word. */

/* Steps [k0, k0 + kc) of the panels that `columns` columns from panel `first` on lie in. */
static void unpack_b(__global const int *b, long b_panel, __global const STORE(T5) *scale,
                     __global const STORE(T6) *zero, float zero_shift, int block, int first, int columns, int k, int k0,
                     int kc, __local float *panels) {
  const int blocks = (k + block - 1) / block;
  for (int j = 0; j < columns; j += PANEL, panels += PANEL * kc, b += b_panel, first++) {
    __global const int *words = b + (long)(k0 / BLOCKS_STEPS) * PANEL;
    for (int l = 0, end; l < kc; l = end) {
      const int g = (k0 + l) / block;
      const long at = ((long)first * blocks + g) * PANEL;
      LANES factor[NV], middle[NV];
      UNROLL for (int v = 0; v < NV; v++) {
        factor[v] = LOADV(T5, VW, scale, at + v * VW);
        middle[v] = (LANES)(zero_shift);
        if (zero) middle[v] += CONVERTV(T6, f32, VW, LOADV(T6, VW, zero, at + v * VW));
      }
      end = min(kc, (g + 1) * block - k0);
      for (; l < end; l += BLOCKS_STEPS, words += PANEL)
        UNROLL for (int v = 0; v < NV; v++) {
          const JOIN(int, VW) word = JOIN(vload, VW)(v, words);
          UNROLL for (int u = 0; u < BLOCKS_STEPS; u++)
            if (l + u < end)
              SAVEV(f32, VW, panels, (l + u) * PANEL + v * VW,
                    (CONVERTV(i32, f32, VW, BLOCKS_STEP(word, u)) - middle[v]) * factor[v]);
        }
    }
  }
}
