/* The inner loops of convolve_direct.cl, included three times: POINT, one tap; EDGE, some pixels of the tile see
 * columns outside x, which are zero; neither. sums is [NO][NP][LANES]; blocks past `nblocks` repeat the last. Not
 * inlined: alone, its sums stay in registers. SPDX-License-Identifier: Apache-2.0 */

/* Channels [0, count) of one tap: `from` at the first pixel, `weights` at the first block of o. */
#define CHANNELS(count)                                                                              \
  for (int c = 0; c < (count); c++, at += e->channel) {                                              \
    SUMS factor[NO];                                                                                 \
    UNROLL for (int o = 0; o < NO; o++) factor[o] = LOADV(T1, LANES, weights, block[o] + c * LANES); \
    UNROLL for (int p = 0; p < NP; p++) {                                                            \
      const SUMS value = (SUMS)(PIXEL(p));                                                           \
      UNROLL for (int o = 0; o < NO; o++) sum[o][p] = MULTIPLY_ADD(value, factor[o], sum[o][p]);     \
    }                                                                                                \
  }
#if EDGE
#define PIXEL(p) (inside[p] ? (SUM)LOAD(T0, from, place[p] + at) : (SUM)0)
#else
#define PIXEL(p) ((SUM)LOAD(T0, from, (p)*pixel_step + at))
#endif

static __attribute__((noinline)) void TILE_NAME(const geometry *e, __global const STORE(T0) *x,
                                                __global const STORE(T1) *w, int nblocks, int z0, int y0, int x0,
                                                SUM *sums) {
  SUMS sum[NO][NP];
  UNROLL for (int o = 0; o < NO; o++) UNROLL for (int p = 0; p < NP; p++) sum[o][p] = (SUMS)(0);
  const long pixel_step = e->step * e->pixel;
  long block[NO];
  UNROLL for (int o = 0; o < NO; o++) block[o] = min(o, nblocks - 1) * e->w_block;
#if POINT
  __global const STORE(T0) *from = x + z0 * e->depth + y0 * e->row + x0 * e->pixel;
  __global const STORE(T1) *weights = w;
  int c0 = 0;
  for (; c0 + LANES <= e->channels; c0 += LANES, from += e->block, weights += LANES * LANES) {
    long at = 0;
    CHANNELS(LANES)
  }
  long at = 0;
  CHANNELS(e->channels - c0)
#else
  for (int c0 = 0; c0 < e->channels; c0 += LANES) {
    const int count = min(LANES, e->channels - c0);
    __global const STORE(T0) *plane = x + c0 / LANES * e->block;
    __global const STORE(T1) *taps = w + (long)(c0 / LANES) * e->taps * LANES * LANES;
    for (int kz = 0; kz < e->k_dims.x; kz++) {
      const int iz = z0 + kz * e->dilation.x;
      if (iz < 0 || iz >= e->x_dims.x) continue;
      for (int ky = 0; ky < e->k_dims.y; ky++) {
        const int iy = y0 + ky * e->dilation.y;
        if (iy < 0 || iy >= e->x_dims.y) continue;
        __global const STORE(T1) *weights = taps + (kz * e->k_dims.y + ky) * e->k_dims.z * LANES * LANES;
#if EDGE
        __global const STORE(T0) *from = plane + iz * e->depth + iy * e->row;
        for (int kx = 0; kx < e->k_dims.z; kx++, weights += LANES * LANES) {
          long place[NP], at = 0;
          int inside[NP];
          UNROLL for (int p = 0; p < NP; p++) {
            const int ix = x0 + kx * e->dilation.z + p * e->step;
            inside[p] = ix >= 0 && ix < e->x_dims.z;
            place[p] = clamp(ix, 0, e->x_dims.z - 1) * e->pixel;
          }
          CHANNELS(count)
        }
#else
        __global const STORE(T0) *from = plane + iz * e->depth + iy * e->row + x0 * e->pixel;
        const long right = e->dilation.z * e->pixel;
        for (int kx = 0; kx < e->k_dims.z; kx++, from += right, weights += LANES * LANES) {
          long at = 0;
          if (count == LANES) {
            CHANNELS(LANES)
          } else {
            CHANNELS(count)
          }
        }
#endif
      }
    }
  }
#endif
  UNROLL for (int o = 0; o < NO; o++) UNROLL for (int p = 0; p < NP; p++)
      SAVEV(TS, LANES, sums, (o * NP + p) * LANES, sum[o][p]);
}
#undef CHANNELS
#undef PIXEL
