/* What an element may be. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_DTYPE_H
#define PARE_DTYPE_H

#include <pare/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PARE_MAX_RANK 8

/* name in C, in text, bytes; f8… and f4e2m1 (ONNX's float8, float4) are stored, moved and cast, not computed with */
#define PARE_DTYPE_LIST(X)     \
  X(F32, f32, 4)               \
  X(F16, f16, 2)               \
  X(BF16, bf16, 2)             \
  X(F64, f64, 8)               \
  X(I8, i8, 1)                 \
  X(U8, u8, 1)                 \
  X(I16, i16, 2)               \
  X(I32, i32, 4)               \
  X(I64, i64, 8)               \
  X(BOOL, bool, 1)             \
  X(U16, u16, 2)               \
  X(U32, u32, 4)               \
  X(U64, u64, 8)               \
  X(F8E4M3FN, f8e4m3fn, 1)     \
  X(F8E4M3FNUZ, f8e4m3fnuz, 1) \
  X(F8E5M2, f8e5m2, 1)         \
  X(F8E5M2FNUZ, f8e5m2fnuz, 1) \
  X(F8E8M0, f8e8m0, 1)         \
  X(F4E2M1, f4e2m1, 1)
typedef enum pare_dtype {
#define PARE_DTYPE_ENUM(upper, lower, nbytes) PARE_##upper,
  PARE_DTYPE_LIST(PARE_DTYPE_ENUM)
#undef PARE_DTYPE_ENUM
      PARE_NDTYPES
} pare_dtype;

PARE_API const char *pare_dtype_name(pare_dtype dtype); /* "f32"; "?" if none */
PARE_API size_t pare_dtype_bytes(pare_dtype dtype);     /* 0 if none */

#ifdef __cplusplus
}
#endif
#endif
