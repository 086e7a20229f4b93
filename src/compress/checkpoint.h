/* Files of named tensors as compression sees them: ONNX models and safetensors behind one table.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Methods never know the file type. They see every weight in one order, the canonical one: a matrix [rows, columns]
 * whose rows are output channels (of an embedding: entries) and whose columns are everything else with the input
 * dimension last and contiguous. A convolution's [O, I, kh, kw] is [O, kh * kw * I]. */
#ifndef PARE_COMPRESS_CHECKPOINT_H
#define PARE_COMPRESS_CHECKPOINT_H

#include <pare/tensor.h>

#include "compress/recipe.h"

typedef enum pare__weight_role {
  PARE__WEIGHT_OTHER,    /* biases, norms, what no method touches */
  PARE__WEIGHT_LINEAR,   /* the constant factor of MatMul or Gemm */
  PARE__WEIGHT_CONV,     /* the weight of Conv */
  PARE__WEIGHT_EMBEDDING /* the constant table of Gather */
} pare__weight_role;
const char *pare__role_name(pare__weight_role role); /* "Linear"; "" for other */

/* A tensor of the file. */
typedef struct pare__weight {
  const char *name;       /* of the tensor */
  const char *layer;      /* of what uses it first: a node, a module; "" if that has no name */
  const char *dtype_name; /* as the format calls it */
  pare_dtype dtype;       /* PARE_NDTYPES: none of ours */
  int rank;
  int64_t dim[PARE_MAX_RANK]; /* all zero if the rank is larger: role is OTHER then */
  int64_t elements;
  uint64_t nbytes;
  pare__weight_role role;
  int row_axis, input_axis; /* of dim; role not OTHER */
  unsigned nuses;           /* nodes that read it; 2 and more: tied */
  bool head;                /* the last Linear before an output */
  const char *refusal;      /* why nothing may change it though it has a role; NULL: nothing is in the way */
} pare__weight;

static inline int64_t pare__weight_rows(const pare__weight *weight) { return weight->dim[weight->row_axis]; }
/* Of one row, as it is computed with. */
static inline int64_t pare__weight_row_elements(const pare__weight *weight) {
  return weight->elements / pare__weight_rows(weight);
}
static inline int64_t pare__weight_inputs(const pare__weight *weight) { return weight->dim[weight->input_axis]; }
/* Axes in canonical order: the row axis, the others as they come, the input axis. */
void pare__weight_axes(const pare__weight *weight, int axes[PARE_MAX_RANK]);
/* Element [r, c] in canonical order, which has so many columns, is element r *row_step + (*column_at)[c] of the tensor.
 * Free *column_at, also after failures. */
pare_status pare__weight_columns(const pare__weight *weight, int64_t columns, int64_t *row_step, int64_t **column_at);

/* ---- what happens to a tensor ---- */

typedef enum pare__stored_as {
  PARE__STORE_AS_IS,  /* its bytes stay */
  PARE__STORE_VALUES, /* new values in the old dtype */
  PARE__STORE_F16,
  PARE__STORE_BF16,
  PARE__STORE_INTEGER /* codes, scales and zero points: `grid` */
} pare__stored_as;

typedef enum pare__strategy { PARE__PER_TENSOR, PARE__PER_CHANNEL, PARE__PER_GROUP } pare__strategy;
typedef enum pare__observer { PARE__OBSERVE_MINMAX, PARE__OBSERVE_PERCENTILE, PARE__OBSERVE_MSE } pare__observer;
typedef enum pare__activations {
  PARE__ACTIVATIONS_FLOAT,
  PARE__ACTIVATIONS_DYNAMIC,
  PARE__ACTIVATIONS_STATIC
} pare__activations;

/* An integer grid of weights. Symmetric: signed codes, no zero points. Asymmetric: unsigned codes 0 … 2^bits - 1 and a
 * zero point for each scale. Channel: one scale a row. Group: one for each `group` columns of a row. */
typedef struct pare__grid {
  unsigned bits;
  pare__strategy strategy;
  int64_t group; /* PER_GROUP */
  bool symmetric;
  pare__observer observer;
  double percentile; /* of |w|, 0 … 100: PARE__OBSERVE_PERCENTILE */
  pare__activations activations;
} pare__grid;

#define PARE__MAX_STEPS 8

struct pare__division;

