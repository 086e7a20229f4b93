/* An arena: many small allocations that live and go together. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_BASE_ARENA_H
#define PARE_BASE_ARENA_H

#include "base/base.h"

/* All zero is an empty arena without a limit. Not thread-safe. */
typedef struct pare__arena {
  struct pare__arena_chunk *chunks; /* the newest first */
  size_t used, total_bytes, limit_bytes;
} pare__arena;

/* Zeroed, aligned for anything; nbytes 0 gives an address as well. PARE_ERR_MEMORY, also when the limit would be
 * passed. */
pare_status pare__arena_allocate(pare__arena *arena, size_t nbytes, void **out);
/* nbytes of text and a terminator. */
pare_status pare__arena_text(pare__arena *arena, const char *text, size_t nbytes, const char **out);
/* Releases all; the arena is empty and usable. */
void pare__arena_clear(pare__arena *arena);

#endif
