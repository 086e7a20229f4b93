/* The families of operators: operators_FAMILY.c defines the table pare__operators_FAMILY.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_OPERATOR_TABLES_H
#define PARE_GRAPH_OPERATOR_TABLES_H

#include "graph/operator.h"

/* clang-format off */
#define PARE__OPERATOR_TABLES(X) \
  X(identity) \
  X(elementwise) \
  X(quantise) \
  X(quantised_linear) \
  X(quantised_matrix) \
  X(float4) \
  X(view) \
  X(shape) \
  X(matrix) \
  X(reduce) \
  X(normalise) \
  X(index) \
  X(if) \
  X(control) \
  X(convolution) \
  X(layout) \
  X(transposed) \
  X(pool) \
  X(resample) \
  X(sample) \
  X(loss) \
  X(grams) \
  X(sequence) \
  X(triangle) \
  X(select) \
  X(einsum) \
  X(random) \
  X(signal) \
  X(attention) \
  X(grouped_attention) \
  X(transformer) \
  X(position) \
  X(packed) \
  X(gated) \
  X(decoding) \
  X(columns) \
  X(deform) \
  X(diffusion) \
  X(linear_attention) \
  X(mixture) \
  X(compressed) \
  X(pare)
/* clang-format on */

#define PARE__OPERATOR_TABLE(family) extern const pare__operator pare__operators_##family[];
PARE__OPERATOR_TABLES(PARE__OPERATOR_TABLE)
#undef PARE__OPERATOR_TABLE

#endif
