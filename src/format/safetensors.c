/* Reading safetensors. SPDX-License-Identifier: Apache-2.0 */
#include "format/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "format/mapping.h"

#define LENGTH_BYTES 8

struct pare__safetensors_file {
  pare__mapping mapping;
  char *path;
  pare__arena arena;
};

/* ---- dtypes ---- */

static const struct {
  const char *name;
  unsigned bits;
  int dtype;
} dtypes[] = {
#define PARE__SAFETENSORS_DTYPE_ROW(upper, name, bits, dtype) {name, bits, dtype},
    PARE__SAFETENSORS_DTYPE_LIST(PARE__SAFETENSORS_DTYPE_ROW)
#undef PARE__SAFETENSORS_DTYPE_ROW
};

const char *pare__safetensors_dtype_name(pare__safetensors_dtype dtype) { return dtypes[dtype].name; }

bool pare__safetensors_dtype_to_pare(pare__safetensors_dtype dtype, pare_dtype *out) {
  if (dtypes[dtype].dtype < 0) return false;
  *out = (pare_dtype)dtypes[dtype].dtype;
  return true;
}

bool pare__safetensors_dtype_from_pare(pare_dtype dtype, pare__safetensors_dtype *out) {
  for (unsigned i = 0; i < PARE__SAFETENSORS_NDTYPES; i++) {
    if (dtypes[i].dtype != (int)dtype) continue;
    *out = (pare__safetensors_dtype)i;
    return true;
  }
  return false;
}

/* ---- one tensor of the header ---- */

pare_status pare__safetensors_measure(pare__safetensors_tensor *tensor) {
  int64_t count = 1, nbits;
  bool fits = true, empty = false;
  for (size_t d = 0; d < tensor->rank; d++) {
    if (tensor->dim[d] < 0)
      return pare__fail(PARE_ERR_SHAPE, "tensor '%.200s': dimension %zu is %" PRId64, tensor->name, d, tensor->dim[d]);
    empty = empty || tensor->dim[d] == 0;
    fits = fits && pare__i64_mul(count, tensor->dim[d], &count);
  }
  if (empty)
    count = 0;
  else if (!fits)
    return pare__fail(PARE_ERR_SHAPE, "tensor '%.200s': its shape has over 2^63 elements", tensor->name);
  if (!pare__i64_mul(count, dtypes[tensor->dtype].bits, &nbits))
    return pare__fail(PARE_ERR_SHAPE, "tensor '%.200s': %" PRId64 " elements are too many", tensor->name, count);
  if (nbits % 8)
    return pare__fail(PARE_ERR_SHAPE, "tensor '%.200s': %" PRId64 " elements of %s are no whole bytes", tensor->name,
                      count, dtypes[tensor->dtype].name);
  tensor->count = count;
  tensor->nbytes = (size_t)(nbits / 8);
  return PARE_OK;
}

static pare_status fail(const pare__safetensors *file, const char *name, const char *what) {
  return pare__fail(PARE_ERR_FORMAT, "%s: tensor '%.200s': %s", file->file->path, name, what);
}

static pare_status read_shape(pare__safetensors *file, const json_t *shape, pare__safetensors_tensor *tensor) {
  void *memory;
  if (!json_is_array(shape)) return fail(file, tensor->name, "'shape' is no list");
  tensor->rank = json_array_size(shape);
  PARE__TRY(pare__arena_allocate(&file->file->arena, tensor->rank * sizeof *tensor->dim, &memory));
  int64_t *dim = memory;
  for (size_t d = 0; d < tensor->rank; d++) {
    const json_t *length = json_array_get(shape, d);
    if (!json_is_integer(length)) return fail(file, tensor->name, "'shape' holds what is no integer");
    dim[d] = json_integer_value(length);
  }
  tensor->dim = dim;
  if (pare__safetensors_measure(tensor) == PARE_OK) return PARE_OK;
  return pare__fail(PARE_ERR_FORMAT, "%s: %s", file->file->path, pare_message());
}

static pare_status read_offsets(const pare__safetensors *file, const json_t *offsets, size_t data_begin,
                                pare__safetensors_tensor *tensor) {
  const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
  if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
    return fail(file, tensor->name, "'data_offsets' are not two integers");
  const json_int_t begin = json_integer_value(first), end = json_integer_value(last);
  const uint64_t available = file->file->mapping.nbytes - data_begin;
  if (begin < 0 || end < begin || (uint64_t)end > available)
    return pare__fail(PARE_ERR_FORMAT,
                      "%s: tensor '%.200s': bytes %lld to %lld of %" PRIu64
                      " that follow the header: a part is missing",
                      file->file->path, tensor->name, (long long)begin, (long long)end, available);
  if ((uint64_t)(end - begin) != tensor->nbytes)
    return pare__fail(PARE_ERR_FORMAT, "%s: tensor '%.200s': %lld bytes at offset %lld; its shape and dtype need %zu",
                      file->file->path, tensor->name, (long long)(end - begin), (long long)begin, tensor->nbytes);
  tensor->data = file->file->mapping.data + data_begin + begin;
  tensor->mapped = file->file->mapping.mapped;
  return PARE_OK;
}

