/* Compressing: models of every awkward build in every form, run beside the original; files that stay whole.
 * SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <math.h>
#include <pare/compress.h>
#include <pare/model.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "compress/onnx_weights.h"
#include "fixture.h"
#include "onnx_builder.h"

static char folder[] = "/tmp/pare-test-compress-XXXXXX";

static const char *path_of(const char *name) { return path_in(folder, name); }

/* ---- models ---- */

static void constant(pare__onnx_model *model, const char *name, int rank, const int64_t *dim) {
  static uint32_t seed;
  float *values = random_floats(count_of(rank, dim), ++seed);
  model_constant(model, name, PARE__ONNX_FLOAT, rank, dim, values);
  free(values);
}

#define DIM(...) ((const int64_t[]){__VA_ARGS__})

static pare__onnx_model *with_input(int64_t opset, int64_t columns) {
  pare__onnx_model *model = model_new(opset);
  model_input(model, "x", PARE__ONNX_FLOAT, 2, DIM(-1, columns));
  return model;
}

static pare__onnx_model *finished(pare__onnx_model *model, const char *output) {
  model_output(model, output);
  return model;
}

static pare__onnx_model *matmul(void) {
  pare__onnx_model *model = with_input(17, 64);
  constant(model, "w", 2, DIM(64, 33));
  model_node(model, "MatMul", "x w", "y");
  return finished(model, "y");
}

static pare__onnx_model *odd_rows(void) { /* no whole block, no multiple of 4 */
  pare__onnx_model *model = with_input(17, 37);
  constant(model, "w", 2, DIM(37, 5));
  model_node(model, "MatMul", "x w", "y");
  return finished(model, "y");
}

static pare__onnx_model *gemm(void) {
  pare__onnx_model *model = with_input(17, 64);
  constant(model, "w", 2, DIM(40, 64));
  constant(model, "b", 1, DIM(40));
  node_int(model, model_node(model, "Gemm", "x w b", "y"), "transB", 1);
  return finished(model, "y");
}

static pare__onnx_model *with_state(void) { /* whose batch is not its first dimension */
  pare__onnx_model *model = with_input(17, -1);
  model_input(model, "state", PARE__ONNX_FLOAT, 3, DIM(2, -1, 33));
  constant(model, "w", 2, DIM(32, 33));
  model_constant(model, "first", PARE__ONNX_INT64, 1, DIM(1), &(const int64_t){0});
  model_node(model, "MatMul", "x w", "h");
  model_node(model, "Unsqueeze", "h first", "one");
  node_int(model, model_node(model, "Concat", "state one", "y"), "axis", 0);
  return finished(model, "y");
}

static pare__onnx_model *gemm_with_factors(void) { /* no plain product: its weight keeps its place */
  pare__onnx_model *model = with_input(17, 64);
  constant(model, "w", 2, DIM(64, 24));
  constant(model, "b", 1, DIM(24));
  pare__onnx_node *node = model_node(model, "Gemm", "x w b", "y");
  node_float(model, node, "alpha", 0.5F);
  node_float(model, node, "beta", 2.0F);
  return finished(model, "y");
}

static pare__onnx_model *shared(void) { /* one weight in two products of one input, a square one */
  pare__onnx_model *model = with_input(17, 32);
  constant(model, "w", 2, DIM(32, 32));
  model_node(model, "MatMul", "x w", "h");
  model_node(model, "Relu", "h", "r");
  model_node(model, "MatMul", "r w", "g");
  model_node(model, "MatMul", "x w", "k");
  model_node(model, "Add", "g k", "y");
  return finished(model, "y");
}

static pare__onnx_model *tied(void) { /* a table that is looked up, and transposed the last layer */
  pare__onnx_model *model = model_new(17);
  model_input(model, "ids", PARE__ONNX_INT64, 2, DIM(-1, 7));
  constant(model, "table", 2, DIM(50, 64));
  model_node(model, "Gather", "table ids", "rows");
  model_node(model, "Transpose", "table", "turned");
  model_node(model, "MatMul", "rows turned", "y");
  return finished(model, "y");
}

