/* The epilogue of matrix products: bias and activation on values of type REAL. SPDX-License-Identifier: Apache-2.0
 *
 * REAL is float or a vector of floats, INTEGER int with as many lanes; or REAL is double, with -DREAL_IS_DOUBLE=1. Floats use
 * polynomials of their own (exponential: Cephes; error function: the rational approximation of Eigen), which vectorise on every
 * device; absolute error below 1e-6. The numbers of the activations are those of pare_activation in <pare/gemm.h>. NaN stays NaN. */
#ifndef GEMM_EPILOGUE_CL
#define GEMM_EPILOGUE_CL

#if REAL_IS_DOUBLE
#define CONSTANT(x) (x)

static REAL activation_exp(REAL x) { return exp(x); }
static REAL activation_erf(REAL x) { return erf(x); }

#else
#define CONSTANT(x) (REAL)(x##f)

static REAL activation_exp(REAL x) {
  const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
  x = x < -87.0f ? (REAL)(-87.0f) : x;
  x = x > 88.0f ? (REAL)(88.0f) : x;
  REAL shifted = fma(x, (REAL)(1.44269504f), (REAL)(shift));
  REAL n = shifted - shift;
  REAL r = fma(n, (REAL)(-0.693359375f), x);
  r = fma(n, (REAL)(2.12194440e-4f), r);
  REAL p = (REAL)(1.9875691500e-4f);
  p = fma(p, r, (REAL)(1.3981999507e-3f));
  p = fma(p, r, (REAL)(8.3334519073e-3f));
  p = fma(p, r, (REAL)(4.1665795894e-2f));
  p = fma(p, r, (REAL)(1.6666665459e-1f));
  p = fma(p, r, (REAL)(5.0000001201e-1f));
  p = fma(p * r, r, r) + 1.0f;
  INTEGER exponent = (AS_INTEGER(shifted) - 0x4B400000 + 127) << 23;
  return x != x ? x : p * AS_REAL(exponent);
}

static REAL activation_erf(REAL x) {
  x = x < -4.0f ? (REAL)(-4.0f) : x;
  x = x > 4.0f ? (REAL)(4.0f) : x;
  REAL s = x * x;
  REAL p = (REAL)(-2.72614225801306e-10f);
  p = fma(p, s, (REAL)(2.77068142495902e-08f));
  p = fma(p, s, (REAL)(-2.10102402082508e-06f));
  p = fma(p, s, (REAL)(-5.69250639462346e-05f));
  p = fma(p, s, (REAL)(-7.34990630326855e-04f));
  p = fma(p, s, (REAL)(-2.95459980854025e-03f));
  p = fma(p, s, (REAL)(-1.60960333262415e-02f));
  REAL q = (REAL)(-1.45660718464996e-05f);
  q = fma(q, s, (REAL)(-2.13374055278905e-04f));
  q = fma(q, s, (REAL)(-1.68282697438203e-03f));
  q = fma(q, s, (REAL)(-7.37332916720468e-03f));
  q = fma(q, s, (REAL)(-1.42647390514189e-02f));
  return x * p / q;
}

#endif

static REAL activation_sigmoid(REAL x) { return (REAL)(1) / ((REAL)(1) + activation_exp(-x)); }

static REAL activation_tanh(REAL x) { return (REAL)(1) - (REAL)(2) / (activation_exp(x + x) + (REAL)(1)); }

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
  case 7:
    x = x < low ? low : x;
    return x > high ? high : x;
  default: return x;
  }
}

#endif
