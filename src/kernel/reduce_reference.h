/* What reductions should give, in double precision and in integers. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_REDUCE_REFERENCE_H
#define PARE_KERNEL_REDUCE_REFERENCE_H

#include "base/dtype.h"
#include "kernel/family_reduce.h"
#include "kernel/reference.h"

void pare__reduce_generate(const pare__problem *problem, unsigned i, uint64_t seed, void *data);
bool pare__reduce_reference(const pare__problem *problem, void *const *data, double *const *expected,
                            double *const *tolerance);

#endif
