/* Pad: out[i] = data[i - before] along every axis, and what lies outside by `mode`. Bits only move: T0 stands for every
 * dtype of its size. SPDX-License-Identifier: Apache-2.0
 *
 *   mode (0 … 3)      data: a b c d, three before and after
 *   constant          0 0 0 | a b c d | 0 0 0
 *   reflect           d c b | a b c d | c b a
 *   edge              a a a | a b c d | d d d
 *   wrap              b c d | a b c d | a b c
 *
 * CPU: one item takes a rectangle of rows and columns of out; along a row it goes from run to run: forwards, backwards,
 * or one value. GPU: one item an element. Dimensions are right-aligned in a long8; those before `leading` are 1. */
#ifndef WIDTH
#define WIDTH 1
#endif
#ifndef GROUP
#define GROUP 64
#endif
#include "dtype.cl"

#define CONSTANT 0
#define REFLECT 1
#define EDGE 2
#define WRAP 3

static long modulo(long i, long n) {
  long rest = i % n;
  return rest < 0 ? rest + n : rest;
}

/* The element of an axis of n that position i (which may be outside) shows; -1: the constant. */
static long source(long i, long n, int mode) {
  if (i >= 0 && i < n) return i;
  if (mode == CONSTANT || n == 0) return -1;
  if (mode == EDGE || n == 1) return i < 0 ? 0 : n - 1;
  if (mode == WRAP) return modulo(i, n);
  long period = 2 * (n - 1), p = modulo(i, period);
  return min(p, period - p);
}

#define PAD_ARGUMENTS                                                                                               \
  __global const STORE(T0) *restrict data, long data_from, __global STORE(T0) *restrict out, long out_from,         \
      long8 out_dims, long8 befores, long8 data_dims, long8 data_strides, long8 out_strides, int leading, int mode, \
      long fill_bits

#define PAD_BEGIN                                             \
  long dim[8], before[8], length[8], stride[8], to_stride[8]; \
  vstore8(out_dims, 0, dim);                                  \
  vstore8(befores, 0, before);                                \
  vstore8(data_dims, 0, length);                              \
  vstore8(data_strides, 0, stride);                           \
  vstore8(out_strides, 0, to_stride);                         \
  const STORE(T0) fill = (STORE(T0))fill_bits;                \
  data += data_from;                                          \
  out += out_from

/* Where row r of out lies and shows data; *inside = 0: nowhere. */
#define PAD_ROW(r, from, to, inside)                                                                           \
  long from = 0, to = 0;                                                                                       \
  int inside = 1;                                                                                              \
  {                                                                                                            \
    long rest = (r);                                                                                           \
    for (int d = 6; d >= leading; d--) {                                                                       \
      long quotient = rest / dim[d], i = rest - quotient * dim[d], s = source(i - before[d], length[d], mode); \
      rest = quotient;                                                                                         \
      to += i * to_stride[d];                                                                                  \
      inside = inside && s >= 0;                                                                               \
      from += s * stride[d];                                                                                   \
    }                                                                                                          \
  }

static void copy_run(__global STORE(T0) * to, __global const STORE(T0) * from, long count) {
  long i = 0;
#if WIDTH > 1
  for (; i <= count - WIDTH; i += WIDTH) PASTE(vstore, WIDTH)(PASTE(vload, WIDTH)(0, from + i), 0, to + i);
#endif
  for (; i < count; i++) to[i] = from[i];
}

/* Positions [i, end) of an axis of n elements. */
static void pad_row(__global STORE(T0) * to, __global const STORE(T0) * from, long i, long end, long n, int mode,
                    STORE(T0) fill) {
  while (i < end) {
    long s = source(i, n, mode), count;
    if (s < 0 || ((i < 0 || i >= n) && (mode == EDGE || n == 1))) {
      STORE(T0) value = s < 0 ? fill : from[s];
      count = i < 0 && n > 0 ? min(-i, end - i) : end - i;
      for (long k = 0; k < count; k++) to[k] = value;
    } else if ((i >= 0 && i < n) || mode == WRAP) {
      count = min(n - s, end - i);
      copy_run(to, from + s, count);
    } else {
      long period = 2 * (n - 1), p = modulo(i, period);
      count = min(p < n - 1 ? n - 1 - p : period - p, end - i);
      if (i < 0) count = min(count, -i);
      if (p < n - 1)
        copy_run(to, from + s, count);
      else
        for (long k = 0; k < count; k++) to[k] = from[s - k];
    }
    to += count;
    i += count;
  }
}

/* The innermost strides are 1. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void pad_rows(PAD_ARGUMENTS, long rows, int rows_per_item,
                                                                      int columns_per_item) {
  PAD_BEGIN;
  long first = get_global_id(1) * (long)rows_per_item, last = min(first + rows_per_item, rows);
  long column = get_global_id(0) * (long)columns_per_item, end = min(column + columns_per_item, dim[7]);
  for (long r = first; r < last; r++) {
    PAD_ROW(r, from, to, inside);
    if (inside)
      pad_row(out + to + column, data + from, column - before[7], end - before[7], length[7], mode, fill);
    else
      for (long c = column; c < end; c++) out[to + c] = fill;
  }
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void pad_each(PAD_ARGUMENTS, long elements) {
  PAD_BEGIN;
  long e = get_global_id(0);
  if (e >= elements) return;
  long r = e / dim[7], c = e - r * dim[7], s = source(c - before[7], length[7], mode);
  PAD_ROW(r, from, to, inside);
  out[to + c] = inside && s >= 0 ? data[from + s] : fill;
}
