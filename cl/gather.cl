/* Gather: values[o][i][s] = data[o][row named by index][s]. Bits only move: T0 stands for every dtype of its size.
 * SPDX-License-Identifier: Apache-2.0
 *
 * CPU: one item takes a rectangle of rows and columns; slices are copied with WIDTH-wide vectors. GPU: one item an
 * element, neighbours write neighbouring elements. An index out of range gives zero. */
#ifndef WIDTH
#define WIDTH 1
#endif
#ifndef GROUP
#define GROUP 64
#endif
#include "index.cl"

static void copy_slice(__global STORE(T0) * to, __global const STORE(T0) * from, int count) {
  int i = 0;
#if WIDTH > 1
  for (; i <= count - WIDTH; i += WIDTH) PASTE(vstore, WIDTH)(PASTE(vload, WIDTH)(0, from + i), 0, to + i);
#endif
  for (; i < count; i++) to[i] = from[i];
}

/* An index a row; data and values are contiguous along it. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gather_slices(INDEX_ARGUMENTS(const, ), int rows_per_item,
                                                                           int columns_per_item) {
  INDEX_BEGIN;
  long first = get_global_id(1) * (long)rows_per_item, last = min(first + rows_per_item, outer * rows);
  long column = get_global_id(0) * (long)columns_per_item;
  int count = (int)min((long)columns_per_item, inner - column);
  for (long r = first; r < last; r++) {
    long o = r / rows, i = r - o * rows;
    long row = row_of(index + o * index_outer + i * index_row, tuple, lengths, steps, flag);
    __global STORE(T0) *to = values + o * values_outer + i * values_row + column;
    if (row >= 0)
      copy_slice(to, data + o * data_outer + row * data_row + column, count);
    else
      for (int k = 0; k < count; k++) to[k] = 0;
  }
}

/* An index an element. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gather_elements(INDEX_ARGUMENTS(const, ),
                                                                             int rows_per_item, int columns_per_item) {
  INDEX_BEGIN;
  long first = get_global_id(1) * (long)rows_per_item, last = min(first + rows_per_item, outer * rows);
  long column = get_global_id(0) * (long)columns_per_item, end = min(column + columns_per_item, inner);
  for (long r = first; r < last; r++) {
    long o = r / rows, i = r - o * rows;
    __global const STORE(T1) *at = index + o * index_outer + i * index_row;
    __global const STORE(T0) *from = data + o * data_outer;
    __global STORE(T0) *to = values + o * values_outer + i * values_row;
    for (long c = column; c < end; c++) {
      long row = row_of(at + c * index_inner, tuple, lengths, steps, flag);
      to[c * values_inner] = row >= 0 ? from[row * data_row + c * data_inner] : (STORE(T0))0;
    }
  }
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void gather_each(INDEX_ARGUMENTS(const, )) {
  INDEX_BEGIN;
  long e = get_global_id(0);
  if (e >= outer * rows * inner) return;
  long r = e / inner, c = e - r * inner, o = r / rows, i = r - o * rows;
  long row = row_of(index + o * index_outer + i * index_row + c * index_inner, tuple, lengths, steps, flag);
  values[o * values_outer + i * values_row + c * values_inner] =
      row >= 0 ? data[o * data_outer + row * data_row + c * data_inner] : (STORE(T0))0;
}
