/* The kernel of task.c: y[i][j] = x[i][j] / sqrt(mean of x[i][:]^2 + eps), a work-item a row.
 * SPDX-License-Identifier: Apache-2.0 */
__kernel void scale_rows(__global const float *x, long x_from, long8 x_strides, __global float *y, long y_from,
                         long8 y_strides, int columns, float eps, long begin, long end) {
  const long row = (long)get_global_id(0); /* of this piece */
  if (row >= end - begin) return;
  x += x_from + row * x_strides.s0;
  y += y_from + row * y_strides.s0;
  float sum = 0;
  for (int j = 0; j < columns; j++) sum += x[j * x_strides.s1] * x[j * x_strides.s1];
  const float scale = rsqrt(sum / columns + eps);
  for (int j = 0; j < columns; j++) y[j * y_strides.s1] = x[j * x_strides.s1] * scale;
}
