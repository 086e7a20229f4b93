/* Sampling at the places that a grid names: one item an element. SPDX-License-Identifier: Apache-2.0
 *
 * The problem is described in src/kernel/family_resample.h; -DSAMPLING and -DPADDING are the two parts of its mode.
 * Every dimension has its own taps: 2 (linear), 1 (nearest) or 4 (cubic) of them. */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#define LINEAR 0
#define NEAREST 1
#define CUBIC 2
#define ZEROS 0
#define BORDER 1
#define REFLECTION 2
#define ALIGN_CORNERS 1
#define TAPS (SAMPLING == LINEAR ? 2 : SAMPLING == NEAREST ? 1 : 4)
#define REAL VALUE(T0)

/* Between the first and the last element's centres, or their outer edges. */
static REAL reflect(REAL at, int length, int align) {
  const REAL low = align ? (REAL)0 : (REAL)-0.5f, span = align ? (REAL)(length - 1) : (REAL)length;
  if (span <= 0) return 0;
  REAL distance = fabs(at - low);
  const REAL turns = floor(distance / span);
  distance -= turns * span;
  return fmod(turns, (REAL)2) == 0 ? low + distance : low + span - distance;
}

static REAL cubic(REAL x) {
  const REAL a = (REAL)-0.75f;
  x = fabs(x);
  return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : (REAL)0;
}

/* Far places are as good as any that is outside: they must not overflow an int. */
static REAL limited(REAL at) { return at > -1e9f ? (at < 1e9f ? at : (REAL)1e9f) : (REAL)-1e9f; }

/* The taps of one dimension: indices (-1: a zero) and weights. */
static void taps_at(REAL coordinate, int length, int align, int *index, REAL *weight) {
  REAL at = align ? (coordinate + 1) / 2 * (length - 1) : ((coordinate + 1) * length - 1) / 2;
#if SAMPLING != CUBIC
#if PADDING == BORDER
  at = clamp(at, (REAL)0, (REAL)(length - 1));
#elif PADDING == REFLECTION
  at = clamp(reflect(at, length, align), (REAL)0, (REAL)(length - 1));
#endif
#endif
  at = limited(at);
#if SAMPLING == NEAREST
  const REAL first = rint(at);
#else
  const REAL first = floor(at) - (TAPS / 2 - 1);
#endif
  for (int t = 0; t < TAPS; t++) {
    int i = (int)first + t;
    weight[t] = SAMPLING == LINEAR ? 1 - fabs(at - i) : SAMPLING == NEAREST ? (REAL)1 : cubic(at - i);
#if SAMPLING == CUBIC && PADDING == BORDER
    i = clamp(i, 0, length - 1);
#elif SAMPLING == CUBIC && PADDING == REFLECTION
    i = clamp((int)reflect((REAL)i, length, align), 0, length - 1);
#endif
    index[t] = i < 0 || i >= length ? -1 : i;
  }
}

__kernel void grid_sample(__global const STORE(T0) *restrict x, long x_from, __global const STORE(T1) *restrict grid,
                          long grid_from, __global STORE(T2) *restrict y, long y_from, int channels, int rank,
                          long8 dims, int flags) {
  const int4 x_dims = convert_int4(dims.s0123), y_dims = convert_int4(dims.s3456);
  const long area = (long)y_dims.x * y_dims.y * y_dims.z, p = get_global_id(0), plane = get_global_id(1);
  const long n = plane / channels;
  if (p >= area) return;
  grid += grid_from + (n * area + p) * rank;
  x += x_from + plane * x_dims.x * x_dims.y * x_dims.z;
  int index[3][TAPS];
  REAL weight[3][TAPS];
  for (int t = 0; t < TAPS; t++)
    for (int d = 0; d < 3; d++) {
      index[d][t] = t == 0 ? 0 : -1;
      weight[d][t] = t == 0;
    }
  taps_at(LOAD(T1, grid, 0), x_dims.z, flags & ALIGN_CORNERS, index[2], weight[2]);
  if (rank > 1) taps_at(LOAD(T1, grid, 1), x_dims.y, flags & ALIGN_CORNERS, index[1], weight[1]);
  if (rank > 2) taps_at(LOAD(T1, grid, 2), x_dims.x, flags & ALIGN_CORNERS, index[0], weight[0]);
  REAL sum = 0;
  for (int a = 0; a < TAPS; a++)
    for (int b = 0; b < TAPS; b++)
      for (int c = 0; c < TAPS; c++) {
        if (index[0][a] < 0 || index[1][b] < 0 || index[2][c] < 0) continue;
        const REAL value = LOAD(T0, x, ((long)index[0][a] * x_dims.y + index[1][b]) * x_dims.z + index[2][c]);
        sum = fma(weight[0][a] * weight[1][b] * weight[2][c], value, sum);
      }
  SAVE(T2, y, y_from + plane * area + p, sum);
}
