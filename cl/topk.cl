/* The `kept` largest elements of each block of the middle axis of [outer][length][inner], in order, with their indices.
 * SPDX-License-Identifier: Apache-2.0
 *
 * An element's place is the number of elements of its block that come before it: larger ones, and equal ones with a
 * lower index. Counting needs no exchange and no memory, so that every element is independent. A second pass over what
 * the blocks kept ends the job. */
#include "select_key.cl"

#ifndef GROUP
#define GROUP 1
#endif

#define ARGUMENTS                                                                                                   \
  __global const STORE(T0) *x, long x_from, __global const long *x_index, long x_index_from, __global STORE(T2) *y, \
      long y_from, __global long *y_index, long y_index_from, long outer, long length, long inner, long block,      \
      long kept, long x_outer, long x_axis, long y_outer, long y_axis, long position
#define KEY_AT(i) KEY_OF(T0, LOAD(T0, x, (i)*x_axis))

static void put(__global const STORE(T0) *x, __global const long *x_index, __global STORE(T2) *y,
                __global long *y_index, long from, long at, long index) {
  SAVE(T2, y, at, LOAD(T0, x, from));
#if FIRST
  y_index[at] = index;
#else
  y_index[at] = x_index[from];
#endif
}

#if GROUP == 1

/* One item a block of one row; its keys wait in local memory (one item a group). */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void topk_item(ARGUMENTS, __local KEY *keys) {
  long first = (long)get_global_id(0) * block, o = get_global_id(1) / inner, i = get_global_id(1) % inner;
  int n = (int)min(block, length - first);
  x += x_from + o * x_outer + first * x_axis + i;
  x_index += FIRST ? 0 : x_index_from + o * x_outer + first * x_axis + i;
  y += y_from + o * y_outer + (long)get_global_id(0) * kept * y_axis + i;
  y_index += y_index_from + o * y_outer + (long)get_global_id(0) * kept * y_axis + i;
  for (int j = 0; j < n; j++) keys[j] = KEY_AT(j);
  for (int j = 0; j < n; j++) {
    KEY mine = keys[j];
    int place = 0;
    for (int e = 0; e < j; e++) place += keys[e] >= mine;
    for (int e = j + 1; e < n; e++) place += keys[e] > mine;
    if (place < kept) put(x, x_index, y, y_index, j * x_axis, place * y_axis, position + first + j);
  }
}

#else

/* One item an element; a group looks at GROUP keys at a time, which its items loaded side by side. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void topk_group(ARGUMENTS, long groups_a_block) {
  __local KEY keys[GROUP];
  long b = get_group_id(0) / groups_a_block, j = get_group_id(0) % groups_a_block * GROUP + get_local_id(0);
  long first = b * block, n = min(block, length - first), o = get_global_id(1) / inner, i = get_global_id(1) % inner;
  x += x_from + o * x_outer + first * x_axis + i;
  x_index += FIRST ? 0 : x_index_from + o * x_outer + first * x_axis + i;
  y += y_from + o * y_outer + b * kept * y_axis + i;
  y_index += y_index_from + o * y_outer + b * kept * y_axis + i;
  KEY mine = j < n ? KEY_AT(j) : 0;
  long place = 0;
  for (long from = 0; from < n; from += GROUP) {
    long other = from + get_local_id(0);
    if (other < n) keys[get_local_id(0)] = KEY_AT(other);
    barrier(CLK_LOCAL_MEM_FENCE);
    int count = (int)min((long)GROUP, n - from);
    for (int e = 0; e < count; e++) place += keys[e] > mine || (keys[e] == mine && from + e < j);
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  if (j < n && place < kept) put(x, x_index, y, y_index, j * x_axis, place * y_axis, position + first + j);
}
#endif
