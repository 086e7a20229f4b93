/* Models: what is refused and how it is said, plans against runs at once, memory plans, passes on random graphs.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/model.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "graph/run.h"
#include "kernel/family_ticketed.h"
#include "onnx_builder.h"
#include "tensor/context.h"

static char folder[] = "/tmp/pare-test-graph-XXXXXX";

static const char *path_of(const char *name) { return path_in(folder, name); }

static pare_model *opened(pare__onnx_model *onnx, const pare_model_options *options) {
  model_write(onnx, path_of("model.onnx"));
  pare_model *model;
  OK(pare_model_open(context, path_of("model.onnx"), options, &model));
  return model;
}

/* Writing and opening fails with this status, and the message holds the text. */
static void refused(pare__onnx_model *onnx, pare_status status, const char *text) {
  model_write(onnx, path_of("refused.onnx"));
  pare_model *model;
  const pare_status got = pare_model_open(context, path_of("refused.onnx"), NULL, &model);
  ck_assert_msg(got == status, "%s: %s", pare_status_name(got), got == PARE_OK ? "it was opened" : pare_message());
  ck_assert_ptr_null(model);
  ck_assert_msg(strstr(pare_message(), text) != NULL, "'%s' lacks '%s'", pare_message(), text);
}

/* ---- what is refused ---- */

static pare__onnx_model *with_input(void) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){2, 3});
  return onnx;
}

START_TEST(malformed_graphs_are_refused_with_the_node_and_the_name) {
  pare__onnx_model *onnx = with_input();
  model_node(onnx, "Identity", "missing", "y");
  model_output(onnx, "y");
  refused(onnx, PARE_ERR_FORMAT, "'missing'");

  onnx = with_input(); /* a cycle */
  model_node(onnx, "Identity", "b", "a");
  model_node(onnx, "Identity", "a", "b");
  model_output(onnx, "b");
  refused(onnx, PARE_ERR_FORMAT, "'b'");

  onnx = with_input();
  model_node(onnx, "Identity", "x", "y");
  model_node(onnx, "Identity", "x", "y");
  model_output(onnx, "y");
  refused(onnx, PARE_ERR_FORMAT, "two values");

  onnx = with_input();
  model_output(onnx, "nothing");
  refused(onnx, PARE_ERR_FORMAT, "'nothing'");
}
END_TEST

START_TEST(all_operators_that_are_missing_are_listed_at_load) {
  pare__onnx_model *onnx = with_input();
  model_node(onnx, "NoSuchOperator", "x", "y");
  pare__onnx_node *other = model_node(onnx, "Identity", "y", "z");
  other->domain = "example.org";
  model_output(onnx, "z");
  refused(onnx, PARE_ERR_UNSUPPORTED, "NoSuchOperator");
  ck_assert_ptr_nonnull(strstr(pare_message(), "example.org"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "lacks 2"));
}
END_TEST

START_TEST(a_function_that_calls_itself_is_refused) {
  pare__onnx_model *onnx = with_input();
  pare__onnx_function *function;
  OK(PARE__ONNX_APPEND(onnx->source, &onnx->functions, &function));
  function->name = "Twice";
  function->domain = "here";
  const char **name;
  OK(PARE__ONNX_APPEND(onnx->source, &function->input, &name));
  *name = "a";
  OK(PARE__ONNX_APPEND(onnx->source, &function->output, &name));
  *name = "b";
  node_in(onnx, &function->node, "Twice", "a", "b")->domain = "here";
  model_node(onnx, "Twice", "x", "y")->domain = "here";
  model_output(onnx, "y");
  refused(onnx, PARE_ERR_FORMAT, "calls itself");
}
END_TEST

START_TEST(a_pass_that_does_not_exist_is_named) {
  pare__onnx_model *onnx = with_input();
  model_node(onnx, "Identity", "x", "y");
  model_output(onnx, "y");
  model_write(onnx, path_of("identity.onnx"));
  const pare_model_options options = {.without = "dead,nonsense"};
  pare_model *model;
  ck_assert_int_eq(pare_model_open(context, path_of("identity.onnx"), &options, &model), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "nonsense"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "identity"));
}
END_TEST

