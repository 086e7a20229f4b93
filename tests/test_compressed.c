/* Models whose weights are quantised or halves: passes keep their results, on random graphs too, and nothing is
 * expanded in memory. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "graph/run.h"
#include "onnx_builder.h"

enum { WIDTH = 96, ROWS = 5, STEPS = 14 };

static char folder[] = "/tmp/pare-test-compressed-XXXXXX";

static const char *model_path(void) {
  static char path[128];
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  return path;
}

static pare_model *opened(const char *without) {
  pare_model *model;
  const pare_model_options options = {.without = without};
  OK(pare_model_open(context, model_path(), &options, &model));
  return model;
}

static size_t nodes_of(const pare_model *model, const char *op_type) {
  size_t count = 0;
  for (size_t i = 0; i < model->network->graph.nnodes; i++)
    count += strcmp(model->network->graph.node[i].op_type, op_type) == 0;
  return count;
}

static uint64_t weight_bytes(pare_model *model, pare_tensor *x) {
  pare_model_memory memory;
  OK(pare_model_plan(model, &x, &memory));
  return memory.weight_bytes;
}

/* ---- constants ---- */

static void bytes_constant(pare__onnx_model *onnx, const char *name, int32_t dtype, int64_t rows, int64_t columns,
                           uint32_t seed) {
  uint8_t *bytes = calloc((size_t)(rows * columns), 1);
  for (int64_t i = 0; i < rows * columns; i++) bytes[i] = (uint8_t)((i * 37 + seed * 11 + i / 7) % 251);
  model_constant(onnx, name, dtype, 2, (const int64_t[]){rows, columns}, bytes);
  free(bytes);
}

/* Small, so that sums stay small. */
static void scale_constant(pare__onnx_model *onnx, const char *name, int rank, const int64_t *dim, uint32_t seed) {
  const int64_t count = count_of(rank, dim);
  float *scale = random_floats(count, seed);
  for (int64_t i = 0; i < count; i++) scale[i] = (1.5F + scale[i]) / 4000;
  model_constant(onnx, name, PARE__ONNX_FLOAT, rank, dim, scale);
  free(scale);
}

static void row_constant(pare__onnx_model *onnx, const char *name, uint32_t seed) {
  float *row = random_floats(WIDTH, seed);
  model_constant(onnx, name, PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, row);
  free(row);
}

/* All that graphs below read. */
static void add_constants(pare__onnx_model *onnx) {
  static const int64_t one[] = {1}, columns[] = {WIDTH}, blocks[] = {WIDTH / 16, WIDTH};
  bytes_constant(onnx, "q", PARE__ONNX_INT8, WIDTH, WIDTH, 1);
  bytes_constant(onnx, "q2", PARE__ONNX_INT8, WIDTH, WIDTH, 7);
  bytes_constant(onnx, "u", PARE__ONNX_UINT8, WIDTH, WIDTH, 2);
  scale_constant(onnx, "s", 1, columns, 3);
  scale_constant(onnx, "s_one", 0, one, 4);
  scale_constant(onnx, "s_blocks", 2, blocks, 5);
  row_constant(onnx, "bias", 6);
  uint8_t zeros[WIDTH], middle = 100;
  for (int i = 0; i < WIDTH; i++) zeros[i] = (uint8_t)(100 + i % 50);
  model_constant(onnx, "u_zero", PARE__ONNX_UINT8, 1, columns, zeros);
  model_constant(onnx, "u_one", PARE__ONNX_UINT8, 0, NULL, &middle);
  const float step = 0.03F;
  model_constant(onnx, "step", PARE__ONNX_FLOAT, 0, NULL, &step);
  uint16_t *halves = calloc((size_t)WIDTH * WIDTH, sizeof *halves);
  for (int i = 0; i < WIDTH * WIDTH; i++) halves[i] = (uint16_t)(0x2400 + i * 13 % 0x400 + (i % 3 ? 0x8000 : 0));
  model_constant(onnx, "h", PARE__ONNX_FLOAT16, 2, (const int64_t[]){WIDTH, WIDTH}, halves);
  free(halves);
}

