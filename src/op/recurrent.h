/* All steps of a recurrent cell as one operation. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_RECURRENT_H
#define PARE_OP_RECURRENT_H

#include "op/op.h"

/* Tensors of floats (f32), but for the mask; src/kernel/family_recurrent.h names the modes and says what extra is. */
typedef struct pare__sequence {
  int mode;
  double clip;          /* 0: none */
  pare_tensor *x;       /* [steps, batch, gates * hidden], the input's part of the gates */
  pare_tensor *weights; /* of pare__sequence_pack */
  pare_tensor *extra;   /* [3 * hidden] or NULL */
  pare_tensor *mask;    /* bool [steps, batch, 1] or NULL */
  pare_tensor *h, *c;   /* [batch, hidden], before and after; c NULL unless it is an LSTM */
  pare_tensor *y;       /* [steps, batch, hidden] */
} pare__sequence;

/* R [gates * hidden, hidden] in panels, for pare__sequence_run. *out NULL: the device is none for sequences, or the
 * weights are so many that a core does not keep them near. */
pare_status pare__sequence_pack(pare_tensor *r, int64_t gates, pare_tensor **out);
/* *done false: nothing was done, for steps one by one are better or the only way. */
pare_status pare__sequence_run(const pare__sequence *sequence, bool *done);

#endif
