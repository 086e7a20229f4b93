/* Memory of models: what is foretold is the peak, a limit is kept before anything runs, and where shapes depend on
 * values a bound is told, or which nodes have none. SPDX-License-Identifier: Apache-2.0 */
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "graph/graph.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-memory-XXXXXX";

static const char *model_path(void) { return path_in(folder, "model.onnx"); }

/* ---- networks ---- */

enum { MOST_MODEL_INPUTS = 4 };
typedef struct network {
  const char *name;
  void (*write)(const char *path); /* NULL: the file */
  const char *file;
  int rank;
  int64_t dim[4]; /* of every input but for the first, the batch */
  pare_dtype dtype;
  unsigned ninputs;
} network;

static void weights_of(pare__onnx_model *onnx, const char *name, int rank, const int64_t *dim, float scale) {
  float *values = random_floats(count_of(rank, dim), 7);
  for (int64_t i = 0; i < count_of(rank, dim); i++) values[i] *= scale;
  model_constant(onnx, name, PARE__ONNX_FLOAT, rank, dim, values);
  free(values);
}

/* 3x3 (Winograd's algorithm), depthwise and 1x1 convolutions, a residual, pooling, a classifier: the passes give it
 * blocks of channels. */
static void write_convolutions(const char *path) {
  enum { CHANNELS = 32 };
  static const int64_t three[] = {CHANNELS, CHANNELS, 3, 3}, depthwise[] = {CHANNELS, 1, 3, 3};
  static const int64_t one[] = {CHANNELS, CHANNELS, 1, 1}, first[] = {CHANNELS, 3, 3, 3}, last[] = {CHANNELS, 10};
  static const int64_t pads[] = {1, 1, 1, 1};
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){-1, 3, 28, 28});
  weights_of(onnx, "w0", 4, first, 0.2F);
  weights_of(onnx, "w1", 4, three, 0.06F);
  weights_of(onnx, "w2", 4, depthwise, 0.3F);
  weights_of(onnx, "w3", 4, one, 0.2F);
  weights_of(onnx, "w4", 2, last, 0.2F);
  node_ints(onnx, model_node(onnx, "Conv", "x w0", "a"), "pads", 4, pads);
  model_node(onnx, "Relu", "a", "b");
  node_ints(onnx, model_node(onnx, "Conv", "b w1", "c"), "pads", 4, pads);
  model_node(onnx, "Relu", "c", "d");
  pare__onnx_node *node = model_node(onnx, "Conv", "d w2", "e");
  node_ints(onnx, node, "pads", 4, pads);
  node_int(onnx, node, "group", CHANNELS);
  model_node(onnx, "Conv", "e w3", "f");
  model_node(onnx, "Add", "f b", "g");
  model_node(onnx, "Relu", "g", "h");
  model_node(onnx, "GlobalAveragePool", "h", "i");
  model_node(onnx, "Flatten", "i", "j");
  model_node(onnx, "MatMul", "j w4", "y");
  model_output(onnx, "y");
  model_write(onnx, path);
}

/* The graph of the sentence encoder as torch exports it, with random weights and a small vocabulary. */
static void write_encoder(const char *path) {
  pare__onnx_model *onnx;
  OK(pare__onnx_open(PARE_SOURCE_FOLDER "/tests/data/models/minilm_template.onnx", &onnx));
  for (size_t i = 0; i < onnx->graph->initializer.count; i++) {
    pare__onnx_tensor *tensor = &onnx->graph->initializer.items[i];
    if (tensor->raw_data.nbytes > 0 || tensor->data_type != PARE__ONNX_FLOAT || tensor->dims.count == 0) continue;
    void *data;
    if (tensor->dims.items[0] > 10000) tensor->dims.items[0] = 64; /* words */
    const int64_t count = count_of((int)tensor->dims.count, tensor->dims.items);
    OK(pare__onnx_allocate(onnx->source, (size_t)count * sizeof(float), &data));
    float *values = random_floats(count, (uint32_t)i);
    for (int64_t k = 0; k < count; k++) ((float *)data)[k] = values[k] / 16;
    free(values);
    tensor->raw_data = (pare__onnx_bytes){data, (size_t)count * sizeof(float)};
  }
  OK(pare__onnx_write(onnx, path, NULL));
  pare__onnx_close(onnx);
}

