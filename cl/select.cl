/* The k-th largest element by its key's digits, from the top: a histogram of one digit among the keys whose higher
 * digits are known, then the digit in which the k-th lies. Exact, in a fixed number of passes.
 * SPDX-License-Identifier: Apache-2.0
 *
 * state: 0 the known digits, 1 the rank that is left (from 1), 2 how many keys are larger. */
#include "select_key.cl"

#ifndef GROUP
#define GROUP 1
#endif
#define BINS 2048

#if NARROW

/* totals: the histogram of all elements. One item: it is one scan of BINS numbers. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
select_narrow(__global const long *totals, long totals_from, __global const long *state, long state_from,
              __global long *next, long next_from, __global STORE(T3) *threshold, long threshold_from,
              __global long *counts, long counts_from, int bits) {
  totals += totals_from;
  state += state_from;
  next += next_from;
  long rank = state[1], larger = state[2];
  int bin = (1 << bits) - 1;
  while (bin > 0 && rank > totals[bin]) {
    rank -= totals[bin];
    larger += totals[bin];
    bin--;
  }
  ulong digits = (ulong)state[0] << bits | (ulong)bin;
  next[0] = (long)digits;
  next[1] = rank;
  next[2] = larger;
  next[3] = 0;
#if FINAL
  SAVE(T3, threshold, threshold_from, VALUE_OF(T3, (KEY)digits));
  counts[counts_from] = larger;
  counts[counts_from + 1] = rank;
#endif
}

#else

/* counts[block][bin] of a block of elements. A group a block; a group of one is an item that counts alone. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
select_histogram(__global const STORE(T0) *x, long x_from, __global const long *state, long state_from,
                 __global int *counts, long counts_from, long length, int block, int shift, int bits) {
  __local int table[BINS];
  int item = get_local_id(0);
  for (int i = item; i < BINS; i += GROUP) table[i] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  ulong known = (ulong)state[state_from];
  long first = (long)get_group_id(0) * block;
  int n = (int)min((long)block, length - first);
  x += x_from + first;
  for (int i = item; i < n; i += GROUP) {
    ulong key = KEY_OF(T0, LOAD(T0, x, i)) >> shift;
    if ((key >> bits) != known) continue;
    int bin = (int)key & ((1 << bits) - 1);
#if GROUP == 1
    table[bin]++;
#else
    atomic_inc(&table[bin]);
#endif
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  counts += counts_from + (long)get_group_id(0) * BINS;
  for (int i = item; i < BINS; i += GROUP) counts[i] = table[i];
}
#endif
