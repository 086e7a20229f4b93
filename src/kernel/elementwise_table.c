/* The elementwise operations with their references in double and in 64-bit integers.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "kernel/elementwise.h"

/* A reference sees its operands as doubles or as integers, and the parameters p[0] and p[1]; integer results are
 * wrapped afterwards. NATURAL is for u64 where that differs from i64 in more than the wrapping. */
#define REAL(name, expression)                                               \
  static double real_##name(double a, double b, double c, const double *p) { \
    (void)a, (void)b, (void)c, (void)p;                                      \
    return expression;                                                       \
  }
#define INTEGER(name, expression)                                                             \
  static int64_t integer_##name(int64_t a, int64_t b, int64_t c, const double *p, int bits) { \
    (void)a, (void)b, (void)c, (void)p, (void)bits;                                           \
    return expression;                                                                        \
  }
#define NATURAL(name, expression)                                                       \
  static uint64_t natural_##name(uint64_t a, uint64_t b, uint64_t c, const double *p) { \
    (void)a, (void)b, (void)c, (void)p;                                                 \
    return expression;                                                                  \
  }
#define U(x) ((uint64_t)(x))
#define WRAP(x) ((int64_t)(x))

static double clamp_real(double a, double low, double high) { return a < low ? low : a > high ? high : a; }
static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double floored(double a, double b) {
  double r = fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static int64_t quotient(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? WRAP(-U(a)) : a / b; }
static int64_t rest(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
static int64_t floored_rest(int64_t a, int64_t b) {
  int64_t r = rest(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
static int64_t power(int64_t a, int64_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
  uint64_t result = 1, factor = U(a);
  for (; b > 0; b >>= 1, factor *= factor) result *= b & 1 ? factor : 1;
  return WRAP(result);
}
/* A double parameter as a device holds it for integers. */
static int64_t whole(double value) {
  return value >= 0x1p63 ? INT64_MAX : value <= -0x1p63 ? INT64_MIN : (int64_t)value;
}

REAL(abs, fabs(a))
INTEGER(abs, a < 0 ? WRAP(-U(a)) : a)
REAL(neg, -a)
INTEGER(neg, WRAP(-U(a)))
REAL(sign, a > 0 ? 1 : a < 0 ? -1 : a)
INTEGER(sign, (a > 0) - (a < 0))
REAL(square, (a) * (a))
INTEGER(square, WRAP(U(a) * U(a)))
REAL(affine, fma(p[0], a, p[1]))
INTEGER(affine, WRAP(U(whole(p[0])) * U(a) + U(whole(p[1]))))
REAL(clip, clamp_real(a, p[0], p[1]))
INTEGER(clip, pare__i64_clamp(a, whole(p[0]), whole(p[1])))
REAL(relu, a < 0 ? 0 : a)
INTEGER(relu, a < 0 ? 0 : a)
REAL(ceil, ceil(a))
REAL(floor, floor(a))
REAL(trunc, trunc(a))
REAL(round, nearbyint(a))
REAL(sqrt, sqrt(a))
REAL(rsqrt, 1 / sqrt(a))
REAL(reciprocal, 1 / a)
REAL(exp, exp(a))
REAL(expm1, expm1(a))
REAL(log, log(a))
REAL(log1p, log1p(a))
REAL(tanh, tanh(a))
REAL(erf, erf(a))
REAL(sigmoid, sigmoid(a))
REAL(softplus, softplus(a))
REAL(softsign, a / (1 + fabs(a)))
REAL(swish, (a)*sigmoid(p[0] * a))
REAL(mish, (a)*tanh(softplus(a)))
REAL(gelu, 0.5 * a * (1 + erf(a * M_SQRT1_2)))
REAL(gelu_tanh, 0.5 * a * (1 + tanh(M_2_SQRTPI * M_SQRT1_2 * (a + 0.044715 * a * a * a))))
REAL(elu, a < 0 ? p[0] * expm1(a) : a)
REAL(selu, p[1] * (a < 0 ? p[0] * expm1(a) : a))
REAL(celu, a < 0 ? p[0] * expm1(a / p[0]) : a)
REAL(leaky_relu, a < 0 ? p[0] * a : a)
REAL(thresholded_relu, a > p[0] || isnan(a) ? a : 0)
REAL(hard_sigmoid, clamp_real(p[0] * a + p[1], 0, 1))
REAL(hard_swish, (a)*clamp_real(a / 6 + 0.5, 0, 1))
REAL(shrink, a<-p[0] ? a + p[1] : a> p[0] ? a - p[1] : 0)
REAL(sin, sin(a))
REAL(cos, cos(a))
REAL(tan, tan(a))
REAL(asin, asin(a))
REAL(acos, acos(a))
REAL(atan, atan(a))
REAL(sinh, sinh(a))
REAL(cosh, cosh(a))
REAL(asinh, asinh(a))
REAL(acosh, acosh(a))
REAL(atanh, atanh(a))
REAL(isnan, isnan(a) != 0)
REAL(isinf, isinf(a) && (a > 0 ? p[1] : p[0]) != 0)
INTEGER(not, a == 0)
INTEGER(bitwise_not, ~a)

REAL(add, a + b)
INTEGER(add, WRAP(U(a) + U(b)))
REAL(sub, a - b)
INTEGER(sub, WRAP(U(a) - U(b)))
REAL(mul, (a) * (b))
INTEGER(mul, WRAP(U(a) * U(b)))
REAL(div, a / b)
INTEGER(div, quotient(a, b))
REAL(mod, floored(a, b))
INTEGER(mod, floored_rest(a, b))
REAL(fmod, fmod(a, b))
INTEGER(fmod, rest(a, b))
REAL(pow, pow(a, b))
INTEGER(pow, power(a, b))
REAL(min, a < b || isnan(a) ? a : b)
INTEGER(min, a < b ? a : b)
REAL(max, a > b || isnan(a) ? a : b)
INTEGER(max, a > b ? a : b)
REAL(prelu, a < 0 ? a * b : a)
INTEGER(prelu, a < 0 ? WRAP(U(a) * U(b)) : a)
REAL(atan2, atan2(a, b))
INTEGER(and, (a) & (b))
INTEGER(or, a | b)
INTEGER(xor, a ^ b)
INTEGER(shift_left, b < 0 || b >= bits ? 0 : WRAP(U(a) << b))
INTEGER(shift_right, b < 0 || b >= bits ? (a < 0 ? -1 : 0) : a >> b)
REAL(equal, a == b)
INTEGER(equal, a == b)
REAL(not_equal, a != b)
INTEGER(not_equal, a != b)
REAL(less, a < b)
INTEGER(less, a < b)
REAL(less_equal, a <= b)
INTEGER(less_equal, a <= b)
REAL(greater, a > b)
INTEGER(greater, a > b)
REAL(greater_equal, a >= b)
INTEGER(greater_equal, a >= b)
REAL(where, a != 0 ? b : c)
INTEGER(where, a != 0 ? b : c)
REAL(fma, fma(a, b, c))
INTEGER(fma, WRAP(U(a) * U(b) + U(c)))
REAL(clamp, clamp_real(a, b, c))
INTEGER(clamp, pare__i64_clamp(a, b, c))

static uint64_t natural_whole(double value) { return value >= 0x1p64 ? UINT64_MAX : value <= 0 ? 0 : (uint64_t)value; }
static uint64_t clamp_natural(uint64_t a, uint64_t low, uint64_t high) { return a < low ? low : a > high ? high : a; }
static uint64_t natural_power(uint64_t a, uint64_t b) {
  uint64_t result = 1;
  for (uint64_t factor = a; b > 0; b >>= 1, factor *= factor) result *= b & 1 ? factor : 1;
  return result;
}

NATURAL(abs, a)
NATURAL(sign, a > 0)
NATURAL(clip, clamp_natural(a, natural_whole(p[0]), natural_whole(p[1])))
NATURAL(relu, a)
NATURAL(div, b == 0 ? 0 : a / b)
NATURAL(mod, b == 0 ? 0 : a % b)
NATURAL(pow, natural_power(a, b))
NATURAL(min, a < b ? a : b)
NATURAL(max, a > b ? a : b)
NATURAL(prelu, a)
NATURAL(shift_right, b >= 64 ? 0 : a >> b)
NATURAL(less, a < b)
NATURAL(less_equal, a <= b)
NATURAL(greater, a > b)
NATURAL(greater_equal, a >= b)
NATURAL(clamp, clamp_natural(a, b, c))

/* Default parameters from the public list. */
#define DEFAULTS(name, first, second) static const double default_##name[2] = {first, second};
PARE_UNARY_LIST(DEFAULTS)
#undef DEFAULTS

enum {
  BOOLS = 1u << PARE_BOOL,
  INTEGERS = 1u << PARE_I8 | 1u << PARE_U8 | 1u << PARE_I16 | 1u << PARE_I32 | 1u << PARE_I64 | 1u << PARE_U16 |
             1u << PARE_U32 | 1u << PARE_U64,
  FLOATS = 1u << PARE_F32 | 1u << PARE_F16 | 1u << PARE_BF16 | 1u << PARE_F64,
  NUMBERS = FLOATS | INTEGERS,
  ANY = NUMBERS | BOOLS,
  STORED = (1 << PARE_NDTYPES) - 1
};
enum { OF_INPUT = 1, HEAVY = 2 };

#define ROW(name, arity, dtypes, result, ulps, flags, real, integer)                                  \
  {                                                                                                   \
#name, "-DOP=OP_" #name " -DARITY=" #arity, arity, dtypes, result, ulps, ((flags)&OF_INPUT) != 0, \
        ((flags)&HEAVY) != 0, real, integer                                                           \
  }
#define UNARY(name, dtypes, result, ulps, flags, real, integer) \
  [PARE__UNARY + PARE_UNARY_##name] = ROW(name, 1, dtypes, result, ulps, flags, real, integer)
#define UNARY_FLOAT(name, ulps, flags) UNARY(name, FLOATS, PARE__SAME, ulps, flags, real_##name, NULL)
#define UNARY_NUMBER(name, ulps) UNARY(name, NUMBERS, PARE__SAME, ulps, 0, real_##name, integer_##name)
#define BINARY(name, dtypes, result, ulps, flags, real, integer) \
  [PARE__BINARY + PARE_BINARY_##name] = ROW(name, 2, dtypes, result, ulps, flags, real, integer)
#define BINARY_NUMBER(name, ulps, flags) BINARY(name, NUMBERS, PARE__SAME, ulps, flags, real_##name, integer_##name)
#define COMPARISON(name, dtypes) BINARY(name, dtypes, PARE__TO_BOOL, 0, 0, real_##name, integer_##name)
#define TERNARY(name, dtypes, ulps) \
  [PARE__TERNARY + PARE_TERNARY_##name] = ROW(name, 3, dtypes, PARE__SAME, ulps, 0, real_##name, integer_##name)

static const pare__elementwise table[PARE__NELEMENTWISE] = {
    UNARY_NUMBER(abs, 0),
    UNARY_NUMBER(neg, 0),
    UNARY_NUMBER(sign, 0),
    UNARY_NUMBER(square, 0),
    UNARY_NUMBER(affine, 1),
    UNARY_NUMBER(clip, 0),
    UNARY_NUMBER(relu, 0),
    UNARY_FLOAT(ceil, 0, 0),
    UNARY_FLOAT(floor, 0, 0),
    UNARY_FLOAT(trunc, 0, 0),
    UNARY_FLOAT(round, 0, 0),
    UNARY_FLOAT(sqrt, 3, 0),
    UNARY_FLOAT(rsqrt, 3, 0),
    UNARY_FLOAT(reciprocal, 3, 0),
    UNARY_FLOAT(exp, 3, HEAVY),
    UNARY_FLOAT(expm1, 3, HEAVY),
    UNARY_FLOAT(log, 3, HEAVY),
    UNARY_FLOAT(log1p, 3, HEAVY),
    UNARY_FLOAT(tanh, 3, HEAVY),
    UNARY_FLOAT(erf, 3, HEAVY),
    UNARY_FLOAT(sigmoid, 3, HEAVY),
    UNARY_FLOAT(softplus, 3, HEAVY),
    UNARY_FLOAT(softsign, 8, 0),
    UNARY_FLOAT(swish, 8, HEAVY),
    UNARY_FLOAT(mish, 8, HEAVY),
    UNARY_FLOAT(gelu, 8, OF_INPUT | HEAVY),
    UNARY_FLOAT(gelu_tanh, 8, OF_INPUT | HEAVY),
    UNARY_FLOAT(elu, 8, HEAVY),
    UNARY_FLOAT(selu, 8, HEAVY),
    UNARY_FLOAT(celu, 8, HEAVY),
    UNARY_FLOAT(leaky_relu, 1, 0),
    UNARY_FLOAT(thresholded_relu, 0, 0),
    UNARY_FLOAT(hard_sigmoid, 1, 0),
    UNARY_FLOAT(hard_swish, 3, OF_INPUT),
    UNARY_FLOAT(shrink, 0, 0),
    UNARY_FLOAT(sin, 8, HEAVY),
    UNARY_FLOAT(cos, 8, HEAVY),
    UNARY_FLOAT(tan, 8, HEAVY),
    UNARY_FLOAT(asin, 8, HEAVY),
    UNARY_FLOAT(acos, 8, HEAVY),
    UNARY_FLOAT(atan, 8, HEAVY),
    UNARY_FLOAT(sinh, 8, HEAVY),
    UNARY_FLOAT(cosh, 8, HEAVY),
    UNARY_FLOAT(asinh, 8, HEAVY),
    UNARY_FLOAT(acosh, 8, HEAVY),
    UNARY_FLOAT(atanh, 8, HEAVY),
    UNARY(isnan, FLOATS, PARE__TO_BOOL, 0, 0, real_isnan, NULL),
    UNARY(isinf, FLOATS, PARE__TO_BOOL, 0, 0, real_isinf, NULL),
    UNARY(not, BOOLS, PARE__SAME, 0, 0, NULL, integer_not),
    UNARY(bitwise_not, INTEGERS, PARE__SAME, 0, 0, NULL, integer_bitwise_not),
    BINARY_NUMBER(add, 0, 0),
    BINARY_NUMBER(sub, 0, 0),
    BINARY_NUMBER(mul, 0, 0),
    BINARY_NUMBER(div, 3, 0),
    BINARY_NUMBER(mod, 1, HEAVY),
    BINARY_NUMBER(fmod, 0, HEAVY),
    BINARY_NUMBER(pow, 16, HEAVY),
    BINARY_NUMBER(min, 0, 0),
    BINARY_NUMBER(max, 0, 0),
    BINARY_NUMBER(prelu, 0, 0),
    BINARY(atan2, FLOATS, PARE__SAME, 8, HEAVY, real_atan2, NULL),
    BINARY(and, BOOLS, PARE__SAME, 0, 0, NULL, integer_and),
    BINARY(or, BOOLS, PARE__SAME, 0, 0, NULL, integer_or),
    BINARY(xor, BOOLS, PARE__SAME, 0, 0, NULL, integer_xor),
    BINARY(bitwise_and, INTEGERS, PARE__SAME, 0, 0, NULL, integer_and),
    BINARY(bitwise_or, INTEGERS, PARE__SAME, 0, 0, NULL, integer_or),
    BINARY(bitwise_xor, INTEGERS, PARE__SAME, 0, 0, NULL, integer_xor),
    BINARY(shift_left, INTEGERS, PARE__SAME, 0, 0, NULL, integer_shift_left),
    BINARY(shift_right, INTEGERS, PARE__SAME, 0, 0, NULL, integer_shift_right),
    COMPARISON(equal, ANY),
    COMPARISON(not_equal, ANY),
    COMPARISON(less, NUMBERS),
    COMPARISON(less_equal, NUMBERS),
    COMPARISON(greater, NUMBERS),
    COMPARISON(greater_equal, NUMBERS),
    TERNARY(where, ANY, 0),
    TERNARY(fma, NUMBERS, 1),
    TERNARY(clamp, NUMBERS, 0),
    [PARE__CAST] = ROW(cast, 1, STORED, PARE__OTHER, 0, 0, NULL, NULL),
};

pare__elementwise_natural pare__elementwise_natural_get(int mode) {
  static const pare__elementwise_natural naturals[PARE__NELEMENTWISE] = {
      [PARE__UNARY + PARE_UNARY_abs] = natural_abs,
      [PARE__UNARY + PARE_UNARY_sign] = natural_sign,
      [PARE__UNARY + PARE_UNARY_clip] = natural_clip,
      [PARE__UNARY + PARE_UNARY_relu] = natural_relu,
      [PARE__BINARY + PARE_BINARY_div] = natural_div,
      [PARE__BINARY + PARE_BINARY_mod] = natural_mod,
      [PARE__BINARY + PARE_BINARY_fmod] = natural_mod,
      [PARE__BINARY + PARE_BINARY_pow] = natural_pow,
      [PARE__BINARY + PARE_BINARY_min] = natural_min,
      [PARE__BINARY + PARE_BINARY_max] = natural_max,
      [PARE__BINARY + PARE_BINARY_prelu] = natural_prelu,
      [PARE__BINARY + PARE_BINARY_shift_right] = natural_shift_right,
      [PARE__BINARY + PARE_BINARY_less] = natural_less,
      [PARE__BINARY + PARE_BINARY_less_equal] = natural_less_equal,
      [PARE__BINARY + PARE_BINARY_greater] = natural_greater,
      [PARE__BINARY + PARE_BINARY_greater_equal] = natural_greater_equal,
      [PARE__TERNARY + PARE_TERNARY_clamp] = natural_clamp,
  };
  return naturals[mode];
}

const pare__elementwise *pare__elementwise_get(int mode) {
  return mode >= 0 && mode < PARE__NELEMENTWISE ? &table[mode] : NULL;
}

const double *pare__elementwise_defaults(int mode) {
  static const double *const defaults[PARE_NUNARY] = {
#define DEFAULTS(name, first, second) default_##name,
      PARE_UNARY_LIST(DEFAULTS)
#undef DEFAULTS
  };
  return defaults[mode - PARE__UNARY];
}
