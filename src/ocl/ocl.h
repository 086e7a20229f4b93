/* Floor 1: devices, programs, buffers, launches. Knows nothing of tensors. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_OCL_H
#define PARE_OCL_OCL_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#endif
#include <CL/cl.h>
#include <pare/cache.h>
#include <pare/device.h>

#include "base/base.h"

/* ---- errors ---- */

const char *pare__cl_name(
    cl_int code); /* "CL_OUT_OF_RESOURCES"; "CL error -12345" is never lost: unknown codes give "CL_UNKNOWN" */
/* PARE_ERR_LIMIT for allocation failures, else PARE_ERR_DEVICE: "clCreateBuffer(4096 bytes): CL_OUT_OF_RESOURCES (-5)".
 * `format` names the call with what matters of its arguments. */
pare_status pare__fail_cl(cl_int code, const char *format, ...) PARE__PRINTF(2, 3);

/* Has another process, of which this one is a fork, used OpenCL? Drivers do not survive that: their threads are not
 * here and their locks may be held. Nothing of theirs may be called any more, not even to release it. */
bool pare__forked(void);

/* ---- an open device: one context, an in-order queue for work, programs, accounted memory ---- */

typedef struct pare__device pare__device;
typedef struct pare__program pare__program;
typedef struct pare__kernel pare__kernel;

/* Opens the choice (a sub-device if nparts > 1). memory_limit_bytes 0 = none. The list stays open while the device is
 * used. */
pare_status pare__device_open(pare_device_list *list, const pare_device_choice *choice, uint64_t memory_limit_bytes,
                              pare__device **out);
void pare__device_close(pare__device *device); /* waits; NULL allowed; then releases programs, queue, context */

const pare_device_info *pare__device_info(const pare__device *device); /* of the sub-device: units are its own */
cl_context pare__device_context(const pare__device *device);
cl_command_queue pare__device_queue(const pare__device *device);
cl_device_id pare__device_id(const pare__device *device);
cl_platform_id pare__device_platform(const pare__device *device);
/* 32 hex digits naming device, driver, version, platform, options that matter: equal on the same device and driver
 * version only. */
const char *pare__device_key(const pare__device *device);

void pare__device_lock(pare__device *device); /* recursive; of programs, kernels, and what is known of the device */
void pare__device_unlock(pare__device *device);
pare_status pare__device_flush(pare__device *device);
/* An event behind all that was enqueued so far; the caller's. */
pare_status pare__device_marker(pare__device *device, cl_event *out);
/* Between these the event of this thread's latest launch on the device is kept: if nothing else came behind it, that is
 * an event behind all, for which no driver has to wake a thread as for a marker. out NULL: it is not wanted any more.
 */
void pare__events_keep(const pare__device *device);
pare_status pare__events_last(pare__device *device, cl_event *out);
/* A marker, flushed, with its device. */
typedef struct pare__mark pare__mark;
pare_status pare__mark_set(pare__device *device, pare__mark **out);
pare_status pare__mark_wait(const pare__mark *mark); /* PARE_ERR_DEVICE */
/* Is it done, where the calls that enqueued it took so many seconds? As pare__event_done. */
bool pare__mark_done(const pare__mark *mark, double seconds);
void pare__mark_close(pare__mark *mark); /* NULL is allowed */
/* Is done what the event is of, whose queue was flushed, and which calls enqueued that took so many seconds? Drivers
 * that work inside of these calls may need a moment to say so, which is waited for: a twentieth of that time, a
 * millisecond at most. No also where the driver cannot tell. */
bool pare__event_done(cl_event event, double seconds);
pare_status pare__device_finish(pare__device *device); /* clFinish, checked; copies, too */
/* Called after each task that was submitted: no more than PARE__PACE_TASKS are left unfinished, and no more than
 * PARE__PACE_BYTES of buffers that only they still use, by waiting for the oldest half. The queue does not run empty
 * meanwhile. */
#define PARE__PACE_TASKS 128
#define PARE__PACE_BYTES ((uint64_t)64 << 20)
pare_status pare__device_pace(pare__device *device);
/* Is its driver one that pare is tested on? What an unknown one may not survive is first done in a child process. */
bool pare__device_known(const pare__device *device);
/* Is its fma so slow that kernels take mad instead, which rounds twice? */
bool pare__device_soft_fma(const pare__device *device);
/* Calls `watch` before and after each build of a program; NULL: no more. */
void pare__device_watch_builds(pare__device *device, void (*watch)(bool begins));
/* Does it compute in host memory that it is given, without any copy, also when others do so beside it? */
bool pare__device_in_place(const pare__device *device);
/* A device that chooses kernels for both, where they suit this one as well: then both give the same bits. Before it is
 * used. */
