/* ONNX files between portable and compact storage. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_CONVERT_H
#define PARE_COMPRESS_CONVERT_H

#include <pare/compress.h>

#include "format/onnx.h"
#include "tensor/sparse.h"

/* The axis of a dense tensor [outer][inputs][inner] whose groups keep the fewest bytes, and how. */
typedef struct pare__sparse_form {
  pare_sparse_layout layout;
  int axis;
  int64_t inner;
} pare__sparse_form;
/* False: stored dense it is smaller, or it has no such form. data: elements of the dtype, any alignment. */
bool pare__sparse_form_find(pare_dtype dtype, int rank, const int64_t *dim, const void *data, pare__sparse_form *out);

/* The model in place; *count: tensors that changed. What is written afterwards reads them from the model's file. */
pare_status pare__compact(pare__onnx_model *model, size_t *count);
pare_status pare__expand(pare__onnx_model *model, size_t *count);

/* The bytes of a model beyond which its weights lie in a file of their own. */
#define PARE__ONNX_MOST_INSIDE ((uint64_t)1 << 30)

#endif