START_TEST(inputs_that_do_not_fit_are_refused_and_the_model_stays_usable) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, 3});
  model_node(onnx, "Softmax", "x", "y");
  model_output(onnx, "y");
  pare_model *model = opened(onnx, NULL);
  const float data[6] = {0, 1, 2, 3, 4, 5};
  const int32_t integers[6] = {0};
  pare_tensor *out = NULL, *narrow = tensor_of(PARE_F32, 2, (const int64_t[]){3, 2}, data);
  pare_tensor *wrong = tensor_of(PARE_I32, 2, (const int64_t[]){2, 3}, integers);
  pare_tensor *right = tensor_of(PARE_F32, 2, (const int64_t[]){2, 3}, data);
  ck_assert_int_eq(pare_model_run(model, &narrow, NULL, &out), PARE_ERR_SHAPE);
  ck_assert_ptr_nonnull(strstr(pare_message(), "[3, 2]"));
  ck_assert_ptr_nonnull(strstr(pare_message(), "[n, 3]"));
  ck_assert_int_eq(pare_model_run(model, &wrong, NULL, &out), PARE_ERR_TYPE);
  ck_assert_ptr_nonnull(strstr(pare_message(), "float32"));
  pare_tensor *none = NULL;
  ck_assert_int_eq(pare_model_run(model, &none, NULL, &out), PARE_ERR_ARGUMENT);
  OK(pare_model_run(model, &right, NULL, &out));
  float *found = floats_of(out);
  ck_assert_float_eq_tol(found[0] + found[1] + found[2], 1, 1e-6);
  free(found);
  pare_tensor_close(out);
  const pare_model_options at_once = {.no_plan = true};
  pare_model_close(model);
  OK(pare_model_open(context, path_of("model.onnx"), &at_once, &model));
  pare_model_interrupt(model, true);
  ck_assert_int_eq(pare_model_run(model, &right, NULL, &out), PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "interrupted"));
  pare_model_interrupt(model, false);
  OK(pare_model_run(model, &right, NULL, &out));
  pare_tensor_close(out);
  pare_tensor_close(narrow);
  pare_tensor_close(wrong);
  pare_tensor_close(right);
  pare_model_close(model);
}
END_TEST

static const char *const impossible[] = {"MatMul", "Gemm", "Add", "PRelu", "LayerNormalization", "Expand"};

START_TEST(shapes_that_turn_out_impossible_name_the_node_and_both_shapes) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, -1, NULL);
  const float weights[6] = {0};
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){3, 2}, weights);
  model_node(onnx, impossible[_i], "x w", "y")->name = "the node";
  model_output(onnx, "y");
  pare_model *model = opened(onnx, NULL);
  pare_tensor *out = NULL, *x = tensor_of(PARE_F32, 2, (const int64_t[]){1, 4}, weights);
  const pare_status status = pare_model_run(model, &x, NULL, &out);
  ck_assert_msg(status == PARE_ERR_SHAPE || status == PARE_ERR_TYPE, "%s", pare_status_name(status));
  ck_assert_msg(strstr(pare_message(), "the node") && strstr(pare_message(), "[1, 4]") &&
                    strstr(pare_message(), "[3, 2]"),
                "%s", pare_message());
  pare_tensor_close(x);
  pare_model_close(model);
}
END_TEST

/* ---- random graphs: planned, at once, with passes and without ---- */

enum { WIDTH = 24, STEPS = 24 };

/* Node `op_type` from what the letters name, of pattern `step`, to another letter of it: "x" is its input, capitals are
 * constants. */
