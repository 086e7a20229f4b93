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

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("import");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, an_operator_that_many_nodes_lack_is_listed_once);
  tcase_add_test(tests, a_long_list_of_missing_operators_says_what_it_leaves_out);
  return remove_folder(folder, run_tests("import", tests));
}
