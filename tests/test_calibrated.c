/* Compression with calibration data: what is refused, statistics against what the model does, and what GPTQ and
 * SmoothQuant gain. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <pare/compress.h>
#include <pare/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compress/calibration.h"
#include "compress/layer_input.h"
#include "fixture.h"
#include "onnx_builder.h"

#define SAMPLES 40
#define INPUTS 64
#define HIDDEN 48
#define OUTPUTS 32

static char folder[] = "/tmp/pare-test-calibrated-XXXXXX";

static const char *path_of(const char *name) { return path_in(folder, name); }

static void save(const char *path, const char *name, pare_dtype dtype, int rank, const int64_t *dim, const void *data) {
  pare_array array = {.name = name, .dtype = dtype, .rank = rank, .data = data, .nbytes = pare_dtype_bytes(dtype)};
  for (int d = 0; d < rank; d++) {
    array.dim[d] = dim[d];
    array.nbytes *= (size_t)dim[d];
  }
  OK(pare_arrays_write(path, 1, &array, false));
}

/* x [n, INPUTS], MatMul, Relu, MatMul: a model whose inputs resemble each other, and have outliers. */
static float *write_perceptron(const char *path) {
  pare__onnx_model *onnx = model_new(17);
  float *first = random_floats(INPUTS * HIDDEN, 1), *second = random_floats(HIDDEN * OUTPUTS, 2);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, INPUTS});
  model_constant(onnx, "first", PARE__ONNX_FLOAT, 2, (const int64_t[]){INPUTS, HIDDEN}, first);
  model_constant(onnx, "second", PARE__ONNX_FLOAT, 2, (const int64_t[]){HIDDEN, OUTPUTS}, second);
  model_node(onnx, "MatMul", "x first", "h");
  model_node(onnx, "Relu", "h", "r");
  model_node(onnx, "MatMul", "r second", "y");
  model_output(onnx, "y");
  model_write(onnx, path);
  free(first);
  free(second);
  float *x = random_floats((int64_t)SAMPLES * INPUTS, 3);
  for (int64_t i = 0; i < SAMPLES * INPUTS; i++) {
    if (i % INPUTS > 0) x[i] += 0.9F * x[i - 1];
    if (i % INPUTS == 17) x[i] *= 60;
  }
  return x;
}

/* report NULL: none. */
static pare_status reported(const char *in, const char *out, const char *data, const char *prune, const char *quantize,
                            pare_report **report) {
  pare_recipe *recipe;
  OK(pare_recipe_create(&recipe));
  if (data) OK(pare_recipe_calibrate(recipe, data));
  if (prune) OK(pare_recipe_prune(recipe, prune));
  OK(pare_recipe_quantize(recipe, quantize));
  const pare_status status = pare_compress(context, in, out, recipe, NULL, report);
  pare_recipe_close(recipe);
  return status;
}

static pare_status compressed(const char *in, const char *out, const char *data, const char *prune,
                              const char *quantize) {
  return reported(in, out, data, prune, quantize, NULL);
}

/* The first output of a model for these inputs; to be freed. */
static float *outputs_of(const char *path, int rank, const int64_t *dim, const float *x) {
  pare_model *model;
  pare_tensor *in = tensor_of(PARE_F32, rank, dim, x), *out;
  OK(pare_model_open(context, path, NULL, &model));
  OK(pare_model_run(model, &in, NULL, &out));
  float *values = floats_of(out);
  pare_tensor_close(out);
  pare_tensor_close(in);
  pare_model_close(model);
  return values;
}

static double distance(const float *a, const float *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
  return sum;
}

/* ---- what is refused ---- */

static void refused(const char *data, pare_status status, const char *text) {
  const pare_status got = compressed(path_of("model.onnx"), path_of("out.onnx"), data, NULL, "int4");
  ck_assert_msg(got == status, "%s: %s", pare_status_name(got), got == PARE_OK ? "it was taken" : pare_message());
  ck_assert_msg(strstr(pare_message(), text) != NULL, "'%s' lacks '%s'", pare_message(), text);
  ck_assert_int_ne(access(path_of("out.onnx"), F_OK), 0);
}

