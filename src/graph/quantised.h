/* What operators on quantised elements share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_QUANTISED_H
#define PARE_GRAPH_QUANTISED_H

#include "graph/operator.h"

/* x = (q - zero) scale; scale and zero have one element, or one for each index of `axis`, or one for each block of
 * `block` of them. */
typedef struct pare__quantisation {
  pare_tensor *scale, *zero; /* zero NULL: 0 */
  int64_t axis, block;       /* block 0: none */
  unsigned narrow;           /* quantised to 2 or 4 bits, a byte each; 0: no */
  bool overflows;            /* what is too large for a float of a byte becomes infinity or NaN */
  bool broadcasts;           /* scale and zero broadcast to x as they are */
} pare__quantisation;
/* Is input i known to hold nothing but this number? One that is left out counts as 0. */
bool pare__call_known_to_be(const pare__call *call, unsigned i, double number);
/* out = saturate(round(x / scale) + zero); out has x's shape, and an integer dtype or that of a
 * float of a byte, which neither rounds to integers nor has a zero point. */
pare_status pare__call_quantise(pare__call *call, pare_tensor *x, const pare__quantisation *q, pare_tensor *out);
/* out = (integers - zero) scale, computed in f32. */
pare_status pare__call_dequantise(pare__call *call, pare_tensor *integers, const pare__quantisation *q,
                                  pare_tensor *out);
/* Elements of `bits` (2, 4 or 8) that lie in bytes, low bits first, along the last axis: a byte each. */
pare_status pare__call_unpack(pare__call *call, pare_tensor *bytes, int64_t bits, pare_tensor **out);

/* u8 as i8 less 128: the top bit turned; i8 as it is. */
pare_status pare__call_to_signed(pare__call *call, pare_tensor *bytes, pare_tensor **out);
/* Gather of data along an axis by input i. */
pare_status pare__call_gather(pare__call *call, pare_tensor *data, unsigned i, int axis, pare_tensor **out);

/* The shape of a product of stacks of matrices, as numpy's matmul has it; dim has room for PARE_MAX_RANK + 2. */
pare_status pare__call_product_shape(const pare__call *call, const pare__shape *a, const pare__shape *b, int *rank,
                                     int64_t *dim);

#endif
