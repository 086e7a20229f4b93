/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", 2011). SPDX-License-Identifier: Apache-2.0
 *
 * Block b of a stream is philox(counter = {b, stream}, key = seed): four words of 32 bits, or two of 64. Element i
 * takes word i modulo WORDS of block i / WORDS, so that it depends on (seed, stream, i) alone. Normal deviates come in
 * pairs (Box & Muller 1958).
 *
 * Everything in f32 uses + * fma only, which round correctly on every device, so the bits agree between devices. Only
 * the f64 normals use the device's log, sin and cos.
 *
 * DISTRIBUTION: 0 uniform, 1 normal, 2 Bernoulli, 3 integers. WORDS: 4, or 2 for f64 and for i64 and u64 integers.
 * CHUNK: consecutive blocks an item (CPUs), or 1: blocks dealt out to neighbouring items (GPUs). */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef DISTRIBUTION
#define DISTRIBUTION 0
#endif
#ifndef WORDS
#define WORDS 4
#endif
#ifndef CHUNK
#define CHUNK 1
#endif
#ifndef GROUP
#define GROUP 64
#endif

static uint4 philox(ulong block, ulong stream, ulong seed) {
  uint4 c = (uint4)((uint)block, (uint)(block >> 32), (uint)stream, (uint)(stream >> 32));
  uint2 key = (uint2)((uint)seed, (uint)(seed >> 32));
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const ulong a = (ulong)0xD2511F53u * c.x, b = (ulong)0xCD9E8D57u * c.z;
    c = (uint4)((uint)(b >> 32) ^ c.y ^ key.x, (uint)b, (uint)(a >> 32) ^ c.w ^ key.y, (uint)a);
    key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
  }
  return c;
}

#if DISTRIBUTION == 1 && WORDS == 4
/* ln x for 0 < x <= 1, normal numbers: x = m 2^e with m in [sqrt(1/2), sqrt(2)), then a polynomial in m - 1
 * (coefficients of Cephes' logf). */
static float log_unit(float x) {
  int e = (int)(as_uint(x) >> 23) - 126;
  float m = as_float((as_uint(x) & 0x007fffffu) | 0x3f000000u); /* [1/2, 1) */
  if (m < 0.70710678f) {
    m += m;
    e--;
  }
  const float t = m - 1.0f, t2 = t * t;
  float p = 7.0376836292e-2f;
  p = fma(p, t, -1.1514610310e-1f);
  p = fma(p, t, 1.1676998740e-1f);
  p = fma(p, t, -1.2420140846e-1f);
  p = fma(p, t, 1.4249322787e-1f);
  p = fma(p, t, -1.6668057665e-1f);
  p = fma(p, t, 2.0000714765e-1f);
  p = fma(p, t, -2.4999993993e-1f);
  p = fma(p, t, 3.3333331174e-1f);
  p = fma(p * t, t2, -0.5f * t2) + t;
  return fma((float)e, 0.693359375f, fma((float)e, -2.12194440e-4f, p));
}

/* sqrt x for x = 0 and normal numbers: Newton's iteration for 1 / sqrt x, then one for the root. */
static float root(float x) {
  float y = as_float(0x5f3759dfu - (as_uint(x) >> 1));
#pragma unroll
  for (int i = 0; i < 3; i++) y = y * fma(-0.5f * x * y, y, 1.5f);
  const float s = x * y;
  return fma(fma(-s, s, x), 0.5f * y, s);
}

static float2 normal_pair(uint a, uint b) {
  const float radius = root(-2.0f * log_unit((float)((a >> 8) + 1) * 0x1p-24f));
  /* the angle: a quadrant, and a position in it, measured from its middle */
  const float t = ((float)((b >> 6) & 0xffffffu) - 8388607.5f) * (1.57079633f * 0x1p-24f), t2 = t * t;
  float s = 2.7557319e-6f, c = -2.7557319e-7f;
  s = fma(s, t2, -1.9841270e-4f);
  s = fma(s, t2, 8.3333333e-3f);
  s = fma(s, t2, -1.6666667e-1f);
  s = fma(s * t2, t, t);
  c = fma(c, t2, 2.4801587e-5f);
  c = fma(c, t2, -1.3888889e-3f);
  c = fma(c, t2, 4.1666667e-2f);
  c = fma(c, t2, -0.5f);
  c = fma(c, t2, 1.0f);
  const float r = radius * 0.70710678f, x = r * (c - s), y = r * (c + s);
  const uint quadrant = b >> 30;
  return quadrant == 0   ? (float2)(x, y)
         : quadrant == 1 ? (float2)(-y, x)
         : quadrant == 2 ? (float2)(-x, -y)
                         : (float2)(y, -x);
}
#endif

