/* What reductions should give, in double precision and in integers. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_REDUCE_REFERENCE_H
#define PARE_KERNEL_REDUCE_REFERENCE_H

#include "base/dtype.h"
#include "kernel/family_reduce.h"

void pare__reduce_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data);
bool pare__reduce_reference(const pare__problem *problem, void *const *data, double *const *expected,
                            double *const *tolerance);

/* Shared by the references of families. */
/* SplitMix64 (Steele et al. 2014). */
uint64_t pare__reference_random(uint64_t *state);
double pare__reference_uniform(uint64_t *state); /* in [-1, 1) */
/* Rounds an expected value that leaves the range of `dtype` to infinity, as storing it does. */
double pare__reference_overflow(pare_dtype dtype, double value);
/* What storing a value near `value` as `dtype` may cost: half a unit in the last place, and what devices that flush
 * denormals lose. */
double pare__reference_rounding(pare_dtype dtype, double value);

#endif
