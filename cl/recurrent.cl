/* A whole sequence of an RNN, a GRU or an LSTM in one launch, shaped for CPUs. SPDX-License-Identifier: Apache-2.0
 *
 * One item takes ROWS sequences of the batch through all steps. Their states stay in local memory; weights come in
 * panels of UNITS hidden units, all gates of a unit in one, so that what a unit becomes is known as soon as its panel
 * has been read, without a second pass:
 *
 *   w:     [panel][k < hidden][GATES][UNITS], zeros past the last unit
 *   x:     [step][row][GATES * hidden], the input's part of the gates, biases included
 *   extra: of a GRU that resets after the product the recurrent bias, of an LSTM the peepholes, [3 * hidden]; or NULL
 *   mask:  [step][row], 0 where the sequence has ended: y is 0 there and the state stays; or NULL
 *   h, c:  [row][hidden], the state before and after
 *
 * Gates are in ONNX's order: GRU z, r, h; LSTM i, o, f, c. Sums run over k in order, whatever ROWS is.
 * The cells: Hochreiter and Schmidhuber 1997, Cho et al. 2014. */
#include "dtype.cl"
#define UNITS 8
#define MATH_WIDTH 8
#include "math.cl"

#ifndef ROWS
#define ROWS 1
#endif
#ifndef CELL
#define CELL 2
#define RESET_AFTER 0
#define INPUT_FORGET 0
#define RELU 0
#endif
#define RNN 0
#define GRU 1
#define LSTM 2
#define GATES (CELL == LSTM ? 4 : CELL == GRU ? 3 : 1)
#define UNROLL _Pragma("unroll")
#define LANES float8

/* Units from `unit` on, zeros past the last. */
static LANES load_units(__global const float *p, int unit, int hidden) {
  if (unit + UNITS <= hidden) return vload8(0, p + unit);
  float lane[UNITS];
  for (int l = 0; l < UNITS; l++) lane[l] = unit + l < hidden ? p[unit + l] : 0.0f;
  return vload8(0, lane);
}

static void store_units(LANES v, __global float *p, int unit, int hidden) {
  if (unit + UNITS <= hidden) {
    vstore8(v, 0, p + unit);
    return;
  }
  float lane[UNITS];
  vstore8(v, 0, lane);
  for (int l = 0; unit + l < hidden; l++) p[unit + l] = lane[l];
}

static LANES limited(LANES v, float clip) {
  if (clip <= 0.0f) return v;
  v = v < -clip ? (LANES)(-clip) : v;
  return v > clip ? (LANES)(clip) : v;
}

/* sum[r][g] += state[r] times gates FIRST to END - 1 of the panel */
#define ADD_PRODUCTS(FIRST, END, state)                                                                           \
  for (int k = 0; k < hidden; k++) UNROLL for (int g = FIRST; g < END; g++) {                                     \
      const LANES weight = vload8(0, panel + (k * GATES + g) * UNITS);                                            \
      UNROLL for (int r = 0; r < ROWS; r++) sum[r][g] = fma((LANES)((state)[r * padded + k]), weight, sum[r][g]); \
    }

/* The input's part of a gate. */
#define X(g) load_units(x_row_at, (g)*hidden + unit, (g)*hidden + hidden)
#define EXTRA(g) (extra ? load_units(extra, (g)*hidden + unit, (g)*hidden + hidden) : (LANES)(0.0f))

