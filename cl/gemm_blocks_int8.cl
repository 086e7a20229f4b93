/* Product of activations rounded to 8 bits with weights of 4 bits in blocks, for CPU devices.
 * SPDX-License-Identifier: Apache-2.0
 *
 * C = activation(alpha * sum over blocks of a_scale * scale * (sum of a * (b - zero)) + beta * summand + bias), B as
 * gemm_blocks.cl says, each row of A rounded a block at a time: a_scale = max |A| / 127, a = round(A / a_scale). The
 * sum of a block is exact.
 *
 * One work-item a work-group: it rounds its mc rows of A into local memory, then multiplies them by each panel of its
 * columns. An int of a holds four steps, one of B eight: the low halves of its bytes meet the first int of a, the high
 * halves the second. -DPRODUCT: 0 plain C; 1 vpmaddubsw, whose 16 bits hold eight steps of at most 2 * 15 * 127; 2
 * vpdpbusd by inline assembly: a builtin with a target attribute would not survive PoCL's inlining; 3 tiles of AMX, for
 * blocks of up to 256 steps, in whole tiles or less than one. */
#include "dtype.cl"
#include "gemm_blocks.cl"

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
#include "gemm_wide_row.cl"
#include "store_bytes.cl"

#if PRODUCT != 0 && VW == 16
#define WIDE __attribute__((min_vector_width(512)))
#else
#define WIDE
#endif

#if PRODUCT == 1
#if VW == 16
#define VECTOR_BYTES 64
#define MULTIPLY_BYTES __builtin_ia32_pmaddubsw512
#define MULTIPLY_PAIRS __builtin_ia32_pmaddwd512
#else
#define VECTOR_BYTES 32
#define MULTIPLY_BYTES __builtin_ia32_pmaddubsw256
#define MULTIPLY_PAIRS __builtin_ia32_pmaddwd256
#endif
typedef char bytes __attribute__((vector_size(VECTOR_BYTES)));
typedef short shorts __attribute__((vector_size(VECTOR_BYTES)));
#define SUM shorts
#define NO_SUM __builtin_astype((INTS)(0), shorts)
#define ADD_PRODUCT(sum, word, factor) \
  sum += __builtin_astype(MULTIPLY_BYTES(__builtin_astype(word, bytes), __builtin_astype(factor, bytes)), shorts)
#define TOTAL(sum) __builtin_astype(MULTIPLY_PAIRS(sum, __builtin_astype((INTS)(0x10001), shorts)), INTS)
#define MOST_WORDS 4 /* until the 16 bits are full */
#elif PRODUCT != 3
#define SUM INTS
#define NO_SUM (INTS)(0)
#define TOTAL(sum) (sum)
#define MOST_WORDS 1024
#if PRODUCT == 2
#define ADD_PRODUCT(sum, word, factor) __asm__("vpdpbusd %2,%1,%0" : "+v"(sum) : "v"(word), "v"(factor))
#else
#define ADD_PRODUCT(sum, word, factor)                                                                \
  sum += ((word)&255) * (((factor) << 24) >> 24) + (((word) >> 8) & 255) * (((factor) << 16) >> 24) + \
         (((word) >> 16) & 255) * (((factor) << 8) >> 24) + ((word) >> 24) * ((factor) >> 24)
#endif
#endif

/* Rows of A in local memory: ints of four steps, and for each block its scale and the sum of its integers. */
typedef struct rounded {
  __local int *quads;
  __local float *scale, *sum;
  int row, blocks; /* ints, blocks of a row */
} rounded;

static WIDE void round_row(__global const STORE(T0) *a, long a_col, int k, int block, int words, const rounded *to,
                           int r) {
  __local char *q = (__local char *)(to->quads + r * to->row);
  for (int g = 0; g < to->blocks; g++, q += words * BLOCKS_STEPS) {
    const int begin = g * block, count = min(block, k - begin);
    float most = 0.0f;
    int l = 0, sum = 0;
    if (a_col == 1) {
      float8 largest = (float8)(0.0f);
      for (; l + 8 <= count; l += 8) {
        const float8 x = fabs(LOADV(T0, 8, a, begin + l));
        largest = x > largest ? x : largest;
      }
      const float4 half_of = largest.lo > largest.hi ? largest.lo : largest.hi;
      const float2 two = half_of.lo > half_of.hi ? half_of.lo : half_of.hi;
      most = two.x > two.y ? two.x : two.y;
    }
    for (; l < count; l++) {
      const float x = fabs(LOAD(T0, a, (begin + l) * a_col));
      most = x > most ? x : most;
    }
    const float inverse = most > 0.0f ? 127.0f / most : 0.0f;
    l = 0;
    if (a_col == 1) {
      int8 sums = (int8)(0);
      for (; l + 8 <= count; l += 8) {
        const int8 x = as_int8(fma(LOADV(T0, 8, a, begin + l), (float8)(inverse), (float8)(12582912.0f))) - 0x4b400000;
        STORE_BYTES(q + l, as_long(convert_char8(x)));
        sums += x;
      }
      const int4 half_of = sums.lo + sums.hi;
      sum = half_of.x + half_of.y + half_of.z + half_of.w;
    }
    for (; l < count; l++) {
      const int x = as_int(fma(LOAD(T0, a, (begin + l) * a_col), inverse, 12582912.0f)) - 0x4b400000;
      q[l] = x;
      sum += x;
    }
    for (; l < words * BLOCKS_STEPS; l++) q[l] = 0;
    to->scale[r * to->blocks + g] = most * (1.0f / 127.0f);
    to->sum[r * to->blocks + g] = sum;
  }
}

