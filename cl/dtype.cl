/* How an element is stored: the only file that knows. SPDX-License-Identifier: Apache-2.0
 *
 * A kernel is built with -DT0=f32 -DT1=bf16 …, a dtype for each buffer of its family (f32 f16 bf16 f64 i8 u8 i16 i32
 * i64 bool u16 u32 u64; f8e4m3fn f8e4m3fnuz f8e5m2 f8e5m2fnuz f8e8m0 f4e2m1, a byte each), and includes this file. It
 * declares buffer i as `__global const STORE(Ti) *p`, reads with LOAD(Ti, p, index) and writes with
 * SAVE(Ti, p, index, value). A value is computed with as VALUE(Ti): float for f32, f16, bf16 and the floats of a byte;
 * double; int for i8 … i32, u8, u16 and bool; long; uint; ulong. f16 uses vload_half and vstore_half, which OpenCL 1.2
 * has on every device; bf16 is shifted, rounded to nearest even; so are floats of a byte (only T0 and T3 may be one),
 * and what is too large becomes infinity or NaN, as the format has it. Vectors: LOADV(Ti, n, p, i) and
 * SAVEV(Ti, n, p, i, v) move n elements (n = 1 2 4 8 16) from element i (any alignment) as VALUEV(Ti, n). STREAMV is
 * SAVEV past the cache, where PARE_NONTEMPORAL says that the device can; its address must be aligned to the n elements.
 * CONVERT(A, B, v) and CONVERTV(A, B, n, v) turn a value of dtype A into one of dtype B as ONNX Cast and C do: to
 * floats rounded to nearest even, once; from floats to integers truncated and saturated, NaN to 0; between integers
 * modulo 2^bits; to bool: v != 0. SAVE of a value that does not fit an integer dtype keeps its low bits. All are
 * macros: any address space works; p may be evaluated twice.
 *
 * The scalar limits of a vector's min and clamp are written out as vectors: given scalars, oclgrind 21.10 compares all
 * lanes but the first with what lies behind them in its memory. */
#ifndef PARE_DTYPE_CL
#define PARE_DTYPE_CL

#if defined(cl_khr_fp64)
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#define PARE_FP64 1
#elif defined(__opencl_c_fp64)
#define PARE_FP64 1
#endif

/* Two sets of pasting macros: one to find an entry of a table, one inside the entries. */
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* A vector of one is a scalar, so that one source serves both. */
#define float1 float
#define double1 double
#define char1 char
#define uchar1 uchar
#define short1 short
#define ushort1 ushort
#define int1 int
#define uint1 uint
#define long1 long
#define ulong1 ulong
#define as_float1 as_float
#define as_double1 as_double
#define as_int1 as_int
#define as_uint1 as_uint
#define as_long1 as_long
#define as_ulong1 as_ulong
#define convert_float1 convert_float
#define convert_double1 convert_double
#define convert_char1 convert_char
#define convert_uchar1 convert_uchar
#define convert_short1 convert_short
#define convert_ushort1 convert_ushort
#define convert_int1 convert_int
#define convert_uint1 convert_uint
#define convert_long1 convert_long
#define convert_ulong1 convert_ulong
#define vload1(i, p) ((p)[i])
#define vstore1(v, i, p) ((p)[i] = (v))
#define vload_half1 vload_half
#define vstore_half1_rte vstore_half_rte

#define STORE(T) PASTE(STORE_, T)
#define STORE_f32 float
#define STORE_f16 half
#define STORE_bf16 ushort
#define STORE_f64 double
#define STORE_i8 char
#define STORE_u8 uchar
#define STORE_i16 short
#define STORE_i32 int
#define STORE_i64 long
#define STORE_bool uchar
#define STORE_u16 ushort
#define STORE_u32 uint
#define STORE_u64 ulong
#define STORE_f8e4m3fn uchar
#define STORE_f8e4m3fnuz uchar
#define STORE_f8e5m2 uchar
#define STORE_f8e5m2fnuz uchar
#define STORE_f8e8m0 uchar
#define STORE_f4e2m1 uchar

