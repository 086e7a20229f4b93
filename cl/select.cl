/* The k-th largest element by its key's digits, from the top: a histogram of one digit among the keys whose higher
 * digits are known, then the digit in which the k-th lies. Exact, in a fixed number of passes.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Of a long tensor one pass suffices nearly always: two elements of a sample enclose the k-th, and the pass
 * (select_bracket) counts what lies beyond them and lists what lies between. select_decide then says where the digits
 * are looked for: in all elements if the bracket missed, in the lists, or nowhere if the k-th is one of the two.
 *
 *           larger <----- keys -----> smaller
 *     beyond  | high |  between: listed  | low |
 *
 * state: 0 the known digits, 1 the rank that is left (from 1), 2 how many keys are larger, 3 the source, 4 the key if
 * it is known. tallies of a block: beyond, equal to high, between, equal to low, lists that were too short. */
#include "select_key.cl"

#ifndef GROUP
#define GROUP 1
#endif
#define BINS 2048
#define TALLIES 5
#define FROM_ALL 0
#define FROM_LISTS 1
#define KNOWN 2

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
  bool known = state[3] == KNOWN;
  int bin = (1 << bits) - 1;
  while (!known && bin > 0 && rank > totals[bin]) {
    rank -= totals[bin];
    larger += totals[bin];
    bin--;
  }
  ulong digits = (ulong)state[0] << bits | (ulong)bin;
  next[0] = (long)digits;
  next[1] = rank;
  next[2] = larger;
  next[3] = state[3];
  next[4] = state[4];
#if FINAL
  SAVE(T3, threshold, threshold_from, VALUE_OF(T3, (KEY)(known ? (ulong)state[4] : digits)));
  counts[counts_from] = larger;
  counts[counts_from + 1] = rank;
#endif
}

#elif DECIDE

/* totals: the tallies of all blocks; bounds: high and low. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
select_decide(__global const long *totals, long totals_from, __global const long *state, long state_from,
              __global long *next, long next_from, __global const STORE(T3) *bounds, long bounds_from, int open) {
  totals += totals_from;
  long rank = state[state_from + 1], larger = 0, source = KNOWN;
  KEY key = open & 1 ? ~(KEY)0 : KEY_OF(T3, LOAD(T3, bounds, bounds_from));
  long before_high = totals[0], before_lists = before_high + totals[1], before_low = before_lists + totals[2];
  if (rank <= before_high || rank > before_low + totals[3])
    source = FROM_ALL;
  else if (rank <= before_lists)
    larger = before_high;
  else if (rank <= before_low) {
    source = totals[4] > 0 ? FROM_ALL : FROM_LISTS;
    larger = totals[4] > 0 ? 0 : before_lists;
  } else {
    key = open & 2 ? 0 : KEY_OF(T3, LOAD(T3, bounds, bounds_from + 1));
    larger = before_low;
  }
  next += next_from;
  next[0] = 0;
  next[1] = rank - larger;
  next[2] = larger;
  next[3] = source;
  next[4] = source == KNOWN ? (long)key : 0;
}

#elif BRACKET

#if WIDE
#define COUNT long
#define LIST ulong
#else
#define COUNT int
#define LIST uint
#endif

#if GROUP == 1 && WIDTH > 1
#define UNROLLED 4 /* vectors that are looked at before the first branch */
/* What keys are compared by. Magnitudes of floats: signed numbers, whose vectors are compared in one step, and all NaN
 * as the number after infinity. */
#if MAGNITUDE && !SMALLEST && !WIDE
#define RANK int
#define RANK_OF_KEY(key) \
  ((key) > NAN_KEY ? INT_MAX : (int)min(key, INFINITE_BITS + 1)) /* over all keys: none equals it */
#define RANKS_OF(v) min(JOIN(as_int, WIDTH)(v)&0x7fffffff, (JOIN(int, WIDTH))(INFINITE_BITS + 1))
#else
#define RANK KEY
#define RANK_OF_KEY(key) (key)
#define RANKS_OF(v) KEYV_OF(T0, WIDTH, v)
#endif
#endif

