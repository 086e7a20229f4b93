/* What a model's file holds, as it becomes a network: operators that pare lacks, constants of every kind.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-import-XXXXXX";

static pare__onnx_model *with_input(void) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){2, 3});
  return onnx;
}

/* Opening fails with this status, and the message holds the text. */
static void refused(pare__onnx_model *onnx, pare_status status, const char *text) {
  char path[128];
  pare_model *model;
  snprintf(path, sizeof path, "%s/refused.onnx", folder);
  model_write(onnx, path);
  const pare_status got = pare_model_open(context, path, NULL, &model);
  ck_assert_msg(got == status, "%s: %s", pare_status_name(got), got == PARE_OK ? "it was opened" : pare_message());
  ck_assert_ptr_null(model);
  ck_assert_msg(strstr(pare_message(), text) != NULL, "'%s' lacks '%s'", pare_message(), text);
}

/* ---- operators that pare lacks ---- */

/* Twelve of one operator, every second one without a name, and one of another. */
START_TEST(an_operator_that_many_nodes_lack_is_listed_once) {
  enum { MANY = 12 };
  pare__onnx_model *onnx = with_input();
  char outputs[MANY][8];
  for (int i = 0; i < MANY; i++) {
    snprintf(outputs[i], sizeof outputs[i], "y%d", i);
    pare__onnx_node *node = model_node(onnx, "NoSuchOperator", "x", outputs[i]);
    if (i % 2) node->name = "named";
  }
  model_node(onnx, "Other", "x", "z");
  model_output(onnx, "z");
  refused(onnx, PARE_ERR_UNSUPPORTED, "lacks 2 of its operators, which 13 of its nodes are of");
  const char *line =
      strstr(pare_message(), "NoSuchOperator (domain ai.onnx, opset 17), 12 nodes: 'y0', 'named', 'y2', ...");
  ck_assert_msg(line != NULL, "'%s'", pare_message());
  ck_assert_ptr_null(strstr(line + 1, "NoSuchOperator"));
  ck_assert_ptr_null(strstr(pare_message(), "y4"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "Other (domain ai.onnx, opset 17), 1 node: 'z'"));
}
END_TEST

/* However many there are, the message says how many nodes it does not list. */
START_TEST(a_long_list_of_missing_operators_says_what_it_leaves_out) {
  enum { MANY = 1500 };
  static char names[MANY][120];
  pare__onnx_model *onnx = with_input();
  for (int i = 0; i < MANY; i++) {
    snprintf(names[i], sizeof names[i], "n%0110d", i);
    model_node(onnx, names[i], "x", names[i]);
  }
  model_output(onnx, names[0]);
  refused(onnx, PARE_ERR_UNSUPPORTED, "lacks at least 1000 of its operators, which 1500 of its nodes are of");
  ck_assert_msg(strstr(pare_message(), "and others, ") != NULL, "'%s'", pare_message());
}
END_TEST

/* ---- constants ---- */

/* y = the sparse constant of 2 x 3 with 5 and 7 at these places, flat or as rows of coordinates. */
static pare__onnx_model *sparse(const int64_t *place, size_t coordinates) {
  static const float values[] = {5, 7};
  static const int64_t dim[] = {2, 3};
  pare__onnx_model *onnx = model_new(17);
  pare__onnx_node *node = model_node(onnx, "Constant", "", "y");
  pare__onnx_attribute *attribute = node_attribute(onnx, node, "sparse_value", PARE__ONNX_ATTRIBUTE_SPARSE_TENSOR);
  /* made as initialisers, which leave the graph again */
  const int64_t rows[] = {2, (int64_t)coordinates};
  model_constant(onnx, "", PARE__ONNX_FLOAT, 1, rows, values);
  model_constant(onnx, "", PARE__ONNX_INT64, coordinates > 1 ? 2 : 1, rows, place);
  void *memory;
  OK(pare__onnx_allocate(onnx->source, sizeof *attribute->sparse_tensor, &memory));
  attribute->sparse_tensor = memset(memory, 0, sizeof *attribute->sparse_tensor);
  attribute->sparse_tensor->values = &onnx->graph->initializer.items[0];
  attribute->sparse_tensor->indices = &onnx->graph->initializer.items[1];
  onnx->graph->initializer.count = 0;
  for (size_t d = 0; d < 2; d++) {
    int64_t *item;
    OK(PARE__ONNX_APPEND(onnx->source, &attribute->sparse_tensor->dims, &item));
    *item = dim[d];
  }
  return onnx;
}

START_TEST(sparse_constants_are_dense) {
  static const int64_t flat[] = {1, 5}, rows[] = {0, 1, 1, 2};
  static const float expected[] = {0, 5, 0, 0, 0, 7};
  for (size_t coordinates = 1; coordinates <= 2; coordinates++) {
    pare_tensor *y = model_run(folder, sparse(coordinates == 1 ? flat : rows, coordinates), NULL);
    float *found = floats_of(y);
    ck_assert_int_eq(pare_tensor_elements(y), 6);
    ck_assert_mem_eq(found, expected, sizeof expected);
    free(found);
    pare_tensor_close(y);
  }
}
END_TEST

START_TEST(sparse_constants_with_an_element_outside_are_refused) {
  static const int64_t flat[] = {1, 6}, rows[] = {0, 1, 1, -1};
  for (size_t coordinates = 1; coordinates <= 2; coordinates++) {
    pare_tensor *y;
    ck_assert_int_eq(model_try(folder, sparse(coordinates == 1 ? flat : rows, coordinates), NULL, &y), PARE_ERR_FORMAT);
    ck_assert_msg(strstr(pare_message(), "outside its shape") != NULL, "'%s'", pare_message());
  }
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("import");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, an_operator_that_many_nodes_lack_is_listed_once);
  tcase_add_test(tests, a_long_list_of_missing_operators_says_what_it_leaves_out);
  tcase_add_test(tests, sparse_constants_are_dense);
  tcase_add_test(tests, sparse_constants_with_an_element_outside_are_refused);
  return remove_folder(folder, run_tests("import", tests));
}
