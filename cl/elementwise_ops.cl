/* The operations of elementwise.cl: OP_name(a, b, c) on vectors of N values of dtype A.
 * SPDX-License-Identifier: Apache-2.0
 *
 * a, b and c are variables of type V = VALUEV(A, N); p0 and p1 scalars of type VALUE(A). A comparison gives an int
 * vector of 0 and 1. Where kinds of numbers differ, NAME_KIND picks an entry NAME_f, NAME_d, NAME_i,
 * NAME_l, NAME_u or NAME_m. Integers wrap modulo 2^bits: their arithmetic is unsigned, because overflow of signed
 * integers is undefined in C. Dividing an integer by 0 gives 0. */

#define UINT(x) JOIN(as_uint, N)(x)
#define ULONG(x) JOIN(as_ulong, N)(x)
#define INT(x) JOIN(as_int, N)(x)
#define LONG(x) JOIN(as_long, N)(x)

/* The mask of a comparison of values of dtype A, as 0 or 1. */
#define BOOL(mask) NAME_KIND(BOOL, A)(mask)
#define BOOL_f(mask) ((mask)&1)
#define BOOL_i(mask) ((mask)&1)
#define BOOL_d(mask) (CONVERTV(i64, i32, N, mask) & 1)
#define BOOL_l(mask) (CONVERTV(i64, i32, N, mask) & 1)
#define BOOL_u(mask) ((mask)&1)
#define BOOL_m(mask) (CONVERTV(i64, i32, N, mask) & 1)

/* ---- arithmetic ---- */

#define ADD_f(a, b) ((a) + (b))
#define ADD_d(a, b) ((a) + (b))
#define ADD_i(a, b) INT(UINT(a) + UINT(b))
#define ADD_l(a, b) LONG(ULONG(a) + ULONG(b))
#define ADD_u(a, b) ((a) + (b))
#define ADD_m(a, b) ((a) + (b))
#define OP_add(a, b, c) NAME_KIND(ADD, A)(a, b)
#define SUB_f(a, b) ((a) - (b))
#define SUB_d(a, b) ((a) - (b))
#define SUB_i(a, b) INT(UINT(a) - UINT(b))
#define SUB_l(a, b) LONG(ULONG(a) - ULONG(b))
#define SUB_u(a, b) ((a) - (b))
#define SUB_m(a, b) ((a) - (b))
#define OP_sub(a, b, c) NAME_KIND(SUB, A)(a, b)
#define MUL_f(a, b) ((a) * (b))
#define MUL_d(a, b) ((a) * (b))
#define MUL_i(a, b) INT(UINT(a) * UINT(b))
#define MUL_l(a, b) LONG(ULONG(a) * ULONG(b))
#define MUL_u(a, b) ((a) * (b))
#define MUL_m(a, b) ((a) * (b))
#define MUL(a, b) NAME_KIND(MUL, A)(a, b)
#define OP_mul(a, b, c) MUL(a, b)
#define OP_square(a, b, c) MUL(a, a)
#define FMA_f(a, b, c) fma(a, b, c)
#define FMA_d(a, b, c) fma(a, b, c)
#define FMA_i(a, b, c) ADD_i(MUL_i(a, b), c)
#define FMA_l(a, b, c) ADD_l(MUL_l(a, b), c)
#define FMA_u(a, b, c) ((a) * (b) + (c))
#define FMA_m(a, b, c) ((a) * (b) + (c))
#define OP_fma(a, b, c) NAME_KIND(FMA, A)(a, b, c)
#define OP_affine(a, b, c) NAME_KIND(FMA, A)((V)(p0), a, (V)(p1))
#define NEG_f(a) (-(a))
#define NEG_d(a) (-(a))
#define NEG_i(a) INT((JOIN(uint, N))(0u) - UINT(a))
#define NEG_l(a) LONG((JOIN(ulong, N))(0ul) - ULONG(a))
#define NEG_u(a) ((V)(0) - (a))
#define NEG_m(a) ((V)(0) - (a))
#define NEG(a) NAME_KIND(NEG, A)(a)
#define OP_neg(a, b, c) NEG(a)
#define ABS_f(a) fabs(a)
#define ABS_d(a) fabs(a)
#define ABS_i(a) ((a) < 0 ? NEG_i(a) : (a))
#define ABS_l(a) ((a) < 0 ? NEG_l(a) : (a))
#define ABS_u(a) (a)
#define ABS_m(a) (a)
#define OP_abs(a, b, c) NAME_KIND(ABS, A)(a)

