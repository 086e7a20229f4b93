/* Graphs whose channels are last, as TensorFlow's exporter writes them: transposes around convolutions go, and every
 * result stays what it was. SPDX-License-Identifier: Apache-2.0 */
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "graph/run.h"
#include "onnx_builder.h"
#include "with_passes.h"

static char folder[] = "/tmp/pare-test-channels-last-XXXXXX";
static char path[128];

static uint32_t random_state;
/* One of `count`. */
static uint32_t pick(uint32_t count) {
  random_state = random_state * 1664525U + 1013904223U;
  return (random_state >> 8) % count;
}

/* A graph that grows: the last value is v<count>, [2, height, width, channels]. */
typedef struct growing {
  pare__onnx_model *onnx;
  int count, nconstants;
  int64_t height, width, channels;
} growing;

static const char *value_of(const growing *g, int back, char *text) {
  snprintf(text, 16, "v%d", g->count - back);
  return text;
}

static const char *constant(growing *g, int rank, const int64_t *dim, char *text) {
  float *numbers = random_floats((int64_t)count_of(rank, dim), (uint32_t)g->nconstants + random_state);
  snprintf(text, 16, "c%d", g->nconstants++);
  model_constant(g->onnx, text, PARE__ONNX_FLOAT, rank, dim, numbers);
  free(numbers);
  return text;
}

static const char *integers(growing *g, int64_t count, const int64_t *values, char *text) {
  snprintf(text, 16, "c%d", g->nconstants++);
  model_constant(g->onnx, text, PARE__ONNX_INT64, 1, &count, values);
  return text;
}

/* The next value: an operator of the last one and another. */
static pare__onnx_node *next(growing *g, const char *op_type, const char *other) {
  char last[16], made[16], inputs[64];
  snprintf(inputs, sizeof inputs, "%s %s", value_of(g, 0, last), other);
  g->count++;
  return model_node(g->onnx, op_type, inputs, value_of(g, 0, made));
}

static void turn(growing *g, bool first) {
  static const int64_t to_first[] = {0, 3, 1, 2}, to_last[] = {0, 2, 3, 1};
  node_ints(g->onnx, next(g, "Transpose", ""), "perm", 4, first ? to_first : to_last);
}

static void convolve(growing *g, int64_t channels, int64_t size) {
  char w[16];
  const int64_t dim[] = {channels, g->channels, size, size}, pads[] = {size / 2, size / 2, size / 2, size / 2};
  turn(g, true);
  node_ints(g->onnx, next(g, "Conv", constant(g, 4, dim, w)), "pads", 4, pads);
  turn(g, false);
  g->channels = channels;
}

/* Numbers for each channel, in the ways of writing that down. */
static const char *vector(growing *g, char *text) {
  const int64_t dim[] = {1, 1, 1, g->channels};
  const int rank = (int)pick(4) + 1;
  return constant(g, rank, dim + 4 - rank, text);
}

/* x * sigmoid(conv(mean(x))) */
static void squeeze_and_excite(growing *g) {
  char text[16], gated[16];
  const int64_t axes[] = {pick(2) ? 1 : -3, pick(2) ? 2 : -2}, height = g->height, width = g->width;
  value_of(g, 0, gated);
  next(g, "ReduceMean", integers(g, 2, axes, text));
  g->height = g->width = 1;
  convolve(g, g->channels, 1);
  next(g, "Sigmoid", "");
  next(g, "Mul", gated);
  g->height = height;
  g->width = width;
}

/* first_of_shape: a value of the shape of the last one. */
static void grow(growing *g, int first_of_shape) {
  char text[16];
  switch (pick(10)) {
  case 0: convolve(g, g->channels, pick(2) ? 1 : 3); break;
  case 1: next(g, "Add", vector(g, text)); break;
  case 2: next(g, "Mul", vector(g, text)); break;
  case 3: next(g, pick(2) ? "Relu" : "Tanh", ""); break;
  case 4: squeeze_and_excite(g); break;
  case 5: next(g, pick(2) ? "Sub" : "Max", value_of(g, g->count - first_of_shape, text)); break;
  case 6: /* not one number a channel */
    next(g, "Add", constant(g, 3, (const int64_t[]){g->height, g->width, g->channels}, text));
    break;
  case 7: next(g, "Mul", constant(g, 0, NULL, text)); break;
  case 8:
    value_of(g, 0, text);
    next(g, "Sigmoid", "");
    next(g, "Mul", text);
    break;
  default: { /* a clamp whose bounds are inputs */
    char low[16], inputs[64], made[16], last[16];
    snprintf(low, sizeof low, "low%d", g->count);
    model_number(g->onnx, low, -0.25F);
    snprintf(inputs, sizeof inputs, "%s %s", value_of(g, 0, last), low);
    g->count++;
    model_node(g->onnx, "Clip", inputs, value_of(g, 0, made));
  }
  }
}

