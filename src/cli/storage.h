/* The values of --storage. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_STORAGE_H
#define PARE_CLI_STORAGE_H

#include <pare/compress.h>

/* NULL leaves *out as it is; false: neither portable nor compact. */
bool cli_storage(const char *text, pare_storage *out);

#endif