void pare__device_lead(pare__device *device, pare__device *leader);
pare__device *pare__device_leader(const pare__device *device); /* NULL if it has none */

/* One object of a higher floor that lives and dies with the device; `close` runs in pare__device_close, while the queue
 * still works. */
void pare__device_attach(pare__device *device, void *state, void (*close)(void *state));
void *pare__device_attached(const pare__device *device); /* NULL if there is none */

/* ---- memory ---- */

typedef struct pare__buffer pare__buffer; /* accounted against the device's limit; counted references */
/* nbytes 0 gives a buffer of the smallest size. `what` names it in the error. Over the limit: PARE_ERR_LIMIT with
 * asked, in use, limit, and the largest holders by what; nothing changes. Over the device's largest buffer:
 * PARE_ERR_LIMIT. */
pare_status pare__buffer_create(pare__device *device, size_t nbytes, const char *what, pare__buffer **out);
/* Over host memory (CL_MEM_USE_HOST_PTR). */
pare_status pare__buffer_wrap(pare__device *device, void *host, size_t nbytes, const char *what, pare__buffer **out);
void pare__buffer_retain(pare__buffer *buffer);
void pare__buffer_release(pare__buffer *buffer); /* NULL allowed */
cl_mem pare__buffer_mem(const pare__buffer *buffer);
size_t pare__buffer_bytes(const pare__buffer *buffer);
/* Blocking; in queue order after everything enqueued so far. */
pare_status pare__buffer_read(pare__buffer *buffer, size_t offset, size_t nbytes, void *data);
/* The same of what is known to be there, whatever was enqueued since. */
pare_status pare__buffer_read_done(pare__buffer *buffer, size_t offset, size_t nbytes, void *data);
/* A buffer that has these bytes from the start: unlike a write, nothing on the queue is waited for. */
pare_status pare__buffer_create_from(pare__device *device, const void *data, size_t nbytes, const char *what,
                                     pare__buffer **out);
pare_status pare__buffer_write(pare__buffer *buffer, size_t offset, size_t nbytes, const void *data);
/* Map for reading and unmap: makes a wrapped host pointer current. Blocking. */
pare_status pare__buffer_sync(pare__buffer *buffer);
void pare__device_memory(const pare__device *device, uint64_t *in_use, uint64_t *peak, uint64_t *limit);
/* From now on the most that is in use is noted; what is in use now. Another thread's watch begins it anew. */
uint64_t pare__device_watch(pare__device *device);
uint64_t pare__device_watched(pare__device *device);

/* ---- copies beside the work (transfer.c) ----
 *
 * They lie on queues of their own, one for each way, so that they overlap with work, and wait for nothing but what they
 * are told. The caller keeps in order what touches the same bytes. */

typedef enum pare__way { PARE__TO_DEVICE, PARE__TO_HOST } pare__way;
typedef struct pare__transfer {
  cl_event done;
  pare__way way;
  size_t nbytes;
  double asked; /* when it was enqueued, by pare__seconds */
  double from,
      until; /* when the device began and ended it, by the same clock; known once it was waited for; 0: never */
} pare__transfer;
typedef struct pare__transfers { /* all zero is none */
  pare__transfer *item;
  size_t count, capacity;
} pare__transfers;

/* Enqueue a copy and add it to the list. `data` must stay as it is until the copy is done. after: an event of the work
 * whose queue is flushed before anybody waits, or NULL. */
pare_status pare__buffer_send(pare__buffer *buffer, size_t offset, size_t nbytes, const void *data,
                              pare__transfers *list);
pare_status pare__buffer_bring(pare__buffer *buffer, size_t offset, size_t nbytes, void *data, cl_event after,
                               pare__transfers *list);