START_TEST(data_that_does_not_fit_is_refused_with_the_input_named) {
  float *x = write_perceptron(path_of("model.onnx"));
  const int64_t dim[2] = {SAMPLES, INPUTS}, narrow[2] = {SAMPLES, 32}, none[2] = {0, INPUTS};
  double wide[INPUTS] = {0};
  save(path_of("other.npz"), "z", PARE_F32, 2, dim, x);
  refused(path_of("other.npz"), PARE_ERR_ARGUMENT, "'x'");
  save(path_of("narrow.npz"), "x", PARE_F32, 2, narrow, x);
  refused(path_of("narrow.npz"), PARE_ERR_SHAPE, "'x'");
  save(path_of("empty.npz"), "x", PARE_F32, 2, none, x);
  refused(path_of("empty.npz"), PARE_ERR_ARGUMENT, "'x'");
  save(path_of("wide.npz"), "x", PARE_F64, 2, (const int64_t[]){1, INPUTS}, wide);
  refused(path_of("wide.npz"), PARE_ERR_TYPE, "'x'");
  x[70] = NAN;
  save(path_of("nan.npz"), "x", PARE_F32, 2, dim, x);
  refused(path_of("nan.npz"), PARE_ERR_FORMAT, "element 70");
  refused(path_of("missing.npz"), PARE_ERR_IO, "missing.npz");
  free(x);
}
END_TEST

/* What only running the model shows: its shapes do not go together, an index is beyond the table. */
START_TEST(data_that_the_model_cannot_run_on_is_refused_with_the_input_named) {
  enum { ENTRIES = 10 };
  pare__onnx_model *onnx = model_new(17);
  float *table = random_floats(ENTRIES * INPUTS, 1), *weight = random_floats(INPUTS * HIDDEN, 2);
  const int64_t two[] = {-1, -1}, dim[] = {2, 3};
  int64_t ids[6] = {1, 2, 3, 4, 5, ENTRIES};
  model_input(onnx, "ids", PARE__ONNX_INT64, 2, two);
  model_constant(onnx, "table", PARE__ONNX_FLOAT, 2, (const int64_t[]){ENTRIES, INPUTS}, table);
  model_constant(onnx, "weight", PARE__ONNX_FLOAT, 2, (const int64_t[]){INPUTS, HIDDEN}, weight);
  model_node(onnx, "Gather", "table ids", "h");
  model_node(onnx, "MatMul", "h weight", "y");
  model_output(onnx, "y");
  model_write(onnx, path_of("model.onnx"));
  save(path_of("beyond.npz"), "ids", PARE_I64, 2, dim, ids);
  static const char *const forms[] = {"int4", "w8a8", "f16"}; /* which nothing but the verification runs */
  for (size_t i = 0; i < PARE__COUNT(forms); i++) {
    ck_assert_int_eq(compressed(path_of("model.onnx"), path_of("out.onnx"), path_of("beyond.npz"), NULL, forms[i]),
                     PARE_ERR_ARGUMENT);
    ck_assert_msg(strstr(pare_message(), "beyond.npz does not fit the model: samples 0 to 1 (ids [2, 3]): ") != NULL,
                  "%s", pare_message());
    ck_assert_int_ne(access(path_of("out.onnx"), F_OK), 0);
  }
  ids[5] = 0;
  save(path_of("within.npz"), "ids", PARE_I64, 2, dim, ids);
  OK(compressed(path_of("model.onnx"), path_of("out.onnx"), path_of("within.npz"), NULL, "w8a8"));
  remove(path_of("out.onnx"));
  free(table);
  free(weight);
}
END_TEST

/* ---- statistics ---- */

