/* What inspections of a model share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_INSPECT_H
#define PARE_GRAPH_INSPECT_H

#include "format/onnx.h"

/* A node's attributes for people, in memory of the source: "axis=1 perm=[0, 2, 1] mode='linear' value=int64[3]". */
pare_status pare__attributes_text(pare__onnx_source *source, const pare__onnx_node *node, const char **out);

#endif
