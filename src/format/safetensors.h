/* safetensors: tensors by name in one file. SPDX-License-Identifier: Apache-2.0
 *
 * A file is the length of its header (u64, little-endian), the header (JSON: name -> dtype, shape, data_offsets, and
 * "__metadata__" of texts), and the tensors' bytes, which tile the rest of the file without hole or overlap.
 * https://github.com/huggingface/safetensors */
#ifndef PARE_FORMAT_SAFETENSORS_H
#define PARE_FORMAT_SAFETENSORS_H

#include <pare/dtype.h>

#include "base/base.h"
#include "format/sink.h"

/* What the format itself allows. */
#define PARE__SAFETENSORS_MAX_HEADER 100000000

/* Name in the file, bits an element, the pare_dtype or -1. */
#define PARE__SAFETENSORS_DTYPE_LIST(X) \
  X(BOOL, "BOOL", 8, PARE_BOOL)         \
  X(F4, "F4", 4, -1)                    \
  X(F6_E2M3, "F6_E2M3", 6, -1)          \
  X(F6_E3M2, "F6_E3M2", 6, -1)          \
  X(U8, "U8", 8, PARE_U8)               \
  X(I8, "I8", 8, PARE_I8)               \
  X(F8_E5M2, "F8_E5M2", 8, -1)          \
  X(F8_E4M3, "F8_E4M3", 8, -1)          \
  X(F8_E8M0, "F8_E8M0", 8, -1)          \
  X(I16, "I16", 16, PARE_I16)           \
  X(U16, "U16", 16, PARE_U16)           \
  X(F16, "F16", 16, PARE_F16)           \
  X(BF16, "BF16", 16, PARE_BF16)        \
  X(I32, "I32", 32, PARE_I32)           \
  X(U32, "U32", 32, PARE_U32)           \
  X(F32, "F32", 32, PARE_F32)           \
  X(C64, "C64", 64, -1)                 \
  X(F64, "F64", 64, PARE_F64)           \
  X(I64, "I64", 64, PARE_I64)           \
  X(U64, "U64", 64, PARE_U64)
typedef enum pare__safetensors_dtype {
#define PARE__SAFETENSORS_DTYPE_ENUM(upper, name, bits, dtype) PARE__SAFETENSORS_##upper,
  PARE__SAFETENSORS_DTYPE_LIST(PARE__SAFETENSORS_DTYPE_ENUM)
#undef PARE__SAFETENSORS_DTYPE_ENUM
      PARE__SAFETENSORS_NDTYPES
} pare__safetensors_dtype;

const char *pare__safetensors_dtype_name(pare__safetensors_dtype dtype);
bool pare__safetensors_dtype_to_pare(pare__safetensors_dtype dtype, pare_dtype *out); /* false if pare has none */
bool pare__safetensors_dtype_from_pare(pare_dtype dtype, pare__safetensors_dtype *out);

/* One tensor: row-major, contiguous, little-endian. */
typedef struct pare__safetensors_tensor {
  const char *name;
  pare__safetensors_dtype dtype;
  size_t rank;
  const int64_t *dim;
  int64_t count;    /* elements */
  size_t nbytes;    /* follows from dtype and dim */
  const void *data; /* of a file: a view of the mapping, misaligned in general */
  bool mapped;      /* data is of a mapped file, and its pages are let go once they are written */
} pare__safetensors_tensor;

typedef struct pare__safetensors_text { /* an entry of __metadata__ */
  const char *key, *value;
} pare__safetensors_text;

/* ---- reading ---- */

typedef struct pare__safetensors {
  size_t ntensors, ntexts;
  pare__safetensors_tensor *tensor; /* in the order of the header */
  pare__safetensors_text *text;
  const uint8_t *begin; /* of the file */
  size_t nbytes;
  struct pare__safetensors_file *file; /* what they point to */
} pare__safetensors;

/* Maps the file and reads its header; no tensor is touched. PARE_ERR_IO; PARE_ERR_FORMAT: the file, the tensor, the
 * offset and what is wrong; PARE_ERR_MEMORY. */
pare_status pare__safetensors_open(const char *path, pare__safetensors *out);
/* As open, from memory that must outlive it; `name` stands for the path in messages. */
pare_status pare__safetensors_open_memory(const void *data, size_t nbytes, const char *name, pare__safetensors *out);
void pare__safetensors_close(pare__safetensors *file); /* all zero is allowed */
const pare__safetensors_tensor *pare__safetensors_find(const pare__safetensors *file, const char *name);
/* Do these first bytes look like such a file? */
bool pare__safetensors_looks_like(const void *data, size_t nbytes);

/* ---- writing ---- */

/* Fills count and nbytes from dtype and dim. PARE_ERR_SHAPE names the tensor if they overflow, are negative, or do not
 * make whole bytes. */
pare_status pare__safetensors_measure(pare__safetensors_tensor *tensor);
/* A file under writing: the places of all tensors are known, their bytes come in any order. The header keeps the order
 * given; so do the bytes, unless a tensor would then not lie at a multiple of its element size: then those with larger
 * elements come first. */
typedef struct pare__safetensors_writer pare__safetensors_writer;

/* Writes the header, beside `path`. PARE_ERR_ARGUMENT: a name that is given twice, "__metadata__", or no UTF-8;
 * PARE_ERR_SHAPE as measure; PARE_ERR_LIMIT: a header over the format's limit; PARE_ERR_IO. */
pare_status pare__safetensors_begin(const char *path, const pare__safetensors_tensor *tensor, size_t ntensors,
                                    const pare__safetensors_text *text, size_t ntexts, pare__safetensors_writer **out);
/* Bytes of a tensor, `offset` from its beginning. */
pare_status pare__safetensors_put(pare__safetensors_writer *writer, size_t tensor, uint64_t offset, const void *data,
                                  size_t nbytes);
/* Renames. PARE_ERR_ARGUMENT if some tensor did not get as many bytes as it has. */
pare_status pare__safetensors_commit(pare__safetensors_writer *writer);
/* What was not committed is removed. NULL is allowed. */
void pare__safetensors_abandon(pare__safetensors_writer *writer);

/* All at once, from the tensors' data. */
pare_status pare__safetensors_write(const char *path, const pare__safetensors_tensor *tensor, size_t ntensors,
                                    const pare__safetensors_text *text, size_t ntexts);

#endif