/* A convolution with one output channel, [2, 4, 7, 6] with uneven borders, strides and dilations. */
START_TEST(the_hessian_of_a_convolution_foretells_the_size_of_its_outputs) {
  enum { CHANNELS = 4, POSITIONS = 6 };
  const int64_t dim[4] = {5, CHANNELS, 7, 6};
  float *w = random_floats(CHANNELS * POSITIONS, 11), *x = random_floats(count_of(4, dim), 12);
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){-1, CHANNELS, 7, 6});
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 4, (const int64_t[]){1, CHANNELS, 3, 2}, w);
  pare__onnx_node *node = model_node(onnx, "Conv", "x w", "y");
  node_ints(onnx, node, "strides", 2, (const int64_t[]){2, 1});
  node_ints(onnx, node, "dilations", 2, (const int64_t[]){1, 2});
  node_ints(onnx, node, "pads", 4, (const int64_t[]){1, 0, 0, 2});
  model_output(onnx, "y");
  model_write(onnx, path_of("convolution.onnx"));
  save(path_of("images.npz"), "x", PARE_F32, 4, dim, x);

  pare__compression compression = {.context = context, .all = context};
  const pare__statistics *statistics;
  const char *reason;
  OK(pare__checkpoint_open(path_of("convolution.onnx"), &compression.checkpoint));
  OK(pare__calibration_open(&compression, path_of("images.npz"), &compression.calibration));
  OK(pare__calibration_want(compression.calibration, 0, PARE__NEEDS_HESSIAN | PARE__NEEDS_RANGES, &reason));
  ck_assert_ptr_null(reason);
  OK(pare__calibration_statistics(compression.calibration, 0, PARE__NEEDS_HESSIAN, &statistics));
  ck_assert_int_eq(statistics->inputs, CHANNELS * POSITIONS);
  float *hessian = floats_of(statistics->hessian), *y = outputs_of(path_of("convolution.onnx"), 4, dim, x);
  const int64_t noutputs = 5 * 3 * 6;
  ck_assert_uint_eq(statistics->nrows, (uint64_t)noutputs);
  double expected = 0, found = 0;
  for (int64_t i = 0; i < noutputs; i++) expected += (double)y[i] * y[i];
  for (int64_t i = 0; i < CHANNELS * POSITIONS; i++)
    for (int64_t j = 0; j < CHANNELS * POSITIONS; j++) /* canonical: positions, then channels */
      found += (double)w[i % CHANNELS * POSITIONS + i / CHANNELS] * w[j % CHANNELS * POSITIONS + j / CHANNELS] *
               hessian[i * CHANNELS * POSITIONS + j];
  ck_assert(fabs(found / expected - 1) <= 1e-4);
  for (int64_t i = 0; i < CHANNELS * POSITIONS; i++) {
    ck_assert_float_eq_tol(statistics->squares[i], hessian[i * CHANNELS * POSITIONS + i], 1e-3F);
    ck_assert_float_le(statistics->least[i], 0);
    ck_assert_float_ge(statistics->most[i], 0);
  }
  free(y);
  free(hessian);
  pare__calibration_close(compression.calibration);
  pare__checkpoint_close(compression.checkpoint);
  free(x);
  free(w);
}
END_TEST

/* x * factor, MatMul: the factor is an input with a default of 1 if `given`, else a constant of this value. */
static void write_scaled(const char *path, const float *weight, bool given, float factor) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, INPUTS});
  if (given) model_input(onnx, "factor", PARE__ONNX_FLOAT, 1, (const int64_t[]){1});
  model_constant(onnx, "factor", PARE__ONNX_FLOAT, 1, (const int64_t[]){1}, &factor);
  model_constant(onnx, "weight", PARE__ONNX_FLOAT, 2, (const int64_t[]){INPUTS, HIDDEN}, weight);
  model_node(onnx, "Mul", "x factor", "h");
  model_node(onnx, "MatMul", "h weight", "y");
  model_output(onnx, "y");
  model_write(onnx, path);
}

/* Squares of what the layer sees of the data, INPUTS of them; to be freed. */
static float *squares_of(const char *model, const char *data) {
  pare__compression compression = {.context = context, .all = context};
  const pare__statistics *statistics;
  const char *reason;
  OK(pare__checkpoint_open(model, &compression.checkpoint));
  OK(pare__calibration_open(&compression, data, &compression.calibration));
  size_t weight = 0;
  while (strcmp(compression.checkpoint->weights[weight].name, "weight") != 0) weight++;
  OK(pare__calibration_want(compression.calibration, weight, PARE__NEEDS_RANGES, &reason));
  OK(pare__calibration_statistics(compression.calibration, weight, PARE__NEEDS_RANGES, &statistics));
  float *squares = malloc(INPUTS * sizeof *squares);
  memcpy(squares, statistics->squares, INPUTS * sizeof *squares);
  pare__calibration_close(compression.calibration);
  pare__checkpoint_close(compression.checkpoint);
  return squares;
}

