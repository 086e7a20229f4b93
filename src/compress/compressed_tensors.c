/* Quantised tensors as the compressed-tensors library keeps them. SPDX-License-Identifier: Apache-2.0 */
#include "compress/compressed_tensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <pare/elementwise.h>
#include <pare/grid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "format/mapping.h"
#include "format/quantised.h"

#define COPY_BYTES ((size_t)8 << 20)

/* Parts of a treated tensor in the new file. */
enum { CODES, SCALE, ZERO_POINT, SHAPE, NPARTS };

typedef struct writing {
  const pare__checkpoint *checkpoint;
  const pare__safetensors *file;
  const pare__treatment *treatments;
  const pare__producer *producer;
  pare__arena arena;
  pare__safetensors_tensor *tensor; /* of the new file */
  size_t ntensors;
  size_t *first; /* of a weight's parts, by weight */
  pare__safetensors_writer *writer;
} writing;

/* ---- sizes ---- */

bool pare__compressed_is_plain(const pare__grid *grid) { return grid->bits == 8 && grid->strategy != PARE__PER_GROUP; }

static int64_t groups_of(const pare__weight *weight, const pare__grid *grid) {
  return grid->strategy == PARE__PER_GROUP ? pare__div_up(pare__weight_inputs(weight), grid->group) : 1;
}

int64_t pare__compressed_scales(const pare__weight *weight, const pare__grid *grid) {
  return grid->strategy == PARE__PER_TENSOR ? 1 : pare__weight_rows(weight) * groups_of(weight, grid);
}

static int64_t words_a_row(const pare__weight *weight, const pare__grid *grid) {
  return pare__quantised_words(pare__weight_inputs(weight), grid->bits);
}

/* Are zero points packed, like codes? */
static bool packs_zeros(const pare__grid *grid) {
  return !pare__compressed_is_plain(grid) && grid->strategy != PARE__PER_TENSOR;
}

/* Rows of packed zero points. */
static int64_t zero_rows(const pare__weight *weight, const pare__grid *grid) {
  return pare__quantised_words(pare__weight_rows(weight), grid->bits);
}

static uint64_t zero_bytes(const pare__weight *weight, const pare__grid *grid) {
  if (grid->symmetric) return 0;
  return (uint64_t)(packs_zeros(grid) ? 4 * zero_rows(weight, grid) * groups_of(weight, grid)
                                      : pare__compressed_scales(weight, grid));
}

uint64_t pare__compressed_bytes(const pare__weight *weight, const pare__grid *grid) {
  const int64_t codes = pare__compressed_is_plain(grid)
                            ? weight->elements
                            : 4 * pare__weight_rows(weight) * words_a_row(weight, grid) + 2 * (int64_t)sizeof(int64_t);
  return (uint64_t)(codes + 4 * pare__compressed_scales(weight, grid)) + zero_bytes(weight, grid);
}

/* ---- the new file's tensors ---- */

static pare_status add(writing *w, const char *name, const char *suffix, pare__safetensors_dtype dtype, size_t rank,
                       int64_t rows, int64_t columns) {
  void *memory;
  const size_t length = strlen(name), tail = strlen(suffix);
  PARE__TRY(pare__arena_allocate(&w->arena, 2 * sizeof(int64_t) + length + tail + 1, &memory));
  int64_t *dim = memory;
  char *text = (char *)(dim + 2);
  dim[0] = rows;
  dim[1] = columns;
  snprintf(text, length + tail + 1, "%s%s", name, suffix);
  w->tensor[w->ntensors++] = (pare__safetensors_tensor){.name = text, .dtype = dtype, .rank = rank, .dim = dim};
  return PARE_OK;
}

