/* Quantisation grids, as other operations use them. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OP_GRID_H
#define PARE_OP_GRID_H

#include <pare/grid.h>

#include "kernel/family_grid.h"
#include "op/op.h"

/* A grid is possible, and fits a tensor; *axis is not negative afterwards. */
pare_status pare__grid_check(const char *function, const pare_grid *grid, const pare_tensor *w, int *axis);
/* scale and zero are what the grid wants for w; codes: the dtype of zero, or PARE_NDTYPES if any of both will do. */
pare_status pare__grid_check_parameters(const char *function, const pare_grid *grid, const pare_tensor *w,
                                        const pare_tensor *scale, const pare_tensor *zero, pare_dtype codes);
pare_status pare__grid_check_importance(const char *function, pare_tensor *importance, pare_tensor *w,
                                        pare_tensor **out);

#endif
