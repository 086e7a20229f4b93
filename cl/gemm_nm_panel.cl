/* N:M sparse B as floats in dense panels: what gemm_wide.cl multiplies with. SPDX-License-Identifier: Apache-2.0
 *
 * A value goes to its step, and zeros to the others, by comparing: all lanes at once, whatever their places. Places
 * ascend, so that value s can only be at steps s … NM_M - NM_N + s. */

/* Steps [k0, k0 + kc) of the panels that `columns` columns from panel `first` on lie in; both are whole groups. */
static void unpack_b(__global const STORE(T1) *b, long b_panel, __global const STORE(T5) *scale,
                     __global const int *places, float unused_shift, int unused_block, int first, int columns, int k,
                     int k0, int kc, __local float *panels) {
  const int units = NM_UNITS(k);
  for (int j = 0; j < columns; j += PANEL, panels += PANEL * kc, b += b_panel, first++)
    for (int l = 0; l < kc; l += NM_M) {
      const int g = (k0 + l) / NM_M, unit = g / NM_UNIT_GROUPS, p0 = g % NM_UNIT_GROUPS * NM_N;
      __global const int *words = places + ((long)first * units + unit) * NM_UNIT_WORDS * PANEL;
      UNROLL for (int v = 0; v < NV; v++) {
        JOIN(int, VW) value[NM_N], place[NM_N];
        const LANES factor = scale ? LOADV(T5, VW, scale, first * PANEL + v * VW) : (LANES)(1.0f);
        UNROLL for (int s = 0; s < NM_N; s++) {
          const LANES x = NM_VALUES(b + (long)(g * NM_N + s) * PANEL + v * VW);
          value[s] = JOIN(as_int, VW)(scale ? x * factor : x);
          place[s] = NM_PLACE(JOIN(vload, VW)(v, words + (p0 + s) / NM_WORD * PANEL), p0 + s);
        }
        UNROLL for (int u = 0; u < NM_M; u++) {
          JOIN(int, VW) step = 0;
          UNROLL for (int s = 0; s < NM_N; s++)
            if (u >= s && u <= NM_M - NM_N + s) step |= value[s] & (place[s] == u);
          SAVEV(f32, VW, panels, (l + u) * PANEL + v * VW, JOIN(as_float, VW)(step));
        }
      }
    }
}
