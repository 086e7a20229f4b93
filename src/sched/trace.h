/* Traces in Chrome's format, which Perfetto shows. SPDX-License-Identifier: Apache-2.0
 *
 * A device is a process, the first one of the number PARE__TRACE_PROCESS, the next of twice that, with three threads:
 * its work, which has the process's number, copies to it, and copies from it, which have the next ones. Times are
 * seconds. */
#ifndef PARE_SCHED_TRACE_H
#define PARE_SCHED_TRACE_H

#include "base/base.h"

typedef enum pare__trace_row { PARE__TRACE_WORK, PARE__TRACE_COPIES, PARE__TRACE_COPIES_BACK } pare__trace_row;
#define PARE__TRACE_PROCESS 10u

/* Several crews may write one. Failures come back when it is closed. */
typedef struct pare__trace pare__trace;
/* Nothing is at `path` before it is closed. PARE_ERR_IO. */
pare_status pare__trace_open(const char *path, pare__trace **out);
pare_status pare__trace_close(pare__trace *trace); /* NULL is allowed */
void pare__trace_cancel(pare__trace *trace);       /* leaves no file; NULL is allowed */

/* When it was opened, by pare__seconds: the seconds of slices count from then. */
double pare__trace_opened(const pare__trace *trace);
void pare__trace_device(pare__trace *trace, unsigned device, const char *name);
/* [begin, end) of a task's n steps; pieces begin at multiples of grain, and with grain >= n it is not split. Each step
 * has so much work, in the units of the performance model. All that the task needs was there at `ready`. Policies
 * reckon that a piece of the kernel costs `launch` besides its work on that device. */
typedef struct pare__trace_steps {
  int64_t begin, end, n, grain;
  double work, ready, launch;
} pare__trace_steps;
/* They ran from `from` until `until`. */
void pare__trace_work(pare__trace *trace, unsigned device, const char *name, const char *kind, double from,
                      double until, const pare__trace_steps *steps);
/* So many bytes were copied for [begin, end). */
void pare__trace_copy(pare__trace *trace, unsigned device, pare__trace_row row, const char *name, size_t nbytes,
                      double from, double until, int64_t begin, int64_t end);
/* What a piece that ended on one device made, another needs. */
void pare__trace_flow(pare__trace *trace, unsigned from_device, double from, unsigned to_device, double to);
/* Something that happened to a device. */
void pare__trace_mark(pare__trace *trace, unsigned device, const char *what, double at);

#endif
