/* N:M: of each M neighbours the n largest are kept. SPDX-License-Identifier: Apache-2.0
 *
 * x is [sets][M][inner]; out is a mask (bool), or with -DVALUES=1 x's own bits where it is kept and else zero. An
 * element is kept if fewer than n of its set are larger, or equal with a lower index. CPU-shaped: WIDTH columns at a
 * time (inner > 1), or two sets of four in one vector of eight, compared with themselves rotated (M = 4, inner = 1).
 * GPU-shaped: WIDTH 1, an item a set and column. */
#include "select_key.cl"

#ifndef M
#define M 4
#endif
#ifndef VALUES
#define VALUES 0
#endif
#ifndef GROUP
#define GROUP 1
#endif
/* Integers that carry an element's bits. */
#define BITS_f32 i32
#define BITS_f16 i16
#define BITS_bf16 i16
#define BITS PASTE(BITS_, T0)
#define INTS(n) JOIN(int, n)

/* Keys as signed numbers of the same order: vectors of those are compared in one step. */
#if MAGNITUDE
#define SIGNED(n, key) JOIN(as_int, n)(key)
#else
#define SIGNED(n, key) JOIN(as_int, n)((key) ^ SIGN_BIT)
#endif
/* -1 where a comparison holds, which of scalars is 1. */
#define HOLDS(n, comparison) ((comparison) ? (INTS(n))(-1) : (INTS(n))(0))
#define LOAD_ORDER(n, at) SIGNED(n, KEYV_OF(T0, n, LOADV(T0, n, x, at)))

#if VALUES
#define OUT STORE(BITS)
#define KEPT_BITS(n, kept, at) (LOADV(BITS, n, (__global const OUT *)x, at) & (kept))
#define STORE_KEPT(n, kept, at) SAVEV(BITS, n, out, at, KEPT_BITS(n, kept, at))
#else
#define OUT uchar
#define STORE_KEPT(n, kept, at) SAVEV(bool, n, out, at, (kept)&1)
#endif

/* Longer sets stay loops: unrolled they take seconds to compile. */
#if M <= 4
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif

/* One set in n columns; `from` is that of its first element. */
#define PRUNE(n, from, inner)                                                                 \
  do {                                                                                        \
    INTS(n) order[M];                                                                         \
    UNROLL for (int own = 0; own < M; own++) order[own] = LOAD_ORDER(n, (from) + own * (inner)); \
    UNROLL for (int own = 0; own < M; own++) {                                                \
      INTS(n) better = 0;                                                                     \
      UNROLL for (int other = 0; other < M; other++) {                                        \
        const INTS(n) first = other < own ? (INTS(n))(-1) : (INTS(n))(0);                     \
        better += HOLDS(n, order[other] > order[own]) | (HOLDS(n, order[other] == order[own]) & first); \
      }                                                                                       \
      const INTS(n) kept = HOLDS(n, better > -keep);                                          \
      STORE_KEPT(n, kept, (from) + own * (inner));                                            \
    }                                                                                         \
  } while (0)

/* Sets first … last of columns begin … end. */
__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
prune_n_of_m(long sets, long inner, __global const STORE(T0) * x, long x_from, __global OUT *out, long out_from,
             int keep, int stream, int height, int columns) {
  x += x_from;
  out += out_from;
#if FLAT
  /* inner is 1: `columns` sets in a row */
#if GROUP > 1
  const long set = get_global_id(0);
  if (set < sets) PRUNE(1, set * M, 1);
#else
  const long first = (long)get_group_id(0) * columns, last = min(first + columns, sets);
  long set = first;
#if M == 4 && WIDTH == 8
  const int8 after1 = (int8)(-1, -1, -1, 0, -1, -1, -1, 0), after2 = (int8)(-1, -1, 0, 0, -1, -1, 0, 0),
             after3 = (int8)(-1, 0, 0, 0, -1, 0, 0, 0);
  for (; set + 2 <= last; set += 2) {
    const long at = set * M;
    const int8 order = LOAD_ORDER(8, at), r1 = order.s12305674, r2 = order.s23016745, r3 = order.s30127456;
    const int8 beaten = ((order > r1) | ((order == r1) & after1)) + ((order > r2) | ((order == r2) & after2)) +
                        ((order > r3) | ((order == r3) & after3));
    const int8 kept = beaten <= (int8)(keep - M); /* a comparison that holds is -1 */
#if VALUES
    if (stream) {
      STREAMV(BITS, 8, out, at, KEPT_BITS(8, kept, at));
      continue;
    }
#endif
    STORE_KEPT(8, kept, at);
  }
#endif
  for (; set < last; set++) PRUNE(1, set * M, 1);
#endif
#else
  const long first = (long)get_group_id(1) * height, last = min(first + height, sets);
  const long begin = (long)get_group_id(0) * columns, end = min(begin + columns, inner);
  for (long set = first; set < last; set++) {
    const long at = set * M * inner;
    long i = begin + get_local_id(0);
#if GROUP == 1 && WIDTH > 1
    for (; i + WIDTH <= end; i += WIDTH) PRUNE(WIDTH, at + i, inner);
#endif
    for (; i < end; i += GROUP) PRUNE(1, at + i, inner);
  }
#endif
}
