/* ONNX models as checkpoints. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compress/convert.h"
#include "compress/onnx_weights.h"
#include "compress/output.h"
#include "format/mapping.h"
#include "format/onnx_schema.h"

static bool recognise(const char *path, const uint8_t *head, size_t nbytes) {
  const size_t length = strlen(path);
  if (length > 5 && strcmp(path + length - 5, ".onnx") == 0) return true;
  return nbytes > 1 && head[0] == 0x08; /* field 1, ir_version, which every writer puts first */
}

static void close_onnx(pare__checkpoint *base) {
  pare__onnx_checkpoint *checkpoint = (pare__onnx_checkpoint *)base;
  pare__onnx_close(checkpoint->model);
  free(checkpoint->weights);
  free(checkpoint->uses);
  free(base->weights);
  free(checkpoint);
}

static pare_status open_onnx(const char *path, pare__checkpoint **out) {
  pare__onnx_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
  struct stat found;
  *out = NULL;
  if (!checkpoint) return pare__fail_memory("a model", sizeof *checkpoint);
  checkpoint->base.runs = true;
  pare_status status = pare__onnx_open(path, &checkpoint->model);
  if (status == PARE_OK) {
    checkpoint->opset = pare__onnx_opset_version(&checkpoint->model->opset_import, "");
    status = pare__onnx_weights_find(checkpoint);
  }
  if (status != PARE_OK) {
    close_onnx(&checkpoint->base);
    return status;
  }
  if (stat(path, &found) == 0) checkpoint->base.file_bytes = (uint64_t)found.st_size;
  for (size_t i = 0; i < checkpoint->base.nweights; i++)
    if (checkpoint->weights[i].tensor->data_location == PARE__ONNX_LOCATION_EXTERNAL)
      checkpoint->base.file_bytes += checkpoint->base.weights[i].nbytes;
  *out = &checkpoint->base;
  return PARE_OK;
}

static pare_status view(pare__checkpoint *base, size_t weight, pare__view *out) {
  const pare__onnx_checkpoint *checkpoint = (const pare__onnx_checkpoint *)base;
  pare__onnx_data *data = calloc(1, sizeof *data);
  *out = (pare__view){.file_offset = UINT64_MAX};
  if (!data) return pare__fail_memory("a view", sizeof *data);
  const pare_status status =
      pare__onnx_tensor_data(checkpoint->model->source, &checkpoint->weights[weight].original, data);
  if (status != PARE_OK) {
    free(data);
    return status;
  }
  *out = (pare__view){data->data, data->nbytes, UINT64_MAX, data->mapped, data};
  const pare__mapping *file = pare__onnx_source_file(checkpoint->model->source);
  const uintptr_t begin = (uintptr_t)file->data, at = (uintptr_t)data->data;
  if (data->data && at >= begin && at < begin + file->nbytes) out->file_offset = at - begin;
  return PARE_OK;
}

static void release(pare__checkpoint *base, pare__view *given) {
  (void)base;
  if (!given->owner) return;
  pare__onnx_data_close(given->owner);
  free(given->owner);
  *given = (pare__view){0};
}

/* ---- writing ---- */

static pare_status set_metadata(pare__onnx_model *model, const char *key, const char *value) {
  pare__onnx_entry *entry = NULL;
  for (size_t i = 0; i < model->metadata_props.count; i++)
    if (model->metadata_props.items[i].key && strcmp(model->metadata_props.items[i].key, key) == 0)
      entry = &model->metadata_props.items[i];
  if (!entry) PARE__TRY(PARE__ONNX_APPEND(model->source, &model->metadata_props, &entry));
  entry->key = key;
  return pare__onnx_text(model->source, value, &entry->value);
}

static pare_status write_model(pare__onnx_checkpoint *checkpoint, const pare__treatment *treatments,
                               const pare__write_request *request) {
  pare__onnx_write_options options = PARE__ONNX_WRITE_OPTIONS_INIT;
  uint64_t nbytes = checkpoint->base.file_bytes;
  for (size_t i = 0; i < checkpoint->base.nweights; i++)
    nbytes = nbytes - PARE__MIN(nbytes, checkpoint->base.weights[i].nbytes) + treatments[i].stored_bytes;
  PARE__TRY(set_metadata(checkpoint->model, "pare.recipe", request->recipe));
  PARE__TRY(set_metadata(checkpoint->model, "pare.version", pare_version()));
  if (nbytes <= PARE__ONNX_MOST_INSIDE) return pare__onnx_write(checkpoint->model, request->path, NULL);
  PARE__TRY(pare__output_companion(request->final_path, request->companion));
  const char *slash = strrchr(*request->companion, '/');
  options.external_file = slash ? slash + 1 : *request->companion;
  return pare__onnx_write(checkpoint->model, request->path, &options);
}

static pare_status write_onnx(pare__checkpoint *base, const pare__treatment *treatments, const pare__producer *producer,
                              const pare__write_request *request) {
  pare__onnx_checkpoint *checkpoint = (pare__onnx_checkpoint *)base;
  pare__onnx_packing **packings = calloc(base->nweights + 1, sizeof(pare__onnx_packing *));
  if (!packings) return pare__fail_memory("the weights of a model", base->nweights * sizeof(pare__onnx_packing *));
  pare_status status = PARE_OK;
  bool changes = false;
  for (size_t i = 0; i < base->nweights && status == PARE_OK; i++) {
    if (treatments[i].storage == PARE__STORE_AS_IS) continue;
    status = pare__onnx_packing_open(checkpoint, i, &treatments[i], producer, &packings[i]);
    changes = true;
  }
  if (status == PARE_OK && changes) status = pare__onnx_rewrite(checkpoint, treatments, packings);
  if (status == PARE_OK) status = write_model(checkpoint, treatments, request);
  for (size_t i = 0; i < base->nweights; i++) pare__onnx_packing_close(packings[i]);
  free(packings);
  return status;
}

const pare__checkpoint_format pare__onnx_checkpoint_format = {
    .name = "onnx",
    .recognise = recognise,
    .open = open_onnx,
    .close = close_onnx,
    .view = view,
    .release = release,
    .settle = pare__onnx_settle,
    .write = write_onnx,
};