#define PEEP(g, state, v) (extra ? fma(EXTRA(g), state, v) : (v))

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
recurrent(int rows, int steps, int hidden, int reverse, float clip, __global const float *x, long x_offset, long x_step,
          long x_row, __global const float *w, long w_offset, __global const float *extra, long extra_offset,
          __global const uchar *mask, long mask_offset, long mask_step, long mask_row, __global float *h, long h_offset,
          __global float *c, long c_offset, __global float *y, long y_offset, long y_step, long y_row,
          __local float *states) {
  const int first = (int)get_group_id(0) * ROWS, padded = (hidden + UNITS - 1) / UNITS * UNITS;
  __local float *now = states, *next = states + ROWS * padded;
#if CELL == LSTM
  __local float *cell = next + ROWS * padded;
#elif CELL == GRU && !RESET_AFTER
  __local float *update = next + ROWS * padded, *reset = update + ROWS * padded;
#endif
  if (extra) extra += extra_offset;
  for (int r = 0; r < ROWS; r++) {
    const long from = (long)min(first + r, rows - 1) * hidden;
    for (int i = 0; i < padded; i++) {
      now[r * padded + i] = i < hidden ? h[h_offset + from + i] : 0.0f;
#if CELL == LSTM
      cell[r * padded + i] = i < hidden ? c[c_offset + from + i] : 0.0f;
#endif
    }
  }
  for (int s = 0; s < steps; s++) {
    const int t = reverse ? steps - 1 - s : s;
#if CELL == GRU && !RESET_AFTER
    for (int unit = 0; unit < padded; unit += UNITS) {
      __global const float *panel = w + w_offset + (long)unit * hidden * GATES;
      LANES sum[ROWS][GATES];
      for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = (LANES)(0.0f);
      ADD_PRODUCTS(0, 2, now)
      for (int r = 0; r < ROWS; r++) {
        __global const float *x_row_at = x + x_offset + t * x_step + (long)min(first + r, rows - 1) * x_row;
        vstore8(math_sigmoid8(limited(X(0) + sum[r][0], clip)), 0, update + r * padded + unit);
        const LANES gate = math_sigmoid8(limited(X(1) + sum[r][1], clip));
        vstore8(gate * vload8(0, now + r * padded + unit), 0, reset + r * padded + unit);
      }
    }
#endif
    for (int unit = 0; unit < padded; unit += UNITS) {
      __global const float *panel = w + w_offset + (long)unit * hidden * GATES;
      LANES sum[ROWS][GATES];
      for (int r = 0; r < ROWS; r++)
        for (int g = 0; g < GATES; g++) sum[r][g] = (LANES)(0.0f);
#if CELL == GRU && !RESET_AFTER
      ADD_PRODUCTS(2, 3, reset)
#else
      ADD_PRODUCTS(0, GATES, now)
#endif
      for (int r = 0; r < ROWS; r++) {
        const int row = min(first + r, rows - 1), at = r * padded + unit;
        __global const float *x_row_at = x + x_offset + t * x_step + row * x_row;
        const LANES before = vload8(0, now + at);
        LANES after;
#if CELL == RNN
        after = limited(X(0) + sum[r][0], clip);
        after = RELU ? (after > 0.0f ? after : (LANES)(0.0f)) : math_tanh8(after);
#elif CELL == GRU
#if RESET_AFTER
        const LANES z = math_sigmoid8(limited(X(0) + (sum[r][0] + EXTRA(0)), clip));
        const LANES gate = math_sigmoid8(limited(X(1) + (sum[r][1] + EXTRA(1)), clip));
        const LANES candidate = math_tanh8(limited(fma(gate, sum[r][2] + EXTRA(2), X(2)), clip));
#else
        const LANES z = vload8(0, update + at);
        const LANES candidate = math_tanh8(limited(X(2) + sum[r][2], clip));
#endif
        after = fma(z, before - candidate, candidate);
#else
        const LANES c_before = vload8(0, cell + at);
        const LANES in = math_sigmoid8(limited(PEEP(0, c_before, X(0) + sum[r][0]), clip));
        const LANES forget =
            INPUT_FORGET ? 1.0f - in : math_sigmoid8(limited(PEEP(2, c_before, X(2) + sum[r][2]), clip));
        const LANES candidate = math_tanh8(limited(X(3) + sum[r][3], clip));
        const LANES c_after = fma(in, candidate, forget * c_before);
        const LANES out = math_sigmoid8(limited(PEEP(1, c_after, X(1) + sum[r][1]), clip));
        after = out * math_tanh8(c_after);
#endif
        const int lives = !mask || mask[mask_offset + t * mask_step + row * mask_row];
#if CELL == LSTM
        vstore8(lives ? c_after : c_before, 0, cell + at);
#endif
        vstore8(lives ? after : before, 0, next + at);
        if (first + r < rows)
          store_units(lives ? after : (LANES)(0.0f), y + y_offset + t * y_step + row * y_row, unit, hidden);
      }
    }
    __local float *other = now;
    now = next;
    next = other;
  }
  for (int r = 0; r < ROWS && first + r < rows; r++)
    for (int i = 0; i < hidden; i++) {
      const long to = (long)(first + r) * hidden + i;
      h[h_offset + to] = now[r * padded + i];
#if CELL == LSTM
      c[c_offset + to] = cell[r * padded + i];
#endif
    }
}
