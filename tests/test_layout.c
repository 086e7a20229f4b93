/* The layout of convolutions: random networks of vision with blocks of channels and without, and where conversions lie.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "graph/run.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-layout-XXXXXX";

static const char *model_path(void) {
  static char path[128];
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  return path;
}

/* ---- nodes ---- */

static int64_t constants; /* made so far: their names */

static const char *random_constant(pare__onnx_model *onnx, int rank, const int64_t *dim, float scale) {
  static char name[24];
  snprintf(name, sizeof name, "c%lld", (long long)++constants);
  float *values = random_floats(count_of(rank, dim), (uint32_t)constants);
  for (int64_t i = 0; i < count_of(rank, dim); i++) values[i] *= scale;
  model_constant(onnx, name, PARE__ONNX_FLOAT, rank, dim, values);
  free(values);
  return name;
}

/* size 1 or 3 with padding; groups 1, or `channels` for a depthwise one. */
static void add_convolution(pare__onnx_model *onnx, const char *x, const char *y, int64_t channels, int64_t outputs,
                            int64_t size, int64_t groups) {
  const int64_t dim[] = {outputs, channels / groups, size, size}, pads[] = {size / 2, size / 2, size / 2, size / 2};
  char inputs[96];
  const float scale = 1 / sqrtf((float)(channels / groups * size * size));
  snprintf(inputs, sizeof inputs, "%s %s", x, random_constant(onnx, 4, dim, scale));
  if (outputs % 3 != 0) {
    const size_t used = strlen(inputs);
    snprintf(inputs + used, sizeof inputs - used, " %s", random_constant(onnx, 1, &outputs, 1));
  }
  pare__onnx_node *node = model_node(onnx, "Conv", inputs, y);
  node_ints(onnx, node, "pads", 4, pads);
  node_int(onnx, node, "group", groups);
}

/* ---- random networks ---- */

enum { HEIGHT = 5, WIDTH = 9, STEPS = 18, PIXELS = HEIGHT * WIDTH };

typedef struct network {
  pare__onnx_model *onnx;
  uint32_t state;
  int64_t channels[STEPS + 1]; /* of each value v0, v1, … */
} network;

/* A value of as many channels as value `like`, or `like`. */
static uint32_t same_channels(network *net, uint32_t like, uint32_t count) {
  for (int tries = 0; tries < 8; tries++) {
    const uint32_t other = next_random(&net->state) % count;
    if (net->channels[other] == net->channels[like]) return other;
  }
  return like;
}

static void add_step(network *net, uint32_t step) {
  static const char *const unary[] = {"Relu", "HardSwish", "Sigmoid", "Softmax"};
  static const int64_t widths[] = {3, 8, 12, 16, 35};
  const uint32_t recent = step > 3 ? step - 1 - next_random(&net->state) % 3 : step - 1;
  const uint32_t a = recent, b = same_channels(net, a, step);
  const int64_t c = net->channels[a];
  char x[16], y[16], text[64];
  snprintf(x, sizeof x, "v%u", a);
  snprintf(y, sizeof y, "v%u", step);
  net->channels[step] = c;
  switch (next_random(&net->state) % 10) {
  case 0:
  case 1:
  case 2:
    net->channels[step] = widths[next_random(&net->state) % PARE__COUNT(widths)];
    add_convolution(net->onnx, x, y, c, net->channels[step], next_random(&net->state) % 2 ? 3 : 1, 1);
    break;
  case 3: add_convolution(net->onnx, x, y, c, c, 3, c); break;
  case 4:
    snprintf(text, sizeof text, "v%u v%u", a, b);
    model_node(net->onnx, next_random(&net->state) % 2 ? "Add" : "Mul", text, y);
    break;
  case 5: {
    const int64_t dim[] = {c, 1, 1};
    snprintf(text, sizeof text, "%s %s", random_constant(net->onnx, 3, dim, 1), x);
    model_node(net->onnx, "Add", text, y);
    break;
  }
  case 6: { /* squeeze and excite */
    char pooled[16], gate[16];
    snprintf(pooled, sizeof pooled, "p%u", step);
    snprintf(gate, sizeof gate, "g%u", step);
    model_node(net->onnx, "GlobalAveragePool", x, pooled);
    add_convolution(net->onnx, pooled, gate, c, c, 1, 1);
    snprintf(text, sizeof text, "%s %s", gate, x);
    model_node(net->onnx, "Mul", text, y);
    break;
  }
  case 7: {
    const uint32_t kind = next_random(&net->state) % 2;
    pare__onnx_node *node = model_node(net->onnx, kind ? "MaxPool" : "AveragePool", x, y);
    node_ints(net->onnx, node, "kernel_shape", 2, (const int64_t[]){3, 3});
    node_ints(net->onnx, node, "pads", 4, (const int64_t[]){1, 1, 1, 1});
    break;
  }
  case 8: { /* swish, and numbers after an activation, written out */
    char between[2][16];
    for (int i = 0; i < 2; i++) snprintf(between[i], sizeof between[i], "%c%u", "st"[i], step);
    const bool gates = next_random(&net->state) % 2;
    add_convolution(net->onnx, x, between[0], c, c, 1, 1);
    model_node(net->onnx, gates ? "Sigmoid" : "HardSwish", between[0], between[1]);
    snprintf(text, sizeof text, "%s %s", between[1],
             gates ? between[0] : random_constant(net->onnx, 1, (const int64_t[]){1}, 1));
    model_node(net->onnx, gates ? "Mul" : next_random(&net->state) % 2 ? "Mul" : "Sub", text, y);
    break;
  }
  default:
    if (c < 40 && next_random(&net->state) % 2) {
      snprintf(text, sizeof text, "v%u v%u", a, b);
      node_int(net->onnx, model_node(net->onnx, "Concat", text, y), "axis", next_random(&net->state) % 2 ? 1 : -3);
      net->channels[step] = 2 * c;
    } else {
      model_node(net->onnx, unary[next_random(&net->state) % PARE__COUNT(unary)], x, y);
    }
  }
}

