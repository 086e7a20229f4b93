/* A small piece of real work that tests repeat under faults, in threads and with little memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include <math.h>
#include <stdint.h>

#include "onnx_builder.h"

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
bool workload_is_right(unsigned seed, const workload_result *result) {
  inputs in;
  make_inputs(seed, &in);
  for (int row = 0; row < WORKLOAD_ROWS; row++) {
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

bool workload_write_model(const char *path, unsigned seed) {
  inputs in;
  make_inputs(seed, &in);
  pare__onnx_model *onnx = model_new(17);
  model_input(onnx, "a", PARE__ONNX_FLOAT, 2, (const int64_t[]){-1, WORKLOAD_INNER});
  model_constant(onnx, "b", PARE__ONNX_FLOAT, 2, (const int64_t[]){WORKLOAD_INNER, WORKLOAD_COLUMNS}, in.b);
  model_constant(onnx, "bias", PARE__ONNX_FLOAT, 1, (const int64_t[]){WORKLOAD_COLUMNS}, in.bias);
  model_constant(onnx, "axes", PARE__ONNX_INT64, 1, (const int64_t[]){1}, (const int64_t[]){1});
  model_node(onnx, "MatMul", "a b", "product");
  model_node(onnx, "Add", "product bias", "sum");
  model_node(onnx, "Relu", "sum", "hidden");
  model_node(onnx, "Softmax", "hidden", "softmax");
  node_int(onnx, model_node(onnx, "ReduceSum", "hidden axes", "total"), "keepdims", 0);
  model_output(onnx, "softmax");
  model_output(onnx, "total");
  const bool written = pare__onnx_write(onnx, path, NULL) == PARE_OK;
  pare__onnx_close(onnx);
  return written;
}

static pare_status compute_by_model(pare_context *context, const inputs *in, workload_result *result) {
  pare_model *model = NULL;
  pare_tensor *a = NULL, *out[2] = {NULL, NULL};
  const pare_model_options options = {.executor = model_executor};
  const int runs = model_executor == PARE_EXECUTOR_TICKETED ? 4 : 2;
  pare_status status = pare_model_open(context, model_path, &options, &model);
  if (status == PARE_OK)
    status = pare_tensor_from(context, PARE_F32, 2, (const int64_t[]){WORKLOAD_ROWS, WORKLOAD_INNER}, in->a,
                              sizeof in->a, &a);
  for (int run = 0; run < runs && status == PARE_OK; run++) {
    status = pare_model_run(model, &a, NULL, out);
    if (status == PARE_OK) status = pare_tensor_read(out[0], result->softmax, sizeof result->softmax);
    if (status == PARE_OK) status = pare_tensor_read(out[1], result->sum, sizeof result->sum);
    for (int i = 0; i < 2; i++) {
      pare_tensor_close(out[i]);
      out[i] = NULL;
    }
  }
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
