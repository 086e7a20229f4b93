/* What all convolution kernels share: their arguments, the geometry, the epilogue. SPDX-License-Identifier: Apache-2.0
 *
 * The problem is described in src/kernel/family_convolve.h. Buffers: x, w, bias, residual, y. Define REAL_WIDTH (lanes
 * of an epilogue) first. SUM is what is added up in: float, double, or int for i32. */
#include "dtype.cl"

#pragma OPENCL FP_CONTRACT OFF

/* The dtype of sums. */
#if SUM_IS_INT
#define TS i32
#elif SUM_IS_DOUBLE
#define TS f64
#else
#define TS f32
#endif
#define SUM VALUE(TS)
#define SUMS VALUEV(TS, REAL_WIDTH)
#define REAL SUMS
#define MATH_WIDTH REAL_WIDTH

#if SUM_IS_INT
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define EPILOGUE(x) (x)
#define IS_SIMPLE 0
#define LEAST (SUMS)(0)
#define SIMPLE_EPILOGUE(x, least) (x)
#else
#define MULTIPLY_ADD(a, b, c) fma(a, b, c)
#if SUM_IS_DOUBLE
#define REAL_IS_DOUBLE 1
#endif
#include "gemm_epilogue.cl"
#define ACTIVATED(x) (activation ? activate(activation, x, (SUMS)(ends.s0), (SUMS)(ends.s1)) : (x))
#define EPILOGUE(x) fma((SUMS)(ends.s2), ACTIVATED(x), (SUMS)(ends.s3))
/* The same for no activation and relu, in loops that must not branch at every vector: 1.2 times as fast there. */
#define IS_SIMPLE (activation <= 1)
#define LEAST (SUMS)(activation ? (SUM)0 : -(SUM)INFINITY)
#define SIMPLE_EPILOGUE(x, least) fma((SUMS)(ends.s2), (x) < (least) ? (least) : (x), (SUMS)(ends.s3))
#endif

/* Triples are of dimensions D H W: those of x and y, of k and strides, of dilations and pads. */
#define CONVOLVE_ARGUMENTS                                                                                             \
  __global const STORE(T0) *restrict x, __global const STORE(T1) *restrict w, __global const STORE(T2) *restrict bias, \
      __global const STORE(T3) *residual, __global STORE(T4) *y, long8 offsets, int batches, int groups, int channels, \
      int outputs, long8 dims, long8 kernel_steps, long8 dilation_pads, long8 x_steps, long8 y_steps, int x_length,    \
      int y_length, int w_lanes, int activation, LIMIT low, LIMIT high, LIMIT scale, LIMIT shift
#if SUM_IS_DOUBLE
#define LIMIT double
#else
#define LIMIT float
#endif
/* The numbers of the epilogue: scale activation(x; low, high) + shift. */
#define ENDS JOIN(LIMIT, 4)

/* Elements from the start of x to channel c, batch n. x_steps: batch, block, channel, D, H, W. */
#define X_AT(n, c) ((n)*x_steps.s0 + (c) / x_length * x_steps.s1 + (c) % x_length * x_steps.s2)
#define Y_AT(n, o) ((n)*y_steps.s0 + (o) / y_length * y_steps.s1 + (o) % y_length * y_steps.s2)

#define CONVOLVE_BEGIN                                                                              \
  const int4 x_dims = convert_int4(dims.s0123), y_dims = convert_int4(dims.s3456);                  \
  const int4 k_dims = convert_int4(kernel_steps.s0123), stride = convert_int4(kernel_steps.s3456);  \
  const int4 dilation = convert_int4(dilation_pads.s0123), pad = convert_int4(dilation_pads.s3456); \
  const ENDS ends = (ENDS)(low, high, scale, shift);                                                \
  x += offsets.s0;                                                                                  \
  w += offsets.s1;                                                                                  \
  if (bias) bias += offsets.s2;                                                                     \
  if (residual) residual += offsets.s3;                                                             \
  y += offsets.s4

/* Elements from the start of w to weight (o of group g, c, tap 0), and from one tap to the next. */
static long weight_at(int g, int o, int c, int outputs, int channels, int taps, int lanes) {
  if (lanes == 0) return ((long)(g * (long)outputs + o) * channels + c) * taps;
  const int blocks = (outputs + lanes - 1) / lanes, parts = (channels + lanes - 1) / lanes;
  return ((((long)g * blocks + o / lanes) * parts + c / lanes) * taps * lanes + c % lanes) * lanes + o % lanes;
}
#define WEIGHT_STEP(lanes) ((lanes) == 0 ? 1 : (lanes) * (lanes))
