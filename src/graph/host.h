/* Arithmetic on the host, by which shapes are computed. SPDX-License-Identifier: Apache-2.0
 *
 * Contents are small and few; what they give is what the device's operations on them would give. */
#ifndef PARE_GRAPH_HOST_H
#define PARE_GRAPH_HOST_H

#include "graph/graph.h"
#include "kernel/elementwise.h"

/* The shape that contents broadcast to. PARE_ERR_SHAPE names two that do not. */
pare_status pare__host_broadcast(const pare__content *const *inputs, int ninputs, pare__shape *out);
/* Where the element that broadcasts to number `index` of a row-major `shape` lies in a content. */
size_t pare__host_index(const pare__content *content, const pare__shape *shape, size_t index);

/* An operation of the elementwise family on contents, broadcast: mode and p are those of kernel/elementwise.h. For
 * casts `to` is the dtype of the result. PARE_ERR_TYPE if the operation does not take the dtypes. */
pare_status pare__host_elementwise(int mode, const double *p, const pare__content *const *inputs, pare_dtype to,
                                   pare__content **out);

#endif
