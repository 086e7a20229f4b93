/* numpy's archives of arrays: .npz files, which are zip files of .npy files. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_FORMAT_NPZ_H
#define PARE_FORMAT_NPZ_H

#include "format/npy.h"

typedef struct pare__npz pare__npz;

/* Reads the directory of the archive; the arrays stay in the file. PARE_ERR_IO, PARE_ERR_FORMAT. */
pare_status pare__npz_open(const char *path, pare__npz **out);
/* As open, from memory that must outlive it. */
pare_status pare__npz_open_memory(const void *data, size_t nbytes, const char *name, pare__npz **out);
/* NULL is allowed. Arrays that were read stay. */
void pare__npz_close(pare__npz *npz);

size_t pare__npz_count(const pare__npz *npz);
/* An array's name, without ".npy". Valid until the archive is closed. */
const char *pare__npz_name(const pare__npz *npz, size_t index);
/* Its index; false if there is none of that name. */
bool pare__npz_find(const pare__npz *npz, const char *name, size_t *index);

/* Reads and unpacks one array; the archive's checksum of it is checked. Not for two threads at a time on one archive.
 * PARE_ERR_FORMAT, PARE_ERR_TYPE, PARE_ERR_IO, PARE_ERR_MEMORY. */
pare_status pare__npz_read(pare__npz *npz, size_t index, pare__array *out);

/* Writes an archive of `count` arrays, stored or deflated, beside `path` and renames. Large ones become zip64.
 * PARE_ERR_ARGUMENT for a name that is given twice or has ".." between slashes; PARE_ERR_IO. */
typedef struct pare__npz_entry {
  const char *name;
  const pare__array *array;
} pare__npz_entry;
pare_status pare__npz_write(const char *path, size_t count, const pare__npz_entry *entries, bool deflates);

#endif
