/* A model with passes and without. SPDX-License-Identifier: Apache-2.0 */
#include "with_passes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "graph/run.h"
#include "onnx_builder.h"

size_t nodes_of(const pare_model *model, const char *op_type) {
  size_t count = 0;
  for (size_t i = 0; i < model->network->graph.nnodes; i++)
    count += strcmp(model->network->graph.node[i].op_type, op_type) == 0;
  return count;
}

pare_model *with_passes(const char *path, pare__onnx_model *onnx, uint32_t seed) {
  return with_passes_within(path, onnx, seed, 2e-5F);
}

pare_model *with_passes_within(const char *path, pare__onnx_model *onnx, uint32_t seed, float tolerance) {
  model_write(onnx, path);
  pare_model *models[2];
  const pare_model_options without = {.without = "all"};
  OK(pare_model_open(context, path, NULL, &models[0]));
  OK(pare_model_open(context, path, &without, &models[1]));
  pare_tensor *in[4] = {NULL}, *out[2][4] = {{NULL}};
  for (size_t i = 0; i < pare_model_inputs(models[0]); i++) {
    pare_model_value value;
    OK(pare_model_input(models[0], i, &value));
    float *data = random_floats(count_of(value.rank, value.dim), seed + (uint32_t)i);
    uint8_t *bits = malloc((size_t)count_of(value.rank, value.dim) + 1);
    for (int64_t k = 0; k < count_of(value.rank, value.dim); k++) bits[k] = data[k] > -0.5F;
    in[i] = tensor_of(value.dtype, value.rank, value.dim, value.dtype == PARE_BOOL ? (void *)bits : (void *)data);
    free(bits);
    free(data);
  }
  for (int m = 0; m < 2; m++) OK(pare_model_run(models[m], in, NULL, out[m]));
  for (size_t i = 0; i < pare_model_outputs(models[0]); i++) {
    ck_assert_int_eq(out[0][i]->shape.rank, out[1][i]->shape.rank);
    for (int d = 0; d < out[0][i]->shape.rank; d++) ck_assert_int_eq(out[0][i]->shape.dim[d], out[1][i]->shape.dim[d]);
    float *a = floats_of(out[0][i]), *r = floats_of(out[1][i]);
    for (int64_t k = 0; k < pare__shape_elements(&out[0][i]->shape); k++)
      ck_assert_msg(fabsf(a[k] - r[k]) <= tolerance * (1 + fabsf(r[k])) || (isnan(a[k]) && isnan(r[k])),
                    "seed %u: element %d of output %d: %g with passes, %g without", seed, (int)k, (int)i, (double)a[k],
                    (double)r[k]);
    free(a);
    free(r);
    for (int m = 0; m < 2; m++) pare_tensor_close(out[m][i]);
  }
  for (int i = 0; i < 4; i++) pare_tensor_close(in[i]);
  pare_model_close(models[1]);
  return models[0];
}

void model_number(pare__onnx_model *onnx, const char *name, float value) {
  model_constant(onnx, name, PARE__ONNX_FLOAT, 0, NULL, &value);
}
