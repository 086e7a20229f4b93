/* Small tensors and views that operators made of other operations begin with. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_COMPOSE_H
#define PARE_GRAPH_COMPOSE_H

#include <pare/gemm.h>
#include <pare/operation.h>

#include "graph/operator.h"

/* All of them live as long as the call. */

/* A scalar of that value. */
pare_status pare__call_scalar(pare__call *call, pare_dtype dtype, double value, pare_tensor **out);
/* 0, 1, … count - 1 along `axis` of a tensor of that rank, whose other dimensions are 1. */
pare_status pare__call_range(pare__call *call, pare_dtype dtype, int64_t count, int rank, int axis, pare_tensor **out);
/* pare_tensor_slice, _permute and _broadcast. */
pare_status pare__call_slice(pare__call *call, pare_tensor *tensor, int axis, int64_t start, int64_t count,
                             int64_t step, pare_tensor **out);
pare_status pare__call_permuted(pare__call *call, pare_tensor *tensor, const int *axes, pare_tensor **out);
pare_status pare__call_broadcast(pare__call *call, pare_tensor *tensor, int rank, const int64_t *dim,
                                 pare_tensor **out);
/* Output 0 of a product of this shape to which input `residual` is added last, if it has one: where that has the same
 * shape, in the product's epilogue (options say so), else by itself afterwards, as broadcasting demands. The product is
 * to be written to *product, then ended. */
pare_status pare__call_product_begin(pare__call *call, unsigned residual, pare_dtype dtype, int rank,
                                     const int64_t *dim, pare_gemm_options *options, pare_tensor **product);
pare_status pare__call_product_end(pare__call *call, unsigned residual, pare_tensor *product);
/* [N, ..., C] as [N, C, ...], and back: views. PARE_ERR_SHAPE if it has no channels. */
pare_status pare__call_channels_first(pare__call *call, pare_tensor *tensor, pare_tensor **out);
pare_status pare__call_channels_last(pare__call *call, pare_tensor *tensor, pare_tensor **out);
/* The shape that a reduction over these axes leaves, in dim; its rank. keep: they stay, 1 long. */
int pare__reduced_shape(const pare__shape *from, const int *axes, int count, bool keep, int64_t *dim);
/* Element `index` of an axis, which goes: a view of one rank less. */
pare_status pare__call_at(pare__call *call, pare_tensor *tensor, int axis, int64_t index, pare_tensor **out);
/* All prefixes along the axis, in a logarithm of steps (Hillis & Steele 1986); *out is x or scratch. An infinity or NaN
 * reaches the elements from its own on, no other. */
pare_status pare__call_scan(pare__call *call, pare_binary_operation operation, int axis, pare_tensor *x,
                            pare_tensor **out);

#endif
