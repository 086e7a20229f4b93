/* What the kernels over rows share. SPDX-License-Identifier: Apache-2.0
 *
 * ROW is the dtype that a row is computed in: f64 for f64, else f32. Sums and maxima over the lanes of a vector, and
 * over the items of a group by a tree in local memory. */
#include "dtype.cl"

#ifndef WIDTH
#define WIDTH 16
#endif
#ifndef GROUP
#define GROUP 256
#endif

#define ROWV(n) VALUEV(ROW, n)
typedef VALUE(ROW) real;
typedef ROWV(WIDTH) realv;

#define ADDED(a, b) ((a) + (b))
/* A NaN may be lost: it comes back with the exponentials. One instruction on a CPU, unlike fmax. */
#define LARGER(a, b) ((b) > (a) ? (b) : (a))
#define LOAD_ROW(n, p, i) CONVERTV(T0, ROW, n, LOADV(T0, n, p, i))
#define FOR_VECTORS(i, n) for (; i <= (n)-WIDTH; i += WIDTH)

#if WIDTH > 1
/* The lanes of v to one value: half of them with the other half, and so on. */
#define DEFINE_FOLD(name, combine)                                                                   \
  static real name(realv v) {                                                                        \
    real lane[WIDTH];                                                                                \
    SAVEV(ROW, WIDTH, lane, 0, v);                                                                   \
    _Pragma("unroll") for (int step = WIDTH / 2; step > 0; step /= 2)                                \
        _Pragma("unroll") for (int i = 0; i < step; i++) lane[i] = combine(lane[i], lane[i + step]); \
    return lane[0];                                                                                  \
  }
DEFINE_FOLD(sum_lanes, ADDED)
DEFINE_FOLD(max_lanes, LARGER)

/* May vectors be stored past the cache? Rows begin at every multiple of `stride` elements. */
#define STREAMABLE(T, p, stride) (((ulong)(p) % (WIDTH * sizeof(STORE(T)))) == 0 && (stride) % WIDTH == 0)
#else

/* `lanes` items that are `stride` apart in the group share a row; all get the result. Ends with a barrier. */
static real sum_group(__local real *shared, real value, int item, int lane, int lanes, int stride) {
  shared[item] = value;
  for (int step = lanes / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) shared[item] += shared[item + step * stride];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  real total = shared[item - lane * stride];
  barrier(CLK_LOCAL_MEM_FENCE);
  return total;
}

static real max_group(__local real *shared, real value, int item, int lane, int lanes, int stride) {
  shared[item] = value;
  for (int step = lanes / 2; step > 0; step /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane < step) shared[item] = LARGER(shared[item], shared[item + step * stride]);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  real largest = shared[item - lane * stride];
  barrier(CLK_LOCAL_MEM_FENCE);
  return largest;
}
#endif
