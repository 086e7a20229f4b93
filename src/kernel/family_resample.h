/* The problems of resampling, as operations put them. All tensors are contiguous. SPDX-License-Identifier: Apache-2.0
 */
#ifndef PARE_KERNEL_FAMILY_RESAMPLE_H
#define PARE_KERNEL_FAMILY_RESAMPLE_H

#include "kernel/kernel.h"

/* interpolate: y[outer][made][inner] = sum over taps of w[made][tap] x[outer][index[made][tap]][inner]; the value
 * real[0] if an index is below 0. Buffers: x, indices i32, weights, y. */
enum { INTERPOLATE_OUTER, INTERPOLATE_LENGTH, INTERPOLATE_INNER, INTERPOLATE_MADE, INTERPOLATE_TAPS };
enum {
  INTERPOLATE_BUFFER_X,
  INTERPOLATE_BUFFER_INDICES,
  INTERPOLATE_BUFFER_WEIGHTS,
  INTERPOLATE_BUFFER_Y,
  INTERPOLATE_NBUFFERS
};
extern const pare__family pare__family_interpolate;

/* grid_sample: x [N][C][X], grid [N][Y][RANK], y [N][C][Y] with X and Y of three dimensions, the first 3 - RANK of them
 * 1. mode: the sampling plus 4 times the padding. flags: 1 = aligned corners. Buffers: x, grid, y. */
enum { GRID_N, GRID_C, GRID_RANK, GRID_X, GRID_Y = GRID_X + 3 };
enum { GRID_BUFFER_X, GRID_BUFFER_GRID, GRID_BUFFER_Y, GRID_NBUFFERS };
enum { GRID_ALIGN_CORNERS = 1 };
extern const pare__family pare__family_grid_sample;

/* roi_align: x [N][C][H][W], rois [R][4], batch indices [R] (i64), y [R][C][BINS_Y][BINS_X]; an int flag is set to 1 by
 * an index out of range. real[0]: the scale. flags as below. */
enum { ROI_N, ROI_C, ROI_H, ROI_W, ROI_COUNT, ROI_BINS_Y, ROI_BINS_X, ROI_RATIO };
enum { ROI_BUFFER_X, ROI_BUFFER_ROIS, ROI_BUFFER_BATCH, ROI_BUFFER_Y, ROI_BUFFER_FLAG, ROI_NBUFFERS };
enum { ROI_HALF_PIXEL = 1, ROI_MAXIMUM = 2, ROI_WHOLE_BINS = 4 };
#define ROI_MOST_SAMPLES 1024
extern const pare__family pare__family_roi_align;

#endif
