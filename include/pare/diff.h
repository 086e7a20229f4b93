/* What differs between two models: weights, and the values that they compute. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_DIFF_H
#define PARE_DIFF_H

#include <pare/compress.h>
#include <pare/model.h>
#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_diff pare_diff;

typedef enum pare_diff_kind {
  PARE_DIFF_WEIGHT, /* a tensor of the files; of a compressed one, what it decompresses to */
  PARE_DIFF_VALUE,  /* what a node computes */
  PARE_DIFF_OUTPUT  /* an output of the models */
} pare_diff_kind;

typedef struct pare_diff_row {
  pare_diff_kind kind;
  const char *name;       /* of the tensor or value */
  const char *layer;      /* of what uses the tensor, or computes the value; "" if it has no name */
  const char *form;       /* of a weight in the second file: "float32", "int8 codes", "4-bit blocks of 32"; else "" */
  uint64_t elements;      /* compared */
  pare_distance distance; /* of the second from the first; what it means stands at pare_distance */
  const char *missing;    /* why it was not compared: "only in the first", "the shapes differ"; NULL: it was */
} pare_diff_row;

/* Compares the weights of two files, ONNX models or safetensors, by name, on the host. One of them may be compressed as
 * pare_compress writes it: its tensors are held against the other's in decompressed form. So are, in either, matrices
 * of safetensors that compressed-tensors quantised; "quantization_config" is read from the file's metadata or from a
 * config.json beside it. Rows are ordered by kind, and within a kind the worst (the least sqnr_db) first; those that
 * were not compared come last. PARE_ERR_IO, PARE_ERR_FORMAT, PARE_ERR_MEMORY; PARE_ERR_UNSUPPORTED: quantised by
 * another method. */
PARE_API pare_status pare_diff_open(const char *first, const char *second, pare_diff **out);
/* Runs both models, opened with these options (NULL: the defaults), on these inputs (in the order of the first one's
 * inputs; the second's are found by name, and those that the options name must be there) and adds a row for every
 * output. each_value: also for every value of floats that nodes of both main graphs compute under one
 * name. Positions that an integer input "attention_mask" [samples, positions] has 0 for are left out of what is
 * [samples, positions, …]. PARE_ERR_UNSUPPORTED for files without a graph; errors as pare_model_open and
 * pare_model_run. */
PARE_API pare_status pare_diff_run(pare_diff *diff, pare_context *context, const pare_model_options *options,
                                   pare_tensor *const *inputs, bool each_value);
PARE_API size_t pare_diff_count(const pare_diff *diff);
/* PARE_ERR_ARGUMENT if there are not so many. Texts live as long as the diff. */
PARE_API pare_status pare_diff_get(const pare_diff *diff, size_t index, pare_diff_row *out);
PARE_API void pare_diff_close(pare_diff *diff); /* NULL is allowed */

#ifdef __cplusplus
}
#endif
#endif