START_TEST(a_value_given_for_an_input_with_a_default_counts) {
  const float factor = 3;
  const int64_t dim[] = {SAMPLES, INPUTS};
  float *weight = random_floats(INPUTS * HIDDEN, 5), *x = random_floats((int64_t)SAMPLES * INPUTS, 6);
  write_scaled(path_of("default.onnx"), weight, true, 1);
  write_scaled(path_of("constant.onnx"), weight, false, factor);
  pare_array arrays[2] = {
      {.name = "x",
       .dtype = PARE_F32,
       .rank = 2,
       .dim = {dim[0], dim[1]},
       .data = x,
       .nbytes = sizeof *x * SAMPLES * INPUTS},
      {.name = "factor", .dtype = PARE_F32, .rank = 1, .dim = {1}, .data = &factor, .nbytes = sizeof factor}};
  OK(pare_arrays_write(path_of("given.npz"), 2, arrays, false));
  save(path_of("x.npz"), "x", PARE_F32, 2, dim, x);
  float *given = squares_of(path_of("default.onnx"), path_of("given.npz")),
        *expected = squares_of(path_of("constant.onnx"), path_of("x.npz")),
        *left = squares_of(path_of("default.onnx"), path_of("x.npz"));
  for (int i = 0; i < INPUTS; i++) {
    ck_assert_float_eq_tol(given[i], expected[i], 1e-5F * expected[i]);
    ck_assert_float_eq_tol(9 * left[i], expected[i], 1e-5F * expected[i]);
  }
  /* and what is written is verified with it */
  OK(compressed(path_of("default.onnx"), path_of("small.onnx"), path_of("given.npz"), NULL, "int8"));
  save(path_of("alone.npz"), "factor", PARE_F32, 1, (const int64_t[]){1}, &factor);
  ck_assert_int_ne(compressed(path_of("default.onnx"), path_of("small.onnx"), path_of("alone.npz"), NULL, "int8"),
                   PARE_OK);
  ck_assert_msg(strstr(pare_message(), "'x'") != NULL, "%s", pare_message());
  free(given);
  free(expected);
  free(left);
  free(weight);
  free(x);
}
END_TEST

/* ---- what it gains ---- */

static const struct gain {
  const char *prune, *quantize;
  double most; /* error calibrated, of the error without */
} gains[] = {{NULL, "int4", 0.8}, {NULL, "int8", 0.8}, {"2:4", "int8", 0.8}, {NULL, "w8a8", 0.5}, {"2:4", "w8a8", 0.9}};

START_TEST(outputs_on_calibration_data_are_nearer) {
  const struct gain *gain = &gains[_i];
  const int64_t dim[2] = {SAMPLES, INPUTS}, n = SAMPLES * OUTPUTS;
  float *x = write_perceptron(path_of("model.onnx"));
  save(path_of("x.npz"), "x", PARE_F32, 2, dim, x);
  OK(compressed(path_of("model.onnx"), path_of("plain.onnx"), NULL, gain->prune, gain->quantize));
  OK(compressed(path_of("model.onnx"), path_of("calibrated.onnx"), path_of("x.npz"), gain->prune, gain->quantize));
  float *y = outputs_of(path_of("model.onnx"), 2, dim, x), *plain = outputs_of(path_of("plain.onnx"), 2, dim, x),
        *calibrated = outputs_of(path_of("calibrated.onnx"), 2, dim, x);
  const double without = distance(y, plain, n), with = distance(y, calibrated, n);
  ck_assert_msg(with <= gain->most * without, "%s %s: %g of %g", gain->prune ? gain->prune : "", gain->quantize, with,
                without);
  free(y);
  free(plain);
  free(calibrated);
  free(x);
}
END_TEST