/* What a block adds, of its exact sums: the same in each of the variants, bit for bit. */
static WIDE LANES add_block(LANES total, INTS exact, LANES middle, LANES factor, float row_sum, float row_scale) {
  const LANES x = fma(-middle, (LANES)(row_sum), CONVERTV(i32, f32, VW, exact));
  return fma(x, factor * row_scale, total);
}

#if PRODUCT == 3

#define TILES_PRODUCT "tdpbsud"
#include "amx.cl"
#define TILES_BEGIN tiles_begin(min(2 * words, TILE_QUADS))
#define TILES_END tiles_end()
#define MOST_WORDS 32

/* sums[MR][PANEL] of one panel. The values of a block are spread to bytes once for all rows. */
static __attribute__((noinline)) WIDE void tile(const rounded *a, int first, int rows, __global const int *b, int words,
                                                __global const STORE(T5) *scale, __global const STORE(T6) *zero,
                                                float zero_shift, LANES *sums) {
  INTS spread[2 * MOST_WORDS * NV], exact[MR * NV]; /* as vectors: vstore in parts would stall the tiles' loads */
  const int quads = min(2 * words, TILE_QUADS), steps = 2 * words / quads, blocks = a->blocks;
  __local const float *row_scale = a->scale, *row_sum = a->sum;
  for (int g = 0; g < blocks; g++, scale += PANEL) {
    LANES factor[NV], middle[NV];
    UNROLL for (int v = 0; v < NV; v++) {
      factor[v] = LOADV(T5, VW, scale, v * VW);
      middle[v] = (LANES)(zero_shift);
      if (zero) middle[v] += CONVERTV(T6, f32, VW, LOADV(T6, VW, zero, g * PANEL + v * VW));
    }
    for (int w = 0; w < words; w++, b += PANEL) {
      UNROLL for (int v = 0; v < NV; v++) {
        const INTS word = JOIN(vload, VW)(v, b);
        spread[2 * w * NV + v] = word & 0x0f0f0f0f;
        spread[(2 * w + 1) * NV + v] = (word >> 4) & 0x0f0f0f0f;
      }
    }
    tiles_multiply((ulong)(a->quads + first * a->row + g * 2 * words), a->row * (long)sizeof(int), (ulong)spread, steps,
                   quads, (int *)exact);
    int at = first * blocks + g;
    for (int r = 0; r < rows; r++, at += blocks) {
      UNROLL for (int v = 0; v < NV; v++) {
        const LANES before = g == 0 ? (LANES)(0.0f) : sums[r * NV + v];
        sums[r * NV + v] = add_block(before, exact[r * NV + v], middle[v], factor[v], row_sum[at], row_scale[at]);
      }
    }
  }
}

#else

#define TILES_BEGIN
#define TILES_END