static const network networks[] = {
    {"digits", NULL, PARE_SOURCE_FOLDER "/tests/data/digits/digits.onnx", 4, {0, 1, 8, 8}, PARE_F32, 1},
    {"convolutions", write_convolutions, NULL, 4, {0, 3, 28, 28}, PARE_F32, 1},
    {"encoder", write_encoder, NULL, 2, {0, 24}, PARE_I64, 3},
};

static const char *path_of(const network *net) {
  if (net->write) net->write(model_path());
  return net->write ? model_path() : net->file;
}

static void make_inputs(const network *net, int64_t batch, pare_tensor **inputs) {
  int64_t dim[4];
  memcpy(dim, net->dim, sizeof dim);
  dim[0] = batch;
  void *ones = calloc((size_t)count_of(net->rank, dim), 8);
  for (unsigned i = 0; i < net->ninputs; i++) inputs[i] = tensor_of(net->dtype, net->rank, dim, ones);
  free(ones);
}

static void close_all(pare_tensor **tensors, size_t count) {
  for (size_t i = 0; i < count; i++) pare_tensor_close(tensors[i]);
}

/* A context of its own for each, as the peak is the context's. */
static void open_limited(uint64_t limit_bytes) {
  const pare_schedule_options schedule = {.parallel = PARE_PARALLEL_OFF};
  const pare_context_options options = {.memory_limit_bytes = limit_bytes, .schedule = &schedule};
  OK(pare_context_open(&options, &context));
}

static void expect_near(const char *what, uint64_t found, uint64_t foretold) {
  ck_assert_msg(found <= foretold + foretold / 20 && foretold <= found + found / 20,
                "%s: %llu bytes at the peak, %llu foretold", what, (unsigned long long)found,
                (unsigned long long)foretold);
}

/* Runs of a few sizes, the smaller first. */
static void run_sizes(const network *net, const char *path, bool expect) {
  static const int64_t batches[] = {1, 3, 16};
  pare_tensor *inputs[MOST_MODEL_INPUTS], *outputs[MOST_MODEL_INPUTS];
  pare_model *model;
  pare_model_memory plan;
  pare_memory_usage usage;
  open_limited(0);
  OK(pare_model_open(context, path, NULL, &model));
  for (size_t b = 0; b < PARE__COUNT(batches); b++) {
    make_inputs(net, batches[b], inputs);
    OK(pare_model_plan(model, inputs, &plan));
    ck_assert(plan.exact && plan.bounded);
    for (int time = 0; time < 2; time++) {
      OK(pare_model_run(model, inputs, NULL, outputs));
      OK(pare_context_wait(context));
      close_all(outputs, pare_model_outputs(model));
    }
    OK(pare_context_memory(context, &usage));
    if (expect) expect_near(net->name, usage.peak_bytes, plan.peak_bytes);
    close_all(inputs, net->ninputs);
  }
  pare_model_close(model);
  close_context();
}

START_TEST(the_peak_is_what_the_plan_foretells) {
  const network *net = &networks[_i];
  const char *path = path_of(net);
  run_sizes(net, path, false); /* a kernel's first use is beside its reference, which takes memory of its own */
  run_sizes(net, path, true);
}
END_TEST

/* What opening takes, beyond what a run does, is no part of this. */
START_TEST(a_run_that_is_over_the_limit_takes_nothing) {
  enum { BATCH = 16 };
  const network *net = &networks[_i];
  const char *path = path_of(net);
  pare_tensor *inputs[MOST_MODEL_INPUTS], *outputs[MOST_MODEL_INPUTS];
  pare_model *model;
  pare_model_memory plan;
  open_limited(0);
  OK(pare_model_open(context, path, NULL, &model));
  make_inputs(net, BATCH, inputs);
  OK(pare_model_plan(model, inputs, &plan));
  close_all(inputs, net->ninputs);
  pare_model_close(model);
  close_context();
  for (int above = 0; above < 2; above++) {
    const uint64_t whole = plan.weight_bytes + plan.input_bytes + plan.activation_bytes + plan.output_bytes;
    pare_memory_usage before, after;
    if (!above && whole <= plan.load_bytes) continue; /* it does not open */
    open_limited(above ? plan.peak_bytes + plan.peak_bytes / 50 : whole - whole / 50);
    OK(pare_model_open(context, path, NULL, &model));
    make_inputs(net, BATCH, inputs);
    OK(pare_model_plan(model, inputs, &plan));
    OK(pare_context_memory(context, &before));
    const pare_status status = pare_model_run(model, inputs, NULL, outputs);
    OK(pare_context_memory(context, &after));
    if (above) {
      ck_assert_msg(status == PARE_OK, "%s", pare_message());
      close_all(outputs, pare_model_outputs(model));
    } else {
      ck_assert_int_eq(status, PARE_ERR_LIMIT);
      ck_assert_msg(strstr(pare_message(), "between its nodes") && strstr(pare_message(), "PARE_MEMORY"), "%s",
                    pare_message());
      ck_assert_uint_eq(after.in_use_bytes, before.in_use_bytes);
      ck_assert_uint_eq(after.peak_bytes, before.peak_bytes);
    }
    close_all(inputs, net->ninputs);
    if (!above) { /* fewer samples have room */
      make_inputs(net, 1, inputs);
      OK(pare_model_run(model, inputs, NULL, outputs));
      close_all(outputs, pare_model_outputs(model));
      close_all(inputs, net->ninputs);
    }
    pare_model_close(model);
    close_context();
  }
}
END_TEST

