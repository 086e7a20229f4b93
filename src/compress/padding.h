/* Positions that nobody reads. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_PADDING_H
#define PARE_COMPRESS_PADDING_H

#include <pare/model.h>

#include "base/base.h"

/* An integer input "attention_mask" [samples, positions]: where it is 0, samples were filled up to a common length, and
 * what a model computes there is nobody's concern. */
bool pare__is_padding_mask(const char *name, pare_dtype dtype, int rank);

typedef struct pare__padding {
  int64_t samples, positions; /* 0: there is no mask, or it leaves nothing */
  bool *counts;               /* [samples, positions] */
} pare__padding;

/* The mask among a model's inputs. Close it in any case. */
pare_status pare__padding_read(pare_model *model, pare_tensor *const *inputs, pare__padding *out);
void pare__padding_close(pare__padding *padding);
/* Of a tensor [samples, positions, …]: the elements of one position, so that element i counts if counts[i / that].
 * 0: it has no such axes, and all of it counts. */
size_t pare__padding_vector(const pare__padding *padding, pare_tensor *tensor);

#endif
