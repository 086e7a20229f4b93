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
  pare_tensor *packed; /* see src/kernel/family_convolve.h */
};

/* The options with defaults put in, checked; dimensions right-aligned in three. */
typedef struct pare__window {
  int64_t stride[3], dilation[3], pad[3], groups;
} pare__window;
pare_status pare__window_set(const char *function, int rank, const pare_convolution_options *options,
                             pare__window *out);

#endif