/* ---- shapes that depend on values ---- */

enum { LENGTH = 4096, COLUMNS = 8 };

/* Each takes x f32 [LENGTH][COLUMNS], and makes y of as many elements as it can. */
static void non_zero(pare__onnx_model *onnx) {
  model_node(onnx, "NonZero", "x", "i")->name = "decides";
  model_node(onnx, "Transpose", "i", "t");
  model_node(onnx, "GatherND", "x t", "g");
  model_node(onnx, "Sin", "g", "y");
}
static void compress(pare__onnx_model *onnx) {
  model_node(onnx, "Cast", "x", "b");
  node_int(onnx, &onnx->graph->node.items[0], "to", PARE__ONNX_BOOL);
  model_node(onnx, "Flatten", "b", "m");
  node_int(onnx, &onnx->graph->node.items[1], "axis", 0);
  model_constant(onnx, "flat", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){-1});
  model_node(onnx, "Reshape", "m flat", "c");
  model_node(onnx, "Compress", "x c", "g")->name = "decides";
  model_node(onnx, "Sin", "g", "y");
}
static void unique(pare__onnx_model *onnx) {
  model_node(onnx, "Unique", "x", "u")->name = "decides";
  model_node(onnx, "Sin", "u", "y");
}
static void top_k(pare__onnx_model *onnx) {
  model_constant(onnx, "flat", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){-1});
  model_constant(onnx, "one", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){1});
  model_constant(onnx, "length", PARE__ONNX_FLOAT, 0, NULL, (const float[]){LENGTH});
  model_node(onnx, "ReduceMax", "x", "s"); /* of all ones: 1 */
  model_node(onnx, "Mul", "s length", "l");
  model_node(onnx, "Cast", "l", "k");
  node_int(onnx, &onnx->graph->node.items[2], "to", PARE__ONNX_INT64);
  model_node(onnx, "Reshape", "k one", "k1");
  pare__onnx_node *node = model_node(onnx, "TopK", "x k1", "v i");
  node->name = "decides";
  node_int(onnx, node, "axis", 0);
  model_node(onnx, "Sin", "v", "y");
}
static void branch(pare__onnx_model *onnx) {
  model_node(onnx, "ReduceMax", "x", "s");
  model_node(onnx, "Cast", "s", "c");
  node_int(onnx, &onnx->graph->node.items[1], "to", PARE__ONNX_BOOL);
  model_constant(onnx, "axis", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){0});
  model_constant(onnx, "two", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){2});
  model_constant(onnx, "shape", PARE__ONNX_INT64, 2, (const int64_t[]){1, 1}, (const int64_t[]){0});
  pare__onnx_node *node = model_node(onnx, "If", "c", "b");
  node->name = "decides";
  pare__onnx_graph *larger = node_body(onnx, node, "then_branch", "", "p"),
                   *smaller = node_body(onnx, node, "else_branch", "", "q");
  node_in(onnx, &larger->node, "Concat", "x x", "p0");
  node_int(onnx, &larger->node.items[0], "axis", 0);
  node_in(onnx, &larger->node, "Cos", "p0", "p");
  node_in(onnx, &smaller->node, "Cos", "x", "q");
  model_node(onnx, "Sin", "b", "y");
}

