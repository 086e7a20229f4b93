/* ONNX models: read from the mapped file, edited as plain structs, written. SPDX-License-Identifier: Apache-2.0
 *
 * The structs mirror the messages of onnx.proto (IR 3 to 13), field by field and under the schema's names. All that a
 * model points to belongs to its source: an arena and the mapped file. Text is NUL-terminated (a file whose names hold
 * NUL is refused); bytes are views of the mapping, misaligned in general: copy, never cast. Fields that the schema of
 * this page does not know are kept and written again.
 *
 * To edit: change the structs in place; new memory comes from pare__onnx_allocate, pare__onnx_text and
 * pare__onnx_append. To build: pare__onnx_create, then the same. */
#ifndef PARE_FORMAT_ONNX_H
#define PARE_FORMAT_ONNX_H

#include <pare/dtype.h>

#include "base/base.h"
#include "format/sink.h"

/* ---- element types ---- */

/* Name, number in the schema, its name there, bits an element (0: none fixed), the pare_dtype or -1. */
#define PARE__ONNX_DTYPE_LIST(X)                              \
  X(FLOAT, 1, "float32", 32, PARE_F32)                        \
  X(UINT8, 2, "uint8", 8, PARE_U8)                            \
  X(INT8, 3, "int8", 8, PARE_I8)                              \
  X(UINT16, 4, "uint16", 16, PARE_U16)                        \
  X(INT16, 5, "int16", 16, PARE_I16)                          \
  X(INT32, 6, "int32", 32, PARE_I32)                          \
  X(INT64, 7, "int64", 64, PARE_I64)                          \
  X(STRING, 8, "string", 0, -1)                               \
  X(BOOL, 9, "bool", 8, PARE_BOOL)                            \
  X(FLOAT16, 10, "float16", 16, PARE_F16)                     \
  X(DOUBLE, 11, "float64", 64, PARE_F64)                      \
  X(UINT32, 12, "uint32", 32, PARE_U32)                       \
  X(UINT64, 13, "uint64", 64, PARE_U64)                       \
  X(COMPLEX64, 14, "complex64", 64, -1)                       \
  X(COMPLEX128, 15, "complex128", 128, -1)                    \
  X(BFLOAT16, 16, "bfloat16", 16, PARE_BF16)                  \
  X(FLOAT8E4M3FN, 17, "float8e4m3fn", 8, PARE_F8E4M3FN)       \
  X(FLOAT8E4M3FNUZ, 18, "float8e4m3fnuz", 8, PARE_F8E4M3FNUZ) \
  X(FLOAT8E5M2, 19, "float8e5m2", 8, PARE_F8E5M2)             \
  X(FLOAT8E5M2FNUZ, 20, "float8e5m2fnuz", 8, PARE_F8E5M2FNUZ) \
  X(UINT4, 21, "uint4", 4, -1)                                \
  X(INT4, 22, "int4", 4, -1)                                  \
  X(FLOAT4E2M1, 23, "float4e2m1", 4, PARE_F4E2M1)             \
  X(FLOAT8E8M0, 24, "float8e8m0", 8, PARE_F8E8M0)             \
  X(UINT2, 25, "uint2", 2, -1)                                \
  X(INT2, 26, "int2", 2, -1)
typedef enum pare__onnx_dtype {
  PARE__ONNX_UNDEFINED = 0,
#define PARE__ONNX_DTYPE_ENUM(upper, number, name, bits, dtype) PARE__ONNX_##upper = number,
  PARE__ONNX_DTYPE_LIST(PARE__ONNX_DTYPE_ENUM)
#undef PARE__ONNX_DTYPE_ENUM
} pare__onnx_dtype;

/* All take any number: the file's is not checked while it is read. */
const char *pare__onnx_dtype_name(int32_t dtype);              /* "float32"; "undefined" for 0 and what is none */
unsigned pare__onnx_dtype_bits(int32_t dtype);                 /* 0 for strings and what is none */
bool pare__onnx_dtype_known(int32_t dtype);                    /* one of the list? */
bool pare__onnx_dtype_to_pare(int32_t dtype, pare_dtype *out); /* false if pare has none */
int32_t pare__onnx_dtype_from_pare(pare_dtype dtype);

