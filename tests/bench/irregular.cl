/* Rows of unequal cost, for serve_sched.c: a work-item a row, the last of `rows` rows up to `spread` times the
 * first; `first`: how many of them lie before what is done here.
 * SPDX-License-Identifier: Apache-2.0 */
__kernel void irregular(__global const float *x, long x_from, long8 x_strides, __global float *y, long y_from,
                        long8 y_strides, int rows, int first, int steps, float spread, long begin, long end) {
  const long row = (long)get_global_id(0);
  if (row >= end - begin) return;
  const float part = (float)(first + begin + row) / rows;
  const int count = (int)(steps * (1 + (spread - 1) * part * part * part));
  float value = x[x_from + row * x_strides.s0];
  for (int i = 0; i < count; i++) value = value * 0.999f + 0.25f;
  y[y_from + row * y_strides.s0] = value;
}
