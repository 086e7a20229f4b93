/* Built programs and their kernels. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_PROGRAM_H
#define PARE_OCL_PROGRAM_H

#include "ocl/device.h"

typedef struct pare__grids pare__grids;

struct pare__kernel {
  pare__program *program;
  cl_kernel cl;
  char *entry;
  size_t max_group;
  size_t required_group[3]; /* zeros: any */
  pare__grids *grids;       /* ocl/grids.h; NULL: nobody asked yet */
  pare__kernel *next;
};

struct pare__program {
  pare__device *device;
  cl_program cl;
  char *file, *options;
  char key[33]; /* of its binary in the cache */
  bool unsaved; /* built here, or compiled further by a launch, since the binary was kept */
  pare__kernel *kernels;
  pare__program *next;
};

/* ---- for programs that are put together otherwise (ticketed_program.c); hold the device's lock ---- */

/* One that is open already; NULL: there is none. */
pare__program *pare__program_find(const pare__device *device, const char *file, const char *options);
/* One without code. */
pare_status pare__program_new(pare__device *device, const char *file, const char *options, pare__program **out);
/* Around every build: tells whoever watches the device's builds. */
void pare__program_tell(const pare__device *device, bool begins);
void pare__program_close(pare__program *program); /* NULL is allowed */
/* The device closes it from now on. */
void pare__program_add(pare__program *program);
/* From the binary that `key` names; false: there is none, or the driver does not take it, and there is no code yet. */
bool pare__program_load(pare__program *program);
/* Does anybody want the binaries of programs that are built on this device now? */
bool pare__program_worth_keeping(const pare__device *device);
/* Keeps the binary for the next process. No binary, or no cache, only costs time then. */
void pare__program_save(pare__program *program);
/* How large the binary is; 0: there is none. May compile. */
size_t pare__program_binary_bytes(const pare__program *program);
/* PARE_ERR_KERNEL with the head of the build log of `cl`. */
pare_status pare__program_fail_build(const pare__program *program, cl_int code);

#endif
