/* Pointwise convolution for CPU devices, a product in the manner of a gemm; channels of x and y in blocks or not.
 * SPDX-License-Identifier: Apache-2.0
 *
 * One work-item a work-group copies what its tiles of NP pixels see of x into local memory, one tile behind the other:
 *
 *   x [block of c][pixel][LANES of c], or [c][pixel]  ->  packed [tile][block of c][NP][LANES of c]
 *
 * so that a tile reads one stream instead of a page a block. For each set of NO blocks of o, KC channels of the weights
 * stay in the first level cache while all tiles pass; sums wait in local memory for the next KC. An element's bits
 * depend on the order of c alone (Goto & van de Geijn 2008). The last tile overlaps the one before it and stores only
 * what is new. */
#ifndef LANES
#define LANES 8
#endif
#ifndef NO
#define NO 2
#endif
#ifndef NP
#define NP 6
#endif
#ifndef KC
#define KC 256
#endif
#define REAL_WIDTH LANES
#include "convolve.cl"

#define UNROLL _Pragma("unroll")
#define KEPT __local
#include "convolve_finish.cl"

#define TILE (NP * LANES)  /* elements of a block of c */
#define STEPS (KC / LANES) /* blocks of c at a time */

/* sums [NO][NP][LANES] from zero if `first`, plus `count` blocks of c; blocks past `nblocks` repeat the last. Not
 * inlined: alone, its sums stay in registers. */
static __attribute__((noinline)) void multiply(__local const SUM *packed, __global const STORE(T1) *w, long w_block,
                                               int nblocks, int count, int first, __local SUM *sums) {
  SUMS sum[NO][NP];
  long block[NO];
  UNROLL for (int o = 0; o < NO; o++) {
    block[o] = min(o, nblocks - 1) * w_block;
    UNROLL for (int p = 0; p < NP; p++) sum[o][p] = first ? (SUMS)(0) : LOADV(TS, LANES, sums, (o * NP + p) * LANES);
  }
  for (int i = 0; i < count; i++, packed += TILE, w += LANES * LANES)
    for (int c = 0; c < LANES; c++) {
      SUMS factor[NO];
      UNROLL for (int o = 0; o < NO; o++) factor[o] = LOADV(T1, LANES, w, block[o] + c * LANES);
      UNROLL for (int p = 0; p < NP; p++) {
        const SUMS value = (SUMS)(packed[p * LANES + c]);
        UNROLL for (int o = 0; o < NO; o++) sum[o][p] = MULTIPLY_ADD(value, factor[o], sum[o][p]);
      }
    }
  UNROLL for (int o = 0; o < NO; o++) UNROLL for (int p = 0; p < NP; p++)
      SAVEV(TS, LANES, sums, (o * NP + p) * LANES, sum[o][p]);
}

#if !Y_IS_BLOCKED
/* sums [NP][LANES] of one block of channels: what is to be stored of them, without a residual. */
static void settle(__local SUM *sums, SUMS base, int activation, ENDS ends) {
  const SUMS least = LEAST;
  UNROLL for (int p = 0; p < NP; p++) {
    const SUMS value = LOADV(TS, LANES, sums, p * LANES) + base;
    SAVEV(TS, LANES, sums, p * LANES, IS_SIMPLE ? SIMPLE_EPILOGUE(value, least) : EPILOGUE(value));
  }
}

/* Stores pixels [from, to) of one channel, whose sums lie in tiles `step` apart. Row by row, as the pixels of a channel
 * share a page and those of a tile do not: processors know few pages that they store to. */
static void store_row(const __local SUM *sums, int step, int from, int to, __global STORE(T4) *y) {
  int at = from;
  for (; at + NP <= to; at += NP, sums += step)
    UNROLL for (int p = 0; p < NP; p++) SAVE(T4, y, at + p, sums[p * LANES]);
  for (int p = NP - (to - at); p < NP; p++) SAVE(T4, y, to - NP + p, sums[p * LANES]);
}
#endif

/* Group (i, j, n): `chunk` tiles from i * chunk, `span` sets of NO blocks of o from j * span, batch n. kept: the packed
 * tiles, then sums of each. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void convolve_packed(CONVOLVE_ARGUMENTS, int chunk, int span,
                                                                             __local SUM *kept) {
  CONVOLVE_BEGIN;
  const int n = get_global_id(2), width = y_dims.z, parts = channels / LANES, blocks = (outputs + LANES - 1) / LANES;
  const int from = get_global_id(0) * chunk, count = min(chunk, (width + NP - 1) / NP - from);
  const int first_set = get_global_id(1) * span, last_set = min(first_set + span, (blocks + NO - 1) / NO);
  const long w_block = (long)parts * LANES * LANES, tile = (long)parts * TILE;
  __local SUM *sums = kept + chunk * tile;
  const int last = min((from + count) * NP, width);
#if X_IS_BLOCKED
  for (int b = 0; b < parts; b++)
    for (int t = 0; t < count; t++) {
      __global const STORE(T0) *in =
          x + n * x_steps.s0 + b * x_steps.s1 + (long)min((from + t) * NP, width - NP) * LANES;
      UNROLL for (int p = 0; p < NP; p++)
          SAVEV(TS, LANES, kept, t * tile + b * TILE + p * LANES, LOADV(T0, LANES, in, p * LANES));
    }
#else
  for (int b = 0; b < parts; b++)
    for (int t = 0; t < count; t++) {
      __global const STORE(T0) *in =
          x + n * x_steps.s0 + b * LANES * x_steps.s1 + (long)min((from + t) * NP, width - NP);
      UNROLL for (int l = 0; l < LANES; l++) UNROLL for (int p = 0; p < NP; p++)
          kept[t * tile + b * TILE + p * LANES + l] = LOAD(T0, in, l * x_steps.s1 + p);
    }
#endif
  for (int set = first_set; set < last_set; set++) {
    const int block0 = set * NO, nblocks = min(NO, blocks - block0);
    for (int part = 0; part < parts; part += STEPS)
      for (int t = 0; t < count; t++) {
        __local SUM *sum = sums + t * NO * TILE;
        multiply(kept + t * tile + part * TILE, w + block0 * w_block + part * LANES * LANES, w_block, nblocks,
                 min(STEPS, parts - part), part == 0, sum);
        if (part + STEPS < parts) continue;
        const int at = (from + t) * NP, px = min(at, width - NP);
        for (int b = 0; b < nblocks; b++) {
          const int o = (block0 + b) * LANES, lanes = min(LANES, outputs - o);
          const long to = Y_AT(n, (long)o) + px * y_steps.s5;
#if !Y_IS_BLOCKED
          if (!residual) {
            settle(sum + b * TILE, bias_of(bias ? bias + o : 0, lanes), activation, ends);
            continue;
          }
#endif
          finish(sum + b * TILE, at - px, NP, lanes, bias ? bias + o : 0, residual ? residual + to : 0, y + to,
                 y_steps.s1, y_steps.s5, activation, ends);
        }
      }
#if !Y_IS_BLOCKED
    for (int o = 0; !residual && o < min(NO * LANES, outputs - block0 * LANES); o++)
      store_row(sums + o / LANES * TILE + o % LANES, NO * TILE, from * NP, last, y + Y_AT(n, block0 * (long)LANES + o));
#endif
  }
}
