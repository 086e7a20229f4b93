/* The scale and zero point of each group with the least weighted squared error. SPDX-License-Identifier: Apache-2.0
 *
 * With codes q (less the zero point) the error sum(d (x - s q)^2) is least at s = a / b, a = sum(d x q), b = sum(d
 * q^2), where it is sum(d x^2) - a^2 / b: of all codes, those with the largest gain a^2 / b are best. A candidate is a
 * scale, which gives codes. EXACT (symmetric): just below each scale at which a code changes, |x_i| / (j + 1/2), so
 * that every set of codes that rounding to nearest can give is looked at. Else a search: the range shrunk; asymmetric
 * grids at either end.
 *
 * CPU-shaped: an item a group, candidates in vectors of WIDTH. GPU-shaped: a work-group a group, an item a candidate.
 * Both compute a candidate in the same order. Of equal gains the candidate that comes first is taken. */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef BITS
#define BITS 4
#endif
#ifndef SYMMETRIC
#define SYMMETRIC 1
#endif
#ifndef FULL_RANGE
#define FULL_RANGE 0
#endif
#ifndef EXACT
#define EXACT 0
#endif
#ifndef GROUP
#define GROUP 1
#endif
#if GROUP > 1
#undef WIDTH
#define WIDTH 1
#endif
#ifndef WIDTH
#define WIDTH 1
#endif
#include "grid_scale.cl"

#define SEARCHED 64
#define ROUNDS 4
#define MAGIC 12582912.0f
#define FLOATS JOIN(float, WIDTH)

/* An element as it counts: NaN as zero, infinities as the largest number. */
static float element_at(__global const STORE(T0) *x, int i) {
  const float v = LOAD(T0, x, i);
  const float finite = v == v ? v : 0.0f;
  return finite > FLT_MAX ? FLT_MAX : finite < -FLT_MAX ? -FLT_MAX : finite;
}

typedef struct codes {
  float least, greatest; /* less the zero point */
} codes;

static codes codes_of(int below) {
  codes c = {SYMMETRIC ? LEAST_SYMMETRIC : -below, SYMMETRIC ? HALF_CODES - 1 : LEVELS - below};
  return c;
}

