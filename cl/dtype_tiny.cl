/* Floats of a byte or less to float and back; dtype.cl includes it. SPDX-License-Identifier: Apache-2.0
 *
 * A code is a sign, an exponent with its bias, and MANTISSA bits; f8e8m0 is an exponent alone. Formats: OCP 8-bit
 * floating point (OFP8) 1.0, OCP microscaling (MX) 1.0, and for fnuz (no infinity, no negative zero, whose code is the
 * only NaN) Noune and others 2022, arXiv 2206.02915. */

#define TINY_SHARED(n)                                                                                              \
  /* Magnitudes: the nearest code, ties to even, not yet limited. The sum of the small ones has the code in its low \
   * bits: they are multiples of the smallest number. */                                                            \
  static uint##n tiny_nearest##n(uint##n bits, uint mantissa, uint bias) {                                          \
    uint drop = 23u - mantissa;                                                                                     \
    uint##n normal = (bits + ((1u << (drop - 1u)) - 1u) + ((bits >> drop) & 1u)) >> drop;                           \
    normal -= (127u - bias) << mantissa;                                                                            \
    float##n steps = as_float##n(min(bits, (uint##n)(0x40000000u))) * as_float((126u + bias + mantissa) << 23);     \
    uint##n small = as_uint##n(steps + 8388608.0f) - 0x4b000000u;                                                   \
    return bits < ((128u - bias) << 23) ? small : normal;                                                           \
  }                                                                                                                 \
  static float##n tiny_magnitude##n(uint##n code, uint mantissa, uint bias) {                                       \
    float##n normal = as_float##n((code << (23u - mantissa)) + ((127u - bias) << 23));                              \
    float##n small = convert_float##n(code) * as_float((128u - bias - mantissa) << 23);                             \
    return code < (1u << mantissa) ? small : normal;                                                                \
  }
DTYPE_WIDTHS(TINY_SHARED)

/* OVER: the code of what is larger than LARGEST; NOT: that of NaN. */
#define TINY_SIGNED(n, T, MANTISSA, BIAS, SIGN, LARGEST, OVER, NOT, INFINITE, UNSIGNED_ZERO) \
  static float##n T##_value##n(uchar##n stored) {                                            \
    uint##n code = convert_uint##n(stored), magnitude = code & (SIGN - 1u);                  \
    uint##n bits = as_uint##n(tiny_magnitude##n(magnitude, MANTISSA, BIAS));                 \
    bits |= (code & SIGN) != 0u ? (uint##n)(0x80000000u) : (uint##n)(0u);                    \
    if (INFINITE) bits = magnitude == OVER ? (bits & 0x80000000u) | 0x7f800000u : bits;      \
    bits = magnitude > (INFINITE ? OVER : LARGEST) ? (uint##n)(0x7fc00000u) : bits;          \
    if (UNSIGNED_ZERO) bits = code == SIGN ? (uint##n)(0x7fc00000u) : bits;                  \
    return as_float##n(bits);                                                                \
  }                                                                                          \
  static uchar##n T##_code##n(float##n value) {                                              \
    uint##n bits = as_uint##n(value), magnitude = bits & 0x7fffffffu;                        \
    uint##n sign = (bits >> 31) * SIGN, code = tiny_nearest##n(magnitude, MANTISSA, BIAS);   \
    if (UNSIGNED_ZERO) sign = code == 0u ? (uint##n)(0u) : sign;                             \
    code = code > LARGEST || magnitude >= 0x7f800000u ? (uint##n)(OVER) : code;              \
    code = magnitude > 0x7f800000u ? (uint##n)(NOT) : code | sign;                           \
    return convert_uchar##n(code);                                                           \
  }
#define TINY_E4M3FN(n) TINY_SIGNED(n, f8e4m3fn, 3u, 7u, 0x80u, 0x7eu, 0x7fu, 0x7fu, 0, 0)
#define TINY_E4M3FNUZ(n) TINY_SIGNED(n, f8e4m3fnuz, 3u, 8u, 0x80u, 0x7fu, 0x80u, 0x80u, 0, 1)
#define TINY_E5M2(n) TINY_SIGNED(n, f8e5m2, 2u, 15u, 0x80u, 0x7bu, 0x7cu, 0x7eu, 1, 0)
#define TINY_E5M2FNUZ(n) TINY_SIGNED(n, f8e5m2fnuz, 2u, 16u, 0x80u, 0x7fu, 0x80u, 0x80u, 0, 1)
#define TINY_E2M1(n) TINY_SIGNED(n, f4e2m1, 1u, 1u, 0x08u, 0x07u, 0x07u, 0x08u, 0, 0)
DTYPE_WIDTHS(TINY_E4M3FN)
DTYPE_WIDTHS(TINY_E4M3FNUZ)
DTYPE_WIDTHS(TINY_E5M2)
DTYPE_WIDTHS(TINY_E5M2FNUZ)
DTYPE_WIDTHS(TINY_E2M1)

/* The magnitude's nearest power of two, ties to the larger one; 2^-127 is a denormal float. */
#define TINY_E8M0(n)                                                            \
  static float##n f8e8m0_value##n(uchar##n stored) {                            \
    uint##n code = convert_uint##n(stored);                                     \
    uint##n bits = code == 0u ? (uint##n)(0x400000u) : code << 23;              \
    return as_float##n(code == 255u ? (uint##n)(0x7fc00000u) : bits);           \
  }                                                                             \
  static uchar##n f8e8m0_code##n(float##n value) {                              \
    uint##n bits = as_uint##n(value) & 0x7fffffffu, exponent = bits >> 23;      \
    uint##n tie = exponent == 0u ? (uint##n)(0x200000u) : (uint##n)(0x400000u); \
    uint##n code = (bits + tie) >> 23;                                          \
    return convert_uchar##n(min(code, (uint##n)(255u)));                        \
  }
DTYPE_WIDTHS(TINY_E8M0)
