/* Pooling: the maximum, mean or norm of every window. SPDX-License-Identifier: Apache-2.0
 *
 * The problem is described in src/kernel/family_pool.h; -DMODE is its mode. pool_each: any device, one item an element,
 * all dimensions, indices. pool_rows: CPU, one or two dimensions; one item takes a band of rows of a plane, copies the
 * rows of x that they see into local memory, with the identity for the padding, split into phases by the stride, so
 * that vectors run along y's rows without a test (as in convolve_depthwise.cl). pool_lanes: CPU, vectors of channels.
 */
#ifndef WIDTH
#define WIDTH 8
#endif
#ifndef MODE
#define MODE 0
#endif
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#if SUM_IS_DOUBLE
#define LIMIT double
#else
#define LIMIT float
#endif

#define MAX 0
#define AVERAGE 1
#define NORM 2
#define COUNT_PADDING 1
#define COLUMN_MAJOR 2
#define UNROLL _Pragma("unroll")

/* The dtype of sums. */
#if SUM_IS_INT
#define TS i32
#define LOWEST INT_MIN
#elif SUM_IS_DOUBLE
#define TS f64
#define LOWEST (-INFINITY)
#else
#define TS f32
#define LOWEST (-INFINITY)
#endif
#define SUM VALUE(TS)
#define SUMS VALUEV(TS, WIDTH)

#if MODE == MAX
#define IDENTITY ((SUM)LOWEST)
#define TERM(v) (v)
#define COMBINE(a, b) ((b) > (a) ? (b) : (a))
#elif MODE == AVERAGE
#define IDENTITY ((SUM)0)
#define TERM(v) (v)
#define COMBINE(a, b) ((a) + (b))
#else
#define IDENTITY ((SUM)0)
#define TERM(v) norm_term(v, p)
#define COMBINE(a, b) ((a) + (b))
static SUM norm_term(SUM v, LIMIT p) { return p == 2 ? v * v : p == 1 ? fabs(v) : pow(fabs(v), (SUM)p); }
#endif

static SUM finish(SUM sum, int count, LIMIT p) {
#if MODE == AVERAGE
  return sum / (SUM)max(count, 1);
#elif MODE == NORM
  return p == 2 ? sqrt(sum) : p == 1 ? sum : pow(sum, (SUM)(1 / p));
#elif SUM_IS_INT
  return max(sum, (SUM)(LOWEST_STORED));
#else
  return sum;
#endif
}

/* Elements of a window along one dimension that an average counts: those inside x, or inside x and its padding. */
static int count_along(int first, int taps, int dilation, int length, int pad, int after, int flags) {
  const int begin = flags & COUNT_PADDING ? -pad : 0, end = flags & COUNT_PADDING ? length + after : length;
  int count = 0;
  for (int k = 0; k < taps; k++) count += first + k * dilation >= begin && first + k * dilation < end;
  return count;
}

/* Triples are of dimensions D H W. */
#define POOL_ARGUMENTS                                                                                              \
  __global const STORE(T0) *restrict x, __global STORE(T1) *restrict y, __global long *restrict indices,            \
      long8 offsets, long planes, long first_plane, int lanes, long8 dims, long8 kernel_steps, long8 dilation_pads, \
      long8 afters, int flags, LIMIT p

#define POOL_BEGIN                                                                                  \
  const int4 x_dims = convert_int4(dims.s0123), y_dims = convert_int4(dims.s3456);                  \
  const int4 k_dims = convert_int4(kernel_steps.s0123), stride = convert_int4(kernel_steps.s3456);  \
  const int4 dilation = convert_int4(dilation_pads.s0123), pad = convert_int4(dilation_pads.s3456); \
  const int4 after = convert_int4(afters.s0123);                                                    \
  x += offsets.s0;                                                                                  \
  y += offsets.s1;                                                                                  \
  if (indices) indices += offsets.s2

#if EACH
__kernel void pool_each(POOL_ARGUMENTS) {
  POOL_BEGIN;
  const long area = (long)y_dims.x * y_dims.y * y_dims.z * lanes;
  const long e = get_global_id(0), plane = get_global_id(1);
  if (e >= area || plane >= planes) return;
  const int lane = e % lanes, px = e / lanes % y_dims.z, py = e / lanes / y_dims.z % y_dims.y;
  const int pz = e / lanes / y_dims.z / y_dims.y;
  const int z0 = pz * stride.x - pad.x, y0 = py * stride.y - pad.y, x0 = px * stride.z - pad.z;
  const long x_area = (long)x_dims.x * x_dims.y * x_dims.z;
  SUM sum = IDENTITY;
  long best = -1;
  x += plane * x_area * lanes + lane;
  for (int kz = 0; kz < k_dims.x; kz++)
    for (int ky = 0; ky < k_dims.y; ky++)
      for (int kx = 0; kx < k_dims.z; kx++) {
        const int iz = z0 + kz * dilation.x, iy = y0 + ky * dilation.y, ix = x0 + kx * dilation.z;
        if (iz < 0 || iz >= x_dims.x || iy < 0 || iy >= x_dims.y || ix < 0 || ix >= x_dims.z) continue;
        const SUM value = (SUM)LOAD(T0, x, (((long)iz * x_dims.y + iy) * x_dims.z + ix) * lanes);
        if (best < 0 || value > sum)
          best = flags & COLUMN_MAJOR ? iz + (long)x_dims.x * (iy + (long)x_dims.y * ix)
                                      : ((long)iz * x_dims.y + iy) * x_dims.z + ix;
        sum = COMBINE(sum, TERM(value));
      }
  const int count = count_along(z0, k_dims.x, dilation.x, x_dims.x, pad.x, after.x, flags) *
                    count_along(y0, k_dims.y, dilation.y, x_dims.y, pad.y, after.y, flags) *
                    count_along(x0, k_dims.z, dilation.z, x_dims.z, pad.z, after.z, flags);
  SAVE(T1, y, plane * area + e, finish(sum, count, p));
  if (indices) indices[plane * area + e] = (first_plane + plane) * x_area + max(best, 0L);
}
#else

