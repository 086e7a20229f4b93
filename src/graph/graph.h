/* Floor 6: a model as a graph of operators on values. Knows nothing of compression. SPDX-License-Identifier: Apache-2.0
 *
 * A graph is read from an ONNX model (import.c), rewritten by passes (pass.h), and run (run.h). Values are numbered
 * through the whole model, subgraphs included, so that a body of If, Loop or Scan simply names the values around it.
 * Names, lists and attributes live in the arena of the ONNX model that the graph was made of. */
#ifndef PARE_GRAPH_GRAPH_H
#define PARE_GRAPH_GRAPH_H

#include <pare/model.h>
#include <stdatomic.h>

#include "format/onnx.h"
#include "op/op.h"

typedef struct pare__operator pare__operator;
typedef struct pare__graph pare__graph;
typedef struct pare__network pare__network;

/* Elements that the host knows: row-major, contiguous. Counted references, never changed. A view of a file may be
 * misaligned: read elements by pare__content_int and _number, or memcpy. */
typedef struct pare__content {
  atomic_int references;
  pare_dtype dtype;
  pare__shape shape;
  size_t count, nbytes;
  const void *data;
  void *owned;           /* freed with the last reference; NULL if data is a view of the model's file */
  pare__onnx_data *file; /* closed with the last reference; NULL if owned */
} pare__content;
/* data NULL: zeros. The elements are copied. */
pare_status pare__content_create(pare_dtype dtype, int rank, const int64_t *dim, const void *data, pare__content **out);
/* How many bits of an ONNX element of 2 or 4 bits count; 0: it has others. pare holds it as an integer of a byte. */
unsigned pare__narrow_bits(int32_t onnx_dtype, bool *is_signed);
/* The dtype in which pare holds elements of an ONNX type; false: none. */
bool pare__held_dtype(int32_t onnx_dtype, pare_dtype *out);
/* A tensor of a file, a view where it can be. Elements of 4 bits become i8 or u8. */
pare_status pare__content_of_tensor(pare__onnx_source *source, const pare__onnx_tensor *tensor, pare__content **out);
/* A sparse tensor of a file, dense. PARE_ERR_FORMAT if it lacks a part, or an index is outside its shape. */
pare_status pare__content_of_sparse(pare__onnx_source *source, const pare__onnx_sparse_tensor *sparse,
                                    pare__content **out);
pare__content *pare__content_retain(pare__content *content); /* NULL gives NULL */
void pare__content_release(pare__content *content);          /* NULL is allowed */
/* Element `index` of a content of integers or bool; of any dtype as double. */
int64_t pare__content_int(const pare__content *content, size_t index);
double pare__content_number(const pare__content *content, size_t index);

#define PARE__NO_VALUE (-1)

/* What is known of a value before any run. */
typedef struct pare__value {
  const char *name;
  int32_t onnx_dtype;                /* declared or inferred; 0: unknown */
  int rank;                          /* -1: unknown */
  int64_t dim[PARE_MAX_RANK];        /* -1: unknown or symbolic */
  const char *symbol[PARE_MAX_RANK]; /* NULL: none */
  pare__content *constant;           /* an initialiser, or the result of folding; NULL: none */
} pare__value;

typedef struct pare__subgraph {
  const char *attribute; /* "then_branch" */
  pare__graph *graph;
} pare__subgraph;

typedef struct pare__node {
  const pare__operator *op;
  const char *name, *op_type, *domain; /* name "": none; domain "": ai.onnx */
  int64_t opset;                       /* of its domain, as the model imports it */
  unsigned ninputs, noutputs;
  int32_t *input, *output; /* values; PARE__NO_VALUE: left out */
  size_t nattributes;
  pare__onnx_attribute *attribute;
  unsigned nsubgraphs;
  pare__subgraph *subgraph;
  /* What the operator made of its constant inputs once, at load, e.g. packed weights. */
  void *prepared;
  void (*prepared_close)(void *prepared);
} pare__node;

