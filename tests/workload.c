/* A small piece of real work that tests repeat under faults, in threads and with little memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "onnx_builder.h"
#include "run.h"

enum { A_COUNT = WORKLOAD_ROWS * WORKLOAD_INNER, B_COUNT = WORKLOAD_INNER * WORKLOAD_COLUMNS };

typedef struct inputs {
  float a[A_COUNT], b[B_COUNT], bias[WORKLOAD_COLUMNS];
} inputs;

static float uniform(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

static void make_inputs(unsigned seed, inputs *out) {
  uint32_t state = seed * 2654435761u + 1;
  for (int i = 0; i < A_COUNT; i++) out->a[i] = uniform(&state);
  for (int i = 0; i < B_COUNT; i++) out->b[i] = uniform(&state);
  for (int i = 0; i < WORKLOAD_COLUMNS; i++) out->bias[i] = uniform(&state);
}

/* Double-precision softmax and sums of the rows of relu(A B + bias). */
bool workload_rows_are_right(unsigned seed, int rows, const workload_result *result) {
  inputs in;
  make_inputs(seed, &in);
  for (int row = 0; row < rows; row++) {
    double hidden[WORKLOAD_COLUMNS], sum = 0, exponentials = 0;
    for (int column = 0; column < WORKLOAD_COLUMNS; column++) {
      double value = in.bias[column];
      for (int k = 0; k < WORKLOAD_INNER; k++)
        value += (double)in.a[row * WORKLOAD_INNER + k] * in.b[k * WORKLOAD_COLUMNS + column];
      hidden[column] = value > 0 ? value : 0;
      sum += hidden[column];
      exponentials += exp(hidden[column]);
    }
    if (!(fabs(result->sum[row] - sum) <= 1e-3)) return false;
    for (int column = 0; column < WORKLOAD_COLUMNS; column++)
      if (!(fabs(result->softmax[row * WORKLOAD_COLUMNS + column] - exp(hidden[column]) / exponentials) <= 1e-4))
        return false;
  }
  return true;
}

bool workload_is_right(unsigned seed, const workload_result *result) {
  return workload_rows_are_right(seed, WORKLOAD_ROWS, result);
}

/* ---- the work ---- */

enum { A, B, B_VIEW, BIAS, PRODUCT, HIDDEN, SOFTMAX, SUM, NTENSORS };

static pare_status make_tensors(pare_context *context, const inputs *in, pare_tensor **tensors) {
  const struct {
    int index, rank;
    int64_t shape[2];
    const float *data; /* NULL: not filled */
    size_t nbytes;
  } wanted[] = {{A, 2, {WORKLOAD_ROWS, WORKLOAD_INNER}, in->a, sizeof in->a},
                {B, 2, {WORKLOAD_INNER, WORKLOAD_COLUMNS}, in->b, sizeof in->b},
                {BIAS, 1, {WORKLOAD_COLUMNS, 0}, in->bias, sizeof in->bias},
                {PRODUCT, 2, {WORKLOAD_ROWS, WORKLOAD_COLUMNS}, NULL, 0},
                {HIDDEN, 2, {WORKLOAD_ROWS, WORKLOAD_COLUMNS}, NULL, 0},
                {SOFTMAX, 2, {WORKLOAD_ROWS, WORKLOAD_COLUMNS}, NULL, 0},
                {SUM, 1, {WORKLOAD_ROWS, 0}, NULL, 0}};
  pare_status status = PARE_OK;
  for (unsigned i = 0; i < sizeof wanted / sizeof wanted[0] && status == PARE_OK; i++) {
    pare_tensor **out = &tensors[wanted[i].index];
    if (wanted[i].data == NULL)
      status = pare_tensor_create(context, PARE_F32, wanted[i].rank, wanted[i].shape, out);
    else
      status =
          pare_tensor_from(context, PARE_F32, wanted[i].rank, wanted[i].shape, wanted[i].data, wanted[i].nbytes, out);
  }
  return status;
}

static pare_status submit_work(pare_tensor **tensors, pare_weights **weights) {
  pare_status status = pare_tensor_permute(tensors[B], (const int[]){1, 0}, &tensors[B_VIEW]);
  if (status == PARE_OK) status = pare_weights_pack(tensors[B_VIEW], true, weights);
  if (status == PARE_OK) status = pare_gemm_packed(tensors[A], *weights, NULL, NULL, tensors[PRODUCT]);
  if (status == PARE_OK) status = pare_binary(PARE_BINARY_add, tensors[PRODUCT], tensors[BIAS], tensors[HIDDEN]);
  if (status == PARE_OK) status = pare_unary(PARE_UNARY_relu, tensors[HIDDEN], tensors[HIDDEN]);
  if (status == PARE_OK) status = pare_softmax(tensors[HIDDEN], 1, tensors[SOFTMAX]);
  if (status == PARE_OK)
    status = pare_reduce(tensors[HIDDEN], PARE_REDUCTION_SUM, (const int[]){1}, 1, false, tensors[SUM]);
  return status;
}

