/* Read-only files in memory, page by page as they are read. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_FORMAT_MAPPING_H
#define PARE_FORMAT_MAPPING_H

#include "base/base.h"

/* All zero is a mapping of nothing. A file that is cut short while it is mapped kills the process that reads past its
 * new end (SIGBUS): pare itself replaces files by renaming, which leaves mappings whole, and the command ends with a
 * message. */
typedef struct pare__mapping {
  const uint8_t *data;
  size_t nbytes;
  bool mapped; /* else the memory is the caller's */
} pare__mapping;

/* A regular file, or an error. PARE_ERR_IO names it. */
pare_status pare__mapping_open(const char *path, pare__mapping *out);
/* As open, of an open descriptor, which stays the caller's. */
pare_status pare__mapping_open_file(int file, const char *path, pare__mapping *out);
void pare__mapping_close(pare__mapping *mapping);

/* Lets go of the resident pages that lie wholly in the range, which must be of a mapped file: read again, they come
 * from the file. */
void pare__mapping_release(const void *data, size_t nbytes);

#endif
