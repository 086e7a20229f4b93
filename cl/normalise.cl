/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias over the rows of [rows][length].
 * SPDX-License-Identifier: Apache-2.0
 *
 * Built with -DROW=f32|f64, -DRMS (no mean is taken off), -DSCALED, -DBIASED, -DSAVED (mean and inverse deviation are
 * results too), -DPER_COLUMN (`given` statistics are those of columns) and -DSKIP=0|1|2 (x + skip is normalised; 2:
 * that sum is a result too, else y holds it on the way). Element (row, column) uses scale and bias number (row % groups
 * * row_length + column) / segment: layer norm has one group and segments of 1, group norm a segment a channel.
 * Variance: a second pass over the row with the first pass's mean, corrected by what that mean was off (Chan, Golub &
 * LeVeque 1983), so that a large mean costs nothing. CPU: one item takes whole rows; GPU: a group shares rows. */
#include "row.cl"

#define ARGUMENTS                                                                                                   \
  __global const STORE(T0) *x, long x_from, __global const STORE(T1) *scale, long scale_from,                       \
      __global const STORE(T2) *bias, long bias_from, __global STORE(T3) *y, long y_from, __global STORE(T4) *mean, \
      long mean_from, __global STORE(T5) *spread, long spread_from, __global const STORE(T6) *skip, long skip_from, \
      __global STORE(T7) *sum, long sum_from, long rows, long length, long x_stride,                                \
      long y_stride, long segment, long groups, long first_row, long first_column, long row_length, long period,    \
      float epsilon, float factor
#define MOVE_TO_START  \
  x += x_from;         \
  scale += scale_from; \
  bias += bias_from;   \
  y += y_from;         \
  mean += mean_from;   \
  spread += spread_from;

#if SCALED
#define SCALE(n, v, f) ((v) * (f))
#else
#define SCALE(n, v, f) (v)
#endif
#if BIASED
#define BIAS(n, v, f) ((v) + (f))
#else
#define BIAS(n, v, f) (v)
#endif
#if RMS
#define CENTRE(v, m) (v)
#else
#define CENTRE(v, m) ((v) - (m))
#endif
#define LOAD_SCALE(n, i) CONVERTV(T1, ROW, n, LOADV(T1, n, scale, i))
#define LOAD_BIAS(n, i) CONVERTV(T2, ROW, n, LOADV(T2, n, bias, i))
#define NORMALISED(n, c, m, inverse, at) \
  BIAS(n, SCALE(n, CENTRE(LOAD_ROW(n, x, c), m) * (inverse), LOAD_SCALE(n, at)), LOAD_BIAS(n, at))
#define PUT(n, at, v) SAVEV(T3, n, y, at, CONVERTV(ROW, T3, n, v))
#define INVERSE(variance) (1 / sqrt((variance) + (real)epsilon))

#if SKIP == 2
#define SUM_OF_ROW(row) (sum + sum_from + (row)*x_stride)
#else
#define SUM_OF_ROW(row) (y + (row)*y_stride)
#endif

#if WIDTH > 1
typedef struct {
  real mean, variance;
} moments;

