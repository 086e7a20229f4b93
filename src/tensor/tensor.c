/* Tensors: making, reading, writing. SPDX-License-Identifier: Apache-2.0 */
#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/context.h"
#include "tensor/storage.h"

/* Checks the arguments that every constructor has and fills all but the storage. */
static pare_status tensor_new(const char *function, pare_context *context, pare_dtype dtype, int rank,
                              const int64_t *shape, pare_tensor **out, size_t *nbytes) {
  if (!out) return pare__fail_null(function, "out");
  *out = NULL;
  PARE__TRY(pare__context_check(function, context));
  if (!pare__dtype_is_valid(dtype)) return pare__fail(PARE_ERR_TYPE, "%s: %d is no dtype", function, (int)dtype);
  if (dtype == PARE_F64 && !pare_context_device(context)->can.f64)
    return pare__fail(PARE_ERR_UNSUPPORTED, "%s: the device %s has no f64; use f32", function,
                      pare_context_device(context)->name);
  if (rank < 0 || rank > PARE_MAX_RANK)
    return pare__fail(PARE_ERR_SHAPE, "%s: rank %d; 0 to %d are possible", function, rank, PARE_MAX_RANK);
  if (rank > 0 && !shape) return pare__fail_null(function, "shape");
  pare__shape checked;
  char text[PARE__SHAPE_TEXT];
  if (!pare__shape_set(&checked, rank, shape))
    return pare__fail(PARE_ERR_SHAPE, "%s: shape %s has a negative dimension or too many elements", function,
                      pare__shape_text(rank, shape, text, sizeof text));
  *nbytes = (size_t)pare__shape_elements(&checked) * pare_dtype_bytes(dtype);
  pare_tensor *tensor = calloc(1, sizeof *tensor);
  if (!tensor) return pare__fail_memory("a tensor", sizeof *tensor);
  tensor->dtype = dtype;
  tensor->shape = checked;
  tensor->context = context;
  pare__context_retain(context);
  *out = tensor;
  return PARE_OK;
}

static pare_status tensor_make(const char *function, pare_context *context, pare_dtype dtype, int rank,
                               const int64_t *shape, const char *what, pare_tensor **out) {
  size_t nbytes;
  PARE__TRY(tensor_new(function, context, dtype, rank, shape, out, &nbytes));
  pare_status status = pare__storage_create(context, nbytes, NULL, NULL, what, &(*out)->storage);
  if (status != PARE_OK) {
    pare_tensor_close(*out);
    *out = NULL;
  }
  return status;
}

pare_status pare_tensor_create(pare_context *context, pare_dtype dtype, int rank, const int64_t *shape,
                               pare_tensor **out) {
  return tensor_make("pare_tensor_create", context, dtype, rank, shape, "a tensor", out);
}

pare_status pare__tensor_scratch(pare_context *context, pare_dtype dtype, int rank, const int64_t *dim,
                                 const char *what, pare_tensor **out) {
  return tensor_make(what, context, dtype, rank, dim, what, out);
}

static pare_status check(const char *function, const pare_tensor *tensor) {
  if (!tensor) return pare__fail_null(function, "tensor");
  return pare__context_check(function, tensor->context);
}

static pare_status check_bytes(const char *function, const pare_tensor *tensor, const void *data, size_t nbytes) {
  PARE__TRY(check(function, tensor));
  size_t needed = (size_t)pare_tensor_elements(tensor) * pare_dtype_bytes(tensor->dtype);
  char text[PARE__SHAPE_TEXT];
  if (nbytes != needed)
    return pare__fail(PARE_ERR_SHAPE, "%s: a %s tensor of shape %s has %zu bytes, the memory given has %zu", function,
                      pare_dtype_name(tensor->dtype),
                      pare__shape_text(tensor->shape.rank, tensor->shape.dim, text, sizeof text), needed, nbytes);
  if (!data && needed > 0) return pare__fail_null(function, "data");
  return PARE_OK;
}