/* Bytes that `count` elements take, sub-byte ones packed and rounded up to whole bytes; false on overflow, a negative
 * count or a dtype without bits. */
bool pare__onnx_dtype_size(int32_t dtype, int64_t count, size_t *nbytes);

/* ---- messages ---- */

typedef struct pare__onnx_bytes {
  const void *data;
  size_t nbytes;
} pare__onnx_bytes;

/* capacity is pare__onnx_append's: 0 for a list that came from elsewhere. */
#define PARE__ONNX_LIST(type) \
  struct {                    \
    size_t count, capacity;   \
    type *items;              \
  }
typedef PARE__ONNX_LIST(const char *) pare__onnx_texts;
typedef PARE__ONNX_LIST(int64_t) pare__onnx_ints;

/* Begins every message. `has` has bit n set if field number n was in the file: a field that is 0 or "" is written if
 * its bit is set, any other always. offset: where in the file the message begins. */
typedef struct pare__onnx_message {
  uint64_t has;
  size_t offset;
  pare__onnx_bytes unknown; /* the fields that are not of the schema, as they were */
} pare__onnx_message;
#define PARE__ONNX_HAS(object, number) (((object)->message.has >> (number)) & 1)

typedef struct pare__onnx_entry { /* StringStringEntryProto */
  pare__onnx_message message;
  const char *key, *value; /* NULL: not given; so everywhere here */
} pare__onnx_entry;
typedef PARE__ONNX_LIST(pare__onnx_entry) pare__onnx_entries;

typedef struct pare__onnx_opset { /* OperatorSetIdProto */
  pare__onnx_message message;
  const char *domain; /* NULL or "": ai.onnx */
  int64_t version;
} pare__onnx_opset;
typedef PARE__ONNX_LIST(pare__onnx_opset) pare__onnx_opsets;

typedef struct pare__onnx_segment { /* TensorProto.Segment */
  pare__onnx_message message;
  int64_t begin, end;
} pare__onnx_segment;

enum { PARE__ONNX_LOCATION_DEFAULT = 0, PARE__ONNX_LOCATION_EXTERNAL = 1 };

/* Typed elements stay as the file has them, packed in the wire's encoding: pare__onnx_tensor_data decodes. */
typedef struct pare__onnx_packed {
  size_t count;
  pare__onnx_bytes wire;
} pare__onnx_packed;

typedef struct pare__onnx_tensor { /* TensorProto */
  pare__onnx_message message;
  const char *name, *doc_string;
  pare__onnx_ints dims;
  int32_t data_type;     /* pare__onnx_dtype, unchecked */
  int32_t data_location; /* PARE__ONNX_LOCATION_… */
  pare__onnx_segment *segment;
  pare__onnx_packed float_data, int32_data, int64_data, double_data, uint64_data;
  PARE__ONNX_LIST(pare__onnx_bytes) string_data;
  pare__onnx_bytes raw_data;
  pare__onnx_entries external_data, metadata_props;
  const pare__stream *stream; /* not of the file: written as raw_data instead of all else; NULL: none */
} pare__onnx_tensor;

typedef struct pare__onnx_sparse_tensor { /* SparseTensorProto */
  pare__onnx_message message;
  pare__onnx_tensor *values;  /* [NNZ]; its name is the initialiser's */
  pare__onnx_tensor *indices; /* int64 [NNZ] into the flat tensor, or [NNZ, rank] */
  pare__onnx_ints dims;
} pare__onnx_sparse_tensor;

typedef struct pare__onnx_dimension { /* TensorShapeProto.Dimension */
  pare__onnx_message message;
  int which;             /* PARE__ONNX_DIM_… */
  int64_t dim_value;     /* unchecked: exporters write -1 as well */
  const char *dim_param; /* a symbol */
  const char *denotation;
} pare__onnx_dimension;
enum { PARE__ONNX_DIM_UNKNOWN = 0, PARE__ONNX_DIM_VALUE = 1, PARE__ONNX_DIM_PARAM = 2 };