/* ---- products ---- */

typedef enum weights_form { BY_COLUMN, BY_ROW_TURNED, ONE_SCALE, IN_BLOCKS, UNSIGNED, HALVES, NFORMS } weights_form;

/* Nodes that make "NAME" [WIDTH, WIDTH] of constants. */
static void expanded_weights(pare__onnx_model *onnx, weights_form form, const char *name) {
  static const struct {
    const char *op_type, *inputs;
    int axis, block;
    bool turned;
  } forms[NFORMS] = {
      [BY_COLUMN] = {"DequantizeLinear", "q s", 1, 0, false},
      [BY_ROW_TURNED] = {"DequantizeLinear", "q s", 0, 0, true},
      [ONE_SCALE] = {"DequantizeLinear", "q s_one", 1, 0, false},
      [IN_BLOCKS] = {"DequantizeLinear", "q s_blocks", 0, 16, false},
      [UNSIGNED] = {"DequantizeLinear", "u s u_zero", 1, 0, false},
      [HALVES] = {"Cast", "h", 0, 0, true},
  };
  char before[40];
  snprintf(before, sizeof before, "%s_before", name);
  pare__onnx_node *node = model_node(onnx, forms[form].op_type, forms[form].inputs, forms[form].turned ? before : name);
  if (form == HALVES)
    node_int(onnx, node, "to", PARE__ONNX_FLOAT);
  else
    node_int(onnx, node, "axis", forms[form].axis);
  if (forms[form].block) node_int(onnx, node, "block_size", forms[form].block);
  if (forms[form].turned) model_node(onnx, "Transpose", before, name);
}

/* Nodes that make `to` of `from` as quantisers of dynamic activations write them; shared: from's q is read again. */
static void dynamic_product(pare__onnx_model *onnx, const char *from, const char *to, bool shared) {
  char text[200], out[200];
  snprintf(out, sizeof out, "%s_q %s_s %s_z", to, to, to);
  model_node(onnx, "DynamicQuantizeLinear", from, out);
  for (int i = 0; i <= shared; i++) {
    snprintf(text, sizeof text, "%s_q %s %s_z", to, i ? "q2" : "q", to);
    snprintf(out, sizeof out, "%s_sum%d", to, i);
    model_node(onnx, "MatMulInteger", text, out);
    snprintf(text, sizeof text, "%s_cast%d", to, i);
    node_int(onnx, model_node(onnx, "Cast", out, text), "to", PARE__ONNX_FLOAT);
    snprintf(text, sizeof text, i ? "s %s_s" : "%s_s s", to);
    snprintf(out, sizeof out, "%s_scale%d", to, i);
    model_node(onnx, "Mul", text, out);
    snprintf(text, sizeof text, "%s_scale%d %s_cast%d", to, i, to, i);
    snprintf(out, sizeof out, "%s%s", to, i ? "_second" : shared ? "_first" : "");
    model_node(onnx, "Mul", text, out);
  }
  if (!shared) return;
  snprintf(text, sizeof text, "%s_first %s_second", to, to);
  model_node(onnx, "Add", text, to);
}

/* `to` of `from`, both quantised by one scale. */
static void static_product(pare__onnx_model *onnx, const char *from, const char *to) {
  char quantised[40], text[80], real[40], weights[40];
  snprintf(quantised, sizeof quantised, "%s_q", to);
  snprintf(text, sizeof text, "%s step u_one", from);
  model_node(onnx, "QuantizeLinear", text, quantised);
  snprintf(text, sizeof text, "%s step u_one", quantised);
  snprintf(real, sizeof real, "%s_real", to);
  model_node(onnx, "DequantizeLinear", text, real);
  snprintf(weights, sizeof weights, "%s_w", to);
  expanded_weights(onnx, BY_COLUMN, weights);
  snprintf(text, sizeof text, "%s %s", real, weights);
  model_node(onnx, "MatMul", text, to);
}

