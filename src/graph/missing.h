/* Operators that a model has nodes of and pare lacks. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_MISSING_H
#define PARE_GRAPH_MISSING_H

#include "graph/graph.h"

#define PARE__MISSING_NODES 3 /* that are named for each operator */

/* Names are the file's: it must outlive the list. All zero is an empty list. */
typedef struct pare__missing {
  size_t nnodes, count, capacity;
  struct pare__missing_operator {
    const char *domain, *op_type;
    int64_t opset;
    size_t nnodes;
    const char *node[PARE__MISSING_NODES];
  } * op;
} pare__missing;

/* Notes a node of the operator. A node without a name goes by its first output. */
pare_status pare__missing_note(pare__missing *missing, const pare__onnx_node *node, int64_t opset);
/* PARE_ERR_UNSUPPORTED with a line for each operator. */
pare_status pare__missing_fail(const pare__missing *missing, const char *path);
void pare__missing_clear(pare__missing *missing);

#endif
