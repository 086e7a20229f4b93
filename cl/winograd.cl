/* 3x3 convolution, stride 1, by Winograd's F(4x4, 3x3): a quarter of the multiplications.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   x --B' d B--> V [36][block of c][tile][LANES]        winograd_input: one item a range of tiles of a block of c
 *   U V: 36 products [tiles, C] [C, LANES of o]          winograd_output: one item a range of tiles, sets of NO blocks
 *   --A' m A--> y, 4x4 pixels a tile                     of o; the 36 sums of its tiles wait in local memory
 *
 * winograd_plain, for any device: one item a tile of one channel. The problem and the layouts are described in
 * src/kernel/family_winograd.h. */
#ifndef LANES
#define LANES 8
#endif
#ifndef NO
#define NO 2
#endif
#ifndef NP
#define NP 6
#endif
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#define VECTOR JOIN(float, LANES)
#define REAL VECTOR
#define MATH_WIDTH LANES
#include "gemm_epilogue.cl"

#define UNROLL _Pragma("unroll")

/* B' d: six elements from six, `step` apart. */
static void transform_input(const REAL *d, int step, REAL *out) {
  const REAL d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  const REAL a = d4 - 4.0f * d2, b = d3 - 4.0f * d1, c = d4 - d2, e = 2.0f * (d3 - d1);
  out[0] = 4.0f * d0 - 5.0f * d2 + d4;
  out[step] = a + b;
  out[2 * step] = a - b;
  out[3 * step] = c + e;
  out[4 * step] = c - e;
  out[5 * step] = 4.0f * d1 - 5.0f * d3 + d5;
}

/* A' m: four elements from six. */
static void transform_output(const REAL *m, int step, REAL *out) {
  const REAL p = m[step] + m[2 * step], q = m[step] - m[2 * step];
  const REAL r = m[3 * step] + m[4 * step], s = m[3 * step] - m[4 * step];
  out[0] = m[0] + p + r;
  out[step] = q + 2.0f * s;
  out[2 * step] = p + 4.0f * r;
  out[3 * step] = q + 8.0f * s + m[5 * step];
}

/* x_dims: height, width of x, of y; pads; tiles across, in all, pitch of V. */
#define WINOGRAD_X \
  __global const STORE(T0) *restrict x, long x_from, long8 x_dims, long8 x_steps, int channels, int x_length
#define IN_HEIGHT ((int)x_dims.s0)
#define IN_WIDTH ((int)x_dims.s1)
#define OUT_HEIGHT ((int)x_dims.s2)
#define OUT_WIDTH ((int)x_dims.s3)
#define PAD_HEIGHT ((int)x_dims.s4)
#define PAD_WIDTH ((int)x_dims.s5)

#if PLAIN
__kernel void winograd_plain(WINOGRAD_X, __global const STORE(T1) *restrict u, long u_from,
                             __global const STORE(T2) *restrict bias, long bias_from,
                             __global const STORE(T3) *residual, long residual_from, __global STORE(T5) *y, long y_from,
                             long8 y_steps, int outputs, int y_length, int activation, float low, float high,
                             float scale, float shift, int across, int tiles, int lanes) {
  const int t = get_global_id(0), o = get_global_id(1), n = get_global_id(2);
  if (t >= tiles || o >= outputs) return;
  const int y0 = t / across * 4, x0 = t % across * 4, parts = (channels + lanes - 1) / lanes * lanes;
  float sum[36], d[36], v[36];
  for (int e = 0; e < 36; e++) sum[e] = 0;
  for (int c = 0; c < channels; c++) {
    const long from = x_from + n * x_steps.s0 + c / x_length * x_steps.s1 + c % x_length;
    for (int e = 0; e < 36; e++) {
      const int iy = y0 + e / 6 - PAD_HEIGHT, ix = x0 + e % 6 - PAD_WIDTH;
      const int inside = iy >= 0 && iy < IN_HEIGHT && ix >= 0 && ix < IN_WIDTH;
      d[e] = inside ? LOAD(T0, x, from + iy * x_steps.s2 + ix * x_steps.s3) : 0.0f;
    }
    for (int i = 0; i < 6; i++) transform_input(d + i, 6, v + i);
    for (int i = 0; i < 6; i++) transform_input(v + 6 * i, 1, d + 6 * i);
    for (int e = 0; e < 36; e++)
      sum[e] = fma(d[e], LOAD(T1, u, u_from + (((long)(o / lanes) * 36 + e) * parts + c) * lanes + o % lanes), sum[e]);
  }
  for (int i = 0; i < 6; i++) transform_output(sum + i, 6, v + i);
  for (int i = 0; i < 4; i++) transform_output(v + 6 * i, 1, d + 6 * i);
  const float base = bias ? LOAD(T2, bias, bias_from + o) : 0.0f;
  for (int i = 0; i < 16; i++) {
    const int py = y0 + i / 4, px = x0 + i % 4;
    if (py >= OUT_HEIGHT || px >= OUT_WIDTH) continue;
    const long to = n * y_steps.s0 + o / y_length * y_steps.s1 + o % y_length + py * y_steps.s2 + px * y_steps.s3;
    float value = d[i / 4 * 6 + i % 4] + base;
    if (residual) value += LOAD(T3, residual, residual_from + to);
    SAVE(T5, y, y_from + to, fma(scale, activation ? activate(activation, value, low, high) : value, shift));
  }
}
#else

