/* Device memory, accounted. SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ocl/ocl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ocl/capture.h"
#include "ocl/device.h"

#define LISTED_HOLDERS 3
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

typedef struct holder {
  const char *what;
  uint64_t nbytes;
} holder;

/* The largest holders by what they are for, into text: "activations 1.0 GiB, weights 20.0 MiB". The memory lock is
 * held. */
static void describe_holders(const pare__device *device, char *text, size_t capacity) {
  holder largest[LISTED_HOLDERS] = {{NULL, 0}};
  for (const pare__buffer *buffer = device->buffers; buffer; buffer = buffer->next) {
    uint64_t nbytes = 0;
    bool counted = false; /* by an earlier buffer of the same purpose */
    for (const pare__buffer *other = device->buffers; other; other = other->next) {
      if (strcmp(other->what, buffer->what) != 0) continue;
      if (nbytes == 0 && other != buffer) counted = true;
      if (counted) break;
      nbytes += other->nbytes;
    }
    if (counted) continue;
    holder entering = {buffer->what, nbytes};
    for (size_t i = 0; i < LISTED_HOLDERS; i++) {
      if (entering.nbytes <= largest[i].nbytes) continue;
      holder leaving = largest[i];
      largest[i] = entering;
      entering = leaving;
    }
  }
  snprintf(text, capacity, "nothing");
  for (size_t i = 0, used = 0; i < LISTED_HOLDERS && largest[i].what && used < capacity; i++) {
    char size[32];
    int written = snprintf(text + used, capacity - used, "%s%s %s", i ? ", " : "", largest[i].what,
                           pare__bytes_text(largest[i].nbytes, size, sizeof size));
    used += written > 0 ? (size_t)written : 0;
  }
}

/* Books the memory before it is taken, so that two threads cannot pass the limit together. */
static pare_status account(pare__device *device, size_t nbytes, const char *what) {
  char asked[32], held[32], limit[32], holders[512];
  pthread_mutex_lock(&device->memory_lock);
  bool over =
      device->limit_bytes && (nbytes > device->limit_bytes || device->in_use_bytes > device->limit_bytes - nbytes);
  if (over) {
    pare__bytes_text(device->in_use_bytes, held, sizeof held);
    describe_holders(device, holders, sizeof holders);
  } else {
    device->in_use_bytes += nbytes;
    device->peak_bytes = PARE__MAX(device->peak_bytes, device->in_use_bytes);
    device->watched_bytes = PARE__MAX(device->watched_bytes, device->in_use_bytes);
  }
  pthread_mutex_unlock(&device->memory_lock);
  if (!over) return PARE_OK;
  return pare__fail(
      PARE_ERR_LIMIT,
      "%s asks for %s of device memory (%zu bytes), but %s of the limit of %s are in use (%s); raise PARE_MEMORY "
      "or the context's limit%s, or close tensors",
      what, pare__bytes_text(nbytes, asked, sizeof asked), nbytes, held,
      pare__bytes_text(device->limit_bytes, limit, sizeof limit), holders,
      device->part ? ", which the parts of a device share" : "");
}

static void unaccount(pare__device *device, size_t nbytes) {
  pthread_mutex_lock(&device->memory_lock);
  device->in_use_bytes -= nbytes;
  device->pace.released_bytes += nbytes;
  pthread_mutex_unlock(&device->memory_lock);
}

static void buffer_link(pare__buffer *buffer) {
  pare__device *device = buffer->device;
  pthread_mutex_lock(&device->memory_lock);
  device->references++;
  buffer->next = device->buffers;
  if (buffer->next) buffer->next->previous = buffer;
  device->buffers = buffer;
  pthread_mutex_unlock(&device->memory_lock);
}

static void buffer_unlink(pare__buffer *buffer) {
  pare__device *device = buffer->device;
  pthread_mutex_lock(&device->memory_lock);
  if (buffer->previous) buffer->previous->next = buffer->next;
  if (buffer->next) buffer->next->previous = buffer->previous;
  if (device->buffers == buffer) device->buffers = buffer->next;
  pthread_mutex_unlock(&device->memory_lock);
}

static pare_status check_largest(const pare__device *device, size_t nbytes, const char *what) {
  char asked[32], largest[32];
  if (nbytes <= device->info.max_buffer_bytes) return PARE_OK;
  return pare__fail(PARE_ERR_LIMIT, "%s asks for a buffer of %s (%zu bytes); the largest on %s is %s", what,
                    pare__bytes_text(nbytes, asked, sizeof asked), nbytes, device->info.name,
                    pare__bytes_text(device->info.max_buffer_bytes, largest, sizeof largest));
}

