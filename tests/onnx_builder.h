/* Small ONNX models made in memory and written to a file. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ONNX_BUILDER_H
#define TESTS_ONNX_BUILDER_H

#include <pare/tensor.h>

#include "format/onnx.h"

/* An empty model of this opset. */
pare__onnx_model *model_new(int64_t opset);
/* A graph input or output; rank -1: no shape; a dimension -1: none given, under the name "n". */
void model_input(pare__onnx_model *model, const char *name, int32_t dtype, int rank, const int64_t *dim);
void model_output(pare__onnx_model *model, const char *name);
/* An initialiser; the elements are copied. */
void model_constant(pare__onnx_model *model, const char *name, int32_t dtype, int rank, const int64_t *dim,
                    const void *data);
/* A node of ai.onnx: names of inputs and outputs separated by spaces, "-" for one that is left out. */
pare__onnx_node *model_node(pare__onnx_model *model, const char *op_type, const char *inputs, const char *outputs);
/* to = tanh(from w), w [width, width]: another one each time, as what is alike becomes one. */
void model_layer(pare__onnx_model *model, const char *from, const char *to, int64_t width, float *w);
/* A node in any list of nodes, of a subgraph or a function. */
pare__onnx_node *node_in(pare__onnx_model *model, pare__onnx_nodes *list, const char *op_type, const char *inputs,
                         const char *outputs);
pare__onnx_attribute *node_attribute(pare__onnx_model *model, pare__onnx_node *node, const char *name, int32_t type);
void node_int(pare__onnx_model *model, pare__onnx_node *node, const char *name, int64_t value);
void node_ints(pare__onnx_model *model, pare__onnx_node *node, const char *name, size_t count, const int64_t *values);
void node_float(pare__onnx_model *model, pare__onnx_node *node, const char *name, float value);
/* A subgraph of a node, with inputs and outputs of these names, separated by spaces. */
pare__onnx_graph *node_body(pare__onnx_model *model, pare__onnx_node *node, const char *attribute, const char *inputs,
                            const char *outputs);
/* Writes and closes it. */
void model_write(pare__onnx_model *model, const char *path);
/* Writes the model, with the output "y", to folder/model.onnx, closes it, opens it in the fixture's context and runs it
 * once; model_run takes no failure. */
pare_status model_try(const char *folder, pare__onnx_model *model, pare_tensor *const *inputs, pare_tensor **out);
pare_tensor *model_run(const char *folder, pare__onnx_model *model, pare_tensor *const *inputs);

#endif
