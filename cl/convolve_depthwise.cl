/* Depthwise convolution for CPU devices, one or two dimensions: every output channel sees one channel of x.
 * SPDX-License-Identifier: Apache-2.0
 *
 * convolve_depthwise: vectors of neighbouring pixels. One work-item a work-group takes a band of rows of one channel.
 * It copies the rows of x that they see into local memory, with zeros for the padding, and with a stride s splits them
 * into s phases, so that every load of the loops that follow is a whole vector without a test:
 *
 *   x row       0 a b c d e f g 0      s = 2:  phase 0: 0 b d f 0     tap k of pixel p is element p + k / s
 *                                              phase 1: a c e g       of phase k % s
 *
 * convolve_depthwise_blocked: vectors of channels, for blocked x and y. w is [G O][taps] in both. */
#ifndef LANES
#define LANES 8
#endif
#ifndef NR
#define NR 4 /* rows, or pixels, at a time */
#endif
#define REAL_WIDTH LANES
#include "convolve.cl"

#define UNROLL _Pragma("unroll")
#define MOST_TAPS 49

/* One row of x, from column -pad on: `width` elements of each phase. */
static void copy_row(__global const STORE(T0) *x, int length, int pad, int phases, int width, __local SUM *line) {
  for (int phase = 0; phase < phases; phase++, line += width) {
    /* elements i with 0 <= i * phases + phase - pad < length */
    const int first = max(0, min(width, (pad - phase + phases - 1) / phases));
    const int last = max(first, min(width, (length + pad - phase + phases - 1) / phases));
    __global const STORE(T0) *from = x + phase - pad;
    int i = 0;
    for (; i < first; i++) line[i] = 0;
    if (phases == 1)
      for (; i + LANES <= last; i += LANES) SAVEV(TS, LANES, line, i, LOADV(T0, LANES, from, i));
    for (; i < last; i++) line[i] = LOAD(T0, from, i * phases);
    for (; i < width; i++) line[i] = 0;
  }
}

