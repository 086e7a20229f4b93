/* Where a model that is written ends up: beside its place first, then in it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_COMPRESS_OUTPUT_H
#define PARE_COMPRESS_OUTPUT_H

#include "base/base.h"

/* *target: what a file written at `out` takes the place of, links followed; free it. Asked before long work: could it
 * be written? A disk that is full is not foreseen. PARE_ERR_IO. */
pare_status pare__output_open(const char *out, char **target);
/* A name beside `out` that nobody has; free it. It says which process it is of. */
char *pare__output_temporary(const char *out);
/* Removes what processes that are no more left beside `out`: killed while they wrote it. */
void pare__output_sweep(const char *out);
/* The path of a file for weights beside `out` that is not there yet: what an old model refers to stays whole. Free it.
 */
pare_status pare__output_companion(const char *out, char **path);
/* `temporary` takes the place of `out`: its bytes, and those of the file of its weights (NULL: none), are on the disk
 * before the name is, and the name when it returns. Weights that the old model at `out` had in a file of their own,
 * under a name that output_companion gives, go with it, unless the model at `in` reads them, too. PARE_ERR_IO. */
pare_status pare__output_commit(const char *temporary, const char *companion, const char *in, const char *out);

#endif
