/* Padded positions do not count in what a compressed model costs. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <pare/compress.h>
#include <pare/diff.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "onnx_builder.h"

enum { SAMPLES = 3, POSITIONS = 4, INPUTS = 32, OUTPUTS = 8, VECTORS = SAMPLES * POSITIONS };

static char folder[] = "/tmp/pare-test-padding-XXXXXX";
static const char *path_of(const char *name) { return path_in(folder, name); }

/* y [samples, positions, OUTPUTS] = x weight, and its means over positions. */
static void write_layer(const char *path, const char *mask_name, int32_t mask_type, const float *weight) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 3, (const int64_t[]){-1, POSITIONS, INPUTS});
  model_input(onnx, mask_name, mask_type, 2, (const int64_t[]){-1, POSITIONS});
  model_constant(onnx, "weight", PARE__ONNX_FLOAT, 2, (const int64_t[]){INPUTS, OUTPUTS}, weight);
  model_node(onnx, "MatMul", "x weight", "y");
  pare__onnx_node *mean = model_node(onnx, "ReduceMean", "y", "mean");
  node_ints(onnx, mean, "axes", 1, (const int64_t[]){1});
  node_int(onnx, mean, "keepdims", 0);
  model_output(onnx, "y");
  model_output(onnx, "mean");
  model_write(onnx, path);
}

/* The cosine of x a and x b over the vectors that count; means: over the means of each sample. */
static double cosine_of(const float *x, const float *a, const float *b, const bool *counts, bool means) {
  double aa = 0, bb = 0, ab = 0;
  for (int v = 0; v < (means ? SAMPLES : VECTORS); v++)
    for (int o = 0; o < OUTPUTS; o++) {
      double p = 0, q = 0;
      if (!means && !counts[v]) continue;
      for (int k = 0; k < (means ? POSITIONS : 1); k++)
        for (int i = 0; i < INPUTS; i++) {
          const double value = x[((means ? v * POSITIONS : v) + k) * INPUTS + i];
          p += value * (double)a[i * OUTPUTS + o];
          q += value * (double)b[i * OUTPUTS + o];
        }
      aa += p * p;
      bb += q * q;
      ab += p * q;
    }
  return ab / sqrt(aa * bb);
}

static const struct masked {
  const char *name;
  int32_t onnx_type;
  pare_dtype dtype;
  bool padded; /* a mask with some zeros, else with nothing else */
  bool counted_all;
} masks[] = {{"attention_mask", PARE__ONNX_INT64, PARE_I64, true, false},
             {"attention_mask", PARE__ONNX_INT32, PARE_I32, true, false},
             {"attention_mask", PARE__ONNX_BOOL, PARE_BOOL, true, false},
             {"attention_mask", PARE__ONNX_INT64, PARE_I64, false, true}, /* nothing would be left */
             {"attention_mask", PARE__ONNX_FLOAT, PARE_F32, true, true},  /* added to scores: 0 means to be read */
             {"other_mask", PARE__ONNX_INT64, PARE_I64, true, true}};

START_TEST(padded_positions_do_not_count) {
  const struct masked *masked = &masks[_i];
  bool counts[VECTORS], all[VECTORS];
  float *x = random_floats((int64_t)VECTORS * INPUTS, 1), *first = random_floats(INPUTS * OUTPUTS, 2),
        *second = random_floats(INPUTS * OUTPUTS, 3);
  const int64_t x_dim[] = {SAMPLES, POSITIONS, INPUTS}, mask_dim[] = {SAMPLES, POSITIONS};
  uint64_t mask[VECTORS] = {0};
  for (int v = 0; v < VECTORS; v++) {
    all[v] = true;
    counts[v] = masked->counted_all || v % POSITIONS <= v / POSITIONS;
    const int number = masked->padded && v % POSITIONS <= v / POSITIONS;
    if (masked->dtype == PARE_F32) ((float *)mask)[v] = (float)number;
    if (masked->dtype == PARE_I32) ((int32_t *)mask)[v] = number;
    if (masked->dtype == PARE_I64) ((int64_t *)mask)[v] = number;
    if (masked->dtype == PARE_BOOL) ((uint8_t *)mask)[v] = (uint8_t)number;
  }
  write_layer(path_of("first.onnx"), masked->name, masked->onnx_type, first);
  write_layer(path_of("second.onnx"), masked->name, masked->onnx_type, second);
  pare_tensor *inputs[] = {tensor_of(PARE_F32, 3, x_dim, x), tensor_of(masked->dtype, 2, mask_dim, mask)};
  pare_diff *diff;
  OK(pare_diff_open(path_of("first.onnx"), path_of("second.onnx"), &diff));
  OK(pare_diff_run(diff, context, NULL, inputs, false));
  const double expected[] = {cosine_of(x, first, second, counts, false), cosine_of(x, first, second, counts, true)};
  ck_assert(masked->counted_all || fabs(expected[0] - cosine_of(x, first, second, all, false)) > 0.01);
  unsigned found = 0;
  for (size_t i = 0; i < pare_diff_count(diff); i++) {
    pare_diff_row row;
    OK(pare_diff_get(diff, i, &row));
    if (row.kind != PARE_DIFF_OUTPUT) continue;
    found++;
    ck_assert_double_eq_tol(row.distance.cosine, expected[strcmp(row.name, "mean") == 0], 1e-5);
  }
  ck_assert_uint_eq(found, 2);
  pare_diff_close(diff);
  pare_tensor_close(inputs[0]);
  pare_tensor_close(inputs[1]);
  free(x);
  free(first);
  free(second);
}
END_TEST