/* The mask chosen while weights are quantised costs less than the largest weights, rounded. */
START_TEST(a_mask_chosen_by_gptq_costs_less_than_one_by_magnitude) {
  static const char text[] = "pare: 1\nmodifiers:\n- gptq:\n    scheme: W8A16\n    mask_structure: 2:4\n";
  static const char wrong[] = "pare: 1\nmodifiers:\n- gptq:\n    scheme: W8A16\n    mask_structure: 4:2\n";
  const int64_t dim[2] = {SAMPLES, INPUTS}, n = SAMPLES * OUTPUTS;
  float *x = write_perceptron(path_of("model.onnx"));
  pare_recipe *recipe;
  pare_report *report;
  pare_report_tensor tensor;
  save(path_of("x.npz"), "x", PARE_F32, 2, dim, x);
  ck_assert_int_eq(pare_recipe_parse(wrong, strlen(wrong), "wrong", &recipe), PARE_ERR_FORMAT);
  OK(pare_recipe_parse(text, strlen(text), "text", &recipe));
  OK(pare_recipe_calibrate(recipe, path_of("x.npz")));
  OK(pare_compress(context, path_of("model.onnx"), path_of("chosen.onnx"), recipe, NULL, &report));
  OK(pare_report_tensor_get(report, 0, &tensor));
  ck_assert_msg(tensor.kept <= 0.5 && strstr(tensor.treatment, "2:4") != NULL, "'%s'", tensor.treatment);
  pare_report_close(report);
  pare_recipe_close(recipe);
  OK(compressed(path_of("model.onnx"), path_of("plain.onnx"), NULL, "2:4", "int8"));
  float *y = outputs_of(path_of("model.onnx"), 2, dim, x), *plain = outputs_of(path_of("plain.onnx"), 2, dim, x),
        *chosen = outputs_of(path_of("chosen.onnx"), 2, dim, x);
  const double without = distance(y, plain, n), with = distance(y, chosen, n);
  ck_assert_msg(with <= 0.8 * without, "%g of %g", with, without);
  free(y);
  free(plain);
  free(chosen);
  free(x);
}
END_TEST

/* ---- in sequence ---- */

/* Four layers, one after the other: a convolution, one whose kernel is not symmetric, and two products, the last with
 * its weight as [N, K]. */
static void write_chain(const char *path) {
  float *a = random_floats(8 * 4 * 9, 21), *b = random_floats(6 * 8 * 6, 22), *c = random_floats(6 * 5 * 24, 23),
        *d = random_floats(16 * 24, 24);
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 4, (const int64_t[]){-1, 4, 6, 6});
  model_constant(onnx, "a", PARE__ONNX_FLOAT, 4, (const int64_t[]){8, 4, 3, 3}, a);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 4, (const int64_t[]){6, 8, 2, 3}, b);
  model_constant(onnx, "c", PARE__ONNX_FLOAT, 2, (const int64_t[]){30, 24}, c);
  model_constant(onnx, "d", PARE__ONNX_FLOAT, 2, (const int64_t[]){16, 24}, d);
  model_constant(onnx, "flat", PARE__ONNX_INT64, 1, (const int64_t[]){2}, (const int64_t[]){-1, 30});
  model_node(onnx, "Conv", "x a", "h");
  model_node(onnx, "Relu", "h", "r");
  pare__onnx_node *conv = model_node(onnx, "Conv", "r b", "s");
  node_ints(onnx, conv, "strides", 2, (const int64_t[]){3, 1});
  node_ints(onnx, conv, "pads", 4, (const int64_t[]){0, 1, 0, 2});
  model_node(onnx, "Relu", "s", "t");
  model_node(onnx, "Reshape", "t flat", "u");
  model_node(onnx, "MatMul", "u c", "v");
  model_node(onnx, "Relu", "v", "w");
  pare__onnx_node *gemm = model_node(onnx, "Gemm", "w d", "y");
  node_int(onnx, gemm, "transB", 1);
  model_output(onnx, "y");
  model_write(onnx, path);
  free(a);
  free(b);
  free(c);
  free(d);
}

/* Compressed by gptq with these fields; the outputs. */
static float *outputs_by(const char *fields, int rank, const int64_t *dim, const float *x) {
  char text[256];
  pare_recipe *recipe;
  snprintf(text, sizeof text, "pare: 1\nmodifiers:\n- gptq: {%s}\n", fields);
  OK(pare_recipe_parse(text, strlen(text), "text", &recipe));
  OK(pare_recipe_calibrate(recipe, path_of("x.npz")));
  OK(pare_compress(context, path_of("model.onnx"), path_of("made.onnx"), recipe, NULL, NULL));
  pare_recipe_close(recipe);
  return outputs_of(path_of("made.onnx"), rank, dim, x);
}