/* -1, 0 or 1; NaN stays. */
#define OP_sign(a, b, c) ((a) > 0 ? (V)(1) : ((a) < 0 ? (V)(-1) : (a)))
#define OP_reciprocal(a, b, c) ((V)(1.0f) / (a))
#define OP_sqrt(a, b, c) sqrt(a)
#define OP_rsqrt(a, b, c) ((V)(1.0f) / sqrt(a))
#define OP_cast(a, b, c) (a)

/* A divisor of 0 or -1 traps or overflows on some devices: put 1 in its place and choose the result afterwards. */
#define SAFE_DIVISOR(b) ((b) == 0 || (b) == -1 ? (V)(1) : (b))
#define DIV_f(a, b) ((a) / (b))
#define DIV_d(a, b) ((a) / (b))
#define DIV_i(a, b) ((b) == 0 ? (V)(0) : ((b) == -1 ? NEG(a) : (a) / SAFE_DIVISOR(b)))
#define DIV_l(a, b) DIV_i(a, b)
#define DIV_u(a, b) ((b) == 0 ? (V)(0) : (a) / ((b) == 0 ? (V)(1) : (b)))
#define DIV_m(a, b) DIV_u(a, b)
#define OP_div(a, b, c) NAME_KIND(DIV, A)(a, b)
/* The remainder of truncated division, with the sign of a (C's fmod), and of floored division, with the sign of b
 * (Python's %). */
