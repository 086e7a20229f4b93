/* y = exp(x - m) / s or x - m - log(s) along the middle axis of [outer][length][inner]; m the maximum, s = sum exp(x -
 * m). SPDX-License-Identifier: Apache-2.0
 *
 * Built with -DROW=f32|f64, -DLOGARITHM=0|1, -DMASK=0|1|2, and -DPREFETCH=1 where the compiler has clang's builtin.
 * CPU: one item takes rows (inner = 1), or a strip of columns; with -DKEEP=1 the exponentials of a row wait in local
 * memory (one item a group). GPU: a group shares rows.
 * `given` entries take m and s ready-made, for rows that are split. With a mask (rows only) m holds it instead: what is
 * added to x (1), or where x counts and is not `least` (2); row r has its row of the mask where the three strides say,
 * so that a mask is broadcast. A row with +infinity or NaN, or of -infinity alone, gives NaN, as IEEE has it. */
#include "row.cl"
#include "exp.cl"

#ifndef KEEP
#define KEEP 0
#endif
/* Asks memory for what is needed soon: the arithmetic between two reads leaves a processor few of them to see ahead. */
#if PREFETCH
#define ASK_FOR(p) __builtin_prefetch((const void *)(ulong)(p))
#else
#define ASK_FOR(p) (void)0
#endif
#define AHEAD 512 /* elements */

#define ARGUMENTS                                                                                                      \
  __global const STORE(T0) *x, long x_from, __global const STORE(T1) *m, long m_from, __global const STORE(T2) *s,     \
      long s_from, __global STORE(T3) *y, long y_from, long outer, long length, long inner, long x_outer, long x_axis, \
      long y_outer, long y_axis, long mask_outer, long mask_middle, long mask_inner, long middle_rows,                 \
      long inner_rows, long first_row, float least
#define MOVE_TO_START \
  x += x_from;        \
  y += y_from;

#if LOGARITHM
#define RESULT(n, v, largest, factor) ((v) - (largest) - (factor))
#define FACTOR(total) log(total)
#else
#define RESULT(n, v, largest, factor) (EXP(ROW, n, (v) - (largest)) * (factor))
#define FACTOR(total) (1 / (total))
#endif
#define PUT(n, at, v) SAVEV(T3, n, y, at, CONVERTV(ROW, T3, n, v))

#if MASK == 1
#define LOAD_X(n, x, mask, i) (LOAD_ROW(n, x, i) + CONVERTV(T1, ROW, n, LOADV(T1, n, mask, i)))
#elif MASK == 2
#define LOAD_X(n, x, mask, i) \
  (CONVERTV(T1, ROW, n, LOADV(T1, n, mask, i)) != 0 ? LOAD_ROW(n, x, i) : (ROWV(n))((real)least))
#else
#define LOAD_X(n, x, mask, i) LOAD_ROW(n, x, i)
#endif
/* Where of a row of x the mask's row begins. In 32 bits: a division of 64 is a hundred steps where no instruction does
 * it. */
static long mask_row(uint row, uint middle_rows, uint inner_rows, long outer_stride, long middle_stride,
                     long inner_stride) {
  const uint of_inner = row / inner_rows, of_middle = of_inner / middle_rows;
  return of_middle * outer_stride + (of_inner - of_middle * middle_rows) * middle_stride +
         (row - of_inner * inner_rows) * inner_stride;
}
#define MASK_ROW(row)                                                                                           \
  (MASK ? m + mask_row((uint)(first_row + (row)), (uint)middle_rows, (uint)inner_rows, mask_outer, mask_middle, \
                       mask_inner)                                                                              \
        : m)

#if WIDTH > 1
#define ROW_OF_X __global const STORE(T0) *x, __global const STORE(T1) *mask
static real row_max(ROW_OF_X, float least, int length) {
  int i = 0;
  real largest = -INFINITY;
  if (length >= WIDTH) {
    realv a = LOAD_X(WIDTH, x, mask, 0), b = a;
    for (i = WIDTH; i <= length - 2 * WIDTH; i += 2 * WIDTH) {
      realv v = LOAD_X(WIDTH, x, mask, i), w = LOAD_X(WIDTH, x, mask, i + WIDTH);
      a = LARGER(a, v);
      b = LARGER(b, w);
    }
    FOR_VECTORS(i, length) {
      realv v = LOAD_X(WIDTH, x, mask, i);
      a = LARGER(a, v);
    }
    largest = max_lanes(LARGER(a, b));
  }
  for (; i < length; i++) {
    real v = LOAD_X(1, x, mask, i);
    largest = LARGER(largest, v);
  }
  return largest;
}

static void put_vector(__global STORE(T3) *y, realv v, int stream) {
#ifdef PARE_NONTEMPORAL
  if (stream) {
    STREAMV(T3, WIDTH, y, 0, CONVERTV(ROW, T3, WIDTH, v));
    return;
  }
#endif
  PUT(WIDTH, 0, v);
}

