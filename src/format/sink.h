/* Where a writer's bytes go: a file that appears whole or not at all, or memory. SPDX-License-Identifier: Apache-2.0 */
#ifndef PARE_FORMAT_SINK_H
#define PARE_FORMAT_SINK_H

#include "base/base.h"

typedef struct pare__sink pare__sink;

/* A new file beside `path`, renamed to it by commit; path NULL: memory. PARE_ERR_IO, PARE_ERR_MEMORY. */
pare_status pare__sink_open(const char *path, pare__sink **out);
pare_status pare__sink_write(pare__sink *sink, const void *data, size_t nbytes);
/* As write, piece by piece; of a file that is mapped (mapping.h) the resident pages are let go as they are through. */
pare_status pare__sink_copy(pare__sink *sink, const void *data, size_t nbytes, bool mapped);
/* Of a file: bytes at some offset, besides those that are written in order; who places fills all that is not. */
pare_status pare__sink_place(pare__sink *sink, uint64_t offset, const void *data, size_t nbytes);
/* Zeros up to the next multiple of `alignment`. */
pare_status pare__sink_align(pare__sink *sink, size_t alignment);
uint64_t pare__sink_offset(const pare__sink *sink); /* bytes written so far */
pare_status pare__sink_commit(pare__sink *sink);    /* of a file */
/* Of a sink in memory: its bytes, malloc'ed, which it gives away. */
void pare__sink_take(pare__sink *sink, void **out, size_t *nbytes);
/* Closes; a file that was not committed is removed. NULL is allowed. */
void pare__sink_close(pare__sink *sink);

/* Bytes of a stream, from its byte `offset` on. */
typedef pare_status (*pare__stream_put)(void *sink, size_t offset, const void *data, size_t nbytes);
/* Bytes that are produced while a file is written, for what never lies in memory whole. produce() calls put(sink, …) in
 * any order, until each of `nbytes` bytes is through, once. */
typedef struct pare__stream {
  size_t nbytes;
  pare_status (*produce)(void *user, pare__stream_put put, void *sink);
  void *user;
} pare__stream;
/* PARE_ERR_ARGUMENT names `what` if the stream makes more or fewer bytes than it said. */
pare_status pare__sink_stream(pare__sink *sink, const pare__stream *stream, const char *what);

#endif
