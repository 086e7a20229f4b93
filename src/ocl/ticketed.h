/* Many launches as one, on CPU devices: work-groups claim tickets. SPDX-License-Identifier: Apache-2.0
 *
 * A launch that depends on another costs a driver a round through its threads, often more than the launch's own work.
 * A ticketed launch holds many: each of its few groups waits until the launches that the next ticket (some groups of
 * one of the launches, which are in topological order) depends on are done, claims it, works, and counts. Nobody waits
 * for what has not been claimed by a group that runs, so it ends however many groups run at once, be it one.
 *
 * The program is put together from the kernels' own sources, one part a kernel, linked (cl/ticketed.cl holds the loop).
 * A kernel can be a part if its work-groups have one item. */
#ifndef PARE_OCL_TICKETED_H
#define PARE_OCL_TICKETED_H

#include "ocl/capture.h"

/* Buffers that may differ from run to run are arguments of the launch: so many at most. The others are known by their
 * addresses, which stay the same while a buffer lives: true of drivers for CPUs, and tested (family_ticketed.c). */
#define PARE__MOST_MOVING 32

/* One launch in a graph. */
typedef struct pare__ticket_step {
  const pare__captured *launch;
  const uint32_t *after; /* steps that must be done before it, all earlier */
  size_t nafter;
} pare__ticket_step;

/* Can this launch be a step on this device? */
bool pare__ticketed_takes(pare__device *device, const pare__captured *launch);

/* A program that is not built yet: what it is made of. */
typedef struct pare__ticketed_parts pare__ticketed_parts;
/* The parts that these steps need; steps of other kernels in the same order need the same. */
pare_status pare__ticketed_parts_open(pare__device *device, const pare__ticket_step *steps, size_t nsteps,
                                      pare__ticketed_parts **out);
void pare__ticketed_parts_close(pare__ticketed_parts *parts); /* NULL is allowed */
/* 32 hex digits naming device, driver, sources and options. */
const char *pare__ticketed_parts_key(const pare__ticketed_parts *parts);
/* The program in memory, or from disk; *out NULL if there is none. */
pare_status pare__ticketed_find(const pare__ticketed_parts *parts, pare__program **out);
/* Builds it and keeps it on disk, if PARE_BINARIES does not say otherwise; takes seconds. PARE_ERR_KERNEL. */
pare_status pare__ticketed_build(const pare__ticketed_parts *parts, pare__program **out);
/* The same in a child process (ocl/child.h), which is not waited for; afterwards it can be found.
 * *child 0: nobody does; no binaries are kept, or it is a part of a device. */
pare_status pare__ticketed_build_start(const pare__ticketed_parts *parts, int64_t *child);
/* What that child does with the arguments after the device. */
pare_status pare__ticketed_build_named(pare__device *device, size_t nnames, char **names);

typedef struct pare__ticketed pare__ticketed;
/* Tables for these steps, in which `moving` are the buffers that may be others later. Blocking. */
pare_status pare__ticketed_open(const pare__ticketed_parts *parts, pare__program *program,
                                const pare__ticket_step *steps, size_t nsteps, const cl_mem *moving, size_t nmoving,
                                pare__ticketed **out);
/* Enqueues the steps [begin, end) as one launch; they depend on no others of this run that are not enqueued before.
 * moving[i] stands for number i of before. */
pare_status pare__ticketed_run(pare__ticketed *ticketed, size_t begin, size_t end, const cl_mem *moving);
void pare__ticketed_close(pare__ticketed *ticketed); /* NULL is allowed; what is enqueued ends as it should */

#endif