/* Nodes in topological order. */
struct pare__graph {
  const char *name;
  size_t nnodes;
  pare__node *node;
  unsigned ninputs, noutputs;
  int32_t *input, *output; /* inputs without those that are initialisers */
  /* Values that no node after node i reads: dead[dead_from[i]] … dead[dead_from[i + 1] - 1]. Made by
   * pare__network_settle. */
  uint32_t *dead_from;
  int32_t *dead;
};

struct pare__network {
  pare__onnx_model *onnx; /* owned: the arena and the file */
  size_t nvalues, values_capacity;
  pare__value *value;
  pare__graph graph;
  /* Of every value, for the graph that a pass is at (pass.h): kept from one graph to the next, because a model can hold
   * thousands of small ones. */
  struct {
    size_t count;      /* that there is room for */
    uint32_t *uses;    /* how many read it */
    int32_t *producer; /* the node that makes it; -1: none */
    int32_t *instead;  /* the value that its readers are to read; PARE__NO_VALUE: itself */
  } rewriting;
  int64_t channel_block; /* channels of a block that the device's convolutions want; 0: none */
};

/* Takes the model over, also when it fails. Local functions are inlined. Every operator that pare does not have is
 * listed in one PARE_ERR_UNSUPPORTED; PARE_ERR_FORMAT: cycles, names used twice or not at all, unknown types. */
pare_status pare__network_open(pare__onnx_model *onnx, pare__network **out);
void pare__network_close(pare__network *network);

/* ---- other outputs, other constants ---- */

/* What a model computes instead of what its file says: layers are looked into, and weights are exchanged, this way. */
typedef struct pare__edits {
  /* Values of the main graph, by name, that are its outputs instead of the file's; what they do not need is left out by
   * the passes. 0: the file's. */
  size_t noutputs;
  const char *const *output;
  /* Initialisers and results of Constant nodes, by name, with other elements of the same dtype and shape. */
  size_t nconstants;
  const char *const *constant;
  pare__content *const *content;
} pare__edits;
/* Takes the initialisers away that have one of the names and are inputs of the main graph too: these have no default
 * then. Before IR 4 all initialisers are listed as inputs, and none is one. Before the network is opened. */
void pare__onnx_override(pare__onnx_model *onnx, size_t count, const char *const *names);
/* Before any pass. PARE_ERR_ARGUMENT: a name that the main graph does not have; PARE_ERR_SHAPE, PARE_ERR_TYPE. */
pare_status pare__network_edit(pare__network *network, const pare__edits *edits);

/* ---- for import and passes ---- */

pare_status pare__network_add_value(pare__network *network, const char *name, int32_t *out);
/* A value without a name that is constant; takes the reference over, also if it fails. */
pare_status pare__network_add_constant(pare__network *network, pare__content *content, int32_t *out);
/* A node with room for so many inputs and outputs, all PARE__NO_VALUE; not yet in a graph. */
pare_status pare__node_create(pare__network *network, const char *domain, const char *op_type, int64_t opset,
                              unsigned ninputs, unsigned noutputs, pare__node *out);
const pare__onnx_attribute *pare__node_attribute(const pare__node *node, const char *name);
/* Sets (adds or replaces) attributes in the arena. */
pare_status pare__node_set_int(pare__network *network, pare__node *node, const char *name, int64_t value);
pare_status pare__node_set_float(pare__network *network, pare__node *node, const char *name, float value);
pare_status pare__node_set_ints(pare__network *network, pare__node *node, const char *name, size_t count,
                                const int64_t *values);
pare_status pare__node_set_floats(pare__network *network, pare__node *node, const char *name, size_t count,
                                  const double *values);
pare_status pare__node_set_text(pare__network *network, pare__node *node, const char *name, const char *value);
/* After import and passes: finds out when values die. */
pare_status pare__network_settle(pare__network *network);

#endif