static pare__onnx_node *part(pare__onnx_model *onnx, int step, uint32_t from, const char *op_type,
                             const char *letters) {
  char inputs[64] = "", output[16];
  for (size_t i = 0; letters[i]; i++) {
    char name[16];
    if (letters[i] == 'x')
      snprintf(name, sizeof name, "v%u", from);
    else if (letters[i] == 'y')
      snprintf(name, sizeof name, "v%d", step);
    else if (letters[i] < 'a')
      snprintf(name, sizeof name, "%c", letters[i]);
    else
      snprintf(name, sizeof name, "v%d.%c", step, letters[i]);
    if (!letters[i + 1]) {
      snprintf(output, sizeof output, "%s", name);
      break;
    }
    if (i > 0) strncat(inputs, " ", sizeof inputs - strlen(inputs) - 1);
    strncat(inputs, name, sizeof inputs - strlen(inputs) - 1);
  }
  return model_node(onnx, op_type, inputs, output);
}

/* What passes look for, written out: each keeps the shape. */
static void pattern(pare__onnx_model *onnx, int step, uint32_t from, uint32_t which) {
  static const struct {
    const char *op_type, *letters;
  } forms[][9] = {
      {{"ReduceMean", "xm"},
       {"Sub", "xmd"},
       {"Mul", "dds"},
       {"ReduceMean", "sv"},
       {"Add", "vEe"},
       {"Sqrt", "er"},
       {"Div", "drn"},
       {"Mul", "Bnt"},
       {"Add", "tBy"}},                                                                /* layer norm */
      {{"Add", "xTa"}, {"Clip", "aZSc"}, {"Mul", "cxd"}, {"Div", "dSy"}},              /* hard swish */
      {{"Sigmoid", "xs"}, {"Mul", "sxy"}},                                             /* swish */
      {{"Div", "xRa"}, {"Erf", "ab"}, {"Add", "bOc"}, {"Mul", "xcd"}, {"Mul", "dHy"}}, /* GELU */
      {{"MatMul", "xWp"}, {"Mul", "pVy"}},                                             /* a scalar of one dimension */
      {{"Transpose", "xt"}, {"Tanh", "tu"}, {"Transpose", "uy"}},
      {{"Exp", "xe"}, {"ReduceSum", "eAs"}, {"Div", "esy"}}, /* softmax */
  };
  const size_t form = which % PARE__COUNT(forms);
  for (size_t i = 0; i < PARE__COUNT(forms[form]) && forms[form][i].op_type; i++) {
    pare__onnx_node *node = part(onnx, step, from, forms[form][i].op_type, forms[form][i].letters);
    if (strcmp(forms[form][i].op_type, "ReduceMean") == 0) node_ints(onnx, node, "axes", 1, (const int64_t[]){-1});
  }
}

static void pattern_constants(pare__onnx_model *onnx, const float *weights) {
  static const struct {
    const char *name;
    float number;
  } numbers[] = {{"E", 1e-5F}, {"T", 3}, {"Z", 0}, {"S", 6}, {"R", 1.41421354F}, {"O", 1}, {"H", 0.5F}};
  const float two = 2;
  for (size_t i = 0; i < PARE__COUNT(numbers); i++)
    model_constant(onnx, numbers[i].name, PARE__ONNX_FLOAT, 0, NULL, &numbers[i].number);
  model_constant(onnx, "V", PARE__ONNX_FLOAT, 1, (const int64_t[]){1}, &two);
  model_constant(onnx, "A", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){-1});
  model_constant(onnx, "W", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, weights);
  model_constant(onnx, "B", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, weights);
}

