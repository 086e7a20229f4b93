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
#ifndef WEIGHTED
#define WEIGHTED 0
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
#define INTS JOIN(int, WIDTH)
#define CONVERT_(n) convert_float##n
#define CONVERT(n) CONVERT_(n)
#define TO_FLOATS CONVERT(WIDTH)

/* With -DHELD=n a group has at most n elements: they are looked at once, and held by the item. */
#ifdef HELD
#define ELEMENT(i) held[i]
#else
#define ELEMENT(i) element_at(x, i)
#endif
#if WEIGHTED
#define WEIGHT(i) d[i]
#else
#define WEIGHT(i) 1.0f
#endif

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

#if EXACT
/* Candidate c: just below the scale at which the code of element c / HALF_CODES changes. */
static float changing_scale(float element, int c) {
  return fabs(element) / ((float)(c & (HALF_CODES - 1)) + 0.5f) * (1.0f - 0x1p-22f);
}
#elif SYMMETRIC
static FLOATS searched_scales(float widest, INTS c) { return widest * (1.0f - TO_FLOATS(c) * (0.8f / (SEARCHED - 1))); }
#else
/* The scales of a range shrunk at both ends, and their steps from the lowest code to that of zero. */
static FLOATS searched_scales(float2 range, INTS c, FLOATS *below) {
  const FLOATS low = range.x * (1.0f - 0.06f * TO_FLOATS(c & 7)), high = range.y * (1.0f - 0.06f * TO_FLOATS(c >> 3));
  FLOATS s = low * (1.0f / LEVELS) + high * (1.0f / LEVELS);
  if (range.x == 0 && range.y == 0) s = 1.0f;
  s = s > LEAST_SCALE ? s : (FLOATS)LEAST_SCALE;
  s = s < GREATEST_SCALE ? s : (FLOATS)GREATEST_SCALE;
  const FLOATS steps = low / s + MAGIC - MAGIC;
  *below = steps < LEVELS ? steps : (FLOATS)LEVELS;
  return s;
}
#endif

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
grid_fit(long length, int parts, int part, __global const STORE(T0) *x, long x_from, __global STORE(T1) *scale,
         long scale_from, __global STORE(T2) *zero, long zero_from, __global const float *importance,
         long importance_from, long importance_stride) {
  const long g = get_group_id(0), row = g / parts;
  const int in_row = (int)(g - row * parts), n = (int)min((long)part, length - (long)in_row * part);
  const int item = get_local_id(0);
  x += x_from + row * length + (long)in_row * part;
#if WEIGHTED
  __global const float *d = importance + importance_from + row * importance_stride + (long)in_row * part;
#endif
#ifdef HELD
  float held[HELD];
  for (int i = 0; i < n; i++) held[i] = element_at(x, i);
#endif
  float2 range = 0;
  for (int i = 0; i < n; i++) {
    const float v = ELEMENT(i);
    range.x = -v > range.x ? -v : range.x;
    range.y = v > range.y ? v : range.y;
  }
  const float widest = scale_of(range);
  const int widest_below = SYMMETRIC ? 0 : steps_below(range, widest);
  const int candidates = EXACT ? n * HALF_CODES : SEARCHED;
  int number[WIDTH];
  for (int l = 0; l < WIDTH; l++) number[l] = item * WIDTH + l;
  const INTS first_numbers = LOADV(i32, WIDTH, number, 0);
  FLOATS most_gain = 0, scale_of_most = widest, below_of_most = (float)widest_below;
  INTS first_of_most = INT_MAX;
  for (int c0 = 0; c0 < candidates; c0 += GROUP * WIDTH) {
    FLOATS below = 0;
#if EXACT
    float lane[WIDTH];
    for (int l = 0; l < WIDTH; l++) {
      const int c = min(c0 + item * WIDTH + l, candidates - 1);
      lane[l] = changing_scale(ELEMENT(c / HALF_CODES), c);
    }
    FLOATS tried = LOADV(f32, WIDTH, lane, 0);
#elif SYMMETRIC
    FLOATS tried = searched_scales(widest, min(first_numbers + c0, candidates - 1));
#else
    FLOATS tried = searched_scales(range, min(first_numbers + c0, candidates - 1), &below);
#endif
    tried = tried > LEAST_SCALE ? tried : (FLOATS)LEAST_SCALE;
    const FLOATS inverse = 1.0f / tried;
#if SYMMETRIC
    const FLOATS least = LEAST_SYMMETRIC + MAGIC, greatest = HALF_CODES - 1 + MAGIC;
#else
    const FLOATS least = MAGIC - below, greatest = LEVELS + MAGIC - below;
#endif
    FLOATS a = 0, b = 0;
    for (int i = 0; i < n; i++) {
      const float v = ELEMENT(i);
      FLOATS q = fma((FLOATS)v, inverse, (FLOATS)MAGIC);
      q = q > least ? q : least;
      q = q < greatest ? q : greatest;
      q = q - MAGIC;
#if WEIGHTED
      a = fma(q, (FLOATS)(v * WEIGHT(i)), a);
      b = fma(q * q, (FLOATS)WEIGHT(i), b);
#else
      a = fma(q, (FLOATS)v, a);
      b = fma(q, q, b);
#endif
    }
    const FLOATS best = a / b, gain = (a > 0) & (b > 0) ? a * best : (FLOATS)0;
    const INTS better = gain > most_gain;
    most_gain = better ? gain : most_gain;
    scale_of_most = better ? best : scale_of_most;
    below_of_most = better ? below : below_of_most;
    first_of_most = better ? first_numbers + c0 : first_of_most;
  }
  float best_gain[WIDTH], best_scale[WIDTH], best_below[WIDTH];
  int best_candidate[WIDTH];
  SAVEV(f32, WIDTH, best_gain, 0, most_gain);
  SAVEV(f32, WIDTH, best_scale, 0, scale_of_most);
  SAVEV(f32, WIDTH, best_below, 0, below_of_most);
  SAVEV(i32, WIDTH, best_candidate, 0, first_of_most);
  for (int l = 1; l < WIDTH; l++)
    if (best_gain[l] > best_gain[0] || (best_gain[l] == best_gain[0] && best_candidate[l] < best_candidate[0])) {
      best_gain[0] = best_gain[l];
      best_scale[0] = best_scale[l];
      best_below[0] = best_below[l];
      best_candidate[0] = best_candidate[l];
    }
  float gain = best_gain[0], s = best_scale[0];
  int below = (int)best_below[0];
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
      const float v = ELEMENT(i), q = clamp(v * inverse, limits.least, limits.greatest) + MAGIC - MAGIC;
      a = fma(q, v * WEIGHT(i), a);
      b = fma(q * q, WEIGHT(i), b);
    }
    if (!(a > 0 && b > 0) || s == a / b) break;
    s = a / b;
  }
  scale += scale_from + g;
  SAVE(T1, scale, 0, limited_scale(s));
  const float fitted_scale = LOAD(T1, scale, 0);
  SAVE(T1, scale, 0, widest);
  const float plain_scale = LOAD(T1, scale, 0);
  const codes plain = codes_of(widest_below);
  float2 error = 0; /* sum(d (x - s q)^2) of both, as they are stored */
  for (int i = 0; i < n; i++) {
    const float v = ELEMENT(i), q = clamp(v * (1.0f / fitted_scale), limits.least, limits.greatest) + MAGIC - MAGIC,
                p = clamp(v * (1.0f / plain_scale), plain.least, plain.greatest) + MAGIC - MAGIC;
    const float2 difference = fma(-(float2)(fitted_scale, plain_scale), (float2)(q, p), (float2)v);
    error = fma(difference * difference, (float2)WEIGHT(i), error);
  }
  const int kept = error.x < error.y;
  if (kept) SAVE(T1, scale, 0, limited_scale(s));
#if !SYMMETRIC
  SAVE(T2, zero, zero_from + g, LEAST_CODE + (kept ? below : widest_below));
#endif
}
