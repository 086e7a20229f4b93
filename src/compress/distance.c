/* How far one array is from another. SPDX-License-Identifier: Apache-2.0 */
#include "compress/distance.h"

#include <math.h>

void pare__distance_add(pare__distance_sums *sums, const float *a, const float *b, size_t n) {
  for (size_t i = 0; i < n; i++) {
    const double x = (double)a[i], y = (double)b[i], error = fabs(x - y);
    sums->a_squared += x * x;
    sums->b_squared += y * y;
    sums->product += x * y;
    sums->error_squared += error * error;
    if (error > sums->max_error || isnan(error)) sums->max_error = error;
  }
  sums->count += n;
}

void pare__distance_join(pare__distance_sums *sums, const pare__distance_sums *more) {
  sums->count += more->count;
  sums->a_squared += more->a_squared;
  sums->b_squared += more->b_squared;
  sums->product += more->product;
  sums->error_squared += more->error_squared;
  sums->max_error = fmax(sums->max_error, more->max_error);
}

pare_distance pare__distance_of(const pare__distance_sums *sums) {
  const double count = sums->count > 0 ? (double)sums->count : 1;
  const double norms = sqrt(sums->a_squared) * sqrt(sums->b_squared);
  const bool both_zero = sums->a_squared == 0 && sums->b_squared == 0;
  return (pare_distance){.mse = sums->error_squared / count,
                         .sqnr_db =
                             sums->error_squared == 0 ? INFINITY : 10 * log10(sums->a_squared / sums->error_squared),
                         .cosine = both_zero    ? 1
                                   : norms > 0  ? sums->product / norms
                                   : norms == 0 ? 0
                                                : NAN,
                         .max_error = sums->max_error};
}
