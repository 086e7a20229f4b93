/* Live OpenCL objects as the fault layer counts them. SPDX-License-Identifier: Apache-2.0 */
#include "objects.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct object {
  const void *handle;
  fault_kind kind;
  unsigned long references, number;
} object;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static object *objects;
static size_t count, capacity;
static unsigned long created[FAULT_NKINDS], misused;

static object *find(fault_kind kind, const void *handle) {
  for (size_t i = count; i-- > 0;)
    if (objects[i].handle == handle && objects[i].kind == kind) return &objects[i];
  return NULL;
}

/* Root devices may be retained and released at will: they have no references. */
static void note_misuse(fault_kind kind) {
  if (kind != FAULT_DEVICE) misused++;
}

void objects_add(fault_kind kind, const void *handle) {
  if (handle == NULL) return;
  pthread_mutex_lock(&lock);
  object *known = find(kind, handle);
  if (known != NULL) {
    known->references++;
  } else {
    if (count == capacity) {
      size_t wanted = capacity == 0 ? 64 : 2 * capacity;
      object *grown = realloc(objects, wanted * sizeof *grown);
      if (grown == NULL) abort();
      objects = grown;
      capacity = wanted;
    }
    objects[count++] = (object){.handle = handle, .kind = kind, .references = 1, .number = created[kind]++};
  }
  pthread_mutex_unlock(&lock);
}

void objects_retain(fault_kind kind, const void *handle) {
  pthread_mutex_lock(&lock);
  object *known = find(kind, handle);
  if (known != NULL)
    known->references++;
  else
    note_misuse(kind);
  pthread_mutex_unlock(&lock);
}

void objects_drop(fault_kind kind, const void *handle) {
  pthread_mutex_lock(&lock);
  object *known = find(kind, handle);
  if (known == NULL)
    note_misuse(kind);
  else if (--known->references == 0)
    *known = objects[--count];
  pthread_mutex_unlock(&lock);
}

unsigned long objects_number(fault_kind kind, const void *handle) {
  pthread_mutex_lock(&lock);
  object *known = find(kind, handle);
  unsigned long number = known != NULL ? known->number : 0;
  pthread_mutex_unlock(&lock);
  return number;
}

unsigned long objects_live(fault_kind kind) {
  unsigned long references = 0;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < count; i++)
    if (objects[i].kind == kind) references += objects[i].references;
  pthread_mutex_unlock(&lock);
  return references;
}

unsigned long objects_misused(void) {
  pthread_mutex_lock(&lock);
  unsigned long result = misused;
  pthread_mutex_unlock(&lock);
  return result;
}

const char *objects_kind_name(fault_kind kind) {
  static const char *const names[FAULT_NKINDS] = {
      [FAULT_DEVICE] = "sub-device", [FAULT_CONTEXT] = "context", [FAULT_QUEUE] = "queue", [FAULT_BUFFER] = "buffer",
      [FAULT_PROGRAM] = "program",   [FAULT_KERNEL] = "kernel",   [FAULT_EVENT] = "event"};
  return names[kind];
}