/* What the report says of an output is what pare diff says of it on the same inputs. */
START_TEST(reports_leave_padding_out_as_well) {
  float *x = random_floats((int64_t)VECTORS * INPUTS, 4), *weight = random_floats(INPUTS * OUTPUTS, 5);
  int64_t mask[VECTORS];
  for (int v = 0; v < VECTORS; v++) mask[v] = v % POSITIONS == 0;
  for (int i = 0; i < VECTORS * INPUTS; i++) x[i] *= mask[i / INPUTS] ? 1.0F : i % INPUTS == 3 ? 1e4F : 0.0F;
  write_layer(path_of("dense.onnx"), "attention_mask", PARE__ONNX_INT64, weight);
  const pare_array arrays[] = {{.name = "x",
                                .dtype = PARE_F32,
                                .rank = 3,
                                .dim = {SAMPLES, POSITIONS, INPUTS},
                                .data = x,
                                .nbytes = sizeof *x * VECTORS * INPUTS},
                               {.name = "attention_mask",
                                .dtype = PARE_I64,
                                .rank = 2,
                                .dim = {SAMPLES, POSITIONS},
                                .data = mask,
                                .nbytes = sizeof mask}};
  OK(pare_arrays_write(path_of("samples.npz"), 2, arrays, false));
  pare_recipe *recipe;
  pare_report *report;
  OK(pare_recipe_create(&recipe));
  OK(pare_recipe_calibrate(recipe, path_of("samples.npz")));
  OK(pare_recipe_quantize(recipe, "int4"));
  OK(pare_compress(context, path_of("dense.onnx"), path_of("small.onnx"), recipe, NULL, &report));
  pare_tensor *inputs[] = {tensor_of(PARE_F32, 3, arrays[0].dim, x), tensor_of(PARE_I64, 2, arrays[1].dim, mask)};
  pare_diff *diff;
  OK(pare_diff_open(path_of("dense.onnx"), path_of("small.onnx"), &diff));
  OK(pare_diff_run(diff, context, NULL, inputs, false));
  unsigned found = 0;
  for (size_t i = 0; i < pare_diff_count(diff); i++) {
    pare_diff_row row;
    OK(pare_diff_get(diff, i, &row));
    if (row.kind != PARE_DIFF_OUTPUT) continue;
    for (size_t k = 0; k < 2; k++) {
      pare_report_output output;
      OK(pare_report_output_get(report, k, &output));
      if (strcmp(output.name, row.name) != 0) continue;
      found++;
      ck_assert_double_eq_tol(output.distance.cosine, row.distance.cosine, 1e-6);
      if (strcmp(row.name, "y") == 0) ck_assert_double_lt(row.distance.max_error, 1);
    }
  }
  ck_assert_uint_eq(found, 2);
  pare_diff_close(diff);
  pare_tensor_close(inputs[0]);
  pare_tensor_close(inputs[1]);
  pare_report_close(report);
  pare_recipe_close(recipe);
  free(x);
  free(weight);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("padding");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, padded_positions_do_not_count, 0, sizeof masks / sizeof *masks);
  tcase_add_test(tests, reports_leave_padding_out_as_well);
  return remove_folder(folder, run_tests("padding", tests));
}
