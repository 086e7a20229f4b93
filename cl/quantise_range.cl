/* The range of activations, and the scale and zero point that it gives. SPDX-License-Identifier: Apache-2.0
 *
 * range   chunk by chunk the least and the greatest value and zero; NaN is ignored
 * affine  from values, or from the results of range: scale = (greatest - least) / 255, zero = round(-least / scale), as
 * ONNX DynamicQuantizeLinear has it ITEMS work-items a group share a chunk, VW values at a time. */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef ITEMS
#define ITEMS 1
#endif
#define GROUP __attribute__((reqd_work_group_size(ITEMS, 1, 1)))
#ifndef VW
#define VW 1
#endif
#define LANES JOIN(float, VW)

/* The least and greatest of `count` values and zero, by all items of the group; item 0 has the result. */
static float2 find_range(__global const STORE(T0) *x, long count, __local float2 *part) {
  const int item = get_local_id(0);
  const long whole = count / VW * VW;
  LANES least = (LANES)(0.0f), greatest = (LANES)(0.0f);
  for (long i = (long)item * VW; i < whole; i += ITEMS * VW) {
    const LANES v = LOADV(T0, VW, x, i);
    least = v < least ? v : least;
    greatest = v > greatest ? v : greatest;
  }
  float lane[2][VW];
  float2 range = (float2)(0.0f);
  SAVEV(f32, VW, lane[0], 0, least);
  SAVEV(f32, VW, lane[1], 0, greatest);
  for (int l = 0; l < VW; l++) {
    range.x = lane[0][l] < range.x ? lane[0][l] : range.x;
    range.y = lane[1][l] > range.y ? lane[1][l] : range.y;
  }
  for (long i = whole + item; i < count; i += ITEMS) {
    const float v = LOAD(T0, x, i);
    range.x = v < range.x ? v : range.x;
    range.y = v > range.y ? v : range.y;
  }
  part[item] = range;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (item == 0)
    for (int t = 1; t < ITEMS; t++) {
      range.x = part[t].x < range.x ? part[t].x : range.x;
      range.y = part[t].y > range.y ? part[t].y : range.y;
    }
  return range;
}

/* Group g: values [g * chunk, (g + 1) * chunk) to range[g][2]. */
GROUP __kernel void quantise_range(long count, __global const STORE(T0) *x, long x_offset, __global float *range,
                                   long range_offset, long chunk) {
  __local float2 part[ITEMS];
  const long begin = get_group_id(0) * chunk;
  const float2 found = find_range(x + x_offset + begin, min(chunk, count - begin), part);
  if (get_local_id(0) == 0) vstore2(found, get_group_id(0), range + range_offset);
}

/* One group: the scale and the zero point of `count` values. */
GROUP __kernel void quantise_affine(long count, __global const STORE(T0) *x, long x_offset, __global float *scale,
                                    long scale_offset, __global uchar *zero, long zero_offset) {
  __local float2 part[ITEMS];
  const float2 range = find_range(x + x_offset, count, part);
  if (get_local_id(0) != 0) return;
  const float step = range.y > range.x ? (range.y - range.x) / 255.0f : 1.0f;
  scale[scale_offset] = step;
  zero[zero_offset] = convert_uchar_sat_rte(-range.x / step);
}
