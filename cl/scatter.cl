/* Scatter: data[o][row named by index][s] = data ∘ values[o][i][s], for i in order. SPDX-License-Identifier: Apache-2.0
 *
 *   data of one outer      every owner walks all indices in order and applies those that name its rows: no two items
 * write
 *   +------- inner ------+ one element, so duplicates need no atomics and give the same bits however the work is cut
 *   | owner 0 | owner 1  |
 *   |---------|----------| <- part_length rows
 *   | owner 2 | owner 3  |
 *   +--------------------+
 *
 * CPU: an owner has columns_per_item columns and WIDTH-wide vectors. GPU: one column an item, neighbours have
 * neighbouring columns. -DREDUCE: none add mul smaller larger (min and max are macros of some drivers). A result is
 * rounded to T0 after every update. */
#ifndef WIDTH
#define WIDTH 1
#endif
#ifndef GROUP
#define GROUP 64
#endif
#ifndef REDUCE
#define REDUCE none
#endif
#include "index.cl"

#define COMBINE(a, b) JOIN(COMBINE_, REDUCE)(a, b)
#define COMBINE_none(a, b) (b)
#define COMBINE_add(a, b) ((a) + (b))
#define COMBINE_mul(a, b) ((a) * (b))
/* A NaN stays, as in numpy and ONNX. */
#define COMBINE_smaller(a, b) ((a) != (a) ? (a) : (b) >= (a) ? (a) : (b))
#define COMBINE_larger(a, b) ((a) != (a) ? (a) : (b) <= (a) ? (a) : (b))

#define UPDATE(n, to, from)                                               \
  {                                                                       \
    VALUEV(T0, n) old = LOADV(T0, n, to, 0), new = LOADV(T0, n, from, 0); \
    VALUEV(T0, n) result = COMBINE(old, new);                             \
    SAVEV(T0, n, to, 0, CONVERTV(T0, T0, n, result));                     \
  }

/* What one owner does: rows [low, high), columns [column, end) of data, whose row `position` comes first. */
static void scatter_owned(__global STORE(T0) *restrict data, __global const STORE(T1) *restrict index,
                          __global const STORE(T0) *restrict values, __global int *flag, int tuple, long8 lengths,
                          long8 steps, long data_row, long index_row, long index_inner, long values_row, long position,
                          long low, long high, long column, long end, long first_step, long last_step) {
  for (long i = first_step; i < last_step; i++) {
    __global const STORE(T1) *at = index + i * index_row;
    __global const STORE(T0) *from = values + i * values_row;
    long c = column;
    if (index_inner == 0) {
      long row = row_of(at, tuple, lengths, steps, flag);
      if (row < low || row >= high) continue;
      __global STORE(T0) *to = data + (row - position) * data_row;
#if WIDTH > 1
      for (; c <= end - WIDTH; c += WIDTH) UPDATE(WIDTH, to + c, from + c);
#endif
      for (; c < end; c++) UPDATE(1, to + c, from + c);
    } else {
      for (; c < end; c++) {
        long row = row_of(at + c * index_inner, tuple, lengths, steps, flag);
        if (row >= low && row < high) UPDATE(1, data + (row - position) * data_row + c, from + c);
      }
    }
  }
}

#define SCATTER_ARGUMENTS \
  INDEX_ARGUMENTS(, const), long position, long length, long part_length, long first_step, long last_step

#define SCATTER(o, part, column, end)                                                                                \
  {                                                                                                                  \
    long low = position + (part)*part_length, high = min(low + part_length, position + length);                      \
    scatter_owned(data + (o)*data_outer, index + (o)*index_outer, values + (o)*values_outer, flag, tuple, lengths,   \
                  steps, data_row, index_row, index_inner, values_row, position, low, high, column, end, first_step, \
                  last_step);                                                                                        \
  }

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void scatter_block(SCATTER_ARGUMENTS, int columns_per_item) {
  INDEX_BEGIN;
  long column = get_global_id(0) * (long)columns_per_item;
  SCATTER((long)get_global_id(2), (long)get_global_id(1), column, min(column + columns_per_item, inner));
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void scatter_each(SCATTER_ARGUMENTS, long parts) {
  INDEX_BEGIN;
  long e = get_global_id(0);
  if (e >= outer * parts * inner) return;
  long block = e / inner, column = e - block * inner, o = block / parts, part = block - o * parts;
  SCATTER(o, part, column, column + 1);
}