static pare__onnx_model *embedding(void) {
  pare__onnx_model *model = model_new(11);
  model_input(model, "ids", PARE__ONNX_INT64, 2, DIM(-1, 7));
  constant(model, "table", 2, DIM(50, 48));
  model_node(model, "Gather", "table ids", "y");
  return finished(model, "y");
}

static void fill_matrix(pare__onnx_model *model, pare__onnx_tensor *tensor, int64_t rows, int64_t columns) {
  static uint32_t seed = 76;
  const int64_t shape[2] = {rows, columns};
  const size_t nbytes = (size_t)(rows * columns) * sizeof(float);
  float *random = random_floats(rows * columns, ++seed);
  void *memory;
  OK(pare__onnx_allocate(model->source, nbytes, &memory));
  tensor->data_type = PARE__ONNX_FLOAT;
  tensor->raw_data = (pare__onnx_bytes){memcpy(memory, random, nbytes), nbytes};
  free(random);
  for (int d = 0; d < 2; d++) {
    int64_t *dim;
    OK(PARE__ONNX_APPEND(model->source, &tensor->dims, &dim));
    *dim = shape[d];
  }
}

static void constant_in(pare__onnx_model *model, pare__onnx_nodes *nodes, const char *name, int64_t rows,
                        int64_t columns) {
  void *memory;
  pare__onnx_node *node = node_in(model, nodes, "Constant", "", name);
  node->input.count = 0;
  pare__onnx_attribute *value = node_attribute(model, node, "value", PARE__ONNX_ATTRIBUTE_TENSOR);
  OK(pare__onnx_allocate(model->source, sizeof *value->t, &memory));
  value->t = memory;
  fill_matrix(model, value->t, rows, columns);
}

static pare__onnx_model *in_constant_nodes(void) { /* an old opset, as Paddle writes it */
  pare__onnx_model *model = with_input(11, 64);
  constant_in(model, &model->graph->node, "w", 64, 20);
  model_node(model, "Identity", "w", "v");
  model_node(model, "MatMul", "x v", "y");
  return finished(model, "y");
}

static pare__onnx_model *around_a_branch(void) { /* constants of a body before and after those of a body in it */
  pare__onnx_model *model = with_input(17, 32);
  model_input(model, "flag", PARE__ONNX_BOOL, 0, NULL);
  pare__onnx_node *outer = model_node(model, "If", "flag", "y");
  for (int branch = 0; branch < 2; branch++) {
    const char *name = branch ? "else_branch" : "then_branch";
    pare__onnx_graph *body = node_body(model, outer, name, "", branch ? "o1" : "o0");
    constant_in(model, &body->node, branch ? "a1" : "a0", 32, 32);
    node_in(model, &body->node, "MatMul", branch ? "x a1" : "x a0", branch ? "t1" : "t0");
    pare__onnx_node *inner = node_in(model, &body->node, "If", "flag", branch ? "u1" : "u0");
    for (int other = 0; other < 2; other++) {
      static const char *const names[][3] = {
          {"b0", "t0 b0", "p0"}, {"b1", "t0 b1", "p1"}, {"b2", "t1 b2", "p2"}, {"b3", "t1 b3", "p3"}};
      const char *const *in = names[2 * branch + other];
      pare__onnx_graph *deep = node_body(model, inner, other ? "else_branch" : "then_branch", "", in[2]);
      constant_in(model, &deep->node, in[0], 32, 32);
      node_in(model, &deep->node, "MatMul", in[1], in[2]);
    }
    constant_in(model, &body->node, branch ? "c1" : "c0", 32, 32);
    node_in(model, &body->node, "MatMul", branch ? "u1 c1" : "u0 c0", branch ? "o1" : "o0");
  }
  return finished(model, "y");
}

static pare__onnx_model *an_input_with_default(void) { /* IR 3: initialisers are inputs */
  pare__onnx_model *model = with_input(10, 64);
  model->ir_version = 3;
  constant(model, "w", 2, DIM(64, 16));
  model_input(model, "w", PARE__ONNX_FLOAT, 2, DIM(64, 16));
  model_node(model, "MatMul", "x w", "y");
  return finished(model, "y");
}

