/* What gather and scatter share: arguments, and the row that an index names. SPDX-License-Identifier: Apache-2.0
 *
 * data is [outer][…][inner]; for each of the `rows` index tuples an outer has, a slice of `inner` elements moves
 * between data and values, which is [outer][rows][inner]. A tuple counts the row along `tuple` axes; with an
 * index_inner stride every element has an index of its own. Strides in elements; an index tuple is contiguous. */
#include "dtype.cl"

#define INDEX_ARGUMENTS(data_const, values_const)                                                              \
  __global data_const STORE(T0) *restrict data, long data_from, __global const STORE(T1) *restrict index,      \
      long index_from, __global values_const STORE(T0) *restrict values, long values_from, __global int *flag, \
      long flag_at, long outer, long rows, long inner, int tuple, long8 lengths, long8 steps, long data_outer, \
      long data_row, long data_inner, long index_outer, long index_row, long index_inner, long values_outer,   \
      long values_row, long values_inner

#define INDEX_BEGIN      \
  data += data_from;     \
  index += index_from;   \
  values += values_from; \
  flag += flag_at

/* Negative indices count from the end, by the sign as a mask: choosing between longs by the sign of an int goes wrong
 * on some drivers. Out of range: -1, and the flag is raised. */
static long row_of(__global const STORE(T1) * index, int tuple, long8 lengths, long8 steps, __global int *flag) {
  long row = 0;
  int inside = 1;
  if (tuple == 1) {
    long i = index[0];
    row = i + (lengths.s0 & (i >> 63));
    inside = row >= 0 && row < lengths.s0;
  } else {
    long length[8], step[8];
    vstore8(lengths, 0, length);
    vstore8(steps, 0, step);
    for (int k = 0; k < tuple && inside; k++) {
      long i = index[k];
      i += length[k] & (i >> 63);
      inside = i >= 0 && i < length[k];
      row += inside ? i * step[k] : 0;
    }
  }
  if (inside) return row;
  atomic_or(flag, 1);
  return -1;
}
