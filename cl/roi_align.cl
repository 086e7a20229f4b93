/* Means or maxima of bilinear samples in the bins of regions, or maxima of the elements in whole bins: one item an
 * element of y (He et al. 2017; Girshick 2015).
 * SPDX-License-Identifier: Apache-2.0 */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#define REAL VALUE(T0)
#define HALF_PIXEL 1
#define MAXIMUM 2
#define WHOLE_BINS 4

/* The two rows (or columns) around a place, and the weight of the second; 0 if it lies outside. */
static int neighbours(REAL at, int length, int *low, int *high, REAL *weight) {
  if (!(at >= -1 && at <= length)) return 0;
  at = max(at, (REAL)0);
  *low = min((int)at, length - 1);
  *high = min(*low + 1, length - 1);
  *weight = *low == length - 1 ? (REAL)0 : at - *low;
  return 1;
}

static int samples_along(REAL bin, int ratio, int most) {
  if (ratio > 0) return ratio;
  const REAL needed = ceil(bin);
  return needed >= 1 ? (needed < most ? (int)needed : most) : 0;
}

/* The elements of a bin of a region from `first` to `last`, rounded: [*from, *to), within [0, length]. */
static void whole_bin(REAL first, REAL last, int bins, int bin, int length, int *from, int *to) {
  const REAL start = round(first), size = max(round(last) - start + 1, (REAL)1) / bins;
  *from = (int)clamp(floor(bin * size) + start, (REAL)0, (REAL)length);
  *to = (int)clamp(ceil((bin + 1) * size) + start, (REAL)0, (REAL)length);
}

/* The largest element of rows and columns [from, to), 0 if there is none; NaN wins. */
static REAL largest_in(__global const STORE(T0) *x, int width, const int *from, const int *to) {
  REAL largest = 0;
  for (int row = from[0]; row < to[0]; row++)
    for (int column = from[1]; column < to[1]; column++) {
      const REAL value = LOAD(T0, x, (long)row * width + column);
      if (!(value <= largest) || (row == from[0] && column == from[1])) largest = value;
    }
  return largest;
}

__kernel void roi_align(__global const STORE(T0) *restrict x, long x_from, __global const STORE(T1) *restrict rois,
                        long rois_from, __global const long *restrict batch, long batch_from,
                        __global STORE(T3) *restrict y, long y_from, __global int *flag, long flag_from, int batches,
                        int channels, int height, int width, int bins_y, int bins_x, int ratio, int most, REAL scale,
                        int flags) {
  const int bin = get_global_id(0), c = get_global_id(1), r = get_global_id(2);
  if (bin >= bins_y * bins_x) return;
  const long to_y = y_from + ((long)r * channels + c) * bins_y * bins_x + bin, n = batch[batch_from + r];
  if (n < 0 || n >= batches) {
    flag[flag_from] = 1;
    SAVE(T3, y, to_y, (REAL)0);
    return;
  }
  if (flags & WHOLE_BINS) {
    int from[2], to[2];
    whole_bin(LOAD(T1, rois, rois_from + 4 * r + 1) * scale, LOAD(T1, rois, rois_from + 4 * r + 3) * scale, bins_y,
              bin / bins_x, height, &from[0], &to[0]);
    whole_bin(LOAD(T1, rois, rois_from + 4 * r) * scale, LOAD(T1, rois, rois_from + 4 * r + 2) * scale, bins_x,
              bin % bins_x, width, &from[1], &to[1]);
    const long plane = (n * channels + c) * (long)height * width;
    SAVE(T3, y, to_y, largest_in(x + x_from + plane, width, from, to));
    return;
  }
  const REAL offset = flags & HALF_PIXEL ? (REAL)0.5f : (REAL)0;
  const REAL x1 = LOAD(T1, rois, rois_from + 4 * r) * scale - offset,
             y1 = LOAD(T1, rois, rois_from + 4 * r + 1) * scale - offset;
  REAL roi_width = LOAD(T1, rois, rois_from + 4 * r + 2) * scale - offset - x1;
  REAL roi_height = LOAD(T1, rois, rois_from + 4 * r + 3) * scale - offset - y1;
  if (!(flags & HALF_PIXEL)) {
    roi_width = max(roi_width, (REAL)1);
    roi_height = max(roi_height, (REAL)1);
  }
  const REAL bin_height = roi_height / bins_y, bin_width = roi_width / bins_x;
  const int rows = samples_along(bin_height, ratio, most), columns = samples_along(bin_width, ratio, most);
  x += x_from + (n * channels + c) * (long)height * width;
  REAL sum = 0;
  int any = 0;
  for (int i = 0; i < rows; i++) {
    int top, bottom, left, right;
    REAL v, u;
    const REAL at_y = y1 + bin / bins_x * bin_height + (i + (REAL)0.5f) * bin_height / rows;
    const int inside_y = neighbours(at_y, height, &top, &bottom, &v);
    for (int j = 0; j < columns; j++) {
      const REAL at_x = x1 + bin % bins_x * bin_width + (j + (REAL)0.5f) * bin_width / columns;
      REAL a = 0, b = 0, d = 0, e = 0;
      if (inside_y && neighbours(at_x, width, &left, &right, &u)) {
        a = (1 - v) * (1 - u) * LOAD(T0, x, (long)top * width + left);
        b = (1 - v) * u * LOAD(T0, x, (long)top * width + right);
        d = v * (1 - u) * LOAD(T0, x, (long)bottom * width + left);
        e = v * u * LOAD(T0, x, (long)bottom * width + right);
      }
      if (flags & MAXIMUM) {
        const REAL largest = max(max(a, b), max(d, e));
        sum = any ? max(sum, largest) : largest;
        any = 1;
      } else {
        sum += a + b + d + e;
      }
    }
  }
  if (!(flags & MAXIMUM)) sum /= max(rows * columns, 1);
  SAVE(T3, y, to_y, sum);
}