static pare__onnx_model *with_input(void) {
  pare__onnx_model *onnx = model_new(21);
  model_input(onnx, "v0", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  add_constants(onnx);
  return onnx;
}

/* ---- laws ---- */

/* Runs the model that was written with passes and without; a value may be rounded to the next integer on the way. */
static void compare(const char *without, float tolerance) {
  pare_model *model = opened(NULL), *plain = opened(without);
  float *data = random_floats(ROWS * WIDTH, 9);
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){ROWS, WIDTH}, data), *out, *expected;
  OK(pare_model_run(model, &x, NULL, &out));
  OK(pare_model_run(plain, &x, NULL, &expected));
  ck_assert_int_eq(pare_tensor_elements(out), pare_tensor_elements(expected));
  float *a = floats_of(out), *r = floats_of(expected);
  for (int64_t i = 0; i < pare_tensor_elements(out); i++)
    ck_assert_msg(fabsf(a[i] - r[i]) <= tolerance * (1 + fabsf(r[i])), "element %d: %g with passes, %g without", (int)i,
                  (double)a[i], (double)r[i]);
  free(data);
  free(a);
  free(r);
  pare_tensor_close(x);
  pare_tensor_close(out);
  pare_tensor_close(expected);
  pare_model_close(model);
  pare_model_close(plain);
}

START_TEST(weights_are_read_as_they_are_stored) {
  const weights_form form = (weights_form)_i;
  pare__onnx_model *onnx = with_input();
  expanded_weights(onnx, form, "w");
  model_node(onnx, "MatMul", "v0 w", "product");
  model_node(onnx, "Add", "product bias", "sum");
  model_node(onnx, "Relu", "sum", "y");
  model_output(onnx, "y");
  model_write(onnx, model_path());
  pare_model *model = opened(NULL);
  ck_assert_uint_eq(model->network->graph.nnodes, 1);
  ck_assert_uint_eq(nodes_of(model, form == HALVES ? "FusedMatMul" : "QuantisedMatMul"), 1);
  float *data = random_floats(ROWS * WIDTH, 9);
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){ROWS, WIDTH}, data);
  const uint64_t columns = 128; /* whole panels */
  ck_assert_uint_le(weight_bytes(model, x), columns * WIDTH * (form == HALVES ? 2 : 1) + columns * 4 * 12);
  free(data);
  pare_tensor_close(x);
  pare_model_close(model);
  compare("all", 1e-4F);
  compare("weights", 1e-4F);
}
END_TEST

START_TEST(gemm_with_quantised_weights_keeps_its_factors) {
  pare__onnx_model *onnx = with_input();
  expanded_weights(onnx, BY_COLUMN, "w");
  pare__onnx_node *gemm = model_node(onnx, "Gemm", "v0 w bias", "y");
  node_float(onnx, gemm, "alpha", 0.5F);
  node_int(onnx, gemm, "transB", 1); /* the scales are then along K: this one is expanded */
  model_output(onnx, "y");
  expanded_weights(onnx, BY_ROW_TURNED, "w2");
  pare__onnx_node *second = model_node(onnx, "Gemm", "y w2 bias", "y2");
  node_float(onnx, second, "alpha", 0.25F);
  model_output(onnx, "y2");
  model_write(onnx, model_path());
  pare_model *model = opened(NULL);
  ck_assert_uint_eq(nodes_of(model, "QuantisedMatMul"), 1);
  pare_model_close(model);
}
END_TEST

START_TEST(only_rows_that_are_asked_for_are_expanded) {
  pare__onnx_model *onnx = with_input();
  expanded_weights(onnx, (weights_form)_i, "table");
  const int64_t rows[] = {3, 0, 95, 3};
  model_constant(onnx, "rows", PARE__ONNX_INT64, 2, (const int64_t[]){2, 2}, rows);
  model_node(onnx, "Gather", "table rows", "some");
  model_node(onnx, "ReduceSum", "v0", "sum");
  model_node(onnx, "Add", "some sum", "y");
  model_output(onnx, "y");
  model_write(onnx, model_path());
  compare("all", 1e-5F);
}
END_TEST

