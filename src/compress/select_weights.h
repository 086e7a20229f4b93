/* Exact selection among all elements of weights, by all devices. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_SELECT_WEIGHTS_H
#define PARE_COMPRESS_SELECT_WEIGHTS_H

#include <pare/prune.h>

#include "compress/method.h"

/* Takes the selection to its end: its passes see those of weights begin … end - 1 that the step treats, as the step
 * gets them. With several devices each counts some of the rows, and the counts are added. */
pare_status pare__select_weights(pare__compression *compression, size_t step, size_t begin, size_t end,
                                 pare_selection *selection);
/* Once done: bits[i], in the compression's arena, is the mask of weight i, one bit an element in canonical order. */
pare_status pare__select_masks(pare__compression *compression, size_t step, size_t begin, size_t end,
                               pare_selection *selection, uint8_t **bits);

#endif
