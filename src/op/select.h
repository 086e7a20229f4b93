/* Steps of selection, for operations that select in several tensors. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_SELECT_H
#define PARE_OP_SELECT_H

#include <pare/select.h>

#include "kernel/family_select.h"
#include "op/op.h"

/* One step. The tensors in the order of the family's buffers; `written` has a bit for each that is. In blocks: all but
 * the second are cut. */
pare_status pare__select_submit(const pare__problem *whole, pare_tensor *const *tensor, unsigned ntensors,
                                unsigned written, int64_t blocks);
/* totals (i64) = the sums of the blocks' counts. */
pare_status pare__select_add_blocks(pare_tensor *counts, int64_t blocks, int64_t columns, pare_tensor *totals);
/* Element `at` of bounds = the element of this rank in the sample, which is contiguous. */
pare_status pare__select_bound(pare_tensor *sample, int64_t rank, int mode, pare_tensor *bounds, int64_t at);

#endif
