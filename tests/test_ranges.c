/* Ranges of what is too large to be looked at together: tensors in pieces under a memory limit, static activations over
 * batches. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <pare/compress.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compress/histogram.h"
#include "fixture.h"
#include "format/onnx.h"
#include "format/safetensors.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-ranges-XXXXXX";

static const char *path_of(const char *name) { return path_in(folder, name); }

/* Values in [-1, 1), but for two. */
static float *with_outliers(int64_t n, uint32_t seed) {
  float *values = random_floats(n, seed);
  values[7] = 40;
  values[n - 9] = -30;
  return values;
}

/* The sum of squared errors on the asymmetric grid of 8 bits over a range. */
static double error_on(const float *values, int64_t n, double low, double high) {
  const double scale = (high - low) / 255, zero = nearbyint(-low / scale);
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    const double code = fmin(255, fmax(0, nearbyint(values[i] / scale) + zero));
    sum += pow(values[i] - scale * (code - zero), 2);
  }
  return sum;
}

static int ascending(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

struct ends {
  double low, high;
};

static struct ends ends_of(const float *values, int64_t n) {
  struct ends ends = {0, 0};
  for (int64_t i = 0; i < n; i++) {
    ends.low = fmin(ends.low, values[i]);
    ends.high = fmax(ends.high, values[i]);
  }
  return ends;
}

/* The least error of ranges shrunk by twentieths at either end. */
static double least_error(const float *values, int64_t n) {
  const struct ends whole = ends_of(values, n);
  double least = INFINITY;
  for (int a = 1; a <= 20; a++)
    for (int b = 1; b <= 20; b++) least = fmin(least, error_on(values, n, whole.low * a / 20, whole.high * b / 20));
  return least;
}

/* ---- static activations ---- */

enum { SAMPLES = 2000, INPUTS = 200, OUTPUTS = 8 }; /* more than a batch */

static void write_model(const char *path) {
  float *w = random_floats(INPUTS * OUTPUTS, 1);
  pare__onnx_model *model = model_new(17);
  model_input(model, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, INPUTS});
  model_constant(model, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){INPUTS, OUTPUTS}, w);
  model_node(model, "MatMul", "x w", "y");
  model_output(model, "y");
  model_write(model, path);
  free(w);
}

/* The only element of a constant of a model. */
static double scalar(const char *path, const char *name) {
  pare__onnx_model *model;
  double out = NAN;
  OK(pare__onnx_open(path, &model));
  for (size_t i = 0; i < model->graph->initializer.count; i++) {
    const pare__onnx_tensor *tensor = &model->graph->initializer.items[i];
    pare__onnx_data data;
    if (strcmp(tensor->name, name) != 0) continue;
    OK(pare__onnx_tensor_data(model->source, tensor, &data));
    ck_assert_int_eq(data.count, 1);
    float value;
    if (data.nbytes == sizeof value)
      memcpy(&value, data.data, sizeof value);
    else
      value = *(const uint8_t *)data.data;
    out = value;
    pare__onnx_data_close(&data);
  }
  pare__onnx_close(model);
  ck_assert_msg(!isnan(out), "no constant %s", name);
  return out;
}

/* The range of x that a model of static activations was given. */
static struct ends static_range(const char *observer) {
  char text[256];
  pare_recipe *recipe;
  snprintf(text, sizeof text,
           "pare: 1\nmodifiers:\n- quantize: {scheme: W8A8, dynamic: false, observer: %s, percentile: 98}\n", observer);
  OK(pare_recipe_parse(text, strlen(text), "text", &recipe));
  OK(pare_recipe_calibrate(recipe, path_of("x.npz")));
  OK(pare_compress(context, path_of("model.onnx"), path_of("out.onnx"), recipe, NULL, NULL));
  pare_recipe_close(recipe);
  const double scale = scalar(path_of("out.onnx"), "x_scale"), zero = scalar(path_of("out.onnx"), "x_zero_point");
  return (struct ends){-zero * scale, (255 - zero) * scale};
}

