/* Quantisation grids of weights: ranges, codes and back, group by group. SPDX-License-Identifier: Apache-2.0
 *
 * Rows are contiguous, of `length` elements, cut into groups of `part`, the last of which may be shorter; a group has a
 * scale and a zero point. Codes have BITS bits; in i8 they begin at -2^(BITS-1), in u8 at 0.
 *
 * STEP ENCODE      x -> scale, zero, codes (PACKED=1: two of 4 bits a byte)
 *      RANGE       x -> scale, zero
 *      FROM_RANGE  low, high of each group -> scale, zero
 *      QUANTISE    x, scale, zero -> codes
 *      DEQUANTISE  codes, scale, zero -> x
 *
 * A work-item (CPU-shaped: WIDTH elements at a time) or a work-group (GPU-shaped) takes `count` groups, or a chunk of
 * `chunk` elements of one. T0 = x or codes, T1 = scale, T2 = zero, T3 = codes or x; FROM_RANGE: low, scale, zero, high.
 */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#define ENCODE 0
#define RANGE 1
#define FROM_RANGE 2
#define QUANTISE 3
#define DEQUANTISE 4
#ifndef STEP
#define STEP ENCODE
#endif
#ifndef BITS
#define BITS 8
#endif
#ifndef SYMMETRIC
#define SYMMETRIC 1
#endif
#ifndef FULL_RANGE
#define FULL_RANGE 0
#endif
#ifndef PACKED
#define PACKED 0
#endif
#ifndef WIDTH
#define WIDTH 1
#endif
#ifndef GROUP
#define GROUP 1
#endif
#include "grid_scale.cl"

#define FLOATS(n) JOIN(float, n)
#define INTS(n) JOIN(int, n)
#define SPLAT(type, n, value) ((JOIN(type, n))(value))

#if STEP == ENCODE || STEP == QUANTISE
/* Codes less the zero point: rounded after they are saturated, which is the same as the limits are whole. */
#define STEPS_DEFINE(n)                                                                                   \
  static INTS(n) PASTE(steps, n)(FLOATS(n) x, float scale, float least, float greatest) {                 \
    const FLOATS(n) quotient = x / scale;                                                                 \
    FLOATS(n) v = quotient == quotient ? quotient : SPLAT(float, n, 0.0f);                                \
    v = v > least ? v : SPLAT(float, n, least);                                                           \
    v = v < greatest ? v : SPLAT(float, n, greatest);                                                     \
    return JOIN(as_int, n)(v + 12582912.0f) - 0x4b400000;                                                 \
  }
STEPS_DEFINE(1)
#if WIDTH > 1
STEPS_DEFINE(WIDTH)
#endif
#endif

#if STEP == ENCODE || STEP == RANGE
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#if GROUP == 1 && WIDTH > 1
/* Halves by way of an array, which stays in registers: halves of halves are more than some simulators follow. */
static float highest(FLOATS(WIDTH) v) {
  float lane[WIDTH];
  SAVEV(f32, WIDTH, lane, 0, v);
#if WIDTH == 16
  const float8 eight = LARGER(vload8(0, lane), vload8(1, lane));
  vstore8(eight, 0, lane);
#endif
#if WIDTH >= 8
  const float4 four = LARGER(vload4(0, lane), vload4(1, lane));
  vstore4(four, 0, lane);
#endif
  const float low = LARGER(lane[0], lane[1]), high = LARGER(lane[2], lane[3]);
  return LARGER(low, high);
}
#endif

/* (-least, greatest) of x and zero, each of magnitudes if symmetric, for elements item, item + GROUP, … */
static float2 find_range(__global const STORE(T0) *x, int n, int item) {
  float2 range = 0;
  int i = item;
#if GROUP == 1 && WIDTH > 1
  FLOATS(WIDTH) least = 0, greatest = 0;
  for (; i + WIDTH <= n; i += WIDTH) {
    const FLOATS(WIDTH) v = LOADV(T0, WIDTH, x, i);
#if SYMMETRIC
    const FLOATS(WIDTH) size = JOIN(as_float, WIDTH)(JOIN(as_int, WIDTH)(v)&0x7fffffff);
    greatest = LARGER(size, greatest);
#else
    least = LARGER(-v, least);
    greatest = LARGER(v, greatest);
#endif
  }
  range = (float2)(highest(least), highest(greatest));
#endif
  for (; i < n; i += GROUP) {
    const float v = LOAD(T0, x, i);
    range.x = LARGER(-v, range.x);
    range.y = LARGER(v, range.y);
  }
#if SYMMETRIC
  range = LARGER(range.x, range.y);
#endif
  return range;
}
#endif

