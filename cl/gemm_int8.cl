/* Product of dynamically quantised activations with int8 weights, for CPU devices. SPDX-License-Identifier: Apache-2.0
 *
 * C = activation((sum over k of (a - zero) * b) * scale of A * scale of the column of B + bias), the sum exact in 32
 * bits; or, where C is i32, the sum alone. A holds floats, quantised on the way as ONNX DynamicQuantizeLinear does, or
 * u8, or i8. B is in panels, B[panel][k / 4][column][k % 4]; its column sums turn sum(a * b) into sum((a - zero) * b).
 * `a_scale` holds the scale, or range_count values (A itself, or the ranges of its parts) whose range gives scale and
 * zero point: each group finds it for itself, which a launch before this one would take longer to do.
 *
 * One work-item a work-group: it quantises its mc rows of A into local memory, then multiplies them by each panel of
 * its columns; the panel stays in the first level cache. -DPRODUCT: 0 plain C; 1 vpmaddwd on activations of 16 bits
 * (exact, unlike vpmaddubsw, which saturates); 2 vpdpbusd by inline assembly: a builtin with a target attribute would
 * not survive PoCL's inlining; 3 tiles of AMX, with 2 for what is left of k. */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef VW
#define VW 8
#endif
#ifndef NV
#define NV 2
#endif
#ifndef MR
#define MR 4
#endif
#ifndef PRODUCT
#define PRODUCT 0
#endif
#define PANEL (VW * NV)
#define UNROLL _Pragma("unroll")
#define LANES JOIN(float, VW)
#define INTS JOIN(int, VW)

#define REAL LANES
#define MATH_WIDTH VW
#include "gemm_epilogue.cl"
#define RANGE_OF T4
#include "range.cl"
#include "store_bytes.cl"

#if PRODUCT != 0 && VW == 16
#define WIDE __attribute__((min_vector_width(512)))
#else
#define WIDE
#endif

/* Four activations of a row: bytes 0 1 2 3 of an int; or for vpmaddwd two ints of shorts, 0 2 and 1 3, as B's even and
 * odd bytes. */
#if PRODUCT == 1
#define QUAD 2
#define PACKED ushort
#if VW == 16
#define SHORTS_BYTES 64
#define MULTIPLY_PAIRS __builtin_ia32_pmaddwd512
#else
#define SHORTS_BYTES 32
#define MULTIPLY_PAIRS __builtin_ia32_pmaddwd256
#endif
typedef short shorts __attribute__((vector_size(SHORTS_BYTES)));
#define PAIRS(a, b) __builtin_astype(MULTIPLY_PAIRS(__builtin_astype(a, shorts), b), INTS)
#else
#define QUAD 1
#define PACKED uchar
#endif

#if PRODUCT == 3

#define TILES_PRODUCT "tdpbusd"
#include "amx.cl"
#define TILES_BEGIN tiles_begin(TILE_QUADS)
#define TILES_END tiles_end()

/* sums[MR][PANEL] = A[MR][4 * quads] * B[quads][PANEL][4]; at least one tile of k. */
static __attribute__((noinline)) WIDE void tile(__local const int *a, int a_row, int rows, __global const int *b,
                                                int quads, INTS *sums) {
  const int steps = quads / TILE_QUADS;
  tiles_multiply((ulong)a, a_row * (long)sizeof(int), (ulong)b, steps, TILE_QUADS, (int *)sums);
  if (steps * TILE_QUADS == quads) return;
  for (int r = 0; r < rows; r++) {
    INTS sum[NV];
    UNROLL for (int v = 0; v < NV; v++) sum[v] = sums[r * NV + v];
    for (int k = steps * TILE_QUADS; k < quads; k++) {
      const INTS factor = (INTS)(a[r * a_row + k]);
      UNROLL for (int v = 0; v < NV; v++) {
        const INTS word = JOIN(vload, VW)(k * NV + v, b);
        __asm__("vpdpbusd %2,%1,%0" : "+v"(sum[v]) : "v"(factor), "v"(word));
      }
    }
    UNROLL for (int v = 0; v < NV; v++) sums[r * NV + v] = sum[v];
  }
}

