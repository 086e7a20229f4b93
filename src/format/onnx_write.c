/* ONNX models to protobuf's wire format, by the tables of onnx_schema.c. SPDX-License-Identifier: Apache-2.0
 *
 * The same walk runs twice: measuring, it counts bytes and notes the length of every message; writing, it reads those
 * lengths back in the same order. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "format/mapping.h"
#include "format/onnx_schema.h"
#include "format/sink.h"

#define MAX_FILE_BYTES ((uint64_t)INT32_MAX) /* what protobuf's own parsers take */
#define PIECE_BYTES ((size_t)4 << 20)        /* of mapped data, whose pages go once they are written */

struct writer {
  pare__onnx_source *source; /* where the elements of external tensors are; NULL: nowhere */
  bool measuring;
  uint64_t measured;
  uint64_t *lengths;
  size_t nlengths, lengths_capacity, next_length;
  pare__sink *sink;
  /* Tensors whose elements move between the files are written as changed copies, found by their number. */
  pare__arena arena;
  const pare__onnx_tensor **tensors;
  size_t ntensors, tensors_capacity, next_tensor;
  const pare__onnx_write_options *options;
  pare__sink *external;
};

/* ---- bytes ---- */

static pare_status put(struct writer *writer, const void *data, size_t nbytes) {
  if (!writer->measuring) return pare__sink_write(writer->sink, data, nbytes);
  writer->measured += nbytes;
  return PARE_OK;
}

static pare_status put_varint(struct writer *writer, uint64_t value) {
  uint8_t bytes[10];
  size_t nbytes = 0;
  for (; value >= 0x80; value >>= 7) bytes[nbytes++] = (uint8_t)(value | 0x80);
  bytes[nbytes++] = (uint8_t)value;
  return put(writer, bytes, nbytes);
}

static pare_status put_tag(struct writer *writer, const pare__onnx_field *field, unsigned wire_type) {
  return put_varint(writer, (uint64_t)field->number << 3 | wire_type);
}

/* Elements, which may lie in a mapped file: a piece at a time. */
static pare_status copy_elements(pare__sink *sink, pare__onnx_source *source, pare__onnx_bytes bytes) {
  bool mapped = source && bytes.nbytes >= PIECE_BYTES && pare__onnx_is_mapped(source, bytes.data);
  return pare__sink_copy(sink, bytes.data, bytes.nbytes, mapped);
}

static pare_status put_bytes(struct writer *writer, pare__onnx_bytes bytes) {
  PARE__TRY(put_varint(writer, bytes.nbytes));
  if (writer->measuring) return put(writer, bytes.data, bytes.nbytes);
  return copy_elements(writer->sink, writer->source, bytes);
}

static pare_status copy_stream(pare__sink *sink, const pare__onnx_tensor *tensor) {
  char label[160];
  return pare__sink_stream(sink, tensor->stream, pare__onnx_tensor_label(tensor, label, sizeof label));
}

/* ---- tensors that change ---- */

/* The elements as bytes, decoded into *data if they are typed. */
static pare_status find_elements(struct writer *writer, const pare__onnx_tensor *tensor, pare__onnx_data *data) {
  if (!writer->source)
    return pare__fail(PARE_ERR_ARGUMENT, "a tensor with external data, and no source that knows its folder");
  return pare__onnx_tensor_data(writer->source, tensor, data);
}

static void forget_elements(pare__onnx_tensor *tensor) {
  static const pare__onnx_tensor nothing;
  tensor->float_data = nothing.float_data;
  tensor->int32_data = nothing.int32_data;
  tensor->int64_data = nothing.int64_data;
  tensor->double_data = nothing.double_data;
  tensor->uint64_data = nothing.uint64_data;
  tensor->raw_data = nothing.raw_data;
  tensor->external_data = nothing.external_data;
  tensor->stream = NULL;
  tensor->data_location = PARE__ONNX_LOCATION_DEFAULT;
  tensor->message.has &= ~(UINT64_C(1) << 14);
}

