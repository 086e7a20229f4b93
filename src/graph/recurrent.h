/* What RNN, GRU and LSTM share. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_GRAPH_RECURRENT_H
#define PARE_GRAPH_RECURRENT_H

#include <pare/elementwise.h>
#include <pare/gemm.h>

#include "graph/operator.h"

typedef enum pare__cell { PARE__CELL_RNN, PARE__CELL_GRU, PARE__CELL_LSTM } pare__cell;
enum { PARE__CELL_QUANTISED = 4 }; /* or'ed to it in the table of operators: weights are bytes */

/* Inputs of all cells; peepholes are an LSTM's alone, and so is C. A zero point follows its scale. */
enum {
  PARE__RECURRENT_X,
  PARE__RECURRENT_W,
  PARE__RECURRENT_R,
  PARE__RECURRENT_B,
  PARE__RECURRENT_LENGTHS,
  PARE__RECURRENT_INITIAL_H,
  PARE__RECURRENT_INITIAL_C,
  PARE__RECURRENT_PEEPHOLES,
  PARE__RECURRENT_W_SCALE,
  PARE__RECURRENT_R_SCALE = PARE__RECURRENT_W_SCALE + 2,
  PARE__RECURRENT_NINPUTS = PARE__RECURRENT_R_SCALE + 2
};

/* An elementwise function of a gate; scaled: outer tanh(inner x). */
typedef struct pare__gate_function {
  pare_unary_operation operation;
  double p, q;
  bool scaled;
} pare__gate_function;

/* A matrix [N, K] that products take transposed, packed if it was constant. rounds: it has int8 weights, and the other
 * factor is rounded to 8 bits, as DynamicQuantizeLinear does. */
typedef struct pare__gate_weights {
  pare_tensor *plain;
  const pare_weights *packed;
  bool rounds;
} pare__gate_weights;

typedef struct pare__recurrent {
  pare__call *call;
  pare__cell cell;
  int64_t gates, steps, batch, inputs, hidden, directions;
  bool batch_first, linear_before_reset, input_forget, quantised;
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
  pare_tensor *panels;                            /* the recurrent ones for op/recurrent.h; or NULL */
  pare_tensor *input_bias;                        /* what the product of all steps gets; [gates * hidden] or NULL */
  pare_tensor *recurrent_bias;                    /* what a GRU with linear_before_reset adds inside; or NULL */
  pare_tensor *peephole;                          /* [3 * hidden] or NULL */
  pare_tensor *gate, *other, *part;               /* scratch: [batch, gates * hidden] twice, [batch, hidden] */
} pare__recurrent_direction;

/* The weights of a node that are constants, packed into it. */
pare_status pare__recurrent_prepare(pare__call *call, pare__node *node);
pare_status pare__recurrent_take_weights(const pare__recurrent *recurrent, pare__recurrent_direction *direction);
/* A function of this name, with its usual parameters. */
bool pare__gate_function_named(const char *name, size_t length, pare__gate_function *out);
/* The functions of a direction from the attributes activations, activation_alpha and activation_beta. */
pare_status pare__recurrent_functions(const pare__recurrent *recurrent, pare__recurrent_direction *direction);
/* new_h (and an LSTM's new_c) from h and c, and `x` [batch, gates * hidden], the input's part of the gates. new_c may
 * be c; new_h may not be h. */
pare_status pare__recurrent_step(const pare__recurrent *recurrent, const pare__recurrent_direction *direction,
                                 pare_tensor *x, pare_tensor *h, pare_tensor *c, pare_tensor *new_h,
                                 pare_tensor *new_c);
/* All steps in one operation; y [steps, batch, hidden], h and c as they are before and after. *done false: this is none
 * that can be. */
pare_status pare__recurrent_at_once(const pare__recurrent *recurrent, const pare__recurrent_direction *direction,
                                    pare_tensor *x, pare_tensor *h, pare_tensor *c, pare_tensor *y, bool *done);
pare_status pare__gate_product(const pare__gate_weights *weights, pare_tensor *a, pare_tensor *bias, pare_tensor *out);

#endif