typedef struct pare__onnx_shape { /* TensorShapeProto */
  pare__onnx_message message;
  PARE__ONNX_LIST(pare__onnx_dimension) dim;
} pare__onnx_shape;

typedef struct pare__onnx_type pare__onnx_type;
typedef struct pare__onnx_tensor_type { /* TypeProto.Tensor and TypeProto.SparseTensor */
  pare__onnx_message message;
  int32_t elem_type;       /* pare__onnx_dtype, unchecked */
  pare__onnx_shape *shape; /* NULL: the rank is unknown */
} pare__onnx_tensor_type;
typedef struct pare__onnx_element_type { /* TypeProto.Sequence and TypeProto.Optional */
  pare__onnx_message message;
  pare__onnx_type *elem_type;
} pare__onnx_element_type;
typedef struct pare__onnx_map_type { /* TypeProto.Map */
  pare__onnx_message message;
  int32_t key_type;
  pare__onnx_type *value_type;
} pare__onnx_map_type;
typedef struct pare__onnx_opaque_type { /* TypeProto.Opaque */
  pare__onnx_message message;
  const char *domain, *name;
} pare__onnx_opaque_type;

enum {
  PARE__ONNX_TYPE_NONE = 0,
  PARE__ONNX_TYPE_TENSOR = 1,
  PARE__ONNX_TYPE_SEQUENCE = 4,
  PARE__ONNX_TYPE_MAP = 5,
  PARE__ONNX_TYPE_OPAQUE = 7,
  PARE__ONNX_TYPE_SPARSE_TENSOR = 8,
  PARE__ONNX_TYPE_OPTIONAL = 9
};
struct pare__onnx_type { /* TypeProto */
  pare__onnx_message message;
  int which; /* PARE__ONNX_TYPE_…: the one member that is not NULL */
  pare__onnx_tensor_type *tensor_type, *sparse_tensor_type;
  pare__onnx_element_type *sequence_type, *optional_type;
  pare__onnx_map_type *map_type;
  pare__onnx_opaque_type *opaque_type;
  const char *denotation;
};

typedef struct pare__onnx_value { /* ValueInfoProto */
  pare__onnx_message message;
  const char *name, *doc_string;
  pare__onnx_type *type;
  pare__onnx_entries metadata_props;
} pare__onnx_value;
typedef PARE__ONNX_LIST(pare__onnx_value) pare__onnx_values;

typedef enum pare__onnx_attribute_type {
  PARE__ONNX_ATTRIBUTE_UNDEFINED = 0,
  PARE__ONNX_ATTRIBUTE_FLOAT = 1,
  PARE__ONNX_ATTRIBUTE_INT = 2,
  PARE__ONNX_ATTRIBUTE_STRING = 3,
  PARE__ONNX_ATTRIBUTE_TENSOR = 4,
  PARE__ONNX_ATTRIBUTE_GRAPH = 5,
  PARE__ONNX_ATTRIBUTE_FLOATS = 6,
  PARE__ONNX_ATTRIBUTE_INTS = 7,
  PARE__ONNX_ATTRIBUTE_STRINGS = 8,
  PARE__ONNX_ATTRIBUTE_TENSORS = 9,
  PARE__ONNX_ATTRIBUTE_GRAPHS = 10,
  PARE__ONNX_ATTRIBUTE_SPARSE_TENSOR = 11,
  PARE__ONNX_ATTRIBUTE_SPARSE_TENSORS = 12,
  PARE__ONNX_ATTRIBUTE_TYPE_PROTO = 13,
  PARE__ONNX_ATTRIBUTE_TYPE_PROTOS = 14
} pare__onnx_attribute_type;