/* ---- the same by a model ---- */

static const char *model_path;
static pare_executor model_executor;

void workload_use_model(const char *path, pare_executor executor) {
  model_path = path;
  model_executor = executor;
}

static void add_layers(pare__onnx_model *onnx, const inputs *in) {
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){WORKLOAD_INNER, WORKLOAD_COLUMNS}, in->b);
  model_node(onnx, "MatMul", "a b", "product");
  model_node(onnx, "Add", "product bias", "sum");
  model_node(onnx, "Relu", "sum", "hidden");
}

/* The product as a convolution of images of one pixel, then a product with the unit matrix in 8 bits. */
static void add_convolution(pare__onnx_model *onnx, const inputs *in) {
  static const int64_t pixels[] = {0, WORKLOAD_INNER, 1, 1}, flat[] = {0, WORKLOAD_COLUMNS};
  const float scale = 1.0F / 127;
  float w[B_COUNT];
  int8_t unit[WORKLOAD_COLUMNS * WORKLOAD_COLUMNS] = {0};
  for (int i = 0; i < B_COUNT; i++) w[i % WORKLOAD_COLUMNS * WORKLOAD_INNER + i / WORKLOAD_COLUMNS] = in->b[i];
  for (int i = 0; i < WORKLOAD_COLUMNS; i++) unit[i * WORKLOAD_COLUMNS + i] = 127;
  model_constant(onnx, "w", PARE__ONNX_FLOAT, 4, (const int64_t[]){WORKLOAD_COLUMNS, WORKLOAD_INNER, 1, 1}, w);
  model_constant(onnx, "unit", PARE__ONNX_INT8, 2, (const int64_t[]){WORKLOAD_COLUMNS, WORKLOAD_COLUMNS}, unit);
  model_constant(onnx, "scale", PARE__ONNX_FLOAT, 0, NULL, &scale);
  model_constant(onnx, "pixels", PARE__ONNX_INT64, 1, (const int64_t[]){4}, pixels);
  model_constant(onnx, "flat", PARE__ONNX_INT64, 1, (const int64_t[]){2}, flat);
  model_node(onnx, "Reshape", "a pixels", "image");
  model_node(onnx, "Conv", "image w bias", "features");
  model_node(onnx, "Relu", "features", "positive");
  model_node(onnx, "Reshape", "positive flat", "rows");
  model_node(onnx, "DequantizeLinear", "unit scale", "identity");
  model_node(onnx, "MatMul", "rows identity", "again");
}

/* Values decide, always for what changes nothing: no element is negative. */
static void add_control(pare__onnx_model *onnx) {
  const float least = -1;
  const int64_t trips = 2;
  model_constant(onnx, "least", PARE__ONNX_FLOAT, 0, NULL, &least);
  model_constant(onnx, "trips", PARE__ONNX_INT64, 0, NULL, &trips);
  node_int(onnx, model_node(onnx, "ReduceMax", "again", "largest"), "keepdims", 0);
  model_node(onnx, "Greater", "largest least", "go");
  pare__onnx_node *choice = model_node(onnx, "If", "go", "chosen");
  node_in(onnx, &node_body(onnx, choice, "then_branch", "", "then")->node, "Relu", "again", "then");
  node_in(onnx, &node_body(onnx, choice, "else_branch", "", "else")->node, "Neg", "again", "else");
  pare__onnx_node *loop = model_node(onnx, "Loop", "trips go chosen", "hidden");
  node_in(onnx, &node_body(onnx, loop, "body", "i c v", "c next")->node, "Relu", "v", "next");
}

bool workload_write_model(const char *path, workload_model kind, unsigned seed) {
  inputs in;
  make_inputs(seed, &in);
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "a", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WORKLOAD_INNER});
  model_constant(onnx, "bias", PARE__ONNX_FLOAT, 1, (const int64_t[]){WORKLOAD_COLUMNS}, in.bias);
  model_constant(onnx, "axes", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){1});
  if (kind == WORKLOAD_AT_ONCE) {
    add_convolution(onnx, &in);
    add_control(onnx);
  } else {
    add_layers(onnx, &in);
  }
  model_node(onnx, "Softmax", "hidden", "softmax");
  node_int(onnx, model_node(onnx, "ReduceSum", "hidden axes", "total"), "keepdims", 0);
  model_output(onnx, "softmax");
  model_output(onnx, "total");
  const bool written = pare__onnx_write(onnx, path, NULL) == PARE_OK;
  pare__onnx_close(onnx);
  return written;
}

