/* Product of a few rows with a matrix, for CPU devices: as fast as B can be read. SPDX-License-Identifier: Apache-2.0
 *
 * C = activation(alpha * A * B + beta * summand + bias) for A of ROWS rows. One work-item a work-group makes nc
 * columns. gemv_columns: the rows of B are contiguous, or B is in panels. Four rows of B are read side by side and
 * added to sums in local memory, which stay in the first level cache: each element of C is one chain of fma over k.
 * gemv_dots: the columns of B are contiguous. COLUMNS of them are read side by side, each with two vectors of sums,
 * added at the end. Other strides are right as well, only slow; bits do not depend on strides or on nc. */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

#ifndef VW
#define VW 8
#endif
#ifndef ROWS
#define ROWS 1
#endif
#define COLUMNS (ROWS == 1 ? 4 : ROWS == 2 ? 2 : 1)
#define LANES JOIN(float, VW)
#define UNROLL _Pragma("unroll")

#define REAL float
#define MATH_WIDTH 1
#include "gemm_epilogue.cl"

#define GEMV_ARGUMENTS                                                                                              \
  int m, int n, int k, int batches, __global const STORE(T0) *a, long a_offset, long a_batch0, long a_batch1,       \
      long a_row, long a_col, __global const STORE(T1) *b, long b_offset, long b_batch0, long b_batch1, long b_row, \
      long b_col, long b_panel, int panel, __global const STORE(T2) *bias, long bias_offset, long bias_row,         \
      long bias_col, __global const STORE(T3) *summand, long summand_offset, __global STORE(T3) *c, long c_offset,  \
      long c_batch0, long c_batch1, long c_row, long c_col, float alpha, float beta, float low, float high,         \
      int activation, int nc

/* What both kernels begin with: the group's batch, and its columns [j0, j1). */
#define GEMV_BEGIN                                                                     \
  const int j0 = get_global_id(0) * nc, j1 = min(n, j0 + nc);                          \
  const long batch0 = get_global_id(1) / batches, batch1 = get_global_id(1) % batches; \
  a += a_offset + batch0 * a_batch0 + batch1 * a_batch1;                               \
  b += b_offset + batch0 * b_batch0 + batch1 * b_batch1;                               \
  summand += summand_offset + batch0 * c_batch0 + batch1 * c_batch1;                   \
  c += c_offset + batch0 * c_batch0 + batch1 * c_batch1;                               \
  if (bias) bias += bias_offset;

static void finish(float sum, float alpha, float beta, float low, float high, int activation,
                   __global const STORE(T2) *bias, __global const STORE(T3) *summand, __global STORE(T3) *c) {
  float base = bias ? LOAD(T2, bias, 0) : 0.0f;
  if (beta != 0.0f) base = fma(beta, LOAD(T3, summand, 0), base);
  SAVE(T3, c, 0, activate(activation, fma(alpha, sum, base), low, high));
}