/* Work that is enqueued from now on begins when these are done. */
pare_status pare__transfers_before(pare__device *device, const pare__transfers *list);
pare_status pare__transfers_flush(pare__device *device);
/* Waits, then knows the times. PARE_ERR_DEVICE. */
pare_status pare__transfers_wait(const pare__device *device, pare__transfers *list);
bool pare__transfers_pending(const pare__transfers *list);
void pare__transfers_release(pare__transfers *list); /* the events; sizes and times stay */
void pare__transfers_close(pare__transfers *list);

/* ---- programs ---- */

/* The program of a .cl file (found by pare__kernel_path, includes resolved beside it) with these build options, e.g.
 * "-DMR=6 -DVW=8"; kept in memory per device and on disk. Fast-math only if `options` asks for it.
 * PARE_ERR_KERNEL: missing file, or file:line and the head of the build log. */
pare_status pare__program_get(pare__device *device, const char *file, const char *options, pare__program **out);
/* A kernel by entry name; owned by the program; PARE_ERR_KERNEL if there is none. It stays until the device is closed.
 */
pare_status pare__kernel_get(pare__program *program, const char *entry, pare__kernel **out);
size_t pare__kernel_max_group(const pare__kernel *kernel);
/* 32 hex digits naming the content of a .cl file with everything it includes; kept in memory. PARE_ERR_KERNEL,
 * PARE_ERR_IO. */
pare_status pare__source_hash(pare__device *device, const char *file, char hex[33]);
/* Adds the small result of a self-test beside the program's binary in the disk cache, and finds it again. */
pare_status pare__note_write(pare__device *device, const char *key, const char *text);
/* *out malloc'ed, NULL if there is none. */
pare_status pare__note_read(pare__device *device, const char *key, char **out);
/* Around a note that is read, changed and written: other processes that do the same wait. -1: there is no cache folder
 * to lock; nothing is lost then, for nothing is kept. */
int pare__notes_lock(void);
void pare__notes_unlock(int lock); /* -1 is allowed */

/* ---- what is made once ---- */

/* How often this thread made what stays: a program, a kernel, a choice of one, a plan. A time in which it did tells
 * nothing about the speed of the work itself. */
uint64_t pare__preparations(void);
/* One more. */
void pare__prepared(void);

/* ---- launches ---- */

#define PARE__MAX_ARGS 48
/* One letter a type of argument: a kernel's signature is a word. */
enum {
  PARE__ARG_INT = 'i',
  PARE__ARG_UINT = 'u',
  PARE__ARG_LONG = 'l',
  PARE__ARG_ULONG = 'U',
  PARE__ARG_FLOAT = 'f',
  PARE__ARG_DOUBLE = 'd',
  PARE__ARG_MEM = 'm',
  PARE__ARG_LOCAL = 'w',
  PARE__ARG_LONG8 = '8'
};
/* Arguments in order; a type a push function. */
typedef struct pare__args {
  unsigned count;
  struct {
    size_t nbytes;
    char kind;
    union {
      cl_int i;
      cl_uint u;
      cl_long l;
      cl_ulong ul;
      cl_float f;
      cl_double d;
      cl_mem m;
      cl_long l8[8];
    } value;
  } item[PARE__MAX_ARGS];
} pare__args;
void pare__arg_int(pare__args *args, int32_t value);
void pare__arg_uint(pare__args *args, uint32_t value);
void pare__arg_long(pare__args *args, int64_t value);
void pare__arg_ulong(pare__args *args, uint64_t value);
void pare__arg_float(pare__args *args, float value);
void pare__arg_double(pare__args *args, double value);
void pare__arg_mem(pare__args *args, cl_mem value); /* NULL allowed: a null global pointer */
void pare__arg_local(pare__args *args, size_t nbytes);
void pare__arg_long8(pare__args *args, const int64_t value[8]); /* a long8: dimensions, strides */

/* Sets the arguments and enqueues; one thread after the other. dims 1..3. local NULL: the kernel's reqd_work_group_size
 * or the driver's choice. A global size of 0 in any dimension enqueues nothing. Asynchronous. */
pare_status pare__launch(pare__device *device, pare__kernel *kernel, unsigned dims, const size_t *global,
                         const size_t *local, const pare__args *args);

/* ---- disk cache (programs, notes, tuning) ---- */

/* Folder, size and limit of the disk cache. */
pare_status pare__cache_describe(pare_cache_info *out);
/* Removes every entry; *nremoved (NULL allowed) counts them. */
pare_status pare__cache_clear(uint64_t *nremoved);

#endif
