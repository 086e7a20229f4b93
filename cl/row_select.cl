/* The k-th largest element of each row, or the mask of its k largest: digits of eight bits, from the top.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Rows are contiguous, of `length` elements; each is cut into groups of `part` elements, the last of which may be
 * shorter and has its own k. A work-group a group of elements. MASK: out is a mask (bool), of equal elements the first
 * ones are kept; else out is one value (f32) a group. */
#include "select_key.cl"

#ifndef GROUP
#define GROUP 1
#endif
#include "rank.cl"
#define DIGIT 8
#define BINS (1 << DIGIT)

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
row_select(long length, int parts, int part, __global const STORE(T0) *x, long x_from, __global STORE(T1) *out,
           long out_from, int k, int k_last) {
  __local int table[BINS];
  __local int left;
  __local KEY digits;
  const long row = get_group_id(0) / parts;
  const int p = get_group_id(0) % parts, item = get_local_id(0);
  const int n = (int)min((long)part, length - (long)p * part), kept = p == parts - 1 ? k_last : k;
  x += x_from + row * length + (long)p * part;
  if (item == 0) {
    left = kept;
    digits = 0;
  }
  for (int shift = 32 - DIGIT; shift >= 0; shift -= DIGIT) {
    for (int b = item; b < BINS; b += GROUP) table[b] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    const KEY known = digits;
    for (int i = item; i < n; i += GROUP) {
      const KEY key = KEY_OF(T0, LOAD(T0, x, i)) >> shift;
      if (shift < 32 - DIGIT && key >> DIGIT != known) continue;
#if GROUP == 1
      table[key & (BINS - 1)]++;
#else
      atomic_inc(&table[key & (BINS - 1)]);
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0) {
      int bin = BINS - 1, rank = left;
      while (bin > 0 && rank > table[bin]) rank -= table[bin--];
      left = rank;
      digits = known << DIGIT | (KEY)bin;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
#if MASK
  const KEY limit = digits;
  const int share = left;
  int taken = 0;
  out += out_from + row * length + (long)p * part;
  __local uint word[RANK_WORDS];
  for (int i = item; i < n + item; i += GROUP) {
    const KEY key = i < n ? KEY_OF(T0, LOAD(T0, x, i)) : 0;
    const int tied = i < n && key == limit;
    int ties;
    const int rank = rank_of(tied, word, &ties);
    if (i < n) out[i] = kept > 0 && (key > limit || (tied && rank < share - taken));
    taken += ties;
  }
#else
  if (item == 0) SAVE(T1, out, out_from + get_group_id(0), VALUE_OF(T0, digits));
#endif
}
