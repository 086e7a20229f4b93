/* Patterns as exporters write them, node for node: each becomes the one operator that it is, and nothing that only
 * looks like it does. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "graph/run.h"
#include "onnx_builder.h"
#include "with_passes.h"

static char folder[] = "/tmp/pare-test-exporters-XXXXXX";
static char path[128];

enum { WIDTH = 24, MOST_STEPS = 14 };

/* A node; reductions are over the form's axis, which stays. */
typedef struct step {
  const char *op_type, *inputs, *output;
} step;

/* Nodes from x [2, 3, WIDTH] to y, and what is left of them. */
typedef struct form {
  const char *origin;
  const char *result; /* one node of it; NULL: none of the fused operators */
  size_t nnodes;      /* all in all */
  int64_t axis;       /* 0: the last */
  step step[MOST_STEPS];
} form;

static const struct {
  const char *name;
  int rank;
  float value;
} scalars[] = {{"one", 0, 1},
               {"two", 0, 2},
               {"three", 0, 3},
               {"six", 0, 6},
               {"none", 0, 0},
               {"half", 0, 0.5F},
               {"minus_half", 0, -0.5F},
               {"sixth", 0, 1.0F / 6},
               {"root2", 0, 1.41421354F},
               {"inverse_root2", 0, 0.70710677F},
               {"cubic", 0, 0.044715F},
               {"tanh", 0, 0.79788458F},
               {"quick", 0, 1.702F},
               {"epsilon", 0, 1e-5F},
               {"epsilon1", 1, 1e-6F},
               {"epsilon4", 4, 1e-5F}};

static pare__onnx_model *written(const form *from, int64_t opset) {
  static const int64_t ones[4] = {1, 1, 1, 1};
  const int64_t axis = from->axis ? from->axis : -1;
  pare__onnx_model *onnx = model_new(opset);
  float *numbers = random_floats(2 * WIDTH, 7);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){2, 3, WIDTH});
  model_constant(onnx, "scale", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers);
  model_constant(onnx, "shift", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers + WIDTH);
  model_constant(onnx, "scale2", PARE__ONNX_FLOAT, 2, (const int64_t[]){1, WIDTH}, numbers);
  for (size_t i = 0; i < PARE__COUNT(scalars); i++)
    model_constant(onnx, scalars[i].name, PARE__ONNX_FLOAT, scalars[i].rank, ones, &scalars[i].value);
  free(numbers);
  for (const step *at = from->step; at < from->step + MOST_STEPS && at->op_type; at++) {
    pare__onnx_node *node = model_node(onnx, at->op_type, at->inputs, at->output);
    if (strcmp(at->op_type, "ReduceMean") == 0) node_ints(onnx, node, "axes", 1, &axis);
    if (strcmp(at->output, "read") == 0) model_output(onnx, "read");
  }
  model_output(onnx, "y");
  return onnx;
}

static void check(const form *from, int64_t opset, uint32_t seed) {
  static const char *const fused[] = {"LayerNormalization", "RMSNormalization", "Gelu", "Swish", "HardSwish"};
  pare_model *model = with_passes(path, written(from, opset), seed);
  ck_assert_msg(model->network->graph.nnodes == from->nnodes, "%s: %zu nodes, expected %zu", from->origin,
                model->network->graph.nnodes, from->nnodes);
  for (size_t i = 0; i < PARE__COUNT(fused); i++) {
    const size_t expected = from->result && strcmp(from->result, fused[i]) == 0;
    ck_assert_msg(nodes_of(model, fused[i]) == expected, "%s: %zu nodes of %s", from->origin, nodes_of(model, fused[i]),
                  fused[i]);
  }
  pare_model_close(model);
}

/* ---- norms ---- */

#define CENTRED \
  {"ReduceMean", "x", "mean"}, { "Sub", "x mean", "d" }
#define VARIANCE \
  {"Pow", "d two", "square"}, {"ReduceMean", "square", "variance"}, { "Add", "variance epsilon", "moment" }
/* SquaredDifference, as tf2onnx writes it */
#define DIFFERENCE \
  {"Mul", "d d", "square"}, {"ReduceMean", "square", "variance"}, { "Add", "variance epsilon1", "moment" }
