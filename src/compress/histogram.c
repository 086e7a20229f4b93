/* Histograms and the ranges found in them. SPDX-License-Identifier: Apache-2.0 */
#include "compress/histogram.h"

#include <math.h>

/* Ends of a range are shrunk by steps of a twentieth, down to a fiftieth of what they were, and then by hundredths
 * about the best. */
#define COARSE 0.95
#define NCOARSE 76
#define FINE 0.99
#define NFINE 8
/* In which first one end, then the other is looked for; the first turn is the coarse one. */
#define TURNS 4

static double bin_width(const pare__histogram *histogram) {
  return ((double)histogram->high - histogram->low) / PARE__HISTOGRAM_BINS;
}

void pare__histogram_add(pare__histogram *histogram, const float *values, size_t nvalues) {
  const double width = bin_width(histogram), inverse = width > 0 ? 1 / width : 0;
  for (size_t i = 0; i < nvalues; i++) {
    const double at = ((double)values[i] - histogram->low) * inverse;
    const size_t bin = at > 0 ? (size_t)at : 0;
    histogram->count[PARE__MIN(bin, (size_t)PARE__HISTOGRAM_BINS - 1)]++;
  }
}

static void whole_range(const pare__histogram *histogram, float range[2]) {
  range[0] = fminf(histogram->low, 0);
  range[1] = fmaxf(histogram->high, 0);
}

void pare__histogram_percentile(const pare__histogram *histogram, double fraction, float range[2]) {
  uint64_t total = 0, below = 0, above = 0;
  int first = 0, last = PARE__HISTOGRAM_BINS - 1;
  for (int i = 0; i < PARE__HISTOGRAM_BINS; i++) total += histogram->count[i];
  whole_range(histogram, range);
  if (total == 0) return;
  const uint64_t k = PARE__MIN(total, 1 + (uint64_t)((1 - fraction) * (double)total));
  while ((below += histogram->count[first]) < k) first++;
  while ((above += histogram->count[last]) < k) last--;
  const double width = bin_width(histogram);
  range[0] = fminf((float)(histogram->low + first * width), 0);
  range[1] = fmaxf((float)(histogram->low + (last + 1) * width), 0);
}

/* The sum of squared errors if all values of a bin lie in its middle. */
static double error_of(const pare__histogram *histogram, unsigned bits, bool symmetric, double low, double high) {
  const int half = 1 << (bits - 1), top = symmetric ? 2 * half - 2 : 2 * half - 1;
  const double reach = symmetric ? 2 * fmax(-low, high) : high - low, scale = reach > 0 ? reach / top : 1;
  const double zero = symmetric ? half - 1 : nearbyint(-low / scale), width = bin_width(histogram);
  double sum = 0;
  for (int i = 0; i < PARE__HISTOGRAM_BINS; i++) {
    if (histogram->count[i] == 0) continue;
    const double value = histogram->low + (i + 0.5) * width, wanted = value / scale + zero + 0.5;
    const int code = wanted <= 0 ? 0 : wanted >= top ? top : (int)wanted;
    const double off = value - scale * (code - zero);
    sum += (double)histogram->count[i] * off * off;
  }
  return sum;
}

struct search {
  const pare__histogram *histogram;
  unsigned bits;
  bool symmetric;
  double whole[2], range[2], error; /* the best so far */
};

/* An end of the best range (symmetric: both) times shrink^first, … shrink^last. */
static void search_end(struct search *search, int end, double shrink, int first, int last) {
  const double from[2] = {search->range[0], search->range[1]};
  for (int i = first; i <= last; i++) {
    double tried[2] = {search->range[0], search->range[1]};
    for (int e = 0; e < 2; e++)
      if (e == end || search->symmetric) tried[e] = from[e] * pow(shrink, i);
    if (tried[0] < search->whole[0] || tried[1] > search->whole[1]) continue;
    const double error = error_of(search->histogram, search->bits, search->symmetric, tried[0], tried[1]);
    if (!(error < search->error)) continue;
    search->error = error;
    search->range[0] = tried[0];
    search->range[1] = tried[1];
  }
}

void pare__histogram_least_error(const pare__histogram *histogram, unsigned bits, bool symmetric, float range[2]) {
  struct search search = {.histogram = histogram, .bits = bits, .symmetric = symmetric};
  whole_range(histogram, range);
  for (int e = 0; e < 2; e++) search.whole[e] = search.range[e] = range[e];
  search.error = error_of(histogram, bits, symmetric, range[0], range[1]);
  for (int turn = 0; turn < TURNS; turn++)
    for (int end = 0; end < 2; end++) {
      if (turn == 0)
        search_end(&search, end, COARSE, 0, NCOARSE);
      else
        search_end(&search, end, FINE, -NFINE, NFINE);
    }
  for (int e = 0; e < 2; e++) range[e] = (float)search.range[e];
}
