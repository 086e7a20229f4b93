/* Layers that are slower compressed. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_SPEED_H
#define PARE_COMPRESS_SPEED_H

#include "compress/method.h"

/* Writes the compressed model to `scratch`, times its layers and the original's on the inputs of a verification, and
 * removes it. Tensors whose layer is slower compressed become dense in the plan, with the reason. */
pare_status pare__speed_settle(pare__compression *compression, const char *scratch);
/* Times the layers of the compressed model at `path` and the original's, and says in the report which are clearly
 * slower. */
pare_status pare__speed_tell(pare__compression *compression, const char *path);

#endif
