/* N:M sparse weights of a graph. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_SPARSE_H
#define PARE_GRAPH_SPARSE_H

#include "graph/graph.h"
#include "tensor/sparse.h"

/* What the values, the indices and the attributes n, m and fill of a node say; false if they do not fit each other. */
bool pare__sparse_weight_layout(const pare__content *values, const pare__content *indices, const pare__node *node,
                                pare_sparse_layout *out);
/* An integer attribute; 0: not given, or none that could be right. */
int64_t pare__sparse_attribute(const pare__node *node, const char *name);

#endif
