/* The messages of onnx.proto as tables, which reader and writer walk. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_FORMAT_ONNX_SCHEMA_H
#define PARE_FORMAT_ONNX_SCHEMA_H

#include "format/onnx.h"

/* How a field lies in its struct. Repeated ones are a PARE__ONNX_LIST of it, but for packed ones. */
typedef enum pare__onnx_kind {
  PARE__ONNX_KIND_INT64,   /* int64_t */
  PARE__ONNX_KIND_INT32,   /* int32_t */
  PARE__ONNX_KIND_ENUM,    /* int32_t; a number over `limit` makes it an unknown field, as protobuf has it */
  PARE__ONNX_KIND_FLOAT,   /* float */
  PARE__ONNX_KIND_TEXT,    /* const char * */
  PARE__ONNX_KIND_BYTES,   /* pare__onnx_bytes */
  PARE__ONNX_KIND_MESSAGE, /* a pointer to the struct; in lists the struct itself */
  /* Repeated numbers that stay in the wire's encoding: pare__onnx_packed. */
  PARE__ONNX_KIND_PACKED_VARINT,
  PARE__ONNX_KIND_PACKED_FIXED32,
  PARE__ONNX_KIND_PACKED_FIXED64
} pare__onnx_kind;

typedef struct pare__onnx_layout pare__onnx_layout;

typedef struct pare__onnx_field {
  const char *name;
  const pare__onnx_layout *layout; /* of a message */
  uint16_t offset;                 /* of the member in its struct */
  uint8_t number, kind, limit;
  bool repeated;
  bool choice; /* one of a oneof: the struct's `which` tells which one is there */
} pare__onnx_field;

struct pare__onnx_layout {
  const char *name;
  size_t nbytes;
  const pare__onnx_field *fields; /* by number, rising */
  unsigned nfields;
  uint16_t which_offset; /* 0: the message has no oneof */
};
#define PARE__ONNX_MAX_FIELDS 24

/* As PARE__ONNX_LIST, for the tables. */
typedef struct pare__onnx_list {
  size_t count, capacity;
  void *items;
} pare__onnx_list;

extern const pare__onnx_layout pare__onnx_model_layout, pare__onnx_tensor_layout;

static inline bool pare__onnx_kind_is_packed(uint8_t kind) { return kind >= PARE__ONNX_KIND_PACKED_VARINT; }
/* Bytes of one value in its struct or list. */
size_t pare__onnx_value_bytes(const pare__onnx_field *field);
static inline void *pare__onnx_member(const void *object, const pare__onnx_field *field) {
  return (char *)(uintptr_t)object + field->offset;
}

/* Wire types of protobuf's encoding. */
enum {
  PARE__WIRE_VARINT = 0,
  PARE__WIRE_FIXED64 = 1,
  PARE__WIRE_BYTES = 2,
  PARE__WIRE_GROUP_BEGIN = 3,
  PARE__WIRE_GROUP_END = 4,
  PARE__WIRE_FIXED32 = 5
};
/* The wire type of one value of a field. */
unsigned pare__onnx_wire_type(uint8_t kind);

/* ---- memory ---- */

struct pare__mapping;
struct pare__arena;
/* An empty source over a file, or over memory (path NULL) called `name`. */
pare_status pare__onnx_source_open(const char *path, const struct pare__mapping *memory, const char *name,
                                   pare__onnx_source **out);
struct pare__arena *pare__onnx_source_arena(pare__onnx_source *source);
const struct pare__mapping *pare__onnx_source_file(const pare__onnx_source *source);

/* Parses the source's file as one message into `object`, a zeroed struct of the layout. */
pare_status pare__onnx_parse(pare__onnx_source *source, const pare__onnx_layout *layout, void *object);

/* The bytes of a tensor's external data: offset and length as its entries say, or `expected` bytes. */
pare_status pare__onnx_external_data(pare__onnx_source *source, const pare__onnx_tensor *tensor, size_t expected,
                                     pare__onnx_bytes *out);

/* Does the address lie in the source's mapped file or one of its external files? */
bool pare__onnx_is_mapped(pare__onnx_source *source, const void *data);
/* Opens a file below `folder` without following links, folder by folder: where the kernel does not know openat2.
 * -1 and errno. */
int pare__onnx_open_parts(int folder, const char *location);
/* Why a path may not be the location of external data, by its text; NULL: it may. */
const char *pare__onnx_refuse_location(const char *location);

/* "tensor 'x'" for messages; the buffer is returned. */
const char *pare__onnx_tensor_label(const pare__onnx_tensor *tensor, char *buffer, size_t capacity);

#endif
