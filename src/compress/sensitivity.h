/* How much each tensor's compression alone changes what a model answers. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_SENSITIVITY_H
#define PARE_COMPRESS_SENSITIVITY_H

#include "compress/method.h"

/* For each tensor that the plan changes: a model in which no other is changed is written to `scratch`, run, compared
 * with the original, and removed; the distances go into the report. All modifiers are prepared. */
pare_status pare__sensitivity(pare__compression *compression, const char *scratch);

#endif