static pare_status add_integer(writing *w, const pare__weight *weight, const pare__grid *grid) {
  const bool plain = pare__compressed_is_plain(grid), one = grid->strategy == PARE__PER_TENSOR;
  const int64_t rows = pare__weight_rows(weight), groups = groups_of(weight, grid);
  const size_t rank = one ? 1 : 2; /* of scales */
  if (plain)
    PARE__TRY(add(w, weight->name, "", PARE__SAFETENSORS_I8, 2, rows, pare__weight_inputs(weight)));
  else
    PARE__TRY(add(w, weight->name, "_packed", PARE__SAFETENSORS_I32, 2, rows, words_a_row(weight, grid)));
  PARE__TRY(add(w, weight->name, "_scale", PARE__SAFETENSORS_F32, rank, one ? 1 : rows, groups));
  if (!grid->symmetric && packs_zeros(grid))
    PARE__TRY(add(w, weight->name, "_zero_point", PARE__SAFETENSORS_I32, rank, zero_rows(weight, grid), groups));
  else if (!grid->symmetric)
    PARE__TRY(add(w, weight->name, "_zero_point", PARE__SAFETENSORS_I8, rank, one ? 1 : rows, groups));
  if (!plain) PARE__TRY(add(w, weight->name, "_shape", PARE__SAFETENSORS_I64, 1, 2, 0));
  return PARE_OK;
}

static pare_status add_weight(writing *w, size_t index) {
  const pare__treatment *treatment = &w->treatments[index];
  w->first[index] = w->ntensors;
  if (treatment->storage == PARE__STORE_INTEGER)
    return add_integer(w, &w->checkpoint->weights[index], &treatment->grid);
  pare__safetensors_tensor *tensor = &w->tensor[w->ntensors++];
  *tensor = w->file->tensor[index];
  if (treatment->storage == PARE__STORE_F16) tensor->dtype = PARE__SAFETENSORS_F16;
  if (treatment->storage == PARE__STORE_BF16) tensor->dtype = PARE__SAFETENSORS_BF16;
  return PARE_OK;
}

static pare_status list_tensors(writing *w) {
  void *memory;
  const size_t count = w->checkpoint->nweights;
  PARE__TRY(pare__arena_allocate(&w->arena, count * NPARTS * sizeof *w->tensor, &memory));
  w->tensor = memory;
  PARE__TRY(pare__arena_allocate(&w->arena, count * sizeof *w->first, &memory));
  w->first = memory;
  for (size_t i = 0; i < count; i++) PARE__TRY(add_weight(w, i));
  return PARE_OK;
}

/* ---- the configuration ---- */

static json_t *choice(const char *text) { return json_string(text); }

static json_t *weights_json(const pare__grid *grid) {
  static const char *const strategies[] = {"tensor", "channel", "group"};
  json_t *json = json_object();
  json_object_set_new(json, "num_bits", json_integer(grid->bits));
  json_object_set_new(json, "type", choice("int"));
  json_object_set_new(json, "symmetric", json_boolean(grid->symmetric));
  json_object_set_new(json, "strategy", choice(strategies[grid->strategy]));
  json_object_set_new(json, "group_size", grid->strategy == PARE__PER_GROUP ? json_integer(grid->group) : json_null());
  json_object_set_new(json, "dynamic", json_false());
  return json;
}

static json_t *activations_json(const pare__grid *grid) {
  if (grid->activations == PARE__ACTIVATIONS_FLOAT) return json_null();
  json_t *json = json_object();
  json_object_set_new(json, "num_bits", json_integer(8));
  json_object_set_new(json, "type", choice("int"));
  json_object_set_new(json, "symmetric", json_false());
  json_object_set_new(json, "strategy", choice("tensor"));
  json_object_set_new(json, "dynamic", json_boolean(grid->activations == PARE__ACTIVATIONS_DYNAMIC));
  return json;
}

static const char *format_name(const pare__grid *grid) {
  return pare__compressed_is_plain(grid) ? "int-quantized" : "pack-quantized";
}

