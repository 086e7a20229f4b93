/* Matrix products on tensors: shared by the files gemm*.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_GEMM_H
#define PARE_OP_GEMM_H

#include <pare/gemm.h>

#include "kernel/family_gemm.h"
#include "op/op.h"

/* What B quantised in blocks (bits > 0) or N:M sparse (of > 0) has beside its panels. */
typedef struct pare__blocks {
  int bits, shift; /* of a value in the panels; shift: added to each zero point */
  int keep, of;    /* N and M */
  int64_t size;    /* steps of k in a block */
  bool round;      /* A to 8 bits */
  /* [panels][blocks][panel]; zero may be NULL. Sparse: scale [panels][panel] may be NULL, zero has the places. */
  pare_tensor *scale, *zero;
} pare__blocks;

/* A product whose operands are views of one rank, at least 2: A [… M K], B [… K N], C [… M N], batch dimensions 1 or as
 * in C; bias [M or 1][N or 1] or NULL; the summand as C, or NULL. With panel > 0, B is packed: […][panels][K][panel],
 * one rank more. */
typedef struct pare__product {
  pare_tensor *a, *b, *bias, *summand, *c;
  int64_t panel, n; /* n: columns, as packed B only has whole panels */
  pare__blocks blocks;
  pare_gemm_options options; /* without its summand */
} pare__product;

/* Computes it: cuts what is larger than the device's largest buffer, batch by batch and by blocks of columns, and
 * submits. */
pare_status pare__product_submit(const pare__product *product);

/* A product's operands with batch dimensions joined to each other and to the rows where all step evenly through them,
 * and the axis of C that pieces are of, in so many steps. Steps of columns are panels of a packed B. */
typedef struct pare__product_split {
  pare_tensor a, b, c, summand; /* of a product without a summand: C */
  bool bias_rows;               /* the rows have a bias each */
  int axis;
  int64_t steps, per_step;
} pare__product_split;
void pare__product_split_of(const pare__product *product, size_t ndevices, pare__product_split *out);

/* Is a product of so many rows, which reads all of B for few operations, better divided by columns of B? */
bool pare__divides_columns(const pare_context *context, int64_t rows);

/* The part of `tensor` with `count` indices of `axis` from `start`; NULL gives NULL; a dimension of 1 is kept as it is.
 */
pare_status pare__product_slice(pare_tensor *tensor, int axis, int64_t start, int64_t count, pare_tensor **out);

/* A packed block of columns. */
typedef struct pare__weights_block {
  pare_tensor *panels; /* […][panels][K][panel] */
  int64_t begin, n;    /* columns */
} pare__weights_block;

/* How packed weights lie. */
typedef enum pare__weights_kind {
  PARE__WEIGHTS_FLOATS, /* panels of dtype */
  PARE__WEIGHTS_INT8,   /* i32 panels of four steps of k: the family gemm_int8; the sums of the columns */
  PARE__WEIGHTS_BLOCKS, /* i32 panels of the family gemm_blocks */
  PARE__WEIGHTS_SPARSE  /* values in panels of the family gemm_nm */
} pare__weights_kind;

struct pare_weights {
  pare_context *context;
  pare__weights_kind kind;
  pare_dtype dtype;             /* of floats */
  int rank;                     /* of B */
  int64_t shape[PARE_MAX_RANK]; /* of B: … K N */
  int64_t panel;
  size_t nblocks;
  pare__weights_block *block;
  /* of quantised weights, which have one block: sums of the columns (int8); scale (int8: NULL if it has none) */
  pare_tensor *sums;
  pare__blocks blocks;
};

/* Packs [batch][K][N] of any strides and dtype into [batch][panels][K][panel]. */
pare_status pare__pack_panels(pare_tensor *b, pare_tensor *panels, int64_t panel);
/* Weights of a 2-D B: the common fields. */
pare_status pare__weights_create(pare_context *context, pare__weights_kind kind, int64_t k, int64_t n,
                                 pare_weights **out);
/* scale or zero [blocks N], or one element for all, as panels. */
pare_status pare__weights_parameters(const char *function, const char *name, pare_tensor *from, bool transposed,
                                     const pare_weights *weights, pare_tensor **out);
/* pare_gemm_packed; round: see pare_gemm_int8. */
pare_status pare__gemm_packed(const char *function, pare_tensor *a, const pare_weights *weights, bool round,
                              pare_tensor *bias, const pare_gemm_options *options, pare_tensor *c);

/* Checks A, bias, summand and C against B of this shape, and makes the views of one rank; all but B. */
pare_status pare__product_open(const char *function, pare_tensor *a, bool transpose_a, int b_rank,
                               const int64_t *b_shape, pare_tensor *bias, const pare_gemm_options *options,
                               pare_tensor *c, pare__product *out);
void pare__product_close(pare__product *product);
/* Submits it, through scratch where C is not in order, shares memory with an input or lies otherwise than the summand.
 */
pare_status pare__product_run(const pare__product *product);

#endif
