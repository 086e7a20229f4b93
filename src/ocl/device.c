/* Opening devices. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* Drivers of OpenCL 1.2 have no other way to make a queue. */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include "ocl/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ocl/capture.h"
#include "ocl/grids.h"

/* The device `wanted` of those that this division makes; the others are let go. */
static cl_int divide(cl_device_id whole, const cl_device_partition_property *how, cl_uint wanted, cl_device_id *out) {
  cl_uint count = 0;
  cl_int code = clCreateSubDevices(whole, how, 0, NULL, &count);
  if (code != CL_SUCCESS) return code;
  if (wanted >= count) return CL_INVALID_DEVICE_PARTITION_COUNT;
  cl_device_id *parts = calloc(count, sizeof(cl_device_id));
  if (!parts) return CL_OUT_OF_HOST_MEMORY;
  code = clCreateSubDevices(whole, how, count, parts, NULL);
  if (code == CL_SUCCESS) *out = parts[wanted];
  for (cl_uint i = 0; i < count && code == CL_SUCCESS; i++)
    if (i != wanted) clReleaseDevice(parts[i]);
  free(parts);
  return code;
}

/* Divides by counts, the units before the part being one division of their own; some drivers only divide equally. */
static pare_status open_part(pare__device *device, const pare_device_choice *choice) {
  cl_device_id part = NULL;
  cl_device_partition_property units = choice->compute_units, before = choice->first_unit;
  const cl_device_partition_property first[] = {CL_DEVICE_PARTITION_BY_COUNTS, units,
                                                CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
  const cl_device_partition_property later[] = {CL_DEVICE_PARTITION_BY_COUNTS, before, units,
                                                CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0};
  const cl_device_partition_property equally[] = {CL_DEVICE_PARTITION_EQUALLY, units, 0};
  cl_int code = divide(device->id, before ? later : first, before ? 1 : 0, &part);
  if (code != CL_SUCCESS && choice->first_unit % choice->compute_units == 0)
    code = divide(device->id, equally, choice->first_unit / choice->compute_units, &part);
  if (code != CL_SUCCESS)
    return pare__fail_cl(code, "clCreateSubDevices(%u compute units from unit %u of the %u of %s)",
                         choice->compute_units, choice->first_unit, device->info.compute_units, device->info.name);
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
  pare__grids_join(device);
  return PARE_OK;
}

static void locks_init(pare__device *device) {
  pthread_mutexattr_t recursive;
  pthread_mutexattr_init(&recursive);
  pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&device->lock, &recursive);
  pthread_mutexattr_destroy(&recursive);
  pthread_mutex_init(&device->launch_lock, NULL);
  pthread_mutex_init(&device->memory_lock, NULL);
}

static pare_status open_checked(const pare_device_list *list, const pare_device_choice *choice, pare__device *device) {
  const pare__device_entry *entry = &list->entry[choice->index];
  device->info = list->info[choice->index];
  device->quirks = entry->quirks;
  device->platform = entry->platform;
  device->id = entry->id;
  memcpy(device->key, entry->key, sizeof device->key);
  if (choice->nparts > 1) PARE__TRY(open_part(device, choice));
  return open_objects(device);
}

static pare_status open_device(const pare_device_list *list, const pare_device_choice *choice,
                               uint64_t memory_limit_bytes, pare__device **out) {
  pare__device *device = calloc(1, sizeof *device);
  if (!device) return pare__fail_memory("a device", sizeof *device);
  device->references = 1;
  device->limit_bytes = memory_limit_bytes;
  locks_init(device);
  uint64_t before = pare__resident_bytes();
  pare_status status = open_checked(list, choice, device);
  if (status != PARE_OK) {
    pare__device_close(device);
    return status;
  }
  uint64_t after = pare__resident_bytes();
  device->info.driver_bytes = list->entry[choice->index].driver_bytes + (after > before ? after - before : 0);
  *out = device;
  return PARE_OK;
}

static pare_status check_usable(const pare_device_list *list, size_t index) {
  const pare_device_info *info = &list->info[index];
  if (info->usable) return PARE_OK;
  return pare__fail(PARE_ERR_DEVICE, "device %zu, %s, is refused: %s", index, info->name, info->remark);
}