static void reshape(pare__onnx_model *onnx) {
  model_constant(onnx, "one", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){1});
  model_constant(onnx, "rest", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){-1});
  model_node(onnx, "ReduceMax", "x", "s"); /* of all ones: 1 */
  model_node(onnx, "Cast", "s", "k");
  node_int(onnx, &onnx->graph->node.items[1], "to", PARE__ONNX_INT64);
  model_node(onnx, "Reshape", "k one", "k1");
  node_int(onnx, model_node(onnx, "Concat", "k1 rest", "shape"), "axis", 0);
  model_node(onnx, "Cos", "x", "c");
  model_node(onnx, "Reshape", "c shape", "r")->name = "decides";
  model_node(onnx, "Sin", "r", "y");
}
/* Each iteration leaves an item, and all wait to be stacked. */
static void loop_of_known_trips(pare__onnx_model *onnx) {
  model_constant(onnx, "trips", PARE__ONNX_INT64, 0, NULL, (const int64_t[]){5});
  pare__onnx_node *node = model_node(onnx, "Loop", "trips - x", "last all");
  node->name = "decides";
  pare__onnx_graph *body = node_body(onnx, node, "body", "i go v", "go_on w item");
  node_in(onnx, &body->node, "Identity", "go", "go_on");
  node_in(onnx, &body->node, "Cos", "v", "w");
  node_in(onnx, &body->node, "Sin", "w", "item");
  model_node(onnx, "Sin", "all", "y");
}
/* Goes round until the run finds that it is enough; what it carries has another shape from the first iteration on. */
static void loop_until(pare__onnx_model *onnx) {
  model_constant(onnx, "rows", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){3 * LENGTH});
  model_constant(onnx, "none", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){0});
  pare__onnx_node *node = model_node(onnx, "Loop", "- - x", "last");
  node->name = "decides";
  pare__onnx_graph *body = node_body(onnx, node, "body", "i go v", "go_on w");
  node_in(onnx, &body->node, "Concat", "x x x v", "c");
  node_int(onnx, &body->node.items[0], "axis", 0);
  node_in(onnx, &body->node, "Slice", "c none rows", "w");
  node_in(onnx, &body->node, "Not", "go", "go_on");
  model_node(onnx, "Sin", "last", "y");
}

static const struct {
  const char *name, *output;
  void (*build)(pare__onnx_model *onnx);
  bool distinct; /* x is of distinct values, not of ones */
  double least;  /* of the bound that is reached: scratch counts to the end of its node */
} dependent[] = {
    {"NonZero", "i64[2, 32768]", non_zero, false, 0.8},
    {"Compress", "f32[32768]", compress, false, 0.8},
    {"Unique", "f32[32768]", unique, true, 0.4},
    {"TopK", "f32[4096, 8]", top_k, false, 0.8},
    {"If", "f32[8192, 8]", branch, false, 0.8},
    {"Reshape", "f32[32768]", reshape, false, 0.8},
    {"Loop", "f32[4096, 8]", loop_of_known_trips, false, 0.8},
    {"Loop", "f32[12288, 8]", loop_until, false, 0.5},
};

START_TEST(shapes_that_depend_on_values_have_a_bound) {
  pare__onnx_model *onnx = model_new(17);
  const int64_t dim[] = {LENGTH, COLUMNS};
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, dim);
  dependent[_i].build(onnx);
  model_output(onnx, "y");
  model_write(onnx, model_path());
  float *values = malloc(sizeof *values * LENGTH * COLUMNS);
  for (int i = 0; i < LENGTH * COLUMNS; i++) values[i] = dependent[_i].distinct ? (float)i : 1;
  pare_model *model;
  pare_model_memory plan, again;
  pare_memory_usage usage;
  pare_model_unplanned *nodes;
  size_t count;
  open_limited(0);
  OK(pare_model_open(context, model_path(), NULL, &model));
  pare_tensor *x = tensor_of(PARE_F32, 2, dim, values), *y;
  OK(pare_model_plan(model, &x, &plan));
  ck_assert(!plan.exact && plan.bounded);
  OK(pare_model_unplanned_nodes(model, &x, &again, &nodes, &count));
  ck_assert_uint_eq(again.peak_bytes, plan.peak_bytes);
  ck_assert(again.bounded && !again.exact);
  ck_assert_uint_eq(count, 1);
  ck_assert_str_eq(nodes[0].op_type, dependent[_i].name);
  ck_assert_str_eq(nodes[0].node, "decides");
  ck_assert(nodes[0].bounded && !nodes[0].follows);
  ck_assert_str_eq(nodes[0].output, dependent[_i].output);
  pare_model_unplanned_free(nodes);
  OK(pare_model_run(model, &x, NULL, &y));
  OK(pare_context_memory(context, &usage));
  ck_assert_msg((double)usage.peak_bytes <= 1.05 * (double)plan.peak_bytes &&
                    (double)usage.peak_bytes >= dependent[_i].least * (double)plan.peak_bytes,
                "%s: %llu bytes at the peak, at most %llu foretold", dependent[_i].name,
                (unsigned long long)usage.peak_bytes, (unsigned long long)plan.peak_bytes);
  pare_tensor_close(x);
  pare_tensor_close(y);
  pare_model_close(model);
  close_context();
  free(values);
}
END_TEST

