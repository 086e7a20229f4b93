/* The problems of padding and tiling, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * out[i0]…[i7] = data[i0 - before0]…[i7 - before7]; what lies outside by mode. Buffers: 0 = data, 1 = out. Dimensions
 * are right-aligned, unused ones 1; the innermost strides are 1. real[0] holds the bits of the constant, as a long. */
#ifndef PARE_KERNEL_FAMILY_PAD_H
#define PARE_KERNEL_FAMILY_PAD_H

#include "kernel/kernel.h"

/* problem.mode; cl/pad.cl knows the numbers. */
typedef enum pare__padding {
  PARE__PAD_CONSTANT,
  PARE__PAD_REFLECT,
  PARE__PAD_EDGE,
  PARE__PAD_WRAP,
  PARE__NPADDINGS
} pare__padding;

/* problem.dim: PARE_MAX_RANK of each; strides in elements. */
enum {
  PARE__PAD_OUT,
  PARE__PAD_BEFORE = PARE__PAD_OUT + PARE_MAX_RANK,
  PARE__PAD_DATA = PARE__PAD_BEFORE + PARE_MAX_RANK,
  PARE__PAD_DATA_STRIDE = PARE__PAD_DATA + PARE_MAX_RANK,
  PARE__PAD_OUT_STRIDE = PARE__PAD_DATA_STRIDE + PARE_MAX_RANK
};

extern const pare__family pare__family_pad;

#endif