static pare__onnx_model *also_a_number(void) { /* something else reads the weight */
  pare__onnx_model *model = with_input(17, 64);
  constant(model, "w", 2, DIM(64, 16));
  model_node(model, "MatMul", "x w", "h");
  model_node(model, "ReduceMax", "w", "m");
  model_node(model, "Mul", "h m", "y");
  return finished(model, "y");
}

static pare__onnx_model *convolutions(void) {
  pare__onnx_model *model = model_new(13);
  model_input(model, "x", PARE__ONNX_FLOAT, 4, DIM(-1, 8, 9, 9));
  constant(model, "w1", 4, DIM(16, 8, 3, 3));
  constant(model, "w2", 4, DIM(16, 1, 3, 3)); /* depthwise */
  constant(model, "w3", 4, DIM(16, 12, 2, 2));
  model_node(model, "Conv", "x w1", "a");
  node_int(model, model_node(model, "Conv", "a w2", "b"), "group", 16);
  model_node(model, "ConvTranspose", "b w3", "y");
  return finished(model, "y");
}

static pare__onnx_model *in_a_branch(void) { /* a body reads a weight around it, and has one of its own */
  pare__onnx_model *model = with_input(17, 32);
  constant(model, "w", 2, DIM(32, 32));
  model_input(model, "flag", PARE__ONNX_BOOL, 0, NULL);
  pare__onnx_node *node = model_node(model, "If", "flag", "h");
  for (int branch = 0; branch < 2; branch++) {
    pare__onnx_graph *body = node_body(model, node, branch ? "else_branch" : "then_branch", "", branch ? "o1" : "o0");
    pare__onnx_tensor *tensor;
    OK(PARE__ONNX_APPEND(model->source, &body->initializer, &tensor));
    tensor->name = branch ? "v1" : "v0";
    fill_matrix(model, tensor, 32, 32);
    node_in(model, &body->node, "MatMul", branch ? "x w" : "x v0", branch ? "t1" : "t0");
    node_in(model, &body->node, "MatMul", branch ? "t1 v1" : "t0 w", branch ? "o1" : "o0");
  }
  model_node(model, "MatMul", "h w", "y");
  return finished(model, "y");
}

static pare__onnx_model *an_output(void) { /* a weight that is handed out is left alone */
  pare__onnx_model *model = with_input(17, 32);
  constant(model, "w", 2, DIM(32, 8));
  model_node(model, "MatMul", "x w", "y");
  model_output(model, "y");
  return finished(model, "w");
}

static pare__onnx_model *names_taken(void) { /* what new values would be called is there already */
  pare__onnx_model *model = with_input(17, 32);
  constant(model, "w", 2, DIM(32, 32));
  constant(model, "w_scale", 2, DIM(32, 32));
  model_node(model, "MatMul", "x w", "w_quantized");
  model_node(model, "MatMul", "w_quantized w_scale", "x_scale");
  model_node(model, "Relu", "x_scale", "y");
  return finished(model, "y");
}

static pare__onnx_model *(*const builders[])(void) = {
    matmul,        odd_rows,     gemm,        gemm_with_factors, with_state,
    shared,        tied,         embedding,   in_constant_nodes, an_input_with_default,
    also_a_number, convolutions, in_a_branch, around_a_branch,   an_output,
    names_taken,
};

/* ---- the law of forms ---- */

static const struct form {
  const char *prune, *quantize;
  double cosine; /* at least, of the output on random inputs */
} forms[] = {
    {NULL, "int8", 0.999},       {NULL, "int4", 0.97}, {NULL, "w8a8", 0.995},        {NULL, "f16", 0.99999},
    {"2:4", NULL, 0.2},          {"2:4", "int8", 0.2}, {"magnitude:0.2", NULL, 0.7}, {"threshold:0.1", "int4", 0.9},
    {"random:0.1", "int8", 0.3},
};

static pare_recipe *recipe_of(const struct form *form) {
  pare_recipe *recipe;
  OK(pare_recipe_create(&recipe));
  if (form->prune) OK(pare_recipe_prune(recipe, form->prune));
  if (form->quantize) OK(pare_recipe_quantize(recipe, form->quantize));
  return recipe;
}

