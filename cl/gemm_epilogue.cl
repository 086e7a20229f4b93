/* The epilogue of matrix products: activations on values of type REAL. SPDX-License-Identifier: Apache-2.0
 *
 * REAL is float or a vector of MATH_WIDTH floats, computed with math.cl; or double, with -DREAL_IS_DOUBLE=1.
 * The numbers of the activations are those of pare_activation in <pare/gemm.h>. NaN stays NaN. */
#ifndef GEMM_EPILOGUE_CL
#define GEMM_EPILOGUE_CL

#if REAL_IS_DOUBLE
#define CONSTANT(x) (x)
#define activation_tanh(x) tanh(x)
#define activation_erf(x) erf(x)
static REAL activation_sigmoid(REAL x) { return 1 / (1 + exp(-x)); }
#else
#include "math.cl"
#define CONSTANT(x) (REAL)(x##f)
#define activation_tanh(x) JOIN(math_tanh, MATH_WIDTH)(x)
#define activation_erf(x) JOIN(math_erf, MATH_WIDTH)(x)
#define activation_sigmoid(x) JOIN(math_sigmoid, MATH_WIDTH)(x)
#endif

static REAL activate(int activation, REAL x, REAL low, REAL high) {
  switch (activation) {
  case 1: return x < (REAL)(0) ? (REAL)(0) : x;
  case 2: return CONSTANT(0.5) * x * ((REAL)(1) + activation_erf(x * CONSTANT(0.70710678118654752)));
  case 3: {
    REAL inner = CONSTANT(0.79788456080286536) * fma(CONSTANT(0.044715) * x * x, x, x);
    return CONSTANT(0.5) * x * ((REAL)(1) + activation_tanh(inner));
  }
  case 4: return x * activation_sigmoid(x);
  case 5: return activation_sigmoid(x);
  case 6: return activation_tanh(x);
  case 7: x = x < low ? low : x; return x > high ? high : x;
  case 8: {
    REAL inside = fma(x, CONSTANT(0.16666666666666667), CONSTANT(0.5));
    inside = inside < (REAL)(0) ? (REAL)(0) : inside;
    return x * (inside > (REAL)(1) ? (REAL)(1) : inside);
  }
  case 9:
    x = fma(low, x, high);
    x = x < (REAL)(0) ? (REAL)(0) : x;
    return x > (REAL)(1) ? (REAL)(1) : x;
  case 10: return x < (REAL)(0) ? low * x : x;
  default: return x;
  }
}

#endif
