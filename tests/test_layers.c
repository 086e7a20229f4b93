/* Layer by layer: the first node whose output differs from a reference is found. SPDX-License-Identifier: Apache-2.0 */
#include <pare/arrays.h>
#include <pare/verify.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "onnx_builder.h"

enum { COUNT = 4 };
static char folder[] = "/tmp/pare-test-layers-XXXXXX";
static char path[128];
static const float x[COUNT] = {0.5F, -1, 2, 0.25F};
static const int64_t shape[1] = {COUNT};

static const char *in_folder(const char *name) {
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* a = x + x, b = tanh a, y = b * x, with x = input_0.pb */
static void make_case(void) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, shape);
  model_node(onnx, "Add", "x x", "a")->name = "first";
  model_node(onnx, "Tanh", "a", "b")->name = "second";
  model_node(onnx, "Mul", "b x", "y")->name = "third";
  model_output(onnx, "y");
  model_write(onnx, in_folder("model.onnx"));
  /* TensorProto: dims, data_type, raw_data */
  static const uint8_t head[] = {0x08, COUNT, 0x10, PARE__ONNX_FLOAT, 0x4A, sizeof x};
  ck_assert_int_eq(mkdir(in_folder("test_data_set_0"), 0700), 0);
  FILE *file = fopen(in_folder("test_data_set_0/input_0.pb"), "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(head, 1, sizeof head, file), sizeof head);
  ck_assert_uint_eq(fwrite(x, 1, sizeof x, file), sizeof x);
  ck_assert_int_eq(fclose(file), 0);
}

/* A reference of a and b, the latter off by `error` at its third element. */
static pare_layers *reference(const char *first, const char *second, float error) {
  float a[COUNT], b[COUNT];
  static const float tanh_of[COUNT] = {0.761594156F, -0.964027580F, 0.999329300F, 0.462117157F};
  for (int i = 0; i < COUNT; i++) {
    a[i] = 2 * x[i];
    b[i] = tanh_of[i] + (i == 2 ? error : 0);
  }
  const pare_array arrays[2] = {
      {.name = first, .dtype = PARE_F32, .rank = 1, .dim = {COUNT}, .data = a, .nbytes = sizeof a},
      {.name = second, .dtype = PARE_F32, .rank = 1, .dim = {COUNT}, .data = b, .nbytes = sizeof b}};
  OK(pare_arrays_write(in_folder("reference.npz"), 2, arrays, false));
  pare_layers *layers;
  OK(pare_layers_open(path, &layers));
  ck_assert_uint_eq(pare_layers_count(layers), 2);
  return layers;
}

START_TEST(a_wrong_reference_names_the_node) {
  pare_verify_result result;
  pare_layers *layers = reference("a", "b", 0.01F);
  OK(pare_verify_layers(context, folder, layers, NULL, &result));
  ck_assert_int_eq(result.status, PARE_CASE_FAIL);
  ck_assert_msg(strstr(result.reason, "'second' (Tanh)") != NULL, "%s", result.reason);
  ck_assert_ptr_nonnull(strstr(result.reason, "1 of 4 elements differ; first element 2"));
  ck_assert_uint_eq(result.nlayers, 2);
  pare_layers_close(layers);
}
END_TEST

START_TEST(a_right_reference_passes_and_another_models_is_none) {
  pare_verify_result result;
  pare_layers *layers = reference("a", "b", 0);
  OK(pare_verify_layers(context, folder, layers, NULL, &result));
  ck_assert_msg(result.status == PARE_CASE_PASS, "%s", result.reason);
  ck_assert_uint_eq(result.nlayers, 2);
  pare_layers_close(layers);
  layers = reference("p", "q", 0);
  OK(pare_verify_layers(context, folder, layers, NULL, &result));
  ck_assert_int_eq(result.status, PARE_CASE_ERROR);
  pare_layers_close(layers);
}
END_TEST

START_TEST(a_device_agrees_with_itself) {
  pare_verify_result result;
  pare_layers *layers;
  OK(pare_layers_record(context, folder, NULL, &layers));
  ck_assert_uint_eq(pare_layers_count(layers), 3);
  OK(pare_verify_layers(context, folder, layers, NULL, &result));
  ck_assert_msg(result.status == PARE_CASE_PASS, "%s", result.reason);
  ck_assert_uint_eq(result.nlayers, 3);
  pare_layers_close(layers);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("layers");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_unchecked_fixture(tests, make_case, NULL);
  tcase_add_test(tests, a_wrong_reference_names_the_node);
  tcase_add_test(tests, a_right_reference_passes_and_another_models_is_none);
  tcase_add_test(tests, a_device_agrees_with_itself);
  const int result = run_tests("layers", tests);
  unlink(in_folder("test_data_set_0/input_0.pb"));
  rmdir(in_folder("test_data_set_0"));
  return remove_folder(folder, result);
}
