/* Masks from a threshold, block by block. SPDX-License-Identifier: Apache-2.0
 *
 * STEP TIES       ties[block] = elements equal to the threshold
 *      SHARE      share[block] = how many of those are kept when the first `quota` of all are; next = what is left of
 * quota KEEP       mask = larger than the threshold, or one of the first share[block] that equal it (share absent: any)
 *      COUNT      counts[block] = elements of a mask that are set
 *      NONFINITE  first[block] = index in the block of the first element that is NaN or infinite; -1: none
 *      LIST       list[starts[block]…] = where the elements of a mask are that are set, in order
 *
 * A group a block; a group of one is an item that goes through it in vectors of WIDTH. */
#include "select_key.cl"

#define TIES 0
#define SHARE 1
#define KEEP 2
#define COUNT 3
#define NONFINITE 4
#define LIST 5
#ifndef STEP
#define STEP KEEP
#endif
#ifndef GROUP
#define GROUP 1
#endif
#include "rank.cl"
#define INTS JOIN(int, WIDTH)
#define WIDE_KEYS(i) KEYV_OF(T0, WIDTH, LOADV(T0, WIDTH, x, i))

#if STEP == SHARE

/* One item: it is one scan of the blocks. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void
mask_step(long blocks, int unused, __global const int *ties, long ties_from, __global const long *quota,
          long quota_from, __global int *share, long share_from, __global long *next, long next_from) {
  long left = quota[quota_from];
  for (long b = 0; b < blocks; b++) {
    const int kept = (int)min(left, (long)ties[ties_from + b]);
    share[share_from + b] = kept;
    left -= kept;
  }
  next[next_from] = left;
}

#elif STEP == LIST

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
mask_step(long length, int block, __global const STORE(T0) *mask, long mask_from, __global const long *starts,
          long starts_from, __global const int *absent, long absent_from, __global long *list, long list_from) {
  const long first = (long)get_group_id(0) * block;
  const int n = (int)min((long)block, length - first);
  mask += mask_from + first;
  list += list_from + starts[starts_from + get_group_id(0)];
#if GROUP > 1
  __local uint word[RANK_WORDS];
  const int item = get_local_id(0);
  for (int i = item; i < n + item; i += GROUP) {
    const int set = i < n && mask[i];
    int all, rank = rank_of(set, word, &all);
    if (set) list[rank] = first + i;
    list += all;
  }
#else
  int i = 0;
#if WIDTH > 1
  for (; i + WIDTH <= n; i += WIDTH) {
    if (!ANY(WIDTH, LOADV(T0, WIDTH, mask, i) != 0)) continue;
    for (int e = i; e < i + WIDTH; e++)
      if (mask[e]) *list++ = first + e;
  }
#endif
  for (; i < n; i++)
    if (mask[i]) *list++ = first + i;
#endif
}

#else

#if STEP == TIES
#define FOUND(key) ((key) == limit)
#elif STEP == NONFINITE
#define FOUND(key) ((key) >= INFINITE_BITS)
#endif

__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void
mask_step(long length, int block, __global const STORE(T0) *x, long x_from, __global const STORE(T1) *threshold,
          long threshold_from, __global int *figures, long figures_from, __global uchar *mask, long mask_from) {
  const long first = (long)get_group_id(0) * block;
  const int item = get_local_id(0), n = (int)min((long)block, length - first);
  x += x_from + first;
#if STEP == TIES || STEP == KEEP
  const KEY limit = KEY_OF(T1, LOAD(T1, threshold, threshold_from));
#endif
#if STEP == KEEP
  const int share = figures ? figures[figures_from + get_group_id(0)] : INT_MAX;
  mask += mask_from + first;
  int taken = 0;
#if GROUP > 1
  __local uint word[RANK_WORDS];
  for (int i = item; i < n + item; i += GROUP) {
    const KEY key = i < n ? KEY_OF(T0, LOAD(T0, x, i)) : 0;
    int ties, rank = rank_of(i < n && key == limit, word, &ties);
    if (i < n) mask[i] = key > limit || (key == limit && rank < share - taken);
    taken += ties;
  }
#else
  int i = 0;
#if WIDTH > 1
  for (; i + WIDTH <= n; i += WIDTH) {
    const KEYV(WIDTH) key = WIDE_KEYS(i);
    const INTS tied = key == limit;
    if (taken < share && ANY(WIDTH, tied)) {
      for (int e = i; e < i + WIDTH; e++) {
        const KEY one = KEY_OF(T0, LOAD(T0, x, e));
        mask[e] = one > limit || (one == limit && taken < share);
        taken += one == limit;
      }
      continue;
    }
    SAVEV(bool, WIDTH, mask, i, (key > limit) & 1);
  }
#endif
  for (; i < n; i++) {
    const KEY one = KEY_OF(T0, LOAD(T0, x, i));
    mask[i] = one > limit || (one == limit && taken < share);
    taken += one == limit;
  }
#endif
#else /* a number for each block */
  int figure = STEP == NONFINITE ? INT_MAX : 0, i = item;
#if GROUP == 1 && WIDTH > 1
  INTS figures_wide = 0;
  for (; i + WIDTH <= n; i += WIDTH) {
#if STEP == COUNT
    figures_wide += LOADV(T0, WIDTH, x, i);
#elif STEP == TIES
    figures_wide -= FOUND(WIDE_KEYS(i));
#else
    if (ANY(WIDTH, FOUND(WIDE_KEYS(i)))) break;
#endif
  }
  int part[WIDTH];
  PASTE(vstore, WIDTH)(figures_wide, 0, part);
#if STEP != NONFINITE
  for (int e = 0; e < WIDTH; e++) figure += part[e];
#endif
#endif
  for (; i < n; i += GROUP) {
#if STEP == COUNT
    figure += LOAD(T0, x, i);
#else
    const int found = FOUND(KEY_OF(T0, LOAD(T0, x, i)));
#if STEP == TIES
    figure += found;
#else
    if (!found) continue;
    figure = i;
    break;
#endif
#endif
  }
#if GROUP > 1
  __local int whole;
  if (item == 0) whole = STEP == NONFINITE ? INT_MAX : 0;
  barrier(CLK_LOCAL_MEM_FENCE);
#if STEP == NONFINITE
  atomic_min(&whole, figure);
#else
  atomic_add(&whole, figure);
#endif
  barrier(CLK_LOCAL_MEM_FENCE);
  figure = whole;
#endif
  if (item == 0) figures[figures_from + get_group_id(0)] = figure == INT_MAX ? -1 : figure;
#endif
}
#endif
