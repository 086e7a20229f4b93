/* Convolution for GPUs: an implicit matrix product of weights [O, C K] and the patches of x [C K, pixels].
 * SPDX-License-Identifier: Apache-2.0
 *
 * A work-group of (TILE_N / 4) x (TILE_M / 4) items computes TILE_M channels of TILE_N pixels of one batch and group,
 * four by four in the registers of each item, spaced by the group's size so that neighbours load and store neighbours.
 * For each TILE_K of c and k its items gather both tiles into local memory (Chetlur et al. 2014). */
#define REAL_WIDTH 1
#include "convolve.cl"

#ifndef TILE_M
#define TILE_M 64
#endif
#ifndef TILE_N
#define TILE_N 64
#endif
#ifndef TILE_K
#define TILE_K 16
#endif
#define WORK 4
#define GROUP_X (TILE_N / WORK)
#define GROUP_Y (TILE_M / WORK)
#define ITEMS (GROUP_X * GROUP_Y)
#define UNROLL _Pragma("unroll")

__attribute__((reqd_work_group_size(GROUP_X, GROUP_Y, 1))) __kernel void convolve_tile(CONVOLVE_ARGUMENTS) {
  /* one more column: neighbours along k then fall into different banks */
  __local SUM w_tile[TILE_K][TILE_M + 1];
  __local SUM x_tile[TILE_K][TILE_N + 1];
  CONVOLVE_BEGIN;
  const int column = get_local_id(0), row = get_local_id(1), item = row * GROUP_X + column;
  const int area = y_dims.x * y_dims.y * y_dims.z, taps = k_dims.x * k_dims.y * k_dims.z, depth = channels * taps;
  const int o0 = get_group_id(1) * TILE_M, p0 = get_group_id(0) * TILE_N;
  const int n = get_group_id(2) / groups, g = get_group_id(2) % groups;
  SUM sum[WORK][WORK];
  UNROLL for (int r = 0; r < WORK; r++) UNROLL for (int s = 0; s < WORK; s++) sum[r][s] = 0;

  for (int l0 = 0; l0 < depth; l0 += TILE_K) {
    UNROLL for (int t = 0; t < TILE_M * TILE_K; t += ITEMS) {
      const int at = t + item, l = at % TILE_K, o = at / TILE_K, c = (l0 + l) / taps, k = (l0 + l) % taps;
      w_tile[l][o] =
          o0 + o < outputs && l0 + l < depth
              ? (SUM)LOAD(T1, w, weight_at(g, o0 + o, c, outputs, channels, taps, w_lanes) + k * WEIGHT_STEP(w_lanes))
              : (SUM)0;
    }
    UNROLL for (int t = 0; t < TILE_N * TILE_K; t += ITEMS) {
      const int at = t + item, l = at / TILE_N, s = at % TILE_N, p = p0 + s, c = (l0 + l) / taps, k = (l0 + l) % taps;
      const int kz = k / (k_dims.y * k_dims.z), ky = k / k_dims.z % k_dims.y, kx = k % k_dims.z;
      const int iz = p / (y_dims.y * y_dims.z) * stride.x - pad.x + kz * dilation.x;
      const int iy = p / y_dims.z % y_dims.y * stride.y - pad.y + ky * dilation.y;
      const int ix = p % y_dims.z * stride.z - pad.z + kx * dilation.z;
      const int inside = p < area && l0 + l < depth && iz >= 0 && iz < x_dims.x && iy >= 0 && iy < x_dims.y &&
                         ix >= 0 && ix < x_dims.z;
      x_tile[l][s] =
          inside
              ? (SUM)LOAD(T0, x,
                          X_AT((long)n, g * (long)channels + c) + iz * x_steps.s3 + iy * x_steps.s4 + ix * x_steps.s5)
              : (SUM)0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int l = 0; l < TILE_K; l++) {
      SUM pixel[WORK];
      UNROLL for (int s = 0; s < WORK; s++) pixel[s] = x_tile[l][s * GROUP_X + column];
      UNROLL for (int r = 0; r < WORK; r++) {
        const SUM factor = w_tile[l][r * GROUP_Y + row];
        UNROLL for (int s = 0; s < WORK; s++) sum[r][s] = MULTIPLY_ADD(factor, pixel[s], sum[r][s]);
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  /* A copy that may be indexed by variables: one epilogue in a loop, not one for each sum. */
  SUM result[WORK * WORK];
  UNROLL for (int r = 0; r < WORK; r++) UNROLL for (int s = 0; s < WORK; s++) result[r * WORK + s] = sum[r][s];
  for (int t = 0; t < WORK * WORK; t++) {
    const int o = o0 + t / WORK * GROUP_Y + row, p = p0 + t % WORK * GROUP_X + column;
    if (o >= outputs || p >= area) continue;
    const int channel = g * outputs + o;
    const long to = Y_AT((long)n, channel) + p / (y_dims.y * y_dims.z) * y_steps.s3 +
                    p / y_dims.z % y_dims.y * y_steps.s4 + p % y_dims.z * y_steps.s5;
    SUM value = result[t];
    if (bias) value += (SUM)LOAD(T2, bias, channel);
    if (residual) value += (SUM)LOAD(T3, residual, to);
    SAVE(T4, y, to, EPILOGUE(value));
  }
}
