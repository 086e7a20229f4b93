/* An OpenCL device as a worker: its in-order queue does the waiting. SPDX-License-Identifier: Apache-2.0 */
#include "sched/sched.h"

static pare_status worker_submit(pare__worker *worker, const pare__codelet *codelet, const pare__piece *piece) {
  (void)worker;
  return codelet->run(piece);
}

static pare_status worker_poll(pare__worker *worker, unsigned *pending) {
  *pending = 0;
  return pare__device_finish(worker->device);
}

static pare_status worker_copy(pare__worker *worker, pare__buffer *buffer, void *host, size_t nbytes, bool to_device) {
  (void)worker;
  return to_device ? pare__buffer_write(buffer, 0, nbytes, host) : pare__buffer_read(buffer, 0, nbytes, host);
}

static const pare_device_info *worker_info(const pare__worker *worker) { return pare__device_info(worker->device); }

static const pare__worker_class opencl_class = {"opencl", worker_submit, worker_poll, worker_copy, worker_info};

pare__worker pare__opencl_worker(pare__device *device) { return (pare__worker){&opencl_class, device}; }
