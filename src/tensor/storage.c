/* Where the elements live. SPDX-License-Identifier: Apache-2.0 */
#include "tensor/storage.h"

#include <stdlib.h>

/* While this thread records work, the tensors that it makes have no memory yet. */
static _Thread_local bool deferring;

bool pare__tensors_defer(bool defer) {
  bool before = deferring;
  deferring = defer;
  return before;
}

pare_status pare__storage_create(pare__device *device, size_t nbytes, void *wrap, const char *what,
                                 pare__storage **out) {
  *out = NULL;
  pare__storage *storage = calloc(1, sizeof *storage);
  if (!storage) return pare__fail_memory("a tensor", sizeof *storage);
  atomic_init(&storage->references, 1);
  pthread_mutex_init(&storage->lock, NULL);
  storage->device = device;
  storage->nbytes = nbytes;
  storage->host = wrap;
  storage->staged = nbytes > pare__device_info(device)->max_buffer_bytes;

  storage->deferred = deferring && !wrap;

  pare_status status = PARE_OK;
  if (storage->deferred) {
    storage->staged = false;
  } else if (!storage->staged) {
    status = wrap && nbytes > 0 ? pare__buffer_wrap(device, wrap, nbytes, what, &storage->buffer)
                                : pare__buffer_create(device, nbytes, what, &storage->buffer);
  } else if (!wrap) {
    if (posix_memalign(&storage->host, 4096, nbytes) == 0) {
      storage->host_owned = true;
    } else {
      storage->host = NULL;
      status = pare__fail_memory(what, nbytes);
    }
  }
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
  if (storage->buffer && storage->host) (void)pare__buffer_sync(storage->buffer);
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

void pare__storage_bind(pare__storage *storage, pare__buffer *buffer, size_t base) {
  heal(storage);
  storage->base = base;
  if (buffer == storage->buffer) return;
  if (buffer) pare__buffer_retain(buffer);
  pare__buffer_release(storage->buffer);
  storage->buffer = buffer;
}

size_t pare__storage_bytes(const pare__storage *storage) { return storage->nbytes; }
bool pare__storage_deferred(const pare__storage *storage) { return storage->deferred; }

int64_t pare__tensor_start(const pare_tensor *tensor) {
  return tensor->offset + (int64_t)(tensor->storage->base / pare_dtype_bytes(tensor->dtype));
}

bool pare__tensor_on_device(const pare_tensor *tensor) { return !tensor->storage->staged; }

pare__buffer *pare__tensor_buffer(pare_tensor *tensor) { return tensor->storage->buffer; }

void *pare__tensor_host(pare_tensor *tensor) { return tensor->storage->staged ? tensor->storage->host : NULL; }

void pare__tensor_poison(pare_tensor *tensor, pare_status status) {
  pare__storage *storage = tensor->storage;
  pthread_mutex_lock(&storage->lock);
  if (storage->failed == PARE_OK) {
    storage->failed = status;
    storage->failure = pare__strdup(pare_message());
  }
  pthread_mutex_unlock(&storage->lock);
}

pare_status pare__tensor_poisoned(const pare_tensor *tensor) {
  pare__storage *storage = tensor->storage;
  pthread_mutex_lock(&storage->lock);
  pare_status status = storage->failed;
  if (status != PARE_OK)
    status = pare__fail_text(status, storage->failure ? storage->failure : pare_status_meaning(status));
  pthread_mutex_unlock(&storage->lock);
  return status;
}

void pare__tensor_heal(pare_tensor *tensor) {
  pare__storage *storage = tensor->storage;
  if ((size_t)pare__shape_elements(&tensor->shape) * pare_dtype_bytes(tensor->dtype) < storage->nbytes) return;
  heal(storage);
}
