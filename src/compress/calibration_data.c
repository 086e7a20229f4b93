/* Reading calibration data, and holding it against what the model takes. SPDX-License-Identifier: Apache-2.0 */
#include "compress/calibration_data.h"

#include <math.h>
#include <pare/inspect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "compress/padding.h"
#include "graph/inspect.h"
#include "tensor/tensor.h"

void pare__calibration_data_close(pare__calibration_data *data) {
  pare_arrays_close(data->arrays);
  free(data->path);
  free(data->name);
  free(data->input);
  free(data->whole);
  *data = (pare__calibration_data){0};
}

static pare_status check_numbers(const char *path, const char *name, const pare_array *array) {
  if (!pare__dtype_is_float(array->dtype)) return PARE_OK;
  const size_t count = array->nbytes / pare_dtype_bytes(array->dtype);
  for (size_t i = 0; i < count; i++) {
    const double value = pare_array_number(array, i);
    if (!isfinite(value))
      return pare__fail(PARE_ERR_FORMAT, "calibration data %s: input '%.100s' holds %g, at element %zu", path, name,
                        value, i);
  }
  return PARE_OK;
}

static pare_status check_shape(const char *path, const pare_model_value *declared, const pare_array *array) {
  bool fits = array->rank >= 1 && (declared->rank < 0 || declared->rank == array->rank);
  for (int d = 1; d < declared->rank && fits; d++) fits = declared->dim[d] < 0 || declared->dim[d] == array->dim[d];
  if (fits) return PARE_OK;
  char found[PARE__SHAPE_TEXT], wanted[PARE__SHAPE_TEXT];
  return pare__fail(PARE_ERR_SHAPE,
                    "calibration data %s: input '%.100s' has the shape %s; the model takes %s, and the first axis "
                    "counts samples",
                    path, declared->name, pare__shape_text(array->rank, array->dim, found, sizeof found),
                    pare__shape_text(PARE__MAX(declared->rank, 0), declared->dim, wanted, sizeof wanted));
}

/* In just the shape that the model declares? */
static bool is_as_declared(const pare_model_value *declared, const pare_array *array) {
  bool same = declared->rank == array->rank;
  for (int d = 0; d < declared->rank && same; d++) same = declared->dim[d] == array->dim[d];
  return same;
}

/* has_default: the file has a value for it. In the shape of that, it holds for every sample; else it has samples. */
static pare_status check_input(const char *path, const pare_model_value *declared, bool has_default,
                               pare__calibration_data *data, size_t i) {
  pare_array *array = &data->input[i];
  size_t index;
  if (!pare_arrays_find(data->arrays, declared->name, &index))
    return pare__fail(PARE_ERR_ARGUMENT, "calibration data %s has no array '%.100s', which is an input of the model",
                      path, declared->name);
  PARE__TRY(pare_arrays_get(data->arrays, index, array));
  if (array->dtype == PARE_NDTYPES || (declared->dtype != PARE_NDTYPES && declared->dtype != array->dtype))
    return pare__fail(PARE_ERR_TYPE, "calibration data %s: input '%.100s' is %s; the model takes %s", path,
                      declared->name, array->dtype_name, declared->dtype_name);
  data->whole[i] = has_default && is_as_declared(declared, array);
  if (data->whole[i]) return check_numbers(path, declared->name, array);
  PARE__TRY(check_shape(path, declared, array));
  if (array->nbytes == 0)
    return pare__fail(PARE_ERR_ARGUMENT, "calibration data %s: input '%.100s' is empty", path, declared->name);
  if (data->nsamples > 0 && data->nsamples != array->dim[0])
    return pare__fail(PARE_ERR_SHAPE, "calibration data %s: input '%.100s' has %lld samples, those before it %lld",
                      path, declared->name, (long long)array->dim[0], (long long)data->nsamples);
  data->nsamples = array->dim[0];
  if (declared->rank > 0 && declared->dim[0] > 0) data->batch = declared->dim[0];
  if (data->batch > 0 && data->nsamples % data->batch != 0)
    return pare__fail(PARE_ERR_SHAPE,
                      "calibration data %s: input '%.100s' has %lld samples; the model takes %lld at a time, and they "
                      "are no multiple of that",
                      path, declared->name, (long long)data->nsamples, (long long)data->batch);
  return check_numbers(path, declared->name, array);
}

