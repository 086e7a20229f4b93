/* Elementwise operators: the host computes what the device computes; limits, mixed types, casts, dropout.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dtype.h"
#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-elementwise-XXXXXX";

/* ---- host and device ---- */

static const struct {
  const char *op;
  int ninputs;
  pare_dtype dtype;
  const char *attribute;
  int64_t value;
} operators[] = {
    {"Abs", 1, PARE_I64, NULL, 0},
    {"Add", 2, PARE_I64, NULL, 0},
    {"Add", 2, PARE_U8, NULL, 0},
    {"And", 2, PARE_BOOL, NULL, 0},
    {"BitShift", 2, PARE_U32, NULL, 0},
    {"BitwiseAnd", 2, PARE_I64, NULL, 0},
    {"Cast", 1, PARE_F32, "to", PARE__ONNX_INT64},
    {"Cast", 1, PARE_I64, "to", PARE__ONNX_FLOAT},
    {"Cast", 1, PARE_I64, "to", PARE__ONNX_UINT8},
    {"Cast", 1, PARE_I64, "to", PARE__ONNX_BOOL},
    {"Cast", 1, PARE_F32, "to", PARE__ONNX_INT4},
    {"CastLike", 2, PARE_I64, NULL, 0},
    {"Ceil", 1, PARE_F32, NULL, 0},
    {"Clip", 3, PARE_I64, NULL, 0},
    {"Clip", 3, PARE_F32, NULL, 0},
    {"Div", 2, PARE_I64, NULL, 0},
    {"Div", 2, PARE_F32, NULL, 0},
    {"Equal", 2, PARE_I64, NULL, 0},
    {"Floor", 1, PARE_F32, NULL, 0},
    {"Greater", 2, PARE_I64, NULL, 0},
    {"GreaterOrEqual", 2, PARE_I64, NULL, 0},
    {"Less", 2, PARE_F32, NULL, 0},
    {"LessOrEqual", 2, PARE_I64, NULL, 0},
    {"Max", 3, PARE_I64, NULL, 0},
    {"Mean", 3, PARE_F32, NULL, 0},
    {"Min", 2, PARE_I64, NULL, 0},
    {"Mod", 2, PARE_I64, NULL, 0},
    {"Mod", 2, PARE_I64, "fmod", 1},
    {"Mul", 2, PARE_I64, NULL, 0},
    {"Mul", 2, PARE_F32, NULL, 0},
    {"Neg", 1, PARE_I64, NULL, 0},
    {"Not", 1, PARE_BOOL, NULL, 0},
    {"Or", 2, PARE_BOOL, NULL, 0},
    {"Pow", 2, PARE_I64, NULL, 0},
    {"Round", 1, PARE_F32, NULL, 0},
    {"Sign", 1, PARE_I64, NULL, 0},
    {"Sqrt", 1, PARE_F32, NULL, 0},
    {"Sub", 2, PARE_I64, NULL, 0},
    {"Sum", 3, PARE_I64, NULL, 0},
    {"Where", 3, PARE_I64, NULL, 0},
    {"Xor", 2, PARE_BOOL, NULL, 0},
};

/* Inputs of shapes that broadcast: [3, 4], [4] and [3, 1]. */
static const int64_t shapes[3][2] = {{3, 4}, {1, 4}, {3, 1}};

static pare_dtype dtype_of_input(int which, int i) {
  const bool condition = i == 0 && strcmp(operators[which].op, "Where") == 0;
  const bool like = i == 1 && strcmp(operators[which].op, "CastLike") == 0;
  return condition ? PARE_BOOL : like ? PARE_I32 : operators[which].dtype;
}

static void fill(pare_dtype dtype, int seed, void *data) {
  static const int64_t integers[] = {7, -3, 0, 2, 5, -1, 100, 3, -8, 1, 13, -2};
  static const double reals[] = {2.5, -0.5, 0, 1.5, 300, -7.25, 0.1, 4, -2, 1e-3, 9, 3.75};
  for (int i = 0; i < 12; i++)
    if (pare__dtype_is_float(dtype))
      pare__store(dtype, data, (size_t)i, reals[(i * 5 + seed) % 12]);
    else
      pare__store_integer(dtype, data, (size_t)i, integers[(i * 5 + seed) % 12]);
}