/* LANES channels of one pixel, of which `count` are there. */
static VECTOR load_pixel(__global const STORE(T0) *x, long channel, int count) {
#if X_IS_BLOCKED
  if (count == LANES) return LOADV(T0, LANES, x, 0);
  float lanes[LANES]; /* whatever fills the last block must not count */
  for (int l = 0; l < LANES; l++) lanes[l] = l < count ? LOAD(T0, x, l) : 0.0f;
  return LOADV(f32, LANES, lanes, 0);
#else
  float lanes[LANES];
  UNROLL for (int l = 0; l < LANES; l++) lanes[l] = LOAD(T0, x, min(l, count - 1) * channel);
  return LOADV(f32, LANES, lanes, 0);
#endif
}

/* Group (i, j, n): tiles from i * chunk, block j of channels, batch n. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
winograd_input(WINOGRAD_X, __global float *restrict v, long v_from, int across, int tiles, int pitch, int chunk) {
  const int block = get_global_id(1), blocks = get_global_size(1), n = get_global_id(2);
  const int first = get_global_id(0) * chunk, count = min(LANES, channels - block * LANES);
  x += x_from + n * x_steps.s0 + block * (LANES / x_length) * x_steps.s1;
  v += v_from + ((long)n * 36 * blocks + block) * pitch * LANES;
  VECTOR d[36], m[36];
  for (int t = first; t < min(first + chunk, tiles); t++) {
    const int y0 = t / across * 4 - PAD_HEIGHT, x0 = t % across * 4 - PAD_WIDTH;
    if (y0 >= 0 && x0 >= 0 && y0 + 6 <= IN_HEIGHT && x0 + 6 <= IN_WIDTH) {
      UNROLL for (int e = 0; e < 36; e++) d[e] =
          load_pixel(x + (y0 + e / 6) * x_steps.s2 + (x0 + e % 6) * x_steps.s3, x_steps.s1, count);
    } else {
      UNROLL for (int e = 0; e < 36; e++) {
        const int iy = y0 + e / 6, ix = x0 + e % 6;
        d[e] = (VECTOR)(0.0f);
        if (iy >= 0 && iy < IN_HEIGHT && ix >= 0 && ix < IN_WIDTH)
          d[e] = load_pixel(x + iy * x_steps.s2 + ix * x_steps.s3, x_steps.s1, count);
      }
    }
    UNROLL for (int i = 0; i < 6; i++) transform_input(d + i, 6, m + i);
    UNROLL for (int i = 0; i < 6; i++) transform_input(m + 6 * i, 1, d + 6 * i);
    UNROLL for (int e = 0; e < 36; e++) SAVEV(f32, LANES, v, ((long)e * blocks * pitch + t) * LANES, d[e]);
  }
}

/* sums[NP tiles][NO blocks][LANES], over all channels. Not inlined: alone, its sums stay in registers. */
static __attribute__((noinline)) void multiply(__global const float *v, long v_block, __global const float *u,
                                               long u_block, int nblocks, int channels, __local float *sums) {
  VECTOR sum[NO][NP];
  long block[NO];
  UNROLL for (int o = 0; o < NO; o++) {
    block[o] = min(o, nblocks - 1) * u_block;
    UNROLL for (int p = 0; p < NP; p++) sum[o][p] = (VECTOR)(0.0f);
  }
  for (int c0 = 0; c0 < channels; c0 += LANES, v += v_block, u += LANES * LANES)
    for (int c = 0; c < LANES; c++) {
      VECTOR factor[NO];
      UNROLL for (int o = 0; o < NO; o++) factor[o] = LOADV(f32, LANES, u, block[o] + c * LANES);
      UNROLL for (int p = 0; p < NP; p++) {
        const VECTOR value = (VECTOR)(v[p * LANES + c]);
        UNROLL for (int o = 0; o < NO; o++) sum[o][p] = fma(value, factor[o], sum[o][p]);
      }
    }
  UNROLL for (int p = 0; p < NP; p++) UNROLL for (int o = 0; o < NO; o++)
      SAVEV(f32, LANES, sums, (p * NO + o) * LANES, sum[o][p]);
}