/* A random graph on [4][WIDTH] matrices: every operator keeps the shape, so that any may follow any. */
static pare__onnx_model *random_graph(uint32_t seed) {
  static const char *const unary[] = {"Identity", "Relu", "Tanh", "Sigmoid", "Erf", "Softmax", "Neg"};
  static const char *const binary[] = {"Add", "Mul", "Sub"};
  uint32_t state = seed * 2654435761U + 17;
  pare__onnx_model *onnx = model_new(17);
  const int64_t square[2] = {WIDTH, WIDTH}, row[1] = {WIDTH};
  model_input(onnx, "v0", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  float *weights = random_floats(WIDTH * WIDTH, seed), half = 0.5F;
  for (int i = 0; i < WIDTH * WIDTH; i++) weights[i] /= 4;
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, square, weights);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 1, row, weights);
  model_constant(onnx, "half", PARE__ONNX_FLOAT, 0, NULL, &half);
  pattern_constants(onnx, weights);
  free(weights);
  for (int step = 1; step <= STEPS; step++) {
    char inputs[64], output[16];
    const uint32_t a = next_random(&state) % (uint32_t)step, b = next_random(&state) % (uint32_t)step;
    snprintf(output, sizeof output, "v%d", step);
    switch (next_random(&state) % 8) {
    case 0:
      snprintf(inputs, sizeof inputs, "v%u w", a);
      model_node(onnx, "MatMul", inputs, output);
      break;
    case 1:
      snprintf(inputs, sizeof inputs, "v%u b", a);
      model_node(onnx, "Add", inputs, output);
      break;
    case 2:
      snprintf(inputs, sizeof inputs, "half v%u", a);
      model_node(onnx, "Mul", inputs, output);
      break;
    case 3:
      snprintf(inputs, sizeof inputs, "v%u v%u", a, b);
      model_node(onnx, binary[next_random(&state) % 3], inputs, output);
      break;
    case 4: pattern(onnx, step, a, next_random(&state)); break;
    default:
      snprintf(inputs, sizeof inputs, "v%d", step - 1);
      model_node(onnx, unary[next_random(&state) % 7], inputs, output);
    }
  }
  char last[16];
  snprintf(last, sizeof last, "v%d", STEPS);
  model_output(onnx, last);
  model_output(onnx, "v3");
  return onnx;
}

static void run_both(const pare_model_options *options, pare_tensor *x, float *results[2]) {
  pare_model *model;
  OK(pare_model_open(context, path_of("random.onnx"), options, &model));
  pare_tensor *out[2];
  for (int time = 0; time < 2; time++) { /* the second run replays the plan, over what the first left */
    OK(pare_model_run(model, &x, NULL, out));
    for (int i = 0; i < 2; i++) {
      if (time == 0) {
        results[i] = floats_of(out[i]);
      } else {
        float *again = floats_of(out[i]);
        ck_assert_mem_eq(again, results[i], 4 * WIDTH * sizeof(float));
        free(again);
      }
      pare_tensor_close(out[i]);
    }
  }
  pare_model_close(model);
}

START_TEST(plans_and_passes_keep_the_results_of_random_graphs) {
  model_write(random_graph((uint32_t)_i), path_of("random.onnx"));
  float *data = random_floats(4 * WIDTH, 99), *planned[2], *at_once[2], *plain[2];
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){4, WIDTH}, data);
  const pare_model_options once = {.no_plan = true}, without = {.without = "all"};
  run_both(NULL, x, planned);
  run_both(&once, x, at_once);
  run_both(&without, x, plain);
  for (int i = 0; i < 2; i++) {
    ck_assert_mem_eq(planned[i], at_once[i], 4 * WIDTH * sizeof(float));
    for (int k = 0; k < 4 * WIDTH; k++)
      ck_assert_msg(fabsf(planned[i][k] - plain[i][k]) <= 1e-4F * (1 + fabsf(plain[i][k])) ||
                        (isnan(planned[i][k]) && isnan(plain[i][k])),
                    "element %d: %g with passes, %g without", k, (double)planned[i][k], (double)plain[i][k]);
    free(planned[i]);
    free(at_once[i]);
    free(plain[i]);
  }
  free(data);
  pare_tensor_close(x);
}
END_TEST

/* ---- executors ---- */

/* The results of `runs` runs are all the same; one more is of a view that begins inside its buffer. */
static void run_often(pare_executor executor, int runs, pare_tensor *x, pare_tensor *view, float *results[2],
                      pare_model_launches *launches) {
  pare_model *model;
  OK(pare_model_open(context, path_of("random.onnx"), &(pare_model_options){.executor = executor}, &model));
  for (int run = 0; run <= runs; run++) {
    pare_tensor *out[2];
    OK(pare_model_run(model, run < runs ? &x : &view, NULL, out));
    for (int i = 0; i < 2; i++) {
      float *found = floats_of(out[i]);
      if (run > 0) ck_assert_mem_eq(found, results[i], 4 * WIDTH * sizeof(float));
      if (run > 0)
        free(found);
      else
        results[i] = found;
      pare_tensor_close(out[i]);
    }
  }
  OK(pare_model_count_launches(model, launches));
  pare_model_close(model);
}

