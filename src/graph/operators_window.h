/* Windows that slide over the spatial dimensions: attributes that convolution and pooling share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_OPERATORS_WINDOW_H
#define PARE_GRAPH_OPERATORS_WINDOW_H

#include <pare/convolve.h>
#include <pare/pool.h>

#include "graph/operator.h"

typedef struct pare__window_plan {
  int rank; /* spatial dimensions */
  int64_t kernel[PARE_CONVOLUTION_RANK], stride[PARE_CONVOLUTION_RANK], dilation[PARE_CONVOLUTION_RANK];
  int64_t before[PARE_CONVOLUTION_RANK], after[PARE_CONVOLUTION_RANK]; /* pads, as given: see auto_pad */
  enum { PARE__PAD_EXPLICIT, PARE__PAD_SAME_UPPER, PARE__PAD_SAME_LOWER, PARE__PAD_VALID } auto_pad;
} pare__window_plan;

/* Reads kernel_shape, strides, dilations, pads and auto_pad for a tensor of this rank (batch and channels included).
 * kernel: the sizes that the weights have (kernel_shape must then agree), or NULL. */
pare_status pare__call_window(const pare__call *call, int rank, const int64_t *kernel, pare__window_plan *out);
/* The pads that auto_pad asks for are put in; y = how many windows there are along each dimension. ceil: the last one
 * may begin inside and end outside. PARE_ERR_SHAPE if there is none. */
pare_status pare__call_window_sizes(const pare__call *call, pare__window_plan *plan, const int64_t *x, bool ceil,
                                    int64_t *y);
/* How pooling x goes by the attributes; dim: the shape of the result, of x's rank. */
pare_status pare__call_pool_options(pare__call *call, const pare_tensor *x, pare_pool_options *options, int64_t *dim);
/* A list attribute with one entry a dimension; `otherwise` if it is not given. */
pare_status pare__call_per_dimension(const pare__call *call, const char *name, int count, int64_t otherwise,
                                     int64_t *out);

#endif
