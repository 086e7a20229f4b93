/* Number formats on the host. SPDX-License-Identifier: Apache-2.0 */
#include "base/dtype.h"

#include <math.h>
#include <string.h>

#include "base/base.h"

typedef struct dtype_row {
  const char *name;
  size_t nbytes;
} dtype_row;

static const dtype_row rows[PARE_NDTYPES] = {
#define DTYPE_ROW(upper, lower, nbytes) {#lower, nbytes},
    PARE_DTYPE_LIST(DTYPE_ROW)
#undef DTYPE_ROW
};

bool pare__dtype_is_valid(pare_dtype dtype) { return (unsigned)dtype < PARE_NDTYPES; }

const char *pare_dtype_name(pare_dtype dtype) { return pare__dtype_is_valid(dtype) ? rows[dtype].name : "?"; }

size_t pare_dtype_bytes(pare_dtype dtype) { return pare__dtype_is_valid(dtype) ? rows[dtype].nbytes : 0; }

bool pare__dtype_is_real(pare_dtype dtype) {
  return dtype == PARE_F32 || dtype == PARE_F16 || dtype == PARE_BF16 || dtype == PARE_F64;
}

bool pare__dtype_is_float(pare_dtype dtype) { return pare__dtype_is_real(dtype) || pare__dtype_is_tiny(dtype); }

bool pare__dtype_is_unsigned(pare_dtype dtype) {
  return dtype == PARE_U8 || dtype == PARE_U16 || dtype == PARE_U32 || dtype == PARE_U64;
}

int64_t pare__load_integer(pare_dtype dtype, const void *data, size_t index) {
  if (dtype == PARE_I64 || dtype == PARE_U64) return ((const int64_t *)data)[index];
  return (int64_t)pare__load(dtype, data, index);
}

void pare__store_integer(pare_dtype dtype, void *data, size_t index, int64_t value) {
  if (dtype == PARE_BOOL) value = value != 0;
  size_t nbytes = pare_dtype_bytes(dtype);
  memcpy((char *)data + index * nbytes, &value, nbytes); /* little-endian, like every OpenCL host */
}

double pare__dtype_epsilon(pare_dtype dtype) {
  switch (dtype) {
  case PARE_F64: return 0x1p-53;
  case PARE_F32: return 0x1p-24;
  case PARE_F16: return 0x1p-11;
  case PARE_BF16: return 0x1p-8;
  case PARE_F8E4M3FN:
  case PARE_F8E4M3FNUZ: return 0x1p-4;
  case PARE_F8E5M2:
  case PARE_F8E5M2FNUZ: return 0x1p-3;
  case PARE_F4E2M1: return 0x1p-2;
  case PARE_F8E8M0: return 0x1p-1;
  default: return 0;
  }
}

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* value >> shift, rounded to nearest even; shift 1 to 31. */
static uint32_t shift_rounded(uint32_t value, unsigned shift) {
  uint32_t half = 1u << (shift - 1), rest = value & ((1u << shift) - 1), kept = value >> shift;
  return kept + (rest > half || (rest == half && (kept & 1)));
}

uint16_t pare__f32_to_f16(float value) {
  uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x1ffu));
  if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* 65520 and above round to infinity */
  if (magnitude >= 0x38800000u) /* 2^-14: normal; rounding may carry into the exponent */
    return (uint16_t)(sign | shift_rounded(magnitude - 0x38000000u, 13));
  if (magnitude < 0x33000000u) return (uint16_t)sign; /* below 2^-25: half the smallest denormal */
  unsigned exponent = magnitude >> 23;
  return (uint16_t)(sign | shift_rounded((magnitude & 0x7fffffu) | 0x800000u, 126 - exponent));
}

float pare__f16_to_f32(uint16_t bits) {
  uint32_t sign = (uint32_t)(bits & 0x8000u) << 16, magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return float_of(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x400u) return float_of(sign | ((magnitude << 13) + 0x38000000u));
  float value = (float)magnitude * 0x1p-24f;
  return sign ? -value : value;
}

uint16_t pare__f32_to_bf16(float value) {
  uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)shift_rounded(bits, 16);
}

