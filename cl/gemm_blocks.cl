/* B of a matrix product as it lies where it is quantised in blocks: what all its readers know.
 * SPDX-License-Identifier: Apache-2.0
 *
 * -D B_BITS: 0, B is no such; 4 or 8. B[panel][word][column] has ints of 32 / B_BITS steps of k:
 *
 *   8 bits: step u is byte u, signed        4 bits: step u < 4 is the low half of byte u, step 4 + u its high half
 *
 * A block of `block` steps begins with a word of its own and has a scale and a zero point for each column,
 * scale[panel][block][column]:   b = (value - (zero + zero_shift)) * scale   (zero NULL: zero_shift alone)
 *
 * Included before what is declared with it. T5 and T6 are the dtypes of scale and zero. -D NM_M: B is N:M sparse
 * instead, see gemm_nm.cl. B_IS_PACKED: it is one or the other. */
#ifndef GEMM_BLOCKS_CL
#define GEMM_BLOCKS_CL

#ifndef B_BITS
#define B_BITS 0
#endif

#ifndef NM_M
#define NM_M 0
#endif
#define B_IS_PACKED (B_BITS || NM_M)

#if NM_M
#include "gemm_nm.cl"
#elif B_BITS
#define BLOCKS_STEPS (32 / B_BITS)
/* The last parameters of a kernel. */
#define BLOCKS_PARAMETERS                                                                                            \
  , __global const STORE(T5) *scale, long scale_offset, __global const STORE(T6) *zero, long zero_offset, int block, \
      float zero_shift

/* Step u of a word, or of a vector of words: an integer. */
#if B_BITS == 4
#define BLOCKS_STEP(word, u) (((word) >> ((u) < 4 ? 8 * (u) : 8 * (u)-28)) & 15)
#else
#define BLOCKS_STEP(word, u) (((word) << (24 - 8 * (u))) >> 24)
#endif

static float blocks_element(__global const int *b, long b_panel, int panel, __global const STORE(T5) *scale,
                            __global const STORE(T6) *zero, float zero_shift, int block, int k, int l, int j) {
  const int blocks = (k + block - 1) / block, words = (block + BLOCKS_STEPS - 1) / BLOCKS_STEPS;
  const int g = l / block, r = l % block, p = j / panel, column = j % panel;
  const int word = b[p * b_panel + (long)(g * words + r / BLOCKS_STEPS) * panel + column];
  const long at = ((long)p * blocks + g) * panel + column;
  const float middle = (zero ? (float)LOAD(T6, zero, at) : 0.0f) + zero_shift;
  const int u = r % BLOCKS_STEPS;
  return ((float)BLOCKS_STEP(word, u) - middle) * LOAD(T5, scale, at);
}
/* Element (l, j) of B in a kernel that has the parameters of the plain ones. */
#define BLOCKS_ELEMENT(l, j)                                                                                       \
  blocks_element(b, b_panel, panel, scale + scale_offset, zero ? zero + zero_offset : 0, zero_shift, block, k, (l), \
                 (j))
#define STORED_STEPS k
#define STORED_ELEMENT(t, j, l) (*(l) = (t), BLOCKS_ELEMENT(t, j))
#else
#define BLOCKS_PARAMETERS
#endif

#endif
