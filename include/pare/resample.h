/* Resampling: interpolation along an axis, on a grid, in regions. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_RESAMPLE_H
#define PARE_RESAMPLE_H

#include <pare/operation.h>
#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* y[i][m][k] = sum over t of weights[m][t] x[i][indices[m][t]][k] along `axis` (here 1 of rank 3): one dimension of
 * every separable interpolation. indices i32 and weights f32 (f64 for f64) are [M, T]; an index below 0 makes that
 * element `outside`, one past the end means the last. x and y f32, f16, bf16 in any mixture, added up in f32; or both
 * f64. The other dimensions are equal. PARE_ERR_SHAPE, PARE_ERR_TYPE, PARE_ERR_ARGUMENT for an axis out of range. */
PARE_API pare_status pare_interpolate(pare_tensor *x, int axis, pare_tensor *indices, pare_tensor *weights,
                                      double outside, pare_tensor *y);

/* y[n][c][o…] = x[n][c] at the place that grid[n][o…] names: its last axis holds one coordinate a spatial dimension,
 * the innermost dimension first, from -1 (the first element's centre with align_corners, else its outer edge) to 1. x
 * [N, C, X…] and y [N, C, O…] with 1 to 3 spatial dimensions, grid [N, O…, dimensions]. Nearest rounds ties to even;
 * cubic has a = -0.75 (Keys 1981). x, grid and y are of one float dtype. PARE_ERR_SHAPE, PARE_ERR_TYPE. ONNX
 * GridSample.
 */
PARE_API pare_status pare_grid_sample(pare_tensor *x, pare_tensor *grid, pare_sampling sampling,
                                      pare_sampling_padding padding, bool align_corners, pare_tensor *y);

typedef struct pare_roi_options {
  double spatial_scale; /* from coordinates of regions to those of x */
  int sampling_ratio;   /* samples a bin and dimension; 0: as many as it has elements, at most 1024 */
  bool half_pixel;      /* coordinates are those of centres, half an element less */
  bool maximum;         /* of the weighted samples, instead of their mean */
  bool whole_bins;      /* the maximum of x's elements in a bin, regions rounded to elements: nothing is sampled */
} pare_roi_options;

/* y[r][c][i][j] = mean of bilinear samples of x[batch_indices[r]][c] in bin (i, j) of region r. x [N, C, H, W], rois
 * [R, 4] (x1, y1, x2, y2) of x's dtype, batch_indices i64 [R], y [R, C, bins, bins]. An index out of range is
 * PARE_ERR_ARGUMENT at the next wait. He et al. 2017; ONNX RoiAlign, and MaxRoiPool with whole_bins (Girshick 2015). */
PARE_API pare_status pare_roi_align(pare_tensor *x, pare_tensor *rois, pare_tensor *batch_indices,
                                    const pare_roi_options *options, pare_tensor *y);

#ifdef __cplusplus
}
#endif
#endif
