/* Built programs and their kernels. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_PROGRAM_H
#define PARE_OCL_PROGRAM_H

#include "ocl/device.h"

struct pare__kernel {
  pare__program *program;
  cl_kernel cl;
  char *entry;
  size_t max_group;
  size_t required_group[3]; /* zeros: any */
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

#endif
