/* Weights of an ONNX model: where they are, who reads them, what they can become. SPDX-License-Identifier: Apache-2.0
 */
#ifndef PARE_COMPRESS_ONNX_WEIGHTS_H
#define PARE_COMPRESS_ONNX_WEIGHTS_H

#include "compress/checkpoint.h"
#include "format/onnx.h"

typedef enum pare__onnx_use_kind {
  PARE__USE_OTHER,  /* reads it as any tensor */
  PARE__USE_LINEAR, /* input 1 of MatMul or Gemm */
  PARE__USE_CONV,   /* input 1 of Conv or ConvTranspose */
  PARE__USE_GATHER  /* input 0 of Gather along axis 0 */
} pare__onnx_use_kind;

/* A node that reads a weight, itself or through nodes that only transpose it. */
typedef struct pare__onnx_use {
  const pare__onnx_node *node;
  size_t weight;
  pare__onnx_use_kind kind;
  bool rows_first; /* LINEAR: rows lie along axis 0 of the weight, [N, K] */
  bool plain;      /* LINEAR: a product and at most a bias, which other operators can do as well */
} pare__onnx_use;

/* Beside each pare__weight. */
typedef struct pare__onnx_weight {
  pare__onnx_tensor *tensor;  /* as it is now */
  pare__onnx_tensor original; /* as the file has it */
  pare__onnx_graph *graph;    /* that has it */
  pare__onnx_node *constant;  /* the Constant node that has it; NULL: it is an initialiser */
  const char *value;          /* the name that nodes read */
  unsigned nlinear, nconv, ngather, nother;
  bool plain;     /* all LINEAR uses are */
  bool mixed;     /* LINEAR uses of both orientations */
  bool is_output; /* of its graph */
} pare__onnx_weight;

typedef struct pare__onnx_checkpoint {
  pare__checkpoint base;
  pare__onnx_model *model;
  pare__onnx_weight *weights; /* base.nweights */
  size_t nuses, uses_capacity, weights_capacity, infos_capacity;
  pare__onnx_use *uses; /* by the address of their node */
  int64_t opset;        /* of ai.onnx */
} pare__onnx_checkpoint;

/* Finds weights and uses in all graphs of the model, and the heads. */
pare_status pare__onnx_weights_find(pare__onnx_checkpoint *checkpoint);
/* The use of a node that may be rewritten; NULL: none. */
const pare__onnx_use *pare__onnx_use_of(const pare__onnx_checkpoint *checkpoint, const pare__onnx_node *node);

/* How a weight is stored in the new file. */
typedef enum pare__onnx_form {
  PARE__FORM_KEPT,
  PARE__FORM_VALUES,  /* the old dtype and shape */
  PARE__FORM_HALF,    /* 16 bits; a Cast behind it, or behind what gathers */
  PARE__FORM_INTEGER, /* codes in the old shape; DequantizeLinear behind it; gathers take codes and scales */
  PARE__FORM_PRODUCT, /* codes [K, N] for MatMulInteger */
  PARE__FORM_BLOCKS   /* packed rows for MatMulNBits and GatherBlockQuantized */
} pare__onnx_form;

/* The parts of a stored weight. */
typedef struct pare__onnx_parts {
  pare__onnx_form form;
  int32_t codes_dtype;                     /* ONNX's; also of values */
  int codes_rank, scales_rank, zeros_rank; /* zeros_rank -1: there are none; likewise scales */
  int64_t codes_dim[PARE_MAX_RANK], scales_dim[2], zeros_dim[2];
  size_t codes_bytes, scales_bytes, zeros_bytes;
  int64_t groups; /* scales a row; BLOCKS */
} pare__onnx_parts;
pare_status pare__onnx_parts_of(const pare__onnx_checkpoint *checkpoint, size_t index, const pare__treatment *treatment,
                                pare__onnx_parts *out);
pare_status pare__onnx_settle(pare__checkpoint *base, pare__treatment *treatments);

/* The bytes of the parts while the file is written: codes first, once each. */
typedef struct pare__onnx_packing {
  pare__onnx_checkpoint *checkpoint;
  size_t index;
  const pare__treatment *treatment;
  const pare__producer *producer;
  pare__onnx_parts parts;
  pare__stream codes, scales, zeros;
  uint8_t *scales_data, *zeros_data;
  size_t scales_used, zeros_used;
  /* Their names in the new file; NULL: no such part. */
  const char *codes_name, *scales_name, *zeros_name;
} pare__onnx_packing;
pare_status pare__onnx_packing_open(pare__onnx_checkpoint *checkpoint, size_t weight, const pare__treatment *treatment,
                                    const pare__producer *producer, pare__onnx_packing **out);
void pare__onnx_packing_close(pare__onnx_packing *packing); /* NULL is allowed */

/* Changes the model in place. packings[i]: of weight i, NULL where it is kept; they live until the file is written. */
pare_status pare__onnx_rewrite(pare__onnx_checkpoint *checkpoint, const pare__treatment *treatments,
                               pare__onnx_packing *const *packings);

extern const pare__checkpoint_format pare__onnx_checkpoint_format;

#endif
