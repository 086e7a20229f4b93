/* Convolution with packed weights. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CONVOLVE_H
#define PARE_CONVOLVE_H

#include <pare/gemm.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PARE_CONVOLUTION_RANK 6 /* most spatial dimensions: batch and channels are the rest of PARE_MAX_RANK */

/* By spatial dimension, the outermost first. A stride, dilation or group count of 0 counts as 1. */
typedef struct pare_convolution_options {
  int64_t stride[PARE_CONVOLUTION_RANK], dilation[PARE_CONVOLUTION_RANK];
  int64_t pad[PARE_CONVOLUTION_RANK]; /* zeros before x; negative: so much of x is left out */
  int64_t groups;
  pare_activation activation;
  double clip_low, clip_high;
  double scale, shift;       /* of what the activation gives; a scale of 0 counts as 1 */
  bool x_blocked, y_blocked; /* channels lie in blocks: see below */
} pare_convolution_options;
#define PARE_CONVOLUTION_OPTIONS_INIT \
  { {0}, {0}, {0}, 1, PARE_ACTIVATION_NONE, 0, 0, 1, 0, false, false }

/* Weights [O, C / groups, K…] in the layout that the device's kernels read fastest. options: those of the calls (stride
 * and dilation decide whether transformed weights serve); NULL: the defaults. w may be closed afterwards.
 * PARE_ERR_SHAPE: not 1 to 6 spatial dimensions, or O no multiple of groups. */
typedef struct pare_convolution_weights pare_convolution_weights;
PARE_API pare_status pare_convolution_weights_pack(pare_tensor *w, const pare_convolution_options *options,
                                                   pare_convolution_weights **out);
/* NULL is allowed. */
PARE_API void pare_convolution_weights_close(pare_convolution_weights *weights);
/* Device memory that they hold. */
PARE_API uint64_t pare_convolution_weights_bytes(const pare_convolution_weights *weights);

/* y[n][o][p…] = shift + scale activation(sum over c, k… of x[n][c][p stride - pad + k dilation …] w[o][c][k…] + bias[o]
 * + residual[n][o][p…])
 *
 * x [N, C, X…], bias [O] or NULL, residual as y or NULL, y [N, O, Y…]. What lies outside x is zero, and Y is as long as
 * the caller made it: padding behind x follows from it. Output channels of a group see the input channels of that group
 * only. y may be the residual, else no input.
 *
 * x_blocked, y_blocked: that tensor (and the residual with y) is [N, ceil(C / b), X…, b], b =
 * pare_convolution_block, whatever fills the last block: chains of convolutions run faster so. Only with groups of 1,
 * or with as many groups as x and y have channels, and with at most 3 spatial dimensions.
 *
 * Kernels go over 3 spatial dimensions. Of more, the outer ones become batches (of y) and channels (of the weights),
 * through a copy of x as large as their taps overlap.
 *
 * f32, f16, bf16, one dtype for x and y, accumulated in f32; f64; or x and w i16 and bias and y i32, exact modulo 2^32,
 * without activation. PARE_ERR_SHAPE, PARE_ERR_TYPE. Tiling after Georganas et al. 2018; stride-1 3x3 after Lavin &
 * Gray 2016, F(4x4, 3x3), whose errors are about four times larger. */
PARE_API pare_status pare_convolve(pare_tensor *x, const pare_convolution_weights *weights, pare_tensor *bias,
                                   pare_tensor *residual, const pare_convolution_options *options, pare_tensor *y);

/* Channels in a block of a blocked tensor of this dtype. */
PARE_API int64_t pare_convolution_block(pare_context *context, pare_dtype dtype);
/* Between [N, C, X…] and [N, ceil(C / b), X…, b]. */
PARE_API pare_status pare_channels_block(pare_tensor *x, pare_tensor *out);
PARE_API pare_status pare_channels_unblock(pare_tensor *x, pare_tensor *out);

#ifdef __cplusplus
}
#endif
#endif
