/* The problems of convolution, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * y[n][g O + o][p] = shift + scale activation(sum over c, k of x[n][g C + c][p stride - pad + k dilation] w[g O +
 * o][c][k]
 *                               + bias[g O + o] + residual[n][g O + o][p])
 *
 * p and k have three dimensions (those not needed are 1). Channel c of x lies at block c / X_LENGTH, channel
 * c % X_LENGTH of it; X_LENGTH is 1 for tensors that are not blocked; y and residual likewise with Y_LENGTH. With
 * W_LANES = 0, w is [G O][C][K] and contiguous; else it is [G][ceil(O / L)][ceil(C / L)][K][L of c][L of o], L =
 * W_LANES, zero past O. Buffers: x, w, bias, residual, y. real: the ends of clip. */
#ifndef PARE_KERNEL_FAMILY_CONVOLVE_H
#define PARE_KERNEL_FAMILY_CONVOLVE_H

#include "kernel/kernel.h"

enum {
  CONV_N,
  CONV_G,
  CONV_C, /* of a group */
  CONV_O, /* of a group */
  CONV_X,
  CONV_Y = CONV_X + 3,
  CONV_K = CONV_Y + 3,
  CONV_STRIDE = CONV_K + 3,
  CONV_DILATION = CONV_STRIDE + 3,
  CONV_PAD = CONV_DILATION + 3,
  CONV_X_BATCH = CONV_PAD + 3, /* strides in elements */
  CONV_X_BLOCK,
  CONV_X_CHANNEL, /* within a block */
  CONV_X_STRIDE,
  CONV_Y_BATCH = CONV_X_STRIDE + 3,
  CONV_Y_BLOCK,
  CONV_Y_CHANNEL,
  CONV_Y_STRIDE,
  CONV_X_LENGTH = CONV_Y_STRIDE + 3,
  CONV_Y_LENGTH,
  CONV_W_LANES,
  CONV_ACTIVATION,
  CONV_NDIMS
};
enum { CONV_BUFFER_X, CONV_BUFFER_W, CONV_BUFFER_BIAS, CONV_BUFFER_RESIDUAL, CONV_BUFFER_Y, CONV_NBUFFERS };
enum { CONV_HAS_BIAS = 1, CONV_HAS_RESIDUAL = 2 };    /* problem.flags */
enum { CONV_LOW, CONV_HIGH, CONV_SCALE, CONV_SHIFT }; /* problem.real: what clips, and what follows it */

/* problem.mode: paths trusted by themselves. */
enum { CONV_W_BLOCKED = 1, CONV_X_BLOCKED = 2, CONV_Y_BLOCKED = 4, CONV_DEPTHWISE = 8 };
int pare__convolve_mode(const pare__problem *problem);

/* Lanes of packed weights, and channels of a block, that the device's best kernels want; weights are packed on no other
 * devices than pare__convolve_packs says. */
int64_t pare__convolve_lanes(const pare_device_info *info, pare_dtype dtype);
bool pare__convolve_packs(const pare_device_info *info);

/* Parts of the family: problems, reference and figures. */
void pare__convolve_buffer(const pare__problem *problem, unsigned i, pare__buffer_spec *out);
bool pare__convolve_cases(pare__case_set set, const pare_device_info *info, unsigned index, pare__problem *out);
bool pare__convolve_reference(const pare__problem *problem, void *const *data, double *const *expected,
                              double *const *tolerance);
void pare__convolve_work(const pare__problem *problem, double *flops, double *bytes);
void pare__convolve_describe(const pare__problem *problem, char *text, size_t capacity);
void pare__convolve_shape_class(const pare__problem *problem, char *text, size_t capacity);

extern const pare__family pare__family_convolve;

#endif
