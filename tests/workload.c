/* A small piece of real work that tests repeat under faults, in threads and with little memory.
 * SPDX-License-Identifier: Apache-2.0 */
#include "workload.h"

#include <math.h>
#include <stdint.h>

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

/* Double-precision relu(A B + bias) and the sums of its rows. */
bool workload_is_right(unsigned seed, const workload_result *result) {
  inputs in;
  make_inputs(seed, &in);
  for (int row = 0; row < WORKLOAD_ROWS; row++) {
    double sum = 0;
    for (int column = 0; column < WORKLOAD_COLUMNS; column++) {
      double value = in.bias[column];
      for (int k = 0; k < WORKLOAD_INNER; k++)
        value += (double)in.a[row * WORKLOAD_INNER + k] * in.b[k * WORKLOAD_COLUMNS + column];
      value = value > 0 ? value : 0;
      sum += value;
      if (!(fabs(result->hidden[row * WORKLOAD_COLUMNS + column] - value) <= 1e-4)) return false;
    }
    if (!(fabs(result->sum[row] - sum) <= 1e-3)) return false;
  }
  return true;
}

/* ---- the work ---- */

enum { A, B, B_VIEW, BIAS, ONES, HIDDEN, SUM, NTENSORS };

static pare_status make_tensors(pare_context *context, const inputs *in, pare_tensor **tensors) {
  float ones[WORKLOAD_COLUMNS];
  for (int i = 0; i < WORKLOAD_COLUMNS; i++) ones[i] = 1;
  const struct {
    int index, rank;
    int64_t shape[2];
    const float *data;
    size_t nbytes;
  } given[] = {{A, 2, {WORKLOAD_ROWS, WORKLOAD_INNER}, in->a, sizeof in->a},
               {B, 2, {WORKLOAD_INNER, WORKLOAD_COLUMNS}, in->b, sizeof in->b},
               {BIAS, 1, {WORKLOAD_COLUMNS, 0}, in->bias, sizeof in->bias},
               {ONES, 2, {WORKLOAD_COLUMNS, 1}, ones, sizeof ones}};
  pare_status status = PARE_OK;
  for (unsigned i = 0; i < sizeof given / sizeof given[0] && status == PARE_OK; i++)
    status = pare_tensor_from(context, PARE_F32, given[i].rank, given[i].shape, given[i].data, given[i].nbytes,
                              &tensors[given[i].index]);
  if (status == PARE_OK) status = pare_tensor_permute(tensors[B], (const int[]){1, 0}, &tensors[B_VIEW]);
  if (status == PARE_OK)
    status =
        pare_tensor_create(context, PARE_F32, 2, (const int64_t[]){WORKLOAD_ROWS, WORKLOAD_COLUMNS}, &tensors[HIDDEN]);
  if (status == PARE_OK)
    status = pare_tensor_create(context, PARE_F32, 2, (const int64_t[]){WORKLOAD_ROWS, 1}, &tensors[SUM]);
  return status;
}

pare_status workload_compute(pare_context *context, unsigned seed, workload_result *result) {
  inputs in;
  pare_tensor *tensors[NTENSORS] = {NULL};
  pare_weights *weights = NULL;
  pare_gemm_options relu = PARE_GEMM_OPTIONS_INIT;
  relu.activation = PARE_ACTIVATION_RELU;
  make_inputs(seed, &in);
  pare_status status = make_tensors(context, &in, tensors);
  if (status == PARE_OK) status = pare_weights_pack(tensors[B_VIEW], true, &weights);
  if (status == PARE_OK) status = pare_gemm_packed(tensors[A], weights, tensors[BIAS], &relu, tensors[HIDDEN]);
  if (status == PARE_OK) status = pare_gemm(tensors[HIDDEN], tensors[ONES], NULL, NULL, tensors[SUM]);
  if (status == PARE_OK) status = pare_tensor_read(tensors[HIDDEN], result->hidden, sizeof result->hidden);
  if (status == PARE_OK) status = pare_tensor_read(tensors[SUM], result->sum, sizeof result->sum);
  pare_status waited = pare_context_wait(context);
  pare_weights_close(weights);
  for (unsigned i = 0; i < NTENSORS; i++) pare_tensor_close(tensors[i]);
  return status != PARE_OK ? status : waited;
}
