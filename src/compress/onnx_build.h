/* New nodes and tensors of an ONNX graph that is rewritten. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_ONNX_BUILD_H
#define PARE_COMPRESS_ONNX_BUILD_H

#include "compress/onnx_weights.h"
#include "graph/scope.h"

typedef struct pare__onnx_builder {
  pare__onnx_source *source;
  pare__scope names;       /* of all values and nodes of the model */
  pare__onnx_nodes *nodes; /* where new nodes go */
  bool uses_microsoft;     /* a node of com.microsoft was added */
} pare__onnx_builder;

/* Takes in all names of the model. Close the builder in any case. */
pare_status pare__onnx_builder_open(pare__onnx_model *model, pare__onnx_builder *out);
void pare__onnx_builder_close(pare__onnx_builder *builder);

/* base + suffix, and a number behind if that is taken. */
pare_status pare__onnx_fresh(pare__onnx_builder *builder, const char *base, const char *suffix, const char **out);

/* A node at the end; inputs and outputs end with NULL. domain "" or "com.microsoft". *out may be edited until the next.
 */
pare_status pare__onnx_node_add(pare__onnx_builder *builder, const char *domain, const char *op_type, const char *name,
                                const char *const *inputs, const char *const *outputs, pare__onnx_node **out);
/* The same with one output, named after `base` and `suffix`, which is also the node's name. */
pare_status pare__onnx_value_add(pare__onnx_builder *builder, const char *domain, const char *op_type, const char *base,
                                 const char *suffix, const char *const *inputs, pare__onnx_node **node,
                                 const char **out);
pare_status pare__onnx_set_int(pare__onnx_builder *builder, pare__onnx_node *node, const char *name, int64_t value);
/* A Cast of `from` to an ONNX dtype. */
pare_status pare__onnx_cast_add(pare__onnx_builder *builder, const char *from, int32_t dtype, const char *name,
                                const char *output);

/* Makes a tensor of this name, type and shape, whatever it was before: from a stream, or from bytes. */
pare_status pare__onnx_tensor_set(pare__onnx_builder *builder, pare__onnx_tensor *tensor, const char *name,
                                  int32_t dtype, int rank, const int64_t *dim, const pare__stream *stream,
                                  pare__onnx_bytes bytes);
/* A new initialiser of a graph with these bytes, which are copied; *name is fresh. */
pare_status pare__onnx_constant_add(pare__onnx_builder *builder, pare__onnx_graph *graph, const char *base,
                                    const char *suffix, int32_t dtype, int rank, const int64_t *dim, const void *data,
                                    const char **name);

/* ---- the rewriting itself ---- */

/* The op_type of a node that is to be left out. */
extern const char pare__onnx_gone[];

/* Replaces the nodes that do better with a stored form, in all graphs (onnx_nodes.c). */
pare_status pare__onnx_nodes_rewrite(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                                     const pare__treatment *treatments, pare__onnx_packing *const *packings);
/* Divides activations where they are made (division.h); before nodes are replaced. */
pare_status pare__onnx_divisions_make(pare__onnx_builder *build, const pare__onnx_checkpoint *checkpoint,
                                      const pare__treatment *treatments);
/* codes, scales and zeros (NULL: none) that broadcast, to `output` of the weight's old dtype, by operators that every
 * opset has. */
pare_status pare__onnx_expand(pare__onnx_builder *build, const pare__onnx_packing *packing, const char *codes,
                              const char *scales, const char *zeros, const char *output);

#endif