typedef struct pare__onnx_graph pare__onnx_graph;
typedef struct pare__onnx_attribute { /* AttributeProto */
  pare__onnx_message message;
  const char *name, *doc_string;
  const char *ref_attr_name; /* in a function: the value is the caller's attribute of that name */
  int32_t type;              /* pare__onnx_attribute_type */
  float f;
  int64_t i;
  pare__onnx_bytes s; /* any bytes; as text: pare__onnx_bytes_text */
  pare__onnx_tensor *t;
  pare__onnx_graph *g;
  pare__onnx_sparse_tensor *sparse_tensor;
  pare__onnx_type *tp;
  PARE__ONNX_LIST(float) floats;
  pare__onnx_ints ints;
  PARE__ONNX_LIST(pare__onnx_bytes) strings;
  PARE__ONNX_LIST(pare__onnx_tensor) tensors;
  PARE__ONNX_LIST(pare__onnx_graph) graphs;
  PARE__ONNX_LIST(pare__onnx_sparse_tensor) sparse_tensors;
  PARE__ONNX_LIST(pare__onnx_type) type_protos;
} pare__onnx_attribute;

typedef struct pare__onnx_node { /* NodeProto */
  pare__onnx_message message;
  const char *name, *op_type, *domain, *overload, *doc_string;
  pare__onnx_texts input, output; /* "": left out */
  PARE__ONNX_LIST(pare__onnx_attribute) attribute;
  pare__onnx_entries metadata_props;
} pare__onnx_node;
typedef PARE__ONNX_LIST(pare__onnx_node) pare__onnx_nodes;

typedef struct pare__onnx_annotation { /* TensorAnnotation */
  pare__onnx_message message;
  const char *tensor_name;
  pare__onnx_entries quant_parameter_tensor_names;
} pare__onnx_annotation;

struct pare__onnx_graph { /* GraphProto */
  pare__onnx_message message;
  const char *name, *doc_string;
  pare__onnx_nodes node;
  PARE__ONNX_LIST(pare__onnx_tensor) initializer;
  PARE__ONNX_LIST(pare__onnx_sparse_tensor) sparse_initializer;
  pare__onnx_values input, output, value_info;
  PARE__ONNX_LIST(pare__onnx_annotation) quantization_annotation;
  pare__onnx_entries metadata_props;
};

typedef struct pare__onnx_function { /* FunctionProto */
  pare__onnx_message message;
  const char *name, *domain, *overload, *doc_string;
  pare__onnx_texts input, output;
  pare__onnx_texts attribute;                            /* names without default */
  PARE__ONNX_LIST(pare__onnx_attribute) attribute_proto; /* with default */
  pare__onnx_nodes node;
  pare__onnx_opsets opset_import;
  pare__onnx_values value_info;
  pare__onnx_entries metadata_props;
} pare__onnx_function;

typedef struct pare__onnx_source pare__onnx_source; /* the arena, the mapped file, its external files */
typedef struct pare__onnx_model { /* ModelProto; training_info and configuration stay unknown fields */
  pare__onnx_message message;
  int64_t ir_version, model_version;
  const char *producer_name, *producer_version, *domain, *doc_string;
  pare__onnx_opsets opset_import;
  pare__onnx_graph *graph;
  PARE__ONNX_LIST(pare__onnx_function) functions;
  pare__onnx_entries metadata_props;
  pare__onnx_source *source; /* not of the file */
} pare__onnx_model;

/* ---- reading ---- */

/* Maps and parses the file. What is checked: the wire format, nesting, NUL in names, that there is a graph. What is
 * not: whether the graph makes sense, and every tensor's size (pare__onnx_tensor_data does that when it is used).
 * PARE_ERR_IO; PARE_ERR_FORMAT: file, byte offset, message path and what is wrong; PARE_ERR_MEMORY. */
pare_status pare__onnx_open(const char *path, pare__onnx_model **out);
/* As open, from memory that must outlive the model; `name` stands for the path in messages. External data is refused.
 */
pare_status pare__onnx_open_memory(const void *data, size_t nbytes, const char *name, pare__onnx_model **out);
/* Releases all. NULL is allowed. */
void pare__onnx_close(pare__onnx_model *model);

/* A single TensorProto, as the .pb files of the backend tests hold it. The source owns it. */
pare_status pare__onnx_tensor_open(const char *path, pare__onnx_source **source, pare__onnx_tensor **out);
pare_status pare__onnx_tensor_open_memory(const void *data, size_t nbytes, const char *name, pare__onnx_source **source,
                                          pare__onnx_tensor **out);