static char *content(const char *path, size_t *nbytes) {
  char *data;
  OK(pare__file_read(path, (size_t)1 << 30, &data, nbytes));
  return data;
}

static void same_bytes(const char *a, const char *b) {
  size_t na, nb;
  char *x = content(a, &na), *y = content(b, &nb);
  ck_assert_msg(na == nb && memcmp(x, y, na) == 0, "%s and %s differ", a, b);
  free(x);
  free(y);
}

static void check_report(const pare_report *report, const struct form *form, const char *what) {
  pare_report_summary summary;
  OK(pare_report_get(report, &summary));
  ck_assert(summary.verified);
  for (size_t i = 0; i < summary.noutputs; i++) {
    pare_report_output output;
    OK(pare_report_output_get(report, i, &output));
    ck_assert_msg(output.distance.cosine >= form->cosine, "%s: %s has the cosine %g", what, output.name,
                  output.distance.cosine);
  }
  for (size_t i = 0; i < summary.ntensors; i++) {
    pare_report_tensor tensor;
    OK(pare_report_tensor_get(report, i, &tensor));
    ck_assert_msg(tensor.changed == (*tensor.treatment != '\0'), "%s: %s", what, tensor.name);
    if (form->quantize && tensor.changed) ck_assert_uint_lt(tensor.bytes_after, tensor.bytes_before);
  }
}

/* Every model in every form runs as before, nearly; and compressed again it is the same file. */
START_TEST(every_model_runs_in_every_form) {
  for (size_t f = 0; f < PARE__COUNT(forms); f++) {
    char what[64];
    snprintf(what, sizeof what, "model %d, form %zu", _i, f);
    model_write(builders[_i](), path_of("in.onnx"));
    pare_recipe *recipe = recipe_of(&forms[f]);
    pare_report *report;
    const pare_status status = pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, NULL, &report);
    ck_assert_msg(status == PARE_OK, "%s: %s", what, pare_message());
    check_report(report, &forms[f], what);
    pare_report_close(report);
    if (!forms[f].prune || strncmp(forms[f].prune, "random", 6) != 0) {
      OK(pare_compress(context, path_of("out.onnx"), path_of("again.onnx"), recipe, NULL, NULL));
      if (forms[f].quantize == NULL || f == 0) same_bytes(path_of("out.onnx"), path_of("again.onnx"));
    }
    pare_recipe_close(recipe);
  }
}
END_TEST

/* The plan says what will be done, to the byte. */
START_TEST(the_plan_is_what_happens) {
  model_write(builders[_i](), path_of("in.onnx"));
  for (size_t f = 0; f < PARE__COUNT(forms); f++) {
    pare_recipe *recipe = recipe_of(&forms[f]);
    pare_report *plan, *report;
    const pare_compress_options how = {.skip_verify = true};
    OK(pare_compress_plan(path_of("in.onnx"), recipe, NULL, &plan));
    OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, &how, &report));
    pare_report_summary planned, done;
    OK(pare_report_get(plan, &planned));
    OK(pare_report_get(report, &done));
    ck_assert(planned.planned_only && !done.planned_only && !done.verified);
    ck_assert_uint_eq(planned.weight_bytes_after, done.weight_bytes_after);
    ck_assert_uint_ge(done.output_bytes, done.weight_bytes_after);
    ck_assert_uint_le(done.output_bytes, planned.output_bytes + 6000);
    pare_report_close(plan);
    pare_report_close(report);
    pare_recipe_close(recipe);
  }
}
END_TEST