/* The group of that grid, made if there is none yet. */
static json_t *find_group(json_t *groups, const pare__grid *grid) {
  const char *name;
  json_t *group, *weights = weights_json(grid), *activations = activations_json(grid);
  json_object_foreach(groups, name, group) {
    if (!json_equal(json_object_get(group, "weights"), weights) ||
        !json_equal(json_object_get(group, "input_activations"), activations))
      continue;
    json_decref(weights);
    json_decref(activations);
    return group;
  }
  char key[32];
  snprintf(key, sizeof key, "group_%zu", json_object_size(groups));
  group = json_object();
  json_object_set_new(group, "targets", json_array());
  json_object_set_new(group, "weights", weights);
  json_object_set_new(group, "input_activations", activations);
  json_object_set_new(group, "output_activations", json_null());
  json_object_set_new(group, "format", choice(format_name(grid)));
  json_object_set_new(groups, key, group);
  return group;
}

/* NULL: nothing is quantised, or memory ran out; *any tells. */
static char *make_config(const writing *w, bool *any) {
  json_t *config = json_object(), *groups = json_object(), *ignore = json_array();
  const char *format = NULL;
  bool mixed = false;
  for (size_t i = 0; i < w->checkpoint->nweights; i++) {
    const pare__weight *weight = &w->checkpoint->weights[i];
    const pare__treatment *treatment = &w->treatments[i];
    if (treatment->storage == PARE__STORE_INTEGER) {
      const char *name = format_name(&treatment->grid);
      json_array_append_new(json_object_get(find_group(groups, &treatment->grid), "targets"),
                            json_string(weight->layer));
      mixed = mixed || (format && strcmp(format, name) != 0);
      format = name;
    } else if (weight->role == PARE__WEIGHT_LINEAR) {
      json_array_append_new(ignore, json_string(weight->layer));
    }
  }
  *any = format != NULL;
  json_object_set_new(config, "quant_method", choice("compressed-tensors"));
  json_object_set_new(config, "format", choice(mixed ? "mixed-precision" : format ? format : ""));
  json_object_set_new(config, "quantization_status", choice("compressed"));
  json_object_set_new(config, "config_groups", groups);
  json_object_set_new(config, "ignore", ignore);
  char *text = *any ? json_dumps(config, JSON_COMPACT) : NULL;
  json_decref(config);
  return text;
}

/* ---- bytes ---- */

static pare_status read_part(writing *w, size_t part, uint64_t offset, pare_tensor *tensor, uint8_t flip) {
  const size_t nbytes = (size_t)pare_tensor_elements(tensor) * pare_dtype_bytes(pare_tensor_dtype(tensor));
  uint8_t *host = malloc(nbytes + 1);
  if (!host) return pare__fail_memory("rows of a tensor", nbytes);
  pare_status status = pare_tensor_read(tensor, host, nbytes);
  for (size_t i = 0; flip && i < nbytes; i++) host[i] ^= flip;
  if (status == PARE_OK) status = pare__safetensors_put(w->writer, part, offset, host, nbytes);
  free(host);
  return status;
}

static pare_status put_codes(writing *w, size_t part, const pare__weight *weight, const pare__grid *grid,
                             const pare__result *result) {
  const uint64_t row = (uint64_t)result->first_row;
  if (pare__compressed_is_plain(grid))
    return read_part(w, part, row * (uint64_t)pare__weight_inputs(weight), result->codes, grid->symmetric ? 0 : 128);
  pare_tensor *packed;
  /* Without gaps words are the bytes that they lie in. */
  const int64_t words = words_a_row(weight, grid), shape[] = {result->nrows, 4 * words};
  PARE__TRY(pare_tensor_create(pare_tensor_context(result->codes), PARE_U8, 2, shape, &packed));
  pare_status status = pare_codes_pack(result->codes, (int)grid->bits, packed);
  if (status == PARE_OK) status = read_part(w, part, 4 * row * (uint64_t)words, packed, 0);
  pare_tensor_close(packed);
  return status;
}