#define VALUE(T) PASTE(VALUE_, T)
#define VALUE_f32 float
#define VALUE_f16 float
#define VALUE_bf16 float
#define VALUE_f64 double
#define VALUE_i8 int
#define VALUE_u8 int
#define VALUE_i16 int
#define VALUE_i32 int
#define VALUE_i64 long
#define VALUE_bool int
#define VALUE_u16 int
#define VALUE_u32 uint
#define VALUE_u64 ulong
#define VALUE_f8e4m3fn float
#define VALUE_f8e4m3fnuz float
#define VALUE_f8e5m2 float
#define VALUE_f8e5m2fnuz float
#define VALUE_f8e8m0 float
#define VALUE_f4e2m1 float
#define VALUEV(T, n) JOIN(VALUE(T), n)

/* What arithmetic a value has: f float, d double, i int, l long, u uint, m ulong. NAME_KIND(name, T) picks name_f,
 * name_d, name_i, name_l, name_u or name_m. */
#define KIND(T) PASTE(KIND_, T)
#define KIND_f32 f
#define KIND_f16 f
#define KIND_bf16 f
#define KIND_f64 d
#define KIND_i8 i
#define KIND_u8 i
#define KIND_i16 i
#define KIND_i32 i
#define KIND_i64 l
#define KIND_bool i
#define KIND_u16 i
#define KIND_u32 u
#define KIND_u64 m
#define KIND_f8e4m3fn f
#define KIND_f8e4m3fnuz f
#define KIND_f8e5m2 f
#define KIND_f8e5m2fnuz f
#define KIND_f8e8m0 f
#define KIND_f4e2m1 f
#define NAME_KIND(name, T) JOIN(name##_, KIND(T))

/* ---- conversions that need more than a builtin; each for vectors of 1, 2, 4, 8 and 16 ---- */

#define DTYPE_WIDTHS(X) X(1) X(2) X(4) X(8) X(16)

#define DTYPE_DEFINE(n)                                                                                     \
  /* The upper half of a float, rounded to nearest even; a NaN stays one, quiet. */                         \
  static ushort##n bf16_bits##n(float##n value) {                                                           \
    uint##n bits = as_uint##n(value);                                                                       \
    uint##n rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;                                         \
    uint##n quiet = (bits >> 16) | 0x40u;                                                                   \
    return convert_ushort##n((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);                         \
  }                                                                                                         \
  /* Truncated and saturated, NaN to 0. */                                                                  \
  static int##n float_to_int##n(float##n v) {                                                               \
    int##n result = convert_int##n(v >= -2147483648.0f && v < 2147483648.0f ? v : (float##n)(0.0f));        \
    result = v >= 2147483648.0f ? (int##n)(INT_MAX) : result;                                               \
    return v < -2147483648.0f ? (int##n)(INT_MIN) : result;                                                 \
  }                                                                                                         \
  static long##n float_to_long##n(float##n v) {                                                             \
    long##n result =                                                                                        \
        convert_long##n(v >= -9223372036854775808.0f && v < 9223372036854775808.0f ? v : (float##n)(0.0f)); \
    result = convert_long##n(v >= 9223372036854775808.0f) != 0 ? (long##n)(LONG_MAX) : result;              \
    return convert_long##n(v < -9223372036854775808.0f) != 0 ? (long##n)(LONG_MIN) : result;                \
  }                                                                                                         \
  static uint##n float_to_uint##n(float##n v) {                                                             \
    uint##n result = convert_uint##n(v >= 0.0f && v < 4294967296.0f ? v : (float##n)(0.0f));                \
    return v >= 4294967296.0f ? (uint##n)(UINT_MAX) : result;                                               \
  }                                                                                                         \
  static ulong##n float_to_ulong##n(float##n v) {                                                           \
    ulong##n result = convert_ulong##n(v >= 0.0f && v < 18446744073709551616.0f ? v : (float##n)(0.0f));    \
    return convert_long##n(v >= 18446744073709551616.0f) != 0 ? (ulong##n)(ULONG_MAX) : result;             \
  }                                                                                                         \
  /* Rounded to odd: a second rounding, to f16 or bf16, then gives what a single one would. */              \
  static float##n uint_to_odd##n(uint##n magnitude) {                                                       \
    float##n nearest = convert_float##n(magnitude);                                                         \
    uint##n back = convert_uint##n(nearest), bits = as_uint##n(nearest);                                    \
    bits -= back > magnitude ? (uint##n)(1u) : (uint##n)(0u);                                               \
    bits |= back != magnitude ? (uint##n)(1u) : (uint##n)(0u);                                              \
    return as_float##n(bits);                                                                               \
  }                                                                                                         \
  static float##n int_to_odd##n(int##n v) {                                                                 \
    float##n odd = uint_to_odd##n(v < 0 ? (uint##n)(0u) - as_uint##n(v) : as_uint##n(v));                   \
    return v < 0 ? -odd : odd;                                                                              \
  }                                                                                                         \
  static float##n ulong_to_odd##n(ulong##n magnitude) {                                                     \
    float##n nearest = convert_float##n(magnitude);                                                         \
    ulong##n back = convert_ulong##n(nearest);                                                              \
    uint##n bits = as_uint##n(nearest);                                                                     \
    bits -= convert_uint##n(back > magnitude ? (ulong##n)(1ul) : (ulong##n)(0ul));                          \
    bits |= convert_uint##n(back != magnitude ? (ulong##n)(1ul) : (ulong##n)(0ul));                         \
    return as_float##n(bits);                                                                               \
  }                                                                                                         \
  static float##n long_to_odd##n(long##n v) {                                                               \
    float##n odd = ulong_to_odd##n(v < 0 ? (ulong##n)(0ul) - as_ulong##n(v) : as_ulong##n(v));              \
    return convert_int##n(v < 0 ? (long##n)(1) : (long##n)(0)) != 0 ? -odd : odd;                           \
  }
