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

/* Elements of a tensor; below, two tensors and a node take more than they save. */
#define PARE__COMPACT_LEAST 256

/* As pare_convert; what is written to `out` is called final_path in the end: a file of weights is named after it.
 * *companion: the path of that file, to free; NULL: there is none. */
pare_status pare__convert_file(const char *in, const char *out, const char *final_path, pare_storage storage,
                               pare_conversion *conversion, char **companion);

/* The bytes of a model beyond which its weights lie in a file of their own. protobuf's own limit is 2 GiB for all. */
#define PARE__ONNX_MOST_INSIDE ((uint64_t)1 << 30)

#endif