START_TEST(observers_hold_for_static_activations) {
  const int64_t n = SAMPLES * INPUTS;
  float *x = with_outliers(n, 2);
  pare_array array = {.name = "x", .dtype = PARE_F32, .rank = 2, .dim = {SAMPLES, INPUTS}, .data = x};
  array.nbytes = (size_t)n * sizeof *x;
  write_model(path_of("model.onnx"));
  OK(pare_arrays_write(path_of("x.npz"), 1, &array, false));
  const struct ends whole = ends_of(x, n), all = static_range("minmax"), part = static_range("percentile"),
                    best = static_range("mse");
  const double step = (whole.high - whole.low) / 255;
  ck_assert_double_eq_tol(all.high - all.low, whole.high - whole.low, 1e-4 * step);
  ck_assert_double_eq_tol(all.high, whole.high, step / 2 * 1.001);
  const double error = error_on(x, n, best.low, best.high), least = least_error(x, n);
  ck_assert_msg(error <= 1.03 * least && error <= 0.8 * error_on(x, n, whole.low, whole.high),
                "%g, where %g is possible, and %g by minimum and maximum", error, least,
                error_on(x, n, whole.low, whole.high));
  /* the k-th smallest and largest of n, to a bin and the rounding of the zero point */
  const int64_t k = 1 + (int64_t)((1 - 0.98) * (double)n);
  qsort(x, (size_t)n, sizeof *x, ascending);
  const double near = (whole.high - whole.low) / PARE__HISTOGRAM_BINS + (part.high - part.low) / 255 / 2 * 1.001;
  ck_assert_double_eq_tol(part.low, x[k - 1], near);
  ck_assert_double_eq_tol(part.high, x[n - k], near);
  free(x);
}
END_TEST

/* One value, none, all the same: a range that holds 0 and them. */
START_TEST(histograms_of_nothing_much_have_ranges) {
  static const float given[] = {-3, 0, 5};
  for (size_t i = 0; i < PARE__COUNT(given); i++)
    for (size_t count = 0; count < 3; count++) {
      pare__histogram *histogram = calloc(1, sizeof *histogram);
      float range[2];
      histogram->low = histogram->high = given[i];
      for (size_t c = 0; c < count; c++) pare__histogram_add(histogram, &given[i], 1);
      for (int way = 0; way < 3; way++) {
        if (way == 2)
          pare__histogram_percentile(histogram, 0.99, range);
        else
          pare__histogram_least_error(histogram, 8, way == 1, range);
        ck_assert_float_eq(range[0], fminf(given[i], 0));
        ck_assert_float_eq(range[1], fmaxf(given[i], 0));
      }
      free(histogram);
    }
}
END_TEST

/* ---- tensors in pieces ---- */

/* 48 MiB, and what may be on the device of it. */
enum { ROWS = 12288, COLUMNS = 1024 };
#define ELEMENTS ((int64_t)ROWS * COLUMNS)
#define LIMIT "40MiB"

static float *write_tensor(const char *path) {
  const int64_t dim[] = {ROWS, COLUMNS};
  float *w = random_floats(ELEMENTS, 3);
  for (int64_t i = 0; i < ELEMENTS; i++)
    if (w[i] == 0) w[i] = 0.5F;
  w[5] = -2.5F;
  w[ELEMENTS - 7] = 3; /* in another piece */
  pare__safetensors_tensor tensor = {
      .name = "w.weight", .dtype = PARE__SAFETENSORS_F32, .rank = 2, .dim = dim, .data = w};
  OK(pare__safetensors_measure(&tensor));
  OK(pare__safetensors_write(path, &tensor, 1, NULL, 0));
  return w;
}

/* Compresses it under the limit. */
static void compress_limited(const char *modifier) {
  char text[256];
  pare_recipe *recipe;
  pare_context *limited;
  snprintf(text, sizeof text, "pare: 1\nmodifiers:\n- %s\n", modifier);
  OK(pare_recipe_parse(text, strlen(text), "text", &recipe));
  setenv("PARE_MEMORY", LIMIT, 1);
  OK(pare_context_open(NULL, &limited));
  unsetenv("PARE_MEMORY");
  OK(pare_compress(limited, path_of("in.safetensors"), path_of("out.safetensors"), recipe, NULL, NULL));
  pare_context_close(limited);
  pare_recipe_close(recipe);
}