DTYPE_WIDTHS(DTYPE_DEFINE)

#ifdef PARE_FP64
#define DTYPE_DEFINE_F64(n)                                                                                            \
  static int##n double_to_int##n(double##n v) {                                                                        \
    double##n inside = v > -2147483649.0 && v < 2147483648.0 ? v : (double##n)(0.0);                                   \
    int##n result = convert_int##n(inside);                                                                            \
    result = convert_int##n(v >= 2147483648.0 ? (long##n)(1) : (long##n)(0)) != 0 ? (int##n)(INT_MAX) : result;        \
    return convert_int##n(v <= -2147483649.0 ? (long##n)(1) : (long##n)(0)) != 0 ? (int##n)(INT_MIN) : result;         \
  }                                                                                                                    \
  static long##n double_to_long##n(double##n v) {                                                                      \
    long##n result = convert_long##n(v >= -9223372036854775808.0 && v < 9223372036854775808.0 ? v : (double##n)(0.0)); \
    result = v >= 9223372036854775808.0 ? (long##n)(LONG_MAX) : result;                                                \
    return v < -9223372036854775808.0 ? (long##n)(LONG_MIN) : result;                                                  \
  }                                                                                                                    \
  static uint##n double_to_uint##n(double##n v) {                                                                      \
    double##n inside = v >= 0.0 && v < 4294967296.0 ? v : (double##n)(0.0);                                            \
    uint##n result = convert_uint##n(inside);                                                                          \
    return convert_int##n(v >= 4294967296.0 ? (long##n)(1) : (long##n)(0)) != 0 ? (uint##n)(UINT_MAX) : result;        \
  }                                                                                                                    \
  static ulong##n double_to_ulong##n(double##n v) {                                                                    \
    ulong##n result = convert_ulong##n(v >= 0.0 && v < 18446744073709551616.0 ? v : (double##n)(0.0));                 \
    return v >= 18446744073709551616.0 ? (ulong##n)(ULONG_MAX) : result;                                               \
  }                                                                                                                    \
  static float##n double_to_odd##n(double##n v) {                                                                      \
    float##n nearest = convert_float##n(v);                                                                            \
    double##n back = convert_double##n(nearest);                                                                       \
    uint##n bits = as_uint##n(nearest);                                                                                \
    bits -= convert_uint##n(fabs(back) > fabs(v) ? (long##n)(1) : (long##n)(0));                                       \
    bits |= convert_uint##n(back != v ? (long##n)(1) : (long##n)(0));                                                  \
    return as_float##n(bits);                                                                                          \
  }
DTYPE_WIDTHS(DTYPE_DEFINE_F64)
#endif

/* Floats of a byte or less, which few programs need. */
#define TINY_f8e4m3fn 1
#define TINY_f8e4m3fnuz 1
#define TINY_f8e5m2 1
#define TINY_f8e5m2fnuz 1
#define TINY_f8e8m0 1
#define TINY_f4e2m1 1
#if PASTE(TINY_, T0) || PASTE(TINY_, T3)
#include "dtype_tiny.cl"
#endif

/* ---- load and store ---- */

