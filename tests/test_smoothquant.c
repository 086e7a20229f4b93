/* SmoothQuant: who divides a layer's inputs, that the function stays the same before anything is rounded, and what
 * mappings say. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <pare/compress.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compress/calibration.h"
#include "compress/division.h"
#include "compress/plan.h"
#include "compress/rows.h"
#include "fixture.h"
#include "format/onnx.h"
#include "onnx_builder.h"

#define SAMPLES 8
#define POSITIONS 5
#define HEADS 2
#define PLACES 8
#define CHANNELS (HEADS * PLACES)
#define WIDE 24

static char folder[] = "/tmp/pare-test-smoothquant-XXXXXX";

static const char *path_of(const char *name) { return path_in(folder, name); }

static float *constant(pare__onnx_model *model, const char *name, int rank, const int64_t *dim, uint32_t seed) {
  float *values = random_floats(count_of(rank, dim), seed);
  model_constant(model, name, PARE__ONNX_FLOAT, rank, dim, values);
  return values;
}

#define DIM(...) ((const int64_t[]){__VA_ARGS__})

/* ---- models, and the same in double ---- */

/* y[rows, n] = x[rows, k] w[k, n] + bias; bias NULL: 0. */
static void multiply(int64_t rows, int64_t k, int64_t n, const double *x, const float *w, const float *bias,
                     double *y) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t j = 0; j < n; j++) {
      double sum = bias ? bias[j] : 0;
      for (int64_t i = 0; i < k; i++) sum += x[r * k + i] * w[i * n + j];
      y[r * n + j] = sum;
    }
}

struct model {
  float *scale, *bias, *first, *first_bias, *second; /* as the model at hand uses them */
};

static void free_model(struct model *model) {
  free(model->scale);
  free(model->bias);
  free(model->first);
  free(model->first_bias);
  free(model->second);
}

static pare__onnx_model *model_begin(void) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 3, DIM(-1, POSITIONS, CHANNELS));
  return onnx;
}

static void model_end(pare__onnx_model *onnx, const char *path) {
  model_output(onnx, "y");
  model_write(onnx, path);
}

/* A layer norm, read by two layers. */
static struct model norm(const char *path) {
  pare__onnx_model *onnx = model_begin();
  struct model model = {.scale = constant(onnx, "norm.weight", 1, DIM(CHANNELS), 1),
                        .bias = constant(onnx, "norm.bias", 1, DIM(CHANNELS), 2),
                        .first = constant(onnx, "first", 2, DIM(CHANNELS, WIDE), 3),
                        .second = constant(onnx, "second", 2, DIM(CHANNELS, WIDE), 4)};
  model_node(onnx, "LayerNormalization", "x norm.weight norm.bias", "n")->name = "norm";
  model_node(onnx, "MatMul", "n first", "a");
  model_node(onnx, "MatMul", "n second", "b");
  model_node(onnx, "Add", "a b", "y");
  model_end(onnx, path);
  return model;
}

static void norm_reference(const struct model *model, const double *x, int64_t rows, double *y) {
  double n[CHANNELS], a[WIDE], b[WIDE];
  for (int64_t r = 0; r < rows; r++) {
    const double *v = x + r * CHANNELS;
    double mean = 0, square = 0;
    for (int i = 0; i < CHANNELS; i++) mean += v[i] / CHANNELS;
    for (int i = 0; i < CHANNELS; i++) square += (v[i] - mean) * (v[i] - mean) / CHANNELS;
    for (int i = 0; i < CHANNELS; i++) n[i] = (v[i] - mean) / sqrt(square + 1e-5) * model->scale[i] + model->bias[i];
    multiply(1, CHANNELS, WIDE, n, model->first, NULL, a);
    multiply(1, CHANNELS, WIDE, n, model->second, NULL, b);
    for (int j = 0; j < WIDE; j++) y[r * WIDE + j] = a[j] + b[j];
  }
}

