/* Models that are written only to be run. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_TRIAL_H
#define PARE_COMPRESS_TRIAL_H

#include "compress/method.h"

/* Writes the model with these treatments to `path`; *companion: also to that file, to free. The old file is read anew,
 * as writing may change a checkpoint. Whatever happens, both may be unlinked. */
pare_status pare__trial_write(pare__compression *compression, const pare__treatment *treatments, const char *path,
                              char **companion);

#endif
