/* Files and folders: whole reads, atomic writes, where the cache and the kernels are.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_BASE_PATH_H
#define PARE_BASE_PATH_H

#include "base/base.h"

/* Reads a whole file of at most limit_bytes; *out is malloc'ed and has a terminator after its *nbytes bytes.
 * PARE_ERR_IO. */
pare_status pare__file_read(const char *path, size_t limit_bytes, char **out, size_t *nbytes);
/* Writes beside `path` and renames: readers see the old file or the new one, whole. PARE_ERR_IO. */
pare_status pare__file_write(const char *path, const void *data, size_t nbytes);
/* mkdir -p with mode 0700 for what it creates. */
pare_status pare__folder_make(const char *path);
bool pare__file_exists(const char *path);
/* What a file that is written to `path` takes the place of; free it. A link is followed. What is no regular file stays
 * (a device, a pipe, a folder would be gone), and so does what may not be written to: PARE_ERR_IO. */
pare_status pare__file_target(const char *path, char **out);
/* A file that is to replace the one at `path`, if there is one, gets its permissions: as far as the system lets it. */
void pare__file_keep_mode(const char *path, const char *temporary);

/* $PARE_CACHE, else $XDG_CACHE_HOME/pare, else $HOME/.cache/pare; malloc'ed; NULL if none can be had. */
char *pare__cache_folder(void);

/* Does the running binary, or the library, lie in the build tree? Then sources and helpers come from there. */
bool pare__in_build_tree(void);

/* A path that begins with / is a user's own kernel, and stays as it is. Else: the folder that holds the .cl files:
 * $PARE_KERNEL_PATH (colon-separated; the first that has `file`), else cl/ of the source or build tree if the running
 * binary or library lies in one, else the installed folder. Never the current directory. *out is the malloc'ed path of
 * `file`; PARE_ERR_KERNEL lists where it looked. */
pare_status pare__kernel_path(const char *file, char **out);

#endif