/* A Linear, its bias, Relu, a Linear. */
static struct model perceptron(const char *path) {
  pare__onnx_model *onnx = model_begin();
  struct model model = {.first = constant(onnx, "first", 2, DIM(CHANNELS, WIDE), 1),
                        .first_bias = constant(onnx, "first.bias", 1, DIM(WIDE), 2),
                        .second = constant(onnx, "second", 2, DIM(WIDE, WIDE), 3)};
  model_node(onnx, "MatMul", "x first", "h")->name = "first";
  model_node(onnx, "Add", "first.bias h", "hb");
  model_node(onnx, "Relu", "hb", "r");
  model_node(onnx, "MatMul", "r second", "y");
  model_end(onnx, path);
  return model;
}

static void perceptron_reference(const struct model *model, const double *x, int64_t rows, double *y) {
  double h[WIDE];
  for (int64_t r = 0; r < rows; r++) {
    multiply(1, CHANNELS, WIDE, x + r * CHANNELS, model->first, model->first_bias, h);
    for (int i = 0; i < WIDE; i++) h[i] = fmax(h[i], 0);
    multiply(1, WIDE, WIDE, h, model->second, NULL, y + r * WIDE);
  }
}

/* Values of an attention, whose weights are softmax(x x^T) for each head, and the layer after it. The shape of the
 * values is put together as exporters do it. */
static struct model attention(const char *path) {
  static const int64_t order[4] = {0, 2, 1, 3}, turned[4] = {0, 2, 3, 1};
  pare__onnx_model *onnx = model_begin();
  struct model model = {.first = constant(onnx, "values", 2, DIM(CHANNELS, CHANNELS), 1),
                        .first_bias = constant(onnx, "values.bias", 1, DIM(CHANNELS), 2),
                        .second = constant(onnx, "out", 2, DIM(CHANNELS, WIDE), 3)};
  model_constant(onnx, "front", PARE__ONNX_INT64, 1, DIM(2), DIM(0, 0));
  model_constant(onnx, "heads", PARE__ONNX_INT64, 1, DIM(1), DIM(HEADS));
  model_constant(onnx, "places", PARE__ONNX_INT64, 1, DIM(1), DIM(PLACES));
  model_constant(onnx, "joined", PARE__ONNX_INT64, 1, DIM(3), DIM(0, 0, CHANNELS));
  node_int(onnx, model_node(onnx, "Concat", "front heads places", "shape"), "axis", 0);
  model_node(onnx, "Reshape", "x shape", "xs");
  node_ints(onnx, model_node(onnx, "Transpose", "xs", "q"), "perm", 4, order);
  node_ints(onnx, model_node(onnx, "Transpose", "xs", "k"), "perm", 4, turned);
  model_node(onnx, "MatMul", "q k", "scores");
  model_node(onnx, "Softmax", "scores", "p");
  model_node(onnx, "MatMul", "x values", "v0")->name = "values";
  model_node(onnx, "Add", "v0 values.bias", "v1");
  model_node(onnx, "Reshape", "v1 shape", "v2");
  node_ints(onnx, model_node(onnx, "Transpose", "v2", "v3"), "perm", 4, order);
  model_node(onnx, "MatMul", "p v3", "c");
  node_ints(onnx, model_node(onnx, "Transpose", "c", "c1"), "perm", 4, order);
  model_node(onnx, "Reshape", "c1 joined", "c2");
  model_node(onnx, "MatMul", "c2 out", "y");
  model_end(onnx, path);
  return model;
}

static void attention_reference(const struct model *model, const double *x, int64_t rows, double *y) {
  double v[POSITIONS * CHANNELS], c[POSITIONS * CHANNELS];
  for (int64_t first = 0; first < rows; first += POSITIONS) {
    const double *sample = x + first * CHANNELS;
    multiply(POSITIONS, CHANNELS, CHANNELS, sample, model->first, model->first_bias, v);
    memset(c, 0, sizeof c);
    for (int h = 0; h < HEADS; h++) {
      for (int s = 0; s < POSITIONS; s++) {
        double p[POSITIONS], sum = 0;
        for (int t = 0; t < POSITIONS; t++) {
          p[t] = 0;
          for (int d = h * PLACES; d < (h + 1) * PLACES; d++)
            p[t] += sample[s * CHANNELS + d] * sample[t * CHANNELS + d];
          sum += p[t] = exp(p[t]);
        }
        for (int t = 0; t < POSITIONS; t++)
          for (int d = h * PLACES; d < (h + 1) * PLACES; d++) c[s * CHANNELS + d] += p[t] / sum * v[t * CHANNELS + d];
      }
    }
    multiply(POSITIONS, CHANNELS, WIDE, c, model->second, NULL, y + first * WIDE);
  }
}