/* Steps at random between values of one shape, then a pad, a concatenation, a mean, or none. */
START_TEST(random_graphs_keep_their_results) {
  char text[16], other[16];
  random_state = (uint32_t)_i * 2654435761U + 7;
  growing g = {.onnx = model_new(18), .height = 5, .width = 6, .channels = 3};
  model_input(g.onnx, "v0", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 5, 6, 3});
  convolve(&g, 4, 3);
  const int first_of_shape = g.count;
  for (uint32_t step = 0, steps = 2 + pick(6); step < steps; step++) {
    grow(&g, first_of_shape);
    if (pick(4) == 0) next(&g, "Add", value_of(&g, g.count - first_of_shape, text));
  }
  if (pick(3) == 0) {
    snprintf(other, sizeof other, "v%d", g.count);
    next(&g, "Relu", "");
    pare__onnx_node *concat = next(&g, "Concat", other);
    node_int(g.onnx, concat, "axis", pick(2) ? 3 : -1);
    g.channels *= 2;
  }
  if (pick(3) == 0) {
    next(&g, "Pad", integers(&g, 8, (const int64_t[]){0, 0, 1, 0, 0, 2, 1, 0}, text));
    g.height += 2;
    g.width += 2;
    convolve(&g, 2, 3);
  }
  if (pick(2) == 0) { /* a mean whose dimensions go, for the last product */
    node_int(g.onnx, next(&g, "ReduceMean", integers(&g, 2, (const int64_t[]){1, 2}, text)), "keepdims", 0);
    next(&g, "MatMul", constant(&g, 2, (const int64_t[]){g.channels, 3}, text));
  }
  model_output(g.onnx, value_of(&g, 0, text));
  if (pick(3) == 0)
    model_output(g.onnx, value_of(&g, g.count - first_of_shape, text)); /* it keeps its name and shape */
  pare_model_close(with_passes_within(path, g.onnx, (uint32_t)_i, 1e-4F));
}
END_TEST

/* MobileNet's blocks: bias, activation, gate and residual are those of the convolutions, and one transpose is left. */
START_TEST(a_chain_of_convolutions_keeps_one_transpose) {
  char text[16], skipped[16];
  growing g = {.onnx = model_new(18), .height = 8, .width = 8, .channels = 3};
  model_input(g.onnx, "v0", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 8, 8, 3});
  random_state = 1;
  convolve(&g, 8, 3);
  next(&g, "Add", vector(&g, text));
  next(&g, "Relu", "");
  value_of(&g, 0, skipped);
  convolve(&g, 8, 3);
  next(&g, "Mul", vector(&g, text));
  next(&g, "Add", vector(&g, text));
  next(&g, "Relu", "");
  squeeze_and_excite(&g);
  convolve(&g, 8, 1);
  next(&g, "Add", vector(&g, text));
  next(&g, "Add", skipped);
  node_int(g.onnx, next(&g, "ReduceMean", integers(&g, 2, (const int64_t[]){1, 2}, text)), "keepdims", 0);
  model_output(g.onnx, value_of(&g, 0, text));
  pare_model *model = with_passes_within(path, g.onnx, 1, 1e-4F);
  ck_assert_uint_eq(nodes_of(model, "Transpose"), 1);
  ck_assert_uint_eq(nodes_of(model, "Add"), 0);
  ck_assert_uint_eq(nodes_of(model, "Relu"), 0);
  ck_assert_uint_eq(nodes_of(model, "Conv") + nodes_of(model, "FusedConv"), 4);
  pare_model_close(model);
}
END_TEST

/* Transposes that no convolution asks for stay where they are: attention is looked for as it is written. */
START_TEST(other_transposes_stay) {
  growing g = {.onnx = model_new(18), .height = 5, .width = 6, .channels = 3};
  char text[16];
  model_input(g.onnx, "v0", PARE__ONNX_FLOAT, 4, (const int64_t[]){2, 3, 5, 6});
  turn(&g, false);
  random_state = 1;
  next(&g, "Mul", vector(&g, text));
  model_output(g.onnx, value_of(&g, 0, text));
  pare_model *model = with_passes(path, g.onnx, 1);
  ck_assert_str_eq(model->network->graph.node[0].op_type, "Transpose");
  ck_assert_uint_eq(model->network->graph.nnodes, 2);
  pare_model_close(model);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  TCase *tests = tcase_create("channels_last");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, random_graphs_keep_their_results, 0, 40);
  tcase_add_test(tests, a_chain_of_convolutions_keeps_one_transpose);
  tcase_add_test(tests, other_transposes_stay);
  return remove_folder(folder, run_tests("channels_last", tests));
}