#if WORDS == 2
typedef ulong word;
#define UNIT(w) ((double)((w) >> 11) * 0x1p-53)
#else
typedef uint word;
#define UNIT(w) ((float)((w) >> 8) * 0x1p-24f)
#endif

#if DISTRIBUTION <= 1
#if WORDS == 2
#define REAL double
#else
#define REAL float
#endif
#else
#define REAL float
#endif

/* first: low or mean; second: high - low or deviation; top: the largest value below high. integer_first: low; range:
 * high - low (0 = 2^64), or the Bernoulli threshold of 2^32. */
static void convert_block(const word *w, VALUE(T0) *value, REAL first, REAL second, REAL top, long integer_first,
                          ulong range) {
#if DISTRIBUTION == 0
#pragma unroll
  for (int k = 0; k < WORDS; k++) {
    const REAL x = fma((REAL)UNIT(w[k]), second, first);
    value[k] = x < top ? x : top;
  }
#elif DISTRIBUTION == 1 && WORDS == 4
#pragma unroll
  for (int k = 0; k < WORDS; k += 2) {
    const float2 pair = normal_pair(w[k], w[k + 1]);
    value[k] = fma(pair.x, second, first);
    value[k + 1] = fma(pair.y, second, first);
  }
#elif DISTRIBUTION == 1
  const double radius = sqrt(-2.0 * log((double)((w[0] >> 11) + 1) * 0x1p-53));
  const double angle = 6.283185307179586477 * UNIT(w[1]);
  value[0] = fma(radius * cos(angle), second, first);
  value[1] = fma(radius * sin(angle), second, first);
#elif DISTRIBUTION == 2
#pragma unroll
  for (int k = 0; k < WORDS; k++) value[k] = (VALUE(T0))(w[k] < range);
#elif WORDS == 2
#pragma unroll
  for (int k = 0; k < WORDS; k++)
    value[k] = (VALUE(T0))((ulong)integer_first + (range ? mul_hi((ulong)w[k], range) : (ulong)w[k]));
#else
#pragma unroll
  for (int k = 0; k < WORDS; k++) value[k] = (VALUE(T0))(integer_first + (long)((w[k] * range) >> 32));
#endif
}

static void one_block(ulong block, ulong seed, ulong stream, long begin, long n, __global STORE(T0) *y, REAL first,
                      REAL second, REAL top, long integer_first, ulong range) {
  const uint4 four = philox(block, stream, seed);
#if WORDS == 2
  const word w[2] = {((ulong)four.y << 32) | four.x, ((ulong)four.w << 32) | four.z};
#else
  const word w[4] = {four.x, four.y, four.z, four.w};
#endif
  VALUE(T0) value[WORDS];
  convert_block(w, value, first, second, top, integer_first, range);
  const long at = (long)(block * WORDS) - begin;
#pragma unroll
  for (int k = 0; k < WORDS; k++)
    if (at + k >= 0 && at + k < n) SAVE(T0, y, at + k, value[k]);
}

/* y[0 … n) are elements begin … begin + n of the stream; nblocks blocks from first_block on hold them. */
__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
random_fill(long n, long begin, ulong first_block, long nblocks, ulong seed, ulong stream, __global STORE(T0) *y,
            long offset, REAL first, REAL second, REAL top, long integer_first, ulong range) {
  const long item = get_global_id(0);
  y += offset;
#if CHUNK > 1
  const long end = min((item + 1) * CHUNK, nblocks);
  for (long b = item * CHUNK; b < end; b++)
#else
  for (long b = item; b < nblocks; b += get_global_size(0))
#endif
    one_block(first_block + (ulong)b, seed, stream, begin, n, y, first, second, top, integer_first, range);
}