/* Not made and then written: a write waits for all that was submitted before. */
pare_status pare_tensor_from(pare_context *context, pare_dtype dtype, int rank, const int64_t *shape, const void *data,
                             size_t nbytes, pare_tensor **out) {
  size_t needed;
  PARE__TRY(tensor_new("pare_tensor_from", context, dtype, rank, shape, out, &needed));
  pare_status status = check_bytes("pare_tensor_from", *out, data, nbytes);
  const bool deferring = pare__tensors_defer(false); /* elements that are given need memory now */
  if (status == PARE_OK) status = pare__storage_create(context, needed, NULL, data, "a tensor", &(*out)->storage);
  pare__tensors_defer(deferring);
  if (status != PARE_OK) {
    pare_tensor_close(*out);
    *out = NULL;
  }
  return status;
}

pare_status pare_tensor_wrap(pare_context *context, pare_dtype dtype, int rank, const int64_t *shape, void *data,
                             size_t nbytes, pare_tensor **out) {
  size_t needed;
  PARE__TRY(tensor_new("pare_tensor_wrap", context, dtype, rank, shape, out, &needed));
  pare_status status = PARE_OK;
  if (!data && needed > 0)
    status = pare__fail_null("pare_tensor_wrap", "data");
  else if (nbytes != needed)
    status = pare__fail(PARE_ERR_SHAPE, "pare_tensor_wrap: the shape needs %zu bytes, the memory given has %zu", needed,
                        nbytes);
  else if ((uintptr_t)data % pare_dtype_bytes(dtype) != 0)
    status = pare__fail(PARE_ERR_ARGUMENT, "pare_tensor_wrap: the memory is not aligned to the %zu bytes of %s",
                        pare_dtype_bytes(dtype), pare_dtype_name(dtype));
  else
    status = pare__storage_create(context, needed, data, NULL, "wrapped memory", &(*out)->storage);
  if (status != PARE_OK) {
    pare_tensor_close(*out);
    *out = NULL;
  }
  return status;
}

void pare_tensor_close(pare_tensor *tensor) {
  if (!tensor) return;
  pare__storage_release(tensor->storage);
  pare__context_release(tensor->context);
  free(tensor);
}

/* The elements [*low, *high) of the storage that a view can touch. */
static void view_span(const pare_tensor *tensor, int64_t *low, int64_t *high) {
  *low = *high = tensor->offset;
  for (int i = 0; i < tensor->shape.rank; i++) {
    int64_t reach = (tensor->shape.dim[i] - 1) * tensor->shape.stride[i];
    *low += PARE__MIN(reach, 0);
    *high += PARE__MAX(reach, 0);
  }
  *high += 1;
}

typedef enum direction { READ, WRITE } direction;

static pare_status transfer_staged(pare_tensor *tensor, direction way, void *data) {
  size_t element = pare_dtype_bytes(tensor->dtype);
  PARE__TRY(pare__device_finish(tensor->storage->device));
  if (way == READ)
    pare__host_gather(&tensor->shape, tensor->offset, element, tensor->storage->host, data);
  else
    pare__host_scatter(&tensor->shape, tensor->offset, element, data, tensor->storage->host);
  return PARE_OK;
}

/* A strided view on the device travels with everything between its first and its last element. */
static pare_status transfer_strided(pare_tensor *tensor, direction way, void *data) {
  size_t element = pare_dtype_bytes(tensor->dtype);
  int64_t low, high;
  view_span(tensor, &low, &high);
  size_t nbytes = (size_t)(high - low) * element, start = tensor->storage->base + (size_t)low * element;
  void *span = malloc(nbytes);
  if (!span) return pare__fail_memory("a copy of a strided view", nbytes);
  pare_status status = pare__buffer_read(tensor->storage->buffer, start, nbytes, span);
  if (status == PARE_OK && way == READ) pare__host_gather(&tensor->shape, tensor->offset - low, element, span, data);
  if (status == PARE_OK && way == WRITE) {
    pare__host_scatter(&tensor->shape, tensor->offset - low, element, data, span);
    status = pare__buffer_write(tensor->storage->buffer, start, nbytes, span);
  }
  free(span);
  return status;
}

static void transfer_home(const pare_tensor *tensor, direction way, void *data) {
  pare__memory *memory = tensor->storage->memory;
  const size_t element = pare_dtype_bytes(tensor->dtype);
  const int64_t start = pare__tensor_start(tensor);
  if (way == READ) {
    pare__host_gather(&tensor->shape, start, element, memory->home, data);
    return;
  }
  pare__host_scatter(&tensor->shape, start, element, data, memory->home);
  pare__memory_written(memory, PARE__NO_MEMBER, pare__shape_range(&tensor->shape, start, element));
}