#ifdef MADV_HUGEPAGE
static void CL_CALLBACK free_pages(cl_mem mem, void *pages) {
  (void)mem;
  free(pages);
}

/* On huge pages a walk with long strides finds its addresses: small ones cost a transposition a fifth of its speed.
 * NULL where that is not possible or not worth it; the driver's own memory then does. */
static cl_mem create_on_huge_pages(const pare__device *device, const void *data, size_t nbytes) {
  if (!device->quirks->in_place || !device->info.can.unified_memory || nbytes < 4 * HUGE_PAGE_BYTES) return NULL;
  void *pages = NULL;
  if (posix_memalign(&pages, HUGE_PAGE_BYTES, nbytes) != 0) return NULL;
  (void)madvise(pages, nbytes, MADV_HUGEPAGE); /* advice: without it, plain pages */
  if (data) memcpy(pages, data, nbytes);
  cl_mem mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, nbytes, pages, NULL);
  if (mem && clSetMemObjectDestructorCallback(mem, free_pages, pages) == CL_SUCCESS) return mem;
  if (mem) clReleaseMemObject(mem);
  free(pages);
  return NULL;
}
#else
static cl_mem create_on_huge_pages(const pare__device *device, const void *data, size_t nbytes) {
  (void)device;
  (void)data;
  (void)nbytes;
  return NULL;
}
#endif

/* host: the memory that it is; data: what is copied into its own; or both NULL. */
static pare_status buffer_open(pare__device *device, void *host, const void *data, size_t nbytes, const char *what,
                               pare__buffer **out) {
  *out = NULL;
  nbytes = PARE__MAX(nbytes, (size_t)1);
  PARE__TRY(check_largest(device, nbytes, what));
  PARE__TRY(account(device, nbytes, what));
  pare_status status = PARE_OK;
  cl_int code = CL_SUCCESS;
  pare__buffer *buffer = calloc(1, sizeof *buffer);
  char *name = pare__strdup(what);
  if (!buffer || !name) {
    status = pare__fail_memory("a buffer's record", sizeof *buffer);
    goto fail;
  }
  const cl_mem_flags from = host ? CL_MEM_USE_HOST_PTR : data ? CL_MEM_COPY_HOST_PTR : 0;
  *buffer = (pare__buffer){.device = device, .nbytes = nbytes, .host = host, .what = name, .references = 1};
  if (!host) buffer->mem = create_on_huge_pages(device, data, nbytes);
  if (!buffer->mem)
    buffer->mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE | from, nbytes, host ? host : (void *)data, &code);
  if (!buffer->mem) {
    status = pare__fail_cl(code, "clCreateBuffer(%zu bytes) on %s for %s", nbytes, device->info.name, what);
    goto fail;
  }
  buffer_link(buffer);
  *out = buffer;
  return PARE_OK;
fail:
  free(name);
  free(buffer);
  unaccount(device, nbytes);
  return status;
}

pare_status pare__buffer_create(pare__device *device, size_t nbytes, const char *what, pare__buffer **out) {
  return buffer_open(device, NULL, NULL, nbytes, what, out);
}

pare_status pare__buffer_create_from(pare__device *device, const void *data, size_t nbytes, const char *what,
                                     pare__buffer **out) {
  pare__capture_other(device); /* what is recorded would be run again without the bytes */
  return buffer_open(device, NULL, nbytes > 0 ? data : NULL, nbytes, what, out);
}

pare_status pare__buffer_wrap(pare__device *device, void *host, size_t nbytes, const char *what, pare__buffer **out) {
  *out = NULL;
  if (!host) return pare__fail_null("pare__buffer_wrap", "host");
  return buffer_open(device, host, NULL, nbytes, what, out);
}

void pare__buffer_retain(pare__buffer *buffer) { __atomic_add_fetch(&buffer->references, 1, __ATOMIC_RELAXED); }

void pare__buffer_release(pare__buffer *buffer) {
  if (!buffer || __atomic_sub_fetch(&buffer->references, 1, __ATOMIC_ACQ_REL) > 0) return;
  pare__device *device = pare__forked() ? NULL : buffer->device;
  if (device) {
    clReleaseMemObject(buffer->mem);
    buffer_unlink(buffer);
    unaccount(device, buffer->nbytes);
  }
  free((char *)buffer->what);
  free(buffer);
  if (device) pare__device_unreference(device);
}

