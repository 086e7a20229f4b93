/* The inner loops of convolve_direct.cl, included twice: with EDGE some pixels of the tile see columns outside x, which
 * are zero. sums is [NO][NP][LANES]; blocks past `nblocks` repeat the last. SPDX-License-Identifier: Apache-2.0 */
#if EDGE
#define PIXEL(p, c) (inside[p] ? (SUM)LOAD(T0, from, (c)*e->channel + (p)*pixel_step) : (SUM)0)
#else
#define PIXEL(p, c) (SUM) LOAD(T0, from, (c)*e->channel + (p)*pixel_step)
#endif
#define STEP(c)                                                                                  \
  {                                                                                              \
    SUMS factor[NO];                                                                             \
    UNROLL for (int o = 0; o < NO; o++) factor[o] = LOADV(T1, LANES, weights[o], (c)*LANES);     \
    UNROLL for (int p = 0; p < NP; p++) {                                                        \
      const SUMS pixel = (SUMS)(PIXEL(p, c));                                                    \
      UNROLL for (int o = 0; o < NO; o++) sum[o][p] = MULTIPLY_ADD(pixel, factor[o], sum[o][p]); \
    }                                                                                            \
  }

static void TILE_NAME(const geometry *e, __global const STORE(T0) *x, __global const STORE(T1) *w, int nblocks, int z0,
                      int y0, int x0, SUM *sums) {
  SUMS sum[NO][NP];
  UNROLL for (int o = 0; o < NO; o++) UNROLL for (int p = 0; p < NP; p++) sum[o][p] = (SUMS)(0);
  const long pixel_step = e->step * e->pixel;
  for (int c0 = 0; c0 < e->channels; c0 += LANES) {
    const int count = min(LANES, e->channels - c0);
    for (int kz = 0; kz < e->k_dims.x; kz++) {
      const int iz = z0 + kz * e->dilation.x;
      if (iz < 0 || iz >= e->x_dims.x) continue;
      for (int ky = 0; ky < e->k_dims.y; ky++) {
        const int iy = y0 + ky * e->dilation.y;
        if (iy < 0 || iy >= e->x_dims.y) continue;
        for (int kx = 0; kx < e->k_dims.z; kx++) {
          const int ix = x0 + kx * e->dilation.z;
          const long tap = (long)(c0 / LANES) * e->taps + (kz * e->k_dims.y + ky) * e->k_dims.z + kx;
          __global const STORE(T0) *from = x + c0 / LANES * e->block + iz * e->depth + iy * e->row + ix * e->pixel;
          __global const STORE(T1) *weights[NO];
          UNROLL for (int o = 0; o < NO; o++) weights[o] = w + min(o, nblocks - 1) * e->w_block + tap * LANES * LANES;
#if EDGE
          int inside[NP];
          UNROLL for (int p = 0; p < NP; p++) inside[p] = ix + p * e->step >= 0 && ix + p * e->step < e->x_dims.z;
          for (int c = 0; c < count; c++) STEP(c)
#else
          if (count == LANES) {
            UNROLL for (int c = 0; c < LANES; c++) STEP(c)
          } else {
            for (int c = 0; c < count; c++) STEP(c)
          }
#endif
        }
      }
    }
  }
  UNROLL for (int o = 0; o < NO; o++) UNROLL for (int p = 0; p < NP; p++)
      SAVEV(TS, LANES, sums, (o * NP + p) * LANES, sum[o][p]);
}
#undef PIXEL
#undef STEP
