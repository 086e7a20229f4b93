/* y = f(a), f(a, b) or f(a, b, c), element by element, broadcast and strided. SPDX-License-Identifier: Apache-2.0
 *
 * -DOP=OP_add (elementwise_ops.cl), -DARITY=1|2|3, -DT0 … -DT2 the dtypes of the inputs, -DT3 of the output, -DVW the
 * width of a vector. The host merges dimensions that all tensors walk alike, so that most calls have one; dims and
 * strides come innermost first, in elements, 0 along a broadcast dimension.
 *
 *   rows   CPUs: one item a group, `chunk` consecutive elements an item; innermost strides 1 (or 0 for inputs): whole
 * vectors. lanes  CPUs: the same with any strides: gathers a vector, computes, scatters. grid   GPUs: an element a
 * work-item and step, neighbours together; VW is 1.
 *
 * The operation always sees a full vector, at the ends of rows and in `lanes` too: an element's bits then do not depend
 * on where a row begins or how the work is cut. STREAM=2 stores past the cache: for outputs that would only push other
 * data out of it. */
#include "dtype.cl"
#define IS_OP_cast 1
#define IS_OP_where 2
#define IS_OP_pow 3
#define N VW
#define MATH_WIDTH VW
#include "math.cl"

#if PASTE(IS_, OP) == IS_OP_where
#define A T1
#else
#define A T0
#endif
#define V JOIN(VALUE(A), N)
#include "elementwise_ops.cl"

#if ARITY == 1
#define INPUTS __global const STORE(T0) * a, long oa, long8 strides_a
#elif ARITY == 2
#define INPUTS \
  __global const STORE(T0) * a, long oa, long8 strides_a, __global const STORE(T1) * b, long ob, long8 strides_b
#else
#define INPUTS                                                                                                    \
  __global const STORE(T0) * a, long oa, long8 strides_a, __global const STORE(T1) * b, long ob, long8 strides_b, \
      __global const STORE(T2) * c, long oc, long8 strides_c
#endif
#define PARAMETERS                                                                                             \
  long count, long chunk, int rank, long8 dims, __global STORE(T3) * y, long oy, long8 strides_y, VALUE(A) p0, \
      VALUE(A) p1, INPUTS

/* Values of dtype T3 from vectors of the inputs' values. */
#if PASTE(IS_, OP) == IS_OP_cast
#define COMPUTE(a, b, c) CONVERTV(T0, T3, N, a)
#else
#define COMPUTE(a, b, c) OP(a, b, c)
#endif
#define RESULT VALUEV(T3, N)

#if ARITY > 1
#define IF_B(statement) statement
#else
#define IF_B(statement)
#endif
#if ARITY > 2
#define IF_C(statement) statement
#else
#define IF_C(statement)
#endif

/* Where element `index` of the row-major order lies in each tensor. */
#define LOCATE(index)                                \
  do {                                               \
    long rest = (index);                             \
    for (int d = 0; d < rank; d++) {                 \
      long above = d + 1 < rank ? rest / dim[d] : 0; \
      position[d] = rest - above * dim[d];           \
      rest = above;                                  \
      oa += position[d] * step_a[d];                 \
      IF_B(ob += position[d] * step_b[d];)           \
      IF_C(oc += position[d] * step_c[d];)           \
      oy += position[d] * step_y[d];                 \
    }                                                \
  } while (0)

/* To the next element along dimension `first`, carrying over. */
#define ADVANCE(first)                     \
  for (int d = (first); d < rank; d++) {   \
    bool carry = ++position[d] == dim[d];  \
    long steps = carry ? 1 - dim[d] : 1;   \
    position[d] = carry ? 0 : position[d]; \
    oa += steps * step_a[d];               \
    IF_B(ob += steps * step_b[d];)         \
    IF_C(oc += steps * step_c[d];)         \
    oy += steps * step_y[d];               \
    if (!carry) break;                     \
  }

#define UNPACK                                    \
  long dim[8], position[8], step_a[8], step_y[8]; \
  IF_B(long step_b[8];)                           \
  IF_C(long step_c[8];)                           \
  vstore8(dims, 0, dim);                          \
  vstore8(strides_a, 0, step_a);                  \
  IF_B(vstore8(strides_b, 0, step_b);)            \
  IF_C(vstore8(strides_c, 0, step_c);)            \
  vstore8(strides_y, 0, step_y);

#if SHAPED_FOR_GPU

/* 32-bit division is several times cheaper than 64-bit. */
#if WIDE_INDEX == 2
#define INDEX ulong
#else
#define INDEX uint
#endif

#define GROUP 64 /* as the host launches it */
__attribute__((reqd_work_group_size(GROUP, 1, 1))) __kernel void grid(PARAMETERS) {
  UNPACK
  const long base_a = oa, base_y = oy;
  IF_B(const long base_b = ob;)
  IF_C(const long base_c = oc;)
  for (INDEX i = (INDEX)get_global_id(0); i < (INDEX)count; i += (INDEX)get_global_size(0)) {
    INDEX rest = i;
    oa = base_a;
    IF_B(ob = base_b;)
    IF_C(oc = base_c;)
    oy = base_y;
    for (int d = 0; d < rank; d++) {
      INDEX above = d + 1 < rank ? rest / (INDEX)dim[d] : 0, at = rest - above * (INDEX)dim[d];
      rest = above;
      oa += (long)at * step_a[d];
      IF_B(ob += (long)at * step_b[d];)
      IF_C(oc += (long)at * step_c[d];)
      oy += (long)at * step_y[d];
    }
    VALUE(T0) va = LOAD(T0, a, oa);
    IF_B(VALUE(T1) vb = LOAD(T1, b, ob);)
    IF_C(VALUE(T2) vc = LOAD(T2, c, oc);)
    SAVE(T3, y, oy, COMPUTE(va, vb, vc));
  }
}

