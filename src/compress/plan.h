/* From a recipe and a checkpoint to what happens to every tensor. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_PLAN_H
#define PARE_COMPRESS_PLAN_H

#include "compress/method.h"

/* One treatment a weight, settled by the format; free it. PARE_ERR_ARGUMENT: a target or an ignored name that fits
 * nothing. */
pare_status pare__plan(const pare_recipe *recipe, pare__checkpoint *checkpoint, pare__treatment **out);

/* Takes back what makes it smaller: what is pruned is stored pruned, in the old dtype, and all else as it is. */
void pare__treatment_leave_dense(pare__treatment *treatment, const char *reason);

/* "2:4, int8 per channel"; the buffer is returned. */
const char *pare__treatment_text(const pare__treatment *treatment, char *buffer, size_t capacity);

#endif