/* Adds `steps` (at most 4) rows of B to the sums of `columns` columns. */
static void add_rows(const float x[ROWS][4], int steps, __global const STORE(T1) *b, long b_row, long b_col,
                     int columns, __local float *sums, int pitch) {
  int j = 0;
  if (b_col == 1 && steps == 4)
    for (; j + VW <= columns; j += VW) {
      LANES row[4];
      UNROLL for (int l = 0; l < 4; l++) row[l] = LOADV(T1, VW, b, l * b_row + j);
      UNROLL for (int r = 0; r < ROWS; r++) {
        LANES sum = LOADV(f32, VW, sums, r * pitch + j);
        UNROLL for (int l = 0; l < 4; l++) sum = fma((LANES)(x[r][l]), row[l], sum);
        SAVEV(f32, VW, sums, r * pitch + j, sum);
      }
    }
  for (; j < columns; j++)
    for (int l = 0; l < steps; l++)
      for (int r = 0; r < ROWS; r++)
        sums[r * pitch + j] = fma(x[r][l], LOAD(T1, b, l * b_row + j * b_col), sums[r * pitch + j]);
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void gemv_columns(GEMV_ARGUMENTS, __local float *sums) {
  GEMV_BEGIN
  const int block = panel ? panel : nc;
  for (int j = j0; j < j1; j += block) {
    const int columns = min(block, j1 - j);
    __global const STORE(T1) *b_block = b + (panel ? j / panel * b_panel : j * b_col);
    for (int s = 0; s < ROWS * block; s++) sums[s] = 0.0f;
    for (int k0 = 0; k0 < k; k0 += 4) {
      float x[ROWS][4];
      const int steps = min(4, k - k0);
      for (int r = 0; r < ROWS; r++)
        for (int l = 0; l < 4; l++) x[r][l] = l < steps ? LOAD(T0, a, r * a_row + (k0 + l) * a_col) : 0.0f;
      add_rows(x, steps, b_block + k0 * b_row, b_row, b_col, columns, sums, block);
    }
    for (int r = 0; r < ROWS; r++)
      for (int s = 0; s < columns; s++)
        finish(sums[r * block + s], alpha, beta, low, high, activation,
               bias ? bias + r * bias_row + (j + s) * bias_col : 0, summand + r * c_row + (j + s) * c_col,
               c + r * c_row + (j + s) * c_col);
  }
}

/* VW elements of a vector from index i of `length`, zeros past its end. */
#define LOAD_LANES(T, name)                                                                      \
  static LANES name(__global const STORE(T) *p, long stride, int i, int length) {                \
    if (stride == 1 && i + VW <= length) return LOADV(T, VW, p, i);                              \
    float lane[VW];                                                                              \
    for (int l = 0; l < VW; l++) lane[l] = i + l < length ? LOAD(T, p, (i + l) * stride) : 0.0f; \
    return LOADV(f32, VW, lane, 0);                                                              \
  }
LOAD_LANES(T0, load_a)
LOAD_LANES(T1, load_b)

static float add_lanes(LANES v) {
  float lane[VW], sum = 0.0f;
  SAVEV(f32, VW, lane, 0, v);
  for (int l = 0; l < VW; l++) sum += lane[l];
  return sum;
}

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void gemv_dots(GEMV_ARGUMENTS, __local float *unused) {
  GEMV_BEGIN
  for (int j = j0; j < j1; j += COLUMNS) {
    __global const STORE(T1) *column[COLUMNS];
    LANES sum[COLUMNS][ROWS][2];
    UNROLL for (int s = 0; s < COLUMNS; s++) {
      column[s] = b + min(j + s, n - 1) * b_col;
      UNROLL for (int r = 0; r < ROWS; r++) sum[s][r][0] = sum[s][r][1] = (LANES)(0.0f);
    }
    int i = 0;
    if (a_col == 1 && b_row == 1)
      for (; i + 2 * VW <= k; i += 2 * VW)
        UNROLL for (int half_step = 0; half_step < 2; half_step++)
          UNROLL for (int s = 0; s < COLUMNS; s++) {
            const LANES y = LOADV(T1, VW, column[s], i + half_step * VW);
            UNROLL for (int r = 0; r < ROWS; r++)
              sum[s][r][half_step] = fma(LOADV(T0, VW, a, r * a_row + i + half_step * VW), y, sum[s][r][half_step]);
          }
    for (; i < k; i += 2 * VW)
      UNROLL for (int half_step = 0; half_step < 2; half_step++)
        UNROLL for (int s = 0; s < COLUMNS; s++) {
          const LANES y = load_b(column[s], b_row, i + half_step * VW, k);
          UNROLL for (int r = 0; r < ROWS; r++)
            sum[s][r][half_step] = fma(load_a(a + r * a_row, a_col, i + half_step * VW, k), y, sum[s][r][half_step]);
        }
    for (int s = 0; s < COLUMNS && j + s < j1; s++)
      for (int r = 0; r < ROWS; r++)
        finish(add_lanes(sum[s][r][0] + sum[s][r][1]), alpha, beta, low, high, activation,
               bias ? bias + r * bias_row + (j + s) * bias_col : 0, summand + r * c_row + (j + s) * c_col,
               c + r * c_row + (j + s) * c_col);
  }
}