static pare_status add_entry(struct writer *writer, pare__onnx_entry *entry, const char *key, char *value) {
  pare_status status =
      value ? pare__arena_text(&writer->arena, value, strlen(value), &entry->value) : pare__fail_memory("an entry", 32);
  entry->key = key;
  free(value);
  return status;
}

/* Writes the elements to the external file and says where they are. */
static pare_status move_out(struct writer *writer, pare__onnx_tensor *tensor, pare__onnx_bytes elements) {
  size_t nbytes = tensor->stream ? tensor->stream->nbytes : elements.nbytes;
  PARE__TRY(pare__sink_align(writer->external, nbytes >= (64 << 10) ? 4096 : 64));
  unsigned long long offset = pare__sink_offset(writer->external);
  if (tensor->stream)
    PARE__TRY(copy_stream(writer->external, tensor));
  else
    PARE__TRY(copy_elements(writer->external, writer->source, elements));
  void *memory;
  PARE__TRY(pare__arena_allocate(&writer->arena, 3 * sizeof(pare__onnx_entry), &memory));
  pare__onnx_entry *entries = memory;
  PARE__TRY(add_entry(writer, &entries[0], "location", pare__strdup(writer->options->external_file)));
  PARE__TRY(add_entry(writer, &entries[1], "offset", pare__format("%llu", offset)));
  PARE__TRY(add_entry(writer, &entries[2], "length", pare__format("%zu", nbytes)));
  forget_elements(tensor);
  tensor->external_data.count = 3;
  tensor->external_data.items = entries;
  tensor->data_location = PARE__ONNX_LOCATION_EXTERNAL;
  return PARE_OK;
}

/* The tensor as it will be written: itself, or a copy in the writer's arena. */
static pare_status prepare_tensor(struct writer *writer, const pare__onnx_tensor *tensor,
                                  const pare__onnx_tensor **out) {
  int64_t count;
  size_t nbytes = 0;
  bool moves = false, outside = tensor->data_location == PARE__ONNX_LOCATION_EXTERNAL && !tensor->stream;
  *out = tensor;
  if (writer->external && tensor->data_type != PARE__ONNX_STRING) {
    PARE__TRY(pare__onnx_tensor_elements(tensor, &count));
    moves = pare__onnx_dtype_size(tensor->data_type, count, &nbytes) && nbytes > 0 &&
            nbytes >= writer->options->external_minimum_bytes;
  }
  if (!moves && !outside) return PARE_OK;
  void *memory;
  PARE__TRY(pare__arena_allocate(&writer->arena, sizeof *tensor, &memory));
  pare__onnx_tensor *copy = memcpy(memory, tensor, sizeof *tensor);
  pare__onnx_data data = {0};
  if (!tensor->stream) PARE__TRY(find_elements(writer, tensor, &data));
  pare__onnx_bytes elements = {data.data ? data.data : "", data.nbytes};
  pare_status status = PARE_OK;
  if (moves) {
    status = move_out(writer, copy, elements);
  } else {
    forget_elements(copy);
    copy->raw_data = elements; /* a view: external data is never decoded */
  }
  free(data.owned);
  *out = copy;
  return status;
}

static pare_status next_tensor(struct writer *writer, const pare__onnx_tensor **tensor) {
  if (!writer->measuring) {
    *tensor = writer->tensors[writer->next_tensor++];
    return PARE_OK;
  }
  PARE__TRY(prepare_tensor(writer, *tensor, tensor));
  const size_t element = sizeof *writer->tensors; /* a pointer, indeed. NOLINT(bugprone-sizeof-expression) */
  PARE__TRY(pare__array_grow((void **)&writer->tensors, &writer->tensors_capacity, writer->ntensors, element));
  writer->tensors[writer->ntensors++] = *tensor;
  return PARE_OK;
}

/* ---- the walk ---- */

static pare_status walk_message(struct writer *writer, const pare__onnx_layout *layout, const void *object);

