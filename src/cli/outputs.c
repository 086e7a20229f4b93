/* Arrays and shapes as the command shows them. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/feed.h"

/* Appends at *used; what does not fit is cut off. */
static void append(char text[CLI_SHAPE], size_t *used, const char *format, ...) CLI_PRINTF(3, 4);
static void append(char text[CLI_SHAPE], size_t *used, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int n = vsnprintf(text + *used, CLI_SHAPE - *used, format, arguments);
  va_end(arguments);
  *used = n < 0 || *used + (size_t)n >= CLI_SHAPE ? CLI_SHAPE - 1 : *used + (size_t)n;
}

const char *cli_shape_text(size_t rank, const int64_t *dim, char text[CLI_SHAPE]) {
  size_t used = 0;
  text[0] = '\0';
  for (size_t d = 0; d < rank; d++) append(text, &used, "%s%lld", d > 0 ? "x" : "", (long long)dim[d]);
  return text;
}

const char *cli_value_text(const pare_model_value *value, char text[CLI_SHAPE]) {
  size_t used = 0;
  const bool same = value->dtype < PARE_NDTYPES && strstr(value->dtype_name, "int4") == NULL &&
                    strstr(value->dtype_name, "int2") == NULL;
  append(text, &used, "%s", same ? pare_dtype_name(value->dtype) : value->dtype_name);
  if (value->rank < 0) {
    append(text, &used, " of any shape");
    return text;
  }
  append(text, &used, "[");
  for (int i = 0; i < value->rank; i++) {
    if (value->dim[i] >= 0)
      append(text, &used, "%s%lld", i ? ", " : "", (long long)value->dim[i]);
    else
      append(text, &used, "%s%s", i ? ", " : "", value->symbol[i] ? value->symbol[i] : "?");
  }
  append(text, &used, "]");
  return text;
}

const char *cli_array_text(const pare_array *array, char text[CLI_SHAPE]) {
  size_t used = 0;
  append(text, &used, "%s[", array->dtype_name);
  for (int i = 0; i < array->rank; i++) append(text, &used, "%s%lld", i ? ", " : "", (long long)array->dim[i]);
  append(text, &used, "]");
  return text;
}

json_t *cli_dims_json(int rank, const int64_t *dim) {
  json_t *json = json_array();
  for (int i = 0; json && i < rank; i++) json_array_append_new(json, json_integer(dim[i]));
  return json;
}

cli_exit cli_array_read(pare_tensor *tensor, const char *name, pare_array *out) {
  *out = (pare_array){.name = name,
                      .dtype = pare_tensor_dtype(tensor),
                      .dtype_name = pare_dtype_name(pare_tensor_dtype(tensor)),
                      .rank = pare_tensor_rank(tensor),
                      .nbytes = (size_t)pare_tensor_elements(tensor) * pare_dtype_bytes(pare_tensor_dtype(tensor))};
  for (int i = 0; i < out->rank; i++) out->dim[i] = pare_tensor_shape(tensor)[i];
  void *data = malloc(out->nbytes ? out->nbytes : 1);
  if (!data) return cli_error(CLI_DEVICE, "out of memory for output '%s' (%zu bytes)", name, out->nbytes);
  out->data = data;
  const pare_status status = pare_tensor_read(tensor, data, out->nbytes);
  if (status == PARE_OK) return CLI_OK;
  cli_array_free(out);
  return cli_run_fail(status);
}

void cli_array_free(pare_array *array) {
  free((void *)(uintptr_t)array->data);
  array->data = NULL;
}

cli_statistics cli_array_statistics(const pare_array *array) {
  const size_t nbytes = pare_dtype_bytes(array->dtype);
  cli_statistics out = {.count = nbytes ? array->nbytes / nbytes : 0, .least = NAN, .most = NAN, .mean = NAN};
  double sum = 0;
  for (size_t i = 0; i < out.count; i++) {
    const double x = pare_array_number(array, i);
    if (isnan(x)) {
      out.nan++;
      continue;
    }
    out.least = fmin(out.least, x); /* of NaN and a number, the number */
    out.most = fmax(out.most, x);
    sum += x;
  }
  if (out.count > out.nan) out.mean = sum / (double)(out.count - out.nan);
  return out;
}

void cli_tensors_close(size_t count, pare_tensor **tensors) {
  for (size_t i = 0; tensors && i < count; i++) {
    pare_tensor_close(tensors[i]);
    tensors[i] = NULL;
  }
}
