/* What is known of drivers beyond what they say. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_QUIRKS_H
#define PARE_OCL_QUIRKS_H

#include <stdbool.h>

typedef struct pare__quirks {
  const char *driver;   /* short name, for selectors and tables */
  const char *platform; /* part of the platform's name */
  const char *device;   /* part of the device's name; NULL: any */
  bool known;           /* false: nothing was ever tested on it; first runs go to a child process */
  bool every_type;      /* claims to be every type of device: taken as a CPU */
  bool late_binary; /* compiles at the first launch: a program's binary is worth saving again after its kernels ran */
  bool in_place;    /* computes in host memory that it is given: large buffers then lie on huge pages */
  int grids_in_turn_below; /* version of the driver from which on a kernel's grid may grow at any time (ocl/grids.h) */
  bool group_compiler;     /* compiles a kernel for each size of a group; asked to choose one, it takes another for each
                              grid */
  bool late_release;       /* lets go of a command's event after clFinish returned, and looks into its device then */
  bool simulator;          /* interprets kernels: takes no machine instructions */
  bool soft_fma;     /* emulates fma by a hundred operations on integers, which compile for minutes; its mad rounds the
                        product, too, as a * b + c does, and self-tests tell where that is not enough */
  bool lane_vectors; /* takes vectors apart, lane by lane: long ones compile for minutes and gain nothing */
} pare__quirks;

/* The row of a driver; the last row ("unknown") if there is no other. Never NULL. */
const pare__quirks *pare__quirks_find(const char *platform, const char *device);

#endif