float pare__bf16_to_f32(uint16_t bits) { return float_of((uint32_t)bits << 16); }

/* ---- floats of a byte or less ---- */

/* A sign, then the exponent with its bias, then `mantissa` bits; codes above `largest` are no finite number. f8e8m0 has
 * neither sign nor mantissa: its code is the exponent. */
typedef struct tiny_row {
  unsigned mantissa, bias, sign, largest;
  unsigned over, nan; /* codes for what is too large, and for NaN */
  bool unsigned_zero; /* the code of -0 means NaN */
} tiny_row;

static const tiny_row tiny_rows[PARE_NDTYPES] = {
    [PARE_F8E4M3FN] = {3, 7, 0x80, 0x7e, 0x7f, 0x7f, false}, [PARE_F8E4M3FNUZ] = {3, 8, 0x80, 0x7f, 0x80, 0x80, true},
    [PARE_F8E5M2] = {2, 15, 0x80, 0x7b, 0x7c, 0x7e, false},  [PARE_F8E5M2FNUZ] = {2, 16, 0x80, 0x7f, 0x80, 0x80, true},
    [PARE_F8E8M0] = {0, 127, 0, 0xfe, 0xff, 0xff, false},    [PARE_F4E2M1] = {1, 1, 0x08, 0x07, 0x07, 0x08, false},
};

bool pare__dtype_is_tiny(pare_dtype dtype) { return dtype >= PARE__FIRST_TINY && dtype < PARE_NDTYPES; }

static const tiny_row *tiny(pare_dtype dtype) { return &tiny_rows[dtype]; }

static double tiny_value(const tiny_row *row, unsigned code) {
  const unsigned magnitude = row->sign ? code & (row->sign - 1) : code, least = 1u << row->mantissa;
  if (row->unsigned_zero && code == row->sign) return NAN;
  if (magnitude > row->largest) {
    const bool infinite = magnitude == row->over && row->over != row->nan;
    return !infinite ? NAN : code & row->sign ? -INFINITY : INFINITY;
  }
  const bool normal = magnitude >= least || !row->sign; /* f8e8m0 has no others */
  const int exponent = normal ? (int)(magnitude >> row->mantissa) : 1;
  const double steps = (magnitude & (least - 1)) + (normal ? least : 0);
  const double value = ldexp(steps, exponent - (int)(row->bias + row->mantissa));
  return code & row->sign ? -value : value;
}

double pare__tiny_largest(pare_dtype dtype) { return tiny_value(tiny(dtype), tiny(dtype)->largest); }

/* Nearest, ties to even; f8e8m0: the magnitude's nearest power of two, ties to the larger one, 0 to the smallest. */
static uint8_t tiny_code(const tiny_row *row, double value) {
  if (isnan(value)) return (uint8_t)row->nan;
  const unsigned sign = signbit(value) ? row->sign : 0;
  int exponent;
  const double magnitude = fabs(value), smallest = ldexp(1, 1 - (int)row->bias);
  unsigned code;
  if (magnitude > 0x1p129) {
    code = row->over;
  } else if (!row->sign) {
    const double fraction = frexp(PARE__MAX(magnitude, 0x1p-127), &exponent);
    code = (unsigned)(exponent + 126 + (fraction >= 0.75));
  } else if (magnitude < smallest) {
    code = (unsigned)nearbyint(ldexp(magnitude, (int)(row->bias + row->mantissa) - 1));
  } else {
    const double fraction = frexp(magnitude, &exponent); /* [0.5, 1) */
    const double steps = nearbyint(ldexp(fraction, (int)row->mantissa + 1));
    code = ((unsigned)(exponent - 1 + (int)row->bias) << row->mantissa) + (unsigned)steps - (1u << row->mantissa);
  }
  if (code > row->largest) return (uint8_t)(row->over | sign);
  return (uint8_t)(row->unsigned_zero && code == 0 ? 0 : code | sign);
}

/* ---- elements ---- */

