/* Unsigned keys that order elements: larger key, larger element. SPDX-License-Identifier: Apache-2.0
 *
 * KEY is uint, or ulong for f64 and i64 (built with -DWIDE=1); f16 and bf16 go through f32, exactly. Built with
 * -DMAGNITUDE (order of |x|, floats only) and -DSMALLEST (the order turned round). -0 equals +0, and every NaN counts
 * as larger than infinity, in magnitude too. */
#include "dtype.cl"

#if WIDE
typedef ulong KEY;
typedef long SIGNED_KEY;
#define SIGN_BIT 0x8000000000000000UL
#define INFINITE_BITS 0x7ff0000000000000UL
#define KEY_BITS_d(v) as_ulong(v)
#define FROM_BITS_d(b) as_double(b)
#else
typedef uint KEY;
typedef int SIGNED_KEY;
#define SIGN_BIT 0x80000000u
#define INFINITE_BITS 0x7f800000u
#define KEY_BITS_f(v) as_uint(v)
#define FROM_BITS_f(b) as_float(b)
#endif

static KEY float_key(KEY bits) {
  KEY magnitude = bits & ~SIGN_BIT;
  bool nan = magnitude > INFINITE_BITS;
#if MAGNITUDE
  return nan ? ~SIGN_BIT : magnitude;
#else
  KEY ordered = (bits & SIGN_BIT) && magnitude ? ~bits : magnitude | SIGN_BIT;
  return nan ? ~(KEY)0 : ordered;
#endif
}

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

/* The key of a value of dtype T, and the value of a key. */
#define KEY_OF(T, v) TURNED(NAME_KIND(KEY_OF, T)(v))
#define KEY_OF_f(v) float_key(KEY_BITS_f(v))
#define KEY_OF_d(v) float_key(KEY_BITS_d(v))
#define KEY_OF_i(v) ((KEY)(v) ^ SIGN_BIT)
#define KEY_OF_l(v) ((KEY)(v) ^ SIGN_BIT)
#define VALUE_OF(T, key) NAME_KIND(VALUE_OF, T)(TURNED(key))
#define VALUE_OF_f(key) FROM_BITS_f(float_bits(key))
#define VALUE_OF_d(key) FROM_BITS_d(float_bits(key))
#define VALUE_OF_i(key) ((SIGNED_KEY)((key) ^ SIGN_BIT))
#define VALUE_OF_l(key) ((SIGNED_KEY)((key) ^ SIGN_BIT))
