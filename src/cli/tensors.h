/* The tensors of a file, as a table. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_TENSORS_H
#define PARE_CLI_TENSORS_H

#include "cli/feed.h"

/* histogram: reads the values, too, and shows how they are spread. */
cli_exit cli_show_tensors(const pare_inspection *inspection, bool json, bool histogram);

#endif