static moments row_moments(__global const STORE(T0) * x, int n) {
  moments m;
  realv a = 0, b = 0, c = 0, d = 0;
  real first = 0, second = 0;
  int i = 0;
  m.mean = 0;
#if !RMS
  for (; i <= n - 2 * WIDTH; i += 2 * WIDTH) {
    a += LOAD_ROW(WIDTH, x, i);
    b += LOAD_ROW(WIDTH, x, i + WIDTH);
  }
  FOR_VECTORS(i, n) a += LOAD_ROW(WIDTH, x, i);
  for (; i < n; i++) first += LOAD_ROW(1, x, i);
  m.mean = (first + sum_lanes(a + b)) / n;
#endif
  a = b = 0;
  first = 0;
  for (i = 0; i <= n - 2 * WIDTH; i += 2 * WIDTH) {
    realv v = CENTRE(LOAD_ROW(WIDTH, x, i), m.mean), w = CENTRE(LOAD_ROW(WIDTH, x, i + WIDTH), m.mean);
    a += v;
    b += w;
    c += v * v;
    d += w * w;
  }
  FOR_VECTORS(i, n) {
    realv v = CENTRE(LOAD_ROW(WIDTH, x, i), m.mean);
    a += v;
    c += v * v;
  }
  for (; i < n; i++) {
    real v = CENTRE(LOAD_ROW(1, x, i), m.mean);
    first += v;
    second += v * v;
  }
  real off = RMS ? 0 : (first + sum_lanes(a + b)) / n;
  m.variance = (second + sum_lanes(c + d)) / n - off * off;
  m.mean += off;
  return m;
}

#if SKIP
static void add_rows(__global const STORE(T0) *x, __global const STORE(T6) *skip, __global STORE(T0) *sum, int n) {
  int i = 0;
  FOR_VECTORS(i, n)
  SAVEV(T0, WIDTH, sum, i, CONVERTV(ROW, T0, WIDTH, LOAD_ROW(WIDTH, x, i) + LOAD_ROW(WIDTH, skip, i)));
  for (; i < n; i++) SAVE(T0, sum, i, CONVERT(ROW, T0, LOAD_ROW(1, x, i) + LOAD_ROW(1, skip, i)));
}
#endif

/* Elements [begin, end) of a row that share one scale and bias. */
static void apply_segment(__global const STORE(T0) *x, __global STORE(T3) *y, long begin, long end, real m, real factor,
                          real add) {
  long c = begin;
  FOR_VECTORS(c, end) PUT(WIDTH, c, BIAS(WIDTH, CENTRE(LOAD_ROW(WIDTH, x, c), m) * factor, add));
  for (; c < end; c++) PUT(1, c, BIAS(1, CENTRE(LOAD_ROW(1, x, c), m) * factor, add));
}

/* A row; `column` is the index of its first element in the whole row, `base` that of the whole row's first one among
 * the groups. */