/* Lane by lane: a vector made of shorter ones has undefined lanes on the way, which simulators do not survive. */
static float8 float8_of(float4 low, float4 high) {
  return (float8)(low.s0, low.s1, low.s2, low.s3, high.s0, high.s1, high.s2, high.s3);
}

/* n is a number by the time an entry pastes it: names such as vload16 are macros of some drivers and must be pasted
 * whole. */
#define LOADV(T, n, p, i) PASTE(LOADV_, T)(n, p, i)
#define LOADV_f32(n, p, i) vload##n(0, (p) + (i))
#define LOADV_f16(n, p, i) LOADV_HALF_##n((p) + (i))
#define LOADV_HALF_1(p) vload_half(0, p)
#define LOADV_HALF_2(p) vload_half2(0, p)
#define LOADV_HALF_4(p) vload_half4(0, p)
/* In two parts: LLVM 15 moves comparisons before the conversion and then dies of a vector of eight halves. */
#define LOADV_HALF_8(p) float8_of(vload_half4(0, p), vload_half4(1, p))
#define LOADV_HALF_16(p) vload_half16(0, p)
#define LOADV_bf16(n, p, i) as_float##n(convert_uint##n(vload##n(0, (p) + (i))) << 16)
#define LOADV_f64(n, p, i) vload##n(0, (p) + (i))
#define LOADV_i8(n, p, i) convert_int##n(vload##n(0, (p) + (i)))
#define LOADV_u8(n, p, i) convert_int##n(vload##n(0, (p) + (i)))
#define LOADV_i16(n, p, i) convert_int##n(vload##n(0, (p) + (i)))
#define LOADV_i32(n, p, i) vload##n(0, (p) + (i))
#define LOADV_i64(n, p, i) vload##n(0, (p) + (i))
#define LOADV_bool(n, p, i) min(convert_int##n(vload##n(0, (p) + (i))), (int##n)(1))
#define LOADV_u16(n, p, i) convert_int##n(vload##n(0, (p) + (i)))
#define LOADV_u32(n, p, i) vload##n(0, (p) + (i))
#define LOADV_u64(n, p, i) vload##n(0, (p) + (i))
#define LOADV_f8e4m3fn(n, p, i) f8e4m3fn_value##n(vload##n(0, (p) + (i)))
#define LOADV_f8e4m3fnuz(n, p, i) f8e4m3fnuz_value##n(vload##n(0, (p) + (i)))
#define LOADV_f8e5m2(n, p, i) f8e5m2_value##n(vload##n(0, (p) + (i)))
#define LOADV_f8e5m2fnuz(n, p, i) f8e5m2fnuz_value##n(vload##n(0, (p) + (i)))
#define LOADV_f8e8m0(n, p, i) f8e8m0_value##n(vload##n(0, (p) + (i)))
#define LOADV_f4e2m1(n, p, i) f4e2m1_value##n(vload##n(0, (p) + (i)))
#define LOAD(T, p, i) LOADV(T, 1, p, i)

#define SAVEV(T, n, p, i, v) PASTE(SAVEV_, T)(n, p, i, v)
#define SAVEV_f32(n, p, i, v) vstore##n(v, 0, (p) + (i))
#define SAVEV_f16(n, p, i, v) vstore_half##n##_rte(v, 0, (p) + (i))
#define SAVEV_bf16(n, p, i, v) vstore##n(bf16_bits##n(v), 0, (p) + (i))
#define SAVEV_f64(n, p, i, v) vstore##n(v, 0, (p) + (i))
#define SAVEV_i8(n, p, i, v) vstore##n(convert_char##n(v), 0, (p) + (i))
#define SAVEV_u8(n, p, i, v) vstore##n(convert_uchar##n(v), 0, (p) + (i))
#define SAVEV_i16(n, p, i, v) vstore##n(convert_short##n(v), 0, (p) + (i))
#define SAVEV_i32(n, p, i, v) vstore##n(v, 0, (p) + (i))
#define SAVEV_i64(n, p, i, v) vstore##n(v, 0, (p) + (i))
#define SAVEV_bool(n, p, i, v) vstore##n(convert_uchar##n(v), 0, (p) + (i))
#define SAVEV_u16(n, p, i, v) vstore##n(convert_ushort##n(v), 0, (p) + (i))
#define SAVEV_u32(n, p, i, v) vstore##n(v, 0, (p) + (i))
#define SAVEV_u64(n, p, i, v) vstore##n(v, 0, (p) + (i))
#define SAVEV_f8e4m3fn(n, p, i, v) vstore##n(f8e4m3fn_code##n(v), 0, (p) + (i))
#define SAVEV_f8e4m3fnuz(n, p, i, v) vstore##n(f8e4m3fnuz_code##n(v), 0, (p) + (i))
#define SAVEV_f8e5m2(n, p, i, v) vstore##n(f8e5m2_code##n(v), 0, (p) + (i))
#define SAVEV_f8e5m2fnuz(n, p, i, v) vstore##n(f8e5m2fnuz_code##n(v), 0, (p) + (i))
#define SAVEV_f8e8m0(n, p, i, v) vstore##n(f8e8m0_code##n(v), 0, (p) + (i))
#define SAVEV_f4e2m1(n, p, i, v) vstore##n(f4e2m1_code##n(v), 0, (p) + (i))
#define SAVE(T, p, i, v) SAVEV(T, 1, p, i, v)