typedef struct pare__treatment {
  unsigned nsteps;
  size_t step[PARE__MAX_STEPS]; /* modifiers of the recipe, in order */
  pare__stored_as storage;
  pare__grid grid;
  unsigned keep, of;   /* N:M pruned; 0: not */
  bool pruned;         /* by any method */
  const float *factor; /* one for each input, multiplied into the columns before the first step; NULL: none */
  const float *smooth; /* what undoes it: the layer's input is multiplied by these, here or where it is made */
  struct pare__division *division; /* where that is; NULL: the input stays as it is */
  struct pare__division *takes;    /* of a layer after this one: the rows are multiplied by what it says; NULL: none */
  float range[2];                  /* of the layer's input: PARE__ACTIVATIONS_STATIC */
  bool bounded;                    /* the range of the grid was found before the first row came: `bounds` */
  float bounds[2];                 /* of a weight in pieces whose elements share one scale: PARE__PER_TENSOR */
  const char *reason;              /* why less is done than the recipe asks; NULL: all is done */
  uint64_t stored_bytes;           /* settled by the format */
} pare__treatment;

/* ---- results ---- */

/* Rows of a weight in canonical order, on the device. `values` is NULL for codes. */
typedef struct pare__result {
  int64_t first_row, nrows;
  pare_tensor *values; /* f32 [nrows, columns] */
  pare_tensor *codes;  /* i8 (symmetric) or u8, one code an element [nrows, columns] */
  pare_tensor *scales; /* f32 [nrows, groups]; one element for PER_TENSOR */
  pare_tensor *zeros;  /* u8 as scales; NULL: symmetric */
} pare__result;
void pare__result_close(pare__result *result);

/* What a format asks when it writes. Asking for the same rows twice computes twice. */
typedef struct pare__producer {
  pare_status (*rows)(void *user, size_t weight, int64_t first_row, int64_t nrows, pare__result *out);
  /* How many rows fit the memory limit at a time; at least 1. */
  int64_t (*most_rows)(void *user, size_t weight);
  void *user;
} pare__producer;

/* ---- files ---- */

/* Elements of a tensor: row-major, little-endian, possibly misaligned; a view of the mapped file if it can be. */
typedef struct pare__view {
  const void *data;
  size_t nbytes;
  uint64_t file_offset; /* for messages; UINT64_MAX: not known */
  bool mapped;          /* of a file: resident pages can be let go (mapping.h) */
  void *owner;
} pare__view;

typedef struct pare__checkpoint {
  const struct pare__checkpoint_format *format;
  char *path;          /* owned */
  uint64_t file_bytes; /* external files included */
  bool runs;           /* holds a graph that pare_model_open takes: exports are verified */
  size_t nweights;
  pare__weight *weights; /* in the file's order */
} pare__checkpoint;

typedef struct pare__write_request {
  const char *path;       /* to write: beside it first, then renamed */
  const char *final_path; /* what `path` will be renamed to; files that belong to it are named after it */
  const char *recipe;     /* for the metadata */
  char **companion;       /* out: the path of that file, to free; it was not there before */
} pare__write_request;

typedef struct pare__checkpoint_format {
  const char *name;
  /* Is the file of this format, by its first bytes or its path's end? */
  bool (*recognise)(const char *path, const uint8_t *head, size_t nbytes);
  pare_status (*open)(const char *path, pare__checkpoint **out);
  void (*close)(pare__checkpoint *checkpoint);
  pare_status (*view)(pare__checkpoint *checkpoint, size_t weight, pare__view *out);
  void (*release)(pare__checkpoint *checkpoint, pare__view *view); /* lets go of resident pages */
  /* Makes the treatment one that the format can hold: weakens storage and grid, gives the reason, and sets stored_bytes
   * of every treatment. `treatments` has one for each weight. */
  pare_status (*settle)(pare__checkpoint *checkpoint, pare__treatment *treatments);
  /* Once a checkpoint: it may be changed on the way. */
  pare_status (*write)(pare__checkpoint *checkpoint, const pare__treatment *treatments, const pare__producer *producer,
                       const pare__write_request *request);
} pare__checkpoint_format;

extern const pare__checkpoint_format pare__safetensors_checkpoint_format;
/* The formats that there are, ends with NULL: checkpoint.c. */
extern const pare__checkpoint_format *const pare__checkpoint_formats[];

pare_status pare__checkpoint_open(const char *path, pare__checkpoint **out);
void pare__checkpoint_close(pare__checkpoint *checkpoint); /* NULL is allowed */

#endif
