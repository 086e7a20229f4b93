/* What is known of drivers beyond what they say. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_QUIRKS_H
#define PARE_OCL_QUIRKS_H

#include <stdbool.h>

typedef struct pare__quirks {
  const char *driver;   /* short name, for selectors and tables */
  const char *platform; /* part of the platform's name */
  const char *vendor;   /* part of the device's vendor; NULL: any */
  bool known;           /* false: nothing was ever tested on it; first runs go to a child process */
  bool every_type;      /* claims to be every type of device: taken as a CPU */
  bool late_binary; /* compiles at the first launch: a program's binary is worth saving again after its kernels ran */
  bool in_place;    /* computes in host memory that it is given: large buffers then lie on huge pages */
  bool simulator;   /* interprets kernels: takes no machine instructions */
} pare__quirks;

/* The row of a driver; the last row ("unknown") if there is no other. Never NULL. */
const pare__quirks *pare__quirks_find(const char *platform, const char *vendor);

#endif
