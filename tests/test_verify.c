/* Cases: which folders are some, and what is run of them. SPDX-License-Identifier: Apache-2.0 */
#include <pare/verify.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-verify-XXXXXX";

/* folder/`name`, until the next call. */
static const char *in_folder(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

/* y = x + x, or x * x: for x = 3 only the first gives the 6 that the case holds. */
static void write_model(const char *name, const char *op_type) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){1});
  model_node(onnx, op_type, "x x", "y");
  model_output(onnx, "y");
  model_write(onnx, in_folder(name));
}

static void write_number(const char *name, float value) {
  /* TensorProto: dims, data_type, raw_data */
  static const uint8_t head[] = {0x08, 1, 0x10, PARE__ONNX_FLOAT, 0x4A, sizeof value};
  FILE *file = fopen(in_folder(name), "wb");
  ck_assert_ptr_nonnull(file);
  ck_assert_uint_eq(fwrite(head, 1, sizeof head, file), sizeof head);
  ck_assert_uint_eq(fwrite(&value, 1, sizeof value, file), sizeof value);
  ck_assert_int_eq(fclose(file), 0);
}

/* A folder with a data set, and no model yet. */
static void make_folder(const char *name) {
  char path[64];
  ck_assert_int_eq(mkdir(in_folder(name), 0700), 0);
  snprintf(path, sizeof path, "%s/test_data_set_0", name);
  ck_assert_int_eq(mkdir(in_folder(path), 0700), 0);
  snprintf(path, sizeof path, "%s/test_data_set_0/input_0.pb", name);
  write_number(path, 3);
  snprintf(path, sizeof path, "%s/test_data_set_0/output_0.pb", name);
  write_number(path, 6);
}

static pare_verify_result verify(const char *name) {
  pare_verify_result result;
  OK(pare_verify_case(context, in_folder(name), NULL, &result));
  return result;
}

/* As collections of models are laid out: resnet50/resnet50-v1-7.onnx. Files that begin with a dot are no models. */
START_TEST(the_one_model_of_a_folder_is_its_case_whatever_its_name) {
  make_folder("zoo");
  ck_assert(!pare_verify_is_case(in_folder("zoo")));
  write_model("zoo/._net-v1.onnx", "Mul");
  ck_assert(!pare_verify_is_case(in_folder("zoo")));
  write_model("zoo/net-v1.onnx", "Add");
  ck_assert(pare_verify_is_case(in_folder("zoo")));
  const pare_verify_result result = verify("zoo");
  ck_assert_msg(result.status == PARE_CASE_PASS, "%s", result.reason);
  ck_assert_uint_eq(result.nsets, 1);
}
END_TEST

START_TEST(a_model_without_a_data_set_is_no_case_unless_it_is_a_model_onnx) {
  ck_assert_int_eq(mkdir(in_folder("models"), 0700), 0);
  write_model("models/net.onnx", "Add");
  ck_assert(!pare_verify_is_case(in_folder("models")));
  write_model("models/model.onnx", "Add");
  ck_assert(pare_verify_is_case(in_folder("models")));
}
END_TEST

START_TEST(of_several_models_one_must_be_named) {
  make_folder("two");
  write_model("two/right.onnx", "Add");
  write_model("two/wrong.onnx", "Mul");
  const pare_verify_result both = verify("two");
  ck_assert_int_eq(both.status, PARE_CASE_ERROR);
  ck_assert_msg(strstr(both.reason, "right.onnx") && strstr(both.reason, "wrong.onnx"), "'%s'", both.reason);
  ck_assert_int_eq(verify("two/right.onnx").status, PARE_CASE_PASS);
  ck_assert_int_eq(verify("two/wrong.onnx").status, PARE_CASE_FAIL);
  write_model("two/model.onnx", "Add"); /* which goes before all others */
  ck_assert_int_eq(verify("two").status, PARE_CASE_PASS);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("verify");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, the_one_model_of_a_folder_is_its_case_whatever_its_name);
  tcase_add_test(tests, a_model_without_a_data_set_is_no_case_unless_it_is_a_model_onnx);
  tcase_add_test(tests, of_several_models_one_must_be_named);
  return remove_folder(folder, run_tests("verify", tests));
}