/* A norm that is a product and a sum, as it was before there was an operator; something else reads its output. */
static struct model residual(const char *path) {
  pare__onnx_model *onnx = model_begin();
  struct model model = {.scale = constant(onnx, "scale", 1, DIM(CHANNELS), 1),
                        .bias = constant(onnx, "bias", 1, DIM(CHANNELS), 2),
                        .first = constant(onnx, "first", 2, DIM(CHANNELS, CHANNELS), 3),
                        .second = constant(onnx, "second", 2, DIM(CHANNELS, WIDE), 4)};
  model_node(onnx, "Mul", "scale x", "m");
  model_node(onnx, "Add", "m bias", "n");
  model_node(onnx, "MatMul", "n first", "f");
  model_node(onnx, "Add", "f n", "s");
  model_node(onnx, "Div", "s scale", "d")->name = "quotient";
  model_node(onnx, "MatMul", "d second", "y");
  model_end(onnx, path);
  return model;
}

static void residual_reference(const struct model *model, const double *x, int64_t rows, double *y) {
  double n[CHANNELS], f[CHANNELS];
  for (int64_t r = 0; r < rows; r++) {
    for (int i = 0; i < CHANNELS; i++) n[i] = x[r * CHANNELS + i] * model->scale[i] + model->bias[i];
    multiply(1, CHANNELS, CHANNELS, n, model->first, NULL, f);
    for (int i = 0; i < CHANNELS; i++) f[i] = (f[i] + n[i]) / model->scale[i];
    multiply(1, CHANNELS, WIDE, f, model->second, NULL, y + r * WIDE);
  }
}

static const struct form {
  struct model (*write)(const char *path);
  void (*reference)(const struct model *model, const double *x, int64_t rows, double *y);
  int products;        /* Mul in the graph afterwards */
  const char *told[2]; /* of the layers, in the order of their weights: in treatment or reason */
} forms[] = {
    {norm, norm_reference, 0, {"smoothed in norm", "smoothed in norm"}},
    {perceptron, perceptron_reference, 1, {"a Mul divides its inputs: no node makes 'x'", "smoothed in first"}},
    {attention, attention_reference, 1, {"a Mul divides its inputs: Reshape 'xs'", "smoothed in values"}},
    {residual, residual_reference, 2, {"a Mul divides its inputs: Add 's'", "smoothed in quotient"}},
};

/* ---- before anything is rounded ---- */

static float *save_samples(const char *path) {
  float *x = random_floats((int64_t)SAMPLES * POSITIONS * CHANNELS, 9);
  for (int64_t i = 0; i < SAMPLES * POSITIONS * CHANNELS; i++) x[i] *= i % CHANNELS == 3 ? 8 : i % 5 == 0 ? 0.1F : 1;
  const pare_array array = {.name = "x",
                            .dtype = PARE_F32,
                            .rank = 3,
                            .dim = {SAMPLES, POSITIONS, CHANNELS},
                            .data = x,
                            .nbytes = sizeof(float) * SAMPLES * POSITIONS * CHANNELS};
  OK(pare_arrays_write(path, 1, &array, false));
  return x;
}

static pare_recipe *recipe_of(const char *fields) {
  char text[512];
  pare_recipe *recipe;
  snprintf(text, sizeof text, "pare: 1\nmodifiers:\n- smoothquant: {%s}\n- quantize: {scheme: W8A8, targets: Linear}\n",
           fields);
  OK(pare_recipe_parse(text, strlen(text), "r.yaml", &recipe));
  OK(pare_recipe_calibrate(recipe, path_of("x.npz")));
  return recipe;
}