#define RSQRT \
  {"Sqrt", "moment", "root"}, { "Reciprocal", "root", "inverse" }
#define SQUARES \
  {"Pow", "x two", "square"}, {"ReduceMean", "square", "mean"}, { "Add", "mean epsilon1", "moment" }

static const form norms[] = {
    {"torch 1.x, opset 11 (and paddle2onnx): nn.LayerNorm",
     "LayerNormalization",
     1,
     0,
     {CENTRED,
      VARIANCE,
      {"Sqrt", "moment", "root"},
      {"Div", "d root", "n"},
      {"Mul", "n scale", "s"},
      {"Add", "s shift", "y"}}},
    {"torch 1.x: nn.LayerNorm(elementwise_affine=False)",
     "LayerNormalization",
     1,
     0,
     {CENTRED, VARIANCE, {"Sqrt", "moment", "root"}, {"Div", "d root", "y"}}},
    {"torch 2.x: nn.LayerNorm(bias=False), decomposed",
     "LayerNormalization",
     1,
     0,
     {CENTRED, VARIANCE, {"Sqrt", "moment", "root"}, {"Div", "d root", "n"}, {"Mul", "scale n", "y"}}},
    {"torch 2.x, dynamo: decomposed native_layer_norm, rsqrt",
     "LayerNormalization",
     1,
     0,
     {CENTRED,
      {"Mul", "d d", "square"},
      {"ReduceMean", "square", "variance"},
      {"Add", "variance epsilon", "moment"},
      RSQRT,
      {"Mul", "d inverse", "n"},
      {"Mul", "n scale", "s"},
      {"Add", "s shift", "y"}}},
    {"a power of -1/2",
     "LayerNormalization",
     1,
     0,
     {CENTRED,
      VARIANCE,
      {"Pow", "moment minus_half", "inverse"},
      {"Mul", "inverse d", "n"},
      {"Mul", "n scale", "s"},
      {"Add", "shift s", "y"}}},
    {"tf2onnx: tf.nn.batch_normalization over the last axis, as Keras 2's LayerNormalization calls it",
     "LayerNormalization",
     1,
     0,
     {CENTRED,
      DIFFERENCE,
      RSQRT,
      {"Mul", "inverse scale", "r"},
      {"Mul", "x r", "a"},
      {"Mul", "mean r", "b"},
      {"Sub", "shift b", "c"},
      {"Add", "a c", "y"}}},
    {"tf2onnx: Keras 3's LayerNormalization, with -mean",
     "LayerNormalization",
     1,
     0,
     {CENTRED,
      DIFFERENCE,
      RSQRT,
      {"Mul", "scale inverse", "r"},
      {"Neg", "mean", "m"},
      {"Mul", "m r", "b"},
      {"Add", "b shift", "c"},
      {"Mul", "x r", "a"},
      {"Add", "c a", "y"}}},
    {"tf2onnx: the same without offset",
     "LayerNormalization",
     1,
     0,
     {CENTRED,
      DIFFERENCE,
      RSQRT,
      {"Mul", "scale inverse", "r"},
      {"Mul", "x r", "a"},
      {"Mul", "mean r", "b"},
      {"Sub", "a b", "y"}}},
    {"torch 1.x, opset 11: T5's and Llama's norm, x * rsqrt(mean(x^2) + epsilon)",
     "RMSNormalization",
     1,
     0,
     {SQUARES,
      {"Sqrt", "moment", "root"},
      {"Div", "one root", "inverse"},
      {"Mul", "x inverse", "n"},
      {"Mul", "scale n", "y"}}},
    {"torch 2.x, dynamo: the same with Reciprocal",
     "RMSNormalization",
     1,
     0,
     {SQUARES, RSQRT, {"Mul", "x inverse", "n"}, {"Mul", "n scale", "y"}}},
    {"RMS norm by Div, without a scale",
     "RMSNormalization",
     1,
     0,
     {{"Mul", "x x", "square"},
      {"ReduceMean", "square", "mean"},
      {"Add", "epsilon mean", "moment"},
      {"Sqrt", "moment", "root"},
      {"Div", "x root", "y"}}},
    /* what is none, or not all of it */
    {"over another axis",
     NULL,
     9,
     1,
     {CENTRED,
      VARIANCE,
      {"Sqrt", "moment", "root"},
      {"Div", "d root", "n"},
      {"Mul", "n scale", "s"},
      {"Add", "s shift", "y"}}},
    {"RMS over another axis", NULL, 7, 1, {SQUARES, RSQRT, {"Mul", "x inverse", "n"}, {"Mul", "n scale", "y"}}},
    {"the norm itself is read, too: its scale and shift stay",
     "LayerNormalization",
     4,
     0,
     {CENTRED,
      VARIANCE,
      {"Sqrt", "moment", "root"},
      {"Div", "d root", "n"},
      {"Tanh", "n", "read"},
      {"Mul", "n scale", "s"},
      {"Add", "s shift", "y"}}},
    {"a scale of another rank stays by itself",
     "LayerNormalization",
     3,
     0,
     {CENTRED,
      VARIANCE,
      {"Sqrt", "moment", "root"},
      {"Div", "d root", "n"},
      {"Mul", "n scale2", "s"},
      {"Add", "s shift", "y"}}},
    {"an epsilon that makes the result of rank 4",
     NULL,
     7,
     0,
     {CENTRED,
      {"Pow", "d two", "square"},
      {"ReduceMean", "square", "variance"},
      {"Add", "variance epsilon4", "moment"},
      {"Sqrt", "moment", "root"},
      {"Div", "d root", "y"}}},
    {"the square is of x, the quotient of x - mean",
     NULL,
     7,
     0,
     {CENTRED,
      {"Pow", "x two", "square"},
      {"ReduceMean", "square", "variance"},
      {"Add", "variance epsilon", "moment"},
      {"Sqrt", "moment", "root"},
      {"Div", "d root", "y"}}},
    {"a cube instead of a square",
     NULL,
     7,
     0,
     {CENTRED,
      {"Mul", "d x", "square"},
      {"ReduceMean", "square", "variance"},
      {"Add", "variance two", "moment"},
      {"Sqrt", "moment", "root"},
      {"Div", "d root", "y"}}},
    {"the shift is of another scale than x's",
     NULL,
     12,
     0,
     {CENTRED,
      DIFFERENCE,
      RSQRT,
      {"Mul", "inverse scale", "r"},
      {"Mul", "x r", "a"},
      {"Mul", "mean inverse", "b"},
      {"Sub", "shift b", "c"},
      {"Add", "a c", "y"}}},
};

