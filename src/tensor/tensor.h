/* Floor 3: tensors. Knows nothing of operations. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_TENSOR_TENSOR_H
#define PARE_TENSOR_TENSOR_H

#include <pare/tensor.h>
#include <pthread.h>

#include "base/dtype.h"
#include "ocl/ocl.h"

typedef struct pare__shape {
  int rank;
  int64_t dim[PARE_MAX_RANK];
  int64_t stride[PARE_MAX_RANK]; /* in elements */
} pare__shape;

/* The elements behind one or more tensors: counted references, one home, copies valid or not. */
typedef struct pare__storage pare__storage;

struct pare_tensor {
  pare_context *context;
  pare_dtype dtype;
  pare__shape shape;
  int64_t offset; /* of the first element in the storage, in elements */
  bool read_only; /* a broadcast view */
  pare__storage *storage;
};

/* Row-major strides. false if the element count overflows or a dimension is negative. */
bool pare__shape_set(pare__shape *shape, int rank, const int64_t *dim);
int64_t pare__shape_elements(const pare__shape *shape);
bool pare__shape_contiguous(const pare__shape *shape); /* row-major without gaps; dimensions of 1 do not matter */
bool pare__shape_equal(const pare__shape *a, const pare__shape *b);
/* "[2, 3, 4]" */
const char *pare__shape_text(int rank, const int64_t *dim, char *text, size_t capacity);
#define PARE__SHAPE_TEXT 200
/* Right-aligned broadcast of two shapes; PARE_ERR_SHAPE names both. */
pare_status pare__shape_broadcast(const pare__shape *a, const pare__shape *b, pare__shape *out);
/* Normalises a negative axis; PARE_ERR_ARGUMENT naming `function` if out of range. */
pare_status pare__axis(const char *function, int axis, int rank, int *out);

/* pare_tensor_read of what is known to be done: on one device it does not wait for what was enqueued since. */
pare_status pare__tensor_read_done(pare_tensor *tensor, void *data, size_t nbytes);

/* One more handle on the same elements. */
pare_status pare__tensor_handle(pare_tensor *tensor, pare_tensor **out);

/* ---- used by the executor ---- */

/* false: larger than the device's largest buffer (or wrapped where it must be copied in pieces): lives on the host and
 * is staged. */
bool pare__tensor_on_device(const pare_tensor *tensor);
/* With several devices, waits for what is to be written to it under way, and for what reads it if `writing`. */
pare_status pare__tensor_settle(const pare_tensor *tensor, bool writing);
/* The device buffer; NULL with several devices; only if pare__tensor_on_device. Work on the in-order queue sees current
 * values. */
pare__buffer *pare__tensor_buffer(pare_tensor *tensor);
/* The storage of a staged tensor on the host (element 0 of the storage, not of the view); NULL if on the device. */
void *pare__tensor_host(pare_tensor *tensor);
/* Its first element in that buffer (or of the host memory), in elements. */
int64_t pare__tensor_start(const pare_tensor *tensor);
/* Records that work writing this tensor failed: reads raise it. Copies this thread's message. */
void pare__tensor_poison(pare_tensor *tensor, pare_status status);
/* The recorded failure, raised on this thread; PARE_OK if none. Overwriting the whole storage clears it. */
pare_status pare__tensor_poisoned(const pare_tensor *tensor);
/* Clears it if the tensor covers its whole storage: something is about to overwrite it. */
void pare__tensor_heal(pare_tensor *tensor);
/* Moves elements between a strided view in host memory and contiguous memory, row-major. `strided` is the storage's
 * element 0. */
void pare__host_gather(const pare__shape *shape, int64_t offset, size_t element_bytes, const void *strided,
                       void *contiguous);
void pare__host_scatter(const pare__shape *shape, int64_t offset, size_t element_bytes, const void *contiguous,
                        void *strided);

/* ---- tensors without memory, for work that is recorded ---- */

/* Tensors that this thread makes from now on have no memory until they are bound; returns what was set before. Reading
 * or writing one is PARE_ERR_UNSUPPORTED. */
bool pare__tensors_defer(bool defer);
void pare__storage_retain(pare__storage *storage);
void pare__storage_release(pare__storage *storage); /* NULL is allowed */
bool pare__storage_deferred(const pare__storage *storage);
size_t pare__storage_bytes(const pare__storage *storage);
/* Gives a deferred storage memory: that of another tensor, from byte `base` of its buffer; a failure recorded for it is
 * forgotten. NULL takes it away.
 * Work that was submitted before keeps the memory it was given. */
void pare__storage_bind(pare__storage *storage, pare_tensor *to, size_t base);

/* A scratch tensor of an operation, on the device or staged like any other. */
pare_status pare__tensor_scratch(pare_context *context, pare_dtype dtype, int rank, const int64_t *dim,
                                 const char *what, pare_tensor **out);

#endif
