/* Converting files between portable and compact storage. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "compress/checkpoint.h"
#include "compress/convert.h"
#include "compress/onnx_weights.h"

static uint64_t size_of(const char *path) {
  struct stat found;
  return stat(path, &found) == 0 ? (uint64_t)found.st_size : 0;
}

/* By its first bytes. */
static pare_status check_format(const char *path) {
  uint8_t head[16] = {0};
  FILE *file = fopen(path, "rb");
  if (!file) return PARE_OK; /* opening it tells why not */
  const size_t nbytes = fread(head, 1, sizeof head, file);
  fclose(file);
  if (!pare__safetensors_checkpoint_format.recognise(path, head, nbytes) ||
      pare__onnx_checkpoint_format.recognise(path, head, nbytes))
    return PARE_OK;
  return pare__fail(PARE_ERR_FORMAT, "%s: compact storage is for ONNX models; safetensors files keep their zeros dense",
                    path);
}

static uint64_t weights_bytes(const pare__onnx_model *model, bool *outside) {
  uint64_t total = 0;
  *outside = false;
  for (size_t i = 0; i < model->graph->initializer.count; i++) {
    const pare__onnx_tensor *tensor = &model->graph->initializer.items[i];
    int64_t count;
    size_t nbytes = 0;
    *outside = *outside || tensor->data_location == PARE__ONNX_LOCATION_EXTERNAL;
    if (pare__onnx_tensor_elements(tensor, &count) == PARE_OK)
      (void)pare__onnx_dtype_size(tensor->data_type, count, &nbytes);
    total += nbytes;
  }
  return total;
}

pare_status pare_convert(const char *in, const char *out, pare_storage storage, pare_conversion *conversion) {
  static const char function[] = "pare_convert";
  pare_conversion result = {0};
  pare__onnx_model *model;
  bool outside, still;
  if (!in || !out) return pare__fail_null(function, in ? "out" : "in");
  if (storage != PARE_STORAGE_PORTABLE && storage != PARE_STORAGE_COMPACT)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: storage %d; portable and compact are possible", function, (int)storage);
  PARE__TRY(check_format(in));
  result.input_bytes = size_of(in);
  PARE__TRY(pare__onnx_open(in, &model));
  const uint64_t before = weights_bytes(model, &outside);
  pare_status status =
      storage == PARE_STORAGE_COMPACT ? pare__compact(model, &result.ntensors) : pare__expand(model, &result.ntensors);
  if (status == PARE_OK && (outside || weights_bytes(model, &still) > PARE__ONNX_MOST_INSIDE))
    status = pare__fail(PARE_ERR_LIMIT, "%s: weights in a file of their own (%llu bytes of weights) are not converted",
                        in, (unsigned long long)before);
  if (status == PARE_OK) status = pare__onnx_write(model, out, NULL);
  pare__onnx_close(model);
  result.output_bytes = size_of(out);
  if (conversion && status == PARE_OK) *conversion = result;
  return status;
}