#if KEEP
static void row_scale(__global STORE(T3) *y, int length, __local const real *kept, real factor, int stream) {
  int i = 0;
  FOR_VECTORS(i, length) put_vector(y + i, LOADV(ROW, WIDTH, kept, i) * factor, stream);
  for (; i < length; i++) PUT(1, i, kept[i] * factor);
}

/* One row on its way through: `kept` gets its exponentials, whose sum is returned, and gives those of the row before,
 * scaled, to y_before (NULL: there is none); *next_largest becomes the maximum of the row that follows. So memory is
 * read and written while the arithmetic goes on. */
static real row_step(ROW_OF_X, __global const STORE(T0) *next, __global const STORE(T1) *next_mask, float least,
                     __global STORE(T3) *y_before, int length, real largest, real factor_before, int stream,
                     __local real *kept, real *next_largest) {
  realv sums = 0, maxima = -INFINITY;
  real total = 0, rest = -INFINITY;
  int i = 0;
  FOR_VECTORS(i, length) {
    realv e = EXP(ROW, WIDTH, LOAD_X(WIDTH, x, mask, i) - largest), v = LOAD_X(WIDTH, next, next_mask, i);
    ASK_FOR(next + i + AHEAD);
    sums += e;
    maxima = LARGER(maxima, v);
    if (y_before) put_vector(y_before + i, LOADV(ROW, WIDTH, kept, i) * factor_before, stream);
    SAVEV(ROW, WIDTH, kept, i, e);
  }
  for (; i < length; i++) {
    real e = EXP(ROW, 1, LOAD_X(1, x, mask, i) - largest), v = LOAD_X(1, next, next_mask, i);
    total += e;
    rest = LARGER(rest, v);
    if (y_before) SAVE(T3, y_before, i, CONVERT(ROW, T3, kept[i] * factor_before));
    kept[i] = e;
  }
  real of_lanes = max_lanes(maxima);
  *next_largest = LARGER(of_lanes, rest);
  return total + sum_lanes(sums);
}

#else

static real row_sum(ROW_OF_X, float least, int length, real largest) {
  realv sums = 0;
  real total = 0;
  int i = 0;
  FOR_VECTORS(i, length) sums += EXP(ROW, WIDTH, LOAD_X(WIDTH, x, mask, i) - largest);
  for (; i < length; i++) total += EXP(ROW, 1, LOAD_X(1, x, mask, i) - largest);
  return total + sum_lanes(sums);
}

static void row_again(ROW_OF_X, float least, __global STORE(T3) *y, int length, int stream) {
  real largest = row_max(x, mask, least, length), factor = FACTOR(row_sum(x, mask, least, length, largest));
  int i = 0;
  FOR_VECTORS(i, length) put_vector(y + i, RESULT(WIDTH, LOAD_X(WIDTH, x, mask, i), largest, factor), stream);
  for (; i < length; i++) PUT(1, i, RESULT(1, LOAD_X(1, x, mask, i), largest, factor));
}
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_rows(ARGUMENTS, int rows_per_item, int stream,
                                                                          __local real *kept) {
  MOVE_TO_START
#if MASK
  m += m_from;
#endif
  long row = (long)get_global_id(0) * rows_per_item, end = min(row + rows_per_item, outer);
  stream = stream && STREAMABLE(T3, y, y_outer);
  x += row * x_outer;
  y += row * y_outer;
#if !KEEP
  for (; row < end; row++, x += x_outer, y += y_outer) row_again(x, MASK_ROW(row), least, y, (int)length, stream);
#else
  if (row >= end) return;
  __global const STORE(T1) *mask = MASK_ROW(row);
  real largest = row_max(x, mask, least, (int)length), factor = 0;
  for (long r = row; r < end; r++) {
    bool last = r + 1 == end;
    __global const STORE(T0) *next = last ? x : x + x_outer;
    __global const STORE(T1) *next_mask = last ? mask : MASK_ROW(r + 1);
    factor = FACTOR(row_step(x, mask, next, next_mask, least, r > row ? y - y_outer : 0, (int)length, largest, factor,
                             stream, kept, &largest));
    x = next;
    mask = next_mask;
    y += y_outer;
  }
  row_scale(y - y_outer, (int)length, kept, factor, stream);
#endif
}

/* `count` columns, all of them full vectors or one single column. */
#define STRIP(name, n, vectors)                                                                                 \
  static void name(__global const STORE(T0) *x, __global STORE(T3) *y, int count, long length, long x_axis,     \
                   long y_axis) {                                                                               \
    ROWV(n) largest[vectors], total[vectors];                                                                   \
    for (int v = 0; v < count; v++) largest[v] = LOAD_ROW(n, x, v * n);                                         \
    for (long r = 1; r < length; r++)                                                                           \
      for (int v = 0; v < count; v++) {                                                                         \
        ROWV(n) value = LOAD_ROW(n, x, r * x_axis + v * n);                                                     \
        largest[v] = LARGER(largest[v], value);                                                                 \
      }                                                                                                         \
    for (int v = 0; v < count; v++) total[v] = 0;                                                               \
    for (long r = 0; r < length; r++)                                                                           \
      for (int v = 0; v < count; v++) total[v] += EXP(ROW, n, LOAD_ROW(n, x, r * x_axis + v * n) - largest[v]); \
    for (int v = 0; v < count; v++) total[v] = FACTOR(total[v]);                                                \
    for (long r = 0; r < length; r++)                                                                           \
      for (int v = 0; v < count; v++)                                                                           \
        PUT(n, r *y_axis + v * n, RESULT(n, LOAD_ROW(n, x, r * x_axis + v * n), largest[v], total[v]));         \
  }
