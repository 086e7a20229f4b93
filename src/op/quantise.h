/* Quantisation on tensors, as other operations use it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_QUANTISE_H
#define PARE_OP_QUANTISE_H

#include <pare/quantise.h>

#include "op/op.h"

/* Scale (f32) and zero point (u8), each of one element, of all of x, which is contiguous. */
pare_status pare__affine_submit(pare_tensor *x, pare_tensor *scale, pare_tensor *zero);
/* *range (f32 [chunks][2], to be closed) = the least and the greatest value and zero of chunks of x, which is
 * contiguous; the range of a range of a few chunks is one pair. */
pare_status pare__range_submit(pare_tensor *x, pare_tensor **range);

#endif