/* Expand to what only a run computes, and to a shape that the file declares; Reshape, which makes nothing new, and what
 * is computed from that element by element, or in a shape that is known again. */
START_TEST(what_nothing_bounds_is_listed_and_left_out) {
  const bool declared = _i == 1, reshapes = _i == 2;
  pare__onnx_model *onnx = model_new(17);
  const int64_t dim[] = {LENGTH, COLUMNS}, other[] = {COLUMNS, LENGTH};
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, dim);
  model_input(onnx, "s", PARE__ONNX_INT64, 1, (const int64_t[]){2});
  model_node(onnx, "Cos", "x", "before");
  model_node(onnx, reshapes ? "Reshape" : "Expand", "before s", "r")->name = "decides";
  model_node(onnx, "Sin", "r", "y")->name = "follows";
  model_output(onnx, "y");
  if (reshapes) {
    model_constant(onnx, "shape", PARE__ONNX_INT64, 1, (const int64_t[]){2}, (const int64_t[]){2, -1});
    model_node(onnx, "Reshape", "y shape", "h");
    model_node(onnx, "ReduceMax", "h", "most");
    model_node(onnx, "Transpose", "y", "z")->name = "of no known rank";
    model_output(onnx, "most");
    model_output(onnx, "z");
  }
  if (declared) {
    model_input(onnx, "r", PARE__ONNX_FLOAT, 2, other); /* its description, moved to where it belongs */
    pare__onnx_value *value;
    OK(PARE__ONNX_APPEND(onnx->source, &onnx->graph->value_info, &value));
    *value = onnx->graph->input.items[--onnx->graph->input.count];
  }
  model_write(onnx, model_path());
  float *ones = calloc((size_t)LENGTH * COLUMNS, sizeof *ones);
  pare_model *model;
  pare_model_memory plan;
  pare_model_unplanned *nodes;
  size_t count;
  open_limited(0);
  OK(pare_model_open(context, model_path(), NULL, &model));
  pare_tensor *in[] = {tensor_of(PARE_F32, 2, dim, ones), tensor_of(PARE_I64, 1, (const int64_t[]){2}, other)};
  OK(pare_model_plan(model, in, &plan));
  OK(pare_model_unplanned_nodes(model, in, NULL, &nodes, &count));
  const size_t nbytes = sizeof *ones * LENGTH * COLUMNS;
  ck_assert(!plan.exact && plan.bounded == declared);
  ck_assert_str_eq(nodes[0].node, "decides");
  ck_assert(nodes[0].bounded == (declared || reshapes) && !nodes[0].follows);
  if (reshapes) {
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(nodes[0].output, "f32[32768]");
    ck_assert_str_eq(nodes[1].node, "of no known rank");
    ck_assert(!nodes[1].bounded && nodes[1].follows);
    ck_assert_uint_eq(plan.output_bytes, nbytes + sizeof *ones);
  } else if (declared) {
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(plan.output_bytes, nbytes);
  } else {
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(nodes[1].node, "follows");
    ck_assert(!nodes[1].bounded && nodes[1].follows);
    ck_assert_uint_eq(plan.activation_bytes, nbytes); /* of before */
    ck_assert_uint_eq(plan.output_bytes, 0);
  }
  pare_model_unplanned_free(nodes);
  close_all(in, 2);
  pare_model_close(model);
  close_context();
  free(ones);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("memory");
  tcase_add_loop_test(tests, the_peak_is_what_the_plan_foretells, 0, (int)PARE__COUNT(networks));
  tcase_add_loop_test(tests, a_run_that_is_over_the_limit_takes_nothing, 0, (int)PARE__COUNT(networks));
  tcase_add_loop_test(tests, shapes_that_depend_on_values_have_a_bound, 0, (int)PARE__COUNT(dependent));
  tcase_add_loop_test(tests, what_nothing_bounds_is_listed_and_left_out, 0, 3);
  return remove_folder(folder, run_tests("memory", tests));
}