START_TEST(both_executors_give_the_same_bits) {
  bool trusted;
  char reason[320];
  OK(pare__ticketed_trusted(pare__context_device(context), &trusted, reason, sizeof reason));
  if (!trusted) return;
  model_write(random_graph((uint32_t)_i), path_of("random.onnx"));
  float *data = random_floats(8 * WIDTH, 99), *plain[2], *ticketed[2];
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){4, WIDTH}, data), *view;
  memcpy(data + 4 * WIDTH, data, 4 * WIDTH * sizeof(float));
  pare_tensor *twice = tensor_of(PARE_F32, 2, (const int64_t[]){8, WIDTH}, data);
  OK(pare_tensor_slice(twice, 0, 4, 4, 1, &view));
  pare_model_launches launches;
  run_often(PARE_EXECUTOR_LAUNCHES, 2, x, view, plain, &launches);
  ck_assert_uint_eq(launches.ticketed, 0);
  run_often(PARE_EXECUTOR_TICKETED, 6, x, view, ticketed, &launches);
  ck_assert_uint_gt(launches.ticketed, 0);
  ck_assert_uint_lt(launches.launches, launches.without_tickets);
  for (int i = 0; i < 2; i++) {
    ck_assert_mem_eq(plain[i], ticketed[i], 4 * WIDTH * sizeof(float));
    free(plain[i]);
    free(ticketed[i]);
  }
  free(data);
  pare_tensor_close(view);
  pare_tensor_close(twice);
  pare_tensor_close(x);
}
END_TEST

/* ---- threads ---- */

enum { THREADS = 4, RUNS = 12 };

typedef struct thread_job {
  pare_model *model;
  int number;
  char problem[300];
} thread_job;

/* Batches of sizes that differ between threads and runs: plans come, go and share their memory. */
static void *run_batches(void *user) {
  thread_job *job = user;
  for (int run = 0; run < RUNS && !job->problem[0]; run++) {
    const int64_t rows = 1 + (job->number * 5 + run * 3) % 11, shape[2] = {rows, WIDTH};
    float *data = random_floats(rows * WIDTH, (uint32_t)(job->number * 100 + run));
    float *result = malloc((size_t)rows * WIDTH * sizeof *result);
    pare_tensor *x = NULL, *out = NULL;
    pare_status status = pare_tensor_from(context, PARE_F32, 2, shape, data, (size_t)rows * WIDTH * sizeof *data, &x);
    if (status == PARE_OK) status = pare_model_run(job->model, &x, NULL, &out);
    if (status == PARE_OK) status = pare_tensor_read(out, result, (size_t)rows * WIDTH * sizeof *result);
    if (status != PARE_OK) snprintf(job->problem, sizeof job->problem, "%.290s", pare_message());
    for (int64_t i = 0; i < rows && status == PARE_OK; i++) {
      double largest = -INFINITY, sum = 0;
      for (int k = 0; k < WIDTH; k++) largest = fmax(largest, 2.0 * (double)data[i * WIDTH + k]);
      for (int k = 0; k < WIDTH; k++) sum += exp(2.0 * (double)data[i * WIDTH + k] - largest);
      for (int k = 0; k < WIDTH; k++)
        if (fabs(exp(2.0 * (double)data[i * WIDTH + k] - largest) / sum - (double)result[i * WIDTH + k]) > 1e-5)
          snprintf(job->problem, sizeof job->problem, "run %d: element %d of row %d is wrong", run, k, (int)i);
    }
    pare_tensor_close(x);
    pare_tensor_close(out);
    free(data);
    free(result);
  }
  return NULL;
}