#ifdef PARE_NONTEMPORAL
#define STREAM_(type, p, i, v) __builtin_nontemporal_store(v, (__global type *)((p) + (i)))
#define STREAMV(T, n, p, i, v) PASTE(STREAMV_, T)(n, p, i, v)
#define STREAMV_f32(n, p, i, v) STREAM_(float##n, p, i, v)
#define STREAMV_f16(n, p, i, v) SAVEV_f16(n, p, i, v)
#define STREAMV_bf16(n, p, i, v) STREAM_(ushort##n, p, i, bf16_bits##n(v))
#define STREAMV_f64(n, p, i, v) STREAM_(double##n, p, i, v)
#define STREAMV_i8(n, p, i, v) STREAM_(char##n, p, i, convert_char##n(v))
#define STREAMV_u8(n, p, i, v) STREAM_(uchar##n, p, i, convert_uchar##n(v))
#define STREAMV_i16(n, p, i, v) STREAM_(short##n, p, i, convert_short##n(v))
#define STREAMV_i32(n, p, i, v) STREAM_(int##n, p, i, v)
#define STREAMV_i64(n, p, i, v) STREAM_(long##n, p, i, v)
#define STREAMV_bool(n, p, i, v) STREAM_(uchar##n, p, i, convert_uchar##n(v))
#define STREAMV_u16(n, p, i, v) STREAM_(ushort##n, p, i, convert_ushort##n(v))
#define STREAMV_u32(n, p, i, v) STREAM_(uint##n, p, i, v)
#define STREAMV_u64(n, p, i, v) STREAM_(ulong##n, p, i, v)
#define STREAMV_f8e4m3fn(n, p, i, v) STREAM_(uchar##n, p, i, f8e4m3fn_code##n(v))
#define STREAMV_f8e4m3fnuz(n, p, i, v) STREAM_(uchar##n, p, i, f8e4m3fnuz_code##n(v))
#define STREAMV_f8e5m2(n, p, i, v) STREAM_(uchar##n, p, i, f8e5m2_code##n(v))
#define STREAMV_f8e5m2fnuz(n, p, i, v) STREAM_(uchar##n, p, i, f8e5m2fnuz_code##n(v))
#define STREAMV_f8e8m0(n, p, i, v) STREAM_(uchar##n, p, i, f8e8m0_code##n(v))
#define STREAMV_f4e2m1(n, p, i, v) STREAM_(uchar##n, p, i, f4e2m1_code##n(v))
#else
#define STREAMV(T, n, p, i, v) SAVEV(T, n, p, i, v)
#endif

/* ---- CONVERT: a table by the kind of the source and the dtype of the target ---- */

#define CONVERT(A, B, v) CONVERTV(A, B, 1, v)
#define CONVERTV(A, B, n, v) PASTE(JOIN(CONVERT_, KIND(A)), JOIN(_, B))(n, v)

