/* How an output element of Resize is made of those of one axis. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_RESIZE_H
#define PARE_GRAPH_RESIZE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

typedef enum pare__resize_mode { PARE__RESIZE_NEAREST, PARE__RESIZE_LINEAR, PARE__RESIZE_CUBIC } pare__resize_mode;

/* Where an output element lies in the input; the names are ONNX's. */
typedef enum pare__resize_place {
  PARE__PLACE_HALF_PIXEL,
  PARE__PLACE_HALF_PIXEL_SYMMETRIC,
  PARE__PLACE_PYTORCH_HALF_PIXEL,
  PARE__PLACE_ALIGN_CORNERS,
  PARE__PLACE_ASYMMETRIC,
  PARE__PLACE_CROP_AND_RESIZE,
  PARE__PLACE_HALF_PIXEL_FOR_NEAREST,
  PARE__NPLACES
} pare__resize_place;

typedef enum pare__resize_rounding {
  PARE__ROUND_PREFER_FLOOR,
  PARE__ROUND_PREFER_CEIL,
  PARE__ROUND_FLOOR,
  PARE__ROUND_CEIL,
  PARE__NROUNDINGS
} pare__resize_rounding;

typedef struct pare__resize_axis {
  int64_t length, made; /* elements of the input and of the output */
  float scale;          /* output over input, as asked for */
  double start, end;    /* of the region, for PARE__PLACE_CROP_AND_RESIZE */
} pare__resize_axis;

typedef struct pare__resize {
  pare__resize_mode mode;
  pare__resize_place place;
  pare__resize_rounding rounding;
  bool antialias, exclude_outside;
  double cubic_a;
} pare__resize;

/* Elements that one output element is made of. PARE_ERR_ARGUMENT if they would be too many. */
pare_status pare__resize_taps(const pare__resize *resize, const pare__resize_axis *axis, int64_t *taps);
/* indices[made][taps], -1 where the region reaches outside; weights likewise, their sum is 1. */
void pare__resize_tables(const pare__resize *resize, const pare__resize_axis *axis, int64_t taps, int32_t *indices,
                         float *weights);

#endif