/* A group a block, as below. bounds: high and low; open: 1 nothing is beyond high, 2 nothing is below low. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
select_bracket(__global const STORE(T0) *x, long x_from, __global const STORE(T1) *bounds, long bounds_from,
               __global LIST *list, long list_from, __global int *tallies, long tallies_from, long length, int block,
               int room, int open) {
  long first = (long)get_group_id(0) * block;
  int item = get_local_id(0), n = (int)min((long)block, length - first), i = 0;
  KEY high = open & 1 ? ~(KEY)0 : KEY_OF(T1, LOAD(T1, bounds, bounds_from));
  KEY low = open & 2 ? 0 : KEY_OF(T1, LOAD(T1, bounds, bounds_from + 1));
  int beyond = 0, at_high = 0, at_low = 0;
  x += x_from + first;
  list += list_from + (long)get_group_id(0) * room;
  tallies += tallies_from + (long)get_group_id(0) * TALLIES;
#if GROUP == 1
  int listed = 0;
#if WIDTH > 1
  JOIN(COUNT, WIDTH) beyonds = 0, at_highs = 0, at_lows = 0; /* a comparison that holds is -1 */
  const RANK top = RANK_OF_KEY(high), bottom = RANK_OF_KEY(low);
  for (; i + UNROLLED * WIDTH <= n; i += UNROLLED * WIDTH) {
    JOIN(COUNT, WIDTH) inside[UNROLLED], any = 0;
#pragma unroll
    for (int u = 0; u < UNROLLED; u++) {
      const JOIN(RANK, WIDTH) rank = RANKS_OF(LOADV(T0, WIDTH, x, i + u * WIDTH));
      beyonds -= rank > top;
      at_highs -= rank == top;
      at_lows -= rank == bottom;
      inside[u] = (rank > bottom) & (rank < top);
      any |= inside[u];
    }
    if (!ANY(WIDTH, any)) continue;
#pragma unroll
    for (int u = 0; u < UNROLLED; u++) {
      if (!ANY(WIDTH, inside[u])) continue;
      for (int e = i + u * WIDTH; e < i + (u + 1) * WIDTH; e++) {
        const KEY key = KEY_OF(T0, LOAD(T0, x, e));
        list[min(listed, room - 1)] = key;
        listed += (key > low) & (key < high);
      }
    }
  }
  COUNT parts[3][WIDTH];
  PASTE(vstore, WIDTH)(beyonds, 0, parts[0]);
  PASTE(vstore, WIDTH)(at_highs, 0, parts[1]);
  PASTE(vstore, WIDTH)(at_lows, 0, parts[2]);
  for (int e = 0; e < WIDTH; e++) {
    beyond += (int)parts[0][e];
    at_high += (int)parts[1][e];
    at_low += (int)parts[2][e];
  }
#endif
  for (; i < n; i++) {
    KEY key = KEY_OF(T0, LOAD(T0, x, i));
    beyond += key > high;
    at_high += key == high;
    at_low += key == low;
    list[min(listed, room - 1)] = key;
    listed += (key > low) & (key < high);
  }
  int counts[4] = {beyond, at_high, listed, at_low};
#else
  __local int counts[4];
  if (item < 4) counts[item] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  for (i = item; i < n; i += GROUP) {
    KEY key = KEY_OF(T0, LOAD(T0, x, i));
    beyond += key > high;
    at_high += key == high;
    at_low += key == low;
    if (key > low && key < high) {
      int at = atomic_inc(&counts[2]);
      if (at < room) list[at] = key;
    }
  }
  atomic_add(&counts[0], beyond);
  atomic_add(&counts[1], at_high);
  atomic_add(&counts[3], at_low);
  barrier(CLK_LOCAL_MEM_FENCE);
#endif
  if (item > 0) return;
  for (int t = 0; t < 3; t++) tallies[t] = counts[t];
  tallies[3] = low == high ? 0 : counts[3];
  tallies[4] = counts[2] >= room; /* the last place may hold what is not between */
}

#else

/* counts[block][bin] of a block of elements. A group a block; a group of one is an item that counts alone. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
select_histogram(__global const STORE(T0) *x, long x_from, __global const long *state, long state_from,
                 __global int *counts, long counts_from, __global const KEY *list, long list_from,
                 __global const int *tallies, long tallies_from, long length, int block, int room, int shift,
                 int bits) {
  __local int table[BINS];
  int item = get_local_id(0);
  for (int i = item; i < BINS; i += GROUP) table[i] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  state += state_from;
  ulong known = (ulong)state[0];
  long first = (long)get_group_id(0) * block;
  int n = (int)min((long)block, length - first);
  x += x_from + first;
#if LISTED
  list += list_from + (long)get_group_id(0) * room;
  int source = (int)state[3];
  if (source != FROM_ALL) n = source == KNOWN ? 0 : tallies[tallies_from + get_group_id(0) * TALLIES + 2];
#define KEY_AT(i) (source == FROM_ALL ? KEY_OF(T0, LOAD(T0, x, i)) : list[i])
#else
#define KEY_AT(i) KEY_OF(T0, LOAD(T0, x, i))
#endif
  for (int i = item; i < n; i += GROUP) {
    ulong key = KEY_AT(i) >> shift;
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