/* One row of x, from column -pad on: `width` elements of each phase. */
static void copy_row(__global const STORE(T0) *x, int length, int pad, int phases, int width, LIMIT p,
                     __local SUM *line) {
  for (int phase = 0; phase < phases; phase++, line += width) {
    /* elements i with 0 <= i * phases + phase - pad < length */
    const int first = max(0, min(width, (pad - phase + phases - 1) / phases));
    const int last = max(first, min(width, (length + pad - phase + phases - 1) / phases));
    __global const STORE(T0) *from = x + phase - pad;
    int i = 0;
    for (; i < first; i++) line[i] = IDENTITY;
#if MODE != NORM
    if (phases == 1)
      for (; i + WIDTH <= last; i += WIDTH) SAVEV(TS, WIDTH, line, i, LOADV(T0, WIDTH, from, i));
#endif
    for (; i < last; i++) line[i] = TERM((SUM)LOAD(T0, from, i * phases));
    for (; i < width; i++) line[i] = IDENTITY;
  }
}

/* Group (i, plane): rows from i * band. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void pool_rows(POOL_ARGUMENTS, int band, int width,
                                                                       __local SUM *lines) {
  POOL_BEGIN;
  const int row0 = get_global_id(0) * band, rows = min(band, y_dims.y - row0), line = width * stride.z;
  const int seen = (rows - 1) * stride.y + (k_dims.y - 1) * dilation.y + 1;
  x += get_global_id(1) * (long)x_dims.y * x_dims.z;
  y += get_global_id(1) * (long)y_dims.y * y_dims.z;
  for (int r = 0; r < seen; r++) {
    const int iy = row0 * stride.y - pad.y + r;
    const int there = iy >= 0 && iy < x_dims.y;
    copy_row(x + (there ? (long)iy * x_dims.z : 0), there ? x_dims.z : 0, pad.z, stride.z, width, p, lines + r * line);
  }
  for (int r = 0; r < rows; r++) {
    const int y0 = (row0 + r) * stride.y - pad.y;
    const int count_y = count_along(y0, k_dims.y, dilation.y, x_dims.y, pad.y, after.y, flags);
    for (int px = 0; px < y_dims.z; px += WIDTH) {
      SUMS sum = (SUMS)(IDENTITY);
      for (int ky = 0; ky < k_dims.y; ky++)
        for (int kx = 0; kx < k_dims.z; kx++) {
          const int tap = kx * dilation.z;
          const SUMS value = LOADV(
              TS, WIDTH, lines, (r * stride.y + ky * dilation.y) * line + tap % stride.z * width + tap / stride.z + px);
          sum = COMBINE(sum, value);
        }
      SUM part[WIDTH];
      SAVEV(TS, WIDTH, part, 0, sum);
      const int lanes_here = min(WIDTH, y_dims.z - px), x0 = px * stride.z - pad.z;
      const int inside =
          MODE != AVERAGE || (x0 >= 0 && (px + WIDTH - 1) * stride.z - pad.z + (k_dims.z - 1) * dilation.z < x_dims.z);
      for (int l = 0; l < lanes_here; l++) {
        const int count_x =
            inside ? k_dims.z : count_along(x0 + l * stride.z, k_dims.z, dilation.z, x_dims.z, pad.z, after.z, flags);
        SAVE(T1, y, (long)(row0 + r) * y_dims.z + px + l, finish(part[l], count_y * count_x, p));
      }
    }
  }
}

/* Group (i, plane): rows from i * band, vectors of all lanes. width and lines are not used. */
__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void pool_lanes(POOL_ARGUMENTS, int band, int width,
                                                                        __local SUM *lines) {
  POOL_BEGIN;
  const int row0 = get_global_id(0) * band, rows = min(band, y_dims.y - row0);
  x += get_global_id(1) * (long)x_dims.y * x_dims.z * WIDTH;
  y += get_global_id(1) * (long)y_dims.y * y_dims.z * WIDTH;
  for (int r = 0; r < rows; r++)
    for (int px = 0; px < y_dims.z; px++) {
      const int y0 = (row0 + r) * stride.y - pad.y, x0 = px * stride.z - pad.z;
      const int count = MODE == AVERAGE ? count_along(y0, k_dims.y, dilation.y, x_dims.y, pad.y, after.y, flags) *
                                              count_along(x0, k_dims.z, dilation.z, x_dims.z, pad.z, after.z, flags)
                                        : 1;
      SUMS sum = (SUMS)(IDENTITY);
      for (int ky = 0; ky < k_dims.y; ky++) {
        const int iy = y0 + ky * dilation.y;
        if (iy < 0 || iy >= x_dims.y) continue;
        for (int kx = 0; kx < k_dims.z; kx++) {
          const int ix = x0 + kx * dilation.z;
          if (ix < 0 || ix >= x_dims.z) continue;
          const SUMS value = LOADV(T0, WIDTH, x, ((long)iy * x_dims.z + ix) * WIDTH);
          sum = COMBINE(sum, value);
        }
      }
#if MODE == AVERAGE
      sum /= (SUMS)((SUM)max(count, 1));
#endif
      SAVEV(T1, WIDTH, y, ((long)(row0 + r) * y_dims.z + px) * WIDTH, sum);
    }
}
#endif