#define COARSE "num_bits: 3, strategy: channel, targets: [Linear, Conv]"

START_TEST(layers_in_sequence_make_up_for_those_before) {
  const int64_t dim[4] = {SAMPLES, 4, 6, 6}, n = SAMPLES * 16;
  float *x = random_floats(count_of(4, dim), 30);
  write_chain(path_of("model.onnx"));
  save(path_of("x.npz"), "x", PARE_F32, 4, dim, x);
  float *y = outputs_of(path_of("model.onnx"), 4, dim, x), *plain = outputs_by(COARSE, 4, dim, x),
        *corrected = outputs_by(COARSE ", sequential: true, correction: 1", 4, dim, x),
        *half = outputs_by(COARSE ", sequential: true, correction: 0.5", 4, dim, x);
  const double without = distance(y, plain, n), with = distance(y, corrected, n), between = distance(y, half, n);
  ck_assert_msg(with < 0.7 * without && between < 0.9 * without, "%g, half %g, of %g", with, between, without);
  free(x);
  free(y);
  free(plain);
  free(corrected);
  free(half);
}
END_TEST

/* With nothing before it a layer is quantised as without; and so are all if nothing that the model makes changes. */
START_TEST(the_first_layer_in_sequence_has_the_same_bits) {
  const int64_t dim[2] = {SAMPLES, INPUTS}, n = SAMPLES * OUTPUTS;
  static const char first[] = "num_bits: 4, strategy: group, targets: [first]";
  static const char sequence[] = "num_bits: 4, strategy: group, targets: [first], sequential: true, correction: 1";
  float *x = write_perceptron(path_of("model.onnx"));
  save(path_of("x.npz"), "x", PARE_F32, 2, dim, x);
  float *plain = outputs_by(first, 2, dim, x), *sequential = outputs_by(sequence, 2, dim, x);
  ck_assert_mem_eq(plain, sequential, (size_t)n * sizeof *plain);
  free(x);
  free(plain);
  free(sequential);
}
END_TEST

START_TEST(depths_count_the_layers_before) {
  pare__compression compression = {.context = context, .all = context};
  pare__layer_input inputs[5] = {{0}};
  bool changed[5] = {true, true, true, true, false};
  size_t depth[5];
  write_chain(path_of("model.onnx"));
  OK(pare__checkpoint_open(path_of("model.onnx"), &compression.checkpoint));
  const pare__onnx_checkpoint *checkpoint = (const pare__onnx_checkpoint *)compression.checkpoint;
  ck_assert_uint_eq(checkpoint->base.nweights, 5);
  pare__layer_inputs_find(checkpoint, inputs);
  OK(pare__layer_depths(checkpoint, inputs, changed, depth));
  for (size_t i = 0; i < 4; i++) ck_assert_uint_eq(depth[i], i);
  changed[1] = false; /* what stays as it is counts for nothing */
  OK(pare__layer_depths(checkpoint, inputs, changed, depth));
  for (size_t i = 0; i < 4; i++) ck_assert_uint_eq(depth[i], i < 2 ? i : i - 1);
  pare__checkpoint_close(compression.checkpoint);
}
END_TEST

static int correct_digits(const char *path, pare_array images, pare_array labels) {
  float *logits = outputs_of(path, images.rank, images.dim, images.data);
  int correct = 0;
  for (int64_t i = 0; i < images.dim[0]; i++) {
    int best = 0;
    for (int c = 1; c < 10; c++)
      if (logits[i * 10 + c] > logits[i * 10 + best]) best = c;
    correct += best == (int)pare_array_number(&labels, (size_t)i);
  }
  free(logits);
  return correct;
}

/* The fraction of all weights that lies in layers of which half are zero. */
static double pruned_part(const pare_report *report) {
  pare_report_summary summary;
  double all = 0, pruned = 0;
  OK(pare_report_get(report, &summary));
  for (size_t i = 0; i < summary.ntensors; i++) {
    pare_report_tensor tensor;
    OK(pare_report_tensor_get(report, i, &tensor));
    double elements = 1;
    for (int d = 0; d < tensor.rank; d++) elements *= (double)tensor.dim[d];
    all += elements;
    if (strncmp(tensor.treatment, "2:4", 3) == 0 && tensor.kept <= 0.5) pruned += elements;
  }
  return pruned / all;
}

