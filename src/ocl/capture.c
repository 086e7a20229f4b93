/* Seeing what a thread launches. SPDX-License-Identifier: Apache-2.0 */
#include "ocl/capture.h"

#include <stdlib.h>

static _Thread_local pare__capture *active;
static _Thread_local struct {
  const pare__device *device; /* NULL: nobody asked */
  cl_event event;             /* of the latest launch; NULL: something else came behind it */
} latest;

void pare__capture_begin(pare__capture *capture, pare__device *device) {
  *capture = (pare__capture){.device = device};
  active = capture;
}

void pare__capture_end(pare__capture *capture) {
  if (active == capture) active = NULL;
}

void pare__capture_free(pare__capture *capture) {
  free(capture->launch);
  *capture = (pare__capture){.device = capture->device};
}

static pare__captured *add(const pare__device *device) {
  if (!active || active->device != device) return NULL;
  if (pare__array_grow((void **)&active->launch, &active->capacity, active->count, sizeof *active->launch) != PARE_OK) {
    active->incomplete = true;
    return NULL;
  }
  pare__captured *launch = &active->launch[active->count++];
  *launch = (pare__captured){.mark = active->mark};
  return launch;
}

void pare__capture_launch(const pare__device *device, pare__kernel *kernel, unsigned dims, const size_t *global,
                          const size_t *local, const pare__args *args) {
  pare__captured *launch = add(device);
  if (!launch) return;
  launch->kernel = kernel;
  launch->items = local ? 1 : 0;
  for (unsigned d = 0; d < 3; d++) {
    const size_t items = local && d < dims ? local[d] : 1;
    launch->groups[d] = d < dims ? global[d] / items : 1;
    launch->items *= items;
  }
  launch->args = *args;
}

static void forget_latest(void) {
  if (latest.event) clReleaseEvent(latest.event);
  latest.event = NULL;
}

cl_event *pare__capture_event(const pare__device *device) {
  if (latest.device != device) return NULL;
  forget_latest();
  return &latest.event;
}

void pare__capture_other(const pare__device *device) {
  if (latest.device == device) forget_latest();
  (void)add(device);
}

void pare__events_keep(const pare__device *device) {
  forget_latest();
  latest.device = device;
}

pare_status pare__events_last(pare__device *device, cl_event *out) {
  const cl_event event = latest.event;
  latest.device = NULL;
  latest.event = NULL;
  if (out && !event) return pare__device_marker(device, out);
  if (out)
    *out = event;
  else if (event)
    clReleaseEvent(event);
  return PARE_OK;
}
