/* The problems of recurrent sequences, as operations put them. SPDX-License-Identifier: Apache-2.0
 *
 * All steps of an RNN, a GRU or an LSTM: cl/recurrent.cl draws the buffers. Strides are in elements; the last ones are
 * 1. real[0]: what the gates are clipped to; 0: they are not. */
#ifndef PARE_KERNEL_FAMILY_RECURRENT_H
#define PARE_KERNEL_FAMILY_RECURRENT_H

#include "kernel/kernel.h"

/* problem.mode: the cell and bits */
enum {
  RECURRENT_RNN,
  RECURRENT_GRU,
  RECURRENT_LSTM,
  RECURRENT_CELL = 3,         /* the bits of the cell */
  RECURRENT_RESET_AFTER = 4,  /* of a GRU: r is multiplied with the product, not with h */
  RECURRENT_INPUT_FORGET = 8, /* of an LSTM: f = 1 - i */
  RECURRENT_RELU = 16,        /* of an RNN: instead of tanh */
  RECURRENT_REVERSE = 32      /* from the last step to the first */
};
enum { RECURRENT_UNITS = 8 }; /* of a panel of weights */
/* problem.dim */
enum {
  RECURRENT_STEPS,
  RECURRENT_ROWS,
  RECURRENT_HIDDEN,
  RECURRENT_X_STEP,
  RECURRENT_X_ROW,
  RECURRENT_MASK_STEP,
  RECURRENT_MASK_ROW,
  RECURRENT_Y_STEP,
  RECURRENT_Y_ROW,
  RECURRENT_HAS_EXTRA,
  RECURRENT_HAS_MASK,
  RECURRENT_NDIMS
};
enum {
  RECURRENT_BUFFER_X,
  RECURRENT_BUFFER_W,
  RECURRENT_BUFFER_EXTRA,
  RECURRENT_BUFFER_MASK,
  RECURRENT_BUFFER_H,
  RECURRENT_BUFFER_C,
  RECURRENT_BUFFER_Y,
  RECURRENT_NBUFFERS
};
/* Gates of a cell. */
int64_t pare__recurrent_gates(int mode);
extern const pare__family pare__family_recurrent;

#endif