START_TEST(norms_become_the_operator_that_they_are) { check(&norms[_i], 13, (uint32_t)_i); }
END_TEST

/* A last dimension of 1 becomes as long as the scale is, also where the norm has taken in a sum before it (_i). */
START_TEST(a_root_mean_square_of_one_element_is_spread_by_its_scale) {
  static const step nodes[] = {SQUARES, RSQRT, {"Mul", "x inverse", "n"}, {"Mul", "scale n", "y"}};
  const int64_t dim[] = {2, 3, 1}, last = -1, width = WIDTH;
  pare__onnx_model *onnx = model_new(13);
  float *numbers = random_floats(WIDTH, 7);
  model_constant(onnx, "scale", PARE__ONNX_FLOAT, 1, &width, numbers);
  free(numbers);
  model_number(onnx, "two", 2);
  model_number(onnx, "epsilon1", 1e-6F);
  model_input(onnx, _i ? "a" : "x", PARE__ONNX_FLOAT, 3, dim);
  if (_i) model_input(onnx, "b", PARE__ONNX_FLOAT, 3, dim);
  if (_i) model_node(onnx, "Add", "a b", "x");
  for (size_t i = 0; i < PARE__COUNT(nodes); i++) {
    pare__onnx_node *node = model_node(onnx, nodes[i].op_type, nodes[i].inputs, nodes[i].output);
    if (strcmp(nodes[i].op_type, "ReduceMean") == 0) node_ints(onnx, node, "axes", 1, &last);
  }
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 3);
  ck_assert_uint_eq(nodes_of(model, _i ? "SkipSimplifiedLayerNormalization" : "RMSNormalization"), 1);
  ck_assert_uint_eq(model->network->graph.nnodes, 1);
  pare_model_close(model);
}
END_TEST

