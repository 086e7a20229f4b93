/* Files that appear whole or not at all. SPDX-License-Identifier: Apache-2.0 */
#include "cli/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A pipe, a terminal, an open descriptor: what is written goes there, and nothing takes its place. */
static bool is_special(const char *path) {
  struct stat found;
  return (stat(path, &found) == 0 && !S_ISREG(found.st_mode)) || strncmp(path, "/dev/std", 8) == 0 ||
         strncmp(path, "/dev/fd/", 8) == 0;
}

static cli_exit write_special(const char *path, const void *data, size_t nbytes) {
  FILE *file = fopen(path, "ae");
  bool written = file && fwrite(data, 1, nbytes, file) == nbytes;
  if (file && fclose(file) != 0) written = false;
  return written ? CLI_OK : cli_error(CLI_INPUT, "cannot write %s: %s", path, strerror(errno));
}

cli_exit cli_file_write(const char *path, const void *data, size_t nbytes) {
  char *temporary = NULL;
  if (is_special(path)) return write_special(path, data, nbytes);
  if (asprintf(&temporary, "%s.%ld.tmp", path, (long)getpid()) < 0) return cli_error(CLI_DEVICE, "out of memory");
  FILE *file = fopen(temporary, "wxe");
  bool written = file && fwrite(data, 1, nbytes, file) == nbytes;
  if (file && fclose(file) != 0) written = false;
  if (written && rename(temporary, path) != 0) written = false;
  const int error = errno;
  if (file && !written) unlink(temporary);
  free(temporary);
  return written ? CLI_OK : cli_error(CLI_INPUT, "cannot write %s: %s", path, strerror(error));
}
