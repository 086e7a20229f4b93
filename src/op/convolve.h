/* Convolution on tensors: shared by the files convolve*.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_CONVOLVE_H
#define PARE_OP_CONVOLVE_H

#include <pare/convolve.h>

#include "op/op.h"

struct pare_convolution_weights {
  pare_context *context;
  pare_dtype dtype;
  int64_t groups, outputs, channels; /* of a group */
  int rank;                          /* spatial dimensions */
  int64_t kernel[PARE_CONVOLUTION_RANK];
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

/* Channels of a block in which the context's device wants the f32 tensors of chains of convolutions; 0: it wants none.
 */
int64_t pare__convolution_prefers_blocks(pare_context *context);

/* The options with defaults put in, checked; dimensions right-aligned in three. */
struct pare__window {
  int64_t stride[3], dilation[3], pad[3], groups;
};
pare_status pare__window_set(const char *function, int rank, const pare_convolution_options *options,
                             pare__window *out);

#endif
