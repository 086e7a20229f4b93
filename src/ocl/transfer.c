/* Copies beside the work, on queues of their own, timed by the device. SPDX-License-Identifier: Apache-2.0
 *
 *     to device   [ a ][ b ]          each queue is in order
 *     work             [ work on a ][ work on b ]
 *     to host                        [ a ]       [ b ]
 *
 * What must be in order across queues is said by events: work waits for what was sent, what comes back for the work.
 * OpenCL says nothing of commands on two queues that touch different bytes of one buffer at once; drivers let them. */
/* Drivers of OpenCL 1.2 have no other way to make a queue. */
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <stdlib.h>

#include "ocl/device.h"

static pare_status queue_of(pare__device *device, pare__way way, cl_command_queue *out) {
  pare_status status = PARE_OK;
  cl_int code = CL_SUCCESS;
  pthread_mutex_lock(&device->launch_lock);
  cl_command_queue *queue = &device->copies[way];
  if (!*queue) *queue = clCreateCommandQueue(device->context, device->id, CL_QUEUE_PROFILING_ENABLE, &code);
  if (!*queue) status = pare__fail_cl(code, "clCreateCommandQueue for copies on %s", device->info.name);
  *out = *queue;
  pthread_mutex_unlock(&device->launch_lock);
  return status;
}

/* The list's next item and its queue; so nothing can fail once the copy is enqueued. */
static pare_status begin(pare__transfers *list, const pare__buffer *buffer, pare__way way, size_t nbytes,
                         cl_command_queue *queue) {
  void *items = list->item;
  const pare_status status = pare__array_grow(&items, &list->capacity, list->count, sizeof *list->item);
  list->item = items;
  PARE__TRY(status);
  list->item[list->count] = (pare__transfer){.way = way, .nbytes = nbytes, .asked = pare__seconds()};
  return queue_of(buffer->device, way, queue);
}

pare_status pare__buffer_send(pare__buffer *buffer, size_t offset, size_t nbytes, const void *data,
                              pare__transfers *list) {
  cl_command_queue queue;
  PARE__TRY(pare__buffer_check(buffer, "pare__buffer_send", offset, nbytes));
  if (nbytes == 0) return PARE_OK;
  PARE__TRY(begin(list, buffer, PARE__TO_DEVICE, nbytes, &queue));
  const cl_int code =
      clEnqueueWriteBuffer(queue, buffer->mem, CL_FALSE, offset, nbytes, data, 0, NULL, &list->item[list->count].done);
  if (code != CL_SUCCESS)
    return pare__fail_cl(code, "clEnqueueWriteBuffer(%zu bytes of %s) on %s", nbytes, buffer->what,
                         buffer->device->info.name);
  list->count++;
  return PARE_OK;
}

pare_status pare__buffer_bring(pare__buffer *buffer, size_t offset, size_t nbytes, void *data, cl_event after,
                               pare__transfers *list) {
  cl_command_queue queue;
  PARE__TRY(pare__buffer_check(buffer, "pare__buffer_bring", offset, nbytes));
  if (nbytes == 0) return PARE_OK;
  PARE__TRY(begin(list, buffer, PARE__TO_HOST, nbytes, &queue));
  const cl_int code = clEnqueueReadBuffer(queue, buffer->mem, CL_FALSE, offset, nbytes, data, after ? 1 : 0,
                                          after ? &after : NULL, &list->item[list->count].done);
  if (code != CL_SUCCESS)
    return pare__fail_cl(code, "clEnqueueReadBuffer(%zu bytes of %s) on %s", nbytes, buffer->what,
                         buffer->device->info.name);
  list->count++;
  return PARE_OK;
}

/* An event may be waited for on another queue only once its own was flushed. */
pare_status pare__transfers_flush(pare__device *device) {
  for (size_t way = 0; way < PARE__COUNT(device->copies); way++) {
    const cl_int code = device->copies[way] ? clFlush(device->copies[way]) : CL_SUCCESS;
    if (code != CL_SUCCESS) return pare__fail_cl(code, "clFlush of copies on %s", device->info.name);
  }
  return PARE_OK;
}

pare_status pare__transfers_before(pare__device *device, const pare__transfers *list) {
  if (list->count == 0) return PARE_OK;
  cl_event *sent = malloc(list->count * sizeof *sent);
  if (!sent) return pare__fail_memory("events of copies", list->count * sizeof *sent);
  for (size_t i = 0; i < list->count; i++) sent[i] = list->item[i].done;
  pare_status status = pare__transfers_flush(device);
  if (status == PARE_OK) {
    const cl_int code = clEnqueueBarrierWithWaitList(pare__device_queue(device), (cl_uint)list->count, sent, NULL);
    if (code != CL_SUCCESS) status = pare__fail_cl(code, "clEnqueueBarrierWithWaitList on %s", device->info.name);
  }
  free(sent);
  return status;
}

/* By the clock of this process: the device's own has another zero, but it, too, says when the copy was enqueued. */
static void note_times(pare__transfer *at) {
  static const cl_profiling_info what[] = {CL_PROFILING_COMMAND_QUEUED, CL_PROFILING_COMMAND_START,
                                           CL_PROFILING_COMMAND_END};
  cl_ulong ns[PARE__COUNT(what)] = {0};
  for (size_t i = 0; i < PARE__COUNT(what); i++)
    if (clGetEventProfilingInfo(at->done, what[i], sizeof ns[i], &ns[i], NULL) != CL_SUCCESS) return;
  if (ns[0] > ns[1] || ns[1] > ns[2]) return; /* a driver that says nothing sensible: the time stays unknown */
  at->from = at->asked + 1e-9 * (double)(ns[1] - ns[0]);
  at->until = at->from + 1e-9 * (double)(ns[2] - ns[1]);
}

pare_status pare__transfers_wait(const pare__device *device, pare__transfers *list) {
  for (size_t i = 0; i < list->count; i++) {
    pare__transfer *at = &list->item[i];
    const cl_int code = clWaitForEvents(1, &at->done);
    if (code != CL_SUCCESS)
      return pare__fail_cl(code, "clWaitForEvents(a copy of %zu bytes) on %s", at->nbytes, device->info.name);
    note_times(at);
  }
  return PARE_OK;
}

bool pare__transfers_pending(const pare__transfers *list) {
  for (size_t i = 0; i < list->count; i++) {
    cl_int state = CL_COMPLETE;
    const cl_int code =
        clGetEventInfo(list->item[i].done, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    if (code == CL_SUCCESS && state > CL_COMPLETE) return true;
  }
  return false;
}

void pare__transfers_release(pare__transfers *list) {
  for (size_t i = 0; i < list->count; i++)
    if (list->item[i].done) clReleaseEvent(list->item[i].done);
  for (size_t i = 0; i < list->count; i++) list->item[i].done = NULL;
}

void pare__transfers_close(pare__transfers *list) {
  pare__transfers_release(list);
  free(list->item);
  *list = (pare__transfers){0};
}

pare_status pare__buffer_read_done(pare__buffer *buffer, size_t offset, size_t nbytes, void *data) {
  pare__transfers list = {0};
  pare_status status = pare__buffer_bring(buffer, offset, nbytes, data, NULL, &list);
  if (status == PARE_OK) status = pare__transfers_wait(buffer->device, &list);
  pare__transfers_close(&list);
  return status;
}
