/* How often values come, and the range that a grid should reach over them. SPDX-License-Identifier: Apache-2.0
 *
 * For values that are too many to be kept: their range first, then this in a second pass over them. */
#ifndef PARE_COMPRESS_HISTOGRAM_H
#define PARE_COMPRESS_HISTOGRAM_H

#include "base/base.h"

#define PARE__HISTOGRAM_BINS 8192

typedef struct pare__histogram {
  float low, high; /* of all values; finite */
  uint64_t count[PARE__HISTOGRAM_BINS];
} pare__histogram;

void pare__histogram_add(pare__histogram *histogram, const float *values, size_t nvalues);
/* From the k-th smallest to the k-th largest of n values, k = 1 + floor((1 - fraction) n), to the outer edges of their
 * bins; 0 lies between. */
void pare__histogram_percentile(const pare__histogram *histogram, double fraction, float range[2]);
/* The range whose grid of `bits` bits gives the least sum of squared errors, as far as bins tell, of those that a
 * search looks at: either end in turns (symmetric: both together) by steps of a twentieth, then of a hundredth. It
 * reaches no further than the values, and 0 lies between. Never worse than all of the range. */
void pare__histogram_least_error(const pare__histogram *histogram, unsigned bits, bool symmetric, float range[2]);

#endif
