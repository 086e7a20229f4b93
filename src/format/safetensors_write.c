/* Writing safetensors. SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "format/mapping.h"
#include "format/safetensors.h"

#define PIECE_BYTES ((size_t)8 << 20)
#define ALIGNMENT 8 /* of the first tensor; the header is filled up with spaces */

struct placed {
  pare__safetensors_tensor tensor; /* measured */
  size_t index;                    /* in the header */
  size_t element_bytes;            /* 1 for those of less than a byte */
  uint64_t offset, written;
};

struct pare__safetensors_writer {
  pare__sink *sink;
  uint64_t data_begin; /* in the file */
  size_t ntensors;
  struct placed *placed;
};

/* ---- places ---- */

static int by_element(const void *left, const void *right) {
  const struct placed *a = *(struct placed *const *)left, *b = *(struct placed *const *)right;
  if (a->element_bytes != b->element_bytes) return a->element_bytes > b->element_bytes ? -1 : 1;
  return (a->index > b->index) - (a->index < b->index);
}

/* Offsets in that order; true if every tensor lies at a multiple of its element size. */
static bool place(struct placed **order, size_t count) {
  uint64_t offset = 0;
  bool aligned = true;
  for (size_t i = 0; i < count; i++) {
    order[i]->offset = offset;
    aligned = aligned && offset % order[i]->element_bytes == 0;
    offset += order[i]->tensor.nbytes;
  }
  return aligned;
}

static pare_status measure(const pare__safetensors_tensor *tensor, size_t count, struct placed *placed,
                           struct placed **order) {
  uint64_t total = 0;
  for (size_t i = 0; i < count; i++) {
    placed[i] = (struct placed){.tensor = tensor[i], .index = i, .element_bytes = 1};
    PARE__TRY(pare__safetensors_measure(&placed[i].tensor));
    pare_dtype dtype;
    if (pare__safetensors_dtype_to_pare(tensor[i].dtype, &dtype)) placed[i].element_bytes = pare_dtype_bytes(dtype);
    if (tensor[i].dtype == PARE__SAFETENSORS_C64) placed[i].element_bytes = 8;
    if (__builtin_add_overflow(total, placed[i].tensor.nbytes, &total) || total > INT64_MAX)
      return pare__fail(PARE_ERR_SHAPE, "tensor '%.200s': the file would pass 2^63 bytes", tensor[i].name);
    order[i] = &placed[i];
  }
  if (place(order, count)) return PARE_OK;
  qsort(order, count, sizeof *order, by_element);
  place(order, count);
  return PARE_OK;
}

/* ---- the header ---- */

static bool set_text(json_t *object, const char *key, const char *value) {
  return json_object_set_new(object, key, json_string(value)) == 0;
}

static pare_status add_metadata(json_t *header, const pare__safetensors_text *text, size_t count) {
  if (count == 0) return PARE_OK;
  json_t *metadata = json_object();
  if (json_object_set_new(header, "__metadata__", metadata) != 0) return pare__fail_memory("a header", count);
  for (size_t i = 0; i < count; i++)
    if (json_object_get(metadata, text[i].key) || !set_text(metadata, text[i].key, text[i].value))
      return pare__fail(PARE_ERR_ARGUMENT, "metadata '%.200s' is given twice, or is no UTF-8", text[i].key);
  return PARE_OK;
}

static pare_status add_tensor(json_t *header, const struct placed *placed) {
  const pare__safetensors_tensor *tensor = &placed->tensor;
  if (strcmp(tensor->name, "__metadata__") == 0 || json_object_get(header, tensor->name))
    return pare__fail(PARE_ERR_ARGUMENT, "tensor '%.200s': the name is %s", tensor->name,
                      strcmp(tensor->name, "__metadata__") == 0 ? "the format's own" : "given twice");
  json_t *entry = json_object(), *shape = json_array(), *offsets = json_array();
  bool fine = entry && shape && offsets && set_text(entry, "dtype", pare__safetensors_dtype_name(tensor->dtype));
  for (size_t d = 0; d < tensor->rank; d++)
    fine = json_array_append_new(shape, json_integer(tensor->dim[d])) == 0 && fine;
  fine = json_array_append_new(offsets, json_integer((json_int_t)placed->offset)) == 0 && fine;
  fine = json_array_append_new(offsets, json_integer((json_int_t)placed->offset + (json_int_t)tensor->nbytes)) == 0 &&
         fine;
  fine = json_object_set_new(entry, "shape", shape) == 0 && fine;
  fine = json_object_set_new(entry, "data_offsets", offsets) == 0 && fine;
  if (!fine) {
    json_decref(entry);
    return pare__fail_memory("a header", strlen(tensor->name));
  }
  if (json_object_set_new(header, tensor->name, entry) == 0) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "tensor '%.200s': its name is no UTF-8", tensor->name);
}

static pare_status make_header(const struct placed *placed, size_t ntensors, const pare__safetensors_text *text,
                               size_t ntexts, char **out) {
  json_t *header = json_object();
  pare_status status = header ? add_metadata(header, text, ntexts) : pare__fail_memory("a header", 1);
  for (size_t i = 0; i < ntensors && status == PARE_OK; i++) status = add_tensor(header, &placed[i]);
  *out = status == PARE_OK ? json_dumps(header, JSON_COMPACT) : NULL;
  if (status == PARE_OK && !*out) status = pare__fail_memory("a header", ntensors);
  json_decref(header);
  return status;
}