static pare_status read_tensor(pare__safetensors *file, const char *name, json_t *entry, size_t data_begin,
                               pare__safetensors_tensor *tensor) {
  enum { DTYPE, SHAPE, OFFSETS, NFIELDS };
  static const char *const fields[NFIELDS] = {"dtype", "shape", "data_offsets"};
  json_t *value[NFIELDS];
  PARE__TRY(pare__arena_text(&file->file->arena, name, strlen(name), &tensor->name));
  for (unsigned i = 0; i < NFIELDS; i++) {
    value[i] = json_object_get(entry, fields[i]);
    if (!value[i])
      return pare__fail(PARE_ERR_FORMAT, "%s: tensor '%.200s' has no '%s'", file->file->path, name, fields[i]);
  }
  if (json_object_size(entry) != NFIELDS) return fail(file, name, "fields beside dtype, shape and data_offsets");
  const char *text = json_is_string(value[DTYPE]) ? json_string_value(value[DTYPE]) : "";
  unsigned dtype = 0;
  while (dtype < PARE__SAFETENSORS_NDTYPES && strcmp(dtypes[dtype].name, text) != 0) dtype++;
  if (dtype == PARE__SAFETENSORS_NDTYPES)
    return pare__fail(PARE_ERR_FORMAT, "%s: tensor '%.200s': dtype '%.20s' is none that pare knows", file->file->path,
                      name, text);
  tensor->dtype = (pare__safetensors_dtype)dtype;
  PARE__TRY(read_shape(file, value[SHAPE], tensor));
  return read_offsets(file, value[OFFSETS], data_begin, tensor);
}

/* ---- the header ---- */

static pare_status read_metadata(pare__safetensors *file, json_t *metadata) {
  const char *key;
  json_t *value;
  void *memory;
  if (!json_is_object(metadata))
    return pare__fail(PARE_ERR_FORMAT, "%s: '__metadata__' is no object", file->file->path);
  PARE__TRY(pare__arena_allocate(&file->file->arena, json_object_size(metadata) * sizeof *file->text, &memory));
  file->text = memory;
  json_object_foreach(metadata, key, value) {
    pare__safetensors_text *text = &file->text[file->ntexts];
    if (!json_is_string(value))
      return pare__fail(PARE_ERR_FORMAT, "%s: '%.200s' in '__metadata__' is no text", file->file->path, key);
    PARE__TRY(pare__arena_text(&file->file->arena, key, strlen(key), &text->key));
    PARE__TRY(pare__arena_text(&file->file->arena, json_string_value(value), json_string_length(value), &text->value));
    file->ntexts++;
  }
  return PARE_OK;
}

static int by_place(const void *left, const void *right) {
  const pare__safetensors_tensor *a = *(const pare__safetensors_tensor *const *)left,
                                 *b = *(const pare__safetensors_tensor *const *)right;
  if (a->data != b->data) return (const char *)a->data < (const char *)b->data ? -1 : 1;
  return (a->nbytes > b->nbytes) - (a->nbytes < b->nbytes);
}

/* Tensors tile what follows the header. */
static pare_status check_tiling(const pare__safetensors *file, size_t data_begin) {
  const pare__safetensors_tensor **order = malloc((file->ntensors + 1) * sizeof *order);
  if (!order) return pare__fail_memory("a list of tensors", file->ntensors * sizeof *order);
  for (size_t i = 0; i < file->ntensors; i++) order[i] = &file->tensor[i];
  qsort(order, file->ntensors, sizeof *order, by_place);
  const pare__mapping *mapping = &file->file->mapping;
  const uint8_t *begin = mapping->data + data_begin, *at = begin;
  pare_status status = PARE_OK;
  for (size_t i = 0; i < file->ntensors && status == PARE_OK; i++) {
    const uint8_t *data = order[i]->data;
    if (data != at)
      status = pare__fail(
          PARE_ERR_FORMAT, "%s: tensor '%.200s' begins at offset %td, but the one before it ends at %td: %s",
          file->file->path, order[i]->name, data - begin, at - begin, data < at ? "they overlap" : "there is a hole");
    at = data + order[i]->nbytes;
  }
  free(order);
  if (status == PARE_OK && at != mapping->data + mapping->nbytes)
    status = pare__fail(PARE_ERR_FORMAT, "%s: the tensors end at offset %td, the file at %td", file->file->path,
                        at - begin, mapping->data + mapping->nbytes - begin);
  return status;
}

