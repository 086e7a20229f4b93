/* Arrays in files, as the public interface has them. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <pare/arrays.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dtype.h"
#include "format/npz.h"
#include "graph/graph.h"

/* An array that was read; empty until then. */
typedef struct kept_array {
  bool read;
  pare__array array;      /* of .npy and .npz */
  pare__content *content; /* of .pb */
  pare_array shown;
} kept_array;

/* One of npz, source, or neither: then it is an .npy file, read when it was opened. */
struct pare_arrays {
  pare__npz *npz;
  pare__onnx_source *source;
  pare__onnx_tensor *tensor;
  size_t count;
  kept_array *kept;
};

/* ---- which format ---- */

typedef enum file_kind { KIND_UNKNOWN, KIND_NPY, KIND_NPZ, KIND_PB } file_kind;

static const struct {
  file_kind kind;
  const char *ending, *magic; /* magic NULL: the format has none */
  size_t magic_bytes;
} kinds[] = {
    {KIND_NPY, ".npy", "\x93NUMPY", 6},
    {KIND_NPZ, ".npz", "PK\x03\x04", 4},
    {KIND_NPZ, ".npz", "PK\x05\x06", 4}, /* an archive of nothing */
    {KIND_PB, ".pb", NULL, 0},
};

static bool ends_with(const char *text, const char *ending) {
  const size_t length = strlen(text), tail = strlen(ending);
  return length >= tail && strcmp(text + length - tail, ending) == 0;
}

static file_kind find_kind(const char *path) {
  char head[8] = {0};
  FILE *file = fopen(path, "rb");
  const size_t nread = file ? fread(head, 1, sizeof head, file) : 0;
  if (file) fclose(file);
  for (size_t i = 0; i < PARE__COUNT(kinds); i++)
    if (kinds[i].magic && nread >= kinds[i].magic_bytes && memcmp(head, kinds[i].magic, kinds[i].magic_bytes) == 0)
      return kinds[i].kind;
  for (size_t i = 0; i < PARE__COUNT(kinds); i++)
    if (ends_with(path, kinds[i].ending)) return kinds[i].kind;
  return KIND_UNKNOWN;
}

/* ---- showing ---- */

static pare_status check_rank(const char *name, size_t rank) {
  if (rank <= PARE_MAX_RANK) return PARE_OK;
  return pare__fail(PARE_ERR_UNSUPPORTED, "array '%s' has %zu dimensions; pare has up to %d", name, rank,
                    PARE_MAX_RANK);
}

static pare_status show_array(const char *name, const pare__array *array, pare_array *out) {
  PARE__TRY(check_rank(name, (size_t)array->rank));
  const int dtype = array->dtype == PARE__NPY_RAW2 ? PARE_BF16 : array->dtype;
  const bool known = dtype < PARE_NDTYPES;
  *out = (pare_array){.name = name,
                      .dtype = known ? (pare_dtype)dtype : PARE_NDTYPES,
                      .dtype_name = pare__npy_dtype_name(dtype),
                      .rank = array->rank,
                      .data = known ? array->data : NULL,
                      .nbytes = known ? array->nbytes : 0};
  memcpy(out->dim, array->dims, (size_t)array->rank * sizeof *out->dim);
  return PARE_OK;
}

static pare_status show_tensor(pare_arrays *arrays, kept_array *kept) {
  const pare__onnx_tensor *tensor = arrays->tensor;
  const char *name = tensor->name ? tensor->name : "";
  PARE__TRY(check_rank(name, tensor->dims.count));
  pare_dtype dtype;
  if (!pare__held_dtype(tensor->data_type, &dtype)) {
    kept->shown = (pare_array){.name = name,
                               .dtype = PARE_NDTYPES,
                               .dtype_name = pare__onnx_dtype_name(tensor->data_type),
                               .rank = (int)tensor->dims.count};
    for (size_t i = 0; i < tensor->dims.count; i++) kept->shown.dim[i] = tensor->dims.items[i];
    return PARE_OK;
  }
  PARE__TRY(pare__content_of_tensor(arrays->source, tensor, &kept->content));
  const pare__content *content = kept->content;
  kept->shown = (pare_array){.name = name,
                             .dtype = content->dtype,
                             .dtype_name = pare_dtype_name(content->dtype),
                             .rank = content->shape.rank,
                             .data = content->data,
                             .nbytes = content->nbytes};
  memcpy(kept->shown.dim, content->shape.dim, (size_t)content->shape.rank * sizeof *content->shape.dim);
  return PARE_OK;
}

/* ---- opening ---- */

static pare_status open_file(const char *path, pare_arrays *arrays) {
  const file_kind kind = find_kind(path);
  if (kind == KIND_NPZ) {
    PARE__TRY(pare__npz_open(path, &arrays->npz));
    arrays->count = pare__npz_count(arrays->npz);
  } else if (kind == KIND_PB) {
    PARE__TRY(pare__onnx_tensor_open(path, &arrays->source, &arrays->tensor));
    arrays->count = 1;
  } else if (kind == KIND_UNKNOWN && access(path, R_OK) == 0) {
    return pare__fail(PARE_ERR_FORMAT, "%s is no .npy, .npz or .pb file: neither its first bytes nor its name say so",
                      path);
  } else {
    arrays->count = 1;
  }
  arrays->kept = calloc(arrays->count + 1, sizeof *arrays->kept);
  if (!arrays->kept) return pare__fail_memory("arrays", arrays->count * sizeof *arrays->kept);
  if (arrays->npz || arrays->source) return PARE_OK;
  kept_array *kept = &arrays->kept[0];
  PARE__TRY(pare__npy_open(path, &kept->array));
  PARE__TRY(show_array("", &kept->array, &kept->shown));
  kept->read = true;
  return PARE_OK;
}

