/* Traces in Chrome's format. SPDX-License-Identifier: Apache-2.0 */
#include "sched/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"

struct pare__trace {
  pthread_mutex_t lock; /* nothing else is locked while it is held */
  FILE *file;
  char *path, *temporary;
  double opened;
  uint64_t nflows;
  bool begun;
};

static void release(pare__trace *trace) {
  pthread_mutex_destroy(&trace->lock);
  free(trace->path);
  free(trace->temporary);
  free(trace);
}

pare_status pare__trace_open(const char *path, pare__trace **out) {
  pare__trace *made = calloc(1, sizeof *made);
  *out = NULL;
  if (!made) return pare__fail_memory("a trace", sizeof *made);
  pthread_mutex_init(&made->lock, NULL);
  made->opened = pare__seconds();
  pare_status status = pare__file_target(path, &made->path);
  made->temporary = status == PARE_OK ? pare__format("%s.%ld.tmp", made->path, (long)getpid()) : NULL;
  if (status == PARE_OK && !made->temporary) status = pare__fail_memory("a trace", strlen(path));
  if (status != PARE_OK) {
    release(made);
    return status;
  }
  made->file = fopen(made->temporary, "wxe");
  if (!made->file) {
    const int error = errno;
    release(made);
    return pare__fail(PARE_ERR_IO, "cannot write %s: %s", path, strerror(error));
  }
  fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n", made->file);
  *out = made;
  return PARE_OK;
}

void pare__trace_cancel(pare__trace *trace) {
  if (!trace) return;
  fclose(trace->file);
  unlink(trace->temporary);
  release(trace);
}

pare_status pare__trace_close(pare__trace *trace) {
  pare_status status = PARE_OK;
  if (!trace) return PARE_OK;
  fputs("\n]}\n", trace->file);
  bool written = !ferror(trace->file);
  if (fclose(trace->file) != 0) written = false;
  if (!written || rename(trace->temporary, trace->path) != 0) {
    status = pare__fail(PARE_ERR_IO, "cannot write %s: %s", trace->path, strerror(errno));
    unlink(trace->temporary);
  }
  release(trace);
  return status;
}

double pare__trace_opened(const pare__trace *trace) { return trace->opened; }

/* ---- events ---- */

static void begin_event(pare__trace *trace) {
  if (trace->begun) fputs(",\n", trace->file);
  trace->begun = true;
}

/* Perfetto takes threads with the same number for one, whatever their process; one of its own number is its main one.
 */
static unsigned process_of(unsigned device) { return PARE__TRACE_PROCESS * (device + 1); }
static unsigned thread_of(unsigned device, pare__trace_row row) { return process_of(device) + (unsigned)row; }

static void put_text(pare__trace *trace, const char *text) {
  fputc('"', trace->file);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', trace->file);
    fputc((unsigned char)*text < ' ' ? ' ' : *text, trace->file);
  }
  fputc('"', trace->file);
}

static void put_name(pare__trace *trace, const char *what, unsigned device, pare__trace_row row, const char *name) {
  begin_event(trace);
  fprintf(trace->file, "{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%u,\"tid\":%u,\"args\":{\"name\":", what,
          process_of(device), thread_of(device, row));
  put_text(trace, name);
  fputs("}}", trace->file);
}

void pare__trace_device(pare__trace *trace, unsigned device, const char *name) {
  pthread_mutex_lock(&trace->lock);
  put_name(trace, "process_name", device, PARE__TRACE_WORK, name);
  /* Viewers put those with the most work first otherwise. */
  begin_event(trace);
  fprintf(trace->file, "{\"ph\":\"M\",\"name\":\"process_sort_index\",\"pid\":%u,\"args\":{\"sort_index\":%u}}",
          process_of(device), device);
  put_name(trace, "thread_name", device, PARE__TRACE_WORK, "work");
  put_name(trace, "thread_name", device, PARE__TRACE_COPIES, "copies");
  put_name(trace, "thread_name", device, PARE__TRACE_COPIES_BACK, "copies back");
  pthread_mutex_unlock(&trace->lock);
}

static void put_slice(pare__trace *trace, unsigned device, pare__trace_row row, const char *name, const char *kind,
                      double from, double until, int64_t begin, int64_t end) {
  begin_event(trace);
  fprintf(trace->file, "{\"ph\":\"X\",\"pid\":%u,\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,\"name\":", process_of(device),
          thread_of(device, row), from * 1e6, (until - from) * 1e6);
  put_text(trace, name);
  fputs(",\"cat\":", trace->file);
  put_text(trace, kind);
  fprintf(trace->file, ",\"args\":{\"begin\":%" PRId64 ",\"end\":%" PRId64, begin, end);
}

void pare__trace_work(pare__trace *trace, unsigned device, const char *name, const char *kind, double from,
                      double until, const pare__trace_steps *steps) {
  pthread_mutex_lock(&trace->lock);
  put_slice(trace, device, PARE__TRACE_WORK, name, kind, from, until, steps->begin, steps->end);
  fprintf(trace->file, ",\"n\":%" PRId64 ",\"grain\":%" PRId64 ",\"work\":%.9g,\"ready\":%.3f,\"launch\":%.3f}}",
          steps->n, steps->grain, steps->work, steps->ready * 1e6, steps->launch * 1e6);
  pthread_mutex_unlock(&trace->lock);
}

void pare__trace_copy(pare__trace *trace, unsigned device, pare__trace_row row, const char *name, size_t nbytes,
                      double from, double until, int64_t begin, int64_t end) {
  pthread_mutex_lock(&trace->lock);
  put_slice(trace, device, row, name, "copy", from, until, begin, end);
  fprintf(trace->file, ",\"bytes\":%zu}}", nbytes);
  pthread_mutex_unlock(&trace->lock);
}

void pare__trace_flow(pare__trace *trace, unsigned from_device, double from, unsigned to_device, double to) {
  pthread_mutex_lock(&trace->lock);
  const uint64_t id = ++trace->nflows;
  begin_event(trace);
  /* A nanosecond inside of the slices that it joins: at their very ends it would belong to none. */
  fprintf(trace->file,
          "{\"ph\":\"s\",\"id\":%" PRIu64 ",\"pid\":%u,\"tid\":%u,\"ts\":%.3f,\"name\":\"needs\",\"cat\":\"flow\"},\n",
          id, process_of(from_device), thread_of(from_device, PARE__TRACE_WORK), from * 1e6 - 0.001);
  fprintf(trace->file,
          "{\"ph\":\"f\",\"bp\":\"e\",\"id\":%" PRIu64
          ",\"pid\":%u,\"tid\":%u,\"ts\":%.3f,\"name\":\"needs\",\"cat\":\"flow\"}",
          id, process_of(to_device), thread_of(to_device, PARE__TRACE_WORK), to * 1e6);
  pthread_mutex_unlock(&trace->lock);
}

void pare__trace_mark(pare__trace *trace, unsigned device, const char *what, double at) {
  pthread_mutex_lock(&trace->lock);
  begin_event(trace);
  fprintf(trace->file, "{\"ph\":\"i\",\"s\":\"p\",\"pid\":%u,\"tid\":%u,\"ts\":%.3f,\"name\":", process_of(device),
          thread_of(device, PARE__TRACE_WORK), at * 1e6);
  put_text(trace, what);
  fputs("}", trace->file);
  pthread_mutex_unlock(&trace->lock);
}
