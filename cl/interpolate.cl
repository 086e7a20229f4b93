/* Interpolation along one axis with tables of indices and weights. SPDX-License-Identifier: Apache-2.0
 *
 * y[o][m][i] = sum over t of w[m][t] x[o][index[m][t]][i]. CPU: one item takes rows (o, m), vectors along i, or single
 * elements where the inner axis is short. GPU: one item an element. */
#ifndef WIDTH
#define WIDTH 1
#endif
#ifndef GROUP
#define GROUP 64
#endif
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#if SUM_IS_DOUBLE
#define TS f64
#else
#define TS f32
#endif
#define SUM VALUE(TS)
#define SUMS VALUEV(TS, WIDTH)

#define INTERPOLATE_ARGUMENTS                                                                                     \
  __global const STORE(T0) *restrict x, long x_from, __global const int *restrict indices, long indices_from,     \
      __global const STORE(T2) *restrict weights, long weights_from, __global STORE(T3) *restrict y, long y_from, \
      long outer, int length, long inner, int made, int taps, SUM outside

#define INTERPOLATE_BEGIN  \
  x += x_from;             \
  indices += indices_from; \
  weights += weights_from; \
  y += y_from

static int is_outside(__global const int *indices, int taps) {
  int any = 0;
  for (int t = 0; t < taps; t++) any |= indices[t] < 0;
  return any;
}

static SUM element(__global const STORE(T0) *x, __global const int *indices, __global const STORE(T2) *weights,
                   int taps, int length, long inner, SUM outside) {
  if (is_outside(indices, taps)) return outside;
  SUM sum = 0;
  for (int t = 0; t < taps; t++)
    sum = fma((SUM)LOAD(T2, weights, t), (SUM)LOAD(T0, x, min(indices[t], length - 1) * inner), sum);
  return sum;
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void interpolate_rows(INTERPOLATE_ARGUMENTS,
                                                                              long rows_per_item) {
  INTERPOLATE_BEGIN;
  const long first = get_global_id(0) * rows_per_item, last = min(first + rows_per_item, outer * made);
  for (long r = first; r < last; r++) {
    const long o = r / made, m = r - o * made;
    __global const int *index = indices + m * taps;
    __global const STORE(T2) *weight = weights + m * taps;
    __global const STORE(T0) *from = x + o * length * inner;
    long i = 0;
#if WIDTH > 1
    const int filled = is_outside(index, taps);
    for (; i + WIDTH <= inner; i += WIDTH) {
      SUMS sum = (SUMS)(filled ? outside : (SUM)0);
      for (int t = 0; t < taps && !filled; t++)
        sum = fma((SUMS)((SUM)LOAD(T2, weight, t)), LOADV(T0, WIDTH, from, min(index[t], length - 1) * inner + i), sum);
      SAVEV(T3, WIDTH, y, r * inner + i, sum);
    }
#endif
    for (; i < inner; i++) SAVE(T3, y, r * inner + i, element(from + i, index, weight, taps, length, inner, outside));
  }
}

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void interpolate_each(INTERPOLATE_ARGUMENTS) {
  INTERPOLATE_BEGIN;
  const long e = get_group_id(0) * (long)GROUP + get_local_id(0);
  if (e >= outer * made * inner) return;
  const long r = e / inner, i = e - r * inner, o = r / made, m = r - o * made;
  SAVE(T3, y, e,
       element(x + o * length * inner + i, indices + m * taps, weights + m * taps, taps, length, inner, outside));
}