/* One pixel of LANES channels, of which `count` are there. */
static void store_pixel(VECTOR value, __global const STORE(T3) *residual, __global STORE(T5) *y, long channel,
                        int count, int activation, float4 ends) {
#if Y_IS_BLOCKED
  if (residual) value += LOADV(T3, LANES, residual, 0);
  if (activation) value = activate(activation, value, (VECTOR)(ends.s0), (VECTOR)(ends.s1));
  value = fma((VECTOR)(ends.s2), value, (VECTOR)(ends.s3));
  SAVEV(T5, LANES, y, 0, value);
#else
  float lanes[LANES] = {0};
  if (residual) {
    for (int l = 0; l < count; l++) lanes[l] = LOAD(T3, residual, l * channel);
    value += LOADV(f32, LANES, lanes, 0);
  }
  if (activation) value = activate(activation, value, (VECTOR)(ends.s0), (VECTOR)(ends.s1));
  value = fma((VECTOR)(ends.s2), value, (VECTOR)(ends.s3));
  SAVEV(f32, LANES, lanes, 0, value);
  for (int l = 0; l < count; l++) SAVE(T5, y, l * channel, lanes[l]);
#endif
}

/* Group (i, j, n): tiles from i * chunk, sets of blocks from j * span, batch n. sums: 36 [chunk][NO][LANES], and a
 * strip more. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
winograd_output(__global const float *restrict v, long v_from, __global const float *restrict u, long u_from,
                __global const STORE(T2) *restrict bias, long bias_from, __global const STORE(T3) *residual,
                long residual_from, __global STORE(T5) *y, long y_from, long8 x_dims, long8 y_steps, int channels,
                int outputs, int y_length, int activation, float low, float high, float scale, float shift, int across,
                int tiles, int pitch, int chunk, int span, __local float *sums) {
  const int n = get_global_id(2), first = get_global_id(0) * chunk, count = min(chunk, tiles - first);
  const int blocks = (outputs + LANES - 1) / LANES, sets = (blocks + NO - 1) / NO;
  const int parts = (channels + LANES - 1) / LANES;
  v += v_from + ((long)n * 36 * parts * pitch + first) * LANES;
  for (int set = get_global_id(1) * span; set < min((int)(get_global_id(1) + 1) * span, sets); set++) {
    const int block0 = set * NO, nblocks = min(NO, blocks - block0);
    __global const float *weights = u + u_from + (long)block0 * 36 * parts * LANES * LANES;
    for (int e = 0; e < 36; e++)
      for (int t = 0; t < count; t += NP) /* V has room for a strip that reaches past the last tile */
        multiply(v + ((long)e * parts * pitch + t) * LANES, (long)pitch * LANES,
                 weights + (long)e * parts * LANES * LANES, 36L * parts * LANES * LANES, nblocks, parts * LANES,
                 sums + ((long)e * (chunk + NP) + t) * NO * LANES);
    for (int t = 0; t < count; t++)
      for (int b = 0; b < nblocks; b++) {
        const int o = (block0 + b) * LANES, there = min(LANES, outputs - o);
        const int py = (first + t) / across * 4, px = (first + t) % across * 4;
        VECTOR m[36], out[36];
        UNROLL for (int e = 0; e < 36; e++) m[e] =
            LOADV(f32, LANES, sums, (((long)e * (chunk + NP) + t) * NO + b) * LANES);
        UNROLL for (int i = 0; i < 6; i++) transform_output(m + i, 6, out + i);
        UNROLL for (int i = 0; i < 4; i++) transform_output(out + 6 * i, 1, m + 6 * i);
        VECTOR base = (VECTOR)(0.0f);
        if (bias) {
          float lanes[LANES] = {0};
          for (int l = 0; l < there; l++) lanes[l] = LOAD(T2, bias, bias_from + o + l);
          base = LOADV(f32, LANES, lanes, 0);
        }
        const long to = n * y_steps.s0 + o / y_length * y_steps.s1 + py * y_steps.s2 + px * y_steps.s3;
        UNROLL for (int i = 0; i < 16; i++) {
          const long at = to + i / 4 * y_steps.s2 + i % 4 * y_steps.s3;
          if (py + i / 4 < OUT_HEIGHT && px + i % 4 < OUT_WIDTH)
            store_pixel(m[i / 4 * 6 + i % 4] + base, residual ? residual + residual_from + at : 0, y + y_from + at,
                        y_steps.s1, there, activation, (float4)(low, high, scale, shift));
        }
      }
  }
}
#endif
