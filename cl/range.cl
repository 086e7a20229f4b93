/* The range of values, and the scale and zero point of bytes that it gives. SPDX-License-Identifier: Apache-2.0
 *
 * scale = (greatest - least) / 255, or 1 where that is 0; zero = round(-least / scale), as ONNX DynamicQuantizeLinear
 * has it. RANGE_OF is the values' dtype; VW of them are taken at a time. The same for any order of the values. */
#include "dtype.cl"

#define RANGE_LANES JOIN(float, VW)

/* The least and greatest of zero and of every items-th vector of x, from the item-th on; NaN is ignored. */
static float2 range_of(__global const STORE(RANGE_OF) *x, long count, int item, int items) {
  const long whole = count / VW * VW;
  RANGE_LANES least = (RANGE_LANES)(0.0f), greatest = (RANGE_LANES)(0.0f);
  for (long i = (long)item * VW; i < whole; i += items * VW) {
    const RANGE_LANES v = LOADV(RANGE_OF, VW, x, i);
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
  for (long i = whole + item; i < count; i += items) {
    const float v = LOAD(RANGE_OF, x, i);
    range.x = v < range.x ? v : range.x;
    range.y = v > range.y ? v : range.y;
  }
  return range;
}

/* That of all items of a group; each of them gets it. */
static float2 range_of_group(__global const STORE(RANGE_OF) *x, long count, int item, int items, __local float2 *part) {
  float2 range = range_of(x, count, item, items);
  part[item] = range;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int t = 0; t < items; t++) {
    range.x = part[t].x < range.x ? part[t].x : range.x;
    range.y = part[t].y > range.y ? part[t].y : range.y;
  }
  return range;
}

static float range_scale(float2 range) { return range.y > range.x ? (range.y - range.x) / 255.0f : 1.0f; }
static int range_zero(float2 range, float scale) { return convert_uchar_sat_rte(-range.x / scale); }
