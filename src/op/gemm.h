/* Matrix products on tensors: shared by the files gemm*.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_GEMM_H
#define PARE_OP_GEMM_H

#include <pare/gemm.h>

#include "kernel/family_gemm.h"
#include "op/op.h"

/* A product whose operands are views of one rank, at least 2: A [… M K], B [… K N], C [… M N], batch dimensions 1 or as
 * in C; bias [M or 1][N or 1] or NULL. With panel > 0, B is packed: […][panels][K][panel], one rank more. */
typedef struct pare__product {
  pare_tensor *a, *b, *bias, *c;
  int64_t panel, n; /* n: columns, as packed B only has whole panels */
  pare_gemm_options options;
} pare__product;

/* Computes it: cuts what is larger than the device's largest buffer, batch by batch and by blocks of columns, and
 * submits. */
pare_status pare__product_submit(const pare__product *product);

/* The part of `tensor` with `count` indices of `axis` from `start`; NULL gives NULL; a dimension of 1 is kept as it is.
 */
pare_status pare__product_slice(pare_tensor *tensor, int axis, int64_t start, int64_t count, pare_tensor **out);

/* A packed block of columns. */
typedef struct pare__weights_block {
  pare_tensor *panels; /* […][panels][K][panel] */
  int64_t begin, n;    /* columns */
} pare__weights_block;

struct pare_weights {
  pare_context *context;
  pare_dtype dtype;
  int rank;                     /* of B */
  int64_t shape[PARE_MAX_RANK]; /* of B: … K N */
  int64_t panel;
  size_t nblocks;
  pare__weights_block *block;
  pare_tensor *sums,
      *scale; /* of int8 weights: of the columns; scale may be NULL. They have one block, of ints of four steps of k. */
};

/* Checks A, bias and C against B of this shape, and makes the views of one rank; all but B. */
pare_status pare__product_open(const char *function, pare_tensor *a, bool transpose_a, int b_rank,
                               const int64_t *b_shape, pare_tensor *bias, const pare_gemm_options *options,
                               pare_tensor *c, pare__product *out);
void pare__product_close(pare__product *product);
/* Submits it, through scratch where C is not in order or shares memory with an input. */
pare_status pare__product_run(const pare__product *product);

#endif
