/* The end of a row of a tile of gemm_wide.cl and its relatives: sums to elements of C.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Needs VW, NV, PANEL, LANES, C_IS_F32, the dtypes T2 of the bias and T3 of C, and gemm_epilogue.cl. */
typedef struct epilogue {
  float alpha, beta, low, high;
  int activation, first, last; /* first, last: block of k */
  long bias_row, bias_col;
} epilogue;

/* Finishes columns [from, to) of one row of a tile: `c`, `summand` (which may be c) and `bias` point at column 0 of the
 * tile, `partial` at sums of earlier blocks of k where C cannot hold them. */
static __attribute__((noinline)) void finish_row(const epilogue *e, const float *sums, int from, int to,
                                                 __global const STORE(T3) *summand, __global STORE(T3) *c,
                                                 __global const STORE(T2) *bias, __local float *partial) {
  const int full = from == 0 && to == PANEL;
  UNROLL for (int v = 0; v < NV; v++) {
    float before[VW] = {0}, after[VW];
    LANES x = LOADV(f32, VW, sums, v * VW), base = (LANES)(0.0f);
    const int begin = max(from - v * VW, 0), end = min(to - v * VW, VW);
    if (end <= begin) continue;
    if (!e->first) {
#if C_IS_F32
      if (full) {
        base = LOADV(T3, VW, c, v * VW);
      } else {
        for (int l = begin; l < end; l++) before[l] = LOAD(T3, c, v * VW + l);
        base = LOADV(f32, VW, before, 0);
      }
#else
      base = LOADV(f32, VW, partial, v * VW);
#endif
    } else {
      if (bias) {
        if (e->bias_col == 0)
          base = (LANES)(LOAD(T2, bias, 0));
        else if (full && e->bias_col == 1)
          base = LOADV(T2, VW, bias, v * VW);
        else {
          for (int l = begin; l < end; l++) before[l] = LOAD(T2, bias, (v * VW + l) * e->bias_col);
          base = LOADV(f32, VW, before, 0);
        }
      }
      if (e->beta != 0.0f) {
        LANES added;
        if (full) {
          added = LOADV(T3, VW, summand, v * VW);
        } else {
          for (int l = begin; l < end; l++) before[l] = LOAD(T3, summand, v * VW + l);
          added = LOADV(f32, VW, before, 0);
        }
        base = fma((LANES)(e->beta), added, base);
      }
    }
    x = fma((LANES)(e->alpha), x, base);
#if !C_IS_F32
    if (!e->last) {
      SAVEV(f32, VW, partial, v * VW, x);
      continue;
    }
#endif
    if (e->last && e->activation) x = activate(e->activation, x, (LANES)(e->low), (LANES)(e->high));
    if (full) {
      SAVEV(T3, VW, c, v * VW, x);
    } else {
      SAVEV(f32, VW, after, 0, x);
      for (int l = begin; l < end; l++) SAVE(T3, c, v * VW + l, after[l]);
    }
  }
}
