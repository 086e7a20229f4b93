/* Shapes in terms of the symbols of the inputs. SPDX-License-Identifier: Apache-2.0 */
#include <pare/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-symbolic-XXXXXX";
static char path[128];

/* Dimension d of a value as text. */
static const char *dimension(const pare_inspection *inspection, const char *name, int d) {
  static char text[200];
  pare_model_value value;
  ck_assert_msg(pare_inspect_value(inspection, name, &value), "nothing is known of %s", name);
  ck_assert_int_gt(value.rank, d);
  if (value.dim[d] >= 0)
    snprintf(text, sizeof text, "%d", (int)value.dim[d]);
  else
    snprintf(text, sizeof text, "%s", value.symbol[d] ? value.symbol[d] : "?");
  return text;
}

static pare__onnx_model *with_input(const char *first, const char *second) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){-1, -1, 6});
  pare__onnx_dimension *dim = onnx->graph->input.items[0].type->tensor_type->shape->dim.items;
  dim[0].dim_param = first;
  dim[1].dim_param = second;
  return onnx;
}

static pare_inspection *inferred(pare__onnx_model *onnx) {
  model_write(onnx, path);
  pare_inspection *inspection;
  OK(pare_inspect_open(path, &inspection));
  OK(pare_inspect_infer(inspection, context));
  return inspection;
}

START_TEST(dimensions_are_products_sums_and_rounded_quotients) {
  pare__onnx_model *onnx = with_input("batch", "length");
  const int64_t flat[2] = {-1, 6}, pool[1] = {2};
  const float rows[3 * 6] = {0};
  model_constant(onnx, "flat", PARE__ONNX_INT64, 1, (const int64_t[]){2}, flat);
  model_constant(onnx, "rows", PARE__ONNX_FLOAT, 2, (const int64_t[]){3, 6}, rows);
  model_node(onnx, "Reshape", "x flat", "a");
  node_int(onnx, model_node(onnx, "Concat", "x x", "b"), "axis", 1);
  node_int(onnx, model_node(onnx, "Concat", "a rows", "c"), "axis", 0);
  node_ints(onnx, model_node(onnx, "Transpose", "x", "d"), "perm", 3, (const int64_t[]){0, 2, 1});
  pare__onnx_node *window = model_node(onnx, "MaxPool", "d", "e");
  node_ints(onnx, window, "kernel_shape", 1, pool);
  node_ints(onnx, window, "strides", 1, pool);
  pare__onnx_node *rows_of_both = model_node(onnx, "Concat", "x b", "f");
  node_int(onnx, rows_of_both, "axis", 1);
  model_output(onnx, "c");
  pare_inspection *inspection = inferred(onnx);
  ck_assert_str_eq(dimension(inspection, "a", 0), "batch*length");
  ck_assert_str_eq(dimension(inspection, "a", 1), "6");
  ck_assert_str_eq(dimension(inspection, "b", 0), "batch");
  ck_assert_str_eq(dimension(inspection, "b", 1), "2*length");
  ck_assert_str_eq(dimension(inspection, "c", 0), "?"); /* batch length + 3 is none of the forms */
  ck_assert_str_eq(dimension(inspection, "d", 2), "length");
  ck_assert_str_eq(dimension(inspection, "e", 2), "floor(length/2)");
  ck_assert_str_eq(dimension(inspection, "f", 1), "3*length");
  pare_inspect_close(inspection);
}
END_TEST

START_TEST(sums_name_their_constant_and_unnamed_dimensions_their_input) {
  pare__onnx_model *onnx = with_input("?", "?");
  const float rows[3 * 6] = {0};
  const int64_t shape[3] = {-1, 1, 6};
  model_constant(onnx, "rows", PARE__ONNX_FLOAT, 3, (const int64_t[]){1, 3, 6}, rows);
  model_constant(onnx, "one", PARE__ONNX_INT64, 1, (const int64_t[]){3}, shape);
  node_ints(onnx, model_node(onnx, "ReduceMax", "x", "a"), "axes", 1, (const int64_t[]){0});
  node_int(onnx, model_node(onnx, "Concat", "rows a", "b"), "axis", 1);
  model_node(onnx, "NonZero", "x", "c"); /* its shape depends on values */
  model_node(onnx, "Neg", "b", "y");
  model_output(onnx, "b");
  model_output(onnx, "c");
  pare_inspection *inspection = inferred(onnx);
  ck_assert_str_eq(dimension(inspection, "b", 1), "x.1 + 3");
  pare_model_value value;
  ck_assert(!pare_inspect_value(inspection, "c", &value) || value.rank < 0 || value.dim[1] < 0);
  pare_inspect_close(inspection);
}
END_TEST