static pare_status check_inputs(const char *path, pare_inspection *inspection, pare__calibration_data *data) {
  pare_model_info info;
  const size_t narrays = pare_arrays_count(data->arrays);
  data->name = calloc(narrays + 1, sizeof *data->name);
  if (!data->name) return pare__fail_memory("calibration data", narrays * sizeof *data->name);
  for (size_t i = 0; i < narrays; i++) data->name[i] = pare_arrays_name(data->arrays, i);
  PARE__TRY(pare__inspect_override(inspection, narrays, data->name));
  PARE__TRY(pare_inspect_model(inspection, &info));
  data->input = calloc(info.ninputs + 1, sizeof *data->input);
  data->whole = calloc(info.ninputs + 1, sizeof *data->whole);
  if (!data->input || !data->whole) return pare__fail_memory("calibration data", info.ninputs * sizeof *data->input);
  data->ninputs = info.ninputs;
  if (info.ninputs == 0) return pare__fail(PARE_ERR_ARGUMENT, "the model has no inputs to calibrate with");
  for (size_t i = 0; i < info.ninputs; i++) {
    pare_model_value declared;
    PARE__TRY(pare_inspect_input(inspection, i, &declared));
    const bool has_default = pare__inspect_has_default(inspection, declared.name);
    PARE__TRY(check_input(path, &declared, has_default, data, i));
    if (pare__is_padding_mask(declared.name, data->input[i].dtype, data->input[i].rank)) data->mask = &data->input[i];
  }
  if (data->nsamples > 0) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "calibration data %s has no samples: only values in place of defaults", path);
}

pare_model_options pare__calibration_data_options(const pare__calibration_data *data) {
  pare_model_options options = PARE_MODEL_OPTIONS_INIT;
  options.noverridden = pare_arrays_count(data->arrays);
  options.overridden = data->name;
  return options;
}

pare_status pare__calibration_data_open(const char *model, const char *path, pare__calibration_data *out) {
  pare_inspection *inspection = NULL;
  *out = (pare__calibration_data){0};
  out->path = pare__strdup(path);
  if (!out->path) return pare__fail_memory("a path", strlen(path) + 1);
  PARE__TRY(pare_arrays_open(path, &out->arrays));
  pare_status status = pare_inspect_open(model, &inspection);
  if (status == PARE_OK) status = check_inputs(path, inspection, out);
  pare_inspect_close(inspection);
  return status;
}

pare_status pare__calibration_data_batch(const pare__calibration_data *data, pare_context *context, int64_t first,
                                         int64_t count, pare_tensor **inputs) {
  for (size_t i = 0; i < data->ninputs; i++) {
    const pare_array *array = &data->input[i];
    if (data->whole[i]) {
      PARE__TRY(
          pare_tensor_from(context, array->dtype, array->rank, array->dim, array->data, array->nbytes, &inputs[i]));
      continue;
    }
    const size_t sample = array->nbytes / (size_t)array->dim[0];
    int64_t dim[PARE_MAX_RANK];
    memcpy(dim, array->dim, sizeof dim);
    dim[0] = count;
    PARE__TRY(pare_tensor_from(context, array->dtype, array->rank, dim,
                               (const char *)array->data + (size_t)first * sample, (size_t)count * sample, &inputs[i]));
  }
  return PARE_OK;
}

pare_status pare__calibration_data_mask(const pare__calibration_data *data, pare_context *context, int64_t first,
                                        int64_t count, pare_tensor **out, uint64_t *vectors) {
  const int64_t positions = data->mask->dim[1], dim[2] = {count * positions, 1};
  const size_t total = (size_t)dim[0];
  float *values = malloc(total * sizeof *values + 1);
  if (!values) return pare__fail_memory("a mask", total * sizeof *values);
  *vectors = 0;
  for (size_t i = 0; i < total; i++) {
    values[i] = pare_array_number(data->mask, (size_t)(first * positions) + i) != 0;
    *vectors += values[i] > 0;
  }
  const pare_status status = pare_tensor_from(context, PARE_F32, 2, dim, values, total * sizeof *values, out);
  free(values);
  return status;
}

pare_status pare__calibration_data_blame(const pare__calibration_data *data, int64_t first, int64_t count,
                                         pare_status status) {
  if (status != PARE_ERR_SHAPE && status != PARE_ERR_ARGUMENT && status != PARE_ERR_TYPE) return status;
  char why[600], inputs[400] = "";
  size_t used = 0;
  snprintf(why, sizeof why, "%s", pare_message());
  for (size_t i = 0; i < data->ninputs && used < sizeof inputs; i++) {
    const pare_array *array = &data->input[i];
    int64_t dim[PARE_MAX_RANK];
    char shape[PARE__SHAPE_TEXT];
    memcpy(dim, array->dim, sizeof dim);
    if (!data->whole[i]) dim[0] = count;
    used += (size_t)snprintf(inputs + used, sizeof inputs - used, "%s%.100s %s", i ? ", " : "", array->name,
                             pare__shape_text(array->rank, dim, shape, sizeof shape));
  }
  return pare__fail(status, "calibration data %s does not fit the model: samples %lld to %lld (%s): %s", data->path,
                    (long long)first, (long long)(first + count - 1), inputs, why);
}
