/* Unsigned keys that order elements: larger key, larger element. SPDX-License-Identifier: Apache-2.0
 *
 * KEY is uint, or ulong for f64, i64 and u64 (built with -DWIDE=1); f16 and bf16 go through f32, exactly. Built with
 * -DMAGNITUDE (order of |x|, floats only) and -DSMALLEST (the order turned round). -0 equals +0, and every NaN counts
 * as larger than infinity, in magnitude too. -DWIDTH: keys also come in vectors of that many. */
#include "dtype.cl"

#ifndef WIDTH
#define WIDTH 1
#endif

#if WIDE
#define KEY ulong
typedef long SIGNED_KEY;
#define SIGN_BIT 0x8000000000000000UL
#define INFINITE_BITS 0x7ff0000000000000UL
#define FROM_BITS_d(b) as_double(b)
#else
#define KEY uint
typedef int SIGNED_KEY;
#define SIGN_BIT 0x80000000u
#define INFINITE_BITS 0x7f800000u
#define FROM_BITS_f(b) as_float(b)
#endif
#define KEYV(n) JOIN(KEY, n)

#if MAGNITUDE
#define ORDERED(bits, magnitude) (magnitude)
#define NAN_KEY (~SIGN_BIT)
#else
#define ORDERED(bits, magnitude) (((bits) >= SIGN_BIT) & ((magnitude) != 0) ? ~(bits) : (magnitude) | SIGN_BIT)
#define NAN_KEY (~(KEY)0)
#endif

#define FLOAT_KEY_DEFINE(n)                                          \
  static KEYV(n) float_key##n(KEYV(n) bits) {                        \
    KEYV(n) magnitude = bits & ~SIGN_BIT;                            \
    KEYV(n) ordered = ORDERED(bits, magnitude);                      \
    return magnitude > INFINITE_BITS ? (KEYV(n))(NAN_KEY) : ordered; \
  }
FLOAT_KEY_DEFINE(1)
#if WIDTH > 1
#define FLOAT_KEY_DEFINE_WIDE(n) FLOAT_KEY_DEFINE(n)
FLOAT_KEY_DEFINE_WIDE(WIDTH)
#endif

static KEY float_bits(KEY key) {
#if MAGNITUDE
  return key;
#else
  return key & SIGN_BIT ? key & ~SIGN_BIT : ~key;
#endif
}

#if SMALLEST
#define TURNED(key) (~(key))
#else
#define TURNED(key) (key)
#endif

/* The keys of n values of dtype T (n = 1 or WIDTH), and the value of a key. */
#define KEY_OF(T, v) KEYV_OF(T, 1, v)
#define KEYV_OF(T, n, v) TURNED(NAME_KIND(KEY_OF, T)(n, v))
#define KEY_OF_f(n, v) float_key##n(as_uint##n(v))
#define KEY_OF_d(n, v) float_key##n(as_ulong##n(v))
#define KEY_OF_i(n, v) (as_uint##n(v) ^ SIGN_BIT)
#define KEY_OF_l(n, v) (as_ulong##n(v) ^ SIGN_BIT)
#define KEY_OF_u(n, v) (v)
#define KEY_OF_m(n, v) (v)
#define VALUE_OF(T, key) NAME_KIND(VALUE_OF, T)(TURNED(key))
#define VALUE_OF_f(key) FROM_BITS_f(float_bits(key))
#define VALUE_OF_d(key) FROM_BITS_d(float_bits(key))
#define VALUE_OF_i(key) ((SIGNED_KEY)((key) ^ SIGN_BIT))
#define VALUE_OF_l(key) ((SIGNED_KEY)((key) ^ SIGN_BIT))
#define VALUE_OF_u(key) (key)
#define VALUE_OF_m(key) (key)

/* Is any lane of the result of a comparison set? Folded by halves: any() is slow on some drivers. */
#define ANY(n, v) PASTE(ANY_, n)(v)
#define ANY_1(v) (v)
#define ANY_2(v) ((v).s0 | (v).s1)
#define ANY_4(v) ANY_2((v).lo | (v).hi)
#define ANY_8(v) ANY_4((v).lo | (v).hi)
#define ANY_16(v) ANY_8((v).lo | (v).hi)