#else

#define TILES_BEGIN
#define TILES_END

/* sums[MR][PANEL] = A[MR][4 * quads] * B[quads][PANEL][4]. Not inlined, so that the sums stay in registers. */
static __attribute__((noinline)) WIDE void tile(__local const int *a, int a_row, int rows, __global const int *b,
                                                int quads, INTS *sums) {
  __local const int *row[MR];
  INTS sum[MR][NV];
  UNROLL for (int r = 0; r < MR; r++) {
    row[r] = a + min(r, rows - 1) * a_row;
    UNROLL for (int v = 0; v < NV; v++) sum[r][v] = (INTS)(0);
  }
  for (int k = 0; k < quads; k++, b += PANEL) {
#if PRODUCT == 1
    shorts even[NV], odd[NV];
    UNROLL for (int v = 0; v < NV; v++) {
      const INTS word = JOIN(vload, VW)(v, b);
      const shorts bytes = __builtin_astype(word, shorts);
      even[v] = (bytes << 8) >> 8;
      odd[v] = bytes >> 8;
    }
    UNROLL for (int r = 0; r < MR; r++) {
      const INTS a_even = (INTS)(row[r][2 * k]), a_odd = (INTS)(row[r][2 * k + 1]);
      UNROLL for (int v = 0; v < NV; v++) sum[r][v] += PAIRS(a_even, even[v]) + PAIRS(a_odd, odd[v]);
    }
#elif PRODUCT == 2
    INTS word[NV];
    UNROLL for (int v = 0; v < NV; v++) word[v] = JOIN(vload, VW)(v, b);
    UNROLL for (int r = 0; r < MR; r++) {
      const INTS factor = (INTS)(row[r][k]);
      UNROLL for (int v = 0; v < NV; v++) __asm__("vpdpbusd %2,%1,%0" : "+v"(sum[r][v]) : "v"(factor), "v"(word[v]));
    }
#else
    UNROLL for (int v = 0; v < NV; v++) {
      const INTS word = JOIN(vload, VW)(v, b);
      UNROLL for (int byte = 0; byte < 4; byte++) {
        const INTS factor = (word << (24 - 8 * byte)) >> 24;
        UNROLL for (int r = 0; r < MR; r++) sum[r][v] += factor * ((row[r][k] >> (8 * byte)) & 255);
      }
    }
#endif
  }
  UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sums[r * NV + v] = sum[r][v];
}
#endif

/* Activations as they are multiplied: 0 to 255. */
#if A_IS_FLOAT
#define SPLAT(type, width, value) ((JOIN(type, width))(value))
#define QUANTISE(width, x)                                                                                         \
  clamp(JOIN(as_int,                                                                                               \
             width)(clamp((x) / scale, SPLAT(float, width, -512.0f), SPLAT(float, width, 512.0f)) + 12582912.0f) - \
            0x4b400000 + zero,                                                                                     \
        SPLAT(int, width, 0), SPLAT(int, width, 255))
#else
#define QUANTISE(width, x) ((x) + A_SHIFT)
#endif

static WIDE void pack_row(__global const STORE(T0) *a, int k, int quads, float scale, int zero,
                          __local PACKED *packed) {
  int l = 0;
  for (; l + 8 <= k; l += 8) {
    const int8 q = QUANTISE(8, LOADV(T0, 8, a, l));
#if PRODUCT == 1
    vstore8(convert_ushort8(q.s02134657), 0, packed + l);
#else
    STORE_BYTES(packed + l, as_long(convert_uchar8(q)));
#endif
  }
  for (; l < 4 * quads; l++) {
    const int q = l < k ? QUANTISE(1, LOAD(T0, a, l)) : 0;
#if PRODUCT == 1
    packed[(l & ~3) | ((l & 1) << 1) | ((l >> 1) & 1)] = q;
#else
    packed[l] = q;
#endif
  }
}

