/* Convolution for any device: one work-item an element of y. SPDX-License-Identifier: Apache-2.0
 *
 * The fallback of convolve_direct.cl and convolve_tile.cl; takes every layout. Items along the first dimension follow
 * each other along y's rows. */
#define REAL_WIDTH 1
#include "convolve.cl"

__kernel void convolve_plain(CONVOLVE_ARGUMENTS) {
  CONVOLVE_BEGIN;
  const int area = y_dims.x * y_dims.y * y_dims.z, p = get_global_id(0), o = get_global_id(1);
  const int n = get_global_id(2);
  if (p >= area || o >= outputs * groups || n >= batches) return;
  const int pz = p / (y_dims.y * y_dims.z), py = p / y_dims.z % y_dims.y, px = p % y_dims.z, g = o / outputs;
  const int z0 = pz * stride.x - pad.x, y0 = py * stride.y - pad.y, x0 = px * stride.z - pad.z;
  const int taps = k_dims.x * k_dims.y * k_dims.z;
  SUM sum = bias ? (SUM)LOAD(T2, bias, o) : (SUM)0;
  for (int c = 0; c < channels; c++) {
    const long from = X_AT((long)n, g * (long)channels + c);
    const long weights = weight_at(g, o - g * outputs, c, outputs, channels, taps, w_lanes);
    for (int k = 0; k < taps; k++) {
      const int kz = k / (k_dims.y * k_dims.z), ky = k / k_dims.z % k_dims.y, kx = k % k_dims.z;
      const int iz = z0 + kz * dilation.x, iy = y0 + ky * dilation.y, ix = x0 + kx * dilation.z;
      if (iz < 0 || iz >= x_dims.x || iy < 0 || iy >= x_dims.y || ix < 0 || ix >= x_dims.z) continue;
      sum = MULTIPLY_ADD((SUM)LOAD(T0, x, from + iz * x_steps.s3 + iy * x_steps.s4 + ix * x_steps.s5),
                         (SUM)LOAD(T1, w, weights + k * WEIGHT_STEP(w_lanes)), sum);
    }
  }
  const long to = Y_AT((long)n, o) + pz * y_steps.s3 + py * y_steps.s4 + px * y_steps.s5;
  if (residual) sum += (SUM)LOAD(T3, residual, to);
  SAVE(T4, y, to, EPILOGUE(sum));
}