/* Zero points of all rows as the file has them. */
static pare_status put_zeros(writing *w, size_t part, const pare__weight *weight, const pare__grid *grid,
                             const uint8_t *zeros) {
  const size_t count = (size_t)pare__compressed_scales(weight, grid), groups = (size_t)groups_of(weight, grid);
  const size_t nbytes = (size_t)zero_bytes(weight, grid);
  const uint8_t middle = (uint8_t)(1U << (grid->bits - 1));
  uint8_t *bytes = calloc(nbytes + 1, 1);
  if (!bytes) return pare__fail_memory("zero points", nbytes);
  for (size_t i = 0; i < count; i++) {
    if (!packs_zeros(grid)) {
      bytes[i] = (uint8_t)(zeros[i] - middle);
      continue;
    }
    const size_t row = i / groups, group = i % groups;
    for (size_t k = 0; k < grid->bits; k++) {
      const size_t bit = row * grid->bits + k;
      bytes[4 * (bit / 32 * groups + group) + bit % 32 / 8] |= (uint8_t)((zeros[i] >> k & 1) << bit % 8);
    }
  }
  const pare_status status = pare__safetensors_put(w->writer, part, 0, bytes, nbytes);
  free(bytes);
  return status;
}

static pare_status put_rows(writing *w, size_t index, const pare__result *result, uint8_t *zeros) {
  const pare__weight *weight = &w->checkpoint->weights[index];
  const pare__grid *grid = &w->treatments[index].grid;
  const size_t part = w->first[index];
  PARE__TRY(put_codes(w, part + CODES, weight, grid, result));
  const bool one = grid->strategy == PARE__PER_TENSOR;
  if (one && result->first_row > 0) return PARE_OK;
  const size_t scale = one ? 0 : (size_t)(result->first_row * groups_of(weight, grid));
  PARE__TRY(read_part(w, part + SCALE, 4 * scale, result->scales, 0));
  if (grid->symmetric) return PARE_OK;
  return pare_tensor_read(result->zeros, zeros + scale, (size_t)pare_tensor_elements(result->zeros));
}

/* One row in canonical order to the file's: [positions, inputs] to [inputs, positions]. */
static void reorder(const uint8_t *from, uint8_t *to, size_t inputs, size_t positions, size_t element) {
  for (size_t p = 0; p < positions; p++)
    for (size_t i = 0; i < inputs; i++)
      memcpy(to + (i * positions + p) * element, from + (p * inputs + i) * element, element);
}

static pare_status put_values(writing *w, size_t index, const pare__result *result) {
  const pare__weight *weight = &w->checkpoint->weights[index];
  const size_t part = w->first[index], inputs = (size_t)pare__weight_inputs(weight);
  const size_t columns = (size_t)pare__weight_row_elements(weight), nrows = (size_t)result->nrows;
  const int64_t shape[] = {result->nrows, (int64_t)columns};
  pare_dtype dtype = weight->dtype;
  pare__safetensors_dtype_to_pare(w->tensor[part].dtype, &dtype);
  const size_t element = pare_dtype_bytes(dtype), row_bytes = columns * element, nbytes = nrows * row_bytes;
  uint8_t *canonical = malloc(nbytes + 1), *ordered = malloc(nbytes + 1);
  pare_tensor *cast = NULL;
  pare_status status = canonical && ordered ? PARE_OK : pare__fail_memory("rows of a tensor", nbytes);
  if (status == PARE_OK) status = pare_tensor_create(pare_tensor_context(result->values), dtype, 2, shape, &cast);
  if (status == PARE_OK) status = pare_cast(result->values, cast);
  if (status == PARE_OK) status = pare_tensor_read(cast, canonical, nbytes);
  for (size_t r = 0; r < nrows && status == PARE_OK; r++)
    reorder(canonical + r * row_bytes, ordered + r * row_bytes, inputs, columns / inputs, element);
  if (status == PARE_OK)
    status = pare__safetensors_put(w->writer, part, (uint64_t)result->first_row * row_bytes, ordered, nbytes);
  pare_tensor_close(cast);
  free(canonical);
  free(ordered);
  return status;
}

