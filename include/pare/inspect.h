/* What is in a model's file, and which operators pare has. Needs no device but for pare_inspect_infer.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_INSPECT_H
#define PARE_INSPECT_H

#include <pare/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- a model as its file has it, before any pass ---- */

typedef struct pare_inspection pare_inspection;

/* Reads an ONNX model, or a file of safetensors (tensors and metadata only), but no weights. Operators that pare lacks
 * are no error here. All that the functions below give lives until the inspection is closed. PARE_ERR_IO;
 * PARE_ERR_FORMAT: what is wrong and where, be it in the config.json beside quantised safetensors;
 * PARE_ERR_UNSUPPORTED: those are quantised by another method than compressed-tensors. */
PARE_API pare_status pare_inspect_open(const char *path, pare_inspection **out);
PARE_API void pare_inspect_close(pare_inspection *inspection); /* NULL is allowed */

/* Texts that the file does not give are "". */
typedef struct pare_model_info {
  const char *format; /* "onnx", "safetensors"; what the latter does not have is 0 or "" */
  int64_t ir_version, model_version;
  const char *producer_name, *producer_version, *domain, *graph_name, *description;
  size_t ninputs, noutputs;
  size_t nopsets, nmetadata, nfunctions;
  size_t nnodes;   /* those of subgraphs and functions included */
  size_t ntensors; /* initialisers, and results of Constant nodes; those of subgraphs included */
  size_t nunsupported;
  uint64_t parameters;   /* elements of all tensors */
  uint64_t tensor_bytes; /* bytes of all tensors */
  uint64_t file_bytes;   /* of the model's file and of its external files, each once; one that is missing counts 0 */
  size_t nexternal;      /* external files */
} pare_model_info;
/* *out all zero and its texts "" if inspection is NULL: PARE_ERR_ARGUMENT. */
PARE_API pare_status pare_inspect_model(const pare_inspection *inspection, pare_model_info *out);

/* The index-th of what pare_model_info counts; PARE_ERR_ARGUMENT if there are not so many. */
PARE_API pare_status pare_inspect_opset(const pare_inspection *inspection, size_t index, const char **domain,
                                        int64_t *version);
PARE_API pare_status pare_inspect_metadata(const pare_inspection *inspection, size_t index, const char **key,
                                           const char **value);
PARE_API pare_status pare_inspect_input(const pare_inspection *inspection, size_t index, pare_model_value *out);
PARE_API pare_status pare_inspect_output(const pare_inspection *inspection, size_t index, pare_model_value *out);
/* Infers the shapes of values that the file does not declare, in terms of the symbols of the inputs' shapes: the graph
 * is planned on a device for several numbers, which runs nothing. From then on pare_inspect_value and _output know
 * them: a dimension is a number, or an expression as its symbol, such as "2*batch*length", "length + 1" or
 * "ceil(height/2)"; neither, where no such form fits. Behind a node whose shape depends on values nothing is known.
 * PARE_ERR_UNSUPPORTED: an input without a shape, an operator that pare lacks; PARE_ERR_LIMIT: more than 8 symbols. */
PARE_API pare_status pare_inspect_infer(pare_inspection *inspection, pare_context *context);
/* A value by its name: what the file says of its type and shape, or was inferred. false if nothing is known. */
PARE_API bool pare_inspect_value(const pare_inspection *inspection, const char *name, pare_model_value *out);

typedef struct pare_node_info {
  const char *name, *op_type, *domain; /* name "": none; domain "": ai.onnx */
  int64_t opset;                       /* of its domain, as the model imports it; 0: not imported */
  const char *within; /* "" for the model's own graph, else the attribute of the node around it, or its function */
  unsigned depth;     /* of subgraphs and functions around it */
  size_t ninputs, noutputs;
  const char *const *input, *const *output; /* "": left out */
  const char *attributes;                   /* "axis=1 perm=[0, 2, 1]" */
  bool supported;                           /* pare has the operator, or the file brings it as a function */
  const char *placement;                    /* "device", "host", "view", "control"; "": pare has no such operator */
} pare_node_info;
PARE_API pare_status pare_inspect_node(const pare_inspection *inspection, size_t index, pare_node_info *out);