START_TEST(dynamic_products_are_one_node_and_quantise_once) {
  pare__onnx_model *onnx = with_input();
  dynamic_product(onnx, "v0", "a", false);
  model_node(onnx, "Add", "a bias", "b");
  model_node(onnx, "Relu", "b", "c");
  dynamic_product(onnx, "c", "d", true);
  model_output(onnx, "d");
  model_write(onnx, model_path());
  pare_model *model = opened(NULL);
  ck_assert_uint_eq(nodes_of(model, "QuantisedMatMul"), 3);
  ck_assert_uint_eq(nodes_of(model, "DynamicQuantizeLinear"), 1);
  ck_assert_uint_eq(model->network->graph.nnodes, 5); /* and the sum of the two that share it */
  pare_model_close(model);
  compare("all", 1e-3F);
  compare("integer", 1e-3F);
}
END_TEST

START_TEST(static_products_are_integer_products) {
  pare__onnx_model *onnx = with_input();
  static_product(onnx, "v0", "y");
  model_output(onnx, "y");
  model_write(onnx, model_path());
  pare_model *model = opened(NULL);
  ck_assert_uint_eq(nodes_of(model, "QuantisedMatMul"), 1);
  ck_assert_uint_eq(nodes_of(model, "DequantizeLinear"), 0);
  pare_model_close(model);
  compare("all", 1e-4F);
}
END_TEST

/* Products of every form, biases, activations and sums in any order. */
START_TEST(passes_keep_the_results_of_random_graphs) {
  uint32_t state = (uint32_t)_i * 2654435761U + 5;
  pare__onnx_model *onnx = with_input();
  for (int step = 1; step <= STEPS; step++) {
    char inputs[64], output[16], weights[24], from[16];
    const uint32_t a = next_random(&state) % (uint32_t)step, b = next_random(&state) % (uint32_t)step;
    snprintf(output, sizeof output, "v%d", step);
    snprintf(from, sizeof from, "v%u", a);
    switch (next_random(&state) % 7) {
    case 0: dynamic_product(onnx, from, output, b % 2); break;
    case 1: static_product(onnx, from, output); break;
    case 2:
    case 3:
      snprintf(weights, sizeof weights, "%s_w", output);
      snprintf(inputs, sizeof inputs, "%s %s", from, weights);
      expanded_weights(onnx, (weights_form)(next_random(&state) % NFORMS), weights);
      model_node(onnx, "MatMul", inputs, output);
      break;
    case 4:
      snprintf(inputs, sizeof inputs, "v%d bias", step - 1);
      model_node(onnx, "Add", inputs, output);
      break;
    case 5:
      snprintf(inputs, sizeof inputs, "v%u v%u", a, b);
      model_node(onnx, "Add", inputs, output);
      break;
    default: snprintf(inputs, sizeof inputs, "v%d", step - 1); model_node(onnx, "Tanh", inputs, output);
    }
  }
  char last[16];
  snprintf(last, sizeof last, "v%d", STEPS);
  model_output(onnx, last);
  model_write(onnx, model_path());
  compare("all", 0.03F); /* an integer that is rounded the other way early is multiplied on */
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *laws = tcase_create("laws");
  tcase_set_timeout(laws, 0);
  tcase_add_unchecked_fixture(laws, open_context, close_context);
  tcase_add_loop_test(laws, weights_are_read_as_they_are_stored, 0, NFORMS);
  tcase_add_test(laws, gemm_with_quantised_weights_keeps_its_factors);
  tcase_add_loop_test(laws, only_rows_that_are_asked_for_are_expanded, 0, NFORMS);
  tcase_add_test(laws, dynamic_products_are_one_node_and_quantise_once);
  tcase_add_test(laws, static_products_are_integer_products);
  tcase_add_loop_test(laws, passes_keep_the_results_of_random_graphs, 0, 12);
  return remove_folder(folder, run_tests("compressed", laws));
}
