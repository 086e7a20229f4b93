/* Opening devices. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* Drivers of OpenCL 1.2 have no other way to make a queue. */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include "ocl/device.h"

#include <stdlib.h>
#include <string.h>

/* Makes part `part` of `nparts`. The choice tells the units of this part only; the parts of a selector are made by
 * equal division or one by one by counts, so that opening needs no other part. */
static pare_status open_part(pare__device *device, const pare_device_choice *choice) {
  cl_device_partition_property by_counts[] = {CL_DEVICE_PARTITION_BY_COUNTS, choice->compute_units,
                                              CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
  cl_device_id part = NULL;
  cl_int code = clCreateSubDevices(device->id, by_counts, 1, &part, NULL);
  if (code != CL_SUCCESS)
    return pare__fail_cl(code, "clCreateSubDevices(%u of the %u compute units of %s)", choice->compute_units,
                         device->info.compute_units, device->info.name);
  device->id = part;
  device->part = true;
  device->info.compute_units = choice->compute_units;
  return PARE_OK;
}

static pare_status open_objects(pare__device *device) {
  cl_int code = CL_SUCCESS;
  const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)device->platform, 0};
  device->context = clCreateContext(properties, 1, &device->id, NULL, NULL, &code);
  if (!device->context) return pare__fail_cl(code, "clCreateContext on %s", device->info.name);
  device->queue = clCreateCommandQueue(device->context, device->id, 0, &code);
  if (!device->queue) return pare__fail_cl(code, "clCreateCommandQueue on %s", device->info.name);
  return PARE_OK;
}

static void locks_init(pare__device *device) {
  pthread_mutexattr_t recursive;
  pthread_mutexattr_init(&recursive);
  pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&device->lock, &recursive);
  pthread_mutexattr_destroy(&recursive);
  pthread_mutex_init(&device->memory_lock, NULL);
}

static pare_status open_checked(pare_device_list *list, const pare_device_choice *choice, pare__device *device) {
  const pare__device_entry *entry = &list->entry[choice->index];
  if (!list->info[choice->index].usable)
    return pare__fail(PARE_ERR_DEVICE, "device %zu, %s, is refused: %s", choice->index, entry->name,
                      list->info[choice->index].remark);
  PARE__TRY(pare__device_probe(list, choice->index));
  device->info = list->info[choice->index];
  device->quirks = entry->quirks;
  device->platform = entry->platform;
  device->id = entry->id;
  memcpy(device->key, entry->key, sizeof device->key);
  if (choice->nparts > 1) PARE__TRY(open_part(device, choice));
  return open_objects(device);
}

pare_status pare__device_open(pare_device_list *list, const pare_device_choice *choice, uint64_t memory_limit_bytes,
                              pare__device **out) {
  *out = NULL;
  if (!list || !choice || choice->index >= list->count)
    return pare__fail(PARE_ERR_ARGUMENT, "pare__device_open: no such device");
  pare__device *device = calloc(1, sizeof *device);
  if (!device) return pare__fail_memory("a device", sizeof *device);
  device->references = 1;
  device->limit_bytes = memory_limit_bytes;
  locks_init(device);
  pare_status status = open_checked(list, choice, device);
  if (status != PARE_OK) {
    pare__device_close(device);
    return status;
  }
  *out = device;
  return PARE_OK;
}

void pare__device_close(pare__device *device) {
  if (!device) return;
  if (device->attached) device->attached_close(device->attached);
  device->attached = NULL;
  if (device->queue) clFinish(device->queue);
  pare__programs_close(device);
  if (device->queue) clReleaseCommandQueue(device->queue);
  device->queue = NULL;
  if (device->context) clReleaseContext(device->context);
  device->context = NULL;
  if (device->part) clReleaseDevice(device->id);
  device->part = false;
  pare__device_unreference(device);
}

void pare__device_unreference(pare__device *device) {
  pthread_mutex_lock(&device->memory_lock);
  bool last = --device->references == 0;
  pthread_mutex_unlock(&device->memory_lock);
  if (!last) return;
  pthread_mutex_destroy(&device->memory_lock);
  pthread_mutex_destroy(&device->lock);
  free(device);
}

const pare_device_info *pare__device_info(const pare__device *device) { return &device->info; }

cl_context pare__device_context(const pare__device *device) { return device->context; }

cl_command_queue pare__device_queue(const pare__device *device) { return device->queue; }

cl_device_id pare__device_id(const pare__device *device) { return device->id; }

cl_platform_id pare__device_platform(const pare__device *device) { return device->platform; }

const char *pare__device_key(const pare__device *device) { return device->key; }

void pare__device_lock(pare__device *device) { pthread_mutex_lock(&device->lock); }

void pare__device_unlock(pare__device *device) { pthread_mutex_unlock(&device->lock); }

pare_status pare__device_flush(pare__device *device) {
  cl_int code = clFlush(device->queue);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "clFlush on %s", device->info.name);
}

pare_status pare__device_finish(pare__device *device) {
  cl_int code = clFinish(device->queue);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "clFinish on %s", device->info.name);
}

void pare__device_attach(pare__device *device, void *state, void (*close)(void *state)) {
  device->attached = state;
  device->attached_close = close;
}

void *pare__device_attached(const pare__device *device) { return device->attached; }
