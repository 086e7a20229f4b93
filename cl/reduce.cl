/* Reduction of [outer][reduced][inner] to [outer][blocks][inner], a block being `block` elements of the reduced axis.
 * SPDX-License-Identifier: Apache-2.0
 *
 *        inner = 1 (rows)                  inner > 1 (columns)
 *   |block 0|block 1|block 2|           +--- inner ---+
 *   |-------|-------|---    |  outer    | block 0     |  each column of a block
 *       one result each                 | block 1     |  gives one result
 *
 * A second pass over the blocks' results ends the job. CPU: one item takes whole blocks with WIDTH-wide vectors, UNROLL
 * partial results side by side (no local memory: a tree costs a CPU 4-5 times the time). GPU: a group of GROUP items
 * shares blocks, neighbours read neighbouring elements, and a tree in local memory ends it. The order of additions
 * depends on the block alone. */
#ifndef WIDTH
#define WIDTH 8
#endif
#ifndef UNROLL
#define UNROLL 4
#endif
#ifndef GROUP
#define GROUP 256
#endif
#include "reduce_ops.cl"

#define MERGE_STATES(n, a, b) JOIN(MERGE_, MERGE)(n, a, b)
#define STEP_STATES(n, a, b) JOIN(STEP_, MERGE)(n, a, b)
/* The partial result that element `at` is; `index` counts within the block. */
#define LIFT_ELEMENT(n, state, at, index, centre)                          \
  {                                                                        \
    ACCV(n) element = CONVERTV(T0, ACC, n, LOADV(T0, n, x, at));           \
    (state).value = JOIN(MAP_, MAP)(n, element, centre);                   \
    (state).extra = JOIN(LIFT_, LIFT)(n, index, LOADV(T1, n, second, at)); \
  }

#define ARGUMENTS                                                                                                      \
  __global const STORE(T0) *x, long x_from, __global const STORE(T1) *second, long second_from, __global STORE(T2) *y, \
      long y_from, __global STORE(T3) *y_second, long y_second_from, long outer, long reduced, long inner, int block,  \
      long blocks, long x_outer, long x_reduced, long y_outer, long y_block, long position, long count

/* Where the centre of a row is kept: [outer][inner]. */
#if CENTRED
#define CENTRE(o, i) LOAD(T1, second, (o)*inner + (i))
#define CENTREV(n, o, i) LOADV(T1, n, second, (o)*inner + (i))
#else
#define CENTRE(o, i) 0
#define CENTREV(n, o, i) (ACCV(n))(0)
#endif

static reduce_state1 nothing(void) {
  reduce_state1 state;
  state.value = JOIN(IDENTITY_, MERGE);
  state.extra = JOIN(EMPTY_, MERGE);
  return state;
}

/* Writes the result of the block that begins at element `first` of x and at `from` of the reduced axis. */
static void save(__global const STORE(T1) *second, __global STORE(T2) *y, __global STORE(T3) *y_second, reduce_state1 s,
                 long first, long x_reduced, long from, long at, long count) {
#if SAVE_VALUE
  SAVE(T2, y, at, CONVERT(ACC, T2, JOIN(FINISH_, FINISH)(s, count)));
#endif
#if SAVE_INDEX && FIRST
  SAVE(T3, y_second, at, from + (long)s.extra);
#elif SAVE_INDEX
  SAVE(T3, y_second, at, LOAD(T1, second, first + (long)s.extra * x_reduced));
#elif SAVE_SECOND
  SAVE(T3, y_second, at, s.extra);
#endif
}

#if WIDTH > 1
typedef WIDE_STATE(WIDTH) wide_state;
typedef EXTRAV(WIDTH) wide_extra;
/* What index a lane of the first vector has. */
#define LANES PASTE(LANES_, WIDTH)
#define LANES_2 (0, 1)
#define LANES_4 (0, 1, 2, 3)
#define LANES_8 (0, 1, 2, 3, 4, 5, 6, 7)
#define LANES_16 (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

/* Lanes in order. */
static reduce_state1 across(wide_state wide) {
  VALUE(ACC) value[WIDTH];
  VALUE(EXTRA) extra[WIDTH];
  SAVEV(ACC, WIDTH, value, 0, wide.value);
  SAVEV(EXTRA, WIDTH, extra, 0, wide.extra);
  reduce_state1 total, lane;
  total.value = value[0];
  total.extra = extra[0];
  for (int i = 1; i < WIDTH; i++) {
    lane.value = value[i];
    lane.extra = extra[i];
    MERGE_STATES(1, total, lane);
  }
  return total;
}

static reduce_state1 reduce_span(__global const STORE(T0) *x, __global const STORE(T1) *second, int length,
                                 VALUE(ACC) centre) {
  if (length == 0) return nothing();
  reduce_state1 total, one;
  wide_state wide, next;
  wide_extra lanes = (wide_extra)LANES;
  ACCV(WIDTH) centres = centre;
  int i = 0;
  if (length >= WIDTH * UNROLL) {
    wide_state part[UNROLL];
    for (int u = 0; u < UNROLL; u++) LIFT_ELEMENT(WIDTH, part[u], u * WIDTH, lanes + u * WIDTH, centres);
    for (i = WIDTH * UNROLL; i <= length - WIDTH * UNROLL; i += WIDTH * UNROLL)
#pragma unroll
      for (int u = 0; u < UNROLL; u++) {
        LIFT_ELEMENT(WIDTH, next, i + u * WIDTH, lanes + (i + u * WIDTH), centres);
        STEP_STATES(WIDTH, part[u], next);
      }
    for (int u = 1; u < UNROLL; u++) MERGE_STATES(WIDTH, part[0], part[u]);
    wide = part[0];
  } else if (length >= WIDTH) {
    LIFT_ELEMENT(WIDTH, wide, 0, lanes, centres);
    i = WIDTH;
  }
  for (; i <= length - WIDTH; i += WIDTH) {
    LIFT_ELEMENT(WIDTH, next, i, lanes + i, centres);
    STEP_STATES(WIDTH, wide, next);
  }
  if (i > 0)
    total = across(wide);
  else {
    LIFT_ELEMENT(1, total, 0, 0, centre);
    i = 1;
  }
  for (; i < length; i++) {
    LIFT_ELEMENT(1, one, i, i, centre);
    STEP_STATES(1, total, one);
  }
  return total;
}

