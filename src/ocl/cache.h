/* Programs and notes on disk. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_CACHE_H
#define PARE_OCL_CACHE_H

#include "ocl/device.h"

/* What the scheduler has learned of the devices' speed lies in the same folder, written and read by it. */
#define PARE__CACHE_PERFORMANCE "performance.json"

typedef enum pare__cache_kind { PARE__CACHE_PROGRAM, PARE__CACHE_NOTE } pare__cache_kind;

/* The entry `key` (32 hex digits); *out is malloc'ed with a terminator after its bytes. false: there is none. A corrupt
 * or foreign entry counts as none and is said in the log. */
bool pare__cache_read(pare__cache_kind kind, const char *key, char **out, size_t *nbytes);

/* Adds or replaces an entry, and removes the least recently used ones over the limit. A folder that does not work is
 * said in the log once for the device and is no error of the caller: his message stays. false: not kept. */
bool pare__cache_write(pare__device *device, pare__cache_kind kind, const char *key, const void *data, size_t nbytes);

/* Forgets an entry that the driver did not take. */
void pare__cache_remove(pare__cache_kind kind, const char *key);

#endif