START_TEST(digits_pruned_and_quantised_lose_at_most_one_point) {
  char model[512], data[512], test[512];
  const char *top = getenv("srcdir") ? getenv("srcdir") : ".";
  snprintf(model, sizeof model, "%s/tests/data/digits/digits.onnx", top);
  snprintf(data, sizeof data, "%s/tests/data/digits/digits_calibration.npz", top);
  snprintf(test, sizeof test, "%s/tests/data/digits/digits_test.npz", top);
  pare_arrays *arrays;
  pare_array images, labels;
  pare_report *report;
  size_t index;
  OK(pare_arrays_open(test, &arrays));
  ck_assert(pare_arrays_find(arrays, "image", &index));
  OK(pare_arrays_get(arrays, index, &images));
  ck_assert(pare_arrays_find(arrays, "labels", &index));
  OK(pare_arrays_get(arrays, index, &labels));
  OK(reported(model, path_of("digits.onnx"), data, "2:4", "int8", &report));
  ck_assert_double_ge(pruned_part(report), 0.8);
  pare_report_close(report);
  const int before = correct_digits(model, images, labels),
            after = correct_digits(path_of("digits.onnx"), images, labels);
  ck_assert_msg(after >= before - (int)images.dim[0] / 100, "%d of %d, and %d before", after, (int)images.dim[0],
                before);
  pare_arrays_close(arrays);
}
END_TEST

/* A convolution that cannot be calibrated is quantised to nearest, and the report says so. */
START_TEST(what_cannot_be_calibrated_is_told) {
  const int64_t dim[] = {4, 2, 3, 3}, taken[] = {-1, 4, 6, 6}, given[] = {2, 4, 6, 6};
  pare__onnx_model *onnx = model_new(17);
  float *w = random_floats(4 * 2 * 9, 5), *x = random_floats(2 * 4 * 36, 6);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 4, taken);
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 4, dim, w);
  node_int(onnx, model_node(onnx, "Conv", "x w", "y"), "group", 2);
  model_output(onnx, "y");
  model_write(onnx, path_of("grouped.onnx"));
  save(path_of("grouped.npz"), "x", PARE_F32, 4, given, x);
  pare_recipe *recipe;
  pare_report *report;
  pare_report_tensor tensor;
  OK(pare_recipe_create(&recipe));
  OK(pare_recipe_calibrate(recipe, path_of("grouped.npz")));
  OK(pare_recipe_prune(recipe, "1:2"));
  OK(pare_recipe_quantize(recipe, "int8"));
  OK(pare_compress(context, path_of("grouped.onnx"), path_of("out.onnx"), recipe, NULL, &report));
  OK(pare_report_tensor_get(report, 0, &tensor));
  ck_assert_msg(strstr(tensor.reason, "quantised to nearest: ") != NULL, "'%s'", tensor.reason);
  pare_report_close(report);
  pare_recipe_close(recipe);
  free(w);
  free(x);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("calibrated");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, data_that_does_not_fit_is_refused_with_the_input_named);
  tcase_add_test(tests, data_that_the_model_cannot_run_on_is_refused_with_the_input_named);
  tcase_add_test(tests, the_hessian_of_a_convolution_foretells_the_size_of_its_outputs);
  tcase_add_loop_test(tests, outputs_on_calibration_data_are_nearer, 0, (int)(sizeof gains / sizeof *gains));
  tcase_add_test(tests, a_mask_chosen_by_gptq_costs_less_than_one_by_magnitude);
  tcase_add_test(tests, layers_in_sequence_make_up_for_those_before);
  tcase_add_test(tests, the_first_layer_in_sequence_has_the_same_bits);
  tcase_add_test(tests, depths_count_the_layers_before);
  tcase_add_test(tests, what_cannot_be_calibrated_is_told);
  tcase_add_test(tests, a_value_given_for_an_input_with_a_default_counts);
  tcase_add_test(tests, digits_pruned_and_quantised_lose_at_most_one_point);
  return remove_folder(folder, run_tests("calibrated", tests));
}
