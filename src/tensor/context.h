/* The context: an open device, errors of work that nobody has seen yet, flags that kernels raise.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_TENSOR_CONTEXT_H
#define PARE_TENSOR_CONTEXT_H

#include <pare/context.h>

#include "ocl/ocl.h"

/* Checks that a context may be used: not NULL, open, in the process that opened it. PARE_ERR_ARGUMENT naming
 * `function`. */
pare_status pare__context_check(const char *function, const pare_context *context);
pare__device *pare__context_device(pare_context *context);

/* Tensors hold their context: the device closes with the last of them. */
void pare__context_retain(pare_context *context);
void pare__context_release(pare_context *context);

/* Records an error of work with this thread's message; pare_context_wait raises the first one. */
void pare__context_record(pare_context *context, pare_status status);

/* An int in device memory, zero, that a kernel sets to something else when it meets an index out of range. Whoever
 * waits next gets PARE_ERR_ARGUMENT naming `operation` (a literal) if it was set. Each operation keeps its flag as long
 * as the context lives, so that work may be recorded and run again. */
pare_status pare__context_flag(pare_context *context, const char *operation, cl_mem *mem, int64_t *offset);
/* After the queue is finished: raises the first flag that is set, and clears all. */
pare_status pare__context_flags_check(pare_context *context);

/* For tests of the law of splitting: every later submission is cut into `pieces` pieces (0 or 1: as usual). */
void pare__context_split(pare_context *context, int pieces);
int pare__context_pieces(const pare_context *context);

#endif