static void write_random_network(uint32_t seed, int64_t channels[3]) {
  network net = {.onnx = model_new(17), .state = seed * 2654435761U + 5};
  model_input(net.onnx, "v0", PARE__ONNX_FLOAT, 4, (const int64_t[]){-1, 3, HEIGHT, WIDTH});
  net.channels[0] = 3;
  for (uint32_t step = 1; step <= STEPS; step++) add_step(&net, step);
  const uint32_t out[] = {STEPS, STEPS / 2, 1 + seed % STEPS};
  for (int i = 0; i < 2 + (out[2] != STEPS && out[2] != STEPS / 2); i++) {
    char name[16];
    snprintf(name, sizeof name, "v%u", out[i]);
    model_output(net.onnx, name);
    channels[i] = net.channels[out[i]];
  }
  model_write(net.onnx, model_path());
}

enum { BATCH = 2 };

/* All outputs of a run, one after the other. */
static float *run_with(const pare_model_options *options, pare_tensor *x, const int64_t *channels, int64_t *total) {
  pare_model *model;
  pare_tensor *out[3];
  OK(pare_model_open(context, model_path(), options, &model));
  OK(pare_model_run(model, &x, NULL, out));
  const size_t count = pare_model_outputs(model);
  *total = 0;
  for (size_t i = 0; i < count; i++) *total += channels[i] * BATCH * PIXELS;
  float *all = malloc((size_t)*total * sizeof *all), *next = all;
  for (size_t i = 0; i < count; i++) {
    float *one = floats_of(out[i]);
    memcpy(next, one, (size_t)(channels[i] * BATCH * PIXELS) * sizeof *one);
    next += channels[i] * BATCH * PIXELS;
    free(one);
    pare_tensor_close(out[i]);
  }
  pare_model_close(model);
  return all;
}

START_TEST(blocks_of_channels_keep_the_results_of_random_networks) {
  int64_t channels[3] = {0}, total;
  write_random_network((uint32_t)_i, channels);
  float *data = random_floats(BATCH * 3 * PIXELS, 7);
  pare_tensor *x = tensor_of(PARE_F32, 4, (const int64_t[]){BATCH, 3, HEIGHT, WIDTH}, data);
  const pare_model_options once = {.no_plan = true}, plain = {.without = "layout"}, none = {.without = "all"};
  float *planned = run_with(NULL, x, channels, &total), *at_once = run_with(&once, x, channels, &total);
  float *unblocked = run_with(&plain, x, channels, &total), *expected = run_with(&none, x, channels, &total);
  ck_assert_mem_eq(planned, at_once, (size_t)total * sizeof *planned);
  double largest = 1;
  for (int64_t i = 0; i < total; i++)
    if (isfinite(expected[i])) largest = fmax(largest, fabs((double)expected[i]));
  for (int64_t i = 0; i < total; i++)
    for (int k = 0; k < 2; k++) {
      const float found = k ? unblocked[i] : planned[i];
      ck_assert_msg(fabs((double)found - (double)expected[i]) <= 2e-5 * largest ||
                        (!isfinite(found) && !isfinite(expected[i])),
                    "element %lld: %g %s blocks, %g without passes", (long long)i, (double)found,
                    k ? "without" : "with", (double)expected[i]);
    }
  free(planned);
  free(at_once);
  free(unblocked);
  free(expected);
  free(data);
  pare_tensor_close(x);
}
END_TEST