/* In compact storage, too, up to what the graph takes. */
START_TEST(the_plan_of_compact_storage_is_what_happens) {
  static const char text[] = "pare: 1\nmodifiers:\n- prune:\n    mask_structure: 2:4\n- quantize:\n    scheme: W8A16\n";
  model_write(builders[0](), path_of("in.onnx"));
  const pare_compress_options how = {.skip_verify = true, .storage = PARE_STORAGE_COMPACT};
  pare_recipe *recipe;
  pare_report *plan, *report, *portable;
  pare_report_summary planned, done, dense;
  OK(pare_recipe_parse(text, strlen(text), "text", &recipe));
  OK(pare_compress_plan(path_of("in.onnx"), recipe, &how, &plan));
  OK(pare_compress_plan(path_of("in.onnx"), recipe, NULL, &portable));
  OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, &how, &report));
  OK(pare_report_get(plan, &planned));
  OK(pare_report_get(portable, &dense));
  OK(pare_report_get(report, &done));
  ck_assert_uint_eq(planned.weight_bytes_after, done.weight_bytes_after);
  ck_assert_uint_lt(planned.weight_bytes_after, dense.weight_bytes_after);
  ck_assert_uint_ge(done.output_bytes, done.weight_bytes_after);
  ck_assert_uint_le(done.output_bytes, planned.output_bytes + 6000);
  ck_assert_uint_le(dense.weight_bytes_after - planned.weight_bytes_after,
                    done.portable_bytes - done.output_bytes + 2000);
  pare_report_close(report);
  pare_report_close(portable);
  pare_report_close(plan);
  pare_recipe_close(recipe);
}
END_TEST

/* The file's own elements of an initialiser; free them. */
static float *elements(const char *path, const char *name, size_t *count) {
  pare__onnx_model *model;
  float *out = NULL;
  OK(pare__onnx_open(path, &model));
  for (size_t i = 0; i < model->graph->initializer.count; i++) {
    const pare__onnx_tensor *tensor = &model->graph->initializer.items[i];
    if (strcmp(tensor->name, name) != 0) continue;
    pare__onnx_data data;
    OK(pare__onnx_tensor_data(model->source, tensor, &data));
    out = malloc(data.nbytes);
    memcpy(out, data.data, data.nbytes);
    *count = (size_t)data.count;
    pare__onnx_data_close(&data);
  }
  pare__onnx_close(model);
  ck_assert_ptr_nonnull(out);
  return out;
}

/* Small ones come into the file again. */
START_TEST(weights_in_a_file_of_their_own_are_converted) {
  const pare__onnx_write_options outside = {.external_file = "outside.data", .external_minimum_bytes = 16};
  pare__onnx_model *model;
  pare_conversion conversion;
  size_t before, after;
  model_write(matmul(), path_of("in.onnx"));
  OK(pare__onnx_open(path_of("in.onnx"), &model));
  OK(pare__onnx_write(model, path_of("outside.onnx"), &outside));
  pare__onnx_close(model);
  OK(pare_convert(path_of("outside.onnx"), path_of("inside.onnx"), PARE_STORAGE_COMPACT, &conversion));
  ck_assert_int_eq(unlink(path_of("outside.data")), 0);
  float *a = elements(path_of("in.onnx"), "w", &before), *b = elements(path_of("inside.onnx"), "w", &after);
  ck_assert_uint_eq(before, after);
  ck_assert_mem_eq(a, b, before * sizeof *a);
  ck_assert_uint_gt(conversion.input_bytes, before * sizeof *a);
  ck_assert_uint_gt(conversion.output_bytes, before * sizeof *a);
  free(a);
  free(b);
}
END_TEST

/* At each position of the kernel, two of four neighbouring input channels are left. */
START_TEST(convolutions_are_pruned_along_their_input_channels) {
  const struct form form = {"2:4", NULL, 0};
  size_t count;
  model_write(convolutions(), path_of("in.onnx"));
  pare_recipe *recipe = recipe_of(&form);
  OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, NULL, NULL));
  float *w = elements(path_of("out.onnx"), "w1", &count);
  for (size_t o = 0; o < 16; o++)
    for (size_t group = 0; group < 2; group++)
      for (size_t position = 0; position < 9; position++) {
        int kept = 0;
        for (size_t i = 0; i < 4; i++) kept += w[(o * 8 + group * 4 + i) * 9 + position] != 0;
        ck_assert_int_eq(kept, 2);
      }
  free(w);
  float *before = elements(path_of("in.onnx"), "w2", &count), *after = elements(path_of("out.onnx"), "w2", &count);
  ck_assert_mem_eq(before, after, count * sizeof *before); /* one input channel: it stays dense */
  free(before);
  free(after);
  pare_recipe_close(recipe);
}
END_TEST