static pare_status run_model(pare_model *model, pare_tensor *a, int rows, workload_result *result) {
  pare_tensor *out[2] = {NULL, NULL};
  pare_status status = pare_model_run(model, &a, NULL, out);
  if (status == PARE_OK)
    status = pare_tensor_read(out[0], result->softmax, (size_t)rows * WORKLOAD_COLUMNS * sizeof(float));
  if (status == PARE_OK) status = pare_tensor_read(out[1], result->sum, (size_t)rows * sizeof(float));
  for (int i = 0; i < 2; i++) pare_tensor_close(out[i]);
  return status;
}

pare_status workload_run(pare_context *context, pare_model *model, unsigned seed, int rows, workload_result *result) {
  inputs in;
  make_inputs(seed, &in);
  pare_tensor *a = NULL;
  pare_status status = pare_tensor_from(context, PARE_F32, 2, (const int64_t[]){rows, WORKLOAD_INNER}, in.a,
                                        (size_t)rows * WORKLOAD_INNER * sizeof(float), &a);
  if (status == PARE_OK) status = run_model(model, a, rows, result);
  pare_tensor_close(a);
  return status;
}

static pare_status compute_by_model(pare_context *context, const inputs *in, workload_result *result) {
  pare_model *model = NULL;
  pare_tensor *a = NULL;
  const pare_model_options options = {.executor = model_executor};
  const int runs = model_executor == PARE_EXECUTOR_TICKETED ? 4 : 2;
  pare_status status = pare_model_open(context, model_path, &options, &model);
  if (status == PARE_OK)
    status = pare_tensor_from(context, PARE_F32, 2, (const int64_t[]){WORKLOAD_ROWS, WORKLOAD_INNER}, in->a,
                              sizeof in->a, &a);
  for (int run = 0; run < runs && status == PARE_OK; run++) status = run_model(model, a, WORKLOAD_ROWS, result);
  pare_tensor_close(a);
  pare_model_close(model);
  return status;
}

pare_status workload_compute(pare_context *context, unsigned seed, workload_result *result) {
  inputs in;
  pare_tensor *tensors[NTENSORS] = {NULL};
  pare_weights *weights = NULL;
  make_inputs(seed, &in);
  if (model_path) return compute_by_model(context, &in, result);
  pare_status status = make_tensors(context, &in, tensors);
  if (status == PARE_OK) status = submit_work(tensors, &weights);
  if (status == PARE_OK) status = pare_tensor_read(tensors[SOFTMAX], result->softmax, sizeof result->softmax);
  if (status == PARE_OK) status = pare_tensor_read(tensors[SUM], result->sum, sizeof result->sum);
  pare_status waited = pare_context_wait(context);
  pare_weights_close(weights);
  for (unsigned i = 0; i < NTENSORS; i++) pare_tensor_close(tensors[i]);
  return status != PARE_OK ? status : waited;
}

/* ---- pacing ---- */

enum { MANY_TASKS = 4 * PARE__PACE_TASKS };

typedef struct submission {
  pare_context *context;
  const pare__codelet *codelet;
  int64_t elements_each;
  atomic_int submitted;
} submission;

static void *submit_many(void *argument) {
  submission *s = argument;
  for (int i = 0; i < MANY_TASKS; i++) {
    pare_tensor *y = NULL;
    if (pare_tensor_create(s->context, PARE_I32, 1, &s->elements_each, &y) != PARE_OK) break;
    const pare__task task = {.codelet = s->codelet,
                             .context = s->context,
                             .n = 1,
                             .naccesses = 1,
                             .access = {{.tensor = y, .mode = PARE__WRITE, .axis = PARE__WHOLE}}};
    const pare_status status = pare__submit(&task);
    pare_tensor_close(y);
    if (status != PARE_OK) break;
    atomic_fetch_add(&s->submitted, 1);
  }
  return NULL;
}

void workload_is_paced(pare_context *context, const pare__codelet *codelet, bool large, void (*go)(void *),
                       void *argument) {
  const int most = large ? (int)(PARE__PACE_BYTES >> 22) + 1 : PARE__PACE_TASKS, least = most / 2 - 1;
  submission s = {.context = context, .codelet = codelet, .elements_each = large ? 1 << 20 : 1};
  atomic_init(&s.submitted, 0);
  pthread_t thread;
  ck_assert_int_eq(pthread_create(&thread, NULL, submit_many, &s), 0);
  while (atomic_load(&s.submitted) < least) usleep(1000);
  usleep(50000); /* it would go on, were it not kept */
  const int kept_at = atomic_load(&s.submitted);
  go(argument);
  pthread_join(thread, NULL);
  ck_assert_int_le(kept_at, most);
  ck_assert_int_eq(atomic_load(&s.submitted), MANY_TASKS);
  OK(pare_context_wait(context));
}
