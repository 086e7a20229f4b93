/* Random operators: ONNX fixes no bits of them, but their distributions, and pare that no two draws are alike and every
 * run draws the same. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "one_node.h"
#include "tensor/tensor.h"

static char folder[] = "/tmp/pare-test-random-XXXXXX";

enum { ROWS = 100, COLUMNS = 200, COUNT = ROWS * COLUMNS };

static float *read_floats(pare_tensor *tensor, int64_t count) {
  float *data = malloc((size_t)count * sizeof *data);
  ck_assert_int_eq(pare_tensor_dtype(tensor), PARE_F32);
  ck_assert_int_eq(pare_tensor_elements(tensor), count);
  OK(pare_tensor_read(tensor, data, (size_t)count * sizeof *data));
  pare_tensor_close(tensor);
  return data;
}

static void check_moments(const float *x, double mean, double deviation) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < COUNT; i++) sum += (double)x[i];
  for (int64_t i = 0; i < COUNT; i++) squares += ((double)x[i] - sum / COUNT) * ((double)x[i] - sum / COUNT);
  ck_assert_double_lt(fabs(sum / COUNT - mean), 5 * deviation / sqrt(COUNT));
  ck_assert_double_lt(fabs(sqrt(squares / COUNT) - deviation), 0.05 * deviation);
}

/* ---- distributions ---- */

/* _i: like another tensor, or of a given shape. */
START_TEST(normal_numbers_have_their_mean_and_deviation) {
  const int64_t dim[] = {ROWS, COLUMNS};
  float *like = random_floats(COUNT, 1);
  one_node one = one_node_begin(17, _i ? "RandomNormalLike" : "RandomNormal", _i ? "x" : "", "y");
  if (_i) one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, dim, like);
  if (!_i) node_ints(one.onnx, one.node, "shape", 2, dim);
  node_float(one.onnx, one.node, "mean", 3);
  node_float(one.onnx, one.node, "scale", 0.5F);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  ck_assert_int_eq(out->shape.dim[0], ROWS);
  float *y = read_floats(out, COUNT);
  check_moments(y, 3, 0.5);
  FREE_ALL(like, y);
}
END_TEST

START_TEST(uniform_numbers_fill_their_range) {
  const int64_t dim[] = {ROWS, COLUMNS};
  float *like = random_floats(COUNT, 1);
  one_node one = one_node_begin(17, _i ? "RandomUniformLike" : "RandomUniform", _i ? "x" : "", "y");
  if (_i) one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, dim, like);
  if (!_i) node_ints(one.onnx, one.node, "shape", 2, dim);
  node_float(one.onnx, one.node, "low", -2);
  node_float(one.onnx, one.node, "high", 6);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  float *y = read_floats(out, COUNT);
  for (int64_t i = 0; i < COUNT; i++) ck_assert(y[i] >= -2 && y[i] < 6);
  check_moments(y, 2, 8 / sqrt(12));
  FREE_ALL(like, y);
}
END_TEST

/* A speech synthesiser with its noise switched off makes the same as any other runtime does. */
START_TEST(noise_without_deviation_is_its_mean) {
  const int64_t dim[] = {2, 3};
  const float like[6] = {0};
  const double mean[6] = {7, 7, 7, 7, 7, 7};
  one_node one = one_node_begin(17, "RandomNormalLike", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, dim, like);
  node_float(one.onnx, one.node, "mean", 7);
  node_float(one.onnx, one.node, "scale", 0);
  one_node_expect(folder, &one, "y", 6, mean);
}
END_TEST

START_TEST(each_element_is_true_with_its_own_probability) {
  const int64_t dim[] = {3, COUNT};
  static float p[3 * COUNT];
  for (int64_t i = 0; i < COUNT; i++) p[i] = 0, p[COUNT + i] = 0.25F, p[2 * COUNT + i] = 1;
  one_node one = one_node_begin(17, "Bernoulli", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, dim, p);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  float *y = read_floats(out, 3 * COUNT);
  for (int64_t i = 0; i < COUNT; i++) ck_assert(y[i] == 0 && y[2 * COUNT + i] == 1);
  check_moments(y + COUNT, 0.25, sqrt(0.25 * 0.75));
  free(y);
}
END_TEST