static pare_status put_treated(writing *w, size_t index) {
  const pare__weight *weight = &w->checkpoint->weights[index];
  const pare__treatment *treatment = &w->treatments[index];
  const bool integer = treatment->storage == PARE__STORE_INTEGER;
  const bool has_zeros = integer && !treatment->grid.symmetric;
  const int64_t rows = pare__weight_rows(weight), most = w->producer->most_rows(w->producer->user, index);
  uint8_t *zeros = NULL;
  if (has_zeros) {
    const size_t count = (size_t)pare__compressed_scales(weight, &treatment->grid);
    zeros = malloc(count + 1);
    if (!zeros) return pare__fail_memory("zero points", count);
  }
  pare_status status = PARE_OK;
  for (int64_t row = 0; row < rows && status == PARE_OK; row += most) {
    pare__result result = {0};
    status = w->producer->rows(w->producer->user, index, row, PARE__MIN(most, rows - row), &result);
    if (status == PARE_OK) status = integer ? put_rows(w, index, &result, zeros) : put_values(w, index, &result);
    pare__result_close(&result);
  }
  if (status == PARE_OK && has_zeros)
    status = put_zeros(w, w->first[index] + ZERO_POINT, weight, &treatment->grid, zeros);
  free(zeros);
  if (status != PARE_OK || !integer || pare__compressed_is_plain(&treatment->grid)) return status;
  const int64_t shape[] = {rows, pare__weight_inputs(weight)};
  return pare__safetensors_put(w->writer, w->first[index] + (has_zeros ? SHAPE : SHAPE - 1), 0, shape, sizeof shape);
}

static pare_status put_as_is(writing *w, size_t index) {
  const pare__safetensors_tensor *tensor = &w->file->tensor[index];
  for (size_t done = 0; done < tensor->nbytes; done += COPY_BYTES) {
    const uint8_t *piece = (const uint8_t *)tensor->data + done;
    const size_t nbytes = PARE__MIN(COPY_BYTES, tensor->nbytes - done);
    PARE__TRY(pare__safetensors_put(w->writer, w->first[index], done, piece, nbytes));
    if (tensor->mapped) pare__mapping_release(piece, nbytes);
  }
  return PARE_OK;
}

/* ---- the file ---- */

/* The old metadata with the recipe and the configuration in it. */
static pare_status begin(writing *w, const char *recipe, const char *config, const char *path) {
  const pare__safetensors_text added[] = {{"pare.recipe", recipe}, {"quantization_config", config}};
  pare__safetensors_text *texts = calloc(w->file->ntexts + PARE__COUNT(added), sizeof *texts);
  if (!texts) return pare__fail_memory("metadata", w->file->ntexts);
  size_t ntexts = w->file->ntexts;
  if (ntexts > 0) memcpy(texts, w->file->text, ntexts * sizeof *texts);
  for (size_t k = 0; k < PARE__COUNT(added); k++) {
    if (!added[k].value) continue;
    size_t i = 0;
    while (i < ntexts && strcmp(texts[i].key, added[k].key) != 0) i++;
    ntexts += i == ntexts;
    texts[i] = added[k];
  }
  const pare_status status = pare__safetensors_begin(path, w->tensor, w->ntensors, texts, ntexts, &w->writer);
  free(texts);
  return status;
}

pare_status pare__compressed_tensors_write(const pare__checkpoint *checkpoint, const pare__safetensors *file,
                                           const pare__treatment *treatments, const pare__producer *producer,
                                           const char *recipe, const char *path) {
  writing w = {.checkpoint = checkpoint, .file = file, .treatments = treatments, .producer = producer};
  bool quantised = false;
  char *config = NULL;
  pare_status status = list_tensors(&w);
  if (status == PARE_OK) config = make_config(&w, &quantised);
  if (status == PARE_OK && quantised && !config) status = pare__fail_memory("a configuration", 1);
  if (status == PARE_OK) status = begin(&w, recipe, config, path);
  for (size_t i = 0; i < checkpoint->nweights && status == PARE_OK; i++)
    status = treatments[i].storage == PARE__STORE_AS_IS ? put_as_is(&w, i) : put_treated(&w, i);
  if (status == PARE_OK) status = pare__safetensors_commit(w.writer);
  pare__safetensors_abandon(w.writer);
  pare__arena_clear(&w.arena);
  free(config);
  return status;
}