/* Group (i, o, n): rows from i * band of output channel o, batch n. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void convolve_depthwise(CONVOLVE_ARGUMENTS, int band, int width,
                                                                                __local SUM *lines) {
  CONVOLVE_BEGIN;
  const int row0 = get_global_id(0) * band, rows = min(band, y_dims.y - row0), o = get_global_id(1);
  const int n = get_global_id(2), line = width * stride.z,
            seen = (rows - 1) * stride.y + (k_dims.y - 1) * dilation.y + 1;
  x += X_AT((long)n, (long)(o / outputs));
  w += (long)o * k_dims.y * k_dims.z;
  for (int r = 0; r < seen; r++) {
    const int iy = row0 * stride.y - pad.y + r;
    const int there = iy >= 0 && iy < x_dims.y;
    copy_row(x + (there ? iy * x_steps.s4 : 0), there ? x_dims.z : 0, pad.z, stride.z, width, lines + r * line);
  }
  const SUMS base = (SUMS)(bias ? (SUM)LOAD(T2, bias, o) : (SUM)0);
  for (int r = 0; r < rows; r += NR)
    for (int px = 0; px < y_dims.z; px += LANES) {
      SUMS sum[NR];
      UNROLL for (int v = 0; v < NR; v++) sum[v] = (SUMS)(0);
      for (int ky = 0; ky < k_dims.y; ky++)
        for (int kx = 0; kx < k_dims.z; kx++) {
          const SUMS factor = (SUMS)((SUM)LOAD(T1, w, ky * k_dims.z + kx));
          const int tap = kx * dilation.z;
          __local const SUM *from = lines + ky * dilation.y * line + tap % stride.z * width + tap / stride.z + px;
          UNROLL for (int v = 0; v < NR; v++) sum[v] =
              MULTIPLY_ADD(factor, LOADV(TS, LANES, from, min(r + v, rows - 1) * stride.y * line), sum[v]);
        }
      const int count = min(LANES, y_dims.z - px);
      for (int v = 0; v < NR && r + v < rows; v++) {
        const long to = Y_AT((long)n, (long)o) + (row0 + r + v) * y_steps.s4 + px;
        SUMS value = sum[v] + base;
        if (count == LANES) {
          if (residual) value += LOADV(T3, LANES, residual, to);
          value = EPILOGUE(value);
          SAVEV(T4, LANES, y, to, value);
          continue;
        }
        SUM part[LANES] = {0};
        if (residual)
          for (int l = 0; l < count; l++) part[l] = LOAD(T3, residual, to + l);
        value += LOADV(TS, LANES, part, 0);
        value = EPILOGUE(value);
        SAVEV(TS, LANES, part, 0, value);
        for (int l = 0; l < count; l++) SAVE(T4, y, to + l, part[l]);
      }
    }
}

/* Group (i, b, n): rows from i * band of block b, batch n. width and lines are not used. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void convolve_depthwise_blocked(CONVOLVE_ARGUMENTS, int band,
                                                                                        int width, __local SUM *lines) {
  CONVOLVE_BEGIN;
  const int row0 = get_global_id(0) * band, rows = min(band, y_dims.y - row0), block = get_global_id(1);
  const int n = get_global_id(2), lanes = min(LANES, groups - block * LANES), taps = k_dims.y * k_dims.z;
  SUMS factor[MOST_TAPS];
  SUM part[LANES] = {0};
  for (int k = 0; k < taps; k++) {
    for (int l = 0; l < lanes; l++) part[l] = LOAD(T1, w, (long)(block * LANES + l) * taps + k);
    factor[k] = LOADV(TS, LANES, part, 0);
  }
  for (int l = 0; l < LANES; l++) part[l] = bias && l < lanes ? (SUM)LOAD(T2, bias, block * LANES + l) : (SUM)0;
  const SUMS base = LOADV(TS, LANES, part, 0);
  x += n * x_steps.s0 + block * x_steps.s1;
  for (int r = 0; r < rows; r++)
    for (int at = 0; at < y_dims.z; at += NR) {
      const int px = max(0, min(at, y_dims.z - NR)), x0 = px * stride.z - pad.z, y0 = (row0 + r) * stride.y - pad.y;
      SUMS sum[NR];
      UNROLL for (int p = 0; p < NR; p++) sum[p] = (SUMS)(0);
      const int inside = x0 >= 0 && x0 + (NR - 1) * stride.z + (k_dims.z - 1) * dilation.z < x_dims.z;
      for (int ky = 0; ky < k_dims.y; ky++) {
        const int iy = y0 + ky * dilation.y;
        if (iy < 0 || iy >= x_dims.y) continue;
        for (int kx = 0; kx < k_dims.z; kx++) {
          const int ix = x0 + kx * dilation.z;
          __global const STORE(T0) *from = x + iy * x_steps.s4 + ix * x_steps.s5;
          const SUMS k = factor[ky * k_dims.z + kx];
          if (inside) {
            UNROLL for (int p = 0; p < NR; p++) sum[p] =
                MULTIPLY_ADD(k, LOADV(T0, LANES, from, p * stride.z * x_steps.s5), sum[p]);
          } else {
            UNROLL for (int p = 0; p < NR; p++) if (ix + p * stride.z >= 0 && ix + p * stride.z < x_dims.z) sum[p] =
                MULTIPLY_ADD(k, LOADV(T0, LANES, from, p * stride.z * x_steps.s5), sum[p]);
          }
        }
      }
      if (IS_SIMPLE && !residual && px == at && px + NR <= y_dims.z) {
        const SUMS least = LEAST;
        __global STORE(T4) *to = y + n * y_steps.s0 + block * y_steps.s1 + (row0 + r) * y_steps.s4 + px * y_steps.s5;
        UNROLL for (int p = 0; p < NR; p++) SAVEV(T4, LANES, to, p * y_steps.s5, SIMPLE_EPILOGUE(sum[p] + base, least));
        continue;
      }
      UNROLL for (int p = 0; p < NR; p++) {
        if (px + p < at || px + p >= y_dims.z) continue;
        const long to = n * y_steps.s0 + block * y_steps.s1 + (row0 + r) * y_steps.s4 + (px + p) * y_steps.s5;
        SUMS value = sum[p] + base;
        if (residual) value += LOADV(T3, LANES, residual, to);
        value = EPILOGUE(value);
        SAVEV(T4, LANES, y, to, value);
      }
    }
}
