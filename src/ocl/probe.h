/* Finding out what a device can do by trying. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_PROBE_H
#define PARE_OCL_PROBE_H

#include "ocl/device.h"

/* What is tried, in the order of the results of cl/probe.cl. */
typedef enum pare__probe {
  PARE__PROBE_LOOP,
  PARE__PROBE_F16,
  PARE__PROBE_F64,
  PARE__PROBE_VECTOR_EXTENSIONS,
  PARE__PROBE_NONTEMPORAL_STORE,
  PARE__PROBE_INLINE_ASSEMBLY,
  PARE__PROBE_SUBGROUPS,
  PARE__PROBE_INTEGER_DOT,
  PARE__NPROBES
} pare__probe;

typedef struct pare__probe_result {
  unsigned passed; /* bit (1u << probe) */
  long loop_steps; /* that a loop of PARE__PROBE_STEPS made; 0 if it did not run */
  bool complete;   /* false: a driver call failed, and trying again may find more */
} pare__probe_result;
#define PARE__PROBE_FILE "probe.cl"
#define PARE__PROBE_STEPS 70000L

/* Tries everything that the device offers; what fails is not possible. `in_child`: every try in a process of its own,
 * for drivers that may die of it. PARE_ERR_KERNEL, PARE_ERR_IO if the kernel file is missing; what the driver says if
 * not even a plain kernel runs. */
pare_status pare__probe_device(pare__device *device, const char *extensions, bool in_child, pare__probe_result *out);

/* The child's side: the arguments are "probe", the device's selector and the set of probes. Returns the exit status. */
int pare__probe_main(int argc, char **argv);

#endif
