/* Tensors of a file by name, and the numbers that compressed ones stand for. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_STORED_H
#define PARE_COMPRESS_STORED_H

#include "compress/checkpoint.h"

typedef struct pare__stored_file pare__stored_file;

/* An ONNX model or a file of safetensors. */
pare_status pare__stored_open(const char *path, pare__stored_file **out);
void pare__stored_close(pare__stored_file *file); /* NULL is allowed */
/* Does it hold tensors in compressed forms? */
bool pare__stored_compressed(const pare__stored_file *file);
/* A tensor of the file as the weight that it stands for: codes as their matrix, under its name; all others as they are.
 * false: scales and their like, which are no weights. */
bool pare__stored_weight(const pare__stored_file *file, const pare__weight *tensor, pare__weight *out);

/* A tensor as it is stored, and how to read the numbers of a weight from it. */
typedef struct pare__stored {
  char form[64];       /* for people */
  const char *missing; /* why it cannot be read as that weight; NULL: it can */
  int64_t rows, columns;
  /* the rest is for pare__stored_row */
  struct pare__stored_parts *parts;
} pare__stored;

/* What the file stores for a weight of another file: the same tensor, or its compressed form. */
pare_status pare__stored_find(pare__stored_file *file, const pare__weight *weight, pare__stored *out);
/* One row in canonical order (checkpoint.h); a tensor without a role is one row. */
void pare__stored_row(const pare__stored *stored, int64_t row, float *out);
void pare__stored_release(pare__stored *stored);

#endif
