/* Steps of selection, for operations that select in several tensors. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_SELECT_H
#define PARE_OP_SELECT_H

#include <pare/select.h>

#include "kernel/family_select.h"
#include "op/op.h"

/* Fewer elements than these are not worth a sample; runs of neighbours make one, at even distances. */
#define PARE__SELECT_WORTH_A_SAMPLE (INT64_C(1) << 21)
#define PARE__SELECT_SAMPLE_RUN 8

/* How a sample brackets the k-th of n: ranks in the sample with the k-th between them, almost surely. */
typedef struct pare__select_ranks {
  int64_t high, low; /* from 1 */
  int64_t open;      /* see the family */
} pare__select_ranks;

/* Elements of the sample of n: it gets finer with what it stands for, as 5 / sqrt(sample) of all lie between its
 * bounds. */
int64_t pare__select_sample_size(int64_t n);
pare__select_ranks pare__select_ranks_of(int64_t k, int64_t n, int64_t sampled);
/* Elements of a block of n, and the keys between the bounds that there is room for in one of its lists. */
int64_t pare__select_block(int64_t n);
int64_t pare__select_room(int64_t block, int64_t sampled);

/* One step. The tensors in the order of the family's buffers; `written` has a bit for each that is. In blocks: all but
 * the second are cut. */
pare_status pare__select_submit(const pare__problem *whole, pare_tensor *const *tensor, unsigned ntensors,
                                unsigned written, int64_t blocks);
/* totals (i64) = the sums of the blocks' counts. */
pare_status pare__select_add_blocks(pare_tensor *counts, int64_t blocks, int64_t columns, pare_tensor *totals);
/* Element `at` of bounds = the element of this rank in the sample, which is contiguous. */
pare_status pare__select_bound(pare_tensor *sample, int64_t rank, int mode, pare_tensor *bounds, int64_t at);

#endif