static pare_status write_header(pare__sink *sink, const char *text) {
  const size_t length = strlen(text), padding = (ALIGNMENT - length % ALIGNMENT) % ALIGNMENT;
  const uint64_t total = length + padding;
  uint8_t prefix[8];
  if (total > PARE__SAFETENSORS_MAX_HEADER)
    return pare__fail(PARE_ERR_LIMIT, "the header would take %" PRIu64 " bytes; safetensors allows %d", total,
                      PARE__SAFETENSORS_MAX_HEADER);
  for (unsigned i = 0; i < sizeof prefix; i++) prefix[i] = (uint8_t)(total >> 8 * i);
  PARE__TRY(pare__sink_write(sink, prefix, sizeof prefix));
  PARE__TRY(pare__sink_write(sink, text, length));
  return pare__sink_write(sink, "       ", padding);
}

/* ---- the file ---- */

static pare_status begin(pare__safetensors_writer *writer, const char *path, const pare__safetensors_tensor *tensor,
                         const pare__safetensors_text *text, size_t ntexts) {
  const size_t count = writer->ntensors;
  struct placed **order = calloc(count + 1, sizeof *order);
  char *header = NULL;
  pare_status status = order ? PARE_OK : pare__fail_memory("a list of tensors", count * sizeof *order);
  if (status == PARE_OK) status = measure(tensor, count, writer->placed, order);
  if (status == PARE_OK) status = make_header(writer->placed, count, text, ntexts, &header);
  if (status == PARE_OK) status = pare__sink_open(path, &writer->sink);
  if (status == PARE_OK) status = write_header(writer->sink, header);
  if (status == PARE_OK) writer->data_begin = pare__sink_offset(writer->sink);
  free(header);
  free(order);
  return status;
}

pare_status pare__safetensors_begin(const char *path, const pare__safetensors_tensor *tensor, size_t ntensors,
                                    const pare__safetensors_text *text, size_t ntexts, pare__safetensors_writer **out) {
  *out = NULL;
  pare__safetensors_writer *writer = calloc(1, sizeof *writer);
  if (!writer) return pare__fail_memory("a writer", sizeof *writer);
  writer->ntensors = ntensors;
  writer->placed = calloc(ntensors + 1, sizeof *writer->placed);
  pare_status status = writer->placed ? PARE_OK : pare__fail_memory("a list of tensors", ntensors);
  if (status == PARE_OK) status = begin(writer, path, tensor, text, ntexts);
  if (status != PARE_OK) {
    pare__safetensors_abandon(writer);
    return status;
  }
  *out = writer;
  return PARE_OK;
}

pare_status pare__safetensors_put(pare__safetensors_writer *writer, size_t tensor, uint64_t offset, const void *data,
                                  size_t nbytes) {
  struct placed *placed = &writer->placed[tensor];
  if (offset > placed->tensor.nbytes || nbytes > placed->tensor.nbytes - offset)
    return pare__fail(PARE_ERR_ARGUMENT, "tensor '%.200s': %zu bytes at %" PRIu64 " of its %zu", placed->tensor.name,
                      nbytes, offset, placed->tensor.nbytes);
  placed->written += nbytes;
  return pare__sink_place(writer->sink, writer->data_begin + placed->offset + offset, data, nbytes);
}

pare_status pare__safetensors_commit(pare__safetensors_writer *writer) {
  for (size_t i = 0; i < writer->ntensors; i++) {
    const struct placed *placed = &writer->placed[i];
    if (placed->written != placed->tensor.nbytes)
      return pare__fail(PARE_ERR_ARGUMENT, "tensor '%.200s': %" PRIu64 " bytes were given; it has %zu",
                        placed->tensor.name, placed->written, placed->tensor.nbytes);
  }
  return pare__sink_commit(writer->sink);
}

void pare__safetensors_abandon(pare__safetensors_writer *writer) {
  if (!writer) return;
  pare__sink_close(writer->sink);
  free(writer->placed);
  free(writer);
}

/* A piece at a time, whose pages are let go if they are of a mapped file. */
static pare_status put_all(pare__safetensors_writer *writer, size_t index) {
  const pare__safetensors_tensor *tensor = &writer->placed[index].tensor;
  for (size_t done = 0; done < tensor->nbytes; done += PIECE_BYTES) {
    const char *piece = (const char *)tensor->data + done;
    const size_t nbytes = PARE__MIN(tensor->nbytes - done, PIECE_BYTES);
    PARE__TRY(pare__safetensors_put(writer, index, done, piece, nbytes));
    if (tensor->mapped) pare__mapping_release(piece, nbytes);
  }
  return PARE_OK;
}

pare_status pare__safetensors_write(const char *path, const pare__safetensors_tensor *tensor, size_t ntensors,
                                    const pare__safetensors_text *text, size_t ntexts) {
  pare__safetensors_writer *writer;
  PARE__TRY(pare__safetensors_begin(path, tensor, ntensors, text, ntexts, &writer));
  pare_status status = PARE_OK;
  for (size_t i = 0; i < ntensors && status == PARE_OK; i++) status = put_all(writer, i);
  if (status == PARE_OK) status = pare__safetensors_commit(writer);
  pare__safetensors_abandon(writer);
  return status;
}
