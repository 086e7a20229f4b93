/* Kernels whose grids may grow only while nobody else runs them. SPDX-License-Identifier: Apache-2.0
 *
 * PoCL below 6 keeps a kernel's code by its group and the largest grid that asked for it, and counts who runs each.
 * When a launch ends, it takes one off the first code of that kernel and group in its list, which may be another's: a
 * larger grid than all before, on one device, while the kernel runs on others, and counts go below zero, where PoCL
 * ends the process. (pocl_release_dlhandle_cache; 3.1 counts each beginning twice, so that it takes three devices,
 * others two.)
 *
 * So a grid that is new in this sense begins when no launch of the kernel is under way on any device of the process,
 * and others wait until it has begun: some launches early in a process's life. A call of the driver that does
 * not come back is waited for a second at most, a kernel ten: what hangs on one device does not hang on all. */
#ifndef PARE_OCL_GRIDS_H
#define PARE_OCL_GRIDS_H

#include "ocl/program.h"

/* One launch of a kernel; zero: it needs no turn. */
typedef struct pare__grid_turn {
  pare__device *device;
  pare__grids *grids; /* of the kernel, on all devices; NULL: it needs none */
  bool grows;
  cl_event event; /* of the launch, where the caller wants none */
} pare__grid_turn;

/* A device that is open counts: one alone has one queue, where a launch ends before the next begins. */
void pare__grids_join(pare__device *device);
/* Nothing of the device is under way any more. */
void pare__grids_part(pare__device *device);

/* Before a launch, which follows at once. */
void pare__grids_begin(pare__device *device, pare__kernel *kernel, unsigned dims, const size_t *global,
                       const size_t *local, pare__grid_turn *out);
/* After it, also when it failed: event is then NULL, else the launch's. PARE_ERR_DEVICE. */
pare_status pare__grids_end(pare__grid_turn *turn, cl_event event);

#endif