/* Writes the model smoothed, but not quantised. */
static void write_smoothed(const char *in, const char *out) {
  pare_recipe *recipe = recipe_of("smoothing_strength: 0.5");
  void *state[2] = {NULL};
  pare__compression compression = {.context = context, .all = context, .recipe = recipe, .state = state};
  OK(pare__checkpoint_open(in, &compression.checkpoint));
  OK(pare__plan(recipe, compression.checkpoint, &compression.treatments));
  OK(pare__calibration_open(&compression, path_of("x.npz"), &compression.calibration));
  OK(recipe->modifiers[0].method->prepare(&compression, 0));
  for (size_t i = 0; i < compression.checkpoint->nweights; i++)
    if (compression.treatments[i].storage == PARE__STORE_INTEGER)
      compression.treatments[i].storage = PARE__STORE_VALUES;
  const pare__producer producer = pare__rows_producer(&compression);
  char *companion = NULL;
  const pare__write_request request = {.path = out, .final_path = out, .recipe = "{}", .companion = &companion};
  OK(compression.checkpoint->format->write(compression.checkpoint, compression.treatments, &producer, &request));
  ck_assert_ptr_null(companion);
  pare__calibration_close(compression.calibration);
  free(compression.treatments);
  pare__checkpoint_close(compression.checkpoint);
  pare__arena_clear(&compression.arena);
  pare_recipe_close(recipe);
}

static int count_nodes(const char *path, const char *op_type) {
  pare__onnx_model *model;
  int count = 0;
  OK(pare__onnx_open(path, &model));
  for (size_t i = 0; i < model->graph->node.count; i++)
    count += strcmp(model->graph->node.items[i].op_type, op_type) == 0;
  pare__onnx_close(model);
  return count;
}

static float *outputs_of(const char *path, const float *x) {
  pare_model *model;
  pare_tensor *in = tensor_of(PARE_F32, 3, DIM(SAMPLES, POSITIONS, CHANNELS), x), *out;
  OK(pare_model_open(context, path, NULL, &model));
  OK(pare_model_run(model, &in, NULL, &out));
  float *values = floats_of(out);
  pare_tensor_close(out);
  pare_tensor_close(in);
  pare_model_close(model);
  return values;
}

START_TEST(a_smoothed_model_is_the_same_function) {
  const struct form *form = &forms[_i];
  const int64_t rows = SAMPLES * POSITIONS;
  float *x = save_samples(path_of("x.npz"));
  struct model model = form->write(path_of("model.onnx"));
  write_smoothed(path_of("model.onnx"), path_of("smoothed.onnx"));
  ck_assert_int_eq(count_nodes(path_of("smoothed.onnx"), "Mul"), form->products);
  double *wide = calloc((size_t)(rows * CHANNELS), sizeof *wide), *y = calloc((size_t)(rows * WIDE), sizeof *y);
  for (int64_t i = 0; i < rows * CHANNELS; i++) wide[i] = x[i];
  form->reference(&model, wide, rows, y);
  float *before = outputs_of(path_of("model.onnx"), x), *found = outputs_of(path_of("smoothed.onnx"), x);
  double largest = 0;
  for (int64_t i = 0; i < rows * WIDE; i++) largest = fmax(largest, fabs(y[i]));
  for (int64_t i = 0; i < rows * WIDE; i++) {
    ck_assert_msg(fabs(before[i] - y[i]) <= 1e-5 * largest, "the model: %g, not %g", before[i], y[i]);
    ck_assert_msg(fabs(found[i] - y[i]) <= 1e-5 * largest, "smoothed: %g, not %g", found[i], y[i]);
  }
  free(before);
  free(found);
  free(wide);
  free(y);
  free(x);
  free_model(&model);
}
END_TEST

/* ---- what is told ---- */

