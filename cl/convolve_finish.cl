/* The end of a tile of convolve_direct.cl and convolve_packed.cl. SPDX-License-Identifier: Apache-2.0
 *
 * KEPT: where sums [pixel][LANES] are. With -DY_IS_BLOCKED=1 a vector is stored as it is, else lane by lane. */
#ifndef KEPT
#define KEPT __private
#endif

/* The bias of one block of channels, of which `lanes` are there. */
static SUMS bias_of(__global const STORE(T2) *bias, int lanes) {
  if (!bias) return (SUMS)(0);
  if (lanes == LANES) return LOADV(T2, LANES, bias, 0);
  SUM there[LANES] = {0};
  for (int l = 0; l < lanes; l++) there[l] = (SUM)LOAD(T2, bias, l);
  return LOADV(TS, LANES, there, 0);
}

/* Stores pixels [first, last) of one block of channels, of which `lanes` are there. */
static void finish(const KEPT SUM *sums, int first, int last, int lanes, __global const STORE(T2) *bias,
                   __global const STORE(T3) *residual, __global STORE(T4) *y, long channel, long pixel, int activation,
                   ENDS ends) {
  const SUMS base = bias_of(bias, lanes);
#if Y_IS_BLOCKED
  if (IS_SIMPLE) {
    const SUMS least = LEAST;
    for (int p = first; p < last; p++) {
      SUMS value = LOADV(TS, LANES, sums, p * LANES) + base;
      if (residual) value += LOADV(T3, LANES, residual, p * pixel);
      SAVEV(T4, LANES, y, p * pixel, SIMPLE_EPILOGUE(value, least));
    }
    return;
  }
  for (int p = first; p < last; p++) {
    SUMS value = LOADV(TS, LANES, sums, p * LANES) + base;
    if (residual) value += LOADV(T3, LANES, residual, p * pixel);
    value = EPILOGUE(value);
    SAVEV(T4, LANES, y, p * pixel, value);
  }
#else
  SUM out[NP * LANES];
  UNROLL for (int p = 0; p < NP; p++) {
    SUMS value = LOADV(TS, LANES, sums, p * LANES) + base;
    if (residual) {
      SUM added[LANES] = {0};
      if (p >= first && p < last)
        for (int l = 0; l < lanes; l++) added[l] = (SUM)LOAD(T3, residual, l * channel + p * pixel);
      value += LOADV(TS, LANES, added, 0);
    }
    value = EPILOGUE(value);
    SAVEV(TS, LANES, out, p * LANES, value);
  }
  for (int l = 0; l < lanes; l++)
    for (int p = first; p < last; p++) SAVE(T4, y, l * channel + p * pixel, out[p * LANES + l]);
#endif
}