/* Exactly k of all weights together. */
START_TEST(global_magnitude_keeps_exactly_k) {
  const struct form form = {"magnitude:0.37", NULL, 0};
  static const char *const names[] = {"w1", "w2", "w3"};
  size_t kept = 0, total = 0;
  model_write(convolutions(), path_of("in.onnx"));
  pare_recipe *recipe = recipe_of(&form);
  OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, NULL, NULL));
  for (size_t n = 0; n < PARE__COUNT(names); n++) {
    size_t count;
    float *w = elements(path_of("out.onnx"), names[n], &count);
    total += count;
    for (size_t i = 0; i < count; i++) kept += w[i] != 0;
    free(w);
  }
  ck_assert_uint_eq(kept, (size_t)llround(0.63 * (double)total));
  pare_recipe_close(recipe);
}
END_TEST

/* Small weights that lay in a file beside the model come into the new one. */
START_TEST(weights_outside_come_into_the_model) {
  const struct form form = {NULL, "int8", 0};
  model_write(gemm(), path_of("in.onnx"));
  pare__onnx_model *model;
  OK(pare__onnx_open(path_of("in.onnx"), &model));
  const pare__onnx_write_options outside = {"in.data", 16};
  OK(pare__onnx_write(model, path_of("outside.onnx"), &outside));
  pare__onnx_close(model);
  pare_recipe *recipe = recipe_of(&form);
  OK(pare_compress(context, path_of("outside.onnx"), path_of("inside.onnx"), recipe, NULL, NULL));
  OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, NULL, NULL));
  same_bytes(path_of("out.onnx"), path_of("inside.onnx"));
  pare_recipe_close(recipe);
}
END_TEST

/* How much of each tensor is left, and what the report says that it became. */
static void check_pruned(const pare_report *report, double kept, const char *became) {
  pare_report_summary summary;
  OK(pare_report_get(report, &summary));
  for (size_t i = 0; i < summary.ntensors; i++) {
    pare_report_tensor tensor;
    OK(pare_report_tensor_get(report, i, &tensor));
    ck_assert_msg(tensor.changed && strncmp(tensor.treatment, became, strlen(became)) == 0, "'%s' became '%s': %s",
                  tensor.name, tensor.treatment, tensor.reason);
    ck_assert_msg(tensor.kept == kept, "'%s' keeps %g", tensor.name, tensor.kept);
  }
}

/* A model of 16 bits is pruned, though 16 bits are all that it is asked for besides. */
START_TEST(what_has_16_bits_is_pruned_all_the_same) {
  const struct form form = {"2:4", "f16", 0};
  uint16_t values[64 * 8];
  size_t kept = 0, count;
  for (size_t i = 0; i < 64 * 8; i++) values[i] = (uint16_t)(0x3000 + 37 * i % 1000);
  pare__onnx_model *model = model_new(17);
  model_input(model, "x", PARE__ONNX_FLOAT16, 2, DIM(-1, 64));
  model_constant(model, "w", PARE__ONNX_FLOAT16, 2, DIM(64, 8), values);
  model_node(model, "MatMul", "x w", "y");
  model_write(finished(model, "y"), path_of("in.onnx"));
  pare_recipe *recipe = recipe_of(&form);
  pare_report *report;
  OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, NULL, &report));
  check_pruned(report, 0.5, "2:4");
  uint16_t *after = (uint16_t *)(void *)elements(path_of("out.onnx"), "w", &count);
  for (size_t i = 0; i < count; i++) kept += after[i] != 0;
  ck_assert_uint_eq(kept, 64 * 8 / 2);
  free(after);
  pare_report_close(report);
  pare_recipe_close(recipe);
}
END_TEST

