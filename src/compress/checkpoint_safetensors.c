/* safetensors as a checkpoint. SPDX-License-Identifier: Apache-2.0
 *
 * There is no graph: roles follow from ranks and names, as model libraries give them. Quantised tensors are written as
 * compressed-tensors has them (https://github.com/neuralmagic/compressed-tensors): 8 bits per tensor or channel
 * "int-quantized", everything else "pack-quantized". */
#include <stdlib.h>
#include <string.h>

#include "compress/checkpoint.h"
#include "compress/compressed_tensors.h"
#include "compress/plan.h"
#include "format/mapping.h"
#include "format/quantised.h"
#include "format/safetensors.h"

typedef struct tensors_checkpoint {
  pare__checkpoint base;
  pare__safetensors file;
  pare__quantised_file quantised; /* of it */
  char **layers;                  /* one a weight: its name without ".weight" */
} tensors_checkpoint;

/* ---- opening ---- */

static bool ends_with(const char *text, const char *ending) {
  const size_t length = strlen(text), tail = strlen(ending);
  return length >= tail && strcmp(text + length - tail, ending) == 0;
}

static bool recognise(const char *path, const uint8_t *head, size_t nbytes) {
  return pare__safetensors_looks_like(head, nbytes) || ends_with(path, ".safetensors");
}

/* What libraries call tables of embeddings, and the last layer of language models. */
static bool is_embedding(const char *name) {
  static const char *const words[] = {"embed", "wte", "wpe", "shared.weight"};
  for (size_t i = 0; i < PARE__COUNT(words); i++)
    if (strstr(name, words[i])) return true;
  return false;
}

static bool is_head(const char *name) {
  static const char *const endings[] = {"lm_head.weight", "embed_out.weight", "classifier.weight", "score.weight"};
  for (size_t i = 0; i < PARE__COUNT(endings); i++)
    if (ends_with(name, endings[i])) return true;
  return strcmp(name, "output.weight") == 0;
}

/* [O, I] and [O, I, k…] with the output channels first, as all libraries that write this format have them. */
static void find_role(pare__weight *weight) {
  const bool is_float = weight->dtype == PARE_F32 || weight->dtype == PARE_F16 || weight->dtype == PARE_BF16;
  if (!(is_float || weight->refusal) || weight->rank < 2 || weight->elements == 0 || ends_with(weight->name, "_scale"))
    return;
  weight->row_axis = 0;
  weight->input_axis = 1;
  if (weight->rank == 2) {
    weight->head = is_head(weight->name);
    weight->role = is_embedding(weight->name) && !weight->head ? PARE__WEIGHT_EMBEDDING : PARE__WEIGHT_LINEAR;
  } else if (weight->rank <= 5 && ends_with(weight->name, "weight")) {
    weight->role = PARE__WEIGHT_CONV;
  }
}

/* Names of matrices that were quantised before are those of their codes. */
static pare_status name_layer(tensors_checkpoint *checkpoint, size_t index) {
  const pare__safetensors_tensor *tensor = &checkpoint->file.tensor[index];
  const pare__quantised *matrix = pare__quantised_of_codes(&checkpoint->quantised, tensor);
  const char *name = matrix ? matrix->name : tensor->name;
  const size_t length = strlen(name) - (ends_with(name, ".weight") ? strlen(".weight") : 0);
  checkpoint->layers[index] = strndup(name, length);
  return checkpoint->layers[index] ? PARE_OK : pare__fail_memory("a name", length);
}

static pare_status fill_weight(tensors_checkpoint *checkpoint, size_t index) {
  const pare__safetensors_tensor *tensor = &checkpoint->file.tensor[index];
  pare__weight *weight = &checkpoint->base.weights[index];
  PARE__TRY(name_layer(checkpoint, index));
  const pare__quantised *matrix = pare__quantised_of_codes(&checkpoint->quantised, tensor);
  *weight = (pare__weight){.name = tensor->name,
                           .layer = checkpoint->layers[index],
                           .dtype_name = pare__safetensors_dtype_name(tensor->dtype),
                           .dtype = PARE_NDTYPES,
                           .elements = tensor->count,
                           .nbytes = tensor->nbytes,
                           .nuses = 1,
                           .refusal = matrix ? "quantised already" : NULL};
  pare_dtype dtype;
  if (pare__safetensors_dtype_to_pare(tensor->dtype, &dtype)) weight->dtype = dtype;
  if (tensor->rank > PARE_MAX_RANK) return PARE_OK;
  weight->rank = (int)tensor->rank;
  for (size_t d = 0; d < tensor->rank; d++) weight->dim[d] = tensor->dim[d];
  find_role(weight);
  return PARE_OK;
}

static void close_checkpoint(pare__checkpoint *base) {
  tensors_checkpoint *checkpoint = (tensors_checkpoint *)base;
  for (size_t i = 0; checkpoint->layers && i < checkpoint->file.ntensors; i++) free(checkpoint->layers[i]);
  free(checkpoint->layers);
  free(base->weights);
  pare__quantised_close(&checkpoint->quantised);
  pare__safetensors_close(&checkpoint->file);
  free(checkpoint);
}

