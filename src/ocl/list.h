/* The list of devices as floor 1 sees it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_LIST_H
#define PARE_OCL_LIST_H

#include <pthread.h>

#include "ocl/ocl.h"
#include "ocl/quirks.h"

/* What stands behind an info: the driver's handles, and the strings, which the entry owns. */
typedef struct pare__device_entry {
  cl_platform_id platform;
  cl_device_id id;
  const pare__quirks *quirks;
  char *name, *vendor, *platform_name, *platform_version, *driver_version, *opencl_version, *extensions, *remark;
  char key[33];
  uint64_t driver_bytes; /* that loading the driver and listing its devices took, shared among them */
  bool probed;           /* capabilities are found out, not only asked for */
} pare__device_entry;

struct pare_device_list {
  pthread_mutex_t lock; /* held while a device is probed */
  size_t count, info_capacity, entry_capacity;
  pare_device_info *info; /* the selector reads this array alone */
  pare__device_entry *entry;
  char *left_out; /* why the first platform that failed is left out; NULL if none failed */
};

/* Fills the capabilities of one device, from the cache or by probing it: on `device`, which is the entry opened or a
 * part of it (a compiler may load slowly for every context, so one is better than two), or NULL to open one for the
 * purpose. */
pare_status pare__device_probe(pare_device_list *list, size_t index, pare__device *device);
/* The same for a table of devices: what goes wrong becomes the device's remark. */
pare_status pare__device_probe_or_remark(pare_device_list *list, size_t index);

/* Host memory that this process occupies now; 0 if the system does not say. */
uint64_t pare__resident_bytes(void);

#endif