/* The inputs are constants, whose nodes are folded on the host, or the graph's own. */
static pare_tensor *run_operator(int which, bool constant) {
  pare__onnx_model *onnx = model_new(21);
  pare_tensor *inputs[3] = {NULL};
  char names[16] = "";
  const bool limits = strcmp(operators[which].op, "Clip") == 0;
  for (int i = 0; i < operators[which].ninputs; i++) {
    const char name[2] = {(char)('a' + i), '\0'};
    const pare_dtype dtype = dtype_of_input(which, i);
    const int rank = limits && i > 0 ? 0 : i == 1 ? 1 : 2;
    const int64_t *shape = i == 1 ? &shapes[1][1] : shapes[i];
    char data[12 * 8];
    fill(dtype, i * 3, data);
    strcat(strcat(names, i ? " " : ""), name);
    if (constant) {
      model_constant(onnx, name, pare__onnx_dtype_from_pare(dtype), rank, shape, data);
    } else {
      model_input(onnx, name, pare__onnx_dtype_from_pare(dtype), rank, shape);
      inputs[i] = tensor_of(dtype, rank, shape, data);
    }
  }
  pare__onnx_node *node = model_node(onnx, operators[which].op, names, "y");
  if (operators[which].attribute) node_int(onnx, node, operators[which].attribute, operators[which].value);
  pare_tensor *out = model_run(folder, onnx, inputs);
  for (int i = 0; i < 3; i++) pare_tensor_close(inputs[i]);
  return out;
}

START_TEST(the_host_computes_what_the_device_computes) {
  pare_tensor *host = run_operator(_i, true), *on_device = run_operator(_i, false);
  const pare_dtype dtype = pare_tensor_dtype(host);
  ck_assert_int_eq(dtype, pare_tensor_dtype(on_device));
  ck_assert_int_eq(pare_tensor_elements(host), 12);
  ck_assert_int_eq(pare_tensor_elements(on_device), 12);
  char a[96], b[96];
  OK(pare_tensor_read(host, a, 12 * pare_dtype_bytes(dtype)));
  OK(pare_tensor_read(on_device, b, 12 * pare_dtype_bytes(dtype)));
  for (size_t i = 0; i < 12; i++) {
    const double x = pare__load(dtype, a, i), y = pare__load(dtype, b, i);
    const double near = pare__dtype_is_float(dtype) ? 1e-6 * fabs(y) : 0;
    ck_assert_msg((isnan(x) && isnan(y)) || x == y || fabs(x - y) <= near,
                  "%s of %s, element %zu: %g on the host, %g on the device", operators[_i].op,
                  pare_dtype_name(operators[_i].dtype), i, x, y);
  }
  pare_tensor_close(host);
  pare_tensor_close(on_device);
}
END_TEST

/* ---- limits, powers, bits, dropout ---- */

START_TEST(of_crossed_limits_the_upper_one_wins) {
  const float data[4] = {-5, 0, 2, 9}, low = 3, high = 1;
  const int64_t four = 4;
  for (int known = 0; known < 2; known++) {
    pare_tensor *in[3] = {tensor_of(PARE_F32, 1, &four, data), NULL, NULL};
    pare__onnx_model *onnx = model_new(13);
    model_input(onnx, "x", PARE__ONNX_FLOAT, 1, &four);
    if (known) {
      model_constant(onnx, "low", PARE__ONNX_FLOAT, 0, NULL, &low);
      model_constant(onnx, "high", PARE__ONNX_FLOAT, 0, NULL, &high);
    } else {
      model_input(onnx, "low", PARE__ONNX_FLOAT, 0, NULL);
      model_input(onnx, "high", PARE__ONNX_FLOAT, 0, NULL);
      in[1] = tensor_of(PARE_F32, 0, NULL, &low);
      in[2] = tensor_of(PARE_F32, 0, NULL, &high);
    }
    model_node(onnx, "Clip", "x low high", "y");
    pare_tensor *out = model_run(folder, onnx, in);
    float *found = floats_of(out);
    for (int i = 0; i < 4; i++) ck_assert_float_eq(found[i], 1);
    free(found);
    pare_tensor_close(out);
    for (int i = 0; i < 3; i++) pare_tensor_close(in[i]);
  }
}
END_TEST

START_TEST(a_power_has_the_dtype_of_its_base) {
  const int64_t base[3] = {2, -3, 9}, three = 3;
  const float exponent[3] = {10, 3, 0.5f};
  pare__onnx_model *onnx = model_new(15);
  model_input(onnx, "a", PARE__ONNX_INT64, 1, &three);
  model_input(onnx, "b", PARE__ONNX_FLOAT, 1, &three);
  model_node(onnx, "Pow", "a b", "y");
  pare_tensor *in[2] = {tensor_of(PARE_I64, 1, &three, base), tensor_of(PARE_F32, 1, &three, exponent)};
  pare_tensor *out = model_run(folder, onnx, in);
  int64_t found[3];
  OK(pare_tensor_read(out, found, sizeof found));
  ck_assert(found[0] == 1024 && found[1] == -27 && found[2] == 3);
  for (int i = 0; i < 2; i++) pare_tensor_close(in[i]);
  pare_tensor_close(out);
}
END_TEST

