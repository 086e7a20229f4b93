/* Does the new model do what the old one does? SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_VERIFY_H
#define PARE_COMPRESS_VERIFY_H

#include "compress/report.h"

/* Runs both on the same inputs, the first samples of the calibration file or random ones, and notes in the report how
 * far the outputs are. PARE_ERR_FORMAT: an output of another shape, or with NaN or infinity that the old one's does not
 * have; `new_path` is called `name` in messages. */
pare_status pare__verify(pare_context *context, const char *old_path, const char *new_path, const char *name,
                         const char *calibration, pare_report *report);

#endif
