/* Functions of floats, accurate to a few units in the last place, in any vector width.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Define MATH_WIDTH as 1, 2, 4, 8 or 16 and include this file; again for another width. It then has
 *   math_expN  math_exp_nonpositiveN  math_expm1N  math_logN  math_log1pN  math_tanhN  math_erfN  math_sigmoidN
 *   math_softplusN  math_roundN  math_sinN  math_cosN  math_tanN
 * on floatN (N = MATH_WIDTH), with IEEE's NaN, infinities, signed zeros and denormals.
 * They contain only additions, multiplications, fma, one division and selects, so that every lane of every width gives
 * the same bits, and a compiler turns them into plain vector code. Polynomials are near-minimax fits (Chebyshev
 * interpolation in extended precision); reductions follow Cody and Waite 1980. Worst errors, in ulp: exp 1.1,
 * expm1 1.6, log 0.9, log1p 1.2, tanh 1.3, erf 1.1, sigmoid 2.4, softplus 2, sin and cos 1.5, tan 3; round is exact. */
#ifndef MATH_WIDTH
#define MATH_WIDTH 1
#endif
#include "dtype.cl"

#define MATH(name) JOIN(math_##name, MATH_WIDTH)
#define MATH_F JOIN(float, MATH_WIDTH)
#define MATH_I JOIN(int, MATH_WIDTH)
#define MATH_AS_F JOIN(as_float, MATH_WIDTH)
#define MATH_AS_I JOIN(as_int, MATH_WIDTH)
#define MATH_TO_F(v) CONVERTV(i32, f32, MATH_WIDTH, v)

/* any() wants a vector; a scalar comparison is 0 or 1. */
#if MATH_WIDTH == 1
#define MATH_ANY(mask) (mask)
#else
#define MATH_ANY(mask) any(mask)
#endif
#define MATH_STORE(v, p) SAVEV(f32, MATH_WIDTH, p, 0, v)
#define MATH_LOAD(p) LOADV(f32, MATH_WIDTH, p, 0)

/* Adding 1.5 * 2^23 leaves the nearest integer, ties to even, in the low bits: cheaper than rint where that is a call.
 */
#ifndef MATH_MAGIC
#define MATH_MAGIC 12582912.0f
#endif

/* x to the nearest integer, ties to even. */
static MATH_F MATH(round)(MATH_F x) {
  MATH_F magnitude = fabs(x);
  MATH_F rounded = (magnitude + 8388608.0f) - 8388608.0f;
  return copysign(magnitude < 8388608.0f ? rounded : magnitude, x);
}

/* x = n ln 2 + r with |r| <= ln 2 / 2; returns e^r - 1. */
static MATH_F MATH(exp_reduce)(MATH_F x, MATH_I *n) {
  MATH_F shifted = fma(x, (MATH_F)(1.44269502f), (MATH_F)(MATH_MAGIC));
  *n = MATH_AS_I(shifted) - 0x4b400000;
  MATH_F whole = shifted - MATH_MAGIC;
  MATH_F r = fma(whole, (MATH_F)(-0.693145752f), x);
  r = fma(whole, (MATH_F)(-1.42860677e-6f), r);
  MATH_F p = (MATH_F)(0.00139262679f);
  p = fma(p, r, (MATH_F)(0.00836324692f));
  p = fma(p, r, (MATH_F)(0.0416665524f));
  p = fma(p, r, (MATH_F)(0.166665763f));
  p = fma(p, r, (MATH_F)(0.5f));
  return fma(r * r, p, r);
}

static MATH_F MATH(exp)(MATH_F x) {
  MATH_I n;
  x = x < -104.0f ? (MATH_F)(-104.0f) : x;
  x = x > 89.0f ? (MATH_F)(89.0f) : x;
  MATH_F p = MATH(exp_reduce)(x, &n) + 1.0f;
  /* 2^n in two factors: n reaches beyond the exponents of normal numbers on both sides */
  MATH_I lower = n >> 1;
  return p * MATH_AS_F((lower + 127) << 23) * MATH_AS_F((n - lower + 127) << 23);
}

/* e^x for x <= 0 or NaN, where x is a difference: in two thirds of the work. Results below 2^-126 become 0. Errors of
 * 1 ulp for x > -10 and 4.5 for all, a tenth of what the difference's own rounding makes of the result. */
static MATH_F MATH(exp_nonpositive)(MATH_F x) {
  const float magic = MATH_MAGIC + 127.0f; /* leaves the exponent of 2^n in the low bits */
  MATH_F shifted = fma(x, (MATH_F)(1.44269502f), (MATH_F)(magic));
  MATH_F r = fma(shifted - magic, (MATH_F)(-0.693147182f), x);
  MATH_F p = (MATH_F)(0.00138144637f);
  p = fma(p, r, (MATH_F)(0.00836878084f));
  p = fma(p, r, (MATH_F)(0.0416683927f));
  p = fma(p, r, (MATH_F)(0.166665196f));
  p = fma(p, r, (MATH_F)(0.49999994f));
  p = fma(p, r, (MATH_F)(1.0f));
  p = fma(p, r, (MATH_F)(1.0f));
  return x < -87.3f ? (MATH_F)(0.0f) : p * MATH_AS_F(MATH_AS_I(shifted) << 23);
}

