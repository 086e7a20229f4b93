/* What RNN, GRU and LSTM share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_RECURRENT_H
#define PARE_GRAPH_RECURRENT_H

#include <pare/elementwise.h>
#include <pare/gemm.h>

#include "graph/operator.h"

typedef enum pare__cell { PARE__CELL_RNN, PARE__CELL_GRU, PARE__CELL_LSTM } pare__cell;

/* An elementwise function of a gate; scaled: outer tanh(inner x). */
typedef struct pare__gate_function {
  pare_unary_operation operation;
  double p, q;
  bool scaled;
} pare__gate_function;

/* A matrix [N, K] that products take transposed, packed if it was constant. */
typedef struct pare__gate_weights {
  pare_tensor *plain;
  const pare_weights *packed;
} pare__gate_weights;

typedef struct pare__recurrent {
  pare__call *call;
  pare__cell cell;
  int64_t gates, steps, batch, inputs, hidden, directions;
  bool batch_first, linear_before_reset, input_forget;
  double clip; /* 0: none */
  pare_dtype dtype;
  pare_tensor *x;    /* [steps * batch, inputs] */
  pare_tensor *mask; /* bool [steps, batch, 1]: does the sequence reach so far? NULL: all do */
  pare_tensor *zero; /* a scalar */
} pare__recurrent;

/* One direction of it. */
typedef struct pare__recurrent_direction {
  int index;
  bool reverse;
  pare__gate_function function[3];
  pare__gate_weights input, recurrent, candidate; /* candidate: the rows of a GRU's last gate, apart */
  pare_tensor *input_bias;                        /* what the product of all steps gets; [gates * hidden] or NULL */
  pare_tensor *recurrent_bias;                    /* what a GRU with linear_before_reset adds inside; or NULL */
  pare_tensor *peephole;                          /* [3 * hidden] or NULL */
  pare_tensor *gate, *other, *part;               /* scratch: [batch, gates * hidden] twice, [batch, hidden] */
} pare__recurrent_direction;

/* The functions of a direction from the attributes activations, activation_alpha and activation_beta. */
pare_status pare__recurrent_functions(const pare__recurrent *recurrent, pare__recurrent_direction *direction);
/* new_h (and an LSTM's new_c) from h and c, and `x` [batch, gates * hidden], the input's part of the gates. new_c may
 * be c; new_h may not be h. */
pare_status pare__recurrent_step(const pare__recurrent *recurrent, const pare__recurrent_direction *direction,
                                 pare_tensor *x, pare_tensor *h, pare_tensor *c, pare_tensor *new_h,
                                 pare_tensor *new_c);
pare_status pare__gate_product(const pare__gate_weights *weights, pare_tensor *a, pare_tensor *bias, pare_tensor *out);

#endif
