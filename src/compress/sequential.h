/* Layers quantised one depth of the graph after the other. SPDX-License-Identifier: Apache-2.0
 *
 * At each depth the data runs through the original model and through one whose layers before are quantised already, as
 * far as the layers' inputs. Only sums of one depth are kept, and the quantised weights. */
#ifndef PARE_COMPRESS_SEQUENTIAL_H
#define PARE_COMPRESS_SEQUENTIAL_H

#include "compress/method.h"

/* Makes all weights that are `mine` (one for each), those of lesser depth first; their method keeps what comes of it.
 * All steps are prepared. drift: the method asks for it (calibration.h). Weights that others change are changed from
 * the beginning. */
pare_status pare__sequential_run(pare__compression *compression, const bool *mine, bool drift);

#endif
