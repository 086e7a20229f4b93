/* What the generators and references of families share. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

uint64_t pare__reference_random(uint64_t *state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15U);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

double pare__reference_uniform(uint64_t *state) {
  return (double)(pare__reference_random(state) >> 11) * 0x1p-52 - 1.0;
}

double pare__reference_overflow(pare_dtype dtype, double value) {
  if (!pare__dtype_is_float(dtype) || !isfinite(value)) return value;
  uint64_t bits;
  pare__store(dtype, &bits, 0, value);
  double stored = pare__load(dtype, &bits, 0);
  return isinf(stored) ? stored : value;
}

double pare__reference_rounding(pare_dtype dtype, double value) {
  double smallest = dtype == PARE_F16 ? 0x1p-25 : dtype == PARE_F64 ? DBL_TRUE_MIN : FLT_MIN;
  return isfinite(value) ? pare__dtype_epsilon(dtype) * fabs(value) + smallest : 0;
}

double pare__reference_activation(int64_t activation, double x, double low, double high) {
  switch (activation) {
  case 1: return x < 0 ? 0 : x;
  case 2: return 0.5 * x * (1 + erf(x * 0.70710678118654752));
  case 3: return 0.5 * x * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
  case 4: return x / (1 + exp(-x));
  case 5: return 1 / (1 + exp(-x));
  case 6: return tanh(x);
  case 7: return x < low ? low : x > high ? high : x;
  case 8: return x * fmin(fmax(x / 6 + 0.5, 0), 1);
  case 9: return fmin(fmax(low * x + high, 0), 1);
  case 10: return x < 0 ? low * x : x;
  default: return x;
  }
}

double *pare__reference_doubles(pare_dtype dtype, const void *data, int64_t elements) {
  double *out = malloc(((size_t)elements + 1) * sizeof *out);
  for (int64_t i = 0; out && i < elements; i++) out[i] = pare__load(dtype, data, (size_t)i);
  return out;
}
