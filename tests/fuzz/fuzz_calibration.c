/* Calibration data: an archive of any bytes fits the inputs of a model, or the message says what does not.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compress/calibration_data.h"

#include <stdio.h>

#include "base/path.h"
#include "format/onnx.h"
#include "fuzz.h"

static void *zeroed(pare__onnx_model *model, size_t nbytes) {
  void *memory;
  FUZZ_LAW(pare__onnx_allocate(model->source, nbytes, &memory) == PARE_OK);
  return memory;
}

/* Takes this dtype, [samples, 4]. */
static void add_input(pare__onnx_model *model, const char *name, int32_t dtype) {
  pare__onnx_value *input;
  pare__onnx_dimension *dimension;
  FUZZ_LAW(PARE__ONNX_APPEND(model->source, &model->graph->input, &input) == PARE_OK);
  input->name = name;
  input->type = zeroed(model, sizeof *input->type);
  input->type->which = PARE__ONNX_TYPE_TENSOR;
  input->type->tensor_type = zeroed(model, sizeof *input->type->tensor_type);
  input->type->tensor_type->elem_type = dtype;
  pare__onnx_shape *shape = input->type->tensor_type->shape = zeroed(model, sizeof *shape);
  FUZZ_LAW(PARE__ONNX_APPEND(model->source, &shape->dim, &dimension) == PARE_OK);
  dimension->which = PARE__ONNX_DIM_PARAM;
  dimension->dim_param = "samples";
  FUZZ_LAW(PARE__ONNX_APPEND(model->source, &shape->dim, &dimension) == PARE_OK);
  dimension->which = PARE__ONNX_DIM_VALUE;
  dimension->dim_value = 4;
}

static void write_model(const char *path) {
  pare__onnx_model *model;
  FUZZ_LAW(pare__onnx_create(&model) == PARE_OK);
  model->ir_version = 8;
  model->graph->name = "fuzz";
  add_input(model, "x", PARE__ONNX_FLOAT);
  add_input(model, "attention_mask", PARE__ONNX_INT64);
  FUZZ_LAW(pare__onnx_write(model, path, NULL) == PARE_OK);
  pare__onnx_close(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static char model[128], path[128];
  pare__calibration_data found;
  if (!model[0]) {
    snprintf(model, sizeof model, "%s/model.onnx", fuzz_folder());
    snprintf(path, sizeof path, "%s/data.npz", fuzz_folder());
    write_model(model);
  }
  FUZZ_LAW(pare__file_write(path, data, nbytes) == PARE_OK);
  if (pare__calibration_data_open(model, path, &found) == PARE_OK) {
    FUZZ_LAW(found.ninputs == 2 && found.nsamples > 0 && found.mask == &found.input[1]);
    for (size_t i = 0; i < 2; i++)
      FUZZ_LAW(found.input[i].rank == 2 && found.input[i].dim[0] == found.nsamples && found.input[i].dim[1] == 4 &&
               found.input[i].nbytes == (size_t)found.nsamples * 4 * (i == 0 ? sizeof(float) : sizeof(int64_t)));
  } else {
    FUZZ_LAW(pare_message()[0] != '\0');
  }
  pare__calibration_data_close(&found);
  return 0;
}
