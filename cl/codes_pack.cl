/* Codes of BITS bits to and from packed form, low bits first. SPDX-License-Identifier: Apache-2.0
 *
 * A unit is eight codes in BITS bytes (WORDS=0: packed is u8) or floor(32 / BITS) codes in a word (WORDS=1: i32). Rows
 * of `length` codes and of `packed_length` bytes or words; what a row has more than codes is zero. An item takes
 * `count` units of one row after the other. i8 codes travel as code + 2^(BITS-1). T0 = codes, T1 = packed. */
#include "dtype.cl"

#ifndef BITS
#define BITS 4
#endif
#ifndef WORDS
#define WORDS 0
#endif
#ifndef GROUP
#define GROUP 1
#endif
#if WORDS
#define CODES (32 / BITS)
#define PIECES 1
#define PIECE_BITS 32
#else
#define CODES 8
#define PIECES BITS
#define PIECE_BITS 8
#endif
#define HALF_i8 (1 << (BITS - 1))
#define HALF_u8 0
#define HALF PASTE(HALF_, T0)
#define MASK ((1 << BITS) - 1)

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
codes_pack(long units, int row_units, int length, int packed_length, __global const STORE(T0) *codes, long codes_from,
           __global STORE(T1) *packed, long packed_from, int count) {
  const long first = (long)get_global_id(0) * count, last = min(first + count, units);
  for (long unit = first; unit < last; unit++) {
    const long row = unit / row_units;
    const int u = (int)(unit - row * row_units);
    __global const STORE(T0) *from = codes + codes_from + row * length;
    __global STORE(T1) *to = packed + packed_from + row * packed_length;
    ulong bits = 0;
    for (int i = 0; i < CODES; i++)
      if (u * CODES + i < length) bits |= (ulong)((LOAD(T0, from, u * CODES + i) + HALF) & MASK) << (i * BITS);
    for (int i = 0; i < PIECES; i++)
      if (u * PIECES + i < packed_length) to[u * PIECES + i] = (STORE(T1))(bits >> (i * PIECE_BITS));
  }
}

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
codes_unpack(long units, int row_units, int length, int packed_length, __global STORE(T0) *codes, long codes_from,
             __global const STORE(T1) *packed, long packed_from, int count) {
  const long first = (long)get_global_id(0) * count, last = min(first + count, units);
  for (long unit = first; unit < last; unit++) {
    const long row = unit / row_units;
    const int u = (int)(unit - row * row_units);
    __global STORE(T0) *to = codes + codes_from + row * length;
    __global const STORE(T1) *from = packed + packed_from + row * packed_length;
    ulong bits = 0;
    for (int i = 0; i < PIECES; i++)
      if (u * PIECES + i < packed_length)
        bits |= (ulong)(WORDS ? (uint)from[u * PIECES + i] : from[u * PIECES + i] & 255u) << (i * PIECE_BITS);
    for (int i = 0; i < CODES; i++)
      if (u * CODES + i < length) SAVE(T0, to, u * CODES + i, (int)(bits >> (i * BITS) & MASK) - HALF);
  }
}