#define VECTORS 4
STRIP(column_strip, WIDTH, VECTORS)
STRIP(single_column, 1, 1)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_columns(ARGUMENTS) {
  MOVE_TO_START
  long i = (long)get_global_id(0) * WIDTH * VECTORS, o = get_global_id(1), end = min(i + WIDTH * VECTORS, inner);
  x += o * x_outer;
  y += o * y_outer;
  int vectors = (int)(end - i) / WIDTH;
  if (vectors > 0) column_strip(x + i, y + i, vectors, length, x_axis, y_axis);
  for (i += vectors * WIDTH; i < end; i++) single_column(x + i, y + i, 1, length, x_axis, y_axis);
}

#if !MASK
/* One item takes `per_item` steps of the axis; neighbours along the inner axis if that is longer than 1. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void softmax_given(ARGUMENTS, int per_item) {
  MOVE_TO_START
  m += m_from;
  s += s_from;
  long o = get_global_id(1), r = (long)get_global_id(0) * per_item, end = min(r + per_item, length);
  long from = o * x_outer, to = o * y_outer;
  if (inner == 1) {
    real largest = LOAD(T1, m, o), factor = FACTOR(LOAD(T2, s, o));
    FOR_VECTORS(r, end) PUT(WIDTH, to + r, RESULT(WIDTH, LOAD_ROW(WIDTH, x, from + r), largest, factor));
    for (; r < end; r++) PUT(1, to + r, RESULT(1, LOAD_ROW(1, x, from + r), largest, factor));
    return;
  }
  for (; r < end; r++) {
    long i = 0, p = from + r * x_axis, q = to + r * y_axis;
    FOR_VECTORS(i, inner) {
      realv largest = CONVERTV(T1, ROW, WIDTH, LOADV(T1, WIDTH, m, o * inner + i)),
            factor = FACTOR(CONVERTV(T2, ROW, WIDTH, LOADV(T2, WIDTH, s, o * inner + i)));
      PUT(WIDTH, q + i, RESULT(WIDTH, LOAD_ROW(WIDTH, x, p + i), largest, factor));
    }
    for (; i < inner; i++) {
      real largest = LOAD(T1, m, o * inner + i), factor = FACTOR(LOAD(T2, s, o * inner + i));
      PUT(1, q + i, RESULT(1, LOAD_ROW(1, x, p + i), largest, factor));
    }
  }
}
#endif
#else

/* A group is `columns` x `lanes` items, times as many rows as fit; item = (row * lanes + lane) * columns + column;
 * powers of two. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void softmax_group(ARGUMENTS, int columns, int lanes) {
  __local real shared[GROUP];
  MOVE_TO_START
  int item = get_local_id(0), column = item % columns, lane = item / columns % lanes, rows = GROUP / (columns * lanes);
  long tiles = (inner + columns - 1) / columns, o = get_group_id(0) / tiles * rows + item / (columns * lanes);
  long i = get_group_id(0) % tiles * columns + column;
  long count = i < inner && o < outer ? length : 0;
#if MASK
  m += m_from;
  __global const STORE(T1) *mask = MASK_ROW(count > 0 ? o : 0);
#endif
  x += o * x_outer + i;
  y += o * y_outer + i;
  real largest = -INFINITY, total = 0;
  for (long r = lane; r < count; r += lanes) {
    real v = LOAD_X(1, x, mask, r * x_axis);
    largest = LARGER(largest, v);
  }
  largest = max_group(shared, largest, item, lane, lanes, columns);
  for (long r = lane; r < count; r += lanes) total += EXP(ROW, 1, LOAD_X(1, x, mask, r * x_axis) - largest);
  real factor = FACTOR(sum_group(shared, total, item, lane, lanes, columns));
  for (long r = lane; r < count; r += lanes)
    PUT(1, r * y_axis, RESULT(1, LOAD_X(1, x, mask, r * x_axis), largest, factor));
}

#if !MASK
/* One item an element of [length][inner]. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void softmax_given_group(ARGUMENTS) {
  MOVE_TO_START
  m += m_from;
  s += s_from;
  long k = get_global_id(0), o = get_global_id(1), r = k / inner, i = k % inner;
  if (r >= length) return;
  real largest = LOAD(T1, m, o * inner + i), factor = FACTOR(LOAD(T2, s, o * inner + i));
  PUT(1, o * y_outer + r * y_axis + i, RESULT(1, LOAD_ROW(1, x, o * x_outer + r * x_axis + i), largest, factor));
}
#endif
#endif