cl_mem pare__buffer_mem(const pare__buffer *buffer) { return buffer->mem; }

size_t pare__buffer_bytes(const pare__buffer *buffer) { return buffer->nbytes; }

pare_status pare__buffer_check(const pare__buffer *buffer, const char *call, size_t offset, size_t nbytes) {
  if (!buffer->device->queue) return pare__fail(PARE_ERR_ARGUMENT, "%s: the device is closed", call);
  pare__capture_other(buffer->device);
  if (offset <= buffer->nbytes && nbytes <= buffer->nbytes - offset) return PARE_OK;
  return pare__fail(PARE_ERR_ARGUMENT, "%s: %zu bytes from byte %zu of a buffer of %zu", call, nbytes, offset,
                    buffer->nbytes);
}

pare_status pare__buffer_read(pare__buffer *buffer, size_t offset, size_t nbytes, void *data) {
  PARE__TRY(pare__buffer_check(buffer, "pare__buffer_read", offset, nbytes));
  if (nbytes == 0) return PARE_OK;
  cl_int code = clEnqueueReadBuffer(buffer->device->queue, buffer->mem, CL_TRUE, offset, nbytes, data, 0, NULL, NULL);
  if (code == CL_SUCCESS) return PARE_OK;
  return pare__fail_cl(code, "clEnqueueReadBuffer(%zu bytes of %s) on %s", nbytes, buffer->what,
                       buffer->device->info.name);
}

pare_status pare__buffer_write(pare__buffer *buffer, size_t offset, size_t nbytes, const void *data) {
  PARE__TRY(pare__buffer_check(buffer, "pare__buffer_write", offset, nbytes));
  if (nbytes == 0) return PARE_OK;
  cl_int code = clEnqueueWriteBuffer(buffer->device->queue, buffer->mem, CL_TRUE, offset, nbytes, data, 0, NULL, NULL);
  if (code == CL_SUCCESS) return PARE_OK;
  return pare__fail_cl(code, "clEnqueueWriteBuffer(%zu bytes of %s) on %s", nbytes, buffer->what,
                       buffer->device->info.name);
}

pare_status pare__buffer_sync(pare__buffer *buffer) {
  PARE__TRY(pare__buffer_check(buffer, "pare__buffer_sync", 0, 0));
  cl_int code = CL_SUCCESS;
  cl_command_queue queue = buffer->device->queue;
  void *mapped = clEnqueueMapBuffer(queue, buffer->mem, CL_TRUE, CL_MAP_READ, 0, buffer->nbytes, 0, NULL, NULL, &code);
  if (!mapped)
    return pare__fail_cl(code, "clEnqueueMapBuffer(%zu bytes of %s) on %s", buffer->nbytes, buffer->what,
                         buffer->device->info.name);
  code = clEnqueueUnmapMemObject(queue, buffer->mem, mapped, 0, NULL, NULL);
  /* what stays mapped holds the buffer and its queue for ever: a driver that cannot now is asked once more */
  if (code != CL_SUCCESS) code = clEnqueueUnmapMemObject(queue, buffer->mem, mapped, 0, NULL, NULL);
  if (code == CL_SUCCESS) code = clFinish(queue);
  if (code == CL_SUCCESS) return PARE_OK;
  return pare__fail_cl(code, "clEnqueueUnmapMemObject(%s) on %s", buffer->what, buffer->device->info.name);
}

void pare__device_memory(const pare__device *device, uint64_t *in_use, uint64_t *peak, uint64_t *limit) {
  pthread_mutex_t *lock = (pthread_mutex_t *)&device->memory_lock;
  pthread_mutex_lock(lock);
  *in_use = device->in_use_bytes;
  *peak = device->peak_bytes;
  *limit = device->limit_bytes;
  pthread_mutex_unlock(lock);
}

uint64_t pare__device_watch(pare__device *device) {
  pthread_mutex_lock(&device->memory_lock);
  const uint64_t in_use = device->watched_bytes = device->in_use_bytes;
  pthread_mutex_unlock(&device->memory_lock);
  return in_use;
}

uint64_t pare__device_watched(pare__device *device) {
  pthread_mutex_lock(&device->memory_lock);
  const uint64_t watched = device->watched_bytes;
  pthread_mutex_unlock(&device->memory_lock);
  return watched;
}