static pare_status transfer(pare_tensor *tensor, direction way, void *data, size_t nbytes) {
  if (nbytes == 0) return PARE_OK;
  if (tensor->storage->memory) {
    transfer_home(tensor, way, data);
    return PARE_OK;
  }
  if (tensor->storage->staged) return transfer_staged(tensor, way, data);
  if (!tensor->storage->buffer)
    return pare__fail(PARE_ERR_UNSUPPORTED, "the elements of a tensor are wanted while work is only being planned");
  if (!pare__shape_contiguous(&tensor->shape)) return transfer_strided(tensor, way, data);
  size_t start = (size_t)pare__tensor_start(tensor) * pare_dtype_bytes(tensor->dtype);
  return way == READ ? pare__buffer_read(tensor->storage->buffer, start, nbytes, data)
                     : pare__buffer_write(tensor->storage->buffer, start, nbytes, data);
}

pare_status pare_tensor_read(pare_tensor *tensor, void *data, size_t nbytes) {
  PARE__TRY(check_bytes("pare_tensor_read", tensor, data, nbytes));
  PARE__TRY(pare__tensor_settle(tensor, false));
  PARE__TRY(pare__tensor_poisoned(tensor));
  PARE__TRY(transfer(tensor, READ, data, nbytes));
  return pare__context_flags_check(tensor->context);
}

pare_status pare__tensor_read_done(pare_tensor *tensor, void *data, size_t nbytes) {
  const pare__storage *storage = tensor->storage;
  if (nbytes == 0 || storage->memory || storage->staged || !storage->buffer || !pare__shape_contiguous(&tensor->shape))
    return pare_tensor_read(tensor, data, nbytes);
  PARE__TRY(check_bytes("pare_tensor_read", tensor, data, nbytes));
  PARE__TRY(pare__tensor_poisoned(tensor));
  const size_t start = (size_t)pare__tensor_start(tensor) * pare_dtype_bytes(tensor->dtype);
  PARE__TRY(pare__buffer_read_done(storage->buffer, start, nbytes, data));
  return pare__context_flags_check_done(tensor->context);
}

pare_status pare_tensor_write(pare_tensor *tensor, const void *data, size_t nbytes) {
  PARE__TRY(check_bytes("pare_tensor_write", tensor, data, nbytes));
  if (tensor->read_only) return pare__fail(PARE_ERR_ARGUMENT, "pare_tensor_write: a broadcast view cannot be written");
  PARE__TRY(pare__tensor_settle(tensor, true));
  pare__tensor_heal(tensor);
  return transfer(tensor, WRITE, (void *)data, nbytes);
}

pare_status pare_tensor_sync(pare_tensor *tensor) {
  PARE__TRY(check("pare_tensor_sync", tensor));
  PARE__TRY(pare__tensor_settle(tensor, false));
  PARE__TRY(pare__tensor_poisoned(tensor));
  pare__memory *memory = tensor->storage->memory;
  if (memory) {
    /* its owner may write to it from now on: copies on devices would not know */
    if (!memory->owned) pare__memory_written(memory, PARE__NO_MEMBER, (pare__range){0, memory->nbytes});
    return pare__context_flags_check(tensor->context);
  }
  if (tensor->storage->staged || !tensor->storage->host)
    PARE__TRY(pare__device_finish(tensor->storage->device));
  else
    PARE__TRY(pare__buffer_sync(tensor->storage->buffer));
  return pare__context_flags_check(tensor->context);
}

pare_context *pare_tensor_context(const pare_tensor *tensor) { return tensor ? tensor->context : NULL; }
pare_dtype pare_tensor_dtype(const pare_tensor *tensor) { return tensor ? tensor->dtype : PARE_NDTYPES; }
int pare_tensor_rank(const pare_tensor *tensor) { return tensor ? tensor->shape.rank : 0; }
const int64_t *pare_tensor_shape(const pare_tensor *tensor) { return tensor ? tensor->shape.dim : NULL; }
const int64_t *pare_tensor_strides(const pare_tensor *tensor) { return tensor ? tensor->shape.stride : NULL; }
int64_t pare_tensor_elements(const pare_tensor *tensor) { return tensor ? pare__shape_elements(&tensor->shape) : 0; }