static MATH_F MATH(expm1)(MATH_F x) {
  MATH_I n;
  MATH_F inside = x < -20.0f ? (MATH_F)(-20.0f) : x;
  inside = inside > 89.0f ? (MATH_F)(89.0f) : inside;
  MATH_F q = MATH(exp_reduce)(inside, &n);
  MATH_F scale = MATH_AS_F((n + 126) << 23); /* 2^(n-1): n may be 128 */
  MATH_F result = fma(scale, q, scale - 0.5f) * 2.0f;
  return fabs(x) < 1e-4f ? fma(x * 0.5f, x, x) : result;
}

/* x = 2^e m with 2/3 <= m < 4/3: log x = e ln 2 + log(1 + f), f = m - 1. */
static MATH_F MATH(log)(MATH_F x) {
  MATH_I denormal = x < 1.17549435e-38f;
  MATH_F scaled = denormal ? x * 8388608.0f : x;
  MATH_I bits = MATH_AS_I(scaled);
  MATH_I exponent = (bits - 0x3f2aaaab) & (int)0xff800000;
  MATH_F f = MATH_AS_F(bits - exponent) - 1.0f;
  MATH_F e = MATH_TO_F(exponent) * 1.1920929e-7f - (denormal ? (MATH_F)(23.0f) : (MATH_F)(0.0f));
  MATH_F p = (MATH_F)(0.113306172f);
  p = fma(p, f, (MATH_F)(-0.124222003f));
  p = fma(p, f, (MATH_F)(0.109156549f));
  p = fma(p, f, (MATH_F)(-0.122887217f));
  p = fma(p, f, (MATH_F)(0.142918676f));
  p = fma(p, f, (MATH_F)(-0.166733161f));
  p = fma(p, f, (MATH_F)(0.199999481f));
  p = fma(p, f, (MATH_F)(-0.249999449f));
  p = fma(p, f, (MATH_F)(0.333333343f));
  p = fma(p, f, (MATH_F)(-0.5f));
  MATH_F square = f * f;
  MATH_F low = fma(e, (MATH_F)(1.42860677e-6f), square * p);
  MATH_F result = fma(e, (MATH_F)(0.693145752f), low + f);
  result = x > 3.40282347e38f ? x : result;
  result = x == 0.0f ? (MATH_F)(-INFINITY) : result;
  return x >= 0.0f ? result : (MATH_F)(NAN);
}

static MATH_F MATH(log1p)(MATH_F x) {
  MATH_F u = x + 1.0f;
  MATH_F correction = (x - (u - 1.0f)) / u;
  correction = u > 0.0f && u <= 3.40282347e38f ? correction : (MATH_F)(0.0f);
  MATH_F result = MATH(log)(u) + correction;
  return fabs(x) < 1e-4f ? fma(x * -0.5f, x, x) : result;
}

static MATH_F MATH(tanh)(MATH_F x) {
  MATH_F magnitude = fabs(x);
  MATH_F s = x * x;
  MATH_F p = (MATH_F)(-0.00626911968f);
  p = fma(p, s, (MATH_F)(0.0211109594f));
  p = fma(p, s, (MATH_F)(-0.0538739488f));
  p = fma(p, s, (MATH_F)(0.133329153f));
  p = fma(p, s, (MATH_F)(-0.333333313f));
  MATH_F near = fma(p * s, x, x);
  MATH_F far = 1.0f - 2.0f / (MATH(exp)(magnitude + magnitude) + 1.0f);
  return magnitude < 0.6f ? near : copysign(far, x);
}

static MATH_F MATH(erf)(MATH_F x) {
  MATH_F magnitude = fabs(x);
  MATH_F s = x * x;
  MATH_F p = (MATH_F)(-0.00059549039f);
  p = fma(p, s, (MATH_F)(0.00498647708f));
  p = fma(p, s, (MATH_F)(-0.0267623495f));
  p = fma(p, s, (MATH_F)(0.112817094f));
  p = fma(p, s, (MATH_F)(-0.376124859f));
  p = fma(p, s, (MATH_F)(0.128379151f));
  MATH_F near = fma(p, x, x);
  /* 1 - e^-q with q = -log(erfc |x|); beyond 4 that rounds to 1 */
  MATH_F t = magnitude > 4.0f ? (MATH_F)(4.0f) : magnitude;
  MATH_F q = (MATH_F)(-1.6435697e-06f);
  q = fma(q, t, (MATH_F)(4.61779127e-05f));
  q = fma(q, t, (MATH_F)(-0.000597743492f));
  q = fma(q, t, (MATH_F)(0.00476357527f));
  q = fma(q, t, (MATH_F)(-0.0264310185f));
  q = fma(q, t, (MATH_F)(0.11009448f));
  q = fma(q, t, (MATH_F)(0.631814539f));
  q = fma(q, t, (MATH_F)(1.13023758f));
  q = fma(q, t, (MATH_F)(-0.000320441526f));
  MATH_F far = 1.0f - MATH(exp)(-q);
  return magnitude < 0.93f ? near : copysign(far, x);
}

