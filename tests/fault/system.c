/* Makes the operating system fail the library: memory runs out, disks are full. SPDX-License-Identifier: Apache-2.0 */
#include "system.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static atomic_ulong allocations, failing;
static atomic_bool disk_full;

void system_fail_allocation(unsigned long nth) {
  atomic_store(&failing, nth);
  atomic_store(&allocations, 0);
}

unsigned long system_allocations(void) { return atomic_load(&allocations); }

void system_fill_disk(bool full) { atomic_store(&disk_full, full); }

static bool out_of_memory(void) { return atomic_fetch_add(&allocations, 1) + 1 == atomic_load(&failing); }

/* The names are the linker's: __wrap_X takes the calls of X, __real_X is X itself. */
#define WRAPPED(type, name, parameters) \
  type __real_##name parameters;        \
  type __wrap_##name parameters;        \
  type __wrap_##name parameters

WRAPPED(void *, malloc, (size_t nbytes)) { return out_of_memory() ? NULL : __real_malloc(nbytes); }
WRAPPED(void *, calloc, (size_t nitems, size_t nbytes)) {
  return out_of_memory() ? NULL : __real_calloc(nitems, nbytes);
}
WRAPPED(void *, realloc, (void *memory, size_t nbytes)) {
  return out_of_memory() ? NULL : __real_realloc(memory, nbytes);
}
WRAPPED(char *, strdup, (const char *text)) { return out_of_memory() ? NULL : __real_strdup(text); }
WRAPPED(int, posix_memalign, (void **out, size_t alignment, size_t nbytes)) {
  return out_of_memory() ? ENOMEM : __real_posix_memalign(out, alignment, nbytes);
}

WRAPPED(ssize_t, write, (int file, const void *data, size_t nbytes)) {
  if (!atomic_load(&disk_full)) return __real_write(file, data, nbytes);
  errno = ENOSPC;
  return -1;
}