static pare_status walk_child(struct writer *writer, const pare__onnx_field *field, const void *child) {
  const pare__onnx_tensor *tensor = child;
  if (field->layout == &pare__onnx_tensor_layout) {
    PARE__TRY(next_tensor(writer, &tensor));
    child = tensor;
  }
  PARE__TRY(put_tag(writer, field, PARE__WIRE_BYTES));
  if (!writer->measuring) {
    PARE__TRY(put_varint(writer, writer->lengths[writer->next_length++]));
    return walk_message(writer, field->layout, child);
  }
  PARE__TRY(pare__array_grow((void **)&writer->lengths, &writer->lengths_capacity, writer->nlengths,
                             sizeof *writer->lengths));
  size_t slot = writer->nlengths++;
  uint64_t begin = writer->measured;
  PARE__TRY(walk_message(writer, field->layout, child));
  writer->lengths[slot] = writer->measured - begin;
  return put_varint(writer, writer->lengths[slot]);
}

static pare_status walk_value(struct writer *writer, const pare__onnx_field *field, const void *value) {
  int64_t number64;
  int32_t number32;
  const char *text;
  if (field->layout) return walk_child(writer, field, value);
  PARE__TRY(put_tag(writer, field, pare__onnx_wire_type(field->kind)));
  switch ((pare__onnx_kind)field->kind) {
  case PARE__ONNX_KIND_INT64: memcpy(&number64, value, sizeof number64); return put_varint(writer, (uint64_t)number64);
  case PARE__ONNX_KIND_INT32:
  case PARE__ONNX_KIND_ENUM:
    memcpy(&number32, value, sizeof number32);
    return put_varint(writer, (uint64_t)(int64_t)number32);
  case PARE__ONNX_KIND_FLOAT: return put(writer, value, sizeof(float));
  case PARE__ONNX_KIND_TEXT:
    memcpy(&text, value, sizeof text);
    if (!text) text = "";
    return put_bytes(writer, (pare__onnx_bytes){text, strlen(text)});
  default: return put_bytes(writer, *(const pare__onnx_bytes *)value);
  }
}

/* Is a singular field there? */
static bool is_present(const pare__onnx_layout *layout, const pare__onnx_field *field, const void *object) {
  static const char zeros[sizeof(pare__onnx_bytes)];
  const void *member = pare__onnx_member(object, field);
  if (field->choice && *(const int *)(const void *)((const char *)object + layout->which_offset) != field->number)
    return false;
  bool is_number = pare__onnx_wire_type(field->kind) != PARE__WIRE_BYTES;
  if (is_number && (field->choice || ((const pare__onnx_message *)object)->has >> field->number & 1)) return true;
  return memcmp(member, zeros, pare__onnx_value_bytes(field)) != 0;
}

static pare_status walk_field(struct writer *writer, const pare__onnx_layout *layout, const pare__onnx_field *field,
                              const void *object) {
  const void *member = pare__onnx_member(object, field);
  if (pare__onnx_kind_is_packed(field->kind)) {
    const pare__onnx_packed *packed = member;
    if (packed->count == 0) return PARE_OK;
    PARE__TRY(put_tag(writer, field, PARE__WIRE_BYTES));
    return put_bytes(writer, packed->wire);
  }
  if (field->repeated) {
    const pare__onnx_list *list = member;
    size_t item_bytes = pare__onnx_value_bytes(field);
    for (size_t i = 0; i < list->count; i++)
      PARE__TRY(walk_value(writer, field, (const char *)list->items + i * item_bytes));
    return PARE_OK;
  }
  if (!is_present(layout, field, object)) return PARE_OK;
  if (!field->layout) return walk_value(writer, field, member);
  const void *child;
  memcpy(&child, member, sizeof child);
  return walk_value(writer, field, child);
}

static pare_status walk_stream(struct writer *writer, const pare__onnx_tensor *tensor) {
  static const pare__onnx_field raw_data = {.number = 9};
  PARE__TRY(put_tag(writer, &raw_data, PARE__WIRE_BYTES));
  PARE__TRY(put_varint(writer, tensor->stream->nbytes));
  if (!writer->measuring) return copy_stream(writer->sink, tensor);
  writer->measured += tensor->stream->nbytes;
  return PARE_OK;
}