/* Layers so small that most are slower with 8 bits: they lose their codes, and not what was pruned. */
START_TEST(what_stays_dense_for_speed_stays_pruned) {
  const struct form form = {"2:4", "w8a8", 0};
  const pare_compress_options how = {.skip_verify = true, .optimize_speed = true};
  pare__onnx_model *model = with_input(17, 16);
  char w[8], from[8] = "x", to[8], inputs[20];
  for (int i = 0; i < 6; i++) {
    snprintf(w, sizeof w, "w%d", i);
    snprintf(to, sizeof to, "h%d", i);
    snprintf(inputs, sizeof inputs, "%s %s", from, w);
    constant(model, w, 2, DIM(16, 16));
    model_node(model, "MatMul", inputs, to);
    memcpy(from, to, sizeof to);
  }
  model_write(finished(model, "h5"), path_of("in.onnx"));
  pare_recipe *recipe = recipe_of(&form);
  pare_report *report;
  OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, &how, &report));
  check_pruned(report, 0.5, "2:4");
  pare_report_close(report);
  pare_recipe_close(recipe);
}
END_TEST

/* ---- what is refused ---- */

static void fails(const char *in, const char *out, const struct form *form, pare_status expected, const char *text) {
  pare_recipe *recipe = recipe_of(form);
  pare_report *report;
  const pare_status status = pare_compress(context, in, out, recipe, NULL, &report);
  ck_assert_msg(status == expected, "%s instead of %s: %s", pare_status_name(status), pare_status_name(expected),
                pare_message());
  ck_assert_ptr_null(report);
  ck_assert_msg(strstr(pare_message(), text) != NULL, "'%s' lacks '%s'", pare_message(), text);
  pare_recipe_close(recipe);
}

/* There are as many files as before: nothing is left behind. */
static size_t count_files(void) {
  char command[200], line[32] = "";
  snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
  FILE *pipe = popen(command, "r");
  ck_assert_ptr_nonnull(pipe);
  ck_assert_ptr_nonnull(fgets(line, sizeof line, pipe));
  pclose(pipe);
  return strtoul(line, NULL, 10);
}

START_TEST(numbers_that_are_none_are_named_with_their_place) {
  for (size_t f = 0; f < PARE__COUNT(forms); f++) {
    pare__onnx_model *model = with_input(17, 8);
    float values[8 * 4] = {0};
    values[5 * 4 + 3] = f % 2 ? INFINITY : NAN;
    model_constant(model, "bad", PARE__ONNX_FLOAT, 2, DIM(8, 4), values);
    model_node(model, "MatMul", "x bad", "y");
    model_write(finished(model, "y"), path_of("in.onnx"));
    const size_t files = count_files();
    fails(path_of("in.onnx"), path_of("nan.onnx"), &forms[f], PARE_ERR_FORMAT, "tensor 'bad': element [5, 3], at byte");
    ck_assert_uint_eq(count_files(), files);
  }
}
END_TEST

START_TEST(zero_size_weights_stay) {
  pare__onnx_model *model = with_input(17, 0);
  model_constant(model, "w", PARE__ONNX_FLOAT, 2, DIM(0, 4), "");
  model_node(model, "MatMul", "x w", "y");
  model_write(finished(model, "y"), path_of("in.onnx"));
  for (size_t f = 0; f < PARE__COUNT(forms); f++) {
    pare_recipe *recipe = recipe_of(&forms[f]);
    OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, NULL, NULL));
    pare_recipe_close(recipe);
  }
}
END_TEST

START_TEST(names_that_fit_nothing_are_errors) {
  const struct form form = {NULL, "int8", 0};
  pare_recipe *recipe = recipe_of(&form);
  pare_report *report;
  model_write(gemm(), path_of("in.onnx"));
  OK(pare_recipe_ignore(recipe, "encoder.*"));
  ck_assert_int_eq(pare_compress_plan(path_of("in.onnx"), recipe, NULL, &report), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "'encoder.*'"));
  pare_recipe_close(recipe);
}
END_TEST

/* Whether a modifier is added before or after. */
START_TEST(what_is_ignored_stays) {
  pare_recipe *recipe;
  pare_report *report;
  pare_report_tensor tensor;
  model_write(matmul(), path_of("in.onnx"));
  OK(pare_recipe_create(&recipe));
  OK(pare_recipe_prune(recipe, "2:4"));
  OK(pare_recipe_ignore(recipe, "w"));
  OK(pare_recipe_quantize(recipe, "int8"));
  OK(pare_compress_plan(path_of("in.onnx"), recipe, NULL, &report));
  OK(pare_report_tensor_get(report, 0, &tensor));
  ck_assert_str_eq(tensor.treatment, "");
  pare_report_close(report);
  pare_recipe_close(recipe);
}
END_TEST

