/* Ticketed launches, tested like any kernel (ocl/ticketed.h). SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_KERNEL_FAMILY_TICKETED_H
#define PARE_KERNEL_FAMILY_TICKETED_H

#include "kernel/kernel.h"

/* dim: elements, steps. Buffers: x, y and the room between two steps. */
enum { TICKETED_N, TICKETED_STEPS };
enum { TICKETED_X, TICKETED_Y, TICKETED_BETWEEN, TICKETED_NBUFFERS };

extern const pare__family pare__family_ticketed;

/* Is a ticketed launch right on this device? Tested at first use; the verdict is kept. */
pare_status pare__ticketed_trusted(pare__device *device, bool *trusted, char *reason, size_t capacity);

/* The child process of pare__ticketed_build_start: tests, then builds, so that its parent finds both on disk. */
int pare__ticketed_main(int argc, char **argv);

#endif
