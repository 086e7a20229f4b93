/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2,
 * 3", 2011). SPDX-License-Identifier: Apache-2.0
 *
 * Block b of a stream is philox(counter = {b, stream}, key = seed): four words of 32 bits, or two of 64. Element i
 * takes word i modulo WORDS of block i / WORDS, so that it depends on (seed, stream, i) alone. Normal deviates come in
 * pairs (Box & Muller 1958).
 *
 * Everything uses + * fma only, which round correctly on every device, so the bits agree between devices.
 *
 * DISTRIBUTION: 0 uniform, 1 normal, 2 Bernoulli, 3 integers. WORDS: 4, or 2 for f64 and for i64 and u64 integers.
 * CHUNK: consecutive blocks an item (CPUs), or 1: blocks dealt out to neighbouring items (GPUs). */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF
#ifdef PARE_SOFT_FMA
#undef fma /* mad, which takes its place in other kernels, gives other bits */
#endif

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

#if WORDS == 2
typedef ulong word;
#define UNIT(w) ((double)((w) >> 11) * 0x1p-53)
#else
typedef uint word;
#define UNIT(w) ((float)((w) >> 8) * 0x1p-24f)
#endif

#if DISTRIBUTION <= 1 && WORDS == 2
typedef double REAL;
typedef double2 REAL2;
#else
typedef float REAL;
typedef float2 REAL2;
#endif

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

/* sin t and cos t for |t| <= pi / 4: Taylor's series. */
static float2 sine_cosine(float t) {
  const float t2 = t * t;
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
  return (float2)(s, c);
}

#define ABOVE_ZERO(w) ((float)(((w) >> 8) + 1) * 0x1p-24f)
#define QUADRANT(w) ((w) >> 30)
#define POSITION(w) (((float)(((w) >> 6) & 0xffffffu) - 8388607.5f) * (1.57079633f * 0x1p-24f))
#define HALF_ROOT 0.70710678f
#elif DISTRIBUTION == 1
/* ln x for 2^-53 <= x <= 1: x = m 2^e with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh s of s = (m - 1) / (m + 1),
 * |s| < 0.172, by its series. Division is not right to the last bit everywhere: 1 / (m + 1) is a line within 1.5 % of
 * it, and Newton's iteration. */
static double log_unit(double x) {
  int e = (int)(as_ulong(x) >> 52) - 1022;
  double m = as_double((as_ulong(x) & 0x000fffffffffffffUL) | 0x3fe0000000000000UL); /* [1/2, 1) */
  if (m < 0.70710678118654752) {
    m += m;
    e--;
  }
  const double t = m - 1.0, d = m + 1.0;
  double r = fma(-0.239016, d, 0.985061);
#pragma unroll
  for (int i = 0; i < 4; i++) r = fma(fma(-r, d, 1.0), r, r);
  double s = t * r;
  s = fma(fma(-s, d, t), r, s);
  const double s2 = s * s, twice = s + s;
  double p = 4.7619047619047616e-2;
  p = fma(p, s2, 5.2631578947368418e-2);
  p = fma(p, s2, 5.8823529411764705e-2);
  p = fma(p, s2, 6.6666666666666666e-2);
  p = fma(p, s2, 7.6923076923076927e-2);
  p = fma(p, s2, 9.0909090909090912e-2);
  p = fma(p, s2, 1.1111111111111111e-1);
  p = fma(p, s2, 1.4285714285714285e-1);
  p = fma(p, s2, 2.0e-1);
  p = fma(p, s2, 3.3333333333333333e-1);
  p = fma(p * s2, twice, twice);
  return fma((double)e, 0x1.62e42feep-1, fma((double)e, 0x1.a39ef35793c76p-33, p)); /* ln 2 in two parts */
}

static double root(double x) {
  double y = as_double(0x5fe6eb50c7b537a9UL - (as_ulong(x) >> 1));
#pragma unroll
  for (int i = 0; i < 4; i++) y = y * fma(-0.5 * x * y, y, 1.5);
  const double s = x * y;
  return fma(fma(-s, s, x), 0.5 * y, s);
}

static double2 sine_cosine(double t) {
  const double t2 = t * t;
  double s = 2.8114572543455206e-15, c = 4.7794773323873853e-14;
  s = fma(s, t2, -7.6471637318198164e-13);
  s = fma(s, t2, 1.6059043836821613e-10);
  s = fma(s, t2, -2.5052108385441720e-8);
  s = fma(s, t2, 2.7557319223985893e-6);
  s = fma(s, t2, -1.9841269841269841e-4);
  s = fma(s, t2, 8.3333333333333333e-3);
  s = fma(s, t2, -1.6666666666666667e-1);
  s = fma(s * t2, t, t);
  c = fma(c, t2, -1.1470745597729725e-11);
  c = fma(c, t2, 2.0876756987868099e-9);
  c = fma(c, t2, -2.7557319223985888e-7);
  c = fma(c, t2, 2.4801587301587302e-5);
  c = fma(c, t2, -1.3888888888888889e-3);
  c = fma(c, t2, 4.1666666666666667e-2);
  c = fma(c, t2, -0.5);
  c = fma(c, t2, 1.0);
  return (double2)(s, c);
}

#define ABOVE_ZERO(w) ((double)(((w) >> 11) + 1) * 0x1p-53)
#define QUADRANT(w) ((w) >> 62)
#define POSITION(w) (((double)(((w) >> 9) & 0x1fffffffffffffUL) - 4503599627370495.5) * (1.5707963267948966 * 0x1p-53))
#define HALF_ROOT 0.70710678118654752
#endif

#if DISTRIBUTION == 1
static REAL2 normal_pair(word a, word b) {
  const REAL radius = root(-2 * log_unit(ABOVE_ZERO(a)));
  /* the angle: a quadrant, and a position in it, measured from its middle */
  const REAL2 sc = sine_cosine(POSITION(b));
  const REAL r = radius * HALF_ROOT, x = r * (sc.y - sc.x), y = r * (sc.y + sc.x);
  const uint quadrant = (uint)QUADRANT(b);
  return quadrant == 0   ? (REAL2)(x, y)
         : quadrant == 1 ? (REAL2)(-y, x)
         : quadrant == 2 ? (REAL2)(-x, -y)
                         : (REAL2)(y, -x);
}
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
#elif DISTRIBUTION == 1
#pragma unroll
  for (int k = 0; k < WORDS; k += 2) {
    const REAL2 pair = normal_pair(w[k], w[k + 1]);
    value[k] = fma(pair.x, second, first);
    value[k + 1] = fma(pair.y, second, first);
  }
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