/* ---- where conversions lie ---- */

static size_t nodes_of(const pare_model *model, const char *op_type) {
  size_t count = 0;
  for (size_t i = 0; i < model->network->graph.nnodes; i++)
    count += strcmp(model->network->graph.node[i].op_type, op_type) == 0;
  return count;
}

static pare_model *opened(pare__onnx_model *onnx) {
  pare_model *model;
  model_write(onnx, model_path());
  OK(pare_model_open(context, model_path(), NULL, &model));
  return model;
}

static pare__onnx_model *with_image(int64_t channels) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){-1, channels, -1, -1});
  return onnx;
}

/* Dense convolutions at both ends read and write either layout. */
START_TEST(a_chain_between_dense_convolutions_needs_no_conversion) {
  pare__onnx_model *onnx = with_image(3);
  add_convolution(onnx, "x", "a", 3, 32, 3, 1);
  model_node(onnx, "Relu", "a", "b");
  add_convolution(onnx, "b", "c", 32, 32, 3, 32);
  add_convolution(onnx, "c", "d", 32, 32, 1, 1);
  model_node(onnx, "Add", "b d", "e");
  model_node(onnx, "GlobalAveragePool", "e", "f");
  add_convolution(onnx, "f", "y", 32, 10, 1, 1);
  model_output(onnx, "y");
  pare_model *model = opened(onnx);
  size_t blocked = 0;
  for (size_t i = 0; i < model->network->graph.nnodes; i++)
    blocked += pare__node_attribute(&model->network->graph.node[i], "y_blocked") != NULL;
  if (model->network->channel_block > 0) ck_assert_uint_ge(blocked, 3);
  if (model->network->channel_block == 0) ck_assert_uint_eq(blocked, 0);
  ck_assert_uint_eq(nodes_of(model, "ChannelsBlock") + nodes_of(model, "ChannelsUnblock"), 0);
  pare_model_close(model);
}
END_TEST

/* A reader that knows nothing of blocks costs one conversion, however often it reads. */
START_TEST(a_value_is_converted_once) {
  pare__onnx_model *onnx = with_image(16);
  add_convolution(onnx, "x", "a", 16, 16, 3, 1);
  add_convolution(onnx, "a", "b", 16, 16, 3, 16);
  add_convolution(onnx, "b", "c", 16, 16, 3, 16);
  model_node(onnx, "Softmax", "c", "d");
  model_node(onnx, "Erf", "c", "e");
  add_convolution(onnx, "c", "y", 16, 16, 3, 16);
  model_output(onnx, "d");
  model_output(onnx, "e");
  model_output(onnx, "y");
  pare_model *model = opened(onnx);
  if (model->network->channel_block > 0) ck_assert_uint_eq(nodes_of(model, "ChannelsUnblock"), 2); /* c and y */
  ck_assert_uint_eq(nodes_of(model, "ChannelsBlock"), 0);
  pare_model_close(model);
}
END_TEST

/* One convolution alone is not worth the conversions around it. */
START_TEST(a_depthwise_convolution_of_few_channels_stays_plain) {
  pare__onnx_model *onnx = with_image(3);
  add_convolution(onnx, "x", "y", 3, 3, 3, 3);
  model_output(onnx, "y");
  pare_model *model = opened(onnx);
  ck_assert_uint_eq(model->network->graph.nnodes, 1);
  pare_model_close(model);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("layout");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, blocks_of_channels_keep_the_results_of_random_networks, 0, 30);
  tcase_add_test(tests, a_chain_between_dense_convolutions_needs_no_conversion);
  tcase_add_test(tests, a_value_is_converted_once);
  tcase_add_test(tests, a_depthwise_convolution_of_few_channels_stays_plain);
  return remove_folder(folder, run_tests("layout", tests));
}