/* ---- gates ---- */

static const form gates[] = {
    {"torch 1.x, opset 11 to 19, and paddle2onnx: GELU",
     "Gelu",
     1,
     0,
     {{"Div", "x root2", "a"}, {"Erf", "a", "b"}, {"Add", "b one", "c"}, {"Mul", "x c", "d"}, {"Mul", "d half", "y"}}},
    {"torch 2.x, dynamo: GELU",
     "Gelu",
     1,
     0,
     {{"Mul", "x inverse_root2", "a"},
      {"Erf", "a", "b"},
      {"Add", "one b", "c"},
      {"Mul", "half c", "d"},
      {"Mul", "x d", "y"}}},
    {"tf2onnx: tf.nn.gelu",
     "Gelu",
     1,
     0,
     {{"Mul", "half x", "h"}, {"Div", "x root2", "a"}, {"Erf", "a", "b"}, {"Add", "one b", "c"}, {"Mul", "h c", "y"}}},
    {"torch: GELU(approximate='tanh'), x^3 as products",
     "Gelu",
     1,
     0,
     {{"Mul", "x x", "a"},
      {"Mul", "a x", "b"},
      {"Mul", "cubic b", "c"},
      {"Add", "x c", "d"},
      {"Mul", "tanh d", "e"},
      {"Tanh", "e", "f"},
      {"Add", "f one", "g"},
      {"Mul", "half x", "h"},
      {"Mul", "h g", "y"}}},
    {"transformers' NewGELU by torch 1.x, and tf2onnx: tf.nn.gelu(approximate=True)",
     "Gelu",
     1,
     0,
     {{"Pow", "x three", "b"},
      {"Mul", "b cubic", "c"},
      {"Add", "x c", "d"},
      {"Mul", "d tanh", "e"},
      {"Tanh", "e", "f"},
      {"Add", "f one", "g"},
      {"Mul", "x half", "h"},
      {"Mul", "h g", "y"}}},
    {"CLIP's quick GELU", "Swish", 1, 0, {{"Mul", "x quick", "a"}, {"Sigmoid", "a", "b"}, {"Mul", "x b", "y"}}},
    {"torch 1.x, opset 11: nn.Hardswish",
     "HardSwish",
     1,
     0,
     {{"Add", "x three", "a"}, {"Clip", "a none six", "b"}, {"Div", "b six", "c"}, {"Mul", "x c", "y"}}},
    {"tf2onnx: Keras's hard swish, x * relu6(x + 3) * (1 / 6)",
     "HardSwish",
     1,
     0,
     {{"Add", "x three", "a"}, {"Clip", "a none six", "b"}, {"Mul", "x b", "c"}, {"Mul", "c sixth", "y"}}},
    {"paddle2onnx, opset 11: hard_swish",
     "HardSwish",
     1,
     0,
     {{"Add", "x three", "a"}, {"Clip", "a none six", "b"}, {"Mul", "x b", "c"}, {"Div", "c six", "y"}}},
    /* what is none */
    {"erf of another multiple",
     NULL,
     5,
     0,
     {{"Div", "x two", "a"}, {"Erf", "a", "b"}, {"Add", "b one", "c"}, {"Mul", "x c", "d"}, {"Mul", "d half", "y"}}},
    {"the gate of GELU is read, too",
     NULL,
     6,
     0,
     {{"Div", "x root2", "a"},
      {"Erf", "a", "b"},
      {"Add", "b one", "c"},
      {"Tanh", "c", "read"},
      {"Mul", "x c", "d"},
      {"Mul", "d half", "y"}}},
    {"bounds of no hard swish",
     NULL,
     4,
     0,
     {{"Add", "x three", "a"}, {"Clip", "a none three", "b"}, {"Div", "b six", "c"}, {"Mul", "x c", "y"}}},
};

START_TEST(gates_become_the_operator_that_they_are) { check(&gates[_i], 13, (uint32_t)_i); }
END_TEST