static pare_node_work work_of_node(const pare_inspection *inspection, size_t index) {
  pare_node_work work;
  OK(pare_inspect_node_work(inspection, index, &work));
  return work;
}

START_TEST(nodes_do_the_work_that_their_shapes_ask_for) {
  pare__onnx_model *onnx = with_input("batch", "length");
  const float weights[6 * 8] = {0};
  const int64_t axes[1] = {2};
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){6, 8}, weights);
  model_constant(onnx, "axes", PARE__ONNX_INT64, 1, (const int64_t[]){1}, axes);
  model_node(onnx, "MatMul", "x w", "a");
  model_node(onnx, "Relu", "a", "b");
  node_ints(onnx, model_node(onnx, "ReduceMax", "b", "c"), "axes", 1, axes);
  node_ints(onnx, model_node(onnx, "Transpose", "b", "d"), "perm", 3, (const int64_t[]){0, 2, 1});
  static const char equation[] = "bij,bil->bjl";
  node_attribute(onnx, model_node(onnx, "Einsum", "x b", "e"), "equation", PARE__ONNX_ATTRIBUTE_STRING)->s =
      (pare__onnx_bytes){equation, strlen(equation)};
  model_node(onnx, "Shape", "x", "s");
  model_node(onnx, "NonZero", "x", "n");
  model_node(onnx, "Neg", "n", "o"); /* unknown: behind what depends on values */
  model_output(onnx, "c");
  model_output(onnx, "e");
  model_output(onnx, "s");
  model_output(onnx, "o");
  model_write(onnx, path);
  pare_inspection *inspection;
  OK(pare_inspect_open(path, &inspection));
  ck_assert(!work_of_node(inspection, 0).known);
  pare_model_value input;
  OK(pare_inspect_input(inspection, 0, &input));
  ck_assert_int_eq(pare_inspect_work(inspection, context, &input, 1), PARE_ERR_SHAPE);
  input.dim[0] = 2;
  input.dim[1] = 5;
  OK(pare_inspect_work(inspection, context, &input, 1));
  const struct {
    const char *kernel;
    double operations, read_bytes, written_bytes;
  } expected[] = {
      {"gemm", 2 * 2 * 5 * 8 * 6, 4 * (60 + 48), 4 * 80},
      {"memory", 80, 4 * 80, 4 * 80},
      {"memory", 80, 4 * 80, 4 * 10},
      {NULL, 0, 0, 0}, /* a view, or moved: as the operator has it */
      {"gemm", 2 * 2 * 5 * 6 * 8, 4 * (60 + 80), 4 * 2 * 6 * 8},
      {"", 0, 0, 0},
  };
  for (size_t i = 0; i < PARE__COUNT(expected); i++) {
    const pare_node_work work = work_of_node(inspection, i);
    ck_assert_msg(work.known, "node %zu", i);
    ck_assert_msg(work.operations == expected[i].operations, "node %zu: %g", i, work.operations);
    if (!expected[i].kernel) continue;
    ck_assert_str_eq(work.kernel, expected[i].kernel);
    ck_assert_msg(work.read_bytes == expected[i].read_bytes, "node %zu reads %g", i, work.read_bytes);
    ck_assert_msg(work.written_bytes == expected[i].written_bytes, "node %zu writes %g", i, work.written_bytes);
  }
  ck_assert(!work_of_node(inspection, 7).known);
  input.dim[2] = 7;
  ck_assert_int_eq(pare_inspect_work(inspection, context, &input, 1), PARE_ERR_SHAPE);
  pare_inspect_close(inspection);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  TCase *tests = tcase_create("symbolic");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, dimensions_are_products_sums_and_rounded_quotients);
  tcase_add_test(tests, sums_name_their_constant_and_unnamed_dimensions_their_input);
  tcase_add_test(tests, nodes_do_the_work_that_their_shapes_ask_for);
  return remove_folder(folder, run_tests("symbolic", tests));
}
