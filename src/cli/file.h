/* Files that appear whole or not at all. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CLI_FILE_H
#define PARE_CLI_FILE_H

#include "cli/cli.h"

/* Writes beside `path` and renames; into what is no regular file, such as /dev/stdout. CLI_INPUT and a message if that
 * fails; what was there stays. */
cli_exit cli_file_write(const char *path, const void *data, size_t nbytes);

#endif