/* Models of halves, as converters write them, have halves of sqrt(2), 1 / sqrt(2), sqrt(2 / pi), 0.044715 and 1 / 6.
 * _i: f16, bf16. One of them is run: each kernel in halves takes its time to be built. */
START_TEST(gates_in_halves_become_the_operator_that_they_are) {
  static const char *const results[] = {"Gelu", "Gelu", "Gelu", "HardSwish"};
  for (size_t f = 0; f < PARE__COUNT(results); f++) {
    const int32_t type = _i ? PARE__ONNX_BFLOAT16 : PARE__ONNX_FLOAT16;
    const form *from = &gates[f == 0 ? 0 : f == 1 ? 1 : f == 2 ? 4 : 7];
    pare__onnx_model *onnx = model_new(13);
    model_input(onnx, "in", PARE__ONNX_FLOAT, 2, (const int64_t[]){5, WIDTH});
    node_int(onnx, model_node(onnx, "Cast", "in", "x"), "to", type);
    for (size_t i = 0; i < PARE__COUNT(scalars); i++) {
      uint16_t half;
      pare__store(_i ? PARE_BF16 : PARE_F16, &half, 0, (double)scalars[i].value);
      model_constant(onnx, scalars[i].name, type, 0, NULL, &half);
    }
    for (const step *at = from->step; at < from->step + MOST_STEPS && at->op_type; at++)
      model_node(onnx, at->op_type, at->inputs, at->output);
    node_int(onnx, model_node(onnx, "Cast", "y", "out"), "to", PARE__ONNX_FLOAT);
    model_output(onnx, "out");
    pare_model *model = NULL;
    if (f + (size_t)_i == 0) {
      model = with_passes_within(path, onnx, 3, 4e-3F);
    } else {
      model_write(onnx, path);
      OK(pare_model_open(context, path, NULL, &model));
    }
    ck_assert_msg(nodes_of(model, results[f]) == 1, "%s, in halves: not found", from->origin);
    ck_assert_uint_eq(model->network->graph.nnodes, 3);
    pare_model_close(model);
  }
}
END_TEST

/* Models that were turned into halves in part: a sum of floats, and a norm of it with parameters in f16. */
START_TEST(a_norm_of_a_sum_takes_parameters_in_halves) {
  pare__onnx_model *onnx = model_new(17);
  uint16_t halves[WIDTH];
  for (size_t i = 0; i < WIDTH; i++) pare__store(PARE_F16, halves, i, 0.25 * (double)i);
  model_input(onnx, "a", PARE__ONNX_FLOAT, 2, (const int64_t[]){5, WIDTH});
  model_input(onnx, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){5, WIDTH});
  model_constant(onnx, "p", PARE__ONNX_FLOAT16, 1, (const int64_t[]){WIDTH}, halves);
  model_node(onnx, "Add", "a b", "sum");
  model_node(onnx, "LayerNormalization", "sum p p", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 5);
  ck_assert_uint_eq(nodes_of(model, "SkipLayerNormalization"), 1);
  pare_model_close(model);
}
END_TEST

/* ---- what ONNX Runtime's optimisers write ---- */

static pare__onnx_node *contributed(pare__onnx_model *onnx, const char *op_type, const char *inputs,
                                    const char *output) {
  pare__onnx_node *node = model_node(onnx, op_type, inputs, output);
  node->domain = "com.microsoft";
  return node;
}

/* A block of an encoder: FusedMatMul with the scale of the scores, BiasGelu and FastGelu after products, and a norm
 * with the bias of the product before it. */
