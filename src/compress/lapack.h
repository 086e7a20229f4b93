/* LAPACK, loaded when it is first needed. SPDX-License-Identifier: Apache-2.0
 *
 * Only GPTQ factorises. Linked, it would be loaded with every command and into every program of a user: as OpenBLAS,
 * which Debian may have in its place, it starts a thread for each core then, and doubles the time of a short command.
 */
#ifndef PARE_COMPRESS_LAPACK_H
#define PARE_COMPRESS_LAPACK_H

#include <lapacke.h>

#include "base/base.h"

/* As lapacke.h declares them, under the names of LAPACK's routines. */
typedef struct pare__lapack {
  lapack_int (*dpotrf)(int layout, char triangle, lapack_int n, double *a, lapack_int stride);
  lapack_int (*dpotrs)(int layout, char triangle, lapack_int n, lapack_int nrhs, const double *a, lapack_int stride,
                       double *b, lapack_int b_stride);
  lapack_int (*dtrtri)(int layout, char triangle, char diagonal, lapack_int n, double *a, lapack_int stride);
} pare__lapack;

/* From any thread. It stays loaded. PARE_ERR_UNSUPPORTED: it is not installed. */
pare_status pare__lapack_get(const pare__lapack **out);

#endif
