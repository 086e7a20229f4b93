/* Arenas: chunks, filled one after the other. SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)64 << 10)
#define ALIGNMENT _Alignof(max_align_t)

struct pare__arena_chunk {
  struct pare__arena_chunk *next;
  size_t capacity;
  _Alignas(max_align_t) unsigned char bytes[];
};

static pare_status add_chunk(pare__arena *arena, size_t capacity) {
  size_t nbytes;
  if (!pare__size_add(sizeof(struct pare__arena_chunk), capacity, &nbytes)) nbytes = SIZE_MAX;
  if (arena->limit_bytes && (nbytes > arena->limit_bytes || arena->total_bytes > arena->limit_bytes - nbytes))
    return pare__fail(PARE_ERR_MEMORY, "%zu more bytes would pass the limit of %zu bytes", nbytes, arena->limit_bytes);
  struct pare__arena_chunk *chunk = calloc(1, nbytes);
  if (!chunk) return pare__fail_memory("a part of an arena", nbytes);
  chunk->capacity = capacity;
  chunk->next = arena->chunks;
  arena->chunks = chunk;
  arena->used = 0;
  arena->total_bytes += nbytes;
  return PARE_OK;
}

pare_status pare__arena_allocate(pare__arena *arena, size_t nbytes, void **out) {
  *out = NULL;
  size_t padded;
  if (!pare__size_add(nbytes, ALIGNMENT - 1, &padded)) return pare__fail_memory("a part of an arena", nbytes);
  padded -= padded % ALIGNMENT;
  if (!arena->chunks || arena->chunks->capacity - arena->used < padded)
    PARE__TRY(add_chunk(arena, PARE__MAX(padded, CHUNK_BYTES)));
  *out = arena->chunks->bytes + arena->used;
  arena->used += padded;
  return PARE_OK;
}

pare_status pare__arena_text(pare__arena *arena, const char *text, size_t nbytes, const char **out) {
  void *copy;
  *out = NULL;
  PARE__TRY(pare__arena_allocate(arena, nbytes + 1, &copy));
  if (nbytes > 0) memcpy(copy, text, nbytes);
  *out = copy;
  return PARE_OK;
}

void pare__arena_clear(pare__arena *arena) {
  while (arena->chunks) {
    struct pare__arena_chunk *chunk = arena->chunks;
    arena->chunks = chunk->next;
    free(chunk);
  }
  arena->used = arena->total_bytes = 0;
}