static void check_told(const pare_report *report, const struct form *form) {
  pare_report_summary summary;
  size_t next = 0;
  OK(pare_report_get(report, &summary));
  for (size_t i = 0; i < summary.ntensors; i++) {
    pare_report_tensor tensor;
    OK(pare_report_tensor_get(report, i, &tensor));
    if (strcmp(tensor.role, "Linear") != 0) continue;
    ck_assert_msg(strstr(tensor.treatment, form->told[next]) || strstr(tensor.reason, form->told[next]),
                  "'%s', '%s': '%s' is expected", tensor.treatment, tensor.reason, form->told[next]);
    next++;
  }
  ck_assert_uint_eq(next, 2);
}

START_TEST(the_plan_and_the_report_say_who_divides) {
  const struct form *form = &forms[_i];
  pare_recipe *recipe = recipe_of("smoothing_strength: 0.5");
  pare_report *report;
  free(save_samples(path_of("x.npz")));
  struct model model = form->write(path_of("model.onnx"));
  OK(pare_compress_plan(path_of("model.onnx"), recipe, NULL, &report));
  check_told(report, form);
  pare_report_close(report);
  pare_compress_options options = PARE_COMPRESS_OPTIONS_INIT;
  options.sensitivity = true; /* each tensor alone makes what it always made */
  OK(pare_compress(context, path_of("model.onnx"), path_of("out.onnx"), recipe, &options, &report));
  check_told(report, form);
  pare_report_summary summary;
  OK(pare_report_get(report, &summary));
  for (size_t i = 0; i < summary.ntensors; i++) {
    pare_report_tensor tensor;
    OK(pare_report_tensor_get(report, i, &tensor));
    if (tensor.tried_alone) ck_assert_msg(tensor.outputs_alone.cosine >= 0.999, "%g", tensor.outputs_alone.cosine);
  }
  pare_report_close(report);
  pare_recipe_close(recipe);
  free_model(&model);
}
END_TEST

static const struct mapping {
  const char *fields, *error; /* NULL: it is taken */
} mappings[] = {
    {"mappings: [[[second], first]]", NULL},         {"mappings: [[second, 're:fir.*']]", NULL},
    {"mappings: [[['s*'], '*.bias']]", NULL},        {"mappings: [[second, norm]]", "that is 'first'"},
    {"mappings: [[first, x]]", "no node makes 'x'"}, {"mappings: [[[second, third], first]]", "'third' fits no Linear"},
};

START_TEST(mappings_say_which_layers_and_what_divides) {
  const struct mapping *mapping = &mappings[_i];
  pare_recipe *recipe = recipe_of(mapping->fields);
  pare_report *report;
  free(save_samples(path_of("x.npz")));
  struct model model = perceptron(path_of("model.onnx"));
  const pare_status status = pare_compress_plan(path_of("model.onnx"), recipe, NULL, &report);
  if (mapping->error) {
    ck_assert_int_eq(status, PARE_ERR_FORMAT);
    ck_assert_msg(strstr(pare_message(), mapping->error) && strstr(pare_message(), "r.yaml:3:"), "%s", pare_message());
  } else {
    pare_report_tensor tensor;
    OK(status);
    OK(pare_report_tensor_get(report, 0, &tensor)); /* no mapping names it */
    ck_assert(strstr(tensor.treatment, "smoothed") == NULL && *tensor.reason == '\0');
    OK(pare_report_tensor_get(report, 2, &tensor));
    ck_assert_msg(strstr(tensor.treatment, "smoothed in first") != NULL, "'%s'", tensor.treatment);
    pare_report_close(report);
  }
  pare_recipe_close(recipe);
  free_model(&model);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("smoothquant");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_set_timeout(tests, 300);
  tcase_add_loop_test(tests, a_smoothed_model_is_the_same_function, 0, (int)(sizeof forms / sizeof *forms));
  tcase_add_loop_test(tests, the_plan_and_the_report_say_who_divides, 0, (int)(sizeof forms / sizeof *forms));
  tcase_add_loop_test(tests, mappings_say_which_layers_and_what_divides, 0, (int)(sizeof mappings / sizeof *mappings));
  return remove_folder(folder, run_tests("smoothquant", tests));
}
