/* One step of the self-test of ticketed launches: y[i] = x[(i + shift) % n] + ADD, so that every group of a step needs
 * what others did in the step before. SPDX-License-Identifier: Apache-2.0 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void ticketed_step(__global const float *x, long x_from,
                                                                           __global float *y, long y_from, long8 shape,
                                                                           float scale, int block,
                                                                           __local float *kept) {
  const long n = shape.s0, shift = shape.s7, begin = get_global_id(0) * block, end = min(begin + block, n);
  for (long i = begin; i < end; i++) kept[i - begin] = x[x_from + (i + shift) % n];
  for (long i = begin; i < end; i++) y[y_from + i] = kept[i - begin] * scale + ADD;
}
