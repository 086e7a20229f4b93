/* Seeing what a thread launches. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_CAPTURE_H
#define PARE_OCL_CAPTURE_H

#include "ocl/ocl.h"

typedef struct pare__captured {
  size_t mark;          /* the capture's when it was launched */
  pare__kernel *kernel; /* NULL: something else was done with the queue */
  size_t items;         /* of a group; 0: the driver chooses */
  size_t groups[3];     /* items, if the driver chooses */
  pare__args args;
} pare__captured;

typedef struct pare__capture {
  pare__device *device;
  size_t mark; /* set by the caller as he goes on */
  size_t count, capacity;
  pare__captured *launch;
  bool incomplete; /* memory ran out */
} pare__capture;

/* What this thread launches on the device is also noted, until the end; captures do not nest. */
void pare__capture_begin(pare__capture *capture, pare__device *device);
void pare__capture_end(pare__capture *capture);
void pare__capture_free(pare__capture *capture);

/* For this floor: where the event of a launch goes, NULL if nobody asked for it; a launch was enqueued; something else
 * was, or may be. */
cl_event *pare__capture_event(const pare__device *device);
void pare__capture_launch(const pare__device *device, pare__kernel *kernel, unsigned dims, const size_t *global,
                          const size_t *local, const pare__args *args);
void pare__capture_other(const pare__device *device);

#endif