START_TEST(bits_stay_when_their_dtype_changes) {
  const float data[3] = {1, -0.0f, 3.5f};
  const int64_t three = 3;
  pare__onnx_model *onnx = model_new(26);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, &three);
  node_int(onnx, model_node(onnx, "BitCast", "x", "y"), "to", PARE__ONNX_UINT32);
  pare_tensor *x = tensor_of(PARE_F32, 1, &three, data), *out = model_run(folder, onnx, &x);
  uint32_t found[3];
  ck_assert_int_eq(pare_tensor_dtype(out), PARE_U32);
  OK(pare_tensor_read(out, found, sizeof found));
  ck_assert_mem_eq(found, data, sizeof data);
  pare_tensor_close(x);
  pare_tensor_close(out);
}
END_TEST

/* In training what is kept is scaled, so that the mean stays. */
START_TEST(dropout_keeps_the_mean) {
  enum { MANY = 40000 };
  const int64_t many = MANY;
  const float ratio = 0.25f;
  const uint8_t training = 1;
  float *ones = malloc(MANY * sizeof *ones);
  for (int i = 0; i < MANY; i++) ones[i] = 1;
  pare__onnx_model *onnx = model_new(13);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 1, &many);
  model_constant(onnx, "r", PARE__ONNX_FLOAT, 0, NULL, &ratio);
  model_constant(onnx, "t", PARE__ONNX_BOOL, 0, NULL, &training);
  model_node(onnx, "Dropout", "x r t", "y");
  pare_tensor *x = tensor_of(PARE_F32, 1, &many, ones), *out = model_run(folder, onnx, &x);
  float *found = floats_of(out);
  double sum = 0;
  for (int i = 0; i < MANY; i++) {
    ck_assert(found[i] == 0 || fabsf(found[i] - 1 / 0.75f) < 1e-6f);
    sum += (double)found[i];
  }
  ck_assert(fabs(sum / MANY - 1) <= 0.02);
  free(ones);
  free(found);
  pare_tensor_close(x);
  pare_tensor_close(out);
}
END_TEST

START_TEST(what_does_not_fit_is_refused) {
  const int64_t three = 3, four = 4;
  const float data[4] = {0};
  pare_tensor *in[2] = {tensor_of(PARE_F32, 1, &three, data), tensor_of(PARE_F32, 1, &four, data)}, *out;
  static const char *const ops[] = {"Add", "Max", "Where", "Clip"};
  for (int i = 0; i < 4; i++) {
    pare__onnx_model *onnx = model_new(17);
    model_input(onnx, "a", PARE__ONNX_FLOAT, 1, &three);
    model_input(onnx, "b", PARE__ONNX_FLOAT, 1, &four);
    model_node(onnx, ops[i], i == 2 ? "a b a" : "a b", "y");
    const pare_status status = model_try(folder, onnx, in, &out);
    ck_assert_msg(status == PARE_ERR_SHAPE || (i == 2 && status == PARE_ERR_TYPE), "%s: %s", ops[i],
                  pare_status_name(status));
    ck_assert_ptr_null(out);
  }
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "a", PARE__ONNX_FLOAT, 1, &three);
  model_input(onnx, "b", PARE__ONNX_FLOAT, 1, &four);
  node_int(onnx, model_node(onnx, "Cast", "a", "y"), "to", INT64_MIN);
  ck_assert_int_eq(model_try(folder, onnx, in, &out), PARE_ERR_UNSUPPORTED);
  for (int i = 0; i < 2; i++) pare_tensor_close(in[i]);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("elementwise operators");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, the_host_computes_what_the_device_computes, 0, sizeof operators / sizeof *operators);
  tcase_add_test(tests, of_crossed_limits_the_upper_one_wins);
  tcase_add_test(tests, a_power_has_the_dtype_of_its_base);
  tcase_add_test(tests, bits_stay_when_their_dtype_changes);
  tcase_add_test(tests, dropout_keeps_the_mean);
  tcase_add_test(tests, what_does_not_fit_is_refused);
  return remove_folder(folder, run_tests("operators_elementwise", tests));
}