START_TEST(threads_share_a_model_with_batches_of_any_size) {
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  model_node(onnx, "Add", "x x", "twice");
  model_node(onnx, "Softmax", "twice", "y");
  model_output(onnx, "y");
  pare_model *model = opened(onnx, NULL);
  pthread_t threads[THREADS];
  thread_job jobs[THREADS];
  for (int i = 0; i < THREADS; i++) {
    jobs[i] = (thread_job){.model = model, .number = i};
    ck_assert_int_eq(pthread_create(&threads[i], NULL, run_batches, &jobs[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < THREADS; i++) ck_assert_msg(!jobs[i].problem[0], "thread %d: %s", i, jobs[i].problem);
  pare_model_close(model);
}
END_TEST

/* ---- passes ---- */

static size_t nodes_of(pare_model *model, const char *op_type) {
  size_t count = 0;
  for (size_t i = 0; i < model->network->graph.nnodes; i++)
    count += strcmp(model->network->graph.node[i].op_type, op_type) == 0;
  return count;
}

START_TEST(a_product_with_bias_and_written_out_gelu_is_one_node) {
  pare__onnx_model *onnx = model_new(13);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WIDTH});
  float *weights = random_floats(WIDTH * WIDTH, 5), root = 1.41421354F, one = 1, half = 0.5F;
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){WIDTH, WIDTH}, weights);
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 1, (const int64_t[]){WIDTH}, weights);
  model_constant(onnx, "root", PARE__ONNX_FLOAT, 0, NULL, &root);
  model_constant(onnx, "one", PARE__ONNX_FLOAT, 0, NULL, &one);
  model_constant(onnx, "half", PARE__ONNX_FLOAT, 0, NULL, &half);
  model_node(onnx, "MatMul", "x w", "product");
  model_node(onnx, "Add", "b product", "h");
  model_node(onnx, "Div", "h root", "scaled");
  model_node(onnx, "Erf", "scaled", "erf");
  model_node(onnx, "Add", "erf one", "gate");
  model_node(onnx, "Mul", "h gate", "twice");
  model_node(onnx, "Mul", "twice half", "y");
  model_output(onnx, "y");
  pare_model *model = opened(onnx, NULL), *plain;
  ck_assert_uint_eq(model->network->graph.nnodes, 1);
  ck_assert_uint_eq(nodes_of(model, "FusedMatMul"), 1);
  const pare_model_options without = {.without = "all"};
  OK(pare_model_open(context, path_of("model.onnx"), &without, &plain));
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){4, WIDTH}, weights), *out, *expected;
  OK(pare_model_run(model, &x, NULL, &out));
  OK(pare_model_run(plain, &x, NULL, &expected));
  float *a = floats_of(out), *r = floats_of(expected);
  for (int i = 0; i < 4 * WIDTH; i++) ck_assert_float_eq_tol(a[i], r[i], 1e-5 * (1 + fabsf(r[i])));
  free(a);
  free(r);
  free(weights);
  pare_tensor_close(out);
  pare_tensor_close(expected);
  pare_tensor_close(x);
  pare_model_close(plain);
  pare_model_close(model);
}
END_TEST

/* a = x w, b = sin(a), c = cos(b), d = c + c, e = d w, y = e a: b, c and d are one piece of memory. */
START_TEST(elementwise_results_lie_where_their_inputs_die) {
  enum { ROWS = 256, COLUMNS = 128 };
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, COLUMNS});
  float *weights = random_floats(COLUMNS * COLUMNS, 5);
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){COLUMNS, COLUMNS}, weights);
  model_node(onnx, "MatMul", "x w", "a");
  model_node(onnx, "Sin", "a", "b");
  model_node(onnx, "Cos", "b", "c");
  model_node(onnx, "Add", "c c", "d");
  model_node(onnx, "MatMul", "d w", "e");
  model_node(onnx, "Mul", "e a", "y"); /* a lives on: b does not lie there */
  model_output(onnx, "y");
  pare_model *model = opened(onnx, NULL);
  float *data = random_floats(ROWS * COLUMNS, 3);
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){ROWS, COLUMNS}, data), *out[2];
  const pare_model_options once = {.no_plan = true};
  pare_model_memory plan;
  OK(pare_model_plan(model, &x, &plan));
  ck_assert_uint_le(plan.activation_bytes, 3 * ROWS * COLUMNS * sizeof(float)); /* a, b to d, e */
  OK(pare_model_run(model, &x, NULL, &out[0]));
  pare_model_close(model);
  OK(pare_model_open(context, path_of("model.onnx"), &once, &model));
  OK(pare_model_run(model, &x, NULL, &out[1]));
  float *planned = floats_of(out[0]), *at_once = floats_of(out[1]);
  ck_assert_mem_eq(planned, at_once, ROWS * COLUMNS * sizeof(float));
  free(planned);
  free(at_once);
  free(weights);
  free(data);
  for (int i = 0; i < 2; i++) pare_tensor_close(out[i]);
  pare_tensor_close(x);
  pare_model_close(model);
}
END_TEST

