/* Positions that nobody reads. SPDX-License-Identifier: Apache-2.0 */
#include "compress/padding.h"

#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"

bool pare__is_padding_mask(const char *name, pare_dtype dtype, int rank) {
  return strcmp(name, "attention_mask") == 0 && rank == 2 && dtype != PARE_NDTYPES && !pare__dtype_is_float(dtype);
}

static pare_status read_mask(pare_tensor *tensor, pare__padding *out) {
  const size_t count = (size_t)pare_tensor_elements(tensor);
  const size_t nbytes = count * pare_dtype_bytes(pare_tensor_dtype(tensor));
  void *data = malloc(nbytes + 1);
  out->counts = calloc(count + 1, sizeof *out->counts);
  pare_status status = data && out->counts ? PARE_OK : pare__fail_memory("a mask", nbytes);
  if (status == PARE_OK) status = pare_tensor_read(tensor, data, nbytes);
  bool any = false;
  for (size_t i = 0; i < count && status == PARE_OK; i++) {
    out->counts[i] = pare__load(pare_tensor_dtype(tensor), data, i) != 0;
    any = any || out->counts[i];
  }
  free(data);
  if (!any) return status;
  out->samples = pare_tensor_shape(tensor)[0];
  out->positions = pare_tensor_shape(tensor)[1];
  return status;
}

pare_status pare__padding_read(pare_model *model, pare_tensor *const *inputs, pare__padding *out) {
  *out = (pare__padding){0};
  for (size_t i = 0; i < pare_model_inputs(model); i++) {
    pare_model_value value;
    PARE__TRY(pare_model_input(model, i, &value));
    if (inputs[i] && pare__is_padding_mask(value.name, pare_tensor_dtype(inputs[i]), pare_tensor_rank(inputs[i])))
      return read_mask(inputs[i], out);
  }
  return PARE_OK;
}

void pare__padding_close(pare__padding *padding) {
  free(padding->counts);
  *padding = (pare__padding){0};
}

size_t pare__padding_vector(const pare__padding *padding, pare_tensor *tensor) {
  const int64_t *dim = pare_tensor_shape(tensor);
  if (padding->positions == 0 || pare_tensor_rank(tensor) < 3) return 0;
  if (dim[0] != padding->samples || dim[1] != padding->positions) return 0;
  return (size_t)(pare_tensor_elements(tensor) / (dim[0] * dim[1]));
}
