/* The elements behind tensors: one home, copies valid or not. Private to this floor.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_TENSOR_STORAGE_H
#define PARE_TENSOR_STORAGE_H

#include "tensor/memory.h"

struct pare__storage {
  atomic_int references;
  pthread_mutex_t lock; /* guards what follows */
  pare__device *device;
  pare__memory *memory; /* in a context with several devices, which has neither host nor buffer; NULL as buffer is */
  size_t nbytes;
  void *host; /* staged or wrapped memory; NULL otherwise */
  bool host_owned;
  bool staged;          /* home is the host: larger than the device's largest buffer */
  bool deferred;        /* has no memory of its own: bound to some while recorded work runs */
  pare__buffer *buffer; /* NULL if staged, or deferred and not bound */
  size_t base;          /* of element 0 in the buffer, in bytes; not 0 only if deferred */
  pare_status failed;   /* of the work that should have written it */
  char *failure;
};

/* wrap NULL: own memory, with a copy of `data` unless that is NULL. `what` names it if memory is short. */
pare_status pare__storage_create(pare_context *context, size_t nbytes, void *wrap, const void *data, const char *what,
                                 pare__storage **out);

#endif