static const void *data_of(const pare__safetensors *file, const char *name, size_t nbytes) {
  const pare__safetensors_tensor *tensor = pare__safetensors_find(file, name);
  ck_assert_msg(tensor && tensor->nbytes == nbytes, "%s", name);
  return tensor->data;
}

/* The scale of all codes, which are held against it; *error: the sum of squared errors. */
static double scale_of(const float *w, const char *modifier, double *error) {
  pare__safetensors file;
  float scale;
  compress_limited(modifier);
  OK(pare__safetensors_open(path_of("out.safetensors"), &file));
  memcpy(&scale, data_of(&file, "w.weight_scale", sizeof scale), sizeof scale);
  const int8_t *codes = data_of(&file, "w.weight", ELEMENTS);
  *error = 0;
  int64_t wrong = 0;
  for (int64_t i = 0; i < ELEMENTS; i++) {
    const double off = w[i] - (double)scale * codes[i];
    wrong += fabs(off) > scale / 2 * 1.0001 && (abs(codes[i]) != 127 || fabs(w[i]) < 127 * (double)scale);
    *error += off * off;
  }
  ck_assert_int_eq(wrong, 0);
  pare__safetensors_close(&file);
  return scale;
}

START_TEST(a_tensor_in_pieces_has_one_scale) {
  float *w = write_tensor(path_of("in.safetensors"));
  double of_all, of_part, of_best;
  const double all = scale_of(w, "quantize: {num_bits: 8, strategy: tensor}", &of_all),
               part = scale_of(w, "quantize: {num_bits: 8, strategy: tensor, observer: percentile, percentile: 99}",
                               &of_part),
               best = scale_of(w, "quantize: {num_bits: 8, strategy: tensor, observer: mse}", &of_best);
  ck_assert_float_eq((float)all, 3.0F / 127);
  const int64_t k = 1 + (int64_t)((1 - 0.99) * (double)ELEMENTS);
  int64_t beyond = 0, reached = 0;
  for (int64_t i = 0; i < ELEMENTS; i++) {
    beyond += fabs(w[i]) > 127 * part * (1 + 1e-6);
    reached += fabs(w[i]) >= 127 * part * (1 - 1e-6);
  }
  ck_assert_msg(beyond < k && reached >= k, "%lld beyond, %lld reached, k = %lld", (long long)beyond,
                (long long)reached, (long long)k);
  ck_assert_msg(best < 0.5 * all && of_best < 0.2 * of_all && of_best <= 1.001 * of_part, "%g %g %g", of_all, of_part,
                of_best);
  free(w);
}
END_TEST

START_TEST(a_tensor_in_pieces_keeps_exactly_k) {
  float *w = write_tensor(path_of("in.safetensors"));
  pare__safetensors file;
  compress_limited("prune: {sparsity: 0.3, scope: tensor}");
  OK(pare__safetensors_open(path_of("out.safetensors"), &file));
  const float *left = data_of(&file, "w.weight", ELEMENTS * sizeof *left);
  double least = INFINITY, most = 0;
  int64_t kept = 0;
  for (int64_t i = 0; i < ELEMENTS; i++) {
    kept += left[i] != 0;
    if (left[i] != 0)
      least = fmin(least, fabs(w[i]));
    else
      most = fmax(most, fabs(w[i]));
  }
  ck_assert_int_eq(kept, llround(0.7 * (double)ELEMENTS));
  ck_assert_double_ge(least, most);
  pare__safetensors_close(&file);
  free(w);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("ranges");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, observers_hold_for_static_activations);
  tcase_add_test(tests, histograms_of_nothing_much_have_ranges);
  tcase_add_test(tests, a_tensor_in_pieces_has_one_scale);
  tcase_add_test(tests, a_tensor_in_pieces_keeps_exactly_k);
  return remove_folder(folder, run_tests("ranges", tests));
}