#define FMOD_f(a, b) fmod(a, b)
#define FMOD_d(a, b) fmod(a, b)
#define FMOD_i(a, b) ((b) == 0 || (b) == -1 ? (V)(0) : (a) % SAFE_DIVISOR(b))
#define FMOD_l(a, b) FMOD_i(a, b)
#define FMOD_u(a, b) ((b) == 0 ? (V)(0) : (a) % ((b) == 0 ? (V)(1) : (b)))
#define FMOD_m(a, b) FMOD_u(a, b)
#define OP_fmod(a, b, c) NAME_KIND(FMOD, A)(a, b)
static V floored_remainder(V a, V b) {
  V r = NAME_KIND(FMOD, A)(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
#define OP_mod(a, b, c) floored_remainder(a, b)

/* NaN in either operand gives NaN, as ONNX and numpy want; fmin and fmax would drop it. */
#define OP_max(a, b, c) ((a) > (b) || (a) != (a) ? (a) : (b))
#define OP_min(a, b, c) ((a) < (b) || (a) != (a) ? (a) : (b))
#define CLAMP(a, low, high) ((a) < (low) ? (low) : ((a) > (high) ? (high) : (a)))
#define OP_clamp(a, b, c) CLAMP(a, b, c)
#define OP_clip(a, b, c) CLAMP(a, (V)(p0), (V)(p1))

/* ---- powers ---- */

#define IS_FLOAT_f 1
#define IS_FLOAT_d 2
#define IS_FLOAT_i 0
#define IS_FLOAT_l 0
#define IS_FLOAT_u 0
#define IS_FLOAT_m 0
#if PASTE(IS_, OP) == IS_OP_pow
#if NAME_KIND(IS_FLOAT, A)
/* any() wants a vector; a scalar comparison is 0 or 1. */
#if N == 1
#define ANY(mask) (mask)
#else
#define ANY(mask) any(mask)
#endif
/* The square is exact; pow need not be, and takes many times as long. */
static V power(V a, V b) {
  V square = a * a;
  if (!ANY(b != 2)) return square;
  return b == 2 ? square : pow(a, b);
}
#else
/* By squaring, modulo 2^bits. A negative exponent truncates 1 / a^|b| to 0, or to +-1 for a = +-1. */
static V power(V a, V b) {
  V result = (V)(1), factor = a, rest = b < 0 ? (V)(0) : b;
  for (int bit = 0; bit < 64; bit++) {
    result = (rest & 1) != 0 ? MUL(result, factor) : result;
    factor = MUL(factor, factor);
    rest >>= 1;
  }
  V sign = (b & 1) != 0 ? a : (V)(1);
  V inverse = a == 1 || a == -1 ? sign : (V)(0);
  return b < 0 ? inverse : result;
}
#endif
#endif
#define OP_pow(a, b, c) power(a, b)

/* ---- rounding ---- */

#define OP_ceil(a, b, c) ceil(a)
#define OP_floor(a, b, c) floor(a)
#define OP_trunc(a, b, c) trunc(a)
#define ROUND_f(a) JOIN(math_round, N)(a)
#define ROUND_d(a) rint(a)
#define OP_round(a, b, c) NAME_KIND(ROUND, A)(a)

/* ---- exponentials and what is made of them ---- */

#define EXP_f(x) JOIN(math_exp, N)(x)
#define EXP_d(x) exp(x)
#define EXP(x) NAME_KIND(EXP, A)(x)
#define EXPM1_f(x) JOIN(math_expm1, N)(x)
#define EXPM1_d(x) expm1(x)
#define EXPM1(x) NAME_KIND(EXPM1, A)(x)
#define LOG_f(x) JOIN(math_log, N)(x)
#define LOG_d(x) log(x)
#define LOG1P_f(x) JOIN(math_log1p, N)(x)
#define LOG1P_d(x) log1p(x)
#define TANH_f(x) JOIN(math_tanh, N)(x)
#define TANH_d(x) tanh(x)
#define TANH(x) NAME_KIND(TANH, A)(x)
#define ERF_f(x) JOIN(math_erf, N)(x)
#define ERF_d(x) erf(x)
#define ERF(x) NAME_KIND(ERF, A)(x)
#define SIGMOID_f(x) JOIN(math_sigmoid, N)(x)
#define SIGMOID_d(x) sigmoid_of_double(x)
#define SIGMOID(x) NAME_KIND(SIGMOID, A)(x)
#define SOFTPLUS_f(x) JOIN(math_softplus, N)(x)
#define SOFTPLUS_d(x) (((x) > 0 ? (x) : (V)(0)) + log1p(exp(-fabs(x))))
#define SOFTPLUS(x) NAME_KIND(SOFTPLUS, A)(x)
#define HALF_ROOT_f 0.707106781f
#define HALF_ROOT_d 0.70710678118654752440
#define ROOT_2_OVER_PI_f 0.797884561f
#define ROOT_2_OVER_PI_d 0.79788456080286535588
#define GELU_CUBIC_f 0.044715f
#define GELU_CUBIC_d 0.044715
#define CONSTANT(name) ((V)(NAME_KIND(name, A)))
#if NAME_KIND(IS_FLOAT, A) == 2
static V sigmoid_of_double(V x) {
  V e = exp(-fabs(x));
  return (x < 0 ? e : (V)(1)) / (1 + e);
}
#endif

#define OP_exp(a, b, c) EXP(a)
#define OP_expm1(a, b, c) EXPM1(a)
#define OP_log(a, b, c) NAME_KIND(LOG, A)(a)
#define OP_log1p(a, b, c) NAME_KIND(LOG1P, A)(a)
#define OP_tanh(a, b, c) TANH(a)
#define OP_erf(a, b, c) ERF(a)
#define OP_sigmoid(a, b, c) SIGMOID(a)
#define OP_softplus(a, b, c) SOFTPLUS(a)
#define OP_swish(a, b, c) ((a)*SIGMOID((V)(p0) * (a)))
#define OP_mish(a, b, c) ((a)*TANH(SOFTPLUS(a)))
#define OP_gelu(a, b, c) ((V)(0.5f) * (a) * ((V)(1.0f) + ERF((a)*CONSTANT(HALF_ROOT))))
#define OP_gelu_tanh(a, b, c) \
  ((V)(0.5f) * (a) * ((V)(1.0f) + TANH(CONSTANT(ROOT_2_OVER_PI) * fma(CONSTANT(GELU_CUBIC) * (a) * (a), a, a))))
#define OP_elu(a, b, c) ((a) < 0 ? (V)(p0)*EXPM1(a) : (a))
#define OP_selu(a, b, c) ((V)(p1) * ((a) < 0 ? (V)(p0)*EXPM1(a) : (a)))
#define OP_celu(a, b, c) ((a) < 0 ? (V)(p0)*EXPM1((a) / (V)(p0)) : (a))
#define OP_softsign(a, b, c) ((a) / ((V)(1.0f) + fabs(a)))

/* ---- piecewise linear ---- */

#define OP_relu(a, b, c) ((a) < 0 ? (V)(0) : (a))
#define OP_leaky_relu(a, b, c) ((a) < 0 ? (V)(p0) * (a) : (a))
#define OP_prelu(a, b, c) ((a) < 0 ? MUL(a, b) : (a))
#define OP_thresholded_relu(a, b, c) ((a) > (V)(p0) || (a) != (a) ? (a) : (V)(0))
#define OP_hard_sigmoid(a, b, c) CLAMP(fma((V)(p0), a, (V)(p1)), (V)(0), (V)(1))
#define SIXTH_f 0.166666667f
#define SIXTH_d 0.16666666666666666667
#define OP_hard_swish(a, b, c) ((a)*CLAMP(fma(CONSTANT(SIXTH), a, (V)(0.5f)), (V)(0), (V)(1)))

#define OP_shrink(a, b, c) ((a) < (V)(-p0) ? (a) + (V)(p1) : ((a) > (V)(p0) ? (a) - (V)(p1) : (V)(0)))

/* ---- trigonometry; what math.cl lacks comes from the device's library ---- */

/* Lane by lane: see MATH_LARGE_LANES in math.cl. */
#if NAME_KIND(IS_FLOAT, A) == 2
#define EACH(function)                                                          \
  static V each_##function(V x) {                                               \
    double values[N];                                                           \
    SAVEV(f64, N, values, 0, x);                                                \
    for (int lane = 0; lane < N; lane++) values[lane] = function(values[lane]); \
    return LOADV(f64, N, values, 0);                                            \
  }
EACH(sin)
EACH(cos)
EACH(tan)
#endif

#define SIN_f(x) JOIN(math_sin, N)(x)
#define SIN_d(x) each_sin(x)
#define OP_sin(a, b, c) NAME_KIND(SIN, A)(a)
#define COS_f(x) JOIN(math_cos, N)(x)
#define COS_d(x) each_cos(x)
#define OP_cos(a, b, c) NAME_KIND(COS, A)(a)
#define TAN_f(x) JOIN(math_tan, N)(x)
#define TAN_d(x) each_tan(x)
#define OP_tan(a, b, c) NAME_KIND(TAN, A)(a)
#define OP_asin(a, b, c) asin(a)
#define OP_acos(a, b, c) acos(a)
#define OP_atan(a, b, c) atan(a)
#define OP_atan2(a, b, c) atan2(a, b)
#define OP_sinh(a, b, c) sinh(a)
#define OP_cosh(a, b, c) cosh(a)
#define OP_asinh(a, b, c) asinh(a)
#define OP_acosh(a, b, c) acosh(a)
#define OP_atanh(a, b, c) atanh(a)

/* ---- bits and truth ---- */

#define OP_not(a, b, c) ((a) == 0 & 1)
#define OP_and(a, b, c) ((a) & (b))
#define OP_or(a, b, c) ((a) | (b))
#define OP_xor(a, b, c) ((a) ^ (b))
#define OP_bitwise_not(a, b, c) (~(a))
#define OP_bitwise_and(a, b, c) ((a) & (b))
#define OP_bitwise_or(a, b, c) ((a) | (b))
#define OP_bitwise_xor(a, b, c) ((a) ^ (b))
/* Shifts by less than 0 or by the number of bits or more push every bit out; to the right the sign of a signed integer
 * fills in. */
#define SHIFT_BITS ((int)sizeof(STORE(A)) * 8)
#define SHIFT_INSIDE(b) ((b) >= 0 && (b) < SHIFT_BITS)
#define OP_shift_left(a, b, c) (SHIFT_INSIDE(b) ? (a) << (SHIFT_INSIDE(b) ? (b) : (V)(0)) : (V)(0))
#define OP_shift_right(a, b, c) \
  (SHIFT_INSIDE(b) ? (a) >> (SHIFT_INSIDE(b) ? (b) : (V)(0)) : (a) < (V)(0) ? (V)(-1) : (V)(0))
#define OP_isnan(a, b, c) BOOL((a) != (a))
#define OP_isinf(a, b, c) BOOL(((a) == (V)(INFINITY) && (V)(p1) != 0) || ((a) == (V)(-INFINITY) && (V)(p0) != 0))
#define OP_equal(a, b, c) BOOL((a) == (b))
#define OP_not_equal(a, b, c) BOOL((a) != (b))
#define OP_less(a, b, c) BOOL((a) < (b))
#define OP_less_equal(a, b, c) BOOL((a) <= (b))
#define OP_greater(a, b, c) BOOL((a) > (b))
#define OP_greater_equal(a, b, c) BOOL((a) >= (b))
/* a is the condition, an int vector of 0 and 1; A is the dtype of b and c. */
#define CONDITION_f(a) ((a) != 0)
#define CONDITION_i(a) ((a) != 0)
#define CONDITION_d(a) (CONVERTV(i32, i64, N, a) != 0)
#define CONDITION_l(a) (CONVERTV(i32, i64, N, a) != 0)
#define CONDITION_u(a) ((a) != 0)
#define CONDITION_m(a) (CONVERTV(i32, i64, N, a) != 0)
#define OP_where(a, b, c) (NAME_KIND(CONDITION, A)(a) ? (b) : (c))
