/* Floor 4, the seam: codelets, tasks, workers, and an executor without policy. SPDX-License-Identifier: Apache-2.0
 *
 * An operation on tensors is a codelet: how it runs over a range [begin, end) of its split axis on one device, and
 * which tensors it reads (whole or sliced) and writes. Floor 5 builds tasks and submits; what runs where, in how many
 * pieces and with which copies is decided here, so that operations need not change when there are more devices. */
#ifndef PARE_SCHED_SCHED_H
#define PARE_SCHED_SCHED_H

#include "kernel/kernel.h"
#include "tensor/context.h"
#include "tensor/tensor.h"

#define PARE__MAX_ACCESSES 10
#define PARE__WHOLE (-1)

typedef enum pare__mode { PARE__READ, PARE__WRITE, PARE__READ_WRITE } pare__mode;

/* One tensor of a task. axis = PARE__WHOLE, or the dimension that follows the split axis: a piece [begin, end) touches
 * [begin * per_step, min(end * per_step, its length)) of it. A tensor that is written must be sliced, or the task must
 * not be split (n = 1). */
typedef struct pare__access {
  pare_tensor *tensor; /* NULL: an optional tensor that is absent */
  pare__mode mode;
  int axis;
  int64_t per_step; /* 0 means 1 */
} pare__access;

/* A tensor as a piece sees it: already sliced and on the device. mem NULL if absent. */
typedef struct pare__binding {
  cl_mem mem;
  int64_t offset; /* of the first element of the piece, in elements */
  pare_dtype dtype;
  pare__shape shape; /* of the piece */
} pare__binding;

typedef struct pare__piece {
  pare_context *context; /* of this device alone */
  pare__device *device;
  int64_t begin, end, n;        /* of the split axis; n is the whole */
  const void *params;           /* the task's */
  const pare__binding *binding; /* one an access */
} pare__piece;

typedef struct pare__codelet {
  const char *name;
  /* Enqueues the work of one piece. The bits of every element must be the same for every way to split. */
  pare_status (*run)(const pare__piece *piece);
} pare__codelet;

typedef struct pare__task {
  const pare__codelet *codelet;
  pare_context *context;
  const void *params; /* copied if the task outlives the submission */
  size_t params_bytes;
  int64_t n;     /* length of the split axis; 1 = cannot be split; 0 = nothing to do */
  int64_t grain; /* pieces begin at multiples of it (0 means 1), e.g. rows of a tile */
  unsigned naccesses;
  unsigned in_place; /* bit i: access i may be the memory of the tensor written, if it has its shape and strides */
  pare__access access[PARE__MAX_ACCESSES];
  bool whole;            /* with several devices: it goes to one of them, also if it could be divided */
  bool uneven;           /* its steps may take unlike times */
  bool flags;            /* it may raise its flag (pare__context_flag) */
  int16_t priority;      /* with several devices: higher first */
  uint8_t resources;     /* the classes of devices that may run it (sched/policy.h); 0: any */
  const char *name;      /* NULL: the codelet's */
  const uint64_t *after; /* with several devices: jobs of their crew that must be done before */
  size_t nafter;
  uint64_t *id; /* gets its own; NULL: not wanted */
} pare__task;

/* Submits and returns. Errors of arguments (closed context, another process, another context's tensor) come back here;
 * errors of the work poison the tensors written and come back at read or wait. */
pare_status pare__submit(const pare__task *task);

/* Makes the shape of the whole that of the piece [begin, end), and returns where that begins in it, in elements. */
int64_t pare__slice(pare__shape *shape, int axis, int64_t per_step, int64_t begin, int64_t end);

/* ---- recording: work that is submitted later, and often ---- */

/* Tasks in order, with the tensors they use. */
typedef struct pare__recording pare__recording;
/* What this thread submits from now on is recorded, not run, and tensors that it makes have no memory
 * (pare__tensors_defer), until the end. Recordings do not nest. */
pare_status pare__recording_begin(pare__recording **out);
void pare__recording_end(pare__recording *recording);
void pare__recording_close(pare__recording *recording); /* NULL is allowed */
size_t pare__recording_tasks(const pare__recording *recording);
const pare__task *pare__recording_task(const pare__recording *recording, size_t index);
/* For the executor. */
bool pare__recording_active(void);
pare_status pare__recording_add(const pare__task *task);

/* ---- workers: a device as the executor sees it ---- */

typedef struct pare__worker pare__worker;
typedef struct pare__worker_class {
  const char *name;
  /* Enqueues one piece. */
  pare_status (*submit)(pare__worker *worker, const pare__codelet *codelet, const pare__piece *piece);
  /* Waits for what was submitted; *pending = pieces that are not done all the same. */
  pare_status (*poll)(pare__worker *worker, unsigned *pending);
  /* Copies between host memory and the start of a staging buffer, in order with the pieces. The host memory may be
   * reused on return. */
  pare_status (*copy)(pare__worker *worker, pare__buffer *buffer, void *host, size_t nbytes, bool to_device);
  const pare_device_info *(*info)(const pare__worker *worker);
} pare__worker_class;
struct pare__worker {
  const pare__worker_class *isa;
  pare__device *device;
};
pare__worker pare__opencl_worker(pare__device *device);

#endif