static pare_status open_file(tensors_checkpoint *checkpoint, const char *path) {
  PARE__TRY(pare__safetensors_open(path, &checkpoint->file));
  PARE__TRY(pare__quantised_open(path, &checkpoint->file, &checkpoint->quantised));
  const size_t count = checkpoint->file.ntensors;
  checkpoint->base.nweights = count;
  checkpoint->base.weights = calloc(count + 1, sizeof *checkpoint->base.weights);
  checkpoint->layers = calloc(count + 1, sizeof *checkpoint->layers);
  if (!checkpoint->base.weights || !checkpoint->layers) return pare__fail_memory("a list of tensors", count);
  for (size_t i = 0; i < count; i++) PARE__TRY(fill_weight(checkpoint, i));
  checkpoint->base.file_bytes = checkpoint->file.nbytes;
  return PARE_OK;
}

static pare_status open_checkpoint(const char *path, pare__checkpoint **out) {
  *out = NULL;
  tensors_checkpoint *checkpoint = calloc(1, sizeof *checkpoint);
  if (!checkpoint) return pare__fail_memory("a checkpoint", sizeof *checkpoint);
  const pare_status status = open_file(checkpoint, path);
  if (status != PARE_OK) {
    close_checkpoint(&checkpoint->base);
    return status;
  }
  *out = &checkpoint->base;
  return PARE_OK;
}

/* ---- elements ---- */

static pare_status view(pare__checkpoint *base, size_t weight, pare__view *out) {
  const pare__safetensors *file = &((tensors_checkpoint *)base)->file;
  const pare__safetensors_tensor *tensor = &file->tensor[weight];
  *out = (pare__view){.data = tensor->data,
                      .nbytes = tensor->nbytes,
                      .file_offset = (uint64_t)((const uint8_t *)tensor->data - file->begin),
                      .mapped = true};
  return PARE_OK;
}

static void release(pare__checkpoint *base, pare__view *view) {
  (void)base;
  pare__mapping_release(view->data, view->nbytes);
  *view = (pare__view){0};
}

/* ---- what the format can hold ---- */

/* What a quantised matrix has to be for the library. */
static void settle_integer(const pare__weight *weight, pare__treatment *treatment) {
  const pare__grid *grid = &treatment->grid;
  if (weight->rank != 2)
    pare__treatment_leave_dense(treatment, "compressed-tensors holds quantised matrices only");
  else if (grid->strategy == PARE__PER_GROUP && pare__weight_inputs(weight) % grid->group != 0)
    pare__treatment_leave_dense(treatment, "compressed-tensors holds whole groups only");
}

/* One configuration says of all tensors how they are quantised, and not in pare's words if others wrote it. */
static pare_status check_first_time(const tensors_checkpoint *checkpoint) {
  if (checkpoint->quantised.count == 0) return PARE_OK;
  return pare__fail(PARE_ERR_UNSUPPORTED,
                    "%s: '%.200s' is quantised already, and no more of such a file can be: quantise the original, or "
                    "give a recipe that prunes or takes 16 bits, which leaves quantised tensors as they are",
                    checkpoint->base.path, checkpoint->quantised.matrix[0].codes->name);
}

static pare_status settle(pare__checkpoint *base, pare__treatment *treatments) {
  for (size_t i = 0; i < base->nweights; i++) {
    const pare__weight *weight = &base->weights[i];
    pare__treatment *treatment = &treatments[i];
    if (treatment->storage == PARE__STORE_INTEGER) settle_integer(weight, treatment);
    if (treatment->storage == PARE__STORE_INTEGER) PARE__TRY(check_first_time((const tensors_checkpoint *)base));
    switch (treatment->storage) {
    case PARE__STORE_INTEGER: treatment->stored_bytes = pare__compressed_bytes(weight, &treatment->grid); break;
    case PARE__STORE_F16:
    case PARE__STORE_BF16: treatment->stored_bytes = 2 * (uint64_t)weight->elements; break;
    default: treatment->stored_bytes = weight->nbytes;
    }
  }
  return PARE_OK;
}

/* ---- writing ---- */

static pare_status write(pare__checkpoint *base, const pare__treatment *treatments, const pare__producer *producer,
                         const pare__write_request *request) {
  tensors_checkpoint *checkpoint = (tensors_checkpoint *)base;
  return pare__compressed_tensors_write(base, &checkpoint->file, treatments, producer, request->recipe, request->path);
}

const pare__checkpoint_format pare__safetensors_checkpoint_format = {.name = "safetensors",
                                                                     .recognise = recognise,
                                                                     .open = open_checkpoint,
                                                                     .close = close_checkpoint,
                                                                     .view = view,
                                                                     .release = release,
                                                                     .settle = settle,
                                                                     .write = write};