void pare__onnx_source_close(pare__onnx_source *source);             /* NULL is allowed */
const char *pare__onnx_source_path(const pare__onnx_source *source); /* or the name given; "" for a created model */

/* ---- using ---- */

/* The product of the dimensions. PARE_ERR_FORMAT names the tensor if one is negative or the product overflows. */
pare_status pare__onnx_tensor_elements(const pare__onnx_tensor *tensor, int64_t *out);

/* A tensor's elements: row-major, contiguous, little-endian, of its data_type; sub-byte types packed low bits first. */
typedef struct pare__onnx_data {
  const void *data; /* may be misaligned */
  size_t nbytes;
  int64_t count; /* elements */
  void *owned;   /* the copy, if it is one */
  bool mapped;   /* a view of a mapped file */
} pare__onnx_data;
/* Finds or decodes the elements, wherever they are: raw data and external data as a view, so that only what is read
 * takes memory; typed fields as a copy. Strings: PARE_ERR_TYPE (use string_data). PARE_ERR_FORMAT if the size does not
 * fit dims and dtype, or an external file is outside the model's folder; PARE_ERR_IO; PARE_ERR_MEMORY. Thread-safe. */
pare_status pare__onnx_tensor_data(pare__onnx_source *source, const pare__onnx_tensor *tensor, pare__onnx_data *out);
/* Releases a copy; lets go of a view's resident pages. All zero is allowed. */
void pare__onnx_data_close(pare__onnx_data *data);

/* The bytes as NUL-terminated text of the source; PARE_ERR_FORMAT if they hold NUL. */
pare_status pare__onnx_bytes_text(pare__onnx_source *source, pare__onnx_bytes bytes, const char **out);

/* The version that a model, or a function, imports of a domain ("" and "ai.onnx" are the same); 0: not imported. */
int64_t pare__onnx_opset_version(const pare__onnx_opsets *opsets, const char *domain);
/* "" for NULL, "" and "ai.onnx"; any other as it is. */
const char *pare__onnx_domain(const char *domain);
/* The attribute of that name; NULL: none. */
const pare__onnx_attribute *pare__onnx_attribute_find(const pare__onnx_node *node, const char *name);

/* ---- editing and building ---- */

/* An empty model with an empty graph. */
pare_status pare__onnx_create(pare__onnx_model **out);
/* Zeroed memory, aligned for anything, that lives as long as the source. PARE_ERR_MEMORY. */
pare_status pare__onnx_allocate(pare__onnx_source *source, size_t nbytes, void **out);
/* A copy of text. */
pare_status pare__onnx_text(pare__onnx_source *source, const char *text, const char **out);
/* One more item, zeroed, at the end of a list; its address is in *item until the next append. */
#define PARE__ONNX_APPEND(source, list, item)                                                                    \
  pare__onnx_append((source), (void **)&(list)->items, &(list)->count, &(list)->capacity, sizeof *(list)->items, \
                    (void **)(item))
pare_status pare__onnx_append(pare__onnx_source *source, void **items, size_t *count, size_t *capacity,
                              size_t item_bytes, void **item);

/* ---- writing ---- */

typedef struct pare__onnx_write_options {
  const char *external_file;     /* its name, in the model's folder; NULL: everything in the model's file */
  size_t external_minimum_bytes; /* tensors of at least so many bytes go there */
} pare__onnx_write_options;
#define PARE__ONNX_WRITE_OPTIONS_INIT \
  { NULL, 1024 }

/* Writes beside `path` and renames, the external file first. Elements that lie in external files are taken along: into
 * the file, or into the new external one. Tensors are streamed. A file may replace the one that the model was read
 * from. PARE_ERR_LIMIT if the file would pass 2 GiB, which other readers refuse: name an external file. PARE_ERR_IO. */
pare_status pare__onnx_write(const pare__onnx_model *model, const char *path, const pare__onnx_write_options *options);
/* Writes one TensorProto. */
pare_status pare__onnx_tensor_write(pare__onnx_source *source, const pare__onnx_tensor *tensor, const char *path);
/* The model's bytes, malloc'ed. */
pare_status pare__onnx_serialise(const pare__onnx_model *model, void **out, size_t *nbytes);

#endif
