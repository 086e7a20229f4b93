/* The range of activations, and the scale and zero point that it gives. SPDX-License-Identifier: Apache-2.0
 *
 * range   chunk by chunk the least and the greatest value and zero; NaN is ignored
 * affine  from values, or from the results of range: scale and zero point, as range.cl has them
 *
 * ITEMS work-items a group share a chunk, VW values at a time. */
#pragma OPENCL FP_CONTRACT OFF

#ifndef ITEMS
#define ITEMS 1
#endif
#define GROUP __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
#ifndef VW
#define VW 1
#endif
#define RANGE_OF T0
#include "range.cl"

/* Group g: values [g * chunk, (g + 1) * chunk) to range[g][2]. */
GROUP __kernel void quantise_range(long count, __global const STORE(T0) *x, long x_offset, __global float *range,
                                   long range_offset, long chunk) {
  __local float2 part[ITEMS];
  const long begin = get_group_id(0) * chunk;
  const float2 found = range_of_group(x + x_offset + begin, min(chunk, count - begin), get_local_id(0), ITEMS, part);
  if (get_local_id(0) == 0) vstore2(found, get_group_id(0), range + range_offset);
}

/* One group: the scale and the zero point of `count` values. */
GROUP __kernel void quantise_affine(long count, __global const STORE(T0) *x, long x_offset, __global float *scale,
                                    long scale_offset, __global uchar *zero, long zero_offset) {
  __local float2 part[ITEMS];
  const float2 range = range_of_group(x + x_offset, count, get_local_id(0), ITEMS, part);
  if (get_local_id(0) != 0) return;
  scale[scale_offset] = range_scale(range);
  zero[zero_offset] = range_zero(range, range_scale(range));
}
