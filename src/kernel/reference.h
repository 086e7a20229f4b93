/* What the generators and references of families share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_REFERENCE_H
#define PARE_KERNEL_REFERENCE_H

#include "base/dtype.h"

/* Test data: the next 64 random bits; a state may begin anywhere. SplitMix64 (Steele et al. 2014). */
uint64_t pare__reference_random(uint64_t *state);
/* The next number in [-1, 1). */
double pare__reference_uniform(uint64_t *state);

/* Rounds an expected value that leaves the range of `dtype` to infinity, as storing it does. */
double pare__reference_overflow(pare_dtype dtype, double value);
/* What storing a value near `value` as `dtype` may cost: half a unit in the last place, and what devices that flush
 * denormals lose. */
double pare__reference_rounding(pare_dtype dtype, double value);

/* The epilogue of products and convolutions: a pare_activation of x with its two numbers. */
double pare__reference_activation(int64_t activation, double x, double low, double high);
/* The elements as doubles, to be freed; NULL if out of memory. */
double *pare__reference_doubles(pare_dtype dtype, const void *data, int64_t elements);

#endif
