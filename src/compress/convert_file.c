/* Converting files between portable and compact storage. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compress/checkpoint.h"
#include "compress/convert.h"
#include "compress/onnx_weights.h"
#include "compress/output.h"

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

/* Of all weights; *outside: of those in files of their own. */
static uint64_t weights_bytes(const pare__onnx_model *model, uint64_t *outside) {
  uint64_t total = 0;
  *outside = 0;
  for (size_t i = 0; i < model->graph->initializer.count; i++) {
    const pare__onnx_tensor *tensor = &model->graph->initializer.items[i];
    int64_t count;
    size_t nbytes = 0;
    if (pare__onnx_tensor_elements(tensor, &count) == PARE_OK)
      (void)pare__onnx_dtype_size(tensor->data_type, count, &nbytes);
    total += nbytes;
    if (tensor->data_location == PARE__ONNX_LOCATION_EXTERNAL) *outside += nbytes;
  }
  return total;
}

static pare_status write_converted(pare__onnx_model *model, const char *path, const char *final_path,
                                   char **companion) {
  pare__onnx_write_options options = PARE__ONNX_WRITE_OPTIONS_INIT;
  uint64_t outside;
  if (weights_bytes(model, &outside) <= PARE__ONNX_MOST_INSIDE) return pare__onnx_write(model, path, NULL);
  PARE__TRY(pare__output_companion(final_path, companion));
  const char *slash = strrchr(*companion, '/');
  options.external_file = slash ? slash + 1 : *companion;
  return pare__onnx_write(model, path, &options);
}

pare_status pare__convert_file(const char *in, const char *out, const char *final_path, pare_storage storage,
                               pare_conversion *conversion, char **companion) {
  pare__onnx_model *model;
  uint64_t outside;
  *companion = NULL;
  PARE__TRY(check_format(in));
  PARE__TRY(pare__onnx_open(in, &model));
  (void)weights_bytes(model, &outside);
  *conversion = (pare_conversion){.input_bytes = size_of(in) + outside};
  pare_status status = storage == PARE_STORAGE_COMPACT ? pare__compact(model, &conversion->ntensors)
                                                       : pare__expand(model, &conversion->ntensors);
  if (status == PARE_OK) status = write_converted(model, out, final_path, companion);
  pare__onnx_close(model);
  conversion->output_bytes = size_of(out) + (*companion ? size_of(*companion) : 0);
  if (status == PARE_OK) return PARE_OK;
  if (*companion) unlink(*companion);
  free(*companion);
  *companion = NULL;
  return status;
}

pare_status pare_convert(const char *in, const char *out, pare_storage storage, pare_conversion *conversion) {
  static const char function[] = "pare_convert";
  pare_conversion result;
  char *companion = NULL, *target = NULL;
  if (!in || !out) return pare__fail_null(function, in ? "out" : "in");
  if (storage != PARE_STORAGE_PORTABLE && storage != PARE_STORAGE_COMPACT)
    return pare__fail(PARE_ERR_ARGUMENT, "%s: storage %d; portable and compact are possible", function, (int)storage);
  PARE__TRY(pare__output_open(out, &target));
  pare__output_sweep(target);
  char *temporary = pare__output_temporary(target);
  pare_status status = temporary ? pare__convert_file(in, temporary, target, storage, &result, &companion)
                                 : pare__fail_memory("a path", strlen(out));
  if (status == PARE_OK) status = pare__output_commit(temporary, companion, in, target);
  if (status != PARE_OK) {
    if (temporary) unlink(temporary);
    if (companion) unlink(companion);
  } else if (conversion) {
    *conversion = result;
  }
  free(companion);
  free(temporary);
  free(target);
  return status;
}
