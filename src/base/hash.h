/* 128-bit content hashes for cache keys (XXH3). SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_BASE_HASH_H
#define PARE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct pare__hash pare__hash; /* streaming state */
pare__hash *pare__hash_open(void);    /* NULL if out of memory */
void pare__hash_bytes(pare__hash *hash, const void *data, size_t nbytes);
void pare__hash_text(pare__hash *hash, const char *text); /* with its terminator, so that "a","b" differs from "ab" */
/* 32 hexadecimal digits and a terminator; closes the state. */
void pare__hash_close(pare__hash *hash, char hex[33]);

/* For hash tables in memory: may change from version to version. */
uint64_t pare__hash64(const void *data, size_t nbytes);

#endif
