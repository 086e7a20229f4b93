/* Pointwise convolution for CPU devices, channels not in blocks: vectors of pixels times single weights.
 * SPDX-License-Identifier: Apache-2.0
 *
 * One work-item a work-group computes tiles of MO channels of o by NV vectors of neighbouring pixels, which stay in
 * registers while all of c pass: a product [o, c] [c, pixels] whose second factor is x as it lies. w is in blocks as
 * for convolve_direct.cl. The last tile overlaps the one before it and stores only what is new. */
#ifndef LANES
#define LANES 8
#endif
#ifndef MO
#define MO 4
#endif
#ifndef NV
#define NV 3
#endif
#define REAL_WIDTH LANES
#include "convolve.cl"

#define UNROLL _Pragma("unroll")
#define PIXELS (NV * LANES)

/* sums[MO][NV][LANES]. Not inlined: alone, its sums stay in registers. */
static __attribute__((noinline)) void multiply(__global const STORE(T0) *x, long x_channel, __global const STORE(T1) *w,
                                               int channels, SUM *sums) {
  SUMS sum[MO][NV];
  UNROLL for (int m = 0; m < MO; m++) UNROLL for (int v = 0; v < NV; v++) sum[m][v] = (SUMS)(0);
  for (int c = 0; c < channels; c++, x += x_channel, w += LANES) {
    SUMS pixel[NV];
    UNROLL for (int v = 0; v < NV; v++) pixel[v] = LOADV(T0, LANES, x, v * LANES);
    UNROLL for (int m = 0; m < MO; m++) {
      const SUMS factor = (SUMS)((SUM)LOAD(T1, w, m));
      UNROLL for (int v = 0; v < NV; v++) sum[m][v] = MULTIPLY_ADD(factor, pixel[v], sum[m][v]);
    }
  }
  UNROLL for (int m = 0; m < MO; m++) UNROLL for (int v = 0; v < NV; v++)
      SAVEV(TS, LANES, sums, (m * NV + v) * LANES, sum[m][v]);
}

/* Pixels [first, PIXELS) of one channel. */
static void finish(const SUM *sums, int first, SUM base, __global const STORE(T3) *residual, __global STORE(T4) *y,
                   int activation, ENDS ends) {
  for (int v = first / LANES; v < NV; v++) {
    SUMS value = LOADV(TS, LANES, sums, v * LANES) + (SUMS)(base);
    if (v * LANES >= first) {
      if (residual) value += LOADV(T3, LANES, residual, v * LANES);
      value = EPILOGUE(value);
      SAVEV(T4, LANES, y, v * LANES, value);
      continue;
    }
    SUM part[LANES] = {0};
    for (int l = first - v * LANES; residual && l < LANES; l++) part[l] = LOAD(T3, residual, v * LANES + l);
    value += LOADV(TS, LANES, part, 0);
    value = EPILOGUE(value);
    SAVEV(TS, LANES, part, 0, value);
    for (int l = first - v * LANES; l < LANES; l++) SAVE(T4, y, v * LANES + l, part[l]);
  }
}

/* Group (i, j, n): `chunk` tiles from i * chunk, sets of MO channels of all groups from j * span, batch n. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void convolve_point(CONVOLVE_ARGUMENTS, int chunk, int span) {
  CONVOLVE_BEGIN;
  const int n = get_global_id(2), sets = (outputs + MO - 1) / MO, area = y_dims.z;
  const int tiles = (area + PIXELS - 1) / PIXELS, from = get_global_id(0) * chunk;
  const int first_set = get_global_id(1) * span, last_set = min(first_set + span, sets * groups);
  SUM sums[MO * PIXELS];
  for (int t = from; t < min(from + chunk, tiles); t++) {
    const int at = min(t * PIXELS, area - PIXELS), first = t * PIXELS - at;
    for (int set = first_set; set < last_set; set++) {
      const int g = set / sets, o = set % sets * MO;
      multiply(x + X_AT((long)n, g * (long)channels) + at, x_steps.s1,
               w + weight_at(g, o, 0, outputs, channels, 1, LANES), channels, sums);
      for (int m = 0; m < min(MO, outputs - o); m++) {
        const int channel = g * outputs + o + m;
        const long to = Y_AT((long)n, (long)channel) + at;
        finish(sums + m * PIXELS, first, bias ? (SUM)LOAD(T2, bias, channel) : (SUM)0, residual ? residual + to : 0,
               y + to, activation, ends);
      }
    }
  }
}
