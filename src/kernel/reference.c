/* What the generators and references of families share. SPDX-License-Identifier: Apache-2.0 */
#include "kernel/reference.h"

#include <float.h>
#include <math.h>

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
