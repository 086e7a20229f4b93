/* Where the elements live. SPDX-License-Identifier: Apache-2.0 */
#include "tensor/storage.h"

#include <stdlib.h>
#include <string.h>

/* While this thread records work, the tensors that it makes have no memory yet. */
static _Thread_local bool deferring;

bool pare__tensors_defer(bool defer) {
  bool before = deferring;
  deferring = defer;
  return before;
}

/* The least of the devices' largest buffers. */
static uint64_t largest_buffer(pare_context *context) {
  uint64_t least = UINT64_MAX;
  for (size_t i = 0; i < pare__context_members(context); i++)
    least = PARE__MIN(least, pare_context_device(pare__context_member(context, i))->max_buffer_bytes);
  return least;
}

static pare_status take_memory(pare__storage *storage, size_t nbytes, void *wrap, const void *data, const char *what) {
  storage->host = wrap;
  if (!storage->staged && data) return pare__buffer_create_from(storage->device, data, nbytes, what, &storage->buffer);
  if (!storage->staged)
    return wrap && nbytes > 0 ? pare__buffer_wrap(storage->device, wrap, nbytes, what, &storage->buffer)
                              : pare__buffer_create(storage->device, nbytes, what, &storage->buffer);
  if (wrap || posix_memalign(&storage->host, 4096, nbytes) == 0) {
    storage->host_owned = !wrap;
    if (data) memcpy(storage->host, data, nbytes);
    return PARE_OK;
  }
  storage->host = NULL;
  return pare__fail_memory(what, nbytes);
}

static pare_status take_home(pare__storage *storage, pare_context *context, void *wrap, const void *data,
                             const char *what) {
  PARE__TRY(pare__memory_create(context, storage->nbytes, wrap, what, &storage->memory));
  if (!data || storage->nbytes == 0) return PARE_OK;
  memcpy(storage->memory->home, data, storage->nbytes);
  pare__memory_written(storage->memory, PARE__NO_MEMBER, (pare__range){0, storage->nbytes});
  return PARE_OK;
}

pare_status pare__storage_create(pare_context *context, size_t nbytes, void *wrap, const void *data, const char *what,
                                 pare__storage **out) {
  *out = NULL;
  pare__storage *storage = calloc(1, sizeof *storage);
  if (!storage) return pare__fail_memory("a tensor", sizeof *storage);
  atomic_init(&storage->references, 1);
  pthread_mutex_init(&storage->lock, NULL);
  storage->device = pare__context_device(context);
  storage->nbytes = nbytes;
  storage->staged = nbytes > largest_buffer(context);

  storage->deferred = deferring && !wrap && !data;

  pare_status status = PARE_OK;
  if (storage->deferred)
    storage->staged = false;
  else if (pare__context_members(context) > 1)
    status = take_home(storage, context, wrap, data, what);
  else
    status = take_memory(storage, nbytes, wrap, data, what);
  if (status != PARE_OK) {
    pare__storage_release(storage);
    return status;
  }
  *out = storage;
  return PARE_OK;
}

void pare__storage_retain(pare__storage *storage) {
  atomic_fetch_add_explicit(&storage->references, 1, memory_order_relaxed);
}

void pare__storage_release(pare__storage *storage) {
  if (!storage || atomic_fetch_sub_explicit(&storage->references, 1, memory_order_acq_rel) != 1) return;
  /* the caller may free wrapped memory as soon as the last handle is closed */
  pare__memory *memory = storage->memory;
  const bool in_use = !pare__forked(); /* what works on it works for the process that was forked */
  const pare__waiting *waiting = memory && !memory->owned ? pare__context_waiting(memory->context) : NULL;
  if (waiting && in_use) (void)waiting->memory(memory, 0, memory->nbytes, true);
  if (memory) atomic_fetch_add(&pare__context_residency(memory->context)->closed_bytes, memory->nbytes);
  pare__memory_release(memory);
  if (storage->buffer && storage->host && in_use) (void)pare__buffer_sync(storage->buffer);
  pare__buffer_release(storage->buffer);
  if (storage->host_owned) free(storage->host);
  pthread_mutex_destroy(&storage->lock);
  free(storage->failure);
  free(storage);
}