/* One item takes `rows_per_item` blocks; elements of a block are neighbours. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void reduce_rows(ARGUMENTS, int rows_per_item) {
  long row = (long)get_global_id(0) * rows_per_item, end = min(row + rows_per_item, outer * blocks);
  x += x_from;
  second += second_from;
  y += y_from;
  y_second += y_second_from;
  for (; row < end; row++) {
    long o = row / blocks, b = row - o * blocks, from = b * block, first = o * x_outer + from;
    int length = (int)min((long)block, reduced - from);
    reduce_state1 s = reduce_span(x + first, second + (CENTRED ? 0 : first), length, CENTRE(o, 0));
    save(second, y, y_second, s, first, 1, position + from, o * y_outer + b * y_block, count);
  }
}

/* One item takes COLUMNS neighbouring columns of one block, row by row. */
#define VECTORS 16
#define COLUMNS (WIDTH * VECTORS)
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void reduce_columns(ARGUMENTS) {
  long i = (long)get_global_id(0) * COLUMNS, b = get_global_id(1), o = get_global_id(2), from = b * block;
  x += x_from;
  second += second_from;
  y += y_from;
  y_second += y_second_from;
  long first = o * x_outer + from * x_reduced, out = o * y_outer + b * y_block;
  int length = (int)min((long)block, reduced - from), vectors = (int)min(inner - i, (long)COLUMNS) / WIDTH;
  wide_state part[VECTORS], next;
  if (length > 0)
    for (int v = 0; v < vectors; v++)
      LIFT_ELEMENT(WIDTH, part[v], first + i + v * WIDTH, (wide_extra)(0), CENTREV(WIDTH, o, i + v * WIDTH));
  for (int r = 1; r < length; r++)
    for (int v = 0; v < vectors; v++) {
      LIFT_ELEMENT(WIDTH, next, first + r * x_reduced + i + v * WIDTH, (wide_extra)(r),
                   CENTREV(WIDTH, o, i + v * WIDTH));
      STEP_STATES(WIDTH, part[v], next);
    }
  reduce_state1 s, one;
  for (int v = 0; v < vectors; v++) {
    VALUE(ACC) value[WIDTH];
    VALUE(EXTRA) extra[WIDTH];
    SAVEV(ACC, WIDTH, value, 0, part[v].value);
    SAVEV(EXTRA, WIDTH, extra, 0, part[v].extra);
    for (int lane = 0; lane < WIDTH; lane++, i++) {
      s.value = value[lane];
      s.extra = extra[lane];
      if (length == 0) s = nothing();
      save(second, y, y_second, s, first + i, x_reduced, position + from, out + i, count);
    }
  }
  long end = min(inner, ((long)get_global_id(0) + 1) * COLUMNS);
  for (; i < end; i++) {
    s = nothing();
    if (length > 0) LIFT_ELEMENT(1, s, first + i, 0, CENTRE(o, i));
    for (int r = 1; r < length; r++) {
      LIFT_ELEMENT(1, one, first + r * x_reduced + i, r, CENTRE(o, i));
      STEP_STATES(1, s, one);
    }
    save(second, y, y_second, s, first + i, x_reduced, position + from, out + i, count);
  }
}
#else

/* A group is `columns` x `lanes` items, times as many blocks as fit; item = (block * lanes + lane) * columns + column;
 * powers of two. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void reduce_group(ARGUMENTS, int columns, int lanes) {
  __local VALUE(ACC) values[GROUP];
  __local VALUE(EXTRA) extras[GROUP];
  int item = get_local_id(0), column = item % columns, lane = item / columns % lanes, spans = GROUP / (columns * lanes);
  long tiles = (inner + columns - 1) / columns, row = get_group_id(0) / tiles * spans + item / (columns * lanes);
  long i = get_group_id(0) % tiles * columns + column, o = row / blocks, b = row % blocks, from = b * block;
  bool inside = i < inner && o < outer;
  int length = inside ? (int)min((long)block, reduced - from) : 0;
  x += x_from;
  second += second_from;
  y += y_from;
  y_second += y_second_from;
  long first = o * x_outer + from * x_reduced + i;
  reduce_state1 s = nothing(), other;
  for (int r = lane; r < length; r += lanes) {
    LIFT_ELEMENT(1, other, first + r * x_reduced, r, CENTRE(o, i));
    MERGE_STATES(1, s, other);
  }
  values[item] = s.value;
  extras[item] = s.extra;
  for (int step = lanes / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) {
      other.value = values[item + step * columns];
      other.extra = extras[item + step * columns];
      MERGE_STATES(1, s, other);
      values[item] = s.value;
      extras[item] = s.extra;
    }
  }
  if (inside && lane == 0)
    save(second, y, y_second, s, first, x_reduced, position + from, o * y_outer + b * y_block + i, count);
}
#endif