/* What a node does for inputs of certain shapes. Operations are those of the operator's definition, not of how a device
 * computes it: two for each multiplication and addition of matrix products, convolutions, attention and recurrent
 * operators, one for each element (of what is reduced, or else of the output) of all others, and none where elements
 * are only moved. Bytes are those of all inputs, weights included, and of all outputs; of tables, what is taken. */
typedef struct pare_node_work {
  bool known;         /* false: its shapes depend on values, or pare_inspect_work was not called */
  const char *kernel; /* "gemm": products, attention, recurrence; "conv"; "memory"; "": a view, or on the host */
  double operations, read_bytes, written_bytes;
} pare_node_work;
/* Finds them, for the inputs as pare_inspect_input tells them, but with all dimensions known: the graph is planned,
 * which runs nothing. A node of the model's own graph has the work of its subgraphs, or of the function that it calls;
 * nodes in those are not known by themselves. Fewer than all are known where a shape depends on values.
 * PARE_ERR_SHAPE: a dimension is not known, or shapes turn out impossible; PARE_ERR_UNSUPPORTED as in
 * pare_inspect_infer. */
PARE_API pare_status pare_inspect_work(pare_inspection *inspection, pare_context *context,
                                       const pare_model_value *inputs, size_t ninputs);
PARE_API pare_status pare_inspect_node_work(const pare_inspection *inspection, size_t index, pare_node_work *out);

/* An initialiser, or the result of a Constant node if it has more than one element: a weight. */
typedef struct pare_tensor_info {
  const char *name, *dtype_name;
  size_t rank;
  const int64_t *dim;
  uint64_t elements, nbytes; /* 0 if the dimensions are none, or the dtype has no size */
  const char *file;          /* the external file that holds it; "": the model's own */
  bool sparse;
  const char *quantised; /* of codes: "4 bits in groups of 32: layer.weight [96, 128]", or why they cannot be read; "":
                          * the tensor is none of codes */
} pare_tensor_info;
PARE_API pare_status pare_inspect_tensor(const pare_inspection *inspection, size_t index, pare_tensor_info *out);

/* How the values of a tensor are spread. NaN and infinities are counted by themselves, and in nothing else. */
#define PARE_HISTOGRAM_BINS 32
typedef struct pare_histogram {
  uint64_t values, zeros, nans, infinities; /* values: all elements */
  double minimum, maximum;                  /* of the finite ones; 0 if there are none */
  double mean, deviation;                   /* the latter of the whole population */
  uint64_t bin[PARE_HISTOGRAM_BINS];        /* of equal width from minimum to maximum, which belongs to the last */
} pare_histogram;
/* Reads the tensor, on the host; of the codes of a quantised matrix of safetensors the numbers that they stand for.
 * PARE_ERR_UNSUPPORTED: a dtype that pare has no numbers for, a sparse tensor, codes that cannot be read;
 * PARE_ERR_FORMAT, PARE_ERR_IO: its elements cannot be found. */
PARE_API pare_status pare_inspect_histogram(const pare_inspection *inspection, size_t index, pare_histogram *out);

/* ---- the operators that pare has ---- */

typedef struct pare_operator_info {
  const char *domain, *name;     /* domain "": ai.onnx */
  int since, until;              /* opsets, both included; until 0: all later ones */
  const char *placement, *types; /* "device", "host", "view", "control"; "floats", "any", "u8, i8" */
} pare_operator_info;
/* Rows in the order of domain, name and opset. false if there are not so many. */
PARE_API bool pare_operator_get(size_t index, pare_operator_info *out);

#ifdef __cplusplus
}
#endif
#endif