/* A disk that is full, a folder that is not there: the old file is whole, and nothing lies beside it. */
START_TEST(failed_writes_leave_the_old_file) {
  const struct form form = {NULL, "int8", 0};
  size_t before_bytes, after_bytes;
  model_write(convolutions(), path_of("in.onnx"));
  fails(path_of("in.onnx"), path_of("missing/out.onnx"), &form, PARE_ERR_IO, "missing/");
  fails(path_of("absent.onnx"), path_of("out.onnx"), &form, PARE_ERR_IO, "absent.onnx");
  char *before = content(path_of("in.onnx"), &before_bytes);
  const size_t files = count_files();
  struct rlimit old, small;
  ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
  small = (struct rlimit){1000, old.rlim_max};
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
  fails(path_of("in.onnx"), path_of("in.onnx"), &form, PARE_ERR_IO, "writing");
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
  char *after = content(path_of("in.onnx"), &after_bytes);
  ck_assert(before_bytes == after_bytes && memcmp(before, after, before_bytes) == 0);
  ck_assert_uint_eq(count_files(), files);
  free(before);
  free(after);
}
END_TEST

START_TEST(a_model_may_be_written_over_itself) {
  const struct form form = {NULL, "int8", 0};
  model_write(convolutions(), path_of("in.onnx"));
  pare_recipe *recipe = recipe_of(&form);
  OK(pare_compress(context, path_of("in.onnx"), path_of("out.onnx"), recipe, NULL, NULL));
  OK(pare_compress(context, path_of("in.onnx"), path_of("in.onnx"), recipe, NULL, NULL));
  same_bytes(path_of("in.onnx"), path_of("out.onnx"));
  pare_recipe_close(recipe);
}
END_TEST

START_TEST(damaged_files_are_errors) {
  const struct form form = {NULL, "int8", 0};
  size_t nbytes;
  model_write(gemm(), path_of("in.onnx"));
  char *data = content(path_of("in.onnx"), &nbytes);
  for (size_t cut = 1; cut < nbytes; cut += 1 + nbytes / 40) {
    pare_recipe *recipe = recipe_of(&form);
    pare_report *report;
    OK(pare__file_write(path_of("cut.onnx"), data, cut));
    const pare_status status = pare_compress(context, path_of("cut.onnx"), path_of("out.onnx"), recipe, NULL, &report);
    ck_assert_msg(status != PARE_OK, "cut at %zu", cut);
    pare_recipe_close(recipe);
  }
  free(data);
}
END_TEST

int main(void) {
  TCase *tests = tcase_create("compress");
  signal(SIGXFSZ, SIG_IGN);
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_loop_test(tests, every_model_runs_in_every_form, 0, PARE__COUNT(builders));
  tcase_add_loop_test(tests, the_plan_is_what_happens, 0, PARE__COUNT(builders));
  tcase_add_test(tests, weights_in_a_file_of_their_own_are_converted);
  tcase_add_test(tests, the_plan_of_compact_storage_is_what_happens);
  tcase_add_test(tests, convolutions_are_pruned_along_their_input_channels);
  tcase_add_test(tests, global_magnitude_keeps_exactly_k);
  tcase_add_test(tests, what_has_16_bits_is_pruned_all_the_same);
  tcase_add_test(tests, what_stays_dense_for_speed_stays_pruned);
  tcase_add_test(tests, weights_outside_come_into_the_model);
  tcase_add_test(tests, numbers_that_are_none_are_named_with_their_place);
  tcase_add_test(tests, zero_size_weights_stay);
  tcase_add_test(tests, names_that_fit_nothing_are_errors);
  tcase_add_test(tests, what_is_ignored_stays);
  tcase_add_test(tests, failed_writes_leave_the_old_file);
  tcase_add_test(tests, a_model_may_be_written_over_itself);
  tcase_add_test(tests, damaged_files_are_errors);
  return remove_folder(folder, run_tests("compress", tests));
}