START_TEST(classes_are_drawn_by_their_weights) {
  const int64_t dim[] = {2, 3};
  const float x[6] = {logf(1), logf(2), logf(5), logf(3), -INFINITY, logf(1)};
  const double part[6] = {0.125, 0.25, 0.625, 0.75, 0, 0.25};
  one_node one = one_node_begin(17, "Multinomial", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_FLOAT, 2, dim, x);
  node_int(one.onnx, one.node, "sample_size", COUNT);
  pare_tensor *out;
  OK(one_node_run(folder, &one, "y", false, &out));
  static int32_t y[2 * COUNT];
  OK(pare_tensor_read(out, y, sizeof y));
  pare_tensor_close(out);
  for (int row = 0; row < 2; row++)
    for (int class = 0; class < 3; class ++) {
      int64_t count = 0;
      for (int64_t i = 0; i < COUNT; i++) count += y[row * COUNT + i] == class;
      const double p = part[row * 3 + class];
      ck_assert_double_le(fabs((double)count / COUNT - p), 5 * sqrt(p * (1 - p) / COUNT));
    }
}
END_TEST

/* ---- draws ---- */

/* Nodes that look alike are not one; and a run can be repeated. */
START_TEST(no_two_nodes_draw_the_same_and_all_runs_do) {
  float *x = random_floats(COUNT, 1), *y[2];
  for (int run = 0; run < 2; run++) {
    pare__onnx_model *onnx = model_new(17);
    model_input(onnx, "x", PARE__ONNX_FLOAT, 1, (const int64_t[]){COUNT});
    model_node(onnx, "RandomNormalLike", "x", "a");
    model_node(onnx, "RandomNormalLike", "x", "b");
    node_int(onnx, model_node(onnx, "Concat", "a b", "y"), "axis", 0);
    pare_tensor *in = tensor_of(PARE_F32, 1, (const int64_t[]){COUNT}, x);
    y[run] = read_floats(model_run(folder, onnx, (pare_tensor *const[]){in}), 2 * COUNT);
    pare_tensor_close(in);
  }
  ck_assert_mem_eq(y[0], y[1], 2 * COUNT * sizeof(float));
  double product = 0;
  for (int64_t i = 0; i < COUNT; i++) product += (double)y[0][i] * (double)y[0][COUNT + i];
  ck_assert_double_lt(fabs(product / COUNT), 5 / sqrt(COUNT)); /* not correlated */
  FREE_ALL(x, y[0], y[1]);
}
END_TEST

START_TEST(every_iteration_draws_anew) {
  enum { STEPS = 3 };
  const int64_t steps = STEPS, wide[] = {COLUMNS};
  const uint8_t truth = 1;
  pare__onnx_model *onnx = model_new(17);
  model_constant(onnx, "steps", PARE__ONNX_INT64, 0, NULL, &steps);
  model_constant(onnx, "true", PARE__ONNX_BOOL, 0, NULL, &truth);
  pare__onnx_node *loop = model_node(onnx, "Loop", "steps true", "y");
  pare__onnx_graph *body = node_body(onnx, loop, "body", "i going", "going_on noise");
  node_in(onnx, &body->node, "Identity", "going", "going_on");
  node_ints(onnx, node_in(onnx, &body->node, "RandomUniform", "", "noise"), "shape", 1, wide);
  float *y = read_floats(model_run(folder, onnx, NULL), (int64_t)STEPS * COLUMNS);
  for (int64_t i = 0; i < COLUMNS; i++) ck_assert(y[i] != y[COLUMNS + i] && y[COLUMNS + i] != y[2 * COLUMNS + i]);
  free(y);
}
END_TEST

START_TEST(integers_are_refused) {
  const int64_t dim[] = {2, 3}, like[6] = {0};
  one_node one = one_node_begin(17, "RandomNormalLike", "x", "y");
  one_node_input(&one, "x", PARE__ONNX_INT64, 2, dim, like);
  one_node_refused(folder, &one, PARE_ERR_TYPE, "its output is i64");
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("random operators");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, normal_numbers_have_their_mean_and_deviation, 0, 2);
  tcase_add_loop_test(tests, uniform_numbers_fill_their_range, 0, 2);
  tcase_add_test(tests, noise_without_deviation_is_its_mean);
  tcase_add_test(tests, each_element_is_true_with_its_own_probability);
  tcase_add_test(tests, classes_are_drawn_by_their_weights);
  tcase_add_test(tests, no_two_nodes_draw_the_same_and_all_runs_do);
  tcase_add_test(tests, every_iteration_draws_anew);
  tcase_add_test(tests, integers_are_refused);
  return remove_folder(folder, run_tests("random operators", tests));
}