static pare_status read_entries(pare__safetensors *file, json_t *header, size_t data_begin) {
  const char *key;
  json_t *value;
  void *memory;
  if (!json_is_object(header)) return pare__fail(PARE_ERR_FORMAT, "%s: the header is no object", file->file->path);
  PARE__TRY(pare__arena_allocate(&file->file->arena, json_object_size(header) * sizeof *file->tensor, &memory));
  file->tensor = memory;
  json_object_foreach(header, key, value) {
    if (strcmp(key, "__metadata__") == 0)
      PARE__TRY(read_metadata(file, value));
    else
      PARE__TRY(read_tensor(file, key, value, data_begin, &file->tensor[file->ntensors++]));
  }
  return check_tiling(file, data_begin);
}

static pare_status read_header(pare__safetensors *file) {
  const pare__mapping *mapping = &file->file->mapping;
  const char *path = file->file->path;
  uint64_t nbytes = 0;
  if (mapping->nbytes < LENGTH_BYTES)
    return pare__fail(PARE_ERR_FORMAT, "%s: %zu bytes are too few for a safetensors file", path, mapping->nbytes);
  for (unsigned i = 0; i < LENGTH_BYTES; i++) nbytes |= (uint64_t)mapping->data[i] << 8 * i;
  if (nbytes > PARE__SAFETENSORS_MAX_HEADER)
    return pare__fail(PARE_ERR_FORMAT, "%s: a header of %" PRIu64 " bytes; the format allows %d", path, nbytes,
                      PARE__SAFETENSORS_MAX_HEADER);
  if (nbytes > mapping->nbytes - LENGTH_BYTES)
    return pare__fail(PARE_ERR_FORMAT, "%s: a header of %" PRIu64 " bytes in a file of %zu: a part is missing", path,
                      nbytes, mapping->nbytes);
  const char *text = (const char *)mapping->data + LENGTH_BYTES;
  if (nbytes == 0 || text[0] != '{')
    return pare__fail(PARE_ERR_FORMAT, "%s: offset %d: a header has to begin with '{'", path, LENGTH_BYTES);
  json_error_t error;
  json_t *header = json_loadb(text, nbytes, JSON_REJECT_DUPLICATES, &error);
  if (!header)
    return pare__fail(PARE_ERR_FORMAT, "%s: offset %lld: the header: %s", path,
                      LENGTH_BYTES + (long long)error.position, error.text);
  const pare_status status = read_entries(file, header, LENGTH_BYTES + (size_t)nbytes);
  json_decref(header);
  return status;
}

/* Takes over the mapping. */
static pare_status open_mapping(pare__mapping mapping, const char *name, pare__safetensors *out) {
  *out = (pare__safetensors){.file = calloc(1, sizeof *out->file)};
  if (!out->file) {
    pare__mapping_close(&mapping);
    return pare__fail_memory("a file", sizeof *out->file);
  }
  out->file->mapping = mapping;
  out->begin = mapping.data;
  out->nbytes = mapping.nbytes;
  out->file->path = pare__strdup(name);
  const pare_status status = out->file->path ? read_header(out) : pare__fail_memory("a path", strlen(name));
  if (status != PARE_OK) pare__safetensors_close(out);
  return status;
}

pare_status pare__safetensors_open(const char *path, pare__safetensors *out) {
  pare__mapping mapping;
  *out = (pare__safetensors){0};
  PARE__TRY(pare__mapping_open(path, &mapping));
  return open_mapping(mapping, path, out);
}

pare_status pare__safetensors_open_memory(const void *data, size_t nbytes, const char *name, pare__safetensors *out) {
  return open_mapping((pare__mapping){data, nbytes, false}, name, out);
}

void pare__safetensors_close(pare__safetensors *file) {
  if (file->file) {
    pare__mapping_close(&file->file->mapping);
    pare__arena_clear(&file->file->arena);
    free(file->file->path);
    free(file->file);
  }
  *file = (pare__safetensors){0};
}

const pare__safetensors_tensor *pare__safetensors_find(const pare__safetensors *file, const char *name) {
  for (size_t i = 0; i < file->ntensors; i++)
    if (strcmp(file->tensor[i].name, name) == 0) return &file->tensor[i];
  return NULL;
}

bool pare__safetensors_looks_like(const void *data, size_t nbytes) {
  const uint8_t *bytes = data;
  return nbytes > LENGTH_BYTES && bytes[LENGTH_BYTES] == '{' && !bytes[4] && !bytes[5] && !bytes[6] && !bytes[7];
}
