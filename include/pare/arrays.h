/* Arrays in files, for what programs feed to models and keep of them. SPDX-License-Identifier: Apache-2.0
 *
 * numpy's .npy and .npz, and .pb with one ONNX TensorProto, as the ONNX backend tests have them. */
#ifndef PARE_ARRAYS_H
#define PARE_ARRAYS_H

#include <pare/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An array on the host: row-major, contiguous, little-endian. */
typedef struct pare_array {
  const char *name;       /* in an archive, or of the TensorProto; "" if it has none */
  pare_dtype dtype;       /* PARE_NDTYPES if pare has no such type: then data is NULL */
  const char *dtype_name; /* as pare calls it, "f32", else as the format does: "c64", "string" */
  int rank;
  int64_t dim[PARE_MAX_RANK];
  const void *data; /* may be misaligned */
  size_t nbytes;
} pare_array;

typedef struct pare_arrays pare_arrays; /* an open file */

/* What a file is, its first bytes say, else its name's end. An .npy file holds one array without a name.
 * PARE_ERR_IO; PARE_ERR_FORMAT: what is wrong and where. */
PARE_API pare_status pare_arrays_open(const char *path, pare_arrays **out);
PARE_API void pare_arrays_close(pare_arrays *arrays); /* NULL is allowed */
PARE_API size_t pare_arrays_count(const pare_arrays *arrays);
/* The name of an array, without reading it; NULL if index is out of range. */
PARE_API const char *pare_arrays_name(const pare_arrays *arrays, size_t index);
/* Is there one of that name, and which? */
PARE_API bool pare_arrays_find(const pare_arrays *arrays, const char *name, size_t *index);
/* Reads an array the first time that it is asked for; *out points to what lives until the file is closed. '<V2' is
 * taken as bf16; integers of 2 and 4 bits become i8 or u8; '<V1' is u8: codes of float8 or float4. Not for two threads
 * at once. PARE_ERR_FORMAT: damaged; PARE_ERR_UNSUPPORTED: more than PARE_MAX_RANK dimensions; PARE_ERR_IO,
 * PARE_ERR_MEMORY. */
PARE_API pare_status pare_arrays_get(pare_arrays *arrays, size_t index, pare_array *out);

/* Writes an .npz file, beside `path` first and then renamed: there is a whole file or none. bf16 is written as raw
 * two-byte elements, float8 and float4 as u8 codes. deflates: smaller and slower. PARE_ERR_ARGUMENT: a name that is
 * given twice or has ".." between slashes, a dtype that is none, nbytes that do not fit; PARE_ERR_IO. */
PARE_API pare_status pare_arrays_write(const char *path, size_t count, const pare_array *arrays, bool deflates);

/* Element `index` as a number; 64-bit integers beyond 2^53 lose bits. NaN if the array has no such element. */
PARE_API double pare_array_number(const pare_array *array, size_t index);

#ifdef __cplusplus
}
#endif
#endif
