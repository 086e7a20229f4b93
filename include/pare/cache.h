/* The disk cache of programs, self-tests and tuning. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CACHE_H
#define PARE_CACHE_H

#include <pare/status.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_cache_info {
  char folder[4096];
  uint64_t bytes, files, limit_bytes;
} pare_cache_info;
PARE_API pare_status pare_cache_get(pare_cache_info *out);
PARE_API pare_status pare_cache_clear(uint64_t *nremoved);

#ifdef __cplusplus
}
#endif
#endif