pare_status pare_arrays_open(const char *path, pare_arrays **out) {
  if (!out) return pare__fail_null("pare_arrays_open", "out");
  *out = NULL;
  if (!path) return pare__fail_null("pare_arrays_open", "path");
  pare_arrays *arrays = calloc(1, sizeof *arrays);
  if (!arrays) return pare__fail_memory("arrays", sizeof *arrays);
  const pare_status status = open_file(path, arrays);
  if (status != PARE_OK) {
    pare_arrays_close(arrays);
    return status;
  }
  *out = arrays;
  return PARE_OK;
}

void pare_arrays_close(pare_arrays *arrays) {
  if (!arrays) return;
  for (size_t i = 0; i < arrays->count && arrays->kept; i++) {
    pare__array_close(&arrays->kept[i].array);
    pare__content_release(arrays->kept[i].content);
  }
  free(arrays->kept);
  pare__npz_close(arrays->npz);
  pare__onnx_source_close(arrays->source);
  free(arrays);
}

/* ---- reading ---- */

size_t pare_arrays_count(const pare_arrays *arrays) { return arrays ? arrays->count : 0; }

const char *pare_arrays_name(const pare_arrays *arrays, size_t index) {
  if (!arrays || index >= arrays->count) return NULL;
  if (arrays->npz) return pare__npz_name(arrays->npz, index);
  return arrays->tensor && arrays->tensor->name ? arrays->tensor->name : "";
}

bool pare_arrays_find(const pare_arrays *arrays, const char *name, size_t *index) {
  if (!arrays || !name || !index) return false;
  if (arrays->npz) return pare__npz_find(arrays->npz, name, index);
  *index = 0;
  return strcmp(pare_arrays_name(arrays, 0), name) == 0;
}

pare_status pare_arrays_get(pare_arrays *arrays, size_t index, pare_array *out) {
  if (!out) return pare__fail_null("pare_arrays_get", "out");
  *out = (pare_array){.name = "", .dtype = PARE_NDTYPES, .dtype_name = ""};
  if (!arrays) return pare__fail_null("pare_arrays_get", "arrays");
  if (index >= arrays->count)
    return pare__fail(PARE_ERR_ARGUMENT, "pare_arrays_get: there is no array %zu; the file has %zu", index,
                      arrays->count);
  kept_array *kept = &arrays->kept[index];
  if (!kept->read) {
    pare__array_close(&kept->array);
    if (arrays->npz) {
      PARE__TRY(pare__npz_read(arrays->npz, index, &kept->array));
      PARE__TRY(show_array(pare__npz_name(arrays->npz, index), &kept->array, &kept->shown));
    } else {
      PARE__TRY(show_tensor(arrays, kept));
    }
    kept->read = true;
  }
  *out = kept->shown;
  return PARE_OK;
}

/* ---- writing ---- */

static pare_status to_internal(const pare_array *array, pare__array *out) {
  if (!array->name) return pare__fail(PARE_ERR_ARGUMENT, "pare_arrays_write: an array has no name");
  pare__shape shape;
  if (array->rank < 0 || array->rank > PARE_MAX_RANK || !pare__dtype_is_valid(array->dtype) ||
      !pare__shape_set(&shape, array->rank, array->dim))
    return pare__fail(PARE_ERR_ARGUMENT, "pare_arrays_write: array '%s' has a dtype, a rank or a shape that is none",
                      array->name);
  *out = (pare__array){.dtype = (int)array->dtype,
                       .rank = array->rank,
                       .count = pare__shape_elements(&shape),
                       .data = array->data,
                       .nbytes = array->nbytes};
  memcpy(out->dims, array->dim, (size_t)array->rank * sizeof *array->dim);
  if (out->nbytes == (size_t)out->count * pare_dtype_bytes(array->dtype) && (array->data || out->nbytes == 0))
    return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "pare_arrays_write: array '%s' has %zu bytes; its shape and dtype need %zu",
                    array->name, array->nbytes, (size_t)out->count * pare_dtype_bytes(array->dtype));
}

pare_status pare_arrays_write(const char *path, size_t count, const pare_array *arrays, bool deflates) {
  if (!path) return pare__fail_null("pare_arrays_write", "path");
  if (!arrays && count > 0) return pare__fail_null("pare_arrays_write", "arrays");
  pare__array *array = calloc(count + 1, sizeof *array);
  pare__npz_entry *entry = calloc(count + 1, sizeof *entry);
  pare_status status = array && entry ? PARE_OK : pare__fail_memory("an archive", count * sizeof *array);
  for (size_t i = 0; i < count && status == PARE_OK; i++) {
    status = to_internal(&arrays[i], &array[i]);
    entry[i] = (pare__npz_entry){arrays[i].name, &array[i]};
  }
  if (status == PARE_OK) status = pare__npz_write(path, count, entry, deflates);
  free(array);
  free(entry);
  return status;
}

double pare_array_number(const pare_array *array, size_t index) {
  const size_t nbytes = array ? pare_dtype_bytes(array->dtype) : 0;
  if (nbytes == 0 || !array->data || index >= array->nbytes / nbytes) return NAN;
  uint64_t aligned = 0; /* views of a file are not */
  memcpy(&aligned, (const char *)array->data + index * nbytes, nbytes);
  return pare__load(array->dtype, &aligned, 0);
}