static void apply_row(__global const STORE(T0) *x, __global const STORE(T1) *scale, __global const STORE(T2) *bias,
                      __global STORE(T3) *y, long n, long column, long base, long segment, real m, real inverse,
                      bool stream) {
  long c = 0;
  if (segment == 1) {
    long at = base + column;
    if (stream)
      FOR_VECTORS(c, n) STREAMV(T3, WIDTH, y, c, CONVERTV(ROW, T3, WIDTH, NORMALISED(WIDTH, c, m, inverse, at + c)));
    else
      FOR_VECTORS(c, n) PUT(WIDTH, c, NORMALISED(WIDTH, c, m, inverse, at + c));
    for (; c < n; c++) PUT(1, c, NORMALISED(1, c, m, inverse, at + c));
    return;
  }
  while (c < n) {
    long number = (base + column + c) / segment, end = min(n, (number + 1) * segment - base - column);
    apply_segment(x, y, c, end, m, SCALE(1, inverse, LOAD_SCALE(1, number)), BIASED ? LOAD_BIAS(1, number) : 0);
    c = end;
  }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void normalise_rows(ARGUMENTS, int rows_per_item, int stream) {
  MOVE_TO_START
  long row = (long)get_global_id(0) * rows_per_item, end = min(row + rows_per_item, rows);
  stream = stream && STREAMABLE(T3, y, y_stride);
  for (; row < end; row++) {
    __global const STORE(T0) *from = x + row * x_stride;
#if SKIP
    add_rows(from, skip + skip_from + row * x_stride, SUM_OF_ROW(row), (int)length);
    from = SUM_OF_ROW(row);
#endif
    moments m = row_moments(from, (int)length);
    real inverse = INVERSE(m.variance);
    apply_row(from, scale, bias, y + row * y_stride, length, 0, (first_row + row) % groups * row_length,
              segment, m.mean, inverse, stream);
#if SAVED
    SAVE(T4, mean, row, m.mean);
    SAVE(T5, spread, row, inverse);
#endif
  }
}

/* With mean and variance (or a sum of squares: times factor) ready-made. One item takes `per_item` elements of a row.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void normalise_given(ARGUMENTS, int per_item, int stream) {
  MOVE_TO_START
  long row = get_global_id(1), c = (long)get_global_id(0) * per_item, end = min(c + per_item, length);
  x += row * x_stride;
  y += row * y_stride;
#if PER_COLUMN
  for (; c < end; c++) {
    long at = first_column + c;
    real m = RMS ? 0 : CONVERT(T4, ROW, LOAD(T4, mean, at));
    PUT(1, c, NORMALISED(1, c, m, INVERSE(CONVERT(T5, ROW, LOAD(T5, spread, at)) * factor), at));
  }
#else
  long at = (first_row + row) % period;
  real m = RMS ? 0 : CONVERT(T4, ROW, LOAD(T4, mean, at)),
       inverse = INVERSE(CONVERT(T5, ROW, LOAD(T5, spread, at)) * factor);
  apply_row(x + c, scale, bias, y + c, end - c, first_column + c, (first_row + row) % groups * row_length, segment, m,
            inverse, stream && STREAMABLE(T3, y + c, WIDTH));
#endif
}
#else

/* `lanes` items share a row; a group takes GROUP / lanes rows. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void normalise_group(ARGUMENTS, int lanes) {
  __local real shared[GROUP];
  MOVE_TO_START
  int item = get_local_id(0), lane = item % lanes;
  long row = get_group_id(0) * (GROUP / lanes) + item / lanes, n = row < rows ? length : 0;
  x += row * x_stride;
#if SKIP
  skip += skip_from + row * x_stride;
  __global STORE(T0) *total = SUM_OF_ROW(row);
  for (long c = lane; c < n; c += lanes)
    SAVE(T0, total, c, CONVERT(ROW, T0, LOAD_ROW(1, x, c) + LOAD_ROW(1, skip, c))); /* this lane alone reads it */
  x = total;
#endif
  y += row * y_stride;
  real m = 0, first = 0, second = 0, off = 0;
#if !RMS
  for (long c = lane; c < n; c += lanes) first += LOAD_ROW(1, x, c);
  m = sum_group(shared, first, item, lane, lanes, 1) / length;
  first = 0;
#endif
  for (long c = lane; c < n; c += lanes) {
    real v = CENTRE(LOAD_ROW(1, x, c), m);
    first += v;
    second += v * v;
  }
#if !RMS
  off = sum_group(shared, first, item, lane, lanes, 1) / length;
#endif
  real inverse = INVERSE(sum_group(shared, second, item, lane, lanes, 1) / length - off * off);
  m += off;
  long base = (first_row + row) % groups * row_length;
  for (long c = lane; c < n; c += lanes) PUT(1, c, NORMALISED(1, c, m, inverse, (base + c) / segment));
#if SAVED
  if (lane == 0 && row < rows) {
    SAVE(T4, mean, row, m);
    SAVE(T5, spread, row, inverse);
  }
#endif
}

/* One item an element. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void normalise_given_group(ARGUMENTS) {
  MOVE_TO_START
  long c = get_global_id(0), row = get_global_id(1), column = first_column + c;
  if (c >= length) return;
  x += row * x_stride;
  y += row * y_stride;
  long at = PER_COLUMN ? column : (first_row + row) % period;
  real m = RMS ? 0 : CONVERT(T4, ROW, LOAD(T4, mean, at)),
       inverse = INVERSE(CONVERT(T5, ROW, LOAD(T5, spread, at)) * factor);
  PUT(1, c, NORMALISED(1, c, m, inverse, ((first_row + row) % groups * row_length + column) / segment));
}
#endif