pare_status pare__device_open(pare_device_list *list, const pare_device_choice *choice, uint64_t memory_limit_bytes,
                              pare__device **out) {
  *out = NULL;
  if (!list || !choice || choice->index >= list->count || choice->compute_units == 0)
    return pare__fail(PARE_ERR_ARGUMENT, "pare__device_open: no such device");
  PARE__TRY(check_usable(list, choice->index));
  pare__device *device = NULL;
  pare_status status = open_device(list, choice, memory_limit_bytes, &device);
  if (!device) return status;
  status = pare__device_probe(list, choice->index, device);
  if (status == PARE_OK) status = check_usable(list, choice->index);
  if (status != PARE_OK) {
    pare__device_close(device);
    return status;
  }
  device->info.can = list->info[choice->index].can;
  device->info.remark = list->info[choice->index].remark;
  *out = device;
  return PARE_OK;
}

pare_status pare__device_open_bare(const pare_device_list *list, size_t index, pare__device **out) {
  *out = NULL;
  const pare_device_choice whole = {.index = index, .nparts = 1, .compute_units = list->info[index].compute_units};
  return open_device(list, &whole, 0, out);
}

/* Has a driver that is late_release let go of every event? Each holds the queue. 20 ms are long, but buffers that a
 * caller still holds may hold the event of their last command. */
static bool is_released(const pare__device *device, cl_command_queue queue) {
  const struct timespec pause = {.tv_nsec = 50000};
  if (!device->quirks->late_release || !queue) return true;
  for (int turn = 0; turn < 400; turn++) {
    cl_uint references = 0;
    const cl_int code = clGetCommandQueueInfo(queue, CL_QUEUE_REFERENCE_COUNT, sizeof references, &references, NULL);
    if (code == CL_SUCCESS && references <= 1) return true;
    nanosleep(&pause, NULL);
  }
  return false;
}

void pare__device_close(pare__device *device) {
  if (!device) return;
  if (device->attached) device->attached_close(device->attached);
  device->attached = NULL;
  if (device->queue) (void)pare__device_finish(device);
  if (device->pace.marker) clReleaseEvent(device->pace.marker);
  device->pace.marker = NULL;
  pare__grids_part(device);
  pare__programs_close(device);
  /* A part that an event still looks into stays: a few bytes lost are better than a crash. */
  cl_command_queue *const queues[] = {&device->queue, &device->copies[0], &device->copies[1]};
  for (size_t i = 0; i < PARE__COUNT(queues); i++) {
    if (device->part) device->part = is_released(device, *queues[i]);
    if (*queues[i]) clReleaseCommandQueue(*queues[i]);
    *queues[i] = NULL;
  }
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
  pthread_mutex_destroy(&device->launch_lock);
  pthread_mutex_destroy(&device->lock);
  free(device);
}

const pare_device_info *pare__device_info(const pare__device *device) { return &device->info; }

cl_context pare__device_context(const pare__device *device) { return device->context; }

/* Whoever asks for the queue works with it. */
cl_command_queue pare__device_queue(const pare__device *device) {
  pare__capture_other(device);
  return device->queue;
}

cl_device_id pare__device_id(const pare__device *device) { return device->id; }

cl_platform_id pare__device_platform(const pare__device *device) { return device->platform; }

const char *pare__device_key(const pare__device *device) { return device->key; }

void pare__device_lock(pare__device *device) { pthread_mutex_lock(&device->lock); }

void pare__device_unlock(pare__device *device) { pthread_mutex_unlock(&device->lock); }

pare_status pare__device_flush(pare__device *device) {
  cl_int code = clFlush(device->queue);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "clFlush on %s", device->info.name);
}

#define PAUSE 20e-6 /* seconds; a sleep takes thrice as long: who has no more is not worth one */

