/* Pooling on tensors: shared by the files pool*.c. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_POOL_H
#define PARE_OP_POOL_H

#include <pare/pool.h>

#include "op/op.h"

/* More than three spatial dimensions, the arguments checked. */
pare_status pare__pool_in_turns(pare_tensor *x, pare_pooling pooling, const pare_pool_options *options, pare_tensor *y,
                                pare_tensor *indices);

#endif