/* 1 / (1 + e^-x), without cancellation on either side. */
static MATH_F MATH(sigmoid)(MATH_F x) {
  MATH_F e = MATH(exp)(-fabs(x));
  return (x < 0.0f ? e : (MATH_F)(1.0f)) / (1.0f + e);
}

/* log(1 + e^x) */
static MATH_F MATH(softplus)(MATH_F x) {
  MATH_F tail = MATH(log1p)(MATH(exp)(-fabs(x)));
  return x > 0.0f ? x + tail : tail;
}

/* x = n pi / 2 + r with |r| <= pi / 4, three-part pi after Cody and Waite; gives sin r and cos r. Right for |x| up to
 * MATH_TURNS. */
#ifndef MATH_TURNS
#define MATH_TURNS 8192.0f
#endif
static MATH_I MATH(turn_reduce)(MATH_F x, MATH_F *sine, MATH_F *cosine) {
  MATH_F shifted = fma(x, (MATH_F)(0.636619747f), (MATH_F)(MATH_MAGIC));
  MATH_F whole = shifted - MATH_MAGIC;
  MATH_F r = fma(whole, (MATH_F)(-1.57079637f), x);
  r = fma(whole, (MATH_F)(4.37113883e-8f), r);
  r = fma(whole, (MATH_F)(1.71512451e-15f), r);
  MATH_F s = r * r;
  MATH_F p = (MATH_F)(2.72499005e-06f);
  p = fma(p, s, (MATH_F)(-0.00019840087f));
  p = fma(p, s, (MATH_F)(0.00833333191f));
  p = fma(p, s, (MATH_F)(-0.166666672f));
  *sine = fma(p * s, r, r);
  MATH_F q = (MATH_F)(-2.73009391e-07f);
  q = fma(q, s, (MATH_F)(2.48005999e-05f));
  q = fma(q, s, (MATH_F)(-0.00138888881f));
  q = fma(q, s, (MATH_F)(0.0416666679f));
  *cosine = fma(q * s, s, fma(s, (MATH_F)(-0.5f), (MATH_F)(1.0f)));
  return MATH_AS_I(shifted);
}

/* Lanes too large for the reduction, infinities and NaN take the device's function, one at a time: some drivers' vector
 * versions are wrong in all lanes when one is large. */
#define MATH_LARGE_LANES(function)                                                   \
  float values[MATH_WIDTH], results[MATH_WIDTH];                                     \
  MATH_STORE(x, values);                                                             \
  MATH_STORE(result, results);                                                       \
  for (int lane = 0; lane < MATH_WIDTH; lane++)                                      \
    if (!(fabs(values[lane]) <= MATH_TURNS)) results[lane] = function(values[lane]); \
  return MATH_LOAD(results);

static MATH_F MATH(sin)(MATH_F x) {
  MATH_F sine, cosine;
  MATH_I n = MATH(turn_reduce)(x, &sine, &cosine);
  MATH_F result = (n & 1) != 0 ? cosine : sine;
  result = (n & 2) != 0 ? -result : result;
  if (!MATH_ANY(!(fabs(x) <= MATH_TURNS))) return result;
  MATH_LARGE_LANES(sin)
}

static MATH_F MATH(cos)(MATH_F x) {
  MATH_F sine, cosine;
  MATH_I n = MATH(turn_reduce)(x, &sine, &cosine);
  MATH_F result = (n & 1) != 0 ? sine : cosine;
  result = ((n + 1) & 2) != 0 ? -result : result;
  if (!MATH_ANY(!(fabs(x) <= MATH_TURNS))) return result;
  MATH_LARGE_LANES(cos)
}

static MATH_F MATH(tan)(MATH_F x) {
  MATH_F sine, cosine;
  MATH_I n = MATH(turn_reduce)(x, &sine, &cosine);
  MATH_F result = ((n & 1) != 0 ? -cosine : sine) / ((n & 1) != 0 ? sine : cosine);
  if (!MATH_ANY(!(fabs(x) <= MATH_TURNS))) return result;
  MATH_LARGE_LANES(tan)
}

#undef MATH_LARGE_LANES
#undef MATH_ANY
#undef MATH_STORE
#undef MATH_LOAD
#undef MATH
#undef MATH_F
#undef MATH_I
#undef MATH_AS_F
#undef MATH_AS_I
#undef MATH_TO_F