bool pare__event_wait(cl_event event, cl_int wanted, double until) {
  for (;; nanosleep(&(struct timespec){.tv_nsec = (long)(PAUSE * 1e9)}, NULL)) {
    cl_int state = CL_QUEUED;
    const cl_int code = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (code != CL_SUCCESS) return false;
    if (state <= wanted || pare__seconds() >= until) return state <= wanted && state >= CL_COMPLETE;
  }
}

bool pare__event_done(cl_event event, double seconds) {
  return pare__event_wait(event, CL_COMPLETE, pare__seconds() + fmin(seconds / 20, 1e-3) - PAUSE);
}

pare_status pare__device_marker(pare__device *device, cl_event *out) {
  *out = NULL;
  const cl_int code = clEnqueueMarkerWithWaitList(device->queue, 0, NULL, out);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "clEnqueueMarkerWithWaitList on %s", device->info.name);
}

struct pare__mark {
  pare__device *device;
  cl_event event;
};

pare_status pare__mark_set(pare__device *device, pare__mark **out) {
  pare__mark *mark = *out = calloc(1, sizeof *mark);
  if (!mark) return pare__fail_memory("a mark", sizeof *mark);
  mark->device = device;
  pare_status status = pare__device_marker(device, &mark->event);
  if (status == PARE_OK) status = pare__device_flush(device);
  if (status == PARE_OK) return PARE_OK;
  pare__mark_close(mark);
  *out = NULL;
  return status;
}

pare_status pare__mark_wait(const pare__mark *mark) {
  const cl_int code = clWaitForEvents(1, &mark->event);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "clWaitForEvents on %s", mark->device->info.name);
}

bool pare__mark_done(const pare__mark *mark, double seconds) { return pare__event_done(mark->event, seconds); }

void pare__mark_close(pare__mark *mark) {
  if (!mark) return;
  if (mark->event) clReleaseEvent(mark->event);
  free(mark);
}

bool pare__device_known(const pare__device *device) { return device->quirks->known; }

bool pare__device_soft_fma(const pare__device *device) { return device->quirks->soft_fma; }

void pare__device_watch_builds(pare__device *device, void (*watch)(bool begins)) { device->watch_builds = watch; }

bool pare__device_in_place(const pare__device *device) {
  return device->quirks->in_place && device->info.can.unified_memory;
}

void pare__device_lead(pare__device *device, pare__device *leader) { device->leader = leader; }
pare__device *pare__device_leader(const pare__device *device) { return device->leader; }

pare_status pare__device_finish(pare__device *device) {
  cl_int code = clFinish(device->queue);
  for (size_t way = 0; way < PARE__COUNT(device->copies); way++) { /* also when the work failed: nobody writes then */
    const cl_int copied = device->copies[way] ? clFinish(device->copies[way]) : CL_SUCCESS;
    if (code == CL_SUCCESS) code = copied;
  }
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "clFinish on %s", device->info.name);
}

/* The marker that was before the new one, to wait for; NULL: there is none yet, or nothing to wait for. */
static pare_status next_marker(pare__device *device, cl_event *before) {
  pare__pace *pace = &device->pace;
  cl_event marker;
  *before = NULL;
  PARE__TRY(pare__device_marker(device, &marker));
  *before = pace->marker;
  *pace = (pare__pace){.marker = marker};
  return PARE_OK;
}

pare_status pare__device_pace(pare__device *device) {
  cl_event before = NULL;
  pare_status status = PARE_OK;
  pthread_mutex_lock(&device->memory_lock);
  device->pace.tasks++;
  if (device->pace.tasks >= PARE__PACE_TASKS / 2 || device->pace.released_bytes >= PARE__PACE_BYTES / 2)
    status = next_marker(device, &before);
  pthread_mutex_unlock(&device->memory_lock);
  if (!before) return status;
  const cl_int code = clWaitForEvents(1, &before);
  clReleaseEvent(before);
  return code == CL_SUCCESS ? PARE_OK : pare__fail_cl(code, "clWaitForEvents on %s", device->info.name);
}

void pare__device_attach(pare__device *device, void *state, void (*close)(void *state)) {
  device->attached = state;
  device->attached_close = close;
}

void *pare__device_attached(const pare__device *device) { return device->attached; }
