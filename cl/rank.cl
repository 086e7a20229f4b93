/* The rank of set bits in a work-group of GROUP items. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_RANK_CL
#define PARE_RANK_CL

#define RANK_WORDS ((GROUP + 31) / 32)

/* How many items before this one have `set`; *all: how many of the group. Every item calls it; word has RANK_WORDS. */
static int rank_of(int set, __local uint *word, int *all) {
#if GROUP == 1
  *all = set;
  return 0;
#else
  const int item = get_local_id(0);
  if (item < RANK_WORDS) word[item] = 0;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (set) atomic_or(&word[item / 32], 1u << (item & 31));
  barrier(CLK_LOCAL_MEM_FENCE);
  int rank = 0, sum = 0;
  for (int w = 0; w < RANK_WORDS; w++) {
    const uint below = w < item / 32 ? ~0u : w > item / 32 ? 0 : (1u << (item & 31)) - 1;
    rank += popcount(word[w] & below);
    sum += popcount(word[w]);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  *all = sum;
  return rank;
#endif
}
#endif
