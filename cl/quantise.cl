/* Values to integers and back. SPDX-License-Identifier: Apache-2.0
 *
 * -DQUANTISE=1: q = saturate(round(x / scale) + zero) to [LEAST, GREATEST], ties to even; 0: x = (q - zero) * scale
 * Elements are [outer][axis][inner], scale and zero [axis]. ITEMS work-items a group, VW elements at a time. */
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
#define INTS JOIN(int, VW)

#if QUANTISE
#define SPLAT(type, width, value) ((JOIN(type, width))(value))
#define CONVERT_LANES(width, v, s, z)                                                                              \
  clamp(JOIN(as_int,                                                                                               \
             width)(clamp((v) / (s), SPLAT(float, width, -1024.0f), SPLAT(float, width, 1024.0f)) + 12582912.0f) - \
            0x4b400000 + (z),                                                                                      \
        SPLAT(int, width, LEAST), SPLAT(int, width, GREATEST))
#else
#define CONVERT_LANES(width, v, s, z) (CONVERTV(i32, f32, width, (v) - (z)) * (s))
#endif

/* Group (x, y): columns x * chunk … of rows y * height …. Scale and zero point go by column, or by row modulo `axis`.
 */
GROUP __kernel void quantise_elements(int rows, int columns, int axis, int by_column, __global const STORE(T0) * x,
                                      long x_offset, __global const float *scale, long scale_offset,
                                      __global const STORE(T2) * zero, long zero_offset, __global STORE(T3) * out,
                                      long out_offset, int chunk, int height) {
  const int begin = get_group_id(0) * chunk, end = min(begin + chunk, columns), item = get_local_id(0);
  const int row0 = get_group_id(1) * height, row1 = min(row0 + height, rows);
  for (int row = row0; row < row1; row++) {
    __global const STORE(T0) *from = x + x_offset + (long)row * columns;
    __global STORE(T3) *to = out + out_offset + (long)row * columns;
    __global const float *s = scale + scale_offset + (by_column ? 0 : row % axis);
    __global const STORE(T2) *z = zero ? zero + zero_offset + (by_column ? 0 : row % axis) : 0;
    const int whole = begin + (end - begin) / VW * VW;
    for (int i = begin + item * VW; i < whole; i += ITEMS * VW) {
      const LANES step = by_column ? LOADV(f32, VW, s, i) : (LANES)(s[0]);
      const INTS origin = !z ? (INTS)(0) : by_column ? LOADV(T2, VW, z, i) : (INTS)(LOAD(T2, z, 0));
      SAVEV(T3, VW, to, i, CONVERT_LANES(VW, LOADV(T0, VW, from, i), step, origin));
    }
    for (int i = whole + item; i < end; i += ITEMS)
      SAVE(T3, to, i,
           CONVERT_LANES(1, LOAD(T0, from, i), s[by_column ? i : 0], z ? LOAD(T2, z, by_column ? i : 0) : 0));
  }
}
