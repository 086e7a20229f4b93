/* Passes that give products what comes before and after them: every result stays what it was.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "graph/run.h"
#include "onnx_builder.h"
#include "with_passes.h"

enum { WIDTH = 24 };

static char folder[] = "/tmp/pare-test-passes-products-XXXXXX";
static char path[128];

/* ---- residuals ---- */

enum { ROWS = 70 };

/* y = x + (h w + b) in the orders that exporters write, with a Gemm, with weights of 4 bits in blocks and without a
 * bias; the product has as many rows as kernels for many, few and one. */
START_TEST(a_residual_goes_into_its_product) {
  static const char *const forms[] = {"p.b x", "x p.b", "p x", "gemm x", "x p.b", "blocks x"};
  static const int64_t rows[] = {ROWS, 3, 1};
  const size_t form = (size_t)_i % PARE__COUNT(forms);
  const bool flat = form == 3, blocks = form == 5, later = form == 4;
  pare__onnx_model *onnx = model_new(17);
  float *numbers = random_floats(WIDTH * WIDTH, 3);
  const int64_t dim[3] = {2, rows[(size_t)_i / PARE__COUNT(forms)], WIDTH}, words[3] = {WIDTH, 1, 16};
  uint8_t nibbles[WIDTH * 16];
  for (size_t i = 0; i < sizeof nibbles; i++) nibbles[i] = (uint8_t)(i * 37);
  model_input(onnx, "h", PARE__ONNX_FLOAT, flat ? 2 : 3, flat ? dim + 1 : dim);
  model_input(onnx, "v", PARE__ONNX_FLOAT, flat ? 2 : 3, flat ? dim + 1 : dim);
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, numbers);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers);
  model_constant(onnx, "words", PARE__ONNX_UINT8, 3, words, nibbles);
  model_constant(onnx, "scales", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, 1}, numbers + WIDTH);
  free(numbers);
  if (!later) model_node(onnx, "Tanh", "v", "x");
  model_node(onnx, "MatMul", "h w", "p");
  model_node(onnx, "Add", "b p", "p.b");
  if (later) model_node(onnx, "Tanh", "v", "x");
  if (flat) model_node(onnx, "Gemm", "h w b", "gemm");
  pare__onnx_node *nbits = blocks ? model_node(onnx, "MatMulNBits", "h words scales", "blocks") : NULL;
  if (nbits) {
    nbits->domain = "com.microsoft";
    node_int(onnx, nbits, "K", WIDTH);
    node_int(onnx, nbits, "N", WIDTH);
    node_int(onnx, nbits, "bits", 4);
    node_int(onnx, nbits, "block_size", 32);
  }
  model_node(onnx, "Add", forms[form], "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, (uint32_t)_i);
  ck_assert_uint_eq(nodes_of(model, "Add"), 0);
  ck_assert_uint_eq(nodes_of(model, blocks ? "MatMulNBits" : "FusedMatMul"), 1);
  ck_assert_uint_eq(model->network->graph.nnodes, 2);
  pare_model_close(model);
}
END_TEST

/* What is added last broadcasts to the product, or the product to it; ranks that no shape tells are seen in the run. */
START_TEST(a_summand_of_another_shape_is_added_all_the_same) {
  static const int64_t shapes[][3] = {{1, 5, WIDTH}, {2, 1, WIDTH}, {2, 5, 1}, {1, 1, 1}, {4, 1, WIDTH}};
  pare__onnx_model *onnx = model_new(17);
  float *numbers = random_floats(WIDTH * WIDTH, 3);
  const bool wider = _i == 4; /* the product has one row for all */
  model_input(onnx, "h", PARE__ONNX_FLOAT, 3, (const int64_t[]){wider ? 1 : 2, 5, WIDTH});
  model_input(onnx, "v", PARE__ONNX_FLOAT, 3, shapes[_i]);
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, numbers);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers);
  free(numbers);
  model_node(onnx, "Tanh", "v", "x");
  model_node(onnx, "MatMul", "h w", "p");
  model_node(onnx, "Add", "p x", "s");
  model_node(onnx, "Add", "s b", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, (uint32_t)_i);
  ck_assert_uint_eq(model->network->graph.nnodes, 2);
  pare_model_close(model);
}
END_TEST

