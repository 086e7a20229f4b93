/* What the files stored*.c share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_STORED_FILE_H
#define PARE_COMPRESS_STORED_FILE_H

#include "compress/stored.h"
#include "format/quantised.h"
#include "format/safetensors.h"
#include "graph/graph.h"

typedef struct pare__named_tensor {
  const char *name;
  const pare__onnx_tensor *onnx;
  const pare__safetensors_tensor *tensor;
} pare__named_tensor;

struct pare__stored_file {
  pare__onnx_model *onnx; /* NULL: safetensors */
  pare__safetensors safetensors;
  pare__quantised_file quantised; /* of it */
  size_t count, capacity;
  pare__named_tensor *tensor; /* by name */
};

/* Elements of a tensor, readable at any index. */
typedef struct pare__elements {
  pare_dtype dtype;
  int rank;
  int64_t dim[PARE_MAX_RANK], count;
  const char *dtype_name;
  const char *data;
  pare__content *content; /* of an ONNX tensor */
} pare__elements;

/* The tensor `name``suffix`; NULL: there is none. */
const pare__named_tensor *pare__stored_named(const pare__stored_file *file, const char *name, const char *suffix);
/* Its elements; *why is set if they cannot be had as numbers. */
pare_status pare__elements_get(const pare__stored_file *file, const pare__named_tensor *named, pare__elements *out,
                               const char **why);
void pare__elements_let_go(pare__elements *elements);
double pare__elements_number(const pare__elements *elements, int64_t index);

#endif