double pare__load(pare_dtype dtype, const void *data, size_t index) {
  if (pare__dtype_is_tiny(dtype)) return tiny_value(tiny(dtype), ((const uint8_t *)data)[index]);
  switch (dtype) {
  case PARE_F32: return ((const float *)data)[index];
  case PARE_F16: return pare__f16_to_f32(((const uint16_t *)data)[index]);
  case PARE_BF16: return pare__bf16_to_f32(((const uint16_t *)data)[index]);
  case PARE_F64: return ((const double *)data)[index];
  case PARE_I8: return ((const int8_t *)data)[index];
  case PARE_U8: return ((const uint8_t *)data)[index];
  case PARE_I16: return ((const int16_t *)data)[index];
  case PARE_I32: return ((const int32_t *)data)[index];
  case PARE_I64: return (double)((const int64_t *)data)[index];
  case PARE_BOOL: return ((const uint8_t *)data)[index] != 0;
  case PARE_U16: return ((const uint16_t *)data)[index];
  case PARE_U32: return ((const uint32_t *)data)[index];
  case PARE_U64: return (double)((const uint64_t *)data)[index];
  default: return 0;
  }
}

double pare__load_unaligned(pare_dtype dtype, const void *data, size_t index) {
  const size_t nbytes = pare_dtype_bytes(dtype);
  uint64_t aligned = 0;
  memcpy(&aligned, (const char *)data + index * nbytes, nbytes);
  return pare__load(dtype, &aligned, 0);
}

/* Truncates and saturates to [low, high], both exact in double. */
static int64_t integer(double value, double low, double high) {
  if (isnan(value)) return 0;
  return (int64_t)(value < low ? low : value > high ? high : value);
}

/* 2^63 - 1 is no double: the comparison is with 2^63. */
static int64_t integer64(double value) {
  if (value >= 0x1p63) return INT64_MAX;
  return integer(value, -0x1p63, 0x1p63);
}

static uint64_t unsigned64(double value) {
  if (value >= 0x1p64) return UINT64_MAX;
  return value > 0 ? (uint64_t)value : 0; /* NaN too */
}

/* Rounding double to float and then to 16 bits would round twice. The float is rounded to odd instead: towards zero
 * with the last bit set if anything was lost, so that the second rounding sees the tie broken (Boldo and Melquiond
 * 2008). */
static float round_to_odd(double value) {
  float nearest = (float)value;
  if (isnan(value) || isinf(value) || (double)nearest == value) return nearest;
  uint32_t bits = bits_of(nearest);
  if (fabs((double)nearest) > fabs(value)) bits--;
  return float_of(bits | 1u);
}

void pare__store(pare_dtype dtype, void *data, size_t index, double value) {
  if (pare__dtype_is_tiny(dtype)) {
    ((uint8_t *)data)[index] = tiny_code(tiny(dtype), value);
    return;
  }
  switch (dtype) {
  case PARE_F32: ((float *)data)[index] = (float)value; return;
  case PARE_F16: ((uint16_t *)data)[index] = pare__f32_to_f16(round_to_odd(value)); return;
  case PARE_BF16: ((uint16_t *)data)[index] = pare__f32_to_bf16(round_to_odd(value)); return;
  case PARE_F64: ((double *)data)[index] = value; return;
  case PARE_I8: ((int8_t *)data)[index] = (int8_t)integer(value, INT8_MIN, INT8_MAX); return;
  case PARE_U8: ((uint8_t *)data)[index] = (uint8_t)integer(value, 0, UINT8_MAX); return;
  case PARE_I16: ((int16_t *)data)[index] = (int16_t)integer(value, INT16_MIN, INT16_MAX); return;
  case PARE_I32: ((int32_t *)data)[index] = (int32_t)integer(value, INT32_MIN, INT32_MAX); return;
  case PARE_I64: ((int64_t *)data)[index] = integer64(value); return;
  case PARE_BOOL: ((uint8_t *)data)[index] = value != 0; return;
  case PARE_U16: ((uint16_t *)data)[index] = (uint16_t)integer(value, 0, UINT16_MAX); return;
  case PARE_U32: ((uint32_t *)data)[index] = (uint32_t)integer(value, 0, UINT32_MAX); return;
  case PARE_U64: ((uint64_t *)data)[index] = unsigned64(value); return;
  default: return;
  }
}