/* An activation comes between, or after: the epilogue has no such order. */
START_TEST(an_activation_beside_the_sum_keeps_its_place) {
  pare__onnx_model *onnx = model_new(17);
  float *numbers = random_floats(WIDTH * WIDTH, 3);
  model_input(onnx, "h", PARE__ONNX_FLOAT, 2, (const int64_t[]){5, WIDTH});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, numbers);
  free(numbers);
  model_node(onnx, "MatMul", "h w", "p");
  model_node(onnx, "Relu", "p", "r");
  model_node(onnx, "Add", "r h", "s");
  model_node(onnx, "MatMul", "s w", "q");
  model_node(onnx, "Add", "s q", "t");
  model_node(onnx, "Relu", "t", "u");
  model_node(onnx, "Mul", "u u", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 1);
  ck_assert_uint_eq(nodes_of(model, "Add"), 1);
  ck_assert_uint_eq(nodes_of(model, "Relu"), 1);
  pare_model_close(model);
}
END_TEST

/* GPT-2 as torch exports it: products of flattened rows, and the activation after they have their shape again. */
START_TEST(an_activation_goes_through_a_reshape_into_its_product) {
  pare__onnx_model *onnx = model_new(17);
  float *numbers = random_floats(WIDTH * WIDTH, 3);
  model_input(onnx, "h", PARE__ONNX_FLOAT, 3, (const int64_t[]){2, 5, WIDTH});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, numbers);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, numbers);
  model_constant(onnx, "flat", PARE__ONNX_INT64, 1, (const int64_t[]){2}, (const int64_t[]){-1, WIDTH});
  model_constant(onnx, "full", PARE__ONNX_INT64, 1, (const int64_t[]){3}, (const int64_t[]){2, 5, WIDTH});
  free(numbers);
  model_node(onnx, "Reshape", "h flat", "x");
  model_node(onnx, "Gemm", "x w b", "p");
  model_node(onnx, "Reshape", "p full", "q");
  model_node(onnx, _i ? "Relu" : "Tanh", "q", "y");
  if (_i == 2) model_output(onnx, "q"); /* what others read stays */
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 1);
  ck_assert_uint_eq(nodes_of(model, "FusedMatMul"), _i < 2);
  ck_assert_uint_eq(model->network->graph.nnodes, _i < 2 ? 3 : 4);
  pare_model_close(model);
}
END_TEST

START_TEST(a_gemm_with_its_activation_is_one_product) {
  pare__onnx_model *onnx = model_new(13);
  float *weights = random_floats(WIDTH * WIDTH, 5);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){4, WIDTH});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, weights);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, weights);
  free(weights);
  node_int(onnx, model_node(onnx, "Gemm", "x w b", "h"), "transB", 1);
  model_node(onnx, "Relu", "h", "y");
  model_output(onnx, "y");
  pare_model *model = with_passes(path, onnx, 5);
  ck_assert_uint_eq(model->network->graph.nnodes, 1);
  pare_model_close(model);
}
END_TEST

START_TEST(a_product_of_vectors_keeps_the_dimension_of_its_scalar) {
  pare__onnx_model *onnx = model_new(13);
  const float two = 2;
  model_input(onnx, "a", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH});
  model_input(onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH});
  model_constant(onnx, "c", PARE__ONNX_FLOAT, 1, (const int64_t[]){1}, &two);
  model_node(onnx, "MatMul", "a b", "p");
  model_node(onnx, "Mul", "p c", "y");
  model_output(onnx, "y");
  pare_model_close(with_passes(path, onnx, 1)); /* compares ranks */
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  TCase *tests = tcase_create("products");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, a_residual_goes_into_its_product, 0, 18);
  tcase_add_loop_test(tests, a_summand_of_another_shape_is_added_all_the_same, 0, 5);
  tcase_add_test(tests, an_activation_beside_the_sum_keeps_its_place);
  tcase_add_loop_test(tests, an_activation_goes_through_a_reshape_into_its_product, 0, 3);
  tcase_add_test(tests, a_gemm_with_its_activation_is_one_product);
  tcase_add_test(tests, a_product_of_vectors_keeps_the_dimension_of_its_scalar);
  return remove_folder(folder, run_tests("passes_products", tests));
}