/* sums[MR][PANEL] of one panel. Not inlined, so that the sums of a block stay in registers. */
static __attribute__((noinline)) WIDE void tile(const rounded *a, int first, int rows, __global const int *b, int words,
                                                __global const STORE(T5) *scale, __global const STORE(T6) *zero,
                                                float zero_shift, LANES *sums) {
  __local const int *row[MR];
  __local const float *row_scale[MR], *row_sum[MR];
  LANES total[MR][NV];
  UNROLL for (int r = 0; r < MR; r++) {
    const int i = first + min(r, rows - 1);
    row[r] = a->quads + i * a->row;
    row_scale[r] = a->scale + i * a->blocks;
    row_sum[r] = a->sum + i * a->blocks;
    UNROLL for (int v = 0; v < NV; v++) total[r][v] = (LANES)(0.0f);
  }
  int at = 0;
  for (int g = 0; g < a->blocks; g++, scale += PANEL) {
    LANES factor[NV], middle[NV];
    UNROLL for (int v = 0; v < NV; v++) {
      factor[v] = LOADV(T5, VW, scale, v * VW);
      middle[v] = (LANES)(zero_shift);
      if (zero) middle[v] += CONVERTV(T6, f32, VW, LOADV(T6, VW, zero, g * PANEL + v * VW));
    }
    INTS exact[MR][NV];
    for (int w0 = 0; w0 < words; w0 += MOST_WORDS) {
      const int end = min(words - w0, MOST_WORDS);
      SUM sum[MR][NV];
      UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sum[r][v] = NO_SUM;
      for (int w = 0; w < end; w++, at += 2, b += PANEL) {
        INTS low[NV], high[NV];
        UNROLL for (int v = 0; v < NV; v++) {
          const INTS word = JOIN(vload, VW)(v, b);
          low[v] = word & 0x0f0f0f0f;
          high[v] = (word >> 4) & 0x0f0f0f0f;
        }
        UNROLL for (int r = 0; r < MR; r++) {
          const INTS first_quad = (INTS)(row[r][at]), second = (INTS)(row[r][at + 1]);
          UNROLL for (int v = 0; v < NV; v++) {
            ADD_PRODUCT(sum[r][v], low[v], first_quad);
            ADD_PRODUCT(sum[r][v], high[v], second);
          }
        }
      }
      UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) exact[r][v] =
          w0 == 0 ? TOTAL(sum[r][v]) : exact[r][v] + TOTAL(sum[r][v]);
    }
    UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) {
      total[r][v] = add_block(total[r][v], exact[r][v], middle[v], factor[v], row_sum[r][g], row_scale[r][g]);
    }
  }
  UNROLL for (int r = 0; r < MR; r++) UNROLL for (int v = 0; v < NV; v++) sums[r * NV + v] = total[r][v];
}

#endif

/* Group (x, y, z): columns x * nc … of rows y * mc … of batch z. */
__attribute__((reqd_work_group_size(1, 1, 1))) WIDE __kernel void
gemm_blocks_int8(int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0,
                 long a_batch1, long a_row, long a_col, __global const STORE(T1) *b, long b_offset, long b_batch0,
                 long b_batch1, long b_row, long b_col, long b_panel, __global const STORE(T2) *bias, long bias_offset,
                 long bias_row, long bias_col, __global const STORE(T3) *summand, long summand_offset,
                 __global STORE(T3) *c, long c_offset, long c_batch0, long c_batch1, long c_row, float alpha,
                 float beta, float low, float high, int activation, int mc, int nc,
                 __local int *quads BLOCKS_PARAMETERS) {
  const long batch0 = get_global_id(2) / batches, batch1 = get_global_id(2) % batches;
  const int j0 = get_global_id(0) * nc, j1 = min(n, j0 + nc), i0 = get_global_id(1) * mc, i1 = min(m, i0 + mc);
  const int blocks = (k + block - 1) / block, words = (block + BLOCKS_STEPS - 1) / BLOCKS_STEPS;
  const epilogue e = {alpha, beta, low, high, activation, 1, 1, bias_row, bias_col};
  rounded rows_of_a = {.quads = quads, .row = 2 * blocks * words, .blocks = blocks};
  rows_of_a.scale = (__local float *)(quads + mc * rows_of_a.row);
  rows_of_a.sum = rows_of_a.scale + mc * blocks;
  LANES sums[MR * NV];
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1;
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1;
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1;
  for (int i = i0; i < i1; i++) round_row(a + i * a_row, a_col, k, block, words, &rows_of_a, i - i0);
  TILES_BEGIN;
  for (int j = j0; j < j1; j += PANEL) {
    const long panel = j / PANEL, parameters = panel * blocks * PANEL;
    for (int i = i0; i < i1; i += MR) {
      const int rows = min(MR, i1 - i);
      tile(&rows_of_a, i - i0, rows, b + panel * b_panel, words, scale + scale_offset + parameters,
           zero ? zero + zero_offset + parameters : 0, zero_shift, sums);
      for (int r = 0; r < rows; r++)
        finish_row(&e, (float *)(sums + r * NV), 0, min(j1 - j, PANEL), summand + (i + r) * c_row + j,
                   c + (i + r) * c_row + j, bias ? bias + bias_offset + (i + r) * bias_row + j * bias_col : 0, 0);
    }
  }
  TILES_END;
}