START_TEST(blocks_by_the_optimisers_of_onnx_runtime_become_few_nodes) {
  enum { HEADS = 2, LENGTH = 5, SIZE = WIDTH / HEADS };
  const int64_t heads[] = {2, HEADS, LENGTH, SIZE}, turned[] = {0, 2, 1, 3}, flat[] = {2, LENGTH, WIDTH};
  pare__onnx_model *onnx = model_new(17);
  float *numbers = random_floats(WIDTH * WIDTH, 7);
  model_input(onnx, "q", PARE__ONNX_FLOAT, 4, heads);
  model_input(onnx, "k", PARE__ONNX_FLOAT, 4, heads);
  model_input(onnx, "v", PARE__ONNX_FLOAT, 4, heads);
  model_input(onnx, "mask", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 1, 1, LENGTH});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, numbers);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers);
  model_constant(onnx, "shape", PARE__ONNX_INT64, 1, (const int64_t[]){3}, flat);
  free(numbers);
  pare__onnx_node *scores = contributed(onnx, "FusedMatMul", "q k", "scores");
  node_float(onnx, scores, "alpha", 0.25F);
  node_int(onnx, scores, "transB", 1);
  model_node(onnx, "Add", "scores mask", "masked");
  node_int(onnx, model_node(onnx, "Softmax", "masked", "weights"), "axis", -1);
  model_node(onnx, "MatMul", "weights v", "context");
  node_ints(onnx, model_node(onnx, "Transpose", "context", "c"), "perm", 4, turned);
  model_node(onnx, "Reshape", "c shape", "x");
  model_node(onnx, "MatMul", "x w", "p");
  contributed(onnx, "SkipLayerNormalization", "p x b b b", "n");
  model_node(onnx, "MatMul", "n w", "h");
  contributed(onnx, "BiasGelu", "h b", "g");
  model_node(onnx, "MatMul", "g w", "i");
  contributed(onnx, "FastGelu", "i b", "j");
  model_node(onnx, "MatMul", "j w", "l");
  contributed(onnx, "Gelu", "l", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 5);
  ck_assert_uint_eq(nodes_of(model, "Attention"), 1);
  ck_assert_uint_eq(nodes_of(model, "FusedMatMul"), 4);
  ck_assert_uint_eq(nodes_of(model, "SkipLayerNormalization"), 1);
  ck_assert_uint_eq(model->network->graph.nnodes, 8);
  pare_model_close(model);
}
END_TEST

/* ---- attention ---- */

/* torch 1.x at opset 11 has the axis of softmax from the front, and a mask whose rank nothing tells: the transpose of
 * the heads does. _i: 1: it has five axes, and the softmax is not over the last. */
START_TEST(attention_over_the_axis_counted_from_the_front) {
  const int64_t heads[] = {0, 2, 1, 3}, five[] = {0, 1, 3, 2, 4};
  pare__onnx_model *onnx = model_new(11);
  model_input(onnx, "q", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 2, 5, 4});
  model_input(onnx, "k", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 2, 4, 5});
  model_input(onnx, "v", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 2, 5, 4});
  model_input(onnx, "m", PARE__ONNX_FLOAT, _i ? 5 : 4,
              _i ? (const int64_t[]){1, 2, 1, 1, 5} : (const int64_t[]){2, 1, 1, 5});
  model_node(onnx, "Shape", "m", "s");
  model_node(onnx, "Expand", "m s", "mask");
  model_node(onnx, "MatMul", "q k", "scores");
  model_node(onnx, "Add", "scores mask", "masked");
  node_int(onnx, model_node(onnx, "Softmax", "masked", "weights"), "axis", 3);
  model_node(onnx, "MatMul", "weights v", "c");
  node_ints(onnx, model_node(onnx, "Transpose", "c", "y"), "perm", _i ? 5 : 4, _i ? five : heads);
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 5);
  ck_assert_uint_eq(nodes_of(model, "Attention"), _i == 0);
  pare_model_close(model);
}
END_TEST

/* torch 2.7's scaled_dot_product_attention with a mask of bool, which guards rows that attend to nothing: with one key,
 * a quarter of them do. _i: 1: the unguarded weights are read, too; 2: the guard gives something else than 0. */
