/* How far one array is from another, summed up piece by piece. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_DISTANCE_H
#define PARE_COMPRESS_DISTANCE_H

#include <pare/compress.h>

#include "base/base.h"

/* All zero: nothing yet. */
typedef struct pare__distance_sums {
  uint64_t count;
  double a_squared, b_squared, product, error_squared, max_error;
} pare__distance_sums;

/* n more elements of either. */
void pare__distance_add(pare__distance_sums *sums, const float *a, const float *b, size_t n);
void pare__distance_join(pare__distance_sums *sums, const pare__distance_sums *more);
/* Of equal arrays the signal's distance to the noise is infinite; the cosine of two that are zero is 1, of one 0. */
pare_distance pare__distance_of(const pare__distance_sums *sums);

#endif