/* sum(d (x - s q)^2) */
static float error_of(__global const STORE(T0) *x, __global const float *d, int n, float s, codes c) {
  const float inverse = 1.0f / s;
  float sum = 0;
  for (int i = 0; i < n; i++) {
    const float v = element_at(x, i), q = clamp(v * inverse, c.least, c.greatest) + MAGIC - MAGIC;
    const float difference = fma(-s, q, v);
    sum = fma(difference * difference, d ? d[i] : 1.0f, sum);
  }
  return sum;
}

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
grid_fit(long length, int parts, int part, __global const STORE(T0) *x, long x_from, __global STORE(T1) *scale,
         long scale_from, __global STORE(T2) *zero, long zero_from, __global const float *importance,
         long importance_from, long importance_stride) {
  const long g = get_group_id(0), row = g / parts;
  const int p = (int)(g - row * parts), n = (int)min((long)part, length - (long)p * part), item = get_local_id(0);
  x += x_from + row * length + (long)p * part;
  __global const float *d = 0;
  if (importance) d = importance + importance_from + row * importance_stride + (long)p * part;
  float2 range = 0;
  for (int i = 0; i < n; i++) {
    const float v = element_at(x, i);
    range.x = -v > range.x ? -v : range.x;
    range.y = v > range.y ? v : range.y;
  }
  const float widest = scale_of(range);
  const int widest_below = SYMMETRIC ? 0 : steps_below(range, widest);
  const int candidates = EXACT ? n * HALF_CODES : SEARCHED;
  float best_gain[WIDTH], best_scale[WIDTH];
  int best_below[WIDTH], best_candidate[WIDTH];
  for (int l = 0; l < WIDTH; l++)
    best_gain[l] = 0, best_scale[l] = widest, best_below[l] = widest_below, best_candidate[l] = INT_MAX;
  for (int c0 = item * WIDTH; c0 < candidates; c0 += GROUP * WIDTH) {
    float lane[WIDTH], low_lane[WIDTH], high_lane[WIDTH];
    int below[WIDTH];
    for (int l = 0; l < WIDTH; l++) {
      const int c = min(c0 + l, candidates - 1);
#if EXACT
      lane[l] = fabs(element_at(x, c / HALF_CODES)) / ((float)(c % HALF_CODES) + 0.5f) * (1.0f - 0x1p-22f);
      below[l] = 0;
#elif SYMMETRIC
      lane[l] = widest * (1.0f - (float)c * (0.8f / (SEARCHED - 1)));
      below[l] = 0;
#else
      const float2 shrunk = range * (float2)(1.0f - 0.06f * (float)(c & 7), 1.0f - 0.06f * (float)(c >> 3));
      lane[l] = scale_of(shrunk);
      below[l] = steps_below(shrunk, lane[l]);
#endif
      lane[l] = lane[l] > LEAST_SCALE ? lane[l] : LEAST_SCALE;
      const codes limits = codes_of(below[l]);
      low_lane[l] = limits.least;
      high_lane[l] = limits.greatest;
    }
    const FLOATS inverse = 1.0f / LOADV(f32, WIDTH, lane, 0), least = LOADV(f32, WIDTH, low_lane, 0),
                 greatest = LOADV(f32, WIDTH, high_lane, 0);
    FLOATS a = 0, b = 0;
    for (int i = 0; i < n; i++) {
      const float v = element_at(x, i), weight = d ? d[i] : 1.0f;
      FLOATS q = v * inverse;
      q = q > least ? q : least;
      q = q < greatest ? q : greatest;
      q = q + MAGIC - MAGIC;
      a = fma(q, (FLOATS)(v * weight), a);
      b = fma(q * q, (FLOATS)(weight), b);
    }
    float a_lane[WIDTH], b_lane[WIDTH];
    SAVEV(f32, WIDTH, a_lane, 0, a);
    SAVEV(f32, WIDTH, b_lane, 0, b);
    for (int l = 0; l < WIDTH; l++) {
      const float gain = b_lane[l] > 0 && a_lane[l] > 0 ? a_lane[l] * (a_lane[l] / b_lane[l]) : 0.0f;
      if (!(gain > best_gain[l])) continue;
      best_gain[l] = gain;
      best_scale[l] = a_lane[l] / b_lane[l];
      best_below[l] = below[l];
      best_candidate[l] = c0 + l;
    }
  }
  for (int l = 1; l < WIDTH; l++)
    if (best_gain[l] > best_gain[0] || (best_gain[l] == best_gain[0] && best_candidate[l] < best_candidate[0])) {
      best_gain[0] = best_gain[l];
      best_scale[0] = best_scale[l];
      best_below[0] = best_below[l];
      best_candidate[0] = best_candidate[l];
    }
  float gain = best_gain[0], s = best_scale[0];
  int below = best_below[0];
#if GROUP > 1
  __local float gains[GROUP], scales[GROUP];
  __local int belows[GROUP], firsts[GROUP];
  gains[item] = gain;
  scales[item] = s;
  belows[item] = below;
  firsts[item] = best_candidate[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  if (item > 0) return;
  int first = firsts[0];
  for (int t = 1; t < GROUP; t++)
    if (gains[t] > gain || (gains[t] == gain && firsts[t] < first)) {
      gain = gains[t];
      s = scales[t];
      below = belows[t];
      first = firsts[t];
    }
#endif
  /* the best scale of the codes, the codes of that scale: never worse */
  const codes limits = codes_of(below);
  for (int round = 0; round < ROUNDS; round++) {
    const float inverse = 1.0f / limited_scale(s);
    float a = 0, b = 0;
    for (int i = 0; i < n; i++) {
      const float v = element_at(x, i), weight = d ? d[i] : 1.0f;
      const float q = clamp(v * inverse, limits.least, limits.greatest) + MAGIC - MAGIC;
      a = fma(q, v * weight, a);
      b = fma(q * q, weight, b);
    }
    if (!(a > 0 && b > 0)) break;
    s = a / b;
  }
  scale += scale_from + g;
  SAVE(T1, scale, 0, limited_scale(s));
  const float fitted = error_of(x, d, n, LOAD(T1, scale, 0), limits);
  SAVE(T1, scale, 0, widest);
  const float plain = error_of(x, d, n, LOAD(T1, scale, 0), codes_of(widest_below));
  const int kept = fitted < plain;
  if (kept) SAVE(T1, scale, 0, limited_scale(s));
#if !SYMMETRIC
  SAVE(T2, zero, zero_from + g, LEAST_CODE + (kept ? below : widest_below));
#endif
}