#else

#if STREAM == 2
#define WRITE STREAMV
#else
#define WRITE SAVEV
#endif

#define LANES_LOAD(lanes) LANES_LOAD_(N, lanes)
#define LANES_LOAD_(n, lanes) LANES_LOAD__(n, lanes)
#define LANES_LOAD__(n, lanes) vload##n(0, lanes)
#define LANES_SAVE(v, lanes) LANES_SAVE_(N, v, lanes)
#define LANES_SAVE_(n, v, lanes) LANES_SAVE__(n, v, lanes)
#define LANES_SAVE__(n, v, lanes) vstore##n(v, 0, lanes)

/* A vector of the elements from k of a row of input p, which may be one element broadcast; only `used` of them exist.
 */
#define FETCH(T, v, p, o, step)                                                                    \
  VALUEV(T, N) v;                                                                                  \
  if ((step)[0] == 0) {                                                                            \
    v = (VALUEV(T, N))(LOAD(T, p, o));                                                             \
  } else if (used == N) {                                                                          \
    v = LOADV(T, N, p, (o) + k);                                                                   \
  } else {                                                                                         \
    VALUE(T) values[N];                                                                            \
    for (int lane = 0; lane < N; lane++) values[lane] = LOAD(T, p, (o) + k + min(lane, used - 1)); \
    v = LANES_LOAD(values);                                                                        \
  }

/* How many elements to do at once from y: a vector, or fewer at the end of a row and, streaming, up to an aligned
 * address. */
static int step_length(long left, ulong address) {
#if STREAM == 2
  int before = (int)(address % (N * sizeof(STORE(T3)))) / (int)sizeof(STORE(T3));
  left = before > 0 ? min(left, (long)(N - before)) : left;
#endif
  return (int)min(left, (long)N);
}

#define LINE(T, p, o, step) ((step)[0] == 0 ? (VALUEV(T, N))(LOAD(T, p, o)) : LOADV(T, N, p, o))

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void rows(PARAMETERS) {
  UNPACK
  long begin = (long)get_global_id(0) * chunk, end = min(begin + chunk, count);
  LOCATE(begin);
  while (begin < end) {
#if STREAM != 2
    if (dim[0] == N && rank > 1 && position[0] == 0 && end - begin >= N) { /* rows of one vector: the next dimension */
      const long lines = min(dim[1] - position[1], (end - begin) / N);
      for (long l = 0; l < lines; l++) {
        VALUEV(T0, N) va = LINE(T0, a, oa + l * step_a[1], step_a);
        IF_B(VALUEV(T1, N) vb = LINE(T1, b, ob + l * step_b[1], step_b);)
        IF_C(VALUEV(T2, N) vc = LINE(T2, c, oc + l * step_c[1], step_c);)
        SAVEV(T3, N, y, oy + l * step_y[1], COMPUTE(va, vb, vc));
      }
      begin += lines * N;
      position[1] += lines - 1;
      oa += (lines - 1) * step_a[1];
      IF_B(ob += (lines - 1) * step_b[1];)
      IF_C(oc += (lines - 1) * step_c[1];)
      oy += (lines - 1) * step_y[1];
      ADVANCE(1)
      continue;
    }
#endif
    long run = min(dim[0] - position[0], end - begin);
    int used;
    for (long k = 0; k < run; k += used) {
      used = step_length(run - k, (ulong)(y + oy + k));
      FETCH(T0, va, a, oa, step_a)
      IF_B(FETCH(T1, vb, b, ob, step_b))
      IF_C(FETCH(T2, vc, c, oc, step_c))
      RESULT result = COMPUTE(va, vb, vc);
      if (used == N) {
        WRITE(T3, N, y, oy + k, result);
      } else {
        VALUE(T3) values[N];
        LANES_SAVE(result, values);
        for (int lane = 0; lane < used; lane++) SAVE(T3, y, oy + k + lane, values[lane]);
      }
    }
    begin += run;
    /* back to the start of this row, then to the next one */
    oa -= position[0] * step_a[0];
    IF_B(ob -= position[0] * step_b[0];)
    IF_C(oc -= position[0] * step_c[0];)
    oy -= position[0] * step_y[0];
    position[0] = 0;
    ADVANCE(1)
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void lanes(PARAMETERS) {
  UNPACK
  long begin = (long)get_global_id(0) * chunk, end = min(begin + chunk, count);
  LOCATE(begin);
  for (; begin < end; begin += N) {
    int used = (int)min((long)N, end - begin);
    long target[N];
    VALUE(T0) lanes_a[N];
    IF_B(VALUE(T1) lanes_b[N];)
    IF_C(VALUE(T2) lanes_c[N];)
    VALUE(T3) lanes_y[N];
    for (int lane = 0; lane < N; lane++) {
      target[lane] = oy;
      lanes_a[lane] = LOAD(T0, a, oa);
      IF_B(lanes_b[lane] = LOAD(T1, b, ob);)
      IF_C(lanes_c[lane] = LOAD(T2, c, oc);)
      if (lane + 1 < used) ADVANCE(0)
    }
    ADVANCE(0)
    VALUEV(T0, N) va = LANES_LOAD(lanes_a);
    IF_B(VALUEV(T1, N) vb = LANES_LOAD(lanes_b);)
    IF_C(VALUEV(T2, N) vc = LANES_LOAD(lanes_c);)
    LANES_SAVE(COMPUTE(va, vb, vc), lanes_y);
    for (int lane = 0; lane < used; lane++) SAVE(T3, y, target[lane], lanes_y[lane]);
  }
}

#endif
