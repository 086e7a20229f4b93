/* How an output element of Resize is made of those of one axis. SPDX-License-Identifier: Apache-2.0 */
#include "graph/resize.h"

#include <math.h>

/* In single precision, as other runtimes do it: a place that should be whole must not fall just below. */
static float place_of(const pare__resize *resize, const pare__resize_axis *axis, int64_t i) {
  const float x = (float)i, scale = axis->scale, length = (float)axis->length, made = scale * length;
  switch (resize->place) {
  case PARE__PLACE_HALF_PIXEL_SYMMETRIC: {
    const float middle = length / 2, shift = middle * (1 - (float)axis->made / made);
    return shift + (x + 0.5f) / scale - 0.5f;
  }
  case PARE__PLACE_PYTORCH_HALF_PIXEL: return axis->made > 1 ? (x + 0.5f) / scale - 0.5f : 0;
  case PARE__PLACE_ALIGN_CORNERS: return axis->made > 1 ? x * (length - 1) / (made - 1) : 0;
  case PARE__PLACE_ASYMMETRIC: return x / scale;
  case PARE__PLACE_CROP_AND_RESIZE: {
    const double last = (double)axis->length - 1, span = (axis->end - axis->start) * last;
    return (float)(axis->made > 1 ? axis->start * last + (double)i * span / (double)(axis->made - 1)
                                  : 0.5 * (axis->start + axis->end) * last);
  }
  case PARE__PLACE_HALF_PIXEL_FOR_NEAREST: return (x + 0.5f) / scale;
  default: return (x + 0.5f) / scale - 0.5f;
  }
}

static double round_place(const pare__resize *resize, double place) {
  switch (resize->rounding) {
  case PARE__ROUND_PREFER_CEIL: return floor(place + 0.5);
  case PARE__ROUND_FLOOR: return floor(place);
  case PARE__ROUND_CEIL: return ceil(place);
  default: return ceil(place - 0.5);
  }
}

static double linear(double x) { return PARE__MAX(0, 1 - fabs(x)); }

/* Keys 1981 */
static double cubic(double a, double x) {
  x = fabs(x);
  return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Shrinking with antialias, the filter is as much wider as the output is smaller. */
static double filter_scale(const pare__resize *resize, const pare__resize_axis *axis) {
  return resize->antialias && axis->scale < 1 ? (double)axis->scale : 1;
}

/* The first tap before a place in (0, 1]. */
static int64_t first_tap(const pare__resize *resize, const pare__resize_axis *axis) {
  const double reach = resize->mode == PARE__RESIZE_LINEAR ? 1 : 2;
  return (int64_t)floor(-reach / filter_scale(resize, axis)) + 1;
}

pare_status pare__resize_taps(const pare__resize *resize, const pare__resize_axis *axis, int64_t *taps) {
  const double most = 65536;
  if (!(axis->scale > 0) || !isfinite(axis->scale))
    return pare__fail(PARE_ERR_ARGUMENT, "a scale of %g; it must be positive", (double)axis->scale);
  if (resize->mode != PARE__RESIZE_NEAREST && 4 / filter_scale(resize, axis) > most)
    return pare__fail(PARE_ERR_ARGUMENT, "a scale of %g makes a filter of over %g elements", (double)axis->scale, most);
  *taps = resize->mode == PARE__RESIZE_NEAREST ? 1 : 2 - 2 * first_tap(resize, axis);
  return PARE_OK;
}

static int32_t clamped(double index, int64_t length) {
  return (int32_t)(index > 0 ? (index < (double)(length - 1) ? index : (double)(length - 1)) : 0);
}

static void row_of(const pare__resize *resize, const pare__resize_axis *axis, double place, int64_t taps,
                   int32_t *indices, float *weights) {
  const double scale = filter_scale(resize, axis), base = ceil(place) - 1, ratio = place - base;
  const int64_t first = first_tap(resize, axis);
  double sum = 0;
  for (int64_t t = 0; t < taps; t++) {
    const double at = ((double)(first + t) - ratio) * scale, index = base + (double)(first + t);
    const bool inside = index >= 0 && index <= (double)(axis->length - 1);
    double weight = resize->mode == PARE__RESIZE_LINEAR ? linear(at) : cubic(resize->cubic_a, at);
    if (resize->exclude_outside && !inside) weight = 0;
    indices[t] = clamped(index, axis->length);
    weights[t] = (float)weight;
    sum += weight;
  }
  for (int64_t t = 0; t < taps && sum != 0; t++) weights[t] = (float)((double)weights[t] / sum);
}

void pare__resize_tables(const pare__resize *resize, const pare__resize_axis *axis, int64_t taps, int32_t *indices,
                         float *weights) {
  for (int64_t i = 0; i < axis->made; i++, indices += taps, weights += taps) {
    const double place = (double)place_of(resize, axis, i);
    if (resize->mode == PARE__RESIZE_NEAREST) {
      indices[0] = clamped(round_place(resize, place), axis->length);
      weights[0] = 1;
    } else {
      row_of(resize, axis, place, taps, indices, weights);
    }
    if (resize->place == PARE__PLACE_CROP_AND_RESIZE && !(place >= 0 && place <= (double)(axis->length - 1)))
      for (int64_t t = 0; t < taps; t++) indices[t] = -1;
  }
}