START_TEST(attention_that_is_guarded_becomes_one_node) {
  enum { HEADS = 2, QUERIES = 16, SIZE = 4 };
  const int64_t query[] = {1, HEADS, QUERIES, SIZE}, key[] = {1, HEADS, SIZE, 1}, value[] = {1, HEADS, 1, SIZE};
  pare__onnx_model *onnx = model_new(18);
  model_input(onnx, "q", PARE__ONNX_FLOAT, 4, query);
  model_input(onnx, "k", PARE__ONNX_FLOAT, 4, key);
  model_input(onnx, "v", PARE__ONNX_FLOAT, 4, value);
  model_input(onnx, "mask", PARE__ONNX_BOOL, 4, (const int64_t[]){1, 1, QUERIES, 1});
  model_number(onnx, "low", -INFINITY);
  model_number(onnx, "zero", _i == 2 ? 0.5F : 0);
  model_node(onnx, "MatMul", "q k", "scores");
  model_node(onnx, "Where", "mask scores low", "masked");
  node_int(onnx, model_node(onnx, "Softmax", "masked", "weights"), "axis", -1);
  model_node(onnx, "IsNaN", "weights", "is_nan");
  model_node(onnx, "Where", "is_nan zero weights", "guarded");
  model_node(onnx, "MatMul", "guarded v", "y");
  model_output(onnx, "y");
  if (_i == 1) model_output(onnx, "weights");
  pare_model *model = with_passes(path, onnx, 5);
  ck_assert_uint_eq(nodes_of(model, "Attention"), _i == 0);
  ck_assert_uint_eq(model->network->graph.nnodes, _i == 0 ? 1 : 6);
  pare_model_close(model);
}
END_TEST

/* ---- transposed convolution ---- */

/* _i: groups - 1. As generators of images and segmentation networks are exported: ConvTranspose, then batch norm. */
START_TEST(batch_norm_goes_into_a_transposed_convolution) {
  enum { CHANNELS = 4, EACH = 3, TAPS = 3 };
  const int64_t groups = _i + 1, channels = groups * EACH;
  static const float variance[2 * EACH] = {0.5F, 1, 2, 3, 0.25F, 1.5F};
  pare__onnx_model *onnx = model_new(15);
  float *numbers = random_floats(CHANNELS * EACH * TAPS * TAPS + 4 * 2 * EACH, 3);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, CHANNELS, 6, 5});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 4, (const int64_t[]){CHANNELS, EACH, TAPS, TAPS}, numbers);
  static const char *const names[] = {"scale", "shift", "mean", "bias"};
  for (size_t i = 0; i < PARE__COUNT(names); i++)
    model_constant(onnx, names[i], PARE__ONNX_FLOAT, 1, &channels,
                   numbers + (size_t)CHANNELS * EACH * TAPS * TAPS + i * 2 * EACH);
  model_constant(onnx, "variance", PARE__ONNX_FLOAT, 1, &channels, variance);
  free(numbers);
  pare__onnx_node *node = model_node(onnx, "ConvTranspose", _i ? "x w bias" : "x w", "c");
  node_int(onnx, node, "group", groups);
  node_ints(onnx, node, "strides", 2, (const int64_t[]){2, 2});
  node_ints(onnx, node, "output_padding", 2, (const int64_t[]){1, 1});
  model_node(onnx, "BatchNormalization", "c scale shift mean variance", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 2);
  ck_assert_uint_eq(nodes_of(model, "BatchNormalization"), 0);
  ck_assert_uint_eq(model->network->graph.nnodes, 1);
  pare_model_close(model);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  TCase *tests = tcase_create("exporters");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, norms_become_the_operator_that_they_are, 0, PARE__COUNT(norms));
  tcase_add_loop_test(tests, a_root_mean_square_of_one_element_is_spread_by_its_scale, 0, 2);
  tcase_add_loop_test(tests, gates_become_the_operator_that_they_are, 0, PARE__COUNT(gates));
  tcase_add_loop_test(tests, gates_in_halves_become_the_operator_that_they_are, 0, 2);
  tcase_add_test(tests, a_norm_of_a_sum_takes_parameters_in_halves);
  tcase_add_test(tests, blocks_by_the_optimisers_of_onnx_runtime_become_few_nodes);
  tcase_add_loop_test(tests, attention_over_the_axis_counted_from_the_front, 0, 2);
  tcase_add_loop_test(tests, attention_that_is_guarded_becomes_one_node, 0, 3);
  tcase_add_loop_test(tests, batch_norm_goes_into_a_transposed_convolution, 0, 2);
  return remove_folder(folder, run_tests("exporters", tests));
}