START_TEST(what_a_plan_foretells_is_what_is_taken) {
  pare__onnx_model *onnx = model_new(17);
  enum { ROWS = 512, COLUMNS = 256 };
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, COLUMNS});
  float *weights = random_floats(COLUMNS * COLUMNS, 5);
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 2, (const int64_t[]){COLUMNS, COLUMNS}, weights);
  const char *const name[] = {"x", "a", "b", "c", "d", "e", "f"};
  for (int i = 0; i < 6; i++) {
    char inputs[16];
    snprintf(inputs, sizeof inputs, i % 2 ? "%s" : "%s w", name[i]);
    model_node(onnx, i % 2 ? "Softmax" : "MatMul", inputs, name[i + 1]);
  }
  model_output(onnx, "f");
  pare_model *model = opened(onnx, NULL);
  float *data = random_floats(ROWS * COLUMNS, 3);
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){ROWS, COLUMNS}, data), *out;
  pare_memory_usage before, after;
  pare_model_memory plan;
  OK(pare_context_memory(context, &before));
  OK(pare_model_plan(model, &x, &plan));
  OK(pare_model_run(model, &x, NULL, &out));
  OK(pare_context_memory(context, &after));
  ck_assert(plan.exact);
  const double taken = (double)(after.in_use_bytes - before.in_use_bytes);
  const double foretold = (double)(plan.activation_bytes + plan.output_bytes);
  ck_assert_msg(fabs(taken - foretold) <= 0.05 * foretold, "%.0f bytes taken, %.0f foretold", taken, foretold);
  ck_assert_uint_ge(plan.weight_bytes, COLUMNS * COLUMNS * sizeof(float));
  ck_assert_uint_le(plan.activation_bytes, 3 * ROWS * COLUMNS * sizeof(float));
  free(weights);
  free(data);
  pare_tensor_close(x);
  pare_tensor_close(out);
  pare_model_close(model);
}
END_TEST

START_TEST(an_output_that_the_host_knows_is_right_where_the_device_reads_it_too) {
  const int64_t zero = 0, one = 1;
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "x", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, 3});
  model_constant(onnx, "zero", PARE__ONNX_INT64, 0, NULL, &zero);
  model_constant(onnx, "one", PARE__ONNX_INT64, 0, NULL, &one);
  model_node(onnx, "Shape", "x", "shape");
  model_node(onnx, "Gather", "shape zero", "n");
  model_node(onnx, "Range", "zero n one", "rows");
  model_node(onnx, "Gather", "x rows", "y");
  model_output(onnx, "rows");
  model_output(onnx, "y");
  pare_model *model = opened(onnx, NULL);
  float *data = random_floats(12, 3);
  pare_tensor *x = tensor_of(PARE_F32, 2, (const int64_t[]){4, 3}, data), *out[2];
  int64_t rows[4];
  OK(pare_model_run(model, &x, NULL, out));
  OK(pare_tensor_read(out[0], rows, sizeof rows));
  ck_assert_mem_eq(rows, ((const int64_t[]){0, 1, 2, 3}), sizeof rows);
  for (int i = 0; i < 2; i++) pare_tensor_close(out[i]);
  free(data);
  pare_tensor_close(x);
  pare_model_close(model);
}
END_TEST