static pare_status walk_message(struct writer *writer, const pare__onnx_layout *layout, const void *object) {
  for (unsigned i = 0; i < layout->nfields; i++) PARE__TRY(walk_field(writer, layout, &layout->fields[i], object));
  if (layout == &pare__onnx_tensor_layout && ((const pare__onnx_tensor *)object)->stream)
    PARE__TRY(walk_stream(writer, object));
  pare__onnx_bytes unknown = ((const pare__onnx_message *)object)->unknown;
  return put(writer, unknown.data, unknown.nbytes);
}

/* ---- files ---- */

static void clear(struct writer *writer) {
  pare__arena_clear(&writer->arena);
  pare__sink_close(writer->external);
  pare__sink_close(writer->sink);
  free(writer->lengths);
  free(writer->tensors);
}

/* Both walks over a model or a tensor; path NULL: into memory. */
static pare_status walk_twice(struct writer *writer, const pare__onnx_layout *layout, const void *object,
                              const char *path) {
  const pare__onnx_tensor *tensor = object;
  for (int pass = 0; pass < 2; pass++) {
    writer->measuring = pass == 0;
    if (layout == &pare__onnx_tensor_layout) {
      PARE__TRY(next_tensor(writer, &tensor));
      object = tensor;
    }
    PARE__TRY(walk_message(writer, layout, object));
    if (pass == 1) break;
    if (writer->measured > MAX_FILE_BYTES)
      return pare__fail(PARE_ERR_LIMIT,
                        "writing %s: %llu bytes are more than the 2 GiB that readers take: put the tensors into an "
                        "external file",
                        path ? path : "a model", (unsigned long long)writer->measured);
    PARE__TRY(pare__sink_open(path, &writer->sink));
  }
  return PARE_OK;
}

static pare_status open_external(struct writer *writer, const char *path) {
  const char *name = writer->options->external_file, *slash = strrchr(path, '/');
  const char *file = slash ? slash + 1 : path;
  if (pare__onnx_refuse_location(name) || strchr(name, '/') || strcmp(name, file) == 0)
    return pare__fail(PARE_ERR_ARGUMENT, "external_file '%s': it has to be the name of another file beside %s", name,
                      path);
  char *beside = pare__format("%.*s%s", (int)(file - path), path, name);
  if (!beside) return pare__fail_memory("a path", strlen(path));
  pare_status status = pare__sink_open(beside, &writer->external);
  free(beside);
  return status;
}

pare_status pare__onnx_write(const pare__onnx_model *model, const char *path, const pare__onnx_write_options *options) {
  static const pare__onnx_write_options defaults = PARE__ONNX_WRITE_OPTIONS_INIT;
  struct writer writer = {.source = model->source, .options = options ? options : &defaults};
  pare_status status = writer.options->external_file ? open_external(&writer, path) : PARE_OK;
  if (status == PARE_OK) status = walk_twice(&writer, &pare__onnx_model_layout, model, path);
  if (status == PARE_OK && writer.external) status = pare__sink_commit(writer.external);
  if (status == PARE_OK) status = pare__sink_commit(writer.sink);
  clear(&writer);
  return status;
}

pare_status pare__onnx_tensor_write(pare__onnx_source *source, const pare__onnx_tensor *tensor, const char *path) {
  static const pare__onnx_write_options defaults = PARE__ONNX_WRITE_OPTIONS_INIT;
  struct writer writer = {.source = source, .options = &defaults};
  pare_status status = walk_twice(&writer, &pare__onnx_tensor_layout, tensor, path);
  if (status == PARE_OK) status = pare__sink_commit(writer.sink);
  clear(&writer);
  return status;
}

pare_status pare__onnx_serialise(const pare__onnx_model *model, void **out, size_t *nbytes) {
  static const pare__onnx_write_options defaults = PARE__ONNX_WRITE_OPTIONS_INIT;
  struct writer writer = {.source = model->source, .options = &defaults};
  *out = NULL;
  *nbytes = 0;
  pare_status status = walk_twice(&writer, &pare__onnx_model_layout, model, NULL);
  if (status == PARE_OK) pare__sink_take(writer.sink, out, nbytes);
  clear(&writer);
  return status;
}
