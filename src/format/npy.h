/* numpy's arrays: .npy files of version 1.0, 2.0 and 3.0. SPDX-License-Identifier: Apache-2.0
 *
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#ifndef PARE_FORMAT_NPY_H
#define PARE_FORMAT_NPY_H

#include <pare/dtype.h>

#include "base/base.h"

#define PARE__NPY_MAX_RANK 64 /* numpy's own limit */

/* Types that numpy has and pare has not, beside every pare_dtype. */
typedef enum pare__npy_dtype {
  PARE__NPY_C64 = PARE_NDTYPES,
  PARE__NPY_C128,
  PARE__NPY_RAW2 /* '<V2': two bytes that say no more; what numpy makes of bfloat16, as which it may be taken */
} pare__npy_dtype;

/* An array, row-major and little-endian. */
typedef struct pare__array {
  int dtype; /* pare_dtype or pare__npy_dtype */
  int rank;
  int64_t dims[PARE__NPY_MAX_RANK];
  int64_t count; /* elements */
  const void *data;
  size_t nbytes;
  void (*release)(struct pare__array *array); /* of what follows; NULL: the data is the caller's */
  void *owner;
  size_t owner_bytes;
} pare__array;

const char *pare__npy_dtype_name(int dtype); /* "f32", "c64", "raw2" */
size_t pare__npy_dtype_bytes(int dtype);     /* 0 if none */

/* Maps the file; the data is a view unless it has to be swapped (big-endian) or transposed (Fortran order).
 * PARE_ERR_IO; PARE_ERR_FORMAT: file, what was found, what is taken; PARE_ERR_TYPE for objects, text, structures. */
pare_status pare__npy_open(const char *path, pare__array *out);
/* As open, from memory that must outlive the array; `name` stands for the path in messages. */
pare_status pare__npy_parse(const void *data, size_t nbytes, const char *name, pare__array *out);
/* Releases the data. All zero is allowed. */
void pare__array_close(pare__array *array);

/* Writes beside `path` and renames. bf16 is written as '<V2', floats of a byte or less as their codes in '|u1'.
 * PARE_ERR_IO. */
pare_status pare__npy_write(const char *path, const pare__array *array);

/* A file's head up to the data, malloc'ed; its length is a multiple of 64. */
pare_status pare__npy_head(const pare__array *array, char **out, size_t *nbytes);

#endif
