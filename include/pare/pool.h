/* Pooling: extremes, means and norms of windows. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_POOL_H
#define PARE_POOL_H

#include <pare/convolve.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Over the elements x_i of a window that lie in x. */
typedef enum pare_pooling {
  PARE_POOLING_MAX,
  PARE_POOLING_AVERAGE, /* sum x_i / count */
  PARE_POOLING_NORM,    /* (sum |x_i|^p)^(1/p) */
  PARE_NPOOLINGS
} pare_pooling;

/* By spatial dimension, the outermost first. A stride or dilation of 0 counts as 1. */
typedef struct pare_pool_options {
  int64_t kernel[PARE_CONVOLUTION_RANK], stride[PARE_CONVOLUTION_RANK], dilation[PARE_CONVOLUTION_RANK];
  int64_t pad[PARE_CONVOLUTION_RANK], pad_after[PARE_CONVOLUTION_RANK]; /* before and behind x */
  double p;                                                             /* of the norm; 0: 2 */
  bool count_padding; /* an average's count has the elements of the padding, too */
  bool column_major;  /* indices count the first spatial dimension fastest */
  bool blocked;       /* x and y have channels in blocks, as pare_convolve takes them */
} pare_pool_options;
#define PARE_POOL_OPTIONS_INIT \
  { {0}, {0}, {0}, {0}, {0}, 2, false, false, false }

/* y[n][c][o…] = pooling over k… of x[n][c][o stride - pad + k dilation …], 1 to 6 spatial dimensions (blocked: 3);
 * more than 3 are gone over in turns. indices (NULL: none; maximum only) i64, as y: where in x the first maximum lies,
 * counted through all of x. A window without an element gives the lowest value (maximum) or 0. f32, f16, bf16, f64;
 * maximum also u8 and i8. PARE_ERR_SHAPE, PARE_ERR_TYPE, PARE_ERR_ARGUMENT: a kernel below 1. ONNX MaxPool,
 * AveragePool, LpPool. */
PARE_API pare_status pare_pool(pare_tensor *x, pare_pooling pooling, const pare_pool_options *options, pare_tensor *y,
                               pare_tensor *indices);

#ifdef __cplusplus
}
#endif
#endif