static void heal(pare__storage *storage) {
  pthread_mutex_lock(&storage->lock);
  storage->failed = PARE_OK;
  free(storage->failure);
  storage->failure = NULL;
  pthread_mutex_unlock(&storage->lock);
}

void pare__storage_bind(pare__storage *storage, pare_tensor *to, size_t base) {
  heal(storage);
  pare__buffer *buffer = to ? to->storage->buffer : NULL;
  pare__memory *memory = to ? to->storage->memory : NULL;
  storage->base = base;
  if (buffer != storage->buffer) {
    if (buffer) pare__buffer_retain(buffer);
    pare__buffer_release(storage->buffer);
    storage->buffer = buffer;
  }
  if (memory != storage->memory) {
    if (memory) pare__memory_retain(memory);
    pare__memory_release(storage->memory);
    storage->memory = memory;
  }
}

size_t pare__storage_bytes(const pare__storage *storage) { return storage->nbytes; }
bool pare__storage_deferred(const pare__storage *storage) { return storage->deferred; }

int64_t pare__tensor_start(const pare_tensor *tensor) {
  return tensor->offset + (int64_t)(tensor->storage->base / pare_dtype_bytes(tensor->dtype));
}

static pare__range range_of(const pare_tensor *tensor) {
  return pare__shape_range(&tensor->shape, pare__tensor_start(tensor), pare_dtype_bytes(tensor->dtype));
}

pare_status pare__tensor_settle(const pare_tensor *tensor, bool writing) {
  pare__memory *memory = tensor->storage->memory;
  const pare__waiting *waiting = memory ? pare__context_waiting(memory->context) : NULL;
  if (!waiting) return PARE_OK;
  const pare__range range = range_of(tensor);
  return waiting->memory(memory, range.low, range.high, writing);
}

bool pare__tensor_on_device(const pare_tensor *tensor) { return !tensor->storage->staged; }

pare__buffer *pare__tensor_buffer(pare_tensor *tensor) { return tensor->storage->buffer; }

void *pare__tensor_host(pare_tensor *tensor) { return tensor->storage->staged ? tensor->storage->host : NULL; }

pare__memory *pare__tensor_memory(const pare_tensor *tensor) { return tensor->storage->memory; }

void pare__tensor_poison(pare_tensor *tensor, pare_status status) {
  pare__storage *storage = tensor->storage;
  if (storage->memory) {
    pare__memory_poison(storage->memory, range_of(tensor), status);
    return;
  }
  pthread_mutex_lock(&storage->lock);
  if (storage->failed == PARE_OK) {
    storage->failed = status;
    storage->failure = pare__strdup(pare_message());
  }
  pthread_mutex_unlock(&storage->lock);
}

pare_status pare__tensor_poisoned(const pare_tensor *tensor) {
  pare__storage *storage = tensor->storage;
  if (storage->memory) return pare__memory_poisoned(storage->memory, range_of(tensor));
  pthread_mutex_lock(&storage->lock);
  pare_status status = storage->failed;
  if (status != PARE_OK)
    status = pare__fail_text(status, storage->failure ? storage->failure : pare_status_meaning(status));
  pthread_mutex_unlock(&storage->lock);
  return status;
}

void pare__tensor_heal(pare_tensor *tensor) {
  pare__storage *storage = tensor->storage;
  if (storage->memory) {
    if (pare__shape_dense(&tensor->shape)) pare__memory_heal(storage->memory, range_of(tensor));
    return;
  }
  if ((size_t)pare__shape_elements(&tensor->shape) * pare_dtype_bytes(tensor->dtype) < storage->nbytes) return;
  heal(storage);
}