#define CONVERT_f_f32(n, v) (v)
#define CONVERT_f_f16(n, v) (v)
#define CONVERT_f_bf16(n, v) (v)
#define CONVERT_f_f64(n, v) convert_double##n(v)
#define CONVERT_f_i8(n, v) clamp(float_to_int##n(v), (int##n)(-128), (int##n)(127))
#define CONVERT_f_u8(n, v) clamp(float_to_int##n(v), (int##n)(0), (int##n)(255))
#define CONVERT_f_i16(n, v) clamp(float_to_int##n(v), (int##n)(-32768), (int##n)(32767))
#define CONVERT_f_i32(n, v) float_to_int##n(v)
#define CONVERT_f_i64(n, v) float_to_long##n(v)
#define CONVERT_f_bool(n, v) (((v) != 0.0f) & 1)
#define CONVERT_f_u16(n, v) clamp(float_to_int##n(v), (int##n)(0), (int##n)(65535))
#define CONVERT_f_u32(n, v) float_to_uint##n(v)
#define CONVERT_f_u64(n, v) float_to_ulong##n(v)
#define CONVERT_f_f8e4m3fn(n, v) (v)
#define CONVERT_f_f8e4m3fnuz(n, v) (v)
#define CONVERT_f_f8e5m2(n, v) (v)
#define CONVERT_f_f8e5m2fnuz(n, v) (v)
#define CONVERT_f_f8e8m0(n, v) (v)
#define CONVERT_f_f4e2m1(n, v) (v)

#define CONVERT_d_f32(n, v) convert_float##n(v)
#define CONVERT_d_f16(n, v) double_to_odd##n(v)
#define CONVERT_d_bf16(n, v) double_to_odd##n(v)
#define CONVERT_d_f64(n, v) (v)
#define CONVERT_d_i8(n, v) clamp(double_to_int##n(v), (int##n)(-128), (int##n)(127))
#define CONVERT_d_u8(n, v) clamp(double_to_int##n(v), (int##n)(0), (int##n)(255))
#define CONVERT_d_i16(n, v) clamp(double_to_int##n(v), (int##n)(-32768), (int##n)(32767))
#define CONVERT_d_i32(n, v) double_to_int##n(v)
#define CONVERT_d_i64(n, v) double_to_long##n(v)
#define CONVERT_d_bool(n, v) (convert_int##n((v) != 0.0) & 1)
#define CONVERT_d_u16(n, v) clamp(double_to_int##n(v), (int##n)(0), (int##n)(65535))
#define CONVERT_d_u32(n, v) double_to_uint##n(v)
#define CONVERT_d_u64(n, v) double_to_ulong##n(v)
#define CONVERT_d_f8e4m3fn(n, v) double_to_odd##n(v)
#define CONVERT_d_f8e4m3fnuz(n, v) double_to_odd##n(v)
#define CONVERT_d_f8e5m2(n, v) double_to_odd##n(v)
#define CONVERT_d_f8e5m2fnuz(n, v) double_to_odd##n(v)
#define CONVERT_d_f8e8m0(n, v) double_to_odd##n(v)
#define CONVERT_d_f4e2m1(n, v) double_to_odd##n(v)

#define CONVERT_i_f32(n, v) convert_float##n(v)
#define CONVERT_i_f16(n, v) int_to_odd##n(v)
#define CONVERT_i_bf16(n, v) int_to_odd##n(v)
#define CONVERT_i_f64(n, v) convert_double##n(v)
#define CONVERT_i_i8(n, v) convert_int##n(convert_char##n(v))
#define CONVERT_i_u8(n, v) ((v)&255)
#define CONVERT_i_i16(n, v) convert_int##n(convert_short##n(v))
#define CONVERT_i_i32(n, v) (v)
#define CONVERT_i_i64(n, v) convert_long##n(v)
#define CONVERT_i_bool(n, v) (((v) != 0) & 1)
#define CONVERT_i_u16(n, v) ((v)&65535)
#define CONVERT_i_u32(n, v) as_uint##n(v)
#define CONVERT_i_u64(n, v) as_ulong##n(convert_long##n(v))
#define CONVERT_i_f8e4m3fn(n, v) int_to_odd##n(v)
#define CONVERT_i_f8e4m3fnuz(n, v) int_to_odd##n(v)
#define CONVERT_i_f8e5m2(n, v) int_to_odd##n(v)
#define CONVERT_i_f8e5m2fnuz(n, v) int_to_odd##n(v)
#define CONVERT_i_f8e8m0(n, v) int_to_odd##n(v)
#define CONVERT_i_f4e2m1(n, v) int_to_odd##n(v)

