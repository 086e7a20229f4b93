/* Errors that only the device finds: they name the node, whatever runs it. SPDX-License-Identifier: Apache-2.0 */
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-node-errors-XXXXXX";

enum { ROWS = 4, COLUMNS = 3, GIVEN = 2, FIRST = 6 };

/* Two nodes of one operator, the second one with the bad indices. */
static void write_pair(const char *op_type, int64_t index_columns) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, COLUMNS});
  model_input(onnx, "good", PARE__ONNX_INT64, 2, (const int64_t[]){GIVEN, index_columns});
  model_input(onnx, "bad", PARE__ONNX_INT64, 2, (const int64_t[]){GIVEN, index_columns});
  model_node(onnx, op_type, "x good", "a")->name = "first";
  model_node(onnx, op_type, "x bad", "b")->name = "second";
  model_node(onnx, "Add", "a b", "y")->name = "sum";
  model_output(onnx, "y");
  model_write(onnx, path_in(folder, "model.onnx"));
}

static const struct {
  const char *op_type, *inputs;
  int64_t columns; /* of the indices */
} pairs[] = {
    {"Gather", "f32[4, 3], i64[2, 1]", 1},
    {"GatherElements", "f32[4, 3], i64[2, 3]", 3},
    {"GatherND", "f32[4, 3], i64[2, 2]", 2},
};

/* Reading the result fails, and the message is the second node's. */
static void expect_second(pare_status status, int which) {
  ck_assert_int_eq(status, PARE_ERR_ARGUMENT);
  const char *message = pare_message();
  ck_assert_msg(strncmp(message, "node 'second' (", 15) == 0 && strstr(message, pairs[which].op_type) &&
                    strstr(message, "out of range") && strstr(message, pairs[which].inputs) &&
                    !strstr(message, "'first'") && !strstr(message, "'sum'"),
                "%s", message);
}

START_TEST(an_index_that_the_device_finds_out_of_range_names_the_node) {
  const int which = _i / 2;
  const pare_model_options options = {.no_plan = _i % 2 == 1};
  static const int64_t good[FIRST] = {0, 1, 2, 2, 1, 0}, bad[FIRST] = {1, 9, 9, 0, 9, 0};
  write_pair(pairs[which].op_type, pairs[which].columns);
  float *data = random_floats(ROWS * COLUMNS, 1);
  const int64_t dim[] = {GIVEN, pairs[which].columns}, shape[] = {ROWS, COLUMNS};
  pare_model *model;
  OK(pare_model_open(context, path_in(folder, "model.onnx"), &options, &model));
  pare_tensor *x = tensor_of(PARE_F32, 2, shape, data), *fine = tensor_of(PARE_I64, 2, dim, good),
              *wrong = tensor_of(PARE_I64, 2, dim, bad), *out;
  for (int time = 0; time < 3; time++) { /* a plan is replayed, and after an error it goes on */
    OK(pare_model_run(model, (pare_tensor *[]){x, fine, wrong}, NULL, &out));
    float y[ROWS * COLUMNS * GIVEN];
    const size_t nbytes = (size_t)pare_tensor_elements(out) * sizeof *y;
    ck_assert_uint_le(nbytes, sizeof y);
    expect_second(pare_tensor_read(out, y, nbytes), which);
    pare_tensor_close(out);
    OK(pare_model_run(model, (pare_tensor *[]){x, fine, fine}, NULL, &out));
    OK(pare_tensor_read(out, y, nbytes));
    pare_tensor_close(out);
  }
  pare_tensor_close(x);
  pare_tensor_close(fine);
  pare_tensor_close(wrong);
  pare_model_close(model);
  free(data);
}
END_TEST

/* In a run at once another node may be the one that waits: it is not blamed. */
START_TEST(a_node_that_waits_is_not_taken_for_the_one_that_failed) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, COLUMNS});
  model_input(onnx, "i", PARE__ONNX_INT64, 1, (const int64_t[]){1});
  model_node(onnx, "Gather", "x i", "a")->name = "lookup";
  model_node(onnx, "NonZero", "a", "y")->name = "waits";
  float *data = random_floats(ROWS * COLUMNS, 1);
  const int64_t index = 9;
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){ROWS, COLUMNS}, data),
              *i = tensor_of(PARE_I64, 1, (const int64_t[]){1}, &index), *out = NULL;
  pare_status status = model_try(folder, onnx, (pare_tensor *[]){x, i}, &out);
  int64_t values[8];
  if (status == PARE_OK) status = pare_tensor_read(out, values, (size_t)pare_tensor_elements(out) * sizeof *values);
  ck_assert_int_eq(status, PARE_ERR_ARGUMENT);
  ck_assert_msg(strncmp(pare_message(), "node 'lookup' (Gather): ", 24) == 0 && strstr(pare_message(), "i64[1]") &&
                    !strstr(pare_message(), "waits"),
                "%s", pare_message());
  pare_tensor_close(out);
  pare_tensor_close(x);
  pare_tensor_close(i);
  free(data);
}
END_TEST

/* More messages than there are flags: the error is there, if not its node. */
START_TEST(more_nodes_than_flags_lose_no_error) {
  enum { NODES = 300 };
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){ROWS, COLUMNS});
  model_input(onnx, "good", PARE__ONNX_INT64, 1, (const int64_t[]){ROWS});
  model_input(onnx, "bad", PARE__ONNX_INT64, 1, (const int64_t[]){ROWS});
  char from[16] = "x", to[16], inputs[40];
  for (int n = 0; n < NODES; n++) {
    snprintf(to, sizeof to, n + 1 < NODES ? "v%d" : "y", n);
    snprintf(inputs, sizeof inputs, "%s %s", from, n + 1 < NODES ? "good" : "bad");
    model_node(onnx, "Gather", inputs, to)->name = "";
    onnx->graph->node.items[n].name = onnx->graph->node.items[n].output.items[0];
    memcpy(from, to, sizeof from);
  }
  float *data = random_floats(ROWS * COLUMNS, 1), y[ROWS * COLUMNS];
  const int64_t good[ROWS] = {3, 1, 2, 0}, bad[ROWS] = {0, 1, 2, -5};
  pare_tensor *in[] = {tensor_of(PARE_F32, 2, (const int64_t[]){ROWS, COLUMNS}, data),
                       tensor_of(PARE_I64, 1, (const int64_t[]){ROWS}, good),
                       tensor_of(PARE_I64, 1, (const int64_t[]){ROWS}, bad)},
              *out;
  OK(model_try(folder, onnx, in, &out));
  ck_assert_int_eq(pare_tensor_read(out, y, sizeof y), PARE_ERR_ARGUMENT);
  ck_assert_msg(strstr(pare_message(), "out of range") && !strstr(pare_message(), "node '"), "%s", pare_message());
  pare_tensor_close(out);
  for (int i = 0; i < 3; i++) pare_tensor_close(in[i]);
  free(data);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("node errors");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, an_index_that_the_device_finds_out_of_range_names_the_node, 0,
                      2 * (int)(sizeof pairs / sizeof *pairs));
  tcase_add_test(tests, a_node_that_waits_is_not_taken_for_the_one_that_failed);
  tcase_add_test(tests, more_nodes_than_flags_lose_no_error);
  return remove_folder(folder, run_tests("node_errors", tests));
}
