/* Whole models, opened and run on the device: any bytes are refused with a message, or give outputs.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Every input gets a tensor of ones of its declared shape, unknown dimensions 2. The device memory is limited, so that
 * a model cannot ask for all of it, and a loop ends soon. */
#include <pare.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

enum { MOST_INPUTS = 16, MOST_OUTPUTS = 64, MOST_ELEMENTS = 1 << 16 };

static pare_context *context;

static void check_refusal(pare_status status) {
  FUZZ_LAW(status != PARE_ERR_DEVICE && status != PARE_ERR_KERNEL);
  FUZZ_LAW(pare_message()[0] != '\0');
}

/* A tensor of ones; NULL: too large for a quick run, or of a type that pare lacks. */
static pare_tensor *ones(const pare_model_value *value) {
  int64_t dim[PARE_MAX_RANK], count = 1;
  const int rank = value->rank < 0 ? 1 : value->rank;
  const pare_dtype dtype = value->dtype == PARE_NDTYPES ? PARE_F32 : value->dtype;
  for (int d = 0; d < rank; d++) {
    dim[d] = value->rank < 0 || value->dim[d] < 0 ? 2 : value->dim[d];
    if (dim[d] > MOST_ELEMENTS || (count *= dim[d]) > MOST_ELEMENTS) return NULL;
  }
  const size_t nbytes = (size_t)count * pare_dtype_bytes(dtype);
  unsigned char *data = calloc(nbytes + 1, 1);
  for (size_t i = 0; i < nbytes && pare_dtype_bytes(dtype) == 1; i++) data[i] = 1;
  pare_tensor *tensor = NULL;
  if (pare_tensor_from(context, dtype, rank, dim, data, nbytes, &tensor) != PARE_OK) tensor = NULL;
  free(data);
  return tensor;
}

static void run_model(pare_model *model) {
  pare_tensor *input[MOST_INPUTS] = {NULL}, *output[MOST_OUTPUTS] = {NULL};
  const size_t ninputs = pare_model_inputs(model), noutputs = pare_model_outputs(model);
  if (ninputs > MOST_INPUTS || noutputs > MOST_OUTPUTS) return;
  bool complete = true;
  for (size_t i = 0; i < ninputs && complete; i++) {
    pare_model_value value;
    FUZZ_LAW(pare_model_input(model, i, &value) == PARE_OK);
    input[i] = ones(&value);
    complete = input[i] != NULL;
  }
  if (complete) {
    const pare_status status = pare_model_run(model, input, NULL, output);
    if (status != PARE_OK) check_refusal(status);
    (void)pare_context_wait(context); /* an index out of range is reported here, and is no fault of ours */
  }
  for (size_t i = 0; i < noutputs; i++) pare_tensor_close(output[i]);
  for (size_t i = 0; i < ninputs; i++) pare_tensor_close(input[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes) {
  static const pare_model_options options = {.loop_limit = 16};
  if (!context) {
    const pare_context_options limited = {.memory_limit_bytes = (uint64_t)256 << 20};
    FUZZ_LAW(pare_context_open(&limited, &context) == PARE_OK);
  }
  char path[64];
  const int file = memfd_create("model", 0);
  FUZZ_LAW(file >= 0 && write(file, data, nbytes) == (ssize_t)nbytes);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  pare_model *model;
  const pare_status status = pare_model_open(context, path, &options, &model);
  if (status == PARE_OK)
    run_model(model);
  else
    check_refusal(status);
  pare_model_close(model);
  close(file);
  return 0;
}