#define CONVERT_l_f32(n, v) convert_float##n(v)
#define CONVERT_l_f16(n, v) long_to_odd##n(v)
#define CONVERT_l_bf16(n, v) long_to_odd##n(v)
#define CONVERT_l_f64(n, v) convert_double##n(v)
#define CONVERT_l_i8(n, v) convert_int##n(convert_char##n(v))
#define CONVERT_l_u8(n, v) convert_int##n(convert_uchar##n(v))
#define CONVERT_l_i16(n, v) convert_int##n(convert_short##n(v))
#define CONVERT_l_i32(n, v) convert_int##n(v)
#define CONVERT_l_i64(n, v) (v)
#define CONVERT_l_bool(n, v) (convert_int##n((v) != 0) & 1)
#define CONVERT_l_u16(n, v) convert_int##n(convert_ushort##n(v))
#define CONVERT_l_u32(n, v) convert_uint##n(v)
#define CONVERT_l_u64(n, v) as_ulong##n(v)
#define CONVERT_l_f8e4m3fn(n, v) long_to_odd##n(v)
#define CONVERT_l_f8e4m3fnuz(n, v) long_to_odd##n(v)
#define CONVERT_l_f8e5m2(n, v) long_to_odd##n(v)
#define CONVERT_l_f8e5m2fnuz(n, v) long_to_odd##n(v)
#define CONVERT_l_f8e8m0(n, v) long_to_odd##n(v)
#define CONVERT_l_f4e2m1(n, v) long_to_odd##n(v)

#define CONVERT_u_f32(n, v) convert_float##n(v)
#define CONVERT_u_f16(n, v) uint_to_odd##n(v)
#define CONVERT_u_bf16(n, v) uint_to_odd##n(v)
#define CONVERT_u_f64(n, v) convert_double##n(v)
#define CONVERT_u_i8(n, v) convert_int##n(convert_char##n(v))
#define CONVERT_u_u8(n, v) convert_int##n(convert_uchar##n(v))
#define CONVERT_u_i16(n, v) convert_int##n(convert_short##n(v))
#define CONVERT_u_i32(n, v) as_int##n(v)
#define CONVERT_u_i64(n, v) convert_long##n(v)
#define CONVERT_u_bool(n, v) (((v) != 0) & 1)
#define CONVERT_u_u16(n, v) convert_int##n(convert_ushort##n(v))
#define CONVERT_u_u32(n, v) (v)
#define CONVERT_u_u64(n, v) convert_ulong##n(v)
#define CONVERT_u_f8e4m3fn(n, v) uint_to_odd##n(v)
#define CONVERT_u_f8e4m3fnuz(n, v) uint_to_odd##n(v)
#define CONVERT_u_f8e5m2(n, v) uint_to_odd##n(v)
#define CONVERT_u_f8e5m2fnuz(n, v) uint_to_odd##n(v)
#define CONVERT_u_f8e8m0(n, v) uint_to_odd##n(v)
#define CONVERT_u_f4e2m1(n, v) uint_to_odd##n(v)

#define CONVERT_m_f32(n, v) convert_float##n(v)
#define CONVERT_m_f16(n, v) ulong_to_odd##n(v)
#define CONVERT_m_bf16(n, v) ulong_to_odd##n(v)
#define CONVERT_m_f64(n, v) convert_double##n(v)
#define CONVERT_m_i8(n, v) convert_int##n(convert_char##n(v))
#define CONVERT_m_u8(n, v) convert_int##n(convert_uchar##n(v))
#define CONVERT_m_i16(n, v) convert_int##n(convert_short##n(v))
#define CONVERT_m_i32(n, v) convert_int##n(v)
#define CONVERT_m_i64(n, v) as_long##n(v)
#define CONVERT_m_bool(n, v) (convert_int##n((v) != 0) & 1)
#define CONVERT_m_u16(n, v) convert_int##n(convert_ushort##n(v))
#define CONVERT_m_u32(n, v) convert_uint##n(v)
#define CONVERT_m_u64(n, v) (v)
#define CONVERT_m_f8e4m3fn(n, v) ulong_to_odd##n(v)
#define CONVERT_m_f8e4m3fnuz(n, v) ulong_to_odd##n(v)
#define CONVERT_m_f8e5m2(n, v) ulong_to_odd##n(v)
#define CONVERT_m_f8e5m2fnuz(n, v) ulong_to_odd##n(v)
#define CONVERT_m_f8e8m0(n, v) ulong_to_odd##n(v)
#define CONVERT_m_f4e2m1(n, v) ulong_to_odd##n(v)

#endif
