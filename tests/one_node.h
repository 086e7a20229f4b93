/* Models of one node, whose inputs are made as they are needed. SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ONE_NODE_H
#define TESTS_ONE_NODE_H

#include "onnx_builder.h"

enum { MOST_INPUTS = 8 };
typedef struct one_node {
  pare__onnx_model *onnx;
  pare__onnx_node *node;
  pare_tensor *in[MOST_INPUTS];
  unsigned count;
} one_node;

/* Of ai.onnx, and of com.microsoft. */
one_node one_node_begin(int64_t opset, const char *op_type, const char *inputs, const char *outputs);
one_node one_node_contributed(const char *op_type, const char *inputs, const char *outputs);
void one_node_input(one_node *one, const char *name, int32_t type, int rank, const int64_t *dim, const void *data);
void one_node_text(one_node *one, const char *name, const char *text);
void one_node_floats(one_node *one, const char *name, size_t count, const float *values);
/* Writes the model with this output to folder/model.onnx, runs it, planned or at once, closes it and the inputs; the
 * status of opening and running. */
pare_status one_node_run(const char *folder, one_node *one, const char *output, bool at_once, pare_tensor **out);
/* The output is `count` floats, as expected within a tolerance of their largest magnitude. */
void one_node_expect(const char *folder, one_node *one, const char *output, int64_t count, const double *expected);
/* The output y is `count` bytes, each as near to what is expected as a byte can be: halves may go either way. */
void one_node_expect_bytes(const char *folder, one_node *one, bool is_signed, int64_t count, const double *expected);
/* The output is `count` integers of i32 or i64. */
void one_node_expect_integers(const char *folder, one_node *one, const char *output, int64_t count,
                              const int64_t *expected);
/* Opening or running it fails, and the message has the text. */
void one_node_refused(const char *folder, one_node *one, pare_status status, const char *text);

/* Any of the arrays may be NULL. */
#define FREE_ALL(...) free_all(sizeof((float *const[]){__VA_ARGS__}) / sizeof(float *), (float *const[]){__VA_ARGS__})
void free_all(size_t count, float *const *arrays);

#endif
