/* A context: the selected devices, their programs, their memory. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_CONTEXT_H
#define PARE_CONTEXT_H

#include <pare/device.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pare_context pare_context;

typedef struct pare_context_options {
  const char *device;          /* selector; NULL = PARE_DEVICE, else the default */
  uint64_t memory_limit_bytes; /* of device memory that pare takes; 0 = PARE_MEMORY ("512MiB"), else no limit of ours */
} pare_context_options;
#define PARE_CONTEXT_OPTIONS_INIT \
  { 0, 0 }

/* Opens the selected devices. Operations run on the first of them. Thread-safe: any thread may use the context.
 * After fork(2) the child must not use it: calls there fail with PARE_ERR_ARGUMENT.
 * PARE_ERR_SELECTOR, PARE_ERR_DEVICE, PARE_ERR_ARGUMENT (PARE_MEMORY malformed). On failure *out = NULL. */
PARE_API pare_status pare_context_open(const pare_context_options *options, pare_context **out);

/* Waits for pending work and closes. NULL is allowed. Tensors that outlive it may only be closed. */
PARE_API void pare_context_close(pare_context *context);

/* Waits until all submitted work is done; returns the first error of work that failed since the last wait. */
PARE_API pare_status pare_context_wait(pare_context *context);

/* The device that operations run on; NULL if context is NULL. */
PARE_API const pare_device_info *pare_context_device(const pare_context *context);

typedef struct pare_memory_usage {
  uint64_t in_use_bytes, peak_bytes, limit_bytes; /* limit 0: none of ours */
} pare_memory_usage;
/* Device memory that pare holds in this context. */
PARE_API pare_status pare_context_memory(const pare_context *context, pare_memory_usage *out);

#ifdef __cplusplus
}
#endif
#endif