/* ---- edits ---- */

START_TEST(an_edited_model_gives_inner_values_and_takes_other_constants) {
  static const float weight[] = {1, 2, 3}, other[] = {4, 5, 6}, x[] = {1, -1, 2, 0, 1, 3};
  pare__onnx_model *onnx = with_input();
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 1, (const int64_t[]){3}, weight);
  model_node(onnx, "Mul", "x w", "inner");
  model_node(onnx, "Relu", "inner", "y");
  model_output(onnx, "y");
  model_write(onnx, path_of("edited.onnx"));
  pare__content *content;
  OK(pare__content_create(PARE_F32, 1, (const int64_t[]){3}, other, &content));
  static const char *const inner = "inner", *const w = "w", *const missing = "missing";
  const pare__edits edits = {.noutputs = 1, .output = &inner, .nconstants = 1, .constant = &w, .content = &content};
  pare_model *model;
  OK(pare__model_open_edited(context, path_of("edited.onnx"), NULL, &edits, &model));
  ck_assert_uint_eq(pare_model_outputs(model), 1);
  pare_tensor *in = tensor_of(PARE_F32, 2, (const int64_t[]){2, 3}, x), *out;
  OK(pare_model_run(model, &in, NULL, &out));
  float *values = floats_of(out);
  for (size_t i = 0; i < 6; i++) ck_assert_float_eq(values[i], x[i] * other[i % 3]);
  free(values);
  pare_tensor_close(out);
  pare_tensor_close(in);
  pare_model_close(model);
  pare__content_release(content);

  const pare__edits wrong_output = {.noutputs = 1, .output = &missing};
  ck_assert_int_eq(pare__model_open_edited(context, path_of("edited.onnx"), NULL, &wrong_output, &model),
                   PARE_ERR_ARGUMENT);
  ck_assert_ptr_nonnull(strstr(pare_message(), "'missing'"));
  OK(pare__content_create(PARE_F32, 1, (const int64_t[]){2}, other, &content));
  const pare__edits wrong_shape = {.nconstants = 1, .constant = &w, .content = &content};
  ck_assert_int_eq(pare__model_open_edited(context, path_of("edited.onnx"), NULL, &wrong_shape, &model),
                   PARE_ERR_SHAPE);
  pare__content_release(content);
}
END_TEST

int main(void) {
  if (!mkdtemp(folder)) return EXIT_FAILURE;
  TCase *tests = tcase_create("graph");
  tcase_add_unchecked_fixture(tests, open_context, close_context);
  tcase_add_test(tests, malformed_graphs_are_refused_with_the_node_and_the_name);
  tcase_add_test(tests, all_operators_that_are_missing_are_listed_at_load);
  tcase_add_test(tests, a_function_that_calls_itself_is_refused);
  tcase_add_test(tests, a_pass_that_does_not_exist_is_named);
  tcase_add_test(tests, inputs_that_do_not_fit_are_refused_and_the_model_stays_usable);
  tcase_add_loop_test(tests, shapes_that_turn_out_impossible_name_the_node_and_both_shapes, 0,
                      (int)PARE__COUNT(impossible));
  tcase_add_loop_test(tests, plans_and_passes_keep_the_results_of_random_graphs, 0, 20);
  tcase_add_loop_test(tests, both_executors_give_the_same_bits, 0, getenv("PARE_TEST_SMALL") ? 1 : 4);
  tcase_add_test(tests, threads_share_a_model_with_batches_of_any_size);
  tcase_add_test(tests, a_product_with_bias_and_written_out_gelu_is_one_node);
  tcase_add_test(tests, elementwise_results_lie_where_their_inputs_die);
  tcase_add_test(tests, what_a_plan_foretells_is_what_is_taken);
  tcase_add_test(tests, an_output_that_the_host_knows_is_right_where_the_device_reads_it_too);
  tcase_add_test(tests, an_edited_model_gives_inner_values_and_takes_other_constants);
  return remove_folder(folder, run_tests("graph", tests));
}
