/* Quantisation as problems: three families of quantise.cl. SPDX-License-Identifier: Apache-2.0
 *
 * range: x[COUNT] -> [chunks][2], the least and greatest value and zero of each chunk of CHUNK; NaN is ignored.
 * affine: x[COUNT] -> scale f32[1] = (greatest - least) / 255 or 1 if that is 0, zero u8[1] = round(-least / scale).
 * quantise: mode QUANTISE out = saturate(round(x / scale) + zero) to u8 or i8, ties to even; mode DEQUANTISE out = (x -
 * zero) * scale to floats. x [OUTER][AXIS][INNER], scale and zero [AXIS]; zero is optional. */
#ifndef PARE_KERNEL_FAMILY_QUANTISE_H
#define PARE_KERNEL_FAMILY_QUANTISE_H

#include "kernel/kernel.h"

enum { RANGE_COUNT, RANGE_CHUNK };
enum { RANGE_BUFFER_X, RANGE_BUFFER_OUT, RANGE_NBUFFERS };
enum { AFFINE_BUFFER_X, AFFINE_BUFFER_SCALE, AFFINE_BUFFER_ZERO, AFFINE_NBUFFERS };
enum { QUANTISE_OUTER, QUANTISE_AXIS, QUANTISE_INNER, QUANTISE_HAS_ZERO };
enum { QUANTISE_BUFFER_X, QUANTISE_BUFFER_SCALE, QUANTISE_BUFFER_ZERO, QUANTISE_BUFFER_OUT, QUANTISE_NBUFFERS };
enum { QUANTISE, DEQUANTISE };

extern const pare__family pare__family_range, pare__family_affine, pare__family_quantise;

#endif
