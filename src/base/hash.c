/* 128-bit content hashes (XXH3). SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* The library's state under our name, so that its header stays in this file. */
static XXH3_state_t *state(pare__hash *hash) { return (XXH3_state_t *)hash; }

pare__hash *pare__hash_open(void) {
  XXH3_state_t *opened = XXH3_createState();
  if (opened) XXH3_128bits_reset(opened);
  return (pare__hash *)opened;
}

void pare__hash_bytes(pare__hash *hash, const void *data, size_t nbytes) {
  XXH3_128bits_update(state(hash), data, nbytes);
}

void pare__hash_text(pare__hash *hash, const char *text) { pare__hash_bytes(hash, text, strlen(text) + 1); }

void pare__hash_close(pare__hash *hash, char hex[33]) {
  XXH128_hash_t digest = XXH3_128bits_digest(state(hash));
  XXH3_freeState(state(hash));
  snprintf(hex, 33, "%016" PRIx64 "%016" PRIx64, digest.high64, digest.low64);
}

uint64_t pare__hash64(const void *data, size_t nbytes) { return XXH3_64bits(data, nbytes); }
