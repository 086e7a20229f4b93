/* How elementwise work is submitted: also how tensors are copied. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_ELEMENTWISE_H
#define PARE_OP_ELEMENTWISE_H

#include "kernel/elementwise.h"
#include "op/op.h"

/* Submits out = operation(inputs): all checked, inputs broadcast to out's shape here. p: two parameters. */
pare_status pare__elementwise_submit(int mode, const double *p, pare_tensor *const *inputs, pare_tensor *out);

#endif
