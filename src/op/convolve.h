/* Convolution on tensors: shared by the files convolve*.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_CONVOLVE_H
#define PARE_OP_CONVOLVE_H

#include <pare/convolve.h>

#include "op/op.h"

#define PARE__KERNEL_RANK 3 /* spatial dimensions that kernels go over */

struct pare_convolution_weights {
  pare_context *context;
  pare_dtype dtype;
  int64_t groups, outputs, channels; /* of a group */
  int rank;                          /* spatial dimensions that kernels go over */
  int64_t kernel[PARE__KERNEL_RANK];
  int nouter; /* those before them, folded into the channels: see convolve_fold.c */
  int64_t outer[PARE_CONVOLUTION_RANK - PARE__KERNEL_RANK];
  int64_t lanes;       /* of `packed`; 0: it has the order of the weights */
  bool transformed;    /* packed is for Winograd's algorithm: see src/kernel/family_winograd.h */
  pare_tensor *packed; /* see src/kernel/family_convolve.h */
};

/* One convolution, its tensors checked. */
typedef struct pare__window pare__window;
typedef struct pare__convolution {
  pare_tensor *x, *bias, *residual, *y;
  const pare_convolution_weights *weights;
  const pare_convolution_options *options;
  const pare__window *window;
  int64_t block; /* channels of a block */
} pare__convolution;
/* With transformed weights. */
pare_status pare__winograd_submit(const pare__convolution *c);
/* Weights [O, C, 3, 3] transformed and packed; *out is to be closed. */
pare_status pare__winograd_pack(pare_tensor *w, int64_t lanes, pare_tensor **out);
/* [g][o][c][taps] with o and c padded to whole lanes by zeros; *out is to be closed. */
pare_status pare__convolve_pad_lanes(pare_tensor *w, const int64_t dim[4], int64_t lanes, pare_tensor **out);

/* With weights that have outer dimensions. */
pare_status pare__convolve_folded(pare_tensor *x, const pare_convolution_weights *weights, pare_tensor *bias,
                                  pare_tensor *residual, const pare_convolution_options *options, pare_tensor *y);
/* The options of the dimensions from `outer` on. */
pare_convolution_options pare__convolve_inner(const pare_convolution_options *options, int outer);

/* Channels of a block in which the context's device wants the f32 tensors of chains of convolutions; 0: it wants none.
 */
int64_t pare__convolution_prefers_blocks(pare_context *context);

/* The options with defaults put in, checked; dimensions right-aligned in three. */
struct pare__window {
  int64_t stride[PARE__KERNEL_RANK], dilation[PARE__KERNEL_RANK], pad[PARE__KERNEL_RANK], groups;
};
pare_status pare__window_set(const char *function, int rank, const pare_convolution_options *options,
                             pare__window *out);

#endif