#if !C_IS_I32
/* One vector of one row, from a tile's sums to the values of C. */
static LANES finish(INTS sum, INTS correction, LANES scale, LANES bias, int activation, float low, float high) {
  const LANES x = fma(CONVERTV(i32, f32, VW, sum - correction), scale, bias);
  return activation ? activate(activation, x, (LANES)(low), (LANES)(high)) : x;
}

static LANES load_columns(__global const float *p, int j, int n) {
  float lane[VW];
  if (j + VW <= n) return JOIN(vload, VW)(0, p + j);
  for (int l = 0; l < VW; l++) lane[l] = j + l < n ? p[j + l] : 0.0f;
  return JOIN(vload, VW)(0, lane);
}
#endif

/* Group (x, y): columns x * nc … of rows y * mc …. */
__attribute__((reqd_work_group_size(1, 1, 1))) WIDE __kernel void
gemm_int8(int m, int n, int k, __global const STORE(T0) *a, long a_offset, long a_row, __global const int *b,
          long b_offset, __global const int *column_sum, long column_sum_offset, __global const float *b_scale,
          long b_scale_offset, __global const STORE(T4) *a_scale, long a_scale_offset, __global const STORE(T5) *a_zero,
          long a_zero_offset, __global const float *bias, long bias_offset, __global STORE(T7) *c, long c_offset,
          long c_row, int activation, float low, float high, long range_count, int mc, int nc, __local PACKED *packed) {
  const int j0 = get_global_id(0) * nc, j1 = min(n, j0 + nc), i0 = get_global_id(1) * mc, i1 = min(m, i0 + mc);
  const int quads = (k + 3) / 4;
  float scale = a_scale ? LOAD(T4, a_scale, a_scale_offset) : 1.0f;
  int zero = (a_zero ? LOAD(T5, a_zero, a_zero_offset) : 0) + A_SHIFT;
  if (range_count > 0) {
    const float2 range = range_of(a_scale + a_scale_offset, range_count, 0, 1);
    scale = range_scale(range);
    zero = range_zero(range, scale);
  }
  INTS sums[MR * NV];
  for (int i = i0; i < i1; i++)
    pack_row(a + a_offset + i * a_row, k, quads, scale, zero, packed + (i - i0) * quads * 4);
  TILES_BEGIN;
  for (int j = j0; j < j1; j += PANEL) {
    __global const int *panel = b + b_offset + (long)(j / PANEL) * quads * PANEL;
    for (int i = i0; i < i1; i += MR) {
      const int rows = min(MR, i1 - i);
      tile((__local const int *)(packed + (i - i0) * quads * 4), quads * QUAD, rows, panel, quads, sums);
      for (int v = 0; v < NV; v++) {
        const int column = j + v * VW, lanes = min(VW, n - column);
        if (lanes <= 0) break;
        const INTS correction = JOIN(vload, VW)(0, column_sum + column_sum_offset + column) * zero;
#if !C_IS_I32
        const LANES factor = load_columns(b_scale + b_scale_offset, column, n) * scale;
        const LANES base = bias ? load_columns(bias + bias_offset, column, n) : (LANES)(0.0f);
#endif
        for (int r = 0; r < rows; r++) {
          __global STORE(T7) *to = c + c_offset + (i + r) * c_row + column;
#if C_IS_I32
          const INTS x = sums[r * NV + v] - correction;
          int lane[VW];
          JOIN(vstore, VW)(x, 0, lane);
#else
          const LANES x = finish(sums[r * NV + v], correction, factor, base, activation, low, high);
          float lane[VW];
          JOIN(vstore, VW)(x, 0, lane);
#endif
          if (lanes == VW)
            SAVEV(T7, VW, to, 0, x);
          else
            for (int l = 0; l < lanes; l++) SAVE(T7, to, l, lane[l]);
        }
      }
    }
  }
  TILES_END;
}