#if STEP == ENCODE || STEP == QUANTISE
/* Codes of a group's n elements, for elements item, item + GROUP, …; s and z: its scale and zero point. */
static void put_codes(__global const STORE(T0) *from, __global STORE(T3) *to, int n, int item, float s, int z,
                      int aligned) {
  const float least = SYMMETRIC ? LEAST_SYMMETRIC : LEAST_CODE - z, greatest = GREATEST_CODE - z;
  int i = item;
#if PACKED
#if GROUP == 1 && WIDTH == 16
  for (; i + 16 <= n; i += 16) {
    const ulong8 pair = as_ulong8(steps16(LOADV(T0, 16, from, i), s, least, greatest) + z);
    const uchar8 bytes = convert_uchar8((pair | pair >> 28) & 255);
    if (aligned)
      *(__global uchar8 *)(to + i / 2) = bytes;
    else
      vstore8(bytes, 0, to + i / 2);
  }
#endif
  for (i = i * 2 - (GROUP > 1 ? 0 : i); i < n; i += 2 * GROUP) {
    const int low = steps1(LOAD(T0, from, i), s, least, greatest) + z;
    const int high = i + 1 < n ? steps1(LOAD(T0, from, i + 1), s, least, greatest) + z : 0;
    to[i / 2] = (uchar)(low | high << 4);
  }
#else
#if GROUP == 1 && WIDTH > 1
  for (; i + WIDTH <= n; i += WIDTH) {
    const INTS(WIDTH) code = PASTE(steps, WIDTH)(LOADV(T0, WIDTH, from, i), s, least, greatest) + z;
    if (aligned)
      *(__global JOIN(uchar, WIDTH) *)(to + i) = JOIN(convert_uchar, WIDTH)(code & 255);
    else
      SAVEV(T3, WIDTH, to, i, code);
  }
#endif
  for (; i < n; i += GROUP) SAVE(T3, to, i, steps1(LOAD(T0, from, i), s, least, greatest) + z);
#endif
}
#endif

#if STEP == ENCODE && GROUP == 1
/* Groups that are whole and lie one after the other, TILE at a time: what one waits for (its largest element, two
 * quotients) is then there while others are at work, and the elements are in the nearest cache the second time. */
#define TILE 16
static void encode_tiles(long first, long last, int part, __global const STORE(T0) *x, __global STORE(T1) *scale,
                         __global STORE(T2) *zero, __global STORE(T3) *out, int aligned) {
  float2 range[TILE];
  for (long g = first; g < last; g += TILE) {
    const int tile = (int)min((long)TILE, last - g);
    for (int t = 0; t < tile; t++) range[t] = find_range(x + (g + t) * part, part, 0);
    for (int t = 0; t < tile; t++) {
      SAVE(T1, scale, g + t, scale_of(range[t]));
#if !SYMMETRIC
      SAVE(T2, zero, g + t, LEAST_CODE + steps_below(range[t], LOAD(T1, scale, g + t)));
#endif
    }
    for (int t = 0; t < tile; t++) {
      const int z = SYMMETRIC ? MIDDLE_CODE : LOAD(T2, zero, g + t);
      put_codes(x + (g + t) * part, out + (g + t) * part / (PACKED ? 2 : 1), part, 0, LOAD(T1, scale, g + t), z,
                aligned);
    }
  }
}
#endif

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
grid_step(long groups, long length, int parts, int part, __global const STORE(T0) *x, long x_from,
          __global STORE(T1) *scale, long scale_from, __global STORE(T2) *zero, long zero_from, __global STORE(T3) *out,
          long out_from, int count, int chunk, int aligned) {
  const int item = get_local_id(0);
#if GROUP > 1
  __local float2 found[GROUP];
#endif
  scale += scale_from;
  if (zero) zero += zero_from;
  const int chunks = (part + chunk - 1) / chunk;
  const long first = (long)get_group_id(0) / chunks * count, last = min(first + count, groups);
#if STEP == ENCODE && GROUP == 1
  if (length == (long)parts * part) {
    encode_tiles(first, last, part, x + x_from, scale, zero, out + out_from, aligned);
    return;
  }
#endif
  for (long g = first; g < last; g++) {
    const long row = g / parts;
    const int p = (int)(g - row * parts), begin = get_group_id(0) % chunks * chunk;
    const int n = min((int)min((long)part, length - (long)p * part) - begin, chunk);
    const long at = row * length + (long)p * part + begin;
#if STEP != QUANTISE && STEP != DEQUANTISE
    float2 range = 0;
#if STEP == FROM_RANGE
    range = (float2)(-LOAD(T0, x, x_from + g), LOAD(T3, out, out_from + g));
    range = (float2)(range.x > 0 ? range.x : 0, range.y > 0 ? range.y : 0);
#else
    range = find_range(x + x_from + at, n, item);
#if GROUP > 1
    found[item] = range;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0)
      for (int t = 1; t < GROUP; t++) {
        range.x = LARGER(found[t].x, range.x);
        range.y = LARGER(found[t].y, range.y);
      }
#endif
#endif
    if (item == 0) {
      const float exact = scale_of(range);
      SAVE(T1, scale, g, exact);
#if !SYMMETRIC
      SAVE(T2, zero, g, LEAST_CODE + steps_below(range, LOAD(T1, scale, g)));
#endif
    }
#if GROUP > 1
    barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);
#endif
#endif
#if STEP == ENCODE || STEP == QUANTISE || STEP == DEQUANTISE
    const float s = LOAD(T1, scale, g);
    const int z = SYMMETRIC ? MIDDLE_CODE : LOAD(T2, zero, g);
#endif
#if STEP == DEQUANTISE
    int i = item;
#if GROUP == 1 && WIDTH > 1
    for (; i + WIDTH <= n; i += WIDTH)
      SAVEV(T3, WIDTH, out, out_from + at + i,
            CONVERTV(i32, f32, WIDTH, LOADV(T0, WIDTH, x, x_from + at + i) - z) * s);
#endif
    for (; i < n; i += GROUP) SAVE(T3, out, out_from + at + i, (float)(LOAD(T0, x, x_from + at + i) - z) * s);
#elif STEP == ENCODE || STEP == QUANTISE
    put_codes(x + x_from + at, out + out_from + at / (PACKED ? 2 : 1), n, item, s, z, aligned);
#endif
#if GROUP > 1
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
  }
}
