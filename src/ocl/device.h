/* An open device as floor 1 sees it. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_OCL_DEVICE_H
#define PARE_OCL_DEVICE_H

#include <pthread.h>

#include "ocl/list.h"

/* A .cl file with its includes in place. */
typedef struct pare__source {
  char *file; /* as asked for */
  char *text; /* with #line at every change of file, so that compilers name the right one */
  char hash[33];
  struct pare__source *next;
} pare__source;

/* The child process that compiles ahead (ocl/prebuild.h). */
typedef struct pare__prebuild {
  bool refused;  /* it is not wanted, or could not be started */
  int to;        /* the socket that it reads */
  int64_t child; /* 0: not started */
} pare__prebuild;

struct pare__buffer {
  pare__device *device;
  cl_mem mem;
  size_t nbytes;
  void *host;       /* NULL unless it wraps host memory */
  const char *what; /* owned */
  unsigned references;
  pare__buffer *previous, *next; /* all buffers of the device */
};

/* May these bytes be read or written from the host, by `call`? */
pare_status pare__buffer_check(const pare__buffer *buffer, const char *call, size_t offset, size_t nbytes);

/* Work that was submitted and may not be done. Guarded by the device's memory lock. */
typedef struct pare__pace {
  unsigned tasks; /* since the marker */
  uint64_t
      released_bytes; /* since the marker: the driver holds such buffers as long as work that uses them is queued */
  cl_event marker;    /* behind all that was submitted before; NULL: none yet */
} pare__pace;

struct pare__device {
  pare_device_info info;
  const pare__quirks *quirks;
  cl_platform_id platform;
  cl_device_id id;
  bool part;         /* a sub-device: released on close */
  bool shares_grids; /* with others of its driver (ocl/grids.h) */
  cl_context context;
  cl_command_queue queue, copies[2]; /* copies: by their way; NULL: nobody asked yet */
  char key[33];
  pthread_mutex_t lock;
  pthread_mutex_t
      launch_lock; /* around set-arguments + enqueue; a driver may hang there, so nothing else waits for it */
  pare__program *programs;
  pare__source *sources;
  pare__prebuild prebuild;
  void *attached;
  void (*attached_close)(void *state);
  pare__device *leader;
  void (*watch_builds)(bool begins);
  bool uncached;      /* being probed: what is built is not worth keeping */
  bool cache_refused; /* said once in the log that the cache folder does not work */

  /* Buffers may outlive the open device: the struct goes with the last reference. */
  pthread_mutex_t memory_lock;
  unsigned references;
  uint64_t in_use_bytes, peak_bytes, limit_bytes;
  uint64_t watched_bytes; /* the most in use since pare__device_watch */
  pare__pace pace;
  pare__buffer *buffers;
};

/* Looks again and again, with sleeps between, until the command has come as far as this state (CL_RUNNING,
 * CL_COMPLETE), has failed, or pare__seconds() is `until`. Has it come so far, without a failure? */
bool pare__event_wait(cl_event event, cl_int wanted, double until);
/* Opens a whole device to probe it: its capabilities are not known yet. */
pare_status pare__device_open_bare(const pare_device_list *list, size_t index, pare__device **out);
void pare__device_unreference(pare__device *device);
void pare__programs_close(pare__device *device);
void pare__source_close(pare__source *source);
/* As pare__source_hash, where no device is open. */
pare_status pare__source_hash_unopened(const char *file, char hex[33]);
pare_status pare__source_get(pare__device *device, const char *file, pare__source **out);

#endif
